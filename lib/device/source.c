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

qn_status qn_source_join(const qn_device *device,
                         const struct qn_launch *launch, struct qn_text *out,
                         qn_error *error)
{
    QN_TRY(add_file(device, "common", out, error));
    if (launch->include)
        QN_TRY(add_includes(device, launch->include, out, error));
    if (launch->text)
        add_piece(out, "generated.cl", launch->text, strlen(launch->text));
    if (launch->file)
        QN_TRY(add_file(device, launch->file, out, error));
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
    if (*launch->defines)
        qn_text_add(out, " %s", launch->defines);
}

// ---- the lines that a compiler complains about ----

// Line `number` of the piece `name`: its start, and its length without the
// newline. NULL if there is none.
static const char *find_line(const char *source, const char *name, int number,
                             size_t *length)
{
    char head[128], found[96];
    int line = 0;
    bool is_inside = false;
    for (const char *at = source; *at; at += at[*length] ? *length + 1
                                                         : *length) {
        *length = strcspn(at, "\n");
        snprintf(head, sizeof head, "%.*s",
                 *length < sizeof head ? (int)*length : (int)sizeof head - 1,
                 at);
        if (sscanf(head, "#line 1 \"%95[^\"]\"", found) == 1) {
            is_inside = strcmp(found, name) == 0;
            line = 0;
        } else if (is_inside && ++line == number) {
            return at;
        }
    }
    return NULL;
}

static void quote_line(const char *source, const char *name, int number,
                       bool is_meant, struct qn_text *out)
{
    size_t length;
    const char *line = find_line(source, name, number, &length);
    if (line)
        qn_text_add(out, "%s %s:%d | %.*s\n", is_meant ? ">" : " ", name,
                    number, (int)length, line);
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
    enum { MOST = 4, AROUND = 2 };
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
        for (int i = line - AROUND; i <= line + AROUND; i++)
            quote_line(source, name, i, i == line, out);
        last_line = line;
        memcpy(last_name, name, sizeof name);
    }
    qn_text_finish(&text);
}
