// quern bench train: whole training steps of known models on synthetic data,
// as qn_fit makes them: a batch taken out of a data set on the device, loss and
// right answers added up there, an update that a loss which is not finite
// would stop.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

struct task {
    const char *model;
    qn_shape sample;
    const char *optimizer;
    double lr;
};

static const struct task tasks[] = {
    {"mlp", {3, {1, 28, 28}}, "adam", 1e-3},
    {"mlp-bn-dropout", {3, {1, 28, 28}}, "adam", 1e-3},
    {"cnn", {3, {3, 32, 32}}, "momentum", 0.05},
    {"resnet20", {3, {3, 32, 32}}, "momentum", 0.05},
    {"lenet5", {3, {1, 28, 28}}, "momentum", 0.01},
};
enum { TASK_COUNT = sizeof tasks / sizeof *tasks };

enum {
    CLASSES = WORK_LABELS,
    BATCHES = 10, // of the data set
};

// ---- which models ----

static const struct task *find_task(const char *name)
{
    for (int i = 0; i < TASK_COUNT; i++)
        if (strcmp(tasks[i].model, name) == 0)
            return &tasks[i];
    return NULL;
}

int check_train(const struct bench *bench)
{
    char one[64], names[256] = "";
    const char *known[TASK_COUNT];
    for (int i = 0; i < TASK_COUNT; i++) {
        known[i] = tasks[i].model;
        strcat(names, i ? ", " : "");
        strcat(names, tasks[i].model);
    }
    for (const char *at = bench->models; at;) {
        at = next_name(at, one, sizeof one);
        if (find_task(one))
            continue;
        const char *nearest = qn_text_nearest(one, known, TASK_COUNT);
        return usage_error(bench->command,
                           "--models: %s is not timed%s%s%s; there are %s",
                           one, nearest ? ", did you mean " : "",
                           nearest ? nearest : "", nearest ? "?" : "", names);
    }
    return EXIT_DONE;
}

// ---- a step ----

struct training {
    struct work work;
    struct qn_optimizer_update update;
    struct qn_optimizer_step at;
    qn_node *first, *seed, *step; // scalars
    int64_t batch;
};

static qn_shape batch_shape(int64_t n, const qn_shape *sample)
{
    qn_shape shape = {sample->rank + 1, {n}};
    for (int i = 0; i < sample->rank; i++)
        shape.dims[i + 1] = sample->dims[i];
    return shape;
}

// The batch that begins with sample `first`, in an order that is told.
static qn_node *take(struct training *training, const qn_shape *sample,
                     qn_node **labels)
{
    qn_graph *g = training->work.graph;
    const int64_t n = training->batch, count = n * BATCHES;
    qn_node *bytes = qn_variable(g, WORK_BYTES, "images", QN_UINT8,
                                 batch_shape(count, sample));
    qn_node *all = qn_variable(g, WORK_LABEL_GROUP, "labels", QN_INT32,
                               qn_shape_of(count));
    qn_node *order = qn_variable(g, "order", "order", QN_INT32,
                                 qn_shape_of(count));
    training->first = qn_scalar(g, "first");
    *labels = qn_take(g, all, order, training->first, n);
    qn_node *x = qn_take(g, bytes, order, training->first, n);
    return qn_scale(g, qn_cast(g, x, QN_FLOAT32), 1 / 255.0);
}

static void add_up(qn_graph *g, const char *name, qn_node *x)
{
    qn_node *sum = qn_variable(g, "sums", name, QN_FLOAT32, qn_shape_of(1));
    qn_assign(g, sum, qn_add(g, sum, x));
}

static qn_status build(struct training *training, const struct task *task,
                       const qn_model *model, const struct bench *bench,
                       qn_error *error)
{
    if (work_begin(&training->work, error) != QN_OK)
        return error->status;
    qn_graph *g = training->work.graph;
    const struct qn_optimizer *row = qn_optimizer_find(task->optimizer);
    const struct qn_loss_params loss_params =
        qn_loss_defaults(qn_loss_find("softmax_cross_entropy"));
    qn_node *labels;
    training->batch = bench->batch;
    training->at = qn_optimizer_start(row);
    training->at.lr = task->lr;
    training->seed = qn_scalar(g, "seed");
    training->step = qn_scalar(g, "step");
    qn_node *x = take(training, &task->sample, &labels);
    qn_node *logits = qn_model_build(
        model, g, x, &(struct qn_model_build_params){.training = true,
                                                     .seed = training->seed,
                                                     .step = training->step});
    qn_node *loss = qn_loss_build(g, &loss_params, logits, labels);
    struct qn_optimizer_params params = qn_optimizer_defaults(row);
    params.gate = loss;
    params.is_watched = true;
    qn_optimizer_build(g, loss, &params, &training->update);
    add_up(g, "loss", loss);
    add_up(g, "correct",
           qn_sum(g, qn_equal(g, qn_argmax(g, logits, 1), labels), NULL));
    return work_bind(&training->work, bench, NULL, 0, error);
}

static qn_status fill_order(const struct training *training, qn_error *error)
{
    qn_store *store = training->work.store;
    const int64_t count = training->batch * BATCHES;
    int32_t *order = malloc((size_t)count * sizeof *order);
    if (!order) {
        snprintf(error->text, sizeof error->text, "no memory for an order");
        return error->status = QN_NO_MEMORY;
    }
    for (int64_t i = 0; i < count; i++)
        order[i] = (int32_t)i;
    qn_status status =
        qn_store_write(store, qn_store_find(store, "order", "order"), order,
                       (size_t)count * sizeof *order, error);
    free(order);
    return status;
}

static qn_status run_step(void *thing, qn_error *error)
{
    struct training *training = thing;
    qn_plan *plan = training->work.plan;
    const int64_t step = training->at.step++;
    const int64_t first = step % BATCHES * training->batch;
    if (qn_plan_set(plan, training->first, (double)first) == QN_OK &&
        qn_plan_set(plan, training->step, (double)step) == QN_OK &&
        qn_optimizer_set(&training->update, plan, &training->at) == QN_OK &&
        qn_plan_run(plan) == QN_OK)
        return QN_OK;
    *error = *qn_plan_error(plan);
    return error->status;
}

static qn_status prepare(struct training *training, const struct task *task,
                         const struct bench *bench, qn_error *error)
{
    qn_model *model = qn_model_create(task->model, error);
    qn_status status = model ? QN_OK : error->status;
    if (status == QN_OK)
        status = build(training, task, model, bench, error);
    if (status == QN_OK)
        status = qn_model_init(model, training->work.store, 0, error);
    if (status == QN_OK)
        status = fill_order(training, error);
    if (status == QN_OK && (status = run_step(training, error)) == QN_OK)
        status = qn_device_finish(bench->device, error);
    qn_model_destroy(&model);
    return status;
}

// ---- results ----

static void report(const struct bench *bench, const struct task *task,
                   const struct training *training,
                   const struct subject *subject, double first_step,
                   int rounds)
{
    char memory[SHORT_TEXT], resident[SHORT_TEXT], start[SHORT_TEXT] = "-";
    qn_plan_stats stats;
    qn_plan_describe(training->work.plan, &stats);
    const int64_t device =
        stats.arena_size + stats.state_size + stats.input_size;
    const double peak = peak_resident_size();
    const double rate = (double)training->batch / subject->median;
    if (first_step > 0)
        snprintf(start, sizeof start, "%.2f", first_step);
    if (!bench->json) {
        printf("%-16s%12.0f%11.3f%10s%10d%12s%12s\n", task->model, rate,
               1e3 * subject->median, start, stats.launches,
               text_size(memory, (double)device), text_size(resident, peak));
        fflush(stdout);
    }
    json_array_append_new(
        bench->results,
        json_pack("{ss ss ss sI sf sf so si sI so si}", "bench", "train",
                  "model", task->model, "optimizer", task->optimizer, "batch",
                  (json_int_t)training->batch, "samples_per_second", rate,
                  "step_seconds", subject->median, "first_step_seconds",
                  json_number(first_step > 0 ? first_step : NAN), "launches",
                  stats.launches, "peak_device_bytes", (json_int_t)device,
                  "rss_bytes",
                  peak > 0 ? json_integer((json_int_t)peak) : json_null(),
                  "rounds", rounds));
}

static int time_one(const struct bench *bench, const struct task *task,
                    bool is_first, double seconds)
{
    struct training training = {0};
    struct subject subject = {.run = run_step, .thing = &training};
    qn_error error = {0};
    int status = EXIT_DONE, rounds = 0;
    double first_step = 0;
    reset_peak_resident_size();
    if (prepare(&training, task, bench, &error) != QN_OK)
        status = fail_with(bench->command, &error);
    if (is_first)
        first_step = qn_process_seconds();
    subject.work = (double)bench->batch;
    if (status == EXIT_DONE)
        status = time_subjects(bench, &subject, 1, seconds, &rounds);
    if (status == EXIT_DONE) {
        report(bench, task, &training, &subject, first_step, rounds);
        finish_subjects(&subject, 1);
    }
    work_finish(&training.work);
    return status;
}

int run_train_steps(struct bench *bench)
{
    const struct task *wanted[64];
    char one[64];
    int count = 0, status = EXIT_DONE;
    for (int i = 0; !bench->models && i < TASK_COUNT; i++)
        wanted[count++] = &tasks[i];
    for (const char *at = bench->models; at && count < 64;) {
        at = next_name(at, one, sizeof one);
        wanted[count++] = find_task(one);
    }
    if (!bench->json)
        printf("%-16s%12s%11s%10s%10s%12s%12s\n", "model", "samples/s",
               "ms/step", "first s", "launches", "device", "resident");
    for (int i = 0; i < count && status == EXIT_DONE; i++)
        status = time_one(bench, wanted[i], i == 0, bench->seconds / count);
    return status;
}
