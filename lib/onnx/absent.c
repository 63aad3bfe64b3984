// The importer of a build without protobuf-c: says what is missing.
#include "onnx/onnx.h"

static qn_status fail(qn_error *error)
{
    return qn_fail(error, QN_UNSUPPORTED,
                   "this build cannot read ONNX: install protobuf-c, its "
                   "compiler protoc-c and onnx.proto (Debian: "
                   "libprotobuf-c-dev protobuf-c-compiler libonnx-dev), then "
                   "configure with -Donnx=enabled");
}

qn_status qn_onnx_file_open(struct qn_onnx_file *file, const char *path,
                            qn_error *error)
{
    (void)path;
    *file = (struct qn_onnx_file){0};
    return fail(error);
}

void qn_onnx_file_close(struct qn_onnx_file *file)
{
    *file = (struct qn_onnx_file){0};
}

qn_onnx *qn_onnx_open(const char *path, qn_error *error)
{
    (void)path;
    fail(error);
    return NULL;
}

qn_onnx *qn_onnx_parse(const void *data, size_t size, const char *what,
                       qn_error *error)
{
    (void)data, (void)size, (void)what;
    fail(error);
    return NULL;
}

void qn_onnx_close(qn_onnx **onnx)
{
    *onnx = NULL;
}

const char *qn_onnx_input(const qn_onnx *onnx, int index)
{
    (void)onnx, (void)index;
    return NULL;
}

const char *qn_onnx_output(const qn_onnx *onnx, int index)
{
    (void)onnx, (void)index;
    return NULL;
}

bool qn_onnx_needs_content(const qn_onnx *onnx, const char *input)
{
    (void)onnx, (void)input;
    return false;
}

bool qn_onnx_is_drawn(const qn_onnx *onnx, const char *output)
{
    (void)onnx, (void)output;
    return false;
}

qn_status qn_onnx_build(const qn_onnx *onnx, qn_graph *g,
                        const struct qn_onnx_binding *bindings,
                        int binding_count, qn_node **outputs, qn_error *error)
{
    (void)onnx, (void)g, (void)bindings, (void)binding_count, (void)outputs;
    return fail(error);
}

const char *qn_onnx_operator(int index)
{
    (void)index;
    return NULL;
}

const char *qn_onnx_type_name(int type)
{
    (void)type;
    return "";
}

double qn_onnx_real(const struct qn_onnx_tensor *tensor, int64_t i)
{
    (void)tensor, (void)i;
    return 0;
}

int64_t qn_onnx_integer(const struct qn_onnx_tensor *tensor, int64_t i)
{
    (void)tensor, (void)i;
    return 0;
}

qn_status qn_onnx_convert(const struct qn_onnx_tensor *tensor, qn_dtype dtype,
                          void **data, size_t *size, qn_error *error)
{
    (void)tensor, (void)dtype, (void)data, (void)size;
    return fail(error);
}

qn_status qn_onnx_place(const struct qn_onnx_tensor *tensor, qn_dtype real,
                        qn_dtype *dtype, qn_shape *shape, qn_error *error)
{
    (void)tensor, (void)real, (void)dtype, (void)shape;
    return fail(error);
}
