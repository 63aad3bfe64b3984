// Optimizers: finding rows and settings of the table, and checking them.
#include <math.h>
#include <string.h>

#include "base/status.h"
#include "quern/optim.h"

// ---- finding them ----

const struct qn_optimizer *qn_optimizer_find(const char *name)
{
    for (int i = 0; qn_optimizer_at(i); i++)
        if (strcmp(qn_optimizer_at(i)->name, name) == 0)
            return qn_optimizer_at(i);
    return NULL;
}

int qn_optimizer_hyper_find(const struct qn_optimizer *optimizer,
                            const char *name)
{
    for (int i = 0; i < optimizer->hyper_count; i++)
        if (strcmp(optimizer->hyper[i].name, name) == 0)
            return i;
    return -1;
}

int qn_optimizer_momentum(const struct qn_optimizer *optimizer)
{
    const int i = qn_optimizer_hyper_find(optimizer, "momentum");
    return i >= 0 ? i : qn_optimizer_hyper_find(optimizer, "beta1");
}

bool qn_optimizer_has_slot(const struct qn_optimizer *optimizer,
                           const double *hyper, int slot)
{
    const char *need = optimizer->slot_needs[slot];
    return !need || hyper[qn_optimizer_hyper_find(optimizer, need)] != 0;
}

// ---- checking ----

static qn_status check_value(const struct qn_optimizer *row, int i,
                             double value, qn_error *error)
{
    const double least = row->hyper[i].minimum, most = row->hyper[i].maximum;
    if (row->hyper[i].is_switch && value != 0 && value != 1)
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "optimizer %s: %s is %.12g and must be 0 or 1",
                       row->name, row->hyper[i].name, value);
    if (!(value >= least && value <= most))
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "optimizer %s: %s is %.12g and must be from %.12g to "
                       "%.12g", row->name, row->hyper[i].name, value, least,
                       most);
    return QN_OK;
}

qn_status qn_optimizer_check(const struct qn_optimizer *optimizer,
                             const double *hyper, qn_error *error)
{
    for (int i = 0; i < optimizer->hyper_count; i++)
        QN_TRY(check_value(optimizer, i, hyper[i], error));
    const char *conflict =
        optimizer->conflict ? optimizer->conflict(hyper) : NULL;
    if (conflict)
        return qn_fail(error, QN_BAD_ARGUMENT, "optimizer %s: %s",
                       optimizer->name, conflict);
    return QN_OK;
}

// ---- defaults ----

struct qn_parameter_options qn_parameter_options_defaults(void)
{
    return (struct qn_parameter_options){
        .lr_scale = 1, .weight_decay = (double)NAN, .unit_groups = 1,
        .has_trust = true};
}

struct qn_optimizer_params
qn_optimizer_defaults(const struct qn_optimizer *optimizer)
{
    struct qn_optimizer_params params = {.optimizer = optimizer};
    for (int i = 0; i < optimizer->hyper_count; i++)
        params.hyper[i] = optimizer->hyper[i].value;
    return params;
}

struct qn_optimizer_step
qn_optimizer_start(const struct qn_optimizer *optimizer)
{
    return (struct qn_optimizer_step){.lr = optimizer->lr,
                                      .momentum = (double)NAN};
}
