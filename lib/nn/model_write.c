// The canonical JSON of a model.
#include <math.h>
#include <stdlib.h>

#include "nn/json.h"
#include "nn/model.h"

static json_t *make_value(const struct qn_layer_key *key, double value,
                          double width)
{
    if (qn_key_is(key, "pair") && key->choices && value < 0)
        return json_string(key->choices);
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

// Each returns 0, or -1 without memory, as jansson does.

static int write_keys(json_t *json, const struct qn_layer_spec *spec)
{
    const struct qn_layer_key *key;
    int failed = 0;
    for (int i = 0; (key = qn_layer_key_at(spec->layer, i)); i++) {
        double value = spec->values[i], width = spec->widths[i];
        if (value != key->value || width != value) // no default: NAN differs
            failed |= json_object_set_new(json, key->name,
                                          make_value(key, value, width));
    }
    return failed;
}

// A name, or a list of several.
static json_t *make_input(const struct qn_layer_links *links)
{
    if (links->input_count == 1)
        return json_string(links->inputs[0]);
    json_t *list = json_array();
    for (int i = 0; i < links->input_count; i++)
        if (json_array_append_new(list, json_string(links->inputs[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static int write_links(json_t *json, const struct qn_layer_links *links)
{
    int failed = 0;
    if (links->name)
        failed |= json_object_set_new(json, "name", json_string(links->name));
    if (links->input_count)
        failed |= json_object_set_new(json, "input", make_input(links));
    if (links->share)
        failed |= json_object_set_new(json, "share",
                                      json_string(links->share));
    if (links->tie)
        failed |= json_object_set_new(
            json, "tie",
            json_pack("{ss sf}", "to", links->tie, "weight",
                      links->tie_weight));
    return failed;
}

static int write_sequence(json_t *layers, const struct qn_sequence *sequence);

static int write_lists(json_t *json, const struct qn_layer_spec *spec)
{
    const struct qn_layer_list *row = spec->layer->lists;
    int failed = 0;
    json_t *many = NULL;
    if (row && row->is_many) {
        many = json_array();
        failed |= json_object_set_new(json, row->key, many);
    }
    for (int i = 0; i < spec->list_count && !failed; i++) {
        json_t *layers = json_array();
        if (many)
            failed |= json_array_append_new(many, layers);
        else if (row[i].is_optional && spec->lists[i].count == 0)
            json_decref(layers);
        else
            failed |= json_object_set_new(json, row[i].key, layers);
        if (!failed && spec->lists[i].count)
            failed |= write_sequence(layers, &spec->lists[i]);
    }
    return failed;
}

static int write_layer(json_t *layers, const struct qn_layer_spec *spec)
{
    json_t *json = json_object();
    int failed = json_array_append_new(layers, json);
    failed |= json_object_set_new(json, "type",
                                  json_string(spec->layer->name));
    failed |= write_links(json, &spec->links);
    failed |= write_keys(json, spec);
    if (!isnan(spec->l1))
        failed |= json_object_set_new(json, "l1", json_real(spec->l1));
    if (!isnan(spec->l2))
        failed |= json_object_set_new(json, "l2", json_real(spec->l2));
    if (!isnan(spec->max_norm))
        failed |= json_object_set_new(json, "max_norm",
                                      json_real(spec->max_norm));
    return failed ? failed : write_lists(json, spec);
}

static int write_sequence(json_t *layers, const struct qn_sequence *sequence)
{
    int failed = 0;
    for (int i = 0; i < sequence->count && !failed; i++)
        failed = write_layer(layers, &sequence->layers[i]);
    return failed;
}

char *qn_model_write_json(const struct qn_model *model)
{
    json_t *root = json_object(), *layers = json_array();
    int failed = json_object_set_new(root, "layers", layers);
    if (!failed)
        failed = write_sequence(layers, &model->layers);
    char *text = failed ? NULL : qn_json_write(root);
    json_decref(root);
    return text;
}
