// Curves as pictures of characters: dots of braille where the terminal has
// them, else points and ticks. Knows nothing of what the curves mean.
//
//   title
//      lr note
//     0.1 ┤⠉⠑⠢⡀
//         │    ⠈⠢
//       0 ┤
//         └────┬─────┬
//         0   50 epoch 100
#include "plot.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { LABEL_SIZE = 24, TICKS_MAX = 16, LABEL_GAP = 11 };

struct tick {
    double value;
    int at; // column or row of characters
    char label[LABEL_SIZE];
};

struct plot {
    struct plot_params params;
    char title[128], note[512];
    double x_low, x_high, y_low, y_high;
    int gutter, columns;     // of characters: left of the axis, right of it
    int dots_wide, dots_tall; // in a character
    unsigned char *dots;     // [height * dots_tall][columns * dots_wide]
    struct tick x_ticks[TICKS_MAX], y_ticks[TICKS_MAX];
    int x_tick_count, y_tick_count;
};

// ---- scales ----

// 1, 2 or 5 times a power of ten, at least `step`.
static double nice_step(double step)
{
    double power = pow(10, floor(log10(step)));
    double digit = step / power;
    return power * (digit <= 1 + 1e-9   ? 1
                    : digit <= 2 + 1e-9 ? 2
                    : digit <= 5 + 1e-9 ? 5
                                        : 10);
}

static double along(const struct plot *plot, double x)
{
    if (!plot->params.has_log_x)
        return (x - plot->x_low) / (plot->x_high - plot->x_low);
    return log(x / plot->x_low) / log(plot->x_high / plot->x_low);
}

// From 0 to count - 1.
static int place(double share, int count)
{
    double at = floor(share * (count - 1) + 0.5);
    return at < 0 ? 0 : at > count - 1 ? count - 1 : (int)at;
}

static bool find_range(struct plot *plot)
{
    const struct plot_params *params = &plot->params;
    bool any = false;
    plot->y_low = params->y_low;
    plot->y_high = params->y_high;
    for (int i = 0; i < params->count; i++) {
        if (!isfinite(params->y[i]))
            continue;
        any = true;
        plot->y_low = fmin(plot->y_low, params->y[i]);
        plot->y_high = fmax(plot->y_high, params->y[i]);
    }
    if (!any || params->count < 2)
        return false;
    plot->x_low = params->x[0];
    plot->x_high = params->x[params->count - 1];
    if (plot->y_high <= plot->y_low)
        plot->y_high = plot->y_low + fmax(fabs(plot->y_low), 1e-6);
    return plot->x_high > plot->x_low;
}

static void set_label(struct tick *tick, double value)
{
    snprintf(tick->label, sizeof tick->label, "%.4g",
             fabs(value) < 1e-12 ? 0 : value);
}

// Widens the range to whole steps, a label on every second row at most.
static void make_y_ticks(struct plot *plot)
{
    int most = plot->params.height / 2;
    double step = nice_step((plot->y_high - plot->y_low) / most);
    double low = floor(plot->y_low / step + 1e-9) * step;
    double high = ceil(plot->y_high / step - 1e-9) * step;
    plot->y_low = low;
    plot->y_high = high;
    int count = (int)floor((high - low) / step + 1.5);
    for (int i = 0; i < count && i < TICKS_MAX; i++) {
        struct tick *tick = &plot->y_ticks[plot->y_tick_count++];
        tick->value = low + i * step;
        int rows = plot->params.height * plot->dots_tall;
        tick->at = (rows - 1 - place((tick->value - low) / (high - low),
                                     rows)) / plot->dots_tall;
        set_label(tick, tick->value);
    }
}

static void add_x_tick(struct plot *plot, double value)
{
    if (plot->x_tick_count == TICKS_MAX || value < plot->x_low * (1 - 1e-9) ||
        value > plot->x_high * (1 + 1e-9))
        return;
    struct tick *tick = &plot->x_ticks[plot->x_tick_count++];
    tick->value = value;
    tick->at = place(along(plot, value), plot->columns);
    set_label(tick, value);
}

static void make_x_ticks(struct plot *plot)
{
    int most = plot->columns / LABEL_GAP;
    double low = plot->x_low, high = plot->x_high;
    most = most < 1 ? 1 : most;
    if (plot->params.has_log_x) {
        int first = (int)ceil(log10(low) - 1e-9);
        int last = (int)floor(log10(high) + 1e-9);
        int step = (last - first) / most + 1;
        for (int i = first; i <= last; i += step)
            add_x_tick(plot, pow(10, i));
        return;
    }
    double step = nice_step((high - low) / most);
    for (double at = ceil(low / step) * step; at <= high * (1 + 1e-9);
         at += step)
        add_x_tick(plot, at);
}

// ---- dots ----

static void set_dot(struct plot *plot, int x, int y)
{
    int wide = plot->columns * plot->dots_wide;
    plot->dots[y * wide + x] = 1;
}

// A line without gaps (Bresenham).
static void draw_line(struct plot *plot, int x, int y, int to_x, int to_y)
{
    int dx = abs(to_x - x), dy = -abs(to_y - y), rest = dx + dy;
    int step_x = x < to_x ? 1 : -1, step_y = y < to_y ? 1 : -1;
    for (;;) {
        set_dot(plot, x, y);
        if (x == to_x && y == to_y)
            return;
        int twice = 2 * rest;
        if (twice >= dy) {
            rest += dy;
            x += step_x;
        }
        if (twice <= dx) {
            rest += dx;
            y += step_y;
        }
    }
}

static void draw_curve(struct plot *plot)
{
    const struct plot_params *params = &plot->params;
    int wide = plot->columns * plot->dots_wide;
    int tall = params->height * plot->dots_tall;
    int last_x = -1, last_y = 0;
    for (int i = 0; i < params->count; i++) {
        if (!isfinite(params->y[i])) {
            last_x = -1;
            continue;
        }
        int x = place(along(plot, params->x[i]), wide);
        int y = tall - 1 - place((params->y[i] - plot->y_low) /
                                     (plot->y_high - plot->y_low), tall);
        draw_line(plot, last_x < 0 ? x : last_x, last_x < 0 ? y : last_y, x,
                  y);
        last_x = x;
        last_y = y;
    }
}

// ---- making ----

static void find_gutter(struct plot *plot)
{
    int widest = (int)strlen(plot->params.y_name);
    for (int i = 0; i < plot->y_tick_count; i++)
        if ((int)strlen(plot->y_ticks[i].label) > widest)
            widest = (int)strlen(plot->y_ticks[i].label);
    plot->gutter = widest < 6 ? 7 : widest + 1;
    plot->columns = plot->params.width - plot->gutter - 1;
}

struct plot *plot_create(const struct plot_params *params)
{
    struct plot *plot = calloc(1, sizeof *plot);
    if (!plot)
        return NULL;
    plot->params = *params;
    snprintf(plot->title, sizeof plot->title, "%s",
             params->title ? params->title : "");
    snprintf(plot->note, sizeof plot->note, "%s",
             params->note ? params->note : "");
    plot->dots_wide = params->is_utf8 ? 2 : 1;
    plot->dots_tall = params->is_utf8 ? 4 : 2;
    if (find_range(plot)) {
        make_y_ticks(plot);
        find_gutter(plot);
        make_x_ticks(plot);
        plot->dots = calloc((size_t)(plot->columns * plot->dots_wide),
                            (size_t)(params->height * plot->dots_tall));
    }
    if (plot->dots)
        draw_curve(plot);
    else
        plot_destroy(&plot);
    return plot;
}

void plot_destroy(struct plot **plot)
{
    if (!plot || !*plot)
        return;
    free((*plot)->dots);
    free(*plot);
    *plot = NULL;
}

// ---- printing ----

static void print_blanks(int count, FILE *file)
{
    for (int i = 0; i < count; i++)
        fputc(' ', file);
}

// A text cut to the columns that are left, with an escape around it.
static void print_text(const struct plot *plot, const char *text, int columns,
                       const char *escape, FILE *file)
{
    int length = (int)strlen(text);
    length = length < columns ? length : columns;
    bool colored = plot->params.has_color && *escape;
    fprintf(file, "%s%.*s%s", colored ? escape : "", length, text,
            colored ? "\033[0m" : "");
    print_blanks(columns - length, file);
}

// One of 256 braille characters: the dots' bits by Unicode's numbering.
static void print_braille(const struct plot *plot, int row, int column,
                          FILE *file)
{
    static const unsigned char bits[4][2] = {
        {0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
    unsigned code = 0;
    int wide = plot->columns * 2;
    for (int y = 0; y < 4; y++)
        for (int x = 0; x < 2; x++)
            if (plot->dots[(4 * row + y) * wide + 2 * column + x])
                code |= bits[y][x];
    if (code)
        fprintf(file, "\xe2%c%c", (char)(0xa0 + (code >> 6)),
                (char)(0x80 + (code & 63)));
    else
        fputc(' ', file);
}

static void print_plain(const struct plot *plot, int row, int column,
                        FILE *file)
{
    bool upper = plot->dots[2 * row * plot->columns + column];
    bool lower = plot->dots[(2 * row + 1) * plot->columns + column];
    fputc(upper && lower ? ':' : upper ? '\'' : lower ? '.' : ' ', file);
}

static bool is_empty(const struct plot *plot, int row, int column)
{
    int wide = plot->columns * plot->dots_wide;
    for (int y = 0; y < plot->dots_tall; y++)
        for (int x = 0; x < plot->dots_wide; x++)
            if (plot->dots[(row * plot->dots_tall + y) * wide +
                           column * plot->dots_wide + x])
                return false;
    return true;
}

static const char *label_at(const struct plot *plot, int row)
{
    for (int i = 0; i < plot->y_tick_count; i++)
        if (plot->y_ticks[i].at == row)
            return plot->y_ticks[i].label;
    return NULL;
}

static void print_curve_row(const struct plot *plot, int row, FILE *file)
{
    const struct plot_params *params = &plot->params;
    const char *label = label_at(plot, row);
    const char *axis = label ? "┤" : "│";
    if (!params->is_utf8)
        axis = label ? "+" : "|";
    int mark = isnan(params->mark)
                   ? -1
                   : place(along(plot, params->mark), plot->columns);
    fprintf(file, "%*s %s", plot->gutter - 1, label ? label : "", axis);
    if (params->has_color)
        fputs("\033[36m", file);
    for (int i = 0; i < plot->columns; i++) {
        if (i == mark && is_empty(plot, row, i))
            fputs(params->is_utf8 ? "┊" : "|", file);
        else if (params->is_utf8)
            print_braille(plot, row, i, file);
        else
            print_plain(plot, row, i, file);
    }
    if (params->has_color)
        fputs("\033[0m", file);
}

static void print_axis(const struct plot *plot, FILE *file)
{
    bool utf8 = plot->params.is_utf8;
    print_blanks(plot->gutter, file);
    fputs(utf8 ? "└" : "+", file);
    for (int i = 0, next = 0; i < plot->columns; i++) {
        bool ticks = next < plot->x_tick_count &&
                     plot->x_ticks[next].at == i;
        next += ticks;
        if (utf8)
            fputs(ticks ? "┬" : "─", file);
        else
            fputc(ticks ? '+' : '-', file);
    }
}

// Labels below their ticks; the name of the axis beside the last one.
static void print_x_labels(const struct plot *plot, FILE *file)
{
    char line[512];
    int width = plot->params.width;
    width = width < (int)sizeof line ? width : (int)sizeof line - 1;
    memset(line, ' ', (size_t)width);
    line[width] = 0;
    int free_from = 0;
    for (int i = 0; i < plot->x_tick_count; i++) {
        char text[2 * LABEL_SIZE];
        const struct tick *tick = &plot->x_ticks[i];
        bool is_last = i == plot->x_tick_count - 1;
        snprintf(text, sizeof text, "%.20s%s%s",
                 is_last ? plot->params.x_name : "", is_last ? " " : "",
                 tick->label);
        int length = (int)strlen(text), half = (int)strlen(tick->label) / 2;
        int end = plot->gutter + 1 + tick->at + half + 1;
        int start = (end < width ? end : width) - length;
        if (start < free_from)
            start = free_from;
        if (start + length <= width)
            memcpy(line + start, text, (size_t)length);
        free_from = start + length + 1;
    }
    fputs(line, file);
}

int plot_line_count(const struct plot *plot)
{
    return (*plot->title != 0) + 1 + plot->params.height + 2;
}

void plot_print_line(const struct plot *plot, int line, FILE *file)
{
    const struct plot_params *params = &plot->params;
    if (*plot->title && line-- == 0) {
        print_text(plot, plot->title, params->width, "\033[1m", file);
        return;
    }
    if (line-- == 0) {
        fprintf(file, "%*s ", plot->gutter - 1, params->y_name);
        print_text(plot, plot->note, params->width - plot->gutter,
                   "\033[2m", file);
        return;
    }
    if (line < params->height)
        print_curve_row(plot, line, file);
    else if (line == params->height)
        print_axis(plot, file);
    else
        print_x_labels(plot, file);
}

void plot_print_row(struct plot *const *plots, int count, FILE *file)
{
    int lines = 0;
    for (int i = 0; i < count; i++)
        if (plots[i] && plot_line_count(plots[i]) > lines)
            lines = plot_line_count(plots[i]);
    for (int line = 0; line < lines; line++) {
        for (int i = 0; i < count; i++) {
            if (!plots[i])
                continue;
            print_blanks(i ? 2 : 0, file);
            plot_print_line(plots[i], line, file);
        }
        fputc('\n', file);
    }
}
