// What the files of this room share: the plan and its passes.
//
// Graph in, bound commands out, in this order: gather (which nodes are needed,
// where views lie), fuse (which pointwise nodes ride on which step), order,
// place (memory), bind (buffers, programs, arguments). Uses graph and device;
// asks rows for properties and never which row it is.
#ifndef QN_PLAN_PLAN_H
#define QN_PLAN_PLAN_H

#include "device/device.h"
#include "graph/graph.h"
#include "plan/store.h"
#include "quern/plan.h"

enum { NO_STEP = -1, NO_BLOCK = -1 };

// Where memory comes from.
enum memory {
    MEMORY_ARENA, // placed by liveness
    MEMORY_OWN,   // keeps its content from run to run
    MEMORY_STATE, // in the store
    MEMORY_PART,  // inside another block, from `offset` on
};

// Memory for one tensor, copy or scratch.
struct block {
    enum memory memory;
    int64_t size;   // bytes
    int64_t offset; // in the arena, or in the parent
    int first;      // steps during which it is alive
    int last;
    int parent;                 // for MEMORY_PART
    const struct qn_node *node; // for error texts and dumps
    struct qn_buffer *buffer;
    bool owns_buffer;
};

// What is known of one node of the graph.
struct value {
    bool is_needed;
    bool is_output;
    bool is_uniform; // one number for all elements, known to the host
    bool must_store; // someone wants it in memory
    bool wants_copy; // a view that a consumer wants contiguous
    int consumers;   // edges from needed nodes
    const struct qn_node *base; // whose memory it looks at: itself, or under
                                // a view the node below
    bool base_is_copy;          // the base's contiguous copy, that is
    struct qn_layout layout;    // over the base's memory
    struct qn_work *work;       // kernel rows
    const struct qn_node *rides_on; // root of the step that works it out
                                    // inline; itself if it is stored; NULL:
                                    // any consumer works it out
    bool is_tail; // became a hook of the kernel step it rides on
    int load_step; // the kernel step whose loads work it out, or NO_STEP
    int cost;      // operands of the chain that ends here
    int step;      // that stores it, or NO_STEP
    int copy_step; // that stores its contiguous copy
    int block;
    int copy_block;
    int live; // index of a live scalar, or -1
};

// What a chain takes from outside: memory, or a number by value.
struct external {
    const struct qn_node *node;
    bool is_value;
    bool is_uint;
    double constant;         // by value, where live < 0
    int live;                // by value: index of the live scalar, or -1
    struct qn_layout layout; // over the iteration space
};

// Elements from one lane to the next; values have no layout: 0.
static inline int64_t inner_stride(const struct external *x)
{
    int rank = x->layout.shape.rank;
    return rank > 0 ? x->layout.strides[rank - 1] : 0;
}

enum { MAX_EXTERNALS = 32, MAX_CHAIN = 48 };

// Pointwise nodes worked out in one go.
struct chain {
    const struct qn_node *root;
    bool is_copy; // the root is only read, and stored contiguously
    const struct qn_node *nodes[MAX_CHAIN]; // inputs before users
    int node_count;
    struct external externals[MAX_EXTERNALS];
    int external_count;
    qn_shape space; // the iteration space, collapsed
    const char *text;
    const char *include;
};

// What a step reads from memory: a node's own memory, or its copy.
struct read {
    const struct qn_node *node;
    bool is_copy;
};

// The launches that store one value.
struct step {
    const struct qn_node *root;   // whose value is stored
    const struct qn_node *kernel; // a kernel row, or NULL: a chain
    bool is_copy;   // stores the contiguous copy of a view
    bool runs_once; // at creation, since nothing that it reads ever changes
    struct qn_work *work;
    struct chain *chain;        // of a pointwise step, or on a kernel's loads
    const struct qn_node *load; // kernel: root of the chain on its loads
    int hooks;                  // kernel: QN_HOOK_* in use
    const struct qn_node *hook_row;
    const struct qn_node *hook_full;
    const struct qn_node *hook_gate;
    const struct qn_node *tail[4]; // pointwise nodes that became hooks
    int tail_count;
    struct read *reads; // each once
    int read_count;
    bool *skips;                 // by launch: its input is computed in place
    int scratch[QN_MAX_SCRATCH]; // blocks
    struct qn_command **commands;
    int command_count;
};

// A part made for a view that a kernel reads.
struct extra_part {
    struct extra_part *next;
    struct qn_buffer *buffer;
};

struct qn_plan {
    qn_device *device;
    qn_store *store;
    const struct qn_graph *graph;
    const struct qn_limits *limits;
    bool no_fusion;
    bool no_reuse;
    bool separate_assigns; // second attempt, where updates need each other
    struct qn_arena arena; // host memory of the plan
    const struct qn_node **nodes; // by id
    const struct qn_node ***users; // by id: the needed nodes that use it
    int node_count;
    struct value *values; // by id
    struct step *steps;   // after order: as they run
    int step_count;
    int step_capacity;
    struct block *blocks;
    int block_count;
    int block_capacity;
    int64_t arena_size;
    struct qn_buffer *memory;
    struct extra_part *extra_parts;
    double *live;
    int live_count;
    qn_plan_stats stats;
    qn_error error;
};

static inline struct value *value_of(const struct qn_plan *plan,
                                     const struct qn_node *node)
{
    return &plan->values[node->id];
}

static inline bool is_pointwise(const struct qn_node *node)
{
    return node->op->expr != NULL;
}

// ---- the passes ----
qn_status qn_plan_gather(struct qn_plan *plan, qn_node *const *outputs,
                         int output_count);
qn_status qn_plan_fuse(struct qn_plan *plan);
qn_status qn_plan_order(struct qn_plan *plan, bool *has_cycle);
qn_status qn_plan_place(struct qn_plan *plan);
qn_status qn_plan_bind(struct qn_plan *plan);
// Each step comes after what it reads.
qn_status qn_plan_verify_order(struct qn_plan *plan);
// No two tensors that are alive together share memory.
qn_status qn_plan_verify_memory(struct qn_plan *plan);

// The memory of one variable of a store. Owned by the store.
struct qn_buffer *qn_store_variable_buffer(qn_store *store, const char *group,
                                           const char *name, qn_error *error);

// ---- shared among them ----

// Describes a kernel node's launches by the candidate that the limits choose.
qn_status qn_plan_describe_kernel(struct qn_plan *plan,
                                  const struct qn_node *node,
                                  struct qn_work **work);
// Do these two state leaves share memory?
bool qn_plan_overlaps(const struct qn_node *a, const struct qn_node *b);
// Contiguous, and at a place where a buffer may begin?
bool qn_plan_is_plain(const struct qn_plan *plan, const struct qn_node *node);
// Where a consumer finds the node: under a view, in the node below.
struct read qn_plan_source(const struct qn_plan *plan,
                           const struct qn_node *node, bool is_for_copy);
// A consumer wants the node contiguous in memory.
void qn_plan_want_memory(struct qn_plan *plan, const struct qn_node *node);
// The nearest number by value below a uniform view.
const struct qn_node *qn_plan_see_through(const struct qn_plan *plan,
                                          const struct qn_node *node);

// Lists nodes and externals of the chain that ends in `root`. False if it has
// become too large.
bool qn_chain_collect(const struct qn_plan *plan, struct chain *chain,
                      const struct qn_node *root, bool is_copy);
// Neither by value nor contiguous nor the same for all elements.
bool qn_external_is_strided(const struct external *external);
// Are all externals read at the element's own place, or the same for all?
bool qn_chain_is_flat(const struct chain *chain);
// Works out the iteration space, then writes the OpenCL text: for
// cl/pointwise.cl, or with `is_load` for a kernel's loads.
qn_status qn_chain_write(struct qn_plan *plan, struct chain *chain,
                         bool is_load);
// Appends the arguments of the chain's parameters. External e has the operand
// code `first_operand` + e.
void qn_chain_args(const struct chain *chain, struct qn_launch *launch,
                   int first_operand);
// Puts the texts of all pointwise steps into few programs.
qn_status qn_plan_merge(struct qn_plan *plan);
// The launch of a pointwise step.
void qn_chain_launch(const struct qn_plan *plan, const struct chain *chain,
                     struct qn_work *work);

#endif
