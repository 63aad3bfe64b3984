// Cases of normalisation: [n, f], [n, c, ...] and trailing axes, chunks that
// are merged, means far from zero.
//
// Tolerances: a statistic of n terms is off by a few roundings of its size;
// standardised values are at most sqrt(n), and off by the rounding of the mean
// over the deviation, which is about 1 here. Gradients of small deviations
// are large: grad_terms says how much so.
#include "cases.h"

#include <stddef.h>

enum { MAX_SHAPES = 40 };

// Around the lanes, the tiles of columns and the chunks of both families.
static const struct ref_shape shapes[] = {
    SHAPE(2, 1),         SHAPE(3, 1),          SHAPE(5, 3),
    SHAPE(7, 16),        SHAPE(6, 17),         SHAPE(4, 63),
    SHAPE(3, 64),        SHAPE(3, 65),         SHAPE(4, 97),
    SHAPE(300, 5),       SHAPE(200, 70),       SHAPE(1031, 1),
    SHAPE(1, 1, 5),      SHAPE(3, 2, 7),       SHAPE(2, 17, 3),
    SHAPE(1, 3, 2, 2),   SHAPE(2, 1, 3, 5),    SHAPE(2, 3, 4, 4),
    SHAPE(3, 16, 2, 3),  SHAPE(2, 17, 5, 3),   SHAPE(5, 7, 1, 9),
    SHAPE(2, 5, 8, 8),   SHAPE(2, 3, 7, 9),    SHAPE(2, 2, 9, 29),
    SHAPE(40, 2, 8, 8),  SHAPE(3, 2, 40, 30),  SHAPE(1, 2, 70, 61),
    SHAPE(2, 3, 2, 3, 4), SHAPE(5, 1, 47, 53),  SHAPE(9, 3, 33, 32),
    SHAPE(520, 2), // columns of several chunks on a GPU too
};
enum { SHAPE_COUNT = sizeof shapes / sizeof *shapes };

static struct qn_case make(const char *op, int s, int count)
{
    struct qn_case c = {
        .op = op,
        .in = {{.shape = shapes[s]}},
        .count = count,
        .params = {.p = {1e-5}},
        .ulps = 8,
        .floor = 64,
        .has_grad = true,
        .grad_terms = 8,
    };
    for (int i = 1; i < count; i++) {
        c.in[i].shape = (struct ref_shape){1, {shapes[s].dims[1]}};
        c.in[i].fill = FILL_POSITIVE;
    }
    return c;
}

static void add_batch_norm(void)
{
    for (int s = 0; s < SHAPE_COUNT; s++) {
        const struct qn_case c = make("batch_norm", s, s % 5 == 4 ? 1 : 3);
        case_add(&c);
    }
    struct qn_case c = make("batch_norm", 6, 2); // gamma alone
    case_add(&c);
    c = make("batch_norm", SHAPE_COUNT - 1, 3);
    c.variant = "in chunks";
    case_add(&c);
    for (int v = VIEW_TRANSPOSED; v < VIEW_REPEATED; v++) {
        c = make("batch_norm", 17, 3);
        c.in[0].view = (enum view)v;
        case_add(&c);
    }
}

static void add_given(void)
{
    static const int chosen[] = {2, 4, 9, 13, 17, 19};
    for (int i = 0; i < 6; i++) {
        const struct qn_case c =
            make("normalize", chosen[i], i % 3 == 2 ? 3 : 5);
        case_add(&c);
    }
}

// Axes as bits; the statistics that the backward pass sums have them too.
static void add_axes(const char *op, struct ref_shape shape, unsigned mask)
{
    struct qn_case c = {
        .op = op,
        .in = {{.shape = shape}},
        .count = 1,
        .params = {.p = {1e-5}},
        .ulps = 8,
        .floor = 64,
        .has_grad = true,
        .grad_terms = 8,
    };
    for (int d = 0; d < shape.rank; d++)
        if (mask >> d & 1)
            c.params.axes[c.params.axis_count++] = d;
    case_add(&c);
}

static void add_all_axes(void)
{
    static const struct {
        struct ref_shape shape;
        unsigned mask;
    } rows[] = {
        {SHAPE(17), 1},        {SHAPE(5, 33), 1},     {SHAPE(5, 33), 2},
        {SHAPE(5, 33), 3},     {SHAPE(3, 5, 18), 1},  {SHAPE(3, 5, 18), 2},
        {SHAPE(3, 5, 18), 4},  {SHAPE(3, 5, 18), 5},  {SHAPE(3, 5, 18), 6},
        {SHAPE(2, 3, 4, 5), 9}, {SHAPE(2, 3, 4, 5), 10},
        {SHAPE(2, 3, 4, 5), 13}, {SHAPE(2, 3, 4, 5), 12},
        {SHAPE(3, 4099), 2},   {SHAPE(2, 20011), 2},  {SHAPE(2, 300, 40), 2},
        {SHAPE(7, 1), 1},      {SHAPE(4, 127, 2), 2}, {SHAPE(3, 256, 3), 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        add_axes("moments", rows[i].shape, rows[i].mask);
        if (i % 2 == 0)
            add_axes("standardize", rows[i].shape, rows[i].mask);
    }
}

// dy, x, mean and rstd stand for themselves here.
static void add_sums(void)
{
    static const int chosen[] = {0,  2,  3,  4,  7,  9,  10, 11,
                                 14, 17, 19, 21, 24, 25, 26, 29};
    for (int i = 0; i < 16; i++) {
        const struct ref_shape shape = shapes[chosen[i]];
        struct qn_case c = {.op = "norm_sums", .count = 4, .has_grad = true};
        struct ref_shape one = shape;
        for (int d = 0; d < shape.rank; d++) {
            one.dims[d] = d == 1 ? shape.dims[d] : 1;
            if (d != 1)
                c.params.axes[c.params.axis_count++] = d;
        }
        for (int k = 0; k < 4; k++)
            c.in[k].shape = k < 2 ? shape : one;
        // A rounding for each term, which is at most 54.
        c.floor = 54.0 * (double)(ref_count(&shape) / shape.dims[1]);
        case_add(&c);
    }
}

static void add_layer_and_group(void)
{
    static const int dims[] = {1, 1, 1, 2, 3, 1, 2, 3};
    static const int layers[] = {2, 4, 8, 13, 17, 19, 22, 24};
    for (int i = 0; i < 8; i++) {
        struct qn_case c = make("layer_norm", layers[i], i % 4 == 1 ? 1 : 3);
        const struct ref_shape *x = &c.in[0].shape;
        c.params.count = dims[i];
        for (int k = 1; k < c.count; k++) {
            c.in[k].shape.rank = dims[i];
            for (int d = 0; d < dims[i]; d++)
                c.in[k].shape.dims[d] = x->dims[x->rank - dims[i] + d];
        }
        case_add(&c);
    }
    static const int groups[][2] = {{3, 1},  {3, 4},  {3, 16}, {5, 9},
                                    {13, 2}, {18, 4}, {18, 1}, {19, 17},
                                    {20, 7}, {23, 2}, {27, 1}};
    for (int i = 0; i < 11; i++) {
        struct qn_case c = make("group_norm", groups[i][0], i % 4 == 2 ? 1 : 3);
        c.params.count = groups[i][1];
        case_add(&c);
    }
}

void cases_add_norm(void)
{
    add_batch_norm();
    add_given();
    add_all_axes();
    add_sums();
    add_layer_and_group();
}
