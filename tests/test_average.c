// Values beside the parameters over whole runs: the moving average, its
// evaluation and statistics, and the point ahead of Nesterov's rule.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "qn_check.h"
#include "small_fit.h"
#include "train/train.h"

// The average of a run over two epochs is what its parameters after each step
// give on the host, also where the run was stopped on the way.
START_TEST(average_is_that_of_the_steps)
{
    enum { STEPS = 4 };
    double want[MAX_VALUES];
    qn_error error = {0};
    struct qn_fit_params p = qn_fit_defaults();
    p.optimizer = "momentum";
    p.lr = 0.1;
    p.ema = 0.75;
    for (int step = 0; step <= STEPS; step++) {
        qn_checkpoint *now = small_run_to(p, SMALL_MODEL, step);
        const struct tensor x = small_tensor_of(now, "2.weight");
        const struct tensor average = small_tensor_of(now, "average.2.weight");
        for (int i = 0; i < x.count; i++) {
            want[i] = step ? 0.75 * want[i] + 0.25 * (double)x.x[i]
                           : (double)x.x[i];
            ck_assert_double_eq_tol((double)average.x[i], want[i], 1e-6);
        }
        qn_checkpoint_close(&now);
    }
    const char *folder = qn_check_path("stopped");
    ck_assert_ok(small_try_run(p, SMALL_MODEL, 2, folder, &error), error);
    p.resume = folder;
    ck_assert_ok(small_try_run(p, SMALL_MODEL, STEPS, folder, &error), error);
    char path[400];
    snprintf(path, sizeof path, "%s/last.safetensors", folder);
    qn_checkpoint *resumed = qn_checkpoint_open(path, &error);
    p.resume = NULL;
    qn_checkpoint *whole = small_run_to(p, SMALL_MODEL, STEPS);
    const struct tensor a = small_tensor_of(resumed, "average.0.weight");
    const struct tensor b = small_tensor_of(whole, "average.0.weight");
    ck_assert_mem_eq(a.x, b.x, sizeof a.x);
    qn_checkpoint_close(&resumed);
    qn_checkpoint_close(&whole);
}
END_TEST

// ---- the average's evaluation ----

static const char norm_text[] =
    "{\"layers\":[{\"type\":\"batch_norm\"},{\"type\":\"dense\","
    "\"units\":10}]}";

static qn_store *load_average(const char *folder, qn_run **run,
                              qn_model **model)
{
    qn_error error = {0};
    *run = qn_run_open(folder, &error);
    ck_assert_msg(*run != NULL, "%s", error.text);
    *model = qn_check_model(qn_run_model(*run));
    qn_store *store =
        qn_run_load_average(*run, qn_check_device(), *model, &error);
    ck_assert_msg(store != NULL, "%s", error.text);
    return store;
}

// What training reports of the average is what its checkpoint gives.
START_TEST(average_is_evaluated)
{
    const char *folder = qn_check_path("evaluated");
    struct qn_fit_params p = qn_fit_defaults();
    qn_dataset data = small_few_digits();
    qn_fit_result result;
    qn_error error = {0};
    double loss, accuracy;
    p.model = qn_check_model(norm_text);
    p.dataset = &data;
    p.epochs = 2;
    p.batch_size = 64;
    p.lr = 0.5;
    p.ema = 0.75;
    p.out = folder;
    ck_assert_ok(qn_fit(qn_check_device(), &p, &result, &error), error);
    qn_run *run;
    qn_model *model;
    qn_store *store = load_average(folder, &run, &model);
    ck_assert_ok(qn_evaluate(qn_check_device(), model, store, &data, NULL,
                             &loss, &accuracy, &error), error);
    ck_assert(loss == result.average_test_loss);
    ck_assert(accuracy == result.average_test_accuracy);
    ck_assert(loss != result.test_loss);
    qn_store_destroy(&store);
    qn_model_destroy(&model);
    qn_run_close(&run);
    p.ema = 0;
    ck_assert_ok(qn_fit(qn_check_device(), &p, &result, &error), error);
    ck_assert(isnan(result.average_test_loss));
    run = qn_run_open(folder, &error);
    ck_assert_ptr_null(
        qn_run_load_average(run, qn_check_device(), p.model, &error));
    ck_assert_ptr_nonnull(strstr(error.text, "holds no moving average"));
    qn_run_close(&run);
    qn_model_destroy((qn_model **)&p.model);
}
END_TEST

// Statistics of the inputs: the means over the two whole batches of the epoch
// of each batch's mean and unbiased variance.
static void expect_statistics(double want[2], int epoch)
{
    enum { BATCH = 64, PIXELS = 64 };
    qn_dataset data = small_few_digits();
    int32_t order[150];
    qn_shuffle(order, data.train_count, 0, epoch);
    want[0] = want[1] = 0;
    for (int k = 0; k < 2; k++) {
        double sum = 0, squares = 0;
        const double count = BATCH * PIXELS;
        for (int i = 0; i < BATCH * PIXELS; i++) {
            const int32_t sample = order[k * BATCH + i / PIXELS];
            const double v =
                (data.train_x[sample * PIXELS + i % PIXELS] - data.offset) *
                data.scale;
            sum += v;
            squares += v * v;
        }
        want[0] += sum / count / 2;
        want[1] += (squares - sum * sum / count) / (count - 1) / 2;
    }
}

START_TEST(average_gets_statistics_of_its_own)
{
    const char *folder = qn_check_path("statistics");
    struct qn_fit_params p = qn_fit_defaults();
    qn_error error = {0};
    double want[2];
    p.ema = 0.75;
    p.ema_recompute_bn = true;
    ck_assert_ok(small_try_run(p, norm_text, 6, folder, &error), error);
    expect_statistics(want, 2);
    qn_run *run;
    qn_model *model;
    qn_store *store = load_average(folder, &run, &model);
    static const char *const names[] = {"0.running_mean", "0.running_var"};
    for (int k = 0; k < 2; k++) {
        float got;
        ck_assert_ok(qn_store_read(store,
                                   qn_store_find(store, "buffers", names[k]),
                                   &got, sizeof got, &error), error);
        ck_assert_double_eq_tol((double)got, want[k], 1e-6);
    }
    qn_store_destroy(&store);
    qn_model_destroy(&model);
    qn_run_close(&run);
}
END_TEST

// Nesterov's own form: checkpoints and evaluation have x, not the point ahead.
START_TEST(lookahead_is_beside_the_parameters)
{
    struct qn_fit_params p = qn_fit_defaults();
    p.optimizer = "nesterov:lookahead=1,momentum=0.75";
    p.lr = 0.1;
    qn_checkpoint *now = small_run_to(p, SMALL_MODEL, 3);
    const struct tensor x = small_tensor_of(now, "0.weight");
    const struct tensor v = small_tensor_of(now,
                                      "optimizer.momentum_buffer.0.weight");
    const struct tensor ahead = small_tensor_of(now, "lookahead.0.weight");
    double distance = 0;
    for (int i = 0; i < x.count; i++) {
        ck_assert_double_eq_tol((double)ahead.x[i],
                                (double)x.x[i] - 0.75 * (double)v.x[i], 1e-6);
        distance += fabs((double)ahead.x[i] - (double)x.x[i]);
    }
    ck_assert_double_gt(distance, 1e-2);
    qn_checkpoint_close(&now);
    // The evaluation after an epoch is that of x.
    qn_dataset data = small_few_digits();
    qn_fit_result result;
    qn_error error = {0};
    double loss, accuracy;
    p.model = qn_check_model(SMALL_MODEL);
    p.dataset = &data;
    p.epochs = 1;
    p.batch_size = 64;
    p.out = qn_check_path("ahead");
    ck_assert_ok(qn_fit(qn_check_device(), &p, &result, &error), error);
    qn_run *run = qn_run_open(p.out, &error);
    ck_assert_msg(run != NULL, "%s", error.text);
    qn_store *store = qn_run_load(run, qn_check_device(), p.model, &error);
    ck_assert_msg(store != NULL, "%s", error.text);
    ck_assert_ok(qn_evaluate(qn_check_device(), p.model, store, &data, NULL,
                             &loss, &accuracy, &error), error);
    ck_assert(loss == result.test_loss);
    qn_store_destroy(&store);
    qn_run_close(&run);
    qn_model_destroy((qn_model **)&p.model);
}
END_TEST

// A range test of rates begins there too: before the first step both forms of
// Nesterov's rule have the same loss.
START_TEST(lookahead_begins_at_the_parameters)
{
    static const char *const optimizers[] = {"nesterov",
                                             "nesterov:lookahead=1"};
    struct qn_fit_params p = qn_fit_defaults();
    qn_dataset data = small_few_digits();
    double losses[2];
    p.model = qn_check_model(SMALL_MODEL);
    p.dataset = &data;
    p.batch_size = 64;
    for (int k = 0; k < 2; k++) {
        struct qn_lr_range range = {0};
        qn_error error = {0};
        p.optimizer = optimizers[k];
        ck_assert_ok(qn_lr_range_run(qn_check_device(), &p, 1e-3, 0.1, 10,
                                     &range, &error), error);
        losses[k] = range.points[0].loss;
        qn_lr_range_finish(&range);
    }
    ck_assert(losses[0] == losses[1]);
    qn_model_destroy((qn_model **)&p.model);
}
END_TEST

// Parameters, averages and both statistics, bit by bit.
START_TEST(stopped_averages_go_on)
{
    const char *folders[] = {qn_check_path("whole"), qn_check_path("parts")};
    struct qn_fit_params p = qn_fit_defaults();
    char files[2][400];
    qn_error error = {0};
    p.optimizer = "adam";
    p.ema = 0.75;
    p.ema_form = QN_AVERAGE_CORRECTED;
    p.ema_recompute_bn = true;
    ck_assert_ok(small_try_run(p, norm_text, 6, folders[0], &error), error);
    ck_assert_ok(small_try_run(p, norm_text, 2, folders[1], &error), error);
    p.resume = folders[1];
    ck_assert_ok(small_try_run(p, norm_text, 6, folders[1], &error), error);
    qn_checkpoint *ends[2];
    for (int k = 0; k < 2; k++) {
        snprintf(files[k], sizeof files[k], "%s/last.safetensors",
                 folders[k]);
        ends[k] = qn_checkpoint_open(files[k], &error);
        ck_assert_msg(ends[k] != NULL, "%s", error.text);
    }
    ck_assert_str_eq(qn_checkpoint_note(ends[0], "quern.sha256"),
                     qn_checkpoint_note(ends[1], "quern.sha256"));
    qn_checkpoint_close(&ends[0]);
    qn_checkpoint_close(&ends[1]);
}
END_TEST

QN_CHECK_MAIN("average", average_is_that_of_the_steps, average_is_evaluated,
              average_gets_statistics_of_its_own,
              lookahead_is_beside_the_parameters,
              lookahead_begins_at_the_parameters, stopped_averages_go_on)
