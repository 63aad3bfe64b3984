// The JSON grammar: {"layers": [{"type": "dense", "units": 512}, ...]}.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "nn/model_read.h"

enum { MAX_NAMES = 64, MAX_LISTS = 4 };

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

// 3 or [3, 5]: both numbers of a pair. A word among the key's choices stands
// for -1.
static qn_status read_pair(struct qn_layer_spec *spec, int index,
                           const json_t *json, const char *where,
                           qn_error *error)
{
    const json_t *h = json_is_array(json) ? json_array_get(json, 0) : json;
    const json_t *w = json_is_array(json) ? json_array_get(json, 1) : json;
    const struct qn_layer_key *key = &spec->layer->keys[index];
    if (key->choices && json_is_string(json) &&
        strcmp(json_string_value(json), key->choices) == 0) {
        spec->values[index] = spec->widths[index] = -1;
        return QN_OK;
    }
    if (!json_is_integer(h) || !json_is_integer(w) ||
        (json_is_array(json) && json_array_size(json) != 2))
        return fail_type(key,
                         "a whole number or two, [height, width]",
                         where, error);
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

static qn_status read_sequence(const struct qn_reader *outer, const char *prefix,
                               const json_t *json,
                               struct qn_sequence *sequence);

static const struct qn_layer_list *find_list(const qn_layer *layer,
                                             const char *name)
{
    const struct qn_layer_list *row = layer->lists;
    while (row && row->key && strcmp(row->key, name) != 0)
        row++;
    return row && row->key ? row : NULL;
}

static qn_status fail_key(const qn_layer *layer, const char *name,
                          const char *where, qn_error *error)
{
    const char *names[QN_MAX_LAYER_KEYS + QN_COMMON_KEYS + MAX_LISTS];
    const struct qn_layer_key *key;
    int count = qn_common_key_names(layer, names);
    for (int i = 0; (key = qn_layer_key_at(layer, i)); i++)
        names[count++] = key->name;
    for (int i = 0; layer->lists && layer->lists[i].key; i++)
        names[count++] = layer->lists[i].key;
    const char *near = qn_text_nearest(name, names, count);
    return qn_fail(error, QN_FORMAT, "%s (%s) has no key \"%.60s\"%s%s%s",
                   where, layer->name, name, near ? "; did you mean \"" : "",
                   near ? near : "", near ? "\"?" : "");
}

static qn_status read_key(const struct qn_reader *reader,
                          struct qn_layer_spec *spec, const char *name,
                          const json_t *json)
{
    const struct qn_layer_key *key;
    const char *where = reader->where;
    double value;
    bool is_common;
    QN_TRY(qn_read_common_key(reader, spec, name, json, &is_common));
    if (is_common || find_list(spec->layer, name))
        return QN_OK; // read_lists
    for (int i = 0; (key = qn_layer_key_at(spec->layer, i)); i++) {
        if (strcmp(key->name, name) != 0)
            continue;
        if (qn_key_is(key, "pair"))
            return read_pair(spec, i, json, where, reader->error);
        QN_TRY(read_value(key, json, where, &value, reader->error));
        return qn_layer_spec_set(spec, i, value, where, reader->error);
    }
    return fail_key(spec->layer, name, where, reader->error);
}

static qn_status read_list(const struct qn_reader *reader,
                           struct qn_layer_spec *spec,
                           const struct qn_layer_list *row, int i,
                           const json_t *json)
{
    char scope[32], prefix[256];
    if (!json_is_array(json) && !(row->is_optional && !json))
        return qn_read_fail(reader, spec, row->key,
                         row->is_many ? "a list of lists of layers"
                                      : "a list of layers");
    qn_layer_scope(row, i, scope, sizeof scope);
    snprintf(prefix, sizeof prefix, "%.200s.%s%s", spec->path, scope,
             *scope ? "." : "");
    return read_sequence(reader, prefix, json, &spec->lists[i]);
}

static qn_status read_lists(const struct qn_reader *reader,
                            struct qn_layer_spec *spec, const json_t *json)
{
    const struct qn_layer_list *row = spec->layer->lists;
    if (!row)
        return QN_OK;
    const json_t *many = row->is_many ? json_object_get(json, row->key) : NULL;
    int count = (int)json_array_size(many);
    while (!row->is_many && row[count].key)
        count++;
    if (count == 0)
        return read_list(reader, spec, row, 0, NULL);
    spec->lists = qn_arena_alloc(&reader->model->arena,
                                 (size_t)count * sizeof *spec->lists);
    if (!spec->lists)
        return qn_fail_memory(reader->error, sizeof *spec->lists);
    spec->list_count = count;
    for (int i = 0; i < count; i++) {
        const struct qn_layer_list *each = many ? row : &row[i];
        QN_TRY(read_list(reader, spec, each, i,
                         many ? json_array_get(many, (size_t)i)
                              : json_object_get(json, each->key)));
    }
    return QN_OK;
}

static qn_status read_layer(const struct qn_reader *outer, const char *path,
                            json_t *json, struct qn_layer_spec *spec)
{
    struct qn_reader reader = *outer;
    qn_error *error = reader.error;
    snprintf(reader.where, sizeof reader.where, "%.150s: layer %.200s",
             reader.what, path);
    const char *type = json_string_value(json_object_get(json, "type"));
    if (!type)
        return qn_fail(error, QN_FORMAT,
                       "%s must be an object with a \"type\", such as "
                       "{\"type\": \"relu\"}",
                       reader.where);
    const qn_layer *layer = qn_layer_find(type);
    if (!layer)
        return qn_model_fail_name(type, reader.where, error);
    *spec = qn_layer_spec_make(layer);
    const char *name;
    json_t *value;
    json_object_foreach(json, name, value)
        QN_TRY(read_key(&reader, spec, name, value));
    QN_TRY(qn_layer_spec_check(spec, reader.where, error));
    spec->path = qn_arena_string(&reader.model->arena, path);
    if (!spec->path)
        return qn_fail_memory(error, strlen(path));
    return read_lists(&reader, spec, json);
}

static qn_status read_sequence(const struct qn_reader *outer, const char *prefix,
                               const json_t *json,
                               struct qn_sequence *sequence)
{
    char path[300];
    json_t *value;
    size_t i;
    QN_TRY(qn_model_allot(outer->model, json_array_size(json), sequence,
                          outer->what, outer->error));
    json_array_foreach((json_t *)json, i, value) {
        snprintf(path, sizeof path, "%s%d", prefix, (int)i);
        QN_TRY(read_layer(outer, path, value, &sequence->layers[i]));
    }
    return QN_OK;
}

static qn_status check_model(const json_t *root, const char *what,
                             qn_error *error)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)root, name, value)
        if (strcmp(name, "layers") != 0 && strcmp(name, "model") != 0 &&
            strcmp(name, "stochastic_depth") != 0)
            return qn_fail(error, QN_FORMAT,
                           "%.150s: unknown key \"%.60s\"; a model has "
                           "\"layers\", or \"model\", and perhaps "
                           "\"stochastic_depth\"",
                           what, name);
    if (json_is_array(json_object_get(root, "layers")) !=
        json_is_string(json_object_get(root, "model")))
        return QN_OK;
    return qn_fail(error, QN_FORMAT,
                   "%.150s: a model is an object with an array \"layers\", "
                   "or with the name of a built-in \"model\"",
                   what);
}

static qn_status read_depth(struct qn_model *model, const json_t *json,
                            const char *what, qn_error *error)
{
    const double last = json_number_value(json);
    if (json && (!json_is_number(json) || last < 0 || last > 1))
        return qn_fail(error, QN_FORMAT,
                       "%.150s: \"stochastic_depth\" must be a number "
                       "between 0 and 1, the probability of dropping the "
                       "last residual block",
                       what);
    if (json)
        model->last_drop = last;
    return QN_OK;
}

static qn_status read_model(struct qn_model *model, json_t *root,
                            const char *what, qn_error *error)
{
    QN_TRY(check_model(root, what, error));
    const struct qn_reader reader = {.model = model, .what = what,
                                  .error = error};
    const char *name = json_string_value(json_object_get(root, "model"));
    const struct qn_model_row *row = name ? qn_model_row_find(name) : NULL;
    if (name && !row)
        return qn_fail(error, QN_FORMAT,
                       "%.150s: no built-in model is called \"%.60s\" (quern "
                       "list models shows all)",
                       what, name);
    if (row)
        QN_TRY(qn_model_parse(model, row->definition, what, error));
    else
        QN_TRY(read_sequence(&reader, "", json_object_get(root, "layers"),
                             &model->layers));
    return read_depth(model, json_object_get(root, "stochastic_depth"), what,
                      error);
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
