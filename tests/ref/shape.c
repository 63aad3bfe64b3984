// Reference of what moves elements: reshape, transpose, slice, pad, concat.
#include <stddef.h>
#include <string.h>

#include "ref/ref.h"

static void reshape(const struct ref_tensor *in, int count,
                    const struct ref_params *params, struct ref_tensor *out)
{
    (void)count;
    const int64_t total = ref_count(&in->shape);
    struct ref_shape shape = params->shape;
    int64_t known = 1;
    for (int d = 0; d < shape.rank; d++)
        known *= shape.dims[d] < 0 ? 1 : shape.dims[d];
    for (int d = 0; d < shape.rank; d++)
        if (shape.dims[d] < 0)
            shape.dims[d] = total / known;
    ref_make(out, &shape);
    memcpy(out->data, in->data, (size_t)total * sizeof *out->data);
}

static void transpose(const struct ref_tensor *in, int count,
                      const struct ref_params *params,
                      struct ref_tensor *out)
{
    (void)count;
    struct ref_shape shape = {.rank = in->shape.rank};
    for (int d = 0; d < shape.rank; d++)
        shape.dims[d] = in->shape.dims[params->order[d]];
    ref_make(out, &shape);
    for (int64_t i = 0; i < ref_count(&shape); i++) {
        int64_t index[REF_MAX_RANK], from[REF_MAX_RANK];
        ref_unravel(&shape, i, index);
        for (int d = 0; d < shape.rank; d++)
            from[params->order[d]] = index[d];
        out->data[i] = in->data[ref_ravel(&in->shape, from)];
    }
}

static void broadcast_to(const struct ref_tensor *in, int count,
                         const struct ref_params *params,
                         struct ref_tensor *out)
{
    (void)count;
    ref_make(out, &params->shape);
    for (int64_t i = 0; i < ref_count(&params->shape); i++)
        out->data[i] = ref_at(in, &params->shape, i);
}

// A bound of a slice: from the end if negative, within the dimension.
static int64_t bound(int64_t at, int64_t size)
{
    at = at < 0 ? at + size : at;
    return at < 0 ? 0 : at > size ? size : at;
}

static void slice(const struct ref_tensor *in, int count,
                  const struct ref_params *params, struct ref_tensor *out)
{
    (void)count;
    const int axis = params->axis < 0 ? params->axis + in->shape.rank
                                      : params->axis;
    const int64_t size = in->shape.dims[axis];
    const int64_t start = bound(params->start, size);
    const int64_t stop = bound(params->stop, size);
    struct ref_shape shape = in->shape;
    shape.dims[axis] = (stop - start + params->step - 1) / params->step;
    ref_make(out, &shape);
    for (int64_t i = 0; i < ref_count(&shape); i++) {
        int64_t index[REF_MAX_RANK];
        ref_unravel(&shape, i, index);
        index[axis] = start + index[axis] * params->step;
        out->data[i] = in->data[ref_ravel(&in->shape, index)];
    }
}

static void pad(const struct ref_tensor *in, int count,
                const struct ref_params *params, struct ref_tensor *out)
{
    (void)count;
    struct ref_shape shape = in->shape;
    for (int d = 0; d < shape.rank; d++)
        shape.dims[d] += params->low[d] + params->high[d] +
                         (shape.dims[d] - 1) * params->inner[d];
    ref_make(out, &shape);
    for (int64_t i = 0; i < ref_count(&in->shape); i++) {
        int64_t index[REF_MAX_RANK];
        ref_unravel(&in->shape, i, index);
        for (int d = 0; d < shape.rank; d++)
            index[d] = params->low[d] + index[d] * (params->inner[d] + 1);
        out->data[ref_ravel(&shape, index)] = in->data[i];
    }
}

static void concat(const struct ref_tensor *in, int count,
                   const struct ref_params *params, struct ref_tensor *out)
{
    const int axis = params->axis < 0 ? params->axis + in->shape.rank
                                      : params->axis;
    struct ref_shape shape = in->shape;
    for (int k = 1; k < count; k++)
        shape.dims[axis] += in[k].shape.dims[axis];
    ref_make(out, &shape);
    int64_t before = 0;
    for (int k = 0; k < count; k++) {
        for (int64_t i = 0; i < ref_count(&in[k].shape); i++) {
            int64_t index[REF_MAX_RANK];
            ref_unravel(&in[k].shape, i, index);
            index[axis] += before;
            out->data[ref_ravel(&shape, index)] = in[k].data[i];
        }
        before += in[k].shape.dims[axis];
    }
}

// Flat, each input from a multiple of 512 bytes on: of 128 elements, as
// counted in float32.
static void pack(const struct ref_tensor *in, int count,
                 const struct ref_params *params, struct ref_tensor *out)
{
    (void)params;
    struct ref_shape shape = {.rank = 1};
    for (int k = 0; k < count; k++)
        shape.dims[0] += (ref_count(&in[k].shape) + 127) / 128 * 128;
    ref_make(out, &shape);
    int64_t at = 0;
    for (int k = 0; k < count; k++) {
        for (int64_t i = 0; i < ref_count(&in[k].shape); i++)
            out->data[at + i] = in[k].data[i];
        at += (ref_count(&in[k].shape) + 127) / 128 * 128;
    }
}

const struct ref_op ref_shape[] = {
    {"reshape", reshape},
    {"transpose", transpose},
    {"broadcast_to", broadcast_to},
    {"slice", slice},
    {"pad", pad},
    {"concat", concat},
    {"pack", pack},
    {NULL, NULL},
};
