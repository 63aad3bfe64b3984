// Random rows on the device against Random123 on the host: words, values,
// any first element, and what the builders refuse.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/philox.h"
#include "base/text.h"
#include "device/device.h"
#include "op/rules.h"
#include "qn_check.h"
#include "quern/plan.h"

enum { SEED, STEP, P0, P2, P3, LIVE_COUNT };

// ---- known answers of Philox4x32-10, from Random123's kat_vectors ----

static const char answer_text[] =
    "kernel SINGLE void answer(global uint *out, const uint c0,\n"
    "    const uint c1, const uint c2, const uint c3, const uint k0,\n"
    "    const uint k1)\n"
    "{\n"
    "    BLOCKS c[4] = {c0, c1, c2, c3};\n"
    "    philox(c, k0, k1);\n"
    "    for (int k = 0; k < 4; k++)\n"
    "#if CPU\n"
    "        out[k] = all(c[k] == c[k].s3) ? (uint)c[k].s0 : 0;\n"
    "#else\n"
    "        out[k] = (uint)c[k];\n"
    "#endif\n"
    "}\n";

START_TEST(philox_gives_the_published_answers)
{
    static const uint32_t cases[][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {~0u, ~0u, ~0u, ~0u, ~0u, ~0u, 0x408f276d, 0x41c83b0e, 0xa20bc7c6,
         0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822,
         0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
    };
    qn_device *device = qn_check_device();
    qn_error error = {0};
    struct qn_buffer *buffer;
    struct qn_command *command;
    struct qn_work work = {0};
    struct qn_binding bindings[7] = {{QN_OPERAND_OUT, NULL, -1}};
    uint32_t out[4];
    ck_assert_ok(qn_buffer_create(device, sizeof out, "out", &buffer, &error),
                 error);
    bindings[0].buffer = buffer;
    struct qn_launch *launch = qn_work_add(&work, NULL, "answer", QN_FLOAT32);
    launch->include = "random";
    launch->text = answer_text;
    qn_launch_buffer(launch, QN_OPERAND_OUT);
    for (int i = 0; i < 6; i++) {
        qn_launch_live_uint(launch, QN_OPERAND_IN + i);
        bindings[i + 1] = (struct qn_binding){QN_OPERAND_IN + i, NULL, i};
    }
    qn_launch_grid(launch, 1, 1, 1, 1, 1);
    ck_assert_ok(qn_command_create(device, launch, bindings, 7, 0, &command,
                                   &error), error);
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        double live[6];
        for (int i = 0; i < 6; i++)
            live[i] = cases[k][i];
        ck_assert_ok(qn_command_run(command, live, &error), error);
        ck_assert_ok(qn_buffer_read(buffer, 0, out, sizeof out, &error),
                     error);
        for (int i = 0; i < 4; i++)
            ck_assert_uint_eq(out[i], cases[k][6 + i]);
    }
    qn_command_destroy(&command);
    qn_buffer_destroy(&buffer);
    qn_work_finish(&work);
}
END_TEST

// ---- rows ----

static void write_kernel(const struct qn_op *op, struct qn_text *text)
{
    qn_text_add(text,
                "static RV draw(ulong i, uint x, uint y, %s p0, RV p1,\n"
                "               uint p2, uint p3)\n"
                "{\n"
                "    const uint z = 0, p4 = 0;\n"
                "    return %s;\n"
                "}\n"
                "kernel SINGLE void fill(global REAL *out, const long first,\n"
                "    const int n, const uint x, const uint y, const %s p0,\n"
                "    const REAL p1, const uint p2, const uint p3)\n"
                "{\n"
                "    for (int k = 0; k < n; k += VW)\n"
                "        store_real(draw(first + k, x, y, p0, p1, p2, p3),\n"
                "                   out + k, n - k < VW ? n - k : VW);\n"
                "}\n",
                op->uint_params & 1 ? "uint" : "RV", op->expr,
                op->uint_params & 1 ? "uint" : "REAL");
}

static void read_reals(struct qn_buffer *buffer, qn_dtype real, int n,
                       double *out)
{
    qn_error error = {0};
    void *data = malloc(qn_buffer_size(buffer));
    ck_assert_ok(qn_buffer_read(buffer, 0, data, qn_buffer_size(buffer),
                                &error), error);
    for (int i = 0; i < n; i++)
        out[i] = real == QN_FLOAT64 ? ((double *)data)[i]
                                    : (double)((float *)data)[i];
    free(data);
}

// Elements first to first + n - 1 of a random node.
static void draw(const struct qn_node *node, uint32_t seed, uint32_t step,
                 int64_t first, int n, double *out)
{
    const struct qn_op *op = node->op;
    const qn_dtype real = node->dtype;
    const double live[LIVE_COUNT] = {seed, step, node->p[0], node->p[2],
                                     node->p[3]};
    struct qn_binding bindings[LIVE_COUNT + 1] = {{QN_OPERAND_OUT, NULL, -1}};
    struct qn_buffer *buffer;
    struct qn_command *command;
    struct qn_work work = {0};
    struct qn_text text = {0};
    qn_error error = {0};
    ck_assert_ok(qn_buffer_create(qn_check_device(),
                                  (size_t)n * qn_dtype_size(real), "out",
                                  &buffer, &error), error);
    bindings[0].buffer = buffer;
    for (int i = 0; i < LIVE_COUNT; i++)
        bindings[i + 1] = (struct qn_binding){QN_OPERAND_IN + i, NULL, i};
    write_kernel(op, &text);
    struct qn_launch *launch = qn_work_add(&work, NULL, "fill", real);
    launch->include = op->include;
    launch->text = text.data;
    qn_launch_buffer(launch, QN_OPERAND_OUT);
    qn_launch_long(launch, first);
    qn_launch_int(launch, n);
    qn_launch_live_uint(launch, QN_OPERAND_IN + SEED);
    qn_launch_live_uint(launch, QN_OPERAND_IN + STEP);
    if (op->uint_params & 1)
        qn_launch_live_uint(launch, QN_OPERAND_IN + P0);
    else
        qn_launch_real(launch, node->p[0]);
    qn_launch_real(launch, node->p[1]);
    qn_launch_live_uint(launch, QN_OPERAND_IN + P2);
    qn_launch_live_uint(launch, QN_OPERAND_IN + P3);
    qn_launch_grid(launch, 1, 1, 1, 1, 1);
    ck_assert_ok(qn_command_create(qn_check_device(), launch, bindings,
                                   LIVE_COUNT + 1, 0, &command, &error),
                 error);
    ck_assert_ok(qn_command_run(command, live, &error), error);
    read_reals(buffer, real, n, out);
    qn_command_destroy(&command);
    qn_buffer_destroy(&buffer);
    qn_work_finish(&work);
    qn_text_finish(&text);
}

// Word `i` as the host's Random123 has it.
static uint32_t host_word(const struct qn_node *node, uint32_t seed,
                          uint32_t step, int64_t i)
{
    const uint32_t counter[4] = {(uint32_t)(i / 4), (uint32_t)(i / 4 >> 32),
                                 step, seed};
    const uint32_t key[2] = {(uint32_t)node->p[2], (uint32_t)node->p[3]};
    uint32_t words[4];
    qn_philox(counter, key, words);
    return words[i % 4];
}

static double unit(uint32_t word)
{
    return (word + 0.5) * 0x1p-32;
}

static struct qn_random_params *make_params(qn_graph *g, const char *use)
{
    static struct qn_random_params params;
    params = (struct qn_random_params){qn_scalar(g, "seed"),
                                       qn_scalar(g, "step"), use};
    return &params;
}

// First elements: aligned, each misalignment, past 2^32 blocks.
static const int64_t firsts[] = {0, 1, 2, 3, 16, 4095, INT64_C(1) << 34,
                                 (INT64_C(1) << 34) - 7};
enum { FIRSTS = sizeof firsts / sizeof *firsts, COUNT = 45 };

static const qn_dtype reals[] = {QN_FLOAT32, QN_FLOAT64};

START_TEST(uniform_is_the_hosts_words_scaled)
{
    for (int r = 0; r < 2; r++) {
        qn_graph *g = qn_graph_create(reals[r]);
        qn_shape shape = qn_shape_of(COUNT);
        const struct qn_node *node = qn_random_uniform(
            g, shape, -2, 3, make_params(g, "test"));
        for (int k = 0; k < FIRSTS; k++) {
            double got[COUNT], want[COUNT];
            draw(node, 7, 4000000000u, firsts[k], COUNT, got);
            for (int i = 0; i < COUNT; i++)
                want[i] = -2 + 5 * unit(host_word(node, 7, 4000000000u,
                                                  firsts[k] + i));
            // float rounds the word, the scaled value and the sum
            qn_check_close("uniform", got, want, COUNT, 0,
                           r ? 1e-15 : 6e-7);
        }
        qn_graph_destroy(&g);
    }
}
END_TEST

START_TEST(normal_is_box_muller_of_the_hosts_words)
{
    for (int r = 0; r < 2; r++) {
        qn_graph *g = qn_graph_create(reals[r]);
        qn_shape shape = qn_shape_of(COUNT);
        const struct qn_node *node =
            qn_random_normal(g, shape, 1, 2, make_params(g, "test"));
        for (int k = 0; k < FIRSTS; k++) {
            double got[COUNT], want[COUNT];
            draw(node, ~0u, 1, firsts[k], COUNT, got);
            for (int i = 0; i < COUNT; i++) {
                const int64_t even = (firsts[k] + i) / 2 * 2;
                const double u = unit(host_word(node, ~0u, 1, even));
                const double turn =
                    2 * acos(-1) * unit(host_word(node, ~0u, 1, even + 1));
                const double radius = sqrt(-2 * log(u));
                want[i] = 1 + 2 * radius *
                                  ((firsts[k] + i) % 2 ? sin(turn)
                                                       : cos(turn));
            }
            // near a radius of 0 float knows u to 2^-25 only
            qn_check_close("normal", got, want, COUNT, r ? 1e-14 : 2e-6,
                           r ? 1e-13 : 4e-6);
        }
        qn_graph_destroy(&g);
    }
}
END_TEST

START_TEST(bernoulli_counts_words_below_its_threshold)
{
    static const double chances[] = {0, 1e-300, 0.1, 0.5, 0.999, 1};
    for (int r = 0; r < 2; r++) {
        qn_graph *g = qn_graph_create(reals[r]);
        qn_shape shape = qn_shape_of(COUNT);
        for (size_t c = 0; c < sizeof chances / sizeof *chances; c++) {
            const struct qn_node *node = qn_random_bernoulli(
                g, shape, chances[c], make_params(g, "test"));
            const double limit = floor(chances[c] * 0x1p32 + 0.5);
            double got[COUNT], want[COUNT];
            draw(node, 3, 5, 18, COUNT, got);
            for (int i = 0; i < COUNT; i++)
                want[i] = host_word(node, 3, 5, 18 + i) < limit;
            qn_check_close("bernoulli", got, want, COUNT, 0, 0);
        }
        qn_graph_destroy(&g);
    }
}
END_TEST

// The ends of the words: float must not round its way to 0 or 1.
START_TEST(unit_stays_inside_its_borders)
{
    static const struct qn_op ends = {
        .expr = "unit_of_words((WORDS)(i < 16 ? 0 : 0xFFFFFFFF))",
        .include = "random",
    };
    for (int r = 0; r < 2; r++) {
        const struct qn_node node = {.op = &ends, .dtype = reals[r]};
        double got[32];
        draw(&node, 0, 0, 0, 32, got);
        for (int i = 0; i < 16; i++)
            ck_assert_double_eq(got[i], 0x1p-33);
        for (int i = 16; i < 32; i++)
            ck_assert_double_eq(got[i], r ? 1 - 0x1p-33 : 1 - 0x1p-24);
    }
}
END_TEST

START_TEST(moments_and_bins_are_those_of_the_distribution)
{
    enum { N = 1 << 16, BINS = 64 };
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_shape shape = qn_shape_of(N);
    double *x = malloc(N * sizeof *x);
    double chi = 0, sums[5] = {0};
    int bins[BINS] = {0};
    draw(qn_random_uniform(g, shape, 0, 1, make_params(g, "a")), 1, 1, 0, N,
         x);
    for (int i = 0; i < N; i++)
        bins[(int)(x[i] * BINS)]++;
    for (int i = 0; i < BINS; i++)
        chi += pow(bins[i] - N / BINS, 2) / (N / BINS);
    ck_assert_double_lt(chi, 63 + 5 * sqrt(2 * 63.0)); // 5 deviations
    draw(qn_random_normal(g, shape, 0, 1, make_params(g, "b")), 1, 1, 0, N,
         x);
    for (int i = 0; i < N; i++)
        for (int k = 1; k < 5; k++)
            sums[k] += pow(x[i], k) / N;
    const double five = 5 / sqrt(N); // deviations of a mean of unit variance
    ck_assert_double_le(fabs(sums[1]), five);
    ck_assert_double_le(fabs(sums[2] - 1), five * sqrt(2));
    ck_assert_double_le(fabs(sums[3]), five * sqrt(15));
    ck_assert_double_le(fabs(sums[4] - 3), five * sqrt(96));
    free(x);
    qn_graph_destroy(&g);
}
END_TEST

START_TEST(keys_follow_path_and_use_alone)
{
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_shape shape = qn_shape_of(4), other = qn_shape_of(2, 8);
    qn_graph_push(g, "0");
    const struct qn_node *a =
        qn_random_uniform(g, shape, 0, 1, make_params(g, "noise"));
    qn_add_scalar(g, qn_constant(g, 1), 2);
    const struct qn_node *b =
        qn_random_normal(g, other, 0, 1, make_params(g, "noise"));
    const struct qn_node *c =
        qn_random_uniform(g, shape, 0, 1, make_params(g, "mask"));
    qn_graph_pop(g);
    qn_graph_push(g, "1");
    const struct qn_node *d =
        qn_random_uniform(g, shape, 0, 1, make_params(g, "noise"));
    ck_assert_double_eq(a->p[2], b->p[2]);
    ck_assert_double_eq(a->p[3], b->p[3]);
    ck_assert_double_ne(a->p[2], c->p[2]);
    ck_assert_double_ne(a->p[2], d->p[2]);
    ck_assert_double_ne(c->p[3], d->p[3]);
    ck_assert(qn_shape_equal(&b->shape, &other));
    qn_graph_destroy(&g);
}
END_TEST

// ---- in a plan ----

static void run_mask(qn_plan *plan, qn_node *step, int number,
                     qn_node *const *out, float *a, float *b, size_t size)
{
    ck_assert(qn_plan_set(plan, step, number) == QN_OK);
    ck_assert_msg(qn_plan_run(plan) == QN_OK, "%s", qn_plan_error(plan)->text);
    ck_assert(qn_plan_read(plan, out[0], a, size) == QN_OK);
    ck_assert(qn_plan_read(plan, out[1], b, size) == QN_OK);
}

// Rows of 37 elements begin at every misalignment.
START_TEST(mask_is_the_same_on_the_way_back_and_new_each_step)
{
    enum { ROWS = 6, COLUMNS = 37, N = ROWS * COLUMNS };
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_shape shape = qn_shape_of(ROWS, COLUMNS), row = qn_shape_of(COLUMNS);
    struct qn_random_params params = *make_params(g, "dropout");
    qn_node *x = qn_constant(g, 1), *bias, *out[2];
    bias = qn_input(g, "bias", QN_FLOAT32, row);
    x = qn_add(g, qn_broadcast_to(g, x, shape), bias);
    qn_node *mask = qn_random_bernoulli(g, shape, 0.5, &params);
    out[0] = qn_mul(g, x, mask);
    qn_gradients(g, qn_sum(g, out[0], &(struct qn_reduce_params){0}), &x, 1,
                 &out[1]);
    qn_error error = {0};
    qn_plan *plan = qn_plan_create(
        qn_check_device(),
        &(struct qn_plan_params){.graph = g, .outputs = out, .output_count = 2},
        &error);
    ck_assert_msg(plan != NULL, "%s", error.text);
    static float zeros[COLUMNS], first[2][N], second[2][N], again[2][N];
    ck_assert(qn_plan_write(plan, bias, zeros, sizeof zeros) == QN_OK);
    run_mask(plan, params.step, 1, out, first[0], first[1], sizeof first[0]);
    run_mask(plan, params.step, 2, out, second[0], second[1], sizeof first[0]);
    run_mask(plan, params.step, 1, out, again[0], again[1], sizeof first[0]);
    for (int i = 0; i < N; i++)
        ck_assert(first[0][i] == (host_word(mask, 0, 1, i) < 1u << 31));
    ck_assert_mem_eq(first[0], first[1], sizeof first[0]);
    ck_assert_mem_eq(second[0], second[1], sizeof first[0]);
    ck_assert_mem_eq(first, again, sizeof first);
    ck_assert_mem_ne(first[0], second[0], sizeof first[0]);
    qn_plan_destroy(&plan);
    qn_graph_destroy(&g);
}
END_TEST

// ---- refusals ----

// Each bad call on a fresh graph, since errors stick.
static void expect_refusal(int which, const char *want)
{
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_shape shape = qn_shape_of(3), empty = qn_shape_of(0);
    struct qn_random_params *params = make_params(g, "test");
    struct qn_random_params fixed = *params, nameless = *params;
    fixed.step = qn_constant(g, 1);
    nameless.use = NULL;
    qn_error error = {0};
    const qn_node *node =
        which == 0   ? qn_random_uniform(g, shape, 1, 0, params)
        : which == 1 ? qn_random_normal(g, shape, 0, -1, params)
        : which == 2 ? qn_random_bernoulli(g, shape, 1.5, params)
        : which == 3 ? qn_random_uniform(g, shape, 0, 1, &fixed)
        : which == 4 ? qn_random_uniform(g, shape, 0, 1, &nameless)
                     : qn_random_uniform(g, empty, 0, 1, params);
    ck_assert_ptr_null(node);
    ck_assert_int_ne(qn_graph_check(g, &error), QN_OK);
    ck_assert_msg(strstr(error.text, want) != NULL, "%s", error.text);
    qn_graph_destroy(&g);
}

START_TEST(bad_draws_are_refused_with_a_reason)
{
    expect_refusal(0, "(1, 0) is no finite interval");
    expect_refusal(1, "the deviation not negative");
    expect_refusal(2, "1.5 is not in [0, 1]");
    expect_refusal(3, "step must be a qn_scalar, not constant");
    expect_refusal(4, "params must name the seed, the step and the use");
    expect_refusal(5, "dimensions of at least 1");
}
END_TEST

QN_CHECK_MAIN("random", philox_gives_the_published_answers,
              uniform_is_the_hosts_words_scaled,
              normal_is_box_muller_of_the_hosts_words,
              bernoulli_counts_words_below_its_threshold,
              unit_stays_inside_its_borders,
              moments_and_bins_are_those_of_the_distribution,
              keys_follow_path_and_use_alone,
              mask_is_the_same_on_the_way_back_and_new_each_step,
              bad_draws_are_refused_with_a_reason)
