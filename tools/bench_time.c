// Timing: subjects in turns, so that what disturbs the machine disturbs all of
// them alike; medians, so that single disturbances count little.
//
// Time is the host's clock around several enqueued runs and one wait. On PoCL
// it agrees with profiling events but for the wait, some 40 us a sample.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

enum {
    MIN_ROUNDS = 5,
    MAX_ROUNDS = 2000,
    MAX_RUNS = 4096,
};
static const double SAMPLE_SECONDS = 0.01;

// ---- samples ----

static qn_status time_runs(const struct bench *bench,
                           const struct subject *subject, int runs,
                           double *seconds, qn_error *error)
{
    if (subject->run(subject->thing, error) != QN_OK ||
        qn_device_finish(bench->device, error) != QN_OK)
        return error->status;
    const double start = seconds_now();
    for (int i = 0; i < runs; i++)
        if (subject->run(subject->thing, error) != QN_OK)
            return error->status;
    if (qn_device_finish(bench->device, error) != QN_OK)
        return error->status;
    *seconds = (seconds_now() - start) / runs;
    return QN_OK;
}

// Runs of a sample, enough to be timed well. The first ones compile.
static qn_status choose_runs(const struct bench *bench,
                             const struct subject *subject, int *runs,
                             qn_error *error)
{
    double seconds = 0;
    *runs = 1;
    for (int i = 0; i < 2; i++) {
        if (time_runs(bench, subject, *runs, &seconds, error) != QN_OK)
            return error->status;
        const double wanted = ceil(SAMPLE_SECONDS / seconds);
        *runs = wanted < 1 ? 1 : wanted < MAX_RUNS ? (int)wanted : MAX_RUNS;
    }
    return QN_OK;
}

// The first subject of a round is another one each time.
static qn_status take_round(const struct bench *bench,
                            struct subject *subjects, const int *runs,
                            int count, int round, qn_error *error)
{
    for (int i = 0; i < count; i++) {
        const int which = (round + i) % count;
        struct subject *subject = &subjects[which];
        if (time_runs(bench, subject, runs[which], &subject->seconds[round],
                      error) != QN_OK)
            return error->status;
    }
    return QN_OK;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_of(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, compare);
    return count % 2 ? values[count / 2]
                     : (values[count / 2 - 1] + values[count / 2]) / 2;
}

double share_of(const struct subject *subject, const struct subject *limit,
                int rounds)
{
    double ratios[MAX_ROUNDS];
    for (int i = 0; i < rounds; i++)
        ratios[i] = subject->work / subject->seconds[i] /
                    (limit->work / limit->seconds[i]);
    return median_of(ratios, rounds);
}

static int allocate(struct subject *subjects, int count)
{
    bool good = true;
    for (int i = 0; i < count; i++) {
        subjects[i].seconds = calloc(MAX_ROUNDS, sizeof(double));
        good &= subjects[i].seconds != NULL;
    }
    return good ? EXIT_DONE : fail("no memory for the times");
}

int time_subjects(const struct bench *bench, struct subject *subjects,
                  int count, double limit, int *rounds)
{
    qn_error error = {0};
    int runs[8];
    int status = allocate(subjects, count);
    for (int i = 0; i < count && status == EXIT_DONE; i++)
        if (choose_runs(bench, &subjects[i], &runs[i], &error) != QN_OK)
            status = fail_with(bench->command, &error);
    const double end = seconds_now() + limit;
    *rounds = 0;
    while (status == EXIT_DONE && *rounds < MAX_ROUNDS &&
           (*rounds < MIN_ROUNDS || seconds_now() < end)) {
        if (is_interrupted())
            status = fail("interrupted");
        else if (take_round(bench, subjects, runs, count, *rounds, &error) !=
                 QN_OK)
            status = fail_with(bench->command, &error);
        ++*rounds;
    }
    double sorted[MAX_ROUNDS];
    for (int i = 0; i < count && status == EXIT_DONE; i++) {
        memcpy(sorted, subjects[i].seconds,
               (size_t)*rounds * sizeof *sorted);
        subjects[i].median = median_of(sorted, *rounds);
    }
    if (status != EXIT_DONE)
        finish_subjects(subjects, count);
    return status;
}

void finish_subjects(struct subject *subjects, int count)
{
    for (int i = 0; i < count; i++) {
        free(subjects[i].seconds);
        subjects[i].seconds = NULL;
    }
}

// ---- the device's limits ----

static qn_status run_gauge(void *thing, qn_error *error)
{
    return qn_gauge_run(thing, error);
}

// The size, or what the device allocates at most for each array.
static int64_t fitting_size(const qn_device *device, qn_gauge_kind kind,
                            int64_t size)
{
    const uint64_t each = qn_device_describe(device)->max_alloc_size;
    const uint64_t most = kind == QN_GAUGE_COPY ? 2 * each : each;
    return kind == QN_GAUGE_FMA || (uint64_t)size < most ? size
                                                         : (int64_t)most;
}

qn_gauge *open_gauge(const struct bench *bench, qn_gauge_kind kind,
                     int64_t size, struct subject *subject, int *status)
{
    qn_error error = {0};
    size = fitting_size(bench->device, kind, size);
    qn_gauge *gauge = qn_gauge_create(bench->device, kind, size, &error);
    if (gauge)
        *subject = (struct subject){
            .run = run_gauge, .thing = gauge, .work = qn_gauge_work(gauge)};
    else
        *status = fail_with(bench->command, &error);
    return gauge;
}

enum { LIMITS = 3 };

int measure_limits(const struct bench *bench, int64_t size, double seconds,
                   json_t **limits)
{
    const qn_gauge_kind kinds[LIMITS] = {QN_GAUGE_FMA, QN_GAUGE_COPY,
                                         QN_GAUGE_IN_PLACE};
    // Operations of some milliseconds on a few cores.
    const int64_t sizes[LIMITS] = {INT64_C(1) << 30, size, size};
    qn_gauge *gauges[LIMITS] = {NULL};
    struct subject subjects[LIMITS];
    int status = EXIT_DONE, rounds = 0;
    for (int i = 0; i < LIMITS && status == EXIT_DONE; i++)
        gauges[i] =
            open_gauge(bench, kinds[i], sizes[i], &subjects[i], &status);
    if (status == EXIT_DONE)
        status = time_subjects(bench, subjects, LIMITS, seconds, &rounds);
    if (status == EXIT_DONE) {
        double rate[LIMITS];
        for (int i = 0; i < LIMITS; i++)
            rate[i] = 1e-9 * subjects[i].work / subjects[i].median;
        say_fact(bench->quiet, "limits",
                 "%.0f GFLOP/s of multiply-adds; copy %.1f GB/s, in place "
                 "%.1f GB/s over %.0f MB", rate[0], rate[1], rate[2],
                 1e-6 * (double)size);
        *limits = json_pack("{sf sf sf sI si}", "fma_gflops", rate[0],
                            "copy_gbps", rate[1], "in_place_gbps", rate[2],
                            "bytes", (json_int_t)size, "rounds", rounds);
        finish_subjects(subjects, LIMITS);
    }
    for (int i = 0; i < LIMITS; i++)
        qn_gauge_destroy(&gauges[i]);
    return status;
}
