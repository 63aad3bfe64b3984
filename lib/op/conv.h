// What the two files about convolution share: its geometry.
#ifndef QN_OP_CONV_H
#define QN_OP_CONV_H

#include "op/rules.h"

// Maps a large image to a small one, vertically [0] and horizontally [1]:
//   small[p] takes large[p stride + a dilation - low] by tap a < kernel.
// All three rows share it: the transposed convolution maps small to large.
struct qn_conv {
    int64_t stride[2], low[2], high[2], dilation[2], kernel[2];
    int64_t large[2], small[2];
    int64_t groups;
};

// conv2d (0), conv_transpose2d (1) or conv2d_weight_grad (2).
enum qn_conv_kind { QN_CONV_FORWARD, QN_CONV_TRANSPOSE, QN_CONV_WEIGHT_GRAD };
enum qn_conv_kind qn_conv_kind_of(const struct qn_node *node);

// Images, and channels of the large and of the small one.
struct qn_conv_counts {
    int64_t images, large, small;
};
struct qn_conv_counts qn_conv_counts_of(const struct qn_node *node);

extern const struct qn_candidate qn_conv_candidates[], qn_conv_weights_candidates[];

#endif
