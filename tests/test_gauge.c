// Gauges do the work that they say: every element copied or changed, every
// multiply-add computed.
#include <math.h>
#include <stdlib.h>

#include "device/gauge.h"
#include "device_help.h"
#include "qn_check.h"

static qn_gauge *make_gauge(qn_gauge_kind kind, int64_t size)
{
    qn_error error = {0};
    qn_gauge *gauge =
        qn_gauge_create(qn_check_device(), kind, size, &error);
    ck_assert_msg(gauge != NULL, "%s", error.text);
    return gauge;
}

static void run_once(qn_gauge *gauge)
{
    qn_error error = {0};
    ck_assert_ok(qn_gauge_run(gauge, &error), error);
    ck_assert_ok(qn_device_finish(qn_check_device(), &error), error);
}

// Sizes around what one item takes; elements are counted by 16.
static const int64_t sizes[] = {1, 64, 1000, 4096, 100000, 1 << 20};
enum { SIZE_COUNT = sizeof sizes / sizeof *sizes };

static void check_memory(bool is_copy, int64_t size)
{
    qn_gauge *gauge =
        make_gauge(is_copy ? QN_GAUGE_COPY : QN_GAUGE_IN_PLACE, size);
    const size_t bytes = qn_buffer_size(gauge->x);
    const size_t count = bytes / sizeof(float);
    const double arrays = is_copy ? 2 : 1;
    float *x = malloc(bytes), *y = malloc(bytes);
    ck_assert(x && y);
    ck_assert_double_eq(qn_gauge_work(gauge), 2.0 * (double)bytes);
    // At least one vector an array, at most the size asked for.
    ck_assert_double_ge((double)bytes * arrays + 63 * arrays, (double)size);
    ck_assert(bytes == 64 || (double)bytes * arrays <= (double)size);
    for (size_t i = 0; i < count; i++)
        x[i] = (float)(i % 8191) + 1;
    write_all(gauge->x, x);
    run_once(gauge);
    read_all(is_copy ? gauge->y : gauge->x, y);
    for (size_t i = 0; i < count; i++)
        ck_assert_msg(y[i] == (is_copy ? x[i] : -x[i]),
                      "element %zu of %zu is %g", i, count, (double)y[i]);
    free(x);
    free(y);
    qn_gauge_destroy(&gauge);
    ck_assert_ptr_null(gauge);
    qn_gauge_destroy(&gauge);
}

START_TEST(copy_takes_every_element)
{
    for (int i = 0; i < SIZE_COUNT; i++)
        check_memory(true, sizes[i]);
}
END_TEST

START_TEST(pass_in_place_changes_every_element_once)
{
    for (int i = 0; i < SIZE_COUNT; i++)
        check_memory(false, sizes[i]);
}
END_TEST

// After r rounds of v = s v + o a chain that began with v holds
// s^r v + o (1 - s^r) / (1 - s).
static double sum_of_chains(double first, int64_t rounds)
{
    const double power = pow(QN_GAUGE_SCALE, (double)rounds);
    double sum = 0;
    for (int k = 0; k < QN_GAUGE_CHAINS; k++)
        sum += power * (first + k) +
               QN_GAUGE_OFFSET * (1 - power) / (1 - QN_GAUGE_SCALE);
    return sum;
}

START_TEST(multiply_adds_are_computed)
{
    // Few rounds, so that each one shows in the result.
    qn_gauge *least = make_gauge(QN_GAUGE_FMA, 1);
    const int64_t each = (int64_t)qn_gauge_work(least);
    ck_assert_int_eq(least->rounds, 1);
    const size_t count = qn_buffer_size(least->y) / sizeof(float);
    ck_assert_double_eq((double)each, 2.0 * QN_GAUGE_CHAINS * (double)count);
    qn_gauge_destroy(&least);
    float *y = malloc(count * sizeof *y);
    ck_assert_ptr_nonnull(y);
    for (int64_t rounds = 1; rounds <= 5; rounds++) {
        qn_gauge *gauge = make_gauge(QN_GAUGE_FMA, rounds * each);
        ck_assert_int_eq(gauge->rounds, rounds);
        ck_assert_double_eq(qn_gauge_work(gauge), (double)(rounds * each));
        run_once(gauge);
        read_all(gauge->y, y);
        for (size_t i = 0; i < count; i++) {
            const double want = sum_of_chains((double)i, rounds);
            ck_assert_msg(fabs((double)y[i] - want) <= 1e-5 * want,
                          "element %zu after %lld rounds: %g, not %g", i,
                          (long long)rounds, (double)y[i], want);
        }
        qn_gauge_destroy(&gauge);
    }
    free(y);
}
END_TEST

START_TEST(wrong_sizes_are_refused)
{
    qn_error error = {0};
    qn_device *device = qn_check_device();
    ck_assert_ptr_null(qn_gauge_create(device, QN_GAUGE_COPY, 0, &error));
    ck_assert_int_eq(error.status, QN_BAD_ARGUMENT);
    expect_part(error.text, "size 0");
    const int64_t most = qn_device_limits(device)->max_alloc_size;
    error = (qn_error){0};
    ck_assert_ptr_null(
        qn_gauge_create(device, QN_GAUGE_IN_PLACE, most + 4096, &error));
    ck_assert_int_eq(error.status, QN_DEVICE);
    expect_part(error.text, "the gauge's memory");
}
END_TEST

QN_CHECK_MAIN("gauge", copy_takes_every_element,
              pass_in_place_changes_every_element_once,
              multiply_adds_are_computed, wrong_sizes_are_refused)
