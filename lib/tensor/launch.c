// Writing launch descriptions. Knows no device.
#include "tensor/launch.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static struct qn_launch *append(struct qn_work *work)
{
    if (work->launch_count == work->launch_capacity) {
        int capacity = work->launch_capacity ? 2 * work->launch_capacity : 4;
        struct qn_launch **launches = qn_arena_alloc(
            &work->arena, (size_t)capacity * sizeof *launches);
        if (!launches)
            return NULL;
        if (work->launch_count)
            memcpy(launches, work->launches,
                   (size_t)work->launch_count * sizeof *launches);
        work->launches = launches;
        work->launch_capacity = capacity;
    }
    struct qn_launch *launch = qn_arena_alloc(&work->arena, sizeof *launch);
    if (launch)
        work->launches[work->launch_count++] = launch;
    return launch;
}

struct qn_launch *qn_work_add(struct qn_work *work, const char *file,
                              const char *kernel, qn_dtype real)
{
    struct qn_launch *launch = append(work);
    if (!launch) {
        work->failed = true;
        launch = &work->spare;
    }
    *launch = (struct qn_launch){.file = file, .kernel = kernel, .real = real};
    return launch;
}

void qn_work_finish(struct qn_work *work)
{
    qn_arena_finish(&work->arena);
    *work = (struct qn_work){0};
}

int qn_work_scratch(struct qn_work *work, int64_t size)
{
    assert(work->scratch_count < QN_MAX_SCRATCH);
    work->scratch_size[work->scratch_count] = size;
    return QN_OPERAND_SCRATCH + work->scratch_count++;
}

void qn_launch_define(struct qn_launch *launch, const char *name,
                      int64_t value)
{
    size_t used = strlen(launch->defines);
    int length = snprintf(launch->defines + used,
                          sizeof launch->defines - used, "%s-D%s=%lld",
                          used ? " " : "", name, (long long)value);
    assert(used + (size_t)length < sizeof launch->defines);
    (void)length;
}

static struct qn_arg *add_arg(struct qn_launch *launch, enum qn_arg_kind kind)
{
    assert(launch->arg_count < QN_MAX_ARGS);
    struct qn_arg *arg = &launch->args[launch->arg_count++];
    *arg = (struct qn_arg){.kind = kind};
    return arg;
}

void qn_launch_buffer(struct qn_launch *launch, int operand)
{
    add_arg(launch, QN_ARG_BUFFER)->operand = operand;
}

void qn_launch_live(struct qn_launch *launch, int operand)
{
    add_arg(launch, QN_ARG_LIVE)->operand = operand;
}

void qn_launch_live_uint(struct qn_launch *launch, int operand)
{
    add_arg(launch, QN_ARG_LIVE_UINT)->operand = operand;
}

void qn_launch_int(struct qn_launch *launch, int64_t value)
{
    add_arg(launch, QN_ARG_INT)->integer = value;
}

// An int of the same bits, which is what the kernel's argument takes.
void qn_launch_uint(struct qn_launch *launch, uint32_t value)
{
    qn_launch_int(launch, value > INT32_MAX ? value - (INT64_C(1) << 32)
                                            : (int64_t)value);
}

void qn_launch_long(struct qn_launch *launch, int64_t value)
{
    add_arg(launch, QN_ARG_LONG)->integer = value;
}

void qn_launch_real(struct qn_launch *launch, double value)
{
    add_arg(launch, QN_ARG_REAL)->real = value;
}

void qn_launch_local(struct qn_launch *launch, int64_t size)
{
    add_arg(launch, QN_ARG_LOCAL)->integer = size;
}

void qn_launch_hooks(struct qn_launch *launch, int offered)
{
    launch->store_hooks = offered;
    add_arg(launch, QN_ARG_HOOKS);
    qn_launch_buffer(launch, QN_OPERAND_HOOK_ROW);
    qn_launch_buffer(launch, QN_OPERAND_HOOK_FULL);
    qn_launch_buffer(launch, QN_OPERAND_HOOK_GATE);
}

void qn_launch_load(struct qn_launch *launch, int operand)
{
    launch->load_operand = operand;
    add_arg(launch, QN_ARG_LOAD)->operand = operand;
}

void qn_launch_grid(struct qn_launch *launch, size_t groups_x,
                    size_t groups_y, size_t groups_z, size_t local_x,
                    size_t local_y)
{
    launch->dims = groups_z > 1 ? 3 : groups_y > 1 || local_y > 1 ? 2 : 1;
    launch->local[0] = local_x;
    launch->local[1] = local_y;
    launch->local[2] = 1;
    launch->global[0] = groups_x * local_x;
    launch->global[1] = groups_y * local_y;
    launch->global[2] = groups_z;
}
