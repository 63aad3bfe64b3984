// Models of ONNX, packed in tests: one node, whose inputs are graph inputs "0",
// "1", ... or initializers, and whose outputs are "y", "z", "v".
#ifndef QN_ONNX_MODEL_H
#define QN_ONNX_MODEL_H

#include "onnx/onnx.pb-c.h"

enum { MOST = 8, MOST_BYTES = 4096, FLOAT = 1, INT64 = 7 };

struct model {
    Onnx__ModelProto model;
    Onnx__GraphProto graph;
    Onnx__NodeProto node, *nodes[2];
    Onnx__OperatorSetIdProto opset, *opsets[1];
    Onnx__ValueInfoProto inputs[MOST], *input_list[MOST];
    Onnx__ValueInfoProto outputs[2], *output_list[2];
    Onnx__TensorProto tensors[MOST], *tensor_list[MOST];
    Onnx__AttributeProto attributes[MOST], *attribute_list[MOST];
    char *names[MOST];
    char *results[3];
};

void start(struct model *m, char *op, int64_t version);
void add_input(struct model *m);
Onnx__TensorProto *add_ints(struct model *m, int64_t *values,
                            size_t count);
void add_floats(struct model *m, float *values, size_t count);
Onnx__AttributeProto *add_attribute(struct model *m, char *name,
                                    int type);
void add_int(struct model *m, char *name, int64_t value);
void add_list(struct model *m, char *name, int64_t *values, size_t count);
void add_text(struct model *m, char *name, char *value);
size_t pack_model(const struct model *m, unsigned char *bytes);

#endif
