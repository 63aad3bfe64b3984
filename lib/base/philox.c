// Philox through Random123. Knows no seeds and no names: callers choose what
// key and counter mean.
#include "base/philox.h"

#include <Random123/philox.h>

void qn_philox(const uint32_t counter[4], const uint32_t key[2],
               uint32_t out[4])
{
    philox4x32_ctr_t c = {{counter[0], counter[1], counter[2], counter[3]}};
    philox4x32_key_t k = {{key[0], key[1]}};
    c = philox4x32_R(10, c, k);
    for (int i = 0; i < 4; i++)
        out[i] = c.v[i];
}

double qn_philox_uniform(uint32_t high, uint32_t low)
{
    uint64_t bits = ((uint64_t)high << 32 | low) >> 12;
    return ((double)bits + 0.5) * 0x1p-52;
}
