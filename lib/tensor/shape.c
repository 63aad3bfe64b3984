// Data types, shapes and layouts: arithmetic without memory.
#include <stdio.h>
#include <string.h>

#include "tensor/layout.h"

static const struct {
    const char *name;
    size_t size;
} dtypes[] = {
    [QN_FLOAT32] = {"float32", 4},
    [QN_FLOAT64] = {"float64", 8},
    [QN_INT32] = {"int32", 4},
    [QN_UINT8] = {"uint8", 1},
};

size_t qn_dtype_size(qn_dtype dtype)
{
    return dtypes[dtype].size;
}

const char *qn_dtype_name(qn_dtype dtype)
{
    return dtypes[dtype].name;
}

qn_shape qn_shape_make(int rank, const int64_t *dims)
{
    qn_shape shape = {.rank = rank};
    for (int i = 0; i < rank && i < QN_MAX_RANK; i++)
        shape.dims[i] = dims[i];
    return shape;
}

int64_t qn_shape_count(const qn_shape *shape)
{
    int64_t count = 1;
    for (int i = 0; i < shape->rank; i++) {
        int64_t dim = shape->dims[i];
        if (dim < 0 || (dim > 0 && count > INT64_MAX / dim))
            return -1;
        count *= dim;
    }
    return count;
}

int qn_shape_equal(const qn_shape *a, const qn_shape *b)
{
    return a->rank == b->rank &&
           memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims) == 0;
}

char *qn_shape_text(const qn_shape *shape, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "[");
    for (int i = 0; i < shape->rank && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%lld",
                                 i ? ", " : "", (long long)shape->dims[i]);
    if (used < size)
        snprintf(text + used, size - used, "]");
    return text;
}

struct qn_layout qn_layout_contiguous(const qn_shape *shape)
{
    struct qn_layout layout = {.shape = *shape};
    int64_t stride = 1;
    for (int i = shape->rank - 1; i >= 0; i--) {
        layout.strides[i] = stride;
        stride *= shape->dims[i];
    }
    return layout;
}

bool qn_layout_is_contiguous(const struct qn_layout *layout)
{
    int64_t stride = 1;
    for (int i = layout->shape.rank - 1; i >= 0; i--) {
        if (layout->shape.dims[i] != 1 && layout->strides[i] != stride)
            return false;
        stride *= layout->shape.dims[i];
    }
    return true;
}

bool qn_layout_repeats(const struct qn_layout *layout)
{
    for (int i = 0; i < layout->shape.rank; i++)
        if (layout->strides[i] != 0 && layout->shape.dims[i] != 1)
            return false;
    return true;
}

struct qn_layout qn_layout_broadcast(const struct qn_layout *layout,
                                     const qn_shape *shape)
{
    struct qn_layout wide = {.shape = *shape, .offset = layout->offset};
    int skip = shape->rank - layout->shape.rank;
    for (int i = skip; i < shape->rank; i++)
        if (layout->shape.dims[i - skip] != 1)
            wide.strides[i] = layout->strides[i - skip];
    return wide;
}

bool qn_shape_broadcast(const qn_shape *a, const qn_shape *b, qn_shape *out)
{
    int rank = a->rank > b->rank ? a->rank : b->rank;
    *out = (qn_shape){.rank = rank};
    for (int i = 1; i <= rank; i++) {
        int64_t m = i <= a->rank ? a->dims[a->rank - i] : 1;
        int64_t n = i <= b->rank ? b->dims[b->rank - i] : 1;
        if (m != n && m != 1 && n != 1)
            return false;
        out->dims[rank - i] = m == 1 ? n : m;
    }
    return true;
}

// True if all layouts walk dimensions i and i + 1 as one.
static bool can_merge(const struct qn_layout *layouts, int count, int i)
{
    for (int k = 0; k < count; k++) {
        const struct qn_layout *l = &layouts[k];
        if (l->strides[i] != l->strides[i + 1] * l->shape.dims[i + 1])
            return false;
    }
    return true;
}

static void remove_dim(struct qn_layout *l, int i)
{
    for (int d = i; d + 1 < l->shape.rank; d++) {
        l->shape.dims[d] = l->shape.dims[d + 1];
        l->strides[d] = l->strides[d + 1];
    }
    l->shape.rank--;
}

void qn_layouts_collapse(struct qn_layout *layouts, int count)
{
    for (int i = 0; count && i < layouts[0].shape.rank;) {
        if (layouts[0].shape.dims[i] == 1 && layouts[0].shape.rank > 1) {
            for (int k = 0; k < count; k++)
                remove_dim(&layouts[k], i);
        } else {
            i++;
        }
    }
    for (int i = 0; count && i + 1 < layouts[0].shape.rank;) {
        if (!can_merge(layouts, count, i)) {
            i++;
            continue;
        }
        for (int k = 0; k < count; k++) {
            layouts[k].shape.dims[i + 1] *= layouts[k].shape.dims[i];
            remove_dim(&layouts[k], i);
        }
    }
    for (int k = 0; k < count; k++) {
        if (layouts[k].shape.rank == 0) {
            layouts[k].shape = (qn_shape){.rank = 1, .dims = {1}};
            layouts[k].strides[0] = 0;
        }
    }
}
