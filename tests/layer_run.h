// A model of a few layers carried out once.
#ifndef QN_LAYER_RUN_H
#define QN_LAYER_RUN_H

#include "quern/nn.h"
#include "quern/op.h"
#include "quern/plan.h"

struct layer_run {
    const char *model;
    qn_shape shape; // of x
    bool training, stochastic;
    uint32_t seed, step;
    uint32_t first; // number of x's first sample, 0: it is not told
    // The parameter to set instead of leaving it as it starts; may be NULL.
    const char *parameter;
    const float *values;
    int64_t out_count; // filled: elements of y
    char launches[4096]; // filled: the plan, a launch a line
};

// y = model(x), count[y] values; unless dx is NULL, d sum(y) / dx too, and
// with dw that of the parameter. The model's parameters start from seed 1.
void layer_run(struct layer_run *run, const float *x, float *y, float *dx,
               float *dw);

#endif
