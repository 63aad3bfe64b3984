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
    // Names with commas between; NULL: all, or the defaults.
    const char *optimizers, *shapes, *convs, *models;
    int64_t batch;    // samples of convolutions and steps
    int64_t elements; // of the largest tensor of each of ops, roughly
};

// A part by its name on the command line. `check` finds errors of usage before
// a device is opened; may be NULL. Both return an exit status.
struct bench_part {
    const char *name;
    // Runs before the limits are measured: it tells of the process's memory
    // and its time so far.
    bool is_early;
    int (*check)(const struct bench *bench);
    int (*run)(struct bench *bench);
};
int check_optim(const struct bench *bench);
int run_optim(struct bench *bench);
int check_gemm(const struct bench *bench);
int run_gemm(struct bench *bench);
int check_conv(const struct bench *bench);
int run_conv(struct bench *bench);
int run_ops(struct bench *bench);
int check_train(const struct bench *bench);
int run_train_steps(struct bench *bench);

// Copies the first name of a list into `name` and returns the rest of it, NULL
// after the last one.
const char *next_name(const char *list, char *name, size_t size);

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

// ---- work (bench_work.c) ----

// A graph, whose variables in the groups below are full of numbers, and its
// plan. Tensors are numbered as they are declared.
struct work {
    qn_graph *graph;
    qn_store *store;
    qn_plan *plan;
    const qn_node *output; // the first one
};
#define WORK_REALS "work"         // float32, from -1 to 1
#define WORK_LABEL_GROUP "labels" // int32, from 0 to below WORK_LABELS
#define WORK_BYTES "bytes"        // uint8
enum { WORK_LABELS = 10 };

qn_status work_begin(struct work *work, qn_error *error);
qn_node *work_tensor(struct work *work, const char *name, qn_shape shape);
// sum y dy, where dy is a tensor of its own, as what reaches y within a net;
// number WORK_DY. And its gradient to x. NULL after an error.
enum { WORK_DY = 1000 };
qn_node *work_loss(struct work *work, qn_node *y);
qn_node *work_gradient(struct work *work, qn_node *y, qn_node *x);
// Makes the plan. work_finish is needed also after a failure.
qn_status work_bind(struct work *work, const struct bench *bench,
                    qn_node *const *outputs, int count, qn_error *error);
void work_finish(struct work *work);
qn_status work_run(void *work, qn_error *error); // of a subject
// What its steps are carried out by: "matmul:tiled + pointwise".
char *work_kernel(const struct work *work, char *text, size_t size);

// Element `index` of a tensor of WORK_REALS.
float work_value(int tensor, int64_t index);
// Element `index` of the output, worked out in double precision.
typedef double work_reference(const void *what, int64_t index);
// Runs the work and compares some elements of the output: the largest
// difference over the largest magnitude.
qn_status work_check(const struct work *work, work_reference *want,
                     const void *what, double *result, qn_error *error);

struct product_time {
    double seconds;
    double gflops, fma_gflops;
    double share; // of the rate of multiply-adds
    int rounds;
};
// Times the work in turns with multiply-adds in registers. An exit status.
int time_product(const struct bench *bench, struct work *work,
                 double operations, double seconds,
                 struct product_time *time);

#endif
