// Cases of the pointwise rows: sizes around vector widths, edge values,
// integers, views.
//
// Tolerances in ulps: 0 where the operation is exact, 1 where it rounds once
// (OpenCL 7.4: add, sub, mul; 2.5 for div), else the full-profile bound of
// the builtin (exp, log, sqrt 3; pow 16), and 8 for the sigmoid, which
// rounds three times after exp.
#include "cases.h"

#include <stddef.h>

static const struct unary {
    const char *op;
    double p[2];
    enum fill fill;
    double ulps;
} unaries[] = {
    {"neg", {0}, FILL_AWAY, 0},
    {"abs", {0}, FILL_AWAY, 0},
    {"exp", {0}, FILL_AWAY, 3},
    {"log", {0}, FILL_POSITIVE, 3},
    {"sqrt", {0}, FILL_POSITIVE, 3},
    {"square", {0}, FILL_AWAY, 1},
    {"add_scalar", {0.625}, FILL_AWAY, 1},
    {"scale", {0.625}, FILL_AWAY, 1},
    {"clamp", {-0.5, 1}, FILL_AWAY, 0},
    {"relu", {0}, FILL_AWAY, 0},
    {"sigmoid", {0}, FILL_AWAY, 8}, // of views and sizes
};
enum { UNARY_COUNT = sizeof unaries / sizeof *unaries };

static struct qn_case unary_case(const struct unary *row,
                                 struct ref_shape shape)
{
    return (struct qn_case){
        .op = row->op,
        .in = {{.shape = shape, .fill = row->fill}},
        .count = 1,
        .params = {.p = {row->p[0], row->p[1]}},
        .ulps = row->ulps,
        .has_grad = true,
    };
}

static void add_unaries(void)
{
    static const struct ref_shape shapes[] = {SHAPE(17), SHAPE(3, 33), SCALAR,
                                              SHAPE(1)};
    static const struct ref_shape edges = SHAPE(529);
    for (int r = 0; r < UNARY_COUNT; r++) {
        // Kernels of one element are others: some rows stand for all.
        for (int s = 0; s < (r % 4 == 2 ? 4 : 2); s++) {
            const struct qn_case c = unary_case(&unaries[r], shapes[s]);
            case_add(&c);
        }
        struct qn_case c = unary_case(&unaries[r], edges);
        c.variant = "edge values";
        c.in[0].fill = FILL_EDGES;
        c.has_grad = false;
        case_add(&c);
    }
}

static void add_sizes(void)
{
    static const int64_t sizes[] = {2,  7,  15, 16,  31,  32,
                                    47, 63, 64, 65, 257, 4099};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const struct ref_shape shape = {.rank = 1, .dims = {sizes[i]}};
        const struct qn_case c = unary_case(&unaries[2], shape);
        case_add(&c);
    }
    static const struct ref_shape deep[] = {
        SHAPE(1, 1, 1), SHAPE(2, 1, 3, 1, 5, 1), SHAPE(2, 3, 2, 3, 2, 3),
        SHAPE(5, 1), SHAPE(1, 5)};
    for (size_t i = 0; i < sizeof deep / sizeof *deep; i++) {
        const struct qn_case c = unary_case(&unaries[10], deep[i]);
        case_add(&c);
    }
}

static void add_views(void)
{
    static const struct ref_shape shapes[] = {SHAPE(5, 7), SHAPE(3, 4, 17)};
    for (int v = VIEW_TRANSPOSED; v < VIEW_COUNT; v++) {
        for (int s = 0; s < 2; s++) {
            struct qn_case c = unary_case(&unaries[5], shapes[s]);
            c.in[0].view = (enum view)v;
            case_add(&c);
        }
    }
}

// Gradients through a view, for rows whose gradient needs x.
static void add_viewed_gradients(void)
{
    static const int rows[] = {1, 3, 4, 8, 9}; // abs, log, sqrt, clamp, relu
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        struct qn_case c = unary_case(&unaries[rows[r]], DIMS(7, 3, 11));
        c.in[0].view = r % 2 ? VIEW_STEPPED : VIEW_TRANSPOSED;
        case_add(&c);
    }
}

static void add_integers(void)
{
    static const qn_dtype types[] = {QN_INT32, QN_UINT8};
    static const int rows[] = {0, 7, 9}; // neg, scale, relu
    for (int t = 0; t < 2; t++) {
        for (int r = 0; r < 3; r++) {
            struct qn_case c = unary_case(&unaries[rows[r]],
                                          DIMS(3, 19));
            c.in[0] = (struct operand){c.in[0].shape, FILL_INTEGERS,
                                       r == 2 ? VIEW_TRANSPOSED : VIEW_NONE,
                                       types[t], true};
            c.has_grad = false;
            case_add(&c);
        }
    }
}

// ---- two operands ----

static const struct binary {
    const char *op;
    enum fill fill;
    double ulps;
    bool has_grad;
} binaries[] = {
    {"add", FILL_AWAY, 1, true},
    {"sub", FILL_AWAY, 1, true},
    {"mul", FILL_AWAY, 1, true},
    {"div", FILL_AWAY, 2.5, true},
    {"pow", FILL_POSITIVE, 16, true},
    {"max", FILL_DISTINCT, 0, true},
    {"min", FILL_DISTINCT, 0, true},
    {"equal", FILL_TIES, 0, false},
    {"not_equal", FILL_TIES, 0, false},
    {"less", FILL_TIES, 0, false},
    {"less_equal", FILL_TIES, 0, false},
    {"greater", FILL_TIES, 0, false},
    {"greater_equal", FILL_TIES, 0, false},
};
enum { BINARY_COUNT = sizeof binaries / sizeof *binaries };

static struct qn_case binary_case(const struct binary *row, struct ref_shape x,
                                  struct ref_shape y)
{
    return (struct qn_case){
        .op = row->op,
        .in = {{.shape = x, .fill = row->fill},
               {.shape = y, .fill = row->fill}},
        .count = 2,
        .ulps = row->ulps,
        .has_grad = row->has_grad,
    };
}

static void add_binaries(void)
{
    static const struct ref_shape shapes[][2] = {
        {SHAPE(3, 17), SHAPE(3, 17)},
        {SHAPE(3, 17), SHAPE(17)},
        {SCALAR, SHAPE(3, 17)},
        {SHAPE(1), SHAPE(1)},
    };
    for (int r = 0; r < BINARY_COUNT; r++) {
        for (int s = 0; s < (r % 3 == 0 ? 4 : 2); s++) {
            const struct qn_case c =
                binary_case(&binaries[r], shapes[s][0], shapes[s][1]);
            case_add(&c);
        }
        struct qn_case c = binary_case(&binaries[r], DIMS(529),
                                       DIMS(529));
        c.variant = "edge values";
        c.in[0].fill = c.in[1].fill = FILL_EDGES;
        c.has_grad = false;
        case_add(&c);
    }
}

// Gradients summed over what broadcasts: div, pow, max, min.
static void add_broadcast_gradients(void)
{
    for (int r = 3; r <= 6; r++) {
        struct qn_case c =
            binary_case(&binaries[r], DIMS(7, 1, 11), DIMS(3, 1));
        case_add(&c);
        c = binary_case(&binaries[r], DIMS(5, 13), DIMS(5, 13));
        c.in[0].view = VIEW_TRANSPOSED;
        c.in[1].view = VIEW_INNER;
        case_add(&c);
    }
}

static void add_integer_pairs(void)
{
    static const qn_dtype types[][2] = {{QN_INT32, QN_FLOAT32},
                                        {QN_FLOAT32, QN_UINT8},
                                        {QN_UINT8, QN_INT32},
                                        {QN_INT32, QN_INT32}};
    for (int t = 0; t < 4; t++) {
        struct qn_case c = binary_case(
            &binaries[2], DIMS(5, 19), DIMS(5, 19));
        for (int i = 0; i < 2; i++) {
            c.in[i].dtype = types[t][i];
            c.in[i].fill = types[t][i] ? FILL_INTEGERS : FILL_AWAY;
            c.in[i].fixed = types[t][i] != QN_FLOAT32;
        }
        c.has_grad = !c.in[0].fixed || !c.in[1].fixed;
        case_add(&c);
    }
}

// ---- select, cast ----

static void add_selects(void)
{
    static const struct ref_shape shapes[][3] = {
        {SHAPE(1), SHAPE(1), SHAPE(1)},
        {SHAPE(3, 17), SHAPE(3, 17), SHAPE(3, 17)},
        {SHAPE(17), SHAPE(3, 1), SHAPE(3, 17)},
        {SHAPE(2, 3, 5), SCALAR, SHAPE(3, 1)},
        {SHAPE(2, 1, 1), SHAPE(3, 5), SHAPE(5)},
    };
    static const qn_dtype types[] = {QN_FLOAT32, QN_INT32, QN_UINT8,
                                     QN_FLOAT32, QN_INT32};
    for (int s = 0; s < 5; s++) {
        const struct qn_case c = {
            .op = "select",
            .in = {{shapes[s][0], FILL_BITS, VIEW_NONE, types[s], true},
                   {.shape = shapes[s][1]},
                   {.shape = shapes[s][2]}},
            .count = 3,
            .has_grad = true,
        };
        case_add(&c);
    }
}

static void add_casts(void)
{
    static const struct {
        qn_dtype from, to;
        enum fill fill;
    } casts[] = {{QN_FLOAT32, QN_INT32, FILL_AWAY},
                 {QN_FLOAT32, QN_INT32, FILL_LARGE},
                 {QN_INT32, QN_FLOAT32, FILL_INTEGERS},
                 {QN_UINT8, QN_FLOAT32, FILL_INTEGERS},
                 {QN_UINT8, QN_INT32, FILL_INTEGERS}};
    static const struct ref_shape shapes[] = {SHAPE(1), SHAPE(33), SHAPE(4, 5)};
    for (int i = 0; i < 5; i++) {
        for (int s = 0; s < 3; s++) {
            const struct qn_case c = {
                .op = casts[i].to == QN_INT32 ? "cast_int32" : "cast_real",
                .in = {{shapes[s], casts[i].fill,
                        s == 2 ? VIEW_TRANSPOSED : VIEW_NONE, casts[i].from,
                        true}},
                .count = 1,
            };
            case_add(&c);
        }
    }
}

void cases_add_pointwise(void)
{
    add_unaries();
    add_sizes();
    add_views();
    add_viewed_gradients();
    add_integers();
    add_binaries();
    add_broadcast_gradients();
    add_integer_pairs();
    add_selects();
    add_casts();
}
