// Nodes, the row type and the graph behind the public handle.
//
// Uses base and tensor. Knows no op and no device.
#ifndef QN_GRAPH_GRAPH_H
#define QN_GRAPH_GRAPH_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/status.h"
#include "quern/graph.h"
#include "tensor/launch.h"
#include "tensor/layout.h"
#include "tensor/limits.h"

enum { QN_MAX_POINTWISE_PARAMS = 5, QN_MAX_SCOPES = 32 };

// Properties the engine asks for. It never asks which row it is.
enum {
    QN_OP_LEAF = 1,       // no inputs, no work: bound by the plan
    QN_OP_VIEW = 2,       // no work: `layout` says where the elements lie
    QN_OP_NO_GRAD = 4,    // gradients stop here quietly
    QN_OP_INDEXED = 8,    // pointwise: the expression uses the element index i
    QN_OP_RECOMPUTE = 16, // pointwise and cheap: copy into each consumer
    QN_OP_LIVE = 32,      // leaf: reaches kernels by value (`qn_scalar`)
    QN_OP_CONSTANT = 64,  // leaf: p[0], by value
    QN_OP_PERSIST = 128,  // output keeps memory of its own, zeroed once
    QN_OP_STATE = 256,    // leaf: lives in a store
    QN_OP_DATA = 512,     // leaf: fixed content in `params`
    QN_OP_INPUT = 1024,   // leaf: the host writes it
    QN_OP_UINT_INPUTS = 2048, // pointwise: inputs are live scalars, as uint
};

// One way to carry out a kernel row. `describe` fills `work`; a candidate is
// taken if it fits, the first one wins unless limits->forced names another.
struct qn_candidate {
    const char *name; // "cpu", "gpu", "clblast"
    bool (*fits)(const struct qn_node *node, const struct qn_limits *limits);
    void (*describe)(const struct qn_node *node,
                     const struct qn_limits *limits, struct qn_work *work);
};

// One row per operation: all that the library knows about it. A row is exactly
// one of: leaf, pointwise (`expr`), kernel (`candidates`), view (`layout`).
struct qn_op {
    const char *name;    // unique; in dumps, files, tests and cache keys
    const char *formula; // as in op.h
    const char *source;  // paper, or NULL where the formula says it all
    int min_inputs;
    int max_inputs; // -1: any number
    unsigned flags;

    // Pointwise: OpenCL text over x, y, z, u, v (inputs 0 to 4; type RV),
    // p0..p4 (the node's p[], type RV, or uint where `uint_params` has the
    // bit) and i (ulong: index of the first lane's element, with
    // QN_OP_INDEXED). It must work for vectors: no ?: and no bare literals, but
    // SEL(c, a, b) and K(1.5). The macros are in cl/common.cl. `include` names .cl files with
    // helper functions, separated by blanks, or NULL.
    const char *expr;
    const char *include;
    int param_count; // how many of p[] the expression uses
    unsigned uint_params;
    int store_hook;  // the QN_HOOK_* that does the same work on a kernel's store,
                     // of input `hook_input`; 0: none
    int hook_input;

    // Sets node->shape and node->dtype, or explains through qn_node_fail.
    qn_status (*infer)(struct qn_node *node);

    // Kernel: NULL-terminated by a zeroed member.
    const struct qn_candidate *candidates;
    // Inputs that a kernel writes in place, as a mask (state changes). Bits
    // past the node's last input do not count.
    unsigned writes;
    // Kernel: byte offset of input i in the output if the output is the inputs
    // laid side by side, so that they may be computed in place; -1: not so.
    // Rows with it describe exactly one launch an input, in order: launch i
    // handles input i alone, and is left out where that input is in place.
    int64_t (*part_offset)(const struct qn_node *node, int i);

    // View: the layout of the node over input 0's memory, given the layout of
    // input 0. False where it cannot be expressed (input must be copied).
    bool (*layout)(const struct qn_node *node, const struct qn_layout *input,
                   struct qn_layout *out);

    // Appends the nodes of dL/d(input i), given dL/d(output), shaped like the
    // output broadcast; the walk sums over broadcast axes. NULL function: the
    // gradient does not exist and the walk reports it, unless QN_OP_NO_GRAD.
    // A NULL result: no gradient flows to input i.
    struct qn_node *(*grad)(struct qn_graph *g, struct qn_node *node,
                            struct qn_node *dy, int i);
};

// "leaf", "pointwise", "kernel" or "view".
const char *qn_op_kind(const struct qn_op *op);

struct qn_node {
    const struct qn_op *op;
    struct qn_graph *graph;
    struct qn_node *next; // in order of creation
    int id;
    qn_dtype dtype;
    qn_shape shape;
    struct qn_node **inputs;
    int input_count;
    double p[QN_MAX_POINTWISE_PARAMS];
    const void *params; // the row's own struct, in the graph's arena, or NULL
    const char *name;   // "0.weight", or the scope it was made in
    const char *group;  // state leaves: the group; else NULL
    const char *file;   // the caller's place
    int line;
};

// Parameters of scope `from` are those of scope `to`, which has them already.
struct qn_share {
    const char *from, *to;
    const struct qn_share *outer; // looked at afterwards
};

struct qn_graph {
    struct qn_arena arena;
    qn_dtype real;
    struct qn_node *first;
    struct qn_node *last;
    int node_count;
    char scope[256];
    size_t scope_ends[QN_MAX_SCOPES];
    int scope_depth;
    const struct qn_share *share; // NULL: none
    const char *parameters, *buffers; // groups; NULL: of these names
    const char *file;
    int line;
    qn_error error;
};

// Appends a node: copies `inputs` and `params` into the arena, runs the row's
// infer. NULL if the graph has failed before, an input is NULL or infer fails.
// `p` may be NULL (zeros).
struct qn_node *qn_node_create(struct qn_graph *g, const struct qn_op *op,
                               struct qn_node *const *inputs, int input_count,
                               const double *p, const void *params,
                               size_t params_size);

// Takes a node out of the graph. False where another one reads it.
bool qn_node_remove(struct qn_node *node);

// Records the graph's first error with row, scope and place of the call.
qn_status qn_node_fail(struct qn_node *node, qn_status status,
                       const char *format, ...) QN_PRINTF(3, 4);
qn_status qn_graph_fail(struct qn_graph *g, qn_status status,
                        const char *format, ...) QN_PRINTF(3, 4);

// The scope and `use` joined: "1.dropout". In the arena.
const char *qn_graph_path(struct qn_graph *g, const char *use);

// Checks that every node is legal; returns QN_OK or the first fault in
// `error`. Debug builds run it after each pass.
qn_status qn_graph_verify(const struct qn_graph *g, qn_error *error);

// True if the row has the property.
static inline bool qn_node_is(const struct qn_node *node, unsigned flag)
{
    return (node->op->flags & flag) != 0;
}

int64_t qn_node_count(const struct qn_node *node); // elements
size_t qn_node_size(const struct qn_node *node);   // bytes, contiguous

// Leaf rows (leaf.c), for lib/op/table.c alone.
extern const struct qn_op qn_op_input, qn_op_scalar, qn_op_constant,
    qn_op_constant_data, qn_op_variable, qn_op_group;

// The content of a qn_op_constant_data node.
struct qn_data_params {
    const void *data;
};
// What a qn_op_group node covers.
struct qn_group_params {
    const char *group;
};
enum { QN_GROUP_ALIGN = 512 };

#endif
