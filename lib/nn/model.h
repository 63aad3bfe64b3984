// A model and its two grammars (docs/models.md).
#ifndef QN_NN_MODEL_H
#define QN_NN_MODEL_H

#include "nn/layer.h"

enum { QN_MAX_LAYERS = 4096, QN_MAX_MODEL_SIZE = 1 << 20 };

struct qn_model {
    struct qn_layer_spec *layers;
    int layer_count;
    char *json; // canonical
};

// Appends a complete layer.
qn_status qn_model_add(struct qn_model *model,
                       const struct qn_layer_spec *spec, const char *what,
                       qn_error *error);

// Both append what the text says. `what` names it in errors.
qn_status qn_model_parse_text(struct qn_model *model, const char *text,
                              const char *what, qn_error *error);
qn_status qn_model_parse_json(struct qn_model *model, const char *text,
                              size_t size, const char *what,
                              qn_error *error);
// The canonical JSON: every layer with the keys that differ from their
// defaults. The caller frees it. NULL without memory.
char *qn_model_write_json(const struct qn_model *model);

// "no layer is called ...", with the nearest name.
qn_status qn_model_fail_name(const char *name, const char *where,
                             qn_error *error);

#endif
