// Where a tensor's elements lie in memory: an offset and a stride a dimension,
// all in elements.
#ifndef QN_TENSOR_LAYOUT_H
#define QN_TENSOR_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "quern/tensor.h"

struct qn_layout {
    qn_shape shape;
    int64_t strides[QN_MAX_RANK];
    int64_t offset;
};

// Row-major, no gaps, offset 0.
struct qn_layout qn_layout_contiguous(const qn_shape *shape);
// Row-major without gaps (dimensions of size 1 do not count); any offset.
bool qn_layout_is_contiguous(const struct qn_layout *layout);
// One element for all: every stride is 0 (dimensions of size 1 do not count).
bool qn_layout_repeats(const struct qn_layout *layout);
// Strides for reading `layout` as if broadcast to `shape`: 0 where it repeats.
struct qn_layout qn_layout_broadcast(const struct qn_layout *layout,
                                     const qn_shape *shape);

// NumPy broadcasting of two shapes. False if they do not fit.
bool qn_shape_broadcast(const qn_shape *a, const qn_shape *b, qn_shape *out);

// Merges neighbouring dimensions that all `count` layouts (of one shape) can
// walk as one; drops dimensions of size 1. The result has at least rank 1.
void qn_layouts_collapse(struct qn_layout *layouts, int count);

#endif
