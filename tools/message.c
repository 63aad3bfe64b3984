// What the command says: errors, notes, numbers, JSON.
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bar.h"
#include "command.h"

static void print_line(const char *prefix, const char *format, va_list args)
{
    clear_bar();
    fputs(prefix, stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
}

int usage_error(const struct command *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_line("quern: ", format, args);
    va_end(args);
    if (command)
        fprintf(stderr, "Try: quern %s --help\n", command->name);
    else
        fprintf(stderr, "Try: quern --help\n");
    return EXIT_USAGE;
}

int fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_line("quern: ", format, args);
    va_end(args);
    return EXIT_FAILED;
}

int fail_with(const struct command *command, const qn_error *error)
{
    const char *text = *error->text ? error->text
                                    : qn_status_sentence(error->status);
    if (error->status == QN_BAD_ARGUMENT)
        return usage_error(command, "%s", text);
    fail("%s", text);
    return error->status == QN_NO_DEVICE ? EXIT_NO_DEVICE : EXIT_FAILED;
}

void say(bool quiet, const char *format, ...)
{
    va_list args;
    if (quiet)
        return;
    va_start(args, format);
    print_line("", format, args);
    va_end(args);
}

static void log_message(void *user, qn_log_level level, const char *message)
{
    (void)user;
    if (level == QN_LOG_ERROR)
        fail("%s", message);
    else if (level == QN_LOG_WARNING)
        fail("warning: %s", message);
}

qn_logger message_logger(void)
{
    return (qn_logger){log_message, NULL};
}

int print_json(json_t *object)
{
    char *text = object ? json_dumps(object, JSON_REAL_PRECISION(10)) : NULL;
    json_decref(object);
    if (!text)
        return fail("the result cannot be written as JSON: is a path not "
                    "UTF-8?");
    bool written = puts(text) >= 0 && fflush(stdout) == 0;
    free(text);
    return written ? EXIT_DONE : fail("cannot write the result");
}

json_t *json_number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

char *text_count(char text[SHORT_TEXT], int64_t count)
{
    char digits[SHORT_TEXT];
    int length = snprintf(digits, sizeof digits, "%lld", (long long)count);
    int at = 0;
    for (int i = 0; i < length && at < SHORT_TEXT - 2; i++) {
        text[at++] = digits[i];
        int left = length - 1 - i;
        if (left > 0 && left % 3 == 0 && digits[i] != '-')
            text[at++] = ',';
    }
    text[at] = 0;
    return text;
}

char *text_size(char text[SHORT_TEXT], double bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    int unit = 0;
    while (bytes >= 1024 && unit < 4) {
        bytes /= 1024;
        unit++;
    }
    snprintf(text, SHORT_TEXT, unit ? "%.1f %s" : "%.0f %s", bytes,
             units[unit]);
    return text;
}

char *text_time(char text[SHORT_TEXT], double seconds)
{
    if (!(seconds >= 0) || seconds > 1e8) {
        snprintf(text, SHORT_TEXT, "?");
        return text;
    }
    long whole = (long)(seconds + 0.5);
    if (whole < 3600)
        snprintf(text, SHORT_TEXT, "%ld:%02ld", whole / 60, whole % 60);
    else
        snprintf(text, SHORT_TEXT, "%ld:%02ld:%02ld", whole / 3600,
                 whole / 60 % 60, whole % 60);
    return text;
}

void print_wrapped(const char *text, int column, int width)
{
    int at = column;
    while (*text) {
        size_t length = strcspn(text, " ");
        bool is_first = at == column;
        if (!is_first && at + 1 + (int)length > width) {
            printf("\n%*s", column, "");
            at = column;
            is_first = true;
        }
        at += printf("%s%.*s", is_first ? "" : " ", (int)length, text);
        text += length;
        text += strspn(text, " ");
    }
    putchar('\n');
}
