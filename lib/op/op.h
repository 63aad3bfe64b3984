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

// Where `out` regions over `in` elements begin and end, int32 [t, out, 2], from
// u[t, out], or [t, 1] unless random, in (0, 1); cl/regions.cl says how.
struct qn_node *qn_fractional_regions(struct qn_graph *g, struct qn_node *u,
                                      int64_t in, int64_t out, bool is_random,
                                      bool is_overlapping);
// Largest or mean element of each region of x[n, c, h, w]; one table [1, ...]
// for all samples, or one for each.
struct qn_node *qn_region_max(struct qn_graph *g, struct qn_node *x,
                              struct qn_node *rows, struct qn_node *columns);
struct qn_node *qn_region_mean(struct qn_graph *g, struct qn_node *x,
                               struct qn_node *rows, struct qn_node *columns);

#endif
