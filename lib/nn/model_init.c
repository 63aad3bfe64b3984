// The first values of a model's parameters and buffers.
#include <stdio.h>
#include <stdlib.h>

#include "nn/model.h"

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
        qn_model_find_owner(model, entry->name, &local);
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
