// Normalisation: what it promises beyond the formulas: identities, means far
// from zero, running statistics, fusion, refusals.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "qn_check.h"
#include "quern/nn.h"
#include "quern/op.h"

enum { N = 24, C = 5, SIDE = 9, COUNT = N * C * SIDE * SIDE };

static qn_error error;
static float x_data[COUNT], y_data[COUNT];

// Around `mean` with a deviation near 1, in steps that float32 holds exactly.
static void fill(double mean)
{
    struct qn_check_rng rng = {1};
    for (int i = 0; i < COUNT; i++)
        x_data[i] = (float)(mean + (double)qn_check_integer(&rng, -7, 7) / 4);
}

static qn_node *images(qn_graph *g)
{
    return qn_input(g, "x", QN_FLOAT32, qn_shape_of(N, C, SIDE, SIDE));
}

static qn_plan *make_plan(qn_graph *g, qn_store *store, qn_node **outputs,
                          int count)
{
    const struct qn_plan_params params = {.graph = g, .store = store,
                                          .outputs = outputs,
                                          .output_count = count};
    ck_assert_ok(qn_graph_check(g, &error), error);
    qn_plan *plan = qn_plan_create(qn_check_device(), &params, &error);
    ck_assert_msg(plan != NULL, "%s", error.text);
    return plan;
}

static void run(qn_plan *plan, qn_node *x, qn_node *y)
{
    ck_assert_int_eq(qn_plan_write(plan, x, x_data, sizeof x_data), QN_OK);
    ck_assert_msg(qn_plan_run(plan) == QN_OK, "%s", qn_plan_error(plan)->text);
    ck_assert_int_eq(qn_plan_read(plan, y, y_data, sizeof y_data), QN_OK);
}

// Mean and population variance of channel c, in double precision.
static void find_moments(int c, double *mean, double *variance)
{
    const double count = N * SIDE * SIDE;
    double sum = 0, squares = 0;
    for (int i = 0; i < COUNT; i++)
        if (i / (SIDE * SIDE) % C == c)
            sum += (double)x_data[i] / count;
    for (int i = 0; i < COUNT; i++)
        if (i / (SIDE * SIDE) % C == c)
            squares += pow((double)x_data[i] - sum, 2) / count;
    *mean = sum;
    *variance = squares;
}

START_TEST(deviation_and_mean_give_the_input_back)
{
    static const double means[] = {0, 1, 1e4};
    const double eps = 1e-5, mean = means[_i];
    float gamma[C], beta[C];
    fill(mean);
    for (int c = 0; c < C; c++) {
        double m, v;
        find_moments(c, &m, &v);
        gamma[c] = (float)sqrt(v + eps);
        beta[c] = (float)m;
    }
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *x = images(g);
    qn_node *y = qn_batch_norm(
        g, qn_channel_moments(g, x),
        qn_constant_data(g, QN_FLOAT32, qn_shape_of(C), gamma),
        qn_constant_data(g, QN_FLOAT32, qn_shape_of(C), beta), eps);
    qn_plan *plan = make_plan(g, NULL, &y, 1);
    run(plan, x, y);
    // Mean and beta are rounded once each, half an ulp of the mean; the rest
    // are roundings of values below 3.
    const double bound = fmax(mean, 3) * 0x1p-23 + 8 * 3 * 0x1p-23;
    for (int i = 0; i < COUNT; i++)
        ck_assert_msg(fabs((double)y_data[i] - (double)x_data[i]) <= bound,
                      "element %d is %.9g, should be %.9g", i,
                      (double)y_data[i], (double)x_data[i]);
    qn_plan_destroy(&plan);
    qn_graph_destroy(&g);
}
END_TEST

START_TEST(variance_survives_a_mean_far_off)
{
    fill(1e4);
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *x = images(g), *moments = qn_channel_moments(g, x);
    qn_plan *plan = make_plan(g, NULL, &moments, 1);
    float got[2 * C];
    ck_assert_int_eq(qn_plan_write(plan, x, x_data, sizeof x_data), QN_OK);
    ck_assert_int_eq(qn_plan_run(plan), QN_OK);
    ck_assert_int_eq(qn_plan_read(plan, moments, got, sizeof got), QN_OK);
    for (int c = 0; c < C; c++) {
        double m, v;
        find_moments(c, &m, &v);
        ck_assert_msg(fabs((double)got[c] - m) <= m * 0x1p-23,
                      "mean %.9g, should be %.9g", (double)got[c], m);
        ck_assert_msg(fabs((double)got[C + c] - v) <= v * 1e-6,
                      "variance %.9g, should be %.9g", (double)got[C + c], v);
    }
    qn_plan_destroy(&plan);
    qn_graph_destroy(&g);
}
END_TEST

// ---- running statistics ----

static void read_buffer(qn_store *store, const char *name, float *data)
{
    const int index = qn_store_find(store, "buffers", name);
    ck_assert_msg(index >= 0, "no %s", name);
    ck_assert_ok(qn_store_read(store, index, data, C * sizeof *data, &error),
                 error);
}

// After two steps: 0.9 (0.9 start + 0.1 new) + 0.1 new.
static double after_two(double start, double now)
{
    return 0.81 * start + 0.19 * now;
}

static void check_running(const char *text, double factor)
{
    float mean[C], variance[C];
    qn_model *model = qn_model_create(text, &error);
    ck_assert_msg(model != NULL, "%s", error.text);
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *x = images(g);
    qn_node *y = qn_model_build(
        model, g, x, &(struct qn_model_build_params){.training = true});
    ck_assert_ok(qn_graph_check(g, &error), error);
    qn_store *store = qn_store_create(qn_check_device(), &error);
    ck_assert_ok(qn_store_add(store, g, &error), error);
    ck_assert_ok(qn_model_init(model, store, 1, &error), error);
    qn_plan *plan = make_plan(g, store, &y, 1);
    fill(2);
    run(plan, x, y);
    run(plan, x, y);
    read_buffer(store, "0.running_mean", mean);
    read_buffer(store, "0.running_var", variance);
    for (int c = 0; c < C; c++) {
        double m, v;
        find_moments(c, &m, &v);
        ck_assert_double_eq_tol((double)mean[c], after_two(0, m), 1e-6);
        ck_assert_double_eq_tol((double)variance[c],
                                after_two(1, v * factor), 1e-6);
    }
    qn_plan_destroy(&plan);
    qn_store_destroy(&store);
    qn_graph_destroy(&g);
    qn_model_destroy(&model);
}

START_TEST(running_variance_is_unbiased_or_of_the_population)
{
    const double count = N * SIDE * SIDE;
    check_running("batch_norm", count / (count - 1));
    check_running("{\"layers\": [{\"type\": \"batch_norm\", \"population\": "
                  "true}]}", 1);
}
END_TEST

// ---- fusion ----

static int count_launches(qn_graph *g, qn_node **outputs, int count)
{
    qn_plan_stats stats;
    qn_plan *plan = make_plan(g, NULL, outputs, count);
    qn_plan_describe(plan, &stats);
    qn_plan_destroy(&plan);
    return stats.launches;
}

START_TEST(relu_and_a_sum_ride_on_the_normalisation)
{
    const qn_shape channels = qn_shape_of(C);
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *x = images(g), *moments = qn_channel_moments(g, x);
    qn_node *gamma = qn_input(g, "gamma", QN_FLOAT32, channels);
    qn_node *beta = qn_input(g, "beta", QN_FLOAT32, channels);
    qn_node *skip = qn_input(g, "skip", QN_FLOAT32, x ? *qn_node_shape(x)
                                                      : channels);
    qn_node *y = qn_batch_norm(g, moments, gamma, beta, 1e-5);
    qn_node *z = qn_relu(g, qn_add(g, y, skip));
    const int alone = count_launches(g, &y, 1);
    ck_assert_int_eq(count_launches(g, &z, 1), alone);
    // Statistics, their parts joined, 1 / deviation, and one pass.
    ck_assert_int_le(alone, 4);
    qn_graph_destroy(&g);
}
END_TEST

START_TEST(the_backward_pass_sums_once)
{
    const qn_shape channels = qn_shape_of(C);
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *x = images(g), *moments = qn_channel_moments(g, x);
    qn_node *dy = qn_input(g, "dy", QN_FLOAT32, *qn_node_shape(x));
    qn_node *gamma = qn_input(g, "gamma", QN_FLOAT32, channels);
    qn_node *beta = qn_input(g, "beta", QN_FLOAT32, channels);
    qn_node *y = qn_batch_norm(g, moments, gamma, beta, 1e-5);
    qn_node *loss = qn_sum(g, qn_mul(g, y, dy), qn_reduce_params(.keep = 0));
    qn_node *wrt[] = {x, gamma, beta}, *out[3];
    ck_assert_ok(qn_gradients(g, loss, wrt, 3, out), error);
    // Statistics and 1 / deviation as before, two for the sums, one pass for
    // dx, and copies of the two halves that are asked for.
    ck_assert_int_le(count_launches(g, out, 3), 8);
    qn_graph_destroy(&g);
}
END_TEST

// ---- refusals ----

static void expect(qn_graph *g, const qn_node *node, const char *part)
{
    error = (qn_error){0};
    ck_assert_ptr_null(node);
    ck_assert_int_ne(qn_graph_check(g, &error), QN_OK);
    ck_assert_msg(strstr(error.text, part) != NULL, "\"%s\" lacks \"%s\"",
                  error.text, part);
    qn_graph_destroy(&g);
}

#define REFUSED(part, expression)                       \
    do {                                                \
        qn_graph *g = qn_graph_create(QN_FLOAT32);      \
        qn_node *x = images(g);                         \
        expect(g, expression, part);                    \
    } while (0)

START_TEST(what_cannot_be_is_explained)
{
    static const int apart[] = {0, 2};
    const qn_shape few = qn_shape_of(C - 1);
    REFUSED("more than two groups",
            qn_moments(g, x, qn_reduce_params(.axes = apart,
                                              .axis_count = 2)));
    REFUSED("needs one value a channel",
            qn_batch_norm(g, qn_channel_moments(g, x),
                          qn_input(g, "gamma", QN_FLOAT32, few), NULL, 1e-5));
    REFUSED("qn_channel_moments", qn_batch_norm(g, x, NULL, NULL, 1e-5));
    REFUSED("eps -1", qn_batch_norm(g, qn_channel_moments(g, x), NULL, NULL,
                                    -1));
    REFUSED("3 groups do not divide", qn_group_norm(g, x, 3, NULL, NULL, 0));
    REFUSED("the last 5 dimensions of 4",
            qn_layer_norm(g, x, 5, NULL, NULL, 0));
}
END_TEST

START_TEST(one_value_a_channel_cannot_be_trained_with)
{
    qn_model *model = qn_model_create("batch_norm", &error);
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *x = qn_input(g, "x", QN_FLOAT32, qn_shape_of(1, C));
    expect(g, qn_model_build(
                  model, g, x,
                  &(struct qn_model_build_params){.training = true}),
           "one value a channel");
    qn_model_destroy(&model);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        variance_survives_a_mean_far_off,
        running_variance_is_unbiased_or_of_the_population,
        relu_and_a_sum_ride_on_the_normalisation,
        the_backward_pass_sums_once,
        what_cannot_be_is_explained,
        one_value_a_channel_cannot_be_trained_with,
    };
    const int status =
        qn_check_run("norm", tests, (int)(sizeof tests / sizeof *tests));
    return qn_check_run_loop("norm, identity",
                             deviation_and_mean_give_the_input_back, 3) ||
           status;
}
