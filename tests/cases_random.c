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
    case_add(&dropout);
    case_add(&noise);
}
