// Runs from the outside: a checkpoint's notes become settings again.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "data/data.h"
#include "plan/store.h"
#include "train/train.h"

static qn_status copy_text(char *to, size_t size, const char *from,
                           qn_error *error)
{
    if (snprintf(to, size, "%s", from) >= (int)size)
        return qn_fail(error, QN_FORMAT, "%.60s... is too long", from);
    return QN_OK;
}

// ---- where it lies ----

static qn_status find_checkpoint(const char *path, struct qn_run *run,
                                 qn_error *error)
{
    QN_TRY(copy_text(run->folder, sizeof run->folder - 32, path, error));
    if (qn_os_is_folder(path)) {
        snprintf(run->path, sizeof run->path, "%.1100s/last.safetensors",
                 path);
        if (!qn_os_is_file(run->path))
            return qn_fail(error, QN_IO,
                           "%s: no run lies here (it has no "
                           "last.safetensors)", path);
        return QN_OK;
    }
    snprintf(run->path, sizeof run->path, "%s", path);
    char *slash = strrchr(run->folder, '/');
    if (slash)
        slash[slash == run->folder] = 0;
    else
        strcpy(run->folder, ".");
    return QN_OK;
}

// ---- what it says ----

static qn_status bad_note(const struct qn_run *run, const char *what,
                          qn_error *error)
{
    return qn_fail(error, QN_FORMAT, "%s: its note quern.run %s", run->path,
                   what);
}

static json_t *read_note(const struct qn_run *run, const char *name)
{
    const char *text = qn_checkpoint_note(run->checkpoint, name);
    return text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
}

// Names of classes, where the note has them; they stay the note's.
static qn_status read_class_names(struct qn_run *run, const json_t *names,
                                  qn_error *error)
{
    size_t count = (size_t)run->dataset.classes;
    if (!names)
        return QN_OK;
    if (json_array_size(names) != count)
        return bad_note(run, "does not name each class", error);
    const char **all = calloc(count, sizeof *all);
    run->dataset.class_names = all;
    if (!all)
        return qn_fail_memory(error, count * sizeof *all);
    for (size_t i = 0; i < count; i++) {
        all[i] = json_string_value(json_array_get(names, i));
        if (!all[i] || !qn_class_name_is(all[i]))
            return bad_note(run, "has an odd name of a class", error);
    }
    return QN_OK;
}

static qn_status read_dataset(struct qn_run *run, qn_error *error)
{
    const char *name, *origin;
    json_t *shape, *json = json_object_get(run->settings, "data");
    json_int_t train, test;
    qn_dataset *like = &run->dataset;
    if (json_unpack(json, "{ss ss so si sI sI sF sF}", "name", &name,
                    "origin", &origin, "shape", &shape, "classes",
                    &like->classes, "train_count", &train, "test_count",
                    &test, "offset", &like->offset, "scale",
                    &like->scale) != 0 ||
        !json_is_array(shape) || json_array_size(shape) >= QN_MAX_RANK ||
        like->classes < 1)
        return bad_note(run, "does not tell its data set", error);
    QN_TRY(copy_text(like->name, sizeof like->name, name, error));
    QN_TRY(copy_text(like->origin, sizeof like->origin, origin, error));
    like->train_count = train;
    like->test_count = test;
    like->shape.rank = (int)json_array_size(shape);
    for (int i = 0; i < like->shape.rank; i++) {
        int64_t length =
            json_integer_value(json_array_get(shape, (size_t)i));
        if (length < 1)
            return bad_note(run, "does not tell its data set", error);
        like->shape.dims[i] = length;
    }
    if (qn_shape_count(&like->shape) < 1)
        return bad_note(run, "has absurdly large samples", error);
    return read_class_names(run, json_object_get(json, "class_names"), error);
}

// "adam:beta1=0.9,..." with all digits, so that nothing changes; of choices
// their words.
static qn_status read_optimizer(struct qn_run *run, qn_error *error)
{
    json_t *json = json_object_get(run->settings, "optimizer"), *value;
    const char *name = json_string_value(json_object_get(json, "name"));
    const char *key;
    char between = ':';
    size_t used = 0, size = sizeof run->optimizer;
    if (!name || strlen(name) > 60)
        return bad_note(run, "names no optimizer", error);
    used += (size_t)snprintf(run->optimizer, size, "%s", name);
    json_object_foreach(json, key, value)
    {
        const char *word = json_string_value(value);
        if (json_is_number(value))
            used += (size_t)snprintf(run->optimizer + used, size - used,
                                     "%c%.60s=%.17g", between, key,
                                     json_number_value(value));
        else if (word && strcmp(key, "name") != 0)
            used += (size_t)snprintf(run->optimizer + used, size - used,
                                     "%c%.60s=%.60s", between, key, word);
        else
            continue;
        between = ',';
        if (used + 100 > size)
            return bad_note(run, "has too many numbers", error);
    }
    return QN_OK;
}

static char *read_schedule(const struct qn_run *run, const char *key)
{
    const json_t *json = json_object_get(run->settings, key);
    return json_is_object(json)
               ? json_dumps(json, JSON_REAL_PRECISION(17))
               : NULL;
}

static qn_status read_params(struct qn_run *run, qn_error *error)
{
    struct qn_fit_params *params = &run->params;
    json_int_t batch, seed, every;
    int proximal;
    *params = qn_fit_defaults();
    if (json_unpack(run->settings, "{sF sF sF sb ss sI sI si sI}", "lr",
                    &params->lr, "l1", &params->l1, "l2", &params->l2,
                    "proximal", &proximal, "loss", &params->loss, "batch_size", &batch, "seed",
                    &seed, "epochs", &params->epochs, "checkpoint_every",
                    &every) != 0)
        return bad_note(run, "is not what this version writes", error);
    params->label = json_string_value(json_object_get(run->settings,
                                                      "label"));
    params->proximal = proximal != 0;
    params->batch_size = batch;
    params->seed = (uint64_t)seed;
    params->checkpoint_every = every;
    params->micro_batch = json_integer_value(
        json_object_get(run->settings, "micro_batch"));
    params->allow_micro_statistics =
        json_is_true(json_object_get(run->settings, "micro_statistics"));
    params->on_nan =
        json_string_value(json_object_get(run->settings, "on_nan"));
    params->optimizer = run->optimizer;
    run->schedule = read_schedule(run, "schedule");
    run->momentum_schedule = read_schedule(run, "momentum_schedule");
    params->schedule = run->schedule;
    params->momentum_schedule = run->momentum_schedule;
    params->resume = run->path;
    return qn_around_read(run->settings, params, &run->groups, error);
}

static qn_status read_notes(struct qn_run *run, qn_error *error)
{
    json_t *state = NULL;
    run->settings = read_note(run, "quern.run");
    if (!json_is_object(run->settings))
        return qn_fail(error, QN_FORMAT,
                       "%s: has no note quern.run, so quern train did not "
                       "write it", run->path);
    run->model = json_dumps(json_object_get(run->settings, "model"), 0);
    if (!run->model)
        return bad_note(run, "has no model", error);
    QN_TRY(read_dataset(run, error));
    QN_TRY(read_optimizer(run, error));
    QN_TRY(read_params(run, error));
    state = read_note(run, "quern.state");
    qn_status status = qn_state_parse(state, &run->state, error);
    json_decref(state);
    return status;
}

qn_run *qn_run_open(const char *path, qn_error *error)
{
    qn_run *run = calloc(1, sizeof *run);
    if (!run || !path) {
        qn_fail(error, run ? QN_BAD_ARGUMENT : QN_NO_MEMORY,
                "qn_run_open: needs a path and memory");
        free(run);
        return NULL;
    }
    qn_status status = find_checkpoint(path, run, error);
    if (status == QN_OK) {
        run->checkpoint = qn_checkpoint_open(run->path, error);
        status = run->checkpoint ? read_notes(run, error) : QN_IO;
    }
    if (status != QN_OK)
        qn_run_close(&run);
    return run;
}

void qn_run_close(qn_run **run)
{
    if (!run || !*run)
        return;
    qn_checkpoint_close(&(*run)->checkpoint);
    json_decref((*run)->settings);
    free((*run)->dataset.class_names);
    free((*run)->model);
    free((*run)->groups);
    free((*run)->schedule);
    free((*run)->momentum_schedule);
    free(*run);
    *run = NULL;
}

const struct qn_fit_params *qn_run_params(const qn_run *run)
{
    return &run->params;
}

const char *qn_run_model(const qn_run *run)
{
    return run->model;
}

const char *qn_run_data(const qn_run *run)
{
    return run->dataset.origin;
}

const qn_dataset *qn_run_dataset(const qn_run *run)
{
    return &run->dataset;
}

int qn_run_epochs(const qn_run *run)
{
    return run->state.epoch;
}

int64_t qn_run_steps(const qn_run *run)
{
    return run->state.step;
}

// ---- its parameters ----

// Declares the model's variables in the store by a graph that nobody runs.
static qn_status declare(const qn_run *run, const qn_model *model,
                         qn_store *store, qn_error *error)
{
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    if (!g)
        return qn_fail_memory(error, 1);
    qn_status status = QN_BAD_SHAPE;
    if (qn_build_one(g, model, &run->dataset, error))
        status = qn_store_add(store, g, error);
    qn_graph_destroy(&g);
    return status;
}

static qn_store *load(const qn_run *run, qn_device *device,
                      const qn_model *model, bool is_average, qn_error *error)
{
    qn_store *store = qn_store_create(device, error);
    if (!store)
        return NULL;
    qn_status status = declare(run, model, store, error);
    if (status == QN_OK)
        status = is_average ? qn_checkpoint_load_average(run->checkpoint,
                                                         store, error)
                            : qn_checkpoint_load(run->checkpoint, store, true,
                                                 error);
    if (status != QN_OK)
        qn_store_destroy(&store);
    return store;
}

qn_store *qn_run_load(const qn_run *run, qn_device *device,
                      const qn_model *model, qn_error *error)
{
    return load(run, device, model, false, error);
}

qn_store *qn_run_load_average(const qn_run *run, qn_device *device,
                              const qn_model *model, qn_error *error)
{
    return load(run, device, model, true, error);
}
