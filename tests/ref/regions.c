// Reference of pooling over regions: the order of lengths as a list, the
// windows element by element.
#include <math.h>
#include <stdio.h>
#include <stddef.h>

#include "ref/ref.h"

// The first 24 bits of u, as a fraction.
static double cut(double u)
{
    return floor(u * 16777216) / 16777216;
}

// params: `count` elements, shape.dims[0] regions, p[0] random, p[1]
// overlapping.
static void fractional_regions(const struct ref_tensor *in, int count,
                               const struct ref_params *params,
                               struct ref_tensor *out)
{
    (void)count;
    const int64_t n = params->count, regions = params->shape.dims[0];
    const int64_t each = in->shape.dims[1];
    const struct ref_shape shape = {3, {in->shape.dims[0], regions, 2}};
    ref_make(out, &shape);
    for (int64_t t = 0; t < in->shape.dims[0]; t++) {
        const double *u = in->data + t * each;
        int64_t begin = 0, longer = n % regions;
        for (int64_t i = 0; i < regions; i++) {
            int64_t length = n / regions;
            // (longer / those that are left) of them are longer
            if (params->p[0] != 0) {
                const bool is_longer =
                    cut(u[i]) * (double)(regions - i) < (double)longer;
                longer -= is_longer;
                length += is_longer;
            } else {
                const double alpha = (double)n / (double)regions;
                length =
                    (int64_t)(ceil(alpha * ((double)i + 1 + cut(u[0]))) -
                              ceil(alpha * ((double)i + cut(u[0]))));
            }
            const int64_t end = begin + length;
            out->data[(t * regions + i) * 2] = (double)begin;
            out->data[(t * regions + i) * 2 + 1] =
                (double)(end + (params->p[1] != 0 && end < n));
            begin = end;
        }
    }
}

// Bounds of region i of sample n.
static void bounds(const struct ref_tensor *table, int64_t n, int64_t i,
                   int64_t *first, int64_t *end)
{
    const int64_t t = table->shape.dims[0] > 1 ? n : 0;
    const double *at = table->data + (t * table->shape.dims[1] + i) * 2;
    *first = (int64_t)at[0];
    *end = (int64_t)at[1];
}

enum { MAXIMUM, MEAN };

// in: x, rows, columns and, for the gradient, dy. With dy the result is dx.
static void pool(const struct ref_tensor *in, const struct ref_tensor *dy,
                 int kind, struct ref_tensor *out)
{
    const int64_t c = in->shape.dims[1];
    const int64_t ih = in->shape.dims[2], iw = in->shape.dims[3];
    const int64_t oh = in[1].shape.dims[1], ow = in[2].shape.dims[1];
    const struct ref_shape y = {4, {in->shape.dims[0], c, oh, ow}};
    ref_make(out, dy ? &in->shape : &y);
    for (int64_t o = 0; o < ref_count(&y); o++) {
        const int64_t plane = o / (oh * ow);
        int64_t top, bottom, left, right;
        bounds(&in[1], plane / c, o / ow % oh, &top, &bottom);
        bounds(&in[2], plane / c, o % ow, &left, &right);
        const double n = (double)((bottom - top) * (right - left));
        int64_t best = -1;
        double sum = 0;
        for (int64_t h = top; h < bottom; h++)
            for (int64_t w = left; w < right; w++) {
                const int64_t i = (plane * ih + h) * iw + w;
                const double v = in->data[i];
                if (best < 0 || v > in->data[best] ||
                    (isnan(v) && !isnan(in->data[best])))
                    best = i;
                sum += v;
                if (dy && kind == MEAN)
                    out->data[i] += dy->data[o] / n;
            }
        if (!dy)
            out->data[o] = kind == MEAN ? sum / n : in->data[best];
        else if (kind == MAXIMUM)
            out->data[best] += dy->data[o];
    }
}

static void region_max(const struct ref_tensor *in, int count,
                       const struct ref_params *params,
                       struct ref_tensor *out)
{
    (void)count, (void)params;
    pool(in, NULL, MAXIMUM, out);
}

static void region_max_grad(const struct ref_tensor *in, int count,
                            const struct ref_params *params,
                            struct ref_tensor *out)
{
    (void)count, (void)params;
    pool(in, &in[3], MAXIMUM, out);
}

static void region_mean(const struct ref_tensor *in, int count,
                        const struct ref_params *params,
                        struct ref_tensor *out)
{
    (void)count, (void)params;
    pool(in, NULL, MEAN, out);
}

static void region_mean_grad(const struct ref_tensor *in, int count,
                             const struct ref_params *params,
                             struct ref_tensor *out)
{
    (void)count, (void)params;
    pool(in, &in[3], MEAN, out);
}

// in: x and, where regions are drawn, seed and step. params: shape is the
// size, p[0] random, p[1] overlapping.
static void fractional_max_pool(const struct ref_tensor *in, int count,
                                const struct ref_params *params,
                                struct ref_tensor *out)
{
    struct ref_tensor seen[3] = {*in};
    for (int d = 0; d < 2; d++) {
        const int64_t size = params->shape.dims[d];
        const int64_t samples = count == 3 ? in->shape.dims[0] : 1;
        const bool is_random = count == 3 && params->p[0] != 0;
        char path[64];
        struct ref_params draw = {
            .p = {0, 1}, .shape = {2, {samples, is_random ? size : 1}},
            .path = path};
        snprintf(path, sizeof path, "%s.%s", params->path ? params->path : "",
                 d == 0 ? "rows" : "columns");
        struct ref_tensor u;
        if (count == 3) {
            ref_find("random_uniform")(in + 1, 2, &draw, &u);
        } else {
            ref_make(&u, &draw.shape);
            u.data[0] = 0.5;
        }
        const struct ref_params cuts = {.p = {is_random, params->p[1]},
                                        .shape = {1, {size}},
                                        .count = in->shape.dims[d + 2]};
        fractional_regions(&u, 1, &cuts, &seen[d + 1]);
        ref_free(&u);
    }
    pool(seen, NULL, MAXIMUM, out);
    ref_free(&seen[1]);
    ref_free(&seen[2]);
}

static void adaptive_avg_pool(const struct ref_tensor *in, int count,
                              const struct ref_params *params,
                              struct ref_tensor *out)
{
    (void)count;
    struct ref_tensor seen[3] = {*in};
    for (int d = 0; d < 2; d++) {
        const int64_t size = params->shape.dims[d];
        const struct ref_shape shape = {3, {1, size, 2}};
        const double step = (double)in->shape.dims[d + 2] / (double)size;
        ref_make(&seen[d + 1], &shape);
        for (int64_t i = 0; i < size; i++) {
            seen[d + 1].data[2 * i] = floor((double)i * step + 1e-9);
            seen[d + 1].data[2 * i + 1] = ceil((double)(i + 1) * step - 1e-9);
        }
    }
    pool(seen, NULL, MEAN, out);
    ref_free(&seen[1]);
    ref_free(&seen[2]);
}

const struct ref_op ref_regions[] = {
    {"fractional_regions", fractional_regions},
    {"region_max", region_max},
    {"region_max_grad", region_max_grad},
    {"region_mean", region_mean},
    {"region_mean_grad", region_mean_grad},
    {"fractional_max_pool", fractional_max_pool},
    {"adaptive_avg_pool", adaptive_avg_pool},
    {NULL, NULL},
};
