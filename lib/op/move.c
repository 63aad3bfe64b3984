// Copies between places: pad, concat, pack. They move words without looking
// at them, so any dtype will do.
#include "op/op.h"
#include "op/rules.h"

extern const struct qn_op qn_op_pad, qn_op_concat, qn_op_pack;

enum {
    SPAN = 32768, // bytes an item moves
    GROUP = 256,
    PAD_RANK = QN_MAX_RANK + 1, // one for elements of two words
};

// A launch over `total` words of which every item takes some.
static struct qn_launch *add_launch(struct qn_work *work, const char *kernel,
                                    const struct qn_node *node, int64_t unit,
                                    int operand)
{
    struct qn_launch *launch =
        qn_work_add(work, "move", kernel, node->graph->real);
    launch->include = "runs";
    if (unit == 1)
        qn_launch_define(launch, "UNIT", 1);
    qn_launch_buffer(launch, operand);
    qn_launch_buffer(launch, QN_OPERAND_OUT);
    return launch;
}

static void add_grid(struct qn_launch *launch, const struct qn_limits *limits,
                     int64_t unit, int64_t total)
{
    const bool is_cpu = limits->variant == QN_VARIANT_CPU;
    const int64_t group = is_cpu ? 1 : qn_group_size(limits, GROUP);
    const int64_t span = is_cpu ? SPAN / unit : 1;
    const int64_t each = group * span;
    qn_launch_long(launch, total);
    qn_launch_long(launch, span);
    qn_launch_grid(launch, (size_t)qn_divide_up(total, each), 1, 1,
                   (size_t)group, 1);
}

// ---- pad ----

struct pad {
    int64_t low[QN_MAX_RANK], high[QN_MAX_RANK], inner[QN_MAX_RANK];
};

static qn_status infer_pad(struct qn_node *node)
{
    const struct pad *pad = node->params;
    const struct qn_node *x = node->inputs[0];
    const int64_t most = INT64_C(1) << 40;
    node->dtype = x->dtype;
    node->shape = x->shape;
    for (int i = 0; i < x->shape.rank; i++) {
        const int64_t low = pad->low[i], high = pad->high[i];
        const int64_t inner = pad->inner[i], n = x->shape.dims[i];
        if (low < 0 || high < 0 || inner < 0)
            return qn_node_fail(node, QN_BAD_ARGUMENT,
                                "dimension %d has low %lld, high %lld, inner "
                                "%lld; none may be negative",
                                i, (long long)low, (long long)high,
                                (long long)inner);
        if (low > most || high > most || inner > most / n)
            return qn_node_fail(node, QN_BAD_SHAPE,
                                "dimension %d becomes too large", i);
        node->shape.dims[i] = low + n + (n - 1) * inner + high;
    }
    if (qn_node_count(node) < 1)
        return qn_node_fail(node, QN_BAD_SHAPE, "the result is too large");
    return QN_OK;
}

// A dimension as the kernel sees it.
struct pad_dim {
    int64_t out, in, low, step;
};

// Dimensions without padding join the one outside them, if its elements lie
// side by side. The first entries become 1.
static void collapse_pad(const struct qn_node *node, int64_t words,
                         struct pad_dim dims[PAD_RANK])
{
    const struct pad *pad = node->params;
    const qn_shape *x = &node->inputs[0]->shape;
    struct pad_dim list[PAD_RANK] = {{1, 1, 0, 1}};
    int count = 1;
    for (int i = 0; i <= x->rank; i++) {
        struct pad_dim dim = {words, words, 0, 1};
        if (i < x->rank)
            dim = (struct pad_dim){node->shape.dims[i], x->dims[i],
                                   pad->low[i], pad->inner[i] + 1};
        struct pad_dim *outer = &list[count - 1];
        if (outer->out == 1) {
            *outer = dim;
        } else if (dim.out != dim.in || outer->step != 1) {
            list[count++] = dim;
        } else {
            outer->out *= dim.out;
            outer->in *= dim.in;
            outer->low *= dim.out;
        }
    }
    const int skip = PAD_RANK - count;
    for (int i = 0; i < PAD_RANK; i++)
        dims[i] = i < skip ? (struct pad_dim){1, 1, 0, 1} : list[i - skip];
}

static void describe_pad(const struct qn_node *node,
                         const struct qn_limits *limits, struct qn_work *work)
{
    const int64_t size = (int64_t)qn_dtype_size(node->dtype);
    const int64_t unit = size % 4 ? 1 : 4;
    struct pad_dim dims[PAD_RANK];
    collapse_pad(node, size / unit, dims);
    struct qn_launch *launch =
        add_launch(work, "move_pad", node, unit, QN_OPERAND_IN);
    add_grid(launch, limits, unit, qn_node_count(node) * (size / unit));
    for (int i = 0; i < PAD_RANK; i++) {
        qn_launch_long(launch, dims[i].out);
        qn_launch_long(launch, dims[i].in);
        qn_launch_long(launch, dims[i].low);
        qn_launch_long(launch, dims[i].step);
    }
    launch->bytes =
        (double)qn_node_size(node) + (double)qn_node_size(node->inputs[0]);
}

static struct qn_node *grad_pad(struct qn_graph *g, struct qn_node *node,
                                struct qn_node *dy, int i)
{
    const struct pad *pad = node->params;
    const qn_shape *x = &node->inputs[i]->shape;
    for (int d = 0; d < x->rank; d++)
        dy = qn_slice(g, dy, d, pad->low[d],
                      node->shape.dims[d] - pad->high[d], pad->inner[d] + 1);
    return dy;
}

static const struct qn_candidate pad_candidates[] = {
    {"cpu", qn_fits_cpu, describe_pad},
    {"gpu", qn_fits_gpu, describe_pad},
    {0},
};

const struct qn_op qn_op_pad = {
    .name = "pad", .formula = "x with zeros around and between",
    .min_inputs = 1, .max_inputs = 1, .infer = infer_pad,
    .candidates = pad_candidates, .grad = grad_pad,
};

qn_node *qn_pad(qn_graph *g, qn_node *x, const int64_t *low,
                const int64_t *high, const int64_t *inner)
{
    struct pad pad = {{0}};
    bool is_same = true;
    if (!qn_can_build(g, &qn_op_pad, &x, 1))
        return NULL;
    for (int i = 0; i < x->shape.rank; i++) {
        pad.low[i] = low ? low[i] : 0;
        pad.high[i] = high ? high[i] : 0;
        pad.inner[i] = inner ? inner[i] : 0;
        is_same &= !pad.low[i] && !pad.high[i] && !pad.inner[i];
    }
    if (is_same)
        return x;
    return qn_node_create(g, &qn_op_pad, &x, 1, NULL, &pad, sizeof pad);
}

// ---- concat and pack: inputs side by side ----

// Input i as rows of `width` words; they go to `at` in rows of `pitch`.
static void add_rows(const struct qn_node *node,
                     const struct qn_limits *limits, struct qn_work *work,
                     int i, int64_t width, int64_t pitch, int64_t at)
{
    const size_t size = qn_node_size(node->inputs[i]);
    const int64_t unit = width % 4 || pitch % 4 || at % 4 ? 1 : 4;
    struct qn_launch *launch =
        add_launch(work, "move_rows", node, unit, QN_OPERAND_IN + i);
    add_grid(launch, limits, unit, (int64_t)size / unit);
    qn_launch_long(launch, width / unit);
    qn_launch_long(launch, pitch / unit);
    qn_launch_long(launch, at / unit);
    launch->bytes = 2 * (double)size;
}

struct concat {
    int axis;
};

static qn_status infer_concat(struct qn_node *node)
{
    const int axis = ((const struct concat *)node->params)->axis;
    const struct qn_node *first = node->inputs[0];
    char have[128], want[128];
    node->dtype = first->dtype;
    node->shape = first->shape;
    for (int i = 1; i < node->input_count; i++) {
        const struct qn_node *x = node->inputs[i];
        qn_shape like = x->shape;
        if (like.rank == node->shape.rank)
            like.dims[axis] = first->shape.dims[axis];
        if (!qn_shape_equal(&like, &first->shape))
            return qn_node_fail(
                node, QN_BAD_SHAPE,
                "input %d has shape %s, which differs from %s in more than "
                "dimension %d",
                i, qn_shape_text(&x->shape, have, sizeof have),
                qn_shape_text(&first->shape, want, sizeof want), axis);
        QN_TRY(qn_expect_dtype(node, i, first->dtype));
        node->shape.dims[axis] += x->shape.dims[axis];
    }
    return QN_OK;
}

// Bytes of dimension `axis` and those within it; `from` = `axis` + 1 gives one
// of its elements.
static int64_t inner_size(const struct qn_node *node, int from)
{
    int64_t size = (int64_t)qn_dtype_size(node->dtype);
    for (int i = from; i < node->shape.rank; i++)
        size *= node->shape.dims[i];
    return size;
}

static int64_t concat_place(const struct qn_node *node, int i)
{
    const int axis = ((const struct concat *)node->params)->axis;
    int64_t at = 0;
    for (int k = 0; k < i; k++)
        at += inner_size(node->inputs[k], axis);
    return at;
}

static int64_t concat_offset(const struct qn_node *node, int i)
{
    const int axis = ((const struct concat *)node->params)->axis;
    for (int d = 0; d < axis; d++)
        if (node->shape.dims[d] != 1)
            return -1;
    return concat_place(node, i);
}

static void describe_concat(const struct qn_node *node,
                            const struct qn_limits *limits,
                            struct qn_work *work)
{
    const int axis = ((const struct concat *)node->params)->axis;
    const int64_t pitch = inner_size(node, axis);
    int64_t at = 0;
    for (int i = 0; i < node->input_count; i++) {
        const int64_t width = inner_size(node->inputs[i], axis);
        add_rows(node, limits, work, i, width, pitch, at);
        at += width;
    }
}

static struct qn_node *grad_concat(struct qn_graph *g, struct qn_node *node,
                                   struct qn_node *dy, int i)
{
    const int axis = ((const struct concat *)node->params)->axis;
    int64_t start = 0;
    for (int k = 0; k < i; k++)
        start += node->inputs[k]->shape.dims[axis];
    return qn_slice(g, dy, axis, start,
                    start + node->inputs[i]->shape.dims[axis], 1);
}

static const struct qn_candidate concat_candidates[] = {
    {"cpu", qn_fits_cpu, describe_concat},
    {"gpu", qn_fits_gpu, describe_concat},
    {0},
};

const struct qn_op qn_op_concat = {
    .name = "concat", .formula = "inputs side by side along an axis",
    .min_inputs = 1, .max_inputs = -1, .infer = infer_concat,
    .candidates = concat_candidates, .part_offset = concat_offset,
    .grad = grad_concat,
};

qn_node *qn_concat(qn_graph *g, qn_node *const *inputs, int count, int axis)
{
    const struct qn_op *op = &qn_op_concat;
    if (!inputs || count < 1) {
        if (g)
            qn_graph_fail(g, QN_BAD_ARGUMENT, "concat: needs an input");
        return NULL;
    }
    if (!qn_can_build(g, op, inputs, count))
        return NULL;
    struct concat concat = {axis};
    if (qn_resolve_axis(g, op, inputs[0]->shape.rank, &concat.axis) != QN_OK)
        return NULL;
    if (count == 1)
        return inputs[0];
    return qn_node_create(g, op, inputs, count, NULL, &concat, sizeof concat);
}

static int64_t align_up(int64_t size)
{
    return qn_divide_up(size, QN_GROUP_ALIGN) * QN_GROUP_ALIGN;
}

static int64_t pack_offset(const struct qn_node *node, int i)
{
    int64_t at = 0;
    for (int k = 0; k < i; k++)
        at += align_up((int64_t)qn_node_size(node->inputs[k]));
    return at;
}

static qn_status infer_pack(struct qn_node *node)
{
    node->dtype = node->inputs[0]->dtype;
    for (int i = 1; i < node->input_count; i++)
        QN_TRY(qn_expect_dtype(node, i, node->dtype));
    const int64_t size = pack_offset(node, node->input_count);
    node->shape = (qn_shape){
        .rank = 1, .dims = {size / (int64_t)qn_dtype_size(node->dtype)}};
    return QN_OK;
}

static void describe_pack(const struct qn_node *node,
                          const struct qn_limits *limits, struct qn_work *work)
{
    int64_t at = 0;
    for (int i = 0; i < node->input_count; i++) {
        const int64_t size = (int64_t)qn_node_size(node->inputs[i]);
        add_rows(node, limits, work, i, size, (int64_t)qn_node_size(node), at);
        at += align_up(size);
    }
}

static struct qn_node *grad_pack(struct qn_graph *g, struct qn_node *node,
                                 struct qn_node *dy, int i)
{
    const struct qn_node *x = node->inputs[i];
    const int64_t start =
        pack_offset(node, i) / (int64_t)qn_dtype_size(node->dtype);
    dy = qn_slice(g, dy, 0, start, start + qn_node_count(x), 1);
    return qn_reshape(g, dy, x->shape);
}

static const struct qn_candidate pack_candidates[] = {
    {"cpu", qn_fits_cpu, describe_pack},
    {"gpu", qn_fits_gpu, describe_pack},
    {0},
};

const struct qn_op qn_op_pack = {
    .name = "pack", .formula = "inputs in one flat tensor, gaps between them",
    .min_inputs = 1, .max_inputs = -1, .flags = QN_OP_PERSIST,
    .infer = infer_pack, .candidates = pack_candidates,
    .part_offset = pack_offset, .grad = grad_pack,
};

struct qn_node *qn_pack(struct qn_graph *g, struct qn_node *const *inputs,
                        int count)
{
    if (!qn_can_build(g, &qn_op_pack, inputs, count))
        return NULL;
    return qn_node_create(g, &qn_op_pack, inputs, count, NULL, NULL, 0);
}
