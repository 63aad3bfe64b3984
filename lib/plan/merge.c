// One program for all chains of a plan that may share one: a program costs
// drivers far more than one more kernel in it (PoCL 0.1 s each). Knows nothing
// of what the chains do.
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "plan/plan.h"

// Parts of one program. Drivers take long, and lose the gain of a second
// core, where programs are very large.
enum { MOST_PARTS = 64 };

struct program {
    const struct qn_launch *first; // the others are built like it
    const char *parts[MOST_PARTS];
    int part_count;
    struct qn_text text, include;
};

static struct qn_launch *launch_of(const struct step *step)
{
    return step->kernel ? NULL : step->work->launches[0];
}

static bool fits(const struct program *program,
                 const struct qn_launch *launch)
{
    return launch->real == program->first->real &&
           strcmp(launch->defines, program->first->defines) == 0;
}

static int find_part(const struct program *program, const char *text)
{
    for (int i = 0; i < program->part_count; i++)
        if (strcmp(program->parts[i], text) == 0)
            return i;
    return -1;
}

// The names that every part defines anew.
static void write_head(struct qn_text *text, int part)
{
    static const char *const names[] = {"CHAIN_PARAMS", "ROW_SETUP", "CHAIN",
                                        "OUT", "STORE", "POINTWISE", "chain"};
    for (size_t i = 0; part && i < sizeof names / sizeof *names; i++)
        qn_text_add(text, "#undef %s\n", names[i]);
    qn_text_add(text, "#define POINTWISE pointwise%d\n"
                "#define chain chain%d\n", part, part);
}

static void add_include(struct qn_text *list, const char *names)
{
    while (names && *(names += strspn(names, " "))) {
        char name[64];
        const size_t length = strcspn(names, " ");
        snprintf(name, sizeof name, " %.*s ", (int)length, names);
        if (!list->data || !strstr(list->data, name))
            qn_text_add(list, "%s", name);
        names += length;
    }
}

static void add_part(struct program *program, const struct qn_launch *launch)
{
    if (find_part(program, launch->text) >= 0 ||
        program->part_count == MOST_PARTS)
        return;
    if (program->part_count)
        qn_text_add(&program->text, "\f");
    write_head(&program->text, program->part_count);
    qn_text_add(&program->text, "%s", launch->text);
    add_include(&program->include, launch->include);
    program->parts[program->part_count++] = launch->text;
}

// Makes the launches from step `s` on that fit the one of step `s` kernels of
// one program.
static qn_status merge_from(struct qn_plan *plan, int s, bool *is_merged)
{
    struct program program = {.first = launch_of(&plan->steps[s])};
    for (int i = s; i < plan->step_count; i++)
        if (launch_of(&plan->steps[i]) && !is_merged[i] &&
            fits(&program, launch_of(&plan->steps[i])))
            add_part(&program, launch_of(&plan->steps[i]));
    const bool failed = program.text.failed || program.include.failed;
    const char *text =
        failed ? NULL : qn_arena_string(&plan->arena, program.text.data);
    const char *include =
        program.include.data && !failed
            ? qn_arena_string(&plan->arena, program.include.data)
            : NULL;
    qn_text_finish(&program.text);
    qn_text_finish(&program.include);
    if (!text)
        return qn_fail_memory(&plan->error, 1);
    const struct qn_launch first = *program.first;
    program.first = &first;
    for (int i = s; i < plan->step_count; i++) {
        struct qn_launch *launch = launch_of(&plan->steps[i]);
        int part = -1;
        if (launch && !is_merged[i] && fits(&program, launch))
            part = find_part(&program, launch->text);
        if (part < 0)
            continue;
        char name[32];
        snprintf(name, sizeof name, "pointwise%d", part);
        launch->kernel = qn_arena_string(&plan->arena, name);
        launch->text = text;
        launch->include = include;
        is_merged[i] = true;
        if (!launch->kernel)
            return qn_fail_memory(&plan->error, sizeof name);
    }
    return QN_OK;
}

qn_status qn_plan_merge(struct qn_plan *plan)
{
    bool *is_merged =
        qn_arena_alloc(&plan->arena, (size_t)plan->step_count + 1);
    if (!is_merged)
        return qn_fail_memory(&plan->error, (size_t)plan->step_count);
    for (int s = 0; s < plan->step_count; s++)
        if (launch_of(&plan->steps[s]) && !is_merged[s])
            QN_TRY(merge_from(plan, s, is_merged));
    return QN_OK;
}
