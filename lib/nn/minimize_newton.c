// Newton-CG: the Newton system solved by conjugate gradients, as exactly as
// the distance from the minimum is worth it. The Hessian is only ever
// multiplied by vectors.
#include <math.h>
#include <string.h>

#include "nn/minimize_keys.h"

enum { KEY_CG_ITERATIONS = QN_KEY_OWN };
enum { SCRATCH_R, SCRATCH_P, SCRATCH_HP };

// One step of conjugate gradients along p; false: the curvature along p is not
// positive, and d is what to make of it.
static bool advance(struct qn_minimizer *m, bool is_first, double curvature,
                    double *square)
{
    const int64_t n = m->n;
    double *r = m->scratch[SCRATCH_R], *p = m->scratch[SCRATCH_P];
    const double size = qn_vector_dot(p, p, n);
    if (!(curvature > 1e-14 * size)) {
        // Steepest descent, as long as a parabola of that curvature's size
        // would ask for; later ones than the first add to a good direction.
        if (is_first)
            qn_vector_add(m->d, fabs(curvature) > 1e-14 * size
                                    ? *square / fabs(curvature)
                                    : 1,
                          p, n);
        return false;
    }
    const double along = *square / curvature;
    qn_vector_add(m->d, along, p, n);
    qn_vector_add(r, along, m->scratch[SCRATCH_HP], n);
    const double after = qn_vector_dot(r, r, n), beta = after / *square;
    for (int64_t i = 0; i < n; i++)
        p[i] = beta * p[i] - r[i];
    *square = after;
    return true;
}

// Nocedal, Wright, algorithm 7.1, with its superlinear tolerance.
static qn_status direct(struct qn_minimizer *m, qn_error *error)
{
    const int64_t n = m->n;
    const int most = (int)m->params.values[KEY_CG_ITERATIONS];
    double *p = m->scratch[SCRATCH_P];
    double square = qn_vector_dot(m->g, m->g, n), size = sqrt(square);
    const double enough = size * fmin(0.5, sqrt(size));
    memset(m->d, 0, (size_t)n * sizeof *m->d);
    memcpy(m->scratch[SCRATCH_R], m->g, (size_t)n * sizeof *m->g);
    for (int64_t i = 0; i < n; i++)
        p[i] = -m->g[i];
    for (int k = 0; k < most && (k == 0 || sqrt(square) > enough); k++) {
        QN_TRY(qn_minimizer_product(m, p, m->scratch[SCRATCH_HP], error));
        double curvature = qn_vector_dot(p, m->scratch[SCRATCH_HP], n);
        if (!advance(m, k == 0, curvature, &square))
            break;
    }
    return QN_OK;
}

const struct qn_method qn_method_newton_cg = {
    .row = {
        .name = "newton_cg",
        .formula = "x += t d, H d = -dx to |H d + dx| <= |dx| min(0.5, "
                   "sqrt |dx|) by conjugate gradients, which end where the "
                   "curvature is negative; H p exact where gradients have "
                   "gradients, else by central differences; first t = lr",
        .source = "Dembo, Steihaug: Truncated-Newton algorithms for "
                  "large-scale unconstrained optimization, 1983",
        .lr = 1,
        .key_count = QN_KEY_OWN + 1,
        .keys = {QN_COMMON_KEYS(QN_SEARCH_ARMIJO),
                 [KEY_CG_ITERATIONS] = {"cg_iterations", 20, 1, 1e6, NULL,
                                        true,
                                        "products of H and a vector in one "
                                        "iteration"}},
    },
    .scratch_count = 3,
    .direct = direct,
};
