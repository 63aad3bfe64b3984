// Status names, error texts, logging. Knows nothing but C.
#include "base/status.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    const char *sentence;
} statuses[] = {
#define STATUS_ROW(name, sentence) {"QN_" #name, sentence},
    QN_STATUS_MAP(STATUS_ROW)
#undef STATUS_ROW
};

enum { STATUS_COUNT = sizeof statuses / sizeof *statuses };

const char *qn_status_name(qn_status status)
{
    return (unsigned)status < STATUS_COUNT ? statuses[status].name
                                           : "unknown status";
}

const char *qn_status_sentence(qn_status status)
{
    return (unsigned)status < STATUS_COUNT ? statuses[status].sentence
                                           : "unknown status";
}

qn_status qn_fail_va(qn_error *error, qn_status status, const char *format,
                     va_list args)
{
    if (error && error->status == QN_OK) {
        error->status = status;
        vsnprintf(error->text, sizeof error->text, format, args);
    }
    return status;
}

qn_status qn_fail(qn_error *error, qn_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    qn_fail_va(error, status, format, args);
    va_end(args);
    return status;
}

qn_status qn_fail_memory(qn_error *error, size_t size)
{
    return qn_fail(error, QN_NO_MEMORY, "out of memory (%zu bytes asked)",
                   size);
}

void qn_log_write(const qn_logger *log, qn_log_level level, const char *format,
                  ...)
{
    if (!log || !log->callback)
        return;
    char message[4000];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    log->callback(log->user, level, message);
}
