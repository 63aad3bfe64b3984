// Reference of up-sampling: where a pixel lies as PyTorch's documentation
// defines it. Positions are long double: their fractions are the weights.
#include <math.h>
#include <stddef.h>

#include "ref/ref.h"

// The weight of pixel i of `in` in pixel o of `out`.
static double weight(const struct ref_params *params, int64_t i, int64_t in,
                     int64_t o, int64_t out)
{
    if (params->mode == 0) // nearest
        return i == (o * in) / out;
    const long double scale = (long double)in / (long double)out;
    const long double half = 0.5L;
    long double at = params->mode == 1 ? ((long double)o + half) * scale - half
                     : out > 1 ? (long double)o * (long double)(in - 1) /
                                     (long double)(out - 1)
                               : 0;
    at = at > 0 ? at : 0;
    const long double low = floorl(at + 1e-15L);
    const double far = (double)(at > low ? at - low : 0);
    const int64_t first = (int64_t)low;
    const int64_t second = first + 1 < in ? first + 1 : in - 1;
    return (i == first ? 1 - far : 0) + (i == second ? far : 0);
}

// Each pixel of y by all pixels of x, or the other way round.
static void spread(const struct ref_tensor *from, const struct ref_shape *x,
                   const struct ref_shape *y, const struct ref_params *params,
                   bool is_grad, struct ref_tensor *to)
{
    const int64_t planes = x->dims[0] * x->dims[1];
    const int64_t ih = x->dims[2], iw = x->dims[3];
    const int64_t oh = y->dims[2], ow = y->dims[3];
    for (int64_t n = 0; n < planes * oh * ow; n++) {
        const int64_t plane = n / (oh * ow), row = n / ow % oh, col = n % ow;
        for (int64_t k = 0; k < ih * iw; k++) {
            const double w = weight(params, k / iw, ih, row, oh) *
                             weight(params, k % iw, iw, col, ow);
            const int64_t i = plane * ih * iw + k;
            if (w != 0)
                to->data[is_grad ? i : n] += w * from->data[is_grad ? n : i];
        }
    }
}

static void resample(const struct ref_tensor *in, int count,
                     const struct ref_params *params, struct ref_tensor *out)
{
    (void)count;
    const struct ref_shape y = {4, {in->shape.dims[0], in->shape.dims[1],
                                    params->shape.dims[0],
                                    params->shape.dims[1]}};
    ref_make(out, &y);
    spread(in, &in->shape, &y, params, false, out);
}

// in: x, of which only the shape counts, and dy
static void resample_grad(const struct ref_tensor *in, int count,
                          const struct ref_params *params,
                          struct ref_tensor *out)
{
    (void)count;
    ref_make(out, &in->shape);
    spread(&in[1], &in->shape, &in[1].shape, params, true, out);
}

const struct ref_op ref_resample[] = {
    {"resample", resample},
    {"resample_grad", resample_grad},
    {NULL, NULL},
};
