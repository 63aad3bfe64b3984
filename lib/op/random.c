// Random tensors: rows over cl/random.cl. A draw is a pure function of seed,
// step, its path and the element's index, so it is never stored but made anew
// in each kernel that reads it.
#include "op/rules.h"

#include <math.h>
#include <string.h>

#include "base/hash.h"

// What a draw needs beside p[0] and p[1].
struct random_shape {
    qn_shape shape;
};

static qn_status infer_random(struct qn_node *node)
{
    static const char *const names[] = {"seed", "step", "first sample"};
    const struct random_shape *params = node->params;
    for (int i = 0; i < 3; i++)
        if (!qn_node_is(node->inputs[i], QN_OP_LIVE))
            return qn_node_fail(node, QN_BAD_ARGUMENT,
                                "%s must be a qn_scalar, not %s", names[i],
                                node->inputs[i]->op->name);
    if (params->shape.rank < 0 || params->shape.rank > QN_MAX_RANK ||
        qn_shape_count(&params->shape) < 1)
        return qn_node_fail(node, QN_BAD_SHAPE,
                            "the shape needs 0 to %d dimensions of at least 1",
                            QN_MAX_RANK);
    node->shape = params->shape;
    node->dtype = node->graph->real;
    return QN_OK;
}

// x, y, z: seed, step and first sample as uint; p2, p3: the halves of the
// path's hash; p4: elements of a sample, 0 where the first one is always 0.
#define RANDOM                                                             \
    .min_inputs = 3, .max_inputs = 3, .infer = infer_random,               \
    .flags = QN_OP_INDEXED | QN_OP_RECOMPUTE | QN_OP_UINT_INPUTS |         \
             QN_OP_NO_GRAD,                                                \
    .include = "random", .param_count = 5

const struct qn_op qn_op_random_uniform = {
    .name = "random_uniform", .formula = "low + (high - low) u, u in (0, 1)",
    .source = "Salmon et al. 2011 (Philox)",
    .expr = "random_uniform(i + (ulong)z * p4, x, y, p0, p1, p2, p3)",
    RANDOM, .uint_params = 0x1C,
};
const struct qn_op qn_op_random_normal = {
    .name = "random_normal",
    .source = "Box and Muller 1958; Salmon et al. 2011",
    .formula = "mean + deviation n, n standard normal by Box-Muller",
    .expr = "random_normal(i + (ulong)z * p4, x, y, p0, p1, p2, p3)",
    RANDOM, .uint_params = 0x1C,
};
// p0 is an integer too: the largest word that gives a 1.
const struct qn_op qn_op_random_bernoulli = {
    .name = "random_bernoulli", .formula = "1 with probability p, else 0",
    .source = "Salmon et al. 2011 (Philox)",
    .expr = "random_bernoulli(i + (ulong)z * p4, x, y, p0, p1, p2, p3)",
    RANDOM, .uint_params = 0x1D,
};

static qn_node *make_draw(qn_graph *g, const struct qn_op *op, qn_shape shape,
                          double p0, double p1,
                          const struct qn_random_params *params)
{
    if (!g || g->error.status)
        return NULL;
    if (!params || !params->use) {
        qn_graph_fail(g, QN_BAD_ARGUMENT,
                      "%s: params must name the seed, the step and the use",
                      op->name);
        return NULL;
    }
    const int64_t count = qn_shape_count(&shape);
    const bool has_samples = shape.rank > 0 && count > 0;
    const int64_t sample =
        params->first && has_samples ? count / shape.dims[0] : 0;
    if (params->first && (!has_samples || sample > UINT32_MAX)) {
        qn_graph_fail(g, QN_BAD_SHAPE,
                      "%s: with a first sample, the first dimension counts "
                      "samples of at most 2^32 - 1 elements", op->name);
        return NULL;
    }
    const char *path = qn_graph_path(g, params->use);
    if (!path) {
        qn_graph_fail(g, QN_NO_MEMORY, "%s: out of memory", op->name);
        return NULL;
    }
    const uint64_t key = qn_fnv1a(path, strlen(path));
    const double p[] = {p0, p1, (double)(uint32_t)key,
                        (double)(uint32_t)(key >> 32), (double)sample};
    struct qn_node *inputs[] = {params->seed, params->step,
                                params->first ? params->first : params->step};
    const struct random_shape extra = {shape};
    return qn_node_create(g, op, inputs, 3, p, &extra, sizeof extra);
}

qn_node *qn_random_uniform(qn_graph *g, qn_shape shape, double low,
                           double high, const struct qn_random_params *params)
{
    if (g && !(low <= high && isfinite(high - low))) {
        qn_graph_fail(g, QN_BAD_ARGUMENT,
                      "random_uniform: (%g, %g) is no finite interval", low,
                      high);
        return NULL;
    }
    return make_draw(g, &qn_op_random_uniform, shape, low, high - low, params);
}

qn_node *qn_random_normal(qn_graph *g, qn_shape shape, double mean,
                          double deviation,
                          const struct qn_random_params *params)
{
    if (g && !(isfinite(mean) && deviation >= 0 && isfinite(deviation))) {
        qn_graph_fail(g, QN_BAD_ARGUMENT,
                      "random_normal: mean %g and deviation %g must be finite, "
                      "the deviation not negative",
                      mean, deviation);
        return NULL;
    }
    return make_draw(g, &qn_op_random_normal, shape, mean, deviation, params);
}

// The probability is rounded to a multiple of 2^-32.
qn_node *qn_random_bernoulli(qn_graph *g, qn_shape shape, double p,
                             const struct qn_random_params *params)
{
    if (g && !(p >= 0 && p <= 1)) {
        qn_graph_fail(g, QN_BAD_ARGUMENT,
                      "random_bernoulli: the probability %g is not in [0, 1]",
                      p);
        return NULL;
    }
    const double ones = floor(p * 0x1p32 + 0.5); // of 2^32 words
    return make_draw(g, &qn_op_random_bernoulli, shape,
                     ones > 0 ? ones - 1 : 0, ones > 0 ? 1 : 0, params);
}
