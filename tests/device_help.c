#include "device_help.h"

#include <string.h>

#include "qn_check.h"

void expect_part(const char *text, const char *part)
{
    ck_assert_msg(strstr(text, part) != NULL, "no \"%s\" in:\n%s", part, text);
}

struct qn_buffer *make_buffer(qn_device *device, size_t size)
{
    struct qn_buffer *buffer;
    qn_error error = {0};
    ck_assert_ok(qn_buffer_create(device, size, "x", &buffer, &error), error);
    return buffer;
}

void write_all(struct qn_buffer *buffer, const void *data)
{
    qn_error error = {0};
    ck_assert_ok(qn_buffer_write(buffer, 0, data, qn_buffer_size(buffer),
                                 &error), error);
}

void read_all(struct qn_buffer *buffer, void *data)
{
    qn_error error = {0};
    ck_assert_ok(qn_buffer_read(buffer, 0, data, qn_buffer_size(buffer),
                                &error), error);
}

struct qn_command *make_command(qn_device *device,
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
