// quern list: the tables of the library.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "command.h"

enum { COLUMNS = 5 };

// A table: its columns, and the cells of row `index`; false past the last row.
struct table {
    const char *name;
    const char *keys[COLUMNS];
    bool (*row)(int index, const char *cells[COLUMNS]);
};

static bool op_row(int index, const char *cells[COLUMNS])
{
    qn_op_info info;
    if (!qn_op_describe(index, &info))
        return false;
    cells[0] = info.name;
    cells[1] = info.formula;
    cells[2] = info.kind;
    cells[3] = info.has_gradient ? "yes" : "no";
    cells[4] = info.source;
    return true;
}

// What the key is at when a model does not name it; "" if it must be named.
static void show_default(const struct qn_layer_key *key, char *text,
                         size_t size)
{
    const char *word = key->choices;
    text[0] = 0;
    if (isnan(key->value))
        return;
    if (strcmp(key->type, "initializer") == 0) {
        snprintf(text, size, "=default");
    } else if (strcmp(key->type, "boolean") == 0) {
        snprintf(text, size, "=%s", key->value != 0 ? "true" : "false");
    } else if (word && (strcmp(key->type, "choice") == 0 || key->value < 0)) {
        for (int i = 0; i < (int)key->value; i++)
            word += strcspn(word, "|") + 1;
        snprintf(text, size, "=%.*s", (int)strcspn(word, "|"), word);
    } else {
        snprintf(text, size, "=%g", key->value);
    }
}

// "units, bias=true, ...": the keys with their defaults.
static const char *layer_keys(const qn_layer *layer)
{
    static char text[512];
    int used = 0;
    const struct qn_layer_key *key;
    text[0] = 0;
    for (int i = 0; (key = qn_layer_key_at(layer, i)); i++) {
        char value[64];
        show_default(key, value, sizeof value);
        used += snprintf(text + used, sizeof text - (size_t)used, "%s%s%s",
                         i ? ", " : "", key->name, value);
        if (used + 100 > (int)sizeof text)
            break;
    }
    return text;
}

static bool layer_row(int index, const char *cells[COLUMNS])
{
    const qn_layer *layer = qn_layer_at(index);
    if (!layer)
        return false;
    cells[0] = qn_layer_name(layer);
    cells[1] = qn_layer_formula(layer);
    cells[2] = layer_keys(layer);
    return true;
}

// "delta=1": what goes behind the colon.
static const char *loss_keys(const struct qn_loss *loss)
{
    static char text[256];
    int used = 0;
    text[0] = 0;
    for (int i = 0; i < loss->key_count; i++) {
        bool is_number = !isnan(loss->keys[i].value);
        used += snprintf(text + used, sizeof text - (size_t)used, "%s%s",
                         i ? ", " : "", loss->keys[i].name);
        if (is_number)
            used += snprintf(text + used, sizeof text - (size_t)used, "=%g",
                             loss->keys[i].value);
    }
    if (loss->takes_weights)
        snprintf(text + used, sizeof text - (size_t)used, "%sweights",
                 used ? ", " : "");
    return text;
}

static bool loss_row(int index, const char *cells[COLUMNS])
{
    const struct qn_loss *loss = qn_loss_at(index);
    if (!loss)
        return false;
    cells[0] = loss->name;
    cells[1] = loss->formula;
    cells[2] = loss_keys(loss);
    cells[3] = loss->source;
    return true;
}

// "history=20, line_search=strong_wolfe"
static bool minimizer_row(int index, const char *cells[COLUMNS])
{
    static char keys[512];
    const struct qn_minimizer_row *row = qn_minimizer_row_at(index);
    if (!row)
        return false;
    const struct qn_minimizer_params params = qn_minimizer_defaults(row);
    int used = snprintf(keys, sizeof keys, "lr=%g", row->lr);
    for (int i = 0; i < row->key_count; i++) {
        char value[64];
        if (row->keys[i].choices)
            qn_minimizer_value(&params, i, value, sizeof value);
        else
            snprintf(value, sizeof value, "%g", row->keys[i].value);
        used += snprintf(keys + used, sizeof keys - (size_t)used, ", %s=%s",
                         row->keys[i].name, value);
    }
    cells[0] = row->name;
    cells[1] = row->formula;
    cells[2] = keys;
    cells[3] = row->source;
    cells[4] = "full batch";
    return true;
}

static bool optimizer_row(int index, const char *cells[COLUMNS])
{
    static char hyper[256];
    const struct qn_optimizer *row = qn_optimizer_at(index);
    int count = 0;
    while (!row && qn_optimizer_at(count))
        count++;
    if (!row)
        return minimizer_row(index - count, cells);
    int used = snprintf(hyper, sizeof hyper, "lr=%g", row->lr);
    for (int i = 0; i < row->hyper_count; i++)
        used += snprintf(hyper + used, sizeof hyper - (size_t)used,
                         ", %s=%g", row->hyper[i].name, row->hyper[i].value);
    cells[0] = row->name;
    cells[1] = row->formula;
    cells[2] = hyper;
    cells[3] = row->source;
    cells[4] = "mini-batches";
    return true;
}

// "length, eta_min=0": what goes behind the colon.
static const char *schedule_keys(const struct qn_schedule *schedule)
{
    static char text[512];
    int used = 0;
    text[0] = 0;
    for (int i = 0; i < schedule->key_count; i++) {
        const struct qn_schedule_key *key = &schedule->keys[i];
        char value[64] = "";
        const char *word = key->choices;
        for (int k = 0; word && k < (int)key->value; k++)
            word += strcspn(word, "|") + 1;
        if (word)
            snprintf(value, sizeof value, "=%.*s", (int)strcspn(word, "|"),
                     word);
        else if (!isnan(key->value))
            snprintf(value, sizeof value, "=%g", key->value);
        used += snprintf(text + used, sizeof text - (size_t)used, "%s%s%s",
                         i ? ", " : "", key->name, value);
    }
    return text;
}

static bool schedule_row(int index, const char *cells[COLUMNS])
{
    const struct qn_schedule *row = qn_schedule_at(index);
    if (!row)
        return false;
    cells[0] = row->name;
    cells[1] = row->formula;
    cells[2] = schedule_keys(row);
    cells[3] = row->source;
    return true;
}

static bool init_row(int index, const char *cells[COLUMNS])
{
    const struct qn_init *init = qn_init_at(index);
    if (!init)
        return false;
    cells[0] = init->name;
    cells[1] = init->formula;
    cells[2] = init->alias;
    cells[3] = init->source;
    return true;
}

static bool model_row(int index, const char *cells[COLUMNS])
{
    const struct qn_model_row *row = qn_model_row_at(index);
    if (!row)
        return false;
    cells[0] = row->name;
    cells[1] = row->source;
    cells[2] = row->definition;
    return true;
}

static bool dataset_row(int index, const char *cells[COLUMNS])
{
    const struct qn_dataset_row *row = qn_dataset_row_at(index);
    if (!row)
        return false;
    cells[0] = row->name;
    cells[1] = row->source;
    cells[2] = row->files;
    return true;
}

static const struct table tables[] = {
    {"ops", {"name", "formula", "kind", "gradient", "source"}, op_row},
    {"layers", {"name", "formula", "keys"}, layer_row},
    {"losses", {"name", "formula", "settings", "source"}, loss_row},
    {"optimizers", {"name", "formula", "settings", "source", "kind"},
     optimizer_row},
    {"schedules", {"name", "formula", "settings", "source"}, schedule_row},
    {"inits", {"name", "formula", "alias", "source"}, init_row},
    {"datasets", {"name", "source", "files"}, dataset_row},
    {"models", {"name", "source", "definition"}, model_row},
};

enum { TABLE_COUNT = sizeof tables / sizeof *tables };

static int column_count(const struct table *table)
{
    int count = 0;
    while (count < COLUMNS && table->keys[count])
        count++;
    return count;
}

// The width of column 0 over all rows.
static int name_width(const struct table *table)
{
    const char *cells[COLUMNS] = {0};
    int width = 0;
    for (int i = 0; table->row(i, cells); i++)
        if ((int)strlen(cells[0]) > width)
            width = (int)strlen(cells[0]);
    return width;
}

// Operations are many: one line each, two only where the formula is long.
static void print_op(const char *const cells[COLUMNS], int indent, int width)
{
    char text[512];
    bool has_gradient = strcmp(cells[3], "yes") == 0;
    snprintf(text, sizeof text, "%s (%s%s)", cells[1], cells[2],
             has_gradient ? "" : ", no gradient");
    print_wrapped(text, indent, width);
}

// Name and formula in columns, all else below.
static void print_table(const struct table *table)
{
    const char *cells[COLUMNS] = {0};
    int indent = name_width(table) + 4, columns = column_count(table);
    int width = terminal_width(stdout);
    width = width ? width : 100;
    width = width < indent + 30 ? indent + 30 : width;
    printf("%s\n", table->name);
    for (int i = 0; table->row(i, cells); i++) {
        printf("  %-*s  ", indent - 4, cells[0]);
        if (table->row == op_row) {
            print_op(cells, indent, width);
            continue;
        }
        print_wrapped(cells[1], indent, width);
        for (int c = 2; c < columns; c++) {
            if (!cells[c] || !*cells[c] || *cells[c] == '{')
                continue; // models in JSON are for --json
            int at = printf("%*s%s: ", indent, "", table->keys[c]);
            print_wrapped(cells[c], at, width);
        }
    }
}

static json_t *table_json(const struct table *table)
{
    const char *cells[COLUMNS] = {0};
    json_t *rows = json_array();
    for (int i = 0; table->row(i, cells); i++) {
        json_t *row = json_object();
        for (int c = 0; c < column_count(table); c++)
            json_object_set_new(row, table->keys[c],
                                cells[c] ? json_string(cells[c])
                                         : json_null());
        json_array_append_new(rows, row);
    }
    return rows;
}

static int unknown_table(const struct command *command, const char *name)
{
    char all[256] = "";
    for (int i = 0; i < TABLE_COUNT; i++) {
        size_t used = strlen(all);
        snprintf(all + used, sizeof all - used, "%s%s", i ? ", " : "",
                 tables[i].name);
    }
    return usage_error(command, "unknown table %s; there are %s", name, all);
}

// The tables that are asked for: the one named `name`, or all.
static bool is_wanted(const struct table *table, const char *name)
{
    return !name || strcmp(table->name, name) == 0;
}

static int print_wanted(const char *name, bool json)
{
    json_t *object = json_object();
    for (int i = 0, shown = 0; i < TABLE_COUNT; i++) {
        if (!is_wanted(&tables[i], name))
            continue;
        if (json)
            json_object_set_new(object, tables[i].name,
                                table_json(&tables[i]));
        else if (shown++)
            putchar('\n');
        if (!json)
            print_table(&tables[i]);
    }
    if (json)
        return print_json(object);
    json_decref(object);
    return EXIT_DONE;
}

int run_list(const struct command *command, int argc, const char **argv)
{
    bool json = false, plot = false, known = false;
    struct flag flags[] = {
        {"plot", NULL, "draw schedules, those of the table or SCHEDULE...",
         FLAG_SWITCH, &plot, 0, 0, false},
        FLAG_JSON(json)};
    struct words words;
    int status;
    if (!parse_flags(command, argc, argv, flags, FLAG_COUNT_OF(flags), &words,
                     &status))
        return status;
    const char *name = words.count ? words.text[0] : NULL;
    for (int i = 0; i < TABLE_COUNT; i++)
        known |= is_wanted(&tables[i], name);
    bool is_plot = plot && name && strcmp(name, "schedules") == 0;
    if (!known)
        status = unknown_table(command, name);
    else if (plot && !is_plot)
        status = usage_error(command, "--plot: only schedules have pictures");
    else if (is_plot)
        status = plot_schedules(command, words.text + 1, words.count - 1,
                                json);
    else if (words.count > 1)
        status = usage_error(command, "takes one table at most");
    else
        status = print_wanted(name, json);
    free_words(&words);
    return status;
}
