// Opening what the arguments name, with the exit status that fits.
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "bar.h"
#include "command.h"

qn_device *open_device(const struct command *command, const char *choice,
                       bool profile, int *status)
{
    qn_error error = {0};
    struct qn_device_params params = {
        .choice = choice, .profile = profile, .log = message_logger()};
    qn_device *device = qn_device_open(&params, &error);
    if (!device)
        *status = fail_with(command, &error);
    return device;
}

// A model that cannot be read is an argument that is wrong, not a failure.
qn_model *open_model(const struct command *command, const char *text,
                     int *status)
{
    qn_error error = {0};
    qn_model *model = qn_model_create(text, &error);
    if (!model && error.status == QN_FORMAT)
        error.status = QN_BAD_ARGUMENT;
    if (!model)
        *status = fail_with(command, &error);
    return model;
}

qn_dataset *open_dataset(const struct command *command, const char *text,
                         int *status)
{
    qn_error error = {0};
    qn_dataset *dataset = qn_dataset_open(text, &error);
    if (!dataset)
        *status = fail_with(command, &error);
    return dataset;
}

qn_run *open_run(const struct command *command, const char *path, int *status)
{
    qn_error error = {0};
    qn_run *run = qn_run_open(path, &error);
    if (!run)
        *status = fail_with(command, &error);
    return run;
}

void say_fact(bool quiet, const char *label, const char *format, ...)
{
    va_list args;
    if (quiet)
        return;
    bool color = terminal_has_color(stderr);
    clear_bar();
    fprintf(stderr, "%s%-8s%s", color ? "\033[2m" : "", label,
            color ? "\033[22m" : "");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

void say_device(bool quiet, const qn_device *device)
{
    const qn_device_info *info = qn_device_describe(device);
    say_fact(quiet, "device", "%s (%s, %u compute units): %s", info->name,
             qn_device_type_name(info->type), info->compute_units,
             qn_device_reason(device));
}
