// The range test of learning rates (Smith: Cyclical learning rates for
// training neural networks, WACV 2017): a short training whose rate rises from
// step to step, and what its loss tells. Writes no checkpoint.
#include <math.h>
#include <stdlib.h>

#include "base/os.h"
#include "train/train.h"

// The loss is averaged over about this share of the steps.
static const double window = 0.05;
// Ends once the smoothed loss is so many times the least one.
static const double divergence = 4;
// What is left of the first loss where it has fallen at all.
static const double progress_share = 0.98;
// Seconds between two calls of the progress callback.
static const double progress_period = 0.1;

struct range_test {
    qn_device *device;
    const struct qn_fit_params *params;
    struct qn_settings settings;
    qn_dataset dataset; // whole batches of it
    qn_store *store;
    struct qn_stepper *stepper;
    struct qn_feed feed;
    struct qn_optimizer_step at;
    int64_t sample;
    int epoch; // under way, from 1; 0: none yet
    int loss_index;
    double mean; // of losses, not yet corrected for its start at 0
    double least;
    double start, last_progress;
    bool stop; // asked for by the callback
    struct qn_lr_range *range;
};

// ---- setting up ----

static qn_status check(const struct qn_fit_params *params, double from,
                       double to, int steps, qn_error *error)
{
    QN_REQUIRE(error, from > 0 && from < to && isfinite(to));
    QN_REQUIRE(error, steps >= 10 && steps <= 1000000);
    if (params->resume)
        return qn_fail(error, QN_BAD_ARGUMENT, "a range test of learning "
                       "rates begins anew: it takes no run to go on from");
    if (params->schedule || params->momentum_schedule)
        return qn_fail(error, QN_BAD_ARGUMENT, "a range test of learning "
                       "rates is a schedule of its own: give no other");
    return QN_OK;
}

static qn_status set_up(struct range_test *test, int steps, qn_error *error)
{
    struct qn_settings *settings = &test->settings;
    QN_TRY(qn_settings_resolve(test->params, settings, error));
    if (settings->minimizer.row)
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "%s searches for the length of each step itself: a "
                       "range test of learning rates is for other optimizers",
                       settings->minimizer.row->name);
    settings->log_every = 1; // keeps each step's loss
    // One size of batch, so one plan.
    test->dataset = *test->params->dataset;
    test->dataset.train_count -=
        test->dataset.train_count % settings->batch_size;
    settings->dataset = &test->dataset;
    QN_TRY(qn_settings_preflight(test->device, settings, error));
    if (test->params->out) {
        QN_TRY(qn_os_make_folder(test->params->out, false, error));
        QN_TRY(qn_folder_cut_range(test->params->out, error));
    }
    test->range->points = calloc((size_t)steps, sizeof *test->range->points);
    if (!test->range->points)
        return qn_fail_memory(error, 1);
    test->store = qn_store_create(test->device, error);
    if (!test->store)
        return QN_DEVICE;
    QN_TRY(qn_stepper_create(settings, &test->stepper, error));
    QN_TRY(qn_stepper_bind(test->stepper, test->device, test->store,
                           settings->seed, error));
    QN_TRY(qn_feed_upload(&test->feed, test->store, &test->dataset, error));
    test->loss_index =
        qn_store_find(test->store, QN_GROUP_LOSS, QN_METRIC_NOW);
    test->at = qn_optimizer_start(settings->optimizer.optimizer);
    test->sample = test->dataset.train_count;
    QN_TRY(qn_model_init(settings->model, test->store, settings->seed, error));
    return qn_optimizer_begin(test->store, error);
}

// ---- steps ----

static qn_status run_step(struct range_test *test, double lr, double *loss,
                          qn_error *error)
{
    float value;
    if (test->sample == test->dataset.train_count) {
        QN_TRY(qn_feed_shuffle(&test->feed, test->store, test->settings.seed,
                               ++test->epoch, error));
        test->sample = 0;
    }
    test->at.step = test->range->count + 1;
    test->at.lr = lr;
    const struct qn_step step = {.at = &test->at,
                                 .sample = test->sample,
                                 .count = test->settings.batch_size};
    QN_TRY(qn_stepper_run(test->stepper, &step, error));
    test->sample += step.count;
    QN_TRY(qn_store_read(test->store, test->loss_index, &value, sizeof value,
                         error));
    *loss = (double)value;
    return QN_OK;
}

// The mean of the losses so far with weights that fade, corrected for its
// start as Adam's.
static double smooth(struct range_test *test, double loss, int steps)
{
    double keep = 1 - 1 / fmax(window * steps, 1);
    test->mean = keep * test->mean + (1 - keep) * loss;
    return test->mean / (1 - pow(keep, test->range->count + 1));
}

static void call_back(struct range_test *test, int steps)
{
    const struct qn_fit_params *params = test->params;
    const struct qn_lr_range *range = test->range;
    double now = qn_os_seconds();
    if (!params->progress || now - test->last_progress < progress_period)
        return;
    const struct qn_lr_point *last =
        range->count ? &range->points[range->count - 1] : NULL;
    const qn_progress progress = {
        .epoch = 1,
        .epochs = 1,
        .step = range->count,
        .steps = steps,
        .sample = range->count,
        .samples = steps,
        .loss = last ? last->smooth_loss : (double)NAN,
        .accuracy = (double)NAN,
        .seconds = now - test->start,
        .seconds_left = (double)NAN,
        .test_loss = (double)NAN,
        .test_accuracy = (double)NAN,
        .lr = last ? last->lr : (double)NAN,
        .momentum = (double)NAN};
    test->last_progress = now;
    test->stop = params->progress(params->user, &progress) != 0;
}

static qn_status run_steps(struct range_test *test, double from, double to,
                           int steps, qn_error *error)
{
    struct qn_lr_range *range = test->range;
    call_back(test, steps);
    while (range->count < steps && !range->diverged && !test->stop) {
        double share = range->count / (double)(steps - 1), loss;
        double lr = from * pow(to / from, share);
        QN_TRY(run_step(test, lr, &loss, error));
        range->diverged = !isfinite(loss);
        if (range->diverged)
            break;
        struct qn_lr_point *point = &range->points[range->count];
        *point = (struct qn_lr_point){lr, loss, smooth(test, loss, steps)};
        range->diverged = point->smooth_loss > divergence * test->least;
        test->least = fmin(test->least, point->smooth_loss);
        range->count++;
        if (test->params->out)
            QN_TRY(qn_folder_add_range(test->params->out, range->count,
                                       point, error));
        call_back(test, steps);
    }
    if (test->stop)
        return qn_fail(error, QN_INTERRUPTED, "stopped after step %d",
                       range->count);
    return QN_OK;
}

// ---- what it tells ----

// The fall of the smoothed loss per unit of log lr, over the window.
static double slope(const struct qn_lr_range *range, int i, int half)
{
    const struct qn_lr_point *a = &range->points[i - half];
    const struct qn_lr_point *b = &range->points[i + half];
    return (a->smooth_loss - b->smooth_loss) / log(b->lr / a->lr);
}

void qn_lr_range_judge(struct qn_lr_range *range, int steps)
{
    int least = 0, half = (int)fmax(window * steps / 2, 1);
    double fastest = 0;
    range->steepest_lr = range->least_lr = range->suggestion = (double)NAN;
    for (int i = 1; i < range->count; i++)
        if (range->points[i].smooth_loss < range->points[least].smooth_loss)
            least = i;
    if (range->count == 0 || range->points[least].smooth_loss >
                                 progress_share * range->points[0].smooth_loss)
        return;
    range->least_lr = range->points[least].lr;
    range->suggestion = range->least_lr / 10;
    for (int i = half; i + half <= least; i++)
        if (slope(range, i, half) > fastest) {
            fastest = slope(range, i, half);
            range->steepest_lr = range->points[i].lr;
        }
}

static void finish(struct range_test *test)
{
    qn_stepper_destroy(&test->stepper);
    qn_store_destroy(&test->store);
    qn_feed_finish(&test->feed);
}

qn_status qn_lr_range_run(qn_device *device,
                          const struct qn_fit_params *params, double from,
                          double to, int steps, struct qn_lr_range *range,
                          qn_error *error)
{
    QN_REQUIRE(error, device && params && range);
    struct range_test test = {.device = device,
                              .params = params,
                              .range = range,
                              .least = (double)INFINITY,
                              .start = qn_os_seconds()};
    *range = (struct qn_lr_range){0};
    QN_TRY(check(params, from, to, steps, error));
    qn_status status = set_up(&test, steps, error);
    if (status == QN_OK)
        status = run_steps(&test, from, to, steps, error);
    if (status == QN_OK || status == QN_INTERRUPTED)
        qn_lr_range_judge(range, steps);
    else
        qn_lr_range_finish(range);
    finish(&test);
    return status;
}

void qn_lr_range_finish(struct qn_lr_range *range)
{
    free(range->points);
    *range = (struct qn_lr_range){0};
}
