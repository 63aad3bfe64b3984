// The reader of CIFAR-10: what is right comes in whole, what is wrong gives
// one error that names the file. Its files are mostly holes, so they cost
// little.
#define _XOPEN_SOURCE 700

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "data/data.h"
#include "qn_check.h"

enum { RECORD = 3073, BATCH = 10000, FILES = 6 };

static const char *const names[FILES] = {
    "data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
    "data_batch_4.bin", "data_batch_5.bin", "test_batch.bin"};

static const char *const classes = "airplane\nautomobile\nbird\ncat\ndeer\n"
                                   "dog\nfrog\nhorse\nship\ntruck\n";

static const char *path_of(const char *folder, const char *name)
{
    static char path[300];
    snprintf(path, sizeof path, "%s/%s%s", qn_check_folder(), folder, name);
    return path;
}

static void write_at(const char *path, long at, const void *data, size_t size)
{
    FILE *file = fopen(path, "r+b");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fseek(file, at, SEEK_SET), 0);
    ck_assert_uint_eq(fwrite(data, 1, size, file), size);
    ck_assert_int_eq(fclose(file), 0);
}

static void save_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

// Zeros, but for records 0 and 9999: labels f and 9, and pixels that tell the
// file and the colour.
static void save_batch(const char *folder, int f, long size)
{
    const char *path = path_of(folder, names[f]);
    unsigned char first[2] = {(unsigned char)f, (unsigned char)(10 * f + 1)};
    unsigned char last[2] = {(unsigned char)(10 * f + 2), 9};
    remove(path);
    save_text(path, "");
    ck_assert_int_eq(truncate(path, size), 0);
    write_at(path, 0, first, 2);
    write_at(path, 1024 + 1, &last[0], 1); // the first green pixel
    write_at(path, (BATCH - 1L) * RECORD, &last[1], 1);
    ck_assert_int_eq(truncate(path, size), 0);
}

// A good set in `folder`, "" or a name with a slash behind it.
static void save_set(const char *folder)
{
    for (int f = 0; f < FILES; f++)
        save_batch(folder, f, (long)BATCH * RECORD);
    save_text(path_of(folder, "batches.meta.txt"), classes);
}

static void expect_set(const char *text)
{
    qn_error error = {0};
    qn_dataset *data = qn_dataset_open(text, &error);
    ck_assert_msg(data != NULL, "%s", error.text);
    qn_shape shape = qn_shape_of(3, 32, 32);
    ck_assert(qn_shape_equal(&data->shape, &shape));
    ck_assert_int_eq(data->train_count, 50000);
    ck_assert_int_eq(data->test_count, 10000);
    ck_assert_int_eq(data->classes, 10);
    ck_assert(data->offset == 0 && data->scale == 1.0 / 255);
    for (int f = 0; f < FILES; f++) {
        const size_t first = f < 5 ? (size_t)f * BATCH : 0;
        const int32_t *y = (f < 5 ? data->train_y : data->test_y) + first;
        const unsigned char *x =
            (f < 5 ? data->train_x : data->test_x) + first * 3072;
        ck_assert_int_eq(y[0], f);
        ck_assert_int_eq(y[1], 0);
        ck_assert_int_eq(y[BATCH - 1], 9);
        ck_assert_uint_eq(x[0], 10 * f + 1);
        ck_assert_uint_eq(x[1], 0);
        ck_assert_uint_eq(x[1024], 10 * f + 2);
    }
    qn_dataset_destroy(&data);
}

static void expect_failure(const char *file, const char *want)
{
    qn_error error = {0};
    qn_dataset *data = qn_dataset_open(qn_check_folder(), &error);
    ck_assert_msg(data == NULL, "accepted; wanted: %s", want);
    ck_assert_int_ne(error.status, QN_OK);
    ck_assert_msg(strstr(error.text, want) != NULL, "\"%s\" in \"%s\"", want,
                  error.text);
    ck_assert_msg(strstr(error.text, file) != NULL, "\"%s\" in \"%s\"", file,
                  error.text);
    ck_assert_ptr_null(strchr(error.text, '\n'));
}

START_TEST(set_is_read_from_its_folder_or_the_archive_s)
{
    qn_error error = {0};
    save_set("");
    expect_set(qn_check_folder());
    for (int f = 0; f < FILES; f++)
        remove(path_of("", names[f]));
    remove(path_of("", "batches.meta.txt"));
    const char *inner = "cifar-10-batches-bin/";
    ck_assert_ok(qn_os_make_folder(path_of(inner, ""), false, &error), error);
    save_set(inner);
    expect_set(qn_check_folder());
    for (int f = 0; f < FILES; f++)
        remove(path_of(inner, names[f]));
    remove(path_of(inner, "batches.meta.txt"));
    rmdir(path_of(inner, ""));
}
END_TEST

START_TEST(classes_have_their_names)
{
    qn_error error = {0};
    save_set("");
    const char *path = path_of("", "batches.meta.txt");
    qn_dataset *data = qn_dataset_open(qn_check_folder(), &error);
    ck_assert_msg(data != NULL, "%s", error.text);
    ck_assert_str_eq(data->class_names[0], "airplane");
    ck_assert_str_eq(data->class_names[9], "truck");
    qn_dataset_destroy(&data);
    save_text(path, "a\r\nb\r\nc\r\nd\r\ne\r\nf\r\ng\r\nh\r\ni\r\nj\r\n\r\n");
    data = qn_dataset_open(qn_check_folder(), &error);
    ck_assert_msg(data != NULL, "%s", error.text);
    ck_assert_str_eq(data->class_names[9], "j");
    qn_dataset_destroy(&data);
    remove(path);
    data = qn_dataset_open(qn_check_folder(), &error);
    ck_assert_msg(data != NULL, "%s", error.text);
    ck_assert_ptr_null(data->class_names);
    qn_dataset_destroy(&data);
}
END_TEST

START_TEST(bad_names_are_refused)
{
    save_set("");
    const char *path = path_of("", "batches.meta.txt");
    save_text(path, "a\nb\nc\n");
    expect_failure("batches.meta.txt:4", "needs the name of class 3");
    save_text(path, "a\nb\n\nd\ne\nf\ng\nh\ni\nj\n");
    expect_failure("batches.meta.txt:3", "needs the name of class 2");
    save_text(path, "a\nbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\nc\nd\ne\nf\n");
    expect_failure("batches.meta.txt:2", "of 1 to 31 bytes");
    save_text(path, "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\n");
    expect_failure("batches.meta.txt", "more than 10 classes");
    save_text(path, classes);
}
END_TEST

START_TEST(files_of_another_size_are_refused)
{
    static const long sizes[] = {0, 1, RECORD, BATCH * (long)RECORD - 1,
                                 (BATCH - 1) * (long)RECORD,
                                 BATCH * (long)RECORD + 1};
    save_set("");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const int f = (int)i % FILES;
        char want[64];
        save_batch("", f, sizes[i]);
        snprintf(want, sizeof want, "has %ld bytes, not the 30730000",
                 sizes[i]);
        expect_failure(names[f], want);
        save_batch("", f, BATCH * (long)RECORD);
    }
    save_batch("", 5, 3 * BATCH * (long)RECORD);
    expect_failure(names[5], "has more than 61460000 bytes");
    save_batch("", 5, BATCH * (long)RECORD);
}
END_TEST

START_TEST(labels_out_of_range_are_named)
{
    save_set("");
    write_at(path_of("", names[2]), 1234L * RECORD, "\x0a", 1);
    expect_failure(names[2], "label 10 of record 1234 is out of range");
    save_batch("", 2, BATCH * (long)RECORD);
    write_at(path_of("", names[5]), 9999L * RECORD, "\xff", 1);
    expect_failure(names[5], "label 255 of record 9999 is out of range");
    save_batch("", 5, BATCH * (long)RECORD);
}
END_TEST

START_TEST(missing_files_are_named)
{
    save_set("");
    for (int f = 0; f < FILES; f++) {
        ck_assert_int_eq(remove(path_of("", names[f])), 0);
        expect_failure(names[f], "has no ");
        save_batch("", f, BATCH * (long)RECORD);
    }
}
END_TEST

// Where the set is: each class has its tenth of both parts.
START_TEST(classes_are_balanced_as_published)
{
    const char *root = getenv("QUERN_TEST_DATA");
    char folder[1000];
    snprintf(folder, sizeof folder, "%s/data/cifar-10", root ? root : "");
    if (!root || !qn_cifar_is_folder(folder)) {
        printf("did not run: %s has no CIFAR-10\n", folder);
        return;
    }
    qn_error error = {0};
    qn_dataset *data = qn_dataset_open(folder, &error);
    ck_assert_msg(data != NULL, "%s", error.text);
    int train[10] = {0}, test[10] = {0};
    for (int i = 0; i < 50000; i++)
        train[data->train_y[i]]++;
    for (int i = 0; i < 10000; i++)
        test[data->test_y[i]]++;
    for (int c = 0; c < 10; c++) {
        ck_assert_int_eq(train[c], 5000);
        ck_assert_int_eq(test[c], 1000);
    }
    qn_dataset_destroy(&data);
}
END_TEST

QN_CHECK_MAIN("cifar", set_is_read_from_its_folder_or_the_archive_s,
              classes_have_their_names, bad_names_are_refused,
              files_of_another_size_are_refused,
              labels_out_of_range_are_named, missing_files_are_named,
              classes_are_balanced_as_published)
