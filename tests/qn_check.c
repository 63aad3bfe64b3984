#define _XOPEN_SOURCE 700

#include "qn_check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static qn_device *device;
static qn_dataset *digits;
static char folder[64];

static void print_message(void *user, qn_log_level level, const char *message)
{
    (void)user;
    if (level <= QN_LOG_WARNING)
        fprintf(stderr, "%s\n", message);
}

qn_device *qn_check_device(void)
{
    if (device)
        return device;
    qn_error error = {0};
    struct qn_device_params params = {.log = {print_message, NULL}};
    device = qn_device_open(&params, &error);
    ck_assert_msg(device != NULL, "no device: %s", error.text);
    return device;
}

void qn_check_close_device(void)
{
    qn_device_close(&device);
}

double qn_check_uniform(struct qn_check_rng *rng, double low, double high)
{
    // splitmix64
    uint64_t z = rng->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return low + (high - low) * ((double)(z >> 11) * 0x1p-53);
}

int64_t qn_check_integer(struct qn_check_rng *rng, int64_t low, int64_t high)
{
    double x = qn_check_uniform(rng, (double)low, (double)high + 1);
    int64_t i = (int64_t)floor(x);
    return i > high ? high : i;
}

const char *qn_check_folder(void)
{
    if (!*folder) {
        snprintf(folder, sizeof folder, "/tmp/quern-test-XXXXXX");
        ck_assert(mkdtemp(folder) != NULL);
    }
    return folder;
}

const char *qn_check_path(const char *name)
{
    static char paths[8][400];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof *paths, "%s/%s", qn_check_folder(), name);
    return path;
}

qn_dataset qn_check_digits(int64_t train_count, int64_t test_count)
{
    qn_error error = {0};
    if (!digits)
        digits = qn_dataset_open("digits", &error);
    ck_assert_msg(digits != NULL, "%s", error.text);
    qn_dataset few = *digits;
    few.train_count = train_count;
    few.test_count = test_count;
    return few;
}

qn_model *qn_check_model(const char *text)
{
    qn_error error = {0};
    qn_model *model = qn_model_create(text, &error);
    ck_assert_msg(model != NULL, "%s: %s", text, error.text);
    return model;
}

void qn_check_close(const char *what, const double *got, const double *want,
                    int64_t count, double rtol, double atol)
{
    int64_t worst = -1;
    double most = 0;
    for (int64_t i = 0; i < count; i++) {
        if (isnan(got[i]) && isnan(want[i]))
            continue;
        double bound = atol + rtol * fabs(want[i]);
        double off = fabs(got[i] - want[i]);
        if (got[i] == want[i])
            off = 0;
        if (!(off <= bound) && !(off - bound <= most)) {
            most = isnan(off) ? HUGE_VAL : off - bound;
            worst = i;
        }
    }
    ck_assert_msg(worst < 0,
                  "%s: element %lld of %lld is %.9g, should be %.9g", what,
                  (long long)worst, (long long)count,
                  worst < 0 ? 0 : got[worst], worst < 0 ? 0 : want[worst]);
}

static int run(const char *name, TCase *tcase, int count)
{
    Suite *suite = suite_create(name);
    tcase_set_timeout(tcase, 900);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    qn_check_close_device();
    qn_dataset_destroy(&digits);
    if (*folder) {
        char command[128];
        snprintf(command, sizeof command, "rm -rf '%s'", folder);
        if (system(command) != 0)
            fprintf(stderr, "could not remove %s\n", folder);
    }
    return failed || count == 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int qn_check_run(const char *name, const TTest *const *tests, int count)
{
    TCase *tcase = tcase_create(name);
    for (int i = 0; i < count; i++)
        tcase_add_test(tcase, tests[i]);
    return run(name, tcase, count);
}

int qn_check_run_loop(const char *name, const TTest *test, int count)
{
    TCase *tcase = tcase_create(name);
    tcase_add_loop_test(tcase, test, 0, count);
    return run(name, tcase, count);
}
