// What rows may know of a device: numbers, no handles.
#ifndef QN_TENSOR_LIMITS_H
#define QN_TENSOR_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

enum qn_variant {
    QN_VARIANT_CPU, // wide vectors, one work-item a group, no barriers
    QN_VARIANT_GPU, // local-memory tiles, many work-items
};

struct qn_limits {
    enum qn_variant variant;
    int compute_units;
    int64_t max_group_size;
    int64_t local_size; // bytes of local memory
    int64_t max_alloc_size;
    int64_t memory_size;
    int64_t base_align; // bytes
    bool has_float64;
    bool has_clblast;
    const char *forced; // "op:candidate,...", or NULL
};

#endif
