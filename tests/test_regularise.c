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

QN_CHECK_MAIN("regularise", layers_keep_and_scale_as_they_say,
              ends_of_p_keep_all_or_nothing, no_mask_is_stored)
