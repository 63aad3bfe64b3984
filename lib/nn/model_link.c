// How the layers of a model hang together: their order, and what they mean by
// each other's names.
#include "nn/model.h"

// A walk over all layers in their order.
struct walk {
    struct qn_model *model;
    const char *what;
    qn_error *error;
    int count; // of layers seen
    int depth; // of containers around
};

static qn_status fail_at(const struct walk *walk,
                         const struct qn_layer_spec *spec, const char *text,
                         const char *name)
{
    return qn_fail(walk->error, QN_FORMAT, "%.150s: layer %s (%s)%s%s%s%s",
                   walk->what, spec->path, spec->layer->name, text,
                   *name ? " \"" : "", name, *name ? "\"" : "");
}

// ---- names ----

static struct qn_layer_spec *layer_at(const struct walk *walk, int index)
{
    return walk->model->all[index];
}

// The layer called `name` among those seen, or -1.
static int find_name(const struct walk *walk, const char *name)
{
    for (int i = 0; i < walk->count; i++) {
        const char *other = layer_at(walk, i)->links.name;
        if (other && strcmp(other, name) == 0)
            return i;
    }
    return -1;
}

static qn_status fail_reference(const struct walk *walk,
                                const struct qn_layer_spec *spec,
                                const char *key, const char *name)
{
    const char *names[QN_MAX_LAYERS];
    int count = 0;
    for (int i = 0; i < walk->count; i++)
        if (layer_at(walk, i)->links.name && layer_at(walk, i)->is_complete)
            names[count++] = layer_at(walk, i)->links.name;
    const char *near = qn_text_nearest(name, names, count);
    return qn_fail(walk->error, QN_FORMAT,
                   "%.150s: layer %s (%s): \"%s\" wants an earlier layer, and "
                   "none is named \"%s\"%s%s%s",
                   walk->what, spec->path, spec->layer->name, key, name,
                   near ? "; did you mean \"" : "", near ? near : "",
                   near ? "\"?" : "");
}

// The index of a layer that is complete before `spec` begins.
static qn_status find_earlier(const struct walk *walk,
                              const struct qn_layer_spec *spec,
                              const char *key, const char *name, int *index)
{
    *index = find_name(walk, name);
    if (*index < 0 || !layer_at(walk, *index)->is_complete)
        return fail_reference(walk, spec, key, name);
    return QN_OK;
}

static qn_status link_name(const struct walk *walk,
                           const struct qn_layer_spec *spec)
{
    const char *name = spec->links.name;
    if (!name)
        return QN_OK;
    if (strcmp(name, "input") == 0)
        return fail_at(walk, spec, ": the model's input has the name", name);
    if (find_name(walk, name) >= 0)
        return fail_at(walk, spec, ": an earlier layer has the name", name);
    return QN_OK;
}

static qn_status link_inputs(const struct walk *walk,
                             struct qn_layer_spec *spec)
{
    struct qn_layer_links *links = &spec->links;
    if (spec->layer->takes_many && links->input_count < 2)
        return fail_at(walk, spec, " needs two inputs or more: \"input\": "
                       "[\"a\", \"b\"] names them", "");
    if (!spec->layer->takes_many && links->input_count > 1)
        return fail_at(walk, spec, " takes one input", "");
    for (int i = 0; i < links->input_count; i++) {
        links->input_layers[i] = -1;
        if (strcmp(links->inputs[i], "input") != 0)
            QN_TRY(find_earlier(walk, spec, "input", links->inputs[i],
                                &links->input_layers[i]));
    }
    return QN_OK;
}

// What `share` and `tie` name has parameters as this layer has.
static qn_status link_parameters(const struct walk *walk,
                                 struct qn_layer_spec *spec)
{
    struct qn_layer_links *links = &spec->links;
    if (links->share) {
        QN_TRY(find_earlier(walk, spec, "share", links->share,
                            &links->share_layer));
        const struct qn_layer_spec *other =
            layer_at(walk, links->share_layer);
        if (other->layer != spec->layer)
            return fail_at(walk, spec, ": \"share\" names a layer of another "
                           "type,", links->share);
        if (other->links.share) // has none of its own
            links->share_layer = other->links.share_layer;
    }
    if (links->tie)
        QN_TRY(find_earlier(walk, spec, "tie", links->tie, &links->tie_layer));
    return QN_OK;
}

// ---- the walk ----

static qn_status link_sequence(struct walk *walk,
                               const struct qn_sequence *sequence);

static qn_status link_layer(struct walk *walk, struct qn_layer_spec *spec)
{
    QN_TRY(link_name(walk, spec));
    QN_TRY(link_inputs(walk, spec));
    QN_TRY(link_parameters(walk, spec));
    walk->model->all[walk->count++] = spec;
    if (spec->list_count && walk->depth++ == QN_MAX_NESTING)
        return fail_at(walk, spec, ": containers are nested too deep", "");
    for (int i = 0; i < spec->list_count; i++)
        QN_TRY(link_sequence(walk, &spec->lists[i]));
    walk->depth -= spec->list_count > 0;
    spec->is_complete = true;
    return QN_OK;
}

static qn_status link_sequence(struct walk *walk,
                               const struct qn_sequence *sequence)
{
    for (int i = 0; i < sequence->count; i++)
        QN_TRY(link_layer(walk, &sequence->layers[i]));
    return QN_OK;
}

// The index of a layer's key "drop", or -1.
static int drop_key(const struct qn_layer_spec *spec)
{
    const struct qn_layer_key *key;
    for (int i = 0; (key = qn_layer_key_at(spec->layer, i)); i++)
        if (strcmp(key->name, "drop") == 0)
            return i;
    return -1;
}

// The linear rule of stochastic depth (Huang et al. 2016): layer l of L is
// dropped with probability l / L times that of the last. Layers that say
// `drop` keep theirs.
static void set_drops(struct qn_model *model)
{
    int count = 0, at = 0;
    for (int i = 0; i < model->layer_count; i++)
        count += drop_key(model->all[i]) >= 0;
    for (int i = 0; i < model->layer_count; i++) {
        struct qn_layer_spec *spec = model->all[i];
        const int key = drop_key(spec);
        at += key >= 0;
        if (key >= 0 && spec->values[key] == 0)
            spec->values[key] = spec->widths[key] =
                model->last_drop * at / count;
    }
}

qn_status qn_model_link(struct qn_model *model, const char *what,
                        qn_error *error)
{
    struct walk walk = {.model = model, .what = what, .error = error};
    size_t size = (size_t)model->layer_count * sizeof *model->all;
    model->all = qn_arena_alloc(&model->arena, size + 1);
    if (!model->all)
        return qn_fail_memory(error, size);
    QN_TRY(link_sequence(&walk, &model->layers));
    set_drops(model);
    return QN_OK;
}

const struct qn_layer_spec *qn_model_find_owner(const qn_model *model,
                                                const char *name,
                                                const char **local)
{
    const struct qn_layer_spec *owner = NULL;
    for (int i = 0; i < model->layer_count; i++) {
        const struct qn_layer_spec *spec = model->all[i];
        size_t length = strlen(spec->path);
        if (!spec->layer->init || strncmp(name, spec->path, length) != 0 ||
            name[length] != '.')
            continue;
        owner = spec;
        *local = name + length + 1;
    }
    return owner;
}
