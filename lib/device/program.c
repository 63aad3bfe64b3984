// Programs: one for each distinct text and options, loaded or built at first
// use and kept as long as the device. Knows nothing of arguments.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/os.h"
#include "device/source.h"

enum { MAX_CONTEXT_DEVICES = 64, LONGEST_LOG = 1000, MOST_ATTEMPTS = 4 };
// Time that writing the cache may take before it leaves the rest to the next
// process: see qn_device_flush_cache.
static const double flush_seconds = 2;

static void identify(const struct qn_launch *launch, unsigned char digest[32])
{
    struct qn_sha256 hash;
    unsigned char real = (unsigned char)launch->real;
    qn_sha256_init(&hash);
    qn_sha256_add_string(&hash, launch->file);
    qn_sha256_add_string(&hash, launch->include);
    qn_sha256_add_string(&hash, launch->text);
    qn_sha256_add_string(&hash, launch->defines);
    qn_sha256_add(&hash, &real, 1);
    qn_sha256_finish(&hash, digest);
}

// ---- building ----

// What the compiler said; the caller frees it. NULL without memory.
static char *read_log(const qn_device *device, cl_program program)
{
    size_t size = 0;
    clGetProgramBuildInfo(program, device->id, CL_PROGRAM_BUILD_LOG, 0, NULL,
                          &size);
    char *text = calloc(1, size + 1);
    if (text)
        clGetProgramBuildInfo(program, device->id, CL_PROGRAM_BUILD_LOG, size,
                              text, NULL);
    return text;
}

// The error has room for the head of the log and the lines it names; the log
// callback gets all.
static qn_status fail_build(qn_device *device,
                            const struct qn_program *program,
                            const char *source, const char *options,
                            cl_int code, qn_error *error)
{
    struct qn_text quote = {0};
    char *build_log = read_log(device, program->handle);
    if (!build_log)
        return qn_fail_memory(error, 1);
    qn_source_quote(source, build_log, &quote);
    const char *lines = quote.data ? quote.data : "";
    qn_log_write(&device->log, QN_LOG_ERROR, "%s: %s (%d), options %s\n%s\n%s",
                 program->name, qn_cl_name(code), (int)code, options,
                 build_log, lines);
    qn_status status = qn_fail(
        error, QN_BUILD, "%s does not compile: %s (%d), options %s\n%.*s\n%s",
        program->name, qn_cl_name(code), (int)code, options, LONGEST_LOG,
        build_log, lines);
    qn_text_finish(&quote);
    free(build_log);
    return status;
}

// A compiler that finds a fault in the text says so. Where it says nothing, it
// failed itself: PoCL does, rarely, when several processes fill its cache.
static bool is_worth_a_retry(const qn_device *device, cl_program program)
{
    char *build_log = read_log(device, program);
    bool is_silent = build_log && !strstr(build_log, "error");
    free(build_log);
    return is_silent;
}

static qn_status build(qn_device *device, struct qn_program *program,
                       const char *source, const char *options,
                       qn_error *error)
{
    double start = qn_os_seconds();
    for (int attempt = 1;; attempt++) {
        cl_int code;
        program->handle = clCreateProgramWithSource(device->context, 1,
                                                    &source, NULL, &code);
        if (code != CL_SUCCESS)
            return qn_cl_fail(error, code, "clCreateProgramWithSource");
        code = clBuildProgram(program->handle, 1, &device->id, options, NULL,
                              NULL);
        if (code == CL_SUCCESS)
            break;
        if (attempt == MOST_ATTEMPTS ||
            !is_worth_a_retry(device, program->handle))
            return fail_build(device, program, source, options, code, error);
        qn_log_write(&device->log, QN_LOG_INFO, "%s: %s without a reason, "
                     "building it again", program->name, qn_cl_name(code));
        clReleaseProgram(program->handle);
        program->handle = NULL;
    }
    program->is_fresh = true;
    qn_log_write(&device->log, QN_LOG_DEBUG, "built %s in %.0f ms, options %s",
                 program->name, 1e3 * (qn_os_seconds() - start), options);
    return QN_OK;
}

// Tries the disk cache. What the driver does not take is dropped.
static bool load(qn_device *device, struct qn_program *program,
                 const char *options)
{
    unsigned char *data;
    size_t size;
    cl_int code, taken = CL_SUCCESS;
    if (!qn_cache_load(device, &program->key, &data, &size))
        return false;
    const unsigned char *binary = data;
    program->handle = clCreateProgramWithBinary(
        device->context, 1, &device->id, &size, &binary, &taken, &code);
    if (code == CL_SUCCESS)
        code = taken;
    if (code == CL_SUCCESS)
        code = clBuildProgram(program->handle, 1, &device->id, options, NULL,
                              NULL);
    free(data);
    if (code == CL_SUCCESS)
        return true;
    qn_log_write(&device->log, QN_LOG_INFO,
                 "the driver does not take a cached %s (%s)", program->name,
                 qn_cl_name(code));
    if (program->handle)
        clReleaseProgram(program->handle);
    program->handle = NULL;
    qn_cache_remove(device, &program->key);
    return false;
}

// Joins source and options and hands them to a load or a build.
static qn_status create(qn_device *device, const struct qn_launch *launch,
                        struct qn_program *program, bool may_load,
                        qn_error *error)
{
    struct qn_text source = {0}, options = {0};
    qn_status status = qn_source_join(device, launch, &source, error);
    qn_source_options(device, launch, &options);
    if (status == QN_OK && options.failed)
        status = qn_fail_memory(error, options.length);
    if (status != QN_OK)
        goto done;
    if (device->cache_dir && !program->key.length)
        qn_cache_key(device, source.data, options.data, &program->key);
    if (program->key.failed)
        qn_text_finish(&program->key);
    if (may_load && program->key.length &&
        load(device, program, options.data)) {
        program->is_cached = true;
        device->cached++;
    } else {
        intptr_t lock = qn_cache_lock(device);
        status = build(device, program, source.data, options.data, error);
        qn_os_unlock(lock);
    }
done:
    qn_text_finish(&source);
    qn_text_finish(&options);
    return status;
}

static void release(struct qn_program *program)
{
    if (program->handle)
        clReleaseProgram(program->handle);
    qn_text_finish(&program->key);
    free(program);
}

static void name_program(const struct qn_launch *launch,
                         struct qn_program *program)
{
    snprintf(program->name, sizeof program->name, "%s%s",
             launch->file ? launch->file : "generated",
             launch->file ? ".cl" : " kernel");
}

qn_status qn_program_get(qn_device *device, const struct qn_launch *launch,
                         struct qn_program **out, qn_error *error)
{
    unsigned char identity[32];
    identify(launch, identity);
    *out = NULL;
    for (struct qn_program *program = device->programs; program;
         program = program->next)
        if (memcmp(program->identity, identity, sizeof identity) == 0) {
            *out = program;
            return QN_OK;
        }
    struct qn_program *program = calloc(1, sizeof *program);
    if (!program)
        return qn_fail_memory(error, sizeof *program);
    memcpy(program->identity, identity, sizeof identity);
    program->is_heavy = launch->is_heavy;
    name_program(launch, program);
    qn_status status = create(device, launch, program, true, error);
    if (status != QN_OK) {
        release(program);
        return status;
    }
    program->next = device->programs;
    device->programs = program;
    device->built++;
    *out = program;
    return QN_OK;
}

qn_status qn_program_rebuild(qn_device *device,
                             const struct qn_launch *launch,
                             struct qn_program *program, qn_error *error)
{
    cl_program old = program->handle;
    qn_cache_remove(device, &program->key);
    qn_status status = create(device, launch, program, false, error);
    if (status == QN_OK) {
        clReleaseProgram(old);
        program->is_cached = false;
        device->cached--;
    } else {
        if (program->handle && program->handle != old)
            clReleaseProgram(program->handle);
        program->handle = old;
    }
    return status;
}

void qn_programs_release(qn_device *device)
{
    while (device->programs) {
        struct qn_program *next = device->programs->next;
        release(device->programs);
        device->programs = next;
    }
}

void qn_device_program_count(const qn_device *device, int *built, int *cached)
{
    *built = device->built;
    *cached = device->cached;
}

// ---- writing the cache ----

// The binary for our device among those of the program's context. The caller
// frees it.
static unsigned char *take_binary(const qn_device *device, cl_program program,
                                  size_t *size)
{
    cl_device_id devices[MAX_CONTEXT_DEVICES];
    size_t sizes[MAX_CONTEXT_DEVICES], count = 0;
    unsigned char *binaries[MAX_CONTEXT_DEVICES] = {NULL};
    if (clGetProgramInfo(program, CL_PROGRAM_DEVICES, sizeof devices, devices,
                         &count) != CL_SUCCESS)
        return NULL;
    count /= sizeof *devices;
    if (clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof sizes, sizes,
                         NULL) != CL_SUCCESS)
        return NULL;
    for (size_t i = 0; i < count; i++)
        if (devices[i] == device->id && sizes[i]) {
            *size = sizes[i];
            binaries[i] = malloc(sizes[i]);
            // A NULL in the others' places skips them.
            if (binaries[i] &&
                clGetProgramInfo(program, CL_PROGRAM_BINARIES,
                                 count * sizeof *binaries, binaries,
                                 NULL) == CL_SUCCESS)
                return binaries[i];
            free(binaries[i]);
            return NULL;
        }
    return NULL;
}

// Another process may have stored the same meanwhile.
static bool is_stored(qn_device *device, const struct qn_program *program)
{
    unsigned char *data;
    size_t size;
    if (!qn_cache_load(device, &program->key, &data, &size))
        return false;
    free(data);
    return true;
}

static void store(qn_device *device, struct qn_program *program)
{
    size_t size;
    double start = qn_os_seconds();
    program->is_fresh = false;
    if (is_stored(device, program))
        return;
    unsigned char *binary = take_binary(device, program->handle, &size);
    if (!binary)
        return;
    qn_cache_store(device, &program->key, binary, size);
    free(binary);
    qn_log_write(&device->log, QN_LOG_DEBUG,
                 "kept %s (%zu bytes) in the program cache in %.0f ms",
                 program->name, size, 1e3 * (qn_os_seconds() - start));
}

// Asked for a binary, PoCL first compiles each kernel of the program once more,
// for any group size, which nobody will run. So this comes last, light
// programs first, and ends when it has taken long enough. Programs that never
// ran have no finished kernels to keep.
void qn_device_flush_cache(qn_device *device)
{
    double start = qn_os_seconds();
    for (int heavy = 0; heavy < 2; heavy++)
        for (struct qn_program *program = device->programs; program;
             program = program->next)
            if (program->key.length && program->is_fresh && program->has_run &&
                program->is_heavy == heavy &&
                qn_os_seconds() - start < flush_seconds) {
                intptr_t lock = qn_cache_lock(device);
                store(device, program);
                qn_os_unlock(lock);
            }
}
