// See drive.h.
#include "drive.h"

#include <math.h>
#include <string.h>

#include "qn_check.h"
#include "quern/op.h"

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

bool drive_copy(struct drive *d, const char *group, double *values,
                bool write)
{
    const int *sizes = d->course->net->sizes;
    qn_error error = {0};
    double data[SMALL_PARAMETERS];
    for (int k = 0; k < SMALL_TENSORS; values += sizes[k++]) {
        const char *name = qn_node_name(d->parameters[k]);
        const int index = qn_store_find(d->store, group, name);
        const size_t size = (size_t)sizes[k] * qn_dtype_size(d->real);
        if (index < 0)
            return false;
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
    return true;
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

static struct qn_optimizer_params settings_of(const struct course *c)
{
    const struct qn_optimizer *row = qn_optimizer_find(c->rule->name);
    struct qn_optimizer_params params = qn_optimizer_defaults(row);
    const char *name;
    double value;
    for (int i = 0; (name = course_setting(c->index, i, &value)); i++) {
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

void drive_begin(struct drive *d, const struct course *c, qn_dtype real)
{
    qn_error error = {0};
    struct qn_penalty penalties[SMALL_TENSORS] = {{0}};
    struct qn_parameter_options options[SMALL_TENSORS];
    double start[SMALL_PARAMETERS];
    *d = (struct drive){.course = c, .real = real,
                        .g = qn_graph_create(real)};
    struct qn_optimizer_params params = settings_of(c);
    if (qn_optimizer_looks_ahead(&params))
        qn_graph_alias(d->g, QN_GROUP_LOOKAHEAD, NULL);
    qn_node *loss = build_loss(d);
    for (int k = 0; k < SMALL_TENSORS; k++) {
        options[k] = qn_parameter_options_defaults();
        if (!c->net->units[k])
            continue;
        penalties[k] = (struct qn_penalty){c->l1 + c->proximal, c->l2,
                                           c->proximal > 0};
        options[k].max_norm = c->max_norm;
    }
    params.options = options;
    if (c->l1 > 0 || c->l2 > 0 || c->proximal > 0)
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
    memcpy(start, course_start(c), sizeof start);
    ck_assert(drive_copy(d, "parameters", start, true));
    ck_assert_ok(qn_optimizer_begin(d->store, &error), error);
}

void drive_finish(struct drive *d)
{
    qn_plan_destroy(&d->plan);
    qn_store_destroy(&d->store);
    qn_graph_destroy(&d->g);
}

void drive_advance(struct drive *d, int to)
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
