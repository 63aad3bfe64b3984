// Graphs and nodes: building, the sticky error, scopes. Never sees a device.
#include "graph/graph.h"

#include <stdlib.h>
#include <string.h>
#include <stdio.h>

qn_graph *qn_graph_create(qn_dtype real)
{
    if (real != QN_FLOAT32 && real != QN_FLOAT64)
        return NULL;
    struct qn_graph *g = calloc(1, sizeof *g);
    if (g)
        g->real = real;
    return g;
}

void qn_graph_destroy(qn_graph **graph)
{
    if (!graph || !*graph)
        return;
    qn_arena_finish(&(*graph)->arena);
    free(*graph);
    *graph = NULL;
}

qn_status qn_graph_check(const qn_graph *g, qn_error *error)
{
    if (!g)
        return qn_fail(error, QN_BAD_ARGUMENT, "the graph is NULL");
    if (g->error.status)
        qn_fail(error, g->error.status, "%s", g->error.text);
    return g->error.status;
}

qn_graph *qn_graph_at(qn_graph *g, const char *file, int line)
{
    if (g) {
        g->file = file;
        g->line = line;
    }
    return g;
}

void qn_graph_push(qn_graph *g, const char *name)
{
    if (!g)
        return;
    size_t used = strlen(g->scope);
    if (used + strlen(name) + 2 > sizeof g->scope ||
        g->scope_depth == QN_MAX_SCOPES) {
        qn_graph_fail(g, QN_BAD_ARGUMENT, "scope \"%s.%s\" is too long",
                      g->scope, name);
        return;
    }
    g->scope_ends[g->scope_depth++] = used;
    snprintf(g->scope + used, sizeof g->scope - used, "%s%s", used ? "." : "",
             name);
}

void qn_graph_pop(qn_graph *g)
{
    if (g && g->scope_depth)
        g->scope[g->scope_ends[--g->scope_depth]] = 0;
}

const char *qn_graph_path(struct qn_graph *g, const char *use)
{
    char path[512];
    snprintf(path, sizeof path, "%s%s%s", g->scope, *g->scope ? "." : "", use);
    return qn_arena_string(&g->arena, path);
}

const qn_shape *qn_node_shape(const qn_node *node)
{
    return &node->shape;
}

qn_dtype qn_node_dtype(const qn_node *node)
{
    return node->dtype;
}

const char *qn_node_name(const qn_node *node)
{
    return node->name ? node->name : "";
}

int64_t qn_node_count(const struct qn_node *node)
{
    return qn_shape_count(&node->shape);
}

size_t qn_node_size(const struct qn_node *node)
{
    return (size_t)qn_node_count(node) * qn_dtype_size(node->dtype);
}

// "model.c:12: matmul in 0: " before the message.
static qn_status fail_at(struct qn_graph *g, const char *op, qn_status status,
                         const char *format, va_list args)
{
    if (g->error.status)
        return status;
    char message[1200], place[300] = "";
    vsnprintf(message, sizeof message, format, args);
    if (g->file) {
        const char *slash = strrchr(g->file, '/');
        snprintf(place, sizeof place, "%s:%d: ", slash ? slash + 1 : g->file,
                 g->line);
    }
    return qn_fail(&g->error, status, "%s%s%s%s%s%s", place, op,
                   *g->scope ? " in " : "", g->scope, *op || *g->scope ? ": "
                                                                       : "",
                   message);
}

qn_status qn_graph_fail(struct qn_graph *g, qn_status status,
                        const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail_at(g, "", status, format, args);
    va_end(args);
    return status;
}

qn_status qn_node_fail(struct qn_node *node, qn_status status,
                       const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail_at(node->graph, node->op->name, status, format, args);
    va_end(args);
    return status;
}

static bool inputs_fit(struct qn_graph *g, const struct qn_op *op,
                       struct qn_node *const *inputs, int count)
{
    if (count < op->min_inputs ||
        (op->max_inputs >= 0 && count > op->max_inputs)) {
        qn_graph_fail(g, QN_BAD_ARGUMENT, "%s takes %d inputs, not %d",
                      op->name, op->min_inputs, count);
        return false;
    }
    for (int i = 0; i < count; i++) {
        if (!inputs[i]) {
            qn_graph_fail(g, QN_BAD_ARGUMENT, "%s: input %d is NULL",
                          op->name, i);
            return false;
        }
        if (inputs[i]->graph != g) {
            qn_graph_fail(g, QN_BAD_ARGUMENT,
                          "%s: input %d belongs to another graph", op->name,
                          i);
            return false;
        }
    }
    return true;
}

bool qn_node_remove(struct qn_node *node)
{
    struct qn_graph *g = node->graph;
    struct qn_node *before = NULL;
    for (struct qn_node *other = g->first; other; other = other->next) {
        for (int i = 0; i < other->input_count; i++)
            if (other->inputs[i] == node)
                return false;
        if (other->next == node)
            before = other;
    }
    *(before ? &before->next : &g->first) = node->next;
    if (g->last == node)
        g->last = before;
    for (struct qn_node *other = node->next; other; other = other->next)
        other->id--;
    g->node_count--;
    return true;
}

struct qn_node *qn_node_create(struct qn_graph *g, const struct qn_op *op,
                               struct qn_node *const *inputs, int input_count,
                               const double *p, const void *params,
                               size_t params_size)
{
    if (!g || g->error.status || !inputs_fit(g, op, inputs, input_count))
        return NULL;
    struct qn_node *node = qn_arena_alloc(&g->arena, sizeof *node);
    if (!node) {
        qn_fail_memory(&g->error, sizeof *node);
        return NULL;
    }
    node->op = op;
    node->graph = g;
    node->dtype = g->real;
    node->inputs = qn_arena_copy(&g->arena, inputs,
                                 (size_t)input_count * sizeof *inputs);
    node->input_count = input_count;
    if (p)
        memcpy(node->p, p, sizeof node->p);
    if (params)
        node->params = qn_arena_copy(&g->arena, params, params_size);
    node->name = qn_arena_string(&g->arena, g->scope);
    node->file = g->file;
    node->line = g->line;
    if (!node->inputs || !node->name || (params && !node->params)) {
        qn_fail_memory(&g->error, params_size);
        return NULL;
    }
    if (op->infer(node) != QN_OK)
        return NULL;
    node->id = g->node_count++;
    *(g->last ? &g->last->next : &g->first) = node;
    g->last = node;
    return node;
}
