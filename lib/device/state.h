// What the files of this room share, and no other room sees.
#ifndef QN_DEVICE_STATE_H
#define QN_DEVICE_STATE_H

#include "device/cl_check.h"

#include "base/text.h"
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
    qn_device_usage usage;
    struct qn_program *programs;
    int built, cached;
    bool uses_external;
    struct qn_profile *profile; // NULL: off
};

// Keeps the first failure of a run; everything later returns it. `what` names
// the kernel, or is NULL.
qn_status qn_device_lose(qn_device *device, cl_int code, const char *call,
                         const char *what, qn_error *error);
// The kept failure, or QN_OK.
qn_status qn_device_check(const qn_device *device, qn_error *error);

// ---- list.c ----

// The public list and, at the same indices, OpenCL's handles. The caller frees
// both.
qn_device_list *qn_list_make(const qn_logger *log, cl_device_id **ids,
                             qn_error *error);
// Describes a device whose place in the list is not known yet.
void qn_list_describe(cl_device_id id, qn_device_info *info);

// ---- choice.c ----

// Fills `rank` of all devices.
void qn_devices_rank(qn_device_info *devices, int count);
// Index of the device that fits `choice` best, or -1. The reason goes to
// list->reason either way and names the `origin` of the choice, if any.
int qn_devices_choose(qn_device_list *list, const char *choice,
                      const char *origin);

// ---- hint.c ----

// Warns of the drivers that are installed but were not loaded.
void qn_drivers_check(const qn_logger *log);

// ---- buffer.c ----

cl_mem qn_buffer_handle(const struct qn_buffer *buffer);
qn_device *qn_buffer_device(const struct qn_buffer *buffer);

// ---- program.c ----

struct qn_program {
    struct qn_program *next;
    unsigned char identity[32];
    struct qn_text key; // of the disk cache, empty while that is off
    cl_program handle;
    bool is_cached; // loaded from the disk cache
    bool is_fresh;  // built from source, not yet in the disk cache
    bool is_heavy;
    bool has_run;
    char name[64]; // the file's
};

// Finds, loads or builds the program of a launch.
qn_status qn_program_get(qn_device *device, const struct qn_launch *launch,
                         struct qn_program **out, qn_error *error);
void qn_programs_release(qn_device *device);
// Builds one that came from the disk cache anew, from its source.
qn_status qn_program_rebuild(qn_device *device,
                             const struct qn_launch *launch,
                             struct qn_program *program, qn_error *error);

// ---- cache.c ----

// False where the driver's own cache is as good.
bool qn_cache_is_useful(const qn_device_info *info);
// Makes the folder and keeps its name. One that others can write to, or that
// cannot be made, is a warning and leaves the cache off.
qn_status qn_cache_open(qn_device *device, const char *folder,
                        qn_error *error);
// Appends all that a binary depends on.
void qn_cache_key(const qn_device *device, const char *source,
                  const char *options, struct qn_text *key);
// The payload stored under `key`, verified; the caller frees `*data`. False is
// a miss; a bad entry is removed.
bool qn_cache_load(qn_device *device, const struct qn_text *key,
                   unsigned char **data, size_t *size);
void qn_cache_store(qn_device *device, const struct qn_text *key,
                    const unsigned char *data, size_t size);
// One process at a time builds and fills the cache: drivers that keep a cache
// of their own do not all bear company. -1 without a cache.
intptr_t qn_cache_lock(const qn_device *device);
void qn_cache_remove(qn_device *device, const struct qn_text *key);

// ---- profile.c ----

qn_status qn_profile_create(struct qn_profile **out, qn_error *error);
void qn_profile_destroy(struct qn_profile **profile);
// Index of the kernel's row, made if need be; -1 without memory.
int qn_profile_row_of(struct qn_profile *profile, const char *kernel);
// Where the next launch puts its event, or NULL without memory. A launch of
// several commands lies between two events, `first` and the returned one.
cl_event *qn_profile_event(struct qn_profile *profile, int row, double flops,
                           double bytes, cl_event **first);

// ---- clblast.c ----

struct qn_external;
qn_status qn_external_create(qn_device *device,
                             const struct qn_launch *launch,
                             cl_mem const buffers[3],
                             struct qn_external **out, qn_error *error);
void qn_external_destroy(struct qn_external **external);
qn_status qn_external_run(struct qn_external *external, qn_error *error);
// CLBlast keeps programs by the address of their context, which a later
// context may get: drops them. Called when a device that used it closes.
void qn_external_forget(qn_device *device);

#endif
