// Second pass: which pointwise nodes ride on which step. A node rides on its
// consumers' step if all of them belong to one and walk the same elements; a
// kernel's store takes those that its hooks can do, its loads a chain.
#include "plan/plan.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_COST = 20 };

static struct step *add_step(struct qn_plan *plan, const struct qn_node *root)
{
    if (plan->step_count == plan->step_capacity) {
        int capacity = plan->step_capacity ? 2 * plan->step_capacity : 64;
        struct step *steps =
            realloc(plan->steps, (size_t)capacity * sizeof *steps);
        if (!steps) {
            qn_fail_memory(&plan->error, (size_t)capacity * sizeof *steps);
            return NULL;
        }
        plan->steps = steps;
        plan->step_capacity = capacity;
    }
    struct step *step = &plan->steps[plan->step_count++];
    *step = (struct step){.root = root};
    return step;
}

// ---- hooks on a kernel's store ----

// Does y repeat along all dimensions of x but one? Counted from the end.
static bool is_row_of(const struct qn_node *y, const struct qn_node *x,
                      int axis)
{
    if (axis >= x->shape.rank || axis >= y->shape.rank)
        return false;
    int64_t size = x->shape.dims[x->shape.rank - 1 - axis];
    return qn_node_count(y) == size &&
           y->shape.dims[y->shape.rank - 1 - axis] == size;
}

// The hook by which `launch` does the work of `user` on its result `value`,
// and the other operand. 0 if there is none.
static int match_hook(const struct qn_plan *plan,
                      const struct qn_launch *launch,
                      const struct qn_node *user, const struct qn_node *value,
                      const struct qn_node **other)
{
    int hook = user->op->store_hook;
    *other = NULL;
    if (!hook || user->op->writes || user->dtype != value->dtype ||
        qn_node_count(user) != qn_node_count(value))
        return 0;
    if (user->input_count == 1)
        return hook;
    // Addition does not mind which side the value is on.
    int side = user->inputs[0] == value ? 0 : 1;
    if (user->inputs[0] == user->inputs[1] ||
        (hook != QN_HOOK_ADD && side != user->op->hook_input))
        return 0;
    *other = user->inputs[1 - side];
    const struct value *v = value_of(plan, *other);
    if (v->is_uniform || (*other)->dtype != value->dtype)
        return 0;
    if (qn_node_count(*other) == qn_node_count(value))
        return hook;
    const bool is_row = hook == QN_HOOK_ADD &&
                        is_row_of(*other, user, launch->hook_axis);
    return is_row ? QN_HOOK_ADD_ROW : 0;
}

static void take_hook(struct step *step, int hook,
                      const struct qn_node *other)
{
    step->hooks |= hook;
    if (hook == QN_HOOK_ADD_ROW)
        step->hook_row = other;
    else if (hook == QN_HOOK_ADD)
        step->hook_full = other;
    else if (hook == QN_HOOK_GATE)
        step->hook_gate = other;
}

// Follows the kernel's result through consumers that its hooks can do, in the
// hooks' order.
static void absorb_tail(struct qn_plan *plan, struct step *step)
{
    const struct qn_work *work = step->work;
    const struct qn_launch *launch = work->launches[work->launch_count - 1];
    const int offered = launch->store_hooks;
    const int capacity = (int)(sizeof step->tail / sizeof *step->tail);
    while (offered && step->tail_count < capacity) {
        const struct value *v = value_of(plan, step->root);
        if (v->must_store || v->is_output || v->wants_copy ||
            v->consumers != 1)
            return;
        const struct qn_node *user = plan->users[step->root->id][0], *other;
        int hook = match_hook(plan, launch, user, step->root, &other);
        if (!(hook & offered) || hook <= step->hooks)
            return;
        if (other)
            qn_plan_want_memory(plan, other);
        take_hook(step, hook, other);
        step->tail[step->tail_count++] = user;
        step->root = user;
    }
}

// ---- a chain on a kernel's loads ----

static void offer_loads(struct qn_plan *plan, struct step *step)
{
    for (int l = 0; l < step->work->launch_count; l++) {
        int operand = step->work->launches[l]->load_operand;
        if (!operand)
            continue;
        const struct qn_node *input =
            step->kernel->inputs[operand - QN_OPERAND_IN];
        struct value *v = value_of(plan, input);
        if (plan->no_fusion || !is_pointwise(input) || v->must_store ||
            v->is_output || v->is_uniform || v->is_tail ||
            v->consumers != 1 ||
            input->op->writes || input->dtype != plan->graph->real) {
            qn_plan_want_memory(plan, input);
            continue;
        }
        step->load = input;
        v->load_step = (int)(step - plan->steps);
    }
}

static qn_status add_kernel_steps(struct qn_plan *plan)
{
    for (int id = 0; id < plan->node_count; id++) {
        struct value *v = &plan->values[id];
        if (!v->is_needed || !v->work)
            continue;
        struct step *step = add_step(plan, plan->nodes[id]);
        if (!step)
            return plan->error.status;
        step->kernel = plan->nodes[id];
        step->work = v->work;
        if (!plan->no_fusion)
            absorb_tail(plan, step);
        v->rides_on = step->root;
        for (int i = 0; i < step->tail_count; i++) {
            value_of(plan, step->tail[i])->rides_on = step->root;
            value_of(plan, step->tail[i])->is_tail = true;
        }
        offer_loads(plan, step);
    }
    return QN_OK;
}

// ---- pointwise nodes ----

static bool is_everywhere(const struct qn_plan *plan,
                          const struct qn_node *node)
{
    return value_of(plan, node)->is_uniform ||
           qn_node_is(node, QN_OP_RECOMPUTE);
}

// Can all users work the node out for themselves?
static bool can_copy_into_users(const struct qn_plan *plan,
                                const struct qn_node *node)
{
    const struct value *v = value_of(plan, node);
    for (int i = 0; i < v->consumers; i++) {
        const struct qn_node *user = plan->users[node->id][i];
        if (v->is_uniform)
            continue; // who needs it in memory has said so
        if (!is_pointwise(user) || value_of(plan, user)->is_tail ||
            qn_node_count(user) != qn_node_count(node))
            return false;
    }
    return true;
}

// The root that the node rides on: itself if it has to be stored.
static const struct qn_node *find_ride(struct qn_plan *plan,
                                       const struct qn_node *node)
{
    const struct value *v = value_of(plan, node);
    const struct qn_node *root = NULL;
    for (int i = 0; i < v->consumers; i++) {
        const struct qn_node *user = plan->users[node->id][i];
        const struct value *u = value_of(plan, user);
        if (!is_pointwise(user) || u->is_tail || !u->rides_on ||
            qn_node_count(user) != qn_node_count(node) ||
            (root && u->rides_on != root))
            return node;
        root = u->rides_on;
    }
    int cost = node->input_count + node->op->param_count;
    if (!root || value_of(plan, root)->cost + cost > MAX_COST)
        return node;
    value_of(plan, root)->cost += cost;
    return root;
}

static void choose_rides(struct qn_plan *plan)
{
    for (int id = plan->node_count - 1; id >= 0; id--) {
        const struct qn_node *node = plan->nodes[id];
        struct value *v = &plan->values[id];
        if (!v->is_needed || !is_pointwise(node) || v->is_tail)
            continue;
        bool stays = v->must_store || v->is_output || v->wants_copy ||
                     node->op->writes || v->load_step != NO_STEP;
        if (!stays && is_everywhere(plan, node) &&
            can_copy_into_users(plan, node)) {
            v->rides_on = NULL;
            continue;
        }
        v->rides_on = stays || plan->no_fusion || is_everywhere(plan, node)
                          ? node
                          : find_ride(plan, node);
        if (v->rides_on == node)
            v->cost = node->input_count + node->op->param_count;
    }
}

static struct chain *collect(struct qn_plan *plan, const struct qn_node *root,
                             bool is_copy, bool *fits)
{
    struct chain *chain = qn_arena_alloc(&plan->arena, sizeof *chain);
    if (!chain) {
        qn_fail_memory(&plan->error, sizeof *chain);
        return NULL;
    }
    *fits = qn_chain_collect(plan, chain, root, is_copy);
    return chain;
}

// A chain has become too large: its inputs get steps of their own.
static void cut_chain(struct qn_plan *plan, const struct qn_node *root)
{
    for (int i = 0; i < root->input_count; i++) {
        const struct qn_node *input = root->inputs[i];
        if (is_pointwise(input))
            value_of(plan, input)->must_store = true;
    }
}

// An assignment that reads its own variable at other places than it writes
// would read what it has just written. Then its value is worked out first.
static bool separate_value(struct qn_plan *plan, const struct qn_node *writer,
                           const struct chain *chain)
{
    const struct qn_node *state = writer->inputs[0], *x = writer->inputs[1];
    bool is_hazard = plan->separate_assigns &&
                     !value_of(plan, x)->is_uniform;
    for (int e = 0; e < chain->external_count; e++) {
        const struct external *external = &chain->externals[e];
        if (external->is_value)
            continue;
        struct read read = qn_plan_source(plan, external->node, false);
        if (!read.is_copy && read.node->group &&
            qn_plan_overlaps(read.node, state) &&
            (read.node != state || external->layout.offset ||
             !qn_layout_is_contiguous(&external->layout)))
            is_hazard = true;
    }
    struct value *v = value_of(plan, x);
    bool is_stored = is_pointwise(x) ? v->must_store
                     : v->work       ? true
                                     : v->wants_copy;
    if (!is_hazard || is_stored)
        return false;
    *(is_pointwise(x) ? &v->must_store : &v->wants_copy) = true;
    return true;
}

// Steps for stored pointwise nodes and for copies; chains for kernels' loads.
// Sets `again` where a decision had to change.
static qn_status add_chain_steps(struct qn_plan *plan, bool *again)
{
    bool fits;
    for (int id = 0; id < plan->node_count && !*again; id++) {
        const struct qn_node *node = plan->nodes[id];
        struct value *v = &plan->values[id];
        if (!v->is_needed)
            continue;
        bool is_root = is_pointwise(node) && v->rides_on == node &&
                       !v->is_tail;
        if (is_root) {
            struct chain *chain = collect(plan, node, false, &fits);
            if (!chain)
                return plan->error.status;
            if (!fits) {
                cut_chain(plan, node);
                *again = true;
                break;
            }
            if (node->op->writes && separate_value(plan, node, chain))
                *again = true;
            struct step *load =
                v->load_step == NO_STEP ? NULL : &plan->steps[v->load_step];
            if (load && qn_chain_is_flat(chain)) {
                load->chain = chain;
            } else if (load) {
                v->must_store = *again = true;
            } else {
                struct step *step = add_step(plan, node);
                if (!step)
                    return plan->error.status;
                step->chain = chain;
            }
        }
        if (v->wants_copy) {
            struct step *step = add_step(plan, node);
            if (!step)
                return plan->error.status;
            step->is_copy = true;
            step->chain = collect(plan, node, true, &fits);
            if (!step->chain)
                return plan->error.status;
        }
    }
    return QN_OK;
}

// ---- what the steps read ----

static void add_read(struct step *step, struct read read)
{
    for (int i = 0; i < step->read_count; i++)
        if (step->reads[i].node == read.node &&
            step->reads[i].is_copy == read.is_copy)
            return;
    step->reads[step->read_count++] = read;
}

// Kernels take plain memory as it is, other layouts as a copy.
static struct read plain_source(const struct qn_plan *plan,
                                const struct qn_node *node)
{
    const struct value *v = value_of(plan, node);
    if (!qn_plan_is_plain(plan, node))
        return (struct read){node, true};
    return (struct read){v->base, v->base_is_copy};
}

static void list_kernel_reads(struct qn_plan *plan, struct step *step)
{
    const struct qn_node *hooks[] = {step->hook_row, step->hook_full,
                                     step->hook_gate};
    for (int l = 0; l < step->work->launch_count; l++) {
        const struct qn_launch *launch = step->work->launches[l];
        for (int a = 0; a < launch->arg_count; a++) {
            const struct qn_arg *arg = &launch->args[a];
            int input = arg->operand - QN_OPERAND_IN;
            bool is_memory = arg->kind == QN_ARG_BUFFER ||
                             (arg->kind == QN_ARG_LOAD && !step->load);
            if (is_memory && input >= 0)
                add_read(step,
                         plain_source(plan, step->kernel->inputs[input]));
        }
    }
    for (int i = 0; i < 3; i++)
        if (hooks[i])
            add_read(step, plain_source(plan, hooks[i]));
}

static qn_status list_reads(struct qn_plan *plan)
{
    for (int s = 0; s < plan->step_count; s++) {
        struct step *step = &plan->steps[s];
        int most = 3 + MAX_EXTERNALS;
        for (int l = 0; step->work && l < step->work->launch_count; l++)
            most += step->work->launches[l]->arg_count;
        step->reads = qn_arena_alloc(&plan->arena,
                                     (size_t)most * sizeof *step->reads);
        if (!step->reads)
            return qn_fail_memory(&plan->error, (size_t)most);
        if (step->kernel)
            list_kernel_reads(plan, step);
        for (int e = 0; step->chain && e < step->chain->external_count; e++)
            if (!step->chain->externals[e].is_value)
                add_read(step,
                         qn_plan_source(plan, step->chain->externals[e].node,
                                        step->is_copy));
    }
    return QN_OK;
}

static void start_over(struct qn_plan *plan)
{
    plan->step_count = 0;
    for (int id = 0; id < plan->node_count; id++) {
        struct value *v = &plan->values[id];
        v->rides_on = NULL;
        v->is_tail = false;
        v->load_step = NO_STEP;
        v->step = v->copy_step = NO_STEP;
        v->cost = 0;
    }
}

qn_status qn_plan_fuse(struct qn_plan *plan)
{
    bool again = true;
    while (again) {
        again = false;
        start_over(plan);
        QN_TRY(add_kernel_steps(plan));
        choose_rides(plan);
        QN_TRY(add_chain_steps(plan, &again));
    }
    return list_reads(plan);
}
