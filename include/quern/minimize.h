// SPDX-License-Identifier: MIT
// Full-batch minimizers: L-BFGS, BFGS and Newton-CG over any function that
// gives its value and gradient, such as the loss of a graph over a whole data
// set. They run on the host, in double precision, and wait for each value.
#ifndef QUERN_MINIMIZE_H
#define QUERN_MINIMIZE_H

#include <stdbool.h>
#include <stdint.h>

#include "quern/nn.h"

#ifdef __cplusplus
extern "C" {
#endif

// ---- what is minimized ----

struct qn_objective {
    void *user; // handed to the functions
    int64_t n;  // how many variables
    // loss = f(x), gradient[n] of it at x[n]. The same x gives the same bits.
    // A status other than QN_OK ends the step, which then did nothing.
    qn_status (*evaluate)(void *user, const double *x, double *loss,
                          double *gradient, qn_error *error);
    // product[n] = H(x) v, H the matrix of second derivatives. NULL: central
    // differences (g(x + e v) - g(x - e v)) / 2e, e = cbrt(precision)
    // (1 + |x|) / |v|, at the cost of two evaluations.
    qn_status (*hessian_product)(void *user, const double *x, const double *v,
                                 double *product, qn_error *error);
    double precision; // relative rounding of the gradient; 0: double's
};

// ---- rules ----

enum { QN_MAX_MINIMIZER_KEYS = 8 };

// One row of the table of minimizers.
struct qn_minimizer_row {
    const char *name; // "lbfgs"
    const char *formula;
    const char *source;
    double lr; // default: what the first step tried along a direction is
               // multiplied by, or with line_search=none the step itself
    int key_count;
    struct qn_minimizer_key {
        const char *name; // "history"
        double value;     // default; of choices their number
        double minimum;
        double maximum;
        const char *choices; // "strong_wolfe|armijo|none", or NULL: a number
        bool is_integer;
        const char *meaning;
    } keys[QN_MAX_MINIMIZER_KEYS];
};
// Row `index`, NULL past the last one.
QN_API const struct qn_minimizer_row *qn_minimizer_row_at(int index);
// NULL: there is none.
QN_API const struct qn_minimizer_row *qn_minimizer_row_find(const char *name);

struct qn_minimizer_params {
    const struct qn_minimizer_row *row;
    double lr;
    double values[QN_MAX_MINIMIZER_KEYS]; // all of them
};
// `params` with the row's defaults.
QN_API struct qn_minimizer_params
qn_minimizer_defaults(const struct qn_minimizer_row *row);
// From text such as "lbfgs:history=20,line_search=strong_wolfe".
QN_API qn_status qn_minimizer_parse(const char *text,
                                    struct qn_minimizer_params *params,
                                    qn_error *error);
// Sets one key from text such as "20" or "none".
QN_API qn_status qn_minimizer_set(struct qn_minimizer_params *params,
                                  const char *key, const char *value,
                                  qn_error *error);
// The value of key `index` as text, into `text`, which it returns.
QN_API char *qn_minimizer_value(const struct qn_minimizer_params *params,
                                int index, char *text, size_t size);

// ---- running ----

typedef struct qn_minimizer qn_minimizer;

typedef enum qn_minimizer_stop {
    QN_STOP_NONE,     // it goes on
    QN_STOP_GRADIENT, // max |gradient| <= tolerance_grad
    QN_STOP_CHANGE,   // x or the loss changed by no more than
                      // tolerance_change, or would
    QN_STOP_SEARCH,   // no smaller loss along the steepest descent
} qn_minimizer_stop;
// A sentence for people, without a full stop.
QN_API const char *qn_minimizer_stop_text(qn_minimizer_stop stop);

// `x`[n] is where it begins; it is copied, and so are the other arguments. NULL
// on bad arguments or without memory. Nothing is evaluated yet.
//   lbfgs      2 history + 7 vectors of n doubles
//   bfgs       n (n + 1) / 2 doubles and 7 vectors; at most QN_BFGS_MAX variables
//   newton_cg  13 vectors
QN_API qn_minimizer *
qn_minimizer_create(const struct qn_minimizer_params *params,
                    const struct qn_objective *objective, const double *x,
                    qn_error *error);
QN_API void qn_minimizer_destroy(qn_minimizer **minimizer);
enum { QN_BFGS_MAX = 5000 };
// What qn_minimizer_create would say to `n` variables.
QN_API qn_status
qn_minimizer_check_size(const struct qn_minimizer_params *params, double n,
                        qn_error *error);

// One iteration: a direction, a search along it, one step. Does nothing once
// there is a reason to stop. After a failure the minimizer is as it was before
// the call, which may be tried again. QN_NOT_FINITE: the loss at the beginning,
// or after a step without a search, is no number.
QN_API qn_status qn_minimizer_step(qn_minimizer *minimizer, qn_error *error);

struct qn_minimizer_report {
    int64_t iterations;
    int64_t evaluations; // of loss and gradient, those of differences included
    int64_t products;    // of the Hessian and a vector
    double loss;         // at x; NAN before the first step
    double gradient;     // max |gradient|
    double step;         // along the last direction
    bool meets_wolfe; // the last step's loss fell by 1e-4 of what its slope
                      // foretold, and its slope to 0.9 of what it was
    qn_minimizer_stop stop;
};
QN_API void qn_minimizer_describe(const qn_minimizer *minimizer,
                                  struct qn_minimizer_report *report);
// Where it stands, x[n]; lives as long as the minimizer.
QN_API const double *qn_minimizer_x(const qn_minimizer *minimizer);

// All that the next steps depend on, as arrays: copied out and back in, they
// make a run go on with the same bits. Before the first step "x" alone may be
// written, to begin elsewhere.
typedef struct qn_minimizer_part {
    const char *name; // "x", "gradient", "counters", "s", "y", ...
    int64_t rows;     // 1: a vector
    int64_t columns;
    double *values; // the minimizer's own
} qn_minimizer_part;
// Part `index`; false past the last one.
QN_API bool qn_minimizer_part_at(qn_minimizer *minimizer, int index,
                                 qn_minimizer_part *part);

// ---- the loss of a graph as an objective ----

// What is built for one size of batch.
struct qn_batch_loss {
    qn_node *loss;   // one number: the mean over the samples of the batch, or
    qn_node *weight; // with this number their weighted sum: the loss is then
                     // the sum of all losses by that of all weights, which
                     // parameters do not change. NULL: a mean
    qn_node *count; // one number that is summed over all data, such as right
                    // answers; NULL: none
    qn_node *nodes[4]; // what `bind` needs
    // l2 / 2 sum w^2 of each parameter, in the order of qn_group_members, is
    // added to the loss. l1 is refused: it has no gradient at 0. Must live as
    // long as the graph. NULL: none.
    const struct qn_penalty *penalties;
};

struct qn_plan_objective_params {
    qn_dtype real;   // of the graphs
    int64_t samples; // in all
    int64_t batch;   // samples of one run, to save memory; the last one may have
                     // fewer. The loss is the mean over samples all the same
    bool wants_products; // Hessian products, see qn_plan_objective_is_exact
    void *user;          // handed to the functions
    // Appends the loss of a batch of `count` samples to `out`, zeroed; errors stay with the
    // graph. Called for each size of batch, and again for Hessian products.
    void (*build)(void *user, qn_graph *graph, int64_t count,
                  struct qn_batch_loss *out);
    // Sets scalars and inputs for the batch that begins with sample `first`.
    // NULL: there are none. The detail of a failure is the plan's.
    qn_status (*bind)(void *user, const struct qn_batch_loss *built,
                      qn_plan *plan, int64_t first);
    // Asked before each batch; true ends the evaluation by QN_INTERRUPTED. May
    // be NULL.
    bool (*is_stopped)(void *user);
};

// Mean loss over a data set and its gradient, as a function of all parameters
// in the store, one after the other. Batches are summed in double precision, in
// their order.
typedef struct qn_plan_objective qn_plan_objective;

// Builds, adds the graphs' variables to the store, plans. The device and the
// store must outlive it. With a sketch for a store it only finds out what it
// would allocate: it can be described and destroyed.
QN_API qn_plan_objective *
qn_plan_objective_create(qn_device *device, qn_store *store,
                         const struct qn_plan_objective_params *params,
                         qn_error *error);
QN_API void qn_plan_objective_destroy(qn_plan_objective **objective);
// `own_size` and `own_largest_size` over all its plans; nothing else is set.
QN_API void qn_plan_objective_describe(const qn_plan_objective *objective,
                                       qn_plan_stats *stats);
// For qn_minimizer_create.
QN_API struct qn_objective
qn_plan_objective_face(qn_plan_objective *objective);
// Whether Hessian products are exact: the gradient of sum(gradient * v), where
// all operations between parameters and gradient have gradients themselves.
// Otherwise, or where none are wanted, the face has no hessian_product. `why`
// receives what refused, or NULL; it may be NULL and lives as long as the
// objective.
QN_API bool qn_plan_objective_is_exact(const qn_plan_objective *objective,
                                       const char **why);
// The parameters between store and x[n].
QN_API qn_status qn_plan_objective_read(qn_plan_objective *objective,
                                        double *x, qn_error *error);
QN_API qn_status qn_plan_objective_write(qn_plan_objective *objective,
                                         const double *x, qn_error *error);
// The sum of qn_batch_loss's count at x, evaluated unless that was the last
// point.
QN_API qn_status qn_plan_objective_count(qn_plan_objective *objective,
                                         const double *x, double *count,
                                         qn_error *error);

#ifdef __cplusplus
}
#endif

#endif
