// A model and its two grammars (docs/models.md).
#ifndef QN_NN_MODEL_H
#define QN_NN_MODEL_H

#include "base/arena.h"
#include "nn/layer.h"

enum {
    QN_MAX_LAYERS = 4096,
    QN_MAX_NESTING = 8, // of containers
    QN_MAX_MODEL_SIZE = 1 << 20,
    QN_MAX_NAME = 63, // bytes of a layer's name
};

struct qn_model {
    struct qn_arena arena; // all but `json`
    struct qn_sequence layers;
    struct qn_layer_spec **all; // a container before what is in it
    int layer_count;            // of `all`
    double last_drop; // where layers have none: `drop` of the last, the others'
                      // in proportion
    char *json;                 // canonical
};

// Built-in row by its name, or NULL.
const struct qn_model_row *qn_model_row_find(const char *name);

// Room for `count` layers, counted into the model's.
qn_status qn_model_allot(struct qn_model *model, size_t count,
                         struct qn_sequence *sequence, const char *what,
                         qn_error *error);

// These fill `model->layers`. `what` names the text in errors. The first takes
// both grammars.
qn_status qn_model_parse(struct qn_model *model, const char *text,
                         const char *what, qn_error *error);
qn_status qn_model_parse_text(struct qn_model *model, const char *text,
                              const char *what, qn_error *error);
qn_status qn_model_parse_json(struct qn_model *model, const char *text,
                              size_t size, const char *what,
                              qn_error *error);
// Lists all layers and finds what their names mean.
qn_status qn_model_link(struct qn_model *model, const char *what,
                        qn_error *error);
// The canonical JSON: every layer with the keys that differ from their
// defaults. The caller frees it. NULL without memory.
char *qn_model_write_json(const struct qn_model *model);

// "no layer is called ...", with the nearest name.
qn_status qn_model_fail_name(const char *name, const char *where,
                             qn_error *error);

// The layer that owns a parameter, "3.weight", and where its local name
// begins; NULL: none.
const struct qn_layer_spec *qn_model_find_owner(const qn_model *model,
                                                const char *name,
                                                const char **local);

#endif
