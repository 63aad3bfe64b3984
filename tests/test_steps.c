// Steps one by one: where a run ends, what is logged, and that the losses are
// PyTorch's.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "qn_check.h"
#include "train/train.h"

// ---- running ----

static qn_dataset *open_digits(void)
{
    qn_error error = {0};
    qn_dataset *data = qn_dataset_open("digits", &error);
    ck_assert_msg(data != NULL, "%s", error.text);
    return data;
}

// Runs with the settings but for model and data.
static qn_fit_result run_well(const char *text, struct qn_fit_params params)
{
    qn_error error = {0};
    qn_fit_result result;
    qn_dataset *data = open_digits();
    qn_model *model = qn_model_create(text, &error);
    ck_assert_msg(model != NULL, "%s", error.text);
    params.model = model;
    params.dataset = data;
    ck_assert_ok(qn_fit(qn_check_device(), &params, &result, &error), error);
    ck_assert(!result.interrupted);
    qn_model_destroy(&model);
    qn_dataset_destroy(&data);
    return result;
}

// The file's text, "" where there is none. The caller's.
static char *read_text(const char *path)
{
    unsigned char *data = NULL;
    size_t size;
    qn_error error = {0};
    if (!qn_os_is_file(path)) {
        data = calloc(1, 1);
        ck_assert_ptr_nonnull(data);
    } else {
        ck_assert_ok(qn_os_read_file(path, 1 << 24, &data, &size, &error),
                     error);
    }
    return (char *)data;
}

static char *read_steps(const char *folder)
{
    char path[450];
    snprintf(path, sizeof path, "%s/steps.jsonl", folder);
    return read_text(path);
}

// ---- where a run ends, what is logged ----

static const char *const small = "16-relu-dropout0.2-10";

// 1,437 samples in batches of 100: epochs of 15 steps, the last one smaller.
static struct qn_fit_params make_params(const char *out)
{
    struct qn_fit_params params = qn_fit_defaults();
    params.epochs = 3;
    params.batch_size = 100;
    params.optimizer = "adam";
    params.log_every = 1;
    params.out = out;
    return params;
}

START_TEST(every_step_is_logged)
{
    const char *out = qn_check_path("each");
    struct qn_fit_params params = make_params(out);
    qn_fit_result whole = run_well(small, params);
    char *text = read_steps(out), *line = strtok(text, "\n");
    double sum = 0;
    for (int step = 1; step <= 45; step++, line = strtok(NULL, "\n")) {
        json_t *json = line ? json_loads(line, 0, NULL) : NULL;
        int at, epoch;
        double loss, lr;
        ck_assert_msg(json != NULL, "step %d: no line", step);
        ck_assert_int_eq(json_unpack(json, "{si si sf sf}", "step", &at,
                                     "epoch", &epoch, "loss", &loss, "lr",
                                     &lr), 0);
        ck_assert_int_eq(at, step);
        ck_assert_int_eq(epoch, (step - 1) / 15 + 1);
        ck_assert(lr == 0.001);
        if (epoch == 3)
            sum += loss * (step < 45 ? 100 : 37);
        json_decref(json);
    }
    ck_assert_ptr_null(line);
    // Their mean is the epoch's loss, added up in float32.
    ck_assert_double_eq_tol(sum / 1437, whole.train_loss, 1e-5);
    free(text);
    // Looking changes nothing.
    params = make_params(qn_check_path("blind"));
    params.log_every = 0;
    qn_fit_result blind = run_well(small, params);
    ck_assert_str_eq(blind.parameters_sha256, whole.parameters_sha256);
    ck_assert(!qn_os_is_file(qn_check_path("blind/steps.jsonl")));
}
END_TEST

// In pieces of any size, also across epochs, the run is the same, and so is
// its log, also where a piece is done twice.
START_TEST(run_in_pieces_is_the_same)
{
    const char *out = qn_check_path("pieces");
    struct qn_fit_params params = make_params(qn_check_path("once"));
    qn_fit_result whole = run_well(small, params), part;
    static const int64_t ends[] = {0, 4, 4, 15, 16, 40, 1000};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        params = make_params(out);
        params.max_steps = ends[i];
        params.resume = i ? out : NULL;
        part = run_well(small, params);
        ck_assert_int_eq(part.steps, ends[i] < 45 ? ends[i] : 45);
        ck_assert_int_eq(part.epochs, ends[i] < 45 ? ends[i] / 15 : 3);
        if (ends[i] != 15)
            continue;
        // A run that died had come further.
        FILE *file = fopen(qn_check_path("pieces/steps.jsonl"), "ab");
        ck_assert_ptr_nonnull(file);
        fputs("{\"step\": 16, \"epoch\": 2, \"loss\": 0, \"lr\": 1}\n{\"st",
              file);
        fclose(file);
    }
    ck_assert_str_eq(part.parameters_sha256, whole.parameters_sha256);
    char *a = read_steps(out), *b = read_steps(qn_check_path("once"));
    ck_assert_str_eq(a, b);
    free(a);
    free(b);
}
END_TEST

START_TEST(every_seventh_step_is_logged)
{
    struct qn_fit_params params = make_params(qn_check_path("seventh"));
    params.log_every = 7;
    params.max_steps = 30;
    run_well(small, params);
    char *text = read_steps(params.out);
    int step = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        char want[40];
        step += 7;
        snprintf(want, sizeof want, "{\"step\": %d, ", step);
        ck_assert_msg(strncmp(line, want, strlen(want)) == 0, "%s", line);
    }
    ck_assert_int_eq(step, 28);
    free(text);
}
END_TEST

// Of a set that is too large nothing is read, and the error says what to do.
START_TEST(samples_that_find_no_room_are_told_of)
{
    qn_error error = {0};
    qn_fit_result result;
    qn_dataset *digits = open_digits(), large = *digits;
    qn_model *model = qn_model_create("10", &error);
    large.train_count = INT32_MAX;
    large.shape = qn_shape_of(3, 1024, 1024);
    large.train_x = large.test_x = NULL;
    struct qn_fit_params params = make_params(qn_check_path("large"));
    params.model = model;
    params.dataset = &large;
    ck_assert_int_eq(qn_fit(qn_check_device(), &params, &result, &error),
                     QN_DEVICE);
    ck_assert_ptr_nonnull(strstr(error.text, "training samples of digits"));
    ck_assert_ptr_nonnull(strstr(error.text, "6442450941.0 MiB"));
    ck_assert_ptr_nonnull(strstr(error.text, "fewer samples"));
    qn_model_destroy(&model);
    qn_dataset_destroy(&digits);
}
END_TEST

// ---- PyTorch's losses ----

// What tools/compare_torch.py --write left.
struct golden {
    json_t *json;
    char *model;
    char optimizer[256];
    json_t *losses;
    struct qn_fit_params params;
};

static void read_golden(const char *name, struct golden *golden)
{
    char path[500];
    json_error_t why;
    const char *key;
    json_t *value, *optimizer;
    double lr;
    int batch, seed;
    snprintf(path, sizeof path, "%s/golden/%s", TESTS_FOLDER, name);
    golden->json = json_load_file(path, 0, &why);
    ck_assert_msg(golden->json != NULL, "%s: %s", path, why.text);
    ck_assert_int_eq(json_unpack(golden->json, "{so sf si si so}",
                                 "optimizer", &optimizer, "lr", &lr,
                                 "batch_size", &batch, "seed", &seed,
                                 "losses", &golden->losses), 0);
    golden->model = json_dumps(json_object_get(golden->json, "model"), 0);
    int used = 0;
    json_object_foreach(optimizer, key, value)
    {
        size_t room = sizeof golden->optimizer - (size_t)used;
        char *to = golden->optimizer + used;
        if (json_is_string(value))
            used += snprintf(to, room, "%s:", json_string_value(value));
        else
            used += snprintf(to, room, "%s=%.17g,", key,
                             json_number_value(value));
    }
    golden->optimizer[used - 1] = 0;
    golden->params = qn_fit_defaults();
    golden->params.epochs = 1000;
    golden->params.lr = lr;
    golden->params.batch_size = batch;
    golden->params.seed = (uint64_t)seed;
    golden->params.optimizer = golden->optimizer;
    golden->params.log_every = 1;
    golden->params.max_steps = (int64_t)json_array_size(golden->losses);
}

// 50 steps that PyTorch made in float32 too: rounding in another order differs
// by 1e-7 at the first step and grows from step to step.
static void expect_losses(const char *name, const char *folder, double rtol)
{
    struct golden golden;
    read_golden(name, &golden);
    golden.params.out = qn_check_path(folder);
    run_well(golden.model, golden.params);
    char *text = read_steps(golden.params.out), *line = strtok(text, "\n");
    size_t count = json_array_size(golden.losses);
    ck_assert_uint_eq(count, 50);
    for (size_t i = 0; i < count; i++, line = strtok(NULL, "\n")) {
        double got, want = json_number_value(json_array_get(golden.losses, i));
        json_t *json = line ? json_loads(line, 0, NULL) : NULL;
        ck_assert_msg(json != NULL, "%s: no step %zu", name, i + 1);
        ck_assert_int_eq(json_unpack(json, "{sf}", "loss", &got), 0);
        ck_assert_msg(fabs(got - want) <= rtol * want,
                      "%s: step %zu: loss %.9g, PyTorch's %.9g", name, i + 1,
                      got, want);
        json_decref(json);
    }
    free(text);
    free(golden.model);
    json_decref(golden.json);
}

START_TEST(losses_of_dense_layers_are_pytorchs)
{
    expect_losses("losses_mlp.json", "golden-mlp", 1e-5);
}
END_TEST

// With normalisation by batches, a residual block, pooling and strides.
START_TEST(losses_of_convolutions_are_pytorchs)
{
    expect_losses("losses_cnn.json", "golden-cnn", 1e-5);
}
END_TEST

// Convolutions, batch normalisation, mean pooling, a residual block; smooth, so
// that rounding stays rounding: PyTorch's float32 is 5e-7 from its float64.
START_TEST(losses_of_a_smooth_net_are_pytorchs)
{
    expect_losses("losses_smooth.json", "golden-smooth", 1e-5);
}
END_TEST

QN_CHECK_MAIN("steps", every_step_is_logged, run_in_pieces_is_the_same,
              every_seventh_step_is_logged,
              samples_that_find_no_room_are_told_of,
              losses_of_dense_layers_are_pytorchs,
              losses_of_convolutions_are_pytorchs,
              losses_of_a_smooth_net_are_pytorchs)
