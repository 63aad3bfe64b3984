// From bytes to messages, with limits: protobuf-c itself bounds neither the
// nesting, which it follows by recursion, nor the memory. Knows no ONNX.
#include <protobuf-c/protobuf-c.h>
#include <stdlib.h>

#include "onnx/row.h"

enum { MAX_NESTING = 32 };

// ---- nesting ----

struct reader {
    const unsigned char *at;
    const unsigned char *end;
};

static bool read_varint(struct reader *reader, uint64_t *value)
{
    *value = 0;
    for (int shift = 0; shift < 64 && reader->at < reader->end; shift += 7) {
        const unsigned char byte = *reader->at++;
        *value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            return true;
    }
    return false;
}

// Steps over a field's payload; `size` receives the length of a field that has
// one, else 0.
static bool skip_payload(struct reader *reader, unsigned wire, size_t *size)
{
    uint64_t value = 0;
    *size = 0;
    if (wire == PROTOBUF_C_WIRE_TYPE_VARINT)
        return read_varint(reader, &value);
    if (wire == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED) {
        if (!read_varint(reader, &value))
            return false;
        *size = (size_t)value;
    } else if (wire == PROTOBUF_C_WIRE_TYPE_64BIT)
        value = 8;
    else if (wire == PROTOBUF_C_WIRE_TYPE_32BIT)
        value = 4;
    else
        return false;
    if (value > (uint64_t)(reader->end - reader->at))
        return false;
    reader->at += value;
    return true;
}

static bool is_shallow(const ProtobufCMessageDescriptor *type,
                       struct reader reader, int depth)
{
    uint64_t key;
    while (reader.at < reader.end) {
        size_t size;
        if (!read_varint(&reader, &key) || key >> 32 ||
            !skip_payload(&reader, key & 7, &size))
            return false;
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field(type,
                                                    (unsigned)(key >> 3));
        if (!field || field->type != PROTOBUF_C_TYPE_MESSAGE || !size)
            continue;
        const struct reader inner = {reader.at - size, reader.at};
        if (depth == MAX_NESTING ||
            !is_shallow(field->descriptor, inner, depth + 1))
            return false;
    }
    return true;
}

// ---- memory ----

struct budget {
    size_t left;
};

static void *take(void *user, size_t size)
{
    struct budget *budget = user;
    if (size > budget->left)
        return NULL;
    budget->left -= size;
    return malloc(size ? size : 1);
}

static void give(void *user, void *pointer)
{
    (void)user;
    free(pointer);
}

ProtobufCMessage *qn_onnx_unpack(const ProtobufCMessageDescriptor *type,
                                 const unsigned char *data, size_t size)
{
    // A byte of the file becomes at most an int64_t, or a part of a node.
    struct budget budget = {size < SIZE_MAX / 64 ? 32 * size + (1u << 20)
                                                 : SIZE_MAX};
    ProtobufCAllocator allocator = {take, give, &budget};
    const struct reader reader = {data, data + size};
    return is_shallow(type, reader, 0)
               ? protobuf_c_message_unpack(type, &allocator, size, data)
               : NULL;
}
