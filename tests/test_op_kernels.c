// Kernels of reductions, moves, softmax and indices, run as their rows
// describe them, without the plan: sizes around vectors, groups and chunks,
// extremes, and that nothing outside the output is written.
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "device/device.h"
#include "op/op.h"
#include "op_run.h"
#include "qn_check.h"
#include "quern/op.h"

static qn_error error;

static const qn_dtype reals[] = {QN_FLOAT32, QN_FLOAT64};

static double epsilon(qn_dtype real)
{
    return real == QN_FLOAT32 ? FLT_EPSILON : DBL_EPSILON;
}

static bool can_run(qn_dtype real)
{
    return real == QN_FLOAT32 ||
           qn_device_limits(qn_check_device())->has_float64;
}

static bool is_emulated(void)
{
    return qn_device_describe(qn_check_device())->type == QN_DEVICE_EMULATOR;
}

// Values that float32 holds exactly, so that the reference sees the same.
static double *random_values(int64_t count, double low, double high)
{
    static struct qn_check_rng rng = {7};
    double *values = calloc((size_t)count, sizeof *values);
    for (int64_t i = 0; i < count; i++)
        values[i] = (float)qn_check_uniform(&rng, low, high);
    return values;
}

// ---- reductions ----

enum reduction { SUM, MEAN, MAXIMUM };

// Index of the output element that x's element i goes to.
static int64_t output_index(const qn_shape *shape, unsigned axes, int64_t i)
{
    int64_t index = 0, weight = 1;
    for (int d = shape->rank - 1; d >= 0; d--) {
        if (!(axes >> d & 1)) {
            index += i % shape->dims[d] * weight;
            weight *= shape->dims[d];
        }
        i /= shape->dims[d];
    }
    return index;
}

static void check_reduction(enum reduction kind, qn_dtype real,
                            qn_shape shape, unsigned axes,
                            const double *values, double (*map)(double))
{
    int list[QN_MAX_RANK], axis_count = 0;
    for (int d = 0; d < shape.rank; d++)
        if (axes >> d & 1)
            list[axis_count++] = d - shape.rank;
    qn_graph *g = qn_graph_create(real);
    qn_node *x = op_run_constant(g, real, shape, values);
    const struct qn_reduce_params *params =
        qn_reduce_params(.axes = list, .axis_count = axis_count);
    qn_node *y = kind == SUM    ? qn_sum(g, x, params)
                 : kind == MEAN ? qn_mean(g, x, params)
                                : qn_reduce_max(g, x, params);
    ck_assert_ok(qn_graph_check(g, &error), error);
    const int64_t inputs = qn_shape_count(&shape);
    const int64_t outputs = qn_node_count(y), n = inputs / outputs;
    double *got = op_run(g, y);
    double *want = calloc((size_t)outputs, sizeof *want);
    double *size = calloc((size_t)outputs, sizeof *size);
    for (int64_t i = 0; i < outputs && kind == MAXIMUM; i++)
        want[i] = -INFINITY;
    for (int64_t i = 0; i < inputs; i++) {
        const int64_t o = output_index(&shape, axes, i);
        const double v = map ? map(values[i]) : values[i];
        if (kind != MAXIMUM)
            want[o] += v;
        else if (isnan(v) || v > want[o])
            want[o] = v;
        size[o] += fabs(v);
    }
    const double scale = kind == MEAN ? 1 / (double)n : 1;
    const double steps = n < 1000 ? (double)n + 2 : 1000;
    for (int64_t i = 0; i < outputs; i++) {
        const double bound =
            kind == MAXIMUM ? 0
                            : steps * epsilon(real) / 2 * size[i] * scale;
        ck_assert_msg(
            got[i] == want[i] ||
                fabs(got[i] - want[i] * scale) <= bound ||
                (isnan(got[i]) && isnan(want[i])),
            "reduction %d of %lld elements, output %lld of %lld: %.9g, "
            "should be %.9g within %.3g",
            kind, (long long)n, (long long)i, (long long)outputs, got[i],
            want[i] * scale, bound);
    }
    free(got);
    free(want);
    free(size);
    qn_graph_destroy(&g);
}

static void check_all_reductions(qn_shape shape, unsigned axes)
{
    double *values = random_values(qn_shape_count(&shape), -1, 2);
    for (int r = 0; r < 2 && can_run(reals[r]); r++)
        for (int kind = SUM; kind <= MAXIMUM; kind++)
            if (r == 0 || kind == SUM || !is_emulated())
                check_reduction((enum reduction)kind, reals[r], shape, axes,
                                values, NULL);
    free(values);
}

// Sizes around vectors, tiles and groups; the first few for an emulator.
static const int64_t edges[] = {1,  3,  15, 16, 17, 65,  33,  2,
                                31, 32, 61, 64, 127, 255, 256, 257};

static int edge_count(void)
{
    return is_emulated() ? 6 : (int)(sizeof edges / sizeof *edges);
}

START_TEST(reductions_of_rows_and_columns)
{
    for (int i = 0; i < edge_count(); i++) {
        check_all_reductions(qn_shape_of(edges[i]), 1);
        check_all_reductions(qn_shape_of(5, edges[i]), 2);
        check_all_reductions(qn_shape_of(7, edges[i]), 1);
        check_all_reductions(qn_shape_of(edges[i], 3), 1);
    }
}
END_TEST

START_TEST(reductions_of_any_axes)
{
    const qn_shape shape = qn_shape_of(3, 2, 5, 1, 4, 7);
    for (unsigned axes = 1; axes < 64; axes += is_emulated() ? 5 : 1)
        check_all_reductions(shape, axes);
    check_all_reductions(qn_shape_of(2, 3, 67, 2), 5);
    check_all_reductions(qn_shape_of(4, 3, 6, 6), 13); // batch statistics
    check_all_reductions(qn_shape_of(2, 70, 19), 2);
    check_all_reductions(qn_shape_of(300, 7, 3), 2);
}
END_TEST

// Chunks begin at 32768 elements.
START_TEST(long_reductions_in_two_passes)
{
    if (is_emulated()) {
        const qn_shape rows = qn_shape_of(33001);
        const qn_shape columns = qn_shape_of(2001, 17);
        double *values = random_values(2001 * 17, -1, 2);
        check_reduction(SUM, QN_FLOAT32, rows, 1, values, NULL);
        check_reduction(SUM, QN_FLOAT32, columns, 1, values, NULL);
        free(values);
        return;
    }
    check_all_reductions(qn_shape_of(40001), 1);
    check_all_reductions(qn_shape_of(2, 70003), 2);
    check_all_reductions(qn_shape_of(3001, 20), 1);
    check_all_reductions(qn_shape_of(1031, 67), 1);
    check_all_reductions(qn_shape_of(2, 4001, 10), 2);
    check_all_reductions(qn_shape_of(50, 3, 1000), 5);
    check_all_reductions(qn_shape_of(3, 2, 33000), 5);
}
END_TEST

START_TEST(nothing_to_reduce_gives_the_input)
{
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *x = qn_input(g, "x", QN_FLOAT32, qn_shape_of(1, 3, 1));
    const int axes[] = {0, 2};
    const struct qn_reduce_params *params =
        qn_reduce_params(.axes = axes, .axis_count = 2, .keep = true);
    ck_assert_ptr_eq(qn_sum(g, x, params), x);
    ck_assert_ptr_eq(qn_sum_to(g, x, qn_shape_of(1, 3, 1)), x);
    qn_graph_destroy(&g);
}
END_TEST

START_TEST(maximum_lets_nan_and_infinity_through)
{
    for (int64_t n = 1; n < 40; n += is_emulated() ? 13 : 3) {
        double *values = random_values(n, -5, -1);
        for (int64_t at = 0; at < n; at++) {
            const double old = values[at];
            values[at] = NAN;
            check_reduction(MAXIMUM, QN_FLOAT32, qn_shape_of(n), 1, values,
                            NULL);
            check_reduction(MAXIMUM, QN_FLOAT32, qn_shape_of(n, 1), 1, values,
                            NULL);
            values[at] = old;
        }
        values[n - 1] = -INFINITY;
        check_reduction(MAXIMUM, QN_FLOAT32, qn_shape_of(n), 1, values, NULL);
        free(values);
    }
}
END_TEST

static double square_plus_one(double x)
{
    return x * x + 1;
}

// Lanes behind the end hold 1 then, and must not count.
START_TEST(loads_may_be_a_chain)
{
    op_run_load_text = "#define LOAD_PARAMS global const REAL *restrict a0\n"
                       "#define LOADV(i, m) (load_real(a0 + (i), (m)) * "
                       "load_real(a0 + (i), (m)) + K(1))\n";
    const qn_shape shapes[] = {qn_shape_of(5, 19), qn_shape_of(19, 5),
                               qn_shape_of(2, 40001), qn_shape_of(4001, 11)};
    for (int s = 0; s < (is_emulated() ? 2 : 4); s++) {
        double *values = random_values(qn_shape_count(&shapes[s]), -0.5, 0.5);
        for (unsigned axes = 1; axes < 4; axes++)
            check_reduction(SUM, QN_FLOAT32, shapes[s], axes, values,
                            square_plus_one);
        free(values);
    }
    op_run_load_text = NULL;
}
END_TEST

START_TEST(sum_to_undoes_a_broadcast)
{
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    double *values = random_values(2 * 3 * 5 * 4, -1, 1);
    qn_node *x =
        op_run_constant(g, QN_FLOAT32, qn_shape_of(2, 3, 5, 4), values);
    qn_node *y = qn_sum_to(g, x, qn_shape_of(3, 1, 4));
    ck_assert_int_eq(y->shape.rank, 3);
    double *got = op_run(g, y), want[12] = {0};
    for (int i = 0; i < 120; i++)
        want[i / 20 % 3 * 4 + i % 4] += values[i];
    qn_check_close("sum_to", got, want, 12, 0, 1e-5);
    free(got);
    free(values);
    ck_assert_ptr_null(qn_sum_to(g, x, qn_shape_of(7, 4)));
    ck_assert_int_eq(qn_graph_check(g, &error), QN_BAD_SHAPE);
    ck_assert_ptr_nonnull(strstr(error.text, "[7, 4]"));
    error = (qn_error){0};
    qn_graph_destroy(&g);
}
END_TEST

// ---- softmax ----

static void softmax_line(const double *x, int64_t c, int64_t stride,
                         bool is_log, double *y)
{
    double top = -INFINITY, sum = 0;
    for (int64_t i = 0; i < c; i++)
        top = isnan(x[i * stride]) || x[i * stride] > top ? x[i * stride]
                                                          : top;
    for (int64_t i = 0; i < c; i++)
        sum += exp(x[i * stride] - top);
    for (int64_t i = 0; i < c; i++)
        y[i * stride] = is_log ? x[i * stride] - top - log(sum)
                               : exp(x[i * stride] - top) / sum;
}

static void check_softmax(qn_dtype real, int64_t outer, int64_t c,
                          int64_t inner, const double *values)
{
    const int64_t count = outer * c * inner;
    double *want = malloc((size_t)count * sizeof *want);
    for (int is_log = 0; is_log < 2; is_log++) {
        qn_graph *g = qn_graph_create(real);
        qn_node *x =
            op_run_constant(g, real, qn_shape_of(outer, c, inner), values);
        qn_node *y = is_log ? qn_log_softmax(g, x, 1) : qn_softmax(g, x, -2);
        double *got = op_run(g, y);
        for (int64_t o = 0; o < outer; o++)
            for (int64_t i = 0; i < inner; i++)
                softmax_line(values + o * c * inner + i, c, inner, is_log,
                             want + o * c * inner + i);
        const double e = epsilon(real);
        qn_check_close(is_log ? "log_softmax" : "softmax", got, want, count,
                       (8 + (double)c / 16) * e, 4 * e);
        free(got);
        qn_graph_destroy(&g);
    }
    free(want);
}

START_TEST(softmax_of_all_sizes)
{
    for (int r = 0; r < 2 && can_run(reals[r]); r++) {
        for (int i = 0; i < edge_count(); i++) {
            double *values = random_values(5 * 17 * edges[i], -4, 4);
            check_softmax(reals[r], 5, edges[i], 1, values);
            check_softmax(reals[r], 2, 3, edges[i], values);
            check_softmax(reals[r], 5, edges[i], 17, values);
            free(values);
        }
        const int64_t rows = is_emulated() ? 40 : 700;
        double *values = random_values(rows * 10, -4, 4);
        check_softmax(reals[r], rows, 10, 1, values);
        free(values);
    }
}
END_TEST

START_TEST(softmax_of_extremes)
{
    double equal[40], large[40], nan[40];
    for (int i = 0; i < 40; i++) {
        equal[i] = 1e4;
        large[i] = i % 2 ? 1e4 - i * 8 : -1e4;
        nan[i] = i == 3 ? NAN : i;
    }
    for (int64_t c = 1; c <= 40; c += 13) {
        check_softmax(QN_FLOAT32, 1, c, 1, equal);
        check_softmax(QN_FLOAT32, 1, c, 1, large);
        check_softmax(QN_FLOAT32, 40 / c, c, 1, nan);
        check_softmax(QN_FLOAT32, 1, c, 40 / c, nan);
    }
}
END_TEST

// Labels run through the classes and, with `bad`, past both ends.
static void check_loss(qn_dtype real, int64_t n, int64_t c, double low,
                       double high, bool bad)
{
    double *x = random_values(n * c, low, high);
    double *labels = random_values(n, 0, 1);
    double *dloss = random_values(n, -1, 1);
    double *want = malloc((size_t)(n * c) * sizeof *want);
    double *loss = malloc((size_t)n * sizeof *loss);
    for (int64_t i = 0; i < n; i++) {
        const int64_t label = bad && i % 3 == 0 ? (i % 2 ? -1 : c) : i % c;
        const bool is_in = label >= 0 && label < c;
        labels[i] = (double)label;
        softmax_line(x + i * c, c, 1, true, want + i * c);
        loss[i] = is_in ? -want[i * c + label] : NAN;
        for (int64_t k = 0; k < c; k++)
            want[i * c + k] =
                is_in ? (exp(want[i * c + k]) - (k == label)) * dloss[i] : NAN;
    }
    qn_graph *g = qn_graph_create(real);
    qn_node *logits = op_run_constant(g, real, qn_shape_of(n, c), x);
    qn_node *target = op_run_constant(g, QN_INT32, qn_shape_of(n), labels);
    qn_node *y = qn_softmax_cross_entropy(g, logits, target);
    qn_node *dy = op_run_constant(g, real, qn_shape_of(n), dloss);
    double *got = op_run(g, y);
    const double e = epsilon(real), size = fmax(fabs(low), fabs(high));
    qn_check_close("loss", got, loss, n, (8 + (double)c / 16) * e,
                   4 * e * size);
    free(got);
    ck_assert_ptr_null(y->op->grad(g, y, dy, 1));
    got = op_run(g, y->op->grad(g, y, dy, 0));
    qn_check_close("loss gradient", got, want, n * c, 16 * e,
                   (8 + (double)c / 16) * e);
    free(got);
    free(x);
    free(labels);
    free(dloss);
    free(want);
    free(loss);
    qn_graph_destroy(&g);
}

START_TEST(cross_entropy_and_its_gradient)
{
    for (int r = 0; r < 2 && can_run(reals[r]); r++) {
        for (int i = 0; i < edge_count(); i++)
            check_loss(reals[r], 7, edges[i], -3, 3, false);
        check_loss(reals[r], is_emulated() ? 40 : 300, 10, -5, 5, false);
        check_loss(reals[r], 20, 10, -1, 1, true);
        check_loss(reals[r], 20, 40, -1, 1, true);
        check_loss(reals[r], 5, 20, -1e4, 1e4, false);
    }
}
END_TEST

// ---- indices ----

static void check_argmax(qn_dtype real, int64_t outer, int64_t c,
                         int64_t inner, const double *values)
{
    qn_graph *g = qn_graph_create(real);
    qn_node *x = op_run_constant(g, real, qn_shape_of(outer, c, inner), values);
    qn_node *y = qn_argmax(g, x, 1);
    double *got = op_run(g, y);
    double *want = malloc((size_t)(outer * inner) * sizeof *want);
    ck_assert_int_eq(y->dtype, QN_INT32);
    for (int64_t i = 0; i < outer * inner; i++) {
        const double *line = values + i / inner * c * inner + i % inner;
        int64_t best = 0;
        for (int64_t k = 1; k < c; k++)
            if (!isnan(line[best * inner]) &&
                (isnan(line[k * inner]) ||
                 line[k * inner] > line[best * inner]))
                best = k;
        want[i] = (double)best;
    }
    qn_check_close("argmax", got, want, outer * inner, 0, 0);
    free(got);
    free(want);
    qn_graph_destroy(&g);
}

START_TEST(argmax_finds_the_first)
{
    for (int r = 0; r < 2 && can_run(reals[r]); r++) {
        for (int i = 0; i < edge_count(); i++) {
            const int64_t n = edges[i];
            double *values = random_values(n * 19 * 4, 0, 6);
            for (int64_t k = 0; k < n * 19 * 4; k++) // many ties
                values[k] = floor(values[k]) - 3;
            check_argmax(reals[r], 4, n, 1, values);
            check_argmax(reals[r], 4, n, 19, values);
            check_argmax(reals[r], 2, 5, n, values);
            for (int64_t k = 0; k < n * 19 * 4; k += 23)
                values[k] = k % 2 ? NAN : -INFINITY;
            check_argmax(reals[r], 4, n, 1, values);
            check_argmax(reals[r], 4, n, 19, values);
            free(values);
        }
        double lowest[40];
        for (int i = 0; i < 40; i++)
            lowest[i] = -INFINITY;
        check_argmax(reals[r], 2, 20, 1, lowest);
        check_argmax(reals[r], 1, 20, 2, lowest);
    }
}
END_TEST

START_TEST(one_hot_of_any_labels)
{
    const double labels[] = {0, 3, -1, 9, 10, 2147483647, -2147483648.0, 5};
    const int64_t classes[] = {1, 4, 10, 16, 33};
    for (int r = 0; r < 2 && can_run(reals[r]); r++) {
        for (int i = 0; i < 5; i++) {
            const int64_t c = classes[i];
            double want[8 * 33];
            for (int64_t k = 0; k < 8 * c; k++)
                want[k] = labels[k / c] == (double)(k % c);
            qn_graph *g = qn_graph_create(reals[r]);
            qn_node *y = qn_one_hot(
                g, op_run_constant(g, QN_INT32, qn_shape_of(2, 4), labels), c);
            ck_assert_int_eq(y->shape.rank, 3);
            double *got = op_run(g, y);
            qn_check_close("one_hot", got, want, 8 * c, 0, 0);
            free(got);
            qn_graph_destroy(&g);
        }
    }
}
END_TEST

static void check_take(qn_dtype dtype, int64_t width, double offset,
                       int64_t count)
{
    enum { ROWS = 11, ENTRIES = 9 };
    const double index[ENTRIES] = {3, 0, 10, 11, -1, 3, 2147483647, 7, 1};
    double *values = random_values(ROWS * width, 0, 200);
    double *want = calloc((size_t)(count * width), sizeof *want);
    for (int64_t i = 0; i < ROWS * width; i++)
        values[i] = floor(values[i]);
    for (int64_t i = 0; i < count; i++) {
        const double at = offset + (double)i;
        const double row = at < ENTRIES ? index[(int)at] : -1;
        for (int64_t k = 0; k < width && row >= 0 && row < ROWS; k++)
            want[i * width + k] = values[(int64_t)row * width + k];
    }
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *y =
        qn_take(g, op_run_constant(g, dtype, qn_shape_of(ROWS, width), values),
                op_run_constant(g, QN_INT32, qn_shape_of(ENTRIES), index),
                qn_scalar(g, "offset"), count);
    ck_assert_int_eq(y->dtype, dtype);
    op_run_live = offset;
    double *got = op_run(g, y);
    qn_check_close("take", got, want, count * width, 0, 0);
    free(got);
    free(want);
    free(values);
    qn_graph_destroy(&g);
}

START_TEST(take_of_any_type_and_index)
{
    const qn_dtype dtypes[] = {QN_FLOAT32, QN_INT32, QN_UINT8};
    const int64_t widths[] = {1, 3, 4, 17, 64, 783};
    for (int d = 0; d < 3; d++)
        for (int w = 0; w < 6; w++) {
            check_take(dtypes[d], widths[w], 0, 9);
            check_take(dtypes[d], widths[w], 2, 4);
            check_take(dtypes[d], widths[w], 7, 5);
            check_take(dtypes[d], widths[w], 4294967295.0, 2);
        }
    if (!is_emulated())
        check_take(QN_UINT8, 12000, 0, 9);
}
END_TEST

// ---- moves ----

static void check_pad(qn_dtype dtype, qn_shape shape, const int64_t *low,
                      const int64_t *high, const int64_t *inner)
{
    const int64_t count = qn_shape_count(&shape);
    double *values = random_values(count, 1, 200);
    for (int64_t i = 0; i < count; i++)
        values[i] = floor(values[i]);
    qn_graph *g = qn_graph_create(dtype == QN_FLOAT64 ? dtype : QN_FLOAT32);
    qn_node *x = op_run_constant(g, dtype, shape, values);
    qn_node *y = qn_pad(g, x, low, high, inner);
    double *got = op_run(g, y);
    double *want = calloc((size_t)qn_node_count(y), sizeof *want);
    for (int64_t i = 0; i < count; i++) {
        int64_t rest = i, at = 0, weight = 1;
        for (int d = shape.rank - 1; d >= 0; d--) {
            at += (low[d] + rest % shape.dims[d] * (inner[d] + 1)) * weight;
            weight *= y->shape.dims[d];
            rest /= shape.dims[d];
        }
        want[at] = values[i];
    }
    qn_check_close("pad", got, want, qn_node_count(y), 0, 0);
    free(got);
    free(want);
    free(values);
    qn_graph_destroy(&g);
}

START_TEST(pad_around_and_between)
{
    const qn_dtype dtypes[] = {QN_FLOAT32, QN_FLOAT64, QN_INT32, QN_UINT8};
    const int64_t none[6] = {0}, one[6] = {1, 1, 1, 1, 1, 1};
    const int64_t some[6] = {0, 2, 0, 1, 0, 3}, far[2] = {20, 0};
    const int64_t few[6] = {3, 0, 2, 0, 1, 0};
    for (int d = 0; d < 4; d++) {
        if (!can_run(dtypes[d]))
            continue;
        for (int i = 0; i < edge_count(); i++) {
            check_pad(dtypes[d], qn_shape_of(edges[i]), one, none, none);
            check_pad(dtypes[d], qn_shape_of(3, edges[i]), some, far, none);
            check_pad(dtypes[d], qn_shape_of(edges[i], 3), none, far, one);
        }
        check_pad(dtypes[d], qn_shape_of(2, 2, 2, 2, 2, 3), some, few, one);
        check_pad(dtypes[d], qn_shape_of(2, 1, 2, 3, 2, 1), one, few, some);
        check_pad(dtypes[d], qn_shape_of(2, 3, 5, 7), some, some, none);
        if (!is_emulated())
            check_pad(dtypes[d], qn_shape_of(70, 150), one, one, none);
        check_pad(dtypes[d], qn_shape_of(1, 1, 5), one, none, some);
    }
}
END_TEST

// `outer` blocks, and dimension 1 of `sizes[i]` for input i.
static void check_concat(qn_dtype dtype, int64_t outer, int64_t inner,
                         const int64_t *sizes, int count)
{
    qn_graph *g = qn_graph_create(dtype == QN_FLOAT64 ? dtype : QN_FLOAT32);
    qn_node *inputs[8];
    double *values[8] = {0};
    int64_t total = 0;
    for (int i = 0; i < count; i++) {
        const int64_t n = outer * sizes[i] * inner;
        values[i] = random_values(n, 0, 200);
        for (int64_t k = 0; k < n; k++)
            values[i][k] = floor(values[i][k]);
        inputs[i] = op_run_constant(
            g, dtype, qn_shape_of(outer, sizes[i], inner), values[i]);
        total += sizes[i];
    }
    qn_node *y = qn_concat(g, inputs, count, 1);
    double *got = op_run(g, y);
    ck_assert_int_eq(y->shape.dims[1], total);
    int64_t start = 0;
    for (int i = 0; i < count; i++) {
        for (int64_t o = 0; o < outer; o++)
            qn_check_close("concat", got + (o * total + start) * inner,
                           values[i] + o * sizes[i] * inner,
                           sizes[i] * inner, 0, 0);
        ck_assert_int_eq(
            y->op->part_offset(y, i),
            outer == 1 ? start * inner * (int64_t)qn_dtype_size(dtype) : -1);
        start += sizes[i];
        free(values[i]);
    }
    free(got);
    qn_graph_destroy(&g);
}

START_TEST(concat_along_any_axis)
{
    const qn_dtype dtypes[] = {QN_FLOAT32, QN_FLOAT64, QN_INT32, QN_UINT8};
    const int64_t sizes[] = {3, 1, 17, 64, 2};
    for (int d = 0; d < 4; d++) {
        if (!can_run(dtypes[d]))
            continue;
        check_concat(dtypes[d], 1, 1, sizes, 5);
        check_concat(dtypes[d], 4, 1, sizes, 5);
        check_concat(dtypes[d], 5, 7, sizes, 3);
        check_concat(dtypes[d], 1, 300, sizes, 5);
        if (!is_emulated())
            check_concat(dtypes[d], 3, 1000, sizes, 4);
    }
}
END_TEST

START_TEST(pack_of_many)
{
    enum { COUNT = 120 };
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *inputs[COUNT];
    double *values = random_values(COUNT + 300, 0.5, 1);
    for (int i = 0; i < COUNT; i++)
        inputs[i] = op_run_constant(g, QN_FLOAT32, qn_shape_of(1 + i * 5 % 300),
                             values + i);
    qn_node *y = qn_pack(g, inputs, COUNT);
    double *got = op_run(g, y);
    int64_t at = 0;
    for (int i = 0; i < COUNT; i++) {
        const int64_t n = qn_node_count(inputs[i]);
        ck_assert_int_eq(y->op->part_offset(y, i), at * 4);
        qn_check_close("part", got + at, values + i, n, 0, 0);
        for (at += n; at % (QN_GROUP_ALIGN / 4); at++)
            ck_assert(got[at] == 0);
    }
    ck_assert_int_eq(at, qn_node_count(y));
    free(got);
    free(values);
    qn_graph_destroy(&g);
}
END_TEST

QN_CHECK_MAIN("op_kernels", reductions_of_rows_and_columns,
              reductions_of_any_axes, long_reductions_in_two_passes,
              nothing_to_reduce_gives_the_input,
              maximum_lets_nan_and_infinity_through, loads_may_be_a_chain,
              sum_to_undoes_a_broadcast, softmax_of_all_sizes,
              softmax_of_extremes, cross_entropy_and_its_gradient,
              argmax_finds_the_first, one_hot_of_any_labels,
              take_of_any_type_and_index, pad_around_and_between,
              concat_along_any_axis, pack_of_many)
