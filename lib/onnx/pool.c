// Pooling, over windows and over all of space.
#include "onnx/window.h"
#include "quern/op.h"

// False on failure.
static bool read_pool(struct qn_onnx_use *use, const qn_node *x,
                      struct qn_pool_params *params)
{
    struct qn_onnx_window window;
    *params = (struct qn_pool_params){
        .ceil_mode = qn_onnx_int(use, "ceil_mode", 0) != 0,
        .exclude_pad = qn_onnx_int(use, "count_include_pad", 0) == 0};
    if (!qn_onnx_window_read(use, x, NULL, &window))
        return false;
    if (window.rank > 3)
        qn_onnx_fail(use, QN_UNSUPPORTED, "over %d dimensions of space",
                     window.rank);
    for (int d = 0; d < window.rank && d < 3; d++) {
        params->kernel[d] = window.kernel[d];
        params->stride[d] = window.stride[d];
        params->dilation[d] = window.dilation[d];
        params->low[d] = window.low[d];
        params->high[d] = window.high[d];
    }
    return !qn_onnx_failed(use);
}

static void build_average(struct qn_onnx_use *use)
{
    struct qn_pool_params params;
    qn_node *x = qn_onnx_in(use, 0);
    if (read_pool(use, x, &params))
        use->out[0] = qn_avg_pool(use->g, x, &params);
}

// Places in a plane counted down the columns, from those along the rows: i of
// rows of w elements is in row i / w, towards zero.
static qn_node *by_columns(qn_graph *g, qn_node *places, int64_t h, int64_t w)
{
    qn_node *middle = qn_add_scalar(g, places, 0.5);
    qn_node *row = qn_cast(g, qn_scale(g, middle, 1.0 / (double)w), QN_INT32);
    qn_node *column =
        qn_sub(g, places, qn_scale(g, row, (double)w));
    return qn_add(g, qn_scale(g, column, (double)h), row);
}

// Output 1: places in the whole of x, ours being those in one channel of one
// sample; exact below 2^22.
static qn_node *find_places(struct qn_onnx_use *use, qn_node *x,
                            const struct qn_pool_params *params)
{
    const qn_shape shape = qn_onnx_shape(x);
    const int64_t count = qn_shape_count(&shape);
    const int64_t planes = shape.dims[0] * shape.dims[1];
    const bool is_column_major = qn_onnx_int(use, "storage_order", 0) != 0;
    qn_shape along = {.rank = shape.rank,
                      .dims = {shape.dims[0], shape.dims[1], 1, 1, 1, 1}};
    if ((is_column_major && shape.rank != 4) || count > 1 << 22) {
        qn_onnx_fail(use, QN_UNSUPPORTED,
                     "places in column-major order but of images, or beyond "
                     "2^22");
        return NULL;
    }
    qn_node *starts =
        qn_onnx_count(use, planes, (double)(count / planes));
    qn_node *places = qn_max_pool_index(use->g, x, params);
    if (is_column_major)
        places = by_columns(use->g, places, shape.dims[2], shape.dims[3]);
    return qn_add(use->g, places, qn_reshape(use->g, starts, along));
}

// Input 0, integers too as real numbers.
static qn_node *real_input(struct qn_onnx_use *use)
{
    qn_node *x = qn_onnx_in(use, 0);
    return x && qn_node_dtype(x) != use->real
               ? qn_cast(use->g, x, use->real)
               : x;
}

static void build_max(struct qn_onnx_use *use)
{
    struct qn_pool_params params;
    qn_node *x = real_input(use);
    if (!read_pool(use, x, &params))
        return;
    use->out[0] = qn_max_pool(use->g, x, &params);
    if (use->out_count > 1 && *use->proto->output[1])
        use->out[1] = find_places(use, x, &params);
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
