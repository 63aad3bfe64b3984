// Where a run stands, as text in its checkpoint and back.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "train/train.h"

// A number, or null where it is not finite.
static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *memory_json(const struct qn_optimizer_step *at)
{
    json_t *memory = json_array();
    for (int i = 0; i < QN_OPTIMIZER_MEMORY; i++)
        json_array_append_new(memory, json_real(at->memory[i]));
    return memory;
}

json_t *qn_state_json(const struct qn_run_state *state)
{
    return json_pack(
        "{si sI sI so so so so so so si so so ss so so so}", "epoch", state->epoch, "step",
        (json_int_t)state->step, "sample", (json_int_t)state->sample,
        "train_loss", number(state->train_loss), "train_accuracy",
        number(state->train_accuracy), "test_loss", number(state->test_loss),
        "test_accuracy", number(state->test_accuracy), "average_test_loss",
        number(state->average_test_loss), "average_test_accuracy",
        number(state->average_test_accuracy), "best_epoch",
        state->best_epoch, "best_test_loss", number(state->best_test_loss),
        "best_test_accuracy", number(state->best_test_accuracy), "device",
        state->device, "optimizer_memory", memory_json(&state->at),
        "schedule", qn_rates_state_json(&state->schedule),
        "momentum_schedule", qn_rates_state_json(&state->momentum_schedule));
}

static double read_number(const json_t *json, const char *key)
{
    const json_t *value = json_object_get(json, key);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

qn_status qn_state_parse(const json_t *json, struct qn_run_state *state,
                         qn_error *error)
{
    json_int_t step = 0, sample = 0;
    const char *device = "";
    *state = (struct qn_run_state){0};
    if (json_unpack((json_t *)json, "{si sI sI si ss}", "epoch",
                    &state->epoch, "step", &step, "sample", &sample,
                    "best_epoch", &state->best_epoch, "device",
                    &device) != 0 ||
        state->epoch < 0 || step < 0 || sample < 0 || state->best_epoch < 0 ||
        state->best_epoch > state->epoch)
        return qn_fail(error, QN_FORMAT,
                       "the note quern.state is not what this version "
                       "writes");
    state->step = step;
    state->sample = sample;
    state->train_loss = read_number(json, "train_loss");
    state->train_accuracy = read_number(json, "train_accuracy");
    state->test_loss = read_number(json, "test_loss");
    state->test_accuracy = read_number(json, "test_accuracy");
    state->average_test_loss = read_number(json, "average_test_loss");
    state->average_test_accuracy =
        read_number(json, "average_test_accuracy");
    state->best_test_loss = read_number(json, "best_test_loss");
    state->best_test_accuracy = read_number(json, "best_test_accuracy");
    state->at.momentum = (double)NAN;
    const json_t *memory = json_object_get(json, "optimizer_memory");
    for (size_t i = 0; i < QN_OPTIMIZER_MEMORY; i++)
        state->at.memory[i] = json_number_value(json_array_get(memory, i));
    snprintf(state->device, sizeof state->device, "%s", device);
    QN_TRY(qn_rates_state_parse(json_object_get(json, "schedule"),
                                &state->schedule, error));
    return qn_rates_state_parse(json_object_get(json, "momentum_schedule"),
                                &state->momentum_schedule, error);
}
