// The JSON grammar: {"layers": [{"type": "dense", "units": 512}, ...]}.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "nn/json.h"
#include "nn/model.h"

enum { MAX_NAMES = 64 };

// ---- values ----

// Place of `name` among "in|out", or -1.
static int find_choice(const char *choices, const char *name)
{
    size_t length = strlen(name);
    for (int i = 0;; i++) {
        size_t width = strcspn(choices, "|");
        if (width == length && strncmp(choices, name, width) == 0)
            return i;
        if (!choices[width])
            return -1;
        choices += width + 1;
    }
}

static int find_init(const char *name)
{
    const struct qn_init *init = qn_init_find(name);
    int index = 0;
    while (init && qn_init_at(index) != init)
        index++;
    return init ? index : -1;
}

static qn_status fail_init(const char *name, const char *where,
                           qn_error *error)
{
    const char *names[MAX_NAMES];
    const struct qn_init *init;
    int count = 0;
    for (int i = 0; count < MAX_NAMES - 1 && (init = qn_init_at(i)); i++) {
        names[count++] = init->name;
        if (init->alias)
            names[count++] = init->alias;
    }
    const char *near = qn_text_nearest(name, names, count);
    return qn_fail(error, QN_FORMAT,
                   "%s: no initializer is called \"%.60s\"%s%s%s", where,
                   name, near ? "; did you mean \"" : "", near ? near : "",
                   near ? "\"?" : "");
}

static qn_status fail_type(const struct qn_layer_key *key, const char *what,
                           const char *where, qn_error *error)
{
    return qn_fail(error, QN_FORMAT, "%s: \"%s\" must be %s (%s)", where,
                   key->name, what, key->meaning);
}

// 3 or [3, 5]: both numbers of a pair.
static qn_status read_pair(struct qn_layer_spec *spec, int index,
                           const json_t *json, const char *where,
                           qn_error *error)
{
    const json_t *h = json_is_array(json) ? json_array_get(json, 0) : json;
    const json_t *w = json_is_array(json) ? json_array_get(json, 1) : json;
    if (!json_is_integer(h) || !json_is_integer(w) ||
        (json_is_array(json) && json_array_size(json) != 2))
        return fail_type(&spec->layer->keys[index],
                         "a whole number or two, [height, width]", where,
                         error);
    QN_TRY(qn_layer_spec_set(spec, index, (double)json_integer_value(h),
                             where, error));
    return qn_layer_spec_set_width(spec, index,
                                   (double)json_integer_value(w), where,
                                   error);
}

// 1.5, or "tanh": the gain for an activation.
static qn_status read_gain(const struct qn_layer_key *key, const json_t *json,
                           const char *where, double *value, qn_error *error)
{
    qn_error detail = {0};
    if (json_is_number(json))
        *value = json_number_value(json);
    else if (!json_is_string(json))
        return fail_type(key, "a number or the name of an activation", where,
                         error);
    else if (qn_init_gain(json_string_value(json), value, &detail) != QN_OK)
        return qn_fail(error, QN_FORMAT, "%s: \"%s\": %s", where, key->name,
                       detail.text);
    return QN_OK;
}

// The value of a key as a number: see struct qn_layer_spec.
static qn_status read_value(const struct qn_layer_key *key,
                            const json_t *json, const char *where,
                            double *value, qn_error *error)
{
    if (qn_key_is(key, "boolean")) {
        if (!json_is_boolean(json))
            return fail_type(key, "true or false", where, error);
        *value = json_is_true(json);
    } else if (qn_key_is(key, "integer")) {
        if (!json_is_integer(json))
            return fail_type(key, "a whole number", where, error);
        *value = (double)json_integer_value(json);
    } else if (qn_key_is(key, "number")) {
        if (!json_is_number(json))
            return fail_type(key, "a number", where, error);
        *value = json_number_value(json);
    } else if (qn_key_is(key, "gain")) {
        return read_gain(key, json, where, value, error);
    } else if (qn_key_is(key, "choice")) {
        int choice = json_is_string(json)
                         ? find_choice(key->choices, json_string_value(json))
                         : -1;
        if (choice < 0)
            return fail_type(key, key->choices, where, error);
        *value = choice;
    } else {
        if (!json_is_string(json))
            return fail_type(key, "the name of an initializer", where, error);
        const char *name = json_string_value(json);
        *value = find_init(name);
        if (*value < 0 && strcmp(name, "default") != 0)
            return fail_init(name, where, error);
    }
    return QN_OK;
}

// ---- reading ----

static qn_status fail_key(const qn_layer *layer, const char *name,
                          const char *where, qn_error *error)
{
    const char *names[QN_MAX_LAYER_KEYS + 1] = {"type"};
    const struct qn_layer_key *key;
    int count = 1;
    for (; (key = qn_layer_key_at(layer, count - 1)); count++)
        names[count] = key->name;
    const char *near = qn_text_nearest(name, names, count);
    return qn_fail(error, QN_FORMAT, "%s (%s) has no key \"%.60s\"%s%s%s",
                   where, layer->name, name, near ? "; did you mean \"" : "",
                   near ? near : "", near ? "\"?" : "");
}

static qn_status read_key(struct qn_layer_spec *spec, const char *name,
                          const json_t *json, const char *where,
                          qn_error *error)
{
    const struct qn_layer_key *key;
    double value;
    for (int i = 0; (key = qn_layer_key_at(spec->layer, i)); i++) {
        if (strcmp(key->name, name) != 0)
            continue;
        if (qn_key_is(key, "pair"))
            return read_pair(spec, i, json, where, error);
        QN_TRY(read_value(key, json, where, &value, error));
        return qn_layer_spec_set(spec, i, value, where, error);
    }
    return fail_key(spec->layer, name, where, error);
}

static qn_status read_layer(struct qn_model *model, json_t *json,
                            const char *what, qn_error *error)
{
    char where[256];
    snprintf(where, sizeof where, "%.150s: layer %d", what,
             model->layer_count);
    const char *type = json_string_value(json_object_get(json, "type"));
    if (!type)
        return qn_fail(error, QN_FORMAT,
                       "%s must be an object with a \"type\", such as "
                       "{\"type\": \"relu\"}",
                       where);
    const qn_layer *layer = qn_layer_find(type);
    if (!layer)
        return qn_model_fail_name(type, where, error);
    struct qn_layer_spec spec = qn_layer_spec_make(layer);
    const char *name;
    json_t *value;
    json_object_foreach(json, name, value)
        if (strcmp(name, "type") != 0)
            QN_TRY(read_key(&spec, name, value, where, error));
    QN_TRY(qn_layer_spec_check(&spec, where, error));
    return qn_model_add(model, &spec, what, error);
}

static qn_status read_model(struct qn_model *model, json_t *root,
                            const char *what, qn_error *error)
{
    json_t *layers = json_object_get(root, "layers"), *value;
    const char *name;
    size_t i;
    json_object_foreach(root, name, value)
        if (strcmp(name, "layers") != 0)
            return qn_fail(error, QN_FORMAT,
                           "%.150s: unknown key \"%.60s\"; a model has one "
                           "key, \"layers\"",
                           what, name);
    if (!json_is_array(layers))
        return qn_fail(error, QN_FORMAT,
                       "%.150s: a model is an object with an array "
                       "\"layers\"",
                       what);
    json_array_foreach(layers, i, value)
        QN_TRY(read_layer(model, value, what, error));
    return QN_OK;
}

qn_status qn_model_parse_json(struct qn_model *model, const char *text,
                              size_t size, const char *what, qn_error *error)
{
    json_t *root;
    QN_TRY(qn_json_parse(text, size, what, &root, error));
    qn_status status = read_model(model, root, what, error);
    json_decref(root);
    return status;
}

// ---- writing ----

static json_t *make_value(const struct qn_layer_key *key, double value,
                          double width)
{
    if (qn_key_is(key, "pair") && value != width)
        return json_pack("[I, I]", (json_int_t)value, (json_int_t)width);
    if (qn_key_is(key, "boolean"))
        return json_boolean(value != 0);
    if (qn_key_is(key, "integer") || qn_key_is(key, "pair"))
        return json_integer((json_int_t)value);
    if (qn_key_is(key, "number") || qn_key_is(key, "gain"))
        return json_real(value);
    if (qn_key_is(key, "initializer"))
        return json_string(value < 0 ? "default"
                                     : qn_init_at((int)value)->name);
    const char *choice = key->choices;
    for (int i = 0; i < (int)value; i++)
        choice += strcspn(choice, "|") + 1;
    return json_stringn(choice, strcspn(choice, "|"));
}

// 0, or -1 without memory, as jansson does.
static int write_layer(json_t *layers, const struct qn_layer_spec *spec)
{
    json_t *json = json_object();
    int failed = json_array_append_new(layers, json);
    failed |= json_object_set_new(json, "type",
                                  json_string(spec->layer->name));
    const struct qn_layer_key *key;
    for (int i = 0; (key = qn_layer_key_at(spec->layer, i)); i++) {
        double value = spec->values[i], width = spec->widths[i];
        if (value != key->value || width != value) // no default: NAN differs
            failed |= json_object_set_new(json, key->name,
                                          make_value(key, value, width));
    }
    return failed;
}

char *qn_model_write_json(const struct qn_model *model)
{
    json_t *root = json_object(), *layers = json_array();
    int failed = json_object_set_new(root, "layers", layers);
    for (int i = 0; i < model->layer_count && !failed; i++)
        failed = write_layer(layers, &model->layers[i]);
    char *text = failed ? NULL : qn_json_write(root);
    json_decref(root);
    return text;
}
