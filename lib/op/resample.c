// Images at another size, by the nearest pixel or between pixels. Knows shapes
// and launches, no device.
#include "op/rules.h"

extern const struct qn_op qn_op_resample, qn_op_resample_grad;

enum { LANES = 16, SPAN = 8192, GROUP = 256, MOST = 1 << 20 };

// Element o of a dimension lies at max(o a + b, 0) / q.
struct axis {
    int64_t in, out, a, b, q;
};

struct resample {
    struct axis h, w;
    bool is_linear;
};

static qn_status infer_resample(struct qn_node *node)
{
    const struct resample *r = node->params;
    const bool is_grad = node->op == &qn_op_resample_grad;
    QN_TRY(qn_expect_real(node, 0));
    node->shape = node->inputs[0]->shape;
    node->shape.dims[2] = is_grad ? r->h.in : r->h.out;
    node->shape.dims[3] = is_grad ? r->w.in : r->w.out;
    return QN_OK;
}

static void add_axis(struct qn_launch *launch, const struct axis *axis)
{
    qn_launch_int(launch, axis->in);
    qn_launch_int(launch, axis->out);
    qn_launch_long(launch, axis->a);
    qn_launch_long(launch, axis->b);
    qn_launch_long(launch, axis->q);
}

static void add_cpu_grid(const struct qn_node *node, struct qn_launch *launch)
{
    const struct resample *r = node->params;
    const bool is_grad = node->op == &qn_op_resample_grad;
    const int64_t size = (int64_t)qn_dtype_size(node->dtype);
    const int64_t each = is_grad ? r->h.in * r->w.in + r->h.out * r->w.out
                                 : r->w.in + 4 * r->w.out;
    const int64_t count =
        is_grad ? node->shape.dims[0] * node->shape.dims[1]
                : qn_node_count(node) / r->w.out;
    const int64_t span = each < SPAN ? SPAN / each : 1;
    qn_launch_long(launch, count);
    qn_launch_long(launch, span);
    qn_launch_local(launch, (r->w.in + 2 * LANES) * size);
    qn_launch_local(launch, r->w.out * size);
    qn_launch_local(launch, r->w.out * (int64_t)sizeof(int32_t));
    qn_launch_grid(launch, (size_t)qn_divide_up(count, span), 1, 1, 1, 1);
}

static void describe(const struct qn_node *node,
                     const struct qn_limits *limits, struct qn_work *work)
{
    const struct resample *r = node->params;
    struct qn_launch *launch =
        qn_work_add(work, "resample", node->op->name, node->dtype);
    qn_launch_buffer(launch, QN_OPERAND_IN);
    qn_launch_buffer(launch, QN_OPERAND_OUT);
    add_axis(launch, &r->h);
    add_axis(launch, &r->w);
    qn_launch_int(launch, r->is_linear);
    if (limits->variant == QN_VARIANT_CPU) {
        add_cpu_grid(node, launch);
    } else {
        const int64_t group = qn_group_size(limits, GROUP);
        const int64_t count = qn_node_count(node);
        qn_launch_long(launch, count);
        qn_launch_grid(launch, (size_t)qn_divide_up(count, group), 1, 1,
                       (size_t)group, 1);
    }
    launch->bytes =
        (double)qn_node_size(node) + (double)qn_node_size(node->inputs[0]);
}

static const struct qn_candidate candidates[] = {
    {"cpu", qn_fits_cpu, describe},
    {"gpu", qn_fits_gpu, describe},
    {0},
};

// Each is the gradient of the other.
static struct qn_node *grad_resample(struct qn_graph *g, struct qn_node *node,
                                     struct qn_node *dy, int i)
{
    (void)i;
    dy = qn_broadcast_to(g, dy, node->shape);
    return qn_node_create(g,
                          node->op == &qn_op_resample ? &qn_op_resample_grad
                                                      : &qn_op_resample,
                          &dy, 1, NULL, node->params,
                          sizeof(struct resample));
}

const struct qn_op qn_op_resample = {
    .name = "resample",
    .formula = "x at another size, nearest or bilinear",
    .min_inputs = 1, .max_inputs = 1, .infer = infer_resample,
    .candidates = candidates, .grad = grad_resample,
};
const struct qn_op qn_op_resample_grad = {
    .name = "resample_grad",
    .formula = "sum of dy, weighted as x was in resample",
    .min_inputs = 1, .max_inputs = 1, .infer = infer_resample,
    .candidates = candidates, .grad = grad_resample,
};

// ---- builders ----

enum mode { NEAREST, BETWEEN, CORNERS };

static struct axis make_axis(int64_t in, int64_t out, enum mode mode)
{
    if (mode == NEAREST)
        return (struct axis){in, out, in, 0, out};
    if (mode == BETWEEN) // (o + 1/2) in / out - 1/2
        return (struct axis){in, out, 2 * in, in - out, 2 * out};
    return out == 1 ? (struct axis){in, out, 0, 0, 1}
                    : (struct axis){in, out, in - 1, 0, out - 1};
}

static struct qn_node *build(struct qn_graph *g, struct qn_node *x,
                             int64_t height, int64_t width, enum mode mode)
{
    const char *what = mode == NEAREST ? "upsample_nearest"
                                       : "upsample_bilinear";
    char text[128];
    if (!qn_can_build(g, &qn_op_resample, &x, 1))
        return NULL;
    if (x->shape.rank != 4 || height < 1 || width < 1 || height > MOST ||
        width > MOST) {
        qn_graph_fail(g, QN_BAD_SHAPE,
                      "%s: [n, c, h, w] can become %lld x %lld pixels, from "
                      "1 to %d; not %s",
                      what, (long long)height, (long long)width, MOST,
                      qn_shape_text(&x->shape, text, sizeof text));
        return NULL;
    }
    if (x->dtype == QN_INT32 || x->dtype == QN_UINT8)
        x = qn_cast(g, x, g->real);
    const struct resample params = {
        make_axis(x ? x->shape.dims[2] : 1, height, mode),
        make_axis(x ? x->shape.dims[3] : 1, width, mode), mode != NEAREST};
    return qn_node_create(g, &qn_op_resample, &x, 1, NULL, &params,
                          sizeof params);
}

qn_node *qn_upsample_nearest(qn_graph *g, qn_node *x, int64_t height,
                             int64_t width)
{
    return build(g, x, height, width, NEAREST);
}

qn_node *qn_upsample_bilinear(qn_graph *g, qn_node *x, int64_t height,
                              int64_t width, bool align_corners)
{
    return build(g, x, height, width, align_corners ? CORNERS : BETWEEN);
}
