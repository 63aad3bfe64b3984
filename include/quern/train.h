// SPDX-License-Identifier: MIT
// Training and evaluating a model on a data set.
#ifndef QUERN_TRAIN_H
#define QUERN_TRAIN_H

#include <math.h>
#include <stdbool.h>

#include "quern/data.h"
#include "quern/nn.h"
#include "quern/optim.h"
#include "quern/schedule.h"

#ifdef __cplusplus
extern "C" {
#endif

// Where a run stands; handed to the progress callback.
typedef struct qn_progress {
    int epoch;  // from 1
    int epochs;
    int64_t step; // steps done in all
    int64_t steps;
    int64_t sample;  // samples done in this epoch
    int64_t samples; // samples of an epoch
    double loss;     // mean over this epoch so far (as last read back)
    double accuracy;
    double samples_per_second;
    double seconds;      // since the run began
    double seconds_left; // estimate
    bool epoch_end;      // with what was tested, the next four, valid
    double test_loss;
    double test_accuracy;
    double average_test_loss; // of the moving average; NAN where there is none
    double average_test_accuracy;
    double lr;       // of the last step, as the schedule had it
    double momentum; // likewise; NAN where no schedule changes it
    int64_t skipped_steps; // in all, see `on_nan`
} qn_progress;

struct qn_fit_params {
    const qn_model *model;
    const qn_dataset *dataset; // its training samples are not looked at any
                               // more once `progress` told of a step
    int epochs;              // 10
    int64_t batch_size;      // 128; the last batch of an epoch may be smaller
    // A step runs its batch in parts of so many samples, adds their gradients up
    // on the device and updates once: the same mathematics within rounding, in
    // the memory of the smaller batch (docs/training.md). 0: whole
    // batches. Where the device's memory is too small, fewer samples are taken.
    int64_t micro_batch;
    // Layers with statistics over the batch (batch_norm) then take those of
    // each micro-batch, which is something else; without it they are refused.
    bool allow_micro_statistics;
    bool strict; // too little memory is an error instead
    const char *optimizer;   // "sgd"; "adam:beta1=0.8,eps=1e-7" sets more. A
                             // minimizer of minimize.h, "lbfgs:history=20",
                             // takes all samples for a step, an iteration an
                             // epoch; batches then only save memory
    double lr;               // 0: the optimizer's default
    const char *schedule;    // of lr: "cosine" or "warmup:length=5+step", as
                             // qn_schedule_parse reads it; NULL: "constant"
    const char *momentum_schedule; // of the optimizer's momentum or beta1;
                                   // NULL: none, but for what `schedule` gives
    double momentum;         // NAN: the optimizer's default; makes "sgd"
                             // "momentum"
    double weight_decay;     // NAN: the optimizer's default
    double l1, l2;           // 0; penalties on weights, which the loss while
                             // training includes: l1 sum |w| + l2/2 sum w^2
    bool proximal;           // l1 by soft thresholding, to exact zeros
    // Clipping of gradients, 0: none (struct qn_optimizer_params).
    double clip_value, clip_norm, clip_global_norm;
    // Options of single parameters (struct qn_model_options_params).
    const struct qn_parameter_group *groups;
    int group_count;
    bool no_decay_bias;
    double max_norm;
    bool max_norm_per_tensor;
    // A moving average of the parameters with this decay, evaluated beside
    // them (struct qn_optimizer_params); 0: none, unless ema_form is the mean.
    double ema;
    enum qn_average_form ema_form;
    bool ema_recompute_bn; // evaluate it with statistics of normalisations that
                           // passes over the training data give it, as
                           // torch.optim.swa_utils.update_bn; else with those
                           // of training
    const char *loss;        // "softmax_cross_entropy"; "huber:delta=0.5" sets
                             // more (qn_loss_parse)
    // A loss or gradient that is not finite: "stop" ends the run and says why;
    // "skip" leaves the whole step out, so that it changes no state at all, and
    // ends the run after 100 such steps in a row or an epoch of nothing else
    // (docs/training.md). NULL: "stop".
    const char *on_nan;
    uint64_t seed;           // 0; below 2^32
    const char *out;         // run folder; NULL: no files are written, or with
                             // `resume` the folder of that run
    const char *resume;      // run folder or checkpoint to go on from: all but
                             // `epochs` must be as in that run (qn_run_open
                             // tells how that was)
    int64_t checkpoint_every; // steps; 0: at each epoch's end
    int64_t max_steps;        // ends after so many steps in all, also within
                              // an epoch; 0 saves the first values; -1: none
    int64_t log_every;        // steps between the lines of steps.jsonl, each
                              // with the loss of its step's batch, which is
                              // waited for; 0: no such file
    const char *label;        // kept in config.json, say the model's short
                              // form; may be NULL
    // Called before the first step, which may have to wait for compilers, then
    // about ten times a second, after a checkpoint and at each epoch's end. May
    // be NULL. A result other than 0 stops the run: the state is saved first.
    int (*progress)(void *user, const qn_progress *progress);
    void *user;
};
// The documented defaults.
QN_API struct qn_fit_params qn_fit_defaults(void);
#define qn_fit_params(...) \
    (&(struct qn_fit_params){QN_FIT_DEFAULTS, __VA_ARGS__})
#define QN_FIT_DEFAULTS                                             \
    .epochs = 10, .batch_size = 128, .optimizer = "sgd",            \
    .momentum = QN_NAN, .weight_decay = QN_NAN, .max_steps = -1,    \
    .loss = "softmax_cross_entropy"
#define QN_NAN ((double)NAN)

typedef struct qn_fit_result {
    int64_t parameters;
    int epochs;    // done in all, with those before a resume
    int64_t steps; // likewise
    int64_t skipped_steps; // of these, see `on_nan`
    double seconds;            // of this call
    double first_step_seconds; // from the start of the process until the first
                               // step had really ended; 0 without a step
    double samples_per_second; // while training, this call
    double train_loss; // of the last epoch, while training; NAN without one
    double train_accuracy;
    double test_loss; // after the last epoch
    double test_accuracy;
    double average_test_loss; // the same of the moving average; NAN without one
    double average_test_accuracy;
    int best_epoch; // the one with the best test accuracy, then loss
    double best_test_loss;
    double best_test_accuracy;
    int64_t micro_batch; // that the steps ran in; 0: whole batches
    char parameters_sha256[65];
    bool interrupted;
    const char *stopped; // of a minimizer: why it ended, a sentence that stays
                         // valid; NULL: it would go on
} qn_fit_result;

// Trains. Writes config.json, metrics.jsonl, last.safetensors and
// best.safetensors, perhaps steps.jsonl, into `out` (docs/run-folder.md). The same arguments on the
// same device end with the same parameters, bit by bit, also after a resume.
// Parameters' first values, the order of samples and all draws follow from
// `seed`. QN_INTERRUPTED after a stop by `progress`; `result` is then filled as
// far as the run got. A loss that is not finite ends the run with the step's
// number; the last good checkpoint stays. Warnings, say of a resume on another
// device, go to the device's log.
QN_API qn_status qn_fit(qn_device *device, const struct qn_fit_params *params,
                        qn_fit_result *result, qn_error *error);

// What qn_fit would refuse at once: settings out of range, names that do not
// exist, a model that does not fit the data set. Opens and writes nothing.
QN_API qn_status qn_fit_check(const struct qn_fit_params *params,
                              qn_error *error);

// ---- range test of learning rates ----

struct qn_lr_point {
    double lr;
    double loss;        // of the step's batch, before its update
    double smooth_loss; // mean over about a twentieth of the steps
};

// What a range test found (Smith: Cyclical learning rates for training neural
// networks, WACV 2017).
struct qn_lr_range {
    struct qn_lr_point *points; // of the steps done
    int count;
    bool diverged;     // ended early: the smoothed loss was not finite or above
                       // four times its least
    double least_lr;   // where the smoothed loss is least
    double suggestion; // a tenth of that
    double steepest_lr; // where it falls fastest over log lr, up to there
    // All three are NAN where the loss fell by less than 2 %.
};

// Trains for `steps` steps (10 to 1,000,000) with a rate that rises from `from` to
// `to` by the same factor each step, and leaves the result in `range`, which
// qn_lr_range_finish releases. Of `params`, schedules and `resume` must be
// NULL; lr and epochs do not count; whole batches only. Writes lr_range.jsonl
// into `out` and no checkpoint. `progress` is called as by qn_fit, the test
// being its one epoch; where it stops the test, QN_INTERRUPTED, and `range`
// holds what there is.
QN_API qn_status qn_lr_range_run(qn_device *device,
                                 const struct qn_fit_params *params,
                                 double from, double to, int steps,
                                 struct qn_lr_range *range, qn_error *error);
QN_API void qn_lr_range_finish(struct qn_lr_range *range);
// What a run allocates on the device, in bytes.
typedef struct qn_fit_memory {
    int64_t data_size;       // training samples, labels, their order
    int64_t state_size;      // parameters, buffers, optimizer, metrics; with
                             // micro-batches the sum of gradients
    int64_t step_size;       // tensors and constants of the steps' plans
    int64_t evaluation_size; // the same of evaluation after an epoch
    int64_t peak_size;       // all of these together
    int64_t largest_size;    // the largest single allocation
    int64_t micro_batch;     // that this is for; 0: whole batches
} qn_fit_memory;

// Predicts it without allocating: `asked` as the settings ask for it, `taken`
// as qn_fit will run it, in the fewest micro-batches that the device has the
// memory for. Where nothing fits, or `strict` forbids it, it fails as qn_fit
// does, with `asked` filled in.
QN_API qn_status qn_fit_estimate(qn_device *device,
                                 const struct qn_fit_params *params,
                                 qn_fit_memory *asked, qn_fit_memory *taken,
                                 qn_error *error);

// Seconds since this process began, as `first_step_seconds` counts them.
QN_API double qn_process_seconds(void);

struct qn_evaluate_params {
    const char *loss; // as in struct qn_fit_params; NULL:
                      // "softmax_cross_entropy"
    int mc_samples;   // 0: the model's prediction; else the mean over so many
                      // passes in which its random layers draw as in training
                      // (Gal, Ghahramani: Dropout as a Bayesian approximation,
                      // 2016). Statistics stay those of prediction.
    uint64_t seed;    // of the draws; below 2^32
};
#define qn_evaluate_params(...) (&(struct qn_evaluate_params){__VA_ARGS__})

// Loss and accuracy of a model on the test part of a data set. `store` holds its
// parameters. `params` may be NULL. Passes are averaged as probabilities, or as
// the outputs themselves where the loss is not one of logits.
QN_API qn_status qn_evaluate(qn_device *device, const qn_model *model,
                             qn_store *store, const qn_dataset *dataset,
                             const struct qn_evaluate_params *params,
                             double *loss, double *accuracy, qn_error *error);

// Class probabilities for `count` samples (uint8, of the shape and scale of
// `like`, whose samples are not looked at): probabilities[count][classes].
QN_API qn_status qn_predict(qn_device *device, const qn_model *model,
                            qn_store *store, const qn_dataset *like,
                            const unsigned char *samples, int64_t count,
                            float *probabilities, qn_error *error);

// ---- finished and unfinished runs ----

// What a checkpoint tells about its run. All that the functions below return
// lives as long as it.
typedef struct qn_run qn_run;

// `path`: a run folder (its last.safetensors) or a checkpoint.
QN_API qn_run *qn_run_open(const char *path, qn_error *error);
QN_API void qn_run_close(qn_run **run);

// The settings it was started with. `model` and `dataset` are NULL: open them
// by the next two. `resume` is the checkpoint's path.
QN_API const struct qn_fit_params *qn_run_params(const qn_run *run);
QN_API const char *qn_run_model(const qn_run *run); // JSON
QN_API const char *qn_run_data(const qn_run *run);  // name or folder
// The data set without its samples.
QN_API const qn_dataset *qn_run_dataset(const qn_run *run);
// Epochs and steps that were done when it was saved.
QN_API int qn_run_epochs(const qn_run *run);
QN_API int64_t qn_run_steps(const qn_run *run);

// A new store with the model's parameters from the checkpoint, or with their
// moving average.
QN_API qn_store *qn_run_load_average(const qn_run *run, qn_device *device,
                                     const qn_model *model, qn_error *error);
QN_API qn_store *qn_run_load(const qn_run *run, qn_device *device,
                             const qn_model *model, qn_error *error);

#ifdef __cplusplus
}
#endif

#endif
