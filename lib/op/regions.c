// Pooling over regions that tables name: fractional maxima, adaptive means.
// Knows shapes and launches, no device.
#include <stdio.h>
#include <stdlib.h>

#include "op/op.h"
#include "op/rules.h"

extern const struct qn_op qn_op_fractional_regions, qn_op_region_max,
    qn_op_region_max_grad, qn_op_region_mean, qn_op_region_mean_grad;

enum {
    SPAN = 8192, // elements of a CPU item, about
    LANES = 16,
    GROUP = 256,
    LONGEST = 1 << 15, // of a side: products with 2^24 fit into 63 bits
};

// Of x, since the gradient of a mean does not see it.
struct region {
    int64_t height, width;
};

// Where a row's inputs stand.
struct places {
    int x, rows, columns, dy; // -1: not there
};

static struct places find_places(const struct qn_node *node)
{
    if (node->op == &qn_op_region_mean_grad)
        return (struct places){-1, 0, 1, 2};
    return (struct places){0, 1, 2, node->input_count == 4 ? 3 : -1};
}

// ---- fractional_regions ----

struct fractional {
    int64_t in, out;
    bool is_random, is_overlapping;
};

static qn_status infer_fractional(struct qn_node *node)
{
    const struct fractional *f = node->params;
    const qn_shape *u = &node->inputs[0]->shape;
    QN_TRY(qn_expect_real(node, 0));
    QN_TRY(qn_expect_rank(node, 0, 2, 2));
    if (f->out < 1 || f->out > f->in || f->in >= LONGEST)
        return qn_node_fail(node, QN_BAD_ARGUMENT,
                            "%lld of %lld pixels; the result needs at least "
                            "1 and no more than there are, fewer than %d",
                            (long long)f->out, (long long)f->in, LONGEST);
    if (u->dims[1] != (f->is_random ? f->out : 1))
        return qn_node_fail(node, QN_BAD_SHAPE, "needs %lld numbers a table",
                            (long long)(f->is_random ? f->out : 1));
    node->dtype = QN_INT32;
    node->shape = qn_shape_of(u->dims[0], f->out, 2);
    return QN_OK;
}

static void describe_fractional(const struct qn_node *node,
                                const struct qn_limits *limits,
                                struct qn_work *work)
{
    const struct fractional *f = node->params;
    const int64_t tables = node->shape.dims[0];
    const bool is_cpu = limits->variant == QN_VARIANT_CPU;
    const int64_t span =
        is_cpu && f->out < SPAN / 16 ? SPAN / 16 / f->out : 1;
    const int64_t group = is_cpu ? 1 : qn_group_size(limits, 64);
    struct qn_launch *launch = qn_work_add(
        work, "regions", "fractional_regions", node->graph->real);
    qn_launch_buffer(launch, QN_OPERAND_IN);
    qn_launch_buffer(launch, QN_OPERAND_OUT);
    qn_launch_long(launch, tables);
    qn_launch_long(launch, span);
    qn_launch_long(launch, f->in);
    qn_launch_long(launch, f->out);
    qn_launch_int(launch, f->is_random);
    qn_launch_int(launch, f->is_overlapping);
    qn_launch_grid(launch, (size_t)qn_divide_up(tables, span * group), 1, 1,
                   (size_t)group, 1);
    launch->bytes = (double)qn_node_size(node);
}

// ---- pooling ----

static qn_status infer_region(struct qn_node *node)
{
    const struct region *region = node->params;
    const struct places at = find_places(node);
    const qn_node *like = node->inputs[at.x >= 0 ? at.x : at.dy];
    const int tables[] = {at.rows, at.columns};
    qn_shape out = like->shape;
    QN_TRY(qn_expect_real(node, at.x >= 0 ? at.x : at.dy));
    QN_TRY(qn_expect_rank(node, at.x >= 0 ? at.x : at.dy, 4, 4));
    for (int i = 0; i < 2; i++) {
        const qn_shape *table = &node->inputs[tables[i]]->shape;
        QN_TRY(qn_expect_dtype(node, tables[i], QN_INT32));
        QN_TRY(qn_expect_rank(node, tables[i], 3, 3));
        if ((table->dims[0] != 1 && table->dims[0] != out.dims[0]) ||
            table->dims[2] != 2)
            return qn_node_fail(node, QN_BAD_SHAPE,
                                "a table must be [1 or %lld, regions, 2]",
                                (long long)out.dims[0]);
        out.dims[i + 2] = table->dims[1];
    }
    if (at.dy >= 0 && !qn_shape_equal(&node->inputs[at.dy]->shape, &out))
        return qn_node_fail(node, QN_BAD_SHAPE,
                            "the gradient does not fit the regions");
    node->shape = out;
    if (at.dy >= 0) {
        node->shape.dims[2] = region->height;
        node->shape.dims[3] = region->width;
    }
    return QN_OK;
}

static void add_grid(struct qn_launch *launch, const struct qn_node *node,
                     const struct qn_limits *limits, bool is_grad)
{
    const struct region *region = node->params;
    const int64_t count = qn_node_count(node);
    if (limits->variant == QN_VARIANT_GPU) {
        const int64_t group = qn_group_size(limits, GROUP);
        qn_launch_long(launch, count);
        qn_launch_grid(launch, (size_t)qn_divide_up(count, group), 1, 1,
                       (size_t)group, 1);
        return;
    }
    const int64_t each = region->width * (is_grad ? region->height : 4);
    const int64_t units =
        count / (is_grad ? region->height * region->width
                         : node->shape.dims[3]);
    const int64_t span = each < SPAN ? SPAN / each : 1;
    qn_launch_long(launch, units);
    qn_launch_long(launch, span);
    if (!is_grad)
        qn_launch_local(launch, (region->width + LANES) *
                                    (int64_t)qn_dtype_size(launch->real));
    qn_launch_grid(launch, (size_t)qn_divide_up(units, span), 1, 1, 1, 1);
}

static void describe_region(const struct qn_node *node,
                            const struct qn_limits *limits,
                            struct qn_work *work)
{
    const struct region *region = node->params;
    const struct places at = find_places(node);
    const bool is_grad = at.dy >= 0;
    const bool is_maximum =
        node->op == &qn_op_region_max || node->op == &qn_op_region_max_grad;
    const qn_shape *rows = &node->inputs[at.rows]->shape;
    const qn_shape *columns = &node->inputs[at.columns]->shape;
    struct qn_launch *launch = qn_work_add(
        work, "regions", is_grad ? "region_grad" : "region_pool",
        node->graph->real);
    qn_launch_define(launch, "MAXIMUM", is_maximum);
    if (at.x >= 0)
        qn_launch_buffer(launch, QN_OPERAND_IN + at.x);
    if (is_grad)
        qn_launch_buffer(launch, QN_OPERAND_IN + at.dy);
    qn_launch_buffer(launch, QN_OPERAND_OUT);
    qn_launch_buffer(launch, QN_OPERAND_IN + at.rows);
    qn_launch_buffer(launch, QN_OPERAND_IN + at.columns);
    qn_launch_long(launch, node->shape.dims[1]);
    qn_launch_int(launch, region->height);
    qn_launch_int(launch, rows->dims[1]);
    qn_launch_int(launch, rows->dims[0]);
    qn_launch_int(launch, region->width);
    qn_launch_int(launch, columns->dims[1]);
    qn_launch_int(launch, columns->dims[0]);
    add_grid(launch, node, limits, is_grad);
    launch->bytes = (double)qn_node_size(node);
    for (int i = 0; i < node->input_count; i++)
        launch->bytes += (double)qn_node_size(node->inputs[i]);
}

static struct qn_node *grad_max(struct qn_graph *g, struct qn_node *node,
                                struct qn_node *dy, int i)
{
    struct qn_node *inputs[] = {node->inputs[0], node->inputs[1],
                                node->inputs[2],
                                qn_broadcast_to(g, dy, node->shape)};
    return i ? NULL
             : qn_node_create(g, &qn_op_region_max_grad, inputs, 4, NULL,
                              node->params, sizeof(struct region));
}

static struct qn_node *grad_mean(struct qn_graph *g, struct qn_node *node,
                                 struct qn_node *dy, int i)
{
    struct qn_node *inputs[] = {node->inputs[1], node->inputs[2],
                                qn_broadcast_to(g, dy, node->shape)};
    return i ? NULL
             : qn_node_create(g, &qn_op_region_mean_grad, inputs, 3, NULL,
                              node->params, sizeof(struct region));
}

static struct qn_node *grad_mean_grad(struct qn_graph *g, struct qn_node *node,
                                      struct qn_node *dy, int i)
{
    struct qn_node *inputs[] = {qn_broadcast_to(g, dy, node->shape),
                                node->inputs[0], node->inputs[1]};
    return i < 2 ? NULL
                 : qn_node_create(g, &qn_op_region_mean, inputs, 3, NULL,
                                  node->params, sizeof(struct region));
}

// ---- rows ----

static const struct qn_candidate fractional_candidates[] = {
    {"cpu", qn_fits_cpu, describe_fractional},
    {"gpu", qn_fits_gpu, describe_fractional},
    {0},
};
static const struct qn_candidate candidates[] = {
    {"cpu", qn_fits_cpu, describe_region},
    {"gpu", qn_fits_gpu, describe_region},
    {0},
};

const struct qn_op qn_op_fractional_regions = {
    .name = "fractional_regions",
    .formula = "beginnings and ends of regions of two lengths, by chance",
    .source = "Graham 2014",
    .min_inputs = 1, .max_inputs = 1, .flags = QN_OP_NO_GRAD,
    .infer = infer_fractional, .candidates = fractional_candidates,
};
const struct qn_op qn_op_region_max = {
    .name = "region_max", .formula = "largest x in each region",
    .source = "Graham 2014",
    .min_inputs = 3, .max_inputs = 3, .infer = infer_region,
    .candidates = candidates, .grad = grad_max,
};
const struct qn_op qn_op_region_max_grad = {
    .name = "region_max_grad",
    .formula = "dy to the first largest x of its region",
    .source = "gradient of region_max",
    .min_inputs = 4, .max_inputs = 4, .infer = infer_region,
    .candidates = candidates,
};
const struct qn_op qn_op_region_mean = {
    .name = "region_mean", .formula = "mean x of each region",
    .min_inputs = 3, .max_inputs = 3, .infer = infer_region,
    .candidates = candidates, .grad = grad_mean,
};
const struct qn_op qn_op_region_mean_grad = {
    .name = "region_mean_grad",
    .formula = "dy / n to the n elements of its region",
    .source = "gradient of region_mean",
    .min_inputs = 3, .max_inputs = 3, .infer = infer_region,
    .candidates = candidates, .grad = grad_mean_grad,
};

// ---- builders ----

static struct qn_node *pool(struct qn_graph *g, const struct qn_op *op,
                            struct qn_node *x, struct qn_node *rows,
                            struct qn_node *columns)
{
    struct qn_node *inputs[] = {x, rows, columns};
    if (!qn_can_build(g, op, inputs, 3))
        return NULL;
    if (x->shape.rank != 4) {
        qn_graph_fail(g, QN_BAD_SHAPE,
                      "%s: needs [n, c, h, w], not %d dimensions", op->name,
                      x->shape.rank);
        return NULL;
    }
    const struct region region = {x->shape.dims[2], x->shape.dims[3]};
    return qn_node_create(g, op, inputs, 3, NULL, &region, sizeof region);
}

struct qn_node *qn_region_max(struct qn_graph *g, struct qn_node *x,
                              struct qn_node *rows, struct qn_node *columns)
{
    return pool(g, &qn_op_region_max, x, rows, columns);
}

struct qn_node *qn_region_mean(struct qn_graph *g, struct qn_node *x,
                               struct qn_node *rows, struct qn_node *columns)
{
    return pool(g, &qn_op_region_mean, x, rows, columns);
}

struct qn_node *qn_fractional_regions(struct qn_graph *g, struct qn_node *u,
                                      int64_t in, int64_t out, bool is_random,
                                      bool is_overlapping)
{
    const struct fractional params = {in, out, is_random, is_overlapping};
    return qn_node_create(g, &qn_op_fractional_regions, &u, 1, NULL, &params,
                          sizeof params);
}

// The regions along dimension `d` of x: drawn for each sample, or the same for
// all, of u = 1/2.
static qn_node *draw_regions(qn_graph *g, const qn_node *x, int d,
                             const struct qn_fractional_params *params)
{
    const int64_t in = x->shape.dims[d], out = params->size[d - 2];
    const qn_shape one = qn_shape_of(1, 1);
    char use[128];
    if (!params->draw.seed)
        return qn_fractional_regions(
            g, qn_reshape(g, qn_constant(g, 0.5), one), in, out, false,
            params->overlapping);
    const qn_shape shape =
        qn_shape_of(x->shape.dims[0], params->pseudo ? 1 : out);
    snprintf(use, sizeof use, "%s.%s",
             params->draw.use ? params->draw.use : "fractional",
             d == 2 ? "rows" : "columns");
    qn_node *u = qn_random_uniform(
        g, shape, 0, 1,
        qn_random_params(.seed = params->draw.seed, .step = params->draw.step,
                         .first = params->draw.first, .use = use));
    return qn_fractional_regions(g, u, in, out, !params->pseudo,
                                 params->overlapping);
}

static bool is_image(qn_graph *g, const char *what, qn_node *x,
                     const int64_t *size)
{
    char text[128];
    if (!qn_can_build(g, &qn_op_region_max, &x, 1))
        return false;
    if (x->shape.rank == 4 && size[0] > 0 && size[1] > 0 &&
        size[0] < LONGEST && size[1] < LONGEST)
        return true;
    qn_graph_fail(g, QN_BAD_SHAPE,
                  "%s: makes %lld x %lld regions of images [n, c, h, w]; the "
                  "input is %s",
                  what, (long long)size[0], (long long)size[1],
                  qn_shape_text(&x->shape, text, sizeof text));
    return false;
}

qn_node *qn_fractional_max_pool(qn_graph *g, qn_node *x,
                                const struct qn_fractional_params *params)
{
    if (!is_image(g, "fractional_max_pool", x, params->size))
        return NULL;
    return qn_region_max(g, x, draw_regions(g, x, 2, params),
                         draw_regions(g, x, 3, params));
}

// Region i of `out` over `in`, as PyTorch cuts them.
static qn_node *cut_evenly(qn_graph *g, int64_t in, int64_t out)
{
    int32_t *table = malloc((size_t)out * 2 * sizeof *table);
    if (!table) {
        qn_graph_fail(g, QN_NO_MEMORY, "adaptive_avg_pool: out of memory");
        return NULL;
    }
    for (int64_t i = 0; i < out; i++) {
        table[2 * i] = (int32_t)(i * in / out);
        table[2 * i + 1] = (int32_t)qn_divide_up((i + 1) * in, out);
    }
    qn_node *node =
        qn_constant_data(g, QN_INT32, qn_shape_of(1, out, 2), table);
    free(table);
    return node;
}

qn_node *qn_adaptive_avg_pool(qn_graph *g, qn_node *x, int64_t height,
                              int64_t width)
{
    const int64_t size[] = {height, width};
    if (!is_image(g, "adaptive_avg_pool", x, size))
        return NULL;
    const int64_t h = x->shape.dims[2], w = x->shape.dims[3];
    if (h % height == 0 && w % width == 0)
        return qn_avg_pool(
            g, x, qn_pool_params(.kernel = {h / height, w / width}));
    return qn_region_mean(g, x, cut_evenly(g, h, height),
                          cut_evenly(g, w, width));
}
