// Readers of data sets: what is right comes in whole, what is wrong gives one
// error that names the file.
#define _XOPEN_SOURCE 700

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "base/os.h"
#include "data/data.h"
#include "qn_check.h"

// ---- making files ----

struct bytes {
    unsigned char data[4096];
    size_t size;
};

static void put(struct bytes *bytes, const void *data, size_t size)
{
    ck_assert_uint_le(bytes->size + size, sizeof bytes->data);
    memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
}

static void put_big(struct bytes *bytes, uint32_t value)
{
    unsigned char b[4] = {(unsigned char)(value >> 24),
                          (unsigned char)(value >> 16),
                          (unsigned char)(value >> 8), (unsigned char)value};
    put(bytes, b, 4);
}

// Element i is 7 i + 3 for images (as a byte), i % 10 for labels.
static struct bytes make_images(uint32_t n, uint32_t h, uint32_t w)
{
    struct bytes bytes = {.size = 0};
    put_big(&bytes, 0x803);
    put_big(&bytes, n);
    put_big(&bytes, h);
    put_big(&bytes, w);
    for (uint32_t i = 0; i < n * h * w; i++)
        put(&bytes, &(unsigned char){(unsigned char)(7 * i + 3)}, 1);
    return bytes;
}

static struct bytes make_labels(uint32_t n)
{
    struct bytes bytes = {.size = 0};
    put_big(&bytes, 0x801);
    put_big(&bytes, n);
    for (uint32_t i = 0; i < n; i++)
        put(&bytes, &(unsigned char){(unsigned char)(i % 10)}, 1);
    return bytes;
}

static struct bytes pack(const struct bytes *plain)
{
    struct bytes packed = {.size = 0};
    z_stream stream = {0};
    ck_assert_int_eq(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8,
                                  Z_DEFAULT_STRATEGY), Z_OK);
    stream.next_in = (z_const Bytef *)plain->data;
    stream.avail_in = (uInt)plain->size;
    stream.next_out = packed.data;
    stream.avail_out = sizeof packed.data;
    ck_assert_int_eq(deflate(&stream, Z_FINISH), Z_STREAM_END);
    packed.size = stream.total_out;
    deflateEnd(&stream);
    return packed;
}

static void save(const char *name, const struct bytes *bytes)
{
    FILE *file = fopen(qn_check_path(name), "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes->data, 1, bytes->size, file), bytes->size);
    ck_assert_int_eq(fclose(file), 0);
}

static void save_text(const char *name, const char *text)
{
    struct bytes bytes = {.size = 0};
    put(&bytes, text, strlen(text));
    save(name, &bytes);
}

static const char *const names[] = {
    "train-images-idx3-ubyte", "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"};

// A good set of 20 training and 10 test samples of 2x3 in folder `set`.
static void save_set(bool packed)
{
    struct bytes parts[] = {make_images(20, 2, 3), make_labels(20),
                            make_images(10, 2, 3), make_labels(10)};
    qn_error error = {0};
    ck_assert_ok(qn_os_make_folder(qn_check_path("set"), false, &error), error);
    for (int i = 0; i < 4; i++) {
        char name[64];
        snprintf(name, sizeof name, "set/%s", names[i]);
        remove(qn_check_path(name));
        strcat(name, ".gz");
        remove(qn_check_path(name));
        if (!packed)
            name[strlen(name) - 3] = 0;
        struct bytes zipped = pack(&parts[i]);
        save(name, packed ? &zipped : &parts[i]);
    }
}

static void expect_set(const char *text)
{
    qn_error error = {0};
    qn_dataset *data = qn_dataset_open(text, &error);
    ck_assert_msg(data != NULL, "%s", error.text);
    qn_shape shape = qn_shape_of(1, 2, 3);
    ck_assert(qn_shape_equal(&data->shape, &shape));
    ck_assert_int_eq(data->train_count, 20);
    ck_assert_int_eq(data->test_count, 10);
    ck_assert_int_eq(data->classes, 10);
    for (int i = 0; i < 120; i++)
        ck_assert_int_eq(data->train_x[i], (7 * i + 3) & 255);
    for (int i = 0; i < 60; i++)
        ck_assert_int_eq(data->test_x[i], (7 * i + 3) & 255);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(data->train_y[i], i % 10);
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(data->test_y[i], i);
    ck_assert(data->offset == 0 && data->scale == 1.0 / 255);
    ck_assert_str_eq(data->name, "set");
    qn_dataset_destroy(&data);
    ck_assert_ptr_null(data);
    qn_dataset_destroy(&data);
}

// Opening must fail, with `want` and the file's name in the text.
static void expect_failure(const char *text, const char *file,
                           const char *want)
{
    qn_error error = {0};
    qn_dataset *data = qn_dataset_open(text, &error);
    ck_assert_msg(data == NULL, "%s was accepted; wanted: %s", text, want);
    ck_assert_int_ne(error.status, QN_OK);
    ck_assert_msg(strstr(error.text, want) != NULL, "\"%s\" in \"%s\"", want,
                  error.text);
    ck_assert_msg(strstr(error.text, file) != NULL, "\"%s\" in \"%s\"", file,
                  error.text);
    ck_assert_ptr_null(strchr(error.text, '\n'));
}

// One file of a good set is replaced; opening the set must say `want`.
static void expect_fault(int which, const struct bytes *bytes, bool packed,
                         const char *want)
{
    save_set(packed);
    char name[64];
    snprintf(name, sizeof name, "set/%s%s", names[which], packed ? ".gz" : "");
    save(name, bytes);
    char folder[300];
    snprintf(folder, sizeof folder, "%s", qn_check_path("set"));
    expect_failure(folder, names[which], want);
}

// ---- digits ----

START_TEST(digits_are_whole_and_split_evenly)
{
    qn_error error = {0};
    qn_dataset *data = qn_dataset_open("digits", &error);
    ck_assert_msg(data != NULL, "%s", error.text);
    ck_assert_int_eq(data->train_count, 1437);
    ck_assert_int_eq(data->test_count, 360);
    ck_assert_str_eq(data->origin, "digits");
    // Of each class 36 test samples; the totals are the file's.
    const int totals[10] = {178, 182, 177, 183, 181, 182, 181, 179, 174, 180};
    int train[10] = {0}, test[10] = {0};
    for (int i = 0; i < 1437; i++)
        train[data->train_y[i]]++;
    for (int i = 0; i < 360; i++)
        test[data->test_y[i]]++;
    for (int c = 0; c < 10; c++) {
        ck_assert_int_eq(test[c], 36);
        ck_assert_int_eq(train[c], totals[c] - 36);
    }
    qn_dataset_destroy(&data);
}
END_TEST

// Sums over the file, taken with awk: pixels 561718, pixels times column
// (from 0) 17660653. So no sample is lost, doubled or shifted.
START_TEST(digits_pixels_are_those_of_the_file)
{
    qn_error error = {0};
    qn_dataset *data = qn_dataset_open("digits", &error);
    ck_assert_msg(data != NULL, "%s", error.text);
    long sum = 0, moment = 0;
    for (int i = 0; i < 1797 * 64; i++) {
        const unsigned char *x = i < 1437 * 64
                                     ? data->train_x + i
                                     : data->test_x + (i - 1437 * 64);
        ck_assert_int_le(*x, 16);
        sum += *x;
        moment += *x * (i % 64);
    }
    ck_assert_int_eq(sum, 561718);
    ck_assert_int_eq(moment, 17660653);
    qn_dataset_destroy(&data);
}
END_TEST

// ---- IDX ----

START_TEST(idx_folder_is_read_plain_and_packed)
{
    char folder[300];
    save_set(false);
    snprintf(folder, sizeof folder, "%s", qn_check_path("set"));
    expect_set(folder);
    save_set(true);
    expect_set(folder);
    strcat(folder, "/");
    expect_set(folder);
}
END_TEST

START_TEST(idx_wrong_magic_is_named)
{
    struct bytes bytes = make_images(20, 2, 3);
    for (int at = 0; at < 4; at++) {
        struct bytes bad = bytes;
        bad.data[at] ^= 0x09;
        expect_fault(0, &bad, false, "not an IDX file of images");
        struct bytes packed = pack(&bad);
        expect_fault(0, &packed, true, "not an IDX file of images");
    }
    // Labels where images belong, and the other way round.
    bytes = make_labels(20);
    expect_fault(0, &bytes, false, "not an IDX file of images");
    bytes = make_images(20, 2, 3);
    expect_fault(1, &bytes, false, "not an IDX file of labels");
}
END_TEST

START_TEST(idx_every_cut_is_noticed)
{
    struct bytes plain = make_images(10, 2, 3), packed = pack(&plain);
    for (size_t size = 0; size < plain.size; size++) {
        struct bytes bad = plain;
        bad.size = size;
        expect_fault(2, &bad, false, size < 4    ? "too short"
                                     : size < 16 ? "within its IDX header"
                                                 : "where its header says 60");
    }
    for (size_t size = 2; size < packed.size; size++) {
        struct bytes bad = packed;
        bad.size = size;
        expect_fault(2, &bad, true, "t10k-images-idx3-ubyte.gz");
    }
}
END_TEST

START_TEST(idx_late_cut_of_gzip_says_so)
{
    struct bytes plain = make_images(10, 2, 3), packed = pack(&plain);
    for (size_t less = 1; less <= 8; less++) {
        struct bytes bad = packed;
        bad.size -= less;
        expect_fault(2, &bad, true, "ends too early");
    }
}
END_TEST

// What gzip itself ignores: the text flag, time, packer and system in its
// header, and the bits that fill up the last byte of the deflate stream.
static bool is_ignored(const struct bytes *packed, size_t at, int bit)
{
    return (at == 3 && bit == 0) || (at >= 4 && at < 10) ||
           at == packed->size - 9;
}

// Any other flipped bit must be an error: the check sum covers all content,
// the reader what lies around it.
START_TEST(idx_damaged_gzip_is_noticed)
{
    struct bytes plain = make_images(10, 2, 3), packed = pack(&plain);
    for (size_t at = 0; at < packed.size; at++) {
        for (int bit = 0; bit < 8; bit++) {
            struct bytes bad = packed;
            if (is_ignored(&packed, at, bit))
                continue;
            bad.data[at] ^= (unsigned char)(1 << bit);
            expect_fault(2, &bad, true, "t10k-images-idx3-ubyte.gz");
        }
    }
}
END_TEST

START_TEST(idx_bytes_after_the_end_are_noticed)
{
    struct bytes bytes = make_images(10, 2, 3);
    put(&bytes, "x", 1);
    expect_fault(2, &bytes, false, "holds 61 elements where its header says");
    bytes = make_images(10, 2, 3);
    put(&bytes, "x", 1);
    struct bytes packed = pack(&bytes);
    expect_fault(2, &packed, true, "holds more than the 76 bytes");
    bytes = make_images(10, 2, 3);
    packed = pack(&bytes);
    put(&packed, "xyz", 3);
    expect_fault(2, &packed, true, "3 bytes follow the end");
}
END_TEST

START_TEST(idx_huge_sizes_allocate_nothing)
{
    static const uint32_t sizes[][3] = {
        {0x7fffffff, 0x7fffffff, 0x7fffffff}, {0x7fffffff, 28, 28},
        {0x10000, 0x10000, 0x10000}, {0x7fffffff, 1, 1}, {21, 2, 3}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct bytes bytes = make_images(20, 2, 3);
        bytes.size = 4;
        for (int d = 0; d < 3; d++)
            put_big(&bytes, sizes[i][d]);
        bytes.size = 16 + 120;
        expect_fault(0, &bytes, false, "header");
        struct bytes packed = pack(&bytes);
        expect_fault(0, &packed, true,
                     sizes[i][0] == 21 ? "announces 142" : "header");
    }
}
END_TEST

START_TEST(idx_zero_and_negative_dimensions_are_refused)
{
    for (int d = 0; d < 3; d++) {
        struct bytes bytes = make_images(20, 2, 3);
        memset(bytes.data + 4 + 4 * d, 0, 4);
        expect_fault(0, &bytes, false, "of its header is 0");
        memset(bytes.data + 4 + 4 * d, 0xff, 4);
        expect_fault(0, &bytes, false, "of its header is 4294967295");
    }
    struct bytes none = make_labels(0);
    expect_fault(1, &none, false, "of its header is 0");
}
END_TEST

START_TEST(idx_labels_out_of_range_are_named)
{
    struct bytes bytes = make_labels(20);
    bytes.data[8 + 13] = 10;
    expect_fault(1, &bytes, false, "label 10 of sample 13 is out of range");
    bytes.data[8 + 13] = 255;
    struct bytes packed = pack(&bytes);
    expect_fault(1, &packed, true, "label 255 of sample 13 is out of range");
}
END_TEST

START_TEST(idx_files_that_do_not_belong_together)
{
    struct bytes bytes = make_labels(19);
    expect_fault(1, &bytes, false, "19 labels");
    bytes = make_images(21, 2, 3);
    expect_fault(0, &bytes, false, "21 images");
    save_set(false);
    bytes = make_images(10, 3, 2);
    save("set/t10k-images-idx3-ubyte", &bytes);
    char folder[300];
    snprintf(folder, sizeof folder, "%s", qn_check_path("set"));
    expect_failure(folder, "set", "test images 3x2");
}
END_TEST

START_TEST(idx_missing_file_is_named)
{
    char folder[300];
    snprintf(folder, sizeof folder, "%s", qn_check_path("set"));
    for (int i = 0; i < 4; i++) {
        char name[64];
        save_set(true);
        snprintf(name, sizeof name, "set/%s.gz", names[i]);
        ck_assert_int_eq(remove(qn_check_path(name)), 0);
        expect_failure(folder, names[i], "has no");
    }
}
END_TEST

START_TEST(idx_file_that_is_a_folder_is_an_error)
{
    save_set(false);
    qn_error error = {0};
    struct qn_idx idx;
    ck_assert_int_ne(qn_idx_read(qn_check_path("set"), 3, &idx, &error), QN_OK);
    ck_assert_ptr_nonnull(strstr(error.text, "set"));
}
END_TEST

// ---- the real sets, where they are ----

static void expect_counts(const int32_t *labels, int64_t count,
                          const int64_t want[10])
{
    int64_t counts[10] = {0};
    for (int64_t i = 0; i < count; i++)
        counts[labels[i]]++;
    ck_assert_mem_eq(counts, want, sizeof counts);
}

// The counts and the mean pixel (0.1307) that the literature gives.
START_TEST(mnist_is_as_published)
{
    static const int64_t train[10] = {5923, 6742, 5958, 6131, 5842,
                                      5421, 5918, 6265, 5851, 5949};
    static const int64_t test[10] = {980, 1135, 1032, 1010, 982,
                                     892, 958,  1028, 974,  1009};
    const char *root = getenv("QUERN_TEST_DATA");
    char folder[1000];
    if (!root || !*root) {
        printf("did not run: QUERN_TEST_DATA names no folder\n");
        return;
    }
    snprintf(folder, sizeof folder, "%s/data/mnist", root);
    qn_error error = {0};
    qn_dataset *data = qn_dataset_open(folder, &error);
    ck_assert_msg(data != NULL, "%s", error.text);
    ck_assert_int_eq(data->train_count, 60000);
    ck_assert_int_eq(data->test_count, 10000);
    expect_counts(data->train_y, 60000, train);
    expect_counts(data->test_y, 10000, test);
    double sum = 0;
    for (int64_t i = 0; i < INT64_C(60000) * 784; i++)
        sum += data->train_x[i];
    ck_assert(fabs(sum / (60000.0 * 784 * 255) - 0.1306604762738429) < 1e-12);
    qn_dataset_destroy(&data);
}
END_TEST

START_TEST(fashion_mnist_is_found_where_debian_puts_it)
{
    qn_error error = {0};
    if (!qn_os_is_folder("/usr/share/datasets/fashion-mnist")) {
        printf("did not run: dataset-fashion-mnist is not installed\n");
        return;
    }
    qn_dataset *data = qn_dataset_open("fashion-mnist", &error);
    ck_assert_msg(data != NULL, "%s", error.text);
    ck_assert_int_eq(data->train_count, 60000);
    ck_assert_int_eq(data->test_count, 10000);
    ck_assert_str_eq(data->name, "fashion-mnist");
    static const int64_t even[10] = {1000, 1000, 1000, 1000, 1000,
                                     1000, 1000, 1000, 1000, 1000};
    expect_counts(data->test_y, 10000, even);
    qn_dataset_destroy(&data);
}
END_TEST

// ---- names ----

START_TEST(unknown_sets_name_the_nearest)
{
    expect_failure("digit", "digit", "did you mean digits?");
    expect_failure("fashion-mnits", "fashion", "did you mean fashion-mnist?");
    expect_failure("/nowhere/at/all", "/nowhere", "neither");
    expect_failure("", "data set", "name");
    char path[300];
    save_text("plain.txt", "hello");
    snprintf(path, sizeof path, "%s", qn_check_path("plain.txt"));
    expect_failure(path, "plain.txt", "name the folder");
    snprintf(path, sizeof path, "%s", qn_check_folder());
    remove(qn_check_path("plain.txt"));
    expect_failure(path, path, "no known data set");
}
END_TEST

START_TEST(named_set_lists_where_it_was_looked_for)
{
    char old[1000];
    ck_assert_ptr_nonnull(getcwd(old, sizeof old));
    ck_assert_int_eq(chdir(qn_check_folder()), 0);
    ck_assert_int_eq(setenv("XDG_DATA_HOME", qn_check_folder(), 1), 0);
    expect_failure("mnist", "data/mnist", "quern/mnist");
    // Then it is found, first in the data folder, then in ./data.
    save_set(false);
    qn_error error = {0};
    ck_assert_ok(qn_os_make_folder("quern", false, &error), error);
    ck_assert_int_eq(rename("set", "quern/mnist"), 0);
    qn_dataset *data = qn_dataset_open("mnist", &error);
    ck_assert_msg(data != NULL, "%s", error.text);
    ck_assert_str_eq(data->name, "mnist");
    ck_assert_ptr_nonnull(strstr(data->origin, "/quern/mnist"));
    qn_dataset_destroy(&data);
    save_set(false);
    ck_assert_ok(qn_os_make_folder("data", false, &error), error);
    ck_assert_int_eq(rename("set", "data/mnist"), 0);
    data = qn_dataset_open("mnist", &error);
    ck_assert_msg(data != NULL, "%s", error.text);
    ck_assert_ptr_nonnull(strstr(data->origin, "data/mnist"));
    ck_assert_ptr_null(strstr(data->origin, "quern/mnist"));
    ck_assert_int_eq(data->origin[0], '/');
    qn_dataset_destroy(&data);
    ck_assert_int_eq(chdir(old), 0);
}
END_TEST

START_TEST(table_of_sets_is_complete)
{
    int count = 0;
    for (const struct qn_dataset_row *row; (row = qn_dataset_row_at(count));
         count++) {
        ck_assert_uint_gt(strlen(row->name), 0);
        ck_assert_uint_gt(strlen(row->source), 0);
        ck_assert_uint_gt(strlen(row->files), 0);
    }
    ck_assert_int_eq(count, 4);
    ck_assert_ptr_null(qn_dataset_row_at(-1));
}
END_TEST

// ---- CSV ----

static void expect_csv(const char *text, int64_t columns, const char *want)
{
    qn_error error = {0};
    unsigned char *values = NULL;
    int64_t rows = 0;
    qn_status status = qn_csv_read("name", text, strlen(text), columns,
                                   &values, &rows, &error);
    ck_assert_msg(status == QN_FORMAT, "\"%s\" was accepted", text);
    ck_assert_ptr_null(values);
    ck_assert_msg(strstr(error.text, want) != NULL, "\"%s\" in \"%s\"", want,
                  error.text);
}

START_TEST(csv_reads_bytes_and_names_faults)
{
    static const char *const good[] = {"1,2,3\n4,5,255\n", "1,2,3\n4,5,255",
                                       " 1, 2,3\r\n4 ,5,\t255\r\n",
                                       "001,02,3\n4,5,0255\n"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        qn_error error = {0};
        unsigned char *values;
        int64_t rows;
        ck_assert_ok(qn_csv_read("name", good[i], strlen(good[i]), 3, &values,
                                 &rows, &error), error);
        ck_assert_int_eq(rows, 2);
        ck_assert_mem_eq(values, ((unsigned char[]){1, 2, 3, 4, 5, 255}), 6);
        free(values);
    }
    expect_csv("", 3, "empty");
    expect_csv("1,2,256\n", 3, "name:1: value 3");
    expect_csv("1,2,3\n1,-2,3\n", 3, "name:2: value 2");
    expect_csv("1,2,3\n1,x,3\n", 3, "name:2: value 2");
    expect_csv("1,2,3\n1,2.5,3\n", 3, "name:2: value 2");
    expect_csv("1,2,3\n1,,333\n", 3, "name:2: value 2");
    expect_csv("1,2,3\n11111,2\n", 3, "name:2: value 1");
    expect_csv("1,2,3\n111,222\n", 3, "name:2: has fewer");
    expect_csv("1,2,3,4\n1,2,3\n", 3, "name:1: has more");
    expect_csv("1,2,3\n1 2,3,4\n", 3, "name:2: value 1");
    expect_csv("99999999999999999999,1,2\n", 3, "name:1: value 1");
    expect_csv("\n\n\n\n", 3, "fewer than 3");
}
END_TEST

// ---- samples ----

START_TEST(samples_come_from_sets_and_files)
{
    qn_error error = {0};
    qn_shape shape = qn_shape_of(1, 8, 8);
    qn_dataset *digits = qn_dataset_open("digits", &error);
    qn_samples *samples = qn_samples_open("digits:7-9", &shape, &error);
    ck_assert_msg(samples != NULL, "%s", error.text);
    ck_assert_int_eq(samples->count, 3);
    ck_assert_mem_eq(samples->x, digits->test_x + 7 * 64, 3 * 64);
    ck_assert_mem_eq(samples->y, digits->test_y + 7, 3 * sizeof(int32_t));
    qn_samples_destroy(&samples);
    samples = qn_samples_open("digits:359", &shape, &error);
    ck_assert_msg(samples != NULL, "%s", error.text);
    ck_assert_int_eq(samples->count, 1);
    qn_samples_destroy(&samples);
    qn_dataset_destroy(&digits);

    shape = qn_shape_of(1, 2, 3);
    struct bytes images = make_images(10, 2, 3), packed = pack(&images);
    save("images", &images);
    save("images.gz", &packed);
    for (int i = 0; i < 2; i++) {
        samples = qn_samples_open(qn_check_path(i ? "images" : "images.gz"), &shape,
                                  &error);
        ck_assert_msg(samples != NULL, "%s", error.text);
        ck_assert_int_eq(samples->count, 10);
        ck_assert_mem_eq(samples->x, images.data + 16, 60);
        ck_assert_ptr_null(samples->y);
        qn_samples_destroy(&samples);
    }
}
END_TEST

START_TEST(samples_come_from_csv_with_and_without_labels)
{
    qn_error error = {0};
    qn_shape shape = qn_shape_of(1, 1, 3);
    save_text("x.csv", "1,2,3\n4,5,6\n");
    qn_samples *samples = qn_samples_open(qn_check_path("x.csv"), &shape, &error);
    ck_assert_msg(samples != NULL, "%s", error.text);
    ck_assert_ptr_null(samples->y);
    ck_assert_mem_eq(samples->x, ((unsigned char[]){1, 2, 3, 4, 5, 6}), 6);
    qn_samples_destroy(&samples);
    save_text("xy.csv", "1,2,3,7\n4,5,6,9\n");
    samples = qn_samples_open(qn_check_path("xy.csv"), &shape, &error);
    ck_assert_msg(samples != NULL, "%s", error.text);
    ck_assert_mem_eq(samples->x, ((unsigned char[]){1, 2, 3, 4, 5, 6}), 6);
    ck_assert_int_eq(samples->y[0], 7);
    ck_assert_int_eq(samples->y[1], 9);
    qn_samples_destroy(&samples);
}
END_TEST

START_TEST(samples_that_do_not_fit_are_refused)
{
    static const struct {
        const char *text, *want;
    } cases[] = {{"digits:360", "0 to 359"}, {"digits:9-7", "0 to 359"},
                 {"digits:99999999999999999999", "0 to 359"},
                 {"digits:x", "digits:x"}, {"digits:", "digits:"},
                 {"digit:5", "did you mean digits?"},
                 {"nowhere.idx", "nowhere.idx"}};
    qn_shape shape = qn_shape_of(1, 8, 8);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qn_error error = {0};
        qn_samples *samples = qn_samples_open(cases[i].text, &shape, &error);
        ck_assert_msg(samples == NULL, "%s was accepted", cases[i].text);
        ck_assert_msg(strstr(error.text, cases[i].want) != NULL,
                      "\"%s\" in \"%s\"", cases[i].want, error.text);
    }
    qn_error error = {0};
    shape = qn_shape_of(1, 28, 28);
    ck_assert_ptr_null(qn_samples_open("digits:5", &shape, &error));
    ck_assert_ptr_nonnull(strstr(error.text, "[1, 8, 8]"));
    ck_assert_ptr_nonnull(strstr(error.text, "[1, 28, 28]"));
    error = (qn_error){0};
    save_text("short.csv", "1,2,3\n");
    ck_assert_ptr_null(qn_samples_open(qn_check_path("short.csv"), &shape, &error));
    ck_assert_ptr_nonnull(strstr(error.text, "784"));
}
END_TEST

QN_CHECK_MAIN("data", digits_are_whole_and_split_evenly,
              digits_pixels_are_those_of_the_file,
              idx_folder_is_read_plain_and_packed, idx_wrong_magic_is_named,
              idx_every_cut_is_noticed, idx_late_cut_of_gzip_says_so,
              idx_damaged_gzip_is_noticed,
              idx_bytes_after_the_end_are_noticed,
              idx_huge_sizes_allocate_nothing,
              idx_zero_and_negative_dimensions_are_refused,
              idx_labels_out_of_range_are_named,
              idx_files_that_do_not_belong_together,
              idx_missing_file_is_named,
              idx_file_that_is_a_folder_is_an_error,
              mnist_is_as_published,
              fashion_mnist_is_found_where_debian_puts_it,
              unknown_sets_name_the_nearest,
              named_set_lists_where_it_was_looked_for,
              table_of_sets_is_complete, csv_reads_bytes_and_names_faults,
              samples_come_from_sets_and_files,
              samples_come_from_csv_with_and_without_labels,
              samples_that_do_not_fit_are_refused)
