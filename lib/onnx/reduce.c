// Reductions over axes.
#include "onnx/row.h"
#include "quern/op.h"

typedef qn_node *reduction(qn_graph *g, qn_node *x,
                           const struct qn_reduce_params *params);

// Axes by attribute before version `by_input`, by input 1 from then on.
static qn_node *reduce(struct qn_onnx_use *use, qn_node *x, int by_input,
                       reduction *build)
{
    int64_t given[QN_ONNX_MAX_RANK];
    int axes[QN_ONNX_MAX_RANK];
    int count = use->opset >= by_input
                    ? qn_onnx_in_ints(use, 1, given, QN_ONNX_MAX_RANK)
                    : qn_onnx_ints(use, "axes", given, QN_ONNX_MAX_RANK);
    if (count <= 0 && qn_onnx_int(use, "noop_with_empty_axes", 0))
        return x;
    count = count < 0 ? 0 : count;
    for (int i = 0; i < count; i++)
        axes[i] = qn_onnx_axis(use, x, given[i]);
    return build(use->g, x,
                 &(struct qn_reduce_params){
                     .axes = axes,
                     .axis_count = count,
                     .keep = qn_onnx_int(use, "keepdims", 1) != 0});
}

static void build_sum(struct qn_onnx_use *use)
{
    use->out[0] = reduce(use, qn_onnx_in(use, 0), 13, qn_sum);
}

static void build_mean(struct qn_onnx_use *use)
{
    use->out[0] = reduce(use, qn_onnx_in(use, 0), 18, qn_mean);
}

static void build_max(struct qn_onnx_use *use)
{
    use->out[0] = reduce(use, qn_onnx_in(use, 0), 18, qn_reduce_max);
}

static void build_min(struct qn_onnx_use *use)
{
    qn_node *x = qn_neg(use->g, qn_onnx_in(use, 0));
    use->out[0] = qn_neg(use->g, reduce(use, x, 18, qn_reduce_max));
}

static void build_l1(struct qn_onnx_use *use)
{
    qn_node *x = qn_abs(use->g, qn_onnx_in(use, 0));
    use->out[0] = reduce(use, x, 18, qn_sum);
}

static void build_sum_square(struct qn_onnx_use *use)
{
    qn_node *x = qn_square(use->g, qn_onnx_in(use, 0));
    use->out[0] = reduce(use, x, 18, qn_sum);
}

static void build_l2(struct qn_onnx_use *use)
{
    build_sum_square(use);
    use->out[0] = qn_sqrt(use->g, use->out[0]);
}

static void build_arg_max(struct qn_onnx_use *use)
{
    qn_node *x = qn_onnx_in(use, 0);
    const int axis = qn_onnx_axis(use, x, qn_onnx_int(use, "axis", 0));
    qn_shape shape = qn_onnx_shape(x);
    if (qn_onnx_int(use, "select_last_index", 0))
        qn_onnx_fail(use, QN_UNSUPPORTED, "the last index of ties");
    qn_node *y = qn_argmax(use->g, x, axis);
    shape.dims[axis] = 1;
    use->out[0] =
        qn_onnx_int(use, "keepdims", 1) ? qn_reshape(use->g, y, shape) : y;
}

#define ANY QN_ONNX_ANY
#define ROWS(name, by_input, builder)                                      \
    {.op = name, .since = 1, .until = (by_input)-1, .min_inputs = 1,       \
     .max_inputs = 1, .max_outputs = 1, .attributes = "axes keepdims",     \
     .build = builder},                                                    \
        {.op = name, .since = by_input, .until = ANY, .min_inputs = 1,     \
         .max_inputs = 2, .max_outputs = 1, .contents = 2,                 \
         .attributes = "keepdims noop_with_empty_axes", .build = builder}

const struct qn_onnx_row qn_onnx_reduce_rows[] = {
    ROWS("ReduceSum", 13, build_sum),
    ROWS("ReduceMean", 18, build_mean),
    ROWS("ReduceMax", 18, build_max),
    ROWS("ReduceMin", 18, build_min),
    ROWS("ReduceL1", 18, build_l1),
    ROWS("ReduceL2", 18, build_l2),
    ROWS("ReduceSumSquare", 18, build_sum_square),
    {.op = "ArgMax", .since = 1, .until = ANY, .min_inputs = 1,
     .max_inputs = 1, .max_outputs = 1,
     .attributes = "axis keepdims select_last_index",
     .build = build_arg_max},
    {0},
};
