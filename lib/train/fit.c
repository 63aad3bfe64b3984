// The training loop: steps, epochs, checkpoints, resume.
//
// Between the steps of an epoch nothing waits for the device, but for readings
// that are already old (meter.c), checkpoints that were asked for, and the
// first step of all, whose end is what a user waits for.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "device/device.h"
#include "train/train.h"

// Seconds between two calls of the progress callback.
static const double progress_period = 0.1;
// And between two checkpoints of iterations over all samples, which may take
// less time than to write what a minimizer remembers.
static const double save_period = 10;

struct fit {
    qn_device *device;
    const struct qn_fit_params *params;
    struct qn_settings settings;
    char folder[QN_PATH_SIZE]; // empty: no files
    json_t *settings_json;     // NULL: no files
    qn_store *store;
    struct qn_stepper *stepper;
    struct qn_full_batch *full_batch; // instead of stepper and meter, or NULL
    struct qn_tester *tester;
    struct qn_meter *meter;
    struct qn_feed feed;
    struct qn_run_state state;
    struct qn_reading reading;
    qn_fit_result *result;
    double start;         // of this call
    double last_progress; // when the callback was called
    double busy_seconds;  // of steps, without those that had to compile
    int64_t busy_samples;
    double epoch_seconds; // the same of this epoch
    int64_t epoch_samples;
    double clock; // when the steps began that are not counted yet; 0: at rest
    int64_t clock_from; // and with which sample of the epoch
    bool stop;          // asked for by the callback
    double last_save;   // when last.safetensors was written
    bool is_unsaved;    // epochs came after it
    int64_t saved_step; // of the newest checkpoint; 0: none, or of no step
    int64_t told_step;  // the last one that was told to be skipped
};

static bool has_folder(const struct fit *fit)
{
    return *fit->folder != 0;
}

// Samples of a step.
static int64_t step_size(const struct fit *fit)
{
    return fit->settings.minimizer.row ? fit->settings.dataset->train_count
                                       : fit->settings.batch_size;
}

// ---- telling how it goes ----

// Samples a second in this epoch, or in all of them while it has none.
static double rate(const struct fit *fit)
{
    double seconds = fit->epoch_seconds;
    int64_t samples = fit->epoch_samples;
    if (fit->clock > 0) {
        seconds += qn_os_seconds() - fit->clock;
        samples += fit->reading.sample - fit->clock_from;
    }
    if (samples <= 0) {
        seconds = fit->busy_seconds;
        samples = fit->busy_samples;
    }
    return seconds > 0 ? (double)samples / seconds : 0;
}

static qn_progress describe(const struct fit *fit)
{
    const struct qn_settings *settings = &fit->settings;
    int64_t count = settings->dataset->train_count;
    int64_t per_epoch = (count + step_size(fit) - 1) / step_size(fit);
    const struct qn_reading *reading = &fit->reading;
    int64_t counted = reading->sample - reading->skipped_samples;
    double samples = counted ? (double)counted : 1;
    double per_second = rate(fit);
    int64_t steps = per_epoch * settings->epochs;
    steps = steps < settings->max_steps ? steps : settings->max_steps;
    int64_t last = reading->step > 0 ? reading->step - 1 : 0;
    int64_t left = (settings->epochs - fit->state.epoch) * count -
                   reading->sample;
    if (left > (steps - reading->step) * step_size(fit))
        left = (steps - reading->step) * step_size(fit);
    return (qn_progress){
        .epoch = fit->state.epoch + 1,
        .epochs = settings->epochs,
        .step = reading->step,
        .steps = steps,
        .sample = reading->sample,
        .samples = count,
        .loss = counted ? reading->loss_sum / samples : (double)NAN,
        .accuracy = reading->correct / samples,
        .samples_per_second = per_second,
        .seconds = qn_os_seconds() - fit->start,
        .seconds_left = per_second > 0 ? (double)left / per_second
                                       : (double)NAN,
        .test_loss = (double)NAN,
        .test_accuracy = (double)NAN,
        .average_test_loss = (double)NAN,
        .average_test_accuracy = (double)NAN,
        .lr = qn_rates_lr(settings, &fit->state, last),
        .momentum = qn_rates_momentum(settings, &fit->state, last),
        .skipped_steps = reading->skipped,
    };
}

static void call_back(struct fit *fit, const qn_progress *progress)
{
    fit->last_progress = qn_os_seconds();
    if (fit->params->progress &&
        fit->params->progress(fit->params->user, progress) != 0)
        fit->stop = true;
}

// ---- setting up ----

static qn_status open_folder(struct fit *fit, const qn_run *run,
                             qn_error *error)
{
    const char *out = fit->params->out;
    if (!out && run)
        out = run->folder;
    if (!out)
        return QN_OK;
    if (snprintf(fit->folder, sizeof fit->folder, "%s", out) >=
        (int)sizeof fit->folder - 64)
        return qn_fail(error, QN_BAD_ARGUMENT, "%.60s...: too long", out);
    return qn_os_make_folder(out, false, error);
}

// Asked within an iteration over all samples.
static bool is_stopped(void *user)
{
    struct fit *fit = user;
    if (qn_os_seconds() - fit->last_progress >= progress_period) {
        qn_progress progress = describe(fit);
        progress.loss = fit->state.train_loss;
        progress.accuracy = fit->state.train_accuracy;
        call_back(fit, &progress);
    }
    return fit->stop;
}

static qn_status build_steps(struct fit *fit, qn_error *error)
{
    const struct qn_full_batch_watch watch = {is_stopped, fit};
    if (fit->settings.minimizer.row)
        return qn_full_batch_create(fit->device, fit->store, &fit->settings,
                                    &watch, &fit->full_batch, error);
    QN_TRY(qn_stepper_create(&fit->settings, &fit->stepper, error));
    QN_TRY(qn_stepper_bind(fit->stepper, fit->device, fit->store,
                           fit->settings.seed, error));
    return qn_meter_create(fit->store, &fit->meter, error);
}

static qn_status build(struct fit *fit, qn_error *error)
{
    fit->store = qn_store_create(fit->device, error);
    if (!fit->store)
        return QN_DEVICE;
    QN_TRY(build_steps(fit, error));
    QN_TRY(qn_tester_create(fit->device, fit->store, &fit->settings,
                            &fit->tester, error));
    return qn_feed_upload(&fit->feed, fit->store,
                          fit->settings.dataset, error);
}

// A resumed run takes its variables from the checkpoint, a new one its
// parameters from the initializers; all else begins as zeros.
static qn_status fill_variables(struct fit *fit, const qn_run *run,
                                qn_error *error)
{
    const char *fingerprint = qn_device_fingerprint(fit->device);
    if (!run) {
        snprintf(fit->state.device, sizeof fit->state.device, "%s",
                 fingerprint);
        if (!fit->full_batch)
            fit->state.at =
                qn_optimizer_start(fit->settings.optimizer.optimizer);
        qn_rates_start(&fit->settings, &fit->state);
        fit->state.train_loss = fit->state.train_accuracy = (double)NAN;
        fit->state.test_loss = fit->state.test_accuracy = (double)NAN;
        fit->state.average_test_loss = (double)NAN;
        fit->state.average_test_accuracy = (double)NAN;
        QN_TRY(qn_model_init(fit->settings.model, fit->store,
                             fit->settings.seed, error));
        return qn_optimizer_begin(fit->store, error);
    }
    if (strcmp(fit->state.device, fingerprint) != 0)
        qn_log_write(qn_device_log(fit->device), QN_LOG_WARNING,
                     "%s was saved with another device, driver or build: the "
                     "run goes on within rounding, not bit by bit",
                     run->path);
    snprintf(fit->state.device, sizeof fit->state.device, "%s", fingerprint);
    return qn_checkpoint_load(run->checkpoint, fit->store, false, error);
}

static qn_status make_json(struct fit *fit, qn_error *error)
{
    fit->settings_json = qn_settings_json(&fit->settings);
    if (fit->settings_json)
        return QN_OK;
    return qn_fail(error, QN_BAD_ARGUMENT,
                   "the settings cannot be written as JSON: is the path of "
                   "%s or the model's name not UTF-8?",
                   fit->settings.dataset->name);
}

static qn_status check_resume(struct fit *fit, const qn_run *run,
                              qn_error *error)
{
    const struct qn_run_state *state = &run->state;
    QN_TRY(make_json(fit, error));
    QN_TRY(qn_settings_compare(run->settings, fit->settings_json, error));
    qn_warn_of_parts(fit->device, run->settings, &fit->settings);
    if (state->epoch > fit->settings.epochs)
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "the run has %d epochs behind it already, so %d is "
                       "too few", state->epoch, fit->settings.epochs);
    if (state->sample >= fit->settings.dataset->train_count ||
        state->sample % step_size(fit) != 0)
        return qn_fail(error, QN_FORMAT, "%s: its position lies outside of "
                       "the data set", run->path);
    if (state->step > 0 && fit->settings.epochs != run->params.epochs &&
        qn_rates_take_length(&fit->settings))
        qn_log_write(qn_device_log(fit->device), QN_LOG_WARNING,
                     "the run was planned for %d epochs: from here on the "
                     "schedule is that of a run of %d", run->params.epochs,
                     fit->settings.epochs);
    return QN_OK;
}

static qn_status set_up(struct fit *fit, const qn_run *run, qn_error *error)
{
    QN_TRY(qn_settings_resolve(fit->params, &fit->settings, error));
    QN_TRY(qn_settings_preflight(fit->device, &fit->settings, error));
    if (run)
        QN_TRY(check_resume(fit, run, error));
    QN_TRY(open_folder(fit, run, error));
    if (run)
        fit->state = run->state;
    fit->told_step = fit->saved_step = fit->state.step;
    qn_progress start = describe(fit);
    call_back(fit, &start);
    QN_TRY(build(fit, error));
    QN_TRY(fill_variables(fit, run, error));
    if (fit->full_batch)
        QN_TRY(qn_full_batch_begin(fit->full_batch, run != NULL, error));
    // An earlier run's lines in this folder would mix with this one's.
    if (!has_folder(fit))
        return QN_OK;
    QN_TRY(qn_folder_cut_metrics(fit->folder, fit->state.epoch, error));
    return qn_folder_cut_steps(fit->folder, fit->state.step, error);
}

// ---- saving ----

// The settings as JSON are made when first needed, after the first step: the
// check sum of the data takes a while.
static qn_status begin_files(struct fit *fit, qn_error *error)
{
    if (!fit->settings_json)
        QN_TRY(make_json(fit, error));
    return qn_folder_write_config(fit->folder, fit->settings_json, error);
}

static qn_status save(struct fit *fit, const char *name, qn_error *error)
{
    if (!has_folder(fit))
        return QN_OK;
    if (fit->full_batch)
        QN_TRY(qn_full_batch_save(fit->full_batch, error));
    QN_TRY(qn_check_parameters(fit->store, fit->state.step, error));
    QN_TRY(qn_folder_save(fit->folder, name, fit->store, fit->settings_json,
                          &fit->state, error));
    fit->saved_step = fit->state.step;
    return QN_OK;
}

// ---- what was read back ----

static qn_status check_reading(struct fit *fit, qn_error *error)
{
    if (fit->full_batch)
        return QN_OK; // tells itself
    const struct qn_nan nan = {
        .device = fit->device,
        .store = fit->store,
        .settings = &fit->settings,
        .state = &fit->state,
        .stepper = &fit->stepper,
        .order = fit->feed.order,
        .has_folder = has_folder(fit),
        .saved_step = fit->saved_step,
    };
    return qn_nan_check(&nan, &fit->reading, &fit->told_step, error);
}

// ---- steps ----

static qn_status run_step(struct fit *fit, int64_t count, qn_error *error)
{
    struct qn_run_state *state = &fit->state;
    state->at.step = state->step + 1;
    QN_TRY(qn_rates_set(&fit->settings, state, error));
    const struct qn_step step = {
        .at = &state->at, .sample = state->sample, .count = count};
    QN_TRY(qn_stepper_run(fit->stepper, &step, error));
    state->step++;
    state->sample += count;
    return QN_OK;
}

// Ends the time that counts as training.
static void stop_clock(struct fit *fit)
{
    if (fit->clock > 0) {
        double seconds = qn_os_seconds() - fit->clock;
        int64_t samples = fit->state.sample - fit->clock_from;
        fit->epoch_seconds += seconds;
        fit->epoch_samples += samples;
        fit->busy_seconds += seconds;
        fit->busy_samples += samples;
    }
    fit->clock = 0;
}

static void start_clock(struct fit *fit)
{
    fit->clock = qn_os_seconds();
    fit->clock_from = fit->state.sample;
}

// The end of a plan's first step, which drivers may have compiled for: this
// time does not count.
static qn_status after_first_step(struct fit *fit, qn_error *error)
{
    QN_TRY(qn_meter_finish(fit->meter, fit->state.step, fit->state.sample,
                           &fit->reading, error));
    start_clock(fit);
    if (fit->result->first_step_seconds > 0)
        return QN_OK;
    fit->result->first_step_seconds = qn_os_process_seconds();
    fit->last_progress = 0; // even the shortest run is seen to move
    return has_folder(fit) ? begin_files(fit, error) : QN_OK;
}

// Reads the metrics at this very step; what is not finite is not saved.
static qn_status catch_up(struct fit *fit, qn_error *error)
{
    if (!fit->full_batch)
        QN_TRY(qn_meter_finish(fit->meter, fit->state.step,
                               fit->state.sample, &fit->reading, error));
    stop_clock(fit);
    return check_reading(fit, error);
}

static qn_status save_last(struct fit *fit, qn_error *error)
{
    QN_TRY(catch_up(fit, error));
    QN_TRY(save(fit, "last.safetensors", error));
    start_clock(fit);
    return QN_OK;
}

// The loss of the step that was just run, into steps.jsonl.
static qn_status log_step(struct fit *fit, qn_error *error)
{
    float loss;
    int index = qn_store_find(fit->store, QN_GROUP_LOSS, QN_METRIC_NOW);
    QN_TRY(catch_up(fit, error));
    qn_progress where = describe(fit);
    if (!fit->full_batch)
        QN_TRY(qn_store_read(fit->store, index, &loss, sizeof loss, error));
    QN_TRY(qn_folder_add_step(fit->folder, &where,
                              fit->full_batch ? where.loss : (double)loss,
                              error));
    start_clock(fit);
    return QN_OK;
}

static bool is_every(int64_t step, int64_t every)
{
    return every > 0 && step % every == 0;
}

static qn_status after_step(struct fit *fit, bool is_first, qn_error *error)
{
    const struct qn_settings *settings = &fit->settings;
    bool is_new = false, at_end =
        fit->state.sample == settings->dataset->train_count;
    if (is_first)
        QN_TRY(after_first_step(fit, error));
    else
        QN_TRY(qn_meter_tick(fit->meter, fit->state.step, fit->state.sample,
                             &fit->reading, &is_new, error));
    if (is_new)
        QN_TRY(check_reading(fit, error));
    if (has_folder(fit) && is_every(fit->state.step, settings->log_every))
        QN_TRY(log_step(fit, error));
    bool saves = has_folder(fit) && !at_end &&
                 is_every(fit->state.step, settings->checkpoint_every);
    if (saves)
        QN_TRY(save_last(fit, error));
    if (saves || qn_os_seconds() - fit->last_progress >= progress_period) {
        qn_progress progress = describe(fit);
        call_back(fit, &progress);
    }
    return QN_OK;
}

// ---- epochs ----

static qn_status begin_epoch(struct fit *fit, qn_error *error)
{
    const struct qn_settings *settings = &fit->settings;
    fit->reading = (struct qn_reading){.step = fit->state.step,
                                       .skipped = fit->reading.skipped};
    if (!fit->full_batch && fit->state.sample == 0)
        QN_TRY(qn_skips_begin_epoch(fit->store, error));
    if (!fit->full_batch)
        QN_TRY(qn_feed_shuffle(&fit->feed, fit->store, settings->seed,
                               fit->state.epoch + 1, error));
    fit->epoch_seconds = 0;
    fit->epoch_samples = 0;
    start_clock(fit);
    return QN_OK;
}

static bool is_over(const struct fit *fit)
{
    return fit->stop || fit->state.step >= fit->settings.max_steps ||
           (fit->full_batch && qn_full_batch_stopped(fit->full_batch));
}

// A step over all samples. One that was stopped has not been.
static qn_status run_iteration(struct fit *fit, qn_error *error)
{
    const int64_t count = fit->settings.dataset->train_count;
    struct qn_iteration iteration;
    qn_error why = {0};
    if (has_folder(fit) && fit->result->first_step_seconds == 0)
        QN_TRY(begin_files(fit, error));
    qn_status status =
        qn_full_batch_step(fit->full_batch, &iteration, &why);
    if (status == QN_INTERRUPTED && fit->stop)
        return QN_OK;
    if (status != QN_OK)
        return qn_fail(error, status, "%s%s", why.text,
                       has_folder(fit) && fit->state.step
                           ? "; the last good checkpoint stays"
                           : "");
    if (fit->result->first_step_seconds == 0)
        fit->result->first_step_seconds = qn_os_process_seconds();
    if (!iteration.moved)
        return QN_OK;
    fit->state.step++;
    fit->state.sample = count;
    fit->reading = (struct qn_reading){.step = fit->state.step,
                                       .sample = count,
                                       .loss_sum =
                                           iteration.loss * (double)count,
                                       .correct = iteration.correct};
    if (has_folder(fit) && is_every(fit->state.step, fit->settings.log_every))
        QN_TRY(log_step(fit, error));
    return QN_OK;
}

static qn_status run_steps(struct fit *fit, qn_error *error)
{
    int64_t count = fit->settings.dataset->train_count;
    if (fit->full_batch)
        return run_iteration(fit, error);
    while (fit->state.sample < count && !is_over(fit)) {
        int64_t left = count - fit->state.sample;
        int64_t batch = fit->settings.batch_size;
        batch = batch < left ? batch : left;
        bool is_first = !qn_stepper_has_run(fit->stepper, batch);
        // What came before counts; this step does not.
        if (is_first && fit->state.sample > 0)
            QN_TRY(catch_up(fit, error));
        QN_TRY(run_step(fit, batch, error));
        QN_TRY(after_step(fit, is_first, error));
    }
    return QN_OK;
}

static bool is_better(const struct qn_run_state *state)
{
    if (state->best_epoch == 0 ||
        state->test_accuracy != state->best_test_accuracy)
        return state->best_epoch == 0 ||
               state->test_accuracy > state->best_test_accuracy;
    return state->test_loss < state->best_test_loss;
}

static qn_status save_epoch(struct fit *fit, const qn_progress *end,
                            qn_error *error)
{
    struct qn_run_state *state = &fit->state;
    bool better = is_better(state);
    if (better) {
        state->best_epoch = state->epoch;
        state->best_test_loss = state->test_loss;
        state->best_test_accuracy = state->test_accuracy;
    }
    if (!has_folder(fit))
        return QN_OK;
    // A crash between these lines repeats the epoch and comes to the same.
    QN_TRY(qn_folder_cut_metrics(fit->folder, end->epoch - 1, error));
    QN_TRY(qn_folder_add_metrics(fit->folder, end, error));
    if (better)
        QN_TRY(save(fit, "best.safetensors", error));
    fit->is_unsaved = fit->full_batch != NULL;
    if (fit->is_unsaved && qn_os_seconds() - fit->last_save < save_period &&
        !is_every(state->step, fit->settings.checkpoint_every))
        return QN_OK;
    fit->last_save = qn_os_seconds();
    fit->is_unsaved = false;
    return save(fit, "last.safetensors", error);
}

static qn_status end_epoch(struct fit *fit, qn_error *error)
{
    struct qn_run_state *state = &fit->state;
    QN_TRY(catch_up(fit, error));
    qn_progress end = describe(fit);
    QN_TRY(qn_tester_run(fit->tester, state, error));
    state->train_loss = end.loss;
    state->train_accuracy = end.accuracy;
    qn_rates_observe(&fit->settings, state);
    state->epoch++;
    state->sample = 0;
    end.epoch_end = true;
    end.seconds = qn_os_seconds() - fit->start;
    end.test_loss = state->test_loss;
    end.test_accuracy = state->test_accuracy;
    end.average_test_loss = state->average_test_loss;
    end.average_test_accuracy = state->average_test_accuracy;
    QN_TRY(save_epoch(fit, &end, error));
    call_back(fit, &end);
    return QN_OK;
}

// A run without a step: its first values, to go on from.
static qn_status save_start(struct fit *fit, qn_error *error)
{
    if (has_folder(fit))
        QN_TRY(begin_files(fit, error));
    return save(fit, "last.safetensors", error);
}

static qn_status run_epochs(struct fit *fit, qn_error *error)
{
    if (fit->settings.max_steps == 0 && fit->state.step == 0)
        return save_start(fit, error);
    while (fit->state.epoch < fit->settings.epochs && !is_over(fit)) {
        QN_TRY(begin_epoch(fit, error));
        QN_TRY(run_steps(fit, error));
        if (fit->state.sample == fit->settings.dataset->train_count)
            QN_TRY(end_epoch(fit, error));
        else
            QN_TRY(save_last(fit, error));
    }
    if (fit->is_unsaved)
        QN_TRY(save(fit, "last.safetensors", error));
    fit->result->interrupted = fit->stop &&
                               fit->state.epoch < fit->settings.epochs;
    return QN_OK;
}

// ---- the result ----

static qn_status fill_result(struct fit *fit, qn_error *error)
{
    const struct qn_run_state *state = &fit->state;
    qn_fit_result *result = fit->result;
    result->parameters = qn_count_parameters(fit->store);
    result->epochs = state->epoch;
    result->steps = state->step;
    QN_TRY(qn_skips_count(fit->store, &result->skipped_steps, error));
    result->micro_batch = fit->settings.micro_batch;
    result->seconds = qn_os_seconds() - fit->start;
    result->samples_per_second =
        fit->busy_seconds > 0
            ? (double)fit->busy_samples / fit->busy_seconds
            : 0;
    result->train_loss = state->train_loss;
    result->train_accuracy = state->train_accuracy;
    result->test_loss = state->test_loss;
    result->test_accuracy = state->test_accuracy;
    result->average_test_loss = state->average_test_loss;
    result->average_test_accuracy = state->average_test_accuracy;
    result->best_epoch = state->best_epoch;
    result->best_test_loss = state->best_test_loss;
    result->best_test_accuracy = state->best_test_accuracy;
    if (fit->full_batch)
        result->stopped = qn_full_batch_stopped(fit->full_batch);
    return qn_store_hash(fit->store, result->parameters_sha256, error);
}

static void finish(struct fit *fit)
{
    qn_meter_destroy(&fit->meter);
    qn_tester_destroy(&fit->tester);
    qn_stepper_destroy(&fit->stepper);
    qn_full_batch_destroy(&fit->full_batch);
    qn_store_destroy(&fit->store);
    json_decref(fit->settings_json);
    qn_feed_finish(&fit->feed);
}

double qn_process_seconds(void)
{
    return qn_os_process_seconds();
}

qn_status qn_fit(qn_device *device, const struct qn_fit_params *params,
                 qn_fit_result *result, qn_error *error)
{
    QN_REQUIRE(error, device && params && result);
    struct fit fit = {.device = device, .params = params, .result = result,
                      .start = qn_os_seconds()};
    qn_run *run = NULL;
    *result = (qn_fit_result){0};
    if (params->resume && !(run = qn_run_open(params->resume, error)))
        return error && error->status ? error->status : QN_IO;
    qn_status status = set_up(&fit, run, error);
    qn_run_close(&run);
    if (status == QN_OK)
        status = run_epochs(&fit, error);
    if (status == QN_OK)
        status = fill_result(&fit, error);
    finish(&fit);
    if (status == QN_OK && result->interrupted)
        status = qn_fail(error, QN_INTERRUPTED,
                         "stopped after step %lld of epoch %d",
                         (long long)result->steps, result->epochs + 1);
    return status;
}
