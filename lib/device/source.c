// Puts a program's text together from the kernel files, embedded or in a
// folder, and shows the lines that a compiler complains about.
#include "device/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
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

void qn_source_quote(const char *source, const char *build_log,
                     struct qn_text *out)
{
    (void)source, (void)build_log, (void)out;
}
