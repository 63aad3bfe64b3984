// Reference of normalisations: means and variances as they are defined, in
// two passes.
#include <math.h>
#include <stddef.h>

#include "ref/ref.h"

static bool is_axis(const struct ref_params *params, int rank, int d)
{
    for (int a = 0; a < params->axis_count; a++)
        if (params->axes[a] == d || params->axes[a] + rank == d)
            return true;
    return params->axis_count == 0;
}

// The statistic that element i of x belongs to, among those that differ in the
// dimensions where `is_shared` is false; and how many there are.
static int64_t family(const struct ref_shape *x, const bool *is_shared,
                      int64_t i, int64_t *count)
{
    int64_t index[REF_MAX_RANK], at = 0;
    *count = 1;
    ref_unravel(x, i, index);
    for (int d = 0; d < x->rank; d++) {
        if (is_shared[d])
            continue;
        at = at * x->dims[d] + index[d];
        *count *= x->dims[d];
    }
    return at;
}

// stats[0..count) the means, then the population variances.
static void find_stats(const struct ref_tensor *x, const bool *is_shared,
                       double *stats)
{
    int64_t count;
    const int64_t all = ref_count(&x->shape);
    family(&x->shape, is_shared, 0, &count);
    const double n = (double)(all / count);
    for (int64_t k = 0; k < 2 * count; k++)
        stats[k] = 0;
    for (int64_t i = 0; i < all; i++)
        stats[family(&x->shape, is_shared, i, &count)] += x->data[i] / n;
    for (int64_t i = 0; i < all; i++) {
        const int64_t k = family(&x->shape, is_shared, i, &count);
        const double d = x->data[i] - stats[k];
        stats[count + k] += d * d / n;
    }
}

static void make_pair(const struct ref_tensor *x,
                      const struct ref_params *params, bool *is_shared,
                      struct ref_tensor *out)
{
    struct ref_shape shape = {x->shape.rank + 1, {2}};
    for (int d = 0; d < x->shape.rank; d++) {
        is_shared[d] = is_axis(params, x->shape.rank, d);
        shape.dims[d + 1] = is_shared[d] ? 1 : x->shape.dims[d];
    }
    ref_make(out, &shape);
}

static void moments(const struct ref_tensor *in, int count,
                    const struct ref_params *params, struct ref_tensor *out)
{
    (void)count;
    bool is_shared[REF_MAX_RANK];
    make_pair(in, params, is_shared, out);
    find_stats(in, is_shared, out->data);
}

// in: dy, x, mean, rstd
static void norm_sums(const struct ref_tensor *in, int count,
                      const struct ref_params *params, struct ref_tensor *out)
{
    (void)count;
    bool is_shared[REF_MAX_RANK];
    make_pair(in, params, is_shared, out);
    for (int64_t i = 0; i < ref_count(&in->shape); i++) {
        int64_t half;
        const int64_t k = family(&in->shape, is_shared, i, &half);
        out->data[k] += in[0].data[i];
        out->data[half + k] +=
            in[0].data[i] * (in[1].data[i] - in[2].data[k]) * in[3].data[k];
    }
}

// x standardised within each family.
static void standardize_by(const struct ref_tensor *x, const bool *is_shared,
                           double eps, struct ref_tensor *out)
{
    struct ref_tensor stats;
    int64_t half;
    family(&x->shape, is_shared, 0, &half);
    const struct ref_shape shape = {1, {2 * half}};
    ref_make(&stats, &shape);
    find_stats(x, is_shared, stats.data);
    ref_make(out, &x->shape);
    for (int64_t i = 0; i < ref_count(&x->shape); i++) {
        const int64_t k = family(&x->shape, is_shared, i, &half);
        out->data[i] = (x->data[i] - stats.data[k]) /
                       sqrt(stats.data[half + k] + eps);
    }
    ref_free(&stats);
}

static void standardize(const struct ref_tensor *in, int count,
                        const struct ref_params *params,
                        struct ref_tensor *out)
{
    (void)count;
    bool is_shared[REF_MAX_RANK];
    for (int d = 0; d < in->shape.rank; d++)
        is_shared[d] = is_axis(params, in->shape.rank, d);
    standardize_by(in, is_shared, params->p[0], out);
}

static int64_t channel_of(const struct ref_shape *x, int64_t i)
{
    int64_t index[REF_MAX_RANK];
    ref_unravel(x, i, index);
    return index[1];
}

// out = out * gamma + beta, one number a channel.
static void scale_channels(const struct ref_tensor *in, int count,
                           struct ref_tensor *out)
{
    for (int64_t i = 0; i < ref_count(&out->shape); i++) {
        const int64_t c = channel_of(&out->shape, i);
        if (count > 0)
            out->data[i] *= in[0].data[c];
        if (count > 1)
            out->data[i] += in[1].data[c];
    }
}

static void batch_norm(const struct ref_tensor *in, int count,
                       const struct ref_params *params,
                       struct ref_tensor *out)
{
    bool is_shared[REF_MAX_RANK];
    for (int d = 0; d < in->shape.rank; d++)
        is_shared[d] = d != 1;
    standardize_by(in, is_shared, params->p[0], out);
    scale_channels(in + 1, count - 1, out);
}

static void normalize(const struct ref_tensor *in, int count,
                      const struct ref_params *params, struct ref_tensor *out)
{
    ref_make(out, &in->shape);
    for (int64_t i = 0; i < ref_count(&in->shape); i++) {
        const int64_t c = channel_of(&in->shape, i);
        out->data[i] = (in[0].data[i] - in[1].data[c]) /
                       sqrt(in[2].data[c] + params->p[0]);
    }
    scale_channels(in + 3, count - 3, out);
}

static void layer_norm(const struct ref_tensor *in, int count,
                       const struct ref_params *params,
                       struct ref_tensor *out)
{
    bool is_shared[REF_MAX_RANK];
    int64_t each = 1;
    for (int d = 0; d < in->shape.rank; d++) {
        is_shared[d] = d >= in->shape.rank - (int)params->count;
        each *= is_shared[d] ? in->shape.dims[d] : 1;
    }
    standardize_by(in, is_shared, params->p[0], out);
    for (int64_t i = 0; i < ref_count(&in->shape); i++) {
        if (count > 1)
            out->data[i] *= in[1].data[i % each];
        if (count > 2)
            out->data[i] += in[2].data[i % each];
    }
}

static void group_norm(const struct ref_tensor *in, int count,
                       const struct ref_params *params,
                       struct ref_tensor *out)
{
    static const bool is_shared[] = {false, false, true};
    const int64_t n = in->shape.dims[0] * params->count;
    struct ref_tensor x = *in;
    x.shape = (struct ref_shape){
        3, {in->shape.dims[0], params->count, ref_count(&in->shape) / n}};
    standardize_by(&x, is_shared, params->p[0], out);
    out->shape = in->shape;
    scale_channels(in + 1, count - 1, out);
}

const struct ref_op ref_norm[] = {
    {"moments", moments},       {"norm_sums", norm_sums},
    {"standardize", standardize}, {"batch_norm", batch_norm},
    {"normalize", normalize},   {"layer_norm", layer_norm},
    {"group_norm", group_norm}, {NULL, NULL},
};
