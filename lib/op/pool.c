// Pooling over windows: maximum and mean, with their gradients. Knows shapes
// and launches, no device.
#include "op/pool.h"

#include <limits.h>

#include "op/rules.h"

extern const struct qn_op qn_op_max_pool, qn_op_max_pool_index,
    qn_op_max_pool_grad, qn_op_avg_pool, qn_op_avg_pool_grad;

enum {
    LANES = 16,
    SPAN = 8192, // elements of a CPU item, about
    LINE = 2048, // elements of x that a line of windows spans, about
    GROUP = 256,
};

// ---- shapes ----

static const struct qn_pool *pool_of(const struct qn_node *node)
{
    return node->params;
}

// [n, c] and the spatial sizes.
static qn_shape spatial_shape(const struct qn_node *x,
                              const struct qn_pool *pool, bool is_out)
{
    qn_shape shape = x->shape;
    const int skip = 3 - (shape.rank - 2);
    for (int i = 2; i < shape.rank; i++) {
        const struct qn_pool_dim *dim = &pool->dims[skip + i - 2];
        shape.dims[i] = is_out ? dim->out : dim->in;
    }
    return shape;
}

static qn_status infer_pool(struct qn_node *node)
{
    QN_TRY(qn_expect_real(node, 0));
    node->shape = spatial_shape(node->inputs[0], pool_of(node), true);
    if (node->op == &qn_op_max_pool_index)
        node->dtype = QN_INT32;
    return QN_OK;
}

// The last input is dy.
static qn_status infer_grad(struct qn_node *node)
{
    const struct qn_node *dy = node->inputs[node->input_count - 1];
    const qn_shape want = spatial_shape(dy, pool_of(node), true);
    for (int i = 0; i < node->input_count; i++)
        QN_TRY(qn_expect_real(node, i));
    if (!qn_shape_equal(&dy->shape, &want))
        return qn_node_fail(node, QN_BAD_SHAPE,
                            "the gradient does not fit the pooling");
    node->shape = spatial_shape(dy, pool_of(node), false);
    return QN_OK;
}

// ---- launches ----

static int64_t size_of(const struct qn_pool *pool, bool is_out)
{
    int64_t size = 1;
    for (int i = 0; i < 3; i++)
        size *= is_out ? pool->dims[i].out : pool->dims[i].in;
    return size;
}

static struct qn_launch *add_launch(const struct qn_node *node,
                                    const char *kernel, bool is_maximum,
                                    struct qn_work *work)
{
    struct qn_launch *launch =
        qn_work_add(work, "pool", kernel, node->graph->real);
    qn_launch_define(launch, "MAXIMUM", is_maximum);
    launch->bytes = (double)qn_node_size(node);
    for (int i = 0; i < node->input_count; i++)
        launch->bytes += (double)qn_node_size(node->inputs[i]);
    return launch;
}

// The argument DIMS.
static void add_dims(struct qn_launch *launch, const struct qn_pool *pool)
{
    for (int i = 0; i < 3; i++) {
        const struct qn_pool_dim *dim = &pool->dims[i];
        qn_launch_int(launch, dim->in);
        qn_launch_int(launch, dim->out);
        qn_launch_int(launch, dim->kernel);
        qn_launch_int(launch, dim->stride);
        qn_launch_int(launch, dim->dilation);
        qn_launch_int(launch, dim->low);
        qn_launch_int(launch, pool->has_pad ? dim->in + dim->high : dim->in);
    }
}

// The grid of a CPU launch over `count` units of `each` elements, after the
// arguments count and span; of a GPU launch, an item an element, after total.
static void add_grid(struct qn_launch *launch, const struct qn_limits *limits,
                     int64_t count, int64_t each, int64_t total)
{
    if (limits->variant == QN_VARIANT_CPU) {
        const int64_t span = qn_larger(1, SPAN / each);
        qn_launch_long(launch, count);
        qn_launch_long(launch, span);
        qn_launch_grid(launch, (size_t)qn_divide_up(count, span), 1, 1, 1, 1);
        return;
    }
    const int64_t group = qn_group_size(limits, GROUP);
    qn_launch_long(launch, total);
    qn_launch_grid(launch, (size_t)qn_divide_up(total, group), 1, 1,
                   (size_t)group, 1);
}

// Bytes of the line that `windows` windows span.
static int64_t line_size(const struct qn_node *node, int64_t windows,
                         int64_t columns)
{
    const struct qn_pool_dim *w = &pool_of(node)->dims[2];
    const int64_t padded = qn_divide_up(windows, LANES) * LANES;
    const int64_t length =
        (padded - 1) * w->stride + (w->kernel - 1) * w->dilation + 1;
    return (qn_larger(length, columns) + 2 * LANES) *
           (int64_t)qn_dtype_size(node->graph->real);
}

// Elements of x that a row of windows takes.
static int64_t row_work(const struct qn_pool *pool)
{
    const struct qn_pool_dim *d = pool->dims;
    return d[0].kernel * d[1].kernel * d[2].in + d[2].out;
}

static void describe_pool(const struct qn_node *node,
                          const struct qn_limits *limits, struct qn_work *work)
{
    const struct qn_pool *pool = pool_of(node);
    const bool is_cpu = limits->variant == QN_VARIANT_CPU;
    const int64_t count = qn_node_count(node), out = pool->dims[2].out;
    struct qn_launch *launch =
        add_launch(node, "pool", node->op == &qn_op_max_pool, work);
    qn_launch_buffer(launch, QN_OPERAND_IN);
    qn_launch_buffer(launch, QN_OPERAND_OUT);
    add_dims(launch, pool);
    add_grid(launch, limits, count / out, row_work(pool), count);
    if (is_cpu) {
        const int64_t tile = qn_smaller(
            qn_divide_up(out, LANES),
            qn_larger(1, LINE / (LANES * pool->dims[2].stride))) * LANES;
        qn_launch_long(launch, qn_node_count(node->inputs[0]));
        qn_launch_int(launch, tile);
        qn_launch_int(launch, pool->has_pad);
        qn_launch_local(launch, line_size(node, tile, 0));
    } else {
        qn_launch_int(launch, pool->has_pad);
    }
}

// Indices of the windows' winners.
static void add_winners(const struct qn_node *node,
                        const struct qn_limits *limits, int to,
                        struct qn_work *work)
{
    const struct qn_pool *pool = pool_of(node);
    const int64_t windows = qn_node_count(node->inputs[0]) /
                            size_of(pool, false) * size_of(pool, true);
    struct qn_launch *launch = add_launch(node, "winners", true, work);
    qn_launch_buffer(launch, QN_OPERAND_IN);
    qn_launch_buffer(launch, to);
    add_dims(launch, pool);
    add_grid(launch, limits, windows / pool->dims[2].out, row_work(pool),
             windows);
}

static void describe_index(const struct qn_node *node,
                           const struct qn_limits *limits,
                           struct qn_work *work)
{
    add_winners(node, limits, QN_OPERAND_OUT, work);
}

static void add_hooks(struct qn_launch *launch)
{
    qn_launch_hooks(launch, QN_HOOK_ADD | QN_HOOK_GATE);
}

static void describe_max_grad(const struct qn_node *node,
                              const struct qn_limits *limits,
                              struct qn_work *work)
{
    const struct qn_pool *pool = pool_of(node);
    const int64_t windows = qn_node_count(node->inputs[1]);
    const int64_t count = qn_node_count(node), size = size_of(pool, false);
    const int index =
        qn_work_scratch(work, windows * (int64_t)sizeof(int32_t));
    add_winners(node, limits, index, work);
    struct qn_launch *launch = add_launch(node, "scatter", true, work);
    qn_launch_buffer(launch, index);
    qn_launch_buffer(launch, QN_OPERAND_IN + 1);
    qn_launch_buffer(launch, QN_OPERAND_OUT);
    add_dims(launch, pool);
    add_grid(launch, limits, count / size, size, count);
    add_hooks(launch);
}

// Windows of 2 x 2 side by side, none of which reaches over the border.
static bool fits_unpool(const struct qn_node *node,
                        const struct qn_limits *limits)
{
    const struct qn_pool_dim *d = pool_of(node)->dims;
    for (int i = 1; i < 3; i++)
        if (d[i].kernel != 2 || d[i].stride != 2 || d[i].dilation != 1 ||
            d[i].low != 0 || d[i].out != d[i].in / 2)
            return false;
    return d[0].kernel == 1 && d[0].stride == 1 && d[0].low == 0 &&
           d[0].out == d[0].in && qn_fits_cpu(node, limits);
}

static void describe_unpool(const struct qn_node *node,
                            const struct qn_limits *limits,
                            struct qn_work *work)
{
    const struct qn_pool *pool = pool_of(node);
    const int64_t rows = qn_node_count(node->inputs[1]) / pool->dims[2].out;
    struct qn_launch *launch = add_launch(node, "unpool", true, work);
    qn_launch_buffer(launch, QN_OPERAND_IN);
    qn_launch_buffer(launch, QN_OPERAND_IN + 1);
    qn_launch_buffer(launch, QN_OPERAND_OUT);
    add_dims(launch, pool);
    add_grid(launch, limits, rows, 4 * pool->dims[2].in, 0);
    qn_launch_long(launch, qn_node_count(node));
    add_hooks(launch);
}

static void describe_avg_grad(const struct qn_node *node,
                              const struct qn_limits *limits,
                              struct qn_work *work)
{
    const struct qn_pool *pool = pool_of(node);
    const struct qn_pool_dim *w = &pool->dims[2];
    const int64_t count = qn_node_count(node), size = size_of(pool, false);
    struct qn_launch *launch = add_launch(node, "spread", false, work);
    qn_launch_buffer(launch, QN_OPERAND_IN);
    qn_launch_buffer(launch, QN_OPERAND_OUT);
    add_dims(launch, pool);
    add_grid(launch, limits, count / size, size, count);
    qn_launch_int(launch, pool->has_pad);
    if (limits->variant == QN_VARIANT_CPU) {
        const int64_t line = line_size(node, w->out, w->low + w->in);
        qn_launch_int(launch,
                      line / (int64_t)qn_dtype_size(launch->real));
        qn_launch_local(launch, line);
    }
    add_hooks(launch);
}

#define CANDIDATES(name, describe)                                         \
    static const struct qn_candidate name[] = {                            \
        {"cpu", qn_fits_cpu, describe}, {"gpu", qn_fits_gpu, describe}, {0}}

CANDIDATES(pool_candidates, describe_pool);
CANDIDATES(index_candidates, describe_index);
CANDIDATES(avg_grad_candidates, describe_avg_grad);
static const struct qn_candidate max_grad_candidates[] = {
    {"unpool", fits_unpool, describe_unpool},
    {"cpu", qn_fits_cpu, describe_max_grad},
    {"gpu", qn_fits_gpu, describe_max_grad},
    {0},
};

// ---- gradients ----

static struct qn_node *grad_max_pool(struct qn_graph *g, struct qn_node *node,
                                     struct qn_node *dy, int i)
{
    struct qn_node *inputs[] = {node->inputs[i],
                                qn_broadcast_to(g, dy, node->shape)};
    return qn_node_create(g, &qn_op_max_pool_grad, inputs, 2, NULL,
                          node->params, sizeof(struct qn_pool));
}

// A mean and its gradient are each other's.
static struct qn_node *grad_avg_pool(struct qn_graph *g, struct qn_node *node,
                                     struct qn_node *dy, int i)
{
    (void)i;
    dy = qn_broadcast_to(g, dy, node->shape);
    return qn_node_create(g,
                          node->op == &qn_op_avg_pool ? &qn_op_avg_pool_grad
                                                      : &qn_op_avg_pool,
                          &dy, 1, NULL, node->params, sizeof(struct qn_pool));
}

const struct qn_op qn_op_max_pool = {
    .name = "max_pool", .formula = "largest x in each window",
    .source = "Ranzato et al. 2007",
    .min_inputs = 1, .max_inputs = 1, .infer = infer_pool,
    .candidates = pool_candidates, .grad = grad_max_pool,
};
const struct qn_op qn_op_max_pool_index = {
    .name = "max_pool_index",
    .source = "Zeiler and Fergus 2014",
    .formula = "place of the largest x in each window, in its channel",
    .min_inputs = 1, .max_inputs = 1, .flags = QN_OP_NO_GRAD,
    .infer = infer_pool, .candidates = index_candidates,
};
const struct qn_op qn_op_max_pool_grad = {
    .name = "max_pool_grad",
    .source = "gradient of max_pool",
    .formula = "dy to the first largest x of its window",
    .min_inputs = 2, .max_inputs = 2, .infer = infer_grad,
    .candidates = max_grad_candidates,
};
const struct qn_op qn_op_avg_pool = {
    .name = "avg_pool", .formula = "mean x of each window",
    .source = "LeCun et al. 1998",
    .min_inputs = 1, .max_inputs = 1, .infer = infer_pool,
    .candidates = pool_candidates, .grad = grad_avg_pool,
};
const struct qn_op qn_op_avg_pool_grad = {
    .name = "avg_pool_grad",
    .source = "gradient of avg_pool",
    .formula = "dy / n to the n elements of its window",
    .min_inputs = 1, .max_inputs = 1, .infer = infer_grad,
    .candidates = avg_grad_candidates, .grad = grad_avg_pool,
};

// ---- builders ----

// How many windows there are, as PyTorch counts: each begins inside the input
// or the padding before it.
static int64_t count_windows(const struct qn_pool_dim *dim, bool is_ceil)
{
    const int64_t reach = dim->dilation * (dim->kernel - 1) + 1;
    const int64_t room = dim->in + dim->low + dim->high - reach;
    if (room < 0)
        return 0;
    int64_t out = room / dim->stride + 1;
    if (is_ceil && room % dim->stride &&
        out * dim->stride < dim->in + dim->low)
        out++;
    return out;
}

static qn_status check_dim(struct qn_graph *g, const struct qn_op *op,
                           const struct qn_pool_dim *dim, int i)
{
    const int64_t most = 1 << 20;
    if (dim->in > INT_MAX / 4 || dim->kernel < 1 || dim->kernel > most ||
        dim->stride < 1 || dim->stride > most || dim->dilation < 1 ||
        dim->dilation > most || dim->low < 0 || dim->high < 0)
        return qn_graph_fail(g, QN_BAD_ARGUMENT,
                             "%s: spatial dimension %d has kernel %lld, "
                             "stride %lld, dilation %lld, padding %lld and "
                             "%lld; all must be positive, padding may be 0",
                             op->name, i, (long long)dim->kernel,
                             (long long)dim->stride, (long long)dim->dilation,
                             (long long)dim->low, (long long)dim->high);
    const int64_t reach = dim->dilation * (dim->kernel - 1) + 1;
    if (dim->low >= reach || dim->high >= reach || reach > INT_MAX / 4)
        return qn_graph_fail(g, QN_BAD_ARGUMENT,
                             "%s: spatial dimension %d is padded by %lld and "
                             "%lld, as much as a window of %lld holds",
                             op->name, i, (long long)dim->low,
                             (long long)dim->high, (long long)reach);
    if (dim->out < 1)
        return qn_graph_fail(g, QN_BAD_SHAPE,
                             "%s: a window of %lld is larger than spatial "
                             "dimension %d, %lld with its padding",
                             op->name, (long long)reach, i,
                             (long long)(dim->in + dim->low + dim->high));
    return QN_OK;
}

static qn_status fill_pool(struct qn_graph *g, const struct qn_op *op,
                           const qn_shape *x,
                           const struct qn_pool_params *params,
                           struct qn_pool *pool)
{
    const int spatial = x->rank - 2;
    if (!params || spatial < 1 || spatial > 3)
        return qn_graph_fail(g, QN_BAD_ARGUMENT,
                             "%s: needs params and an input [n, c, ...] with "
                             "1 to 3 spatial dimensions, not %d",
                             op->name, spatial);
    *pool = (struct qn_pool){.has_pad = !params->exclude_pad};
    for (int i = 0; i < 3; i++)
        pool->dims[i] = (struct qn_pool_dim){1, 1, 1, 1, 0, 0, 1};
    for (int i = 0; i < spatial; i++) {
        struct qn_pool_dim *dim = &pool->dims[3 - spatial + i];
        *dim = (struct qn_pool_dim){
            .in = x->dims[i + 2],
            .kernel = params->kernel[i],
            .stride = params->stride[i] ? params->stride[i]
                                        : params->kernel[i],
            .dilation = params->dilation[i] ? params->dilation[i] : 1,
            .low = params->low[i],
            .high = params->high[i],
        };
        if (dim->stride > 0)
            dim->out = count_windows(dim, params->ceil_mode);
        QN_TRY(check_dim(g, op, dim, i));
    }
    if (size_of(pool, false) > INT_MAX || size_of(pool, true) > INT_MAX)
        return qn_graph_fail(g, QN_BAD_SHAPE, "%s: a channel is too large",
                             op->name);
    return QN_OK;
}

static struct qn_node *build(struct qn_graph *g, const struct qn_op *op,
                             struct qn_node *x,
                             const struct qn_pool_params *params)
{
    struct qn_pool pool;
    if (!qn_can_build(g, op, &x, 1))
        return NULL;
    if (x->dtype == QN_INT32 || x->dtype == QN_UINT8)
        x = qn_cast(g, x, g->real);
    if (fill_pool(g, op, &x->shape, params, &pool) != QN_OK)
        return NULL;
    return qn_node_create(g, op, &x, 1, NULL, &pool, sizeof pool);
}

qn_node *qn_max_pool(qn_graph *g, qn_node *x,
                     const struct qn_pool_params *params)
{
    return build(g, &qn_op_max_pool, x, params);
}

qn_node *qn_max_pool_index(qn_graph *g, qn_node *x,
                           const struct qn_pool_params *params)
{
    return build(g, &qn_op_max_pool_index, x, params);
}

qn_node *qn_avg_pool(qn_graph *g, qn_node *x,
                     const struct qn_pool_params *params)
{
    return build(g, &qn_op_avg_pool, x, params);
}
