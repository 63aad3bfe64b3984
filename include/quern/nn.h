// SPDX-License-Identifier: MIT
// Neural networks: initializers, layers, models, losses, optimizers,
// checkpoints.
#ifndef QUERN_NN_H
#define QUERN_NN_H

#include <stdbool.h>

#include "quern/graph.h"
#include "quern/plan.h"

#ifdef __cplusplus
extern "C" {
#endif

// ---- initializers ----

// What the variance of a fan-scaled initializer is divided by. Of a weight
// [out, in, ...], with k the product of the other dimensions: fan_in = in k,
// fan_out = out k.
typedef enum qn_fan {
    QN_FAN_DEFAULT, // the initializer's own
    QN_FAN_IN,
    QN_FAN_OUT,
    QN_FAN_AVERAGE, // (fan_in + fan_out) / 2
} qn_fan;

typedef enum qn_distribution {
    QN_CONSTANT,   // the same value everywhere
    QN_UNIFORM,    // on (-spread, spread)
    QN_NORMAL,     // mean 0, deviation spread
    QN_ORTHOGONAL, // gain times a random matrix of orthonormal rows or columns
} qn_distribution;

// One row of the table of initializers. They fill a variable on the host, in
// double precision, from Philox keyed by seed and name: the same on all
// devices and in any order. The row is data; its deviation (uniform: half
// width over sqrt(3)) is gain / sqrt(fan) where it needs the fans, and `value`
// otherwise.
struct qn_init {
    const char *name;    // "kaiming_uniform"
    const char *alias;   // "he_uniform", or NULL
    const char *formula; // "U(-b, b), b = gain sqrt(3 / fan)"
    const char *source;  // paper
    qn_distribution distribution;
    bool needs_fan;   // the variable has two dimensions or more
    bool takes_value; // `value` of the parameters replaces the default
    double value;     // defaults
    double gain;
    qn_fan fan;
};
// Row `index`, NULL past the last one.
QN_API const struct qn_init *qn_init_at(int index);
// By name or alias; NULL: there is none.
QN_API const struct qn_init *qn_init_find(const char *name);

struct qn_init_params {
    const struct qn_init *init; // NULL: kaiming_uniform with gain for slope
                                // sqrt(5), PyTorch's default for Linear
    double gain;  // 0: the initializer's own default
    double value; // constant: the value; normal: the deviation; uniform: the
                  // half width. 0: the initializer's own default
    qn_fan fan;
};
// Fills `count` values of a tensor of `shape` ([out, in, ...]) in `real`
// (float32 or float64). `name` and `seed` key the draw. Orthogonal takes
// 2 r c min(r, c) to twice as many operations for r = out, c = in k.
QN_API qn_status qn_init_fill(const struct qn_init_params *params,
                              const qn_shape *shape, qn_dtype real,
                              const char *name, uint64_t seed, void *data,
                              qn_error *error);
// The gain that keeps the variance through an activation, with PyTorch's
// values: "linear" and "sigmoid" 1, "tanh" 5/3, "relu" sqrt(2), "selu" 3/4,
// "leaky_relu:S" sqrt(2 / (1 + S^2)) for slope S, which is 0.01 where left out.
QN_API qn_status qn_init_gain(const char *activation, double *gain,
                              qn_error *error);

// ---- models ----

// A model: a list of layers with their parameters, made from a built-in name,
// a JSON file or a compact string such as "512-relu-256-relu-10". See
// docs/models.md for both grammars.
typedef struct qn_model qn_model;

// What a layer type accepts in JSON.
struct qn_layer_key {
    const char *name;
    const char *type; // "integer", "number", "boolean", "choice", "pair" (an
                      // integer or [h, w]), "initializer", "gain" (a number
                      // or what qn_init_gain takes)
    const char *meaning;
    double minimum;
    double maximum;
    double value;        // default; NAN: must be given
    const char *choices; // of a "choice": "in|out"; `value` counts them. Of a
                         // "pair" the word that stands for -1, or NULL
};

// One row of the table of layers.
typedef struct qn_layer qn_layer;
QN_API const qn_layer *qn_layer_at(int index); // NULL past the last one
QN_API const char *qn_layer_name(const qn_layer *layer);
QN_API const char *qn_layer_formula(const qn_layer *layer);
// Whether, in training, what it makes of a sample depends on the others of its
// batch: statistics over the batch.
QN_API bool qn_layer_mixes_samples(const qn_layer *layer);
// Key `index` of a layer, NULL past the last one.
QN_API const struct qn_layer_key *qn_layer_key_at(const qn_layer *layer,
                                                  int index);

// One row of the table of built-in models.
struct qn_model_row {
    const char *name;
    const char *definition; // compact string or JSON
    const char *source;     // paper, or what it is for
};
QN_API const struct qn_model_row *qn_model_row_at(int index);

// Parses `text`: a built-in name, the path of a .json file, JSON itself (it
// begins with a brace), or a compact string.
QN_API qn_model *qn_model_create(const char *text, qn_error *error);
QN_API void qn_model_destroy(qn_model **model);

// The canonical JSON of the model, as written into checkpoints. Lives as long
// as the model.
QN_API const char *qn_model_json(const qn_model *model);
// All layers, a container before those in it.
QN_API int qn_model_layer_count(const qn_model *model);
QN_API const qn_layer *qn_model_layer_at(const qn_model *model, int index);
// Where the names of its parameters begin: "3", within a container
// "3.layers.0". Lives as long as the model.
QN_API const char *qn_model_layer_path(const qn_model *model, int index);

struct qn_model_build_params {
    bool training;   // the graph for training, else for prediction
    bool stochastic; // predicting: random layers draw nevertheless, each run
                     // anew (Monte Carlo)
    qn_node *seed;   // qn_scalars for random layers; NULL where none draws
    qn_node *step;
    // qn_scalar: which sample of a larger batch x begins with, so that random
    // layers draw for each what they would draw in that batch; NULL: 0.
    qn_node *first;
    // A qn_scalar: what a batch's statistics weigh in running ones, instead of
    // each layer's momentum; NULL: that.
    qn_node *statistics_rate;
    // If not NULL: receives the output of each layer (qn_model_layer_count).
    qn_node **layer_outputs;
};
// Appends the model to a graph: x is [n, features...]; the result are logits.
// Parameters are named as PyTorch's nn.Sequential names them ("0.weight").
QN_API qn_node *qn_model_build(const qn_model *model, qn_graph *graph,
                               qn_node *x,
                               const struct qn_model_build_params *params);
// Fills parameters and buffers in the store (after qn_store_add) by each
// layer's initializers.
QN_API qn_status qn_model_init(const qn_model *model, qn_store *store,
                               uint64_t seed, qn_error *error);

// ---- losses ----

enum { QN_MAX_LOSS_KEYS = 4, QN_MAX_CLASS_WEIGHTS = 1024 };

struct qn_loss_params;
struct qn_loss_terms;

// One row of the table of losses.
struct qn_loss {
    const char *name; // "softmax_cross_entropy"
    const char *formula;
    const char *source;  // paper, or NULL
    bool takes_weights;  // one for each class
    bool takes_one_hot;  // labels become rows of 0 and 1
    bool is_of_logits;   // softmax of the predictions gives probabilities
    int key_count;
    struct qn_loss_key {
        const char *name; // "delta"
        double value;     // default; NAN: none
        double minimum;
        double maximum;
        const char *meaning;
    } keys[QN_MAX_LOSS_KEYS];
    // For qn_loss_build.
    void (*build)(qn_graph *graph, const struct qn_loss_params *params,
                  qn_node *prediction, qn_node *target,
                  struct qn_loss_terms *terms);
};
QN_API const struct qn_loss *qn_loss_at(int index);
QN_API const struct qn_loss *qn_loss_find(const char *name);

typedef enum qn_reduction {
    QN_REDUCE_MEAN, // over samples by their weights, or over elements
    QN_REDUCE_SUM,
    QN_REDUCE_NONE, // one for each sample or element
} qn_reduction;

struct qn_loss_params {
    const struct qn_loss *loss;
    double values[QN_MAX_LOSS_KEYS]; // all of them; see qn_loss_defaults
    double weights[QN_MAX_CLASS_WEIGHTS];
    int weight_count; // 0: every class counts the same
    qn_reduction reduction;
};
// `params` with the row's defaults.
QN_API struct qn_loss_params qn_loss_defaults(const struct qn_loss *loss);

// From text such as "huber:delta=0.5" or
// "softmax_cross_entropy:label_smoothing=0.1,weights=1/2/0.5".
QN_API qn_status qn_loss_parse(const char *text, struct qn_loss_params *params,
                               qn_error *error);
// The shortest such text. The caller frees it. NULL without memory.
QN_API char *qn_loss_write(const struct qn_loss_params *params);

// Appends the loss, a scalar unless it is not reduced. prediction[n, ...];
// target: int32 labels [n] or [n, ...] for predictions [n, classes, ...], or
// real numbers like the predictions.
QN_API qn_node *qn_loss_build(qn_graph *graph,
                              const struct qn_loss_params *params,
                              qn_node *prediction, qn_node *target);

// The two parts of the mean, for batches that are run in parts: returns the sum
// over the batch, whatever params->reduction says; `*weight` becomes the scalar
// that the mean divides it by.
QN_API qn_node *qn_loss_build_sum(qn_graph *graph,
                                  const struct qn_loss_params *params,
                                  qn_node *prediction, qn_node *target,
                                  qn_node **weight);

// ---- penalties ----

// As nodes, to be added to a loss. `w`, `a` and `b` are any tensors, such as
// parameters, also of two models in one graph.
// lambda sum |w|
QN_API qn_node *qn_penalty_l1(qn_graph *graph, qn_node *w, double lambda);
// lambda / 2 sum w^2
QN_API qn_node *qn_penalty_l2(qn_graph *graph, qn_node *w, double lambda);
// lambda sum (a - b)^2, of one shape
QN_API qn_node *qn_penalty_tie(qn_graph *graph, qn_node *a, qn_node *b,
                               double lambda);

// l1 sum |w| + l2 / 2 sum w^2 on one parameter, applied by the update.
struct qn_penalty {
    double l1;
    double l2;
    // l1 is no part of the gradient; after each step w becomes
    // sign(w) max(|w| - lr l1, 0), so that small weights are exactly 0
    // (Daubechies, Defrise, De Mol: An iterative thresholding algorithm for
    // linear inverse problems with a sparsity constraint, 2004).
    bool proximal;
};
// The penalty of each parameter of the graph, in the order of
// qn_group_members; lives as long as the graph. Tensors of two dimensions or
// more get `all` (NULL: none), or what their layer says; biases and other
// vectors none. NULL: no parameter has one.
QN_API const struct qn_penalty *
qn_model_penalties(const qn_model *model, qn_graph *graph,
                   const struct qn_penalty *all);
// Their sum, one launch: to be added to the loss that is reported, not to the
// one whose gradient is taken.
QN_API qn_node *qn_penalty_sum(qn_graph *graph,
                               const struct qn_penalty *penalties);
// The sum of the penalties that tie layers of the model, after qn_model_build;
// NULL: there are none. To be added to the loss whose gradient is taken.
QN_API qn_node *qn_model_ties(const qn_model *model, qn_graph *graph);

// ---- checkpoints (safetensors) ----

// Named strings that travel in the file's __metadata__.
struct qn_checkpoint_note {
    const char *name;
    const char *value;
};
// Writes all variables of the store: groups "parameters" and "buffers" under
// their names, others as "<group>.<name>". Durable: the old file stays until the new one is
// complete. The metadata also gets "format" = "pt" (the layouts are PyTorch's)
// and "quern.sha256", over all tensor data in the order of the file. Groups
// whose names begin with '@' are no state of the model (data sets on the
// device): saving leaves them out, loading does not ask for them.
QN_API qn_status qn_checkpoint_save(const char *path, qn_store *store,
                                    const struct qn_checkpoint_note *notes,
                                    int note_count, qn_error *error);

// An opened and fully checked checkpoint: lengths, offsets, overlap, holes,
// dtypes, shapes, hash. Nothing is allocated from unchecked lengths.
typedef struct qn_checkpoint qn_checkpoint;
QN_API qn_checkpoint *qn_checkpoint_open(const char *path, qn_error *error);
QN_API void qn_checkpoint_close(qn_checkpoint **checkpoint);
// Value of a note, or NULL.
QN_API const char *qn_checkpoint_note(const qn_checkpoint *checkpoint,
                                      const char *name);
typedef struct qn_checkpoint_tensor {
    const char *name;
    const char *type;  // as the file writes it: "F32"
    bool is_supported; // false for "I64", "F16" and others: no `dtype`
    qn_dtype dtype;
    qn_shape shape;
    const void *data; // lives as long as the checkpoint; may be unaligned
    size_t size;
} qn_checkpoint_tensor;
// Tensor `index`; false past the last one.
QN_API bool qn_checkpoint_tensor_at(const qn_checkpoint *checkpoint, int index,
                                    qn_checkpoint_tensor *tensor);
// Copies tensors into the store: all groups, or with `parameters_only` all but
// those whose names begin with "optimizer.", "training.", "average." or the
// like. Every variable must be in the file with its dtype and shape, and every
// tensor of the file in the store; checked for all before the first is written.
QN_API qn_status qn_checkpoint_load(const qn_checkpoint *checkpoint,
                                    qn_store *store, bool parameters_only,
                                    qn_error *error);

// The parameters' moving average into the store's parameters, from "average.*";
// buffers from "average_buffers.*" where there are such, else as they are.
QN_API qn_status qn_checkpoint_load_average(const qn_checkpoint *checkpoint,
                                            qn_store *store, qn_error *error);

// SHA-256 over names, shapes and values of the group "parameters", in order.
QN_API qn_status qn_store_hash(qn_store *store, char hex[65],
                               qn_error *error);

#ifdef __cplusplus
}
#endif

#endif
