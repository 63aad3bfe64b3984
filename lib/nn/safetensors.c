// Reading and writing safetensors headers. Knows no store and opens no file.
#include "nn/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "nn/json.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "safetensors data are little-endian and are copied as they are"
#endif

enum { LENGTH_SIZE = 8 };

// ---- types ----

static const struct type {
    const char *name;
    unsigned size; // bytes of an element
    bool is_supported;
    qn_dtype dtype;
} types[] = {
    {"F32", 4, true, QN_FLOAT32}, {"F64", 8, true, QN_FLOAT64},
    {"I32", 4, true, QN_INT32},   {"U8", 1, true, QN_UINT8},
    {"BOOL", 1, false, 0},        {"I8", 1, false, 0},
    {"F8_E4M3", 1, false, 0},     {"F8_E5M2", 1, false, 0},
    {"F8_E8M0", 1, false, 0},     {"I16", 2, false, 0},
    {"U16", 2, false, 0},         {"F16", 2, false, 0},
    {"BF16", 2, false, 0},        {"U32", 4, false, 0},
    {"I64", 8, false, 0},         {"U64", 8, false, 0},
    {"C64", 8, false, 0},
};
enum { TYPE_COUNT = sizeof types / sizeof *types };

static const struct type *find_type(const char *name)
{
    for (int i = 0; i < TYPE_COUNT; i++)
        if (strcmp(types[i].name, name) == 0)
            return &types[i];
    return NULL;
}

const char *qn_safetensors_type(qn_dtype dtype)
{
    for (int i = 0; i < TYPE_COUNT; i++)
        if (types[i].is_supported && types[i].dtype == dtype)
            return types[i].name;
    return NULL;
}

// ---- one tensor ----

// What errors about a tensor begin with.
struct place {
    const char *file;
    const char *tensor;
    qn_error *error;
};

static qn_status fail_at(const struct place *place, qn_status status,
                         const char *format, ...) QN_PRINTF(3, 4);
static qn_status fail_at(const struct place *place, qn_status status,
                         const char *format, ...)
{
    qn_error detail = {0};
    va_list args;
    va_start(args, format);
    qn_fail_va(&detail, status, format, args);
    va_end(args);
    return qn_fail(place->error, status, "%s: tensor \"%.200s\" %s",
                   place->file, place->tensor, detail.text);
}

// The elements of the shape, checked against overflow.
static qn_status read_shape(const json_t *json, const struct place *place,
                            qn_shape *shape, uint64_t *count)
{
    if (!json_is_array(json))
        return fail_at(place, QN_FORMAT, "has no array \"shape\"");
    size_t rank = json_array_size(json);
    if (rank > QN_MAX_RANK)
        return fail_at(place, QN_UNSUPPORTED,
                       "has %zu dimensions, more than %d", rank, QN_MAX_RANK);
    shape->rank = (int)rank;
    *count = 1;
    for (size_t i = 0; i < rank; i++) {
        const json_t *dim = json_array_get(json, i);
        json_int_t value = json_integer_value(dim);
        if (!json_is_integer(dim) || value < 0)
            return fail_at(place, QN_FORMAT,
                 "has a dimension that is no whole number of at least 0");
        if (value && *count > INT64_MAX / (uint64_t)value)
            return fail_at(place, QN_FORMAT,
                           "has a shape whose product overflows");
        shape->dims[i] = value;
        *count *= (uint64_t)value;
    }
    return QN_OK;
}

static qn_status read_offsets(const json_t *json, const struct place *place,
                              uint64_t data_size, uint64_t *begin,
                              uint64_t *end)
{
    const json_t *first = json_array_get(json, 0);
    const json_t *second = json_array_get(json, 1);
    if (json_array_size(json) != 2 || !json_is_integer(first) ||
        !json_is_integer(second) || json_integer_value(first) < 0 ||
        json_integer_value(second) < 0)
        return fail_at(place, QN_FORMAT,
             "needs \"data_offsets\" of two whole numbers of at least 0");
    *begin = (uint64_t)json_integer_value(first);
    *end = (uint64_t)json_integer_value(second);
    if (*begin > *end)
        return fail_at(place, QN_FORMAT,
                       "ends at byte %llu before it begins at %llu",
                       (unsigned long long)*end, (unsigned long long)*begin);
    if (*end > data_size)
        return fail_at(place, QN_FORMAT,
             "ends at byte %llu, but the file holds %llu bytes of data: it "
             "was cut off",
             (unsigned long long)*end, (unsigned long long)data_size);
    return QN_OK;
}

static qn_status check_keys(json_t *json, const struct place *place)
{
    const char *name;
    json_t *value;
    json_object_foreach(
        json, name,
        value) if (strcmp(name, "dtype") != 0 && strcmp(name, "shape") != 0 &&
                   strcmp(name, "data_offsets") !=
                       0) return fail_at(place, QN_FORMAT,
                                         "has the unknown key \"%.60s\"", name);
    return QN_OK;
}

static qn_status read_tensor(json_t *json, const struct place *place,
                             uint64_t data_size, struct qn_safetensor *out)
{
    if (!json_is_object(json))
        return fail_at(place, QN_FORMAT, "is no object");
    QN_TRY(check_keys(json, place));
    const char *name = json_string_value(json_object_get(json, "dtype"));
    if (!name)
        return fail_at(place, QN_FORMAT, "has no \"dtype\"");
    const struct type *type = find_type(name);
    if (!type)
        return fail_at(place, QN_FORMAT, "has the unknown dtype \"%.60s\"",
                       name);
    uint64_t count = 0;
    QN_TRY(read_shape(json_object_get(json, "shape"), place, &out->shape,
                      &count));
    QN_TRY(read_offsets(json_object_get(json, "data_offsets"), place,
                        data_size, &out->begin, &out->end));
    if (count > UINT64_MAX / type->size ||
        count * type->size != out->end - out->begin) {
        char text[160];
        return fail_at(place, QN_FORMAT, "is %s %s but has %llu bytes of data",
             type->name, qn_shape_text(&out->shape, text, sizeof text),
             (unsigned long long)(out->end - out->begin));
    }
    out->name = place->tensor;
    out->type = type->name;
    out->is_supported = type->is_supported;
    out->dtype = type->dtype;
    return QN_OK;
}

// ---- the file ----

static qn_status check_metadata(json_t *metadata, const char *what,
                                qn_error *error)
{
    const char *name;
    json_t *value;
    if (!json_is_object(metadata))
        return qn_fail(error, QN_FORMAT, "%s: __metadata__ is no object",
                       what);
    json_object_foreach(metadata, name, value)
        if (!json_is_string(value))
            return qn_fail(error, QN_FORMAT,
                           "%s: __metadata__ \"%.100s\" is no string", what,
                           name);
    return QN_OK;
}

static qn_status read_tensors(struct qn_safetensors *file, const char *what,
                              qn_error *error)
{
    size_t capacity = json_object_size(file->header) + 1;
    file->tensors = calloc(capacity, sizeof *file->tensors);
    if (!file->tensors)
        return qn_fail_memory(error, capacity * sizeof *file->tensors);
    const char *name;
    json_t *value;
    json_object_foreach(file->header, name, value) {
        if (strcmp(name, "__metadata__") == 0) {
            QN_TRY(check_metadata(value, what, error));
            continue;
        }
        struct place place = {what, name, error};
        QN_TRY(read_tensor(value, &place, file->data_size,
                           &file->tensors[file->count]));
        file->count++;
    }
    return QN_OK;
}

static int compare_places(const void *a, const void *b)
{
    const struct qn_safetensor *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

// Each byte of the data belongs to exactly one tensor.
static qn_status check_places(const struct qn_safetensors *file,
                              const char *what, qn_error *error)
{
    uint64_t reached = 0;
    for (int i = 0; i < file->count; i++) {
        const struct qn_safetensor *tensor = &file->tensors[i];
        struct place place = {what, tensor->name, error};
        if (tensor->begin < reached)
            return fail_at(&place, QN_FORMAT,
                           "begins at byte %llu and overlaps \"%.200s\"",
                           (unsigned long long)tensor->begin, tensor[-1].name);
        if (tensor->begin > reached)
            return fail_at(&place, QN_FORMAT,
                 "begins at byte %llu and leaves a hole from byte %llu on",
                 (unsigned long long)tensor->begin,
                 (unsigned long long)reached);
        reached = tensor->end;
    }
    if (reached != file->data_size)
        return qn_fail(error, QN_FORMAT,
                       "%s: %llu bytes after the last tensor's end", what,
                       (unsigned long long)(file->data_size - reached));
    return QN_OK;
}

// Written by Quern; files of others have none.
static qn_status check_hash(const struct qn_safetensors *file,
                            const char *what, qn_error *error)
{
    const char *want = qn_safetensors_note(file, "quern.sha256");
    struct qn_sha256 hash;
    unsigned char digest[32];
    char hex[65];
    if (!want)
        return QN_OK;
    qn_sha256_init(&hash);
    qn_sha256_add(&hash, file->data, file->data_size);
    qn_sha256_finish(&hash, digest);
    qn_sha256_hex(digest, hex);
    if (strcmp(hex, want) == 0)
        return QN_OK;
    return qn_fail(error, QN_FORMAT,
                   "%s: the data are damaged: their SHA-256 is %s, the file "
                   "says %.64s",
                   what, hex, want);
}

static qn_status find_header(const unsigned char *file, size_t size,
                             const char *what, size_t *header_size,
                             qn_error *error)
{
    if (size < LENGTH_SIZE)
        return qn_fail(error, QN_FORMAT,
                       "%s: %zu bytes are no safetensors file, which begins "
                       "with %d bytes of header length",
                       what, size, LENGTH_SIZE);
    uint64_t length = 0;
    for (int i = 0; i < LENGTH_SIZE; i++)
        length |= (uint64_t)file[i] << (8 * i);
    if (length > QN_MAX_SAFETENSORS_HEADER)
        return qn_fail(error, QN_FORMAT,
                       "%s: no safetensors file: its header would have %llu "
                       "bytes, more than the %d allowed",
                       what, (unsigned long long)length,
                       QN_MAX_SAFETENSORS_HEADER);
    if (length > size - LENGTH_SIZE)
        return qn_fail(error, QN_FORMAT,
                       "%s: the header of %llu bytes is cut off after %zu",
                       what, (unsigned long long)length, size - LENGTH_SIZE);
    if (length == 0 || file[LENGTH_SIZE] != '{')
        return qn_fail(error, QN_FORMAT,
                       "%s: the header does not begin with {", what);
    *header_size = (size_t)length;
    return QN_OK;
}

static qn_status parse(const unsigned char *bytes, size_t size,
                       const char *what, struct qn_safetensors *file,
                       qn_error *error)
{
    size_t length = 0;
    QN_TRY(find_header(bytes, size, what, &length, error));
    QN_TRY(qn_json_parse((const char *)bytes + LENGTH_SIZE, length, what,
                         &file->header, error));
    file->data = bytes + LENGTH_SIZE + length;
    file->data_size = size - LENGTH_SIZE - length;
    QN_TRY(read_tensors(file, what, error));
    if (file->count)
        qsort(file->tensors, (size_t)file->count, sizeof *file->tensors,
              compare_places);
    QN_TRY(check_places(file, what, error));
    return check_hash(file, what, error);
}

qn_status qn_safetensors_parse(const unsigned char *bytes, size_t size,
                               const char *what, struct qn_safetensors *out,
                               qn_error *error)
{
    *out = (struct qn_safetensors){0};
    qn_status status = parse(bytes, size, what, out, error);
    if (status != QN_OK)
        qn_safetensors_finish(out);
    return status;
}

void qn_safetensors_finish(struct qn_safetensors *file)
{
    free(file->tensors);
    json_decref(file->header);
    *file = (struct qn_safetensors){0};
}

const char *qn_safetensors_note(const struct qn_safetensors *file,
                                const char *name)
{
    const json_t *metadata = json_object_get(file->header, "__metadata__");
    return json_string_value(json_object_get(metadata, name));
}

// ---- writing ----

static json_t *make_tensor(const struct qn_safetensor *tensor)
{
    json_t *shape = json_array();
    for (int i = 0; i < tensor->shape.rank; i++)
        json_array_append_new(shape, json_integer(tensor->shape.dims[i]));
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype",
                     qn_safetensors_type(tensor->dtype), "shape", shape,
                     "data_offsets", (json_int_t)tensor->begin,
                     (json_int_t)tensor->end);
}

static qn_status make_header(const struct qn_safetensor *tensors, int count,
                             json_t *header, qn_error *error)
{
    for (int i = 0; i < count; i++) {
        const char *name = tensors[i].name;
        if (json_object_get(header, name))
            return qn_fail(error, QN_BAD_ARGUMENT,
                           "two tensors are called \"%.200s\"", name);
        if (json_object_set_new(header, name, make_tensor(&tensors[i])) != 0)
            return qn_fail(error, QN_BAD_ARGUMENT,
                           "tensor \"%.200s\": the name is not UTF-8, or "
                           "there is no memory",
                           name);
    }
    return QN_OK;
}

static qn_status write_header(const json_t *header, char **text, size_t *size,
                              qn_error *error)
{
    char *json = qn_json_write(header);
    size_t length = json ? strlen(json) : 0;
    size_t padded = (length + 7) / 8 * 8;
    *size = LENGTH_SIZE + padded;
    *text = json ? malloc(*size) : NULL;
    if (!*text) {
        free(json);
        return qn_fail_memory(error, *size);
    }
    for (int i = 0; i < LENGTH_SIZE; i++)
        (*text)[i] = (char)(padded >> (8 * i) & 0xff);
    memset(*text + LENGTH_SIZE, ' ', padded);
    memcpy(*text + LENGTH_SIZE, json, length);
    free(json);
    return QN_OK;
}

qn_status qn_safetensors_write(const struct qn_safetensor *tensors, int count,
                               json_t *metadata, char **text, size_t *size,
                               qn_error *error)
{
    json_t *header = json_object();
    qn_status status;
    if (json_object_set_new(header, "__metadata__", metadata) != 0)
        status = qn_fail(error, QN_BAD_ARGUMENT,
                         "the notes are not UTF-8, or there is no memory");
    else
        status = make_header(tensors, count, header, error);
    if (status == QN_OK)
        status = write_header(header, text, size, error);
    json_decref(header);
    return status;
}
