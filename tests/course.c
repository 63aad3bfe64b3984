// See course.h.
#include "course.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "qn_check.h"
#include "quern/nn.h"

static json_t *file;
static qn_checkpoint *tensors;

// ---- the files ----

void course_open(void)
{
    qn_error error = {0};
    json_error_t fault;
    if (file)
        return;
    file = json_load_file(TESTS_FOLDER "/golden/optim.json", 0, &fault);
    ck_assert_msg(file != NULL, "optim.json: %s", fault.text);
    tensors = qn_checkpoint_open(TESTS_FOLDER "/golden/optim.safetensors",
                                 &error);
    ck_assert_msg(tensors != NULL, "%s", error.text);
}

void course_close(void)
{
    json_decref(file);
    file = NULL;
    qn_checkpoint_close(&tensors);
}

static json_t *cases(void)
{
    course_open();
    return json_object_get(file, "cases");
}

int course_count(void)
{
    return (int)json_array_size(cases());
}

static qn_checkpoint_tensor find(const char *first, const char *second)
{
    qn_checkpoint_tensor tensor;
    char name[200];
    course_open();
    snprintf(name, sizeof name, "%s/%s", first, second);
    for (int i = 0; qn_checkpoint_tensor_at(tensors, i, &tensor); i++)
        if (strcmp(tensor.name, name) == 0)
            return tensor;
    ck_abort_msg("make_optim.py has not made %s", name);
}

static json_t *settings_of(int index)
{
    return json_object_get(json_array_get(cases(), (size_t)index),
                           "settings");
}

const char *course_setting(int index, int setting, double *value)
{
    const char *name;
    json_t *number;
    json_object_foreach(settings_of(index), name, number)
        if (strncmp(name, "with_", 5) != 0 && setting-- == 0) {
            *value = json_number_value(number);
            return name;
        }
    return NULL;
}

static void read_extras(struct course *c, int index)
{
    const json_t *settings = settings_of(index);
    const struct {
        const char *name;
        double *value;
    } extras[] = {
        {"with_clip_value", &c->clip_value},
        {"with_clip_norm", &c->clip_norm},
        {"with_clip_global_norm", &c->clip_global_norm},
        {"with_l1", &c->l1}, {"with_l2", &c->l2},
        {"with_max_norm", &c->max_norm}, {"with_average", &c->average},
        {"with_zero_biases", &c->zero_biases},
        {"with_proximal", &c->proximal},
    };
    size_t count = 0;
    double value;
    for (size_t i = 0; i < sizeof extras / sizeof *extras; i++) {
        const json_t *number = json_object_get(settings, extras[i].name);
        *extras[i].value = json_number_value(number);
        count += number != NULL;
    }
    for (int i = 0; course_setting(index, i, &value); i++)
        count++;
    ck_assert_msg(count == json_object_size(settings),
                  "%s has settings that are not known here", c->name);
}

struct course course_at(int index, const struct small_net *net)
{
    struct course c = {.index = index, .net = net};
    const char *rule, *name;
    double lr, conv_lr, value;
    int cycle, by_torch;
    size_t i;
    json_t *stop;
    ck_assert_int_eq(
        json_unpack(json_array_get(cases(), (size_t)index),
                    "{ss ss sF sF sb sb}", "name", &c.name, "rule", &rule,
                    "lr", &lr, "conv_lr", &conv_lr, "cycle", &cycle, "torch",
                    &by_torch), 0);
    c.rule = ref_rule_find(rule);
    ck_assert_msg(c.rule != NULL, "ref/optim.c has no %s", rule);
    c.hyper = c.rule->defaults;
    for (int k = 0; (name = course_setting(index, k, &value)); k++) {
        double *member = ref_hyper_find(&c.hyper, name);
        ck_assert_msg(member != NULL, "ref/optim.c has no %s", name);
        *member = value;
    }
    read_extras(&c, index);
    c.rate_moves = net == &small_conv;
    c.momentum_moves = net == &small_conv && cycle;
    c.lr = net == &small_conv ? conv_lr : lr;
    c.by_torch = by_torch;
    json_array_foreach(json_object_get(json_object_get(file, "records"),
                                       net->name), i, stop)
    {
        ck_assert_int_lt(c.stop_count, COURSE_RECORDS);
        c.stops[c.stop_count++] = (int)json_integer_value(stop);
    }
    ck_assert_int_gt(c.stop_count, 1);
    return c;
}

void course_stored(const struct course *c, struct course_records *records)
{
    qn_checkpoint_tensor tensor = find(c->name, c->net->name);
    const size_t row = (size_t)c->net->count * sizeof(double);
    const int rows = c->stop_count * (c->average != 0 ? 2 : 1);
    ck_assert_uint_eq(tensor.size, row * (size_t)rows);
    for (int i = 0; i < rows; i++)
        memcpy(i < c->stop_count ? records->x[i]
                                 : records->averages[i - c->stop_count],
               (const char *)tensor.data + (size_t)i * row, row);
}

static const double *doubles(const struct small_net *net, const char *what,
                             int count, double *to)
{
    qn_checkpoint_tensor tensor = find(net->name, what);
    const char *data = tensor.data;
    for (int i = 0; i < count; i++) {
        int32_t label;
        if (tensor.dtype == QN_INT32) {
            memcpy(&label, data + (size_t)i * sizeof label, sizeof label);
            to[i] = label;
        } else {
            memcpy(&to[i], data + (size_t)i * sizeof *to, sizeof *to);
        }
    }
    return to;
}

const double *course_start(const struct course *c)
{
    static double start[SMALL_PARAMETERS];
    doubles(c->net, "start", c->net->count, start);
    for (int k = 0, at = 0; k < SMALL_TENSORS; at += c->net->sizes[k++])
        for (int i = 0; i < c->net->sizes[k]; i++)
            if (c->zero_biases != 0 && c->net->units[k] == 0)
                start[at + i] = 0;
    return start;
}

const double *course_inputs(const struct small_net *net)
{
    static double x[SMALL_INPUTS];
    int features = net->features[0];
    for (int i = 1; i < 3 && net->features[i]; i++)
        features *= net->features[i];
    return doubles(net, "x", net->samples * features, x);
}

const double *course_targets(const struct small_net *net)
{
    static double targets[SMALL_INPUTS];
    return doubles(net, "target", net->samples, targets);
}

// ---- the reference's way ----

double course_rate(const struct course *c, int step)
{
    return c->rate_moves ? c->lr * (1 + 0.5 * cos(step / 7.0)) : c->lr;
}

double course_momentum(const struct course *c, int step)
{
    struct ref_hyper hyper = c->hyper;
    const double *momentum = ref_hyper_momentum(c->rule, &hyper);
    if (!momentum)
        return NAN;
    return c->momentum_moves ? *momentum * (0.9 + 0.1 * cos(step / 5.0))
                             : *momentum;
}

struct walk {
    double x[SMALL_PARAMETERS], g[SMALL_PARAMETERS];
    double average[SMALL_PARAMETERS];
    double slots[REF_SLOTS][SMALL_PARAMETERS];
    struct ref_vector vectors[SMALL_TENSORS];
};

static void begin(const struct course *c, struct walk *w)
{
    *w = (struct walk){0};
    memcpy(w->x, course_start(c), (size_t)c->net->count * sizeof *w->x);
    memcpy(w->average, w->x, sizeof w->x);
    for (int k = 0, at = 0; k < SMALL_TENSORS; at += c->net->sizes[k++]) {
        struct ref_vector *v = &w->vectors[k];
        v->count = c->net->sizes[k];
        v->x = w->x + at;
        v->g = w->g + at;
        for (int s = 0; s < REF_SLOTS; s++)
            v->slots[s] = w->slots[s] + at;
    }
}

static void change_gradients(const struct course *c, struct walk *w)
{
    for (int k = 0; k < SMALL_TENSORS; k++) {
        if (c->clip_value > 0)
            ref_clip_value(&w->vectors[k], c->clip_value);
        if (c->clip_norm > 0)
            ref_clip_norm(&w->vectors[k], c->clip_norm);
    }
    if (c->clip_global_norm > 0)
        ref_clip_global_norm(w->vectors, SMALL_TENSORS, c->clip_global_norm);
    for (int k = 0; k < SMALL_TENSORS; k++)
        if (c->net->units[k])
            ref_penalise(&w->vectors[k], c->l1, c->l2);
}

static void take_step(const struct course *c, struct walk *w, int step,
                      const double *inputs, const double *targets)
{
    double at[SMALL_PARAMETERS];
    struct ref_hyper hyper = c->hyper;
    double *momentum = ref_hyper_momentum(c->rule, &hyper);
    if (momentum)
        *momentum = course_momentum(c, step);
    for (int i = 0; i < c->net->count; i++)
        at[i] = w->x[i] - hyper.lookahead * hyper.momentum * w->slots[0][i];
    c->net->gradient(at, inputs, targets, w->g);
    change_gradients(c, w);
    for (int k = 0, first = 0; k < SMALL_TENSORS; k++) {
        struct ref_vector *v = &w->vectors[k];
        ref_step(c->rule, &hyper, v, course_rate(c, step));
        if (c->net->units[k])
            ref_shrink(v, course_rate(c, step) * c->proximal);
        if (c->net->units[k] && c->max_norm > 0)
            ref_max_norm(v, c->net->units[k], c->max_norm);
        ref_average(w->average + first, v, c->average);
        first += v->count;
    }
}

void course_follow(const struct course *c, struct course_records *records,
                   double last[REF_SLOTS][SMALL_PARAMETERS])
{
    struct walk w;
    const double *inputs = course_inputs(c->net);
    const double *targets = course_targets(c->net);
    begin(c, &w);
    for (int k = 0, step = 0; k < c->stop_count; k++) {
        while (step < c->stops[k])
            take_step(c, &w, ++step, inputs, targets);
        memcpy(records->x[k], w.x, sizeof w.x);
        memcpy(records->averages[k], w.average, sizeof w.average);
    }
    if (last)
        memcpy(last, w.slots, sizeof w.slots);
}
