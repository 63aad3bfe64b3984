// The update of a whole group of parameters by an optimizer, in one launch.
#ifndef QN_OP_UPDATE_H
#define QN_OP_UPDATE_H

#include "graph/graph.h"

enum { QN_MAX_UPDATE_SLOTS = 4, QN_MAX_UPDATE_CONSTANTS = 12 };

struct qn_update_params {
    const char *kernel; // in cl/optim.cl; lives as long as the graph
    int constant_count;
    double constants[QN_MAX_UPDATE_CONSTANTS]; // by value, in this order
};

// parameters, slots = rule(gradient, parameters, slots, lr, step, constants),
// with penalties: `penalty` is [blocks, 3], for each QN_GROUP_ALIGN bytes of
// the parameters l1, l2 and proximal l1, or the constant 0 for none.
// `parameters` and `slots` are flat groups (`qn_group`) written in place, as
// large as `gradient`; `lr` and `step` are scalars. The node itself has no
// value to read.
struct qn_node *qn_update(struct qn_graph *g, struct qn_node *gradient,
                          struct qn_node *lr, struct qn_node *step,
                          struct qn_node *penalty, struct qn_node *parameters,
                          struct qn_node *const *slots, int slot_count,
                          const struct qn_update_params *params);

#endif
