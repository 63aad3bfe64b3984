// The nodes that carry an optimizer out: the flat gradient, the tables that
// tell the launch what lies where, the update itself; and its numbers for each
// step. Knows no rule.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "graph/graph.h"
#include "nn/optimizer_units.h"
#include "op/op.h"
#include "op/update.h"
#include "plan/plan.h"
#include "quern/op.h"
#include "quern/optim.h"

_Static_assert((int)QN_MAX_SLOTS <= (int)QN_MAX_UPDATE_SLOTS &&
                   (int)QN_MAX_HYPER <= (int)QN_MAX_UPDATE_DEFINES &&
                   (int)QN_MAX_CONSTANTS <= (int)QN_MAX_UPDATE_CONSTANTS,
               "an update takes what a row may have");

// Elements of a chunk: many chunks for an even load, but long ones, since each
// looks its coefficients up.
enum { CHUNK_SIZE = 4096 };

// What is known while an update is built. All arrays lie in the graph's arena.
struct build {
    qn_graph *g;
    const struct qn_optimizer_params *params;
    qn_node **parameters;
    int count;
    int32_t *chunks; // [chunk_count][QN_CHUNK_COLUMNS]
    int chunk_count;
    int *owners;      // parameter of each chunk
    int32_t *tensors; // [count][QN_TENSOR_COLUMNS]
    bool has_penalty;
    int64_t unit_size; // the largest one with a maximum norm
};

// ---- checks ----

static qn_status check_hyper(qn_graph *g,
                             const struct qn_optimizer_params *params)
{
    qn_error error = {0};
    const qn_status status =
        qn_optimizer_check(params->optimizer, params->hyper, &error);
    return status == QN_OK ? QN_OK
                           : qn_graph_fail(g, status, "%s", error.text);
}

static qn_status check_number(qn_graph *g, const char *what, double value,
                              double most)
{
    if (value >= 0 && value <= most)
        return QN_OK;
    return qn_graph_fail(g, QN_BAD_ARGUMENT,
                         "%s is %.12g and must be from 0 to %.12g", what,
                         value, most);
}

static qn_status check_average(qn_graph *g,
                               const struct qn_optimizer_params *params)
{
    QN_TRY(check_number(g, "average", params->average, 1 - 1e-9));
    if (params->average > 0 || params->average_form != QN_AVERAGE_CORRECTED)
        return QN_OK;
    return qn_graph_fail(g, QN_BAD_ARGUMENT,
                         "a corrected average needs its decay, `average`");
}

static qn_status check_params(qn_graph *g,
                              const struct qn_optimizer_params *params)
{
    QN_TRY(check_hyper(g, params));
    QN_TRY(check_number(g, "clip_value", params->clip_value, 1e30));
    QN_TRY(check_number(g, "clip_norm", params->clip_norm, 1e30));
    QN_TRY(check_number(g, "clip_global_norm", params->clip_global_norm,
                        1e30));
    QN_TRY(check_average(g, params));
    if (params->clip_norm > 0 && params->clip_global_norm > 0)
        return qn_graph_fail(g, QN_BAD_ARGUMENT,
                             "gradients are clipped by their own norms or by "
                             "the global norm, not by both");
    return QN_OK;
}

static bool has_average(const struct qn_optimizer_params *params)
{
    return params->average > 0 || params->average_form == QN_AVERAGE_MEAN;
}

// ---- parameters ----

static struct qn_parameter_options options_of(const struct build *b, int i)
{
    return b->params->options ? b->params->options[i]
                              : qn_parameter_options_defaults();
}

static qn_status check_options(const struct build *b, int i)
{
    const struct qn_parameter_options options = options_of(b, i);
    const struct qn_optimizer *rule = b->params->optimizer;
    const struct {
        const char *name;
        double value;
    } numbers[] = {{"lr_scale", options.lr_scale},
                   {"weight_decay", isnan(options.weight_decay)
                                        ? 0
                                        : options.weight_decay},
                   {"max_norm", options.max_norm}};
    for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++)
        if (!(numbers[k].value >= 0 && numbers[k].value <= 1e30))
            return qn_graph_fail(b->g, QN_BAD_ARGUMENT,
                                 "parameter %s: its %s is %.12g and must be "
                                 "from 0 to 1e+30",
                                 b->parameters[i]->name, numbers[k].name,
                                 numbers[k].value);
    if (!options.has_trust && !rule->has_trust)
        return qn_graph_fail(b->g, QN_BAD_ARGUMENT,
                             "parameter %s is to go without a trust ratio, "
                             "but %s has none: leave trust=0 to lars and lamb",
                             b->parameters[i]->name, rule->name);
    return QN_OK;
}

bool qn_optimizer_looks_ahead(const struct qn_optimizer_params *params)
{
    const int i = params->optimizer
                      ? qn_optimizer_hyper_find(params->optimizer,
                                                "lookahead")
                      : -1;
    return i >= 0 && params->hyper[i] != 0;
}

static qn_status check_group(qn_graph *g,
                             const struct qn_optimizer_params *params,
                             const char *group)
{
    const char *want = qn_optimizer_looks_ahead(params) ? QN_GROUP_LOOKAHEAD
                                                        : "parameters";
    if (strcmp(group, want) == 0)
        return QN_OK;
    return qn_graph_fail(g, QN_BAD_ARGUMENT,
                         "%s: the graph's parameters lie in the group \"%s\", "
                         "not \"%s\": call qn_graph_alias before the model is "
                         "built",
                         params->optimizer->name, group, want);
}

static qn_status list_parameters(struct build *b)
{
    qn_graph *g = b->g;
    QN_TRY(qn_graph_check(g, NULL));
    const char *group = qn_graph_parameters(g);
    QN_TRY(check_group(g, b->params, group));
    b->count = qn_group_members(g, group, NULL, 0);
    if (b->count == 0)
        return qn_graph_fail(g, QN_BAD_ARGUMENT,
                             "%s: the graph has no parameters",
                             b->params->optimizer->name);
    b->parameters =
        qn_arena_alloc(&g->arena, (size_t)b->count * sizeof(qn_node *));
    if (!b->parameters)
        return qn_graph_fail(g, QN_NO_MEMORY, "no memory for %d parameters",
                             b->count);
    qn_group_members(g, group, b->parameters, b->count);
    for (int i = 0; i < b->count; i++)
        QN_TRY(check_options(b, i));
    for (int i = 0; i < b->count; i++)
        if (!options_of(b, i).is_frozen)
            return QN_OK;
    return qn_graph_fail(g, QN_BAD_ARGUMENT,
                         "%s: all %d parameters are frozen",
                         b->params->optimizer->name, b->count);
}

qn_node *qn_optimizer_gradient(qn_graph *g, qn_node *loss,
                               const struct qn_optimizer_params *params)
{
    struct build b = {.g = g, .params = params};
    if (!g || list_parameters(&b) != QN_OK)
        return NULL;
    const size_t size = (size_t)b.count * sizeof(qn_node *);
    qn_node **wanted = qn_arena_alloc(&g->arena, size);
    qn_node **gradients = qn_arena_alloc(&g->arena, size);
    int count = 0;
    for (int i = 0; wanted && i < b.count; i++)
        if (!options_of(&b, i).is_frozen)
            wanted[count++] = b.parameters[i];
    if (!gradients || !wanted)
        qn_graph_fail(g, QN_NO_MEMORY, "no memory for %d gradients", b.count);
    else if (qn_gradients(g, loss, wanted, count, gradients) == QN_OK)
        return qn_pack(g, gradients, count);
    return NULL;
}

// ---- tables ----

// Elements that a parameter takes in its group.
static int64_t padded_count(const qn_node *parameter)
{
    const int64_t size = (int64_t)qn_node_size(parameter);
    return (size + QN_GROUP_ALIGN - 1) / QN_GROUP_ALIGN * QN_GROUP_ALIGN /
           (int64_t)qn_dtype_size(parameter->dtype);
}

static void add_chunks(struct build *b, int owner, int64_t at, int64_t from,
                       int64_t count)
{
    int32_t *tensor = b->tensors + (ptrdiff_t)owner * QN_TENSOR_COLUMNS;
    tensor[0] = b->chunk_count;
    for (int64_t done = 0; done < count; done += CHUNK_SIZE) {
        int32_t *chunk =
            b->chunks + (ptrdiff_t)b->chunk_count * QN_CHUNK_COLUMNS;
        const int64_t left = count - done;
        chunk[0] = (int32_t)(at + done);
        chunk[1] = (int32_t)(from + done);
        chunk[2] = (int32_t)(left < CHUNK_SIZE ? left : CHUNK_SIZE);
        chunk[3] = owner;
        b->owners[b->chunk_count++] = owner;
    }
    tensor[1] = b->chunk_count - tensor[0];
}

static qn_status make_chunks(struct build *b)
{
    qn_graph *g = b->g;
    int64_t total = 0, chunks = 0, at = 0, from = 0;
    for (int i = 0; i < b->count; i++) {
        const int64_t count = padded_count(b->parameters[i]);
        total += count;
        chunks += (count + CHUNK_SIZE - 1) / CHUNK_SIZE;
    }
    if (total > INT32_MAX)
        return qn_graph_fail(g, QN_BAD_ARGUMENT,
                             "%lld parameters are more than the %lld that one "
                             "update takes", (long long)total,
                             (long long)INT32_MAX);
    const size_t size = sizeof(int32_t);
    b->chunks = qn_arena_alloc(&g->arena,
                               (size_t)chunks * QN_CHUNK_COLUMNS * size);
    b->owners = qn_arena_alloc(&g->arena, (size_t)chunks * sizeof(int));
    b->tensors = qn_arena_alloc(&g->arena,
                                (size_t)b->count * QN_TENSOR_COLUMNS * size);
    if (!b->chunks || !b->owners || !b->tensors)
        return qn_graph_fail(g, QN_NO_MEMORY, "no memory for %lld chunks",
                             (long long)chunks);
    for (int i = 0; i < b->count; i++) {
        const int64_t count = padded_count(b->parameters[i]);
        const bool is_frozen = options_of(b, i).is_frozen;
        add_chunks(b, i, at, from, is_frozen ? 0 : count);
        at += count;
        from += is_frozen ? 0 : count;
    }
    return QN_OK;
}

static void fill_coefficients(struct build *b, int i, double *row)
{
    const struct qn_optimizer *rule = b->params->optimizer;
    const struct qn_parameter_options options = options_of(b, i);
    const struct qn_penalty none = {0};
    const struct qn_penalty penalty =
        b->params->penalties ? b->params->penalties[i] : none;
    const int hyper = qn_optimizer_hyper_find(rule, "weight_decay");
    double decay = hyper >= 0 ? b->params->hyper[hyper] : 0;
    if (!isnan(options.weight_decay))
        decay = options.weight_decay;
    row[QN_COEFFICIENT_SCALE] = options.lr_scale;
    row[QN_COEFFICIENT_L2] = penalty.l2 + (rule->is_decoupled ? 0 : decay);
    row[QN_COEFFICIENT_DECAY] = rule->is_decoupled ? decay : 0;
    row[QN_COEFFICIENT_L1] = penalty.proximal ? 0 : penalty.l1;
    row[QN_COEFFICIENT_PROXIMAL] = penalty.proximal ? penalty.l1 : 0;
    row[QN_COEFFICIENT_TRUST] = options.has_trust;
    row[QN_COEFFICIENT_MAX_NORM] = options.is_frozen ? 0 : options.max_norm;
    b->has_penalty |= penalty.l1 != 0;
}

static qn_node *make_coefficients(struct build *b)
{
    const bool is_double = b->g->real == QN_FLOAT64;
    void *data = qn_arena_alloc(
        &b->g->arena, (size_t)b->count * QN_COEFFICIENTS * sizeof(double));
    if (!data) {
        qn_graph_fail(b->g, QN_NO_MEMORY, "no memory for %d parameters",
                      b->count);
        return NULL;
    }
    for (int i = 0; i < b->count; i++) {
        double row[QN_COEFFICIENTS] = {0};
        fill_coefficients(b, i, row);
        for (int k = 0; k < QN_COEFFICIENTS; k++) {
            const ptrdiff_t at = (ptrdiff_t)i * QN_COEFFICIENTS + k;
            if (is_double)
                ((double *)data)[at] = row[k];
            else
                ((float *)data)[at] = (float)row[k];
        }
    }
    return qn_constant_data(b->g, b->g->real,
                            qn_shape_of(b->count, QN_COEFFICIENTS), data);
}

// ---- the update ----

// A variable for each parameter in a group of its own, and the group.
static qn_node *add_group(const struct build *b, const char *group)
{
    for (int i = 0; i < b->count; i++)
        qn_variable(b->g, group, b->parameters[i]->name,
                    b->parameters[i]->dtype, b->parameters[i]->shape);
    return qn_group(b->g, group);
}

static void add_states(const struct build *b, struct qn_update_inputs *in)
{
    const struct qn_optimizer *row = b->params->optimizer;
    char group[64];
    in->parameters = add_group(b, "parameters");
    if (qn_optimizer_looks_ahead(b->params))
        in->ahead = qn_group(b->g, QN_GROUP_LOOKAHEAD);
    for (int i = 0, count = 0; i < row->slot_count; i++)
        if (qn_optimizer_has_slot(row, b->params->hyper, i)) {
            snprintf(group, sizeof group, "optimizer.%s", row->slots[i]);
            in->slots[count++] = add_group(b, group);
        }
    if (has_average(b->params))
        in->average = add_group(b, "average");
    if (b->params->is_watched)
        in->watch = qn_variable(b->g, "@optimizer.watch", "chunks", QN_INT32,
                                qn_shape_of(b->chunk_count + 1));
}

static void add_scalars(const struct build *b,
                        struct qn_optimizer_update *update,
                        struct qn_update_inputs *in)
{
    in->lr = update->lr = qn_scalar(b->g, "lr");
    in->step = update->step = qn_scalar(b->g, "step");
    if (has_average(b->params))
        in->average_rate = update->average_rate =
            qn_scalar(b->g, "average_rate");
    for (int i = 0; i < b->params->optimizer->constant_count; i++)
        in->constants[i] = update->constants[i] = qn_scalar(b->g, "constant");
}

static void add_settings(const struct qn_optimizer_params *params,
                         struct qn_update_params *update)
{
    const struct qn_optimizer *row = params->optimizer;
    for (int i = 0; i < row->slot_count; i++)
        update->slot_count += qn_optimizer_has_slot(row, params->hyper, i);
    for (int i = 0; i < row->hyper_count; i++)
        if (row->hyper[i].define && params->hyper[i] != 0)
            update->defines[update->define_count++] = row->hyper[i].define;
}

static struct qn_update_params describe(const struct build *b)
{
    const struct qn_optimizer_params *params = b->params;
    const struct qn_optimizer *row = params->optimizer;
    struct qn_update_params update = {
        .kernel = row->kernel,
        .last_kernel = row->last_kernel,
        .constant_count = row->constant_count,
        .has_trust = row->wants_norms,
        .has_penalty = b->has_penalty,
        .clip_value = params->clip_value,
        .has_average = has_average(params),
        .has_lookahead = qn_optimizer_looks_ahead(params),
        .unit_size = b->unit_size,
        .is_watched = params->is_watched,
    };
    add_settings(params, &update);
    if (params->clip_norm > 0) {
        update.clip_norm = QN_CLIP_EACH;
        update.most_norm = params->clip_norm;
    } else if (params->clip_global_norm > 0) {
        update.clip_norm = QN_CLIP_GLOBAL;
        update.most_norm = params->clip_global_norm;
    }
    return update;
}

// The gate, not finite either where the norms tell of a bad gradient.
static qn_node *add_finiteness(qn_graph *g, qn_node *gate, qn_node *norms)
{
    qn_node *bad = qn_sum(g, qn_slice(g, norms, 1, 2, 3, 1), NULL);
    return gate ? qn_add(g, gate, bad) : bad;
}

qn_status qn_optimizer_apply(qn_graph *g, qn_node *gradient,
                             const struct qn_optimizer_params *params,
                             struct qn_optimizer_update *update)
{
    struct build b = {.g = g, .params = params};
    struct qn_update_inputs in = {.gradient = gradient, .gate = params->gate};
    QN_TRY(qn_graph_check(g, NULL));
    QN_TRY(check_params(g, params));
    QN_TRY(list_parameters(&b));
    QN_TRY(make_chunks(&b));
    *update = (struct qn_optimizer_update){.optimizer = params->optimizer,
                                           .chunk_count = b.chunk_count,
                                           .chunk_owners = b.owners};
    memcpy(update->hyper, params->hyper, sizeof update->hyper);
    update->average = params->average;
    update->average_form = params->average_form;
    in.chunks = qn_constant_data(
        g, QN_INT32, qn_shape_of(b.chunk_count, QN_CHUNK_COLUMNS), b.chunks);
    in.tensors = qn_constant_data(
        g, QN_INT32, qn_shape_of(b.count, QN_TENSOR_COLUMNS), b.tensors);
    in.coefficients = make_coefficients(&b);
    in.units = qn_optimizer_units(g, b.parameters, params->options, b.count,
                                  &b.unit_size);
    add_states(&b, &in);
    add_scalars(&b, update, &in);
    const struct qn_update_params how = describe(&b);
    if (params->wants_norms || params->needs_finite_gradient ||
        how.clip_norm || how.has_trust)
        update->norms = in.norms = qn_gradient_norms(
            g, gradient, in.chunks, in.parameters, params->clip_value);
    if (params->needs_finite_gradient)
        in.gate = add_finiteness(g, in.gate, in.norms);
    update->gate = in.gate;
    qn_update(g, &in, &how);
    return qn_graph_check(g, NULL);
}

qn_status qn_optimizer_build(qn_graph *g, qn_node *loss,
                             const struct qn_optimizer_params *params,
                             struct qn_optimizer_update *update)
{
    QN_TRY(qn_graph_check(g, NULL));
    QN_TRY(check_params(g, params));
    return qn_optimizer_apply(g, qn_optimizer_gradient(g, loss, params),
                              params, update);
}

// ---- steps ----

static qn_status copy_variable(qn_store *store, int from, int to, size_t size,
                               qn_error *error)
{
    void *data = malloc(size);
    if (!data)
        return qn_fail_memory(error, size);
    qn_status status = qn_store_read(store, from, data, size, error);
    if (status == QN_OK)
        status = qn_store_write(store, to, data, size, error);
    free(data);
    return status;
}

// The group that this one begins as a copy of, or NULL.
static const char *origin_of(const char *group)
{
    static const char *const pairs[][2] = {{"average", "parameters"},
                                           {"average_buffers", "buffers"},
                                           {"lookahead", "parameters"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (strcmp(group, pairs[i][0]) == 0)
            return pairs[i][1];
    return NULL;
}

qn_status qn_optimizer_begin(qn_store *store, qn_error *error)
{
    QN_REQUIRE(error, store != NULL);
    for (int i = 0; i < qn_store_count(store); i++) {
        qn_store_entry entry;
        QN_TRY(qn_store_entry_at(store, i, &entry));
        const char *group = origin_of(entry.group);
        const int from =
            group ? qn_store_find(store, group, entry.name) : -1;
        if (from >= 0)
            QN_TRY(copy_variable(store, from, i,
                                 (size_t)qn_shape_count(&entry.shape) *
                                     qn_dtype_size(entry.dtype),
                                 error));
    }
    return QN_OK;
}

// How much of the new parameters the average takes in.
static double average_rate(const struct qn_optimizer_update *update,
                           int64_t step)
{
    const double d = update->average;
    if (update->average_form == QN_AVERAGE_MEAN)
        return 1 / (double)step;
    return update->average_form == QN_AVERAGE_FROM_START
               ? 1 - d
               : (1 - d) / -expm1((double)step * log(d));
}

// What is compiled in with one value cannot be had by another one.
static qn_status check_momentum(const struct qn_optimizer_update *update,
                                const double *hyper, qn_plan *plan)
{
    const struct qn_optimizer *row = update->optimizer;
    const int i = qn_optimizer_momentum(row);
    if (row->hyper[i].define && hyper[i] != 0 && update->hyper[i] == 0)
        return qn_fail(&plan->error, QN_BAD_ARGUMENT,
                       "optimizer %s was built with %s 0 and keeps no slot "
                       "for it; start with another value", row->name,
                       row->hyper[i].name);
    return qn_optimizer_check(row, hyper, &plan->error);
}

qn_status qn_optimizer_set(const struct qn_optimizer_update *update,
                           qn_plan *plan, struct qn_optimizer_step *at)
{
    const struct qn_optimizer *row = update->optimizer;
    const int momentum = qn_optimizer_momentum(row);
    double hyper[QN_MAX_HYPER], constants[QN_MAX_CONSTANTS] = {0};
    memcpy(hyper, update->hyper, sizeof hyper);
    if (momentum >= 0 && !isnan(at->momentum)) {
        hyper[momentum] = at->momentum;
        QN_TRY(check_momentum(update, hyper, plan));
    }
    if (row->constants)
        row->constants(hyper, at, constants);
    QN_TRY(qn_plan_set(plan, update->lr, at->lr));
    QN_TRY(qn_plan_set(plan, update->step, (double)at->step));
    if (update->average_rate)
        QN_TRY(qn_plan_set(plan, update->average_rate,
                           average_rate(update, at->step)));
    for (int i = 0; i < row->constant_count; i++)
        QN_TRY(qn_plan_set(plan, update->constants[i], constants[i]));
    return QN_OK;
}
