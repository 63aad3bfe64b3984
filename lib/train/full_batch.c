// Training on the whole data set at once: a minimizer of minimize.h over the
// loss of all samples, an iteration an epoch. Its state lies in the store, so
// that checkpoints hold it. Knows nothing of epochs and files.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/device.h"
#include "graph/graph.h"
#include "quern/op.h"
#include "train/train.h"

struct qn_full_batch {
    qn_store *store;
    const struct qn_settings *settings;
    qn_plan_objective *objective;
    qn_minimizer *minimizer;
    qn_graph *state; // declares the variables that hold it
    struct qn_full_batch_watch watch;
};

// ---- settings ----

// The rate is that of the first trial of a search, which needs no schedule.
static qn_status check_rates(const struct qn_fit_params *params,
                             struct qn_settings *settings, qn_error *error)
{
    const char *name = settings->minimizer.row->name;
    if (!isnan(params->momentum) || params->momentum_schedule)
        return qn_fail(error, QN_BAD_ARGUMENT, "%s has no momentum", name);
    if (!isnan(params->weight_decay) && params->weight_decay != 0)
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "%s has no weight decay: take l2, which is part of "
                       "the loss", name);
    QN_TRY(qn_schedule_parse(params->schedule ? params->schedule : "constant",
                             &settings->schedule, error));
    if (strcmp(settings->schedule.schedule->name, "constant") != 0 ||
        settings->schedule.has_warmup)
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "%s takes no schedule of the learning rate: it "
                       "searches for the length of each step", name);
    return QN_OK;
}

qn_status qn_full_batch_resolve(const struct qn_fit_params *params,
                                struct qn_settings *settings, qn_error *error)
{
    char name[64];
    const char *text = params->optimizer ? params->optimizer : "sgd";
    size_t length = strcspn(text, ":");
    snprintf(name, sizeof name, "%.*s", (int)(length < 63 ? length : 63),
             text);
    if (!qn_minimizer_row_find(name))
        return QN_OK;
    QN_TRY(qn_minimizer_parse(text, &settings->minimizer, error));
    QN_TRY(check_rates(params, settings, error));
    // Parts of the data are all that a batch is here.
    if (params->micro_batch && params->micro_batch < settings->batch_size)
        settings->batch_size = params->micro_batch;
    settings->micro_batch = 0;
    if (params->lr > 0)
        settings->minimizer.lr = params->lr;
    settings->lr = settings->minimizer.lr;
    return QN_OK;
}

json_t *qn_full_batch_json(const struct qn_minimizer_params *params)
{
    json_t *json = json_pack("{ss}", "name", params->row->name);
    for (int i = 0; i < params->row->key_count; i++) {
        const struct qn_minimizer_key *key = &params->row->keys[i];
        char text[64];
        qn_minimizer_value(params, i, text, sizeof text);
        json_object_set_new(json, key->name,
                            key->choices ? json_string(text)
                            : key->is_integer
                                ? json_integer((json_int_t)params->values[i])
                                : json_real(params->values[i]));
    }
    return json;
}

// ---- the loss ----

static qn_node *take(qn_graph *g, const char *group, const char *name,
                     qn_dtype dtype, qn_shape shape, int64_t count,
                     qn_node *first)
{
    qn_node *order = qn_variable(g, QN_GROUP_ORDER, "order", QN_INT32,
                                 qn_shape_of(shape.dims[0]));
    return qn_take(g, qn_variable(g, group, name, dtype, shape), order, first,
                   count);
}

// "layer 2 (dropout)": the innermost one that `name` begins with.
static void name_layer(const qn_model *model, const char *name, char *text,
                       size_t size)
{
    size_t longest = 0;
    snprintf(text, size, "%s", name);
    for (int i = 0; i < qn_model_layer_count(model); i++) {
        const char *path = qn_model_layer_path(model, i);
        const size_t length = strlen(path);
        if (length > longest && strncmp(name, path, length) == 0 &&
            (name[length] == '.' || name[length] == 0)) {
            longest = length;
            snprintf(text, size, "layer %s (%s)", path,
                     qn_layer_name(qn_model_layer_at(model, i)));
        }
    }
}

// A line search compares values of one function, so it must not be drawn anew
// or depend on how samples are grouped.
static qn_status check_graph(qn_graph *g, const struct qn_settings *settings,
                             int64_t count, const qn_node *seed,
                             qn_error *error)
{
    const char *rule = settings->minimizer.row->name;
    const int64_t all = settings->dataset->train_count;
    char layer[200];
    for (const qn_node *node = g->first; node; node = node->next)
        for (int i = 0; i < node->input_count; i++)
            if (node->inputs[i] == seed) {
                name_layer(settings->model, node->name, layer, sizeof layer);
                return qn_fail(error, QN_BAD_ARGUMENT,
                               "%s draws at random, but %s needs the same "
                               "loss each time: leave it out, or take an "
                               "optimizer of mini-batches", layer, rule);
            }
    const int mixing = qn_find_mixing_layer(settings->model);
    if (count == all || mixing < 0)
        return QN_OK;
    name_layer(settings->model, qn_model_layer_path(settings->model, mixing),
               layer, sizeof layer);
    return qn_fail(error, QN_BAD_ARGUMENT,
                   "%s has statistics over a batch, so the loss of all "
                   "samples is not the mean over parts: %s needs a batch size "
                   "of all %lld samples, or take an optimizer of mini-batches",
                   layer, rule, (long long)all);
}

static qn_status build_loss(const struct qn_settings *settings, qn_graph *g,
                            qn_node *x, qn_node *labels,
                            struct qn_batch_loss *out, qn_error *error)
{
    const int64_t count = qn_node_shape(labels)->dims[0];
    struct qn_model_build_params params = {.training = true,
                                           .seed = qn_scalar(g, "seed"),
                                           .step = qn_scalar(g, "step")};
    qn_node *logits = qn_build_logits(g, x, settings->model,
                                      settings->dataset, &params, error);
    if (!logits)
        return qn_graph_check(g, error) != QN_OK ? qn_graph_check(g, NULL)
                                                 : QN_BAD_SHAPE;
    QN_TRY(check_graph(g, settings, count, params.seed, error));
    // Parts differ in size, and in weight where classes do.
    qn_node *ties = qn_model_ties(settings->model, g);
    out->loss = qn_loss_build_sum(g, &settings->loss, logits, labels,
                                  &out->weight);
    if (ties)
        out->loss = qn_add(g, out->loss, qn_mul(g, out->weight, ties));
    out->count = qn_sum(g, qn_equal(g, qn_argmax(g, logits, 1), labels),
                        NULL);
    out->penalties =
        qn_model_penalties(settings->model, g, &settings->penalty);
    return qn_graph_check(g, error);
}

static void build(void *user, qn_graph *g, int64_t count,
                  struct qn_batch_loss *out)
{
    const struct qn_full_batch *full = user;
    const qn_dataset *data = full->settings->dataset;
    qn_node *first = out->nodes[0] = qn_scalar(g, "first");
    qn_node *pixels =
        take(g, QN_GROUP_IMAGES, "images", QN_UINT8,
             qn_batch_shape(data->train_count, &data->shape), count, first);
    qn_node *labels = take(g, QN_GROUP_LABELS, "labels", QN_INT32,
                           qn_shape_of(data->train_count), count, first);
    qn_error error = {0};
    if (qn_graph_check(g, NULL) == QN_OK &&
        build_loss(full->settings, g, qn_scale_pixels(g, pixels, data),
                   labels, out, &error) != QN_OK)
        qn_graph_fail(g, error.status, "%s", error.text);
}

static qn_status bind(void *user, const struct qn_batch_loss *built,
                      qn_plan *plan, int64_t first)
{
    (void)user;
    return qn_plan_set(plan, built->nodes[0], (double)first);
}

static bool is_stopped(void *user)
{
    const struct qn_full_batch *full = user;
    return full->watch.is_stopped && full->watch.is_stopped(full->watch.user);
}

// ---- what can be refused before a device is opened ----

static qn_status check_l1(const struct qn_batch_loss *built, qn_graph *g,
                          const char *rule, qn_error *error)
{
    const int count = qn_group_members(g, "parameters", NULL, 0);
    for (int i = 0; built->penalties && i < count; i++)
        if (built->penalties[i].l1 != 0)
            return qn_fail(error, QN_BAD_ARGUMENT,
                           "an l1 penalty has no gradient at 0, which %s "
                           "needs: take l2, or an optimizer of mini-batches",
                           rule);
    return QN_OK;
}

static qn_status check_size(qn_graph *g, const struct qn_settings *settings,
                            qn_error *error)
{
    double n = 0;
    for (const qn_node *node = g->first; node; node = node->next)
        if (node->group && strcmp(node->group, "parameters") == 0)
            n += (double)qn_node_count(node);
    return qn_minimizer_check_size(&settings->minimizer, n, error);
}

qn_status qn_full_batch_check(const struct qn_settings *settings,
                              qn_error *error)
{
    const qn_dataset *data = settings->dataset;
    struct qn_batch_loss built = {0};
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    if (!g)
        return qn_fail_memory(error, 1);
    const int64_t batch = settings->batch_size;
    qn_node *x = qn_input(g, "x", QN_FLOAT32,
                          qn_batch_shape(batch, &data->shape));
    qn_node *labels = qn_input(g, "labels", QN_INT32, qn_shape_of(batch));
    qn_status status = qn_graph_check(g, error);
    if (status == QN_OK)
        status = build_loss(settings, g, x, labels, &built, error);
    if (status == QN_OK)
        status = check_l1(&built, g, settings->minimizer.row->name, error);
    if (status == QN_OK)
        status = check_size(g, settings, error);
    qn_graph_destroy(&g);
    return status;
}

// ---- state in the store ----

// A variable for each part, of the group "optimizer.<rule>".
static qn_status declare_state(struct qn_full_batch *full, qn_error *error)
{
    qn_minimizer_part part;
    char group[64];
    full->state = qn_graph_create(QN_FLOAT32);
    if (!full->state)
        return qn_fail_memory(error, 1);
    snprintf(group, sizeof group, "optimizer.%s",
             full->settings->minimizer.row->name);
    for (int i = 0; qn_minimizer_part_at(full->minimizer, i, &part); i++)
        qn_variable(full->state, group, part.name, QN_FLOAT64,
                    part.rows > 1 ? qn_shape_of(part.rows, part.columns)
                                  : qn_shape_of(part.columns));
    return qn_store_add(full->store, full->state, error);
}

static qn_status copy_state(struct qn_full_batch *full, bool is_saved,
                            qn_error *error)
{
    qn_minimizer_part part;
    char group[64];
    snprintf(group, sizeof group, "optimizer.%s",
             full->settings->minimizer.row->name);
    for (int i = 0; qn_minimizer_part_at(full->minimizer, i, &part); i++) {
        const int index = qn_store_find(full->store, group, part.name);
        const size_t size =
            (size_t)(part.rows * part.columns) * sizeof *part.values;
        QN_TRY(is_saved ? qn_store_write(full->store, index, part.values,
                                         size, error)
                        : qn_store_read(full->store, index, part.values,
                                        size, error));
    }
    return QN_OK;
}

qn_status qn_full_batch_save(struct qn_full_batch *full, qn_error *error)
{
    QN_TRY(qn_plan_objective_write(full->objective,
                                   qn_minimizer_x(full->minimizer), error));
    return copy_state(full, true, error);
}

// "x" is the first part.
qn_status qn_full_batch_begin(struct qn_full_batch *full, bool is_resumed,
                              qn_error *error)
{
    qn_minimizer_part x;
    if (is_resumed)
        return copy_state(full, false, error);
    qn_minimizer_part_at(full->minimizer, 0, &x);
    return qn_plan_objective_read(full->objective, x.values, error);
}

// ---- life ----

static qn_status make_minimizer(struct qn_full_batch *full, qn_error *error)
{
    const struct qn_objective face = qn_plan_objective_face(full->objective);
    double *x = calloc((size_t)face.n, sizeof *x);
    if (!x)
        return qn_fail_memory(error, (size_t)face.n * sizeof *x);
    full->minimizer =
        qn_minimizer_create(&full->settings->minimizer, &face, x, error);
    free(x);
    return full->minimizer ? declare_state(full, error)
                           : error ? error->status : QN_NO_MEMORY;
}

static qn_status set_up(struct qn_full_batch *full, qn_device *device,
                        qn_error *error)
{
    const struct qn_settings *settings = full->settings;
    const struct qn_plan_objective_params params = {
        .real = QN_FLOAT32,
        .samples = settings->dataset->train_count,
        .batch = settings->batch_size,
        .wants_products =
            strcmp(settings->minimizer.row->name, "newton_cg") == 0,
        .user = full,
        .build = build,
        .bind = bind,
        .is_stopped = is_stopped,
    };
    const char *why;
    QN_TRY(qn_full_batch_check(settings, error));
    full->objective =
        qn_plan_objective_create(device, full->store, &params, error);
    if (!full->objective)
        return error ? error->status : QN_DEVICE;
    if (params.wants_products &&
        !qn_plan_objective_is_exact(full->objective, &why))
        qn_log_write(qn_device_log(device), QN_LOG_INFO,
                     "Hessian products by central differences: %s", why);
    return make_minimizer(full, error);
}

qn_status qn_full_batch_create(qn_device *device, qn_store *store,
                               const struct qn_settings *settings,
                               const struct qn_full_batch_watch *watch,
                               struct qn_full_batch **out, qn_error *error)
{
    struct qn_full_batch *full = calloc(1, sizeof *full);
    *out = NULL;
    if (!full)
        return qn_fail_memory(error, sizeof *full);
    full->store = store;
    full->settings = settings;
    full->watch = *watch;
    qn_status status = set_up(full, device, error);
    if (status != QN_OK)
        qn_full_batch_destroy(&full);
    *out = full;
    return status;
}

void qn_full_batch_destroy(struct qn_full_batch **handle)
{
    if (!handle || !*handle)
        return;
    qn_minimizer_destroy(&(*handle)->minimizer);
    qn_plan_objective_destroy(&(*handle)->objective);
    qn_graph_destroy(&(*handle)->state);
    free(*handle);
    *handle = NULL;
}

qn_status qn_full_batch_measure(qn_device *device, qn_store *sketch,
                                const struct qn_settings *settings,
                                struct qn_footprint *footprint,
                                qn_error *error)
{
    const struct qn_full_batch_watch watch = {0};
    struct qn_full_batch *full;
    qn_plan_stats stats;
    QN_TRY(qn_full_batch_create(device, sketch, settings, &watch, &full,
                                error));
    qn_plan_objective_describe(full->objective, &stats);
    footprint->size += stats.own_size;
    if (stats.own_largest_size > footprint->largest)
        footprint->largest = stats.own_largest_size;
    qn_full_batch_destroy(&full);
    return QN_OK;
}

// ---- an iteration ----

qn_status qn_full_batch_step(struct qn_full_batch *full,
                             struct qn_iteration *out, qn_error *error)
{
    struct qn_minimizer_report before, after;
    qn_minimizer_describe(full->minimizer, &before);
    qn_status status = qn_minimizer_step(full->minimizer, error);
    const double *x = qn_minimizer_x(full->minimizer);
    if (status != QN_OK) {
        // The parameters may be those of a trial.
        qn_plan_objective_write(full->objective, x, NULL);
        return status;
    }
    qn_minimizer_describe(full->minimizer, &after);
    *out = (struct qn_iteration){.loss = after.loss,
                                 .moved =
                                     after.iterations > before.iterations};
    return qn_plan_objective_count(full->objective, x, &out->correct, error);
}

const char *qn_full_batch_stopped(const struct qn_full_batch *full)
{
    struct qn_minimizer_report report;
    qn_minimizer_describe(full->minimizer, &report);
    return report.stop == QN_STOP_NONE ? NULL
                                       : qn_minimizer_stop_text(report.stop);
}
