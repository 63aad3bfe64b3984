// SPDX-License-Identifier: MIT
// Stores hold state; plans run graphs.
#ifndef QUERN_PLAN_H
#define QUERN_PLAN_H

#include <stdbool.h>

#include "quern/device.h"
#include "quern/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

// ---- store ----

// All named state on a device: parameters, statistics, optimizer slots. Plans
// borrow it, so it outlives them. The owner destroys it before the device.
typedef struct qn_store qn_store;

QN_API qn_store *qn_store_create(qn_device *device, qn_error *error);
QN_API void qn_store_destroy(qn_store **store);

// A store without memory, to find out how much it would take: for qn_store_add,
// qn_store_describe, qn_plan_estimate and looking variables up.
QN_API qn_store *qn_store_sketch(qn_error *error);
QN_API bool qn_store_is_sketch(const qn_store *store);

// Makes room, filled with zeros, for each variable of the graph that the store
// does not have yet; checks the others. A group is laid out when it is first
// seen and cannot grow.
QN_API qn_status qn_store_add(qn_store *store, const qn_graph *graph,
                              qn_error *error);

// Bytes of all groups; each is one allocation.
typedef struct qn_store_stats {
    int64_t size;
    int64_t largest_size;
} qn_store_stats;
QN_API void qn_store_describe(const qn_store *store, qn_store_stats *stats);

// One variable of a store, in order of declaration. `name` and `group` live as
// long as the store.
typedef struct qn_store_entry {
    const char *group;
    const char *name;
    qn_dtype dtype;
    qn_shape shape;
    int64_t offset; // bytes into the group's buffer
} qn_store_entry;
QN_API int qn_store_count(const qn_store *store);
QN_API qn_status qn_store_entry_at(const qn_store *store, int index,
                                   qn_store_entry *entry);
// Index of the variable with this group and name, or -1.
QN_API int qn_store_find(const qn_store *store, const char *group,
                         const char *name);

// Copy a whole variable to or from the device. `size` must be its size in
// bytes. Both wait for the queue.
QN_API qn_status qn_store_write(qn_store *store, int index, const void *data,
                                size_t size, qn_error *error);
QN_API qn_status qn_store_read(qn_store *store, int index, void *data,
                               size_t size, qn_error *error);

// ---- plan ----

// A graph compiled for one device: ordered, fused, placed in memory and bound.
// Running it allocates nothing and does not wait.
typedef struct qn_plan qn_plan;

struct qn_plan_params {
    const qn_graph *graph; // only read; may be destroyed after the plan
    qn_store *store;       // NULL where the graph has no variables
    qn_node *const *outputs; // nodes that can be read after a run
    int output_count;
    bool no_fusion; // one launch a node: slow, for tests
    bool no_reuse;  // every tensor keeps its own memory: for tests
};

// NULL on failure: the graph's own first error, a shape the device has no
// memory for (named with its size), a kernel that does not compile.
// All `qn_assign` nodes of the graph are carried out on every run.
QN_API qn_plan *qn_plan_create(qn_device *device,
                               const struct qn_plan_params *params,
                               qn_error *error);
// Waits until its runs have ended.
QN_API void qn_plan_destroy(qn_plan **plan);

// Sets a `qn_scalar` for the runs that follow.
QN_API qn_status qn_plan_set(qn_plan *plan, const qn_node *scalar,
                             double value);
// Copies `data` into a `qn_input`; waits until the copy is done.
QN_API qn_status qn_plan_write(qn_plan *plan, const qn_node *input,
                               const void *data, size_t size);
// Enqueues one run and returns.
QN_API qn_status qn_plan_run(qn_plan *plan);
// Waits for the runs so far and copies an output.
QN_API qn_status qn_plan_read(qn_plan *plan, const qn_node *output,
                              void *data, size_t size);
// The detail of the last failure of this plan.
QN_API const qn_error *qn_plan_error(const qn_plan *plan);

// What fusion and placement saved, in launches and bytes.
typedef struct qn_plan_stats {
    int nodes;            // that the outputs and assignments need
    int launches_unfused; // with one launch a node or more
    int launches;
    int programs;         // distinct programs used
    int heavy_programs;   // of these, matrix products and their like
    int64_t tensor_size;  // bytes of all intermediate tensors, one by one
    int64_t arena_size;   // bytes after placement
    int64_t state_size;   // bytes of the store's variables used
    int64_t input_size;   // bytes of inputs and constants
    int64_t largest_size; // the largest single allocation, state included
    int64_t own_size;     // bytes that the plan itself allocates
    int64_t own_largest_size; // the largest of these allocations
} qn_plan_stats;
QN_API void qn_plan_describe(const qn_plan *plan, qn_plan_stats *stats);
// What qn_plan_create would come to, but for `launches` and programs, which are
// 0: orders, fuses and places, but allocates and compiles nothing.
QN_API qn_status qn_plan_estimate(qn_device *device,
                                  const struct qn_plan_params *params,
                                  qn_plan_stats *stats, qn_error *error);

// Writes what carries out step `index` of a run, row and candidate as
// QUERN_KERNEL has them ("matmul:tiled"), or "pointwise" or "copy", and returns
// `text`; NULL past the last step. A step is one launch or a few.
QN_API char *qn_plan_step_name(const qn_plan *plan, int index, char *text,
                               size_t size);

// One line a launch: kernel, fused nodes, shapes, place in the arena.
QN_API qn_status qn_plan_dump_text(const qn_plan *plan, FILE *file);

#ifdef __cplusplus
}
#endif

#endif
