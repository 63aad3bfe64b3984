// The keep rate of dropout's mask over 10^8 draws on the device.
#include <math.h>

#include "qn_check.h"
#include "quern/nn.h"
#include "quern/op.h"

enum {
    SIDE = 1 << 11,
    STEPS = 24,
    DRAWS = STEPS * SIDE * SIDE, // 1.007e8
};
// A step's count is a sum of ones in float32: exact up to 2^24.
_Static_assert(SIDE * SIDE <= 1 << 24, "sums of a step are exact");
_Static_assert(DRAWS >= 100000000, "at least 10^8 draws");

static const char *const layers[] = {
    "dropout0.01", "dropout0.2", "dropout0.5", "dropout0.8", "dropout0.999",
};
static const double drop[] = {0.01, 0.2, 0.5, 0.8, 0.999};
enum { LAYERS = sizeof layers / sizeof *layers };

// How many elements of x = 1 a dropout layer lets through.
static qn_node *count_kept(qn_graph *g, const char *layer, qn_node *seed,
                           qn_node *step)
{
    qn_error error = {0};
    qn_model *model = qn_model_create(layer, &error);
    ck_assert_msg(model != NULL, "%s", error.text);
    qn_graph_push(g, layer);
    qn_node *x =
        qn_broadcast_to(g, qn_constant(g, 1), qn_shape_of(SIDE, SIDE));
    const struct qn_model_build_params params = {
        .training = true, .stochastic = true, .seed = seed, .step = step};
    qn_node *y = qn_model_build(model, g, x, &params);
    qn_graph_pop(g);
    qn_model_destroy(&model);
    return qn_sum(g, qn_not_equal(g, y, qn_constant(g, 0)), NULL);
}

// All draws within 4 standard deviations of their binomial distribution, and
// the steps spread as independent ones do: the sum of their squared
// deviations has mean STEPS and variance 2 STEPS.
START_TEST(dropout_keeps_what_it_says)
{
    qn_error error = {0};
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *seed = qn_scalar(g, "seed"), *step = qn_scalar(g, "step");
    qn_node *counts[LAYERS];
    double kept[LAYERS] = {0}, squares[LAYERS] = {0};
    for (int i = 0; i < LAYERS; i++)
        counts[i] = count_kept(g, layers[i], seed, step);
    qn_plan *plan = qn_plan_create(
        qn_check_device(),
        &(struct qn_plan_params){
            .graph = g, .outputs = counts, .output_count = LAYERS},
        &error);
    ck_assert_msg(plan != NULL, "%s", error.text);
    ck_assert_int_eq(qn_plan_set(plan, seed, 20), QN_OK);
    for (int s = 0; s < STEPS; s++) {
        ck_assert_int_eq(qn_plan_set(plan, step, s), QN_OK);
        ck_assert_int_eq(qn_plan_run(plan), QN_OK);
        for (int i = 0; i < LAYERS; i++) {
            const double n = (double)SIDE * SIDE, p = 1 - drop[i];
            float count;
            ck_assert_int_eq(
                qn_plan_read(plan, counts[i], &count, sizeof count), QN_OK);
            kept[i] += (double)count;
            squares[i] +=
                pow((double)count - n * p, 2) / (n * p * (1 - p));
        }
    }
    for (int i = 0; i < LAYERS; i++) {
        const double p = 1 - drop[i];
        const double off =
            (kept[i] - DRAWS * p) / sqrt(DRAWS * p * (1 - p));
        ck_assert_msg(fabs(off) <= 4,
                      "%s keeps %.0f of %d: %.2f standard deviations off",
                      layers[i], kept[i], DRAWS, off);
        ck_assert_double_eq_tol(squares[i], STEPS, 4 * sqrt(2.0 * STEPS));
    }
    qn_plan_destroy(&plan);
    qn_graph_destroy(&g);
}
END_TEST

QN_CHECK_MAIN("keep_rate", dropout_keeps_what_it_says)
