// A loss as text: "huber:delta=0.5".
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "nn/json.h"
#include "nn/pairs.h"
#include "quern/nn.h"

enum { MAX_NAMES = 32 };

static qn_status unknown_loss(const char *name, qn_error *error)
{
    const char *names[MAX_NAMES];
    int count = 0;
    for (; count < MAX_NAMES && qn_loss_at(count); count++)
        names[count] = qn_loss_at(count)->name;
    const char *nearest = qn_text_nearest(name, names, count);
    return qn_fail(error, QN_BAD_ARGUMENT, "unknown loss %.60s%s%s%s", name,
                   nearest ? "; did you mean " : "", nearest ? nearest : "",
                   nearest ? "?" : " (quern list losses shows all)");
}

static qn_status unknown_key(const struct qn_loss *loss, const char *name,
                             qn_error *error)
{
    char known[256] = "no settings";
    size_t used = 0;
    for (int i = 0; i < loss->key_count; i++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s",
                                 used ? ", " : "", loss->keys[i].name);
    if (loss->takes_weights)
        snprintf(known + used, sizeof known - used, "%sweights",
                 used ? ", " : "");
    return qn_fail(error, QN_BAD_ARGUMENT, "loss %s has no %.60s; it has %s",
                   loss->name, name, known);
}

static qn_status set_value(struct qn_loss_params *params, const char *name,
                           double value, qn_error *error)
{
    const struct qn_loss *loss = params->loss;
    int i = 0;
    while (i < loss->key_count && strcmp(loss->keys[i].name, name) != 0)
        i++;
    if (i == loss->key_count)
        return unknown_key(loss, name, error);
    if (!(value >= loss->keys[i].minimum && value <= loss->keys[i].maximum))
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "loss %s: %s is %.12g and must be from %.12g to %.12g",
                       loss->name, name, value, loss->keys[i].minimum,
                       loss->keys[i].maximum);
    params->values[i] = value;
    return QN_OK;
}

static qn_status add_weight(struct qn_loss_params *params, double value,
                            qn_error *error)
{
    if (!params->loss->takes_weights)
        return unknown_key(params->loss, "weights", error);
    if (params->weight_count == QN_MAX_CLASS_WEIGHTS)
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "loss %s: more than %d class weights",
                       params->loss->name, QN_MAX_CLASS_WEIGHTS);
    if (!(value >= 0 && isfinite(value)))
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "loss %s: a class weight is %.12g and must not be "
                       "negative",
                       params->loss->name, value);
    params->weights[params->weight_count++] = value;
    return QN_OK;
}

struct reading {
    struct qn_loss_params *params;
    char what[80]; // for messages
    const char *form;
};

// "1/2/0.5"; false where it is none.
static bool add_weights(const struct reading *reading, const char *value,
                        qn_status *status, qn_error *error)
{
    char number[64];
    double weight;
    for (;; value++) {
        const size_t length = strcspn(value, "/");
        snprintf(number, sizeof number, "%.*s", (int)length, value);
        if (length >= sizeof number || !qn_pairs_number(number, &weight, NULL))
            return false;
        *status = add_weight(reading->params, weight, error);
        value += length;
        if (*status != QN_OK || !*value)
            return true;
    }
}

static qn_status set_pair(void *user, const char *key, const char *value,
                          qn_error *error)
{
    const struct reading *reading = user;
    qn_status status = QN_OK;
    double number;
    if (strcmp(key, "weights") == 0) {
        if (add_weights(reading, value, &status, error))
            return status;
    } else if (qn_pairs_number(value, &number, NULL)) {
        return set_value(reading->params, key, number, error);
    }
    return qn_pairs_fail(reading->what, key, value, reading->form, error);
}

qn_status qn_loss_parse(const char *text, struct qn_loss_params *params,
                        qn_error *error)
{
    char name[QN_PAIRS_NAME];
    QN_REQUIRE(error, text && params);
    const char *pairs = qn_pairs_name(text, name);
    const struct qn_loss *loss = qn_loss_find(name);
    if (!loss)
        return unknown_loss(name, error);
    *params = qn_loss_defaults(loss);
    struct reading reading = {.params = params, .form = "NAME=NUMBER"};
    if (loss->takes_weights)
        reading.form = "NAME=NUMBER or weights=NUMBER/...";
    snprintf(reading.what, sizeof reading.what, "loss %s", loss->name);
    return qn_pairs_read(pairs, reading.what, reading.form, set_pair, &reading,
                         error);
}

// As short as it can be without losing a digit, whatever the locale.
static void write_number(struct qn_text *text, double value)
{
    for (size_t digits = 15; digits <= 17; digits += 2) {
        double again;
        json_t *number = value == floor(value) && fabs(value) < 1e15
                             ? json_integer((json_int_t)value)
                             : json_real(value);
        char *dump = json_dumps(
            number, JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits));
        bool is_same =
            dump && qn_pairs_number(dump, &again, NULL) && again == value;
        if (is_same || digits == 17)
            qn_text_add(text, "%s", dump ? dump : "?");
        free(dump);
        json_decref(number);
        if (is_same)
            return;
    }
}

char *qn_loss_write(const struct qn_loss_params *params)
{
    const struct qn_loss *loss = params->loss;
    struct qn_text text = {0};
    const char *between = ":";
    qn_text_add(&text, "%s", loss->name);
    for (int i = 0; i < loss->key_count; i++) {
        if (params->values[i] == loss->keys[i].value ||
            isnan(params->values[i]))
            continue;
        qn_text_add(&text, "%s%s=", between, loss->keys[i].name);
        write_number(&text, params->values[i]);
        between = ",";
    }
    for (int i = 0; i < params->weight_count; i++) {
        qn_text_add(&text, "%s%s", i ? "/" : between, i ? "" : "weights=");
        write_number(&text, params->weights[i]);
    }
    if (!text.failed)
        return text.data;
    qn_text_finish(&text);
    return NULL;
}
