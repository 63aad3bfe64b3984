// The plans of a training step, one for each size of batch, and what they are
// told before each run. Knows nothing of epochs, files or readings.
#include <stdlib.h>

#include "train/train.h"

struct qn_stepper {
    int64_t batch_size;
    struct qn_train_stage full, rest; // the rest: of an epoch's last batch
};

static qn_status create_stages(struct qn_stepper *stepper, qn_device *device,
                               qn_store *store,
                               const struct qn_settings *settings,
                               qn_error *error)
{
    int64_t rest = settings->dataset->train_count % settings->batch_size;
    stepper->batch_size = settings->batch_size;
    QN_TRY(qn_train_stage_create(device, store, settings,
                                 settings->batch_size, &stepper->full, error));
    if (rest)
        QN_TRY(qn_train_stage_create(device, store, settings, rest,
                                     &stepper->rest, error));
    return QN_OK;
}

qn_status qn_stepper_create(qn_device *device, qn_store *store,
                            const struct qn_settings *settings,
                            struct qn_stepper **out, qn_error *error)
{
    struct qn_stepper *stepper = calloc(1, sizeof *stepper);
    *out = NULL;
    if (!stepper)
        return qn_fail_memory(error, sizeof *stepper);
    qn_status status =
        create_stages(stepper, device, store, settings, error);
    if (status != QN_OK)
        qn_stepper_destroy(&stepper);
    *out = stepper;
    return status;
}

void qn_stepper_destroy(struct qn_stepper **stepper)
{
    if (!stepper || !*stepper)
        return;
    qn_train_stage_finish(&(*stepper)->rest);
    qn_train_stage_finish(&(*stepper)->full);
    free(*stepper);
    *stepper = NULL;
}

static const struct qn_train_stage *stage_for(
    const struct qn_stepper *stepper, int64_t count)
{
    return count < stepper->batch_size ? &stepper->rest : &stepper->full;
}

bool qn_stepper_has_run(const struct qn_stepper *stepper, int64_t count)
{
    return stage_for(stepper, count)->has_run;
}

static qn_status set_scalars(const struct qn_train_stage *stage,
                             const struct qn_step *step)
{
    qn_plan *plan = stage->plan;
    QN_TRY(qn_plan_set(plan, stage->first, (double)step->sample));
    QN_TRY(qn_plan_set(plan, stage->fresh, step->sample == 0));
    QN_TRY(qn_plan_set(plan, stage->step, (double)step->at->step));
    return qn_optimizer_set(&stage->update, plan, step->at);
}

qn_status qn_stepper_run(struct qn_stepper *stepper,
                         const struct qn_step *step, qn_error *error)
{
    struct qn_train_stage *stage =
        step->count < stepper->batch_size ? &stepper->rest : &stepper->full;
    qn_status status = set_scalars(stage, step);
    if (status == QN_OK)
        status = qn_plan_run(stage->plan);
    if (status != QN_OK)
        return qn_fail(error, status, "%s", qn_plan_error(stage->plan)->text);
    stage->has_run = true;
    return QN_OK;
}
