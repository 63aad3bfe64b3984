// JSON from outside, through jansson: limits and error texts in one place.
#ifndef QN_NN_JSON_H
#define QN_NN_JSON_H

#include <jansson.h>
#include <stdbool.h>

#include "base/status.h"

// Parses a whole text. Duplicate names and more than 64 levels of nesting are
// errors. `what` names the text in them. The caller owns the result.
qn_status qn_json_parse(const char *text, size_t size, const char *what,
                        json_t **out, qn_error *error);

// A number as JSON writes it, so that no locale changes its meaning, without a
// sign or blanks around it.
bool qn_json_parse_number(const char *text, double *value, bool *is_integer);

// The text of a value without blanks, its numbers as short as they can be
// without losing a digit. The caller frees it. NULL without memory, or where
// a string is not UTF-8.
char *qn_json_write(const json_t *value);

#endif
