// Arithmetic, element by element: rows, gradients and builders. Knows neither
// how rows are fused nor where tensors lie.
#include "op/rules.h"

// ---- gradients ----

static struct qn_node *grad_sub(struct qn_graph *g, struct qn_node *node,
                                struct qn_node *dy, int i)
{
    (void)node;
    return i == 0 ? dy : qn_neg(g, dy);
}

static struct qn_node *grad_mul(struct qn_graph *g, struct qn_node *node,
                                struct qn_node *dy, int i)
{
    return qn_mul(g, dy, node->inputs[1 - i]);
}

static struct qn_node *grad_div(struct qn_graph *g, struct qn_node *node,
                                struct qn_node *dy, int i)
{
    struct qn_node *y = node->inputs[1];
    if (i == 0)
        return qn_div(g, dy, y);
    return qn_neg(g, qn_mul(g, dy, qn_div(g, node, y)));
}

// y x^(y-1), 0 where y is 0; and x^y log x, 0 where x is 0 and y is not
// negative: there the limit exists and log does not.
static struct qn_node *grad_pow(struct qn_graph *g, struct qn_node *node,
                                struct qn_node *dy, int i)
{
    struct qn_node *x = node->inputs[0], *y = node->inputs[1];
    struct qn_node *zero = qn_constant(g, 0);
    if (i == 0) {
        struct qn_node *power = qn_pow(g, x, qn_add_scalar(g, y, -1));
        return qn_mul(g, dy, qn_select(g, y, qn_mul(g, y, power), zero));
    }
    struct qn_node *flat = qn_mul(g, qn_equal(g, x, zero),
                                  qn_greater_equal(g, y, zero));
    return qn_mul(g, dy,
                  qn_select(g, flat, zero, qn_mul(g, node, qn_log(g, x))));
}

// dy to the winner, half of it to each of a tie.
static struct qn_node *grad_winner(struct qn_graph *g, struct qn_node *lost,
                                   struct qn_node *tied, struct qn_node *dy)
{
    return qn_select(g, tied, qn_scale(g, dy, 0.5),
                     qn_select(g, lost, qn_constant(g, 0), dy));
}

static struct qn_node *grad_max(struct qn_graph *g, struct qn_node *node,
                                struct qn_node *dy, int i)
{
    struct qn_node *a = node->inputs[i], *b = node->inputs[1 - i];
    return grad_winner(g, qn_less(g, a, b), qn_equal(g, a, b), dy);
}

static struct qn_node *grad_min(struct qn_graph *g, struct qn_node *node,
                                struct qn_node *dy, int i)
{
    struct qn_node *a = node->inputs[i], *b = node->inputs[1 - i];
    return grad_winner(g, qn_greater(g, a, b), qn_equal(g, a, b), dy);
}

static struct qn_node *grad_neg(struct qn_graph *g, struct qn_node *node,
                                struct qn_node *dy, int i)
{
    (void)node, (void)i;
    return qn_neg(g, dy);
}

static struct qn_node *grad_abs(struct qn_graph *g, struct qn_node *node,
                                struct qn_node *dy, int i)
{
    struct qn_node *x = node->inputs[i], *zero = qn_constant(g, 0);
    struct qn_node *sign =
        qn_sub(g, qn_greater(g, x, zero), qn_less(g, x, zero));
    return qn_mul(g, dy, sign);
}

static struct qn_node *grad_exp(struct qn_graph *g, struct qn_node *node,
                                struct qn_node *dy, int i)
{
    (void)i;
    return qn_mul(g, dy, node);
}

static struct qn_node *grad_log(struct qn_graph *g, struct qn_node *node,
                                struct qn_node *dy, int i)
{
    return qn_div(g, dy, node->inputs[i]);
}

static struct qn_node *grad_sqrt(struct qn_graph *g, struct qn_node *node,
                                 struct qn_node *dy, int i)
{
    (void)i;
    return qn_div(g, qn_scale(g, dy, 0.5), node);
}

static struct qn_node *grad_square(struct qn_graph *g, struct qn_node *node,
                                   struct qn_node *dy, int i)
{
    return qn_mul(g, dy, qn_scale(g, node->inputs[i], 2));
}

static struct qn_node *grad_scale(struct qn_graph *g, struct qn_node *node,
                                  struct qn_node *dy, int i)
{
    (void)i;
    return qn_scale(g, dy, node->p[0]);
}

static struct qn_node *grad_clamp(struct qn_graph *g, struct qn_node *node,
                                  struct qn_node *dy, int i)
{
    struct qn_node *x = node->inputs[i];
    struct qn_node *low = qn_constant(g, node->p[0]);
    struct qn_node *high = qn_constant(g, node->p[1]);
    struct qn_node *inside = qn_mul(g, qn_greater_equal(g, x, low),
                                    qn_less_equal(g, x, high));
    return qn_select(g, inside, dy, qn_constant(g, 0));
}

// ---- rows ----

#define UNARY .min_inputs = 1, .max_inputs = 1, .infer = qn_infer_broadcast
#define BINARY .min_inputs = 2, .max_inputs = 2, .infer = qn_infer_broadcast

const struct qn_op qn_op_add = {
    .name = "add", .formula = "x + y", BINARY,
    .expr = "x + y", .grad = qn_grad_pass,
    .store_hook = QN_HOOK_ADD, .hook_input = 0,
};
const struct qn_op qn_op_sub = {
    .name = "sub", .formula = "x - y", BINARY,
    .expr = "x - y", .grad = grad_sub,
};
const struct qn_op qn_op_mul = {
    .name = "mul", .formula = "x * y", BINARY,
    .expr = "x * y", .grad = grad_mul,
};
const struct qn_op qn_op_div = {
    .name = "div", .formula = "x / y", BINARY,
    .expr = "x / y", .grad = grad_div,
};
const struct qn_op qn_op_pow = {
    .name = "pow", .formula = "x ^ y", BINARY,
    .expr = "power(x, y)", .include = "power", .grad = grad_pow,
};
const struct qn_op qn_op_max = {
    .name = "max", .formula = "larger of x and y", BINARY,
    .expr = "MAX_NAN(x, y)", .grad = grad_max,
};
const struct qn_op qn_op_min = {
    .name = "min", .formula = "smaller of x and y", BINARY,
    .expr = "MIN_NAN(x, y)", .grad = grad_min,
};
const struct qn_op qn_op_neg = {
    .name = "neg", .formula = "-x", UNARY,
    .expr = "-x", .grad = grad_neg,
};
const struct qn_op qn_op_abs = {
    .name = "abs", .formula = "|x|", UNARY,
    .expr = "fabs(x)", .grad = grad_abs,
};
const struct qn_op qn_op_exp = {
    .name = "exp", .formula = "e^x", UNARY,
    .expr = "exp(x)", .grad = grad_exp,
};
const struct qn_op qn_op_log = {
    .name = "log", .formula = "natural logarithm of x", UNARY,
    .expr = "log(x)", .grad = grad_log,
};
const struct qn_op qn_op_sqrt = {
    .name = "sqrt", .formula = "x^(1/2)", UNARY,
    .expr = "sqrt(x)", .grad = grad_sqrt,
};
const struct qn_op qn_op_square = {
    .name = "square", .formula = "x * x", UNARY,
    .expr = "x * x", .grad = grad_square,
};
const struct qn_op qn_op_add_scalar = {
    .name = "add_scalar", .formula = "x + p", UNARY,
    .expr = "x + p0", .param_count = 1, .grad = qn_grad_pass,
};
const struct qn_op qn_op_scale = {
    .name = "scale", .formula = "p * x", UNARY,
    .expr = "p0 * x", .param_count = 1, .grad = grad_scale,
};
const struct qn_op qn_op_clamp = {
    .name = "clamp", .formula = "min(max(x, low), high)", UNARY,
    .expr = "SEL(x < p0, p0, SEL(x > p1, p1, x))", // lets NaN through
    .param_count = 2, .grad = grad_clamp,
};

// ---- builders ----

#define BUILD_UNARY(row)                                                   \
    qn_node *qn_##row(qn_graph *g, qn_node *x)                             \
    {                                                                      \
        return qn_build_unary(g, &qn_op_##row, x);                         \
    }
#define BUILD_BINARY(row)                                                  \
    qn_node *qn_##row(qn_graph *g, qn_node *x, qn_node *y)                 \
    {                                                                      \
        return qn_build_binary(g, &qn_op_##row, x, y);                     \
    }

BUILD_BINARY(add)
BUILD_BINARY(sub)
BUILD_BINARY(mul)
BUILD_BINARY(div)
BUILD_BINARY(pow)
BUILD_BINARY(max)
BUILD_BINARY(min)
BUILD_UNARY(neg)
BUILD_UNARY(abs)
BUILD_UNARY(exp)
BUILD_UNARY(log)
BUILD_UNARY(sqrt)
BUILD_UNARY(square)

qn_node *qn_add_scalar(qn_graph *g, qn_node *x, double value)
{
    const double p[QN_MAX_POINTWISE_PARAMS] = {value};
    return qn_node_create(g, &qn_op_add_scalar, &x, 1, p, NULL, 0);
}

qn_node *qn_scale(qn_graph *g, qn_node *x, double factor)
{
    const double p[QN_MAX_POINTWISE_PARAMS] = {factor};
    return qn_node_create(g, &qn_op_scale, &x, 1, p, NULL, 0);
}

qn_node *qn_clamp(qn_graph *g, qn_node *x, double low, double high)
{
    const double p[QN_MAX_POINTWISE_PARAMS] = {low, high};
    if (g && !(low <= high)) {
        qn_graph_fail(g, QN_BAD_ARGUMENT,
                      "clamp: low is %g and must not be above high, %g", low,
                      high);
        return NULL;
    }
    return qn_node_create(g, &qn_op_clamp, &x, 1, p, NULL, 0);
}
