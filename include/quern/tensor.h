// SPDX-License-Identifier: MIT
// Data types and shapes: pure values, no owner.
#ifndef QUERN_TENSOR_H
#define QUERN_TENSOR_H

#include <stdint.h>

#include "quern/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum qn_dtype {
    QN_FLOAT32,
    QN_FLOAT64,
    QN_INT32,
    QN_UINT8,
} qn_dtype;

// Bytes of one element, and the name ("float32").
QN_API size_t qn_dtype_size(qn_dtype dtype);
QN_API const char *qn_dtype_name(qn_dtype dtype);

enum { QN_MAX_RANK = 6 };

// Dimensions in C order, outermost first. Rank 0 is a scalar (one element).
typedef struct qn_shape {
    int rank;
    int64_t dims[QN_MAX_RANK];
} qn_shape;

// Makes a shape of `rank` dimensions. `dims` is copied.
QN_API qn_shape qn_shape_make(int rank, const int64_t *dims);

// qn_shape_of(32, 784): a shape from its dimensions (C only).
#ifndef __cplusplus
#define qn_shape_of(...)                                             \
    qn_shape_make((int)(sizeof((int64_t[]){__VA_ARGS__}) /           \
                        sizeof(int64_t)), (const int64_t[]){__VA_ARGS__})
#endif

// Number of elements; 1 for a scalar. -1 where the product overflows.
QN_API int64_t qn_shape_count(const qn_shape *shape);
QN_API int qn_shape_equal(const qn_shape *a, const qn_shape *b);

// Writes "[32, 784]" into `text` and returns it.
QN_API char *qn_shape_text(const qn_shape *shape, char *text, size_t size);

#ifdef __cplusplus
}
#endif

#endif
