// Which options each parameter of a model has: what its layer says, what holds
// for all, and groups by patterns of names.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "graph/graph.h"
#include "nn/model.h"
#include "nn/pairs.h"
#include "quern/optim.h"

// ---- text ----

static double *number_of(struct qn_parameter_group *group, const char *key)
{
    const struct {
        const char *key;
        double *number;
    } keys[] = {{"lr_scale", &group->lr_scale},
                {"weight_decay", &group->weight_decay},
                {"max_norm", &group->max_norm},
                {"frozen", &group->frozen},
                {"trust", &group->trust}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(keys[i].key, key) == 0)
            return keys[i].number;
    return NULL;
}

qn_status qn_parameter_group_set(struct qn_parameter_group *group,
                                 const char *key, double value,
                                 qn_error *error)
{
    QN_REQUIRE(error, group && key);
    double *number = number_of(group, key);
    if (!number)
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "group \"%s\": no option is called \"%.60s\"; there "
                       "are lr_scale, weight_decay, max_norm, frozen and "
                       "trust",
                       group->pattern, key);
    const bool is_flag = number == &group->frozen || number == &group->trust;
    if (!(value >= 0 && value <= 1e6) ||
        (is_flag && value != 0 && value != 1))
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "group \"%s\": %s is %.12g and must be %s",
                       group->pattern, key, value,
                       is_flag ? "0 or 1" : "from 0 to 1e6");
    *number = value;
    return QN_OK;
}

static qn_status set_number(void *user, const char *key, double value,
                            qn_error *error)
{
    return qn_parameter_group_set(user, key, value, error);
}

qn_status qn_parameter_group_name(struct qn_parameter_group *group,
                                  const char *pattern, size_t length,
                                  qn_error *error)
{
    const double none = (double)NAN;
    *group = (struct qn_parameter_group){.lr_scale = none,
                                         .weight_decay = none,
                                         .max_norm = none,
                                         .frozen = none,
                                         .trust = none};
    if (length == 0 || length >= sizeof group->pattern)
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "\"%.60s\": the pattern of a group of parameters has "
                       "1 to %zu bytes",
                       pattern, sizeof group->pattern - 1);
    memcpy(group->pattern, pattern, length);
    return QN_OK;
}

qn_status qn_parameter_group_parse(const char *text,
                                   struct qn_parameter_group *group,
                                   qn_error *error)
{
    QN_REQUIRE(error, text && group);
    size_t length = strcspn(text, ":");
    QN_TRY(qn_parameter_group_name(group, text, length, error));
    if (!text[length] || !text[length + 1])
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "group \"%s\" says nothing of its parameters; write "
                       "it as in \"*.bias:weight_decay=0,lr_scale=2\"",
                       group->pattern);
    char what[sizeof group->pattern + 16];
    snprintf(what, sizeof what, "group \"%s\"", group->pattern);
    return qn_pairs_read_numbers(text + length, what, "OPTION=NUMBER",
                                 set_number, group, error);
}

// ---- names ----

// '*' stands for any characters, '?' for one. The last star takes in one more
// character wherever what follows it does not match.
static bool matches(const char *pattern, const char *name)
{
    const char *star = NULL, *from = name;
    while (*name) {
        if (*pattern == '*') {
            star = pattern++;
            from = name;
        } else if (*pattern == '?' || *pattern == *name) {
            pattern++;
            name++;
        } else if (star) {
            pattern = star + 1;
            name = ++from;
        } else {
            return false;
        }
    }
    return pattern[strspn(pattern, "*")] == 0;
}

// Says what is near: the names themselves where they are few.
static void fail_pattern(qn_graph *g, const char *pattern,
                         qn_node *const *parameters, int count)
{
    enum { SHOWN = 4 };
    const char *names[64] = {0};
    char some[300] = "";
    size_t used = 0;
    int kept = count < 64 ? count : 64;
    for (int i = 0; i < kept; i++)
        names[i] = parameters[i]->name;
    const char *nearest = qn_text_nearest(pattern, names, kept);
    for (int i = 0; i < kept && i < SHOWN; i++)
        used += (size_t)snprintf(some + used, sizeof some - used, "%s%.60s",
                                 i ? ", " : "", names[i]);
    qn_graph_fail(g, QN_BAD_ARGUMENT,
                  "no parameter's name matches \"%s\"%s%s (there are "
                  "%s%s; * stands for any characters)",
                  pattern, nearest ? "; the nearest is " : "",
                  nearest ? nearest : "", some,
                  count > SHOWN ? ", ..." : "");
}

// ---- options ----

static bool is_of_norm(const struct qn_layer_spec *owner)
{
    for (const qn_layer *row = qn_layers_norm; row->name; row++)
        if (owner && owner->layer == row)
            return true;
    return false;
}

// Before groups.
static struct qn_parameter_options plain_options(
    const qn_model *model, const qn_node *parameter,
    const struct qn_model_options_params *params)
{
    const char *local;
    struct qn_parameter_options options = qn_parameter_options_defaults();
    const struct qn_layer_spec *owner =
        model ? qn_model_find_owner(model, parameter->name, &local) : NULL;
    const bool is_weight = parameter->shape.rank >= 2 && !is_of_norm(owner);
    if (params->no_decay_bias && !is_weight)
        options.weight_decay = 0;
    if (is_weight)
        options.max_norm = owner && !isnan(owner->max_norm)
                               ? owner->max_norm
                               : params->max_norm;
    if (params->max_norm_per_tensor) {
        options.units = QN_UNITS_ALL;
    } else if (owner && owner->layer->column_groups) {
        options.units = QN_UNITS_COLUMNS;
        options.unit_groups =
            owner->layer->column_groups(owner->values, &parameter->shape);
    }
    return options;
}

static void apply(const struct qn_parameter_group *group,
                  struct qn_parameter_options *options)
{
    if (!isnan(group->lr_scale))
        options->lr_scale = group->lr_scale;
    if (!isnan(group->weight_decay))
        options->weight_decay = group->weight_decay;
    if (!isnan(group->max_norm))
        options->max_norm = group->max_norm;
    if (!isnan(group->frozen))
        options->is_frozen = group->frozen != 0;
    if (!isnan(group->trust))
        options->has_trust = group->trust != 0;
}

static bool apply_all(qn_graph *g,
                      const struct qn_model_options_params *params,
                      qn_node *const *parameters, int count,
                      struct qn_parameter_options *options)
{
    for (int k = 0; k < params->group_count; k++) {
        const struct qn_parameter_group *group = &params->groups[k];
        int found = 0;
        for (int i = 0; i < count; i++)
            if (matches(group->pattern, parameters[i]->name)) {
                apply(group, &options[i]);
                found++;
            }
        if (!found) {
            fail_pattern(g, group->pattern, parameters, count);
            return false;
        }
    }
    return true;
}

const struct qn_parameter_options *
qn_model_options(const qn_model *model, qn_graph *g,
                 const struct qn_model_options_params *params)
{
    if (!g || g->error.status)
        return NULL;
    const char *name = qn_graph_parameters(g);
    const int count = qn_group_members(g, name, NULL, 0);
    const size_t room = (size_t)count + 1;
    qn_node **parameters =
        qn_arena_alloc(&g->arena, room * sizeof *parameters);
    struct qn_parameter_options *options =
        qn_arena_alloc(&g->arena, room * sizeof *options);
    if (!parameters || !options) {
        qn_graph_fail(g, QN_NO_MEMORY, "no memory for %d options", count);
        return NULL;
    }
    qn_group_members(g, name, parameters, count);
    for (int i = 0; i < count; i++)
        options[i] = plain_options(model, parameters[i], params);
    return apply_all(g, params, parameters, count, options) ? options : NULL;
}
