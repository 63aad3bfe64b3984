// The statistics of normalisations for the averaged parameters: forward passes
// over the training data as in training, their means taken over all batches, as
// torch.optim.swa_utils.update_bn does. Into buffers of their own.
#include <stdlib.h>

#include "quern/op.h"
#include "train/train.h"

struct qn_statistics {
    int64_t batch, batches; // the last, smaller batch is left out
    qn_graph *graph;
    qn_plan *plan; // NULL until the first run
    qn_node *first, *step, *seed, *rate;
};

static qn_status build(struct qn_statistics *s,
                       const struct qn_settings *settings, qn_error *error)
{
    qn_graph *g = s->graph;
    const qn_dataset *data = settings->dataset;
    const int64_t count = data->train_count;
    qn_graph_alias(g, QN_GROUP_AVERAGE, QN_GROUP_AVERAGE_BUFFERS);
    qn_node *images = qn_variable(g, QN_GROUP_IMAGES, "images", QN_UINT8,
                                  qn_batch_shape(count, &data->shape));
    qn_node *order = qn_variable(g, QN_GROUP_ORDER, "order", QN_INT32,
                                 qn_shape_of(count));
    s->first = qn_scalar(g, "first");
    s->step = qn_scalar(g, "step");
    s->seed = qn_scalar(g, "seed");
    s->rate = qn_scalar(g, "rate");
    qn_node *x = qn_scale_pixels(
        g, qn_take(g, images, order, s->first, s->batch), data);
    const struct qn_model_build_params params = {.training = true,
                                                 .seed = s->seed,
                                                 .step = s->step,
                                                 .statistics_rate = s->rate};
    if (qn_build_logits(g, x, settings->model, data, &params, error))
        return QN_OK;
    return error && error->status ? error->status : QN_BAD_SHAPE;
}

qn_status qn_statistics_create(qn_store *store,
                               const struct qn_settings *settings,
                               struct qn_statistics **out, qn_error *error)
{
    struct qn_statistics *s = calloc(1, sizeof *s);
    *out = NULL;
    if (!s || !(s->graph = qn_graph_create(QN_FLOAT32))) {
        free(s);
        return qn_fail_memory(error, sizeof *s);
    }
    s->batch = settings->micro_batch ? settings->micro_batch
                                     : settings->batch_size;
    s->batches = settings->dataset->train_count / s->batch;
    qn_status status = build(s, settings, error);
    if (status == QN_OK)
        status = qn_store_add(store, s->graph, error);
    const bool has_some =
        qn_group_members(s->graph, QN_GROUP_AVERAGE_BUFFERS, NULL, 0) > 0;
    if (status == QN_OK && has_some)
        *out = s;
    else
        qn_statistics_destroy(&s);
    return status;
}

void qn_statistics_destroy(struct qn_statistics **statistics)
{
    if (!statistics || !*statistics)
        return;
    qn_plan_destroy(&(*statistics)->plan);
    qn_graph_destroy(&(*statistics)->graph);
    free(*statistics);
    *statistics = NULL;
}

// Batch k of those from 0 takes 1 / (k + 1) of the mean.
static qn_status run_batch(struct qn_statistics *s, int64_t k)
{
    QN_TRY(qn_plan_set(s->plan, s->first, (double)(k * s->batch)));
    QN_TRY(qn_plan_set(s->plan, s->step, (double)(k + 1)));
    QN_TRY(qn_plan_set(s->plan, s->rate, 1 / (double)(k + 1)));
    return qn_plan_run(s->plan);
}

qn_status qn_statistics_measure(const struct qn_statistics *s,
                                qn_device *device, qn_store *sketch,
                                struct qn_footprint *footprint,
                                qn_error *error)
{
    const struct qn_plan_params params = {.graph = s->graph, .store = sketch};
    return qn_footprint_add(footprint, device, sketch, &params, error);
}

qn_status qn_statistics_run(struct qn_statistics *s, qn_device *device,
                            qn_store *store, uint64_t seed, qn_error *error)
{
    const struct qn_plan_params params = {.graph = s->graph, .store = store};
    if (!s->plan)
        s->plan = qn_plan_create(device, &params, error);
    if (!s->plan)
        return error && error->status ? error->status : QN_DEVICE;
    qn_status status = qn_plan_set(s->plan, s->seed, (double)seed);
    for (int64_t k = 0; k < s->batches && status == QN_OK; k++)
        status = run_batch(s, k);
    if (status != QN_OK)
        qn_fail(error, status, "%s", qn_plan_error(s->plan)->text);
    return status;
}
