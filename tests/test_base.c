// Hashes against published vectors, texts, arenas, shapes and layouts.
#include <string.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/text.h"
#include "qn_check.h"
#include "tensor/layout.h"

static void expect_sha256(const char *data, size_t size, size_t repeat,
                          const char *want)
{
    struct qn_sha256 hash;
    unsigned char digest[32];
    char hex[65];
    qn_sha256_init(&hash);
    for (size_t i = 0; i < repeat; i++)
        qn_sha256_add(&hash, data, size);
    qn_sha256_finish(&hash, digest);
    qn_sha256_hex(digest, hex);
    ck_assert_str_eq(hex, want);
}

// The examples of FIPS 180-4 as published by NIST.
START_TEST(sha256_gives_the_published_digests)
{
    expect_sha256("", 0, 1,
                  "e3b0c44298fc1c149afbf4c8996fb924"
                  "27ae41e4649b934ca495991b7852b855");
    expect_sha256("abc", 3, 1,
                  "ba7816bf8f01cfea414140de5dae2223"
                  "b00361a396177a9cb410ff61f20015ad");
    expect_sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                  56, 1,
                  "248d6a61d20638b8e5c026930c3e6039"
                  "a33ce45964ff2167f6ecedd419db06c1");
    expect_sha256("aaaaaaaaaa", 10, 100000,
                  "cdc76e5c9914fb9281a1c7e284d73e67"
                  "f1809a48a497200e046d39ccc7112cd0");
}
END_TEST

START_TEST(nearest_name_is_found_and_far_ones_are_not)
{
    const char *names[] = {"adam", "sgd", "momentum"};
    ck_assert_str_eq(qn_text_nearest("adma", names, 3), "adam");
    ck_assert_str_eq(qn_text_nearest("mometum", names, 3), "momentum");
    ck_assert_ptr_null(qn_text_nearest("zzzzzzzz", names, 3));
}
END_TEST

START_TEST(text_grows_past_its_first_block)
{
    struct qn_text text = {0};
    for (int i = 0; i < 1000; i++)
        qn_text_add(&text, "%03d,", i);
    ck_assert(!text.failed);
    ck_assert_uint_eq(text.length, 4000);
    ck_assert(memcmp(text.data + 3996, "999,", 5) == 0);
    qn_text_finish(&text);
}
END_TEST

START_TEST(arena_gives_zeroed_memory_of_any_size)
{
    struct qn_arena arena = {0};
    for (size_t size = 1; size < 100000; size = size * 3 + 1) {
        unsigned char *data = qn_arena_alloc(&arena, size);
        ck_assert_ptr_nonnull(data);
        for (size_t i = 0; i < size; i++)
            ck_assert_uint_eq(data[i], 0);
        memset(data, 0xff, size);
    }
    qn_arena_finish(&arena);
}
END_TEST

START_TEST(shapes_broadcast_as_in_numpy)
{
    qn_shape a = qn_shape_of(8, 1, 6, 1), b = qn_shape_of(7, 1, 5), out;
    qn_shape want = qn_shape_of(8, 7, 6, 5);
    ck_assert(qn_shape_broadcast(&a, &b, &out));
    ck_assert(qn_shape_equal(&out, &want));
    b = qn_shape_of(2, 6, 3);
    a = qn_shape_of(4, 6, 3);
    ck_assert(!qn_shape_broadcast(&a, &b, &out));
}
END_TEST

START_TEST(overflowing_shape_is_noticed)
{
    qn_shape big = qn_shape_of(INT64_MAX / 2, 3);
    ck_assert_int_eq(qn_shape_count(&big), -1);
}
END_TEST

START_TEST(layouts_collapse_where_all_walk_as_one)
{
    qn_shape shape = qn_shape_of(4, 3, 5), bias = qn_shape_of(3, 1);
    struct qn_layout layouts[2] = {qn_layout_contiguous(&shape)};
    struct qn_layout narrow = qn_layout_contiguous(&bias);
    layouts[1] = qn_layout_broadcast(&narrow, &shape);
    ck_assert(qn_layout_is_contiguous(&layouts[0]));
    ck_assert(!qn_layout_is_contiguous(&layouts[1]));
    qn_layouts_collapse(layouts, 1);
    ck_assert_int_eq(layouts[0].shape.rank, 1);
    ck_assert_int_eq(layouts[0].shape.dims[0], 60);
    layouts[0] = qn_layout_contiguous(&shape);
    qn_layouts_collapse(layouts, 2);
    ck_assert_int_eq(layouts[0].shape.rank, 3);
    ck_assert_int_eq(layouts[1].strides[1], 1);
}
END_TEST

QN_CHECK_MAIN("base", sha256_gives_the_published_digests,
              nearest_name_is_found_and_far_ones_are_not,
              text_grows_past_its_first_block,
              arena_gives_zeroed_memory_of_any_size,
              shapes_broadcast_as_in_numpy, overflowing_shape_is_noticed,
              layouts_collapse_where_all_walk_as_one)
