// Puts a program's text together from the kernel files, embedded or in a
// folder, and shows the lines that a compiler complains about.
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "device/source.h"
#include "device/sources.h"

enum { LARGEST_FILE = 4 << 20 };

static void add_piece(struct qn_text *out, const char *name, const void *data,
                      size_t size)
{
    qn_text_add(out, "#line 1 \"%s\"\n", name);
    qn_text_append(out, data, size);
    if (size && ((const char *)data)[size - 1] != '\n')
        qn_text_append(out, "\n", 1);
}

static qn_status add_file(const qn_device *device, const char *name,
                          struct qn_text *out, qn_error *error)
{
    char label[96];
    snprintf(label, sizeof label, "%s.cl", name);
    if (device->cl_path) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", device->cl_path, label);
        if (qn_os_is_file(path)) {
            unsigned char *data;
            size_t size;
            QN_TRY(qn_os_read_file(path, LARGEST_FILE, &data, &size, error));
            add_piece(out, label, data, size);
            free(data);
            return QN_OK;
        }
    }
    for (const struct qn_source *source = qn_sources; source->name; source++)
        if (strcmp(source->name, name) == 0) {
            add_piece(out, label, source->data, source->size);
            return QN_OK;
        }
    return qn_fail(error, QN_BUILD, "there is no kernel file %s", label);
}

static qn_status add_includes(const qn_device *device, const char *names,
                              struct qn_text *out, qn_error *error)
{
    while (*(names += strspn(names, " "))) {
        char name[64];
        size_t length = strcspn(names, " ");
        snprintf(name, sizeof name, "%.*s", (int)length, names);
        QN_TRY(add_file(device, name, out, error));
        names += length;
    }
    return QN_OK;
}

// Part `i` of a generated text; returns the next one, or NULL.
static const char *add_part(const char *part, int i, struct qn_text *out)
{
    char name[32];
    const size_t size = strcspn(part, "\f");
    snprintf(name, sizeof name, i ? "generated%d.cl" : "generated.cl", i);
    add_piece(out, name, part, size);
    return part[size] ? part + size + 1 : NULL;
}

qn_status qn_source_join(const qn_device *device,
                         const struct qn_launch *launch, struct qn_text *out,
                         qn_error *error)
{
    QN_TRY(add_file(device, "common", out, error));
    if (launch->include)
        QN_TRY(add_includes(device, launch->include, out, error));
    const char *part = launch->text;
    for (int i = 0; i == 0 || part; i++) {
        if (part)
            part = add_part(part, i, out);
        if (launch->file)
            QN_TRY(add_file(device, launch->file, out, error));
    }
    return out->failed ? qn_fail_memory(error, out->length) : QN_OK;
}

void qn_source_options(const qn_device *device,
                       const struct qn_launch *launch, struct qn_text *out)
{
    bool is_double = launch->real == QN_FLOAT64;
    qn_text_add(out, "-cl-std=CL1.2 -DREAL_IS_DOUBLE=%d -DCPU=%d", is_double,
                device->limits.variant == QN_VARIANT_CPU);
    if (!is_double)
        qn_text_add(out, " -cl-single-precision-constant");
    // Some drivers print warnings on the terminal. Who edits kernels wants them.
    if (!device->cl_path)
        qn_text_add(out, " -w");
    if (*launch->defines)
        qn_text_add(out, " %s", launch->defines);
}

// ---- the lines that a compiler complains about ----

// A line of a joined source: where it stands in it and in its piece.
struct line {
    const char *text;
    size_t length;
    int number;       // in all of the source, from 1
    int piece_number; // after the piece's #line, from 1
    char piece[96];
};

// The next line of text, over a #line; false at the end. Starts with a zeroed
// line whose text is the source.
static bool next_line(struct line *line)
{
    char head[128];
    do {
        line->text += line->length;
        line->text += line->number > 0 && *line->text;
        if (!*line->text)
            return false;
        line->length = strcspn(line->text, "\n");
        line->number++;
        line->piece_number++;
        snprintf(head, sizeof head, "%.*s",
                 line->length < sizeof head ? (int)line->length
                                            : (int)sizeof head - 1,
                 line->text);
        if (sscanf(head, "#line 1 \"%95[^\"]\"", line->piece) == 1)
            line->piece_number = 0;
    } while (line->piece_number == 0);
    return true;
}

// Quotes the lines around line `number` of a piece. Some compilers do not heed
// #line: a name that no piece has means the source as a whole.
static void quote_place(const char *source, const char *name, int number,
                        struct qn_text *out)
{
    enum { AROUND = 2 };
    bool is_piece = false;
    for (struct line line = {.text = source}; next_line(&line);)
        is_piece |= strcmp(line.piece, name) == 0;
    for (struct line line = {.text = source}; next_line(&line);) {
        int distance = (is_piece ? line.piece_number : line.number) - number;
        if (abs(distance) <= AROUND &&
            (!is_piece || strcmp(line.piece, name) == 0))
            qn_text_add(out, "%s %s:%d | %.*s\n", distance ? " " : ">",
                        line.piece, line.piece_number, (int)line.length,
                        line.text);
    }
}

// Finds the next "name.cl:12" in a build log. Returns what follows it, or
// NULL.
static const char *next_place(const char *at, char name[96], int *line)
{
    while ((at = strstr(at, ".cl:"))) {
        const char *start = at;
        char *end;
        while (start > at - 90 && (isalnum((unsigned char)start[-1]) ||
                                   start[-1] == '_'))
            start--;
        at += 4;
        long number = strtol(at, &end, 10);
        if (end == at || number < 1 || number > 1000000)
            continue;
        snprintf(name, 96, "%.*s", (int)(at - 1 - start), start);
        *line = (int)number;
        return end;
    }
    return NULL;
}

void qn_source_quote(const char *source, const char *build_log,
                     struct qn_text *out)
{
    enum { MOST = 4 };
    char name[96], last_name[96] = "";
    int line, last_line = 0, count = 0;
    // A blank in front, so that a name may stand at the very start.
    struct qn_text text = {0};
    qn_text_add(&text, " %s", build_log);
    const char *at = text.data;
    while (at && count < MOST && (at = next_place(at, name, &line))) {
        if (line == last_line && strcmp(name, last_name) == 0)
            continue;
        if (count++)
            qn_text_add(out, "\n");
        quote_place(source, name, line, out);
        last_line = line;
        memcpy(last_name, name, sizeof name);
    }
    qn_text_finish(&text);
}
