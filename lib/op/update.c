// The row that updates parameters: one launch over all of them, and one over
// those units whose norm is bounded. Which rule it follows is a kernel's name;
// rules live in lib/nn/optimizer_table.c and cl/optim.cl; this file knows none.
#include "op/update.h"

#include "op/rules.h"

enum {
    IN_GRADIENT,
    IN_CHUNKS,
    IN_TENSORS,
    IN_COEFFICIENTS,
    IN_NORMS,
    IN_GATE,
    IN_UNITS,
    IN_LR,
    IN_STEP,
    IN_AVERAGE_RATE,
    IN_CONSTANTS,
    IN_PARAMETERS = IN_CONSTANTS + QN_MAX_UPDATE_CONSTANTS,
    IN_SLOTS, // then average, lookahead, watch, as far as there are any
    MAX_INPUTS = IN_SLOTS + QN_MAX_UPDATE_SLOTS + 3,
    // Work-items of the CPU variant for each core: enough for an even load.
    ITEMS_PER_UNIT = 4,
    GROUP_SIZE = 256,
};
_Static_assert((int)MAX_INPUTS <= 32, "`writes` has a bit for each input");

// An optional input before the states; what is not there is the constant 0.
static bool has(const struct qn_node *node, int i)
{
    return !qn_node_is(node->inputs[i], QN_OP_CONSTANT);
}

static int average_at(const struct qn_update_params *params)
{
    return IN_SLOTS + params->slot_count;
}

static int ahead_at(const struct qn_update_params *params)
{
    return average_at(params) + params->has_average;
}

static int watch_at(const struct qn_update_params *params)
{
    return ahead_at(params) + params->has_lookahead;
}

static int64_t chunk_count(const struct qn_node *node)
{
    return node->inputs[IN_CHUNKS]->shape.dims[0];
}

// ---- checks ----

static qn_status check_table(struct qn_node *node, int i, qn_dtype dtype,
                             int64_t columns)
{
    const struct qn_node *table = node->inputs[i];
    if (table->dtype == dtype && table->shape.rank == 2 &&
        table->shape.dims[1] == columns)
        return QN_OK;
    return qn_node_fail(node, QN_BAD_SHAPE, "input %d is not %s [n, %lld]", i,
                        qn_dtype_name(dtype), (long long)columns);
}

static qn_status check_state(struct qn_node *node, int i)
{
    const struct qn_node *state = node->inputs[i];
    const struct qn_node *parameters = node->inputs[IN_PARAMETERS];
    char have[128], want[128];
    if (!qn_node_is(state, QN_OP_STATE))
        return qn_node_fail(node, QN_BAD_ARGUMENT,
                            "input %d is no state of a store", i);
    if (state->dtype == parameters->dtype &&
        qn_shape_equal(&state->shape, &parameters->shape))
        return QN_OK;
    return qn_node_fail(
        node, QN_BAD_SHAPE, "group \"%s\" is %s %s, the parameters %s %s",
        state->name, qn_dtype_name(state->dtype),
        qn_shape_text(&state->shape, have, sizeof have),
        qn_dtype_name(parameters->dtype),
        qn_shape_text(&parameters->shape, want, sizeof want));
}

static qn_status check_watch(struct qn_node *node, int i)
{
    const struct qn_node *watch = node->inputs[i];
    if (qn_node_is(watch, QN_OP_STATE) && watch->dtype == QN_INT32 &&
        qn_node_count(watch) == chunk_count(node) + 1)
        return QN_OK;
    return qn_node_fail(node, QN_BAD_SHAPE,
                        "the watch is no int32 [%lld] in a store",
                        (long long)chunk_count(node) + 1);
}

static qn_status check_scalars(struct qn_node *node)
{
    const struct qn_update_params *params = node->params;
    for (int i = IN_LR; i < IN_CONSTANTS + params->constant_count; i++)
        if (!qn_node_is(node->inputs[i], QN_OP_LIVE) &&
            (i != IN_AVERAGE_RATE || params->has_average))
            return qn_node_fail(node, QN_BAD_ARGUMENT,
                                "input %d is not made by qn_scalar", i);
    if (has(node, IN_GATE) && (qn_node_count(node->inputs[IN_GATE]) != 1 ||
                               node->inputs[IN_GATE]->dtype !=
                                   node->inputs[IN_GRADIENT]->dtype))
        return qn_node_fail(node, QN_BAD_SHAPE,
                            "the gate is not one number of the graph's type");
    return QN_OK;
}

static qn_status infer(struct qn_node *node)
{
    const qn_dtype real = node->inputs[IN_GRADIENT]->dtype;
    const struct qn_update_params *params = node->params;
    QN_TRY(check_scalars(node));
    QN_TRY(check_table(node, IN_CHUNKS, QN_INT32, QN_CHUNK_COLUMNS));
    QN_TRY(check_table(node, IN_TENSORS, QN_INT32, QN_TENSOR_COLUMNS));
    QN_TRY(check_table(node, IN_COEFFICIENTS, real, QN_COEFFICIENTS));
    if (params->clip_norm || params->has_trust)
        QN_TRY(check_table(node, IN_NORMS, real, QN_NORM_COLUMNS));
    if (has(node, IN_UNITS))
        QN_TRY(check_table(node, IN_UNITS, QN_INT32, QN_UNIT_COLUMNS));
    for (int i = IN_PARAMETERS; i < node->input_count; i++)
        QN_TRY(i == watch_at(params) ? check_watch(node, i)
                                     : check_state(node, i));
    node->dtype = real;
    node->shape = (qn_shape){0};
    return QN_OK;
}

// ---- launches ----

// Chunks that a group takes, and the grid: CPU a few items a core, GPU a group
// a chunk.
static void set_grid(struct qn_launch *launch, const struct qn_limits *limits,
                     int64_t chunks)
{
    const bool is_cpu = limits->variant == QN_VARIANT_CPU;
    const int64_t items = (int64_t)limits->compute_units * ITEMS_PER_UNIT;
    const int64_t span = is_cpu ? qn_divide_up(chunks, items) : 1;
    const int64_t group = is_cpu ? 1 : qn_group_size(limits, GROUP_SIZE);
    if (!is_cpu)
        qn_launch_define(launch, "GROUP", group);
    qn_launch_int(launch, chunks);
    qn_launch_int(launch, span);
    qn_launch_grid(launch, (size_t)qn_divide_up(chunks, span), 1, 1,
                   (size_t)group, 1);
}

static void add_clipping(const struct qn_update_params *params,
                         struct qn_launch *launch)
{
    if (params->clip_value > 0) {
        qn_launch_define(launch, "CLIP_VALUE", 1);
        qn_launch_real(launch, params->clip_value);
    }
    if (params->clip_norm) {
        qn_launch_define(launch, "CLIP_NORM", params->clip_norm);
        qn_launch_real(launch, params->most_norm);
    }
}

static void add_gate(const struct qn_node *node, struct qn_launch *launch)
{
    if (!has(node, IN_GATE))
        return;
    qn_launch_define(launch, "GATE", 1);
    qn_launch_buffer(launch, QN_OPERAND_IN + IN_GATE);
}

static void add_average(const struct qn_update_params *params,
                        struct qn_launch *launch)
{
    if (!params->has_average)
        return;
    qn_launch_define(launch, "AVERAGE", 1);
    qn_launch_buffer(launch, QN_OPERAND_IN + average_at(params));
    qn_launch_live(launch, QN_OPERAND_IN + IN_AVERAGE_RATE);
}

// HEAD of cl/optim.cl.
static void add_head(const struct qn_node *node, struct qn_launch *launch)
{
    const struct qn_update_params *params = node->params;
    qn_launch_buffer(launch, QN_OPERAND_IN + IN_GRADIENT);
    qn_launch_buffer(launch, QN_OPERAND_IN + IN_CHUNKS);
    qn_launch_buffer(launch, QN_OPERAND_IN + IN_COEFFICIENTS);
    if (params->has_penalty)
        qn_launch_define(launch, "PENALTY", 1);
    if (params->has_trust)
        qn_launch_define(launch, "TRUST", 1);
    if (params->has_trust || params->clip_norm) {
        qn_launch_buffer(launch, QN_OPERAND_IN + IN_NORMS);
        qn_launch_buffer(launch, QN_OPERAND_IN + IN_TENSORS);
    }
    add_gate(node, launch);
    add_clipping(params, launch);
    qn_launch_live(launch, QN_OPERAND_IN + IN_LR);
    qn_launch_buffer(launch, QN_OPERAND_IN + IN_PARAMETERS);
    if (has(node, IN_UNITS))
        qn_launch_define(launch, "MAX_NORM", 1);
    add_average(params, launch);
    if (params->is_watched) {
        qn_launch_define(launch, "WATCH", 1);
        qn_launch_buffer(launch, QN_OPERAND_IN + watch_at(params));
        qn_launch_live_uint(launch, QN_OPERAND_IN + IN_STEP);
    }
    if (params->has_lookahead)
        qn_launch_buffer(launch, QN_OPERAND_IN + ahead_at(params));
}

// cl/max_norm.cl: work-items take turns at the units, which differ in size.
static void add_max_norm(const struct qn_node *node,
                         const struct qn_limits *limits, struct qn_work *work)
{
    const struct qn_update_params *params = node->params;
    const int64_t units = node->inputs[IN_UNITS]->shape.dims[0];
    const bool is_cpu = limits->variant == QN_VARIANT_CPU;
    const int64_t most =
        (int64_t)limits->compute_units * (is_cpu ? ITEMS_PER_UNIT : 64);
    const int64_t group =
        is_cpu ? 1
               : qn_group_size(limits, qn_smaller(params->unit_size,
                                                  GROUP_SIZE));
    struct qn_launch *launch =
        qn_work_add(work, "max_norm", "max_norm", node->dtype);
    if (!is_cpu)
        qn_launch_define(launch, "GROUP", group);
    qn_launch_buffer(launch, QN_OPERAND_IN + IN_UNITS);
    qn_launch_buffer(launch, QN_OPERAND_IN + IN_COEFFICIENTS);
    qn_launch_buffer(launch, QN_OPERAND_IN + IN_PARAMETERS);
    add_gate(node, launch);
    if (has(node, IN_GATE) && params->is_watched) {
        qn_launch_define(launch, "WATCH", 1);
        qn_launch_buffer(launch, QN_OPERAND_IN + watch_at(params));
        qn_launch_int(launch, chunk_count(node));
    }
    add_average(params, launch);
    if (params->has_lookahead) {
        qn_launch_define(launch, "LOOKAHEAD", 1);
        qn_launch_buffer(launch, QN_OPERAND_IN + ahead_at(params));
    }
    qn_launch_int(launch, units);
    qn_launch_grid(launch, (size_t)qn_smaller(units, most), 1, 1,
                   (size_t)group, 1);
}

static struct qn_launch *add_launch(const struct qn_node *node,
                                    const char *kernel, struct qn_work *work)
{
    const struct qn_update_params *params = node->params;
    struct qn_launch *launch = qn_work_add(work, "optim", kernel,
                                           node->inputs[IN_GRADIENT]->dtype);
    for (int i = 0; i < params->define_count; i++)
        qn_launch_define(launch, params->defines[i], 1);
    add_head(node, launch);
    for (int i = 0; i < params->slot_count; i++)
        qn_launch_buffer(launch, QN_OPERAND_IN + IN_SLOTS + i);
    for (int i = 0; i < params->constant_count; i++)
        qn_launch_live(launch, QN_OPERAND_IN + IN_CONSTANTS + i);
    return launch;
}

static void describe(const struct qn_node *node,
                     const struct qn_limits *limits, struct qn_work *work)
{
    const struct qn_update_params *params = node->params;
    const double size = (double)qn_node_size(node->inputs[IN_GRADIENT]);
    const int64_t chunks = chunk_count(node);
    const int states = watch_at(params) - IN_PARAMETERS;
    struct qn_launch *launch = add_launch(node, params->kernel, work);
    // The gradient is read; each state is read and written.
    launch->bytes = (1 + 2 * states) * size;
    if (params->last_kernel) {
        // The parameters and their average are left to the second launch.
        const double later = (1 + 2 * params->has_average) * size;
        const int sums = qn_work_scratch(
            work, chunks * QN_NORM_COLUMNS *
                      (int64_t)qn_dtype_size(node->dtype));
        launch->bytes -= later;
        qn_launch_buffer(launch, sums);
        set_grid(launch, limits, chunks);
        launch = add_launch(node, params->last_kernel, work);
        launch->bytes = later + (1 + params->slot_count) * size;
        qn_launch_buffer(launch, sums);
        qn_launch_buffer(launch, QN_OPERAND_IN + IN_TENSORS);
    }
    set_grid(launch, limits, chunks);
    if (has(node, IN_UNITS))
        add_max_norm(node, limits, work);
}

static const struct qn_candidate candidates[] = {
    {"cpu", qn_fits_cpu, describe},
    {"gpu", qn_fits_gpu, describe},
    {0},
};

const struct qn_op qn_op_update = {
    .name = "update",
    .source = "quern list optimizers",
    .formula = "parameters, slots = rule(gradient, parameters, slots, lr, "
               "constants)",
    .min_inputs = IN_SLOTS,
    .max_inputs = MAX_INPUTS,
    .flags = QN_OP_NO_GRAD,
    .infer = infer,
    .candidates = candidates,
    .writes = ~0u << IN_PARAMETERS,
};

struct qn_node *qn_update(struct qn_graph *g,
                          const struct qn_update_inputs *in,
                          const struct qn_update_params *params)
{
    struct qn_node *none = qn_constant(g, 0);
    struct qn_node *inputs[MAX_INPUTS] = {
        [IN_GRADIENT] = in->gradient,
        [IN_CHUNKS] = in->chunks,
        [IN_TENSORS] = in->tensors,
        [IN_COEFFICIENTS] = in->coefficients,
        [IN_NORMS] = in->norms ? in->norms : none,
        [IN_GATE] = in->gate ? in->gate : none,
        [IN_UNITS] = in->units ? in->units : none,
        [IN_LR] = in->lr,
        [IN_STEP] = in->step,
        [IN_AVERAGE_RATE] = params->has_average ? in->average_rate : none,
        [IN_PARAMETERS] = in->parameters,
    };
    for (int i = 0; i < QN_MAX_UPDATE_CONSTANTS; i++)
        inputs[IN_CONSTANTS + i] =
            i < params->constant_count ? in->constants[i] : none;
    for (int i = 0; i < params->slot_count; i++)
        inputs[IN_SLOTS + i] = in->slots[i];
    if (params->has_average)
        inputs[average_at(params)] = in->average;
    if (params->has_lookahead)
        inputs[ahead_at(params)] = in->ahead;
    if (params->is_watched)
        inputs[watch_at(params)] = in->watch;
    return qn_node_create(g, &qn_op_update, inputs,
                          watch_at(params) + params->is_watched, NULL, params,
                          sizeof *params);
}

// ---- norms ----

enum { NORMS_GRADIENT, NORMS_CHUNKS, NORMS_PARAMETERS, NORMS_INPUTS };

static qn_status infer_norms(struct qn_node *node)
{
    const struct qn_node *chunks = node->inputs[NORMS_CHUNKS];
    QN_TRY(check_table(node, NORMS_CHUNKS, QN_INT32, QN_CHUNK_COLUMNS));
    node->dtype = node->inputs[NORMS_GRADIENT]->dtype;
    node->shape = (qn_shape){2, {chunks->shape.dims[0], QN_NORM_COLUMNS}};
    return QN_OK;
}

static void describe_norms(const struct qn_node *node,
                           const struct qn_limits *limits,
                           struct qn_work *work)
{
    const struct qn_update_params *params = node->params;
    const struct qn_node *gradient = node->inputs[NORMS_GRADIENT];
    struct qn_launch *launch =
        qn_work_add(work, "optim", "gradient_norms", gradient->dtype);
    for (int i = 0; i < NORMS_INPUTS; i++)
        qn_launch_buffer(launch, QN_OPERAND_IN + i);
    add_clipping(params, launch);
    qn_launch_buffer(launch, QN_OPERAND_OUT);
    set_grid(launch, limits, node->shape.dims[0]);
    launch->bytes = 2 * (double)qn_node_size(gradient);
}

static const struct qn_candidate norms_candidates[] = {
    {"cpu", qn_fits_cpu, describe_norms},
    {"gpu", qn_fits_gpu, describe_norms},
    {0},
};

const struct qn_op qn_op_gradient_norms = {
    .name = "gradient_norms",
    .formula = "sum of g^2, sum of x^2, and 0 or NaN, over each chunk",
    .min_inputs = NORMS_INPUTS,
    .max_inputs = NORMS_INPUTS,
    .flags = QN_OP_NO_GRAD,
    .infer = infer_norms,
    .candidates = norms_candidates,
};

struct qn_node *qn_gradient_norms(struct qn_graph *g, struct qn_node *gradient,
                                  struct qn_node *chunks,
                                  struct qn_node *parameters,
                                  double clip_value)
{
    struct qn_node *inputs[NORMS_INPUTS] = {gradient, chunks, parameters};
    const struct qn_update_params params = {.clip_value = clip_value};
    return qn_node_create(g, &qn_op_gradient_norms, inputs, NORMS_INPUTS,
                          NULL, &params, sizeof params);
}
