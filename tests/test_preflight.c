// Memory before a run: what is predicted is what is allocated, and what happens
// where it is too much.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/device.h"
#include "qn_check.h"
#include "train/train.h"

// ---- data and models ----

enum { TRAIN = 70, TEST = 30, BATCH = 32, SIDE = 28 };

// 70 samples, so that an epoch ends with a batch of 6.
static qn_dataset make_data(int side)
{
    static unsigned char pixels[TRAIN * SIDE * SIDE];
    static int32_t labels[TRAIN];
    for (int i = 0; i < TRAIN * SIDE * SIDE; i++)
        pixels[i] = (unsigned char)(i * 31 % 251);
    for (int i = 0; i < TRAIN; i++)
        labels[i] = i % 10;
    return (qn_dataset){
        .name = "made", .origin = "made", .shape = {3, {1, side, side}},
        .classes = 10, .train_count = TRAIN, .test_count = TEST,
        .train_x = pixels, .test_x = pixels, .train_y = labels,
        .test_y = labels, .scale = 1 / 255.0f};
}

static const char normed[] =
    "{\"layers\": [{\"type\": \"conv\", \"filters\": 6, \"kernel\": 3}, "
    "{\"type\": \"batch_norm\"}, {\"type\": \"relu\"}, "
    "{\"type\": \"maxpool\", \"kernel\": 2}, {\"type\": \"conv\", "
    "\"filters\": 8, \"kernel\": 3}, {\"type\": \"batch_norm\"}, "
    "{\"type\": \"relu\"}, {\"type\": \"flatten\"}, {\"type\": \"dense\", "
    "\"units\": 10}]}";

// Of more activations than parameters.
#define DEEP(norm)                                                           \
    "{\"layers\": [{\"type\": \"conv\", \"filters\": 12, \"kernel\": 3}, " norm  \
    "{\"type\": \"relu\"}, {\"type\": \"dropout\", \"p\": 0.2}, "                \
    "{\"type\": \"conv\", \"filters\": 12, \"kernel\": 3}, "                     \
    "{\"type\": \"relu\"}, {\"type\": \"flatten\"}, {\"type\": \"dense\", "      \
    "\"units\": 10}]}"

static struct qn_fit_params make_params(const qn_model *model,
                                        const qn_dataset *data)
{
    struct qn_fit_params params = qn_fit_defaults();
    params.model = model;
    params.dataset = data;
    params.epochs = 1;
    params.batch_size = BATCH;
    params.optimizer = "adam";
    return params;
}

// ---- a device of little memory, and what it says ----

static char said[2000];

static void keep_log(void *user, qn_log_level level, const char *message)
{
    (void)user;
    if (level <= QN_LOG_WARNING)
        strncat(said, message, sizeof said - strlen(said) - 1);
}

static qn_device *open_device(uint64_t limit)
{
    qn_error error = {0};
    const struct qn_device_params params = {
        .memory_limit = limit, .no_cache = true, .log = {keep_log, NULL}};
    qn_check_close_device();
    *said = 0;
    qn_device *device = qn_device_open(&params, &error);
    ck_assert_msg(device != NULL, "%s", error.text);
    return device;
}

// ---- prediction and allocation ----

struct seen {
    const qn_device *device;
    uint64_t allocated; // at the end of an epoch: after evaluation
};

static int look(void *user, const qn_progress *progress)
{
    struct seen *seen = user;
    if (progress->epoch_end)
        seen->allocated = qn_device_memory(seen->device).allocated;
    return 0;
}

// To the byte: the peak and the largest piece. A minimizer takes all samples for
// a step, an iteration an epoch.
static void expect_prediction(const char *text, int side, int64_t part,
                              const char *optimizer, bool has_all)
{
    qn_error error = {0};
    qn_fit_memory asked, taken;
    qn_fit_result result;
    qn_device *device = open_device(0);
    const qn_dataset data = make_data(side);
    qn_model *model = qn_check_model(text);
    struct qn_fit_params params = make_params(model, &data);
    struct seen seen = {.device = device};
    params.micro_batch = part;
    params.allow_micro_statistics = true;
    params.l2 = 0.01;
    params.optimizer = optimizer;
    if (has_all) {
        params.ema = 0.9;
        params.ema_recompute_bn = true;
        params.clip_global_norm = 1;
        params.on_nan = "skip";
    }
    params.progress = look;
    params.user = &seen;
    ck_assert_ok(qn_fit_estimate(device, &params, &asked, &taken, &error),
                 error);
    ck_assert_int_eq(qn_device_memory(device).peak, 0);
    ck_assert_mem_eq(&asked, &taken, sizeof asked);
    ck_assert_int_eq(taken.micro_batch, part);
    ck_assert_int_eq(taken.peak_size, taken.data_size + taken.state_size +
                                          taken.step_size +
                                          taken.evaluation_size);
    ck_assert_ok(qn_fit(device, &params, &result, &error), error);
    const qn_device_usage usage = qn_device_memory(device);
    ck_assert_int_eq(seen.allocated, taken.peak_size);
    ck_assert_int_eq(usage.peak, taken.peak_size);
    ck_assert_int_eq(usage.largest, taken.largest_size);
    ck_assert_int_eq(usage.allocated, 0);
    ck_assert_str_eq(said, "");
    qn_model_destroy(&model);
    qn_device_close(&device);
}

START_TEST(prediction_is_what_is_allocated)
{
    expect_prediction("40-relu-dropout0.2-10", 8, 0, "sgd", false);
    expect_prediction("40-relu-dropout0.2-10", 8, 12, "adam", true);
    expect_prediction("lenet5", SIDE, 0, "adam", false);
    expect_prediction(normed, 8, 0, "momentum", true);
    expect_prediction("20-tanh-10", 8, 0, "lbfgs", false);
    expect_prediction("20-tanh-10", 8, 0, "newton_cg", false);
}
END_TEST

START_TEST(sketch_is_as_large_as_a_store)
{
    qn_error error = {0};
    qn_store_stats stats;
    const float x = 1;
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_variable(g, "a", "x", QN_FLOAT32, qn_shape_of(1));
    qn_variable(g, "a", "y", QN_FLOAT32, qn_shape_of(129));
    qn_variable(g, "b", "z", QN_UINT8, qn_shape_of(3000));
    qn_store *sketch = qn_store_sketch(&error);
    ck_assert_ok(qn_store_add(sketch, g, &error), error);
    qn_store_describe(sketch, &stats);
    ck_assert_int_eq(stats.size, 512 + 1024 + 3072);
    ck_assert_int_eq(stats.largest_size, 3072);
    ck_assert_int_eq(qn_store_count(sketch), 3);
    ck_assert_int_eq(qn_store_write(sketch, 0, &x, sizeof x, &error),
                     QN_BAD_ARGUMENT);
    ck_assert_msg(strstr(error.text, "\"x\" has no memory"), "%s",
                  error.text);
    const uint64_t before = qn_device_memory(qn_check_device()).allocated;
    qn_store *store = qn_store_create(qn_check_device(), &error);
    ck_assert_ok(qn_store_add(store, g, &error), error);
    ck_assert_int_eq(qn_device_memory(qn_check_device()).allocated - before,
                     stats.size);
    qn_store_destroy(&store);
    qn_store_destroy(&sketch);
    qn_graph_destroy(&g);
}
END_TEST

START_TEST(estimate_says_what_the_plan_says)
{
    qn_error error = {0};
    qn_plan_stats guess, real;
    struct qn_settings settings;
    struct qn_train_stage stage;
    const qn_dataset data = make_data(8);
    qn_model *model = qn_check_model(normed);
    const struct qn_fit_params params = make_params(model, &data);
    ck_assert_ok(qn_settings_resolve(&params, &settings, &error), error);
    ck_assert_ok(qn_train_stage_create(&settings, QN_STAGE_WHOLE, BATCH, NULL,
                                       &stage, &error), error);
    qn_store *store = qn_store_create(qn_check_device(), &error);
    const struct qn_plan_params plan_params = {.graph = stage.graph,
                                               .store = store};
    ck_assert_ok(qn_plan_estimate(qn_check_device(), &plan_params, &guess,
                                  &error), error);
    ck_assert_ok(qn_train_stage_bind(&stage, qn_check_device(), store, 0,
                                     &error), error);
    qn_plan_describe(stage.plan, &real);
    ck_assert_int_eq(guess.launches, 0);
    guess.launches = real.launches;
    guess.programs = real.programs;
    guess.heavy_programs = real.heavy_programs;
    ck_assert_mem_eq(&guess, &real, sizeof guess);
    ck_assert_int_gt(real.own_size, real.arena_size);
    qn_train_stage_finish(&stage);
    qn_store_destroy(&store);
    qn_model_destroy(&model);
}
END_TEST

// ---- too little ----

static void estimate(qn_device *device, const struct qn_fit_params *params,
                     qn_fit_memory *asked, qn_fit_memory *taken)
{
    qn_error error = {0};
    ck_assert_ok(qn_fit_estimate(device, params, asked, taken, &error), error);
}

// The fewest parts that fit, said in a line, with the same result.
START_TEST(fewest_parts_that_fit_are_taken)
{
    qn_error error = {0};
    qn_fit_memory asked, taken, more;
    qn_fit_result free_result, result;
    qn_device *device = open_device(0);
    const qn_dataset data = make_data(8);
    qn_model *model = qn_check_model(DEEP(""));
    struct qn_fit_params params = make_params(model, &data);
    ck_assert_ok(qn_fit(device, &params, &free_result, &error), error);
    ck_assert_int_eq(free_result.micro_batch, 0);
    estimate(device, &params, &asked, &taken);
    // In parts of 4 it fits, and in those that evaluation leaves room for.
    params.micro_batch = 4;
    estimate(device, &params, &more, &taken);
    ck_assert_int_lt(taken.peak_size, asked.peak_size);
    qn_device_close(&device);

    device = open_device((uint64_t)taken.peak_size);
    ck_assert_int_eq((int64_t)qn_device_describe(device)->memory_size,
                     taken.peak_size);
    params.micro_batch = 0;
    estimate(device, &params, &asked, &taken);
    const int64_t part = taken.micro_batch, count = (BATCH + part - 1) / part;
    ck_assert_int_ge(part, 4);
    ck_assert_int_lt(part, BATCH / 2);
    params.micro_batch = part;
    estimate(device, &params, &asked, &taken);
    ck_assert_int_eq(taken.micro_batch, part);
    params.micro_batch = (BATCH + count - 2) / (count - 1);
    estimate(device, &params, &asked, &taken);
    ck_assert_int_eq(taken.micro_batch, part);
    params.micro_batch = 0;
    char folder[300];
    snprintf(folder, sizeof folder, "%s/run", qn_check_folder());
    params.out = folder;
    ck_assert_str_eq(said, "");
    ck_assert_ok(qn_fit(device, &params, &result, &error), error);
    char want[80];
    snprintf(want, sizeof want, "micro-batches of %d, to the same result",
             (int)part);
    ck_assert_msg(strstr(said, "a step of 32 samples at once needs") &&
                      strstr(said, want), "%s", said);
    ck_assert_int_eq(result.micro_batch, part);
    ck_assert_int_eq(result.steps, free_result.steps);
    ck_assert_double_eq_tol(result.train_loss, free_result.train_loss, 1e-5);
    ck_assert_double_eq_tol(result.test_loss, free_result.test_loss, 1e-4);
    qn_run *run = qn_run_open(folder, &error);
    ck_assert_int_eq(qn_run_params(run)->micro_batch, part);
    qn_run_close(&run);
    ck_assert_int_le((int64_t)qn_device_memory(device).peak,
                     (int64_t)qn_device_describe(device)->memory_size);
    qn_model_destroy(&model);
    qn_device_close(&device);
}
END_TEST

static void expect_failure(qn_device *device,
                           const struct qn_fit_params *params,
                           const char *const *want)
{
    qn_error error = {0};
    qn_fit_result result;
    ck_assert_int_eq(qn_fit(device, params, &result, &error), QN_DEVICE);
    for (int i = 0; want[i]; i++)
        ck_assert_msg(strstr(error.text, want[i]), "%s: not in: %s", want[i],
                      error.text);
    ck_assert_int_eq((int64_t)qn_device_memory(device).peak, 0);
    ck_assert_str_eq(said, "");
}

// Nothing is allocated before the failure, which says what would do.
START_TEST(what_does_not_fit_is_explained)
{
    qn_fit_memory asked, taken;
    const qn_dataset data = make_data(8);
    qn_device *device = open_device(0);
    qn_model *wide = qn_check_model(DEEP(""));
    qn_model *mixing = qn_check_model(DEEP("{\"type\": \"batch_norm\"}, "));
    struct qn_fit_params params = make_params(wide, &data);
    params.micro_batch = 8;
    estimate(device, &params, &asked, &taken);
    const uint64_t limit = (uint64_t)taken.peak_size;
    params.micro_batch = 0;
    qn_device_close(&device);

    device = open_device(limit);
    params.strict = true;
    expect_failure(device, &params,
                   (const char *const[]){"training in batches of 32 needs",
                                         "micro-batches of 8 fit",
                                         "--micro-batch 8", NULL});
    params.model = mixing;
    expect_failure(device, &params,
                   (const char *const[]){"layer 1 (batch_norm)",
                                         "--batch-size",
                                         "--allow-micro-statistics", NULL});
    // A step that may be skipped is skipped whole.
    params.allow_micro_statistics = true;
    params.on_nan = "skip";
    expect_failure(device, &params,
                   (const char *const[]){"layer 1 (batch_norm)",
                                         "(--batch-size)", NULL});
    params.on_nan = NULL;
    qn_device_close(&device);

    device = open_device(150000);
    params.model = wide;
    expect_failure(device, &params,
                   (const char *const[]){"are missing even in the smallest",
                                         "146.5 KiB to give", NULL});
    qn_device_close(&device);

    // Of memory enough, but not in one piece.
    device = open_device(0);
    ((qn_device_info *)qn_device_describe(device))->max_alloc_size = 9000;
    expect_failure(device, &params,
                   (const char *const[]){"in one piece", "at most 8.8 KiB",
                                         "are missing", NULL});
    qn_device_close(&device);
    qn_model_destroy(&mixing);
    qn_model_destroy(&wide);
}
END_TEST

// All samples for a step, in whatever batches.
START_TEST(batches_of_a_minimizer_are_named)
{
    qn_fit_memory asked, taken;
    const qn_dataset data = make_data(8);
    qn_device *device = open_device(0);
    qn_model *model = qn_check_model("200-relu-10");
    struct qn_fit_params params = make_params(model, &data);
    params.optimizer = "lbfgs";
    params.batch_size = TRAIN;
    estimate(device, &params, &asked, &taken);
    const uint64_t less = (uint64_t)asked.peak_size - 1;
    qn_device_close(&device);
    device = open_device(less);
    expect_failure(device, &params,
                   (const char *const[]){"batches of 35 fit",
                                         "--batch-size 35", NULL});
    qn_device_close(&device);
    qn_model_destroy(&model);
}
END_TEST

QN_CHECK_MAIN("preflight", prediction_is_what_is_allocated,
              sketch_is_as_large_as_a_store, estimate_says_what_the_plan_says,
              fewest_parts_that_fit_are_taken, what_does_not_fit_is_explained,
              batches_of_a_minimizer_are_named)
