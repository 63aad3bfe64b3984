// The device room: memory, opening, an application's own queue, profiles, a
// lost device.
#define _XOPEN_SOURCE 700

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/state.h"
#include "device_help.h"
#include "qn_check.h"

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
    expect_part(error.text, "fc1.weight");
    snprintf(sizes, sizeof sizes, "%.1f MiB",
             (double)(most + (1 << 20)) / (1 << 20));
    expect_part(error.text, sizes);
    snprintf(sizes, sizeof sizes, "at most %.1f MiB",
             (double)most / (1 << 20));
    expect_part(error.text, sizes);

    // As if all but 1000 bytes were taken.
    uint64_t before = device->usage.allocated;
    error = (qn_error){0};
    device->usage.allocated = device->info.memory_size - 1000;
    ck_assert_int_eq(qn_buffer_create(device, 1001, "fc2.weight", &buffer,
                                      &error),
                     QN_DEVICE);
    expect_part(error.text, "fc2.weight");
    expect_part(error.text, "are taken");
    error = (qn_error){0};
    ck_assert_ok(qn_buffer_create(device, 1000, "fc2.weight", &buffer, &error),
                 error);
    ck_assert_uint_eq(device->usage.allocated, device->info.memory_size);
    qn_buffer_destroy(&buffer);
    ck_assert_uint_eq(device->usage.allocated, device->info.memory_size - 1000);
    device->usage.allocated = before;
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
    expect_part(error.text, "tpu");
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
    expect_part(error.text, "CL_QUEUE_PROFILING_ENABLE");
    error = (qn_error){0};
    ck_assert_ptr_null(qn_device_open_on(qn_device_context(own), queue, NULL,
                                         &error));
    expect_part(error.text, "owner == context");
    clReleaseCommandQueue(queue);

    queue = clCreateCommandQueue(
        context, id, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, &code);
    if (code == CL_SUCCESS) {
        error = (qn_error){0};
        ck_assert_ptr_null(qn_device_open_on(context, queue, NULL, &error));
        expect_part(error.text, "out of order");
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
    expect_part(reason.text, "clFinish: CL_OUT_OF_RESOURCES (-5) in matmul:nt");
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
              variant_is_forced_by_parameter_and_others_are_refused,
              fingerprint_depends_on_what_results_depend_on,
              application_may_bring_its_context_and_queue,
              profile_counts_every_launch_by_kernel,
              lost_device_keeps_its_first_failure)
