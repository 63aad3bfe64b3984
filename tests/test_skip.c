// Steps that are skipped: nothing of theirs is left, and they are counted.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "device/device.h"
#include "qn_check.h"
#include "train/train.h"

enum { PIXELS = 8, MOST = 120, TEST = 6, CLASSES = 3, BATCH = 8, SEED = 3 };

// ---- a small problem ----

// A label that there is none of makes the hinge loss of its batch NaN.
static const int bad_label = 77;
static unsigned char pixels[MOST * PIXELS];
static int32_t labels[MOST], test_labels[TEST];

static qn_dataset make_data(int count, double scale)
{
    qn_dataset data = {.name = "dots", .origin = "dots",
                       .shape = {.rank = 1, .dims = {PIXELS}},
                       .classes = CLASSES, .train_count = count,
                       .test_count = TEST, .train_x = pixels,
                       .test_x = pixels, .train_y = labels,
                       .test_y = test_labels, .scale = scale};
    for (int i = 0; i < MOST; i++) {
        labels[i] = i % CLASSES;
        for (int k = 0; k < PIXELS; k++)
            pixels[i * PIXELS + k] =
                (unsigned char)(100 * (k % CLASSES == labels[i]) +
                                (i * 37 + k * 11) % 90);
    }
    memcpy(test_labels, labels, sizeof test_labels);
    return data;
}

// The labels of some samples, and the steps of an epoch that meet them.
static void spoil(const qn_dataset *data, int epoch, const int *samples,
                  int count, bool *is_bad)
{
    int32_t order[MOST];
    qn_shuffle(order, data->train_count, SEED, epoch);
    for (int k = 0; k < count; k++)
        labels[samples[k]] = bad_label;
    for (int64_t i = 0; i < data->train_count; i++)
        is_bad[i / BATCH] |= labels[order[i]] == bad_label;
}

// Normalisation has statistics to spoil, dropout draws by the step's number.
#define NET(norm)                                                         \
    "{\"layers\":[{\"type\":\"dense\",\"units\":12},{\"type\":\"" norm  \
    "\"},{\"type\":\"relu\"},{\"type\":\"dropout\",\"p\":0.2},"         \
    "{\"type\":\"dense\",\"units\":3}]}"
static const char *const batch_net = NET("batch_norm"),
                  *const layer_net = NET("layer_norm");
static const char *net = NET("batch_norm"); // of this test

static struct qn_fit_params make_params(const char *optimizer)
{
    struct qn_fit_params params = qn_fit_defaults();
    params.batch_size = BATCH;
    params.epochs = 2;
    params.seed = SEED;
    params.optimizer = optimizer;
    params.lr = 0.05;
    params.loss = "hinge";
    params.on_nan = "skip";
    return params;
}

static qn_status fit_on(qn_device *device, const char *text,
                        const qn_dataset *data, struct qn_fit_params params,
                        qn_fit_result *result, qn_error *error)
{
    *error = (qn_error){0};
    qn_model *model = qn_model_create(text, error);
    ck_assert_msg(model != NULL, "%s", error->text);
    params.model = model;
    params.dataset = data;
    qn_status status = qn_fit(device, &params, result, error);
    qn_model_destroy(&model);
    return status;
}

static qn_fit_result fit_well(const qn_dataset *data,
                              struct qn_fit_params params)
{
    qn_error error;
    qn_fit_result result;
    ck_assert_ok(fit_on(qn_check_device(), net, data, params, &result, &error),
                 error);
    return result;
}

static void expect_words(const qn_error *error, const char *want)
{
    char wants[600];
    snprintf(wants, sizeof wants, "%s", want);
    for (char *one = strtok(wants, "|"); one; one = strtok(NULL, "|"))
        ck_assert_msg(strstr(error->text, one) != NULL, "no \"%s\" in \"%s\"",
                      one, error->text);
}

// ---- the same run, driven by hand, without the bad steps ----

struct hand {
    qn_model *model;
    struct qn_settings settings;
    qn_store *store;
    struct qn_stepper *stepper;
};

static void write_order(struct hand *hand, int epoch)
{
    int32_t order[MOST];
    qn_error error;
    const int64_t count = hand->settings.dataset->train_count;
    const int index = qn_store_find(hand->store, QN_GROUP_ORDER, "order");
    qn_shuffle(order, count, SEED, epoch);
    ck_assert_ok(qn_store_write(hand->store, index, order,
                                (size_t)count * sizeof *order, &error), error);
}

static void fill(struct hand *hand, const qn_dataset *data)
{
    qn_error error;
    qn_store *store = hand->store;
    const int images = qn_store_find(store, QN_GROUP_IMAGES, "images");
    const int truth = qn_store_find(store, QN_GROUP_LABELS, "labels");
    const size_t count = (size_t)data->train_count;
    ck_assert_ok(qn_store_write(store, images, pixels, count * PIXELS, &error),
                 error);
    ck_assert_ok(qn_store_write(store, truth, labels, count * sizeof *labels,
                                &error), error);
    ck_assert_ok(qn_model_init(hand->model, store, SEED, &error), error);
}

static void begin(struct hand *hand, const qn_dataset *data,
                  struct qn_fit_params params)
{
    qn_error error = {0};
    *hand = (struct hand){.model = qn_model_create(net, &error)};
    params.model = hand->model;
    params.dataset = data;
    params.on_nan = "stop";
    ck_assert_ok(qn_settings_resolve(&params, &hand->settings, &error), error);
    hand->store = qn_store_create(qn_check_device(), &error);
    ck_assert_ok(qn_stepper_create(&hand->settings, &hand->stepper, &error),
                 error);
    ck_assert_ok(qn_stepper_bind(hand->stepper, qn_check_device(), hand->store,
                                 SEED, &error), error);
    fill(hand, data);
}

static void finish(struct hand *hand)
{
    qn_stepper_destroy(&hand->stepper);
    qn_store_destroy(&hand->store);
    qn_model_destroy(&hand->model);
}

// `is_bad` tells of the steps of both epochs.
static void drive(struct hand *hand, const bool *is_bad)
{
    const int64_t count = hand->settings.dataset->train_count;
    struct qn_optimizer_step at =
        qn_optimizer_start(hand->settings.optimizer.optimizer);
    int step = 0;
    for (int epoch = 1; epoch <= 2; epoch++) {
        write_order(hand, epoch);
        for (int64_t from = 0; from < count; from += BATCH, step++) {
            qn_error error;
            at.step = step + 1;
            at.lr = hand->settings.lr;
            const struct qn_step now = {
                .at = &at, .sample = from,
                .count = from + BATCH > count ? count - from : BATCH};
            if (!is_bad[step])
                ck_assert_ok(qn_stepper_run(hand->stepper, &now, &error),
                             error);
        }
    }
}

// All state that the checkpoint has, bit by bit, but the metrics of skipping.
static void expect_same_state(struct hand *hand, const char *path)
{
    qn_error error = {0};
    int compared = 0;
    qn_checkpoint *checkpoint = qn_checkpoint_open(path, &error);
    ck_assert_msg(checkpoint != NULL, "%s", error.text);
    for (int i = 0; i < qn_store_count(hand->store); i++) {
        qn_store_entry entry;
        qn_checkpoint_tensor tensor;
        char name[200];
        unsigned char got[1000];
        qn_store_entry_at(hand->store, i, &entry);
        const bool is_plain = strcmp(entry.group, "parameters") == 0 ||
                              strcmp(entry.group, "buffers") == 0;
        snprintf(name, sizeof name, "%.80s%s%.80s",
                 is_plain ? "" : entry.group, is_plain ? "" : ".", entry.name);
        if (*name == '@' || strstr(name, "skipped"))
            continue;
        int k = 0;
        while (qn_checkpoint_tensor_at(checkpoint, k, &tensor) &&
               strcmp(tensor.name, name) != 0)
            k++;
        ck_assert_msg(strcmp(tensor.name, name) == 0, "no %s", name);
        ck_assert_uint_le(tensor.size, sizeof got);
        ck_assert_ok(qn_store_read(hand->store, i, got, tensor.size, &error),
                     error);
        ck_assert_msg(memcmp(got, tensor.data, tensor.size) == 0,
                      "%s differs", name);
        compared++;
    }
    // Two dense layers, a normalisation, metrics.
    ck_assert_int_ge(compared, 6 + 3);
    qn_checkpoint_close(&checkpoint);
}

// 44 samples: six steps an epoch, the last one of four.
static void expect_left_out(const char *optimizer, int64_t micro_batch)
{
    static const int samples[] = {7, 30};
    const char *out = qn_check_path("left-out");
    char path[500];
    net = micro_batch ? layer_net : batch_net;
    qn_dataset data = make_data(44, 0.01);
    bool is_bad[12] = {0};
    spoil(&data, 1, samples, 2, is_bad);
    spoil(&data, 2, samples, 2, is_bad + 6);
    int bad = 0;
    for (int i = 0; i < 12; i++)
        bad += is_bad[i];
    ck_assert(bad >= 2 && bad <= 4);
    struct qn_fit_params params = make_params(optimizer);
    params.out = out;
    params.micro_batch = micro_batch;
    qn_fit_result result = fit_well(&data, params);
    ck_assert_int_eq(result.skipped_steps, bad);
    ck_assert_int_eq(result.steps, 12);
    ck_assert(isfinite(result.train_loss));
    struct hand hand;
    begin(&hand, &data, params);
    drive(&hand, is_bad);
    snprintf(path, sizeof path, "%s/last.safetensors", out);
    expect_same_state(&hand, path);
    // The means are over the samples that counted.
    float sum;
    int64_t counted = 0;
    qn_error error;
    const int index =
        qn_store_find(hand.store, QN_GROUP_METRICS, QN_METRIC_LOSS);
    ck_assert_ok(qn_store_read(hand.store, index, &sum, sizeof sum, &error),
                 error);
    for (int i = 6; i < 12; i++)
        counted += is_bad[i] ? 0 : i < 11 ? BATCH : 4;
    ck_assert(result.train_loss == (double)sum / (double)counted);
    finish(&hand);
    net = batch_net;
}

START_TEST(skipped_steps_leave_nothing_behind)
{
    expect_left_out("momentum", 0);
    expect_left_out("adam", 0);
    expect_left_out("adam", 3); // whole steps, whichever part was bad
}
END_TEST

// ---- going on ----

static int stop_after(void *user, const qn_progress *progress)
{
    return progress->step >= *(int *)user;
}

// Wherever it was stopped, and from a run that stopped at the first bad step.
START_TEST(skipping_goes_on_bit_by_bit)
{
    static const int samples[] = {7, 30};
    qn_dataset data = make_data(44, 0.01);
    bool is_bad[6] = {0};
    spoil(&data, 1, samples, 2, is_bad);
    struct qn_fit_params params = make_params("adam");
    const qn_fit_result whole = fit_well(&data, params);
    qn_error error;
    qn_fit_result part;
    params.checkpoint_every = 1;
    for (int at = 0; at < 10; at += 3) {
        char name[32];
        snprintf(name, sizeof name, "on-%d", at);
        params.resume = NULL;
        params.out = qn_check_path(name);
        params.progress = at ? stop_after : NULL;
        params.user = &at;
        params.on_nan = at ? "skip" : "stop";
        ck_assert_int_eq(fit_on(qn_check_device(), net, &data, params, &part,
                                &error),
                         at ? QN_INTERRUPTED : QN_NOT_FINITE);
        params.resume = params.out;
        params.progress = NULL;
        params.on_nan = "skip";
        part = fit_well(&data, params);
        ck_assert_str_eq(part.parameters_sha256, whole.parameters_sha256);
        ck_assert_int_eq(part.skipped_steps, whole.skipped_steps);
        ck_assert(part.train_loss == whole.train_loss);
        ck_assert(part.train_accuracy == whole.train_accuracy);
    }
}
END_TEST

// ---- what is told ----

struct told {
    char text[2000];
    int64_t skipped; // as progress has it at an epoch's end
};

static void remember(void *user, qn_log_level level, const char *text)
{
    struct told *told = user;
    if (level == QN_LOG_WARNING && strstr(text, "skipped"))
        snprintf(told->text + strlen(told->text),
                 sizeof told->text - strlen(told->text), "%s;", text);
}

static int note_progress(void *user, const qn_progress *progress)
{
    if (progress->epoch_end)
        ((struct told *)user)->skipped = progress->skipped_steps;
    return 0;
}

// The first eight by number, each once, however many are read at a time.
START_TEST(skipped_steps_are_told)
{
    static const int samples[] = {1, 20, 33, 47, 58, 71, 90, 104, 111, 119};
    struct told told = {{0}, 0};
    qn_dataset data = make_data(MOST, 0.01);
    bool is_bad[15] = {0};
    spoil(&data, 1, samples, 10, is_bad);
    qn_error error;
    qn_fit_result result;
    qn_check_close_device();
    const struct qn_device_params how = {.log = {remember, &told}};
    qn_device *device = qn_device_open(&how, &error);
    ck_assert_msg(device != NULL, "%s", error.text);
    struct qn_fit_params params = make_params("sgd");
    params.epochs = 3;
    params.out = qn_check_path("told");
    params.progress = note_progress;
    params.user = &told;
    ck_assert_ok(fit_on(device, net, &data, params, &result, &error), error);
    qn_device_close(&device);
    ck_assert_int_eq(told.skipped, result.skipped_steps);
    ck_assert_int_gt(result.skipped_steps, 8);
    int seen = 0;
    for (int i = 0; i < 15 && seen < 8; i++) {
        char number[16];
        snprintf(number, sizeof number, " %d", i + 1);
        const char *at = is_bad[i] ? strstr(told.text, number) : NULL;
        ck_assert_msg(!is_bad[i] || at, "step %d: \"%s\"", i + 1, told.text);
        seen += is_bad[i];
    }
    ck_assert_ptr_nonnull(strstr(told.text, "only counted from now on"));
    char path[500], want[64];
    unsigned char *lines;
    size_t size;
    snprintf(path, sizeof path, "%s/metrics.jsonl", params.out);
    ck_assert_ok(qn_os_read_file(path, 1 << 16, &lines, &size, &error), error);
    snprintf(want, sizeof want, "\"skipped_steps\": %d",
             (int)result.skipped_steps);
    ck_assert_msg(strstr((char *)lines, want) != NULL, "%s", (char *)lines);
    free(lines);
}
END_TEST

// ---- when all is skipped ----

// Tiny weights before large ones: outputs are moderate, the first layer's
// derivative is not.
static const char *const steep =
    "{\"layers\":[{\"type\":\"dense\",\"units\":16,\"init\":"
    "\"kaiming_normal\",\"gain\":1e-37,\"bias\":false},{\"type\":\"dense\","
    "\"units\":3,\"init\":\"kaiming_normal\",\"gain\":1e6}]}";

START_TEST(epoch_of_nothing_but_skips_ends_the_run)
{
    qn_error error;
    qn_fit_result result;
    qn_dataset data = make_data(24, 1e32);
    struct qn_fit_params params = make_params("sgd");
    params.out = qn_check_path("nothing");
    params.loss = NULL;
    ck_assert_int_eq(fit_on(qn_check_device(), steep, &data, params, &result,
                            &error), QN_NOT_FINITE);
    expect_words(&error, "3 steps in a row were skipped, up to step 3 (epoch "
                         "1), whose gradient is not finite in 0.weight|"
                         "in or after layer 0 (dense)|though the loss is");
    ck_assert(!qn_os_is_file(qn_check_path("nothing/last.safetensors")));
}
END_TEST

// The hundredth step in a row is the last one that counts, however late the
// host reads; the loss alone is bad, and no layer.
START_TEST(too_many_skips_end_the_run)
{
    qn_error error;
    qn_fit_result result;
    qn_dataset data = make_data(MOST, 0.01);
    int32_t order[MOST];
    qn_shuffle(order, MOST, SEED, 1);
    for (int i = 10; i < MOST; i++)
        labels[order[i]] = bad_label;
    struct qn_fit_params params = make_params("sgd");
    params.batch_size = 1;
    ck_assert_int_eq(fit_on(qn_check_device(), "3", &data, params, &result,
                            &error), QN_NOT_FINITE);
    expect_words(&error, "steps in a row were skipped|whose loss is not "
                         "finite: the layers' outputs are|hinge");
    const char *at = strstr(error.text, "up to step ");
    ck_assert_ptr_nonnull(at);
    ck_assert_int_ge(atoi(at + strlen("up to step ")), 110);
}
END_TEST

START_TEST(settings_of_skipping_are_checked)
{
    qn_error error = {0};
    struct qn_settings settings;
    qn_dataset data = make_data(24, 1);
    qn_model *model = qn_model_create(net, &error);
    struct qn_fit_params params = make_params("sgd");
    params.model = model;
    params.dataset = &data;
    ck_assert_ok(qn_settings_resolve(&params, &settings, &error), error);
    ck_assert(settings.skips_nan);
    params.on_nan = NULL;
    ck_assert_ok(qn_settings_resolve(&params, &settings, &error), error);
    ck_assert(!settings.skips_nan);
    params.on_nan = "ignore";
    ck_assert_int_eq(qn_settings_resolve(&params, &settings, &error),
                     QN_BAD_ARGUMENT);
    expect_words(&error, "on_nan is \"ignore\" and must be stop or skip");
    params.on_nan = "skip";
    params.micro_batch = 4;
    params.allow_micro_statistics = true;
    error = (qn_error){0};
    ck_assert_int_eq(qn_settings_resolve(&params, &settings, &error),
                     QN_BAD_ARGUMENT);
    expect_words(&error, "statistics over micro-batches");
    params = make_params("lbfgs");
    params.lr = 0;
    params.model = model;
    params.dataset = &data;
    error = (qn_error){0};
    ck_assert_int_eq(qn_settings_resolve(&params, &settings, &error),
                     QN_BAD_ARGUMENT);
    expect_words(&error, "lbfgs has no steps to skip");
    qn_model_destroy(&model);
}
END_TEST

QN_CHECK_MAIN("skip", settings_of_skipping_are_checked,
              skipped_steps_leave_nothing_behind, skipping_goes_on_bit_by_bit,
              epoch_of_nothing_but_skips_ends_the_run,
              too_many_skips_end_the_run, skipped_steps_are_told)
