// Layers that are a matrix product, and how weights and biases start.
#include <math.h>

#include "nn/layer.h"
#include "quern/op.h"

// y[n, out] = x[n, in] W^T + b; `values` begins at the QN_WEIGHT_KEYS.
static qn_node *affine(qn_graph *g, qn_node *x, int64_t out,
                       const double *values)
{
    x = qn_layer_flatten(g, x);
    if (!x)
        return NULL;
    int64_t in = qn_node_shape(x)->dims[1];
    qn_node *weight = qn_parameter(g, "weight", qn_shape_of(out, in));
    qn_node *y = qn_matmul(g, x, weight, qn_matmul_params(.trans_b = true));
    if (values[QN_KEY_BIAS] == 0)
        return y;
    return qn_add(g, y, qn_parameter(g, "bias", qn_shape_of(out)));
}

// ---- dense ----

enum { DENSE_UNITS, DENSE_WEIGHT };

static const struct qn_layer_key dense_keys[] = {
    {"units", "integer", "number of outputs", 1, 1 << 24, NAN, NULL},
    QN_WEIGHT_KEYS,
    {0},
};

static qn_node *build_dense(qn_graph *g, qn_node *x,
                            const struct qn_layer_use *use)
{
    return affine(g, x, (int64_t)use->values[DENSE_UNITS],
                  use->values + DENSE_WEIGHT);
}

static void init_dense(const double *values, const char *parameter,
                       const qn_shape *weight, struct qn_init_params *params)
{
    qn_layer_init_weight(values + DENSE_WEIGHT, parameter, weight, params);
}

// ---- maxout ----

enum { MAXOUT_UNITS, MAXOUT_PIECES, MAXOUT_WEIGHT };

static const struct qn_layer_key maxout_keys[] = {
    {"units", "integer", "number of outputs", 1, 1 << 20, NAN, NULL},
    {"pieces", "integer", "affine pieces of each output", 1, 1 << 10, 2,
     NULL},
    QN_WEIGHT_KEYS,
    {0},
};

// The weight is [pieces * units, in], all units of a piece side by side.
static qn_node *build_maxout(qn_graph *g, qn_node *x,
                             const struct qn_layer_use *use)
{
    int pieces = (int)use->values[MAXOUT_PIECES];
    int64_t units = (int64_t)use->values[MAXOUT_UNITS];
    return qn_maxout(g, affine(g, x, pieces * units,
                               use->values + MAXOUT_WEIGHT),
                     pieces);
}

static void init_maxout(const double *values, const char *parameter,
                        const qn_shape *weight, struct qn_init_params *params)
{
    qn_layer_init_weight(values + MAXOUT_WEIGHT, parameter, weight, params);
}

const struct qn_layer qn_layers_dense[] = {
    {.name = "dense",
     .formula = "y = x W^T + b, x flattened to [n, in], W [units, in]",
     .keys = dense_keys, .build = build_dense, .init = init_dense},
    {.name = "maxout",
     .formula = "y_u = max over k < pieces of (x W^T + b)_(k units + u), W "
                "[pieces * units, in]",
     .keys = maxout_keys, .build = build_maxout, .init = init_maxout},
    {0},
};

// ---- first values ----

void qn_layer_init_weight(const double *values, const char *parameter,
                          const qn_shape *weight,
                          struct qn_init_params *params)
{
    if (strcmp(parameter, "weight") == 0) {
        *params = (struct qn_init_params){
            .init = qn_init_at((int)values[QN_KEY_INIT]),
            .gain = values[QN_KEY_GAIN],
            .value = values[QN_KEY_VALUE],
            .fan = (qn_fan)values[QN_KEY_FAN],
        };
        return;
    }
    *params = (struct qn_init_params){
        .init = qn_init_at((int)values[QN_KEY_BIAS_INIT]),
        .value = values[QN_KEY_BIAS_VALUE],
    };
    if (!params->init) {
        int64_t fan_in = qn_shape_count(weight) / weight->dims[0];
        params->init = qn_init_find("uniform");
        params->value = 1 / sqrt((double)fan_in);
    }
}
