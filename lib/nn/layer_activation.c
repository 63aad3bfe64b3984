// Layers that are one function of each element, softmax, and maxout.
#include "graph/graph.h"
#include "nn/layer.h"
#include "quern/op.h"

// ---- with a slope left of 0 ----

static const struct qn_layer_key leaky_relu_keys[] = {
    {"slope", "number", "for x < 0", 0, 1, 0.01, NULL},
    {0},
};

static qn_node *build_leaky_relu(qn_graph *g, qn_node *x,
                                 const struct qn_layer_use *use)
{
    return qn_leaky_relu(g, x, use->values[0]);
}

enum { PRELU_SLOPE, PRELU_PER_CHANNEL };

static const struct qn_layer_key prelu_keys[] = {
    {"slope", "number", "for x <= 0, before training", -10, 10, 0.25, NULL},
    {"per_channel", "boolean", "one a for each channel, not one for all", 0,
     1, 0, NULL},
    {0},
};

// The weight is [1] or [channels], as PyTorch has it.
static qn_node *build_prelu(qn_graph *g, qn_node *x,
                            const struct qn_layer_use *use)
{
    const qn_shape *shape = qn_node_shape(x);
    bool is_shared = use->values[PRELU_PER_CHANNEL] == 0 || shape->rank < 2;
    int64_t count = is_shared ? 1 : shape->dims[1];
    qn_node *a = qn_parameter(g, "weight", qn_shape_of(count));
    qn_shape wide = {.rank = shape->rank > 1 ? shape->rank - 1 : 1,
                     .dims = {count, 1, 1, 1, 1}};
    return qn_prelu(g, x, qn_reshape(g, a, wide));
}

static void init_prelu(const double *values, const char *parameter,
                       const qn_shape *weight, struct qn_init_params *params)
{
    (void)parameter, (void)weight;
    *params = (struct qn_init_params){.init = qn_init_find("constant"),
                                      .value = values[PRELU_SLOPE]};
}

enum { RRELU_LOWER, RRELU_UPPER };

static const struct qn_layer_key rrelu_keys[] = {
    {"lower", "number", "least slope for x <= 0", 0, 1, 1.0 / 8, NULL},
    {"upper", "number", "largest slope for x <= 0", 0, 1, 1.0 / 3, NULL},
    {0},
};

static qn_node *build_rrelu(qn_graph *g, qn_node *x,
                            const struct qn_layer_use *use)
{
    double lower = use->values[RRELU_LOWER], upper = use->values[RRELU_UPPER];
    if (lower > upper) {
        qn_graph_fail(g, QN_BAD_ARGUMENT,
                      "rrelu: lower is %g and must not be above upper, %g",
                      lower, upper);
        return NULL;
    }
    if (!use->stochastic)
        return qn_leaky_relu(g, x, (lower + upper) / 2);
    qn_node *slope = qn_random_uniform(
        g, *qn_node_shape(x), lower, upper,
        qn_random_params(.seed = use->seed, .step = use->step,
                         .first = use->first, .use = "slope"));
    return qn_prelu(g, x, slope);
}

// ---- others with a number ----

static const struct qn_layer_key elu_keys[] = {
    {"alpha", "number", "-y far left of 0", 0, 100, 1, NULL},
    {0},
};

static qn_node *build_elu(qn_graph *g, qn_node *x,
                          const struct qn_layer_use *use)
{
    return qn_elu(g, x, use->values[0]);
}

static const struct qn_layer_key gelu_keys[] = {
    {"approximate", "choice", "by tanh, as PyTorch calls it", 0, 1, 0,
     "none|tanh"},
    {0},
};

static qn_node *build_gelu(qn_graph *g, qn_node *x,
                           const struct qn_layer_use *use)
{
    return use->values[0] == 0 ? qn_gelu(g, x) : qn_gelu_tanh(g, x);
}

static const struct qn_layer_key hard_tanh_keys[] = {
    {"low", "number", "least y", -1e6, 1e6, -1, NULL},
    {"high", "number", "largest y", -1e6, 1e6, 1, NULL},
    {0},
};

static qn_node *build_hard_tanh(qn_graph *g, qn_node *x,
                                const struct qn_layer_use *use)
{
    return qn_hard_tanh(g, x, use->values[0], use->values[1]);
}

static const struct qn_layer_key max_pieces_keys[] = {
    {"pieces", "integer", "features that one maximum is taken of", 1, 1 << 16,
     2, NULL},
    {0},
};

static qn_node *build_max_pieces(qn_graph *g, qn_node *x,
                                 const struct qn_layer_use *use)
{
    return qn_maxout(g, x, (int)use->values[0]);
}

// ---- softmax: over the classes, the dimension after the batch ----

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
    {.name = "prelu", .formula = "y = x > 0 ? x : a x, a learned",
     .keys = prelu_keys, .build = build_prelu, .init = init_prelu},
    {.name = "rrelu",
     .formula = "y = x > 0 ? x : a x; training: a uniform on [lower, upper]; "
                "predicting: a = (lower + upper) / 2",
     .keys = rrelu_keys, .build = build_rrelu},
    {.name = "relu6", .formula = "y = min(max(x, 0), 6)", .apply = qn_relu6},
    {.name = "hard_tanh", .formula = "y = min(max(x, low), high)",
     .keys = hard_tanh_keys, .build = build_hard_tanh},
    {.name = "elu", .formula = "y = x > 0 ? x : alpha (e^x - 1)",
     .keys = elu_keys, .build = build_elu},
    {.name = "selu",
     .formula = "y = 1.0507 (x > 0 ? x : 1.67326 (e^x - 1))",
     .apply = qn_selu},
    {.name = "softplus", .formula = "y = log(1 + e^x)",
     .apply = qn_softplus},
    {.name = "softsign", .formula = "y = x / (1 + |x|)",
     .apply = qn_softsign},
    {.name = "gelu",
     .formula = "y = x (1 + erf(x / sqrt(2))) / 2; with tanh: "
                "x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2",
     .keys = gelu_keys, .build = build_gelu},
    {.name = "silu", .formula = "y = x / (1 + e^-x)", .apply = qn_silu},
    {.name = "mish", .formula = "y = x tanh(log(1 + e^x))",
     .apply = qn_mish},
    {.name = "max_pieces",
     .formula = "y[n, u, ...] = max over k < pieces of "
                "x[n, k units + u, ...]",
     .keys = max_pieces_keys, .build = build_max_pieces},
    {.name = "softmax", .formula = "y_i = e^x_i / sum_j e^x_j, axis 1",
     .apply = softmax},
    {.name = "log_softmax", .formula = "y_i = x_i - log sum_j e^x_j, axis 1",
     .apply = log_softmax},
    {0},
};
