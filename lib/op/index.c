// Between indices and values: one_hot, argmax, take. No gradients.
#include "op/rules.h"

extern const struct qn_op qn_op_one_hot, qn_op_argmax, qn_op_take;

enum {
    LANES = 16,
    SPAN = 4096,       // elements of a CPU item, about
    TAKE_SPAN = 32768, // bytes of a CPU item
    GROUP = 256,
};

static bool is_cpu(const struct qn_limits *limits)
{
    return limits->variant == QN_VARIANT_CPU;
}

static int64_t span_of(int64_t each)
{
    return each < SPAN ? SPAN / each : 1;
}

// One item an element of the output.
static void add_items(struct qn_launch *launch,
                      const struct qn_limits *limits, int64_t count)
{
    const int64_t group = qn_group_size(limits, GROUP);
    qn_launch_grid(launch, (size_t)qn_divide_up(count, group), 1, 1,
                   (size_t)group, 1);
}

static void add_bytes(struct qn_launch *launch, const struct qn_node *node)
{
    launch->bytes = (double)qn_node_size(node->inputs[0]) +
                    (double)qn_node_size(node);
}

// ---- one_hot ----

static qn_status infer_one_hot(struct qn_node *node)
{
    const int64_t classes = *(const int64_t *)node->params;
    QN_TRY(qn_expect_dtype(node, 0, QN_INT32));
    QN_TRY(qn_expect_rank(node, 0, 0, QN_MAX_RANK - 1));
    if (classes < 1)
        return qn_node_fail(node, QN_BAD_ARGUMENT,
                            "%lld classes; needs at least 1",
                            (long long)classes);
    node->shape = node->inputs[0]->shape;
    node->shape.dims[node->shape.rank++] = classes;
    if (qn_node_count(node) < 1)
        return qn_node_fail(node, QN_BAD_SHAPE, "the result is too large");
    return QN_OK;
}

static void describe_one_hot(const struct qn_node *node,
                             const struct qn_limits *limits,
                             struct qn_work *work)
{
    const int64_t classes = *(const int64_t *)node->params;
    const int64_t n = qn_node_count(node->inputs[0]);
    const int64_t span = span_of(classes);
    struct qn_launch *launch =
        qn_work_add(work, "index", "one_hot", node->dtype);
    launch->include = "runs";
    qn_launch_buffer(launch, QN_OPERAND_IN);
    qn_launch_buffer(launch, QN_OPERAND_OUT);
    qn_launch_long(launch, n);
    qn_launch_long(launch, span);
    qn_launch_long(launch, classes);
    if (is_cpu(limits))
        qn_launch_grid(launch, (size_t)qn_divide_up(n, span), 1, 1, 1, 1);
    else
        add_items(launch, limits, n * classes);
    add_bytes(launch, node);
}

static const struct qn_candidate one_hot_candidates[] = {
    {"cpu", qn_fits_cpu, describe_one_hot},
    {"gpu", qn_fits_gpu, describe_one_hot},
    {0},
};

const struct qn_op qn_op_one_hot = {
    .name = "one_hot", .formula = "y[..., c] = x[...] == c ? 1 : 0",
    .min_inputs = 1, .max_inputs = 1, .flags = QN_OP_NO_GRAD,
    .infer = infer_one_hot, .candidates = one_hot_candidates,
};

qn_node *qn_one_hot(qn_graph *g, qn_node *x, int64_t classes)
{
    return qn_node_create(g, &qn_op_one_hot, &x, 1, NULL, &classes,
                          sizeof classes);
}

// ---- argmax ----

struct argmax {
    int axis;
};

static struct qn_lines find_lines(const struct qn_node *node)
{
    const struct argmax *argmax = node->params;
    return qn_find_lines(&node->inputs[0]->shape, argmax->axis);
}

static qn_status infer_argmax(struct qn_node *node)
{
    const struct argmax *argmax = node->params;
    const qn_shape *x = &node->inputs[0]->shape;
    QN_TRY(qn_expect_real(node, 0));
    if (x->dims[argmax->axis] > INT32_MAX)
        return qn_node_fail(node, QN_BAD_SHAPE,
                            "dimension %d is too long for int32",
                            argmax->axis);
    node->dtype = QN_INT32;
    for (int i = 0; i < x->rank; i++)
        if (i != argmax->axis)
            node->shape.dims[node->shape.rank++] = x->dims[i];
    return QN_OK;
}

static struct qn_launch *add_argmax(const struct qn_node *node,
                                    struct qn_work *work, const char *kernel,
                                    int64_t units)
{
    struct qn_launch *launch =
        qn_work_add(work, "index", kernel, node->graph->real);
    launch->include = "runs";
    qn_launch_buffer(launch, QN_OPERAND_IN);
    qn_launch_buffer(launch, QN_OPERAND_OUT);
    qn_launch_long(launch, units);
    add_bytes(launch, node);
    return launch;
}

static void describe_argmax_cpu(const struct qn_node *node,
                                const struct qn_limits *limits,
                                struct qn_work *work)
{
    (void)limits;
    const struct qn_lines n = find_lines(node);
    const bool is_rows = n.inner == 1;
    const int64_t units =
        is_rows ? n.outer : n.outer * qn_divide_up(n.inner, LANES);
    const int64_t span = span_of(is_rows ? n.c : n.c * LANES);
    struct qn_launch *launch = add_argmax(
        node, work, is_rows ? "argmax_rows" : "argmax_columns", units);
    if (!is_rows)
        qn_launch_long(launch, qn_node_count(node->inputs[0]));
    qn_launch_long(launch, span);
    qn_launch_long(launch, n.c);
    if (!is_rows)
        qn_launch_long(launch, n.inner);
    qn_launch_grid(launch, (size_t)qn_divide_up(units, span), 1, 1, 1, 1);
}

static void describe_argmax_gpu(const struct qn_node *node,
                                const struct qn_limits *limits,
                                struct qn_work *work)
{
    const struct qn_lines n = find_lines(node);
    const int64_t count = n.outer * n.inner;
    const int64_t group = qn_group_size(limits, GROUP);
    struct qn_launch *launch = add_argmax(node, work, "argmax_rows", count);
    qn_launch_long(launch, n.c);
    qn_launch_long(launch, n.inner);
    qn_launch_local(launch, group * (int64_t)qn_dtype_size(launch->real));
    qn_launch_local(launch, group * (int64_t)sizeof(int32_t));
    qn_launch_lines(launch, &n, group);
}

static const struct qn_candidate argmax_candidates[] = {
    {"cpu", qn_fits_cpu, describe_argmax_cpu},
    {"gpu", qn_fits_gpu, describe_argmax_gpu},
    {0},
};

const struct qn_op qn_op_argmax = {
    .name = "argmax", .formula = "index of the largest x along an axis",
    .min_inputs = 1, .max_inputs = 1, .flags = QN_OP_NO_GRAD,
    .infer = infer_argmax, .candidates = argmax_candidates,
};

qn_node *qn_argmax(qn_graph *g, qn_node *x, int axis)
{
    const struct qn_op *op = &qn_op_argmax;
    if (!qn_can_build(g, op, &x, 1) ||
        qn_resolve_axis(g, op, x->shape.rank, &axis) != QN_OK)
        return NULL;
    if (x->dtype == QN_INT32 || x->dtype == QN_UINT8)
        x = qn_cast(g, x, g->real);
    const struct argmax params = {axis};
    return qn_node_create(g, op, &x, 1, NULL, &params, sizeof params);
}

// ---- take ----

static qn_status infer_take(struct qn_node *node)
{
    const int64_t count = *(const int64_t *)node->params;
    QN_TRY(qn_expect_number(node, 0));
    QN_TRY(qn_expect_rank(node, 0, 1, QN_MAX_RANK));
    QN_TRY(qn_expect_dtype(node, 1, QN_INT32));
    QN_TRY(qn_expect_rank(node, 1, 1, 1));
    if (!qn_node_is(node->inputs[2], QN_OP_LIVE))
        return qn_node_fail(node, QN_BAD_ARGUMENT,
                            "the offset must be a scalar made by qn_scalar");
    if (count < 1)
        return qn_node_fail(node, QN_BAD_ARGUMENT,
                            "a count of %lld; needs at least 1",
                            (long long)count);
    node->dtype = node->inputs[0]->dtype;
    node->shape = node->inputs[0]->shape;
    node->shape.dims[0] = count;
    if (qn_node_count(node) < 1)
        return qn_node_fail(node, QN_BAD_SHAPE, "the result is too large");
    return QN_OK;
}

static void describe_take(const struct qn_node *node,
                          const struct qn_limits *limits, struct qn_work *work)
{
    const struct qn_node *table = node->inputs[0];
    const int64_t size = (int64_t)qn_node_size(node);
    const int64_t row = size / node->shape.dims[0];
    const int64_t unit = row % 4 ? 1 : 4;
    const int64_t span = TAKE_SPAN / unit;
    struct qn_launch *launch =
        qn_work_add(work, "index", "take", node->graph->real);
    launch->include = "runs";
    if (unit == 1)
        qn_launch_define(launch, "UNIT", 1);
    qn_launch_buffer(launch, QN_OPERAND_IN);
    qn_launch_buffer(launch, QN_OPERAND_IN + 1);
    qn_launch_buffer(launch, QN_OPERAND_OUT);
    qn_launch_live_uint(launch, QN_OPERAND_IN + 2);
    qn_launch_long(launch, node->inputs[1]->shape.dims[0]);
    qn_launch_long(launch, table->shape.dims[0]);
    qn_launch_long(launch, row / unit);
    qn_launch_long(launch, size / unit);
    qn_launch_long(launch, span);
    if (is_cpu(limits))
        qn_launch_grid(launch, (size_t)qn_divide_up(size / unit, span), 1, 1, 1,
                       1);
    else
        add_items(launch, limits, size / unit);
    launch->bytes = 2 * (double)size;
}

static const struct qn_candidate take_candidates[] = {
    {"cpu", qn_fits_cpu, describe_take},
    {"gpu", qn_fits_gpu, describe_take},
    {0},
};

const struct qn_op qn_op_take = {
    .name = "take", .formula = "y[i, ...] = table[index[offset + i], ...]",
    .min_inputs = 3, .max_inputs = 3, .flags = QN_OP_NO_GRAD,
    .infer = infer_take, .candidates = take_candidates,
};

qn_node *qn_take(qn_graph *g, qn_node *table, qn_node *index, qn_node *offset,
                 int64_t count)
{
    struct qn_node *inputs[] = {table, index, offset};
    return qn_node_create(g, &qn_op_take, inputs, 3, NULL, &count,
                          sizeof count);
}
