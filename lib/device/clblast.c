// External launches: matrix products by CLBlast, on our queue and buffers.
//
// Arguments: a, b, c, m, n, k, trans_a, trans_b, batch, stride_a, stride_b,
// stride_c, of the row-major product c[m,n] = op(a) op(b). CLBlast is called
// column-major with swapped operands, c' = op(b)' op(a)', since it computes a
// row-major product by transposing c.
#include <stdlib.h>
#include <string.h>

#include "device/state.h"

#if QN_HAVE_CLBLAST

#include <clblast_c.h>

enum { ARG_COUNT = 12 };

struct qn_external {
    qn_device *device;
    bool is_double;
    cl_mem a, b, c;
    size_t m, n, k, batch;
    size_t stride_a, stride_b, stride_c;
    bool trans_a, trans_b;
};

static const enum qn_arg_kind kinds[ARG_COUNT] = {
    QN_ARG_BUFFER, QN_ARG_BUFFER, QN_ARG_BUFFER, QN_ARG_INT,
    QN_ARG_INT,    QN_ARG_INT,    QN_ARG_INT,    QN_ARG_INT,
    QN_ARG_INT,    QN_ARG_LONG,   QN_ARG_LONG,   QN_ARG_LONG};

static qn_status check(const qn_device *device, const struct qn_launch *launch,
                       qn_error *error)
{
    const struct qn_arg *args = launch->args;
    if (strcmp(launch->kernel, "clblast_gemm") != 0)
        return qn_fail(error, QN_UNSUPPORTED, "no external routine %s",
                       launch->kernel);
    bool fits = launch->arg_count == ARG_COUNT;
    for (int i = 0; fits && i < ARG_COUNT; i++)
        fits = args[i].kind == kinds[i];
    for (int i = 3; fits && i < ARG_COUNT; i++)
        fits = args[i].integer >= (i < 6 || i == 8 ? 1 : 0);
    if (!fits || (args[8].integer > 1 && args[11].integer == 0))
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "clblast_gemm: arguments are a, b, c, m, n, k, trans_a, "
                       "trans_b, batch and three strides");
    if (launch->real == QN_FLOAT64 && !device->info.has_float64)
        return qn_fail(error, QN_UNSUPPORTED, "%s has no double precision",
                       device->info.name);
    return QN_OK;
}

qn_status qn_external_create(qn_device *device,
                             const struct qn_launch *launch,
                             cl_mem const buffers[3],
                             struct qn_external **out, qn_error *error)
{
    *out = NULL;
    QN_TRY(check(device, launch, error));
    struct qn_external *external = malloc(sizeof *external);
    if (!external)
        return qn_fail_memory(error, sizeof *external);
    const struct qn_arg *args = launch->args;
    *external = (struct qn_external){
        .device = device,
        .is_double = launch->real == QN_FLOAT64,
        .a = buffers[0],
        .b = buffers[1],
        .c = buffers[2],
        .m = (size_t)args[3].integer,
        .n = (size_t)args[4].integer,
        .k = (size_t)args[5].integer,
        .trans_a = args[6].integer != 0,
        .trans_b = args[7].integer != 0,
        .batch = (size_t)args[8].integer,
        .stride_a = (size_t)args[9].integer,
        .stride_b = (size_t)args[10].integer,
        .stride_c = (size_t)args[11].integer,
    };
    device->uses_external = true;
    *out = external;
    return QN_OK;
}

void qn_external_destroy(struct qn_external **external)
{
    free(*external);
    *external = NULL;
}

static CLBlastTranspose transpose(bool is_transposed)
{
    return is_transposed ? CLBlastTransposeYes : CLBlastTransposeNo;
}

// One product, at offsets in elements.
static CLBlastStatusCode run_one(struct qn_external *e, size_t at_a,
                                 size_t at_b, size_t at_c)
{
    size_t ld_a = e->trans_a ? e->m : e->k, ld_b = e->trans_b ? e->k : e->n;
    cl_command_queue queue = e->device->queue;
    if (e->is_double)
        return CLBlastDgemm(CLBlastLayoutColMajor, transpose(e->trans_b),
                            transpose(e->trans_a), e->n, e->m, e->k, 1.0, e->b,
                            at_b, ld_b, e->a, at_a, ld_a, 0.0, e->c, at_c,
                            e->n, &queue, NULL);
    return CLBlastSgemm(CLBlastLayoutColMajor, transpose(e->trans_b),
                        transpose(e->trans_a), e->n, e->m, e->k, 1.0f, e->b,
                        at_b, ld_b, e->a, at_a, ld_a, 0.0f, e->c, at_c, e->n,
                        &queue, NULL);
}

static CLBlastStatusCode run_strided(struct qn_external *e)
{
    size_t ld_a = e->trans_a ? e->m : e->k, ld_b = e->trans_b ? e->k : e->n;
    cl_command_queue queue = e->device->queue;
    if (e->is_double)
        return CLBlastDgemmStridedBatched(
            CLBlastLayoutColMajor, transpose(e->trans_b),
            transpose(e->trans_a), e->n, e->m, e->k, 1.0, e->b, 0, ld_b,
            e->stride_b, e->a, 0, ld_a, e->stride_a, 0.0, e->c, 0, e->n,
            e->stride_c, e->batch, &queue, NULL);
    return CLBlastSgemmStridedBatched(
        CLBlastLayoutColMajor, transpose(e->trans_b), transpose(e->trans_a),
        e->n, e->m, e->k, 1.0f, e->b, 0, ld_b, e->stride_b, e->a, 0, ld_a,
        e->stride_a, 0.0f, e->c, 0, e->n, e->stride_c, e->batch, &queue, NULL);
}

qn_status qn_external_run(struct qn_external *external, qn_error *error)
{
    CLBlastStatusCode code = CLBlastSuccess;
    struct qn_external *e = external;
    if (e->batch > 1 && e->stride_a && e->stride_b)
        code = run_strided(e);
    else
        for (size_t i = 0; i < e->batch && code == CLBlastSuccess; i++)
            code = run_one(e, i * e->stride_a, i * e->stride_b,
                           i * e->stride_c);
    if (code != CLBlastSuccess)
        return qn_device_lose(e->device, (cl_int)code, "CLBlast",
                              "clblast_gemm", error);
    return QN_OK;
}

void qn_external_forget(qn_device *device)
{
    if (device->uses_external)
        CLBlastClearCache();
}

#else

qn_status qn_external_create(qn_device *device,
                             const struct qn_launch *launch,
                             cl_mem const buffers[3],
                             struct qn_external **out, qn_error *error)
{
    (void)device, (void)buffers;
    *out = NULL;
    return qn_fail(error, QN_UNSUPPORTED, "%s: this build has no CLBlast",
                   launch->kernel);
}

void qn_external_destroy(struct qn_external **external)
{
    *external = NULL;
}

qn_status qn_external_run(struct qn_external *external, qn_error *error)
{
    (void)external;
    return qn_fail(error, QN_UNSUPPORTED, "this build has no CLBlast");
}

void qn_external_forget(qn_device *device)
{
    (void)device;
}

#endif
