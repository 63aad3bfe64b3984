// Losses over classes: x[n, c, ...] and target[n, ...].
#include "onnx/row.h"
#include "quern/op.h"

// x[n, c, rest...] as [n, rest..., c]
static qn_node *classes_last(qn_graph *g, qn_node *x)
{
    const int rank = qn_onnx_shape(x).rank;
    int order[QN_MAX_RANK] = {0};
    for (int d = 1; d < rank; d++)
        order[d] = d < rank - 1 ? d + 1 : 1;
    return rank > 2 ? qn_transpose(g, x, order) : x;
}

static qn_node *sum_last(qn_graph *g, qn_node *x)
{
    return qn_sum(g, x,
                  &(struct qn_reduce_params){.axes = (const int[]){-1},
                                             .axis_count = 1});
}

static qn_node *sum_all(qn_graph *g, qn_node *x)
{
    return qn_sum(g, x, &(struct qn_reduce_params){0});
}

// The weight of each target: its class's, 0 where it is to be ignored.
static qn_node *weigh(struct qn_onnx_use *use, qn_node *target,
                      qn_node *is_class)
{
    qn_graph *g = use->g;
    qn_node *classes = qn_onnx_in(use, 2);
    qn_node *weight =
        classes ? sum_last(g, qn_mul(g, is_class, classes))
                : qn_broadcast_to(g, qn_constant(g, 1),
                                  qn_onnx_shape(target));
    if (!qn_onnx_attribute(use, "ignore_index"))
        return weight;
    qn_node *ignored =
        qn_constant(g, (double)qn_onnx_int(use, "ignore_index", 0));
    return qn_select(g, qn_equal(g, target, ignored), qn_constant(g, 0),
                     weight);
}

static qn_node *reduce(struct qn_onnx_use *use, qn_node *loss,
                       qn_node *weight)
{
    if (qn_onnx_text_is(use, "reduction", "mean", "none"))
        return loss;
    loss = sum_all(use->g, loss);
    if (qn_onnx_text_is(use, "reduction", "mean", "sum"))
        return loss;
    if (!qn_onnx_text_is(use, "reduction", "mean", "mean"))
        qn_onnx_fail(use, QN_UNSUPPORTED, "an unknown reduction");
    return qn_div(use->g, loss, sum_all(use->g, weight));
}

static bool has_classes(struct qn_onnx_use *use, const qn_node *x)
{
    if (qn_onnx_shape(x).rank < 2)
        qn_onnx_fail(use, QN_BAD_SHAPE, "needs an input [n, c, ...]");
    return !qn_onnx_failed(use);
}

// -weight[target] x[target], reduced.
static void build_nll(struct qn_onnx_use *use)
{
    qn_graph *g = use->g;
    qn_node *x = qn_onnx_in(use, 0), *target = qn_onnx_in(use, 1);
    if (!has_classes(use, x))
        return;
    qn_node *is_class = qn_one_hot(g, target, qn_onnx_shape(x).dims[1]);
    qn_node *chosen = sum_last(
        g, qn_select(g, is_class, classes_last(g, x), qn_constant(g, 0)));
    qn_node *weight = weigh(use, target, is_class);
    use->out[0] = reduce(use, qn_neg(g, qn_mul(g, chosen, weight)), weight);
}

// A target to be ignored may be no class at all: class 0 stands for it, and
// its weight is 0.
static qn_node *valid_target(struct qn_onnx_use *use, qn_node *target)
{
    qn_graph *g = use->g;
    if (!qn_onnx_attribute(use, "ignore_index"))
        return target;
    qn_node *ignored =
        qn_constant(g, (double)qn_onnx_int(use, "ignore_index", 0));
    return qn_cast(g,
                   qn_select(g, qn_equal(g, target, ignored),
                             qn_constant(g, 0), target),
                   QN_INT32);
}

static void build_cross_entropy(struct qn_onnx_use *use)
{
    qn_graph *g = use->g;
    qn_node *x = qn_onnx_in(use, 0), *target = qn_onnx_in(use, 1);
    if (!has_classes(use, x))
        return;
    const int64_t classes = qn_onnx_shape(x).dims[1];
    const qn_shape shape = qn_onnx_shape(target);
    qn_node *logits =
        qn_reshape(g, classes_last(g, x), qn_shape_of(-1, classes));
    qn_node *labels = qn_reshape(g, valid_target(use, target),
                                 qn_shape_of(-1));
    qn_node *loss = qn_reshape(
        g, qn_softmax_cross_entropy(g, logits, labels), shape);
    qn_node *weight = weigh(use, target, qn_one_hot(g, target, classes));
    use->out[0] = reduce(use, qn_mul(g, loss, weight), weight);
    if (use->out_count > 1)
        use->out[1] = qn_log_softmax(g, x, 1);
}

#define ROW(name, first, outputs, builder)                                 \
    {.op = name, .since = first, .until = QN_ONNX_ANY, .min_inputs = 2,    \
     .max_inputs = 3, .max_outputs = outputs,                              \
     .attributes = "ignore_index reduction", .build = builder}

const struct qn_onnx_row qn_onnx_loss_rows[] = {
    ROW("NegativeLogLikelihoodLoss", 12, 1, build_nll),
    ROW("SoftmaxCrossEntropyLoss", 12, 2, build_cross_entropy),
    {0},
};
