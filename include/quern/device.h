// SPDX-License-Identifier: MIT
// OpenCL devices: what is there, which one is chosen, and opening it.
//
// Environment (read by `qn_device_open` and `qn_device_list_create` only;
// a parameter that is set wins over its variable):
//   QUERN_DEVICE     the choice: best, gpu, cpu, gpu:1, 0:1, part of a name,
//                    or a list of these of which the first that fits is taken
//   QUERN_VARIANT    cpu or gpu: forces that family of kernels
//   QUERN_KERNEL     "op:candidate,..." forces a candidate, e.g. matmul:clblast
//   QUERN_CACHE      0 turns the program cache off
//   QUERN_CACHE_DIR  folder of the program cache
//   QUERN_MEMORY_LIMIT  bytes of device memory to use at most: 512M, 2G
//   QUERN_CL_PATH    folder whose .cl files replace the embedded ones
#ifndef QUERN_DEVICE_H
#define QUERN_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "quern/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum qn_device_type {
    QN_DEVICE_GPU,
    QN_DEVICE_INTEGRATED_GPU, // shares its memory with the host
    QN_DEVICE_ACCELERATOR,
    QN_DEVICE_CPU,
    QN_DEVICE_EMULATOR, // Oclgrind: never chosen unless named
} qn_device_type;

// One device as the listing shows it. Sizes are bytes, clocks are MHz.
typedef struct qn_device_info {
    int platform_index; // as clinfo numbers them
    int device_index;   // within its platform
    int rank;           // 0 is the one that `best` takes
    qn_device_type type;
    char platform[128];
    char platform_version[128];
    char name[256];
    char vendor[128];
    char version[128];
    char driver[128];
    char problem[256]; // empty, or why the device cannot be used
    uint64_t memory_size;
    uint64_t max_alloc_size;
    uint64_t local_size;
    uint32_t compute_units;
    uint32_t clock;
    uint32_t max_group_size;
    bool has_float64;
    bool unified_memory;
} qn_device_info;

// A snapshot of all platforms and devices. Owned by the caller.
typedef struct qn_device_list {
    int platform_count;
    int device_count;
    int chosen; // index into `devices`, -1 where the choice fits none
    qn_device_info *devices; // in platform order
    char reason[512]; // why `chosen` was taken, or why none was
} qn_device_list;

// Lists all devices and applies `choice` (NULL: QUERN_DEVICE, else "best").
// No platform at all gives a list without devices, not an error; a platform
// that fails is left out and named through `log` (may be NULL).
QN_API qn_device_list *qn_device_list_create(const char *choice,
                                             const qn_logger *log,
                                             qn_error *error);
QN_API void qn_device_list_destroy(qn_device_list **list);

// The command that installs an OpenCL driver on this system, one per line.
QN_API const char *qn_device_install_hint(void);

// "GPU", "integrated GPU", "accelerator", "CPU", "emulator".
QN_API const char *qn_device_type_name(qn_device_type type);

// An open device: context, in-order queue, programs, caches. One handle, one
// thread. It must outlive every store and plan made on it.
typedef struct qn_device qn_device;

struct qn_device_params {
    const char *choice;    // NULL: QUERN_DEVICE, else "best"
    const char *variant;   // "cpu", "gpu"; NULL: QUERN_VARIANT, else by device
    // NULL: QUERN_CACHE_DIR, else the user's cache folder. One given here is
    // used whatever QUERN_CACHE says and whatever cache the driver has.
    const char *cache_dir;
    const char *cl_path;   // NULL: QUERN_CL_PATH, else the embedded kernels
    uint64_t memory_limit; // bytes; 0: QUERN_MEMORY_LIMIT, else none
    bool no_cache;         // neither read nor write the program cache
    bool profile;          // time every launch
    qn_logger log;
};

// Opens the chosen device. NULL `params` takes all defaults. NULL on failure,
// with QN_NO_DEVICE where there is none to open.
QN_API qn_device *qn_device_open(const struct qn_device_params *params,
                                 qn_error *error);

// Waits for the queue, releases everything. Accepts a pointer to NULL.
QN_API void qn_device_close(qn_device **device);

QN_API const qn_device_info *qn_device_describe(const qn_device *device);

// Device memory in buffers of the library: now, at most so far, and the largest
// single one so far. qn_device_describe's `memory_size` and `max_alloc_size` are
// what there may be, the limit that was set included.
typedef struct qn_device_usage {
    uint64_t allocated;
    uint64_t peak;
    uint64_t largest;
} qn_device_usage;
QN_API qn_device_usage qn_device_memory(const qn_device *device);

// Why this device was opened, in one sentence.
QN_API const char *qn_device_reason(const qn_device *device);

// Waits for all that was enqueued. After a failed OpenCL call at run time the
// device is lost: this and all others return the first failure.
QN_API qn_status qn_device_finish(qn_device *device, qn_error *error);

// One row of the profile: a kernel's launches so far.
typedef struct qn_profile_row {
    const char *kernel; // "matmul:matmul_nt", valid as long as the device
    int64_t launches;
    double seconds;
    double flops; // sum over launches, 0 where not counted
    double bytes; // compulsory traffic
} qn_profile_row;

// Up to `capacity` rows, most time first; returns how many there are. Waits
// for the queue. All 0 unless the device was opened with `profile`.
QN_API int qn_device_profile(qn_device *device, qn_profile_row *rows,
                             int capacity);

// ---- what the device itself can do ----

// A small kernel that does one thing only, beside which others are judged.
// Takes no time itself: run it several times, then qn_device_finish.
typedef enum qn_gauge_kind {
    QN_GAUGE_COPY,     // y = x, x and y of half the size each
    QN_GAUGE_IN_PLACE, // x = -x: what a copy reads and writes, in half the
                       // memory and without fetching lines only to fill them
    QN_GAUGE_FMA,      // fused multiply-adds of float32 in registers
} qn_gauge_kind;
typedef struct qn_gauge qn_gauge;

// `size`: bytes of memory touched, or floating-point operations of a run; the
// nearest that the kernel can do. NULL on failure. To be destroyed before the
// device is closed.
QN_API qn_gauge *qn_gauge_create(qn_device *device, qn_gauge_kind kind,
                                 int64_t size, qn_error *error);
QN_API void qn_gauge_destroy(qn_gauge **gauge);
// What a run does: bytes read plus bytes written, or operations, a
// multiply-add being two.
QN_API double qn_gauge_work(const qn_gauge *gauge);
// Enqueues one run and returns.
QN_API qn_status qn_gauge_run(qn_gauge *gauge, qn_error *error);

#ifdef __cplusplus
}
#endif

#endif
