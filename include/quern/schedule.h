// SPDX-License-Identifier: MIT
// Schedules: how a learning rate or a momentum goes over a run.
#ifndef QUERN_SCHEDULE_H
#define QUERN_SCHEDULE_H

#include <stdbool.h>

#include "quern/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    QN_MAX_SCHEDULE_KEYS = 13,
    QN_MAX_SCHEDULE_LISTS = 2,
    QN_MAX_SCHEDULE_POINTS = 64,
};

// What a schedule accepts behind its name.
struct qn_schedule_key {
    const char *name;
    const char *type; // "number", "count", "switch", "choice", "list"
    const char *meaning;
    double minimum; // of each number of a list too
    double maximum;
    double value;        // default; NAN: it follows from the run, or, of a
                         // list, it must be given
    const char *choices; // of a "choice": "step|epoch"; `value` counts them
};

struct qn_schedule_params;
struct qn_schedule_curve;

// One row of the table of schedules. Its curve is a pure function of the
// position in the run, in double precision; only a row that follows a metric
// has a state, struct qn_schedule_state.
struct qn_schedule {
    const char *name;    // "cosine"
    const char *formula; // of a, the rate at position t
    const char *source;  // paper, or NULL
    const char *example; // text for pictures: a run of 100 epochs
    int key_count;
    struct qn_schedule_key keys[QN_MAX_SCHEDULE_KEYS];
    bool follows_metric;
    const char *length_key; // this key is the run's length unless it is
                            // given; NULL: there is none
    // For qn_schedule_value and qn_schedule_momentum; the latter NULL where
    // the row gives no momentum.
    double (*value)(const struct qn_schedule_params *params,
                    const struct qn_schedule_curve *at);
    double (*momentum)(const struct qn_schedule_params *params,
                       const struct qn_schedule_curve *at);
    // What single values cannot tell; NULL: nothing.
    qn_status (*check)(const struct qn_schedule_params *params,
                       qn_error *error);
};
// Row `index`, NULL past the last one.
QN_API const struct qn_schedule *qn_schedule_at(int index);
// NULL: there is none.
QN_API const struct qn_schedule *qn_schedule_find(const char *name);
// Index of a key by its name, or -1.
QN_API int qn_schedule_key_find(const struct qn_schedule *schedule,
                                const char *name);

// A schedule with all its values, perhaps with a warm-up in front. Plain: to be
// copied, compared, thrown away.
struct qn_schedule_params {
    const struct qn_schedule *schedule;
    double values[QN_MAX_SCHEDULE_KEYS]; // in the order of the keys; NAN where
                                         // they follow from the run
    double lists[QN_MAX_SCHEDULE_LISTS][QN_MAX_SCHEDULE_POINTS];
    int list_counts[QN_MAX_SCHEDULE_LISTS]; // in the order of the list keys
    bool has_warmup;
    double warmup[QN_MAX_SCHEDULE_KEYS]; // of the row "warmup"
};
// `params` with the row's defaults. Those of "warmup" are a warm-up in front of
// "constant".
QN_API struct qn_schedule_params
qn_schedule_defaults(const struct qn_schedule *schedule);

// From text such as "step:step_size=30,gamma=0.1", "cosine" or
// "warmup:length=5+cosine", or from JSON: text that begins with a brace, as
// qn_schedule_write_json writes it. docs/schedules.md has the grammar.
QN_API qn_status qn_schedule_parse(const char *text,
                                   struct qn_schedule_params *params,
                                   qn_error *error);
// The shortest such text. The caller frees it. NULL without memory.
QN_API char *qn_schedule_write(const struct qn_schedule_params *params);
// As JSON with all keys; null for those that follow from the run. The caller
// frees it. NULL without memory.
QN_API char *qn_schedule_write_json(const struct qn_schedule_params *params);

// Where a schedule stands that follows a metric.
struct qn_schedule_state {
    double value; // the rate now
    double best;  // metric; NAN before the first one
    int bad;      // measurements without progress
    int cooldown; // measurements until they count again
};
// The state at a run's start. `base` as in struct qn_schedule_position.
QN_API struct qn_schedule_state
qn_schedule_start(const struct qn_schedule_params *params, double base);

// What may be measured at an epoch's end.
struct qn_schedule_metrics {
    double train_loss, train_accuracy, test_loss, test_accuracy;
};
// Takes note of an epoch's metrics. Does nothing where the schedule follows
// none.
QN_API void qn_schedule_observe(const struct qn_schedule_params *params,
                                struct qn_schedule_state *state,
                                const struct qn_schedule_metrics *metrics);

// A moment of a run.
struct qn_schedule_position {
    double base;        // learning rate or momentum that the run was given
    double step;        // steps done
    double epoch_steps; // steps of an epoch
    double steps;       // of the whole run
    const struct qn_schedule_state *state; // where it follows a metric
};
// The rate of the step that comes next.
QN_API double qn_schedule_value(const struct qn_schedule_params *params,
                                const struct qn_schedule_position *at);
// The momentum of that step, where the schedule of a learning rate gives one;
// else NAN.
QN_API double qn_schedule_momentum(const struct qn_schedule_params *params,
                                   const struct qn_schedule_position *at);
// Whether it depends on how long the run is.
QN_API bool
qn_schedule_takes_length(const struct qn_schedule_params *params);

#ifdef __cplusplus
}
#endif

#endif
