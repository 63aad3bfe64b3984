// What the parts of quern bench share: a part makes subjects, has them timed
// in turns with the device's own limit, and reports each as a result.
#ifndef BENCH_H
#define BENCH_H

#include "command.h"

struct bench {
    const struct command *command;
    qn_device *device;
    double seconds; // for all that is timed, roughly
    bool json, quiet;
    json_t *results; // array
    // what the flags of the parts say
    int64_t parameters;
    const char *optimizers; // names with commas between, NULL: all
};

// A part by its name on the command line. `check` finds errors of usage before
// a device is opened; may be NULL. Both return an exit status.
struct bench_part {
    const char *name;
    const char *summary;
    int (*check)(const struct bench *bench);
    int (*run)(struct bench *bench);
};
int check_optim(const struct bench *bench);
int run_optim(struct bench *bench);

// ---- timing (bench_time.c) ----

// Something that is enqueued again and again.
struct subject {
    qn_status (*run)(void *thing, qn_error *error);
    void *thing;
    double work;      // of one run: bytes, operations
    double *seconds;  // of one run, a sample for each round
    double median;    // of these
};

// Takes samples of all subjects in turns for about `limit` seconds. Each is the
// time of several runs, enqueued one after the other and waited for at the
// end, after one that does not count. An exit status; on EXIT_DONE the caller
// has finish_subjects.
int time_subjects(const struct bench *bench, struct subject *subjects,
                  int count, double limit, int *rounds);
void finish_subjects(struct subject *subjects, int count);
// Median over the rounds of the rate of `subject`, in work a second, divided
// by that of `limit`.
double share_of(const struct subject *subject, const struct subject *limit,
                int rounds);

// ---- the device's limits (bench_time.c) ----

// Subjects of a gauge. NULL on failure, `*status` is then the exit status.
qn_gauge *open_gauge(const struct bench *bench, qn_gauge_kind kind,
                     int64_t size, struct subject *subject, int *status);
// FMA rate, copy and pass in place over `size` bytes, as JSON.
int measure_limits(const struct bench *bench, int64_t size, double seconds,
                   json_t **limits);

#endif
