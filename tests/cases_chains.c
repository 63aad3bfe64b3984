// Cases of several operations: what fusion, epilogues, load chains and the
// placement in memory do. The fused plan has to agree with the reference and
// with the plan that launches node by node.
//
// Tolerances: a handful of roundings on values of a few units; where a
// product or a sum is inside, its length is in `floor`, as the terms are not
// larger than 9.
#include "cases.h"

#include <stddef.h>

// A step: STEP("add", 0, 1) or STEP_WITH("sum", (.axes = {1}), 3).
#define STEP(op, ...) STEP_WITH(op, (.axis = 0), __VA_ARGS__)
#define STEP_WITH(op, params, ...)                                         \
    {op, {__VA_ARGS__}, sizeof((int[]){__VA_ARGS__}) / sizeof(int),        \
     {UNWRAP params}}
#define UNWRAP(...) __VA_ARGS__
#define STEPS(...)                                                         \
    .steps = (const struct step[]){__VA_ARGS__},                           \
    .step_count = sizeof((const struct step[]){__VA_ARGS__}) /             \
                  sizeof(struct step)

#define LABELS(n) {{1, {n}}, FILL_LABELS, VIEW_NONE, QN_INT32, true}

// ---- pointwise ----

static const struct qn_case pointwise_chains[] = {
    {.op = "x times x", .in = {OPERAND(3, 17)}, .count = 1,
     STEPS(STEP("mul", 0, 0)),
     .ulps = 1, .has_grad = true},
    {.op = "x less x", .in = {OPERAND(3, 17)}, .count = 1,
     STEPS(STEP("sub", 0, 0)),
     .has_grad = true},
    {.op = "a diamond", .in = {OPERAND(5, 33), OPERAND(5, 33)}, .count = 2,
     STEPS(STEP("tanh", 0), STEP("mul", 2, 1), STEP("add", 2, 1),
           STEP("mul", 3, 4), STEP("sub", 5, 2)),
     .ulps = 1, .floor = 64, .has_grad = true},
    {.op = "a long chain", .in = {OPERAND(7, 19), OPERAND(19)}, .count = 2,
     STEPS(STEP("tanh", 0), STEP("add", 2, 1), STEP("sigmoid", 3),
           STEP("mul", 4, 1), STEP("tanh", 5), STEP("sub", 6, 0),
           STEP("sigmoid", 7), STEP("square", 8), STEP("add", 9, 1),
           STEP("tanh", 10), STEP("mul", 11, 0), STEP("sigmoid", 12),
           STEP("add", 13, 4), STEP("tanh", 14), STEP("mul", 15, 8),
           STEP("sub", 16, 12), STEP("sigmoid", 17), STEP("add", 18, 0)),
     .ulps = 2, .floor = 64, .has_grad = true},
    {.op = "ten operands",
     .in = {OPERAND(4, 18), OPERAND(18), OPERAND(4, 1), OPERAND(4, 18),
            OPERAND(1), OPERAND(4, 18), OPERAND(1, 18), OPERAND(4, 18),
            OPERAND(4, 18), OPERAND(4, 18)},
     .count = 10,
     STEPS(STEP("mul", 0, 1), STEP("add", 10, 2), STEP("mul", 11, 3),
           STEP("add", 12, 4), STEP("mul", 13, 5), STEP("sub", 14, 6),
           STEP("add", 15, 7), STEP("mul", 16, 8), STEP("sub", 17, 9)),
     .ulps = 4, .floor = 4000, .has_grad = true}, // values up to 500
    {.op = "a choice",
     .in = {{.shape = SHAPE(6, 17), .fill = FILL_DISTINCT},
            {.shape = SHAPE(6, 17), .fill = FILL_DISTINCT}},
     .count = 2,
     STEPS(STEP("less", 0, 1), STEP("sigmoid", 0), STEP("mul", 1, 1),
           STEP("select", 2, 3, 4)),
     .ulps = 8, .has_grad = true},
    {.op = "a live factor",
     .in = {OPERAND(5, 17), {.fill = FILL_LIVE, .fixed = true, .value = 0.375}},
     .count = 2,
     STEPS(STEP("mul", 0, 1), STEP("add", 2, 1)),
     .ulps = 2, .floor = 4, .has_grad = true},
    {.op = "bytes to numbers",
     .in = {{SHAPE(5, 31), FILL_INTEGERS, VIEW_NONE, QN_UINT8, true},
            OPERAND(31)},
     .count = 2,
     STEPS(STEP_WITH("add_scalar", (.p = {-128}), 0),
           STEP_WITH("scale", (.p = {0.0078125}), 2), STEP("mul", 3, 1)),
     .ulps = 2, .floor = 2, .has_grad = true},
    {.op = "views of results", .in = {OPERAND(6, 10)}, .count = 1,
     STEPS(STEP("tanh", 0),
           STEP_WITH("transpose", (.order = {1, 0}), 1),
           STEP_WITH("slice", (.start = 1, .stop = 10, .step = 2), 2),
           STEP_WITH("reshape", (.shape = SHAPE(3, 10)), 3),
           STEP("sigmoid", 4)),
     .ulps = 8, .has_grad = true},
    {.op = "a view used twice", .in = {OPERAND(7, 7), OPERAND(7)},
     .count = 2,
     STEPS(STEP_WITH("transpose", (.order = {1, 0}), 0), STEP("add", 0, 2),
           STEP("mul", 3, 2), STEP("add", 4, 1)),
     .ulps = 4, .floor = 40, .has_grad = true},
};

// ---- around reductions ----

#define OVER(a) (.axes = {a}, .axis_count = 1)
#define OVER_KEEP(a) (.axes = {a}, .axis_count = 1, .keep = true)
#define ALL (.axis_count = 0)

static const struct qn_case reduction_chains[] = {
    {.op = "a sum of products, rows", .count = 2,
     .in = {OPERAND(9, 65), OPERAND(9, 65)},
     STEPS(STEP("sigmoid", 0), STEP("mul", 2, 1),
           STEP_WITH("sum", OVER(1), 3)),
     .ulps = 4, .floor = 600, .has_grad = true},
    {.op = "a sum of products, columns", .count = 2,
     .in = {OPERAND(65, 9), OPERAND(9)},
     STEPS(STEP("tanh", 0), STEP("mul", 2, 1), STEP_WITH("sum", OVER(0), 3)),
     .ulps = 4, .floor = 600, .has_grad = true},
    {.op = "a largest of a chain", .count = 1,
     .in = {{.shape = SHAPE(9, 33), .fill = FILL_DISTINCT}},
     STEPS(STEP_WITH("scale", (.p = {0.5}), 0),
           STEP_WITH("reduce_max", OVER(1), 1), STEP("square", 2)),
     .ulps = 2, .has_grad = true},
    {.op = "a mean square error", .count = 2,
     .in = {OPERAND(8, 33), OPERAND(8, 33)},
     STEPS(STEP("sub", 0, 1), STEP("square", 2), STEP_WITH("mean", ALL, 3)),
     .ulps = 20, .has_grad = true}, // all terms are positive
    {.op = "shares of a sum", .count = 1,
     .in = {{.shape = SHAPE(7, 33), .fill = FILL_POSITIVE}},
     STEPS(STEP_WITH("sum", OVER_KEEP(-1), 0), STEP("div", 0, 1)),
     .ulps = 40, .has_grad = true},
    {.op = "a standardisation", .count = 3,
     .in = {OPERAND(33, 10), OPERAND(10), OPERAND(10)},
     STEPS(STEP_WITH("mean", OVER_KEEP(0), 0), STEP("sub", 0, 3),
           STEP("square", 4), STEP_WITH("mean", OVER_KEEP(0), 5),
           STEP_WITH("add_scalar", (.p = {1e-5}), 6), STEP("sqrt", 7),
           STEP("div", 4, 8), STEP("mul", 9, 1), STEP("add", 10, 2)),
     .ulps = 4, .floor = 200, .has_grad = true},
    {.op = "log of a sum of e^x", .count = 1, .in = {OPERAND(6, 17)},
     STEPS(STEP("exp", 0), STEP_WITH("sum", OVER(1), 1), STEP("log", 2)),
     .ulps = 4, .floor = 20, .has_grad = true},
    {.op = "a sum of sums", .count = 1, .in = {OPERAND(4, 5, 17)},
     STEPS(STEP_WITH("sum", OVER(2), 0), STEP("square", 1),
           STEP_WITH("sum", OVER(0), 2), STEP_WITH("mean", ALL, 3)),
     .ulps = 100, .floor = 100, .has_grad = true},
    {.op = "a scaled softmax", .count = 2,
     .in = {OPERAND(6, 17), OPERAND(17)},
     STEPS(STEP_WITH("scale", (.p = {0.5}), 0), STEP("add", 2, 1),
           STEP_WITH("softmax", (.axis = -1), 3)),
     .ulps = 80, .has_grad = true},
};

// ---- around products ----

#define NT (.trans_b = true)
#define NN (.trans_b = false)
#define TN (.trans_a = true)

static const struct qn_case product_chains[] = {
    {.op = "a dense layer with relu", .count = 3,
     .in = {OPERAND(33, 20), OPERAND(17, 20), OPERAND(17)},
     STEPS(STEP_WITH("matmul", NT, 0, 1), STEP("add", 3, 2),
           STEP("relu", 4)),
     .ulps = 1, .floor = 2000, .has_grad = true},
    {.op = "a dense layer with tanh", .count = 3,
     .in = {OPERAND(5, 20), OPERAND(20, 33), OPERAND(33)},
     STEPS(STEP_WITH("matmul", NN, 0, 1), STEP("add", 3, 2),
           STEP_WITH("scale", (.p = {0.125}), 4), STEP("tanh", 5)),
     .ulps = 8, .floor = 300, .has_grad = true},
    {.op = "a residual", .count = 3,
     .in = {OPERAND(18, 16), OPERAND(16, 16), OPERAND(18, 16)},
     STEPS(STEP_WITH("matmul", NN, 0, 1), STEP("add", 3, 2)),
     .ulps = 1, .floor = 1500, .has_grad = true},
    {.op = "a product with two readers", .count = 2,
     .in = {OPERAND(12, 9), OPERAND(9, 17)},
     STEPS(STEP_WITH("matmul", NN, 0, 1), STEP("tanh", 2), STEP("mul", 2, 3)),
     .ulps = 8, .floor = 3000, .has_grad = true},
    {.op = "a product of a chain", .count = 3,
     .in = {OPERAND(12, 17), OPERAND(12, 17), OPERAND(10, 17)},
     STEPS(STEP("tanh", 0), STEP("mul", 3, 1),
           STEP_WITH("matmul", NT, 4, 2)),
     .ulps = 1, .floor = 1500, .has_grad = true},
    {.op = "x times x transposed", .count = 1, .in = {OPERAND(9, 21)},
     STEPS(STEP_WITH("matmul", NT, 0, 0)),
     .ulps = 1, .floor = 3000, .has_grad = true},
    {.op = "a product summed", .count = 2,
     .in = {OPERAND(17, 9), OPERAND(17, 12)},
     STEPS(STEP_WITH("matmul", TN, 0, 1), STEP_WITH("sum", OVER(0), 2)),
     .ulps = 1, .floor = 4000, .has_grad = true},
    {.op = "a batch with bias", .count = 3,
     .in = {OPERAND(3, 5, 8), OPERAND(8, 6), OPERAND(6)},
     STEPS(STEP_WITH("matmul", NN, 0, 1), STEP("add", 3, 2),
           STEP("relu", 4)),
     .ulps = 1, .floor = 600, .has_grad = true},
    {.op = "a column added", .count = 3, // no bias: along the rows
     .in = {OPERAND(7, 8), OPERAND(8, 6), OPERAND(7, 1)},
     STEPS(STEP_WITH("matmul", NN, 0, 1), STEP("add", 3, 2),
           STEP("relu", 4)),
     .ulps = 1, .floor = 600, .has_grad = true},
    {.op = "a product in views", .count = 2,
     .in = {OPERAND(6, 40), OPERAND(10, 9)},
     STEPS(STEP("tanh", 0),
           STEP_WITH("reshape", (.shape = SHAPE(6, 4, 10)), 2),
           STEP_WITH("transpose", (.order = {1, 0, 2}), 3),
           STEP_WITH("matmul", NN, 4, 1),
           STEP_WITH("transpose", (.order = {1, 0, 2}), 5),
           STEP_WITH("reshape", (.shape = SHAPE(6, 36)), 6)),
     .ulps = 1, .floor = 300, .has_grad = true},
    {.op = "two layers and a loss", .count = 6,
     .in = {OPERAND(16, 12), OPERAND(20, 12), OPERAND(20), OPERAND(10, 20),
            OPERAND(10), LABELS(16)},
     .params = {.count = 10},
     STEPS(STEP_WITH("matmul", NT, 0, 1), STEP("add", 6, 2),
           STEP_WITH("scale", (.p = {0.125}), 7), STEP("relu", 8),
           STEP_WITH("matmul", NT, 9, 3), STEP("add", 10, 4),
           STEP("softmax_cross_entropy", 11, 5), STEP_WITH("mean", ALL, 12)),
     .ulps = 4, .floor = 1500, .has_grad = true, .grad_terms = 4},
};

// ---- around moves and classification ----

static const struct qn_case move_chains[] = {
    {.op = "a concat of results", .count = 2,
     .in = {OPERAND(5, 17), OPERAND(5, 6)},
     STEPS(STEP("tanh", 0), STEP("sigmoid", 1),
           STEP_WITH("concat", (.axis = 1), 2, 3), STEP("square", 4)),
     .ulps = 20, .has_grad = true},
    {.op = "a concat in place", .count = 2,
     .in = {OPERAND(5, 17), OPERAND(3, 17)},
     STEPS(STEP("tanh", 0), STEP("sigmoid", 1),
           STEP_WITH("concat", (.axis = 0), 2, 3)),
     .ulps = 8, .has_grad = true},
    {.op = "a concat of one result twice", .count = 1,
     .in = {OPERAND(4, 9)},
     STEPS(STEP("tanh", 0), STEP_WITH("concat", (.axis = 0), 1, 1, 0)),
     .ulps = 5, .has_grad = true},
    {.op = "parts of a result", .count = 1, .in = {OPERAND(8, 10)},
     STEPS(STEP("tanh", 0),
           STEP_WITH("slice", (.axis = 0, .stop = 4, .step = 1), 1),
           STEP_WITH("slice", (.axis = 0, .start = 4, .stop = 8, .step = 1),
                     1),
           STEP("mul", 2, 3)),
     .ulps = 16, .has_grad = true},
    {.op = "a padded result", .count = 1, .in = {OPERAND(4, 9)},
     STEPS(STEP("sigmoid", 0),
           STEP_WITH("pad", (.low = {1, 2}, .high = {0, 3}), 1),
           STEP_WITH("add_scalar", (.p = {1}), 2)),
     .ulps = 9, .has_grad = true},
    {.op = "labels of the largest", .count = 1,
     .in = {{SHAPE(9, 10), FILL_DISTINCT, VIEW_NONE, QN_FLOAT32, true}},
     STEPS(STEP_WITH("argmax", (.axis = -1), 0),
           STEP_WITH("one_hot", (.count = 10), 1))},
    {.op = "hits", .count = 2,
     .in = {{SHAPE(33, 5), FILL_DISTINCT, VIEW_NONE, QN_FLOAT32, true},
            LABELS(33)},
     .params = {.count = 5},
     STEPS(STEP_WITH("argmax", (.axis = 1), 0), STEP("equal", 2, 1),
           STEP_WITH("sum", ALL, 3))},
    {.op = "a batch of bytes", .count = 4,
     .in = {{SHAPE(20, 12), FILL_INTEGERS, VIEW_NONE, QN_UINT8, true},
            {SHAPE(20), FILL_ROWS, VIEW_NONE, QN_INT32, true},
            {.fill = FILL_LIVE, .fixed = true, .value = 7},
            OPERAND(9, 12)},
     STEPS(STEP_WITH("take", (.count = 8), 0, 1, 2),
           STEP_WITH("scale", (.p = {0.00390625}), 4),
           STEP_WITH("matmul", NT, 5, 3)),
     .ulps = 1, .floor = 300, .has_grad = true},
};

static void add_all(const struct qn_case *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        case_add(&rows[i]);
}

void cases_add_chains(void)
{
    add_all(pointwise_chains,
            sizeof pointwise_chains / sizeof *pointwise_chains);
    add_all(reduction_chains,
            sizeof reduction_chains / sizeof *reduction_chains);
    add_all(product_chains, sizeof product_chains / sizeof *product_chains);
    add_all(move_chains, sizeof move_chains / sizeof *move_chains);
}
