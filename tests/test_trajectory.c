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
#include <stdlib.h>
#include <string.h>

#include "course.h"
#include "qn_check.h"
#include "quern/op.h"
#include "quern/optim.h"

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

struct drive {
    const struct course *course;
    qn_dtype real;
    qn_graph *g;
    qn_node *x, *target, *parameters[SMALL_TENSORS];
    qn_store *store;
    qn_plan *plan;
    struct qn_optimizer_update update;
    struct qn_optimizer_step at;
};

// Between the host's double and the device's real type.
static size_t to_real(qn_dtype real, const double *from, void *to, int count)
{
    for (int i = 0; i < count; i++)
        if (real == QN_FLOAT64)
            ((double *)to)[i] = from[i];
        else if (real == QN_INT32)
            ((int32_t *)to)[i] = (int32_t)from[i];
        else
            ((float *)to)[i] = (float)from[i];
    return (size_t)count * qn_dtype_size(real);
}

static void to_double(qn_dtype real, const void *from, double *to, int count)
{
    for (int i = 0; i < count; i++)
        to[i] = real == QN_FLOAT64 ? ((const double *)from)[i]
                                   : (double)((const float *)from)[i];
}

// All parameters, or what has their names in another group.
static void copy_group(struct drive *d, const char *group, double *values,
                       bool write)
{
    const int *sizes = d->course->net->sizes;
    qn_error error = {0};
    double data[SMALL_PARAMETERS];
    for (int k = 0; k < SMALL_TENSORS; values += sizes[k++]) {
        const char *name = qn_node_name(d->parameters[k]);
        const int index = qn_store_find(d->store, group, name);
        const size_t size = (size_t)sizes[k] * qn_dtype_size(d->real);
        ck_assert_msg(index >= 0, "no %s in %s", name, group);
        if (write) {
            to_real(d->real, values, data, sizes[k]);
            ck_assert_ok(qn_store_write(d->store, index, data, size, &error),
                         error);
        } else {
            ck_assert_ok(qn_store_read(d->store, index, data, size, &error),
                         error);
            to_double(d->real, data, values, sizes[k]);
        }
    }
}

static qn_node *build_loss(struct drive *d)
{
    const struct small_net *net = d->course->net;
    const int *f = net->features;
    const bool has_labels = net == &small_conv;
    qn_error error = {0};
    struct qn_loss_params loss;
    qn_model *model = qn_model_create(net->model, &error);
    ck_assert_msg(model != NULL, "%s", error.text);
    ck_assert_ok(qn_loss_parse(net->loss, &loss, &error), error);
    d->x = qn_input(d->g, "x", d->real,
                    f[1] ? qn_shape_of(net->samples, f[0], f[1], f[2])
                         : qn_shape_of(net->samples, f[0]));
    d->target = qn_input(d->g, "target", has_labels ? QN_INT32 : d->real,
                         has_labels ? qn_shape_of(net->samples)
                                    : qn_shape_of(net->samples, 1));
    qn_node *y = qn_model_build(
        model, d->g, d->x, &(struct qn_model_build_params){.training = true});
    qn_model_destroy(&model);
    return qn_loss_build(d->g, &loss, y, d->target);
}

static struct qn_optimizer_params settings_of(int index,
                                              const struct course *c)
{
    const struct qn_optimizer *row = qn_optimizer_find(c->rule->name);
    struct qn_optimizer_params params = qn_optimizer_defaults(row);
    const char *name;
    double value;
    for (int i = 0; (name = course_setting(index, i, &value)); i++) {
        const int hyper = qn_optimizer_hyper_find(row, name);
        ck_assert_msg(hyper >= 0, "%s has no %s", row->name, name);
        params.hyper[hyper] = value;
    }
    params.clip_value = c->clip_value;
    params.clip_norm = c->clip_norm;
    params.clip_global_norm = c->clip_global_norm;
    params.average = c->average;
    return params;
}

static void write_inputs(struct drive *d)
{
    const struct small_net *net = d->course->net;
    double data[SMALL_INPUTS];
    const qn_node *inputs[] = {d->x, d->target};
    for (int i = 0; i < 2; i++) {
        const double *from = i ? course_targets(net) : course_inputs(net);
        const int count = (int)qn_shape_count(qn_node_shape(inputs[i]));
        const size_t size = to_real(qn_node_dtype(inputs[i]), from, data,
                                    count);
        ck_assert_int_eq(qn_plan_write(d->plan, inputs[i], data, size),
                         QN_OK);
    }
}

static void begin(struct drive *d, const struct course *c, int index,
                  qn_dtype real)
{
    qn_error error = {0};
    struct qn_penalty penalties[SMALL_TENSORS] = {{0}};
    double start[SMALL_PARAMETERS];
    *d = (struct drive){.course = c, .real = real,
                        .g = qn_graph_create(real)};
    struct qn_optimizer_params params = settings_of(index, c);
    qn_node *loss = build_loss(d);
    for (int k = 0; k < SMALL_TENSORS; k++)
        if (c->net->units[k])
            penalties[k] = (struct qn_penalty){.l1 = c->l1, .l2 = c->l2};
    if (c->l1 > 0 || c->l2 > 0)
        params.penalties = penalties;
    qn_optimizer_build(d->g, loss, &params, &d->update);
    ck_assert_ok(qn_graph_check(d->g, &error), error);
    ck_assert_int_eq(qn_group_members(d->g, "parameters", d->parameters,
                                      SMALL_TENSORS), SMALL_TENSORS);
    d->at = qn_optimizer_start(params.optimizer);
    d->store = qn_store_create(qn_check_device(), &error);
    ck_assert_msg(d->store != NULL, "%s", error.text);
    ck_assert_ok(qn_store_add(d->store, d->g, &error), error);
    struct qn_plan_params plan = {.graph = d->g, .store = d->store,
                                  .outputs = &loss, .output_count = 1};
    d->plan = qn_plan_create(qn_check_device(), &plan, &error);
    ck_assert_msg(d->plan != NULL, "%s: %s", c->name, error.text);
    write_inputs(d);
    memcpy(start, course_start(c->net), sizeof start);
    copy_group(d, "parameters", start, true);
    if (c->average > 0)
        copy_group(d, "average", start, true);
}

static void finish(struct drive *d)
{
    qn_plan_destroy(&d->plan);
    qn_store_destroy(&d->store);
    qn_graph_destroy(&d->g);
}

static void advance(struct drive *d, int to)
{
    const struct course *c = d->course;
    while (d->at.step < to) {
        const int step = (int)++d->at.step;
        d->at.lr = course_rate(c, step);
        d->at.momentum = c->momentum_moves ? course_momentum(c, step)
                                           : (double)NAN;
        ck_assert_int_eq(qn_optimizer_set(&d->update, d->plan, &d->at),
                         QN_OK);
        ck_assert_int_eq(qn_plan_run(d->plan), QN_OK);
    }
}

static void follow(const struct course *c, int index, qn_dtype real,
                   int stops, struct course_records *records)
{
    struct drive d;
    begin(&d, c, index, real);
    for (int i = 0; i < stops; i++) {
        advance(&d, c->stops[i]);
        copy_group(&d, "parameters", records->x[i], false);
        if (c->average > 0)
            copy_group(&d, "average", records->averages[i], false);
    }
    finish(&d);
}

// An emulator takes seconds for what a device does at once.
static int some_stops(const struct course *c)
{
    const bool is_emulated = qn_device_describe(qn_check_device())->type ==
                             QN_DEVICE_EMULATOR;
    return is_emulated ? 2 : c->stop_count;
}

// Rules that the table does not have yet.
static bool is_to_come(const struct course *c, int index)
{
    const struct qn_optimizer *row = qn_optimizer_find(c->rule->name);
    const char *name;
    double value;
    if (!row || c->max_norm > 0)
        return true;
    for (int i = 0; (name = course_setting(index, i, &value)); i++)
        if (qn_optimizer_hyper_find(row, name) < 0)
            return true;
    return false;
}

static void follow_all(qn_dtype real, double rtol, double atol)
{
    for (int i = 0; i < course_count(); i++)
        for (int k = 0; k < 2; k++) {
            struct course c = course_at(i, nets[k]);
            if (is_to_come(&c, i))
                continue;
            course_stored(&c, &want);
            c.stop_count = some_stops(&c);
            follow(&c, i, real, c.stop_count, &got);
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

// ---- the table ----

static void expect_defaults(const struct qn_optimizer *row)
{
    const struct ref_rule *rule = ref_rule_find(row->name);
    struct ref_hyper hyper;
    ck_assert_msg(rule != NULL, "ref/optim.c has no %s", row->name);
    ck_assert_msg(row->lr == rule->lr, "%s: lr is %g, should be %g",
                  row->name, row->lr, rule->lr);
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
                                  float_follows_pytorch,
                                  double_follows_pytorch};
    const int status = qn_check_run("trajectory", tests, 4);
    course_close();
    return status;
}
