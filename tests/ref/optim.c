// See optim.h. Each rule is written as its source writes it, without sharing
// more than the sum g + weight_decay x.
#include "ref/optim.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#define EACH(v) for (int i = 0; i < (v)->count; i++)

static double decayed(const struct ref_hyper *h, const struct ref_vector *v,
                      int i)
{
    return v->g[i] + h->weight_decay * v->x[i];
}

static double norm(const double *x, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += x[i] * x[i];
    return sqrt(sum);
}

static double sign(double x)
{
    return x > 0 ? 1 : x < 0 ? -1 : 0;
}

// ---- momentum ----

// Robbins and Monro 1951
static void sgd(const struct ref_hyper *h, struct ref_vector *v, double lr)
{
    EACH(v)
        v->x[i] -= lr * decayed(h, v, i);
}

// torch.optim.SGD, whose buffer begins as the first gradient, not dampened;
// heavy ball as in Polyak 1964, where the rate is within the sum.
static void momentum(const struct ref_hyper *h, struct ref_vector *v,
                     double lr)
{
    EACH(v)
    {
        double g = decayed(h, v, i), *m = &v->slots[0][i];
        if (h->heavy_ball != 0) {
            *m = h->momentum * *m + lr * g;
            v->x[i] -= *m;
        } else {
            *m = v->step == 1 ? g
                              : h->momentum * *m + (1 - h->dampening) * g;
            v->x[i] -= lr * *m;
        }
    }
}

// torch.optim.SGD with nesterov=True (Sutskever et al. 2013); with lookahead
// as in Nesterov 1983, the gradient being that at x - momentum m.
static void nesterov(const struct ref_hyper *h, struct ref_vector *v,
                     double lr)
{
    EACH(v)
    {
        double *m = &v->slots[0][i];
        if (h->lookahead != 0) {
            double at = v->x[i] - h->momentum * *m;
            *m = h->momentum * *m + lr * (v->g[i] + h->weight_decay * at);
            v->x[i] -= *m;
        } else {
            double g = decayed(h, v, i);
            *m = h->momentum * *m + g;
            v->x[i] -= lr * (g + h->momentum * *m);
        }
    }
}

// ---- squared gradients ----

static double root(const struct ref_hyper *h, double square)
{
    return h->eps_inside != 0 ? sqrt(square + h->eps)
                              : sqrt(square) + h->eps;
}

// Duchi, Hazan, Singer 2011
static void adagrad(const struct ref_hyper *h, struct ref_vector *v,
                    double lr)
{
    double rate = lr / (1 + (v->step - 1) * h->lr_decay);
    EACH(v)
    {
        double g = decayed(h, v, i), *sum = &v->slots[0][i];
        if (v->step == 1)
            *sum = h->initial_accumulator_value;
        *sum += g * g;
        v->x[i] -= rate * g / root(h, *sum);
    }
}

// Zeiler 2012
static void adadelta(const struct ref_hyper *h, struct ref_vector *v,
                     double lr)
{
    EACH(v)
    {
        double g = decayed(h, v, i);
        double *squares = &v->slots[0][i], *deltas = &v->slots[1][i];
        *squares = h->rho * *squares + (1 - h->rho) * g * g;
        double delta = sqrt(*deltas + h->eps) / sqrt(*squares + h->eps) * g;
        *deltas = h->rho * *deltas + (1 - h->rho) * delta * delta;
        v->x[i] -= lr * delta;
    }
}

// Tieleman and Hinton 2012; centred as in Graves 2013. The mean of the
// gradients is the last slot, as in torch.optim.RMSprop.
static void rmsprop(const struct ref_hyper *h, struct ref_vector *v,
                    double lr)
{
    EACH(v)
    {
        double g = decayed(h, v, i), *mean = &v->slots[2][i];
        double *square = &v->slots[0][i], *buffer = &v->slots[1][i];
        *square = h->alpha * *square + (1 - h->alpha) * g * g;
        double variance = *square;
        if (h->centered != 0) {
            *mean = h->alpha * *mean + (1 - h->alpha) * g;
            variance -= *mean * *mean;
        }
        double step = g / root(h, variance);
        if (h->momentum > 0)
            step = *buffer = h->momentum * *buffer + step;
        v->x[i] -= lr * step;
    }
}

// ---- the family of Adam ----

// Both averages, and the first one's and the second one's correction.
static void moments(const struct ref_hyper *h, struct ref_vector *v, int i,
                    double g)
{
    double *m = v->slots[0], *s = v->slots[1];
    m[i] = h->beta1 * m[i] + (1 - h->beta1) * g;
    s[i] = h->beta2 * s[i] + (1 - h->beta2) * g * g;
}

static double correction(const struct ref_hyper *h, double beta, int step)
{
    return h->bias_correction != 0 ? 1 - pow(beta, step) : 1;
}

// Kingma and Ba 2015
static void adam(const struct ref_hyper *h, struct ref_vector *v, double lr)
{
    double first = correction(h, h->beta1, v->step);
    double second = correction(h, h->beta2, v->step);
    EACH(v)
    {
        moments(h, v, i, decayed(h, v, i));
        v->x[i] -= lr * (v->slots[0][i] / first) /
                   root(h, v->slots[1][i] / second);
    }
}

// Loshchilov and Hutter 2019
static void adamw(const struct ref_hyper *h, struct ref_vector *v, double lr)
{
    struct ref_hyper plain = *h;
    plain.weight_decay = 0;
    EACH(v)
        v->x[i] *= 1 - lr * h->weight_decay;
    adam(&plain, v, lr);
}

// Reddi, Kale, Kumar 2018; the maximum is that of the uncorrected averages, as
// in torch.optim.Adam.
static void amsgrad(const struct ref_hyper *h, struct ref_vector *v,
                    double lr)
{
    double first = correction(h, h->beta1, v->step);
    double second = correction(h, h->beta2, v->step);
    EACH(v)
    {
        double *most = &v->slots[2][i];
        moments(h, v, i, decayed(h, v, i));
        *most = fmax(*most, v->slots[1][i]);
        v->x[i] -= lr * (v->slots[0][i] / first) / root(h, *most / second);
    }
}

// Kingma and Ba 2015, section 7.1; eps as in torch.optim.Adamax.
static void adamax(const struct ref_hyper *h, struct ref_vector *v,
                   double lr)
{
    double first = 1 - pow(h->beta1, v->step);
    EACH(v)
    {
        double g = decayed(h, v, i);
        double *m = &v->slots[0][i], *most = &v->slots[1][i];
        *m = h->beta1 * *m + (1 - h->beta1) * g;
        *most = fmax(h->beta2 * *most, fabs(g) + h->eps);
        v->x[i] -= lr / first * *m / *most;
    }
}

// Dozat 2016, with the schedule of mu in torch.optim.NAdam's documentation.
static void nadam(const struct ref_hyper *h, struct ref_vector *v, double lr)
{
    const int t = v->step;
    double mu = h->beta1 * (1 - 0.5 * pow(0.96, t * h->momentum_decay));
    double next = h->beta1 *
                  (1 - 0.5 * pow(0.96, (t + 1) * h->momentum_decay));
    double second = 1 - pow(h->beta2, t);
    v->products = (t == 1 ? 1 : v->products) * mu;
    EACH(v)
    {
        double g = decayed(h, v, i);
        moments(h, v, i, g);
        double m = next * v->slots[0][i] / (1 - v->products * next) +
                   (1 - mu) * g / (1 - v->products);
        v->x[i] -= lr * m / (sqrt(v->slots[1][i] / second) + h->eps);
    }
}

// Liu et al. 2020; eps beside the uncorrected root, as in torch.optim.RAdam.
static void radam(const struct ref_hyper *h, struct ref_vector *v, double lr)
{
    const int t = v->step;
    double power = pow(h->beta2, t), first = 1 - pow(h->beta1, t);
    double most = 2 / (1 - h->beta2) - 1;
    double length = most - 2 * t * power / (1 - power);
    double share = sqrt((length - 4) * (length - 2) * most /
                        ((most - 4) * (most - 2) * length));
    EACH(v)
    {
        moments(h, v, i, decayed(h, v, i));
        double step = v->slots[0][i] / first;
        if (length > 5)
            step *= share * sqrt(1 - power) /
                    (sqrt(v->slots[1][i]) + h->eps);
        v->x[i] -= lr * step;
    }
}

// Chen et al.: Symbolic discovery of optimization algorithms, 2023
static void lion(const struct ref_hyper *h, struct ref_vector *v, double lr)
{
    EACH(v)
    {
        double g = v->g[i], *m = &v->slots[0][i];
        double direction = sign(h->beta1 * *m + (1 - h->beta1) * g);
        v->x[i] -= lr * (direction + h->weight_decay * v->x[i]);
        *m = h->beta2 * *m + (1 - h->beta2) * g;
    }
}

// ---- a trust ratio for each tensor, 1 where a norm is 0 ----

// You, Gitman, Ginsburg 2017, the rate within the momentum
static void lars(const struct ref_hyper *h, struct ref_vector *v, double lr)
{
    double x = norm(v->x, v->count), g = norm(v->g, v->count), trust = 1;
    if (x > 0 && g > 0 && !v->is_exempt)
        trust = h->trust_coefficient * x / (g + h->weight_decay * x + h->eps);
    EACH(v)
    {
        double *m = &v->slots[0][i];
        *m = h->momentum * *m + lr * trust * decayed(h, v, i);
        v->x[i] -= *m;
    }
}

// You et al. 2020
static void lamb(const struct ref_hyper *h, struct ref_vector *v, double lr)
{
    double first = correction(h, h->beta1, v->step);
    double second = correction(h, h->beta2, v->step);
    double x = norm(v->x, v->count), sum = 0;
    for (int pass = 0; pass < 2; pass++) {
        double trust =
            x > 0 && sum > 0 && !v->is_exempt ? x / sqrt(sum) : 1;
        EACH(v)
        {
            if (pass == 0)
                moments(h, v, i, v->g[i]);
            double step = v->slots[0][i] / first /
                              (sqrt(v->slots[1][i] / second) + h->eps) +
                          h->weight_decay * v->x[i];
            if (pass == 0)
                sum += step * step;
            else
                v->x[i] -= lr * trust * step;
        }
    }
}

// ---- the table ----

#define BETAS .beta1 = 0.9, .beta2 = 0.999
#define ADAM BETAS, .eps = 1e-8, .bias_correction = 1
#define ADAM_TAKES \
    " beta1 beta2 eps eps_inside bias_correction weight_decay "

static const struct ref_rule rules[] = {
    {"sgd", 0.2, {0}, " weight_decay ", {0}, sgd},
    {"momentum", 0.03, {.momentum = 0.9},
     " momentum dampening heavy_ball weight_decay ", {"momentum_buffer"},
     momentum},
    {"nesterov", 0.03, {.momentum = 0.9},
     " momentum lookahead weight_decay ", {"momentum_buffer"}, nesterov},
    {"adagrad", 0.01, {.eps = 1e-10},
     " lr_decay initial_accumulator_value eps eps_inside weight_decay ",
     {"sum"}, adagrad},
    {"adadelta", 1, {.rho = 0.9, .eps = 1e-6}, " rho eps weight_decay ",
     {"square_avg", "acc_delta"}, adadelta},
    {"rmsprop", 0.001, {.alpha = 0.99, .eps = 1e-8},
     " alpha eps eps_inside centered momentum weight_decay ",
     {"square_avg", "momentum_buffer", "grad_avg"}, rmsprop},
    {"adam", 0.001, {ADAM}, ADAM_TAKES, {"exp_avg", "exp_avg_sq"}, adam},
    {"amsgrad", 0.001, {ADAM}, ADAM_TAKES,
     {"exp_avg", "exp_avg_sq", "max_exp_avg_sq"}, amsgrad},
    {"adamax", 0.002, {BETAS, .eps = 1e-8}, " beta1 beta2 eps weight_decay ",
     {"exp_avg", "exp_inf"}, adamax},
    {"nadam", 0.002, {BETAS, .eps = 1e-8, .momentum_decay = 4e-3},
     " beta1 beta2 eps momentum_decay weight_decay ",
     {"exp_avg", "exp_avg_sq"}, nadam},
    {"radam", 0.001, {BETAS, .eps = 1e-8}, " beta1 beta2 eps weight_decay ",
     {"exp_avg", "exp_avg_sq"}, radam},
    {"adamw", 0.001, {ADAM, .weight_decay = 0.01}, ADAM_TAKES,
     {"exp_avg", "exp_avg_sq"}, adamw},
    {"lion", 1e-4, {.beta1 = 0.9, .beta2 = 0.99},
     " beta1 beta2 weight_decay ", {"exp_avg"}, lion},
    {"lars", 3, {.momentum = 0.9, .trust_coefficient = 0.001, .eps = 1e-8},
     " momentum trust_coefficient eps weight_decay ", {"momentum_buffer"},
     lars},
    {"lamb", 0.003, {BETAS, .eps = 1e-6, .bias_correction = 1,
                     .weight_decay = 0.01},
     " beta1 beta2 eps bias_correction weight_decay ",
     {"exp_avg", "exp_avg_sq"}, lamb},
};
enum { RULES = sizeof rules / sizeof *rules };

const struct ref_rule *ref_rule_at(int index)
{
    return index >= 0 && index < RULES ? &rules[index] : NULL;
}

const struct ref_rule *ref_rule_find(const char *name)
{
    for (int i = 0; i < RULES; i++)
        if (strcmp(rules[i].name, name) == 0)
            return &rules[i];
    return NULL;
}

#define MEMBER(name) {#name, offsetof(struct ref_hyper, name)}

double *ref_hyper_find(struct ref_hyper *hyper, const char *name)
{
    static const struct {
        const char *name;
        size_t offset;
    } members[] = {
        MEMBER(weight_decay), MEMBER(momentum), MEMBER(dampening),
        MEMBER(heavy_ball), MEMBER(lookahead), MEMBER(lr_decay),
        MEMBER(initial_accumulator_value), MEMBER(eps), MEMBER(eps_inside),
        MEMBER(rho), MEMBER(alpha), MEMBER(centered), MEMBER(beta1),
        MEMBER(beta2), MEMBER(bias_correction), MEMBER(momentum_decay),
        MEMBER(trust_coefficient),
    };
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        if (strcmp(members[i].name, name) == 0)
            return (double *)(void *)((char *)hyper + members[i].offset);
    return NULL;
}

double *ref_hyper_momentum(const struct ref_rule *rule, struct ref_hyper *h)
{
    return strstr(rule->takes, " momentum ") ? &h->momentum
           : strstr(rule->takes, " beta1 ")  ? &h->beta1
                                             : NULL;
}

void ref_step(const struct ref_rule *rule, const struct ref_hyper *hyper,
              struct ref_vector *v, double lr)
{
    v->step++;
    rule->step(hyper, v, lr);
}

// ---- before and after the step ----

static void scale(double *x, int count, double factor)
{
    for (int i = 0; i < count; i++)
        x[i] *= fmin(factor, 1);
}

void ref_clip_value(struct ref_vector *v, double most)
{
    EACH(v)
        v->g[i] = fmin(fmax(v->g[i], -most), most);
}

void ref_clip_norm(struct ref_vector *v, double most)
{
    scale(v->g, v->count, most / (norm(v->g, v->count) + 1e-6));
}

void ref_clip_global_norm(struct ref_vector *v, int count, double most)
{
    double sum = 0;
    for (int k = 0; k < count; k++)
        sum += pow(norm(v[k].g, v[k].count), 2);
    for (int k = 0; k < count; k++)
        scale(v[k].g, v[k].count, most / (sqrt(sum) + 1e-6));
}

void ref_penalise(struct ref_vector *v, double l1, double l2)
{
    EACH(v)
        v->g[i] += l1 * sign(v->x[i]) + l2 * v->x[i];
}

void ref_shrink(struct ref_vector *v, double threshold)
{
    EACH(v)
        v->x[i] = sign(v->x[i]) * fmax(fabs(v->x[i]) - threshold, 0);
}

void ref_max_norm(struct ref_vector *v, int units, double most)
{
    int size = v->count / units;
    for (int k = 0; k < units; k++)
        scale(v->x + k * size, size, most / norm(v->x + k * size, size));
}

void ref_average(double *average, const struct ref_vector *v, double decay)
{
    EACH(v)
        average[i] = decay * average[i] + (1 - decay) * v->x[i];
}
