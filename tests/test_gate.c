// The update's gate and its watch, and the gate of assignments: which steps
// change what, bit by bit.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/graph.h"
#include "qn_check.h"
#include "quern/op.h"
#include "quern/optim.h"

// "0.weight" takes two chunks, "0.bias" one; gaps of alignment lie behind both.
enum {
    WEIGHTS = 5000,
    BIASES = 3,
    PLACE_OF_BIASES = 5120,
    FLAT = 5120 + 128,
    CHUNKS = 3,
    SECOND_CHUNK = 4096,
    STATES = 8,
};

static bool is_emulated(void)
{
    return qn_device_describe(qn_check_device())->type == QN_DEVICE_EMULATOR;
}

// ---- an update along gradients from the host ----

struct updater {
    qn_graph *g;
    qn_store *store;
    qn_plan *plan;
    qn_node *gradient, *gate;
    struct qn_optimizer_update update;
    struct qn_optimizer_step at;
};

struct kind {
    const char *optimizer;
    bool has_gate, is_watched, needs_finite_gradient;
    bool has_max_norm; // in a launch of its own
};

static void begin(struct updater *u, const struct kind *kind)
{
    qn_error error = {0};
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    struct qn_optimizer_params params =
        qn_optimizer_defaults(qn_optimizer_find(kind->optimizer));
    *u = (struct updater){.g = g};
    u->at = qn_optimizer_start(params.optimizer);
    qn_parameter(g, "0.weight", qn_shape_of(WEIGHTS));
    qn_parameter(g, "0.bias", qn_shape_of(BIASES));
    u->gradient = qn_input(g, "gradient", QN_FLOAT32, qn_shape_of(FLAT));
    u->gate = qn_input(g, "gate", QN_FLOAT32, qn_shape_of(1));
    params.gate = kind->has_gate ? u->gate : NULL;
    params.is_watched = kind->is_watched;
    params.needs_finite_gradient = kind->needs_finite_gradient;
    params.average = 0.5;
    struct qn_parameter_options options[2];
    for (int i = 0; i < 2; i++) {
        options[i] = qn_parameter_options_defaults();
        options[i].units = QN_UNITS_ALL;
        options[i].max_norm = kind->has_max_norm ? 0.01 : 0;
    }
    params.options = options;
    qn_optimizer_apply(g, u->gradient, &params, &u->update);
    ck_assert_ok(qn_graph_check(g, &error), error);
    ck_assert_int_eq(u->update.chunk_count, CHUNKS);
    u->store = qn_store_create(qn_check_device(), &error);
    ck_assert_msg(u->store != NULL, "%s", error.text);
    ck_assert_ok(qn_store_add(u->store, g, &error), error);
    const struct qn_plan_params plan = {
        .graph = g, .store = u->store, .outputs = &u->update.gate,
        .output_count = kind->needs_finite_gradient};
    u->plan = qn_plan_create(qn_check_device(), &plan, &error);
    ck_assert_msg(u->plan != NULL, "%s", error.text);
}

static void finish(struct updater *u)
{
    qn_plan_destroy(&u->plan);
    qn_store_destroy(&u->store);
    qn_graph_destroy(&u->g);
}

// Step `number` along a gradient that follows from it, `bad` at one element.
static void step(struct updater *u, int number, float gate, int element,
                 float bad)
{
    static float gradient[FLAT];
    struct qn_check_rng rng = {(uint64_t)number};
    for (int i = 0; i < FLAT; i++) {
        const double draw = qn_check_uniform(&rng, -1, 1);
        const bool is_gap = i >= WEIGHTS && (i < PLACE_OF_BIASES ||
                                             i >= PLACE_OF_BIASES + BIASES);
        gradient[i] = is_gap ? 0 : (float)draw;
    }
    if (element >= 0)
        gradient[element] = bad;
    u->at.step = number;
    u->at.lr = 0.01;
    ck_assert_int_eq(qn_optimizer_set(&u->update, u->plan, &u->at), QN_OK);
    ck_assert_int_eq(qn_plan_write(u->plan, u->gradient, gradient,
                                   sizeof gradient), QN_OK);
    if (u->update.gate)
        qn_plan_write(u->plan, u->gate, &gate, sizeof gate);
    ck_assert_int_eq(qn_plan_run(u->plan), QN_OK);
}

static void good_step(struct updater *u, int number)
{
    step(u, number, 1, -1, 0);
}

// ---- all that an update changes, but the watch ----

struct states {
    float values[STATES][WEIGHTS];
    int count;
};

static struct states *read_states(struct updater *u)
{
    struct states *states = calloc(1, sizeof *states);
    ck_assert_ptr_nonnull(states);
    for (int i = 0; i < qn_store_count(u->store); i++) {
        qn_store_entry entry;
        qn_error error;
        ck_assert_int_eq(qn_store_entry_at(u->store, i, &entry), QN_OK);
        if (entry.group[0] == '@')
            continue;
        ck_assert_int_lt(states->count, STATES);
        ck_assert_ok(qn_store_read(
            u->store, i, states->values[states->count++],
            (size_t)qn_shape_count(&entry.shape) * sizeof(float), &error),
            error);
    }
    return states;
}

static void expect_same(struct states *a, struct states *b)
{
    ck_assert_int_eq(a->count, b->count);
    ck_assert_mem_eq(a, b, sizeof *a);
    free(a);
    free(b);
}

static void expect_watch(struct updater *u, int a, int b, int c, int last)
{
    const int32_t want[CHUNKS + 1] = {a, b, c, last};
    int32_t got[CHUNKS + 1];
    qn_error error;
    const int i = qn_store_find(u->store, "@optimizer.watch", "chunks");
    ck_assert_int_ge(i, 0);
    ck_assert_ok(qn_store_read(u->store, i, got, sizeof got, &error), error);
    for (int k = 0; k <= CHUNKS; k++)
        ck_assert_msg(got[k] == want[k], "watch[%d] is %d, not %d", k, got[k],
                      want[k]);
}

// ---- the tests ----

// One launch with slots and without; norms before it; two launches.
static const char *const rules[] = {"adam", "sgd", "lars", "lamb"};

static int rule_count(void)
{
    return is_emulated() ? 1 : 4;
}

static const float shut[] = {NAN, INFINITY, -INFINITY};

// A step with a shut gate is one that was left out; an open gate is none.
START_TEST(gate_leaves_steps_out)
{
    for (int i = 0; i < rule_count(); i++) {
        struct updater gated, free_one;
        begin(&gated, &(struct kind){rules[i], .has_gate = true,
                                     .has_max_norm = i == 0});
        begin(&free_one, &(struct kind){rules[i], .has_max_norm = i == 0});
        good_step(&gated, 1);
        good_step(&free_one, 1);
        struct states *before = read_states(&gated);
        for (int k = 0; k < 3; k++)
            step(&gated, 2 + k, shut[k], -1, 0);
        expect_same(read_states(&gated), before);
        good_step(&gated, 5);
        good_step(&free_one, 5);
        expect_same(read_states(&gated), read_states(&free_one));
        finish(&gated);
        finish(&free_one);
    }
}
END_TEST

// With a watch the gate stays shut, so that what the bad step met is kept.
START_TEST(watched_gate_stays_shut)
{
    for (int i = 0; i < (is_emulated() ? 1 : 2); i++) {
        struct updater u;
        begin(&u, &(struct kind){i ? "lamb" : "adam", .has_gate = true,
                                 .is_watched = true, .has_max_norm = true});
        good_step(&u, 1);
        expect_watch(&u, 0, 0, 0, 0);
        struct states *before = read_states(&u);
        step(&u, 2, NAN, 7, NAN);
        good_step(&u, 3);
        step(&u, 4, INFINITY, -1, 0);
        expect_same(read_states(&u), before);
        expect_watch(&u, 0, 0, 0, 2);
        finish(&u);
    }
}
END_TEST

START_TEST(watch_changes_nothing_else)
{
    struct updater watched, free_one;
    begin(&watched, &(struct kind){rules[0], .has_gate = true,
                                   .is_watched = true});
    begin(&free_one, &(struct kind){rules[0]});
    for (int k = 1; k <= 3; k++) {
        good_step(&watched, k);
        good_step(&free_one, k);
    }
    expect_same(read_states(&watched), read_states(&free_one));
    expect_watch(&watched, 0, 0, 0, 0);
    finish(&watched);
    finish(&free_one);
}
END_TEST

// The last element of the second chunk, an infinity among the biases, the
// first element of all.
START_TEST(watch_keeps_the_first_bad_step_of_each_chunk)
{
    for (int has_gate = 0; has_gate < 2; has_gate++) {
        struct updater u;
        begin(&u, &(struct kind){"sgd", .has_gate = has_gate,
                                 .is_watched = true});
        good_step(&u, 1);
        step(&u, 2, 1, WEIGHTS - 1, NAN);
        expect_watch(&u, 0, 2, 0, 0);
        step(&u, 3, 1, PLACE_OF_BIASES + 1, -INFINITY);
        step(&u, 4, 1, SECOND_CHUNK, NAN);
        step(&u, 5, 1, 0, INFINITY);
        step(&u, 6, 1, 1, NAN);
        expect_watch(&u, 5, 2, 3, 0);
        finish(&u);
    }
}
END_TEST

// Finite gradients may be as large as floats are.
START_TEST(finite_gradients_are_none_of_the_watchs)
{
    struct updater u;
    begin(&u, &(struct kind){"sgd", .is_watched = true});
    step(&u, 1, 1, 17, 3e38f);
    step(&u, 2, 1, PLACE_OF_BIASES, -3e38f);
    expect_watch(&u, 0, 0, 0, 0);
    finish(&u);
}
END_TEST

// One bad element anywhere leaves the whole step out, and the update says so.
START_TEST(bad_gradient_shuts_the_gate)
{
    static const int elements[] = {3, SECOND_CHUNK + 40, WEIGHTS - 1,
                                   PLACE_OF_BIASES + 2};
    for (int i = 0; i < rule_count(); i++) {
        struct updater gated, free_one;
        float gate;
        begin(&gated, &(struct kind){rules[i], .has_gate = true,
                                     .needs_finite_gradient = true});
        begin(&free_one, &(struct kind){rules[i]});
        good_step(&gated, 1);
        good_step(&free_one, 1);
        qn_plan_read(gated.plan, gated.update.gate, &gate, sizeof gate);
        ck_assert(isfinite(gate));
        struct states *before = read_states(&gated);
        for (int k = 0; k < (is_emulated() ? 1 : 4); k++) {
            step(&gated, 2 + k, 1, elements[k], shut[k % 3]);
            qn_plan_read(gated.plan, gated.update.gate, &gate, sizeof gate);
            ck_assert(!isfinite(gate));
        }
        step(&gated, 6, NAN, -1, 0);
        expect_same(read_states(&gated), before);
        good_step(&gated, 7);
        good_step(&free_one, 7);
        expect_same(read_states(&gated), read_states(&free_one));
        finish(&gated);
        finish(&free_one);
    }
}
END_TEST

// ---- assignments ----

// total += x, hits (int32) = x rounded, last = 2 x: the first two are declared
// before the gate, the last one after it.
struct assigner {
    qn_graph *g;
    qn_store *store;
    qn_plan *plan;
    qn_node *x, *gate;
};

static void begin_assigning(struct assigner *a)
{
    qn_error error = {0};
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    const qn_shape shape = qn_shape_of(2, 3);
    *a = (struct assigner){.g = g};
    a->x = qn_input(g, "x", QN_FLOAT32, shape);
    qn_node *raw = qn_input(g, "gate", QN_FLOAT32, qn_shape_of(1));
    qn_node *total = qn_variable(g, "s", "total", QN_FLOAT32, shape);
    qn_node *hits = qn_variable(g, "i", "hits", QN_INT32, shape);
    qn_node *last = qn_variable(g, "s", "last", QN_FLOAT32, shape);
    qn_assign(g, total, qn_add(g, total, a->x));
    qn_assign(g, hits, qn_cast(g, a->x, QN_INT32));
    a->gate = raw;
    ck_assert_int_eq(qn_assign_gate(g, qn_neg(g, raw)), QN_OK);
    qn_assign(g, last, qn_scale(g, a->x, 2));
    ck_assert_ok(qn_graph_verify(g, &error), error);
    a->store = qn_store_create(qn_check_device(), &error);
    ck_assert_ok(qn_store_add(a->store, g, &error), error);
    const struct qn_plan_params plan = {.graph = g, .store = a->store};
    a->plan = qn_plan_create(qn_check_device(), &plan, &error);
    ck_assert_msg(a->plan != NULL, "%s", error.text);
}

static void expect_values(struct assigner *a, float total, int hits,
                          float last)
{
    float totals[6], lasts[6];
    int32_t counts[6];
    qn_error error;
    qn_store *store = a->store;
    ck_assert_ok(qn_store_read(store, qn_store_find(store, "s", "total"),
                               totals, sizeof totals, &error), error);
    ck_assert_ok(qn_store_read(store, qn_store_find(store, "i", "hits"),
                               counts, sizeof counts, &error), error);
    ck_assert_ok(qn_store_read(store, qn_store_find(store, "s", "last"),
                               lasts, sizeof lasts, &error), error);
    for (int i = 0; i < 6; i++) {
        ck_assert(totals[i] == total);
        ck_assert_int_eq(counts[i], hits);
        ck_assert(lasts[i] == last || (isnan(last) && isnan(lasts[i])));
    }
}

static void assign(struct assigner *a, float x, float gate)
{
    const float values[6] = {x, x, x, x, x, x};
    qn_plan_write(a->plan, a->x, values, sizeof values);
    qn_plan_write(a->plan, a->gate, &gate, sizeof gate);
    ck_assert_int_eq(qn_plan_run(a->plan), QN_OK);
}

START_TEST(gated_assignments_wait)
{
    struct assigner a;
    begin_assigning(&a);
    assign(&a, 3, -1e38f);
    expect_values(&a, 3, 3, 6);
    for (int k = 0; k < 3; k++) {
        assign(&a, NAN, shut[k]);
        expect_values(&a, 3, 3, NAN);
        assign(&a, 7, shut[k]);
        expect_values(&a, 3, 3, 14);
    }
    assign(&a, 4, 0);
    expect_values(&a, 7, 4, 8);
    qn_plan_destroy(&a.plan);
    qn_store_destroy(&a.store);
    qn_graph_destroy(&a.g);
}
END_TEST

static void expect_refusal(qn_graph *g, const char *want)
{
    qn_error error = {0};
    ck_assert_int_eq(qn_graph_check(g, &error), QN_BAD_ARGUMENT);
    ck_assert_msg(strstr(error.text, want) != NULL, "%s", error.text);
    qn_graph_destroy(&g);
}

START_TEST(assignments_that_are_read_have_no_gate)
{
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *x = qn_variable(g, "s", "x", QN_FLOAT32, qn_shape_of(2));
    qn_node *y = qn_variable(g, "s", "y", QN_FLOAT32, qn_shape_of(2));
    qn_assign(g, y, qn_assign(g, x, qn_neg(g, x)));
    ck_assert_int_eq(qn_assign_gate(g, qn_constant(g, 1)), QN_BAD_ARGUMENT);
    expect_refusal(g, "\"x\" is read");
    g = qn_graph_create(QN_FLOAT32);
    x = qn_variable(g, "s", "x", QN_FLOAT32, qn_shape_of(2));
    ck_assert_int_eq(qn_assign_gate(g, x), QN_BAD_ARGUMENT);
    expect_refusal(g, "not one number");
}
END_TEST

QN_CHECK_MAIN("gate", gate_leaves_steps_out, watched_gate_stays_shut,
              watch_changes_nothing_else,
              watch_keeps_the_first_bad_step_of_each_chunk,
              finite_gradients_are_none_of_the_watchs,
              bad_gradient_shuts_the_gate, gated_assignments_wait,
              assignments_that_are_read_have_no_gate)
