// Comparison, choice and change of type, element by element. Conditions carry
// no gradient.
#include "op/rules.h"

static qn_status infer_int32(struct qn_node *node)
{
    QN_TRY(qn_infer_broadcast(node));
    node->dtype = QN_INT32;
    return QN_OK;
}

static struct qn_node *grad_select(struct qn_graph *g, struct qn_node *node,
                                   struct qn_node *dy, int i)
{
    struct qn_node *condition = node->inputs[0];
    if (i == 0)
        return NULL;
    struct qn_node *zero = qn_constant(g, 0);
    return i == 1 ? qn_select(g, condition, dy, zero)
                  : qn_select(g, condition, zero, dy);
}

#define COMPARE                                                            \
    .min_inputs = 2, .max_inputs = 2, .flags = QN_OP_NO_GRAD,              \
    .infer = qn_infer_broadcast

const struct qn_op qn_op_equal = {
    .name = "equal", .formula = "x == y", COMPARE,
    .expr = "SEL(x == y, K(1), K(0))",
};
const struct qn_op qn_op_not_equal = {
    .name = "not_equal", .formula = "x != y", COMPARE,
    .expr = "SEL(x != y, K(1), K(0))",
};
const struct qn_op qn_op_less = {
    .name = "less", .formula = "x < y", COMPARE,
    .expr = "SEL(x < y, K(1), K(0))",
};
const struct qn_op qn_op_less_equal = {
    .name = "less_equal", .formula = "x <= y", COMPARE,
    .expr = "SEL(x <= y, K(1), K(0))",
};
const struct qn_op qn_op_greater = {
    .name = "greater", .formula = "x > y", COMPARE,
    .expr = "SEL(x > y, K(1), K(0))",
};
const struct qn_op qn_op_greater_equal = {
    .name = "greater_equal", .formula = "x >= y", COMPARE,
    .expr = "SEL(x >= y, K(1), K(0))",
};
const struct qn_op qn_op_select = {
    .name = "select", .formula = "condition != 0 ? x : y",
    .min_inputs = 3, .max_inputs = 3, .infer = qn_infer_broadcast,
    .expr = "SEL(x != K(0), y, z)", .grad = grad_select,
};
// Stores of int32 tensors convert; a fused reader sees the whole number.
const struct qn_op qn_op_cast_int32 = {
    .name = "cast_int32", .formula = "x towards zero, as int32",
    .min_inputs = 1, .max_inputs = 1, .flags = QN_OP_NO_GRAD,
    .infer = infer_int32, .expr = "trunc(x)",
};
// Only integers are cast to the real type, so nothing has a gradient.
const struct qn_op qn_op_cast_real = {
    .name = "cast_real", .formula = "x, as the graph's real type",
    .min_inputs = 1, .max_inputs = 1, .flags = QN_OP_NO_GRAD,
    .infer = qn_infer_broadcast, .expr = "x",
};

#define BUILD_COMPARE(row)                                                 \
    qn_node *qn_##row(qn_graph *g, qn_node *x, qn_node *y)                 \
    {                                                                      \
        return qn_build_binary(g, &qn_op_##row, x, y);                     \
    }

BUILD_COMPARE(equal)
BUILD_COMPARE(not_equal)
BUILD_COMPARE(less)
BUILD_COMPARE(less_equal)
BUILD_COMPARE(greater)
BUILD_COMPARE(greater_equal)

qn_node *qn_select(qn_graph *g, qn_node *condition, qn_node *x, qn_node *y)
{
    struct qn_node *inputs[] = {condition, x, y};
    return qn_node_create(g, &qn_op_select, inputs, 3, NULL, NULL, 0);
}

qn_node *qn_cast(qn_graph *g, qn_node *x, qn_dtype dtype)
{
    const struct qn_op *op =
        dtype == QN_INT32 ? &qn_op_cast_int32 : &qn_op_cast_real;
    if (!qn_can_build(g, op, &x, 1))
        return NULL;
    if (dtype != QN_INT32 && dtype != g->real) {
        qn_graph_fail(g, QN_BAD_ARGUMENT,
                      "cast: the type must be int32 or %s, the graph's real "
                      "type",
                      qn_dtype_name(g->real));
        return NULL;
    }
    return x->dtype == dtype ? x : qn_build_unary(g, op, x);
}
