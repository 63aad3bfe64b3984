// The launch of a chain: its arguments in the order of the text's parameters
// (chain.c), and the grid of cl/pointwise.cl.
#include "plan/plan.h"

// Elements that a CPU work-item walks: large enough to hide the launch, small
// enough to share among cores. 64 KiB of floats.
enum { SPAN = 16384, GPU_GROUP = 128 };

static void add_external_arg(const struct external *x,
                             struct qn_launch *launch, int operand)
{
    if (!x->is_value)
        qn_launch_buffer(launch, operand);
    else if (x->live >= 0 && x->is_uint)
        qn_launch_live_uint(launch, operand);
    else if (x->live >= 0)
        qn_launch_live(launch, operand);
    else if (x->is_uint)
        qn_launch_uint(launch, (uint32_t)x->constant);
    else
        qn_launch_real(launch, x->constant);
    int64_t inner = inner_stride(x);
    if (qn_external_is_strided(x) && inner > 1)
        qn_launch_long(launch, inner);
}

static void add_node_args(const struct chain *chain, struct qn_launch *launch)
{
    for (int n = 0; n < chain->node_count; n++) {
        const struct qn_node *node = chain->nodes[n];
        for (int k = 0; k < node->op->param_count; k++) {
            if (node->op->uint_params >> k & 1)
                qn_launch_uint(launch, (uint32_t)node->p[k]);
            else
                qn_launch_real(launch, node->p[k]);
        }
    }
}

void qn_chain_args(const struct chain *chain, struct qn_launch *launch,
                   int first_operand)
{
    for (int e = 0; e < chain->external_count; e++)
        add_external_arg(&chain->externals[e], launch, first_operand + e);
    add_node_args(chain, launch);
    for (int e = 0; e < chain->external_count; e++) {
        const struct external *x = &chain->externals[e];
        bool strided = qn_external_is_strided(x);
        if (strided || (!x->is_value && x->layout.offset))
            qn_launch_long(launch, x->layout.offset);
        for (int d = 0; strided && d + 1 < chain->space.rank; d++)
            qn_launch_long(launch, x->layout.strides[d]);
    }
    for (int d = 1; d + 1 < chain->space.rank; d++)
        qn_launch_long(launch, chain->space.dims[d]);
}

static double count_bytes(const struct chain *chain, int64_t n)
{
    double bytes =
        (double)n * (double)qn_dtype_size(chain->root->dtype);
    for (int e = 0; e < chain->external_count; e++)
        if (!chain->externals[e].is_value)
            bytes += (double)qn_node_size(chain->externals[e].node);
    return bytes;
}

void qn_chain_launch(const struct qn_plan *plan, const struct chain *chain,
                     struct qn_work *work)
{
    bool is_integer_copy = chain->node_count == 0 &&
                           chain->root->dtype != plan->graph->real;
    struct qn_launch *launch =
        qn_work_add(work, "pointwise", "pointwise",
                    is_integer_copy ? QN_FLOAT32 : plan->graph->real);
    if (is_integer_copy)
        qn_launch_define(launch, "REAL_IS_INT", 1);
    launch->label = "pointwise";
    launch->text = chain->text;
    launch->include = chain->include;
    qn_chain_args(chain, launch, QN_OPERAND_IN);
    qn_launch_buffer(launch, QN_OPERAND_OUT);
    int64_t n = qn_node_count(chain->root);
    qn_launch_long(launch, n);
    qn_launch_long(launch, chain->space.dims[chain->space.rank - 1]);
    qn_launch_long(launch, SPAN);
    launch->flops = (double)n * chain->node_count;
    launch->bytes = count_bytes(chain, n);
    bool is_cpu = plan->limits->variant == QN_VARIANT_CPU;
    int64_t group = plan->limits->max_group_size < GPU_GROUP
                        ? plan->limits->max_group_size
                        : GPU_GROUP;
    int64_t share = is_cpu ? SPAN : group;
    qn_launch_grid(launch, (size_t)((n + share - 1) / share), 1, 1,
                   is_cpu ? 1 : (size_t)group, 1);
}
