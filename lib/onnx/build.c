// The walk over a model's nodes that appends them to a graph. Values are found
// by name in a hash table. Knows no operator.
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "onnx/model.h"

struct table {
    struct qn_onnx_value *values; // capacity, a power of two
    size_t capacity;
    size_t used;
};

static struct qn_onnx_value *find(const struct table *table, const char *name)
{
    size_t at = (size_t)qn_fnv1a(name, strlen(name));
    for (;; at++) {
        struct qn_onnx_value *value =
            &table->values[at & (table->capacity - 1)];
        if (!value->name || strcmp(value->name, name) == 0)
            return value;
    }
}

// Room for all names of the model, at most half full.
static qn_status make_table(const Onnx__GraphProto *graph, int binding_count,
                            struct table *table, qn_error *error)
{
    size_t count = graph->n_initializer + (size_t)binding_count;
    for (size_t i = 0; i < graph->n_node; i++)
        count += graph->node[i]->n_output;
    table->capacity = 16;
    while (table->capacity < 2 * count + 2)
        table->capacity *= 2;
    table->values = calloc(table->capacity, sizeof *table->values);
    return table->values
               ? QN_OK
               : qn_fail_memory(error,
                                table->capacity * sizeof *table->values);
}

static qn_status add(struct table *table, const char *what, const char *name,
                     struct qn_onnx_value **value, qn_error *error)
{
    *value = find(table, name);
    if ((*value)->name)
        return qn_fail(error, QN_FORMAT,
                       "%s: value \"%.100s\" is made twice", what, name);
    (*value)->name = name;
    return QN_OK;
}

static qn_status add_initializers(const qn_onnx *onnx, struct table *table,
                                  qn_error *error)
{
    const Onnx__GraphProto *graph = onnx->proto->graph;
    for (size_t i = 0; i < graph->n_initializer; i++) {
        struct qn_onnx_value *value;
        qn_error detail = {0};
        QN_TRY(add(table, onnx->what, graph->initializer[i]->name, &value,
                   error));
        value->has_content = true;
        if (qn_onnx_tensor_read(graph->initializer[i], &value->content,
                                &detail) != QN_OK)
            return qn_fail(error, detail.status, "%s: %s", onnx->what,
                           detail.text);
    }
    return QN_OK;
}

// Values that the caller knows; an output's are no input.
static qn_status add_bindings(const qn_onnx *onnx, struct table *table,
                              const struct qn_onnx_binding *bindings,
                              int count, qn_error *error)
{
    for (int i = 0; i < count; i++) {
        struct qn_onnx_value *value;
        if (qn_onnx_is_drawn(onnx, bindings[i].name))
            continue;
        QN_TRY(add(table, onnx->what, bindings[i].name, &value, error));
        value->node = bindings[i].node;
        value->has_content = bindings[i].content != NULL;
        if (value->has_content)
            value->content = *bindings[i].content;
    }
    for (int i = 0; qn_onnx_input(onnx, i); i++)
        if (!find(table, qn_onnx_input(onnx, i))->name)
            return qn_fail(error, QN_BAD_ARGUMENT,
                           "%s: input \"%.100s\" is not given", onnx->what,
                           qn_onnx_input(onnx, i));
    return QN_OK;
}

// ---- one node ----

static bool is_word_of(const char *words, const char *word)
{
    const size_t length = strlen(word);
    for (const char *at = words; at && *at; at += strspn(at, " ")) {
        const size_t width = strcspn(at, " ");
        if (width == length && memcmp(at, word, length) == 0)
            return true;
        at += width;
    }
    return false;
}

static void check_use(struct qn_onnx_use *use, const struct qn_onnx_row *row)
{
    const Onnx__NodeProto *node = use->proto;
    for (size_t i = 0; i < node->n_attribute; i++)
        if (!is_word_of(row->attributes, node->attribute[i]->name))
            qn_onnx_fail(use, QN_UNSUPPORTED,
                         "attribute \"%.60s\" has no mapping",
                         node->attribute[i]->name);
    if (use->in_count < row->min_inputs ||
        (row->max_inputs >= 0 && use->in_count > row->max_inputs))
        qn_onnx_fail(use, QN_FORMAT, "has %d inputs; takes %d to %d",
                     use->in_count, row->min_inputs, row->max_inputs);
    for (int i = 0; i < row->min_inputs && i < use->in_count; i++)
        if (!use->in[i])
            qn_onnx_fail(use, QN_FORMAT, "input %d must not be left out", i);
    for (int i = row->max_outputs; i < use->out_count; i++)
        if (*node->output[i])
            qn_onnx_fail(use, QN_UNSUPPORTED, "output %d has no mapping", i);
}

static void find_inputs(struct qn_onnx_use *use, const struct table *table)
{
    use->in_count = (int)use->proto->n_input;
    for (int i = 0; i < use->in_count; i++) {
        const char *name = use->proto->input[i];
        struct qn_onnx_value *value = *name ? find(table, name) : NULL;
        if (value && !value->name)
            qn_onnx_fail(use, QN_FORMAT,
                         "value \"%.100s\" is used before it is made", name);
        use->in[i] = value;
    }
}

static void run_row(struct qn_onnx_use *use, const struct qn_onnx_row *row)
{
    if (row->build)
        row->build(use);
    else if (row->unary)
        use->out[0] = row->unary(use->g, qn_onnx_in(use, 0));
    else
        use->out[0] =
            row->binary(use->g, qn_onnx_in(use, 0), qn_onnx_in(use, 1));
    qn_error detail = {0};
    if (!qn_onnx_failed(use) && qn_graph_check(use->g, &detail) != QN_OK)
        qn_onnx_fail(use, detail.status, "%s", detail.text);
    for (int i = 0; i < use->out_count; i++)
        if (*use->proto->output[i] && !use->out[i])
            qn_onnx_fail(use, QN_UNSUPPORTED, "output %d has no mapping", i);
}

static qn_status build_node(const qn_onnx *onnx, const Onnx__NodeProto *node,
                            const struct table *table,
                            struct qn_onnx_value *given, qn_graph *g,
                            struct qn_onnx_use *use, qn_error *error)
{
    const struct qn_onnx_row *row = qn_onnx_row_of(onnx, node, error);
    if (!row)
        return error->status;
    *use = (struct qn_onnx_use){
        .g = g,
        .real = qn_node_dtype(qn_constant(g, 0)),
        .proto = node,
        .what = onnx->what,
        .opset = qn_onnx_opset(onnx, node->domain),
        .out_count = (int)node->n_output,
        .error = error,
    };
    for (int i = 0; i < use->out_count; i++)
        for (struct qn_onnx_value *value = given; value->name; value++)
            if (strcmp(value->name, node->output[i]) == 0)
                use->given[i] = value;
    find_inputs(use, table);
    check_use(use, row);
    if (!qn_onnx_failed(use))
        run_row(use, row);
    return error->status;
}

static qn_status keep_outputs(const struct qn_onnx_use *use,
                              struct table *table, qn_error *error)
{
    for (int i = 0; i < use->out_count; i++) {
        struct qn_onnx_value *value;
        if (!*use->proto->output[i])
            continue;
        QN_TRY(add(table, use->what, use->proto->output[i], &value, error));
        value->node = use->out[i];
    }
    return QN_OK;
}

// ---- the model ----

static qn_status build_nodes(const qn_onnx *onnx, qn_graph *g,
                             struct table *table,
                             struct qn_onnx_value *given, qn_error *error)
{
    struct qn_onnx_use *use = malloc(sizeof *use);
    qn_status status = use ? QN_OK : qn_fail_memory(error, sizeof *use);
    const Onnx__GraphProto *graph = onnx->proto->graph;
    for (size_t i = 0; i < graph->n_node && status == QN_OK; i++) {
        status = build_node(onnx, graph->node[i], table, given, g, use,
                            error);
        if (status == QN_OK)
            status = keep_outputs(use, table, error);
    }
    free(use);
    return status;
}

static qn_status find_outputs(const qn_onnx *onnx, qn_graph *g,
                              const struct table *table, qn_node **outputs,
                              qn_error *error)
{
    struct qn_onnx_use use = {.g = g, .proto = NULL, .what = onnx->what,
                              .real = qn_node_dtype(qn_constant(g, 0)),
                              .error = error, .in_count = 1};
    for (int i = 0; qn_onnx_output(onnx, i); i++) {
        use.in[0] = find(table, qn_onnx_output(onnx, i));
        if (!use.in[0]->name)
            return qn_fail(error, QN_FORMAT,
                           "%s: no node makes output \"%.100s\"", onnx->what,
                           qn_onnx_output(onnx, i));
        outputs[i] = qn_onnx_in(&use, 0);
    }
    return error->status;
}

// The bindings of drawn outputs, ending with a NULL name.
static qn_status collect_given(const qn_onnx *onnx,
                               const struct qn_onnx_binding *bindings,
                               int count, struct qn_onnx_value **given,
                               qn_error *error)
{
    int used = 0;
    *given = calloc((size_t)count + 1, sizeof **given);
    if (!*given)
        return qn_fail_memory(error, sizeof **given);
    for (int i = 0; i < count; i++)
        if (qn_onnx_is_drawn(onnx, bindings[i].name) && bindings[i].content)
            (*given)[used++] = (struct qn_onnx_value){
                .name = bindings[i].name,
                .content = *bindings[i].content,
                .has_content = true};
    return QN_OK;
}

qn_status qn_onnx_build(const qn_onnx *onnx, qn_graph *g,
                        const struct qn_onnx_binding *bindings,
                        int binding_count, qn_node **outputs, qn_error *error)
{
    struct table table = {0};
    struct qn_onnx_value *given = NULL;
    qn_error local = {0};
    qn_status status = qn_graph_check(g, &local);
    if (status == QN_OK)
        status = make_table(onnx->proto->graph, binding_count, &table,
                            &local);
    if (status == QN_OK)
        status = collect_given(onnx, bindings, binding_count, &given, &local);
    if (status == QN_OK)
        status = add_initializers(onnx, &table, &local);
    if (status == QN_OK)
        status = add_bindings(onnx, &table, bindings, binding_count, &local);
    if (status == QN_OK)
        status = build_nodes(onnx, g, &table, given, &local);
    if (status == QN_OK)
        status = find_outputs(onnx, g, &table, outputs, &local);
    free(given);
    free(table.values);
    return status == QN_OK ? status
                           : qn_fail(error, status, "%s", local.text);
}
