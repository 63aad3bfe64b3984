// Samples to classify: from a test set or a file.
#include "data/data.h"

#include <stdlib.h>
#include <string.h>

#include "base/os.h"

enum { CSV_LIMIT = 1 << 30, RAW_LIMIT = 1 << 30 };

void qn_samples_destroy(qn_samples **samples)
{
    if (!samples || !*samples)
        return;
    free((*samples)->x);
    free((*samples)->y);
    free(*samples);
    *samples = NULL;
}

// ---- "DATA:7", "DATA:0-9" ----

// Splits off a range after the last colon. False if `text` has none.
static bool split_range(const char *text, char *name, size_t size,
                        int64_t *first, int64_t *last)
{
    const char *colon = strrchr(text, ':');
    if (!colon || (size_t)(colon - text) >= size || colon[1] < '0' ||
        colon[1] > '9')
        return false;
    char *end;
    *first = *last = strtoll(colon + 1, &end, 10);
    if (*end == '-' && end[1] >= '0' && end[1] <= '9')
        *last = strtoll(end + 1, &end, 10);
    memcpy(name, text, (size_t)(colon - text));
    name[colon - text] = 0;
    return *end == 0;
}

static qn_status copy_range(const qn_dataset *dataset, const char *text,
                            int64_t first, int64_t last, qn_samples *samples,
                            qn_error *error)
{
    size_t one = (size_t)qn_shape_count(&dataset->shape);
    if (first > last || last >= dataset->test_count)
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "%s: the test part of %s has samples 0 to %lld", text,
                       dataset->name, (long long)dataset->test_count - 1);
    size_t count = (size_t)(last - first + 1);
    samples->count = (int64_t)count;
    samples->x = malloc(count * one);
    samples->y = malloc(count * sizeof *samples->y);
    if (!samples->x || !samples->y)
        return qn_fail_memory(error, count * one);
    memcpy(samples->x, dataset->test_x + (size_t)first * one, count * one);
    memcpy(samples->y, dataset->test_y + first, count * sizeof *samples->y);
    return QN_OK;
}

static qn_status read_range(const char *text, const char *name,
                            int64_t first, int64_t last,
                            const qn_shape *shape, qn_samples *samples,
                            qn_error *error)
{
    qn_dataset *dataset = qn_dataset_open(name, error);
    if (!dataset)
        return error ? error->status : QN_BAD_ARGUMENT;
    qn_status status = QN_OK;
    char is[64], wants[64];
    if (!qn_shape_equal(&dataset->shape, shape))
        status = qn_fail(error, QN_BAD_SHAPE,
                         "%s: samples are %s, the model wants %s", name,
                         qn_shape_text(&dataset->shape, is, sizeof is),
                         qn_shape_text(shape, wants, sizeof wants));
    if (status == QN_OK)
        status = copy_range(dataset, text, first, last, samples, error);
    qn_dataset_destroy(&dataset);
    return status;
}

// ---- files ----

static qn_status read_idx(const char *path, const qn_shape *shape,
                          qn_samples *samples, qn_error *error)
{
    struct qn_idx idx;
    QN_TRY(qn_idx_read(path, 3, &idx, error));
    samples->x = idx.data;
    samples->count = idx.dims[0];
    qn_shape one = qn_shape_of(1, idx.dims[1], idx.dims[2]);
    char is[64], wants[64];
    if (qn_shape_equal(&one, shape))
        return QN_OK;
    return qn_fail(error, QN_BAD_SHAPE,
                   "%s: samples are %s, the model wants %s", path,
                   qn_shape_text(&one, is, sizeof is),
                   qn_shape_text(shape, wants, sizeof wants));
}

static int64_t first_line_values(const char *text, size_t size)
{
    int64_t count = 1;
    for (size_t i = 0; i < size && text[i] != '\n'; i++)
        count += text[i] == ',';
    return count;
}

// Takes the labels out of rows of `pixels` values and a label.
static qn_status split_labels(qn_samples *samples, int64_t pixels,
                              qn_error *error)
{
    size_t size = (size_t)samples->count * sizeof *samples->y;
    samples->y = malloc(size);
    if (!samples->y)
        return qn_fail_memory(error, size);
    for (int64_t i = 0; i < samples->count; i++) {
        const unsigned char *row = samples->x + i * (pixels + 1);
        samples->y[i] = row[pixels];
        memmove(samples->x + i * pixels, row, (size_t)pixels);
    }
    return QN_OK;
}

static qn_status read_csv(const char *path, const unsigned char *text,
                          size_t size, const qn_shape *shape,
                          qn_samples *samples, qn_error *error)
{
    int64_t pixels = qn_shape_count(shape);
    int64_t columns = first_line_values((const char *)text, size);
    if (columns != pixels && columns != pixels + 1)
        return qn_fail(error, QN_FORMAT,
                       "%s: neither an IDX file of images nor lines of %lld "
                       "values (its first line has %lld); other formats go "
                       "by their names, .bin or .raw", path,
                       (long long)pixels, (long long)columns);
    QN_TRY(qn_csv_read(path, (const char *)text, size, columns, &samples->x,
                       &samples->count, error));
    return columns == pixels ? QN_OK : split_labels(samples, pixels, error);
}

static bool ends_in(const char *text, const char *end)
{
    size_t length = strlen(text), size = strlen(end);
    return length > size && strcmp(text + length - size, end) == 0;
}

static qn_status read_raw(const char *path, size_t one, qn_samples *samples,
                          qn_error *error)
{
    size_t size;
    QN_TRY(qn_os_read_file(path, RAW_LIMIT, &samples->x, &size, error));
    samples->count = (int64_t)(size / one);
    if (size > 0 && size % one == 0)
        return QN_OK;
    return qn_fail(error, QN_FORMAT,
                   "%s: its %zu bytes are not whole samples of %zu", path,
                   size, one);
}

static qn_status read_file(const char *path, const qn_shape *shape,
                           qn_samples *samples, qn_error *error)
{
    size_t one = (size_t)qn_shape_count(shape);
    if (ends_in(path, ".bin") || ends_in(path, ".bin.gz"))
        return qn_cifar_read(path, one, &samples->count, &samples->x,
                             &samples->y, error);
    if (ends_in(path, ".raw"))
        return read_raw(path, one, samples, error);
    unsigned char *data;
    size_t size;
    QN_TRY(qn_os_read_file(path, CSV_LIMIT, &data, &size, error));
    qn_status status;
    if (qn_gzip_is(data, size) || (size >= 2 && !data[0] && !data[1]))
        status = read_idx(path, shape, samples, error);
    else
        status = read_csv(path, data, size, shape, samples, error);
    free(data);
    return status;
}

qn_samples *qn_samples_open(const char *text, const qn_shape *shape,
                            qn_error *error)
{
    char name[sizeof((qn_dataset *)0)->origin];
    int64_t first, last;
    qn_samples *samples = calloc(1, sizeof *samples);
    qn_status status;
    if (!samples)
        status = qn_fail_memory(error, sizeof *samples);
    else if (!qn_os_is_file(text) &&
             split_range(text, name, sizeof name, &first, &last))
        status = read_range(text, name, first, last, shape, samples, error);
    else
        status = read_file(text, shape, samples, error);
    if (status != QN_OK)
        qn_samples_destroy(&samples);
    return samples;
}
