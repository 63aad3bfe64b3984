// Under the OpenCL layer (cl_layer.c): objects made are released, a step in
// the steady state only enqueues, and any OpenCL call may fail without crash,
// hang or leak.
//
//   QUERN_TEST_COMMAND  the command `quern`, for a run in a process of its own
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cl_layer.h"
#include "net.h"
#include "qn_check.h"
#include "train/train.h"

static struct layer layer;
static long strays; // that were made on purpose
static int faults;
static long stride; // between the calls that are made to fail

static void open_layer(void)
{
    cl_uint count = 0;
    clGetPlatformIDs(0, NULL, &count); // loads the layer
    ck_assert_msg(layer_open(&layer),
                  "run me with OPENCL_LAYERS=.../cl_layer.so");
    layer.arm(NULL, 0, 0, 0);
    faults = 0;
}

// What is wrong with the number of objects, or NULL.
static const char *find_imbalance(void)
{
    static const char *const kinds[] = {"context", "queue",  "buffer",
                                        "program", "kernel", "event"};
    static char text[80];
    for (int i = 0; i < 6; i++) {
        snprintf(text, sizeof text, "%ld of kind %s not released",
                 layer.count(kinds[i]), kinds[i]);
        if (layer.count(kinds[i]) != 0)
            return text;
    }
    return layer.count("stray") == strays ? NULL : "released twice";
}

// ---- the layer itself ----

START_TEST(layer_counts_what_is_left_and_fails_on_order)
{
    cl_platform_id platform;
    cl_device_id device;
    cl_int code;
    open_layer();
    ck_assert_int_eq(clGetPlatformIDs(1, &platform, NULL), CL_SUCCESS);
    ck_assert_int_eq(
        clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL),
        CL_SUCCESS);
    cl_context context = clCreateContext(NULL, 1, &device, NULL, NULL, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    ck_assert_int_eq(layer.count("live"), 1);

    layer.arm("clCreateBuffer", 2, CL_OUT_OF_RESOURCES, 0);
    cl_mem first = clCreateBuffer(context, 0, 64, NULL, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    ck_assert_int_eq(layer.count("buffer"), 1);
    ck_assert_ptr_null(clCreateBuffer(context, 0, 64, NULL, &code));
    ck_assert_int_eq(code, CL_OUT_OF_RESOURCES);
    ck_assert_int_eq(layer.count("failed"), 1);
    ck_assert_str_eq(layer.failed(), "clCreateBuffer");
    layer.arm(NULL, 0, 0, 0);

    clRetainMemObject(first);
    clReleaseMemObject(first);
    ck_assert_int_eq(layer.count("buffer"), 1);
    clReleaseMemObject(first);
    clReleaseContext(context);
    ck_assert_int_eq(layer.count("live"), 0);
    clReleaseContext(context);
    ck_assert_int_eq(layer.count("stray"), 1);
    strays = 1;
    layer.arm(NULL, 0, 0, 0);
}
END_TEST

// ---- steps ----

static void expect_step(struct net *net)
{
    qn_error error = {0};
    ck_assert_ok(net_step(net, &error), error);
}

static float expect_loss(struct net *net)
{
    qn_error error = {0};
    float loss = 0;
    ck_assert_ok(net_read(net, &loss, &error), error);
    return loss;
}

// That 20 steps, after 3 to warm up, enqueue and do nothing else.
static void expect_only_enqueues(void (*step)(void *user), void *user)
{
    // All that a step may call.
    static const char *const allowed[] = {
        "clEnqueueNDRangeKernel", "clSetKernelArg", "clFlush",
        "clEnqueueCopyBuffer", "clEnqueueFillBuffer"};
    enum { ALLOWED = sizeof allowed / sizeof *allowed, STEPS = 20 };
    long before[ALLOWED], other = 0;
    const long calls = layer.count("calls"), made = layer.count("creates");
    const long events = layer.count("event");
    const long waits = layer.count("blocking");
    for (int i = 0; i < ALLOWED; i++)
        before[i] = layer.count(allowed[i]);
    for (int i = 0; i < STEPS; i++)
        step(user);
    other = layer.count("calls") - calls;
    for (int i = 0; i < ALLOWED; i++)
        other -= layer.count(allowed[i]) - before[i];
    ck_assert_int_eq(layer.count("creates") - made, 0);
    ck_assert_int_eq(layer.count("event") - events, 0);
    ck_assert_int_eq(layer.count("blocking") - waits, 0);
    ck_assert_int_eq(other, 0);
    ck_assert_int_ge(layer.count(allowed[0]) - before[0], STEPS);
}

static void step_net(void *net)
{
    expect_step(net);
}

START_TEST(steady_step_only_enqueues)
{
    struct net net;
    qn_error error = {0};
    open_layer();
    ck_assert_ok(net_init(&net, qn_check_folder(), &error), error);
    for (int i = 0; i < 3; i++)
        expect_step(&net);
    expect_loss(&net);
    expect_only_enqueues(step_net, &net);
    expect_loss(&net);
    net_finish(&net);
    ck_assert_msg(!find_imbalance(), "%s", find_imbalance());
}
END_TEST

static void step_in_parts(void *stepper)
{
    static struct qn_optimizer_step at = {.lr = 0.01};
    qn_error error = {0};
    const struct qn_step step = {&at, 0, 20};
    at.step++;
    ck_assert_ok(qn_stepper_run(stepper, &step, &error), error);
}

// A step of the trainer, in parts of 8, 8 and 4 samples.
START_TEST(steady_step_in_parts_only_enqueues)
{
    qn_error error = {0};
    struct qn_settings settings;
    struct qn_stepper *stepper;
    struct qn_fit_params params = qn_fit_defaults();
    open_layer();
    struct qn_device_params open = {.no_cache = true};
    qn_device *device = qn_device_open(&open, &error);
    ck_assert_msg(device != NULL, "%s", error.text);
    qn_dataset *data = qn_dataset_open("digits", &error);
    qn_model *model = qn_model_create("16-relu-dropout0.2-10", &error);
    qn_store *store = qn_store_create(device, &error);
    ck_assert_msg(data && model && store, "%s", error.text);
    params.model = model;
    params.dataset = data;
    params.batch_size = 20;
    params.micro_batch = 8;
    ck_assert_ok(qn_settings_resolve(&params, &settings, &error), error);
    ck_assert_ok(qn_stepper_create(&settings, &stepper, &error), error);
    ck_assert_ok(qn_stepper_bind(stepper, device, store, 0, &error), error);
    for (int i = 0; i < 3; i++)
        step_in_parts(stepper);
    expect_only_enqueues(step_in_parts, stepper);
    qn_stepper_destroy(&stepper);
    qn_store_destroy(&store);
    qn_model_destroy(&model);
    qn_dataset_destroy(&data);
    qn_device_close(&device);
    ck_assert_msg(!find_imbalance(), "%s", find_imbalance());
}
END_TEST

// ---- failures ----

static const cl_int codes[] = {
    CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_RESOURCES,
    CL_OUT_OF_HOST_MEMORY,            CL_BUILD_PROGRAM_FAILURE,
    CL_INVALID_VALUE,                 CL_DEVICE_NOT_AVAILABLE,
    CL_INVALID_COMMAND_QUEUE,         CL_INVALID_WORK_GROUP_SIZE,
    CL_INVALID_BUFFER_SIZE,
};
enum { CODES = sizeof codes / sizeof *codes, SCENARIO_STEPS = 2 };

// Device, plan, two steps, loss, all released.
static qn_status run_scenario(float *loss, qn_error *error)
{
    struct net net;
    qn_status status = net_init(&net, qn_check_folder(), error);
    for (int i = 0; i < SCENARIO_STEPS && status == QN_OK; i++)
        status = net_step(&net, error);
    if (status == QN_OK)
        status = net_read(&net, loss, error);
    net_finish(&net);
    return status;
}

// "clCreateBuffer" and the like: any of them, or the one that failed. What
// happens inside CLBlast is told as CLBlast's.
static bool names_call(const char *text, bool any)
{
    const char *at = text;
    if (strstr(text, "CLBlast"))
        return true;
    if (!any)
        return strstr(text, layer.failed());
    while ((at = strstr(at, "cl")) && !(at[2] >= 'A' && at[2] <= 'Z'))
        at += 2;
    return at;
}

// What is wrong with how a run with a failed call ended, or NULL. A text that
// helps names the call; only while devices are looked for, what fails may be
// left out of the list instead. Without the answer to a query the plan may be
// another one, whose sums have another order.
static const char *find_fault(qn_status status, const qn_error *error,
                              bool persistent, float loss, float right)
{
    const char *imbalance = find_imbalance();
    const bool is_query = strncmp(layer.failed(), "clGet", 5) == 0;
    if (imbalance)
        return imbalance;
    if (status == QN_OK)
        return fabsf(loss - right) <= (is_query ? 1e-5f : 0)
                   ? NULL
                   : "the loss is wrong";
    if (status == QN_NO_DEVICE)
        return *error->text ? NULL : "no error text";
    return names_call(error->text, persistent)
               ? NULL
               : "the error text does not name the call";
}

// Lets the nth call fail; false when there were fewer calls.
static bool fail_nth(long nth, bool persistent, float right)
{
    const cl_int code = codes[nth % CODES];
    qn_error error = {0};
    float loss = 0;
    layer.arm(NULL, nth, code, persistent);
    const qn_status status = run_scenario(&loss, &error);
    const char *fault = find_fault(status, &error, persistent, loss, right);
    if (fault) {
        fprintf(stderr, "call %ld, %s, failed%s with %d: %s; %s: %s\n", nth,
                layer.failed(), persistent ? ", as all later ones," : "",
                code, fault, qn_status_name(status), error.text);
        faults++;
    }
    const bool reached = layer.count("failed") > 0;
    layer.arm(NULL, 0, 0, 0);
    return reached;
}

static float run_right(void)
{
    qn_error error = {0};
    float loss = 0;
    ck_assert_ok(run_scenario(&loss, &error), error);
    return loss;
}

START_TEST(any_call_may_fail_once)
{
    open_layer();
    run_right(); // builds the programs and fills the cache
    const float right = run_right();
    long nth = 1;
    while (fail_nth(nth, false, right))
        nth += stride;
    ck_assert_int_gt(nth, 100);
    ck_assert(run_right() == right);
    ck_assert_msg(faults == 0, "%d faults", faults);
}
END_TEST

START_TEST(all_calls_may_fail_from_one_on)
{
    open_layer();
    const float right = run_right();
    // Each seventh: between neighbours little changes.
    for (long nth = 1; fail_nth(nth, true, right); nth += 7 * stride)
        ;
    ck_assert(run_right() == right);
    ck_assert_msg(faults == 0, "%d faults", faults);
}
END_TEST

// ---- a process of its own ----

// Reads the layer's report: complains of objects left.
static void check_report(const char *path)
{
    FILE *file = fopen(path, "r");
    char kind[32];
    long created, retained, released, kinds = 0, all = 0;
    ck_assert_msg(file != NULL, "%s: no report", path);
    char line[300];
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "object %31s %ld %ld %ld", kind, &created, &retained,
                   &released) == 4) {
            ck_assert_msg(created + retained == released,
                          "%s: %ld created, %ld retained, %ld released", kind,
                          created, retained, released);
            kinds++;
            all += created;
        }
        ck_assert_msg(sscanf(line, "stray %ld", &created) != 1 ||
                          created == 0, "released twice");
    }
    fclose(file);
    ck_assert_int_eq(kinds, 6);
    ck_assert_int_gt(all, 20);
}

START_TEST(command_releases_what_it_makes)
{
    const char *command = getenv("QUERN_TEST_COMMAND");
    const char *folder = qn_check_folder();
    char line[1000], report[200];
    ck_assert_msg(command != NULL, "QUERN_TEST_COMMAND is not set");
    snprintf(report, sizeof report, "%s/report", folder);
    snprintf(line, sizeof line,
             "QUERN_LAYER_REPORT='%s' QUERN_CACHE_DIR='%s' '%s' train "
             "16-relu-10 --data digits --epochs 2 --out '%s/run' --json "
             ">'%s/log' 2>&1",
             report, folder, command, folder, folder);
    ck_assert_msg(system(line) == 0, "%s", line);
    check_report(report);
}
END_TEST

int main(void)
{
    // Last what CLBlast cannot do: it makes kernels and buffers on each call.
    // It also builds its programs anew for each device, which takes a second.
    const TTest *const tests[] = {
        layer_counts_what_is_left_and_fails_on_order,
        any_call_may_fail_once,
        all_calls_may_fail_from_one_on,
        command_releases_what_it_makes,
        steady_step_only_enqueues,
        steady_step_in_parts_only_enqueues,
    };
    const bool is_forced = getenv("QUERN_KERNEL");
    stride = is_forced ? 23 : 1;
    return qn_check_run("layer", tests, is_forced ? 4 : 6);
}
