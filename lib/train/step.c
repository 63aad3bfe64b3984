// The plans of a training step, one for each size of batch, and what they are
// told before each run. Knows nothing of epochs, files or readings.
#include <stdlib.h>

#include "train/train.h"

// Sizes that a run can need: of a whole step's or an epoch's last batch, or of
// the parts of both.
enum { MAX_STAGES = 3 };

struct qn_stepper {
    int64_t part; // samples that one plan takes at most
    struct qn_train_stage stages[MAX_STAGES];
    int stage_count;
    bool has_parts;
    struct qn_train_stage apply; // after parts
};

// ---- making ----

// Index of the stage for so many samples, or -1.
static int find_stage(const struct qn_stepper *stepper, int64_t batch)
{
    for (int i = 0; i < stepper->stage_count; i++)
        if (stepper->stages[i].batch == batch)
            return i;
    return -1;
}

static qn_status add_stage(struct qn_stepper *stepper,
                           const struct qn_settings *settings, int64_t batch,
                           qn_error *error)
{
    if (batch == 0 || find_stage(stepper, batch) >= 0)
        return QN_OK;
    QN_TRY(qn_train_stage_create(
        settings, stepper->has_parts ? QN_STAGE_PART : QN_STAGE_WHOLE, batch,
        NULL, &stepper->stages[stepper->stage_count], error));
    stepper->stage_count++;
    return QN_OK;
}

static qn_status create_stages(struct qn_stepper *stepper,
                               const struct qn_settings *settings,
                               qn_error *error)
{
    int64_t batch = settings->batch_size;
    int64_t rest = settings->dataset->train_count % batch;
    stepper->has_parts = settings->micro_batch > 0;
    stepper->part = stepper->has_parts ? settings->micro_batch : batch;
    QN_TRY(add_stage(stepper, settings, stepper->part, error));
    QN_TRY(add_stage(stepper, settings, batch % stepper->part, error));
    QN_TRY(add_stage(stepper, settings, rest % stepper->part, error));
    if (!stepper->has_parts)
        return QN_OK;
    return qn_train_stage_create(settings, QN_STAGE_APPLY, 0,
                                 &stepper->stages[0], &stepper->apply, error);
}

qn_status qn_stepper_create(const struct qn_settings *settings,
                            struct qn_stepper **out, qn_error *error)
{
    struct qn_stepper *stepper = calloc(1, sizeof *stepper);
    *out = NULL;
    if (!stepper)
        return qn_fail_memory(error, sizeof *stepper);
    qn_status status = create_stages(stepper, settings, error);
    if (status != QN_OK)
        qn_stepper_destroy(&stepper);
    *out = stepper;
    return status;
}

qn_status qn_stepper_bind(struct qn_stepper *stepper, qn_device *device,
                          qn_store *store, uint64_t seed, qn_error *error)
{
    for (int i = 0; i < stepper->stage_count; i++)
        QN_TRY(qn_train_stage_bind(&stepper->stages[i], device, store, seed,
                                   error));
    return stepper->has_parts ? qn_train_stage_bind(&stepper->apply, device,
                                                    store, seed, error)
                              : QN_OK;
}

qn_status qn_stepper_measure(const struct qn_stepper *stepper,
                             qn_device *device, qn_store *sketch,
                             struct qn_footprint *footprint, qn_error *error)
{
    struct qn_plan_params params = {0};
    for (int i = 0; i < stepper->stage_count; i++) {
        params.graph = stepper->stages[i].graph;
        QN_TRY(qn_footprint_add(footprint, device, sketch, &params, error));
    }
    params.graph = stepper->apply.graph;
    return stepper->has_parts ? qn_footprint_add(footprint, device, sketch,
                                                 &params, error)
                              : QN_OK;
}

void qn_stepper_destroy(struct qn_stepper **stepper)
{
    if (!stepper || !*stepper)
        return;
    qn_train_stage_finish(&(*stepper)->apply);
    for (int i = 0; i < (*stepper)->stage_count; i++)
        qn_train_stage_finish(&(*stepper)->stages[i]);
    free(*stepper);
    *stepper = NULL;
}

const struct qn_optimizer_update *
qn_stepper_update(const struct qn_stepper *stepper)
{
    return stepper->has_parts ? &stepper->apply.update
                              : &stepper->stages[0].update;
}

// ---- running ----

static bool has_run(const struct qn_stepper *stepper, int64_t batch)
{
    return stepper->stages[find_stage(stepper, batch)].has_run;
}

bool qn_stepper_has_run(const struct qn_stepper *stepper, int64_t count)
{
    int64_t rest = count % stepper->part;
    return (count < stepper->part || has_run(stepper, stepper->part)) &&
           (rest == 0 || has_run(stepper, rest)) &&
           (!stepper->has_parts || stepper->apply.has_run);
}

// Sets a scalar where this kind of stage has it.
static qn_status set(const struct qn_train_stage *stage, const qn_node *scalar,
                     double value)
{
    return scalar ? qn_plan_set(stage->plan, scalar, value) : QN_OK;
}

static qn_status enqueue(struct qn_train_stage *stage,
                         const struct qn_step *step, int64_t offset)
{
    QN_TRY(set(stage, stage->first, (double)(step->sample + offset)));
    QN_TRY(set(stage, stage->offset, (double)offset));
    QN_TRY(set(stage, stage->begins, offset == 0));
    QN_TRY(set(stage, stage->samples, (double)step->count));
    QN_TRY(set(stage, stage->fresh, step->sample == 0));
    QN_TRY(set(stage, stage->step, (double)step->at->step));
    if (stage->update.optimizer)
        QN_TRY(qn_optimizer_set(&stage->update, stage->plan, step->at));
    QN_TRY(qn_plan_run(stage->plan));
    stage->has_run = true;
    return QN_OK;
}

static qn_status run_stage(struct qn_train_stage *stage,
                           const struct qn_step *step, int64_t offset,
                           qn_error *error)
{
    qn_status status = enqueue(stage, step, offset);
    return status == QN_OK ? QN_OK
                           : qn_fail(error, status, "%s",
                                     qn_plan_error(stage->plan)->text);
}

qn_status qn_stepper_run(struct qn_stepper *stepper,
                         const struct qn_step *step, qn_error *error)
{
    int64_t size;
    for (int64_t at = 0; at < step->count; at += size) {
        size = step->count - at;
        size = size < stepper->part ? size : stepper->part;
        QN_TRY(run_stage(&stepper->stages[find_stage(stepper, size)], step,
                         at, error));
    }
    return stepper->has_parts ? run_stage(&stepper->apply, step, 0, error)
                              : QN_OK;
}
