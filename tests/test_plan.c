// Plans: what fuses, where memory goes, state, views, numbers by value.
#undef QN_NO_CALL_SITES // as an application sees the builders

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan/plan.h"
#include "qn_check.h"
#include "quern/optim.h"
#include "quern/op.h"

static qn_plan *make_plan(qn_graph *g, qn_store *store, qn_node **outputs,
                          int output_count)
{
    qn_error error = {0};
    qn_plan *plan = qn_plan_create(
        qn_check_device(),
        &(struct qn_plan_params){.graph = g,
                                 .store = store,
                                 .outputs = outputs,
                                 .output_count = output_count},
        &error);
    ck_assert_msg(plan != NULL, "%s", error.text);
    return plan;
}

static void run(qn_plan *plan)
{
    ck_assert_msg(qn_plan_run(plan) == QN_OK, "%s",
                  qn_plan_error(plan)->text);
}

static void read_floats(qn_plan *plan, qn_node *node, float *data)
{
    size_t size = (size_t)qn_shape_count(qn_node_shape(node)) * sizeof *data;
    ck_assert_msg(qn_plan_read(plan, node, data, size) == QN_OK, "%s",
                  qn_plan_error(plan)->text);
}

static int count_launches(const qn_plan *plan)
{
    qn_plan_stats stats;
    qn_plan_describe(plan, &stats);
    return stats.launches;
}

START_TEST(pointwise_chain_is_one_launch)
{
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *x = qn_input(g, "x", QN_FLOAT32, qn_shape_of(5, 37));
    qn_node *b = qn_input(g, "b", QN_FLOAT32, qn_shape_of(37));
    qn_node *y = qn_tanh(g, qn_scale(g, qn_add(g, x, b), 0.5));
    qn_plan *plan = make_plan(g, NULL, &y, 1);
    ck_assert_int_eq(count_launches(plan), 1);
    float xs[185], bs[37], ys[185];
    for (int i = 0; i < 185; i++)
        xs[i] = (float)i / 100;
    for (int i = 0; i < 37; i++)
        bs[i] = (float)-i / 50;
    ck_assert(qn_plan_write(plan, x, xs, sizeof xs) == QN_OK);
    ck_assert(qn_plan_write(plan, b, bs, sizeof bs) == QN_OK);
    run(plan);
    read_floats(plan, y, ys);
    for (int i = 0; i < 185; i++)
        ck_assert_float_eq_tol(ys[i], tanhf((xs[i] + bs[i % 37]) * 0.5f),
                               1e-6f);
    qn_plan_destroy(&plan);
    qn_graph_destroy(&g);
}
END_TEST

START_TEST(value_with_two_consumers_is_stored_once)
{
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *x = qn_input(g, "x", QN_FLOAT32, qn_shape_of(100));
    qn_node *e = qn_exp(g, x);
    qn_node *out[] = {qn_add_scalar(g, e, 1), qn_scale(g, e, 2)};
    qn_plan *plan = make_plan(g, NULL, out, 2);
    ck_assert_int_eq(count_launches(plan), 3);
    float xs[100], ys[100];
    for (int i = 0; i < 100; i++)
        xs[i] = (float)i / 100;
    ck_assert(qn_plan_write(plan, x, xs, sizeof xs) == QN_OK);
    run(plan);
    read_floats(plan, out[1], ys);
    for (int i = 0; i < 100; i++)
        ck_assert_float_eq_tol(ys[i], 2 * expf(xs[i]), 1e-5f);
    qn_plan_destroy(&plan);
    qn_graph_destroy(&g);
}
END_TEST

// x * x + x uses x three times and its square once: one chain.
START_TEST(value_used_twice_in_one_chain_is_worked_out_once)
{
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *x = qn_input(g, "x", QN_FLOAT32, qn_shape_of(3));
    qn_node *s = qn_sigmoid(g, x);
    qn_node *y = qn_add(g, qn_mul(g, s, s), s);
    qn_plan *plan = make_plan(g, NULL, &y, 1);
    ck_assert_int_eq(count_launches(plan), 1);
    float xs[] = {0, 1, -1}, ys[3];
    ck_assert(qn_plan_write(plan, x, xs, sizeof xs) == QN_OK);
    run(plan);
    read_floats(plan, y, ys);
    ck_assert_float_eq_tol(ys[0], 0.75f, 1e-6f);
    qn_plan_destroy(&plan);
    qn_graph_destroy(&g);
}
END_TEST

START_TEST(scalars_reach_kernels_by_value)
{
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *x = qn_input(g, "x", QN_FLOAT32, qn_shape_of(4));
    qn_node *lr = qn_scalar(g, "lr");
    qn_node *y = qn_mul(g, x, qn_scale(g, lr, 3));
    qn_plan *plan = make_plan(g, NULL, &y, 1);
    float xs[] = {1, 2, 3, 4}, ys[4];
    ck_assert(qn_plan_write(plan, x, xs, sizeof xs) == QN_OK);
    for (int t = 1; t < 4; t++) {
        ck_assert(qn_plan_set(plan, lr, t) == QN_OK);
        run(plan);
        read_floats(plan, y, ys);
        ck_assert_float_eq(ys[3], 12.0f * (float)t);
    }
    ck_assert(qn_plan_set(plan, x, 1) == QN_BAD_ARGUMENT);
    qn_plan_destroy(&plan);
    qn_graph_destroy(&g);
}
END_TEST

START_TEST(what_never_changes_runs_once)
{
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    float data[] = {1, 2, 3};
    qn_node *c = qn_constant_data(g, QN_FLOAT32, qn_shape_of(3), data);
    qn_node *y = qn_exp(g, qn_neg(g, c));
    qn_plan *plan = make_plan(g, NULL, &y, 1);
    ck_assert_int_eq(count_launches(plan), 0);
    float ys[3];
    read_floats(plan, y, ys);
    ck_assert_float_eq_tol(ys[2], expf(-3), 1e-7f);
    qn_plan_destroy(&plan);
    qn_graph_destroy(&g);
}
END_TEST

// a and b change places: each needs the other's old value.
START_TEST(assignments_see_the_old_state)
{
    qn_error error = {0};
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *a = qn_variable(g, "s", "a", QN_FLOAT32, qn_shape_of(40));
    qn_node *b = qn_variable(g, "s", "b", QN_FLOAT32, qn_shape_of(40));
    qn_node *sum = qn_add(g, a, b);
    qn_assign(g, a, b);
    qn_assign(g, b, sum);
    qn_store *store = qn_store_create(qn_check_device(), &error);
    ck_assert_ok(qn_store_add(store, g, &error), error);
    float ones[40], values[40];
    for (int i = 0; i < 40; i++)
        ones[i] = 1;
    int index = qn_store_find(store, "s", "b");
    ck_assert_ok(qn_store_write(store, index, ones, sizeof ones, &error),
                 error);
    qn_plan *plan = make_plan(g, store, NULL, 0);
    // Fibonacci: (0, 1) -> (1, 1) -> (1, 2) -> ... after 10: (55, 89).
    for (int t = 0; t < 10; t++)
        run(plan);
    ck_assert_ok(qn_store_read(store, index, values, sizeof values, &error),
                 error);
    ck_assert_float_eq(values[39], 89);
    qn_plan_destroy(&plan);
    qn_store_destroy(&store);
    qn_graph_destroy(&g);
}
END_TEST

START_TEST(graph_error_comes_out_of_plan_create)
{
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *x = qn_input(g, "x", QN_FLOAT32, qn_shape_of(2, 3));
    qn_node *y = qn_add(
        g, x, qn_input(g, "y", QN_FLOAT32, qn_shape_of(4)));
    ck_assert_ptr_null(y);
    qn_error error = {0};
    qn_plan *plan =
        qn_plan_create(qn_check_device(),
                       &(struct qn_plan_params){.graph = g}, &error);
    ck_assert_ptr_null(plan);
    ck_assert_int_eq(error.status, QN_BAD_SHAPE);
    ck_assert_msg(strstr(error.text, "test_plan.c:") != NULL, "%s",
                  error.text);
    qn_graph_destroy(&g);
}
END_TEST

// A long line of values: each can take its predecessor's memory.
START_TEST(dead_memory_is_used_again)
{
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *x = qn_input(g, "x", QN_FLOAT32, qn_shape_of(1000));
    qn_node *y = x;
    for (int i = 0; i < 100; i++)
        y = qn_add_scalar(g, qn_add(g, y, qn_neg(g, x)), 1);
    qn_plan *plan = make_plan(g, NULL, &y, 1);
    qn_plan_stats stats;
    qn_plan_describe(plan, &stats);
    ck_assert_int_gt(stats.launches, 4);
    ck_assert_int_lt(stats.arena_size, 2 * 4096);
    ck_assert_int_gt(stats.tensor_size, 4 * stats.arena_size);
    float xs[1000], ys[1000];
    for (int i = 0; i < 1000; i++)
        xs[i] = (float)(i % 3);
    ck_assert(qn_plan_write(plan, x, xs, sizeof xs) == QN_OK);
    run(plan);
    read_floats(plan, y, ys);
    ck_assert_float_eq(ys[999], 100 - 99 * xs[999]);
    qn_plan_destroy(&plan);
    qn_graph_destroy(&g);
}
END_TEST

static const char *dump(const qn_plan *plan)
{
    static char text[4000];
    FILE *file = tmpfile();
    ck_assert_ptr_nonnull(file);
    qn_plan_dump_text(plan, file);
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    return text;
}

START_TEST(bias_and_activation_ride_on_the_product)
{
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *x = qn_input(g, "x", QN_FLOAT32, qn_shape_of(9, 20));
    qn_node *w = qn_input(g, "w", QN_FLOAT32, qn_shape_of(33, 20));
    qn_node *b = qn_input(g, "b", QN_FLOAT32, qn_shape_of(33));
    qn_node *y = qn_relu(
        g, qn_add(g, qn_matmul(g, x, w, qn_matmul_params(.trans_b = true)),
                  b));
    qn_plan *plan = make_plan(g, NULL, &y, 1);
    ck_assert_msg(count_launches(plan) == 1, "%s", dump(plan));
    float xs[180], ws[660], bs[33], ys[297];
    for (int i = 0; i < 180; i++)
        xs[i] = (float)(i % 7 - 3);
    for (int i = 0; i < 660; i++)
        ws[i] = (float)(i % 5 - 2);
    for (int i = 0; i < 33; i++)
        bs[i] = (float)(i - 16);
    ck_assert(qn_plan_write(plan, x, xs, sizeof xs) == QN_OK);
    ck_assert(qn_plan_write(plan, w, ws, sizeof ws) == QN_OK);
    ck_assert(qn_plan_write(plan, b, bs, sizeof bs) == QN_OK);
    run(plan);
    read_floats(plan, y, ys);
    for (int m = 0; m < 9; m++)
        for (int n = 0; n < 33; n++) {
            float sum = bs[n];
            for (int k = 0; k < 20; k++)
                sum += xs[m * 20 + k] * ws[n * 20 + k];
            ck_assert_float_eq(ys[m * 33 + n], sum < 0 ? 0 : sum);
        }
    qn_plan_destroy(&plan);
    qn_graph_destroy(&g);
}
END_TEST

START_TEST(chain_rides_on_the_loads_of_a_reduction)
{
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *x = qn_input(g, "x", QN_FLOAT32, qn_shape_of(37, 5));
    qn_node *y = qn_input(g, "y", QN_FLOAT32, qn_shape_of(37, 5));
    qn_node *loss = qn_mean(g, qn_square(g, qn_sub(g, x, y)), NULL);
    qn_plan *plan = make_plan(g, NULL, &loss, 1);
    ck_assert_msg(count_launches(plan) == 1, "%s", dump(plan));
    float xs[185], ys[185], mean;
    for (int i = 0; i < 185; i++) {
        xs[i] = (float)i;
        ys[i] = (float)i - 2;
    }
    ck_assert(qn_plan_write(plan, x, xs, sizeof xs) == QN_OK);
    ck_assert(qn_plan_write(plan, y, ys, sizeof ys) == QN_OK);
    run(plan);
    read_floats(plan, loss, &mean);
    ck_assert_float_eq(mean, 4);
    qn_plan_destroy(&plan);
    qn_graph_destroy(&g);
}
END_TEST

// A node between a product and a reduction rides on one of them, not on both.
START_TEST(value_between_two_kernels_rides_on_one)
{
    const int rows = 0;
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *x = qn_input(g, "x", QN_FLOAT32, qn_shape_of(9, 20));
    qn_node *w = qn_input(g, "w", QN_FLOAT32, qn_shape_of(33, 20));
    qn_node *y = qn_relu(
        g, qn_matmul(g, x, w, qn_matmul_params(.trans_b = true)));
    qn_node *sum = qn_sum(g, y, qn_reduce_params(.axes = &rows,
                                                 .axis_count = 1));
    qn_plan *plan = make_plan(g, NULL, &sum, 1);
    float xs[180], ws[660], sums[33];
    for (int i = 0; i < 180; i++)
        xs[i] = (float)(i % 7 - 3);
    for (int i = 0; i < 660; i++)
        ws[i] = (float)(i % 5 - 2);
    ck_assert(qn_plan_write(plan, x, xs, sizeof xs) == QN_OK);
    ck_assert(qn_plan_write(plan, w, ws, sizeof ws) == QN_OK);
    run(plan);
    read_floats(plan, sum, sums);
    for (int n = 0; n < 33; n++) {
        float want = 0;
        for (int m = 0; m < 9; m++) {
            float product = 0;
            for (int k = 0; k < 20; k++)
                product += xs[m * 20 + k] * ws[n * 20 + k];
            want += product < 0 ? 0 : product;
        }
        ck_assert_float_eq(sums[n], want);
    }
    qn_plan_destroy(&plan);
    qn_graph_destroy(&g);
}
END_TEST

// A bias that runs along the channels, and ReLU: no launch of their own.
START_TEST(bias_and_relu_ride_on_a_convolution)
{
    int launches[2];
    for (int with = 0; with < 2; with++) {
        qn_graph *g = qn_graph_create(QN_FLOAT32);
        qn_node *x = qn_input(g, "x", QN_FLOAT32, qn_shape_of(2, 3, 9, 9));
        qn_node *w = qn_input(g, "w", QN_FLOAT32, qn_shape_of(5, 3, 3, 3));
        qn_node *b = qn_input(g, "b", QN_FLOAT32, qn_shape_of(5));
        qn_node *y = qn_conv2d(g, x, w, NULL);
        if (with)
            y = qn_relu(g, qn_add(g, y, qn_reshape(g, b, qn_shape_of(5, 1,
                                                                     1))));
        qn_plan *plan = make_plan(g, NULL, &y, 1);
        qn_plan_stats stats;
        qn_plan_describe(plan, &stats);
        launches[with] = stats.launches;
        qn_plan_destroy(&plan);
        qn_graph_destroy(&g);
    }
    ck_assert_int_eq(launches[0], launches[1]);
}
END_TEST

// What the trainer does: dense layers, loss, gradients in one flat buffer.
START_TEST(training_step_has_few_launches)
{
    qn_error error = {0};
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *x = qn_input(g, "x", QN_FLOAT32, qn_shape_of(32, 20));
    qn_node *t = qn_input(g, "t", QN_INT32, qn_shape_of(32));
    qn_node *w[3], *b[3], *y = x;
    const int64_t sizes[] = {20, 64, 48, 10};
    for (int i = 0; i < 3; i++) {
        char name[8];
        snprintf(name, sizeof name, "%d", i);
        qn_graph_push(g, name);
        w[i] = qn_parameter(g, "weight", qn_shape_of(sizes[i + 1], sizes[i]));
        b[i] = qn_parameter(g, "bias", qn_shape_of(sizes[i + 1]));
        y = qn_add(g, qn_matmul(g, y, w[i], qn_matmul_params(.trans_b = true)),
                   b[i]);
        if (i < 2)
            y = qn_relu(g, y);
        qn_graph_pop(g);
    }
    qn_node *loss = qn_mean(g, qn_softmax_cross_entropy(g, y, t), NULL);
    struct qn_optimizer_params adam =
        qn_optimizer_defaults(qn_optimizer_find("adam"));
    struct qn_optimizer_update update;
    qn_optimizer_build(g, loss, &adam, &update);
    qn_store *store = qn_store_create(qn_check_device(), &error);
    ck_assert_ok(qn_store_add(store, g, &error), error);
    qn_plan *plan = make_plan(g, store, &loss, 1);
    qn_plan_stats stats;
    qn_plan_describe(plan, &stats);
    // 3 forward, 2 for the loss and its gradient, 1 mean, 3 weight and 3 bias
    // gradients, 2 input gradients, 1 update.
    ck_assert_msg(stats.launches <= 16, "%s", dump(plan));
    ck_assert_msg(stats.heavy_programs <= 4, "%s", dump(plan));
    qn_plan_destroy(&plan);
    qn_store_destroy(&store);
    qn_graph_destroy(&g);
}
END_TEST

QN_CHECK_MAIN("plan", pointwise_chain_is_one_launch,
              value_with_two_consumers_is_stored_once,
              value_used_twice_in_one_chain_is_worked_out_once,
              scalars_reach_kernels_by_value, what_never_changes_runs_once,
              assignments_see_the_old_state,
              graph_error_comes_out_of_plan_create,
              dead_memory_is_used_again,
              bias_and_activation_ride_on_the_product,
              chain_rides_on_the_loads_of_a_reduction,
              value_between_two_kernels_rides_on_one,
              bias_and_relu_ride_on_a_convolution,
              training_step_has_few_launches)
