// DropConnect (Wan et al. 2013): a dense layer that drops weights, with its
// activation, since the better of its two predictions is the mean of that.
#include <math.h>

#include "graph/graph.h"
#include "nn/layer.h"
#include "quern/op.h"

enum { UNITS, P, MASKS, PREDICTION, ACTIVATION, WEIGHT };
enum { PER_SAMPLE, PER_BATCH };
enum { BY_MEAN, BY_GAUSSIAN };
enum { NO_ACTIVATION, RELU, SIGMOID, TANH };

static const struct qn_layer_key keys[] = {
    [UNITS] = {"units", "integer", "number of outputs", 1, 1 << 24, NAN,
               NULL},
    [P] = {"p", "number", "probability of dropping a weight", 0, 1, 0.5,
           NULL},
    [MASKS] = {"masks", "choice", "drawn for each sample or each batch", 0, 1,
               0, "sample|batch"},
    [PREDICTION] = {"prediction", "choice",
                    "by the mean weights, or by the mean of the activation "
                    "over the Gaussian with the sums' moments",
                    0, 1, 0, "mean|gaussian"},
    [ACTIVATION] = {"activation", "choice", "a", 0, 3, 0,
                    "none|relu|sigmoid|tanh"},
    QN_WEIGHT_KEYS,
    {0},
};

static qn_node *activate(qn_graph *g, int activation, qn_node *u)
{
    return activation == RELU      ? qn_relu(g, u)
           : activation == SIGMOID ? qn_sigmoid(g, u)
           : activation == TANH    ? qn_tanh(g, u)
                                   : u;
}

// ---- drawing ----

static qn_node *masked_product(qn_graph *g, qn_node *x, qn_node *weight,
                               const struct qn_layer_use *use)
{
    double keep = 1 - use->values[P];
    const bool is_each = use->values[MASKS] == PER_SAMPLE;
    // A mask for all samples is the same in every part of a batch.
    const struct qn_random_params *draw = qn_random_params(
        .seed = use->seed, .step = use->step, .use = "dropconnect",
        .first = is_each ? use->first : NULL);
    if (is_each)
        return qn_dropconnect(g, x, weight, keep, draw);
    qn_node *mask =
        qn_random_bernoulli(g, *qn_node_shape(weight), keep, draw);
    return qn_matmul(g, x, qn_mul(g, weight, mask),
                     qn_matmul_params(.trans_b = true));
}

// ---- predicting ----

// E[max(u, 0)], u normal with this mean and deviation.
static qn_node *mean_relu(qn_graph *g, qn_node *mean, qn_node *deviation)
{
    qn_node *z = qn_div(g, mean, deviation);
    qn_node *gauss = qn_exp(g, qn_scale(g, qn_square(g, z), -0.5));
    qn_node *density = qn_scale(g, gauss, 0.39894228040143268);
    return qn_add(g, qn_mul(g, mean, qn_normal_cdf(g, z)),
                  qn_mul(g, deviation, density));
}

// E[a(u)] by the trapezoidal rule, which converges fast for smooth functions:
// 16 points 0.6 deviations apart, along a last dimension of their own.
static qn_node *mean_smooth(qn_graph *g, int activation, qn_node *mean,
                            qn_node *deviation)
{
    enum { POINTS = 16 };
    const int last = 2;
    const qn_shape *shape = qn_node_shape(mean);
    const qn_shape wide = qn_shape_of(shape->dims[0], shape->dims[1], 1);
    qn_node *table[2];
    double values[2][POINTS], total = 0;
    for (int i = 0; i < POINTS; i++) {
        values[0][i] = 0.6 * (i - (POINTS - 1) / 2.0);
        values[1][i] = exp(-values[0][i] * values[0][i] / 2);
        total += values[1][i];
    }
    for (int k = 0; k < 2; k++) {
        float single[POINTS];
        for (int i = 0; i < POINTS; i++) {
            values[k][i] /= k ? total : 1;
            single[i] = (float)values[k][i];
        }
        bool is_double = g->real == QN_FLOAT64;
        table[k] = qn_constant_data(g, g->real, qn_shape_of(POINTS),
                                    is_double ? (void *)values[k] : single);
    }
    qn_node *u = qn_add(g, qn_reshape(g, mean, wide),
                        qn_mul(g, qn_reshape(g, deviation, wide), table[0]));
    return qn_sum(g, qn_mul(g, activate(g, activation, u), table[1]),
                  qn_reduce_params(.axes = &last, .axis_count = 1));
}

// Moment matching: each sum over weights is taken for normal, with its mean
// (which has the bias) and its variance p (1 - p) sum_i w_i^2 x_i^2.
static qn_node *mean_activation(qn_graph *g, qn_node *x, qn_node *weight,
                                qn_node *mean, const struct qn_layer_use *use)
{
    double p = use->values[P];
    int activation = (int)use->values[ACTIVATION];
    qn_node *variance =
        qn_scale(g, qn_matmul(g, qn_square(g, x), qn_square(g, weight),
                              qn_matmul_params(.trans_b = true)),
                 p * (1 - p));
    // Never 0: the mean is divided by it.
    qn_node *deviation =
        qn_sqrt(g, qn_add_scalar(g, variance, 1e-30));
    return activation == RELU ? mean_relu(g, mean, deviation)
                              : mean_smooth(g, activation, mean, deviation);
}

// ---- the row ----

static qn_node *build(qn_graph *g, qn_node *x, const struct qn_layer_use *use)
{
    int activation = (int)use->values[ACTIVATION];
    double keep = 1 - use->values[P];
    x = qn_layer_flatten(g, x);
    if (!x)
        return NULL;
    int64_t in = qn_node_shape(x)->dims[1];
    int64_t out = (int64_t)use->values[UNITS];
    qn_node *weight = qn_parameter(g, "weight", qn_shape_of(out, in));
    qn_node *u =
        use->stochastic
            ? masked_product(g, x, weight, use)
            : qn_scale(g, qn_matmul(g, x, weight,
                                    qn_matmul_params(.trans_b = true)),
                       keep);
    if (use->values[WEIGHT + QN_KEY_BIAS] != 0)
        u = qn_add(g, u, qn_parameter(g, "bias", qn_shape_of(out)));
    bool is_mean = use->stochastic || use->values[PREDICTION] == BY_MEAN ||
                   activation == NO_ACTIVATION;
    return is_mean ? activate(g, activation, u)
                   : mean_activation(g, x, weight, u, use);
}

static void init(const double *values, const char *parameter,
                 const qn_shape *weight, struct qn_init_params *params)
{
    qn_layer_init_weight(values + WEIGHT, parameter, weight, params);
}

const struct qn_layer qn_layers_dropconnect[] = {
    {.name = "dropconnect",
     .formula = "training: y = a(x (m W)^T + b), m = 1 with probability 1 - p, "
                "else 0; predicting: y = a((1 - p) x W^T + b), or the mean of "
                "a",
     .keys = keys, .build = build, .init = init},
    {0},
};
