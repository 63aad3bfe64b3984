// What a plan has become: figures, and a line a launch.
#include "plan/plan.h"

void qn_plan_describe(const qn_plan *plan, qn_plan_stats *stats)
{
    *stats = plan->stats;
}

char *qn_plan_step_name(const qn_plan *plan, int index, char *text,
                        size_t size)
{
    for (int s = 0; s < plan->step_count; s++) {
        const struct step *step = &plan->steps[s];
        if (step->runs_once || index-- > 0)
            continue;
        if (step->kernel && step->work)
            snprintf(text, size, "%s:%s", step->kernel->op->name,
                     step->work->candidate);
        else
            snprintf(text, size, "%s",
                     step->chain->node_count ? "pointwise" : "copy");
        return text;
    }
    return NULL;
}

static const char *memory_name(enum memory memory)
{
    static const char *const names[] = {
        [MEMORY_ARENA] = "arena",
        [MEMORY_OWN] = "own",
        [MEMORY_STATE] = "store",
        [MEMORY_PART] = "part",
    };
    return names[memory];
}

static void dump_nodes(const struct step *step, FILE *file)
{
    const char *sign = "";
    if (step->load)
        for (int n = 0; n < step->chain->node_count; n++)
            fprintf(file, "%s ", step->chain->nodes[n]->op->name);
    if (step->load)
        fprintf(file, "-> ");
    if (step->kernel)
        fprintf(file, "%s", step->kernel->op->name);
    for (int i = 0; i < step->tail_count; i++)
        fprintf(file, " + %s", step->tail[i]->op->name);
    for (int n = 0; !step->kernel && n < step->chain->node_count; n++) {
        fprintf(file, "%s%s", sign, step->chain->nodes[n]->op->name);
        sign = " ";
    }
    if (!step->kernel && !step->chain->node_count)
        fprintf(file, "copy");
}

qn_status qn_plan_dump_text(const qn_plan *plan, FILE *file)
{
    char shape[128];
    for (int s = 0; s < plan->step_count; s++) {
        const struct step *step = &plan->steps[s];
        const struct value *v = value_of(plan, step->root);
        int block = step->is_copy ? v->copy_block : v->block;
        fprintf(file, "%3d  ", s);
        dump_nodes(step, file);
        fprintf(file, "  %%%d %s %s", step->root->id,
                qn_dtype_name(step->root->dtype),
                qn_shape_text(&step->root->shape, shape, sizeof shape));
        if (block != NO_BLOCK) {
            const struct block *b = &plan->blocks[block];
            fprintf(file, "  %s", memory_name(b->memory));
            if (b->memory == MEMORY_ARENA || b->memory == MEMORY_PART)
                fprintf(file, "@%lld", (long long)b->offset);
            fprintf(file, "+%lld", (long long)b->size);
        }
        fprintf(file, "  %d launch%s%s%s%s\n", step->command_count,
                step->command_count == 1 ? "" : "es",
                step->runs_once ? ", once" : "",
                *step->root->name ? "  " : "", step->root->name);
    }
    fprintf(file, "%d launches a run, %lld bytes in the arena\n",
            plan->stats.launches, (long long)plan->arena_size);
    return ferror(file) ? QN_IO : QN_OK;
}
