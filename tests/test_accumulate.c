// Steps in micro-batches: the same as whole batches within rounding, whatever
// the loss, the penalties and the draws; what is refused; going on.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qn_check.h"
#include "train/train.h"

// 50 samples in batches of 20: two whole ones and one of 10. In parts of 8:
// 8, 8, 4 and 8, 2.
enum { TRAIN = 50, BATCH = 20, PART = 8, STEPS = 5, MAX_VALUES = 20000 };

static qn_dataset few_digits(void)
{
    return qn_check_digits(TRAIN, 20);
}

// ---- parts and whole ----

struct setting {
    const char *model, *loss, *optimizer;
    double lr, l1, l2;
    bool proximal;
    double clip_value, clip_norm, clip_global_norm, max_norm, ema;
    const struct qn_parameter_group *groups;
    int group_count;
    const char *on_nan;
    const char *what; // for the message
};

struct outcome {
    float parameters[MAX_VALUES];
    int count;
    float loss, right; // of the epoch under way
};

static float read_metric(qn_store *store, const char *name)
{
    qn_error error = {0};
    float value;
    int index = qn_store_find(store, QN_GROUP_METRICS, name);
    ck_assert_ok(qn_store_read(store, index, &value, sizeof value, &error),
                 error);
    return value;
}

static void read_parameters(qn_store *store, struct outcome *outcome)
{
    qn_error error = {0};
    outcome->count = 0;
    for (int i = 0; i < qn_store_count(store); i++) {
        qn_store_entry entry;
        qn_store_entry_at(store, i, &entry);
        if (strcmp(entry.group, "parameters") != 0 &&
            strcmp(entry.group, "average") != 0)
            continue;
        int count = (int)qn_shape_count(&entry.shape);
        ck_assert_int_le(outcome->count + count, MAX_VALUES);
        ck_assert_ok(qn_store_read(store, i,
                                   outcome->parameters + outcome->count,
                                   (size_t)count * sizeof(float), &error),
                     error);
        outcome->count += count;
    }
}

static void write_data(qn_store *store, const qn_dataset *data)
{
    static const char *const names[] = {"images", "labels", "order"};
    static const char *const groups[] = {QN_GROUP_IMAGES, QN_GROUP_LABELS,
                                         QN_GROUP_ORDER};
    qn_error error = {0};
    int32_t order[TRAIN];
    qn_shuffle(order, TRAIN, 3, 1);
    const void *const values[] = {data->train_x, data->train_y, order};
    const size_t sizes[] = {
        TRAIN * (size_t)qn_shape_count(&data->shape),
        TRAIN * sizeof *data->train_y, sizeof order};
    for (int i = 0; i < 3; i++)
        ck_assert_ok(qn_store_write(store,
                                    qn_store_find(store, groups[i], names[i]),
                                    values[i], sizes[i], &error), error);
}

static void resolve(const struct setting *setting, int64_t part,
                    const qn_model *model, const qn_dataset *data,
                    struct qn_settings *settings)
{
    qn_error error = {0};
    struct qn_fit_params params = qn_fit_defaults();
    params.model = model;
    params.dataset = data;
    params.batch_size = BATCH;
    params.micro_batch = part;
    params.lr = setting->lr;
    params.l1 = setting->l1;
    params.l2 = setting->l2;
    params.proximal = setting->proximal;
    params.clip_value = setting->clip_value;
    params.clip_norm = setting->clip_norm;
    params.clip_global_norm = setting->clip_global_norm;
    params.max_norm = setting->max_norm;
    params.ema = setting->ema;
    params.groups = setting->groups;
    params.group_count = setting->group_count;
    params.on_nan = setting->on_nan;
    if (setting->loss)
        params.loss = setting->loss;
    if (setting->optimizer)
        params.optimizer = setting->optimizer;
    ck_assert_ok(qn_settings_resolve(&params, settings, &error), error);
}

// STEPS steps in parts of `part` samples, 0: whole ones.
static void train(const struct setting *setting, int64_t part, int steps,
                  struct outcome *outcome)
{
    qn_error error = {0};
    struct qn_settings settings;
    struct qn_stepper *stepper;
    const qn_dataset data = few_digits();
    qn_model *model = qn_check_model(setting->model);
    resolve(setting, part, model, &data, &settings);
    qn_store *store = qn_store_create(qn_check_device(), &error);
    ck_assert_ok(qn_stepper_create(&settings, &stepper, &error), error);
    ck_assert_ok(qn_stepper_bind(stepper, qn_check_device(), store, 11,
                                 &error), error);
    ck_assert_ok(qn_model_init(model, store, 5, &error), error);
    write_data(store, &data);
    struct qn_optimizer_step at =
        qn_optimizer_start(settings.optimizer.optimizer);
    at.lr = settings.lr;
    int64_t sample = 0;
    for (int i = 0; i < steps; i++) {
        struct qn_step step = {&at, sample, BATCH};
        step.count = sample + BATCH > TRAIN ? TRAIN - sample : BATCH;
        at.step = i + 1;
        ck_assert_ok(qn_stepper_run(stepper, &step, &error), error);
        sample = (sample + step.count) % TRAIN;
    }
    read_parameters(store, outcome);
    outcome->loss = read_metric(store, QN_METRIC_LOSS);
    outcome->right = read_metric(store, QN_METRIC_CORRECT);
    ck_assert(read_metric(store, QN_METRIC_BAD) == 0);
    qn_stepper_destroy(&stepper);
    qn_store_destroy(&store);
    qn_model_destroy(&model);
}

static double largest_gap(const struct outcome *a, const struct outcome *b)
{
    double most = 0;
    ck_assert_int_eq(a->count, b->count);
    for (int i = 0; i < a->count; i++) {
        double gap = fabs((double)a->parameters[i] - (double)b->parameters[i]);
        most = gap > most || isnan(gap) ? gap : most;
    }
    return most;
}

// Sums of gradients are rounded in another order, 1e-6 of the largest; Adam
// divides by small ones.
static void expect_equal(const struct setting *setting)
{
    static struct outcome start, whole, parts;
    train(setting, 0, 0, &start);
    train(setting, 0, STEPS, &whole);
    train(setting, PART, STEPS, &parts);
    const char *what = setting->what ? setting->what : setting->model;
    double moved = largest_gap(&whole, &start);
    double gap = largest_gap(&parts, &whole);
    ck_assert_msg(moved > 0.005 && gap < 3e-5 * moved,
                  "%s: parts differ by %g, the steps moved by %g", what, gap,
                  moved);
    ck_assert_msg(parts.right == whole.right, "%s: %g right, not %g", what,
                  (double)parts.right, (double)whole.right);
    ck_assert_msg(fabsf(parts.loss - whole.loss) < 1e-5f * fabsf(whole.loss),
                  "%s: loss sum %.9g, not %.9g", what, (double)parts.loss,
                  (double)whole.loss);
}

static const char small[] = "16-tanh-10";

// Of weighted samples a mean of the parts' means would be another one: class
// weights and labels that do not count make the parts weigh differently.
START_TEST(all_losses_come_to_the_same)
{
    static const char *const losses[] = {
        "softmax_cross_entropy",
        "softmax_cross_entropy:weights=1/9/0.1/5/1/2/0.5/7/1/3",
        "softmax_cross_entropy:ignore_index=3,label_smoothing=0.1,"
        "weights=1/9/0.1/5/1/2/0.5/7/1/3",
        "mean_squared", "huber:delta=0.3", "hinge:squared=1",
        "bce_with_logits:pos_weight=3", "kl_divergence:batch_mean=1"};
    for (size_t i = 0; i < sizeof losses / sizeof *losses; i++)
        expect_equal(&(struct setting){.model = small, .loss = losses[i],
                                       .lr = 0.1, .what = losses[i]});
}
END_TEST

// Momentum and Adam; penalties are counted once a step, not once a part, and
// clipping comes after all parts.
START_TEST(updates_come_to_the_same)
{
    static const char tied[] =
        "{\"layers\": [{\"type\": \"dense\", \"units\": 10, \"name\": \"a\"}, "
        "{\"type\": \"dense\", \"units\": 10, \"name\": \"b\"}, "
        "{\"type\": \"dense\", \"units\": 10, \"tie\": {\"to\": \"b\", "
        "\"weight\": 0.5}}]}";
    const struct setting settings[] = {
        {small, .optimizer = "momentum", .lr = 0.05, .what = "momentum"},
        {small, .optimizer = "adam:eps=1e-4", .lr = 0.01, .what = "adam"},
        {small, .lr = 0.1, .l1 = 0.05, .l2 = 0.5, .what = "penalties"},
        {small, .lr = 0.1, .l1 = 0.05, .proximal = true, .what = "proximal"},
        {tied, .lr = 0.1, .l2 = 0.01, .what = "ties"},
        {small, .lr = 0.5, .clip_value = 0.02, .what = "clip_value"},
        {small, .lr = 0.5, .clip_norm = 0.05, .what = "clip_norm"},
        {small, .lr = 0.5, .clip_global_norm = 0.1, .l2 = 0.1,
         .what = "clip_global_norm"},
    };
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        expect_equal(&settings[i]);
}
END_TEST

// Groups with rates of their own, one frozen, whose gradient is not even taken;
// bounds, averages, lars by norms; and what decides about skipping.
START_TEST(all_around_updates_comes_to_the_same)
{
    struct qn_parameter_group groups[2];
    qn_error error = {0};
    ck_assert_ok(qn_parameter_group_parse("0.weight:frozen=1", &groups[0],
                                          &error), error);
    ck_assert_ok(qn_parameter_group_parse("*.bias:lr_scale=3,weight_decay=0",
                                          &groups[1], &error), error);
    const struct setting settings[] = {
        {small, .lr = 0.1, .groups = groups, .group_count = 2,
         .what = "groups"},
        {small, .lr = 0.5, .max_norm = 0.5, .ema = 0.8, .what = "max_norm"},
        {small, .optimizer = "lars", .lr = 5, .l2 = 0.1, .what = "lars"},
        {small, .optimizer = "nesterov:lookahead=1", .lr = 0.05, .ema = 0.8,
         .what = "lookahead"},
        {small, .lr = 0.1, .on_nan = "skip", .clip_value = 0.02,
         .what = "skip"},
    };
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        expect_equal(&settings[i]);
}
END_TEST

// Each sample gets the draws that it has in the whole batch.
START_TEST(draws_come_to_the_same)
{
    static const char *const models[] = {
        "16-relu-dropout0.4-10",
        "16-rrelu-dropconnect10",
        "{\"layers\": [{\"type\": \"flatten\"}, {\"type\": \"dropconnect\", "
        "\"units\": 10, \"masks\": \"batch\"}]}",
        "{\"layers\": [{\"type\": \"conv\", \"filters\": 4, \"kernel\": 3}, "
        "{\"type\": \"spatial_dropout\"}, {\"type\": \"group_norm\", "
        "\"groups\": 2}, {\"type\": \"fractional_max_pool\", "
        "\"size\": [3, 3]}, {\"type\": \"flatten\"}, {\"type\": \"dense\", "
        "\"units\": 10}]}",
    };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        expect_equal(&(struct setting){.model = models[i], .lr = 0.05});
}
END_TEST

// Any division into parts; one of a batch's size or more is none.
START_TEST(every_size_of_part_comes_to_the_same)
{
    static struct outcome whole, parts;
    const struct setting setting = {.model = "16-relu-dropout0.4-10",
                                    .lr = 0.1};
    train(&setting, 0, STEPS, &whole);
    for (int64_t part = 1; part <= BATCH; part += part < 3 ? 1 : 6) {
        train(&setting, part, STEPS, &parts);
        ck_assert_double_lt(largest_gap(&parts, &whole), 1e-6);
    }
    train(&setting, BATCH + 1, STEPS, &parts);
    ck_assert(largest_gap(&parts, &whole) == 0);
}
END_TEST

// ---- statistics over the batch ----

static struct qn_fit_params fit_params(const qn_model *model,
                                       const qn_dataset *data)
{
    struct qn_fit_params params = qn_fit_defaults();
    params.model = model;
    params.dataset = data;
    params.epochs = 2;
    params.batch_size = BATCH;
    params.micro_batch = PART;
    params.optimizer = "adam";
    return params;
}

START_TEST(batch_statistics_are_refused_unless_asked_for)
{
    qn_error error = {0};
    qn_fit_result result;
    const qn_dataset data = few_digits();
    qn_model *model = qn_check_model(
        "{\"layers\": [{\"type\": \"flatten\"}, {\"type\": \"residual\", "
        "\"layers\": [{\"type\": \"dense\", \"units\": 64}, "
        "{\"type\": \"batch_norm\"}]}, {\"type\": \"dense\", "
        "\"units\": 10}]}");
    struct qn_fit_params params = fit_params(model, &data);
    ck_assert_int_eq(qn_fit(qn_check_device(), &params, &result, &error),
                     QN_BAD_ARGUMENT);
    ck_assert_msg(strstr(error.text, "layer 1.layers.1 (batch_norm)") &&
                      strstr(error.text, "micro-batches of 8"),
                  "%s", error.text);
    // Parts as large as the batch are no parts.
    params.micro_batch = BATCH;
    error = (qn_error){0};
    ck_assert_ok(qn_fit_check(&params, &error), error);
    params.micro_batch = PART;
    params.allow_micro_statistics = true;
    ck_assert_ok(qn_fit(qn_check_device(), &params, &result, &error), error);
    ck_assert_int_eq(result.steps, 6);
    qn_model_destroy(&model);
}
END_TEST

// ---- going on ----

static void run_well(const struct qn_fit_params *params,
                     qn_fit_result *result)
{
    qn_error error = {0};
    ck_assert_ok(qn_fit(qn_check_device(), params, result, &error), error);
}

// Stopped in the middle of an epoch, whose last step has other parts.
START_TEST(stopped_run_goes_on_bit_by_bit)
{
    qn_fit_result once, pieces;
    const qn_dataset data = few_digits();
    qn_model *model = qn_check_model("16-relu-dropout0.2-10");
    struct qn_fit_params params = fit_params(model, &data);
    run_well(&params, &once);
    params.out = qn_check_path("pieces");
    params.max_steps = 2;
    run_well(&params, &pieces);
    ck_assert_str_ne(pieces.parameters_sha256, once.parameters_sha256);
    params.max_steps = -1;
    params.resume = params.out;
    run_well(&params, &pieces);
    ck_assert_int_eq(pieces.steps, 6);
    ck_assert_str_eq(pieces.parameters_sha256, once.parameters_sha256);
    ck_assert(pieces.train_loss == once.train_loss);
    ck_assert(pieces.test_loss == once.test_loss);
    qn_model_destroy(&model);
}
END_TEST

// Parts may be others in a run that goes on, but not where statistics are
// taken over them. The run tells what it had.
START_TEST(parts_may_change_and_statistics_not)
{
    qn_error error = {0};
    qn_fit_result result;
    const qn_dataset data = few_digits();
    static const char *const models[] = {"16-relu-10",
                                         "16-batch_norm-relu-10"};
    for (int i = 0; i < 2; i++) {
        qn_model *model = qn_check_model(models[i]);
        struct qn_fit_params params = fit_params(model, &data);
        params.allow_micro_statistics = i == 1;
        params.max_steps = 2;
        params.out = qn_check_path(i ? "statistics" : "parts");
        run_well(&params, &result);
        qn_run *run = qn_run_open(params.out, &error);
        ck_assert_ptr_nonnull(run);
        ck_assert_int_eq(qn_run_params(run)->micro_batch, PART);
        ck_assert(qn_run_params(run)->allow_micro_statistics == (i == 1));
        qn_run_close(&run);
        params.max_steps = -1;
        params.resume = params.out;
        params.micro_batch = 5;
        qn_status status =
            qn_fit(qn_check_device(), &params, &result, &error);
        ck_assert_int_eq(status, i ? QN_BAD_ARGUMENT : QN_OK);
        ck_assert_msg(!i || strstr(error.text, "micro_batch 8, not 5"), "%s",
                      error.text);
        qn_model_destroy(&model);
    }
}
END_TEST

QN_CHECK_MAIN("accumulate", all_losses_come_to_the_same,
              updates_come_to_the_same, all_around_updates_comes_to_the_same,
              draws_come_to_the_same,
              every_size_of_part_comes_to_the_same,
              batch_statistics_are_refused_unless_asked_for,
              stopped_run_goes_on_bit_by_bit,
              parts_may_change_and_statistics_not)
