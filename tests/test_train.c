// The trainer: order of samples, settings, learning, repetition, resume,
// what is written, what goes wrong.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "device/device.h"
#include "qn_check.h"
#include "train/train.h"

// ---- a small problem ----

// The first samples of the digits: 300 for training, 100 for testing.
static qn_dataset few_digits(void)
{
    return qn_check_digits(300, 100);
}

// Settings that the tests change. 300 samples in batches of 64: four whole
// ones and one of 44.
struct job {
    const char *model, *out, *resume, *optimizer;
    int epochs;
    int64_t checkpoint_every;
    uint64_t seed;
    double lr;
    int (*progress)(void *user, const qn_progress *progress);
    void *user;
};

static qn_status run_job(const struct job *job, qn_fit_result *result,
                         qn_error *error)
{
    qn_dataset data = few_digits();
    qn_model *model = qn_check_model(job->model ? job->model
                                            : "16-relu-dropout0.2-10");
    struct qn_fit_params params = qn_fit_defaults();
    params.model = model;
    params.dataset = &data;
    params.epochs = job->epochs ? job->epochs : 2;
    params.batch_size = 64;
    params.optimizer = job->optimizer ? job->optimizer : "adam";
    params.lr = job->lr;
    params.seed = job->seed;
    params.out = job->out;
    params.resume = job->resume;
    params.checkpoint_every = job->checkpoint_every;
    params.progress = job->progress;
    params.user = job->user;
    qn_status status = qn_fit(qn_check_device(), &params, result, error);
    qn_model_destroy(&model);
    return status;
}

static qn_fit_result run_well(const struct job *job)
{
    qn_error error = {0};
    qn_fit_result result;
    ck_assert_ok(run_job(job, &result, &error), error);
    return result;
}

// ---- the order of samples ----

START_TEST(order_is_a_permutation_that_seed_and_epoch_decide)
{
    enum { N = 1000 };
    int32_t a[N], b[N];
    int seen[N] = {0}, same = 0;
    qn_shuffle(a, N, 7, 3);
    for (int i = 0; i < N; i++) {
        ck_assert(a[i] >= 0 && a[i] < N);
        seen[a[i]]++;
    }
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(seen[i], 1);
    qn_shuffle(b, N, 7, 3);
    ck_assert_mem_eq(a, b, sizeof a);
    for (int other = 0; other < 2; other++) {
        qn_shuffle(b, N, 7 + (uint64_t)other, 4 - other);
        same = 0;
        for (int i = 0; i < N; i++)
            same += a[i] == b[i];
        // One is expected by chance; P(more than 10) < 1e-8.
        ck_assert_int_le(same, 10);
    }
    qn_shuffle(a, 1, 7, 1);
    ck_assert_int_eq(a[0], 0);
}
END_TEST

// Where the first sample ends up, over many epochs: each of 10 places within
// 5 deviations of the binomial law.
START_TEST(order_is_fair)
{
    enum { N = 10, ROUNDS = 20000 };
    int32_t order[N];
    int counts[N][N] = {{0}};
    for (int epoch = 1; epoch <= ROUNDS; epoch++) {
        qn_shuffle(order, N, 1, epoch);
        for (int i = 0; i < N; i++)
            counts[i][order[i]]++;
    }
    double mean = ROUNDS / (double)N, deviation = sqrt(mean * (1 - 1.0 / N));
    for (int i = 0; i < N; i++)
        for (int k = 0; k < N; k++)
            ck_assert(fabs(counts[i][k] - mean) < 5 * deviation);
}
END_TEST

// ---- settings ----

static void expect_fault(struct qn_fit_params params, const char *want)
{
    qn_dataset data = few_digits();
    qn_model *model = qn_check_model("10");
    qn_error error = {0};
    struct qn_settings settings;
    params.model = model;
    params.dataset = &data;
    qn_status status = qn_settings_resolve(&params, &settings, &error);
    ck_assert_msg(status == QN_BAD_ARGUMENT, "accepted; wanted: %s", want);
    ck_assert_msg(strstr(error.text, want) != NULL, "\"%s\" in \"%s\"", want,
                  error.text);
    qn_model_destroy(&model);
}

START_TEST(settings_are_checked)
{
    struct qn_fit_params good = qn_fit_defaults(), p = good;
    p.optimizer = "adma";
    expect_fault(p, "did you mean adam?");
    p.optimizer = "adam:beta3=1";
    expect_fault(p, "it has beta1, beta2, eps, weight_decay");
    p.optimizer = "adam:beta1";
    expect_fault(p, "NAME=NUMBER");
    p.optimizer = "adam:beta1=x";
    expect_fault(p, "NAME=NUMBER");
    p.optimizer = "adam:beta1=2";
    expect_fault(p, "must be from 0 to");
    p = good;
    p.optimizer = "adam";
    p.momentum = 0.9;
    expect_fault(p, "has no momentum");
    p = good;
    p.loss = "softmax_cross_entrpy";
    expect_fault(p, "did you mean softmax_cross_entropy?");
    p = good;
    p.epochs = 0;
    expect_fault(p, "epochs");
    p = good;
    p.batch_size = 0;
    expect_fault(p, "batch_size");
    p = good;
    p.seed = UINT64_C(1) << 32;
    expect_fault(p, "seed");
    p = good;
    p.lr = (double)NAN;
    expect_fault(p, "lr");
}
END_TEST

START_TEST(settings_take_defaults_and_values)
{
    qn_dataset data = few_digits();
    qn_model *model = qn_check_model("10");
    qn_error error = {0};
    struct qn_settings settings;
    struct qn_fit_params params = qn_fit_defaults();
    params.model = model;
    params.dataset = &data;
    params.optimizer = "adam:beta1=0.5,eps=1e-7";
    params.weight_decay = 0.25;
    ck_assert_ok(qn_settings_resolve(&params, &settings, &error), error);
    const struct qn_optimizer *adam = qn_optimizer_find("adam");
    const double *hyper = settings.optimizer.hyper;
    ck_assert(settings.lr == adam->lr);
    ck_assert(hyper[qn_optimizer_hyper_find(adam, "beta1")] == 0.5);
    ck_assert(hyper[qn_optimizer_hyper_find(adam, "beta2")] == 0.999);
    ck_assert(hyper[qn_optimizer_hyper_find(adam, "eps")] == 1e-7);
    ck_assert(hyper[qn_optimizer_hyper_find(adam, "weight_decay")] == 0.25);
    params.optimizer = "sgd";
    params.momentum = 0.5;
    ck_assert_ok(qn_settings_resolve(&params, &settings, &error), error);
    ck_assert_str_eq(settings.optimizer.optimizer->name, "momentum");
    ck_assert(settings.optimizer.hyper[0] == 0.5);
    params.momentum = 0;
    ck_assert_ok(qn_settings_resolve(&params, &settings, &error), error);
    ck_assert_str_eq(settings.optimizer.optimizer->name, "sgd");
    params.batch_size = 1000; // more than there are
    ck_assert_ok(qn_settings_resolve(&params, &settings, &error), error);
    ck_assert_int_eq(settings.batch_size, 300);
    qn_model_destroy(&model);
}
END_TEST

START_TEST(model_that_does_not_fit_the_data_is_named)
{
    qn_error error = {0};
    qn_fit_result result;
    ck_assert_int_eq(run_job(&(struct job){.model = "16-relu-7"}, &result,
                             &error), QN_BAD_SHAPE);
    ck_assert_ptr_nonnull(strstr(error.text, "digits has 10 classes"));
}
END_TEST

// ---- learning ----

START_TEST(training_learns_and_counts)
{
    qn_fit_result result = run_well(
        &(struct job){.model = "32-relu-10", .epochs = 20, .lr = 0.01});
    ck_assert_int_eq(result.parameters, 64 * 32 + 32 + 32 * 10 + 10);
    ck_assert_int_eq(result.epochs, 20);
    ck_assert_int_eq(result.steps, 100);
    ck_assert(result.train_accuracy > 0.95);
    ck_assert(result.test_accuracy > 0.85);
    ck_assert(result.train_loss < 0.4);
    ck_assert(result.best_test_accuracy >= result.test_accuracy);
    ck_assert(result.best_epoch >= 1 && result.best_epoch <= 20);
    ck_assert(result.first_step_seconds > 0);
    ck_assert(result.samples_per_second > 0);
    ck_assert(!result.interrupted);
    ck_assert_uint_eq(strlen(result.parameters_sha256), 64);
}
END_TEST

// With a learning rate of nearly nothing the loss while training is the mean
// over all samples for fixed parameters, which the evaluation of the same
// samples must find again: so every sample is used once in an epoch. The large
// layer's tensor is evaluated in batches of 100, 100 and 99.
static void expect_one_loss(const char *text)
{
    qn_dataset data = few_digits();
    qn_model *model = qn_check_model(text);
    struct qn_fit_params params = qn_fit_defaults();
    qn_error error = {0};
    qn_fit_result result;
    data.train_count = 299;
    data.test_x = data.train_x;
    data.test_y = data.train_y;
    data.test_count = data.train_count;
    params.model = model;
    params.dataset = &data;
    params.epochs = 1;
    params.batch_size = 64;
    params.lr = 1e-12;
    ck_assert_ok(qn_fit(qn_check_device(), &params, &result, &error), error);
    // Sums of 300 float32 terms in another order.
    ck_assert(fabs(result.train_loss - result.test_loss) < 1e-5);
    ck_assert(fabs(result.train_accuracy - result.test_accuracy) < 1e-9);
    qn_model_destroy(&model);
}

START_TEST(training_loss_is_that_of_all_samples)
{
    expect_one_loss("16-relu-10");
    expect_one_loss("115000-relu-10");
}
END_TEST

START_TEST(one_seed_gives_one_result)
{
    qn_fit_result a = run_well(&(struct job){.seed = 5});
    qn_fit_result b = run_well(&(struct job){.seed = 5});
    qn_fit_result c = run_well(&(struct job){.seed = 6});
    ck_assert_str_eq(a.parameters_sha256, b.parameters_sha256);
    ck_assert(a.train_loss == b.train_loss && a.test_loss == b.test_loss);
    ck_assert_str_ne(a.parameters_sha256, c.parameters_sha256);
}
END_TEST

// ---- stopping and going on ----

struct stopper {
    int64_t at; // stop once this many steps are done
    int calls;
};

static int stop_at(void *user, const qn_progress *progress)
{
    struct stopper *stopper = user;
    stopper->calls++;
    return progress->step >= stopper->at;
}

START_TEST(stopped_run_goes_on_bit_by_bit)
{
    qn_fit_result whole = run_well(&(struct job){.epochs = 4, .seed = 3});
    for (int at = 1; at < 20; at += 3) {
        char name[32];
        snprintf(name, sizeof name, "stop-%d", at);
        struct stopper stopper = {.at = at};
        struct job job = {.epochs = 4, .seed = 3, .out = qn_check_path(name),
                          .checkpoint_every = 1, .progress = stop_at,
                          .user = &stopper};
        qn_error error = {0};
        qn_fit_result part;
        ck_assert_int_eq(run_job(&job, &part, &error), QN_INTERRUPTED);
        ck_assert(part.interrupted);
        ck_assert_int_eq(part.steps, at);
        ck_assert_int_gt(stopper.calls, 0);
        job = (struct job){.epochs = 4, .seed = 3, .resume = job.out};
        qn_fit_result rest = run_well(&job);
        ck_assert_str_eq(rest.parameters_sha256, whole.parameters_sha256);
        ck_assert_int_eq(rest.steps, whole.steps);
        ck_assert(rest.train_loss == whole.train_loss);
        ck_assert(rest.test_loss == whole.test_loss);
    }
}
END_TEST

static int count_lines(const char *folder)
{
    char path[400];
    unsigned char *data;
    size_t size;
    qn_error error = {0};
    int count = 0;
    snprintf(path, sizeof path, "%s/metrics.jsonl", folder);
    ck_assert_ok(qn_os_read_file(path, 1 << 20, &data, &size, &error), error);
    for (size_t i = 0; i < size; i++)
        count += data[i] == '\n';
    ck_assert(size > 0 && data[size - 1] == '\n');
    free(data);
    return count;
}

static json_t *read_json(const char *folder, const char *name)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    json_error_t why;
    json_t *json = json_load_file(path, 0, &why);
    ck_assert_msg(json != NULL, "%s: %s", path, why.text);
    return json;
}

START_TEST(run_folder_holds_what_is_promised)
{
    const char *out = qn_check_path("deep/er/run");
    qn_fit_result result = run_well(
        &(struct job){.epochs = 3, .out = out, .checkpoint_every = 2});
    ck_assert_int_eq(count_lines(out), 3);
    json_t *config = read_json(out, "config.json");
    ck_assert_int_eq(json_integer_value(json_object_get(config, "epochs")), 3);
    ck_assert_int_eq(
        json_integer_value(json_object_get(config, "batch_size")), 64);
    json_decref(config);
    qn_error error = {0};
    qn_run *run = qn_run_open(out, &error);
    ck_assert_msg(run != NULL, "%s", error.text);
    ck_assert_int_eq(qn_run_epochs(run), 3);
    ck_assert_int_eq(qn_run_steps(run), 15);
    ck_assert_str_eq(qn_run_data(run), "digits");
    ck_assert_str_eq(qn_run_params(run)->loss, "softmax_cross_entropy");
    ck_assert_int_eq(qn_run_params(run)->batch_size, 64);
    // Evaluating the checkpoint finds the run's own figures again.
    qn_model *model = qn_check_model(qn_run_model(run));
    qn_store *store = qn_run_load(run, qn_check_device(), model, &error);
    ck_assert_msg(store != NULL, "%s", error.text);
    qn_dataset data = few_digits();
    double loss, accuracy;
    ck_assert_ok(qn_evaluate(qn_check_device(), model, store, &data,
                             qn_evaluate_params(qn_run_params(run)->loss),
                             &loss, &accuracy, &error), error);
    ck_assert(loss == result.test_loss && accuracy == result.test_accuracy);
    char hash[65];
    ck_assert_ok(qn_store_hash(store, hash, &error), error);
    ck_assert_str_eq(hash, result.parameters_sha256);
    qn_store_destroy(&store);
    qn_model_destroy(&model);
    qn_run_close(&run);
}
END_TEST

// A finished run can be resumed: with as many epochs nothing is done, with
// more it goes on as if it had been asked for them at once.
START_TEST(finished_run_goes_on_to_more_epochs)
{
    const char *out = qn_check_path("more");
    qn_fit_result whole = run_well(&(struct job){.epochs = 4});
    qn_fit_result two = run_well(&(struct job){.epochs = 2, .out = out});
    struct job job = {.epochs = 2, .resume = out};
    qn_fit_result same = run_well(&job);
    ck_assert_str_eq(same.parameters_sha256, two.parameters_sha256);
    ck_assert(same.test_loss == two.test_loss);
    ck_assert(same.first_step_seconds == 0);
    job.epochs = 4;
    qn_fit_result four = run_well(&job);
    ck_assert_str_eq(four.parameters_sha256, whole.parameters_sha256);
    ck_assert_int_eq(count_lines(out), 4);
    job.epochs = 3;
    qn_error error = {0};
    ck_assert_int_eq(run_job(&job, &four, &error), QN_BAD_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(error.text, "4 epochs behind it"));
}
END_TEST

START_TEST(resume_refuses_other_settings)
{
    const char *out = qn_check_path("other");
    static const struct {
        struct job job;
        const char *want;
    } cases[] = {
        {{.seed = 1}, "seed"},
        {{.optimizer = "sgd"}, "\"adam\", not \"sgd\""},
        {{.optimizer = "adam:beta1=0.5"}, "beta1 0.9"},
        {{.lr = 0.5}, "lr 0.001"},
        {{.model = "16-relu-10"}, "model"},
    };
    run_well(&(struct job){.out = out});
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct job job = cases[i].job;
        qn_error error = {0};
        qn_fit_result result;
        job.resume = out;
        job.epochs = 3;
        ck_assert_int_eq(run_job(&job, &result, &error), QN_BAD_ARGUMENT);
        ck_assert_msg(strstr(error.text, cases[i].want) != NULL,
                      "\"%s\" in \"%s\"", cases[i].want, error.text);
    }
}
END_TEST

static void count_warnings(void *user, qn_log_level level,
                           const char *message)
{
    if (level == QN_LOG_WARNING && strstr(message, "another device"))
        ++*(int *)user;
}

// The fingerprint in the notes becomes that of another device.
static void change_device(const char *path, const char *fingerprint)
{
    unsigned char *data;
    size_t size;
    qn_error error = {0};
    ck_assert_ok(qn_os_read_file(path, 1 << 24, &data, &size, &error), error);
    int changed = 0;
    for (size_t i = 0; i + 64 <= size; i++)
        if (memcmp(data + i, fingerprint, 64) == 0) {
            data[i] = data[i] == '0' ? '1' : '0';
            changed++;
        }
    ck_assert_int_eq(changed, 1);
    struct qn_os_part part = {data, size};
    ck_assert_ok(qn_os_replace_file(path, &part, 1, &error), error);
    free(data);
}

START_TEST(resume_on_another_device_warns)
{
    const char *out = qn_check_path("elsewhere");
    char path[400];
    int warnings = 0;
    run_well(&(struct job){.epochs = 1, .out = out});
    qn_check_close_device();
    qn_error error = {0};
    struct qn_device_params params = {.log = {count_warnings, &warnings}};
    qn_device *device = qn_device_open(&params, &error);
    ck_assert_msg(device != NULL, "%s", error.text);
    snprintf(path, sizeof path, "%s/last.safetensors", out);
    qn_run *run = qn_run_open(out, &error);
    qn_model *model = qn_check_model(qn_run_model(run));
    qn_dataset data = few_digits();
    struct qn_fit_params fit = *qn_run_params(run);
    fit.model = model;
    fit.dataset = &data;
    qn_fit_result result;
    for (int epochs = 2; epochs <= 4; epochs++) {
        if (epochs == 3)
            change_device(path, qn_device_fingerprint(device));
        fit.epochs = epochs;
        ck_assert_ok(qn_fit(device, &fit, &result, &error), error);
        // Only the run that finds another device's mark, and only once.
        ck_assert_int_eq(warnings, epochs >= 3);
    }
    qn_run_close(&run);
    qn_model_destroy(&model);
    qn_device_close(&device);
}
END_TEST

START_TEST(lines_after_the_checkpoint_are_cut)
{
    const char *out = qn_check_path("cut");
    char path[400];
    qn_fit_result whole = run_well(&(struct job){.epochs = 3});
    run_well(&(struct job){.epochs = 2, .out = out});
    snprintf(path, sizeof path, "%s/metrics.jsonl", out);
    FILE *file = fopen(path, "ab");
    ck_assert_ptr_nonnull(file);
    fputs("{\"epoch\": 3, \"from\": \"a run that died\"}\n{\"half", file);
    fclose(file);
    qn_fit_result rest = run_well(&(struct job){.epochs = 3, .resume = out});
    ck_assert_str_eq(rest.parameters_sha256, whole.parameters_sha256);
    ck_assert_int_eq(count_lines(out), 3);
}
END_TEST

// ---- what goes wrong ----

START_TEST(loss_that_is_not_finite_ends_the_run)
{
    const char *out = qn_check_path("diverges");
    run_well(&(struct job){.model = "16-relu-10", .epochs = 1, .out = out,
                           .optimizer = "sgd"});
    qn_error error = {0};
    qn_fit_result result;
    struct job job = {.model = "16-relu-10", .epochs = 50,
                      .out = qn_check_path("diverges-2"), .optimizer = "sgd",
                      .lr = 1e30};
    ck_assert_int_eq(run_job(&job, &result, &error), QN_NOT_FINITE);
    ck_assert_msg(strstr(error.text, "step") != NULL, "%s", error.text);
    ck_assert_msg(strstr(error.text, "learning rate") != NULL, "%s",
                  error.text);
    ck_assert(!qn_os_is_file(qn_check_path("diverges-2/last.safetensors")));
}
END_TEST

START_TEST(folders_without_a_run_are_named)
{
    static const char *const paths[] = {"nothing-here", ".",
                                        "plain.safetensors"};
    FILE *file = fopen(qn_check_path("plain.safetensors"), "wb");
    ck_assert_ptr_nonnull(file);
    fputs("not a checkpoint", file);
    fclose(file);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        qn_error error = {0};
        ck_assert_ptr_null(qn_run_open(qn_check_path(paths[i]), &error));
        ck_assert_int_ne(error.status, QN_OK);
        ck_assert_ptr_nonnull(strstr(error.text, qn_check_folder()));
    }
}
END_TEST

START_TEST(folder_that_cannot_be_made_fails_before_training)
{
    qn_error error = {0};
    qn_fit_result result;
    FILE *file = fopen(qn_check_path("a-file"), "wb");
    ck_assert_ptr_nonnull(file);
    fclose(file);
    struct stopper stopper = {.at = 1000};
    struct job job = {.out = qn_check_path("a-file/run"), .progress = stop_at,
                      .user = &stopper};
    ck_assert_int_eq(run_job(&job, &result, &error), QN_IO);
    ck_assert_int_eq(stopper.calls, 0);
}
END_TEST

// ---- predicting ----

START_TEST(probabilities_are_those_of_the_model)
{
    qn_error error = {0};
    const char *out = qn_check_path("predicts");
    qn_fit_result result = run_well(
        &(struct job){.model = "32-relu-10", .epochs = 10, .lr = 0.01,
                      .out = out});
    qn_run *run = qn_run_open(out, &error);
    ck_assert_msg(run != NULL, "%s", error.text);
    qn_model *model = qn_check_model(qn_run_model(run));
    qn_store *store = qn_run_load(run, qn_check_device(), model, &error);
    ck_assert_msg(store != NULL, "%s", error.text);
    float p[100 * 10];
    int right = 0;
    ck_assert_ok(qn_predict(qn_check_device(), model, store,
                            qn_run_dataset(run), few_digits().test_x, 100, p,
                            &error), error);
    for (int i = 0; i < 100; i++) {
        double sum = 0;
        int best = 0;
        for (int c = 0; c < 10; c++) {
            ck_assert(p[10 * i + c] >= 0 && p[10 * i + c] <= 1);
            sum += (double)p[10 * i + c];
            best = p[10 * i + c] > p[10 * i + best] ? c : best;
        }
        ck_assert(fabs(sum - 1) < 1e-5);
        right += best == few_digits().test_y[i];
    }
    ck_assert_int_eq(right, (int)lround(100 * result.test_accuracy));
    qn_store_destroy(&store);
    qn_model_destroy(&model);
    qn_run_close(&run);
}
END_TEST

QN_CHECK_MAIN("train", order_is_a_permutation_that_seed_and_epoch_decide,
              order_is_fair, settings_are_checked,
              settings_take_defaults_and_values,
              model_that_does_not_fit_the_data_is_named,
              training_learns_and_counts,
              training_loss_is_that_of_all_samples, one_seed_gives_one_result,
              stopped_run_goes_on_bit_by_bit,
              run_folder_holds_what_is_promised,
              finished_run_goes_on_to_more_epochs,
              resume_refuses_other_settings,
              resume_on_another_device_warns,
              lines_after_the_checkpoint_are_cut,
              loss_that_is_not_finite_ends_the_run,
              folders_without_a_run_are_named,
              folder_that_cannot_be_made_fails_before_training,
              probabilities_are_those_of_the_model)
