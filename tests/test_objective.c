// The loss of a graph over a data set as a function of its parameters: against
// the same net on the host, against differences, minimized on the device along
// PyTorch's trajectory; what it refuses.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "qn_check.h"
#include "quern/minimize.h"
#include "quern/op.h"
#include "torch_lbfgs.h"

enum { N = TORCH_COUNT };

// ---- the net as graphs ----

enum kind { PLAIN, POOLED, NO_PARAMETERS, VECTOR_LOSS };
struct setting {
    qn_dtype real;
    int64_t batch;
    enum kind kind;
    struct qn_penalty penalty; // on all
    bool wants_products;
    int stop_after; // batches; 0: never
    int batches;
};
struct use {
    struct setting setting;
    struct qn_penalty penalties[4];
    qn_store *store;
    qn_plan_objective *objective;
};

// Parameters in PyTorch's order.
static void build(void *user, qn_graph *g, int64_t count,
                  struct qn_batch_loss *out)
{
    struct use *use = user;
    const enum kind kind = use->setting.kind;
    const qn_dtype real = use->setting.real;
    qn_node *x = qn_input(g, "x", real, qn_shape_of(count, 2));
    qn_node *y = qn_input(g, "y", real, qn_shape_of(count, 1));
    out->nodes[0] = x;
    out->nodes[1] = y;
    if (kind == NO_PARAMETERS) {
        out->loss = qn_mean(g, x, &(struct qn_reduce_params){0});
        return;
    }
    qn_node *w0 = qn_parameter(g, "w0", qn_shape_of(3, 2));
    qn_node *b0 = qn_parameter(g, "b0", qn_shape_of(3));
    qn_node *w1 = qn_parameter(g, "w1", qn_shape_of(1, 3));
    qn_node *b1 = qn_parameter(g, "b1", qn_shape_of(1));
    const struct qn_matmul_params turned = {.trans_b = true};
    qn_node *h = qn_sigmoid(g, qn_add(g, qn_matmul(g, x, w0, &turned), b0));
    if (kind == POOLED)
        h = qn_reshape(
            g,
            qn_max_pool(g, qn_reshape(g, h, qn_shape_of(count, 1, 1, 3)),
                        &(struct qn_pool_params){.kernel = {1, 1}}),
            qn_shape_of(count, 3));
    qn_node *p = qn_sigmoid(g, qn_add(g, qn_matmul(g, h, w1, &turned), b1));
    qn_node *fault = qn_square(g, qn_sub(g, p, y));
    out->loss = kind == VECTOR_LOSS
                    ? fault
                    : qn_mean(g, fault, &(struct qn_reduce_params){0});
    out->count = qn_sum(g, qn_less(g, p, y), NULL);
    out->penalties = use->penalties;
}

// Whatever the real type.
static qn_status write_rows(qn_plan *plan, const qn_node *node,
                            const double *from)
{
    float narrow[2 * TORCH_SAMPLES];
    const size_t count = (size_t)qn_shape_count(qn_node_shape(node));
    for (size_t i = 0; i < count; i++)
        narrow[i] = (float)from[i];
    return qn_node_dtype(node) == QN_FLOAT64
               ? qn_plan_write(plan, node, from, count * sizeof *from)
               : qn_plan_write(plan, node, narrow, count * sizeof *narrow);
}

static qn_status bind(void *user, const struct qn_batch_loss *built,
                      qn_plan *plan, int64_t first)
{
    struct use *use = user;
    use->setting.batches++;
    qn_status status =
        write_rows(plan, built->nodes[0], torch_x() + 2 * first);
    return status == QN_OK
               ? write_rows(plan, built->nodes[1], torch_y() + first)
               : status;
}

static bool is_stopped(void *user)
{
    const struct setting *setting = &((struct use *)user)->setting;
    return setting->stop_after && setting->batches >= setting->stop_after;
}

// What was made before a failure stays for `finish`.
static qn_status try_start(struct use *use, const struct setting *setting,
                           qn_error *error)
{
    *use = (struct use){.setting = *setting};
    for (int i = 0; i < 4; i++)
        use->penalties[i] = setting->penalty;
    use->store = qn_store_create(qn_check_device(), error);
    ck_assert_ptr_nonnull(use->store);
    const struct qn_plan_objective_params params = {
        .real = setting->real,
        .samples = TORCH_SAMPLES,
        .batch = setting->batch,
        .wants_products = setting->wants_products,
        .user = use,
        .build = build,
        .bind = bind,
        .is_stopped = is_stopped,
    };
    use->objective = qn_plan_objective_create(qn_check_device(), use->store,
                                              &params, error);
    return use->objective ? QN_OK : error->status;
}

static struct qn_objective start(struct use *use,
                                 const struct setting *setting)
{
    qn_error error = {0};
    ck_assert_ok(try_start(use, setting, &error), error);
    return qn_plan_objective_face(use->objective);
}

static void finish(struct use *use)
{
    qn_plan_objective_destroy(&use->objective);
    qn_store_destroy(&use->store);
}

// ---- value, gradient, products ----

static bool has_double(void)
{
    return qn_device_describe(qn_check_device())->has_float64;
}

static void evaluate(const struct qn_objective *f, const double *x,
                     double *loss, double *g)
{
    qn_error error = {0};
    ck_assert_ok(f->evaluate(f->user, x, loss, g, &error), error);
}

// Whole, in equal batches, with a smaller last one: 3, 3, 2.
START_TEST(loss_and_gradient_are_those_of_the_whole_set)
{
    const int64_t batches[] = {8, 4, 3};
    double want[1 + N], got[1 + N];
    evaluate_torch(NULL, torch_start(), want, want + 1, NULL);
    for (int i = 0; i < 6; i++) {
        struct use use;
        const struct setting setting = {
            .real = i < 3 ? QN_FLOAT32 : QN_FLOAT64, .batch = batches[i % 3]};
        const double tolerance = i < 3 ? 1e-6 : 1e-13;
        if (i >= 3 && !has_double())
            break;
        struct qn_objective f = start(&use, &setting);
        ck_assert_int_eq(f.n, N);
        evaluate(&f, torch_start(), got, got + 1);
        qn_check_close("loss, gradient", got, want, 1 + N, tolerance,
                       tolerance);
        ck_assert_int_eq(use.setting.batches, (8 + batches[i % 3] - 1) /
                                                  batches[i % 3]);
        finish(&use);
    }
}
END_TEST

// x^2 / 2 of each parameter, exactly.
START_TEST(penalties_are_part_of_it)
{
    struct use use;
    const struct setting setting = {.batch = 3, .penalty = {.l2 = 0.5},
                                    .wants_products = true};
    const double *x = torch_start();
    double want[1 + N], got[1 + N], v[N] = {0}, plain[N], product[N];
    qn_error error = {0};
    evaluate_torch(NULL, x, want, want + 1, NULL);
    for (int i = 0; i < N; i++) {
        want[0] += 0.25 * x[i] * x[i];
        want[1 + i] += 0.5 * x[i];
    }
    struct qn_objective f = start(&use, &setting);
    evaluate(&f, x, got, got + 1);
    qn_check_close("loss, gradient", got, want, 1 + N, 1e-6, 1e-6);
    v[4] = 2;
    ck_assert_ok(f.hessian_product(f.user, x, v, product, &error), error);
    finish(&use);
    struct setting bare = setting;
    bare.penalty.l2 = 0;
    f = start(&use, &bare);
    ck_assert_ok(f.hessian_product(f.user, x, v, plain, &error), error);
    for (int i = 0; i < N; i++)
        plain[i] += 0.5 * v[i];
    qn_check_close("product", product, plain, N, 1e-12, 1e-12);
    finish(&use);
}
END_TEST

// Central differences of the host's gradient are exact to about 1e-9.
START_TEST(products_are_those_of_the_hessian)
{
    struct qn_check_rng rng = {3};
    double v[N], up[N], down[N], g[2][N], loss, want[N], got[N];
    const double e = 1e-5, *x = torch_start();
    for (int i = 0; i < N; i++) {
        v[i] = qn_check_uniform(&rng, -1, 1);
        up[i] = x[i] + e * v[i];
        down[i] = x[i] - e * v[i];
    }
    evaluate_torch(NULL, up, &loss, g[0], NULL);
    evaluate_torch(NULL, down, &loss, g[1], NULL);
    for (int i = 0; i < N; i++)
        want[i] = (g[0][i] - g[1][i]) / (2 * e);
    for (int i = 0; i < 2; i++) {
        struct use use;
        qn_error error = {0};
        const struct setting setting = {.real = i ? QN_FLOAT64 : QN_FLOAT32,
                                        .batch = 3,
                                        .wants_products = true};
        if (i && !has_double())
            break;
        struct qn_objective f = start(&use, &setting);
        const char *why = "";
        ck_assert(qn_plan_objective_is_exact(use.objective, &why));
        ck_assert_ptr_null(why);
        ck_assert_ok(f.hessian_product(f.user, x, v, got, &error), error);
        qn_check_close("product", got, want, N, i ? 1e-8 : 1e-5,
                       i ? 1e-9 : 1e-6);
        finish(&use);
    }
}
END_TEST

// Max pooling's gradient has none itself: differences take over, and Newton's
// method comes as far.
START_TEST(differences_are_used_where_products_are_refused)
{
    double loss[2], before, g[N];
    evaluate_torch(NULL, torch_start(), &before, g, NULL);
    for (int i = 0; i < 2; i++) {
        struct use use;
        qn_error error = {0};
        const char *why = NULL;
        const struct setting setting = {.batch = 8,
                                        .kind = i ? POOLED : PLAIN,
                                        .wants_products = true};
        struct qn_objective f = start(&use, &setting);
        ck_assert_int_eq(qn_plan_objective_is_exact(use.objective, &why),
                         i == 0);
        ck_assert_int_eq(f.hessian_product != NULL, i == 0);
        ck_assert(i == 0 || strstr(why, "max_pool") != NULL);
        struct qn_minimizer_params params =
            qn_minimizer_defaults(qn_minimizer_row_find("newton_cg"));
        qn_minimizer *m =
            qn_minimizer_create(&params, &f, torch_start(), &error);
        ck_assert_msg(m != NULL, "%s", error.text);
        struct qn_minimizer_report report;
        for (int k = 0; k < 3; k++)
            ck_assert_ok(qn_minimizer_step(m, &error), error);
        qn_minimizer_describe(m, &report);
        loss[i] = report.loss;
        qn_minimizer_destroy(&m);
        finish(&use);
    }
    ck_assert_double_lt(loss[0], before / 2);
    ck_assert_double_eq_tol(loss[1], loss[0], 1e-2 * loss[0]);
}
END_TEST

// ---- along PyTorch's trajectory ----

static void follow(const struct torch_run *run, qn_dtype real, double rtol,
                   double atol)
{
    struct use use;
    qn_error error = {0};
    const struct setting setting = {.real = real, .batch = 3};
    struct qn_objective f = start(&use, &setting);
    struct qn_minimizer_params params;
    ck_assert_ok(qn_minimizer_parse(run->text, &params, &error), error);
    params.lr = run->lr;
    qn_minimizer *m =
        qn_minimizer_create(&params, &f, torch_start(), &error);
    ck_assert_msg(m != NULL, "%s", error.text);
    for (int i = 0; i < TORCH_ITERATIONS; i++) {
        char what[100];
        snprintf(what, sizeof what, "%s, iteration %d", run->text, i + 1);
        ck_assert_ok(qn_minimizer_step(m, &error), error);
        qn_check_close(what, qn_minimizer_x(m), run->points[i] + 1, N, rtol,
                       atol);
    }
    qn_minimizer_destroy(&m);
    finish(&use);
}

// The tolerances that PyTorch's own tests of optimizers use in float.
START_TEST(device_follows_pytorch)
{
    struct torch_run run;
    for (int i = 0; torch_run_at(i, &run); i++) {
        follow(&run, QN_FLOAT32, 1e-3, 5e-4);
        if (has_double())
            follow(&run, QN_FLOAT64, 1e-9, 1e-9);
    }
}
END_TEST

// ---- parameters, counts ----

START_TEST(parameters_and_counts_are_those_of_the_point)
{
    struct use use;
    qn_error error = {0};
    const struct setting setting = {.batch = 3};
    double x[N], loss, g[N], count, other[N];
    struct qn_objective f = start(&use, &setting);
    memcpy(x, torch_start(), sizeof x);
    ck_assert_ok(qn_plan_objective_count(use.objective, x, &count, &error),
                 error);
    ck_assert_int_eq(use.setting.batches, 3);
    ck_assert(count > 0 && count < 8);
    ck_assert_ok(qn_plan_objective_read(use.objective, other, &error), error);
    ck_assert_mem_eq(x, other, sizeof x); // these are floats
    // Predictions above all targets: none is less.
    x[N - 1] = 20;
    evaluate(&f, x, &loss, g);
    ck_assert_ok(qn_plan_objective_count(use.objective, x, &count, &error),
                 error);
    ck_assert_double_eq(count, 0);
    ck_assert_int_eq(use.setting.batches, 6);
    finish(&use);
}
END_TEST

// ---- what goes wrong ----

static void expect_refusal(const struct setting *setting, const char *want)
{
    struct use use;
    qn_error error = {0};
    ck_assert_int_ne(try_start(&use, setting, &error), QN_OK);
    ck_assert_msg(strstr(error.text, want) != NULL, "\"%s\" in \"%s\"", want,
                  error.text);
    finish(&use);
}

START_TEST(bad_objectives_are_refused)
{
    struct setting setting = {.batch = 0};
    expect_refusal(&setting, "params->batch >= 1");
    setting.batch = 9;
    expect_refusal(&setting, "params->batch <= params->samples");
    setting.batch = 8;
    setting.real = QN_INT32;
    expect_refusal(&setting, "QN_FLOAT32");
    setting.real = QN_FLOAT32;
    setting.kind = NO_PARAMETERS;
    expect_refusal(&setting, "no parameters");
    setting.kind = VECTOR_LOSS;
    expect_refusal(&setting, "the loss must be one number");
    setting.kind = PLAIN;
    setting.penalty.l1 = 0.1;
    expect_refusal(&setting, "l1");
}
END_TEST

// An evaluation that was stopped leaves the minimizer where it was.
START_TEST(stopped_evaluations_can_be_repeated)
{
    struct use use, steady;
    qn_error error = {0};
    struct setting setting = {.batch = 3};
    struct qn_minimizer_params params =
        qn_minimizer_defaults(qn_minimizer_row_find("lbfgs"));
    struct qn_objective f = start(&use, &setting);
    struct qn_objective g = start(&steady, &setting);
    qn_minimizer *a = qn_minimizer_create(&params, &f, torch_start(), &error);
    qn_minimizer *b = qn_minimizer_create(&params, &g, torch_start(), &error);
    for (int i = 0; i < 4; i++) {
        use.setting.stop_after = use.setting.batches + 2;
        ck_assert_int_eq(qn_minimizer_step(a, &error), QN_INTERRUPTED);
        error = (qn_error){0};
        use.setting.stop_after = 0;
        ck_assert_ok(qn_minimizer_step(a, &error), error);
        ck_assert_ok(qn_minimizer_step(b, &error), error);
        ck_assert_mem_eq(qn_minimizer_x(a), qn_minimizer_x(b),
                         N * sizeof(double));
    }
    qn_minimizer_destroy(&a);
    qn_minimizer_destroy(&b);
    finish(&use);
    finish(&steady);
}
END_TEST

QN_CHECK_MAIN("objective", bad_objectives_are_refused,
              loss_and_gradient_are_those_of_the_whole_set,
              penalties_are_part_of_it, products_are_those_of_the_hessian,
              parameters_and_counts_are_those_of_the_point,
              differences_are_used_where_products_are_refused,
              stopped_evaluations_can_be_repeated, device_follows_pytorch)
