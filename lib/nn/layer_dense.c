// Layers that are a matrix product, and how weights and biases start.
#include <math.h>

#include "nn/layer.h"
#include "quern/op.h"

enum { DENSE_UNITS, DENSE_WEIGHT };

static const struct qn_layer_key dense_keys[] = {
    {"units", "integer", "number of outputs", 1, 1 << 24, NAN, NULL},
    QN_WEIGHT_KEYS,
    {0},
};

// y[n, out] = x[n, in] W^T + b
static qn_node *build_dense(qn_graph *g, qn_node *x,
                            const struct qn_layer_use *use)
{
    x = qn_layer_flatten(g, x);
    if (!x)
        return NULL;
    int64_t in = qn_node_shape(x)->dims[1];
    int64_t out = (int64_t)use->values[DENSE_UNITS];
    qn_node *weight = qn_parameter(g, "weight", qn_shape_of(out, in));
    qn_node *y = qn_matmul(g, x, weight, qn_matmul_params(.trans_b = true));
    if (use->values[DENSE_WEIGHT + QN_KEY_BIAS] == 0)
        return y;
    return qn_add(g, y, qn_parameter(g, "bias", qn_shape_of(out)));
}

static void init_dense(const double *values, const char *parameter,
                       const qn_shape *weight, struct qn_init_params *params)
{
    qn_layer_init_weight(values + DENSE_WEIGHT, parameter, weight, params);
}

const struct qn_layer qn_layers_dense[] = {
    {.name = "dense",
     .formula = "y = x W^T + b, x flattened to [n, in], W [units, in]",
     .keys = dense_keys, .build = build_dense, .init = init_dense},
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
