// An independent reference for every operation: double precision, scalar,
// written from the definition, one plain loop where one will do. Shares
// nothing with the library.
#ifndef QN_REF_H
#define QN_REF_H

#include <stdbool.h>
#include <stdint.h>

enum { REF_MAX_RANK = 6 };

// Dimensions in C order; rank 0 is a scalar.
struct ref_shape {
    int rank;
    int64_t dims[REF_MAX_RANK];
};

// Elements in C order. `data` belongs to the tensor; ref_free frees it.
struct ref_tensor {
    struct ref_shape shape;
    double *data;
};

// All parameters that any operation takes, named as in op.h.
struct ref_params {
    double p[4];    // scalars in the order of the builder
    struct ref_shape shape; // reshape, broadcast_to, sum_to, random
    int axis;
    int axes[REF_MAX_RANK];
    int axis_count; // 0: all
    bool keep;
    int order[REF_MAX_RANK];
    int64_t start, stop, step;
    int64_t low[REF_MAX_RANK], high[REF_MAX_RANK], inner[REF_MAX_RANK];
    int64_t kernel[3], stride[3], dilation[3]; // of windows, with low, high
    bool ceil_mode, exclude_pad;
    int mode; // resample: 0 nearest, 1 bilinear, 2 bilinear by corners
    bool trans_a, trans_b;
    int64_t count; // classes, rows taken, groups, dimensions
    // convolution, with the above; pairs are vertical, horizontal
    int64_t output_padding[2], groups;
    const char *path; // random: scope and use, "block.dropout"
};

// Allocates out->data and fills it.
typedef void ref_function(const struct ref_tensor *in, int count,
                          const struct ref_params *params,
                          struct ref_tensor *out);

struct ref_op {
    const char *name; // of the row
    ref_function *run;
};

// The reference of the row `name`, or NULL.
ref_function *ref_find(const char *name);

// ---- for the references ----

// The tables of the files here; each ends with a NULL name.
extern const struct ref_op
    ref_pointwise[],
    ref_activation[],
    ref_reduce[],
    ref_shape[],
    ref_product[],
    ref_conv[],
    ref_classify[],
    ref_random[],
    ref_norm[],
    ref_pool[],
    ref_regions[],
    ref_resample[];

int64_t ref_count(const struct ref_shape *shape);
// Gives `tensor` this shape and zeros.
void ref_make(struct ref_tensor *tensor, const struct ref_shape *shape);
void ref_free(struct ref_tensor *tensor);
// The index of element `i` in each dimension, and back.
void ref_unravel(const struct ref_shape *shape, int64_t i, int64_t *index);
int64_t ref_ravel(const struct ref_shape *shape, const int64_t *index);
// Element `i` of `shape`, to which `tensor` broadcasts.
double ref_at(const struct ref_tensor *tensor, const struct ref_shape *shape,
              int64_t i);
// The shape to which all inputs broadcast.
struct ref_shape ref_broadcast(const struct ref_tensor *in, int count);

#endif
