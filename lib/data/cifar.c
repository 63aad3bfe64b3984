// The binary form of CIFAR-10: five training files and a test file of 10,000
// records, each a label and 3,072 pixels: 32x32 of red, of green, of blue.
// Source: A. Krizhevsky, Learning multiple layers of features from tiny
// images, 2009. The files have no header, so their size is what can be checked.
#include "data/data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"

enum {
    CLASSES = 10,
    SIDE = 32,
    PIXELS = 3 * SIDE * SIDE,
    RECORD = 1 + PIXELS,
    BATCH = 10000, // records of a file
    TRAIN_FILES = 5,
    PATH_SIZE = 1200,
    NAME_SIZE = sizeof *((qn_dataset *)0)->class_names,
};

#define TEST_FILE "test_batch.bin"
#define NAMES_FILE "batches.meta.txt"

// The files may lie in the folder that the published archive makes.
static const char *const places[] = {"", "cifar-10-batches-bin/"};

static bool find_file(const char *folder, const char *name, char *path)
{
    for (int i = 0; i < 2; i++) {
        int length = snprintf(path, PATH_SIZE, "%s/%s%s", folder, places[i],
                              name);
        if (length < PATH_SIZE && qn_os_is_file(path))
            return true;
    }
    return false;
}

bool qn_cifar_is_folder(const char *folder)
{
    char path[PATH_SIZE];
    return find_file(folder, "data_batch_1.bin", path) ||
           find_file(folder, TEST_FILE, path);
}

// ---- one file ----

static qn_status split_records(const char *path, const unsigned char *records,
                               unsigned char *x, int32_t *y, qn_error *error)
{
    for (int i = 0; i < BATCH; i++) {
        const unsigned char *record = records + (size_t)i * RECORD;
        if (record[0] >= CLASSES)
            return qn_fail(error, QN_FORMAT,
                           "%s: label %d of record %d is out of range "
                           "(CIFAR-10 has classes 0 to %d)",
                           path, record[0], i, CLASSES - 1);
        y[i] = record[0];
        memcpy(x + (size_t)i * PIXELS, record + 1, PIXELS);
    }
    return QN_OK;
}

static qn_status read_batch(const char *folder, const char *name,
                            unsigned char *x, int32_t *y, qn_error *error)
{
    const size_t want = (size_t)BATCH * RECORD;
    char path[PATH_SIZE];
    unsigned char *records;
    size_t size;
    if (!find_file(folder, name, path))
        return qn_fail(error, QN_IO, "%s: has no %s", folder, name);
    QN_TRY(qn_os_read_file(path, 2 * want, &records, &size, error));
    qn_status status = QN_OK;
    if (size != want)
        status = qn_fail(error, QN_FORMAT,
                         "%s: has %zu bytes, not the %zu of %d records of %d",
                         path, size, want, BATCH, RECORD);
    if (status == QN_OK)
        status = split_records(path, records, x, y, error);
    free(records);
    return status;
}

// ---- the names of the classes ----

// The lines of `text`, as many as there are classes; blank ones may follow.
static qn_status split_names(const char *path, const char *text,
                             char names[][NAME_SIZE], qn_error *error)
{
    for (int i = 0; i < CLASSES; i++) {
        size_t length = strcspn(text, "\r\n");
        if (length == 0 || length >= NAME_SIZE)
            return qn_fail(error, QN_FORMAT,
                           "%s:%d: needs the name of class %d, of 1 to %d "
                           "bytes",
                           path, i + 1, i, NAME_SIZE - 1);
        snprintf(names[i], NAME_SIZE, "%.*s", (int)length, text);
        text += length;
        text += *text == '\r';
        text += *text == '\n';
    }
    if (text[strspn(text, " \t\r\n")])
        return qn_fail(error, QN_FORMAT, "%s: names more than %d classes",
                       path, CLASSES);
    return QN_OK;
}

// The file of names may be missing.
static qn_status read_names(const char *folder, qn_dataset *dataset,
                            qn_error *error)
{
    char path[PATH_SIZE];
    unsigned char *text;
    size_t size;
    if (!find_file(folder, NAMES_FILE, path))
        return QN_OK;
    QN_TRY(qn_os_read_file(path, 1 << 16, &text, &size, error));
    dataset->class_names = calloc(CLASSES, sizeof *dataset->class_names);
    qn_status status =
        dataset->class_names
            ? split_names(path, (char *)text, dataset->class_names, error)
            : qn_fail_memory(error, CLASSES * NAME_SIZE);
    free(text);
    return status;
}

// ---- the set ----

static qn_status make_room(int64_t count, unsigned char **x, int32_t **y,
                           qn_error *error)
{
    *x = malloc((size_t)count * PIXELS);
    *y = malloc((size_t)count * sizeof **y);
    return *x && *y ? QN_OK : qn_fail_memory(error, (size_t)count * PIXELS);
}

qn_status qn_cifar_open(const char *folder, qn_dataset *dataset,
                        qn_error *error)
{
    dataset->shape = qn_shape_of(3, SIDE, SIDE);
    dataset->classes = CLASSES;
    dataset->train_count = TRAIN_FILES * BATCH;
    dataset->test_count = BATCH;
    dataset->offset = 0;
    dataset->scale = 1.0 / 255;
    QN_TRY(read_names(folder, dataset, error));
    QN_TRY(make_room(dataset->train_count, &dataset->train_x,
                     &dataset->train_y, error));
    QN_TRY(make_room(dataset->test_count, &dataset->test_x, &dataset->test_y,
                     error));
    for (int i = 0; i < TRAIN_FILES; i++) {
        char name[32];
        snprintf(name, sizeof name, "data_batch_%d.bin", i + 1);
        QN_TRY(read_batch(folder, name,
                          dataset->train_x + (size_t)i * BATCH * PIXELS,
                          dataset->train_y + (size_t)i * BATCH, error));
    }
    return read_batch(folder, TEST_FILE, dataset->test_x, dataset->test_y,
                      error);
}
