// What a run does around the optimizer's rule, as settings and in whole runs:
// groups of parameters, weight decay, maximum norms.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qn_check.h"
#include "small_fit.h"

static struct qn_parameter_group group_of(const char *text)
{
    struct qn_parameter_group group;
    qn_error error = {0};
    ck_assert_ok(qn_parameter_group_parse(text, &group, &error), error);
    return group;
}

// ---- text ----

static void expect_bad_group(const char *text, const char *want)
{
    struct qn_parameter_group group;
    qn_error error = {0};
    ck_assert_int_eq(qn_parameter_group_parse(text, &group, &error),
                     QN_BAD_ARGUMENT);
    ck_assert_msg(strstr(error.text, want) != NULL, "\"%s\" in \"%s\"", want,
                  error.text);
}

START_TEST(groups_are_read)
{
    const struct qn_parameter_group group =
        group_of("*.bias:weight_decay=0,lr_scale=2.5");
    ck_assert_str_eq(group.pattern, "*.bias");
    ck_assert(group.weight_decay == 0 && group.lr_scale == 2.5);
    ck_assert(isnan(group.max_norm) && isnan(group.frozen));
    expect_bad_group("*.bias", "says nothing");
    expect_bad_group("*.bias:", "says nothing");
    expect_bad_group(":lr_scale=1", "1 to 127 bytes");
    expect_bad_group("*:lr_scale", "is not OPTION=NUMBER");
    expect_bad_group("*:lr_scale=1,", "is not OPTION=NUMBER");
    expect_bad_group("*:lr_scale=x", "is not OPTION=NUMBER");
    expect_bad_group("*:lr=1", "no option is called \"lr\"");
    expect_bad_group("*:lr_scale=-1", "lr_scale is -1 and must be from 0");
    expect_bad_group("*:lr_scale=nan", "is not OPTION=NUMBER");
    expect_bad_group("*:frozen=0.5", "must be 0 or 1");
    expect_bad_group("*:trust=2", "trust is 2 and must be 0 or 1");
}
END_TEST

// ---- options of a model's parameters ----

// 0: conv_transpose [2, 3, 2, 2] with two groups, 1: batch_norm, 3: dense with
// its own maximum norm, 4: layer_norm, 5: dense.
static const char mixed_text[] =
    "{\"layers\":[{\"type\":\"conv_transpose\",\"filters\":6,\"kernel\":2,"
    "\"groups\":2},{\"type\":\"batch_norm\"},{\"type\":\"flatten\"},"
    "{\"type\":\"dense\",\"units\":8,\"max_norm\":3},"
    "{\"type\":\"layer_norm\"},{\"type\":\"dense\",\"units\":4}]}";

static qn_graph *build_mixed(qn_model **model)
{
    qn_error error = {0};
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    *model = qn_check_model(mixed_text);
    qn_model_build(*model, g,
                   qn_input(g, "x", QN_FLOAT32, qn_shape_of(1, 2, 3, 3)),
                   NULL);
    ck_assert_ok(qn_graph_check(g, &error), error);
    return g;
}

static const struct qn_parameter_options *find_options(
    qn_graph *g, const struct qn_parameter_options *options, const char *name)
{
    qn_node *members[32];
    const int count = qn_group_members(g, "parameters", members, 32);
    for (int i = 0; i < count; i++)
        if (strcmp(qn_node_name(members[i]), name) == 0)
            return &options[i];
    ck_abort_msg("no parameter %s", name);
    return NULL;
}

START_TEST(weights_are_told_from_the_rest)
{
    qn_model *model;
    qn_graph *g = build_mixed(&model);
    const struct qn_model_options_params params = {.no_decay_bias = true,
                                                   .max_norm = 2};
    const struct qn_parameter_options *all =
        qn_model_options(model, g, &params);
    ck_assert_ptr_nonnull(all);
    ck_assert_ptr_nonnull(strstr(qn_model_json(model), "\"max_norm\":3"));
    static const struct {
        const char *name;
        bool decays;
        double max_norm;
        enum qn_units units;
    } wants[] = {
        {"0.weight", true, 2, QN_UNITS_COLUMNS},
        {"0.bias", false, 0, QN_UNITS_COLUMNS},
        {"1.weight", false, 0, QN_UNITS_ROWS},
        {"1.bias", false, 0, QN_UNITS_ROWS},
        {"3.weight", true, 3, QN_UNITS_ROWS},
        {"3.bias", false, 0, QN_UNITS_ROWS},
        {"4.weight", false, 0, QN_UNITS_ROWS},
        {"5.weight", true, 2, QN_UNITS_ROWS},
    };
    for (size_t i = 0; i < sizeof wants / sizeof *wants; i++) {
        const struct qn_parameter_options *o =
            find_options(g, all, wants[i].name);
        ck_assert_msg(isnan(o->weight_decay) == wants[i].decays &&
                          o->max_norm == wants[i].max_norm &&
                          o->units == wants[i].units,
                      "%s: decay %g, maximum norm %g, units %d",
                      wants[i].name, o->weight_decay, o->max_norm,
                      (int)o->units);
    }
    ck_assert_int_eq(find_options(g, all, "0.weight")->unit_groups, 2);
    qn_graph_destroy(&g);
    qn_model_destroy(&model);
}
END_TEST

START_TEST(later_groups_win)
{
    qn_model *model;
    qn_graph *g = build_mixed(&model);
    const struct qn_parameter_group groups[] = {
        group_of("*:frozen=1,lr_scale=0.5"), group_of("5.*:frozen=0"),
        group_of("?.bi*s:weight_decay=0.25,max_norm=7"),
        group_of("*.weight:lr_scale=2")};
    const struct qn_model_options_params params = {
        .max_norm_per_tensor = true, .no_decay_bias = true,
        .groups = groups, .group_count = 4};
    const struct qn_parameter_options *all =
        qn_model_options(model, g, &params);
    ck_assert_ptr_nonnull(all);
    const struct qn_parameter_options *o = find_options(g, all, "5.bias");
    ck_assert(!o->is_frozen && o->lr_scale == 0.5 && o->max_norm == 7 &&
              o->weight_decay == 0.25 && o->units == QN_UNITS_ALL);
    o = find_options(g, all, "3.weight");
    ck_assert(o->is_frozen && o->lr_scale == 2 && o->max_norm == 3 &&
              isnan(o->weight_decay));
    qn_graph_destroy(&g);
    qn_model_destroy(&model);
}
END_TEST

static void expect_no_match(const char *text, const char *want)
{
    qn_model *model;
    qn_error error = {0};
    qn_graph *g = build_mixed(&model);
    const struct qn_parameter_group group = group_of(text);
    const struct qn_model_options_params params = {.groups = &group,
                                                   .group_count = 1};
    ck_assert_ptr_null(qn_model_options(model, g, &params));
    ck_assert_int_eq(qn_graph_check(g, &error), QN_BAD_ARGUMENT);
    ck_assert_msg(strstr(error.text, want) != NULL, "\"%s\" in \"%s\"", want,
                  error.text);
    qn_graph_destroy(&g);
    qn_model_destroy(&model);
}

START_TEST(patterns_that_match_nothing_are_named)
{
    expect_no_match("0.weigt:frozen=1", "the nearest is 0.weight");
    expect_no_match("5.bia:frozen=1", "the nearest is 5.bias");
    expect_no_match("*.bia:frozen=1", "matches \"*.bia\"");
    expect_no_match("?:frozen=1", "there are 0.weight, 0.bias, 1.weight");
    expect_no_match("0.weight*.:frozen=1", "0.weight");
}
END_TEST

// ---- settings ----

static void expect_fault(struct qn_fit_params params, const char *want)
{
    qn_dataset data = small_few_digits();
    qn_model *model = qn_check_model(SMALL_MODEL);
    qn_error error = {0};
    params.model = model;
    params.dataset = &data;
    ck_assert_int_eq(qn_fit_check(&params, &error), QN_BAD_ARGUMENT);
    ck_assert_msg(strstr(error.text, want) != NULL, "\"%s\" in \"%s\"", want,
                  error.text);
    qn_model_destroy(&model);
}

START_TEST(settings_are_checked)
{
    struct qn_fit_params p = qn_fit_defaults();
    p.clip_value = -1;
    expect_fault(p, "clip_value is -1");
    p = qn_fit_defaults();
    p.clip_norm = p.clip_global_norm = 1;
    expect_fault(p, "exclude each other");
    p = qn_fit_defaults();
    p.max_norm = (double)NAN;
    expect_fault(p, "max_norm is nan");
    p = qn_fit_defaults();
    p.ema = 1;
    expect_fault(p, "ema is 1");
    p.ema = 0.5;
    p.ema_form = QN_AVERAGE_MEAN;
    expect_fault(p, "has no decay");
    p.ema = 0;
    p.ema_form = QN_AVERAGE_CORRECTED;
    expect_fault(p, "needs ema");
    p = qn_fit_defaults();
    struct qn_parameter_group group = group_of("*:frozen=1");
    p.groups = &group;
    p.group_count = 1;
    expect_fault(p, "all 4 parameters are frozen");
    group = group_of("*.bias:trust=0");
    expect_fault(p, "sgd has no trust ratio");
    group = group_of("7.*:frozen=1");
    expect_fault(p, "no parameter's name matches \"7.*\"");
    p.optimizer = "lbfgs";
    expect_fault(p, "lbfgs has no groups");
    p = qn_fit_defaults();
    p.optimizer = "lbfgs";
    p.max_norm = 1;
    expect_fault(p, "lbfgs has no max_norm");
    p = qn_fit_defaults();
    p.ema_recompute_bn = true;
    expect_fault(p, "there is no average");
    p = qn_fit_defaults();
    p.max_norm_per_tensor = true;
    expect_fault(p, "set max_norm");
}
END_TEST

// Everything set to something else than its default.
static struct qn_fit_params all_set(const struct qn_parameter_group *groups)
{
    struct qn_fit_params p = qn_fit_defaults();
    p.optimizer = "adam";
    p.clip_value = 0.5;
    p.clip_global_norm = 2;
    p.groups = groups;
    p.group_count = 2;
    p.no_decay_bias = true;
    p.max_norm = 1.5;
    p.max_norm_per_tensor = true;
    p.ema = 0.75;
    p.ema_form = QN_AVERAGE_CORRECTED;
    p.ema_recompute_bn = true;
    return p;
}

static void expect_refusal(struct qn_fit_params params, const char *folder,
                           const char *want)
{
    qn_error error = {0};
    params.resume = folder;
    ck_assert_int_eq(small_try_run(params, SMALL_MODEL, 2, NULL, &error),
                     QN_BAD_ARGUMENT);
    ck_assert_msg(strstr(error.text, want) != NULL, "\"%s\" in \"%s\"", want,
                  error.text);
}

START_TEST(runs_keep_their_settings)
{
    const struct qn_parameter_group groups[] = {
        group_of("*.bias:lr_scale=0.1,max_norm=4"), group_of("0.*:frozen=1")};
    const char *folder = qn_check_path("kept");
    const struct qn_fit_params p = all_set(groups);
    qn_error error = {0};
    ck_assert_ok(small_try_run(p, SMALL_MODEL, 1, folder, &error), error);
    qn_run *run = qn_run_open(folder, &error);
    ck_assert_msg(run != NULL, "%s", error.text);
    const struct qn_fit_params *q = qn_run_params(run);
    ck_assert(q->clip_value == 0.5 && q->clip_norm == 0 &&
              q->clip_global_norm == 2);
    ck_assert(q->no_decay_bias && q->max_norm == 1.5 &&
              q->max_norm_per_tensor);
    ck_assert(q->ema == 0.75 && q->ema_form == QN_AVERAGE_CORRECTED &&
              q->ema_recompute_bn);
    ck_assert_int_eq(q->group_count, 2);
    ck_assert_str_eq(q->groups[0].pattern, "*.bias");
    ck_assert(q->groups[0].lr_scale == 0.1 && q->groups[0].max_norm == 4);
    ck_assert(isnan(q->groups[0].frozen) && q->groups[1].frozen == 1);
    // It goes on with these, and with no others.
    ck_assert_ok(small_try_run(*q, SMALL_MODEL, 2, folder, &error), error);
    struct qn_fit_params other = p;
    other.clip_value = 0;
    expect_refusal(other, folder, "clip_value");
    other = p;
    other.group_count = 1;
    expect_refusal(other, folder, "groups");
    other = p;
    other.no_decay_bias = false;
    expect_refusal(other, folder, "no_decay_bias");
    other = p;
    other.max_norm = 1;
    expect_refusal(other, folder, "max_norm");
    other = p;
    other.ema = 0.5;
    expect_refusal(other, folder, "ema");
    other = p;
    other.ema_form = QN_AVERAGE_FROM_START;
    expect_refusal(other, folder, "ema_form");
    qn_run_close(&run);
}
END_TEST

// ---- whole runs ----

START_TEST(frozen_parameters_stay)
{
    static const char *const optimizers[] = {"momentum", "adam"};
    static const char *const slots[] = {"momentum_buffer", "exp_avg_sq"};
    const struct qn_parameter_group group = group_of("0.*:frozen=1");
    for (int k = 0; k < 2; k++) {
        struct qn_fit_params p = qn_fit_defaults();
        char slot[80];
        p.optimizer = optimizers[k];
        p.groups = &group;
        p.group_count = 1;
        p.weight_decay = 0.1;
        qn_checkpoint *first = small_run_to(p, SMALL_MODEL, 0);
        qn_checkpoint *last = small_run_to(p, SMALL_MODEL, 4);
        struct tensor a = small_tensor_of(first, "0.weight");
        struct tensor b = small_tensor_of(last, "0.weight");
        ck_assert_mem_eq(a.x, b.x, sizeof a.x);
        a = small_tensor_of(first, "2.weight");
        b = small_tensor_of(last, "2.weight");
        ck_assert_mem_ne(a.x, b.x, sizeof a.x);
        snprintf(slot, sizeof slot, "optimizer.%s.0.weight", slots[k]);
        const struct tensor s = small_tensor_of(last, slot);
        ck_assert_int_eq(s.count, 12 * 64);
        for (int i = 0; i < s.count; i++)
            ck_assert(s.x[i] == 0);
        qn_checkpoint_close(&first);
        qn_checkpoint_close(&last);
    }
}
END_TEST

// After one step of plain descent, decay has moved a weight by lr wd x and a
// bias not at all, as against a run without decay.
START_TEST(biases_are_not_decayed)
{
    static const char *const names[] = {"0.weight", "0.bias", "2.weight",
                                        "2.bias"};
    struct qn_fit_params p = qn_fit_defaults();
    p.lr = 0.5;
    qn_checkpoint *first = small_run_to(p, SMALL_MODEL, 0);
    qn_checkpoint *plain = small_run_to(p, SMALL_MODEL, 1);
    p.weight_decay = 0.25;
    p.no_decay_bias = true;
    qn_checkpoint *decayed = small_run_to(p, SMALL_MODEL, 1);
    for (int k = 0; k < 4; k++) {
        const struct tensor x = small_tensor_of(first, names[k]);
        const struct tensor a = small_tensor_of(plain, names[k]);
        const struct tensor b = small_tensor_of(decayed, names[k]);
        const double decay = k % 2 ? 0 : 0.5 * 0.25;
        for (int i = 0; i < x.count; i++)
            ck_assert_double_eq_tol((double)b.x[i],
                                    (double)a.x[i] - decay * (double)x.x[i],
                                    1e-7);
    }
    qn_checkpoint_close(&first);
    qn_checkpoint_close(&plain);
    qn_checkpoint_close(&decayed);
}
END_TEST

START_TEST(norms_hold_after_every_step)
{
    struct qn_fit_params p = qn_fit_defaults();
    int at_bound = 0;
    p.lr = 0.5;
    p.max_norm = 0.6;
    for (int step = 1; step <= 3; step++) {
        qn_checkpoint *last = small_run_to(p, SMALL_MODEL, step);
        for (int k = 0; k < 2; k++) {
            const struct tensor w = small_tensor_of(last, k ? "2.weight"
                                                      : "0.weight");
            const int rows = (int)w.shape.dims[0], row = w.count / rows;
            for (int u = 0; u < rows; u++) {
                double square = 0;
                for (int i = u * row; i < (u + 1) * row; i++)
                    square += (double)w.x[i] * (double)w.x[i];
                ck_assert_double_le(sqrt(square), 0.6 * (1 + 1e-6));
                at_bound += sqrt(square) > 0.6 * (1 - 1e-6);
            }
        }
        qn_checkpoint_close(&last);
    }
    ck_assert_int_gt(at_bound, 3);
    ck_assert_int_lt(at_bound, 3 * 22);
}
END_TEST

QN_CHECK_MAIN("around", groups_are_read, weights_are_told_from_the_rest,
              later_groups_win, patterns_that_match_nothing_are_named,
              settings_are_checked, runs_keep_their_settings,
              frozen_parameters_stay, biases_are_not_decayed,
              norms_hold_after_every_step)
