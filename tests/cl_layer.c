// An OpenCL layer (OPENCL_LAYERS=cl_layer.so) between any program and its
// driver: counts calls and objects, makes chosen calls fail, and at exit
// writes what it saw. Knows nothing of the library under test.
//
//   QUERN_LAYER_REPORT  file that gets the report, a line each:
//                         call FUNCTION COUNT
//                         object KIND CREATED RETAINED RELEASED
//                         launch KERNEL COUNT
//                         stray COUNT
//                         failed COUNT
//   QUERN_LAYER_FAIL    [FUNCTION:]N[+]:CODE, as layer_fail in cl_layer.h;
//                       "+" is persistent: clCreateBuffer:3:-4
#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>
#include <CL/cl_layer.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cl_layer.h"

#define EXPORT __attribute__((visibility("default")))

EXPORT layer_count_function layer_count;
EXPORT layer_fail_function layer_fail;
EXPORT layer_failed_function layer_failed;

// ---- the functions watched ----
// STATUS(name, parameters, arguments): returns a status.
// WAIT: the same, waits for the device.
// RETAIN, RELEASE(name, kind, type).
// ENQUEUE(name, waits, parameters, arguments): may make an event, through
// the last parameter `made`.
// CREATE(name, kind, type, parameters, arguments): returns an object, status
// through the last parameter `error`.
#define WAIT_PARAMS cl_uint count, const cl_event *waits, cl_event *made
#define WAIT_ARGS count, waits, made

#define INFO_LIST(STATUS, INFO)                                              \
    STATUS(clGetPlatformIDs, (cl_uint n, cl_platform_id *ids, cl_uint *got), \
           (n, ids, got))                                                    \
    STATUS(clGetDeviceIDs,                                                   \
           (cl_platform_id platform, cl_device_type type, cl_uint n,         \
            cl_device_id *ids, cl_uint *got),                                \
           (platform, type, n, ids, got))                                    \
    INFO(clGetPlatformInfo, cl_platform_id)                                  \
    INFO(clGetDeviceInfo, cl_device_id)                                      \
    INFO(clGetContextInfo, cl_context)                                       \
    INFO(clGetCommandQueueInfo, cl_command_queue)                            \
    INFO(clGetMemObjectInfo, cl_mem)                                         \
    INFO(clGetProgramInfo, cl_program)                                       \
    INFO(clGetKernelInfo, cl_kernel)                                         \
    INFO(clGetEventInfo, cl_event)                                           \
    INFO(clGetEventProfilingInfo, cl_event)                                  \
    STATUS(clGetProgramBuildInfo,                                            \
           (cl_program program, cl_device_id device, cl_uint what,           \
            size_t size, void *value, size_t *got),                          \
           (program, device, what, size, value, got))                        \
    STATUS(clGetKernelWorkGroupInfo,                                         \
           (cl_kernel kernel, cl_device_id device, cl_uint what,             \
            size_t size, void *value, size_t *got),                          \
           (kernel, device, what, size, value, got))                         \
    STATUS(clGetKernelArgInfo,                                               \
           (cl_kernel kernel, cl_uint index, cl_uint what, size_t size,      \
            void *value, size_t *got),                                       \
           (kernel, index, what, size, value, got))

#define CALL_LIST(STATUS, WAIT)                                              \
    STATUS(clBuildProgram,                                                   \
           (cl_program program, cl_uint n, const cl_device_id *devices,      \
            const char *options,                                             \
            void(CL_CALLBACK * notify)(cl_program, void *), void *user),     \
           (program, n, devices, options, notify, user))                     \
    STATUS(clSetKernelArg,                                                   \
           (cl_kernel kernel, cl_uint index, size_t size,                    \
            const void *value),                                              \
           (kernel, index, size, value))                                     \
    STATUS(clSetUserEventStatus, (cl_event event, cl_int status),            \
           (event, status))                                                  \
    STATUS(clSetEventCallback,                                               \
           (cl_event event, cl_int type,                                     \
            void(CL_CALLBACK * notify)(cl_event, cl_int, void *),            \
            void *user),                                                     \
           (event, type, notify, user))                                      \
    STATUS(clFlush, (cl_command_queue queue), (queue))                       \
    WAIT(clFinish, (cl_command_queue queue), (queue))                        \
    WAIT(clWaitForEvents, (cl_uint count, const cl_event *waits),            \
         (count, waits))

#define REFERENCE_LIST(RETAIN, RELEASE)                                      \
    RETAIN(clRetainContext, CONTEXT, cl_context)                             \
    RETAIN(clRetainCommandQueue, QUEUE, cl_command_queue)                    \
    RETAIN(clRetainMemObject, BUFFER, cl_mem)                                \
    RETAIN(clRetainProgram, PROGRAM, cl_program)                             \
    RETAIN(clRetainKernel, KERNEL, cl_kernel)                                \
    RETAIN(clRetainEvent, EVENT, cl_event)                                   \
    RELEASE(clReleaseContext, CONTEXT, cl_context)                           \
    RELEASE(clReleaseCommandQueue, QUEUE, cl_command_queue)                  \
    RELEASE(clReleaseMemObject, BUFFER, cl_mem)                              \
    RELEASE(clReleaseProgram, PROGRAM, cl_program)                           \
    RELEASE(clReleaseKernel, KERNEL, cl_kernel)                              \
    RELEASE(clReleaseEvent, EVENT, cl_event)

#define ENQUEUE_LIST(ENQUEUE)                                                \
    ENQUEUE(clEnqueueReadBuffer, blocking,                                   \
            (cl_command_queue queue, cl_mem buffer, cl_bool blocking,        \
             size_t offset, size_t size, void *data, WAIT_PARAMS),           \
            (queue, buffer, blocking, offset, size, data, WAIT_ARGS))        \
    ENQUEUE(clEnqueueWriteBuffer, blocking,                                  \
            (cl_command_queue queue, cl_mem buffer, cl_bool blocking,        \
             size_t offset, size_t size, const void *data, WAIT_PARAMS),     \
            (queue, buffer, blocking, offset, size, data, WAIT_ARGS))        \
    ENQUEUE(clEnqueueReadBufferRect, blocking,                               \
            (cl_command_queue queue, cl_mem buffer, cl_bool blocking,        \
             const size_t *origin, const size_t *host, const size_t *region, \
             size_t row, size_t slice, size_t host_row, size_t host_slice,   \
             void *data, WAIT_PARAMS),                                       \
            (queue, buffer, blocking, origin, host, region, row, slice,      \
             host_row, host_slice, data, WAIT_ARGS))                         \
    ENQUEUE(clEnqueueWriteBufferRect, blocking,                              \
            (cl_command_queue queue, cl_mem buffer, cl_bool blocking,        \
             const size_t *origin, const size_t *host, const size_t *region, \
             size_t row, size_t slice, size_t host_row, size_t host_slice,   \
             const void *data, WAIT_PARAMS),                                 \
            (queue, buffer, blocking, origin, host, region, row, slice,      \
             host_row, host_slice, data, WAIT_ARGS))                         \
    ENQUEUE(clEnqueueCopyBuffer, 0,                                          \
            (cl_command_queue queue, cl_mem from, cl_mem to,                 \
             size_t from_offset, size_t to_offset, size_t size,              \
             WAIT_PARAMS),                                                   \
            (queue, from, to, from_offset, to_offset, size, WAIT_ARGS))      \
    ENQUEUE(clEnqueueFillBuffer, 0,                                          \
            (cl_command_queue queue, cl_mem buffer, const void *pattern,     \
             size_t pattern_size, size_t offset, size_t size, WAIT_PARAMS),  \
            (queue, buffer, pattern, pattern_size, offset, size, WAIT_ARGS)) \
    ENQUEUE(clEnqueueUnmapMemObject, 0,                                      \
            (cl_command_queue queue, cl_mem buffer, void *data,              \
             WAIT_PARAMS),                                                   \
            (queue, buffer, data, WAIT_ARGS))                                \
    ENQUEUE(clEnqueueMigrateMemObjects, 0,                                   \
            (cl_command_queue queue, cl_uint n, const cl_mem *buffers,       \
             cl_mem_migration_flags flags, WAIT_PARAMS),                     \
            (queue, n, buffers, flags, WAIT_ARGS))                           \
    ENQUEUE(clEnqueueMarkerWithWaitList, 0,                                  \
            (cl_command_queue queue, WAIT_PARAMS), (queue, WAIT_ARGS))       \
    ENQUEUE(clEnqueueBarrierWithWaitList, 0,                                 \
            (cl_command_queue queue, WAIT_PARAMS), (queue, WAIT_ARGS))       \
    ENQUEUE(clEnqueueNDRangeKernel, (note_launch(kernel), 0),                \
            (cl_command_queue queue, cl_kernel kernel, cl_uint dims,         \
             const size_t *offset, const size_t *global,                     \
             const size_t *local, WAIT_PARAMS),                              \
            (queue, kernel, dims, offset, global, local, WAIT_ARGS))

#define CREATE_LIST(CREATE)                                                  \
    CREATE(clCreateContext, CONTEXT, cl_context,                             \
           (const cl_context_properties *properties, cl_uint n,              \
            const cl_device_id *devices,                                     \
            void(CL_CALLBACK * notify)(const char *, const void *, size_t,   \
                                       void *),                              \
            void *user, cl_int *error),                                      \
           (properties, n, devices, notify, user, error))                    \
    CREATE(clCreateCommandQueue, QUEUE, cl_command_queue,                    \
           (cl_context context, cl_device_id device,                         \
            cl_command_queue_properties properties, cl_int *error),          \
           (context, device, properties, error))                             \
    CREATE(clCreateCommandQueueWithProperties, QUEUE, cl_command_queue,      \
           (cl_context context, cl_device_id device,                         \
            const cl_queue_properties *properties, cl_int *error),           \
           (context, device, properties, error))                             \
    CREATE(clCreateBuffer, BUFFER, cl_mem,                                   \
           (cl_context context, cl_mem_flags flags, size_t size, void *host, \
            cl_int *error),                                                  \
           (context, flags, size, host, error))                              \
    CREATE(clCreateSubBuffer, BUFFER, cl_mem,                                \
           (cl_mem buffer, cl_mem_flags flags, cl_buffer_create_type type,   \
            const void *info, cl_int *error),                                \
           (buffer, flags, type, info, error))                               \
    CREATE(clCreateProgramWithSource, PROGRAM, cl_program,                   \
           (cl_context context, cl_uint n, const char **strings,             \
            const size_t *sizes, cl_int *error),                             \
           (context, n, strings, sizes, error))                              \
    CREATE(clCreateProgramWithBinary, PROGRAM, cl_program,                   \
           (cl_context context, cl_uint n, const cl_device_id *devices,      \
            const size_t *sizes, const unsigned char **binaries,             \
            cl_int *codes, cl_int *error),                                   \
           (context, n, devices, sizes, binaries, codes, error))             \
    CREATE(clCreateKernel, KERNEL, cl_kernel,                                \
           (cl_program program, const char *name, cl_int *error),            \
           (program, name, error))                                           \
    CREATE(clCreateUserEvent, EVENT, cl_event,                               \
           (cl_context context, cl_int *error), (context, error))

// ---- what has been seen ----

enum kind { CONTEXT, QUEUE, BUFFER, PROGRAM, KERNEL, EVENT, KIND_COUNT };
static const char *const kind_names[KIND_COUNT] = {
    "context", "queue", "buffer", "program", "kernel", "event"};

enum function {
#define MEMBER(name, ...) F_##name,
    INFO_LIST(MEMBER, MEMBER) CALL_LIST(MEMBER, MEMBER)
    REFERENCE_LIST(MEMBER, MEMBER) ENQUEUE_LIST(MEMBER) CREATE_LIST(MEMBER)
    F_clEnqueueMapBuffer, FUNCTION_COUNT
};
static const char *const function_names[FUNCTION_COUNT] = {
#define NAME(name, ...) #name,
    INFO_LIST(NAME, NAME) CALL_LIST(NAME, NAME) REFERENCE_LIST(NAME, NAME)
    ENQUEUE_LIST(NAME) CREATE_LIST(NAME) "clEnqueueMapBuffer"};

// References held to one object; an address may come back after its release.
struct object {
    const void *handle;
    enum kind kind;
    long references;
};

struct launches {
    char kernel[128];
    long count;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static const cl_icd_dispatch *target;
static long calls[FUNCTION_COUNT];
static long all_calls, blocking_calls, stray;
static long created[KIND_COUNT], retained[KIND_COUNT], released[KIND_COUNT];
static struct object *objects; // a hash table, open addressing
static size_t object_capacity, object_used;
static struct launches launches[512];
static int launch_count;

static struct {
    int function; // or -1: any
    long left;    // calls until it fails; 0: disarmed
    cl_int code;
    int persistent;
    int reached; // persistent: failing has begun
    long failed;
    const char *first;
} plan = {.first = ""};

static struct object *find_slot(const void *handle)
{
    size_t i = (uintptr_t)handle / 16 * 0x9e3779b97f4a7c15u % object_capacity;
    while (objects[i].handle && objects[i].handle != handle)
        i = (i + 1) % object_capacity;
    return &objects[i];
}

static void grow(void)
{
    struct object *old = objects;
    size_t count = object_capacity;
    object_capacity = count ? count * 2 : 1021;
    objects = calloc(object_capacity, sizeof *objects);
    if (!objects)
        abort();
    object_used = 0;
    for (size_t i = 0; i < count; i++) {
        if (!old[i].references)
            continue;
        *find_slot(old[i].handle) = old[i];
        object_used++;
    }
    free(old);
}

static void note_create(enum kind kind, const void *handle)
{
    if (!handle)
        return;
    pthread_mutex_lock(&mutex);
    if (object_used * 2 >= object_capacity)
        grow();
    struct object *object = find_slot(handle);
    object_used += !object->handle;
    object->handle = handle;
    object->kind = kind;
    object->references++;
    created[kind]++;
    pthread_mutex_unlock(&mutex);
}

// Adds `change` references; 0 if the object is not alive.
static int note_reference(enum kind kind, const void *handle, int change)
{
    pthread_mutex_lock(&mutex);
    struct object *object = object_capacity ? find_slot(handle) : NULL;
    int alive = object && object->references > 0 && object->kind == kind;
    if (alive)
        object->references += change;
    else
        stray++;
    (change > 0 ? retained : released)[kind] += alive;
    pthread_mutex_unlock(&mutex);
    return alive;
}

static void note_launch(cl_kernel kernel)
{
    char name[sizeof launches->kernel];
    if (target->clGetKernelInfo(kernel, CL_KERNEL_FUNCTION_NAME, sizeof name,
                                name, NULL) != CL_SUCCESS)
        return;
    pthread_mutex_lock(&mutex);
    int i = 0;
    while (i < launch_count && strcmp(launches[i].kernel, name) != 0)
        i++;
    if (i < (int)(sizeof launches / sizeof *launches)) {
        if (i == launch_count)
            strcpy(launches[launch_count++].kernel, name);
        launches[i].count++;
    }
    pthread_mutex_unlock(&mutex);
}

// Counts a call; the code to fail with, or CL_SUCCESS to carry it out.
static cl_int begin(enum function function, int waits)
{
    cl_int code = CL_SUCCESS;
    pthread_mutex_lock(&mutex);
    calls[function]++;
    all_calls++;
    blocking_calls += waits != 0;
    int fits = plan.function < 0 || plan.function == (int)function;
    if (plan.reached && plan.persistent && fits)
        code = plan.code;
    if (plan.left > 0 && fits && --plan.left == 0) {
        plan.reached = 1;
        code = plan.code;
    }
    if (code != CL_SUCCESS && plan.failed++ == 0)
        plan.first = function_names[function];
    pthread_mutex_unlock(&mutex);
    return code;
}

// ---- the wrappers ----

#define DEFINE_STATUS(name, params, args)                                    \
    static cl_int CL_API_CALL do_##name params                               \
    {                                                                        \
        cl_int code = begin(F_##name, 0);                                    \
        return code ? code : target->name args;                              \
    }
#define DEFINE_WAIT(name, params, args)                                      \
    static cl_int CL_API_CALL do_##name params                               \
    {                                                                        \
        cl_int code = begin(F_##name, 1);                                    \
        return code ? code : target->name args;                              \
    }
#define DEFINE_INFO(name, type)                                              \
    DEFINE_STATUS(name,                                                      \
                  (type object, cl_uint what, size_t size, void *value,      \
                   size_t *got),                                             \
                  (object, what, size, value, got))
#define DEFINE_RETAIN(name, kind, type)                                      \
    static cl_int CL_API_CALL do_##name(type object)                         \
    {                                                                        \
        cl_int code = begin(F_##name, 0);                                    \
        if (code)                                                            \
            return code;                                                     \
        note_reference(kind, object, 1);                                     \
        return target->name(object);                                         \
    }
#define DEFINE_RELEASE(name, kind, type)                                     \
    static cl_int CL_API_CALL do_##name(type object)                         \
    {                                                                        \
        cl_int code = begin(F_##name, 0);                                    \
        if (!note_reference(kind, object, -1))                               \
            return CL_INVALID_VALUE;                                         \
        cl_int result = target->name(object);                                \
        return code ? code : result;                                         \
    }
#define DEFINE_ENQUEUE(name, waits_now, params, args)                        \
    static cl_int CL_API_CALL do_##name params                               \
    {                                                                        \
        cl_int code = begin(F_##name, waits_now);                            \
        if (code)                                                            \
            return code;                                                     \
        code = target->name args;                                            \
        if (code == CL_SUCCESS && made)                                      \
            note_create(EVENT, *made);                                       \
        return code;                                                         \
    }
#define DEFINE_CREATE(name, kind, type, params, args)                        \
    static type CL_API_CALL do_##name params                                 \
    {                                                                        \
        cl_int code = begin(F_##name, 0);                                    \
        if (code) {                                                          \
            if (error)                                                       \
                *error = code;                                               \
            return NULL;                                                     \
        }                                                                    \
        type object = target->name args;                                     \
        note_create(kind, object);                                           \
        return object;                                                       \
    }

INFO_LIST(DEFINE_STATUS, DEFINE_INFO)
CALL_LIST(DEFINE_STATUS, DEFINE_WAIT)
REFERENCE_LIST(DEFINE_RETAIN, DEFINE_RELEASE)
ENQUEUE_LIST(DEFINE_ENQUEUE)
CREATE_LIST(DEFINE_CREATE)

static void *CL_API_CALL do_clEnqueueMapBuffer(
    cl_command_queue queue, cl_mem buffer, cl_bool blocking,
    cl_map_flags flags, size_t offset, size_t size, WAIT_PARAMS,
    cl_int *error)
{
    cl_int code = begin(F_clEnqueueMapBuffer, blocking != CL_FALSE);
    if (code) {
        if (error)
            *error = code;
        return NULL;
    }
    void *data = target->clEnqueueMapBuffer(queue, buffer, blocking, flags,
                                            offset, size, WAIT_ARGS, error);
    if (data && made)
        note_create(EVENT, *made);
    return data;
}

// ---- questions and orders ----

static long live(int kind)
{
    return created[kind] + retained[kind] - released[kind];
}

static long sum_creates(void)
{
    long sum = 0;
    for (int i = 0; i < KIND_COUNT; i++)
        sum += i == EVENT ? 0 : created[i];
    return sum;
}

static long sum_live(void)
{
    long sum = 0;
    for (int i = 0; i < KIND_COUNT; i++)
        sum += live(i);
    return sum;
}

static int find_function(const char *name)
{
    for (int i = 0; i < FUNCTION_COUNT; i++)
        if (strcmp(function_names[i], name) == 0)
            return i;
    return -1;
}

static long look_up(const char *what)
{
    const struct {
        const char *name;
        long value;
    } totals[] = {
        {"calls", all_calls},        {"creates", sum_creates()},
        {"blocking", blocking_calls}, {"live", sum_live()},
        {"failed", plan.failed},     {"stray", stray},
    };
    for (size_t i = 0; i < sizeof totals / sizeof *totals; i++)
        if (strcmp(totals[i].name, what) == 0)
            return totals[i].value;
    for (int i = 0; i < KIND_COUNT; i++)
        if (strcmp(kind_names[i], what) == 0)
            return live(i);
    int function = find_function(what);
    return function < 0 ? -1 : calls[function];
}

long layer_count(const char *what)
{
    pthread_mutex_lock(&mutex);
    long count = look_up(what);
    pthread_mutex_unlock(&mutex);
    return count;
}

void layer_fail(const char *function, long nth, int code, int persistent)
{
    pthread_mutex_lock(&mutex);
    plan.function = function ? find_function(function) : -1;
    plan.left = nth;
    plan.code = code;
    plan.persistent = persistent;
    plan.reached = 0;
    plan.failed = 0;
    plan.first = "";
    pthread_mutex_unlock(&mutex);
}

const char *layer_failed(void)
{
    return plan.first;
}

// [FUNCTION:]N[+]:CODE
static void read_order(const char *text)
{
    char function[64] = "", plus[2] = "";
    long nth = 0;
    int code = 0;
    if (strncmp(text, "cl", 2) == 0) {
        if (sscanf(text, "%63[A-Za-z]:", function) != 1)
            abort();
        text += strlen(function) + 1;
    }
    if (sscanf(text, "%ld:%d", &nth, &code) != 2 &&
        sscanf(text, "%ld%1[+]:%d", &nth, plus, &code) != 3) {
        fprintf(stderr, "QUERN_LAYER_FAIL: [FUNCTION:]N[+]:CODE\n");
        abort();
    }
    layer_fail(*function ? function : NULL, nth, code, *plus != 0);
}

static void write_report(void)
{
    const char *path = getenv("QUERN_LAYER_REPORT");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (!file)
        return;
    for (int i = 0; i < FUNCTION_COUNT; i++)
        if (calls[i])
            fprintf(file, "call %s %ld\n", function_names[i], calls[i]);
    for (int i = 0; i < KIND_COUNT; i++)
        fprintf(file, "object %s %ld %ld %ld\n", kind_names[i], created[i],
                retained[i], released[i]);
    for (int i = 0; i < launch_count; i++)
        fprintf(file, "launch %s %ld\n", launches[i].kernel,
                launches[i].count);
    fprintf(file, "stray %ld\nfailed %ld\n", stray, plan.failed);
    fclose(file);
}

// ---- the loader's side ----

EXPORT cl_int CL_API_CALL clGetLayerInfo(cl_layer_info name, size_t size,
                                         void *value, size_t *got)
{
    const cl_layer_api_version version = CL_LAYER_API_VERSION_100;
    const char *title = "quern tests";
    size_t need = name == CL_LAYER_API_VERSION ? sizeof version
                  : name == CL_LAYER_NAME      ? strlen(title) + 1
                                               : 0;
    if (!need || (value && size < need))
        return CL_INVALID_VALUE;
    if (value)
        memcpy(value, name == CL_LAYER_NAME ? (const void *)title : &version,
               need);
    if (got)
        *got = need;
    return CL_SUCCESS;
}

EXPORT cl_int CL_API_CALL clInitLayer(cl_uint count,
                                      const cl_icd_dispatch *dispatch,
                                      cl_uint *count_out,
                                      const cl_icd_dispatch **out)
{
    static cl_icd_dispatch table;
    if (!dispatch || !count_out || !out ||
        count < sizeof table / sizeof(void *))
        return CL_INVALID_VALUE;
    target = dispatch;
    table = *dispatch;
#define FILL(name, ...) table.name = do_##name;
    INFO_LIST(FILL, FILL)
    CALL_LIST(FILL, FILL)
    REFERENCE_LIST(FILL, FILL)
    ENQUEUE_LIST(FILL)
    CREATE_LIST(FILL)
    FILL(clEnqueueMapBuffer, )
    *out = &table;
    *count_out = sizeof table / sizeof(void *);
    if (getenv("QUERN_LAYER_FAIL"))
        read_order(getenv("QUERN_LAYER_FAIL"));
    atexit(write_report);
    return CL_SUCCESS;
}
