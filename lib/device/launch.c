// Commands: a launch description bound to its buffers as a kernel object with
// all its arguments set. One loop sets them, whatever the kernel.
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "device/state.h"

// An argument that is set anew for each run.
struct live_arg {
    cl_uint index;
    int live;
    enum qn_arg_kind kind;
};

struct qn_command {
    qn_device *device;
    struct qn_program *program;
    cl_kernel kernel;
    struct qn_external *external; // instead of program and kernel
    cl_uint dims;
    size_t global[3];
    size_t local[3];
    bool has_local;
    bool is_empty; // no work-items: nothing to enqueue
    bool is_double;
    int live_count;
    struct live_arg *lives;
    int row; // of the profile
    double flops;
    double bytes;
    char name[128]; // "matmul:matmul_nt"
};

// Bytes of an argument as the kernel takes it. `size` 0: a null pointer.
union value {
    cl_mem buffer;
    cl_int i32;
    cl_uint u32;
    cl_long i64;
    cl_float f32;
    cl_double f64;
};

static const struct qn_binding *find_binding(const struct qn_binding *bindings,
                                             int count, int operand)
{
    for (int i = 0; i < count; i++)
        if (bindings[i].operand == operand)
            return &bindings[i];
    return NULL;
}

static size_t real_value(double real, bool is_double, union value *value)
{
    if (is_double)
        value->f64 = real;
    else
        value->f32 = (cl_float)real;
    return is_double ? sizeof value->f64 : sizeof value->f32;
}

static size_t live_value(enum qn_arg_kind kind, double live, bool is_double,
                         union value *value)
{
    if (kind == QN_ARG_LIVE)
        return real_value(live, is_double, value);
    value->u32 = (cl_uint)live;
    return sizeof value->u32;
}

// What is constant in an argument. Live ones get 0 until the first run.
static size_t constant_value(const struct qn_arg *arg,
                             const struct qn_buffer *buffer, int hooks,
                             bool is_double, union value *value)
{
    switch (arg->kind) {
    case QN_ARG_BUFFER:
    case QN_ARG_LOAD:
        value->buffer = buffer ? qn_buffer_handle(buffer) : NULL;
        return sizeof value->buffer;
    case QN_ARG_LIVE:
    case QN_ARG_LIVE_UINT:
        return live_value(arg->kind, 0, is_double, value);
    case QN_ARG_INT:
        value->i32 = (cl_int)arg->integer;
        return sizeof value->i32;
    case QN_ARG_HOOKS:
        value->i32 = hooks;
        return sizeof value->i32;
    case QN_ARG_LONG:
        value->i64 = arg->integer;
        return sizeof value->i64;
    case QN_ARG_REAL:
        return real_value(arg->real, is_double, value);
    case QN_ARG_LOCAL:
        return (size_t)arg->integer;
    }
    return 0;
}

static bool is_hook(int operand)
{
    return operand >= QN_OPERAND_HOOK_ROW && operand <= QN_OPERAND_HOOK_GATE;
}

static qn_status set_arg(struct qn_command *command, cl_uint index,
                         const struct qn_arg *arg,
                         const struct qn_binding *binding, int hooks,
                         qn_error *error)
{
    bool is_live = arg->kind == QN_ARG_LIVE || arg->kind == QN_ARG_LIVE_UINT;
    bool is_buffer = arg->kind == QN_ARG_BUFFER || arg->kind == QN_ARG_LOAD;
    if ((is_live && (!binding || binding->live < 0)) ||
        (is_buffer && !binding && !is_hook(arg->operand)))
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "%s: argument %u (operand %d) is bound to nothing",
                       command->name, (unsigned)index, arg->operand);
    if (arg->kind == QN_ARG_INT &&
        (arg->integer < INT_MIN || arg->integer > INT_MAX))
        return qn_fail(error, QN_UNSUPPORTED,
                       "%s: argument %u is %lld, which no int holds",
                       command->name, (unsigned)index,
                       (long long)arg->integer);
    union value value;
    size_t size = constant_value(arg, binding ? binding->buffer : NULL, hooks,
                                 command->is_double, &value);
    const void *data = arg->kind == QN_ARG_LOCAL ? NULL : &value;
    cl_int code = clSetKernelArg(command->kernel, index, size, data);
    if (code != CL_SUCCESS)
        return qn_fail(error, QN_DEVICE,
                       "%s: clSetKernelArg, argument %u: %s (%d)",
                       command->name, (unsigned)index, qn_cl_name(code),
                       (int)code);
    if (is_live)
        command->lives[command->live_count++] =
            (struct live_arg){index, binding->live, arg->kind};
    return QN_OK;
}

static qn_status set_args(struct qn_command *command,
                          const struct qn_launch *launch,
                          const struct qn_binding *bindings, int binding_count,
                          int hooks, qn_error *error)
{
    for (int i = 0; i < launch->arg_count; i++)
        QN_TRY(set_arg(command, (cl_uint)i, &launch->args[i],
                       find_binding(bindings, binding_count,
                                    launch->args[i].operand),
                       hooks, error));
    cl_uint wanted = 0;
    CL_TRY(error, clGetKernelInfo(command->kernel, CL_KERNEL_NUM_ARGS,
                                  sizeof wanted, &wanted, NULL));
    if (wanted != (cl_uint)launch->arg_count)
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "%s takes %u arguments and its launch has %d",
                       command->name, (unsigned)wanted, launch->arg_count);
    return QN_OK;
}

// The driver's limit for this very kernel may be below the device's.
static qn_status set_grid(struct qn_command *command,
                          const struct qn_launch *launch, qn_error *error)
{
    size_t group = 1, limit = 0;
    command->dims = (cl_uint)launch->dims;
    command->has_local = launch->local[0] != 0;
    for (int i = 0; i < launch->dims; i++) {
        command->global[i] = launch->global[i];
        command->local[i] = launch->local[i];
        command->is_empty |= launch->global[i] == 0;
        if (!command->has_local)
            continue;
        if (launch->local[i] == 0 || launch->global[i] % launch->local[i])
            return qn_fail(error, QN_BAD_ARGUMENT,
                           "%s: %zu work-items do not divide into groups of "
                           "%zu",
                           command->name, launch->global[i], launch->local[i]);
        group *= launch->local[i];
    }
    CL_TRY(error, clGetKernelWorkGroupInfo(
                      command->kernel, command->device->id,
                      CL_KERNEL_WORK_GROUP_SIZE, sizeof limit, &limit, NULL));
    if (group > limit)
        return qn_fail(error, QN_UNSUPPORTED,
                       "%s wants groups of %zu work-items and this device "
                       "runs at most %zu of it",
                       command->name, group, limit);
    return QN_OK;
}

// A program from the disk cache that lacks the kernel is built anew.
static qn_status make_kernel(struct qn_command *command,
                             const struct qn_launch *launch, qn_error *error)
{
    qn_device *device = command->device;
    cl_int code;
    QN_TRY(qn_program_get(device, launch, &command->program, error));
    struct qn_program *program = command->program;
    command->kernel = clCreateKernel(program->handle, launch->kernel, &code);
    if (code != CL_SUCCESS && program->is_cached) {
        QN_TRY(qn_program_rebuild(device, launch, program, error));
        command->kernel = clCreateKernel(program->handle, launch->kernel,
                                         &code);
    }
    if (code != CL_SUCCESS)
        return qn_fail(error, QN_BUILD, "%s: clCreateKernel: %s (%d)",
                       command->name, qn_cl_name(code), (int)code);
    return QN_OK;
}

// An external launch takes its buffers first.
static qn_status make_external(struct qn_command *command,
                               const struct qn_launch *launch,
                               const struct qn_binding *bindings,
                               int binding_count, qn_error *error)
{
    cl_mem buffers[3] = {NULL};
    for (int i = 0; i < 3 && i < launch->arg_count; i++) {
        const struct qn_binding *binding = find_binding(
            bindings, binding_count, launch->args[i].operand);
        if (!binding || !binding->buffer)
            return qn_fail(error, QN_BAD_ARGUMENT,
                           "%s: argument %d is bound to nothing",
                           command->name, i);
        buffers[i] = qn_buffer_handle(binding->buffer);
    }
    return qn_external_create(command->device, launch, buffers,
                              &command->external, error);
}

static qn_status set_up(struct qn_command *command,
                        const struct qn_launch *launch,
                        const struct qn_binding *bindings, int binding_count,
                        int hooks, qn_error *error)
{
    if (launch->is_external)
        return make_external(command, launch, bindings, binding_count, error);
    command->lives = calloc(QN_MAX_ARGS, sizeof *command->lives);
    if (!command->lives)
        return qn_fail_memory(error, QN_MAX_ARGS * sizeof *command->lives);
    QN_TRY(make_kernel(command, launch, error));
    QN_TRY(set_grid(command, launch, error));
    return set_args(command, launch, bindings, binding_count, hooks, error);
}

qn_status qn_command_create(qn_device *device, const struct qn_launch *launch,
                            const struct qn_binding *bindings,
                            int binding_count, int hooks,
                            struct qn_command **out, qn_error *error)
{
    *out = NULL;
    QN_TRY(qn_device_check(device, error));
    struct qn_command *command = calloc(1, sizeof *command);
    if (!command)
        return qn_fail_memory(error, sizeof *command);
    command->device = device;
    command->is_double = launch->real == QN_FLOAT64;
    command->flops = launch->flops;
    command->bytes = launch->bytes;
    const char *file = launch->is_external ? "external"
                       : launch->file      ? launch->file
                                           : "generated";
    snprintf(command->name, sizeof command->name, "%s:%s", file,
             launch->label ? launch->label : launch->kernel);
    command->row = device->profile ? qn_profile_row_of(device->profile,
                                                       command->name)
                                   : -1;
    qn_status status = set_up(command, launch, bindings, binding_count, hooks,
                              error);
    if (status != QN_OK)
        qn_command_destroy(&command);
    *out = command;
    return status;
}

void qn_command_destroy(struct qn_command **command)
{
    if (!command || !*command)
        return;
    if ((*command)->kernel)
        clReleaseKernel((*command)->kernel);
    qn_external_destroy(&(*command)->external);
    free((*command)->lives);
    free(*command);
    *command = NULL;
}

static qn_status enqueue(struct qn_command *command, cl_event *event,
                         qn_error *error)
{
    CL_RUN(command->device, command->name, error,
           clEnqueueNDRangeKernel(command->device->queue, command->kernel,
                                  command->dims, NULL, command->global,
                                  command->has_local ? command->local : NULL,
                                  0, NULL, event));
    command->program->has_run = true;
    return QN_OK;
}

static qn_status mark(qn_device *device, cl_event *event, qn_error *error)
{
    CL_RUN(device, NULL, error,
           clEnqueueMarkerWithWaitList(device->queue, 0, NULL, event));
    return QN_OK;
}

// CLBlast may launch several kernels and gives the event of the last: to time
// all of them, they are put between two markers.
static qn_status run_external(struct qn_command *command, qn_error *error)
{
    qn_device *device = command->device;
    cl_event *first = NULL, *last = NULL;
    if (device->profile)
        last = qn_profile_event(device->profile, command->row, command->flops,
                                command->bytes, &first);
    if (last)
        QN_TRY(mark(device, first, error));
    QN_TRY(qn_external_run(command->external, error));
    return last ? mark(device, last, error) : QN_OK;
}

qn_status qn_command_run(struct qn_command *command, const double *live,
                         qn_error *error)
{
    qn_device *device = command->device;
    QN_TRY(qn_device_check(device, error));
    if (command->external)
        return run_external(command, error);
    if (command->is_empty)
        return QN_OK;
    for (int i = 0; i < command->live_count; i++) {
        const struct live_arg *arg = &command->lives[i];
        union value value;
        size_t size = live_value(arg->kind, live[arg->live],
                                 command->is_double, &value);
        CL_RUN(device, command->name, error,
               clSetKernelArg(command->kernel, arg->index, size, &value));
    }
    cl_event *event = NULL;
    if (device->profile)
        event = qn_profile_event(device->profile, command->row, command->flops,
                                 command->bytes, NULL);
    return enqueue(command, event, error);
}

const void *qn_command_program(const struct qn_command *command)
{
    return command->program;
}
