// Finds platforms and devices and what they say of themselves. Knows nothing
// of which one is wanted.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "device/state.h"

enum { PLATFORM_NOT_FOUND = -1001, MAX_PLATFORMS = 64, MAX_DEVICES = 64 };

// Drivers pad names with blanks.
static void trim(char *text)
{
    size_t start = strspn(text, " \t\n"), length = strlen(text);
    memmove(text, text + start, length - start + 1);
    for (length -= start; length && strchr(" \t\n", text[length - 1]);)
        text[--length] = 0;
}

// A text of a device or platform, cut to fit. A failing query gives "".
static void read_text(cl_platform_id platform, cl_device_id id, cl_uint what,
                      char *text, size_t size)
{
    size_t length = 0;
    *text = 0;
    cl_int code = id ? clGetDeviceInfo(id, what, 0, NULL, &length)
                     : clGetPlatformInfo(platform, what, 0, NULL, &length);
    char *whole = code == CL_SUCCESS && length ? calloc(1, length + 1) : NULL;
    if (!whole)
        return;
    code = id ? clGetDeviceInfo(id, what, length, whole, NULL)
              : clGetPlatformInfo(platform, what, length, whole, NULL);
    if (code == CL_SUCCESS) {
        trim(whole);
        snprintf(text, size, "%s", whole);
    }
    free(whole);
}

// A number of a device of any width; 0 where the query fails.
static uint64_t read_number(cl_device_id id, cl_device_info what)
{
    union {
        cl_uint narrow;
        cl_ulong wide;
    } value = {.wide = 0};
    size_t size = 0;
    if (clGetDeviceInfo(id, what, sizeof value, &value, &size) != CL_SUCCESS)
        return 0;
    return size == sizeof(cl_uint) ? value.narrow : value.wide;
}

static qn_device_type type_of(cl_device_id id, const qn_device_info *info)
{
    uint64_t type = read_number(id, CL_DEVICE_TYPE);
    if (strstr(info->platform, "Oclgrind"))
        return QN_DEVICE_EMULATOR;
    if (type & CL_DEVICE_TYPE_CPU)
        return QN_DEVICE_CPU;
    if (type & CL_DEVICE_TYPE_GPU)
        return info->unified_memory ? QN_DEVICE_INTEGRATED_GPU
                                    : QN_DEVICE_GPU;
    return QN_DEVICE_ACCELERATOR;
}

static bool has_extension(cl_device_id id, const char *name)
{
    char extensions[16384];
    read_text(NULL, id, CL_DEVICE_EXTENSIONS, extensions, sizeof extensions);
    return strstr(extensions, name) != NULL;
}

static void find_problem(cl_device_id id, qn_device_info *info)
{
    int major = 0, minor = 0;
    const char *problem = NULL;
    char profile[32];
    read_text(NULL, id, CL_DEVICE_PROFILE, profile, sizeof profile);
    if (sscanf(info->version, "OpenCL %d.%d", &major, &minor) == 2 &&
        major * 10 + minor < 12)
        problem = "it offers less than OpenCL 1.2";
    else if (!read_number(id, CL_DEVICE_AVAILABLE))
        problem = "its driver says that it is not available";
    else if (!read_number(id, CL_DEVICE_COMPILER_AVAILABLE))
        problem = "its driver has no compiler for OpenCL C";
    else if (read_number(id, CL_DEVICE_TYPE) & CL_DEVICE_TYPE_CUSTOM)
        problem = "it runs built-in kernels only";
    else if (strstr(profile, "EMBEDDED") &&
             !has_extension(id, "cles_khr_int64"))
        problem = "it has no 64-bit integers";
    else if (!info->memory_size || !info->max_alloc_size ||
             !info->max_group_size || !info->compute_units)
        problem = "its driver does not tell its limits";
    if (problem)
        snprintf(info->problem, sizeof info->problem, "%s", problem);
}

static void fill_info(cl_platform_id platform, cl_device_id id,
                      qn_device_info *info)
{
    read_text(platform, NULL, CL_PLATFORM_NAME, info->platform,
              sizeof info->platform);
    read_text(platform, NULL, CL_PLATFORM_VERSION, info->platform_version,
              sizeof info->platform_version);
    read_text(NULL, id, CL_DEVICE_NAME, info->name, sizeof info->name);
    read_text(NULL, id, CL_DEVICE_VENDOR, info->vendor, sizeof info->vendor);
    read_text(NULL, id, CL_DEVICE_VERSION, info->version,
              sizeof info->version);
    read_text(NULL, id, CL_DRIVER_VERSION, info->driver, sizeof info->driver);
    info->memory_size = read_number(id, CL_DEVICE_GLOBAL_MEM_SIZE);
    info->max_alloc_size = read_number(id, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
    info->local_size = read_number(id, CL_DEVICE_LOCAL_MEM_SIZE);
    info->compute_units = (uint32_t)read_number(id,
                                                CL_DEVICE_MAX_COMPUTE_UNITS);
    info->clock = (uint32_t)read_number(id, CL_DEVICE_MAX_CLOCK_FREQUENCY);
    info->max_group_size = (uint32_t)read_number(
        id, CL_DEVICE_MAX_WORK_GROUP_SIZE);
    info->has_float64 = read_number(id, CL_DEVICE_DOUBLE_FP_CONFIG) != 0;
    info->unified_memory = read_number(id, CL_DEVICE_HOST_UNIFIED_MEMORY) != 0;
    info->type = type_of(id, info);
    find_problem(id, info);
}

void qn_list_describe(cl_device_id id, qn_device_info *info)
{
    cl_platform_id platform = NULL, platforms[MAX_PLATFORMS];
    cl_device_id devices[MAX_DEVICES];
    cl_uint count = 0;
    *info = (qn_device_info){.platform_index = -1, .device_index = -1};
    clGetDeviceInfo(id, CL_DEVICE_PLATFORM, sizeof platform, &platform, NULL);
    fill_info(platform, id, info);
    clGetPlatformIDs(MAX_PLATFORMS, platforms, &count);
    for (cl_uint i = 0; i < count && i < MAX_PLATFORMS; i++)
        if (platforms[i] == platform)
            info->platform_index = (int)i;
    count = 0;
    clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, MAX_DEVICES, devices, &count);
    for (cl_uint i = 0; i < count && i < MAX_DEVICES; i++)
        if (devices[i] == id)
            info->device_index = (int)i;
}

// Appends the devices of one platform. A failing one is named and left out.
static bool add_platform(qn_device_list *list, cl_device_id **ids, int index,
                         cl_platform_id platform, const qn_logger *log)
{
    cl_device_id found[MAX_DEVICES];
    cl_uint count = 0;
    cl_int code = clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, MAX_DEVICES,
                                 found, &count);
    if (code == CL_DEVICE_NOT_FOUND)
        return true;
    if (code != CL_SUCCESS) {
        char name[128];
        read_text(platform, NULL, CL_PLATFORM_NAME, name, sizeof name);
        qn_log_write(log, QN_LOG_WARNING,
                     "platform %d (%s) is left out, clGetDeviceIDs: %s (%d)",
                     index, *name ? name : "without a name", qn_cl_name(code),
                     (int)code);
        return true;
    }
    if (count > MAX_DEVICES)
        count = MAX_DEVICES;
    size_t total = (size_t)list->device_count + count;
    qn_device_info *devices = realloc(list->devices, total * sizeof *devices);
    if (devices)
        list->devices = devices;
    cl_device_id *handles = realloc(*ids, total * sizeof **ids);
    if (handles)
        *ids = handles;
    if (!devices || !handles)
        return count == 0;
    for (cl_uint i = 0; i < count; i++) {
        qn_device_info *info = &devices[list->device_count];
        *info = (qn_device_info){.platform_index = index,
                                 .device_index = (int)i};
        fill_info(platform, found[i], info);
        handles[list->device_count++] = found[i];
    }
    return true;
}

qn_device_list *qn_list_make(const qn_logger *log, cl_device_id **ids,
                             qn_error *error)
{
    cl_platform_id platforms[MAX_PLATFORMS];
    cl_uint count = 0;
    *ids = NULL;
    qn_device_list *list = calloc(1, sizeof *list);
    if (!list)
        goto fail;
    list->chosen = -1;
    cl_int code = clGetPlatformIDs(MAX_PLATFORMS, platforms, &count);
    if (code != CL_SUCCESS) {
        if (code != PLATFORM_NOT_FOUND)
            qn_log_write(log, QN_LOG_WARNING, "clGetPlatformIDs: %s (%d)",
                         qn_cl_name(code), (int)code);
        return list;
    }
    list->platform_count = count < MAX_PLATFORMS ? (int)count : MAX_PLATFORMS;
    for (int i = 0; i < list->platform_count; i++)
        if (!add_platform(list, ids, i, platforms[i], log))
            goto fail;
    qn_devices_rank(list->devices, list->device_count);
    return list;
fail:
    qn_fail_memory(error, sizeof *list);
    free(*ids);
    *ids = NULL;
    qn_device_list_destroy(&list);
    return NULL;
}

qn_device_list *qn_device_list_create(const char *choice, const qn_logger *log,
                                      qn_error *error)
{
    cl_device_id *ids;
    qn_device_list *list = qn_list_make(log, &ids, error);
    if (!list)
        return NULL;
    free(ids);
    qn_drivers_check(log);
    const char *origin = NULL;
    if (!choice && (choice = qn_os_env("QUERN_DEVICE")))
        origin = "QUERN_DEVICE";
    list->chosen = qn_devices_choose(list, choice ? choice : "best", origin);
    return list;
}

void qn_device_list_destroy(qn_device_list **list)
{
    if (!list || !*list)
        return;
    free((*list)->devices);
    free(*list);
    *list = NULL;
}
