// Losses and their gradients against double references.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
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
    struct qn_loss_params with;
    ck_assert_ok(qn_loss_parse(name, &with, &error), error);
    qn_node *outputs[2] = {qn_loss_build(g, &with, input, t)};
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
        for (int i = 0; i < row->key_count; i++) {
            const struct qn_loss_key *key = &row->keys[i];
            ck_assert(*key->name && *key->meaning);
            ck_assert(isnan(key->value) || (key->value >= key->minimum &&
                                            key->value <= key->maximum));
        }
    }
    ck_assert_int_eq(count, 9);
    ck_assert_ptr_null(qn_loss_find("mse"));
    ck_assert_ptr_null(qn_loss_at(-1));
}
END_TEST

static void expect_mention(const char *text, const char *name)
{
    char quoted[100];
    snprintf(quoted, sizeof quoted, "`%s`", name);
    ck_assert_msg(strstr(text, quoted) != NULL,
                  "docs/losses.md does not explain %s", quoted);
}

START_TEST(document_names_all_losses_and_keys)
{
    unsigned char *text;
    size_t size;
    qn_error error = {0};
    const struct qn_loss *loss;
    ck_assert_ok(qn_os_read_file(TESTS_FOLDER "/../docs/losses.md", 1 << 20,
                                 &text, &size, &error),
                 error);
    for (int i = 0; (loss = qn_loss_at(i)); i++) {
        expect_mention((char *)text, loss->name);
        for (int k = 0; k < loss->key_count; k++)
            expect_mention((char *)text, loss->keys[k].name);
    }
    free(text);
}
END_TEST

START_TEST(texts_have_one_canonical_form)
{
    static const char *const texts[][2] = {
        {"huber", "huber"},
        {"huber:delta=1.0", "huber"},
        {"huber:delta=5e-1", "huber:delta=0.5"},
        {"hinge:squared=1,margin=0.1", "hinge:margin=0.1,squared=1"},
        {"softmax_cross_entropy:weights=1/2.5/0,label_smoothing=0.1",
         "softmax_cross_entropy:label_smoothing=0.1,weights=1/2.5/0"},
        {"nll:ignore_index=-100", "nll:ignore_index=-100"},
        {"nll:weights=3", "nll:weights=3"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        qn_error error = {0};
        struct qn_loss_params params;
        ck_assert_ok(qn_loss_parse(texts[i][0], &params, &error), error);
        char *text = qn_loss_write(&params);
        ck_assert_str_eq(text, texts[i][1]);
        free(text);
    }
}
END_TEST

START_TEST(bad_texts_are_refused_with_a_reason)
{
    static const char *const texts[][2] = {
        {"hubert", "unknown loss hubert; did you mean huber?"},
        {"huber:beta=1", "loss huber has no beta; it has delta"},
        {"l1:delta=1", "loss l1 has no delta; it has no settings"},
        {"huber:weights=1/2", "loss huber has no weights; it has delta"},
        {"nll:wieghts=1", "it has ignore_index, weights"},
        {"huber:delta=0", "delta is 0 and must be from 1e-06 to 1000000"},
        {"huber:delta", "\"delta\" is not NAME=NUMBER"},
        {"huber:delta=", "\"delta=\" is not NAME=NUMBER"},
        {"huber:delta=1x", "\"delta=1x\" is not NAME=NUMBER"},
        {"huber:", "\"\" is not NAME=NUMBER"},
        {"huber:delta=1/2", "\"delta=1/2\" is not NAME=NUMBER"},
        {"nll:weights=1/", "\"weights=1/\" is not NAME=NUMBER or weights="},
        {"nll:weights=-1", "a class weight is -1 and must not be negative"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        qn_error error = {0};
        struct qn_loss_params params;
        ck_assert_int_ne(qn_loss_parse(texts[i][0], &params, &error), QN_OK);
        ck_assert_msg(strstr(error.text, texts[i][1]), "%s should say %s",
                      error.text, texts[i][1]);
    }
}
END_TEST

START_TEST(unfit_targets_are_refused_with_a_reason)
{
    static const struct {
        const char *loss, *says;
        qn_dtype type;
        qn_shape shape;
    } cases[] = {
        {"nll", "needs predictions [n, classes, ...] and int32 labels",
         QN_FLOAT32, {2, {4, 3}}},
        {"nll:weights=1/2", "2 class weights for 3 classes", QN_INT32,
         {1, {4}}},
        {"l1", "targets need the shape of the predictions", QN_FLOAT32,
         {1, {3}}},
        {"huber", "targets need the shape of the predictions", QN_INT32,
         {1, {5}}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qn_error error = {0};
        struct qn_loss_params params;
        qn_graph *g = qn_graph_create(QN_FLOAT32);
        ck_assert_ok(qn_loss_parse(cases[i].loss, &params, &error), error);
        qn_node *x = qn_input(g, "x", QN_FLOAT32, qn_shape_of(4, 3));
        qn_node *t = qn_input(g, "t", cases[i].type, cases[i].shape);
        ck_assert_ptr_null(qn_loss_build(g, &params, x, t));
        ck_assert_int_ne(qn_graph_check(g, &error), QN_OK);
        ck_assert_msg(strstr(error.text, cases[i].says), "%s", error.text);
        qn_graph_destroy(&g);
    }
}
END_TEST

// Logits of 1e4 and targets of labels: a finite loss and finite gradients.
START_TEST(large_logits_overflow_nowhere)
{
    static const float large[COUNT] = {1e4f, -1e4f, 0,    -1e4f, 1e4f, 0,
                                       1e4f, 1e4f,  1e4f, -1e4f, 0,    9999};
    for (int i = 0; qn_loss_at(i); i++) {
        double gradient[COUNT];
        const char *name = qn_loss_at(i)->name;
        const double loss = run(name, large, QN_INT32, labels, gradient);
        ck_assert_msg(isfinite(loss), "%s: %g", name, loss);
        for (int k = 0; k < COUNT; k++)
            ck_assert_msg(isfinite(gradient[k]), "%s, gradient %d: %g", name,
                          k, gradient[k]);
    }
    double gradient[COUNT];
    ck_assert(isfinite(run("softmax_cross_entropy:label_smoothing=0.1", large,
                           QN_INT32, labels, gradient)));
}
END_TEST

// A label that is no class is no silent 0.
START_TEST(wrong_labels_give_nan)
{
    static const int32_t wrong[ROWS] = {0, 3, 1, -1};
    static const char *const names[] = {
        "softmax_cross_entropy", "softmax_cross_entropy:label_smoothing=0.1",
        "nll", "hinge", "nll:ignore_index=-1"};
    double gradient[COUNT];
    for (int i = 0; i < 5; i++)
        ck_assert_msg(
            isnan(run(names[i], logits, QN_INT32, wrong, gradient)), "%s",
            names[i]);
}
END_TEST

// Terms, their sum and their mean by weights: 2, 1, 1 and an ignored one.
START_TEST(reductions_agree)
{
    static const float x[COUNT] = {0.5f, -1, 2, 0, 0, 0, 1, 2, 3, 4, 5, 7};
    static const int32_t t[ROWS] = {2, 0, 0, 1};
    float terms[ROWS], sum, mean;
    qn_error error = {0};
    struct qn_loss_params params;
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *in = qn_input(g, "x", QN_FLOAT32, qn_shape_of(ROWS, CLASSES));
    qn_node *target = qn_input(g, "t", QN_INT32, qn_shape_of(ROWS));
    qn_node *outputs[3];
    ck_assert_ok(qn_loss_parse("softmax_cross_entropy:weights=1/5/2,"
                               "ignore_index=1",
                               &params, &error),
                 error);
    for (int i = 0; i < 3; i++) {
        params.reduction = (qn_reduction)i;
        outputs[i] = qn_loss_build(g, &params, in, target);
    }
    const struct qn_plan_params with = {
        .graph = g, .outputs = outputs, .output_count = 3};
    qn_plan *plan = qn_plan_create(qn_check_device(), &with, &error);
    ck_assert_msg(plan != NULL, "%s", error.text);
    qn_plan_write(plan, in, x, sizeof x);
    qn_plan_write(plan, target, t, sizeof t);
    ck_assert_int_eq(qn_plan_run(plan), QN_OK);
    qn_plan_read(plan, outputs[QN_REDUCE_MEAN], &mean, sizeof mean);
    qn_plan_read(plan, outputs[QN_REDUCE_SUM], &sum, sizeof sum);
    qn_plan_read(plan, outputs[QN_REDUCE_NONE], terms, sizeof terms);
    const double want[ROWS] = {
        2 * log(1 + exp(-1.5) + exp(-3)), log(3),
        log(1 + exp(1) + exp(2)), 0};
    double total = 0;
    for (int i = 0; i < ROWS; i++) {
        ck_assert_double_eq_tol((double)terms[i], want[i], 1e-6);
        total += want[i];
    }
    ck_assert_double_eq_tol((double)sum, total, 1e-6);
    ck_assert_double_eq_tol((double)mean, total / 4, 1e-6);
    qn_plan_destroy(&plan);
    qn_graph_destroy(&g);
}
END_TEST

QN_CHECK_MAIN("loss", rows_are_found_by_name,
              document_names_all_losses_and_keys,
              cross_entropy_is_the_mean_over_the_batch,
              mean_squared_is_the_mean_over_all_elements,
              texts_have_one_canonical_form,
              bad_texts_are_refused_with_a_reason,
              unfit_targets_are_refused_with_a_reason,
              large_logits_overflow_nowhere, wrong_labels_give_nan,
              reductions_agree)
