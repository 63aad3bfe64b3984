// The reader of CIFAR's binary files: what is right comes in whole, what is
// wrong gives one error that names the file and the place in it.
#define _XOPEN_SOURCE 700

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/os.h"
#include "data/data.h"
#include "qn_check.h"

enum {
    PIXELS = 3072,
    RECORD = PIXELS + 1,
    EACH = 3, // records in a file
    FILES = 6,
    ROOM = (EACH + 2) * RECORD,
};

static const char *const names[FILES] = {
    "data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
    "data_batch_4.bin", "data_batch_5.bin", "test_batch.bin"};
static const char words[] = "airplane\nautomobile\nbird\ncat\ndeer\ndog\n"
                            "frog\nhorse\nship\ntruck\n\n";

// ---- making files ----

struct bytes {
    unsigned char data[ROOM];
    size_t size;
};

static int label_of(int file, int record)
{
    return (7 * file + 3 * record) % 10;
}

static unsigned char pixel_of(int file, int record, int i)
{
    return (unsigned char)(31 * file + 17 * record + i + i / 1024);
}

static struct bytes make_file(int file)
{
    struct bytes bytes = {.size = EACH * RECORD};
    for (int r = 0; r < EACH; r++) {
        bytes.data[r * RECORD] = (unsigned char)label_of(file, r);
        for (int i = 0; i < PIXELS; i++)
            bytes.data[r * RECORD + 1 + i] = pixel_of(file, r, i);
    }
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
    stream.avail_out = ROOM;
    ck_assert_int_eq(deflate(&stream, Z_FINISH), Z_STREAM_END);
    packed.size = stream.total_out;
    deflateEnd(&stream);
    return packed;
}

static void save(const char *name, const void *data, size_t size)
{
    FILE *file = fopen(qn_check_path(name), "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(data, 1, size, file), size);
    ck_assert_int_eq(fclose(file), 0);
}

// File number `which` of folder `set`, plain or packed, and not both.
static void save_file(int which, const struct bytes *bytes, bool packed)
{
    char name[64];
    snprintf(name, sizeof name, "set/%s%s", names[which],
             packed ? "" : ".gz");
    remove(qn_check_path(name));
    snprintf(name, sizeof name, "set/%s%s", names[which],
             packed ? ".gz" : "");
    save(name, bytes->data, bytes->size);
}

static const char *save_set(bool packed)
{
    static char folder[400];
    qn_error error = {0};
    snprintf(folder, sizeof folder, "%s", qn_check_path("set"));
    ck_assert_ok(qn_os_make_folder(folder, false, &error), error);
    for (int i = 0; i < FILES; i++) {
        struct bytes bytes = make_file(i);
        struct bytes zipped = pack(&bytes);
        save_file(i, packed ? &zipped : &bytes, packed);
    }
    save("set/batches.meta.txt", words, strlen(words));
    return folder;
}

// ---- expecting ----

static void expect_sample(const unsigned char *x, int32_t y, int file,
                          int record)
{
    ck_assert_int_eq(y, label_of(file, record));
    for (int i = 0; i < PIXELS; i++)
        ck_assert_int_eq(x[i], pixel_of(file, record, i));
}

static qn_dataset *open_well(const char *text)
{
    qn_error error = {0};
    qn_dataset *data = qn_dataset_open(text, &error);
    ck_assert_msg(data != NULL, "%s", error.text);
    return data;
}

static void expect_set(const char *text)
{
    qn_dataset *data = open_well(text);
    qn_shape shape = qn_shape_of(3, 32, 32);
    ck_assert(qn_shape_equal(&data->shape, &shape));
    ck_assert_int_eq(data->classes, 10);
    ck_assert_int_eq(data->train_count, 5 * EACH);
    ck_assert_int_eq(data->test_count, EACH);
    ck_assert(data->offset == 0 && data->scale == 1.0 / 255);
    for (int f = 0; f < 5; f++)
        for (int r = 0; r < EACH; r++) {
            int k = f * EACH + r;
            expect_sample(data->train_x + k * PIXELS, data->train_y[k], f, r);
        }
    for (int r = 0; r < EACH; r++)
        expect_sample(data->test_x + r * PIXELS, data->test_y[r], 5, r);
    ck_assert_str_eq(data->class_names[0], "airplane");
    ck_assert_str_eq(data->class_names[3], "cat");
    ck_assert_str_eq(data->class_names[9], "truck");
    qn_dataset_destroy(&data);
}

// Opening must fail, with `file` and `want` in one line of text.
static void expect_failure(const char *folder, const char *file,
                           const char *want)
{
    qn_error error = {0};
    qn_dataset *data = qn_dataset_open(folder, &error);
    ck_assert_msg(data == NULL, "%s was accepted; wanted: %s", folder, want);
    ck_assert_int_ne(error.status, QN_OK);
    ck_assert_msg(strstr(error.text, want) != NULL, "\"%s\" in \"%s\"", want,
                  error.text);
    ck_assert_msg(strstr(error.text, file) != NULL, "\"%s\" in \"%s\"", file,
                  error.text);
    ck_assert_ptr_null(strchr(error.text, '\n'));
}

static void expect_fault(int which, const struct bytes *bytes, bool packed,
                         const char *want)
{
    const char *folder = save_set(packed);
    save_file(which, bytes, packed);
    expect_failure(folder, names[which], want);
}

// ---- whole sets ----

START_TEST(set_is_read_plain_and_packed)
{
    expect_set(save_set(false));
    expect_set(save_set(true));
}
END_TEST

START_TEST(set_is_found_where_its_archive_unpacks)
{
    qn_error error = {0};
    const char *inner = "outer/cifar-10-batches-bin";
    ck_assert_ok(qn_os_make_folder(qn_check_path("outer"), false, &error), error);
    char set[400];
    snprintf(set, sizeof set, "%s", save_set(false));
    ck_assert_int_eq(rename(set, qn_check_path(inner)), 0);
    expect_set(qn_check_path("outer"));
    expect_set(qn_check_path(inner));
    // By its name, as all sets are.
    char old[1000];
    ck_assert_ptr_nonnull(getcwd(old, sizeof old));
    ck_assert_int_eq(chdir(qn_check_folder()), 0);
    ck_assert_ok(qn_os_make_folder("data", false, &error), error);
    ck_assert_int_eq(rename("outer", "data/cifar-10"), 0);
    expect_set("cifar-10");
    qn_dataset *data = open_well("cifar-10");
    ck_assert_str_eq(data->name, "cifar-10");
    ck_assert_ptr_nonnull(strstr(data->origin, "/data/cifar-10"));
    qn_dataset_destroy(&data);
    ck_assert_int_eq(chdir(old), 0);
}
END_TEST

START_TEST(class_names_are_optional_and_checked)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"", ":1: no name"},
        {"one\ntwo\n", ":3: no name"},
        {"a\n\nc\nd\ne\nf\ng\nh\ni\nj\n", ":2: no name"},
        {"a\nb\nc\nd\ne\nf\ng\nh\ni\n", ":10: no name"},
        {"a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\nk\n", ":12: more names"},
        {"a\nb\nc\nd\x1b[1m\ne\nf\ng\nh\ni\nj\n", ":4: no name"},
        {"a\nb\xff\nc\nd\ne\nf\ng\nh\ni\nj\n", ":2: no name"},
        {"0123456789012345678901234567890123456789012345678901234567890123\n",
         ":1: no name"},
    };
    const char *folder = save_set(false);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        save("set/batches.meta.txt", cases[i].text, strlen(cases[i].text));
        expect_failure(folder, "batches.meta.txt", cases[i].want);
    }
    const char dos[] = "a\r\nb\r\nc\r\nd\r\ne\r\nf\r\ng h\r\ni\r\nj\r\nk";
    save("set/batches.meta.txt", dos, strlen(dos));
    qn_dataset *data = open_well(folder);
    ck_assert_str_eq(data->class_names[6], "g h");
    ck_assert_str_eq(data->class_names[9], "k");
    qn_dataset_destroy(&data);
    ck_assert_int_eq(remove(qn_check_path("set/batches.meta.txt")), 0);
    data = open_well(folder);
    ck_assert_ptr_null(data->class_names);
    qn_dataset_destroy(&data);
}
END_TEST

// ---- damaged files ----

START_TEST(cut_files_are_noticed)
{
    static const size_t sizes[] = {1,          PIXELS,         RECORD + 1,
                                   2 * RECORD - 1, 2 * RECORD + 1,
                                   3 * RECORD - 1};
    char want[100];
    for (int which = 0; which < FILES; which++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            struct bytes bytes = make_file(which);
            bytes.size = sizes[i];
            snprintf(want, sizeof want, "%zu more from byte %zu on",
                     sizes[i] % RECORD, sizes[i] / RECORD * RECORD);
            expect_fault(which, &bytes, false, want);
            struct bytes packed = pack(&bytes);
            expect_fault(which, &packed, true, want);
        }
}
END_TEST

// Cut between two records, only the other files tell.
START_TEST(files_of_other_lengths_are_noticed)
{
    for (int which = 1; which < FILES; which++) {
        struct bytes bytes = make_file(which);
        bytes.size = 2 * RECORD;
        expect_fault(which, &bytes, false, "ends at byte 6146, after 2 ");
        bytes.size = 4 * RECORD;
        expect_fault(which, &bytes, false, "ends at byte 12292, after 4 ");
    }
    // The first one sets the measure, so the second is named with it.
    const char *folder = save_set(false);
    struct bytes bytes = make_file(0);
    bytes.size = RECORD;
    save_file(0, &bytes, false);
    expect_failure(folder, "data_batch_1.bin has 1", "data_batch_2.bin");
}
END_TEST

START_TEST(bytes_after_the_end_are_noticed)
{
    struct bytes bytes = make_file(2);
    bytes.size++;
    expect_fault(2, &bytes, false, "1 more from byte 9219 on");
    struct bytes packed = pack(&bytes);
    expect_fault(2, &packed, true, "1 more from byte 9219 on");
    bytes.size--;
    packed = pack(&bytes);
    memcpy(packed.data + packed.size, "xyz", 3);
    packed.size += 3;
    expect_fault(2, &packed, true, "");
}
END_TEST

START_TEST(empty_files_are_noticed)
{
    struct bytes bytes = {.size = 0};
    expect_fault(0, &bytes, false, "is empty");
    expect_fault(5, &bytes, true, "is empty");
    struct bytes packed = pack(&bytes);
    expect_fault(4, &packed, true, "is empty");
}
END_TEST

START_TEST(labels_out_of_range_are_named)
{
    for (int label = 10; label < 256; label += 35) {
        struct bytes bytes = make_file(3);
        char want[80];
        snprintf(want, sizeof want, "label %d of sample 2, at byte 6146",
                 label);
        bytes.data[2 * RECORD] = (unsigned char)label;
        expect_fault(3, &bytes, false, want);
        struct bytes packed = pack(&bytes);
        expect_fault(3, &packed, true, want);
    }
    struct bytes bytes = make_file(5);
    bytes.data[0] = 10;
    expect_fault(5, &bytes, false, "label 10 of sample 0, at byte 0,");
}
END_TEST

// What gzip itself ignores: the text flag, time, packer and system in its
// header, and the bits that fill up the last byte of the deflate stream.
static bool is_ignored(const struct bytes *packed, size_t at)
{
    return at == 3 || (at >= 4 && at < 10) || at == packed->size - 9;
}

START_TEST(damaged_gzip_is_noticed)
{
    struct bytes plain = make_file(0), packed = pack(&plain);
    const char *folder = save_set(true);
    for (size_t at = 0; at < packed.size; at++) {
        if (is_ignored(&packed, at))
            continue;
        struct bytes bad = packed;
        bad.data[at] ^= (unsigned char)(1 << (at % 8));
        save_file(0, &bad, true);
        expect_failure(folder, names[0], "");
    }
    for (size_t size = 0; size < packed.size; size++) {
        struct bytes bad = packed;
        bad.size = size;
        save_file(0, &bad, true);
        expect_failure(folder, names[0], "");
    }
}
END_TEST

// The size at the end of a gzip file is not believed.
START_TEST(announced_sizes_allocate_nothing)
{
    static const uint32_t sizes[] = {0xffffffff, 0x10000001, 0x10000000,
                                     0x00a00000};
    struct bytes plain = make_file(1), packed = pack(&plain);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct bytes bad = packed;
        for (int b = 0; b < 4; b++)
            bad.data[bad.size - 4 + (size_t)b] =
                (unsigned char)(sizes[i] >> (8 * b));
        expect_fault(1, &bad, true, "more than it can hold");
    }
}
END_TEST

START_TEST(missing_files_are_named)
{
    for (int i = 0; i < FILES; i++) {
        char name[64];
        const char *folder = save_set(true);
        snprintf(name, sizeof name, "set/%s.gz", names[i]);
        ck_assert_int_eq(remove(qn_check_path(name)), 0);
        expect_failure(folder, names[i], "has no");
    }
}
END_TEST

START_TEST(unreadable_files_are_named)
{
    const char *folder = save_set(false);
    char path[400];
    snprintf(path, sizeof path, "%s", qn_check_path("set/data_batch_4.bin"));
    if (geteuid() == 0) {
        // Root reads all; a link in a circle nobody reads.
        ck_assert_int_eq(remove(path), 0);
        ck_assert_int_eq(symlink("data_batch_4.bin", path), 0);
    } else {
        ck_assert_int_eq(chmod(path, 0), 0);
    }
    expect_failure(folder, "data_batch_4.bin", "");
    ck_assert_int_eq(remove(path), 0);
    // Nor is a folder a file.
    qn_error error = {0};
    ck_assert_ok(qn_os_make_folder(path, false, &error), error);
    expect_failure(folder, "data_batch_4.bin", "has no");
    ck_assert_int_eq(rmdir(path), 0);
}
END_TEST

// ---- samples to classify ----

START_TEST(samples_come_from_records)
{
    qn_error error = {0};
    qn_shape shape = qn_shape_of(3, 32, 32);
    struct bytes bytes = make_file(0);
    // Label and first pixel 0, as an IDX file begins.
    bytes.data[0] = bytes.data[1] = 0;
    struct bytes packed = pack(&bytes);
    save("x.bin", bytes.data, bytes.size);
    save("x.bin.gz", packed.data, packed.size);
    for (int i = 0; i < 2; i++) {
        qn_samples *samples = qn_samples_open(
            qn_check_path(i ? "x.bin.gz" : "x.bin"), &shape, &error);
        ck_assert_msg(samples != NULL, "%s", error.text);
        ck_assert_int_eq(samples->count, EACH);
        for (int r = 1; r < EACH; r++)
            expect_sample(samples->x + r * PIXELS, samples->y[r], 0, r);
        ck_assert_mem_eq(samples->x, bytes.data + 1, PIXELS);
        ck_assert_int_eq(samples->y[0], 0);
        qn_samples_destroy(&samples);
    }
    save("x.raw", bytes.data, 2 * PIXELS);
    qn_samples *samples = qn_samples_open(qn_check_path("x.raw"), &shape, &error);
    ck_assert_msg(samples != NULL, "%s", error.text);
    ck_assert_int_eq(samples->count, 2);
    ck_assert_mem_eq(samples->x, bytes.data, 2 * PIXELS);
    ck_assert_ptr_null(samples->y);
    qn_samples_destroy(&samples);
    snprintf((char *)bytes.data, ROOM, "%s:1-2", save_set(false));
    samples = qn_samples_open((char *)bytes.data, &shape, &error);
    ck_assert_msg(samples != NULL, "%s", error.text);
    ck_assert_int_eq(samples->count, 2);
    expect_sample(samples->x, samples->y[0], 5, 1);
    qn_samples_destroy(&samples);
}
END_TEST

START_TEST(samples_of_other_sizes_are_refused)
{
    static const struct {
        const char *name;
        size_t size;
        const char *want;
    } cases[] = {{"x.bin", PIXELS, "3072 more from byte 0"},
                 {"x.bin", 0, "is empty"},
                 {"x.raw", RECORD, "not whole samples of 3072"},
                 {"x.raw", 0, "not whole samples of 3072"}};
    qn_shape shape = qn_shape_of(3, 32, 32);
    struct bytes bytes = make_file(0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qn_error error = {0};
        save(cases[i].name, bytes.data, cases[i].size);
        ck_assert_ptr_null(
            qn_samples_open(qn_check_path(cases[i].name), &shape, &error));
        ck_assert_msg(strstr(error.text, cases[i].want) != NULL,
                      "\"%s\" in \"%s\"", cases[i].want, error.text);
        ck_assert_ptr_nonnull(strstr(error.text, cases[i].name));
    }
}
END_TEST

// ---- the real set, where it is ----

START_TEST(published_set_is_as_described)
{
    const char *root = getenv("QUERN_TEST_DATA");
    char folder[1000];
    snprintf(folder, sizeof folder, "%s/data/cifar-10", root ? root : "");
    if (!root || !*root || !qn_cifar_is_folder(folder)) {
        printf("did not run: QUERN_TEST_DATA names no folder with "
               "data/cifar-10/data_batch_1.bin\n");
        return;
    }
    qn_dataset *data = open_well(folder);
    ck_assert_int_eq(data->train_count, 50000);
    ck_assert_int_eq(data->test_count, 10000);
    int train[10] = {0}, test[10] = {0};
    for (int i = 0; i < 50000; i++)
        train[data->train_y[i]]++;
    for (int i = 0; i < 10000; i++)
        test[data->test_y[i]]++;
    for (int c = 0; c < 10; c++) {
        ck_assert_int_eq(train[c], 5000);
        ck_assert_int_eq(test[c], 1000);
    }
    // The means of red, green and blue that the literature gives; copies that
    // went through JPEG differ by less than the tolerance.
    static const double means[3] = {0.4914, 0.4822, 0.4465};
    for (int c = 0; c < 3; c++) {
        double sum = 0;
        for (int i = 0; i < 50000; i++)
            for (int k = 0; k < 1024; k++)
                sum += data->train_x[i * PIXELS + c * 1024 + k];
        ck_assert_double_eq_tol(sum / (50000.0 * 1024 * 255), means[c], 2e-3);
    }
    qn_dataset_destroy(&data);
}
END_TEST

QN_CHECK_MAIN("cifar", set_is_read_plain_and_packed,
              set_is_found_where_its_archive_unpacks,
              class_names_are_optional_and_checked, cut_files_are_noticed,
              files_of_other_lengths_are_noticed,
              bytes_after_the_end_are_noticed, empty_files_are_noticed,
              labels_out_of_range_are_named, damaged_gzip_is_noticed,
              announced_sizes_allocate_nothing, missing_files_are_named,
              unreadable_files_are_named, samples_come_from_records,
              samples_of_other_sizes_are_refused,
              published_set_is_as_described)
