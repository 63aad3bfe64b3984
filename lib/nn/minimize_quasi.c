// Quasi-Newton directions: what the Hessian is follows from how the gradient
// changed over the last steps (L-BFGS) or over all (BFGS).
#include <math.h>
#include <string.h>

#include "nn/minimize_keys.h"

// Of s'y: below it a pair says nothing about the curvature. PyTorch's.
static const double least_curvature = 1e-10;

// ---- L-BFGS ----

enum { KEY_HISTORY = QN_KEY_OWN, HISTORY_MAX = 1000 };
enum { PART_S, PART_Y, PART_RHO };

static int64_t history(const struct qn_minimizer *m)
{
    return (int64_t)m->params.values[KEY_HISTORY];
}

static double pairs_max(const struct qn_minimizer *m)
{
    return m->params.values[KEY_HISTORY];
}

static void shape_pairs(const struct qn_minimizer *m, int64_t *rows,
                        int64_t *columns)
{
    *rows = history(m);
    *columns = m->n;
}

static void shape_rho(const struct qn_minimizer *m, int64_t *rows,
                      int64_t *columns)
{
    *rows = 1;
    *columns = history(m);
}

// Row of the pair `age` steps old; 0 is the newest.
static int64_t row_of(const struct qn_minimizer *m, int64_t age)
{
    int64_t next = (int64_t)m->counters[QN_AT_NEXT];
    return (next - 1 - age + 2 * history(m)) % history(m);
}

// d = -H g by two loops over the pairs (Nocedal, Wright, algorithm 7.4).
static qn_status direct_lbfgs(struct qn_minimizer *m, qn_error *error)
{
    const int64_t n = m->n, pairs = (int64_t)m->counters[QN_AT_PAIRS];
    double alpha[HISTORY_MAX], *d = m->d;
    double scale = pairs ? m->counters[QN_AT_SCALE] : 1;
    (void)error;
    for (int64_t i = 0; i < n; i++)
        d[i] = -m->g[i];
    for (int64_t age = 0; age < pairs; age++) {
        int64_t row = row_of(m, age);
        alpha[age] = m->parts[PART_RHO][row] *
                     qn_vector_dot(m->parts[PART_S] + row * n, d, n);
        qn_vector_add(d, -alpha[age], m->parts[PART_Y] + row * n, n);
    }
    for (int64_t i = 0; i < n; i++)
        d[i] *= scale;
    for (int64_t age = pairs - 1; age >= 0; age--) {
        int64_t row = row_of(m, age);
        double beta = m->parts[PART_RHO][row] *
                      qn_vector_dot(m->parts[PART_Y] + row * n, d, n);
        qn_vector_add(d, alpha[age] - beta, m->parts[PART_S] + row * n, n);
    }
    return QN_OK;
}

// The new pair takes the place of the oldest only if it is worth keeping:
// m->at and m->d hold it until then.
static void learn_lbfgs(struct qn_minimizer *m, double t, const double *g)
{
    const int64_t n = m->n, row = (int64_t)m->counters[QN_AT_NEXT];
    double *s = m->d, *y = m->at, *counters = m->counters;
    for (int64_t i = 0; i < n; i++) {
        s[i] *= t;
        y[i] = g[i] - m->g[i];
    }
    double curvature = qn_vector_dot(y, s, n);
    if (!(curvature > least_curvature))
        return;
    memcpy(m->parts[PART_S] + row * n, s, (size_t)n * sizeof *s);
    memcpy(m->parts[PART_Y] + row * n, y, (size_t)n * sizeof *y);
    m->parts[PART_RHO][row] = 1 / curvature;
    counters[QN_AT_SCALE] = curvature / qn_vector_dot(y, y, n);
    counters[QN_AT_NEXT] = (double)((row + 1) % history(m));
    if (counters[QN_AT_PAIRS] < (double)history(m))
        counters[QN_AT_PAIRS]++;
}

const struct qn_method qn_method_lbfgs = {
    .row = {
        .name = "lbfgs",
        .formula = "x += t d, d = -H dx; H from the last `history` pairs s = "
                   "t d, y = change of dx by two loops, beginning with (s'y / "
                   "y'y) I; first d = -dx, t = lr min(1, 1 / |dx|_1)",
        .source = "Liu, Nocedal: On the limited memory BFGS method for large "
                  "scale optimization, 1989",
        .lr = 1,
        .key_count = QN_KEY_OWN + 1,
        .keys = {QN_COMMON_KEYS(QN_SEARCH_WOLFE),
                 [KEY_HISTORY] = {"history", 20, 1, HISTORY_MAX, NULL, true,
                                  "pairs that are kept; PyTorch's default is "
                                  "100"}},
    },
    .part_count = 3,
    .parts = {[PART_S] = {"s", shape_pairs},
              [PART_Y] = {"y", shape_pairs},
              [PART_RHO] = {"rho", shape_rho}},
    .direct = direct_lbfgs,
    .learn = learn_lbfgs,
    .pairs_max = pairs_max,
};

// ---- BFGS ----

// The lower triangle of the inverse, row by row. Until the first pair it counts
// as the identity.
static void shape_inverse(const struct qn_minimizer *m, int64_t *rows,
                          int64_t *columns)
{
    *rows = 1;
    *columns = m->n * (m->n + 1) / 2;
}

// out = H v
static void multiply(const struct qn_minimizer *m, const double *v,
                     double *out)
{
    const double *h = m->parts[0];
    memset(out, 0, (size_t)m->n * sizeof *out);
    for (int64_t i = 0; i < m->n; h += ++i) {
        double sum = h[i] * v[i];
        for (int64_t k = 0; k < i; k++) {
            sum += h[k] * v[k];
            out[k] += h[k] * v[i];
        }
        out[i] += sum;
    }
}

static qn_status direct_bfgs(struct qn_minimizer *m, qn_error *error)
{
    (void)error;
    if (m->counters[QN_AT_PAIRS] != 0)
        multiply(m, m->g, m->d);
    else
        memcpy(m->d, m->g, (size_t)m->n * sizeof *m->d);
    for (int64_t i = 0; i < m->n; i++)
        m->d[i] = -m->d[i];
    return QN_OK;
}

static void begin_inverse(struct qn_minimizer *m, double scale)
{
    double *h = m->parts[0];
    memset(h, 0, (size_t)(m->n * (m->n + 1) / 2) * sizeof *h);
    for (int64_t i = 0; i < m->n; h += ++i)
        h[i] = scale;
}

// H = (I - s y' / s'y) H (I - y s' / s'y) + s s' / s'y, written out
// (Nocedal, Wright, equation 6.17; the first scale is 6.20).
static void learn_bfgs(struct qn_minimizer *m, double t, const double *g)
{
    double *s = m->d, *y = m->at, *hy = m->scratch[0], *h = m->parts[0];
    for (int64_t i = 0; i < m->n; i++) {
        s[i] *= t;
        y[i] = g[i] - m->g[i];
    }
    double curvature = qn_vector_dot(y, s, m->n);
    if (!(curvature > least_curvature))
        return;
    if (m->counters[QN_AT_PAIRS] == 0)
        begin_inverse(m, curvature / qn_vector_dot(y, y, m->n));
    multiply(m, y, hy);
    double along = (1 + qn_vector_dot(y, hy, m->n) / curvature) / curvature;
    for (int64_t i = 0; i < m->n; h += ++i)
        for (int64_t k = 0; k <= i; k++)
            h[k] += along * s[i] * s[k] -
                    (hy[i] * s[k] + s[i] * hy[k]) / curvature;
    m->counters[QN_AT_PAIRS]++;
}

const struct qn_method qn_method_bfgs = {
    .row = {
        .name = "bfgs",
        .formula = "x += t d, d = -H dx; s = t d, y = change of dx, r = 1 / "
                   "s'y, H = (I - r s y') H (I - r y s') + r s s', beginning "
                   "with (s'y / y'y) I; first as lbfgs",
        .source = "Broyden, Fletcher, Goldfarb, Shanno 1970",
        .lr = 1,
        .key_count = QN_KEY_OWN,
        .keys = {QN_COMMON_KEYS(QN_SEARCH_WOLFE)},
    },
    .part_count = 1,
    .parts = {{"inverse_hessian", shape_inverse}},
    .scratch_count = 1,
    .direct = direct_bfgs,
    .learn = learn_bfgs,
};
