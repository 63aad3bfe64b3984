// Cases of pooling: windows side by side, overlapping, spread out, over the
// border, in one to three dimensions.
//
// A maximum is exact. A mean of n terms is off by n roundings of its terms,
// as sums are, and by those of the divisions.
#include "cases.h"

#include <stddef.h>

static const struct {
    struct ref_shape shape;
    struct ref_params params;
} rows[] = {
    // 2 x 2 side by side, odd sizes, around the lanes
    {SHAPE(1, 1, 2, 2), {.kernel = {2, 2}}},
    {SHAPE(2, 3, 4, 6), {.kernel = {2, 2}}},
    {SHAPE(1, 17, 5, 7), {.kernel = {2, 2}}},
    {SHAPE(2, 2, 3, 31), {.kernel = {2, 2}}},
    {SHAPE(1, 2, 6, 32), {.kernel = {2, 2}}},
    {SHAPE(1, 3, 7, 33), {.kernel = {2, 2}}},
    {SHAPE(1, 2, 4, 66), {.kernel = {2, 2}}},
    {SHAPE(3, 16, 8, 8), {.kernel = {2, 2}}},
    {SHAPE(1, 2, 5, 7), {.kernel = {2, 2}, .ceil_mode = true}},
    // other windows
    {SHAPE(2, 3, 7, 9), {.kernel = {3, 3}}},
    {SHAPE(2, 3, 7, 9), {.kernel = {3, 3}, .stride = {1, 1}}},
    {SHAPE(1, 2, 9, 21), {.kernel = {3, 3}, .stride = {2, 2}}},
    {SHAPE(2, 1, 9, 21),
     {.kernel = {3, 3}, .stride = {2, 2}, .low = {1, 1}, .high = {1, 1}}},
    {SHAPE(1, 3, 6, 40),
     {.kernel = {3, 3}, .stride = {1, 1}, .low = {1, 1}, .high = {1, 1}}},
    {SHAPE(1, 2, 8, 19), {.kernel = {2, 3}, .stride = {1, 2}}},
    {SHAPE(1, 2, 11, 13),
     {.kernel = {5, 4}, .stride = {3, 2}, .low = {2, 0}, .high = {1, 3}}},
    {SHAPE(1, 2, 6, 50), {.kernel = {1, 5}, .stride = {1, 3}}},
    {SHAPE(2, 2, 7, 5), {.kernel = {7, 5}}},
    {SHAPE(1, 1, 4, 9), {.kernel = {1, 1}, .stride = {2, 2}}},
    {SHAPE(1, 2, 5, 9), {.kernel = {1, 1}}},
    {SHAPE(1, 2, 9, 17), {.kernel = {3, 1}, .stride = {4, 1}}},
    // taps apart
    {SHAPE(1, 2, 9, 23),
     {.kernel = {3, 3}, .stride = {1, 1}, .dilation = {2, 2}}},
    {SHAPE(1, 2, 9, 23),
     {.kernel = {2, 3}, .stride = {2, 2}, .dilation = {3, 2},
      .low = {1, 2}, .high = {2, 2}}},
    {SHAPE(1, 1, 8, 8),
     {.kernel = {2, 2}, .stride = {3, 3}, .dilation = {2, 3}}},
    // rounded up
    {SHAPE(1, 2, 8, 10),
     {.kernel = {3, 3}, .stride = {2, 2}, .ceil_mode = true}},
    {SHAPE(1, 2, 7, 6),
     {.kernel = {3, 3}, .stride = {3, 3}, .low = {1, 1}, .high = {1, 1},
      .ceil_mode = true}},
    {SHAPE(1, 1, 2, 2), // the last window would begin behind
     {.kernel = {1, 1}, .stride = {2, 2}, .ceil_mode = true}},
    {SHAPE(1, 1, 4, 4), // and here in the padding
     {.kernel = {3, 3}, .stride = {3, 3}, .low = {1, 1}, .high = {1, 1},
      .ceil_mode = true}},
    {SHAPE(1, 2, 9, 20),
     {.kernel = {3, 4}, .stride = {2, 3}, .dilation = {2, 2},
      .low = {1, 2}, .high = {1, 2}, .ceil_mode = true}},
    // one dimension, three dimensions
    {SHAPE(2, 3, 17), {.kernel = {2}}},
    {SHAPE(1, 2, 35), {.kernel = {3}, .stride = {2}, .low = {1}}},
    {SHAPE(1, 1, 1031), {.kernel = {4}, .stride = {1}, .high = {3}}},
    {SHAPE(2, 2, 4, 6, 8), {.kernel = {2, 2, 2}}},
    {SHAPE(1, 2, 5, 6, 7),
     {.kernel = {3, 2, 3}, .stride = {2, 1, 2}, .low = {1, 0, 1},
      .high = {1, 1, 1}}},
    {SHAPE(1, 3, 4, 4, 4),
     {.kernel = {2, 2, 2}, .stride = {1, 1, 1}, .dilation = {2, 2, 2},
      .ceil_mode = true}},
    {SHAPE(1, 2, 3, 4, 6), {.kernel = {1, 2, 2}}},
    // longer than a tile of a row
    {SHAPE(1, 1, 3, 4200), {.kernel = {2, 2}}},
    {SHAPE(1, 1, 3, 2100), {.kernel = {3, 3}, .stride = {1, 1}}},
    {SHAPE(1, 1, 2, 3001),
     {.kernel = {2, 5}, .stride = {2, 3}, .low = {0, 4}, .high = {0, 1}}},
};
enum { ROW_COUNT = sizeof rows / sizeof *rows };

static struct qn_case make(const char *op, int i)
{
    return (struct qn_case){
        .op = op,
        .in = {{.shape = rows[i].shape, .fill = FILL_DISTINCT}},
        .count = 1,
        .params = rows[i].params,
        .has_grad = true,
    };
}

static void add_means(int i)
{
    struct qn_case c = make("avg_pool", i);
    double taps = 1;
    for (int d = 0; d < 3; d++)
        taps *= c.params.kernel[d] ? (double)c.params.kernel[d] : 1;
    c.in[0].fill = FILL_AWAY;
    c.terms = taps;
    c.ulps = 2;
    case_add(&c);
    c.params.exclude_pad = true;
    if (c.params.low[0] + c.params.high[1] + c.params.ceil_mode > 0)
        case_add(&c);
}

// The gradient's rows by themselves: dy has the shape of the result.
static void add_gradient(const char *op, int i, enum fill fill)
{
    struct qn_case c = make(op, i);
    struct ref_tensor x, y;
    ref_make(&x, &c.in[0].shape);
    ref_find("max_pool_index")(&x, 1, &c.params, &y);
    c.in[0].fill = fill;
    c.in[0].fixed = true;
    c.in[1].shape = y.shape;
    c.count = 2;
    c.ulps = 16;
    c.floor = 64; // windows that overlap: sums of up to 27 terms
    c.has_grad = op[0] == 'a';
    case_add(&c);
    ref_free(&x);
    ref_free(&y);
}

static void add_edges(void)
{
    static const int chosen[] = {5, 12, 13, 22, 33};
    for (int k = 0; k < 5; k++) {
        struct qn_case c = make("max_pool", chosen[k]);
        c.variant = "edge values";
        c.in[0].fill = FILL_EDGES;
        c.has_grad = false;
        case_add(&c);
        c.op = "max_pool_index";
        case_add(&c);
        c.variant = "ties";
        c.in[0].fill = FILL_TIES;
        c.has_grad = false;
        case_add(&c);
        add_gradient("max_pool_grad", chosen[k], FILL_TIES);
        add_gradient("avg_pool_grad", chosen[k], FILL_AWAY);
    }
}

// What the gradients' stores take along: a sum, a mask.
#define STEP(op, ...) {op, {__VA_ARGS__}, \
                       sizeof((int[]){__VA_ARGS__}) / sizeof(int), {.p = {0}}}
#define STEP_POOL(op, pool, ...)                                           \
    {op, {__VA_ARGS__}, sizeof((int[]){__VA_ARGS__}) / sizeof(int), pool}
#define SIDE_BY_SIDE {.kernel = {2, 2}}
#define OVERLAPPING \
    {.kernel = {3, 3}, .stride = {2, 2}, .low = {1, 1}, .high = {1, 1}}

static const struct qn_case chains[] = {
    {.op = "pooling after relu and a sum", .count = 2,
     .in = {{.shape = SHAPE(2, 3, 6, 18), .fill = FILL_DISTINCT},
            OPERAND(3, 1, 1)},
     .steps = (const struct step[]){STEP("add", 0, 1), STEP("relu", 2),
                                    STEP_POOL("max_pool", SIDE_BY_SIDE, 3)},
     .step_count = 3, .ulps = 1, .has_grad = true},
    {.op = "overlapping pooling after relu", .count = 1,
     .in = {{.shape = SHAPE(2, 3, 7, 9), .fill = FILL_DISTINCT}},
     .steps = (const struct step[]){STEP("relu", 0),
                                    STEP_POOL("max_pool", OVERLAPPING, 1)},
     .step_count = 2, .has_grad = true},
    {.op = "a mean after relu, and the input", .count = 1,
     .in = {{.shape = SHAPE(2, 3, 7, 9), .fill = FILL_DISTINCT}},
     .steps = (const struct step[]){STEP("relu", 0),
                                    STEP_POOL("avg_pool", OVERLAPPING, 1),
                                    STEP_POOL("max_pool", OVERLAPPING, 1),
                                    STEP("add", 2, 3)},
     .step_count = 4, .ulps = 8, .floor = 8, .has_grad = true},
};

void cases_add_pool(void)
{
    for (int i = 0; i < ROW_COUNT; i++) {
        struct qn_case c = make("max_pool", i);
        case_add(&c);
        c = make("max_pool_index", i);
        c.has_grad = false;
        if (i % 2)
            case_add(&c);
        add_means(i);
    }
    for (int v = VIEW_TRANSPOSED; v < VIEW_REPEATED; v++) {
        struct qn_case c = make("max_pool", 1);
        c.in[0].view = (enum view)v;
        case_add(&c);
    }
    add_edges();
    for (size_t i = 0; i < sizeof chains / sizeof *chains; i++)
        case_add(&chains[i]);
}
