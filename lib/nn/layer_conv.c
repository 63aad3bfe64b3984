// Layers that are a convolution.
#include <math.h>

#include "graph/graph.h"
#include "nn/layer.h"
#include "quern/op.h"

// Keys of all of them, in this order at the beginning.
enum { FILTERS, KERNEL, STRIDE, PADDING, DILATION, GROUPS, OWN };

#define CONV_KEYS                                                            \
    [FILTERS] = {"filters", "integer", "number of output channels", 1,       \
                 1 << 24, NAN, NULL},                                        \
    [KERNEL] = {"kernel", "pair", "size of a filter", 1, 1 << 12, 3, NULL},  \
    [STRIDE] = {"stride", "pair", "from position to position", 1, 1 << 12,   \
                1, NULL},                                                    \
    [PADDING] = {"padding", "pair",                                          \
                 "zeros on each side; same: as many as keep the size, "      \
                 "divided by stride",                                        \
                 0, 1 << 12, -1, "same"},                                   \
    [DILATION] = {"dilation", "pair", "from tap to tap of a filter", 1,      \
                  1 << 12, 1, NULL},                                         \
    [GROUPS] = {"groups", "integer",                                         \
                "into which the channels are split; 0: one a channel", 0,    \
                1 << 24, 1, NULL}

struct conv {
    int64_t kernel[2], stride[2], padding[2], dilation[2];
    int64_t filters, groups, channels;
};

static void read_pair(const struct qn_layer_use *use, int key, int64_t pair[2])
{
    pair[0] = (int64_t)use->values[key];
    pair[1] = (int64_t)use->widths[key];
}

// False, with the graph's error set, where x cannot be convolved.
static bool read_conv(qn_graph *g, const qn_node *x, const char *name,
                      const struct qn_layer_use *use, struct conv *conv)
{
    char text[128];
    if (!x)
        return false;
    if (x->shape.rank != 4) {
        qn_graph_fail(g, QN_BAD_SHAPE,
                      "%s: needs images [n, channels, height, width], not %s",
                      name, qn_shape_text(&x->shape, text, sizeof text));
        return false;
    }
    read_pair(use, KERNEL, conv->kernel);
    read_pair(use, STRIDE, conv->stride);
    read_pair(use, PADDING, conv->padding);
    read_pair(use, DILATION, conv->dilation);
    conv->filters = (int64_t)use->values[FILTERS];
    conv->groups = (int64_t)use->values[GROUPS];
    conv->channels = x->shape.dims[1];
    if (conv->groups == 0)
        conv->groups = conv->channels;
    if (conv->channels % conv->groups == 0 &&
        conv->filters % conv->groups == 0)
        return true;
    qn_graph_fail(g, QN_BAD_SHAPE,
                  "%s: %lld channels and %lld filters do not both split into "
                  "%lld groups",
                  name, (long long)conv->channels, (long long)conv->filters,
                  (long long)conv->groups);
    return false;
}

static qn_node *add_bias(qn_graph *g, qn_node *y, int64_t filters,
                         const double *values)
{
    if (values[QN_KEY_BIAS] == 0)
        return y;
    qn_node *bias = qn_parameter(g, "bias", qn_shape_of(filters));
    return qn_add(g, y, qn_reshape(g, bias, qn_shape_of(filters, 1, 1)));
}

// Zeros before and behind along one axis of `size` elements. "same" gives
// ceil(size / stride) positions and puts the odd zero behind.
static void find_padding(const struct conv *conv, int axis, int64_t size,
                         int64_t *low, int64_t *high)
{
    *low = *high = conv->padding[axis];
    if (*low >= 0)
        return;
    int64_t stride = conv->stride[axis];
    int64_t reach = conv->dilation[axis] * (conv->kernel[axis] - 1) + 1;
    int64_t zeros = (size + stride - 1) / stride * stride - stride + reach -
                    size;
    zeros = zeros > 0 ? zeros : 0;
    *low = zeros / 2;
    *high = zeros - *low;
}

static qn_node *convolve(qn_graph *g, qn_node *x, const struct conv *conv,
                         const double *weight_values)
{
    struct qn_conv2d_params params = {.groups = conv->groups};
    for (int i = 0; i < 2; i++) {
        params.stride[i] = conv->stride[i];
        params.dilation[i] = conv->dilation[i];
        find_padding(conv, i, qn_node_shape(x)->dims[2 + i], &params.low[i],
                     &params.high[i]);
    }
    qn_node *weight = qn_parameter(
        g, "weight",
        qn_shape_of(conv->filters, conv->channels / conv->groups,
                    conv->kernel[0], conv->kernel[1]));
    return add_bias(g, qn_conv2d(g, x, weight, &params), conv->filters,
                    weight_values);
}

// ---- conv ----

enum { CONV_WEIGHT = OWN };

static const struct qn_layer_key conv_keys[] = {
    CONV_KEYS,
    QN_WEIGHT_KEYS,
    {0},
};

static qn_node *build_conv(qn_graph *g, qn_node *x,
                           const struct qn_layer_use *use)
{
    struct conv conv;
    return read_conv(g, x, "conv", use, &conv)
               ? convolve(g, x, &conv, use->values + CONV_WEIGHT)
               : NULL;
}

static void init_conv(const double *values, const char *parameter,
                      const qn_shape *weight, struct qn_init_params *params)
{
    qn_layer_init_weight(values + CONV_WEIGHT, parameter, weight, params);
}

// ---- conv_maxout ----

enum { MAXOUT_PIECES = OWN, MAXOUT_WEIGHT };

static const struct qn_layer_key maxout_keys[] = {
    CONV_KEYS,
    [MAXOUT_PIECES] = {"pieces", "integer", "affine pieces of each output", 1,
                       1 << 10, 2, NULL},
    QN_WEIGHT_KEYS,
    {0},
};

// The weight is [pieces * filters, ...], all filters of a piece side by side.
static qn_node *build_maxout(qn_graph *g, qn_node *x,
                             const struct qn_layer_use *use)
{
    struct conv conv;
    int pieces = (int)use->values[MAXOUT_PIECES];
    if (!read_conv(g, x, "conv_maxout", use, &conv))
        return NULL;
    conv.filters *= pieces;
    return qn_maxout(g, convolve(g, x, &conv, use->values + MAXOUT_WEIGHT),
                     pieces);
}

static void init_maxout(const double *values, const char *parameter,
                        const qn_shape *weight, struct qn_init_params *params)
{
    qn_layer_init_weight(values + MAXOUT_WEIGHT, parameter, weight, params);
}

// ---- conv_transpose ----

enum { TRANSPOSE_OUTPUT_PADDING = OWN, TRANSPOSE_WEIGHT };

static const struct qn_layer_key transpose_keys[] = {
    CONV_KEYS,
    [TRANSPOSE_OUTPUT_PADDING] = {"output_padding", "pair",
                                  "rows and columns more at the end, less "
                                  "than stride or dilation",
                                  0, 1 << 12, 0, NULL},
    QN_WEIGHT_KEYS,
    {0},
};

// "same" gives stride times the size where the kernel reaches that far.
static int64_t find_crop(const struct conv *conv, int axis)
{
    int64_t reach = conv->dilation[axis] * (conv->kernel[axis] - 1) + 1;
    int64_t rest = reach - conv->stride[axis];
    return conv->padding[axis] >= 0 ? conv->padding[axis]
           : rest > 0               ? rest / 2
                                    : 0;
}

static qn_node *build_transpose(qn_graph *g, qn_node *x,
                                const struct qn_layer_use *use)
{
    struct conv conv;
    if (!read_conv(g, x, "conv_transpose", use, &conv))
        return NULL;
    struct qn_conv_transpose2d_params params = {.groups = conv.groups};
    read_pair(use, TRANSPOSE_OUTPUT_PADDING, params.output_padding);
    for (int i = 0; i < 2; i++) {
        params.stride[i] = conv.stride[i];
        params.dilation[i] = conv.dilation[i];
        params.low[i] = find_crop(&conv, i);
        params.high[i] = params.low[i];
        if (conv.padding[i] < 0 && (conv.dilation[i] * (conv.kernel[i] - 1) +
                                    1 - conv.stride[i]) % 2 > 0)
            params.high[i]++;
    }
    qn_node *weight = qn_parameter(
        g, "weight", qn_shape_of(conv.channels, conv.filters / conv.groups,
                                 conv.kernel[0], conv.kernel[1]));
    return add_bias(g, qn_conv_transpose2d(g, x, weight, &params),
                    conv.filters, use->values + TRANSPOSE_WEIGHT);
}

static void init_transpose(const double *values, const char *parameter,
                           const qn_shape *weight,
                           struct qn_init_params *params)
{
    qn_layer_init_weight(values + TRANSPOSE_WEIGHT, parameter, weight, params);
}

static int64_t transpose_groups(const double *values, const qn_shape *weight)
{
    return values[GROUPS] > 0 ? (int64_t)values[GROUPS] : weight->dims[0];
}

const struct qn_layer qn_layers_conv[] = {
    {.name = "conv",
     .formula = "y[n, o, p, q] = b[o] + sum over i, a, b of x[n, i, p stride "
                "+ a dilation - padding, ...] W[o, i, a, b]",
     .keys = conv_keys, .build = build_conv, .init = init_conv},
    {.name = "conv_maxout",
     .formula = "y[n, u, ...] = max over k < pieces of conv(x)[n, k filters + "
                "u, ...], W [pieces * filters, ...]",
     .keys = maxout_keys, .build = build_maxout, .init = init_maxout},
    {.name = "conv_transpose",
     .formula = "y[n, o, p, q] = b[o] + sum of x[n, i, s, t] W[i, o, a, b] "
                "over p = s stride + a dilation - padding, likewise q",
     .keys = transpose_keys, .build = build_transpose,
     .init = init_transpose, .column_groups = transpose_groups},
    {0},
};
