// What golden/lbfgs.json holds: trajectories of PyTorch's L-BFGS on a 2-3-1 net
// of sigmoids, and that net on the host.
#ifndef QN_TORCH_LBFGS_H
#define QN_TORCH_LBFGS_H

#include <stdbool.h>

#include "quern/status.h"

enum { TORCH_COUNT = 13, TORCH_SAMPLES = 8, TORCH_ITERATIONS = 20 };

struct torch_run {
    const char *text; // "lbfgs:history=3"
    double lr;
    double points[TORCH_ITERATIONS][1 + TORCH_COUNT]; // loss, parameters
};
// False past the last one. Fails the test where the file is not as expected.
bool torch_run_at(int index, struct torch_run *run);
const double *torch_start(void); // [TORCH_COUNT]
const double *torch_x(void);     // [TORCH_SAMPLES][2]
const double *torch_y(void);     // [TORCH_SAMPLES]

// Mean squared error and its gradient, for struct qn_objective.
qn_status evaluate_torch(void *user, const double *p, double *loss, double *g,
                         qn_error *error);

#endif
