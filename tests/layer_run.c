#include "layer_run.h"

#include <stdio.h>
#include <string.h>

#include "qn_check.h"

// A node's elements.
static size_t count_of(const qn_node *node)
{
    return (size_t)qn_shape_count(qn_node_shape(node));
}

static qn_node *find_parameter(qn_graph *g, const char *name)
{
    qn_node *members[16];
    const int count = qn_group_members(g, "parameters", members, 16);
    for (int i = 0; i < count; i++)
        if (strcmp(qn_node_name(members[i]), name) == 0)
            return members[i];
    ck_abort_msg("the model has no parameter %s", name);
    return NULL;
}

static qn_store *make_store(const struct layer_run *run, qn_graph *g,
                            const qn_model *model)
{
    qn_error error = {0};
    qn_store *store = qn_store_create(qn_check_device(), &error);
    ck_assert_ok(qn_store_add(store, g, &error), error);
    ck_assert_ok(qn_model_init(model, store, 1, &error), error);
    if (!run->values)
        return store;
    qn_store_entry entry;
    const int at = qn_store_find(store, "parameters", run->parameter);
    ck_assert_int_ge(at, 0);
    qn_store_entry_at(store, at, &entry);
    ck_assert_ok(qn_store_write(store, at, run->values,
                                (size_t)qn_shape_count(&entry.shape) *
                                    sizeof(float),
                                &error),
                 error);
    return store;
}

static void dump(const qn_plan *plan, char *text, size_t size)
{
    FILE *file = tmpfile();
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(qn_plan_dump_text(plan, file), QN_OK);
    rewind(file);
    text[fread(text, 1, size - 1, file)] = 0;
    fclose(file);
}

void layer_run(struct layer_run *run, const float *x, float *y, float *dx,
               float *dw)
{
    qn_error error = {0};
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_model *model = qn_model_create(run->model, &error);
    ck_assert_msg(model != NULL, "%s: %s", run->model, error.text);
    qn_node *in = qn_input(g, "x", QN_FLOAT32, run->shape);
    qn_node *seed = qn_scalar(g, "seed"), *step = qn_scalar(g, "step");
    qn_node *first = qn_scalar(g, "first");
    const struct qn_model_build_params params = {
        .training = run->training, .stochastic = run->stochastic,
        .seed = seed, .step = step, .first = run->first ? first : NULL};
    qn_node *outputs[3] = {qn_model_build(model, g, in, &params)};
    qn_node *wrt[2] = {in};
    const int slopes = dx ? dw ? 2 : 1 : 0;
    if (dw)
        wrt[1] = find_parameter(g, run->parameter);
    if (slopes)
        qn_gradients(g, qn_sum(g, outputs[0], NULL), wrt, slopes,
                     outputs + 1);
    ck_assert_ok(qn_graph_check(g, &error), error);
    run->out_count = (int64_t)count_of(outputs[0]);
    qn_store *store = make_store(run, g, model);
    const struct qn_plan_params plan_params = {.graph = g,
                                               .store = store,
                                               .outputs = outputs,
                                               .output_count = 1 + slopes};
    qn_plan *plan =
        qn_plan_create(qn_check_device(), &plan_params, &error);
    ck_assert_msg(plan != NULL, "%s: %s", run->model, error.text);
    qn_plan_set(plan, seed, run->seed);
    qn_plan_set(plan, step, run->step);
    qn_plan_set(plan, first, run->first);
    ck_assert_int_eq(qn_plan_write(plan, in, x, count_of(in) * sizeof *x),
                     QN_OK);
    ck_assert_int_eq(qn_plan_run(plan), QN_OK);
    float *const to[] = {y, dx, dw};
    for (int i = 0; i <= slopes; i++)
        ck_assert_int_eq(qn_plan_read(plan, outputs[i], to[i],
                                      count_of(outputs[i]) * sizeof *y),
                         QN_OK);
    dump(plan, run->launches, sizeof run->launches);
    qn_plan_destroy(&plan);
    qn_store_destroy(&store);
    qn_model_destroy(&model);
    qn_graph_destroy(&g);
}
