// The keys that any layer may have in JSON: its name, its inputs, whose
// parameters it uses, penalties.
#include "nn/model_read.h"

qn_status qn_read_fail(const struct qn_reader *reader,
                           const struct qn_layer_spec *spec, const char *key,
                           const char *form)
{
    return qn_fail(reader->error, QN_FORMAT, "%s (%s): \"%s\" must be %s",
                   reader->where, spec->layer->name, key, form);
}

// A copy of the name of a layer.
static qn_status read_name(const struct qn_reader *reader,
                           const struct qn_layer_spec *spec, const char *key,
                           const json_t *json, const char **name)
{
    const char *text = json_string_value(json);
    if (!text || !*text || strlen(text) > QN_MAX_NAME)
        return qn_read_fail(reader, spec, key,
                         "the name of a layer, of 1 to 63 bytes");
    *name = qn_arena_string(&reader->model->arena, text);
    return *name ? QN_OK : qn_fail_memory(reader->error, strlen(text));
}

static qn_status read_own_name(const struct qn_reader *reader,
                               struct qn_layer_spec *spec, const json_t *json)
{
    return read_name(reader, spec, "name", json, &spec->links.name);
}

static qn_status read_share(const struct qn_reader *reader,
                            struct qn_layer_spec *spec, const json_t *json)
{
    if (!spec->layer->init && !spec->layer->lists)
        return qn_fail(reader->error, QN_FORMAT,
                       "%s (%s): has no parameters to \"share\"",
                       reader->where, spec->layer->name);
    return read_name(reader, spec, "share", json, &spec->links.share);
}

// A name or a list of them.
static qn_status read_input(const struct qn_reader *reader,
                            struct qn_layer_spec *spec, const json_t *json)
{
    struct qn_layer_links *links = &spec->links;
    const bool is_list = json_is_array(json);
    const size_t count = is_list ? json_array_size(json) : 1;
    if (count == 0)
        return qn_read_fail(reader, spec, "input", "a name or a list of names");
    struct qn_arena *arena = &reader->model->arena;
    links->inputs = qn_arena_alloc(arena, count * sizeof *links->inputs);
    links->input_layers =
        qn_arena_alloc(arena, count * sizeof *links->input_layers);
    if (!links->inputs || !links->input_layers)
        return qn_fail_memory(reader->error, count * sizeof *links->inputs);
    links->input_count = (int)count;
    for (size_t i = 0; i < count; i++)
        QN_TRY(read_name(reader, spec, "input",
                         is_list ? json_array_get(json, i) : json,
                         &links->inputs[i]));
    return QN_OK;
}

static qn_status read_lambda(const struct qn_reader *reader,
                             const struct qn_layer_spec *spec,
                             const char *key, const json_t *json,
                             double *lambda)
{
    *lambda = json_number_value(json);
    if (json_is_number(json) && *lambda >= 0 && *lambda <= 1e6)
        return QN_OK;
    return qn_read_fail(reader, spec, key, "a number between 0 and 1e6");
}

// {"to": "encoder", "weight": 0.01}
static qn_status read_tie(const struct qn_reader *reader,
                          struct qn_layer_spec *spec, const json_t *json)
{
    if (json_object_size(json) != 2 || !json_object_get(json, "to") ||
        !json_object_get(json, "weight"))
        return qn_read_fail(reader, spec, "tie",
                         "an object such as {\"to\": \"a\", \"weight\": "
                         "0.01}");
    QN_TRY(read_lambda(reader, spec, "weight", json_object_get(json, "weight"),
                       &spec->links.tie_weight));
    return read_name(reader, spec, "to", json_object_get(json, "to"),
                     &spec->links.tie);
}

static qn_status read_l1(const struct qn_reader *reader,
                         struct qn_layer_spec *spec, const json_t *json)
{
    return read_lambda(reader, spec, "l1", json, &spec->l1);
}

static qn_status read_l2(const struct qn_reader *reader,
                         struct qn_layer_spec *spec, const json_t *json)
{
    return read_lambda(reader, spec, "l2", json, &spec->l2);
}

static qn_status read_max_norm(const struct qn_reader *reader,
                               struct qn_layer_spec *spec, const json_t *json)
{
    return read_lambda(reader, spec, "max_norm", json, &spec->max_norm);
}

static qn_status skip(const struct qn_reader *reader, struct qn_layer_spec *spec,
                      const json_t *json)
{
    (void)reader, (void)spec, (void)json;
    return QN_OK;
}

static const struct key {
    const char *name;
    bool has_parameters; // only of layers that have some
    qn_status (*read)(const struct qn_reader *reader,
                      struct qn_layer_spec *spec, const json_t *json);
} keys[QN_COMMON_KEYS] = {
    {"type", false, skip},        {"name", false, read_own_name},
    {"input", false, read_input}, {"share", false, read_share},
    {"tie", true, read_tie},      {"l1", true, read_l1},
    {"l2", true, read_l2},        {"max_norm", true, read_max_norm},
};

static bool may_have(const qn_layer *layer, const struct key *key)
{
    return layer->init || !key->has_parameters;
}

int qn_common_key_names(const qn_layer *layer, const char **names)
{
    int count = 0;
    for (int i = 0; i < QN_COMMON_KEYS; i++)
        if (may_have(layer, &keys[i]))
            names[count++] = keys[i].name;
    return count;
}

qn_status qn_read_common_key(const struct qn_reader *reader,
                             struct qn_layer_spec *spec, const char *name,
                             const json_t *json, bool *is_common)
{
    *is_common = false;
    for (int i = 0; i < QN_COMMON_KEYS; i++) {
        if (strcmp(keys[i].name, name) != 0 ||
            !may_have(spec->layer, &keys[i]))
            continue;
        *is_common = true;
        return keys[i].read(reader, spec, json);
    }
    return QN_OK;
}
