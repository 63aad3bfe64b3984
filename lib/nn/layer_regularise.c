// Layers that regularise by chance: they draw in training and are fixed in
// prediction. A mask of every element is never stored: it is a random row of
// the graph, which the kernels of the backward pass draw again. One number a
// channel or a sample is kept.
#include "nn/layer.h"
#include "quern/op.h"

// 1 with probability `keep`, else 0, for each element of the first `rank`
// dimensions of x; the others share it.
static qn_node *draw_mask(qn_graph *g, qn_node *x, int rank, double keep,
                          const char *name, const struct qn_layer_use *use)
{
    qn_shape shape = *qn_node_shape(x);
    for (int i = rank; i < shape.rank; i++)
        shape.dims[i] = 1;
    return qn_random_bernoulli(g, shape, keep,
                               qn_random_params(.seed = use->seed,
                                                .step = use->step,
                                                .first = use->first,
                                                .use = name));
}

// ---- dropout ----

enum { DROPOUT_P, DROPOUT_CLASSIC };

static const struct qn_layer_key dropout_keys[] = {
    {"p", "number", "probability of dropping an element", 0, 1, 0.5, NULL},
    {"classic", "boolean",
     "y = x m in training and (1 - p) x in prediction", 0, 1, 0, NULL},
    {0},
};

static qn_node *drop(qn_graph *g, qn_node *x, int rank,
                     const struct qn_layer_use *use)
{
    double keep = 1 - use->values[DROPOUT_P];
    bool is_classic = use->values[DROPOUT_CLASSIC] != 0;
    if (!x || keep == 1)
        return x;
    if (!use->stochastic)
        return is_classic ? qn_scale(g, x, keep) : x;
    qn_node *mask = draw_mask(g, x, rank, keep, "dropout", use);
    qn_node *y = qn_mul(g, x, mask); // bare: a scaled mask would be stored
    return is_classic ? y : qn_scale(g, y, keep > 0 ? 1 / keep : 0);
}

static qn_node *build_dropout(qn_graph *g, qn_node *x,
                              const struct qn_layer_use *use)
{
    return drop(g, x, QN_MAX_RANK, use);
}

// Of [n, c, ...], all of a channel or nothing.
static qn_node *build_spatial_dropout(qn_graph *g, qn_node *x,
                                      const struct qn_layer_use *use)
{
    return drop(g, x, 2, use);
}

// ---- stochastic depth ----

qn_node *qn_layer_keep_branch(qn_graph *g, qn_node *branch, double survival,
                              const struct qn_layer_use *use)
{
    if (!branch || survival == 1)
        return branch;
    if (!use->stochastic)
        return qn_scale(g, branch, survival);
    return qn_mul(g, branch,
                  draw_mask(g, branch, 1, survival, "branch", use));
}

static const struct qn_layer_key depth_keys[] = {
    {"p", "number", "probability of dropping a sample's branch", 0, 1, 0.5,
     NULL},
    {0},
};

static qn_node *build_depth(qn_graph *g, qn_node *x,
                            const struct qn_layer_use *use)
{
    return qn_layer_keep_branch(g, x, 1 - use->values[0], use);
}

const struct qn_layer qn_layers_regularise[] = {
    {.name = "dropout",
     .formula = "training: y = x m / (1 - p), m = 1 with probability 1 - p, "
                "else 0; predicting: y = x",
     .keys = dropout_keys, .build = build_dropout},
    {.name = "spatial_dropout",
     .formula = "dropout with one m for all of a channel of a sample",
     .keys = dropout_keys, .build = build_spatial_dropout},
    {.name = "stochastic_depth",
     .formula = "training: y = x m, one m a sample, 1 with probability 1 - p, "
                "else 0; predicting: y = (1 - p) x",
     .keys = depth_keys, .build = build_depth},
    {0},
};
