// Pooling over images.
#include <math.h>

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

// ---- adaptive_avg_pool ----

static const struct qn_layer_key adaptive_keys[] = {
    {"size", "pair", "of the result", 1, (1 << 15) - 1, NAN, NULL},
    {0},
};

static qn_node *build_adaptive(qn_graph *g, qn_node *x,
                               const struct qn_layer_use *use)
{
    return qn_adaptive_avg_pool(g, x, (int64_t)use->values[0],
                                (int64_t)use->widths[0]);
}

// ---- fractional_max_pool ----

enum { RATIO, SIZE, REGIONS, OVERLAPPING };

static const struct qn_layer_key fractional_keys[] = {
    [RATIO] = {"ratio", "number", "height or width to that of the result", 1,
               1 << 15, 1.4142135623730951, NULL},
    [SIZE] = {"size", "pair", "of the result; 0: as ratio says", 0,
              (1 << 15) - 1, 0, NULL},
    [REGIONS] = {"regions", "choice",
                 "order of the two lengths: any, or evenly mixed", 0, 1, 0,
                 "random|pseudo"},
    [OVERLAPPING] = {"overlapping", "boolean",
                     "regions share their borders", 0, 1, 0, NULL},
    {0},
};

// The nearest whole number below, but 20 for 32 / 1.6.
static int64_t shrink(int64_t side, double size, double ratio)
{
    const int64_t less = (int64_t)floor((double)side / ratio + 1e-9);
    return size > 0 ? (int64_t)size : less > 1 ? less : 1;
}

static qn_node *build_fractional(qn_graph *g, qn_node *x,
                                 const struct qn_layer_use *use)
{
    const double *v = use->values;
    if (!is_images(g, "fractional_max_pool", x))
        return NULL;
    return qn_fractional_max_pool(
        g, x,
        qn_fractional_params(
            .size = {shrink(x->shape.dims[2], v[SIZE], v[RATIO]),
                     shrink(x->shape.dims[3], use->widths[SIZE], v[RATIO])},
            .pseudo = v[REGIONS] == 1, .overlapping = v[OVERLAPPING] != 0,
            .draw = {.seed = use->stochastic ? use->seed : NULL,
                     .step = use->step, .use = "regions",
                     .first = use->first}));
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
    {.name = "adaptive_avg_pool",
     .formula = "y = mean x of size regions, as even as can be",
     .keys = adaptive_keys, .build = build_adaptive},
    {.name = "fractional_max_pool",
     .formula = "y = largest x in each region; training: regions drawn for "
                "each sample; predicting: fixed ones",
     .keys = fractional_keys, .build = build_fractional},
    {0},
};
