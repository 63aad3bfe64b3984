// What the subcommands of quern share. They use the library's public headers
// only.
#ifndef COMMAND_H
#define COMMAND_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "quern/quern.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_NO_DEVICE = 3 };

#if defined(__GNUC__)
#define PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define PRINTF(f, a)
#endif

// ---- subcommands (quern.c) ----

struct command {
    const char *name;
    const char *arguments; // "MODEL"
    const char *summary;   // what it does, one line
    const char *details;   // more for --help, or NULL
    int (*run)(const struct command *command, int argc, const char **argv);
};

int run_devices(const struct command *command, int argc, const char **argv);
int run_list(const struct command *command, int argc, const char **argv);
int run_summary(const struct command *command, int argc, const char **argv);
int run_train(const struct command *command, int argc, const char **argv);
int run_eval(const struct command *command, int argc, const char **argv);
int run_bench(const struct command *command, int argc, const char **argv);
int run_predict(const struct command *command, int argc, const char **argv);

// Draws schedules, given as text or by default the examples of the table, or
// prints their numbers (list_schedules.c).
int plot_schedules(const struct command *command, const char *const *texts,
                   int count, bool json);

// ---- flags (flags.c) ----

enum flag_kind {
    FLAG_SWITCH, // bool
    FLAG_TEXT,   // const char *
    FLAG_COUNT,  // int64_t
    FLAG_NUMBER, // double
    FLAG_LIST,   // struct flag_list, which two flags may share
};

// The values of a flag that may be repeated, in their order.
struct flag_list {
    struct flag_text {
        const char *flag, *text; // they live as long as the words
    } *items;                    // to be freed
    int count;
};

struct flag {
    const char *name;     // without its dashes
    const char *argument; // "N"; NULL for a switch
    const char *help;
    enum flag_kind kind;
    void *value;
    double low, high; // for FLAG_COUNT and FLAG_NUMBER
    bool given;       // set by parse_flags
};

#define FLAG_DEVICE(variable)                                             \
    {"device", "D", "best, gpu, cpu, gpu:1, 0:1 or part of a name",       \
     FLAG_TEXT, &(variable), 0, 0, false}
#define FLAG_JSON(variable)                                               \
    {"json", NULL, "print one JSON object", FLAG_SWITCH, &(variable), 0,  \
     0, false}
#define FLAG_QUIET(variable)                                              \
    {"quiet", NULL, "no progress, only warnings and errors", FLAG_SWITCH, \
     &(variable), 0, 0, false}
#define FLAG_AVERAGE(variable)                                            \
    {"average", NULL,                                                     \
     "by the moving average of the parameters (quern train --ema)",       \
     FLAG_SWITCH, &(variable), 0, 0, false}
#define FLAG_COUNT_OF(array) ((int)(sizeof(array) / sizeof *(array)))

// The words that are no flags. They live until free_words.
struct words {
    const char **text;
    int count;
    void *context; // popt's
    char **values; // of flags
    int value_count;
};

// Reads flags and words. False where the command ends here, after --help or
// an error of usage; `*status` is then its exit status.
bool parse_flags(const struct command *command, int argc, const char **argv,
                 struct flag *flags, int flag_count, struct words *words,
                 int *status);
void free_words(struct words *words);

// ---- messages (message.c) ----

// "quern: ..." on stderr. Each clears a progress line before.
int usage_error(const struct command *command, const char *format, ...)
    PRINTF(2, 3);            // returns EXIT_USAGE
int fail(const char *format, ...) PRINTF(1, 2); // returns EXIT_FAILED
// The exit status that fits the error; prints what helps.
int fail_with(const struct command *command, const qn_error *error);
// A line on stderr unless `quiet`.
void say(bool quiet, const char *format, ...) PRINTF(2, 3);
// The library's messages: warnings and errors always, more if not quiet.
qn_logger message_logger(void);

// Prints the object on stdout, one line, and releases it.
int print_json(json_t *object);
// A number, or null where it is not finite.
json_t *json_number(double value);

// "1,437", "12.5 GiB", "1:02:03". Written to `text`, which is returned.
enum { SHORT_TEXT = 32 };
char *text_count(char text[SHORT_TEXT], int64_t count);
char *text_size(char text[SHORT_TEXT], double bytes);
char *text_time(char text[SHORT_TEXT], double seconds);
// Prints words on stdout from `column` on, where the cursor is, and ends the
// line; lines after the first begin at `column` too. `width` of the whole.
void print_wrapped(const char *text, int column, int width);

// ---- what most subcommands open (open.c) ----

// Each returns NULL after saying why; `*status` is then the exit status.
qn_device *open_device(const struct command *command, const char *choice,
                       bool profile, int *status);
qn_model *open_model(const struct command *command, const char *text,
                     int *status);
qn_dataset *open_dataset(const struct command *command, const char *text,
                         int *status);
qn_run *open_run(const struct command *command, const char *path,
                 int *status);
// "device  NAME (CPU, 2 compute units): why" on stderr.
void say_device(bool quiet, const qn_device *device);
// "label   text" on stderr, the label dim on a terminal.
void say_fact(bool quiet, const char *label, const char *format, ...)
    PRINTF(3, 4);

// ---- the system (os_posix.c) ----

// Columns of the terminal behind a stream, 0 where it is none (or a dumb one).
int terminal_width(FILE *file);
bool terminal_has_color(FILE *file); // and NO_COLOR is not set
bool locale_is_utf8(void);
// Pins PoCL's workers to processors, which is worth up to 1.7x there, unless
// the user has decided or the process may not use processors 0 to n-1. Before
// the first use of OpenCL.
void pin_workers(void);
// From now on a first Ctrl-C or TERM sets the flag, a second one ends.
void catch_interrupts(void);
bool is_interrupted(void);
// Seconds of a clock that never goes back.
double seconds_now(void);
// Bytes of memory that the process had resident at most, since the last reset
// where the system has one (Linux), else since it began; 0 where nobody tells.
double peak_resident_size(void);
void reset_peak_resident_size(void);
// Makes a new folder. False where it exists or cannot be made (`*exists`).
bool make_new_folder(const char *path, bool *exists);

#endif
