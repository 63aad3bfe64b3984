// Sets of axes, as rows that reduce see them: bit i for dimension i.
#ifndef QN_OP_AXES_H
#define QN_OP_AXES_H

#include "graph/graph.h"
#include "quern/op.h"

// The axes that `params` names, all of them if none; explains itself.
qn_status qn_axes_read(struct qn_graph *g, const struct qn_op *op,
                       const qn_shape *shape,
                       const struct qn_reduce_params *params, unsigned *axes);
// `shape` without the axes, or with `keep` with 1 in their places.
qn_shape qn_axes_shape(const qn_shape *shape, unsigned axes, bool keep);
// The shape as runs of kept and reduced dimensions in turn, dimensions of size
// 1 left out: [K0][R0][K1][R1]. False if there are more.
bool qn_axes_runs(const qn_shape *shape, unsigned axes, int64_t runs[4]);

#endif
