// Curves as pictures of characters.
#ifndef PLOT_H
#define PLOT_H

#include <stdbool.h>
#include <stdio.h>

struct plot_params {
    const char *title, *note; // lines above; may be NULL
    const char *x_name, *y_name;
    const double *x, *y; // x rises; a y that is not finite leaves a gap
    int count;
    double y_low, y_high; // what the vertical axis holds at least
    bool has_log_x;
    double mark; // x of a vertical line, NAN: none
    int width;   // columns of the whole picture, 30 at least
    int height;  // rows of the curve, 2 at least
    bool is_utf8, has_color;
};

// A picture. Made once, then printed line by line, so that several can stand
// side by side. Keeps copies of title and note and no pointer to the numbers.
struct plot;
// NULL without memory or where no point is finite.
struct plot *plot_create(const struct plot_params *params);
void plot_destroy(struct plot **plot);
int plot_line_count(const struct plot *plot);
// Prints line `line`, exactly `width` columns, without ending it.
void plot_print_line(const struct plot *plot, int line, FILE *file);
// Pictures of one height side by side, empty places being NULL, with two
// columns between them.
void plot_print_row(struct plot *const *plots, int count, FILE *file);

#endif
