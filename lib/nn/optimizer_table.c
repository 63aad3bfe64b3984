// The table of update rules, and the numbers of each step that are the same
// for all parameters, worked out here in double precision. The arithmetic on
// the parameters is in cl/optim.cl.
#include <math.h>

#include "quern/optim.h"

// Where nothing is divided by eps, 0 would do; everywhere else the padding, and
// parameters whose gradients are 0, would become 0 / 0.
#define LEAST_EPS 1e-30
// A weight of 1 for the past would never let go of the start.
#define MOST_WEIGHT (1 - 1e-9)

#define WEIGHT_DECAY(value) {"weight_decay", value, 0, 1e6, NULL, false}
#define EPS(value) {"eps", value, LEAST_EPS, 1e6, NULL, false}
#define WEIGHT(name, value) {name, value, 0, MOST_WEIGHT, NULL, false}
#define SWITCH(name, value, define) {name, value, 0, 1, define, true}

// 1 - weight^step, with all its digits where it is small.
static double correction(double weight, int64_t step)
{
    return -expm1((double)step * log(weight));
}

// ---- momentum ----

enum { MOMENTUM, MOMENTUM_DECAY, DAMPENING, HEAVY_BALL };
enum { LOOKAHEAD = 2 }; // of nesterov

// The first velocity is the whole gradient.
static void momentum_constants(const double *hyper,
                               struct qn_optimizer_step *at,
                               double *constants)
{
    constants[0] = hyper[MOMENTUM];
    constants[1] = at->step == 1 ? 1 : 1 - hyper[DAMPENING];
}

static const char *momentum_conflict(const double *hyper)
{
    return hyper[HEAVY_BALL] != 0 && hyper[DAMPENING] != 0
               ? "heavy_ball and dampening do not go together; set one to 0"
               : NULL;
}

static void nesterov_constants(const double *hyper,
                               struct qn_optimizer_step *at,
                               double *constants)
{
    (void)at;
    constants[0] = hyper[MOMENTUM];
}

// ---- scaled by past gradients ----

enum {
    ADAGRAD_EPS,
    ADAGRAD_WEIGHT_DECAY,
    ADAGRAD_LR_DECAY,
    ADAGRAD_START,
    ADAGRAD_EPS_INSIDE
};

static void adagrad_constants(const double *hyper,
                              struct qn_optimizer_step *at, double *constants)
{
    const double done = (double)(at->step - 1);
    constants[0] = at->lr / (1 + done * hyper[ADAGRAD_LR_DECAY]);
    constants[1] = at->step == 1 ? hyper[ADAGRAD_START] : 0;
    constants[2] = hyper[ADAGRAD_EPS];
}

enum { ADADELTA_RHO, ADADELTA_EPS, ADADELTA_WEIGHT_DECAY };

static void adadelta_constants(const double *hyper,
                               struct qn_optimizer_step *at,
                               double *constants)
{
    (void)at;
    constants[0] = 1 - hyper[ADADELTA_RHO];
    constants[1] = hyper[ADADELTA_EPS];
}

enum {
    RMSPROP_ALPHA,
    RMSPROP_EPS,
    RMSPROP_WEIGHT_DECAY,
    RMSPROP_MOMENTUM,
    RMSPROP_CENTERED,
    RMSPROP_EPS_INSIDE
};

static void rmsprop_constants(const double *hyper,
                              struct qn_optimizer_step *at, double *constants)
{
    (void)at;
    constants[0] = 1 - hyper[RMSPROP_ALPHA];
    constants[1] = hyper[RMSPROP_EPS];
    constants[2] = hyper[RMSPROP_MOMENTUM];
}

// ---- Adam and its kin ----

enum { BETA1, BETA2, ADAM_EPS, ADAM_WEIGHT_DECAY, EPS_INSIDE, CORRECTION };

#define BETAS [BETA1] = WEIGHT("beta1", 0.9), [BETA2] = WEIGHT("beta2", 0.999)
#define ADAM_HYPER(decay)                                                 \
    {                                                                     \
        BETAS, [ADAM_EPS] = EPS(1e-8),                                    \
        [ADAM_WEIGHT_DECAY] = WEIGHT_DECAY(decay),                        \
        [EPS_INSIDE] = SWITCH("eps_inside", 0, "EPS_INSIDE"),             \
        [CORRECTION] = SWITCH("bias_correction", 1, NULL)                 \
    }
#define ADAM_STEP \
    "x -= lr m' / (sqrt(v') + eps), m' = m / (1 - beta1^step), "
#define MOMENTS "m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2, "

// The rest of each weight, since 1 - beta would lose its digits in float.
static void add_rests(const double *hyper, double *constants)
{
    constants[0] = 1 - hyper[BETA1];
    constants[1] = 1 - hyper[BETA2];
}

// Rate, and scale and eps of the root.
static void adam_constants(const double *hyper, struct qn_optimizer_step *at,
                           double *constants)
{
    double first = 1, second = 1;
    if (hyper[CORRECTION] != 0) {
        first = correction(hyper[BETA1], at->step);
        second = correction(hyper[BETA2], at->step);
    }
    constants[0] = at->lr / first;
    constants[1] = 1 / (hyper[EPS_INSIDE] != 0 ? second : sqrt(second));
    constants[2] = hyper[ADAM_EPS];
    add_rests(hyper, constants + 3);
}

static void adamax_constants(const double *hyper,
                             struct qn_optimizer_step *at, double *constants)
{
    constants[0] = at->lr / correction(hyper[BETA1], at->step);
    constants[1] = hyper[ADAM_EPS];
    constants[2] = 1 - hyper[BETA1];
    constants[3] = hyper[BETA2];
}

enum { NADAM_MOMENTUM_DECAY = ADAM_WEIGHT_DECAY + 1 };

// memory[0] is the product of all mu so far.
static void nadam_constants(const double *hyper, struct qn_optimizer_step *at,
                            double *constants)
{
    const double decay = log(0.96) * hyper[NADAM_MOMENTUM_DECAY];
    const double step = (double)at->step;
    const double mu = hyper[BETA1] * (1 - 0.5 * exp(step * decay));
    const double next = hyper[BETA1] * (1 - 0.5 * exp((step + 1) * decay));
    if (at->step == 1)
        at->memory[0] = 1;
    const double product = at->memory[0] *= mu;
    constants[0] = at->lr * next / (1 - product * next);
    constants[1] = at->lr * (1 - mu) / (1 - product);
    constants[2] = 1 / sqrt(correction(hyper[BETA2], at->step));
    constants[3] = hyper[ADAM_EPS];
    add_rests(hyper, constants + 4);
}

// Adam's kernel: its root becomes 1 in the steps that are not rectified.
static void radam_constants(const double *hyper, struct qn_optimizer_step *at,
                            double *constants)
{
    const double first = correction(hyper[BETA1], at->step);
    const double second = correction(hyper[BETA2], at->step);
    const double step = (double)at->step, most = 2 / (1 - hyper[BETA2]) - 1;
    const double length = most - 2 * step * (1 - second) / second;
    constants[0] = at->lr / first;
    constants[1] = 0;
    constants[2] = 1;
    if (length > 5) {
        constants[0] *= sqrt((length - 4) * (length - 2) * most /
                             ((most - 4) * (most - 2) * length) * second);
        constants[1] = 1;
        constants[2] = hyper[ADAM_EPS];
    }
    add_rests(hyper, constants + 3);
}

enum { LION_WEIGHT_DECAY = BETA2 + 1 };

static void lion_constants(const double *hyper, struct qn_optimizer_step *at,
                           double *constants)
{
    (void)at;
    add_rests(hyper, constants);
}

// ---- a rate for each tensor ----

enum { LARS_MOMENTUM, LARS_TRUST, LARS_EPS, LARS_WEIGHT_DECAY };

static void lars_constants(const double *hyper, struct qn_optimizer_step *at,
                           double *constants)
{
    (void)at;
    constants[0] = hyper[LARS_MOMENTUM];
    constants[1] = hyper[LARS_TRUST];
    constants[2] = hyper[LARS_EPS];
}

enum { LAMB_CORRECTION = ADAM_WEIGHT_DECAY + 1 };

// The rate comes with the trust ratio, in the second launch.
static void lamb_constants(const double *hyper, struct qn_optimizer_step *at,
                           double *constants)
{
    double first = 1, second = 1;
    if (hyper[LAMB_CORRECTION] != 0) {
        first = correction(hyper[BETA1], at->step);
        second = correction(hyper[BETA2], at->step);
    }
    constants[0] = 1 / first;
    constants[1] = 1 / sqrt(second);
    constants[2] = hyper[ADAM_EPS];
    add_rests(hyper, constants + 3);
}

// ---- rows ----

static const struct qn_optimizer rows[] = {
    {
        .name = "sgd",
        .formula = "g = dx + weight_decay x, x -= lr g",
        .source = "Robbins, Monro: A stochastic approximation method, Annals "
                  "of Mathematical Statistics 1951",
        .kernel = "sgd",
        .hyper_count = 1,
        .hyper = {WEIGHT_DECAY(0)},
        .lr = 0.2,
    },
    {
        .name = "momentum",
        .formula = "g = dx + weight_decay x, v = momentum v + "
                   "(1 - dampening) g, first v = g, x -= lr v; "
                   "heavy_ball: v = momentum v + lr g, x -= v",
        .source = "Polyak: Some methods of speeding up the convergence of "
                  "iteration methods, USSR Computational Mathematics 1964",
        .kernel = "momentum",
        .slot_count = 1,
        .slots = {"momentum_buffer"},
        .hyper_count = 4,
        .hyper = {[MOMENTUM] = {"momentum", 0.9, 0, 1},
                  [MOMENTUM_DECAY] = WEIGHT_DECAY(0),
                  [DAMPENING] = {"dampening", 0, 0, 1},
                  [HEAVY_BALL] = SWITCH("heavy_ball", 0, "HEAVY_BALL")},
        .lr = 0.03,
        .constant_count = 2,
        .constants = momentum_constants,
        .conflict = momentum_conflict,
    },
    {
        .name = "nesterov",
        .formula = "g = dx + weight_decay x, v = momentum v + g, "
                   "x -= lr (g + momentum v); lookahead: g at y = x - "
                   "momentum v, v = momentum v + lr g, x -= v",
        .source = "Sutskever, Martens, Dahl, Hinton: On the importance of "
                  "initialization and momentum in deep learning, ICML 2013, "
                  "after Nesterov 1983",
        .kernel = "nesterov",
        .slot_count = 1,
        .slots = {"momentum_buffer"},
        .hyper_count = 3,
        .hyper = {[MOMENTUM] = {"momentum", 0.9, 0, 1},
                  [MOMENTUM_DECAY] = WEIGHT_DECAY(0),
                  [LOOKAHEAD] = SWITCH("lookahead", 0, "LOOKAHEAD")},
        .lr = 0.03,
        .constant_count = 1,
        .constants = nesterov_constants,
    },
    {
        .name = "adagrad",
        .formula = "g = dx + weight_decay x, s += g^2, x -= lr / "
                   "(1 + (step - 1) lr_decay) g / (sqrt(s) + eps), "
                   "first s = initial_accumulator_value; "
                   "eps_inside: sqrt(s + eps)",
        .source = "Duchi, Hazan, Singer: Adaptive subgradient methods for "
                  "online learning and stochastic optimization, JMLR 2011",
        .kernel = "adagrad",
        .slot_count = 1,
        .slots = {"sum"},
        .hyper_count = 5,
        .hyper = {[ADAGRAD_EPS] = EPS(1e-10),
                  [ADAGRAD_WEIGHT_DECAY] = WEIGHT_DECAY(0),
                  [ADAGRAD_LR_DECAY] = {"lr_decay", 0, 0, 1e6},
                  [ADAGRAD_START] = {"initial_accumulator_value", 0, 0, 1e6},
                  [ADAGRAD_EPS_INSIDE] =
                      SWITCH("eps_inside", 0, "EPS_INSIDE")},
        .lr = 0.01,
        .constant_count = 3,
        .constants = adagrad_constants,
    },
    {
        .name = "adadelta",
        .formula = "g = dx + weight_decay x, s = rho s + (1 - rho) g^2, "
                   "d = sqrt(u + eps) / sqrt(s + eps) g, "
                   "u = rho u + (1 - rho) d^2, x -= lr d",
        .source = "Zeiler: ADADELTA: An adaptive learning rate method, "
                  "arXiv 2012",
        .kernel = "adadelta",
        .slot_count = 2,
        .slots = {"square_avg", "acc_delta"},
        .hyper_count = 3,
        .hyper = {[ADADELTA_RHO] = WEIGHT("rho", 0.9),
                  [ADADELTA_EPS] = EPS(1e-6),
                  [ADADELTA_WEIGHT_DECAY] = WEIGHT_DECAY(0)},
        .lr = 1,
        .constant_count = 2,
        .constants = adadelta_constants,
    },
    {
        .name = "rmsprop",
        .formula = "g = dx + weight_decay x, s = alpha s + (1 - alpha) g^2, "
                   "d = g / (sqrt(s) + eps), x -= lr d; eps_inside: "
                   "sqrt(s + eps); centered: a = alpha a + (1 - alpha) g, "
                   "s - a^2 for s; momentum: b = momentum b + d, x -= lr b",
        .source = "Tieleman, Hinton: Neural networks for machine learning, "
                  "lecture 6.5, Coursera 2012; centered: Graves: Generating "
                  "sequences with recurrent neural networks, arXiv 2013",
        .kernel = "rmsprop",
        .slot_count = 3,
        .slots = {"square_avg", "momentum_buffer", "grad_avg"},
        .slot_needs = {NULL, "momentum", "centered"},
        .hyper_count = 6,
        .hyper = {[RMSPROP_ALPHA] = WEIGHT("alpha", 0.99),
                  [RMSPROP_EPS] = EPS(1e-8),
                  [RMSPROP_WEIGHT_DECAY] = WEIGHT_DECAY(0),
                  [RMSPROP_MOMENTUM] = {"momentum", 0, 0, 1, "MOMENTUM"},
                  [RMSPROP_CENTERED] = SWITCH("centered", 0, "CENTERED"),
                  [RMSPROP_EPS_INSIDE] =
                      SWITCH("eps_inside", 0, "EPS_INSIDE")},
        .lr = 0.001,
        .constant_count = 3,
        .constants = rmsprop_constants,
    },
    {
        .name = "adam",
        .formula = "g = dx + weight_decay x, " MOMENTS ADAM_STEP
                   "v' = v / (1 - beta2^step); eps_inside: sqrt(v' + eps)",
        .source = "Kingma, Ba: Adam: A method for stochastic optimization, "
                  "ICLR 2015",
        .kernel = "adam",
        .slot_count = 2,
        .slots = {"exp_avg", "exp_avg_sq"},
        .hyper_count = 6,
        .hyper = ADAM_HYPER(0),
        .lr = 0.001,
        .constant_count = 5,
        .constants = adam_constants,
    },
    {
        .name = "amsgrad",
        .formula = "g = dx + weight_decay x, " MOMENTS
                   "w = max(w, v), " ADAM_STEP
                   "v' = w / (1 - beta2^step); eps_inside: sqrt(v' + eps)",
        .source = "Reddi, Kale, Kumar: On the convergence of Adam and beyond, "
                  "ICLR 2018",
        .kernel = "amsgrad",
        .slot_count = 3,
        .slots = {"exp_avg", "exp_avg_sq", "max_exp_avg_sq"},
        .hyper_count = 6,
        .hyper = ADAM_HYPER(0),
        .lr = 0.001,
        .constant_count = 5,
        .constants = adam_constants,
    },
    {
        .name = "adamax",
        .formula = "g = dx + weight_decay x, m = beta1 m + (1 - beta1) g, "
                   "u = max(beta2 u, |g| + eps), "
                   "x -= lr / (1 - beta1^step) m / u",
        .source = "Kingma, Ba: Adam: A method for stochastic optimization, "
                  "ICLR 2015, section 7.1",
        .kernel = "adamax",
        .slot_count = 2,
        .slots = {"exp_avg", "exp_inf"},
        .hyper_count = 4,
        .hyper = {BETAS, [ADAM_EPS] = EPS(1e-8),
                  [ADAM_WEIGHT_DECAY] = WEIGHT_DECAY(0)},
        .lr = 0.002,
        .constant_count = 4,
        .constants = adamax_constants,
    },
    {
        .name = "nadam",
        .formula = "g = dx + weight_decay x, " MOMENTS
                   "mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2), "
                   "P_t = mu_1 ... mu_t, "
                   "m' = mu_t+1 m / (1 - P_t+1) + (1 - mu_t) g / (1 - P_t), "
                   "x -= lr m' / (sqrt(v / (1 - beta2^t)) + eps), t = step",
        .source = "Dozat: Incorporating Nesterov momentum into Adam, ICLR "
                  "Workshop 2016",
        .kernel = "nadam",
        .slot_count = 2,
        .slots = {"exp_avg", "exp_avg_sq"},
        .hyper_count = 5,
        .hyper = {BETAS, [ADAM_EPS] = EPS(1e-8),
                  [ADAM_WEIGHT_DECAY] = WEIGHT_DECAY(0),
                  [NADAM_MOMENTUM_DECAY] = {"momentum_decay", 4e-3, 0, 1e6}},
        .lr = 0.002,
        .constant_count = 6,
        .constants = nadam_constants,
    },
    {
        .name = "radam",
        .formula = "g = dx + weight_decay x, " MOMENTS
                   "m' = m / (1 - beta1^step), "
                   "R = 2 / (1 - beta2) - 1, "
                   "r = R - 2 step beta2^step / (1 - beta2^step), x -= "
                   "lr m' (r > 5 ? sqrt((r - 4) (r - 2) R / ((R - 4) (R - 2) "
                   "r) (1 - beta2^step)) / (sqrt(v) + eps) : 1)",
        .source = "Liu, Jiang, He, Chen, Liu, Gao, Han: On the variance of "
                  "the adaptive learning rate and beyond, ICLR 2020",
        .kernel = "adam",
        .slot_count = 2,
        .slots = {"exp_avg", "exp_avg_sq"},
        .hyper_count = 4,
        .hyper = {BETAS, [ADAM_EPS] = EPS(1e-8),
                  [ADAM_WEIGHT_DECAY] = WEIGHT_DECAY(0)},
        .lr = 0.001,
        .constant_count = 5,
        .constants = radam_constants,
    },
    {
        .name = "adamw",
        .formula = "g = dx, " MOMENTS "x -= lr weight_decay x, " ADAM_STEP
                   "v' = v / (1 - beta2^step); eps_inside: sqrt(v' + eps)",
        .source = "Loshchilov, Hutter: Decoupled weight decay "
                  "regularization, ICLR 2019",
        .kernel = "adam",
        .slot_count = 2,
        .slots = {"exp_avg", "exp_avg_sq"},
        .hyper_count = 6,
        .hyper = ADAM_HYPER(0.01),
        .lr = 0.001,
        .is_decoupled = true,
        .constant_count = 5,
        .constants = adam_constants,
    },
    {
        .name = "lion",
        .formula = "g = dx, x -= lr (sign(beta1 m + (1 - beta1) g) + "
                   "weight_decay x), m = beta2 m + (1 - beta2) g",
        .source = "Chen, Liang, Huang et al.: Symbolic discovery of "
                  "optimization algorithms, NeurIPS 2023",
        .kernel = "lion",
        .slot_count = 1,
        .slots = {"exp_avg"},
        .hyper_count = 3,
        .hyper = {[BETA1] = WEIGHT("beta1", 0.9),
                  [BETA2] = WEIGHT("beta2", 0.99),
                  [LION_WEIGHT_DECAY] = WEIGHT_DECAY(0)},
        .lr = 1e-4,
        .is_decoupled = true,
        .constant_count = 2,
        .constants = lion_constants,
    },
    {
        .name = "lars",
        .formula = "for each tensor r = trust_coefficient |x| / (|dx| + "
                   "weight_decay |x| + eps), 1 where |x| or |dx| is 0, "
                   "v = momentum v + lr r (dx + weight_decay x), x -= v",
        .source = "You, Gitman, Ginsburg: Large batch training of "
                  "convolutional networks, arXiv 2017",
        .kernel = "lars",
        .slot_count = 1,
        .slots = {"momentum_buffer"},
        .hyper_count = 4,
        .hyper = {[LARS_MOMENTUM] = {"momentum", 0.9, 0, 1},
                  [LARS_TRUST] = {"trust_coefficient", 0.001, 0, 1e6},
                  [LARS_EPS] = {"eps", 1e-8, 0, 1e6},
                  [LARS_WEIGHT_DECAY] = WEIGHT_DECAY(0)},
        .lr = 3,
        .wants_norms = true,
        .has_trust = true,
        .constant_count = 3,
        .constants = lars_constants,
    },
    {
        .name = "lamb",
        .formula = "g = dx, " MOMENTS
                   "d = m' / (sqrt(v') + eps) + weight_decay x, "
                   "m' = m / (1 - beta1^step), v' = v / (1 - beta2^step), "
                   "for each tensor r = |x| / |d|, 1 where one of them is 0, "
                   "x -= lr r d",
        .source = "You, Li, Reddi et al.: Large batch optimization for deep "
                  "learning: Training BERT in 76 minutes, ICLR 2020",
        .kernel = "lamb",
        .last_kernel = "lamb_apply",
        .slot_count = 2,
        .slots = {"exp_avg", "exp_avg_sq"},
        .hyper_count = 5,
        .hyper = {BETAS, [ADAM_EPS] = EPS(1e-6),
                  [ADAM_WEIGHT_DECAY] = WEIGHT_DECAY(0.01),
                  [LAMB_CORRECTION] = SWITCH("bias_correction", 1, NULL)},
        .lr = 0.003,
        .is_decoupled = true,
        .has_trust = true,
        .constant_count = 5,
        .constants = lamb_constants,
    },
};

const struct qn_optimizer *qn_optimizer_at(int index)
{
    const int count = (int)(sizeof rows / sizeof *rows);
    return index >= 0 && index < count ? &rows[index] : NULL;
}
