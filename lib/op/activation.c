// Activations that bend once, and those whose gradient needs but the output,
// so that the input need not be kept. The others are in smooth.c.
#include "op/rules.h"

static struct qn_node *grad_relu(struct qn_graph *g, struct qn_node *node,
                                 struct qn_node *dy, int i)
{
    (void)i;
    return qn_relu_gate(g, node, dy);
}

static struct qn_node *grad_sigmoid(struct qn_graph *g, struct qn_node *node,
                                    struct qn_node *dy, int i)
{
    (void)i;
    struct qn_node *rest = qn_sub(g, qn_constant(g, 1), node);
    return qn_mul(g, dy, qn_mul(g, node, rest));
}

static struct qn_node *grad_tanh(struct qn_graph *g, struct qn_node *node,
                                 struct qn_node *dy, int i)
{
    (void)i;
    struct qn_node *rest = qn_sub(g, qn_constant(g, 1), qn_square(g, node));
    return qn_mul(g, dy, rest);
}

// The input and not the output, whose sign a negative slope turns round.
static struct qn_node *grad_leaky_relu(struct qn_graph *g,
                                       struct qn_node *node,
                                       struct qn_node *dy, int i)
{
    struct qn_node *above =
        qn_greater(g, node->inputs[i], qn_constant(g, 0));
    return qn_select(g, above, dy, qn_scale(g, dy, node->p[0]));
}

// x > 0 ? dy : a dy; and of a, x where it is not above 0.
static struct qn_node *grad_prelu(struct qn_graph *g, struct qn_node *node,
                                  struct qn_node *dy, int i)
{
    struct qn_node *x = node->inputs[0], *zero = qn_constant(g, 0);
    struct qn_node *above = qn_greater(g, x, zero);
    if (i == 0)
        return qn_select(g, above, dy, qn_mul(g, dy, node->inputs[1]));
    return qn_select(g, above, zero, qn_mul(g, dy, x));
}

static struct qn_node *grad_hard_tanh(struct qn_graph *g,
                                      struct qn_node *node,
                                      struct qn_node *dy, int i)
{
    struct qn_node *x = node->inputs[i];
    struct qn_node *inside =
        qn_mul(g, qn_greater(g, x, qn_constant(g, node->p[0])),
               qn_less(g, x, qn_constant(g, node->p[1])));
    return qn_select(g, inside, dy, qn_constant(g, 0));
}

// Flat in x almost everywhere.
static struct qn_node *grad_relu_gate(struct qn_graph *g,
                                      struct qn_node *node,
                                      struct qn_node *dy, int i)
{
    return i == 0 ? NULL : qn_relu_gate(g, node->inputs[0], dy);
}

const struct qn_op qn_op_relu = {
    .name = "relu", .formula = "x > 0 ? x : 0",
    .source = "Nair and Hinton 2010",
    .min_inputs = 1, .max_inputs = 1, .infer = qn_infer_broadcast,
    .expr = "SEL(x < K(0), K(0), x)", // lets NaN through
    .grad = grad_relu, .store_hook = QN_HOOK_RELU, .hook_input = 0,
};
// With e = exp(-|x|): 1 / (1 + e), and e / (1 + e) left of 0. Nothing
// overflows and small results keep their digits.
const struct qn_op qn_op_sigmoid = {
    .name = "sigmoid", .formula = "1 / (1 + e^-x)",
    .min_inputs = 1, .max_inputs = 1, .infer = qn_infer_broadcast,
    .expr = "SEL(x < K(0), exp(-fabs(x)), K(1)) / (K(1) + exp(-fabs(x)))",
    .grad = grad_sigmoid,
};
const struct qn_op qn_op_tanh = {
    .name = "tanh", .formula = "(e^x - e^-x) / (e^x + e^-x)",
    .min_inputs = 1, .max_inputs = 1, .infer = qn_infer_broadcast,
    .expr = "tanh(x)", .grad = grad_tanh,
};
const struct qn_op qn_op_leaky_relu = {
    .name = "leaky_relu", .formula = "x > 0 ? x : slope * x",
    .source = "Maas, Hannun and Ng 2013",
    .min_inputs = 1, .max_inputs = 1, .infer = qn_infer_broadcast,
    .expr = "SEL(x > K(0), x, p0 * x)", .param_count = 1,
    .grad = grad_leaky_relu,
};
const struct qn_op qn_op_prelu = {
    .name = "prelu", .formula = "x > 0 ? x : a * x",
    .source = "He et al. 2015",
    .min_inputs = 2, .max_inputs = 2, .infer = qn_infer_broadcast,
    .expr = "SEL(x > K(0), x, y * x)", .grad = grad_prelu,
};
const struct qn_op qn_op_hard_tanh = {
    .name = "hard_tanh", .formula = "min(max(x, low), high)",
    .source = "Collobert 2004",
    .min_inputs = 1, .max_inputs = 1, .infer = qn_infer_broadcast,
    .expr = "SEL(x < p0, p0, SEL(x > p1, p1, x))", // lets NaN through
    .param_count = 2, .grad = grad_hard_tanh,
};
const struct qn_op qn_op_relu_gate = {
    .name = "relu_gate", .formula = "x > 0 ? dy : 0",
    .source = "gradient of relu",
    .min_inputs = 2, .max_inputs = 2, .infer = qn_infer_broadcast,
    .expr = "SEL(x > K(0), y, K(0))", .grad = grad_relu_gate,
    .store_hook = QN_HOOK_GATE, .hook_input = 1,
};

qn_node *qn_relu(qn_graph *g, qn_node *x)
{
    return qn_build_unary(g, &qn_op_relu, x);
}

qn_node *qn_sigmoid(qn_graph *g, qn_node *x)
{
    return qn_build_unary(g, &qn_op_sigmoid, x);
}

qn_node *qn_tanh(qn_graph *g, qn_node *x)
{
    return qn_build_unary(g, &qn_op_tanh, x);
}

qn_node *qn_leaky_relu(qn_graph *g, qn_node *x, double slope)
{
    const double p[QN_MAX_POINTWISE_PARAMS] = {slope};
    return qn_node_create(g, &qn_op_leaky_relu, &x, 1, p, NULL, 0);
}

qn_node *qn_relu_gate(qn_graph *g, qn_node *x, qn_node *dy)
{
    return qn_build_binary(g, &qn_op_relu_gate, x, dy);
}

qn_node *qn_prelu(qn_graph *g, qn_node *x, qn_node *a)
{
    return qn_build_binary(g, &qn_op_prelu, x, a);
}

qn_node *qn_hard_tanh(qn_graph *g, qn_node *x, double low, double high)
{
    const double p[QN_MAX_POINTWISE_PARAMS] = {low, high};
    if (g && !(low <= high)) {
        qn_graph_fail(g, QN_BAD_ARGUMENT,
                      "hard_tanh: low is %g and must not be above high, %g",
                      low, high);
        return NULL;
    }
    return qn_node_create(g, &qn_op_hard_tanh, &x, 1, p, NULL, 0);
}

qn_node *qn_relu6(qn_graph *g, qn_node *x)
{
    return qn_hard_tanh(g, x, 0, 6);
}

// x[outer][count * pieces][inner], the dimension after the batch cut in two:
// piece 0 of all units first.
qn_node *qn_maxout(qn_graph *g, qn_node *x, int pieces)
{
    const int axis = 1;
    if (!g || g->error.status || !x)
        return NULL;
    const qn_shape *shape = &x->shape;
    char text[128];
    if (pieces < 1 || shape->rank < 2 || shape->rank == QN_MAX_RANK ||
        shape->dims[axis] % pieces != 0) {
        qn_graph_fail(g, QN_BAD_SHAPE,
                      "maxout: input of shape %s does not fall into %d pieces "
                      "along axis 1",
                      qn_shape_text(shape, text, sizeof text), pieces);
        return NULL;
    }
    qn_shape cut = {.rank = shape->rank + 1, .dims = {shape->dims[0], pieces}};
    cut.dims[2] = shape->dims[axis] / pieces;
    for (int i = 2; i < shape->rank; i++)
        cut.dims[i + 1] = shape->dims[i];
    return qn_reduce_max(g, qn_reshape(g, x, cut),
                         qn_reduce_params(.axes = &axis, .axis_count = 1));
}
