// Every kernel file compiles alone: with common.cl before it, its defaults,
// both real types, no warning. A file that takes another one before it says so
// at its beginning: "needs runs.cl before it". The suite runs once for each
// kernel variant.
#define CL_TARGET_OPENCL_VERSION 120
#include "quern/opencl.h"

#include <stdio.h>
#include <string.h>

#include "device/device.h"
#include "device/sources.h"
#include "qn_check.h"

// That clang does not unroll a loop where it was hinted at is no fault.
static const char preamble[] =
    "#ifdef __clang__\n"
    "#pragma clang diagnostic ignored \"-Wpass-failed\"\n"
    "#endif\n";

static const struct qn_source *find_source(const char *name)
{
    const struct qn_source *source = qn_sources;
    while (source->name && strcmp(source->name, name) != 0)
        source++;
    ck_assert_msg(source->name != NULL, "%s.cl is not embedded", name);
    return source;
}

// The files that `file` needs before it, "needs a.cl and b.cl before it", or
// empty ones.
static void find_needed(const struct qn_source *file,
                        struct qn_source needed[2])
{
    char head[400], names[2][32];
    needed[0] = needed[1] =
        (struct qn_source){"", (const unsigned char *)"", 0};
    snprintf(head, sizeof head, "%.*s", (int)file->size,
             (const char *)file->data);
    const char *needs = strstr(head, "needs ");
    const int count =
        needs ? sscanf(needs, "needs %31[a-z0-9_].cl and%*[ /\n]%31[a-z0-9_].cl",
                       names[0], names[1])
              : 0;
    for (int i = 0; i < count; i++)
        needed[i] = *find_source(names[i]);
}

// Compiles common.cl and `file` for the test device; fails with the log.
static void compile(const struct qn_source *file, bool is_double)
{
    qn_device *device = qn_check_device();
    cl_context context = qn_device_context(device);
    const struct qn_source *common = find_source("common");
    struct qn_source needed[2];
    find_needed(file, needed);
    const char *texts[] = {preamble, (const char *)common->data,
                           (const char *)needed[0].data,
                           (const char *)needed[1].data,
                           (const char *)file->data};
    const size_t sizes[] = {sizeof preamble - 1, common->size, needed[0].size,
                            needed[1].size, file->size};
    cl_int code;
    cl_program program =
        clCreateProgramWithSource(context, 5, texts, sizes, &code);
    ck_assert_int_eq(code, CL_SUCCESS);

    char options[160];
    int is_cpu = qn_device_limits(device)->variant == QN_VARIANT_CPU;
    snprintf(options, sizeof options,
             "-cl-std=CL1.2 -Werror -DREAL_IS_DOUBLE=%d -DCPU=%d%s", is_double,
             is_cpu, is_double ? "" : " -cl-single-precision-constant");
    code = clBuildProgram(program, 0, NULL, options, NULL, NULL);
    static char log[16384];
    cl_device_id id;
    clGetCommandQueueInfo(qn_device_queue(device), CL_QUEUE_DEVICE, sizeof id,
                          &id, NULL);
    clGetProgramBuildInfo(program, id, CL_PROGRAM_BUILD_LOG, sizeof log, log,
                          NULL);
    ck_assert_msg(code == CL_SUCCESS, "%s.cl with %s: %.2000s", file->name,
                  options, log);
    clReleaseProgram(program);
}

static void compile_all(bool is_double)
{
    int count = 0;
    for (const struct qn_source *file = qn_sources; file->name; file++) {
        if (strcmp(file->name, "common") == 0)
            continue;
        compile(file, is_double);
        count++;
    }
    ck_assert_int_gt(count, 0);
}

START_TEST(every_file_compiles_alone_in_float)
{
    compile_all(false);
}
END_TEST

START_TEST(every_file_compiles_alone_in_double)
{
    if (qn_device_limits(qn_check_device())->has_float64)
        compile_all(true);
}
END_TEST

QN_CHECK_MAIN("cl", every_file_compiles_alone_in_float,
              every_file_compiles_alone_in_double)
