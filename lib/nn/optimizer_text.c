// An optimizer as text: "adam:beta1=0.8,eps=1e-7".
#include <stdio.h>

#include "nn/pairs.h"
#include "quern/minimize.h"
#include "quern/optim.h"

enum { MAX_NAMES = 32 };

static qn_status unknown_optimizer(const char *name, qn_error *error)
{
    const char *names[MAX_NAMES];
    int count = 0;
    for (; count < MAX_NAMES && qn_optimizer_at(count); count++)
        names[count] = qn_optimizer_at(count)->name;
    for (int i = 0; count < MAX_NAMES && qn_minimizer_row_at(i); i++)
        names[count++] = qn_minimizer_row_at(i)->name;
    const char *nearest = qn_text_nearest(name, names, count);
    return qn_fail(error, QN_BAD_ARGUMENT, "unknown optimizer %.60s%s%s%s",
                   name, nearest ? "; did you mean " : "",
                   nearest ? nearest : "",
                   nearest ? "?" : " (quern list optimizers shows all)");
}

qn_status qn_optimizer_set_hyper(struct qn_optimizer_params *params,
                                 const char *name, double value,
                                 qn_error *error)
{
    QN_REQUIRE(error, params && params->optimizer && name);
    const struct qn_optimizer *row = params->optimizer;
    const int i = qn_optimizer_hyper_find(row, name);
    if (i >= 0) {
        params->hyper[i] = value;
        return QN_OK;
    }
    const char *names[QN_MAX_HYPER];
    char known[256];
    for (int k = 0; k < row->hyper_count; k++)
        names[k] = row->hyper[k].name;
    qn_pairs_list(names, row->hyper_count, known, sizeof known);
    return qn_fail(error, QN_BAD_ARGUMENT,
                   "optimizer %s has no %.60s; it has %s", row->name, name,
                   known);
}

static qn_status set_number(void *user, const char *key, double value,
                            qn_error *error)
{
    return qn_optimizer_set_hyper(user, key, value, error);
}

qn_status qn_optimizer_parse(const char *text,
                             struct qn_optimizer_params *params,
                             qn_error *error)
{
    char name[QN_PAIRS_NAME], what[QN_PAIRS_NAME + 16];
    QN_REQUIRE(error, text && params);
    const char *pairs = qn_pairs_name(text, name);
    const struct qn_optimizer *row = qn_optimizer_find(name);
    if (!row)
        return unknown_optimizer(name, error);
    *params = qn_optimizer_defaults(row);
    snprintf(what, sizeof what, "optimizer %s", row->name);
    return qn_pairs_read_numbers(pairs, what, "NAME=NUMBER", set_number,
                                 params, error);
}
