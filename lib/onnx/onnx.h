// ONNX models (https://onnx.ai): reading and checking them, and appending them
// to a graph through the builders of op.h.
//
// Uses base, tensor, graph and op. Knows no device. A build without protobuf-c
// has the same functions, which fail with QN_UNSUPPORTED.
#ifndef QN_ONNX_ONNX_H
#define QN_ONNX_ONNX_H

#include <stdbool.h>

#include "base/status.h"
#include "quern/graph.h"

enum {
    QN_ONNX_MAX_RANK = 8,
    QN_ONNX_OPSET = 23,        // the newest version of the operators
    QN_ONNX_MAX_VALUES = 32,   // inputs or outputs of one node
};

// ---- tensors ----

// The checked content of a TensorProto, which owns the data.
struct qn_onnx_tensor {
    const char *name; // "" where it has none
    int type;         // TensorProto.DataType
    bool is_integer;  // or boolean
    int rank;
    int64_t dims[QN_ONNX_MAX_RANK];
    int64_t count;
    const void *data; // little-endian; may be unaligned
    int width;        // bytes from one element to the next
};
const char *qn_onnx_type_name(int type); // "float"
// Element i, also of integers.
double qn_onnx_real(const struct qn_onnx_tensor *tensor, int64_t i);
// Element i of integers and booleans. Values beyond int64 are clamped.
int64_t qn_onnx_integer(const struct qn_onnx_tensor *tensor, int64_t i);
// In the layout of `dtype`; fails where an integer does not fit. The caller
// frees `*data`.
qn_status qn_onnx_convert(const struct qn_onnx_tensor *tensor, qn_dtype dtype,
                          void **data, size_t *size, qn_error *error);
// The type that a graph holds it in, and its shape; more than QN_MAX_RANK
// dimensions are QN_UNSUPPORTED.
qn_status qn_onnx_place(const struct qn_onnx_tensor *tensor, qn_dtype real,
                        qn_dtype *dtype, qn_shape *shape, qn_error *error);

// A file that holds one TensorProto.
struct qn_onnx_file {
    struct qn_onnx_tensor tensor;
    void *message;
};
qn_status qn_onnx_file_open(struct qn_onnx_file *file, const char *path,
                            qn_error *error);
void qn_onnx_file_close(struct qn_onnx_file *file);

// ---- models ----

typedef struct qn_onnx qn_onnx;

// A model, read and checked: lengths, nesting, names, types, operators' sets.
// `what` names it in errors.
qn_onnx *qn_onnx_open(const char *path, qn_error *error);
qn_onnx *qn_onnx_parse(const void *data, size_t size, const char *what,
                       qn_error *error);
void qn_onnx_close(qn_onnx **onnx);

// Names of the inputs that no initializer fills, and of the outputs; NULL past
// the last one.
const char *qn_onnx_input(const qn_onnx *onnx, int index);
const char *qn_onnx_output(const qn_onnx *onnx, int index);
// True for an input that decides what the graph looks like (a shape, an axis,
// a mode): its content must be given, a node is not enough.
bool qn_onnx_needs_content(const qn_onnx *onnx, const char *input);
// True for an output whose content may be given because it is drawn at random
// (the mask of Dropout).
bool qn_onnx_is_drawn(const qn_onnx *onnx, const char *output);

// What a value is: a node of the graph, or fixed content.
struct qn_onnx_binding {
    const char *name;
    qn_node *node;
    const struct qn_onnx_tensor *content;
};
// Appends the model. Every input needs a binding. `outputs` receives a node for
// each output of the model. QN_UNSUPPORTED names an operator, attribute or
// mode that has no mapping; QN_FORMAT what is wrong with the file.
qn_status qn_onnx_build(const qn_onnx *onnx, qn_graph *g,
                        const struct qn_onnx_binding *bindings,
                        int binding_count, qn_node **outputs,
                        qn_error *error);

// The operators that have a mapping, by index; NULL past the last one. An
// operator with several rows (for versions) is named several times.
const char *qn_onnx_operator(int index);

#endif
