// Evaluation by the mean of many predictions, in each of which the model's
// random layers draw (Gal, Ghahramani 2016). The passes are added up on the
// host, in double.
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "quern/op.h"
#include "train/train.h"

// Mean scores of `passes`: sums in double, then in place of the first pass.
static qn_status average(struct qn_predictor *predictor,
                         const unsigned char *x, int passes, size_t count,
                         double *sums, float *scores, qn_error *error)
{
    for (int pass = 0; pass < passes; pass++) {
        QN_TRY(qn_predictor_predict(predictor, x, pass, scores, error));
        for (size_t i = 0; i < count; i++)
            sums[i] += (double)scores[i];
    }
    for (size_t i = 0; i < count; i++)
        scores[i] = (float)(sums[i] / passes);
    return QN_OK;
}

// Log-probabilities are logits too.
static void take_logs(float *scores, size_t count)
{
    for (size_t i = 0; i < count; i++)
        scores[i] = logf(scores[i] > FLT_MIN || isnan(scores[i]) ? scores[i]
                                                                 : FLT_MIN);
}

// ---- loss and accuracy of scores ----

struct marks {
    qn_node *scores, *labels, *outputs[2];
};

static qn_status build_marks(qn_graph *g, const qn_dataset *dataset,
                             const struct qn_loss_params *loss,
                             struct marks *marks, qn_error *error)
{
    int64_t count = dataset->test_count;
    marks->scores = qn_input(g, "scores", QN_FLOAT32,
                             qn_shape_of(count, dataset->classes));
    marks->labels = qn_input(g, "labels", QN_INT32, qn_shape_of(count));
    qn_node *right =
        qn_equal(g, qn_argmax(g, marks->scores, 1), marks->labels);
    marks->outputs[0] = qn_loss_build(g, loss, marks->scores, marks->labels);
    marks->outputs[1] = qn_mean(g, right, NULL);
    return qn_graph_check(g, error);
}

static qn_status run_marks(qn_plan *plan, const struct marks *marks,
                           const qn_dataset *dataset, const float *scores,
                           float results[2])
{
    size_t count = (size_t)dataset->test_count;
    QN_TRY(qn_plan_write(plan, marks->scores, scores,
                         count * (size_t)dataset->classes * sizeof *scores));
    QN_TRY(qn_plan_write(plan, marks->labels, dataset->test_y,
                         count * sizeof *dataset->test_y));
    QN_TRY(qn_plan_run(plan));
    for (int i = 0; i < 2; i++)
        QN_TRY(qn_plan_read(plan, marks->outputs[i], &results[i],
                            sizeof *results));
    return QN_OK;
}

static qn_status mark(qn_device *device, const qn_dataset *dataset,
                      const struct qn_loss_params *loss, const float *scores,
                      float results[2], qn_error *error)
{
    struct marks marks;
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    if (!g)
        return qn_fail_memory(error, 1);
    qn_status status = build_marks(g, dataset, loss, &marks, error);
    if (status == QN_OK) {
        const struct qn_plan_params params = {
            .graph = g, .outputs = marks.outputs, .output_count = 2};
        qn_plan *plan = qn_plan_create(device, &params, error);
        status = plan ? run_marks(plan, &marks, dataset, scores, results)
                      : QN_DEVICE;
        if (plan && status != QN_OK)
            qn_fail(error, status, "%s", qn_plan_error(plan)->text);
        qn_plan_destroy(&plan);
    }
    qn_graph_destroy(&g);
    return status;
}

// ---- both ----

qn_status qn_evaluate_drawn(qn_device *device, const qn_model *model,
                            qn_store *store, const qn_dataset *dataset,
                            const struct qn_loss_params *loss_row,
                            const struct qn_evaluate_params *params,
                            double *loss, double *accuracy, qn_error *error)
{
    size_t count = (size_t)dataset->test_count * (size_t)dataset->classes;
    double *sums = calloc(count, sizeof *sums);
    float *scores = malloc(count * sizeof *scores), results[2] = {0};
    struct qn_predictor *predictor = NULL;
    const struct qn_predictor_params use = {
        .model = model,
        .like = dataset,
        .count = dataset->test_count,
        .is_stochastic = true,
        .seed = params->seed,
        .is_raw = !loss_row->loss->is_of_logits,
    };
    qn_status status =
        sums && scores ? QN_OK
                       : qn_fail_memory(error, count * sizeof *sums);
    if (status == QN_OK)
        status = qn_predictor_create(device, store, &use, &predictor, error);
    if (status == QN_OK)
        status = average(predictor, dataset->test_x, params->mc_samples,
                         count, sums, scores, error);
    if (status == QN_OK && !use.is_raw)
        take_logs(scores, count);
    if (status == QN_OK)
        status = mark(device, dataset, loss_row, scores, results, error);
    *loss = (double)results[0];
    *accuracy = (double)results[1];
    qn_predictor_destroy(&predictor);
    free(scores);
    free(sums);
    return status;
}
