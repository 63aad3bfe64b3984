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
    char name[64];     // "mnist"; for a folder its last part
    char origin[1024]; // what opens it again: a built-in name or a folder
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
    const char **class_names; // [classes], or NULL where the set has none
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

// Samples to classify. Owned by the caller, freed by qn_samples_destroy.
typedef struct qn_samples {
    int64_t count;
    unsigned char *x;  // uint8, in C order
    int32_t *y;        // labels, or NULL where the source has none
} qn_samples;

// Reads samples of `shape` from `text`:
//   "DATA:7", "DATA:0-9"  sample 7, or 0 to 9, of the test part of a data set
//   an IDX file of images, plain or gzip
//   FILE.bin, plain or gzip, as CIFAR's: of each sample its label, one byte,
//                         then its pixels
//   FILE.raw              nothing but pixels, a byte each
//   a CSV file: a line a sample, its values 0 to 255, then perhaps its label
QN_API qn_samples *qn_samples_open(const char *text, const qn_shape *shape,
                                   qn_error *error);
QN_API void qn_samples_destroy(qn_samples **samples);

#ifdef __cplusplus
}
#endif

#endif
