// Layers that draw: what they keep, what they scale, what they predict, and
// that no mask is stored.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "layer_run.h"
#include "qn_check.h"

enum { N = 64, C = 32, INNER = 6, COUNT = N * C * INNER };

static float ones[COUNT], y[COUNT], dx[COUNT];

static void run_on_ones(struct layer_run *run)
{
    for (int i = 0; i < COUNT; i++)
        ones[i] = 1;
    run->shape = qn_shape_of(N, C, 2, INNER / 2);
    layer_run(run, ones, y, dx, NULL);
}

// Groups of `size` neighbours are kept as one: counts those that are, checks
// values and gradients. `kept` is what a kept 1 becomes.
static int count_kept(int size, float kept)
{
    int count = 0;
    for (int i = 0; i < COUNT; i += size) {
        for (int k = 0; k < size; k++) {
            ck_assert_float_eq(y[i + k], y[i]);
            ck_assert_float_eq(dx[i + k], y[i]);
        }
        ck_assert(y[i] == 0 || y[i] == kept);
        count += y[i] != 0;
    }
    return count;
}

static void expect_rate(int kept, int draws, double p)
{
    const double deviation = sqrt(draws * p * (1 - p));
    ck_assert_double_le(fabs(kept - draws * (1 - p)), 4 * deviation);
}

#define CLASSIC(type)                                                      \
    "{\"layers\": [{\"type\": \"" type "\", \"p\": 0.25, \"classic\": true}]}"

// What is kept together, and the factors in training and in prediction.
START_TEST(layers_keep_and_scale_as_they_say)
{
    static const struct {
        const char *model;
        int group;
        float kept, predicted;
    } cases[] = {
        {"dropout0.25", 1, 1 / 0.75f, 1},
        {CLASSIC("dropout"), 1, 1, 0.75f},
        {"spatial_dropout0.25", INNER, 1 / 0.75f, 1},
        {CLASSIC("spatial_dropout"), INNER, 1, 0.75f},
        {"stochastic_depth0.25", C * INNER, 1, 0.75f},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct layer_run run = {.model = cases[i].model, .training = true,
                                .seed = 7, .step = 3};
        run_on_ones(&run);
        const int kept = count_kept(cases[i].group, cases[i].kept);
        expect_rate(kept, COUNT / cases[i].group, 0.25);
        run = (struct layer_run){.model = cases[i].model};
        run_on_ones(&run);
        ck_assert_int_eq(count_kept(COUNT, cases[i].predicted), 1);
        run = (struct layer_run){.model = cases[i].model, .stochastic = true,
                                 .seed = 7, .step = 3};
        run_on_ones(&run); // Monte Carlo: the draws of that step
        ck_assert_int_eq(count_kept(cases[i].group, cases[i].kept), kept);
    }
}
END_TEST

START_TEST(ends_of_p_keep_all_or_nothing)
{
    static const char *const names[] = {"dropout", "spatial_dropout",
                                        "stochastic_depth"};
    for (int i = 0; i < 3; i++) {
        char model[64];
        for (int p = 0; p < 2; p++) {
            snprintf(model, sizeof model, "%s%d", names[i], p);
            struct layer_run run = {.model = model, .training = true};
            run_on_ones(&run);
            ck_assert_int_eq(count_kept(COUNT, 1), 1 - p);
        }
    }
}
END_TEST

// The mask of all elements is drawn inside the launches that use it, on the
// way there and back; no launch writes one.
START_TEST(no_mask_is_stored)
{
    static float out[N * 10], slopes[COUNT];
    struct layer_run run = {.model = "48-relu-dropout-48-relu-dropout0.1-10",
                            .shape = qn_shape_of(N, C * INNER),
                            .training = true};
    int draws = 0, alone = 0;
    layer_run(&run, ones, out, slopes, NULL);
    for (const char *at = run.launches;
         (at = strstr(at, "random_bernoulli")); draws++) {
        at += strlen("random_bernoulli");
        alone += strncmp(at, "  %", 3) == 0 || strncmp(at, " scale  %", 9) == 0;
    }
    ck_assert_msg(draws == 4 && alone == 0, "%s", run.launches);
}
END_TEST

// ---- parts of a batch ----

// Told which sample they begin with, the last samples of a batch come to what
// they come to within it, but for rounding of sums below 10. Inputs are of both
// signs and all different.
START_TEST(parts_of_a_batch_draw_as_the_whole)
{
    static const char *const models[] = {
        "dropout0.25", "spatial_dropout0.25", "stochastic_depth0.25", "rrelu",
        "flatten-dropconnect16",
        "{\"layers\": [{\"type\": \"flatten\"}, {\"type\": \"dropconnect\", "
        "\"units\": 16, \"masks\": \"batch\"}]}",
        "{\"layers\": [{\"type\": \"fractional_max_pool\", \"size\": [4, 4]}]}",
        "{\"layers\": [{\"type\": \"fractional_max_pool\", \"size\": [4, 4], "
        "\"regions\": \"pseudo\"}]}",
    };
    enum { SIDE = 6, SAMPLE = 3 * SIDE * SIDE, ALL = 7 };
    static float x[ALL * SAMPLE], whole[ALL * SAMPLE], slopes[ALL * SAMPLE];
    static float part[ALL * SAMPLE], part_dx[ALL * SAMPLE];
    for (int i = 0; i < ALL * SAMPLE; i++)
        x[i] = (float)((i * 37) % (ALL * SAMPLE)) / (ALL * SAMPLE) - 0.5f;
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        struct layer_run run = {.model = models[m], .training = true,
                                .shape = qn_shape_of(ALL, 3, SIDE, SIDE),
                                .seed = 9, .step = 4};
        memset(whole, 0, sizeof whole);
        layer_run(&run, x, whole, slopes, NULL);
        int64_t each = run.out_count / ALL;
        for (uint32_t first = 1; first < ALL; first += 2) {
            run.first = first;
            run.shape.dims[0] = ALL - first;
            layer_run(&run, x + first * SAMPLE, part, part_dx, NULL);
            ck_assert_int_eq(run.out_count, each * (ALL - first));
            for (int64_t i = 0; i < run.out_count; i++)
                ck_assert_float_eq_tol(part[i], whole[first * each + i],
                                       1e-5f);
            for (size_t i = 0; i < (ALL - first) * SAMPLE; i++)
                ck_assert_float_eq_tol(part_dx[i],
                                       slopes[first * SAMPLE + i],
                                       1e-5f);
        }
    }
}
END_TEST

// ---- dropconnect ----

enum { IN = 50, SAMPLES = 4096 };

static float inputs[SAMPLES * IN], sums[SAMPLES], weight[IN];

#define CONNECT(keys) \
    "{\"layers\": [{\"type\": \"dropconnect\", \"units\": 1, " \
    "\"bias\": false, \"p\": 0.3" keys "}]}"

// All samples are the same one. Mean and variance of y over them.
static void run_connect(const char *model, bool stochastic, double *mean,
                        double *variance)
{
    struct qn_check_rng rng = {3};
    struct layer_run run = {.model = model,
                            .shape = qn_shape_of(SAMPLES, IN),
                            .stochastic = stochastic,
                            .seed = 5, .step = 2,
                            .parameter = "0.weight", .values = weight};
    for (int i = 0; i < IN; i++) {
        weight[i] = (float)qn_check_uniform(&rng, -1, 1);
        inputs[i] = (float)qn_check_uniform(&rng, -1, 1);
    }
    for (int i = IN; i < SAMPLES * IN; i++)
        inputs[i] = inputs[i - IN];
    layer_run(&run, inputs, sums, NULL, NULL);
    *mean = *variance = 0;
    for (int n = 0; n < SAMPLES; n++)
        *mean += (double)sums[n] / SAMPLES;
    for (int n = 0; n < SAMPLES; n++)
        *variance += ((double)sums[n] - *mean) * ((double)sums[n] - *mean) /
                     (SAMPLES - 1);
}

// Moments of sum_i m_i w_i x_i.
static void moments_of_sum(double *mean, double *variance)
{
    *mean = *variance = 0;
    for (int i = 0; i < IN; i++) {
        const double term = (double)weight[i] * (double)inputs[i];
        *mean += 0.7 * term;
        *variance += 0.3 * 0.7 * term * term;
    }
}

// Four standard deviations of the mean; of the variance about 9 %.
START_TEST(dropconnect_draws_a_mask_a_sample)
{
    double mean, variance, want_mean, want_variance;
    run_connect(CONNECT(""), true, &mean, &variance);
    moments_of_sum(&want_mean, &want_variance);
    ck_assert_double_le(fabs(mean - want_mean),
                        4 * sqrt(want_variance / SAMPLES));
    ck_assert_double_le(fabs(variance / want_variance - 1), 0.09);
    run_connect(CONNECT(""), false, &mean, &variance);
    ck_assert_double_le(fabs(mean - want_mean), 1e-5);
    ck_assert_double_le(variance, 1e-12);
}
END_TEST

START_TEST(dropconnect_draws_a_mask_a_batch)
{
    double mean, variance, want_mean, want_variance;
    run_connect(CONNECT(", \"masks\": \"batch\""), true, &mean, &variance);
    moments_of_sum(&want_mean, &want_variance);
    ck_assert_double_le(variance, 1e-12);
    ck_assert_double_gt(fabs(mean - want_mean), 1e-3);
    ck_assert_double_le(fabs(mean - want_mean), 4 * sqrt(want_variance));
}
END_TEST

// E[a(u)] by the trapezoidal rule, and as the mean over 4096 masks: within four
// standard deviations and 1 % of a deviation for the sums not being normal.
START_TEST(gaussian_prediction_is_the_mean_activation)
{
    static const char *const models[] = {
        CONNECT(", \"prediction\": \"gaussian\", \"activation\": "
                "\"relu\""),
        CONNECT(", \"prediction\": \"gaussian\", \"activation\": "
                "\"sigmoid\""),
        CONNECT(", \"prediction\": \"gaussian\", \"activation\": "
                "\"tanh\"")};
    for (int k = 0; k < 3; k++) {
        double drawn, spread, predicted, nothing, m, v, want = 0, total = 0;
        run_connect(models[k], true, &drawn, &spread);
        run_connect(models[k], false, &predicted, &nothing);
        moments_of_sum(&m, &v);
        for (double z = -8; z <= 8; z += 1e-3) {
            const double u = m + sqrt(v) * z, density = exp(-z * z / 2);
            const double a = k == 0   ? fmax(u, 0)
                             : k == 1 ? 1 / (1 + exp(-u))
                                      : tanh(u);
            want += a * density;
            total += density;
        }
        want /= total;
        ck_assert_msg(fabs(predicted - want) < (k == 0 ? 1e-5 : 1e-3),
                      "%s: %g, not %g", models[k], predicted, want);
        ck_assert_msg(fabs(predicted - drawn) <
                          4 * sqrt(spread / SAMPLES) + 0.01 * sqrt(v),
                      "%s: %g, drawn %g", models[k], predicted, drawn);
    }
}
END_TEST

// Nothing of the masks' size is in the plan: 16 * 40 * 24 of them.
START_TEST(dropconnect_stores_no_mask)
{
    static float x[16 * 24], out[16 * 40], slopes[16 * 24];
    struct layer_run run = {.model = "dropconnect40-relu",
                            .shape = qn_shape_of(16, 24),
                            .training = true};
    layer_run(&run, x, out, slopes, NULL);
    ck_assert_msg(strstr(run.launches, "dropconnect_dx"), "%s",
                  run.launches);
    ck_assert_msg(!strstr(run.launches, "random") &&
                      !strstr(run.launches, "[16, 40, 24]"),
                  "%s", run.launches);
}
END_TEST

QN_CHECK_MAIN("regularise", layers_keep_and_scale_as_they_say,
              ends_of_p_keep_all_or_nothing, no_mask_is_stored,
              parts_of_a_batch_draw_as_the_whole,
              dropconnect_draws_a_mask_a_sample,
              dropconnect_draws_a_mask_a_batch,
              gaussian_prediction_is_the_mean_activation,
              dropconnect_stores_no_mask)
