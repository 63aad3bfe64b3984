// TensorProto: checks, elements, conversion. Knows no operator.
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "onnx/row.h"

enum { MAX_FILE = INT_MAX }; // protobuf's own limit

// ---- types ----

// How a type lies in raw_data, and in which typed field else.
enum field { NONE, FLOATS, DOUBLES, INT32S, INT64S, UINT64S };
static const struct type {
    int type;
    const char *name;
    int width;
    bool is_integer;
    enum field field;
} types[] = {
    {ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, "float", 4, false, FLOATS},
    {ONNX__TENSOR_PROTO__DATA_TYPE__UINT8, "uint8", 1, true, INT32S},
    {ONNX__TENSOR_PROTO__DATA_TYPE__INT8, "int8", 1, true, INT32S},
    {ONNX__TENSOR_PROTO__DATA_TYPE__UINT16, "uint16", 2, true, INT32S},
    {ONNX__TENSOR_PROTO__DATA_TYPE__INT16, "int16", 2, true, INT32S},
    {ONNX__TENSOR_PROTO__DATA_TYPE__INT32, "int32", 4, true, INT32S},
    {ONNX__TENSOR_PROTO__DATA_TYPE__INT64, "int64", 8, true, INT64S},
    {ONNX__TENSOR_PROTO__DATA_TYPE__BOOL, "bool", 1, true, INT32S},
    {ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16, "float16", 2, false, INT32S},
    {ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE, "double", 8, false, DOUBLES},
    {ONNX__TENSOR_PROTO__DATA_TYPE__UINT32, "uint32", 4, true, UINT64S},
    {ONNX__TENSOR_PROTO__DATA_TYPE__UINT64, "uint64", 8, true, UINT64S},
    {ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16, "bfloat16", 2, false, INT32S},
};

static const struct type *find_type(int type)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].type == type)
            return &types[i];
    return NULL;
}

const char *qn_onnx_type_name(int type)
{
    const struct type *row = find_type(type);
    return row ? row->name : "of an unknown type";
}

// ---- checks ----

static qn_status read_dims(const Onnx__TensorProto *proto,
                           struct qn_onnx_tensor *tensor, qn_error *error)
{
    tensor->count = 1;
    if (proto->n_dims > QN_ONNX_MAX_RANK)
        return qn_fail(error, QN_UNSUPPORTED,
                       "tensor \"%.100s\" has %zu dimensions; at most %d",
                       tensor->name, proto->n_dims, QN_ONNX_MAX_RANK);
    tensor->rank = (int)proto->n_dims;
    for (int d = 0; d < tensor->rank; d++) {
        const int64_t n = tensor->dims[d] = proto->dims[d];
        if (n < 0 || (n && tensor->count > INT64_MAX / 16 / n))
            return qn_fail(error, QN_FORMAT,
                           "tensor \"%.100s\": dimension %d of %lld is out of "
                           "range",
                           tensor->name, d, (long long)n);
        tensor->count *= n;
    }
    return QN_OK;
}

// The typed field of the tensor; `width` bytes an element, of which the first
// are the value, little-endian.
static size_t find_typed(const Onnx__TensorProto *proto, enum field field,
                         struct qn_onnx_tensor *tensor)
{
    static const int widths[] = {0, 4, 8, 4, 8, 8};
    const void *const data[] = {NULL,
                                proto->float_data,
                                proto->double_data,
                                proto->int32_data,
                                proto->int64_data,
                                proto->uint64_data};
    const size_t counts[] = {0,
                             proto->n_float_data,
                             proto->n_double_data,
                             proto->n_int32_data,
                             proto->n_int64_data,
                             proto->n_uint64_data};
    tensor->data = data[field];
    tensor->width = widths[field];
    return counts[field];
}

qn_status qn_onnx_tensor_read(const Onnx__TensorProto *proto,
                              struct qn_onnx_tensor *tensor, qn_error *error)
{
    const struct type *type = find_type(proto->data_type);
    size_t count;
    *tensor = (struct qn_onnx_tensor){
        .name = proto->name ? proto->name : "", .type = proto->data_type};
    if (!type)
        return qn_fail(error, QN_UNSUPPORTED,
                       "tensor \"%.100s\": data type %d", tensor->name,
                       (int)proto->data_type);
    if (proto->segment ||
        proto->data_location ==
            ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL)
        return qn_fail(error, QN_UNSUPPORTED,
                       "tensor \"%.100s\" lies in another file or in parts",
                       tensor->name);
    tensor->is_integer = type->is_integer;
    QN_TRY(read_dims(proto, tensor, error));
    if (proto->has_raw_data) {
        tensor->data = proto->raw_data.data;
        tensor->width = type->width;
        count = proto->raw_data.len / (size_t)type->width;
        if (proto->raw_data.len % (size_t)type->width)
            count = SIZE_MAX;
    } else
        count = find_typed(proto, type->field, tensor);
    if (count != (uint64_t)tensor->count)
        return qn_fail(error, QN_FORMAT,
                       "tensor \"%.100s\": its dimensions ask for %lld "
                       "elements of type %s, its data are of another length",
                       tensor->name, (long long)tensor->count, type->name);
    return QN_OK;
}

// ---- elements ----

static double half_value(uint16_t bits)
{
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    const double sign = bits >> 15 ? -1 : 1;
    if (exponent == 31)
        return fraction ? (double)NAN : sign * (double)INFINITY;
    return sign * (exponent ? ldexp(1024 + fraction, exponent - 25)
                            : ldexp(fraction, -24));
}

static double single_value(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

static uint64_t load(const struct qn_onnx_tensor *tensor, int64_t i)
{
    const unsigned char *at =
        (const unsigned char *)tensor->data + i * tensor->width;
    uint64_t bits = 0;
    for (int b = tensor->width - 1; b >= 0; b--)
        bits = bits << 8 | at[b];
    return bits;
}

int64_t qn_onnx_integer(const struct qn_onnx_tensor *tensor, int64_t i)
{
    const uint64_t bits = load(tensor, i);
    switch (tensor->type) {
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT8:
        return (int8_t)bits;
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT16:
        return (int16_t)bits;
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT32:
        return (int32_t)bits;
    case ONNX__TENSOR_PROTO__DATA_TYPE__BOOL:
        return bits != 0;
    case ONNX__TENSOR_PROTO__DATA_TYPE__UINT64:
        return bits > INT64_MAX ? INT64_MAX : (int64_t)bits;
    default:
        return (int64_t)bits;
    }
}

double qn_onnx_real(const struct qn_onnx_tensor *tensor, int64_t i)
{
    if (tensor->is_integer)
        return (double)qn_onnx_integer(tensor, i);
    const uint64_t bits = load(tensor, i);
    double value;
    switch (tensor->type) {
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT:
        return single_value((uint32_t)bits);
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16:
        return half_value((uint16_t)bits);
    case ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16:
        return single_value((uint32_t)bits << 16);
    default:
        memcpy(&value, &bits, sizeof value);
        return value;
    }
}

// ---- into a graph ----

qn_status qn_onnx_place(const struct qn_onnx_tensor *tensor, qn_dtype real,
                        qn_dtype *dtype, qn_shape *shape, qn_error *error)
{
    if (tensor->rank > QN_MAX_RANK)
        return qn_fail(error, QN_UNSUPPORTED,
                       "tensor \"%.100s\" has %d dimensions; a graph's have "
                       "at most %d",
                       tensor->name, tensor->rank, QN_MAX_RANK);
    *dtype = tensor->is_integer ? QN_INT32 : real;
    *shape = qn_shape_make(tensor->rank, tensor->dims);
    return QN_OK;
}

static bool store(void *data, qn_dtype dtype, int64_t i,
                  const struct qn_onnx_tensor *tensor)
{
    if (dtype == QN_FLOAT32)
        ((float *)data)[i] = (float)qn_onnx_real(tensor, i);
    else if (dtype == QN_FLOAT64)
        ((double *)data)[i] = qn_onnx_real(tensor, i);
    else {
        const int64_t value = qn_onnx_integer(tensor, i);
        ((int32_t *)data)[i] = (int32_t)value;
        return value >= INT32_MIN && value <= INT32_MAX;
    }
    return true;
}

qn_status qn_onnx_convert(const struct qn_onnx_tensor *tensor, qn_dtype dtype,
                          void **data, size_t *size, qn_error *error)
{
    *size = (size_t)tensor->count * qn_dtype_size(dtype);
    *data = malloc(*size ? *size : 1);
    if (!*data)
        return qn_fail_memory(error, *size);
    for (int64_t i = 0; i < tensor->count; i++)
        if (!store(*data, dtype, i, tensor)) {
            free(*data);
            return qn_fail(error, QN_UNSUPPORTED,
                           "tensor \"%.100s\": %lld does not fit in int32",
                           tensor->name,
                           (long long)qn_onnx_integer(tensor, i));
        }
    return QN_OK;
}

// ---- files ----

qn_status qn_onnx_file_open(struct qn_onnx_file *file, const char *path,
                            qn_error *error)
{
    unsigned char *data;
    size_t size;
    qn_error detail = {0};
    *file = (struct qn_onnx_file){0};
    QN_TRY(qn_os_read_file(path, MAX_FILE, &data, &size, error));
    file->message =
        qn_onnx_unpack(&onnx__tensor_proto__descriptor, data, size);
    free(data);
    if (!file->message)
        return qn_fail(error, QN_FORMAT, "%s: not an ONNX tensor", path);
    if (qn_onnx_tensor_read(file->message, &file->tensor, &detail) != QN_OK) {
        qn_onnx_file_close(file);
        return qn_fail(error, detail.status, "%s: %s", path, detail.text);
    }
    return QN_OK;
}

void qn_onnx_file_close(struct qn_onnx_file *file)
{
    if (file->message)
        protobuf_c_message_free_unpacked(file->message, NULL);
    *file = (struct qn_onnx_file){0};
}
