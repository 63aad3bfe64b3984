// Lines of bytes written as decimal numbers between commas. Knows nothing of
// what the columns mean.
#include "data/data.h"

#include <stdlib.h>
#include <string.h>

struct reader {
    const char *name;
    const char *at;
    const char *end;
    int64_t line;
    qn_error *error;
};

static void skip_blanks(struct reader *reader)
{
    while (reader->at < reader->end &&
           (*reader->at == ' ' || *reader->at == '\t' || *reader->at == '\r'))
        reader->at++;
}

static qn_status read_value(struct reader *reader, int64_t column,
                            unsigned char *value)
{
    int number = 0, digits = 0;
    skip_blanks(reader);
    while (reader->at < reader->end && *reader->at >= '0' &&
           *reader->at <= '9' && number < 256) {
        number = 10 * number + (*reader->at++ - '0');
        digits++;
    }
    skip_blanks(reader);
    bool ends = reader->at == reader->end || *reader->at == ',' ||
                *reader->at == '\n';
    if (!digits || number > 255 || !ends)
        return qn_fail(reader->error, QN_FORMAT,
                       "%s:%lld: value %lld is not a whole number from 0 to "
                       "255", reader->name, (long long)reader->line,
                       (long long)column + 1);
    *value = (unsigned char)number;
    return QN_OK;
}

static qn_status read_row(struct reader *reader, int64_t columns,
                          unsigned char *values)
{
    for (int64_t i = 0; i < columns; i++) {
        QN_TRY(read_value(reader, i, values + i));
        bool more = reader->at < reader->end && *reader->at == ',';
        if (more != (i + 1 < columns))
            return qn_fail(reader->error, QN_FORMAT,
                           "%s:%lld: has %s than %lld values", reader->name,
                           (long long)reader->line, more ? "more" : "fewer",
                           (long long)columns);
        reader->at += more;
    }
    reader->at += reader->at < reader->end; // the line's end
    return QN_OK;
}

static int64_t count_lines(const char *text, size_t size)
{
    int64_t count = size > 0 && text[size - 1] != '\n';
    for (size_t i = 0; i < size; i++)
        count += text[i] == '\n';
    return count;
}

qn_status qn_csv_read(const char *name, const char *text, size_t size,
                      int64_t columns, unsigned char **values, int64_t *rows,
                      qn_error *error)
{
    struct reader reader = {name, text, text + size, 0, error};
    int64_t count = count_lines(text, size);
    *values = NULL;
    *rows = 0;
    if (count == 0)
        return qn_fail(error, QN_FORMAT, "%s: is empty", name);
    // A value needs two bytes of text, so a file cannot ask for more memory
    // than it has itself; a final line end may be missing.
    if ((uint64_t)count > (size / 2 + 1) / (uint64_t)columns)
        return qn_fail(error, QN_FORMAT,
                       "%s: has lines with fewer than %lld values", name,
                       (long long)columns);
    unsigned char *data = malloc((size_t)(count * columns));
    if (!data)
        return qn_fail_memory(error, (size_t)(count * columns));
    for (int64_t i = 0; i < count; i++) {
        reader.line = i + 1;
        qn_status status = read_row(&reader, columns, data + i * columns);
        if (status != QN_OK) {
            free(data);
            return status;
        }
    }
    *values = data;
    *rows = count;
    return QN_OK;
}
