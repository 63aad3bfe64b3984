// Reference of poolings: each window looked through tap by tap.
#include <math.h>
#include <stddef.h>

#include "ref/ref.h"

// Three spatial dimensions, those that are missing as 1.
struct space {
    int64_t in[3], out[3], kernel[3], stride[3], dilation[3], low[3], high[3];
    int64_t planes;
};

static int64_t windows_of(int64_t in, int64_t kernel, int64_t stride,
                          int64_t dilation, int64_t low, int64_t high,
                          bool is_ceil)
{
    int64_t count = 0;
    // A window counts if it ends inside the padded input; the last one, with
    // is_ceil, if it begins inside the input or the padding before it.
    for (int64_t start = 0;; start += stride, count++) {
        const int64_t last = start + dilation * (kernel - 1);
        if (last < low + in + high)
            continue;
        const int64_t before = start - stride + dilation * (kernel - 1);
        const bool leaves_some = before < low + in + high - 1;
        return is_ceil && leaves_some && start < low + in ? count + 1 : count;
    }
}

static struct space read_space(const struct ref_shape *x,
                               const struct ref_params *params)
{
    struct space s = {.planes = x->dims[0] * x->dims[1]};
    const int skip = 5 - x->rank;
    for (int d = 0; d < 3; d++) {
        const int from = d - skip;
        s.in[d] = from < 0 ? 1 : x->dims[from + 2];
        s.kernel[d] = from < 0 ? 1 : params->kernel[from];
        s.stride[d] = from < 0                ? 1
                      : params->stride[from] ? params->stride[from]
                                             : s.kernel[d];
        s.dilation[d] =
            from < 0 || !params->dilation[from] ? 1 : params->dilation[from];
        s.low[d] = from < 0 ? 0 : params->low[from];
        s.high[d] = from < 0 ? 0 : params->high[from];
        s.out[d] = windows_of(s.in[d], s.kernel[d], s.stride[d],
                              s.dilation[d], s.low[d], s.high[d],
                              params->ceil_mode);
    }
    return s;
}

static void make_windows(const struct ref_shape *x, const struct space *s,
                         struct ref_tensor *out)
{
    struct ref_shape shape = *x;
    for (int d = 2; d < shape.rank; d++)
        shape.dims[d] = s->out[d - 2 + 5 - shape.rank];
    ref_make(out, &shape);
}

// The taps of window `o`: where they lie in the plane, or -1 in the padding,
// or -2 behind it.
static int64_t taps(const struct space *s, int64_t o, int64_t tap)
{
    int64_t at = 0, scale = 1, result = 0;
    for (int d = 2; d >= 0; d--) {
        const int64_t window = o % s->out[d], k = tap % s->kernel[d];
        const int64_t place =
            window * s->stride[d] + k * s->dilation[d] - s->low[d];
        o /= s->out[d];
        tap /= s->kernel[d];
        if (place >= s->in[d] + s->high[d])
            result = -2;
        else if ((place < 0 || place >= s->in[d]) && result == 0)
            result = -1;
        at += place * scale;
        scale *= s->in[d];
    }
    return result < 0 ? result : at;
}

static int64_t product(const int64_t *sizes)
{
    return sizes[0] * sizes[1] * sizes[2];
}

// The place of the first largest element; NaN is the largest.
static int64_t winner(const struct space *s, const double *plane, int64_t o)
{
    int64_t best = -1;
    for (int64_t k = 0; k < product(s->kernel); k++) {
        const int64_t at = taps(s, o, k);
        if (at < 0)
            continue;
        if (best < 0 || plane[at] > plane[best] ||
            (isnan(plane[at]) && !isnan(plane[best])))
            best = at;
    }
    return best;
}

static int64_t count_taps(const struct space *s, int64_t o, bool excludes_pad)
{
    int64_t count = 0;
    for (int64_t k = 0; k < product(s->kernel); k++)
        count += taps(s, o, k) >= (excludes_pad ? 0 : -1);
    return count;
}

enum { MAXIMUM, INDEX, MEAN };

static void pool(const struct ref_tensor *in, const struct ref_params *params,
                 int kind, struct ref_tensor *out)
{
    const struct space s = read_space(&in->shape, params);
    const int64_t size = product(s.in), windows = product(s.out);
    make_windows(&in->shape, &s, out);
    for (int64_t i = 0; i < s.planes * windows; i++) {
        const double *plane = in->data + i / windows * size;
        const int64_t o = i % windows;
        double sum = 0;
        for (int64_t k = 0; kind == MEAN && k < product(s.kernel); k++)
            sum += taps(&s, o, k) >= 0 ? plane[taps(&s, o, k)] : 0;
        if (kind == MEAN)
            out->data[i] =
                sum / (double)count_taps(&s, o, params->exclude_pad);
        else
            out->data[i] = kind == INDEX
                               ? (double)winner(&s, plane, o)
                               : plane[winner(&s, plane, o)];
    }
}

static void max_pool(const struct ref_tensor *in, int count,
                     const struct ref_params *params, struct ref_tensor *out)
{
    (void)count;
    pool(in, params, MAXIMUM, out);
}

static void max_pool_index(const struct ref_tensor *in, int count,
                           const struct ref_params *params,
                           struct ref_tensor *out)
{
    (void)count;
    pool(in, params, INDEX, out);
}

static void avg_pool(const struct ref_tensor *in, int count,
                     const struct ref_params *params, struct ref_tensor *out)
{
    (void)count;
    pool(in, params, MEAN, out);
}

// in: x, dy
static void max_pool_grad(const struct ref_tensor *in, int count,
                          const struct ref_params *params,
                          struct ref_tensor *out)
{
    (void)count;
    const struct space s = read_space(&in->shape, params);
    const int64_t size = product(s.in), windows = product(s.out);
    ref_make(out, &in->shape);
    for (int64_t i = 0; i < s.planes * windows; i++) {
        const int64_t from = i / windows * size;
        out->data[from + winner(&s, in->data + from, i % windows)] +=
            in[1].data[i];
    }
}

// in: x, of which only the shape counts, and dy
static void avg_pool_grad(const struct ref_tensor *in, int count,
                          const struct ref_params *params,
                          struct ref_tensor *out)
{
    (void)count;
    const struct space s = read_space(&in->shape, params);
    const int64_t size = product(s.in), windows = product(s.out);
    ref_make(out, &in->shape);
    for (int64_t i = 0; i < s.planes * windows; i++) {
        const int64_t o = i % windows;
        const double share =
            in[1].data[i] / (double)count_taps(&s, o, params->exclude_pad);
        for (int64_t k = 0; k < product(s.kernel); k++)
            if (taps(&s, o, k) >= 0)
                out->data[i / windows * size + taps(&s, o, k)] += share;
    }
}

const struct ref_op ref_pool[] = {
    {"max_pool", max_pool},
    {"max_pool_index", max_pool_index},
    {"max_pool_grad", max_pool_grad},
    {"avg_pool", avg_pool},
    {"avg_pool_grad", avg_pool_grad},
    {NULL, NULL},
};
