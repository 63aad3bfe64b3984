// Optimizers: the table of rules. Their arithmetic is in cl/optim.cl, but for
// the numbers that are the same for all parameters, which are worked out here.
#include "quern/optim.h"

#include <math.h>
#include <string.h>

#define WEIGHT_DECAY {"weight_decay", 0, 0, 1e6}

// ---- constants of a step, in the order of the kernels' arguments ----

static void momentum_constants(const double *hyper,
                               struct qn_optimizer_step *at,
                               double *constants)
{
    (void)at;
    constants[0] = hyper[0];
}

enum { ADAM_BETA1, ADAM_BETA2, ADAM_EPS, ADAM_WEIGHT_DECAY };

static void adam_constants(const double *hyper, struct qn_optimizer_step *at,
                           double *constants)
{
    const double step = (double)at->step;
    constants[0] = -at->lr / expm1(step * log(hyper[ADAM_BETA1]));
    constants[1] = 1 / sqrt(-expm1(step * log(hyper[ADAM_BETA2])));
    constants[2] = hyper[ADAM_EPS];
    constants[3] = 1 - hyper[ADAM_BETA1];
    constants[4] = 1 - hyper[ADAM_BETA2];
}

// ---- rows ----

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
        .constant_count = 1,
        .constants = momentum_constants,
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
        .constant_count = 5,
        .constants = adam_constants,
    },
};
enum { ROW_COUNT = sizeof rows / sizeof *rows };

// ---- finding them ----

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

int qn_optimizer_momentum(const struct qn_optimizer *optimizer)
{
    const int i = qn_optimizer_hyper_find(optimizer, "momentum");
    return i >= 0 ? i : qn_optimizer_hyper_find(optimizer, "beta1");
}

struct qn_parameter_options qn_parameter_options_defaults(void)
{
    return (struct qn_parameter_options){
        .lr_scale = 1, .weight_decay = (double)NAN, .unit_groups = 1};
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
