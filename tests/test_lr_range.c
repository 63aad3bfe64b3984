// The range test of learning rates: its steps, when it ends, what it suggests.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "device/device.h"
#include "qn_check.h"
#include "train/train.h"

static qn_dataset *digits;
static qn_model *model;

static struct qn_fit_params make_params(void)
{
    qn_error error = {0};
    if (!digits)
        digits = qn_dataset_open("digits", &error);
    if (!model)
        model = qn_model_create("32-relu-10", &error);
    ck_assert_msg(digits && model, "%s", error.text);
    struct qn_fit_params params = qn_fit_defaults();
    params.model = model;
    params.dataset = digits;
    params.batch_size = 64;
    params.seed = 3;
    return params;
}

// ---- the steps ----

// An own mean with fading weights, by its definition: sum w_k loss_k over the
// sum of w_k, w_k = 0.8^age.
static double fading_mean(const struct qn_lr_range *range, int last)
{
    double sum = 0, weights = 0;
    for (int i = 0; i <= last; i++) {
        double weight = pow(0.8, last - i);
        sum += weight * range->points[i].loss;
        weights += weight;
    }
    return sum / weights;
}

START_TEST(rates_rise_and_losses_are_smoothed)
{
    qn_error error = {0};
    struct qn_fit_params params = make_params();
    struct qn_lr_range range, again;
    ck_assert_ok(qn_lr_range_run(qn_check_device(), &params, 1e-4, 1e-1, 100,
                                 &range, &error), error);
    ck_assert_int_eq(range.count, 100);
    ck_assert(!range.diverged);
    for (int i = 0; i < 100; i++) {
        const struct qn_lr_point *point = &range.points[i];
        double lr = 1e-4 * exp(log(1000) * i / 99);
        ck_assert(fabs(point->lr - lr) < 1e-12 * lr);
        ck_assert(fabs(point->smooth_loss - fading_mean(&range, i)) < 1e-12);
    }
    // The first step is that of a training with this seed.
    qn_fit_result result;
    params.max_steps = 1;
    params.log_every = 1;
    char out[300], path[340];
    snprintf(out, sizeof out, "%s/fit", qn_check_folder());
    snprintf(path, sizeof path, "%s/steps.jsonl", out);
    params.out = out;
    qn_dataset whole = *digits;
    whole.train_count -= whole.train_count % 64;
    params.dataset = &whole;
    ck_assert_ok(qn_fit(qn_check_device(), &params, &result, &error), error);
    FILE *file = fopen(path, "r");
    double loss;
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "{\"step\": 1, \"epoch\": 1, \"loss\": %lf",
                            &loss), 1);
    fclose(file);
    ck_assert(fabs(range.points[0].loss - loss) < 1e-8);
    // And all of it can be had again.
    params = make_params();
    ck_assert_ok(qn_lr_range_run(qn_check_device(), &params, 1e-4, 1e-1, 100,
                                 &again, &error), error);
    ck_assert_mem_eq(again.points, range.points,
                     100 * sizeof *range.points);
    qn_lr_range_finish(&again);
    qn_lr_range_finish(&range);
    ck_assert_ptr_null(range.points);
}
END_TEST

START_TEST(divergence_ends_it)
{
    qn_error error = {0};
    struct qn_fit_params params = make_params();
    struct qn_lr_range range;
    ck_assert_ok(qn_lr_range_run(qn_check_device(), &params, 1e-3, 1e6, 60,
                                 &range, &error), error);
    ck_assert(range.diverged);
    ck_assert_int_lt(range.count, 60);
    ck_assert(range.least_lr > 0.01 && range.least_lr < 10);
    ck_assert(range.suggestion == range.least_lr / 10);
    ck_assert(range.steepest_lr <= range.least_lr);
    qn_lr_range_finish(&range);
    // Rates too small to learn anything by.
    ck_assert_ok(qn_lr_range_run(qn_check_device(), &params, 1e-12, 1e-10, 20,
                                 &range, &error), error);
    ck_assert(!range.diverged && isnan(range.suggestion));
    qn_lr_range_finish(&range);
}
END_TEST

static int stop_at_once(void *user, const qn_progress *progress)
{
    ++*(int *)user;
    return progress->step > 0;
}

START_TEST(it_can_be_stopped_and_leaves_one_file)
{
    qn_error error = {0};
    int calls = 0;
    char out[300], path[340];
    struct qn_fit_params params = make_params();
    struct qn_lr_range range;
    snprintf(out, sizeof out, "%s/range", qn_check_folder());
    params.out = out;
    params.user = &calls;
    params.progress = stop_at_once;
    ck_assert_int_eq(qn_lr_range_run(qn_check_device(), &params, 1e-9, 1e-8,
                                     1000000, &range, &error),
                     QN_INTERRUPTED);
    ck_assert_int_eq(calls, 2);
    ck_assert(range.count > 0 && range.count < 1000000);
    snprintf(path, sizeof path, "%s/lr_range.jsonl", out);
    ck_assert(qn_os_is_file(path));
    snprintf(path, sizeof path, "%s/last.safetensors", out);
    ck_assert(!qn_os_is_file(path));
    qn_lr_range_finish(&range);
}
END_TEST

// ---- the suggestion ----

// Points at 1e-4 to 1 whose smoothed loss is `loss(log10 lr)`.
static struct qn_lr_range make_range(double (*loss)(double x))
{
    struct qn_lr_range range = {.count = 401};
    range.points = calloc(401, sizeof *range.points);
    ck_assert_ptr_nonnull(range.points);
    for (int i = 0; i < 401; i++) {
        double x = -4 + i / 100.0;
        range.points[i] =
            (struct qn_lr_point){pow(10, x), loss(x), loss(x)};
    }
    qn_lr_range_judge(&range, 401);
    return range;
}

// Falls from 2.3 as a logistic curve around 1e-2, rises behind 0.1.
static double bowl(double x)
{
    return 2.3 - 2 / (1 + exp(-8 * (x + 2))) + (x > -1 ? 5 * (x + 1) : 0);
}

static double flat(double x)
{
    return 2.3 - 0.01 * x;
}

static double rising(double x)
{
    return 2.3 + exp(x);
}

START_TEST(suggestion_follows_its_rule)
{
    struct qn_lr_range range = make_range(bowl);
    ck_assert(fabs(log10(range.least_lr) + 1) < 0.011);
    ck_assert(fabs(log10(range.suggestion) + 2) < 0.011);
    ck_assert(fabs(log10(range.steepest_lr) + 2) < 0.011);
    qn_lr_range_finish(&range);
    range = make_range(rising);
    ck_assert(isnan(range.least_lr) && isnan(range.suggestion) &&
              isnan(range.steepest_lr));
    qn_lr_range_finish(&range);
    range = make_range(flat); // less than two percent
    ck_assert(isnan(range.suggestion));
    qn_lr_range_finish(&range);
}
END_TEST

START_TEST(faults_are_named)
{
    struct qn_fit_params good = make_params();
    struct {
        struct qn_fit_params params;
        double from, to;
        int steps;
        const char *want;
    } cases[] = {
        {good, 1, 0.1, 100, "from < to"},
        {good, 0, 1, 100, "from > 0"},
        {good, 0.1, (double)INFINITY, 100, "isfinite"},
        {good, 0.1, 1, 9, "steps >= 10"},
        {good, 0.1, 1, 10, "begins anew"},
        {good, 0.1, 1, 10, "schedule of its own"},
        {good, 0.1, 1, 10, "did you mean adam?"},
        {good, 0.1, 1, 10, "lbfgs searches"},
    };
    cases[4].params.resume = "somewhere";
    cases[5].params.schedule = "cosine";
    cases[6].params.optimizer = "adan";
    cases[7].params.optimizer = "lbfgs";
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qn_error error = {0};
        struct qn_lr_range range;
        ck_assert_int_eq(qn_lr_range_run(qn_check_device(), &cases[i].params,
                                         cases[i].from, cases[i].to,
                                         cases[i].steps, &range, &error),
                         QN_BAD_ARGUMENT);
        ck_assert_msg(strstr(error.text, cases[i].want) != NULL,
                      "\"%s\" not in \"%s\"", cases[i].want, error.text);
        ck_assert_ptr_null(range.points);
    }
    qn_dataset_destroy(&digits);
    qn_model_destroy(&model);
}
END_TEST

QN_CHECK_MAIN("lr_range", rates_rise_and_losses_are_smoothed,
              divergence_ends_it, it_can_be_stopped_and_leaves_one_file,
              suggestion_follows_its_rule, faults_are_named)
