// Clipping, groups of parameters, maximum norms and averages on the command
// line of quern train.
#include "around.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int add_around_flags(struct around *a, struct flag *flags, int count)
{
    const struct flag more[] = {
        {"clip-value", "F", "clip each element of the gradient to [-F, F]",
         FLAG_NUMBER, &a->clip_value, 1e-30, 1e30, false},
        {"clip-norm", "F", "scale each parameter's gradient down to norm F",
         FLAG_NUMBER, &a->clip_norm, 1e-30, 1e30, false},
        {"clip-global-norm", "F",
         "scale the gradient of all parameters down to norm F",
         FLAG_NUMBER, &a->clip_global_norm, 1e-30, 1e30, false},
        {"group", "P:K=V",
         "parameters whose names match P, such as *.bias, get lr_scale, "
         "weight_decay, max_norm, frozen or trust; repeatable, later win",
         FLAG_LIST, &a->groups, 0, 0, false},
        {"freeze", "P",
         "do not train parameters whose names match P; repeatable",
         FLAG_LIST, &a->groups, 0, 0, false},
        {"no-decay-bias", NULL,
         "no weight decay on biases and normalisations", FLAG_SWITCH,
         &a->no_decay_bias, 0, 0, false},
        {"max-norm", "F",
         "after each step scale the weights of each unit down to norm F",
         FLAG_NUMBER, &a->max_norm, 1e-30, 1e6, false},
        {"max-norm-per-tensor", NULL, "of each tensor, not of each unit",
         FLAG_SWITCH, &a->per_tensor, 0, 0, false},
        {"ema", "D",
         "evaluate and keep a moving average of the parameters too, such as "
         "0.999",
         FLAG_NUMBER, &a->ema, 1e-9, 1 - 1e-9, false},
        {"ema-corrected", NULL, "without the first values in it",
         FLAG_SWITCH, &a->ema_corrected, 0, 0, false},
        {"ema-recompute-bn", NULL,
         "evaluate the average with statistics of its own, from passes over "
         "the training data",
         FLAG_SWITCH, &a->recompute_bn, 0, 0, false},
        {"polyak", NULL, "instead the mean of the parameters after all steps",
         FLAG_SWITCH, &a->polyak, 0, 0, false},
    };
    memcpy(flags + count, more, sizeof more);
    return count + FLAG_COUNT_OF(more);
}

// Looks a flag up that add_around_flags wrote.
static bool is_given(const struct flag *flags, const char *name)
{
    while (strcmp(flags->name, name) != 0)
        flags++;
    return flags->given;
}

static bool read_group(const struct command *command,
                       const struct flag_text *item,
                       struct qn_parameter_group *group, int *status)
{
    qn_error error = {0};
    qn_status result;
    if (strcmp(item->flag, "group") == 0) {
        result = qn_parameter_group_parse(item->text, group, &error);
    } else {
        result = qn_parameter_group_name(group, item->text,
                                         strlen(item->text), &error);
        if (result == QN_OK)
            result = qn_parameter_group_set(group, "frozen", 1, &error);
    }
    if (result == QN_OK)
        return true;
    *status = usage_error(command, "--%s: %s", item->flag, error.text);
    return false;
}

static bool set_groups(struct around *a, const struct command *command,
                       struct qn_fit_params *params, int *status)
{
    if (a->groups.count == 0)
        return true;
    a->parsed = calloc((size_t)a->groups.count, sizeof *a->parsed);
    if (!a->parsed) {
        *status = fail("out of memory");
        return false;
    }
    for (int i = 0; i < a->groups.count; i++)
        if (!read_group(command, &a->groups.items[i], &a->parsed[i], status))
            return false;
    params->groups = a->parsed;
    params->group_count = a->groups.count;
    return true;
}

static void set_average(const struct around *a, const struct flag *flags,
                        struct qn_fit_params *params)
{
    if (is_given(flags, "ema"))
        params->ema = a->ema;
    if (a->ema_corrected)
        params->ema_form = QN_AVERAGE_CORRECTED;
    if (a->recompute_bn)
        params->ema_recompute_bn = true;
    if (a->polyak)
        params->ema_form = QN_AVERAGE_MEAN;
}

bool set_around(struct around *a, const struct command *command,
                const struct flag *flags, struct qn_fit_params *params,
                int *status)
{
    if (a->polyak && a->ema_corrected) {
        *status = usage_error(command, "--polyak and --ema-corrected exclude "
                                       "each other");
        return false;
    }
    if (is_given(flags, "clip-value"))
        params->clip_value = a->clip_value;
    if (is_given(flags, "clip-norm"))
        params->clip_norm = a->clip_norm;
    if (is_given(flags, "clip-global-norm"))
        params->clip_global_norm = a->clip_global_norm;
    if (is_given(flags, "max-norm"))
        params->max_norm = a->max_norm;
    if (a->per_tensor)
        params->max_norm_per_tensor = true;
    if (a->no_decay_bias)
        params->no_decay_bias = true;
    set_average(a, flags, params);
    return set_groups(a, command, params, status);
}

void free_around(struct around *a)
{
    free(a->parsed);
    free(a->groups.items);
}
