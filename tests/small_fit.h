// Short runs on a few of the digits, and what they leave.
#ifndef SMALL_FIT_H
#define SMALL_FIT_H

#include "quern/train.h"

#define SMALL_MODEL "12-relu-10"

// The first 150 samples for training and 50 for testing.
qn_dataset small_few_digits(void);
// Trains for so many steps in all, in batches of 64, 64 and 22, three epochs at
// most, into the folder.
qn_status small_try_run(struct qn_fit_params params, const char *model_name,
                        int64_t steps, const char *folder, qn_error *error);
// The same, and the checkpoint that it left.
qn_checkpoint *small_run_to(struct qn_fit_params params,
                            const char *model_name, int64_t steps);

enum { MAX_VALUES = 2000 };
struct tensor {
    float x[MAX_VALUES];
    int count;
    qn_shape shape;
};
struct tensor small_tensor_of(const qn_checkpoint *checkpoint,
                              const char *name);

#endif
