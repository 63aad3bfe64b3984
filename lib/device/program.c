// Programs: one for each distinct text and options, built at first use and
// kept as long as the device. Knows nothing of arguments.
#include <stdlib.h>
#include <string.h>
#include <stdio.h>

#include "base/hash.h"
#include "device/source.h"

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

static qn_status fail_build(qn_device *device, struct qn_program *program,
                            const char *source, const char *options,
                            cl_int code, qn_error *error)
{
    size_t size = 0;
    struct qn_text text = {0};
    qn_text_add(&text, "%s.cl does not compile: %s (%d), options %s\n",
                program->name, qn_cl_name(code), (int)code, options);
    clGetProgramBuildInfo(program->handle, device->id, CL_PROGRAM_BUILD_LOG, 0,
                          NULL, &size);
    char *build_log = calloc(1, size + 1);
    if (build_log) {
        clGetProgramBuildInfo(program->handle, device->id,
                              CL_PROGRAM_BUILD_LOG, size, build_log, NULL);
        qn_text_add(&text, "%s", build_log);
        qn_source_quote(source, build_log, &text);
        free(build_log);
    }
    const char *message = text.failed ? "out of memory" : text.data;
    qn_log_write(&device->log, QN_LOG_ERROR, "%s", message);
    qn_fail(error, QN_BUILD, "%s", message);
    qn_text_finish(&text);
    return QN_BUILD;
}

static qn_status build(qn_device *device, struct qn_program *program,
                       const char *source, const char *options,
                       qn_error *error)
{
    cl_int code;
    size_t length = strlen(source);
    program->handle = clCreateProgramWithSource(device->context, 1, &source,
                                                &length, &code);
    if (code != CL_SUCCESS)
        return qn_cl_fail(error, code, "clCreateProgramWithSource");
    code = clBuildProgram(program->handle, 1, &device->id, options, NULL,
                          NULL);
    if (code != CL_SUCCESS)
        return fail_build(device, program, source, options, code, error);
    program->is_fresh = true;
    return QN_OK;
}

static void release(struct qn_program *program)
{
    if (program->handle)
        clReleaseProgram(program->handle);
    free(program);
}

static qn_status create(qn_device *device, const struct qn_launch *launch,
                        struct qn_program *program, qn_error *error)
{
    struct qn_text source = {0}, options = {0};
    qn_status status = qn_source_join(device, launch, &source, error);
    qn_source_options(device, launch, &options);
    if (status == QN_OK && options.failed)
        status = qn_fail_memory(error, options.length);
    if (status == QN_OK)
        status = build(device, program, source.data, options.data, error);
    qn_text_finish(&source);
    qn_text_finish(&options);
    return status;
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
    snprintf(program->name, sizeof program->name, "%s",
             launch->file ? launch->file : "generated");
    qn_status status = create(device, launch, program, error);
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

void qn_device_flush_cache(qn_device *device)
{
    (void)device;
}
