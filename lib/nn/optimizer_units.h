// The units of parameters whose norms are bounded.
#ifndef QN_NN_OPTIMIZER_UNITS_H
#define QN_NN_OPTIMIZER_UNITS_H

#include "quern/optim.h"

// A constant [units, QN_UNIT_COLUMNS] of op/update.h over all parameters with a
// maximum norm that are not frozen, and the elements of the largest one. NULL:
// there are none, or an error.
qn_node *qn_optimizer_units(qn_graph *graph, qn_node *const *parameters,
                            const struct qn_parameter_options *options,
                            int count, int64_t *largest);

#endif
