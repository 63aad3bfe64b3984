// Units in the last place of float32, and a list of what was measured.
#ifndef QN_ULP_H
#define QN_ULP_H

#include <stdbool.h>
#include <stdint.h>

float ulp_from_bits(uint32_t bits);

// Distance of `got` to `want` in ulps of float32 at `magnitude` (at least
// |want|). Below the smallest normal number in units of its last place, and 0
// is right there: a device need not support subnormals. NaN equals NaN alone.
double ulp_distance(float got, double want, double magnitude);

// 0 for what a device without subnormals takes as 0.
double ulp_flush(double value);

struct ulp_result {
    const char *op;
    int64_t terms; // n of bounds like 3 n + 3; 1 of others
    double ulps;   // the most that was seen
    double bound;
    int64_t inputs;
};

// Appends to `file` the line {"op": "mean", "terms": 10, "ulps": 2.905,
// "bound": 12, "inputs": 16777216, "variant": "cpu", "device": "..."}.
void ulp_report(const char *file, const struct ulp_result *result);

#endif
