// Cases of pooling over regions: fractional ones, random, pseudo-random and
// fixed, side by side and overlapping; adaptive means.
//
// Regions and maxima are exact. A mean of n terms is off by n roundings of its
// terms and one of the division.
#include "cases.h"

#include <stddef.h>

#define DRAWN(s, t)                                                        \
    {.fill = FILL_LIVE, .value = (s), .fixed = true},                      \
    {.fill = FILL_LIVE, .value = (t), .fixed = true}

static const struct {
    struct ref_shape x, size;
} rows[] = {
    {SHAPE(1, 1, 2, 2), SHAPE(1, 1)},     {SHAPE(2, 3, 5, 7), SHAPE(3, 5)},
    {SHAPE(3, 2, 9, 8), SHAPE(6, 5)},     {SHAPE(1, 17, 4, 6), SHAPE(4, 6)},
    {SHAPE(2, 16, 7, 7), SHAPE(4, 5)},    {SHAPE(4, 1, 13, 25), SHAPE(9, 17)},
    {SHAPE(2, 2, 11, 33), SHAPE(4, 10)},  {SHAPE(1, 2, 3, 65), SHAPE(2, 64)},
    {SHAPE(5, 3, 17, 16), SHAPE(12, 11)}, {SHAPE(2, 1, 6, 31), SHAPE(3, 16)},
};
enum { ROW_COUNT = sizeof rows / sizeof *rows };

static void add_fractional(int i, int kind)
{
    struct qn_case c = {
        .op = "fractional_max_pool",
        .variant = "drawn",
        .in = {{.shape = rows[i].x, .fill = FILL_DISTINCT}, DRAWN(7 + i, 31)},
        .count = 3,
        .params = {.shape = rows[i].size, .p = {kind % 2, kind / 2},
                   .path = "pool"},
        .has_grad = true,
    };
    case_add(&c);
    if (kind % 2)
        return;
    c.variant = "fixed";
    c.count = 1;
    case_add(&c);
}

static void add_adaptive(int i)
{
    const struct qn_case c = {
        .op = "adaptive_avg_pool",
        .in = {{.shape = rows[i].x}},
        .count = 1,
        .params = {.shape = rows[i].size},
        .ulps = 1,
        .terms = 40, // of the largest regions, and the sizes' quotient
        .has_grad = true,
    };
    case_add(&c);
}

// The rows one by one, with tables from random numbers.
#define UNIFORM(n, k) \
    {"random_uniform", {1, 2}, 2, {.p = {0, 1}, .shape = SHAPE(n, k), \
                                   .path = "u"}}
#define TABLE(value, in, out, random, overlaps) \
    {"fractional_regions", {value}, 1, \
     {.p = {random, overlaps}, .count = in, .shape = SHAPE(out)}}
#define ROW(op, ...) {op, {__VA_ARGS__}, \
                      sizeof((int[]){__VA_ARGS__}) / sizeof(int), {.p = {0}}}

static const struct qn_case chains[] = {
    {.op = "regions that differ", .variant = "max", .count = 3,
     .in = {{.shape = SHAPE(3, 2, 9, 17), .fill = FILL_DISTINCT},
            DRAWN(5, 6)},
     .steps = (const struct step[]){UNIFORM(3, 6), TABLE(3, 9, 6, 1, 0),
                                    UNIFORM(1, 1), TABLE(5, 17, 11, 0, 1),
                                    ROW("region_max", 0, 4, 6)},
     .step_count = 5, .has_grad = true},
    {.op = "regions that differ", .variant = "mean", .count = 3,
     .in = {OPERAND(3, 2, 9, 17), DRAWN(5, 6)},
     .steps = (const struct step[]){UNIFORM(3, 6), TABLE(3, 9, 6, 1, 1),
                                    UNIFORM(3, 11), TABLE(5, 17, 11, 1, 0),
                                    ROW("region_mean", 0, 4, 6)},
     .step_count = 5, .ulps = 1, .floor = 40, .has_grad = true},
    {.op = "gradients of regions", .variant = "max", .count = 4,
     .in = {{.shape = SHAPE(3, 2, 9, 17), .fill = FILL_TIES, .fixed = true},
            DRAWN(5, 6), OPERAND(3, 2, 6, 11)},
     .steps = (const struct step[]){UNIFORM(3, 6), TABLE(4, 9, 6, 1, 1),
                                    UNIFORM(3, 11), TABLE(6, 17, 11, 1, 1),
                                    ROW("region_max_grad", 0, 5, 7, 3)},
     .step_count = 5, .floor = 40},
    {.op = "gradients of regions", .variant = "mean", .count = 4,
     .in = {{.shape = SHAPE(3, 2, 9, 17), .fixed = true}, DRAWN(5, 6),
            OPERAND(3, 2, 6, 11)},
     .steps = (const struct step[]){UNIFORM(3, 6), TABLE(4, 9, 6, 1, 1),
                                    UNIFORM(3, 1), TABLE(6, 17, 11, 0, 1),
                                    ROW("region_mean_grad", 0, 5, 7, 3)},
     .step_count = 5, .ulps = 8, .floor = 40, .has_grad = true},
    {.op = "cuts of a long side", .count = 3,
     .in = {OPERAND(1), DRAWN(1, 2)},
     .steps = (const struct step[]){UNIFORM(13, 70),
                                    TABLE(3, 100, 70, 1, 0)},
     .step_count = 2},
};

void cases_add_regions(void)
{
    for (int i = 0; i < ROW_COUNT; i++) {
        for (int kind = 0; kind < 4; kind++)
            add_fractional(i, kind);
        add_adaptive(i);
    }
    for (size_t i = 0; i < sizeof chains / sizeof *chains; i++)
        case_add(&chains[i]);
}
