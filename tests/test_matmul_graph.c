// The matrix product as nodes: shapes, errors, and how gradients are built.
// Opens no device.
#include <string.h>

#include "graph/graph.h"
#include "qn_check.h"
#include "quern/op.h"

// ---- builder ----

static void expect_shape(const qn_node *node, qn_shape want)
{
    char have[64], text[64];
    ck_assert(node != NULL);
    ck_assert_msg(qn_shape_equal(qn_node_shape(node), &want), "%s, not %s",
                  qn_shape_text(qn_node_shape(node), have, sizeof have),
                  qn_shape_text(&want, text, sizeof text));
}

static qn_node *input(qn_graph *g, qn_shape shape)
{
    return qn_input(g, "x", g->real, shape);
}

START_TEST(vectors_and_batches_have_the_usual_shapes)
{
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *vector = input(g, qn_shape_of(5));
    qn_node *matrix = input(g, qn_shape_of(5, 4));
    qn_node *other = input(g, qn_shape_of(4, 5));
    qn_node *stack = input(g, qn_shape_of(3, 4, 5));
    qn_node *grid = input(g, qn_shape_of(2, 1, 4, 5));
    expect_shape(qn_matmul(g, vector, vector, NULL), (qn_shape){0});
    expect_shape(qn_matmul(g, vector, matrix, NULL), qn_shape_of(4));
    expect_shape(qn_matmul(g, other, vector, NULL), qn_shape_of(4));
    expect_shape(qn_matmul(g, stack, vector, NULL), qn_shape_of(3, 4));
    expect_shape(qn_matmul(g, vector, stack, qn_matmul_params(false, true)),
                 qn_shape_of(3, 4));
    expect_shape(qn_matmul(g, stack, matrix, NULL), qn_shape_of(3, 4, 4));
    expect_shape(qn_matmul(g, grid, stack, qn_matmul_params(false, true)),
                 qn_shape_of(2, 3, 4, 4));
    expect_shape(qn_matmul(g, grid, stack, qn_matmul_params(true, false)),
                 qn_shape_of(2, 3, 5, 5));
    qn_error error = {0};
    ck_assert_ok(qn_graph_check(g, &error), error);
    qn_graph_destroy(&g);
}
END_TEST

// Kernels take an operand with all of the batch or none of it.
START_TEST(partly_broadcast_operands_are_widened)
{
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *x = input(g, qn_shape_of(2, 1, 4, 5));
    qn_node *y = input(g, qn_shape_of(3, 5, 6));
    qn_node *node = qn_matmul(g, x, y, NULL);
    expect_shape(node->inputs[0], qn_shape_of(2, 3, 4, 5));
    expect_shape(node->inputs[1], qn_shape_of(2, 3, 5, 6));
    node = qn_matmul(g, x, input(g, qn_shape_of(1, 5, 6)), NULL);
    ck_assert_ptr_eq(node->inputs[0], x);
    qn_graph_destroy(&g);
}
END_TEST

static void expect_error(qn_shape a, qn_shape b, bool trans_a, bool trans_b,
                         const char *const *words)
{
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_error error = {0};
    ck_assert(!qn_matmul(g, input(g, a), input(g, b),
                         qn_matmul_params(trans_a, trans_b)));
    ck_assert_int_eq(qn_graph_check(g, &error), QN_BAD_SHAPE);
    for (; *words; words++)
        ck_assert_msg(strstr(error.text, *words) != NULL, "\"%s\" lacks \"%s\"",
                      error.text, *words);
    qn_graph_destroy(&g);
}

START_TEST(shapes_that_do_not_fit_are_named)
{
    expect_error(qn_shape_of(2, 3), qn_shape_of(4, 5), false, false,
                 (const char *[]){"[2, 3]", "[4, 5]", "3 columns", "4 rows",
                                  NULL});
    expect_error(qn_shape_of(2, 3), qn_shape_of(4, 5), true, true,
                 (const char *[]){"[2, 3] transposed", "[4, 5] transposed",
                                  "2 columns", "5 rows", NULL});
    expect_error(qn_shape_of(2, 3, 4), qn_shape_of(3, 4, 5), false, false,
                 (const char *[]){"[2, 3, 4]", "[3, 4, 5]", "broadcast",
                                  NULL});
    expect_error(qn_shape_of(3), (qn_shape){0}, false, false,
                 (const char *[]){"input 1", "[]", NULL});
}
END_TEST

START_TEST(integer_operands_are_refused)
{
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *x = qn_input(g, "x", QN_INT32, qn_shape_of(3, 3));
    ck_assert(!qn_matmul(g, x, x, NULL));
    ck_assert_int_eq(qn_graph_check(g, NULL), QN_BAD_SHAPE);
    qn_graph_destroy(&g);
}
END_TEST

// ---- gradients ----

static bool is_product(const struct qn_node *node)
{
    return strcmp(node->op->name, "matmul") == 0;
}

static int count_products(const qn_graph *g)
{
    int count = 0;
    for (const struct qn_node *node = g->first; node; node = node->next)
        count += is_product(node);
    return count;
}

// Shapes of both gradients, and that each is one product without transposes.
static void check_gradients(qn_shape a, qn_shape b, bool trans_a, bool trans_b,
                            qn_shape want_a, qn_shape want_b)
{
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *node = qn_matmul(g, input(g, a), input(g, b),
                              qn_matmul_params(trans_a, trans_b));
    qn_node *dy = input(g, *qn_node_shape(node));
    expect_shape(node->op->grad(g, node, dy, 0), want_a);
    expect_shape(node->op->grad(g, node, dy, 1), want_b);
    ck_assert_int_eq(count_products(g), 3);
    for (const struct qn_node *n = g->first; n; n = n->next)
        ck_assert_str_ne(n->op->name, "transpose");
    qn_graph_destroy(&g);
}

START_TEST(gradients_are_one_product_each)
{
    for (int trans = 0; trans < 4; trans++) {
        const bool trans_a = trans & 1, trans_b = trans >> 1;
        const qn_shape a = trans_a ? qn_shape_of(4, 2) : qn_shape_of(2, 4);
        const qn_shape b = trans_b ? qn_shape_of(3, 4) : qn_shape_of(4, 3);
        check_gradients(a, b, trans_a, trans_b, a, b);
    }
    // A batch of a is folded into one product for b, the batch of b is summed
    // by the reverse walk.
    check_gradients(qn_shape_of(7, 2, 4), qn_shape_of(4, 3), false, false,
                    qn_shape_of(7, 2, 4), qn_shape_of(4, 3));
    check_gradients(qn_shape_of(7, 2, 4), qn_shape_of(1, 3, 4), false, true,
                    qn_shape_of(7, 2, 4), qn_shape_of(1, 3, 4));
    check_gradients(qn_shape_of(7, 4, 2), qn_shape_of(4, 3), true, false,
                    qn_shape_of(7, 4, 2), qn_shape_of(7, 4, 3));
    check_gradients(qn_shape_of(2, 4), qn_shape_of(7, 4, 3), false, false,
                    qn_shape_of(7, 2, 4), qn_shape_of(7, 4, 3));
}
END_TEST

QN_CHECK_MAIN("matmul_graph", vectors_and_batches_have_the_usual_shapes,
              partly_broadcast_operands_are_widened,
              shapes_that_do_not_fit_are_named, integer_operands_are_refused,
              gradients_are_one_product_each)
