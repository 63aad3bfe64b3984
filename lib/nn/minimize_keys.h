// Keys that the rows of all minimizers begin with.
#ifndef QN_NN_MINIMIZE_KEYS_H
#define QN_NN_MINIMIZE_KEYS_H

#include "nn/minimize.h"

// clang-format off
#define QN_COMMON_KEYS(search)                                                \
    [QN_KEY_LINE_SEARCH] =                                                    \
        {"line_search", search, 0, 2, "strong_wolfe|armijo|none", false,      \
         "none: a fixed step of lr; PyTorch's default for lbfgs"},            \
    [QN_KEY_TRIALS] = {"trials", 25, 1, 1000, NULL, true,                     \
                       "evaluations of one line search"},                     \
    [QN_KEY_TOLERANCE_GRAD] = {"tolerance_grad", 1e-7, 0, 1e6, NULL, false,   \
                               "stops where max |dx| is no larger"},          \
    [QN_KEY_TOLERANCE_CHANGE] =                                               \
        {"tolerance_change", 1e-9, 0, 1e6, NULL, false,                       \
         "stops where x or the loss changes by no more"}
// clang-format on

#endif
