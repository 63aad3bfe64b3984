// Smooth activations: rows, gradients and builders. What needs care for its
// digits is in cl/smooth.cl; gradients are made of other rows.
#include "op/rules.h"

#define UNARY .min_inputs = 1, .max_inputs = 1, .infer = qn_infer_broadcast

// Right of 0 the slope `right`, left of it `left` e^x.
static struct qn_node *grad_exponential(struct qn_graph *g, struct qn_node *x,
                                        struct qn_node *dy, double right,
                                        double left)
{
    struct qn_node *above = qn_greater(g, x, qn_constant(g, 0));
    struct qn_node *below = qn_mul(g, dy, qn_scale(g, qn_exp(g, x), left));
    struct qn_node *straight = right == 1 ? dy : qn_scale(g, dy, right);
    return qn_select(g, above, straight, below);
}

// ---- elu, selu, softplus, softsign ----

static struct qn_node *grad_elu(struct qn_graph *g, struct qn_node *node,
                                struct qn_node *dy, int i)
{
    return grad_exponential(g, node->inputs[i], dy, 1, node->p[0]);
}

static const double selu_scale = 1.0507009873554805;
static const double selu_scale_alpha = 1.7580993408473768;

static struct qn_node *grad_selu(struct qn_graph *g, struct qn_node *node,
                                 struct qn_node *dy, int i)
{
    return grad_exponential(g, node->inputs[i], dy, selu_scale,
                            selu_scale_alpha);
}

static struct qn_node *grad_softplus(struct qn_graph *g, struct qn_node *node,
                                     struct qn_node *dy, int i)
{
    return qn_mul(g, dy, qn_sigmoid(g, node->inputs[i]));
}

// 1 / (1 + |x|)^2, squared last so that nothing overflows.
static struct qn_node *grad_softsign(struct qn_graph *g, struct qn_node *node,
                                     struct qn_node *dy, int i)
{
    struct qn_node *size = qn_abs(g, node->inputs[i]);
    struct qn_node *part =
        qn_div(g, qn_constant(g, 1), qn_add_scalar(g, size, 1));
    return qn_mul(g, dy, qn_square(g, part));
}

const struct qn_op qn_op_elu = {
    .name = "elu", .formula = "x > 0 ? x : alpha * (e^x - 1)", UNARY,
    .source = "Clevert, Unterthiner and Hochreiter 2016",
    .expr = "SEL(x > K(0), x, p0 * expm1(x))", .param_count = 1,
    .grad = grad_elu,
};
const struct qn_op qn_op_selu = {
    .name = "selu",
    .source = "Klambauer et al. 2017",
    .formula = "1.0507 x where x > 0, else 1.0507 * 1.67326 (e^x - 1)", UNARY,
    .expr = "SEL(x > K(0), K(1.0507009873554805) * x, "
            "K(1.7580993408473768) * expm1(x))",
    .grad = grad_selu,
};
const struct qn_op qn_op_softplus = {
    .name = "softplus", .formula = "log(1 + e^x)", UNARY,
    .source = "Dugas et al. 2001",
    .expr = "SEL(x < K(0), K(0), x) + log1p(exp(-fabs(x)))",
    .grad = grad_softplus,
};
// Beyond 1e30 it is 1, and infinity would be divided by itself.
const struct qn_op qn_op_softsign = {
    .name = "softsign", .formula = "x / (1 + |x|)", UNARY,
    .source = "Bergstra et al. 2009",
    .expr = "SEL(fabs(x) > K(1e30), SEL(x > K(0), K(1), K(-1)), "
            "x / (K(1) + fabs(x)))",
    .grad = grad_softsign,
};

// ---- gelu, silu, mish ----

// The density of a standard normal at x.
static struct qn_node *normal_density(struct qn_graph *g, struct qn_node *x)
{
    struct qn_node *gauss =
        qn_exp(g, qn_scale(g, qn_square(g, x), -0.5));
    return qn_scale(g, gauss, 0.39894228040143268);
}

static struct qn_node *grad_normal_cdf(struct qn_graph *g,
                                       struct qn_node *node,
                                       struct qn_node *dy, int i)
{
    return qn_mul(g, dy, normal_density(g, node->inputs[i]));
}

static struct qn_node *grad_gelu(struct qn_graph *g, struct qn_node *node,
                                 struct qn_node *dy, int i)
{
    struct qn_node *x = node->inputs[i];
    struct qn_node *rise = qn_mul(g, x, normal_density(g, x));
    return qn_mul(g, dy, qn_add(g, qn_normal_cdf(g, x), rise));
}

// Of x s(w): s + x w' s (1 - s), where s is the sigmoid.
static struct qn_node *grad_gated(struct qn_graph *g, struct qn_node *x,
                                  struct qn_node *w, struct qn_node *dw,
                                  struct qn_node *dy)
{
    struct qn_node *s = qn_sigmoid(g, w);
    struct qn_node *rest = qn_sub(g, qn_constant(g, 1), s);
    struct qn_node *rise = qn_mul(g, dw ? qn_mul(g, x, dw) : x, rest);
    return qn_mul(g, dy, qn_mul(g, s, qn_add_scalar(g, rise, 1)));
}

// w = x (A + B x^2). Beyond 32 the sigmoid is 0 or 1 and x^2 might overflow.
static struct qn_node *grad_gelu_tanh(struct qn_graph *g,
                                      struct qn_node *node,
                                      struct qn_node *dy, int i)
{
    const double a = 1.5957691216057307, b = 0.07135481627260025;
    struct qn_node *x = qn_clamp(g, node->inputs[i], -32, 32);
    struct qn_node *square = qn_square(g, x);
    struct qn_node *slope =
        qn_add_scalar(g, qn_scale(g, square, b), a);
    struct qn_node *dw = qn_add_scalar(g, qn_scale(g, square, 3 * b), a);
    return grad_gated(g, x, qn_mul(g, x, slope), dw, dy);
}

static struct qn_node *grad_silu(struct qn_graph *g, struct qn_node *node,
                                 struct qn_node *dy, int i)
{
    return grad_gated(g, node->inputs[i], node->inputs[i], NULL, dy);
}

// With t = tanh(softplus(x)): t + x sigmoid(x) (1 - t^2).
static struct qn_node *grad_mish(struct qn_graph *g, struct qn_node *node,
                                 struct qn_node *dy, int i)
{
    struct qn_node *x = node->inputs[i];
    struct qn_node *t = qn_tanh(g, qn_softplus(g, x));
    struct qn_node *rest = qn_sub(g, qn_constant(g, 1), qn_square(g, t));
    struct qn_node *rise =
        qn_mul(g, qn_mul(g, x, qn_sigmoid(g, x)), rest);
    return qn_mul(g, dy, qn_add(g, t, rise));
}

const struct qn_op qn_op_normal_cdf = {
    .name = "normal_cdf", .formula = "(1 + erf(x / sqrt(2))) / 2", UNARY,
    .expr = "normal_cdf(x)", .include = "smooth", .grad = grad_normal_cdf,
};
const struct qn_op qn_op_gelu = {
    .name = "gelu", .formula = "x (1 + erf(x / sqrt(2))) / 2", UNARY,
    .source = "Hendrycks and Gimpel 2016",
    .expr = "gelu(x)", .include = "smooth", .grad = grad_gelu,
};
const struct qn_op qn_op_gelu_tanh = {
    .name = "gelu_tanh",
    .source = "Hendrycks and Gimpel 2016",
    .formula = "x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2", UNARY,
    .expr = "gelu_tanh(x)", .include = "smooth", .grad = grad_gelu_tanh,
};
const struct qn_op qn_op_silu = {
    .name = "silu", .formula = "x / (1 + e^-x)", UNARY,
    .source = "Elfwing, Uchibe and Doya 2018",
    .expr = "silu(x)", .include = "smooth", .grad = grad_silu,
};
const struct qn_op qn_op_mish = {
    .name = "mish", .formula = "x tanh(log(1 + e^x))", UNARY,
    .source = "Misra 2020",
    .expr = "mish(x)", .include = "smooth", .grad = grad_mish,
};

// ---- builders ----

#define BUILD(row)                                                         \
    qn_node *qn_##row(qn_graph *g, qn_node *x)                             \
    {                                                                      \
        return qn_build_unary(g, &qn_op_##row, x);                         \
    }

BUILD(selu)
BUILD(softplus)
BUILD(softsign)
BUILD(normal_cdf)
BUILD(gelu)
BUILD(gelu_tanh)
BUILD(silu)
BUILD(mish)

qn_node *qn_elu(qn_graph *g, qn_node *x, double alpha)
{
    const double p[QN_MAX_POINTWISE_PARAMS] = {alpha};
    return qn_node_create(g, &qn_op_elu, &x, 1, p, NULL, 0);
}
