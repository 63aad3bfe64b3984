// Minimizers: the handle, one iteration, what is saved of it. Which direction
// is taken is a row's business, how far the search's.
#include "nn/minimize.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- vectors ----

double qn_vector_dot(const double *a, const double *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

double qn_vector_max(const double *a, int64_t n)
{
    double most = 0;
    for (int64_t i = 0; i < n; i++)
        most = fabs(a[i]) > most ? fabs(a[i]) : most;
    return most;
}

void qn_vector_add(double *y, double a, const double *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] += a * x[i];
}

static double sum_of_sizes(const double *a, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += fabs(a[i]);
    return sum;
}

static bool is_finite(const double *a, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(a[i]))
            return false;
    return true;
}

// ---- the objective ----

qn_status qn_minimizer_evaluate(struct qn_minimizer *m, const double *x,
                                double *loss, double *gradient,
                                qn_error *error)
{
    m->counters[QN_AT_EVALUATIONS]++;
    QN_TRY(m->objective.evaluate(m->objective.user, x, loss, gradient,
                                 error));
    if (!isfinite(*loss) || !is_finite(gradient, m->n))
        *loss = INFINITY;
    return QN_OK;
}

// Truncation and rounding are about equal at the cube root.
static qn_status difference(struct qn_minimizer *m, const double *v,
                            double *product, qn_error *error)
{
    const int64_t n = m->n;
    const double length = sqrt(qn_vector_dot(v, v, n));
    const double precision =
        m->objective.precision > 0 ? m->objective.precision : DBL_EPSILON;
    const double e =
        cbrt(precision) * (1 + sqrt(qn_vector_dot(m->x, m->x, n))) / length;
    double loss[2];
    if (length == 0) {
        memset(product, 0, (size_t)n * sizeof *product);
        return QN_OK;
    }
    for (int side = 0; side < 2; side++) {
        memcpy(m->at, m->x, (size_t)n * sizeof *m->x);
        qn_vector_add(m->at, side ? -e : e, v, n);
        QN_TRY(qn_minimizer_evaluate(m, m->at, &loss[side], m->slopes[side],
                                     error));
        if (isinf(loss[side]))
            return qn_fail(error, QN_NOT_FINITE,
                           "the loss is not finite %g away from a point "
                           "where it is, so there is no difference of "
                           "gradients there", e * length);
    }
    for (int64_t i = 0; i < n; i++)
        product[i] = (m->slopes[0][i] - m->slopes[1][i]) / (2 * e);
    return QN_OK;
}

qn_status qn_minimizer_product(struct qn_minimizer *m, const double *v,
                               double *product, qn_error *error)
{
    m->counters[QN_AT_PRODUCTS]++;
    if (!m->objective.hessian_product)
        return difference(m, v, product, error);
    QN_TRY(m->objective.hessian_product(m->objective.user, m->x, v, product,
                                        error));
    if (!is_finite(product, m->n))
        return qn_fail(error, QN_NOT_FINITE,
                       "a product of the Hessian and a vector is not finite");
    return QN_OK;
}

// ---- the handle ----

static double *make_vector(int64_t n)
{
    return calloc((size_t)n, sizeof(double));
}

static bool allocate(struct qn_minimizer *m)
{
    bool good = (m->x = make_vector(m->n)) && (m->g = make_vector(m->n)) &&
                (m->d = make_vector(m->n)) && (m->at = make_vector(m->n));
    for (int i = 0; good && i < QN_SEARCH_POINTS; i++)
        good = (m->slopes[i] = make_vector(m->n)) != NULL;
    for (int i = 0; good && i < m->method->scratch_count; i++)
        good = (m->scratch[i] = make_vector(m->n)) != NULL;
    for (int i = 0; good && i < m->method->part_count; i++) {
        int64_t rows, columns;
        m->method->parts[i].shape(m, &rows, &columns);
        good = rows <= PTRDIFF_MAX / 8 / columns &&
               (m->parts[i] = make_vector(rows * columns)) != NULL;
    }
    return good;
}

static const struct qn_method *method_of(const struct qn_minimizer_row *row)
{
    static const struct qn_method *const methods[] = {
        &qn_method_lbfgs, &qn_method_bfgs, &qn_method_newton_cg};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (row == &methods[i]->row)
            return methods[i];
    return NULL;
}

static qn_status check_values(const struct qn_minimizer_params *params,
                              qn_error *error)
{
    const struct qn_minimizer_row *row = params->row;
    for (int i = 0; i < row->key_count; i++) {
        const struct qn_minimizer_key *key = &row->keys[i];
        if (!(params->values[i] >= key->minimum &&
              params->values[i] <= key->maximum))
            return qn_fail(error, QN_BAD_ARGUMENT,
                           "%s: %s is %.12g and must be from %.12g to %.12g",
                           row->name, key->name, params->values[i],
                           key->minimum, key->maximum);
    }
    if (!(params->lr > 0 && isfinite(params->lr)))
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "%s: lr is %.12g and must be above 0", row->name,
                       params->lr);
    return QN_OK;
}

qn_status qn_minimizer_check_size(const struct qn_minimizer_params *params,
                                  double n, qn_error *error)
{
    QN_REQUIRE(error, params && params->row);
    if (params->row != &qn_method_bfgs.row || n <= QN_BFGS_MAX)
        return QN_OK;
    return qn_fail(error, QN_BAD_ARGUMENT,
                   "bfgs holds a matrix of %.0f x %.0f numbers, %.1f MiB as a "
                   "triangle: it is for at most %d parameters; take lbfgs "
                   "instead", n, n, n * (n + 1) / 2 * 8 / (1 << 20),
                   QN_BFGS_MAX);
}

static qn_status check(const struct qn_minimizer_params *params,
                       const struct qn_objective *objective, const double *x,
                       qn_error *error)
{
    QN_REQUIRE(error, params && params->row && method_of(params->row));
    QN_REQUIRE(error, objective && objective->evaluate && x);
    QN_REQUIRE(error, objective->n >= 1 && objective->n < INT64_MAX / 64);
    QN_REQUIRE(error, objective->precision >= 0 && objective->precision < 1);
    QN_TRY(check_values(params, error));
    QN_TRY(qn_minimizer_check_size(params, (double)objective->n, error));
    for (int64_t i = 0; i < objective->n; i++)
        if (!isfinite(x[i]))
            return qn_fail(error, QN_NOT_FINITE,
                           "%s: x[%lld] is %g where it begins",
                           params->row->name, (long long)i, x[i]);
    return QN_OK;
}

qn_minimizer *
qn_minimizer_create(const struct qn_minimizer_params *params,
                    const struct qn_objective *objective, const double *x,
                    qn_error *error)
{
    if (check(params, objective, x, error) != QN_OK)
        return NULL;
    qn_minimizer *m = calloc(1, sizeof *m);
    if (m) {
        m->objective = *objective;
        m->params = *params;
        m->method = method_of(params->row);
        m->n = objective->n;
    }
    if (!m || !allocate(m)) {
        qn_fail(error, QN_NO_MEMORY, "%s: no memory for %lld variables",
                params->row->name, (long long)objective->n);
        qn_minimizer_destroy(&m);
        return NULL;
    }
    memcpy(m->x, x, (size_t)m->n * sizeof *x);
    m->counters[QN_AT_LOSS] = (double)NAN;
    m->counters[QN_AT_FRESH] = 1;
    return m;
}

void qn_minimizer_destroy(qn_minimizer **handle)
{
    if (!handle || !*handle)
        return;
    qn_minimizer *m = *handle;
    for (int i = 0; i < 4; i++)
        free(m->parts[i]);
    for (int i = 0; i < QN_MAX_SCRATCH; i++)
        free(m->scratch[i]);
    for (int i = 0; i < QN_SEARCH_POINTS; i++)
        free(m->slopes[i]);
    free(m->at);
    free(m->d);
    free(m->g);
    free(m->x);
    free(m);
    *handle = NULL;
}

// ---- one iteration ----

static qn_status begin(struct qn_minimizer *m, qn_error *error)
{
    double loss;
    QN_TRY(qn_minimizer_evaluate(m, m->x, &loss, m->g, error));
    if (isinf(loss))
        return qn_fail(error, QN_NOT_FINITE,
                       "the loss or its gradient is not finite where %s "
                       "begins", m->params.row->name);
    m->counters[QN_AT_LOSS] = loss;
    if (qn_vector_max(m->g, m->n) <= m->params.values[QN_KEY_TOLERANCE_GRAD])
        m->counters[QN_AT_STOP] = QN_STOP_GRADIENT;
    return QN_OK;
}

// A step of the given length, wherever it leads.
static qn_status step_blindly(struct qn_minimizer *m, double slope, double t,
                              struct qn_search_point *best, bool *holds,
                              qn_error *error)
{
    *best = (struct qn_search_point){.t = t, .g = m->slopes[0]};
    memcpy(m->at, m->x, (size_t)m->n * sizeof *m->x);
    qn_vector_add(m->at, t, m->d, m->n);
    QN_TRY(qn_minimizer_evaluate(m, m->at, &best->loss, best->g, error));
    if (isinf(best->loss))
        return qn_fail(error, QN_NOT_FINITE,
                       "the loss is not finite after iteration %.0f: a "
                       "smaller learning rate than %g may help, or a "
                       "line_search", m->counters[QN_AT_ITERATIONS] + 1,
                       m->params.lr);
    best->slope = qn_vector_dot(best->g, m->d, m->n);
    *holds = qn_search_meets_wolfe(m->counters[QN_AT_LOSS], slope, best);
    return QN_OK;
}

// The gradient says nothing about how far to go: not further than 1 in all.
static qn_status search(struct qn_minimizer *m, bool is_steepest,
                        double slope, struct qn_search_point *best,
                        bool *holds, qn_error *error)
{
    const double size = is_steepest ? sum_of_sizes(m->g, m->n) : 1;
    const double t = size > 1 ? m->params.lr * (1 / size) : m->params.lr;
    const int kind = (int)m->params.values[QN_KEY_LINE_SEARCH];
    if (kind == QN_SEARCH_NONE)
        return step_blindly(m, slope, t, best, holds, error);
    if (kind == QN_SEARCH_ARMIJO)
        QN_TRY(qn_search_armijo(m, slope, t, best, holds, error));
    else
        QN_TRY(qn_search_wolfe(m, slope, t, best, holds, error));
    *holds = qn_search_meets_wolfe(m->counters[QN_AT_LOSS], slope, best);
    return QN_OK;
}

// Takes the step that was found and sees whether it is the last one.
static void accept(struct qn_minimizer *m, const struct qn_search_point *best,
                   bool holds)
{
    double *counters = m->counters, before = counters[QN_AT_LOSS];
    const double *values = m->params.values;
    const double change = values[QN_KEY_TOLERANCE_CHANGE];
    const double moved = best->t * qn_vector_max(m->d, m->n);
    qn_vector_add(m->x, best->t, m->d, m->n);
    if (m->method->learn)
        m->method->learn(m, best->t, best->g);
    memcpy(m->g, best->g, (size_t)m->n * sizeof *m->g);
    counters[QN_AT_ITERATIONS]++;
    counters[QN_AT_FRESH] = 0;
    counters[QN_AT_LOSS] = best->loss;
    counters[QN_AT_STEP] = best->t;
    counters[QN_AT_WOLFE] = holds;
    if (qn_vector_max(m->g, m->n) <= values[QN_KEY_TOLERANCE_GRAD])
        counters[QN_AT_STOP] = QN_STOP_GRADIENT;
    else if (moved <= change || fabs(best->loss - before) < change)
        counters[QN_AT_STOP] = QN_STOP_CHANGE;
}

static void forget(struct qn_minimizer *m)
{
    m->counters[QN_AT_PAIRS] = m->counters[QN_AT_NEXT] = 0;
    m->counters[QN_AT_FRESH] = 1;
    for (int64_t i = 0; i < m->n; i++)
        m->d[i] = -m->g[i];
}

// Searches along m->d, if it leads down at all; `moved` unless nothing better
// was found.
static qn_status try_direction(struct qn_minimizer *m, bool is_steepest,
                               bool *moved, qn_error *error)
{
    const double change = m->params.values[QN_KEY_TOLERANCE_CHANGE];
    const double slope = qn_vector_dot(m->g, m->d, m->n);
    struct qn_search_point best;
    bool holds;
    *moved = false;
    if (!(slope < 0))
        return QN_OK;
    if (slope > -change) {
        m->counters[QN_AT_STOP] = QN_STOP_CHANGE;
        *moved = true;
        return QN_OK;
    }
    QN_TRY(search(m, is_steepest, slope, &best, &holds, error));
    *moved = best.t > 0;
    if (*moved)
        accept(m, &best, holds);
    return QN_OK;
}

// A direction that does not lead down, or along which nothing is found, gives
// way to the steepest descent. That has a right to fail.
static qn_status iterate(struct qn_minimizer *m, qn_error *error)
{
    const bool is_steepest =
        m->method->learn && m->counters[QN_AT_FRESH] != 0;
    bool moved;
    QN_TRY(m->method->direct(m, error));
    QN_TRY(try_direction(m, is_steepest, &moved, error));
    if (!moved && !is_steepest) {
        forget(m);
        QN_TRY(try_direction(m, true, &moved, error));
    }
    if (!moved)
        m->counters[QN_AT_STOP] = QN_STOP_SEARCH;
    return QN_OK;
}

// What was copied in may come from a file.
static qn_status check_counters(const struct qn_minimizer *m, qn_error *error)
{
    const double *counters = m->counters;
    const double most = m->method->pairs_max ? m->method->pairs_max(m) : 0;
    bool good = counters[QN_AT_STOP] >= QN_STOP_NONE &&
                counters[QN_AT_STOP] <= QN_STOP_SEARCH &&
                counters[QN_AT_PAIRS] >= 0 && counters[QN_AT_NEXT] >= 0 &&
                (most == 0 || (counters[QN_AT_PAIRS] <= most &&
                               counters[QN_AT_NEXT] < most));
    return good ? QN_OK
                : qn_fail(error, QN_FORMAT,
                          "the counters of %s are not what it writes",
                          m->params.row->name);
}

qn_status qn_minimizer_step(qn_minimizer *m, qn_error *error)
{
    double counters[QN_COUNTERS];
    QN_REQUIRE(error, m != NULL);
    QN_TRY(check_counters(m, error));
    if (isnan(m->counters[QN_AT_LOSS]))
        QN_TRY(begin(m, error));
    if (m->counters[QN_AT_STOP] != QN_STOP_NONE)
        return QN_OK;
    memcpy(counters, m->counters, sizeof counters);
    qn_status status = iterate(m, error);
    if (status != QN_OK)
        memcpy(m->counters, counters, sizeof counters);
    return status;
}

// ---- what it tells ----

const char *qn_minimizer_stop_text(qn_minimizer_stop stop)
{
    static const char *const texts[] = {
        [QN_STOP_NONE] = "it goes on",
        [QN_STOP_GRADIENT] = "the gradient is within tolerance_grad",
        [QN_STOP_CHANGE] = "the change is within tolerance_change",
        [QN_STOP_SEARCH] = "the line search finds no smaller loss",
    };
    bool is_known = stop >= QN_STOP_NONE && stop <= QN_STOP_SEARCH;
    return is_known ? texts[stop] : "unknown";
}

void qn_minimizer_describe(const qn_minimizer *m,
                           struct qn_minimizer_report *report)
{
    const double *counters = m->counters;
    *report = (struct qn_minimizer_report){
        .iterations = (int64_t)counters[QN_AT_ITERATIONS],
        .evaluations = (int64_t)counters[QN_AT_EVALUATIONS],
        .products = (int64_t)counters[QN_AT_PRODUCTS],
        .loss = counters[QN_AT_LOSS],
        .gradient = qn_vector_max(m->g, m->n),
        .step = counters[QN_AT_STEP],
        .meets_wolfe = counters[QN_AT_WOLFE] != 0,
        .stop = (qn_minimizer_stop)counters[QN_AT_STOP],
    };
}

const double *qn_minimizer_x(const qn_minimizer *m)
{
    return m->x;
}

bool qn_minimizer_part_at(qn_minimizer *m, int index, qn_minimizer_part *part)
{
    const qn_minimizer_part common[] = {
        {"x", 1, m->n, m->x},
        {"gradient", 1, m->n, m->g},
        {"counters", 1, QN_COUNTERS, m->counters},
    };
    const int count = sizeof common / sizeof *common;
    if (index < 0 || index >= count + m->method->part_count)
        return false;
    if (index < count) {
        *part = common[index];
        return true;
    }
    *part = (qn_minimizer_part){.name = m->method->parts[index - count].name,
                                .values = m->parts[index - count]};
    m->method->parts[index - count].shape(m, &part->rows, &part->columns);
    return true;
}
