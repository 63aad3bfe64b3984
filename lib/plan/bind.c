// Fifth pass: buffers for the blocks, then each step's launches with all their
// arguments. After it nothing is allocated or compiled any more.
#include "plan/plan.h"

#include <string.h>

// Operand codes of the chain on a kernel's loads, past a node's own.
enum { LOAD_OPERANDS = 1 << 20 };

// ---- memory ----

// The block in whose buffer `block` lies, and where.
static const struct block *find_root(const struct qn_plan *plan,
                                     const struct block *block,
                                     int64_t *offset)
{
    *offset = 0;
    while (block->memory == MEMORY_PART) {
        *offset += block->offset;
        block = &plan->blocks[block->parent];
    }
    return block;
}

static qn_status bind_state(struct qn_plan *plan, struct block *block)
{
    const struct qn_node *node = block->node;
    if (!plan->store)
        return qn_fail(&plan->error, QN_BAD_ARGUMENT,
                       "the graph has variable \"%s\" but the plan has no "
                       "store",
                       node->name);
    if (node->op != &qn_op_group) {
        block->buffer = qn_store_variable_buffer(plan->store, node->group,
                                                 node->name, &plan->error);
        return block->buffer ? QN_OK : plan->error.status;
    }
    block->buffer = qn_store_buffer(plan->store, node->group);
    if (!block->buffer ||
        (int64_t)qn_buffer_size(block->buffer) != block->size)
        return qn_fail(&plan->error, QN_BAD_SHAPE,
                       "group \"%s\" has %lld bytes in the graph and %zu in "
                       "the store",
                       node->group, (long long)block->size,
                       block->buffer ? qn_buffer_size(block->buffer) : 0);
    return QN_OK;
}

static void name_block(const struct block *block, char *name, size_t size)
{
    char shape[128];
    const struct qn_node *node = block->node;
    snprintf(name, size, "%s of %s%s%s",
             qn_shape_text(&node->shape, shape, sizeof shape),
             node->op->name, *node->name ? " " : "", node->name);
}

// The tensor that makes the arena so large, for the error text.
static void name_arena(const struct qn_plan *plan, char *name, size_t size)
{
    const struct block *largest = NULL;
    for (int i = 0; i < plan->block_count; i++)
        if (plan->blocks[i].memory == MEMORY_ARENA &&
            (!largest || plan->blocks[i].size > largest->size))
            largest = &plan->blocks[i];
    char block[400];
    name_block(largest, block, sizeof block);
    snprintf(name, size, "the plan's tensors, the largest %s", block);
}

static qn_status bind_block(struct qn_plan *plan, struct block *block)
{
    int64_t offset;
    char name[512];
    const struct block *root = find_root(plan, block, &offset);
    if (block->memory == MEMORY_STATE)
        return bind_state(plan, block);
    block->owns_buffer = true;
    if (root->memory == MEMORY_ARENA)
        return qn_buffer_part(plan->memory, (size_t)(root->offset + offset),
                              (size_t)block->size, &block->buffer,
                              &plan->error);
    if (block->memory == MEMORY_PART)
        return qn_buffer_part(root->buffer, (size_t)offset,
                              (size_t)block->size, &block->buffer,
                              &plan->error);
    name_block(block, name, sizeof name);
    QN_TRY(qn_buffer_create(plan->device, (size_t)block->size, name,
                            &block->buffer, &plan->error));
    if (!qn_node_is(block->node, QN_OP_DATA))
        return QN_OK;
    const struct qn_data_params *params = block->node->params;
    return qn_buffer_write(block->buffer, 0, params->data,
                           (size_t)block->size, &plan->error);
}

static qn_status bind_blocks(struct qn_plan *plan)
{
    char name[512];
    if (plan->arena_size) {
        name_arena(plan, name, sizeof name);
        QN_TRY(qn_buffer_create(plan->device, (size_t)plan->arena_size, name,
                                &plan->memory, &plan->error));
    }
    for (int i = 0; i < plan->block_count; i++)
        if (plan->blocks[i].memory != MEMORY_PART)
            QN_TRY(bind_block(plan, &plan->blocks[i]));
    for (int i = 0; i < plan->block_count; i++)
        if (plan->blocks[i].memory == MEMORY_PART)
            QN_TRY(bind_block(plan, &plan->blocks[i]));
    return QN_OK;
}

// ---- launches ----

struct bindings {
    struct qn_binding *list;
    int count;
};

static void bind_buffer(struct bindings *bindings, int operand,
                        struct qn_buffer *buffer)
{
    bindings->list[bindings->count++] =
        (struct qn_binding){operand, buffer, -1};
}

static struct qn_buffer *buffer_of(const struct qn_plan *plan,
                                   struct read read)
{
    const struct value *v = value_of(plan, read.node);
    int block = read.is_copy ? v->copy_block : v->block;
    return block == NO_BLOCK ? NULL : plan->blocks[block].buffer;
}

// The memory of a node that a kernel reads. A plain view that begins later
// than its base gets a part of its own.
static qn_status plain_buffer(struct qn_plan *plan,
                              const struct qn_node *node,
                              struct qn_buffer **buffer)
{
    const struct value *v = value_of(plan, node);
    if (!qn_plan_is_plain(plan, node)) {
        *buffer = buffer_of(plan, (struct read){node, true});
        return QN_OK;
    }
    struct read base = {v->base, v->base_is_copy};
    *buffer = buffer_of(plan, base);
    if (!v->layout.offset)
        return QN_OK;
    struct value *b = value_of(plan, v->base);
    int index = v->base_is_copy ? b->copy_block : b->block;
    int64_t offset;
    const struct block *root = find_root(plan, &plan->blocks[index], &offset);
    offset += v->layout.offset * (int64_t)qn_dtype_size(node->dtype);
    if (root->memory == MEMORY_ARENA)
        offset += root->offset;
    struct qn_buffer *whole =
        root->memory == MEMORY_ARENA ? plan->memory : root->buffer;
    struct extra_part *extra = qn_arena_alloc(&plan->arena, sizeof *extra);
    if (!extra)
        return qn_fail_memory(&plan->error, sizeof *extra);
    QN_TRY(qn_buffer_part(whole, (size_t)offset, qn_node_size(node),
                          &extra->buffer, &plan->error));
    extra->next = plan->extra_parts;
    plan->extra_parts = extra;
    *buffer = extra->buffer;
    return QN_OK;
}

static void bind_chain(struct qn_plan *plan, const struct step *step,
                       int first, struct bindings *bindings)
{
    for (int e = 0; e < step->chain->external_count; e++) {
        const struct external *x = &step->chain->externals[e];
        struct qn_buffer *buffer =
            x->is_value ? NULL
                        : buffer_of(plan, qn_plan_source(plan, x->node,
                                                         step->is_copy));
        bind_buffer(bindings, first + e, buffer);
        bindings->list[bindings->count - 1].live = x->live;
    }
}

static qn_status bind_kernel(struct qn_plan *plan, const struct step *step,
                             struct bindings *bindings)
{
    const struct qn_node *hooks[] = {step->hook_row, step->hook_full,
                                     step->hook_gate};
    struct qn_buffer *buffer;
    for (int i = 0; i < step->kernel->input_count; i++) {
        const struct qn_node *input = step->kernel->inputs[i];
        buffer = NULL;
        if (value_of(plan, input)->block != NO_BLOCK ||
            value_of(plan, input)->copy_block != NO_BLOCK ||
            value_of(plan, input)->base != input)
            QN_TRY(plain_buffer(plan, input, &buffer));
        bind_buffer(bindings, QN_OPERAND_IN + i, buffer);
        bindings->list[bindings->count - 1].live =
            value_of(plan, input)->live;
    }
    for (int k = 0; k < step->work->scratch_count; k++)
        bind_buffer(bindings, QN_OPERAND_SCRATCH + k,
                    plan->blocks[step->scratch[k]].buffer);
    for (int k = 0; k < 3; k++) {
        buffer = NULL;
        if (hooks[k])
            QN_TRY(plain_buffer(plan, hooks[k], &buffer));
        bind_buffer(bindings, QN_OPERAND_HOOK_ROW + k, buffer);
    }
    if (step->load)
        bind_chain(plan, step, LOAD_OPERANDS, bindings);
    return QN_OK;
}

// A launch whose loads are a chain: the text goes before the file, the chain's
// arguments in the place of the operand.
static struct qn_launch *put_chain_on_loads(struct qn_plan *plan,
                                            const struct step *step,
                                            const struct qn_launch *launch)
{
    struct qn_launch *wide =
        qn_arena_copy(&plan->arena, launch, sizeof *launch);
    if (!wide)
        return NULL;
    wide->text = step->chain->text;
    wide->include = step->chain->include;
    wide->arg_count = 0;
    for (int a = 0; a < launch->arg_count; a++) {
        if (launch->args[a].kind == QN_ARG_LOAD)
            qn_chain_args(step->chain, wide, LOAD_OPERANDS);
        else
            wide->args[wide->arg_count++] = launch->args[a];
    }
    return wide;
}

static qn_status bind_step(struct qn_plan *plan, struct step *step)
{
    const struct value *root = value_of(plan, step->root);
    struct bindings bindings = {0};
    size_t most = 8 + QN_MAX_SCRATCH + MAX_EXTERNALS +
                  (size_t)(step->kernel ? step->kernel->input_count : 0);
    bindings.list =
        qn_arena_alloc(&plan->arena, most * sizeof *bindings.list);
    step->commands =
        qn_arena_alloc(&plan->arena, (size_t)step->work->launch_count *
                                         sizeof *step->commands);
    if (!bindings.list || !step->commands)
        return qn_fail_memory(&plan->error, most);
    if (step->kernel)
        QN_TRY(bind_kernel(plan, step, &bindings));
    else
        bind_chain(plan, step, QN_OPERAND_IN, &bindings);
    int block = step->is_copy ? root->copy_block : root->block;
    if (block != NO_BLOCK)
        bind_buffer(&bindings, QN_OPERAND_OUT, plan->blocks[block].buffer);
    for (int l = 0; l < step->work->launch_count; l++) {
        const struct qn_launch *launch = step->work->launches[l];
        if (step->skips && step->skips[l])
            continue;
        if (step->load && launch->load_operand &&
            !(launch = put_chain_on_loads(plan, step, launch)))
            return qn_fail_memory(&plan->error, sizeof *launch);
        QN_TRY(qn_command_create(plan->device, launch, bindings.list,
                                 bindings.count,
                                 launch->store_hooks ? step->hooks : 0,
                                 &step->commands[step->command_count],
                                 &plan->error));
        step->command_count++;
    }
    return QN_OK;
}

static qn_status write_text(struct qn_plan *plan, struct step *step)
{
    if (step->chain)
        QN_TRY(qn_chain_write(plan, step->chain, step->load != NULL));
    if (step->work)
        return QN_OK;
    step->work = qn_arena_alloc(&plan->arena, sizeof *step->work);
    if (!step->work)
        return qn_fail_memory(&plan->error, sizeof *step->work);
    qn_chain_launch(plan, step->chain, step->work);
    return step->work->failed ? qn_fail_memory(&plan->error, 1) : QN_OK;
}

// Counts launches and distinct programs.
static void count_step(struct qn_plan *plan, int s)
{
    const struct step *step = &plan->steps[s];
    plan->stats.launches += step->runs_once ? 0 : step->command_count;
    for (int c = 0; c < step->command_count; c++) {
        const void *program = qn_command_program(step->commands[c]);
        bool is_new = program != NULL;
        for (int i = 0; i <= s && is_new; i++)
            for (int k = 0; k < plan->steps[i].command_count; k++)
                if ((i < s || k < c) &&
                    qn_command_program(plan->steps[i].commands[k]) == program)
                    is_new = false;
        plan->stats.programs += is_new;
        plan->stats.heavy_programs +=
            is_new && step->work->launches[0]->is_heavy;
    }
}

qn_status qn_plan_bind(struct qn_plan *plan)
{
    for (int s = 0; s < plan->step_count; s++)
        QN_TRY(write_text(plan, &plan->steps[s]));
    QN_TRY(qn_plan_merge(plan));
    QN_TRY(bind_blocks(plan));
    for (int s = 0; s < plan->step_count; s++) {
        QN_TRY(bind_step(plan, &plan->steps[s]));
        count_step(plan, s);
    }
    return QN_OK;
}
