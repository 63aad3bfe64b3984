// Views: reshape, transpose, broadcast, slice. They do no work; `layout` says
// where the elements lie. Knows no kernel.
#include "op/rules.h"

extern const struct qn_op qn_op_reshape, qn_op_transpose, qn_op_broadcast_to,
    qn_op_slice;

static qn_status fail_shapes(struct qn_node *node, const qn_shape *want)
{
    char have[128], text[128];
    const qn_shape *from = &node->inputs[0]->shape;
    return qn_node_fail(node, QN_BAD_SHAPE, "shape %s cannot become %s",
                        qn_shape_text(from, have, sizeof have),
                        qn_shape_text(want, text, sizeof text));
}

// ---- reshape ----

static qn_status infer_reshape(struct qn_node *node)
{
    const qn_shape *want = node->params;
    if (qn_shape_count(want) != qn_node_count(node->inputs[0]))
        return fail_shapes(node, want);
    node->shape = *want;
    node->dtype = node->inputs[0]->dtype;
    return QN_OK;
}

// Splits the dimensions that the input walks as one, the innermost first.
static bool layout_reshape(const struct qn_node *node,
                           const struct qn_layout *input,
                           struct qn_layout *out)
{
    struct qn_layout in = *input;
    qn_layouts_collapse(&in, 1);
    int at = in.shape.rank - 1;
    int64_t left = in.shape.dims[at], stride = in.strides[at];
    *out = (struct qn_layout){.shape = node->shape, .offset = input->offset};
    for (int i = node->shape.rank - 1; i >= 0; i--) {
        const int64_t n = node->shape.dims[i];
        if (n > 1 && left == 1 && at > 0) {
            at--;
            left = in.shape.dims[at];
            stride = in.strides[at];
        }
        if (left % n != 0)
            return false;
        out->strides[i] = stride;
        stride *= n;
        left /= n;
    }
    return true;
}

static struct qn_node *grad_reshape(struct qn_graph *g, struct qn_node *node,
                                    struct qn_node *dy, int i)
{
    return qn_reshape(g, dy, node->inputs[i]->shape);
}

const struct qn_op qn_op_reshape = {
    .name = "reshape", .formula = "x in another shape",
    .min_inputs = 1, .max_inputs = 1, .flags = QN_OP_VIEW,
    .infer = infer_reshape, .layout = layout_reshape, .grad = grad_reshape,
};

// Works out a dimension of -1; what is left over fails in `infer`.
static void fill_dim(qn_shape *shape, int64_t count)
{
    int64_t *open = NULL, rest = 1;
    for (int i = 0; i < shape->rank; i++) {
        if (shape->dims[i] == -1 && !open)
            open = &shape->dims[i];
        else if (shape->dims[i] > 0 && shape->dims[i] <= count / rest)
            rest *= shape->dims[i];
        else
            return;
    }
    if (open && count % rest == 0)
        *open = count / rest;
}

qn_node *qn_reshape(qn_graph *g, qn_node *x, qn_shape shape)
{
    if (!qn_can_build(g, &qn_op_reshape, &x, 1) ||
        qn_check_rank(g, &qn_op_reshape, shape.rank) != QN_OK)
        return NULL;
    fill_dim(&shape, qn_node_count(x));
    if (qn_shape_equal(&shape, &x->shape))
        return x;
    return qn_node_create(g, &qn_op_reshape, &x, 1, NULL, &shape,
                          sizeof shape);
}

// ---- transpose ----

struct order {
    int of[QN_MAX_RANK];
};

static qn_status infer_transpose(struct qn_node *node)
{
    const struct order *order = node->params;
    const struct qn_node *x = node->inputs[0];
    node->dtype = x->dtype;
    node->shape.rank = x->shape.rank;
    for (int i = 0; i < x->shape.rank; i++)
        node->shape.dims[i] = x->shape.dims[order->of[i]];
    return QN_OK;
}

static bool layout_transpose(const struct qn_node *node,
                             const struct qn_layout *input,
                             struct qn_layout *out)
{
    const struct order *order = node->params;
    *out = (struct qn_layout){.shape = node->shape, .offset = input->offset};
    for (int i = 0; i < node->shape.rank; i++)
        out->strides[i] = input->strides[order->of[i]];
    return true;
}

static struct qn_node *grad_transpose(struct qn_graph *g, struct qn_node *node,
                                      struct qn_node *dy, int i)
{
    (void)i;
    const struct order *order = node->params;
    int back[QN_MAX_RANK] = {0};
    for (int k = 0; k < node->shape.rank; k++)
        back[order->of[k]] = k;
    return qn_transpose(g, dy, back);
}

const struct qn_op qn_op_transpose = {
    .name = "transpose", .formula = "x with its dimensions in another order",
    .min_inputs = 1, .max_inputs = 1, .flags = QN_OP_VIEW,
    .infer = infer_transpose, .layout = layout_transpose,
    .grad = grad_transpose,
};

qn_node *qn_transpose(qn_graph *g, qn_node *x, const int *order)
{
    const struct qn_op *op = &qn_op_transpose;
    struct order full = {{0}};
    unsigned seen = 0;
    bool is_same = true;
    if (!qn_can_build(g, op, &x, 1))
        return NULL;
    if (!order) {
        qn_graph_fail(g, QN_BAD_ARGUMENT, "transpose: the order is NULL");
        return NULL;
    }
    for (int i = 0; i < x->shape.rank; i++) {
        int axis = order[i];
        if (qn_resolve_axis(g, op, x->shape.rank, &axis) != QN_OK)
            return NULL;
        if (seen >> axis & 1) {
            qn_graph_fail(g, QN_BAD_ARGUMENT,
                          "transpose: dimension %d is named twice", axis);
            return NULL;
        }
        seen |= 1u << axis;
        is_same &= axis == i;
        full.of[i] = axis;
    }
    if (is_same)
        return x;
    return qn_node_create(g, op, &x, 1, NULL, &full, sizeof full);
}

// ---- broadcast ----

static qn_status infer_broadcast_to(struct qn_node *node)
{
    const qn_shape *want = node->params;
    qn_shape wide;
    if (qn_shape_count(want) < 1 ||
        !qn_shape_broadcast(&node->inputs[0]->shape, want, &wide) ||
        !qn_shape_equal(&wide, want))
        return fail_shapes(node, want);
    node->shape = *want;
    node->dtype = node->inputs[0]->dtype;
    return QN_OK;
}

static bool layout_broadcast_to(const struct qn_node *node,
                                const struct qn_layout *input,
                                struct qn_layout *out)
{
    *out = qn_layout_broadcast(input, &node->shape);
    return true;
}

static struct qn_node *grad_broadcast_to(struct qn_graph *g,
                                         struct qn_node *node,
                                         struct qn_node *dy, int i)
{
    return qn_sum_to(g, dy, node->inputs[i]->shape);
}

const struct qn_op qn_op_broadcast_to = {
    .name = "broadcast_to", .formula = "x repeated to fill a shape",
    .min_inputs = 1, .max_inputs = 1, .flags = QN_OP_VIEW,
    .infer = infer_broadcast_to, .layout = layout_broadcast_to,
    .grad = grad_broadcast_to,
};

qn_node *qn_broadcast_to(qn_graph *g, qn_node *x, qn_shape shape)
{
    if (!qn_can_build(g, &qn_op_broadcast_to, &x, 1) ||
        qn_check_rank(g, &qn_op_broadcast_to, shape.rank) != QN_OK)
        return NULL;
    if (qn_shape_equal(&shape, &x->shape))
        return x;
    return qn_node_create(g, &qn_op_broadcast_to, &x, 1, NULL, &shape,
                          sizeof shape);
}

// ---- slice ----

struct slice {
    int axis;
    int64_t start, stop, step; // 0 <= start, stop <= size
};

static qn_status infer_slice(struct qn_node *node)
{
    const struct slice *s = node->params;
    const struct qn_node *x = node->inputs[0];
    char text[128];
    if (s->stop <= s->start)
        return qn_node_fail(node, QN_BAD_SHAPE,
                            "nothing is left of dimension %d of shape %s "
                            "from %lld to %lld",
                            s->axis,
                            qn_shape_text(&x->shape, text, sizeof text),
                            (long long)s->start, (long long)s->stop);
    node->dtype = x->dtype;
    node->shape = x->shape;
    node->shape.dims[s->axis] = (s->stop - s->start - 1) / s->step + 1;
    return QN_OK;
}

static bool layout_slice(const struct qn_node *node,
                         const struct qn_layout *input, struct qn_layout *out)
{
    const struct slice *s = node->params;
    *out = *input;
    out->shape = node->shape;
    out->offset += s->start * input->strides[s->axis];
    out->strides[s->axis] *= s->step;
    return true;
}

static struct qn_node *grad_slice(struct qn_graph *g, struct qn_node *node,
                                  struct qn_node *dy, int i)
{
    const struct slice *s = node->params;
    const int64_t size = node->inputs[i]->shape.dims[s->axis];
    const int64_t count = node->shape.dims[s->axis];
    int64_t low[QN_MAX_RANK] = {0}, high[QN_MAX_RANK] = {0};
    int64_t inner[QN_MAX_RANK] = {0};
    low[s->axis] = s->start;
    high[s->axis] = size - 1 - s->start - (count - 1) * s->step;
    inner[s->axis] = s->step - 1;
    return qn_pad(g, dy, low, high, inner);
}

const struct qn_op qn_op_slice = {
    .name = "slice", .formula = "x[..., start:stop:step, ...]",
    .min_inputs = 1, .max_inputs = 1, .flags = QN_OP_VIEW,
    .infer = infer_slice, .layout = layout_slice, .grad = grad_slice,
};

// As NumPy reads a bound: from the end where negative, cut to the size.
static int64_t resolve_bound(int64_t bound, int64_t size)
{
    if (bound < 0)
        return bound < -size ? 0 : bound + size;
    return bound < size ? bound : size;
}

qn_node *qn_slice(qn_graph *g, qn_node *x, int axis, int64_t start,
                  int64_t stop, int64_t step)
{
    const struct qn_op *op = &qn_op_slice;
    if (!qn_can_build(g, op, &x, 1) ||
        qn_resolve_axis(g, op, x->shape.rank, &axis) != QN_OK)
        return NULL;
    if (step < 1) {
        qn_graph_fail(g, QN_BAD_ARGUMENT, "slice: step %lld is below 1",
                      (long long)step);
        return NULL;
    }
    const int64_t size = x->shape.dims[axis];
    const struct slice slice = {axis, resolve_bound(start, size),
                                resolve_bound(stop, size), step};
    if (slice.start == 0 && slice.stop == size && step == 1)
        return x;
    return qn_node_create(g, op, &x, 1, NULL, &slice, sizeof slice);
}
