// Minimizers on the host: PyTorch's trajectories, convergence on classic
// functions, Wolfe conditions at each step, Hessian products, resumption, bad
// input. No device is used.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "functions.h"
#include "qn_check.h"
#include "torch_lbfgs.h"
#include "quern/minimize.h"

static void fill_start(const struct function *f, double *x)
{
    for (int64_t i = 0; i < f->n; i++)
        x[i] = f->n == 2 ? f->start[i] : 1;
}

static qn_status evaluate(void *user, const double *x, double *loss,
                          double *g, qn_error *error)
{
    struct function *f = user;
    f->evaluations++;
    *loss = f->at(x, g);
    if (f->evaluations == f->nan_at)
        *loss = (double)NAN;
    if (f->evaluations == f->fails_at) {
        error->status = QN_IO;
        strcpy(error->text, "unplugged");
        return QN_IO;
    }
    return QN_OK;
}

static qn_status multiply(void *user, const double *x, const double *v,
                          double *hv, qn_error *error)
{
    struct function *f = user;
    (void)error;
    f->product(x, v, hv);
    return QN_OK;
}

static struct qn_minimizer_params params_of(const char *text)
{
    struct qn_minimizer_params params;
    qn_error error = {0};
    ck_assert_ok(qn_minimizer_parse(text, &params, &error), error);
    return params;
}

static qn_minimizer *make(const char *text, struct function *f)
{
    struct qn_minimizer_params params = params_of(text);
    const struct qn_objective objective = {
        f, f->n, evaluate, f->product ? multiply : NULL, f->precision};
    double x[N];
    qn_error error = {0};
    fill_start(f, x);
    qn_minimizer *m = qn_minimizer_create(&params, &objective, x, &error);
    ck_assert_msg(m != NULL, "%s", error.text);
    return m;
}

static struct qn_minimizer_report step(qn_minimizer *m)
{
    struct qn_minimizer_report report;
    qn_error error = {0};
    ck_assert_ok(qn_minimizer_step(m, &error), error);
    qn_minimizer_describe(m, &report);
    return report;
}

// ---- convergence ----

// Of the move s from x: f(x + s) <= f + 1e-4 g's, |g(x + s)'s| <= 0.9 |g's|.
static bool meets_wolfe(struct function *f, const double *x,
                        const double *moved)
{
    double g[N], after_g[N], slope = 0, after_slope = 0;
    double loss = f->at(x, g), after = f->at(moved, after_g);
    for (int64_t i = 0; i < f->n; i++) {
        slope += g[i] * (moved[i] - x[i]);
        after_slope += after_g[i] * (moved[i] - x[i]);
    }
    ck_assert_double_lt(after, loss);
    return after <= loss + 1e-4 * slope &&
           fabs(after_slope) <= -0.9 * slope;
}

struct course {
    const char *text;
    int function;
    int iterations; // until the loss is below 1e-10: docs/optimizers.md
};
static const struct course courses[] = {
    {"lbfgs:line_search=strong_wolfe", ROSENBROCK, 35},
    {"lbfgs:line_search=strong_wolfe", BEALE, 14},
    {"lbfgs:line_search=strong_wolfe", QUADRATIC, 822},
    {"lbfgs:line_search=strong_wolfe", DOUBLE_WELL, 9},
    {"lbfgs:line_search=strong_wolfe", STEEP, 11},
    {"lbfgs:line_search=armijo", ROSENBROCK, 37},
    {"lbfgs:line_search=armijo", BEALE, 14},
    {"bfgs:line_search=strong_wolfe", ROSENBROCK, 38},
    {"bfgs:line_search=strong_wolfe", BEALE, 15},
    {"bfgs:line_search=strong_wolfe", QUADRATIC, 258},
    {"bfgs:line_search=strong_wolfe", DOUBLE_WELL, 8},
    {"bfgs:line_search=strong_wolfe", STEEP, 11},
    {"newton_cg:line_search=armijo", ROSENBROCK, 67},
    {"newton_cg:line_search=armijo", BEALE, 10},
    {"newton_cg:line_search=armijo", QUADRATIC, 44},
    {"newton_cg:line_search=armijo", DOUBLE_WELL, 6},
    {"newton_cg:line_search=armijo", STEEP, 8},
    {"newton_cg:line_search=strong_wolfe", ROSENBROCK, 73},
    {"newton_cg:line_search=strong_wolfe", DOUBLE_WELL, 4},
};

static void follow(const struct course *course)
{
    struct function f = functions[course->function];
    char text[128];
    snprintf(text, sizeof text, "%s,tolerance_change=0,tolerance_grad=0",
             course->text);
    qn_minimizer *m = make(text, &f);
    struct qn_minimizer_report report = {.loss = INFINITY};
    double before[N];
    bool is_wolfe = strstr(text, "strong_wolfe") != NULL;
    while (report.loss >= 1e-10 && report.iterations < 1000) {
        memcpy(before, qn_minimizer_x(m), (size_t)f.n * sizeof *before);
        report = step(m);
        ck_assert_msg(report.stop == QN_STOP_NONE, "%s on %s: %s after %lld",
                      text, f.name, qn_minimizer_stop_text(report.stop),
                      (long long)report.iterations);
        bool holds = meets_wolfe(&f, before, qn_minimizer_x(m));
        ck_assert_int_eq(report.meets_wolfe, holds);
        ck_assert_msg(holds || !is_wolfe, "%s on %s: step %lld", text, f.name,
                      (long long)report.iterations);
    }
    // A compiler that contracts to fused operations rounds otherwise.
    ck_assert_msg(llabs(report.iterations - course->iterations) <=
                      1 + course->iterations / 10,
                  "%s on %s: %lld iterations, not %d", text, f.name,
                  (long long)report.iterations, course->iterations);
    ck_assert_int_eq(report.evaluations, f.evaluations);
    qn_minimizer_destroy(&m);
}

START_TEST(functions_are_minimized_in_so_many_iterations)
{
    for (size_t i = 0; i < sizeof courses / sizeof *courses; i++)
        follow(&courses[i]);
}
END_TEST

START_TEST(gradients_and_products_are_the_derivatives)
{
    for (int k = 0; k < FUNCTIONS; k++) {
        const struct function *f = &functions[k];
        struct qn_check_rng rng = {7};
        double x[N], v[N], g[N], up[N], down[N], hv[N];
        for (int64_t i = 0; i < f->n; i++) {
            x[i] = qn_check_uniform(&rng, -1, 1);
            v[i] = qn_check_uniform(&rng, -1, 1);
        }
        f->at(x, g);
        double slope = 0, e = 1e-6;
        for (int64_t i = 0; i < f->n; i++) {
            slope += g[i] * v[i];
            up[i] = x[i] + e * v[i];
            down[i] = x[i] - e * v[i];
        }
        double rise = (f->at(up, hv) - f->at(down, g)) / (2 * e);
        ck_assert_double_eq_tol(rise, slope, 1e-6 * (1 + fabs(slope)));
        if (!f->product)
            continue;
        for (int64_t i = 0; i < f->n; i++)
            up[i] = (hv[i] - g[i]) / (2 * e);
        f->product(x, v, hv);
        qn_check_close(f->name, hv, up, f->n, 1e-6, 1e-4);
    }
}
END_TEST

// Central differences lead where the exact products do.
START_TEST(differences_stand_in_for_products)
{
    for (int k = 0; k < 3; k += 2) {
        struct function exact = functions[k], plain = functions[k];
        plain.product = NULL;
        qn_minimizer *a = make("newton_cg", &exact);
        qn_minimizer *b = make("newton_cg", &plain);
        struct qn_minimizer_report one = {0}, two = {0};
        for (int i = 0; i < 5; i++) {
            one = step(a);
            two = step(b);
            qn_check_close(exact.name, qn_minimizer_x(b), qn_minimizer_x(a),
                           exact.n, 1e-5, 1e-6);
        }
        ck_assert_int_gt(one.products, 0);
        ck_assert_int_eq(one.products, two.products);
        ck_assert_int_eq(two.evaluations, one.evaluations + 2 * one.products);
        qn_minimizer_destroy(&a);
        qn_minimizer_destroy(&b);
    }
}
END_TEST

// At the minimum the matrix of BFGS is near the inverse of the Hessian.
START_TEST(bfgs_learns_the_inverse)
{
    struct function f = functions[0];
    qn_minimizer *m = make("bfgs:tolerance_change=0", &f);
    qn_minimizer_part part;
    while (step(m).stop == QN_STOP_NONE)
        ;
    for (int i = 0; qn_minimizer_part_at(m, i, &part); i++)
        if (strcmp(part.name, "inverse_hessian") == 0)
            break;
    ck_assert_str_eq(part.name, "inverse_hessian");
    ck_assert_int_eq(part.columns, 3);
    // At (1, 1) the Hessian is [802, -400; -400, 200].
    const double want[] = {0.5, 1, 2.005};
    qn_check_close("inverse", part.values, want, 3, 0.05, 0);
    qn_minimizer_destroy(&m);
}
END_TEST

// ---- PyTorch ----

static void follow_torch(const struct torch_run *run)
{
    struct qn_minimizer_params params = params_of(run->text);
    const struct qn_objective objective = {NULL, TORCH_COUNT, evaluate_torch};
    qn_error error = {0};
    params.lr = run->lr;
    qn_minimizer *m =
        qn_minimizer_create(&params, &objective, torch_start(), &error);
    ck_assert_msg(m != NULL, "%s", error.text);
    for (int i = 0; i < TORCH_ITERATIONS; i++) {
        char what[100];
        struct qn_minimizer_report report = step(m);
        snprintf(what, sizeof what, "%s, iteration %d", run->text, i + 1);
        qn_check_close(what, &report.loss, run->points[i], 1, 1e-9, 1e-9);
        qn_check_close(what, qn_minimizer_x(m), run->points[i] + 1,
                       TORCH_COUNT, 1e-9, 1e-9);
    }
    qn_minimizer_destroy(&m);
}

START_TEST(lbfgs_follows_pytorch)
{
    struct torch_run run;
    int count = 0;
    for (; torch_run_at(count, &run); count++)
        follow_torch(&run);
    ck_assert_int_ge(count, 5);
}
END_TEST

// ---- stopping, going on ----

START_TEST(runs_say_why_they_stop)
{
    struct function f = functions[0];
    qn_minimizer *m = make("lbfgs:tolerance_change=0", &f);
    struct qn_minimizer_report report = {0};
    while (report.stop == QN_STOP_NONE)
        report = step(m);
    ck_assert_int_eq(report.stop, QN_STOP_GRADIENT);
    ck_assert_double_le(report.gradient, 1e-7);
    ck_assert_ptr_nonnull(strstr(qn_minimizer_stop_text(report.stop),
                                 "tolerance_grad"));
    int evaluations = f.evaluations;
    ck_assert_int_eq(step(m).iterations, report.iterations);
    ck_assert_int_eq(f.evaluations, evaluations);
    qn_minimizer_destroy(&m);
    f = functions[0];
    m = make("lbfgs:tolerance_change=0.5", &f);
    report = (struct qn_minimizer_report){0};
    while (report.stop == QN_STOP_NONE)
        report = step(m);
    ck_assert_int_eq(report.stop, QN_STOP_CHANGE);
    qn_minimizer_destroy(&m);
}
END_TEST

// The gradient points the wrong way: no search finds anything.
static double lying(const double *x, double *g)
{
    double loss = rosenbrock(x, g);
    g[0] = -g[0];
    g[1] = -g[1];
    return loss;
}

START_TEST(false_gradients_end_the_search)
{
    const char *const texts[] = {"lbfgs", "bfgs",
                                 "newton_cg:trials=5",
                                 "lbfgs:line_search=armijo,trials=5"};
    for (int i = 0; i < 4; i++) {
        struct function f = {"lying", 2, {-1.2, 1}, lying, NULL};
        qn_minimizer *m = make(texts[i], &f);
        struct qn_minimizer_report report = step(m);
        ck_assert_msg(report.stop == QN_STOP_SEARCH, "%s: %s", texts[i],
                      qn_minimizer_stop_text(report.stop));
        ck_assert_int_eq(report.iterations, 0);
        ck_assert_double_eq(qn_minimizer_x(m)[0], -1.2);
        qn_minimizer_destroy(&m);
    }
}
END_TEST

// A product that is no Hessian's leads astray, but never uphill.
static void no_hessian(const double *x, const double *v, double *hv)
{
    (void)x;
    hv[0] = v[0] - 900 * v[1];
    hv[1] = 1000 * v[0] + v[1];
}

START_TEST(false_products_still_lead_down)
{
    struct function f = functions[0];
    f.product = no_hessian;
    qn_minimizer *m = make("newton_cg", &f);
    double before = INFINITY;
    for (int i = 0; i < 10; i++) {
        struct qn_minimizer_report report = step(m);
        ck_assert_double_lt(report.loss, before);
        before = report.loss;
    }
    qn_minimizer_destroy(&m);
}
END_TEST

// Copies all parts out of one minimizer into another.
static void transfer(qn_minimizer *from, qn_minimizer *to)
{
    qn_minimizer_part a, b;
    for (int i = 0; qn_minimizer_part_at(from, i, &a); i++) {
        ck_assert(qn_minimizer_part_at(to, i, &b));
        ck_assert_str_eq(a.name, b.name);
        ck_assert_int_eq(a.rows, b.rows);
        ck_assert_int_eq(a.columns, b.columns);
        memcpy(b.values, a.values,
               (size_t)(a.rows * a.columns) * sizeof *a.values);
    }
}

START_TEST(restored_runs_go_on_with_the_same_bits)
{
    const char *const texts[] = {"lbfgs:history=3", "bfgs", "newton_cg",
                                 "lbfgs:line_search=armijo"};
    for (int i = 0; i < 4; i++) {
        struct function f = functions[2], other = functions[2];
        qn_minimizer *a = make(texts[i], &f), *b = make(texts[i], &other);
        for (int k = 0; k < 7; k++)
            step(a);
        transfer(a, b);
        for (int k = 0; k < 5; k++) {
            struct qn_minimizer_report one = step(a), two = step(b);
            ck_assert_mem_eq(&one.loss, &two.loss, sizeof one.loss);
            ck_assert_int_eq(one.evaluations, two.evaluations);
            ck_assert_mem_eq(qn_minimizer_x(a), qn_minimizer_x(b),
                             N * sizeof(double));
        }
        qn_minimizer_destroy(&a);
        qn_minimizer_destroy(&b);
    }
}
END_TEST

// What was copied in may come from a damaged file.
START_TEST(odd_counters_are_refused)
{
    const double odd[] = {-1, 1e9, (double)NAN};
    for (int i = 0; i < 3; i++) {
        struct function f = functions[0];
        qn_minimizer *m = make("lbfgs:history=3", &f);
        qn_minimizer_part part;
        qn_error error = {0};
        step(m);
        for (int k = 0; qn_minimizer_part_at(m, k, &part); k++)
            if (strcmp(part.name, "counters") == 0)
                for (int64_t j = 0; j < part.columns; j++)
                    part.values[j] = odd[i];
        ck_assert_int_eq(qn_minimizer_step(m, &error), QN_FORMAT);
        ck_assert_ptr_nonnull(strstr(error.text, "counters of lbfgs"));
        qn_minimizer_destroy(&m);
    }
}
END_TEST

// A failing evaluation, wherever in a step, leaves the run as it was.
START_TEST(failed_steps_can_be_tried_again)
{
    const char *const texts[] = {"lbfgs", "bfgs", "newton_cg"};
    for (int i = 0; i < 3; i++) {
        struct function f = functions[0], steady = functions[0];
        f.product = steady.product = NULL;
        qn_minimizer *a = make(texts[i], &f), *b = make(texts[i], &steady);
        int faults = 0;
        for (int k = 0; k < 12; k++) {
            qn_error error = {0};
            f.fails_at = f.evaluations + 1 + k % 4;
            qn_status status = qn_minimizer_step(a, &error);
            if (status != QN_OK) {
                ck_assert_str_eq(error.text, "unplugged");
                faults++;
                step(a);
            }
            step(b);
            ck_assert_mem_eq(qn_minimizer_x(a), qn_minimizer_x(b),
                             2 * sizeof(double));
        }
        ck_assert_int_ge(faults, 3);
        qn_minimizer_destroy(&a);
        qn_minimizer_destroy(&b);
    }
}
END_TEST

// ---- bad input ----

static void expect_text(const char *text, const char *want)
{
    struct qn_minimizer_params params;
    qn_error error = {0};
    ck_assert_msg(qn_minimizer_parse(text, &params, &error) ==
                  QN_BAD_ARGUMENT, "%s was accepted", text);
    ck_assert_msg(strstr(error.text, want) != NULL, "\"%s\" in \"%s\"", want,
                  error.text);
}

START_TEST(texts_are_checked)
{
    expect_text("lbfg", "did you mean lbfgs?");
    expect_text("lbfgs:history=0", "history is 0 and must be from 1 to");
    expect_text("lbfgs:history=2.5", "no whole number");
    expect_text("lbfgs:history=many", "no whole number");
    expect_text("lbfgs:memory=3", "has no memory; it has line_search");
    expect_text("lbfgs:line_search=wolfe", "strong_wolfe|armijo|none");
    expect_text("bfgs:history=3", "bfgs has no history");
    expect_text("newton_cg:cg_iterations=-1", "must be from 1");
    expect_text("lbfgs:history", "NAME=VALUE");
    struct qn_minimizer_params params =
        params_of("lbfgs:history=7,line_search=none,tolerance_grad=1e-3");
    char text[64];
    ck_assert_str_eq(params.row->name, "lbfgs");
    for (int i = 0; i < params.row->key_count; i++) {
        struct qn_minimizer_params again = qn_minimizer_defaults(params.row);
        qn_error error = {0};
        qn_minimizer_value(&params, i, text, sizeof text);
        ck_assert_ok(qn_minimizer_set(&again, params.row->keys[i].name, text,
                                      &error), error);
        ck_assert_double_eq(again.values[i], params.values[i]);
    }
}
END_TEST

static void expect_refusal(const struct qn_minimizer_params *params,
                           const struct qn_objective *objective,
                           const double *x, const char *want)
{
    qn_error error = {0};
    ck_assert_ptr_null(qn_minimizer_create(params, objective, x, &error));
    ck_assert_msg(strstr(error.text, want) != NULL, "\"%s\" in \"%s\"", want,
                  error.text);
}

START_TEST(bad_arguments_are_named)
{
    struct qn_minimizer_params params = params_of("lbfgs"), other = params;
    struct function f = functions[0];
    struct qn_objective objective = {&f, 2, evaluate}, none = objective;
    static double x[QN_BFGS_MAX + 1];
    const double bad[] = {0, (double)NAN};
    other.values[4] = 0;
    expect_refusal(&other, &objective, x, "history is 0");
    other = params;
    other.lr = 0;
    expect_refusal(&other, &objective, x, "lr is 0");
    none.n = 0;
    expect_refusal(&params, &none, x, "objective->n >= 1");
    none = objective;
    none.evaluate = NULL;
    expect_refusal(&params, &none, x, "evaluate");
    expect_refusal(&params, &objective, bad, "x[1] is");
    objective.n = QN_BFGS_MAX + 1;
    other = params_of("bfgs");
    expect_refusal(&other, &objective, x, "5001 x 5001");
    expect_refusal(&other, &objective, x, "lbfgs");
    qn_error error = {0};
    ck_assert_int_eq(qn_minimizer_step(NULL, &error), QN_BAD_ARGUMENT);
}
END_TEST

START_TEST(values_that_are_no_numbers_are_told)
{
    struct function f = functions[0];
    qn_error error = {0};
    f.nan_at = 1;
    qn_minimizer *m = make("lbfgs", &f);
    ck_assert_int_eq(qn_minimizer_step(m, &error), QN_NOT_FINITE);
    ck_assert_ptr_nonnull(strstr(error.text, "where lbfgs begins"));
    qn_minimizer_destroy(&m);
    // Without a search there is no way around it.
    f = functions[0];
    f.nan_at = 3;
    m = make("lbfgs:line_search=none", &f);
    step(m);
    error = (qn_error){0};
    ck_assert_int_eq(qn_minimizer_step(m, &error), QN_NOT_FINITE);
    ck_assert_ptr_nonnull(strstr(error.text, "after iteration 2"));
    qn_minimizer_destroy(&m);
    // With one, a shorter step is taken.
    f = functions[0];
    f.nan_at = 3;
    m = make("lbfgs", &f);
    step(m);
    ck_assert_int_eq(step(m).stop, QN_STOP_NONE);
    ck_assert_double_lt(step(m).loss, 4.2);
    qn_minimizer_destroy(&m);
    // Differences across the edge of the finite.
    f = functions[0];
    f.product = NULL;
    f.nan_at = 2;
    m = make("newton_cg", &f);
    error = (qn_error){0};
    ck_assert_int_eq(qn_minimizer_step(m, &error), QN_NOT_FINITE);
    ck_assert_ptr_nonnull(strstr(error.text, "difference of gradients"));
    qn_minimizer_destroy(&m);
}
END_TEST

START_TEST(rows_are_complete)
{
    const struct qn_minimizer_row *row;
    int count = 0;
    for (; (row = qn_minimizer_row_at(count)); count++) {
        ck_assert_ptr_eq(qn_minimizer_row_find(row->name), row);
        ck_assert(*row->formula && *row->source && row->lr > 0);
        for (int i = 0; i < row->key_count; i++)
            ck_assert(row->keys[i].value >= row->keys[i].minimum &&
                      row->keys[i].value <= row->keys[i].maximum &&
                      *row->keys[i].meaning);
    }
    ck_assert_int_eq(count, 3);
    ck_assert_ptr_null(qn_minimizer_row_at(-1));
    ck_assert_ptr_null(qn_minimizer_row_find("LBFGS"));
}
END_TEST

QN_CHECK_MAIN("minimize", rows_are_complete, texts_are_checked,
              bad_arguments_are_named, values_that_are_no_numbers_are_told,
              gradients_and_products_are_the_derivatives,
              lbfgs_follows_pytorch,
              functions_are_minimized_in_so_many_iterations,
              differences_stand_in_for_products, bfgs_learns_the_inverse,
              runs_say_why_they_stop, false_gradients_end_the_search,
              false_products_still_lead_down,
              restored_runs_go_on_with_the_same_bits,
              odd_counters_are_refused,
              failed_steps_can_be_tried_again)
