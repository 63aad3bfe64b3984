// One operator of ONNX: the row, and what its builder gets. For lib/onnx alone.
#ifndef QN_ONNX_ROW_H
#define QN_ONNX_ROW_H

#include "onnx/onnx.h"
#include "onnx/onnx.pb-c.h"

// A value of the model while it is being built.
struct qn_onnx_value {
    const char *name;
    qn_node *node; // NULL: made of `content` when it is first needed
    struct qn_onnx_tensor content;
    bool has_content;
};

// A node being built. The first failure is kept in `error`; then all readers
// return defaults and all builders NULL, so rows need no checks of their own.
struct qn_onnx_use {
    qn_graph *g;
    qn_dtype real;
    const Onnx__NodeProto *proto;
    const char *what; // the model
    int opset;
    struct qn_onnx_value *in[QN_ONNX_MAX_VALUES]; // NULL: left out
    int in_count;
    // Content given for an output (see qn_onnx_is_drawn), else NULL.
    struct qn_onnx_value *given[QN_ONNX_MAX_VALUES];
    qn_node *out[QN_ONNX_MAX_VALUES];
    int out_count;
    qn_error *error;
};

struct qn_onnx_row {
    const char *op;
    const char *domain; // NULL: the default one
    int since;          // versions of the domain that the row is right for
    int until;
    int min_inputs;
    int max_inputs; // -1: any number
    int max_outputs;
    const char *attributes; // names with blanks between, or NULL
    unsigned contents;      // inputs whose content must be known, as a mask
    unsigned drawn;         // outputs drawn at random, as a mask
    // One of the three.
    void (*build)(struct qn_onnx_use *use);
    qn_node *(*unary)(qn_graph *g, qn_node *x);
    qn_node *(*binary)(qn_graph *g, qn_node *x, qn_node *y);
};
enum { QN_ONNX_ANY = 1 << 16 };

// The tables, each ending with a NULL `op`.
extern const struct qn_onnx_row qn_onnx_math_rows[], qn_onnx_shape_rows[],
    qn_onnx_pad_rows[], qn_onnx_layer_rows[], qn_onnx_conv_rows[],
    qn_onnx_norm_rows[], qn_onnx_reduce_rows[],
    qn_onnx_pool_rows[], qn_onnx_loss_rows[], qn_onnx_update_rows[];
const struct qn_onnx_row *qn_onnx_row_find(const char *domain, const char *op,
                                           int opset);
// True if the operator is known in another version.
bool qn_onnx_row_exists(const char *domain, const char *op);

// ---- reading ----

// Unpacks a message of at most `size` bytes; NULL where it is malformed, nested
// too deeply or asks for too much memory.
ProtobufCMessage *qn_onnx_unpack(const ProtobufCMessageDescriptor *type,
                                 const unsigned char *data, size_t size);
// Checks the proto and points into it.
qn_status qn_onnx_tensor_read(const Onnx__TensorProto *proto,
                              struct qn_onnx_tensor *tensor, qn_error *error);

// ---- what builders use ----

// "model.onnx: Gemm: ..." becomes the error unless there is one.
void qn_onnx_fail(struct qn_onnx_use *use, qn_status status,
                  const char *format, ...) QN_PRINTF(3, 4);
bool qn_onnx_failed(const struct qn_onnx_use *use);

// Input i as a node; NULL where it is left out.
qn_node *qn_onnx_in(struct qn_onnx_use *use, int i);
// Its content; NULL where it is left out. Fails where it is not known.
const struct qn_onnx_tensor *qn_onnx_content(struct qn_onnx_use *use, int i);
// A tensor's node.
qn_node *qn_onnx_constant(struct qn_onnx_use *use,
                          const struct qn_onnx_tensor *tensor);
// The integers that input i holds; -1 where it is left out.
int qn_onnx_in_ints(struct qn_onnx_use *use, int i, int64_t *values,
                    int capacity);

double qn_onnx_float(struct qn_onnx_use *use, const char *name, double value);
int64_t qn_onnx_int(struct qn_onnx_use *use, const char *name, int64_t value);
// True if the attribute is the text `is`; `value` where it is left out.
bool qn_onnx_text_is(struct qn_onnx_use *use, const char *name,
                     const char *value, const char *is);
// Writes the integers of an attribute; -1 where it is left out.
int qn_onnx_ints(struct qn_onnx_use *use, const char *name, int64_t *values,
                 int capacity);
const Onnx__AttributeProto *qn_onnx_attribute(const struct qn_onnx_use *use,
                                              const char *name);

// An axis of x, negative ones counted from the end; fails outside of it.
int qn_onnx_axis(struct qn_onnx_use *use, const qn_node *x, int64_t axis);
// Shape of a node; a scalar for NULL.
qn_shape qn_onnx_shape(const qn_node *node);
// 0, step, 2 step, ...: a vector of `count` elements.
qn_node *qn_onnx_count(struct qn_onnx_use *use, int64_t count, double step);

#endif
