// Names of classes: a text of one a line, in the order of the labels.
#include "data/data.h"

#include <stdlib.h>
#include <string.h>

#include "base/os.h"

enum { TEXT_LIMIT = 1 << 20, LENGTH_MAX = 63 };

// The line at `*at`, without blanks at its end, becomes a text of its own.
static char *next_line(char **at)
{
    char *line = *at, *end = line + strcspn(line, "\n");
    *at = *end ? end + 1 : end;
    *end = 0;
    while (end > line && strchr(" \r", end[-1]))
        *--end = 0;
    return line;
}

bool qn_class_name_is(const char *text)
{
    size_t length = 0;
    while (text[length] >= ' ' && text[length] <= '~')
        length++;
    return length > 0 && length <= LENGTH_MAX && text[length] == 0;
}

static qn_status cut(const char *path, char *text, int classes,
                     const char **names, qn_error *error)
{
    for (int i = 0; i < classes; i++) {
        names[i] = next_line(&text);
        if (!qn_class_name_is(names[i]))
            return qn_fail(error, QN_FORMAT,
                           "%s:%d: no name of a class (1 to %d printable "
                           "ASCII characters; %d lines)", path, i + 1,
                           LENGTH_MAX, classes);
    }
    for (int i = classes; *text; i++)
        if (*next_line(&text))
            return qn_fail(error, QN_FORMAT,
                           "%s:%d: more names than the %d classes", path,
                           i + 1, classes);
    return QN_OK;
}

qn_status qn_class_names_read(const char *path, int classes,
                              const char ***names, qn_error *error)
{
    unsigned char *text;
    size_t size, table = (size_t)classes * sizeof **names;
    QN_TRY(qn_os_read_file(path, TEXT_LIMIT, &text, &size, error));
    // One block: the table, then the text that it points into.
    const char **block = malloc(table + size + 1);
    qn_status status = QN_OK;
    if (block) {
        char *copy = (char *)(block + classes);
        memcpy(copy, text, size + 1);
        status = cut(path, copy, classes, block, error);
    } else {
        status = qn_fail_memory(error, table + size + 1);
    }
    free(text);
    if (status == QN_OK)
        *names = block;
    else
        free(block);
    return status;
}
