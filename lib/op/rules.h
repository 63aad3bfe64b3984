// Rules that several rows share: shapes, types, axes, simple builders and
// gradients. Uses graph only.
#ifndef QN_OP_RULES_H
#define QN_OP_RULES_H

#include "graph/graph.h"
#include "quern/op.h"

// ---- shapes, for `infer` ----

// All inputs broadcast together; the graph's real type. Integer inputs are
// welcome, the other real type is not. Fits unary rows too.
qn_status qn_infer_broadcast(struct qn_node *node);
// Shape and type of input 0, which must be of the graph's real type.
qn_status qn_infer_like(struct qn_node *node);

// ---- checks that explain themselves, for `infer` ----

qn_status qn_expect_dtype(struct qn_node *node, int i, qn_dtype dtype);
qn_status qn_expect_real(struct qn_node *node, int i);
// Real, int32 or uint8.
qn_status qn_expect_number(struct qn_node *node, int i);
// Input i has at least `low` dimensions and, unless it is -1, at most `high`.
qn_status qn_expect_rank(struct qn_node *node, int i, int low, int high);

// ---- for builders, before there is a node ----

// True if a node of `op` can be made: the graph has not failed and no input
// is NULL. Explains itself. Builders that look into their inputs ask first.
bool qn_can_build(struct qn_graph *g, const struct qn_op *op,
                  struct qn_node *const *inputs, int count);
// Makes `axis` count from 0 for a tensor of `rank` dimensions.
qn_status qn_resolve_axis(struct qn_graph *g, const struct qn_op *op,
                          int rank, int *axis);
// A shape that the caller made has a rank that can be.
qn_status qn_check_rank(struct qn_graph *g, const struct qn_op *op, int rank);
// A node of one or two inputs without parameters.
struct qn_node *qn_build_unary(struct qn_graph *g, const struct qn_op *op,
                               struct qn_node *x);
struct qn_node *qn_build_binary(struct qn_graph *g, const struct qn_op *op,
                                struct qn_node *x, struct qn_node *y);

// ---- for candidates: the kernel family that the device wants ----

bool qn_fits_cpu(const struct qn_node *node, const struct qn_limits *limits);
bool qn_fits_gpu(const struct qn_node *node, const struct qn_limits *limits);
// The largest power of two that is neither above `want` nor above what the
// device takes as a work-group.
int64_t qn_group_size(const struct qn_limits *limits, int64_t want);
int64_t qn_smaller(int64_t a, int64_t b);
int64_t qn_larger(int64_t a, int64_t b);
int64_t qn_divide_up(int64_t a, int64_t b);

// A tensor as [OUTER][C][INNER] around one axis: OUTER * INNER lines of C.
struct qn_lines {
    int64_t outer, c, inner;
};
struct qn_lines qn_find_lines(const qn_shape *shape, int axis);
// How a GPU kernel shares out lines: `along` items of a group of `group` take
// one line, as local dimension 0; dimension 1 counts lines. Short lines share
// a group; lines whose neighbours lie side by side get one item each.
void qn_launch_lines(struct qn_launch *launch, const struct qn_lines *lines,
                     int64_t group);

// ---- gradients ----

// dy as it is, for every input.
struct qn_node *qn_grad_pass(struct qn_graph *g, struct qn_node *node,
                             struct qn_node *dy, int i);

#endif
