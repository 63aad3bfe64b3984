// What the rows of operators read: inputs, content, attributes.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onnx/row.h"
#include "quern/op.h"

bool qn_onnx_failed(const struct qn_onnx_use *use)
{
    return use->error->status != QN_OK;
}

void qn_onnx_fail(struct qn_onnx_use *use, qn_status status,
                  const char *format, ...)
{
    char text[600];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const Onnx__NodeProto *node = use->proto;
    qn_fail(use->error, status, "%s: %.60s%s%.100s%s: %s", use->what,
            node ? node->op_type : "output",
            node && node->name && *node->name ? " \"" : "",
            node && node->name ? node->name : "",
            node && node->name && *node->name ? "\"" : "", text);
}

// ---- inputs ----

qn_node *qn_onnx_constant(struct qn_onnx_use *use,
                          const struct qn_onnx_tensor *tensor)
{
    qn_error detail = {0};
    qn_dtype dtype;
    qn_shape shape;
    void *data;
    size_t size;
    if (qn_onnx_place(tensor, use->real, &dtype, &shape, &detail) != QN_OK ||
        qn_onnx_convert(tensor, dtype, &data, &size, &detail) != QN_OK) {
        qn_onnx_fail(use, detail.status, "%s", detail.text);
        return NULL;
    }
    qn_node *node = qn_constant_data(use->g, dtype, shape, data);
    free(data);
    return node;
}

qn_node *qn_onnx_in(struct qn_onnx_use *use, int i)
{
    struct qn_onnx_value *value = i < use->in_count ? use->in[i] : NULL;
    if (!value || qn_onnx_failed(use))
        return NULL;
    if (!value->node)
        value->node = qn_onnx_constant(use, &value->content);
    return value->node;
}

const struct qn_onnx_tensor *qn_onnx_content(struct qn_onnx_use *use, int i)
{
    struct qn_onnx_value *value = i < use->in_count ? use->in[i] : NULL;
    if (!value)
        return NULL;
    if (value->has_content)
        return &value->content;
    qn_onnx_fail(use, QN_UNSUPPORTED,
                 "input %d must be a constant, since it decides what the "
                 "graph looks like",
                 i);
    return NULL;
}

static int copy_ints(struct qn_onnx_use *use, const char *what,
                     const struct qn_onnx_tensor *tensor, int64_t *values,
                     int capacity)
{
    if (!tensor->is_integer || tensor->rank > 1 ||
        tensor->count > capacity) {
        qn_onnx_fail(use, QN_FORMAT, "%s must be a list of at most %d integers",
                     what, capacity);
        return -1;
    }
    for (int64_t i = 0; i < tensor->count; i++)
        values[i] = qn_onnx_integer(tensor, i);
    return (int)tensor->count;
}

int qn_onnx_in_ints(struct qn_onnx_use *use, int i, int64_t *values,
                    int capacity)
{
    char what[32];
    const struct qn_onnx_tensor *tensor = qn_onnx_content(use, i);
    snprintf(what, sizeof what, "input %d", i);
    return tensor ? copy_ints(use, what, tensor, values, capacity) : -1;
}

// ---- attributes ----

const Onnx__AttributeProto *qn_onnx_attribute(const struct qn_onnx_use *use,
                                              const char *name)
{
    for (size_t i = 0; i < use->proto->n_attribute; i++)
        if (strcmp(use->proto->attribute[i]->name, name) == 0)
            return use->proto->attribute[i];
    return NULL;
}

// The attribute if it is there and of this type. Files of the first version
// leave the type out.
static const Onnx__AttributeProto *
find_typed(struct qn_onnx_use *use, const char *name,
           Onnx__AttributeProto__AttributeType type)
{
    const Onnx__AttributeProto *attribute = qn_onnx_attribute(use, name);
    if (!attribute || !attribute->has_type || attribute->type == type)
        return attribute;
    qn_onnx_fail(use, QN_FORMAT, "attribute \"%s\" is of another type", name);
    return NULL;
}

double qn_onnx_float(struct qn_onnx_use *use, const char *name, double value)
{
    const Onnx__AttributeProto *attribute = find_typed(
        use, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
    return attribute ? (double)attribute->f : value;
}

int64_t qn_onnx_int(struct qn_onnx_use *use, const char *name, int64_t value)
{
    const Onnx__AttributeProto *attribute =
        find_typed(use, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
    return attribute ? attribute->i : value;
}

bool qn_onnx_text_is(struct qn_onnx_use *use, const char *name,
                     const char *value, const char *is)
{
    const Onnx__AttributeProto *attribute = find_typed(
        use, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING);
    const size_t length = strlen(is);
    if (!attribute)
        return strcmp(value, is) == 0;
    return attribute->s.len == length &&
           (!length || memcmp(attribute->s.data, is, length) == 0);
}

int qn_onnx_ints(struct qn_onnx_use *use, const char *name, int64_t *values,
                 int capacity)
{
    const Onnx__AttributeProto *attribute =
        find_typed(use, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
    if (!attribute)
        return -1;
    if (attribute->n_ints > (size_t)capacity) {
        qn_onnx_fail(use, QN_FORMAT,
                     "attribute \"%s\" has %zu values; at most %d", name,
                     attribute->n_ints, capacity);
        return -1;
    }
    for (size_t i = 0; i < attribute->n_ints; i++)
        values[i] = attribute->ints[i];
    return (int)attribute->n_ints;
}

// ---- shapes ----

qn_shape qn_onnx_shape(const qn_node *node)
{
    return node ? *qn_node_shape(node) : (qn_shape){0};
}

int qn_onnx_axis(struct qn_onnx_use *use, const qn_node *x, int64_t axis)
{
    const int rank = qn_onnx_shape(x).rank;
    if (axis >= -rank && axis < rank)
        return (int)(axis < 0 ? axis + rank : axis);
    if (x)
        qn_onnx_fail(use, QN_BAD_SHAPE,
                     "axis %lld of an input with %d dimensions",
                     (long long)axis, rank);
    return 0;
}

qn_node *qn_onnx_count(struct qn_onnx_use *use, int64_t count, double step)
{
    double *values = malloc((size_t)count * (sizeof *values + sizeof(float)));
    if (!values) {
        qn_onnx_fail(use, QN_NO_MEMORY, "no memory for a constant");
        return NULL;
    }
    float *singles = (float *)(values + count);
    for (int64_t i = 0; i < count; i++)
        singles[i] = (float)(values[i] = step * (double)i);
    const bool is_single = use->real == QN_FLOAT32;
    qn_node *node =
        qn_constant_data(use->g, use->real, qn_shape_make(1, &count),
                         is_single ? (const void *)singles : values);
    free(values);
    return node;
}
