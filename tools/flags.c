// Flags: popt reads the command line, this table says what is right.
#include <errno.h>
#include <math.h>
#include <popt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

enum { HELP_VALUE = 1000, MAX_FLAGS = 80, HELP_COLUMN = 26, HELP_WIDTH = 79 };

// ---- help ----

static void print_flag(const char *name, const char *argument,
                       const char *help)
{
    int column = printf("  --%s%s%s", name, argument ? " " : "",
                        argument ? argument : "");
    if (column >= HELP_COLUMN) {
        putchar('\n');
        column = 0;
    }
    printf("%*s", HELP_COLUMN - column, "");
    print_wrapped(help, HELP_COLUMN, HELP_WIDTH);
}

static void print_help(const struct command *command,
                       const struct flag *flags, int flag_count)
{
    printf("%s\n\nusage: quern %s%s%s [OPTION]...\n\n", command->summary,
           command->name, *command->arguments ? " " : "",
           command->arguments);
    for (int i = 0; i < flag_count; i++)
        print_flag(flags[i].name, flags[i].argument, flags[i].help);
    print_flag("help", NULL, "show this");
    if (command->details)
        printf("\n%s\n", command->details);
}

// ---- values ----

static bool in_range(const struct flag *flag, double value)
{
    return value >= flag->low && value <= flag->high; // false for NaN
}

static bool read_count(struct flag *flag, const char *text)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    bool good = !errno && end != text && !*end &&
                in_range(flag, (double)value);
    if (good)
        *(int64_t *)flag->value = value;
    return good;
}

static bool read_number(struct flag *flag, const char *text)
{
    char *end;
    double value = strtod(text, &end);
    bool good = end != text && !*end && in_range(flag, value);
    if (good)
        *(double *)flag->value = value;
    return good;
}

static bool add_to_list(struct flag *flag, const char *text)
{
    struct flag_list *list = flag->value;
    const size_t size = ((size_t)list->count + 1) * sizeof *list->items;
    struct flag_text *items = *text ? realloc(list->items, size) : NULL;
    if (!items)
        return false;
    list->items = items;
    items[list->count++] = (struct flag_text){flag->name, text};
    return true;
}

static bool read_value(struct flag *flag, const char *text)
{
    switch (flag->kind) {
    case FLAG_SWITCH:
        *(bool *)flag->value = true;
        return true;
    case FLAG_TEXT:
        *(const char **)flag->value = text;
        return *text != 0;
    case FLAG_COUNT:
        return read_count(flag, text);
    case FLAG_NUMBER:
        return read_number(flag, text);
    case FLAG_LIST:
        return add_to_list(flag, text);
    }
    return false;
}

static int bad_value(const struct command *command, const struct flag *flag,
                     const char *text)
{
    if (flag->kind == FLAG_TEXT || flag->kind == FLAG_LIST)
        return usage_error(command, "--%s: needs a value", flag->name);
    const char *kind = flag->kind == FLAG_COUNT ? "whole number" : "number";
    if (isinf(flag->high))
        return usage_error(command, "--%s %s: needs a %s of at least %.15g",
                           flag->name, text, kind, flag->low);
    return usage_error(command, "--%s %s: needs a %s from %.15g to %.15g",
                       flag->name, text, kind, flag->low, flag->high);
}

// ---- parsing ----

static int bad_option(const struct command *command, poptContext context,
                      int code, const struct flag *flags, int flag_count)
{
    const char *names[MAX_FLAGS + 1];
    const char *given = poptBadOption(context, POPT_BADOPTION_NOALIAS);
    if (code != POPT_ERROR_BADOPT)
        return usage_error(command, "%s: %s", given, poptStrerror(code));
    for (int i = 0; i < flag_count; i++)
        names[i] = flags[i].name;
    names[flag_count] = "help";
    char word[64];
    snprintf(word, sizeof word, "%s", given + strspn(given, "-"));
    word[strcspn(word, "=")] = 0;
    const char *nearest = qn_text_nearest(word, names, flag_count + 1);
    return usage_error(command, "unknown option %.*s%s%s%s",
                       (int)strcspn(given, "="), given,
                       nearest ? "; did you mean --" : "",
                       nearest ? nearest : "", nearest ? "?" : "");
}

static void fill_table(const struct flag *flags, int flag_count,
                       struct poptOption *table)
{
    for (int i = 0; i < flag_count; i++)
        table[i] = (struct poptOption){
            .longName = flags[i].name,
            .argInfo = flags[i].kind == FLAG_SWITCH ? POPT_ARG_NONE
                                                    : POPT_ARG_STRING,
            .val = i + 1};
    table[flag_count] = (struct poptOption){
        .longName = "help", .shortName = 'h', .val = HELP_VALUE};
    table[flag_count + 1] = (struct poptOption)POPT_TABLEEND;
}

static int count_words(const char **words)
{
    int count = 0;
    while (words && words[count])
        count++;
    return count;
}

// popt hands over copies of values; they live as long as the words.
static const char *keep_text(struct words *words, char *text)
{
    size_t size = ((size_t)words->value_count + 1) * sizeof text;
    char **values = text ? realloc(words->values, size) : NULL;
    if (!values) {
        free(text);
        return "";
    }
    words->values = values;
    values[words->value_count++] = text;
    return text;
}

bool parse_flags(const struct command *command, int argc, const char **argv,
                 struct flag *flags, int flag_count, struct words *words,
                 int *status)
{
    // popt keeps a pointer to the table until its context is freed.
    static struct poptOption table[MAX_FLAGS + 2];
    fill_table(flags, flag_count, table);
    poptContext context = poptGetContext("quern", argc, argv, table, 0);
    int code;
    *words = (struct words){.context = context};
    while ((code = poptGetNextOpt(context)) > 0 && code != HELP_VALUE) {
        struct flag *flag = &flags[code - 1];
        const char *text = keep_text(words, poptGetOptArg(context));
        flag->given = true;
        if (read_value(flag, text))
            continue;
        *status = bad_value(command, flag, text);
        free_words(words);
        return false;
    }
    words->text = poptGetArgs(context);
    words->count = count_words(words->text);
    if (code == -1)
        return true;
    *status = EXIT_DONE;
    if (code == HELP_VALUE)
        print_help(command, flags, flag_count);
    else
        *status = bad_option(command, context, code, flags, flag_count);
    free_words(words);
    return false;
}

void free_words(struct words *words)
{
    if (words->context)
        poptFreeContext(words->context);
    for (int i = 0; i < words->value_count; i++)
        free(words->values[i]);
    free(words->values);
    *words = (struct words){0};
}
