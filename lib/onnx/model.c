// A model: reading it, and what can be asked of it. Knows no operator.
#include "onnx/model.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"

enum { MAX_FILE = INT_MAX }; // protobuf's own limit

static bool is_default(const char *domain)
{
    return !domain || !*domain || strcmp(domain, "ai.onnx") == 0;
}

static bool same_domain(const char *a, const char *b)
{
    return is_default(a) ? is_default(b)
                         : !is_default(b) && strcmp(a, b) == 0;
}

int qn_onnx_opset(const qn_onnx *onnx, const char *domain)
{
    int version = 0;
    for (size_t i = 0; i < onnx->proto->n_opset_import; i++) {
        const Onnx__OperatorSetIdProto *set = onnx->proto->opset_import[i];
        if (same_domain(set->domain, domain) && set->has_version)
            version = set->version < 0 || set->version > INT_MAX
                          ? INT_MAX
                          : (int)set->version;
    }
    return version;
}

const struct qn_onnx_row *qn_onnx_row_of(const qn_onnx *onnx,
                                         const Onnx__NodeProto *node,
                                         qn_error *error)
{
    const char *domain = is_default(node->domain) ? NULL : node->domain;
    const int opset = qn_onnx_opset(onnx, domain);
    const struct qn_onnx_row *row =
        qn_onnx_row_find(domain, node->op_type, opset);
    if (!row)
        qn_fail(error, QN_UNSUPPORTED,
                "%s: operator %.60s%s%.60s has no mapping%s", onnx->what,
                domain ? domain : "", domain ? "." : "", node->op_type,
                qn_onnx_row_exists(domain, node->op_type)
                    ? " in this version of the operators"
                    : "");
    return row;
}

// ---- checks ----

static qn_status check_opset(const qn_onnx *onnx, qn_error *error)
{
    const int opset = qn_onnx_opset(onnx, NULL);
    if (onnx->proto->n_functions)
        return qn_fail(error, QN_UNSUPPORTED,
                       "%s: functions of its own are not supported",
                       onnx->what);
    if (opset > QN_ONNX_OPSET)
        return qn_fail(error, QN_UNSUPPORTED,
                       "%s: its operators are of version %d; the newest "
                       "known is %d",
                       onnx->what, opset, QN_ONNX_OPSET);
    return QN_OK;
}

static qn_status check_node(const qn_onnx *onnx, const Onnx__NodeProto *node,
                            size_t index, qn_error *error)
{
    if (!node->op_type)
        return qn_fail(error, QN_FORMAT, "%s: node %zu has no operator",
                       onnx->what, index);
    if (node->n_input > QN_ONNX_MAX_VALUES ||
        node->n_output > QN_ONNX_MAX_VALUES)
        return qn_fail(error, QN_UNSUPPORTED,
                       "%s: node %zu (%.60s) has more than %d inputs or "
                       "outputs",
                       onnx->what, index, node->op_type, QN_ONNX_MAX_VALUES);
    for (size_t i = 0; i < node->n_attribute; i++)
        if (!node->attribute[i]->name)
            return qn_fail(error, QN_FORMAT,
                           "%s: node %zu (%.60s): an attribute has no name",
                           onnx->what, index, node->op_type);
    return QN_OK;
}

static qn_status check_names(const qn_onnx *onnx,
                             Onnx__ValueInfoProto *const *infos, size_t count,
                             const char *which, qn_error *error)
{
    for (size_t i = 0; i < count; i++)
        if (!infos[i]->name || !*infos[i]->name)
            return qn_fail(error, QN_FORMAT, "%s: %s %zu has no name",
                           onnx->what, which, i);
    return QN_OK;
}

static qn_status check(const qn_onnx *onnx, qn_error *error)
{
    const Onnx__GraphProto *graph = onnx->proto->graph;
    if (!graph)
        return qn_fail(error, QN_FORMAT, "%s: a model without a graph",
                       onnx->what);
    if (graph->n_sparse_initializer)
        return qn_fail(error, QN_UNSUPPORTED,
                       "%s: sparse tensors are not supported", onnx->what);
    QN_TRY(check_opset(onnx, error));
    QN_TRY(check_names(onnx, graph->input, graph->n_input, "input", error));
    QN_TRY(check_names(onnx, graph->output, graph->n_output, "output",
                       error));
    for (size_t i = 0; i < graph->n_initializer; i++)
        if (!graph->initializer[i]->name)
            return qn_fail(error, QN_FORMAT, "%s: initializer %zu has no name",
                           onnx->what, i);
    for (size_t i = 0; i < graph->n_node; i++)
        QN_TRY(check_node(onnx, graph->node[i], i, error));
    return QN_OK;
}

// ---- opening ----

qn_onnx *qn_onnx_parse(const void *data, size_t size, const char *what,
                       qn_error *error)
{
    qn_onnx *onnx = calloc(1, sizeof *onnx);
    if (onnx)
        onnx->what = malloc(strlen(what) + 1);
    if (!onnx || !onnx->what) {
        qn_fail_memory(error, sizeof *onnx);
        goto fail;
    }
    strcpy(onnx->what, what);
    onnx->proto = (Onnx__ModelProto *)qn_onnx_unpack(
        &onnx__model_proto__descriptor, data, size);
    if (!onnx->proto) {
        qn_fail(error, QN_FORMAT, "%s: not an ONNX model", what);
        goto fail;
    }
    if (check(onnx, error) == QN_OK)
        return onnx;
fail:
    qn_onnx_close(&onnx);
    return NULL;
}

qn_onnx *qn_onnx_open(const char *path, qn_error *error)
{
    unsigned char *data;
    size_t size;
    if (qn_os_read_file(path, MAX_FILE, &data, &size, error) != QN_OK)
        return NULL;
    qn_onnx *onnx = qn_onnx_parse(data, size, path, error);
    free(data);
    return onnx;
}

void qn_onnx_close(qn_onnx **onnx)
{
    if (!onnx || !*onnx)
        return;
    if ((*onnx)->proto)
        protobuf_c_message_free_unpacked((ProtobufCMessage *)(*onnx)->proto,
                                         NULL);
    free((*onnx)->what);
    free(*onnx);
    *onnx = NULL;
}

// ---- questions ----

static bool is_initialized(const Onnx__GraphProto *graph, const char *name)
{
    for (size_t i = 0; i < graph->n_initializer; i++)
        if (strcmp(graph->initializer[i]->name, name) == 0)
            return true;
    return false;
}

const char *qn_onnx_input(const qn_onnx *onnx, int index)
{
    const Onnx__GraphProto *graph = onnx->proto->graph;
    for (size_t i = 0; i < graph->n_input && index >= 0; i++)
        if (!is_initialized(graph, graph->input[i]->name) && index-- == 0)
            return graph->input[i]->name;
    return NULL;
}

const char *qn_onnx_output(const qn_onnx *onnx, int index)
{
    const Onnx__GraphProto *graph = onnx->proto->graph;
    return index >= 0 && (size_t)index < graph->n_output
               ? graph->output[index]->name
               : NULL;
}

// True if one of `names` that `mask` covers is `name`.
static bool is_among(char *const *names, size_t count, unsigned mask,
                     const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (mask >> i & 1 && strcmp(names[i], name) == 0)
            return true;
    return false;
}

bool qn_onnx_needs_content(const qn_onnx *onnx, const char *input)
{
    const Onnx__GraphProto *graph = onnx->proto->graph;
    for (size_t n = 0; n < graph->n_node; n++) {
        const Onnx__NodeProto *node = graph->node[n];
        qn_error error = {0};
        const struct qn_onnx_row *row = qn_onnx_row_of(onnx, node, &error);
        if (row && is_among(node->input, node->n_input, row->contents, input))
            return true;
    }
    return false;
}

bool qn_onnx_is_drawn(const qn_onnx *onnx, const char *output)
{
    const Onnx__GraphProto *graph = onnx->proto->graph;
    for (size_t n = 0; n < graph->n_node; n++) {
        const Onnx__NodeProto *node = graph->node[n];
        qn_error error = {0};
        const struct qn_onnx_row *row = qn_onnx_row_of(onnx, node, &error);
        if (row && is_among(node->output, node->n_output, row->drawn, output))
            return true;
    }
    return false;
}
