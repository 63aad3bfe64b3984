// Leaves: what a graph begins with. They do no work; the plan binds them.
#include <stdio.h>
#include <string.h>

#include "graph/graph.h"

static qn_status keep_shape(struct qn_node *node)
{
    (void)node;
    return QN_OK;
}

const struct qn_op qn_op_input = {
    .name = "input",
    .formula = "written by the host",
    .flags = QN_OP_LEAF | QN_OP_INPUT | QN_OP_NO_GRAD,
    .infer = keep_shape,
};
const struct qn_op qn_op_scalar = {
    .name = "scalar",
    .formula = "set by the host before a run",
    .flags = QN_OP_LEAF | QN_OP_LIVE | QN_OP_NO_GRAD,
    .infer = keep_shape,
};
const struct qn_op qn_op_constant = {
    .name = "constant",
    .formula = "p0",
    .flags = QN_OP_LEAF | QN_OP_CONSTANT | QN_OP_NO_GRAD,
    .infer = keep_shape,
};
const struct qn_op qn_op_constant_data = {
    .name = "constant_data",
    .formula = "fixed content",
    .flags = QN_OP_LEAF | QN_OP_DATA | QN_OP_NO_GRAD,
    .infer = keep_shape,
};
const struct qn_op qn_op_variable = {
    .name = "variable",
    .formula = "named state in a store",
    .flags = QN_OP_LEAF | QN_OP_STATE | QN_OP_NO_GRAD,
    .infer = keep_shape,
};
const struct qn_op qn_op_group = {
    .name = "group",
    .formula = "all variables of a group, flat",
    .flags = QN_OP_LEAF | QN_OP_STATE | QN_OP_NO_GRAD,
    .infer = keep_shape,
};

static struct qn_node *make_leaf(struct qn_graph *g, const struct qn_op *op,
                                 const char *name, qn_dtype dtype,
                                 const qn_shape *shape, const double *p,
                                 const void *params, size_t params_size)
{
    if (!g || g->error.status)
        return NULL;
    if (shape->rank < 0 || shape->rank > QN_MAX_RANK ||
        qn_shape_count(shape) < 1) {
        char text[128];
        qn_graph_fail(g, QN_BAD_SHAPE,
                      "%s \"%s\": shape %s needs 0 to %d dimensions of at "
                      "least 1",
                      op->name, name,
                      shape->rank >= 0 && shape->rank <= QN_MAX_RANK
                          ? qn_shape_text(shape, text, sizeof text)
                          : "of a bad rank",
                      QN_MAX_RANK);
        return NULL;
    }
    struct qn_node *node =
        qn_node_create(g, op, NULL, 0, p, params, params_size);
    if (!node)
        return NULL;
    node->dtype = dtype;
    node->shape = *shape;
    node->name = qn_arena_string(&g->arena, name);
    return node;
}

qn_node *qn_input(qn_graph *g, const char *name, qn_dtype dtype,
                  qn_shape shape)
{
    return make_leaf(g, &qn_op_input, name, dtype, &shape, NULL, NULL, 0);
}

qn_node *qn_scalar(qn_graph *g, const char *name)
{
    qn_shape shape = {0};
    return make_leaf(g, &qn_op_scalar, name, g ? g->real : QN_FLOAT32, &shape,
                     NULL, NULL, 0);
}

qn_node *qn_constant(qn_graph *g, double value)
{
    qn_shape shape = {0};
    double p[QN_MAX_POINTWISE_PARAMS] = {value};
    return make_leaf(g, &qn_op_constant, "constant",
                     g ? g->real : QN_FLOAT32, &shape, p, NULL, 0);
}

qn_node *qn_constant_data(qn_graph *g, qn_dtype dtype, qn_shape shape,
                          const void *data)
{
    if (!g || g->error.status || qn_shape_count(&shape) < 1)
        return make_leaf(g, &qn_op_constant_data, "constant", dtype, &shape,
                         NULL, NULL, 0);
    size_t size = (size_t)qn_shape_count(&shape) * qn_dtype_size(dtype);
    struct qn_data_params params = {
        .data = qn_arena_copy(&g->arena, data, size)};
    return make_leaf(g, &qn_op_constant_data, "constant", dtype, &shape, NULL,
                     &params, sizeof params);
}

static struct qn_node *find_variable(const struct qn_graph *g,
                                     const char *group, const char *name)
{
    for (struct qn_node *node = g->first; node; node = node->next)
        if (node->op == &qn_op_variable && strcmp(node->group, group) == 0 &&
            strcmp(node->name, name) == 0)
            return node;
    return NULL;
}

qn_node *qn_variable(qn_graph *g, const char *group, const char *name,
                     qn_dtype dtype, qn_shape shape)
{
    if (!g || g->error.status)
        return NULL;
    struct qn_node *node = find_variable(g, group, name);
    if (node) {
        if (node->dtype == dtype && qn_shape_equal(&node->shape, &shape))
            return node;
        char have[128], want[128];
        qn_graph_fail(g, QN_BAD_SHAPE,
                      "variable \"%s\" is declared as %s %s and again as %s "
                      "%s",
                      name, qn_dtype_name(node->dtype),
                      qn_shape_text(&node->shape, have, sizeof have),
                      qn_dtype_name(dtype),
                      qn_shape_text(&shape, want, sizeof want));
        return NULL;
    }
    node = make_leaf(g, &qn_op_variable, name, dtype, &shape, NULL, NULL, 0);
    if (node)
        node->group = qn_arena_string(&g->arena, group);
    return node;
}

void qn_graph_alias(qn_graph *g, const char *parameters, const char *buffers)
{
    if (!g)
        return;
    g->parameters = parameters ? qn_arena_string(&g->arena, parameters) : NULL;
    g->buffers = buffers ? qn_arena_string(&g->arena, buffers) : NULL;
    if ((parameters && !g->parameters) || (buffers && !g->buffers))
        qn_graph_fail(g, QN_NO_MEMORY, "no memory for the name of a group");
}

const char *qn_graph_parameters(const qn_graph *g)
{
    return g->parameters ? g->parameters : "parameters";
}

// The name of a parameter, where scopes are shared that of another one.
static const char *shared_path(struct qn_graph *g, const char *path)
{
    char text[512];
    for (const struct qn_share *s = g->share; s; s = s->outer) {
        size_t length = strlen(s->from);
        if (strncmp(path, s->from, length) != 0 || path[length] != '.')
            continue;
        snprintf(text, sizeof text, "%s%s", s->to, path + length);
        path = qn_arena_string(&g->arena, text);
        if (path && !find_variable(g, qn_graph_parameters(g), path))
            qn_graph_fail(g, QN_BAD_ARGUMENT,
                          "shares \"%s\", which does not exist", path);
    }
    return path;
}

qn_node *qn_parameter(qn_graph *g, const char *name, qn_shape shape)
{
    if (!g || g->error.status)
        return NULL;
    const char *path = shared_path(g, qn_graph_path(g, name));
    return path ? qn_variable(g, qn_graph_parameters(g), path, g->real, shape)
                : NULL;
}

qn_node *qn_buffer(qn_graph *g, const char *name, qn_shape shape)
{
    if (!g || g->error.status)
        return NULL;
    return qn_variable(g, g->buffers ? g->buffers : "buffers",
                       qn_graph_path(g, name), g->real, shape);
}

int qn_group_members(qn_graph *g, const char *group, qn_node **members,
                     int capacity)
{
    int count = 0;
    for (struct qn_node *node = g ? g->first : NULL; node; node = node->next) {
        if (node->op != &qn_op_variable || strcmp(node->group, group) != 0)
            continue;
        if (count < capacity)
            members[count] = node;
        count++;
    }
    return count;
}

qn_node *qn_group(qn_graph *g, const char *group)
{
    if (!g || g->error.status)
        return NULL;
    int64_t size = 0;
    qn_dtype dtype = g->real;
    for (struct qn_node *node = g->first; node; node = node->next) {
        if (node->op != &qn_op_variable || strcmp(node->group, group) != 0)
            continue;
        dtype = node->dtype;
        size += ((int64_t)qn_node_size(node) + QN_GROUP_ALIGN - 1) /
                QN_GROUP_ALIGN * QN_GROUP_ALIGN;
    }
    qn_shape shape = {.rank = 1, .dims = {size / (int64_t)qn_dtype_size(dtype)}};
    struct qn_node *node = make_leaf(g, &qn_op_group, group, dtype, &shape,
                                     NULL, NULL, 0);
    if (node)
        node->group = node->name;
    return node;
}
