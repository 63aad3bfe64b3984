// SPDX-License-Identifier: MIT
// Data sets in host memory.
#ifndef QUERN_DATA_H
#define QUERN_DATA_H

#include "quern/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

// Samples and labels. Owned by the caller, freed by qn_dataset_destroy.
typedef struct qn_dataset {
    char name[64];
    qn_shape shape;    // of one sample, e.g. [1, 28, 28]
    int classes;
    int64_t train_count;
    int64_t test_count;
    unsigned char *train_x; // uint8, train_count samples in C order
    unsigned char *test_x;
    int32_t *train_y; // labels in [0, classes)
    int32_t *test_y;
    // A pixel v reaches the network as (v - offset) * scale.
    double offset;
    double scale;
} qn_dataset;

// One row of the table of data sets.
struct qn_dataset_row {
    const char *name;   // "digits"
    const char *source; // where it comes from, its licence
    const char *files;  // what a folder must hold, or "embedded"
};
QN_API const struct qn_dataset_row *qn_dataset_row_at(int index);

// Opens `text`: a built-in name ("digits" is embedded; others are looked for
// in their usual folders, which the error lists) or a folder whose files tell
// the format. NULL with one clear error naming the file otherwise.
QN_API qn_dataset *qn_dataset_open(const char *text, qn_error *error);
QN_API void qn_dataset_destroy(qn_dataset **dataset);

#ifdef __cplusplus
}
#endif

#endif
