// Builders of normalisations from the rows of norm.c and pointwise ones.
// Knows no launches.
#include "op/norm.h"
#include "op/rules.h"

extern const struct qn_op qn_op_moments, qn_op_standardize, qn_op_batch_norm;

// A vector of the channels, [c], shaped so that it broadcasts along axis 1 of
// a tensor of `rank` dimensions; other shapes as they are.
static qn_node *along_channels(qn_graph *g, qn_node *v, int rank)
{
    qn_shape shape = {.rank = rank};
    if (!v || v->shape.rank != 1)
        return v;
    for (int i = 0; i < rank; i++)
        shape.dims[i] = i == 1 ? v->shape.dims[0] : 1;
    return qn_reshape(g, v, shape);
}

static qn_node *find_rstd(qn_graph *g, qn_node *variance, double eps)
{
    return qn_div(g, qn_constant(g, 1),
                  qn_sqrt(g, qn_add_scalar(g, variance, eps)));
}

static qn_node *apply_affine(qn_graph *g, qn_node *x, qn_node *gamma,
                             qn_node *beta)
{
    if (gamma)
        x = qn_mul(g, x, gamma);
    return beta ? qn_add(g, x, beta) : x;
}

static qn_status check_channels(qn_graph *g, const char *what,
                                const qn_node *x, const qn_node *v)
{
    if (!v || (x->shape.rank > 1 && v->shape.rank == 1 &&
               v->shape.dims[0] == x->shape.dims[1]))
        return QN_OK;
    char have[128], want[128];
    return qn_graph_fail(g, QN_BAD_SHAPE,
                         "%s: a parameter has shape %s; an input %s needs one "
                         "value a channel, dimension 1",
                         what, qn_shape_text(&v->shape, have, sizeof have),
                         qn_shape_text(&x->shape, want, sizeof want));
}

static qn_status check_eps(qn_graph *g, const char *what, double eps)
{
    if (eps >= 0 && eps <= 1e6)
        return QN_OK;
    return qn_graph_fail(g, QN_BAD_ARGUMENT, "%s: eps %g is not in [0, 1e6]",
                         what, eps);
}

// (x - mean) rstd [gamma + beta] with the moments of x
static qn_node *normalize(qn_graph *g, qn_node *moments, qn_node *gamma,
                          qn_node *beta, double eps)
{
    const bool is_affine = gamma && beta;
    qn_node *variance = qn_pair_member(g, moments, 1);
    qn_node *inputs[] = {moments->inputs[0], qn_pair_member(g, moments, 0),
                         find_rstd(g, variance, eps),
                         gamma, beta};
    const struct qn_op *op =
        is_affine ? &qn_op_batch_norm : &qn_op_standardize;
    qn_node *y = qn_node_create(g, op, inputs, is_affine ? 5 : 3, NULL,
                                moments->params, sizeof(struct qn_norm));
    return is_affine ? y : apply_affine(g, y, gamma, beta);
}

qn_node *qn_standardize(qn_graph *g, qn_node *x,
                        const struct qn_reduce_params *params, double eps)
{
    qn_node *moments = qn_moments(g, x, params);
    if (!moments || check_eps(g, "standardize", eps) != QN_OK)
        return NULL;
    return normalize(g, moments, NULL, NULL, eps);
}

qn_node *qn_channel_moments(qn_graph *g, qn_node *x)
{
    int axes[QN_MAX_RANK], count = 0;
    if (!qn_can_build(g, &qn_op_moments, &x, 1))
        return NULL;
    for (int i = 0; i < x->shape.rank; i++)
        if (i != 1)
            axes[count++] = i;
    if (x->shape.rank < 2) {
        qn_graph_fail(g, QN_BAD_SHAPE,
                      "channel_moments: the input has %d dimensions; needs "
                      "[n, channels, ...]",
                      x->shape.rank);
        return NULL;
    }
    return qn_moments(g, x, qn_reduce_params(.axes = axes,
                                             .axis_count = count));
}

qn_node *qn_batch_norm(qn_graph *g, qn_node *moments, qn_node *gamma,
                       qn_node *beta, double eps)
{
    const char *what = qn_op_batch_norm.name;
    if (!qn_can_build(g, &qn_op_batch_norm, &moments, 1) ||
        check_eps(g, what, eps) != QN_OK)
        return NULL;
    if (moments->op != &qn_op_moments) {
        qn_graph_fail(g, QN_BAD_ARGUMENT,
                      "%s: needs a result of qn_channel_moments, not of %s",
                      what, moments->op->name);
        return NULL;
    }
    const qn_node *x = moments->inputs[0];
    if (check_channels(g, what, x, gamma) != QN_OK ||
        check_channels(g, what, x, beta) != QN_OK)
        return NULL;
    return normalize(g, moments, along_channels(g, gamma, x->shape.rank),
                     along_channels(g, beta, x->shape.rank), eps);
}

qn_node *qn_normalize(qn_graph *g, qn_node *x, qn_node *mean,
                      qn_node *variance, qn_node *gamma, qn_node *beta,
                      double eps)
{
    qn_node *inputs[] = {x, mean, variance};
    const char *what = "normalize";
    if (!qn_can_build(g, &qn_op_batch_norm, inputs, 3) ||
        check_eps(g, what, eps) != QN_OK ||
        check_channels(g, what, x, mean) != QN_OK ||
        check_channels(g, what, x, variance) != QN_OK ||
        check_channels(g, what, x, gamma) != QN_OK ||
        check_channels(g, what, x, beta) != QN_OK)
        return NULL;
    const int rank = x->shape.rank;
    qn_node *rstd = along_channels(g, find_rstd(g, variance, eps), rank);
    qn_node *y =
        qn_mul(g, qn_sub(g, x, along_channels(g, mean, rank)), rstd);
    return apply_affine(g, y, along_channels(g, gamma, rank),
                        along_channels(g, beta, rank));
}

qn_node *qn_layer_norm(qn_graph *g, qn_node *x, int dims, qn_node *gamma,
                       qn_node *beta, double eps)
{
    int axes[QN_MAX_RANK];
    if (!qn_can_build(g, &qn_op_standardize, &x, 1))
        return NULL;
    if (dims < 1 || dims > x->shape.rank) {
        qn_graph_fail(g, QN_BAD_ARGUMENT,
                      "layer_norm: the last %d dimensions of %d; needs at "
                      "least 1 and has no more",
                      dims, x->shape.rank);
        return NULL;
    }
    for (int i = 0; i < dims; i++)
        axes[i] = i - dims;
    qn_node *y = qn_standardize(
        g, x, qn_reduce_params(.axes = axes, .axis_count = dims), eps);
    return apply_affine(g, y, gamma, beta);
}

qn_node *qn_group_norm(qn_graph *g, qn_node *x, int64_t groups, qn_node *gamma,
                       qn_node *beta, double eps)
{
    const char *what = "group_norm";
    if (!qn_can_build(g, &qn_op_standardize, &x, 1) ||
        check_channels(g, what, x, gamma) != QN_OK ||
        check_channels(g, what, x, beta) != QN_OK)
        return NULL;
    const qn_shape shape = x->shape;
    if (shape.rank < 2 || groups < 1 || shape.dims[1] % groups) {
        char text[128];
        qn_graph_fail(g, QN_BAD_ARGUMENT,
                      "group_norm: %lld groups do not divide dimension 1 of "
                      "shape %s",
                      (long long)groups,
                      qn_shape_text(&shape, text, sizeof text));
        return NULL;
    }
    const int last = 2;
    qn_node *y = qn_standardize(
        g, qn_reshape(g, x, qn_shape_of(shape.dims[0], groups, -1)),
        qn_reduce_params(.axes = &last, .axis_count = 1), eps);
    return apply_affine(g, qn_reshape(g, y, shape),
                        along_channels(g, gamma, shape.rank),
                        along_channels(g, beta, shape.rank));
}
