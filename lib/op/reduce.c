// Reductions: sum, mean, largest. Knows shapes and launches, no device.
//
// A set of axes is seen as runs of kept and reduced dimensions; the kernels
// take [K0][R0][K1][R1], any run may be 1. Longer patterns become several
// nodes, the innermost run first.
#include "op/axes.h"
#include "op/rules.h"

extern const struct qn_op qn_op_sum, qn_op_mean, qn_op_reduce_max;

struct reduce {
    unsigned axes; // bit i: dimension i is reduced
    bool keep;
};

enum {
    CHUNK = 16384, // elements one item or group sums up, about
    SPAN = 4096,   // elements that make an item of several outputs worth it
    MAX_CHUNKS = 1024,
    TILE_COLUMNS = 64, // columns of an item, as in reduce.cl
    SHORT_LINE = 32,   // a GPU item takes as much alone
    GROUP = 256,
    GROUP_COLUMNS = 32,
};

// ---- shapes ----

// The innermost run of reduced dimensions.
static unsigned last_run(const qn_shape *shape, unsigned axes)
{
    unsigned run = 0;
    for (int i = shape->rank - 1; i >= 0; i--) {
        if (shape->dims[i] == 1)
            continue;
        if (axes >> i & 1)
            run |= 1u << i;
        else if (run)
            break;
    }
    return run;
}

static int64_t reduced_count(const struct qn_node *node)
{
    return qn_node_count(node->inputs[0]) / qn_node_count(node);
}

static qn_status infer_reduce(struct qn_node *node)
{
    const struct reduce *reduce = node->params;
    QN_TRY(qn_expect_real(node, 0));
    node->shape = qn_axes_shape(&node->inputs[0]->shape, reduce->axes,
                                reduce->keep);
    return QN_OK;
}

// ---- launches ----

// One launch: what it reduces and in which chunks.
struct pass {
    int64_t k0, r0, k1, r1;
    int64_t r0_chunk, r1_chunk;
    bool is_columns; // K1 innermost, R1 = 1
    int from, to;    // operands
    double scale;
};

static int64_t r0_chunks(const struct pass *pass)
{
    return qn_divide_up(pass->r0, pass->r0_chunk);
}

static int64_t r1_chunks(const struct pass *pass)
{
    return qn_divide_up(pass->r1, pass->r1_chunk);
}

// Chunks of about CHUNK elements and of equal size, from the sizes alone, so
// that no result depends on the number of cores.
static void cut(struct pass *pass)
{
    const int64_t lanes =
        pass->is_columns ? qn_smaller(pass->k1, TILE_COLUMNS) : pass->r1;
    const int64_t total = pass->r0 * lanes;
    pass->r0_chunk = pass->r0;
    pass->r1_chunk = pass->r1;
    if (total < 2 * CHUNK)
        return;
    const int64_t piece = qn_larger(CHUNK, qn_divide_up(total, MAX_CHUNKS));
    const int64_t rows = qn_larger(piece / lanes, 1);
    pass->r0_chunk = qn_divide_up(pass->r0, qn_divide_up(pass->r0, rows));
    if (!pass->is_columns && pass->r1 >= 2 * piece)
        pass->r1_chunk =
            qn_divide_up(qn_divide_up(pass->r1, pass->r1 / piece), 64) * 64;
}

static struct qn_launch *add_launch(const struct qn_node *node,
                                    const struct pass *pass,
                                    const char *kernel, struct qn_work *work)
{
    struct qn_launch *launch =
        qn_work_add(work, "reduce", kernel, node->dtype);
    const int64_t outputs =
        pass->k0 * pass->k1 * r0_chunks(pass) * r1_chunks(pass);
    const int64_t inputs = pass->k0 * pass->r0 * pass->k1 * pass->r1;
    qn_launch_define(launch, "MAXIMUM", node->op == &qn_op_reduce_max);
    if (pass->from == QN_OPERAND_IN)
        qn_launch_load(launch, pass->from);
    else
        qn_launch_buffer(launch, pass->from);
    qn_launch_buffer(launch, pass->to);
    launch->flops = (double)inputs;
    launch->bytes =
        (double)(inputs + outputs) * (double)qn_dtype_size(node->dtype);
    return launch;
}

static void add_cpu(const struct qn_node *node, const struct qn_limits *limits,
                    const struct pass *pass, struct qn_work *work)
{
    (void)limits;
    const int64_t c0 = r0_chunks(pass), c1 = r1_chunks(pass);
    struct qn_launch *launch = add_launch(
        node, pass, pass->is_columns ? "reduce_columns" : "reduce_rows", work);
    qn_launch_long(launch, pass->k0 * pass->r0 * pass->k1 * pass->r1);
    if (pass->is_columns) {
        const int64_t width = qn_smaller(pass->k1, TILE_COLUMNS);
        const int64_t span = qn_larger(1, SPAN / (pass->r0_chunk * width));
        qn_launch_long(launch, pass->k0);
        qn_launch_long(launch, span);
        qn_launch_long(launch, pass->r0);
        qn_launch_long(launch, pass->k1);
        qn_launch_long(launch, pass->r0_chunk);
        qn_launch_grid(launch, (size_t)qn_divide_up(pass->k1, TILE_COLUMNS),
                       (size_t)c0, (size_t)qn_divide_up(pass->k0, span), 1, 1);
    } else {
        const int64_t outputs = pass->k0 * pass->k1;
        const int64_t span =
            qn_larger(1, SPAN / (pass->r0_chunk * pass->r1_chunk));
        qn_launch_long(launch, outputs);
        qn_launch_long(launch, span);
        qn_launch_long(launch, pass->r0);
        qn_launch_long(launch, pass->k1);
        qn_launch_long(launch, pass->r1);
        qn_launch_long(launch, pass->r0_chunk);
        qn_launch_long(launch, pass->r1_chunk);
        qn_launch_grid(launch, (size_t)qn_divide_up(outputs, span), (size_t)c0,
                       (size_t)c1, 1, 1);
    }
    qn_launch_real(launch, pass->scale);
}

static void add_gpu(const struct qn_node *node, const struct qn_limits *limits,
                    const struct pass *pass, struct qn_work *work)
{
    const int64_t c0 = r0_chunks(pass), c1 = r1_chunks(pass);
    const int64_t group = qn_group_size(limits, GROUP);
    const int64_t outputs = pass->k0 * pass->k1;
    const int64_t tile = group * (int64_t)qn_dtype_size(node->dtype);
    if (pass->r0 * pass->r1 <= SHORT_LINE) {
        struct qn_launch *launch =
            add_launch(node, pass, "reduce_lines", work);
        qn_launch_long(launch, outputs);
        qn_launch_long(launch, pass->r0);
        qn_launch_long(launch, pass->k1);
        qn_launch_long(launch, pass->r1);
        qn_launch_real(launch, pass->scale);
        qn_launch_grid(launch, (size_t)qn_divide_up(outputs, group), 1, 1,
                       (size_t)group, 1);
    } else if (pass->is_columns) {
        const int64_t width = qn_smaller(group, GROUP_COLUMNS);
        const int64_t tiles = qn_divide_up(pass->k1, width);
        struct qn_launch *launch =
            add_launch(node, pass, "reduce_columns", work);
        qn_launch_long(launch, tiles);
        qn_launch_long(launch, pass->r0);
        qn_launch_long(launch, pass->k1);
        qn_launch_long(launch, pass->r0_chunk);
        qn_launch_real(launch, pass->scale);
        qn_launch_local(launch, tile);
        qn_launch_grid(launch, (size_t)(tiles * pass->k0), (size_t)c0, 1,
                       (size_t)width, (size_t)(group / width));
    } else {
        struct qn_launch *launch = add_launch(node, pass, "reduce_rows", work);
        qn_launch_long(launch, pass->r0);
        qn_launch_long(launch, pass->k1);
        qn_launch_long(launch, pass->r1);
        qn_launch_long(launch, pass->r0_chunk);
        qn_launch_long(launch, pass->r1_chunk);
        qn_launch_real(launch, pass->scale);
        qn_launch_local(launch, tile);
        qn_launch_grid(launch, (size_t)outputs, (size_t)c0, (size_t)c1,
                       (size_t)group, 1);
    }
}

typedef void add_pass(const struct qn_node *node,
                      const struct qn_limits *limits, const struct pass *pass,
                      struct qn_work *work);

// One launch, or two with the partial results in between.
static void describe(const struct qn_node *node,
                     const struct qn_limits *limits, add_pass *add,
                     struct qn_work *work)
{
    const struct reduce *reduce = node->params;
    int64_t n[4];
    qn_axes_runs(&node->inputs[0]->shape, reduce->axes, n);
    struct pass pass = {n[0], n[1], n[2], n[3]};
    if (pass.k1 == 1) // K0 and R0 alone are rows
        pass = (struct pass){1, 1, n[0], n[1]};
    pass.is_columns = pass.r1 == 1;
    pass.from = QN_OPERAND_IN;
    pass.to = QN_OPERAND_OUT;
    pass.scale =
        node->op == &qn_op_mean ? 1.0 / (double)reduced_count(node) : 1;
    cut(&pass);
    const int64_t chunks = r0_chunks(&pass) * r1_chunks(&pass);
    if (chunks == 1) {
        add(node, limits, &pass, work);
        return;
    }
    struct pass rest = pass;
    if (pass.is_columns)
        rest.r0 = chunks;
    else
        rest = (struct pass){1, 1, pass.k0 * pass.k1, chunks};
    rest.r0_chunk = rest.r0;
    rest.r1_chunk = rest.r1;
    rest.from = qn_work_scratch(work, pass.k0 * pass.k1 * chunks *
                                          (int64_t)qn_dtype_size(node->dtype));
    rest.to = QN_OPERAND_OUT;
    rest.scale = pass.scale;
    pass.to = rest.from;
    pass.scale = 1;
    add(node, limits, &pass, work);
    add(node, limits, &rest, work);
}

static void describe_cpu(const struct qn_node *node,
                         const struct qn_limits *limits, struct qn_work *work)
{
    describe(node, limits, add_cpu, work);
}

static void describe_gpu(const struct qn_node *node,
                         const struct qn_limits *limits, struct qn_work *work)
{
    describe(node, limits, add_gpu, work);
}

static const struct qn_candidate candidates[] = {
    {"cpu", qn_fits_cpu, describe_cpu},
    {"gpu", qn_fits_gpu, describe_gpu},
    {0},
};

// ---- gradients ----

static struct qn_node *create(struct qn_graph *g, const struct qn_op *op,
                              struct qn_node *x, struct reduce reduce)
{
    return qn_node_create(g, op, &x, 1, NULL, &reduce, sizeof reduce);
}

// `y`, shaped like the node, with the reduced dimensions as 1.
static struct qn_node *keep(struct qn_graph *g, const struct qn_node *node,
                            struct qn_node *y)
{
    const struct reduce *reduce = node->params;
    return qn_reshape(g, y, qn_axes_shape(&node->inputs[0]->shape,
                                          reduce->axes, true));
}

static struct qn_node *grad_sum(struct qn_graph *g, struct qn_node *node,
                                struct qn_node *dy, int i)
{
    return qn_broadcast_to(g, keep(g, node, dy), node->inputs[i]->shape);
}

static struct qn_node *grad_mean(struct qn_graph *g, struct qn_node *node,
                                 struct qn_node *dy, int i)
{
    dy = qn_scale(g, dy, 1.0 / (double)reduced_count(node));
    return grad_sum(g, node, dy, i);
}

static struct qn_node *grad_max(struct qn_graph *g, struct qn_node *node,
                                struct qn_node *dy, int i)
{
    struct qn_node *x = node->inputs[i];
    struct qn_node *is_top = qn_equal(g, x, keep(g, node, node));
    struct reduce ties = *(const struct reduce *)node->params;
    ties.keep = true;
    struct qn_node *count = create(g, &qn_op_sum, is_top, ties);
    return qn_mul(g, is_top, qn_div(g, keep(g, node, dy), count));
}

const struct qn_op qn_op_sum = {
    .name = "sum", .formula = "sum x over axes",
    .min_inputs = 1, .max_inputs = 1, .infer = infer_reduce,
    .candidates = candidates, .grad = grad_sum,
};
const struct qn_op qn_op_mean = {
    .name = "mean", .formula = "sum x / n over axes",
    .min_inputs = 1, .max_inputs = 1, .infer = infer_reduce,
    .candidates = candidates, .grad = grad_mean,
};
const struct qn_op qn_op_reduce_max = {
    .name = "reduce_max", .formula = "largest x over axes",
    .min_inputs = 1, .max_inputs = 1, .infer = infer_reduce,
    .candidates = candidates, .grad = grad_max,
};

// ---- builders ----

static struct qn_node *build(struct qn_graph *g, const struct qn_op *op,
                             struct qn_node *x,
                             const struct qn_reduce_params *params)
{
    unsigned axes;
    int64_t runs[4];
    if (!qn_can_build(g, op, &x, 1) ||
        qn_axes_read(g, op, &x->shape, params, &axes) != QN_OK)
        return NULL;
    if (x->dtype == QN_INT32 || x->dtype == QN_UINT8)
        x = qn_cast(g, x, g->real);
    while (x && !qn_axes_runs(&x->shape, axes, runs))
        x = create(g, op, x, (struct reduce){last_run(&x->shape, axes), true});
    if (!x)
        return NULL;
    const bool is_kept = params && params->keep;
    const qn_shape shape = qn_axes_shape(&x->shape, axes, is_kept);
    if (qn_shape_count(&shape) == qn_node_count(x)) // nothing to reduce
        return qn_reshape(g, x, shape);
    return create(g, op, x, (struct reduce){axes, is_kept});
}

qn_node *qn_sum(qn_graph *g, qn_node *x, const struct qn_reduce_params *params)
{
    return build(g, &qn_op_sum, x, params);
}

qn_node *qn_mean(qn_graph *g, qn_node *x,
                 const struct qn_reduce_params *params)
{
    return build(g, &qn_op_mean, x, params);
}

qn_node *qn_reduce_max(qn_graph *g, qn_node *x,
                       const struct qn_reduce_params *params)
{
    return build(g, &qn_op_reduce_max, x, params);
}

qn_node *qn_sum_to(qn_graph *g, qn_node *x, qn_shape shape)
{
    qn_shape wide;
    int axes[QN_MAX_RANK], count = 0;
    if (!qn_can_build(g, &qn_op_sum, &x, 1) ||
        qn_check_rank(g, &qn_op_sum, shape.rank) != QN_OK)
        return NULL;
    const qn_shape *from = &x->shape;
    if (!qn_shape_broadcast(from, &shape, &wide) ||
        !qn_shape_equal(from, &wide)) {
        char have[128], want[128];
        qn_graph_fail(g, QN_BAD_SHAPE,
                      "sum_to: shape %s does not broadcast to the input's %s",
                      qn_shape_text(&shape, want, sizeof want),
                      qn_shape_text(from, have, sizeof have));
        return NULL;
    }
    const int skip = from->rank - shape.rank;
    for (int i = 0; i < from->rank; i++)
        if (i < skip || (shape.dims[i - skip] == 1 && from->dims[i] != 1))
            axes[count++] = i;
    if (count)
        x = qn_sum(g, x, qn_reduce_params(.axes = axes, .axis_count = count,
                                          .keep = true));
    return qn_reshape(g, x, shape);
}
