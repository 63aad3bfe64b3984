// A growing string.
#ifndef QN_BASE_TEXT_H
#define QN_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

// A zeroed one is empty. `failed` is sticky: check once at the end.
struct qn_text {
    char *data; // NUL-terminated, or NULL while empty
    size_t length;
    size_t capacity;
    bool failed;
};

void qn_text_add(struct qn_text *text, const char *format, ...)
    QN_PRINTF(2, 3);
void qn_text_append(struct qn_text *text, const char *data, size_t length);
void qn_text_finish(struct qn_text *text);

// Edit distance (Levenshtein). The search for the nearest name is public.
int qn_text_distance(const char *a, const char *b);

#endif
