// Builders that the library's own rooms use and applications do not need.
// Uses graph only.
#ifndef QN_OP_OP_H
#define QN_OP_OP_H

#include "graph/graph.h"
#include "quern/op.h"

// The inputs, all of one dtype, flat in one tensor, each at a multiple of
// QN_GROUP_ALIGN bytes: as qn_group lays out the variables of these shapes.
// The gaps are zero. Inputs are computed in place where that can be.
struct qn_node *qn_pack(struct qn_graph *g, struct qn_node *const *inputs,
                        int count);

// The gradients of qn_dropconnect, by the same mask: of x[n, in] from dy[n, out]
// and w, of w[out, in] from x and dy.
qn_node *qn_dropconnect_dx(qn_graph *g, qn_node *dy, qn_node *w, double p,
                           const struct qn_random_params *params);
qn_node *qn_dropconnect_dw(qn_graph *g, qn_node *x, qn_node *dy, double p,
                           const struct qn_random_params *params);

#endif
