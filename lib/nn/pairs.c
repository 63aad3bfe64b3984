// Splits "NAME:KEY=VALUE,KEY=VALUE". Knows nothing of keys and values.
#include "nn/pairs.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *qn_pairs_name(const char *text, char name[QN_PAIRS_NAME])
{
    const size_t length = strcspn(text, ":");
    const size_t size =
        length < QN_PAIRS_NAME ? length : (size_t)QN_PAIRS_NAME - 1;
    memcpy(name, text, size);
    name[size] = 0;
    return text + length;
}

// Splits the pair that begins at `pair` in place; returns the next one's
// place, or NULL after the last.
static char *cut(char *pair, char **value)
{
    char *next = pair + strcspn(pair, ",");
    const bool is_last = *next == 0;
    *next = 0;
    *value = strchr(pair, '=');
    if (*value)
        *(*value)++ = 0;
    return is_last ? NULL : next + 1;
}

qn_status qn_pairs_read(const char *text, const char *what, const char *form,
                        qn_pairs_set *set, void *user, qn_error *error)
{
    qn_status status = QN_OK;
    if (!*text)
        return QN_OK;
    const size_t size = strlen(text);
    char *copy = malloc(size);
    if (!copy)
        return qn_fail_memory(error, size);
    memcpy(copy, text + 1, size);
    for (char *pair = copy, *next, *value; pair && status == QN_OK;
         pair = next) {
        next = cut(pair, &value);
        status = value ? set(user, pair, value, error)
                       : qn_fail(error, QN_BAD_ARGUMENT,
                                 "%s: \"%.60s\" is not %s", what, pair, form);
    }
    free(copy);
    return status;
}

qn_status qn_pairs_fail(const char *what, const char *key, const char *value,
                        const char *form, qn_error *error)
{
    return qn_fail(error, QN_BAD_ARGUMENT, "%s: \"%.60s=%.60s\" is not %s",
                   what, key, value, form);
}

struct numbers {
    const char *what, *form;
    qn_pairs_set_number *set;
    void *user;
};

static qn_status set_number(void *user, const char *key, const char *value,
                            qn_error *error)
{
    const struct numbers *numbers = user;
    double number;
    if (!qn_pairs_number(value, &number, NULL))
        return qn_pairs_fail(numbers->what, key, value, numbers->form, error);
    return numbers->set(numbers->user, key, number, error);
}

qn_status qn_pairs_read_numbers(const char *text, const char *what,
                                const char *form, qn_pairs_set_number *set,
                                void *user, qn_error *error)
{
    struct numbers numbers = {what, form, set, user};
    return qn_pairs_read(text, what, form, set_number, &numbers, error);
}

bool qn_pairs_number(const char *text, double *value, bool *is_integer)
{
    // JSON takes no plus and no point in front, but blanks.
    char digits[64];
    const bool is_negative = *text == '-';
    text += *text == '+' || *text == '-';
    const int size = snprintf(digits, sizeof digits, "%s%s%s",
                              is_negative ? "-" : "", *text == '.' ? "0" : "",
                              text);
    if (size >= (int)sizeof digits ||
        digits[strspn(digits, "0123456789.eE+-")])
        return false;
    json_t *number = json_loads(digits, JSON_DECODE_ANY, NULL);
    const bool is_number = json_is_number(number);
    *value = json_number_value(number);
    if (is_integer)
        *is_integer = json_is_integer(number);
    json_decref(number);
    return is_number;
}

void qn_pairs_list(const char *const *names, int count, char *text,
                   size_t size)
{
    size_t used = 0;
    text[0] = 0;
    for (int i = 0; i < count && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s",
                                 i ? ", " : "", names[i]);
}
