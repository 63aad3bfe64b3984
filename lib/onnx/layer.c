// Batch normalisation and dropout. ONNX's conventions differ from PyTorch's:
// the running variance is the population's, and momentum weighs the old value.
#include "onnx/row.h"
#include "quern/op.h"

// ---- batch normalisation ----

// A value per channel, spread over x[n, c, ...].
static qn_node *per_channel(struct qn_onnx_use *use, const qn_node *x,
                            qn_node *value)
{
    const qn_shape shape = qn_onnx_shape(value);
    qn_shape to = {.rank = qn_onnx_shape(x).rank - 1};
    if (shape.rank != 1 || to.rank < 1) {
        qn_onnx_fail(use, QN_BAD_SHAPE,
                     "needs an input [n, c, ...] and vectors of c elements");
        return NULL;
    }
    for (int d = 0; d < to.rank; d++)
        to.dims[d] = d ? 1 : shape.dims[0];
    return qn_reshape(use->g, value, to);
}

// old * momentum + new * (1 - momentum)
static qn_node *run_on(struct qn_onnx_use *use, qn_node *old, qn_node *now)
{
    const double momentum = qn_onnx_float(use, "momentum", 0.9);
    return qn_add(use->g, qn_scale(use->g, old, momentum),
                  qn_scale(use->g, now, 1 - momentum));
}

// Statistics of the batch, over all dimensions but the channels; the running
// ones become outputs 1 and 2.
static void take_statistics(struct qn_onnx_use *use, qn_node *x,
                            qn_node **mean, qn_node **variance)
{
    int axes[QN_MAX_RANK], count = 0;
    for (int d = 0; d < qn_onnx_shape(x).rank; d++)
        if (d != 1)
            axes[count++] = d;
    const struct qn_reduce_params params = {.axes = axes,
                                            .axis_count = count};
    qn_node *running_mean = *mean, *running_variance = *variance;
    *mean = qn_mean(use->g, x, &params);
    qn_node *off = qn_sub(use->g, x, per_channel(use, x, *mean));
    *variance = qn_mean(use->g, qn_square(use->g, off), &params);
    use->out[1] = run_on(use, running_mean, *mean);
    use->out[2] = run_on(use, running_variance, *variance);
}

// scale (x - mean) / sqrt(variance + epsilon) + bias
static void build_batch_norm(struct qn_onnx_use *use)
{
    qn_graph *g = use->g;
    qn_node *x = qn_onnx_in(use, 0);
    qn_node *mean = qn_onnx_in(use, 3), *variance = qn_onnx_in(use, 4);
    const bool is_training =
        use->opset < 7 ? !qn_onnx_int(use, "is_test", 0)
                       : qn_onnx_int(use, "training_mode", 0) != 0;
    if (!qn_onnx_int(use, "spatial", 1))
        qn_onnx_fail(use, QN_UNSUPPORTED, "statistics per element (spatial 0)");
    if (qn_onnx_failed(use))
        return;
    if (is_training)
        take_statistics(use, x, &mean, &variance);
    qn_node *deviation = qn_sqrt(
        g, qn_add_scalar(g, variance, qn_onnx_float(use, "epsilon", 1e-5)));
    qn_node *y = qn_sub(g, x, per_channel(use, x, mean));
    y = qn_mul(g, y, per_channel(use, x, qn_div(g, qn_onnx_in(use, 1),
                                                deviation)));
    use->out[0] = qn_add(g, y, per_channel(use, x, qn_onnx_in(use, 2)));
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
