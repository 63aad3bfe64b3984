// Reference of the matrix product.
#include <stddef.h>

#include "ref/ref.h"

// The matrix of `tensor` that stands at index `batch` of the broadcast
// leading dimensions.
static const double *matrix_at(const struct ref_tensor *tensor,
                               const struct ref_shape *leading, int64_t batch)
{
    int64_t wide[REF_MAX_RANK], at = 0;
    const int rank = tensor->shape.rank;
    const int skip = leading->rank - (rank - 2);
    ref_unravel(leading, batch, wide);
    for (int d = 0; d < rank - 2; d++) {
        const int64_t size = tensor->shape.dims[d];
        at = at * size + (size == 1 ? 0 : wide[d + skip]);
    }
    return tensor->data +
           at * tensor->shape.dims[rank - 2] * tensor->shape.dims[rank - 1];
}

static void matmul(const struct ref_tensor *in, int count,
                   const struct ref_params *params, struct ref_tensor *out)
{
    struct ref_tensor leading[2] = {in[0], in[1]};
    leading[0].shape.rank -= 2;
    leading[1].shape.rank -= 2;
    const struct ref_shape batches = ref_broadcast(leading, count);
    const int64_t *a = in[0].shape.dims + leading[0].shape.rank;
    const int64_t *b = in[1].shape.dims + leading[1].shape.rank;
    const int64_t m = a[params->trans_a], k = a[!params->trans_a];
    const int64_t n = b[!params->trans_b];

    struct ref_shape shape = batches;
    shape.dims[shape.rank++] = m;
    shape.dims[shape.rank++] = n;
    ref_make(out, &shape);
    for (int64_t at = 0; at < ref_count(&batches); at++) {
        const double *x = matrix_at(&in[0], &batches, at);
        const double *y = matrix_at(&in[1], &batches, at);
        double *z = out->data + at * m * n;
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < n; j++)
                for (int64_t l = 0; l < k; l++)
                    z[i * n + j] +=
                        x[params->trans_a ? l * m + i : i * k + l] *
                        y[params->trans_b ? j * k + l : l * n + j];
    }
}

const struct ref_op ref_product[] = {
    {"matmul", matmul},
    {NULL, NULL},
};
