// Cases of the matrix product: all transposes, sizes around the tiles, skinny
// shapes, batches, views.
//
// Bound: K products and K - 1 sums, each rounded once at half an ulp, in any
// order: (K + 2) 2^-24 sum |a||b|, which is (K + 2) / 2 in ulps of 2^-23.
#include "cases.h"

#include <stddef.h>

static void swap_last(struct ref_shape *shape)
{
    int64_t *last = shape->dims + shape->rank - 2;
    const int64_t x = last[0];
    last[0] = last[1];
    last[1] = x;
}

// a[..., m, k] b[..., k, n], each stored transposed where its bit of `trans`
// is set.
static struct qn_case product(struct ref_shape a, struct ref_shape b, int trans)
{
    const double k = (double)a.dims[a.rank - 1];
    if (trans & 1)
        swap_last(&a);
    if (trans & 2)
        swap_last(&b);
    return (struct qn_case){
        .op = "matmul",
        .variant = (const char *const[]){"NN", "TN", "NT", "TT"}[trans],
        .in = {{.shape = a}, {.shape = b}},
        .count = 2,
        .params = {.trans_a = trans & 1, .trans_b = trans & 2},
        .terms = (k + 2) / 2,
        .has_grad = true,
    };
}

static struct qn_case flat(int64_t m, int64_t k, int64_t n, int trans)
{
    return product(DIMS(m, k), DIMS(k, n), trans);
}

static void add_sizes(void)
{
    static const int64_t sizes[][3] = {
        {1, 1, 1},    {2, 3, 5},    {7, 7, 7},    {15, 16, 17},
        {16, 16, 16}, {31, 33, 32}, {33, 31, 65}, {64, 64, 64},
        {65, 63, 33}, {1, 65, 1},   {65, 1, 65},  {1, 33, 17},
        {17, 33, 1},  {3, 257, 2},  {128, 5, 10}, {10, 129, 64}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (int trans = 0; trans < 4; trans++) {
            const struct qn_case c =
                flat(sizes[i][0], sizes[i][1], sizes[i][2], trans);
            case_add(&c);
        }
    }
}

// Enough whole tiles of 64 for a kernel with large ones.
static void add_large_tiles(void)
{
    for (int trans = 0; trans < 4; trans += 3) {
        struct qn_case c = flat(128, 7, 128, trans);
        c.variant = trans ? "TT, whole tiles" : "NN, whole tiles";
        c.has_grad = false;
        case_add(&c);
    }
}

static void add_exact(void)
{
    static const int64_t sizes[][3] = {{31, 64, 33}, {65, 100, 17}};
    for (int i = 0; i < 2; i++) {
        for (int trans = 0; trans < 4; trans++) {
            struct qn_case c =
                flat(sizes[i][0], sizes[i][1], sizes[i][2], trans);
            // Sums of at most 100 * 4: every partial sum is exact.
            c.in[0].fill = c.in[1].fill = FILL_TIES;
            c.terms = 0;
            c.has_grad = false;
            case_add(&c);
        }
    }
}

static void add_batches(void)
{
    static const struct ref_shape shapes[][2] = {
        {SHAPE(3, 5, 7), SHAPE(3, 7, 4)},
        {SHAPE(3, 5, 7), SHAPE(7, 4)},
        {SHAPE(5, 7), SHAPE(3, 7, 4)},
        {SHAPE(1, 5, 7), SHAPE(3, 7, 4)},
        {SHAPE(2, 1, 5, 7), SHAPE(3, 7, 4)},
        {SHAPE(2, 1, 4, 17), SHAPE(1, 3, 17, 5)},
        {SHAPE(2, 3, 1, 9), SHAPE(2, 3, 9, 1)},
        {SHAPE(2, 33, 17), SHAPE(2, 17, 31)},
    };
    for (int i = 0; i < 8; i++) {
        for (int trans = i % 2; trans < 4; trans += 2 - i / 2 % 2) {
            const struct qn_case c =
                product(shapes[i][0], shapes[i][1], trans);
            case_add(&c);
        }
    }
}

static void add_views(void)
{
    for (int v = VIEW_TRANSPOSED; v < VIEW_COUNT; v++) {
        struct qn_case c = flat(9, 17, 12, v % 4);
        c.in[v % 2].view = (enum view)v;
        case_add(&c);
        c = flat(9, 17, 12, 3 - v % 4);
        c.in[0].view = (enum view)v;
        c.in[1].view = VIEW_TRANSPOSED;
        case_add(&c);
        c = product(DIMS(3, 5, 7), DIMS(3, 7, 4), 0);
        c.in[1 - v % 2].view = (enum view)v;
        case_add(&c);
    }
}

void cases_add_matmul(void)
{
    add_sizes();
    add_large_tiles();
    add_exact();
    add_batches();
    add_views();
}
