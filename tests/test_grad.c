// The reverse walk: shapes, sums where branches meet, what it leaves out, what
// it refuses, and values against closed forms, twice differentiated.
#undef QN_NO_CALL_SITES // as an application sees the builders

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "graph/graph.h"
#include "op/rules.h"
#include "op/table.h"
#include "qn_check.h"
#include "quern/op.h"
#include "quern/plan.h"

static qn_node *make_real(qn_graph *g, const char *name, qn_shape shape)
{
    return qn_input(g, name, g->real, shape);
}

static qn_node *total(qn_graph *g, qn_node *x)
{
    return qn_sum(g, x, qn_reduce_params(0));
}

static void expect_ok(const qn_graph *g)
{
    qn_error error = {0};
    ck_assert_ok(qn_graph_check(g, &error), error);
}

// The graph's error has all of the texts; ends the graph.
static void expect_error(qn_graph *g, const char *first, const char *second)
{
    qn_error error = {0};
    ck_assert_int_ne(qn_graph_check(g, &error), QN_OK);
    ck_assert_msg(strstr(error.text, first) && strstr(error.text, second),
                  "%s", error.text);
    qn_graph_destroy(&g);
}

static int count_rows(const struct qn_node *first, const char *name)
{
    int count = 0;
    for (const struct qn_node *node = first; node; node = node->next)
        count += strcmp(node->op->name, name) == 0;
    return count;
}

START_TEST(gradients_have_the_shapes_of_their_inputs)
{
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *wrt[] = {make_real(g, "x", qn_shape_of(4, 3)),
                      make_real(g, "b", qn_shape_of(3)),
                      make_real(g, "c", qn_shape_of(4, 1)),
                      make_real(g, "d", (qn_shape){0})};
    qn_node *h = qn_add(g, qn_mul(g, wrt[0], wrt[1]), wrt[2]);
    qn_node *loss = total(g, qn_relu(g, qn_sub(g, h, wrt[3])));
    qn_node *out[4];
    ck_assert_int_eq(qn_gradients(g, loss, wrt, 4, out), QN_OK);
    for (int i = 0; i < 4; i++) {
        ck_assert(qn_shape_equal(&out[i]->shape, &wrt[i]->shape));
        ck_assert_int_eq(out[i]->dtype, QN_FLOAT32);
    }
    expect_ok(g);
    qn_graph_destroy(&g);
}
END_TEST

START_TEST(branches_meet_in_one_addition)
{
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *x = make_real(g, "x", qn_shape_of(5)), *dx;
    qn_node *loss = total(g, qn_mul(g, x, x));
    const struct qn_node *last = g->last;
    ck_assert_int_eq(qn_gradients(g, loss, &x, 1, &dx), QN_OK);
    ck_assert_str_eq(dx->op->name, "add");
    ck_assert_int_eq(count_rows(last->next, "add"), 1);
    ck_assert_int_eq(count_rows(last->next, "mul"), 2);
    qn_graph_destroy(&g);
}
END_TEST

START_TEST(nothing_is_made_for_what_nobody_asked)
{
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *x = make_real(g, "x", qn_shape_of(5, 7)), *dw;
    qn_node *w = make_real(g, "w", qn_shape_of(7));
    qn_node *aside = qn_exp(g, qn_exp(g, x)); // does not see w
    qn_node *loss = total(g, qn_mul(g, aside, w));
    total(g, qn_tanh(g, w)); // does not reach the loss
    const struct qn_node *last = g->last;
    ck_assert_int_eq(qn_gradients(g, loss, &w, 1, &dw), QN_OK);
    ck_assert_int_eq(count_rows(last->next, "mul"), 1);
    ck_assert_int_eq(count_rows(last->next, "square"), 0);
    ck_assert_int_eq(count_rows(last->next, "sum"), 1);
    qn_graph_destroy(&g);
}
END_TEST

START_TEST(independent_and_blocked_inputs_have_zero_gradients)
{
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *wrt[] = {make_real(g, "x", qn_shape_of(2, 3)),
                      make_real(g, "y", qn_shape_of(4)), qn_scalar(g, "s")};
    qn_node *blocked = qn_greater(g, wrt[0], qn_constant(g, 0));
    qn_node *whole = qn_cast(g, qn_cast(g, wrt[0], QN_INT32), QN_FLOAT32);
    qn_node *loss = total(g, qn_add(g, blocked, whole)), *out[3];
    ck_assert_int_eq(qn_gradients(g, loss, wrt, 3, out), QN_OK);
    for (int i = 0; i < 3; i++) {
        const struct qn_node *zero = out[i];
        ck_assert(qn_shape_equal(&zero->shape, &wrt[i]->shape));
        if (zero->input_count)
            zero = zero->inputs[0];
        ck_assert(qn_node_is(zero, QN_OP_CONSTANT));
        ck_assert_double_eq(zero->p[0], 0);
    }
    qn_graph_destroy(&g);
}
END_TEST

START_TEST(any_node_may_be_asked_for)
{
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *x = make_real(g, "x", qn_shape_of(3));
    qn_node *h = qn_exp(g, x), *loss = total(g, qn_square(g, h));
    qn_node *wrt[] = {x, h, loss, h}, *out[4];
    ck_assert_int_eq(qn_gradients(g, loss, wrt, 4, out), QN_OK);
    ck_assert_str_eq(out[0]->op->name, "mul");
    ck_assert_ptr_eq(out[0]->inputs[0], out[1]);
    ck_assert_ptr_eq(out[1], out[3]);
    ck_assert(qn_node_is(out[2], QN_OP_CONSTANT));
    ck_assert_double_eq(out[2]->p[0], 1);
    qn_graph_destroy(&g);
}
END_TEST

START_TEST(appended_nodes_bear_the_place_of_their_origin)
{
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *x = make_real(g, "x", qn_shape_of(3)), *dx;
    qn_graph_push(g, "body");
    qn_node *y = qn_tanh(g, x);
    const int line = __LINE__ - 1;
    qn_graph_pop(g);
    qn_node *loss = total(g, y);
    qn_graph_push(g, "later");
    qn_gradients(g, loss, &x, 1, &dx);
    const int after = __LINE__ - 1;
    ck_assert_int_eq(dx->line, line);
    ck_assert_str_eq(dx->name, "body");
    ck_assert_int_eq(g->line, after);
    ck_assert_str_eq(g->scope, "later");
    qn_graph_destroy(&g);
}
END_TEST

// ---- refusals ----

static struct qn_node *grad_narrow(struct qn_graph *g, struct qn_node *node,
                                   struct qn_node *dy, int i)
{
    (void)node, (void)dy, (void)i;
    return (qn_constant)(g, 1);
}

static const struct qn_op no_rule = {
    .name = "no_rule", .min_inputs = 1, .max_inputs = 1, .expr = "x",
    .infer = qn_infer_like,
};
static const struct qn_op bad_rule = {
    .name = "bad_rule", .min_inputs = 1, .max_inputs = 1, .expr = "x",
    .infer = qn_infer_like, .grad = grad_narrow,
};

START_TEST(missing_rule_is_named_with_the_line_of_its_node)
{
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *x = make_real(g, "x", qn_shape_of(3)), *dx;
    char place[64];
    qn_graph_push(g, "odd");
    qn_node *y = qn_build_unary(QN_AT(g), &no_rule, x);
    snprintf(place, sizeof place, "test_grad.c:%d: no_rule in odd",
             __LINE__ - 2);
    qn_graph_pop(g);
    // Off the way to the loss it does not matter.
    ck_assert_int_eq(qn_gradients(g, total(g, x), &x, 1, &dx), QN_OK);
    ck_assert_int_eq(qn_gradients(g, total(g, y), &y, 1, &dx), QN_OK);
    ck_assert_int_eq(qn_gradients(g, total(g, y), &x, 1, &dx),
                     QN_UNSUPPORTED);
    ck_assert_ptr_null(dx);
    expect_error(g, place, "has no gradient");
}
END_TEST

START_TEST(rule_with_a_wrong_shape_is_caught)
{
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *x = make_real(g, "x", qn_shape_of(3)), *dx;
    qn_node *y = qn_build_unary(QN_AT(g), &bad_rule, x);
    ck_assert_int_eq(qn_gradients(g, total(g, y), &x, 1, &dx), QN_BAD_SHAPE);
    expect_error(g, "bad_rule", "gives a gradient [] for an input [3]");
}
END_TEST

START_TEST(bad_losses_and_variables_are_refused)
{
    qn_graph *g = qn_graph_create(QN_FLOAT32), *other;
    qn_node *x = make_real(g, "x", qn_shape_of(3)), *dx;
    ck_assert_int_ne(qn_gradients(g, x, &x, 1, &dx), QN_OK);
    expect_error(g, "the loss must be one number", "input float32 [3]");

    g = qn_graph_create(QN_FLOAT32);
    x = qn_input(g, "x", QN_INT32, qn_shape_of(3));
    ck_assert_int_ne(qn_gradients(g, total(g, qn_neg(g, x)), &x, 1, &dx),
                     QN_OK);
    expect_error(g, "only real tensors have a gradient", "int32 [3]");

    g = qn_graph_create(QN_FLOAT32);
    other = qn_graph_create(QN_FLOAT32);
    x = make_real(other, "x", qn_shape_of(1));
    ck_assert_int_ne(qn_gradients(g, x, &x, 1, &dx), QN_OK);
    expect_error(g, "the loss is NULL or of another graph", "test_grad.c");
    g = qn_graph_create(QN_FLOAT32);
    ck_assert_int_ne(qn_gradients(g, qn_scalar(g, "s"), &x, 1, &dx), QN_OK);
    expect_error(g, "wrt[0] is NULL or of another graph", "test_grad.c");
    qn_graph_destroy(&other);
}
END_TEST

// ---- values ----

// Runs a graph of one input x and reads `count` nodes of its shape.
static void evaluate(qn_graph *g, qn_node *x, const double *values, int n,
                     qn_node **nodes, int count, double *results)
{
    qn_error error = {0};
    const size_t size = (size_t)n * sizeof *values;
    qn_plan *plan = qn_plan_create(
        qn_check_device(),
        &(struct qn_plan_params){
            .graph = g, .outputs = nodes, .output_count = count},
        &error);
    ck_assert_msg(plan != NULL, "%s", error.text);
    ck_assert(qn_plan_write(plan, x, values, size) == QN_OK);
    ck_assert_msg(qn_plan_run(plan) == QN_OK, "%s",
                  qn_plan_error(plan)->text);
    for (int i = 0; i < count; i++)
        ck_assert_msg(qn_plan_read(plan, nodes[i], results + i * n, size) ==
                          QN_OK,
                      "%s", qn_plan_error(plan)->text);
    qn_plan_destroy(&plan);
}

enum { N = 23 };

// d/dx of sum x^3 e^x / 2 + x: (x^3 + 3 x^2) e^x / 2 + 1, and so on.
START_TEST(derivatives_of_any_order_match_closed_forms)
{
    qn_graph *g = qn_graph_create(QN_FLOAT64);
    qn_node *x = make_real(g, "x", qn_shape_of(N)), *d[4];
    qn_node *cube = qn_mul(g, qn_square(g, x), x);
    d[0] = qn_add(g, qn_mul(g, cube, qn_scale(g, qn_exp(g, x), 0.5)), x);
    for (int k = 1; k < 4; k++)
        qn_gradients(g, total(g, d[k - 1]), &x, 1, &d[k]);
    expect_ok(g);
    double xs[N], got[4 * N], want[4 * N];
    for (int i = 0; i < N; i++) {
        const double v = xs[i] = (i - N / 2) * 0.25, e = exp(v) / 2;
        want[i] = v * v * v * e + v;
        want[N + i] = v * v * (v + 3) * e + 1;
        want[2 * N + i] = v * (v * v + 6 * v + 6) * e;
        want[3 * N + i] = (v * v * v + 9 * v * v + 18 * v + 6) * e;
    }
    evaluate(g, x, xs, N, d, 4, got);
    qn_check_close("derivatives", got, want, 4 * N, 1e-12, 1e-13);
    qn_graph_destroy(&g);
}
END_TEST

// x is used as a row and, through a broadcast, as each column.
START_TEST(broadcast_branches_add_up)
{
    qn_graph *g = qn_graph_create(QN_FLOAT64);
    qn_node *x = make_real(g, "x", qn_shape_of(N)), *dx;
    qn_node *column = qn_reshape(g, x, qn_shape_of(N, 1));
    qn_node *loss = total(g, qn_mul(g, qn_square(g, column), x));
    qn_gradients(g, loss, &x, 1, &dx);
    expect_ok(g);
    double xs[N], got[N], want[N], sum = 0, squares = 0;
    for (int i = 0; i < N; i++) {
        xs[i] = sin(i);
        sum += xs[i];
        squares += xs[i] * xs[i];
    }
    for (int i = 0; i < N; i++)
        want[i] = 2 * xs[i] * sum + squares;
    evaluate(g, x, xs, N, &dx, 1, got);
    qn_check_close("gradient", got, want, N, 1e-13, 1e-13);
    qn_graph_destroy(&g);
}
END_TEST

// Where formulas break: ties, borders, 0 to a power, 0 log 0.
START_TEST(gradients_at_special_points_are_those_of_pytorch)
{
    static const double xs[] = {-2, -1, 0, 1, 2};
    static const double want[][5] = {
        {-1, -1, 0, 1, 1},   // |x|
        {0, 0, 0.5, 1, 1},   // max(x, 0), a tie at 0
        {1, 1, 0.5, 0, 0},   // min(x, 0)
        {0, 1, 1, 1, 0},     // clamp(x, -1, 1)
        {0, 0, 0, 1, 1},     // relu
        {0.1, 0.1, 0.1, 1, 1}, // leaky relu
        {0, 0, 0, 0, 0},     // x^0
        {12, 3, 0, 3, 12},   // x^3
        {NAN, NAN, INFINITY, 0.5, 0.35355339059327373}, // x^(1/2)
        {0, 0, 0, 0, 0},     // 0^(x + 2)
        {0, 0, 1, 1, 1},     // x >= 0 ? x : -2
    };
    enum { CASES = sizeof want / sizeof *want };
    qn_graph *g = qn_graph_create(QN_FLOAT64);
    qn_node *x = make_real(g, "x", qn_shape_of(5)), *zero = qn_constant(g, 0);
    qn_node *ys[CASES] = {
        qn_abs(g, x),
        qn_max(g, x, zero),
        qn_min(g, x, zero),
        qn_clamp(g, x, -1, 1),
        qn_relu(g, x),
        qn_leaky_relu(g, x, 0.1),
        qn_pow(g, x, zero),
        qn_pow(g, x, qn_constant(g, 3)),
        qn_pow(g, x, qn_constant(g, 0.5)),
        qn_pow(g, zero, qn_add_scalar(g, x, 2)),
        qn_select(g, qn_greater_equal(g, x, zero), x, qn_constant(g, -2)),
    };
    qn_node *dx[CASES];
    double got[5 * CASES];
    for (int i = 0; i < CASES; i++)
        qn_gradients(g, total(g, ys[i]), &x, 1, &dx[i]);
    expect_ok(g);
    evaluate(g, x, xs, 5, dx, CASES, got);
    for (int i = 0; i < CASES; i++)
        qn_check_close(ys[i]->op->name, got + 5 * i, want[i], 5, 1e-14, 0);
    qn_graph_destroy(&g);
}
END_TEST

QN_CHECK_MAIN("grad", gradients_have_the_shapes_of_their_inputs,
              branches_meet_in_one_addition,
              nothing_is_made_for_what_nobody_asked,
              independent_and_blocked_inputs_have_zero_gradients,
              any_node_may_be_asked_for,
              appended_nodes_bear_the_place_of_their_origin,
              missing_rule_is_named_with_the_line_of_its_node,
              rule_with_a_wrong_shape_is_caught,
              bad_losses_and_variables_are_refused,
              derivatives_of_any_order_match_closed_forms,
              broadcast_branches_add_up,
              gradients_at_special_points_are_those_of_pytorch)
