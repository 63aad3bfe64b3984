// What convolution and pooling have in common: the attributes of a window.
#include "onnx/window.h"

enum { MOST = 1 << 24 }; // of any attribute: no sum overflows

static void read_each(struct qn_onnx_use *use, const char *name, int rank,
                      int64_t value, int64_t least, int64_t *values)
{
    int64_t given[2 * QN_ONNX_MAX_SPACE];
    const int count = qn_onnx_ints(use, name, given, 2 * QN_ONNX_MAX_SPACE);
    if (count >= 0 && count != rank)
        qn_onnx_fail(use, QN_BAD_SHAPE, "%s has %d values for %d dimensions",
                     name, count, rank);
    for (int d = 0; d < rank; d++) {
        values[d] = count == rank ? given[d] : value;
        if (values[d] < least || values[d] > MOST)
            qn_onnx_fail(use, QN_UNSUPPORTED, "%s of %lld", name,
                         (long long)values[d]);
    }
}

static void read_kernel(struct qn_onnx_use *use, const qn_node *weight,
                        struct qn_onnx_window *window)
{
    const qn_shape shape = qn_onnx_shape(weight);
    read_each(use, "kernel_shape", window->rank, 0, weight ? 0 : 1,
              window->kernel);
    if (weight && shape.rank != window->rank + 2)
        qn_onnx_fail(use, QN_BAD_SHAPE,
                     "an input of %d dimensions and a weight of %d",
                     window->rank + 2, shape.rank);
    for (int d = 0; d < window->rank && weight && !qn_onnx_failed(use); d++) {
        const int64_t k = shape.dims[2 + d];
        if (window->kernel[d] && window->kernel[d] != k)
            qn_onnx_fail(use, QN_BAD_SHAPE,
                         "kernel_shape differs from the weight's");
        window->kernel[d] = k;
    }
}

// SAME: as many outputs as strides fit; what is odd goes to the end (UPPER)
// or to the start (LOWER).
static void pad_same(struct qn_onnx_window *window, int d, bool is_upper)
{
    const int64_t s = window->stride[d];
    const int64_t out = (window->in[d] + s - 1) / s;
    const int64_t extent = (window->kernel[d] - 1) * window->dilation[d] + 1;
    int64_t pad = (out - 1) * s + extent - window->in[d];
    pad = pad > 0 ? pad : 0;
    window->low[d] = is_upper ? pad / 2 : pad - pad / 2;
    window->high[d] = pad - window->low[d];
}

static void read_pads(struct qn_onnx_use *use, struct qn_onnx_window *window)
{
    int64_t pads[2 * QN_ONNX_MAX_SPACE];
    const bool is_upper =
        qn_onnx_text_is(use, "auto_pad", "NOTSET", "SAME_UPPER");
    const bool is_lower =
        qn_onnx_text_is(use, "auto_pad", "NOTSET", "SAME_LOWER");
    const bool is_given = qn_onnx_text_is(use, "auto_pad", "NOTSET", "NOTSET");
    if (!is_upper && !is_lower && !is_given &&
        !qn_onnx_text_is(use, "auto_pad", "NOTSET", "VALID"))
        qn_onnx_fail(use, QN_UNSUPPORTED, "an unknown auto_pad");
    read_each(use, "pads", 2 * window->rank, 0, 0, pads);
    for (int d = 0; d < window->rank && !qn_onnx_failed(use); d++) {
        window->low[d] = is_given ? pads[d] : 0;
        window->high[d] = is_given ? pads[d + window->rank] : 0;
        if (is_upper || is_lower)
            pad_same(window, d, is_upper);
    }
}

int64_t qn_onnx_window_count(const struct qn_onnx_window *window, int d)
{
    const int64_t room = window->in[d] + window->low[d] + window->high[d] -
                         (window->kernel[d] - 1) * window->dilation[d] - 1;
    return room < 0 ? 0 : room / window->stride[d] + 1;
}

bool qn_onnx_window_read(struct qn_onnx_use *use, const qn_node *x,
                         const qn_node *weight, struct qn_onnx_window *window)
{
    const qn_shape shape = qn_onnx_shape(x);
    *window = (struct qn_onnx_window){.rank = shape.rank - 2};
    if (window->rank < 1)
        qn_onnx_fail(use, QN_BAD_SHAPE, "needs an input [n, c, ...]");
    if (qn_onnx_failed(use))
        return false;
    for (int d = 0; d < window->rank; d++)
        window->in[d] = shape.dims[2 + d];
    read_kernel(use, weight, window);
    read_each(use, "strides", window->rank, 1, 1, window->stride);
    read_each(use, "dilations", window->rank, 1, 1, window->dilation);
    read_pads(use, window);
    return !qn_onnx_failed(use);
}
