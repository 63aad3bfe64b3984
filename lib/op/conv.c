// Convolution: shapes, builders and gradients. Three rows share one geometry,
// and each one's gradients are the other two. Knows no device.
#include "op/conv.h"

#include <stdio.h>

extern const struct qn_op qn_op_conv2d, qn_op_conv_transpose2d,
    qn_op_conv2d_weight_grad;

enum qn_conv_kind qn_conv_kind_of(const struct qn_node *node)
{
    return node->op == &qn_op_conv2d             ? QN_CONV_FORWARD
           : node->op == &qn_op_conv_transpose2d ? QN_CONV_TRANSPOSE
                                                 : QN_CONV_WEIGHT_GRAD;
}

struct qn_conv_counts qn_conv_counts_of(const struct qn_node *node)
{
    const enum qn_conv_kind kind = qn_conv_kind_of(node);
    const struct qn_node *x = node->inputs[0];
    const struct qn_node *y =
        kind == QN_CONV_WEIGHT_GRAD ? node->inputs[1] : node;
    const bool is_large = kind != QN_CONV_TRANSPOSE;
    return (struct qn_conv_counts){
        .images = x->shape.dims[0],
        .large = (is_large ? x : y)->shape.dims[1],
        .small = (is_large ? y : x)->shape.dims[1],
    };
}

// ---- shapes ----

static qn_status check_range(struct qn_node *node, const char *name,
                             const int64_t *values, int count, int64_t least)
{
    const int64_t most = 1 << 24;
    for (int i = 0; i < count; i++)
        if (values[i] < least || values[i] > most)
            return qn_node_fail(node, QN_BAD_ARGUMENT,
                                "%s is %lld and must be %lld to %lld", name,
                                (long long)values[i], (long long)least,
                                (long long)most);
    return QN_OK;
}

// The parameters, and that both images have elements. Kernels count the
// elements of an image, and places in the kernel, in 32 bits.
static qn_status check_geometry(struct qn_node *node)
{
    const struct qn_conv *conv = node->params;
    QN_TRY(check_range(node, "stride", conv->stride, 2, 1));
    QN_TRY(check_range(node, "dilation", conv->dilation, 2, 1));
    QN_TRY(check_range(node, "groups", &conv->groups, 1, 1));
    QN_TRY(check_range(node, "padding", conv->low, 2, 0));
    QN_TRY(check_range(node, "padding", conv->high, 2, 0));
    for (int i = 0; i < 2; i++)
        if (conv->small[i] < 1 || conv->large[i] < 1)
            return qn_node_fail(
                node, QN_BAD_SHAPE,
                "%s of %lld %s with padding %lld and %lld, kernel %lld, "
                "stride %lld and dilation %lld leave nothing",
                conv->small[i] < 1 ? "an input" : "a transposed input",
                (long long)(conv->small[i] < 1 ? conv->large[i]
                                               : conv->small[i]),
                i ? "columns" : "rows", (long long)conv->low[i],
                (long long)conv->high[i], (long long)conv->kernel[i],
                (long long)conv->stride[i], (long long)conv->dilation[i]);
    if (conv->large[0] * conv->large[1] > INT32_MAX ||
        conv->kernel[0] * conv->kernel[1] > INT32_MAX ||
        (conv->kernel[0] - 1) * conv->dilation[0] + conv->low[0] > INT32_MAX ||
        (conv->kernel[1] - 1) * conv->dilation[1] + conv->low[1] > INT32_MAX)
        return qn_node_fail(node, QN_BAD_SHAPE,
                            "an image or a kernel of more than 2^31 elements");
    return QN_OK;
}

// w[small, large / groups, kernel] fits the channels of an image. -1: unknown.
static qn_status check_channels(struct qn_node *node, int64_t large,
                                int64_t small)
{
    const struct qn_conv *conv = node->params;
    const qn_shape *w = &node->inputs[1]->shape;
    const int64_t groups = conv->groups;
    char x[128], text[128];
    const bool fits = w->dims[0] % groups == 0 &&
                      (large < 0 || w->dims[1] * groups == large) &&
                      (small < 0 || w->dims[0] == small);
    if (fits)
        return QN_OK;
    return qn_node_fail(
        node, QN_BAD_SHAPE,
        "x %s and w %s do not fit in %lld group%s: w must be %s",
        qn_shape_text(&node->inputs[0]->shape, x, sizeof x),
        qn_shape_text(w, text, sizeof text), (long long)groups,
        groups == 1 ? "" : "s",
        large < 0 ? "[channels of x, outputs / groups, height, width], its "
                    "first number divisible by groups"
                  : "[outputs, channels of x / groups, height, width], "
                    "outputs divisible by groups");
}

static qn_status expect_images(struct qn_node *node)
{
    for (int i = 0; i < 2; i++) {
        QN_TRY(qn_expect_real(node, i));
        QN_TRY(qn_expect_rank(node, i, 4, 4));
    }
    return QN_OK;
}

static qn_status infer_conv2d(struct qn_node *node)
{
    const struct qn_conv *conv = node->params;
    QN_TRY(expect_images(node));
    QN_TRY(check_geometry(node));
    const int64_t *x = node->inputs[0]->shape.dims;
    const int64_t *w = node->inputs[1]->shape.dims;
    QN_TRY(check_channels(node, x[1], -1));
    node->shape = qn_shape_of(x[0], w[0], conv->small[0], conv->small[1]);
    node->dtype = node->graph->real;
    return QN_OK;
}

static qn_status infer_conv_transpose2d(struct qn_node *node)
{
    const struct qn_conv *conv = node->params;
    QN_TRY(expect_images(node));
    QN_TRY(check_geometry(node));
    const int64_t *x = node->inputs[0]->shape.dims;
    const int64_t *w = node->inputs[1]->shape.dims;
    QN_TRY(check_channels(node, -1, x[1]));
    node->shape = qn_shape_of(x[0], w[1] * conv->groups, conv->large[0],
                              conv->large[1]);
    node->dtype = node->graph->real;
    return QN_OK;
}

// Made by gradient rules alone, so that its inputs fit.
static qn_status infer_conv2d_weight_grad(struct qn_node *node)
{
    const struct qn_conv *conv = node->params;
    QN_TRY(expect_images(node));
    const int64_t *x = node->inputs[0]->shape.dims;
    const int64_t *dy = node->inputs[1]->shape.dims;
    node->shape = qn_shape_of(dy[1], x[1] / conv->groups, conv->kernel[0],
                              conv->kernel[1]);
    node->dtype = node->graph->real;
    return QN_OK;
}

// ---- gradients ----

static struct qn_node *create(struct qn_graph *g, const struct qn_op *op,
                              struct qn_node *x, struct qn_node *y,
                              const struct qn_conv *conv)
{
    struct qn_node *inputs[] = {x, y};
    return qn_node_create(g, op, inputs, 2, NULL, conv, sizeof *conv);
}

static struct qn_node *grad_conv2d(struct qn_graph *g, struct qn_node *node,
                                   struct qn_node *dy, int i)
{
    if (i == 0)
        return create(g, &qn_op_conv_transpose2d, dy, node->inputs[1],
                      node->params);
    return create(g, &qn_op_conv2d_weight_grad, node->inputs[0], dy,
                  node->params);
}

static struct qn_node *grad_conv_transpose2d(struct qn_graph *g,
                                             struct qn_node *node,
                                             struct qn_node *dy, int i)
{
    if (i == 0)
        return create(g, &qn_op_conv2d, dy, node->inputs[1], node->params);
    return create(g, &qn_op_conv2d_weight_grad, dy, node->inputs[0],
                  node->params);
}

// `dy` is shaped like the weight, and is one.
static struct qn_node *grad_conv2d_weight_grad(struct qn_graph *g,
                                               struct qn_node *node,
                                               struct qn_node *dy, int i)
{
    if (i == 0)
        return create(g, &qn_op_conv_transpose2d, node->inputs[1], dy,
                      node->params);
    return create(g, &qn_op_conv2d, node->inputs[0], dy, node->params);
}

const struct qn_op qn_op_conv2d = {
    .name = "conv2d",
    .source = "LeCun et al. 1989",
    .formula = "y[n, o, p] = sum over c, a of x[n, c, p stride + a dilation "
               "- low] w[o, c, a]",
    .min_inputs = 2, .max_inputs = 2, .infer = infer_conv2d,
    .candidates = qn_conv_candidates, .grad = grad_conv2d,
};
const struct qn_op qn_op_conv_transpose2d = {
    .name = "conv_transpose2d",
    .source = "Zeiler et al. 2010; gradient of conv2d",
    .formula = "y[n, o, s stride + a dilation - low] += x[n, c, s] w[c, o, a]",
    .min_inputs = 2, .max_inputs = 2, .infer = infer_conv_transpose2d,
    .candidates = qn_conv_candidates, .grad = grad_conv_transpose2d,
};
const struct qn_op qn_op_conv2d_weight_grad = {
    .name = "conv2d_weight_grad",
    .source = "gradient of conv2d",
    .formula = "dw[o, c, a] = sum over n, p of x[n, c, p stride + a dilation "
               "- low] dy[n, o, p]",
    .min_inputs = 2, .max_inputs = 2, .infer = infer_conv2d_weight_grad,
    .candidates = qn_conv_weights_candidates, .grad = grad_conv2d_weight_grad,
};

// ---- builders ----

// Rows look at the shapes' last two numbers only if there are four.
static bool has_images(struct qn_graph *g, const struct qn_op *op,
                       struct qn_node *x, struct qn_node *w)
{
    struct qn_node *inputs[] = {x, w};
    const struct qn_conv none = {0};
    if (!qn_can_build(g, op, inputs, 2))
        return false;
    if (x->shape.rank == 4 && w->shape.rank == 4)
        return true;
    create(g, op, x, w, &none); // explains
    return false;
}

qn_node *qn_conv2d(qn_graph *g, qn_node *x, qn_node *w,
                   const struct qn_conv2d_params *params)
{
    static const struct qn_conv2d_params defaults = {QN_CONV2D_DEFAULTS};
    if (!params)
        params = &defaults;
    if (!has_images(g, &qn_op_conv2d, x, w))
        return NULL;
    struct qn_conv conv = {.groups = params->groups};
    for (int i = 0; i < 2; i++) {
        conv.stride[i] = params->stride[i];
        conv.low[i] = params->low[i];
        conv.high[i] = params->high[i];
        conv.dilation[i] = params->dilation[i];
        conv.kernel[i] = w->shape.dims[2 + i];
        conv.large[i] = x->shape.dims[2 + i];
        const int64_t room = conv.large[i] + conv.low[i] + conv.high[i] -
                             conv.dilation[i] * (conv.kernel[i] - 1) - 1;
        conv.small[i] =
            room < 0 || conv.stride[i] < 1 ? 0 : room / conv.stride[i] + 1;
    }
    return create(g, &qn_op_conv2d, x, w, &conv);
}

// More would add rows that nothing reaches.
static bool check_output_padding(
    struct qn_graph *g, const struct qn_conv_transpose2d_params *params)
{
    for (int i = 0; i < 2; i++) {
        const int64_t extra = params->output_padding[i];
        if (extra >= 0 && (extra < params->stride[i] ||
                           extra < params->dilation[i] || extra == 0))
            continue;
        qn_graph_fail(g, QN_BAD_ARGUMENT,
                      "conv_transpose2d: output_padding is %lld and must be "
                      "less than stride %lld or dilation %lld",
                      (long long)extra, (long long)params->stride[i],
                      (long long)params->dilation[i]);
        return false;
    }
    return true;
}

qn_node *qn_conv_transpose2d(qn_graph *g, qn_node *x, qn_node *w,
                             const struct qn_conv_transpose2d_params *params)
{
    static const struct qn_conv_transpose2d_params defaults = {
        QN_CONV2D_DEFAULTS};
    if (!params)
        params = &defaults;
    if (!has_images(g, &qn_op_conv_transpose2d, x, w) ||
        !check_output_padding(g, params))
        return NULL;
    struct qn_conv conv = {.groups = params->groups};
    for (int i = 0; i < 2; i++) {
        conv.stride[i] = params->stride[i];
        conv.low[i] = params->low[i];
        conv.high[i] = params->high[i];
        conv.dilation[i] = params->dilation[i];
        conv.kernel[i] = w->shape.dims[2 + i];
        conv.small[i] = x->shape.dims[2 + i];
        conv.large[i] = (conv.small[i] - 1) * conv.stride[i] - conv.low[i] -
                        conv.high[i] +
                        conv.dilation[i] * (conv.kernel[i] - 1) +
                        params->output_padding[i] + 1;
    }
    return create(g, &qn_op_conv_transpose2d, x, w, &conv);
}
