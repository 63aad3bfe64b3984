// Building graphs: shapes and types, what rows and the verifier refuse, and
// that the first error stays and names the line of the call.
#undef QN_NO_CALL_SITES // as an application sees the builders

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "graph/graph.h"
#include "op/table.h"
#include "qn_check.h"
#include "quern/op.h"

// The graph's error has all of the texts; ends the graph.
static void expect_error(qn_graph *g, const char *first, const char *second)
{
    qn_error error = {0};
    ck_assert_int_ne(qn_graph_check(g, &error), QN_OK);
    ck_assert_msg(strstr(error.text, first) && strstr(error.text, second),
                  "%s", error.text);
    qn_graph_destroy(&g);
}

static qn_graph *new_graph(void)
{
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    ck_assert_ptr_nonnull(g);
    return g;
}

static qn_node *make_input(qn_graph *g, qn_dtype dtype, int64_t rows,
                           int64_t columns)
{
    return qn_input(g, "x", dtype, qn_shape_of(rows, columns));
}

START_TEST(pointwise_nodes_broadcast_and_become_real)
{
    qn_graph *g = new_graph();
    qn_node *x = make_input(g, QN_UINT8, 4, 1);
    qn_node *y = qn_input(g, "y", QN_INT32, qn_shape_of(3));
    qn_node *z = qn_select(g, qn_less(g, x, y), x, qn_scalar(g, "s"));
    qn_shape want = qn_shape_of(4, 3);
    ck_assert(qn_shape_equal(qn_node_shape(z), &want));
    ck_assert_int_eq(qn_node_dtype(z), QN_FLOAT32);
    ck_assert_int_eq(qn_node_dtype(qn_neg(g, y)), QN_FLOAT32);
    qn_graph_destroy(&g);
}
END_TEST

START_TEST(cast_changes_the_type_or_nothing)
{
    qn_graph *g = new_graph();
    qn_node *x = make_input(g, QN_FLOAT32, 2, 2);
    qn_node *i = qn_cast(g, x, QN_INT32);
    ck_assert_int_eq(qn_node_dtype(i), QN_INT32);
    ck_assert_ptr_eq(qn_cast(g, x, QN_FLOAT32), x);
    ck_assert_ptr_eq(qn_cast(g, i, QN_INT32), i);
    ck_assert_int_eq(qn_node_dtype(qn_cast(g, i, QN_FLOAT32)), QN_FLOAT32);
    ck_assert_ptr_null(qn_cast(g, x, QN_FLOAT64));
    expect_error(g, "cast: the type must be int32 or float32", "test_build.c");
}
END_TEST

START_TEST(first_error_stays_and_names_its_line)
{
    qn_graph *g = new_graph();
    qn_node *x = make_input(g, QN_FLOAT32, 4, 3);
    qn_node *y = make_input(g, QN_FLOAT32, 4, 5);
    char place[64];
    qn_graph_push(g, "body");
    qn_node *z = qn_add(g, x, y);
    snprintf(place, sizeof place, "test_build.c:%d: add in body", __LINE__ - 1);
    ck_assert_ptr_null(z);
    ck_assert_ptr_null(qn_mul(g, x, x)); // fine, but too late
    ck_assert_ptr_null(qn_clamp(g, z, 1, 0));
    expect_error(g, place, "[4, 5], which does not broadcast with [4, 3]");
}
END_TEST

START_TEST(null_and_foreign_inputs_are_named)
{
    qn_graph *g = new_graph(), *other = new_graph();
    qn_node *x = make_input(g, QN_FLOAT32, 1, 1);
    ck_assert_ptr_null(qn_mul(g, x, NULL));
    expect_error(g, "mul: input 1 is NULL", "test_build.c");
    g = new_graph();
    x = make_input(other, QN_FLOAT32, 1, 1);
    ck_assert_ptr_null(qn_exp(g, x));
    expect_error(g, "exp: input 0 belongs to another graph", "test_build.c");
    g = new_graph();
    ck_assert_ptr_null(qn_cast(g, NULL, QN_INT32));
    expect_error(g, "cast_int32: input 0 is NULL", "test_build.c");
    ck_assert_ptr_null(qn_add(NULL, x, x));
    qn_graph_destroy(&other);
}
END_TEST

START_TEST(other_real_type_and_bad_borders_are_refused)
{
    qn_graph *g = new_graph();
    ck_assert_ptr_null(qn_exp(g, make_input(g, QN_FLOAT64, 2, 2)));
    expect_error(g, "input 0 is float64 and must be float32", "exp");
    g = new_graph();
    qn_clamp(g, make_input(g, QN_FLOAT32, 2, 2), 2, 1);
    expect_error(g, "low is 2 and must not be above high, 1", "clamp");
    g = new_graph();
    qn_clamp(g, make_input(g, QN_FLOAT32, 2, 2), NAN, 1);
    expect_error(g, "must not be above high", "clamp");
}
END_TEST

// ---- state ----

START_TEST(assign_wants_state_of_the_same_shape_and_type)
{
    qn_graph *g = new_graph();
    qn_node *v = qn_variable(g, "s", "v", QN_FLOAT32, qn_shape_of(2, 3));
    qn_node *x = make_input(g, QN_FLOAT32, 2, 3);
    ck_assert_ptr_nonnull(qn_assign(g, v, x));
    ck_assert_ptr_null(qn_assign(g, x, v));
    expect_error(g, "input \"x\" is no variable", "assign");
    g = new_graph();
    v = qn_variable(g, "s", "v", QN_FLOAT32, qn_shape_of(2, 3));
    qn_assign(g, v, make_input(g, QN_FLOAT32, 1, 3));
    expect_error(g, "variable \"v\" is float32 [2, 3]",
                 "cannot become float32 [1, 3]");
    g = new_graph();
    v = qn_variable(g, "s", "v", QN_FLOAT32, qn_shape_of(2, 3));
    qn_assign(g, v, make_input(g, QN_INT32, 2, 3));
    expect_error(g, "variable \"v\" is float32", "cannot become int32 [2, 3]");
}
END_TEST

START_TEST(verifier_finds_a_second_writer)
{
    qn_graph *g = new_graph();
    qn_node *v = qn_variable(g, "s", "v", QN_FLOAT32, qn_shape_of(2));
    qn_node *w = qn_variable(g, "s", "w", QN_FLOAT32, qn_shape_of(2));
    qn_error error = {0};
    qn_assign(g, v, qn_scale(g, v, 2));
    qn_assign(g, w, qn_scale(g, v, 3));
    ck_assert_ok(qn_graph_verify(g, &error), error);
    qn_assign(g, v, qn_scale(g, w, 2));
    ck_assert_int_eq(qn_graph_verify(g, &error), QN_BAD_ARGUMENT);
    ck_assert_msg(strstr(error.text, "\"v\" is written by node"), "%s",
                  error.text);
    qn_graph_destroy(&g);
}
END_TEST

START_TEST(verifier_knows_that_a_group_covers_its_variables)
{
    qn_graph *g = new_graph();
    qn_node *v = qn_variable(g, "s", "v", QN_FLOAT32, qn_shape_of(2));
    qn_node *other = qn_variable(g, "t", "v", QN_FLOAT32, qn_shape_of(2));
    qn_node *group = qn_group(g, "s");
    qn_error error = {0};
    qn_assign(g, group, qn_scale(g, group, 2));
    qn_assign(g, other, qn_scale(g, v, 2));
    ck_assert_ok(qn_graph_verify(g, &error), error);
    qn_assign(g, v, qn_scale(g, v, 3));
    ck_assert_int_eq(qn_graph_verify(g, &error), QN_BAD_ARGUMENT);
    qn_graph_destroy(&g);
    g = new_graph();
    qn_variable(g, "s", "v", QN_FLOAT32, qn_shape_of(2));
    for (int i = 0; i < 2; i++) { // two nodes of one group
        group = qn_group(g, "s");
        qn_assign(g, group, qn_neg(g, group));
    }
    error = (qn_error){0};
    ck_assert_int_eq(qn_graph_verify(g, &error), QN_BAD_ARGUMENT);
    qn_graph_destroy(&g);
}
END_TEST

QN_CHECK_MAIN("build", pointwise_nodes_broadcast_and_become_real,
              cast_changes_the_type_or_nothing,
              first_error_stays_and_names_its_line,
              null_and_foreign_inputs_are_named,
              other_real_type_and_bad_borders_are_refused,
              assign_wants_state_of_the_same_shape_and_type,
              verifier_finds_a_second_writer,
              verifier_knows_that_a_group_covers_its_variables)
