// What the readers of the JSON grammar share.
#ifndef QN_NN_MODEL_READ_H
#define QN_NN_MODEL_READ_H

#include "nn/json.h"
#include "nn/model.h"

enum { QN_COMMON_KEYS = 8 };

// A layer being read.
struct qn_reader {
    struct qn_model *model;
    const char *what; // the text, in errors
    char where[360];  // "net.json: layer 3.layers.0"
    qn_error *error;
};

// "... (dense): "units" must be FORM".
qn_status qn_read_fail(const struct qn_reader *reader,
                       const struct qn_layer_spec *spec, const char *key,
                       const char *form);

// Reads a key that any layer may have; `*is_common` is false for others.
qn_status qn_read_common_key(const struct qn_reader *reader,
                             struct qn_layer_spec *spec, const char *name,
                             const json_t *json, bool *is_common);
// Writes the names of those that a layer may have; returns how many.
int qn_common_key_names(const qn_layer *layer, const char **names);

#endif
