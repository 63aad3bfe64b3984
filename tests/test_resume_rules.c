// Every update rule goes on from a checkpoint as if it had not stopped, bit by
// bit: all state that it has is saved. Under a rate and, where the rule has
// one, a momentum that change from step to step.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drive.h"
#include "qn_check.h"
#include "quern/train.h"

// ---- a plan ----

static void expect_same(qn_store *a, qn_store *b, const char *name)
{
    qn_store_entry entry;
    qn_error error = {0};
    ck_assert_int_eq(qn_store_count(a), qn_store_count(b));
    for (int i = 0; i < qn_store_count(a); i++) {
        char data[2][512];
        ck_assert_int_eq(qn_store_entry_at(a, i, &entry), QN_OK);
        const size_t size = (size_t)qn_shape_count(&entry.shape) *
                            qn_dtype_size(entry.dtype);
        const int other = qn_store_find(b, entry.group, entry.name);
        ck_assert(other >= 0 && size <= sizeof *data);
        ck_assert_ok(qn_store_read(a, i, data[0], size, &error), error);
        ck_assert_ok(qn_store_read(b, other, data[1], size, &error), error);
        ck_assert_msg(memcmp(data[0], data[1], size) == 0,
                      "%s: %s of %s is not as without a stop", name,
                      entry.group, entry.name);
    }
}

static void stop_and_go_on(const struct course *c, int stop, int end)
{
    struct drive whole, part, rest;
    qn_error error = {0};
    const char *path = qn_check_path("rule.safetensors");
    drive_begin(&whole, c, QN_FLOAT32);
    drive_advance(&whole, end);
    drive_begin(&part, c, QN_FLOAT32);
    drive_advance(&part, stop);
    ck_assert_ok(qn_checkpoint_save(path, part.store, NULL, 0, &error),
                 error);
    const struct qn_optimizer_step at = part.at;
    drive_finish(&part);
    drive_begin(&rest, c, QN_FLOAT32);
    qn_checkpoint *checkpoint = qn_checkpoint_open(path, &error);
    ck_assert_msg(checkpoint != NULL, "%s", error.text);
    ck_assert_ok(qn_checkpoint_load(checkpoint, rest.store, false, &error),
                 error);
    qn_checkpoint_close(&checkpoint);
    rest.at = at;
    drive_advance(&rest, end);
    expect_same(whole.store, rest.store, c->name);
    drive_finish(&rest);
    drive_finish(&whole);
}

START_TEST(plans_go_on_bit_by_bit)
{
    for (int r = 0; qn_optimizer_at(r); r++) {
        const char *name = qn_optimizer_at(r)->name;
        int count = 0;
        for (int i = 0; i < course_count(); i++) {
            struct course c = course_at(i, &small_dense);
            if (strcmp(c.rule->name, name) != 0)
                continue;
            c.rate_moves = c.momentum_moves = true;
            stop_and_go_on(&c, 3, 7);
            count++;
        }
        ck_assert_msg(count > 0, "%s has no case in golden/optim.json", name);
    }
}
END_TEST

// ---- the trainer ----

static qn_dataset *digits;

struct outcome {
    char parameters[65];
    char all[65]; // of the checkpoint: slots and averages too
};

static struct outcome fit(const char *optimizer, const char *out,
                          const char *resume, int64_t steps)
{
    qn_error error = {0};
    qn_fit_result result;
    char path[400];
    struct outcome outcome;
    qn_dataset few = *digits;
    few.train_count = 150;
    few.test_count = 20;
    qn_model *model = qn_model_create("4-tanh-10", &error);
    ck_assert_msg(model != NULL, "%s", error.text);
    struct qn_fit_params params = qn_fit_defaults();
    params.model = model;
    params.dataset = &few;
    params.batch_size = 64;
    params.epochs = 2;
    params.max_steps = steps;
    params.optimizer = optimizer;
    params.out = out;
    params.resume = resume;
    ck_assert_ok(qn_fit(qn_check_device(), &params, &result, &error), error);
    ck_assert_int_eq(result.steps, steps);
    qn_model_destroy(&model);
    snprintf(path, sizeof path, "%s/last.safetensors", out);
    qn_checkpoint *checkpoint = qn_checkpoint_open(path, &error);
    ck_assert_msg(checkpoint != NULL, "%s", error.text);
    snprintf(outcome.parameters, sizeof outcome.parameters, "%s",
             result.parameters_sha256);
    snprintf(outcome.all, sizeof outcome.all, "%s",
             qn_checkpoint_note(checkpoint, "quern.sha256"));
    qn_checkpoint_close(&checkpoint);
    return outcome;
}

// As `quern train --optimizer` takes it.
static void write_settings(const struct course *c, char *text, size_t size)
{
    const char *name;
    double value;
    int used = snprintf(text, size, "%s", c->rule->name);
    for (int i = 0; (name = course_setting(c->index, i, &value)); i++) {
        used += snprintf(text + used, size - (size_t)used, "%c%s=%.12g",
                         i ? ',' : ':', name, value);
        ck_assert_int_lt(used, (int)size);
    }
}

// Epochs of three steps; a stop within the first one and one within the last.
static void fit_in_pieces(const struct course *c)
{
    char optimizer[300], once[40], pieces[40];
    write_settings(c, optimizer, sizeof optimizer);
    snprintf(once, sizeof once, "once-%d", c->index);
    snprintf(pieces, sizeof pieces, "pieces-%d", c->index);
    const char *out = qn_check_path(pieces);
    struct outcome whole = fit(optimizer, qn_check_path(once), NULL, 5);
    fit(optimizer, out, NULL, 2);
    struct outcome part = fit(optimizer, out, out, 5);
    ck_assert_msg(strcmp(part.parameters, whole.parameters) == 0,
                  "%s: other parameters after a stop", optimizer);
    ck_assert_msg(strcmp(part.all, whole.all) == 0,
                  "%s: another state after a stop", optimizer);
}

START_TEST(runs_go_on_bit_by_bit)
{
    qn_error error = {0};
    digits = qn_dataset_open("digits", &error);
    ck_assert_msg(digits != NULL, "%s", error.text);
    for (int r = 0; qn_optimizer_at(r); r++) {
        const char *name = qn_optimizer_at(r)->name;
        int count = 0;
        for (int i = 0; i < course_count(); i++) {
            struct course c = course_at(i, &small_dense);
            if (strcmp(c.rule->name, name) != 0)
                continue;
            fit_in_pieces(&c);
            count++;
        }
        ck_assert_int_gt(count, 0);
    }
    qn_dataset_destroy(&digits);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {plans_go_on_bit_by_bit,
                                  runs_go_on_bit_by_bit};
    const int status = qn_check_run("resume_rules", tests, 2);
    course_close();
    return status;
}
