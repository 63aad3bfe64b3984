// Convolution: the launches that carry it out. Knows no device, only its
// limits.
#include "op/conv.h"

static void add_geometry(struct qn_launch *launch, const struct qn_node *node)
{
    const struct qn_conv *conv = node->params;
    const struct qn_conv_counts counts = qn_conv_counts_of(node);
    qn_launch_int(launch, counts.images);
    qn_launch_int(launch, conv->groups);
    qn_launch_int(launch, counts.large / conv->groups);
    qn_launch_int(launch, counts.small / conv->groups);
    const int64_t *const pairs[] = {conv->large,  conv->small, conv->kernel,
                                    conv->stride, conv->low, conv->dilation};
    for (int i = 0; i < 6; i++) {
        qn_launch_int(launch, pairs[i][0]);
        qn_launch_int(launch, pairs[i][1]);
    }
}

static void count_work(struct qn_launch *launch, const struct qn_node *node)
{
    const struct qn_conv *conv = node->params;
    const struct qn_conv_counts counts = qn_conv_counts_of(node);
    launch->is_heavy = true;
    launch->flops = 2.0 * (double)(counts.images * counts.large) *
                    (double)(counts.small / conv->groups) *
                    (double)(conv->small[0] * conv->small[1]) *
                    (double)(conv->kernel[0] * conv->kernel[1]);
    launch->bytes = (double)(qn_node_size(node) +
                             qn_node_size(node->inputs[0]) +
                             qn_node_size(node->inputs[1]));
}

static void describe_simple(const struct qn_node *node,
                            const struct qn_limits *limits,
                            struct qn_work *work)
{
    static const char *const kernels[] = {"conv", "conv_transpose",
                                          "conv_weights"};
    const bool is_cpu = limits->variant == QN_VARIANT_CPU;
    const int64_t total = qn_node_count(node);
    const int64_t span = is_cpu ? 64 : 1;
    const int64_t group = is_cpu ? 1 : qn_group_size(limits, 256);
    struct qn_launch *launch = qn_work_add(
        work, "conv", kernels[qn_conv_kind_of(node)], node->dtype);
    qn_launch_buffer(launch, QN_OPERAND_IN);
    qn_launch_buffer(launch, QN_OPERAND_IN + 1);
    qn_launch_buffer(launch, QN_OPERAND_OUT);
    qn_launch_long(launch, total);
    qn_launch_int(launch, span);
    add_geometry(launch, node);
    count_work(launch, node);
    qn_launch_grid(launch, (size_t)qn_divide_up(total, span * group), 1, 1,
                   (size_t)group, 1);
}

const struct qn_candidate qn_conv_candidates[] = {
    {"cpu", qn_fits_cpu, describe_simple},
    {"gpu", qn_fits_gpu, describe_simple},
    {0},
};
