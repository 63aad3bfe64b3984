// The device room: memory, launches of every kind of argument, sources, the
// application's own queue, profiles, CLBlast, a lost device.
#define _XOPEN_SOURCE 700

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "device/state.h"
#include "qn_check.h"

static void expect(const char *text, const char *part)
{
    ck_assert_msg(strstr(text, part) != NULL, "no \"%s\" in:\n%s", part, text);
}

static struct qn_buffer *make_buffer(qn_device *device, size_t size)
{
    struct qn_buffer *buffer;
    qn_error error = {0};
    ck_assert_ok(qn_buffer_create(device, size, "x", &buffer, &error), error);
    return buffer;
}

static void write_all(struct qn_buffer *buffer, const void *data)
{
    qn_error error = {0};
    ck_assert_ok(qn_buffer_write(buffer, 0, data, qn_buffer_size(buffer),
                                 &error), error);
}

static void read_all(struct qn_buffer *buffer, void *data)
{
    qn_error error = {0};
    ck_assert_ok(qn_buffer_read(buffer, 0, data, qn_buffer_size(buffer),
                                &error), error);
}

// ---- memory ----

START_TEST(memory_starts_as_zeros_and_holds_what_is_written)
{
    enum { N = 1003 };
    unsigned char in[N], out[N];
    qn_error error = {0};
    struct qn_buffer *buffer = make_buffer(qn_check_device(), N);
    ck_assert_uint_eq(qn_buffer_size(buffer), N);
    read_all(buffer, out);
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(out[i], 0);
        in[i] = (unsigned char)(i * 31);
    }
    write_all(buffer, in);
    ck_assert_ok(qn_buffer_write(buffer, 500, "middle", 6, &error), error);
    memcpy(in + 500, "middle", 6);
    read_all(buffer, out);
    ck_assert_int_eq(memcmp(in, out, N), 0);
    ck_assert_ok(qn_buffer_read(buffer, 499, out, 8, &error), error);
    ck_assert_int_eq(memcmp(in + 499, out, 8), 0);
    ck_assert_ok(qn_buffer_write(buffer, N, in, 0, &error), error);
    ck_assert_int_eq(qn_buffer_write(buffer, N, in, 1, &error),
                     QN_BAD_ARGUMENT);
    error = (qn_error){0};
    ck_assert_int_eq(qn_buffer_read(buffer, 1, out, SIZE_MAX, &error),
                     QN_BAD_ARGUMENT);
    error = (qn_error){0};
    ck_assert_ok(qn_buffer_zero(buffer, &error), error);
    read_all(buffer, out);
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(out[i], 0);
    qn_buffer_destroy(&buffer);
    ck_assert_ptr_null(buffer);
    qn_buffer_destroy(&buffer);
}
END_TEST

START_TEST(parts_share_the_memory_of_their_root)
{
    qn_device *device = qn_check_device();
    size_t align = (size_t)qn_device_limits(device)->base_align;
    size_t size = 8 * align;
    qn_error error = {0};
    unsigned char *bytes = malloc(size), *out = malloc(size);
    struct qn_buffer *root = make_buffer(device, size), *part, *inner, *none;
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(i % 251);
    write_all(root, bytes);
    ck_assert_ok(qn_buffer_part(root, 2 * align, 5 * align, &part, &error),
                 error);
    ck_assert_ok(qn_buffer_part(part, align, align + 3, &inner, &error),
                 error);
    ck_assert_uint_eq(qn_buffer_size(inner), align + 3);
    read_all(inner, out);
    ck_assert_int_eq(memcmp(out, bytes + 3 * align, align + 3), 0);
    ck_assert_ok(qn_buffer_write(inner, align, "abc", 3, &error), error);
    ck_assert_ok(qn_buffer_zero(inner, &error), error);
    ck_assert_ok(qn_buffer_write(inner, align, "xyz", 3, &error), error);
    memset(bytes + 3 * align, 0, align + 3);
    memcpy(bytes + 4 * align, "xyz", 3);
    read_all(root, out);
    ck_assert_int_eq(memcmp(out, bytes, size), 0);
    ck_assert_int_eq(qn_buffer_part(root, 1, 4, &none, &error),
                     QN_BAD_ARGUMENT);
    ck_assert_ptr_null(none);
    ck_assert_int_eq(qn_buffer_part(root, align, size, &none, NULL),
                     QN_BAD_ARGUMENT);
    ck_assert_int_eq(qn_buffer_part(root, 2 * size, 1, &none, NULL),
                     QN_BAD_ARGUMENT);
    qn_buffer_destroy(&inner);
    qn_buffer_destroy(&part);
    qn_buffer_destroy(&root);
    free(bytes);
    free(out);
}
END_TEST

START_TEST(too_large_buffers_are_refused_by_name_and_size)
{
    qn_device *device = qn_check_device();
    struct qn_buffer *buffer;
    qn_error error = {0};
    size_t most = (size_t)qn_device_limits(device)->max_alloc_size;
    char sizes[64];
    ck_assert_int_eq(qn_buffer_create(device, most + (1 << 20), "fc1.weight",
                                      &buffer, &error),
                     QN_DEVICE);
    ck_assert_ptr_null(buffer);
    expect(error.text, "fc1.weight");
    snprintf(sizes, sizeof sizes, "%.1f MiB",
             (double)(most + (1 << 20)) / (1 << 20));
    expect(error.text, sizes);
    snprintf(sizes, sizeof sizes, "at most %.1f MiB",
             (double)most / (1 << 20));
    expect(error.text, sizes);

    // As if all but 1000 bytes were taken.
    uint64_t before = device->allocated;
    error = (qn_error){0};
    device->allocated = device->info.memory_size - 1000;
    ck_assert_int_eq(qn_buffer_create(device, 1001, "fc2.weight", &buffer,
                                      &error),
                     QN_DEVICE);
    expect(error.text, "fc2.weight");
    expect(error.text, "are taken");
    error = (qn_error){0};
    ck_assert_ok(qn_buffer_create(device, 1000, "fc2.weight", &buffer, &error),
                 error);
    ck_assert_uint_eq(device->allocated, device->info.memory_size);
    qn_buffer_destroy(&buffer);
    ck_assert_uint_eq(device->allocated, device->info.memory_size - 1000);
    device->allocated = before;
}
END_TEST

START_TEST(readback_holds_the_content_at_its_start)
{
    qn_error error = {0};
    struct qn_buffer *buffer = make_buffer(qn_check_device(), sizeof(int));
    struct qn_readback *readback;
    const void *data = NULL;
    ck_assert_ok(qn_readback_create(buffer, &readback, &error), error);
    ck_assert(!qn_readback_ready(readback, &data));
    ck_assert_int_eq(qn_readback_wait(readback, &data, NULL),
                     QN_BAD_ARGUMENT);
    for (int value = 7; value < 20; value++) {
        int later = -value;
        write_all(buffer, &value);
        ck_assert_ok(qn_readback_start(readback, &error), error);
        write_all(buffer, &later);
        ck_assert_ok(qn_readback_wait(readback, &data, &error), error);
        ck_assert_int_eq(*(const int *)data, value);
        data = NULL;
        ck_assert(qn_readback_ready(readback, &data));
        ck_assert_int_eq(*(const int *)data, value);
    }
    // One after the other without asking in between, and never asked for.
    ck_assert_ok(qn_readback_start(readback, &error), error);
    ck_assert_ok(qn_readback_start(readback, &error), error);
    qn_readback_destroy(&readback);
    qn_readback_destroy(&readback);
    qn_buffer_destroy(&buffer);
}
END_TEST

// ---- launches ----

static struct qn_command *make_command(qn_device *device,
                                       const struct qn_launch *launch,
                                       const struct qn_binding *bindings,
                                       int count, int hooks)
{
    struct qn_command *command;
    qn_error error = {0};
    ck_assert_ok(qn_command_create(device, launch, bindings, count, hooks,
                                   &command, &error), error);
    return command;
}

// Writes all its arguments to out[], so that the host sees them.
static const char tell_text[] =
    "kernel void tell(global double *out, global const REAL *in,\n"
    "                 const REAL live, const uint live_uint, const int i,\n"
    "                 const long l, const REAL real, local int *memory,\n"
    "                 const int hooks, global const REAL *row,\n"
    "                 global const REAL *full, global const REAL *gate,\n"
    "                 global const REAL *load)\n"
    "{\n"
    "    memory[11] = 5;\n"
    "    out[0] = in[3];\n"
    "    out[1] = live;\n"
    "    out[2] = live_uint;\n"
    "    out[3] = i;\n"
    "    out[4] = l;\n"
    "    out[5] = real;\n"
    "    out[6] = memory[11];\n"
    "    out[7] = hooks;\n"
    "    out[8] = row != 0;\n"
    "    out[9] = full != 0;\n"
    "    out[10] = gate ? gate[1] : -1;\n"
    "    out[11] = load[2];\n"
    "}\n";
enum { TOLD = 12 };

static void describe_tell(struct qn_launch *launch)
{
    launch->text = tell_text;
    qn_launch_buffer(launch, QN_OPERAND_OUT);
    qn_launch_buffer(launch, QN_OPERAND_IN);
    qn_launch_live(launch, QN_OPERAND_IN + 1);
    qn_launch_live_uint(launch, QN_OPERAND_IN + 2);
    qn_launch_int(launch, -1234567);
    qn_launch_long(launch, -12345678901234);
    qn_launch_real(launch, 0.1);
    qn_launch_local(launch, 12 * sizeof(int));
    qn_launch_hooks(launch, QN_HOOK_ADD_ROW | QN_HOOK_GATE);
    qn_launch_load(launch, QN_OPERAND_IN + 3);
    qn_launch_grid(launch, 1, 1, 1, 1, 1);
}

static void check_arguments(qn_device *device, qn_dtype real)
{
    double values64[4] = {1.5, 2.5, 3.5, 1.0 / 3}, out[TOLD];
    float values32[4] = {1.5f, 2.5f, 3.5f, 1.0f / 3};
    bool is_double = real == QN_FLOAT64;
    qn_error error = {0};
    struct qn_buffer *told = make_buffer(device, sizeof out);
    struct qn_buffer *in = make_buffer(
        device, is_double ? sizeof values64 : sizeof values32);
    write_all(in, is_double ? (void *)values64 : (void *)values32);
    struct qn_work work = {0};
    struct qn_launch *launch = qn_work_add(&work, NULL, "tell", real);
    describe_tell(launch);
    const struct qn_binding bindings[] = {
        {QN_OPERAND_OUT, told, -1},       {QN_OPERAND_IN, in, -1},
        {QN_OPERAND_IN + 1, NULL, 2},     {QN_OPERAND_IN + 2, NULL, 0},
        {QN_OPERAND_HOOK_GATE, in, -1},   {QN_OPERAND_IN + 3, in, -1}};
    struct qn_command *command = make_command(device, launch, bindings, 6,
                                              QN_HOOK_GATE);
    for (int step = 0; step < 3; step++) {
        const double live[] = {4294967295.0 - step, 99, 0.7 + step};
        const double want[TOLD] = {
            is_double ? values64[3] : (double)values32[3],
            is_double ? live[2] : (double)(float)live[2],
            live[0],
            -1234567,
            -12345678901234.0,
            is_double ? 0.1 : (double)0.1f,
            5,
            QN_HOOK_GATE,
            0,
            0,
            2.5,
            3.5};
        ck_assert_ok(qn_command_run(command, live, &error), error);
        read_all(told, out);
        for (int i = 0; i < TOLD; i++)
            ck_assert_msg(out[i] == want[i], "argument %d is %.17g, not %.17g",
                          i, out[i], want[i]);
    }
    qn_command_destroy(&command);
    ck_assert_ptr_null(command);
    qn_command_destroy(&command);
    qn_work_finish(&work);
    qn_buffer_destroy(&in);
    qn_buffer_destroy(&told);
}

START_TEST(launch_sets_arguments_of_every_kind)
{
    qn_device *device = qn_check_device();
    if (!qn_device_limits(device)->has_float64)
        return; // the kernel tells by doubles
    check_arguments(device, QN_FLOAT32);
    check_arguments(device, QN_FLOAT64);
}
END_TEST

START_TEST(grid_of_three_dimensions_reaches_every_item)
{
    enum { X = 6, Y = 4, Z = 3 };
    int out[X * Y * Z];
    qn_error error = {0};
    qn_device *device = qn_check_device();
    struct qn_buffer *buffer = make_buffer(device, sizeof out);
    struct qn_work work = {0};
    struct qn_launch *launch = qn_work_add(&work, NULL, "grid", QN_FLOAT32);
    launch->text =
        "kernel void grid(global int *out)\n"
        "{\n"
        "    const int x = get_global_id(0), y = get_global_id(1);\n"
        "    const int z = get_global_id(2);\n"
        "    out[(z * get_global_size(1) + y) * get_global_size(0) + x] =\n"
        "        10000 * get_local_size(0) + 1000 * get_local_size(1) +\n"
        "        100 * x + 10 * y + z;\n"
        "}\n";
    qn_launch_buffer(launch, QN_OPERAND_OUT);
    qn_launch_grid(launch, X / 3, Y / 2, Z, 3, 2);
    const struct qn_binding binding = {QN_OPERAND_OUT, buffer, -1};
    struct qn_command *command = make_command(device, launch, &binding, 1, 0);
    ck_assert_ok(qn_command_run(command, NULL, &error), error);
    read_all(buffer, out);
    for (int z = 0, i = 0; z < Z; z++)
        for (int y = 0; y < Y; y++)
            for (int x = 0; x < X; x++)
                ck_assert_int_eq(out[i++], 32000 + 100 * x + 10 * y + z);
    qn_command_destroy(&command);

    launch->global[1] = 0; // no work is no launch
    ck_assert_ok(qn_buffer_zero(buffer, &error), error);
    command = make_command(device, launch, &binding, 1, 0);
    ck_assert_ok(qn_command_run(command, NULL, &error), error);
    read_all(buffer, out);
    ck_assert_int_eq(out[0], 0);
    qn_command_destroy(&command);
    qn_work_finish(&work);
    qn_buffer_destroy(&buffer);
}
END_TEST

// A launch that must be refused: the error's status and a part of its text.
static void expect_refused(const struct qn_launch *launch,
                           const struct qn_binding *binding, int count,
                           qn_status status, const char *part)
{
    struct qn_command *command;
    qn_error error = {0};
    ck_assert_int_eq(qn_command_create(qn_check_device(), launch, binding,
                                       count, 0, &command, &error),
                     status);
    ck_assert_ptr_null(command);
    expect(error.text, part);
}

START_TEST(wrong_launches_are_refused_by_name)
{
    qn_device *device = qn_check_device();
    struct qn_buffer *buffer = make_buffer(device, 64);
    const struct qn_binding binding = {QN_OPERAND_OUT, buffer, -1};
    struct qn_work work = {0};
    struct qn_launch *good = qn_work_add(&work, NULL, "two", QN_FLOAT32), bad;
    good->text = "kernel void two(global int *x, const int n) { x[0] = n; }";
    qn_launch_buffer(good, QN_OPERAND_OUT);
    qn_launch_int(good, 3);
    qn_launch_grid(good, 1, 1, 1, 1, 1);

    bad = *good;
    bad.arg_count = 1;
    expect_refused(&bad, &binding, 1, QN_BAD_ARGUMENT,
                   "generated:two takes 2 arguments");
    bad = *good;
    expect_refused(&bad, NULL, 0, QN_BAD_ARGUMENT,
                   "argument 0 (operand 0) is bound to nothing");
    bad = *good;
    bad.args[1].integer = 1ll << 31;
    expect_refused(&bad, &binding, 1, QN_UNSUPPORTED, "2147483648");
    bad = *good;
    bad.args[1].kind = QN_ARG_LIVE;
    expect_refused(&bad, &binding, 1, QN_BAD_ARGUMENT, "argument 1");
    bad = *good;
    bad.global[0] = 7;
    bad.local[0] = 2;
    expect_refused(&bad, &binding, 1, QN_BAD_ARGUMENT, "do not divide");
    bad = *good;
    bad.global[0] = bad.local[0] = 1 << 20;
    expect_refused(&bad, &binding, 1, QN_UNSUPPORTED, "runs at most");
    bad = *good;
    bad.kernel = "three";
    expect_refused(&bad, &binding, 1, QN_BUILD, "generated:three");
    bad = *good;
    bad.file = "no_such_file";
    expect_refused(&bad, &binding, 1, QN_BUILD, "no_such_file.cl");
    bad = *good;
    bad.is_external = true;
    expect_refused(&bad, &binding, 1, QN_UNSUPPORTED, "two");
    qn_work_finish(&work);
    qn_buffer_destroy(&buffer);
}
END_TEST

static char last_message[4096];

static void keep_message(void *user, qn_log_level level, const char *message)
{
    (void)user;
    if (level == QN_LOG_ERROR)
        snprintf(last_message, sizeof last_message, "%s", message);
}

START_TEST(build_error_shows_the_numbered_line)
{
    qn_error error = {0};
    struct qn_device_params params = {.no_cache = true,
                                      .log = {keep_message, NULL}};
    qn_device *device = qn_device_open(&params, &error);
    ck_assert_msg(device != NULL, "%s", error.text);
    struct qn_command *command;
    struct qn_work work = {0};
    struct qn_launch *launch = qn_work_add(&work, NULL, "bad", QN_FLOAT32);
    launch->text = "kernel void bad(global int *x)\n"
                   "{\n"
                   "    x[0] = 1;\n"
                   "    x[1] = nonsense;\n"
                   "}\n";
    qn_launch_define(launch, "SOME", 12);
    qn_launch_grid(launch, 1, 1, 1, 1, 1);
    ck_assert_int_eq(qn_command_create(device, launch, NULL, 0, 0, &command,
                                       &error),
                     QN_BUILD);
    const char *const texts[] = {error.text, last_message};
    for (int i = 0; i < 2; i++) {
        expect(texts[i], "CL_BUILD_PROGRAM_FAILURE");
        expect(texts[i], "-DSOME=12");
        expect(texts[i], "nonsense");
        expect(texts[i], "  generated.cl:3 |     x[0] = 1;\n");
        expect(texts[i], "> generated.cl:4 |     x[1] = nonsense;\n");
    }
    qn_work_finish(&work);
    qn_device_close(&device);
}
END_TEST

// ---- sources ----

static void write_file(const char *path, const char *text)
{
    qn_error error = {0};
    const struct qn_os_part part = {text, strlen(text)};
    ck_assert_ok(qn_os_replace_file(path, &part, 1, &error), error);
}

// Runs kernel `value` of a file; it writes one int.
static int run_value(qn_device *device, const char *file, const char *include)
{
    int got = -1;
    qn_error error = {0};
    struct qn_buffer *buffer = make_buffer(device, sizeof got);
    struct qn_work work = {0};
    struct qn_launch *launch = qn_work_add(&work, file, "value", QN_FLOAT32);
    launch->include = include;
    qn_launch_buffer(launch, QN_OPERAND_OUT);
    qn_launch_grid(launch, 1, 1, 1, 1, 1);
    const struct qn_binding binding = {QN_OPERAND_OUT, buffer, -1};
    struct qn_command *command = make_command(device, launch, &binding, 1, 0);
    ck_assert_ok(qn_command_run(command, NULL, &error), error);
    read_all(buffer, &got);
    qn_command_destroy(&command);
    qn_work_finish(&work);
    qn_buffer_destroy(&buffer);
    return got;
}

START_TEST(kernel_folder_replaces_embedded_files)
{
    char path[256];
    qn_error error = {0};
    struct qn_device_params params = {.no_cache = true,
                                      .cl_path = "/no/such/folder"};
    ck_assert_ptr_null(qn_device_open(&params, &error));
    ck_assert_int_eq(error.status, QN_IO);
    expect(error.text, "/no/such/folder");

    error = (qn_error){0};
    snprintf(path, sizeof path, "%s/mine.cl", qn_check_folder());
    write_file(path, "kernel void value(global int *x) { x[0] = FIVE; }");
    snprintf(path, sizeof path, "%s/first.cl", qn_check_folder());
    write_file(path, "#define TWO 2");
    snprintf(path, sizeof path, "%s/second.cl", qn_check_folder());
    write_file(path, "#define FIVE (TWO + 3)\n#ifndef CPU\n#error x\n#endif");
    params.cl_path = qn_check_folder();
    qn_device *device = qn_device_open(&params, &error);
    ck_assert_msg(device != NULL, "%s", error.text);
    ck_assert_int_eq(run_value(device, "mine", "first second"), 5);
    ck_assert_int_eq(run_value(device, "mine", "  first   second "), 5);
    int built, cached;
    qn_device_program_count(device, &built, &cached);
    ck_assert_int_eq(built, 2);
    ck_assert_int_eq(run_value(device, "mine", "first second"), 5);
    qn_device_program_count(device, &built, &cached);
    ck_assert_int_eq(built, 2);
    ck_assert_int_eq(cached, 0);
    qn_device_close(&device);
}
END_TEST

// ---- opening ----

START_TEST(variant_is_forced_by_parameter_and_others_are_refused)
{
    static const char *const variants[] = {"cpu", "gpu"};
    for (int i = 0; i < 2; i++) {
        qn_error error = {0};
        struct qn_device_params params = {.variant = variants[i],
                                          .no_cache = true};
        qn_device *device = qn_device_open(&params, &error);
        ck_assert_msg(device != NULL, "%s", error.text);
        ck_assert_int_eq(qn_device_limits(device)->variant,
                         i ? QN_VARIANT_GPU : QN_VARIANT_CPU);
        qn_device_close(&device);
    }
    qn_error error = {0};
    struct qn_device_params params = {.variant = "tpu"};
    ck_assert_ptr_null(qn_device_open(&params, &error));
    ck_assert_int_eq(error.status, QN_BAD_ARGUMENT);
    expect(error.text, "tpu");
}
END_TEST

START_TEST(fingerprint_depends_on_what_results_depend_on)
{
    char first[65];
    qn_error error = {0};
    struct qn_device_params params = {.variant = "cpu", .no_cache = true};
    qn_device *device = qn_device_open(&params, &error);
    ck_assert_msg(device != NULL, "%s", error.text);
    ck_assert_uint_eq(strlen(qn_device_fingerprint(device)), 64);
    snprintf(first, sizeof first, "%s", qn_device_fingerprint(device));
    qn_device_close(&device);
    device = qn_device_open(&params, &error);
    ck_assert_str_eq(qn_device_fingerprint(device), first);
    qn_device_close(&device);
    params.variant = "gpu";
    device = qn_device_open(&params, &error);
    ck_assert_str_ne(qn_device_fingerprint(device), first);
    qn_device_close(&device);
}
END_TEST

START_TEST(application_may_bring_its_context_and_queue)
{
    qn_error error = {0};
    cl_int code;
    qn_device *own = qn_check_device();
    cl_device_id id = own->id;
    cl_context context = clCreateContext(NULL, 1, &id, NULL, NULL, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    cl_command_queue queue = clCreateCommandQueue(context, id, 0, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    qn_device *device = qn_device_open_on(context, queue, NULL, &error);
    ck_assert_msg(device != NULL, "%s", error.text);
    ck_assert_ptr_eq(qn_device_context(device), context);
    ck_assert_ptr_eq(qn_device_queue(device), queue);
    ck_assert_str_eq(qn_device_describe(device)->name,
                     qn_device_describe(own)->name);
    ck_assert_int_eq(qn_device_describe(device)->platform_index,
                     qn_device_describe(own)->platform_index);
    int value = 42, got = 0;
    struct qn_buffer *buffer = make_buffer(device, sizeof value);
    write_all(buffer, &value);
    read_all(buffer, &got);
    ck_assert_int_eq(got, 42);
    qn_buffer_destroy(&buffer);
    qn_device_close(&device);

    // The application's references are still its own.
    cl_uint count = 0;
    ck_assert_int_eq(clGetCommandQueueInfo(queue, CL_QUEUE_REFERENCE_COUNT,
                                           sizeof count, &count, NULL),
                     CL_SUCCESS);
    ck_assert_uint_eq(count, 1);

    struct qn_device_params params = {.profile = true};
    ck_assert_ptr_null(qn_device_open_on(context, queue, &params, &error));
    expect(error.text, "CL_QUEUE_PROFILING_ENABLE");
    error = (qn_error){0};
    ck_assert_ptr_null(qn_device_open_on(qn_device_context(own), queue, NULL,
                                         &error));
    expect(error.text, "owner == context");
    clReleaseCommandQueue(queue);

    queue = clCreateCommandQueue(
        context, id, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, &code);
    if (code == CL_SUCCESS) {
        error = (qn_error){0};
        ck_assert_ptr_null(qn_device_open_on(context, queue, NULL, &error));
        expect(error.text, "out of order");
        clReleaseCommandQueue(queue);
    }
    clReleaseContext(context);
}
END_TEST

// ---- profile ----

static struct qn_launch *describe_add(struct qn_work *work, const char *name)
{
    struct qn_launch *launch = qn_work_add(work, NULL, name, QN_FLOAT32);
    launch->text = "kernel void once(global int *x) { x[0] += 1; }\n"
                   "kernel void often(global int *x)\n"
                   "{\n"
                   "    for (int i = 0; i < 1000; i++)\n"
                   "        x[i % 2] += i;\n"
                   "}\n";
    qn_launch_buffer(launch, QN_OPERAND_OUT);
    qn_launch_grid(launch, 1, 1, 1, 1, 1);
    launch->flops = 10;
    launch->bytes = 8;
    return launch;
}

START_TEST(profile_counts_every_launch_by_kernel)
{
    enum { OFTEN = 1500 };
    qn_error error = {0};
    qn_profile_row rows[4];
    struct qn_device_params params = {.no_cache = true, .profile = true};
    qn_device *device = qn_device_open(&params, &error);
    ck_assert_msg(device != NULL, "%s", error.text);
    ck_assert_int_eq(qn_device_profile(device, rows, 4), 0);
    struct qn_buffer *buffer = make_buffer(device, 8);
    const struct qn_binding binding = {QN_OPERAND_OUT, buffer, -1};
    struct qn_work work = {0};
    struct qn_command *once = make_command(
        device, describe_add(&work, "once"), &binding, 1, 0);
    struct qn_command *often = make_command(
        device, describe_add(&work, "often"), &binding, 1, 0);
    ck_assert_ptr_eq(qn_command_program(once), qn_command_program(often));
    for (int i = 0; i < OFTEN; i++)
        ck_assert_ok(qn_command_run(often, NULL, &error), error);
    ck_assert_ok(qn_command_run(once, NULL, &error), error);
    ck_assert_int_eq(qn_device_profile(device, rows, 1), 2);
    ck_assert_int_eq(qn_device_profile(device, rows, 4), 2);
    ck_assert_str_eq(rows[0].kernel, "generated:often");
    ck_assert_int_eq(rows[0].launches, OFTEN);
    ck_assert_double_eq(rows[0].flops, 10.0 * OFTEN);
    ck_assert_double_eq(rows[0].bytes, 8.0 * OFTEN);
    ck_assert_double_gt(rows[0].seconds, 0);
    ck_assert_str_eq(rows[1].kernel, "generated:once");
    ck_assert_int_eq(rows[1].launches, 1);
    ck_assert_double_ge(rows[0].seconds, rows[1].seconds);
    qn_command_destroy(&once);
    qn_command_destroy(&often);
    qn_work_finish(&work);
    qn_buffer_destroy(&buffer);
    qn_device_close(&device);
    ck_assert_int_eq(qn_device_profile(qn_check_device(), rows, 4), 0);
}
END_TEST

// ---- CLBlast ----

enum { BATCH = 3, LARGEST = 40 };

struct product {
    int m, n, k;
    bool trans_a, trans_b;
    int batch;
    bool is_shared_a; // one a for the whole batch: stride 0
    qn_dtype real;
};

static double element(const double *x, bool is_transposed, int rows, int cols,
                      int i, int j)
{
    return is_transposed ? x[j * rows + i] : x[i * cols + j];
}

static struct qn_buffer *make_operand(qn_device *device, const double *values,
                                      size_t count, qn_dtype real)
{
    size_t width = real == QN_FLOAT64 ? 8 : 4;
    struct qn_buffer *buffer = make_buffer(device, count * width);
    float *narrow = malloc(count * sizeof *narrow);
    for (size_t i = 0; i < count; i++)
        narrow[i] = (float)values[i];
    write_all(buffer, width == 8 ? (const void *)values : narrow);
    free(narrow);
    return buffer;
}

static struct qn_launch *describe_product(struct qn_work *work,
                                          const struct product *p)
{
    struct qn_launch *launch = qn_work_add(work, "clblast", "clblast_gemm",
                                           p->real);
    const int numbers[] = {p->m,       p->n,       p->k,
                           p->trans_a, p->trans_b, p->batch};
    launch->is_external = true;
    launch->flops = 2.0 * p->m * p->n * p->k * p->batch;
    for (int i = 0; i < 3; i++)
        qn_launch_buffer(launch, i);
    for (int i = 0; i < 6; i++)
        qn_launch_int(launch, numbers[i]);
    qn_launch_long(launch, p->is_shared_a ? 0 : p->m * p->k);
    qn_launch_long(launch, p->k * p->n);
    qn_launch_long(launch, p->m * p->n);
    return launch;
}

// Small integers: exact in any order of sums. c starts as NaN, which must not
// count.
static void check_product(qn_device *device, const struct product *p)
{
    static double a[BATCH * LARGEST * LARGEST], b[BATCH * LARGEST * LARGEST];
    static double c[BATCH * LARGEST * LARGEST];
    struct qn_check_rng rng = {7};
    qn_error error = {0};
    size_t c_count = (size_t)(p->batch * p->m * p->n);
    for (size_t i = 0; i < sizeof a / sizeof *a; i++) {
        a[i] = (double)qn_check_integer(&rng, -9, 9);
        b[i] = (double)qn_check_integer(&rng, -9, 9);
        c[i] = NAN;
    }
    struct qn_buffer *buffers[] = {
        make_operand(device, a, (size_t)(p->batch * p->m * p->k), p->real),
        make_operand(device, b, (size_t)(p->batch * p->k * p->n), p->real),
        make_operand(device, c, c_count, p->real)};
    const struct qn_binding bindings[] = {
        {0, buffers[0], -1}, {1, buffers[1], -1}, {2, buffers[2], -1}};
    struct qn_work work = {0};
    struct qn_command *command = make_command(
        device, describe_product(&work, p), bindings, 3, 0);
    ck_assert_ok(qn_command_run(command, NULL, &error), error);
    read_all(buffers[2], c);
    for (size_t at = 0; at < c_count; at++) {
        int batch = (int)at / (p->m * p->n), i = (int)at / p->n % p->m;
        const double *x = a + (p->is_shared_a ? 0 : batch * p->m * p->k);
        double want = 0;
        for (int l = 0; l < p->k; l++)
            want += element(x, p->trans_a, p->m, p->k, i, l) *
                    element(b + batch * p->k * p->n, p->trans_b, p->k, p->n, l,
                            (int)at % p->n);
        double got = p->real == QN_FLOAT64 ? c[at]
                                           : (double)((float *)c)[at];
        ck_assert_msg(got == want, "%dx%dx%d %d%d batch %d: c[%zu] is %g, not "
                      "%g", p->m, p->n, p->k, p->trans_a, p->trans_b,
                      p->batch, at, got, want);
    }
    qn_command_destroy(&command);
    qn_work_finish(&work);
    for (int i = 0; i < 3; i++)
        qn_buffer_destroy(&buffers[i]);
}

// CLBlast compiles for many seconds on some drivers: all transpositions once,
// one of them in a batch and in double precision, and that in one suite only.
static const struct product products[] = {
    {7, 33, 5, false, false, 1, false, QN_FLOAT32},
    {32, 40, 17, false, true, 1, false, QN_FLOAT32},
    {1, 9, 40, true, false, 1, false, QN_FLOAT32},
    {33, 1, 8, true, true, 1, false, QN_FLOAT32},
    {9, 20, 12, false, true, BATCH, false, QN_FLOAT32},
    {9, 20, 12, false, true, BATCH, true, QN_FLOAT32},
    {9, 20, 12, false, true, 1, false, QN_FLOAT64},
};

START_TEST(clblast_multiplies_row_major_matrices)
{
    qn_device *device = qn_check_device();
    const struct qn_limits *limits = qn_device_limits(device);
    for (size_t i = 0; i < sizeof products / sizeof *products; i++)
        if (limits->has_clblast && limits->variant == QN_VARIANT_CPU &&
            (products[i].real == QN_FLOAT32 || limits->has_float64))
            check_product(device, &products[i]);
}
END_TEST

// ---- a lost device ----

START_TEST(lost_device_keeps_its_first_failure)
{
    qn_error error = {0}, reason = {0};
    struct qn_device_params params = {.no_cache = true};
    qn_device *device = qn_device_open(&params, &error);
    ck_assert_msg(device != NULL, "%s", error.text);
    int value = 1;
    const void *data;
    struct qn_buffer *buffer = make_buffer(device, 8), *other;
    const struct qn_binding binding = {QN_OPERAND_OUT, buffer, -1};
    struct qn_work work = {0};
    struct qn_launch *launch = describe_add(&work, "once");
    struct qn_command *command = make_command(device, launch, &binding, 1, 0),
                      *second;
    struct qn_readback *readback;
    ck_assert_ok(qn_readback_create(buffer, &readback, &error), error);
    ck_assert_ok(qn_readback_start(readback, &error), error);
    qn_device_lose(device, CL_OUT_OF_RESOURCES, "clFinish(queue)", "matmul:nt",
                   &reason);
    expect(reason.text, "clFinish: CL_OUT_OF_RESOURCES (-5) in matmul:nt");
    qn_device_lose(device, CL_INVALID_VALUE, "clFlush(queue)", NULL, NULL);

    const qn_status got[] = {
        qn_device_finish(device, &error),
        qn_buffer_create(device, 8, "x", &other, NULL),
        qn_buffer_write(buffer, 0, &value, 4, NULL),
        qn_buffer_read(buffer, 0, &value, 4, NULL),
        qn_buffer_zero(buffer, NULL),
        qn_readback_start(readback, NULL),
        qn_readback_wait(readback, &data, NULL),
        qn_command_run(command, NULL, NULL),
        qn_command_create(device, launch, &binding, 1, 0, &second, NULL)};
    for (size_t i = 0; i < sizeof got / sizeof *got; i++)
        ck_assert_int_eq(got[i], QN_DEVICE);
    ck_assert_str_eq(error.text, reason.text);
    ck_assert(!qn_readback_ready(readback, &data));
    qn_readback_destroy(&readback);
    qn_command_destroy(&command);
    qn_work_finish(&work);
    qn_buffer_destroy(&buffer);
    qn_device_close(&device);
    ck_assert_ptr_null(device);
    qn_device_close(&device);
}
END_TEST

QN_CHECK_MAIN("device", memory_starts_as_zeros_and_holds_what_is_written,
              parts_share_the_memory_of_their_root,
              too_large_buffers_are_refused_by_name_and_size,
              readback_holds_the_content_at_its_start,
              launch_sets_arguments_of_every_kind,
              grid_of_three_dimensions_reaches_every_item,
              wrong_launches_are_refused_by_name,
              build_error_shows_the_numbered_line,
              kernel_folder_replaces_embedded_files,
              variant_is_forced_by_parameter_and_others_are_refused,
              fingerprint_depends_on_what_results_depend_on,
              application_may_bring_its_context_and_queue,
              profile_counts_every_launch_by_kernel,
              clblast_multiplies_row_major_matrices,
              lost_device_keeps_its_first_failure)
