// The table of minimizers, and their settings as text: "lbfgs:history=20".
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/minimize.h"
#include "nn/pairs.h"

const struct qn_minimizer_row *qn_minimizer_row_at(int index)
{
    static const struct qn_minimizer_row *const rows[] = {
        &qn_method_lbfgs.row, &qn_method_bfgs.row, &qn_method_newton_cg.row};
    const int count = sizeof rows / sizeof *rows;
    return index >= 0 && index < count ? rows[index] : NULL;
}

const struct qn_minimizer_row *qn_minimizer_row_find(const char *name)
{
    const struct qn_minimizer_row *row = NULL;
    for (int i = 0; (row = qn_minimizer_row_at(i)); i++)
        if (strcmp(row->name, name) == 0)
            break;
    return row;
}

struct qn_minimizer_params
qn_minimizer_defaults(const struct qn_minimizer_row *row)
{
    struct qn_minimizer_params params = {.row = row, .lr = row->lr};
    for (int i = 0; i < row->key_count; i++)
        params.values[i] = row->keys[i].value;
    return params;
}

// ---- reading ----

static qn_status unknown_key(const struct qn_minimizer_row *row,
                             const char *key, qn_error *error)
{
    const char *names[QN_MAX_MINIMIZER_KEYS];
    char known[256];
    for (int i = 0; i < row->key_count; i++)
        names[i] = row->keys[i].name;
    qn_pairs_list(names, row->key_count, known, sizeof known);
    return qn_fail(error, QN_BAD_ARGUMENT,
                   "optimizer %s has no %.60s; it has %s", row->name, key,
                   known);
}

// The number of the word among "a|b|c", or -1.
static int find_choice(const char *choices, const char *word)
{
    const size_t length = strlen(word);
    for (int i = 0;; i++) {
        size_t next = strcspn(choices, "|");
        if (next == length && strncmp(choices, word, length) == 0)
            return i;
        if (!choices[next])
            return -1;
        choices += next + 1;
    }
}

qn_status qn_minimizer_set(struct qn_minimizer_params *params,
                           const char *key, const char *value,
                           qn_error *error)
{
    double number;
    bool is_integer = false;
    int i = 0;
    QN_REQUIRE(error, params && params->row && key && value);
    const struct qn_minimizer_row *row = params->row;
    while (i < row->key_count && strcmp(row->keys[i].name, key) != 0)
        i++;
    if (i == row->key_count)
        return unknown_key(row, key, error);
    const struct qn_minimizer_key *known = &row->keys[i];
    if (known->choices) {
        number = find_choice(known->choices, value);
        if (number < 0)
            return qn_fail(error, QN_BAD_ARGUMENT,
                           "optimizer %s: %s is %.60s and must be one of %s",
                           row->name, key, value, known->choices);
    } else if (!qn_pairs_number(value, &number, &is_integer) ||
               (known->is_integer && !is_integer)) {
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "optimizer %s: %s is \"%.60s\", which is no %s",
                       row->name, key, value,
                       known->is_integer ? "whole number" : "number");
    }
    if (!(number >= known->minimum && number <= known->maximum))
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "optimizer %s: %s is %.60s and must be from %.12g to "
                       "%.12g", row->name, key, value, known->minimum,
                       known->maximum);
    params->values[i] = number;
    return QN_OK;
}

static qn_status unknown_row(const char *name, qn_error *error)
{
    const char *names[] = {qn_method_lbfgs.row.name, qn_method_bfgs.row.name,
                           qn_method_newton_cg.row.name};
    const char *nearest = qn_text_nearest(name, names, 3);
    return qn_fail(error, QN_BAD_ARGUMENT, "unknown minimizer %.60s%s%s%s",
                   name, nearest ? "; did you mean " : "",
                   nearest ? nearest : "",
                   nearest ? "?" : "; there are lbfgs, bfgs and newton_cg");
}

static qn_status set_pair(void *user, const char *key, const char *value,
                          qn_error *error)
{
    return qn_minimizer_set(user, key, value, error);
}

qn_status qn_minimizer_parse(const char *text,
                             struct qn_minimizer_params *params,
                             qn_error *error)
{
    char name[QN_PAIRS_NAME], what[80];
    QN_REQUIRE(error, text && params);
    const char *pairs = qn_pairs_name(text, name);
    const struct qn_minimizer_row *row = qn_minimizer_row_find(name);
    if (!row)
        return unknown_row(name, error);
    *params = qn_minimizer_defaults(row);
    snprintf(what, sizeof what, "optimizer %s", name);
    return qn_pairs_read(pairs, what, "NAME=VALUE", set_pair, params, error);
}

// ---- writing ----

char *qn_minimizer_value(const struct qn_minimizer_params *params, int index,
                         char *text, size_t size)
{
    const struct qn_minimizer_key *key = &params->row->keys[index];
    const char *word = key->choices;
    if (!word) {
        snprintf(text, size, "%.17g", params->values[index]);
        return text;
    }
    for (int i = 0; i < (int)params->values[index]; i++)
        word += strcspn(word, "|") + 1;
    snprintf(text, size, "%.*s", (int)strcspn(word, "|"), word);
    return text;
}
