// What the files of this room share, and no other room sees.
#ifndef QN_DEVICE_STATE_H
#define QN_DEVICE_STATE_H

#include "device/cl_check.h"

#include "device/device.h"
#include "quern/opencl.h"
#include "quern/version.h"

#define QN_TEXT_OF(x) #x
#define QN_TEXT_OF_VALUE(x) QN_TEXT_OF(x)
#define QN_VERSION_TEXT                                                   \
    QN_TEXT_OF_VALUE(QN_VERSION_MAJOR)                                    \
    "." QN_TEXT_OF_VALUE(QN_VERSION_MINOR) "."                            \
    QN_TEXT_OF_VALUE(QN_VERSION_PATCH)

struct qn_program;
struct qn_profile;
struct qn_external;

struct qn_device {
    cl_context context;
    cl_command_queue queue;
    cl_device_id id;
    struct qn_limits limits;
    qn_device_info info;
    qn_logger log;
    qn_error lost; // the first failure at run time
    char reason[512];
    char fingerprint[65];
    char *forced;    // QUERN_KERNEL
    char *cl_path;   // NULL: the embedded kernels
    char *cache_dir; // NULL: no cache
    uint64_t allocated;
    struct qn_program *programs;
    int built, cached;
    struct qn_profile *profile; // NULL: off
};

// Keeps the first failure of a run; everything later returns it.
qn_status qn_device_lose(qn_device *device, cl_int code, const char *call,
                         qn_error *error);
// The kept failure, or QN_OK.
qn_status qn_device_check(const qn_device *device, qn_error *error);

// ---- list.c ----

// The public list and, at the same indices, OpenCL's handles. The caller frees
// both.
qn_device_list *qn_list_make(const qn_logger *log, cl_device_id **ids,
                             qn_error *error);
void qn_device_info_fill(cl_platform_id platform, cl_device_id id,
                         qn_device_info *info);

// ---- choice.c ----

// Fills `rank` of all devices.
void qn_devices_rank(qn_device_info *devices, int count);
// Index of the device that fits `choice` best, or -1. The reason goes to
// list->reason either way.
int qn_devices_choose(qn_device_list *list, const char *choice);

// ---- buffer.c ----

cl_mem qn_buffer_handle(const struct qn_buffer *buffer);
qn_device *qn_buffer_device(const struct qn_buffer *buffer);

// ---- program.c ----

struct qn_program {
    struct qn_program *next;
    unsigned char identity[32];
    unsigned char key[32]; // of the disk cache
    cl_program handle;
    bool is_fresh; // built from source, not yet in the disk cache
    char name[64]; // the file's
};

// Finds, loads or builds the program of a launch.
qn_status qn_program_get(qn_device *device, const struct qn_launch *launch,
                         struct qn_program **out, qn_error *error);
void qn_programs_release(qn_device *device);

#endif
