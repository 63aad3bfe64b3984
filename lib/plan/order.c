// Third pass: the order of the steps. A step runs after those whose results it
// reads; one that changes state runs after all that read the old state.
#include "plan/plan.h"

#include <stdlib.h>
#include <string.h>

// The state that a step changes: input `i` of the writing row, or NULL.
static const struct qn_node *written(const struct step *step, int i)
{
    const struct qn_node *node = step->kernel ? step->kernel : step->root;
    if (step->is_copy || i >= node->input_count || i >= 32 ||
        !(node->op->writes >> i & 1))
        return NULL;
    return node->inputs[i];
}

bool qn_plan_overlaps(const struct qn_node *a, const struct qn_node *b)
{
    return a == b || (strcmp(a->group, b->group) == 0 &&
                      (a->op == &qn_op_group || b->op == &qn_op_group));
}

static bool reads_state(const struct step *step, const struct qn_node *state)
{
    for (int i = 0; i < step->read_count; i++)
        if (!step->reads[i].is_copy &&
            qn_node_is(step->reads[i].node, QN_OP_STATE) &&
            qn_plan_overlaps(step->reads[i].node, state))
            return true;
    return false;
}

static bool changes_what_it_reads(const struct step *writer,
                                  const struct step *reader)
{
    const struct qn_node *state;
    for (int i = 0; i < 32; i++)
        if ((state = written(writer, i)) && reads_state(reader, state))
            return true;
    return false;
}

static int producer(const struct qn_plan *plan, struct read read)
{
    const struct value *v = value_of(plan, read.node);
    return read.is_copy ? v->copy_step : v->step;
}

// Must step `b` wait for step `a`?
static bool waits_for(const struct qn_plan *plan, const struct step *b,
                      const struct step *a)
{
    int index = (int)(a - plan->steps);
    for (int i = 0; i < b->read_count; i++)
        if (producer(plan, b->reads[i]) == index)
            return true;
    return a != b && changes_what_it_reads(b, a);
}

// Nothing that it reads ever changes, and it changes nothing.
static bool never_changes(const struct qn_plan *plan, const struct step *step)
{
    if (step->kernel ? step->kernel->op->writes || step->load
                     : step->root->op->writes && !step->is_copy)
        return false;
    for (int i = 0; i < step->read_count; i++) {
        const struct qn_node *node = step->reads[i].node;
        int from = producer(plan, step->reads[i]);
        if (from == NO_STEP ? !qn_node_is(node, QN_OP_DATA)
                            : !plan->steps[from].runs_once)
            return false;
    }
    for (int e = 0; step->chain && e < step->chain->external_count; e++)
        if (step->chain->externals[e].is_value &&
            step->chain->externals[e].live >= 0)
            return false;
    for (int l = 0; step->work && l < step->work->launch_count; l++)
        for (int a = 0; a < step->work->launches[l]->arg_count; a++) {
            enum qn_arg_kind kind = step->work->launches[l]->args[a].kind;
            if (kind == QN_ARG_LIVE || kind == QN_ARG_LIVE_UINT)
                return false;
        }
    return true;
}

static void number_steps(struct qn_plan *plan)
{
    for (int s = 0; s < plan->step_count; s++) {
        const struct step *step = &plan->steps[s];
        struct value *v = value_of(plan, step->root);
        *(step->is_copy ? &v->copy_step : &v->step) = s;
    }
}

// Kahn's algorithm; of the steps that are ready the one whose node was made
// first goes first.
static bool sort_steps(struct qn_plan *plan, struct step *sorted, int *waiting,
                       bool *is_done)
{
    int count = plan->step_count;
    for (int b = 0; b < count; b++)
        for (int a = 0; a < count; a++)
            waiting[b] += waits_for(plan, &plan->steps[b], &plan->steps[a]);
    for (int n = 0; n < count; n++) {
        int next = -1;
        for (int s = 0; s < count; s++)
            if (!is_done[s] && !waiting[s] &&
                (next < 0 ||
                 plan->steps[s].root->id < plan->steps[next].root->id))
                next = s;
        if (next < 0)
            return false;
        is_done[next] = true;
        sorted[n] = plan->steps[next];
        for (int b = 0; b < count; b++)
            if (!is_done[b])
                waiting[b] -=
                    waits_for(plan, &plan->steps[b], &plan->steps[next]);
    }
    return true;
}

qn_status qn_plan_order(struct qn_plan *plan, bool *has_cycle)
{
    size_t count = (size_t)plan->step_count;
    struct step *sorted = calloc(count + 1, sizeof *sorted);
    int *waiting = calloc(count + 1, sizeof *waiting);
    bool *is_done = calloc(count + 1, sizeof *is_done);
    if (!sorted || !waiting || !is_done) {
        qn_fail_memory(&plan->error, count * sizeof *sorted);
    } else {
        number_steps(plan);
        *has_cycle = !sort_steps(plan, sorted, waiting, is_done);
        if (!*has_cycle && count) {
            memcpy(plan->steps, sorted, count * sizeof *sorted);
            number_steps(plan);
            for (int s = 0; s < plan->step_count; s++)
                plan->steps[s].runs_once =
                    never_changes(plan, &plan->steps[s]);
        }
    }
    free(sorted);
    free(waiting);
    free(is_done);
    return plan->error.status;
}
