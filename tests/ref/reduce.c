// Reference of the reductions.
#include <math.h>
#include <stddef.h>

#include "ref/ref.h"

static bool is_reduced(const struct ref_params *params, int rank, int d)
{
    for (int a = 0; a < params->axis_count; a++)
        if (params->axes[a] == d || params->axes[a] + rank == d)
            return true;
    return params->axis_count == 0;
}

// Input shape with 1 for each reduced dimension.
static struct ref_shape keep_shape(const struct ref_params *params,
                           const struct ref_shape *shape)
{
    struct ref_shape kept = *shape;
    for (int d = 0; d < shape->rank; d++)
        if (is_reduced(params, shape->rank, d))
            kept.dims[d] = 1;
    return kept;
}

// Removes the reduced dimensions unless they are to stay.
static void drop_dims(const struct ref_params *params, int rank,
                      struct ref_tensor *out)
{
    struct ref_shape shape = {0};
    for (int d = 0; d < rank; d++)
        if (params->keep || !is_reduced(params, rank, d))
            shape.dims[shape.rank++] = out->shape.dims[d];
    out->shape = shape;
}

// Where element i of the input lands in an output whose dimensions are equal
// or 1.
static int64_t landing(const struct ref_shape *in,
                       const struct ref_shape *out, int64_t i)
{
    int64_t index[REF_MAX_RANK], narrow[REF_MAX_RANK];
    int skip = in->rank - out->rank;
    ref_unravel(in, i, index);
    for (int d = 0; d < out->rank; d++)
        narrow[d] = out->dims[d] == 1 ? 0 : index[d + skip];
    return ref_ravel(out, narrow);
}

static void add_up(const struct ref_tensor *in, struct ref_tensor *out)
{
    for (int64_t i = 0; i < ref_count(&in->shape); i++)
        out->data[landing(&in->shape, &out->shape, i)] += in->data[i];
}

static void sum(const struct ref_tensor *in, int count,
                const struct ref_params *params, struct ref_tensor *out)
{
    (void)count;
    const struct ref_shape kept = keep_shape(params, &in->shape);
    ref_make(out, &kept);
    add_up(in, out);
    drop_dims(params, in->shape.rank, out);
}

static void mean(const struct ref_tensor *in, int count,
                 const struct ref_params *params, struct ref_tensor *out)
{
    sum(in, count, params, out);
    const double n =
        (double)(ref_count(&in->shape) / ref_count(&out->shape));
    for (int64_t i = 0; i < ref_count(&out->shape); i++)
        out->data[i] /= n;
}

static void largest(const struct ref_tensor *in, int count,
                    const struct ref_params *params, struct ref_tensor *out)
{
    (void)count;
    const struct ref_shape kept = keep_shape(params, &in->shape);
    ref_make(out, &kept);
    for (int64_t i = 0; i < ref_count(&kept); i++)
        out->data[i] = -INFINITY;
    for (int64_t i = 0; i < ref_count(&in->shape); i++) {
        double *best = &out->data[landing(&in->shape, &kept, i)];
        if (isnan(in->data[i]) || in->data[i] > *best)
            *best = in->data[i];
    }
    drop_dims(params, in->shape.rank, out);
}

static void sum_to(const struct ref_tensor *in, int count,
                   const struct ref_params *params, struct ref_tensor *out)
{
    (void)count;
    ref_make(out, &params->shape);
    add_up(in, out);
}

const struct ref_op ref_reduce[] = {
    {"sum", sum},
    {"mean", mean},
    {"reduce_max", largest},
    {"sum_to", sum_to},
    {NULL, NULL},
};
