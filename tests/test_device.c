// The device room: buffers, parts, launches of every kind of argument.
#include <string.h>

#include "device/device.h"
#include "qn_check.h"

static const char add_text[] =
    "kernel void add(global const REAL *a, global REAL *b, const int n,\n"
    "                const long shift, const REAL scale, const uint times)\n"
    "{\n"
    "    const long i = get_global_id(0);\n"
    "    if (i < n)\n"
    "        b[i] = scale * a[i] + (REAL)shift + (REAL)times;\n"
    "}\n";

START_TEST(launch_sets_arguments_of_every_kind)
{
    enum { N = 100 };
    qn_device *device = qn_check_device();
    qn_error error = {0};
    struct qn_buffer *a, *b;
    float in[N], out[N];
    for (int i = 0; i < N; i++)
        in[i] = (float)i;
    ck_assert_ok(qn_buffer_create(device, sizeof in, "a", &a, &error), error);
    ck_assert_ok(qn_buffer_create(device, sizeof in, "b", &b, &error), error);
    ck_assert_ok(qn_buffer_write(a, 0, in, sizeof in, &error), error);

    struct qn_work work = {0};
    struct qn_launch *launch = qn_work_add(&work, NULL, "add", QN_FLOAT32);
    launch->text = add_text;
    qn_launch_buffer(launch, QN_OPERAND_IN);
    qn_launch_buffer(launch, QN_OPERAND_OUT);
    qn_launch_int(launch, N);
    qn_launch_long(launch, 1000);
    qn_launch_live(launch, QN_OPERAND_IN + 1);
    qn_launch_live_uint(launch, QN_OPERAND_IN + 2);
    qn_launch_grid(launch, 128, 1, 1, 1, 1);
    const struct qn_binding bindings[] = {{QN_OPERAND_OUT, b, -1},
                                          {QN_OPERAND_IN, a, -1},
                                          {QN_OPERAND_IN + 1, NULL, 1},
                                          {QN_OPERAND_IN + 2, NULL, 0}};
    struct qn_command *command;
    ck_assert_ok(qn_command_create(device, launch, bindings, 4, 0, &command,
                                   &error), error);
    for (int step = 1; step < 4; step++) {
        const double live[] = {step, step * 0.5};
        ck_assert_ok(qn_command_run(command, live, &error), error);
        ck_assert_ok(qn_buffer_read(b, 0, out, sizeof out, &error), error);
        for (int i = 0; i < N; i++)
            ck_assert_float_eq(out[i], (float)(step * 0.5 * i + 1000 + step));
    }
    qn_command_destroy(&command);
    qn_buffer_destroy(&b);
    qn_buffer_destroy(&a);
}
END_TEST

START_TEST(readback_holds_the_content_at_its_start)
{
    qn_device *device = qn_check_device();
    qn_error error = {0};
    struct qn_buffer *buffer;
    struct qn_readback *readback;
    int value = 7;
    const void *data = NULL;
    ck_assert_ok(qn_buffer_create(device, 4, "x", &buffer, &error), error);
    ck_assert_ok(qn_readback_create(buffer, &readback, &error), error);
    ck_assert(!qn_readback_ready(readback, &data));
    ck_assert_ok(qn_buffer_write(buffer, 0, &value, 4, &error), error);
    ck_assert_ok(qn_readback_start(readback, &error), error);
    value = 8;
    ck_assert_ok(qn_buffer_write(buffer, 0, &value, 4, &error), error);
    ck_assert_ok(qn_readback_wait(readback, &data, &error), error);
    ck_assert_int_eq(*(const int *)data, 7);
    ck_assert(qn_readback_ready(readback, &data));
    qn_readback_destroy(&readback);
    qn_buffer_destroy(&buffer);
}
END_TEST

QN_CHECK_MAIN("device", launch_sets_arguments_of_every_kind,
              readback_holds_the_content_at_its_start)
