// quern bench ops: work that moves memory rather than computes, beside a copy
// in as much memory.
//
// Counted is what no way of computing it in memory can do without: each tensor
// is read as often as one of its elements must be seen again after all others
// have been, and each result is written once.
#include <stdio.h>
#include <string.h>

#include "bench.h"

// Tensors of the work, in elements of the largest: what is read and written,
// and how much memory that is.
struct cost {
    double traffic, footprint;
};

struct op {
    const char *name;
    struct cost cost;
    // Returns the outputs.
    int (*build)(struct work *work, int64_t elements, qn_node **outputs);
};

enum { CHANNELS = 64, SIDE = 32, CLASSES = 1000, OUTPUTS = 4 };

// ---- tensors ----

// Images [n, CHANNELS, SIDE, SIDE] with about so many elements.
static qn_node *images(struct work *work, int64_t elements)
{
    const int64_t each = CHANNELS * SIDE * SIDE;
    const int64_t n = elements < each ? 1 : elements / each;
    return work_tensor(work, "x", qn_shape_of(n, CHANNELS, SIDE, SIDE));
}

static qn_node *rows(struct work *work, int64_t elements)
{
    const int64_t n = elements < CLASSES ? 1 : elements / CLASSES;
    return work_tensor(work, "x", qn_shape_of(n, CLASSES));
}

// ---- work ----

static int build_copy(struct work *work, int64_t elements, qn_node **outputs)
{
    const int order[] = {0, 2, 3, 1};
    outputs[0] = qn_transpose(work->graph, images(work, elements), order);
    return 1;
}

static int build_transpose(struct work *work, int64_t elements,
                           qn_node **outputs)
{
    const int order[] = {1, 0};
    outputs[0] = qn_transpose(work->graph, rows(work, elements), order);
    return 1;
}

static int build_relu(struct work *work, int64_t elements, qn_node **outputs)
{
    outputs[0] = qn_relu(work->graph, images(work, elements));
    return 1;
}

static int build_relu_gradient(struct work *work, int64_t elements,
                               qn_node **outputs)
{
    qn_node *x = images(work, elements);
    outputs[0] = work_gradient(work, qn_relu(work->graph, x), x);
    return 1;
}

static int build_add(struct work *work, int64_t elements, qn_node **outputs)
{
    qn_node *x = images(work, elements);
    if (!x)
        return 0;
    qn_node *y = work_tensor(work, "y", *qn_node_shape(x));
    outputs[0] = qn_add(work->graph, x, y);
    return 1;
}

static qn_node *normed(struct work *work, qn_node *x, qn_node **affine)
{
    affine[0] = work_tensor(work, "gamma", qn_shape_of(CHANNELS));
    affine[1] = work_tensor(work, "beta", qn_shape_of(CHANNELS));
    return qn_batch_norm(work->graph, qn_channel_moments(work->graph, x),
                         affine[0], affine[1], 1e-5);
}

static int build_batch_norm(struct work *work, int64_t elements,
                            qn_node **outputs)
{
    qn_node *affine[2];
    outputs[0] = normed(work, images(work, elements), affine);
    return 1;
}

static int build_batch_norm_both(struct work *work, int64_t elements,
                                 qn_node **outputs)
{
    qn_node *wrt[3] = {images(work, elements)};
    qn_node *y = outputs[0] = normed(work, wrt[0], wrt + 1);
    qn_node *loss = work_loss(work, y);
    if (loss)
        qn_gradients(work->graph, loss, wrt, 3, outputs + 1);
    return loss ? 4 : 0;
}

static int build_softmax(struct work *work, int64_t elements,
                         qn_node **outputs)
{
    outputs[0] = qn_softmax(work->graph, rows(work, elements), 1);
    return 1;
}

static int build_entropy(struct work *work, int64_t elements,
                         qn_node **outputs)
{
    qn_graph *g = work->graph;
    qn_node *x = rows(work, elements);
    if (!x)
        return 0;
    qn_node *labels =
        qn_variable(g, WORK_LABEL_GROUP, "labels", QN_INT32,
                    qn_shape_of(qn_node_shape(x)->dims[0]));
    outputs[0] = qn_mean(g, qn_softmax_cross_entropy(g, x, labels), NULL);
    qn_gradients(work->graph, outputs[0], &x, 1, outputs + 1);
    return 2;
}

static const struct qn_pool_params halves = {.kernel = {2, 2}};

static int build_max_pool(struct work *work, int64_t elements,
                          qn_node **outputs)
{
    outputs[0] = qn_max_pool(work->graph, images(work, elements), &halves);
    return 1;
}

static int build_max_pool_gradient(struct work *work, int64_t elements,
                                   qn_node **outputs)
{
    qn_node *x = images(work, elements);
    outputs[0] =
        work_gradient(work, qn_max_pool(work->graph, x, &halves), x);
    return 1;
}

static int build_avg_pool(struct work *work, int64_t elements,
                          qn_node **outputs)
{
    outputs[0] = qn_avg_pool(work->graph, images(work, elements), &halves);
    return 1;
}

static int build_sum(struct work *work, int64_t elements, qn_node **outputs)
{
    outputs[0] = qn_sum(work->graph, images(work, elements), NULL);
    return 1;
}

static int build_sum_rows(struct work *work, int64_t elements,
                          qn_node **outputs)
{
    const int axis = 1;
    outputs[0] =
        qn_sum(work->graph, rows(work, elements), qn_reduce_params(&axis, 1));
    return 1;
}

static int build_sum_columns(struct work *work, int64_t elements,
                             qn_node **outputs)
{
    const int axis = 0;
    outputs[0] =
        qn_sum(work->graph, rows(work, elements), qn_reduce_params(&axis, 1));
    return 1;
}

static int build_moments(struct work *work, int64_t elements,
                         qn_node **outputs)
{
    outputs[0] = qn_channel_moments(work->graph, images(work, elements));
    return 1;
}

// Batch normalisation reads x for its moments and again to apply them; the
// sums of its gradient read x and dy, which the gradient itself does again.
static const struct op ops[] = {
    {"copy_nchw_to_nhwc", {2, 2}, build_copy},
    {"transpose", {2, 2}, build_transpose},
    {"add", {3, 3}, build_add},
    {"relu", {2, 2}, build_relu},
    {"relu_gradient", {3, 3}, build_relu_gradient},
    {"batch_norm", {3, 2}, build_batch_norm},
    {"batch_norm_both", {8, 4}, build_batch_norm_both},
    {"softmax", {2, 2}, build_softmax},
    {"cross_entropy_both", {2, 2}, build_entropy},
    {"max_pool", {1.25, 1.25}, build_max_pool},
    {"max_pool_gradient", {2.25, 2.25}, build_max_pool_gradient},
    {"avg_pool", {1.25, 1.25}, build_avg_pool},
    {"sum", {1, 1}, build_sum},
    {"sum_rows", {1, 1}, build_sum_rows},
    {"sum_columns", {1, 1}, build_sum_columns},
    {"moments", {1, 1}, build_moments},
};
enum { OP_COUNT = sizeof ops / sizeof *ops };

// ---- results ----

enum { SUBJECTS = 2 };

static void report(const struct bench *bench, const struct op *op,
                   int64_t elements, const struct work *work,
                   const struct subject subjects[SUBJECTS], int rounds)
{
    char kernel[512];
    double rate[SUBJECTS];
    qn_plan_stats stats;
    qn_plan_describe(work->plan, &stats);
    work_kernel(work, kernel, sizeof kernel);
    for (int i = 0; i < SUBJECTS; i++)
        rate[i] = 1e-9 * subjects[i].work / subjects[i].median;
    const double share = share_of(&subjects[0], &subjects[1], rounds);
    if (!bench->json) {
        printf("%-20s%9d%11.4f%9.1f%9.2f  %s\n", op->name, stats.launches,
               1e3 * subjects[0].median, rate[0], share, kernel);
        fflush(stdout);
    }
    json_array_append_new(
        bench->results,
        json_pack("{ss ss sI si sf sf sf sf sf ss si}", "bench", "ops", "op",
                  op->name, "elements", (json_int_t)elements, "launches",
                  stats.launches, "bytes", subjects[0].work, "seconds",
                  subjects[0].median, "gbps", rate[0], "copy_gbps", rate[1],
                  "copy_share", share, "kernel", kernel, "rounds", rounds));
}

static int time_one(struct bench *bench, const struct op *op, double seconds)
{
    struct work work;
    qn_node *outputs[OUTPUTS];
    qn_error error = {0};
    struct subject subjects[SUBJECTS];
    qn_gauge *copy = NULL;
    int status = EXIT_DONE, rounds = 0, count = 0;
    if (work_begin(&work, &error) == QN_OK)
        count = op->build(&work, bench->elements, outputs);
    if (!count && error.status == QN_OK)
        error.status = QN_NO_MEMORY;
    if (!count || work_bind(&work, bench, outputs, count, &error) != QN_OK) {
        work_finish(&work);
        return fail_with(bench->command, &error);
    }
    // The first tensor, which is the largest, as it came out.
    qn_store_entry entry;
    qn_store_entry_at(work.store, 0, &entry);
    const int64_t elements = qn_shape_count(&entry.shape);
    const double each = sizeof(float) * (double)elements;
    subjects[0] = (struct subject){
        .run = work_run, .thing = &work, .work = each * op->cost.traffic};
    copy = open_gauge(bench, QN_GAUGE_COPY,
                      (int64_t)(each * op->cost.footprint), &subjects[1],
                      &status);
    if (status == EXIT_DONE)
        status = time_subjects(bench, subjects, SUBJECTS, seconds, &rounds);
    if (status == EXIT_DONE) {
        report(bench, op, elements, &work, subjects, rounds);
        finish_subjects(subjects, SUBJECTS);
    }
    qn_gauge_destroy(&copy);
    work_finish(&work);
    return status;
}

int run_ops(struct bench *bench)
{
    int status = EXIT_DONE;
    if (!bench->json)
        printf("%-20s%9s%11s%9s%9s  %s\n", "op", "launches", "ms", "GB/s",
               "of copy", "kernel");
    for (int i = 0; i < OP_COUNT && status == EXIT_DONE; i++)
        status = time_one(bench, &ops[i], bench->seconds / OP_COUNT);
    return status;
}
