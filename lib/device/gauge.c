// Small kernels that show what the device itself can do: cl/gauge.cl bound to
// memory of its own. Who runs them takes the time.
#include "device/gauge.h"

#include <limits.h>
#include <stdlib.h>

#include "device/state.h"

enum {
    LANES = 16,          // elements are counted in multiples of these
    ITEMS_PER_UNIT = 4,  // CPU: spans of memory for each core
    GROUP = 256,         // GPU
    GPU_SPAN = 4,        // elements of an item
    GROUPS_PER_UNIT = 16, // GPU: groups that run chains, for each unit
};

struct grid {
    int64_t items, group, lanes;
};

static struct grid items_of(const qn_device *device, int64_t items)
{
    if (device->limits.variant == QN_VARIANT_CPU)
        return (struct grid){items, 1, LANES};
    int64_t group = GROUP;
    while (group > device->limits.max_group_size)
        group /= 2;
    return (struct grid){(items + group - 1) / group * group, group, 1};
}

static void add_grid(struct qn_launch *launch, const struct grid *grid)
{
    qn_launch_grid(launch, (size_t)(grid->items / grid->group), 1, 1,
                   (size_t)grid->group, 1);
}

// ---- memory ----

static qn_status describe_memory(struct qn_gauge *gauge, qn_device *device,
                                 bool is_copy, int64_t size,
                                 struct qn_work *work, qn_error *error)
{
    const int64_t arrays = is_copy ? 2 : 1;
    const int64_t each = size / arrays / (LANES * 4) * LANES;
    const int64_t count = each > LANES ? each : LANES;
    const bool is_cpu = device->limits.variant == QN_VARIANT_CPU;
    const int64_t units = (int64_t)device->limits.compute_units;
    const int64_t parts = is_cpu ? units * ITEMS_PER_UNIT * LANES : 1;
    const int64_t span =
        is_cpu ? (count + parts - 1) / parts * LANES : GPU_SPAN;
    const struct grid grid = items_of(device, (count + span - 1) / span);
    const size_t bytes = (size_t)count * sizeof(float);
    QN_TRY(qn_buffer_create(device, bytes, "the gauge's memory", &gauge->x,
                            error));
    if (is_copy)
        QN_TRY(qn_buffer_create(device, bytes, "the gauge's memory",
                                &gauge->y, error));
    struct qn_launch *launch =
        qn_work_add(work, "gauge", is_copy ? "gauge_copy" : "gauge_in_place",
                    QN_FLOAT32);
    qn_launch_buffer(launch, QN_OPERAND_IN);
    if (is_copy)
        qn_launch_buffer(launch, QN_OPERAND_OUT);
    qn_launch_long(launch, count);
    qn_launch_long(launch, span);
    add_grid(launch, &grid);
    launch->bytes = gauge->work = 2 * (double)bytes;
    return QN_OK;
}

// ---- arithmetic ----

static qn_status describe_fma(struct qn_gauge *gauge, qn_device *device,
                              int64_t flops, struct qn_work *work,
                              qn_error *error)
{
    const bool is_cpu = device->limits.variant == QN_VARIANT_CPU;
    const int64_t units = (int64_t)device->limits.compute_units;
    const struct grid grid = items_of(
        device, units * (is_cpu ? ITEMS_PER_UNIT : GROUPS_PER_UNIT * GROUP));
    const int64_t each = grid.items * grid.lanes * QN_GAUGE_CHAINS * 2;
    const int64_t rounds = flops / each;
    gauge->rounds = rounds < 1 ? 1 : rounds > INT_MAX ? INT_MAX : rounds;
    QN_TRY(qn_buffer_create(
        device, (size_t)(grid.items * grid.lanes) * sizeof(float),
        "the gauge's result", &gauge->y, error));
    struct qn_launch *launch =
        qn_work_add(work, "gauge", "gauge_fma", QN_FLOAT32);
    qn_launch_define(launch, "CHAINS", QN_GAUGE_CHAINS);
    qn_launch_buffer(launch, QN_OPERAND_OUT);
    qn_launch_real(launch, QN_GAUGE_SCALE);
    qn_launch_real(launch, QN_GAUGE_OFFSET);
    qn_launch_int(launch, gauge->rounds);
    add_grid(launch, &grid);
    launch->flops = gauge->work = (double)each * (double)gauge->rounds;
    return QN_OK;
}

// ---- the gauge ----

static qn_status make(struct qn_gauge *gauge, qn_device *device,
                      qn_gauge_kind kind, int64_t size, struct qn_work *work,
                      qn_error *error)
{
    if (kind == QN_GAUGE_FMA)
        QN_TRY(describe_fma(gauge, device, size, work, error));
    else
        QN_TRY(describe_memory(gauge, device, kind == QN_GAUGE_COPY, size,
                               work, error));
    if (work->failed)
        return qn_fail_memory(error, sizeof **work->launches);
    const struct qn_binding bindings[] = {{QN_OPERAND_IN, gauge->x, -1},
                                          {QN_OPERAND_OUT, gauge->y, -1}};
    return qn_command_create(device, work->launches[0], bindings, 2, 0,
                             &gauge->command, error);
}

qn_gauge *qn_gauge_create(qn_device *device, qn_gauge_kind kind, int64_t size,
                          qn_error *error)
{
    struct qn_work work = {0};
    if (size < 1) {
        qn_fail(error, QN_BAD_ARGUMENT, "a gauge of size %lld: at least 1",
                (long long)size);
        return NULL;
    }
    qn_gauge *gauge = calloc(1, sizeof *gauge);
    if (!gauge)
        qn_fail_memory(error, sizeof *gauge);
    else if (make(gauge, device, kind, size, &work, error) != QN_OK)
        qn_gauge_destroy(&gauge);
    qn_work_finish(&work);
    return gauge;
}

void qn_gauge_destroy(qn_gauge **gauge)
{
    if (!*gauge)
        return;
    qn_command_destroy(&(*gauge)->command);
    qn_buffer_destroy(&(*gauge)->y);
    qn_buffer_destroy(&(*gauge)->x);
    free(*gauge);
    *gauge = NULL;
}

double qn_gauge_work(const qn_gauge *gauge)
{
    return gauge->work;
}

qn_status qn_gauge_run(qn_gauge *gauge, qn_error *error)
{
    return qn_command_run(gauge->command, NULL, error);
}
