// A training step in parts: gradients of micro-batches are added up on the
// device, then one plan updates from the sum.
//
// A mean over the batch is no mean of means: parts differ in size and, with
// class weights, in weight. So each adds the gradient of its sum, the sum and
// the weight; the update divides. Penalties and clipping come after that, once.
#include <stdlib.h>

#include "device/device.h"
#include "quern/op.h"
#include "train/train.h"

// ---- what forbids it ----

int qn_find_mixing_layer(const qn_model *model)
{
    for (int i = 0; i < qn_model_layer_count(model); i++)
        if (qn_layer_mixes_samples(qn_model_layer_at(model, i)))
            return i;
    return -1;
}

bool qn_has_micro_statistics(const struct qn_settings *settings)
{
    return settings->micro_batch > 0 && settings->allows_micro_statistics &&
           qn_find_mixing_layer(settings->model) >= 0;
}

qn_status qn_check_parts(const struct qn_settings *settings, qn_error *error)
{
    const qn_model *model = settings->model;
    int layer = qn_find_mixing_layer(model);
    if (settings->micro_batch == 0 || settings->allows_micro_statistics ||
        layer < 0)
        return QN_OK;
    return qn_fail(error, QN_BAD_ARGUMENT,
                   "layer %s (%s) takes statistics over the batch; over "
                   "micro-batches of %lld instead of batches of %lld they "
                   "would be others: leave micro_batch out, or set "
                   "allow_micro_statistics (--allow-micro-statistics)",
                   qn_model_layer_path(model, layer),
                   qn_layer_name(qn_model_layer_at(model, layer)),
                   (long long)settings->micro_batch,
                   (long long)settings->batch_size);
}

void qn_warn_of_parts(const qn_device *device, const json_t *then,
                      const struct qn_settings *settings)
{
    int64_t before = json_integer_value(json_object_get(then, "micro_batch"));
    if (before != settings->micro_batch)
        qn_log_write(qn_device_log(device), QN_LOG_WARNING,
                     "the run had micro_batch %lld, now %lld: it goes on "
                     "within rounding, not bit by bit", (long long)before,
                     (long long)settings->micro_batch);
}

// ---- the graphs ----

static qn_node *declare_sum(qn_graph *g, const char *name)
{
    return qn_variable(g, QN_GROUP_SUMS, name, QN_FLOAT32, qn_shape_of(1));
}

static qn_node *declare_gradient(qn_graph *g, const qn_shape *shape)
{
    return qn_variable(g, QN_GROUP_GRADIENT, "gradient", QN_FLOAT32, *shape);
}

// The sum of the step's parts so far, or 0 in the first one, plus x.
static void add_up(struct qn_train_stage *stage, qn_node *sum, qn_node *x)
{
    qn_graph *g = stage->graph;
    qn_node *zero = qn_constant(g, 0);
    qn_assign(g, sum,
              qn_add(g, qn_select(g, stage->begins, zero, sum), x));
}

qn_status qn_stage_build_part(struct qn_train_stage *stage,
                              const struct qn_settings *settings,
                              qn_error *error)
{
    qn_graph *g = stage->graph;
    qn_node *labels, *weight;
    stage->begins = qn_scalar(g, "begins");
    stage->offset = qn_scalar(g, "offset");
    qn_node *logits = qn_stage_predict(stage, settings, &labels, error);
    if (!logits)
        return qn_graph_check(g, error) != QN_OK ? qn_graph_check(g, NULL)
                                                 : QN_BAD_SHAPE;
    qn_node *loss =
        qn_loss_build_sum(g, &settings->loss, logits, labels, &weight);
    const struct qn_optimizer_params optimizer =
        qn_stage_optimizer(stage, settings);
    qn_node *gradient = qn_optimizer_gradient(g, loss, &optimizer);
    QN_TRY(qn_graph_check(g, error));
    add_up(stage, declare_gradient(g, qn_node_shape(gradient)), gradient);
    add_up(stage, declare_sum(g, "loss"), loss);
    add_up(stage, declare_sum(g, "weight"), weight);
    add_up(stage, declare_sum(g, "right"),
           qn_stage_count_right(g, logits, labels));
    return qn_graph_check(g, error);
}

// The parameters of another graph, in their order.
static qn_status declare_parameters(qn_graph *g, qn_graph *like,
                                    qn_error *error)
{
    qn_node *members[64];
    qn_node **list = members;
    const char *group = qn_graph_parameters(like);
    int count = qn_group_members(like, group, members, 64);
    if (count > 64 && !(list = calloc((size_t)count, sizeof *list)))
        return qn_fail_memory(error, (size_t)count * sizeof *list);
    qn_group_members(like, group, list, count);
    for (int i = 0; i < count; i++)
        qn_variable(g, group, qn_node_name(list[i]),
                    qn_node_dtype(list[i]), *qn_node_shape(list[i]));
    if (list != members)
        free(list);
    return qn_graph_check(g, error);
}

qn_status qn_stage_build_apply(struct qn_train_stage *stage,
                               const struct qn_settings *settings,
                               const struct qn_train_stage *part,
                               qn_error *error)
{
    qn_graph *g = stage->graph;
    qn_node *sum;
    QN_TRY(declare_parameters(g, part->graph, error));
    qn_group_members(part->graph, QN_GROUP_GRADIENT, &sum, 1);
    stage->samples = qn_scalar(g, "samples");
    qn_node *weight = declare_sum(g, "weight");
    struct qn_stage_outcome outcome = {
        .loss = qn_reshape(g, qn_div(g, declare_sum(g, "loss"), weight),
                           (qn_shape){0}),
        .gradient = qn_div(g, declare_gradient(g, qn_node_shape(sum)), weight),
        .right = declare_sum(g, "right"),
        .samples = stage->samples,
    };
    const struct qn_optimizer_params optimizer =
        qn_stage_optimizer(stage, settings);
    qn_node *ties = qn_model_ties(settings->model, g);
    if (ties) {
        outcome.loss = qn_add(g, outcome.loss, ties);
        outcome.gradient =
            qn_add(g, outcome.gradient,
                   qn_optimizer_gradient(g, ties, &optimizer));
    }
    qn_stage_update(stage, settings, &optimizer, &outcome);
    return qn_graph_check(g, error);
}
