// The parameters of poolings as their rows keep them. Uses base only.
#ifndef QN_OP_POOL_H
#define QN_OP_POOL_H

#include <stdbool.h>
#include <stdint.h>

struct qn_pool_dim {
    int64_t in, kernel, stride, dilation, low, high;
    int64_t out; // windows
};

struct qn_pool {
    struct qn_pool_dim dims[3]; // depth, height, width
    bool has_pad;               // padding counts in means
};

#endif
