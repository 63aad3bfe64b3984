// Changes of state: the assignment. That a variable has one writer is the
// verifier's business, when the change comes into force the plan's.
#include "op/rules.h"

static qn_status infer_assign(struct qn_node *node)
{
    const struct qn_node *variable = node->inputs[0], *x = node->inputs[1];
    char have[128], want[128];
    if (!qn_node_is(variable, QN_OP_STATE))
        return qn_node_fail(node, QN_BAD_ARGUMENT,
                            "%s \"%s\" is no variable: only state can be "
                            "assigned to",
                            variable->op->name, variable->name);
    if (variable->dtype != x->dtype ||
        !qn_shape_equal(&variable->shape, &x->shape))
        return qn_node_fail(
            node, QN_BAD_SHAPE,
            "variable \"%s\" is %s %s and cannot become %s %s",
            variable->name, qn_dtype_name(variable->dtype),
            qn_shape_text(&variable->shape, want, sizeof want),
            qn_dtype_name(x->dtype),
            qn_shape_text(&x->shape, have, sizeof have));
    node->shape = variable->shape;
    node->dtype = variable->dtype;
    return QN_OK;
}

const struct qn_op qn_op_assign = {
    .name = "assign", .formula = "variable becomes x",
    .min_inputs = 2, .max_inputs = 2, .flags = QN_OP_NO_GRAD,
    .infer = infer_assign, .expr = "y", .writes = 1,
};

qn_node *qn_assign(qn_graph *g, qn_node *variable, qn_node *x)
{
    return qn_build_binary(g, &qn_op_assign, variable, x);
}
