// Layers that regularise by chance: they draw in training and are fixed in
// prediction.
#include "nn/layer.h"
#include "quern/op.h"

static const struct qn_layer_key dropout_keys[] = {
    {"p", "number", "probability of dropping an element", 0, 1, 0.5, NULL},
    {0},
};

// y = x m / (1 - p), m[i] = 1 with probability 1 - p, else 0
static qn_node *build_dropout(qn_graph *g, qn_node *x,
                              const struct qn_layer_use *use)
{
    double p = use->values[0];
    if (!use->stochastic || p == 0)
        return x;
    qn_node *mask = qn_random_bernoulli(
        g, *qn_node_shape(x), 1 - p,
        qn_random_params(.seed = use->seed, .step = use->step,
                         .use = "dropout"));
    return qn_mul(g, x, qn_scale(g, mask, p < 1 ? 1 / (1 - p) : 0));
}

const struct qn_layer qn_layers_regularise[] = {
    {.name = "dropout",
     .formula = "training: y = x m / (1 - p), m = 1 with probability 1 - p, "
                "else 0; predicting: y = x",
     .keys = dropout_keys, .build = build_dropout},
    {0},
};
