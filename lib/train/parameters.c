// What is asked of the parameters of a store: how many they are, whether all
// are numbers.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train/train.h"

qn_status qn_check_parameters(qn_store *store, int64_t step, qn_error *error)
{
    for (int i = 0; i < qn_store_count(store); i++) {
        qn_store_entry entry;
        QN_TRY(qn_store_entry_at(store, i, &entry));
        if (strcmp(entry.group, "parameters") != 0)
            continue;
        int64_t count = qn_shape_count(&entry.shape);
        size_t size = (size_t)count * sizeof(float);
        float *values = malloc(size);
        if (!values)
            return qn_fail_memory(error, size);
        qn_status status = qn_store_read(store, i, values, size, error);
        for (int64_t k = 0; k < count && status == QN_OK; k++)
            if (!isfinite(values[k]))
                status = qn_fail(error, QN_NOT_FINITE,
                                 "parameter %s is not finite after step "
                                 "%lld: a smaller learning rate may help",
                                 entry.name, (long long)step);
        free(values);
        QN_TRY(status);
    }
    return QN_OK;
}

int64_t qn_count_parameters(const qn_store *store)
{
    int64_t count = 0;
    for (int i = 0; i < qn_store_count(store); i++) {
        qn_store_entry entry;
        if (qn_store_entry_at(store, i, &entry) == QN_OK &&
            strcmp(entry.group, "parameters") == 0)
            count += qn_shape_count(&entry.shape);
    }
    return count;
}
