// Cases of the reductions: every set of axes of shapes up to four dimensions,
// some of five, long lines, views.
//
// A sum of n terms in any order is off by at most (n - 1) roundings of
// partial sums, each no larger than sum |x|: `terms` is the number of terms.
#include "cases.h"

#include <stddef.h>

enum { SUM, MEAN, MAX, KIND_COUNT };
static const struct {
    const char *op;
    enum fill fill;
} kinds[KIND_COUNT] = {
    {"sum", FILL_AWAY},
    {"mean", FILL_AWAY},
    {"reduce_max", FILL_DISTINCT},
};

// Bit d of `mask` reduces dimension d; negative axes where `backwards`.
static struct qn_case reduction(int kind, struct ref_shape shape, unsigned mask,
                                bool keep, bool backwards)
{
    struct qn_case c = {
        .op = kinds[kind].op,
        .in = {{.shape = shape, .fill = kinds[kind].fill}},
        .count = 1,
        .params = {.keep = keep},
        .has_grad = true,
    };
    double terms = 1;
    for (int d = 0; d < shape.rank; d++) {
        if (mask >> d & 1)
            c.params.axes[c.params.axis_count++] =
                backwards ? d - shape.rank : d;
        if (mask == 0 || mask >> d & 1)
            terms *= (double)shape.dims[d];
    }
    c.terms = kind == MAX ? 0 : terms;
    c.ulps = kind == MEAN ? 1 : 0;
    return c;
}

static void add_axes(void)
{
    static const struct ref_shape shapes[] = {
        SCALAR, SHAPE(1), SHAPE(17), SHAPE(5, 33), SHAPE(3, 5, 18),
        SHAPE(2, 3, 4, 5)};
    for (int s = 0; s < 6; s++) {
        const unsigned sets = 1u << shapes[s].rank;
        for (unsigned mask = 0; mask < sets; mask++) {
            for (int kind = 0; kind < KIND_COUNT; kind++) {
                // All sets for the sum, each third for the others.
                if (kind != SUM && mask % 3 != (unsigned)kind % 3)
                    continue;
                const struct qn_case c =
                    reduction(kind, shapes[s], mask, mask % 2, mask & 4);
                case_add(&c);
            }
        }
    }
    static const unsigned masks[] = {0x15, 0x0a, 0x1e, 0x0e, 0x03, 0x18};
    for (int i = 0; i < 6; i++) {
        const struct qn_case c = reduction(
            i % KIND_COUNT, DIMS(3, 2, 4, 2, 5), masks[i], i & 1,
            false);
        case_add(&c);
    }
}

static void add_sizes(void)
{
    static const int64_t sizes[] = {2, 15, 16, 31, 32, 63, 64, 65, 127, 257};
    for (int i = 0; i < 10; i++) {
        const struct ref_shape row = {.rank = 2, .dims = {3, sizes[i]}};
        const struct ref_shape column = {.rank = 2, .dims = {sizes[i], 3}};
        struct qn_case c = reduction(i % 3, row, 2, false, false);
        case_add(&c);
        c = reduction(i % 3, column, 1, false, false);
        case_add(&c);
    }
    // Long enough for any split into parts.
    static const struct ref_shape longer[] = {SHAPE(10007), SHAPE(2, 4099),
                                      SHAPE(4099, 2), SHAPE(65, 33),
                                      SHAPE(2, 1031, 3), SHAPE(300, 64)};
    static const unsigned masks[] = {1, 2, 1, 3, 2, 1};
    for (int i = 0; i < 6; i++) {
        for (int kind = 0; kind < KIND_COUNT; kind++) {
            const struct qn_case c =
                reduction(kind, longer[i], masks[i], false, false);
            case_add(&c);
        }
    }
}

static void add_views(void)
{
    for (int v = VIEW_TRANSPOSED; v < VIEW_COUNT; v++) {
        for (unsigned mask = 1; mask < 8; mask += 2) {
            const int kind = v == VIEW_REPEATED ? SUM : (int)(mask / 2) % 3;
            struct qn_case c = reduction(kind, DIMS(3, 4, 17),
                                         mask, false, false);
            c.in[0].view = (enum view)v;
            case_add(&c);
        }
    }
}

static void add_edges(void)
{
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        // Each row of 23 holds NaN; rows of 6 hold none, then infinities.
        struct qn_case c =
            reduction(kind, DIMS(4, 23), 2, false, false);
        c.variant = "edge values";
        c.in[0].fill = FILL_EDGES;
        c.has_grad = false;
        case_add(&c);
        c = reduction(MAX, DIMS(46, 1), 1u << (kind % 2), false,
                      false);
        c.variant = "edge values";
        c.in[0].fill = FILL_EDGES;
        c.has_grad = false;
        case_add(&c);
    }
}

static void add_sum_to(void)
{
    static const struct ref_shape shapes[][2] = {
        {SHAPE(3, 17), SHAPE(3, 17)},       {SHAPE(3, 17), SHAPE(17)},
        {SHAPE(3, 17), SHAPE(1, 17)},       {SHAPE(3, 17), SHAPE(3, 1)},
        {SHAPE(3, 17), SCALAR},             {SHAPE(3, 17), SHAPE(1, 1)},
        {SHAPE(2, 3, 4, 5), SHAPE(3, 1, 1)}, {SHAPE(2, 3, 5), SHAPE(2, 1, 5)},
        {SHAPE(2, 3, 4, 5), SHAPE(1, 3, 1, 5)},
    };
    for (int i = 0; i < 9; i++) {
        const struct qn_case c = {
            .op = "sum_to",
            .in = {{.shape = shapes[i][0]}},
            .count = 1,
            .params = {.shape = shapes[i][1]},
            .terms = (double)(ref_count(&shapes[i][0]) /
                              ref_count(&shapes[i][1])),
            .has_grad = true,
        };
        case_add(&c);
    }
}

void cases_add_reduce(void)
{
    add_axes();
    add_sizes();
    add_views();
    add_edges();
    add_sum_to();
}
