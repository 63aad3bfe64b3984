// The progress bar and the lines of epochs. Owns the last line of the
// terminal while a bar is on it.
#include "bar.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "command.h"

enum {
    FIELDS = 5,
    FIELD_SIZE = 48,
    BAR_MIN = 10,
    BAR_MAX = 40,
};

static bool bar_is_shown, header_is_shown;

void clear_bar(void)
{
    if (bar_is_shown)
        fputs("\r\033[K", stderr);
    bar_is_shown = false;
}

// ---- the bar ----

static void short_rate(char *text, double rate)
{
    if (rate >= 1e6)
        snprintf(text, SHORT_TEXT, "%.2fM/s", rate / 1e6);
    else if (rate >= 1e3)
        snprintf(text, SHORT_TEXT, "%.1fk/s", rate / 1e3);
    else
        snprintf(text, SHORT_TEXT, "%.0f/s", rate);
}

// The fields behind the bar, the most important one first.
static void make_fields(const qn_progress *p, char fields[FIELDS][FIELD_SIZE])
{
    char text[SHORT_TEXT], time[SHORT_TEXT];
    double share = p->samples ? (double)p->sample / (double)p->samples : 0;
    snprintf(fields[0], FIELD_SIZE, " %3.0f %%", floor(100 * share));
    snprintf(fields[1], FIELD_SIZE, "  loss %.4f", p->loss);
    snprintf(fields[2], FIELD_SIZE, "  acc %.2f %%", 100 * p->accuracy);
    snprintf(fields[3], FIELD_SIZE, "  %s left",
             text_time(time, p->seconds_left));
    short_rate(text, p->samples_per_second);
    snprintf(fields[4], FIELD_SIZE, "  %s", text);
    if (!isfinite(p->loss))
        *fields[1] = *fields[2] = 0;
}

static void draw_filled(int columns, double share, bool is_utf8, bool color)
{
    int halves = (int)(share * 2 * columns);
    int full = halves / 2, half = is_utf8 && halves % 2;
    if (color)
        fputs("\033[36m", stderr);
    for (int i = 0; i < full; i++)
        fputs(is_utf8 ? "━" : "#", stderr);
    if (half)
        fputs("╸", stderr);
    if (color)
        fputs("\033[39m\033[2m", stderr);
    for (int i = full + half; i < columns; i++)
        fputs(!is_utf8 ? "." : color ? "━" : "─", stderr);
    if (color)
        fputs("\033[22m", stderr);
}

static void draw_bar(const qn_progress *p, int width)
{
    char fields[FIELDS][FIELD_SIZE], head[FIELD_SIZE];
    int shown = FIELDS, used;
    make_fields(p, fields);
    snprintf(head, sizeof head, "epoch %d/%d ", p->epoch, p->epochs);
    for (;; shown--) {
        used = (int)strlen(head);
        for (int i = 0; i < shown; i++)
            used += (int)strlen(fields[i]);
        // The last column stays free: some terminals wrap when it is written.
        if (used + BAR_MIN < width || shown == 1)
            break;
    }
    int columns = width - 1 - used;
    columns = columns > BAR_MAX ? BAR_MAX : columns;
    fputs("\r", stderr);
    if (columns >= BAR_MIN) {
        fputs(head, stderr);
        draw_filled(columns,
                    p->samples ? (double)p->sample / (double)p->samples : 0,
                    locale_is_utf8(), terminal_has_color(stderr));
    }
    for (int i = 0; i < shown && used < width; i++)
        fputs(fields[i], stderr);
    fputs("\033[K", stderr);
    fflush(stderr);
    bar_is_shown = true;
}

// ---- epochs ----

static void print_plain(const qn_progress *p)
{
    fprintf(stderr,
            "epoch %d/%d: loss %.4f, accuracy %.2f %%, test loss %.4f, test "
            "accuracy %.2f %%, ", p->epoch, p->epochs, p->loss,
            100 * p->accuracy, p->test_loss, 100 * p->test_accuracy);
    if (!isnan(p->average_test_accuracy))
        fprintf(stderr, "of the average %.4f and %.2f %%, ",
                p->average_test_loss, 100 * p->average_test_accuracy);
    fprintf(stderr, "%.0f samples/s, lr %.4g\n", p->samples_per_second, p->lr);
}

// A row of the table, as many columns as fit.
static void print_row(const qn_progress *p, int width)
{
    struct cell {
        const char *title;
        int width;
        char text[SHORT_TEXT];
    } all[] = {{"epoch", 9, ""},      {"test acc", 11, ""},
               {"test loss", 11, ""}, {"avg acc", 11, ""},
               {"avg loss", 11, ""},  {"train acc", 11, ""},
               {"train loss", 12, ""}, {"samples/s", 12, ""},
               {"time", 9, ""},       {"lr", 11, ""}};
    enum { ALL = sizeof all / sizeof *all, AVERAGE = 3, AVERAGE_COUNT = 2 };
    snprintf(all[0].text, SHORT_TEXT, "%d/%d", p->epoch, p->epochs);
    snprintf(all[1].text, SHORT_TEXT, "%.2f %%", 100 * p->test_accuracy);
    snprintf(all[2].text, SHORT_TEXT, "%.4f", p->test_loss);
    snprintf(all[3].text, SHORT_TEXT, "%.2f %%",
             100 * p->average_test_accuracy);
    snprintf(all[4].text, SHORT_TEXT, "%.4f", p->average_test_loss);
    snprintf(all[5].text, SHORT_TEXT, "%.2f %%", 100 * p->accuracy);
    snprintf(all[6].text, SHORT_TEXT, "%.4f", p->loss);
    text_count(all[7].text, (int64_t)p->samples_per_second);
    text_time(all[8].text, p->seconds);
    snprintf(all[9].text, SHORT_TEXT, "%.4g", p->lr);
    int count = ALL, used = 0, shown = 0;
    if (isnan(p->average_test_accuracy)) {
        count -= AVERAGE_COUNT;
        memmove(all + AVERAGE, all + AVERAGE + AVERAGE_COUNT,
                (size_t)(count - AVERAGE) * sizeof *all);
    }
    while (shown < count && used + all[shown].width < width)
        used += all[shown++].width;
    if (!header_is_shown && terminal_has_color(stderr))
        fputs("\033[2m", stderr);
    for (int i = 0; i < shown && !header_is_shown; i++)
        fprintf(stderr, "%*s", all[i].width, all[i].title);
    if (!header_is_shown)
        fputs(terminal_has_color(stderr) ? "\033[22m\n" : "\n", stderr);
    header_is_shown = true;
    for (int i = 0; i < shown; i++)
        fprintf(stderr, "%*s", all[i].width, all[i].text);
    fputc('\n', stderr);
}

// Before the first step a device that is new may compile for seconds.
static void show_start(int width)
{
    static const char text[] = "preparing (kernels new to this device are "
                               "compiled, once)";
    int length = (int)sizeof text - 1;
    fprintf(stderr, "\r%.*s\033[K", length < width ? length : width - 1,
            text);
    fflush(stderr);
    bar_is_shown = true;
}

void show_progress(const qn_progress *progress)
{
    int width = terminal_width(stderr);
    if (width && progress->sample == 0) {
        show_start(width);
        return;
    }
    if (!progress->epoch_end) {
        if (width)
            draw_bar(progress, width);
        return;
    }
    clear_bar();
    if (width)
        print_row(progress, width);
    else
        print_plain(progress);
}
