// What the host does about steps whose loss or gradient is not finite, as the
// metrics tell of them that the device keeps (stage.c): it ends the run, or
// warns where they were skipped.
#include <stdio.h>

#include "device/device.h"
#include "train/train.h"

qn_status qn_skips_begin_epoch(qn_store *store, qn_error *error)
{
    const float none = 0;
    const int index =
        qn_store_find(store, QN_GROUP_METRICS, QN_METRIC_SAMPLES);
    return qn_store_write(store, index, &none, sizeof none, error);
}

qn_status qn_skips_count(qn_store *store, int64_t *count, qn_error *error)
{
    float value = 0;
    const int index =
        qn_store_find(store, QN_GROUP_METRICS, QN_METRIC_SKIPPED);
    // A run of full batches has no such metric.
    if (index >= 0)
        QN_TRY(qn_store_read(store, index, &value, sizeof value, error));
    *count = (int64_t)value;
    return QN_OK;
}

static void warn(const qn_logger *log, const struct qn_reading *reading,
                 int64_t *told)
{
    char steps[24 * QN_FIRST_SKIPPED];
    size_t used = 0;
    int count = 0;
    for (int i = 0; i < QN_FIRST_SKIPPED; i++) {
        const int64_t step = reading->skipped_first[i];
        if (step <= *told)
            continue;
        used += (size_t)snprintf(steps + used, sizeof steps - used, "%s%lld",
                                 count++ ? ", " : "", (long long)step);
        *told = step;
    }
    if (count)
        qn_log_write(log, QN_LOG_WARNING,
                     "step%s %s skipped: the loss or a gradient is not "
                     "finite%s", count > 1 ? "s" : "", steps,
                     reading->skipped_first[QN_FIRST_SKIPPED - 1]
                         ? "; more are only counted from now on" : "");
}

static qn_status end(const struct qn_nan *run, struct qn_nan step,
                     qn_error *error)
{
    struct qn_nan at = *run;
    qn_error why = {0};
    at.step = step.step;
    at.is_gradient = step.is_gradient;
    at.was_skipped = step.was_skipped;
    at.in_a_row = step.in_a_row;
    qn_nan_explain(&at, &why);
    if (!run->has_folder)
        return qn_fail(error, QN_NOT_FINITE, "%s", why.text);
    if (run->saved_step == 0)
        return qn_fail(error, QN_NOT_FINITE, "%s; there is no checkpoint yet",
                       why.text);
    return qn_fail(error, QN_NOT_FINITE,
                   "%s; the last good checkpoint stays (after step %lld)",
                   why.text, (long long)run->saved_step);
}

// A run that skips all is none.
static qn_status check_skips(const struct qn_nan *run,
                             const struct qn_reading *reading, qn_error *error)
{
    const bool is_whole_epoch =
        reading->sample == run->settings->dataset->train_count &&
        reading->skipped_samples == reading->sample;
    if (reading->in_a_row < QN_MOST_SKIPPED && !is_whole_epoch)
        return QN_OK;
    const struct qn_nan last = {.step = reading->skipped_last,
                                .was_skipped = true,
                                .in_a_row = reading->in_a_row};
    return end(run, last, error);
}

qn_status qn_nan_check(const struct qn_nan *run,
                       const struct qn_reading *reading, int64_t *told,
                       qn_error *error)
{
    const int64_t loss = reading->bad_step, gradient = reading->bad_gradient;
    const bool is_gradient = gradient && (loss == 0 || gradient < loss);
    if (run->settings->skips_nan) {
        warn(qn_device_log(run->device), reading, told);
        return check_skips(run, reading, error);
    }
    if (loss == 0 && gradient == 0)
        return QN_OK;
    const struct qn_nan first = {.step = is_gradient ? gradient : loss,
                                 .is_gradient = is_gradient};
    return end(run, first, error);
}
