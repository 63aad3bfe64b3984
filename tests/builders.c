// The builder of each row behind one signature, so that cases are data.
#include <string.h>

#include "cases.h"
#include "op/conv.h"
#include "op/norm.h"
#include "op/op.h"
#include "op/table.h"

// Builds qn_<row>(g, ...), with `in`, `count` and `p` at hand.
#define BUILDER(row, ...)                                                  \
    static qn_node *build_##row(qn_graph *g, qn_node *const *in, int count, \
                                const struct ref_params *p)                \
    {                                                                      \
        (void)count, (void)p;                                              \
        return qn_##row(g, __VA_ARGS__);                                   \
    }

#define qn_cast_int32 qn_cast
#define qn_cast_real qn_cast
#define REDUCTION &(struct qn_reduce_params){p->axes, p->axis_count, p->keep}

#define SHAPE_OF(p) lib_shape(&(p)->shape)
#define DRAW DRAW_AFTER(0)
#define DRAW_AFTER(i) \
    &(struct qn_random_params){in[i], in[(i) + 1], p->path}

#define PAIR(name) .name = {p->name[0], p->name[1]}
#define CONV                                                               \
    PAIR(stride), PAIR(low), PAIR(high), PAIR(dilation), .groups = p->groups

#define REAL qn_node_dtype(qn_constant(g, 0))

// A row that has no builder of its own.
static const struct qn_op *row_named(const char *name)
{
    int row = 0;
    while (strcmp(qn_ops[row]->name, name) != 0)
        row++;
    return qn_ops[row];
}

static qn_node *qn_softmax_cross_entropy_grad(qn_graph *g,
                                              qn_node *const *in)
{
    return qn_node_create(g, row_named("softmax_cross_entropy_grad"), in, 3,
                          NULL, NULL, 0);
}

static qn_node *qn_conv2d_weight_grad(qn_graph *g, qn_node *const *in,
                                      const struct ref_params *p)
{
    struct qn_conv conv = {.groups = p->groups};
    for (int i = 0; i < 2; i++) {
        conv.stride[i] = p->stride[i];
        conv.low[i] = p->low[i];
        conv.high[i] = p->high[i];
        conv.dilation[i] = p->dilation[i];
        conv.kernel[i] = p->shape.dims[2 + i];
        conv.large[i] = in[0]->shape.dims[2 + i];
        conv.small[i] = in[1]->shape.dims[2 + i];
    }
    return qn_node_create(g, row_named("conv2d_weight_grad"), in, 2, NULL,
                          &conv, sizeof conv);
}

static unsigned axes_of(const struct ref_params *p)
{
    unsigned axes = 0;
    for (int i = 0; i < p->axis_count; i++)
        axes |= 1u << p->axes[i];
    return axes;
}

#define GIVEN(i) (count > (i) ? in[i] : NULL)

#define WINDOWS                                                            \
    &(struct qn_pool_params)                                               \
    {                                                                      \
        .kernel = {p->kernel[0], p->kernel[1], p->kernel[2]},              \
        .stride = {p->stride[0], p->stride[1], p->stride[2]},              \
        .dilation = {p->dilation[0], p->dilation[1], p->dilation[2]},      \
        .low = {p->low[0], p->low[1], p->low[2]},                          \
        .high = {p->high[0], p->high[1], p->high[2]},                      \
        .ceil_mode = p->ceil_mode, .exclude_pad = p->exclude_pad,          \
    }

// The gradients of poolings, as rows of their own.
static qn_node *qn_max_pool_grad(qn_graph *g, qn_node *const *in,
                                 const struct qn_pool_params *params)
{
    qn_node *pool = qn_max_pool(g, in[0], params);
    return pool ? pool->op->grad(g, pool, in[1], 0) : NULL;
}
static qn_node *qn_avg_pool_grad(qn_graph *g, qn_node *const *in,
                                 const struct qn_pool_params *params)
{
    qn_node *pool = qn_avg_pool(g, in[0], params);
    return pool ? pool->op->grad(g, pool, in[1], 0) : NULL;
}

static qn_node *qn_resample(qn_graph *g, qn_node *x,
                            const struct ref_params *p)
{
    const int64_t *size = p->shape.dims;
    return p->mode == 0
               ? qn_upsample_nearest(g, x, size[0], size[1])
               : qn_upsample_bilinear(g, x, size[0], size[1], p->mode == 2);
}
static qn_node *qn_resample_grad(qn_graph *g, qn_node *const *in,
                                 const struct ref_params *p)
{
    qn_node *y = qn_resample(g, in[0], p);
    return y ? y->op->grad(g, y, in[1], 0) : NULL;
}

// Of tables, all by p: p[0] random, p[1] overlapping.
#define REGIONS_OF(p) p->count, p->shape.dims[0], p->p[0] != 0, p->p[1] != 0
static qn_node *qn_region_max_grad(qn_graph *g, qn_node *const *in)
{
    qn_node *y = qn_region_max(g, in[0], in[1], in[2]);
    return y ? y->op->grad(g, y, in[3], 0) : NULL;
}
static qn_node *qn_region_mean_grad(qn_graph *g, qn_node *const *in)
{
    qn_node *y = qn_region_mean(g, in[0], in[1], in[2]);
    return y ? y->op->grad(g, y, in[3], 0) : NULL;
}
static qn_node *qn_fractional_max_pool_by(qn_graph *g, qn_node *const *in,
                                          int count,
                                          const struct ref_params *p)
{
    struct qn_fractional_params params = {
        .size = {p->shape.dims[0], p->shape.dims[1]},
        .pseudo = p->p[0] == 0, .overlapping = p->p[1] != 0};
    if (count == 3)
        params.draw = (struct qn_random_params){in[1], in[2], p->path};
    return (qn_fractional_max_pool)(g, in[0], &params);
}
#undef qn_fractional_max_pool
#define qn_fractional_max_pool qn_fractional_max_pool_by

#define BUILDERS(X)                                                        \
    X(add, in[0], in[1])                                                   \
    X(sub, in[0], in[1])                                                   \
    X(mul, in[0], in[1])                                                   \
    X(div, in[0], in[1])                                                   \
    X(pow, in[0], in[1])                                                   \
    X(max, in[0], in[1])                                                   \
    X(min, in[0], in[1])                                                   \
    X(neg, in[0])                                                          \
    X(abs, in[0])                                                          \
    X(exp, in[0])                                                          \
    X(log, in[0])                                                          \
    X(sqrt, in[0])                                                         \
    X(square, in[0])                                                       \
    X(add_scalar, in[0], p->p[0])                                          \
    X(scale, in[0], p->p[0])                                               \
    X(clamp, in[0], p->p[0], p->p[1])                                      \
    X(equal, in[0], in[1])                                                 \
    X(not_equal, in[0], in[1])                                             \
    X(less, in[0], in[1])                                                  \
    X(less_equal, in[0], in[1])                                            \
    X(greater, in[0], in[1])                                               \
    X(greater_equal, in[0], in[1])                                         \
    X(select, in[0], in[1], in[2])                                         \
    X(relu, in[0])                                                         \
    X(sigmoid, in[0])                                                      \
    X(tanh, in[0])                                                         \
    X(leaky_relu, in[0], p->p[0])                                          \
    X(prelu, in[0], in[1])                                                 \
    X(hard_tanh, in[0], p->p[0], p->p[1])                                  \
    X(elu, in[0], p->p[0])                                                 \
    X(relu6, in[0])                                                        \
    X(selu, in[0])                                                         \
    X(softplus, in[0])                                                     \
    X(softsign, in[0])                                                     \
    X(normal_cdf, in[0])                                                   \
    X(gelu, in[0])                                                         \
    X(gelu_tanh, in[0])                                                    \
    X(silu, in[0])                                                         \
    X(mish, in[0])                                                         \
    X(maxout, in[0], (int)p->count)                                        \
    X(relu_gate, in[0], in[1])                                             \
    X(cast_int32, in[0], QN_INT32)                                         \
    X(cast_real, in[0], REAL)                                              \
    X(sum, in[0], REDUCTION)                                               \
    X(mean, in[0], REDUCTION)                                              \
    X(reduce_max, in[0], REDUCTION)                                        \
    X(sum_to, in[0], SHAPE_OF(p))                                          \
    X(moments, in[0], REDUCTION)                                           \
    X(norm_sums, in, axes_of(p))                                           \
    X(standardize, in[0], REDUCTION, p->p[0])                              \
    X(batch_norm, qn_channel_moments(g, in[0]), GIVEN(1), GIVEN(2),        \
      p->p[0])                                                             \
    X(normalize, in[0], in[1], in[2], GIVEN(3), GIVEN(4), p->p[0])         \
    X(layer_norm, in[0], (int)p->count, GIVEN(1), GIVEN(2), p->p[0])       \
    X(group_norm, in[0], p->count, GIVEN(1), GIVEN(2), p->p[0])            \
    X(max_pool, in[0], WINDOWS)                                            \
    X(max_pool_index, in[0], WINDOWS)                                      \
    X(max_pool_grad, in, WINDOWS)                                          \
    X(avg_pool, in[0], WINDOWS)                                            \
    X(avg_pool_grad, in, WINDOWS)                                          \
    X(resample, in[0], p)                                                  \
    X(resample_grad, in, p)                                                \
    X(fractional_regions, in[0], REGIONS_OF(p))                            \
    X(region_max, in[0], in[1], in[2])                                     \
    X(region_max_grad, in)                                                 \
    X(region_mean, in[0], in[1], in[2])                                    \
    X(region_mean_grad, in)                                                \
    X(fractional_max_pool, in, count, p)                                   \
    X(adaptive_avg_pool, in[0], p->shape.dims[0], p->shape.dims[1])        \
    X(reshape, in[0], SHAPE_OF(p))                                         \
    X(transpose, in[0], p->order)                                          \
    X(broadcast_to, in[0], SHAPE_OF(p))                                    \
    X(slice, in[0], p->axis, p->start, p->stop, p->step)                   \
    X(pad, in[0], p->low, p->high, p->inner)                               \
    X(concat, in, count, p->axis)                                          \
    X(matmul, in[0], in[1],                                                \
      &(struct qn_matmul_params){p->trans_a, p->trans_b})                  \
    X(conv2d, in[0], in[1], &(struct qn_conv2d_params){CONV})              \
    X(conv_transpose2d, in[0], in[1],                                      \
      &(struct qn_conv_transpose2d_params){CONV, PAIR(output_padding)})    \
    X(conv2d_weight_grad, in, p)                                           \
    X(softmax, in[0], p->axis)                                             \
    X(log_softmax, in[0], p->axis)                                         \
    X(softmax_cross_entropy, in[0], in[1])                                 \
    X(softmax_cross_entropy_grad, in)                                      \
    X(pack, in, count)                                                     \
    X(one_hot, in[0], p->count)                                            \
    X(argmax, in[0], p->axis)                                              \
    X(take, in[0], in[1], in[2], p->count)                                 \
    X(random_uniform, SHAPE_OF(p), p->p[0], p->p[1], DRAW)                 \
    X(random_normal, SHAPE_OF(p), p->p[0], p->p[1], DRAW)                  \
    X(dropconnect, in[0], in[1], p->p[0], DRAW_AFTER(2))                   \
    X(dropconnect_dx, in[0], in[1], p->p[0], DRAW_AFTER(2))                \
    X(dropconnect_dw, in[0], in[1], p->p[0], DRAW_AFTER(2))                \
    X(random_bernoulli, SHAPE_OF(p), p->p[0], DRAW)

BUILDERS(BUILDER)

build_function *build_find(const char *name)
{
    static const struct {
        const char *name;
        build_function *build;
    } rows[] = {
#define MEMBER(row, ...) {#row, build_##row},
        BUILDERS(MEMBER)};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].name, name) == 0)
            return rows[i].build;
    return NULL;
}
