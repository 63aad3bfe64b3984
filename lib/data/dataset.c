// The table of data sets and where they are looked for. Knows no format.
#include "data/data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/os.h"
#include "base/text.h"

#define MNIST_FILES                                                   \
    "train-images-idx3-ubyte, train-labels-idx1-ubyte, "              \
    "t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte, plain or .gz"

#define CIFAR_FILES                                                   \
    "data_batch_1.bin to data_batch_5.bin, test_batch.bin, plain or " \
    ".gz; batches.meta.txt; also in cifar-10-batches-bin"

// A row of the public table and how it is opened.
struct entry {
    struct qn_dataset_row row;
    bool is_embedded;
    const char *folder; // where the system's package puts it, or NULL
    qn_status (*open)(const char *folder, qn_dataset *dataset,
                      qn_error *error);
    // Whether a folder of any name is of this kind; NULL where another row
    // tells.
    bool (*fits)(const char *folder);
};

static const struct entry entries[] = {
    {{"digits",
      "1,797 handwritten digits, 8x8; E. Alpaydin and C. Kaynak, Optical "
      "Recognition of Handwritten Digits, UCI Machine Learning Repository, "
      "CC BY 4.0",
      "embedded"},
     true, NULL, qn_digits_open, NULL},
    {{"mnist",
      "70,000 handwritten digits, 28x28; Y. LeCun, C. Cortes, C. Burges, "
      "The MNIST database",
      MNIST_FILES},
     false, NULL, qn_idx_open, qn_idx_is_folder},
    {{"fashion-mnist",
      "70,000 pictures of clothes, 28x28; H. Xiao, K. Rasul, R. Vollgraf "
      "(2017), MIT; Debian: dataset-fashion-mnist",
      MNIST_FILES},
     false, "/usr/share/datasets/fashion-mnist", qn_idx_open, NULL},
    {{"cifar-10",
      "60,000 photographs of 10 classes, 3x32x32; A. Krizhevsky (2009), "
      "Learning Multiple Layers of Features from Tiny Images",
      CIFAR_FILES},
     false, NULL, qn_cifar_open, qn_cifar_is_folder},
};

enum {
    ENTRY_COUNT = sizeof entries / sizeof *entries,
    PATH_SIZE = sizeof((qn_dataset *)0)->origin,
};

const struct qn_dataset_row *qn_dataset_row_at(int index)
{
    return index >= 0 && index < ENTRY_COUNT ? &entries[index].row : NULL;
}

static const struct entry *find_entry(const char *name)
{
    for (int i = 0; i < ENTRY_COUNT; i++)
        if (strcmp(entries[i].row.name, name) == 0)
            return &entries[i];
    return NULL;
}

void qn_dataset_destroy(qn_dataset **dataset)
{
    if (!dataset || !*dataset)
        return;
    free((*dataset)->train_x);
    free((*dataset)->train_y);
    free((*dataset)->test_x);
    free((*dataset)->test_y);
    free((*dataset)->class_names);
    free(*dataset);
    *dataset = NULL;
}

static qn_dataset *open_entry(const struct entry *entry, const char *name,
                              const char *folder, qn_error *error)
{
    qn_dataset *dataset = calloc(1, sizeof *dataset);
    if (!dataset) {
        qn_fail_memory(error, sizeof *dataset);
        return NULL;
    }
    snprintf(dataset->name, sizeof dataset->name, "%s", name);
    size_t size = sizeof dataset->origin;
    if (!folder || !qn_os_absolute(folder, dataset->origin, size))
        snprintf(dataset->origin, size, "%s", folder ? folder : name);
    if (entry->open(folder, dataset, error) != QN_OK)
        qn_dataset_destroy(&dataset);
    return dataset;
}

// zlib counts in uInt.
static unsigned long add_crc(unsigned long crc, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    while (size) {
        size_t part = size < 1 << 30 ? size : 1 << 30;
        crc = crc32(crc, bytes, (uInt)part);
        bytes += part;
        size -= part;
    }
    return crc;
}

uint32_t qn_dataset_checksum(const qn_dataset *dataset)
{
    size_t one = (size_t)qn_shape_count(&dataset->shape);
    size_t train = (size_t)dataset->train_count;
    size_t test = (size_t)dataset->test_count;
    unsigned long crc = crc32(0, NULL, 0);
    crc = add_crc(crc, dataset->train_x, train * one);
    crc = add_crc(crc, dataset->train_y, train * sizeof *dataset->train_y);
    crc = add_crc(crc, dataset->test_x, test * one);
    crc = add_crc(crc, dataset->test_y, test * sizeof *dataset->test_y);
    return (uint32_t)crc;
}

// ---- by name ----

// Folder number `i` in which a named set may lie; false past the last one.
static bool usual_folder(const struct entry *entry, int i, char *path)
{
    char data[PATH_SIZE];
    int length = -1;
    if (i == 0)
        length = snprintf(path, PATH_SIZE, "data/%s", entry->row.name);
    else if (i == 1 && qn_os_data_folder(data, sizeof data))
        length = snprintf(path, PATH_SIZE, "%s/%s", data, entry->row.name);
    else if (i == 2 && entry->folder)
        length = snprintf(path, PATH_SIZE, "%s", entry->folder);
    if (length < 0 || length >= PATH_SIZE)
        *path = 0;
    return i < 3;
}

static qn_dataset *open_named(const struct entry *entry, qn_error *error)
{
    const char *name = entry->row.name;
    char path[PATH_SIZE];
    if (entry->is_embedded)
        return open_entry(entry, name, NULL, error);
    for (int i = 0; usual_folder(entry, i, path); i++)
        if (*path && qn_os_is_folder(path))
            return open_entry(entry, name, path, error);
    struct qn_text places = {0};
    for (int i = 0; usual_folder(entry, i, path); i++)
        if (*path)
            qn_text_add(&places, "%s%s", i ? ", " : "", path);
    qn_fail(error, QN_IO,
            "data set %s: no such folder: %s; put its files (%s) there, or "
            "name their folder", name, places.data ? places.data : "",
            entry->row.files);
    qn_text_finish(&places);
    return NULL;
}

// ---- by folder ----

// The last part of a path that means something, for the set's name.
static void name_of_folder(const char *folder, char *name, size_t size)
{
    size_t end = strlen(folder);
    while (end > 1 && folder[end - 1] == '/')
        end--;
    size_t start = end;
    while (start > 0 && folder[start - 1] != '/')
        start--;
    snprintf(name, size, "%.*s", (int)(end - start), folder + start);
    if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        snprintf(name, size, "data");
}

static qn_dataset *open_folder(const char *folder, qn_error *error)
{
    char name[sizeof((qn_dataset *)0)->name];
    name_of_folder(folder, name, sizeof name);
    for (int i = 0; i < ENTRY_COUNT; i++)
        if (entries[i].fits && entries[i].fits(folder))
            return open_entry(&entries[i], name, folder, error);
    qn_fail(error, QN_FORMAT,
            "%s: no known data set in this folder (one like MNIST has %s; one "
            "like CIFAR-10 has %s)", folder, MNIST_FILES, CIFAR_FILES);
    return NULL;
}

static void explain_unknown(const char *text, qn_error *error)
{
    const char *names[ENTRY_COUNT];
    for (int i = 0; i < ENTRY_COUNT; i++)
        names[i] = entries[i].row.name;
    if (qn_os_is_file(text)) {
        qn_fail(error, QN_BAD_ARGUMENT,
                "%s: is a file; name the folder that holds the data set",
                text);
        return;
    }
    const char *nearest = qn_text_nearest(text, names, ENTRY_COUNT);
    qn_fail(error, QN_BAD_ARGUMENT,
            "%s: neither a data set nor a folder%s%s%s", text,
            nearest ? "; did you mean " : "", nearest ? nearest : "",
            nearest ? "?" : " (quern list datasets shows the names)");
}

qn_dataset *qn_dataset_open(const char *text, qn_error *error)
{
    if (!text || !*text || strlen(text) >= PATH_SIZE) {
        qn_fail(error, QN_BAD_ARGUMENT,
                "a data set is named by its name or its folder");
        return NULL;
    }
    const struct entry *entry = find_entry(text);
    if (entry)
        return open_named(entry, error);
    if (qn_os_is_folder(text))
        return open_folder(text, error);
    explain_unknown(text, error);
    return NULL;
}
