// The settings of a run: checked, completed, written as JSON, compared.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/data.h"
#include "train/train.h"

struct qn_fit_params qn_fit_defaults(void)
{
    return (struct qn_fit_params){QN_FIT_DEFAULTS};
}

// ---- checking ----

// Statistics of a step's first parts move before the last one is known.
static qn_status read_on_nan(const char *text, struct qn_settings *settings,
                             qn_error *error)
{
    settings->skips_nan = text && strcmp(text, "skip") == 0;
    if (text && !settings->skips_nan && strcmp(text, "stop") != 0)
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "on_nan is \"%.60s\" and must be stop or skip", text);
    if (settings->skips_nan && settings->minimizer.row)
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "%s has no steps to skip, as it searches along the "
                       "loss of all samples: leave out on_nan",
                       settings->minimizer.row->name);
    if (settings->skips_nan && qn_has_micro_statistics(settings))
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "steps cannot be skipped whole with statistics over "
                       "micro-batches: take whole batches, or on_nan stop");
    return QN_OK;
}

qn_status qn_settings_resolve(const struct qn_fit_params *params,
                              struct qn_settings *settings, qn_error *error)
{
    QN_REQUIRE(error, params->model && params->dataset);
    QN_REQUIRE(error, params->dataset->train_count > 0);
    QN_REQUIRE(error, params->dataset->train_count <= INT32_MAX);
    QN_REQUIRE(error, params->dataset->test_count > 0);
    QN_REQUIRE(error, params->epochs >= 1);
    QN_REQUIRE(error, params->batch_size >= 1);
    QN_REQUIRE(error, params->micro_batch >= 0);
    QN_REQUIRE(error, params->checkpoint_every >= 0);
    QN_REQUIRE(error, params->max_steps >= -1);
    QN_REQUIRE(error, params->log_every >= 0);
    QN_REQUIRE(error, params->seed <= UINT32_MAX);
    QN_REQUIRE(error, params->lr >= 0 && isfinite(params->lr));
    QN_REQUIRE(error, params->l1 >= 0 && isfinite(params->l1));
    QN_REQUIRE(error, params->l2 >= 0 && isfinite(params->l2));
    *settings = (struct qn_settings){
        .model = params->model,
        .dataset = params->dataset,
        .epochs = params->epochs,
        .batch_size = params->batch_size,
        .micro_batch = params->micro_batch,
        .allows_micro_statistics = params->allow_micro_statistics,
        .is_strict = params->strict,
        .checkpoint_every = params->checkpoint_every,
        .max_steps = params->max_steps < 0 ? INT64_MAX : params->max_steps,
        .log_every = params->log_every,
        .seed = params->seed,
        .label = params->label,
        .penalty = {params->l1, params->l2, params->proximal},
    };
    if (settings->batch_size > params->dataset->train_count)
        settings->batch_size = params->dataset->train_count;
    const char *loss =
        params->loss ? params->loss : "softmax_cross_entropy";
    QN_TRY(qn_full_batch_resolve(params, settings, error));
    QN_TRY(read_on_nan(params->on_nan, settings, error));
    if (settings->minimizer.row)
        QN_TRY(qn_around_resolve(params, settings, error));
    if (settings->minimizer.row)
        return qn_loss_parse(loss, &settings->loss, error);
    if (settings->micro_batch >= settings->batch_size)
        settings->micro_batch = 0;
    QN_TRY(qn_check_parts(settings, error));
    struct qn_optimizer_params *optimizer = &settings->optimizer;
    const char *name = params->optimizer ? params->optimizer : "sgd";
    // PyTorch's users ask for sgd with a momentum.
    if (strcmp(name, "sgd") == 0 && params->momentum > 0)
        name = "momentum";
    QN_TRY(qn_optimizer_parse(name, optimizer, error));
    if (!isnan(params->momentum) &&
        (params->momentum != 0 || strcmp(name, "sgd") != 0))
        QN_TRY(qn_optimizer_set_hyper(optimizer, "momentum", params->momentum, error));
    if (!isnan(params->weight_decay))
        QN_TRY(qn_optimizer_set_hyper(optimizer, "weight_decay", params->weight_decay,
                         error));
    QN_TRY(qn_optimizer_check(optimizer->optimizer, optimizer->hyper, error));
    settings->lr = params->lr > 0 ? params->lr : optimizer->optimizer->lr;
    QN_TRY(qn_rates_resolve(params, settings, error));
    QN_TRY(qn_around_resolve(params, settings, error));
    return qn_loss_parse(loss, &settings->loss, error);
}

qn_status qn_fit_check(const struct qn_fit_params *params, qn_error *error)
{
    QN_REQUIRE(error, params != NULL);
    struct qn_settings settings;
    QN_TRY(qn_settings_resolve(params, &settings, error));
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    if (!g)
        return qn_fail_memory(error, 1);
    qn_node *logits = qn_build_one(g, params->model, params->dataset, error);
    qn_status status = logits ? qn_around_check(&settings, g, error)
                              : QN_BAD_SHAPE;
    qn_graph_destroy(&g);
    if (status == QN_OK && settings.minimizer.row)
        return qn_full_batch_check(&settings, error);
    return status;
}

// ---- JSON ----

static json_t *class_names_json(const qn_dataset *dataset)
{
    json_t *names = dataset->class_names ? json_array() : NULL;
    for (int i = 0; names && i < dataset->classes; i++)
        json_array_append_new(names, json_string(dataset->class_names[i]));
    return names;
}

static json_t *dataset_json(const qn_dataset *dataset)
{
    json_t *shape = json_array();
    for (int i = 0; i < dataset->shape.rank; i++)
        json_array_append_new(shape, json_integer(dataset->shape.dims[i]));
    return json_pack("{ss ss so si sI sI sf sf sI so*}", "name", dataset->name,
                     "origin", dataset->origin, "shape", shape, "classes",
                     dataset->classes, "train_count",
                     (json_int_t)dataset->train_count, "test_count",
                     (json_int_t)dataset->test_count, "offset",
                     dataset->offset, "scale", dataset->scale, "checksum",
                     (json_int_t)qn_dataset_checksum(dataset), "class_names",
                     class_names_json(dataset));
}

static json_t *optimizer_json(const struct qn_optimizer_params *optimizer)
{
    const struct qn_optimizer *row = optimizer->optimizer;
    json_t *json = json_pack("{ss}", "name", row->name);
    for (int i = 0; i < row->hyper_count; i++)
        json_object_set_new(json, row->hyper[i].name,
                            json_real(optimizer->hyper[i]));
    return json;
}

static json_t *loss_json(const struct qn_loss_params *loss)
{
    char *text = qn_loss_write(loss);
    json_t *json = json_string(text);
    free(text);
    return json;
}

json_t *qn_settings_json(const struct qn_settings *settings)
{
    json_t *around = qn_around_json(settings);
    json_t *json = json_pack(
        "{ss? so so so sf so so sf sf sb so sI sI sb ss sI si sI}", "label",
        settings->label, "model",
        json_loads(qn_model_json(settings->model), 0, NULL), "data",
        dataset_json(settings->dataset), "optimizer",
        settings->minimizer.row ? qn_full_batch_json(&settings->minimizer)
                                : optimizer_json(&settings->optimizer),
        "lr", settings->lr, "schedule", qn_rates_json(settings, false),
        "momentum_schedule", qn_rates_json(settings, true), "l1",
        settings->penalty.l1, "l2", settings->penalty.l2, "proximal",
        settings->penalty.proximal, "loss", loss_json(&settings->loss),
        "batch_size",
        (json_int_t)settings->batch_size, "micro_batch",
        (json_int_t)settings->micro_batch, "micro_statistics",
        qn_has_micro_statistics(settings), "on_nan",
        settings->skips_nan ? "skip" : "stop", "seed",
        (json_int_t)settings->seed,
        "epochs", settings->epochs, "checkpoint_every",
        (json_int_t)settings->checkpoint_every);
    if (json && json_object_update(json, around) != 0) {
        json_decref(json);
        json = NULL;
    }
    json_decref(around);
    return json;
}

// ---- comparing ----

// Keys that a resumed run may change.
static bool may_differ(const char *key)
{
    static const char *const keys[] = {"epochs", "checkpoint_every", "label",
                                       "origin", "name", "class_names",
                                       "micro_batch", "micro_statistics",
                                       "on_nan"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(key, keys[i]) == 0)
            return true;
    return false;
}

static qn_status report_difference(const char *key, const json_t *then,
                                   const json_t *now, qn_error *error)
{
    const size_t flags = JSON_ENCODE_ANY | JSON_REAL_PRECISION(12);
    char *a = then ? json_dumps(then, flags) : NULL;
    char *b = now ? json_dumps(now, flags) : NULL;
    qn_status status = qn_fail(
        error, QN_BAD_ARGUMENT,
        "the run that goes on has %s %.300s, not %.300s (only the number of "
        "epochs may change)", key, a ? a : "unset", b ? b : "unset");
    free(a);
    free(b);
    return status;
}

// Samples that statistics are taken over, 0: those of a batch. Other parts of a
// batch come to the same.
static json_int_t statistics_batch(const json_t *settings)
{
    return json_is_true(json_object_get(settings, "micro_statistics"))
               ? json_integer_value(json_object_get(settings, "micro_batch"))
               : 0;
}

// Names of data sets and of optimizers are both called "name": only the
// latter matters, data sets are told apart by their content.
qn_status qn_settings_compare(const json_t *then, const json_t *now,
                              qn_error *error)
{
    static const char *const groups[] = {"data", "optimizer"};
    const char *key;
    json_t *value;
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        json_t *old = json_object_get(then, groups[i]);
        json_object_foreach(json_object_get(now, groups[i]), key, value)
        {
            if (i == 0 && may_differ(key))
                continue;
            // An optimizer's name is what users call the optimizer.
            const char *name = strcmp(key, "name") == 0 ? groups[i] : key;
            if (!json_equal(value, json_object_get(old, key)))
                return report_difference(name, json_object_get(old, key),
                                         value, error);
        }
    }
    json_object_foreach((json_t *)now, key, value)
    {
        bool is_group = strcmp(key, "data") == 0 ||
                        strcmp(key, "optimizer") == 0;
        const json_t *old = json_object_get(then, key);
        if (!is_group && !may_differ(key) && !json_equal(value, old))
            return report_difference(key, old, value, error);
    }
    if (statistics_batch(then) != statistics_batch(now))
        return report_difference("micro_batch",
                                 json_object_get(then, "micro_batch"),
                                 json_object_get(now, "micro_batch"), error);
    return QN_OK;
}
