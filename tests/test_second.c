// Second gradients through whole models: Hessian products as gradients of
// gradients, in double, against central differences of gradients. What refuses
// must do so by name, never by a wrong number.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "qn_check.h"
#include "quern/minimize.h"
#include "quern/op.h"

enum { SAMPLES = 5, CLASSES = 3, SIDE = 6 };

struct second_case {
    const char *model;
    const char *loss;
    bool is_image;      // x is [n, 2, SIDE, SIDE], else [n, 7]
    const char *refuses; // which operation has no second gradient; NULL: none
};

// Many layers in few models: each kernel costs its compilation.
static const struct second_case cases[] = {
    {"5-tanh-5-silu-3", "softmax_cross_entropy"},
    {"5-relu-5-elu-3", "mean_squared"},
    {"5-gelu-5-prelu-3", "huber:delta=0.5"},
    {"4-batch_norm-tanh-layer_norm-3",
     "softmax_cross_entropy:label_smoothing=0.1,weights=1/2/0.5"},
    {"conv3-batch_norm-tanh-avgpool2-flatten-3", "bce_with_logits", true},
    {"conv3-tanh-maxpool2-flatten-3", "softmax_cross_entropy", true,
     "max_pool"},
};
enum { CASES = sizeof cases / sizeof *cases };

struct use {
    const struct second_case *c;
    qn_model *model;
    struct qn_loss_params loss;
    double x[SAMPLES * 2 * SIDE * SIDE];
    int32_t labels[SAMPLES];
};

static void build(void *user, qn_graph *g, int64_t count,
                  struct qn_batch_loss *out)
{
    const struct use *use = user;
    const qn_shape shape = use->c->is_image
                               ? qn_shape_of(count, 2, SIDE, SIDE)
                               : qn_shape_of(count, 7);
    qn_node *x = qn_constant_data(g, QN_FLOAT64, shape, use->x);
    qn_node *labels =
        qn_constant_data(g, QN_INT32, qn_shape_of(count), use->labels);
    const struct qn_model_build_params params = {.training = true};
    qn_node *logits = qn_model_build(use->model, g, x, &params);
    out->loss = qn_loss_build(g, &use->loss, logits, labels);
}

static void fill(struct use *use, struct qn_check_rng *rng)
{
    const int count = (int)(sizeof use->x / sizeof *use->x);
    for (int i = 0; i < count; i++)
        use->x[i] = qn_check_uniform(rng, -1, 1);
    for (int i = 0; i < SAMPLES; i++)
        use->labels[i] = (int32_t)qn_check_integer(rng, 0, CLASSES - 1);
}

static void compare(const struct qn_objective *f, const double *x,
                    const char *what, struct qn_check_rng *rng)
{
    const double e = 1e-5;
    const size_t size = (size_t)f->n * sizeof(double);
    double *v = malloc(size), *at = malloc(size), *up = malloc(size),
           *down = malloc(size), *got = malloc(size), loss, most = 0;
    qn_error error = {0};
    for (int64_t i = 0; i < f->n; i++)
        v[i] = qn_check_uniform(rng, -1, 1);
    for (int side = -1; side <= 1; side += 2) {
        for (int64_t i = 0; i < f->n; i++)
            at[i] = x[i] + side * e * v[i];
        ck_assert_ok(f->evaluate(f->user, at, &loss, side > 0 ? up : down,
                                 &error), error);
    }
    for (int64_t i = 0; i < f->n; i++) {
        up[i] = (up[i] - down[i]) / (2 * e);
        most = fabs(up[i]) > most ? fabs(up[i]) : most;
    }
    ck_assert_ok(f->hessian_product(f->user, x, v, got, &error), error);
    ck_assert_double_gt(most, 1e-4);
    // Differences are good to e^2 and 1e-16 / e.
    qn_check_close(what, got, up, f->n, 1e-6, 1e-7 * most + 1e-10);
    free(v);
    free(at);
    free(up);
    free(down);
    free(got);
}

static void try_case(const struct second_case *c)
{
    struct qn_check_rng rng = {11};
    struct use use = {.c = c};
    qn_error error = {0};
    const char *why;
    fill(&use, &rng);
    use.model = qn_model_create(c->model, &error);
    ck_assert_msg(use.model != NULL, "%s", error.text);
    ck_assert_ok(qn_loss_parse(c->loss, &use.loss, &error), error);
    qn_store *store = qn_store_create(qn_check_device(), &error);
    const struct qn_plan_objective_params params = {
        .real = QN_FLOAT64, .samples = SAMPLES, .batch = SAMPLES,
        .wants_products = true, .user = &use, .build = build};
    qn_plan_objective *o =
        qn_plan_objective_create(qn_check_device(), store, &params, &error);
    ck_assert_msg(o != NULL, "%s: %s", c->model, error.text);
    ck_assert_ok(qn_model_init(use.model, store, 5, &error), error);
    const struct qn_objective f = qn_plan_objective_face(o);
    double *x = malloc((size_t)f.n * sizeof *x);
    ck_assert_ok(qn_plan_objective_read(o, x, &error), error);
    bool is_exact = qn_plan_objective_is_exact(o, &why);
    ck_assert_msg(is_exact == (c->refuses == NULL), "%s: %s", c->model,
                  why ? why : "was accepted");
    if (is_exact)
        compare(&f, x, c->model, &rng);
    else
        ck_assert_ptr_nonnull(strstr(why, c->refuses));
    free(x);
    qn_plan_objective_destroy(&o);
    qn_store_destroy(&store);
    qn_model_destroy(&use.model);
}

START_TEST(second_gradients_are_right)
{
    if (!qn_device_describe(qn_check_device())->has_float64)
        return;
    try_case(&cases[_i]);
}
END_TEST

int main(void)
{
    return qn_check_run_loop("second", second_gradients_are_right, CASES);
}
