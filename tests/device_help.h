// Short forms of the device room's calls for its own suites; each fails the
// test where the call fails.
#ifndef DEVICE_HELP_H
#define DEVICE_HELP_H

#include "device/device.h"

// That `text` contains `part`.
void expect_part(const char *text, const char *part);
struct qn_buffer *make_buffer(qn_device *device, size_t size);
// All of a buffer.
void write_all(struct qn_buffer *buffer, const void *data);
void read_all(struct qn_buffer *buffer, void *data);
struct qn_command *make_command(qn_device *device,
                                const struct qn_launch *launch,
                                const struct qn_binding *bindings, int count,
                                int hooks);

#endif
