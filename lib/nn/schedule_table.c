// The table of schedules: keys and curves.
#include <math.h>

#include "base/status.h"
#include "nn/schedule.h"

#define NAN_VALUE ((double)NAN)
#define PI 3.14159265358979323846
enum { IN_STEPS, IN_EPOCHS };
#define UNIT(word) \
    {"unit", "choice", "what t counts", 0, 1, word, "step|epoch"}
#define SMOOTH(on)                                                        \
    {"smooth", "switch", "epochs count in fractions, not as whole ones",  \
     0, 1, on, NULL}
#define LENGTH                                                            \
    {"length", "number", "of the curve [the run's]", 1e-6, 1e15,          \
     NAN_VALUE, NULL}
#define NUMBER(name, low, high, value, meaning) \
    {name, "number", meaning, low, high, value, NULL}
#define SWITCH(name, value, meaning) \
    {name, "switch", meaning, 0, 1, value, NULL}
#define LIST(name, high, meaning) \
    {name, "list", meaning, 0, high, NAN_VALUE, NULL}

typedef const struct qn_schedule_params params_t;
typedef const struct qn_schedule_curve curve_t;

static double or_else(double value, double otherwise)
{
    return isnan(value) ? otherwise : value;
}

// How much of `length` is over, from 0 to 1.
static double share(double t, double length)
{
    return t <= 0 ? 0 : t >= length ? 1 : t / length;
}

// ---- steps ----

static double constant(params_t *p, curve_t *at)
{
    (void)p;
    return at->base;
}

// How many points lie at t or before.
static int points_behind(params_t *p, double t)
{
    int count = 0;
    while (count < p->list_counts[0] && p->lists[0][count] <= t)
        count++;
    return count;
}

static double piecewise(params_t *p, curve_t *at)
{
    return at->base * p->lists[1][points_behind(p, at->t)];
}

static qn_status check_rising(params_t *p, const char *name, qn_error *error)
{
    for (int i = 1; i < p->list_counts[0]; i++)
        if (!(p->lists[0][i] > p->lists[0][i - 1]))
            return qn_fail(error, QN_BAD_ARGUMENT,
                           "schedule %s: %s must rise, but %.12g follows "
                           "%.12g", p->schedule->name, name, p->lists[0][i],
                           p->lists[0][i - 1]);
    return QN_OK;
}

static qn_status check_piecewise(params_t *p, qn_error *error)
{
    if (p->list_counts[1] != p->list_counts[0] + 1)
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "schedule piecewise: factor has %d numbers and needs "
                       "%d, one more than at, since the first one is for "
                       "what comes before", p->list_counts[1],
                       p->list_counts[0] + 1);
    return check_rising(p, "at", error);
}

enum { STEP_SIZE, STEP_GAMMA };

static double step(params_t *p, curve_t *at)
{
    return at->base * pow(p->values[STEP_GAMMA],
                          floor(at->t / p->values[STEP_SIZE]));
}

enum { MILESTONES, MULTISTEP_GAMMA };

static double multistep(params_t *p, curve_t *at)
{
    return at->base *
           pow(p->values[MULTISTEP_GAMMA], points_behind(p, at->t));
}

static qn_status check_multistep(params_t *p, qn_error *error)
{
    return check_rising(p, "milestones", error);
}

// ---- decay ----

enum { DECAY_FIRST, DECAY_SECOND };

static double exponential(params_t *p, curve_t *at)
{
    return at->base * exp(-p->values[DECAY_FIRST] * at->t);
}

static double exponential10(params_t *p, curve_t *at)
{
    double r = or_else(p->values[DECAY_FIRST], at->length);
    return at->t > 0 ? at->base * pow(10, -at->t / r) : at->base;
}

static double inverse_time(params_t *p, curve_t *at)
{
    return at->base / (1 + p->values[DECAY_FIRST] * at->t);
}

static double power(params_t *p, curve_t *at)
{
    return at->base * pow(1 + at->t / p->values[DECAY_FIRST],
                          -p->values[DECAY_SECOND]);
}

// Counts its steps from 1, as the paper does.
static double inverse_sqrt(params_t *p, curve_t *at)
{
    double warm = p->values[DECAY_FIRST], t = at->t + at->tick;
    return at->base * (t < warm ? t / warm : sqrt(warm / t));
}

enum { CURVE_LENGTH, CURVE_END, CURVE_POWER };

static double polynomial(params_t *p, curve_t *at)
{
    double end = p->values[CURVE_END];
    double done =
        share(at->t, or_else(p->values[CURVE_LENGTH], at->length));
    return end + (at->base - end) * pow(1 - done, p->values[CURVE_POWER]);
}

// From `from` to `to` along half a wave.
static double wave(double from, double to, double done)
{
    return to + (from - to) / 2 * (1 + cos(PI * done));
}

static double cosine(params_t *p, curve_t *at)
{
    double length = or_else(p->values[CURVE_LENGTH], at->length);
    return wave(at->base, p->values[CURVE_END], share(at->t, length));
}

// ---- cycles ----

enum { RESTART_T_0, RESTART_T_MULT, RESTART_ETA_MIN };

static double cosine_restarts(params_t *p, curve_t *at)
{
    double length = p->values[RESTART_T_0], t = at->t;
    if (p->values[RESTART_T_MULT] == 1)
        t = fmod(t, length);
    while (t >= length) {
        t -= length;
        length *= p->values[RESTART_T_MULT];
    }
    return wave(at->base, p->values[RESTART_ETA_MIN], t / length);
}

enum {
    ONE_LENGTH,
    ONE_MAX_LR,
    ONE_PCT_START,
    ONE_DIV,
    ONE_FINAL_DIV,
    ONE_THREE,
    ONE_ANNEAL,
    ONE_CYCLE_MOMENTUM,
    ONE_BASE_MOMENTUM,
    ONE_MAX_MOMENTUM,
};

// Between the ends of the phases, as PyTorch has them: `points` are the values
// at the start and at each phase's end.
static double one_cycle_between(params_t *p, curve_t *at,
                                const double *points)
{
    double length = or_else(p->values[ONE_LENGTH], at->length);
    double rise = p->values[ONE_PCT_START] * length;
    double ends[3] = {rise - at->tick, length - at->tick, 0}, start = 0;
    int phases = 2, i = 0;
    if (p->values[ONE_THREE] != 0) {
        ends[2] = ends[1];
        ends[1] = 2 * rise - 2 * at->tick;
        phases = 3;
    }
    while (i < phases - 1 && at->t > ends[i])
        start = ends[i++];
    double done = share(at->t - start, ends[i] - start);
    if (p->values[ONE_ANNEAL] == 0)
        return wave(points[i], points[i + 1], done);
    return points[i] + (points[i + 1] - points[i]) * done;
}

static double one_cycle(params_t *p, curve_t *at)
{
    double most = or_else(p->values[ONE_MAX_LR], at->base);
    double first = most / p->values[ONE_DIV];
    double last = first / p->values[ONE_FINAL_DIV];
    double two[] = {first, most, last}, three[] = {first, most, first, last};
    return one_cycle_between(p, at,
                             p->values[ONE_THREE] != 0 ? three : two);
}

static double one_cycle_momentum(params_t *p, curve_t *at)
{
    double low = p->values[ONE_BASE_MOMENTUM];
    double high = p->values[ONE_MAX_MOMENTUM];
    const double points[] = {high, low, high, high};
    if (p->values[ONE_CYCLE_MOMENTUM] == 0)
        return NAN_VALUE;
    return one_cycle_between(p, at, points);
}

static qn_status check_one_cycle(params_t *p, qn_error *error)
{
    if (p->values[ONE_THREE] != 0 && p->values[ONE_PCT_START] > 0.5)
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "schedule one_cycle: with three_phase, pct_start is "
                       "%.12g and must be 0.5 at most, since the way back is "
                       "as long", p->values[ONE_PCT_START]);
    return QN_OK;
}

enum {
    CYCLIC_BASE_LR,
    CYCLIC_MAX_LR,
    CYCLIC_UP,
    CYCLIC_DOWN,
    CYCLIC_MODE,
    CYCLIC_GAMMA,
    CYCLIC_CYCLE_MOMENTUM,
    CYCLIC_BASE_MOMENTUM,
    CYCLIC_MAX_MOMENTUM,
};

// How high t lies on the triangle, from 0 to 1.
static double triangle(params_t *p, double t)
{
    double up = p->values[CYCLIC_UP];
    double down = or_else(p->values[CYCLIC_DOWN], up);
    double cycle = floor(t / (up + down));
    double x = t - cycle * (up + down);
    double height = x <= up ? x / up : (up + down - x) / down;
    switch ((int)p->values[CYCLIC_MODE]) {
    case 1:
        return height * pow(0.5, cycle);
    case 2:
        return height * pow(p->values[CYCLIC_GAMMA], t);
    default:
        return height;
    }
}

static double cyclic(params_t *p, curve_t *at)
{
    double high = or_else(p->values[CYCLIC_MAX_LR], at->base);
    double low = or_else(p->values[CYCLIC_BASE_LR], high / 4);
    return low + (high - low) * triangle(p, at->t);
}

static double cyclic_momentum(params_t *p, curve_t *at)
{
    double low = p->values[CYCLIC_BASE_MOMENTUM];
    double high = p->values[CYCLIC_MAX_MOMENTUM];
    if (p->values[CYCLIC_CYCLE_MOMENTUM] == 0)
        return NAN_VALUE;
    return high - (high - low) * triangle(p, at->t);
}

static qn_status check_cyclic(params_t *p, qn_error *error)
{
    if (p->values[CYCLIC_BASE_LR] > p->values[CYCLIC_MAX_LR])
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "schedule cyclic: base_lr is %.12g and must not "
                       "exceed max_lr, %.12g", p->values[CYCLIC_BASE_LR],
                       p->values[CYCLIC_MAX_LR]);
    return QN_OK;
}

// ---- metrics ----

enum {
    PLATEAU_MONITOR,
    PLATEAU_FACTOR,
    PLATEAU_PATIENCE,
    PLATEAU_THRESHOLD,
    PLATEAU_THRESHOLD_MODE,
};

static double plateau(params_t *p, curve_t *at)
{
    (void)p;
    return at->state ? at->state->value : at->base;
}

static qn_status check_plateau(params_t *p, qn_error *error)
{
    if (p->values[PLATEAU_THRESHOLD_MODE] == 0 &&
        p->values[PLATEAU_THRESHOLD] >= 1)
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "schedule plateau: a relative threshold is %.12g and "
                       "must be below 1", p->values[PLATEAU_THRESHOLD]);
    return QN_OK;
}

// ---- the table ----

#define CYCLE_MOMENTUM                                                    \
    {"cycle_momentum", "switch",                                          \
     "also gives the momentum [where the optimizer has one]", 0, 1,       \
     NAN_VALUE, NULL}

static const struct qn_schedule rows[] = {
    {
        .name = "constant",
        .formula = "a = a0",
        .example = "constant",
        .value = constant,
    },
    {
        .name = "piecewise",
        .formula = "a = a0 factor[i], i = how many of at are <= t",
        .example = "piecewise:at=30/60,factor=1/0.5/0.1",
        .key_count = 3,
        .keys = {LIST("at", 1e15, "points, rising"),
                 LIST("factor", 1e6, "before the first point, behind it, "
                                     "...: one more"),
                 UNIT(IN_EPOCHS)},
        .value = piecewise,
        .check = check_piecewise,
    },
    {
        .name = "step",
        .formula = "a = a0 gamma^floor(t / step_size)",
        .example = "step:step_size=30,gamma=0.5",
        .key_count = 3,
        .keys = {[STEP_SIZE] = NUMBER("step_size", 1e-6, 1e15, 30,
                                      "between two drops"),
                 [STEP_GAMMA] = NUMBER("gamma", 0, 1e6, 0.1,
                                       "factor of each drop"),
                 UNIT(IN_EPOCHS)},
        .value = step,
    },
    {
        .name = "multistep",
        .formula = "a = a0 gamma^i, i = how many milestones are <= t",
        .example = "multistep:milestones=50/75,gamma=0.2",
        .key_count = 3,
        .keys = {[MILESTONES] = LIST("milestones", 1e15, "points, rising"),
                 [MULTISTEP_GAMMA] = NUMBER("gamma", 0, 1e6, 0.1,
                                            "factor of each drop"),
                 UNIT(IN_EPOCHS)},
        .value = multistep,
        .check = check_multistep,
    },
    {
        .name = "exponential",
        .formula = "a = a0 exp(-k t)",
        .example = "exponential:k=0.04,smooth=1",
        .key_count = 3,
        .keys = {NUMBER("k", 0, 1e6, 0.1, "rate of decay"),
                 UNIT(IN_EPOCHS), SMOOTH(0)},
        .value = exponential,
    },
    {
        .name = "exponential10",
        .formula = "a = a0 10^(-t / r)",
        .source = "Senior, Heigold, Ranzato, Yang: An empirical study of "
                  "learning rates in deep neural networks for speech "
                  "recognition, 2013",
        .example = "exponential10:r=50,smooth=1",
        .length_key = "r",
        .key_count = 3,
        .keys = {NUMBER("r", 1e-6, 1e15, NAN_VALUE,
                        "a tenth is left after r [the run's length]"),
                 UNIT(IN_EPOCHS), SMOOTH(0)},
        .value = exponential10,
    },
    {
        .name = "inverse_time",
        .formula = "a = a0 / (1 + k t)",
        .source = "Robbins, Monro: A stochastic approximation method, 1951",
        .example = "inverse_time:k=0.1,smooth=1",
        .key_count = 3,
        .keys = {NUMBER("k", 0, 1e6, 0.1, "half is left after 1 / k"),
                 UNIT(IN_EPOCHS), SMOOTH(0)},
        .value = inverse_time,
    },
    {
        .name = "power",
        .formula = "a = a0 (1 + t / r)^-c",
        .source = "Senior, Heigold, Ranzato, Yang: An empirical study of "
                  "learning rates in deep neural networks for speech "
                  "recognition, 2013",
        .example = "power:r=10,c=1,smooth=1",
        .key_count = 4,
        .keys = {NUMBER("r", 1e-6, 1e15, 10, "how slowly it decays"),
                 NUMBER("c", 0, 100, 1, "exponent"), UNIT(IN_EPOCHS),
                 SMOOTH(0)},
        .value = power,
    },
    {
        .name = "polynomial",
        .formula = "a = end_lr + (a0 - end_lr) (1 - t / length)^power",
        .example = "polynomial:power=2",
        .length_key = "length",
        .key_count = 5,
        .keys = {[CURVE_LENGTH] = LENGTH,
                 [CURVE_END] = NUMBER("end_lr", 0, 1e6, 0, "at the end"),
                 [CURVE_POWER] = NUMBER("power", 0, 100, 1,
                                        "1: a straight line"),
                 UNIT(IN_EPOCHS), SMOOTH(1)},
        .value = polynomial,
    },
    {
        .name = "cosine",
        .formula =
            "a = eta_min + (a0 - eta_min) (1 + cos(pi t / length)) / 2",
        .source = "Loshchilov, Hutter: SGDR: Stochastic gradient descent "
                  "with warm restarts, ICLR 2017",
        .example = "cosine",
        .length_key = "length",
        .key_count = 4,
        .keys = {[CURVE_LENGTH] = LENGTH,
                 [CURVE_END] = NUMBER("eta_min", 0, 1e6, 0, "at the end"),
                 UNIT(IN_EPOCHS), SMOOTH(1)},
        .value = cosine,
    },
    {
        .name = "cosine_restarts",
        .formula = "cosine of length T_0, then T_0 T_mult, T_0 T_mult^2, ...",
        .source = "Loshchilov, Hutter: SGDR: Stochastic gradient descent "
                  "with warm restarts, ICLR 2017",
        .example = "cosine_restarts:T_0=15,T_mult=2",
        .key_count = 5,
        .keys = {[RESTART_T_0] = NUMBER("T_0", 1e-6, 1e15, 10,
                                        "length of the first curve"),
                 [RESTART_T_MULT] = {"T_mult", "count",
                                     "each is so many times longer", 1, 1000,
                                     1, NULL},
                 [RESTART_ETA_MIN] = NUMBER("eta_min", 0, 1e6, 0,
                                            "before each restart"),
                 UNIT(IN_EPOCHS), SMOOTH(1)},
        .value = cosine_restarts,
    },
    {
        .name = "one_cycle",
        .formula = "max_lr / div_factor up to max_lr within pct_start of the "
                   "length, then down to max_lr / div_factor / "
                   "final_div_factor; momentum the other way round",
        .source = "Smith, Topin: Super-convergence: Very fast training of "
                  "neural networks using large learning rates, 2017",
        .example = "one_cycle",
        .length_key = "length",
        .key_count = 12,
        .keys = {[ONE_LENGTH] = LENGTH,
                 [ONE_MAX_LR] = NUMBER("max_lr", 0, 1e6, NAN_VALUE,
                                       "the peak [a0]"),
                 [ONE_PCT_START] = NUMBER("pct_start", 0, 1, 0.3,
                                          "share of the way up"),
                 [ONE_DIV] = NUMBER("div_factor", 1e-6, 1e15, 25,
                                    "begins at max_lr / div_factor"),
                 [ONE_FINAL_DIV] = NUMBER("final_div_factor", 1e-6, 1e15,
                                          1e4, "ends so far below that"),
                 [ONE_THREE] = SWITCH("three_phase", 0,
                                      "up, back as long, then to the end"),
                 [ONE_ANNEAL] = {"anneal_strategy", "choice",
                                 "shape of the ways", 0, 1, 0, "cos|linear"},
                 [ONE_CYCLE_MOMENTUM] = CYCLE_MOMENTUM,
                 [ONE_BASE_MOMENTUM] = NUMBER("base_momentum", 0, 1, 0.85,
                                              "at the peak"),
                 [ONE_MAX_MOMENTUM] = NUMBER("max_momentum", 0, 1, 0.95,
                                             "at both ends"),
                 UNIT(IN_STEPS), SMOOTH(1)},
        .value = one_cycle,
        .momentum = one_cycle_momentum,
        .check = check_one_cycle,
    },
    {
        .name = "cyclic",
        .formula = "a = base_lr + (max_lr - base_lr) h, h up from 0 to 1 and "
                   "down again, in cycle c times 1 (triangular), 2^-c "
                   "(triangular2) or gamma^t (exp_range); momentum the other "
                   "way round",
        .source = "Smith: Cyclical learning rates for training neural "
                  "networks, WACV 2017",
        .example = "cyclic:mode=triangular2",
        .key_count = 11,
        .keys = {[CYCLIC_BASE_LR] = NUMBER("base_lr", 0, 1e6, NAN_VALUE,
                                           "the foot [max_lr / 4]"),
                 [CYCLIC_MAX_LR] = NUMBER("max_lr", 0, 1e6, NAN_VALUE,
                                          "the peak [a0]"),
                 [CYCLIC_UP] = NUMBER("step_size_up", 1e-6, 1e15, 2000,
                                      "length of the way up"),
                 [CYCLIC_DOWN] = NUMBER("step_size_down", 1e-6, 1e15,
                                        NAN_VALUE,
                                        "and down [step_size_up]"),
                 [CYCLIC_MODE] = {"mode", "choice", "how peaks shrink", 0, 2,
                                  0, "triangular|triangular2|exp_range"},
                 [CYCLIC_GAMMA] = NUMBER("gamma", 0, 1, 1, "of exp_range"),
                 [CYCLIC_CYCLE_MOMENTUM] = CYCLE_MOMENTUM,
                 [CYCLIC_BASE_MOMENTUM] = NUMBER("base_momentum", 0, 1, 0.8,
                                                 "at the peak"),
                 [CYCLIC_MAX_MOMENTUM] = NUMBER("max_momentum", 0, 1, 0.9,
                                                "at the foot"),
                 UNIT(IN_STEPS), SMOOTH(1)},
        .value = cyclic,
        .momentum = cyclic_momentum,
        .check = check_cyclic,
    },
    {
        .name = "inverse_sqrt",
        .formula = "a = a0 min(n / warmup, sqrt(warmup / n)), n = t + 1",
        .source = "Vaswani and others: Attention is all you need, 2017",
        .example = "inverse_sqrt:warmup=2000",
        .key_count = 3,
        .keys = {NUMBER("warmup", 1e-6, 1e15, 4000,
                        "length of the way up to a0"),
                 UNIT(IN_STEPS), SMOOTH(1)},
        .value = inverse_sqrt,
    },
    {
        .name = "plateau",
        .formula = "a = max(a factor, min_lr) after more than patience "
                   "epochs without progress of monitor",
        .example = "plateau:patience=8,factor=0.5",
        .follows_metric = true,
        .key_count = 8,
        .keys = {[PLATEAU_MONITOR] =
                     {"monitor", "choice", "metric at each epoch's end", 0, 3,
                      0,
                      "test_loss|train_loss|test_accuracy|train_accuracy"},
                 [PLATEAU_FACTOR] = NUMBER("factor", 0, 1 - 1e-9, 0.1,
                                           "of each drop"),
                 [PLATEAU_PATIENCE] = {"patience", "count",
                                       "epochs without progress to wait for",
                                       0, 1e6, 10, NULL},
                 [PLATEAU_THRESHOLD] = NUMBER("threshold", 0, 1e6, 1e-4,
                                              "least progress that counts"),
                 [PLATEAU_THRESHOLD_MODE] = {"threshold_mode", "choice",
                                             "part of the best, or as it is",
                                             0, 1, 0, "rel|abs"},
                 {"cooldown", "count", "epochs after a drop that do not count",
                  0, 1e6, 0, NULL},
                 NUMBER("min_lr", 0, 1e6, 0, "never below"),
                 NUMBER("eps", 0, 1e6, 1e-8, "smaller changes are left out")},
        .value = plateau,
        .check = check_plateau,
    },
    {
        .name = "warmup",
        .formula = "a = b (start_factor + (1 - start_factor) t / length) "
                   "until length, b what the schedule behind gives",
        .source = "Goyal and others: Accurate, large minibatch SGD: Training "
                  "ImageNet in 1 hour, 2017",
        .example = "warmup:length=10+cosine",
        .key_count = 4,
        .keys = {NUMBER("length", 0, 1e15, 5, "of the warm-up"),
                 NUMBER("start_factor", 0, 1e6, 1.0 / 3, "at the start"),
                 UNIT(IN_EPOCHS),
                 {"mode", "choice",
                  "what comes behind begins then, or with the run", 0, 1, 0,
                  "sequential|chained"}},
        .value = constant,
    },
};
enum { ROW_COUNT = sizeof rows / sizeof *rows };

const struct qn_schedule *qn_schedule_at(int index)
{
    return index >= 0 && index < ROW_COUNT ? &rows[index] : NULL;
}

const struct qn_schedule *qn_schedule_warmup(void)
{
    return &rows[ROW_COUNT - 1];
}
