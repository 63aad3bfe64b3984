// Layers: the table of all families, and one layer of a model with the values
// of its keys. Knows no single layer: a row is a short builder of op nodes in
// layer_<family>.c, whose backward pass follows from theirs.
#include "nn/layer.h"

#include <math.h>
#include <stdio.h>

static const struct qn_layer *const families[] = {
    qn_layers_dense,
    qn_layers_conv,
    qn_layers_dropconnect,
    qn_layers_activation,
    qn_layers_norm,
    qn_layers_pool,
    qn_layers_shape,
    qn_layers_regularise,
    qn_layers_structure,
};
enum { FAMILY_COUNT = sizeof families / sizeof *families };

const qn_layer *qn_layer_at(int index)
{
    for (int i = 0; i < FAMILY_COUNT && index >= 0; i++)
        for (const qn_layer *row = families[i]; row->name; row++)
            if (index-- == 0)
                return row;
    return NULL;
}

const qn_layer *qn_layer_find(const char *name)
{
    const qn_layer *row;
    for (int i = 0; (row = qn_layer_at(i)); i++)
        if (strcmp(row->name, name) == 0)
            return row;
    return NULL;
}

const char *qn_layer_name(const qn_layer *layer)
{
    return layer->name;
}

const char *qn_layer_formula(const qn_layer *layer)
{
    return layer->formula;
}

bool qn_layer_mixes_samples(const qn_layer *layer)
{
    return layer->mixes_samples;
}

const struct qn_layer_key *qn_layer_key_at(const qn_layer *layer, int index)
{
    if (!layer->keys || index < 0)
        return NULL;
    for (int i = 0; i <= index; i++)
        if (!layer->keys[i].name)
            return NULL;
    return &layer->keys[index];
}

// ---- a layer of a model ----

struct qn_layer_spec qn_layer_spec_make(const qn_layer *layer)
{
    struct qn_layer_spec spec = {.layer = layer, .l1 = NAN, .l2 = NAN,
                                 .max_norm = NAN};
    const struct qn_layer_key *key;
    for (int i = 0; (key = qn_layer_key_at(layer, i)); i++)
        spec.values[i] = spec.widths[i] = key->value;
    return spec;
}

static qn_status check_range(const struct qn_layer_spec *spec,
                             const struct qn_layer_key *key, double value,
                             const char *where, qn_error *error)
{
    if (qn_key_is(key, "initializer") ||
        (value >= key->minimum && value <= key->maximum))
        return QN_OK;
    return qn_fail(error, QN_FORMAT,
                   "%s (%s): %s is %.10g and must be between %.10g and "
                   "%.10g",
                   where, spec->layer->name, key->name, value, key->minimum,
                   key->maximum);
}

qn_status qn_layer_spec_set(struct qn_layer_spec *spec, int index,
                            double value, const char *where, qn_error *error)
{
    QN_TRY(check_range(spec, &spec->layer->keys[index], value, where, error));
    spec->values[index] = spec->widths[index] = value;
    return QN_OK;
}

qn_status qn_layer_spec_set_width(struct qn_layer_spec *spec, int index,
                                  double value, const char *where,
                                  qn_error *error)
{
    QN_TRY(check_range(spec, &spec->layer->keys[index], value, where, error));
    spec->widths[index] = value;
    return QN_OK;
}

qn_status qn_layer_spec_check(const struct qn_layer_spec *spec,
                              const char *where, qn_error *error)
{
    const struct qn_layer_key *key;
    for (int i = 0; (key = qn_layer_key_at(spec->layer, i)); i++)
        if (isnan(spec->values[i]))
            return qn_fail(error, QN_FORMAT, "%s (%s): \"%s\" is missing (%s)",
                           where, spec->layer->name, key->name, key->meaning);
    return QN_OK;
}

void qn_layer_scope(const struct qn_layer_list *row, int i, char *scope,
                    size_t size)
{
    if (row->is_many)
        snprintf(scope, size, "%s.%d", row->scope, i);
    else
        snprintf(scope, size, "%s", row->scope);
}
