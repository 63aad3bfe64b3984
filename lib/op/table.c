// The list of all rows: the one place that names them together. Knows nothing
// of what they do. A new operation adds one line here.
#include "op/table.h"

#include "quern/op.h"

#define ROWS(X)                                                            \
    /* graph/leaf.c */                                                     \
    X(input)                                                               \
    X(scalar)                                                              \
    X(constant)                                                            \
    X(constant_data)                                                       \
    X(variable)                                                            \
    X(group)                                                               \
    /* pointwise.c */                                                      \
    X(add)                                                                 \
    X(sub)                                                                 \
    X(mul)                                                                 \
    X(div)                                                                 \
    X(pow)                                                                 \
    X(max)                                                                 \
    X(min)                                                                 \
    X(neg)                                                                 \
    X(abs)                                                                 \
    X(exp)                                                                 \
    X(log)                                                                 \
    X(sqrt)                                                                \
    X(square)                                                              \
    X(add_scalar)                                                          \
    X(scale)                                                               \
    X(clamp)                                                               \
    /* compare.c */                                                        \
    X(equal)                                                               \
    X(not_equal)                                                           \
    X(less)                                                                \
    X(less_equal)                                                          \
    X(greater)                                                             \
    X(greater_equal)                                                       \
    X(select)                                                              \
    X(cast_int32)                                                          \
    X(cast_real)                                                           \
    /* activation.c */                                                     \
    X(relu)                                                                \
    X(sigmoid)                                                             \
    X(tanh)                                                                \
    X(leaky_relu)                                                          \
    X(prelu)                                                               \
    X(hard_tanh)                                                           \
    X(relu_gate)                                                           \
    /* smooth.c */                                                         \
    X(elu)                                                                 \
    X(selu)                                                                \
    X(softplus)                                                            \
    X(softsign)                                                            \
    X(normal_cdf)                                                          \
    X(gelu)                                                                \
    X(gelu_tanh)                                                           \
    X(silu)                                                                \
    X(mish)                                                                \
    /* reduce.c */                                                         \
    X(sum)                                                                 \
    X(mean)                                                                \
    X(reduce_max)                                                          \
    /* view.c */                                                           \
    X(reshape)                                                             \
    X(transpose)                                                           \
    X(broadcast_to)                                                        \
    X(slice)                                                               \
    /* move.c */                                                           \
    X(pad)                                                                 \
    X(concat)                                                              \
    X(pack)                                                                \
    /* matmul.c */                                                         \
    X(matmul)                                                              \
    /* norm.c */                                                            \
    X(moments)                                                             \
    X(norm_sums)                                                           \
    X(standardize)                                                         \
    X(batch_norm)                                                          \
    /* conv.c */                                                           \
    X(conv2d)                                                              \
    X(conv_transpose2d)                                                    \
    X(conv2d_weight_grad)                                                  \
    /* pool.c */                                                            \
    X(max_pool)                                                            \
    X(max_pool_index)                                                      \
    X(max_pool_grad)                                                       \
    X(avg_pool)                                                            \
    X(avg_pool_grad)                                                       \
    /* resample.c */                                                        \
    X(resample)                                                            \
    X(resample_grad)                                                       \
    /* regions.c */                                                         \
    X(fractional_regions)                                                  \
    X(region_max)                                                          \
    X(region_max_grad)                                                     \
    X(region_mean)                                                         \
    X(region_mean_grad)                                                    \
    /* softmax.c */                                                        \
    X(softmax)                                                             \
    X(log_softmax)                                                         \
    X(softmax_cross_entropy)                                               \
    X(softmax_cross_entropy_grad)                                          \
    /* index.c */                                                          \
    X(one_hot)                                                             \
    X(argmax)                                                              \
    X(take)                                                                \
    /* random.c */                                                         \
    X(random_uniform)                                                      \
    X(random_normal)                                                       \
    X(random_bernoulli)                                                    \
    /* dropconnect.c */                                                    \
    X(dropconnect)                                                         \
    X(dropconnect_dx)                                                      \
    X(dropconnect_dw)                                                      \
    /* state.c */                                                          \
    X(assign)                                                              \
    /* update.c */                                                         \
    X(gradient_norms)                                                      \
    X(update)

#define DECLARE(row) extern const struct qn_op qn_op_##row;
ROWS(DECLARE)

#define POINT_TO(row) &qn_op_##row,
const struct qn_op *const qn_ops[] = {ROWS(POINT_TO) NULL};

int qn_op_describe(int index, qn_op_info *info)
{
    const int count = (int)(sizeof qn_ops / sizeof *qn_ops) - 1;
    if (index < 0 || index >= count)
        return 0;
    const struct qn_op *op = qn_ops[index];
    *info = (qn_op_info){
        .name = op->name,
        .formula = op->formula,
        .source = op->source ? op->source : "definition",
        .kind = qn_op_kind(op),
        .has_gradient = op->grad != NULL,
    };
    return 1;
}
