// The training step as a graph and its plan; in parts, with accumulate.c.
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

void qn_stage_take(struct qn_train_stage *stage, const qn_dataset *dataset,
                   qn_node **x, qn_node **labels)
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
    *x = qn_scale_pixels(
        g, qn_take(g, images, order, stage->first, stage->batch), dataset);
    *labels = qn_take(g, all_labels, order, stage->first, stage->batch);
}

qn_node *qn_stage_predict(struct qn_train_stage *stage,
                          const struct qn_settings *settings,
                          qn_node **labels, qn_error *error)
{
    qn_node *x;
    qn_stage_take(stage, settings->dataset, &x, labels);
    stage->seed = qn_scalar(stage->graph, "seed");
    struct qn_model_build_params params = {.training = true,
                                           .seed = stage->seed,
                                           .step = stage->step,
                                           .first = stage->offset};
    return qn_build_logits(stage->graph, x, settings->model,
                           settings->dataset, &params, error);
}

qn_node *qn_stage_count_right(qn_graph *g, qn_node *logits, qn_node *labels)
{
    qn_node *right = qn_equal(g, qn_argmax(g, logits, 1), labels);
    return qn_sum(g, right, NULL);
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

// 1 where x is finite, else 0.
static qn_node *is_finite(qn_graph *g, qn_node *x)
{
    return qn_less_equal(g, qn_abs(g, x), qn_constant(g, FLT_MAX));
}

// The first step whose loss is not finite.
static void add_bad_step(struct qn_train_stage *stage, qn_node *bad_step,
                         qn_node *loss)
{
    qn_graph *g = stage->graph;
    qn_node *now = qn_select(g, is_finite(g, loss), qn_constant(g, 0),
                             stage->step);
    qn_assign(g, bad_step, qn_select(g, bad_step, bad_step, now));
}

// What is known of skipped steps. The variables are there in any case, so that
// a run may begin or cease to skip when it goes on.
struct skips {
    qn_node *count, *row, *first, *last, *samples;
};

static struct skips declare_skips(qn_graph *g)
{
    return (struct skips){
        .count = declare_metric(g, QN_METRIC_SKIPPED),
        .row = declare_metric(g, QN_METRIC_ROW),
        .first = qn_variable(g, QN_GROUP_METRICS, QN_METRIC_FIRST, QN_FLOAT32,
                             qn_shape_of(QN_FIRST_SKIPPED)),
        .last = declare_metric(g, QN_METRIC_LAST),
        .samples = declare_metric(g, QN_METRIC_SAMPLES),
    };
}

static void count_skips(struct qn_train_stage *stage, const struct skips *skips,
                        qn_node *counts, qn_node *samples)
{
    qn_graph *g = stage->graph;
    float places[QN_FIRST_SKIPPED];
    for (int i = 0; i < QN_FIRST_SKIPPED; i++)
        places[i] = (float)i;
    qn_node *zero = qn_constant(g, 0), *one = qn_constant(g, 1);
    qn_node *place = qn_constant_data(g, QN_FLOAT32,
                                      qn_shape_of(QN_FIRST_SKIPPED), places);
    // No place for a step that counts.
    qn_node *now = qn_select(g, counts, qn_constant(g, -1), skips->count);
    add_up(stage, skips->samples, qn_select(g, counts, zero, samples));
    qn_assign(g, skips->count,
              qn_add(g, skips->count, qn_select(g, counts, zero, one)));
    qn_assign(g, skips->row,
              qn_select(g, counts, zero, qn_add(g, skips->row, one)));
    qn_assign(g, skips->first,
              qn_select(g, qn_equal(g, place, now), stage->step,
                        skips->first));
    qn_assign(g, skips->last,
              qn_select(g, counts, skips->last, stage->step));
}

static void add_metrics(struct qn_train_stage *stage, qn_node *loss,
                        qn_node *right, qn_node *samples, bool skips_bad)
{
    qn_graph *g = stage->graph;
    qn_node *loss_sum = declare_metric(g, QN_METRIC_LOSS);
    qn_node *correct = declare_metric(g, QN_METRIC_CORRECT);
    qn_node *bad_step = declare_metric(g, QN_METRIC_BAD);
    const struct skips skips = declare_skips(g);
    stage->fresh = qn_scalar(g, "fresh");
    qn_node *sum = qn_mul(g, loss, samples);
    if (skips_bad) {
        qn_node *zero = qn_constant(g, 0);
        qn_node *counts = is_finite(g, stage->update.gate);
        add_up(stage, loss_sum, qn_select(g, counts, sum, zero));
        add_up(stage, correct, qn_select(g, counts, right, zero));
        count_skips(stage, &skips, counts, samples);
    } else {
        add_up(stage, loss_sum, sum);
        add_up(stage, correct, right);
        add_bad_step(stage, bad_step, loss);
    }
}

// ---- the update ----

struct qn_optimizer_params
qn_stage_optimizer(const struct qn_train_stage *stage,
                   const struct qn_settings *settings)
{
    struct qn_optimizer_params optimizer = settings->optimizer;
    optimizer.penalties =
        qn_model_penalties(settings->model, stage->graph, &settings->penalty);
    optimizer.options =
        qn_model_options(settings->model, stage->graph, &settings->options);
    return optimizer;
}

// What is not finite stops the parameters, in this step or for good; the host
// reads of it late. After too many steps in a row it is for good as well.
static void gate_update(struct qn_train_stage *stage,
                        const struct qn_settings *settings, qn_node *loss,
                        struct qn_optimizer_params *optimizer)
{
    qn_graph *g = stage->graph;
    optimizer->gate = loss;
    optimizer->is_watched = !settings->skips_nan;
    optimizer->needs_finite_gradient = settings->skips_nan;
    if (!settings->skips_nan)
        return;
    qn_node *row = qn_reshape(g, declare_metric(g, QN_METRIC_ROW),
                              (qn_shape){0});
    qn_node *is_patient =
        qn_less(g, row, qn_constant(g, QN_MOST_SKIPPED));
    optimizer->gate =
        qn_add(g, loss, qn_div(g, qn_constant(g, 1), is_patient));
}

void qn_stage_update(struct qn_train_stage *stage,
                     const struct qn_settings *settings,
                     const struct qn_optimizer_params *optimizer,
                     const struct qn_stage_outcome *outcome)
{
    qn_graph *g = stage->graph;
    const qn_shape one = qn_shape_of(1);
    qn_node *loss = outcome->loss;
    struct qn_optimizer_params gated = *optimizer;
    if (optimizer->penalties)
        loss = qn_add(g, loss, qn_penalty_sum(g, optimizer->penalties));
    gate_update(stage, settings, loss, &gated);
    qn_optimizer_apply(g, outcome->gradient, &gated, &stage->update);
    if (settings->skips_nan)
        qn_assign_gate(g, stage->update.gate);
    add_metrics(stage, loss, outcome->right, outcome->samples,
                settings->skips_nan);
    if (settings->log_every)
        qn_assign(g, qn_variable(g, QN_GROUP_LOSS, QN_METRIC_NOW, QN_FLOAT32,
                                 one), qn_reshape(g, loss, one));
}

// ---- the whole step ----

// Penalties that tie layers are nodes; all others the update applies, and the
// loss that is reported gets their sum.
static qn_status build_whole(struct qn_train_stage *stage,
                             const struct qn_settings *settings,
                             qn_error *error)
{
    qn_graph *g = stage->graph;
    qn_node *labels;
    qn_node *logits = qn_stage_predict(stage, settings, &labels, error);
    if (!logits)
        return qn_graph_check(g, error) != QN_OK ? qn_graph_check(g, NULL)
                                                 : QN_BAD_SHAPE;
    struct qn_stage_outcome outcome = {
        .loss = qn_loss_build(g, &settings->loss, logits, labels),
        .right = qn_stage_count_right(g, logits, labels),
        .samples = qn_constant(g, (double)stage->batch),
    };
    const struct qn_optimizer_params optimizer =
        qn_stage_optimizer(stage, settings);
    qn_node *ties = qn_model_ties(settings->model, g);
    if (ties)
        outcome.loss = qn_add(g, outcome.loss, ties);
    outcome.gradient = qn_optimizer_gradient(g, outcome.loss, &optimizer);
    qn_stage_update(stage, settings, &optimizer, &outcome);
    return qn_graph_check(g, error);
}

qn_status qn_train_stage_create(const struct qn_settings *settings,
                                enum qn_stage_kind kind, int64_t batch,
                                const struct qn_train_stage *part,
                                struct qn_train_stage *stage, qn_error *error)
{
    *stage = (struct qn_train_stage){.batch = batch,
                                     .graph = qn_graph_create(QN_FLOAT32)};
    if (!stage->graph)
        return qn_fail_memory(error, sizeof *stage);
    if (qn_optimizer_looks_ahead(&settings->optimizer))
        qn_graph_alias(stage->graph, QN_GROUP_LOOKAHEAD, NULL);
    stage->step = qn_scalar(stage->graph, "step");
    qn_status status =
        kind == QN_STAGE_WHOLE  ? build_whole(stage, settings, error)
        : kind == QN_STAGE_PART ? qn_stage_build_part(stage, settings, error)
                                : qn_stage_build_apply(stage, settings, part,
                                                       error);
    if (status != QN_OK)
        qn_train_stage_finish(stage);
    return status;
}

qn_status qn_train_stage_bind(struct qn_train_stage *stage,
                              qn_device *device, qn_store *store,
                              uint64_t seed, qn_error *error)
{
    const struct qn_plan_params params = {.graph = stage->graph,
                                          .store = store};
    QN_TRY(qn_store_add(store, stage->graph, error));
    stage->plan = qn_plan_create(device, &params, error);
    if (!stage->plan)
        return error && error->status ? error->status : QN_DEVICE;
    return stage->seed ? qn_plan_set(stage->plan, stage->seed, (double)seed)
                       : QN_OK;
}

void qn_train_stage_finish(struct qn_train_stage *stage)
{
    qn_plan_destroy(&stage->plan);
    qn_graph_destroy(&stage->graph);
    *stage = (struct qn_train_stage){0};
}
