// First pass: which nodes are needed, who uses them, where views lie, what is
// known by value, and what must be in memory.
#include "plan/plan.h"

#include <string.h>

static void mark_needed(struct qn_plan *plan)
{
    for (int id = plan->node_count - 1; id >= 0; id--) {
        const struct qn_node *node = plan->nodes[id];
        struct value *v = &plan->values[id];
        if (node->op->writes)
            v->is_needed = true;
        for (int i = 0; v->is_needed && i < node->input_count; i++)
            value_of(plan, node->inputs[i])->is_needed = true;
    }
}

static qn_status list_users(struct qn_plan *plan)
{
    int *fill = qn_arena_alloc(&plan->arena,
                               (size_t)plan->node_count * sizeof *fill);
    plan->users = qn_arena_alloc(
        &plan->arena, (size_t)plan->node_count * sizeof *plan->users);
    if (!fill || !plan->users)
        return qn_fail_memory(&plan->error, sizeof *fill);
    for (int id = 0; id < plan->node_count; id++)
        for (int i = 0; plan->values[id].is_needed &&
                        i < plan->nodes[id]->input_count; i++)
            value_of(plan, plan->nodes[id]->inputs[i])->consumers++;
    for (int id = 0; id < plan->node_count; id++) {
        size_t count = (size_t)plan->values[id].consumers;
        plan->users[id] =
            qn_arena_alloc(&plan->arena, (count + 1) * sizeof **plan->users);
        if (!plan->users[id])
            return qn_fail_memory(&plan->error, count);
    }
    for (int id = 0; id < plan->node_count; id++) {
        const struct qn_node *node = plan->nodes[id];
        for (int i = 0;
             plan->values[id].is_needed && i < node->input_count; i++) {
            int input = node->inputs[i]->id;
            plan->users[input][fill[input]++] = node;
        }
    }
    return QN_OK;
}

static bool find_uniform(const struct qn_plan *plan,
                         const struct qn_node *node)
{
    if (qn_node_is(node, QN_OP_LIVE | QN_OP_CONSTANT))
        return true;
    if (qn_node_is(node, QN_OP_INDEXED | QN_OP_LEAF) || node->op->writes ||
        !(is_pointwise(node) || qn_node_is(node, QN_OP_VIEW)))
        return false;
    for (int i = 0; i < node->input_count; i++)
        if (!value_of(plan, node->inputs[i])->is_uniform)
            return false;
    return true;
}

// Follows a view down to memory. Where it cannot be expressed, its input is
// copied.
static void find_layout(struct qn_plan *plan, const struct qn_node *node)
{
    struct value *v = value_of(plan, node);
    v->base = node;
    v->layout = qn_layout_contiguous(&node->shape);
    if (!qn_node_is(node, QN_OP_VIEW) || v->is_uniform)
        return;
    struct value *input = value_of(plan, node->inputs[0]);
    struct qn_layout layout;
    if (node->op->layout(node, &input->layout, &layout)) {
        v->base = input->base;
        v->base_is_copy = input->base_is_copy;
    } else {
        struct qn_layout plain =
            qn_layout_contiguous(&node->inputs[0]->shape);
        input->wants_copy = true;
        node->op->layout(node, &plain, &layout);
        v->base = node->inputs[0];
        v->base_is_copy = true;
    }
    v->layout = layout;
    if (!v->base_is_copy)
        value_of(plan, v->base)->must_store = true;
}

bool qn_plan_is_plain(const struct qn_plan *plan, const struct qn_node *node)
{
    const struct value *v = value_of(plan, node);
    if (v->is_uniform)
        return is_pointwise(node); // stored if must_store
    if (!qn_layout_is_contiguous(&v->layout))
        return false;
    int64_t offset = v->layout.offset * (int64_t)qn_dtype_size(node->dtype);
    if (offset && (qn_node_is(v->base, QN_OP_STATE) || v->base->op->writes))
        return false;
    return offset % plan->limits->base_align == 0;
}

void qn_plan_want_memory(struct qn_plan *plan, const struct qn_node *node)
{
    struct value *v = value_of(plan, node);
    if (!qn_plan_is_plain(plan, node))
        v->wants_copy = true;
    else if (v->base == node)
        v->must_store = true;
}

struct read qn_plan_source(const struct qn_plan *plan,
                           const struct qn_node *node, bool is_for_copy)
{
    const struct value *v = value_of(plan, node);
    if (v->wants_copy && !is_for_copy)
        return (struct read){node, true};
    return (struct read){v->base, v->base_is_copy};
}

const struct qn_node *qn_plan_see_through(const struct qn_plan *plan,
                                          const struct qn_node *node)
{
    while (value_of(plan, node)->is_uniform && qn_node_is(node, QN_OP_VIEW))
        node = node->inputs[0];
    return node;
}

// What the kernel's launches take as buffers. A load operand is left to the
// fusion pass.
static void want_kernel_inputs(struct qn_plan *plan,
                               const struct qn_node *node)
{
    const struct qn_work *work = value_of(plan, node)->work;
    for (int l = 0; l < work->launch_count; l++) {
        const struct qn_launch *launch = work->launches[l];
        for (int a = 0; a < launch->arg_count; a++) {
            int input = launch->args[a].operand - QN_OPERAND_IN;
            if (launch->args[a].kind == QN_ARG_BUFFER && input >= 0 &&
                input < node->input_count)
                qn_plan_want_memory(plan, node->inputs[input]);
        }
    }
}

static qn_status number_live_scalars(struct qn_plan *plan)
{
    for (int id = 0; id < plan->node_count; id++) {
        struct value *v = &plan->values[id];
        v->live = qn_node_is(plan->nodes[id], QN_OP_LIVE) ? plan->live_count++
                                                          : -1;
    }
    plan->live = qn_arena_alloc(
        &plan->arena, (size_t)(plan->live_count + 1) * sizeof *plan->live);
    return plan->live ? QN_OK : qn_fail_memory(&plan->error, 1);
}

static qn_status mark_outputs(struct qn_plan *plan, qn_node *const *outputs,
                              int output_count)
{
    for (int i = 0; i < output_count; i++) {
        if (!outputs[i] || outputs[i]->graph != plan->graph)
            return qn_fail(&plan->error, QN_BAD_ARGUMENT,
                           "output %d is not a node of the plan's graph", i);
        struct value *v = value_of(plan, outputs[i]);
        v->is_output = true;
        v->is_needed = true;
    }
    return QN_OK;
}

qn_status qn_plan_gather(struct qn_plan *plan, qn_node *const *outputs,
                         int output_count)
{
    QN_TRY(number_live_scalars(plan));
    QN_TRY(mark_outputs(plan, outputs, output_count));
    mark_needed(plan);
    QN_TRY(list_users(plan));
    for (int id = 0; id < plan->node_count; id++) {
        struct value *v = &plan->values[id];
        v->step = v->copy_step = NO_STEP;
        v->block = v->copy_block = NO_BLOCK;
        if (!v->is_needed)
            continue;
        v->is_uniform = find_uniform(plan, plan->nodes[id]);
        find_layout(plan, plan->nodes[id]);
    }
    for (int id = 0; id < plan->node_count; id++) {
        const struct qn_node *node = plan->nodes[id];
        struct value *v = &plan->values[id];
        if (!v->is_needed)
            continue;
        plan->stats.nodes++;
        if (v->is_output)
            qn_plan_want_memory(plan, node);
        if (node->op->candidates) {
            QN_TRY(qn_plan_describe_kernel(plan, node, &v->work));
            want_kernel_inputs(plan, node);
        }
    }
    return QN_OK;
}
