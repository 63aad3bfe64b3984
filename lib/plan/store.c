// Stores: groups of variables, each group one buffer on the device. Knows no
// plans.
#include <stdlib.h>
#include <string.h>

#include "plan/plan.h"

struct variable {
    char *name;
    int group;
    qn_dtype dtype;
    qn_shape shape;
    int64_t offset;
    int64_t size;
    struct qn_buffer *part; // made at first use
};

struct group {
    char *name;
    int64_t size;
    struct qn_buffer *buffer;
};

struct qn_store {
    qn_device *device; // NULL: a sketch, whose groups have no buffers
    struct qn_arena arena;
    struct variable *variables;
    int variable_count;
    struct group *groups;
    int group_count;
};

qn_store *qn_store_sketch(qn_error *error)
{
    qn_store *store = calloc(1, sizeof *store);
    if (!store)
        qn_fail_memory(error, sizeof *store);
    return store;
}

bool qn_store_is_sketch(const qn_store *store)
{
    return !store->device;
}

qn_store *qn_store_create(qn_device *device, qn_error *error)
{
    if (!device) {
        qn_fail(error, QN_BAD_ARGUMENT, "qn_store_create: device is NULL");
        return NULL;
    }
    qn_store *store = qn_store_sketch(error);
    if (store)
        store->device = device;
    return store;
}

void qn_store_destroy(qn_store **handle)
{
    if (!handle || !*handle)
        return;
    qn_store *store = *handle;
    for (int i = 0; i < store->variable_count; i++)
        qn_buffer_destroy(&store->variables[i].part);
    for (int i = 0; i < store->group_count; i++)
        qn_buffer_destroy(&store->groups[i].buffer);
    free(store->variables);
    free(store->groups);
    qn_arena_finish(&store->arena);
    free(store);
    *handle = NULL;
}

static int find_group(const qn_store *store, const char *name)
{
    for (int i = 0; i < store->group_count; i++)
        if (strcmp(store->groups[i].name, name) == 0)
            return i;
    return -1;
}

int qn_store_find(const qn_store *store, const char *group, const char *name)
{
    int g = find_group(store, group);
    for (int i = 0; g >= 0 && i < store->variable_count; i++)
        if (store->variables[i].group == g &&
            strcmp(store->variables[i].name, name) == 0)
            return i;
    return -1;
}

// A variable that the store already has must be the same.
static qn_status check_variable(const struct variable *have,
                                const struct qn_node *node, qn_error *error)
{
    if (have->dtype == node->dtype &&
        qn_shape_equal(&have->shape, &node->shape))
        return QN_OK;
    char before[128], now[128];
    return qn_fail(error, QN_BAD_SHAPE,
                   "variable \"%s\" is %s %s in the store and %s %s in the "
                   "graph",
                   node->name, qn_dtype_name(have->dtype),
                   qn_shape_text(&have->shape, before, sizeof before),
                   qn_dtype_name(node->dtype),
                   qn_shape_text(&node->shape, now, sizeof now));
}

static qn_status add_variable(qn_store *store, int group,
                              const struct qn_node *node, qn_error *error)
{
    size_t size =
        (size_t)(store->variable_count + 1) * sizeof *store->variables;
    struct variable *variables = realloc(store->variables, size);
    if (!variables)
        return qn_fail_memory(error, size);
    store->variables = variables;
    struct variable *v = &variables[store->variable_count];
    *v = (struct variable){
        .name = qn_arena_string(&store->arena, node->name),
        .group = group,
        .dtype = node->dtype,
        .shape = node->shape,
        .offset = store->groups[group].size,
        .size = (int64_t)qn_node_size(node),
    };
    if (!v->name)
        return qn_fail_memory(error, strlen(node->name));
    store->groups[group].size +=
        (v->size + QN_GROUP_ALIGN - 1) / QN_GROUP_ALIGN * QN_GROUP_ALIGN;
    store->variable_count++;
    return QN_OK;
}

// Lays out a new group with all its variables of this graph.
static qn_status add_group(qn_store *store, const qn_graph *graph,
                           const char *name, qn_error *error)
{
    size_t size = (size_t)(store->group_count + 1) * sizeof *store->groups;
    struct group *groups = realloc(store->groups, size);
    if (!groups)
        return qn_fail_memory(error, size);
    store->groups = groups;
    int index = store->group_count;
    groups[index] =
        (struct group){.name = qn_arena_string(&store->arena, name)};
    if (!groups[index].name)
        return qn_fail_memory(error, strlen(name));
    store->group_count++;
    for (const struct qn_node *node = graph->first; node; node = node->next)
        if (node->op == &qn_op_variable && strcmp(node->group, name) == 0)
            QN_TRY(add_variable(store, index, node, error));
    if (!store->device)
        return QN_OK;
    return qn_buffer_create(store->device, (size_t)groups[index].size,
                            groups[index].name, &groups[index].buffer, error);
}

qn_status qn_store_add(qn_store *store, const qn_graph *graph,
                       qn_error *error)
{
    QN_REQUIRE(error, store != NULL);
    QN_TRY(qn_graph_check(graph, error));
    for (const struct qn_node *node = graph->first; node; node = node->next) {
        if (node->op != &qn_op_variable)
            continue;
        int index = qn_store_find(store, node->group, node->name);
        if (index >= 0) {
            QN_TRY(check_variable(&store->variables[index], node, error));
            continue;
        }
        if (find_group(store, node->group) >= 0)
            return qn_fail(error, QN_BAD_ARGUMENT,
                           "group \"%s\" is laid out already and cannot take "
                           "variable \"%s\"",
                           node->group, node->name);
        QN_TRY(add_group(store, graph, node->group, error));
    }
    return QN_OK;
}

void qn_store_describe(const qn_store *store, qn_store_stats *stats)
{
    *stats = (qn_store_stats){0};
    for (int i = 0; i < store->group_count; i++) {
        const struct group *group = &store->groups[i];
        stats->size += group->size;
        if (group->size > stats->largest_size)
            stats->largest_size = group->size;
    }
}

int qn_store_count(const qn_store *store)
{
    return store->variable_count;
}

qn_status qn_store_entry_at(const qn_store *store, int index,
                            qn_store_entry *entry)
{
    if (!store || index < 0 || index >= store->variable_count)
        return QN_BAD_ARGUMENT;
    const struct variable *v = &store->variables[index];
    *entry = (qn_store_entry){
        .group = store->groups[v->group].name,
        .name = v->name,
        .dtype = v->dtype,
        .shape = v->shape,
        .offset = v->offset,
    };
    return QN_OK;
}

static qn_status fail_sketch(const char *name, qn_error *error)
{
    return qn_fail(error, QN_BAD_ARGUMENT,
                   "variable \"%s\" has no memory: the store is a sketch",
                   name);
}

static qn_status check_copy(const qn_store *store, int index, size_t size,
                            qn_error *error)
{
    if (!store || index < 0 || index >= store->variable_count)
        return qn_fail(error, QN_BAD_ARGUMENT, "no variable %d in the store",
                       index);
    const struct variable *v = &store->variables[index];
    if (!store->device)
        return fail_sketch(v->name, error);
    if ((int64_t)size != v->size)
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "variable \"%s\" has %lld bytes, not %zu", v->name,
                       (long long)v->size, size);
    return QN_OK;
}

qn_status qn_store_write(qn_store *store, int index, const void *data,
                         size_t size, qn_error *error)
{
    QN_TRY(check_copy(store, index, size, error));
    const struct variable *v = &store->variables[index];
    return qn_buffer_write(store->groups[v->group].buffer, (size_t)v->offset,
                           data, size, error);
}

qn_status qn_store_read(qn_store *store, int index, void *data, size_t size,
                        qn_error *error)
{
    QN_TRY(check_copy(store, index, size, error));
    const struct variable *v = &store->variables[index];
    return qn_buffer_read(store->groups[v->group].buffer, (size_t)v->offset,
                          data, size, error);
}

int64_t qn_store_group_size(const qn_store *store, const char *group)
{
    int g = find_group(store, group);
    return g < 0 ? 0 : store->groups[g].size;
}

struct qn_buffer *qn_store_buffer(const qn_store *store, const char *group)
{
    int g = find_group(store, group);
    return g < 0 ? NULL : store->groups[g].buffer;
}

struct qn_buffer *qn_store_variable_buffer(qn_store *store, const char *group,
                                           const char *name, qn_error *error)
{
    int index = qn_store_find(store, group, name);
    if (index < 0) {
        qn_fail(error, QN_BAD_ARGUMENT,
                "the store has no variable \"%s\" in group \"%s\": call "
                "qn_store_add first",
                name, group);
        return NULL;
    }
    struct variable *v = &store->variables[index];
    if (!store->device) {
        fail_sketch(name, error);
        return NULL;
    }
    if (!v->part &&
        qn_buffer_part(store->groups[v->group].buffer, (size_t)v->offset,
                       (size_t)v->size, &v->part, error) != QN_OK)
        return NULL;
    return v->part;
}
