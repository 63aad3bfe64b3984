// What a run does around the optimizer's rule: clipping, groups of parameters,
// maximum norms, the moving average. As settings, as JSON, and back.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train/train.h"

static const char *const forms[] = {
    [QN_AVERAGE_FROM_START] = "from_start",
    [QN_AVERAGE_CORRECTED] = "corrected",
    [QN_AVERAGE_MEAN] = "mean",
};
enum { FORM_COUNT = sizeof forms / sizeof *forms };

bool qn_around_has_average(const struct qn_settings *settings)
{
    const struct qn_optimizer_params *optimizer = &settings->optimizer;
    return optimizer->average > 0 ||
           optimizer->average_form == QN_AVERAGE_MEAN;
}

// ---- settings ----

static qn_status check_number(const char *name, double value, double most,
                              qn_error *error)
{
    if (value >= 0 && value <= most)
        return QN_OK;
    return qn_fail(error, QN_BAD_ARGUMENT,
                   "%s is %.12g and must be from 0 to %.12g", name, value,
                   most);
}

static qn_status check_average(const struct qn_fit_params *params,
                               qn_error *error)
{
    const enum qn_average_form form = params->ema_form;
    QN_REQUIRE(error, (int)form >= 0 && (int)form < FORM_COUNT);
    QN_TRY(check_number("ema", params->ema, 1 - 1e-9, error));
    if (form == QN_AVERAGE_MEAN && params->ema > 0)
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "the mean of all steps has no decay: leave ema or the "
                       "mean out");
    if (params->ema_recompute_bn && params->ema == 0 &&
        form != QN_AVERAGE_MEAN)
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "there is no average whose statistics could be "
                       "recomputed: set ema");
    if (form == QN_AVERAGE_CORRECTED && params->ema == 0)
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "a corrected moving average needs ema, its decay");
    return QN_OK;
}

// A minimizer's steps are its own.
static qn_status check_minimizer(const struct qn_fit_params *params,
                                 const struct qn_settings *settings,
                                 qn_error *error)
{
    const struct {
        const char *name;
        bool is_set;
    } all[] = {{"clip_value", params->clip_value > 0},
               {"clip_norm", params->clip_norm > 0},
               {"clip_global_norm", params->clip_global_norm > 0},
               {"groups", params->group_count > 0},
               {"no_decay_bias", params->no_decay_bias},
               {"max_norm", params->max_norm > 0},
               {"ema", params->ema > 0 || params->ema_form}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].is_set)
            return qn_fail(error, QN_BAD_ARGUMENT,
                           "%s has no %s: that is done around the rules that "
                           "take a step for each batch",
                           settings->minimizer.row->name, all[i].name);
    return QN_OK;
}

qn_status qn_around_resolve(const struct qn_fit_params *params,
                            struct qn_settings *settings, qn_error *error)
{
    struct qn_optimizer_params *optimizer = &settings->optimizer;
    QN_TRY(check_number("clip_value", params->clip_value, 1e30, error));
    QN_TRY(check_number("clip_norm", params->clip_norm, 1e30, error));
    QN_TRY(check_number("clip_global_norm", params->clip_global_norm, 1e30,
                        error));
    QN_TRY(check_number("max_norm", params->max_norm, 1e6, error));
    QN_REQUIRE(error, params->group_count >= 0);
    QN_REQUIRE(error, params->groups || params->group_count == 0);
    if (params->clip_norm > 0 && params->clip_global_norm > 0)
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "clip_norm and clip_global_norm exclude each other: "
                       "gradients are clipped by their own norms or by that "
                       "of all");
    QN_TRY(check_average(params, error));
    if (settings->minimizer.row)
        return check_minimizer(params, settings, error);
    optimizer->clip_value = params->clip_value;
    optimizer->clip_norm = params->clip_norm;
    optimizer->clip_global_norm = params->clip_global_norm;
    optimizer->average = params->ema;
    optimizer->average_form = params->ema_form;
    settings->recompute_statistics = params->ema_recompute_bn;
    settings->options = (struct qn_model_options_params){
        .no_decay_bias = params->no_decay_bias,
        .max_norm = params->max_norm,
        .max_norm_per_tensor = params->max_norm_per_tensor,
        .groups = params->groups,
        .group_count = params->group_count,
    };
    return QN_OK;
}

// A graph that has the model's parameters, to be asked before one trains.
qn_status qn_around_check(const struct qn_settings *settings, qn_graph *g,
                          qn_error *error)
{
    const struct qn_parameter_options *options =
        qn_model_options(settings->model, g, &settings->options);
    const int count = qn_group_members(g, qn_graph_parameters(g), NULL, 0);
    int frozen = 0, bounded = 0, without = 0;
    QN_TRY(qn_graph_check(g, error));
    for (int i = 0; i < count; i++) {
        frozen += options[i].is_frozen;
        bounded += options[i].max_norm > 0;
        without += !options[i].has_trust;
    }
    if (without && !settings->optimizer.optimizer->has_trust)
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "%s has no trust ratio that a group could turn off: "
                       "leave trust=0 to lars and lamb",
                       settings->optimizer.optimizer->name);
    if (!bounded && settings->options.max_norm_per_tensor)
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "max_norm_per_tensor says of what a norm is bounded, "
                       "but none is: set max_norm");
    if (bounded && settings->minimizer.row)
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "a layer of the model has a max_norm, which %s does "
                       "not keep", settings->minimizer.row->name);
    if (count > 0 && frozen == count)
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "all %d parameters are frozen: nothing would be "
                       "trained", count);
    return QN_OK;
}

// ---- JSON ----

// {"pattern": "*.bias", "weight_decay": 0}: what it says.
static json_t *group_json(const struct qn_parameter_group *group)
{
    const struct {
        const char *key;
        double value;
    } numbers[] = {{"lr_scale", group->lr_scale},
                   {"weight_decay", group->weight_decay},
                   {"max_norm", group->max_norm},
                   {"frozen", group->frozen},
                   {"trust", group->trust}};
    json_t *json = json_pack("{ss}", "pattern", group->pattern);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!isnan(numbers[i].value))
            json_object_set_new(json, numbers[i].key,
                                json_real(numbers[i].value));
    return json;
}

static json_t *groups_json(const struct qn_model_options_params *options)
{
    json_t *list = json_array();
    for (int i = 0; i < options->group_count; i++)
        json_array_append_new(list, group_json(&options->groups[i]));
    return list;
}

json_t *qn_around_json(const struct qn_settings *settings)
{
    const struct qn_optimizer_params *optimizer = &settings->optimizer;
    const struct qn_model_options_params *options = &settings->options;
    return json_pack(
        "{sf sf sf so sb sf sb sf ss sb}", "clip_value", optimizer->clip_value,
        "clip_norm", optimizer->clip_norm, "clip_global_norm",
        optimizer->clip_global_norm, "groups", groups_json(options),
        "no_decay_bias", options->no_decay_bias, "max_norm",
        options->max_norm, "max_norm_per_tensor",
        options->max_norm_per_tensor, "ema", optimizer->average, "ema_form",
        forms[optimizer->average_form], "ema_recompute_bn",
        settings->recompute_statistics);
}

static qn_status read_group(const json_t *json,
                            struct qn_parameter_group *group,
                            qn_error *error)
{
    const char *key, *pattern =
        json_string_value(json_object_get(json, "pattern"));
    json_t *value;
    if (!pattern)
        return qn_fail(error, QN_FORMAT,
                       "the note quern.run has a group without a pattern");
    QN_TRY(qn_parameter_group_name(group, pattern, strlen(pattern), error));
    json_object_foreach((json_t *)json, key, value)
        if (strcmp(key, "pattern") != 0)
            QN_TRY(qn_parameter_group_set(group, key,
                                          json_number_value(value), error));
    return QN_OK;
}

static qn_status read_groups(const json_t *list, struct qn_fit_params *params,
                             struct qn_parameter_group **groups,
                             qn_error *error)
{
    const size_t count = json_array_size(list);
    if (!count)
        return QN_OK;
    *groups = calloc(count, sizeof **groups);
    if (!*groups)
        return qn_fail_memory(error, count * sizeof **groups);
    params->groups = *groups;
    params->group_count = (int)count;
    for (size_t i = 0; i < count; i++)
        QN_TRY(read_group(json_array_get(list, i), &(*groups)[i], error));
    return QN_OK;
}

qn_status qn_around_read(const json_t *json, struct qn_fit_params *params,
                         struct qn_parameter_group **groups, qn_error *error)
{
    int no_decay_bias, per_tensor, recompute, form = 0;
    const char *name;
    json_t *list;
    if (json_unpack((json_t *)json, "{sF sF sF so sb sF sb sF ss sb}",
                    "clip_value", &params->clip_value, "clip_norm",
                    &params->clip_norm, "clip_global_norm",
                    &params->clip_global_norm, "groups", &list,
                    "no_decay_bias", &no_decay_bias, "max_norm",
                    &params->max_norm, "max_norm_per_tensor", &per_tensor,
                    "ema", &params->ema, "ema_form", &name,
                    "ema_recompute_bn", &recompute) != 0)
        return qn_fail(error, QN_FORMAT,
                       "the note quern.run is not what this version writes");
    while (form < FORM_COUNT && strcmp(forms[form], name) != 0)
        form++;
    if (form == FORM_COUNT)
        return qn_fail(error, QN_FORMAT,
                       "the note quern.run has an unknown form of average, "
                       "\"%.60s\"", name);
    params->ema_form = (enum qn_average_form)form;
    params->ema_recompute_bn = recompute != 0;
    params->no_decay_bias = no_decay_bias != 0;
    params->max_norm_per_tensor = per_tensor != 0;
    return read_groups(list, params, groups, error);
}
