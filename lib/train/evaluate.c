// Prediction in large batches, and what is counted from it. Batches are
// written to inputs: the samples need not lie on the device.
#include <stdlib.h>
#include <string.h>

#include "graph/graph.h"
#include "quern/op.h"
#include "train/train.h"

// Samples in a batch, and bytes of the largest tensor that it makes, unless
// one sample makes more: large enough for speed, no burden for memory.
enum { BATCH_MAX = 1000, TENSOR_MAX = 1 << 26 };

// The plan for one batch size.
struct stage {
    int64_t batch;
    qn_graph *graph;
    qn_plan *plan;
    qn_node *x, *labels;
    qn_node *loss, *weight, *correct; // sums over the batch
    qn_node *scores;
    qn_node *outputs[3];
    int output_count;
    qn_node *seed, *step; // of random layers
};

struct qn_predictor {
    int64_t count;    // samples in all
    size_t sample;    // bytes of one
    int classes;
    struct stage stages[2]; // full batches; the rest, if there is one
};

// ---- making ----

static qn_status build_graph(struct stage *stage,
                             const struct qn_predictor_params *use,
                             qn_error *error)
{
    qn_graph *g = stage->graph;
    const qn_dataset *like = use->like;
    qn_graph_alias(g, use->parameters, use->buffers);
    stage->x = qn_input(g, "x", QN_UINT8,
                        qn_batch_shape(stage->batch, &like->shape));
    stage->labels = qn_input(g, "labels", QN_INT32,
                             qn_shape_of(stage->batch));
    stage->seed = qn_scalar(g, "seed");
    stage->step = qn_scalar(g, "step");
    struct qn_model_build_params params = {
        .stochastic = use->is_stochastic,
        .seed = stage->seed,
        .step = stage->step,
    };
    qn_node *logits =
        qn_build_logits(g, qn_scale_pixels(g, stage->x, like), use->model,
                        like, &params, error);
    if (!logits)
        return qn_graph_check(g, error) != QN_OK ? qn_graph_check(g, NULL)
                                                 : QN_BAD_SHAPE;
    if (use->loss) {
        stage->loss = qn_loss_build_sum(g, use->loss, logits, stage->labels,
                                        &stage->weight);
        qn_node *right = qn_equal(g, qn_argmax(g, logits, 1), stage->labels);
        stage->correct = qn_sum(g, right, NULL);
        stage->outputs[0] = stage->loss;
        stage->outputs[1] = stage->weight;
        stage->outputs[2] = stage->correct;
        stage->output_count = 3;
    } else {
        stage->scores = use->is_raw ? logits : qn_softmax(g, logits, 1);
        stage->outputs[0] = stage->scores;
        stage->output_count = 1;
    }
    return qn_graph_check(g, error);
}

static qn_status create_stage(struct stage *stage,
                              const struct qn_predictor_params *use,
                              qn_error *error)
{
    stage->graph = qn_graph_create(QN_FLOAT32);
    return stage->graph ? build_graph(stage, use, error)
                        : qn_fail_memory(error, sizeof *stage);
}

static struct qn_plan_params plan_params(const struct stage *stage,
                                         qn_store *store)
{
    return (struct qn_plan_params){.graph = stage->graph, .store = store,
                                   .outputs = stage->outputs,
                                   .output_count = stage->output_count};
}

static qn_status bind_stage(struct stage *stage, qn_device *device,
                            qn_store *store,
                            const struct qn_predictor_params *use,
                            qn_error *error)
{
    const struct qn_plan_params params = plan_params(stage, store);
    QN_TRY(qn_store_add(store, stage->graph, error));
    stage->plan = qn_plan_create(device, &params, error);
    if (stage->plan)
        return qn_plan_set(stage->plan, stage->seed, (double)use->seed);
    return error && error->status ? error->status : QN_DEVICE;
}

// Bytes that a sample adds to the largest tensor.
static qn_status measure(const struct qn_predictor_params *use,
                         int64_t *bytes, qn_error *error)
{
    struct stage stage = {.batch = BATCH_MAX,
                          .graph = qn_graph_create(QN_FLOAT32)};
    if (!stage.graph)
        return qn_fail_memory(error, sizeof stage);
    qn_status status = build_graph(&stage, use, error);
    for (const struct qn_node *node = stage.graph->first; node;
         node = node->next) {
        int64_t each = (int64_t)qn_node_size(node) / BATCH_MAX;
        if (node->shape.rank && node->shape.dims[0] == BATCH_MAX &&
            each > *bytes)
            *bytes = each;
    }
    qn_graph_destroy(&stage.graph);
    return status;
}

// Batches of equal size as far as possible: 1,001 samples are 501 and 500.
static qn_status choose_batches(struct qn_predictor *predictor,
                                const struct qn_predictor_params *use,
                                qn_error *error)
{
    int64_t count = predictor->count, bytes = 1;
    QN_TRY(measure(use, &bytes, error));
    int64_t most = TENSOR_MAX / bytes;
    most = most < BATCH_MAX ? most : BATCH_MAX;
    if (use->most && most > use->most)
        most = use->most;
    most = most > 0 ? most : 1;
    int64_t batches = (count + most - 1) / most;
    int64_t batch = (count + batches - 1) / batches;
    predictor->stages[0].batch = batch;
    predictor->stages[1].batch = count % batch;
    return QN_OK;
}

// With graphs and no plans.
static qn_status make_predictor(const struct qn_predictor_params *use,
                                struct qn_predictor **out, qn_error *error)
{
    struct qn_predictor *predictor = calloc(1, sizeof *predictor);
    *out = NULL;
    if (!predictor)
        return qn_fail_memory(error, sizeof *predictor);
    predictor->count = use->count;
    predictor->classes = use->like->classes;
    predictor->sample = (size_t)qn_shape_count(&use->like->shape);
    qn_status status = choose_batches(predictor, use, error);
    for (int i = 0; i < 2 && status == QN_OK; i++)
        if (predictor->stages[i].batch)
            status = create_stage(&predictor->stages[i], use, error);
    if (status != QN_OK)
        qn_predictor_destroy(&predictor);
    *out = predictor;
    return status;
}

qn_status qn_predictor_create(qn_device *device, qn_store *store,
                              const struct qn_predictor_params *use,
                              struct qn_predictor **out, qn_error *error)
{
    QN_TRY(make_predictor(use, out, error));
    qn_status status = QN_OK;
    for (int i = 0; i < 2 && status == QN_OK; i++)
        if ((*out)->stages[i].batch)
            status = bind_stage(&(*out)->stages[i], device, store, use,
                                error);
    if (status != QN_OK)
        qn_predictor_destroy(out);
    return status;
}

qn_status qn_predictor_measure(qn_device *device, qn_store *sketch,
                               const struct qn_predictor_params *use,
                               struct qn_footprint *footprint,
                               qn_error *error)
{
    struct qn_predictor *predictor;
    QN_TRY(make_predictor(use, &predictor, error));
    qn_status status = QN_OK;
    for (int i = 0; i < 2 && status == QN_OK; i++) {
        const struct stage *stage = &predictor->stages[i];
        const struct qn_plan_params params = plan_params(stage, sketch);
        if (stage->batch)
            status =
                qn_footprint_add(footprint, device, sketch, &params, error);
    }
    qn_predictor_destroy(&predictor);
    return status;
}

struct qn_predictor_params
qn_settings_evaluation(const struct qn_settings *settings)
{
    return (struct qn_predictor_params){
        .model = settings->model,
        .loss = &settings->loss,
        .like = settings->dataset,
        .count = settings->dataset->test_count,
        .most = settings->evaluation_batch,
    };
}

void qn_predictor_destroy(struct qn_predictor **predictor)
{
    if (!predictor || !*predictor)
        return;
    for (int i = 0; i < 2; i++) {
        qn_plan_destroy(&(*predictor)->stages[i].plan);
        qn_graph_destroy(&(*predictor)->stages[i].graph);
    }
    free(*predictor);
    *predictor = NULL;
}

// ---- running ----

// The stage for the batch that begins at `first`.
static struct stage *stage_for(struct qn_predictor *predictor, int64_t first)
{
    struct stage *full = &predictor->stages[0];
    return first + full->batch <= predictor->count ? full
                                                   : &predictor->stages[1];
}

// The first failure of a plan becomes the caller's error.
static qn_status pass_on(qn_plan *plan, qn_status status, qn_error *error)
{
    if (status != QN_OK)
        qn_fail(error, status, "%s", qn_plan_error(plan)->text);
    return status;
}

static qn_status run_stage(struct stage *stage, const unsigned char *x,
                           size_t x_size, const int32_t *labels,
                           qn_error *error)
{
    qn_status status = qn_plan_write(stage->plan, stage->x, x, x_size);
    if (status == QN_OK && labels)
        status = qn_plan_write(stage->plan, stage->labels, labels,
                               (size_t)stage->batch * sizeof *labels);
    if (status == QN_OK)
        status = qn_plan_run(stage->plan);
    return pass_on(stage->plan, status, error);
}

qn_status qn_predictor_evaluate(struct qn_predictor *predictor,
                                const unsigned char *x, const int32_t *y,
                                double *loss, double *accuracy,
                                qn_error *error)
{
    double sums[3] = {0}; // of losses, weights and right answers
    struct stage *stage;
    for (int64_t i = 0; i < predictor->count; i += stage->batch) {
        stage = stage_for(predictor, i);
        QN_TRY(run_stage(stage, x + (size_t)i * predictor->sample,
                         (size_t)stage->batch * predictor->sample, y + i,
                         error));
        for (int k = 0; k < 3; k++) {
            float sum;
            QN_TRY(pass_on(stage->plan,
                           qn_plan_read(stage->plan, stage->outputs[k], &sum,
                                        sizeof sum), error));
            sums[k] += (double)sum;
        }
    }
    *loss = sums[0] / sums[1];
    *accuracy = sums[2] / (double)predictor->count;
    return QN_OK;
}

// Each batch of each pass draws by a step of its own.
qn_status qn_predictor_predict(struct qn_predictor *predictor,
                               const unsigned char *x, int64_t pass,
                               float *scores, qn_error *error)
{
    struct stage *stage;
    int64_t batch = predictor->stages[0].batch;
    int64_t step = pass * ((predictor->count + batch - 1) / batch);
    for (int64_t i = 0; i < predictor->count; i += stage->batch) {
        stage = stage_for(predictor, i);
        size_t size = (size_t)stage->batch * (size_t)predictor->classes *
                      sizeof *scores;
        QN_TRY(pass_on(stage->plan,
                       qn_plan_set(stage->plan, stage->step,
                                   (double)(uint32_t)++step), error));
        QN_TRY(run_stage(stage, x + (size_t)i * predictor->sample,
                         (size_t)stage->batch * predictor->sample, NULL,
                         error));
        QN_TRY(pass_on(stage->plan,
                       qn_plan_read(stage->plan, stage->scores,
                                    scores + i * predictor->classes, size),
                       error));
    }
    return QN_OK;
}

// ---- the public face ----

qn_status qn_evaluate(qn_device *device, const qn_model *model,
                      qn_store *store, const qn_dataset *dataset,
                      const struct qn_evaluate_params *params, double *loss,
                      double *accuracy, qn_error *error)
{
    const struct qn_evaluate_params plain = {0};
    struct qn_loss_params row;
    if (!params)
        params = &plain;
    QN_REQUIRE(error, device && model && store && dataset);
    QN_REQUIRE(error, loss && accuracy);
    QN_REQUIRE(error, dataset->test_count > 0);
    QN_REQUIRE(error, params->mc_samples >= 0);
    QN_REQUIRE(error, params->seed <= UINT32_MAX);
    QN_TRY(qn_loss_parse(params->loss ? params->loss
                                      : "softmax_cross_entropy",
                         &row, error));
    if (params->mc_samples > 0)
        return qn_evaluate_drawn(device, model, store, dataset, &row, params,
                                 loss, accuracy, error);
    struct qn_predictor *predictor;
    const struct qn_predictor_params use = {.model = model, .loss = &row,
                                            .like = dataset,
                                            .count = dataset->test_count};
    QN_TRY(qn_predictor_create(device, store, &use, &predictor, error));
    qn_status status = qn_predictor_evaluate(
        predictor, dataset->test_x, dataset->test_y, loss, accuracy, error);
    qn_predictor_destroy(&predictor);
    return status;
}

qn_status qn_predict(qn_device *device, const qn_model *model,
                     qn_store *store, const qn_dataset *like,
                     const unsigned char *samples, int64_t count,
                     float *probabilities, qn_error *error)
{
    QN_REQUIRE(error, device && model && store && like);
    QN_REQUIRE(error, samples && probabilities && count > 0);
    struct qn_predictor *predictor;
    const struct qn_predictor_params use = {.model = model, .like = like,
                                            .count = count};
    QN_TRY(qn_predictor_create(device, store, &use, &predictor, error));
    qn_status status =
        qn_predictor_predict(predictor, samples, 0, probabilities, error);
    qn_predictor_destroy(&predictor);
    return status;
}
