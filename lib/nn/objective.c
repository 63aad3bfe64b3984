// The loss of a graph over a whole data set as a function of its parameters:
// value, gradient and Hessian products, summed over batches on the host. Knows
// no data set and no minimizer.
#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/graph.h"
#include "op/op.h"
#include "quern/minimize.h"

// The vector that the Hessian is multiplied by.
#define GROUP_V "@hessian.v"

// A parameter: where it is in x, in the packed gradient and in the store.
struct member {
    int64_t at, count, packed;
    int index, v_index;
    double l2;
};

// A graph and its plan.
struct part {
    qn_graph *graph;
    struct qn_batch_loss built;
    qn_node *flat; // gradient or product, packed
    qn_plan *plan;
};

struct qn_plan_objective {
    qn_device *device;
    qn_store *store;
    struct qn_plan_objective_params params;
    // By size of batch: the full one, the rest.
    struct part gradients[2], products[2];
    qn_plan_stats stats; // what the plans allocate
    struct member *members;
    int member_count;
    int64_t n, packed; // elements
    double *x;         // what the store holds
    bool has_x;
    bool has_count; // `count` is of it
    double count;
    void *buffer; // of the real type, `packed` elements
    bool is_exact;
    char why[sizeof((qn_error *)0)->text]; // what refused
};

// ---- building ----

static qn_status list_parameters(qn_graph *g, qn_node ***list, int *count)
{
    *count = qn_group_members(g, "parameters", NULL, 0);
    if (*count == 0)
        return qn_graph_fail(g, QN_BAD_ARGUMENT,
                             "objective: the graph has no parameters");
    *list = qn_arena_alloc(&g->arena, (size_t)*count * sizeof **list);
    if (!*list)
        return qn_graph_fail(g, QN_NO_MEMORY, "no memory for %d parameters",
                             *count);
    qn_group_members(g, "parameters", *list, *count);
    return QN_OK;
}

static qn_status take_gradients(qn_graph *g, qn_node *loss, qn_node **wrt,
                                int count, qn_node ***out)
{
    *out = qn_arena_alloc(&g->arena, (size_t)count * sizeof **out);
    if (!*out)
        return qn_graph_fail(g, QN_NO_MEMORY, "no memory for %d gradients",
                             count);
    return qn_gradients(g, loss, wrt, count, *out);
}

// sum over all parameters of sum(gradient * v)
static qn_node *add_slope(qn_graph *g, qn_node **parameters,
                          qn_node **gradients, int count)
{
    qn_node *slope = NULL;
    for (int i = 0; i < count; i++) {
        qn_node *v = qn_variable(g, GROUP_V, qn_node_name(parameters[i]),
                                 g->real, parameters[i]->shape);
        qn_node *part = qn_sum(g, qn_mul(g, gradients[i], v), NULL);
        slope = slope ? qn_add(g, slope, part) : part;
    }
    return slope;
}

static qn_status build_part(struct qn_plan_objective *o, struct part *part,
                            int64_t batch, bool is_product)
{
    qn_node **parameters, **gradients;
    int count;
    part->graph = qn_graph_create(o->params.real);
    if (!part->graph)
        return QN_NO_MEMORY;
    qn_graph *g = part->graph;
    o->params.build(o->params.user, g, batch, &part->built);
    QN_TRY(qn_graph_check(g, NULL));
    if (!part->built.loss || qn_node_count(part->built.loss) != 1 ||
        (part->built.weight && qn_node_count(part->built.weight) != 1))
        return qn_graph_fail(g, QN_BAD_ARGUMENT,
                             "objective: the loss must be one number, and so "
                             "must its weight");
    QN_TRY(list_parameters(g, &parameters, &count));
    QN_TRY(take_gradients(g, part->built.loss, parameters, count,
                          &gradients));
    if (is_product)
        QN_TRY(take_gradients(
            g, add_slope(g, parameters, gradients, count), parameters, count,
            &gradients));
    part->flat = qn_pack(g, gradients, count);
    return qn_graph_check(g, NULL);
}

static qn_status plan_part(struct qn_plan_objective *o, struct part *part,
                           qn_error *error)
{
    qn_node *outputs[4] = {part->flat, part->built.loss};
    int count = 2;
    if (part->built.count)
        outputs[count++] = part->built.count;
    if (part->built.weight)
        outputs[count++] = part->built.weight;
    QN_TRY(qn_store_add(o->store, part->graph, error));
    struct qn_plan_params params = {.graph = part->graph,
                                    .store = o->store,
                                    .outputs = outputs,
                                    .output_count = count};
    qn_plan_stats stats;
    if (qn_store_is_sketch(o->store)) {
        QN_TRY(qn_plan_estimate(o->device, &params, &stats, error));
    } else {
        part->plan = qn_plan_create(o->device, &params, error);
        if (!part->plan)
            return error && error->status ? error->status : QN_DEVICE;
        qn_plan_describe(part->plan, &stats);
    }
    o->stats.own_size += stats.own_size;
    if (stats.own_largest_size > o->stats.own_largest_size)
        o->stats.own_largest_size = stats.own_largest_size;
    return QN_OK;
}

static qn_status fail_build(const struct part *part, qn_status status,
                            qn_error *error)
{
    if (!part->graph)
        return qn_fail_memory(error, 1);
    qn_graph_check(part->graph, error);
    return status;
}

// Graphs of both sizes. An operation without a second gradient makes products
// inexact; all else that goes wrong is an error.
static qn_status build_all(struct qn_plan_objective *o, qn_error *error)
{
    const int64_t sizes[] = {o->params.batch,
                             o->params.samples % o->params.batch};
    o->is_exact = o->params.wants_products;
    for (int i = 0; i < 2 && sizes[i]; i++) {
        qn_status status =
            build_part(o, &o->gradients[i], sizes[i], false);
        if (status != QN_OK)
            return fail_build(&o->gradients[i], status, error);
        if (!o->is_exact)
            continue;
        status = build_part(o, &o->products[i], sizes[i], true);
        if (status == QN_UNSUPPORTED) {
            qn_error refusal = {0};
            qn_graph_check(o->products[i].graph, &refusal);
            snprintf(o->why, sizeof o->why, "%s", refusal.text);
            o->is_exact = false;
        } else if (status != QN_OK) {
            return fail_build(&o->products[i], status, error);
        }
    }
    for (int i = 0; i < 2 && sizes[i]; i++) {
        QN_TRY(plan_part(o, &o->gradients[i], error));
        if (o->is_exact)
            QN_TRY(plan_part(o, &o->products[i], error));
    }
    return QN_OK;
}

static qn_status list_members(struct qn_plan_objective *o, qn_error *error)
{
    qn_graph *g = o->gradients[0].graph;
    const struct qn_penalty *penalties = o->gradients[0].built.penalties;
    const int64_t align = QN_GROUP_ALIGN / (int64_t)qn_dtype_size(g->real);
    qn_node **parameters;
    if (list_parameters(g, &parameters, &o->member_count) != QN_OK)
        return qn_graph_check(g, error);
    o->members = calloc((size_t)o->member_count, sizeof *o->members);
    if (!o->members)
        return qn_fail_memory(error, sizeof *o->members);
    for (int i = 0; i < o->member_count; i++) {
        const char *name = qn_node_name(parameters[i]);
        const int64_t count = qn_node_count(parameters[i]);
        if (penalties && penalties[i].l1 != 0)
            return qn_fail(error, QN_BAD_ARGUMENT,
                           "%s has an l1 penalty, which has no gradient at 0: "
                           "take l2, or an optimizer of mini-batches", name);
        o->members[i] = (struct member){
            .at = o->n,
            .count = count,
            .packed = o->packed,
            .index = qn_store_find(o->store, "parameters", name),
            .v_index = qn_store_find(o->store, GROUP_V, name),
            .l2 = penalties ? penalties[i].l2 : 0,
        };
        o->n += count;
        o->packed += (count + align - 1) / align * align;
    }
    return QN_OK;
}

static qn_status set_up(struct qn_plan_objective *o, qn_error *error)
{
    QN_TRY(build_all(o, error));
    QN_TRY(list_members(o, error));
    o->x = calloc((size_t)o->n, sizeof *o->x);
    o->buffer = calloc((size_t)o->packed, qn_dtype_size(o->params.real));
    return o->x && o->buffer
               ? QN_OK
               : qn_fail_memory(error, (size_t)o->packed * sizeof *o->x);
}

static qn_status check(const qn_device *device, const qn_store *store,
                       const struct qn_plan_objective_params *params,
                       qn_error *error)
{
    QN_REQUIRE(error, device && store && params && params->build);
    QN_REQUIRE(error, params->samples >= 1 && params->batch >= 1);
    QN_REQUIRE(error, params->batch <= params->samples);
    QN_REQUIRE(error, params->real == QN_FLOAT32 ||
                          params->real == QN_FLOAT64);
    return QN_OK;
}

qn_plan_objective *
qn_plan_objective_create(qn_device *device, qn_store *store,
                         const struct qn_plan_objective_params *params,
                         qn_error *error)
{
    if (check(device, store, params, error) != QN_OK)
        return NULL;
    qn_plan_objective *o = calloc(1, sizeof *o);
    if (!o) {
        qn_fail_memory(error, sizeof *o);
        return NULL;
    }
    o->device = device;
    o->store = store;
    o->params = *params;
    if (set_up(o, error) != QN_OK)
        qn_plan_objective_destroy(&o);
    return o;
}

void qn_plan_objective_describe(const qn_plan_objective *objective,
                                qn_plan_stats *stats)
{
    *stats = objective->stats;
}

static void finish_part(struct part *part)
{
    qn_plan_destroy(&part->plan);
    qn_graph_destroy(&part->graph);
}

void qn_plan_objective_destroy(qn_plan_objective **handle)
{
    if (!handle || !*handle)
        return;
    qn_plan_objective *o = *handle;
    for (int i = 0; i < 2; i++) {
        finish_part(&o->products[i]);
        finish_part(&o->gradients[i]);
    }
    free(o->buffer);
    free(o->x);
    free(o->members);
    free(o);
    *handle = NULL;
}

// ---- parameters ----

static void to_real(const struct qn_plan_objective *o, const double *from,
                    int64_t count)
{
    if (o->params.real == QN_FLOAT64) {
        memcpy(o->buffer, from, (size_t)count * sizeof *from);
        return;
    }
    for (int64_t i = 0; i < count; i++)
        ((float *)o->buffer)[i] = (float)from[i];
}

// to += weight * buffer, from its element `start`
static void add_real(const struct qn_plan_objective *o, int64_t start,
                     double weight, double *to, int64_t count)
{
    const float *narrow = (const float *)o->buffer + start;
    const double *wide = (const double *)o->buffer + start;
    if (o->params.real == QN_FLOAT64)
        for (int64_t i = 0; i < count; i++)
            to[i] += weight * wide[i];
    else
        for (int64_t i = 0; i < count; i++)
            to[i] += weight * (double)narrow[i];
}

static qn_status write_group(struct qn_plan_objective *o, const double *x,
                             bool is_v, qn_error *error)
{
    for (int i = 0; i < o->member_count; i++) {
        const struct member *member = &o->members[i];
        to_real(o, x + member->at, member->count);
        QN_TRY(qn_store_write(
            o->store, is_v ? member->v_index : member->index, o->buffer,
            (size_t)member->count * qn_dtype_size(o->params.real), error));
    }
    return QN_OK;
}

qn_status qn_plan_objective_write(qn_plan_objective *o, const double *x,
                                  qn_error *error)
{
    const size_t size = (size_t)o->n * sizeof *x;
    if (o->has_x && memcmp(o->x, x, size) == 0)
        return QN_OK;
    o->has_x = o->has_count = false;
    QN_TRY(write_group(o, x, false, error));
    memcpy(o->x, x, size);
    o->has_x = true;
    return QN_OK;
}

qn_status qn_plan_objective_read(qn_plan_objective *o, double *x,
                                 qn_error *error)
{
    memset(x, 0, (size_t)o->n * sizeof *x);
    o->has_x = o->has_count = false;
    for (int i = 0; i < o->member_count; i++) {
        const struct member *member = &o->members[i];
        QN_TRY(qn_store_read(
            o->store, member->index, o->buffer,
            (size_t)member->count * qn_dtype_size(o->params.real), error));
        add_real(o, 0, 1, x + member->at, member->count);
    }
    return QN_OK;
}

// ---- evaluating ----

static qn_status pass_on(const struct part *part, qn_status status,
                         qn_error *error)
{
    return status == QN_OK ? QN_OK
                           : qn_fail(error, status, "%s",
                                     qn_plan_error(part->plan)->text);
}

static qn_status read_number(struct qn_plan_objective *o,
                             const struct part *part, const qn_node *node,
                             double *value, qn_error *error)
{
    *value = 0;
    QN_TRY(pass_on(part,
                   qn_plan_read(part->plan, node, o->buffer,
                                qn_dtype_size(o->params.real)),
                   error));
    add_real(o, 0, 1, value, 1);
    return QN_OK;
}

// One batch: its packed result into the buffer.
static qn_status run_part(struct qn_plan_objective *o,
                          const struct part *part, int64_t first,
                          qn_error *error)
{
    if (o->params.is_stopped && o->params.is_stopped(o->params.user))
        return qn_fail(error, QN_INTERRUPTED, "stopped while evaluating");
    if (o->params.bind)
        QN_TRY(pass_on(part,
                       o->params.bind(o->params.user, &part->built,
                                      part->plan, first),
                       error));
    return pass_on(part, qn_plan_run(part->plan), error);
}

// What is summed over the batches.
struct sums {
    double *flat;
    double loss, count, weight;
};

// Adds a batch that has run, times `share`.
static qn_status add_batch(struct qn_plan_objective *o,
                           const struct part *part, double share,
                           struct sums *sums, qn_error *error)
{
    const struct qn_batch_loss *built = &part->built;
    const size_t size = (size_t)o->packed * qn_dtype_size(o->params.real);
    double loss, count = 0, weight = share;
    QN_TRY(read_number(o, part, built->loss, &loss, error));
    if (built->count)
        QN_TRY(read_number(o, part, built->count, &count, error));
    if (built->weight)
        QN_TRY(read_number(o, part, built->weight, &weight, error));
    QN_TRY(pass_on(part, qn_plan_read(part->plan, part->flat, o->buffer, size),
                   error));
    sums->loss += share * loss;
    sums->count += count;
    sums->weight += weight;
    for (int i = 0; i < o->member_count; i++)
        add_real(o, o->members[i].packed, share,
                 sums->flat + o->members[i].at, o->members[i].count);
    return QN_OK;
}

// Over all batches. Sums are divided by their weight, means weighted by their
// samples.
static qn_status sum_batches(struct qn_plan_objective *o,
                             const struct part *parts, struct sums *sums,
                             qn_error *error)
{
    const int64_t samples = o->params.samples, batch = o->params.batch;
    memset(sums->flat, 0, (size_t)o->n * sizeof *sums->flat);
    for (int64_t first = 0; first < samples; first += batch) {
        const int64_t left = samples - first;
        const struct part *part = &parts[left < batch];
        const double share =
            part->built.weight
                ? 1
                : (double)(left < batch ? left : batch) / (double)samples;
        QN_TRY(run_part(o, part, first, error));
        QN_TRY(add_batch(o, part, share, sums, error));
    }
    if (!parts->built.weight)
        return QN_OK;
    sums->loss /= sums->weight;
    for (int64_t i = 0; i < o->n; i++)
        sums->flat[i] /= sums->weight;
    return QN_OK;
}

static qn_status evaluate(void *user, const double *x, double *loss,
                          double *gradient, qn_error *error)
{
    struct qn_plan_objective *o = user;
    struct sums sums = {.flat = gradient};
    QN_TRY(qn_plan_objective_write(o, x, error));
    QN_TRY(sum_batches(o, o->gradients, &sums, error));
    *loss = sums.loss;
    for (int i = 0; i < o->member_count; i++) {
        const struct member *member = &o->members[i];
        double sum = 0;
        for (int64_t k = member->at; k < member->at + member->count; k++) {
            sum += x[k] * x[k];
            gradient[k] += member->l2 * x[k];
        }
        *loss += member->l2 / 2 * sum;
    }
    o->count = sums.count;
    o->has_count = true;
    return QN_OK;
}

static qn_status multiply(void *user, const double *x, const double *v,
                          double *product, qn_error *error)
{
    struct qn_plan_objective *o = user;
    struct sums sums = {.flat = product};
    QN_TRY(qn_plan_objective_write(o, x, error));
    QN_TRY(write_group(o, v, true, error));
    QN_TRY(sum_batches(o, o->products, &sums, error));
    for (int i = 0; i < o->member_count; i++) {
        const struct member *member = &o->members[i];
        for (int64_t k = member->at; k < member->at + member->count; k++)
            product[k] += member->l2 * v[k];
    }
    return QN_OK;
}

// ---- the outside ----

struct qn_objective qn_plan_objective_face(qn_plan_objective *o)
{
    return (struct qn_objective){
        .user = o,
        .n = o->n,
        .evaluate = evaluate,
        .hessian_product = o->is_exact ? multiply : NULL,
        .precision = o->params.real == QN_FLOAT32 ? FLT_EPSILON / 2 : 0,
    };
}

bool qn_plan_objective_is_exact(const qn_plan_objective *o, const char **why)
{
    if (why)
        *why = *o->why ? o->why : NULL;
    return o->is_exact;
}

qn_status qn_plan_objective_count(qn_plan_objective *o, const double *x,
                                  double *count, qn_error *error)
{
    QN_TRY(qn_plan_objective_write(o, x, error));
    if (!o->has_count) {
        double loss, *gradient = calloc((size_t)o->n, sizeof *gradient);
        if (!gradient)
            return qn_fail_memory(error, (size_t)o->n * sizeof *gradient);
        qn_status status = evaluate(o, x, &loss, gradient, error);
        free(gradient);
        QN_TRY(status);
    }
    *count = o->count;
    return QN_OK;
}
