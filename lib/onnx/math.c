// Pointwise operators, activations and products.
#include <math.h>

#include "onnx/row.h"
#include "quern/op.h"

// ---- arithmetic ----

// Before version 7: y is spread over x from `axis` on, or at the end.
static qn_node *spread_old(struct qn_onnx_use *use, const qn_node *x,
                           qn_node *y)
{
    const qn_shape from = qn_onnx_shape(x), to = qn_onnx_shape(y);
    if (!qn_onnx_attribute(use, "axis"))
        return y;
    const int axis = qn_onnx_axis(use, x, qn_onnx_int(use, "axis", 0));
    qn_shape shape = {.rank = from.rank - axis};
    for (int d = 0; d < shape.rank; d++)
        shape.dims[d] = d < to.rank ? to.dims[d] : 1;
    return qn_reshape(use->g, y, shape);
}

static void build_binary_old(struct qn_onnx_use *use,
                             qn_node *(*build)(qn_graph *, qn_node *,
                                               qn_node *))
{
    qn_node *x = qn_onnx_in(use, 0);
    use->out[0] = build(use->g, x, spread_old(use, x, qn_onnx_in(use, 1)));
}

static void build_add_old(struct qn_onnx_use *use)
{
    build_binary_old(use, qn_add);
}

static void build_sub_old(struct qn_onnx_use *use)
{
    build_binary_old(use, qn_sub);
}

static void build_mul_old(struct qn_onnx_use *use)
{
    build_binary_old(use, qn_mul);
}

static void build_div_old(struct qn_onnx_use *use)
{
    build_binary_old(use, qn_div);
}

static void fold(struct qn_onnx_use *use,
                 qn_node *(*build)(qn_graph *, qn_node *, qn_node *))
{
    use->out[0] = qn_onnx_in(use, 0);
    for (int i = 1; i < use->in_count; i++)
        use->out[0] = build(use->g, use->out[0], qn_onnx_in(use, i));
}

static void build_sum(struct qn_onnx_use *use)
{
    fold(use, qn_add);
}

static void build_mean(struct qn_onnx_use *use)
{
    fold(use, qn_add);
    use->out[0] = qn_scale(use->g, use->out[0], 1.0 / use->in_count);
}

static void build_max(struct qn_onnx_use *use)
{
    fold(use, qn_max);
}

static void build_min(struct qn_onnx_use *use)
{
    fold(use, qn_min);
}

static void build_clip_old(struct qn_onnx_use *use)
{
    use->out[0] = qn_clamp(use->g, qn_onnx_in(use, 0),
                           qn_onnx_float(use, "min", -HUGE_VAL),
                           qn_onnx_float(use, "max", HUGE_VAL));
}

static void build_clip(struct qn_onnx_use *use)
{
    use->out[0] = qn_onnx_in(use, 0);
    if (qn_onnx_in(use, 1))
        use->out[0] = qn_max(use->g, use->out[0], qn_onnx_in(use, 1));
    if (qn_onnx_in(use, 2))
        use->out[0] = qn_min(use->g, use->out[0], qn_onnx_in(use, 2));
}

static void build_where(struct qn_onnx_use *use)
{
    use->out[0] = qn_select(use->g, qn_onnx_in(use, 0), qn_onnx_in(use, 1),
                            qn_onnx_in(use, 2));
}

// ---- activations ----

static void build_leaky_relu(struct qn_onnx_use *use)
{
    use->out[0] = qn_leaky_relu(use->g, qn_onnx_in(use, 0),
                                qn_onnx_float(use, "alpha", 0.01));
}

static void build_elu(struct qn_onnx_use *use)
{
    use->out[0] = qn_elu(use->g, qn_onnx_in(use, 0),
                         qn_onnx_float(use, "alpha", 1));
}

static void build_selu(struct qn_onnx_use *use)
{
    const double alpha = use->opset < 6 ? 1.6732 : 1.67326319217681884766;
    const double gamma = use->opset < 6 ? 1.0507 : 1.05070102214813232422;
    qn_node *elu = qn_elu(use->g, qn_onnx_in(use, 0),
                          qn_onnx_float(use, "alpha", alpha));
    use->out[0] =
        qn_scale(use->g, elu, qn_onnx_float(use, "gamma", gamma));
}

// alpha (e^(x / alpha) - 1) for x <= 0
static void build_celu(struct qn_onnx_use *use)
{
    const double alpha = qn_onnx_float(use, "alpha", 1);
    qn_node *x = qn_scale(use->g, qn_onnx_in(use, 0), 1 / alpha);
    use->out[0] = qn_scale(use->g, qn_elu(use->g, x, 1), alpha);
}

static void build_gelu(struct qn_onnx_use *use)
{
    qn_node *x = qn_onnx_in(use, 0);
    const bool by_tanh =
        qn_onnx_text_is(use, "approximate", "none", "tanh");
    if (!by_tanh && !qn_onnx_text_is(use, "approximate", "none", "none"))
        qn_onnx_fail(use, QN_UNSUPPORTED, "an unknown approximation");
    use->out[0] = by_tanh ? qn_gelu_tanh(use->g, x) : qn_gelu(use->g, x);
}

// min(max(alpha x + beta, 0), 1)
static qn_node *hard_sigmoid(qn_graph *g, qn_node *x, double alpha,
                             double beta)
{
    return qn_clamp(g, qn_add_scalar(g, qn_scale(g, x, alpha), beta), 0, 1);
}

static void build_hard_sigmoid(struct qn_onnx_use *use)
{
    use->out[0] = hard_sigmoid(use->g, qn_onnx_in(use, 0),
                               qn_onnx_float(use, "alpha", 0.2),
                               qn_onnx_float(use, "beta", 0.5));
}

static void build_hard_swish(struct qn_onnx_use *use)
{
    qn_node *x = qn_onnx_in(use, 0);
    use->out[0] = qn_mul(use->g, x, hard_sigmoid(use->g, x, 1.0 / 6, 0.5));
}

static void build_thresholded_relu(struct qn_onnx_use *use)
{
    qn_node *x = qn_onnx_in(use, 0);
    qn_node *alpha = qn_constant(use->g, qn_onnx_float(use, "alpha", 1));
    use->out[0] = qn_select(use->g, qn_greater(use->g, x, alpha), x,
                            qn_constant(use->g, 0));
}

static void build_reciprocal(struct qn_onnx_use *use)
{
    use->out[0] =
        qn_div(use->g, qn_constant(use->g, 1), qn_onnx_in(use, 0));
}

// Before version 7 the slope is one a channel.
static void build_prelu(struct qn_onnx_use *use)
{
    qn_node *x = qn_onnx_in(use, 0), *slope = qn_onnx_in(use, 1);
    const qn_shape shape = qn_onnx_shape(slope);
    qn_shape channels = {.rank = qn_onnx_shape(x).rank - 1};
    if (use->opset < 7 && shape.rank == 1 && channels.rank > 0) {
        for (int d = 0; d < channels.rank; d++)
            channels.dims[d] = d ? 1 : shape.dims[0];
        slope = qn_reshape(use->g, slope, channels);
    }
    use->out[0] = qn_prelu(use->g, x, slope);
}

// From version 13 on along one axis; before, over all dimensions from it on.
static void build_softmax_like(struct qn_onnx_use *use,
                               qn_node *(*build)(qn_graph *, qn_node *, int))
{
    qn_node *x = qn_onnx_in(use, 0);
    const qn_shape shape = qn_onnx_shape(x);
    const bool is_old = use->opset < 13;
    const int axis =
        qn_onnx_axis(use, x, qn_onnx_int(use, "axis", is_old ? 1 : -1));
    if (!is_old || axis == shape.rank - 1) {
        use->out[0] = build(use->g, x, axis);
        return;
    }
    qn_shape flat = {.rank = 2, .dims = {1, -1}};
    for (int d = 0; d < axis; d++)
        flat.dims[0] *= shape.dims[d];
    use->out[0] = qn_reshape(
        use->g, build(use->g, qn_reshape(use->g, x, flat), 1), shape);
}

static void build_softmax(struct qn_onnx_use *use)
{
    build_softmax_like(use, qn_softmax);
}

static void build_log_softmax(struct qn_onnx_use *use)
{
    build_softmax_like(use, qn_log_softmax);
}

// ---- products ----

static qn_node *scale_unless_one(qn_graph *g, qn_node *x, double by)
{
    return by == 1 ? x : qn_scale(g, x, by);
}

// alpha A B + beta C
static void build_gemm(struct qn_onnx_use *use)
{
    const struct qn_matmul_params params = {
        .trans_a = qn_onnx_int(use, "transA", 0) != 0,
        .trans_b = qn_onnx_int(use, "transB", 0) != 0,
    };
    qn_node *y = qn_matmul(use->g, qn_onnx_in(use, 0), qn_onnx_in(use, 1),
                           &params);
    y = scale_unless_one(use->g, y, qn_onnx_float(use, "alpha", 1));
    const double beta = qn_onnx_float(use, "beta", 1);
    if (qn_onnx_in(use, 2) && beta != 0)
        y = qn_add(use->g, y,
                   scale_unless_one(use->g, qn_onnx_in(use, 2), beta));
    use->out[0] = y;
}

// As NumPy: a vector on the left is a row, on the right a column.
static void build_matmul(struct qn_onnx_use *use)
{
    qn_node *a = qn_onnx_in(use, 0), *b = qn_onnx_in(use, 1);
    const bool is_row = qn_onnx_shape(a).rank == 1;
    const bool is_column = qn_onnx_shape(b).rank == 1;
    if (is_row)
        a = qn_reshape(use->g, a, qn_shape_of(1, -1));
    if (is_column)
        b = qn_reshape(use->g, b, qn_shape_of(-1, 1));
    qn_node *y = qn_matmul(use->g, a, b, NULL);
    const qn_shape full = qn_onnx_shape(y);
    qn_shape shape = {0};
    for (int d = 0; d < full.rank; d++)
        if (!(is_row && d == full.rank - 2) &&
            !(is_column && d == full.rank - 1))
            shape.dims[shape.rank++] = full.dims[d];
    use->out[0] = is_row || is_column ? qn_reshape(use->g, y, shape) : y;
}

#define ANY QN_ONNX_ANY
#define OLD "broadcast axis consumed_inputs"
#define UNARY(name, builder)                                               \
    {.op = name, .since = 6, .until = ANY, .min_inputs = 1,                \
     .max_inputs = 1, .max_outputs = 1, .unary = builder}
#define BINARY(name, builder)                                              \
    {.op = name, .since = 7, .until = ANY, .min_inputs = 2,                \
     .max_inputs = 2, .max_outputs = 1, .binary = builder}
#define BINARY_OLD(name, builder)                                          \
    {.op = name, .since = 1, .until = 6, .min_inputs = 2,                  \
     .max_inputs = 2, .max_outputs = 1, .attributes = OLD,                 \
     .build = builder}
#define BUILT(name, first, last, least, most, names, builder)              \
    {.op = name, .since = first, .until = last, .min_inputs = least,       \
     .max_inputs = most, .max_outputs = 1, .attributes = names,            \
     .build = builder}

const struct qn_onnx_row qn_onnx_math_rows[] = {
    BINARY("Add", qn_add),
    BINARY("Sub", qn_sub),
    BINARY("Mul", qn_mul),
    BINARY("Div", qn_div),
    BINARY("Pow", qn_pow),
    BINARY("Equal", qn_equal),
    BINARY("Less", qn_less),
    BINARY("LessOrEqual", qn_less_equal),
    BINARY("Greater", qn_greater),
    BINARY("GreaterOrEqual", qn_greater_equal),
    BINARY_OLD("Add", build_add_old),
    BINARY_OLD("Sub", build_sub_old),
    BINARY_OLD("Mul", build_mul_old),
    BINARY_OLD("Div", build_div_old),
    BUILT("Sum", 6, ANY, 1, -1, NULL, build_sum),
    BUILT("Mean", 6, ANY, 1, -1, NULL, build_mean),
    BUILT("Max", 6, ANY, 1, -1, NULL, build_max),
    BUILT("Min", 6, ANY, 1, -1, NULL, build_min),
    BUILT("Clip", 6, 10, 1, 1, "min max", build_clip_old),
    BUILT("Clip", 11, ANY, 1, 3, NULL, build_clip),
    BUILT("Where", 9, ANY, 3, 3, NULL, build_where),
    UNARY("Neg", qn_neg),
    UNARY("Abs", qn_abs),
    UNARY("Exp", qn_exp),
    UNARY("Log", qn_log),
    UNARY("Sqrt", qn_sqrt),
    UNARY("Relu", qn_relu),
    UNARY("Sigmoid", qn_sigmoid),
    UNARY("Tanh", qn_tanh),
    UNARY("Softplus", qn_softplus),
    UNARY("Softsign", qn_softsign),
    BUILT("LeakyRelu", 6, ANY, 1, 1, "alpha", build_leaky_relu),
    UNARY("Mish", qn_mish),
    BUILT("HardSwish", 14, ANY, 1, 1, NULL, build_hard_swish),
    BUILT("HardSigmoid", 6, ANY, 1, 1, "alpha beta", build_hard_sigmoid),
    BUILT("ThresholdedRelu", 10, ANY, 1, 1, "alpha", build_thresholded_relu),
    BUILT("Celu", 12, ANY, 1, 1, "alpha", build_celu),
    BUILT("Gelu", 20, ANY, 1, 1, "approximate", build_gelu),
    BUILT("Reciprocal", 6, ANY, 1, 1, NULL, build_reciprocal),
    BUILT("Elu", 6, ANY, 1, 1, "alpha", build_elu),
    BUILT("Selu", 1, ANY, 1, 1, "alpha gamma consumed_inputs", build_selu),
    BUILT("PRelu", 6, ANY, 2, 2, NULL, build_prelu),
    BUILT("Softmax", 1, ANY, 1, 1, "axis", build_softmax),
    BUILT("LogSoftmax", 1, ANY, 1, 1, "axis", build_log_softmax),
    BUILT("Gemm", 1, ANY, 2, 3, "alpha beta transA transB broadcast",
          build_gemm),
    BUILT("MatMul", 1, ANY, 2, 2, NULL, build_matmul),
    {0},
};
