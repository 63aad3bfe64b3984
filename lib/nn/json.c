// JSON from outside. Knows neither models nor checkpoints.
#include "nn/json.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 64 };

// jansson's own limit is deeper than what a small stack takes.
static bool is_too_deep(const char *text, size_t size)
{
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (in_string && c == '\\')
            i++;
        else if (c == '"')
            in_string = !in_string;
        else if (!in_string && (c == '{' || c == '['))
            depth++;
        else if (!in_string && (c == '}' || c == ']'))
            depth--;
        if (depth > MAX_DEPTH)
            return true;
    }
    return false;
}

qn_status qn_json_parse(const char *text, size_t size, const char *what,
                        json_t **out, qn_error *error)
{
    json_error_t at;
    if (is_too_deep(text, size))
        return qn_fail(error, QN_FORMAT,
                       "%s: JSON nested more than %d levels deep", what,
                       MAX_DEPTH);
    *out = json_loadb(text, size, JSON_REJECT_DUPLICATES, &at);
    if (*out)
        return QN_OK;
    if (json_error_code(&at) == json_error_out_of_memory)
        return qn_fail(error, QN_NO_MEMORY, "%s: no memory to parse it",
                       what);
    return qn_fail(error, QN_FORMAT, "%s:%d:%d: %s", what, at.line, at.column,
                   at.text);
}

// True if the text reads back as the same value, to the last bit.
static bool is_exact(const char *text, const json_t *value)
{
    json_t *back = json_loads(text, JSON_DECODE_ANY, NULL);
    bool is_same = json_equal(back, value);
    json_decref(back);
    return is_same;
}

bool qn_json_parse_number(const char *text, double *value, bool *is_integer)
{
    if (text[strspn(text, "0123456789.eE+")])
        return false;
    json_t *number = json_loads(text, JSON_DECODE_ANY, NULL);
    bool is_number = json_is_number(number);
    if (is_number) {
        *value = json_number_value(number);
        *is_integer = json_is_integer(number);
    }
    json_decref(number);
    return is_number;
}

char *qn_json_write(const json_t *value)
{
    for (size_t digits = 6;; digits++) {
        char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY |
                                           JSON_REAL_PRECISION(digits));
        if (!text || digits == 17 || is_exact(text, value))
            return text;
        free(text);
    }
}
