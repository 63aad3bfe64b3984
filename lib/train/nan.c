// Why a step's loss or gradient is not finite, in words. A loss is made once
// more on the parameters that its step had, which the update's gate has kept,
// to see the first layer whose output is not finite; for a gradient the update's
// watch tells in which parameters it was so first. Knows no loop.
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/graph.h"
#include "quern/op.h"
#include "train/train.h"

// Magnitudes beyond which parameters and samples are called huge: networks in
// use stay below by far.
static const double huge_weight = 1e4, huge_input = 1e6;

// ---- tensors ----

// What is seen of a tensor.
struct sight {
    double most;     // largest magnitude that is finite
    bool has_nan;    // else infinities, where `samples` are bad
    int64_t samples; // with elements that are not finite
    int64_t first;   // of these
};

static struct sight look(const float *values, int64_t samples, int64_t each)
{
    struct sight sight = {0};
    for (int64_t n = 0; n < samples; n++) {
        bool is_bad = false;
        for (int64_t i = 0; i < each; i++) {
            const double x = (double)values[n * each + i];
            if (!isfinite(x)) {
                is_bad = true;
                sight.has_nan |= isnan(x);
            } else if (fabs(x) > sight.most) {
                sight.most = fabs(x);
            }
        }
        if (is_bad && sight.samples++ == 0)
            sight.first = n;
    }
    return sight;
}

static const char *kind(const struct sight *sight)
{
    return sight->has_nan ? "NaN" : "infinity";
}

// ---- parameters ----

// Index in the store of parameter `number` in the order of the graph, or -1.
static int find_parameter(const qn_store *store, int number,
                          qn_store_entry *entry)
{
    for (int i = 0; i < qn_store_count(store); i++)
        if (qn_store_entry_at(store, i, entry) == QN_OK &&
            strcmp(entry->group, "parameters") == 0 && number-- == 0)
            return i;
    return -1;
}

static qn_status look_at_parameter(qn_store *store, int index,
                                   const qn_store_entry *entry,
                                   struct sight *sight, qn_error *error)
{
    const int64_t count = qn_shape_count(&entry->shape);
    const size_t size = (size_t)count * sizeof(float);
    float *values = malloc(size);
    if (!values)
        return qn_fail_memory(error, size);
    qn_status status = qn_store_read(store, index, values, size, error);
    if (status == QN_OK)
        *sight = look(values, 1, count);
    free(values);
    return status;
}

// The layer that has a parameter, or -1.
static int owner_of(const qn_model *model, const char *parameter)
{
    size_t most = 0;
    int owner = -1;
    for (int i = 0; i < qn_model_layer_count(model); i++) {
        const char *path = qn_model_layer_path(model, i);
        const size_t length = strlen(path);
        if (length >= most && strncmp(parameter, path, length) == 0 &&
            parameter[length] == '.') {
            most = length;
            owner = i;
        }
    }
    return owner;
}

// ---- what was found ----

struct finding {
    const struct qn_nan *at;
    // The parameter that is not finite or else the largest: of the layer below
    // if it is huge there, else of the model. What it was before training.
    char name[256];
    struct sight weight, before;
    // The first layer whose output is not finite; -1: none has.
    int layer;
    struct sight output, input;
    double most_input, most_logit;
    bool has_bad_loss; // of what was looked at
    int parameter;     // of the gradients the nearest to the output that is
                       // not finite; -1: none is, or they were not asked for
    int64_t samples; // of the batch, or of the part of it that was looked at
};

// ---- the step's forward pass, once more ----

struct rerun {
    struct qn_train_stage stage;
    int64_t sample, count; // the step's batch
    int64_t offset;        // of the part that was run, in the batch
    int layer_count, parameter_count;
    // The part's samples, each layer's output, the loss, perhaps gradients.
    qn_node **outputs;
    int output_count;
};

static int64_t steps_per_epoch(const struct qn_settings *settings)
{
    const int64_t batch = settings->batch_size;
    return (settings->dataset->train_count + batch - 1) / batch;
}

static void find_batch(const struct qn_nan *at, struct rerun *rerun)
{
    const int64_t total = at->settings->dataset->train_count;
    const int64_t batch = at->settings->batch_size;
    rerun->sample = (at->step - 1) % steps_per_epoch(at->settings) * batch;
    rerun->count = total - rerun->sample;
    if (rerun->count > batch)
        rerun->count = batch;
}

static qn_status build_logits(const struct qn_nan *at, struct rerun *rerun,
                              qn_node **logits, qn_node **labels,
                              qn_error *error)
{
    const struct qn_settings *settings = at->settings;
    struct qn_train_stage *stage = &rerun->stage;
    qn_graph *g = stage->graph = qn_graph_create(QN_FLOAT32);
    rerun->layer_count = qn_model_layer_count(settings->model);
    rerun->outputs = calloc((size_t)rerun->layer_count + 2, sizeof(qn_node *));
    if (!g || !rerun->outputs)
        return qn_fail_memory(error, 1);
    if (qn_optimizer_looks_ahead(&settings->optimizer))
        qn_graph_alias(g, QN_GROUP_LOOKAHEAD, NULL);
    qn_stage_take(stage, settings->dataset, &rerun->outputs[0], labels);
    stage->seed = qn_scalar(g, "seed");
    stage->step = qn_scalar(g, "step");
    if (settings->micro_batch)
        stage->offset = qn_scalar(g, "offset");
    const struct qn_model_build_params params = {
        .training = true,
        .seed = stage->seed,
        .step = stage->step,
        .first = stage->offset,
        .layer_outputs = rerun->outputs + 1};
    *logits = qn_build_logits(g, rerun->outputs[0], settings->model,
                              settings->dataset, &params, error);
    return *logits ? QN_OK : QN_BAD_SHAPE;
}

static qn_status add_gradients(struct rerun *rerun, qn_node *loss,
                               qn_error *error)
{
    qn_graph *g = rerun->stage.graph;
    const int before = rerun->output_count;
    const char *group = qn_graph_parameters(g);
    const int count = qn_group_members(g, group, NULL, 0);
    const size_t size = (size_t)(before + 2 * count) * sizeof(qn_node *);
    qn_node **outputs = realloc(rerun->outputs, size);
    if (!outputs)
        return qn_fail_memory(error, size);
    rerun->outputs = outputs;
    // The parameters behind the gradients: they are not read.
    qn_group_members(g, group, outputs + before + count, count);
    rerun->parameter_count = count;
    rerun->output_count += count;
    return qn_gradients(g, loss, outputs + before + count, count,
                        outputs + before);
}

static qn_status build(const struct qn_nan *at, struct rerun *rerun,
                       qn_error *error)
{
    qn_node *logits = NULL, *labels = NULL;
    QN_TRY(build_logits(at, rerun, &logits, &labels, error));
    qn_graph *g = rerun->stage.graph;
    qn_node *loss = qn_loss_build(g, &at->settings->loss, logits, labels);
    rerun->outputs[rerun->layer_count + 1] = loss;
    rerun->output_count = rerun->layer_count + 2;
    if (at->was_skipped)
        add_gradients(rerun, loss, error);
    return qn_graph_check(g, error);
}

static qn_status run(const struct qn_nan *at, struct rerun *rerun,
                     qn_error *error)
{
    struct qn_train_stage *stage = &rerun->stage;
    const struct qn_plan_params params = {
        .graph = stage->graph,
        .store = at->store,
        .outputs = rerun->outputs,
        .output_count = rerun->output_count};
    qn_plan *plan = stage->plan = qn_plan_create(at->device, &params, error);
    if (!plan)
        return QN_DEVICE;
    QN_TRY(qn_plan_set(plan, stage->first,
                       (double)(rerun->sample + rerun->offset)));
    QN_TRY(qn_plan_set(plan, stage->seed, (double)at->settings->seed));
    QN_TRY(qn_plan_set(plan, stage->step, (double)at->step));
    if (stage->offset)
        QN_TRY(qn_plan_set(plan, stage->offset, (double)rerun->offset));
    return qn_plan_run(plan);
}

static qn_status look_at_output(const struct rerun *rerun, int i,
                                int64_t samples, struct sight *sight,
                                qn_error *error)
{
    const qn_node *node = rerun->outputs[i];
    const int64_t count = qn_shape_count(qn_node_shape(node));
    const size_t size = (size_t)count * sizeof(float);
    float *values = malloc(size);
    if (!values)
        return qn_fail_memory(error, size);
    qn_status status =
        qn_plan_read(rerun->stage.plan, node, values, size);
    if (status == QN_OK)
        *sight = look(values, samples, count / samples);
    free(values);
    return status;
}

static qn_status look_at_loss(const struct rerun *rerun,
                              struct finding *found, qn_error *error)
{
    struct sight sight;
    const int loss = rerun->layer_count + 1;
    QN_TRY(look_at_output(rerun, loss, 1, &sight, error));
    found->has_bad_loss = sight.samples != 0;
    for (int i = 0; i < rerun->parameter_count; i++) {
        QN_TRY(look_at_output(rerun, loss + 1 + i, 1, &sight, error));
        if (sight.samples)
            found->parameter = i;
    }
    return QN_OK;
}

// Containers stand before their layers in the list, but their output comes
// last: the order that counts is that of the nodes.
static qn_status look_at_layers(const struct rerun *rerun,
                                struct finding *found, qn_error *error)
{
    const int logits = rerun->layer_count;
    struct sight *sights = calloc((size_t)logits + 1, sizeof *sights);
    if (!sights)
        return qn_fail_memory(error, 1);
    qn_status status = QN_OK;
    int bad = -1, before = 0;
    for (int i = 0; i <= logits && status == QN_OK; i++) {
        status = look_at_output(rerun, i, rerun->stage.batch, &sights[i],
                                error);
        if (sights[i].samples &&
            (bad < 0 || rerun->outputs[i]->id <= rerun->outputs[bad]->id))
            bad = i;
    }
    for (int i = 0; bad > 0 && i <= logits; i++)
        if (rerun->outputs[i]->id < rerun->outputs[bad]->id &&
            rerun->outputs[i]->id > rerun->outputs[before]->id)
            before = i;
    found->layer = bad > 0 ? bad - 1 : -1;
    found->output = sights[bad > 0 ? bad : 0];
    found->input = sights[before];
    found->most_input = sights[0].most;
    found->most_logit = sights[logits].most;
    free(sights);
    return status;
}

static qn_status repeat_part(struct finding *found, struct rerun *rerun,
                             qn_error *error)
{
    qn_status status = build(found->at, rerun, error);
    if (status == QN_OK)
        status = run(found->at, rerun, error);
    if (status == QN_OK)
        status = look_at_layers(rerun, found, error);
    if (status == QN_OK)
        status = look_at_loss(rerun, found, error);
    found->output.first += rerun->sample + rerun->offset;
    found->samples = rerun->stage.batch;
    qn_train_stage_finish(&rerun->stage);
    free(rerun->outputs);
    return status;
}

// Part by part, until something is not finite.
static qn_status repeat_step(struct finding *found, qn_error *error)
{
    const int64_t part = found->at->settings->micro_batch;
    struct rerun rerun = {0};
    find_batch(found->at, &rerun);
    while (found->layer < 0 && !found->has_bad_loss &&
           found->parameter < 0 && rerun.offset < rerun.count) {
        int64_t size = rerun.count - rerun.offset;
        if (part && size > part)
            size = part;
        rerun.stage.batch = size;
        QN_TRY(repeat_part(found, &rerun, error));
        rerun.offset += size;
    }
    return QN_OK;
}

// ---- parameters, now and at the start ----

// Looks at the parameters of layer `layer`, or of all for -1.
static qn_status look_at_parameters(struct finding *found, int layer,
                                    qn_error *error)
{
    qn_store *store = found->at->store;
    qn_store_entry entry;
    int index;
    found->weight = (struct sight){0};
    *found->name = 0;
    for (int i = 0; (index = find_parameter(store, i, &entry)) >= 0; i++) {
        struct sight sight;
        if (layer >= 0 &&
            owner_of(found->at->settings->model, entry.name) != layer)
            continue;
        QN_TRY(look_at_parameter(store, index, &entry, &sight, error));
        if (found->weight.samples ||
            (!sight.samples && sight.most <= found->weight.most))
            continue;
        found->weight = sight;
        snprintf(found->name, sizeof found->name, "%s", entry.name);
    }
    return QN_OK;
}

static bool is_huge(const struct sight *weight)
{
    return weight->samples || weight->most > huge_weight;
}

// The store's parameters are first values after this.
static qn_status find_weight(struct finding *found, qn_error *error)
{
    const struct qn_nan *at = found->at;
    qn_store_entry entry;
    QN_TRY(look_at_parameters(found, found->layer, error));
    if (!is_huge(&found->weight))
        QN_TRY(look_at_parameters(found, -1, error));
    QN_TRY(qn_model_init(at->settings->model, at->store, at->settings->seed,
                         error));
    const int index = qn_store_find(at->store, "parameters", found->name);
    QN_TRY(qn_store_entry_at(at->store, index, &entry));
    return look_at_parameter(at->store, index, &entry, &found->before, error);
}

// ---- in words ----

static double rate_of(const struct qn_nan *at)
{
    return qn_rates_lr(at->settings, at->state, at->step - 1);
}

struct words {
    char text[1200];
    size_t used;
};

static void QN_PRINTF(2, 3) say(struct words *words, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int more = vsnprintf(words->text + words->used,
                               sizeof words->text - words->used, format, args);
    va_end(args);
    if (more > 0)
        words->used += (size_t)more;
    if (words->used >= sizeof words->text)
        words->used = sizeof words->text - 1;
}

static void say_layer(struct words *words, const qn_model *model, int layer)
{
    say(words, "layer %s (%s)", qn_model_layer_path(model, layer),
        qn_layer_name(qn_model_layer_at(model, layer)));
}

static void say_where(struct words *words, const struct finding *found)
{
    const struct qn_nan *at = found->at;
    const struct sight *output = &found->output;
    if (found->layer < 0) {
        say(words, "the layers' outputs are, the last up to %.3g; %s of it is "
                   "not", found->most_logit,
            found->has_bad_loss ? at->settings->loss.loss->name
                                : "with the penalties the loss");
        return;
    }
    say_layer(words, at->settings->model, found->layer);
    say(words, " gives %s", kind(output));
    if (output->samples < found->samples)
        say(words, " for %lld of the batch's %lld samples, first for sample "
                   "%lld of %s,", (long long)output->samples,
            (long long)found->samples, (long long)at->order[output->first],
            at->settings->dataset->name);
    else
        say(words, " for all samples of the batch,");
    say(words, " out of inputs up to %.3g", found->input.most);
}

static void say_weight(struct words *words, const struct finding *found)
{
    const struct sight *now = &found->weight, *before = &found->before;
    const char *rule = found->at->settings->optimizer.optimizer->name;
    const bool has_grown = now->samples || now->most > 100 * before->most;
    if (!has_grown || before->samples)
        say(words, "%s begins with values up to %.3g: give it smaller ones",
            found->name, before->most);
    else if (now->samples)
        say(words, "%s has become %s: the learning rate %g is too high for "
                   "%s", found->name, kind(now), rate_of(found->at), rule);
    else
        say(words, "%s has grown from %.3g to %.3g: the learning rate %g is "
                   "too high for %s", found->name, before->most, now->most,
            rate_of(found->at), rule);
}

static void say_cause(struct words *words, const struct finding *found)
{
    const double lr = rate_of(found->at);
    say(words, ". Likely cause: ");
    if (found->most_input > huge_input)
        say(words, "samples as large as %.3g: scale them to about 1",
            found->most_input);
    else if (is_huge(&found->weight))
        say_weight(words, found);
    else if (found->layer >= 0 && found->input.most > huge_input)
        say(words, "activations that overflow: normalise them, begin with "
                   "smaller weights, or take a learning rate below %g", lr);
    else if (found->layer >= 0)
        say(words, "in that layer a logarithm, a root or a division at 0, or "
                   "an overflow");
    else if (!found->has_bad_loss)
        say(words, "penalties that are too large for the weights, %s up to "
                   "%.3g", found->name, found->weight.most);
    else
        say(words, "a logarithm, a root or a division at 0 in the loss, or "
                   "outputs too large for it; a learning rate below %g may "
                   "help", lr);
}

// ---- a loss ----

static void explain_loss(const struct finding *found, struct words *words)
{
    say(words, ": ");
    say_where(words, found);
    say_cause(words, found);
}

// ---- a gradient ----

// The parameter nearest to the output among those whose gradient was bad first.
static int find_culprit(const struct qn_nan *at)
{
    const struct qn_optimizer_update *update = qn_stepper_update(*at->stepper);
    const int index = qn_store_find(at->store, QN_GROUP_WATCH, "chunks");
    const size_t size = ((size_t)update->chunk_count + 1) * sizeof(int32_t);
    int32_t *watch = malloc(size);
    qn_error error;
    int culprit = -1;
    if (watch && index >= 0 &&
        qn_store_read(at->store, index, watch, size, &error) == QN_OK)
        for (int i = 0; i < update->chunk_count; i++)
            if (watch[i] == at->step)
                culprit = update->chunk_owners[i];
    free(watch);
    return culprit;
}

static void explain_gradient(const struct qn_nan *at, int culprit,
                             struct words *words)
{
    const qn_model *model = at->settings->model;
    qn_store_entry entry;
    if (culprit >= 0 && find_parameter(at->store, culprit, &entry) >= 0) {
        const int layer = owner_of(model, entry.name);
        say(words, " in %s, of all such the nearest to the output", entry.name);
        if (layer >= 0) {
            say(words, ", so in or after ");
            say_layer(words, model, layer);
        }
    }
    say(words, ", though the loss is. Likely cause: a derivative that "
               "overflows or divides by 0, as that of a root at 0; a learning "
               "rate below %g or clipped gradients may help", rate_of(at));
}

// ---- a step ----

static void begin(const struct qn_nan *at, bool is_gradient,
                  struct words *words)
{
    const char *what = is_gradient ? "gradient" : "loss";
    const int64_t step = at->step;
    const int64_t epoch = (step - 1) / steps_per_epoch(at->settings) + 1;
    if (at->was_skipped)
        say(words, "%lld steps in a row were skipped, up to step %lld (epoch "
                   "%lld), whose %s is not finite", (long long)at->in_a_row,
            (long long)step, (long long)epoch, what);
    else
        say(words, "the %s is not finite at step %lld (epoch %lld)", what,
            (long long)step, (long long)epoch);
}

qn_status qn_nan_explain(const struct qn_nan *at, qn_error *error)
{
    struct words words = {.used = 0};
    struct finding found = {.at = at, .layer = -1, .parameter = -1};
    qn_error why = {0};
    if (at->is_gradient) {
        begin(at, true, &words);
        explain_gradient(at, find_culprit(at), &words);
        return qn_fail(error, QN_NOT_FINITE, "%s", words.text);
    }
    // Its memory may be all that the device has.
    qn_stepper_destroy(at->stepper);
    qn_status status = repeat_step(&found, &why);
    const bool is_gradient =
        found.parameter >= 0 && found.layer < 0 && !found.has_bad_loss;
    if (status == QN_OK && !is_gradient)
        status = find_weight(&found, &why);
    begin(at, is_gradient, &words);
    // What cannot be seen, say for want of memory, is left out.
    if (status != QN_OK)
        say(&words, "; why cannot be told (%s). A learning rate below %g may "
                    "help", why.text, rate_of(at));
    else if (is_gradient)
        explain_gradient(at, found.parameter, &words);
    else
        explain_loss(&found, &words);
    return qn_fail(error, QN_NOT_FINITE, "%s", words.text);
}
