// Normalisation by statistics of the tensor itself: moments, the pass that
// applies them, and the sums of its backward pass. Knows shapes and launches,
// no device. Builders of whole normalisations are in norm_build.c.
#include "op/norm.h"

#include "op/axes.h"
#include "op/rules.h"

extern const struct qn_op qn_op_moments, qn_op_norm_sums, qn_op_standardize,
    qn_op_batch_norm;

enum {
    PIECE = 2048,      // elements of a chunk, about: in cache twice
    GROUP_PIECE = 8192,
    LINES = 96,        // rows of a chunk of columns, about
    GROUP_LINES = 512,
    SPAN = 32768,      // elements of a CPU item, about
    TILE_COLUMNS = 64, // of an item, as in norm.cl
    LANES = 16,
    GROUP = 256,
    GROUP_COLUMNS = 32,
};

// ---- shapes ----

static unsigned axes_of(const struct qn_node *node)
{
    return ((const struct qn_norm *)node->params)->axes;
}

// [2, ...] with 1 for each of the axes.
static qn_shape pair_shape(const qn_shape *x, unsigned axes)
{
    const qn_shape one = qn_axes_shape(x, axes, true);
    qn_shape pair = {.rank = one.rank + 1, .dims = {2}};
    for (int i = 0; i < one.rank; i++)
        pair.dims[i + 1] = one.dims[i];
    return pair;
}

static qn_status infer_pair(struct qn_node *node)
{
    const qn_shape *x = &node->inputs[0]->shape;
    int64_t runs[4];
    QN_TRY(qn_expect_real(node, 0));
    QN_TRY(qn_expect_rank(node, 0, 0, QN_MAX_RANK - 1));
    if (!qn_axes_runs(x, axes_of(node), runs))
        return qn_node_fail(node, QN_UNSUPPORTED,
                            "the axes lie in more than two groups; transpose "
                            "the input so that they lie together");
    node->shape = pair_shape(x, axes_of(node));
    return QN_OK;
}

// dy like x, then mean and rstd.
static qn_status infer_sums(struct qn_node *node)
{
    const qn_shape *dy = &node->inputs[0]->shape;
    const qn_shape one = qn_axes_shape(dy, axes_of(node), true);
    QN_TRY(infer_pair(node));
    for (int i = 1; i < 4; i++) {
        QN_TRY(qn_expect_real(node, i));
        if (!qn_shape_equal(&node->inputs[i]->shape, i == 1 ? dy : &one))
            return qn_node_fail(node, QN_BAD_SHAPE,
                                "input %d does not fit the gradient", i);
    }
    return QN_OK;
}

// ---- launches ----

// [K0][R0][K1][R1] in chunks.
struct pass {
    int64_t k0, r0, k1, r1;
    int64_t r0_chunk, r1_chunk;
    int64_t c0, c1; // how many chunks
    bool is_columns;
};

// Chunks of equal size, from the sizes alone, so that no result depends on the
// number of cores.
static void cut(struct pass *pass, bool is_cpu)
{
    const int64_t piece = is_cpu ? PIECE : GROUP_PIECE;
    int64_t rows = is_cpu ? LINES : GROUP_LINES;
    pass->r1_chunk = pass->r1;
    if (!pass->is_columns) {
        rows = qn_larger(1, piece / pass->r1);
        if (pass->r1 >= 2 * piece)
            pass->r1_chunk =
                qn_divide_up(qn_divide_up(pass->r1, pass->r1 / piece), 64) *
                64;
    }
    pass->r0_chunk = qn_divide_up(pass->r0, qn_divide_up(pass->r0, rows));
    pass->c0 = qn_divide_up(pass->r0, pass->r0_chunk);
    pass->c1 = qn_divide_up(pass->r1, pass->r1_chunk);
}

static struct pass find_pass(const struct qn_node *node, bool is_cpu)
{
    int64_t n[4];
    qn_axes_runs(&node->inputs[0]->shape, axes_of(node), n);
    struct pass pass = {n[0], n[1], n[2], n[3], 0, 0, 1, 1, false};
    if (pass.k1 == 1 && pass.r1 == 1) // K0 and R0 alone are rows
        pass = (struct pass){1, 1, n[0], n[1], 0, 0, 1, 1, false};
    pass.is_columns = pass.r1 == 1;
    cut(&pass, is_cpu);
    return pass;
}

static void add_chunks(struct qn_launch *launch, const struct pass *pass,
                       int64_t planes)
{
    qn_launch_long(launch, pass->r0);
    qn_launch_long(launch, pass->k1);
    qn_launch_long(launch, pass->r1);
    qn_launch_long(launch, pass->r0_chunk);
    qn_launch_long(launch, pass->r1_chunk);
    qn_launch_long(launch, pass->c0);
    qn_launch_long(launch, pass->c1);
    qn_launch_long(launch, planes);
}

static void add_figures(struct qn_launch *launch, double elements,
                        double flops)
{
    launch->bytes = elements * (double)qn_dtype_size(launch->real);
    launch->flops = flops;
}

static bool is_moments(const struct qn_node *node)
{
    return node->op == &qn_op_moments;
}

// The factor that makes the variance of M2, where this launch is the last.
static void add_scale(struct qn_launch *launch, const struct qn_node *node,
                      const struct pass *pass, bool is_last)
{
    if (is_moments(node))
        qn_launch_real(launch,
                       is_last ? 1.0 / (double)(pass->r0 * pass->r1) : 1);
}

// Arguments behind CHUNKS, and the grid.
static void add_cpu_grid(struct qn_launch *launch, const struct qn_node *node,
                         const struct pass *pass, int64_t units)
{
    size_t groups = (size_t)(pass->k0 * pass->c0 *
                             qn_divide_up(pass->k1, TILE_COLUMNS));
    if (!pass->is_columns) {
        const int64_t span =
            qn_larger(1, SPAN / (pass->r0_chunk * pass->r1_chunk));
        qn_launch_long(launch, units);
        qn_launch_long(launch, span);
        qn_launch_long(launch, qn_node_count(node->inputs[0]));
        groups = (size_t)qn_divide_up(units, span);
    }
    qn_launch_grid(launch, groups, 1, 1, 1, 1);
    add_scale(launch, node, pass, pass->c0 * pass->c1 == 1);
}

static void add_gpu_grid(struct qn_launch *launch, const struct qn_node *node,
                         const struct qn_limits *limits,
                         const struct pass *pass, int64_t units)
{
    const int64_t group = qn_group_size(
        limits, pass->is_columns
                    ? GROUP
                    : qn_smaller(GROUP, qn_larger(32, pass->r0_chunk *
                                                    pass->r1_chunk / 4)));
    const int64_t width = qn_smaller(group, GROUP_COLUMNS);
    const int64_t tiles = qn_divide_up(pass->k1, width);
    if (pass->is_columns)
        qn_launch_long(launch, tiles);
    add_scale(launch, node, pass, pass->c0 * pass->c1 == 1);
    qn_launch_local(launch, group * (int64_t)qn_dtype_size(launch->real));
    if (pass->is_columns)
        qn_launch_grid(launch, (size_t)(tiles * pass->k0 * pass->c0), 1, 1,
                       (size_t)width, (size_t)(group / width));
    else
        qn_launch_grid(launch, (size_t)units, 1, 1, (size_t)group, 1);
}

static void add_merge(const struct qn_node *node,
                      const struct qn_limits *limits, const struct pass *pass,
                      int part, int64_t units, struct qn_work *work)
{
    const int64_t outputs = pass->k0 * pass->k1;
    struct qn_launch *launch =
        qn_work_add(work, "norm",
                    is_moments(node) ? "moments_merge" : "norm_sums_merge",
                    node->dtype);
    qn_launch_buffer(launch, part);
    qn_launch_buffer(launch, QN_OPERAND_OUT);
    add_chunks(launch, pass, outputs);
    add_scale(launch, node, pass, true);
    const int64_t group = qn_group_size(limits, 64);
    if (limits->variant == QN_VARIANT_CPU)
        qn_launch_grid(launch,
                       (size_t)(pass->k0 * qn_divide_up(pass->k1, LANES)), 1,
                       1, 1, 1);
    else
        qn_launch_grid(launch, (size_t)qn_divide_up(outputs, group), 1, 1,
                       (size_t)group, 1);
    add_figures(launch, 2 * (double)(units + outputs), 4 * (double)units);
}

// One launch, or two with the chunks' results in between.
static void describe(const struct qn_node *node,
                     const struct qn_limits *limits, struct qn_work *work)
{
    static const char *const kernels[2][2] = {
        {"norm_sums_rows", "norm_sums_columns"},
        {"moments_rows", "moments_columns"}};
    const bool is_cpu = limits->variant == QN_VARIANT_CPU;
    const struct pass pass = find_pass(node, is_cpu);
    const int64_t units = pass.k0 * pass.c0 * pass.k1 * pass.c1;
    const bool is_whole = pass.c0 * pass.c1 == 1;
    const int to =
        is_whole ? QN_OPERAND_OUT
                 : qn_work_scratch(
                       work, 2 * units * (int64_t)qn_dtype_size(node->dtype));
    struct qn_launch *launch = qn_work_add(
        work, "norm", kernels[is_moments(node)][pass.is_columns],
        node->dtype);
    for (int i = 0; i < node->input_count; i++)
        qn_launch_buffer(launch, QN_OPERAND_IN + i);
    qn_launch_buffer(launch, to);
    add_chunks(launch, &pass, units);
    if (is_cpu)
        add_cpu_grid(launch, node, &pass, units);
    else
        add_gpu_grid(launch, node, limits, &pass, units);
    const double count = (double)qn_node_count(node->inputs[0]);
    add_figures(launch, count * (is_moments(node) ? 1 : 2), 4 * count);
    if (!is_whole)
        add_merge(node, limits, &pass, to, units, work);
}

static const struct qn_candidate candidates[] = {
    {"cpu", qn_fits_cpu, describe},
    {"gpu", qn_fits_gpu, describe},
    {0},
};

// ---- gradients ----

// How many elements each statistic is made of.
static double reduced_count(const struct qn_node *node, unsigned axes)
{
    double count = 1;
    for (int i = 0; i < node->shape.rank; i++)
        if (axes >> i & 1)
            count *= (double)node->shape.dims[i];
    return count;
}

struct qn_node *qn_pair_member(struct qn_graph *g, struct qn_node *pair, int i)
{
    if (!pair)
        return NULL;
    qn_shape shape = {.rank = pair->shape.rank - 1};
    for (int d = 0; d < shape.rank; d++)
        shape.dims[d] = pair->shape.dims[d + 1];
    return qn_reshape(g, qn_slice(g, pair, 0, i, i + 1, 1), shape);
}

// dmean / n + 2 dvariance (x - mean) / n
static struct qn_node *grad_moments(struct qn_graph *g, struct qn_node *node,
                                    struct qn_node *dy, int i)
{
    struct qn_node *x = node->inputs[i];
    const double each = 1 / reduced_count(x, axes_of(node));
    struct qn_node *d = qn_sub(g, x, qn_pair_member(g, node, 0));
    d = qn_mul(g, qn_scale(g, d, 2), qn_pair_member(g, dy, 1));
    return qn_scale(g, qn_add(g, d, qn_pair_member(g, dy, 0)), each);
}

// Of the sums S of dy and T of dy (x - mean) rstd.
static struct qn_node *grad_sums(struct qn_graph *g, struct qn_node *node,
                                 struct qn_node *dsums, int i)
{
    struct qn_node *dy = node->inputs[0], *x = node->inputs[1];
    struct qn_node *mean = node->inputs[2], *rstd = node->inputs[3];
    struct qn_node *dt = qn_pair_member(g, dsums, 1);
    struct qn_node *centred = qn_sub(g, x, mean);
    if (i == 0)
        return qn_add(g, qn_pair_member(g, dsums, 0),
                      qn_mul(g, qn_mul(g, centred, rstd), dt));
    if (i == 3)
        return qn_mul(g, qn_mul(g, dy, centred), dt);
    struct qn_node *dx = qn_mul(g, qn_mul(g, dy, rstd), dt);
    return i == 1 ? dx : qn_neg(g, dx);
}

// The sums for the gradient dy of a normalisation; made once for all inputs.
static struct qn_node *find_sums(struct qn_graph *g, struct qn_node *node,
                                 struct qn_node *dy)
{
    struct qn_node *inputs[] = {qn_broadcast_to(g, dy, node->shape),
                                node->inputs[0], node->inputs[1],
                                node->inputs[2]};
    for (struct qn_node *other = node->next; other; other = other->next)
        if (other->op == &qn_op_norm_sums && other->inputs[0] == inputs[0] &&
            other->inputs[1] == inputs[1] && other->inputs[2] == inputs[2] &&
            other->inputs[3] == inputs[3])
            return other;
    return qn_norm_sums(g, inputs, axes_of(node));
}

// With S and T as above, n elements each and x' = (x - mean) rstd:
//   dx = rstd gamma (dy - (S + x' T) / n), dgamma = T, dbeta = S.
// mean and rstd are those of x: what flows through them is in dx.
static struct qn_node *grad_norm(struct qn_graph *g, struct qn_node *node,
                                 struct qn_node *dy, int i)
{
    if (i == 1 || i == 2)
        return NULL;
    struct qn_node *x = node->inputs[0], *rstd = node->inputs[2];
    struct qn_node *sums = find_sums(g, node, dy);
    if (i > 2)
        return qn_pair_member(g, sums, i == 3 ? 1 : 0);
    struct qn_node *t =
        qn_mul(g, qn_sub(g, x, node->inputs[1]), rstd);
    t = qn_mul(g, t, qn_pair_member(g, sums, 1));
    t = qn_add(g, t, qn_pair_member(g, sums, 0));
    t = qn_scale(g, t, 1 / reduced_count(x, axes_of(node)));
    struct qn_node *dx = qn_mul(g, qn_sub(g, dy, t), rstd);
    return node->input_count > 3 ? qn_mul(g, dx, node->inputs[3]) : dx;
}

// ---- rows ----

const struct qn_op qn_op_moments = {
    .name = "moments",
    .source = "two passes: Chan, Golub and LeVeque 1983",
    .formula = "mean x and mean (x - mean x)^2 over axes",
    .min_inputs = 1, .max_inputs = 1, .infer = infer_pair,
    .candidates = candidates, .grad = grad_moments,
};
const struct qn_op qn_op_norm_sums = {
    .name = "norm_sums",
    .source = "gradient of standardize",
    .formula = "sum dy and sum dy (x - mean) rstd over axes",
    .min_inputs = 4, .max_inputs = 4, .infer = infer_sums,
    .candidates = candidates, .grad = grad_sums,
};
const struct qn_op qn_op_standardize = {
    .name = "standardize",
    .source = "Ba, Kiros and Hinton 2016; Wu and He 2018",
    .formula = "(x - mean) rstd, mean and rstd = 1 / deviation those of x",
    .min_inputs = 3, .max_inputs = 3, .infer = qn_infer_broadcast,
    .expr = "(x - y) * z", .grad = grad_norm,
};
const struct qn_op qn_op_batch_norm = {
    .name = "batch_norm",
    .source = "Ioffe and Szegedy 2015",
    .formula = "(x - mean) rstd gamma + beta, mean and rstd those of x",
    .min_inputs = 5, .max_inputs = 5, .infer = qn_infer_broadcast,
    .expr = "fma((x - y) * z, u, v)", .grad = grad_norm,
};

struct qn_node *qn_norm_sums(struct qn_graph *g, struct qn_node *const *inputs,
                             unsigned axes)
{
    const struct qn_norm norm = {axes};
    return qn_node_create(g, &qn_op_norm_sums, inputs, 4, NULL, &norm,
                          sizeof norm);
}

qn_node *qn_moments(qn_graph *g, qn_node *x,
                    const struct qn_reduce_params *params)
{
    struct qn_norm norm;
    if (!qn_can_build(g, &qn_op_moments, &x, 1))
        return NULL;
    if (x->dtype == QN_INT32 || x->dtype == QN_UINT8)
        x = qn_cast(g, x, g->real);
    if (qn_axes_read(g, &qn_op_moments, &x->shape, params, &norm.axes) !=
        QN_OK)
        return NULL;
    return qn_node_create(g, &qn_op_moments, &x, 1, NULL, &norm, sizeof norm);
}
