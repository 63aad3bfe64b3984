// SPDX-License-Identifier: MIT
// Status codes, error texts and the log callback.
//
// A function that can fail returns a `qn_status`, or NULL where it creates
// something; the detail goes to the `qn_error` that the caller hands in, or to
// the last error of the handle. The library never exits and never prints.
#ifndef QUERN_STATUS_H
#define QUERN_STATUS_H

#include <stddef.h>

#if defined(_WIN32) && defined(QN_BUILDING)
#define QN_API __declspec(dllexport)
#elif defined(_WIN32)
#define QN_API __declspec(dllimport)
#elif defined(__GNUC__)
#define QN_API __attribute__((visibility("default")))
#else
#define QN_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define QN_STATUS_MAP(X)                                                  \
    X(OK, "success")                                                      \
    X(NO_MEMORY, "out of host memory")                                    \
    X(BAD_ARGUMENT, "an argument is outside its documented range")        \
    X(BAD_SHAPE, "shapes or data types do not fit together")              \
    X(UNSUPPORTED, "the device or this build cannot do it")               \
    X(NO_DEVICE, "no OpenCL device was found or none fits the choice")    \
    X(DEVICE, "an OpenCL call failed")                                    \
    X(BUILD, "a kernel did not compile")                                  \
    X(IO, "a file could not be read or written")                          \
    X(FORMAT, "a file's content is not what its format demands")          \
    X(INTERRUPTED, "stopped on request; what was reached has been saved") \
    X(NOT_FINITE, "training diverged: a value is infinite or not a number")

typedef enum qn_status {
#define QN_STATUS_MEMBER(name, sentence) QN_##name,
    QN_STATUS_MAP(QN_STATUS_MEMBER)
#undef QN_STATUS_MEMBER
} qn_status;

// The name ("QN_BAD_SHAPE") and the sentence of a status. Never NULL.
QN_API const char *qn_status_name(qn_status status);
QN_API const char *qn_status_sentence(qn_status status);

// An error with its detail. Start with `qn_error error = {0};`. Functions that
// take a `qn_error *` accept NULL and keep the first error of a chain.
typedef struct qn_error {
    qn_status status;
    char text[2000]; // one or several lines without a final newline
} qn_error;

// The nearest of `count` names, for "did you mean"; NULL if none is near.
QN_API const char *qn_text_nearest(const char *name, const char *const *names,
                                   int count);

typedef enum qn_log_level {
    QN_LOG_ERROR,
    QN_LOG_WARNING,
    QN_LOG_INFO,
    QN_LOG_DEBUG,
} qn_log_level;

// Where messages go. A zeroed struct drops them all. `message` has no final
// newline and is valid during the call only.
typedef struct qn_logger {
    void (*callback)(void *user, qn_log_level level, const char *message);
    void *user;
} qn_logger;

#ifdef __cplusplus
}
#endif

#endif
