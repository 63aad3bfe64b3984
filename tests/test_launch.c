// Launches: arguments of every kind, grids, refusals, build errors, where
// sources come from, CLBlast.
#define _XOPEN_SOURCE 700

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "device/state.h"
#include "device_help.h"
#include "qn_check.h"

// ---- launches ----

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
    expect_part(error.text, part);
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
        expect_part(texts[i], "CL_BUILD_PROGRAM_FAILURE");
        expect_part(texts[i], "-DSOME=12");
        expect_part(texts[i], "nonsense");
        expect_part(texts[i], "  generated.cl:3 |     x[0] = 1;\n");
        expect_part(texts[i], "> generated.cl:4 |     x[1] = nonsense;\n");
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
    expect_part(error.text, "/no/such/folder");

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

QN_CHECK_MAIN("launch", launch_sets_arguments_of_every_kind,
              grid_of_three_dimensions_reaches_every_item,
              wrong_launches_are_refused_by_name,
              build_error_shows_the_numbered_line,
              kernel_folder_replaces_embedded_files,
              clblast_multiplies_row_major_matrices)
