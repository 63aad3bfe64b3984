// Forward error of pointwise rows in units in the last place of float32:
// 2^20 inputs over all bit patterns, 2^18 where activations bend, and special
// values. Results below the smallest normal number may be 0, and inputs below
// it may be taken as 0 (a device need not support subnormals).
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"
#include "qn_check.h"
#include "quern/plan.h"

enum {
    SPREAD = 1 << 20,
    BEND = 1 << 18,
    SPECIAL = 32,
    COUNT = SPREAD + BEND + SPECIAL,
};

static float x[COUNT], y[COUNT], z[COUNT];

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void fill_inputs(void)
{
    static const uint32_t special[SPECIAL / 2] = {
        0x00000000, 0x00000001, 0x007fffff, 0x00800000, // 0, subnormals
        0x3f7fffff, 0x3f800000, 0x3f800001, 0x33800000, // around 1, 2^-24
        0x42b17217, 0x42b17218, 0x42cff1b5, 0x41b00000, // ln FLT_MAX, 104, 22
        0x7f7fffff, 0x7f800000, 0x7fc00000, 0x4b800000, // largest, inf, NaN
    };
    struct qn_check_rng rng = {1};
    for (uint32_t i = 0; i < SPREAD; i++) {
        const uint32_t low = (uint32_t)qn_check_integer(&rng, 0, 4095);
        x[i] = from_bits(i << 12 | low);
        y[i] = from_bits(i * 2654435761u ^ low);
    }
    for (int i = SPREAD; i < SPREAD + BEND; i++) {
        const double range = i % 4 ? 20 : 100;
        x[i] = (float)qn_check_uniform(&rng, -range, range);
        y[i] = (float)qn_check_uniform(&rng, -range, range);
    }
    for (int i = 0; i < SPECIAL; i++) {
        x[SPREAD + BEND + i] = from_bits(special[i / 2] | (uint32_t)i << 31);
        y[SPREAD + BEND + i] = from_bits(special[i * 7 % 16]);
    }
}

static void run_row(const char *op, int inputs, const struct ref_params *p)
{
    qn_error error = {0};
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *in[2] = {qn_input(g, "x", QN_FLOAT32, qn_shape_of(COUNT)), NULL};
    if (inputs > 1)
        in[1] = qn_input(g, "y", QN_FLOAT32, qn_shape_of(COUNT));
    qn_node *out = build_find(op)(g, in, inputs, p);
    const struct qn_plan_params params = {
        .graph = g, .outputs = &out, .output_count = 1};
    qn_plan *plan = qn_plan_create(qn_check_device(), &params, &error);
    ck_assert_msg(plan != NULL, "%s: %s", op, error.text);
    ck_assert_int_eq(qn_plan_write(plan, in[0], x, sizeof x), QN_OK);
    if (inputs > 1)
        ck_assert_int_eq(qn_plan_write(plan, in[1], y, sizeof y), QN_OK);
    ck_assert_int_eq(qn_plan_run(plan), QN_OK);
    ck_assert_int_eq(qn_plan_read(plan, out, z, sizeof z), QN_OK);
    qn_plan_destroy(&plan);
    qn_graph_destroy(&g);
}

// Distance of `got` to `want` in ulps of float32 at `want`.
static double ulps_off(float got, double want)
{
    const float rounded = (float)want;
    if (isnan(want) || isnan(got))
        return isnan(want) && isnan(got) ? 0 : HUGE_VAL;
    if (got == rounded || (fabs(want) < (double)FLT_MIN && got == 0))
        return 0;
    if (isinf(got) || isinf(want))
        return HUGE_VAL;
    int exponent;
    frexp(want, &exponent);
    if (exponent < FLT_MIN_EXP)
        exponent = FLT_MIN_EXP;
    if (exponent > FLT_MAX_EXP)
        exponent = FLT_MAX_EXP;
    return fabs((double)got - want) / ldexp(1, exponent - FLT_MANT_DIG);
}

// 0 for what a device without subnormals takes as 0.
static double flush(double value)
{
    return fabs(value) < (double)FLT_MIN ? copysign(0, value) : value;
}

static double reference(const char *op, double a, double b, int inputs,
                        const struct ref_params *p)
{
    const struct ref_tensor in[2] = {{.data = &a}, {.data = &b}};
    struct ref_tensor out;
    ref_find(op)(in, inputs, p, &out);
    const double value = out.data[0];
    ref_free(&out);
    return value;
}

static double error_at(const char *op, int i, int inputs,
                       const struct ref_params *p)
{
    const double a = (double)x[i], b = inputs > 1 ? (double)y[i] : 0;
    const double off =
        ulps_off(z[i], reference(op, a, b, inputs, p));
    if (off == 0 || (a == flush(a) && b == flush(b)))
        return off;
    return fmin(off, ulps_off(z[i], reference(op, flush(a), flush(b), inputs,
                                              p)));
}

static const struct {
    const char *op;
    int inputs;
    double ulps;
    struct ref_params params;
} rows[] = {
    {"neg", 1, 0, {.p = {0}}},
    {"abs", 1, 0, {.p = {0}}},
    {"relu", 1, 0, {.p = {0}}},
    {"clamp", 1, 0, {.p = {-1.5, 2.5}}},
    {"leaky_relu", 1, 1, {.p = {0.01f}}},
    {"add_scalar", 1, 1, {.p = {0.3f}}},
    {"scale", 1, 1, {.p = {0.3f}}},
    {"square", 1, 1, {.p = {0}}},
    {"exp", 1, 3, {.p = {0}}},
    {"log", 1, 3, {.p = {0}}},
    {"sqrt", 1, 3, {.p = {0}}},
    {"tanh", 1, 5, {.p = {0}}},
    {"sigmoid", 1, 8, {.p = {0}}},
    {"max", 2, 0, {.p = {0}}},
    {"min", 2, 0, {.p = {0}}},
    {"add", 2, 1, {.p = {0}}},
    {"sub", 2, 1, {.p = {0}}},
    {"mul", 2, 1, {.p = {0}}},
    {"div", 2, 2.5, {.p = {0}}},
    {"pow", 2, 16, {.p = {0}}},
    {"equal", 2, 0, {.p = {0}}},
    {"less", 2, 0, {.p = {0}}},
    {"greater_equal", 2, 0, {.p = {0}}},
    {"relu_gate", 2, 0, {.p = {0}}},
};

START_TEST(row_stays_within_its_ulps)
{
    const char *op = rows[_i].op;
    double most = 0;
    int worst = 0;
    run_row(op, rows[_i].inputs, &rows[_i].params);
    for (int i = 0; i < COUNT; i++) {
        const double off =
            error_at(op, i, rows[_i].inputs, &rows[_i].params);
        if (off > most) {
            most = off;
            worst = i;
        }
    }
    ck_assert_msg(most <= rows[_i].ulps,
                  "%s is off by %.3g ulps at (%a, %a): %a", op, most,
                  (double)x[worst], (double)y[worst], (double)z[worst]);
    if (getenv("QUERN_TEST_VERBOSE"))
        fprintf(stderr, "%s: %.3f ulps at (%a, %a)\n", op, most,
                (double)x[worst], (double)y[worst]);
}
END_TEST

int main(void)
{
    fill_inputs();
    return qn_check_run_loop("ulp", row_stays_within_its_ulps,
                             (int)(sizeof rows / sizeof *rows));
}
