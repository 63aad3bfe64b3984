// Every update rule over whole trajectories: 1,001 steps on a 2-3-1 net at a
// constant rate, 100 steps on a convolutional net under a changing one. The
// reference in double against what PyTorch, or where it lacks the rule NumPy,
// computed (golden/make_optim.py); the device against the same files, in
// float32 and where it can in double.
//
// Tolerances: two computations in double differ by rounding, which the steps
// amplify to 1e-12 or so: 1e-9. For float32 make_optim.py --check tells what
// is to be expected: at most a tenth of rtol 1e-3, atol 5e-4.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "drive.h"
#include "qn_check.h"

static const struct small_net *const nets[] = {&small_dense, &small_conv};

static void compare(const struct course *c, const char *who,
                    const struct course_records *got,
                    const struct course_records *want, double rtol,
                    double atol)
{
    char what[160];
    for (int i = 0; i < c->stop_count; i++) {
        snprintf(what, sizeof what, "%.60s, %s, step %d: %s", c->name,
                 c->net->name, c->stops[i], who);
        qn_check_close(what, got->x[i], want->x[i], c->net->count, rtol,
                       atol);
        if (c->average == 0)
            continue;
        snprintf(what, sizeof what, "%.60s, %s, step %d: average, %s",
                 c->name, c->net->name, c->stops[i], who);
        qn_check_close(what, got->averages[i], want->averages[i],
                       c->net->count, rtol, atol);
    }
}

static struct course_records got, want;

START_TEST(reference_agrees_with_pytorch)
{
    int by_torch = 0;
    for (int i = 0; i < course_count(); i++)
        for (int k = 0; k < 2; k++) {
            struct course c = course_at(i, nets[k]);
            course_follow(&c, &got, NULL);
            course_stored(&c, &want);
            compare(&c, "the reference", &got, &want, 1e-9, 1e-9);
            by_torch += c.by_torch;
        }
    ck_assert_int_ge(by_torch, 60);
}
END_TEST

// ---- the device ----

static void follow(const struct course *c, qn_dtype real,
                   struct course_records *records)
{
    struct drive d;
    drive_begin(&d, c, real);
    for (int i = 0; i < c->stop_count; i++) {
        drive_advance(&d, c->stops[i]);
        ck_assert(drive_copy(&d, "parameters", records->x[i], false));
        if (c->average > 0)
            ck_assert(drive_copy(&d, "average", records->averages[i], false));
    }
    drive_finish(&d);
}

// An emulator takes seconds for what a device does at once.
// Double has to show the formula, for which 300 steps do.
static int some_stops(const struct course *c, qn_dtype real)
{
    const bool is_emulated = qn_device_describe(qn_check_device())->type ==
                             QN_DEVICE_EMULATOR;
    return is_emulated                                  ? 2
           : real == QN_FLOAT64 && c->net == &small_dense ? 6
                                                        : c->stop_count;
}

static void follow_all(qn_dtype real, double rtol, double atol)
{
    for (int i = 0; i < course_count(); i++)
        for (int k = 0; k < 2; k++) {
            struct course c = course_at(i, nets[k]);
            course_stored(&c, &want);
            c.stop_count = some_stops(&c, real);
            follow(&c, real, &got);
            compare(&c, "the device", &got, &want, rtol, atol);
        }
}

START_TEST(float_follows_pytorch)
{
    follow_all(QN_FLOAT32, 1e-3, 5e-4);
}
END_TEST

START_TEST(double_follows_pytorch)
{
    if (qn_device_describe(qn_check_device())->has_float64)
        follow_all(QN_FLOAT64, 1e-9, 1e-9);
}
END_TEST

// The slots are named and filled as PyTorch's state is. After 10 steps in
// double, of which the parameters' rounding is 1e-15; squares of gradients are
// as small as 1e-9.
START_TEST(slots_are_those_of_the_reference)
{
    char group[80], what[160];
    double values[SMALL_PARAMETERS], slots[REF_SLOTS][SMALL_PARAMETERS];
    if (!qn_device_describe(qn_check_device())->has_float64)
        return;
    for (int i = 0; i < course_count(); i++) {
        struct course c = course_at(i, &small_dense);
        struct drive d;
        c.stop_count = 3;
        course_follow(&c, &want, slots);
        drive_begin(&d, &c, QN_FLOAT64);
        drive_advance(&d, c.stops[2]);
        for (int k = 0; k < REF_SLOTS && c.rule->slots[k]; k++) {
            snprintf(group, sizeof group, "optimizer.%s", c.rule->slots[k]);
            if (!drive_copy(&d, group, values, false)) // settings need none
                memset(values, 0, sizeof values);
            snprintf(what, sizeof what, "%.60s: %s", c.name, group);
            qn_check_close(what, values, slots[k], c.net->count, 1e-9, 1e-15);
        }
        drive_finish(&d);
    }
}
END_TEST

// ---- forms of one rule ----

static struct course find_course(const char *name, bool rate_moves)
{
    for (int i = 0; i < course_count(); i++) {
        struct course c = course_at(i, &small_dense);
        if (strcmp(c.name, name) != 0)
            continue;
        c.rate_moves = rate_moves;
        c.stop_count = 5; // 300 steps
        return c;
    }
    ck_abort_msg("optim.json has no case %s", name);
}

// How far two ways are apart at most, relative to 1 + |x|.
static double distance(const struct course *c, const struct course_records *a,
                       const struct course_records *b)
{
    double most = 0;
    for (int i = 0; i < c->stop_count; i++)
        for (int k = 0; k < c->net->count; k++)
            most = fmax(most, fabs(a->x[i][k] - b->x[i][k]) /
                                  (1 + fabs(a->x[i][k])));
    return most;
}

// v = rho v + g, x -= a v and m = beta m + a g, x -= m have m = a v as long as
// a stays; the first keeps no trace of a rate that has passed, the second
// does.
static struct course_records forms[2];

static void follow_forms(bool rate_moves, double rtol, double atol)
{
    static const char *const names[] = {"momentum", "momentum, heavy ball"};
    for (int i = 0; i < 2; i++) {
        struct course c = find_course(names[i], rate_moves);
        course_follow(&c, &want, NULL);
        follow(&c, QN_FLOAT32, &forms[i]);
        compare(&c, "the device", &forms[i], &want, rtol, atol);
    }
}

START_TEST(forms_of_momentum_part_as_rates_change)
{
    struct course c = find_course("momentum", false);
    follow_forms(false, 1e-4, 5e-5);
    ck_assert_double_le(distance(&c, &forms[0], &forms[1]), 1e-4);
    follow_forms(true, 1e-4, 5e-5);
    ck_assert_double_ge(distance(&c, &forms[0], &forms[1]), 0.01);
}
END_TEST

// At a constant rate PyTorch's Nesterov has in x what lookahead has in
// x - momentum m, the point where it takes the gradient.
START_TEST(forms_of_nesterov_are_the_same_points)
{
    struct course c = find_course("nesterov, lookahead", false);
    double slots[REF_SLOTS][SMALL_PARAMETERS];
    course_follow(&c, &got, slots);
    double *x = got.x[c.stop_count - 1];
    for (int i = 0; i < c.net->count; i++)
        x[i] -= c.hyper.momentum * slots[0][i];
    struct course pytorch = find_course("nesterov", false);
    course_follow(&pytorch, &want, NULL);
    qn_check_close("x - momentum m", x, want.x[c.stop_count - 1],
                   c.net->count, 1e-10, 1e-10);
}
END_TEST

// ---- the table ----

static void expect_defaults(const struct qn_optimizer *row)
{
    const struct ref_rule *rule = ref_rule_find(row->name);
    struct ref_hyper hyper;
    ck_assert_msg(rule != NULL, "ref/optim.c has no %s", row->name);
    ck_assert_msg(row->lr == rule->lr, "%s: lr is %g, should be %g",
                  row->name, row->lr, rule->lr);
    for (int i = 0; i < REF_SLOTS; i++)
        ck_assert_str_eq(rule->slots[i] ? rule->slots[i] : "",
                         row->slots[i] ? row->slots[i] : "");
    hyper = rule->defaults;
    for (int i = 0; i < row->hyper_count; i++) {
        char word[80];
        const double *value = ref_hyper_find(&hyper, row->hyper[i].name);
        snprintf(word, sizeof word, " %s ", row->hyper[i].name);
        ck_assert_msg(value && strstr(rule->takes, word),
                      "%s: the reference takes no %s", row->name,
                      row->hyper[i].name);
        ck_assert_msg(*value == row->hyper[i].value,
                      "%s: %s is %g, should be %g", row->name,
                      row->hyper[i].name, row->hyper[i].value, *value);
    }
}

// Neither a rule nor a hyper-parameter of one is left out: some case gives it
// another value than its default.
START_TEST(every_rule_has_a_trajectory)
{
    for (int r = 0; qn_optimizer_at(r); r++) {
        const struct qn_optimizer *row = qn_optimizer_at(r);
        bool is_there = false, has_changed[QN_MAX_HYPER] = {false};
        expect_defaults(row);
        for (int i = 0; i < course_count(); i++) {
            struct course c = course_at(i, &small_dense);
            if (strcmp(c.rule->name, row->name) != 0)
                continue;
            is_there = true;
            for (int h = 0; h < row->hyper_count; h++)
                has_changed[h] |= *ref_hyper_find(&c.hyper,
                                                  row->hyper[h].name) !=
                                  row->hyper[h].value;
        }
        ck_assert_msg(is_there, "%s has no case: add a line to "
                      "tests/golden/make_optim.py and run it", row->name);
        for (int h = 0; h < row->hyper_count; h++)
            ck_assert_msg(has_changed[h], "no case of %s changes %s",
                          row->name, row->hyper[h].name);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {reference_agrees_with_pytorch,
                                  every_rule_has_a_trajectory,
                                  forms_of_nesterov_are_the_same_points,
                                  float_follows_pytorch,
                                  double_follows_pytorch,
                                  slots_are_those_of_the_reference,
                                  forms_of_momentum_part_as_rates_change};
    const int status = qn_check_run("trajectory", tests,
                                    (int)(sizeof tests / sizeof *tests));
    course_close();
    return status;
}
