// quern train: sets a run up, shows how it goes, prints its result.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "around.h"
#include "bar.h"
#include "command.h"
#include "lr_range.h"

enum { PATH_SIZE = 1024, RUNS_MAX = 100000 };

struct options {
    const char *data, *device, *out, *resume, *optimizer, *loss, *on_nan;
    const char *schedule, *momentum_schedule, *lr_range;
    double lr, momentum, weight_decay, l1, l2;
    int64_t epochs, batch_size, micro_batch, seed, checkpoint_every, steps, log_every;
    bool json, quiet, profile, proximal, micro_statistics, strict;
    struct around around;
};

// All that a run needs, in the order in which it is opened.
struct job {
    const struct command *command;
    const char *model_text; // NULL with --resume
    struct options options;
    struct flag *flags;
    qn_run *run;
    qn_model *model;
    qn_dataset *dataset;
    qn_device *device;
    struct qn_fit_params params;
    char out[PATH_SIZE];
};

static bool is_given(const struct job *job, const char *name)
{
    const struct flag *flag = job->flags;
    while (strcmp(flag->name, name) != 0)
        flag++;
    return flag->given;
}

// ---- the run folder ----

// "512-relu-10 --data digits" gives "512-relu-10-digits": letters that every
// file system takes, not too many.
static void make_run_name(const char *model, const char *data, char *name,
                          size_t size)
{
    size_t used = 0;
    const char *slash = strrchr(model, '/');
    const char *parts[] = {slash ? slash + 1 : model, "-", data};
    for (int i = 0; i < 3; i++)
        for (const char *c = parts[i]; *c && used + 1 < size; c++) {
            bool is_plain = (*c >= '0' && *c <= '9') || *c == '.' ||
                            ((*c | 32) >= 'a' && (*c | 32) <= 'z');
            char next = '-';
            if (is_plain)
                next = *c;
            if (next != '-' || (used && name[used - 1] != '-'))
                name[used++] = next;
        }
    name[used] = 0;
}

// runs/NAME-1 or the first number that is free.
static bool make_run_folder(struct job *job, int *status)
{
    char name[128];
    bool exists;
    make_run_name(job->model_text, job->dataset->name, name, sizeof name);
    make_new_folder("runs", &exists);
    for (int i = 1; i < RUNS_MAX; i++) {
        snprintf(job->out, sizeof job->out, "runs/%s-%d", name, i);
        if (make_new_folder(job->out, &exists))
            return true;
        if (!exists)
            break;
    }
    *status = fail("cannot make the folder %s; name another by --out",
                   job->out);
    return false;
}

static bool choose_folder(struct job *job, int *status)
{
    if (job->options.out) {
        if (snprintf(job->out, sizeof job->out, "%s", job->options.out) >=
            (int)sizeof job->out) {
            *status = fail("--out: the path is too long");
            return false;
        }
    } else if (job->run) {
        // The folder of the checkpoint.
        snprintf(job->out, sizeof job->out, "%s", job->params.resume);
        char *slash = strrchr(job->out, '/');
        strcpy(slash ? slash + (slash == job->out) : job->out,
               slash ? "" : ".");
    } else if (!make_run_folder(job, status)) {
        return false;
    }
    job->params.out = job->out;
    return true;
}

// ---- setting up ----

// Flags that were given replace what the run or the library has; a run that
// goes on refuses what differs.
static void set_params(struct job *job)
{
    const struct options *options = &job->options;
    struct qn_fit_params *params = &job->params;
    *params = job->run ? *qn_run_params(job->run) : qn_fit_defaults();
    params->model = job->model;
    params->dataset = job->dataset;
    if (job->model_text)
        params->label = job->model_text;
    if (is_given(job, "epochs"))
        params->epochs = (int)options->epochs;
    if (is_given(job, "batch-size"))
        params->batch_size = options->batch_size;
    if (is_given(job, "micro-batch"))
        params->micro_batch = options->micro_batch;
    if (is_given(job, "allow-micro-statistics"))
        params->allow_micro_statistics = options->micro_statistics;
    params->strict = options->strict;
    if (is_given(job, "optimizer"))
        params->optimizer = options->optimizer;
    if (is_given(job, "loss"))
        params->loss = options->loss;
    if (is_given(job, "lr"))
        params->lr = options->lr;
    if (is_given(job, "schedule"))
        params->schedule = options->schedule;
    if (is_given(job, "momentum-schedule"))
        params->momentum_schedule = options->momentum_schedule;
    if (is_given(job, "momentum"))
        params->momentum = options->momentum;
    if (is_given(job, "weight-decay"))
        params->weight_decay = options->weight_decay;
    if (is_given(job, "l1"))
        params->l1 = options->l1;
    if (is_given(job, "l2"))
        params->l2 = options->l2;
    if (is_given(job, "proximal"))
        params->proximal = options->proximal;
    if (is_given(job, "on-nan"))
        params->on_nan = options->on_nan;
    if (is_given(job, "seed"))
        params->seed = (uint64_t)options->seed;
    if (is_given(job, "checkpoint-every"))
        params->checkpoint_every = options->checkpoint_every;
    if (is_given(job, "steps"))
        params->max_steps = options->steps;
    if (is_given(job, "log-every"))
        params->log_every = options->log_every;
}

static bool open_inputs(struct job *job, int *status)
{
    const struct command *command = job->command;
    const struct options *options = &job->options;
    if (options->resume &&
        !(job->run = open_run(command, options->resume, status)))
        return false;
    const char *model = job->model_text;
    const char *data = options->data ? options->data : "digits";
    if (job->run && !model)
        model = qn_run_model(job->run);
    if (job->run && !options->data)
        data = qn_run_data(job->run);
    return (job->model = open_model(command, model, status)) &&
           (job->dataset = open_dataset(command, data, status));
}

// "adam with a rate of 0.001, batches of 128, 5 epochs, seed 1"
static void say_schedule(const struct job *job, const char *label,
                         const char *schedule)
{
    struct qn_schedule_params params;
    char *text = NULL;
    // A run that goes on has it as JSON.
    if (schedule && qn_schedule_parse(schedule, &params, NULL) == QN_OK)
        text = qn_schedule_write(&params);
    if (text && strcmp(text, "constant") != 0)
        say_fact(job->options.quiet, label, "%s", text);
    free(text);
}

static void say_recipe(const struct job *job)
{
    const struct qn_fit_params *params = &job->params;
    char name[64];
    if (job->options.lr_range) {
        say_fact(job->options.quiet, "recipe",
                 "%s with rates of %s, batches of %lld, seed %llu",
                 params->optimizer, job->options.lr_range,
                 (long long)params->batch_size,
                 (unsigned long long)params->seed);
        return;
    }
    snprintf(name, sizeof name, "%.*s", (int)strcspn(params->optimizer, ":"),
             params->optimizer);
    const struct qn_optimizer *row = qn_optimizer_find(name);
    if (qn_minimizer_row_find(name))
        say_fact(job->options.quiet, "recipe",
                 "%s on all samples, %lld at a time, %d iterations, seed %llu",
                 job->run ? name : params->optimizer,
                 (long long)params->batch_size, params->epochs,
                 (unsigned long long)params->seed);
    if (row) // else the trainer will complain
        say_fact(job->options.quiet, "recipe",
                 "%s with a rate of %g, batches of %lld, %d epochs, seed "
                 "%llu", job->run ? name : params->optimizer,
                 params->lr > 0 ? params->lr : row->lr,
                 (long long)params->batch_size, params->epochs,
                 (unsigned long long)params->seed);
    say_schedule(job, "lr", params->schedule);
    say_schedule(job, "momentum", params->momentum_schedule);
}

static void say_setting(const struct job *job)
{
    const struct qn_fit_params *params = &job->params;
    const qn_dataset *data = job->dataset;
    bool quiet = job->options.quiet;
    char train[SHORT_TEXT], test[SHORT_TEXT], shape[64];
    say_device(quiet, job->device);
    say_fact(quiet, "data", "%s: %s samples for training, %s for testing, "
             "%s, %d classes", data->name,
             text_count(train, data->train_count),
             text_count(test, data->test_count),
             qn_shape_text(&data->shape, shape, sizeof shape), data->classes);
    say_fact(quiet, "model", "%s", params->label ? params->label : "?");
    say_recipe(job);
    say_fact(quiet, "run", "%s%s", job->out,
             job->run ? ", goes on" : "");
}

// ---- the result ----

static int print_result_json(const struct job *job,
                             const qn_fit_result *result)
{
    json_t *json = json_pack(
        "{ss ss? ss sI sI si sI sI so so so so so so so si so ss sb ss ss? so so}",
        "device",
        qn_device_describe(job->device)->name, "model", job->params.label,
        "data", job->dataset->name, "parameters",
        (json_int_t)result->parameters, "micro_batch",
        (json_int_t)result->micro_batch, "epochs", result->epochs, "steps",
        (json_int_t)result->steps, "skipped_steps",
        (json_int_t)result->skipped_steps, "seconds", json_number(result->seconds),
        "first_step_seconds",
        result->first_step_seconds > 0
            ? json_number(result->first_step_seconds)
            : json_null(),
        "samples_per_second", json_number(result->samples_per_second),
        "train_loss", json_number(result->train_loss), "train_accuracy",
        json_number(result->train_accuracy), "test_loss",
        json_number(result->test_loss), "test_accuracy",
        json_number(result->test_accuracy), "best_epoch", result->best_epoch,
        "best_test_accuracy",
        result->best_epoch ? json_number(result->best_test_accuracy)
                           : json_null(),
        "run", job->out, "interrupted", result->interrupted,
        "parameters_sha256", result->parameters_sha256, "stopped",
        result->stopped, "average_test_loss",
        json_number(result->average_test_loss), "average_test_accuracy",
        json_number(result->average_test_accuracy));
    return print_json(json);
}

static void print_result(const struct job *job, const qn_fit_result *result)
{
    char seconds[SHORT_TEXT];
    if (result->stopped)
        printf("converged after %d iterations: %s\n", result->epochs,
               result->stopped);
    else if (result->epochs < job->params.epochs && !result->interrupted)
        printf("stopped after %lld steps, as asked; go on by: quern train "
               "--resume %s\n", (long long)result->steps, job->out);
    if (result->skipped_steps)
        printf("%lld of %lld steps were skipped: their loss or gradient was "
               "not finite\n", (long long)result->skipped_steps,
               (long long)result->steps);
    if (result->epochs == 0)
        return;
    printf("test accuracy %.2f %%, test loss %.4f after %d epochs "
           "(best %.2f %% after epoch %d), %s s, %s\n",
           100 * result->test_accuracy, result->test_loss, result->epochs,
           100 * result->best_test_accuracy, result->best_epoch,
           (snprintf(seconds, sizeof seconds, "%.1f", result->seconds),
            seconds), job->out);
    if (!isnan(result->average_test_accuracy))
        printf("of the average of the parameters: test accuracy %.2f %%, "
               "test loss %.4f\n", 100 * result->average_test_accuracy,
               result->average_test_loss);
}

static void print_profile(qn_device *device)
{
    qn_profile_row rows[64];
    int count = qn_device_profile(device, rows, 64);
    double total = 0;
    count = count < 64 ? count : 64;
    for (int i = 0; i < count; i++)
        total += rows[i].seconds;
    fprintf(stderr, "%-32s%10s%10s%8s%10s%8s\n", "kernel", "launches", "ms",
            "share", "GFLOP/s", "GB/s");
    for (int i = 0; i < count; i++) {
        const qn_profile_row *row = &rows[i];
        fprintf(stderr, "%-32s%10lld%10.2f%6.1f %%", row->kernel,
                (long long)row->launches, 1e3 * row->seconds,
                total > 0 ? 100 * row->seconds / total : 0);
        if (row->flops > 0 && row->seconds > 0)
            fprintf(stderr, "%10.1f", 1e-9 * row->flops / row->seconds);
        else
            fprintf(stderr, "%10s", "");
        if (row->bytes > 0 && row->seconds > 0)
            fprintf(stderr, "%8.1f", 1e-9 * row->bytes / row->seconds);
        fputc('\n', stderr);
    }
}

// ---- running ----

static int on_progress(void *user, const qn_progress *progress)
{
    struct job *job = user;
    static int calls;
    // Before the first step there is nothing to save: Ctrl-C just ends.
    if (++calls == 2)
        catch_interrupts();
    // By now they lie on the device.
    if (calls == 2) {
        free(job->dataset->train_x);
        job->dataset->train_x = NULL;
    }
    if (!job->options.quiet)
        show_progress(progress);
    return is_interrupted();
}

static int finish_run(const struct job *job, qn_status status,
                      const qn_fit_result *result, const qn_error *error)
{
    int code = EXIT_DONE;
    clear_bar();
    if (status != QN_OK && status != QN_INTERRUPTED)
        return fail_with(job->command, error);
    if (job->options.profile)
        print_profile(job->device);
    if (status == QN_INTERRUPTED)
        code = fail("%s; go on by: quern train --resume %s", error->text,
                    job->out);
    if (job->options.json)
        return print_result_json(job, result) == EXIT_DONE ? code
                                                           : EXIT_FAILED;
    print_result(job, result);
    return code;
}

// Flags that a range test of learning rates has no use for.
static bool check_range_flags(const struct job *job, int *status)
{
    static const char *const others[] = {
        "lr", "epochs", "schedule", "momentum-schedule", "resume",
        "checkpoint-every", "log-every"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (is_given(job, others[i])) {
            *status = usage_error(job->command, "--lr-range tests rates: it "
                                  "takes no --%s", others[i]);
            return false;
        }
    const int64_t steps = job->options.steps;
    if (!is_given(job, "steps") ||
        (steps >= LR_RANGE_STEPS_MIN && steps <= LR_RANGE_STEPS_MAX))
        return true;
    *status = usage_error(job->command, "--steps %lld: --lr-range needs from "
                          "%d to %d", (long long)steps, LR_RANGE_STEPS_MIN,
                          LR_RANGE_STEPS_MAX);
    return false;
}

static int run_range(struct job *job)
{
    struct qn_lr_range range;
    qn_error error = {0};
    int code, steps = is_given(job, "steps") ? (int)job->options.steps
                                             : LR_RANGE_STEPS;
    struct lr_range_run run = {
        .model = job->params.label, .data = job->dataset->name,
        .device = qn_device_describe(job->device)->name, .out = job->out};
    read_lr_range(job->command, job->options.lr_range, &run, &code);
    qn_status status = qn_lr_range_run(job->device, &job->params, run.from,
                                       run.to, steps, &range, &error);
    clear_bar();
    if (status != QN_OK && status != QN_INTERRUPTED)
        return fail_with(job->command, &error);
    code = show_lr_range(&run, &range, job->options.json);
    qn_lr_range_finish(&range);
    if (job->options.profile)
        print_profile(job->device);
    return status == QN_OK ? code : fail("%s", error.text);
}

static int run_job(struct job *job)
{
    qn_fit_result result;
    struct lr_range_run asked;
    qn_error error = {0};
    int status = EXIT_FAILED;
    const char *lr_range = job->options.lr_range;
    if (lr_range &&
        (!check_range_flags(job, &status) ||
         !read_lr_range(job->command, lr_range, &asked, &status)))
        return status;
    if (!open_inputs(job, &status))
        return status;
    set_params(job);
    if (!set_around(&job->options.around, job->command, job->flags,
                    &job->params, &status))
        return status;
    if (qn_fit_check(&job->params, &error) != QN_OK)
        return fail_with(job->command, &error);
    job->device = open_device(job->command, job->options.device,
                              job->options.profile, &status);
    if (!job->device || !choose_folder(job, &status))
        return status;
    say_setting(job);
    job->params.progress = on_progress;
    job->params.user = job;
    if (lr_range)
        return run_range(job);
    qn_status outcome = qn_fit(job->device, &job->params, &result, &error);
    return finish_run(job, outcome, &result, &error);
}

static void close_all(struct job *job)
{
    qn_device_close(&job->device);
    qn_dataset_destroy(&job->dataset);
    qn_model_destroy(&job->model);
    qn_run_close(&job->run);
    free_around(&job->options.around);
}

static int check_words(struct job *job, const struct words *words)
{
    if (words->count > 1)
        return usage_error(job->command, "one MODEL, not also %s",
                           words->text[1]);
    if (words->count == 0 && !job->options.resume)
        return usage_error(job->command, "needs a MODEL, such as "
                                         "512-relu-10");
    job->model_text = words->count ? words->text[0] : NULL;
    return EXIT_DONE;
}

// ---- flags ----

enum { FLAGS_MAX = 80 };

static int add_flags(struct flag *flags, int count, const struct flag *more,
                     int more_count)
{
    memcpy(flags + count, more, (size_t)more_count * sizeof *more);
    return count + more_count;
}

// What is trained, and by which rules.
static int add_recipe_flags(struct options *o, struct flag *flags, int count)
{
    const struct flag more[] = {
        {"data", "D", "data set [digits]", FLAG_TEXT, &o->data, 0, 0, false},
        {"epochs", "N", "times through the data [10]", FLAG_COUNT, &o->epochs,
         1, 1e6, false},
        {"steps", "N", "end after N steps in all, also within an epoch",
         FLAG_COUNT, &o->steps, 0, 1e15, false},
        {"batch-size", "N", "samples a step [128]", FLAG_COUNT,
         &o->batch_size, 1, 1e9, false},
        {"micro-batch", "N",
         "samples at once; gradients are added up [as many as fit]",
         FLAG_COUNT, &o->micro_batch, 0, 1e9, false},
        {"allow-micro-statistics", NULL,
         "batch_norm may take its statistics over micro-batches", FLAG_SWITCH,
         &o->micro_statistics, 0, 0, false},
        {"strict", NULL, "too little memory is an error, not micro-batches",
         FLAG_SWITCH, &o->strict, 0, 0, false},
        {"optimizer", "O",
         "see quern list optimizers; adam:beta1=0.8,eps=1e-7 sets more [sgd]",
         FLAG_TEXT, &o->optimizer, 0, 0, false},
        {"lr", "F", "learning rate [the optimizer's]", FLAG_NUMBER, &o->lr,
         1e-30, 1e6, false},
        {"lr-range", "A:B", "try rates from A to B instead, such as 1e-6:1, "
         "in --steps steps [100], and draw the loss",
         FLAG_TEXT, &o->lr_range, 0, 0, false},
        {"schedule", "S",
         "of the learning rate, see quern list schedules [constant]; "
         "step:gamma=0.5 sets more, warmup+cosine puts a warm-up in front",
         FLAG_TEXT, &o->schedule, 0, 0, false},
        {"momentum-schedule", "S", "likewise, of the momentum or beta1",
         FLAG_TEXT, &o->momentum_schedule, 0, 0, false},
        {"momentum", "F", "of sgd or momentum [the optimizer's]",
         FLAG_NUMBER, &o->momentum, 0, 1, false},
        {"weight-decay", "F", "L2 penalty, as in PyTorch [0]", FLAG_NUMBER,
         &o->weight_decay, 0, 1e6, false},
        {"l1", "F", "penalty F sum |w| on weights [0]", FLAG_NUMBER, &o->l1,
         0, 1e6, false},
        {"l2", "F", "penalty F/2 sum w^2 on weights [0]", FLAG_NUMBER,
         &o->l2, 0, 1e6, false},
        {"proximal", NULL, "l1 by soft thresholding, to exact zeros",
         FLAG_SWITCH, &o->proximal, 0, 0, false},
        {"loss", "L", "see quern list losses [softmax_cross_entropy]; "
         "huber:delta=0.5 sets more",
         FLAG_TEXT, &o->loss, 0, 0, false},
    };
    return add_flags(flags, count, more, FLAG_COUNT_OF(more));
}

// What is repeatable, kept and shown.
static int add_run_flags(struct options *o, struct flag *flags, int count)
{
    const struct flag more[] = {
        {"on-nan", "WHAT", "stop at a loss or gradient that is not finite, or "
         "skip its step [stop]",
         FLAG_TEXT, &o->on_nan, 0, 0, false},
        {"seed", "N", "of first values, order of samples, draws [0]",
         FLAG_COUNT, &o->seed, 0, 4294967295.0, false},
        {"out", "DIR", "run folder [runs/MODEL-DATA-NUMBER]", FLAG_TEXT,
         &o->out, 0, 0, false},
        {"resume", "RUN", "go on with a run folder or checkpoint", FLAG_TEXT,
         &o->resume, 0, 0, false},
        {"checkpoint-every", "N", "save every N steps; each epoch's end always is",
         FLAG_COUNT, &o->checkpoint_every, 1, 1e15, false},
        {"log-every", "N", "write the loss of every Nth step to steps.jsonl",
         FLAG_COUNT, &o->log_every, 1, 1e15, false},
        FLAG_DEVICE(o->device),
        {"profile", NULL, "time every kernel and print a table", FLAG_SWITCH,
         &o->profile, 0, 0, false},
        FLAG_JSON(o->json),
        FLAG_QUIET(o->quiet),
    };
    return add_flags(flags, count, more, FLAG_COUNT_OF(more));
}

int run_train(const struct command *command, int argc, const char **argv)
{
    struct job job = {.command = command};
    struct options *o = &job.options;
    struct flag flags[FLAGS_MAX];
    struct words words;
    int status, count = add_recipe_flags(o, flags, 0);
    count = add_around_flags(&o->around, flags, count);
    count = add_run_flags(o, flags, count);
    if (!parse_flags(command, argc, argv, flags, count, &words, &status)) {
        free_around(&o->around);
        return status;
    }
    job.flags = flags;
    status = check_words(&job, &words);
    if (status == EXIT_DONE)
        status = run_job(&job);
    close_all(&job);
    free_words(&words);
    return status;
}
