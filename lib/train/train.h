// What the files of the trainer share.
#ifndef QN_TRAIN_TRAIN_H
#define QN_TRAIN_TRAIN_H

#include <jansson.h>

#include "base/status.h"
#include "quern/minimize.h"
#include "quern/train.h"

// ---- settings (settings.c) ----

// The parameters of a run, checked and with all defaults put in.
struct qn_settings {
    const qn_model *model;
    const qn_dataset *dataset;
    struct qn_optimizer_params optimizer; // without its nodes
    struct qn_minimizer_params minimizer; // instead of it; no row: none
    struct qn_loss_params loss;
    struct qn_penalty penalty; // on all weights
    struct qn_model_options_params options;
    bool recompute_statistics; // for the average
    double lr;
    struct qn_schedule_params schedule; // of lr
    bool has_momentum_schedule;
    struct qn_schedule_params momentum_schedule;
    int epochs;
    int64_t batch_size;
    int64_t micro_batch; // 0: a step is one plan; else below batch_size
    bool allows_micro_statistics;
    bool is_strict;           // about memory
    int64_t evaluation_batch; // samples at most; 0: as many as are fast
    int64_t checkpoint_every;
    int64_t max_steps; // INT64_MAX: all
    int64_t log_every;
    bool skips_nan;
    uint64_t seed;
    const char *label;
};
qn_status qn_settings_resolve(const struct qn_fit_params *params,
                              struct qn_settings *settings, qn_error *error);
// As config.json and checkpoints hold them. NULL without memory.
json_t *qn_settings_json(const struct qn_settings *settings);
// Whether a run with settings `now` may go on from one with `then`: all but
// the number of epochs and where the data lie must agree.
qn_status qn_settings_compare(const json_t *then, const json_t *now,
                              qn_error *error);

// ---- where a run stands (state.c) ----

struct qn_run_state {
    int epoch;      // epochs done
    int64_t step;   // steps done
    int64_t sample; // samples done in the epoch under way
    double train_loss, train_accuracy; // of the last whole epoch
    double test_loss, test_accuracy;
    double average_test_loss, average_test_accuracy; // NAN: no average
    int best_epoch; // 0: none yet
    double best_test_loss, best_test_accuracy;
    char device[65]; // fingerprint
    struct qn_optimizer_step at; // what the optimizer carries over
    struct qn_schedule_state schedule, momentum_schedule;
};
json_t *qn_state_json(const struct qn_run_state *state);
qn_status qn_state_parse(const json_t *json, struct qn_run_state *state,
                         qn_error *error);

// ---- around the optimizer's rule (around.c) ----

// Fills in clipping, options and average; the optimizer is there already.
// `params` must live as long as the settings.
qn_status qn_around_resolve(const struct qn_fit_params *params,
                            struct qn_settings *settings, qn_error *error);
// Whether the options fit the parameters of a graph.
qn_status qn_around_check(const struct qn_settings *settings, qn_graph *g,
                          qn_error *error);
bool qn_around_has_average(const struct qn_settings *settings);
// The keys that config.json has of it, as an object. NULL without memory.
json_t *qn_around_json(const struct qn_settings *settings);
// From config.json; the caller frees `*groups`, which begins as NULL.
qn_status qn_around_read(const json_t *json, struct qn_fit_params *params,
                         struct qn_parameter_group **groups, qn_error *error);

// ---- learning rate and momentum of each step (rate.c) ----

// Fills the schedules in; the optimizer and lr are there already.
qn_status qn_rates_resolve(const struct qn_fit_params *params,
                           struct qn_settings *settings, qn_error *error);
// One of the schedules as config.json holds it. NULL without memory.
json_t *qn_rates_json(const struct qn_settings *settings, bool of_momentum);
// The state of both at a run's start.
void qn_rates_start(const struct qn_settings *settings,
                    struct qn_run_state *state);
// Those of the step that comes after `step` others; the momentum is NAN where
// it is not scheduled.
double qn_rates_lr(const struct qn_settings *settings,
                   const struct qn_run_state *state, int64_t step);
double qn_rates_momentum(const struct qn_settings *settings,
                         const struct qn_run_state *state, int64_t step);
// Those of the next step, into state->at.
qn_status qn_rates_set(const struct qn_settings *settings,
                       struct qn_run_state *state, qn_error *error);
// To be called at an epoch's end, once its metrics are in the state.
void qn_rates_observe(const struct qn_settings *settings,
                      struct qn_run_state *state);
// Whether they depend on how many epochs there are.
bool qn_rates_take_length(const struct qn_settings *settings);
json_t *qn_rates_state_json(const struct qn_schedule_state *state);
qn_status qn_rates_state_parse(const json_t *json,
                               struct qn_schedule_state *state,
                               qn_error *error);

// ---- parameters of a store (parameters.c) ----

// Fails where one is not finite after step `step`: a checkpoint of such is
// worth nothing.
qn_status qn_check_parameters(qn_store *store, int64_t step, qn_error *error);
int64_t qn_count_parameters(const qn_store *store);

// ---- files of a run (run.c) ----

enum { QN_PATH_SIZE = 1200 };

struct qn_run {
    char path[QN_PATH_SIZE];   // of the checkpoint
    char folder[QN_PATH_SIZE]; // that it lies in
    qn_checkpoint *checkpoint;
    json_t *settings;
    struct qn_run_state state;
    struct qn_fit_params params;
    qn_dataset dataset;
    char optimizer[512]; // "adam:beta1=0.9,..."
    char *schedule, *momentum_schedule; // JSON; may be NULL
    struct qn_parameter_group *groups;  // may be NULL
    char *model;
};

// ---- files that are written (folder.c) ----

qn_status qn_folder_write_config(const char *folder, const json_t *settings,
                                 qn_error *error);
// Saves `name` in the folder with settings and state.
qn_status qn_folder_save(const char *folder, const char *name,
                         qn_store *store, const json_t *settings,
                         const struct qn_run_state *state, qn_error *error);
// Appends a line to metrics.jsonl.
qn_status qn_folder_add_metrics(const char *folder, const qn_progress *end,
                                qn_error *error);
// Appends a line to steps.jsonl; `where` tells step, epoch and learning rate.
qn_status qn_folder_add_step(const char *folder, const qn_progress *where,
                             double loss, qn_error *error);
// Appends a line to lr_range.jsonl, or empties it.
qn_status qn_folder_add_range(const char *folder, int64_t step,
                              const struct qn_lr_point *point,
                              qn_error *error);
qn_status qn_folder_cut_range(const char *folder, qn_error *error);
// Cuts steps.jsonl back to the lines of the first `steps` steps.
qn_status qn_folder_cut_steps(const char *folder, int64_t steps,
                              qn_error *error);
// Cuts metrics.jsonl back to the lines of the first `epochs` epochs.
qn_status qn_folder_cut_metrics(const char *folder, int epochs,
                                qn_error *error);

// ---- range test of learning rates (range.c) ----

// What the points of a test of `steps` steps tell.
void qn_lr_range_judge(struct qn_lr_range *range, int steps);

// ---- the order of samples (shuffle.c) ----

// Fills `order` with the numbers 0 to count - 1 in the order of this epoch,
// from 1: a pure function of seed and epoch.
void qn_shuffle(int32_t *order, int64_t count, uint64_t seed, int epoch);

// ---- samples on the device (feed.c) ----

struct qn_feed {
    int64_t count;
    int32_t *order;  // of this epoch
    int order_index; // in the store
};
// Whether the training samples fit the device.
qn_status qn_feed_check(const qn_device *device, const qn_dataset *data,
                        qn_error *error);
// Into a store that has the variables of the training step, in their own order.
qn_status qn_feed_upload(struct qn_feed *feed, qn_store *store,
                         const qn_dataset *data, qn_error *error);
// Into the order of an epoch, from 1.
qn_status qn_feed_shuffle(struct qn_feed *feed, qn_store *store,
                          uint64_t seed, int epoch, qn_error *error);
void qn_feed_finish(struct qn_feed *feed);

// ---- graphs and their plans (stage.c) ----

// A training step, or what is run of one, for one batch size. The data set lies
// in the store. Scalars that a kind has no use for are NULL.
enum qn_stage_kind {
    QN_STAGE_WHOLE,
    QN_STAGE_PART,  // of a step: adds to the gradient
    QN_STAGE_APPLY, // after its parts: updates
};
struct qn_train_stage {
    int64_t batch; // samples; of an apply stage 0
    qn_graph *graph;
    qn_plan *plan;  // NULL before it is bound
    qn_node *first; // scalars: number of the batch's first sample in the epoch
    qn_node *step;  // counts from 1
    qn_node *seed;
    qn_node *fresh; // whole, apply: 1 in the first step of an epoch
    qn_node *begins;  // part: 1 in the first part of a step
    qn_node *offset;  // part: number of its first sample in the step
    qn_node *samples; // apply: of the whole step
    struct qn_optimizer_update update; // whole, apply
    bool has_run; // so that its kernels are compiled
};
// The graph. `part`: for an apply stage, one of the parts; else NULL.
qn_status qn_train_stage_create(const struct qn_settings *settings,
                                enum qn_stage_kind kind, int64_t batch,
                                const struct qn_train_stage *part,
                                struct qn_train_stage *stage, qn_error *error);
// The plan. Declares nothing new where the store has all already.
qn_status qn_train_stage_bind(struct qn_train_stage *stage,
                              qn_device *device, qn_store *store,
                              uint64_t seed, qn_error *error);
void qn_train_stage_finish(struct qn_train_stage *stage);

// Whether steps may be run in parts: not where a layer would see less of its
// batch, unless the settings allow that.
qn_status qn_check_parts(const struct qn_settings *settings, qn_error *error);
// The first layer whose statistics are over the batch, or -1.
int qn_find_mixing_layer(const qn_model *model);
bool qn_has_micro_statistics(const struct qn_settings *settings);
// Tells the log where a run that goes on had other parts.
void qn_warn_of_parts(const qn_device *device, const json_t *then,
                      const struct qn_settings *settings);

// Pieces of which the kinds are made.
// The batch as the model takes it.
void qn_stage_take(struct qn_train_stage *stage, const qn_dataset *dataset,
                   qn_node **x, qn_node **labels);
// Its logits and labels; NULL after an error.
qn_node *qn_stage_predict(struct qn_train_stage *stage,
                          const struct qn_settings *settings,
                          qn_node **labels, qn_error *error);
// How many of the labels have the largest logit.
qn_node *qn_stage_count_right(qn_graph *g, qn_node *logits, qn_node *labels);
// The settings' optimizer with what the graph's parameters need of it.
struct qn_optimizer_params
qn_stage_optimizer(const struct qn_train_stage *stage,
                   const struct qn_settings *settings);
// What a step comes to, as scalars, and the flat gradient.
struct qn_stage_outcome {
    qn_node *loss; // mean; with ties, without other penalties
    qn_node *gradient;
    qn_node *right; // count of right answers
    qn_node *samples;
};
// Updates the parameters and adds to the metrics.
void qn_stage_update(struct qn_train_stage *stage,
                     const struct qn_settings *settings,
                     const struct qn_optimizer_params *optimizer,
                     const struct qn_stage_outcome *outcome);
// Kinds of accumulate.c.
qn_status qn_stage_build_part(struct qn_train_stage *stage,
                              const struct qn_settings *settings,
                              qn_error *error);
qn_status qn_stage_build_apply(struct qn_train_stage *stage,
                               const struct qn_settings *settings,
                               const struct qn_train_stage *part,
                               qn_error *error);

// ---- names in the store ----

// Groups of the store that the training step uses beside those of model and
// optimizer.
#define QN_GROUP_IMAGES "@train.images"
#define QN_GROUP_LABELS "@train.labels"
#define QN_GROUP_ORDER "@train.order"
#define QN_GROUP_WATCH "@optimizer.watch"
#define QN_GROUP_LOSS "@train.loss"
#define QN_GROUP_GRADIENT "@train.gradient" // of the parts of a step so far
#define QN_GROUP_SUMS "@train.sums" // of loss, weight and right answers
#define QN_GROUP_METRICS "training.metrics"
// Variables of the metrics: the sum of losses and the count of right answers
// in this epoch, and the first step whose loss was not finite, or 0.
#define QN_METRIC_LOSS "loss_sum"
#define QN_METRIC_CORRECT "correct"
#define QN_METRIC_BAD "bad_step"
// Where bad steps are skipped: how many so far, and in a row; the numbers of the
// first ones and of the last; and how many samples of this epoch they had.
#define QN_METRIC_SKIPPED "skipped"
#define QN_METRIC_ROW "skipped_in_a_row"
#define QN_METRIC_FIRST "skipped_first"
#define QN_METRIC_LAST "skipped_last"
#define QN_METRIC_SAMPLES "skipped_samples"
enum { QN_FIRST_SKIPPED = 8, QN_MOST_SKIPPED = 100 };
// The loss of the last step, in a group of its own and only where steps are
// logged.
#define QN_METRIC_NOW "loss"

// x = (pixels - offset) * scale
qn_node *qn_scale_pixels(qn_graph *g, qn_node *pixels,
                         const qn_dataset *dataset);
// The model's logits, checked to be [n, classes].
qn_node *qn_build_logits(qn_graph *g, qn_node *x, const qn_model *model,
                         const qn_dataset *dataset,
                         const struct qn_model_build_params *params,
                         qn_error *error);
// The model on a batch of one, for its shapes and variables.
qn_node *qn_build_one(qn_graph *g, const qn_model *model,
                      const qn_dataset *dataset, qn_error *error);
// The shape of `count` samples.
qn_shape qn_batch_shape(int64_t count, const qn_shape *sample);

// ---- memory before a run (memory.c) ----

// What plans allocate, in bytes.
struct qn_footprint {
    int64_t size;
    int64_t largest;
};
// Adds a plan; its variables go into the sketch.
qn_status qn_footprint_add(struct qn_footprint *footprint, qn_device *device,
                           qn_store *sketch,
                           const struct qn_plan_params *params,
                           qn_error *error);
// qn_fit_estimate for settings, in which it sets the parts that fit.
qn_status qn_settings_fit(qn_device *device, struct qn_settings *settings,
                          qn_fit_memory *asked, qn_fit_memory *taken,
                          qn_error *error);
// The same before a run: tells the log of parts that nobody asked for.
qn_status qn_settings_preflight(qn_device *device,
                                struct qn_settings *settings,
                                qn_error *error);

// ---- a step (step.c) ----

// The plans for all sizes of batch of a run.
struct qn_stepper;
struct qn_step {
    struct qn_optimizer_step *at; // its number, learning rate, momentum
    int64_t sample; // its first one, in the order of the epoch
    int64_t count;  // of samples
};
// Makes the graphs; binding makes plans of them.
qn_status qn_stepper_create(const struct qn_settings *settings,
                            struct qn_stepper **out, qn_error *error);
qn_status qn_stepper_bind(struct qn_stepper *stepper, qn_device *device,
                          qn_store *store, uint64_t seed, qn_error *error);
void qn_stepper_destroy(struct qn_stepper **stepper);
// Whether a step of `count` samples has run before: its kernels are compiled.
bool qn_stepper_has_run(const struct qn_stepper *stepper, int64_t count);
// The update that its steps make.
const struct qn_optimizer_update *
qn_stepper_update(const struct qn_stepper *stepper);
// Adds what binding would allocate.
qn_status qn_stepper_measure(const struct qn_stepper *stepper,
                             qn_device *device, qn_store *sketch,
                             struct qn_footprint *footprint, qn_error *error);
// Enqueues a step and returns.
qn_status qn_stepper_run(struct qn_stepper *stepper,
                         const struct qn_step *step, qn_error *error);

// ---- the whole data set at once (full_batch.c) ----

// Reads params->optimizer if it names a minimizer, else does nothing.
qn_status qn_full_batch_resolve(const struct qn_fit_params *params,
                                struct qn_settings *settings,
                                qn_error *error);
json_t *qn_full_batch_json(const struct qn_minimizer_params *params);
// Models and penalties that no minimizer takes.
qn_status qn_full_batch_check(const struct qn_settings *settings,
                              qn_error *error);

// A minimizer over all samples, which lie in the store.
struct qn_full_batch;
struct qn_full_batch_watch {
    bool (*is_stopped)(void *user); // asked before each batch
    void *user;
};
struct qn_iteration {
    double loss; // afterwards, over all samples
    double correct;
    bool moved; // false: there was a reason to stop
};
// `settings` must outlive it.
qn_status qn_full_batch_create(qn_device *device, qn_store *store,
                               const struct qn_settings *settings,
                               const struct qn_full_batch_watch *watch,
                               struct qn_full_batch **out, qn_error *error);
void qn_full_batch_destroy(struct qn_full_batch **full);
// Adds what creating it would allocate.
qn_status qn_full_batch_measure(qn_device *device, qn_store *sketch,
                                const struct qn_settings *settings,
                                struct qn_footprint *footprint,
                                qn_error *error);
// Begins with the parameters in the store, or goes on with the state there.
qn_status qn_full_batch_begin(struct qn_full_batch *full, bool is_resumed,
                              qn_error *error);
// Parameters and state into the store.
qn_status qn_full_batch_save(struct qn_full_batch *full, qn_error *error);
// After a failure it is as before, QN_INTERRUPTED included.
qn_status qn_full_batch_step(struct qn_full_batch *full,
                             struct qn_iteration *out, qn_error *error);
// Why it ends; NULL: it goes on.
const char *qn_full_batch_stopped(const struct qn_full_batch *full);

// ---- prediction (evaluate.c) ----

// Plans that predict for one and for another, smaller batch size.
struct qn_predictor;
struct qn_predictor_params {
    const qn_model *model;
    const struct qn_loss_params *loss; // NULL: predicts instead of evaluating
    const qn_dataset *like;            // shape and scale of the samples
    int64_t count;
    bool is_stochastic; // random layers draw, by `seed` and the pass
    uint64_t seed;
    const char *parameters, *buffers; // their groups; NULL: as named
    bool is_raw; // predicts the model's outputs, not their softmax
    int64_t most; // samples of a batch at most; 0: as many as are fast
};
// Evaluation after an epoch.
struct qn_predictor_params
qn_settings_evaluation(const struct qn_settings *settings);
// Adds what qn_predictor_create would allocate.
qn_status qn_predictor_measure(qn_device *device, qn_store *sketch,
                               const struct qn_predictor_params *params,
                               struct qn_footprint *footprint,
                               qn_error *error);
qn_status qn_predictor_create(qn_device *device, qn_store *store,
                              const struct qn_predictor_params *params,
                              struct qn_predictor **out, qn_error *error);
void qn_predictor_destroy(struct qn_predictor **predictor);
// Mean loss and accuracy over `count` samples, as many as it was made for.
qn_status qn_predictor_evaluate(struct qn_predictor *predictor,
                                const unsigned char *x, const int32_t *y,
                                double *loss, double *accuracy,
                                qn_error *error);
// scores[count][classes]
qn_status qn_predictor_predict(struct qn_predictor *predictor,
                               const unsigned char *x, int64_t pass,
                               float *scores, qn_error *error);

// ---- statistics of normalisations for the average (statistics.c) ----

#define QN_GROUP_AVERAGE "average"
#define QN_GROUP_AVERAGE_BUFFERS "average_buffers"

// Declares the buffers in the store. `*out` is NULL where the model has none.
struct qn_statistics;
qn_status qn_statistics_create(qn_store *store,
                               const struct qn_settings *settings,
                               struct qn_statistics **out, qn_error *error);
void qn_statistics_destroy(struct qn_statistics **statistics);
// Adds what a run would allocate.
qn_status qn_statistics_measure(const struct qn_statistics *statistics,
                                qn_device *device, qn_store *sketch,
                                struct qn_footprint *footprint,
                                qn_error *error);
qn_status qn_statistics_run(struct qn_statistics *statistics,
                            qn_device *device, qn_store *store, uint64_t seed,
                            qn_error *error);

// ---- what is measured after an epoch (tester.c) ----

// Everything given must live as long as it.
struct qn_tester;
qn_status qn_tester_create(qn_device *device, qn_store *store,
                           const struct qn_settings *settings,
                           struct qn_tester **out, qn_error *error);
void qn_tester_destroy(struct qn_tester **tester);
// Adds what running it would allocate.
qn_status qn_tester_measure(qn_device *device, qn_store *sketch,
                            const struct qn_settings *settings,
                            struct qn_footprint *footprint, qn_error *error);
// Into the state's test_* and average_test_*.
qn_status qn_tester_run(struct qn_tester *tester, struct qn_run_state *state,
                        qn_error *error);

// ---- mean over random passes (monte_carlo.c) ----

// qn_evaluate with params->mc_samples > 0.
qn_status qn_evaluate_drawn(qn_device *device, const qn_model *model,
                            qn_store *store, const qn_dataset *dataset,
                            const struct qn_loss_params *loss_row,
                            const struct qn_evaluate_params *params,
                            double *loss, double *accuracy, qn_error *error);

// ---- metrics that are read back late (meter.c) ----

// Reads the metrics without stopping the steps, and keeps the queue short by
// waiting for readings that are already old.
struct qn_meter;
struct qn_reading {
    int64_t step;   // after this step
    int64_t sample; // of its epoch
    double loss_sum, correct;
    int64_t bad_step;     // the first whose loss was not finite; 0: none
    int64_t bad_gradient; // the first whose gradient was not finite; 0: none
    int64_t skipped, in_a_row; // steps
    int64_t skipped_first[QN_FIRST_SKIPPED], skipped_last;
    int64_t skipped_samples; // of this epoch
};
qn_status qn_meter_create(qn_store *store, struct qn_meter **out,
                          qn_error *error);
void qn_meter_destroy(struct qn_meter **meter);
// To be called after each step. True in `*is_new` if `reading` was updated.
qn_status qn_meter_tick(struct qn_meter *meter, int64_t step, int64_t sample,
                        struct qn_reading *reading, bool *is_new,
                        qn_error *error);
// Waits for all steps and reads.
qn_status qn_meter_finish(struct qn_meter *meter, int64_t step,
                          int64_t sample, struct qn_reading *reading,
                          qn_error *error);

// ---- what is not finite (nan.c, skip.c) ----

// A step whose loss or gradient is not finite.
struct qn_nan {
    qn_device *device;
    qn_store *store; // its parameters are those of that step, and lost after
    const struct qn_settings *settings;
    const struct qn_run_state *state;
    struct qn_stepper **stepper; // gone after
    const int32_t *order; // of the samples in its epoch
    bool has_folder;      // for checkpoints
    int64_t saved_step;   // of the newest one; 0: none
    int64_t step;
    bool is_gradient; // the loss was finite
    bool was_skipped; // as `in_a_row` were up to it; `is_gradient` is not known
    int64_t in_a_row;
};
// Fails with a text that names step, layer, sample and likely cause.
qn_status qn_nan_explain(const struct qn_nan *at, qn_error *error);
// Fails so if `reading` tells of a step that ends the run, of which `run` lacks
// the step alone. Warns of steps that were skipped after step `*told`, which it
// moves on.
qn_status qn_nan_check(const struct qn_nan *run,
                       const struct qn_reading *reading, int64_t *told,
                       qn_error *error);

qn_status qn_skips_begin_epoch(qn_store *store, qn_error *error);
// How many so far.
qn_status qn_skips_count(qn_store *store, int64_t *count, qn_error *error);

#endif
