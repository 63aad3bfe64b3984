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

// Appends {"op": ..., "ulps": ..., "bound": ..., "inputs": ...} to `file`;
// NULL: to none.
void ulp_report(const char *file, const char *op, double ulps, double bound,
                int64_t inputs);

#endif
