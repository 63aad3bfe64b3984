// Reference of convolution, by scattering: each pair of a pixel of the small
// image and a tap of the kernel meets one pixel of the large image, or none.
#include <stddef.h>

#include "ref/ref.h"

// Extents, with the large image as x and the small one as y.
struct sizes {
    int64_t n, c, o;
    int64_t x[2], y[2], w[2];
};

enum { INTO_Y, INTO_X, INTO_W };

// One plane of each: x[row][column], y[p][q], w[a][b].
static void meet_planes(const struct sizes *s, const struct ref_params *params,
                        double *x, double *y, double *w, int into)
{
    const struct ref_shape pairs = {4, {s->y[0], s->y[1], s->w[0], s->w[1]}};
    for (int64_t i = 0; i < ref_count(&pairs); i++) {
        int64_t at[4]; // p, q, a, b
        ref_unravel(&pairs, i, at);
        const int64_t row = at[0] * params->stride[0] +
                            at[2] * params->dilation[0] - params->low[0];
        const int64_t column = at[1] * params->stride[1] +
                               at[3] * params->dilation[1] - params->low[1];
        if (row < 0 || row >= s->x[0] || column < 0 || column >= s->x[1])
            continue;
        double *x_at = x + row * s->x[1] + column;
        double *y_at = y + at[0] * s->y[1] + at[1];
        double *w_at = w + at[2] * s->w[1] + at[3];
        if (into == INTO_Y)
            *y_at += *x_at * *w_at;
        else if (into == INTO_X)
            *x_at += *y_at * *w_at;
        else
            *w_at += *x_at * *y_at;
    }
}

static void meet(const struct sizes *s, const struct ref_params *params,
                 double *x, double *y, double *w, int into)
{
    const int64_t c_group = s->c / params->groups;
    const int64_t o_group = s->o / params->groups;
    for (int64_t n = 0; n < s->n; n++)
        for (int64_t o = 0; o < s->o; o++)
            for (int64_t c = 0; c < c_group; c++) {
                const int64_t from = o / o_group * c_group + c;
                meet_planes(s, params,
                            x + (n * s->c + from) * s->x[0] * s->x[1],
                            y + (n * s->o + o) * s->y[0] * s->y[1],
                            w + (o * c_group + c) * s->w[0] * s->w[1], into);
            }
}

static struct ref_shape image(int64_t n, int64_t c, const int64_t size[2])
{
    return (struct ref_shape){4, {n, c, size[0], size[1]}};
}

// y = conv2d(x, w)
static void conv2d(const struct ref_tensor *in, int count,
                   const struct ref_params *params, struct ref_tensor *out)
{
    (void)count;
    const int64_t *x = in[0].shape.dims, *w = in[1].shape.dims;
    struct sizes s = {x[0], x[1], w[0], {x[2], x[3]}, {0}, {w[2], w[3]}};
    for (int i = 0; i < 2; i++) {
        const int64_t reach = params->dilation[i] * (s.w[i] - 1);
        s.y[i] = (s.x[i] + params->low[i] + params->high[i] - reach - 1) /
                     params->stride[i] + 1;
    }
    const struct ref_shape shape = image(s.n, s.o, s.y);
    ref_make(out, &shape);
    meet(&s, params, in[0].data, out->data, in[1].data, INTO_Y);
}

// x = conv_transpose2d(y, w)
static void conv_transpose2d(const struct ref_tensor *in, int count,
                             const struct ref_params *params,
                             struct ref_tensor *out)
{
    (void)count;
    const int64_t *y = in[0].shape.dims, *w = in[1].shape.dims;
    struct sizes s = {y[0], w[1] * params->groups, y[1], {0}, {y[2], y[3]},
                      {w[2], w[3]}};
    for (int i = 0; i < 2; i++)
        s.x[i] = (s.y[i] - 1) * params->stride[i] - params->low[i] -
                 params->high[i] + params->dilation[i] * (s.w[i] - 1) +
                 params->output_padding[i] + 1;
    const struct ref_shape shape = image(s.n, s.c, s.x);
    ref_make(out, &shape);
    meet(&s, params, out->data, in[0].data, in[1].data, INTO_X);
}

// The weight's gradient from x and dy; params->shape is the weight's.
static void weight_grad(const struct ref_tensor *in, int count,
                        const struct ref_params *params,
                        struct ref_tensor *out)
{
    (void)count;
    const int64_t *x = in[0].shape.dims, *y = in[1].shape.dims;
    const int64_t *w = params->shape.dims;
    const struct sizes s = {x[0], x[1], y[1], {x[2], x[3]}, {y[2], y[3]},
                            {w[2], w[3]}};
    ref_make(out, &params->shape);
    meet(&s, params, in[0].data, in[1].data, out->data, INTO_W);
}

const struct ref_op ref_conv[] = {
    {"conv2d", conv2d},
    {"conv_transpose2d", conv_transpose2d},
    {"conv2d_weight_grad", weight_grad},
    {NULL, NULL},
};
