// A gauge as its test sees it.
#ifndef QN_DEVICE_GAUGE_H
#define QN_DEVICE_GAUGE_H

#include "device/device.h"

enum {
    QN_GAUGE_CHAINS = 12, // CHAINS of cl/gauge.cl
};
#define QN_GAUGE_SCALE 0.75
#define QN_GAUGE_OFFSET 0.5

struct qn_gauge {
    struct qn_buffer *x; // NULL for QN_GAUGE_FMA
    struct qn_buffer *y; // NULL for QN_GAUGE_IN_PLACE
    struct qn_command *command;
    int64_t rounds; // of the chains
    double work;
};

#endif
