// A problem for one update rule, solved on the device and by the references of
// ref/optim.c side by side.
#ifndef RULE_RUN_H
#define RULE_RUN_H

#include "quern/optim.h"
#include "ref/optim.h"

enum { MAX_COUNT = 6000, MAX_TENSORS = 3, MAX_SETTINGS = 6 };

// loss = sum c (x - t)^2 + sigmoid(x), gradient 2 c (x - t) + s (1 - s)
struct rule_problem {
    qn_dtype real;
    int sizes[MAX_TENSORS]; // 0: none
    int count;
    double c[MAX_COUNT], t[MAX_COUNT], x[MAX_COUNT];
};

// Three tensors of a, b and c elements; 0: none.
void rule_problem_make(struct rule_problem *p, qn_dtype real, int a, int b,
                       int c);
// d loss / dx of element i.
double rule_gradient(const struct rule_problem *p, int i, double x);
qn_node *rule_problem_loss(qn_graph *g, const struct rule_problem *p);
// The name of a tensor in its groups.
const char *rule_tensor(int tensor);

// A rule with settings that are not its defaults.
struct rule_settings {
    const char *optimizer;
    double lr;
    struct {
        const char *name;
        double value;
    } settings[MAX_SETTINGS];
};
struct qn_optimizer_params rule_params(const struct rule_settings *t);

struct rule_run {
    const struct rule_problem *problem;
    qn_graph *g;
    qn_store *store;
    qn_plan *plan;
    struct qn_optimizer_update update;
    struct qn_optimizer_step at;
    char what[64]; // for messages
};
// Builds, plans and writes the parameters. A failure ends the test.
void rule_run_begin(struct rule_run *run, struct rule_problem *p,
                    struct qn_optimizer_params params);
void rule_run_finish(struct rule_run *run);
// The parameters, or what has their names in another group, to or from the
// store.
void rule_run_copy(struct rule_run *run, const char *group, double *values,
                   bool write);
// The rate falls, as under a schedule.
double rule_lr(double lr, int step);
// Steps `from` to `to`, at such rates.
void rule_run_advance(struct rule_run *run, double lr, int from, int to);

// The state of the problem in double: a vector for each tensor, in arrays that
// hold all of them one after the other.
struct rule_reference {
    const struct ref_rule *rule;
    struct ref_hyper hyper;
    struct ref_vector vectors[MAX_TENSORS];
    double x[MAX_COUNT], g[MAX_COUNT], slots[REF_SLOTS][MAX_COUNT];
    double most_norm; // of each tensor's gradient; 0: any
};
void rule_reference_begin(struct rule_reference *r,
                          const struct rule_problem *p,
                          const struct rule_settings *t);
// One step along the gradient of `p`.
void rule_reference_step(struct rule_reference *r,
                         const struct rule_problem *p, double lr);

// A group of the run is as wanted; the run's parameters and slots are as the
// reference's, slots without use not there.
void rule_expect_group(struct rule_run *run, const char *group,
                       const double *want, double rtol, double atol);
void rule_expect_state(struct rule_run *run, const struct rule_reference *r,
                       double rtol, double atol);

#endif
