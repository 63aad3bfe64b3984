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

// ---- gates ----

// assign(variable, x) becomes assign(variable, is_open ? x : variable).
static qn_status gate_one(qn_graph *g, qn_node *old, qn_node *is_open)
{
    qn_node *variable = old->inputs[0], *x = old->inputs[1];
    if (!qn_node_remove(old))
        return qn_graph_fail(g, QN_BAD_ARGUMENT,
                             "the assignment to \"%s\" is read, so that it "
                             "cannot be gated", variable->name);
    x = qn_select(g, is_open, x, variable);
    if (variable->dtype != g->real)
        x = qn_cast(g, x, variable->dtype);
    qn_node *gated = qn_assign(g, variable, x);
    if (gated)
        gated->name = old->name;
    return qn_graph_check(g, NULL);
}

qn_status qn_assign_gate(qn_graph *g, qn_node *gate)
{
    QN_TRY(qn_graph_check(g, NULL));
    if (!gate || gate->graph != g || qn_node_count(gate) != 1)
        return qn_graph_fail(g, QN_BAD_ARGUMENT,
                             "the gate of assignments is not one number of "
                             "this graph");
    const struct qn_node *last = g->last;
    qn_node *scalar = qn_reshape(g, gate, (qn_shape){0});
    // 0 unless it is infinite or NaN.
    qn_node *is_open =
        qn_equal(g, qn_sub(g, scalar, scalar), qn_constant(g, 0));
    qn_node *node = g->first, *next;
    for (bool is_last = false; node && !is_last; node = next) {
        next = node->next;
        is_last = node == last;
        if (node->op == &qn_op_assign)
            QN_TRY(gate_one(g, node, is_open));
    }
    return qn_graph_check(g, NULL);
}
