// Pooling in any number of dimensions, one axis after the other: a maximum and
// a mean over a box are those over its edges in turn, also where padding does
// not count, since the number of cells is a product too. Along an axis a pool
// is a maximum or a sum of strided slices.
#include <math.h>
#include <stdlib.h>

#include "onnx/window.h"
#include "quern/op.h"

// x with `low` elements of `value` before axis 2 + d and as many after it as
// the windows reach.
static qn_node *pad_axis(struct qn_onnx_use *use,
                         const struct qn_onnx_window *window, int d,
                         qn_node *x, double value)
{
    int64_t low[QN_MAX_RANK] = {0}, high[QN_MAX_RANK] = {0};
    const int64_t reach = (window->out[d] - 1) * window->stride[d] +
                          (window->kernel[d] - 1) * window->dilation[d] + 1;
    const int64_t more = reach - window->in[d] - window->low[d];
    low[2 + d] = window->low[d];
    high[2 + d] = more > 0 ? more : 0;
    if (!low[2 + d] && !high[2 + d])
        return x;
    qn_node *y = qn_pad(use->g, x, low, high, NULL);
    if (value == 0)
        return y;
    qn_shape line = {.rank = window->rank + 2};
    for (int k = 0; k < line.rank; k++)
        line.dims[k] = k == 2 + d ? window->in[d] : 1;
    qn_node *inside = qn_pad(
        use->g, qn_broadcast_to(use->g, qn_constant(use->g, 1), line), low,
        high, NULL);
    return qn_select(use->g, inside, y, qn_constant(use->g, value));
}

// Element j of each window along axis 2 + d.
static qn_node *take(struct qn_onnx_use *use,
                     const struct qn_onnx_window *window, int d, qn_node *x,
                     int64_t j)
{
    const int64_t start = j * window->dilation[d];
    const int64_t span = (window->out[d] - 1) * window->stride[d] + 1;
    return qn_slice(use->g, x, 2 + d, start, start + span,
                    window->stride[d]);
}

// ---- mean ----

// 1 / the number of cells of each window: those inside the input, or also
// those in the padding.
static qn_node *reciprocals(struct qn_onnx_use *use,
                            const struct qn_onnx_window *window, int d)
{
    const bool counts_pads = qn_onnx_int(use, "count_include_pad", 0) != 0;
    const int64_t first = counts_pads ? 0 : window->low[d];
    const int64_t last = window->low[d] + window->in[d] +
                         (counts_pads ? window->high[d] : 0);
    double *values = calloc((size_t)window->out[d], sizeof *values);
    if (!values) {
        qn_onnx_fail(use, QN_NO_MEMORY, "no memory for a constant");
        return NULL;
    }
    for (int64_t o = 0; o < window->out[d]; o++) {
        int64_t cells = 0;
        for (int64_t j = 0; j < window->kernel[d]; j++) {
            const int64_t at =
                o * window->stride[d] + j * window->dilation[d];
            cells += at >= first && at < last;
        }
        values[o] = 1 / (double)cells;
    }
    qn_node *node = qn_onnx_along(use, window->rank + 2, 2 + d, values,
                                  window->out[d]);
    free(values);
    return node;
}

static qn_node *mean_axis(struct qn_onnx_use *use,
                          const struct qn_onnx_window *window, int d,
                          qn_node *x)
{
    x = pad_axis(use, window, d, x, 0);
    qn_node *sum = take(use, window, d, x, 0);
    for (int64_t j = 1; j < window->kernel[d]; j++)
        sum = qn_add(use->g, sum, take(use, window, d, x, j));
    return qn_mul(use->g, sum, reciprocals(use, window, d));
}

static void build_average(struct qn_onnx_use *use)
{
    struct qn_onnx_window window;
    qn_node *x = qn_onnx_in(use, 0);
    if (!qn_onnx_window_read(use, x, NULL, &window))
        return;
    for (int d = window.rank - 1; d >= 0; d--)
        x = mean_axis(use, &window, d, x);
    use->out[0] = x;
}

// ---- maximum ----

// The maximum; where `places` is not NULL, also the place of the first one.
static void max_axis(struct qn_onnx_use *use,
                     const struct qn_onnx_window *window, int d, qn_node **x,
                     qn_node **places)
{
    qn_node *from = pad_axis(use, window, d, *x, -HUGE_VAL);
    qn_node *all = places ? pad_axis(use, window, d, *places, 0) : NULL;
    qn_node *most = take(use, window, d, from, 0);
    qn_node *place = places ? take(use, window, d, all, 0) : NULL;
    for (int64_t j = 1; j < window->kernel[d]; j++) {
        qn_node *next = take(use, window, d, from, j);
        if (places)
            place = qn_select(use->g, qn_greater(use->g, next, most),
                              take(use, window, d, all, j), place);
        most = qn_max(use->g, most, next);
    }
    *x = most;
    if (places)
        *places = place;
}

// Places in x, counted in row-major order.
static qn_node *number(struct qn_onnx_use *use, const qn_shape *shape)
{
    const int64_t count = qn_shape_count(shape);
    if (count > 1 << 24) {
        qn_onnx_fail(use, QN_UNSUPPORTED,
                     "places in more than 2^24 elements");
        return NULL;
    }
    double *values = malloc((size_t)count * sizeof *values);
    if (!values) {
        qn_onnx_fail(use, QN_NO_MEMORY, "no memory for a constant");
        return NULL;
    }
    for (int64_t i = 0; i < count; i++)
        values[i] = (double)i;
    qn_node *node = qn_onnx_along(use, 1, 0, values, count);
    free(values);
    return qn_reshape(use->g, node, *shape);
}

static void build_max(struct qn_onnx_use *use)
{
    struct qn_onnx_window window;
    qn_node *x = qn_onnx_in(use, 0), *places = NULL;
    const qn_shape shape = qn_onnx_shape(x);
    const bool wants_places = use->out_count > 1 && *use->proto->output[1];
    if (qn_onnx_int(use, "storage_order", 0))
        qn_onnx_fail(use, QN_UNSUPPORTED, "storage_order 1");
    if (!qn_onnx_window_read(use, x, NULL, &window))
        return;
    if (wants_places)
        places = number(use, &shape);
    for (int d = window.rank - 1; d >= 0; d--)
        max_axis(use, &window, d, &x, places ? &places : NULL);
    use->out[0] = x;
    use->out[1] = places;
}

// ---- over all of space ----

static void build_global(struct qn_onnx_use *use,
                         qn_node *(*build)(qn_graph *, qn_node *,
                                           const struct qn_reduce_params *))
{
    int axes[QN_MAX_RANK], count = 0;
    qn_node *x = qn_onnx_in(use, 0);
    for (int d = 2; d < qn_onnx_shape(x).rank; d++)
        axes[count++] = d;
    if (!count)
        qn_onnx_fail(use, QN_BAD_SHAPE, "needs an input [n, c, ...]");
    use->out[0] = build(use->g, x,
                        &(struct qn_reduce_params){
                            .axes = axes, .axis_count = count, .keep = true});
}

static void build_global_average(struct qn_onnx_use *use)
{
    build_global(use, qn_mean);
}

static void build_global_max(struct qn_onnx_use *use)
{
    build_global(use, qn_reduce_max);
}

#define ROW(name, outputs, names, builder)                                 \
    {.op = name, .since = 1, .until = QN_ONNX_ANY, .min_inputs = 1,        \
     .max_inputs = 1, .max_outputs = outputs, .attributes = names,         \
     .build = builder}
#define WINDOW "kernel_shape strides dilations pads auto_pad ceil_mode "

const struct qn_onnx_row qn_onnx_pool_rows[] = {
    ROW("AveragePool", 1, WINDOW "count_include_pad", build_average),
    ROW("MaxPool", 2, WINDOW "storage_order", build_max),
    ROW("GlobalAveragePool", 1, NULL, build_global_average),
    ROW("GlobalMaxPool", 1, NULL, build_global_max),
    {0},
};
