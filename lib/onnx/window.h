// Windows that slide over the dimensions after batch and channels. For
// lib/onnx alone.
#ifndef QN_ONNX_WINDOW_H
#define QN_ONNX_WINDOW_H

#include "onnx/row.h"

enum { QN_ONNX_MAX_SPACE = QN_MAX_RANK - 2 };

// By dimension of space.
struct qn_onnx_window {
    int rank;
    int64_t in[QN_ONNX_MAX_SPACE];
    int64_t kernel[QN_ONNX_MAX_SPACE];
    int64_t stride[QN_ONNX_MAX_SPACE];
    int64_t dilation[QN_ONNX_MAX_SPACE];
    int64_t low[QN_ONNX_MAX_SPACE];  // padding before
    int64_t high[QN_ONNX_MAX_SPACE]; // and after
};

// Reads kernel_shape, strides, dilations, pads and auto_pad; the kernel is
// that of `weight` [.., .., k...] where one is given. False on failure.
bool qn_onnx_window_read(struct qn_onnx_use *use, const qn_node *x,
                         const qn_node *weight,
                         struct qn_onnx_window *window);
// How many windows fit along dimension d.
int64_t qn_onnx_window_count(const struct qn_onnx_window *window, int d);

#endif
