// A matrix product in which every sample drops weights of its own. Three rows,
// each of them linear in two of x, w and y and summed over the third's index:
// so the gradients of each are the other two. The mask is no tensor; the
// kernels draw it (cl/dropconnect.cl).
#include "op/rules.h"

#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "op/op.h"

enum { SPAN = 4096, GROUP = 64 }; // masks of a CPU item; items of a GPU group

extern const struct qn_op qn_op_dropconnect, qn_op_dropconnect_dx,
    qn_op_dropconnect_dw;

struct dropconnect {
    uint32_t key[2];
    uint32_t last; // the largest word that is kept
    double some;   // 0 where none is
    bool has_first; // samples count from input 4 on, not from 0
};

// The sizes, of any of the rows: n, out, in.
struct sizes {
    int64_t n, out, in;
};

static struct sizes sizes_of(const struct qn_node *node)
{
    const int64_t *a = node->inputs[0]->shape.dims;
    const int64_t *b = node->inputs[1]->shape.dims;
    if (node->op == &qn_op_dropconnect) // x, w
        return (struct sizes){a[0], b[0], a[1]};
    if (node->op == &qn_op_dropconnect_dx) // y, w
        return (struct sizes){a[0], a[1], b[1]};
    return (struct sizes){a[0], b[1], a[1]}; // x, y
}

// Which dimension of each input has the index that is summed away.
static qn_status expect_sizes(struct qn_node *node, int a, int b)
{
    const qn_shape *x = &node->inputs[0]->shape;
    const qn_shape *y = &node->inputs[1]->shape;
    char have[128], other[128];
    for (int i = 0; i < 2; i++) {
        QN_TRY(qn_expect_real(node, i));
        QN_TRY(qn_expect_rank(node, i, 2, 2));
    }
    for (int i = 2; i < 5; i++)
        if (!qn_node_is(node->inputs[i], QN_OP_LIVE))
            return qn_node_fail(node, QN_BAD_ARGUMENT,
                                "seed, step and first sample must be scalars "
                                "made by qn_scalar");
    if (x->dims[a] != y->dims[b])
        return qn_node_fail(node, QN_BAD_SHAPE,
                            "%s and %s do not fit together",
                            qn_shape_text(x, have, sizeof have),
                            qn_shape_text(y, other, sizeof other));
    node->dtype = node->graph->real;
    node->shape = qn_shape_of(x->dims[1 - a], y->dims[1 - b]);
    return QN_OK;
}

static qn_status infer_forward(struct qn_node *node)
{
    return expect_sizes(node, 1, 1);
}

static qn_status infer_dx(struct qn_node *node)
{
    return expect_sizes(node, 1, 0);
}

// [in, out] of x and y: the other way round.
static qn_status infer_dw(struct qn_node *node)
{
    QN_TRY(expect_sizes(node, 0, 0));
    node->shape = qn_shape_of(node->shape.dims[1], node->shape.dims[0]);
    return QN_OK;
}

// ---- launches ----

static void add_mask(struct qn_launch *launch, const struct qn_node *node,
                     const struct sizes *s)
{
    const struct dropconnect *params = node->params;
    qn_launch_live_uint(launch, QN_OPERAND_IN + 4);
    qn_launch_long(launch, params->has_first ? s->out * s->in : 0);
    qn_launch_live_uint(launch, QN_OPERAND_IN + 2);
    qn_launch_live_uint(launch, QN_OPERAND_IN + 3);
    qn_launch_uint(launch, params->key[0]);
    qn_launch_uint(launch, params->key[1]);
    qn_launch_uint(launch, params->last);
    qn_launch_real(launch, params->some);
}

static void describe(const struct qn_node *node,
                     const struct qn_limits *limits, struct qn_work *work)
{
    enum { LANES = 16 };
    const bool is_cpu = limits->variant == QN_VARIANT_CPU;
    const bool is_forward = node->op == &qn_op_dropconnect;
    const struct sizes s = sizes_of(node);
    struct qn_launch *launch =
        qn_work_add(work, "dropconnect", node->op->name, node->dtype);
    launch->include = "random";
    qn_launch_buffer(launch, QN_OPERAND_IN);
    qn_launch_buffer(launch, QN_OPERAND_IN + 1);
    qn_launch_buffer(launch, QN_OPERAND_OUT);
    int64_t units = qn_node_count(node);
    if (is_cpu && !is_forward)
        units = node->shape.dims[0] * qn_divide_up(s.in, LANES);
    qn_launch_long(launch, units);
    if (is_cpu) {
        const int64_t masks = s.n * s.out * s.in / units;
        const int64_t span = masks < SPAN ? SPAN / (masks + 1) : 1;
        qn_launch_long(launch, span);
        qn_launch_grid(launch, (size_t)qn_divide_up(units, span), 1, 1, 1,
                       1);
    } else {
        const int64_t group = qn_group_size(limits, GROUP);
        qn_launch_grid(launch, (size_t)qn_divide_up(units, group), 1, 1,
                       (size_t)group, 1);
    }
    if (node->op == &qn_op_dropconnect_dw || (is_cpu && !is_forward))
        qn_launch_long(launch, s.n);
    qn_launch_long(launch, s.out);
    qn_launch_long(launch, s.in);
    add_mask(launch, node, &s);
    launch->is_heavy = true;
    launch->flops = 2 * (double)(s.n * s.out) * (double)s.in;
    launch->bytes = (double)(qn_node_size(node->inputs[0]) +
                             qn_node_size(node->inputs[1]) +
                             qn_node_size(node));
}

static const struct qn_candidate candidates[] = {
    {"cpu", qn_fits_cpu, describe},
    {"gpu", qn_fits_gpu, describe},
    {0},
};

// ---- gradients ----

static struct qn_node *make(struct qn_graph *g, const struct qn_op *op,
                            const struct qn_node *like, struct qn_node *a,
                            struct qn_node *b)
{
    struct qn_node *inputs[] = {a, b, like->inputs[2], like->inputs[3],
                                like->inputs[4]};
    return qn_node_create(g, op, inputs, 5, NULL, like->params,
                          sizeof(struct dropconnect));
}

static struct qn_node *grad_forward(struct qn_graph *g, struct qn_node *node,
                                    struct qn_node *dy, int i)
{
    struct qn_node *x = node->inputs[0], *w = node->inputs[1];
    return i == 0   ? make(g, &qn_op_dropconnect_dx, node, dy, w)
           : i == 1 ? make(g, &qn_op_dropconnect_dw, node, x, dy)
                    : NULL;
}

static struct qn_node *grad_dx(struct qn_graph *g, struct qn_node *node,
                               struct qn_node *dx, int i)
{
    struct qn_node *y = node->inputs[0], *w = node->inputs[1];
    return i == 0   ? make(g, &qn_op_dropconnect, node, dx, w)
           : i == 1 ? make(g, &qn_op_dropconnect_dw, node, dx, y)
                    : NULL;
}

static struct qn_node *grad_dw(struct qn_graph *g, struct qn_node *node,
                               struct qn_node *dw, int i)
{
    struct qn_node *x = node->inputs[0], *y = node->inputs[1];
    return i == 0   ? make(g, &qn_op_dropconnect_dx, node, y, dw)
           : i == 1 ? make(g, &qn_op_dropconnect, node, x, dw)
                    : NULL;
}

#define ROW .min_inputs = 5, .max_inputs = 5, .candidates = candidates

const struct qn_op qn_op_dropconnect = {
    .name = "dropconnect",
    .formula = "y[n, o] = sum_i m[n, o, i] w[o, i] x[n, i], m = 1 with "
               "probability p, else 0",
    .source = "Wan et al. 2013", ROW, .infer = infer_forward, .grad = grad_forward,
};
const struct qn_op qn_op_dropconnect_dx = {
    .name = "dropconnect_dx",
    .formula = "dx[n, i] = sum_o m[n, o, i] w[o, i] dy[n, o]",
    .source = "gradient of dropconnect", ROW, .infer = infer_dx, .grad = grad_dx,
};
const struct qn_op qn_op_dropconnect_dw = {
    .name = "dropconnect_dw",
    .formula = "dw[o, i] = sum_n m[n, o, i] x[n, i] dy[n, o]",
    .source = "gradient of dropconnect", ROW, .infer = infer_dw, .grad = grad_dw,
};

static qn_node *build(qn_graph *g, const struct qn_op *op, qn_node *a,
                      qn_node *b, double p,
                      const struct qn_random_params *params)
{
    struct qn_node *inputs[] = {a, b, params ? params->seed : NULL,
                                params ? params->step : NULL,
                                params ? params->step : NULL};
    if (params && params->first)
        inputs[4] = params->first;
    if (!qn_can_build(g, op, inputs, 5))
        return NULL;
    if (!(p >= 0 && p <= 1) || !params->use) {
        qn_graph_fail(g, QN_BAD_ARGUMENT,
                      "%s: needs a use and a probability in [0, 1], not %g",
                      op->name, p);
        return NULL;
    }
    const char *path = qn_graph_path(g, params->use);
    if (!path) {
        qn_graph_fail(g, QN_NO_MEMORY, "%s: out of memory", op->name);
        return NULL;
    }
    const uint64_t key = qn_fnv1a(path, strlen(path));
    const double ones = floor(p * 0x1p32 + 0.5); // of 2^32 words
    const struct dropconnect own = {
        .key = {(uint32_t)key, (uint32_t)(key >> 32)},
        .last = (uint32_t)(ones > 0 ? ones - 1 : 0),
        .some = ones > 0,
        .has_first = params->first != NULL,
    };
    return qn_node_create(g, op, inputs, 5, NULL, &own, sizeof own);
}

qn_node *qn_dropconnect(qn_graph *g, qn_node *x, qn_node *w, double p,
                        const struct qn_random_params *params)
{
    return build(g, &qn_op_dropconnect, x, w, p, params);
}

qn_node *qn_dropconnect_dx(qn_graph *g, qn_node *dy, qn_node *w, double p,
                           const struct qn_random_params *params)
{
    return build(g, &qn_op_dropconnect_dx, dy, w, p, params);
}

qn_node *qn_dropconnect_dw(qn_graph *g, qn_node *x, qn_node *dy, double p,
                           const struct qn_random_params *params)
{
    return build(g, &qn_op_dropconnect_dw, x, dy, p, params);
}
