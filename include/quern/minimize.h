// SPDX-License-Identifier: MIT
// Full-batch minimizers: L-BFGS, BFGS and Newton-CG over any function that
// gives its value and gradient. They run on the host, in double precision, and
// wait for each value: for data that is looked at as a whole.
#ifndef QUERN_MINIMIZE_H
#define QUERN_MINIMIZE_H

#include <stdbool.h>
#include <stdint.h>

#include "quern/status.h"

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
// make a run go on with the same bits.
typedef struct qn_minimizer_part {
    const char *name; // "x", "gradient", "counters", "s", "y", ...
    int64_t rows;     // 1: a vector
    int64_t columns;
    double *values; // the minimizer's own
} qn_minimizer_part;
// Part `index`; false past the last one.
QN_API bool qn_minimizer_part_at(qn_minimizer *minimizer, int index,
                                 qn_minimizer_part *part);

#ifdef __cplusplus
}
#endif

#endif
