// What the optimizer takes of penalties.
#ifndef QN_NN_PENALTY_H
#define QN_NN_PENALTY_H

#include "nn/model.h"

// What the update applies to each block of QN_GROUP_ALIGN bytes of the
// parameters: [blocks, 3] of l1, l2 and proximal l1. The constant 0 for NULL.
qn_node *qn_penalty_table(qn_graph *g, const struct qn_penalty *penalties);

#endif
