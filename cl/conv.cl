// Convolution of images and its two gradients; needs transpose.cl before it.
//
//   x[N][G][C][H][W], the large image; y[N][G][O][P][Q], the small one
//   w[G][O][C][KH][KW]
//
//   forward     y[p] = sum over c, a of x[p stride + a dilation - low] w[a]
//   transposed  x[h] = sum of y[p] w[a] where h = p stride + a dilation - low
//   weights     w[a] = sum over n, p of x[p stride + a dilation - low] y[p]
//
// Forward and transposed are one kernel from `in`[N][G][L][A][B] to
// out[N][G][M][Y][X]. Along one dimension, phase f of the output holds its
// elements f, f + T, f + 2 T, ..., and its element r takes in[r S + shift] for
// some taps, whose shifts have one distance. Forward, S is the stride and
// there is one phase of all taps; transposed, S is 1 and T the stride.

// Functions take their parameters without `restrict`, which would become what
// Oclgrind does not know once they are inlined.
#define INLINE static inline __attribute__((always_inline))

#define SHAPE_PARAMS                                                         \
    const int N, const int G, const int L, const int M, const int A,         \
        const int B, const int Y, const int X, const int KH, const int KW,   \
        const int S_y, const int S_x, const int T_y, const int T_x,          \
        const int low_y, const int low_x, const int dilation_y,              \
        const int dilation_x, const int step_y, const int step_x,            \
        const int is_transposed
#define SHAPE_ARGS                                                           \
    N, G, L, M, A, B, Y, X, KH, KW, S_y, S_x, T_y, T_x, low_y, low_x,        \
        dilation_y, dilation_x, step_y, step_x, is_transposed

// The taps first, first + step, ... (`count`) of a phase of `extent` elements;
// tap i of them has the shift `shift` + i `slope`.
struct axis {
    int first, step, count, shift, slope, extent;
};

static inline struct axis find_axis(const int phase, const int taps,
                                    const int T, const int low,
                                    const int dilation, const int step,
                                    const int extent, const int is_transposed)
{
    const int size = (extent - phase + T - 1) / T;
    if (!is_transposed)
        return (struct axis){0, 1, taps, -low, dilation, size};
    for (int a = 0; a < min(step, taps); a++) {
        const int reach = phase + low - a * dilation;
        const int shift = reach / T;
        if (shift * T == reach)
            return (struct axis){a, step, (taps - a + step - 1) / step, shift,
                                 -(step * dilation / T), size};
    }
    return (struct axis){0, step, 0, 0, 0, size};
}
#define AXIS_Y(phase)                                                        \
    find_axis(phase, KH, T_y, low_y, dilation_y, step_y, Y, is_transposed)
#define AXIS_X(phase)                                                        \
    find_axis(phase, KW, T_x, low_x, dilation_x, step_x, X, is_transposed)

#if CPU

// A band of output rows of a few images, and the planes of the input that it
// needs: for each horizontal tap the elements that it takes, in rows as long
// as the output's, so that a vector of outputs takes a vector of inputs. With
// S_y = 1 a plane serves all vertical taps; else each has planes of its own.
//
//   planes[L][image][SETS][taps_x][PLANE_ROWS][columns]
//
struct band {
    struct axis y, x;
    int image, images; // the first one, and how many
    int row, rows;     // of the phase
    int sets, plane_rows, plane;
    int pixels;  // of an image's band
    int shift;   // least vertical shift
    int size;    // of an image's planes of one channel
};

static inline struct band make_band(const struct axis y, const struct axis x,
                                    const int image, const int images,
                                    const int row, const int rows,
                                    const int S_y)
{
    struct band b = {y, x, image, images, row, min(rows, y.extent - row)};
    const bool is_shared = S_y == 1;
    b.sets = is_shared ? min(y.count, 1) : y.count;
    b.plane_rows = is_shared ? b.rows + max(y.count - 1, 0) * abs(y.slope)
                             : b.rows;
    b.shift = min(y.shift, y.shift + (y.count - 1) * y.slope);
    b.plane = b.plane_rows * x.extent;
    b.pixels = b.rows * x.extent;
    b.size = b.sets * x.count * b.plane;
    return b;
}

// Where tap (i, j) of the band finds its first input in a channel's planes.
static inline int find_tap(const struct band *b, const int i, const int j,
                           const int S_y)
{
    if (S_y == 1)
        return j * b->plane +
               (b->y.shift + i * b->y.slope - b->shift) * b->x.extent;
    return (i * b->x.count + j) * b->plane;
}

// Copies `count` elements in[at], in[at + step], ..., zeros where the column
// is not in [0, B). May write up to 15 elements more.
static inline void copy_row(global const REAL *in, const long row,
                            const int column, const int step, const int B,
                            const long total, const int count,
                            global REAL *to)
{
    for (int q = 0; q < count; q += VW) {
        const int from = column + q * step;
        if (step == 1 && row + from >= 0 && row + from + VW <= total) {
            const RV place = LANE + K(from);
            const RV v = vload16(0, in + row + from);
            vstore16(SEL((place >= K(0)) & (place < K(B)), v, K(0)), 0,
                     to + q);
            continue;
        }
        REAL lanes[VW];
        for (int k = 0; k < VW; k++) {
            const int at = from + k * step;
            lanes[k] = at >= 0 && at < B ? in[row + at] : (REAL)0;
        }
        vstore16(vload16(0, lanes), 0, to + q);
    }
}

// Rows follow each other, so that each overwrites what the one before wrote
// too much.
static inline void fill_planes(global const REAL *in, const struct band *b,
                               const int g, global REAL *planes, const int G,
                               const int L, const int A, const int B,
                               const long total, const int S_y, const int S_x)
{
    global REAL *to = planes;
    for (int l = 0; l < L; l++)
        for (int n = 0; n < b->images; n++) {
            const long image =
                (((long)(b->image + n) * G + g) * L + l) * A * B;
            for (int i = 0; i < b->sets; i++)
                for (int j = 0; j < b->x.count; j++) {
                    const int shift = S_y == 1 ? b->shift
                                               : b->y.shift + i * b->y.slope;
                    const int column = b->x.shift + j * b->x.slope;
                    for (int r = 0; r < b->plane_rows; r++) {
                        const int row = (b->row + r) * S_y + shift;
                        const bool is_in = row >= 0 && row < A;
                        copy_row(in, image + (long)(is_in ? row : 0) * B,
                                 column, S_x, is_in ? B : 0, total,
                                 b->x.extent, to);
                        to += b->x.extent;
                    }
                }
        }
    vstore16((RV)(0), 0, to);
}

// table[k]: where input channel and tap k of L taps_y taps_x begin.
static inline void fill_table(const struct band *b, const int L,
                              const int S_y, global int *table)
{
    for (int l = 0; l < L; l++)
        for (int i = 0; i < b->y.count; i++)
            for (int j = 0; j < b->x.count; j++)
                *table++ = l * b->images * b->size + find_tap(b, i, j, S_y);
}

// A tile of outputs is TILE_M channels by TILE_V vectors of 16 pixels: enough
// sums to hide the latency of fma, few enough to stay in registers. TILE_M
// divides 8.
#ifndef TILE_M
#if REAL_IS_DOUBLE || !defined(__AVX512F__)
#define TILE_M 4
#define TILE_V 2
#else
#define TILE_M 8
#define TILE_V 3
#endif
#endif
// conv_thin's tile: for groups of one or two output channels.
#define THIN_V 8

// Packs the weights: first the classes of taps, by their first vertical and
// horizontal one, in parts of `size`; then groups, then tiles of channels.
//
//   packed[CLASS][G][M / tile][L][taps][tile], zeros beyond M
//
SINGLE kernel void conv_pack(global const REAL *restrict w,
                             global REAL *restrict packed, SHAPE_PARAMS,
                             const long size, const int thin)
{
    const int block = get_group_id(0), g = get_group_id(1);
    const int first_y = get_group_id(2) / min(step_x, KW);
    const int first_x = get_group_id(2) - first_y * min(step_x, KW);
    const int tile = thin ? 1 : TILE_M;
    const int tiles = (M + 7) / 8 * (thin ? 8 : 8 / TILE_M);
    const int taps_y = (KH - first_y + step_y - 1) / step_y;
    const int taps_x = (KW - first_x + step_x - 1) / step_x;
    const int out_step = is_transposed ? 1 : L, in_step = is_transposed ? M : 1;
    packed += size * get_group_id(2);
    for (int m = block * 8; m < block * 8 + 8; m++)
        for (int l = 0; l < L; l++) {
            global const REAL *from =
                w + ((long)g * L * M + (long)min(m, M - 1) * out_step +
                     (long)l * in_step) * KH * KW;
            global REAL *to =
                packed + (((long)g * tiles + m / tile) * L + l) * taps_y *
                             taps_x * tile + (m & (tile - 1));
            for (int a = first_y; a < KH; a += step_y)
                for (int b = first_x; b < KW; b += step_x) {
                    *to = m < M ? from[a * KW + b] : (REAL)0;
                    to += tile;
                }
        }
}

// sum[m][v] of channels and taps: weights[depth][tile_m], inputs from at[v] +
// table[k] on.
INLINE void multiply_tile(REAL16 *sum, const int tile_m, const int tile_v,
                          global const REAL *planes, const int *at,
                          global const int *table,
                          global const REAL *weights, const int depth)
{
    UNROLL for (int i = 0; i < tile_m * tile_v; i++)
        sum[i] = (REAL16)(0);
    for (int k = 0; k < depth; k++, weights += tile_m) {
        global const REAL *x = planes + table[k];
        REAL16 row[8];
        UNROLL for (int v = 0; v < tile_v; v++)
            row[v] = vload16(0, x + at[v]);
        UNROLL for (int m = 0; m < tile_m; m++) {
            const REAL16 column = (REAL16)(weights[m]);
            UNROLL for (int v = 0; v < tile_v; v++)
                sum[m * tile_v + v] = fma(column, row[v], sum[m * tile_v + v]);
        }
    }
}

// Where the vectors of a tile begin: in the planes, in a plane of the output,
// and how many of their lanes are pixels.
struct place {
    int image[8], pixel[8], used[8];
};

// Stores `used` lanes that are T_x columns or T_y rows apart.
static inline void scatter(const REAL16 v, const struct band *b,
                           const int pixel, const int used, global REAL *plane,
                           const int T_y, const int T_x, const int X)
{
    REAL lanes[VW];
    vstore16(v, 0, lanes);
    int r = pixel / b->x.extent, q = pixel - r * b->x.extent;
    for (int k = 0; k < used; k++) {
        plane[(long)(b->row + r) * T_y * X + q * T_x] = lanes[k];
        if (++q == b->x.extent) {
            q = 0;
            r++;
        }
    }
}

// Stores a tile; `first` is the output's element of the band's first image,
// first channel of the tile, row 0, and the phase's first column.
INLINE void store_tile(const REAL16 *sum, const int tile_m, const int tile_v,
                       const struct band *b, const struct place *at,
                       const int vectors, global REAL *out, const long first,
                       const long image, const int channel, const int channels,
                       const struct hooks h, const int Y, const int X,
                       const int T_y, const int T_x)
{
    REAL flat[64 * VW]; // sums leave registers only here
    UNROLL for (int i = 0; i < tile_m * tile_v; i++)
        vstore16(sum[i], i, flat);
    for (int m = 0; m < min(tile_m, channels - channel); m++)
        for (int v = 0; v < min(tile_v, vectors); v++) {
            const REAL16 x = vload16(m * tile_v + v, flat);
            const long plane =
                first + at->image[v] * image + (long)m * Y * X;
            if (T_y > 1 || T_x > 1) {
                scatter(x, b, at->pixel[v], at->used[v], out + plane, T_y, T_x,
                        X);
                continue;
            }
            const long i = plane + (long)b->row * X + at->pixel[v];
            store_real(apply_plane_hooks(x, h, i, channel + m, at->used[v]),
                       out + i, at->used[v]);
        }
}

// One band of one phase and group.
INLINE void convolve_band(const struct band *b, const int tile_m,
                          const int tile_v, const int g,
                          global const REAL *planes, global const int *table,
                          global const REAL *weights, global REAL *out,
                          const long first, const struct hooks h, SHAPE_PARAMS)
{
    const int depth = L * b->y.count * b->x.count;
    const int each = (b->pixels + VW - 1) / VW, total = each * b->images;
    for (int q = 0; q < total; q += tile_v) {
        struct place at;
        int from[8];
        UNROLL for (int v = 0; v < tile_v; v++) {
            const int i = min(q + v, total - 1);
            at.image[v] = i / each;
            at.pixel[v] = (i - at.image[v] * each) * VW;
            at.used[v] = min(VW, b->pixels - at.pixel[v]);
            from[v] = at.image[v] * b->size + at.pixel[v];
        }
        for (int m = 0; m < M; m += tile_m) {
            REAL16 sum[32];
            multiply_tile(sum, tile_m, tile_v, planes, from, table,
                          weights + (long)m * depth, depth);
            store_tile(sum, tile_m, tile_v, b, &at, total - q, out,
                       first + (long)m * Y * X, (long)G * M * Y * X,
                       g * M + m, (g + 1) * M, h, Y, X, T_y, T_x);
        }
    }
}

// Units are bands of `rows` rows of `images` images, within phases and groups;
// an item takes `span` of them and has a scratch of its own.
#define CONV_PARAMS(restrict)                                                \
    global const REAL *restrict in, global const REAL *restrict packed,      \
        global REAL *restrict out, global REAL *restrict scratch,            \
        global int *restrict tables, HOOK_PARAMS, SHAPE_PARAMS,              \
        const long size, const int units, const int span, const int images,  \
        const int rows, const int bands, const long scratch_size,            \
        const int table_size
#define CONV_ARGS                                                            \
    in, packed, out, scratch, tables, HOOK_ARGS, SHAPE_ARGS, size, units,    \
        span, images, rows, bands, scratch_size, table_size

INLINE void convolve(const int tile_m, const int tile_v, CONV_PARAMS())
{
    const int item = get_group_id(0);
    const int blocks = (N + images - 1) / images;
    const int tiles = (M + 7) / 8 * (8 / tile_m);
    global REAL *planes = scratch + scratch_size * item;
    global int *table = tables + (long)table_size * item;
    for (int u = item * span; u < min((item + 1) * span, units); u++) {
        const int group = u / bands, row = (u - group * bands) * rows;
        const int part = group / blocks, block = group - part * blocks;
        const int phase = part / G, g = part - phase * G;
        const int phase_y = phase / T_x, phase_x = phase - phase_y * T_x;
        const struct axis y = AXIS_Y(phase_y), x = AXIS_X(phase_x);
        if (row >= y.extent || x.extent < 1)
            continue;
        const struct band b =
            make_band(y, x, block * images,
                      min(images, N - block * images), row, rows, S_y);
        const int taps = y.count * x.count;
        if (taps)
            fill_planes(in, &b, g, planes, G, L, A, B, (long)N * G * L * A * B,
                        S_y, S_x);
        fill_table(&b, L, S_y, table);
        const int class = y.first * min(step_x, KW) + x.first;
        const long first = (((long)b.image * G + g) * M * Y + phase_y) * X +
                           phase_x;
        convolve_band(&b, tile_m, tile_v, g, planes, table,
                      packed + size * class +
                          (long)g * tiles * tile_m * L * taps,
                      out, first, HOOKS, SHAPE_ARGS);
    }
}

SINGLE kernel void conv(CONV_PARAMS(restrict))
{
    convolve(TILE_M, TILE_V, CONV_ARGS);
}

SINGLE kernel void conv_thin(CONV_PARAMS(restrict))
{
    convolve(1, THIN_V, CONV_ARGS);
}

// ---- the weights' gradient ----
//
// An item sums a chunk of all images into a partial result of its own; then
// conv_sum adds these up in order. Bands are as above, the large image being
// `in`; y is transposed, so that lanes are its channels:
//
//   columns[M / (16 tile_v)][image][pixel][16 tile_v], zeros beyond M
//   partial[CHUNK][G][M / (16 tile_v)][K][16 tile_v], K = L KH KW, padded

// Copies the band of y.
INLINE void fill_columns(global const REAL *y, const struct band *b,
                         const int g, const int tile_v,
                         global REAL *columns, const int G, const int M,
                         const int Y, const int X, const long total)
{
    const int width = tile_v * VW;
    for (int m = 0; m < M; m += VW)
        for (int n = 0; n < b->images; n++) {
            const long from =
                (((long)(b->image + n) * G + g) * M + m) * Y * X +
                (long)b->row * X;
            global REAL *to =
                columns + ((long)(m / width) * b->images + n) * b->pixels *
                              width + (m & (width - 1));
            for (int q = 0; q < b->pixels; q += VW) {
                REAL16 r[VW];
                for (int k = 0; k < VW; k++) {
                    const long i = from + (long)k * Y * X + q;
                    r[k] = m + k >= M ? (REAL16)(0)
                           : i + VW <= total
                               ? vload16(0, y + i)
                               : load_real(y + i, (int)(total - i));
                }
                transpose16(r);
                UNROLL for (int k = 0; k < VW; k++)
                    vstore16(r[k], 0, to + (long)(q + k) * width);
            }
        }
}

// Adds the band's products to a tile of the partial result: tile_k places of
// the kernel by tile_v vectors of channels.
INLINE void multiply_columns(const struct band *b, const int tile_k,
                             const int tile_v, global const REAL *planes,
                             global const int *table,
                             global const REAL *columns, global REAL *partial,
                             const bool is_first)
{
    REAL16 sum[32];
    UNROLL for (int i = 0; i < tile_k * tile_v; i++)
        sum[i] = is_first ? (REAL16)(0) : vload16(i, partial);
    for (int n = 0; n < b->images; n++) {
        global const REAL *x[16];
        UNROLL for (int k = 0; k < tile_k; k++)
            x[k] = planes + n * b->size + table[k];
        for (int q = 0; q < b->pixels; q++, columns += tile_v * VW) {
            REAL16 row[2];
            UNROLL for (int v = 0; v < tile_v; v++)
                row[v] = vload16(v, columns);
            UNROLL for (int k = 0; k < tile_k; k++) {
                const REAL16 pixel = (REAL16)(x[k][q]);
                UNROLL for (int v = 0; v < tile_v; v++)
                    sum[k * tile_v + v] =
                        fma(pixel, row[v], sum[k * tile_v + v]);
            }
        }
    }
    UNROLL for (int i = 0; i < tile_k * tile_v; i++)
        vstore16(sum[i], i, partial);
}

#define WEIGHTS_PARAMS(restrict)                                             \
    global const REAL *restrict in, global const REAL *restrict y,           \
        global REAL *restrict partial, global REAL *restrict scratch,        \
        global int *restrict tables, SHAPE_PARAMS, const int units,          \
        const int span, const int images, const int rows, const int bands,   \
        const long scratch_size, const long planes_size, const int padded
#define WEIGHTS_ARGS                                                         \
    in, y, partial, scratch, tables, SHAPE_ARGS, units, span, images, rows,  \
        bands, scratch_size, planes_size, padded

INLINE void sum_chunk(const int tile_k, const int tile_v, WEIGHTS_PARAMS())
{
    const int item = get_group_id(0), g = get_group_id(1);
    const int width = tile_v * VW, parts = (M + width - 1) / width;
    const int depth = L * KH * KW;
    global REAL *planes =
        scratch + scratch_size * (item * get_num_groups(1) + g);
    global REAL *columns = planes + planes_size;
    global int *table =
        tables + (long)padded * (item * get_num_groups(1) + g);
    global REAL *result = partial + ((long)item * G + g) * parts * padded *
                                        width;
    for (int u = item * span; u < min((item + 1) * span, units); u++) {
        const int block = u / bands, row = (u - block * bands) * rows;
        const struct band b =
            make_band(AXIS_Y(0), AXIS_X(0), block * images,
                      min(images, N - block * images), row, rows, S_y);
        fill_planes(in, &b, g, planes, G, L, A, B, (long)N * G * L * A * B,
                    S_y, S_x);
        fill_columns(y, &b, g, tile_v, columns, G, M, Y, X,
                     (long)N * G * M * Y * X);
        fill_table(&b, L, S_y, table);
        for (int k = depth; k < padded; k++)
            table[k] = 0;
        for (int p = 0; p < parts; p++)
            for (int k = 0; k < padded; k += tile_k)
                multiply_columns(&b, tile_k, tile_v, planes, table + k,
                                 columns + (long)p * b.images * b.pixels *
                                               width,
                                 result + ((long)p * padded + k) * width,
                                 u == item * span);
    }
}

SINGLE kernel void conv_weights(WEIGHTS_PARAMS(restrict))
{
    sum_chunk(TILE_M, 2, WEIGHTS_ARGS);
}

// For groups of at most 16 output channels.
SINGLE kernel void conv_weights_narrow(WEIGHTS_PARAMS(restrict))
{
    sum_chunk(2 * TILE_M, 1, WEIGHTS_ARGS);
}

// w[G][M][K] is the sum of the partial results. An item takes 16 x 16.
SINGLE kernel void conv_sum(global const REAL *restrict partial,
                            global REAL *restrict w, const int G, const int M,
                            const int K, const int chunks, const int padded,
                            const int width)
{
    const int k0 = get_group_id(0) * VW, m0 = get_group_id(1) * VW;
    const int g = get_group_id(2), parts = (M + width - 1) / width;
    const long size = (long)parts * padded * width;
    global const REAL *from = partial + g * size +
                              ((long)(m0 / width) * padded + k0) * width +
                              (m0 & (width - 1));
    REAL16 r[VW];
    for (int k = 0; k < VW; k++) {
        r[k] = (REAL16)(0);
        for (int c = 0; c < chunks; c++)
            r[k] += vload16(0, from + (long)c * G * size + (long)k * width);
    }
    transpose16(r);
    for (int m = 0; m < min(VW, M - m0); m++)
        store_real(r[m], w + ((long)g * M + m0 + m) * K + k0,
                   min(VW, K - k0));
}

#else // !CPU

#define GEOMETRY                                                             \
    const long total, const int span, const int N, const int G, const int C, \
        const int O, const int H, const int W, const int P, const int Q,     \
        const int KH, const int KW, const int stride_y, const int stride_x,  \
        const int low_y, const int low_x, const int dilation_y,              \
        const int dilation_x

// Splits e into places along n1 (innermost) to n4. Without %, whose
// neighbourhood to / Oclgrind does not take.
#define SPLIT(e, n1, n2, n3, i1, i2, i3, i4)                                 \
    const long e##2 = (e) / (n1), e##3 = e##2 / (n2), i4 = e##3 / (n3);      \
    const int i1 = (e) - e##2 * (n1), i2 = e##2 - e##3 * (n2),               \
              i3 = e##3 - i4 * (n3)

#define FOR_EACH(e)                                                          \
    const long first = (long)get_global_id(0) * span;                        \
    for (long e = first; e < min(first + span, total); e++)

kernel void conv_each(global const REAL *restrict x, global const REAL *restrict w,
                 global REAL *restrict y, GEOMETRY)
{
    FOR_EACH(e)
    {
        SPLIT(e, Q, P, G * O, q, p, o, n);
        const int g = o / O;
        REAL sum = 0;
        for (int c = 0; c < C; c++)
            for (int a = 0; a < KH; a++)
                for (int b = 0; b < KW; b++) {
                    const int h = p * stride_y + a * dilation_y - low_y;
                    const int v = q * stride_x + b * dilation_x - low_x;
                    if (h >= 0 && h < H && v >= 0 && v < W)
                        sum = fma(
                            x[(((long)n * G + g) * C + c) * H * W + h * W + v],
                            w[(((long)o * C + c) * KH + a) * KW + b], sum);
                }
        y[e] = sum;
    }
}

kernel void conv_transpose_each(global const REAL *restrict y,
                           global const REAL *restrict w,
                           global REAL *restrict x, GEOMETRY)
{
    FOR_EACH(e)
    {
        SPLIT(e, W, H, G * C, v, h, k, n);
        const int g = k / C, c = k - g * C;
        REAL sum = 0;
        for (int o = g * O; o < (g + 1) * O; o++)
            for (int a = 0; a < KH; a++)
                for (int b = 0; b < KW; b++) {
                    const int p = h + low_y - a * dilation_y;
                    const int q = v + low_x - b * dilation_x;
                    const int s = p / stride_y, t = q / stride_x;
                    if (p >= 0 && q >= 0 && s * stride_y == p &&
                        t * stride_x == q && s < P && t < Q)
                        sum = fma(y[(((long)n * G * O + o) * P + s) * Q + t],
                                  w[(((long)o * C + c) * KH + a) * KW + b],
                                  sum);
                }
        x[e] = sum;
    }
}

kernel void conv_weights_each(global const REAL *restrict x,
                         global const REAL *restrict y,
                         global REAL *restrict w, GEOMETRY)
{
    FOR_EACH(e)
    {
        SPLIT(e, KW, KH, C, b, a, c, o);
        const int g = o / O;
        REAL sum = 0;
        for (int n = 0; n < N; n++)
            for (int p = 0; p < P; p++)
                for (int q = 0; q < Q; q++) {
                    const int h = p * stride_y + a * dilation_y - low_y;
                    const int v = q * stride_x + b * dilation_x - low_x;
                    if (h >= 0 && h < H && v >= 0 && v < W)
                        sum = fma(
                            x[(((long)n * G + g) * C + c) * H * W + h * W + v],
                            y[(((long)n * G * O + o) * P + p) * Q + q], sum);
                }
        w[e] = sum;
    }
}

#endif
