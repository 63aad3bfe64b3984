// What must hold after each pass. Debug builds check it; a fault is ours, not
// the caller's.
#include "plan/plan.h"

static bool is_produced_before(const struct qn_plan *plan, struct read read,
                               int step)
{
    const struct value *v = value_of(plan, read.node);
    int from = read.is_copy ? v->copy_step : v->step;
    if (from == NO_STEP)
        return !read.is_copy && qn_node_is(read.node, QN_OP_LEAF);
    return from < step;
}

qn_status qn_plan_verify_order(struct qn_plan *plan)
{
    for (int s = 0; s < plan->step_count; s++) {
        const struct step *step = &plan->steps[s];
        for (int r = 0; r < step->read_count; r++)
            if (!is_produced_before(plan, step->reads[r], s))
                return qn_fail(&plan->error, QN_BAD_ARGUMENT,
                               "plan: step %d reads %%%d before it is there",
                               s, step->reads[r].node->id);
        for (int r = 0; step->runs_once && r < step->read_count; r++) {
            const struct value *v = value_of(plan, step->reads[r].node);
            int from = step->reads[r].is_copy ? v->copy_step : v->step;
            if (from != NO_STEP && !plan->steps[from].runs_once)
                return qn_fail(&plan->error, QN_BAD_ARGUMENT,
                               "plan: step %d runs once and reads step %d, "
                               "which does not",
                               s, from);
        }
    }
    return QN_OK;
}

static bool meet(const struct block *a, const struct block *b)
{
    return a->memory == MEMORY_ARENA && b->memory == MEMORY_ARENA &&
           a->first <= b->last && b->first <= a->last &&
           a->offset < b->offset + b->size && b->offset < a->offset + a->size;
}

qn_status qn_plan_verify_memory(struct qn_plan *plan)
{
    for (int i = 0; i < plan->block_count; i++) {
        const struct block *block = &plan->blocks[i];
        if (block->memory == MEMORY_PART) {
            const struct block *parent = &plan->blocks[block->parent];
            if (block->offset + block->size > parent->size ||
                block->first < parent->first || block->last > parent->last)
                return qn_fail(&plan->error, QN_BAD_ARGUMENT,
                               "plan: block %d does not lie in block %d", i,
                               block->parent);
        }
        for (int k = 0; k < i; k++)
            if (meet(block, &plan->blocks[k]))
                return qn_fail(&plan->error, QN_BAD_ARGUMENT,
                               "plan: blocks %d and %d share memory while "
                               "both are alive",
                               k, i);
    }
    for (int s = 0; s < plan->step_count; s++)
        for (int r = 0; r < plan->steps[s].read_count; r++) {
            struct read read = plan->steps[s].reads[r];
            const struct value *v = value_of(plan, read.node);
            if ((read.is_copy ? v->copy_block : v->block) == NO_BLOCK)
                return qn_fail(&plan->error, QN_BAD_ARGUMENT,
                               "plan: step %d reads %%%d, which has no "
                               "memory",
                               s, read.node->id);
        }
    return QN_OK;
}
