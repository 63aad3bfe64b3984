// What the trainer does about a loss or a gradient that is not finite.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "qn_check.h"
#include "train/train.h"

enum { PIXELS = 8, TRAIN = 24, TEST = 6, CLASSES = 3, BATCH = 8 };

// ---- a small problem ----

// Samples whose first pixel alone is not 0, different for each class; one of
// them, `bright`, has 255 there, and no other more than 3.
static unsigned char pixels[TRAIN * PIXELS];
static int32_t labels[TRAIN];
static qn_dataset make_data(int bright, double scale)
{
    qn_dataset data = {.name = "dots", .origin = "dots",
                       .shape = {.rank = 1, .dims = {PIXELS}},
                       .classes = CLASSES, .train_count = TRAIN,
                       .test_count = TEST, .train_x = pixels,
                       .test_x = pixels, .train_y = labels, .test_y = labels,
                       .scale = scale};
    memset(pixels, 0, sizeof pixels);
    for (int i = 0; i < TRAIN; i++) {
        labels[i] = i % CLASSES;
        pixels[i * PIXELS] = (unsigned char)(1 + labels[i]);
    }
    if (bright >= 0)
        pixels[bright * PIXELS] = 255;
    return data;
}

static struct qn_fit_params make_params(void)
{
    struct qn_fit_params params = qn_fit_defaults();
    params.batch_size = BATCH;
    params.epochs = 4;
    params.seed = 3;
    return params;
}

static qn_status fit(const char *text, const qn_dataset *data,
                     struct qn_fit_params params, qn_fit_result *result,
                     qn_error *error)
{
    *error = (qn_error){0};
    qn_model *model = qn_model_create(text, error);
    ck_assert_msg(model != NULL, "%s", error->text);
    params.model = model;
    params.dataset = data;
    qn_status status = qn_fit(qn_check_device(), &params, result, error);
    qn_model_destroy(&model);
    return status;
}

// The run stops, and its error has all of `want`, "a|b|c".
static void expect_stop(const char *text, const qn_dataset *data,
                        struct qn_fit_params params, const char *want)
{
    qn_error error;
    qn_fit_result result;
    char wants[600];
    ck_assert_int_eq(fit(text, data, params, &result, &error), QN_NOT_FINITE);
    snprintf(wants, sizeof wants, "%s", want);
    for (char *one = strtok(wants, "|"); one; one = strtok(NULL, "|"))
        ck_assert_msg(strstr(error.text, one) != NULL, "no \"%s\" in \"%s\"",
                      one, error.text);
}

// ---- stopping ----

// The rate is infinity as far as these weights are concerned: the first step
// is the last good one.
START_TEST(rate_that_is_too_high_is_named)
{
    qn_dataset data = make_data(-1, 1);
    struct qn_fit_params params = make_params();
    params.lr = 1e30;
    params.out = qn_check_path("rate");
    expect_stop("16-relu-16-relu-3", &data, params,
                "the loss is not finite at step 2 (epoch 1)|"
                "(dense) gives |for all samples of the batch|"
                "Likely cause: 2.|has grown from |"
                "the learning rate 1e+30 is too high for sgd|"
                "; there is no checkpoint yet");
    ck_assert(!qn_os_is_file(qn_check_path("rate/last.safetensors")));
}
END_TEST

// A layer whose values are about 1e5 times its inputs.
#define LARGE(n)                                        \
    ",{\"type\":\"dense\",\"units\":" #n ",\"init\":"  \
    "\"kaiming_normal\",\"gain\":1e6}"
static const char *const many_layers =
    "{\"layers\":[{\"type\":\"dense\",\"units\":8},{\"type\":\"residual\","
    "\"layers\":[{\"type\":\"relu\"}" LARGE(8) LARGE(8) LARGE(8) LARGE(8)
    LARGE(8) LARGE(8) LARGE(8) LARGE(8) "]}" LARGE(3) "]}";

// The layer, not the containers around it or the layers behind it.
START_TEST(layer_that_overflows_is_named)
{
    qn_dataset data = make_data(-1, 1);
    struct qn_fit_params params = make_params();
    expect_stop(many_layers, &data, params,
                "at step 1 (epoch 1)|layer 1.layers.7 (dense) gives|"
                "for all samples|1.layers.7.weight begins with values up to |"
                "give it smaller ones");
}
END_TEST

// One sample of 24 is too bright for a layer with large weights. Which step
// meets it follows from seed and epoch.
static void expect_bright(int64_t micro_batch, const char *where)
{
    const int bright = 17;
    qn_dataset data = make_data(bright, 1e31);
    int32_t order[TRAIN];
    int place = 0;
    char want[300];
    qn_shuffle(order, TRAIN, 3, 1);
    while (order[place] != bright)
        place++;
    snprintf(want, sizeof want,
             "the loss is not finite at step %d (epoch 1)|layer 0 (dense)|"
             "for 1 of the batch's %s samples, first for sample 17 of dots|"
             "samples as large as 2.55e+33: scale them",
             place / BATCH + 1, where);
    struct qn_fit_params params = make_params();
    params.lr = 1e-37;
    params.micro_batch = micro_batch;
    expect_stop("{\"layers\":[{\"type\":\"dense\",\"units\":16,\"init\":"
                "\"kaiming_normal\",\"gain\":1e6},{\"type\":\"relu\"},"
                "{\"type\":\"dense\",\"units\":3}]}", &data, params, want);
}

START_TEST(sample_that_overflows_is_named)
{
    expect_bright(0, "8");
    expect_bright(4, "4"); // which are half of the step's
}
END_TEST

// Tiny weights before large ones: outputs are moderate, the first layer's
// derivative is not.
static const char *const steep =
    "{\"layers\":[{\"type\":\"dense\",\"units\":16,\"init\":"
    "\"kaiming_normal\",\"gain\":1e-37,\"bias\":false},{\"type\":\"dense\","
    "\"units\":3,\"init\":\"kaiming_normal\",\"gain\":1e6}]}";

START_TEST(gradient_that_overflows_is_named)
{
    qn_dataset data = make_data(-1, 1e34);
    expect_stop(steep, &data, make_params(),
                "the gradient is not finite at step 1 (epoch 1) in 0.weight|"
                "in or after layer 0 (dense)|though the loss is|"
                "clipped gradients may help");
}
END_TEST

// The loss of the samples is finite, that of weights about 0.3 is not.
START_TEST(penalties_that_overflow_are_named)
{
    qn_dataset data = make_data(-1, 1);
    struct qn_fit_params params = make_params();
    params.l2 = 3e38;
    expect_stop("64-relu-3", &data, params,
                "the loss is not finite at step 1 (epoch 1)|"
                "with the penalties the loss of it is not|"
                "penalties that are too large for the weights, ");
}
END_TEST

// ---- what stays ----

// A linear model whose error grows some hundredfold a step: two epochs of three
// steps are saved before squares overflow. The checkpoint is the second one's,
// loads, and is finite; going on from it comes to the same end, and a smaller
// rate is a new run's.
START_TEST(last_good_checkpoint_stays)
{
    const char *out = qn_check_path("stays");
    qn_dataset data = make_data(-1, 1);
    struct qn_fit_params params = make_params();
    qn_error error = {0}, again;
    qn_fit_result result;
    params.out = out;
    params.lr = 100;
    params.loss = "mean_squared";
    ck_assert_int_eq(fit("3", &data, params, &result, &error), QN_NOT_FINITE);
    ck_assert_msg(strstr(error.text, "(epoch 3)") &&
                      strstr(error.text, "the last good checkpoint stays "
                                         "(after step 6)"),
                  "%s", error.text);
    qn_run *run = qn_run_open(out, &again);
    ck_assert_msg(run != NULL, "%s", again.text);
    ck_assert_int_eq(qn_run_epochs(run), 2);
    ck_assert_int_eq(qn_run_steps(run), 6);
    qn_model *model = qn_model_create("3", &again);
    qn_store *store = qn_run_load(run, qn_check_device(), model, &again);
    ck_assert_msg(store != NULL, "%s", again.text);
    ck_assert_ok(qn_check_parameters(store, 6, &again), again);
    qn_store_destroy(&store);
    qn_model_destroy(&model);
    qn_run_close(&run);
    params.resume = out;
    params.epochs = 5;
    ck_assert_int_eq(fit("3", &data, params, &result, &again), QN_NOT_FINITE);
    ck_assert_str_eq(error.text, again.text);
    params.lr = 0.01;
    ck_assert_int_eq(fit("3", &data, params, &result, &again),
                     QN_BAD_ARGUMENT);
    ck_assert_msg(strstr(again.text, "lr") != NULL, "%s", again.text);
}
END_TEST

QN_CHECK_MAIN("nan", rate_that_is_too_high_is_named,
              layer_that_overflows_is_named, sample_that_overflows_is_named,
              gradient_that_overflows_is_named,
              penalties_that_overflow_are_named, last_good_checkpoint_stays)
