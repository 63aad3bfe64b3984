// Cases of the activations: sizes around vector widths, edge values, views,
// and the slopes of prelu.
//
// Tolerances in ulps: 0 where the result is one of the inputs, 1 where it
// rounds once, 5 for tanh and the sigmoid's 8 as in the pointwise cases; elu
// has the 3 of expm1 and a product, softplus a sum of log1p and exp, softsign
// a sum and a division of 2.5, and the bounds of the others are those of
// test_ulp.c.
#include "cases.h"

#include <stddef.h>

static const struct activation {
    const char *op;
    double p[2];
    double ulps;
} rows[] = {
    {"relu", {0}, 0},
    {"sigmoid", {0}, 8},
    {"tanh", {0}, 5},
    {"leaky_relu", {0.625}, 1},
    {"hard_tanh", {-1, 1}, 0},
    {"hard_tanh", {-2, 0.5}, 0},
    {"relu6", {0}, 0},
    {"elu", {1}, 6},
    {"elu", {0.3}, 6},
    {"selu", {0}, 6},
    {"softplus", {0}, 8},
    {"softsign", {0}, 4},
    {"normal_cdf", {0}, 8},
    {"gelu", {0}, 10},
    {"gelu_tanh", {0}, 10},
    {"silu", {0}, 10},
    {"mish", {0}, 12},
};
enum { ROW_COUNT = sizeof rows / sizeof *rows };

static struct qn_case unary_case(const struct activation *row,
                                 struct ref_shape shape)
{
    return (struct qn_case){
        .op = row->op,
        .in = {{.shape = shape}},
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
    for (int r = 0; r < ROW_COUNT; r++) {
        // Kernels of one element are others: some rows stand for all.
        for (int s = 0; s < (r % 4 == 2 ? 4 : 2); s++) {
            const struct qn_case c = unary_case(&rows[r], shapes[s]);
            case_add(&c);
        }
        struct qn_case c = unary_case(&rows[r], DIMS(529));
        c.variant = "edge values";
        c.in[0].fill = FILL_EDGES;
        c.has_grad = false;
        case_add(&c);
    }
}

static void add_sizes(void)
{
    static const int64_t sizes[] = {2, 15, 16, 31, 257};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const struct ref_shape shape = {.rank = 1, .dims = {sizes[i]}};
        const struct qn_case c = unary_case(&rows[13], shape);
        case_add(&c);
    }
}

static void add_views(void)
{
    for (int v = VIEW_TRANSPOSED; v < VIEW_COUNT; v++) {
        struct qn_case c = unary_case(&rows[7], DIMS(3, 4, 17));
        c.in[0].view = (enum view)v;
        case_add(&c);
    }
}

// One slope for all, one a feature, one a channel, one an element.
static void add_prelus(void)
{
    static const struct ref_shape shapes[][2] = {
        {SHAPE(1), SHAPE(1)},         {SHAPE(5, 17), SHAPE(1)},
        {SHAPE(5, 17), SHAPE(17)},    {SHAPE(2, 3, 4, 5), SHAPE(3, 1, 1)},
        {SHAPE(5, 17), SHAPE(5, 17)}, {SHAPE(4, 33), SCALAR},
    };
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        struct qn_case c = {
            .op = "prelu",
            .in = {{.shape = shapes[s][0]}, {.shape = shapes[s][1]}},
            .count = 2,
            .ulps = 1,
            .has_grad = true,
        };
        case_add(&c);
        c.variant = "edge values";
        c.in[0].fill = FILL_EDGES;
        c.has_grad = false;
        case_add(&c);
    }
}

static void add_maxouts(void)
{
    static const struct {
        struct ref_shape shape;
        int64_t pieces;
    } shapes[] = {{SHAPE(1, 1), 1},        {SHAPE(1, 2), 2},
                  {SHAPE(5, 34), 2},       {SHAPE(3, 48), 3},
                  {SHAPE(2, 6, 3, 5), 2},  {SHAPE(2, 20, 4, 4), 4},
                  {SHAPE(3, 5, 7), 5},     {SHAPE(9, 66), 2}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        const struct qn_case c = {
            .op = "maxout",
            .in = {{.shape = shapes[s].shape, .fill = FILL_DISTINCT}},
            .count = 1,
            .params = {.count = shapes[s].pieces},
            .has_grad = true,
        };
        case_add(&c);
    }
}

static void add_gates(void)
{
    static const struct ref_shape shapes[] = {SHAPE(1), SHAPE(5, 17),
                                              SHAPE(4099)};
    for (int s = 0; s < 3; s++) {
        const struct qn_case c = {
            .op = "relu_gate",
            .in = {{.shape = shapes[s], .fixed = true},
                   {.shape = shapes[s]}},
            .count = 2,
            .has_grad = true,
        };
        case_add(&c);
    }
}

void cases_add_activation(void)
{
    add_unaries();
    add_sizes();
    add_views();
    add_prelus();
    add_maxouts();
    add_gates();
}
