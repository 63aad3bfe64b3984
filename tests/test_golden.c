// Layers and losses against PyTorch: golden/cases.json names what
// golden/make.py had PyTorch compute in double precision, and
// golden/tensors.safetensors holds it. Each model is built from its JSON by
// the public functions and run in float32: output, gradients of sum(y * dy)
// to input and parameters, state after a step of training.
//
// Tolerances, for float32 against double: outputs and state rtol 1e-5,
// gradients rtol 1e-4, both plus 2e-6 of the tensor's largest value, since
// sums of that size cancel.
//
//   test_golden [coverage | --report FILE]
//
//   coverage       only whether every layer and loss has a case: needs no device
//   --report FILE  a line a case: name, verdict, rows
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/graph.h"
#include "qn_check.h"
#include "quern/nn.h"
#include "quern/op.h"

enum { MAX_PARAMETERS = 32 };

static json_t *cases;
static qn_checkpoint *file;
static FILE *report;

static void open_files(void)
{
    qn_error error = {0};
    json_error_t fault;
    if (cases)
        return;
    cases = json_load_file(TESTS_FOLDER "/golden/cases.json", 0, &fault);
    ck_assert_msg(cases != NULL, "cases.json: %s", fault.text);
    file = qn_checkpoint_open(TESTS_FOLDER "/golden/tensors.safetensors",
                              &error);
    ck_assert_msg(file != NULL, "%s", error.text);
}

// ---- a case ----

struct trial {
    const char *name;
    qn_graph *graph;
    qn_node *x;
    qn_node *other; // dy or target
    qn_node *y;
    qn_node *parameters[MAX_PARAMETERS];
    int parameter_count;
    qn_node *outputs[MAX_PARAMETERS + 2]; // y, dx, gradients of parameters
    int output_count;
    qn_store *store;
    qn_plan *plan;
    bool is_training;
    int faults;
};

static void complain(struct trial *t, const char *what, const char *text)
{
    fprintf(stderr, "%s: %s: %s\n", t->name, what, text);
    t->faults++;
}

// The tensor "<case>/<what>"; complains where there is none.
static bool find(struct trial *t, const char *what,
                 qn_checkpoint_tensor *tensor)
{
    char name[300];
    snprintf(name, sizeof name, "%s/%s", t->name, what);
    for (int i = 0; qn_checkpoint_tensor_at(file, i, tensor); i++)
        if (strcmp(tensor->name, name) == 0)
            return true;
    complain(t, what, "make.py has not made it");
    return false;
}

static qn_node *make_input(struct trial *t, const char *what)
{
    qn_checkpoint_tensor tensor;
    return find(t, what, &tensor)
               ? qn_input(t->graph, what, tensor.dtype, tensor.shape)
               : NULL;
}

static void build_model(struct trial *t, const json_t *model)
{
    qn_error error = {0};
    char *text = json_dumps(model, 0);
    qn_model *built = qn_model_create(text, &error);
    free(text);
    if (!built) {
        complain(t, "model", error.text);
        return;
    }
    t->other = make_input(t, "dy");
    t->y = qn_model_build(
        built, t->graph, t->x,
        &(struct qn_model_build_params){.training = t->is_training,
                                        .stochastic = t->is_training,
                                        .seed = qn_scalar(t->graph, "seed"),
                                        .step = qn_scalar(t->graph, "step")});
    qn_model_destroy(&built);
}

static void build_loss(struct trial *t, const char *name)
{
    qn_error error = {0};
    struct qn_loss_params loss;
    t->other = make_input(t, "target");
    if (qn_loss_parse(name, &loss, &error) == QN_OK)
        t->y = qn_loss_build(t->graph, &loss, t->x, t->other);
    else
        complain(t, "loss", error.text);
}

static void add_gradients(struct trial *t, bool is_loss)
{
    qn_node *wrt[MAX_PARAMETERS + 1] = {t->x};
    t->parameter_count = qn_group_members(t->graph, "parameters",
                                          t->parameters, MAX_PARAMETERS);
    ck_assert_int_le(t->parameter_count, MAX_PARAMETERS);
    for (int i = 0; i < t->parameter_count; i++)
        wrt[1 + i] = t->parameters[i];
    qn_node *loss = is_loss ? t->y
                            : qn_sum(t->graph,
                                     qn_mul(t->graph, t->y, t->other),
                                     &(struct qn_reduce_params){0});
    t->outputs[0] = t->y;
    qn_gradients(t->graph, loss, wrt, 1 + t->parameter_count, t->outputs + 1);
    t->output_count = 2 + t->parameter_count;
}

static void build(struct trial *t, const json_t *c)
{
    const char *loss = json_string_value(json_object_get(c, "loss"));
    qn_error error = {0};
    t->is_training = json_is_true(json_object_get(c, "training"));
    t->graph = qn_graph_create(QN_FLOAT32);
    t->x = make_input(t, "x");
    if (loss)
        build_loss(t, loss);
    else
        build_model(t, json_object_get(c, "model"));
    if (!t->faults)
        add_gradients(t, loss != NULL);
    if (qn_graph_check(t->graph, &error) != QN_OK)
        complain(t, "graph", error.text);
}

// ---- running ----

static void fill_store(struct trial *t)
{
    qn_error error = {0};
    qn_store_entry entry;
    qn_checkpoint_tensor tensor;
    char what[300];
    t->store = qn_store_create(qn_check_device(), &error);
    ck_assert_msg(t->store != NULL, "%s", error.text);
    ck_assert_ok(qn_store_add(t->store, t->graph, &error), error);
    for (int i = 0; i < qn_store_count(t->store); i++) {
        ck_assert_int_eq(qn_store_entry_at(t->store, i, &entry), QN_OK);
        snprintf(what, sizeof what, "before/%s", entry.name);
        if (find(t, what, &tensor) &&
            qn_store_write(t->store, i, tensor.data, tensor.size, &error) !=
                QN_OK)
            complain(t, what, error.text);
    }
}

static void write_input(struct trial *t, const qn_node *node)
{
    qn_checkpoint_tensor tensor;
    if (find(t, qn_node_name(node), &tensor) &&
        qn_plan_write(t->plan, node, tensor.data, tensor.size) != QN_OK)
        complain(t, qn_node_name(node), qn_plan_error(t->plan)->text);
}

static void run(struct trial *t)
{
    qn_error error = {0};
    const struct qn_plan_params params = {.graph = t->graph,
                                          .store = t->store,
                                          .outputs = t->outputs,
                                          .output_count = t->output_count};
    t->plan = qn_plan_create(qn_check_device(), &params, &error);
    if (!t->plan) {
        complain(t, "plan", error.text);
        return;
    }
    write_input(t, t->x);
    write_input(t, t->other);
    if (!t->faults && qn_plan_run(t->plan) != QN_OK)
        complain(t, "run", qn_plan_error(t->plan)->text);
}

// ---- comparing ----

static void compare(struct trial *t, const char *what, const float *got,
                    const qn_shape *shape, double relative)
{
    qn_checkpoint_tensor tensor;
    char text[200];
    if (!find(t, what, &tensor))
        return;
    if (!qn_shape_equal(shape, &tensor.shape)) {
        complain(t, what,
                 qn_shape_text(shape, text, sizeof text));
        return;
    }
    const int64_t count = qn_shape_count(shape);
    float *want = malloc(tensor.size);
    memcpy(want, tensor.data, tensor.size);
    double largest = 0;
    for (int64_t i = 0; i < count; i++)
        largest = fmax(largest, fabs((double)want[i]));
    for (int64_t i = 0; i < count; i++) {
        const double x = (double)got[i], y = (double)want[i];
        if (fabs(x - y) <= relative * fabs(y) + 2e-6 * largest)
            continue;
        snprintf(text, sizeof text, "element %lld is %.9g, PyTorch has %.9g",
                 (long long)i, x, y);
        complain(t, what, text);
        break;
    }
    free(want);
}

static void compare_output(struct trial *t, int i)
{
    const qn_node *node = t->outputs[i];
    const qn_shape *shape = qn_node_shape(node);
    const size_t size = (size_t)qn_shape_count(shape) * sizeof(float);
    float *got = malloc(size);
    char what[300];
    snprintf(what, sizeof what, "gradient/%s",
             i >= 2 ? qn_node_name(t->parameters[i - 2]) : "");
    if (qn_plan_read(t->plan, node, got, size) != QN_OK)
        complain(t, what, qn_plan_error(t->plan)->text);
    else
        compare(t, i == 0 ? "y" : i == 1 ? "dx" : what, got, shape,
                i == 0 ? 1e-5 : 1e-4);
    free(got);
}

// What is no parameter: after training as PyTorch leaves it.
static void compare_state(struct trial *t, int index)
{
    qn_error error = {0};
    qn_store_entry entry;
    char what[300];
    ck_assert_int_eq(qn_store_entry_at(t->store, index, &entry), QN_OK);
    if (strcmp(entry.group, "parameters") == 0 || !t->is_training)
        return;
    const size_t size = (size_t)qn_shape_count(&entry.shape) * sizeof(float);
    float *got = malloc(size);
    snprintf(what, sizeof what, "after/%s", entry.name);
    ck_assert_ok(qn_store_read(t->store, index, got, size, &error), error);
    compare(t, what, got, &entry.shape, 1e-5);
    free(got);
}

static void report_rows(const struct trial *t)
{
    fprintf(report, "%s\t%s\t", t->name, t->faults ? "FAILED" : "passed");
    for (const struct qn_node *node = t->graph->first; node;
         node = node->next) {
        const struct qn_node *before = t->graph->first;
        while (before->op != node->op)
            before = before->next;
        if (before == node)
            fprintf(report, "%s ", node->op->name);
    }
    fprintf(report, "\n");
}

static int run_case(const json_t *c)
{
    struct trial t = {.name = json_string_value(json_object_get(c, "name"))};
    build(&t, c);
    if (!t.faults)
        fill_store(&t);
    if (!t.faults)
        run(&t);
    for (int i = 0; i < t.output_count && !t.faults; i++)
        compare_output(&t, i);
    for (int i = 0; t.store && i < qn_store_count(t.store); i++)
        compare_state(&t, i);
    if (report)
        report_rows(&t);
    qn_plan_destroy(&t.plan);
    qn_store_destroy(&t.store);
    qn_graph_destroy(&t.graph);
    return t.faults;
}

START_TEST(layers_and_losses_agree_with_pytorch)
{
    int faults = 0;
    size_t i;
    json_t *c;
    open_files();
    ck_assert_uint_gt(json_array_size(cases), 20);
    json_array_foreach(cases, i, c)
        faults += run_case(c);
    ck_assert_int_eq(faults, 0);
}
END_TEST

// ---- coverage ----

static const struct {
    const char *name;
    const char *reason;
} exceptions[] = {
    {"", "none"},
};

static bool is_exception(const char *name)
{
    for (size_t i = 0; i < sizeof exceptions / sizeof *exceptions; i++)
        if (strcmp(exceptions[i].name, name) == 0)
            return true;
    return false;
}

// True if some object in `json` has `name` under `key`.
static bool holds(const json_t *json, const char *key, const char *name)
{
    const char *value = json_string_value(json_object_get(json, key));
    const char *member;
    json_t *inner;
    size_t i;
    if (value && strcmp(value, name) == 0)
        return true;
    json_object_foreach((json_t *)(uintptr_t)json, member, inner)
        if (holds(inner, key, name))
            return true;
    json_array_foreach(json, i, inner)
        if (holds(inner, key, name))
            return true;
    return false;
}

static int count_missing(const char *key, const char *name)
{
    if (holds(cases, key, name) != is_exception(name))
        return 0;
    fprintf(stderr, "%s %s: %s\n", key, name,
            is_exception(name) ? "has a golden case and an exception"
                               : "has no case: add a line to tests/golden/make.py and run "
                               "it, or say here why not");
    return 1;
}

START_TEST(every_layer_and_loss_has_a_golden_case)
{
    int missing = 0;
    open_files();
    for (int i = 0; qn_layer_at(i); i++)
        missing += count_missing("type", qn_layer_name(qn_layer_at(i)));
    for (int i = 0; qn_loss_at(i); i++)
        missing += count_missing("loss", qn_loss_at(i)->name);
    ck_assert_int_eq(missing, 0);
}
END_TEST

int main(int argc, char **argv)
{
    const TTest *const tests[] = {layers_and_losses_agree_with_pytorch,
                                  every_layer_and_loss_has_a_golden_case};
    const bool only_coverage = argc > 1 && strcmp(argv[1], "coverage") == 0;
    if (argc == 3 && strcmp(argv[1], "--report") == 0)
        report = fopen(argv[2], "w");
    const int status = qn_check_run("golden", tests + only_coverage,
                                    2 - only_coverage);
    if (report)
        fclose(report);
    json_decref(cases);
    qn_checkpoint_close(&file);
    return status;
}
