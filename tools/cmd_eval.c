// quern eval: loss and accuracy of a checkpoint.
#include <stdio.h>

#include "command.h"

struct options {
    const char *data, *device;
    int64_t mc_samples, seed;
    bool json, quiet, average;
};

static int print_result(const struct options *options, const char *path,
                        const qn_dataset *dataset, const qn_device *device,
                        double loss, double accuracy)
{
    if (options->json)
        return print_json(json_pack(
            "{so so ss sI sI sb ss ss}", "test_loss", json_number(loss),
            "test_accuracy", json_number(accuracy), "data", dataset->name,
            "samples", (json_int_t)dataset->test_count, "mc_samples",
            (json_int_t)options->mc_samples, "average", options->average,
            "checkpoint", path,
            "device", qn_device_describe(device)->name));
    printf("test accuracy %.2f %%, test loss %.4f on %lld samples of %s\n",
           100 * accuracy, loss, (long long)dataset->test_count,
           dataset->name);
    return EXIT_DONE;
}

static int check_shape(const qn_run *run, const qn_dataset *dataset)
{
    const qn_shape *trained = &qn_run_dataset(run)->shape;
    char is[64], was[64];
    if (qn_shape_equal(trained, &dataset->shape))
        return EXIT_DONE;
    return fail("samples of %s are %s, those of the run were %s",
                dataset->name,
                qn_shape_text(&dataset->shape, is, sizeof is),
                qn_shape_text(trained, was, sizeof was));
}

static int evaluate(const struct command *command,
                    const struct options *options, const qn_run *run,
                    const char *path)
{
    int status = EXIT_FAILED;
    qn_error error = {0};
    qn_store *store = NULL;
    qn_device *device = NULL;
    const char *data = options->data ? options->data : qn_run_data(run);
    double loss, accuracy;
    const struct qn_evaluate_params params = {
        .loss = qn_run_params(run)->loss,
        .mc_samples = (int)options->mc_samples,
        .seed = (uint64_t)options->seed,
    };
    qn_model *model = open_model(command, qn_run_model(run), &status);
    qn_dataset *dataset = model ? open_dataset(command, data, &status) : NULL;
    if (dataset)
        status = check_shape(run, dataset);
    if (dataset && status == EXIT_DONE)
        device = open_device(command, options->device, false, &status);
    if (!device)
        goto done;
    say_device(options->quiet, device);
    store = options->average
                ? qn_run_load_average(run, device, model, &error)
                : qn_run_load(run, device, model, &error);
    if (!store || qn_evaluate(device, model, store, dataset,
                              &params, &loss, &accuracy, &error) != QN_OK)
        status = fail_with(command, &error);
    else
        status = print_result(options, path, dataset, device, loss, accuracy);
done:
    qn_store_destroy(&store);
    qn_device_close(&device);
    qn_dataset_destroy(&dataset);
    qn_model_destroy(&model);
    return status;
}

int run_eval(const struct command *command, int argc, const char **argv)
{
    struct options options = {0};
    struct flag flags[] = {
        {"data", "D", "data set [that of the run]", FLAG_TEXT, &options.data,
         0, 0, false},
        {"mc-samples", "N",
         "average N passes in which dropout and its like draw as in training "
         "[0: none, predict]",
         FLAG_COUNT, &options.mc_samples, 0, 1000000, false},
        {"seed", "N", "of these draws [0]", FLAG_COUNT, &options.seed, 0,
         4294967295.0, false},
        FLAG_AVERAGE(options.average),
        FLAG_DEVICE(options.device),
        FLAG_JSON(options.json),
        FLAG_QUIET(options.quiet),
    };
    struct words words;
    int status;
    if (!parse_flags(command, argc, argv, flags, FLAG_COUNT_OF(flags), &words,
                     &status))
        return status;
    qn_run *run = NULL;
    if (words.count != 1)
        status = usage_error(command, "needs one RUN or CHECKPOINT");
    else if ((run = open_run(command, words.text[0], &status)))
        status = evaluate(command, &options, run, words.text[0]);
    qn_run_close(&run);
    free_words(&words);
    return status;
}
