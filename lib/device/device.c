// Opens and closes devices: parameters, context, queue, limits, fingerprint.
// Reads the environment, once, when a device is opened.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/os.h"
#include "device/state.h"

// ---- parameters ----

static const char *param_or_env(const char *param, const char *name)
{
    return param ? param : qn_os_env(name);
}

static qn_status copy_text(const char *text, char **out, qn_error *error)
{
    if (!text)
        return QN_OK;
    size_t size = strlen(text) + 1;
    *out = malloc(size);
    if (!*out)
        return qn_fail_memory(error, size);
    memcpy(*out, text, size);
    return QN_OK;
}

static qn_status set_variant(qn_device *device, const char *variant,
                             qn_error *error)
{
    if (!variant)
        return QN_OK;
    if (strcmp(variant, "cpu") == 0)
        device->limits.variant = QN_VARIANT_CPU;
    else if (strcmp(variant, "gpu") == 0)
        device->limits.variant = QN_VARIANT_GPU;
    else
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "the variant (QUERN_VARIANT) is cpu or gpu, not \"%s\"",
                       variant);
    return QN_OK;
}

static qn_status set_cl_path(qn_device *device, const char *path,
                             qn_error *error)
{
    if (path && !qn_os_is_folder(path))
        return qn_fail(error, QN_IO,
                       "the kernel folder (QUERN_CL_PATH) %s does not exist",
                       path);
    return copy_text(path, &device->cl_path, error);
}

// A folder asked for by parameter is always used; else the cache is off by
// QUERN_CACHE=0 and where it gains nothing.
static qn_status set_cache(qn_device *device,
                           const struct qn_device_params *params,
                           qn_error *error)
{
    const char *folder = params->cache_dir;
    const char *wanted = qn_os_env("QUERN_CACHE");
    char user_folder[4096];
    if (params->no_cache)
        return QN_OK;
    if (!folder) {
        if ((wanted && strcmp(wanted, "0") == 0) ||
            !qn_cache_is_useful(&device->info))
            return QN_OK;
        folder = qn_os_env("QUERN_CACHE_DIR");
    }
    if (!folder && qn_os_cache_folder(user_folder, sizeof user_folder))
        folder = user_folder;
    return folder ? qn_cache_open(device, folder, error) : QN_OK;
}

// "512M"; 0: no such text.
static uint64_t read_size(const char *text)
{
    char *end;
    double value = strtod(text, &end);
    const char *units = "KMG", *unit = *end ? strchr(units, *end) : NULL;
    for (int i = 0; unit && i <= unit - units; i++)
        value *= 1024;
    bool is_good = end > text && value >= 1 && value < 0x1p63 &&
                   (unit ? end[1] == 0 : *end == 0);
    return is_good ? (uint64_t)value : 0;
}

// A device of less memory, as far as anyone can tell.
static qn_status set_memory_limit(qn_device *device, uint64_t limit,
                                  qn_error *error)
{
    const char *text = qn_os_env("QUERN_MEMORY_LIMIT");
    qn_device_info *info = &device->info;
    if (limit == 0 && text && (limit = read_size(text)) == 0)
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "the memory limit (QUERN_MEMORY_LIMIT) is a number of "
                       "bytes, perhaps with K, M or G behind it, such as "
                       "512M, not \"%.60s\"", text);
    if (limit && limit < info->memory_size)
        info->memory_size = limit;
    if (info->max_alloc_size > info->memory_size)
        info->max_alloc_size = info->memory_size;
    return QN_OK;
}

// ---- limits ----

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

// ---- opening ----

static qn_status choose(qn_device *device, const char *choice,
                        qn_error *error)
{
    cl_device_id *ids;
    const char *origin = NULL;
    if (!choice && (choice = qn_os_env("QUERN_DEVICE")))
        origin = "QUERN_DEVICE";
    qn_device_list *list = qn_list_make(&device->log, &ids, error);
    if (!list)
        return QN_NO_MEMORY;
    int index = qn_devices_choose(list, choice ? choice : "best", origin);
    qn_status status = QN_OK;
    if (index < 0) {
        qn_drivers_check(&device->log);
        status = qn_fail(error, QN_NO_DEVICE, "%s", list->reason);
    } else {
        device->id = ids[index];
        device->info = list->devices[index];
        snprintf(device->reason, sizeof device->reason, "%s", list->reason);
    }
    free(ids);
    qn_device_list_destroy(&list);
    return status;
}

static qn_status make_queue(qn_device *device, bool profile, qn_error *error)
{
    cl_int code;
    cl_command_queue_properties properties =
        profile ? CL_QUEUE_PROFILING_ENABLE : 0;
    device->context = clCreateContext(NULL, 1, &device->id, NULL, NULL, &code);
    if (code != CL_SUCCESS)
        return qn_cl_fail(error, code, "clCreateContext");
    device->queue = clCreateCommandQueue(device->context, device->id,
                                         properties, &code);
    if (code != CL_SUCCESS)
        return qn_cl_fail(error, code, "clCreateCommandQueue");
    return QN_OK;
}

// The application's queue must be one that our launches can rely on.
static qn_status adopt_queue(qn_device *device, cl_context context,
                             cl_command_queue queue, bool profile,
                             qn_error *error)
{
    cl_context owner = NULL;
    cl_command_queue_properties properties = 0;
    CL_TRY(error, clGetCommandQueueInfo(queue, CL_QUEUE_CONTEXT, sizeof owner,
                                        &owner, NULL));
    CL_TRY(error, clGetCommandQueueInfo(queue, CL_QUEUE_DEVICE,
                                        sizeof device->id, &device->id, NULL));
    CL_TRY(error, clGetCommandQueueInfo(queue, CL_QUEUE_PROPERTIES,
                                        sizeof properties, &properties, NULL));
    QN_REQUIRE(error, owner == context);
    if (properties & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE)
        return qn_fail(error, QN_UNSUPPORTED,
                       "the application's queue is out of order; hand in one "
                       "without CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE");
    if (profile && !(properties & CL_QUEUE_PROFILING_ENABLE))
        return qn_fail(error, QN_UNSUPPORTED,
                       "a profile needs a queue made with "
                       "CL_QUEUE_PROFILING_ENABLE");
    CL_TRY(error, clRetainContext(context));
    device->context = context;
    CL_TRY(error, clRetainCommandQueue(queue));
    device->queue = queue;
    qn_list_describe(device->id, &device->info);
    snprintf(device->reason, sizeof device->reason,
             "the application handed in its queue");
    return QN_OK;
}

// What follows once context and queue are there.
static qn_status set_up(qn_device *device,
                        const struct qn_device_params *params,
                        qn_error *error)
{
    QN_TRY(copy_text(qn_os_env("QUERN_KERNEL"), &device->forced, error));
    QN_TRY(set_memory_limit(device, params->memory_limit, error));
    fill_limits(device);
    QN_TRY(set_variant(device, param_or_env(params->variant, "QUERN_VARIANT"),
                       error));
    QN_TRY(set_cl_path(device, param_or_env(params->cl_path, "QUERN_CL_PATH"),
                       error));
    QN_TRY(set_cache(device, params, error));
    fill_fingerprint(device);
    return params->profile ? qn_profile_create(&device->profile, error)
                           : QN_OK;
}

static const struct qn_device_params defaults;

qn_device *qn_device_open(const struct qn_device_params *params,
                          qn_error *error)
{
    params = params ? params : &defaults;
    qn_device *device = calloc(1, sizeof *device);
    if (!device) {
        qn_fail_memory(error, sizeof *device);
        return NULL;
    }
    device->log = params->log;
    if (choose(device, params->choice, error) != QN_OK ||
        make_queue(device, params->profile, error) != QN_OK ||
        set_up(device, params, error) != QN_OK)
        qn_device_close(&device);
    return device;
}

qn_device *qn_device_open_on(cl_context context, cl_command_queue queue,
                             const struct qn_device_params *params,
                             qn_error *error)
{
    params = params ? params : &defaults;
    qn_device *device = calloc(1, sizeof *device);
    if (!device) {
        qn_fail_memory(error, sizeof *device);
        return NULL;
    }
    device->log = params->log;
    if (adopt_queue(device, context, queue, params->profile, error) != QN_OK ||
        set_up(device, params, error) != QN_OK)
        qn_device_close(&device);
    return device;
}

void qn_device_close(qn_device **device)
{
    if (!device || !*device)
        return;
    qn_device *gone = *device;
    if (gone->queue && gone->lost.status == QN_OK) {
        clFinish(gone->queue);
        qn_device_flush_cache(gone);
    }
    qn_profile_destroy(&gone->profile);
    qn_programs_release(gone);
    qn_external_forget(gone);
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

qn_device_usage qn_device_memory(const qn_device *device)
{
    return device->usage;
}

// ---- failures at run time ----

qn_status qn_device_lose(qn_device *device, cl_int code, const char *call,
                         const char *what, qn_error *error)
{
    if (device->lost.status == QN_OK) {
        qn_error reason = {0};
        qn_cl_fail(&reason, code, call);
        qn_fail(&device->lost, QN_DEVICE, "%s is lost: %s%s%s",
                device->info.name, reason.text, what ? " in " : "",
                what ? what : "");
        qn_log_write(&device->log, QN_LOG_ERROR, "%s", device->lost.text);
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
    CL_RUN(device, NULL, error, clFinish(device->queue));
    return QN_OK;
}

// ---- asking ----

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
