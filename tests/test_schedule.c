// Schedules against PyTorch's (golden/schedules.json, by golden/schedules.py),
// against their formulas written down again here, and as text and JSON.
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qn_check.h"
#include "quern/schedule.h"

static struct qn_schedule_params parse(const char *text)
{
    qn_error error = {0};
    struct qn_schedule_params params;
    ck_assert_ok(qn_schedule_parse(text, &params, &error), error);
    return params;
}

// ---- PyTorch ----

// A number, or a word for one that JSON has not.
static double number_of(const json_t *json)
{
    const char *word = json_string_value(json);
    if (!word)
        return json_number_value(json);
    return strcmp(word, "nan") == 0 ? (double)NAN
           : *word == '-'           ? (double)-INFINITY
                                    : (double)INFINITY;
}

// PyTorch works many of them out step by step, with an error that grows: 1e-12
// of the base is far above it and far below any other formula's difference.
static const double peer_tolerance = 1e-12;

static void expect_near(const char *text, const char *what, int step,
                        double got, double want, double scale)
{
    ck_assert_msg(fabs(got - want) <= peer_tolerance * scale,
                  "%s: %s of step %d is %.17g, not %.17g", text, what, step,
                  got, want);
}

static void follow_case(const json_t *json)
{
    const char *text = json_string_value(json_object_get(json, "text"));
    const json_t *rates = json_object_get(json, "lr");
    const json_t *momenta = json_object_get(json, "momenta");
    const json_t *metrics = json_object_get(json, "metrics");
    struct qn_schedule_params params = parse(text);
    struct qn_schedule_position at = {
        .base = json_number_value(json_object_get(json, "base")),
        .epoch_steps =
            json_number_value(json_object_get(json, "epoch_steps")),
        .steps = json_number_value(json_object_get(json, "steps"))};
    double momentum = json_number_value(json_object_get(json, "momentum"));
    struct qn_schedule_state state = qn_schedule_start(&params, at.base);
    at.state = &state;
    int count = (int)json_array_size(rates);
    ck_assert_int_ge(count, 100);
    for (int i = 0; i < count; i++) {
        at.step = i;
        double cycled = qn_schedule_momentum(&params, &at);
        expect_near(text, "lr", i, qn_schedule_value(&params, &at),
                    number_of(json_array_get(rates, (size_t)i)), 1);
        expect_near(text, "momentum", i,
                    isnan(cycled) ? momentum : cycled,
                    number_of(json_array_get(momenta, (size_t)i)), 1);
        if (!json_is_array(metrics))
            continue;
        double metric = number_of(json_array_get(metrics, (size_t)i));
        bool is_train = strstr(text, "train_") != NULL;
        // The other metrics must not matter.
        struct qn_schedule_metrics all = {
            .train_loss = -i, .train_accuracy = is_train ? metric : i,
            .test_loss = strstr(text, "accuracy") ? -i : metric,
            .test_accuracy = is_train ? i : metric};
        qn_schedule_observe(&params, &state, &all);
    }
}

START_TEST(rates_are_those_of_pytorch)
{
    json_error_t fault;
    size_t i;
    json_t *one;
    json_t *cases = json_load_file(TESTS_FOLDER "/golden/schedules.json", 0,
                                   &fault);
    ck_assert_msg(cases != NULL, "schedules.json: %s", fault.text);
    ck_assert_uint_ge(json_array_size(cases), 30);
    json_array_foreach(cases, i, one)
        follow_case(one);
    json_decref(cases);
}
END_TEST

// ---- the formulas, once more ----

// t counts epochs of 10 steps, the run has 60 of them, a0 is 0.5.
enum { EPOCH = 10, EPOCHS = 60 };

static double half_wave(double from, double to, double x)
{
    return (from + to) / 2 + (from - to) / 2 * cos(acos(-1) * x);
}

static double f_constant(double t)
{
    (void)t;
    return 0.5;
}

static double f_piecewise(double t)
{
    return t < 2.5 ? 1 : t < 40 ? 0.05 : 0.005;
}

static double f_step(double t)
{
    double rate = 0.5;
    for (double at = 7; at <= t; at += 7)
        rate *= 0.3;
    return rate;
}

static double f_multistep(double t)
{
    return t < 5 ? 0.5 : t < 33 ? 0.05 : 0.005;
}

static double f_exponential(double t)
{
    return 0.5 / pow(exp(0.07), floor(t));
}

static double f_exponential10(double t)
{
    return 0.5 * exp(-log(10) * t / 60);
}

static double f_exponential10_r(double t)
{
    return 0.5 * exp(-log(10) * floor(t) / 25);
}

static double f_inverse_time(double t)
{
    return 0.5 / (1 + 0.2 * t * 10); // in steps
}

static double f_power(double t)
{
    return 0.5 / (1 + floor(t) / 4);
}

static double f_power_c(double t)
{
    return 0.5 / ((1 + t / 4) * sqrt(1 + t / 4));
}

static double f_polynomial(double t)
{
    return 0.1 + 0.4 * (1 - t / 60) * (1 - t / 60) * (1 - t / 60);
}

static double f_line_ends(double t)
{
    return t < 20 ? 0.5 * (20 - t) / 20 : 0;
}

static double f_cosine(double t)
{
    return half_wave(0.5, 0.02, t / 60);
}

static double f_cosine_ends(double t)
{
    return t < 30 ? half_wave(0.5, 0, t / 30) : 0;
}

static double f_restarts(double t)
{
    double start = t < 4 ? 0 : t < 16 ? 4 : t < 52 ? 16 : 52;
    double length = t < 4 ? 4 : t < 16 ? 12 : t < 52 ? 36 : 108;
    return half_wave(0.5, 0.1, (t - start) / length);
}

// Steps 0 to 599: up until step 149, down until the last one.
static double f_one_cycle(double t)
{
    double step = t * 10, low = 0.5 / 10, end = 0.5 / 10 / 100;
    return step <= 149 ? half_wave(low, 0.5, step / 149)
                       : half_wave(0.5, end, (step - 149) / (599 - 149));
}

static double f_cyclic(double t)
{
    double step = t * 10, x = fmod(step, 40);
    double height = x < 10 ? x / 10 : (40 - x) / 30;
    return 0.125 + 0.375 * height * pow(0.5, floor(step / 40));
}

static double f_cyclic_epochs(double t)
{
    double x = fmod(t, 10);
    return 0.1 + 0.8 * (x < 5 ? x / 5 : 2 - x / 5) * exp(log(0.9) * t);
}

static double f_inverse_sqrt(double t)
{
    double n = t * 10 + 1;
    return n < 50 ? 0.5 * n / 50 : 0.5 / sqrt(n / 50);
}

static double f_warmup(double t)
{
    return t < 5 ? 0.5 * (1 + 2 * t / 5) / 3 : 0.5;
}

static double f_warm_cosine(double t)
{
    return t < 6 ? 0.5 * t / 6 : half_wave(0.5, 0, (t - 6) / 54);
}

static double f_warm_chained(double t)
{
    return half_wave(0.5, 0, t / 60) * (t < 6 ? t / 6 : 1);
}

// The warm-up ends at the first value of what follows.
static double f_warm_one_cycle(double t)
{
    double step = t * 10, low = 0.5 / 25;
    return step < 100   ? low * (0.2 + 0.8 * step / 100)
           : step < 250 ? low + (0.5 - low) * (step - 100) / 149
                        : 0.5 + (low / 1e4 - 0.5) * (step - 249) / 350;
}

static const struct {
    const char *text;
    double (*want)(double t);
} formulas[] = {
    {"constant", f_constant},
    {"piecewise:at=2.5/40,factor=2/0.1/0.01", f_piecewise},
    {"step:step_size=7,gamma=0.3", f_step},
    {"multistep:milestones=50/330,unit=step", f_multistep},
    {"exponential:k=0.07", f_exponential},
    {"exponential10:smooth=1", f_exponential10},
    {"exponential10:r=25", f_exponential10_r},
    {"inverse_time:k=0.2,unit=step", f_inverse_time},
    {"power:r=4", f_power},
    {"power:r=40,c=1.5,unit=step", f_power_c},
    {"polynomial:power=3,end_lr=0.1", f_polynomial},
    {"polynomial:length=200,unit=step", f_line_ends},
    {"cosine:eta_min=0.02", f_cosine},
    {"cosine:length=30", f_cosine_ends},
    {"cosine_restarts:T_0=4,T_mult=3,eta_min=0.1", f_restarts},
    {"one_cycle:pct_start=0.25,div_factor=10,final_div_factor=100",
     f_one_cycle},
    {"one_cycle:pct_start=0.25,div_factor=10,final_div_factor=100,unit=epoch",
     f_one_cycle},
    {"cyclic:step_size_up=10,step_size_down=30,mode=triangular2", f_cyclic},
    {"cyclic:base_lr=0.1,max_lr=0.9,step_size_up=5,mode=exp_range,gamma=0.9,"
     "unit=epoch", f_cyclic_epochs},
    {"inverse_sqrt:warmup=50", f_inverse_sqrt},
    {"warmup", f_warmup},
    {"warmup:length=60,unit=step,start_factor=0+cosine", f_warm_cosine},
    {"warmup:length=6,start_factor=0,mode=chained+cosine", f_warm_chained},
    {"warmup:length=10,start_factor=0.2+one_cycle:anneal_strategy=linear",
     f_warm_one_cycle},
};

START_TEST(rates_are_those_of_the_formulas)
{
    for (size_t i = 0; i < sizeof formulas / sizeof *formulas; i++) {
        struct qn_schedule_params params = parse(formulas[i].text);
        for (int step = 0; step < EPOCH * EPOCHS; step++) {
            struct qn_schedule_position at = {.base = 0.5,
                                              .step = step,
                                              .epoch_steps = EPOCH,
                                              .steps = EPOCH * EPOCHS};
            expect_near(formulas[i].text, "lr", step,
                        qn_schedule_value(&params, &at),
                        formulas[i].want(step / (double)EPOCH), 1);
        }
    }
}
END_TEST

// Every row is followed, here or by PyTorch's numbers.
START_TEST(every_row_has_a_formula)
{
    const struct qn_schedule *row;
    int rows = 0;
    for (; (row = qn_schedule_at(rows)); rows++) {
        size_t length = strlen(row->name);
        bool found = row->follows_metric; // plateau: by PyTorch's
        for (size_t i = 0; i < sizeof formulas / sizeof *formulas; i++)
            found |= strncmp(formulas[i].text, row->name, length) == 0 &&
                     strchr(":", formulas[i].text[length]) != NULL;
        ck_assert_msg(found, "%s has no formula here", row->name);
        ck_assert_ptr_eq(qn_schedule_find(row->name), row);
        parse(row->example);
    }
    ck_assert_int_ge(rows, 16);
    ck_assert_ptr_null(qn_schedule_at(-1));
    ck_assert_ptr_null(qn_schedule_find("nothing"));
}
END_TEST

// Behind the planned end nothing rises again, and tiny runs have a rate.
START_TEST(ends_are_held_and_short_runs_are_sane)
{
    static const char *const texts[] = {
        "cosine",    "polynomial",       "one_cycle:three_phase=1",
        "one_cycle", "warmup+one_cycle", "warmup+cosine", "exponential10"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct qn_schedule_params params = parse(texts[i]);
        ck_assert(qn_schedule_takes_length(&params));
        for (int steps = 1; steps < 12; steps++)
            for (int step = 0; step < 2 * steps; step++) {
                struct qn_schedule_position at = {.base = 0.5, .step = step,
                                                  .epoch_steps = 1,
                                                  .steps = steps};
                double rate = qn_schedule_value(&params, &at);
                ck_assert_msg(rate >= 0 && rate <= 0.5 + 1e-15,
                              "%s: %.17g at step %d of %d", texts[i], rate,
                              step, steps);
                at.step = steps;
                double end = qn_schedule_value(&params, &at);
                at.step = 2 * steps;
                bool falls = strcmp(texts[i], "exponential10") == 0 ||
                             params.has_warmup;
                ck_assert(falls || end == qn_schedule_value(&params, &at));
            }
    }
    struct qn_schedule_params fixed = parse("cosine:length=3");
    ck_assert(!qn_schedule_takes_length(&fixed));
}
END_TEST

// ---- text and JSON ----

static void expect_same(const char *text, const struct qn_schedule_params *a,
                        const struct qn_schedule_params *b)
{
    ck_assert_msg(a->schedule == b->schedule, "%s: another row", text);
    ck_assert_msg(a->has_warmup == b->has_warmup, "%s: warm-up", text);
    ck_assert_msg(memcmp(a->list_counts, b->list_counts,
                         sizeof a->list_counts) == 0, "%s: counts", text);
    ck_assert_msg(memcmp(a->lists, b->lists, sizeof a->lists) == 0,
                  "%s: lists", text);
    for (int i = 0; i < QN_MAX_SCHEDULE_KEYS; i++) {
        double x = a->values[i], y = b->values[i];
        ck_assert_msg(x == y || (isnan(x) && isnan(y)),
                      "%s: key %d is %.17g, not %.17g", text, i, x, y);
        ck_assert_msg(a->warmup[i] == b->warmup[i], "%s: warm-up's key %d",
                      text, i);
    }
}

static void go_round(const char *text)
{
    struct qn_schedule_params first = parse(text);
    char *written = qn_schedule_write(&first);
    char *json = qn_schedule_write_json(&first);
    ck_assert_ptr_nonnull(written);
    ck_assert_ptr_nonnull(json);
    struct qn_schedule_params second = parse(written), third = parse(json);
    expect_same(written, &second, &first);
    expect_same(json, &third, &first);
    free(written);
    free(json);
}

// Every key at some other value than its default.
static void go_round_all_keys(const struct qn_schedule *row)
{
    char text[1000], word[64];
    size_t used = (size_t)snprintf(text, sizeof text, "%s", row->name);
    for (int i = 0; i < row->key_count; i++) {
        const struct qn_schedule_key *key = &row->keys[i];
        double other = isnan(key->value) || key->value >= 1
                           ? 0.123456789012345678
                           : key->value / 3 + 0.1;
        if (key->choices)
            snprintf(word, sizeof word, "%s", strchr(key->choices, '|') + 1);
        word[key->choices ? strcspn(word, "|") : 0] = 0;
        if (key->choices && key->value == 1)
            snprintf(word, sizeof word, "%.*s",
                     (int)strcspn(key->choices, "|"), key->choices);
        if (strcmp(key->type, "list") == 0)
            snprintf(word, sizeof word, "%s", i ? "0.1/2/1e-7" : "1/1e+3");
        else if (strcmp(key->type, "count") == 0)
            snprintf(word, sizeof word, "%d", 7);
        else if (strcmp(key->type, "switch") == 0)
            snprintf(word, sizeof word, "%d", key->value != 1);
        else if (!key->choices)
            snprintf(word, sizeof word, "%.17g", other);
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s=%s",
                                 i ? "," : ":", key->name, word);
    }
    go_round(text);
}

START_TEST(text_and_json_go_round)
{
    const struct qn_schedule *row;
    for (int i = 0; (row = qn_schedule_at(i)); i++) {
        go_round(row->example);
        go_round_all_keys(row);
    }
    go_round("warmup:length=500,unit=step,mode=chained+plateau:patience=3");
    struct qn_schedule_params params = parse("warmup:length=5+constant");
    char *written = qn_schedule_write(&params);
    ck_assert_str_eq(written, "warmup");
    free(written);
    params = parse("cosine:eta_min=0,smooth=true,unit=epoch");
    written = qn_schedule_write(&params);
    ck_assert_str_eq(written, "cosine");
    free(written);
    params = parse("{\"name\": \"step\", \"gamma\": 0.5}");
    written = qn_schedule_write(&params);
    ck_assert_str_eq(written, "step:gamma=0.5");
    free(written);
}
END_TEST

START_TEST(faults_are_named)
{
    static const char *const cases[][2] = {
        {"cosin", "did you mean cosine?"},
        {"", "unknown schedule"},
        {"step:stepsize=3", "did you mean step_size?"},
        {"step:zzzzzzzzz=3", "it has step_size, gamma, unit"},
        {"constant:k=1", "it has no keys"},
        {"step:gamma", "\"gamma\" is not NAME=VALUE"},
        {"step:gamma=x", "gamma is \"x\" and must be a number"},
        {"step:gamma=", "must be a number"},
        {"step:gamma=0.1x", "must be a number"},
        {"step:gamma=nan", "must be a number"},
        {"step:gamma=1e999", "must be a number"},
        {"step:step_size=0", "step_size is 0 and must be from"},
        {"step:gamma=-1", "gamma is -1 and must be from 0"},
        {"step:unit=steps", "must be one of step|epoch"},
        {"step:unit=", "must be one of step|epoch"},
        {"cosine:smooth=2", "smooth is 2 and must be from 0 to 1"},
        {"cosine:smooth=yes", "must be 0 or 1"},
        {"cosine_restarts:T_mult=1.5", "must be a whole number"},
        {"plateau:factor=1", "factor is 1 and must be from"},
        {"plateau:patience=-1", "patience is -1"},
        {"plateau:monitor=loss", "test_loss|train_loss"},
        {"plateau:threshold=1", "must be below 1"},
        {"multistep", "needs milestones, such as"},
        {"multistep:milestones=30/20", "must rise"},
        {"multistep:milestones=30//40", "numbers with slashes"},
        {"piecewise:at=1/2,factor=1/2", "factor has 2 numbers and needs 3"},
        {"one_cycle:three_phase=1,pct_start=0.6", "0.5 at most"},
        {"cyclic:base_lr=2,max_lr=1", "must not exceed max_lr"},
        {"cosine+step", "only a warmup"},
        {"warmup+cosine+step", "nothing may follow"},
        {"warmup+warmup", "one warmup"},
        {"warmup+", "unknown schedule"},
        {"warmup:length=-1", "length is -1"},
        {"{\"gamma\": 1}", "needs a \"name\""},
        {"{\"name\": \"step\", \"gama\": 1}", "did you mean gamma?"},
        {"{\"name\": \"step\", \"gamma\": \"1\"}", "must be a number"},
        {"{\"name\": \"step\", \"gamma\": null}", "must be a number"},
        {"{\"name\": \"step\", \"unit\": 1}", "must be one of step|epoch"},
        {"{\"name\": \"step\", \"then\": {}}", "has no then"},
        {"{\"name\": \"multistep\", \"milestones\": [1, \"2\"]}",
         "numbers with slashes"},
        {"{\"name\": \"warmup\", \"then\": {\"name\": \"warmup\"}}",
         "one warmup"},
        {"{\"name\": \"warmup\", \"then\": 3}", "needs a \"name\""},
        {"{\"name\": \"step\"", "schedule:1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qn_error error = {0};
        struct qn_schedule_params params;
        qn_status status = qn_schedule_parse(cases[i][0], &params, &error);
        ck_assert_msg(status != QN_OK, "%s was accepted", cases[i][0]);
        ck_assert_msg(strstr(error.text, cases[i][1]) != NULL,
                      "%s: \"%s\" not in \"%s\"", cases[i][0], cases[i][1],
                      error.text);
    }
}
END_TEST

START_TEST(too_many_points_are_refused)
{
    char text[1200] = "multistep:milestones=0";
    qn_error error = {0};
    struct qn_schedule_params params;
    for (int i = 1; i < QN_MAX_SCHEDULE_POINTS; i++)
        snprintf(text + strlen(text), 16, "/%d", i);
    ck_assert_ok(qn_schedule_parse(text, &params, &error), error);
    strcat(text, "/1000");
    ck_assert_int_eq(qn_schedule_parse(text, &params, &error),
                     QN_BAD_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(error.text, "more than 64 numbers"));
}
END_TEST

QN_CHECK_MAIN("schedule", rates_are_those_of_pytorch,
              rates_are_those_of_the_formulas, every_row_has_a_formula,
              ends_are_held_and_short_runs_are_sane, text_and_json_go_round,
              faults_are_named, too_many_points_are_refused)
