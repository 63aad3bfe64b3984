// The matrix product on the device: every candidate of the row against sums in
// double, its store hooks, its ways to share work out.
//
// Launches are run as the row describes them, without a plan. All buffers are
// larger than the tensors: what lies behind the inputs is NaN, and what lies
// behind the output must stay as it was.
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "device/device.h"
#include "op/rules.h"
#include "qn_check.h"

enum { SLACK = 64, HOOKS_ALL = 15 };
static const double sentinel = 12345.5;

// What the operands hold.
enum content {
    CONTENT_RANDOM,
    CONTENT_INTEGER, // every sum is exact
    CONTENT_NAN,     // a NaN and two infinities among random numbers
};

struct trial {
    const char *candidate; // NULL: the first that fits
    qn_dtype real;
    qn_shape a, b;
    bool trans_a, trans_b;
    int hooks;
    enum content content;
    const struct qn_limits *limits; // NULL: the device's
    const char *kernel;             // expected, or NULL
};

// A tensor on the host and on the device.
struct tensor {
    double *data;
    int64_t count;
    struct qn_buffer *buffer;
};

static double draw(struct qn_check_rng *rng, enum content content)
{
    if (content == CONTENT_INTEGER)
        return (double)qn_check_integer(rng, -4, 4);
    return (double)(float)qn_check_uniform(rng, -1, 1);
}

static void *encode(const double *data, int64_t count, qn_dtype real)
{
    void *out = calloc((size_t)count, qn_dtype_size(real));
    ck_assert(out != NULL);
    for (int64_t i = 0; i < count; i++) {
        if (real == QN_FLOAT64)
            ((double *)out)[i] = data[i];
        else
            ((float *)out)[i] = (float)data[i];
    }
    return out;
}

static void upload(struct tensor *t, qn_dtype real, const char *name)
{
    qn_error error = {0};
    const size_t size = (size_t)(t->count + SLACK) * qn_dtype_size(real);
    void *data = encode(t->data, t->count + SLACK, real);
    ck_assert_ok(qn_buffer_create(qn_check_device(), size, name, &t->buffer,
                                  &error), error);
    ck_assert_ok(qn_buffer_write(t->buffer, 0, data, size, &error), error);
    free(data);
}

static void download(struct tensor *t, qn_dtype real)
{
    qn_error error = {0};
    const size_t size = (size_t)(t->count + SLACK) * qn_dtype_size(real);
    void *data = malloc(size);
    ck_assert_ok(qn_buffer_read(t->buffer, 0, data, size, &error), error);
    for (int64_t i = 0; i < t->count + SLACK; i++)
        t->data[i] = real == QN_FLOAT64 ? ((double *)data)[i]
                                        : (double)((float *)data)[i];
    free(data);
}

static struct tensor make_tensor(int64_t count, double slack)
{
    struct tensor t = {.count = count};
    t.data = malloc((size_t)(count + SLACK) * sizeof *t.data);
    ck_assert(t.data != NULL);
    for (int64_t i = count; i < count + SLACK; i++)
        t.data[i] = slack;
    return t;
}

static struct tensor make_input(int64_t count, enum content content,
                                struct qn_check_rng *rng, qn_dtype real)
{
    struct tensor t = make_tensor(count, NAN);
    for (int64_t i = 0; i < count; i++)
        t.data[i] = draw(rng, content);
    if (content == CONTENT_NAN) {
        t.data[count / 2] = NAN;
        t.data[count / 3] = INFINITY;
        t.data[count / 5] = -INFINITY;
    }
    upload(&t, real, "input");
    return t;
}

static void free_tensor(struct tensor *t)
{
    free(t->data);
    qn_buffer_destroy(&t->buffer);
}

// ---- reference ----

struct sizes {
    int64_t batch, batch_a, batch_b, m, n, k;
};

static int64_t batch_count(const qn_shape *shape)
{
    int64_t count = 1;
    for (int i = 0; i + 2 < shape->rank; i++)
        count *= shape->dims[i];
    return count;
}

static struct sizes sizes_of(const struct trial *t)
{
    const int64_t *a = t->a.dims + t->a.rank - 2;
    const int64_t *b = t->b.dims + t->b.rank - 2;
    struct sizes s = {.batch_a = batch_count(&t->a),
                      .batch_b = batch_count(&t->b),
                      .m = a[t->trans_a ? 1 : 0],
                      .n = b[t->trans_b ? 0 : 1],
                      .k = a[t->trans_a ? 0 : 1]};
    s.batch = s.batch_a > s.batch_b ? s.batch_a : s.batch_b;
    return s;
}

// The sum of one element and of its terms' sizes.
static double reference(const struct trial *t, const struct sizes *s,
                        const double *a, const double *b, int64_t i, int64_t j,
                        double *size)
{
    const int64_t step_a = t->trans_a ? s->m : 1;
    const int64_t step_b = t->trans_b ? 1 : s->n;
    double sum = 0;
    a += t->trans_a ? i : i * s->k;
    b += t->trans_b ? j * s->k : j;
    *size = 0;
    for (int64_t l = 0; l < s->k; l++) {
        const double term = a[l * step_a] * b[l * step_b];
        sum += term;
        *size += fabs(term);
    }
    return sum;
}

struct hook_data {
    struct tensor row, full, gate;
};

// The hooks on one element; `size` grows by what was added.
static double hook(const struct hook_data *h, int hooks, double v, int64_t i,
                   int64_t j, double *size)
{
    if (hooks & QN_HOOK_ADD_ROW) {
        v += h->row.data[j];
        *size += fabs(h->row.data[j]);
    }
    if (hooks & QN_HOOK_ADD) {
        v += h->full.data[i];
        *size += fabs(h->full.data[i]);
    }
    if (hooks & QN_HOOK_RELU)
        v = v < 0 ? 0 : v;
    if (hooks & QN_HOOK_GATE)
        v = h->gate.data[i] > 0 ? v : 0;
    return v;
}

static const char *describe_trial(const struct trial *t, const char *kernel)
{
    static char text[200];
    char a[64], b[64];
    snprintf(text, sizeof text, "%s %s a %s%s b %s%s hooks %d", kernel,
             qn_dtype_name(t->real), qn_shape_text(&t->a, a, sizeof a),
             t->trans_a ? "^T" : "", qn_shape_text(&t->b, b, sizeof b),
             t->trans_b ? "^T" : "", t->hooks);
    return text;
}

static void compare(const struct trial *t, const char *kernel,
                    const struct tensor *a, const struct tensor *b,
                    const struct tensor *c, const struct hook_data *h)
{
    const struct sizes s = sizes_of(t);
    const double unit = t->real == QN_FLOAT64 ? 0x1p-53 : 0x1p-24;
    const int64_t stride_a = s.batch_a > 1 ? s.m * s.k : 0;
    const int64_t stride_b = s.batch_b > 1 ? s.k * s.n : 0;
    for (int64_t at = 0; at < c->count; at++) {
        const int64_t z = at / (s.m * s.n), j = at % s.n;
        const int64_t i = at / s.n % s.m;
        double size;
        double want = reference(t, &s, a->data + z * stride_a,
                                b->data + z * stride_b, i, j, &size);
        want = hook(h, t->hooks, want, at, j, &size);
        // Two more roundings by the hooks; the reference has some of its own.
        const double bound =
            t->content == CONTENT_INTEGER
                ? 0
                : ((double)s.k + 2 + 2 * !!t->hooks) * unit * size +
                      (double)s.k * 0x1p-53 * size;
        const double got = c->data[at];
        if (got == want || (isnan(got) && isnan(want)) ||
            fabs(got - want) <= bound)
            continue;
        ck_abort_msg("%s: element [%lld, %lld, %lld] is %.9g and must be "
                     "%.9g within %.3g",
                     describe_trial(t, kernel), (long long)z, (long long)i,
                     (long long)j, got, want, bound);
    }
    for (int64_t i = c->count; i < c->count + SLACK; i++)
        ck_assert_msg(c->data[i] == sentinel, "%s: wrote behind its output",
                      describe_trial(t, kernel));
}

// ---- running ----

static const struct qn_candidate *
find_candidate(const struct qn_node *node, const char *name,
               const struct qn_limits *limits)
{
    for (const struct qn_candidate *c = node->op->candidates; c->name; c++)
        if (name ? strcmp(c->name, name) == 0 : c->fits(node, limits))
            return c;
    ck_abort_msg("no candidate");
    return NULL;
}

static void run_launch(const struct qn_launch *launch, int hooks,
                       struct tensor *const tensors[6])
{
    static const int operands[] = {
        QN_OPERAND_IN,       QN_OPERAND_IN + 1,    QN_OPERAND_OUT,
        QN_OPERAND_HOOK_ROW, QN_OPERAND_HOOK_FULL, QN_OPERAND_HOOK_GATE,
    };
    struct qn_binding bindings[6];
    struct qn_command *command;
    qn_error error = {0};
    for (int i = 0; i < 6; i++) {
        const bool is_used = i < 3 || (hooks & (i == 3   ? QN_HOOK_ADD_ROW
                                                : i == 4 ? QN_HOOK_ADD
                                                         : QN_HOOK_GATE));
        bindings[i] = (struct qn_binding){
            operands[i], is_used ? tensors[i]->buffer : NULL, -1};
    }
    ck_assert_ok(qn_command_create(qn_check_device(), launch, bindings, 6,
                                   hooks, &command, &error), error);
    ck_assert_ok(qn_command_run(command, NULL, &error), error);
    qn_command_destroy(&command);
}

static qn_node *build(qn_graph *g, const struct trial *t)
{
    qn_node *a = qn_input(g, "a", t->real, t->a);
    qn_node *b = qn_input(g, "b", t->real, t->b);
    return qn_matmul(g, a, b, qn_matmul_params(t->trans_a, t->trans_b));
}

static void check_launch(const struct trial *t, const struct qn_work *work)
{
    const struct sizes s = sizes_of(t);
    const struct qn_launch *launch = work->launches[0];
    ck_assert(!work->failed);
    ck_assert_int_eq(work->launch_count, 1);
    ck_assert(launch->is_heavy);
    ck_assert_double_eq(launch->flops,
                        2.0 * (double)(s.batch * s.m * s.n * s.k));
    ck_assert_double_eq(launch->bytes,
                        (double)qn_dtype_size(t->real) *
                            (double)(s.batch_a * s.m * s.k +
                                     s.batch_b * s.k * s.n +
                                     s.batch * s.m * s.n));
    if (t->kernel)
        ck_assert_str_eq(launch->kernel, t->kernel);
}

static void run_trial(const struct trial *t)
{
    const struct qn_limits *limits =
        t->limits ? t->limits : qn_device_limits(qn_check_device());
    const struct sizes s = sizes_of(t);
    struct qn_check_rng rng = {(uint64_t)(s.m * 7919 + s.n * 104729 + s.k)};
    qn_graph *g = qn_graph_create(t->real);
    qn_node *node = build(g, t);
    qn_error error = {0};
    ck_assert_ok(qn_graph_check(g, &error), error);
    struct qn_work work = {0};
    find_candidate(node, t->candidate, limits)->describe(node, limits, &work);
    check_launch(t, &work);

    const int64_t count = s.batch * s.m * s.n;
    struct tensor a = make_input(s.batch_a * s.m * s.k, t->content, &rng,
                                 t->real);
    struct tensor b = make_input(s.batch_b * s.k * s.n,
                                 t->content == CONTENT_NAN ? CONTENT_INTEGER
                                                           : t->content,
                                 &rng, t->real);
    struct tensor c = make_tensor(count, sentinel);
    for (int64_t i = 0; i < count; i++)
        c.data[i] = NAN;
    upload(&c, t->real, "output");
    const enum content extra = t->content == CONTENT_INTEGER
                                   ? CONTENT_INTEGER
                                   : CONTENT_RANDOM;
    struct hook_data h = {make_input(s.n, extra, &rng, t->real),
                          make_input(count, extra, &rng, t->real),
                          make_input(count, extra, &rng, t->real)};
    struct tensor *const tensors[] = {&a, &b, &c, &h.row, &h.full, &h.gate};
    run_launch(work.launches[0], t->hooks, tensors);
    download(&c, t->real);
    compare(t, work.launches[0]->kernel, &a, &b, &c, &h);
    for (int i = 0; i < 6; i++)
        free_tensor(tensors[i]);
    qn_work_finish(&work);
    qn_graph_destroy(&g);
}

// m x k times k x n, stored as the flags say.
static struct trial make_trial(int64_t m, int64_t n, int64_t k, bool trans_a,
                               bool trans_b)
{
    return (struct trial){
        .a = trans_a ? qn_shape_of(k, m) : qn_shape_of(m, k),
        .b = trans_b ? qn_shape_of(n, k) : qn_shape_of(k, n),
        .trans_a = trans_a,
        .trans_b = trans_b,
    };
}

static bool is_cpu(void)
{
    return qn_device_limits(qn_check_device())->variant == QN_VARIANT_CPU;
}

static bool has_double(void)
{
    return qn_device_limits(qn_check_device())->has_float64;
}

// ---- sizes ----

static const int64_t edges[] = {1, 7, 31, 32, 33, 63, 64, 65, 127, 200};
enum { EDGES = sizeof edges / sizeof *edges };

static void check_all_sizes(bool trans_a, bool trans_b)
{
    for (int i = 0; i < EDGES; i++)
        for (int j = 0; j < EDGES; j++)
            for (int l = 0; l < EDGES; l++) {
                struct trial t = make_trial(edges[i], edges[j], edges[l],
                                            trans_a, trans_b);
                run_trial(&t);
            }
}

START_TEST(all_sizes_nn)
{
    check_all_sizes(false, false);
}
END_TEST

START_TEST(all_sizes_nt)
{
    check_all_sizes(false, true);
}
END_TEST

START_TEST(all_sizes_tn)
{
    check_all_sizes(true, false);
}
END_TEST

START_TEST(all_sizes_tt)
{
    check_all_sizes(true, true);
}
END_TEST

static const int64_t shapes[][3] = {
    {1, 512, 784},  {512, 1, 784}, {512, 512, 1}, {1, 1, 3000},
    {128, 10, 512}, {10, 512, 128}, {128, 512, 10}, {3, 300, 17},
    {300, 3, 17},   {9, 16, 100},  {16, 17, 100}, {33, 9, 2100},
    {70, 45, 1500}, {2, 1000, 5},  {784, 512, 128}, {128, 512, 784},
};
enum {
    SHAPES = sizeof shapes / sizeof *shapes,
    SMALL_SHAPES = SHAPES - 2, // without the large ones
};

static void check_shapes(int count, struct trial how)
{
    for (int i = 0; i < count; i++)
        for (int trans = 0; trans < 4; trans++) {
            struct trial t = make_trial(shapes[i][0], shapes[i][1],
                                        shapes[i][2], trans & 1, trans >> 1);
            t.candidate = how.candidate;
            t.real = how.real;
            t.content = how.content;
            t.limits = how.limits;
            run_trial(&t);
        }
}

START_TEST(skinny_and_training_shapes)
{
    check_shapes(SHAPES, (struct trial){.real = QN_FLOAT32});
}
END_TEST

START_TEST(double_precision)
{
    if (!has_double())
        return;
    check_shapes(SMALL_SHAPES, (struct trial){.real = QN_FLOAT64});
    for (int i = 0; i < EDGES; i++)
        for (int trans = 0; trans < 4; trans++) {
            struct trial t = make_trial(edges[i], edges[(i + 3) % EDGES],
                                        edges[(i + 7) % EDGES], trans & 1,
                                        trans >> 1);
            t.real = QN_FLOAT64;
            run_trial(&t);
        }
}
END_TEST

START_TEST(integers_are_exact)
{
    check_shapes(SMALL_SHAPES, (struct trial){.content = CONTENT_INTEGER});
}
END_TEST

// A NaN or an infinity shows in its own row and nowhere else.
START_TEST(nan_and_infinity_stay_in_their_rows)
{
    check_shapes(SMALL_SHAPES, (struct trial){.content = CONTENT_NAN});
    for (int i = 0; i < EDGES; i++)
        for (int trans = 0; trans < 4; trans++) {
            struct trial t = make_trial(edges[i], edges[(i + 4) % EDGES], 37,
                                        trans & 1, trans >> 1);
            t.content = CONTENT_NAN;
            run_trial(&t);
        }
}
END_TEST

// Little local memory, many compute units: more groups, more blocks of K.
START_TEST(any_limits_give_the_same_product)
{
    const struct qn_limits *device = qn_device_limits(qn_check_device());
    struct qn_limits limits = *device;
    static const int units[] = {1, 3, 64};
    static const int64_t sizes[] = {32768, 49152, 1 << 20};
    for (int i = 0; i < 3; i++) {
        limits.compute_units = units[i];
        limits.local_size = sizes[i] < device->local_size
                                ? sizes[i] : device->local_size;
        limits.max_group_size = i == 0 ? 64 : device->max_group_size;
        check_shapes(SMALL_SHAPES, (struct trial){.limits = &limits});
        if (has_double())
            check_shapes(SMALL_SHAPES, (struct trial){.limits = &limits,
                                                      .real = QN_FLOAT64});
    }
}
END_TEST

// ---- batches ----

START_TEST(operands_with_all_of_a_batch_or_none)
{
    static const struct {
        int64_t a, b; // leading dimension, 0: none
    } batches[] = {{3, 3}, {3, 0}, {0, 3}, {3, 1}, {1, 3}, {1, 1}, {1, 0}};
    static const int64_t sizes[][3] = {{5, 6, 7}, {33, 40, 70}, {65, 10, 20}};
    for (int i = 0; i < 7; i++)
        for (int j = 0; j < 3; j++)
            for (int trans = 0; trans < 4; trans++) {
                struct trial t = make_trial(sizes[j][0], sizes[j][1],
                                            sizes[j][2], trans & 1,
                                            trans >> 1);
                const int64_t *a = t.a.dims, *b = t.b.dims;
                if (batches[i].a)
                    t.a = qn_shape_of(batches[i].a, a[0], a[1]);
                if (batches[i].b)
                    t.b = qn_shape_of(batches[i].b, b[0], b[1]);
                t.hooks = j == 1 ? HOOKS_ALL : 0;
                run_trial(&t);
            }
    struct trial t = {.a = qn_shape_of(2, 3, 5, 4), .b = qn_shape_of(4, 6),
                      .hooks = HOOKS_ALL};
    run_trial(&t);
}
END_TEST

// ---- hooks ----

static void check_hooks(int64_t m, int64_t n, int64_t k, qn_dtype real,
                        const char *kernel)
{
    for (int hooks = 0; hooks <= HOOKS_ALL; hooks++)
        for (int trans = 0; trans < 4; trans++) {
            struct trial t = make_trial(m, n, k, trans & 1, trans >> 1);
            t.hooks = hooks;
            t.real = real;
            t.kernel = kernel;
            run_trial(&t);
        }
}

START_TEST(hooks_in_every_combination)
{
    const bool cpu = is_cpu();
    check_hooks(70, 90, 40, QN_FLOAT32, cpu ? "matmul" : NULL);
    check_hooks(32, 64, 1200, QN_FLOAT32, cpu ? "matmul" : NULL);
    check_hooks(128, 128, 20, QN_FLOAT32, cpu ? "matmul" : "matmul_64");
    check_hooks(37, 13, 50, QN_FLOAT32, cpu ? "matmul_narrow" : "matmul_32");
    check_hooks(6, 45, 50, QN_FLOAT32, cpu ? NULL : "matmul_32");
    if (has_double())
        check_hooks(37, 45, 30, QN_FLOAT64, NULL);
}
END_TEST

START_TEST(hooks_after_the_last_block_of_k_alone)
{
    struct qn_limits limits = *qn_device_limits(qn_check_device());
    limits.local_size = 32768;
    for (int hooks = 0; hooks <= HOOKS_ALL; hooks++) {
        struct trial t = make_trial(20, 40, 500, hooks & 1, hooks >> 1 & 1);
        t.hooks = hooks;
        t.limits = &limits;
        run_trial(&t);
    }
}
END_TEST

START_TEST(few_rows_or_columns_take_dot_products)
{
    if (!is_cpu())
        return;
    static const int64_t sizes[] = {1, 2, 3, 4, 5, 8};
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 6; j++) {
            struct trial t = make_trial(sizes[i], 20 + sizes[j], 10 + 9 * i,
                                        false, true);
            t.kernel = "matmul_dot";
            t.hooks = HOOKS_ALL;
            run_trial(&t);
            t = make_trial(20 + sizes[i], sizes[j], 10 + 9 * i, false, true);
            t.kernel = "matmul_dot";
            run_trial(&t);
        }
}
END_TEST

// ---- CLBlast ----

START_TEST(clblast_agrees)
{
    if (!qn_device_limits(qn_check_device())->has_clblast || !is_cpu())
        return;
    for (int i = 0; i < EDGES; i++)
        for (int trans = 0; trans < 4; trans++) {
            struct trial t = make_trial(edges[i], edges[(i + 3) % EDGES],
                                        edges[(i + 7) % EDGES], trans & 1,
                                        trans >> 1);
            t.candidate = "clblast";
            run_trial(&t);
            t.content = CONTENT_INTEGER;
            run_trial(&t);
        }
    struct trial t = {.a = qn_shape_of(3, 7, 5), .b = qn_shape_of(3, 5, 6),
                      .candidate = "clblast"};
    run_trial(&t);
    t.a = qn_shape_of(7, 5);
    run_trial(&t);
    if (has_double()) {
        t.real = QN_FLOAT64;
        run_trial(&t);
    }
}
END_TEST

QN_CHECK_MAIN("op_matmul", all_sizes_nn, all_sizes_nt, all_sizes_tn,
              all_sizes_tt, skinny_and_training_shapes, double_precision,
              integers_are_exact, nan_and_infinity_stay_in_their_rows,
              any_limits_give_the_same_product,
              operands_with_all_of_a_batch_or_none,
              hooks_in_every_combination,
              hooks_after_the_last_block_of_k_alone,
              few_rows_or_columns_take_dot_products, clblast_agrees)
