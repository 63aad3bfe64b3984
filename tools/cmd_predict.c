// quern predict: classes and their probabilities.
#include <stdio.h>
#include <stdlib.h>

#include "command.h"

struct options {
    const char *device;
    bool json, quiet, average;
};

// What stays the same for all inputs.
struct job {
    const struct command *command;
    struct options options;
    const qn_run *run;
    qn_device *device;
    qn_model *model;
    qn_store *store;
    json_t *predictions; // with --json
};

static int largest(const float *values, int count)
{
    int best = 0;
    for (int i = 1; i < count; i++)
        if (values[i] > values[best])
            best = i;
    return best;
}

static void add_json(struct job *job, const char *input,
                     const qn_samples *samples, int64_t i, const float *p,
                     const qn_dataset *like)
{
    json_t *all = json_array();
    int best = largest(p, like->classes);
    for (int c = 0; c < like->classes; c++)
        json_array_append_new(all, json_number((double)p[c]));
    json_array_append_new(
        job->predictions,
        json_pack("{ss sI si ss? so so so}", "input", input, "index",
                  (json_int_t)i, "class", best, "class_name",
                  like->class_names ? like->class_names[best] : NULL,
                  "probability",
                  json_number((double)p[best]), "label",
                  samples->y ? json_integer(samples->y[i]) : json_null(),
                  "probabilities", all));
}

// " 3 cat", or " 3" where classes have no names.
static void print_class(const qn_dataset *like, int class)
{
    printf(" %d", class);
    if (like->class_names && class < like->classes)
        printf(" %s", like->class_names[class]);
}

static void print_line(const char *input, const qn_samples *samples,
                       int64_t i, const float *p, const qn_dataset *like)
{
    int best = largest(p, like->classes);
    printf("%s", input);
    if (samples->count > 1)
        printf(" #%lld", (long long)i);
    putchar(':');
    print_class(like, best);
    printf(" (%.1f %%)", 100 * (double)p[best]);
    if (samples->y && samples->y[i] != best) {
        printf(", but it is labelled");
        print_class(like, samples->y[i]);
    }
    putchar('\n');
}

static int predict_samples(struct job *job, const char *input,
                           const qn_samples *samples)
{
    const qn_dataset *like = qn_run_dataset(job->run);
    size_t classes = (size_t)like->classes;
    size_t count = (size_t)samples->count;
    qn_error error = {0};
    float *p = calloc(count, classes * sizeof *p);
    if (!p)
        return fail("out of memory");
    int status = EXIT_DONE;
    if (qn_predict(job->device, job->model, job->store, like, samples->x,
                   samples->count, p, &error) != QN_OK)
        status = fail_with(job->command, &error);
    for (size_t i = 0; i < count && status == EXIT_DONE; i++) {
        const float *row = p + i * classes;
        if (job->predictions)
            add_json(job, input, samples, (int64_t)i, row, like);
        else
            print_line(input, samples, (int64_t)i, row, like);
    }
    free(p);
    return status;
}

static int predict_all(struct job *job, const struct words *words)
{
    int status = EXIT_DONE;
    for (int i = 1; i < words->count && status == EXIT_DONE; i++) {
        qn_error error = {0};
        const char *input = words->text[i];
        qn_samples *samples = qn_samples_open(
            input, &qn_run_dataset(job->run)->shape, &error);
        status = samples ? predict_samples(job, input, samples)
                         : fail_with(job->command, &error);
        qn_samples_destroy(&samples);
    }
    if (job->predictions && status == EXIT_DONE)
        return print_json(json_pack("{sO}", "predictions", job->predictions));
    return status;
}

static int open_and_predict(struct job *job, const struct words *words)
{
    int status = EXIT_FAILED;
    qn_error error = {0};
    job->model = open_model(job->command, qn_run_model(job->run), &status);
    if (job->model)
        job->device = open_device(job->command, job->options.device, false,
                                  &status);
    if (!job->device)
        return status;
    say_device(job->options.quiet, job->device);
    job->store =
        job->options.average
            ? qn_run_load_average(job->run, job->device, job->model, &error)
            : qn_run_load(job->run, job->device, job->model, &error);
    if (!job->store)
        return fail_with(job->command, &error);
    if (job->options.json)
        job->predictions = json_array();
    return predict_all(job, words);
}

int run_predict(const struct command *command, int argc, const char **argv)
{
    struct job job = {.command = command};
    struct flag flags[] = {
        FLAG_AVERAGE(job.options.average),
        FLAG_DEVICE(job.options.device),
        FLAG_JSON(job.options.json),
        FLAG_QUIET(job.options.quiet),
    };
    struct words words;
    int status;
    if (!parse_flags(command, argc, argv, flags, FLAG_COUNT_OF(flags), &words,
                     &status))
        return status;
    qn_run *run = NULL;
    if (words.count < 2)
        status = usage_error(command,
                             "needs a RUN or CHECKPOINT and an INPUT");
    else if ((job.run = run = open_run(command, words.text[0], &status)))
        status = open_and_predict(&job, &words);
    json_decref(job.predictions);
    qn_store_destroy(&job.store);
    qn_device_close(&job.device);
    qn_model_destroy(&job.model);
    qn_run_close(&run);
    free_words(&words);
    return status;
}
