// The IDX format of MNIST: a big-endian header (two zero bytes, type, rank,
// one 32-bit length a dimension), then the elements in C order. Here the type
// is unsigned byte. Plain or gzip. Source: Y. LeCun, "The MNIST database".
//
// Owns the names and rules of MNIST-style folders; knows no other format.
#include "data/data.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"

enum {
    TYPE_UINT8 = 0x08,
    HEADER_MAX = 4 + 4 * QN_IDX_MAX_RANK,
    MNIST_CLASSES = 10,
};

static const size_t file_limit = (size_t)1 << (sizeof(size_t) > 4 ? 36 : 30);

static uint32_t read_big(const unsigned char *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 |
           (uint32_t)bytes[2] << 8 | bytes[3];
}

// ---- one file ----

// The content of a file as it lies on the disk.
struct content {
    const char *path;
    unsigned char *data;
    size_t size;
    bool packed; // gzip
};

static qn_status check_magic(const struct content *file, int rank,
                             const unsigned char *header, size_t got,
                             qn_error *error)
{
    uint32_t want = TYPE_UINT8 << 8 | (uint32_t)rank;
    if (got < 4)
        return qn_fail(error, QN_FORMAT,
                       file->packed
                           ? "%s: the gzip data is damaged or too short for "
                             "an IDX header"
                           : "%s: too short for an IDX header", file->path);
    if (read_big(header) != want)
        return qn_fail(error, QN_FORMAT,
                       "%s: not an IDX file of %s (it begins with 0x%08x, "
                       "not 0x%08x)", file->path,
                       rank == 1 ? "labels" : "images",
                       (unsigned)read_big(header), (unsigned)want);
    return QN_OK;
}

// Header to dimensions; `*count` is their product, checked for overflow.
static qn_status read_header(const struct content *file, int rank,
                             struct qn_idx *idx, size_t *count,
                             qn_error *error)
{
    unsigned char header[HEADER_MAX];
    size_t size = 4 + 4 * (size_t)rank, got;
    if (file->packed) {
        got = qn_gzip_peek(file->data, file->size, header, size);
    } else {
        got = file->size < size ? file->size : size;
        memcpy(header, file->data, got);
    }
    QN_TRY(check_magic(file, rank, header, got, error));
    if (got < size)
        return qn_fail(error, QN_FORMAT, "%s: ends within its IDX header",
                       file->path);
    *count = 1;
    for (int i = 0; i < rank; i++) {
        uint32_t length = read_big(header + 4 + 4 * i);
        if (length == 0 || length > INT32_MAX)
            return qn_fail(error, QN_FORMAT,
                           "%s: dimension %d of its header is %u (needs 1 "
                           "to %d)", file->path, i, (unsigned)length,
                           INT32_MAX);
        if (*count > SIZE_MAX / 2 / length)
            return qn_fail(error, QN_FORMAT,
                           "%s: the sizes in its header are absurdly large",
                           file->path);
        *count *= length;
        idx->dims[i] = length;
    }
    return QN_OK;
}

// Takes the elements over without a copy: the caller's `file` loses its data.
static qn_status take_plain(struct content *file, size_t start, size_t count,
                            struct qn_idx *idx, qn_error *error)
{
    size_t holds = file->size - start;
    if (holds != count)
        return qn_fail(error, QN_FORMAT,
                       "%s: holds %zu elements where its header says %zu",
                       file->path, holds, count);
    memmove(file->data, file->data + start, count);
    idx->data = file->data;
    file->data = NULL;
    return QN_OK;
}

static qn_status take_packed(const struct content *file, size_t start,
                             size_t count, struct qn_idx *idx,
                             qn_error *error)
{
    size_t size = start + count;
    if (size / QN_DEFLATE_RATIO > file->size)
        return qn_fail(error, QN_FORMAT,
                       "%s: its header says %zu elements, more than %zu "
                       "bytes of gzip can hold", file->path, count,
                       file->size);
    unsigned char *data = malloc(size);
    if (!data)
        return qn_fail_memory(error, size);
    qn_status status = qn_gzip_inflate(file->path, file->data, file->size,
                                       data, size, error);
    if (status != QN_OK) {
        free(data);
        return status;
    }
    memmove(data, data + start, count);
    idx->data = data;
    return QN_OK;
}

qn_status qn_idx_read(const char *path, int rank, struct qn_idx *idx,
                      qn_error *error)
{
    struct content file = {.path = path};
    size_t count = 0, start = 4 + 4 * (size_t)rank;
    *idx = (struct qn_idx){0};
    QN_TRY(qn_os_read_file(path, file_limit, &file.data, &file.size, error));
    file.packed = qn_gzip_is(file.data, file.size);
    qn_status status = read_header(&file, rank, idx, &count, error);
    if (status == QN_OK)
        status = file.packed
                     ? take_packed(&file, start, count, idx, error)
                     : take_plain(&file, start, count, idx, error);
    free(file.data);
    return status;
}

// ---- a folder ----

enum { PATH_SIZE = 1200 };

bool qn_idx_is_folder(const char *folder)
{
    char path[PATH_SIZE];
    static const char *const names[] = {"train-images-idx3-ubyte",
                                        "train-labels-idx1-ubyte",
                                        "t10k-images-idx3-ubyte"};
    for (int i = 0; i < 3; i++)
        if (qn_gzip_find_file(folder, names[i], path, sizeof path))
            return true;
    return false;
}

static qn_status need_file(const char *folder, const char *name, char *path,
                           qn_error *error)
{
    if (qn_gzip_find_file(folder, name, path, PATH_SIZE))
        return QN_OK;
    return qn_fail(error, QN_IO, "%s: has no %s and no %s.gz", folder, name,
                   name);
}

static qn_status check_labels(const char *path, const unsigned char *labels,
                              int64_t count, qn_error *error)
{
    for (int64_t i = 0; i < count; i++)
        if (labels[i] >= MNIST_CLASSES)
            return qn_fail(error, QN_FORMAT,
                           "%s: label %d of sample %lld is out of range "
                           "(MNIST-style sets have classes 0 to %d)", path,
                           labels[i], (long long)i, MNIST_CLASSES - 1);
    return QN_OK;
}

// One part, train or test: images and labels that belong together.
struct part {
    struct qn_idx images;
    int32_t *labels;
    int64_t count;
};

static qn_status widen_labels(const unsigned char *labels, struct part *part,
                              qn_error *error)
{
    size_t size = (size_t)part->count * sizeof *part->labels;
    part->labels = malloc(size);
    if (!part->labels)
        return qn_fail_memory(error, size);
    for (int64_t i = 0; i < part->count; i++)
        part->labels[i] = labels[i];
    return QN_OK;
}

static qn_status read_part(const char *folder, const char *prefix,
                           struct part *part, qn_error *error)
{
    char name[64], images[PATH_SIZE], labels[PATH_SIZE];
    struct qn_idx idx = {0};
    snprintf(name, sizeof name, "%s-images-idx3-ubyte", prefix);
    QN_TRY(need_file(folder, name, images, error));
    snprintf(name, sizeof name, "%s-labels-idx1-ubyte", prefix);
    QN_TRY(need_file(folder, name, labels, error));
    QN_TRY(qn_idx_read(labels, 1, &idx, error));
    part->count = idx.dims[0];
    qn_status status = check_labels(labels, idx.data, part->count, error);
    if (status == QN_OK)
        status = qn_idx_read(images, 3, &part->images, error);
    if (status == QN_OK && part->images.dims[0] != part->count)
        status = qn_fail(error, QN_FORMAT,
                         "%s: has %lld images, but %s has %lld labels",
                         images, (long long)part->images.dims[0], labels,
                         (long long)part->count);
    if (status == QN_OK)
        status = widen_labels(idx.data, part, error);
    free(idx.data);
    return status;
}

qn_status qn_idx_open(const char *folder, qn_dataset *dataset,
                      qn_error *error)
{
    struct part train = {0}, test = {0};
    const int64_t *a = train.images.dims, *b = test.images.dims;
    qn_status status = read_part(folder, "train", &train, error);
    if (status == QN_OK)
        status = read_part(folder, "t10k", &test, error);
    if (status == QN_OK && (a[1] != b[1] || a[2] != b[2]))
        status = qn_fail(error, QN_FORMAT,
                         "%s: training images are %lldx%lld, test images "
                         "%lldx%lld", folder, (long long)a[1],
                         (long long)a[2], (long long)b[1], (long long)b[2]);
    dataset->train_x = train.images.data;
    dataset->train_y = train.labels;
    dataset->train_count = train.count;
    dataset->test_x = test.images.data;
    dataset->test_y = test.labels;
    dataset->test_count = test.count;
    dataset->shape = qn_shape_of(1, a[1], a[2]);
    dataset->classes = MNIST_CLASSES;
    dataset->offset = 0;
    dataset->scale = 1.0 / 255;
    return status;
}
