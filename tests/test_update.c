// What an update does around its rule: clipping, options of single parameters,
// maximum norms, the moving average. The gradient is an input here, so that the references,
// in double, need no network; the rule is plain descent, x -= lr g.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "qn_check.h"
#include "quern/op.h"
#include "quern/optim.h"

// Tensors of several chunks (of 4,096 elements), of one, with a tail.
enum { TENSORS = 4, MAX_COUNT = 12000, MAX_FLAT = 13000 };
static const int sizes[TENSORS] = {9000, 3, 130, 720};
static const int small_sizes[TENSORS] = {4200, 3, 130, 72};
static const char *const names[TENSORS] = {"0.weight", "0.bias", "2.weight",
                                           "2.bias"};

// ---- a problem and a run ----

static struct problem {
    const int *sizes;
    qn_shape shapes[TENSORS];
    int count;
    struct qn_parameter_options options[TENSORS];
    double x[MAX_COUNT], g[MAX_COUNT];
} problem;

// An emulator takes seconds for what a device does at once.
static void make_problem(double spread)
{
    struct qn_check_rng rng = {7};
    const bool is_emulated =
        qn_device_describe(qn_check_device())->type == QN_DEVICE_EMULATOR;
    problem.sizes = is_emulated ? small_sizes : sizes;
    problem.count = 0;
    for (int k = 0; k < TENSORS; k++) {
        problem.count += problem.sizes[k];
        problem.shapes[k] = qn_shape_of(problem.sizes[k]);
        problem.options[k] = qn_parameter_options_defaults();
    }
    for (int i = 0; i < problem.count; i++) {
        problem.x[i] = (float)qn_check_uniform(&rng, -2, 2);
        problem.g[i] = (float)qn_check_uniform(&rng, -spread, spread);
    }
}

struct run {
    qn_graph *g;
    qn_store *store;
    qn_plan *plan;
    qn_node *gradient;
    struct qn_optimizer_update update;
    struct qn_optimizer_step at;
};

static struct qn_optimizer_params defaults_of(const char *name)
{
    struct qn_optimizer_params params =
        qn_optimizer_defaults(qn_optimizer_find(name));
    params.options = problem.options;
    return params;
}

static int padded(int count)
{
    return (count + 127) / 128 * 128;
}

static int first_of(int tensor)
{
    int at = 0;
    for (int k = 0; k < tensor; k++)
        at += problem.sizes[k];
    return at;
}

static void copy_tensor(struct run *run, const char *group, int k,
                        double *values, bool write)
{
    float data[MAX_COUNT];
    qn_error error = {0};
    const size_t size = (size_t)problem.sizes[k] * sizeof(float);
    const int index = qn_store_find(run->store, group, names[k]);
    ck_assert_msg(index >= 0, "no %s in %s", names[k], group);
    for (int i = 0; write && i < problem.sizes[k]; i++)
        data[i] = (float)values[i];
    ck_assert_ok(write ? qn_store_write(run->store, index, data, size, &error)
                       : qn_store_read(run->store, index, data, size, &error),
                 error);
    for (int i = 0; !write && i < problem.sizes[k]; i++)
        values[i] = (double)data[i];
}

static void copy_group(struct run *run, const char *group, double *values,
                       bool write)
{
    for (int k = 0; k < TENSORS; k++)
        copy_tensor(run, group, k, values + first_of(k), write);
}

static void start(struct run *run, const struct qn_optimizer_params *params)
{
    qn_error error = {0};
    int64_t flat = 0;
    *run = (struct run){.g = qn_graph_create(QN_FLOAT32)};
    run->at = qn_optimizer_start(params->optimizer);
    if (qn_optimizer_looks_ahead(params))
        qn_graph_alias(run->g, QN_GROUP_LOOKAHEAD, NULL);
    for (int k = 0; k < TENSORS; k++) {
        qn_parameter(run->g, names[k], problem.shapes[k]);
        if (!problem.options[k].is_frozen)
            flat += padded(problem.sizes[k]);
    }
    run->gradient = qn_input(run->g, "g", QN_FLOAT32, qn_shape_of(flat));
    qn_optimizer_apply(run->g, run->gradient, params, &run->update);
    ck_assert_ok(qn_graph_check(run->g, &error), error);
    run->store = qn_store_create(qn_check_device(), &error);
    ck_assert_ok(qn_store_add(run->store, run->g, &error), error);
    const struct qn_plan_params plan = {.graph = run->g,
                                        .store = run->store};
    run->plan = qn_plan_create(qn_check_device(), &plan, &error);
    ck_assert_msg(run->plan != NULL, "%s", error.text);
    copy_group(run, "parameters", problem.x, true);
    ck_assert_ok(qn_optimizer_begin(run->store, &error), error);
}

static void step(struct run *run, double lr)
{
    static float flat[MAX_FLAT];
    int at = 0;
    memset(flat, 0, sizeof flat);
    for (int k = 0; k < TENSORS; k++) {
        if (problem.options[k].is_frozen)
            continue;
        for (int i = 0; i < problem.sizes[k]; i++)
            flat[at + i] = (float)problem.g[first_of(k) + i];
        at += padded(problem.sizes[k]);
    }
    run->at.step++;
    run->at.lr = lr;
    ck_assert_int_eq(qn_plan_write(run->plan, run->gradient, flat,
                                   (size_t)at * sizeof *flat), QN_OK);
    ck_assert_int_eq(qn_optimizer_set(&run->update, run->plan, &run->at),
                     QN_OK);
    ck_assert_int_eq(qn_plan_run(run->plan), QN_OK);
}

static void finish(struct run *run)
{
    qn_plan_destroy(&run->plan);
    qn_store_destroy(&run->store);
    qn_graph_destroy(&run->g);
}

static void expect_group(struct run *run, const char *what, const char *group,
                         const double *want, double rtol)
{
    static double got[MAX_COUNT];
    copy_group(run, group, got, false);
    qn_check_close(what, got, want, problem.count, rtol, 2e-7);
}

// ---- clipping ----

static double norm_of(const double *g, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += g[i] * g[i];
    return sqrt(sum);
}

static double factor_of(double norm, double most)
{
    const double factor = most / (norm + 1e-6);
    return factor >= 1 ? 1 : factor;
}

// torch.nn.utils: clip_grad_value_, then clip_grad_norm_ on each or on all.
static void clip(const struct qn_optimizer_params *params, double *g)
{
    for (int i = 0; params->clip_value > 0 && i < problem.count; i++)
        if (fabs(g[i]) > params->clip_value)
            g[i] = copysign(params->clip_value, g[i]);
    const double all = factor_of(norm_of(g, problem.count),
                                 params->clip_global_norm);
    for (int k = 0; k < TENSORS; k++) {
        double *of = g + first_of(k), factor = 1;
        if (params->clip_global_norm > 0)
            factor = all;
        else if (params->clip_norm > 0)
            factor = factor_of(norm_of(of, problem.sizes[k]),
                               params->clip_norm);
        for (int i = 0; i < problem.sizes[k]; i++)
            of[i] *= factor;
    }
}

// One step from `problem`; weight decay comes after clipping.
static void expect_clipped(const char *what,
                           const struct qn_optimizer_params *params)
{
    static double g[MAX_COUNT], want[MAX_COUNT];
    struct run run;
    memcpy(g, problem.g, sizeof g);
    clip(params, g);
    for (int i = 0; i < problem.count; i++)
        want[i] = problem.x[i] -
                  0.5 * (g[i] + params->hyper[0] * problem.x[i]);
    start(&run, params);
    step(&run, 0.5);
    expect_group(&run, what, "parameters", want, 1e-5);
    finish(&run);
}

static const struct clipping {
    const char *what;
    double value, norm, global_norm, weight_decay;
} clippings[] = {
    {"by value", 0.5, 0, 0, 0},
    {"by value, with decay", 0.5, 0, 0, 0.1},
    // The norms are about 110, 2, 13 and 31: above and below.
    {"each norm", 0, 10, 0, 0},
    {"each norm, with decay", 0, 10, 0, 0.1},
    {"global norm", 0, 0, 10, 0},
    {"global norm that is not reached", 0, 0, 1000, 0},
    {"value and each norm", 1.5, 10, 0, 0},
    {"value and global norm", 1.5, 0, 10, 0.1},
};

START_TEST(clipping_is_that_of_torch)
{
    make_problem(2);
    for (size_t i = 0; i < sizeof clippings / sizeof *clippings; i++) {
        struct qn_optimizer_params params = defaults_of("sgd");
        params.clip_value = clippings[i].value;
        params.clip_norm = clippings[i].norm;
        params.clip_global_norm = clippings[i].global_norm;
        params.hyper[0] = clippings[i].weight_decay;
        expect_clipped(clippings[i].what, &params);
    }
}
END_TEST

// A norm leaves out what is frozen: it has no gradient.
START_TEST(frozen_parameters_count_for_no_norm)
{
    struct run run;
    double x[MAX_COUNT];
    make_problem(2);
    problem.options[0].is_frozen = true;
    struct qn_optimizer_params params = defaults_of("sgd");
    params.clip_global_norm = 10;
    start(&run, &params);
    step(&run, 0.5);
    copy_group(&run, "parameters", x, false);
    const int from = first_of(1);
    const double factor =
        factor_of(norm_of(problem.g + from, problem.count - from), 10);
    for (int i = 0; i < problem.count; i++) {
        const double d = i < from ? 0 : 0.5 * factor * problem.g[i];
        ck_assert_double_eq_tol(x[i], problem.x[i] - d, 1e-5);
    }
    finish(&run);
}
END_TEST

// The squares of numbers around 1e25 are beyond float. Then, as in PyTorch, the
// norm is infinite and the step is none.
START_TEST(infinite_norms_stop_the_step)
{
    make_problem(2);
    for (int i = 0; i < 3; i++)
        problem.g[first_of(1) + i] = 1e25;
    struct run run;
    struct qn_optimizer_params params = defaults_of("sgd");
    params.clip_global_norm = 1;
    start(&run, &params);
    step(&run, 0.5);
    expect_group(&run, "infinite norm", "parameters", problem.x, 0);
    finish(&run);
}
END_TEST

// clip_grad_value_ lets NaN pass, and brings infinities to the bound.
START_TEST(clipping_by_value_keeps_nan)
{
    double x[MAX_COUNT];
    struct run run;
    make_problem(2);
    problem.g[5] = (double)NAN;
    problem.g[6] = (double)INFINITY;
    problem.g[8999 % problem.sizes[0]] = -(double)INFINITY;
    struct qn_optimizer_params params = defaults_of("sgd");
    params.clip_value = 0.5;
    start(&run, &params);
    step(&run, 1);
    copy_group(&run, "parameters", x, false);
    ck_assert(isnan(x[5]));
    ck_assert_double_eq_tol(x[6], problem.x[6] - 0.5, 1e-6);
    ck_assert_double_eq_tol(x[8999 % problem.sizes[0]],
                            problem.x[8999 % problem.sizes[0]] + 0.5, 1e-6);
    ck_assert(isfinite(x[7]));
    finish(&run);
}
END_TEST

// A NaN makes the norm NaN: all of its tensor, or of all tensors, as in PyTorch.
START_TEST(norms_spread_nan)
{
    static double x[MAX_COUNT];
    struct run run;
    for (int is_global = 0; is_global < 2; is_global++) {
        make_problem(2);
        problem.g[first_of(2) + 77] = (double)NAN;
        struct qn_optimizer_params params = defaults_of("sgd");
        *(is_global ? &params.clip_global_norm : &params.clip_norm) = 5;
        start(&run, &params);
        step(&run, 1);
        copy_group(&run, "parameters", x, false);
        for (int i = 0; i < problem.count; i++) {
            const bool is_in = i >= first_of(2) && i < first_of(3);
            ck_assert_msg(!isfinite(x[i]) == (is_global || is_in),
                          "global %d: element %d is %g", is_global, i, x[i]);
        }
        finish(&run);
    }
}
END_TEST

// ---- options of single parameters ----

START_TEST(parameters_have_their_own_options)
{
    static double want[MAX_COUNT], zero[MAX_COUNT];
    double x[MAX_COUNT], slot[MAX_COUNT];
    struct run run;
    make_problem(2);
    problem.options[0].lr_scale = 0.1;
    problem.options[1].weight_decay = 0;
    problem.options[2].is_frozen = true;
    problem.options[3].weight_decay = 0.5;
    struct qn_optimizer_params params = defaults_of("momentum");
    params.hyper[0] = 0;
    params.hyper[1] = 0.25;
    static const double decays[] = {0.25, 0, 0, 0.5};
    for (int k = 0; k < TENSORS; k++)
        for (int i = first_of(k); i < first_of(k) + problem.sizes[k]; i++) {
            const double rate = k == 2 ? 0 : k == 0 ? 0.05 : 0.5;
            want[i] = problem.x[i] -
                      rate * (problem.g[i] + decays[k] * problem.x[i]);
        }
    start(&run, &params);
    step(&run, 0.5);
    expect_group(&run, "options", "parameters", want, 1e-5);
    // Not a bit of what is frozen changes, and its slots stay as they were.
    copy_tensor(&run, "parameters", 2, x, false);
    copy_tensor(&run, "optimizer.momentum_buffer", 2, slot, false);
    const size_t size = (size_t)problem.sizes[2] * sizeof *x;
    ck_assert_mem_eq(x, problem.x + first_of(2), size);
    ck_assert_mem_eq(slot, zero, size);
    finish(&run);
}
END_TEST

// ---- the moving average ----

START_TEST(average_follows_the_parameters)
{
    static double x[MAX_COUNT], average[MAX_COUNT];
    struct run run;
    make_problem(2);
    struct qn_optimizer_params params = defaults_of("sgd");
    params.average = 0.75;
    start(&run, &params);
    expect_group(&run, "first average", "average", problem.x, 0);
    memcpy(average, problem.x, sizeof average);
    for (int k = 1; k <= 5; k++) {
        step(&run, 0.1 * k);
        copy_group(&run, "parameters", x, false);
        for (int i = 0; i < problem.count; i++)
            average[i] = 0.75 * average[i] + 0.25 * x[i];
    }
    expect_group(&run, "average", "average", average, 1e-6);
    finish(&run);
}
END_TEST

// By their definitions: the weights of a corrected average sum to 1 without the
// first values.
START_TEST(averages_have_other_forms)
{
    enum { STEPS = 5 };
    static double x[STEPS][MAX_COUNT], want[MAX_COUNT];
    const double d = 0.75;
    for (int is_mean = 0; is_mean < 2; is_mean++) {
        struct run run;
        double total = 0;
        make_problem(2);
        struct qn_optimizer_params params = defaults_of("sgd");
        params.average = is_mean ? 0 : d;
        params.average_form = is_mean ? QN_AVERAGE_MEAN
                                      : QN_AVERAGE_CORRECTED;
        start(&run, &params);
        memset(want, 0, sizeof want);
        for (int k = 0; k < STEPS; k++) {
            const double weight = is_mean ? 1 : pow(d, STEPS - 1 - k);
            step(&run, 0.1 * (k + 1));
            copy_group(&run, "parameters", x[k], false);
            total += weight;
            for (int i = 0; i < problem.count; i++)
                want[i] += weight * x[k][i];
        }
        for (int i = 0; i < problem.count; i++)
            want[i] /= total;
        expect_group(&run, is_mean ? "mean" : "corrected", "average", want,
                     1e-6);
        finish(&run);
    }
}
END_TEST

// ---- maximum norms ----

// Unit of element i of tensor k: of a dense layer, of a vector, of a whole
// tensor, of a transposed convolution with two groups.
static int unit_of(int k, int i)
{
    const int64_t *d = problem.shapes[k].dims;
    if (k == 0)
        return i / (int)d[1];
    if (k != 3)
        return 0;
    const int inner = (int)(d[2] * d[3]), column = i / inner % (int)d[1];
    const int row = i / inner / (int)d[1];
    return row / ((int)d[0] / 2) * (int)d[1] + column;
}

static void make_bounded(void)
{
    make_problem(2);
    problem.shapes[0] = qn_shape_of(problem.sizes[0] / 100, 100);
    problem.shapes[2] = qn_shape_of(10, 13);
    problem.shapes[3] = qn_shape_of(6, 4, 3, problem.sizes[3] / 72);
    // The norms begin around 12, 2, 13, and 11 or, on an emulator, 3.5.
    const double most[TENSORS] = {11.5, 1, 10, 0.5};
    for (int k = 0; k < TENSORS; k++)
        problem.options[k].max_norm = most[k];
    problem.options[2].units = QN_UNITS_ALL;
    problem.options[3].units = QN_UNITS_COLUMNS;
    problem.options[3].unit_groups = 2;
}

// In double: w min(1, most / |w|). Returns how many units it changed.
static int bound(double *x)
{
    int changed = 0;
    for (int k = 0; k < TENSORS; k++) {
        double squares[MAX_COUNT] = {0}, *w = x + first_of(k);
        const double most = problem.options[k].max_norm;
        for (int i = 0; i < problem.sizes[k]; i++)
            squares[unit_of(k, i)] += w[i] * w[i];
        for (int i = 0; i < problem.sizes[k]; i++)
            w[i] *= fmin(1, most / sqrt(squares[unit_of(k, i)]));
        for (int u = 0; u < problem.sizes[k]; u++)
            changed += sqrt(squares[u]) > most;
    }
    return changed;
}

START_TEST(norms_stay_bounded)
{
    static double x[MAX_COUNT], average[MAX_COUNT];
    struct run run;
    make_bounded();
    struct qn_optimizer_params params = defaults_of("sgd");
    params.average = 0.5;
    start(&run, &params);
    memcpy(x, problem.x, sizeof x);
    memcpy(average, problem.x, sizeof average);
    for (int k = 0; k < 3; k++) {
        step(&run, 0.1);
        for (int i = 0; i < problem.count; i++)
            x[i] -= 0.1 * problem.g[i];
        // Some rows are over it, not all.
        const int changed = bound(x);
        ck_assert_int_gt(changed, 12);
        ck_assert_int_lt(changed, problem.sizes[0] / 100 + 10);
        for (int i = 0; i < problem.count; i++)
            average[i] = 0.5 * (average[i] + x[i]);
        expect_group(&run, "bounded", "parameters", x, 1e-5);
        expect_group(&run, "average of the bounded", "average", average,
                     1e-5);
    }
    finish(&run);
}
END_TEST

// What is frozen keeps its bits, however large; so does a unit that is within
// its bound, or whose norm is not finite.
START_TEST(bounds_leave_alone)
{
    static double x[MAX_COUNT];
    struct run run;
    make_bounded();
    problem.options[0].is_frozen = true;
    problem.options[3].max_norm = 1000;
    memset(problem.g, 0, sizeof problem.g);
    problem.x[first_of(2) + 5] = 1e30;
    struct qn_optimizer_params params = defaults_of("sgd");
    start(&run, &params);
    step(&run, 0.1);
    copy_group(&run, "parameters", x, false);
    for (int i = 0; i < problem.count; i++)
        if (i < first_of(1) || i >= first_of(2))
            ck_assert_msg(x[i] == (double)(float)problem.x[i],
                          "element %d is %g, not %g", i, x[i], problem.x[i]);
    ck_assert_double_eq_tol(norm_of(x + first_of(1), 3), 1, 1e-6);
    finish(&run);
}
END_TEST

// Where the gradient is taken keeps its distance, momentum v, from what the
// bound has left of x.
START_TEST(lookahead_follows_the_bound)
{
    static double x[MAX_COUNT], v[MAX_COUNT], want[MAX_COUNT];
    struct run run;
    make_bounded();
    struct qn_optimizer_params params = defaults_of("nesterov");
    params.hyper[0] = 0.5;
    params.hyper[qn_optimizer_hyper_find(params.optimizer, "lookahead")] = 1;
    ck_assert(qn_optimizer_looks_ahead(&params));
    start(&run, &params);
    expect_group(&run, "first lookahead", "lookahead", problem.x, 0);
    for (int k = 0; k < 2; k++) {
        step(&run, 0.1);
        copy_group(&run, "parameters", x, false);
        copy_group(&run, "optimizer.momentum_buffer", v, false);
        for (int i = 0; i < problem.count; i++)
            want[i] = x[i] - 0.5 * v[i];
        expect_group(&run, "lookahead", "lookahead", want, 1e-6);
        // The first step ends at the bound, the second within.
        const double norm = norm_of(x + first_of(1), 3);
        ck_assert_double_eq_tol(k ? fmin(norm, 1) : norm, k ? norm : 1, 1e-6);
    }
    finish(&run);
}
END_TEST

// A shut gate stops the second launch too: neither bound nor average moves.
START_TEST(gates_stop_bounds)
{
    struct run run;
    make_bounded();
    struct qn_optimizer_params params = defaults_of("sgd");
    params.average = 0.5;
    params.needs_finite_gradient = true;
    problem.g[first_of(1)] = (double)NAN;
    start(&run, &params);
    step(&run, 0.1);
    expect_group(&run, "behind a gate", "parameters", problem.x, 0);
    expect_group(&run, "behind a gate", "average", problem.x, 0);
    finish(&run);
}
END_TEST

// ---- wrong settings ----

static const char *alias; // the group of parameters; NULL: "parameters"

static void expect_refusal(const struct qn_optimizer_params *params,
                           const char *want)
{
    struct qn_optimizer_update update;
    qn_error error = {0};
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_graph_alias(g, alias, NULL);
    for (int k = 0; k < TENSORS; k++)
        qn_parameter(g, names[k], problem.shapes[k]);
    qn_node *gradient = qn_input(g, "g", QN_FLOAT32, qn_shape_of(MAX_FLAT));
    ck_assert_int_eq(qn_optimizer_apply(g, gradient, params, &update),
                     QN_BAD_ARGUMENT);
    qn_graph_check(g, &error);
    ck_assert_msg(strstr(error.text, want) != NULL, "\"%s\" in \"%s\"", want,
                  error.text);
    qn_graph_destroy(&g);
}

START_TEST(wrong_settings_are_named)
{
    make_problem(1);
    struct qn_optimizer_params good = defaults_of("sgd"), p = good;
    p.clip_value = -1;
    expect_refusal(&p, "clip_value is -1");
    p = good;
    p.clip_norm = (double)NAN;
    expect_refusal(&p, "clip_norm is nan");
    p = good;
    p.clip_global_norm = (double)INFINITY;
    expect_refusal(&p, "clip_global_norm is inf");
    p.clip_norm = p.clip_global_norm = 1;
    expect_refusal(&p, "not by both");
    p = good;
    p.average = 1;
    expect_refusal(&p, "average is 1");
    p.average = 0;
    p.average_form = QN_AVERAGE_CORRECTED;
    expect_refusal(&p, "needs its decay");
    problem.options[2].lr_scale = -1;
    expect_refusal(&good, "parameter 2.weight: its lr_scale is -1");
    problem.options[2] = qn_parameter_options_defaults();
    problem.options[2].max_norm = (double)NAN;
    expect_refusal(&good, "its max_norm is nan");
    make_bounded();
    problem.options[3].unit_groups = 4;
    expect_refusal(&good, "its 6 rows do not split into 4 groups");
    make_problem(1);
    p = defaults_of("nesterov");
    p.hyper[qn_optimizer_hyper_find(p.optimizer, "lookahead")] = 1;
    expect_refusal(&p, "lie in the group \"parameters\", not \"lookahead\"");
    alias = "average";
    expect_refusal(&good, "lie in the group \"average\", not \"parameters\"");
    alias = NULL;
    for (int k = 0; k < TENSORS; k++)
        problem.options[k].is_frozen = true;
    expect_refusal(&good, "all 4 parameters are frozen");
}
END_TEST

QN_CHECK_MAIN("update", clipping_is_that_of_torch,
              frozen_parameters_count_for_no_norm,
              infinite_norms_stop_the_step, clipping_by_value_keeps_nan,
              norms_spread_nan, parameters_have_their_own_options,
              average_follows_the_parameters, averages_have_other_forms,
              norms_stay_bounded, bounds_leave_alone,
              lookahead_follows_the_bound, gates_stop_bounds,
              wrong_settings_are_named)
