// What a legal graph is. Debug builds check it after every pass.
#include "graph/graph.h"

#include <string.h>

// A row is exactly one of leaf, pointwise, kernel, view.
static bool has_one_kind(const struct qn_op *op)
{
    int kinds = !!(op->flags & QN_OP_LEAF) + !!op->expr + !!op->candidates +
                !!(op->flags & QN_OP_VIEW);
    return kinds == 1 && !!(op->flags & QN_OP_VIEW) == !!op->layout;
}

static const char *find_fault(const struct qn_node *node)
{
    const struct qn_op *op = node->op;
    if (!has_one_kind(op))
        return "the row is not exactly one of leaf, pointwise, kernel, view";
    if (node->input_count < op->min_inputs ||
        (op->max_inputs >= 0 && node->input_count > op->max_inputs))
        return "wrong number of inputs";
    for (int i = 0; i < node->input_count; i++)
        if (node->inputs[i]->graph != node->graph ||
            node->inputs[i]->id >= node->id)
            return "an input does not stand before the node";
    if (qn_shape_count(&node->shape) < 1)
        return "the shape is empty or overflows";
    if (op->param_count > QN_MAX_POINTWISE_PARAMS)
        return "too many parameters";
    for (int i = 0; i < node->input_count; i++)
        if (i < 32 && (op->writes >> i & 1) &&
            !qn_node_is(node->inputs[i], QN_OP_STATE))
            return "writes an input that is no state";
    return NULL;
}

// A group covers its variables.
static bool share_memory(const struct qn_node *a, const struct qn_node *b)
{
    if (a == b)
        return true;
    const bool is_group = a->op == &qn_op_group || b->op == &qn_op_group;
    return is_group && qn_node_is(a, QN_OP_STATE) &&
           qn_node_is(b, QN_OP_STATE) && strcmp(a->group, b->group) == 0;
}

static bool writes(const struct qn_node *node, int i)
{
    return i < node->input_count && i < 32 && node->op->writes >> i & 1;
}

// A node after `first` that writes `state` too.
static const struct qn_node *find_next_writer(const struct qn_node *first,
                                              const struct qn_node *state)
{
    for (const struct qn_node *node = first->next; node; node = node->next)
        for (int i = 0; i < node->input_count; i++)
            if (writes(node, i) && share_memory(node->inputs[i], state))
                return node;
    return NULL;
}

// Each state may be written by one node only.
static qn_status check_writes(const struct qn_node *node, qn_error *error)
{
    for (int i = 0; i < 32; i++) {
        if (!writes(node, i))
            continue;
        const struct qn_node *state = node->inputs[i];
        const struct qn_node *second = find_next_writer(node, state);
        if (second)
            return qn_fail(error, QN_BAD_ARGUMENT,
                           "\"%s\" is written by node %%%d (%s) and again by "
                           "node %%%d (%s)",
                           state->name, node->id, node->op->name, second->id,
                           second->op->name);
    }
    return QN_OK;
}

qn_status qn_graph_verify(const struct qn_graph *g, qn_error *error)
{
    QN_TRY(qn_graph_check(g, error));
    for (const struct qn_node *node = g->first; node; node = node->next) {
        const char *fault = find_fault(node);
        if (fault)
            return qn_fail(error, QN_BAD_ARGUMENT, "node %%%d (%s): %s",
                           node->id, node->op->name, fault);
        QN_TRY(check_writes(node, error));
    }
    return QN_OK;
}
