// What the files of the minimizers share. The rows are in minimize.c.
#ifndef QN_NN_MINIMIZE_H
#define QN_NN_MINIMIZE_H

#include "base/status.h"
#include "quern/minimize.h"

// Keys that all rows begin with.
enum {
    QN_KEY_LINE_SEARCH,
    QN_KEY_TRIALS,
    QN_KEY_TOLERANCE_GRAD,
    QN_KEY_TOLERANCE_CHANGE,
    QN_KEY_OWN, // the row's own
};
enum { QN_SEARCH_WOLFE, QN_SEARCH_ARMIJO, QN_SEARCH_NONE };

// Places in `counters`: whole numbers and what else is no vector.
enum {
    QN_AT_ITERATIONS,
    QN_AT_EVALUATIONS,
    QN_AT_PRODUCTS,
    QN_AT_LOSS,
    QN_AT_STEP,
    QN_AT_WOLFE,
    QN_AT_STOP,
    QN_AT_FRESH, // no curvature is known: at the start, after a reset
    QN_AT_PAIRS, // that were learnt from; of lbfgs at most `history`
    QN_AT_NEXT,  // where the next pair goes
    QN_AT_SCALE, // of the identity that the history begins with
    QN_COUNTERS,
};

// What differs between the rows. Parts come after those that all have.
struct qn_method {
    struct qn_minimizer_row row;
    int part_count;
    struct {
        const char *name;
        // rows and columns of the part
        void (*shape)(const struct qn_minimizer *m, int64_t *rows,
                      int64_t *columns);
    } parts[4];
    int scratch_count; // vectors that `direct` may use
    // m->d = the direction from m->x; a descent one is not promised.
    qn_status (*direct)(struct qn_minimizer *m, qn_error *error);
    // Learns from a step of t d, `g` being the gradient after it. May be NULL.
    void (*learn)(struct qn_minimizer *m, double t, const double *g);
    // How many pairs are kept; NULL: they are only counted.
    double (*pairs_max)(const struct qn_minimizer *m);
};
extern const struct qn_method qn_method_lbfgs, qn_method_bfgs,
    qn_method_newton_cg;

enum { QN_MAX_SCRATCH = 5, QN_SEARCH_POINTS = 3 };

struct qn_minimizer {
    struct qn_objective objective;
    struct qn_minimizer_params params;
    const struct qn_method *method;
    int64_t n;
    // State.
    double *x, *g;
    double counters[QN_COUNTERS];
    double *parts[4];
    // Scratch. During a step x and g stay those of its beginning.
    double *d, *at;
    double *slopes[QN_SEARCH_POINTS]; // gradients at points of a search
    double *scratch[QN_MAX_SCRATCH];
};

// ---- what all need ----

double qn_vector_dot(const double *a, const double *b, int64_t n);
double qn_vector_max(const double *a, int64_t n); // of the absolute values
// y += a x
void qn_vector_add(double *y, double a, const double *x, int64_t n);

// Evaluates and counts. Both results are finite, or *loss is INFINITY.
qn_status qn_minimizer_evaluate(struct qn_minimizer *m, const double *x,
                                double *loss, double *gradient,
                                qn_error *error);
// product = H(m->x) v. Central differences use m->at, slopes[0] and slopes[1].
qn_status qn_minimizer_product(struct qn_minimizer *m, const double *v,
                               double *product, qn_error *error);

// ---- the search along a direction (minimize_search.c) ----

// A point x + t d.
struct qn_search_point {
    double t;
    double loss; // INFINITY where something is not finite
    double slope;
    double *g; // m->g at t = 0
};
// From m->x along m->d, whose slope is negative. `best` is the point with the
// least loss that was found, perhaps t = 0; `holds`: it meets the strong Wolfe
// conditions.
qn_status qn_search_wolfe(struct qn_minimizer *m, double slope, double t,
                          struct qn_search_point *best, bool *holds,
                          qn_error *error);
// `holds`: the loss fell enough (Armijo).
qn_status qn_search_armijo(struct qn_minimizer *m, double slope, double t,
                           struct qn_search_point *best, bool *holds,
                           qn_error *error);
bool qn_search_meets_wolfe(double loss, double slope,
                           const struct qn_search_point *point);

#endif
