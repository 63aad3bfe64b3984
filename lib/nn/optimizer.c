// Optimizers: the table of rules, and the nodes that carry one out. The rules'
// arithmetic is in cl/optim.cl.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "graph/graph.h"
#include "nn/penalty.h"
#include "op/op.h"
#include "op/update.h"
#include "quern/nn.h"
#include "quern/op.h"

_Static_assert((int)QN_MAX_SLOTS <= (int)QN_MAX_UPDATE_SLOTS &&
                   (int)QN_MAX_HYPER <= (int)QN_MAX_UPDATE_CONSTANTS,
               "an update takes what a row may have");

#define WEIGHT_DECAY {"weight_decay", 0, 0, 1e6}

enum { ADAM_BETA1, ADAM_BETA2, ADAM_EPS, ADAM_WEIGHT_DECAY };

// In the order of the kernel's arguments. A beta of 0 has the logarithm -inf,
// which makes its bias correction 1, as it should be.
static void adam_constants(const double *hyper, double *constants)
{
    constants[0] = 1 - hyper[ADAM_BETA1];
    constants[1] = log(hyper[ADAM_BETA1]);
    constants[2] = 1 - hyper[ADAM_BETA2];
    constants[3] = log(hyper[ADAM_BETA2]);
    constants[4] = hyper[ADAM_EPS];
    constants[5] = hyper[ADAM_WEIGHT_DECAY];
}

static const struct qn_optimizer rows[] = {
    {
        .name = "sgd",
        .formula = "g = dx + weight_decay x, x -= lr g",
        .source = "Robbins, Monro: A stochastic approximation method, 1951",
        .kernel = "sgd",
        .hyper_count = 1,
        .hyper = {WEIGHT_DECAY},
        .lr = 0.01,
    },
    {
        .name = "momentum",
        .formula = "g = dx + weight_decay x, v = momentum v + g, x -= lr v",
        .source = "Polyak: Some methods of speeding up the convergence of "
                  "iteration methods, 1964",
        .kernel = "momentum",
        .slot_count = 1,
        .slots = {"momentum_buffer"},
        .hyper_count = 2,
        .hyper = {{"momentum", 0.9, 0, 1}, WEIGHT_DECAY},
        .lr = 0.01,
    },
    {
        .name = "adam",
        .formula = "g = dx + weight_decay x, m = beta1 m + (1 - beta1) g, "
                   "v = beta2 v + (1 - beta2) g^2, "
                   "x -= lr m' / (sqrt(v') + eps), "
                   "m' = m / (1 - beta1^step), v' = v / (1 - beta2^step)",
        .source = "Kingma, Ba: Adam: A method for stochastic optimization, "
                  "ICLR 2015",
        .kernel = "adam",
        .slot_count = 2,
        .slots = {"exp_avg", "exp_avg_sq"},
        .hyper_count = 4,
        .hyper = {[ADAM_BETA1] = {"beta1", 0.9, 0, 1 - 1e-9},
                  [ADAM_BETA2] = {"beta2", 0.999, 0, 1 - 1e-9},
                  [ADAM_EPS] = {"eps", 1e-8, 0, 1e6},
                  [ADAM_WEIGHT_DECAY] = WEIGHT_DECAY},
        .lr = 0.001,
        .constant_count = 6,
        .constants = adam_constants,
    },
};
enum { ROW_COUNT = sizeof rows / sizeof *rows };

const struct qn_optimizer *qn_optimizer_at(int index)
{
    return index >= 0 && index < ROW_COUNT ? &rows[index] : NULL;
}

const struct qn_optimizer *qn_optimizer_find(const char *name)
{
    for (int i = 0; i < ROW_COUNT; i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
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

struct qn_optimizer_params
qn_optimizer_defaults(const struct qn_optimizer *optimizer)
{
    struct qn_optimizer_params params = {.optimizer = optimizer};
    for (int i = 0; i < optimizer->hyper_count; i++)
        params.hyper[i] = optimizer->hyper[i].value;
    return params;
}

// ---- the nodes ----

static qn_status check_hyper(qn_graph *g,
                             const struct qn_optimizer_params *params)
{
    const struct qn_optimizer *row = params->optimizer;
    for (int i = 0; i < row->hyper_count; i++)
        if (!(params->hyper[i] >= row->hyper[i].minimum &&
              params->hyper[i] <= row->hyper[i].maximum))
            return qn_graph_fail(
                g, QN_BAD_ARGUMENT,
                "%s: %s is %.12g and must be between %.12g and %.12g",
                row->name, row->hyper[i].name, params->hyper[i],
                row->hyper[i].minimum, row->hyper[i].maximum);
    return QN_OK;
}

// A variable for each parameter in the slot's group, and the group.
static qn_node *add_slot(qn_graph *g, const char *slot,
                         qn_node *const *parameters, int count)
{
    char group[64];
    snprintf(group, sizeof group, "optimizer.%s", slot);
    for (int i = 0; i < count; i++)
        qn_variable(g, group, parameters[i]->name, parameters[i]->dtype,
                    parameters[i]->shape);
    return qn_group(g, group);
}

static struct qn_update_params
make_update(const struct qn_optimizer_params *params)
{
    const struct qn_optimizer *row = params->optimizer;
    struct qn_update_params update = {.kernel = row->kernel};
    if (row->constants) {
        update.constant_count = row->constant_count;
        row->constants(params->hyper, update.constants);
    } else {
        update.constant_count = row->hyper_count;
        memcpy(update.constants, params->hyper,
               (size_t)row->hyper_count * sizeof *params->hyper);
    }
    return update;
}

qn_status qn_optimizer_build(qn_graph *g, qn_node *loss,
                             const struct qn_optimizer_params *params)
{
    QN_TRY(qn_graph_check(g, NULL));
    QN_TRY(check_hyper(g, params));
    int count = qn_group_members(g, "parameters", NULL, 0);
    if (count == 0)
        return qn_graph_fail(g, QN_BAD_ARGUMENT,
                             "%s: the graph has no parameters",
                             params->optimizer->name);
    size_t size = (size_t)count * sizeof(qn_node *);
    qn_node **parameters = qn_arena_alloc(&g->arena, size);
    qn_node **gradients = qn_arena_alloc(&g->arena, size);
    if (!parameters || !gradients)
        return qn_graph_fail(g, QN_NO_MEMORY, "no memory for %d gradients",
                             count);
    qn_group_members(g, "parameters", parameters, count);
    QN_TRY(qn_gradients(g, loss, parameters, count, gradients));
    qn_node *slots[QN_MAX_SLOTS];
    for (int i = 0; i < params->optimizer->slot_count; i++)
        slots[i] =
            add_slot(g, params->optimizer->slots[i], parameters, count);
    struct qn_update_params update = make_update(params);
    qn_update(g, qn_pack(g, gradients, count), params->lr, params->step,
              qn_penalty_table(g, params->penalties),
              qn_group(g, "parameters"), slots,
              params->optimizer->slot_count, &update);
    return qn_graph_check(g, NULL);
}
