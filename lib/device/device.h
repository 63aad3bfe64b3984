// The room that talks to OpenCL: what the rooms below may use of it.
//
// Uses base and tensor. Knows no graph. All functions belong to the thread of
// the device handle.
#ifndef QN_DEVICE_DEVICE_H
#define QN_DEVICE_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "quern/device.h"
#include "tensor/launch.h"
#include "tensor/limits.h"

const struct qn_limits *qn_device_limits(const qn_device *device);
const qn_logger *qn_device_log(const qn_device *device);

// SHA-256 (hex, 64 digits) of device, driver, core count, library version:
// what bit-exact repetition depends on. Lives as long as the device.
const char *qn_device_fingerprint(const qn_device *device);

// ---- buffers ----

struct qn_buffer; // device memory, or a part of another buffer

// Checks `size` against the largest allocation and the free memory before it
// asks the driver; the error names `name` and both sizes. Zero-filled.
qn_status qn_buffer_create(qn_device *device, size_t size, const char *name,
                           struct qn_buffer **out, qn_error *error);
// A part of `parent`, which must outlive it. `offset` is a multiple of
// limits->base_align.
qn_status qn_buffer_part(struct qn_buffer *parent, size_t offset, size_t size,
                         struct qn_buffer **out, qn_error *error);
void qn_buffer_destroy(struct qn_buffer **buffer);
size_t qn_buffer_size(const struct qn_buffer *buffer);
// Both wait until the copy is done (and so for all enqueued before).
qn_status qn_buffer_write(struct qn_buffer *buffer, size_t offset,
                          const void *data, size_t size, qn_error *error);
qn_status qn_buffer_read(struct qn_buffer *buffer, size_t offset, void *data,
                         size_t size, qn_error *error);
qn_status qn_buffer_zero(struct qn_buffer *buffer, qn_error *error);

// A read that does not wait: started now, asked about later. The memory is its
// own, so that a lost device writes nowhere.
struct qn_readback;
qn_status qn_readback_create(struct qn_buffer *buffer, struct qn_readback **out,
                             qn_error *error);
// Enqueues the copy of the buffer's content at this point of the queue. One at
// a time: waits for an earlier one of this readback.
qn_status qn_readback_start(struct qn_readback *readback, qn_error *error);
// True when the last started copy is done; `data` then points to it. Does not
// wait.
bool qn_readback_ready(struct qn_readback *readback, const void **data);
// Waits for it.
qn_status qn_readback_wait(struct qn_readback *readback, const void **data,
                           qn_error *error);
void qn_readback_destroy(struct qn_readback **readback);

// ---- launches ----

// A launch bound to its buffers: one kernel object, all arguments set.
struct qn_command;

// What an operand code of the launch stands for.
struct qn_binding {
    int operand;               // code in struct qn_arg
    struct qn_buffer *buffer;  // NULL: a null pointer, or a live scalar
    int live;                  // index into `live` of qn_command_run, or -1
};

// Builds the program if need be and sets all arguments. `hooks` are the
// QN_HOOK_* in use.
qn_status qn_command_create(qn_device *device, const struct qn_launch *launch,
                            const struct qn_binding *bindings,
                            int binding_count, int hooks,
                            struct qn_command **out, qn_error *error);
void qn_command_destroy(struct qn_command **command);
// Enqueues it. `live` are the values of the plan's live scalars; only the
// arguments that are live are set again. No allocation, no waiting.
qn_status qn_command_run(struct qn_command *command, const double *live,
                         qn_error *error);

// Number of distinct programs built or loaded by this device so far, and how
// many of these came from the disk cache.
void qn_device_program_count(const qn_device *device, int *built,
                             int *cached);
// Identity of the program behind a command, for counting distinct ones.
const void *qn_command_program(const struct qn_command *command);

// Writes the programs that were built here and have run to the disk cache.
// Called by close, and rarely worth a call before: asked for a binary, PoCL
// compiles each kernel of a program once more, which takes seconds for heavy
// ones, so that what has taken 8 s is left to the next process.
void qn_device_flush_cache(qn_device *device);

#endif
