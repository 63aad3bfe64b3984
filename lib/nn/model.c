// Models: built-in ones, how a text becomes one, its graph and its parameters'
// first values. Knows no single layer.
#include "nn/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "base/text.h"

static const struct qn_model_row rows[] = {
    {"mlp", "512-relu-512-relu-10",
     "two hidden layers of 512, the usual first network for digits"},
    {"softmax-regression", "10", "one dense layer: the linear classifier"},
};
enum { ROW_COUNT = sizeof rows / sizeof *rows, MAX_NAMES = 64 };

const struct qn_model_row *qn_model_row_at(int index)
{
    return index >= 0 && index < ROW_COUNT ? &rows[index] : NULL;
}

// ---- making ----

qn_status qn_model_fail_name(const char *name, const char *where,
                             qn_error *error)
{
    const char *names[MAX_NAMES];
    const qn_layer *layer;
    int count = 0;
    for (; count < MAX_NAMES - ROW_COUNT && (layer = qn_layer_at(count));
         count++)
        names[count] = layer->name;
    for (int i = 0; i < ROW_COUNT; i++)
        names[count++] = rows[i].name;
    const char *near = qn_text_nearest(name, names, count);
    return qn_fail(error, QN_FORMAT,
                   "%s: no layer is called \"%.60s\"%s%s%s (quern list "
                   "layers shows all)",
                   where, name, near ? "; did you mean \"" : "",
                   near ? near : "", near ? "\"?" : "");
}

qn_status qn_model_add(struct qn_model *model,
                       const struct qn_layer_spec *spec, const char *what,
                       qn_error *error)
{
    int count = model->layer_count;
    if (count == QN_MAX_LAYERS)
        return qn_fail(error, QN_FORMAT, "%.150s: more than %d layers", what,
                       QN_MAX_LAYERS);
    if ((count & (count - 1)) == 0) { // grows at powers of two
        size_t size = (count ? 2 * (size_t)count : 1) * sizeof *spec;
        struct qn_layer_spec *layers = realloc(model->layers, size);
        if (!layers)
            return qn_fail_memory(error, size);
        model->layers = layers;
    }
    model->layers[model->layer_count++] = *spec;
    return QN_OK;
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), width = strlen(end);
    return length >= width && strcmp(text + length - width, end) == 0;
}

static qn_status parse_file(struct qn_model *model, const char *path,
                            qn_error *error)
{
    unsigned char *data;
    size_t size;
    QN_TRY(qn_os_read_file(path, QN_MAX_MODEL_SIZE, &data, &size, error));
    qn_status status =
        qn_model_parse_json(model, (char *)data, size, path, error);
    free(data);
    return status;
}

static qn_status parse(struct qn_model *model, const char *text,
                       qn_error *error)
{
    char what[128];
    for (int i = 0; i < ROW_COUNT; i++)
        if (strcmp(rows[i].name, text) == 0)
            text = rows[i].definition;
    if (text[strspn(text, " \t\r\n")] == '{')
        return qn_model_parse_json(model, text, strlen(text), "model", error);
    if (ends_with(text, ".json"))
        return parse_file(model, text, error);
    snprintf(what, sizeof what, "model \"%.100s\"", text);
    return qn_model_parse_text(model, text, what, error);
}

qn_model *qn_model_create(const char *text, qn_error *error)
{
    qn_model *model = calloc(1, sizeof *model);
    if (!text || !model) {
        qn_fail(error, text ? QN_NO_MEMORY : QN_BAD_ARGUMENT,
                text ? "no memory for a model" : "the model's text is NULL");
        goto fail;
    }
    if (parse(model, text, error) != QN_OK)
        goto fail;
    if (model->layer_count == 0) {
        qn_fail(error, QN_FORMAT, "the model has no layers");
        goto fail;
    }
    model->json = qn_model_write_json(model);
    if (model->json)
        return model;
    qn_fail(error, QN_NO_MEMORY, "no memory for the model's JSON");
fail:
    qn_model_destroy(&model);
    return NULL;
}

void qn_model_destroy(qn_model **model)
{
    if (!model || !*model)
        return;
    free((*model)->json);
    free((*model)->layers);
    free(*model);
    *model = NULL;
}

const char *qn_model_json(const qn_model *model)
{
    return model->json;
}

int qn_model_layer_count(const qn_model *model)
{
    return model->layer_count;
}

const qn_layer *qn_model_layer_at(const qn_model *model, int index)
{
    return index >= 0 && index < model->layer_count
               ? model->layers[index].layer
               : NULL;
}

// ---- its graph ----

static qn_node *build_layer(const struct qn_layer_spec *spec, qn_graph *g,
                            qn_node *x, int index,
                            const struct qn_model_build_params *params)
{
    struct qn_layer_use use = {
        .values = spec->values,
        .widths = spec->widths,
        .inputs = &x,
        .input_count = 1,
        .training = params->training,
        .stochastic = params->training || params->stochastic,
        .seed = params->seed,
        .step = params->step,
    };
    char scope[16];
    snprintf(scope, sizeof scope, "%d", index);
    qn_graph_push(g, scope);
    x = spec->layer->apply ? spec->layer->apply(g, x)
                           : spec->layer->build(g, x, &use);
    qn_graph_pop(g);
    return x;
}

qn_node *qn_model_build(const qn_model *model, qn_graph *g, qn_node *x,
                        const struct qn_model_build_params *params)
{
    const struct qn_model_build_params predicting = {0};
    if (!params)
        params = &predicting;
    for (int i = 0; i < model->layer_count; i++) {
        x = x ? build_layer(&model->layers[i], g, x, i, params) : NULL;
        if (params->layer_outputs)
            params->layer_outputs[i] = x;
    }
    return x;
}

// ---- first values ----

// The layer that owns "3.weight", and where its local name begins.
static const struct qn_layer_spec *find_owner(const qn_model *model,
                                              const char *name,
                                              const char **local)
{
    char *end;
    long index = strtol(name, &end, 10);
    if (end == name || *end != '.' || index < 0 ||
        index >= model->layer_count || !model->layers[index].layer->init)
        return NULL;
    *local = end + 1;
    return &model->layers[index];
}

// Shape of the parameter "weight" beside `entry`, or that of `entry`.
static qn_shape find_weight(const qn_store *store,
                            const qn_store_entry *entry, const char *local)
{
    char name[256];
    qn_store_entry weight = *entry;
    snprintf(name, sizeof name, "%.*sweight", (int)(local - entry->name),
             entry->name);
    int index = qn_store_find(store, "parameters", name);
    if (index >= 0)
        qn_store_entry_at(store, index, &weight);
    return weight.shape;
}

static qn_status init_entry(const qn_model *model, qn_store *store,
                            int index, const qn_store_entry *entry,
                            uint64_t seed, qn_error *error)
{
    const char *local;
    const struct qn_layer_spec *owner =
        find_owner(model, entry->name, &local);
    if (!owner)
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "parameter \"%s\" belongs to no layer of the model",
                       entry->name);
    qn_shape weight = find_weight(store, entry, local);
    struct qn_init_params params;
    owner->layer->init(owner->values, local, &weight, &params);
    size_t size =
        (size_t)qn_shape_count(&entry->shape) * qn_dtype_size(entry->dtype);
    void *data = malloc(size);
    if (!data)
        return qn_fail_memory(error, size);
    qn_status status = qn_init_fill(&params, &entry->shape, entry->dtype,
                                    entry->name, seed, data, error);
    if (status == QN_OK)
        status = qn_store_write(store, index, data, size, error);
    free(data);
    return status;
}

qn_status qn_model_init(const qn_model *model, qn_store *store, uint64_t seed,
                        qn_error *error)
{
    QN_REQUIRE(error, model && store);
    for (int i = 0; i < qn_store_count(store); i++) {
        qn_store_entry entry;
        QN_TRY(qn_store_entry_at(store, i, &entry));
        if (strcmp(entry.group, "parameters") == 0 ||
            strcmp(entry.group, "buffers") == 0)
            QN_TRY(init_entry(model, store, i, &entry, seed, error));
    }
    return QN_OK;
}
