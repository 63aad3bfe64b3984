// The embedded kernel files (generated from cl/ by the build).
#ifndef QN_DEVICE_SOURCES_H
#define QN_DEVICE_SOURCES_H

#include <stddef.h>

struct qn_source {
    const char *name; // "matmul" for cl/matmul.cl
    const unsigned char *data;
    size_t size;
};

extern const struct qn_source qn_sources[]; // ends with a NULL name

#endif
