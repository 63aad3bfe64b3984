// Rules that several rows share. Knows no single row.
#include "op/rules.h"

#include <stdio.h>

qn_status qn_expect_dtype(struct qn_node *node, int i, qn_dtype dtype)
{
    const qn_dtype have = node->inputs[i]->dtype;
    if (have == dtype)
        return QN_OK;
    return qn_node_fail(node, QN_BAD_SHAPE, "input %d is %s and must be %s", i,
                        qn_dtype_name(have), qn_dtype_name(dtype));
}

qn_status qn_expect_real(struct qn_node *node, int i)
{
    return qn_expect_dtype(node, i, node->graph->real);
}

qn_status qn_expect_number(struct qn_node *node, int i)
{
    const qn_dtype have = node->inputs[i]->dtype;
    if (have == QN_INT32 || have == QN_UINT8)
        return QN_OK;
    return qn_expect_real(node, i);
}

qn_status qn_expect_rank(struct qn_node *node, int i, int low, int high)
{
    const qn_shape *shape = &node->inputs[i]->shape;
    char text[128], upper[32] = " or more";
    if (shape->rank >= low && (high < 0 || shape->rank <= high))
        return QN_OK;
    if (high == low)
        *upper = 0;
    else if (high >= 0)
        snprintf(upper, sizeof upper, " to %d", high);
    return qn_node_fail(node, QN_BAD_SHAPE,
                        "input %d has shape %s and must have %d%s dimensions",
                        i, qn_shape_text(shape, text, sizeof text), low,
                        upper);
}

qn_status qn_infer_broadcast(struct qn_node *node)
{
    qn_shape shape = {0};
    for (int i = 0; i < node->input_count; i++) {
        const qn_shape *next = &node->inputs[i]->shape;
        char have[128], want[128];
        qn_shape wide;
        QN_TRY(qn_expect_number(node, i));
        if (!qn_shape_broadcast(&shape, next, &wide))
            return qn_node_fail(node, QN_BAD_SHAPE,
                                "input %d has shape %s, which does not "
                                "broadcast with %s",
                                i, qn_shape_text(next, have, sizeof have),
                                qn_shape_text(&shape, want, sizeof want));
        shape = wide;
    }
    node->shape = shape;
    node->dtype = node->graph->real;
    return QN_OK;
}

qn_status qn_infer_like(struct qn_node *node)
{
    QN_TRY(qn_expect_real(node, 0));
    node->shape = node->inputs[0]->shape;
    node->dtype = node->inputs[0]->dtype;
    return QN_OK;
}

bool qn_can_build(struct qn_graph *g, const struct qn_op *op,
                  struct qn_node *const *inputs, int count)
{
    if (!g || g->error.status)
        return false;
    for (int i = 0; i < count; i++) {
        if (inputs[i])
            continue;
        qn_graph_fail(g, QN_BAD_ARGUMENT, "%s: input %d is NULL", op->name, i);
        return false;
    }
    return true;
}

qn_status qn_resolve_axis(struct qn_graph *g, const struct qn_op *op,
                          int rank, int *axis)
{
    if (*axis < -rank || *axis >= rank)
        return qn_graph_fail(g, QN_BAD_ARGUMENT,
                             "%s: axis %d is not among the %d dimension%s of "
                             "the input",
                             op->name, *axis, rank, rank == 1 ? "" : "s");
    if (*axis < 0)
        *axis += rank;
    return QN_OK;
}

qn_status qn_check_rank(struct qn_graph *g, const struct qn_op *op, int rank)
{
    if (rank >= 0 && rank <= QN_MAX_RANK)
        return QN_OK;
    return qn_graph_fail(g, QN_BAD_SHAPE, "%s: %d dimensions, not 0 to %d",
                         op->name, rank, QN_MAX_RANK);
}

struct qn_node *qn_build_unary(struct qn_graph *g, const struct qn_op *op,
                               struct qn_node *x)
{
    return qn_node_create(g, op, &x, 1, NULL, NULL, 0);
}

struct qn_node *qn_build_binary(struct qn_graph *g, const struct qn_op *op,
                                struct qn_node *x, struct qn_node *y)
{
    struct qn_node *inputs[] = {x, y};
    return qn_node_create(g, op, inputs, 2, NULL, NULL, 0);
}

bool qn_fits_cpu(const struct qn_node *node, const struct qn_limits *limits)
{
    (void)node;
    return limits->variant == QN_VARIANT_CPU;
}

bool qn_fits_gpu(const struct qn_node *node, const struct qn_limits *limits)
{
    (void)node;
    return limits->variant == QN_VARIANT_GPU;
}

int64_t qn_group_size(const struct qn_limits *limits, int64_t want)
{
    int64_t size = 1;
    while (2 * size <= want && 2 * size <= limits->max_group_size)
        size *= 2;
    return size;
}

int64_t qn_smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t qn_larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

int64_t qn_divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

struct qn_lines qn_find_lines(const qn_shape *shape, int axis)
{
    struct qn_lines lines = {1, shape->dims[axis], 1};
    for (int i = 0; i < axis; i++)
        lines.outer *= shape->dims[i];
    for (int i = axis + 1; i < shape->rank; i++)
        lines.inner *= shape->dims[i];
    return lines;
}

void qn_launch_lines(struct qn_launch *launch, const struct qn_lines *lines,
                     int64_t group)
{
    enum { SHORT_LINE = 64, SHORT_ITEMS = 8 };
    const int64_t count = lines->outer * lines->inner;
    int64_t along = group;
    if (lines->inner > 1)
        along = 1;
    else if (lines->c <= SHORT_LINE && group > SHORT_ITEMS)
        along = SHORT_ITEMS;
    const int64_t across = group / along;
    qn_launch_grid(launch, 1, (size_t)qn_divide_up(count, across), 1,
                   (size_t)along, (size_t)across);
}

struct qn_node *qn_grad_pass(struct qn_graph *g, struct qn_node *node,
                             struct qn_node *dy, int i)
{
    (void)g, (void)node, (void)i;
    return dy;
}
