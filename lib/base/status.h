// Errors and logging inside the library.
#ifndef QN_BASE_STATUS_H
#define QN_BASE_STATUS_H

#include <stdarg.h>

#include "quern/status.h"

#if defined(__MINGW32__)
#define QN_PRINTF(f, a) __attribute__((format(gnu_printf, f, a)))
#elif defined(__GNUC__)
#define QN_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define QN_PRINTF(f, a)
#endif

// Propagates a failure.
#define QN_TRY(expression)                       \
    do {                                         \
        qn_status try_status = (expression);     \
        if (try_status != QN_OK)                 \
            return try_status;                   \
    } while (0)

// At the public border: the failed condition's text becomes the error.
#define QN_REQUIRE(error, condition)                                      \
    do {                                                                  \
        if (!(condition))                                                 \
            return qn_fail(error, QN_BAD_ARGUMENT, "%s: needs %s",        \
                           __func__, #condition);                         \
    } while (0)

// Sets `error` unless it is NULL or holds an earlier one; returns `status`.
qn_status qn_fail(qn_error *error, qn_status status, const char *format, ...)
    QN_PRINTF(3, 4);
qn_status qn_fail_va(qn_error *error, qn_status status, const char *format,
                     va_list args);
// The same for a failed malloc of `size` bytes.
qn_status qn_fail_memory(qn_error *error, size_t size);

void qn_log_write(const qn_logger *log, qn_log_level level, const char *format,
                  ...) QN_PRINTF(3, 4);

#endif
