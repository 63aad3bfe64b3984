// Statistics of normalisation, over one or two runs of dimensions.
//
//   moments[2][K0][K1]    mean and population variance of x[K0][R0][K1][R1]
//                         over r0, r1
//   norm_sums[2][K0][K1]  sum of dy, and of dy (x - mean) rstd, over r0, r1
//
// They come in chunks of r0_chunk by r1_chunk elements that fit into a cache:
//   part[2][K0][C0][K1][C1]  mean and M2 = sum (x - mean)^2 of each chunk, or
//                            the two sums; a *_merge joins them. C0 = C1 = 1:
//                            the result itself.
// A chunk's mean is found first, then M2 around it, so that nothing cancels
// where the mean is large; chunks are merged by the formula of Chan, Golub and
// LeVeque (Updating Formulae and a Pairwise Algorithm for Computing Sample
// Variances, 1979), around the first chunk's mean. `planes` counts the
// elements of half the output; each order is fixed.
//
// *_rows     R1 > 1. CPU: an item takes `span` chunks in the order of memory.
//            GPU: a group takes a chunk.
// *_columns  R1 = 1. CPU: an item takes COLUMNS columns of a chunk. GPU: a
//            group takes one of `tiles` tiles of columns of a chunk.
// *_merge    CPU: an item takes 16 results; GPU: one.

// Vectors of columns that a CPU item carries.
#ifndef VECTORS
#define VECTORS 4
#endif
#define COLUMNS (VECTORS * VW)

// The first element of chunk `unit` = ((k0 C0 + c0) K1 + k1) C1 + c1, its rows
// and its columns.
struct chunk {
    long output, from;
    long rows, columns;
};

static inline struct chunk find_chunk(const long unit, const long R0,
                                      const long K1, const long R1,
                                      const long r0_chunk,
                                      const long r1_chunk, const long C0,
                                      const long C1)
{
    const long u1 = unit / C1, c1 = unit - u1 * C1;
    const long u0 = u1 / K1, k1 = u1 - u0 * K1;
    const long k0 = u0 / C0, c0 = u0 - k0 * C0;
    const long r0 = c0 * r0_chunk, r1 = c1 * r1_chunk;
    struct chunk c;
    c.output = k0 * K1 + k1;
    c.from = ((k0 * R0 + r0) * K1 + k1) * R1 + r1;
    c.rows = min(r0_chunk, R0 - r0);
    c.columns = min(r1_chunk, R1 - r1);
    return c;
}

#define CHUNKS                                                             \
    const long R0, const long K1, const long R1, const long r0_chunk,      \
        const long r1_chunk, const long C0, const long C1, const long planes
#define FIND_CHUNK(unit) \
    find_chunk(unit, R0, K1, R1, r0_chunk, r1_chunk, C0, C1)

#if CPU

// m lanes at p; the others come from behind where x has that many left, which
// is faster, or are 0.
static inline RV load_some(global const REAL *p, const long m,
                           const long left)
{
    return left >= VW ? vload16(0, p) : load_real(p, (int)m);
}

// Calls ADD(p, v) for each vector of the chunk, and REST(p, m, left) for what
// is left of each row.
#define EACH(ADD, REST)                                                    \
    for (long r = 0; r < c.rows; r++) {                                    \
        const long row = c.from + r * K1 * R1;                             \
        long j = 0;                                                        \
        for (; j + 4 * VW <= c.columns; j += 4 * VW) {                     \
            ADD(row + j, 0)                                                \
            ADD(row + j + VW, 1)                                           \
            ADD(row + j + 2 * VW, 2)                                       \
            ADD(row + j + 3 * VW, 3)                                       \
        }                                                                  \
        for (; j + VW <= c.columns; j += VW)                               \
            ADD(row + j, 0)                                                \
        if (j < c.columns)                                                 \
            REST(row + j, c.columns - j)                                   \
    }

SINGLE kernel void moments_rows(global const REAL *restrict x,
                                global REAL *restrict y, CHUNKS,
                                const long units, const long span,
                                const long total, const REAL scale)
{
    const long first = get_group_id(0) * span;
    const long last = min(first + span, units);
    for (long unit = first; unit < last; unit++) {
        const struct chunk c = FIND_CHUNK(unit);
        const REAL n = c.rows * c.columns;
        RV s[4] = {K(0), K(0), K(0), K(0)};
#define ADD(i, k) s[k] += vload16(0, x + (i));
#define REST(i, m)                                                         \
    {                                                                      \
        const RV v = load_some(x + (i), (m), total - (i));                 \
        s[1] += SEL(LANE < K(m), v, K(0));                                 \
    }
        EACH(ADD, REST)
#undef ADD
#undef REST
        const REAL mean = sum_lanes((s[0] + s[1]) + (s[2] + s[3])) / n;
        RV d[4] = {K(0), K(0), K(0), K(0)}, q[4] = {K(0), K(0), K(0), K(0)};
#define ADD(i, k)                                                          \
    {                                                                      \
        const RV v = vload16(0, x + (i)) - K(mean);                        \
        d[k] += v;                                                         \
        q[k] = fma(v, v, q[k]);                                            \
    }
#define REST(i, m)                                                         \
    {                                                                      \
        const RV v = SEL(LANE < K(m),                                      \
                         load_some(x + (i), (m), total - (i)) - K(mean),   \
                         K(0));                                            \
        d[1] += v;                                                         \
        q[1] = fma(v, v, q[1]);                                            \
    }
        EACH(ADD, REST)
#undef ADD
#undef REST
        const REAL off = sum_lanes((d[0] + d[1]) + (d[2] + d[3])) / n;
        const REAL m2 = sum_lanes((q[0] + q[1]) + (q[2] + q[3]));
        y[unit] = mean + off;
        y[planes + unit] = scale * fma(-n * off, off, m2);
    }
}

SINGLE kernel void norm_sums_rows(global const REAL *restrict dy,
                                  global const REAL *restrict x,
                                  global const REAL *restrict mean,
                                  global const REAL *restrict rstd,
                                  global REAL *restrict y, CHUNKS,
                                  const long units, const long span,
                                  const long total)
{
    const long first = get_group_id(0) * span;
    const long last = min(first + span, units);
    for (long unit = first; unit < last; unit++) {
        const struct chunk c = FIND_CHUNK(unit);
        const RV middle = K(mean[c.output]);
        RV s[4] = {K(0), K(0), K(0), K(0)}, q[4] = {K(0), K(0), K(0), K(0)};
#define ADD(i, k)                                                          \
    {                                                                      \
        const RV g = vload16(0, dy + (i));                                 \
        s[k] += g;                                                         \
        q[k] = fma(g, vload16(0, x + (i)) - middle, q[k]);                 \
    }
#define REST(i, m)                                                         \
    {                                                                      \
        const RV g = load_some(dy + (i), (m), total - (i));                \
        const RV v = load_some(x + (i), (m), total - (i)) - middle;        \
        s[1] += SEL(LANE < K(m), g, K(0));                                 \
        q[1] += SEL(LANE < K(m), g * v, K(0));                             \
    }
        EACH(ADD, REST)
#undef ADD
#undef REST
        y[unit] = sum_lanes((s[0] + s[1]) + (s[2] + s[3]));
        y[planes + unit] =
            sum_lanes((q[0] + q[1]) + (q[2] + q[3])) * rstd[c.output];
    }
}

// A unit of the columns' kernels is a tile of columns of chunk (k0, c0).
#define FIND_TILE                                                          \
    const long across = (K1 + COLUMNS - 1) / COLUMNS;                      \
    const long slab = get_group_id(0) / across;                            \
    const long first = (get_group_id(0) - slab * across) * COLUMNS;        \
    const long k0 = slab / C0, c0 = slab - k0 * C0;                        \
    const long rows = min(r0_chunk, R0 - c0 * r0_chunk);                   \
    const long from = (k0 * R0 + c0 * r0_chunk) * K1;                      \
    const long to = slab * K1, last = min(first + COLUMNS, K1);

SINGLE kernel void moments_columns(global const REAL *restrict x,
                                   global REAL *restrict y, CHUNKS,
                                   const REAL scale)
{
    FIND_TILE
    const RV n = K(rows);
    long k1 = first;
    if (first + COLUMNS <= K1) {
        RV mean[VECTORS], off[VECTORS], m2[VECTORS];
        UNROLL for (int v = 0; v < VECTORS; v++)
            mean[v] = off[v] = m2[v] = K(0);
        for (long r = 0; r < rows; r++)
            UNROLL for (int v = 0; v < VECTORS; v++)
                mean[v] += vload16(v, x + from + r * K1 + first);
        UNROLL for (int v = 0; v < VECTORS; v++)
            mean[v] /= n;
        for (long r = 0; r < rows; r++)
            UNROLL for (int v = 0; v < VECTORS; v++) {
                const RV d = vload16(v, x + from + r * K1 + first) - mean[v];
                off[v] += d;
                m2[v] = fma(d, d, m2[v]);
            }
        UNROLL for (int v = 0; v < VECTORS; v++) {
            off[v] /= n;
            vstore16(mean[v] + off[v], v, y + to + first);
            vstore16(K(scale) * fma(-n * off[v], off[v], m2[v]), v,
                     y + planes + to + first);
        }
        return;
    }
    for (; k1 < last; k1 += VW) {
        const int m = (int)min(last - k1, (long)VW);
        RV mean = K(0), off = K(0), m2 = K(0);
        for (long r = 0; r < rows; r++)
            mean += load_real(x + from + r * K1 + k1, m);
        mean /= n;
        for (long r = 0; r < rows; r++) {
            const RV d = load_real(x + from + r * K1 + k1, m) - mean;
            off += d;
            m2 = fma(d, d, m2);
        }
        off /= n;
        store_real(mean + off, y + to + k1, m);
        store_real(K(scale) * fma(-n * off, off, m2), y + planes + to + k1,
                   m);
    }
}

SINGLE kernel void norm_sums_columns(global const REAL *restrict dy,
                                     global const REAL *restrict x,
                                     global const REAL *restrict mean,
                                     global const REAL *restrict rstd,
                                     global REAL *restrict y, CHUNKS)
{
    FIND_TILE
    for (long k1 = first; k1 < last; k1 += VW) {
        const int m = (int)min(last - k1, (long)VW);
        const RV middle = load_real(mean + k0 * K1 + k1, m);
        RV sum = K(0), scaled = K(0);
        for (long r = 0; r < rows; r++) {
            const long i = from + r * K1 + k1;
            const RV g = load_real(dy + i, m);
            sum += g;
            scaled = fma(g, load_real(x + i, m) - middle, scaled);
        }
        store_real(sum, y + to + k1, m);
        store_real(scaled * load_real(rstd + k0 * K1 + k1, m),
                   y + planes + to + k1, m);
    }
}

#else

// The sum over the group of each item's `v`, for all of them.
static inline REAL sum_group(local REAL *tile, const REAL v)
{
    const int n = get_local_size(0), l = get_local_id(0);
    barrier(CLK_LOCAL_MEM_FENCE); // who still reads the sum before
    tile[l] = v;
    for (int half_n = n / 2; half_n > 0; half_n /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (l < half_n)
            tile[l] += tile[l + half_n];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    return tile[0];
}

// Calls ADD(i) for the item's elements of the chunk.
#define EACH(ADD)                                                          \
    for (uint p = get_local_id(0); p < count; p += get_local_size(0)) {    \
        const uint r = p / (uint)c.columns;                                \
        ADD(c.from + r * (K1 * R1) + (p - r * (uint)c.columns))            \
    }

kernel void moments_rows(global const REAL *restrict x,
                         global REAL *restrict y, CHUNKS, const REAL scale,
                         local REAL *restrict tile)
{
    const long unit = get_group_id(0);
    const struct chunk c = FIND_CHUNK(unit);
    const uint count = (uint)c.rows * (uint)c.columns;
    const REAL n = count;
    REAL sum = 0, off = 0, m2 = 0;
#define ADD(i) sum += x[i];
    EACH(ADD)
#undef ADD
    const REAL mean = sum_group(tile, sum) / n;
#define ADD(i)                                                             \
    const REAL d = x[i] - mean;                                            \
    off += d;                                                              \
    m2 = fma(d, d, m2);
    EACH(ADD)
#undef ADD
    off = sum_group(tile, off) / n;
    m2 = sum_group(tile, m2);
    if (get_local_id(0) == 0) {
        y[unit] = mean + off;
        y[planes + unit] = scale * fma(-n * off, off, m2);
    }
}

kernel void norm_sums_rows(global const REAL *restrict dy,
                           global const REAL *restrict x,
                           global const REAL *restrict mean,
                           global const REAL *restrict rstd,
                           global REAL *restrict y, CHUNKS,
                           local REAL *restrict tile)
{
    const long unit = get_group_id(0);
    const struct chunk c = FIND_CHUNK(unit);
    const uint count = (uint)c.rows * (uint)c.columns;
    const REAL middle = mean[c.output];
    REAL sum = 0, scaled = 0;
#define ADD(i)                                                             \
    const REAL g = dy[i];                                                  \
    sum += g;                                                              \
    scaled = fma(g, x[i] - middle, scaled);
    EACH(ADD)
#undef ADD
    sum = sum_group(tile, sum);
    scaled = sum_group(tile, scaled);
    if (get_local_id(0) == 0) {
        y[unit] = sum;
        y[planes + unit] = scaled * rstd[c.output];
    }
}

// The sum over the group's second dimension, for all of its items.
static inline REAL sum_column(local REAL *tile, const REAL v)
{
    const int w = get_local_size(0), n = get_local_size(1);
    const int l = get_local_id(1), k = get_local_id(0);
    barrier(CLK_LOCAL_MEM_FENCE);
    tile[l * w + k] = v;
    for (int half_n = n / 2; half_n > 0; half_n /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (l < half_n)
            tile[l * w + k] += tile[(l + half_n) * w + k];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    return tile[k];
}

// Items behind the last column do what the last one does.
#define FIND_TILE                                                          \
    const long slab = get_group_id(0) / tiles;                             \
    const long place = (get_group_id(0) - slab * tiles) *                  \
                       (long)get_local_size(0) + (long)get_local_id(0);    \
    const long k1 = min(place, K1 - 1);                                    \
    const long k0 = slab / C0, c0 = slab - k0 * C0;                        \
    const long rows = min(r0_chunk, R0 - c0 * r0_chunk);                   \
    const long from = (k0 * R0 + c0 * r0_chunk) * K1 + k1;                 \
    const long step = get_local_size(1);                                   \
    const bool is_writer = get_local_id(1) == 0 && place < K1;

kernel void moments_columns(global const REAL *restrict x,
                            global REAL *restrict y, CHUNKS, const long tiles,
                            const REAL scale, local REAL *restrict tile)
{
    FIND_TILE
    const REAL n = rows;
    REAL sum = 0, off = 0, m2 = 0;
    for (long r = get_local_id(1); r < rows; r += step)
        sum += x[from + r * K1];
    const REAL mean = sum_column(tile, sum) / n;
    for (long r = get_local_id(1); r < rows; r += step) {
        const REAL d = x[from + r * K1] - mean;
        off += d;
        m2 = fma(d, d, m2);
    }
    off = sum_column(tile, off) / n;
    m2 = sum_column(tile, m2);
    if (is_writer) {
        y[slab * K1 + k1] = mean + off;
        y[planes + slab * K1 + k1] = scale * fma(-n * off, off, m2);
    }
}

kernel void norm_sums_columns(global const REAL *restrict dy,
                              global const REAL *restrict x,
                              global const REAL *restrict mean,
                              global const REAL *restrict rstd,
                              global REAL *restrict y, CHUNKS,
                              const long tiles, local REAL *restrict tile)
{
    FIND_TILE
    const REAL middle = mean[k0 * K1 + k1];
    REAL sum = 0, scaled = 0;
    for (long r = get_local_id(1); r < rows; r += step) {
        const REAL g = dy[from + r * K1];
        sum += g;
        scaled = fma(g, x[from + r * K1] - middle, scaled);
    }
    sum = sum_column(tile, sum);
    scaled = sum_column(tile, scaled);
    if (is_writer) {
        y[slab * K1 + k1] = sum;
        y[planes + slab * K1 + k1] = scaled * rstd[k0 * K1 + k1];
    }
}

#endif

// Results k1 to k1 + m - 1 of k0.
#if CPU
#define MERGE kernel SINGLE
#define FIND_RESULT                                                        \
    const long across = (K1 + VW - 1) / VW;                                \
    const long k0 = get_group_id(0) / across;                              \
    const long k1 = (get_group_id(0) - k0 * across) * VW;                  \
    const int m = (int)min(K1 - k1, (long)VW);
#else
#define MERGE kernel
#define FIND_RESULT                                                        \
    const long o = get_global_id(0);                                       \
    if (o >= planes)                                                       \
        return;                                                            \
    const long k0 = o / K1, k1 = o - k0 * K1;                              \
    const int m = 1;
#endif

// Part (c0, c1) of them.
static inline RV load_part(global const REAL *part, const long k0,
                           const long k1, const long c0, const long c1,
                           const long K1, const long C0, const long C1,
                           const int m)
{
    global const REAL *from = part + ((k0 * C0 + c0) * K1 + k1) * C1 + c1;
    return C1 == 1 ? load_real(from, m) : gather_real(from, C1, m);
}

#define PART(p, c0, c1) load_part(p, k0, k1, c0, c1, K1, C0, C1, m)

MERGE void moments_merge(global const REAL *restrict part,
                         global REAL *restrict y, CHUNKS, const REAL scale)
{
    FIND_RESULT
    const long behind = planes * C0 * C1;
    const RV middle = PART(part, 0, 0);
    const REAL count = (REAL)R0 * (REAL)R1;
    RV off = K(0), m2 = K(0);
    for (long c0 = 0; c0 < C0; c0++)
        for (long c1 = 0; c1 < C1; c1++) {
            const REAL n = min(r0_chunk, R0 - c0 * r0_chunk) *
                           min(r1_chunk, R1 - c1 * r1_chunk);
            off = fma(K(n), PART(part, c0, c1) - middle, off);
        }
    off /= K(count);
    for (long c0 = 0; c0 < C0; c0++)
        for (long c1 = 0; c1 < C1; c1++) {
            const REAL n = min(r0_chunk, R0 - c0 * r0_chunk) *
                           min(r1_chunk, R1 - c1 * r1_chunk);
            const RV d = PART(part, c0, c1) - middle - off;
            m2 += fma(K(n) * d, d, PART(part + behind, c0, c1));
        }
    store_real(middle + off, y + k0 * K1 + k1, m);
    store_real(K(scale) * m2, y + planes + k0 * K1 + k1, m);
}

MERGE void norm_sums_merge(global const REAL *restrict part,
                           global REAL *restrict y, CHUNKS)
{
    FIND_RESULT
    const long behind = planes * C0 * C1;
    RV sum = K(0), scaled = K(0);
    for (long c0 = 0; c0 < C0; c0++)
        for (long c1 = 0; c1 < C1; c1++) {
            sum += PART(part, c0, c1);
            scaled += PART(part + behind, c0, c1);
        }
    store_real(sum, y + k0 * K1 + k1, m);
    store_real(scaled, y + planes + k0 * K1 + k1, m);
}
