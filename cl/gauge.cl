// What the device itself can do, beside which other kernels are judged.
//
//   gauge_copy      y[N] = x[N]
//   gauge_in_place  x[N] = -x[N]
//   gauge_fma       y[items * VW]: every lane of an item runs CHAINS chains
//                   v = scale v + offset, `rounds` times, from v = index of
//                   the chain + index of the element; the sum is stored
//
// CPU: an item walks a span of elements by vectors of 16 lanes. GPU: an item
// takes 4 elements, or runs its chains on scalars. N is a multiple of 16.

// Enough to hide the latency of a multiply-add: two a cycle for 4 to 6 cycles.
#ifndef CHAINS
#define CHAINS 12
#endif

#if CPU

kernel SINGLE void gauge_copy(global const REAL *restrict x,
                              global REAL *restrict y, const long count,
                              const long span)
{
    const long first = get_group_id(0) * span;
    const long last = min(first + span, count);
    for (long i = first; i < last; i += VW)
        STORE16(vload16(0, x + i), y + i);
}

kernel SINGLE void gauge_in_place(global REAL *x, const long count,
                                  const long span)
{
    const long first = get_group_id(0) * span;
    const long last = min(first + span, count);
    for (long i = first; i < last; i += VW)
        STORE16(-vload16(0, x + i), x + i);
}

#else

kernel void gauge_copy(global const REAL *restrict x, global REAL *restrict y,
                       const long count, const long span)
{
    const long i = get_global_id(0) * span;
    if (i < count)
        vstore4(vload4(0, x + i), 0, y + i);
}

kernel void gauge_in_place(global REAL *x, const long count, const long span)
{
    const long i = get_global_id(0) * span;
    if (i < count)
        vstore4(-vload4(0, x + i), 0, x + i);
}

#endif

kernel
#if CPU
SINGLE
#endif
void gauge_fma(global REAL *y, const REAL scale, const REAL offset,
               const int rounds)
{
    const long first = get_global_id(0) * VW;
    RV v[CHAINS];
#if CPU
    const RV lane = (RV)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#else
    const RV lane = 0;
#endif
    UNROLL for (int k = 0; k < CHAINS; k++)
        v[k] = lane + K(first + k);
    for (int round = 0; round < rounds; round++) {
        UNROLL for (int k = 0; k < CHAINS; k++)
            v[k] = fma(K(scale), v[k], K(offset));
    }
    RV sum = K(0);
    UNROLL for (int k = 0; k < CHAINS; k++)
        sum += v[k];
#if CPU
    vstore16(sum, 0, y + first);
#else
    y[first] = sum;
#endif
}
