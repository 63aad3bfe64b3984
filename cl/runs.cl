// Runs of words, copied and cleared: what kernels that move data without
// looking at it are made of.
//
// UNIT  bytes of a word: 4, or 1 for bytes that do not come in fours

#ifndef UNIT
#define UNIT 4
#endif
#if UNIT == 4
typedef uint WORD;
typedef uint16 WORD16;
#else
typedef uchar WORD;
typedef uchar16 WORD16;
#endif

// No restrict here: inlined, it would stop Oclgrind.
static inline void copy_run(global WORD *y, global const WORD *x, const long n)
{
    long i = 0;
    for (; i + 16 <= n; i += 16)
        vstore16(vload16(0, x + i), 0, y + i);
    for (; i < n; i++)
        y[i] = x[i];
}

static inline void clear_run(global WORD *y, const long n)
{
    long i = 0;
    for (; i + 16 <= n; i += 16)
        vstore16((WORD16)0, 0, y + i);
    for (; i < n; i++)
        y[i] = 0;
}
