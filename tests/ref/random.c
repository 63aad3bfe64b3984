// Reference of the random operations: Philox4x32-10 of Random123 itself.
//
// Word i is word i mod 4 of the block whose counter is (i / 4 low, i / 4
// high, step, seed) under the key (low, high) of the FNV-1a hash of the path.
// u = (word + 1/2) / 2^32.
#include <math.h>
#include <stddef.h>
#include <Random123/philox.h>

#include "ref/ref.h"

// Fowler, Noll, Vo: 64 bits.
static uint64_t hash(const char *text)
{
    uint64_t h = 14695981039346656037u;
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 1099511628211u;
    return h;
}

// in[0] is the seed, in[1] the step.
static uint32_t word(const struct ref_tensor *in,
                     const struct ref_params *params, int64_t i)
{
    const uint64_t key = hash(params->path);
    const philox4x32_ctr_t counter = {{(uint32_t)(i / 4),
                                       (uint32_t)(i / 4 >> 32),
                                       (uint32_t)in[1].data[0],
                                       (uint32_t)in[0].data[0]}};
    const philox4x32_key_t keys = {{(uint32_t)key, (uint32_t)(key >> 32)}};
    return philox4x32(counter, keys).v[i % 4];
}

static double unit(const struct ref_tensor *in,
                   const struct ref_params *params, int64_t i)
{
    return (word(in, params, i) + 0.5) / 4294967296.0;
}

static void uniform(const struct ref_tensor *in, int count,
                    const struct ref_params *params, struct ref_tensor *out)
{
    (void)count;
    const double low = params->p[0], high = params->p[1];
    ref_make(out, &params->shape);
    for (int64_t i = 0; i < ref_count(&params->shape); i++)
        out->data[i] = low + (high - low) * unit(in, params, i);
}

// Pairs of words give pairs of normals.
static void normal(const struct ref_tensor *in, int count,
                   const struct ref_params *params, struct ref_tensor *out)
{
    (void)count;
    ref_make(out, &params->shape);
    for (int64_t i = 0; i < ref_count(&params->shape); i++) {
        const int64_t even = i - i % 2;
        const double radius = sqrt(-2 * log(unit(in, params, even)));
        const double turn = 2 * acos(-1) * unit(in, params, even + 1);
        out->data[i] = params->p[0] + params->p[1] * radius *
                                          (i % 2 ? sin(turn) : cos(turn));
    }
}

static void bernoulli(const struct ref_tensor *in, int count,
                      const struct ref_params *params,
                      struct ref_tensor *out)
{
    (void)count;
    ref_make(out, &params->shape);
    for (int64_t i = 0; i < ref_count(&params->shape); i++)
        out->data[i] = unit(in, params, i) < params->p[0];
}

// ---- products with a mask; in[2] is the seed, in[3] the step ----

static double kept(const struct ref_tensor *in,
                   const struct ref_params *params, int64_t i)
{
    return unit(in + 2, params, i) < params->p[0];
}

static void dropconnect(const struct ref_tensor *in, int count,
                        const struct ref_params *params,
                        struct ref_tensor *out)
{
    (void)count;
    const int64_t n = in[0].shape.dims[0], w = in[0].shape.dims[1];
    const int64_t h = in[1].shape.dims[0];
    ref_make(out, &(struct ref_shape){2, {n, h}});
    for (int64_t k = 0; k < n * h * w; k++)
        out->data[k / w] += kept(in, params, k) *
                            in[0].data[k / (h * w) * w + k % w] *
                            in[1].data[k % (h * w)];
}

static void dropconnect_dx(const struct ref_tensor *in, int count,
                           const struct ref_params *params,
                           struct ref_tensor *out)
{
    (void)count;
    const int64_t n = in[0].shape.dims[0], h = in[0].shape.dims[1];
    const int64_t w = in[1].shape.dims[1];
    ref_make(out, &(struct ref_shape){2, {n, w}});
    for (int64_t k = 0; k < n * h * w; k++)
        out->data[k / (h * w) * w + k % w] += kept(in, params, k) *
                                              in[0].data[k / w] *
                                              in[1].data[k % (h * w)];
}

static void dropconnect_dw(const struct ref_tensor *in, int count,
                           const struct ref_params *params,
                           struct ref_tensor *out)
{
    (void)count;
    const int64_t n = in[0].shape.dims[0], w = in[0].shape.dims[1];
    const int64_t h = in[1].shape.dims[1];
    ref_make(out, &(struct ref_shape){2, {h, w}});
    for (int64_t k = 0; k < n * h * w; k++)
        out->data[k % (h * w)] += kept(in, params, k) *
                                  in[0].data[k / (h * w) * w + k % w] *
                                  in[1].data[k / w];
}

const struct ref_op ref_random[] = {
    {"dropconnect", dropconnect},
    {"dropconnect_dx", dropconnect_dx},
    {"dropconnect_dw", dropconnect_dw},
    {"random_uniform", uniform},
    {"random_normal", normal},
    {"random_bernoulli", bernoulli},
    {NULL, NULL},
};
