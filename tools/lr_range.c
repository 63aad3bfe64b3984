// The range test of learning rates as the command shows it.
#include "lr_range.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "plot.h"

enum { WIDTH_MAX = 100, HEIGHT = 14 };
static const double cut_off = 1.25; // of the first loss

bool read_lr_range(const struct command *command, const char *text,
                   struct lr_range_run *run, int *status)
{
    char *colon, *end = NULL;
    run->from = strtod(text, &colon);
    if (colon != text && *colon == ':')
        run->to = strtod(colon + 1, &end);
    if (end && end != colon + 1 && *end == 0 && run->from > 0 &&
        run->from < run->to && run->to <= 1e6)
        return true;
    *status = usage_error(command, "--lr-range %s: needs two learning rates, "
                          "the lower one first, such as 1e-6:1", text);
    return false;
}

static json_t *column(const struct qn_lr_range *range, size_t offset)
{
    json_t *array = json_array();
    for (int i = 0; i < range->count; i++) {
        const char *point = (const char *)&range->points[i];
        json_array_append_new(
            array, json_number(*(const double *)(const void *)(point +
                                                               offset)));
    }
    return array;
}

static int print_numbers(const struct lr_range_run *run,
                         const struct qn_lr_range *range)
{
    return print_json(json_pack(
        "{ss ss? ss sf sf si sb so so so so so so ss}", "device", run->device,
        "model", run->model, "data", run->data, "from", run->from, "to",
        run->to, "steps", range->count, "diverged", range->diverged,
        "suggestion", json_number(range->suggestion), "least_lr",
        json_number(range->least_lr), "steepest_lr",
        json_number(range->steepest_lr), "lr",
        column(range, offsetof(struct qn_lr_point, lr)), "loss",
        column(range, offsetof(struct qn_lr_point, loss)), "smooth_loss",
        column(range, offsetof(struct qn_lr_point, smooth_loss)), "run",
        run->out));
}

static void print_picture(const struct qn_lr_range *range)
{
    size_t size = ((size_t)range->count + 1) * sizeof(double);
    double *lr = malloc(size), *loss = malloc(size);
    int width = terminal_width(stdout);
    width = width ? width - 1 : 79;
    width = width > WIDTH_MAX ? WIDTH_MAX : width < 30 ? 30 : width;
    // What diverges would make all else flat.
    double top = cut_off * (range->count ? range->points[0].smooth_loss : 0);
    for (int i = 0; lr && loss && i < range->count; i++) {
        lr[i] = range->points[i].lr;
        loss[i] = fmin(range->points[i].smooth_loss, top);
    }
    struct plot *plot = NULL;
    if (lr && loss)
        plot = plot_create(&(struct plot_params){
            .note = "smoothed; cut off above 1.25 times the first", .x_name = "lr",
            .y_name = "loss", .x = lr, .y = loss, .count = range->count,
            .has_log_x = true, .mark = range->suggestion, .width = width,
            .height = HEIGHT, .is_utf8 = locale_is_utf8(),
            .has_color = terminal_has_color(stdout)});
    if (plot)
        plot_print_row(&plot, 1, stdout);
    plot_destroy(&plot);
    free(lr);
    free(loss);
}

int show_lr_range(const struct lr_range_run *run,
                  const struct qn_lr_range *range, bool json)
{
    if (json)
        return print_numbers(run, range);
    print_picture(range);
    if (range->diverged)
        printf("diverged after %d steps\n", range->count);
    if (isnan(range->suggestion)) {
        printf("no suggestion: the loss did not fall between %g and %g; try "
               "other rates or more --steps\n", run->from, run->to);
        return EXIT_DONE;
    }
    printf("suggested learning rate: %.2g, a tenth of %.2g where the smoothed "
           "loss is least\n", range->suggestion, range->least_lr);
    if (!isnan(range->steepest_lr))
        printf("it falls fastest at %.2g\n", range->steepest_lr);
    printf("%s/lr_range.jsonl\n", run->out);
    return EXIT_DONE;
}
