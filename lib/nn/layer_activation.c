// Layers that are one function of each element, and softmax.
#include "nn/layer.h"
#include "quern/op.h"

static const struct qn_layer_key leaky_relu_keys[] = {
    {"slope", "number", "for x < 0", 0, 1, 0.01, NULL},
    {0},
};

static qn_node *build_leaky_relu(qn_graph *g, qn_node *x,
                                 const struct qn_layer_use *use)
{
    return qn_leaky_relu(g, x, use->values[0]);
}

// Over the classes: the dimension after the batch.
static qn_node *softmax(qn_graph *g, qn_node *x)
{
    return qn_softmax(g, x, 1);
}

static qn_node *log_softmax(qn_graph *g, qn_node *x)
{
    return qn_log_softmax(g, x, 1);
}

const struct qn_layer qn_layers_activation[] = {
    {.name = "relu", .formula = "y = x > 0 ? x : 0", .apply = qn_relu},
    {.name = "sigmoid", .formula = "y = 1 / (1 + e^-x)",
     .apply = qn_sigmoid},
    {.name = "tanh", .formula = "y = (e^x - e^-x) / (e^x + e^-x)",
     .apply = qn_tanh},
    {.name = "leaky_relu", .formula = "y = x > 0 ? x : slope x",
     .keys = leaky_relu_keys, .build = build_leaky_relu},
    {.name = "softmax", .formula = "y_i = e^x_i / sum_j e^x_j, axis 1",
     .apply = softmax},
    {.name = "log_softmax", .formula = "y_i = x_i - log sum_j e^x_j, axis 1",
     .apply = log_softmax},
    {0},
};
