// The compact grammar: "512-relu-dropout0.5-10".
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/json.h"
#include "nn/model.h"

enum { MAX_TOKEN = 64 };

// The layer with the longest name that `token` begins with.
static const qn_layer *find_prefix(const char *token)
{
    const qn_layer *best = NULL, *layer;
    for (int i = 0; (layer = qn_layer_at(i)); i++)
        if (strncmp(token, layer->name, strlen(layer->name)) == 0 &&
            (!best || strlen(layer->name) > strlen(best->name)))
            best = layer;
    return best;
}

static qn_status set_number(struct qn_layer_spec *spec, const char *digits,
                            const char *where, qn_error *error)
{
    const struct qn_layer_key *key = qn_layer_key_at(spec->layer, 0);
    double value;
    bool is_integer;
    if (!key)
        return qn_fail(error, QN_FORMAT, "%s: %s takes no number, not \"%s\"",
                       where, spec->layer->name, digits);
    if (!qn_json_parse_number(digits, &value, &is_integer))
        return qn_fail(error, QN_FORMAT,
                       "%s: \"%s\" is no number; write it as in dropout0.5",
                       where, digits);
    if (!is_integer &&
        (qn_key_is(key, "integer") || qn_key_is(key, "pair")))
        return qn_fail(error, QN_FORMAT,
                       "%s (%s): %s is %s and must be a whole number", where,
                       spec->layer->name, key->name, digits);
    return qn_layer_spec_set(spec, 0, value, where, error);
}

static qn_status parse_token(const char *token, const char *where,
                             struct qn_layer_spec *spec, qn_error *error)
{
    if (!*token)
        return qn_fail(error, QN_FORMAT,
                       "%s is empty: a model is layers with single dashes "
                       "between them, such as 512-relu-10",
                       where);
    bool is_width = isdigit((unsigned char)*token) != 0;
    const qn_layer *layer =
        is_width ? qn_layer_find("dense") : find_prefix(token);
    const char *digits =
        layer && !is_width ? token + strlen(layer->name) : token;
    if (!layer || isalpha((unsigned char)*digits) || *digits == '_')
        return qn_model_fail_name(token, where, error);
    if (layer->lists || layer->takes_many)
        return qn_fail(error, QN_FORMAT,
                       "%s: %s needs more than a number; write the model as "
                       "JSON",
                       where, layer->name);
    *spec = qn_layer_spec_make(layer);
    if (*digits)
        QN_TRY(set_number(spec, digits, where, error));
    return qn_layer_spec_check(spec, where, error);
}

static size_t count_layers(const char *text)
{
    size_t count = 1;
    for (; *text; text++)
        count += *text == '-';
    return count;
}

qn_status qn_model_parse_text(struct qn_model *model, const char *text,
                              const char *what, qn_error *error)
{
    struct qn_sequence *layers = &model->layers;
    QN_TRY(qn_model_allot(model, count_layers(text), layers, what, error));
    for (int i = 0; i < layers->count; i++) {
        char token[MAX_TOKEN], where[256];
        size_t length = strcspn(text, "-");
        snprintf(where, sizeof where, "%.150s: layer %d", what, i);
        if (length >= sizeof token)
            return qn_fail(error, QN_FORMAT,
                           "%s is more than %d characters long", where,
                           MAX_TOKEN - 1);
        memcpy(token, text, length);
        token[length] = 0;
        struct qn_layer_spec *spec = &layers->layers[i];
        QN_TRY(parse_token(token, where, spec, error));
        snprintf(token, sizeof token, "%d", i);
        spec->path = qn_arena_string(&model->arena, token);
        if (!spec->path)
            return qn_fail_memory(error, sizeof token);
        text += length + 1;
    }
    return QN_OK;
}
