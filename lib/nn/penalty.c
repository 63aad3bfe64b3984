// Penalties on parameters, as nodes of a loss; those that the optimizer's launch
// applies on its way are numbers here.
#include "nn/model.h"

#include <math.h>

#include "graph/graph.h"
#include "quern/op.h"

// ---- nodes ----

qn_node *qn_penalty_l1(qn_graph *g, qn_node *w, double lambda)
{
    return qn_scale(g, qn_sum(g, qn_abs(g, w), NULL), lambda);
}

qn_node *qn_penalty_l2(qn_graph *g, qn_node *w, double lambda)
{
    return qn_scale(g, qn_sum(g, qn_square(g, w), NULL), lambda / 2);
}

qn_node *qn_penalty_tie(qn_graph *g, qn_node *a, qn_node *b, double lambda)
{
    char have[128], want[128];
    if (!g || !a || !b)
        return NULL;
    if (!qn_shape_equal(&a->shape, &b->shape)) {
        qn_graph_fail(g, QN_BAD_SHAPE,
                      "a penalty cannot tie \"%s\", %s, to \"%s\", %s",
                      a->name, qn_shape_text(&a->shape, want, sizeof want),
                      b->name, qn_shape_text(&b->shape, have, sizeof have));
        return NULL;
    }
    return qn_penalty_l2(g, qn_sub(g, a, b), 2 * lambda);
}

// ---- the whole group of parameters ----

static bool is_none(const struct qn_penalty *penalty)
{
    return penalty->l1 == 0 && penalty->l2 == 0;
}

// How many blocks of QN_GROUP_ALIGN bytes a parameter takes in its group.
static int64_t block_count(const struct qn_node *parameter)
{
    return ((int64_t)qn_node_size(parameter) + QN_GROUP_ALIGN - 1) /
           QN_GROUP_ALIGN;
}

// All parameters; NULL, and an error, without memory.
static qn_node **list_parameters(qn_graph *g, int *count)
{
    const char *group = qn_graph_parameters(g);
    *count = qn_group_members(g, group, NULL, 0);
    qn_node **list =
        qn_arena_alloc(&g->arena, ((size_t)*count + 1) * sizeof *list);
    if (list)
        qn_group_members(g, group, list, *count);
    else
        qn_graph_fail(g, QN_NO_MEMORY, "no memory for %d parameters", *count);
    return list;
}

// A constant [blocks, columns] whose row, for each block of a parameter, is
// what `fill` makes of the parameter's penalty.
static qn_node *make_table(qn_graph *g, const struct qn_penalty *penalties,
                           int columns,
                           void (*fill)(const struct qn_penalty *penalty,
                                        double *row))
{
    int count;
    qn_node **parameters = list_parameters(g, &count);
    int64_t blocks = 0, at = 0;
    for (int i = 0; parameters && i < count; i++)
        blocks += block_count(parameters[i]);
    size_t size = (size_t)(blocks * columns) * qn_dtype_size(g->real);
    void *data = parameters ? qn_arena_alloc(&g->arena, size + 1) : NULL;
    if (!data)
        return NULL;
    for (int i = 0; i < count; i++) {
        double row[3] = {0};
        fill(&penalties[i], row);
        for (int64_t b = 0; b < block_count(parameters[i]) * columns; b++) {
            if (g->real == QN_FLOAT64)
                ((double *)data)[at++] = row[b % columns];
            else
                ((float *)data)[at++] = (float)row[b % columns];
        }
    }
    return qn_constant_data(g, g->real, qn_shape_of(blocks, columns), data);
}

static void fill_l1(const struct qn_penalty *penalty, double *row)
{
    row[0] = penalty->l1;
}

static void fill_half_l2(const struct qn_penalty *penalty, double *row)
{
    row[0] = penalty->l2 / 2;
}

// One reduction over the group, by blocks: the gaps of alignment are zero.
qn_node *qn_penalty_sum(qn_graph *g, const struct qn_penalty *penalties)
{
    const int64_t width = QN_GROUP_ALIGN / (int64_t)qn_dtype_size(g->real);
    bool has_l1 = false, has_l2 = false;
    const char *group = qn_graph_parameters(g);
    const int count = qn_group_members(g, group, NULL, 0);
    for (int i = 0; penalties && i < count; i++) {
        has_l1 |= penalties[i].l1 != 0;
        has_l2 |= penalties[i].l2 != 0;
    }
    if (!has_l1 && !has_l2)
        return qn_constant(g, 0);
    qn_node *w = qn_reshape(g, qn_group(g, group),
                            qn_shape_of(-1, width));
    qn_node *l1 = NULL, *l2 = NULL;
    if (has_l1)
        l1 = qn_mul(g, qn_abs(g, w), make_table(g, penalties, 1, fill_l1));
    if (has_l2)
        l2 = qn_mul(g, qn_square(g, w),
                    make_table(g, penalties, 1, fill_half_l2));
    return qn_sum(g, !l1 ? l2 : !l2 ? l1 : qn_add(g, l1, l2), NULL);
}

// ---- of a model ----

// A layer's own numbers replace those for all.
static struct qn_penalty penalty_of(const qn_model *model,
                                    const qn_node *parameter,
                                    const struct qn_penalty *all)
{
    const char *local;
    struct qn_penalty penalty = all ? *all : (struct qn_penalty){0};
    if (parameter->shape.rank < 2)
        return (struct qn_penalty){0};
    const struct qn_layer_spec *owner =
        qn_model_find_owner(model, parameter->name, &local);
    if (owner && !isnan(owner->l1))
        penalty.l1 = owner->l1;
    if (owner && !isnan(owner->l2))
        penalty.l2 = owner->l2;
    return penalty;
}

const struct qn_penalty *qn_model_penalties(const qn_model *model,
                                            qn_graph *g,
                                            const struct qn_penalty *all)
{
    int count;
    bool any = false;
    qn_node **parameters = g ? list_parameters(g, &count) : NULL;
    if (!parameters)
        return NULL;
    struct qn_penalty *penalties = qn_arena_alloc(
        &g->arena, ((size_t)count + 1) * sizeof *penalties);
    if (!penalties) {
        qn_graph_fail(g, QN_NO_MEMORY, "no memory for %d penalties", count);
        return NULL;
    }
    for (int i = 0; i < count; i++) {
        penalties[i] = penalty_of(model, parameters[i], all);
        any |= !is_none(&penalties[i]);
    }
    return any ? penalties : NULL;
}

// The node of `path`.`local`, or NULL.
static qn_node *find_parameter(qn_node *const *parameters, int count,
                               const char *path, const char *local)
{
    const size_t length = strlen(path);
    for (int i = 0; i < count; i++) {
        const char *name = parameters[i]->name;
        if (strncmp(name, path, length) == 0 && name[length] == '.' &&
            strcmp(name + length + 1, local) == 0)
            return parameters[i];
    }
    return NULL;
}

// Ties each parameter of a layer to the one of the same name.
static qn_node *tie_layer(qn_graph *g, const struct qn_layer_spec *spec,
                          const char *other, qn_node *const *parameters,
                          int count, qn_node *sum)
{
    const size_t length = strlen(spec->path);
    for (int i = 0; i < count; i++) {
        const char *name = parameters[i]->name;
        if (strncmp(name, spec->path, length) != 0 || name[length] != '.')
            continue;
        qn_node *to =
            find_parameter(parameters, count, other, name + length + 1);
        if (!to)
            qn_graph_fail(g, QN_BAD_ARGUMENT,
                          "layer %s is tied to layer %s, which has no \"%s\"",
                          spec->path, other, name + length + 1);
        qn_node *tie = qn_penalty_tie(g, parameters[i], to,
                                      spec->links.tie_weight);
        sum = sum ? qn_add(g, sum, tie) : tie;
    }
    return sum;
}

qn_node *qn_model_ties(const qn_model *model, qn_graph *g)
{
    int count;
    qn_node *sum = NULL;
    qn_node **parameters = g ? list_parameters(g, &count) : NULL;
    for (int i = 0; parameters && i < model->layer_count; i++) {
        const struct qn_layer_spec *spec = model->all[i];
        if (spec->links.tie)
            sum = tie_layer(g, spec, model->all[spec->links.tie_layer]->path,
                            parameters, count, sum);
    }
    return sum;
}
