// What normalisations share. Uses graph only.
#ifndef QN_OP_NORM_H
#define QN_OP_NORM_H

#include "graph/graph.h"
#include "quern/op.h"

// The parameters of all rows in norm.c.
struct qn_norm {
    unsigned axes; // bit i: statistics go over dimension i
};

// Half `i` of a tensor [2, ...], as [...]. A view.
struct qn_node *qn_pair_member(struct qn_graph *g, struct qn_node *pair,
                               int i);
// Sums over `axes` of dy, and of dy (x - mean) rstd: inputs in this order; the
// result is [2, ...] with 1 for each axis.
struct qn_node *qn_norm_sums(struct qn_graph *g, struct qn_node *const *inputs,
                             unsigned axes);

#endif
