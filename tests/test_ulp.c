// Forward error of operations in units in the last place of float32.
//
//   test_ulp [--exhaustive] [--report FILE] [OP...]
//
// Pointwise rows: 2^24 inputs over all bit patterns (--exhaustive: all 2^32),
// 2^20 more where activations bend, and special values. Rows that work on
// lines or windows: 2^24 elements for each kind of line.
//
// --report appends a line of JSON for each measurement: see ulp.h.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"
#include "op/table.h"
#include "qn_check.h"
#include "quern/plan.h"
#include "ulp.h"

enum { CHUNK = 1 << 20, MAX_INPUTS = 3 };

static bool is_exhaustive;
static const char *report;
static char **chosen; // names of operations
static int chosen_count;

static float x[MAX_INPUTS][CHUNK], z[CHUNK];
static double wide[MAX_INPUTS][CHUNK];

static bool is_chosen(const char *op)
{
    for (int i = 0; i < chosen_count; i++)
        if (strcmp(chosen[i], op) == 0)
            return true;
    return chosen_count == 0;
}

// ---- inputs ----

static void fill_spread(int64_t chunk)
{
    for (uint32_t i = 0; i < CHUNK; i++) {
        const uint32_t at = (uint32_t)chunk * CHUNK + i;
        const uint32_t mixed = at * 2654435761u;
        const uint32_t bits = is_exhaustive ? at : at << 8 | mixed >> 24;
        x[0][i] = ulp_from_bits(bits);
        x[1][i] = ulp_from_bits(mixed ^ mixed >> 15);
        x[2][i] = ulp_from_bits(at * 2246822519u ^ mixed >> 13);
    }
}

// Where activations bend; at its end the special values.
static void fill_bend(void)
{
    static const uint32_t special[] = {
        0x00000000, 0x00000001, 0x007fffff, 0x00800000, // 0, subnormals
        0x3f7fffff, 0x3f800000, 0x3f800001, 0x33800000, // around 1, 2^-24
        0x42b17217, 0x42b17218, 0x42cff1b5, 0x41b00000, // ln FLT_MAX, 104, 22
        0x7f7fffff, 0x7f800000, 0x7fc00000, 0x4b800000, // largest, inf, NaN
    };
    enum { COUNT = sizeof special / sizeof *special };
    struct qn_check_rng rng = {1};
    for (int i = 0; i < CHUNK; i++) {
        const double range = i % 4 ? 20 : 100;
        for (int k = 0; k < MAX_INPUTS; k++)
            x[k][i] = (float)qn_check_uniform(&rng, -range, range);
    }
    for (uint32_t i = 0; i < 4 * COUNT * COUNT; i++) {
        float *end[] = {x[0] + CHUNK - 1, x[1] + CHUNK - 1};
        const uint32_t a = special[i / 4 / COUNT], b = special[i / 4 % COUNT];
        end[0][-(int)i] = ulp_from_bits(a | i << 31);
        end[1][-(int)i] = ulp_from_bits(b | i / 2 << 31);
    }
}

// ---- running ----

struct program {
    qn_graph *graph;
    qn_plan *plan;
    qn_node *in[MAX_INPUTS], *out;
    int count;
};

static void start(struct program *program, const char *op, int count,
                  qn_shape shape, const struct ref_params *params)
{
    static const char *const names[] = {"x", "y", "z"};
    qn_error error = {0};
    qn_graph *g = program->graph = qn_graph_create(QN_FLOAT32);
    program->count = count;
    for (int i = 0; i < count; i++)
        program->in[i] = qn_input(g, names[i], QN_FLOAT32, shape);
    program->out = build_find(op)(g, program->in, count, params);
    const struct qn_plan_params plan = {
        .graph = g, .outputs = &program->out, .output_count = 1};
    program->plan = qn_plan_create(qn_check_device(), &plan, &error);
    ck_assert_msg(program->plan != NULL, "%s: %s", op, error.text);
}

// z of x, and x in double.
static void run(struct program *program, int64_t inputs, int64_t outputs)
{
    const size_t in = (size_t)inputs * sizeof **x;
    const size_t out = (size_t)outputs * sizeof *z;
    for (int i = 0; i < program->count; i++) {
        ck_assert_int_eq(qn_plan_write(program->plan, program->in[i], x[i],
                                       in), QN_OK);
        for (int64_t k = 0; k < inputs; k++)
            wide[i][k] = (double)x[i][k];
    }
    ck_assert_int_eq(qn_plan_run(program->plan), QN_OK);
    ck_assert_int_eq(qn_plan_read(program->plan, program->out, z, out),
                     QN_OK);
}

static void finish(struct program *program)
{
    qn_plan_destroy(&program->plan);
    qn_graph_destroy(&program->graph);
}

struct worst {
    double ulps;
    float at[MAX_INPUTS], got;
    double want;
};

static void expect_within(const char *op, int64_t terms,
                          const struct worst *worst, double bound,
                          int64_t inputs)
{
    if (getenv("QUERN_TEST_VERBOSE"))
        fprintf(stderr, "%s: %.3f ulps at (%a, %a)\n", op, worst->ulps,
                (double)worst->at[0], (double)worst->at[1]);
    const struct ulp_result result = {op, terms, worst->ulps, bound, inputs};
    if (report)
        ulp_report(report, &result);
    ck_assert_msg(worst->ulps <= bound,
                  "%s is off by %.3g ulps at (%a, %a): %a, not %a", op,
                  worst->ulps, (double)worst->at[0], (double)worst->at[1],
                  (double)worst->got, worst->want);
}

// ---- pointwise rows ----

// Bounds: OpenCL 7.4 for its builtins; sums of the errors of their steps for
// the others, rounded up to whole numbers.
static const struct {
    const char *op;
    int inputs;
    double ulps;
    struct ref_params params;
} rows[] = {
    {"neg", 1, 0, {.p = {0}}},
    {"abs", 1, 0, {.p = {0}}},
    {"clamp", 1, 0, {.p = {-1.5, 2.5}}},
    {"add_scalar", 1, 1, {.p = {0.3f}}},
    {"scale", 1, 1, {.p = {0.3f}}},
    {"square", 1, 1, {.p = {0}}},
    {"exp", 1, 3, {.p = {0}}},
    {"log", 1, 3, {.p = {0}}},
    {"sqrt", 1, 3, {.p = {0}}},
    {"max", 2, 0, {.p = {0}}},
    {"min", 2, 0, {.p = {0}}},
    {"add", 2, 1, {.p = {0}}},
    {"sub", 2, 1, {.p = {0}}},
    {"mul", 2, 1, {.p = {0}}},
    {"div", 2, 2.5, {.p = {0}}},
    {"pow", 2, 16, {.p = {0}}},
    {"equal", 2, 0, {.p = {0}}},
    {"not_equal", 2, 0, {.p = {0}}},
    {"less", 2, 0, {.p = {0}}},
    {"less_equal", 2, 0, {.p = {0}}},
    {"greater", 2, 0, {.p = {0}}},
    {"greater_equal", 2, 0, {.p = {0}}},
    {"select", 3, 0, {.p = {0}}},
    {"relu", 1, 0, {.p = {0}}},
    {"relu_gate", 2, 0, {.p = {0}}},
    {"leaky_relu", 1, 1, {.p = {0.01f}}},
    {"prelu", 2, 1, {.p = {0}}},
    {"hard_tanh", 1, 0, {.p = {-1, 1}}},
    {"relu6", 1, 0, {.p = {0}}},
    {"tanh", 1, 5, {.p = {0}}},
    {"elu", 1, 6, {.p = {0.7f}}},
    {"selu", 1, 6, {.p = {0}}},
    {"sigmoid", 1, 8, {.p = {0}}},
    {"softplus", 1, 8, {.p = {0}}},
    {"softsign", 1, 4, {.p = {0}}},
    {"normal_cdf", 1, 10, {.p = {0}}},
    {"gelu", 1, 10, {.p = {0}}},
    {"gelu_tanh", 1, 10, {.p = {0}}},
    {"silu", 1, 10, {.p = {0}}},
    {"mish", 1, 12, {.p = {0}}},
};

static double reference_of_flushed(int row, int64_t i)
{
    double flushed[MAX_INPUTS];
    struct ref_tensor in[MAX_INPUTS], out;
    for (int k = 0; k < rows[row].inputs; k++) {
        flushed[k] = ulp_flush(wide[k][i]);
        in[k] = (struct ref_tensor){.data = &flushed[k]};
    }
    ref_find(rows[row].op)(in, rows[row].inputs, &rows[row].params, &out);
    const double value = out.data[0];
    ref_free(&out);
    return value;
}

static void compare(int row, struct worst *worst)
{
    struct ref_tensor in[MAX_INPUTS], out;
    for (int k = 0; k < rows[row].inputs; k++)
        in[k] = (struct ref_tensor){{1, {CHUNK}}, wide[k]};
    ref_find(rows[row].op)(in, rows[row].inputs, &rows[row].params, &out);
    for (int64_t i = 0; i < CHUNK; i++) {
        double off = ulp_distance(z[i], out.data[i], out.data[i]);
        if (off <= worst->ulps)
            continue;
        const double flushed = reference_of_flushed(row, i);
        off = fmin(off, ulp_distance(z[i], flushed, flushed));
        if (off <= worst->ulps)
            continue;
        *worst = (struct worst){off, {x[0][i], x[1][i], x[2][i]}, z[i],
                                out.data[i]};
    }
    ref_free(&out);
}

START_TEST(row_stays_within_its_ulps)
{
    const int64_t chunks = is_exhaustive ? 4096 : 16;
    struct program program;
    struct worst worst = {0};
    if (!is_chosen(rows[_i].op))
        return;
    start(&program, rows[_i].op, rows[_i].inputs, qn_shape_of(CHUNK),
          &rows[_i].params);
    for (int64_t chunk = 0; chunk <= chunks; chunk++) {
        if (chunk < chunks)
            fill_spread(chunk);
        else
            fill_bend();
        run(&program, CHUNK, CHUNK);
        compare(_i, &worst);
    }
    finish(&program);
    expect_within(rows[_i].op, 1, &worst, rows[_i].ulps,
                  (chunks + 1) * CHUNK);
}
END_TEST

// What is exact by definition, has no fixed value, or cancels, so that no
// number of ulps holds: other suites check these.
static bool is_measured_elsewhere(const char *op)
{
    static const char *const others[] = {
        "assign",      "batch_norm",    "cast_int32",       "cast_real",
        "random_normal", "random_uniform", "random_bernoulli", "standardize",
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(others[i], op) == 0)
            return true;
    return false;
}

START_TEST(every_pointwise_row_has_a_bound)
{
    for (int row = 0; qn_ops[row]; row++) {
        const char *op = qn_ops[row]->name;
        bool has_bound = !qn_ops[row]->expr || is_measured_elsewhere(op);
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
            has_bound = has_bound || strcmp(rows[i].op, op) == 0;
        ck_assert_msg(has_bound, "%s has no line in tests/test_ulp.c", op);
    }
}
END_TEST

// ---- rows that work on lines and windows ----

enum line_fill {
    ANY_BITS,  // NaN and infinities too
    SUMMABLE,  // any size whose sums are finite, and now and then NaN or
               // infinity
    HUNDRED,   // (-100, 100)
    TEN_THOUSAND,
};

static float draw(enum line_fill fill, struct qn_check_rng *rng)
{
    const uint32_t bits = (uint32_t)qn_check_integer(rng, 0, UINT32_MAX);
    if (fill == ANY_BITS)
        return ulp_from_bits(bits);
    if (fill == SUMMABLE) {
        const uint32_t exponent = (uint32_t)qn_check_integer(rng, 0, 244);
        const uint32_t end = bits % 4096 == 0 ? 0x7f800000 : exponent << 23;
        return ulp_from_bits((bits & 0x807fffff) | end);
    }
    const double range = fill == HUNDRED ? 100 : 1e4;
    return (float)qn_check_uniform(rng, -range, range);
}

#define ALONG {.axis = 1, .axes = {1}, .axis_count = 1}
#define WINDOW                                                             \
    {.kernel = {3, 3}, .stride = {2, 2}, .low = {1, 1}, .high = {1, 1}}

// The error of a sum of n terms is in ulps of the sum of their sizes.
static const struct {
    const char *op;
    struct ref_shape line; // of the input without its first dimension
    enum line_fill fill;
    int64_t terms; // n
    double ulps;
    bool is_sum;
    struct ref_params params;
} lines[] = {
    {"softmax", SHAPE(1), ANY_BITS, 1, 6, false, ALONG},
    {"softmax", SHAPE(10), ANY_BITS, 10, 33, false, ALONG},
    {"softmax", SHAPE(10), HUNDRED, 10, 33, false, ALONG},
    {"softmax", SHAPE(10), TEN_THOUSAND, 10, 33, false, ALONG},
    {"softmax", SHAPE(1000), HUNDRED, 1000, 3003, false, ALONG},
    {"mean", SHAPE(10), SUMMABLE, 10, 12, true, ALONG},
    {"mean", SHAPE(1000), SUMMABLE, 1000, 1002, true, ALONG},
    {"mean", SHAPE(1000), HUNDRED, 1000, 1002, true, ALONG},
    {"sum", SHAPE(1000), SUMMABLE, 1000, 1001, true, ALONG},
    {"reduce_max", SHAPE(10), ANY_BITS, 1, 0, false, ALONG},
    {"reduce_max", SHAPE(1000), ANY_BITS, 1, 0, false, ALONG},
    {"max_pool", SHAPE(3, 17, 16), ANY_BITS, 1, 0, false, WINDOW},
    {"max_pool", SHAPE(4, 32, 32), ANY_BITS, 1, 0, false,
     {.kernel = {2, 2}, .stride = {2, 2}}},
    {"avg_pool", SHAPE(3, 17, 16), SUMMABLE, 9, 11, true, WINDOW},
    {"avg_pool", SHAPE(4, 32, 32), HUNDRED, 4, 6, true,
     {.kernel = {2, 2}, .stride = {2, 2}}},
    {"pad", SHAPE(100), ANY_BITS, 1, 0, false,
     {.low = {1, 2}, .high = {0, 3}}},
};

static void compare_lines(int row, const struct ref_shape *shape,
                          struct worst *worst)
{
    const struct ref_tensor in = {*shape, wide[0]};
    struct ref_tensor want, size = {.data = NULL};
    ref_find(lines[row].op)(&in, 1, &lines[row].params, &want);
    for (int64_t i = 0; i < ref_count(shape); i++)
        wide[0][i] = fabs(wide[0][i]);
    if (lines[row].is_sum)
        ref_find(lines[row].op)(&in, 1, &lines[row].params, &size);
    for (int64_t i = 0; i < ref_count(&want.shape); i++) {
        const double full = want.data[i], flushed = ulp_flush(full);
        const double at = size.data ? size.data[i] : full;
        const double off = fmin(ulp_distance(z[i], full, at),
                                ulp_distance(z[i], flushed, at));
        if (off > worst->ulps)
            *worst = (struct worst){off, {x[0][i]}, z[i], full};
    }
    ref_free(&want);
    ref_free(&size);
}

// CHUNK / 2 elements or little less.
static struct ref_shape stack(const struct ref_shape *line)
{
    struct ref_shape shape = {line->rank + 1, {CHUNK / 2 / ref_count(line)}};
    for (int d = 0; d < line->rank; d++)
        shape.dims[d + 1] = line->dims[d];
    return shape;
}

START_TEST(lines_stay_within_their_ulps)
{
    const struct ref_shape shape = stack(&lines[_i].line);
    const int64_t count = ref_count(&shape);
    struct qn_check_rng rng = {(uint64_t)_i + 1};
    struct program program;
    struct worst worst = {0};
    int64_t done = 0;
    if (!is_chosen(lines[_i].op))
        return;
    start(&program, lines[_i].op, 1, lib_shape(&shape), &lines[_i].params);
    for (; done < 1 << 24; done += count) {
        for (int64_t i = 0; i < count; i++)
            x[0][i] = draw(lines[_i].fill, &rng);
        run(&program, count, qn_shape_count(qn_node_shape(program.out)));
        compare_lines(_i, &shape, &worst);
    }
    finish(&program);
    expect_within(lines[_i].op, lines[_i].terms, &worst, lines[_i].ulps,
                  done);
}
END_TEST

int main(int argc, char **argv)
{
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "--exhaustive") == 0)
            is_exhaustive = true;
        else if (strcmp(argv[i], "--report") == 0 && i + 1 < argc)
            report = argv[++i];
        else
            return fprintf(stderr, "%s is no option\n", argv[i]), 2;
    }
    chosen = argv + i;
    chosen_count = argc - i;
    const TTest *const tests[] = {every_pointwise_row_has_a_bound};
    int failed = qn_check_run("ulp-coverage", tests, 1);
    failed |= qn_check_run_loop("ulp", row_stays_within_its_ulps,
                                (int)(sizeof rows / sizeof *rows));
    failed |= qn_check_run_loop("ulp-lines", lines_stay_within_their_ulps,
                                (int)(sizeof lines / sizeof *lines));
    return failed;
}
