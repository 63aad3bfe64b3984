// The table of operations.
#ifndef QN_OP_TABLE_H
#define QN_OP_TABLE_H

#include "graph/graph.h"

extern const struct qn_op *const qn_ops[]; // ends with NULL

#endif
