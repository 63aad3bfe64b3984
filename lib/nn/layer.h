// The row of a layer and a layer of a model.
#ifndef QN_NN_LAYER_H
#define QN_NN_LAYER_H

#include <stdbool.h>
#include <string.h>

#include "base/status.h"
#include "quern/nn.h"

enum { QN_MAX_LAYER_KEYS = 24 };

struct qn_layer_spec;
struct qn_builder;

// What a builder gets beside the graph and the input.
struct qn_layer_use {
    const double *values; // by key; of a pair the first, [h, w]: the height
    const double *widths; // by key; of a pair the second
    qn_node *const *inputs; // all of them; the builder's `x` is the first
    int input_count;
    bool training;   // statistics are those of the batch
    bool stochastic; // random layers draw: training, or Monte Carlo prediction
    qn_node *seed;   // NULL where not stochastic
    qn_node *step;
    qn_node *first; // number of x's first sample; NULL: 0. Draws for each
                    // sample hand it on
    qn_node *statistics_rate; // NULL: the layer's own momentum
    // For qn_layer_run.
    const struct qn_layer_spec *spec;
    const struct qn_builder *builder;
};

// A list of layers that a container holds.
struct qn_layer_list {
    const char *key;   // in JSON
    const char *scope; // in the names of parameters; "": nothing
    bool is_optional;
    bool is_many; // an array of lists in JSON; then the only one of its row
};

// Adding a layer: its keys, a builder of a few op nodes, a row in the table of
// its family (layer_<family>.c).
struct qn_layer {
    const char *name;
    const char *formula;
    // Ends with a NULL name. The first key is what digits after the name set
    // in compact text. NULL: no keys.
    const struct qn_layer_key *keys;
    // Appends the layer in the scope of its index. One of the two is NULL.
    qn_node *(*build)(qn_graph *g, qn_node *x,
                      const struct qn_layer_use *use);
    qn_node *(*apply)(qn_graph *g, qn_node *x); // for layers without keys
    // How a parameter or buffer of the layer starts, by its local name
    // ("bias", "running_mean"). `weight` is the shape of the parameter
    // "weight" beside it. NULL: no parameters.
    void (*init)(const double *values, const char *parameter,
                 const qn_shape *weight, struct qn_init_params *params);
    // The weight is [in, out / n, ...], the rows in n equal parts: a unit is a
    // column of a part. Returns n. NULL: a unit is a row.
    int64_t (*column_groups)(const double *values, const qn_shape *weight);
    bool takes_many; // two inputs or more, else one
    bool mixes_samples; // training, a sample's output depends on its batch
    // Containers: their lists, ended by a NULL key. Else NULL.
    const struct qn_layer_list *lists;
};

// The families: rows in the order of `quern list layers`, ended by a NULL name.
extern const struct qn_layer
    qn_layers_dense[],
    qn_layers_conv[],
    qn_layers_dropconnect[],
    qn_layers_activation[],
    qn_layers_norm[],
    qn_layers_pool[],
    qn_layers_shape[],
    qn_layers_regularise[],
    qn_layers_structure[];

const qn_layer *qn_layer_find(const char *name);

// Layers, each fed with the output of the one before.
struct qn_sequence {
    struct qn_layer_spec *layers;
    int count;
};

// How a layer hangs together with others. Names and what they were found to
// be: indices in the order of the model.
struct qn_layer_links {
    const char *name;    // or NULL
    const char **inputs; // NULL: the layer before
    int *input_layers;   // -1: the model's input
    int input_count;
    const char *share; // whose parameters it uses, or NULL
    int share_layer;
    const char *tie; // whose parameters its own are drawn to, or NULL
    int tie_layer;
    double tie_weight;
};

// A layer of a model: its row and a value for each key. Choices and booleans
// count from 0; an initializer is its index in the table, -1 for the default.
struct qn_layer_spec {
    const qn_layer *layer;
    double values[QN_MAX_LAYER_KEYS];
    double widths[QN_MAX_LAYER_KEYS]; // the second numbers of pairs
    double l1, l2;                    // penalties; NAN: those of the model
    double max_norm;                  // likewise
    struct qn_sequence *lists;        // of a container
    int list_count;
    struct qn_layer_links links;
    const char *path; // "3.layers.0", where its parameters' names begin
    bool is_complete; // found while linking: all in it has been seen
};

// All keys at their defaults, NAN where there is none.
struct qn_layer_spec qn_layer_spec_make(const qn_layer *layer);
// Checks the range; sets both numbers of a pair. `where` begins the error
// text: "net.json: layer 3".
qn_status qn_layer_spec_set(struct qn_layer_spec *spec, int key, double value,
                            const char *where, qn_error *error);
// Sets the second number of a pair.
qn_status qn_layer_spec_set_width(struct qn_layer_spec *spec, int key,
                                  double value, const char *where,
                                  qn_error *error);
// Checks that no key is missing.
qn_status qn_layer_spec_check(const struct qn_layer_spec *spec,
                              const char *where, qn_error *error);

static inline bool qn_key_is(const struct qn_layer_key *key, const char *type)
{
    return strcmp(key->type, type) == 0;
}

// The part of a path that names list `i` of a container: "shortcut",
// "branches.2", or "".
void qn_layer_scope(const struct qn_layer_list *row, int i, char *scope,
                    size_t size);

// ---- what layers share ----

// Appends list `i` of a container to the graph, fed with x. An empty one gives
// x back.
qn_node *qn_layer_run(const struct qn_layer_use *use, qn_graph *g, int i,
                      qn_node *x);

// x[n, ...] as [n, all features]
qn_node *qn_layer_flatten(qn_graph *g, qn_node *x);

// Stochastic depth (Huang et al. 2016): drawing, each sample of `branch` is
// kept whole with probability `survival` and else 0; predicting, all are
// scaled by it. What it is added to goes on as it is.
qn_node *qn_layer_keep_branch(qn_graph *g, qn_node *branch, double survival,
                              const struct qn_layer_use *use);

// Keys of layers with a weight [out, ...] and a bias [out]: whether there is a
// bias, and how both start. A layer puts them, as QN_WEIGHT_KEYS, at some place
// among its keys and hands on `values` from there.
enum {
    QN_KEY_BIAS,
    QN_KEY_INIT,
    QN_KEY_GAIN,
    QN_KEY_FAN,
    QN_KEY_VALUE,
    QN_KEY_BIAS_INIT,
    QN_KEY_BIAS_VALUE,
    QN_KEY_WEIGHT_COUNT,
};
#define QN_WEIGHT_KEYS                                                       \
    {"bias", "boolean", "adds b", 0, 1, 1, NULL},                            \
    {"init", "initializer",                                                  \
     "of W; default: kaiming_uniform with gain sqrt(1/3), as in PyTorch",    \
     0, 0, -1, NULL},                                                        \
    {"gain", "gain", "of init; 0: the initializer's own", 0, 1e6, 0, NULL},  \
    {"fan", "choice", "that the variance of init is divided by", 0, 3, 0,    \
     "default|in|out|average"},                                              \
    {"value", "number",                                                      \
     "of init constant, normal or uniform; 0: the initializer's own", -1e6,    \
     1e6, 0, NULL},                                                          \
    {"bias_init", "initializer",                                             \
     "of b; default: U(-1/sqrt(fan_in), 1/sqrt(fan_in)), as in PyTorch", 0,  \
     0, -1, NULL},                                                           \
    {"bias_value", "number", "of bias_init, as value is of init", -1e6, 1e6, \
     0, NULL}
void qn_layer_init_weight(const double *values, const char *parameter,
                          const qn_shape *weight,
                          struct qn_init_params *params);

#endif
