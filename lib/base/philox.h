// Philox4x32-10 on the host (Salmon et al., "Parallel Random Numbers: As Easy
// as 1, 2, 3", SC 2011): a bijection of the counter for each key, so that any
// draw can be had in any order.
#ifndef QN_BASE_PHILOX_H
#define QN_BASE_PHILOX_H

#include <stdint.h>

void qn_philox(const uint32_t counter[4], const uint32_t key[2],
               uint32_t out[4]);

// Uniform in (0, 1), both ends left out, from two words: the
// odd multiples of 2^-53.
double qn_philox_uniform(uint32_t high, uint32_t low);

#endif
