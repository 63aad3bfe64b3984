// SPDX-License-Identifier: MIT
// Optimizers: rules that update all parameters of a graph in one launch.
#ifndef QUERN_OPTIM_H
#define QUERN_OPTIM_H

#include <stdbool.h>

#include "quern/nn.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    QN_MAX_SLOTS = 4,
    QN_MAX_HYPER = 10,
    QN_MAX_CONSTANTS = 10,
    QN_OPTIMIZER_MEMORY = 2,
};

// Where a run of updates stands; the caller keeps it from step to step and
// with its checkpoints.
struct qn_optimizer_step {
    int64_t step;    // from 1
    double lr;       // learning rate of this step
    double momentum; // replaces the hyper-parameter "momentum" or "beta1" in
                     // this step; NAN: not
    double memory[QN_OPTIMIZER_MEMORY]; // what a rule carries over; zeros first
};

// One row of the table of optimizers: state slots, hyper-parameters and the
// kernel that updates a whole group of parameters in one launch.
struct qn_optimizer {
    const char *name;
    const char *formula;
    const char *source;
    const char *kernel; // in cl/optim.cl
    // A launch after it that takes the steps, by what the first one summed up
    // over each chunk; NULL: the first takes them.
    const char *last_kernel;
    int slot_count;
    const char *slots[QN_MAX_SLOTS]; // "exp_avg", as PyTorch names them
    // The hyper-parameter without which (0) the slot is not there; NULL: it
    // always is.
    const char *slot_needs[QN_MAX_SLOTS];
    int hyper_count;
    struct {
        const char *name; // "beta1"
        double value;     // default
        double minimum;
        double maximum;
        const char *define; // the kernel is told by it: 1 where this is not 0;
                            // NULL: it is not told
        bool is_switch;     // 0 or 1, nothing between
    } hyper[QN_MAX_HYPER];
    double lr; // default learning rate
    // weight_decay shrinks the parameters beside the rule, x -= lr
    // weight_decay x, instead of adding weight_decay x to the gradient.
    bool is_decoupled;
    bool wants_norms; // the kernel asks for those of its parameter
    bool has_trust;   // there is a ratio that options can turn off
    // The numbers that the kernel takes besides lr, worked out in double
    // precision for each step. `hyper` has this step's momentum in it.
    int constant_count;
    void (*constants)(const double *hyper, struct qn_optimizer_step *at,
                      double *constants);
    // What is wrong with settings that are good one by one, or NULL.
    const char *(*conflict)(const double *hyper);
};
// Row `index`, NULL past the last one.
QN_API const struct qn_optimizer *qn_optimizer_at(int index);
QN_API const struct qn_optimizer *qn_optimizer_find(const char *name);
// Index of a hyper-parameter by its name, or -1.
QN_API int qn_optimizer_hyper_find(const struct qn_optimizer *optimizer,
                                   const char *name);
// The hyper-parameter that a momentum schedule sets, "momentum" or "beta1",
// or -1.
QN_API int qn_optimizer_momentum(const struct qn_optimizer *optimizer);

// Whether slot i of the row is kept with these settings.
QN_API bool qn_optimizer_has_slot(const struct qn_optimizer *optimizer,
                                  const double *hyper, int slot);
// Settings that are out of range or do not go together are an error.
QN_API qn_status qn_optimizer_check(const struct qn_optimizer *optimizer,
                                    const double *hyper, qn_error *error);

// Whose norm is bounded, of a weight w of two dimensions or more. Others are
// one unit.
enum qn_units {
    QN_UNITS_ROWS,    // w[u, ...] is a unit: dense layers, convolutions
    QN_UNITS_COLUMNS, // w[:, u, ...] is, of each of unit_groups equal parts of
                      // the rows: transposed convolutions
    QN_UNITS_ALL,     // w is
};

// What holds for one parameter alone.
struct qn_parameter_options {
    bool is_frozen;      // no gradient is taken and no update is made
    double lr_scale;     // times the learning rate; 1
    double weight_decay; // instead of the optimizer's; NAN: that one
    // After each update w = w min(1, max_norm / |w|_2) for each unit; 0: none
    // (Srivastava et al.: Dropout, JMLR 2014).
    double max_norm;
    enum qn_units units;
    int64_t unit_groups; // 1
    bool has_trust;      // false: the ratio that lars and lamb have for each
                         // tensor is 1
};
QN_API struct qn_parameter_options qn_parameter_options_defaults(void);

// Options of all parameters whose names match `pattern`, in which '*' stands
// for any characters and '?' for one. NAN: as they are without the group.
struct qn_parameter_group {
    char pattern[128]; // "*.bias"
    double lr_scale;
    double weight_decay;
    double max_norm;
    double frozen; // 0 or 1
    double trust;  // 0 or 1, for lars and lamb: has_trust
};
// From text such as "*.bias:weight_decay=0,lr_scale=2".
QN_API qn_status qn_parameter_group_parse(const char *text,
                                          struct qn_parameter_group *group,
                                          qn_error *error);
// A group without options, its pattern the first `length` bytes; and one more
// option by its name.
QN_API qn_status qn_parameter_group_name(struct qn_parameter_group *group,
                                         const char *pattern, size_t length,
                                         qn_error *error);
QN_API qn_status qn_parameter_group_set(struct qn_parameter_group *group,
                                        const char *key, double value,
                                        qn_error *error);

// Weights are the parameters of two dimensions or more but those of
// normalisations.
struct qn_model_options_params {
    bool no_decay_bias;       // weight decay on weights alone
    double max_norm;          // of weights; a layer's own replaces it; 0: none
    bool max_norm_per_tensor; // else per unit
    const struct qn_parameter_group *groups; // after all else, in their order
    int group_count;
};
// The options of each parameter of the graph, for struct qn_optimizer_params;
// they live as long as the graph. `model`, which it was built from, tells which
// parameters are of normalisations and what units are; it may be NULL. A group
// that matches no parameter is an error of the graph.
QN_API const struct qn_parameter_options *
qn_model_options(const qn_model *model, qn_graph *graph,
                 const struct qn_model_options_params *params);

enum qn_average_form {
    QN_AVERAGE_FROM_START, // r = 1 - d: d average + (1 - d) x, the first values
                           // being those of the parameters
    QN_AVERAGE_CORRECTED,  // r = (1 - d) / (1 - d^step): the same without the
                           // first values, as Adam corrects its averages
    QN_AVERAGE_MEAN,       // r = 1 / step: the mean of all steps (Polyak,
                           // Juditsky: Acceleration of stochastic
                           // approximation by averaging, 1992)
};

struct qn_optimizer_params {
    const struct qn_optimizer *optimizer;
    double hyper[QN_MAX_HYPER]; // all of them; see qn_optimizer_defaults
    // For each parameter of the graph, in the order of qn_group_members; they
    // need not live longer than the call. NULL: none, or the defaults.
    const struct qn_penalty *penalties; // added to the gradient, or after the
                                        // step
    const struct qn_parameter_options *options;
    // Clipping of the loss's gradient, before weight decay and penalties; 0:
    // none. One norm at most; values are clipped before.
    double clip_value;       // every element to [-clip_value, clip_value]
    double clip_norm;        // each parameter's gradient g to
                             // g min(1, c / (|g| + 1e-6)), as PyTorch's
    double clip_global_norm; // the same with |g| over all parameters (Pascanu,
                             // Mikolov, Bengio: On the difficulty of training
                             // recurrent neural networks, ICML 2013)
    // A moving average of the parameters in the group "average", named as they
    // are: average + r (x - average) after each step, where r depends on
    // `average_form`. qn_optimizer_begin gives it its first values.
    double average; // d, below 1; 0: none, unless average_form is the mean
    enum qn_average_form average_form;
    // A scalar of the graph's real type; a step in which it is not finite
    // changes no parameter, slot or average. NULL: every step counts.
    qn_node *gate;
    // Nor does one in which an element of the gradient is not finite.
    bool needs_finite_gradient;
    // The norms of the gradients are wanted, see qn_optimizer_update.
    bool wants_norms;
    // Keep in the variable "chunks" of the group "@optimizer.watch", int32
    // [chunks + 1], the number of the first step whose gradient is not finite,
    // for each chunk of qn_optimizer_update; 0: none. Last stands the first
    // step that the gate shut out: from then on no step changes anything, so
    // that the parameters are those of that step.
    bool is_watched;
};
// `params` with the row's defaults.
QN_API struct qn_optimizer_params
qn_optimizer_defaults(const struct qn_optimizer *optimizer);
// The defaults but for what text such as "adam:beta1=0.8,eps=1e-7" sets. The
// values are looked at by qn_optimizer_check.
QN_API qn_status qn_optimizer_parse(const char *text,
                                    struct qn_optimizer_params *params,
                                    qn_error *error);
// Sets one hyper-parameter by its name, its value unchecked.
QN_API qn_status qn_optimizer_set_hyper(struct qn_optimizer_params *params,
                                        const char *name, double value,
                                        qn_error *error);

// An update in a graph. Nodes live as long as the graph.
struct qn_optimizer_update {
    const struct qn_optimizer *optimizer;
    double hyper[QN_MAX_HYPER];
    qn_node *lr, *step; // qn_scalars, set by qn_optimizer_set
    qn_node *constants[QN_MAX_CONSTANTS];
    double average; // as in the params
    enum qn_average_form average_form;
    qn_node *average_rate; // NULL: no average
    // [chunks, 3]: sum of g^2, sum of x^2, and 0 or, if an element of g is not
    // finite, NaN, over each chunk, g being clipped by value only; NULL where
    // nothing needs them. Chunks lie in one parameter each, in their order.
    qn_node *norms;
    qn_node *gate; // what decides: finite in the steps that count; may be NULL
    int chunk_count;
    const int *chunk_owners; // index of the parameter of each chunk
};

// Appends the update of the parameters of the graph along the gradient of
// `loss`: gradients, one flat buffer, one launch, and one before it where
// norms are needed. Slots are variables of the groups "optimizer.<slot>" named
// as the parameters.
QN_API qn_status qn_optimizer_build(qn_graph *graph, qn_node *loss,
                                    const struct qn_optimizer_params *params,
                                    struct qn_optimizer_update *update);

// Whether the gradient is to be taken at another point than the parameters, which
// then is the group QN_GROUP_LOOKAHEAD: call qn_graph_alias with it before the
// model is built. The update writes both; qn_optimizer_begin starts it.
#define QN_GROUP_LOOKAHEAD "lookahead"
QN_API bool
qn_optimizer_looks_ahead(const struct qn_optimizer_params *params);

// The two halves of qn_optimizer_build. The flat gradient of all parameters
// that are not frozen, each at a multiple of 512 bytes, gaps zero; NULL after
// an error.
QN_API qn_node *
qn_optimizer_gradient(qn_graph *graph, qn_node *loss,
                      const struct qn_optimizer_params *params);
// The update along such a gradient, from wherever it comes.
QN_API qn_status qn_optimizer_apply(qn_graph *graph, qn_node *gradient,
                                    const struct qn_optimizer_params *params,
                                    struct qn_optimizer_update *update);

// Gives what begins as a copy of the parameters its first values: the groups
// "average", with "average_buffers", and "lookahead". To be called once, when
// the parameters have theirs.
QN_API qn_status qn_optimizer_begin(qn_store *store, qn_error *error);

// The start of a run: no step done, the row's learning rate.
QN_API struct qn_optimizer_step
qn_optimizer_start(const struct qn_optimizer *optimizer);
// Sets the plan up for step `at->step`, once for each step in their order.
QN_API qn_status qn_optimizer_set(const struct qn_optimizer_update *update,
                                  qn_plan *plan,
                                  struct qn_optimizer_step *at);

#ifdef __cplusplus
}
#endif

#endif
