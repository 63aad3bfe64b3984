// What the readers of data sets share.
//
// Uses base and tensor. Knows no device and no model.
#ifndef QN_DATA_DATA_H
#define QN_DATA_DATA_H

#include <stdbool.h>

#include "base/status.h"
#include "quern/data.h"

// ---- gzip (gzip.c) ----

// Bytes out for a byte in, at most.
enum { QN_DEFLATE_RATIO = 1032 };

bool qn_gzip_is(const unsigned char *data, size_t size);
// The first bytes of what `data` inflates to; returns how many there are, at
// most `capacity`. A damaged stream gives fewer.
size_t qn_gzip_peek(const unsigned char *data, size_t size,
                    unsigned char *out, size_t capacity);
// Inflates one whole stream to exactly `out_size` bytes: a stream that is cut,
// damaged, shorter, longer or followed by more is an error that names `name`.
qn_status qn_gzip_inflate(const char *name, const unsigned char *data,
                          size_t size, unsigned char *out, size_t out_size,
                          qn_error *error);
// Reads a file as it is or, if it is gzip, inflated, at most `limit` bytes.
// The caller frees `*data`.
qn_status qn_gzip_read_file(const char *path, size_t limit,
                            unsigned char **data, size_t *size,
                            qn_error *error);
// The path of `name` or `name`.gz in a folder; false if neither is there.
bool qn_gzip_find_file(const char *folder, const char *name, char *path,
                       size_t size);

// ---- IDX (idx.c) ----

enum { QN_IDX_MAX_RANK = 3 };

// A tensor of uint8 from an IDX file. `data` is owned by the caller.
struct qn_idx {
    int64_t dims[QN_IDX_MAX_RANK];
    unsigned char *data;
};

// Reads an IDX file of `rank` dimensions, plain or gzip. Nothing is allocated
// from its header before that agrees with the size of the file.
qn_status qn_idx_read(const char *path, int rank, struct qn_idx *idx,
                      qn_error *error);
// Whether the folder has the four files of an MNIST-style set.
bool qn_idx_is_folder(const char *folder);
// Fills shape, classes, counts, samples, labels and scale from such a folder.
qn_status qn_idx_open(const char *folder, qn_dataset *dataset,
                      qn_error *error);

// ---- CIFAR (cifar.c) ----

// Whether CIFAR-10's binary files lie in the folder, or in it in the folder
// that the archive unpacks to.
bool qn_cifar_is_folder(const char *folder);
// Fills all of the data set from such a folder.
qn_status qn_cifar_open(const char *folder, qn_dataset *dataset,
                        qn_error *error);
// Reads one such file, plain or gzip, of records of a label byte and `pixels`
// bytes. `*x` and `*y` are the caller's, also after a failure.
qn_status qn_cifar_read(const char *path, size_t pixels, int64_t *count,
                        unsigned char **x, int32_t **y, qn_error *error);

// ---- names of classes (names.c) ----

// Whether a text may be such a name: a few printable ASCII characters.
bool qn_class_name_is(const char *text);
// Reads a text of `classes` lines. `*names` is one block, the caller's.
qn_status qn_class_names_read(const char *path, int classes,
                              const char ***names, qn_error *error);

// ---- CSV of bytes (csv.c) ----

// Reads lines of `columns` whole numbers 0 to 255, separated by commas. `name`
// names the text in errors. `*values` is [rows][columns], the caller's.
qn_status qn_csv_read(const char *name, const char *text, size_t size,
                      int64_t columns, unsigned char **values, int64_t *rows,
                      qn_error *error);

// ---- the table (dataset.c) ----

// CRC-32 over samples and labels of both parts: tells sets apart.
uint32_t qn_dataset_checksum(const qn_dataset *dataset);

// ---- digits (digits.c) ----

// The embedded set. `folder` is NULL.
qn_status qn_digits_open(const char *folder, qn_dataset *dataset,
                         qn_error *error);

#endif
