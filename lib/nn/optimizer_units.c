// What a unit is, as a table for the launch that bounds norms.
#include "nn/optimizer_units.h"

#include "graph/graph.h"
#include "op/update.h"
#include "quern/op.h"

// All units of one parameter: group k has `each` of them; unit u of it begins
// at k * group_step + u * unit_step.
struct units {
    int64_t groups, each, group_step, unit_step;
    int64_t runs, between, length; // of a unit
};

static struct units units_of(const qn_node *w,
                             const struct qn_parameter_options *options)
{
    const int64_t count = qn_node_count(w);
    if (options->units == QN_UNITS_ALL || w->shape.rank < 2)
        return (struct units){1, 1, 0, 0, 1, 0, count};
    const int64_t rows = w->shape.dims[0], row = count / rows;
    if (options->units == QN_UNITS_ROWS)
        return (struct units){1, rows, 0, row, 1, 0, row};
    const int64_t groups = options->unit_groups, columns = w->shape.dims[1];
    return (struct units){
        groups,        columns, rows / groups * row, row / columns,
        rows / groups, row,     row / columns};
}

static int32_t *add_units(const struct units *units, int64_t at, int owner,
                          int32_t *row)
{
    for (int64_t k = 0; k < units->groups; k++)
        for (int64_t u = 0; u < units->each; u++) {
            row[0] = (int32_t)(at + k * units->group_step +
                               u * units->unit_step);
            row[1] = (int32_t)units->runs;
            row[2] = (int32_t)units->between;
            row[3] = (int32_t)units->length;
            row[4] = owner;
            row += QN_UNIT_COLUMNS;
        }
    return row;
}

static bool has_units(const struct qn_parameter_options *options)
{
    return options->max_norm > 0 && !options->is_frozen;
}

static bool check_groups(qn_graph *g, const qn_node *w,
                         const struct qn_parameter_options *options)
{
    if (options->units != QN_UNITS_COLUMNS || w->shape.rank < 2 ||
        (options->unit_groups > 0 &&
         w->shape.dims[0] % options->unit_groups == 0))
        return true;
    qn_graph_fail(g, QN_BAD_ARGUMENT,
                  "parameter %s: its %lld rows do not split into %lld groups "
                  "of units",
                  w->name, (long long)w->shape.dims[0],
                  (long long)options->unit_groups);
    return false;
}

qn_node *qn_optimizer_units(qn_graph *g, qn_node *const *parameters,
                            const struct qn_parameter_options *options,
                            int count, int64_t *largest)
{
    int64_t total = 0, at = 0;
    *largest = 0;
    for (int i = 0; options && i < count; i++) {
        if (!has_units(&options[i]))
            continue;
        if (!check_groups(g, parameters[i], &options[i]))
            return NULL;
        const struct units units = units_of(parameters[i], &options[i]);
        total += units.groups * units.each;
        if (units.runs * units.length > *largest)
            *largest = units.runs * units.length;
    }
    if (total == 0)
        return NULL;
    const size_t size = (size_t)total * QN_UNIT_COLUMNS * sizeof(int32_t);
    int32_t *table = qn_arena_alloc(&g->arena, size), *row = table;
    if (!table) {
        qn_graph_fail(g, QN_NO_MEMORY, "no memory for %lld units",
                      (long long)total);
        return NULL;
    }
    for (int i = 0; i < count; i++) {
        const struct units units = units_of(parameters[i], &options[i]);
        if (has_units(&options[i]))
            row = add_units(&units, at, i, row);
        const int64_t align = QN_GROUP_ALIGN;
        at += ((int64_t)qn_node_size(parameters[i]) + align - 1) / align *
              align / (int64_t)qn_dtype_size(parameters[i]->dtype);
    }
    return qn_constant_data(g, QN_INT32, qn_shape_of(total, QN_UNIT_COLUMNS),
                            table);
}
