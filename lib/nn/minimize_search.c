// How far to go along a direction: strong Wolfe conditions by bracketing and
// cubic interpolation (Nocedal, Wright: Numerical optimization, 2006,
// algorithms 3.5 and 3.6), and backtracking (3.1). Bounds and safeguards are
// PyTorch's, so that trajectories agree.
#include "nn/minimize.h"

#include <math.h>
#include <string.h>

static const double enough = 1e-4; // c1: share of the foretold decrease
static const double flat = 0.9;    // c2: share of the slope that may stay

static bool falls_enough(double loss, double slope,
                         const struct qn_search_point *point)
{
    return point->loss <= loss + enough * point->t * slope;
}

bool qn_search_meets_wolfe(double loss, double slope,
                           const struct qn_search_point *point)
{
    return point->t > 0 && falls_enough(loss, slope, point) &&
           fabs(point->slope) <= -flat * slope;
}

static qn_status look(struct qn_minimizer *m, double t,
                      struct qn_search_point *point, qn_error *error)
{
    point->t = t;
    memcpy(m->at, m->x, (size_t)m->n * sizeof *m->x);
    qn_vector_add(m->at, t, m->d, m->n);
    QN_TRY(qn_minimizer_evaluate(m, m->at, &point->loss, point->g, error));
    point->slope = isinf(point->loss)
                       ? INFINITY
                       : qn_vector_dot(point->g, m->d, m->n);
    return QN_OK;
}

// The minimum of the cubic through both values and slopes (3.59), within
// bounds; the middle where there is none.
static double cubic(const struct qn_search_point *a,
                    const struct qn_search_point *b, double low, double high)
{
    if (a->t > b->t) {
        const struct qn_search_point *swap = a;
        a = b;
        b = swap;
    }
    double d1 = a->slope + b->slope - 3 * (a->loss - b->loss) / (a->t - b->t);
    double square = d1 * d1 - a->slope * b->slope;
    if (!(square >= 0))
        return (low + high) / 2;
    double d2 = sqrt(square);
    double t = b->t - (b->t - a->t) * ((b->slope + d2 - d1) /
                                       (b->slope - a->slope + 2 * d2));
    if (isnan(t))
        return (low + high) / 2;
    return t < low ? low : t > high ? high : t;
}

// ---- strong Wolfe conditions ----

struct line {
    struct qn_minimizer *m;
    struct qn_search_point start, points[QN_SEARCH_POINTS];
    struct qn_search_point *ends[2]; // of the bracket
    int low;                         // which of them has the smaller loss
    int trials, trials_max;
    bool done; // ends[low] meets the conditions
};

// A point that is neither `a` nor `b`.
static struct qn_search_point *spare(struct line *line,
                                     const struct qn_search_point *a,
                                     const struct qn_search_point *b)
{
    struct qn_search_point *point = line->points;
    while (point == a || point == b)
        point++;
    return point;
}

static void set_bracket(struct line *line, struct qn_search_point *a,
                        struct qn_search_point *b)
{
    line->ends[0] = a;
    line->ends[1] = b;
    line->low = a->loss <= b->loss ? 0 : 1;
}

static bool is_flat(const struct line *line,
                    const struct qn_search_point *point)
{
    return fabs(point->slope) <= -flat * line->start.slope;
}

static bool is_low(const struct line *line,
                   const struct qn_search_point *point)
{
    return falls_enough(line->start.loss, line->start.slope, point);
}

// Algorithm 3.5: goes on until the minimum must lie behind. Where the loss is
// not finite, goes back towards the point before.
static qn_status find_bracket(struct line *line, double t, qn_error *error)
{
    struct qn_search_point *before = &line->start, *now = line->points;
    QN_TRY(look(line->m, t, now, error));
    for (; line->trials < line->trials_max; line->trials++) {
        set_bracket(line, before, now);
        if (isinf(now->loss)) {
            t = before->t + 0.2 * (now->t - before->t);
            QN_TRY(look(line->m, t, now, error));
            continue;
        }
        if (!is_low(line, now) ||
            (line->trials > 1 && now->loss >= before->loss))
            return QN_OK;
        if (is_flat(line, now)) {
            line->done = true;
            line->low = 1;
            return QN_OK;
        }
        if (now->slope >= 0)
            return QN_OK;
        t = cubic(before, now, now->t + 0.01 * (now->t - before->t),
                  10 * now->t);
        before = now;
        now = spare(line, before, NULL);
        QN_TRY(look(line->m, t, now, error));
    }
    set_bracket(line, before, now);
    return QN_OK;
}

// Where to look next within the bracket: the cubic's minimum, but not near the
// same end twice.
static double choose(const struct line *line, bool *was_near)
{
    const struct qn_search_point *a = line->ends[0], *b = line->ends[1];
    double first = a->t < b->t ? a->t : b->t;
    double last = a->t < b->t ? b->t : a->t;
    double t = cubic(a, b, first, last), margin = 0.1 * (last - first);
    bool is_near = last - t < margin || t - first < margin;
    if (is_near && (*was_near || t >= last || t <= first)) {
        t = last - t < t - first ? last - margin : first + margin;
        is_near = false;
    }
    *was_near = is_near;
    return t;
}

// Algorithm 3.6: shrinks the bracket.
static qn_status zoom(struct line *line, qn_error *error)
{
    struct qn_minimizer *m = line->m;
    const double size = qn_vector_max(m->d, m->n);
    const double change = m->params.values[QN_KEY_TOLERANCE_CHANGE];
    bool was_near = false;
    for (; !line->done && line->trials < line->trials_max; line->trials++) {
        struct qn_search_point **ends = line->ends;
        int low = line->low;
        if (fabs(ends[1]->t - ends[0]->t) * size < change)
            return QN_OK;
        struct qn_search_point *now = spare(line, ends[0], ends[1]);
        QN_TRY(look(m, choose(line, &was_near), now, error));
        if (!is_low(line, now) || now->loss >= ends[low]->loss) {
            ends[1 - low] = now;
            set_bracket(line, ends[0], ends[1]);
            continue;
        }
        if (is_flat(line, now))
            line->done = true;
        else if (now->slope * (ends[1 - low]->t - ends[low]->t) >= 0)
            ends[1 - low] = ends[low];
        ends[low] = now;
    }
    return QN_OK;
}

qn_status qn_search_wolfe(struct qn_minimizer *m, double slope, double t,
                          struct qn_search_point *best, bool *holds,
                          qn_error *error)
{
    struct line line = {
        .m = m,
        .start = {0, m->counters[QN_AT_LOSS], slope, m->g},
        .trials_max = (int)m->params.values[QN_KEY_TRIALS],
    };
    for (int i = 0; i < QN_SEARCH_POINTS; i++)
        line.points[i].g = m->slopes[i];
    QN_TRY(find_bracket(&line, t, error));
    QN_TRY(zoom(&line, error));
    *best = *line.ends[line.low];
    *holds = line.done;
    if (!(best->loss <= line.start.loss))
        *best = line.start;
    return QN_OK;
}

// ---- backtracking ----

qn_status qn_search_armijo(struct qn_minimizer *m, double slope, double t,
                           struct qn_search_point *best, bool *holds,
                           qn_error *error)
{
    const struct qn_search_point start = {0, m->counters[QN_AT_LOSS], slope,
                                          m->g};
    const int trials = (int)m->params.values[QN_KEY_TRIALS];
    struct qn_search_point now = {.g = m->slopes[0]};
    *holds = false;
    for (int i = 0; i <= trials; i++) {
        QN_TRY(look(m, t, &now, error));
        if (falls_enough(start.loss, slope, &now)) {
            *best = now;
            *holds = true;
            return QN_OK;
        }
        t = isinf(now.loss) ? 0.1 * now.t
                            : cubic(&start, &now, 0.1 * now.t, 0.5 * now.t);
    }
    *best = start;
    return QN_OK;
}
