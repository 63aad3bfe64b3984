// quern list schedules --plot: each schedule as a picture, or as numbers.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "plot.h"

// The run of the pictures.
enum { EPOCHS = 100, EPOCH_STEPS = 100, STEPS = EPOCHS * EPOCH_STEPS };
static const double base_lr = 0.1;
enum { TEXTS_MAX = 64, SIDE_BY_SIDE_MAX = 4, PICTURE_WIDTH = 38 };

struct curve {
    const char *text; // "cosine:eta_min=0.01"
    struct qn_schedule_params params;
    double lr[STEPS + 1];
    double momentum[STEPS + 1]; // NAN where it gives none
};

// A test loss that falls until epoch 30, rests, falls from 60 to 80, rests.
static double made_up_loss(int epoch)
{
    if (epoch < 60)
        return epoch < 30 ? 1 - 0.02 * epoch : 0.4;
    return epoch < 80 ? 0.4 - 0.01 * (epoch - 60) : 0.2;
}

// `text` has been checked.
static void fill_curve(struct curve *curve, const char *text)
{
    curve->text = text;
    qn_schedule_parse(text, &curve->params, NULL);
    struct qn_schedule_state state =
        qn_schedule_start(&curve->params, base_lr);
    for (int i = 0; i <= STEPS; i++) {
        const struct qn_schedule_position at = {
            .base = base_lr, .step = i, .epoch_steps = EPOCH_STEPS,
            .steps = STEPS, .state = &state};
        curve->lr[i] = qn_schedule_value(&curve->params, &at);
        curve->momentum[i] = qn_schedule_momentum(&curve->params, &at);
        if ((i + 1) % EPOCH_STEPS != 0)
            continue;
        double loss = made_up_loss(i / EPOCH_STEPS);
        const struct qn_schedule_metrics metrics = {
            .train_loss = loss, .train_accuracy = 1 - loss,
            .test_loss = loss, .test_accuracy = 1 - loss};
        qn_schedule_observe(&curve->params, &state, &metrics);
    }
}

// ---- numbers ----

static json_t *numbers(const double *values)
{
    enum { STRIDE = 20 };
    json_t *array = json_array();
    for (int i = 0; i <= STEPS; i += STRIDE)
        json_array_append_new(array, values ? json_number(values[i])
                                            : json_integer(i));
    return array;
}

static json_t *curve_json(const struct curve *curve)
{
    bool has_momentum = !isnan(curve->momentum[0]);
    return json_pack("{ss so so so}", "schedule", curve->text, "step",
                     numbers(NULL), "lr", numbers(curve->lr), "momentum",
                     has_momentum ? numbers(curve->momentum) : json_null());
}

static int print_numbers(struct curve *curve, const char *const *texts,
                         int count)
{
    json_t *list = json_array();
    for (int i = 0; i < count; i++) {
        fill_curve(curve, texts[i]);
        json_array_append_new(list, curve_json(curve));
    }
    return print_json(json_pack("{si si sf so}", "epochs", EPOCHS,
                                "epoch_steps", EPOCH_STEPS, "lr", base_lr,
                                "schedules", list));
}

// ---- pictures ----

// Pictures that wait until a row is full.
struct gallery {
    struct plot *row[SIDE_BY_SIDE_MAX];
    int count, columns; // of pictures: waiting, in a row
    int width;          // of one
    int height;
    bool printed;
};

static void print_row(struct gallery *gallery)
{
    if (gallery->count == 0)
        return;
    if (gallery->printed)
        putchar('\n');
    plot_print_row(gallery->row, gallery->count, stdout);
    for (int i = 0; i < gallery->count; i++)
        plot_destroy(&gallery->row[i]);
    gallery->count = 0;
    gallery->printed = true;
}

static bool add_picture(struct gallery *gallery, const struct curve *curve,
                        bool of_momentum)
{
    static double epochs[STEPS + 1];
    const double *values = of_momentum ? curve->momentum : curve->lr;
    char title[80], note[400];
    size_t name = strcspn(curve->text, ":+");
    bool is_all_name = curve->text[name] != ':';
    double low = values[0];
    for (int i = 0; i <= STEPS; i++) {
        epochs[i] = i / (double)EPOCH_STEPS;
        low = fmin(low, values[i]);
    }
    snprintf(title, sizeof title, "%.*s%s",
             (int)(is_all_name ? strlen(curve->text) : name), curve->text,
             of_momentum ? ", its momentum" : "");
    snprintf(note, sizeof note, "%s",
             is_all_name ? "" : curve->text + name + 1);
    struct plot *plot = plot_create(&(struct plot_params){
        .title = title, .note = note, .x_name = "epoch",
        .y_name = of_momentum ? "" : "lr", .x = epochs, .y = values,
        .count = STEPS + 1, .y_low = of_momentum ? low : 0, .mark = (double)NAN,
        .width = gallery->width, .height = gallery->height,
        .is_utf8 = locale_is_utf8(), .has_color = terminal_has_color(stdout)});
    if (!plot)
        return false;
    gallery->row[gallery->count++] = plot;
    if (gallery->count == gallery->columns)
        print_row(gallery);
    return true;
}

static int print_pictures(struct curve *curve, const char *const *texts,
                          int count)
{
    int width = terminal_width(stdout);
    width = width ? width - 1 : 79;
    struct gallery gallery = {.columns = (width + 2) / (PICTURE_WIDTH + 2),
                              .width = PICTURE_WIDTH,
                              .height = 7};
    bool good = true;
    if (gallery.columns > SIDE_BY_SIDE_MAX)
        gallery.columns = SIDE_BY_SIDE_MAX;
    if (count == 1 || gallery.columns < 2) {
        gallery.columns = 1;
        gallery.width = width < 30 ? 30 : width > 100 ? 100 : width;
        gallery.height = 12;
    }
    for (int i = 0; i < count && good; i++) {
        fill_curve(curve, texts[i]);
        good = add_picture(&gallery, curve, false);
        if (good && !isnan(curve->momentum[0]))
            good = add_picture(&gallery, curve, true);
    }
    print_row(&gallery);
    printf("\n%d epochs of %d steps, lr %g; for plateau a test loss that "
           "falls until\nepoch 30 and from 60 to 80.\n", EPOCHS, EPOCH_STEPS,
           base_lr);
    return good ? EXIT_DONE : fail("no memory for a picture");
}

int plot_schedules(const struct command *command, const char *const *texts,
                   int count, bool json)
{
    const char *all[TEXTS_MAX];
    qn_error error = {0};
    struct qn_schedule_params params;
    const struct qn_schedule *row;
    if (count > TEXTS_MAX)
        return usage_error(command, "more than %d schedules", TEXTS_MAX);
    for (int i = 0; i < count; i++)
        if (qn_schedule_parse(texts[i], &params, &error) != QN_OK)
            return fail_with(command, &error);
    for (int i = 0; count == 0 && (row = qn_schedule_at(i)); i++)
        all[i] = row->example;
    if (count == 0) {
        texts = all;
        while (qn_schedule_at(count))
            count++;
    }
    struct curve *curve = malloc(sizeof *curve);
    if (!curve)
        return fail("no memory for a curve");
    int status = json ? print_numbers(curve, texts, count)
                      : print_pictures(curve, texts, count);
    free(curve);
    return status;
}
