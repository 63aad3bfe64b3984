// Convolution and its transpose in one to three dimensions of space, by those
// in two: a line is a plane of height 1, and a volume's taps in depth are
// planes whose results are summed.
#include "onnx/window.h"
#include "quern/op.h"

enum { MOST_TAPS = 64 }; // in depth

// ---- between volumes and planes ----

// x[n, c, rest...] with dimensions 1 and 2 swapped
static qn_node *swap(qn_graph *g, qn_node *x)
{
    const int order[] = {0, 2, 1, 3, 4};
    return qn_transpose(g, x, order);
}

// x[n, c, d, h, w] as [n d, c, h, w]
static qn_node *to_planes(qn_graph *g, qn_node *x)
{
    const qn_shape shape = qn_onnx_shape(x);
    return qn_reshape(g, swap(g, x),
                      qn_shape_of(-1, shape.dims[1], shape.dims[3],
                                  shape.dims[4]));
}

// x[n d, c, h, w] as [n, c, d, h, w]
static qn_node *to_volume(qn_graph *g, qn_node *x, int64_t n)
{
    const qn_shape shape = qn_onnx_shape(x);
    return swap(g, qn_reshape(g, x,
                              qn_shape_of(n, -1, shape.dims[1],
                                          shape.dims[2], shape.dims[3])));
}

// Tap k in depth of w[o, c, d, h, w]
static qn_node *tap(qn_graph *g, qn_node *w, int64_t k)
{
    const qn_shape shape = qn_onnx_shape(w);
    return qn_reshape(g, qn_slice(g, w, 2, k, k + 1, 1),
                      qn_shape_of(shape.dims[0], shape.dims[1],
                                  shape.dims[3], shape.dims[4]));
}

// [n, c, l] as [n, c, 1, l], and back
static qn_node *to_plane(qn_graph *g, qn_node *x)
{
    const qn_shape shape = qn_onnx_shape(x);
    return qn_reshape(g, x, qn_shape_of(shape.dims[0], shape.dims[1], 1,
                                        shape.dims[2]));
}

static qn_node *to_line(qn_graph *g, qn_node *x)
{
    const qn_shape shape = qn_onnx_shape(x);
    return qn_reshape(g, x, qn_shape_of(shape.dims[0], shape.dims[1],
                                        shape.dims[3]));
}

// x with zeros before and after axis 2, and `inner` between its elements
static qn_node *pad_depth(qn_graph *g, qn_node *x, int64_t low, int64_t high,
                          int64_t inner)
{
    const int64_t lows[5] = {0, 0, low}, highs[5] = {0, 0, high};
    const int64_t inners[5] = {0, 0, inner};
    return low || high || inner ? qn_pad(g, x, lows, highs, inners) : x;
}

static void check_space(struct qn_onnx_use *use,
                        const struct qn_onnx_window *window)
{
    if (window->rank > 3)
        qn_onnx_fail(use, QN_UNSUPPORTED, "over %d dimensions of space",
                     window->rank);
    if (window->rank == 3 && window->kernel[0] > MOST_TAPS)
        qn_onnx_fail(use, QN_UNSUPPORTED, "%lld taps in depth",
                     (long long)window->kernel[0]);
}

// The last two dimensions of a window; a line's first is 1.
static void plane_of(const int64_t *values, int rank, int64_t missing,
                     int64_t plane[2])
{
    plane[0] = rank > 1 ? values[rank - 2] : missing;
    plane[1] = values[rank - 1];
}

static qn_node *add_bias(struct qn_onnx_use *use, qn_node *y, qn_node *bias)
{
    qn_shape shape = {.rank = qn_onnx_shape(y).rank - 1};
    if (!bias)
        return y;
    if (qn_onnx_shape(bias).rank != 1) {
        qn_onnx_fail(use, QN_BAD_SHAPE, "the bias must be a vector");
        return NULL;
    }
    for (int d = 0; d < shape.rank; d++)
        shape.dims[d] = d ? 1 : qn_onnx_shape(bias).dims[0];
    return qn_add(use->g, y, qn_reshape(use->g, bias, shape));
}

// ---- forward ----

static qn_node *convolve(qn_graph *g, qn_node *x, qn_node *w,
                         const struct qn_conv2d_params *params,
                         const struct qn_onnx_window *window)
{
    const int64_t n = qn_onnx_shape(x).dims[0], s = window->stride[0];
    const int64_t depth = qn_onnx_window_count(window, 0);
    const int64_t dilation = window->dilation[0];
    if (window->rank == 1)
        return to_line(g, qn_conv2d(g, to_plane(g, x), to_plane(g, w),
                                    params));
    if (window->rank == 2)
        return qn_conv2d(g, x, w, params);
    qn_node *sum = NULL;
    x = pad_depth(g, x, window->low[0], window->high[0], 0);
    for (int64_t k = 0; k < window->kernel[0]; k++) {
        const int64_t start = k * dilation;
        qn_node *slice = qn_slice(g, x, 2, start,
                                  start + (depth - 1) * s + 1, s);
        qn_node *y = qn_conv2d(g, to_planes(g, slice), tap(g, w, k), params);
        sum = k ? qn_add(g, sum, y) : y;
    }
    return to_volume(g, sum, n);
}

static void build_conv(struct qn_onnx_use *use)
{
    struct qn_onnx_window window;
    qn_node *x = qn_onnx_in(use, 0), *w = qn_onnx_in(use, 1);
    struct qn_conv2d_params params = {.groups = qn_onnx_int(use, "group", 1)};
    if (!qn_onnx_window_read(use, x, w, &window))
        return;
    check_space(use, &window);
    if (qn_onnx_failed(use))
        return;
    plane_of(window.stride, window.rank, 1, params.stride);
    plane_of(window.dilation, window.rank, 1, params.dilation);
    plane_of(window.low, window.rank, 0, params.low);
    plane_of(window.high, window.rank, 0, params.high);
    use->out[0] = add_bias(use, convolve(use->g, x, w, &params, &window),
                           qn_onnx_in(use, 2));
}

// ---- transposed ----

// How much longer than what its padding leaves each dimension is.
struct outputs {
    int64_t more[QN_ONNX_MAX_SPACE];
};

// A given output shape, or that of auto_pad, decides the padding: what the
// window reaches beyond it is cut off, what it falls short is added.
static void fit(struct qn_onnx_use *use, struct qn_onnx_window *window, int d,
                int64_t want, struct outputs *outputs)
{
    const int64_t reach = (window->in[d] - 1) * window->stride[d] +
                          (window->kernel[d] - 1) * window->dilation[d] + 1 +
                          outputs->more[d];
    const int64_t cut = reach > want ? reach - want : 0;
    const bool is_upper =
        qn_onnx_text_is(use, "auto_pad", "NOTSET", "SAME_UPPER");
    window->low[d] = is_upper ? cut / 2 : cut - cut / 2;
    window->high[d] = cut - window->low[d];
    if (reach < want)
        outputs->more[d] += want - reach;
}

static void read_outputs(struct qn_onnx_use *use,
                         struct qn_onnx_window *window,
                         struct outputs *outputs)
{
    int64_t shape[QN_ONNX_MAX_SPACE], more[QN_ONNX_MAX_SPACE];
    const int given =
        qn_onnx_ints(use, "output_shape", shape, QN_ONNX_MAX_SPACE);
    const int padded =
        qn_onnx_ints(use, "output_padding", more, QN_ONNX_MAX_SPACE);
    const bool is_same =
        qn_onnx_text_is(use, "auto_pad", "NOTSET", "SAME_UPPER") ||
        qn_onnx_text_is(use, "auto_pad", "NOTSET", "SAME_LOWER");
    if ((given >= 0 && given != window->rank) ||
        (padded >= 0 && padded != window->rank))
        qn_onnx_fail(use, QN_BAD_SHAPE, "output_shape or output_padding has "
                     "not %d values", window->rank);
    for (int d = 0; d < window->rank && !qn_onnx_failed(use); d++) {
        outputs->more[d] = padded < 0 ? 0 : more[d];
        if (given >= 0 || is_same)
            fit(use, window, d,
                given >= 0 ? shape[d] : window->in[d] * window->stride[d],
                outputs);
    }
}

// Depth after all taps: cut to what padding leaves, zeros beyond the reach.
static qn_node *trim_depth(qn_graph *g, qn_node *y,
                           const struct qn_onnx_window *window, int64_t more)
{
    const int64_t reach = qn_onnx_shape(y).dims[2];
    const int64_t stop = reach - window->high[0] + more;
    y = qn_slice(g, y, 2, window->low[0], stop < reach ? stop : reach, 1);
    return pad_depth(g, y, 0, stop > reach ? stop - reach : 0, 0);
}

static qn_node *transpose(qn_graph *g, qn_node *x, qn_node *w,
                          const struct qn_conv_transpose2d_params *params,
                          const struct qn_onnx_window *window, int64_t more)
{
    const int64_t n = qn_onnx_shape(x).dims[0];
    if (window->rank == 1)
        return to_line(g, qn_conv_transpose2d(g, to_plane(g, x),
                                              to_plane(g, w), params));
    if (window->rank == 2)
        return qn_conv_transpose2d(g, x, w, params);
    qn_node *sum = NULL, *planes = to_planes(g, x);
    for (int64_t k = 0; k < window->kernel[0]; k++) {
        const int64_t after = window->kernel[0] - 1 - k;
        qn_node *y = to_volume(
            g, qn_conv_transpose2d(g, planes, tap(g, w, k), params), n);
        y = pad_depth(g, y, k * window->dilation[0],
                      after * window->dilation[0], window->stride[0] - 1);
        sum = k ? qn_add(g, sum, y) : y;
    }
    return trim_depth(g, sum, window, more);
}

static void build_conv_transpose(struct qn_onnx_use *use)
{
    struct qn_onnx_window window;
    struct outputs outputs;
    qn_node *x = qn_onnx_in(use, 0), *w = qn_onnx_in(use, 1);
    struct qn_conv_transpose2d_params params = {
        .groups = qn_onnx_int(use, "group", 1)};
    if (!qn_onnx_window_read(use, x, w, &window))
        return;
    read_outputs(use, &window, &outputs);
    check_space(use, &window);
    if (qn_onnx_failed(use))
        return;
    plane_of(window.stride, window.rank, 1, params.stride);
    plane_of(window.dilation, window.rank, 1, params.dilation);
    plane_of(window.low, window.rank, 0, params.low);
    plane_of(window.high, window.rank, 0, params.high);
    plane_of(outputs.more, window.rank, 0, params.output_padding);
    use->out[0] = add_bias(
        use, transpose(use->g, x, w, &params, &window, outputs.more[0]),
        qn_onnx_in(use, 2));
}

#define WINDOW "kernel_shape strides dilations pads auto_pad group "

const struct qn_onnx_row qn_onnx_conv_rows[] = {
    {.op = "Conv", .since = 1, .until = QN_ONNX_ANY, .min_inputs = 2,
     .max_inputs = 3, .max_outputs = 1, .attributes = WINDOW,
     .build = build_conv},
    {.op = "ConvTranspose", .since = 1, .until = QN_ONNX_ANY,
     .min_inputs = 2, .max_inputs = 3, .max_outputs = 1,
     .attributes = WINDOW "output_padding output_shape",
     .build = build_conv_transpose},
    {0},
};
