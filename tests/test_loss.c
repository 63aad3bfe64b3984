// Losses and their gradients against double references.
#include <math.h>
#include <string.h>

#include "qn_check.h"
#include "quern/nn.h"
#include "quern/op.h"

enum { ROWS = 4, CLASSES = 3, COUNT = ROWS * CLASSES };

static const float logits[COUNT] = {0.5f, -1,   2,     0,    0,   0,
                                    300,  -300, 299.5, -1e4, 1e4, 3};
static const int32_t labels[ROWS] = {2, 0, 0, 1};

// Loss and d loss / d x of a row of the table.
static double run(const char *name, const float *x, qn_dtype target_type,
                  const void *target, double gradient[COUNT])
{
    qn_error error = {0};
    bool is_labels = target_type == QN_INT32;
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *input = qn_parameter(g, "x", qn_shape_of(ROWS, CLASSES));
    qn_node *t = qn_input(g, "t", target_type,
                          is_labels ? qn_shape_of(ROWS)
                                    : qn_shape_of(ROWS, CLASSES));
    const struct qn_loss *row = qn_loss_find(name);
    ck_assert_ptr_nonnull(row);
    qn_node *outputs[2] = {row->build(g, input, t)};
    qn_gradients(g, outputs[0], &input, 1, &outputs[1]);
    ck_assert_ok(qn_graph_check(g, &error), error);
    ck_assert_int_eq(qn_node_shape(outputs[0])->rank, 0);
    qn_store *store = qn_store_create(qn_check_device(), &error);
    ck_assert_ok(qn_store_add(store, g, &error), error);
    ck_assert_ok(qn_store_write(store, 0, x, COUNT * sizeof *x, &error),
                 error);
    struct qn_plan_params params = {
        .graph = g, .store = store, .outputs = outputs, .output_count = 2};
    qn_plan *plan = qn_plan_create(qn_check_device(), &params, &error);
    ck_assert_msg(plan != NULL, "%s", error.text);
    size_t size = is_labels ? sizeof labels : COUNT * sizeof(float);
    ck_assert_int_eq(qn_plan_write(plan, t, target, size), QN_OK);
    ck_assert_int_eq(qn_plan_run(plan), QN_OK);
    float loss, dx[COUNT];
    ck_assert_int_eq(qn_plan_read(plan, outputs[0], &loss, sizeof loss),
                     QN_OK);
    ck_assert_int_eq(qn_plan_read(plan, outputs[1], dx, sizeof dx), QN_OK);
    for (int i = 0; i < COUNT; i++)
        gradient[i] = (double)dx[i];
    qn_plan_destroy(&plan);
    qn_store_destroy(&store);
    qn_graph_destroy(&g);
    return (double)loss;
}

// log sum e^x shifted by the largest, as the definition's value in double.
START_TEST(cross_entropy_is_the_mean_over_the_batch)
{
    double want = 0, dx[COUNT], got[COUNT];
    for (int n = 0; n < ROWS; n++) {
        const float *x = logits + n * CLASSES;
        double most = fmax(fmax((double)x[0], (double)x[1]), (double)x[2]);
        double sum = 0;
        for (int c = 0; c < CLASSES; c++)
            sum += exp((double)x[c] - most);
        want += (most + log(sum) - (double)x[labels[n]]) / ROWS;
        for (int c = 0; c < CLASSES; c++)
            dx[n * CLASSES + c] =
                (exp((double)x[c] - most) / sum - (c == labels[n])) / ROWS;
    }
    double loss = run("softmax_cross_entropy", logits, QN_INT32, labels, got);
    ck_assert_double_eq_tol(loss, want, 1e-6);
    qn_check_close("gradient", got, dx, COUNT, 1e-5, 1e-7);
}
END_TEST

static void expect_squares(const float *x, const double *t,
                           qn_dtype target_type, const void *target)
{
    double want = 0, dx[COUNT], got[COUNT];
    for (int i = 0; i < COUNT; i++) {
        double off = (double)x[i] - t[i];
        want += off * off / COUNT;
        dx[i] = 2 * off / COUNT;
    }
    double loss = run("mean_squared", x, target_type, target, got);
    ck_assert_double_eq_tol(loss, want, 1e-6 * (1 + want));
    qn_check_close("gradient", got, dx, COUNT, 1e-5, 1e-7);
}

// As torch.nn.MSELoss: over all elements.
START_TEST(mean_squared_is_the_mean_over_all_elements)
{
    struct qn_check_rng rng = {5};
    float x[COUNT], target[COUNT];
    double t[COUNT];
    for (int i = 0; i < COUNT; i++) {
        x[i] = (float)qn_check_uniform(&rng, -2, 2);
        target[i] = (float)qn_check_uniform(&rng, -2, 2);
        t[i] = (double)target[i];
    }
    expect_squares(x, t, QN_FLOAT32, target);
    for (int i = 0; i < COUNT; i++)
        t[i] = labels[i / CLASSES] == i % CLASSES;
    expect_squares(x, t, QN_INT32, labels);
}
END_TEST

START_TEST(rows_are_found_by_name)
{
    const struct qn_loss *row;
    int count = 0;
    for (; (row = qn_loss_at(count)); count++) {
        ck_assert_ptr_eq(qn_loss_find(row->name), row);
        ck_assert(*row->formula);
    }
    ck_assert_int_ge(count, 2);
    ck_assert_ptr_null(qn_loss_find("mse"));
    ck_assert_ptr_null(qn_loss_at(-1));
}
END_TEST

QN_CHECK_MAIN("loss", rows_are_found_by_name,
              cross_entropy_is_the_mean_over_the_batch,
              mean_squared_is_the_mean_over_all_elements)
