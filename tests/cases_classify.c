// Cases of softmax and its kin, one_hot, argmax, take.
#include "cases.h"

#include <stddef.h>

// Softmax: 3 n + 3 ulps as WebNN promises. Its logarithm loses what the
// shifted sum loses: n + 3 ulps of the largest term, |x| + log n.
static struct qn_case along(bool log, struct ref_shape shape, int axis)
{
    const double n =
        (double)shape.dims[axis < 0 ? axis + shape.rank : axis];
    return (struct qn_case){
        .op = log ? "log_softmax" : "softmax",
        .in = {{.shape = shape}},
        .count = 1,
        .params = {.axis = axis},
        .ulps = log ? 2 : 3 * n + 3,
        .floor = log ? n + 12 : 0,
        .has_grad = true,
    };
}

static void add_softmaxes(void)
{
    static const struct {
        struct ref_shape shape;
        int axis;
    } rows[] = {
        {SHAPE(1), 0},       {SHAPE(17), 0},         {SHAPE(5, 1), 1},
        {SHAPE(5, 10), 1},   {SHAPE(5, 10), 0},      {SHAPE(33, 65), -1},
        {SHAPE(65, 33), 0},  {SHAPE(2, 3, 16), -1},  {SHAPE(2, 17, 3), 1},
        {SHAPE(4, 2, 3), 0}, {SHAPE(2, 3, 2, 5), 2}, {SHAPE(3, 257), -1},
    };
    for (int i = 0; i < 12; i++) {
        for (int log = 0; log < 2; log++) {
            const struct qn_case c = along(log, rows[i].shape, rows[i].axis);
            case_add(&c);
        }
    }
}

static void add_softmax_extremes(void)
{
    for (int log = 0; log < 2; log++) {
        struct qn_case c = along(log, DIMS(9, 33), -1);
        c.variant = "logits to 10000";
        c.in[0].fill = FILL_LARGE;
        // The subtraction of the maximum rounds at 20000: 2^-9, and softmax
        // is off by that factor.
        c.ulps = log ? 2 : 40000;
        c.floor = log ? 40000 : 0;
        c.has_grad = false;
        case_add(&c);
        c = along(log, DIMS(7, 16), -1);
        c.variant = "equal logits";
        c.in[0].fill = FILL_EQUAL;
        case_add(&c);
        for (int v = VIEW_TRANSPOSED; v < VIEW_COUNT; v++) {
            c = along(log, DIMS(4, 3, 18), v % 3);
            c.in[0].view = (enum view)v;
            case_add(&c);
        }
    }
}

static void add_losses(void)
{
    static const int64_t sizes[][2] = {{1, 1},   {1, 2},   {7, 10},
                                       {16, 16}, {33, 17}, {128, 10},
                                       {5, 100}, {65, 33}, {3, 257}};
    for (int i = 0; i < 9; i++) {
        const int64_t n = sizes[i][0], classes = sizes[i][1];
        struct qn_case c = {
            .op = "softmax_cross_entropy",
            .in = {{.shape = {2, {n, classes}},
                    .view = i % 4 == 3 ? VIEW_TRANSPOSED : VIEW_NONE},
                   {{1, {n}}, FILL_LABELS, VIEW_NONE, QN_INT32, true}},
            .count = 2,
            .params = {.count = classes},
            .ulps = 2,
            .floor = (double)classes + 12, // as for log_softmax
            .has_grad = true,
        };
        case_add(&c);
        c.variant = "logits to 10000";
        c.in[0].fill = FILL_LARGE;
        c.floor = 40000; // the subtraction rounds at 2^-9
        c.has_grad = false;
        if (i % 4 == 2)
            case_add(&c);
    }
}

// The row behind that loss's gradient; its own gradient exists too.
static void add_loss_gradients(void)
{
    static const int64_t sizes[][2] = {{1, 1}, {7, 10}, {33, 17}, {5, 257}};
    for (int i = 0; i < 4; i++) {
        const int64_t n = sizes[i][0], classes = sizes[i][1];
        const struct qn_case c = {
            .op = "softmax_cross_entropy_grad",
            .in = {{.shape = {2, {n, classes}}},
                   {{1, {n}}, FILL_LABELS, VIEW_NONE, QN_INT32, true},
                   {.shape = {1, {n}}}},
            .count = 3,
            .params = {.count = classes},
            .ulps = 3 * (double)classes + 4, // softmax, then a product
            .floor = 3, // the hit subtracted
            .has_grad = true,
        };
        case_add(&c);
    }
}

static void add_one_hots(void)
{
    static const struct ref_shape shapes[] = {SHAPE(1), SHAPE(17), SHAPE(5, 3),
                                      SHAPE(128)};
    static const int64_t classes[] = {1, 10, 33, 16};
    for (int i = 0; i < 4; i++) {
        struct qn_case c = {
            .op = "one_hot",
            .in = {{shapes[i], FILL_LABELS, VIEW_NONE, QN_INT32, true}},
            .count = 1,
            .params = {.count = classes[i]},
        };
        case_add(&c);
        c.variant = "out of range";
        c.in[0].fill = FILL_INTEGERS;
        case_add(&c);
    }
}

static void add_argmaxes(void)
{
    static const struct {
        struct ref_shape shape;
        int axis;
        enum fill fill;
        enum view view;
    } rows[] = {
        {SHAPE(1), 0, FILL_AWAY, VIEW_NONE},
        {SHAPE(5, 1), 1, FILL_AWAY, VIEW_NONE},
        {SHAPE(17), 0, FILL_DISTINCT, VIEW_NONE},
        {SHAPE(7, 10), -1, FILL_DISTINCT, VIEW_NONE},
        {SHAPE(7, 10), 0, FILL_DISTINCT, VIEW_NONE},
        {SHAPE(33, 65), -1, FILL_TIES, VIEW_NONE},
        {SHAPE(65, 33), 0, FILL_TIES, VIEW_NONE},
        {SHAPE(3, 17, 5), 1, FILL_TIES, VIEW_NONE},
        {SHAPE(2, 3, 257), -1, FILL_TIES, VIEW_NONE},
        {SHAPE(9, 16), -1, FILL_EQUAL, VIEW_NONE},
        {SHAPE(4, 6, 5), 2, FILL_TIES, VIEW_TRANSPOSED},
        {SHAPE(4, 6, 5), 1, FILL_TIES, VIEW_STEPPED},
    };
    for (int i = 0; i < 12; i++) {
        const int last = rows[i].shape.rank - 1;
        const bool is_last = rows[i].axis == -1 || rows[i].axis == last;
        const struct qn_case c = {
            .op = "argmax",
            .variant = is_last ? "along rows" : "along columns",
            .in = {{rows[i].shape, rows[i].fill, rows[i].view, QN_FLOAT32,
                    true}},
            .count = 1,
            .params = {.axis = rows[i].axis},
        };
        case_add(&c);
    }
}

static void add_takes(void)
{
    static const struct {
        struct ref_shape table;
        int64_t index_count, offset, count;
        qn_dtype dtype;
    } rows[] = {
        {SHAPE(5), 4, 0, 4, QN_FLOAT32},
        {SHAPE(9, 17), 9, 3, 5, QN_FLOAT32},
        {SHAPE(9, 17), 9, 8, 1, QN_UINT8},
        {SHAPE(33, 2, 5), 33, 1, 32, QN_UINT8},
        {SHAPE(40), 40, 8, 32, QN_INT32},
        {SHAPE(7, 65), 20, 4, 16, QN_FLOAT32},
    };
    for (int i = 0; i < 6; i++) {
        const struct qn_case c = {
            .op = "take",
            .in = {{rows[i].table,
                    rows[i].dtype ? FILL_INTEGERS : FILL_AWAY, VIEW_NONE,
                    rows[i].dtype, true},
                   {{1, {rows[i].index_count}}, FILL_ROWS, VIEW_NONE,
                    QN_INT32, true},
                   {.fill = FILL_LIVE, .fixed = true,
                    .value = (double)rows[i].offset}},
            .count = 3,
            .params = {.count = rows[i].count},
        };
        case_add(&c);
    }
}

void cases_add_classify(void)
{
    add_softmaxes();
    add_softmax_extremes();
    add_losses();
    add_loss_gradients();
    add_one_hots();
    add_argmaxes();
    add_takes();
}
