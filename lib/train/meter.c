// Reads the metrics back while steps go on.
//
// After every `stride` steps a copy of the metrics is enqueued, in turn into
// two places. Before a place is used again its last copy is waited for: that
// one lies `stride` steps back, so the device has work all the while, and the
// queue never holds more than two strides. The stride follows the speed.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "device/device.h"
#include "plan/store.h"
#include "train/train.h"

// Seconds between two readings.
static const double period = 0.03;

// The variables of the group that are read.
enum { LOSS, CORRECT, BAD, SKIPPED, ROW, FIRST, LAST, SAMPLES, METRICS };
static const char *const names[METRICS] = {
    [LOSS] = QN_METRIC_LOSS,   [CORRECT] = QN_METRIC_CORRECT,
    [BAD] = QN_METRIC_BAD,     [SKIPPED] = QN_METRIC_SKIPPED,
    [ROW] = QN_METRIC_ROW,     [FIRST] = QN_METRIC_FIRST,
    [LAST] = QN_METRIC_LAST,   [SAMPLES] = QN_METRIC_SAMPLES,
};

struct place {
    struct qn_readback *readback, *watch;
    bool is_busy;
    int64_t step, sample;
};

struct qn_meter {
    struct place places[2];
    int next;
    int64_t stride;
    int64_t since;    // steps since the last copy was enqueued
    double last_time; // when a reading came in
    int64_t last_step;
    int64_t at[METRICS]; // bytes into the group
    int chunk_count; // that the optimizer watches
};

static qn_status find_metric(qn_store *store, const char *name,
                             int64_t *offset, qn_error *error)
{
    qn_store_entry entry;
    int index = qn_store_find(store, QN_GROUP_METRICS, name);
    if (index < 0 || qn_store_entry_at(store, index, &entry) != QN_OK)
        return qn_fail(error, QN_BAD_ARGUMENT, "the store has no metric %s",
                       name);
    *offset = entry.offset;
    return QN_OK;
}

static qn_status set_up(struct qn_meter *meter, qn_store *store,
                        qn_error *error)
{
    struct qn_buffer *buffer = qn_store_buffer(store, QN_GROUP_METRICS);
    struct qn_buffer *watch = qn_store_buffer(store, QN_GROUP_WATCH);
    qn_store_entry entry;
    const int index = qn_store_find(store, QN_GROUP_WATCH, "chunks");
    if (index >= 0 && qn_store_entry_at(store, index, &entry) == QN_OK)
        meter->chunk_count = (int)qn_shape_count(&entry.shape) - 1;
    for (int i = 0; i < METRICS; i++)
        QN_TRY(find_metric(store, names[i], &meter->at[i], error));
    for (int i = 0; i < 2; i++) {
        struct place *place = &meter->places[i];
        QN_TRY(qn_readback_create(buffer, &place->readback, error));
        if (watch)
            QN_TRY(qn_readback_create(watch, &place->watch, error));
    }
    return QN_OK;
}

qn_status qn_meter_create(qn_store *store, struct qn_meter **out,
                          qn_error *error)
{
    struct qn_meter *meter = calloc(1, sizeof *meter);
    *out = NULL;
    if (!meter)
        return qn_fail_memory(error, sizeof *meter);
    meter->stride = 1;
    qn_status status = set_up(meter, store, error);
    if (status != QN_OK)
        qn_meter_destroy(&meter);
    *out = meter;
    return status;
}

void qn_meter_destroy(struct qn_meter **meter)
{
    if (!meter || !*meter)
        return;
    for (int i = 0; i < 2; i++) {
        qn_readback_destroy(&(*meter)->places[i].readback);
        qn_readback_destroy(&(*meter)->places[i].watch);
    }
    free(*meter);
    *meter = NULL;
}

static double float_at(const void *data, int64_t offset)
{
    float value;
    memcpy(&value, (const unsigned char *)data + offset, sizeof value);
    return (double)value;
}

// The first step that the watch holds; 0: none.
static int64_t first_step(const int32_t *watch, int count)
{
    int64_t first = 0;
    for (int i = 0; i < count; i++)
        if (watch[i] && (!first || watch[i] < first))
            first = watch[i];
    return first;
}

// Waits for a copy and takes over what it brought.
static qn_status take(struct qn_meter *meter, struct place *place,
                      struct qn_reading *reading, qn_error *error)
{
    const void *data, *watch = NULL;
    QN_TRY(qn_readback_wait(place->readback, &data, error));
    if (place->watch)
        QN_TRY(qn_readback_wait(place->watch, &watch, error));
    *reading = (struct qn_reading){
        .step = place->step,
        .sample = place->sample,
        .loss_sum = float_at(data, meter->at[LOSS]),
        .correct = float_at(data, meter->at[CORRECT]),
        .bad_step = (int64_t)float_at(data, meter->at[BAD]),
        .bad_gradient = watch ? first_step(watch, meter->chunk_count) : 0,
        .skipped = (int64_t)float_at(data, meter->at[SKIPPED]),
        .in_a_row = (int64_t)float_at(data, meter->at[ROW]),
        .skipped_last = (int64_t)float_at(data, meter->at[LAST]),
        .skipped_samples = (int64_t)float_at(data, meter->at[SAMPLES]),
    };
    for (int i = 0; i < QN_FIRST_SKIPPED; i++)
        reading->skipped_first[i] = (int64_t)float_at(
            data, meter->at[FIRST] + i * (int64_t)sizeof(float));
    place->is_busy = false;
    return QN_OK;
}

// The stride that takes about a period, at most doubled at once.
static void adapt(struct qn_meter *meter, int64_t step)
{
    double now = qn_os_seconds();
    double each = (now - meter->last_time) / (double)(step - meter->last_step);
    double wanted = each > 0 ? period / each : (double)INT32_MAX;
    if (meter->last_step > 0) {
        int64_t most = 2 * meter->stride;
        meter->stride = wanted > (double)most ? most : (int64_t)wanted;
        meter->stride = meter->stride < 1 ? 1 : meter->stride;
    }
    meter->last_time = now;
    meter->last_step = step;
}

static qn_status start(struct qn_meter *meter, struct place *place,
                       int64_t step, int64_t sample, qn_error *error)
{
    QN_TRY(qn_readback_start(place->readback, error));
    if (place->watch)
        QN_TRY(qn_readback_start(place->watch, error));
    place->is_busy = true;
    place->step = step;
    place->sample = sample;
    meter->since = 0;
    return QN_OK;
}

qn_status qn_meter_tick(struct qn_meter *meter, int64_t step, int64_t sample,
                        struct qn_reading *reading, bool *is_new,
                        qn_error *error)
{
    *is_new = false;
    if (++meter->since < meter->stride)
        return QN_OK;
    struct place *place = &meter->places[meter->next];
    meter->next = 1 - meter->next;
    if (place->is_busy) {
        QN_TRY(take(meter, place, reading, error));
        adapt(meter, reading->step);
        *is_new = true;
    }
    return start(meter, place, step, sample, error);
}

qn_status qn_meter_finish(struct qn_meter *meter, int64_t step,
                          int64_t sample, struct qn_reading *reading,
                          qn_error *error)
{
    struct place *place = &meter->places[meter->next];
    QN_TRY(start(meter, place, step, sample, error));
    QN_TRY(take(meter, place, reading, error));
    meter->places[1 - meter->next].is_busy = false;
    meter->last_step = 0; // the pause that follows says nothing of speed
    return QN_OK;
}
