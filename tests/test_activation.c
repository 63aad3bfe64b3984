// Layers that are a function of each element: their keys, their parameters,
// and what chance does to them.
#include <math.h>
#include <string.h>

#include "layer_run.h"
#include "qn_check.h"

static double erf_form(double x)
{
    return 0.5 * x * (1 + erf(x / sqrt(2)));
}

static double tanh_form(double x)
{
    return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1)) *
                               (x + 0.044715 * x * x * x)));
}

// What each text makes of -1.5 and of 1.25.
START_TEST(keys_reach_the_formula)
{
    const double e = exp(-1.5), left = -1.5, right = 1.25;
    const struct {
        const char *model;
        double y[2];
    } cases[] = {
        {"leaky_relu", {-0.015, right}},
        {"prelu", {0.25 * left, right}},
        {"prelu0.5", {0.5 * left, right}},
        {"relu6", {0, right}},
        {"hard_tanh", {-1, 1}},
        {"{\"layers\": [{\"type\": \"hard_tanh\", \"low\": -2, \"high\": "
         "0.5}]}",
         {left, 0.5}},
        {"elu", {e - 1, right}},
        {"elu0.5", {0.5 * (e - 1), right}},
        {"selu",
         {1.0507009873554805 * 1.6732632423543772 * (e - 1),
          1.0507009873554805 * right}},
        {"softplus", {log(1 + e), log(1 + exp(right))}},
        {"softsign", {-0.6, 1.25 / 2.25}},
        {"gelu", {erf_form(left), erf_form(right)}},
        {"{\"layers\": [{\"type\": \"gelu\", \"approximate\": \"tanh\"}]}",
         {tanh_form(left), tanh_form(right)}},
        {"silu", {left / (1 + 1 / e), right / (1 + exp(-right))}},
        {"mish",
         {left * tanh(log(1 + e)), right * tanh(log(1 + exp(right)))}},
        {"rrelu", {11.0 / 48 * left, right}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct layer_run run = {.model = cases[i].model,
                                .shape = qn_shape_of(1, 2)};
        const float x[2] = {-1.5f, 1.25f};
        float y[2];
        layer_run(&run, x, y, NULL, NULL);
        for (int k = 0; k < 2; k++)
            ck_assert_msg(fabs((double)y[k] - cases[i].y[k]) < 1e-6,
                          "%s of %g is %.9g, not %.9g", cases[i].model,
                          (double)x[k], (double)y[k], cases[i].y[k]);
    }
}
END_TEST

// [2, 3, 2, 1]: a slope a channel, and above 1 too, where max(a x, x) would be
// wrong.
START_TEST(prelu_learns_a_slope_a_channel)
{
    static const float slopes[3] = {2, 0.5f, -1};
    static const float x[12] = {-1, 2, -3, -4, 5, -6, 7, -8, 9, -1, -2, 3};
    float y[12], dx[12], da[3], want[3] = {0};
    struct layer_run run = {
        .model = "{\"layers\": [{\"type\": \"prelu\", \"per_channel\": "
                 "true}]}",
        .shape = qn_shape_of(2, 3, 2, 1),
        .parameter = "0.weight",
        .values = slopes,
    };
    layer_run(&run, x, y, dx, da);
    for (int i = 0; i < 12; i++) {
        const float a = slopes[i / 2 % 3];
        ck_assert_float_eq(y[i], x[i] > 0 ? x[i] : a * x[i]);
        ck_assert_float_eq(dx[i], x[i] > 0 ? 1 : a);
        want[i / 2 % 3] += x[i] > 0 ? 0 : x[i];
    }
    for (int c = 0; c < 3; c++)
        ck_assert_float_eq(da[c], want[c]);
}
END_TEST

// Slopes uniform on [1/8, 1/3], drawn anew each step, the same on the way
// back. The mean of 4096 is within four standard deviations.
START_TEST(rrelu_draws_slopes_in_its_interval)
{
    enum { COUNT = 4096 };
    static float x[COUNT], y[2][COUNT], dx[COUNT];
    double mean = 0, low = 1.0 / 8, high = 1.0 / 3;
    int same = 0;
    for (int i = 0; i < COUNT; i++)
        x[i] = i % 4 == 3 ? 2 : -1;
    for (uint32_t step = 0; step < 2; step++) {
        struct layer_run run = {.model = "rrelu",
                                .shape = qn_shape_of(4, COUNT / 4),
                                .training = true,
                                .step = step};
        layer_run(&run, x, y[step], dx, NULL);
    }
    for (int i = 0; i < COUNT; i++) {
        if (i % 4 == 3) {
            ck_assert_float_eq(y[1][i], 2);
            continue;
        }
        ck_assert_float_eq(dx[i], -y[1][i]);
        ck_assert(-(double)y[1][i] >= low - 1e-7 &&
                  -(double)y[1][i] <= high + 1e-7);
        mean -= (double)y[1][i] / (COUNT * 3 / 4);
        same += y[0][i] == y[1][i];
    }
    const double deviation = (high - low) / sqrt(12) / sqrt(COUNT * 0.75);
    ck_assert_double_le(fabs(mean - (low + high) / 2), 4 * deviation);
    ck_assert_int_le(same, 2);
}
END_TEST

// y_u = max_k w_(k units + u) x with weights 1 to 6 for one input: the largest
// slope right of 0, the smallest left of it.
START_TEST(maxout_takes_the_largest_piece)
{
    static const float weight[6] = {1, 2, 3, 4, 5, 6}; // 3 pieces of 2 units
    static const float x[2] = {2, -1};
    float y[4], dx[2], dw[6];
    struct layer_run run = {
        .model = "{\"layers\": [{\"type\": \"maxout\", \"units\": 2, "
                 "\"pieces\": 3, \"bias\": false}]}",
        .shape = qn_shape_of(2, 1),
        .parameter = "0.weight",
        .values = weight,
    };
    layer_run(&run, x, y, dx, dw);
    ck_assert_float_eq(y[0], 10);
    ck_assert_float_eq(y[1], 12);
    ck_assert_float_eq(y[2], -1);
    ck_assert_float_eq(y[3], -2);
    ck_assert_float_eq(dx[0], 11);
    ck_assert_float_eq(dx[1], 3);
    const float want[6] = {-1, -1, 0, 0, 2, 2};
    for (int i = 0; i < 6; i++)
        ck_assert_float_eq(dw[i], want[i]);
}
END_TEST

START_TEST(max_pieces_works_on_channels)
{
    static const float x[8] = {1, 2, 3, 4, 4, 3, 2, 1}; // [1, 4, 2]
    float y[4];
    struct layer_run run = {.model = "max_pieces2",
                            .shape = qn_shape_of(1, 4, 2)};
    layer_run(&run, x, y, NULL, NULL);
    ck_assert_float_eq(y[0], 4);
    ck_assert_float_eq(y[1], 3);
    ck_assert_float_eq(y[2], 3);
    ck_assert_float_eq(y[3], 4);
}
END_TEST

START_TEST(what_cannot_be_is_refused)
{
    static const char *const models[][2] = {
        {"{\"layers\": [{\"type\": \"rrelu\", \"lower\": 0.9}]}",
         "lower is 0.9 and must not be above upper, 0.333333"},
        {"{\"layers\": [{\"type\": \"hard_tanh\", \"low\": 3}]}",
         "low is 3 and must not be above high, 1"},
        {"max_pieces3", "[2, 4] does not fall into 3 pieces along axis 1"},
    };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        qn_error error = {0};
        qn_graph *g = qn_graph_create(QN_FLOAT32);
        qn_model *model = qn_model_create(models[i][0], &error);
        ck_assert_msg(model != NULL, "%s", error.text);
        qn_node *x = qn_input(g, "x", QN_FLOAT32, qn_shape_of(2, 4));
        ck_assert_ptr_null(qn_model_build(model, g, x, NULL));
        ck_assert_int_ne(qn_graph_check(g, &error), QN_OK);
        ck_assert_msg(strstr(error.text, models[i][1]), "%s", error.text);
        qn_model_destroy(&model);
        qn_graph_destroy(&g);
    }
}
END_TEST

QN_CHECK_MAIN("activation", keys_reach_the_formula,
              prelu_learns_a_slope_a_channel,
              rrelu_draws_slopes_in_its_interval,
              maxout_takes_the_largest_piece, max_pieces_works_on_channels,
              what_cannot_be_is_refused)
