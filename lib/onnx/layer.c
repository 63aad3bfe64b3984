// Batch normalisation and dropout. ONNX's conventions differ from PyTorch's:
// the running variance is the population's, and momentum weighs the old value.
#include "onnx/row.h"
#include "quern/op.h"

// ---- batch normalisation ----

// old * momentum + new * (1 - momentum)
static qn_node *run_on(struct qn_onnx_use *use, qn_node *old, qn_node *now)
{
    const double momentum = qn_onnx_float(use, "momentum", 0.9);
    return qn_add(use->g, qn_scale(use->g, old, momentum),
                  qn_scale(use->g, now, 1 - momentum));
}

// Row i of [2, 1, c, 1, ...] as [c]
static qn_node *moment(qn_graph *g, qn_node *moments, int i)
{
    return qn_reshape(g, qn_slice(g, moments, 0, i, i + 1, 1),
                      qn_shape_of(-1));
}

// The running statistics become outputs 1 and 2.
static void build_training(struct qn_onnx_use *use, qn_node *x,
                           qn_node *const *in, double epsilon)
{
    qn_graph *g = use->g;
    qn_node *moments = qn_channel_moments(g, x);
    use->out[0] = qn_batch_norm(g, moments, in[1], in[2], epsilon);
    use->out[1] = run_on(use, in[3], moment(g, moments, 0));
    use->out[2] = run_on(use, in[4], moment(g, moments, 1));
}

static void build_batch_norm(struct qn_onnx_use *use)
{
    qn_node *in[5];
    const double epsilon = qn_onnx_float(use, "epsilon", 1e-5);
    const bool is_training =
        use->opset < 7 ? !qn_onnx_int(use, "is_test", 0)
                       : qn_onnx_int(use, "training_mode", 0) != 0;
    if (!qn_onnx_int(use, "spatial", 1))
        qn_onnx_fail(use, QN_UNSUPPORTED, "statistics per element (spatial 0)");
    for (int i = 0; i < 5; i++)
        in[i] = qn_onnx_in(use, i);
    if (qn_onnx_failed(use))
        return;
    if (is_training)
        build_training(use, in[0], in, epsilon);
    else
        use->out[0] = qn_normalize(use->g, in[0], in[3], in[4], in[1], in[2],
                                   epsilon);
}

// ---- dropout ----

static double read_ratio(struct qn_onnx_use *use)
{
    if (use->opset < 12)
        return qn_onnx_float(use, "ratio", 0.5);
    const struct qn_onnx_tensor *ratio = qn_onnx_content(use, 1);
    return ratio && ratio->count == 1 ? qn_onnx_real(ratio, 0) : 0.5;
}

static bool is_training(struct qn_onnx_use *use)
{
    if (use->opset < 7)
        return !qn_onnx_int(use, "is_test", 0);
    const struct qn_onnx_tensor *mode = qn_onnx_content(use, 2);
    return mode && mode->count == 1 && qn_onnx_integer(mode, 0);
}

// x mask / (1 - ratio). The mask must be given: there is no agreement on how
// it is drawn.
static void build_dropout(struct qn_onnx_use *use)
{
    qn_node *x = qn_onnx_in(use, 0);
    const double ratio = read_ratio(use);
    if (!(ratio >= 0 && ratio < 1))
        qn_onnx_fail(use, QN_BAD_ARGUMENT, "ratio %g; needs 0 <= ratio < 1",
                     ratio);
    if (!is_training(use) || ratio == 0) {
        use->out[0] = x;
        use->out[1] = qn_broadcast_to(use->g, qn_constant(use->g, 1),
                                      qn_onnx_shape(x));
        return;
    }
    if (!use->given[1]) {
        qn_onnx_fail(use, QN_UNSUPPORTED,
                     "in training it draws random numbers, and no mask is "
                     "given to use instead");
        return;
    }
    use->out[1] = qn_onnx_constant(use, &use->given[1]->content);
    use->out[0] = qn_scale(use->g, qn_mul(use->g, x, use->out[1]),
                           1 / (1 - ratio));
}

#define ANY QN_ONNX_ANY

const struct qn_onnx_row qn_onnx_layer_rows[] = {
    {.op = "BatchNormalization", .since = 1, .until = ANY, .min_inputs = 5,
     .max_inputs = 5, .max_outputs = 3,
     .attributes = "epsilon momentum is_test spatial training_mode "
                   "consumed_inputs",
     .build = build_batch_norm},
    {.op = "Dropout", .since = 1, .until = 11, .min_inputs = 1,
     .max_inputs = 1, .max_outputs = 2, .drawn = 2,
     .attributes = "ratio is_test consumed_inputs", .build = build_dropout},
    {.op = "Dropout", .since = 12, .until = ANY, .min_inputs = 1,
     .max_inputs = 3, .max_outputs = 2, .contents = 2 | 4, .drawn = 2,
     .attributes = "seed", .build = build_dropout},
    {0},
};
