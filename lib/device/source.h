// The text of a program: which files go into it, and the build options.
#ifndef QN_DEVICE_SOURCE_H
#define QN_DEVICE_SOURCE_H

#include "base/text.h"
#include "device/state.h"

// common.cl, the launch's includes, its text and its file, each behind a #line
// that makes the compiler's messages name the file and its line.
qn_status qn_source_join(const qn_device *device,
                         const struct qn_launch *launch, struct qn_text *out,
                         qn_error *error);
void qn_source_options(const qn_device *device,
                       const struct qn_launch *launch, struct qn_text *out);
// Appends the lines of `source` that a build log points at, numbered.
void qn_source_quote(const char *source, const char *build_log,
                     struct qn_text *out);

#endif
