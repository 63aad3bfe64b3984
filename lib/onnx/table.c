// All operators that have a mapping. Knows none of them.
#include <string.h>

#include "onnx/row.h"

static const struct qn_onnx_row *const tables[] = {
    qn_onnx_math_rows, qn_onnx_shape_rows, qn_onnx_pad_rows,
    qn_onnx_layer_rows, qn_onnx_conv_rows,
    qn_onnx_norm_rows, qn_onnx_reduce_rows, qn_onnx_pool_rows,
    qn_onnx_loss_rows, qn_onnx_update_rows,
};
enum { TABLE_COUNT = sizeof tables / sizeof *tables };

static bool is_named(const struct qn_onnx_row *row, const char *domain,
                     const char *op)
{
    return strcmp(row->op, op) == 0 &&
           (row->domain ? domain && strcmp(row->domain, domain) == 0
                        : !domain);
}

const struct qn_onnx_row *qn_onnx_row_find(const char *domain, const char *op,
                                           int opset)
{
    for (int t = 0; t < TABLE_COUNT; t++)
        for (const struct qn_onnx_row *row = tables[t]; row->op; row++)
            if (is_named(row, domain, op) && opset >= row->since &&
                opset <= row->until)
                return row;
    return NULL;
}

bool qn_onnx_row_exists(const char *domain, const char *op)
{
    for (int t = 0; t < TABLE_COUNT; t++)
        for (const struct qn_onnx_row *row = tables[t]; row->op; row++)
            if (is_named(row, domain, op))
                return true;
    return false;
}

const char *qn_onnx_operator(int index)
{
    for (int t = 0; t < TABLE_COUNT && index >= 0; t++)
        for (const struct qn_onnx_row *row = tables[t]; row->op; row++)
            if (index-- == 0)
                return row->op;
    return NULL;
}
