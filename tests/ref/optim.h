// An independent reference for every first-order update rule: double
// precision, one tensor at a time, from the papers and, where they differ,
// from PyTorch's documentation. Shares nothing with the library.
#ifndef QN_REF_OPTIM_H
#define QN_REF_OPTIM_H

#include <stdbool.h>
#include <stdint.h>

enum { REF_SLOTS = 3 };

// Every hyper-parameter of any rule, by its name in the table of optimizers.
struct ref_hyper {
    double weight_decay;
    double momentum, dampening, heavy_ball, lookahead;
    double lr_decay, initial_accumulator_value;
    double eps, eps_inside; // eps_inside: sqrt(v + eps), not sqrt(v) + eps
    double rho, alpha, centered;
    double beta1, beta2, bias_correction, momentum_decay;
    double trust_coefficient;
};

// A parameter, its gradient, and what the rule keeps; starts with zeros.
struct ref_vector {
    int count;
    double *x, *g;
    double *slots[REF_SLOTS];
    int step;         // steps done
    double products;  // NAdam: the product of all mu so far
    bool is_exempt;   // LARS, LAMB: its ratio is 1
};

struct ref_rule {
    const char *name;
    double lr;                    // defaults, as documented
    struct ref_hyper defaults;
    const char *takes;            // its hyper-parameters, with blanks around
    const char *slots[REF_SLOTS]; // names, as PyTorch's state
    void (*step)(const struct ref_hyper *h, struct ref_vector *v, double lr);
};
// NULL: there is none.
const struct ref_rule *ref_rule_at(int index);
const struct ref_rule *ref_rule_find(const char *name);
// The member of that name; NULL: there is none.
double *ref_hyper_find(struct ref_hyper *hyper, const char *name);
// What a momentum schedule changes: momentum or beta1; NULL: neither.
double *ref_hyper_momentum(const struct ref_rule *rule, struct ref_hyper *h);

// One step. For nesterov with lookahead, g is the gradient at
// x - momentum slots[0]; x itself is not moved there.
void ref_step(const struct ref_rule *rule, const struct ref_hyper *hyper,
              struct ref_vector *v, double lr);

// ---- what is done to gradients, before the step ----

void ref_clip_value(struct ref_vector *v, double most);
// g min(1, most / (|g| + 1e-6)), as torch.nn.utils.clip_grad_norm_
void ref_clip_norm(struct ref_vector *v, double most);
// The same with the norm over all vectors.
void ref_clip_global_norm(struct ref_vector *v, int count, double most);
// Adds the gradient of l1 sum |x| + l2 / 2 sum x^2, 0 at the kink.
void ref_penalise(struct ref_vector *v, double l1, double l2);

// ---- what is done to parameters, after the step ----

// sign(x) max(|x| - threshold, 0)
void ref_shrink(struct ref_vector *v, double threshold);
// Each of `units` equal parts: x min(1, most / |x|)
void ref_max_norm(struct ref_vector *v, int units, double most);
// average = decay average + (1 - decay) x
void ref_average(double *average, const struct ref_vector *v, double decay);

#endif
