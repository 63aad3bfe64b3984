// quern bench optim: an update of many parameters by each rule, beside a copy
// and a pass in place over as much memory.
//
// Counted is the traffic that no update can do without: the gradient read,
// parameters and slots read and written.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

enum {
    SIDE = 1024, // the parameters: weights [SIDE, SIDE], each with a bias
    SUBJECTS = 3,
};

// ---- which rules ----

static bool is_named(const char *list, const char *name)
{
    const size_t length = strlen(name);
    for (; list; list = strchr(list, ',')) {
        list += *list == ',';
        if (strncmp(list, name, length) == 0 && strchr(",", list[length]))
            return true;
    }
    return false;
}

static bool is_wanted(const struct bench *bench, const struct qn_optimizer *row)
{
    return !bench->optimizers || is_named(bench->optimizers, row->name);
}

static int check_name(const struct bench *bench, const char *name)
{
    const char *names[256];
    int count = 0;
    const struct qn_optimizer *row;
    if (qn_optimizer_find(name))
        return EXIT_DONE;
    while (count < 256 && (row = qn_optimizer_at(count)))
        names[count++] = row->name;
    const char *nearest = qn_text_nearest(name, names, count);
    return usage_error(bench->command,
                       "unknown optimizer %s%s%s%s (quern list optimizers "
                       "shows all)", name, nearest ? "; did you mean " : "",
                       nearest ? nearest : "", nearest ? "?" : "");
}

int check_optim(const struct bench *bench)
{
    int status = EXIT_DONE;
    for (const char *at = bench->optimizers; at && status == EXIT_DONE;
         at = strchr(at, ',')) {
        char name[64];
        at += *at == ',';
        snprintf(name, sizeof name, "%.*s", (int)strcspn(at, ","), at);
        status = check_name(bench, name);
    }
    return status;
}

// ---- an update ----

// Parameters, their gradient and their slots in a store, and a plan that does
// nothing but update them.
struct update {
    qn_graph *graph;
    qn_store *store;
    qn_plan *plan;
    struct qn_optimizer_update nodes;
    struct qn_optimizer_step at;
};

// Weights and biases until there are `left` parameters, and as many gradients.
static void declare(qn_graph *g, int64_t left)
{
    char name[SHORT_TEXT];
    for (int i = 0; left > 0; i++) {
        const bool is_bias = i % 2;
        const int64_t most = is_bias ? SIDE : (int64_t)SIDE * SIDE;
        const int64_t count = left < most ? left : most;
        qn_shape shape = {1, {count}};
        if (!is_bias && count == most)
            shape = (qn_shape){2, {SIDE, SIDE}};
        snprintf(name, sizeof name, "%d.%s", i / 2,
                 is_bias ? "bias" : "weight");
        qn_parameter(g, name, shape);
        qn_variable(g, "gradient", name, QN_FLOAT32, shape);
        left -= count;
    }
}

// Numbers between -scale and scale: zeros or denormals could be faster or
// slower than what a training has.
static void fill(float *values, int64_t count, uint32_t seed, float scale)
{
    for (int64_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        values[i] = scale * ((float)(seed >> 8) / 8388608.0f - 1.0f);
    }
}

static qn_status fill_state(qn_store *store, qn_error *error)
{
    qn_status status = QN_OK;
    for (int i = 0; i < qn_store_count(store) && status == QN_OK; i++) {
        qn_store_entry entry;
        qn_store_entry_at(store, i, &entry);
        const bool is_gradient = strcmp(entry.group, "gradient") == 0;
        if (!is_gradient && strcmp(entry.group, "parameters") != 0)
            continue;
        const int64_t count = qn_shape_count(&entry.shape);
        const size_t size = (size_t)count * sizeof(float);
        float *values = malloc(size);
        if (!values) {
            *error = (qn_error){.status = QN_NO_MEMORY};
            return QN_NO_MEMORY;
        }
        fill(values, count, (uint32_t)i, is_gradient ? 0.01f : 0.1f);
        status = qn_store_write(store, i, values, size, error);
        free(values);
    }
    return status;
}

static void finish_update(struct update *update)
{
    qn_plan_destroy(&update->plan);
    qn_store_destroy(&update->store);
    qn_graph_destroy(&update->graph);
}

static qn_status init_update(const struct bench *bench,
                             const struct qn_optimizer *row,
                             struct update *update, qn_error *error)
{
    *update = (struct update){.at = qn_optimizer_start(row)};
    qn_graph *g = update->graph = qn_graph_create(QN_FLOAT32);
    const struct qn_optimizer_params params = qn_optimizer_defaults(row);
    if (g) {
        declare(g, bench->parameters);
        qn_optimizer_apply(g, qn_group(g, "gradient"), &params,
                           &update->nodes);
    }
    struct qn_plan_params how = {.graph = g};
    if (g && qn_graph_check(g, error) == QN_OK &&
        (update->store = qn_store_create(bench->device, error)) &&
        qn_store_add(update->store, g, error) == QN_OK &&
        fill_state(update->store, error) == QN_OK) {
        how.store = update->store;
        update->plan = qn_plan_create(bench->device, &how, error);
    }
    if (update->plan)
        return QN_OK;
    if (error->status == QN_OK)
        error->status = QN_NO_MEMORY;
    finish_update(update);
    return error->status;
}

// As in a training step: the numbers of the step, then the launches.
static qn_status run_update(void *thing, qn_error *error)
{
    struct update *update = thing;
    update->at.step++;
    if (qn_optimizer_set(&update->nodes, update->plan, &update->at) == QN_OK &&
        qn_plan_run(update->plan) == QN_OK)
        return QN_OK;
    *error = *qn_plan_error(update->plan);
    return error->status;
}

// ---- results ----

static void print_head(void)
{
    printf("%-14s%9s%9s%10s%9s%9s%10s\n", "optimizer", "launches", "B/param",
           "ns/param", "GB/s", "of copy", "in place");
}

static void report(const struct bench *bench, const struct qn_optimizer *row,
                   const struct update *update,
                   const struct subject subjects[SUBJECTS], int rounds)
{
    const struct subject *rule = &subjects[0];
    const double count = (double)bench->parameters;
    double rate[SUBJECTS];
    qn_plan_stats stats;
    qn_plan_describe(update->plan, &stats);
    for (int i = 0; i < SUBJECTS; i++)
        rate[i] = 1e-9 * subjects[i].work / subjects[i].median;
    const double share = share_of(rule, &subjects[1], rounds);
    const double in_place = share_of(rule, &subjects[2], rounds);
    const double each = rule->work / count;
    if (!bench->json) {
        printf("%-14s%9d%9.0f%10.3f%9.1f%9.2f%10.2f\n", row->name,
               stats.launches, each, 1e9 * rule->median / count, rate[0],
               share, in_place);
        fflush(stdout);
    }
    json_array_append_new(
        bench->results,
        json_pack("{ss ss sI si sf sf sf sf sf sf sf si}", "bench", "optim",
                  "optimizer", row->name, "parameters",
                  (json_int_t)bench->parameters, "launches", stats.launches,
                  "bytes_per_parameter", each, "seconds", rule->median,
                  "gbps", rate[0], "copy_gbps", rate[1], "copy_share", share,
                  "in_place_gbps", rate[2], "in_place_share", in_place,
                  "rounds", rounds));
}

// Parameters and the slots that the row keeps by default.
static int count_states(const struct qn_optimizer *row)
{
    const struct qn_optimizer_params params = qn_optimizer_defaults(row);
    int count = 1;
    for (int i = 0; i < row->slot_count; i++)
        count += qn_optimizer_has_slot(row, params.hyper, i);
    return count;
}

static int time_rule(struct bench *bench, const struct qn_optimizer *row,
                     double seconds)
{
    const int64_t floats = bench->parameters * (int64_t)sizeof(float);
    const int states = count_states(row);
    qn_gauge *copy = NULL, *in_place = NULL;
    struct update update;
    struct subject subjects[SUBJECTS] = {0};
    qn_error error = {0};
    int status = EXIT_DONE, rounds = 0;
    if (init_update(bench, row, &update, &error) != QN_OK)
        return fail_with(bench->command, &error);
    subjects[0] = (struct subject){
        .run = run_update, .thing = &update,
        .work = (double)floats * (1 + 2 * states)};
    const int64_t size = floats * (1 + states);
    copy = open_gauge(bench, QN_GAUGE_COPY, size, &subjects[1], &status);
    if (copy)
        in_place = open_gauge(bench, QN_GAUGE_IN_PLACE, size, &subjects[2],
                              &status);
    if (status == EXIT_DONE)
        status = time_subjects(bench, subjects, SUBJECTS, seconds, &rounds);
    if (status == EXIT_DONE) {
        report(bench, row, &update, subjects, rounds);
        finish_subjects(subjects, SUBJECTS);
    }
    qn_gauge_destroy(&copy);
    qn_gauge_destroy(&in_place);
    finish_update(&update);
    return status;
}

int run_optim(struct bench *bench)
{
    const struct qn_optimizer *row;
    int count = 0, status = EXIT_DONE;
    for (int i = 0; (row = qn_optimizer_at(i)); i++)
        count += is_wanted(bench, row);
    if (!bench->json)
        print_head();
    for (int i = 0; (row = qn_optimizer_at(i)) && status == EXIT_DONE; i++)
        if (is_wanted(bench, row))
            status = time_rule(bench, row, bench->seconds / count);
    return status;
}
