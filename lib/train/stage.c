// The training step as a graph and its plan.
//
// The whole data set lies on the device; a step takes its batch there, so it
// uploads nothing but a few scalars by value. Loss and right answers are
// added up on the device and read back now and then (meter.c).
#include "train/train.h"

#include <float.h>

#include "quern/op.h"

qn_node *qn_scale_pixels(qn_graph *g, qn_node *pixels,
                         const qn_dataset *dataset)
{
    qn_node *x = qn_cast(g, pixels, QN_FLOAT32);
    if (dataset->offset != 0)
        x = qn_add_scalar(g, x, -dataset->offset);
    return dataset->scale == 1 ? x : qn_scale(g, x, dataset->scale);
}

qn_node *qn_build_logits(qn_graph *g, qn_node *x, const qn_model *model,
                         const qn_dataset *dataset,
                         const struct qn_model_build_params *params,
                         qn_error *error)
{
    qn_node *logits = qn_model_build(model, g, x, params);
    char shape[64];
    if (qn_graph_check(g, error) != QN_OK || !logits)
        return NULL;
    const qn_shape *is = qn_node_shape(logits);
    if (is->rank == 2 && is->dims[1] == dataset->classes)
        return logits;
    qn_fail(error, QN_BAD_SHAPE,
            "the model gives %s for a batch, but %s has %d classes: its last "
            "layer must be dense with %d units",
            qn_shape_text(is, shape, sizeof shape), dataset->name,
            dataset->classes, dataset->classes);
    return NULL;
}

qn_shape qn_batch_shape(int64_t count, const qn_shape *sample)
{
    qn_shape shape = {.rank = sample->rank + 1, .dims = {count}};
    for (int i = 0; i < sample->rank; i++)
        shape.dims[i + 1] = sample->dims[i];
    return shape;
}

qn_node *qn_build_one(qn_graph *g, const qn_model *model,
                      const qn_dataset *dataset, qn_error *error)
{
    qn_node *x = qn_input(g, "x", QN_FLOAT32,
                          qn_batch_shape(1, &dataset->shape));
    struct qn_model_build_params params = {.training = false};
    return qn_build_logits(g, x, model, dataset, &params, error);
}

// ---- the batch ----

static void take_batch(struct qn_train_stage *stage,
                       const qn_dataset *dataset, int64_t batch, qn_node **x,
                       qn_node **labels)
{
    qn_graph *g = stage->graph;
    int64_t count = dataset->train_count;
    qn_node *images = qn_variable(g, QN_GROUP_IMAGES, "images", QN_UINT8,
                                  qn_batch_shape(count, &dataset->shape));
    qn_node *all_labels = qn_variable(g, QN_GROUP_LABELS, "labels", QN_INT32,
                                      qn_shape_of(count));
    qn_node *order = qn_variable(g, QN_GROUP_ORDER, "order", QN_INT32,
                                 qn_shape_of(count));
    stage->first = qn_scalar(g, "first");
    *x = qn_scale_pixels(g, qn_take(g, images, order, stage->first, batch),
                         dataset);
    *labels = qn_take(g, all_labels, order, stage->first, batch);
}

// ---- metrics ----

static qn_node *declare_metric(qn_graph *g, const char *name)
{
    return qn_variable(g, QN_GROUP_METRICS, name, QN_FLOAT32, qn_shape_of(1));
}

// The sum so far, or 0 in the first step of an epoch, plus x.
static void add_up(struct qn_train_stage *stage, qn_node *sum, qn_node *x)
{
    qn_graph *g = stage->graph;
    qn_node *zero = qn_constant(g, 0);
    qn_assign(g, sum,
              qn_add(g, qn_select(g, stage->fresh, zero, sum), x));
}

static void add_metrics(struct qn_train_stage *stage, qn_node *loss,
                        qn_node *logits, qn_node *labels, int64_t batch)
{
    qn_graph *g = stage->graph;
    qn_node *loss_sum = declare_metric(g, QN_METRIC_LOSS);
    qn_node *correct = declare_metric(g, QN_METRIC_CORRECT);
    qn_node *bad_step = declare_metric(g, QN_METRIC_BAD);
    stage->fresh = qn_scalar(g, "fresh");
    add_up(stage, loss_sum, qn_scale(g, loss, (double)batch));
    qn_node *right = qn_equal(g, qn_argmax(g, logits, 1), labels);
    add_up(stage, correct, qn_sum(g, right, NULL));
    // False for infinities and NaN.
    qn_node *is_finite = qn_less_equal(g, qn_abs(g, loss),
                                       qn_constant(g, FLT_MAX));
    qn_node *zero = qn_constant(g, 0);
    qn_node *now = qn_select(g, is_finite, zero, stage->step);
    qn_assign(g, bad_step, qn_select(g, bad_step, bad_step, now));
}

// ---- the whole step ----

// Penalties that tie layers are nodes; all others the update applies, and the
// loss that is reported gets their sum.
static qn_node *add_update(struct qn_train_stage *stage,
                           const struct qn_settings *settings, qn_node *loss)
{
    qn_graph *g = stage->graph;
    struct qn_optimizer_params optimizer = settings->optimizer;
    optimizer.penalties =
        qn_model_penalties(settings->model, g, &settings->penalty);
    qn_node *ties = qn_model_ties(settings->model, g);
    if (ties)
        loss = qn_add(g, loss, ties);
    qn_optimizer_build(g, loss, &optimizer, &stage->update);
    return optimizer.penalties
               ? qn_add(g, loss, qn_penalty_sum(g, optimizer.penalties))
               : loss;
}

static qn_status build_graph(struct qn_train_stage *stage,
                             const struct qn_settings *settings,
                             int64_t batch, qn_error *error)
{
    qn_graph *g = stage->graph;
    qn_node *x, *labels;
    take_batch(stage, settings->dataset, batch, &x, &labels);
    stage->step = qn_scalar(g, "step");
    stage->seed = qn_scalar(g, "seed");
    struct qn_model_build_params params = {
        .training = true, .seed = stage->seed, .step = stage->step};
    qn_node *logits = qn_build_logits(g, x, settings->model,
                                      settings->dataset, &params, error);
    if (!logits)
        return qn_graph_check(g, error) != QN_OK ? qn_graph_check(g, NULL)
                                                 : QN_BAD_SHAPE;
    qn_node *loss = qn_loss_build(g, &settings->loss, logits, labels);
    loss = add_update(stage, settings, loss);
    add_metrics(stage, loss, logits, labels, batch);
    if (settings->log_every) {
        const qn_shape one = qn_shape_of(1);
        qn_assign(g, qn_variable(g, QN_GROUP_LOSS, QN_METRIC_NOW, QN_FLOAT32,
                                 one), qn_reshape(g, loss, one));
    }
    return qn_graph_check(g, error);
}

qn_status qn_train_stage_create(qn_device *device, qn_store *store,
                                const struct qn_settings *settings,
                                int64_t batch, struct qn_train_stage *stage,
                                qn_error *error)
{
    *stage = (struct qn_train_stage){.graph = qn_graph_create(QN_FLOAT32)};
    if (!stage->graph)
        return qn_fail_memory(error, sizeof *stage);
    qn_status status = build_graph(stage, settings, batch, error);
    if (status == QN_OK)
        status = qn_store_add(store, stage->graph, error);
    if (status == QN_OK) {
        struct qn_plan_params params = {.graph = stage->graph,
                                        .store = store};
        stage->plan = qn_plan_create(device, &params, error);
        if (!stage->plan)
            status = error && error->status ? error->status : QN_DEVICE;
    }
    if (status == QN_OK)
        status = qn_plan_set(stage->plan, stage->seed,
                             (double)settings->seed);
    if (status != QN_OK)
        qn_train_stage_finish(stage);
    return status;
}

void qn_train_stage_finish(struct qn_train_stage *stage)
{
    qn_plan_destroy(&stage->plan);
    qn_graph_destroy(&stage->graph);
    *stage = (struct qn_train_stage){0};
}
