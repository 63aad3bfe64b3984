// Losses: short builders of op nodes. A row gives the terms, one an element or
// a sample, and what each counts for in the mean; what they are reduced to is
// the same for all. Their text form is in loss_text.c.
#include <math.h>
#include <string.h>

#include "graph/graph.h"
#include "quern/nn.h"
#include "quern/op.h"

struct qn_loss_terms {
    qn_node *terms;
    qn_node *weights; // the mean is sum(terms) / sum(weights); NULL: all 1
};

// ---- classes ----

static qn_node *sum_classes(qn_graph *g, qn_node *x)
{
    const int axis = 1;
    return qn_sum(g, x,
                  qn_reduce_params(.axes = &axis, .axis_count = 1));
}

// 1 where class c is the label, of the shape [n, c, ...].
static qn_node *mark_labels(qn_graph *g, qn_node *labels, int64_t classes)
{
    qn_node *hits = qn_one_hot(g, labels, classes);
    int order[QN_MAX_RANK] = {0};
    if (!hits || hits->shape.rank == 2)
        return hits;
    order[1] = hits->shape.rank - 1;
    for (int i = 2; i < hits->shape.rank; i++)
        order[i] = i - 1;
    return qn_transpose(g, hits, order);
}

// x[n, label, ...] of x[n, c, ...]
static qn_node *pick(qn_graph *g, qn_node *hits, qn_node *x)
{
    return sum_classes(g, qn_select(g, hits, x, qn_constant(g, 0)));
}

// The weight of each class as [c, 1, ...], or NULL where all are 1.
static qn_node *weigh_classes(qn_graph *g,
                              const struct qn_loss_params *params,
                              const qn_node *x)
{
    qn_shape shape = {.rank = x->shape.rank - 1,
                      .dims = {params->weight_count, 1, 1, 1, 1}};
    if (params->weight_count == 0)
        return NULL;
    if (params->weight_count != x->shape.dims[1]) {
        qn_graph_fail(g, QN_BAD_ARGUMENT,
                      "%s: %d class weights for %lld classes",
                      params->loss->name, params->weight_count,
                      (long long)x->shape.dims[1]);
        return NULL;
    }
    float single[QN_MAX_CLASS_WEIGHTS];
    for (int i = 0; i < params->weight_count; i++)
        single[i] = (float)params->weights[i];
    return g->real == QN_FLOAT64
               ? qn_constant_data(g, QN_FLOAT64, shape, params->weights)
               : qn_constant_data(g, QN_FLOAT32, shape, single);
}

// What losses over classes share.
struct classes {
    qn_node *x;       // [n, c, ...]
    qn_node *labels;  // [n, ...]; 0 where it is to be ignored
    qn_node *counts;  // 1 where not, or NULL: all count
    qn_node *hits;    // 1 at the label
    qn_node *weights; // [c, 1, ...] or NULL
};

static bool find_classes(qn_graph *g, const struct qn_loss_params *params,
                         int ignore_key, qn_node *x, qn_node *labels,
                         struct classes *classes)
{
    double ignored = params->values[ignore_key];
    if (x->shape.rank < 2 || labels->dtype != QN_INT32 ||
        labels->shape.rank != x->shape.rank - 1) {
        qn_graph_fail(g, QN_BAD_SHAPE,
                      "%s: needs predictions [n, classes, ...] and int32 "
                      "labels [n, ...]",
                      params->loss->name);
        return false;
    }
    *classes = (struct classes){.x = x, .labels = labels};
    if (!isnan(ignored)) {
        classes->counts =
            qn_not_equal(g, labels, qn_constant(g, ignored));
        classes->labels = qn_cast(
            g, qn_select(g, classes->counts, labels, qn_constant(g, 0)),
            QN_INT32);
    }
    classes->hits = mark_labels(g, classes->labels, x->shape.dims[1]);
    classes->weights = weigh_classes(g, params, x);
    return classes->hits != NULL;
}

// -log p of the label from log p. A label that is no class gives NaN, as the
// kernel of softmax_cross_entropy has it.
static qn_node *miss(qn_graph *g, const struct classes *classes,
                     qn_node *log_p)
{
    qn_node *found = sum_classes(g, classes->hits);
    return qn_div(g, qn_neg(g, pick(g, classes->hits, log_p)), found);
}

// The weight of each sample, or NULL: all 1.
static qn_node *weigh_samples(qn_graph *g, const struct classes *classes)
{
    if (!classes->weights)
        return classes->counts;
    qn_node *own = sum_classes(
        g, qn_mul(g, classes->hits, classes->weights));
    return classes->counts ? qn_mul(g, own, classes->counts) : own;
}

// Weighted, and 0 where ignored.
static void finish_classes(qn_graph *g, const struct classes *classes,
                           qn_node *terms, struct qn_loss_terms *out)
{
    out->weights = weigh_samples(g, classes);
    out->terms = out->weights ? qn_mul(g, terms, out->weights) : terms;
}

// ---- softmax cross entropy, negative log likelihood ----

enum { CE_SMOOTHING, CE_IGNORE };
enum { NLL_IGNORE };

// Targets that are probabilities.
static void soft_targets(qn_graph *g, const struct qn_loss_params *params,
                         qn_node *x, qn_node *target,
                         struct qn_loss_terms *out)
{
    double smoothing = params->values[CE_SMOOTHING];
    qn_node *weights = weigh_classes(g, params, x);
    if (smoothing > 0)
        target = qn_add_scalar(g, qn_scale(g, target, 1 - smoothing),
                               smoothing / (double)x->shape.dims[1]);
    qn_node *terms = qn_mul(g, target, qn_neg(g, qn_log_softmax(g, x, 1)));
    out->terms = sum_classes(g, weights ? qn_mul(g, terms, weights) : terms);
}

// Smoothing spreads a part of each sample over all classes, each by its own
// weight; the mean still divides by the weights of the labels.
static void cross_entropy(qn_graph *g, const struct qn_loss_params *params,
                          qn_node *x, qn_node *target,
                          struct qn_loss_terms *out)
{
    double smoothing = params->values[CE_SMOOTHING];
    struct classes classes;
    if (target->dtype != QN_INT32) {
        soft_targets(g, params, x, target, out);
        return;
    }
    if (!find_classes(g, params, CE_IGNORE, x, target, &classes))
        return;
    if (smoothing == 0 && x->shape.rank == 2) {
        finish_classes(g, &classes,
                       qn_softmax_cross_entropy(g, x, classes.labels), out);
        return;
    }
    qn_node *log_p = qn_log_softmax(g, x, 1);
    finish_classes(g, &classes, miss(g, &classes, log_p), out);
    if (smoothing == 0)
        return;
    qn_node *spread = classes.weights ? qn_mul(g, log_p, classes.weights)
                                      : log_p;
    spread = qn_scale(g, sum_classes(g, spread),
                      -smoothing / (double)x->shape.dims[1]);
    if (classes.counts)
        spread = qn_mul(g, spread, classes.counts);
    out->terms = qn_add(g, qn_scale(g, out->terms, 1 - smoothing), spread);
}

static void nll(qn_graph *g, const struct qn_loss_params *params, qn_node *x,
                qn_node *target, struct qn_loss_terms *out)
{
    struct classes classes;
    if (find_classes(g, params, NLL_IGNORE, x, target, &classes))
        finish_classes(g, &classes, miss(g, &classes, x), out);
}

// ---- support vector machine ----

enum { HINGE_MARGIN, HINGE_SQUARED };

static void hinge(qn_graph *g, const struct qn_loss_params *params,
                  qn_node *x, qn_node *target, struct qn_loss_terms *out)
{
    const int axis = 1;
    const struct qn_reduce_params *along =
        qn_reduce_params(.axes = &axis, .axis_count = 1, .keep = true);
    qn_node *hits = mark_labels(g, target, x->shape.dims[axis]);
    qn_node *own = qn_div(g, qn_sum(g, qn_mul(g, hits, x), along),
                          qn_sum(g, hits, along)); // NaN where there is none
    qn_node *over = qn_relu(g, qn_add_scalar(g, qn_sub(g, x, own),
                                             params->values[HINGE_MARGIN]));
    if (params->values[HINGE_SQUARED] != 0)
        over = qn_square(g, over);
    out->terms =
        sum_classes(g, qn_select(g, hits, qn_constant(g, 0), over));
}

// ---- element by element ----

static void mean_squared(qn_graph *g, const struct qn_loss_params *params,
                         qn_node *x, qn_node *target,
                         struct qn_loss_terms *out)
{
    (void)params;
    out->terms = qn_square(g, qn_sub(g, x, target));
}

static void l1(qn_graph *g, const struct qn_loss_params *params, qn_node *x,
               qn_node *target, struct qn_loss_terms *out)
{
    (void)params;
    out->terms = qn_abs(g, qn_sub(g, x, target));
}

// c (d - c / 2), c = min(d, delta): d^2 / 2 near 0, then straight.
static void huber(qn_graph *g, const struct qn_loss_params *params,
                  qn_node *x, qn_node *target, struct qn_loss_terms *out)
{
    qn_node *d = qn_abs(g, qn_sub(g, x, target));
    qn_node *c = qn_min(g, d, qn_constant(g, params->values[0]));
    out->terms = qn_mul(g, c, qn_sub(g, d, qn_scale(g, c, 0.5)));
}

static void smooth_l1(qn_graph *g, const struct qn_loss_params *params,
                      qn_node *x, qn_node *target, struct qn_loss_terms *out)
{
    huber(g, params, x, target, out);
    out->terms = qn_scale(g, out->terms, 1 / params->values[0]);
}

// -log sigmoid(-x) and -log sigmoid(x), each weighted: no difference of large
// numbers.
static void bce_with_logits(qn_graph *g, const struct qn_loss_params *params,
                            qn_node *x, qn_node *target,
                            struct qn_loss_terms *out)
{
    qn_node *rest = qn_sub(g, qn_constant(g, 1), target);
    qn_node *hit = qn_mul(g, target, qn_softplus(g, qn_neg(g, x)));
    if (params->values[0] != 1)
        hit = qn_scale(g, hit, params->values[0]);
    out->terms = qn_add(g, hit, qn_mul(g, rest, qn_softplus(g, x)));
}

// t (log t - x), 0 where t is 0.
static void kl_divergence(qn_graph *g, const struct qn_loss_params *params,
                          qn_node *x, qn_node *target,
                          struct qn_loss_terms *out)
{
    qn_node *zero = qn_constant(g, 0);
    qn_node *is_some = qn_greater(g, target, zero);
    qn_node *some = qn_select(g, is_some, target, qn_constant(g, 1));
    qn_node *gap = qn_sub(g, qn_log(g, some), x);
    out->terms = qn_select(g, is_some, qn_mul(g, target, gap), zero);
    if (params->values[0] != 0) // as many samples as x has, not elements
        out->terms = sum_classes(
            g, qn_reshape(g, out->terms, qn_shape_of(x->shape.dims[0], -1)));
}

// ---- the table ----

#define IGNORE                                                             \
    {"ignore_index", NAN, INT32_MIN, INT32_MAX,                            \
     "label of samples that do not count; none by default"}

static const struct qn_loss rows[] = {
    {.name = "softmax_cross_entropy",
     .formula = "mean_n(log sum_j e^x_nj - x_n,label), each sample by its "
                "class's weight; targets (1 - s) t + s / classes",
     .source = "Szegedy et al.: Rethinking the Inception architecture, CVPR "
               "2016 (label smoothing)",
     .takes_weights = true, .is_of_logits = true, .key_count = 2,
     .keys = {[CE_SMOOTHING] = {"label_smoothing", 0, 0, 1,
                                "s, spread over all classes"},
              [CE_IGNORE] = IGNORE},
     .build = cross_entropy},
    {.name = "nll",
     .formula = "mean_n(-x_n,label) of log-probabilities x, each sample by "
                "its class's weight",
     .takes_weights = true, .is_of_logits = true, .key_count = 1,
     .keys = {[NLL_IGNORE] = IGNORE},
     .build = nll},
    {.name = "mean_squared",
     .formula = "mean((x - t)^2), t one-hot where it is labels",
     .takes_one_hot = true, .build = mean_squared},
    {.name = "l1", .formula = "mean(|x - t|), t one-hot where it is labels",
     .takes_one_hot = true, .build = l1},
    {.name = "huber",
     .formula = "mean(d^2 / 2 where d = |x - t| <= delta, else delta "
                "(d - delta / 2))",
     .source = "Huber: Robust estimation of a location parameter, 1964",
     .takes_one_hot = true, .key_count = 1,
     .keys = {{"delta", 1, 1e-6, 1e6, "where the parabola ends"}},
     .build = huber},
    {.name = "smooth_l1", .formula = "huber with delta beta, over beta",
     .source = "Girshick: Fast R-CNN, ICCV 2015",
     .takes_one_hot = true, .key_count = 1,
     .keys = {{"beta", 1, 1e-6, 1e6, "where the parabola ends"}},
     .build = smooth_l1},
    {.name = "bce_with_logits",
     .formula = "mean(-pos_weight t log s(x) - (1 - t) log(1 - s(x))), s the "
                "sigmoid, t one-hot where it is labels",
     .takes_one_hot = true, .key_count = 1,
     .keys = {{"pos_weight", 1, 0, 1e6, "of what is there, t = 1"}},
     .build = bce_with_logits},
    {.name = "hinge",
     .formula = "mean_n(sum_{j != label} max(0, x_nj - x_n,label + "
                "margin))",
     .source = "Weston, Watkins: Support vector machines for multi-class "
               "pattern recognition, 1999",
     .key_count = 2,
     .keys = {[HINGE_MARGIN] = {"margin", 1, 0, 1e6, "that is asked for"},
              [HINGE_SQUARED] = {"squared", 0, 0, 1, "1: sums squares"}},
     .build = hinge},
    {.name = "kl_divergence",
     .formula = "mean(t (log t - x)) of log-probabilities x, t one-hot where "
                "it is labels",
     .source = "Kullback, Leibler: On information and sufficiency, 1951",
     .takes_one_hot = true, .is_of_logits = true, .key_count = 1,
     .keys = {{"batch_mean", 0, 0, 1,
               "1: divide by the samples and not by the elements"}},
     .build = kl_divergence},
};
enum { ROW_COUNT = sizeof rows / sizeof *rows };

const struct qn_loss *qn_loss_at(int index)
{
    return index >= 0 && index < ROW_COUNT ? &rows[index] : NULL;
}

const struct qn_loss *qn_loss_find(const char *name)
{
    for (int i = 0; i < ROW_COUNT; i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}

struct qn_loss_params qn_loss_defaults(const struct qn_loss *loss)
{
    struct qn_loss_params params = {.loss = loss};
    for (int i = 0; i < loss->key_count; i++)
        params.values[i] = loss->keys[i].value;
    return params;
}

// ---- the node ----

static qn_node *reduce(qn_graph *g, const struct qn_loss_terms *out,
                       qn_reduction reduction)
{
    if (!out->terms || reduction == QN_REDUCE_NONE)
        return out->terms;
    if (reduction == QN_REDUCE_MEAN && !out->weights)
        return qn_mean(g, out->terms, NULL);
    qn_node *sum = qn_sum(g, out->terms, NULL);
    return reduction == QN_REDUCE_SUM
               ? sum
               : qn_div(g, sum, qn_sum(g, out->weights, NULL));
}

// The terms; none after an error.
static struct qn_loss_terms make_terms(qn_graph *g,
                                       const struct qn_loss_params *params,
                                       qn_node *prediction, qn_node *target)
{
    const struct qn_loss *row = params->loss;
    struct qn_loss_terms out = {0};
    if (!prediction || !target)
        return out;
    const qn_shape *shape = &prediction->shape;
    bool is_labels = target->dtype == QN_INT32;
    if (params->weight_count > 0 && !row->takes_weights) {
        qn_graph_fail(g, QN_BAD_ARGUMENT, "%s takes no class weights",
                      row->name);
        return out;
    }
    if (row->takes_one_hot && is_labels && shape->rank >= 2)
        target = mark_labels(g, target, shape->dims[1]);
    if (target && target->dtype != QN_INT32 &&
        !qn_shape_equal(&target->shape, shape)) {
        qn_graph_fail(g, QN_BAD_SHAPE,
                      "%s: targets need the shape of the predictions, or be "
                      "one int32 label a sample",
                      row->name);
        return out;
    }
    if (target)
        row->build(g, params, prediction, target, &out);
    return out;
}

qn_node *qn_loss_build(qn_graph *g, const struct qn_loss_params *params,
                       qn_node *prediction, qn_node *target)
{
    const struct qn_loss_terms out =
        make_terms(g, params, prediction, target);
    return reduce(g, &out, params->reduction);
}

qn_node *qn_loss_build_sum(qn_graph *g, const struct qn_loss_params *params,
                           qn_node *prediction, qn_node *target,
                           qn_node **weight)
{
    const struct qn_loss_terms out =
        make_terms(g, params, prediction, target);
    *weight = NULL;
    if (!out.terms)
        return NULL;
    *weight = out.weights
                  ? qn_sum(g, out.weights, NULL)
                  : qn_constant(g, (double)qn_node_count(out.terms));
    return qn_sum(g, out.terms, NULL);
}
