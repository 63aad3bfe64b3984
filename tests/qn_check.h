// A thin layer over libcheck: one suite an executable, its device, random
// numbers, comparison of arrays.
#ifndef QN_CHECK_H
#define QN_CHECK_H

#include <check.h>
#include <stdbool.h>
#include <stdint.h>

#include "quern/data.h"
#include "quern/device.h"
#include "quern/nn.h"

// Runs the tests (names given to START_TEST) and returns main's exit status.
// Device suites run with CK_FORK=no, since OpenCL does not survive a fork.
int qn_check_run(const char *suite, const TTest *const *tests, int count);
// The same for one test that runs with _i = 0 to count - 1.
int qn_check_run_loop(const char *suite, const TTest *test, int count);
#define QN_CHECK_MAIN(suite, ...)                                      \
    int main(void)                                                     \
    {                                                                  \
        const TTest *const tests[] = {__VA_ARGS__};                    \
        return qn_check_run(suite, tests,                              \
                            (int)(sizeof tests / sizeof *tests));      \
    }

// The device of this suite, opened at first use by QUERN_DEVICE; a missing
// device is a failure. Closed by qn_check_run.
qn_device *qn_check_device(void);
// Closes it and forgets it, so that the next use opens it anew.
void qn_check_close_device(void);

// Deterministic random numbers.
struct qn_check_rng {
    uint64_t state;
};
double qn_check_uniform(struct qn_check_rng *rng, double low, double high);
int64_t qn_check_integer(struct qn_check_rng *rng, int64_t low, int64_t high);

// Folder made for this test process, removed at the end.
const char *qn_check_folder(void);
// A path in it; eight live at a time.
const char *qn_check_path(const char *name);

// The first samples of the digits. They belong to the suite.
qn_dataset qn_check_digits(int64_t train_count, int64_t test_count);
// The caller destroys it.
qn_model *qn_check_model(const char *text);

// |got - want| <= atol + rtol |want| for each element, NaN equals NaN. Fails
// with the worst element's index and both values.
void qn_check_close(const char *what, const double *got, const double *want,
                    int64_t count, double rtol, double atol);

// A call that must succeed; prints the error's text where it does not.
#define ck_assert_ok(expression, error)                                   \
    ck_assert_msg((expression) == QN_OK, "%s: %s", #expression,           \
                  (error).text)

#endif
