// SPDX-License-Identifier: MIT
// Tensor operations. Each builder appends one node (or a few) to the graph and
// returns it, or NULL after the first error of the graph. Inputs may be NULL
// then. The comment of an operation is its formula.
//
// Shapes broadcast as in NumPy. Axes count from 0; negative ones from the end.
// int32 and uint8 operands of pointwise operations are converted to the
// graph's real type (exact up to 2^24 in float32). Comparisons give 1 or 0 in
// the real type. NaN in gives NaN out.
#ifndef QUERN_OP_H
#define QUERN_OP_H

#include <stdbool.h>

#include "quern/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

// ---- arithmetic, pointwise ----
QN_API qn_node *qn_add(qn_graph *g, qn_node *x, qn_node *y); // x + y
QN_API qn_node *qn_sub(qn_graph *g, qn_node *x, qn_node *y); // x - y
QN_API qn_node *qn_mul(qn_graph *g, qn_node *x, qn_node *y); // x * y
QN_API qn_node *qn_div(qn_graph *g, qn_node *x, qn_node *y); // x / y
QN_API qn_node *qn_pow(qn_graph *g, qn_node *x, qn_node *y); // x ^ y
QN_API qn_node *qn_max(qn_graph *g, qn_node *x, qn_node *y); // larger of both
QN_API qn_node *qn_min(qn_graph *g, qn_node *x, qn_node *y); // smaller of both
QN_API qn_node *qn_neg(qn_graph *g, qn_node *x);    // -x
QN_API qn_node *qn_abs(qn_graph *g, qn_node *x);    // |x|, gradient 0 at 0
QN_API qn_node *qn_exp(qn_graph *g, qn_node *x);    // e^x
QN_API qn_node *qn_log(qn_graph *g, qn_node *x);    // natural logarithm
QN_API qn_node *qn_sqrt(qn_graph *g, qn_node *x);   // x^(1/2)
QN_API qn_node *qn_square(qn_graph *g, qn_node *x); // x * x
QN_API qn_node *qn_add_scalar(qn_graph *g, qn_node *x, double p); // x + p
QN_API qn_node *qn_scale(qn_graph *g, qn_node *x, double p);      // p * x
// min(max(x, low), high); gradient 1 inside and on the borders
QN_API qn_node *qn_clamp(qn_graph *g, qn_node *x, double low, double high);

// ---- comparison and choice, pointwise, no gradient to the condition ----
QN_API qn_node *qn_equal(qn_graph *g, qn_node *x, qn_node *y);         // x == y
QN_API qn_node *qn_not_equal(qn_graph *g, qn_node *x, qn_node *y);     // x != y
QN_API qn_node *qn_less(qn_graph *g, qn_node *x, qn_node *y);          // x < y
QN_API qn_node *qn_less_equal(qn_graph *g, qn_node *x, qn_node *y);    // x <= y
QN_API qn_node *qn_greater(qn_graph *g, qn_node *x, qn_node *y);       // x > y
QN_API qn_node *qn_greater_equal(qn_graph *g, qn_node *x, qn_node *y); // x >= y
// condition != 0 ? x : y
QN_API qn_node *qn_select(qn_graph *g, qn_node *condition, qn_node *x,
                          qn_node *y);

// ---- activations, pointwise ----
QN_API qn_node *qn_relu(qn_graph *g, qn_node *x);    // x > 0 ? x : 0
QN_API qn_node *qn_sigmoid(qn_graph *g, qn_node *x); // 1 / (1 + e^-x)
QN_API qn_node *qn_tanh(qn_graph *g, qn_node *x);    // hyperbolic tangent
// x > 0 ? x : slope * x
QN_API qn_node *qn_leaky_relu(qn_graph *g, qn_node *x, double slope);
// x > 0 ? x : a * x, a broadcast to x: one for all ([1]) or one per channel
// ([C, 1, 1]). He et al. 2015
QN_API qn_node *qn_prelu(qn_graph *g, qn_node *x, qn_node *a);
// min(max(x, low), high); gradient 0 on the borders, as PyTorch's
QN_API qn_node *qn_hard_tanh(qn_graph *g, qn_node *x, double low, double high);
// min(max(x, 0), 6). Krizhevsky 2010
QN_API qn_node *qn_relu6(qn_graph *g, qn_node *x);
// x > 0 ? x : alpha (e^x - 1). Clevert, Unterthiner, Hochreiter 2016
QN_API qn_node *qn_elu(qn_graph *g, qn_node *x, double alpha);
// s (x > 0 ? x : a (e^x - 1)), s = 1.0507..., a = 1.6732...: activations keep
// mean 0 and variance 1. Klambauer et al. 2017
QN_API qn_node *qn_selu(qn_graph *g, qn_node *x);
// log(1 + e^x). Dugas et al. 2001
QN_API qn_node *qn_softplus(qn_graph *g, qn_node *x);
QN_API qn_node *qn_softsign(qn_graph *g, qn_node *x); // x / (1 + |x|)
// P(n <= x) = (1 + erf(x / sqrt(2))) / 2, n standard normal
QN_API qn_node *qn_normal_cdf(qn_graph *g, qn_node *x);
// x normal_cdf(x), and its approximation
// x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2. Hendrycks, Gimpel 2016
QN_API qn_node *qn_gelu(qn_graph *g, qn_node *x);
QN_API qn_node *qn_gelu_tanh(qn_graph *g, qn_node *x);
// x sigmoid(x). Elfwing, Uchibe, Doya 2018; Ramachandran, Zoph, Le 2017
QN_API qn_node *qn_silu(qn_graph *g, qn_node *x);
// x tanh(softplus(x)). Misra 2020
QN_API qn_node *qn_mish(qn_graph *g, qn_node *x);
// y[n, u, ...] = max over k < pieces of x[n, k * units + u, ...]; x has
// units * pieces features. Goodfellow et al. 2013
QN_API qn_node *qn_maxout(qn_graph *g, qn_node *x, int pieces);
// x > 0 ? dy : 0, the gradient of relu; x may be its input or its output
QN_API qn_node *qn_relu_gate(qn_graph *g, qn_node *x, qn_node *dy);

// ---- type ----
// To int32 (towards zero) or to the real type.
QN_API qn_node *qn_cast(qn_graph *g, qn_node *x, qn_dtype dtype);

// ---- reductions over `axes` (axis_count 0: over all) ----
struct qn_reduce_params {
    const int *axes;
    int axis_count;
    bool keep; // keep reduced dimensions as 1
};
#define qn_reduce_params(...) (&(struct qn_reduce_params){__VA_ARGS__})

QN_API qn_node *qn_sum(qn_graph *g, qn_node *x,
                       const struct qn_reduce_params *params); // sum x
QN_API qn_node *qn_mean(qn_graph *g, qn_node *x,
                        const struct qn_reduce_params *params); // sum x / n
// largest x; the gradient is shared equally among ties
QN_API qn_node *qn_reduce_max(qn_graph *g, qn_node *x,
                              const struct qn_reduce_params *params);
// Sums `x` over the dimensions along which `shape` broadcasts to it.
QN_API qn_node *qn_sum_to(qn_graph *g, qn_node *x, qn_shape shape);

// ---- normalisation ----
// Statistics are exact to rounding also where the mean is far from zero. eps
// is added to the variance; 1e-5 is PyTorch's.

// [2, ...], reduced dimensions kept as 1: mean x, then the population variance
// mean (x - mean x)^2, over the axes
QN_API qn_node *qn_moments(qn_graph *g, qn_node *x,
                           const struct qn_reduce_params *params);
// qn_moments over all axes but 1, the channels
QN_API qn_node *qn_channel_moments(qn_graph *g, qn_node *x);
// (x - mean) / sqrt(variance + eps) with the moments over the axes
QN_API qn_node *qn_standardize(qn_graph *g, qn_node *x,
                               const struct qn_reduce_params *params,
                               double eps);
// (x - mean) / sqrt(variance + eps) * gamma + beta, with the `moments` that
// qn_channel_moments gives for x[n, c, ...]; gamma[c] and beta[c], or NULL
// (Ioffe and Szegedy, Batch Normalization, ICML 2015).
QN_API qn_node *qn_batch_norm(qn_graph *g, qn_node *moments, qn_node *gamma,
                              qn_node *beta, double eps);
// The same with a given mean[c] and variance[c]
QN_API qn_node *qn_normalize(qn_graph *g, qn_node *x, qn_node *mean,
                             qn_node *variance, qn_node *gamma, qn_node *beta,
                             double eps);
// Each sample standardised over its last `dims` dimensions, times gamma, plus
// beta; both shaped like those dimensions, or NULL (Ba, Kiros, Hinton, Layer
// Normalization, 2016).
QN_API qn_node *qn_layer_norm(qn_graph *g, qn_node *x, int dims,
                              qn_node *gamma, qn_node *beta, double eps);
// x[n, c, ...] standardised over each of `groups` groups of channels of a
// sample, times gamma[c], plus beta[c], or NULL (Wu and He, Group
// Normalization, ECCV 2018). groups = c is instance normalisation.
QN_API qn_node *qn_group_norm(qn_graph *g, qn_node *x, int64_t groups,
                              qn_node *gamma, qn_node *beta, double eps);

// ---- pooling, over windows of x[n, c, ...] with 1 to 3 spatial dimensions ----
// As many windows as in PyTorch: (in + low + high - dilation (kernel - 1) - 1) /
// stride + 1, rounded down; with ceil_mode up, if the last one then begins
// before the padding behind x.
struct qn_pool_params { // one number for each spatial dimension: {h, w}
    int64_t kernel[3];
    int64_t stride[3];   // 0: as kernel
    int64_t dilation[3]; // 0: 1
    int64_t low[3];      // padding before and behind, less than a window
    int64_t high[3];
    bool ceil_mode;
    bool exclude_pad; // means: divide by the number of elements inside x
};
#define qn_pool_params(...) (&(struct qn_pool_params){__VA_ARGS__})
// largest x in each window; the gradient goes to the first one of ties
QN_API qn_node *qn_max_pool(qn_graph *g, qn_node *x,
                            const struct qn_pool_params *params);
// index of that element among those of its sample and channel; int32
QN_API qn_node *qn_max_pool_index(qn_graph *g, qn_node *x,
                                  const struct qn_pool_params *params);
// mean x of each window, zeros being padded
QN_API qn_node *qn_avg_pool(qn_graph *g, qn_node *x,
                            const struct qn_pool_params *params);

// ---- images x[n, c, h, w] at another size, as PyTorch's interpolate ----
// y[.., i, j] = x[.., floor(i h / height), floor(j w / width)]
QN_API qn_node *qn_upsample_nearest(qn_graph *g, qn_node *x, int64_t height,
                                    int64_t width);
// Between the four pixels around (i + 1/2) h / height - 1/2, but at least 0,
// and likewise in width; with align_corners around i (h - 1) / (height - 1), so
// that the corners of both images fall together.
QN_API qn_node *qn_upsample_bilinear(qn_graph *g, qn_node *x, int64_t height,
                                     int64_t width, bool align_corners);

// ---- shape and place ----
// One dimension may be -1 and is worked out. No copy where x is contiguous.
QN_API qn_node *qn_reshape(qn_graph *g, qn_node *x, qn_shape shape);
// Dimension i of the result is dimension order[i] of x. No copy by itself.
QN_API qn_node *qn_transpose(qn_graph *g, qn_node *x, const int *order);
QN_API qn_node *qn_broadcast_to(qn_graph *g, qn_node *x, qn_shape shape);
// x[..., start:stop:step, ...] along one axis, step >= 1; negative start and
// stop count from the end, as in NumPy. No copy by itself.
QN_API qn_node *qn_slice(qn_graph *g, qn_node *x, int axis, int64_t start,
                         int64_t stop, int64_t step);
// Zeros around: low[i] before, high[i] after, inner[i] between neighbours of
// dimension i, all >= 0; NULL is all 0.
QN_API qn_node *qn_pad(qn_graph *g, qn_node *x, const int64_t *low,
                       const int64_t *high, const int64_t *inner);
QN_API qn_node *qn_concat(qn_graph *g, qn_node *const *inputs, int count,
                          int axis);

// ---- matrix product ----
struct qn_matmul_params {
    bool trans_a; // the last two dimensions of a are swapped
    bool trans_b;
};
#define qn_matmul_params(...) (&(struct qn_matmul_params){__VA_ARGS__})
// op(a)[..., m, k] op(b)[..., k, n]; leading dimensions broadcast. `params`
// may be NULL.
QN_API qn_node *qn_matmul(qn_graph *g, qn_node *a, qn_node *b,
                          const struct qn_matmul_params *params);

// ---- convolution (cross-correlation, as everywhere in the field) ----
// Images are [n, c, h, w]. Each pair is vertical, horizontal.
struct qn_conv2d_params {
    int64_t stride[2];   // 1
    int64_t low[2];      // zeros above and to the left: 0
    int64_t high[2];     // zeros below and to the right: 0
    int64_t dilation[2]; // distance between the kernel's taps: 1
    int64_t groups;      // 1; as many as channels: depthwise
};
#define QN_CONV2D_DEFAULTS .stride = {1, 1}, .dilation = {1, 1}, .groups = 1
#define qn_conv2d_params(...) \
    (&(struct qn_conv2d_params){QN_CONV2D_DEFAULTS, __VA_ARGS__})
// x[n, c, h, w], w[o, c / groups, kh, kw]; y[n, o, p, q] = sum over the
// group's channels i and the taps a, b of
//   x[n, i, p stride + a dilation - low, q ...] w[o, i, a, b],
// p = floor((h + low + high - dilation (kh - 1) - 1) / stride) + 1. `params`
// may be NULL. A bias is the sum with a tensor [o, 1, 1].
QN_API qn_node *qn_conv2d(qn_graph *g, qn_node *x, qn_node *w,
                          const struct qn_conv2d_params *params);

struct qn_conv_transpose2d_params {
    int64_t stride[2];         // 1
    int64_t low[2];            // rows and columns cut off there: 0
    int64_t high[2];           // likewise: 0
    int64_t dilation[2];       // 1
    int64_t output_padding[2]; // less than stride or dilation: 0
    int64_t groups;            // 1
};
#define qn_conv_transpose2d_params(...) \
    (&(struct qn_conv_transpose2d_params){QN_CONV2D_DEFAULTS, __VA_ARGS__})
// x[n, c, h, w], w[c, o / groups, kh, kw]: what qn_conv2d does to gradients.
// y[n, o, p, q] = sum of x[n, i, s, t] w[i, o, a, b] over all s, a with
//   p = s stride + a dilation - low, and likewise q, t, b;
// p = (h - 1) stride - low - high + dilation (kh - 1) + output_padding + 1.
// Zeiler et al. 2010. `params` may be NULL.
QN_API qn_node *qn_conv_transpose2d(
    qn_graph *g, qn_node *x, qn_node *w,
    const struct qn_conv_transpose2d_params *params);

// ---- classification ----
// e^x_i / sum_j e^x_j along `axis`, shifted by the maximum against overflow
QN_API qn_node *qn_softmax(qn_graph *g, qn_node *x, int axis);
// x_i - log sum_j e^x_j along `axis`, shifted likewise
QN_API qn_node *qn_log_softmax(qn_graph *g, qn_node *x, int axis);
// logits[n, c], labels[n] int32: loss[n] = log sum_j e^x_j - x_label. A label
// outside [0, c) makes its sample's loss and gradient NaN.
QN_API qn_node *qn_softmax_cross_entropy(qn_graph *g, qn_node *logits,
                                         qn_node *labels);
// y[..., c] = x[...] == c ? 1 : 0 for int32 x; other values give zeros
QN_API qn_node *qn_one_hot(qn_graph *g, qn_node *x, int64_t classes);
// index of the largest element along `axis`, the first one of ties; int32.
// NaN counts as the largest.
QN_API qn_node *qn_argmax(qn_graph *g, qn_node *x, int axis);
// y[i, ...] = table[index[offset + i], ...], i < count: a batch out of a data
// set on the device. `offset` is a `qn_scalar`. Rows that do not exist are
// zeros: offset + i past the index, or an index outside the table. No gradient.
QN_API qn_node *qn_take(qn_graph *g, qn_node *table, qn_node *index,
                        qn_node *offset, int64_t count);

// ---- random (Philox4x32-10; Salmon et al., SC 2011) ----
// The key is made of `seed`, `step` and the node's scope and `use`; the counter is the
// element's index. So each step draws afresh, nothing is stored, and an edit
// elsewhere in the graph changes no number here.
// `seed` and `step` are `qn_scalar`s holding integers in [0, 2^32).
struct qn_random_params {
    qn_node *seed;
    qn_node *step;
    const char *use; // tells two draws in one scope apart, e.g. "dropout"
    // NULL, or a qn_scalar: the shape's first dimension counts samples, and the
    // first of them is this one, from 0. So a part of a batch draws what the
    // whole batch draws for it.
    qn_node *first;
};
#define qn_random_params(...) (&(struct qn_random_params){__VA_ARGS__})
// uniform in (0, 1) scaled to (low, high); rounding may give an end itself
QN_API qn_node *qn_random_uniform(qn_graph *g, qn_shape shape, double low,
                                  double high,
                                  const struct qn_random_params *params);
// mean + deviation * (standard normal by Box-Muller)
QN_API qn_node *qn_random_normal(qn_graph *g, qn_shape shape, double mean,
                                 double deviation,
                                 const struct qn_random_params *params);
// 1 with probability p (to the nearest multiple of 2^-32), else 0
QN_API qn_node *qn_random_bernoulli(qn_graph *g, qn_shape shape, double p,
                                    const struct qn_random_params *params);

// y[n, o] = sum_i m[n, o, i] w[o, i] x[n, i] for x[n, in] and w[out, in]: each
// sample has a mask m of its own, 1 with probability p, else 0, which is drawn
// by the kernels and never stored. Wan et al. 2013 (DropConnect)
QN_API qn_node *qn_dropconnect(qn_graph *g, qn_node *x, qn_node *w, double p,
                               const struct qn_random_params *params);

// ---- pooling over regions by chance, or evenly cut ----
// Fractional max-pooling (Graham 2014) of x[n, c, h, w] to `size`: regions of
// two lengths, floor and ceil of h / size, in random order, or with `pseudo`
// in the even order ceil(h / size (i + u)) - ceil(h / size u) with a random u;
// each sample has regions of its own, for rows and for columns. Regions lie
// side by side; `overlapping` ones hold the next one's first row too.
struct qn_fractional_params {
    int64_t size[2];
    bool pseudo;
    bool overlapping;
    struct qn_random_params draw; // no seed: fixed regions, pseudo with u = 1/2
};
#define qn_fractional_params(...) \
    (&(struct qn_fractional_params){__VA_ARGS__})
QN_API qn_node *
qn_fractional_max_pool(qn_graph *g, qn_node *x,
                       const struct qn_fractional_params *params);
// mean x[n, c, h, w] over rows floor(i h / height) to
// ceil((i + 1) h / height) - 1, and columns likewise
QN_API qn_node *qn_adaptive_avg_pool(qn_graph *g, qn_node *x, int64_t height,
                                     int64_t width);

// ---- state ----
// The variable becomes x at the end of the step; readers in this step see its
// old value. At most one assignment per variable and graph.
QN_API qn_node *qn_assign(qn_graph *g, qn_node *variable, qn_node *x);
// Makes all assignments declared so far depend on the scalar `gate`: in a run
// in which it is not finite their variables stay as they are. Not those of
// updates (optim.h), which have gates of their own. Replaces the assignments,
// so no node may read one. int32 variables keep values below 2^24 exactly.
QN_API qn_status qn_assign_gate(qn_graph *g, qn_node *gate);

// ---- gradients ----
// out[i] = d loss / d wrt[i] (zeros where loss does not depend on it). `loss`
// is a scalar. Appends ordinary nodes.
QN_API qn_status qn_gradients(qn_graph *g, qn_node *loss,
                              qn_node *const *wrt, int count, qn_node **out);

// ---- the table ----
// Name, formula, source (paper, or "definition") and kind ("pointwise",
// "kernel", "view", "leaf") of operation `index`; returns 0 past the last one.
typedef struct qn_op_info {
    const char *name;
    const char *formula;
    const char *source;
    const char *kind;
    int has_gradient;
} qn_op_info;
QN_API int qn_op_describe(int index, qn_op_info *info);

#ifdef __cplusplus
}
#endif

// Error texts name the line of the call: each builder is also a macro that
// leaves its place in the graph.
#ifndef QN_NO_CALL_SITES
#define QN_AT(g) qn_graph_at((g), __FILE__, __LINE__)
#define qn_add(g, ...) qn_add(QN_AT(g), __VA_ARGS__)
#define qn_sub(g, ...) qn_sub(QN_AT(g), __VA_ARGS__)
#define qn_mul(g, ...) qn_mul(QN_AT(g), __VA_ARGS__)
#define qn_div(g, ...) qn_div(QN_AT(g), __VA_ARGS__)
#define qn_pow(g, ...) qn_pow(QN_AT(g), __VA_ARGS__)
#define qn_max(g, ...) qn_max(QN_AT(g), __VA_ARGS__)
#define qn_min(g, ...) qn_min(QN_AT(g), __VA_ARGS__)
#define qn_neg(g, ...) qn_neg(QN_AT(g), __VA_ARGS__)
#define qn_abs(g, ...) qn_abs(QN_AT(g), __VA_ARGS__)
#define qn_exp(g, ...) qn_exp(QN_AT(g), __VA_ARGS__)
#define qn_log(g, ...) qn_log(QN_AT(g), __VA_ARGS__)
#define qn_sqrt(g, ...) qn_sqrt(QN_AT(g), __VA_ARGS__)
#define qn_square(g, ...) qn_square(QN_AT(g), __VA_ARGS__)
#define qn_add_scalar(g, ...) qn_add_scalar(QN_AT(g), __VA_ARGS__)
#define qn_scale(g, ...) qn_scale(QN_AT(g), __VA_ARGS__)
#define qn_clamp(g, ...) qn_clamp(QN_AT(g), __VA_ARGS__)
#define qn_equal(g, ...) qn_equal(QN_AT(g), __VA_ARGS__)
#define qn_not_equal(g, ...) qn_not_equal(QN_AT(g), __VA_ARGS__)
#define qn_less(g, ...) qn_less(QN_AT(g), __VA_ARGS__)
#define qn_less_equal(g, ...) qn_less_equal(QN_AT(g), __VA_ARGS__)
#define qn_greater(g, ...) qn_greater(QN_AT(g), __VA_ARGS__)
#define qn_greater_equal(g, ...) qn_greater_equal(QN_AT(g), __VA_ARGS__)
#define qn_select(g, ...) qn_select(QN_AT(g), __VA_ARGS__)
#define qn_relu(g, ...) qn_relu(QN_AT(g), __VA_ARGS__)
#define qn_sigmoid(g, ...) qn_sigmoid(QN_AT(g), __VA_ARGS__)
#define qn_tanh(g, ...) qn_tanh(QN_AT(g), __VA_ARGS__)
#define qn_leaky_relu(g, ...) qn_leaky_relu(QN_AT(g), __VA_ARGS__)
#define qn_prelu(g, ...) qn_prelu(QN_AT(g), __VA_ARGS__)
#define qn_hard_tanh(g, ...) qn_hard_tanh(QN_AT(g), __VA_ARGS__)
#define qn_relu6(g, ...) qn_relu6(QN_AT(g), __VA_ARGS__)
#define qn_elu(g, ...) qn_elu(QN_AT(g), __VA_ARGS__)
#define qn_selu(g, ...) qn_selu(QN_AT(g), __VA_ARGS__)
#define qn_softplus(g, ...) qn_softplus(QN_AT(g), __VA_ARGS__)
#define qn_softsign(g, ...) qn_softsign(QN_AT(g), __VA_ARGS__)
#define qn_normal_cdf(g, ...) qn_normal_cdf(QN_AT(g), __VA_ARGS__)
#define qn_gelu(g, ...) qn_gelu(QN_AT(g), __VA_ARGS__)
#define qn_gelu_tanh(g, ...) qn_gelu_tanh(QN_AT(g), __VA_ARGS__)
#define qn_silu(g, ...) qn_silu(QN_AT(g), __VA_ARGS__)
#define qn_mish(g, ...) qn_mish(QN_AT(g), __VA_ARGS__)
#define qn_maxout(g, ...) qn_maxout(QN_AT(g), __VA_ARGS__)
#define qn_relu_gate(g, ...) qn_relu_gate(QN_AT(g), __VA_ARGS__)
#define qn_cast(g, ...) qn_cast(QN_AT(g), __VA_ARGS__)
#define qn_sum(g, ...) qn_sum(QN_AT(g), __VA_ARGS__)
#define qn_mean(g, ...) qn_mean(QN_AT(g), __VA_ARGS__)
#define qn_reduce_max(g, ...) qn_reduce_max(QN_AT(g), __VA_ARGS__)
#define qn_sum_to(g, ...) qn_sum_to(QN_AT(g), __VA_ARGS__)
#define qn_moments(g, ...) qn_moments(QN_AT(g), __VA_ARGS__)
#define qn_channel_moments(g, ...) qn_channel_moments(QN_AT(g), __VA_ARGS__)
#define qn_standardize(g, ...) qn_standardize(QN_AT(g), __VA_ARGS__)
#define qn_batch_norm(g, ...) qn_batch_norm(QN_AT(g), __VA_ARGS__)
#define qn_normalize(g, ...) qn_normalize(QN_AT(g), __VA_ARGS__)
#define qn_layer_norm(g, ...) qn_layer_norm(QN_AT(g), __VA_ARGS__)
#define qn_group_norm(g, ...) qn_group_norm(QN_AT(g), __VA_ARGS__)
#define qn_max_pool(g, ...) qn_max_pool(QN_AT(g), __VA_ARGS__)
#define qn_max_pool_index(g, ...) qn_max_pool_index(QN_AT(g), __VA_ARGS__)
#define qn_avg_pool(g, ...) qn_avg_pool(QN_AT(g), __VA_ARGS__)
#define qn_upsample_nearest(g, ...) \
    qn_upsample_nearest(QN_AT(g), __VA_ARGS__)
#define qn_upsample_bilinear(g, ...) \
    qn_upsample_bilinear(QN_AT(g), __VA_ARGS__)
#define qn_fractional_max_pool(g, ...) \
    qn_fractional_max_pool(QN_AT(g), __VA_ARGS__)
#define qn_adaptive_avg_pool(g, ...) \
    qn_adaptive_avg_pool(QN_AT(g), __VA_ARGS__)
#define qn_reshape(g, ...) qn_reshape(QN_AT(g), __VA_ARGS__)
#define qn_transpose(g, ...) qn_transpose(QN_AT(g), __VA_ARGS__)
#define qn_broadcast_to(g, ...) qn_broadcast_to(QN_AT(g), __VA_ARGS__)
#define qn_slice(g, ...) qn_slice(QN_AT(g), __VA_ARGS__)
#define qn_pad(g, ...) qn_pad(QN_AT(g), __VA_ARGS__)
#define qn_concat(g, ...) qn_concat(QN_AT(g), __VA_ARGS__)
#define qn_matmul(g, ...) qn_matmul(QN_AT(g), __VA_ARGS__)
#define qn_conv2d(g, ...) qn_conv2d(QN_AT(g), __VA_ARGS__)
#define qn_conv_transpose2d(g, ...) \
    qn_conv_transpose2d(QN_AT(g), __VA_ARGS__)
#define qn_softmax(g, ...) qn_softmax(QN_AT(g), __VA_ARGS__)
#define qn_log_softmax(g, ...) qn_log_softmax(QN_AT(g), __VA_ARGS__)
#define qn_softmax_cross_entropy(g, ...) \
    qn_softmax_cross_entropy(QN_AT(g), __VA_ARGS__)
#define qn_one_hot(g, ...) qn_one_hot(QN_AT(g), __VA_ARGS__)
#define qn_argmax(g, ...) qn_argmax(QN_AT(g), __VA_ARGS__)
#define qn_take(g, ...) qn_take(QN_AT(g), __VA_ARGS__)
#define qn_random_uniform(g, ...) qn_random_uniform(QN_AT(g), __VA_ARGS__)
#define qn_random_normal(g, ...) qn_random_normal(QN_AT(g), __VA_ARGS__)
#define qn_random_bernoulli(g, ...) qn_random_bernoulli(QN_AT(g), __VA_ARGS__)
#define qn_dropconnect(g, ...) qn_dropconnect(QN_AT(g), __VA_ARGS__)
#define qn_assign(g, ...) qn_assign(QN_AT(g), __VA_ARGS__)
#define qn_assign_gate(g, ...) qn_assign_gate(QN_AT(g), __VA_ARGS__)
#define qn_gradients(g, ...) qn_gradients(QN_AT(g), __VA_ARGS__)
#endif

#endif
