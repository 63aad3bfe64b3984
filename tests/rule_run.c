// See rule_run.h.
#include "rule_run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "qn_check.h"
#include "quern/op.h"

// ---- the problem ----

void rule_problem_make(struct rule_problem *p, qn_dtype real, int a, int b,
                       int c)
{
    struct qn_check_rng rng = {42};
    *p = (struct rule_problem){.real = real, .sizes = {a, b, c}};
    for (int i = 0; i < a + b + c; i++) {
        p->c[i] = (float)qn_check_uniform(&rng, 0.1, 2);
        p->t[i] = (float)qn_check_uniform(&rng, -1, 1);
        p->x[i] = (float)qn_check_uniform(&rng, -2, 2);
    }
    p->count = a + b + c;
}

double rule_gradient(const struct rule_problem *p, int i, double x)
{
    double s = 1 / (1 + exp(-x));
    return 2 * p->c[i] * (x - p->t[i]) + s * (1 - s);
}

// Between the host's double and the device's real type.
static void to_real(qn_dtype real, const double *from, void *to, int count)
{
    for (int i = 0; i < count; i++)
        if (real == QN_FLOAT64)
            ((double *)to)[i] = from[i];
        else
            ((float *)to)[i] = (float)from[i];
}

static void to_double(qn_dtype real, const void *from, double *to, int count)
{
    for (int i = 0; i < count; i++)
        to[i] = real == QN_FLOAT64 ? ((const double *)from)[i]
                                   : (double)((const float *)from)[i];
}

static qn_node *constant(qn_graph *g, const struct rule_problem *p,
                         const double *values, int count)
{
    double data[MAX_COUNT];
    to_real(p->real, values, data, count);
    return qn_constant_data(g, p->real, qn_shape_of(count), data);
}

const char *rule_tensor(int tensor)
{
    static const char *const names[MAX_TENSORS] = {"0.weight", "0.bias",
                                                   "2.weight"};
    return names[tensor];
}

qn_node *rule_problem_loss(qn_graph *g, const struct rule_problem *p)
{
    qn_node *loss = NULL;
    for (int k = 0, at = 0; k < MAX_TENSORS && p->sizes[k];
         at += p->sizes[k++]) {
        int n = p->sizes[k];
        qn_node *x = qn_parameter(g, rule_tensor(k), qn_shape_of(n));
        qn_node *off = qn_sub(g, x, constant(g, p, p->t + at, n));
        qn_node *term = qn_add(
            g, qn_mul(g, constant(g, p, p->c + at, n), qn_square(g, off)),
            qn_sigmoid(g, x));
        qn_node *sum = qn_sum(g, term, NULL);
        loss = loss ? qn_add(g, loss, sum) : sum;
    }
    return loss;
}

// ---- a run ----

void rule_run_copy(struct rule_run *run, const char *group, double *values,
                   bool write)
{
    const struct rule_problem *p = run->problem;
    qn_error error = {0};
    double data[MAX_COUNT];
    for (int k = 0, at = 0; k < MAX_TENSORS && p->sizes[k];
         at += p->sizes[k++]) {
        size_t size = (size_t)p->sizes[k] * qn_dtype_size(p->real);
        int index = qn_store_find(run->store, group, rule_tensor(k));
        ck_assert_msg(index >= 0, "no %s in %s", rule_tensor(k), group);
        if (write) {
            to_real(p->real, values + at, data, p->sizes[k]);
            ck_assert_ok(qn_store_write(run->store, index, data, size, &error),
                         error);
        } else {
            ck_assert_ok(qn_store_read(run->store, index, data, size, &error),
                         error);
            to_double(p->real, data, values + at, p->sizes[k]);
        }
    }
}

void rule_run_begin(struct rule_run *run, struct rule_problem *p,
                    struct qn_optimizer_params params)
{
    qn_error error = {0};
    *run = (struct rule_run){.problem = p, .g = qn_graph_create(p->real)};
    run->at = qn_optimizer_start(params.optimizer);
    if (qn_optimizer_looks_ahead(&params))
        qn_graph_alias(run->g, QN_GROUP_LOOKAHEAD, NULL);
    qn_node *loss = rule_problem_loss(run->g, p);
    qn_optimizer_build(run->g, loss, &params, &run->update);
    ck_assert_ok(qn_graph_check(run->g, &error), error);
    run->store = qn_store_create(qn_check_device(), &error);
    ck_assert_msg(run->store != NULL, "%s", error.text);
    ck_assert_ok(qn_store_add(run->store, run->g, &error), error);
    qn_node *outputs[] = {loss, run->update.norms};
    struct qn_plan_params plan = {.graph = run->g,
                                  .store = run->store,
                                  .outputs = outputs,
                                  .output_count = params.wants_norms ? 2 : 1};
    run->plan = qn_plan_create(qn_check_device(), &plan, &error);
    ck_assert_msg(run->plan != NULL, "%s", error.text);
    rule_run_copy(run, "parameters", p->x, true);
    ck_assert_ok(qn_optimizer_begin(run->store, &error), error);
}

double rule_lr(double lr, int step)
{
    return lr / (1 + 0.01 * step);
}

void rule_run_advance(struct rule_run *run, double lr, int from, int to)
{
    for (int step = from; step <= to; step++) {
        run->at.step = step;
        run->at.lr = rule_lr(lr, step);
        ck_assert_int_eq(qn_optimizer_set(&run->update, run->plan, &run->at),
                         QN_OK);
        ck_assert_int_eq(qn_plan_run(run->plan), QN_OK);
    }
}

void rule_run_finish(struct rule_run *run)
{
    qn_plan_destroy(&run->plan);
    qn_store_destroy(&run->store);
    qn_graph_destroy(&run->g);
}

// ---- the reference ----

struct qn_optimizer_params rule_params(const struct rule_settings *t)
{
    const struct qn_optimizer *row = qn_optimizer_find(t->optimizer);
    ck_assert_ptr_nonnull(row);
    struct qn_optimizer_params params = qn_optimizer_defaults(row);
    for (int i = 0; i < MAX_SETTINGS && t->settings[i].name; i++) {
        const int h = qn_optimizer_hyper_find(row, t->settings[i].name);
        ck_assert_msg(h >= 0, "%s has no %s", row->name, t->settings[i].name);
        params.hyper[h] = t->settings[i].value;
    }
    return params;
}

void rule_reference_begin(struct rule_reference *r,
                          const struct rule_problem *p,
                          const struct rule_settings *t)
{
    *r = (struct rule_reference){.rule = ref_rule_find(t->optimizer)};
    ck_assert_msg(r->rule != NULL, "no reference for %s", t->optimizer);
    r->hyper = r->rule->defaults;
    for (int i = 0; i < MAX_SETTINGS && t->settings[i].name; i++)
        *ref_hyper_find(&r->hyper, t->settings[i].name) = t->settings[i].value;
    memcpy(r->x, p->x, sizeof r->x);
    for (int k = 0, at = 0; k < MAX_TENSORS; at += p->sizes[k++]) {
        r->vectors[k] = (struct ref_vector){
            .count = p->sizes[k], .x = r->x + at, .g = r->g + at};
        for (int i = 0; i < REF_SLOTS; i++)
            r->vectors[k].slots[i] = r->slots[i] + at;
    }
}

void rule_reference_step(struct rule_reference *r,
                         const struct rule_problem *p, double lr)
{
    const double ahead = r->hyper.lookahead * r->hyper.momentum;
    for (int i = 0; i < p->count; i++)
        r->g[i] = rule_gradient(p, i, r->x[i] - ahead * r->slots[0][i]);
    for (int k = 0; k < MAX_TENSORS && p->sizes[k]; k++) {
        if (r->most_norm > 0)
            ref_clip_norm(&r->vectors[k], r->most_norm);
        ref_step(r->rule, &r->hyper, &r->vectors[k], lr);
    }
}

void rule_expect_group(struct rule_run *run, const char *group,
                       const double *want, double rtol, double atol)
{
    static double got[MAX_COUNT];
    char what[160];
    rule_run_copy(run, group, got, false);
    snprintf(what, sizeof what, "%.80s: %.60s", run->what, group);
    qn_check_close(what, got, want, run->problem->count, rtol, atol);
}

void rule_expect_state(struct rule_run *run, const struct rule_reference *r,
                       double rtol, double atol)
{
    const struct qn_optimizer *row = run->update.optimizer;
    rule_expect_group(run, "parameters", r->x, rtol, atol);
    for (int i = 0; i < row->slot_count; i++) {
        char group[64];
        ck_assert_str_eq(row->slots[i], r->rule->slots[i]);
        snprintf(group, sizeof group, "optimizer.%s", row->slots[i]);
        if (qn_optimizer_has_slot(row, run->update.hyper, i))
            rule_expect_group(run, group, r->slots[i], rtol, atol);
        else
            ck_assert_int_lt(qn_store_find(run->store, group, rule_tensor(0)),
                             0);
    }
}
