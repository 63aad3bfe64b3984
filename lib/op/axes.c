// Sets of axes. Knows no row.
#include "op/axes.h"

#include "op/rules.h"

qn_shape qn_axes_shape(const qn_shape *shape, unsigned axes, bool keep)
{
    qn_shape out = {0};
    for (int i = 0; i < shape->rank; i++) {
        if (!(axes >> i & 1))
            out.dims[out.rank++] = shape->dims[i];
        else if (keep)
            out.dims[out.rank++] = 1;
    }
    return out;
}

bool qn_axes_runs(const qn_shape *shape, unsigned axes, int64_t runs[4])
{
    int at = 0;
    for (int i = 0; i < 4; i++)
        runs[i] = 1;
    for (int i = 0; i < shape->rank; i++) {
        if (shape->dims[i] == 1)
            continue;
        if (at % 2 != (int)(axes >> i & 1) && ++at == 4)
            return false;
        runs[at] *= shape->dims[i];
    }
    return true;
}

qn_status qn_axes_read(struct qn_graph *g, const struct qn_op *op,
                           const qn_shape *shape,
                           const struct qn_reduce_params *params,
                           unsigned *axes)
{
    *axes = (1u << shape->rank) - 1;
    if (!params || params->axis_count == 0)
        return QN_OK;
    if (params->axis_count < 0 || !params->axes)
        return qn_graph_fail(g, QN_BAD_ARGUMENT, "%s: %d axes, but no list",
                             op->name, params->axis_count);
    *axes = 0;
    for (int i = 0; i < params->axis_count; i++) {
        int axis = params->axes[i];
        QN_TRY(qn_resolve_axis(g, op, shape->rank, &axis));
        if (*axes >> axis & 1)
            return qn_graph_fail(g, QN_BAD_ARGUMENT,
                                 "%s: axis %d is named twice", op->name, axis);
        *axes |= 1u << axis;
    }
    return QN_OK;
}
