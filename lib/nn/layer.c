// The table of layers. A layer is a short builder of op nodes; its backward
// pass follows from theirs.
#include "nn/layer.h"

#include <math.h>
#include <string.h>

#include "quern/op.h"

// x[n, ...] as [n, all features]
static qn_node *flatten(qn_graph *g, qn_node *x)
{
    const qn_shape *shape = qn_node_shape(x);
    if (shape->rank == 2)
        return x;
    int64_t n = shape->rank > 0 ? shape->dims[0] : 1;
    return qn_reshape(g, x, qn_shape_of(n, -1));
}

// ---- dense ----

enum {
    DENSE_UNITS,
    DENSE_BIAS,
    DENSE_INIT,
    DENSE_GAIN,
    DENSE_FAN,
    DENSE_VALUE,
    DENSE_BIAS_INIT,
    DENSE_BIAS_VALUE,
};

static const struct qn_layer_key dense_keys[] = {
    [DENSE_UNITS] = {"units", "integer", "number of outputs", 1, 1 << 24,
                     NAN, NULL},
    [DENSE_BIAS] = {"bias", "boolean", "adds b", 0, 1, 1, NULL},
    [DENSE_INIT] = {"init", "initializer",
                    "of W; default: kaiming_uniform with gain sqrt(1/3), as "
                    "in PyTorch's Linear",
                    0, 0, -1, NULL},
    [DENSE_GAIN] = {"gain", "number", "of init; 0: the initializer's own", 0,
                    1e6, 0, NULL},
    [DENSE_FAN] = {"fan", "choice", "that kaiming_* keeps the variance for", 0,
                   1, 0, "in|out"},
    [DENSE_VALUE] = {"value", "number",
                     "of init constant, normal, uniform; 0: the "
                     "initializer's own",
                     -1e6, 1e6, 0, NULL},
    [DENSE_BIAS_INIT] = {"bias_init", "initializer",
                         "of b; default: U(-1/sqrt(in), 1/sqrt(in)), as in "
                         "PyTorch's Linear",
                         0, 0, -1, NULL},
    [DENSE_BIAS_VALUE] = {"bias_value", "number",
                          "of bias_init, as value is of init", -1e6, 1e6, 0,
                          NULL},
    {0},
};

// y[n, out] = x[n, in] W^T + b
static qn_node *build_dense(qn_graph *g, qn_node *x,
                            const struct qn_layer_use *use)
{
    x = flatten(g, x);
    if (!x)
        return NULL;
    int64_t in = qn_node_shape(x)->dims[1];
    int64_t out = (int64_t)use->values[DENSE_UNITS];
    qn_node *weight = qn_parameter(g, "weight", qn_shape_of(out, in));
    qn_node *y = qn_matmul(g, x, weight, qn_matmul_params(.trans_b = true));
    if (use->values[DENSE_BIAS] == 0)
        return y;
    return qn_add(g, y, qn_parameter(g, "bias", qn_shape_of(out)));
}

static void init_dense(const double *values, const char *parameter,
                       const qn_shape *weight, struct qn_init_params *params)
{
    if (strcmp(parameter, "weight") == 0) {
        *params = (struct qn_init_params){
            .init = qn_init_at((int)values[DENSE_INIT]),
            .gain = values[DENSE_GAIN],
            .value = values[DENSE_VALUE],
            .fan = values[DENSE_FAN] == 0 ? QN_FAN_IN : QN_FAN_OUT,
        };
        return;
    }
    *params = (struct qn_init_params){
        .init = qn_init_at((int)values[DENSE_BIAS_INIT]),
        .value = values[DENSE_BIAS_VALUE],
    };
    if (!params->init) {
        params->init = qn_init_find("uniform");
        params->value = 1 / sqrt((double)weight->dims[1]);
    }
}

// ---- activations ----

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

// ---- dropout ----

static const struct qn_layer_key dropout_keys[] = {
    {"p", "number", "probability of dropping an element", 0, 1, 0.5, NULL},
    {0},
};

// y = x m / (1 - p), m[i] = 1 with probability 1 - p, else 0
static qn_node *build_dropout(qn_graph *g, qn_node *x,
                              const struct qn_layer_use *use)
{
    double p = use->values[0];
    if (!use->training || p == 0)
        return x;
    qn_node *mask = qn_random_bernoulli(
        g, *qn_node_shape(x), 1 - p,
        qn_random_params(.seed = use->seed, .step = use->step,
                         .use = "dropout"));
    return qn_mul(g, x, qn_scale(g, mask, p < 1 ? 1 / (1 - p) : 0));
}

// ---- the table ----

static const struct qn_layer rows[] = {
    {.name = "dense",
     .formula = "y = x W^T + b, x flattened to [n, in], W [units, in]",
     .keys = dense_keys, .build = build_dense, .init = init_dense},
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
    {.name = "flatten", .formula = "y[n, :] = all of x[n, ...]",
     .apply = flatten},
    {.name = "dropout",
     .formula = "training: y = x m / (1 - p), m = 1 with probability 1 - p, "
                "else 0; predicting: y = x",
     .keys = dropout_keys, .build = build_dropout},
};
enum { ROW_COUNT = sizeof rows / sizeof *rows };

const qn_layer *qn_layer_at(int index)
{
    return index >= 0 && index < ROW_COUNT ? &rows[index] : NULL;
}

const qn_layer *qn_layer_find(const char *name)
{
    for (int i = 0; i < ROW_COUNT; i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}

const char *qn_layer_name(const qn_layer *layer)
{
    return layer->name;
}

const char *qn_layer_formula(const qn_layer *layer)
{
    return layer->formula;
}

const struct qn_layer_key *qn_layer_key_at(const qn_layer *layer, int index)
{
    if (!layer->keys || index < 0)
        return NULL;
    for (int i = 0; i <= index; i++)
        if (!layer->keys[i].name)
            return NULL;
    return &layer->keys[index];
}

// ---- a layer of a model ----

struct qn_layer_spec qn_layer_spec_make(const qn_layer *layer)
{
    struct qn_layer_spec spec = {.layer = layer};
    const struct qn_layer_key *key;
    for (int i = 0; (key = qn_layer_key_at(layer, i)); i++)
        spec.values[i] = key->value;
    return spec;
}

qn_status qn_layer_spec_set(struct qn_layer_spec *spec, int index,
                            double value, const char *where, qn_error *error)
{
    const struct qn_layer_key *key = &spec->layer->keys[index];
    bool is_open = strcmp(key->type, "initializer") == 0;
    if (!is_open && !(value >= key->minimum && value <= key->maximum))
        return qn_fail(error, QN_FORMAT,
                       "%s (%s): %s is %.10g and must be between %.10g and "
                       "%.10g",
                       where, spec->layer->name, key->name, value,
                       key->minimum, key->maximum);
    spec->values[index] = value;
    return QN_OK;
}

qn_status qn_layer_spec_check(const struct qn_layer_spec *spec,
                              const char *where, qn_error *error)
{
    const struct qn_layer_key *key;
    for (int i = 0; (key = qn_layer_key_at(spec->layer, i)); i++)
        if (isnan(spec->values[i]))
            return qn_fail(error, QN_FORMAT, "%s (%s): \"%s\" is missing (%s)",
                           where, spec->layer->name, key->name, key->meaning);
    return QN_OK;
}
