// SPDX-License-Identifier: MIT
// Training and evaluating a model on a data set.
#ifndef QUERN_TRAIN_H
#define QUERN_TRAIN_H

#include <math.h>
#include <stdbool.h>

#include "quern/data.h"
#include "quern/nn.h"

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
    bool epoch_end;      // with the next three valid
    double test_loss;
    double test_accuracy;
    double lr;
} qn_progress;

struct qn_fit_params {
    const qn_model *model;
    const qn_dataset *dataset;
    int epochs;              // 10
    int64_t batch_size;      // 128
    const char *optimizer;   // "sgd"
    double lr;               // 0: the optimizer's default
    double momentum;         // NAN: the optimizer's default
    double weight_decay;     // NAN: the optimizer's default
    const char *loss;        // "softmax_cross_entropy"
    uint64_t seed;           // 0
    const char *out;         // run folder; NULL: no files are written
    const char *resume;      // run folder or checkpoint to go on from
    int64_t checkpoint_every; // steps; 0: at each epoch's end
    // Called about ten times a second and at each epoch's end. May be NULL.
    // A result other than 0 stops the run: the state is saved first.
    int (*progress)(void *user, const qn_progress *progress);
    void *user;
};
// The documented defaults.
QN_API struct qn_fit_params qn_fit_defaults(void);
#define qn_fit_params(...) \
    (&(struct qn_fit_params){QN_FIT_DEFAULTS, __VA_ARGS__})
#define QN_FIT_DEFAULTS                                             \
    .epochs = 10, .batch_size = 128, .optimizer = "sgd",            \
    .momentum = QN_NAN, .weight_decay = QN_NAN,                     \
    .loss = "softmax_cross_entropy"
#define QN_NAN ((double)NAN)

typedef struct qn_fit_result {
    int64_t parameters;
    int epochs;    // done in all, with those before a resume
    int64_t steps;
    double seconds;
    double first_step_seconds; // from the start of the process
    double samples_per_second;
    double train_loss; // of the last epoch, while training
    double train_accuracy;
    double test_loss;
    double test_accuracy;
    char parameters_sha256[65];
    bool interrupted;
} qn_fit_result;

// Trains. Writes config.json, metrics.jsonl, last.safetensors and
// best.safetensors into `out`. QN_INTERRUPTED after a stop by `progress`.
QN_API qn_status qn_fit(qn_device *device, const struct qn_fit_params *params,
                        qn_fit_result *result, qn_error *error);

// Loss and accuracy of a model on the test part of a data set.
QN_API qn_status qn_evaluate(qn_device *device, const qn_model *model,
                             qn_store *store, const qn_dataset *dataset,
                             double *loss, double *accuracy, qn_error *error);

// Class probabilities for `count` samples (uint8, as in the data set):
// probabilities[count][classes].
QN_API qn_status qn_predict(qn_device *device, const qn_model *model,
                            qn_store *store, const qn_dataset *like,
                            const unsigned char *samples, int64_t count,
                            float *probabilities, qn_error *error);

#ifdef __cplusplus
}
#endif

#endif
