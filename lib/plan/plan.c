// Plans from the outside: making, running, reading, destroying.
#include "plan/plan.h"

#include <stdlib.h>
#include <string.h>

// ---- making ----

static qn_status index_nodes(struct qn_plan *plan)
{
    const struct qn_graph *g = plan->graph;
    plan->node_count = g->node_count;
    plan->nodes = qn_arena_alloc(&plan->arena, (size_t)(g->node_count + 1) *
                                                   sizeof *plan->nodes);
    plan->values = qn_arena_alloc(&plan->arena, (size_t)(g->node_count + 1) *
                                                    sizeof *plan->values);
    if (!plan->nodes || !plan->values)
        return qn_fail_memory(&plan->error, 1);
    for (const struct qn_node *node = g->first; node; node = node->next)
        plan->nodes[node->id] = node;
    return QN_OK;
}

// Launches if every node had its own.
static int count_unfused(const struct qn_plan *plan)
{
    int count = 0;
    for (int id = 0; id < plan->node_count; id++) {
        const struct value *v = &plan->values[id];
        if (!v->is_needed)
            continue;
        count += v->work ? v->work->launch_count : 0;
        count += is_pointwise(plan->nodes[id]);
        count += v->wants_copy;
    }
    return count;
}

// Where assignments need each other's old values, they are worked out first
// and assigned at the end.
static qn_status fuse_and_order(struct qn_plan *plan)
{
    bool has_cycle = false;
    QN_TRY(qn_plan_fuse(plan));
    QN_TRY(qn_plan_order(plan, &has_cycle));
    if (!has_cycle)
        return QN_OK;
    plan->separate_assigns = true;
    QN_TRY(qn_plan_fuse(plan));
    QN_TRY(qn_plan_order(plan, &has_cycle));
    if (has_cycle)
        return qn_fail(&plan->error, QN_UNSUPPORTED,
                       "the graph's updates need each other's old values in "
                       "a circle");
    return QN_OK;
}

static qn_status run_steps(struct qn_plan *plan, bool once)
{
    for (int s = 0; s < plan->step_count; s++) {
        const struct step *step = &plan->steps[s];
        if (step->runs_once != once)
            continue;
        for (int c = 0; c < step->command_count; c++)
            QN_TRY(qn_command_run(step->commands[c], plan->live,
                                  &plan->error));
    }
    return QN_OK;
}

// Our own faults are looked for in debug builds only.
#ifdef NDEBUG
#define VERIFY(check) ((void)0)
#else
#define VERIFY(check) QN_TRY(check)
#endif

// All that needs no device memory.
static qn_status lay_out(struct qn_plan *plan,
                         const struct qn_plan_params *params)
{
    QN_TRY(qn_graph_verify(plan->graph, &plan->error));
    QN_TRY(index_nodes(plan));
    QN_TRY(qn_plan_gather(plan, params->outputs, params->output_count));
    QN_TRY(fuse_and_order(plan));
    VERIFY(qn_plan_verify_order(plan));
    plan->stats.launches_unfused = count_unfused(plan);
    QN_TRY(qn_plan_place(plan));
    VERIFY(qn_plan_verify_memory(plan));
    return QN_OK;
}

static qn_status compile(struct qn_plan *plan,
                         const struct qn_plan_params *params)
{
    QN_TRY(lay_out(plan, params));
    QN_TRY(qn_plan_bind(plan));
    return run_steps(plan, true);
}

static struct qn_plan *make_plan(qn_device *device,
                                 const struct qn_plan_params *params,
                                 qn_error *error)
{
    struct qn_plan *plan = calloc(1, sizeof *plan);
    if (!plan) {
        qn_fail_memory(error, sizeof *plan);
        return NULL;
    }
    plan->device = device;
    plan->store = params->store;
    plan->graph = params->graph;
    plan->limits = qn_device_limits(device);
    plan->no_fusion = params->no_fusion;
    plan->no_reuse = params->no_reuse;
    return plan;
}

qn_plan *qn_plan_create(qn_device *device,
                        const struct qn_plan_params *params, qn_error *error)
{
    if (!device || !params || !params->graph) {
        qn_fail(error, QN_BAD_ARGUMENT,
                "qn_plan_create: needs a device and a graph");
        return NULL;
    }
    struct qn_plan *plan = make_plan(device, params, error);
    if (plan && compile(plan, params) != QN_OK) {
        qn_fail(error, plan->error.status, "%s", plan->error.text);
        qn_plan_destroy(&plan);
    }
    return plan;
}

qn_status qn_plan_estimate(qn_device *device,
                           const struct qn_plan_params *params,
                           qn_plan_stats *stats, qn_error *error)
{
    QN_REQUIRE(error, device && params && stats);
    QN_REQUIRE(error, params->graph);
    struct qn_plan *plan = make_plan(device, params, error);
    if (!plan)
        return QN_NO_MEMORY;
    qn_status status = lay_out(plan, params);
    if (status != QN_OK)
        qn_fail(error, status, "%s", plan->error.text);
    *stats = plan->stats;
    qn_plan_destroy(&plan);
    return status;
}

static void release_works(struct qn_plan *plan)
{
    for (int s = 0; s < plan->step_count; s++) {
        struct step *step = &plan->steps[s];
        for (int c = 0; c < step->command_count; c++)
            qn_command_destroy(&step->commands[c]);
        if (!step->kernel && step->work)
            qn_work_finish(step->work);
    }
    for (int id = 0; plan->values && id < plan->node_count; id++)
        if (plan->values[id].work)
            qn_work_finish(plan->values[id].work);
}

void qn_plan_destroy(qn_plan **handle)
{
    if (!handle || !*handle)
        return;
    struct qn_plan *plan = *handle;
    // PoCL aborts, now and then, where a kernel goes that it is compiling.
    if (plan->step_count)
        qn_device_finish(plan->device, NULL);
    release_works(plan);
    for (struct extra_part *p = plan->extra_parts; p; p = p->next)
        qn_buffer_destroy(&p->buffer);
    // Parts before the buffers that they lie in.
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < plan->block_count; i++) {
            struct block *block = &plan->blocks[i];
            if (block->owns_buffer &&
                (block->memory == MEMORY_OWN) == (pass == 1))
                qn_buffer_destroy(&block->buffer);
        }
    qn_buffer_destroy(&plan->memory);
    free(plan->steps);
    free(plan->blocks);
    qn_arena_finish(&plan->arena);
    free(plan);
    *handle = NULL;
}

// ---- running ----

// Keeps only the newest failure in the plan's error.
static qn_status start_call(qn_plan *plan, const qn_node *node)
{
    plan->error = (qn_error){0};
    if (node && node->graph != plan->graph)
        return qn_fail(&plan->error, QN_BAD_ARGUMENT,
                       "the node is not of this plan's graph");
    return QN_OK;
}

qn_status qn_plan_set(qn_plan *plan, const qn_node *scalar, double value)
{
    if (!plan || !scalar)
        return QN_BAD_ARGUMENT;
    QN_TRY(start_call(plan, scalar));
    int live = value_of(plan, scalar)->live;
    if (live < 0)
        return qn_fail(&plan->error, QN_BAD_ARGUMENT,
                       "node %%%d (%s) is not made by qn_scalar", scalar->id,
                       scalar->op->name);
    plan->live[live] = value;
    return QN_OK;
}

qn_status qn_plan_write(qn_plan *plan, const qn_node *input, const void *data,
                        size_t size)
{
    if (!plan || !input || !data)
        return QN_BAD_ARGUMENT;
    QN_TRY(start_call(plan, input));
    if (!qn_node_is(input, QN_OP_INPUT))
        return qn_fail(&plan->error, QN_BAD_ARGUMENT,
                       "node %%%d (%s) is not made by qn_input", input->id,
                       input->op->name);
    if (size != qn_node_size(input))
        return qn_fail(&plan->error, QN_BAD_ARGUMENT,
                       "input \"%s\" has %zu bytes, not %zu", input->name,
                       qn_node_size(input), size);
    int block = value_of(plan, input)->block;
    if (block == NO_BLOCK)
        return QN_OK; // nothing that this plan does depends on it
    return qn_buffer_write(plan->blocks[block].buffer, 0, data, size,
                           &plan->error);
}

qn_status qn_plan_run(qn_plan *plan)
{
    if (!plan)
        return QN_BAD_ARGUMENT;
    QN_TRY(start_call(plan, NULL));
    return run_steps(plan, false);
}

// Where an output's elements lie: contiguous, from `offset` bytes on.
static qn_status find_output(qn_plan *plan, const qn_node *output,
                             struct qn_buffer **buffer, size_t *offset)
{
    const struct value *v = value_of(plan, output);
    if (!v->is_output)
        return qn_fail(&plan->error, QN_BAD_ARGUMENT,
                       "node %%%d (%s) is not among the plan's outputs",
                       output->id, output->op->name);
    bool is_plain = qn_plan_is_plain(plan, output);
    const struct value *base =
        is_plain && !v->is_uniform ? value_of(plan, v->base) : v;
    int block = is_plain && !(base != v && v->base_is_copy)
                    ? base->block
                    : base->copy_block;
    if (block == NO_BLOCK)
        return qn_fail(&plan->error, QN_BAD_ARGUMENT,
                       "node %%%d (%s) has no value to read", output->id,
                       output->op->name);
    *buffer = plan->blocks[block].buffer;
    *offset = is_plain ? (size_t)v->layout.offset *
                             qn_dtype_size(output->dtype)
                       : 0;
    return QN_OK;
}

qn_status qn_plan_read(qn_plan *plan, const qn_node *output, void *data,
                       size_t size)
{
    if (!plan || !output || !data)
        return QN_BAD_ARGUMENT;
    QN_TRY(start_call(plan, output));
    struct qn_buffer *buffer = NULL;
    size_t offset = 0;
    QN_TRY(find_output(plan, output, &buffer, &offset));
    if (size != qn_node_size(output))
        return qn_fail(&plan->error, QN_BAD_ARGUMENT,
                       "output %%%d (%s) has %zu bytes, not %zu", output->id,
                       output->op->name, qn_node_size(output), size);
    return qn_buffer_read(buffer, offset, data, size, &plan->error);
}

const qn_error *qn_plan_error(const qn_plan *plan)
{
    return &plan->error;
}
