// Cases of the random rows: the same integers as the host's, at any size and
// in the middle of a chain.
//
// Tolerances: float32 rounds the word, the product and the sum; a normal also
// has the errors of log, sqrt and of the turn, of at most 17 ulps, and knows u
// near 1 to 2^-25 only, which is 4e-6 of the radius.
#include "cases.h"

#include <stddef.h>

#define DRAWN(s, t)                                                        \
    {.fill = FILL_LIVE, .value = (s), .fixed = true},                      \
    {.fill = FILL_LIVE, .value = (t), .fixed = true}

static void add_draw(const char *op, struct ref_shape shape, double a, double b,
                     const char *path)
{
    const struct qn_case c = {
        .op = op,
        .variant = path,
        .in = {DRAWN((double)(ref_count(&shape) * 31), 4000000000.0)},
        .count = 2,
        .params = {.shape = shape, .p = {a, b}, .path = path},
        .ulps = 17,
        .floor = 34,
    };
    case_add(&c);
}

static const struct qn_case dropout = {
    .op = "dropout",
    .in = {OPERAND(9, 33), DRAWN(3, 17)},
    .count = 3,
    .steps = (const struct step[]){
        {"random_bernoulli", {1, 2}, 2,
         {.shape = SHAPE(9, 33), .p = {0.75}, .path = "dropout"}},
        {"mul", {0, 3}, 2, {{0}}},
        {"scale", {4}, 1, {.p = {1 / 0.75}}}},
    .step_count = 3,
    .ulps = 2,
    .has_grad = true,
};

static const struct qn_case noise = {
    .op = "noise on columns",
    .in = {OPERAND(9, 33), DRAWN(4294967295.0, 0)},
    .count = 3,
    .steps = (const struct step[]){
        {"random_normal", {1, 2}, 2,
         {.shape = SHAPE(33), .p = {0, 0.5}, .path = "noise"}},
        {"add", {0, 3}, 2, {{0}}},
        {"sum", {4}, 1, {.axes = {1}, .axis_count = 1}}},
    .step_count = 3,
    .terms = 33,
    .floor = 600,
    .has_grad = true,
};

// Sizes of the result, and of what is summed, around vectors and groups.
static void add_dropconnects(void)
{
    static const int64_t sizes[][3] = {
        {1, 1, 1},  {3, 5, 17},   {2, 7, 16},  {16, 3, 4}, {5, 4, 33},
        {9, 64, 8}, {63, 1, 15},  {65, 2, 31}, {2, 1, 300}};
    static const char *const ops[] = {"dropconnect", "dropconnect_dx",
                                      "dropconnect_dw"};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        const int64_t n = sizes[s][0], out = sizes[s][1], in = sizes[s][2];
        const struct operand x = {.shape = {2, {n, in}}};
        const struct operand w = {.shape = {2, {out, in}}};
        const struct operand y = {.shape = {2, {n, out}}};
        const struct operand pairs[][2] = {{x, w}, {y, w}, {x, y}};
        for (int k = 0; k < 3; k++) {
            const struct qn_case c = {
                .op = ops[k],
                .in = {pairs[k][0], pairs[k][1], DRAWN(7, (double)s)},
                .count = 4,
                .params = {.p = {0.625}, .path = "dropconnect"},
                .terms = (double)(k == 0 ? in : k == 1 ? out : n) + 2,
                .has_grad = true,
            };
            case_add(&c);
        }
    }
}

void cases_add_random(void)
{
    static const struct ref_shape shapes[] = {SCALAR, SHAPE(1), SHAPE(17),
                                      SHAPE(3, 33), SHAPE(2, 3, 5, 7),
                                      SHAPE(4099)};
    for (int s = 0; s < 6; s++) {
        add_draw("random_uniform", shapes[s], -2, 3, "init");
        add_draw("random_normal", shapes[s], 1, 2, "block.noise");
        add_draw("random_bernoulli", shapes[s], 0.3, 0, "block.dropout");
    }
    add_draw("random_bernoulli", shapes[3], 0, 0, "never");
    add_draw("random_bernoulli", shapes[3], 1, 0, "always");
    add_draw("random_uniform", shapes[3], 0.5, 0.5, "constant");
    add_dropconnects();
    case_add(&dropout);
    case_add(&noise);
}
