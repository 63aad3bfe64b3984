// Runs kernel rows as they describe themselves, without the plan.
#ifndef OP_RUN_H
#define OP_RUN_H

#include "quern/graph.h"

// Put before the launches that have a load operand, or NULL.
extern const char *op_run_load_text;
// The value of live scalars.
extern double op_run_live;

// A constant of any dtype with these values.
qn_node *op_run_constant(qn_graph *g, qn_dtype dtype, qn_shape shape,
                         const double *values);

// The content of a node made of constants, reshapes and kernel rows, on the
// device of the suite; the caller frees it. Fails where a kernel writes behind
// its output; what it leaves unwritten is garbage.
double *op_run(qn_graph *g, const qn_node *node);

#endif
