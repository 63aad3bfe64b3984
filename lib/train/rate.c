// The learning rate and the momentum of each step: what the settings ask for,
// and the state of schedules that follow a metric.
#include <math.h>
#include <stdlib.h>

#include "train/train.h"

static int momentum_index(const struct qn_settings *settings)
{
    const struct qn_optimizer *row = settings->optimizer.optimizer;
    return row ? qn_optimizer_momentum(row) : -1; // a minimizer has none
}

// ---- settings ----

// Whether the schedule of the learning rate is told to give a momentum too:
// 1, 0, or NAN for where there is one.
static double asks_for_momentum(const struct qn_schedule_params *schedule)
{
    int key = qn_schedule_key_find(schedule->schedule, "cycle_momentum");
    return key < 0 ? 0 : schedule->values[key];
}

qn_status qn_rates_resolve(const struct qn_fit_params *params,
                           struct qn_settings *settings, qn_error *error)
{
    const char *name = settings->optimizer.optimizer->name;
    QN_TRY(qn_schedule_parse(params->schedule ? params->schedule : "constant",
                             &settings->schedule, error));
    bool asks = asks_for_momentum(&settings->schedule) == 1;
    settings->has_momentum_schedule = params->momentum_schedule != NULL;
    if (momentum_index(settings) < 0 && (params->momentum_schedule || asks))
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "optimizer %s has no momentum that a schedule could "
                       "change", name);
    if (!params->momentum_schedule)
        return QN_OK;
    if (asks)
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "schedule %s gives the momentum already "
                       "(cycle_momentum=1): leave out the momentum's own",
                       settings->schedule.schedule->name);
    return qn_schedule_parse(params->momentum_schedule,
                             &settings->momentum_schedule, error);
}

static json_t *schedule_json(const struct qn_schedule_params *schedule)
{
    char *text = qn_schedule_write_json(schedule);
    json_t *json = text ? json_loads(text, 0, NULL) : NULL;
    free(text);
    return json;
}

json_t *qn_rates_json(const struct qn_settings *settings, bool of_momentum)
{
    if (!of_momentum)
        return schedule_json(&settings->schedule);
    return settings->has_momentum_schedule
               ? schedule_json(&settings->momentum_schedule)
               : json_null();
}

// ---- steps ----

static struct qn_schedule_position find_position(
    const struct qn_settings *settings, int64_t step)
{
    int64_t epoch_steps =
        (settings->dataset->train_count + settings->batch_size - 1) /
        settings->batch_size;
    return (struct qn_schedule_position){
        .base = settings->lr,
        .step = (double)step,
        .epoch_steps = (double)epoch_steps,
        .steps = (double)(epoch_steps * settings->epochs)};
}

double qn_rates_lr(const struct qn_settings *settings,
                   const struct qn_run_state *state, int64_t step)
{
    struct qn_schedule_position at = find_position(settings, step);
    at.state = &state->schedule;
    return qn_schedule_value(&settings->schedule, &at);
}

double qn_rates_momentum(const struct qn_settings *settings,
                         const struct qn_run_state *state, int64_t step)
{
    struct qn_schedule_position at = find_position(settings, step);
    int index = momentum_index(settings);
    if (index < 0)
        return (double)NAN;
    if (!settings->has_momentum_schedule)
        return qn_schedule_momentum(&settings->schedule, &at);
    at.base = settings->optimizer.hyper[index];
    at.state = &state->momentum_schedule;
    return qn_schedule_value(&settings->momentum_schedule, &at);
}

qn_status qn_rates_set(const struct qn_settings *settings,
                       struct qn_run_state *state, qn_error *error)
{
    struct qn_optimizer_step *at = &state->at;
    const struct qn_optimizer *row = settings->optimizer.optimizer;
    at->lr = qn_rates_lr(settings, state, state->step);
    at->momentum = qn_rates_momentum(settings, state, state->step);
    int index = momentum_index(settings);
    if (isnan(at->momentum) ||
        (at->momentum >= row->hyper[index].minimum &&
         at->momentum <= row->hyper[index].maximum))
        return QN_OK;
    return qn_fail(error, QN_BAD_ARGUMENT,
                   "step %lld: the schedule makes %s of optimizer %s %.12g, "
                   "which must be from %.12g to %.12g",
                   (long long)at->step, row->hyper[index].name, row->name,
                   at->momentum, row->hyper[index].minimum,
                   row->hyper[index].maximum);
}

// ---- state ----

void qn_rates_start(const struct qn_settings *settings,
                    struct qn_run_state *state)
{
    int index = momentum_index(settings);
    double momentum = index < 0 ? 0 : settings->optimizer.hyper[index];
    state->schedule = qn_schedule_start(&settings->schedule, settings->lr);
    if (settings->has_momentum_schedule)
        state->momentum_schedule =
            qn_schedule_start(&settings->momentum_schedule, momentum);
}

void qn_rates_observe(const struct qn_settings *settings,
                      struct qn_run_state *state)
{
    const struct qn_schedule_metrics metrics = {
        .train_loss = state->train_loss,
        .train_accuracy = state->train_accuracy,
        .test_loss = state->test_loss,
        .test_accuracy = state->test_accuracy};
    qn_schedule_observe(&settings->schedule, &state->schedule, &metrics);
    if (settings->has_momentum_schedule)
        qn_schedule_observe(&settings->momentum_schedule,
                            &state->momentum_schedule, &metrics);
}

bool qn_rates_take_length(const struct qn_settings *settings)
{
    return qn_schedule_takes_length(&settings->schedule) ||
           (settings->has_momentum_schedule &&
            qn_schedule_takes_length(&settings->momentum_schedule));
}

// {"value": 0.01, "best": 0.3, "bad": 2, "cooldown": 0}; best is null before
// the first measurement.
json_t *qn_rates_state_json(const struct qn_schedule_state *state)
{
    json_t *best = isfinite(state->best) ? json_real(state->best)
                                         : json_null();
    return json_pack("{sf so si si}", "value", state->value, "best", best,
                     "bad", state->bad, "cooldown", state->cooldown);
}

qn_status qn_rates_state_parse(const json_t *json,
                               struct qn_schedule_state *state,
                               qn_error *error)
{
    json_t *best;
    if (json_unpack((json_t *)json, "{sF so si si}", "value", &state->value,
                    "best", &best, "bad", &state->bad, "cooldown",
                    &state->cooldown) != 0 ||
        state->bad < 0 || state->cooldown < 0 ||
        (!json_is_number(best) && !json_is_null(best)))
        return qn_fail(error, QN_FORMAT,
                       "the note quern.state does not tell where the "
                       "schedule stands");
    state->best = json_is_number(best) ? json_number_value(best)
                                       : (double)NAN;
    return QN_OK;
}
