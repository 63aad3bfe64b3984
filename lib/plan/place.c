// Fourth pass: memory. Each stored value gets a block; blocks that are never
// alive together share the arena. Inputs of side-by-side rows are computed in
// place, and a pointwise result takes over the memory of an operand that dies.
#include "plan/plan.h"

#include <stdlib.h>
#include <string.h>

enum { FOREVER = 1 << 30 };

static int add_block(struct qn_plan *plan, enum memory memory, int64_t size,
                     const struct qn_node *node)
{
    if (plan->block_count == plan->block_capacity) {
        int capacity = plan->block_capacity ? 2 * plan->block_capacity : 64;
        struct block *blocks =
            realloc(plan->blocks, (size_t)capacity * sizeof *blocks);
        if (!blocks) {
            qn_fail_memory(&plan->error, (size_t)capacity * sizeof *blocks);
            return NO_BLOCK;
        }
        plan->blocks = blocks;
        plan->block_capacity = capacity;
    }
    plan->blocks[plan->block_count] = (struct block){
        .memory = memory,
        .size = size,
        .first = FOREVER,
        .last = -1,
        .parent = NO_BLOCK,
        .node = node,
    };
    return plan->block_count++;
}

static void live_through(struct qn_plan *plan, int block, int step)
{
    struct block *b = &plan->blocks[block];
    if (step < b->first)
        b->first = step;
    if (step > b->last)
        b->last = step;
    if (b->memory == MEMORY_PART)
        live_through(plan, b->parent, step);
}

static bool stores_output(const struct step *step)
{
    if (!step->kernel)
        return true;
    for (int l = 0; l < step->work->launch_count; l++)
        for (int a = 0; a < step->work->launches[l]->arg_count; a++) {
            const struct qn_arg *arg = &step->work->launches[l]->args[a];
            if (arg->kind == QN_ARG_BUFFER &&
                arg->operand == QN_OPERAND_OUT)
                return true;
        }
    return false;
}

static int add_result_block(struct qn_plan *plan, const struct step *step)
{
    const struct qn_node *node = step->root;
    if (!step->is_copy && !step->kernel && node->op->writes)
        return add_block(plan, MEMORY_STATE, (int64_t)qn_node_size(node),
                         node->inputs[0]);
    bool keeps = step->runs_once ||
                 (!step->is_copy && qn_node_is(node, QN_OP_PERSIST)) ||
                 (step->kernel && qn_node_is(step->kernel, QN_OP_PERSIST));
    return add_block(plan, keeps ? MEMORY_OWN : MEMORY_ARENA,
                     (int64_t)qn_node_size(node), node);
}

static void add_leaf_blocks(struct qn_plan *plan)
{
    for (int id = 0; id < plan->node_count && !plan->error.status; id++) {
        const struct qn_node *node = plan->nodes[id];
        struct value *v = &plan->values[id];
        if (!v->is_needed ||
            !qn_node_is(node, QN_OP_INPUT | QN_OP_DATA | QN_OP_STATE))
            continue;
        v->block = add_block(plan,
                             qn_node_is(node, QN_OP_STATE) ? MEMORY_STATE
                                                           : MEMORY_OWN,
                             (int64_t)qn_node_size(node), node);
    }
}

static void add_step_blocks(struct qn_plan *plan)
{
    for (int s = 0; s < plan->step_count && !plan->error.status; s++) {
        struct step *step = &plan->steps[s];
        struct value *v = value_of(plan, step->root);
        int *block = step->is_copy ? &v->copy_block : &v->block;
        *block = NO_BLOCK;
        if (stores_output(step)) {
            *block = add_result_block(plan, step);
            if (plan->error.status)
                return;
            live_through(plan, *block, s);
        }
        for (int k = 0; step->work && k < step->work->scratch_count; k++) {
            step->scratch[k] =
                add_block(plan, step->runs_once ? MEMORY_OWN : MEMORY_ARENA,
                          step->work->scratch_size[k], step->root);
            if (plan->error.status)
                return;
            live_through(plan, step->scratch[k], s);
        }
    }
}

static int block_of(const struct qn_plan *plan, struct read read)
{
    const struct value *v = value_of(plan, read.node);
    return read.is_copy ? v->copy_block : v->block;
}

// The block that a plain node lies in, wholly and alone; else NO_BLOCK.
static int whole_block(const struct qn_plan *plan, const struct qn_node *node)
{
    const struct value *v = value_of(plan, node);
    if (v->is_uniform || v->base_is_copy || v->layout.offset ||
        !qn_layout_is_contiguous(&v->layout) ||
        qn_node_count(v->base) != qn_node_count(node))
        return NO_BLOCK;
    return value_of(plan, v->base)->block;
}

static qn_status place_parts(struct qn_plan *plan, struct step *step)
{
    const struct qn_node *node = step->kernel;
    int whole = value_of(plan, step->root)->block;
    step->skips = qn_arena_alloc(&plan->arena,
                                 (size_t)step->work->launch_count *
                                     sizeof *step->skips);
    if (!step->skips)
        return qn_fail_memory(&plan->error, 1);
    if (plan->no_reuse || step->root != node)
        return QN_OK;
    for (int i = 0; i < node->input_count; i++) {
        int64_t offset = node->op->part_offset(node, i);
        int part = whole_block(plan, node->inputs[i]);
        if (offset < 0 || offset % plan->limits->base_align ||
            part == NO_BLOCK || plan->blocks[part].memory != MEMORY_ARENA)
            continue;
        struct block *b = &plan->blocks[part];
        b->memory = MEMORY_PART;
        b->parent = whole;
        b->offset = offset;
        step->skips[i] = true;
        live_through(plan, whole, b->first);
        live_through(plan, whole, b->last);
    }
    return QN_OK;
}

static void find_lifetimes(struct qn_plan *plan)
{
    for (int s = 0; s < plan->step_count; s++)
        for (int r = 0; r < plan->steps[s].read_count; r++) {
            int block = block_of(plan, plan->steps[s].reads[r]);
            if (block != NO_BLOCK)
                live_through(plan, block, s);
        }
    for (int id = 0; id < plan->node_count; id++) {
        const struct value *v = &plan->values[id];
        if (!v->is_output)
            continue;
        struct read read = qn_plan_source(plan, plan->nodes[id], false);
        int block = block_of(plan, read);
        if (block != NO_BLOCK)
            live_through(plan, block, FOREVER);
    }
}

// May the step's result overwrite what it reads from `block`?
static bool can_overwrite(const struct qn_plan *plan, const struct step *step,
                          int block, int s)
{
    const struct block *b = &plan->blocks[block];
    if (b->memory != MEMORY_ARENA || b->last != s ||
        b->size != (int64_t)qn_node_size(step->root))
        return false;
    for (int e = 0; e < step->chain->external_count; e++) {
        const struct external *x = &step->chain->externals[e];
        if (x->is_value ||
            block_of(plan, qn_plan_source(plan, x->node, false)) != block)
            continue;
        if (x->layout.offset || !qn_layout_is_contiguous(&x->layout) ||
            qn_node_count(x->node) != qn_node_count(step->root) ||
            qn_dtype_size(x->node->dtype) !=
                qn_dtype_size(step->root->dtype))
            return false;
    }
    return true;
}

static void reuse_in_place(struct qn_plan *plan, int s)
{
    const struct step *step = &plan->steps[s];
    int result = value_of(plan, step->root)->block;
    if (step->kernel || step->is_copy ||
        plan->blocks[result].memory != MEMORY_ARENA)
        return;
    for (int r = 0; r < step->read_count; r++) {
        int block = block_of(plan, step->reads[r]);
        if (block == NO_BLOCK || !can_overwrite(plan, step, block, s))
            continue;
        struct block *b = &plan->blocks[result];
        b->memory = MEMORY_PART;
        b->parent = block;
        b->offset = 0;
        live_through(plan, block, b->last);
        return;
    }
}

static int64_t round_up(int64_t size, int64_t align)
{
    return (size + align - 1) / align * align;
}

struct sorted_block {
    int64_t size;
    int index;
};

// Largest first; of equal ones the one that came first.
static int compare_blocks(const void *a, const void *b)
{
    const struct sorted_block *x = a, *y = b;
    if (x->size != y->size)
        return x->size < y->size ? 1 : -1;
    return x->index - y->index;
}

static bool alive_together(const struct block *a, const struct block *b)
{
    return a->first <= b->last && b->first <= a->last;
}

// The lowest place where `block` meets none of those placed before.
static int64_t find_place(const struct qn_plan *plan,
                          const struct sorted_block *placed, int placed_count,
                          const struct block *block, int64_t align)
{
    int64_t at = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (int i = 0; i < placed_count; i++) {
            const struct block *b = &plan->blocks[placed[i].index];
            if ((plan->no_reuse || alive_together(block, b)) &&
                at < b->offset + b->size && b->offset < at + block->size) {
                at = round_up(b->offset + b->size, align);
                moved = true;
            }
        }
    }
    return at;
}

static qn_status place_arena(struct qn_plan *plan)
{
    size_t capacity = (size_t)plan->block_count + 1;
    struct sorted_block *order = calloc(capacity, sizeof *order);
    if (!order)
        return qn_fail_memory(&plan->error, capacity * sizeof *order);
    int count = 0;
    for (int i = 0; i < plan->block_count; i++)
        if (plan->blocks[i].memory == MEMORY_ARENA)
            order[count++] =
                (struct sorted_block){plan->blocks[i].size, i};
    qsort(order, (size_t)count, sizeof *order, compare_blocks);
    int64_t align = QN_GROUP_ALIGN;
    if (plan->limits->base_align > align)
        align = plan->limits->base_align;
    for (int i = 0; i < count; i++) {
        struct block *block = &plan->blocks[order[i].index];
        block->offset = find_place(plan, order, i, block, align);
        if (block->offset + block->size > plan->arena_size)
            plan->arena_size = block->offset + block->size;
    }
    free(order);
    return QN_OK;
}

// Whether no other block covers this one's state: a whole group covers its
// variables, and of several nodes of one group the first one counts.
static bool counts_as_state(const struct qn_plan *plan, int index)
{
    const struct block *block = &plan->blocks[index];
    const char *group = block->node->group;
    if (!group)
        return false;
    for (int i = 0; i < plan->block_count; i++) {
        const struct block *other = &plan->blocks[i];
        bool covers = other->memory == MEMORY_STATE &&
                      other->node->op == &qn_op_group && i != index &&
                      (i < index || block->node->op == &qn_op_variable);
        if (covers && strcmp(other->node->group, group) == 0)
            return false;
    }
    return true;
}

static void count_own(struct qn_plan *plan, int64_t size)
{
    plan->stats.own_size += size;
    if (size > plan->stats.own_largest_size)
        plan->stats.own_largest_size = size;
}

static void count_sizes(struct qn_plan *plan)
{
    for (int i = 0; i < plan->block_count; i++) {
        const struct block *b = &plan->blocks[i];
        if (b->node->op->flags & (QN_OP_INPUT | QN_OP_DATA))
            plan->stats.input_size += b->size;
        else if (b->memory == MEMORY_STATE)
            plan->stats.state_size += counts_as_state(plan, i) ? b->size : 0;
        else
            plan->stats.tensor_size += b->size;
        if (b->memory == MEMORY_OWN && !(b->node->op->flags & QN_OP_LEAF))
            plan->stats.arena_size += b->size;
        if (b->memory == MEMORY_OWN)
            count_own(plan, b->size);
    }
    plan->stats.arena_size += plan->arena_size;
    count_own(plan, plan->arena_size);
    plan->stats.largest_size = plan->arena_size;
    for (int i = 0; i < plan->block_count; i++)
        if (plan->blocks[i].size > plan->stats.largest_size)
            plan->stats.largest_size = plan->blocks[i].size;
}

qn_status qn_plan_place(struct qn_plan *plan)
{
    add_leaf_blocks(plan);
    add_step_blocks(plan);
    QN_TRY(plan->error.status);
    find_lifetimes(plan);
    for (int s = 0; s < plan->step_count; s++)
        if (plan->steps[s].kernel && plan->steps[s].kernel->op->part_offset)
            QN_TRY(place_parts(plan, &plan->steps[s]));
    for (int s = 0; s < plan->step_count && !plan->no_reuse; s++)
        reuse_in_place(plan, s);
    QN_TRY(place_arena(plan));
    count_sizes(plan);
    return QN_OK;
}
