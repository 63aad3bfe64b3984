// The order of samples: Fisher and Yates's shuffle with numbers from Philox,
// keyed by seed and epoch, so that any epoch's order can be had at once.
#include "base/philox.h"
#include "train/train.h"

// "orde", tells this use of the generator from others.
static const uint32_t shuffle_use = 0x6f726465;

void qn_shuffle(int32_t *order, int64_t count, uint64_t seed, int epoch)
{
    const uint32_t key[2] = {(uint32_t)seed, shuffle_use};
    uint32_t words[4] = {0};
    for (int64_t i = 0; i < count; i++)
        order[i] = (int32_t)i;
    for (int64_t i = count - 1, draw = 0; i > 0; i--, draw++) {
        if (draw % 2 == 0) {
            const uint32_t counter[4] = {(uint32_t)(draw / 2),
                                         (uint32_t)epoch,
                                         (uint32_t)(seed >> 32), 0};
            qn_philox(counter, key, words);
        }
        const uint32_t *pair = words + 2 * (draw % 2);
        int64_t j = (int64_t)(qn_philox_uniform(pair[0], pair[1]) *
                              (double)(i + 1));
        int32_t swapped = order[i];
        order[i] = order[j];
        order[j] = swapped;
    }
}
