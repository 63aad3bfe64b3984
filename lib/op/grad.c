// The reverse walk: gradients as ordinary nodes. It asks rows for their rules
// and knows no row; it sums over broadcast axes and adds what meets.
#include "op/rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Indexed by node id, for the nodes that were there before the walk.
struct walk {
    struct qn_graph *graph;
    struct qn_node **nodes;
    struct qn_node **gradients; // so far; NULL: none has arrived
    bool *needed; // stands between one of wrt and the loss
};

static qn_status fail_walk(struct qn_graph *g, const char *what,
                           const struct qn_node *node)
{
    char text[128];
    return qn_graph_fail(g, QN_BAD_ARGUMENT, "gradients: %s, not %s %s %s",
                         what, node->op->name, qn_dtype_name(node->dtype),
                         qn_shape_text(&node->shape, text, sizeof text));
}

static qn_status check_arguments(struct qn_graph *g, struct qn_node *loss,
                                 struct qn_node *const *wrt, int count)
{
    QN_TRY(qn_graph_check(g, NULL));
    if (!loss || loss->graph != g)
        return qn_graph_fail(g, QN_BAD_ARGUMENT,
                             "gradients: the loss is NULL or of another "
                             "graph");
    if (loss->dtype != g->real || qn_node_count(loss) != 1)
        return fail_walk(g, "the loss must be one number of the real type",
                         loss);
    for (int i = 0; i < count; i++) {
        if (!wrt[i] || wrt[i]->graph != g)
            return qn_graph_fail(g, QN_BAD_ARGUMENT,
                                 "gradients: wrt[%d] is NULL or of another "
                                 "graph",
                                 i);
        if (wrt[i]->dtype != g->real)
            return fail_walk(g, "only real tensors have a gradient", wrt[i]);
    }
    return QN_OK;
}

// True if a gradient would flow from `node` on to input i.
static bool flows_to(const struct walk *walk, const struct qn_node *node,
                     int i)
{
    return !qn_node_is(node, QN_OP_NO_GRAD) &&
           walk->needed[node->inputs[i]->id];
}

static void mark_needed(struct walk *walk, struct qn_node *const *wrt,
                        int count)
{
    for (int i = 0; i < count; i++)
        walk->needed[wrt[i]->id] = true;
    for (struct qn_node *node = walk->graph->first; node; node = node->next) {
        walk->nodes[node->id] = node;
        if (node->dtype != walk->graph->real)
            continue;
        for (int i = 0; i < node->input_count; i++)
            if (flows_to(walk, node, i))
                walk->needed[node->id] = true;
    }
}

// Brings a rule's result to the shape of `input` and adds it to what is there.
static qn_status accumulate(struct walk *walk, struct qn_node *node,
                            struct qn_node *input, struct qn_node *dx)
{
    struct qn_graph *g = walk->graph;
    struct qn_node **sum = &walk->gradients[input->id];
    if (!qn_shape_equal(&dx->shape, &input->shape)) {
        char have[128], want[128];
        qn_shape wide;
        if (!qn_shape_broadcast(&dx->shape, &input->shape, &wide) ||
            !qn_shape_equal(&wide, &dx->shape))
            return qn_node_fail(node, QN_BAD_SHAPE,
                                "its rule gives a gradient %s for an input "
                                "%s",
                                qn_shape_text(&dx->shape, have, sizeof have),
                                qn_shape_text(&input->shape, want,
                                              sizeof want));
        dx = qn_sum_to(g, dx, input->shape);
    }
    *sum = *sum ? qn_add(g, *sum, dx) : dx;
    return g->error.status;
}

static qn_status step_back(struct walk *walk, struct qn_node *node)
{
    struct qn_graph *g = walk->graph;
    struct qn_node *dy = walk->gradients[node->id];
    for (int i = 0; i < node->input_count; i++) {
        if (!flows_to(walk, node, i))
            continue;
        if (!node->op->grad)
            return qn_node_fail(node, QN_UNSUPPORTED,
                                "this operation has no gradient and stands "
                                "between the loss and what is asked for");
        struct qn_node *dx = node->op->grad(g, node, dy, i);
        QN_TRY(g->error.status);
        if (dx)
            QN_TRY(accumulate(walk, node, node->inputs[i], dx));
    }
    return QN_OK;
}

// Appended nodes bear the place and the scope of the node they come from.
static qn_status walk_back(struct walk *walk, struct qn_node *loss)
{
    struct qn_graph *g = walk->graph;
    const char *file = g->file;
    const int line = g->line;
    char scope[sizeof g->scope];
    qn_status status = QN_OK;
    memcpy(scope, g->scope, sizeof scope);
    for (int id = loss->id; id >= 0 && status == QN_OK; id--) {
        struct qn_node *node = walk->nodes[id];
        if (!walk->gradients[id] || !node->input_count)
            continue;
        qn_graph_at(g, node->file, node->line);
        snprintf(g->scope, sizeof g->scope, "%s", node->name);
        status = step_back(walk, node);
    }
    memcpy(g->scope, scope, sizeof scope);
    qn_graph_at(g, file, line);
    return status;
}

static struct qn_node *make_filled(struct qn_graph *g, const qn_shape *shape,
                                   double value)
{
    struct qn_node *scalar = qn_constant(g, value);
    return shape->rank ? qn_broadcast_to(g, scalar, *shape) : scalar;
}

static qn_status make_gradients(struct walk *walk, struct qn_node *loss,
                                struct qn_node *const *wrt, int count,
                                struct qn_node **out)
{
    struct qn_graph *g = walk->graph;
    mark_needed(walk, wrt, count);
    walk->gradients[loss->id] = make_filled(g, &loss->shape, 1);
    QN_TRY(g->error.status);
    QN_TRY(walk_back(walk, loss));
    for (int i = 0; i < count; i++) {
        struct qn_node *dx = walk->gradients[wrt[i]->id];
        out[i] = dx ? dx : make_filled(g, &wrt[i]->shape, 0);
    }
    return g->error.status;
}

qn_status qn_gradients(qn_graph *g, qn_node *loss, qn_node *const *wrt,
                       int count, qn_node **out)
{
    for (int i = 0; i < count; i++)
        out[i] = NULL;
    if (!g)
        return QN_BAD_ARGUMENT;
    QN_TRY(check_arguments(g, loss, wrt, count));
    const size_t nodes = (size_t)g->node_count;
    struct walk walk = {
        .graph = g,
        .nodes = calloc(nodes, sizeof *walk.nodes),
        .gradients = calloc(nodes, sizeof *walk.gradients),
        .needed = calloc(nodes, sizeof *walk.needed),
    };
    qn_status status;
    if (walk.nodes && walk.gradients && walk.needed)
        status = make_gradients(&walk, loss, wrt, count, out);
    else
        status = qn_graph_fail(g, QN_NO_MEMORY,
                               "gradients: out of memory for %d nodes",
                               g->node_count);
    free(walk.needed);
    free(walk.gradients);
    free(walk.nodes);
    return status;
}
