// Reference of the operations around classification.
#include <math.h>
#include <stddef.h>

#include "ref/ref.h"

// One line of elements along an axis: `size` of them, `stride` apart.
struct line {
    const double *x;
    int64_t size;
    int64_t stride;
};

static int resolve(int axis, int rank)
{
    return axis < 0 ? axis + rank : axis;
}

// The line through element `i`, from its beginning.
static struct line line_through(const struct ref_tensor *in, int axis,
                                int64_t i)
{
    int64_t stride = 1;
    for (int d = in->shape.rank - 1; d > axis; d--)
        stride *= in->shape.dims[d];
    const int64_t size = in->shape.dims[axis];
    return (struct line){in->data + i - i / stride % size * stride, size,
                         stride};
}

// log sum_j e^x_j
static double log_sum(struct line line)
{
    double most = -INFINITY, sum = 0;
    for (int64_t j = 0; j < line.size; j++)
        most = fmax(most, line.x[j * line.stride]);
    for (int64_t j = 0; j < line.size; j++)
        sum += exp(line.x[j * line.stride] - most);
    return most + log(sum);
}

static void log_softmax(const struct ref_tensor *in, int count,
                        const struct ref_params *params,
                        struct ref_tensor *out)
{
    (void)count;
    const int axis = resolve(params->axis, in->shape.rank);
    ref_make(out, &in->shape);
    for (int64_t i = 0; i < ref_count(&in->shape); i++) {
        const struct line line = line_through(in, axis, i);
        if (line.x != in->data + i)
            continue; // not the first of its line
        const double shift = log_sum(line);
        for (int64_t j = 0; j < line.size; j++)
            out->data[i + j * line.stride] = line.x[j * line.stride] - shift;
    }
}

static void softmax(const struct ref_tensor *in, int count,
                    const struct ref_params *params, struct ref_tensor *out)
{
    log_softmax(in, count, params, out);
    for (int64_t i = 0; i < ref_count(&in->shape); i++)
        out->data[i] = exp(out->data[i]);
}

static void cross_entropy(const struct ref_tensor *in, int count,
                          const struct ref_params *params,
                          struct ref_tensor *out)
{
    (void)count, (void)params;
    const int64_t classes = in->shape.dims[1];
    ref_make(out, &in[1].shape);
    for (int64_t n = 0; n < in->shape.dims[0]; n++) {
        const double *row = in->data + n * classes;
        out->data[n] = log_sum((struct line){row, classes, 1}) -
                       row[(int64_t)in[1].data[n]];
    }
}

// in[2] is the gradient of the losses.
static void cross_entropy_grad(const struct ref_tensor *in, int count,
                               const struct ref_params *params,
                               struct ref_tensor *out)
{
    (void)count, (void)params;
    const int64_t classes = in->shape.dims[1];
    ref_make(out, &in->shape);
    for (int64_t i = 0; i < ref_count(&in->shape); i++) {
        const int64_t n = i / classes;
        const struct line row = {in->data + n * classes, classes, 1};
        const double hit = in[1].data[n] == (double)(i % classes);
        out->data[i] =
            in[2].data[n] * (exp(in->data[i] - log_sum(row)) - hit);
    }
}

static void one_hot(const struct ref_tensor *in, int count,
                    const struct ref_params *params, struct ref_tensor *out)
{
    (void)count;
    struct ref_shape shape = in->shape;
    shape.dims[shape.rank++] = params->count;
    ref_make(out, &shape);
    for (int64_t i = 0; i < ref_count(&shape); i++)
        out->data[i] =
            in->data[i / params->count] == (double)(i % params->count);
}

static void argmax(const struct ref_tensor *in, int count,
                   const struct ref_params *params, struct ref_tensor *out)
{
    (void)count;
    const int axis = resolve(params->axis, in->shape.rank);
    struct ref_shape shape = {0};
    for (int d = 0; d < in->shape.rank; d++)
        if (d != axis)
            shape.dims[shape.rank++] = in->shape.dims[d];
    ref_make(out, &shape);
    for (int64_t i = 0; i < ref_count(&shape); i++) {
        int64_t index[REF_MAX_RANK], from[REF_MAX_RANK] = {0};
        ref_unravel(&shape, i, index);
        for (int d = 0; d < in->shape.rank; d++)
            from[d] = d == axis ? 0 : index[d < axis ? d : d - 1];
        const struct line line =
            line_through(in, axis, ref_ravel(&in->shape, from));
        int64_t best = 0;
        for (int64_t j = 1; j < line.size; j++)
            if (line.x[j * line.stride] > line.x[best * line.stride])
                best = j;
        out->data[i] = (double)best;
    }
}

// Rows of a table: in[0] table, in[1] index, in[2] the offset.
static void take(const struct ref_tensor *in, int count,
                 const struct ref_params *params, struct ref_tensor *out)
{
    (void)count;
    struct ref_shape shape = in->shape;
    shape.dims[0] = params->count;
    ref_make(out, &shape);
    const int64_t size = ref_count(&shape) / params->count;
    for (int64_t i = 0; i < params->count; i++) {
        const int64_t row = (int64_t)in[1].data[i + (int64_t)in[2].data[0]];
        for (int64_t j = 0; j < size; j++)
            out->data[i * size + j] = in->data[row * size + j];
    }
}

const struct ref_op ref_classify[] = {
    {"softmax", softmax},
    {"log_softmax", log_softmax},
    {"softmax_cross_entropy", cross_entropy},
    {"softmax_cross_entropy_grad", cross_entropy_grad},
    {"one_hot", one_hot},
    {"argmax", argmax},
    {"take", take},
    {NULL, NULL},
};
