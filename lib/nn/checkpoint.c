// Checkpoints: a store's variables to and from a safetensors file, and the
// hash of the parameters. Knows no model.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/os.h"
#include "base/status.h"
#include "nn/safetensors.h"
#include "quern/nn.h"

static bool begins_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static size_t entry_size(const qn_store_entry *entry)
{
    return (size_t)qn_shape_count(&entry->shape) *
           qn_dtype_size(entry->dtype);
}

// Name of a variable in the file: those of the model stand without their group.
static char *make_name(struct qn_arena *arena, const qn_store_entry *entry)
{
    bool is_plain = strcmp(entry->group, "parameters") == 0 ||
                    strcmp(entry->group, "buffers") == 0;
    size_t size = strlen(entry->group) + strlen(entry->name) + 2;
    char *name = qn_arena_alloc(arena, size);
    if (name)
        snprintf(name, size, "%s%s%s", is_plain ? "" : entry->group,
                 is_plain ? "" : ".", entry->name);
    return name;
}

// ---- saving ----

// A file in the making: its tensors in the order of their data.
struct image {
    struct qn_arena arena; // names and lists
    struct qn_safetensor *tensors;
    int *indices; // in the store
    int count;
    unsigned char *data;
    size_t size;
};

static qn_status add_tensor(struct image *image, int index,
                            const qn_store_entry *entry, qn_error *error)
{
    size_t size = entry_size(entry);
    char *name = make_name(&image->arena, entry);
    if (!name)
        return qn_fail_memory(error, strlen(entry->name));
    image->indices[image->count] = index;
    image->tensors[image->count++] = (struct qn_safetensor){
        .name = name,
        .dtype = entry->dtype,
        .shape = entry->shape,
        .begin = image->size,
        .end = image->size + size,
    };
    image->size += size;
    return QN_OK;
}

// Wide types first, so that each tensor is aligned in a mapped file.
static qn_status lay_out(struct image *image, const qn_store *store,
                         qn_error *error)
{
    static const size_t widths[] = {8, 4, 1};
    size_t count = (size_t)qn_store_count(store) + 1;
    image->tensors =
        qn_arena_alloc(&image->arena, count * sizeof *image->tensors);
    image->indices =
        qn_arena_alloc(&image->arena, count * sizeof *image->indices);
    if (!image->tensors || !image->indices)
        return qn_fail_memory(error, count * sizeof *image->tensors);
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        for (int k = 0; k < qn_store_count(store); k++) {
            qn_store_entry entry;
            QN_TRY(qn_store_entry_at(store, k, &entry));
            if (qn_dtype_size(entry.dtype) == widths[i] &&
                entry.group[0] != '@')
                QN_TRY(add_tensor(image, k, &entry, error));
        }
    }
    return QN_OK;
}

static qn_status read_data(struct image *image, qn_store *store,
                           qn_error *error)
{
    image->data = malloc(image->size + 1);
    if (!image->data)
        return qn_fail_memory(error, image->size + 1);
    for (int i = 0; i < image->count; i++) {
        const struct qn_safetensor *tensor = &image->tensors[i];
        QN_TRY(qn_store_read(store, image->indices[i],
                             image->data + tensor->begin,
                             (size_t)(tensor->end - tensor->begin), error));
    }
    return QN_OK;
}

static qn_status make_metadata(const struct image *image,
                               const struct qn_checkpoint_note *notes,
                               int note_count, json_t *metadata,
                               qn_error *error)
{
    struct qn_sha256 hash;
    unsigned char digest[32];
    char hex[65];
    qn_sha256_init(&hash);
    qn_sha256_add(&hash, image->data, image->size);
    qn_sha256_finish(&hash, digest);
    qn_sha256_hex(digest, hex);
    json_object_set_new(metadata, "format", json_string("pt"));
    json_object_set_new(metadata, "quern.sha256", json_string(hex));
    for (int i = 0; i < note_count; i++)
        if (json_object_get(metadata, notes[i].name) ||
            json_object_set_new(metadata, notes[i].name,
                                json_string(notes[i].value)) != 0)
            return qn_fail(error, QN_BAD_ARGUMENT,
                           "note \"%.100s\" is there twice or not UTF-8",
                           notes[i].name);
    return QN_OK;
}

static qn_status write_image(const char *path, const struct image *image,
                             const struct qn_checkpoint_note *notes,
                             int note_count, qn_error *error)
{
    char *header;
    size_t header_size;
    json_t *metadata = json_object();
    qn_status status =
        make_metadata(image, notes, note_count, metadata, error);
    if (status != QN_OK) {
        json_decref(metadata);
        return status;
    }
    QN_TRY(qn_safetensors_write(image->tensors, image->count, metadata,
                                &header, &header_size, error));
    struct qn_os_part parts[] = {{header, header_size},
                                 {image->data, image->size}};
    status = qn_os_replace_file(path, parts, 2, error);
    free(header);
    return status;
}

qn_status qn_checkpoint_save(const char *path, qn_store *store,
                             const struct qn_checkpoint_note *notes,
                             int note_count, qn_error *error)
{
    QN_REQUIRE(error, path && store && (notes || note_count == 0));
    struct image image = {0};
    qn_status status = lay_out(&image, store, error);
    if (status == QN_OK)
        status = read_data(&image, store, error);
    if (status == QN_OK)
        status = write_image(path, &image, notes, note_count, error);
    free(image.data);
    qn_arena_finish(&image.arena);
    return status;
}

// ---- opening ----

struct qn_checkpoint {
    char *path;
    unsigned char *bytes;
    struct qn_safetensors file;
};

static qn_status open_file(qn_checkpoint *checkpoint, const char *path,
                           qn_error *error)
{
    size_t size, length = strlen(path) + 1;
    checkpoint->path = malloc(length);
    if (!checkpoint->path)
        return qn_fail_memory(error, length);
    memcpy(checkpoint->path, path, length);
    QN_TRY(qn_os_read_file(path, SIZE_MAX / 4, &checkpoint->bytes, &size,
                           error));
    return qn_safetensors_parse(checkpoint->bytes, size, path,
                                &checkpoint->file, error);
}

qn_checkpoint *qn_checkpoint_open(const char *path, qn_error *error)
{
    qn_checkpoint *checkpoint = calloc(1, sizeof *checkpoint);
    if (!path || !checkpoint)
        qn_fail(error, path ? QN_NO_MEMORY : QN_BAD_ARGUMENT,
                path ? "no memory for a checkpoint"
                     : "the checkpoint's path is NULL");
    else if (open_file(checkpoint, path, error) == QN_OK)
        return checkpoint;
    qn_checkpoint_close(&checkpoint);
    return NULL;
}

void qn_checkpoint_close(qn_checkpoint **checkpoint)
{
    if (!checkpoint || !*checkpoint)
        return;
    qn_safetensors_finish(&(*checkpoint)->file);
    free((*checkpoint)->bytes);
    free((*checkpoint)->path);
    free(*checkpoint);
    *checkpoint = NULL;
}

const char *qn_checkpoint_note(const qn_checkpoint *checkpoint,
                               const char *name)
{
    return qn_safetensors_note(&checkpoint->file, name);
}

bool qn_checkpoint_tensor_at(const qn_checkpoint *checkpoint, int index,
                             qn_checkpoint_tensor *tensor)
{
    if (index < 0 || index >= checkpoint->file.count)
        return false;
    const struct qn_safetensor *from = &checkpoint->file.tensors[index];
    *tensor = (qn_checkpoint_tensor){
        .name = from->name,
        .type = from->type,
        .is_supported = from->is_supported,
        .dtype = from->dtype,
        .shape = from->shape,
        .data = checkpoint->file.data + from->begin,
        .size = (size_t)(from->end - from->begin),
    };
    return true;
}

// ---- loading ----

// Which tensor goes to which variable.
struct match {
    struct qn_arena arena;
    int *tensors; // by store index: index in the file, or -1
    bool *used;   // by index in the file
    bool is_average; // the parameters' moving average is wanted for them
};

// What only training needs: the optimizer's slots, the trainer's metrics, and
// other values of the parameters.
static bool is_for_training(const char *name)
{
    static const char *const starts[] = {"optimizer.", "training.",
                                         "average.", "average_buffers.",
                                         "lookahead."};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        if (begins_with(name, starts[i]))
            return true;
    return false;
}

static bool is_wanted(const qn_store_entry *entry, bool parameters_only)
{
    char name[64];
    snprintf(name, sizeof name, "%.60s.", entry->group);
    return entry->group[0] != '@' &&
           !(parameters_only && is_for_training(name));
}

static qn_status check_tensor(const qn_checkpoint *checkpoint,
                              const struct qn_safetensor *tensor,
                              const qn_store_entry *entry, qn_error *error)
{
    char have[128], want[128];
    if (!tensor->is_supported)
        return qn_fail(error, QN_UNSUPPORTED,
                       "%s: tensor \"%s\" has the unsupported dtype %s; save "
                       "it as %s",
                       checkpoint->path, tensor->name, tensor->type,
                       qn_safetensors_type(entry->dtype));
    if (tensor->dtype != entry->dtype ||
        !qn_shape_equal(&tensor->shape, &entry->shape))
        return qn_fail(error, QN_BAD_SHAPE,
                       "%s: tensor \"%s\" is %s %s, the network needs %s %s",
                       checkpoint->path, tensor->name, tensor->type,
                       qn_shape_text(&tensor->shape, have, sizeof have),
                       qn_safetensors_type(entry->dtype),
                       qn_shape_text(&entry->shape, want, sizeof want));
    return QN_OK;
}

static int find_tensor(const struct qn_safetensors *file, const char *name)
{
    for (int i = 0; i < file->count; i++)
        if (strcmp(file->tensors[i].name, name) == 0)
            return i;
    return -1;
}

// The average of a parameter, and statistics of their own if the average has
// them; -1: none.
static int find_average(const struct qn_safetensors *file,
                        const qn_store_entry *entry)
{
    char name[512];
    const bool is_buffer = strcmp(entry->group, "buffers") == 0;
    snprintf(name, sizeof name, "average%s.%s", is_buffer ? "_buffers" : "",
             entry->name);
    const int own = find_tensor(file, name);
    return own < 0 && is_buffer ? find_tensor(file, entry->name) : own;
}

static qn_status match_entry(const qn_checkpoint *checkpoint,
                             const qn_store_entry *entry, int index,
                             struct match *match, qn_error *error)
{
    const struct qn_safetensors *file = &checkpoint->file;
    char *name = make_name(&match->arena, entry);
    if (!name)
        return qn_fail_memory(error, strlen(entry->name));
    const int i = match->is_average ? find_average(file, entry)
                                    : find_tensor(file, name);
    if (i >= 0) {
        match->tensors[index] = i;
        match->used[i] = true;
        return check_tensor(checkpoint, &file->tensors[i], entry, error);
    }
    if (match->is_average)
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "%s: holds no moving average of the parameters, which "
                       "a run keeps where it is asked to (--ema)",
                       checkpoint->path);
    return qn_fail(error, QN_FORMAT,
                   "%s: tensor \"%s\", which the network needs, is not there",
                   checkpoint->path, name);
}

static qn_status match_all(const qn_checkpoint *checkpoint,
                           const qn_store *store, bool parameters_only,
                           struct match *match, qn_error *error)
{
    const struct qn_safetensors *file = &checkpoint->file;
    size_t count = (size_t)qn_store_count(store) + 1;
    match->tensors =
        qn_arena_alloc(&match->arena, count * sizeof *match->tensors);
    match->used = qn_arena_alloc(&match->arena, (size_t)file->count + 1);
    if (!match->tensors || !match->used)
        return qn_fail_memory(error, count * sizeof *match->tensors);
    for (int i = 0; i < qn_store_count(store); i++) {
        qn_store_entry entry;
        QN_TRY(qn_store_entry_at(store, i, &entry));
        match->tensors[i] = -1;
        if (is_wanted(&entry, parameters_only))
            QN_TRY(match_entry(checkpoint, &entry, i, match, error));
    }
    for (int i = 0; i < file->count; i++) {
        const char *name = file->tensors[i].name;
        if (!match->used[i] && !match->is_average &&
            !(parameters_only && is_for_training(name)))
            return qn_fail(error, QN_FORMAT,
                           "%s: tensor \"%s\" has no place in the network",
                           checkpoint->path, name);
    }
    return QN_OK;
}

static qn_status write_all(const qn_checkpoint *checkpoint, qn_store *store,
                           const struct match *match, qn_error *error)
{
    const struct qn_safetensors *file = &checkpoint->file;
    for (int i = 0; i < qn_store_count(store); i++) {
        if (match->tensors[i] < 0)
            continue;
        const struct qn_safetensor *tensor =
            &file->tensors[match->tensors[i]];
        QN_TRY(qn_store_write(store, i, file->data + tensor->begin,
                              (size_t)(tensor->end - tensor->begin), error));
    }
    return QN_OK;
}

static qn_status load(const qn_checkpoint *checkpoint, qn_store *store,
                      bool parameters_only, bool is_average, qn_error *error)
{
    struct match match = {.is_average = is_average};
    qn_status status =
        match_all(checkpoint, store, parameters_only, &match, error);
    if (status == QN_OK)
        status = write_all(checkpoint, store, &match, error);
    qn_arena_finish(&match.arena);
    return status;
}

qn_status qn_checkpoint_load(const qn_checkpoint *checkpoint, qn_store *store,
                             bool parameters_only, qn_error *error)
{
    QN_REQUIRE(error, checkpoint && store);
    return load(checkpoint, store, parameters_only, false, error);
}

qn_status qn_checkpoint_load_average(const qn_checkpoint *checkpoint,
                                     qn_store *store, qn_error *error)
{
    QN_REQUIRE(error, checkpoint && store);
    return load(checkpoint, store, true, true, error);
}

// ---- the hash of the parameters ----

static qn_status hash_entry(struct qn_sha256 *hash, qn_store *store,
                            int index, const qn_store_entry *entry,
                            qn_error *error)
{
    size_t size = entry_size(entry);
    void *data = malloc(size);
    if (!data)
        return qn_fail_memory(error, size);
    char shape[128];
    qn_sha256_add_string(hash, entry->name);
    qn_sha256_add_string(hash, qn_dtype_name(entry->dtype));
    qn_sha256_add_string(hash,
                         qn_shape_text(&entry->shape, shape, sizeof shape));
    qn_status status = qn_store_read(store, index, data, size, error);
    if (status == QN_OK)
        qn_sha256_add(hash, data, size);
    free(data);
    return status;
}

qn_status qn_store_hash(qn_store *store, char hex[65], qn_error *error)
{
    QN_REQUIRE(error, store && hex);
    struct qn_sha256 hash;
    unsigned char digest[32];
    qn_sha256_init(&hash);
    for (int i = 0; i < qn_store_count(store); i++) {
        qn_store_entry entry;
        QN_TRY(qn_store_entry_at(store, i, &entry));
        if (strcmp(entry.group, "parameters") == 0)
            QN_TRY(hash_entry(&hash, store, i, &entry, error));
    }
    qn_sha256_finish(&hash, digest);
    qn_sha256_hex(digest, hex);
    return QN_OK;
}
