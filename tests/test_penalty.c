// Penalties: as nodes of a loss, and applied by the update, against
// references in double.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qn_check.h"
#include "quern/optim.h"
#include "quern/op.h"

// ---- nodes ----

enum { COUNT = 37 };

static qn_plan *make_plan(qn_graph *g, qn_store *store,
                          qn_node *const *outputs, int count)
{
    qn_error error = {0};
    struct qn_plan_params params = {.graph = g, .store = store,
                                    .outputs = outputs,
                                    .output_count = count};
    qn_plan *plan = qn_plan_create(qn_check_device(), &params, &error);
    ck_assert_msg(plan != NULL, "%s", error.text);
    return plan;
}

static void expect_output(qn_plan *plan, qn_node *node, const char *what,
                          const double *want, int count)
{
    float data[1024];
    double got[1024];
    ck_assert_int_eq(qn_plan_read(plan, node, data,
                                  (size_t)count * sizeof *data), QN_OK);
    for (int i = 0; i < count; i++)
        got[i] = (double)data[i];
    qn_check_close(what, got, want, count, 1e-5, 1e-7);
}

START_TEST(nodes_have_the_documented_values_and_gradients)
{
    const double lambda = 0.3;
    float a[COUNT], b[COUNT];
    double da[3][COUNT], values[3] = {0};
    struct qn_check_rng rng = {5};
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *x = qn_input(g, "a", QN_FLOAT32, qn_shape_of(COUNT));
    qn_node *y = qn_input(g, "b", QN_FLOAT32, qn_shape_of(COUNT));
    qn_node *out[6] = {qn_penalty_l1(g, x, lambda),
                       qn_penalty_l2(g, x, lambda),
                       qn_penalty_tie(g, x, y, lambda)};
    for (int i = 0; i < 3; i++)
        qn_gradients(g, out[i], &x, 1, &out[3 + i]);
    for (int i = 0; i < COUNT; i++) {
        a[i] = (float)qn_check_uniform(&rng, -2, 2);
        b[i] = (float)qn_check_uniform(&rng, -2, 2);
        const double p = (double)a[i], q = (double)b[i];
        values[0] += lambda * fabs(p);
        values[1] += lambda / 2 * p * p;
        values[2] += lambda * (p - q) * (p - q);
        da[0][i] = p > 0 ? lambda : -lambda;
        da[1][i] = lambda * p;
        da[2][i] = 2 * lambda * (p - q);
    }
    qn_plan *plan = make_plan(g, NULL, out, 6);
    ck_assert_int_eq(qn_plan_write(plan, x, a, sizeof a), QN_OK);
    ck_assert_int_eq(qn_plan_write(plan, y, b, sizeof b), QN_OK);
    ck_assert_int_eq(qn_plan_run(plan), QN_OK);
    for (int i = 0; i < 3; i++) {
        expect_output(plan, out[i], "penalty", &values[i], 1);
        expect_output(plan, out[3 + i], "gradient", da[i], COUNT);
    }
    qn_plan_destroy(&plan);
    qn_graph_destroy(&g);
}
END_TEST

START_TEST(ties_want_one_shape)
{
    qn_error error = {0};
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *a = qn_parameter(g, "a", qn_shape_of(2, 3));
    qn_node *b = qn_parameter(g, "b", qn_shape_of(1, 3)); // would broadcast
    ck_assert_ptr_null(qn_penalty_tie(g, a, b, 1));
    ck_assert_int_eq(qn_graph_check(g, &error), QN_BAD_SHAPE);
    ck_assert_ptr_nonnull(strstr(error.text, "\"a\", [2, 3], to \"b\", [1, 3]"));
    qn_graph_destroy(&g);
}
END_TEST

// ---- which parameter has which ----

static qn_graph *build(const qn_model *model, qn_node **y)
{
    qn_error error = {0};
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    *y = qn_model_build(model, g,
                        qn_input(g, "x", QN_FLOAT32, qn_shape_of(2, 4)),
                        NULL);
    ck_assert_ok(qn_graph_check(g, &error), error);
    return g;
}

START_TEST(weights_have_them_and_layers_their_own)
{
    qn_model *model = qn_check_model(
        "{\"layers\": [{\"type\": \"dense\", \"units\": 3}, "
        "{\"type\": \"residual\", \"layers\": [{\"type\": \"dense\", "
        "\"units\": 3, \"l1\": 0, \"l2\": 5}]}, "
        "{\"type\": \"dense\", \"units\": 2, \"l1\": 7}]}");
    const struct qn_penalty all = {1, 2, true};
    qn_node *y;
    qn_graph *g = build(model, &y);
    const struct qn_penalty *p = qn_model_penalties(model, g, &all);
    ck_assert_ptr_nonnull(p);
    const double l1[] = {1, 0, 0, 0, 7, 0}, l2[] = {2, 0, 5, 0, 2, 0};
    ck_assert_int_eq(qn_group_members(g, "parameters", NULL, 0), 6);
    for (int i = 0; i < 6; i++) {
        ck_assert_double_eq(p[i].l1, l1[i]);
        ck_assert_double_eq(p[i].l2, l2[i]);
        ck_assert(p[i].proximal == (i % 2 == 0)); // weight, bias, weight...
    }
    p = qn_model_penalties(model, g, NULL);
    ck_assert_double_eq(p[0].l2, 0);
    ck_assert_double_eq(p[2].l2, 5);
    ck_assert_double_eq(p[4].l1, 7);
    qn_graph_destroy(&g);
    qn_model_destroy(&model);
    model = qn_check_model("3-relu-2");
    g = build(model, &y);
    const struct qn_penalty none = {0};
    ck_assert_ptr_null(qn_model_penalties(model, g, &none));
    ck_assert_ptr_null(qn_model_penalties(model, g, NULL));
    ck_assert_ptr_null(qn_model_ties(model, g));
    qn_graph_destroy(&g);
    qn_model_destroy(&model);
}
END_TEST

// ---- the update ----

enum { TENSORS = 4, ELEMENTS = 300 + 3 + 129 + 16 };

// The second one has no penalty, the others one of each kind.
static const struct {
    const char *name;
    int rows, columns;
    struct qn_penalty penalty;
} tensors[TENSORS] = {
    {"0.weight", 3, 100, {0.11, 0.07, false}},
    {"0.bias", 1, 3, {0, 0, false}},
    {"2.weight", 3, 43, {0.4, 0.05, true}},
    {"3.weight", 4, 4, {0, 0.2, true}},
};

struct problem {
    qn_graph *g;
    qn_store *store;
    qn_plan *plan;
    qn_node *loss;
    struct qn_optimizer_update update;
    double c[ELEMENTS], t[ELEMENTS], x[ELEMENTS], first[ELEMENTS],
        second[ELEMENTS];
};

// 1/2 sum c (x - t)^2 over all parameters
static qn_node *build_loss(struct problem *p)
{
    qn_node *loss = NULL;
    float data[ELEMENTS];
    for (int k = 0, at = 0; k < TENSORS; k++) {
        const qn_shape shape =
            qn_shape_of(tensors[k].rows, tensors[k].columns);
        const int count = (int)qn_shape_count(&shape);
        qn_node *x = qn_parameter(p->g, tensors[k].name, shape);
        for (int i = 0; i < count; i++)
            data[i] = (float)p->t[at + i];
        qn_node *off = qn_sub(
            p->g, x, qn_constant_data(p->g, QN_FLOAT32, shape, data));
        for (int i = 0; i < count; i++)
            data[i] = (float)(p->c[at + i] / 2);
        qn_node *sum = qn_sum(
            p->g,
            qn_mul(p->g, qn_square(p->g, off),
                   qn_constant_data(p->g, QN_FLOAT32, shape, data)), NULL);
        loss = loss ? qn_add(p->g, loss, sum) : sum;
        at += count;
    }
    return loss;
}

static void copy_parameters(struct problem *p, double *values, bool write)
{
    qn_error error = {0};
    for (int k = 0, at = 0; k < TENSORS; k++) {
        float data[ELEMENTS];
        const int count = tensors[k].rows * tensors[k].columns;
        const size_t size = (size_t)count * sizeof *data;
        const int index =
            qn_store_find(p->store, "parameters", tensors[k].name);
        if (write) {
            for (int i = 0; i < count; i++)
                data[i] = (float)values[at + i];
            ck_assert_ok(qn_store_write(p->store, index, data, size, &error),
                         error);
        } else {
            ck_assert_ok(qn_store_read(p->store, index, data, size, &error),
                         error);
            for (int i = 0; i < count; i++)
                values[at + i] = (double)data[i];
        }
        at += count;
    }
}

static void start(struct problem *p, const struct qn_optimizer *row)
{
    struct qn_check_rng rng = {77};
    struct qn_penalty penalties[TENSORS];
    qn_error error = {0};
    *p = (struct problem){.g = qn_graph_create(QN_FLOAT32)};
    for (int i = 0; i < ELEMENTS; i++) {
        p->c[i] = (double)(float)qn_check_uniform(&rng, 0.5, 2);
        p->t[i] = (double)(float)qn_check_uniform(&rng, -1, 1);
        p->x[i] = (double)(float)qn_check_uniform(&rng, -1, 1);
    }
    for (int k = 0; k < TENSORS; k++)
        penalties[k] = tensors[k].penalty;
    struct qn_optimizer_params params = qn_optimizer_defaults(row);
    params.penalties = penalties;
    p->loss = build_loss(p);
    qn_optimizer_build(p->g, p->loss, &params, &p->update);
    p->loss = qn_add(p->g, p->loss, qn_penalty_sum(p->g, penalties));
    ck_assert_ok(qn_graph_check(p->g, &error), error);
    p->store = qn_store_create(qn_check_device(), &error);
    ck_assert_msg(p->store != NULL, "%s", error.text);
    ck_assert_ok(qn_store_add(p->store, p->g, &error), error);
    p->plan = make_plan(p->g, p->store, &p->loss, 1);
    copy_parameters(p, p->x, true);
}

static double sign(double x)
{
    return (x > 0) - (x < 0);
}

// The optimizers' rules at their defaults, from PyTorch's documentation.
static double step_of(struct problem *p, const char *optimizer, int i,
                      double g, double lr, int step)
{
    if (strcmp(optimizer, "sgd") == 0)
        return lr * g;
    if (strcmp(optimizer, "momentum") == 0)
        return lr * (p->first[i] = 0.9 * p->first[i] + g);
    p->first[i] = 0.9 * p->first[i] + 0.1 * g;
    p->second[i] = 0.999 * p->second[i] + 0.001 * g * g;
    return lr * p->first[i] / (1 - pow(0.9, step)) /
           (sqrt(p->second[i] / (1 - pow(0.999, step))) + 1e-8);
}

// One step of the reference; returns the loss before it.
static double advance(struct problem *p, const char *optimizer, double lr,
                      int step)
{
    double loss = 0;
    for (int k = 0, i = 0; k < TENSORS; k++) {
        const struct qn_penalty *q = &tensors[k].penalty;
        const int end = i + tensors[k].rows * tensors[k].columns;
        for (; i < end; i++) {
            const double x = p->x[i], off = x - p->t[i];
            loss += p->c[i] / 2 * off * off + q->l1 * fabs(x) +
                    q->l2 / 2 * x * x;
            double g = p->c[i] * off + q->l2 * x;
            g += q->proximal ? 0 : q->l1 * sign(x);
            p->x[i] -= step_of(p, optimizer, i, g, lr, step);
            if (q->proximal)
                p->x[i] = sign(p->x[i]) *
                          fmax(fabs(p->x[i]) - lr * q->l1, 0);
        }
    }
    return loss;
}

static int count_zeros(const double *x, int first, int count)
{
    int zeros = 0;
    for (int i = first; i < first + count; i++)
        zeros += x[i] == 0;
    return zeros;
}

// At least `fewest` elements of the proximal tensor become 0. Where steps are
// longer than the threshold, few end there while all still moves.
static void follow(const struct qn_optimizer *row, double lr, int steps,
                   int fewest)
{
    static struct problem p;
    double got[ELEMENTS];
    struct qn_optimizer_step at = qn_optimizer_start(row);
    start(&p, row);
    at.lr = lr;
    for (int step = 1; step <= steps; step++) {
        at.step = step;
        ck_assert_int_eq(qn_optimizer_set(&p.update, p.plan, &at), QN_OK);
        ck_assert_int_eq(qn_plan_run(p.plan), QN_OK);
        double loss = advance(&p, row->name, lr, step);
        expect_output(p.plan, p.loss, row->name, &loss, 1);
    }
    copy_parameters(&p, got, false);
    qn_check_close(row->name, got, p.x, ELEMENTS, 1e-4, 1e-5);
    // Zeros come by the threshold alone, and the same ones.
    ck_assert_int_eq(count_zeros(got, 0, 303), 0);
    const int zeros = count_zeros(got, 303, 129);
    ck_assert_int_eq(zeros, count_zeros(p.x, 303, 129));
    ck_assert_int_ge(zeros, fewest);
    ck_assert_int_eq(count_zeros(got, 432, 16), 0);
    qn_plan_destroy(&p.plan);
    qn_store_destroy(&p.store);
    qn_graph_destroy(&p.g);
}

START_TEST(update_applies_them_and_the_loss_has_them)
{
    static const struct {
        const char *name;
        double lr;
        int fewest;
    } runs[] = {{"sgd", 0.05, 20}, {"momentum", 0.01, 1}, {"adam", 0.02, 1}};
    const bool is_emulated =
        qn_device_describe(qn_check_device())->type == QN_DEVICE_EMULATOR;
    for (int i = 0; i < 3; i++)
        follow(qn_optimizer_find(runs[i].name), runs[i].lr,
               is_emulated ? 2 : 40, is_emulated ? 0 : runs[i].fewest);
}
END_TEST

// ---- ties ----

START_TEST(layers_of_a_model_are_tied)
{
    static const char *const text =
        "{\"layers\": [{\"type\": \"dense\", \"units\": 4, \"name\": \"a\"}, "
        "{\"type\": \"dense\", \"units\": 4, \"tie\": {\"to\": \"a\", "
        "\"weight\": 0.5}}]}";
    qn_error error = {0};
    qn_node *y, *members[4];
    qn_model *model = qn_check_model(text);
    qn_graph *g = build(model, &y);
    qn_node *ties = qn_model_ties(model, g);
    ck_assert_ptr_nonnull(ties);
    qn_group_members(g, "parameters", members, 4);
    qn_store *store = qn_store_create(qn_check_device(), &error);
    ck_assert_ok(qn_store_add(store, g, &error), error);
    ck_assert_ok(qn_model_init(model, store, 1, &error), error);
    double want = 0;
    for (int i = 0; i < 2; i++) { // weight, bias
        float a[16], b[16];
        const size_t size = (i ? 4 : 16) * sizeof *a;
        ck_assert_ok(qn_store_read(store, i, a, size, &error), error);
        ck_assert_ok(qn_store_read(store, i + 2, b, size, &error), error);
        for (size_t k = 0; k < size / sizeof *a; k++)
            want += 0.5 * pow((double)a[k] - (double)b[k], 2);
    }
    qn_plan *plan = make_plan(g, store, &ties, 1);
    ck_assert_int_eq(qn_plan_run(plan), QN_OK);
    expect_output(plan, ties, "ties", &want, 1);
    qn_plan_destroy(&plan);
    qn_store_destroy(&store);
    qn_graph_destroy(&g);
    qn_model_destroy(&model);
    model = qn_check_model(
        "{\"layers\": [{\"type\": \"dense\", \"units\": 4, \"bias\": false, "
        "\"name\": \"a\"}, {\"type\": \"dense\", \"units\": 4, \"tie\": "
        "{\"to\": \"a\", \"weight\": 0.5}}]}");
    g = build(model, &y);
    ck_assert_ptr_null(qn_model_ties(model, g));
    ck_assert_int_ne(qn_graph_check(g, &error), QN_OK);
    ck_assert_msg(strstr(error.text, "layer 1 is tied to layer 0, which has "
                                     "no \"bias\"") != NULL,
                  "%s", error.text);
    qn_graph_destroy(&g);
    qn_model_destroy(&model);
}
END_TEST

// Two models in one graph, each with a loss of its own, and a penalty that
// draws their first weights together: with a strong one these meet, without
// one they stay apart.
static double distance_after(double lambda)
{
    enum { STEPS = 15 };
    qn_error error = {0};
    qn_node *weights[2] = {0}, *loss = NULL;
    const float x[8] = {1, -1, 0.5F, 2, -0.5F, 1, 1, -2};
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_model *model = qn_check_model("{\"layers\": [{\"type\": \"dense\", "
                                 "\"units\": 2, \"bias\": false}]}");
    qn_node *in = qn_constant_data(g, QN_FLOAT32, qn_shape_of(2, 4), x);
    for (int i = 0; i < 2; i++) {
        qn_graph_push(g, i ? "right" : "left");
        qn_node *y = qn_model_build(model, g, in, NULL);
        weights[i] = qn_parameter(g, "0.weight", qn_shape_of(2, 4));
        qn_graph_pop(g);
        qn_node *off = qn_add_scalar(g, y, i ? 1 : -1); // other targets
        qn_node *own = qn_mean(g, qn_square(g, off), NULL);
        loss = loss ? qn_add(g, loss, own) : own;
    }
    loss = qn_add(g, loss, qn_penalty_tie(g, weights[0], weights[1], lambda));
    struct qn_optimizer_params params =
        qn_optimizer_defaults(qn_optimizer_find("sgd"));
    struct qn_optimizer_update update;
    qn_optimizer_build(g, loss, &params, &update);
    ck_assert_ok(qn_graph_check(g, &error), error);
    qn_store *store = qn_store_create(qn_check_device(), &error);
    ck_assert_ok(qn_store_add(store, g, &error), error);
    qn_plan *plan = make_plan(g, store, &loss, 1);
    struct qn_optimizer_step at = qn_optimizer_start(params.optimizer);
    at.lr = 0.02;
    ck_assert_int_eq(qn_optimizer_set(&update, plan, &at), QN_OK);
    for (int i = 0; i < STEPS; i++)
        ck_assert_int_eq(qn_plan_run(plan), QN_OK);
    float left[8], right[8];
    ck_assert_ok(qn_store_read(store, qn_store_find(store, "parameters",
                                                    "left.0.weight"),
                               left, sizeof left, &error), error);
    ck_assert_ok(qn_store_read(store, qn_store_find(store, "parameters",
                                                    "right.0.weight"),
                               right, sizeof right, &error), error);
    double distance = 0;
    for (int i = 0; i < 8; i++)
        distance += pow((double)left[i] - (double)right[i], 2);
    qn_plan_destroy(&plan);
    qn_store_destroy(&store);
    qn_graph_destroy(&g);
    qn_model_destroy(&model);
    return distance;
}

START_TEST(two_models_are_tied_while_they_train)
{
    const double free = distance_after(0), tied = distance_after(10);
    ck_assert_double_gt(free, 0.1);
    ck_assert_double_lt(tied, 0.05 * free);
}
END_TEST

QN_CHECK_MAIN("penalty", nodes_have_the_documented_values_and_gradients,
              ties_want_one_shape, weights_have_them_and_layers_their_own,
              update_applies_them_and_the_loss_has_them,
              layers_of_a_model_are_tied,
              two_models_are_tied_while_they_train)
