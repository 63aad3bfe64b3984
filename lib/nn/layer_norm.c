// Normalisations with learned scale and shift.
#include <math.h>
#include <string.h>

#include "graph/graph.h"
#include "nn/layer.h"
#include "quern/op.h"

static bool has_channels(qn_graph *g, const char *what, const qn_node *x)
{
    char text[128];
    if (!x)
        return false;
    if (x->shape.rank >= 2)
        return true;
    qn_graph_fail(g, QN_BAD_SHAPE, "%s: needs [n, channels, ...], not %s",
                  what, qn_shape_text(&x->shape, text, sizeof text));
    return false;
}

// weight and bias of `shape`, NULL without them.
static void declare_affine(qn_graph *g, bool is_affine, qn_shape shape,
                           qn_node **gamma, qn_node **beta)
{
    *gamma = is_affine ? qn_parameter(g, "weight", shape) : NULL;
    *beta = is_affine ? qn_parameter(g, "bias", shape) : NULL;
}

// Scale and variance begin at 1, shift and mean at 0.
static void init_norm(const double *values, const char *parameter,
                      const qn_shape *weight, struct qn_init_params *params)
{
    (void)values, (void)weight;
    const bool is_one = strcmp(parameter, "weight") == 0 ||
                        strcmp(parameter, "running_var") == 0;
    *params = (struct qn_init_params){
        .init = qn_init_find(is_one ? "ones" : "zeros")};
}

#define EPS_KEY \
    {"eps", "number", "added to the variance", 0, 1e6, 1e-5, NULL}
#define AFFINE_KEY \
    {"affine", "boolean", "scales by weight and shifts by bias", 0, 1, 1, NULL}

// ---- batch_norm ----

enum { BATCH_MOMENTUM, BATCH_EPS, BATCH_AFFINE, BATCH_POPULATION };

static const struct qn_layer_key batch_keys[] = {
    [BATCH_MOMENTUM] = {"momentum", "number",
                        "what a batch's statistics weigh in the running ones",
                        0, 1, 0.1, NULL},
    [BATCH_EPS] = EPS_KEY,
    [BATCH_AFFINE] = AFFINE_KEY,
    [BATCH_POPULATION] = {"population", "boolean",
                          "running_var takes population variances, not "
                          "unbiased ones",
                          0, 1, 0, NULL},
    {0},
};

// running = (1 - momentum) running + momentum factor (half i of the moments),
// or with `rate` for the momentum
static void track(qn_graph *g, const char *name, qn_node *moments, int i,
                  double momentum, double factor, qn_node *rate)
{
    const qn_shape shape = qn_shape_of(moments->shape.dims[2]);
    qn_node *running = qn_buffer(g, name, shape);
    qn_node *now =
        qn_reshape(g, qn_slice(g, moments, 0, i, i + 1, 1), shape);
    if (rate)
        now = qn_add(g, running,
                     qn_mul(g, rate,
                            qn_sub(g, qn_scale(g, now, factor), running)));
    else
        now = qn_add(g, qn_scale(g, running, 1 - momentum),
                     qn_scale(g, now, momentum * factor));
    qn_assign(g, running, now);
}

static qn_node *build_training(qn_graph *g, qn_node *x, qn_node *gamma,
                               qn_node *beta, const struct qn_layer_use *use)
{
    const double *values = use->values;
    const int64_t count = qn_shape_count(&x->shape) / x->shape.dims[1];
    const bool is_population = values[BATCH_POPULATION] != 0;
    if (count < 2) {
        qn_graph_fail(g, QN_BAD_SHAPE,
                      "batch_norm: one value a channel has no variance to "
                      "train with; choose another batch size");
        return NULL;
    }
    qn_node *moments = qn_channel_moments(g, x);
    if (!moments)
        return NULL;
    track(g, "running_mean", moments, 0, values[BATCH_MOMENTUM], 1,
          use->statistics_rate);
    track(g, "running_var", moments, 1, values[BATCH_MOMENTUM],
          is_population ? 1 : (double)count / (double)(count - 1),
          use->statistics_rate);
    return qn_batch_norm(g, moments, gamma, beta, values[BATCH_EPS]);
}

static qn_node *build_batch(qn_graph *g, qn_node *x,
                            const struct qn_layer_use *use)
{
    qn_node *gamma, *beta;
    if (!has_channels(g, "batch_norm", x))
        return NULL;
    const qn_shape shape = qn_shape_of(x->shape.dims[1]);
    declare_affine(g, use->values[BATCH_AFFINE] != 0, shape, &gamma, &beta);
    if (use->training)
        return build_training(g, x, gamma, beta, use);
    return qn_normalize(g, x, qn_buffer(g, "running_mean", shape),
                        qn_buffer(g, "running_var", shape), gamma, beta,
                        use->values[BATCH_EPS]);
}

// ---- layer_norm ----

enum { LAYER_DIMS, LAYER_EPS, LAYER_AFFINE };

static const struct qn_layer_key layer_keys[] = {
    [LAYER_DIMS] = {"dims", "integer",
                    "how many of the last dimensions; 0: all but the batch",
                    0, 5, 0, NULL},
    [LAYER_EPS] = EPS_KEY,
    [LAYER_AFFINE] = AFFINE_KEY,
    {0},
};

static qn_node *build_layer(qn_graph *g, qn_node *x,
                            const struct qn_layer_use *use)
{
    qn_node *gamma, *beta;
    if (!has_channels(g, "layer_norm", x))
        return NULL;
    qn_shape shape = {.rank = (int)use->values[LAYER_DIMS]};
    if (shape.rank == 0 || shape.rank >= x->shape.rank)
        shape.rank = x->shape.rank - 1;
    for (int i = 0; i < shape.rank; i++)
        shape.dims[i] = x->shape.dims[x->shape.rank - shape.rank + i];
    declare_affine(g, use->values[LAYER_AFFINE] != 0, shape, &gamma, &beta);
    return qn_layer_norm(g, x, shape.rank, gamma, beta,
                         use->values[LAYER_EPS]);
}

// ---- group_norm ----

enum { GROUP_GROUPS, GROUP_EPS, GROUP_AFFINE };

static const struct qn_layer_key group_keys[] = {
    [GROUP_GROUPS] = {"groups", "integer",
                      "of channels; as many as channels: instance "
                      "normalisation",
                      1, 1 << 24, NAN, NULL},
    [GROUP_EPS] = EPS_KEY,
    [GROUP_AFFINE] = AFFINE_KEY,
    {0},
};

static qn_node *build_group(qn_graph *g, qn_node *x,
                            const struct qn_layer_use *use)
{
    qn_node *gamma, *beta;
    if (!has_channels(g, "group_norm", x))
        return NULL;
    declare_affine(g, use->values[GROUP_AFFINE] != 0,
                   qn_shape_of(x->shape.dims[1]), &gamma, &beta);
    return qn_group_norm(g, x, (int64_t)use->values[GROUP_GROUPS], gamma,
                         beta, use->values[GROUP_EPS]);
}

const struct qn_layer qn_layers_norm[] = {
    {.name = "batch_norm",
     .formula = "y = (x - mean) / sqrt(variance + eps) weight + bias, a "
                "channel at a time; training: of the batch; predicting: "
                "running_mean, running_var",
     .keys = batch_keys, .build = build_batch, .init = init_norm,
     .mixes_samples = true},
    {.name = "layer_norm",
     .formula = "y = (x - mean) / sqrt(variance + eps) weight + bias over "
                "the last dimensions of each sample",
     .keys = layer_keys, .build = build_layer, .init = init_norm},
    {.name = "group_norm",
     .formula = "y = (x - mean) / sqrt(variance + eps) weight + bias, mean "
                "and variance over a group of channels of each sample",
     .keys = group_keys, .build = build_group, .init = init_norm},
    {0},
};
