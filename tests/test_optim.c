#define _POSIX_C_SOURCE 200809L // open_memstream
// Every update rule with every setting against the references of ref/optim.c,
// in double: parameters, slots, padding, launches, errors.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qn_check.h"
#include "quern/op.h"
#include "quern/optim.h"
#include "ref/optim.h"
#include "rule_run.h"

// ---- trajectories ----

// Every setting of every rule. With a small eps, rules that divide by the size
// of the gradient step nearly along its sign, and around the minimum no two
// roundings go the same way; hence larger ones.
static const struct rule_settings trajectories[] = {
    {"sgd", 0.05, {{0}}},
    {"sgd", 0.05, {{"weight_decay", 0.1}}},
    {"momentum", 0.02, {{0}}},
    {"momentum", 0.02, {{"momentum", 0.5}, {"weight_decay", 0.2},
                        {"dampening", 0.3}}},
    {"momentum", 0.05, {{"momentum", 0}}},
    {"momentum", 0.02, {{"heavy_ball", 1}, {"weight_decay", 0.1}}},
    {"nesterov", 0.02, {{0}}},
    {"nesterov", 0.02, {{"momentum", 0.6}, {"weight_decay", 0.2}}},
    {"nesterov", 0.02, {{"lookahead", 1}, {"weight_decay", 0.1}}},
    {"adagrad", 0.1, {{0}}},
    {"adagrad", 0.1, {{"eps", 0.01}, {"lr_decay", 0.05},
                      {"initial_accumulator_value", 0.3},
                      {"weight_decay", 0.1}}},
    {"adagrad", 0.1, {{"eps", 0.01}, {"eps_inside", 1}}},
    {"adadelta", 1, {{0}}},
    {"adadelta", 0.5, {{"rho", 0.8}, {"eps", 1e-3}, {"weight_decay", 0.1}}},
    {"rmsprop", 0.005, {{"eps", 0.05}}},
    {"rmsprop", 0.005, {{"eps", 0.05}, {"eps_inside", 1}, {"alpha", 0.9},
                        {"weight_decay", 0.1}}},
    {"rmsprop", 0.002, {{"eps", 0.5}, {"momentum", 0.8}}},
    {"rmsprop", 0.005, {{"eps", 0.1}, {"centered", 1}}},
    {"rmsprop", 0.002, {{"eps", 0.5}, {"centered", 1}, {"momentum", 0.8},
                        {"eps_inside", 1}}},
    {"adam", 0.01, {{0}}},
    {"adam", 0.02, {{"beta1", 0.5}, {"beta2", 0.9}, {"eps", 0.05},
                    {"weight_decay", 0.1}}},
    {"adam", 0.01, {{"beta1", 0}, {"beta2", 0}, {"eps", 0.1}}},
    {"adam", 0.01, {{"bias_correction", 0}, {"eps", 0.05},
                    {"eps_inside", 1}}},
    {"amsgrad", 0.01, {{0}}},
    {"amsgrad", 0.02, {{"beta1", 0.5}, {"beta2", 0.9}, {"eps", 0.05},
                       {"eps_inside", 1}, {"weight_decay", 0.1}}},
    {"amsgrad", 0.01, {{"bias_correction", 0}, {"eps", 0.05}}},
    {"adamax", 0.01, {{0}}},
    {"adamax", 0.01, {{"beta1", 0.5}, {"beta2", 0.9}, {"eps", 0.05},
                      {"weight_decay", 0.1}}},
    {"nadam", 0.01, {{0}}},
    {"nadam", 0.01, {{"beta1", 0.5}, {"beta2", 0.9}, {"eps", 0.05},
                     {"momentum_decay", 0.1}, {"weight_decay", 0.1}}},
    {"radam", 0.01, {{0}}},
    {"radam", 0.01, {{"beta1", 0.5}, {"beta2", 0.9}, {"eps", 0.05},
                     {"weight_decay", 0.1}}},
    {"adamw", 0.01, {{0}}},
    {"adamw", 0.02, {{"beta1", 0.5}, {"beta2", 0.9}, {"eps", 0.05},
                     {"weight_decay", 0.3}, {"eps_inside", 1}}},
    {"adamw", 0.01, {{"bias_correction", 0}, {"eps", 0.05}}},
    {"lion", 0.002, {{0}}},
    {"lion", 0.002, {{"beta1", 0.5}, {"beta2", 0.8}, {"weight_decay", 0.3}}},
    {"lars", 1, {{0}}},
    {"lars", 0.5, {{"momentum", 0.5}, {"trust_coefficient", 0.02},
                   {"eps", 0.5}, {"weight_decay", 0.1}}},
    {"lamb", 0.01, {{0}}},
    {"lamb", 0.005, {{"beta1", 0.5}, {"beta2", 0.9}, {"eps", 0.05},
                     {"bias_correction", 0}, {"weight_decay", 0.2}}},
};
enum { TRAJECTORIES = sizeof trajectories / sizeof *trajectories };

static void follow(int index, struct rule_problem *p, int steps, double rtol,
                   double atol)
{
    static struct rule_reference r;
    const struct rule_settings *t = &trajectories[index];
    struct rule_run run;
    const int stops[] = {1, 2, steps / 2, steps};
    rule_reference_begin(&r, p, t);
    rule_run_begin(&run, p, rule_params(t));
    for (int k = 0, step = 0; k < 4; k++) {
        rule_run_advance(&run, t->lr, step + 1, stops[k]);
        while (step < stops[k]) {
            step++;
            rule_reference_step(&r, p, rule_lr(t->lr, step));
        }
        snprintf(run.what, sizeof run.what, "%s, trajectory %d, step %d",
                 t->optimizer, index, step);
        rule_expect_state(&run, &r, rtol, atol);
    }
    rule_run_finish(&run);
}

static struct rule_problem problem;

// An emulator takes seconds for what a device does at once.
static bool is_emulated(void)
{
    return qn_device_describe(qn_check_device())->type == QN_DEVICE_EMULATOR;
}

// 130 parameters lie in two blocks of alignment, 1 and 3 in one each, so that
// padding stands between. PyTorch asks rtol 1e-3, atol 5e-4 of its own stored
// trajectories; float's rounding over 100 steps stays far below.
START_TEST(float_follows_the_reference)
{
    rule_problem_make(&problem, QN_FLOAT32, 130, 1, is_emulated() ? 0 : 3);
    for (int i = 0; i < TRAJECTORIES; i++)
        follow(i, &problem, is_emulated() ? 2 : 100, 1e-5, 5e-6);
}
END_TEST

// The same kernels in double: the formulas, without float's rounding.
START_TEST(double_follows_the_reference)
{
    if (!qn_device_describe(qn_check_device())->has_float64)
        return;
    rule_problem_make(&problem, QN_FLOAT64, 130, 1, is_emulated() ? 0 : 3);
    for (int i = 0; i < TRAJECTORIES; i += is_emulated() ? 10 : 1)
        follow(i, &problem, is_emulated() ? 2 : 100, 1e-11, 1e-12);
}
END_TEST

// Several spans on a CPU, several groups on a GPU, the last ones not full.
START_TEST(large_groups_are_covered)
{
    if (is_emulated())
        return;
    rule_problem_make(&problem, QN_FLOAT32, 4500, 17, 1100);
    for (int i = 0; i < TRAJECTORIES; i += 3)
        follow(i, &problem, 4, 1e-5, 5e-6);
}
END_TEST

// At step 1, 1 - beta2 is 0.001: in float without care its last three digits
// would be lost. Adam's first step is lr sign(g), whatever g.
START_TEST(first_step_of_adam_is_exact)
{
    struct rule_run run;
    double x[MAX_COUNT];
    rule_problem_make(&problem, QN_FLOAT32, 50, 0, 0);
    rule_run_begin(&run, &problem,
                   qn_optimizer_defaults(qn_optimizer_find("adam")));
    rule_run_advance(&run, 1, 1, 1);
    rule_run_copy(&run, "parameters", x, false);
    for (int i = 0; i < problem.count; i++) {
        double g = rule_gradient(&problem, i, problem.x[i]);
        double want = problem.x[i] - copysign(rule_lr(1, 1), g);
        ck_assert_double_eq_tol(x[i], want, 4e-7);
    }
    rule_run_finish(&run);
}
END_TEST

// A step beyond what float counts exactly still has correction 1.
START_TEST(late_steps_are_not_corrected)
{
    struct rule_run run;
    double x[MAX_COUNT], first[MAX_COUNT], second[MAX_COUNT];
    rule_problem_make(&problem, QN_FLOAT32, 20, 0, 0);
    rule_run_begin(&run, &problem,
                   qn_optimizer_defaults(qn_optimizer_find("adam")));
    run.at.step = 1000000000;
    run.at.lr = 0.5;
    ck_assert_int_eq(qn_optimizer_set(&run.update, run.plan, &run.at), QN_OK);
    ck_assert_int_eq(qn_plan_run(run.plan), QN_OK);
    rule_run_copy(&run, "parameters", x, false);
    rule_run_copy(&run, "optimizer.exp_avg", first, false);
    rule_run_copy(&run, "optimizer.exp_avg_sq", second, false);
    for (int i = 0; i < problem.count; i++)
        ck_assert_double_eq_tol(
            x[i], problem.x[i] - 0.5 * first[i] / (sqrt(second[i]) + 1e-8),
            1e-5);
    rule_run_finish(&run);
}
END_TEST

START_TEST(runs_repeat_bit_by_bit)
{
    rule_problem_make(&problem, QN_FLOAT32, is_emulated() ? 300 : 3000, 7, 0);
    for (int i = 0; i < TRAJECTORIES; i += is_emulated() ? 13 : 3) {
        char hashes[2][65];
        for (int k = 0; k < 2; k++) {
            struct rule_run run;
            qn_error error = {0};
            rule_run_begin(&run, &problem, rule_params(&trajectories[i]));
            rule_run_advance(&run, 0.01, 1, 5);
            ck_assert_ok(qn_store_hash(run.store, hashes[k], &error), error);
            rule_run_finish(&run);
        }
        ck_assert_str_eq(hashes[0], hashes[1]);
    }
}
END_TEST

static int launches_of(const char *text, const char *op)
{
    char name[64];
    snprintf(name, sizeof name, "  %s  ", op);
    const char *line = strstr(text, name);
    if (!line)
        return 0;
    const char *end = strchr(line, '\n'), *words = strstr(line, " launch");
    ck_assert_msg(words && words < end, "no launches of %s in\n%s", op, text);
    while (words[-1] != ' ')
        words--;
    return atoi(words);
}

// One launch whatever the number of parameters; LARS needs norms before, and
// LAMB has two.
START_TEST(update_is_one_launch)
{
    for (int i = 0; qn_optimizer_at(i); i++) {
        const struct qn_optimizer *row = qn_optimizer_at(i);
        struct rule_run run;
        rule_problem_make(&problem, QN_FLOAT32, 130, 1, 3);
        rule_run_begin(&run, &problem, qn_optimizer_defaults(row));
        char *text = NULL;
        size_t size = 0;
        FILE *file = open_memstream(&text, &size);
        ck_assert_int_eq(qn_plan_dump_text(run.plan, file), QN_OK);
        fclose(file);
        ck_assert_int_eq(launches_of(text, "update"),
                         strcmp(row->name, "lamb") == 0 ? 2 : 1);
        ck_assert_int_eq(launches_of(text, "gradient_norms"),
                         strcmp(row->name, "lars") == 0);
        free(text);
        rule_run_finish(&run);
    }
}
END_TEST

// Norms go over whole blocks of 512 bytes: what stands between tensors must be
// 0 in parameters and gradients after any rule's steps, however small eps.
START_TEST(padding_stays_zero)
{
    double x[MAX_COUNT];
    float norms[MAX_TENSORS][3];
    if (is_emulated())
        return;
    for (int i = 0; qn_optimizer_at(i); i++) {
        struct rule_run run;
        struct qn_optimizer_params params =
            qn_optimizer_defaults(qn_optimizer_at(i));
        const int eps = qn_optimizer_hyper_find(params.optimizer, "eps");
        if (eps >= 0)
            params.hyper[eps] = params.optimizer->hyper[eps].minimum;
        params.wants_norms = true;
        rule_problem_make(&problem, QN_FLOAT32, 130, 1, 3);
        rule_run_begin(&run, &problem, params);
        rule_run_advance(&run, 0.01, 1, 2);
        rule_run_copy(&run, "parameters", x, false);
        rule_run_advance(&run, 0.01, 3, 3);
        ck_assert_int_eq(run.update.chunk_count, MAX_TENSORS);
        ck_assert_int_eq(qn_plan_read(run.plan, run.update.norms, norms,
                                      sizeof norms), QN_OK);
        for (int k = 0, at = 0; k < MAX_TENSORS; at += problem.sizes[k++]) {
            double sum_g = 0, sum_x = 0;
            for (int j = at; j < at + problem.sizes[k]; j++) {
                sum_g += pow(rule_gradient(&problem, j, x[j]), 2);
                sum_x += x[j] * x[j];
            }
            ck_assert_double_eq_tol(norms[k][0], sum_g, 1e-5 * sum_g);
            ck_assert_double_eq_tol(norms[k][1], sum_x, 1e-5 * sum_x);
        }
        rule_run_finish(&run);
    }
}
END_TEST

// Rules with norms of their own see clipped gradients, and feed the average.
START_TEST(norms_go_with_clipping)
{
    static struct rule_reference r;
    static const struct rule_settings rules[] = {{"lars", 1, {{0}}},
                                                 {"lamb", 0.01, {{0}}}};
    for (int i = 0; i < 2; i++) {
        double average[MAX_COUNT];
        struct rule_run run;
        struct qn_optimizer_params params = rule_params(&rules[i]);
        params.clip_norm = 1.5;
        params.average = 0.75;
        rule_problem_make(&problem, QN_FLOAT32, 130, 1, 3);
        rule_reference_begin(&r, &problem, &rules[i]);
        r.most_norm = params.clip_norm;
        rule_run_begin(&run, &problem, params);
        memcpy(average, problem.x, sizeof average);
        rule_run_copy(&run, "average", average, true);
        rule_run_advance(&run, rules[i].lr, 1, 4);
        for (int step = 1; step <= 4; step++) {
            rule_reference_step(&r, &problem, rule_lr(rules[i].lr, step));
            for (int k = 0, at = 0; k < MAX_TENSORS; at += problem.sizes[k++])
                ref_average(average + at, &r.vectors[k], params.average);
        }
        rule_expect_state(&run, &r, 1e-5, 5e-6);
        rule_expect_group(&run, "average", average, 1e-5, 5e-6);
        rule_run_finish(&run);
    }
}
END_TEST

// The second tensor keeps the whole rate.
START_TEST(tensors_go_without_ratio)
{
    static struct rule_reference r;
    static const struct rule_settings rules[] = {
        {"lars", 0.1, {{"weight_decay", 0.1}}}, {"lamb", 0.01, {{0}}}};
    for (int i = 0; i < 2; i++) {
        struct qn_parameter_options options[MAX_TENSORS];
        struct rule_run run;
        struct qn_optimizer_params params = rule_params(&rules[i]);
        for (int k = 0; k < MAX_TENSORS; k++)
            options[k] = qn_parameter_options_defaults();
        options[1].has_trust = false;
        params.options = options;
        rule_problem_make(&problem, QN_FLOAT32, 130, 5, 3);
        rule_reference_begin(&r, &problem, &rules[i]);
        r.vectors[1].is_exempt = true;
        rule_run_begin(&run, &problem, params);
        rule_run_advance(&run, rules[i].lr, 1, 4);
        for (int step = 1; step <= 4; step++)
            rule_reference_step(&r, &problem, rule_lr(rules[i].lr, step));
        rule_expect_state(&run, &r, 1e-5, 5e-6);
        rule_run_finish(&run);
    }
}
END_TEST

// Signs, maxima and ratios do not hide an infinite gradient; a ratio spreads it
// over its tensor, and nothing over others.
START_TEST(bad_gradients_show)
{
    if (is_emulated())
        return;
    for (int i = 0; qn_optimizer_at(i); i++) {
        double x[MAX_COUNT];
        struct rule_run run;
        rule_problem_make(&problem, QN_FLOAT32, 130, 1, 3);
        problem.c[7] = 2;
        problem.x[7] = 3e38;
        rule_run_begin(&run, &problem,
                       qn_optimizer_defaults(qn_optimizer_at(i)));
        rule_run_advance(&run, 0.01, 1, 2);
        rule_run_copy(&run, "parameters", x, false);
        const int spread = qn_optimizer_at(i)->has_trust ? 130 : 0;
        ck_assert_msg(!isfinite(x[7]), "%s", qn_optimizer_at(i)->name);
        for (int j = spread; j < problem.count; j++)
            ck_assert_msg(isfinite(x[j]) || j == 7, "%s: x[%d] is %g",
                          qn_optimizer_at(i)->name, j, x[j]);
        rule_run_finish(&run);
    }
}
END_TEST

// A bad element anywhere stops both of LAMB's launches, LARS's one.
START_TEST(bad_gradients_change_nothing)
{
    for (int i = 0; i < 2; i++) {
        double x[MAX_COUNT];
        const double zeros[MAX_COUNT] = {0};
        struct rule_run run;
        struct qn_optimizer_params params =
            qn_optimizer_defaults(qn_optimizer_find(i ? "lamb" : "lars"));
        params.needs_finite_gradient = true;
        rule_problem_make(&problem, QN_FLOAT32, 130, 1, 3);
        problem.x[130] = (double)INFINITY;
        rule_run_begin(&run, &problem, params);
        rule_run_advance(&run, 1, 1, 2);
        rule_run_copy(&run, "parameters", x, false);
        ck_assert(memcmp(x, problem.x,
                         (size_t)problem.count * sizeof *x) == 0);
        rule_expect_group(&run, i ? "optimizer.exp_avg"
                                  : "optimizer.momentum_buffer", zeros, 0, 0);
        rule_run_finish(&run);
    }
}
END_TEST

static void expect_fault(const struct qn_optimizer *row,
                         const double *hyper, const char *text)
{
    qn_error error = {0};
    ck_assert_int_eq(qn_optimizer_check(row, hyper, &error),
                     QN_BAD_ARGUMENT);
    ck_assert_msg(strstr(error.text, text), "%s", error.text);
}

START_TEST(settings_must_go_together)
{
    qn_error error = {0};
    const struct qn_optimizer *row = qn_optimizer_find("rmsprop");
    struct qn_optimizer_params params = qn_optimizer_defaults(row);
    ck_assert_ok(qn_optimizer_check(row, params.hyper, &error), error);
    params.hyper[qn_optimizer_hyper_find(row, "centered")] = 0.5;
    expect_fault(row, params.hyper, "rmsprop: centered is 0.5 and must be 0 "
                 "or 1");
    params = qn_optimizer_defaults(row);
    params.hyper[qn_optimizer_hyper_find(row, "eps")] = 0;
    expect_fault(row, params.hyper, "eps is 0 and must be from 1e-30");
    row = qn_optimizer_find("momentum");
    params = qn_optimizer_defaults(row);
    params.hyper[qn_optimizer_hyper_find(row, "heavy_ball")] = 1;
    ck_assert_ok(qn_optimizer_check(row, params.hyper, &error), error);
    params.hyper[qn_optimizer_hyper_find(row, "dampening")] = 0.5;
    expect_fault(row, params.hyper, "heavy_ball and dampening");
}
END_TEST

// A schedule sets the momentum; a slot that was left out cannot come back.
START_TEST(bad_momentum_is_named)
{
    struct rule_run run;
    rule_problem_make(&problem, QN_FLOAT32, 3, 0, 0);
    rule_run_begin(&run, &problem,
                   qn_optimizer_defaults(qn_optimizer_find("rmsprop")));
    run.at.step = 1;
    run.at.momentum = 0.5;
    ck_assert_int_eq(qn_optimizer_set(&run.update, run.plan, &run.at),
                     QN_BAD_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(qn_plan_error(run.plan)->text,
                                 "built with momentum 0"));
    rule_run_finish(&run);
    rule_run_begin(&run, &problem,
                   qn_optimizer_defaults(qn_optimizer_find("adam")));
    run.at.step = 1;
    run.at.momentum = 1.5;
    ck_assert_int_eq(qn_optimizer_set(&run.update, run.plan, &run.at),
                     QN_BAD_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(qn_plan_error(run.plan)->text,
                                 "beta1 is 1.5"));
    rule_run_finish(&run);
}
END_TEST

START_TEST(wrong_settings_are_named)
{
    qn_error error = {0};
    const struct qn_optimizer *row = qn_optimizer_find("adam");
    ck_assert_int_eq(qn_optimizer_hyper_find(row, "beta2"), 1);
    ck_assert_int_eq(qn_optimizer_hyper_find(row, "momentum"), -1);
    struct qn_optimizer_params params = qn_optimizer_defaults(row);
    struct qn_optimizer_update update;
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    params.hyper[1] = 1;
    rule_problem_make(&problem, QN_FLOAT32, 3, 0, 0);
    ck_assert_int_eq(qn_optimizer_build(g, rule_problem_loss(g, &problem),
                                        &params, &update),
                     QN_BAD_ARGUMENT);
    qn_graph_check(g, &error);
    ck_assert_ptr_nonnull(strstr(error.text, "adam: beta2 is 1"));
    qn_graph_destroy(&g);
    g = qn_graph_create(QN_FLOAT32);
    params = qn_optimizer_defaults(row);
    ck_assert_int_eq(qn_optimizer_build(g, qn_constant(g, 1), &params, &update),
                     QN_BAD_ARGUMENT);
    error = (qn_error){0};
    qn_graph_check(g, &error);
    ck_assert_ptr_nonnull(strstr(error.text, "no parameters"));
    qn_graph_destroy(&g);
    g = qn_graph_create(QN_FLOAT32);
    struct qn_parameter_options options = qn_parameter_options_defaults();
    options.has_trust = false;
    params.options = &options;
    ck_assert_int_eq(qn_optimizer_build(g, rule_problem_loss(g, &problem),
                                        &params, &update),
                     QN_BAD_ARGUMENT);
    error = (qn_error){0};
    qn_graph_check(g, &error);
    ck_assert_ptr_nonnull(strstr(error.text, "leave trust=0 to lars"));
    qn_graph_destroy(&g);
}
END_TEST

// Each setting of the row has another value than its default somewhere above.
static void expect_trajectories(const struct qn_optimizer *row)
{
    bool has_changed[QN_MAX_HYPER] = {false};
    for (int i = 0; i < TRAJECTORIES; i++) {
        if (strcmp(trajectories[i].optimizer, row->name) != 0)
            continue;
        const struct qn_optimizer_params params =
            rule_params(&trajectories[i]);
        for (int h = 0; h < row->hyper_count; h++)
            has_changed[h] |= params.hyper[h] != row->hyper[h].value;
    }
    for (int h = 0; h < row->hyper_count; h++)
        ck_assert_msg(has_changed[h], "no trajectory changes %s of %s",
                      row->hyper[h].name, row->name);
}

START_TEST(text_sets_hyper_parameters)
{
    const char *const bad[][2] = {
        {"adma", "did you mean adam?"},
        {"adam:beta=1", "adam has no beta; it has beta1, beta2"},
        {"adam:beta1", "\"beta1\" is not NAME=NUMBER"},
        {"adam:beta1=0,8", "\"8\" is not NAME=NUMBER"},
        {"adam:", "\"\" is not NAME=NUMBER"},
        {"adam:beta1= 1", "\"beta1= 1\" is not NAME=NUMBER"},
    };
    struct qn_optimizer_params params;
    qn_error error = {0};
    ck_assert_ok(qn_optimizer_parse("adam:beta1=.5,eps=+1e-7", &params,
                                    &error), error);
    ck_assert_str_eq(params.optimizer->name, "adam");
    ck_assert_double_eq(params.hyper[0], 0.5);
    ck_assert_double_eq(params.hyper[1], 0.999);
    ck_assert_double_eq(params.hyper[2], 1e-7);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        error = (qn_error){0};
        ck_assert_int_eq(qn_optimizer_parse(bad[i][0], &params, &error),
                         QN_BAD_ARGUMENT);
        ck_assert_msg(strstr(error.text, bad[i][1]) != NULL, "%s",
                      error.text);
    }
}
END_TEST

START_TEST(rows_are_complete)
{
    const struct qn_optimizer *row;
    int count = 0;
    for (; (row = qn_optimizer_at(count)); count++) {
        ck_assert_ptr_eq(qn_optimizer_find(row->name), row);
        ck_assert(*row->formula && *row->source && row->lr > 0);
        for (int i = 0; i < row->hyper_count; i++)
            ck_assert(row->hyper[i].value >= row->hyper[i].minimum &&
                      row->hyper[i].value <= row->hyper[i].maximum);
        for (int i = 0; i < row->slot_count; i++)
            ck_assert(!row->slot_needs[i] ||
                      qn_optimizer_hyper_find(row, row->slot_needs[i]) >= 0);
        expect_trajectories(row);
    }
    ck_assert_int_ge(count, 15);
    ck_assert_ptr_null(qn_optimizer_at(-1));
    ck_assert_ptr_null(qn_optimizer_find("Adam"));
}
END_TEST

QN_CHECK_MAIN("optim", rows_are_complete, text_sets_hyper_parameters, wrong_settings_are_named,
              settings_must_go_together, bad_momentum_is_named,
              float_follows_the_reference, double_follows_the_reference,
              large_groups_are_covered, first_step_of_adam_is_exact,
              late_steps_are_not_corrected, runs_repeat_bit_by_bit,
              update_is_one_launch, padding_stays_zero,
              norms_go_with_clipping, bad_gradients_change_nothing,
              tensors_go_without_ratio, bad_gradients_show)
