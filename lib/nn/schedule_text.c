// A schedule as text, "warmup:length=5+cosine", and as JSON.
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "nn/json.h"
#include "nn/pairs.h"
#include "nn/schedule.h"

enum { MAX_NAMES = 32, NAME_SIZE = 64 };

// One part of a text: a row and where its values go.
struct part {
    const struct qn_schedule *row;
    double *values;
    struct qn_schedule_params *params; // for lists
};

// ---- what goes wrong ----

static qn_status unknown_schedule(const char *name, qn_error *error)
{
    const char *names[MAX_NAMES];
    int count = 0;
    for (; count < MAX_NAMES && qn_schedule_at(count); count++)
        names[count] = qn_schedule_at(count)->name;
    const char *nearest = qn_text_nearest(name, names, count);
    return qn_fail(error, QN_BAD_ARGUMENT, "unknown schedule %.60s%s%s%s",
                   name, nearest ? "; did you mean " : "",
                   nearest ? nearest : "",
                   nearest ? "?" : " (quern list schedules shows all)");
}

static qn_status unknown_key(const struct qn_schedule *row, const char *name,
                             qn_error *error)
{
    char known[400] = "no keys";
    const char *names[QN_MAX_SCHEDULE_KEYS];
    size_t used = 0;
    for (int i = 0; i < row->key_count; i++) {
        names[i] = row->keys[i].name;
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s",
                                 i ? ", " : "", names[i]);
    }
    const char *nearest = qn_text_nearest(name, names, row->key_count);
    if (nearest)
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "schedule %s has no %.60s; did you mean %s?",
                       row->name, name, nearest);
    return qn_fail(error, QN_BAD_ARGUMENT,
                   "schedule %s has no %.60s; it has %s", row->name, name,
                   known);
}

static qn_status bad_value(const struct qn_schedule *row, int key,
                           const char *text, qn_error *error)
{
    const struct qn_schedule_key *is = &row->keys[key];
    if (is->choices)
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "schedule %s: %s is \"%.60s\" and must be one of %s",
                       row->name, is->name, text, is->choices);
    const char *wants = "a number";
    if (strcmp(is->type, "count") == 0)
        wants = "a whole number";
    else if (strcmp(is->type, "switch") == 0)
        wants = "0 or 1";
    else if (strcmp(is->type, "list") == 0)
        wants = "numbers with slashes between them, such as 30/60";
    return qn_fail(error, QN_BAD_ARGUMENT,
                   "schedule %s: %s is \"%.60s\" and must be %s", row->name,
                   is->name, text, wants);
}

// ---- values ----

// Which of the words "a|b|c" it is, or -1.
static int find_choice(const char *choices, const char *word)
{
    size_t length = strlen(word);
    for (int i = 0; length > 0; i++) {
        size_t size = strcspn(choices, "|");
        if (size == length && strncmp(choices, word, size) == 0)
            return i;
        if (!choices[size])
            break;
        choices += size + 1;
    }
    return -1;
}

// The word that stands for `index`.
static void copy_choice(const char *choices, int index, char *word,
                        size_t size)
{
    for (int i = 0; i < index; i++)
        choices += strcspn(choices, "|") + 1;
    snprintf(word, size, "%.*s", (int)strcspn(choices, "|"), choices);
}

// A finite number as JSON writes it, whatever the locale.
static qn_status check_range(const struct qn_schedule *row, int key,
                             double value, qn_error *error)
{
    const struct qn_schedule_key *is = &row->keys[key];
    if (value >= is->minimum && value <= is->maximum)
        return QN_OK;
    return qn_fail(error, QN_BAD_ARGUMENT,
                   "schedule %s: %s is %.12g and must be from %.12g to %.12g",
                   row->name, is->name, value, is->minimum, is->maximum);
}

static qn_status add_point(struct part *part, int key, double value,
                           qn_error *error)
{
    int list = qn_schedule_list_index(part->row, key);
    int *count = &part->params->list_counts[list];
    QN_TRY(check_range(part->row, key, value, error));
    if (*count == QN_MAX_SCHEDULE_POINTS)
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "schedule %s: %s has more than %d numbers",
                       part->row->name, part->row->keys[key].name,
                       QN_MAX_SCHEDULE_POINTS);
    part->params->lists[list][(*count)++] = value;
    return QN_OK;
}

// "30/60/90"
static qn_status set_list(struct part *part, int key, const char *text,
                          qn_error *error)
{
    const char *at = text;
    part->params->list_counts[qn_schedule_list_index(part->row, key)] = 0;
    for (;; at++) {
        char number[NAME_SIZE];
        double value;
        size_t length = strcspn(at, "/");
        snprintf(number, sizeof number, "%.*s",
                 (int)(length < sizeof number ? length : sizeof number), at);
        if (length >= sizeof number || !qn_pairs_number(number, &value, NULL))
            return bad_value(part->row, key, text, error);
        QN_TRY(add_point(part, key, value, error));
        at += length;
        if (!*at)
            return QN_OK;
    }
}

// A key that is no list, from the text of its value.
static qn_status set_value(struct part *part, int key, const char *text,
                           qn_error *error)
{
    const struct qn_schedule_key *is = &part->row->keys[key];
    double value;
    if (strcmp(is->type, "list") == 0)
        return set_list(part, key, text, error);
    if (is->choices) {
        value = find_choice(is->choices, text);
        if (value < 0)
            return bad_value(part->row, key, text, error);
    } else if (strcmp(is->type, "switch") == 0 &&
               (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)) {
        value = *text == 't';
    } else if (!qn_pairs_number(text, &value, NULL)) {
        return bad_value(part->row, key, text, error);
    }
    if (strcmp(is->type, "number") != 0 && value != floor(value))
        return bad_value(part->row, key, text, error);
    QN_TRY(check_range(part->row, key, value, error));
    part->values[key] = value;
    return QN_OK;
}

// ---- text ----

static qn_status set_pair(void *user, const char *name, const char *value,
                          qn_error *error)
{
    struct part *part = user;
    const int key = qn_schedule_key_find(part->row, name);
    return key < 0 ? unknown_key(part->row, name, error)
                   : set_value(part, key, value, error);
}

// Up to the plus in front of the next schedule: 1e+5 has one of its own.
static size_t part_length(const char *text)
{
    size_t length = 0;
    while (text[length] &&
           !(text[length] == '+' && !isdigit((unsigned char)text[length + 1])))
        length++;
    return length;
}

// The part for a row: a warm-up keeps what stands behind it.
static struct part begin_part(struct qn_schedule_params *params,
                              const struct qn_schedule *row)
{
    if (row == qn_schedule_warmup()) {
        *params = qn_schedule_defaults(row);
        return (struct part){row, params->warmup, params};
    }
    struct qn_schedule_params fresh = qn_schedule_defaults(row);
    if (params->has_warmup) {
        fresh.has_warmup = true;
        memcpy(fresh.warmup, params->warmup, sizeof fresh.warmup);
    }
    *params = fresh;
    return (struct part){row, params->values, params};
}

static qn_status read_copy(struct qn_schedule_params *params,
                           const char *text, qn_error *error)
{
    char name[QN_PAIRS_NAME], what[80];
    const char *pairs = qn_pairs_name(text, name);
    const struct qn_schedule *row = qn_schedule_find(name);
    if (!row)
        return unknown_schedule(name, error);
    struct part part = begin_part(params, row);
    snprintf(what, sizeof what, "schedule %s", row->name);
    return qn_pairs_read(pairs, what, "NAME=VALUE", set_pair, &part, error);
}

// "step:gamma=0.1", of `length` characters.
static qn_status read_part(struct qn_schedule_params *params,
                           const char *text, size_t length, qn_error *error)
{
    char *copy = malloc(length + 1);
    if (!copy)
        return qn_fail_memory(error, length + 1);
    memcpy(copy, text, length);
    copy[length] = 0;
    qn_status status = read_copy(params, copy, error);
    free(copy);
    return status;
}

static qn_status read_text(const char *text,
                           struct qn_schedule_params *params, qn_error *error)
{
    size_t length = part_length(text);
    QN_TRY(read_part(params, text, length, error));
    if (!text[length])
        return QN_OK;
    if (!params->has_warmup)
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "\"%.60s\": only a warmup may stand in front of "
                       "another schedule", text);
    text += length + 1;
    length = part_length(text);
    if (strncmp(text, "warmup", 6) == 0 && strchr("+:", text[6]))
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "one warmup, not also \"%.60s\"", text);
    if (text[length])
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "\"%.60s\": nothing may follow behind %.*s", text,
                       (int)strcspn(text, ":+"), text);
    return read_part(params, text, length, error);
}

// ---- reading JSON ----

static qn_status set_json_list(struct part *part, int key,
                               const json_t *value, qn_error *error)
{
    size_t i;
    json_t *number;
    part->params->list_counts[qn_schedule_list_index(part->row, key)] = 0;
    json_array_foreach((json_t *)value, i, number)
    {
        if (!json_is_number(number))
            return bad_value(part->row, key, "an array of something else",
                             error);
        QN_TRY(add_point(part, key, json_number_value(number), error));
    }
    return QN_OK;
}

static qn_status set_json(struct part *part, int key, const json_t *value,
                          qn_error *error)
{
    const struct qn_schedule_key *is = &part->row->keys[key];
    if (json_is_array(value) && strcmp(is->type, "list") == 0)
        return set_json_list(part, key, value, error);
    // What follows from the run.
    if (json_is_null(value) && isnan(is->value)) {
        part->values[key] = is->value;
        return QN_OK;
    }
    if (json_is_string(value) && is->choices)
        return set_value(part, key, json_string_value(value), error);
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    if (!text)
        return qn_fail_memory(error, 1);
    qn_status status;
    if (json_is_number(value) || json_is_boolean(value))
        status = set_value(part, key, text, error);
    else
        status = bad_value(part->row, key, text, error);
    free(text);
    return status;
}

static qn_status read_object(struct qn_schedule_params *params,
                             const json_t *json, qn_error *error)
{
    const char *name = json_string_value(json_object_get(json, "name"));
    const char *key;
    json_t *value;
    const json_t *then = json_object_get(json, "then");
    if (!name)
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "a schedule in JSON needs a \"name\"");
    const struct qn_schedule *row = qn_schedule_find(name);
    if (!row)
        return unknown_schedule(name, error);
    if (row == qn_schedule_warmup() && params->has_warmup)
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "one warmup, not also another behind it");
    struct part part = begin_part(params, row);
    json_object_foreach((json_t *)json, key, value)
    {
        int i = qn_schedule_key_find(row, key);
        if (strcmp(key, "name") == 0 || (value == then && part.values ==
                                                              params->warmup))
            continue;
        if (i < 0)
            return unknown_key(row, key, error);
        QN_TRY(set_json(&part, i, value, error));
    }
    return then ? read_object(params, then, error) : QN_OK;
}

qn_status qn_schedule_parse(const char *text,
                            struct qn_schedule_params *params,
                            qn_error *error)
{
    QN_REQUIRE(error, text && params);
    memset(params, 0, sizeof *params);
    if (*text != '{') {
        QN_TRY(read_text(text, params, error));
    } else {
        json_t *json;
        QN_TRY(qn_json_parse(text, strlen(text), "schedule", &json, error));
        qn_status status = read_object(params, json, error);
        json_decref(json);
        QN_TRY(status);
    }
    return qn_schedule_check(params, error);
}

// ---- writing ----

static json_t *number_json(double value)
{
    if (isnan(value))
        return json_null();
    if (value == floor(value) && fabs(value) < 1e15)
        return json_integer((json_int_t)value);
    return json_real(value);
}

static json_t *list_json(const struct qn_schedule_params *params, int list)
{
    json_t *array = json_array();
    for (int i = 0; i < params->list_counts[list]; i++)
        json_array_append_new(array, number_json(params->lists[list][i]));
    return array;
}

static json_t *value_json(const struct qn_schedule_params *params,
                          const struct qn_schedule *row, const double *values,
                          int key)
{
    const struct qn_schedule_key *is = &row->keys[key];
    char word[NAME_SIZE];
    if (strcmp(is->type, "list") == 0)
        return list_json(params, qn_schedule_list_index(row, key));
    if (is->choices) {
        copy_choice(is->choices, (int)values[key], word, sizeof word);
        return json_string(word);
    }
    if (strcmp(is->type, "switch") == 0 && !isnan(values[key]))
        return json_boolean(values[key] != 0);
    return number_json(values[key]);
}

static json_t *row_json(const struct qn_schedule_params *params,
                        const struct qn_schedule *row, const double *values)
{
    json_t *json = json_pack("{ss}", "name", row->name);
    for (int i = 0; i < row->key_count; i++)
        json_object_set_new(json, row->keys[i].name,
                            value_json(params, row, values, i));
    return json;
}

char *qn_schedule_write_json(const struct qn_schedule_params *params)
{
    json_t *json = row_json(params, params->schedule, params->values);
    if (params->has_warmup) {
        json_t *behind = json;
        json = row_json(params, qn_schedule_warmup(), params->warmup);
        json_object_set_new(json, "then", behind);
    }
    char *text = qn_json_write(json);
    json_decref(json);
    return text;
}

static void add_json(struct qn_text *text, json_t *value)
{
    char *dump = json_is_string(value) ? NULL : qn_json_write(value);
    qn_text_add(text, "%s", dump ? dump : json_string_value(value));
    free(dump);
    json_decref(value);
}

static void add_value(struct qn_text *text,
                      const struct qn_schedule_params *params,
                      const struct qn_schedule *row, const double *values,
                      int key)
{
    const struct qn_schedule_key *is = &row->keys[key];
    if (strcmp(is->type, "list") == 0) {
        int list = qn_schedule_list_index(row, key);
        for (int i = 0; i < params->list_counts[list]; i++) {
            qn_text_add(text, "%s", i ? "/" : "");
            add_json(text, number_json(params->lists[list][i]));
        }
    } else if (strcmp(is->type, "switch") == 0) {
        qn_text_add(text, "%d", values[key] != 0);
    } else {
        add_json(text, value_json(params, row, values, key));
    }
}

static void add_row(struct qn_text *text,
                    const struct qn_schedule_params *params,
                    const struct qn_schedule *row, const double *values)
{
    const char *between = ":";
    qn_text_add(text, "%s", row->name);
    for (int i = 0; i < row->key_count; i++) {
        const struct qn_schedule_key *key = &row->keys[i];
        bool is_list = strcmp(key->type, "list") == 0;
        if (!is_list && (isnan(values[i]) || values[i] == key->value))
            continue;
        qn_text_add(text, "%s%s=", between, key->name);
        add_value(text, params, row, values, i);
        between = ",";
    }
}

char *qn_schedule_write(const struct qn_schedule_params *params)
{
    struct qn_text text = {0};
    bool is_constant = strcmp(params->schedule->name, "constant") == 0;
    if (params->has_warmup)
        add_row(&text, params, qn_schedule_warmup(), params->warmup);
    if (params->has_warmup && !is_constant)
        qn_text_add(&text, "+");
    if (!params->has_warmup || !is_constant)
        add_row(&text, params, params->schedule, params->values);
    if (!text.failed)
        return text.data;
    qn_text_finish(&text);
    return NULL;
}
