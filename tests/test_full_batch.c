// Training by minimizers on all samples at once: learning, parts of the data,
// stopping and going on, what is refused.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/os.h"
#include "qn_check.h"
#include "quern/minimize.h"
#include "quern/train.h"

// ---- a small problem ----

static qn_dataset few_digits(void)
{
    return qn_check_digits(200, 50);
}

struct job {
    const char *model, *optimizer, *out, *resume, *loss, *schedule;
    int epochs;
    int64_t batch, max_steps;
    double lr, l1, l2, momentum, weight_decay;
    int (*progress)(void *user, const qn_progress *progress);
    void *user;
};

static qn_status run_job(const struct job *job, bool only_check,
                         qn_fit_result *result, qn_error *error)
{
    qn_dataset data = few_digits();
    qn_model *model = qn_model_create(job->model ? job->model : "8-tanh-10",
                                      error);
    ck_assert_msg(model != NULL, "%s", error->text);
    struct qn_fit_params params = qn_fit_defaults();
    params.model = model;
    params.dataset = &data;
    params.optimizer = job->optimizer;
    params.epochs = job->epochs ? job->epochs : 6;
    params.batch_size = job->batch ? job->batch : 64;
    params.max_steps = job->max_steps ? job->max_steps : -1;
    params.lr = job->lr;
    params.l1 = job->l1;
    params.l2 = job->l2;
    if (job->momentum > 0)
        params.momentum = job->momentum;
    if (job->weight_decay > 0)
        params.weight_decay = job->weight_decay;
    if (job->loss)
        params.loss = job->loss;
    params.schedule = job->schedule;
    params.out = job->out;
    params.resume = job->resume;
    params.progress = job->progress;
    params.user = job->user;
    qn_status status =
        only_check ? qn_fit_check(&params, error)
                   : qn_fit(qn_check_device(), &params, result, error);
    qn_model_destroy(&model);
    return status;
}

static qn_fit_result run_well(const struct job *job)
{
    qn_error error = {0};
    qn_fit_result result;
    ck_assert_ok(run_job(job, false, &result, &error), error);
    return result;
}

// ---- learning ----

START_TEST(losses_fall_in_few_iterations)
{
    const struct {
        const char *optimizer;
        int epochs;
        double loss;
    } cases[] = {{"lbfgs", 60, 1e-2}, {"bfgs", 60, 1e-2},
                 {"newton_cg", 20, 1e-2}};
    for (int i = 0; i < 3; i++) {
        qn_fit_result result = run_well(&(struct job){
            .model = "16-tanh-10", .optimizer = cases[i].optimizer,
            .epochs = cases[i].epochs});
        ck_assert_msg(result.train_loss < cases[i].loss, "%s: %g, %s",
                      cases[i].optimizer, result.train_loss,
                      result.stopped ? result.stopped : "goes on");
        ck_assert_int_eq(result.parameters, 64 * 16 + 16 + 16 * 10 + 10);
        ck_assert_int_eq(result.steps, result.epochs);
        ck_assert(result.train_accuracy == 1);
        ck_assert(result.samples_per_second > 0);
        ck_assert(result.first_step_seconds > 0);
    }
}
END_TEST

// A convex loss with a penalty has one minimum, which all three must find.
START_TEST(all_find_the_minimum_of_a_convex_loss)
{
    const char *const texts[] = {"lbfgs", "bfgs", "newton_cg"};
    double loss[3];
    for (int i = 0; i < 3; i++) {
        qn_fit_result result = run_well(
            &(struct job){.model = "10", .optimizer = texts[i], .l2 = 0.01,
                          .epochs = 200});
        loss[i] = result.train_loss;
        ck_assert_msg(result.stopped != NULL, "%s goes on after %d", texts[i],
                      result.epochs);
        ck_assert_int_lt(result.epochs, 200);
    }
    ck_assert_double_eq_tol(loss[1], loss[0], 1e-5 * loss[0]);
    ck_assert_double_eq_tol(loss[2], loss[0], 1e-5 * loss[0]);
}
END_TEST

// Parts of the data change the order of additions alone. A search would blow
// that up.
START_TEST(parts_of_the_data_make_no_difference)
{
    const char *const losses[] = {
        "softmax_cross_entropy", "mean_squared",
        "softmax_cross_entropy:weights=1/2/3/4/5/6/7/8/9/10"};
    const char *optimizer = "lbfgs:line_search=none";
    for (int k = 0; k < 3; k++) {
        double loss[2];
        const int64_t batches[] = {200, 64};
        for (int i = 0; i < 2; i++)
            loss[i] = run_well(&(struct job){.optimizer = optimizer,
                                             .loss = losses[k], .epochs = 1,
                                             .batch = batches[i]}).train_loss;
        ck_assert_double_eq_tol(loss[1], loss[0], 1e-6 * loss[0]);
    }
}
END_TEST

START_TEST(batch_statistics_take_the_whole_set)
{
    const char *model = "8-batch_norm-relu-10";
    qn_error error = {0};
    struct job job = {.model = model, .optimizer = "lbfgs", .batch = 64};
    ck_assert_int_eq(run_job(&job, true, NULL, &error), QN_BAD_ARGUMENT);
    ck_assert_msg(strstr(error.text, "layer 1 (batch_norm)") &&
                      strstr(error.text, "all 200 samples"),
                  "%s", error.text);
    job.batch = 200;
    qn_fit_result one = run_well(&job), two = run_well(&job);
    ck_assert(one.train_loss < 1);
    ck_assert_str_eq(one.parameters_sha256, two.parameters_sha256);
}
END_TEST

// ---- stopping and going on ----

START_TEST(runs_go_on_bit_by_bit)
{
    const char *const texts[] = {"lbfgs:history=3", "bfgs",
                                 "newton_cg:cg_iterations=5"};
    for (int i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "resume-%d", i);
        struct job job = {.optimizer = texts[i], .epochs = 9};
        qn_fit_result whole = run_well(&job);
        job.out = qn_check_path(name);
        job.max_steps = 5;
        ck_assert_int_eq(run_well(&job).epochs, 5);
        job.resume = job.out;
        job.max_steps = 0;
        qn_fit_result rest = run_well(&job);
        ck_assert_int_eq(rest.epochs, 9);
        ck_assert_str_eq(rest.parameters_sha256, whole.parameters_sha256);
        ck_assert(rest.train_loss == whole.train_loss);
    }
}
END_TEST

// Stops at the `calls`th call. Each takes so long that the next one comes
// before the next batch.
static int stop_late(void *user, const qn_progress *progress)
{
    int *calls = user;
    const double end = qn_os_seconds() + 0.11;
    (void)progress;
    while (qn_os_seconds() < end)
        ;
    return --*calls <= 0;
}

START_TEST(stopped_iterations_are_repeated)
{
    struct job job = {.optimizer = "lbfgs", .epochs = 5, .batch = 32};
    qn_fit_result whole = run_well(&job);
    for (int at = 3; at <= 9; at += 3) {
        char name[32];
        int calls = at;
        qn_error error = {0};
        qn_fit_result part;
        snprintf(name, sizeof name, "stop-%d", at);
        struct job stopped = job;
        stopped.out = qn_check_path(name);
        stopped.progress = stop_late;
        stopped.user = &calls;
        ck_assert_int_eq(run_job(&stopped, false, &part, &error),
                         QN_INTERRUPTED);
        ck_assert(part.interrupted && part.epochs < 5);
        struct job rest = job;
        rest.resume = stopped.out;
        ck_assert_str_eq(run_well(&rest).parameters_sha256,
                         whole.parameters_sha256);
    }
}
END_TEST

// A run that has come to its end stays there.
START_TEST(finished_runs_stay_finished)
{
    struct job job = {.model = "10",
                      .optimizer = "lbfgs:tolerance_grad=0.05",
                      .epochs = 50, .out = qn_check_path("finished")};
    qn_fit_result one = run_well(&job);
    ck_assert_ptr_nonnull(strstr(one.stopped, "tolerance_grad"));
    ck_assert_int_lt(one.epochs, 50);
    job.resume = job.out;
    qn_fit_result two = run_well(&job);
    ck_assert_int_eq(two.epochs, one.epochs);
    ck_assert_str_eq(two.parameters_sha256, one.parameters_sha256);
    ck_assert_str_eq(two.stopped, one.stopped);
    qn_error error = {0};
    qn_run *run = qn_run_open(job.out, &error);
    ck_assert_msg(run != NULL, "%s", error.text);
    ck_assert_ptr_nonnull(strstr(qn_run_params(run)->optimizer,
                                 "line_search=strong_wolfe"));
    qn_run_close(&run);
    job.optimizer = "lbfgs:history=7,tolerance_grad=0.05";
    ck_assert_int_eq(run_job(&job, false, &two, &error), QN_BAD_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(error.text, "history 20, not 7"));
}
END_TEST

// ---- what is refused ----

static void expect_refusal(const struct job *job, const char *want)
{
    qn_error error = {0};
    ck_assert_msg(run_job(job, true, NULL, &error) == QN_BAD_ARGUMENT,
                  "accepted, wanted: %s", want);
    ck_assert_msg(strstr(error.text, want) != NULL, "\"%s\" in \"%s\"", want,
                  error.text);
}

START_TEST(what_does_not_fit_is_refused_before_it_starts)
{
    expect_refusal(&(struct job){.model = "8-relu-dropout0.2-10",
                                 .optimizer = "lbfgs"},
                   "layer 2 (dropout) draws at random, but lbfgs");
    expect_refusal(&(struct job){.model = "512-relu-10",
                                 .optimizer = "bfgs"},
                   "38410 x 38410 numbers");
    expect_refusal(&(struct job){.model = "512-relu-10",
                                 .optimizer = "bfgs"}, "take lbfgs");
    expect_refusal(&(struct job){.optimizer = "lbfgs", .l1 = 0.1}, "l1");
    expect_refusal(&(struct job){.optimizer = "lbfgs", .momentum = 0.9},
                   "lbfgs has no momentum");
    expect_refusal(&(struct job){.optimizer = "bfgs", .weight_decay = 0.1},
                   "take l2");
    expect_refusal(&(struct job){.optimizer = "lbfgs", .schedule = "cosine"},
                   "takes no schedule");
    expect_refusal(&(struct job){.optimizer = "lbfgs:history=0"},
                   "history is 0");
    expect_refusal(&(struct job){.optimizer = "newton-cg"},
                   "did you mean newton_cg?");
}
END_TEST

START_TEST(range_tests_need_mini_batches)
{
    qn_dataset data = few_digits();
    qn_error error = {0};
    struct qn_lr_range range = {0};
    struct qn_fit_params params = qn_fit_defaults();
    qn_model *model = qn_model_create("10", &error);
    params.model = model;
    params.dataset = &data;
    params.optimizer = "lbfgs";
    ck_assert_int_eq(qn_lr_range_run(qn_check_device(), &params, 1e-3, 1, 10,
                                     &range, &error), QN_BAD_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(error.text, "searches for the length"));
    qn_lr_range_finish(&range);
    qn_model_destroy(&model);
}
END_TEST

START_TEST(losses_that_are_no_numbers_are_told)
{
    qn_error error = {0};
    qn_fit_result result;
    struct job job = {.optimizer = "lbfgs:line_search=none", .lr = 1e6,
                      .loss = "mean_squared", .model = "64-elu-elu-10",
                      .out = qn_check_path("infinite"), .epochs = 20};
    ck_assert_int_eq(run_job(&job, false, &result, &error), QN_NOT_FINITE);
    ck_assert_msg(strstr(error.text, "a smaller learning rate than 1e+06") !=
                      NULL, "%s", error.text);
}
END_TEST

QN_CHECK_MAIN("full_batch", what_does_not_fit_is_refused_before_it_starts,
              losses_fall_in_few_iterations,
              all_find_the_minimum_of_a_convex_loss,
              parts_of_the_data_make_no_difference,
              batch_statistics_take_the_whole_set, runs_go_on_bit_by_bit,
              stopped_iterations_are_repeated, finished_runs_stay_finished,
              range_tests_need_mini_batches,
              losses_that_are_no_numbers_are_told)
