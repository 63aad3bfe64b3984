// Schedules in the trainer: what each step gets, what files tell, resume.
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/device.h"
#include "qn_check.h"
#include "train/train.h"

// 120 of the digits in batches of 32: three whole ones and one of 24.
enum { EPOCH = 4 };
static qn_dataset *all_digits;

struct job {
    qn_device *device; // NULL: the suite's
    const char *optimizer, *schedule, *momentum_schedule, *out, *resume;
    int epochs;
    int64_t steps; // 0: all
    double lr;
};

static qn_status run_job(const struct job *job, qn_fit_result *result,
                         qn_error *error)
{
    if (!all_digits)
        all_digits = qn_dataset_open("digits", error);
    qn_model *model = qn_model_create("8-relu-10", error);
    ck_assert_msg(all_digits && model, "%s", error->text);
    qn_dataset few = *all_digits;
    few.train_count = 120;
    few.test_count = 60;
    struct qn_fit_params params = qn_fit_defaults();
    params.model = model;
    params.dataset = &few;
    params.batch_size = 32;
    params.epochs = job->epochs ? job->epochs : 3;
    params.optimizer = job->optimizer ? job->optimizer : "momentum";
    params.schedule = job->schedule;
    params.momentum_schedule = job->momentum_schedule;
    params.lr = job->lr;
    params.out = job->out;
    params.resume = job->resume;
    params.log_every = 1;
    params.max_steps = job->steps ? job->steps : -1;
    qn_status status = qn_fit(job->device ? job->device : qn_check_device(),
                              &params, result, error);
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

// One number of each line of a file in a run's folder; NAN where it is absent.
static int read_column(const char *folder, const char *name, const char *key,
                       double *values, int size)
{
    char path[400], line[1000];
    int count = 0;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    ck_assert_msg(file != NULL, "no %s", path);
    while (count < size && fgets(line, sizeof line, file)) {
        json_t *json = json_loads(line, 0, NULL);
        const json_t *value = json_object_get(json, key);
        values[count++] = json_is_number(value) ? json_number_value(value)
                                                : (double)NAN;
        json_decref(json);
    }
    fclose(file);
    return count;
}

static void expect_column(const char *folder, const char *name,
                          const char *key, const double *want, int count)
{
    double got[64];
    ck_assert_int_eq(read_column(folder, name, key, got, 64), count);
    // Lines hold nine digits.
    qn_check_close(key, got, want, count, 1e-8, 0);
}

// ---- what a step gets ----

// A rate of 0 changes nothing: the run stands where a shorter one ends.
START_TEST(rate_reaches_the_update)
{
    struct job job = {.optimizer = "sgd", .lr = 0.1, .steps = 7};
    qn_fit_result seven = run_well(&job);
    job.steps = 0;
    qn_fit_result all = run_well(&job);
    job.schedule = "piecewise:at=7,factor=1/0,unit=step";
    qn_fit_result stopped = run_well(&job);
    ck_assert_int_eq(stopped.steps, 3 * EPOCH);
    ck_assert_str_eq(stopped.parameters_sha256, seven.parameters_sha256);
    ck_assert_str_ne(stopped.parameters_sha256, all.parameters_sha256);
}
END_TEST

// A momentum of 0 makes plain SGD of it.
START_TEST(momentum_reaches_the_update)
{
    struct job job = {.optimizer = "sgd", .lr = 0.1};
    qn_fit_result plain = run_well(&job);
    job.optimizer = "momentum";
    qn_fit_result heavy = run_well(&job);
    job.momentum_schedule = "piecewise:at=0,factor=1/0";
    qn_fit_result light = run_well(&job);
    ck_assert_str_eq(light.parameters_sha256, plain.parameters_sha256);
    ck_assert_str_ne(light.parameters_sha256, heavy.parameters_sha256);
    // Adam's beta1 as well: 0.9 from the schedule is 0.9 from the settings.
    job = (struct job){.optimizer = "adam:beta1=0.5", .lr = 0.01,
                       .momentum_schedule = "piecewise:at=0,factor=1/1.8"};
    qn_fit_result scheduled = run_well(&job);
    job = (struct job){.optimizer = "adam", .lr = 0.01};
    qn_fit_result given = run_well(&job);
    ck_assert_str_eq(scheduled.parameters_sha256, given.parameters_sha256);
}
END_TEST

START_TEST(files_tell_the_rate_of_each_step)
{
    const char *out = qn_check_path("cosine");
    run_well(&(struct job){.schedule = "warmup:length=1,start_factor=0.5"
                                       "+cosine:smooth=0",
                           .lr = 0.2, .out = out});
    // An epoch up, then a cosine over the other two in whole epochs.
    const double want[] = {0.1, 0.125, 0.15, 0.175, 0.2, 0.2, 0.2, 0.2,
                           0.1, 0.1,   0.1,  0.1};
    const double ends[] = {0.175, 0.2, 0.1};
    double momenta[3];
    expect_column(out, "steps.jsonl", "lr", want, 12);
    expect_column(out, "metrics.jsonl", "lr", ends, 3);
    read_column(out, "metrics.jsonl", "momentum", momenta, 3);
    ck_assert(isnan(momenta[0]));
}
END_TEST

START_TEST(one_cycle_gives_both)
{
    const char *out = qn_check_path("one-cycle");
    struct job job = {.schedule = "one_cycle:anneal_strategy=linear,"
                                  "pct_start=0.5,div_factor=5,"
                                  "final_div_factor=2",
                      .lr = 0.5, .out = out};
    run_well(&job);
    // Up until step 5, down until step 11, each step of 12.
    double rates[12], momenta[12];
    for (int i = 0; i < 12; i++) {
        double up = i <= 5 ? i / 5.0 : 1 - (i - 5) / 6.0;
        rates[i] = (i <= 5 ? 0.1 : 0.05) + (i <= 5 ? 0.4 : 0.45) * up;
        momenta[i] = 0.95 - 0.1 * up;
    }
    expect_column(out, "steps.jsonl", "lr", rates, 12);
    expect_column(out, "steps.jsonl", "momentum", momenta, 12);
    // Without a momentum to cycle there is none.
    job.optimizer = "sgd";
    run_well(&job);
    expect_column(out, "steps.jsonl", "lr", rates, 12);
    read_column(out, "steps.jsonl", "momentum", momenta, 12);
    ck_assert(isnan(momenta[0]));
}
END_TEST

// Hardly any progress counts here, so that the rate falls after each epoch but
// the first, whose loss is the best so far.
static const char *const falling =
    "plateau:patience=0,threshold=0.999,factor=0.5,min_lr=0.03";

START_TEST(plateau_follows_the_metric)
{
    const char *out = qn_check_path("plateau");
    const double want[] = {0.2, 0.2, 0.1, 0.05, 0.03, 0.03};
    run_well(&(struct job){.schedule = falling, .lr = 0.2, .out = out,
                           .epochs = 6});
    expect_column(out, "metrics.jsonl", "lr", want, 6);
}
END_TEST

// ---- going on ----

// Every row, over 5 epochs of 4 steps, so that something happens before and
// after each stop.
static const struct {
    const char *schedule, *momentum_schedule, *optimizer;
} scheduled[] = {
    {"constant", "exponential:k=0.1", "momentum"},
    {"piecewise:at=2/9,factor=1/0.5/0.25,unit=step", NULL, "adam"},
    {"step:step_size=1,gamma=0.3", "step:step_size=5,gamma=0.9,unit=step",
     "momentum"},
    {"multistep:milestones=1.5/3,gamma=0.3", NULL, "sgd"},
    {"exponential:smooth=1", NULL, "adam"},
    {"exponential10", NULL, "momentum"},
    {"inverse_time:unit=step", NULL, "momentum"},
    {"power:r=2,smooth=1", NULL, "momentum"},
    {"polynomial:power=2", NULL, "adam"},
    {"cosine", "cosine:eta_min=0.3", "momentum"},
    {"cosine_restarts:T_0=1,T_mult=2", NULL, "momentum"},
    {"one_cycle", NULL, "adam"},
    {"cyclic:step_size_up=3,mode=triangular2", NULL, "momentum"},
    {"inverse_sqrt:warmup=8", NULL, "adam"},
    {"plateau:patience=0,threshold=0.999,factor=0.5,cooldown=1",
     "plateau:patience=0,threshold=0.999,factor=0.7", "momentum"},
    {"warmup:length=2.5+cosine", NULL, "momentum"},
    {"warmup:length=7,unit=step+plateau:patience=1,threshold=0.999", NULL,
     "adam"},
};

// Stopped within the second epoch, at the third one's end and within the
// fourth; all settings come from the checkpoint.
START_TEST(every_schedule_goes_on_bit_by_bit)
{
    for (size_t i = 0; i < sizeof scheduled / sizeof *scheduled; i++) {
        static const int stops[] = {6, 12, 15};
        struct job job = {.schedule = scheduled[i].schedule,
                          .momentum_schedule = scheduled[i].momentum_schedule,
                          .optimizer = scheduled[i].optimizer, .epochs = 5};
        qn_fit_result whole = run_well(&job);
        job.out = qn_check_path("part");
        for (int k = 0; k < 3; k++) {
            job.steps = stops[k];
            qn_fit_result part = run_well(&job);
            ck_assert_int_eq(part.steps, stops[k]);
            job.resume = job.out;
        }
        job.steps = 0;
        qn_fit_result rest = run_well(&job);
        ck_assert_int_eq(rest.steps, 5 * EPOCH);
        ck_assert_msg(strcmp(rest.parameters_sha256,
                             whole.parameters_sha256) == 0,
                      "%s: another end after stops", scheduled[i].schedule);
    }
}
END_TEST

START_TEST(every_schedule_is_among_them)
{
    const struct qn_schedule *row;
    for (int i = 0; (row = qn_schedule_at(i)); i++) {
        bool found = false;
        for (size_t k = 0; k < sizeof scheduled / sizeof *scheduled; k++)
            found |= strcspn(scheduled[k].schedule, ":+") ==
                         strlen(row->name) &&
                     strncmp(scheduled[k].schedule, row->name,
                             strlen(row->name)) == 0;
        ck_assert_msg(found, "%s is never stopped", row->name);
    }
}
END_TEST

static char warning[500];

static void keep_warning(void *user, qn_log_level level, const char *text)
{
    (void)user;
    if (level == QN_LOG_WARNING)
        snprintf(warning, sizeof warning, "%s", text);
}

// More epochs stretch a schedule that spans the run, and only such a one is
// worth a warning.
START_TEST(more_epochs_stretch_the_schedule)
{
    qn_error error = {0};
    const char *out = qn_check_path("stretched");
    qn_device *device = qn_device_open(
        &(struct qn_device_params){.log = {.callback = keep_warning}},
        &error);
    ck_assert_msg(device != NULL, "%s", error.text);
    struct job job = {.schedule = "cosine", .lr = 0.2, .out = out,
                      .epochs = 2, .device = device};
    run_well(&job);
    ck_assert_str_eq(warning, "");
    job.resume = out;
    job.epochs = 4;
    run_well(&job);
    ck_assert_ptr_nonnull(strstr(warning, "planned for 2 epochs"));
    double rates[16];
    ck_assert_int_eq(read_column(out, "steps.jsonl", "lr", rates, 16), 16);
    for (int i = 0; i < 16; i++) {
        double length = i < 8 ? 8 : 16;
        double want = 0.1 * (1 + cos(acos(-1) * i / length));
        ck_assert(fabs(rates[i] - want) < 1e-8);
    }
    *warning = 0;
    job = (struct job){.schedule = "step", .out = out, .epochs = 1,
                       .device = device};
    run_well(&job);
    job.resume = out;
    job.epochs = 2;
    run_well(&job);
    ck_assert_str_eq(warning, "");
    job.schedule = "step:gamma=0.5";
    qn_fit_result result;
    ck_assert_int_eq(run_job(&job, &result, &error), QN_BAD_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(error.text, "schedule"));
    qn_device_close(&device);
}
END_TEST

// ---- what is refused ----

static void expect_fault(const struct job *job, const char *want)
{
    qn_error error = {0};
    qn_fit_result result;
    ck_assert_int_eq(run_job(job, &result, &error), QN_BAD_ARGUMENT);
    ck_assert_msg(strstr(error.text, want) != NULL, "\"%s\" not in \"%s\"",
                  want, error.text);
}

START_TEST(settings_that_do_not_fit_are_refused)
{
    expect_fault(&(struct job){.schedule = "cosin"}, "did you mean cosine?");
    expect_fault(&(struct job){.momentum_schedule = "stepp"},
                 "did you mean step?");
    expect_fault(&(struct job){.optimizer = "sgd",
                               .momentum_schedule = "cosine"},
                 "optimizer sgd has no momentum");
    expect_fault(&(struct job){.optimizer = "sgd",
                               .schedule = "cyclic:cycle_momentum=1"},
                 "optimizer sgd has no momentum");
    expect_fault(&(struct job){.schedule = "cyclic:cycle_momentum=1",
                               .momentum_schedule = "cosine"},
                 "gives the momentum already");
    expect_fault(&(struct job){.momentum_schedule =
                                   "piecewise:at=5,factor=1/1.2,unit=step"},
                 "step 6: the schedule makes momentum");
    qn_dataset_destroy(&all_digits);
}
END_TEST

QN_CHECK_MAIN("rate", rate_reaches_the_update, momentum_reaches_the_update,
              files_tell_the_rate_of_each_step, one_cycle_gives_both,
              plateau_follows_the_metric, every_schedule_goes_on_bit_by_bit,
              every_schedule_is_among_them, more_epochs_stretch_the_schedule,
              settings_that_do_not_fit_are_refused)
