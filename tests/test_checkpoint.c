// safetensors: what is written reads back, and nothing wrong is taken.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/hash.h"
#include "base/os.h"
#include "nn/safetensors.h"
#include "qn_check.h"
#include "quern/nn.h"

// ---- files in memory ----

struct bytes {
    unsigned char data[4096];
    size_t size;
};

static void write_length(unsigned char *at, uint64_t length)
{
    for (int i = 0; i < 8; i++)
        at[i] = (unsigned char)(length >> (8 * i));
}

// A file of this header and `data_size` bytes 0, 1, 2, ...
static struct bytes make_file(const char *header, size_t data_size)
{
    struct bytes file = {.size = 8 + strlen(header) + data_size};
    ck_assert_uint_le(file.size, sizeof file.data);
    write_length(file.data, strlen(header));
    memcpy(file.data + 8, header, strlen(header));
    for (size_t i = 0; i < data_size; i++)
        file.data[8 + strlen(header) + i] = (unsigned char)i;
    return file;
}

// Parses a copy of exact size, so that a sanitizer sees reads past its end.
static qn_status parse(const struct bytes *file, struct qn_safetensors *out,
                       qn_error *error)
{
    unsigned char *copy = malloc(file->size + 1);
    ck_assert_ptr_nonnull(copy);
    unsigned char *exact = realloc(copy, file->size ? file->size : 1);
    ck_assert_ptr_nonnull(exact);
    memcpy(exact, file->data, file->size);
    qn_status status =
        qn_safetensors_parse(exact, file->size, "f.safetensors", out, error);
    if (status == QN_OK)
        qn_safetensors_finish(out);
    free(exact);
    return status;
}

static void expect_failure(const struct bytes *file, qn_status status,
                           const char *text)
{
    struct qn_safetensors out;
    qn_error error = {0};
    qn_status got = parse(file, &out, &error);
    ck_assert_msg(got == status && strstr(error.text, text) &&
                      strstr(error.text, "f.safetensors"),
                  "should say \"%s\", got %s: %s", text, qn_status_name(got),
                  error.text);
}

#define T(dtype, shape, begin, end)                                       \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":["     \
    #begin "," #end "]}"

// Headers that must fail, with their data size and a part of the error's text.
static const struct {
    const char *header;
    size_t data_size;
    const char *text;
    qn_status status;
} bad[] = {
    {"", 0, "does not begin with {", QN_FORMAT},
    {"[]", 0, "does not begin with {", QN_FORMAT},
    {" {}", 0, "does not begin with {", QN_FORMAT},
    {"{\"a\"}", 0, "f.safetensors:1:", QN_FORMAT},
    {"{} {}", 0, "end of file expected", QN_FORMAT},
    {"{\"\xff\":1}", 0, "unable to decode byte 0xff", QN_FORMAT},
    {"{\"a\":" T("U8", "[1]", 0, 1) ",\"a\":" T("U8", "[1]", 1, 2) "}", 2,
     "duplicate", QN_FORMAT},
    {"{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0, "duplicate",
     QN_FORMAT},
    {"{\"__metadata__\":[]}", 0, "__metadata__ is no object", QN_FORMAT},
    {"{\"__metadata__\":{\"epoch\":3}}", 0, "\"epoch\" is no string",
     QN_FORMAT},
    {"{\"a\":7}", 0, "tensor \"a\" is no object", QN_FORMAT},
    {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
     "tensor \"a\" has no \"dtype\"", QN_FORMAT},
    {"{\"a\":{\"dtype\":32,\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
     "has no \"dtype\"", QN_FORMAT},
    {"{\"a\":" T("F33", "[1]", 0, 4) "}", 4, "unknown dtype \"F33\"",
     QN_FORMAT},
    {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4,
     "has no array \"shape\"", QN_FORMAT},
    {"{\"a\":" T("F32", "[1.0]", 0, 4) "}", 4, "dimension that is no whole",
     QN_FORMAT},
    {"{\"a\":" T("F32", "[-1]", 0, 4) "}", 4, "dimension that is no whole",
     QN_FORMAT},
    {"{\"a\":" T("F32", "[1,1,1,1,1,1,1]", 0, 4) "}", 4,
     "7 dimensions, more than 6", QN_UNSUPPORTED},
    {"{\"a\":" T("F32", "[4294967296,4294967296]", 0, 4) "}", 4,
     "product overflows", QN_FORMAT},
    {"{\"a\":" T("F64", "[4611686018427387904]", 0, 4) "}", 4,
     "but has 4 bytes", QN_FORMAT},
    {"{\"a\":" T("F32", "[99999999999999999999]", 0, 4) "}", 4,
     "too big integer", QN_FORMAT},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4,
     "needs \"data_offsets\" of two", QN_FORMAT},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4,
     "needs \"data_offsets\" of two", QN_FORMAT},
    {"{\"a\":" T("F32", "[1]", -4, 0) "}", 4, "needs \"data_offsets\" of two",
     QN_FORMAT},
    {"{\"a\":" T("F32", "[1]", 4, 0) "}", 4, "before it begins", QN_FORMAT},
    {"{\"a\":" T("F32", "[2]", 0, 8) "}", 7, "cut off", QN_FORMAT},
    {"{\"a\":" T("F32", "[3]", 0, 8) "}", 8, "is F32 [3] but has 8 bytes",
     QN_FORMAT},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],"
     "\"strides\":[1]}}",
     1, "unknown key \"strides\"", QN_FORMAT},
    {"{\"a\":" T("U8", "[4]", 0, 4) ",\"b\":" T("U8", "[4]", 2, 6) "}", 6,
     "\"b\" begins at byte 2 and overlaps \"a\"", QN_FORMAT},
    {"{\"a\":" T("U8", "[4]", 0, 4) ",\"b\":" T("U8", "[4]", 0, 4) "}", 4,
     "overlaps", QN_FORMAT},
    {"{\"a\":" T("U8", "[4]", 0, 4) ",\"b\":" T("U8", "[4]", 5, 9) "}", 9,
     "\"b\" begins at byte 5 and leaves a hole from byte 4", QN_FORMAT},
    {"{\"a\":" T("U8", "[4]", 1, 5) "}", 5, "a hole from byte 0", QN_FORMAT},
    {"{\"a\":" T("U8", "[4]", 0, 4) "}", 9, "5 bytes after the last",
     QN_FORMAT},
    {"{}", 1, "1 bytes after the last", QN_FORMAT},
    {"{\"__metadata__\":{\"quern.sha256\":\"0\"},\"a\":" T("U8", "[4]", 0,
                                                           4) "}",
     4, "data are damaged", QN_FORMAT},
};

START_TEST(wrong_headers_are_refused_each_with_its_reason)
{
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct bytes file = make_file(bad[i].header, bad[i].data_size);
        expect_failure(&file, bad[i].status, bad[i].text);
    }
}
END_TEST

START_TEST(wrong_lengths_are_refused)
{
    struct bytes file = make_file("{}", 0);
    for (file.size = 0; file.size < 8; file.size++)
        expect_failure(&file, QN_FORMAT, "no safetensors file");
    expect_failure(&file, QN_FORMAT, "cut off after 0");
    file.size = 9;
    expect_failure(&file, QN_FORMAT, "cut off after 1");
    file.size = 10;
    write_length(file.data, 100000001);
    expect_failure(&file, QN_FORMAT, "more than the 100000000 allowed");
    write_length(file.data, UINT64_MAX);
    expect_failure(&file, QN_FORMAT, "more than the 100000000 allowed");
}
END_TEST

START_TEST(deep_nesting_is_refused)
{
    char header[512] = "{\"a\":";
    memset(header + strlen(header), '[', 100);
    struct bytes file = make_file(header, 0);
    expect_failure(&file, QN_FORMAT, "nested more than 64");
    strcpy(header, "{\"a\":\"\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
                   "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"}");
    file = make_file(header, 0); // brackets in a string do not count
    expect_failure(&file, QN_FORMAT, "tensor \"a\" is no object");
}
END_TEST

// Every single byte changed, every truncation: never accepted with other data
// than written, since the hash covers these; never read out of bounds.
START_TEST(damage_is_noticed_or_harmless)
{
    const char *header =
        "{\"__metadata__\":{\"quern.sha256\":"
        "\"be45cb2605bf36bebde684841a28f0fd43c69850a3dce5fedba69928ee3a8991\""
        "},\"a\":" T("U8", "[2,2]", 0, 4) ",\"b\":" T("F32", "[1]", 4, 8)
        "}";
    struct bytes good = make_file(header, 8);
    struct qn_safetensors out;
    unsigned char digest[32];
    char hex[65];
    struct qn_sha256 hash;
    qn_sha256_init(&hash);
    qn_sha256_add(&hash, good.data + good.size - 8, 8);
    qn_sha256_finish(&hash, digest);
    qn_sha256_hex(digest, hex);
    memcpy(good.data + 8 + (strstr(header, "be45") - header), hex, 64);
    qn_error error = {0};
    ck_assert_ok(parse(&good, &out, &error), error);
    for (size_t size = 0; size < good.size; size++) {
        struct bytes cut = good;
        cut.size = size;
        ck_assert_int_ne(parse(&cut, &out, NULL), QN_OK);
    }
    for (size_t i = 0; i < good.size; i++)
        for (int bit = 0; bit < 8; bit++) {
            struct bytes flipped = good;
            flipped.data[i] ^= (unsigned char)(1 << bit);
            qn_status status = parse(&flipped, &out, NULL);
            if (i < 8 || i >= good.size - 8)
                ck_assert_int_ne(status, QN_OK);
        }
}
END_TEST

START_TEST(tensors_come_in_the_order_of_their_data)
{
    struct bytes file = make_file(
        "{\"b\":" T("F32", "[2]", 4, 12) ",\"none\":" T("F32", "[0,3]", 4, 4)
        ",\"a\":" T("I64", "[]", 12, 20) ",\"c\":" T("U8", "[4]", 0, 4)
        ",\"__metadata__\":{\"format\":\"pt\"}}   ", 20);
    struct qn_safetensors out;
    qn_error error = {0};
    ck_assert_ok(qn_safetensors_parse(file.data, file.size, "f", &out,
                                      &error),
                 error);
    const char *names[] = {"c", "none", "b", "a"};
    ck_assert_int_eq(out.count, 4);
    for (int i = 0; i < 4; i++)
        ck_assert_str_eq(out.tensors[i].name, names[i]);
    ck_assert(!out.tensors[3].is_supported);
    ck_assert_int_eq(out.tensors[3].shape.rank, 0);
    ck_assert_uint_eq(out.data[out.tensors[2].begin], 4);
    ck_assert_str_eq(qn_safetensors_note(&out, "format"), "pt");
    ck_assert_ptr_null(qn_safetensors_note(&out, "sha"));
    qn_safetensors_finish(&out);
}
END_TEST

START_TEST(missing_and_unreadable_files_are_named)
{
    qn_error error = {0};
    ck_assert_ptr_null(qn_checkpoint_open("/nowhere/x.safetensors", &error));
    ck_assert_int_eq(error.status, QN_IO);
    ck_assert_ptr_nonnull(strstr(error.text, "/nowhere/x.safetensors"));
    error = (qn_error){0};
    ck_assert_ptr_null(qn_checkpoint_open(qn_check_folder(), &error));
    ck_assert_int_eq(error.status, QN_IO);
}
END_TEST

// ---- stores ----

struct variable {
    const char *group;
    const char *name;
    qn_dtype dtype;
    int64_t rows, columns; // columns 0: a vector
};

static const struct variable usual[] = {
    {"parameters", "0.weight", QN_FLOAT32, 5, 3},
    {"parameters", "0.bias", QN_FLOAT32, 5, 0},
    {"optimizer.exp_avg", "0.weight", QN_FLOAT32, 5, 3},
    {"optimizer.exp_avg", "0.bias", QN_FLOAT32, 5, 0},
    {"trainer", "position", QN_INT32, 2, 0},
    {"buffers", "1.running_mean", QN_FLOAT32, 5, 0},
    {"flags", "seen", QN_UINT8, 7, 0},
    {"@data", "labels", QN_INT32, 9, 0},
};
enum { USUAL = sizeof usual / sizeof *usual };

static qn_store *make_store(const struct variable *variables, int count)
{
    qn_error error = {0};
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    for (int i = 0; i < count; i++) {
        const struct variable *v = &variables[i];
        qn_variable(g, v->group, v->name, v->dtype,
                    v->columns ? qn_shape_of(v->rows, v->columns)
                               : qn_shape_of(v->rows));
    }
    qn_store *store = qn_store_create(qn_check_device(), &error);
    ck_assert_msg(store != NULL, "%s", error.text);
    ck_assert_ok(qn_store_add(store, g, &error), error);
    qn_graph_destroy(&g);
    return store;
}

static size_t size_of(const qn_store *store, int index, qn_store_entry *entry)
{
    ck_assert_int_eq(qn_store_entry_at(store, index, entry), QN_OK);
    return (size_t)qn_shape_count(&entry->shape) *
           qn_dtype_size(entry->dtype);
}

// Fills each variable with bytes that depend on its place; byte 3 stays below
// the exponents of infinities, though the file would keep those too.
static void fill_store(qn_store *store)
{
    for (int i = 0; i < qn_store_count(store); i++) {
        qn_store_entry entry;
        unsigned char data[256];
        qn_error error = {0};
        size_t size = size_of(store, i, &entry);
        for (size_t k = 0; k < size; k++)
            data[k] = (unsigned char)(k % 4 == 3 ? 63 : 17 * i + 3 * k);
        ck_assert_ok(qn_store_write(store, i, data, size, &error), error);
    }
}

static bool is_filled(qn_store *store, int index)
{
    qn_store_entry entry;
    unsigned char data[256];
    qn_error error = {0};
    size_t size = size_of(store, index, &entry);
    ck_assert_ok(qn_store_read(store, index, data, size, &error), error);
    for (size_t k = 0; k < size; k++)
        if (data[k] != (unsigned char)(k % 4 == 3 ? 63 : 17 * index + 3 * k))
            return false;
    return true;
}

static void save_usual(const char *path)
{
    const struct qn_checkpoint_note notes[] = {{"epoch", "7"},
                                               {"model", "{\"a\": \"é\"}"}};
    qn_error error = {0};
    qn_store *store = make_store(usual, USUAL);
    fill_store(store);
    ck_assert_ok(qn_checkpoint_save(path, store, notes, 2, &error), error);
    qn_store_destroy(&store);
}

static qn_checkpoint *open_checkpoint(const char *path)
{
    qn_error error = {0};
    qn_checkpoint *checkpoint = qn_checkpoint_open(path, &error);
    ck_assert_msg(checkpoint != NULL, "%s", error.text);
    return checkpoint;
}

START_TEST(what_is_saved_loads_again)
{
    const char *path = qn_check_path("round.safetensors");
    save_usual(path);
    qn_checkpoint *checkpoint = open_checkpoint(path);
    ck_assert_str_eq(qn_checkpoint_note(checkpoint, "epoch"), "7");
    ck_assert_str_eq(qn_checkpoint_note(checkpoint, "model"),
                     "{\"a\": \"é\"}");
    ck_assert_str_eq(qn_checkpoint_note(checkpoint, "format"), "pt");
    qn_checkpoint_tensor tensor;
    int count = 0, plain = 0;
    while (qn_checkpoint_tensor_at(checkpoint, count, &tensor)) {
        ck_assert(tensor.is_supported);
        plain += strcmp(tensor.name, "0.weight") == 0 ||
                 strcmp(tensor.name, "1.running_mean") == 0;
        ck_assert_ptr_null(strstr(tensor.name, "labels"));
        count++;
    }
    ck_assert_int_eq(count, USUAL - 1);
    ck_assert_int_eq(plain, 2);
    qn_error error = {0};
    qn_store *store = make_store(usual, USUAL);
    ck_assert_ok(qn_checkpoint_load(checkpoint, store, false, &error), error);
    for (int i = 0; i < USUAL; i++)
        ck_assert(is_filled(store, i) == (usual[i].group[0] != '@'));
    qn_store_destroy(&store);
    qn_checkpoint_close(&checkpoint);
    ck_assert_ptr_null(checkpoint);
}
END_TEST

START_TEST(parameters_load_without_the_optimizer)
{
    const char *path = qn_check_path("part.safetensors");
    save_usual(path);
    qn_checkpoint *checkpoint = open_checkpoint(path);
    const struct variable some[] = {usual[0], usual[1], usual[4], usual[5],
                                    usual[6]};
    qn_error error = {0};
    qn_store *store = make_store(some, 5);
    ck_assert_ok(qn_checkpoint_load(checkpoint, store, true, &error), error);
    ck_assert(is_filled(store, 0) && is_filled(store, 1));
    qn_store_destroy(&store);
    store = make_store(usual, USUAL);
    ck_assert_ok(qn_checkpoint_load(checkpoint, store, true, &error), error);
    ck_assert(is_filled(store, 0) && !is_filled(store, 2));
    qn_store_destroy(&store);
    qn_checkpoint_close(&checkpoint);
}
END_TEST

// Loads `path` into a store that is not as the file is: an error that names
// the tensor, and not one byte written.
static void expect_refusal(const char *path, const struct variable *variables,
                           int count, qn_status status, const char *text)
{
    qn_error error = {0};
    qn_checkpoint *checkpoint = open_checkpoint(path);
    qn_store *store = make_store(variables, count);
    fill_store(store);
    qn_status got = qn_checkpoint_load(checkpoint, store, false, &error);
    ck_assert_msg(got == status && strstr(error.text, text) &&
                      strstr(error.text, path),
                  "should say \"%s\", got %s: %s", text, qn_status_name(got),
                  error.text);
    for (int i = 0; i < count; i++)
        ck_assert(is_filled(store, i));
    qn_store_destroy(&store);
    qn_checkpoint_close(&checkpoint);
}

START_TEST(other_networks_are_refused_whole)
{
    const char *path = qn_check_path("other.safetensors");
    struct variable v[USUAL + 1];
    save_usual(path);
    memcpy(v, usual, sizeof usual);
    v[USUAL] = (struct variable){"extra", "x", QN_FLOAT32, 1, 0};
    expect_refusal(path, v, USUAL + 1, QN_FORMAT,
                   "\"extra.x\", which the network needs, is not there");
    expect_refusal(path, v, USUAL - 2, QN_FORMAT,
                   "\"flags.seen\" has no place");
    v[1].rows = 6;
    expect_refusal(path, v, USUAL, QN_BAD_SHAPE,
                   "\"0.bias\" is F32 [5], the network needs F32 [6]");
    memcpy(v, usual, sizeof usual);
    v[6].dtype = QN_INT32;
    expect_refusal(path, v, USUAL, QN_BAD_SHAPE,
                   "\"flags.seen\" is U8 [7], the network needs I32 [7]");
}
END_TEST

static void write_file(const char *path, const struct bytes *file)
{
    qn_error error = {0};
    struct qn_os_part part = {file->data, file->size};
    ck_assert_ok(qn_os_replace_file(path, &part, 1, &error), error);
}

// As PyTorch's safetensors.torch.save_file writes it: no hash, any order.
START_TEST(files_of_pytorch_load_by_name)
{
    const char *path = qn_check_path("torch.safetensors");
    struct bytes file = make_file(
        "{\"__metadata__\":{\"format\":\"pt\"},\"0.bias\":"
        T("F32", "[5]", 0, 20) ",\"0.weight\":" T("F32", "[5,3]", 20, 80)
        "}", 80);
    write_file(path, &file);
    qn_error error = {0};
    qn_checkpoint *checkpoint = open_checkpoint(path);
    qn_store *store = make_store(usual, 2);
    ck_assert_ok(qn_checkpoint_load(checkpoint, store, false, &error), error);
    unsigned char weight[60];
    ck_assert_ok(qn_store_read(store, 0, weight, 60, &error), error);
    for (int i = 0; i < 60; i++)
        ck_assert_uint_eq(weight[i], 20 + i);
    qn_store_destroy(&store);
    qn_checkpoint_close(&checkpoint);
}
END_TEST

// Where the Python package is installed: it reads what we write, and we read
// what it writes, without one bit changed.
START_TEST(python_package_reads_ours_and_back)
{
    char ours[256], theirs[256], command[1024];
    snprintf(ours, sizeof ours, "%s", qn_check_path("ours.safetensors"));
    snprintf(theirs, sizeof theirs, "%s", qn_check_path("theirs.safetensors"));
    save_usual(ours);
    snprintf(command, sizeof command, "python3 '%s/safetensors_peer.py' '%s' "
             "'%s'", TESTS_FOLDER, ours, theirs);
    int result = system(command);
    if (WIFEXITED(result) && WEXITSTATUS(result) == 77) {
        printf("did not run: the Python package safetensors is not there\n");
        return;
    }
    ck_assert_int_eq(result, 0);
    qn_error error = {0};
    qn_checkpoint *checkpoint = open_checkpoint(theirs);
    qn_store *store = make_store(usual, USUAL);
    ck_assert_ok(qn_checkpoint_load(checkpoint, store, false, &error), error);
    for (int i = 0; i < USUAL - 1; i++)
        ck_assert(is_filled(store, i));
    qn_store_destroy(&store);
    qn_checkpoint_close(&checkpoint);
}
END_TEST

START_TEST(unsupported_types_are_named)
{
    static const struct {
        const char *header;
        size_t size;
        const char *type;
    } cases[] = {
        {"{\"0.bias\":" T("I64", "[5]", 0, 40) "}", 40, "I64"},
        {"{\"0.bias\":" T("F16", "[5]", 0, 10) "}", 10, "F16"},
        {"{\"0.bias\":" T("BF16", "[5]", 0, 10) "}", 10, "BF16"},
    };
    const char *path = qn_check_path("types.safetensors");
    for (int i = 0; i < 3; i++) {
        char text[100];
        struct bytes file = make_file(cases[i].header, cases[i].size);
        write_file(path, &file);
        snprintf(text, sizeof text, "\"0.bias\" has the unsupported dtype %s",
                 cases[i].type);
        expect_refusal(path, usual + 1, 1, QN_UNSUPPORTED, text);
    }
}
END_TEST

START_TEST(saving_replaces_and_failing_leaves_the_old_file)
{
    const char *path = qn_check_path("twice.safetensors");
    qn_error error = {0};
    save_usual(path);
    save_usual(path);
    qn_store *store = make_store(usual, USUAL);
    const struct qn_checkpoint_note twice[] = {{"a", "1"}, {"a", "2"}};
    ck_assert_int_eq(qn_checkpoint_save(path, store, twice, 2, &error),
                     QN_BAD_ARGUMENT);
    error = (qn_error){0};
    const struct qn_checkpoint_note wrong[] = {{"a", "\xff"}};
    ck_assert_int_eq(qn_checkpoint_save(path, store, wrong, 1, &error),
                     QN_BAD_ARGUMENT);
    qn_store_destroy(&store);
    // Two variables that would have one name in the file.
    const struct variable clash[] = {
        {"parameters", "a.b", QN_FLOAT32, 1, 0}, {"a", "b", QN_FLOAT32, 1, 0}};
    store = make_store(clash, 2);
    error = (qn_error){0};
    ck_assert_int_eq(qn_checkpoint_save(path, store, NULL, 0, &error),
                     QN_BAD_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(error.text, "two tensors are called \"a.b\""));
    qn_store_destroy(&store);
    qn_checkpoint *checkpoint = open_checkpoint(path);
    ck_assert_str_eq(qn_checkpoint_note(checkpoint, "epoch"), "7");
    qn_checkpoint_close(&checkpoint);
    error = (qn_error){0};
    store = make_store(usual, 2);
    ck_assert_int_eq(
        qn_checkpoint_save("/nowhere/x.safetensors", store, NULL, 0, &error),
        QN_IO);
    qn_store_destroy(&store);
}
END_TEST

START_TEST(hash_covers_parameters_alone)
{
    char first[65], second[65], third[65];
    qn_error error = {0};
    qn_store *store = make_store(usual, USUAL);
    ck_assert_ok(qn_store_hash(store, first, &error), error);
    int32_t position[2] = {3, 4};
    ck_assert_ok(qn_store_write(store, 4, position, sizeof position, &error),
                 error);
    ck_assert_ok(qn_store_hash(store, second, &error), error);
    ck_assert_str_eq(first, second);
    float bias[5] = {0, 0, 0, 0, 1};
    ck_assert_ok(qn_store_write(store, 1, bias, sizeof bias, &error), error);
    ck_assert_ok(qn_store_hash(store, third, &error), error);
    ck_assert_str_ne(first, third);
    qn_store_destroy(&store);
}
END_TEST

QN_CHECK_MAIN("checkpoint", wrong_headers_are_refused_each_with_its_reason,
              wrong_lengths_are_refused, deep_nesting_is_refused,
              damage_is_noticed_or_harmless,
              tensors_come_in_the_order_of_their_data,
              missing_and_unreadable_files_are_named,
              what_is_saved_loads_again, parameters_load_without_the_optimizer,
              other_networks_are_refused_whole, files_of_pytorch_load_by_name,
              python_package_reads_ours_and_back,
              unsupported_types_are_named,
              saving_replaces_and_failing_leaves_the_old_file,
              hash_covers_parameters_alone)
