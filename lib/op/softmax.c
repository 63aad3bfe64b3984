// Softmax and the loss that goes with it. Knows shapes and launches, no
// device.
#include "op/rules.h"

extern const struct qn_op qn_op_softmax, qn_op_log_softmax,
    qn_op_softmax_cross_entropy, qn_op_softmax_cross_entropy_grad;

enum {
    LANES = 16,
    SPAN = 2048, // elements of a CPU item, about: exp is dear
    GROUP = 256,
};

struct softmax {
    int axis;
};

// Argument and grid of a CPU launch over `count` units of `each` elements.
static void add_span(struct qn_launch *launch, int64_t count, int64_t each)
{
    const int64_t span = each < SPAN ? SPAN / each : 1;
    qn_launch_long(launch, span);
    qn_launch_grid(launch, (size_t)qn_divide_up(count, span), 1, 1, 1, 1);
}

static void add_groups(struct qn_launch *launch,
                       const struct qn_limits *limits,
                       const struct qn_lines *lines)
{
    const int64_t group = qn_group_size(limits, GROUP);
    qn_launch_local(launch, group * (int64_t)qn_dtype_size(launch->real));
    qn_launch_lines(launch, lines, group);
}

static void add_figures(struct qn_launch *launch, const struct qn_node *node)
{
    const double count = (double)qn_node_count(node->inputs[0]);
    launch->flops = 5 * count;
    launch->bytes = (double)qn_node_size(node);
    for (int i = 0; i < node->input_count; i++)
        launch->bytes += (double)qn_node_size(node->inputs[i]);
}

// ---- softmax and log_softmax ----

static void describe_softmax_cpu(const struct qn_node *node,
                                 const struct qn_limits *limits,
                                 struct qn_work *work)
{
    (void)limits;
    const struct softmax *softmax = node->params;
    const struct qn_lines n = qn_find_lines(&node->shape, softmax->axis);
    const bool is_rows = n.inner == 1;
    const int64_t units =
        is_rows ? n.outer : n.outer * qn_divide_up(n.inner, LANES);
    struct qn_launch *launch =
        qn_work_add(work, "softmax", is_rows ? "softmax_rows"
                                             : "softmax_columns",
                    node->dtype);
    qn_launch_buffer(launch, QN_OPERAND_IN);
    qn_launch_buffer(launch, QN_OPERAND_OUT);
    qn_launch_long(launch, units);
    if (!is_rows)
        qn_launch_long(launch, qn_node_count(node));
    add_span(launch, units, is_rows ? n.c : n.c * LANES);
    qn_launch_long(launch, n.c);
    if (!is_rows)
        qn_launch_long(launch, n.inner);
    qn_launch_int(launch, node->op == &qn_op_log_softmax);
    add_figures(launch, node);
}

static void describe_softmax_gpu(const struct qn_node *node,
                                 const struct qn_limits *limits,
                                 struct qn_work *work)
{
    const struct softmax *softmax = node->params;
    const struct qn_lines n = qn_find_lines(&node->shape, softmax->axis);
    struct qn_launch *launch =
        qn_work_add(work, "softmax", "softmax_rows", node->dtype);
    qn_launch_buffer(launch, QN_OPERAND_IN);
    qn_launch_buffer(launch, QN_OPERAND_OUT);
    qn_launch_long(launch, n.outer * n.inner);
    qn_launch_long(launch, n.c);
    qn_launch_long(launch, n.inner);
    qn_launch_int(launch, node->op == &qn_op_log_softmax);
    add_groups(launch, limits, &n);
    add_figures(launch, node);
}

static const struct qn_candidate softmax_candidates[] = {
    {"cpu", qn_fits_cpu, describe_softmax_cpu},
    {"gpu", qn_fits_gpu, describe_softmax_gpu},
    {0},
};

static struct qn_node *sum_along(struct qn_graph *g, struct qn_node *x,
                                 const struct qn_node *node)
{
    const int axis = ((const struct softmax *)node->params)->axis;
    return qn_sum(g, x, qn_reduce_params(.axes = &axis, .axis_count = 1,
                                         .keep = true));
}

static struct qn_node *grad_softmax(struct qn_graph *g, struct qn_node *node,
                                    struct qn_node *dy, int i)
{
    (void)i;
    struct qn_node *mean = sum_along(g, qn_mul(g, dy, node), node);
    return qn_mul(g, node, qn_sub(g, dy, mean));
}

static struct qn_node *grad_log_softmax(struct qn_graph *g,
                                        struct qn_node *node,
                                        struct qn_node *dy, int i)
{
    (void)i;
    struct qn_node *total = sum_along(g, dy, node);
    return qn_sub(g, dy, qn_mul(g, qn_exp(g, node), total));
}

const struct qn_op qn_op_softmax = {
    .name = "softmax", .formula = "e^x_i / sum_j e^x_j along an axis",
    .source = "Bridle 1990",
    .min_inputs = 1, .max_inputs = 1, .infer = qn_infer_like,
    .candidates = softmax_candidates, .grad = grad_softmax,
};
const struct qn_op qn_op_log_softmax = {
    .name = "log_softmax", .formula = "x_i - log sum_j e^x_j along an axis",
    .source = "Bridle 1990",
    .min_inputs = 1, .max_inputs = 1, .infer = qn_infer_like,
    .candidates = softmax_candidates, .grad = grad_log_softmax,
};

static struct qn_node *build(struct qn_graph *g, const struct qn_op *op,
                             struct qn_node *x, int axis)
{
    if (!qn_can_build(g, op, &x, 1) ||
        qn_resolve_axis(g, op, x->shape.rank, &axis) != QN_OK)
        return NULL;
    const struct softmax params = {axis};
    return qn_node_create(g, op, &x, 1, NULL, &params, sizeof params);
}

qn_node *qn_softmax(qn_graph *g, qn_node *x, int axis)
{
    return build(g, &qn_op_softmax, x, axis);
}

qn_node *qn_log_softmax(qn_graph *g, qn_node *x, int axis)
{
    return build(g, &qn_op_log_softmax, x, axis);
}

// ---- cross entropy of softmax ----

static qn_status expect_labels(struct qn_node *node)
{
    const struct qn_node *x = node->inputs[0], *labels = node->inputs[1];
    char have[128], want[128];
    QN_TRY(qn_expect_real(node, 0));
    QN_TRY(qn_expect_rank(node, 0, 2, 2));
    QN_TRY(qn_expect_dtype(node, 1, QN_INT32));
    if (labels->shape.rank == 1 && labels->shape.dims[0] == x->shape.dims[0])
        return QN_OK;
    return qn_node_fail(node, QN_BAD_SHAPE,
                        "labels have shape %s; logits of shape %s need one "
                        "label a row, [%lld]",
                        qn_shape_text(&labels->shape, have, sizeof have),
                        qn_shape_text(&x->shape, want, sizeof want),
                        (long long)x->shape.dims[0]);
}

static qn_status infer_loss(struct qn_node *node)
{
    QN_TRY(expect_labels(node));
    node->shape = node->inputs[1]->shape;
    return QN_OK;
}

static qn_status infer_loss_grad(struct qn_node *node)
{
    QN_TRY(expect_labels(node));
    QN_TRY(qn_expect_real(node, 2));
    if (!qn_shape_equal(&node->inputs[2]->shape, &node->inputs[1]->shape))
        return qn_node_fail(node, QN_BAD_SHAPE,
                            "the loss's gradient needs the labels' shape");
    node->shape = node->inputs[0]->shape;
    return QN_OK;
}

// Both rows: all inputs, then the output.
static void describe_loss(const struct qn_node *node,
                          const struct qn_limits *limits, struct qn_work *work)
{
    const bool is_grad = node->op == &qn_op_softmax_cross_entropy_grad;
    const struct qn_lines n = qn_find_lines(&node->inputs[0]->shape, 1);
    struct qn_launch *launch = qn_work_add(
        work, "softmax", is_grad ? "cross_entropy_grad" : "cross_entropy",
        node->dtype);
    for (int i = 0; i < node->input_count; i++)
        qn_launch_buffer(launch, QN_OPERAND_IN + i);
    qn_launch_buffer(launch, QN_OPERAND_OUT);
    qn_launch_long(launch, n.outer);
    if (limits->variant == QN_VARIANT_CPU)
        add_span(launch, n.outer, n.c);
    qn_launch_long(launch, n.c);
    if (limits->variant == QN_VARIANT_GPU)
        add_groups(launch, limits, &n);
    add_figures(launch, node);
}

static const struct qn_candidate loss_candidates[] = {
    {"cpu", qn_fits_cpu, describe_loss},
    {"gpu", qn_fits_gpu, describe_loss},
    {0},
};

static struct qn_node *grad_loss(struct qn_graph *g, struct qn_node *node,
                                 struct qn_node *dy, int i)
{
    if (i != 0)
        return NULL;
    struct qn_node *inputs[] = {node->inputs[0], node->inputs[1], dy};
    return qn_node_create(g, &qn_op_softmax_cross_entropy_grad, inputs, 3,
                          NULL, NULL, 0);
}

// With p = softmax(x): of the logits dloss p (dy - sum(dy p)), of dloss
// sum(dy (p - one_hot)).
static struct qn_node *grad_loss_grad(struct qn_graph *g, struct qn_node *node,
                                      struct qn_node *dy, int i)
{
    const int axis = 1;
    const struct qn_reduce_params *along =
        qn_reduce_params(.axes = &axis, .axis_count = 1, .keep = true);
    const qn_shape *rows = &node->inputs[2]->shape;
    struct qn_node *p = qn_softmax(g, node->inputs[0], axis);
    if (i == 0) {
        struct qn_node *dloss = qn_reshape(
            g, node->inputs[2], qn_shape_of(rows->dims[0], 1));
        struct qn_node *mean = qn_sum(g, qn_mul(g, dy, p), along);
        return qn_mul(g, qn_mul(g, dloss, p), qn_sub(g, dy, mean));
    }
    if (i == 1)
        return NULL;
    struct qn_node *hit =
        qn_one_hot(g, node->inputs[1], node->shape.dims[1]);
    struct qn_node *slope = qn_mul(g, dy, qn_sub(g, p, hit));
    return qn_reshape(g, qn_sum(g, slope, along), *rows);
}

const struct qn_op qn_op_softmax_cross_entropy = {
    .name = "softmax_cross_entropy",
    .source = "Bridle 1990",
    .formula = "log sum_j e^x_j - x_label for each row",
    .min_inputs = 2, .max_inputs = 2, .infer = infer_loss,
    .candidates = loss_candidates, .grad = grad_loss,
};
const struct qn_op qn_op_softmax_cross_entropy_grad = {
    .name = "softmax_cross_entropy_grad",
    .source = "gradient of softmax_cross_entropy",
    .formula = "(softmax(x) - one_hot(label)) * dloss for each row",
    .min_inputs = 3, .max_inputs = 3, .infer = infer_loss_grad,
    .candidates = loss_candidates, .grad = grad_loss_grad,
};

qn_node *qn_softmax_cross_entropy(qn_graph *g, qn_node *logits,
                                  qn_node *labels)
{
    return qn_build_binary(g, &qn_op_softmax_cross_entropy, logits, labels);
}
