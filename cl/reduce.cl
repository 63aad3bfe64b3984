// Sum or largest element over one or two runs of dimensions.
//
//   y[K0][K1] = scale * sum over r0, r1 of x[K0][R0][K1][R1]
//
// MAXIMUM 1 takes the largest element instead; NaN if there is one.
// A long reduction comes in chunks of r0_chunk by r1_chunk elements; y is then
// the partial results, which a second launch reduces:
//   reduce_rows     part[K0][K1][C0][C1], a launch of reduce_rows
//   reduce_columns  part[K0][C0][K1], a launch of reduce_columns
// Chunks depend on the sizes alone and each order is fixed.
//
// reduce_rows     R1 > 1. CPU: an item takes `span` outputs, 4 accumulators of
//                 16 lanes along R1. GPU: a group takes one output, its items
//                 walk R0 R1 side by side, then a tree in local memory.
// reduce_columns  R1 = 1. CPU: an item takes COLUMNS columns of `span` slabs
//                 K0. GPU: a group takes one of `tiles` tiles of columns, its
//                 second dimension shares out R0, then a tree.
// reduce_lines    GPU, short reductions: an item takes one output.

#ifndef MAXIMUM
#define MAXIMUM 0
#endif
// Elements of x from i on; a chain of pointwise nodes may take this place, with
// parameters of its own: a0, a0_at, p0_0, d0, ...
#ifndef LOAD_PARAMS
#define LOAD_PARAMS global const REAL *restrict x
#define LOADV(i, m) load_real(x + (i), (m))
#endif
// Vectors of columns an item carries, and rows it sums before it adds them up:
// the error grows with the block, not with the length.
#ifndef VECTORS
#define VECTORS 4
#endif
#ifndef BLOCK
#define BLOCK 64
#endif
#define COLUMNS (VECTORS * VW)

#if MAXIMUM
#define NEUTRAL K(-INFINITY)
#define join_lanes max_lanes
#else
#define NEUTRAL K(0)
#define join_lanes sum_lanes
#endif

static inline RV join(const RV x, const RV y)
{
#if MAXIMUM
    return MAX_NAN(x, y);
#else
    return x + y;
#endif
}

#if CPU

// The first m lanes at i; the others come from behind or hold junk. Whole
// vectors are much faster, so they are read wherever x has that many left.
#define LOAD_SOME(i, m) \
    ((i) + VW <= total ? LOADV(i, VW) : LOADV(i, (int)(m)))

SINGLE kernel void reduce_rows(LOAD_PARAMS, global REAL *restrict y,
                               const long total, const long outputs,
                               const long span, const long R0, const long K1,
                               const long R1, const long r0_chunk,
                               const long r1_chunk, const REAL scale)
{
    const long C0 = get_num_groups(1), C1 = get_num_groups(2);
    const long c0 = get_group_id(1), c1 = get_group_id(2);
    const long first = get_group_id(0) * span;
    const long last = min(first + span, outputs);
    const long r0_first = c0 * r0_chunk, r1_first = c1 * r1_chunk;
    const long r0_last = min(r0_first + r0_chunk, R0);
    const long r1_last = min(r1_first + r1_chunk, R1);
    for (long o = first; o < last; o++) {
        const long k0 = o / K1, k1 = o - k0 * K1;
        RV sum = NEUTRAL;
        for (long r0 = r0_first; r0 < r0_last; r0++) {
            const long row = ((k0 * R0 + r0) * K1 + k1) * R1;
            const long end = row + r1_last;
            long i = row + r1_first;
            RV s0 = NEUTRAL, s1 = NEUTRAL, s2 = NEUTRAL, s3 = NEUTRAL;
            for (; i + 4 * VW <= end; i += 4 * VW) {
                s0 = join(s0, LOADV(i, VW));
                s1 = join(s1, LOADV(i + VW, VW));
                s2 = join(s2, LOADV(i + 2 * VW, VW));
                s3 = join(s3, LOADV(i + 3 * VW, VW));
            }
            for (; i + VW <= end; i += VW)
                s0 = join(s0, LOADV(i, VW));
            if (i < end) {
                const RV v = LOAD_SOME(i, end - i);
                s1 = join(s1, SEL(LANE < K(end - i), v, NEUTRAL));
            }
            sum = join(sum, join(join(s0, s1), join(s2, s3)));
        }
        y[(o * C0 + c0) * C1 + c1] = scale * join_lanes(sum);
    }
}

SINGLE kernel void reduce_columns(LOAD_PARAMS, global REAL *restrict y,
                                  const long total, const long K0,
                                  const long span, const long R0,
                                  const long K1, const long r0_chunk,
                                  const REAL scale)
{
    const long column = get_group_id(0) * COLUMNS;
    const long C0 = get_num_groups(1), c0 = get_group_id(1);
    const long r0_first = c0 * r0_chunk;
    const long r0_last = min(r0_first + r0_chunk, R0);
    const long k0_first = get_group_id(2) * span;
    const long k0_last = min(k0_first + span, K0);
    for (long k0 = k0_first; k0 < k0_last; k0++) {
        const long slab = k0 * R0 * K1 + column;
        global REAL *to = y + (k0 * C0 + c0) * K1 + column;
        if (column + COLUMNS <= K1) {
            RV sum[VECTORS];
            UNROLL for (int v = 0; v < VECTORS; v++)
                sum[v] = NEUTRAL;
            for (long r = r0_first; r < r0_last;) {
                const long stop = min(r + BLOCK, r0_last);
                RV part[VECTORS];
                UNROLL for (int v = 0; v < VECTORS; v++)
                    part[v] = NEUTRAL;
                for (; r < stop; r++)
                    UNROLL for (int v = 0; v < VECTORS; v++)
                        part[v] =
                            join(part[v], LOADV(slab + r * K1 + v * VW, VW));
                UNROLL for (int v = 0; v < VECTORS; v++)
                    sum[v] = join(sum[v], part[v]);
            }
            UNROLL for (int v = 0; v < VECTORS; v++)
                store_real(K(scale) * sum[v], to + v * VW, VW);
            continue;
        }
        for (long k1 = column; k1 < K1; k1 += VW, to += VW) {
            const int m = min(K1 - k1, (long)VW);
            const long at = slab - column + k1;
            RV sum = NEUTRAL;
            for (long r = r0_first; r < r0_last;) {
                const long stop = min(r + 4 * BLOCK, r0_last);
                RV s0 = NEUTRAL, s1 = NEUTRAL, s2 = NEUTRAL, s3 = NEUTRAL;
                for (; r + 4 <= stop; r += 4) {
                    const long i = at + r * K1;
                    s0 = join(s0, LOAD_SOME(i, m));
                    s1 = join(s1, LOAD_SOME(i + K1, m));
                    s2 = join(s2, LOAD_SOME(i + 2 * K1, m));
                    s3 = join(s3, LOAD_SOME(i + 3 * K1, m));
                }
                for (; r < stop; r++)
                    s0 = join(s0, LOAD_SOME(at + r * K1, m));
                sum = join(sum, join(join(s0, s1), join(s2, s3)));
            }
            store_real(K(scale) * sum, to, m);
        }
    }
}

#else

// Joins tile[0], tile[stride], ... of n (a power of two) into tile[0].
static inline void join_tile(local REAL *tile, const int at, const int n,
                             const int stride)
{
    for (int half_n = n / 2; half_n > 0; half_n /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (at < half_n)
            tile[at * stride] = join(tile[at * stride],
                                     tile[(at + half_n) * stride]);
    }
}

kernel void reduce_rows(LOAD_PARAMS, global REAL *restrict y, const long R0,
                        const long K1, const long R1, const long r0_chunk,
                        const long r1_chunk, const REAL scale,
                        local REAL *restrict tile)
{
    const int n = get_local_size(0), l = get_local_id(0);
    const long C0 = get_num_groups(1), C1 = get_num_groups(2);
    const long c0 = get_group_id(1), c1 = get_group_id(2);
    const long o = get_group_id(0), k0 = o / K1, k1 = o - k0 * K1;
    const uint width = min(r1_chunk, R1 - c1 * r1_chunk);
    const uint count = width * (uint)min(r0_chunk, R0 - c0 * r0_chunk);
    const long from =
        ((k0 * R0 + c0 * r0_chunk) * K1 + k1) * R1 + c1 * r1_chunk;
    RV sum = NEUTRAL;
    for (uint p = l; p < count; p += n) {
        const uint r0 = p / width;
        sum = join(sum, LOADV(from + r0 * (K1 * R1) + (p - r0 * width), 1));
    }
    tile[l] = sum;
    join_tile(tile, l, n, 1);
    if (l == 0)
        y[(o * C0 + c0) * C1 + c1] = scale * tile[0];
}

kernel void reduce_columns(LOAD_PARAMS, global REAL *restrict y,
                           const long tiles, const long R0, const long K1,
                           const long r0_chunk, const REAL scale,
                           local REAL *restrict tile)
{
    const int w = get_local_size(0), n = get_local_size(1);
    const int l = get_local_id(1);
    const long k0 = get_group_id(0) / tiles;
    const long k1 = (get_group_id(0) - k0 * tiles) * w + get_local_id(0);
    const long C0 = get_num_groups(1), c0 = get_group_id(1);
    const long r0_last = min((c0 + 1) * r0_chunk, R0);
    RV sum = NEUTRAL;
    if (k1 < K1)
        for (long r = c0 * r0_chunk + l; r < r0_last; r += n)
            sum = join(sum, LOADV((k0 * R0 + r) * K1 + k1, 1));
    tile += get_local_id(0);
    tile[l * w] = sum;
    join_tile(tile, l, n, w);
    if (l == 0 && k1 < K1)
        y[(k0 * C0 + c0) * K1 + k1] = scale * tile[0];
}

kernel void reduce_lines(LOAD_PARAMS, global REAL *restrict y,
                         const long outputs, const long R0, const long K1,
                         const long R1, const REAL scale)
{
    const long o = get_global_id(0);
    if (o >= outputs)
        return;
    const long k0 = o / K1, k1 = o - k0 * K1;
    RV sum = NEUTRAL;
    for (long r0 = 0; r0 < R0; r0++)
        for (long r1 = 0; r1 < R1; r1++)
            sum = join(sum,
                       LOADV(((k0 * R0 + r0) * K1 + k1) * R1 + r1, 1));
    y[o] = scale * sum;
}

#endif
