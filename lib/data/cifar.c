// CIFAR's binary files: records without a header, of label bytes and then
// 3 x 32 x 32 pixel bytes: red, green, blue, each row by row. Plain or gzip.
// Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny
// Images", 2009.
//
// Owns the names and rules of such folders; knows no other format.
#include "data/data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"

enum {
    CHANNELS = 3,
    SIDE = 32,
    PIXELS = CHANNELS * SIDE * SIDE,
    FILES_MAX = 5,
    PATH_SIZE = 1200,
};

// Six such files still fit into 32 bits of address.
static const size_t file_limit = (size_t)1 << 28;

// A member of the family.
struct layout {
    const char *folder; // that its archive unpacks to
    const char *train[FILES_MAX];
    const char *test;
    const char *class_names; // a line a class; may be missing
    int train_count;
    int classes;
    size_t label_size; // bytes; the last one is the class
};

static const struct layout cifar10 = {
    .folder = "cifar-10-batches-bin",
    .train = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
              "data_batch_4.bin", "data_batch_5.bin"},
    .test = "test_batch.bin",
    .class_names = "batches.meta.txt",
    .train_count = 5,
    .classes = 10,
    .label_size = 1,
};

// ---- records ----

// A file's content and how it is cut into records.
struct content {
    const char *path;
    unsigned char *data;
    size_t size;
    size_t record_size;
    size_t count; // of records
};

static qn_status read_content(const char *path, size_t record_size,
                              struct content *file, qn_error *error)
{
    *file = (struct content){.path = path, .record_size = record_size};
    QN_TRY(qn_gzip_read_file(path, file_limit, &file->data, &file->size,
                             error));
    file->count = file->size / record_size;
    size_t more = file->size % record_size;
    if (file->size && !more)
        return QN_OK;
    free(file->data);
    file->data = NULL;
    if (!file->size)
        return qn_fail(error, QN_FORMAT, "%s: is empty", path);
    return qn_fail(error, QN_FORMAT,
                   "%s: has %zu bytes, which are %zu records of %zu bytes and "
                   "%zu more from byte %zu on (was the download cut short?)",
                   path, file->size, file->count, record_size, more,
                   file->size - more);
}

// Takes labels and pixels apart.
static qn_status split(const struct content *file, size_t label_size,
                       int classes, unsigned char *x, int32_t *y,
                       qn_error *error)
{
    for (size_t i = 0; i < file->count; i++) {
        const unsigned char *record = file->data + i * file->record_size;
        int label = record[label_size - 1];
        if (label >= classes)
            return qn_fail(error, QN_FORMAT,
                           "%s: label %d of sample %zu, at byte %zu, is out "
                           "of range (the classes are 0 to %d)", file->path,
                           label, i, i * file->record_size + label_size - 1,
                           classes - 1);
        y[i] = label;
        size_t pixels = file->record_size - label_size;
        memcpy(x + i * pixels, record + label_size, pixels);
    }
    return QN_OK;
}

static qn_status allocate(size_t count, size_t pixels, unsigned char **x,
                          int32_t **y, qn_error *error)
{
    *x = malloc(count * pixels);
    *y = malloc(count * sizeof **y);
    return *x && *y ? QN_OK : qn_fail_memory(error, count * (pixels + 4));
}

qn_status qn_cifar_read(const char *path, size_t pixels, int64_t *count,
                        unsigned char **x, int32_t **y, qn_error *error)
{
    struct content file;
    QN_TRY(read_content(path, pixels + 1, &file, error));
    qn_status status = allocate(file.count, pixels, x, y, error);
    if (status == QN_OK)
        status = split(&file, 1, 256, *x, *y, error);
    *count = (int64_t)file.count;
    free(file.data);
    return status;
}

// ---- a folder ----

// What is read so far. All files must hold equally many records, as the
// published ones do: so a file that was cut between two records is noticed.
struct set {
    const struct layout *layout;
    char folder[PATH_SIZE];
    char first[PATH_SIZE]; // the file that told the count
    size_t count;          // records a file; 0: not known yet
    qn_dataset *dataset;
};

static qn_status check_count(struct set *set, const struct content *file,
                             qn_error *error)
{
    if (!set->count) {
        set->count = file->count;
        snprintf(set->first, sizeof set->first, "%s", file->path);
    }
    if (file->count == set->count)
        return QN_OK;
    return qn_fail(error, QN_FORMAT,
                   "%s: ends at byte %zu, after %zu samples, but %s has %zu "
                   "(all files of the set must have equally many)",
                   file->path, file->size, file->count, set->first,
                   set->count);
}

static qn_status read_file(struct set *set, const char *name, bool is_test,
                           size_t index, qn_error *error)
{
    char path[PATH_SIZE];
    struct content file;
    qn_dataset *dataset = set->dataset;
    const struct layout *layout = set->layout;
    if (!qn_gzip_find_file(set->folder, name, path, sizeof path))
        return qn_fail(error, QN_IO, "%s: has no %s and no %s.gz",
                       set->folder, name, name);
    QN_TRY(read_content(path, layout->label_size + PIXELS, &file, error));
    qn_status status = check_count(set, &file, error);
    unsigned char **x = is_test ? &dataset->test_x : &dataset->train_x;
    int32_t **y = is_test ? &dataset->test_y : &dataset->train_y;
    size_t parts = is_test ? 1 : (size_t)layout->train_count;
    if (status == QN_OK && index == 0)
        status = allocate(parts * set->count, PIXELS, x, y, error);
    if (status == QN_OK)
        status = split(&file, layout->label_size, layout->classes,
                       *x + index * set->count * PIXELS,
                       *y + index * set->count, error);
    free(file.data);
    return status;
}

static qn_status read_all(struct set *set, qn_error *error)
{
    const struct layout *layout = set->layout;
    qn_dataset *dataset = set->dataset;
    for (int i = 0; i < layout->train_count; i++)
        QN_TRY(read_file(set, layout->train[i], false, (size_t)i, error));
    QN_TRY(read_file(set, layout->test, true, 0, error));
    dataset->train_count = layout->train_count * (int64_t)set->count;
    dataset->test_count = (int64_t)set->count;
    dataset->shape = qn_shape_of(CHANNELS, SIDE, SIDE);
    dataset->classes = layout->classes;
    dataset->offset = 0;
    dataset->scale = 1.0 / 255;
    return QN_OK;
}

// ---- the public face ----

// The folder itself or, in it, the one that the archive unpacks to.
static bool find_folder(const struct layout *layout, const char *folder,
                        char *path, size_t size)
{
    char file[PATH_SIZE];
    int length = snprintf(path, size, "%s", folder);
    for (int i = 0; i < 2 && length < (int)size; i++) {
        if (qn_gzip_find_file(path, layout->train[0], file, sizeof file) ||
            qn_gzip_find_file(path, layout->test, file, sizeof file))
            return true;
        length = snprintf(path, size, "%s/%s", folder, layout->folder);
    }
    snprintf(path, size, "%s", folder);
    return false;
}

bool qn_cifar_is_folder(const char *folder)
{
    char path[PATH_SIZE];
    return find_folder(&cifar10, folder, path, sizeof path);
}

qn_status qn_cifar_open(const char *folder, qn_dataset *dataset,
                        qn_error *error)
{
    struct set set = {.layout = &cifar10, .dataset = dataset};
    char names[PATH_SIZE];
    find_folder(set.layout, folder, set.folder, sizeof set.folder);
    QN_TRY(read_all(&set, error));
    int length = snprintf(names, sizeof names, "%s/%s", set.folder,
                          set.layout->class_names);
    if (length >= (int)sizeof names || !qn_os_is_file(names))
        return QN_OK;
    return qn_class_names_read(names, dataset->classes,
                               &dataset->class_names, error);
}
