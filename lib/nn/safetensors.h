// The safetensors format: 8 bytes of header length (little-endian), a JSON
// header, tensor data without gaps. https://github.com/huggingface/safetensors
#ifndef QN_NN_SAFETENSORS_H
#define QN_NN_SAFETENSORS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "quern/tensor.h"

enum { QN_MAX_SAFETENSORS_HEADER = 100000000 }; // the reference's limit

struct qn_safetensor {
    const char *name;
    const char *type;  // "F32"
    bool is_supported; // `dtype` is valid
    qn_dtype dtype;
    qn_shape shape;
    uint64_t begin; // bytes into the data
    uint64_t end;
};

struct qn_safetensors {
    json_t *header; // owns all strings
    struct qn_safetensor *tensors; // in the order of their data
    int count;
    const unsigned char *data; // within the parsed bytes
    size_t data_size;
};

// Checks all of a file in memory, which must outlive `out`. `what` names it in
// errors. Nothing is allocated from an unchecked length.
qn_status qn_safetensors_parse(const unsigned char *file, size_t size,
                               const char *what, struct qn_safetensors *out,
                               qn_error *error);
void qn_safetensors_finish(struct qn_safetensors *file);
// A string of the metadata, or NULL.
const char *qn_safetensors_note(const struct qn_safetensors *file,
                                const char *name);

// Name of the type in the format, and its dtype here; NULL if there is none.
const char *qn_safetensors_type(qn_dtype dtype);

// The length and the header in front of the data of `count` tensors (name,
// dtype, shape, begin, end), padded so that the data begin at a multiple of 8.
// Takes over `metadata`. The caller frees `*text`.
qn_status qn_safetensors_write(const struct qn_safetensor *tensors, int count,
                               json_t *metadata, char **text, size_t *size,
                               qn_error *error);

#endif
