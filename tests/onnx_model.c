// Packs models of ONNX.
#include "onnx_model.h"

#include <string.h>

#include "qn_check.h"

static char *const input_names[MOST] = {"0", "1", "2", "3",
                                        "4", "5", "6", "7"};

void start(struct model *m, char *op, int64_t version)
{
    static const Onnx__ValueInfoProto value = ONNX__VALUE_INFO_PROTO__INIT;
    *m = (struct model){.model = ONNX__MODEL_PROTO__INIT,
                        .graph = ONNX__GRAPH_PROTO__INIT,
                        .node = ONNX__NODE_PROTO__INIT,
                        .opset = ONNX__OPERATOR_SET_ID_PROTO__INIT,
                        .outputs = {value, value}};
    m->model.graph = &m->graph;
    m->model.opset_import = m->opsets;
    m->model.n_opset_import = 1;
    m->opsets[0] = &m->opset;
    m->opset.has_version = 1;
    m->opset.version = version;
    m->graph.node = m->nodes;
    m->graph.n_node = 1;
    m->graph.input = m->input_list;
    m->graph.initializer = m->tensor_list;
    m->graph.output = m->output_list;
    m->graph.n_output = 1;
    m->nodes[0] = m->nodes[1] = &m->node;
    m->node.op_type = op;
    m->node.input = m->names;
    m->node.output = m->results;
    m->node.n_output = 1;
    m->results[0] = "y";
    m->results[1] = "z";
    m->results[2] = "v";
    m->node.attribute = m->attribute_list;
    for (int i = 0; i < 2; i++) {
        m->output_list[i] = &m->outputs[i];
        m->outputs[i].name = m->results[i];
    }
}

static char *add_name(struct model *m)
{
    m->names[m->node.n_input] = input_names[m->node.n_input];
    return m->names[m->node.n_input++];
}

void add_input(struct model *m)
{
    static const Onnx__ValueInfoProto value = ONNX__VALUE_INFO_PROTO__INIT;
    const size_t i = m->graph.n_input++;
    m->inputs[i] = value;
    m->inputs[i].name = add_name(m);
    m->input_list[i] = &m->inputs[i];
}

Onnx__TensorProto *add_ints(struct model *m, int64_t *values,
                                   size_t count)
{
    static const Onnx__TensorProto empty = ONNX__TENSOR_PROTO__INIT;
    const size_t i = m->graph.n_initializer++;
    Onnx__TensorProto *tensor = &m->tensors[i];
    static int64_t dims[MOST];
    *tensor = empty;
    tensor->name = add_name(m);
    tensor->has_data_type = 1;
    tensor->data_type = INT64;
    tensor->dims = &dims[i];
    tensor->n_dims = 1;
    dims[i] = (int64_t)count;
    tensor->int64_data = values;
    tensor->n_int64_data = count;
    m->tensor_list[i] = tensor;
    return tensor;
}

void add_floats(struct model *m, float *values, size_t count)
{
    Onnx__TensorProto *tensor = add_ints(m, NULL, count);
    tensor->data_type = FLOAT;
    tensor->n_int64_data = 0;
    tensor->float_data = values;
    tensor->n_float_data = count;
}

Onnx__AttributeProto *add_attribute(struct model *m, char *name,
                                           int type)
{
    static const Onnx__AttributeProto empty = ONNX__ATTRIBUTE_PROTO__INIT;
    const size_t i = m->node.n_attribute++;
    Onnx__AttributeProto *attribute = &m->attributes[i];
    *attribute = empty;
    attribute->name = name;
    attribute->has_type = 1;
    attribute->type = (Onnx__AttributeProto__AttributeType)type;
    m->attribute_list[i] = attribute;
    return attribute;
}

void add_int(struct model *m, char *name, int64_t value)
{
    Onnx__AttributeProto *attribute = add_attribute(
        m, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
    attribute->has_i = 1;
    attribute->i = value;
}

void add_list(struct model *m, char *name, int64_t *values,
                     size_t count)
{
    Onnx__AttributeProto *attribute = add_attribute(
        m, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
    attribute->ints = values;
    attribute->n_ints = count;
}

void add_text(struct model *m, char *name, char *value)
{
    Onnx__AttributeProto *attribute = add_attribute(
        m, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING);
    attribute->has_s = 1;
    attribute->s.data = (unsigned char *)value;
    attribute->s.len = strlen(value);
}

size_t pack_model(const struct model *m, unsigned char *bytes)
{
    const size_t size = protobuf_c_message_get_packed_size(&m->model.base);
    ck_assert_uint_le(size, MOST_BYTES);
    return protobuf_c_message_pack(&m->model.base, bytes);
}
