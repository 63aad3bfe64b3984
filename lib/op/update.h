// The update of all parameters of a model by an optimizer, in one launch, or two
// where norms are bounded, and the norms of their gradients.
#ifndef QN_OP_UPDATE_H
#define QN_OP_UPDATE_H

#include "graph/graph.h"

enum {
    QN_MAX_UPDATE_SLOTS = 4,
    QN_MAX_UPDATE_CONSTANTS = 10,
    QN_MAX_UPDATE_DEFINES = 10,
    QN_CHUNK_COLUMNS = 4,  // first element in the parameters and in the
                           // gradient, elements, number of the parameter
    QN_TENSOR_COLUMNS = 2, // first chunk, chunks
    QN_NORM_COLUMNS = 3,   // sum of g^2, sum of x^2, 0 or NaN
    QN_UNIT_COLUMNS = 5,   // first element in the parameters, runs, from run
                           // to run, elements of a run, number of the parameter
};

// A row of the coefficients of a parameter.
enum {
    QN_COEFFICIENT_SCALE, // of the learning rate
    QN_COEFFICIENT_L2,    // with weight decay
    QN_COEFFICIENT_DECAY, // decoupled weight decay
    QN_COEFFICIENT_L1,
    QN_COEFFICIENT_PROXIMAL,
    QN_COEFFICIENT_MAX_NORM,
    QN_COEFFICIENT_TRUST, // 0: the rule's ratio for this parameter is 1
    QN_COEFFICIENTS,
};

enum qn_clip_norm { QN_CLIP_NO_NORM, QN_CLIP_EACH, QN_CLIP_GLOBAL };

struct qn_update_params {
    // Kernels of cl/optim.cl, and macros that are 1 there. Texts live as long
    // as the graph.
    const char *kernel;
    const char *last_kernel; // a second launch; NULL: none
    const char *defines[QN_MAX_UPDATE_DEFINES];
    int define_count;
    int slot_count;
    int constant_count;
    bool has_penalty;  // some L1 is not 0
    bool has_trust;    // the rule wants norms
    double clip_value; // 0: none
    enum qn_clip_norm clip_norm;
    double most_norm; // for clip_norm
    bool has_average;
    bool has_lookahead;
    int64_t unit_size; // elements of the largest unit with a maximum norm
    bool is_watched;
};

// The inputs; NULL where there is none.
struct qn_update_inputs {
    struct qn_node *gradient;     // flat
    struct qn_node *chunks;       // int32 [chunks, QN_CHUNK_COLUMNS]
    struct qn_node *tensors;      // int32 [parameters, QN_TENSOR_COLUMNS]
    struct qn_node *coefficients; // [parameters, QN_COEFFICIENTS]
    struct qn_node *norms; // of qn_gradient_norms, for clipping or the rule
    struct qn_node *gate;  // scalar: nothing changes where it is not finite
    struct qn_node *units; // int32 [units, QN_UNIT_COLUMNS]: those with a
                           // maximum norm
    struct qn_node *lr, *step; // scalars
    struct qn_node *average_rate;
    struct qn_node *constants[QN_MAX_UPDATE_CONSTANTS]; // scalars
    // State, written in place: flat groups of one size.
    struct qn_node *parameters;
    struct qn_node *slots[QN_MAX_UPDATE_SLOTS];
    struct qn_node *average;
    struct qn_node *ahead; // where the gradient is taken
    struct qn_node *watch; // int32 [chunks + 1]
};

// parameters, slots, average, watch = rule(gradient, ...). The node itself has
// no value to read. With `last_kernel`, the first launch leaves
// QN_NORM_COLUMNS numbers for each chunk to the second one.
struct qn_node *qn_update(struct qn_graph *g,
                          const struct qn_update_inputs *inputs,
                          const struct qn_update_params *params);

// [chunks, QN_NORM_COLUMNS] of the gradient, clipped by value (0: not), and
// the parameters.
struct qn_node *qn_gradient_norms(struct qn_graph *g, struct qn_node *gradient,
                                  struct qn_node *chunks,
                                  struct qn_node *parameters,
                                  double clip_value);

#endif
