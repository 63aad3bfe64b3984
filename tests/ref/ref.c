// What all references use: making tensors, walking them, finding a row.
#include "ref/ref.h"

#include <stdlib.h>
#include <string.h>

int64_t ref_count(const struct ref_shape *shape)
{
    int64_t count = 1;
    for (int d = 0; d < shape->rank; d++)
        count *= shape->dims[d];
    return count;
}

void ref_make(struct ref_tensor *tensor, const struct ref_shape *shape)
{
    tensor->shape = *shape;
    tensor->data = calloc((size_t)ref_count(shape), sizeof *tensor->data);
    if (!tensor->data)
        abort();
}

void ref_free(struct ref_tensor *tensor)
{
    free(tensor->data);
    tensor->data = NULL;
}

void ref_unravel(const struct ref_shape *shape, int64_t i, int64_t *index)
{
    for (int d = shape->rank - 1; d >= 0; d--) {
        index[d] = i % shape->dims[d];
        i /= shape->dims[d];
    }
}

int64_t ref_ravel(const struct ref_shape *shape, const int64_t *index)
{
    int64_t i = 0;
    for (int d = 0; d < shape->rank; d++)
        i = i * shape->dims[d] + index[d];
    return i;
}

double ref_at(const struct ref_tensor *tensor, const struct ref_shape *shape,
              int64_t i)
{
    int64_t wide[REF_MAX_RANK], index[REF_MAX_RANK];
    int skip = shape->rank - tensor->shape.rank;
    if (shape->rank == 1 && skip == 0 && tensor->shape.dims[0] > 1)
        return tensor->data[i]; // millions of them are tried
    ref_unravel(shape, i, wide);
    for (int d = 0; d < tensor->shape.rank; d++)
        index[d] = tensor->shape.dims[d] == 1 ? 0 : wide[d + skip];
    return tensor->data[ref_ravel(&tensor->shape, index)];
}

struct ref_shape ref_broadcast(const struct ref_tensor *in, int count)
{
    struct ref_shape shape = {0};
    for (int k = 0; k < count; k++)
        if (in[k].shape.rank > shape.rank)
            shape.rank = in[k].shape.rank;
    for (int d = 0; d < shape.rank; d++) {
        shape.dims[d] = 1;
        for (int k = 0; k < count; k++) {
            int skip = shape.rank - in[k].shape.rank;
            if (d >= skip && in[k].shape.dims[d - skip] != 1)
                shape.dims[d] = in[k].shape.dims[d - skip];
        }
    }
    return shape;
}

ref_function *ref_find(const char *name)
{
    const struct ref_op *const tables[] = {
        ref_pointwise,
        ref_activation,
        ref_reduce,
        ref_shape,
        ref_product,
        ref_conv,
        ref_classify,
        ref_random,
        ref_norm,
        ref_pool,
        ref_regions,
        ref_resample,
    };
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (const struct ref_op *op = tables[t]; op->name; op++)
            if (strcmp(op->name, name) == 0)
                return op->run;
    return NULL;
}
