// SPDX-License-Identifier: MIT
// A static graph of tensor operations.
//
// A graph is built by the functions here and in op.h, then compiled to a plan
// (plan.h). The graph owns its nodes; they live until it is destroyed. Building
// is sticky: the first error is kept, later calls return NULL quietly, and
// `qn_plan_create` reports it, so model code needs no checks of its own.
// A graph belongs to one thread.
#ifndef QUERN_GRAPH_H
#define QUERN_GRAPH_H

#include <stdio.h>

#include "quern/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct qn_graph qn_graph;
typedef struct qn_node qn_node;

// `real` is the type of all floating-point nodes: QN_FLOAT32, or QN_FLOAT64
// for checking gradients. NULL on a bad type or without memory.
QN_API qn_graph *qn_graph_create(qn_dtype real);
QN_API void qn_graph_destroy(qn_graph **graph);

// QN_OK, or the first error of building. `error` may be NULL.
QN_API qn_status qn_graph_check(const qn_graph *graph, qn_error *error);

// Names what follows: nodes made between push and pop have "name." before
// their own name. Layers use it; parameters get PyTorch's names by it.
QN_API void qn_graph_push(qn_graph *graph, const char *name);
QN_API void qn_graph_pop(qn_graph *graph);

// Remembers the place of the next call for error texts; the macros in op.h
// call it. Returns `graph`.
QN_API qn_graph *qn_graph_at(qn_graph *graph, const char *file, int line);

QN_API const qn_shape *qn_node_shape(const qn_node *node);
QN_API qn_dtype qn_node_dtype(const qn_node *node);
QN_API const char *qn_node_name(const qn_node *node);

// ---- leaves ----

// A tensor that the host writes with `qn_plan_write`.
QN_API qn_node *qn_input(qn_graph *graph, const char *name, qn_dtype dtype,
                         qn_shape shape);

// A scalar that the host sets with `qn_plan_set` before any run: it reaches
// kernels by value, so changing it costs nothing. 0 until set.
QN_API qn_node *qn_scalar(qn_graph *graph, const char *name);

// A scalar with a fixed value.
QN_API qn_node *qn_constant(qn_graph *graph, double value);

// A tensor with fixed content; `data` is copied.
QN_API qn_node *qn_constant_data(qn_graph *graph, qn_dtype dtype,
                                 qn_shape shape, const void *data);

// Named state that lives in a store (plan.h). Variables of one `group` lie in
// one buffer in the order of declaration, each at a multiple of 512 bytes, and
// have one dtype. Declaring a name again gives the same node if shape, dtype
// and group agree: so are parameters shared.
QN_API qn_node *qn_variable(qn_graph *graph, const char *group,
                            const char *name, qn_dtype dtype, qn_shape shape);

// A trainable variable: group "parameters", the graph's real type, its name
// within the scopes pushed so far.
QN_API qn_node *qn_parameter(qn_graph *graph, const char *name,
                             qn_shape shape);

// State of the model that is not trained, such as running_mean: group
// "buffers", otherwise as qn_parameter. Assignments change it.
QN_API qn_node *qn_buffer(qn_graph *graph, const char *name, qn_shape shape);

// From now on qn_parameter and qn_buffer declare their variables in these groups
// instead of "parameters" and "buffers"; NULL: those. So the same model runs on
// another set of values, such as a moving average.
QN_API void qn_graph_alias(qn_graph *graph, const char *parameters,
                           const char *buffers);
// The group that qn_parameter declares in.
QN_API const char *qn_graph_parameters(const qn_graph *graph);

// A whole group as one flat tensor, the gaps of alignment included. Declare
// all variables of the group before.
QN_API qn_node *qn_group(qn_graph *graph, const char *group);

// The variables of a group declared so far, in order: writes up to `capacity`
// and returns how many there are.
QN_API int qn_group_members(qn_graph *graph, const char *group,
                            qn_node **members, int capacity);

// ---- dumps ----

// One line a node: "%7 = matmul(%3, %5) float32 [32, 10]  0.weight:...".
QN_API qn_status qn_graph_dump_text(const qn_graph *graph, FILE *file);
// Graphviz.
QN_API qn_status qn_graph_dump_dot(const qn_graph *graph, FILE *file);

#ifdef __cplusplus
}
#endif

#endif
