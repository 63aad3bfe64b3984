// A model as read. For lib/onnx alone.
#ifndef QN_ONNX_MODEL_H
#define QN_ONNX_MODEL_H

#include "onnx/row.h"

struct qn_onnx {
    Onnx__ModelProto *proto;
    char *what;
};

// The version of the operators that the model is written for; 0 if none.
int qn_onnx_opset(const qn_onnx *onnx, const char *domain);
// The row of a node; fails where there is none.
const struct qn_onnx_row *qn_onnx_row_of(const qn_onnx *onnx,
                                         const Onnx__NodeProto *node,
                                         qn_error *error);

#endif
