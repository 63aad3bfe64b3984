// Evaluation: by the loss of the run, and by the mean of random passes.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "qn_check.h"
#include "quern/train.h"

// A model trained for an epoch on the digits, and its run.
struct trained {
    qn_dataset *data;
    qn_model *model;
    qn_run *run;
    qn_store *store;
    qn_fit_result result;
};

static struct trained train(const char *model, const char *loss,
                            const char *folder)
{
    qn_error error = {0};
    struct trained t = {.data = qn_dataset_open("digits", &error)};
    char out[300];
    snprintf(out, sizeof out, "%s/%s", qn_check_folder(), folder);
    t.model = qn_model_create(model, &error);
    ck_assert_msg(t.data && t.model, "%s", error.text);
    struct qn_fit_params params = qn_fit_defaults();
    params.model = t.model;
    params.dataset = t.data;
    params.epochs = 2;
    params.optimizer = "adam";
    params.lr = 0.01;
    params.loss = loss;
    params.out = out;
    ck_assert_ok(qn_fit(qn_check_device(), &params, &t.result, &error),
                 error);
    t.run = qn_run_open(out, &error);
    ck_assert_msg(t.run != NULL, "%s", error.text);
    t.store = qn_run_load(t.run, qn_check_device(), t.model, &error);
    ck_assert_msg(t.store != NULL, "%s", error.text);
    return t;
}

static void finish(struct trained *t)
{
    qn_store_destroy(&t->store);
    qn_run_close(&t->run);
    qn_model_destroy(&t->model);
    qn_dataset_destroy(&t->data);
}

struct score {
    double loss, accuracy;
};

static struct score evaluate(const struct trained *t, const char *loss,
                             int mc_samples, uint64_t seed)
{
    qn_error error = {0};
    struct score score;
    ck_assert_ok(qn_evaluate(qn_check_device(), t->model, t->store, t->data,
                             qn_evaluate_params(.loss = loss,
                                                .mc_samples = mc_samples,
                                                .seed = seed),
                             &score.loss, &score.accuracy, &error),
                 error);
    return score;
}

START_TEST(loss_of_the_run_is_found_again)
{
    struct trained t = train("16-relu-10", "huber:delta=0.5", "huber");
    ck_assert_str_eq(qn_run_params(t.run)->loss, "huber:delta=0.5");
    const struct score same = evaluate(&t, "huber:delta=0.5", 0, 0);
    ck_assert(same.loss == t.result.test_loss);
    ck_assert(same.accuracy == t.result.test_accuracy);
    const struct score other = evaluate(&t, "huber", 0, 0);
    ck_assert_double_gt(other.loss, same.loss * 1.01);
    finish(&t);
}
END_TEST

// Nothing draws: one pass or three give what prediction gives.
START_TEST(passes_without_chance_are_the_prediction)
{
    struct trained t = train("16-relu-10", NULL, "plain");
    const struct score plain = evaluate(&t, NULL, 0, 0);
    for (int passes = 1; passes <= 3; passes += 2) {
        const struct score mean = evaluate(&t, NULL, passes, 5);
        ck_assert_double_eq_tol(mean.loss, plain.loss, 1e-5 * plain.loss);
        ck_assert_double_eq_tol(mean.accuracy, plain.accuracy, 1e-6);
    }
    finish(&t);
}
END_TEST

START_TEST(passes_draw_by_their_seed)
{
    char before[65], after[65];
    qn_error error = {0};
    struct trained t =
        train("32-batch_norm-relu-dropout0.5-10", NULL, "drawn");
    ck_assert_ok(qn_store_hash(t.store, before, &error), error);
    const struct score one = evaluate(&t, NULL, 1, 1);
    const struct score again = evaluate(&t, NULL, 1, 1);
    const struct score other = evaluate(&t, NULL, 1, 2);
    const struct score many = evaluate(&t, NULL, 64, 1);
    ck_assert(one.loss == again.loss && one.accuracy == again.accuracy);
    ck_assert(one.loss != other.loss);
    // By Jensen's inequality: -log of a mean is below the mean of -log.
    ck_assert_double_lt(many.loss, one.loss * 0.95);
    ck_assert_double_gt(many.accuracy, one.accuracy);
    ck_assert_ok(qn_store_hash(t.store, after, &error), error);
    ck_assert_str_eq(before, after);
    finish(&t);
}
END_TEST

// Outputs that are linear in the mask: their mean over N passes tends to the
// prediction, and the excess of the squared error falls as 1 / N. For N = 10,
// the tenth has a standard deviation of 0.015 from seed to seed.
START_TEST(mean_converges_as_one_over_passes)
{
    struct trained t = train("dropout0.5-10", "mean_squared", "linear");
    const double plain = evaluate(&t, "mean_squared", 0, 0).loss;
    const double one = evaluate(&t, "mean_squared", 1, 3).loss - plain;
    const double ten = evaluate(&t, "mean_squared", 10, 3).loss - plain;
    ck_assert_double_gt(one, 0);
    ck_assert_double_eq_tol(ten / one, 0.1, 4 * 0.015);
    finish(&t);
}
END_TEST

START_TEST(bad_settings_are_refused)
{
    qn_error error = {0};
    double loss, accuracy;
    struct trained t = train("10", NULL, "bad");
    ck_assert_int_eq(qn_evaluate(qn_check_device(), t.model, t.store, t.data,
                                 qn_evaluate_params(.mc_samples = -1), &loss,
                                 &accuracy, &error),
                     QN_BAD_ARGUMENT);
    ck_assert_msg(strstr(error.text, "mc_samples >= 0"), "%s", error.text);
    finish(&t);
}
END_TEST

QN_CHECK_MAIN("evaluate", loss_of_the_run_is_found_again,
              passes_without_chance_are_the_prediction,
              passes_draw_by_their_seed, mean_converges_as_one_over_passes,
              bad_settings_are_refused)
