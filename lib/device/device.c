// Opens and closes devices: context, queue, limits, fingerprint. Reads the
// environment, once, when a device is opened.
#include "device/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/os.h"

static void fill_limits(qn_device *device)
{
    const qn_device_info *info = &device->info;
    cl_uint align_bits = 0;
    cl_device_type type = 0;
    clGetDeviceInfo(device->id, CL_DEVICE_MEM_BASE_ADDR_ALIGN,
                    sizeof align_bits, &align_bits, NULL);
    clGetDeviceInfo(device->id, CL_DEVICE_TYPE, sizeof type, &type, NULL);
    device->limits = (struct qn_limits){
        .variant = type & CL_DEVICE_TYPE_CPU ? QN_VARIANT_CPU
                                             : QN_VARIANT_GPU,
        .compute_units = (int)info->compute_units,
        .max_group_size = info->max_group_size,
        .local_size = (int64_t)info->local_size,
        .max_alloc_size = (int64_t)info->max_alloc_size,
        .memory_size = (int64_t)info->memory_size,
        .base_align = align_bits / 8 > 64 ? align_bits / 8 : 64,
        .has_float64 = info->has_float64,
        .has_clblast = QN_HAVE_CLBLAST,
        .forced = device->forced,
    };
}

static void fill_fingerprint(qn_device *device)
{
    const qn_device_info *info = &device->info;
    char units[32];
    unsigned char digest[32];
    struct qn_sha256 hash;
    snprintf(units, sizeof units, "%u", (unsigned)info->compute_units);
    const char *const parts[] = {
        info->platform, info->platform_version, info->name, info->version,
        info->driver, units, QN_VERSION_TEXT, device->forced,
        device->limits.variant == QN_VARIANT_CPU ? "cpu" : "gpu",
        device->limits.has_clblast ? "clblast" : ""};
    qn_sha256_init(&hash);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        qn_sha256_add_string(&hash, parts[i]);
    qn_sha256_finish(&hash, digest);
    qn_sha256_hex(digest, device->fingerprint);
}

static qn_status open_queue(qn_device *device, cl_device_id id,
                            qn_error *error)
{
    cl_int code;
    device->id = id;
    device->context = clCreateContext(NULL, 1, &id, NULL, NULL, &code);
    if (code != CL_SUCCESS)
        return qn_cl_fail(error, code, "clCreateContext");
    device->queue = clCreateCommandQueue(device->context, id, 0, &code);
    if (code != CL_SUCCESS)
        return qn_cl_fail(error, code, "clCreateCommandQueue");
    return QN_OK;
}

static qn_status choose(qn_device *device, const char *choice,
                        cl_device_id *id, qn_error *error)
{
    cl_device_id *ids;
    qn_device_list *list = qn_list_make(&device->log, &ids, error);
    if (!list)
        return QN_NO_MEMORY;
    int index = qn_devices_choose(list, choice);
    qn_status status = QN_OK;
    if (index < 0) {
        status = qn_fail(error, QN_NO_DEVICE, "%s", list->reason);
    } else {
        *id = ids[index];
        device->info = list->devices[index];
        snprintf(device->reason, sizeof device->reason, "%s", list->reason);
    }
    free(ids);
    qn_device_list_destroy(&list);
    return status;
}

qn_device *qn_device_open(const struct qn_device_params *params,
                          qn_error *error)
{
    static const struct qn_device_params defaults;
    if (!params)
        params = &defaults;
    cl_device_id id = NULL;
    qn_device *device = calloc(1, sizeof *device);
    if (!device) {
        qn_fail_memory(error, sizeof *device);
        return NULL;
    }
    device->log = params->log;
    if (choose(device, params->choice, &id, error) != QN_OK ||
        open_queue(device, id, error) != QN_OK) {
        qn_device_close(&device);
        return NULL;
    }
    fill_limits(device);
    const char *variant = params->variant ? params->variant
                                          : qn_os_env("QUERN_VARIANT");
    if (variant)
        device->limits.variant = strcmp(variant, "gpu") ? QN_VARIANT_CPU
                                                        : QN_VARIANT_GPU;
    fill_fingerprint(device);
    return device;
}

void qn_device_close(qn_device **device)
{
    if (!device || !*device)
        return;
    qn_device *gone = *device;
    if (gone->queue && gone->lost.status == QN_OK)
        clFinish(gone->queue);
    qn_programs_release(gone);
    if (gone->queue)
        clReleaseCommandQueue(gone->queue);
    if (gone->context)
        clReleaseContext(gone->context);
    free(gone->forced);
    free(gone->cl_path);
    free(gone->cache_dir);
    free(gone);
    *device = NULL;
}

qn_status qn_device_lose(qn_device *device, cl_int code, const char *call,
                         qn_error *error)
{
    if (device->lost.status == QN_OK) {
        qn_error reason = {0};
        qn_cl_fail(&reason, code, call);
        qn_fail(&device->lost, QN_DEVICE, "%s is lost: %s",
                device->info.name, reason.text);
    }
    return qn_device_check(device, error);
}

qn_status qn_device_check(const qn_device *device, qn_error *error)
{
    if (device->lost.status == QN_OK)
        return QN_OK;
    return qn_fail(error, device->lost.status, "%s", device->lost.text);
}

qn_status qn_device_finish(qn_device *device, qn_error *error)
{
    QN_TRY(qn_device_check(device, error));
    CL_RUN(device, error, clFinish(device->queue));
    return QN_OK;
}

const struct qn_limits *qn_device_limits(const qn_device *device)
{
    return &device->limits;
}

const qn_logger *qn_device_log(const qn_device *device)
{
    return &device->log;
}

const char *qn_device_fingerprint(const qn_device *device)
{
    return device->fingerprint;
}

const qn_device_info *qn_device_describe(const qn_device *device)
{
    return &device->info;
}

const char *qn_device_reason(const qn_device *device)
{
    return device->reason;
}

cl_context qn_device_context(const qn_device *device)
{
    return device->context;
}

cl_command_queue qn_device_queue(const qn_device *device)
{
    return device->queue;
}
