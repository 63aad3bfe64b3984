// The row that updates parameters: one launch over a flat group. Which rule it
// follows is the name of a kernel; rules live in lib/nn/optimizer.c and
// cl/optim.cl, and this file knows none of them.
#include "op/update.h"

enum {
    IN_GRADIENT,
    IN_LR,
    IN_STEP,
    IN_PENALTY,
    IN_PARAMETERS,
    IN_SLOTS,
    MAX_INPUTS = IN_SLOTS + QN_MAX_UPDATE_SLOTS,
    // Spans of the CPU variant are multiples of this and at most 4 a core,
    // enough for an even load.
    PENALTY_COLUMNS = 3,
    SPAN_ALIGN = 1024,
    SPANS_PER_UNIT = 4,
    GROUP_SIZE = 256,
};

static bool has_penalty(const struct qn_node *node)
{
    return node->inputs[IN_PENALTY]->shape.rank != 0;
}

// A row of coefficients for each block of the gradient.
static qn_status check_penalty(struct qn_node *node)
{
    const struct qn_node *gradient = node->inputs[IN_GRADIENT];
    const struct qn_node *penalty = node->inputs[IN_PENALTY];
    const int64_t blocks = (int64_t)qn_node_size(gradient) / QN_GROUP_ALIGN;
    const qn_shape want = {2, {blocks, PENALTY_COLUMNS}};
    if (!has_penalty(node) || (penalty->dtype == gradient->dtype &&
                               qn_shape_equal(&penalty->shape, &want)))
        return QN_OK;
    return qn_node_fail(node, QN_BAD_SHAPE,
                        "the penalties are not %s [%lld, %d]",
                        qn_dtype_name(gradient->dtype), (long long)blocks,
                        PENALTY_COLUMNS);
}

static qn_status infer(struct qn_node *node)
{
    const struct qn_node *gradient = node->inputs[IN_GRADIENT];
    for (int i = IN_PARAMETERS; i < node->input_count; i++) {
        const struct qn_node *state = node->inputs[i];
        char have[128], want[128];
        if (!qn_node_is(state, QN_OP_STATE))
            return qn_node_fail(node, QN_BAD_ARGUMENT,
                                "input %d is no state of a store", i);
        if (state->dtype != gradient->dtype ||
            !qn_shape_equal(&state->shape, &gradient->shape))
            return qn_node_fail(
                node, QN_BAD_SHAPE, "group \"%s\" is %s %s, the gradient %s %s",
                state->name, qn_dtype_name(state->dtype),
                qn_shape_text(&state->shape, have, sizeof have),
                qn_dtype_name(gradient->dtype),
                qn_shape_text(&gradient->shape, want, sizeof want));
    }
    for (int i = IN_LR; i <= IN_STEP; i++)
        if (!qn_node_is(node->inputs[i], QN_OP_LIVE))
            return qn_node_fail(node, QN_BAD_ARGUMENT,
                                "the %s is not made by qn_scalar",
                                i == IN_LR ? "learning rate" : "step");
    QN_TRY(check_penalty(node));
    node->dtype = gradient->dtype;
    node->shape = (qn_shape){0};
    return QN_OK;
}

// The arguments that both variants begin with.
static struct qn_launch *add_launch(const struct qn_node *node,
                                    struct qn_work *work)
{
    const struct qn_update_params *params = node->params;
    const struct qn_node *gradient = node->inputs[IN_GRADIENT];
    struct qn_launch *launch =
        qn_work_add(work, "optim", params->kernel, gradient->dtype);
    qn_launch_buffer(launch, QN_OPERAND_IN + IN_GRADIENT);
    qn_launch_live(launch, QN_OPERAND_IN + IN_LR);
    qn_launch_live(launch, QN_OPERAND_IN + IN_STEP);
    if (has_penalty(node)) {
        qn_launch_define(launch, "PENALTY", 1);
        qn_launch_buffer(launch, QN_OPERAND_IN + IN_PENALTY);
    }
    for (int i = IN_PARAMETERS; i < node->input_count; i++)
        qn_launch_buffer(launch, QN_OPERAND_IN + i);
    for (int i = 0; i < params->constant_count; i++)
        qn_launch_real(launch, params->constants[i]);
    qn_launch_long(launch, qn_node_count(gradient));
    // The gradient is read; each state is read and written.
    int passes = 1 + 2 * (node->input_count - IN_PARAMETERS);
    launch->bytes = (double)passes * (double)qn_node_size(gradient);
    return launch;
}

static bool fits_cpu(const struct qn_node *node,
                     const struct qn_limits *limits)
{
    (void)node;
    return limits->variant == QN_VARIANT_CPU;
}

static void describe_cpu(const struct qn_node *node,
                         const struct qn_limits *limits, struct qn_work *work)
{
    int64_t count = qn_node_count(node->inputs[IN_GRADIENT]);
    int64_t spans = (int64_t)limits->compute_units * SPANS_PER_UNIT;
    int64_t span = (count + spans - 1) / spans;
    span = (span + SPAN_ALIGN - 1) / SPAN_ALIGN * SPAN_ALIGN;
    struct qn_launch *launch = add_launch(node, work);
    qn_launch_long(launch, span);
    qn_launch_grid(launch, (size_t)((count + span - 1) / span), 1, 1, 1, 1);
}

static bool fits_gpu(const struct qn_node *node,
                     const struct qn_limits *limits)
{
    (void)node;
    return limits->variant == QN_VARIANT_GPU;
}

static void describe_gpu(const struct qn_node *node,
                         const struct qn_limits *limits, struct qn_work *work)
{
    int64_t count = qn_node_count(node->inputs[IN_GRADIENT]);
    int64_t local = limits->max_group_size < GROUP_SIZE
                        ? limits->max_group_size
                        : GROUP_SIZE;
    struct qn_launch *launch = add_launch(node, work);
    qn_launch_long(launch, 1);
    qn_launch_grid(launch, (size_t)((count + local - 1) / local), 1, 1,
                   (size_t)local, 1);
}

static const struct qn_candidate candidates[] = {
    {"cpu", fits_cpu, describe_cpu},
    {"gpu", fits_gpu, describe_gpu},
    {0},
};

const struct qn_op qn_op_update = {
    .name = "update",
    .source = "quern list optimizers",
    .formula = "parameters, slots = rule(gradient, parameters, slots, lr, "
               "step, penalty)",
    .min_inputs = IN_SLOTS,
    .max_inputs = MAX_INPUTS,
    .flags = QN_OP_NO_GRAD,
    .infer = infer,
    .candidates = candidates,
    .writes = ~0u << IN_PARAMETERS,
};

struct qn_node *qn_update(struct qn_graph *g, struct qn_node *gradient,
                          struct qn_node *lr, struct qn_node *step,
                          struct qn_node *penalty, struct qn_node *parameters,
                          struct qn_node *const *slots, int slot_count,
                          const struct qn_update_params *params)
{
    struct qn_node *inputs[MAX_INPUTS] = {gradient, lr, step, penalty, parameters};
    if (slot_count > QN_MAX_UPDATE_SLOTS ||
        params->constant_count > QN_MAX_UPDATE_CONSTANTS) {
        qn_graph_fail(g, QN_BAD_ARGUMENT, "update by %s: too many %s",
                      params->kernel,
                      slot_count > QN_MAX_UPDATE_SLOTS ? "slots"
                                                       : "constants");
        return NULL;
    }
    for (int i = 0; i < slot_count; i++)
        inputs[IN_SLOTS + i] = slots[i];
    return qn_node_create(g, &qn_op_update, inputs, IN_SLOTS + slot_count,
                          NULL, params, sizeof *params);
}
