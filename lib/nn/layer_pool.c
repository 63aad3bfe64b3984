// Pooling over images.
#include "graph/graph.h"
#include "nn/layer.h"
#include "quern/op.h"

static bool is_images(qn_graph *g, const char *what, const qn_node *x)
{
    char text[128];
    if (!x)
        return false;
    if (x->shape.rank == 4)
        return true;
    qn_graph_fail(g, QN_BAD_SHAPE,
                  "%s: needs images [n, channels, height, width], not %s",
                  what, qn_shape_text(&x->shape, text, sizeof text));
    return false;
}

// Keys that all windows have, in this order, at the beginning.
enum { KERNEL, STRIDE, PADDING, CEIL_MODE, DILATION, COUNT_PAD = DILATION };

#define WINDOW_KEYS                                                          \
    [KERNEL] = {"kernel", "pair", "size of a window", 1, 1 << 20, 2, NULL},  \
    [STRIDE] = {"stride", "pair", "from window to window; 0: as kernel", 0,  \
                1 << 20, 0, NULL},                                           \
    [PADDING] = {"padding", "pair", "on each side, less than a window", 0,   \
                 1 << 20, 0, NULL},                                          \
    [CEIL_MODE] = {"ceil_mode", "boolean",                                   \
                   "a last window may reach over the border", 0, 1, 0, NULL}

static const struct qn_layer_key max_keys[] = {
    WINDOW_KEYS,
    [DILATION] = {"dilation", "pair", "from element to element of a window",
                  1, 1 << 20, 1, NULL},
    {0},
};
static const struct qn_layer_key mean_keys[] = {
    WINDOW_KEYS,
    [COUNT_PAD] = {"count_include_pad", "boolean",
                   "padding counts in the mean", 0, 1, 1, NULL},
    {0},
};

static struct qn_pool_params read_windows(const struct qn_layer_use *use)
{
    const double *h = use->values, *w = use->widths;
    return (struct qn_pool_params){
        .kernel = {(int64_t)h[KERNEL], (int64_t)w[KERNEL]},
        .stride = {(int64_t)h[STRIDE], (int64_t)w[STRIDE]},
        .low = {(int64_t)h[PADDING], (int64_t)w[PADDING]},
        .high = {(int64_t)h[PADDING], (int64_t)w[PADDING]},
        .ceil_mode = h[CEIL_MODE] != 0,
    };
}

static qn_node *build_max(qn_graph *g, qn_node *x,
                          const struct qn_layer_use *use)
{
    struct qn_pool_params params = read_windows(use);
    params.dilation[0] = (int64_t)use->values[DILATION];
    params.dilation[1] = (int64_t)use->widths[DILATION];
    return is_images(g, "maxpool", x) ? qn_max_pool(g, x, &params) : NULL;
}

static qn_node *build_mean(qn_graph *g, qn_node *x,
                           const struct qn_layer_use *use)
{
    struct qn_pool_params params = read_windows(use);
    params.exclude_pad = use->values[COUNT_PAD] == 0;
    return is_images(g, "avgpool", x) ? qn_avg_pool(g, x, &params) : NULL;
}

static const int spatial[] = {2, 3};

static qn_node *global_mean(qn_graph *g, qn_node *x)
{
    return is_images(g, "global_avg_pool", x)
               ? qn_mean(g, x, qn_reduce_params(.axes = spatial,
                                                .axis_count = 2))
               : NULL;
}

static qn_node *global_max(qn_graph *g, qn_node *x)
{
    return is_images(g, "global_max_pool", x)
               ? qn_reduce_max(g, x, qn_reduce_params(.axes = spatial,
                                                      .axis_count = 2))
               : NULL;
}

const struct qn_layer qn_layers_pool[] = {
    {.name = "maxpool", .formula = "y = largest x in each window",
     .keys = max_keys, .build = build_max},
    {.name = "avgpool", .formula = "y = mean x of each window",
     .keys = mean_keys, .build = build_mean},
    {.name = "global_avg_pool", .formula = "y[n, c] = mean of x[n, c, :, :]",
     .apply = global_mean},
    {.name = "global_max_pool",
     .formula = "y[n, c] = largest of x[n, c, :, :]", .apply = global_max},
    {0},
};
