// Normalisation of layers, groups and instances.
#include "onnx/row.h"
#include "quern/op.h"

static int count_axes(struct qn_onnx_use *use, const qn_node *x, int axes[])
{
    const int rank = qn_onnx_shape(x).rank;
    const int axis = qn_onnx_axis(use, x, qn_onnx_int(use, "axis", -1));
    for (int d = axis; d < rank; d++)
        axes[d - axis] = d;
    return rank - axis;
}

// Outputs 1 and 2: the mean, and 1 / the deviation.
static void add_statistics(struct qn_onnx_use *use, qn_node *x,
                           const struct qn_reduce_params *params,
                           double epsilon)
{
    qn_graph *g = use->g;
    qn_shape shape = qn_onnx_shape(x);
    for (int i = 0; i < params->axis_count; i++)
        shape.dims[params->axes[i]] = 1;
    qn_node *moments = qn_moments(g, x, params);
    qn_node *variance =
        qn_reshape(g, qn_slice(g, moments, 0, 1, 2, 1), shape);
    use->out[1] = qn_reshape(g, qn_slice(g, moments, 0, 0, 1, 1), shape);
    use->out[2] = qn_div(g, qn_constant(g, 1),
                         qn_sqrt(g, qn_add_scalar(g, variance, epsilon)));
}

static void build_layer_norm(struct qn_onnx_use *use)
{
    int axes[QN_MAX_RANK];
    qn_node *x = qn_onnx_in(use, 0);
    const double epsilon = qn_onnx_float(use, "epsilon", 1e-5);
    if (qn_onnx_int(use, "stash_type", 1) != 1)
        qn_onnx_fail(use, QN_UNSUPPORTED, "statistics in a type but float");
    const struct qn_reduce_params params = {
        .axes = axes, .axis_count = count_axes(use, x, axes)};
    if (qn_onnx_failed(use))
        return;
    use->out[0] = qn_layer_norm(use->g, x, params.axis_count,
                                qn_onnx_in(use, 1), qn_onnx_in(use, 2),
                                epsilon);
    if (use->out_count > 1)
        add_statistics(use, x, &params, epsilon);
}

// One value a group becomes one a channel.
static qn_node *spread(struct qn_onnx_use *use, qn_node *x, qn_node *value,
                       int64_t groups)
{
    const int64_t each = qn_onnx_shape(x).dims[1] / groups;
    const qn_shape wide = qn_shape_of(groups, each);
    return qn_reshape(use->g,
                      qn_broadcast_to(use->g,
                                      qn_reshape(use->g, value,
                                                 qn_shape_of(groups, 1)),
                                      wide),
                      qn_shape_of(-1));
}

static void build_group_norm(struct qn_onnx_use *use)
{
    qn_node *x = qn_onnx_in(use, 0), *scale = qn_onnx_in(use, 1);
    qn_node *bias = qn_onnx_in(use, 2);
    const int64_t groups = qn_onnx_int(use, "num_groups", 0);
    const qn_shape shape = qn_onnx_shape(x);
    if (shape.rank < 2 || groups < 1 || shape.dims[1] % groups ||
        qn_onnx_int(use, "stash_type", 1) != 1)
        qn_onnx_fail(use, QN_UNSUPPORTED,
                     "needs an input [n, c, ...] with c a multiple of "
                     "num_groups, and stash_type 1");
    if (qn_onnx_failed(use))
        return;
    if (use->opset < 21) {
        scale = spread(use, x, scale, groups);
        bias = spread(use, x, bias, groups);
    }
    use->out[0] = qn_group_norm(use->g, x, groups, scale, bias,
                                qn_onnx_float(use, "epsilon", 1e-5));
}

static void build_instance_norm(struct qn_onnx_use *use)
{
    qn_node *x = qn_onnx_in(use, 0);
    const qn_shape shape = qn_onnx_shape(x);
    if (shape.rank < 3)
        qn_onnx_fail(use, QN_BAD_SHAPE, "needs an input [n, c, ...]");
    if (!qn_onnx_failed(use))
        use->out[0] = qn_group_norm(use->g, x, shape.dims[1],
                                    qn_onnx_in(use, 1), qn_onnx_in(use, 2),
                                    qn_onnx_float(use, "epsilon", 1e-5));
}

#define ROW(name, first, least, most, outputs, names, builder)             \
    {.op = name, .since = first, .until = QN_ONNX_ANY, .min_inputs = least, \
     .max_inputs = most, .max_outputs = outputs,                           \
     .attributes = "epsilon " names, .build = builder}

const struct qn_onnx_row qn_onnx_norm_rows[] = {
    ROW("LayerNormalization", 17, 2, 3, 3, "axis stash_type",
        build_layer_norm),
    ROW("GroupNormalization", 18, 3, 3, 1, "num_groups stash_type",
        build_group_norm),
    ROW("InstanceNormalization", 6, 3, 3, 1, "", build_instance_norm),
    {0},
};
