// Models: how a text becomes one, and what others may ask of it. Knows no single
// layer.
#include "nn/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "base/text.h"

enum { MAX_NAMES = 256 };

qn_status qn_model_fail_name(const char *name, const char *where,
                             qn_error *error)
{
    const char *names[MAX_NAMES];
    const qn_layer *layer;
    const struct qn_model_row *row;
    int count = 0;
    for (int i = 0; count < MAX_NAMES && (layer = qn_layer_at(i)); i++)
        names[count++] = layer->name;
    for (int i = 0; count < MAX_NAMES && (row = qn_model_row_at(i)); i++)
        names[count++] = row->name;
    const char *near = qn_text_nearest(name, names, count);
    return qn_fail(error, QN_FORMAT,
                   "%s: no layer is called \"%.60s\"%s%s%s (quern list "
                   "layers shows all)",
                   where, name, near ? "; did you mean \"" : "",
                   near ? near : "", near ? "\"?" : "");
}

qn_status qn_model_allot(struct qn_model *model, size_t count,
                         struct qn_sequence *sequence, const char *what,
                         qn_error *error)
{
    if (count > (size_t)(QN_MAX_LAYERS - model->layer_count))
        return qn_fail(error, QN_FORMAT, "%.150s: more than %d layers", what,
                       QN_MAX_LAYERS);
    size_t size = count * sizeof *sequence->layers;
    sequence->layers = qn_arena_alloc(&model->arena, size + 1);
    if (!sequence->layers)
        return qn_fail_memory(error, size);
    sequence->count = (int)count;
    model->layer_count += (int)count;
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
    return status == QN_OK ? qn_model_link(model, path, error) : status;
}

static bool is_json(const char *text)
{
    return text[strspn(text, " \t\r\n")] == '{';
}

qn_status qn_model_parse(struct qn_model *model, const char *text,
                         const char *what, qn_error *error)
{
    return is_json(text)
               ? qn_model_parse_json(model, text, strlen(text), what, error)
               : qn_model_parse_text(model, text, what, error);
}

static qn_status parse(struct qn_model *model, const char *text,
                       qn_error *error)
{
    char what[128] = "model";
    const struct qn_model_row *row = qn_model_row_find(text);
    if (row)
        text = row->definition;
    if (!is_json(text) && ends_with(text, ".json"))
        return parse_file(model, text, error);
    if (!is_json(text))
        snprintf(what, sizeof what, "model \"%.100s\"", text);
    QN_TRY(qn_model_parse(model, text, what, error));
    return qn_model_link(model, what, error);
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
    qn_arena_finish(&(*model)->arena);
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
               ? model->all[index]->layer
               : NULL;
}

const char *qn_model_layer_path(const qn_model *model, int index)
{
    return index >= 0 && index < model->layer_count ? model->all[index]->path
                                                    : NULL;
}
