// Convolution as nodes: shapes, what is refused and how, and that derivatives
// of any order are the three rows again. Opens no device.
#include <string.h>

#include "graph/graph.h"
#include "qn_check.h"
#include "quern/op.h"

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

START_TEST(shapes_are_those_of_pytorch)
{
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *x = input(g, qn_shape_of(2, 6, 9, 10));
    qn_node *w = input(g, qn_shape_of(4, 6, 3, 2));
    qn_node *half = input(g, qn_shape_of(4, 3, 3, 2));
    qn_node *back = input(g, qn_shape_of(6, 4, 3, 2));
    expect_shape(qn_conv2d(g, x, w, NULL), qn_shape_of(2, 4, 7, 9));
    expect_shape(qn_conv2d(g, x, w, qn_conv2d_params(.stride = {2, 3})),
                 qn_shape_of(2, 4, 4, 3));
    expect_shape(qn_conv2d(g, x, w, qn_conv2d_params(.low = {1, 0},
                                                     .high = {2, 1})),
                 qn_shape_of(2, 4, 10, 10));
    expect_shape(qn_conv2d(g, x, w, qn_conv2d_params(.dilation = {4, 9})),
                 qn_shape_of(2, 4, 1, 1));
    expect_shape(qn_conv2d(g, x, half, qn_conv2d_params(.groups = 2)),
                 qn_shape_of(2, 4, 7, 9));
    expect_shape(qn_conv_transpose2d(g, x, back, NULL),
                 qn_shape_of(2, 4, 11, 11));
    expect_shape(qn_conv_transpose2d(
                     g, x, back,
                     qn_conv_transpose2d_params(.stride = {2, 3},
                                                .low = {1, 1},
                                                .output_padding = {1, 2})),
                 qn_shape_of(2, 4, 19, 30));
    qn_graph_destroy(&g);
}
END_TEST

static void expect_error(qn_graph *g, const qn_node *node, const char *word)
{
    qn_error error = {0};
    ck_assert_ptr_null(node);
    ck_assert_int_ne(qn_graph_check(g, &error), QN_OK);
    ck_assert_msg(strstr(error.text, word) != NULL, "\"%s\" lacks \"%s\"",
                  error.text, word);
    qn_graph_destroy(&g);
}

static qn_graph *make(qn_node **x, qn_node **w)
{
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    *x = input(g, qn_shape_of(2, 6, 9, 10));
    *w = input(g, qn_shape_of(4, 6, 3, 2));
    return g;
}

START_TEST(refusals_name_what_is_wrong)
{
    qn_node *x, *w;
    qn_graph *g = make(&x, &w);
    expect_error(g, qn_conv2d(g, x, w, qn_conv2d_params(.stride = {0, 1})),
                 "stride is 0");
    g = make(&x, &w);
    expect_error(g, qn_conv2d(g, x, w, qn_conv2d_params(.dilation = {1, -1})),
                 "dilation is -1");
    g = make(&x, &w);
    expect_error(g, qn_conv2d(g, x, w, qn_conv2d_params(.high = {0, -2})),
                 "padding is -2");
    g = make(&x, &w);
    expect_error(g, qn_conv2d(g, x, w, qn_conv2d_params(.groups = 0)),
                 "groups is 0");
    g = make(&x, &w);
    expect_error(g, qn_conv2d(g, x, w, qn_conv2d_params(.groups = 2)),
                 "2 groups: w must be [outputs, channels of x / groups");
    g = make(&x, &w);
    expect_error(g, qn_conv2d(g, x, w, qn_conv2d_params(.dilation = {5, 1})),
                 "9 rows");
    g = make(&x, &w);
    expect_error(g, qn_conv2d(g, x, input(g, qn_shape_of(4, 6)), NULL),
                 "[4, 6]");
    g = make(&x, &w);
    expect_error(g, qn_conv_transpose2d(g, x, w, NULL), "channels of x");
    g = make(&x, &w);
    expect_error(g,
                 qn_conv_transpose2d(
                     g, x, w,
                     qn_conv_transpose2d_params(.output_padding = {0, 1})),
                 "output_padding is 1");
    g = make(&x, &w);
    expect_error(g, qn_conv2d(g, NULL, w, NULL), "NULL");
}
END_TEST

// Gradients of gradients: of |d loss / dx|^2 + |d loss / dw|^2.
START_TEST(second_derivatives_exist)
{
    qn_node *x, *w, *first[2], *second[2];
    qn_graph *g = make(&x, &w);
    qn_error error = {0};
    qn_node *y = qn_conv2d(g, x, w, qn_conv2d_params(.stride = {2, 1},
                                                     .low = {1, 1}));
    qn_gradients(g, qn_sum(g, qn_square(g, y), NULL), (qn_node *[]){x, w}, 2,
                 first);
    qn_node *norm = qn_add(g, qn_sum(g, qn_square(g, first[0]), NULL),
                           qn_sum(g, qn_square(g, first[1]), NULL));
    qn_gradients(g, norm, (qn_node *[]){x, w}, 2, second);
    ck_assert_ok(qn_graph_check(g, &error), error);
    expect_shape(second[0], *qn_node_shape(x));
    expect_shape(second[1], *qn_node_shape(w));
    qn_graph_destroy(&g);
}
END_TEST

QN_CHECK_MAIN("conv_graph", shapes_are_those_of_pytorch,
              refusals_name_what_is_wrong, second_derivatives_exist)
