// Settings behind a name, "NAME:KEY=VALUE,KEY=VALUE": how optimizers, losses,
// schedules and groups of parameters are written as text.
#ifndef QN_NN_PAIRS_H
#define QN_NN_PAIRS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

enum { QN_PAIRS_NAME = 64 };

// Copies what stands before the colon, cut where it is too long; returns what
// follows, from the colon on.
const char *qn_pairs_name(const char *text, char name[QN_PAIRS_NAME]);

// Sets one key; what it returns ends the reading unless it is QN_OK.
typedef qn_status qn_pairs_set(void *user, const char *key, const char *value,
                               qn_error *error);
// Hands the pairs to `set` in their order. `text` begins with a colon, or is
// empty. Errors begin with `what`, such as "optimizer adam", and call a pair
// `form`, such as "NAME=NUMBER".
qn_status qn_pairs_read(const char *text, const char *what, const char *form,
                        qn_pairs_set *set, void *user, qn_error *error);
// "WHAT: "PAIR" is not FORM", for a value that `set` cannot read.
qn_status qn_pairs_fail(const char *what, const char *key, const char *value,
                        const char *form, qn_error *error);

// The same where all values are numbers.
typedef qn_status qn_pairs_set_number(void *user, const char *key,
                                      double value, qn_error *error);
qn_status qn_pairs_read_numbers(const char *text, const char *what,
                                const char *form, qn_pairs_set_number *set,
                                void *user, qn_error *error);

// The whole text as a number as JSON has it, so that no locale changes its
// meaning; signs are welcome. `is_integer` may be NULL.
bool qn_pairs_number(const char *text, double *value, bool *is_integer);

// "a, b, c" of `count` names, for messages.
void qn_pairs_list(const char *const *names, int count, char *text,
                   size_t size);

#endif
