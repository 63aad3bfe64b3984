// The matrix product: its shapes, its gradients and the launches that carry it
// out. Knows no device, only its limits.
#include "op/rules.h"

#include <stdio.h>

enum {
    TILE_ROWS = 8,     // rows and columns of a register tile in cl/matmul.cl
    TILE_COLS = 32,
    NARROW_COLS = 16,  // the same of matmul_narrow
    DOT_SIDE = 8,      // at most so many rows or columns for matmul_dot
    VECTOR = 16,
};

extern const struct qn_op qn_op_matmul;

// ---- shapes ----

// op(a)[m, k] op(b)[k, n] for each of `batch` matrices, which lie a stride
// apart; 0 repeats one matrix.
struct product {
    int64_t batch, m, n, k;
    int64_t stride_a, stride_b;
    bool trans_a, trans_b;
};

static qn_shape batch_of(const qn_shape *shape)
{
    return qn_shape_make(shape->rank - 2, shape->dims);
}

// Rows (0) or columns (1) of the last two dimensions.
static int64_t side_of(const qn_shape *shape, int side, bool is_transposed)
{
    return shape->dims[shape->rank - 2 + (side ^ (int)is_transposed)];
}

// `tail` after the batch dimensions.
static qn_shape join(const qn_shape *batch, int64_t rows, int64_t cols)
{
    qn_shape shape = *batch;
    shape.dims[shape.rank++] = rows;
    shape.dims[shape.rank++] = cols;
    return shape;
}

static qn_status fail_shapes(struct qn_node *node, const char *reason)
{
    const struct qn_matmul_params *params = node->params;
    char a[128], b[128];
    qn_shape_text(&node->inputs[0]->shape, a, sizeof a);
    qn_shape_text(&node->inputs[1]->shape, b, sizeof b);
    return qn_node_fail(node, QN_BAD_SHAPE,
                        "a %s%s and b %s%s do not fit: %s", a,
                        params->trans_a ? " transposed" : "", b,
                        params->trans_b ? " transposed" : "", reason);
}

static qn_status infer_matmul(struct qn_node *node)
{
    const struct qn_matmul_params *params = node->params;
    const qn_shape *a = &node->inputs[0]->shape, *b = &node->inputs[1]->shape;
    for (int i = 0; i < 2; i++) {
        QN_TRY(qn_expect_real(node, i));
        QN_TRY(qn_expect_rank(node, i, 2, QN_MAX_RANK));
    }
    const int64_t k = side_of(a, 1, params->trans_a);
    if (k != side_of(b, 0, params->trans_b)) {
        char reason[160];
        snprintf(reason, sizeof reason,
                 "op(a) has %lld columns and op(b) %lld rows", (long long)k,
                 (long long)side_of(b, 0, params->trans_b));
        return fail_shapes(node, reason);
    }
    const qn_shape batch_a = batch_of(a), batch_b = batch_of(b);
    qn_shape batch;
    if (!qn_shape_broadcast(&batch_a, &batch_b, &batch))
        return fail_shapes(node, "their leading dimensions do not broadcast");
    node->shape = join(&batch, side_of(a, 0, params->trans_a),
                       side_of(b, 1, params->trans_b));
    node->dtype = node->graph->real;
    return QN_OK;
}

static struct product product_of(const struct qn_node *node)
{
    const struct qn_matmul_params *params = node->params;
    const qn_shape *a = &node->inputs[0]->shape, *b = &node->inputs[1]->shape;
    const qn_shape batch_a = batch_of(a), batch_b = batch_of(b);
    struct product p = {
        .batch = 1,
        .m = side_of(a, 0, params->trans_a),
        .n = side_of(b, 1, params->trans_b),
        .k = side_of(a, 1, params->trans_a),
        .trans_a = params->trans_a,
        .trans_b = params->trans_b,
    };
    const int64_t count_a = qn_shape_count(&batch_a);
    const int64_t count_b = qn_shape_count(&batch_b);
    if (count_b == 1 && !p.trans_a && count_a * p.m <= INT32_MAX) {
        p.m *= count_a; // the matrices of a are one tall matrix
        return p;
    }
    p.batch = count_a > count_b ? count_a : count_b;
    p.stride_a = count_a > 1 ? p.m * p.k : 0;
    p.stride_b = count_b > 1 ? p.k * p.n : 0;
    return p;
}

// ---- builder ----

// A vector becomes a matrix of one row.
static struct qn_node *as_matrix(struct qn_graph *g, struct qn_node *x)
{
    return x->shape.rank == 1
               ? qn_reshape(g, x, qn_shape_of(1, x->shape.dims[0]))
               : x;
}

// Kernels walk a batch by one stride: an operand has all of the batch or one
// matrix. What lies between is widened.
static struct qn_node *widen(struct qn_graph *g, struct qn_node *x,
                             const struct qn_node *other)
{
    if (!x || x->shape.rank < 2 || other->shape.rank < 2)
        return x;
    const qn_shape have = batch_of(&x->shape), with = batch_of(&other->shape);
    qn_shape batch;
    if (!qn_shape_broadcast(&have, &with, &batch) ||
        qn_shape_count(&have) == 1 ||
        qn_shape_count(&have) == qn_shape_count(&batch))
        return x;
    return qn_broadcast_to(g, x, join(&batch, side_of(&x->shape, 0, false),
                                      side_of(&x->shape, 1, false)));
}

// Drops the rows or columns of 1 that vectors have brought in.
static struct qn_node *drop_sides(struct qn_graph *g, struct qn_node *y,
                                  bool drop_row, bool drop_col)
{
    if (!y || (!drop_row && !drop_col))
        return y;
    qn_shape shape = batch_of(&y->shape);
    if (!drop_row)
        shape.dims[shape.rank++] = side_of(&y->shape, 0, false);
    if (!drop_col)
        shape.dims[shape.rank++] = side_of(&y->shape, 1, false);
    return qn_reshape(g, y, shape);
}

qn_node *qn_matmul(qn_graph *g, qn_node *a, qn_node *b,
                   const struct qn_matmul_params *params)
{
    struct qn_node *inputs[] = {a, b};
    struct qn_matmul_params how = params ? *params
                                         : (struct qn_matmul_params){0};
    if (!qn_can_build(g, &qn_op_matmul, inputs, 2))
        return NULL;
    const bool is_row = a->shape.rank == 1, is_col = b->shape.rank == 1;
    if (is_row)
        how.trans_a = false;
    if (is_col)
        how.trans_b = true;
    a = as_matrix(g, a);
    b = as_matrix(g, b);
    if (!a || !b)
        return NULL;
    inputs[0] = widen(g, a, b);
    inputs[1] = widen(g, b, a);
    struct qn_node *y = qn_node_create(g, &qn_op_matmul, inputs, 2, NULL, &how,
                                       sizeof how);
    return drop_sides(g, y, is_row, is_col);
}

// ---- gradients ----

static struct qn_node *multiply(struct qn_graph *g, struct qn_node *x,
                                bool trans_x, struct qn_node *y, bool trans_y)
{
    return qn_matmul(g, x, y, qn_matmul_params(trans_x, trans_y));
}

static struct qn_node *flatten(struct qn_graph *g, struct qn_node *x)
{
    return qn_reshape(
        g, x, qn_shape_of(-1, side_of(&x->shape, 1, false)));
}

// C = A B: dA = dC B^T, dB = A^T dC; where an operand is stored transposed, so
// is its gradient.
static struct qn_node *grad_matmul(struct qn_graph *g, struct qn_node *node,
                                   struct qn_node *dy, int i)
{
    const struct qn_matmul_params *params = node->params;
    struct qn_node *a = node->inputs[0], *b = node->inputs[1];
    const bool ta = params->trans_a, tb = params->trans_b;
    if (i == 0)
        return ta ? multiply(g, b, tb, dy, true)
                  : multiply(g, dy, false, b, !tb);
    const qn_shape batch_b = batch_of(&b->shape);
    const bool is_folded = !ta && node->shape.rank > 2 &&
                           qn_shape_count(&batch_b) == 1;
    if (is_folded) { // one product sums over the batch
        a = flatten(g, a);
        dy = flatten(g, dy);
    }
    struct qn_node *db = tb ? multiply(g, dy, true, a, ta)
                            : multiply(g, a, !ta, dy, false);
    return is_folded && db ? qn_reshape(g, db, b->shape) : db;
}

// ---- launches ----

static void add_operands(struct qn_launch *launch, const struct product *p)
{
    qn_launch_buffer(launch, QN_OPERAND_IN);
    qn_launch_buffer(launch, QN_OPERAND_IN + 1);
    qn_launch_buffer(launch, QN_OPERAND_OUT);
    qn_launch_int(launch, p->m);
    qn_launch_int(launch, p->n);
    qn_launch_int(launch, p->k);
}

static void add_strides(struct qn_launch *launch, const struct product *p)
{
    qn_launch_long(launch, p->stride_a);
    qn_launch_long(launch, p->stride_b);
    qn_launch_long(launch, p->m * p->n);
}

static void count_work(struct qn_launch *launch, const struct qn_node *node,
                       const struct product *p)
{
    launch->is_heavy = true;
    launch->flops = 2.0 * (double)p->batch * (double)p->m * (double)p->n *
                    (double)p->k;
    launch->bytes = (double)(qn_node_size(node) +
                             qn_node_size(node->inputs[0]) +
                             qn_node_size(node->inputs[1]));
}

static struct qn_launch *add_launch(struct qn_work *work, const char *kernel,
                                    const struct qn_node *node,
                                    const struct product *p)
{
    struct qn_launch *launch = qn_work_add(work, "matmul", kernel,
                                           node->dtype);
    launch->include = "tile";
    qn_launch_define(launch, "TRANS_A", p->trans_a);
    qn_launch_define(launch, "TRANS_B", p->trans_b);
    add_operands(launch, p);
    add_strides(launch, p);
    qn_launch_hooks(launch, QN_HOOK_ADD_ROW | QN_HOOK_ADD | QN_HOOK_RELU |
                                QN_HOOK_GATE);
    count_work(launch, node, p);
    return launch;
}

// ---- CPU: how to share the work out ----

// What one group computes: rows x cols elements, K in blocks of `depth`.
struct split {
    int64_t rows, cols, depth;
    int64_t row_groups, col_groups;
    int64_t panel_size, block_size; // bytes of local memory
};

static int64_t divide_up(int64_t x, int64_t y)
{
    return (x + y - 1) / y;
}

static int64_t round_up(int64_t x, int64_t y)
{
    return divide_up(x, y) * y;
}

// The kernel's PITCH.
static int64_t pitch_of(int64_t extent)
{
    return (divide_up(extent, VECTOR) | 1) * VECTOR;
}

static int64_t block_size(const struct product *p, int64_t rows, int64_t depth,
                          int64_t element)
{
    return element * (p->trans_a
                          ? depth * pitch_of(rows)
                          : round_up(rows, VECTOR) * pitch_of(depth));
}

// K in as few blocks as leave the panel in a quarter of local memory and near
// the first cache, then as many rows as leave `block` in the second one.
static struct split limit_split(const struct product *p, int64_t width,
                                int64_t element,
                                const struct qn_limits *limits)
{
    enum { MOST_DEPTH = 1024, MOST_BLOCK = 1 << 20 };
    const int64_t fits =
        limits->local_size / 4 / (width * element) / VECTOR * VECTOR;
    const int64_t most = fits < VECTOR       ? VECTOR
                         : fits < MOST_DEPTH ? fits
                                             : MOST_DEPTH;
    const int64_t blocks = divide_up(p->k, most);
    struct split s = {.depth = round_up(divide_up(p->k, blocks), VECTOR)};
    s.panel_size = s.depth * width * element;
    const int64_t room = qn_smaller(MOST_BLOCK + MOST_BLOCK / 8,
                                limits->local_size - s.panel_size);
    s.rows = VECTOR;
    while (s.rows < p->m &&
           block_size(p, s.rows + VECTOR, s.depth, element) <= room)
        s.rows += VECTOR;
    return s;
}

// Estimated time of one group in units of a multiply-add, per step of K.
// Copying an element into a block or a panel costs about as much as 12, its
// start about as much as 50000.
static double cost_of(const struct product *p, int64_t rows, int64_t cols,
                      int64_t groups, int units)
{
    const double work = (double)(rows * cols) + 12.0 * (double)(rows + cols) +
                        50000.0 / (double)p->k;
    return (double)divide_up(groups, units) * work +
           15000.0 / (double)p->k * (double)groups;
}

// The cheapest way to cut m x n into groups. A pure function of the shape and
// the limits, so that a run can be repeated to the bit.
static struct split split_for(const struct product *p, int64_t width,
                              int64_t element, const struct qn_limits *limits)
{
    const struct split limit = limit_split(p, width, element, limits);
    const int units = limits->compute_units > 0 ? limits->compute_units : 1;
    const int64_t fewest = divide_up(p->m, limit.rows);
    const int64_t most_rows = qn_smaller(divide_up(p->m, TILE_ROWS),
                                     fewest + units);
    const int64_t most_cols = qn_smaller(divide_up(p->n, width), 4 * units);
    struct split best = limit;
    double least = -1;
    for (int64_t i = fewest; i <= most_rows; i++)
        for (int64_t j = 1; j <= most_cols; j++) {
            struct split s = limit;
            s.rows = round_up(divide_up(p->m, i), TILE_ROWS);
            s.cols = round_up(divide_up(p->n, j), width);
            s.row_groups = divide_up(p->m, s.rows);
            s.col_groups = divide_up(p->n, s.cols);
            const double cost = cost_of(
                p, s.rows, s.cols, p->batch * s.row_groups * s.col_groups,
                units);
            if (least >= 0 && cost >= least)
                continue;
            least = cost;
            best = s;
        }
    best.block_size = block_size(p, best.rows, best.depth, element);
    return best;
}

static void describe_cpu(const struct qn_node *node,
                         const struct qn_limits *limits, struct qn_work *work)
{
    const struct product p = product_of(node);
    const bool is_dot = !p.trans_a && p.trans_b &&
                        (p.m <= DOT_SIDE || p.n <= DOT_SIDE);
    const bool is_narrow = p.n <= NARROW_COLS;
    const struct split s = split_for(&p, is_narrow ? NARROW_COLS : TILE_COLS,
                                     (int64_t)qn_dtype_size(node->dtype),
                                     limits);
    struct qn_launch *launch = add_launch(work,
                                          is_dot      ? "matmul_dot"
                                          : is_narrow ? "matmul_narrow"
                                                      : "matmul",
                                          node, &p);
    qn_launch_int(launch, s.rows);
    qn_launch_int(launch, s.cols);
    if (!is_dot) {
        qn_launch_int(launch, s.depth);
        qn_launch_local(launch, s.panel_size);
        qn_launch_local(launch, s.block_size);
    }
    qn_launch_grid(launch, (size_t)s.col_groups, (size_t)s.row_groups,
                   (size_t)p.batch, 1, 1);
}

// ---- GPU ----

static int64_t tile_count(const struct product *p, int64_t side)
{
    return p->batch * divide_up(p->m, side) * divide_up(p->n, side);
}

static bool fits_gpu(const struct qn_node *node,
                     const struct qn_limits *limits)
{
    enum { SMALL_GROUP = 8 * 8 };
    return qn_fits_gpu(node, limits) && limits->max_group_size >= SMALL_GROUP;
}

// The large tile reads less; the small one wastes less of ragged edges and
// gives more groups, of which a GPU wants a few per compute unit.
static void describe_gpu(const struct qn_node *node,
                         const struct qn_limits *limits, struct qn_work *work)
{
    enum { LARGE = 64, SMALL = 32, STEP = 16 };
    const struct product p = product_of(node);
    const int64_t local = 2 * STEP * (LARGE + 1) *
                          (int64_t)qn_dtype_size(node->dtype);
    const bool is_large = limits->max_group_size >= (LARGE / 4) * (LARGE / 4) &&
                          limits->local_size >= local &&
                          tile_count(&p, LARGE) >= 2 * limits->compute_units &&
                          4 * tile_count(&p, LARGE) * 4 <=
                              5 * tile_count(&p, SMALL);
    const int64_t tile = is_large ? LARGE : SMALL;
    struct qn_launch *launch =
        add_launch(work, is_large ? "matmul_64" : "matmul_32", node, &p);
    qn_launch_grid(launch, (size_t)divide_up(p.n, tile),
                   (size_t)divide_up(p.m, tile), (size_t)p.batch,
                   (size_t)tile / 4, (size_t)tile / 4);
}

// ---- CLBlast ----

static bool fits_clblast(const struct qn_node *node,
                         const struct qn_limits *limits)
{
    (void)node;
    return limits->has_clblast;
}

// Row-major c[m, n] = op(a) op(b), batch by batch; the device calls it.
static void describe_clblast(const struct qn_node *node,
                             const struct qn_limits *limits,
                             struct qn_work *work)
{
    (void)limits;
    const struct product p = product_of(node);
    struct qn_launch *launch = qn_work_add(work, NULL, "clblast_gemm",
                                           node->dtype);
    launch->is_external = true;
    add_operands(launch, &p);
    qn_launch_int(launch, p.trans_a);
    qn_launch_int(launch, p.trans_b);
    qn_launch_int(launch, p.batch);
    add_strides(launch, &p);
    count_work(launch, node, &p);
}

static const struct qn_candidate matmul_candidates[] = {
    {"cpu", qn_fits_cpu, describe_cpu},
    {"gpu", fits_gpu, describe_gpu},
    {"clblast", fits_clblast, describe_clblast},
    {0},
};

const struct qn_op qn_op_matmul = {
    .name = "matmul",
    .formula = "op(a)[..., m, k] op(b)[..., k, n]",
    .min_inputs = 2,
    .max_inputs = 2,
    .infer = infer_matmul,
    .candidates = matmul_candidates,
    .grad = grad_matmul,
};
