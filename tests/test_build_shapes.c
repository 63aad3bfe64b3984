// Building reductions, views, moves, softmax and index nodes: shapes and
// types, what is refused and how, and nodes that need not be made.
#include <string.h>

#include "graph/graph.h"
#include "op/op.h"
#include "qn_check.h"
#include "quern/op.h"

static qn_graph *g;
static qn_node *x;      // float32 [4, 3, 5]
static qn_node *logits; // float32 [4, 10]
static qn_node *labels; // int32 [4]
static qn_node *pixels; // uint8 [20, 6]

static void begin(void)
{
    g = qn_graph_create(QN_FLOAT32);
    x = qn_input(g, "x", QN_FLOAT32, qn_shape_of(4, 3, 5));
    logits = qn_input(g, "logits", QN_FLOAT32, qn_shape_of(4, 10));
    labels = qn_input(g, "labels", QN_INT32, qn_shape_of(4));
    pixels = qn_input(g, "pixels", QN_UINT8, qn_shape_of(20, 6));
}

static void expect_shape(const qn_node *node, qn_dtype dtype, qn_shape want)
{
    qn_error error = {0};
    char text[128];
    ck_assert_ok(qn_graph_check(g, &error), error);
    ck_assert_ok(qn_graph_verify(g, &error), error);
    ck_assert_msg(qn_shape_equal(qn_node_shape(node), &want), "%s",
                  qn_shape_text(qn_node_shape(node), text, sizeof text));
    ck_assert_int_eq(qn_node_dtype(node), dtype);
}

START_TEST(shapes_and_types)
{
    begin();
    const int axes[] = {-1, 0}, order[] = {2, 0, -2};
    qn_node *offset = qn_scalar(g, "offset");
    const struct qn_reduce_params *outer =
        qn_reduce_params(.axes = axes, .axis_count = 2);
    expect_shape(qn_sum(g, x, outer), QN_FLOAT32, qn_shape_of(3));
    expect_shape(qn_mean(g, pixels,
                         qn_reduce_params(.axes = axes, .axis_count = 1,
                                          .keep = true)),
                 QN_FLOAT32, qn_shape_of(20, 1));
    expect_shape(qn_reduce_max(g, x, NULL), QN_FLOAT32, (qn_shape){0});
    expect_shape(qn_reshape(g, x, qn_shape_of(2, -1, 3)), QN_FLOAT32,
                 qn_shape_of(2, 10, 3));
    expect_shape(qn_transpose(g, x, order), QN_FLOAT32, qn_shape_of(5, 4, 3));
    expect_shape(qn_broadcast_to(g, labels, qn_shape_of(7, 4)), QN_INT32,
                 qn_shape_of(7, 4));
    expect_shape(qn_slice(g, x, 2, -4, 100, 2), QN_FLOAT32,
                 qn_shape_of(4, 3, 2));
    expect_shape(qn_pad(g, pixels, (int64_t[]){1, 0}, (int64_t[]){0, 2},
                        (int64_t[]){2, 1}),
                 QN_UINT8, qn_shape_of(59, 13));
    expect_shape(qn_concat(g, (qn_node *[]){x, x, x}, 3, -2), QN_FLOAT32,
                 qn_shape_of(4, 9, 5));
    expect_shape(qn_pack(g, (qn_node *[]){x, logits}, 2), QN_FLOAT32,
                 qn_shape_of(256));
    expect_shape(qn_softmax(g, x, 1), QN_FLOAT32, qn_shape_of(4, 3, 5));
    expect_shape(qn_softmax_cross_entropy(g, logits, labels), QN_FLOAT32,
                 qn_shape_of(4));
    expect_shape(qn_one_hot(g, labels, 10), QN_FLOAT32, qn_shape_of(4, 10));
    expect_shape(qn_argmax(g, pixels, 0), QN_INT32, qn_shape_of(6));
    expect_shape(qn_take(g, pixels, labels, offset, 3), QN_UINT8,
                 qn_shape_of(3, 6));
    qn_graph_destroy(&g);
}
END_TEST

START_TEST(what_changes_nothing_makes_no_node)
{
    begin();
    const int order[] = {0, 1, 2};
    const int64_t none[] = {0, 0, 0};
    ck_assert_ptr_eq(qn_reshape(g, x, qn_shape_of(4, 3, -1)), x);
    ck_assert_ptr_eq(qn_transpose(g, x, order), x);
    ck_assert_ptr_eq(qn_broadcast_to(g, x, qn_shape_of(4, 3, 5)), x);
    ck_assert_ptr_eq(qn_slice(g, x, 1, 0, 3, 1), x);
    ck_assert_ptr_eq(qn_pad(g, x, none, NULL, none), x);
    ck_assert_ptr_eq(qn_concat(g, &x, 1, 0), x);
    ck_assert_ptr_eq(qn_sum_to(g, x, qn_shape_of(4, 3, 5)), x);
    qn_graph_destroy(&g);
}
END_TEST

// ---- refusals ----

static void sum_of_axis_3(void)
{
    qn_sum(g, x, qn_reduce_params(.axes = (int[]){3}, .axis_count = 1));
}

static void sum_of_one_axis_twice(void)
{
    qn_sum(g, x, qn_reduce_params(.axes = (int[]){1, -2}, .axis_count = 2));
}

static void sum_of_axes_without_a_list(void)
{
    qn_sum(g, x, qn_reduce_params(.axis_count = 1));
}

static void sum_to_what_does_not_fit(void)
{
    qn_sum_to(g, x, qn_shape_of(4, 5));
}

static void reshape_to_another_count(void)
{
    qn_reshape(g, x, qn_shape_of(7, -1));
}

static void reshape_of_two_open(void)
{
    qn_reshape(g, x, qn_shape_of(-1, -1));
}

static void reshape_to_rank_9(void)
{
    qn_reshape(g, x, (qn_shape){.rank = 9});
}

static void transpose_of_one_twice(void)
{
    qn_transpose(g, x, (int[]){0, 2, 2});
}

static void broadcast_to_fewer(void)
{
    qn_broadcast_to(g, x, qn_shape_of(1, 3, 5));
}

static void slice_of_nothing(void)
{
    qn_slice(g, x, 1, 2, 2, 1);
}

static void slice_backwards(void)
{
    qn_slice(g, x, 1, 0, 3, -1);
}

static void pad_by_less_than_nothing(void)
{
    qn_pad(g, x, NULL, (int64_t[]){0, -1, 0}, NULL);
}

static void pad_by_too_much(void)
{
    qn_pad(g, x, NULL, NULL, (int64_t[]){0, INT64_MAX, 0});
}

static void concat_of_two_types(void)
{
    qn_node *other = qn_input(g, "z", QN_INT32, qn_shape_of(4, 3, 5));
    qn_concat(g, (qn_node *[]){x, other}, 2, 0);
}

static void concat_of_other_shapes(void)
{
    qn_concat(g, (qn_node *[]){x, logits}, 2, 0);
}

static void concat_of_none(void)
{
    qn_concat(g, NULL, 0, 0);
}

static void loss_of_three_dimensions(void)
{
    qn_softmax_cross_entropy(g, x, labels);
}

static void loss_with_real_labels(void)
{
    qn_softmax_cross_entropy(g, logits, logits);
}

static void loss_with_other_count(void)
{
    qn_node *few = qn_input(g, "few", QN_INT32, qn_shape_of(3));
    qn_softmax_cross_entropy(g, logits, few);
}

static void one_hot_of_reals(void)
{
    qn_one_hot(g, x, 10);
}

static void one_hot_of_no_class(void)
{
    qn_one_hot(g, labels, 0);
}

static void take_without_a_scalar(void)
{
    qn_take(g, pixels, labels, qn_constant(g, 1), 3);
}

static void take_of_none(void)
{
    qn_take(g, pixels, labels, qn_scalar(g, "offset"), 0);
}

START_TEST(refusals_name_what_is_wrong)
{
    static const struct {
        void (*build)(void);
        const char *words;
    } wrongs[] = {
        {sum_of_axis_3, "sum: axis 3 is not among the 3 dimensions"},
        {sum_of_one_axis_twice, "sum: axis 1 is named twice"},
        {sum_of_axes_without_a_list, "sum: 1 axes, but no list"},
        {sum_to_what_does_not_fit, "[4, 5] does not broadcast to the input's"},
        {reshape_to_another_count, "shape [4, 3, 5] cannot become [7, -1]"},
        {reshape_of_two_open, "cannot become [-1, -1]"},
        {reshape_to_rank_9, "reshape: 9 dimensions, not 0 to 6"},
        {transpose_of_one_twice, "transpose: dimension 2 is named twice"},
        {broadcast_to_fewer, "shape [4, 3, 5] cannot become [1, 3, 5]"},
        {slice_of_nothing, "nothing is left of dimension 1 of shape [4, 3"},
        {slice_backwards, "slice: step -1 is below 1"},
        {pad_by_less_than_nothing, "dimension 1 has low 0, high -1, inner 0"},
        {pad_by_too_much, "pad: dimension 1 becomes too large"},
        {concat_of_two_types, "input 1 is int32 and must be float32"},
        {concat_of_other_shapes, "input 1 has shape [4, 10], which differs"},
        {concat_of_none, "concat: needs an input"},
        {loss_of_three_dimensions, "must have 2 dimensions"},
        {loss_with_real_labels, "input 1 is float32 and must be int32"},
        {loss_with_other_count, "labels have shape [3]; logits of shape [4, "},
        {one_hot_of_reals, "input 0 is float32 and must be int32"},
        {one_hot_of_no_class, "one_hot: 0 classes; needs at least 1"},
        {take_without_a_scalar, "the offset must be a scalar"},
        {take_of_none, "take: a count of 0; needs at least 1"},
    };
    for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
        qn_error error = {0};
        begin();
        wrongs[i].build();
        ck_assert_int_ne(qn_graph_check(g, &error), QN_OK);
        ck_assert_msg(strstr(error.text, wrongs[i].words), "\"%s\" says not "
                      "\"%s\"", error.text, wrongs[i].words);
        qn_graph_destroy(&g);
    }
}
END_TEST

QN_CHECK_MAIN("build_shapes", shapes_and_types,
              what_changes_nothing_makes_no_node, refusals_name_what_is_wrong)
