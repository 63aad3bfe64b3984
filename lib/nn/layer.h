// The row of a layer and a layer of a model.
#ifndef QN_NN_LAYER_H
#define QN_NN_LAYER_H

#include "base/status.h"
#include "quern/nn.h"

enum { QN_MAX_LAYER_KEYS = 12 };

// What a builder gets beside the graph and the input.
struct qn_layer_use {
    const double *values; // by key
    bool training;
    qn_node *seed; // NULL where not training
    qn_node *step;
};

// Adding a layer: its keys, a builder of a few op nodes, a line in the table.
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
    // How a parameter of the layer starts, by its local name ("bias").
    // `weight` is the shape of the parameter "weight". NULL: no parameters.
    void (*init)(const double *values, const char *parameter,
                 const qn_shape *weight, struct qn_init_params *params);
};

const qn_layer *qn_layer_find(const char *name);

// A layer of a model: its row and a value for each key. Choices and booleans
// count from 0; an initializer is its index in the table, -1 for the default.
struct qn_layer_spec {
    const qn_layer *layer;
    double values[QN_MAX_LAYER_KEYS];
};

// All keys at their defaults, NAN where there is none.
struct qn_layer_spec qn_layer_spec_make(const qn_layer *layer);
// Checks the range. `where` begins the error text: "net.json: layer 3".
qn_status qn_layer_spec_set(struct qn_layer_spec *spec, int key, double value,
                            const char *where, qn_error *error);
// Checks that no key is missing.
qn_status qn_layer_spec_check(const struct qn_layer_spec *spec,
                              const char *where, qn_error *error);

#endif
