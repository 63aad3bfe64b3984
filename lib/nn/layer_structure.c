// Containers, and layers with several inputs.
#include "nn/layer.h"

#include "graph/graph.h"
#include "quern/op.h"

// False, with an error, unless y has the shape of x.
static bool is_alike(qn_graph *g, const char *what, const qn_node *x,
                     const qn_node *y)
{
    char have[128], want[128];
    if (!x || !y)
        return false;
    if (qn_shape_equal(&x->shape, &y->shape))
        return true;
    qn_graph_fail(g, QN_BAD_SHAPE, "%s: %s and %s must have one shape", what,
                  qn_shape_text(&x->shape, want, sizeof want),
                  qn_shape_text(&y->shape, have, sizeof have));
    return false;
}

// ---- several inputs ----

static qn_node *build_add(qn_graph *g, qn_node *x,
                          const struct qn_layer_use *use)
{
    for (int i = 1; i < use->input_count; i++)
        x = is_alike(g, "add", x, use->inputs[i])
                ? qn_add(g, x, use->inputs[i])
                : NULL;
    return x;
}

static qn_node *build_multiply(qn_graph *g, qn_node *x,
                               const struct qn_layer_use *use)
{
    for (int i = 1; i < use->input_count; i++)
        x = is_alike(g, "multiply", x, use->inputs[i])
                ? qn_mul(g, x, use->inputs[i])
                : NULL;
    return x;
}

static const struct qn_layer_key concat_keys[] = {
    {"axis", "integer", "1: features or channels", 1, 4, 1, NULL},
    {0},
};

static qn_node *build_concat(qn_graph *g, qn_node *x,
                             const struct qn_layer_use *use)
{
    (void)x;
    return qn_concat(g, use->inputs, use->input_count, (int)use->values[0]);
}

// ---- containers ----

static const struct qn_layer_list sequential_lists[] = {
    {.key = "layers", .scope = ""},
    {0},
};

static qn_node *build_sequential(qn_graph *g, qn_node *x,
                                 const struct qn_layer_use *use)
{
    return qn_layer_run(use, g, 0, x);
}

enum { RESIDUAL_LAYERS, RESIDUAL_SHORTCUT };

static const struct qn_layer_list residual_lists[] = {
    [RESIDUAL_LAYERS] = {.key = "layers", .scope = "layers"},
    [RESIDUAL_SHORTCUT] = {.key = "shortcut", .scope = "shortcut",
                           .is_optional = true},
    {0},
};

static const struct qn_layer_key residual_keys[] = {
    {"drop", "number", "probability of dropping layers(x) of a sample", 0, 1,
     0, NULL},
    {0},
};

// y = m layers(x) + shortcut(x)
static qn_node *build_residual(qn_graph *g, qn_node *x,
                               const struct qn_layer_use *use)
{
    qn_node *y = qn_layer_run(use, g, RESIDUAL_LAYERS, x);
    qn_node *shortcut = qn_layer_run(use, g, RESIDUAL_SHORTCUT, x);
    y = qn_layer_keep_branch(g, y, 1 - use->values[0], use);
    return is_alike(g, "residual: what comes from layers and from shortcut",
                    y, shortcut)
               ? qn_add(g, y, shortcut)
               : NULL;
}

static const struct qn_layer_list parallel_lists[] = {
    {.key = "branches", .scope = "branches", .is_many = true},
    {0},
};

static qn_node *build_parallel(qn_graph *g, qn_node *x,
                               const struct qn_layer_use *use)
{
    const int count = use->spec->list_count;
    qn_node **branches =
        qn_arena_alloc(&g->arena, (size_t)count * sizeof *branches);
    if (!branches)
        return NULL;
    for (int i = 0; i < count; i++)
        branches[i] = qn_layer_run(use, g, i, x);
    return qn_concat(g, branches, count, (int)use->values[0]);
}

const struct qn_layer qn_layers_structure[] = {
    {.name = "add", .formula = "y = x1 + x2 + ..., all of one shape",
     .build = build_add, .takes_many = true},
    {.name = "multiply", .formula = "y = x1 x2 ..., all of one shape",
     .build = build_multiply, .takes_many = true},
    {.name = "concat", .formula = "inputs side by side along an axis",
     .keys = concat_keys, .build = build_concat, .takes_many = true},
    {.name = "sequential", .formula = "y = layers(x), one after the other",
     .build = build_sequential, .lists = sequential_lists},
    {.name = "residual",
     .formula = "y = layers(x) + shortcut(x); without shortcut: + x. With "
                "drop as stochastic_depth on layers(x)",
     .keys = residual_keys, .build = build_residual, .lists = residual_lists},
    {.name = "parallel",
     .formula = "branches, each fed with x, side by side along an axis",
     .keys = concat_keys, .build = build_parallel, .lists = parallel_lists},
    {0},
};
