// Schedules: the position in a run, the warm-up in front, the state of those
// that follow a metric. Knows no text (schedule_text.c) and no formula
// (schedule_table.c).
#include "nn/schedule.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/status.h"

int qn_schedule_key_find(const struct qn_schedule *schedule, const char *name)
{
    for (int i = 0; i < schedule->key_count; i++)
        if (strcmp(schedule->keys[i].name, name) == 0)
            return i;
    return -1;
}

const struct qn_schedule *qn_schedule_find(const char *name)
{
    const struct qn_schedule *row;
    for (int i = 0; (row = qn_schedule_at(i)); i++)
        if (strcmp(row->name, name) == 0)
            return row;
    return NULL;
}

int qn_schedule_list_index(const struct qn_schedule *schedule, int key)
{
    int index = 0;
    for (int i = 0; i < key; i++)
        index += strcmp(schedule->keys[i].type, "list") == 0;
    assert(index < QN_MAX_SCHEDULE_LISTS);
    return index;
}

static void fill_defaults(const struct qn_schedule *row, double *values)
{
    for (int i = 0; i < row->key_count; i++)
        values[i] = row->keys[i].value;
}

struct qn_schedule_params
qn_schedule_defaults(const struct qn_schedule *schedule)
{
    struct qn_schedule_params params = {.schedule = schedule};
    const struct qn_schedule *warmup = qn_schedule_warmup();
    fill_defaults(warmup, params.warmup);
    if (schedule == warmup) {
        params.has_warmup = true;
        params.schedule = qn_schedule_find("constant");
    }
    fill_defaults(params.schedule, params.values);
    return params;
}

qn_status qn_schedule_check(const struct qn_schedule_params *params,
                            qn_error *error)
{
    const struct qn_schedule *row = params->schedule;
    for (int i = 0; i < row->key_count; i++) {
        const struct qn_schedule_key *key = &row->keys[i];
        if (strcmp(key->type, "list") == 0 &&
            params->list_counts[qn_schedule_list_index(row, i)] == 0)
            return qn_fail(error, QN_BAD_ARGUMENT,
                           "schedule %s: needs %s, such as %s", row->name,
                           key->name, row->example);
    }
    return row->check ? row->check(params, error) : QN_OK;
}

// ---- positions ----

// The value of a key that most rows have, or `otherwise`.
static double value_of(const struct qn_schedule_params *params,
                       const char *key, double otherwise)
{
    int i = qn_schedule_key_find(params->schedule, key);
    return i < 0 ? otherwise : params->values[i];
}

// Keys "unit": 0 counts steps, 1 epochs.
static bool counts_epochs(const struct qn_schedule_params *params)
{
    return value_of(params, "unit", 0) != 0;
}

// The warm-up's length in steps.
static double warmup_steps(const struct qn_schedule_params *params,
                           const struct qn_schedule_position *at)
{
    const struct qn_schedule *row = qn_schedule_warmup();
    if (!params->has_warmup)
        return 0;
    double length = params->warmup[qn_schedule_key_find(row, "length")];
    bool epochs = params->warmup[qn_schedule_key_find(row, "unit")] != 0;
    return epochs ? length * at->epoch_steps : length;
}

// Key "mode" of the warm-up: 1 lets the schedule behind it run from the start.
static bool is_chained(const struct qn_schedule_params *params)
{
    int mode = qn_schedule_key_find(qn_schedule_warmup(), "mode");
    return params->warmup[mode] != 0;
}

// The position behind the warm-up in the schedule's unit.
static struct qn_schedule_curve
find_curve(const struct qn_schedule_params *params,
           const struct qn_schedule_position *at)
{
    bool epochs = counts_epochs(params);
    bool smooth = value_of(params, "smooth", 1) != 0;
    double shift = is_chained(params) ? 0 : warmup_steps(params, at);
    double unit = epochs ? at->epoch_steps : 1;
    struct qn_schedule_curve curve = {
        .base = at->base,
        .t = fmax(at->step - shift, 0) / unit,
        .tick = 1 / unit,
        .length = fmax(at->steps - shift, 0) / unit,
        .state = at->state,
    };
    if (epochs && !smooth) {
        curve.t = floor(curve.t);
        curve.tick = 1;
    }
    return curve;
}

double qn_schedule_value(const struct qn_schedule_params *params,
                         const struct qn_schedule_position *at)
{
    struct qn_schedule_curve curve = find_curve(params, at);
    double value = params->schedule->value(params, &curve);
    double warm = warmup_steps(params, at);
    if (at->step >= warm)
        return value;
    const struct qn_schedule *row = qn_schedule_warmup();
    double from = params->warmup[qn_schedule_key_find(row, "start_factor")];
    return value * (from + (1 - from) * at->step / warm);
}

double qn_schedule_momentum(const struct qn_schedule_params *params,
                            const struct qn_schedule_position *at)
{
    if (!params->schedule->momentum)
        return (double)NAN;
    struct qn_schedule_curve curve = find_curve(params, at);
    return params->schedule->momentum(params, &curve);
}

bool qn_schedule_takes_length(const struct qn_schedule_params *params)
{
    const char *key = params->schedule->length_key;
    return key && isnan(value_of(params, key, 0));
}

// ---- metrics ----

struct qn_schedule_state
qn_schedule_start(const struct qn_schedule_params *params, double base)
{
    (void)params;
    return (struct qn_schedule_state){.value = base, .best = (double)NAN};
}

static double metric_of(const struct qn_schedule_metrics *metrics,
                        int monitor)
{
    const double all[] = {metrics->test_loss, metrics->train_loss,
                          metrics->test_accuracy, metrics->train_accuracy};
    return all[monitor];
}

// By more than the threshold. In the order of the choices: losses fall,
// accuracies rise.
static bool is_progress(const struct qn_schedule_params *params,
                        double metric, double best)
{
    double threshold = value_of(params, "threshold", 0);
    bool relative = value_of(params, "threshold_mode", 0) == 0;
    if (!isfinite(metric) || isnan(best))
        return isfinite(metric);
    if (value_of(params, "monitor", 0) < 2)
        return metric < (relative ? best * (1 - threshold)
                                  : best - threshold);
    return metric > (relative ? best * (1 + threshold) : best + threshold);
}

void qn_schedule_observe(const struct qn_schedule_params *params,
                         struct qn_schedule_state *state,
                         const struct qn_schedule_metrics *metrics)
{
    if (!params->schedule->follows_metric)
        return;
    double metric =
        metric_of(metrics, (int)value_of(params, "monitor", 0));
    if (is_progress(params, metric, state->best)) {
        state->best = metric;
        state->bad = 0;
    } else {
        state->bad++;
    }
    if (state->cooldown > 0) {
        state->cooldown--;
        state->bad = 0;
    }
    if (state->bad <= (int)value_of(params, "patience", 0))
        return;
    double next = fmax(state->value * value_of(params, "factor", 1),
                       value_of(params, "min_lr", 0));
    if (state->value - next > value_of(params, "eps", 0))
        state->value = next;
    state->cooldown = (int)value_of(params, "cooldown", 0);
    state->bad = 0;
}
