// Which way a kernel row is carried out: the first candidate that fits, unless
// the device was told otherwise.
#include "plan/plan.h"

#include <string.h>

// The candidate forced for this row by "op:candidate,...", or NULL.
static const struct qn_candidate *find_forced(const struct qn_node *node,
                                              const char *forced)
{
    size_t length = strlen(node->op->name);
    for (const char *at = forced; at && *at;) {
        const char *end = strchr(at, ',');
        size_t size = end ? (size_t)(end - at) : strlen(at);
        if (size > length && at[length] == ':' &&
            strncmp(at, node->op->name, length) == 0) {
            const char *name = at + length + 1;
            for (const struct qn_candidate *c = node->op->candidates; c->name;
                 c++)
                if (strlen(c->name) == size - length - 1 &&
                    strncmp(c->name, name, strlen(c->name)) == 0)
                    return c;
        }
        at = end ? end + 1 : NULL;
    }
    return NULL;
}

qn_status qn_plan_describe_kernel(struct qn_plan *plan,
                                  const struct qn_node *node,
                                  struct qn_work **work)
{
    const struct qn_candidate *chosen =
        find_forced(node, plan->limits->forced);
    if (chosen && !chosen->fits(node, plan->limits))
        return qn_fail(&plan->error, QN_UNSUPPORTED,
                       "%s: the candidate \"%s\" that QUERN_KERNEL asks for "
                       "does not fit this node or device",
                       node->op->name, chosen->name);
    for (const struct qn_candidate *c = node->op->candidates;
         !chosen && c->name; c++)
        if (c->fits(node, plan->limits))
            chosen = c;
    if (!chosen)
        return qn_fail(&plan->error, QN_UNSUPPORTED,
                       "%s: no kernel fits this device", node->op->name);
    *work = qn_arena_alloc(&plan->arena, sizeof **work);
    if (!*work)
        return qn_fail_memory(&plan->error, sizeof **work);
    (*work)->candidate = chosen->name;
    chosen->describe(node, plan->limits, *work);
    return (*work)->failed ? qn_fail_memory(&plan->error, sizeof **work)
                           : QN_OK;
}
