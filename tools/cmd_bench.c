// quern bench: what the device can do and how near to it we come. A part of
// the work is a file bench_<part>.c.
#include <stdio.h>
#include <string.h>

#include "bench.h"

static const struct bench_part parts[] = {
    {"train", true, check_train, run_train_steps},
    {"gemm", false, check_gemm, run_gemm},
    {"conv", false, check_conv, run_conv},
    {"ops", false, NULL, run_ops},
    {"optim", false, check_optim, run_optim},
};
enum { PART_COUNT = sizeof parts / sizeof *parts };

// Bytes over which the device's own bandwidth is measured, and the share of
// the time for it.
static const int64_t LIMIT_SIZE = INT64_C(256) << 20;
static const double LIMIT_SHARE = 0.1;

const char *next_name(const char *list, char *name, size_t size)
{
    const size_t length = strcspn(list, ",");
    snprintf(name, size, "%.*s", (int)length, list);
    return list[length] ? list + length + 1 : NULL;
}

static int unknown_part(const struct command *command, const char *word)
{
    char names[256] = "";
    for (int i = 0; i < PART_COUNT; i++) {
        strcat(names, i ? ", " : "");
        strcat(names, parts[i].name);
    }
    return usage_error(command, "unknown part %s; there are %s", word, names);
}

// The parts that the words name, or all.
static int choose_parts(const struct command *command,
                        const struct words *words, bool is_wanted[PART_COUNT])
{
    for (int k = 0; k < PART_COUNT; k++)
        is_wanted[k] = words->count == 0;
    for (int i = 0; i < words->count; i++) {
        int found = -1;
        for (int k = 0; k < PART_COUNT; k++)
            if (strcmp(parts[k].name, words->text[i]) == 0)
                found = k;
        if (found < 0)
            return unknown_part(command, words->text[i]);
        is_wanted[found] = true;
    }
    return EXIT_DONE;
}

static json_t *describe(const struct bench *bench, json_t *limits)
{
    const qn_device_info *info = qn_device_describe(bench->device);
    char version[SHORT_TEXT];
    snprintf(version, sizeof version, "%d.%d.%d", QN_VERSION_MAJOR,
             QN_VERSION_MINOR, QN_VERSION_PATCH);
    return json_pack("{ss ss ss ss ss si so sO}", "quern", version, "device",
                     info->name, "platform", info->platform,
                     "platform_version", info->platform_version, "driver",
                     info->driver, "compute_units", (int)info->compute_units,
                     "limits", limits, "results", bench->results);
}

static int run_some(struct bench *bench, const bool is_wanted[PART_COUNT],
                    bool is_early)
{
    int status = EXIT_DONE;
    for (int k = 0; k < PART_COUNT && status == EXIT_DONE; k++)
        if (is_wanted[k] && parts[k].is_early == is_early)
            status = parts[k].run(bench);
    return status;
}

static int run_parts(struct bench *bench, const bool is_wanted[PART_COUNT])
{
    json_t *limits = NULL;
    int count = 0;
    for (int k = 0; k < PART_COUNT; k++)
        count += is_wanted[k];
    const double limit_seconds = LIMIT_SHARE * bench->seconds;
    bench->seconds = (bench->seconds - limit_seconds) / count;
    int status = run_some(bench, is_wanted, true);
    if (status == EXIT_DONE)
        status = measure_limits(bench, LIMIT_SIZE, limit_seconds, &limits);
    if (status == EXIT_DONE)
        status = run_some(bench, is_wanted, false);
    if (status == EXIT_DONE && bench->json)
        status = print_json(describe(bench, limits));
    else
        json_decref(limits);
    return status;
}

// Runs what the words ask for on the open device.
static int run_on_device(struct bench *bench, const bool is_wanted[PART_COUNT])
{
    const qn_device_info *info = qn_device_describe(bench->device);
    if (info->type == QN_DEVICE_EMULATOR)
        return fail("%s is an emulator, whose speed says nothing: choose a "
                    "device (quern devices shows all)", info->name);
    catch_interrupts();
    say_device(bench->quiet, bench->device);
    bench->results = json_array();
    const int status = run_parts(bench, is_wanted);
    json_decref(bench->results);
    return status;
}

int run_bench(const struct command *command, int argc, const char **argv)
{
    struct bench bench = {.command = command, .seconds = 30,
                          .parameters = 10000000, .batch = 128,
                          .elements = 1 << 23};
    const char *choice = NULL;
    struct flag flags[] = {
        {"parameters", "N", "parameters that optim updates [10000000]",
         FLAG_COUNT, &bench.parameters, 1, 2e9, false},
        {"optimizer", "NAME,...", "what optim times; default: all of quern "
         "list optimizers", FLAG_TEXT, &bench.optimizers, 0, 0, false},
        {"shapes", "MxKxN,...", "what gemm times; 128x784x512nt has its second "
         "matrix transposed", FLAG_TEXT, &bench.shapes, 0, 0, false},
        {"convs", "CxHxW-FkK,...", "what conv times: images, filters and their "
         "size; then s2 for a stride, g4 for groups, p0 for padding",
         FLAG_TEXT, &bench.convs, 0, 0, false},
        {"models", "NAME,...", "what train times: mlp, mlp-bn-dropout, cnn, "
         "resnet20, lenet5", FLAG_TEXT, &bench.models, 0, 0, false},
        {"batch", "N", "samples of conv and train [128]", FLAG_COUNT,
         &bench.batch, 1, 65536, false},
        {"elements", "N", "of the largest tensor of ops, about [8388608]",
         FLAG_COUNT, &bench.elements, 1, 1e9, false},
        {"seconds", "N", "time for all measurements together, beside "
         "compilation [30]", FLAG_NUMBER, &bench.seconds, 0.01, 86400, false},
        FLAG_DEVICE(choice), FLAG_JSON(bench.json), FLAG_QUIET(bench.quiet)};
    struct words words;
    bool is_wanted[PART_COUNT];
    int status = EXIT_DONE;
    if (!parse_flags(command, argc, argv, flags, FLAG_COUNT_OF(flags), &words,
                     &status))
        return status;
    status = choose_parts(command, &words, is_wanted);
    for (int k = 0; k < PART_COUNT && status == EXIT_DONE; k++)
        if (is_wanted[k] && parts[k].check)
            status = parts[k].check(&bench);
    if (status == EXIT_DONE)
        bench.device = open_device(command, choice, false, &status);
    if (bench.device)
        status = run_on_device(&bench, is_wanted);
    qn_device_close(&bench.device);
    free_words(&words);
    return status;
}
