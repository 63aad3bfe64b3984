// A matrix product with a mask of its own for every sample, and its two
// gradients (Wan et al. 2013); needs random.cl before it.
//
//   x[N][IN], w[OUT][IN], y[N][OUT], m[N][OUT][IN] of 0 and 1
//   dropconnect     y[n][o]  = sum over i of m x w
//   dropconnect_dx  dx[n][i] = sum over o of m y w
//   dropconnect_dw  dw[o][i] = sum over n of m x y
//
// m is never stored: element (n, o, i) is word (n OUT + o) IN + i of the
// generator, plus sample0 sample_words, at most `last` with probability p;
// `some` is 0 where p is 0.
//
// CPU: an item takes `span` elements of y, or tiles of 16 along IN. GPU: an
// item takes an element of the result. Each sum is one chain of additions.

#define MASK_PARAMS                                                        \
    const uint sample0, const long sample_words, const uint seed,          \
        const uint step, const uint k0, const uint k1, const uint last,    \
        const REAL some
#define KEPT(i)                                                            \
    random_bernoulli((ulong)sample0 * (ulong)sample_words + (i), seed,     \
                     step, last, K(some), k0, k1)

#if CPU

SINGLE kernel void dropconnect(global const REAL *restrict x,
                               global const REAL *restrict w,
                               global REAL *restrict y, const long units,
                               const long span, const long OUT, const long IN,
                               MASK_PARAMS)
{
    const long first = get_group_id(0) * span;
    const long last_unit = min(first + span, units);
    for (long u = first; u < last_unit; u++) {
        const long n = u / OUT, o = u - n * OUT;
        RV sum = K(0);
        for (long i = 0; i < IN; i += VW) {
            const int m = (int)min(IN - i, (long)VW);
            sum += KEPT((ulong)(u * IN + i)) *
                   (load_real(x + n * IN + i, m) *
                    load_real(w + o * IN + i, m));
        }
        y[u] = sum_lanes(sum);
    }
}

// Both gradients: for unit u = (a, tile of IN), the sum over b of
// m[..] vectors[b][i] scalars. dx: a is n, b is o; dw: a is o, b is n.
static inline void tile_sums(global const REAL *vectors,
                             global const REAL *scalars, global REAL *out,
                             const long units, const long span, const long A,
                             const long B, const long IN, const bool is_dx,
                             MASK_PARAMS)
{
    const long tiles = (IN + VW - 1) / VW;
    const long first = get_group_id(0) * span;
    const long last_unit = min(first + span, units);
    for (long u = first; u < last_unit; u++) {
        const long a = u / tiles, i = (u - a * tiles) * VW;
        const int m = (int)min(IN - i, (long)VW);
        RV sum = K(0);
        for (long b = 0; b < B; b++) {
            const long line = is_dx ? a * B + b : b * A + a; // n OUT + o
            sum += KEPT((ulong)(line * IN + i)) *
                   (load_real(vectors + b * IN + i, m) * K(scalars[line]));
        }
        store_real(sum, out + a * IN + i, m);
    }
}

SINGLE kernel void dropconnect_dx(global const REAL *restrict y,
                                  global const REAL *restrict w,
                                  global REAL *restrict dx, const long units,
                                  const long span, const long N,
                                  const long OUT, const long IN, MASK_PARAMS)
{
    tile_sums(w, y, dx, units, span, N, OUT, IN, true, sample0,
              sample_words, seed, step, k0, k1,
              last, some);
}

SINGLE kernel void dropconnect_dw(global const REAL *restrict x,
                                  global const REAL *restrict y,
                                  global REAL *restrict dw, const long units,
                                  const long span, const long N,
                                  const long OUT, const long IN, MASK_PARAMS)
{
    tile_sums(x, y, dw, units, span, OUT, N, IN, false, sample0,
              sample_words, seed, step, k0, k1,
              last, some);
}

#else

kernel void dropconnect(global const REAL *restrict x,
                        global const REAL *restrict w,
                        global REAL *restrict y, const long units,
                        const long OUT, const long IN, MASK_PARAMS)
{
    const long u = get_global_id(0);
    if (u >= units)
        return;
    const long n = u / OUT, o = u - n * OUT;
    REAL sum = 0;
    for (long i = 0; i < IN; i++)
        sum += KEPT((ulong)(u * IN + i)) * (x[n * IN + i] * w[o * IN + i]);
    y[u] = sum;
}

kernel void dropconnect_dx(global const REAL *restrict y,
                           global const REAL *restrict w,
                           global REAL *restrict dx, const long units,
                           const long OUT, const long IN, MASK_PARAMS)
{
    const long u = get_global_id(0);
    if (u >= units)
        return;
    const long n = u / IN, i = u - n * IN;
    REAL sum = 0;
    for (long o = 0; o < OUT; o++)
        sum += KEPT((ulong)((n * OUT + o) * IN + i)) *
               (y[n * OUT + o] * w[o * IN + i]);
    dx[u] = sum;
}

kernel void dropconnect_dw(global const REAL *restrict x,
                           global const REAL *restrict y,
                           global REAL *restrict dw, const long units,
                           const long N, const long OUT, const long IN,
                           MASK_PARAMS)
{
    const long u = get_global_id(0);
    if (u >= units)
        return;
    const long o = u / IN, i = u - o * IN;
    REAL sum = 0;
    for (long n = 0; n < N; n++)
        sum += KEPT((ulong)((n * OUT + o) * IN + i)) *
               (x[n * IN + i] * y[n * OUT + o]);
    dw[u] = sum;
}

#endif
