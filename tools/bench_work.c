// Work for the parts of quern bench: a graph on variables full of numbers, its
// plan, and how far what it computes is from a few elements worked out in
// double precision.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

enum { CHOSEN = 96 }; // elements that are checked

// ---- numbers ----

// So that an element is known without the tensor. A multiplicative hash
// (Knuth: The art of computer programming, 6.4) of both, twice.
static uint32_t hash(int tensor, int64_t index)
{
    uint32_t x = (uint32_t)index + (uint32_t)tensor * 0x9e3779b9u;
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

float work_value(int tensor, int64_t index)
{
    return (float)(hash(tensor, index) >> 8) / 8388608.0f - 1.0f;
}

static void fill(const qn_store_entry *entry, int tensor, void *data)
{
    const int64_t count = qn_shape_count(&entry->shape);
    for (int64_t i = 0; i < count; i++)
        if (entry->dtype == QN_FLOAT32)
            ((float *)data)[i] = work_value(tensor, i);
        else if (entry->dtype == QN_INT32)
            ((int32_t *)data)[i] = (int32_t)(hash(tensor, i) % WORK_LABELS);
        else
            ((uint8_t *)data)[i] = (uint8_t)hash(tensor, i);
}

static qn_status fill_store(qn_store *store, qn_error *error)
{
    qn_status status = QN_OK;
    for (int i = 0; i < qn_store_count(store) && status == QN_OK; i++) {
        qn_store_entry entry;
        qn_store_entry_at(store, i, &entry);
        if (strcmp(entry.group, WORK_REALS) != 0 &&
            strcmp(entry.group, WORK_LABEL_GROUP) != 0 &&
            strcmp(entry.group, WORK_BYTES) != 0)
            continue;
        const size_t size = (size_t)qn_shape_count(&entry.shape) *
                            qn_dtype_size(entry.dtype);
        void *data = malloc(size);
        if (!data) {
            snprintf(error->text, sizeof error->text,
                     "no memory for %.1f MB of numbers", 1e-6 * (double)size);
            return error->status = QN_NO_MEMORY;
        }
        fill(&entry, i, data);
        status = qn_store_write(store, i, data, size, error);
        free(data);
    }
    return status;
}

// ---- graph and plan ----

qn_node *work_tensor(struct work *work, const char *name, qn_shape shape)
{
    return qn_variable(work->graph, WORK_REALS, name, QN_FLOAT32, shape);
}

// dy is a constant, so that its product with the loss's own gradient, 1, is
// worked out when the plan is made and not in each run.
qn_node *work_loss(struct work *work, qn_node *y)
{
    if (!y)
        return NULL;
    const qn_shape shape = *qn_node_shape(y);
    const int64_t count = qn_shape_count(&shape);
    float *values = malloc((size_t)count * sizeof *values);
    if (!values)
        return NULL;
    for (int64_t i = 0; i < count; i++)
        values[i] = work_value(WORK_DY, i);
    qn_node *dy =
        qn_constant_data(work->graph, QN_FLOAT32, shape, values);
    free(values);
    return qn_sum(work->graph, qn_mul(work->graph, y, dy), NULL);
}

qn_node *work_gradient(struct work *work, qn_node *y, qn_node *x)
{
    qn_node *loss = work_loss(work, y), *dx = NULL;
    if (loss)
        qn_gradients(work->graph, loss, &x, 1, &dx);
    return dx;
}

qn_status work_begin(struct work *work, qn_error *error)
{
    *work = (struct work){.graph = qn_graph_create(QN_FLOAT32)};
    if (work->graph)
        return QN_OK;
    snprintf(error->text, sizeof error->text, "no memory for a graph");
    return error->status = QN_NO_MEMORY;
}

qn_status work_bind(struct work *work, const struct bench *bench,
                    qn_node *const *outputs, int count, qn_error *error)
{
    struct qn_plan_params how = {.graph = work->graph, .outputs = outputs,
                                 .output_count = count};
    for (int i = 0; i < count; i++)
        if (!outputs[i] && qn_graph_check(work->graph, NULL) == QN_OK) {
            snprintf(error->text, sizeof error->text,
                     "no memory for a gradient");
            return error->status = QN_NO_MEMORY;
        }
    if (qn_graph_check(work->graph, error) != QN_OK ||
        !(work->store = qn_store_create(bench->device, error)) ||
        qn_store_add(work->store, work->graph, error) != QN_OK ||
        fill_store(work->store, error) != QN_OK)
        return error->status;
    how.store = work->store;
    work->output = count ? outputs[0] : NULL;
    work->plan = qn_plan_create(bench->device, &how, error);
    return work->plan ? QN_OK : error->status;
}

void work_finish(struct work *work)
{
    qn_plan_destroy(&work->plan);
    qn_store_destroy(&work->store);
    qn_graph_destroy(&work->graph);
}

qn_status work_run(void *thing, qn_error *error)
{
    const struct work *work = thing;
    if (qn_plan_run(work->plan) == QN_OK)
        return QN_OK;
    *error = *qn_plan_error(work->plan);
    return error->status;
}

char *work_kernel(const struct work *work, char *text, size_t size)
{
    char name[128];
    *text = 0;
    for (int i = 0; qn_plan_step_name(work->plan, i, name, sizeof name); i++) {
        const size_t used = strlen(text);
        snprintf(text + used, size - used, "%s%s", i ? " + " : "", name);
    }
    return text;
}

// ---- the check ----

static double compare(const float *have, int64_t count, work_reference *want,
                      const void *what)
{
    double worst = 0, largest = 0;
    for (int i = 0; i < CHOSEN; i++) {
        const int64_t at = hash(CHOSEN, i) % count;
        const double value = want(what, at);
        const double difference = fabs((double)have[at] - value);
        largest = fmax(largest, fabs(value));
        // fmax would drop what is not a number.
        if (!(difference <= worst))
            worst = difference;
    }
    return largest > 0 ? worst / largest : worst;
}

qn_status work_check(const struct work *work, work_reference *want,
                     const void *what, double *result, qn_error *error)
{
    const int64_t count = qn_shape_count(qn_node_shape(work->output));
    const size_t size = (size_t)count * sizeof(float);
    float *have = malloc(size);
    if (!have) {
        snprintf(error->text, sizeof error->text,
                 "no memory for a result of %.1f MB", 1e-6 * (double)size);
        return error->status = QN_NO_MEMORY;
    }
    if (qn_plan_run(work->plan) == QN_OK &&
        qn_plan_read(work->plan, work->output, have, size) == QN_OK)
        *result = compare(have, count, want, what);
    else
        *error = *qn_plan_error(work->plan);
    free(have);
    return error->status;
}

// ---- beside multiply-adds ----

int time_product(const struct bench *bench, struct work *work,
                 double operations, double seconds,
                 struct product_time *time)
{
    enum { SUBJECTS = 2 };
    struct subject subjects[SUBJECTS] = {
        {.run = work_run, .thing = work, .work = operations}};
    int status = EXIT_DONE;
    qn_gauge *gauge = open_gauge(bench, QN_GAUGE_FMA, INT64_C(1) << 28,
                                 &subjects[1], &status);
    if (status == EXIT_DONE)
        status = time_subjects(bench, subjects, SUBJECTS, seconds,
                               &time->rounds);
    if (status == EXIT_DONE) {
        time->seconds = subjects[0].median;
        time->gflops = 1e-9 * operations / time->seconds;
        time->fma_gflops = 1e-9 * subjects[1].work / subjects[1].median;
        time->share = share_of(&subjects[0], &subjects[1], time->rounds);
        finish_subjects(subjects, SUBJECTS);
    }
    qn_gauge_destroy(&gauge);
    return status;
}
