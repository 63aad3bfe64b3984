// The gradient of a convolution's weights; needs tile.cl and conv_shape.cl
// before it.
//
//   w[G][M][L][KH][KW]: w[a] = sum over n, p of in[p stride + a dilation - low]
//   y[p], in[N][G][L][A][B] being the large image and y[N][G][M][Y][X] the
//   small one
//
// An item or group sums a chunk of all pixels into a partial result of its
// own; then conv_sum adds these up in order.

#if CPU

#define THIN_K 9

// Bands are those of conv_shape.cl; y is transposed, so that lanes are its
// channels:
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

// Adds the products of `count` lanes of y with what the places take there.
INLINE void multiply_lanes(REAL16 *sum, global const REAL *const *x,
                           global const REAL *y, const int count)
{
    const REAL16 row = load_real(y, count);
    UNROLL for (int k = 0; k < THIN_K; k++)
        sum[k] = fma(load_real(x[k], count), row, sum[k]);
}

// Adds the band's products of channel m of y and THIN_K places of the kernel,
// those beyond the last one being repeated.
static inline void multiply_rows(const struct band *b,
                                 global const REAL *planes,
                                 global const int *table, const int places,
                                 global const REAL *y, const long image,
                                 global REAL *result)
{
    REAL16 sum[THIN_K];
    UNROLL for (int k = 0; k < THIN_K; k++)
        sum[k] = (REAL16)(0);
    for (int n = 0; n < b->images; n++, y += image) {
        for (int q = 0; q < b->pixels; q += VW) {
            global const REAL *x[THIN_K];
            UNROLL for (int k = 0; k < THIN_K; k++)
                x[k] = planes + n * b->size + table[min(k, places - 1)] + q;
            if (q + VW <= b->pixels)
                multiply_lanes(sum, x, y + q, VW);
            else
                multiply_lanes(sum, x, y + q, b->pixels - q);
        }
    }
    REAL flat[THIN_K];
    UNROLL for (int k = 0; k < THIN_K; k++)
        flat[k] = sum_lanes(sum[k]);
    for (int k = 0; k < min(THIN_K, places); k++)
        result[k * VW] += flat[k];
}

// For groups of one or two output channels: lanes are pixels, and y is taken
// as it is.
SINGLE kernel void conv_weights_thin(WEIGHTS_PARAMS(restrict))
{
    const int item = get_group_id(0), g = get_group_id(1);
    const int depth = L * KH * KW;
    const long slot = item * get_num_groups(1) + g;
    global REAL *planes = scratch + scratch_size * slot;
    global int *table = tables + padded * slot;
    global REAL *result = partial + slot * padded * VW;
    for (int k = 0; k < padded; k++)
        vstore16((REAL16)(0), k, result);
    for (int u = item * span; u < min((item + 1) * span, units); u++) {
        const int block = u / bands, row = (u - block * bands) * rows;
        const struct band b =
            make_band(AXIS_Y(0), AXIS_X(0), block * images,
                      min(images, N - block * images), row, rows, S_y);
        fill_planes(in, &b, g, planes, G, L, A, B, (long)N * G * L * A * B,
                    S_y, S_x);
        fill_table(&b, L, S_y, table);
        for (int m = 0; m < M; m++)
            for (int k = 0; k < depth; k += THIN_K)
                multiply_rows(&b, planes, table + k, depth - k,
                              y + (((long)b.image * G + g) * M + m) * Y * X +
                                  (long)row * X,
                              (long)G * M * Y * X, result + k * VW + m);
    }
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

// conv_weights_64, conv_weights_32: a product of y[M][pixels] and in[depth]
// [pixels], depth = L KH KW, over a chunk of pixels. A group computes 4 side
// channels by 4 side places as in tile.cl; the third dimension of the grid
// counts chunks and groups.
//
//   partial[CHUNK][G][M][depth]
#define WEIGHTS_PARAMS(restrict)                                             \
    global const REAL *restrict in, global const REAL *restrict y,           \
        global REAL *restrict partial, SHAPE_PARAMS, const long chunk
#define WEIGHTS_ARGS in, y, partial, SHAPE_ARGS, chunk

// What pixel p of all images takes by input channel and tap k.
static inline REAL take(global const REAL *in, const long p, const int g,
                        const int k, SHAPE_PARAMS)
{
    const long line = p / X, n = line / Y;
    const int q = p - line * X, r = line - n * Y;
    const int pair = k / KW, b = k - pair * KW;
    const int l = pair / KH, a = pair - l * KH;
    const int row = r * S_y + a * dilation_y - low_y;
    const int column = q * S_x + b * dilation_x - low_x;
    const bool is_in = row >= 0 && row < A && column >= 0 && column < B;
    return is_in ? in[(((n * G + g) * L + l) * A + row) * B + column]
                 : (REAL)0;
}

// Pixel p of all images in channel m.
static inline REAL pick(global const REAL *y, const long p, const int g,
                        const int m, SHAPE_PARAMS)
{
    const long n = p / ((long)Y * X), at = p - n * Y * X;
    return y[((n * G + g) * M + m) * Y * X + at];
}

INLINE void sum_chunk(const int side, local REAL *y_tile, local REAL *tile,
                      WEIGHTS_PARAMS())
{
    const int part = get_group_id(2), c = part / G, g = part - c * G;
    const int size = 4 * side, depth = L * KH * KW;
    const int m0 = get_group_id(1) * size, k0 = get_group_id(0) * size;
    const long first = c * chunk;
    const long last = min(first + chunk, (long)N * Y * X);
    REAL sum[4][4] = {{0}};
    for (long p = first; p < last; p += STEP) {
        for (int e = get_local_id(1) * side + get_local_id(0);
             e < size * STEP; e += side * side) {
            const int i = e / STEP, l = e & (STEP - 1);
            const int to = l * (size + 1) + i;
            y_tile[to] = p + l < last && m0 + i < M
                             ? pick(y, p + l, g, m0 + i, SHAPE_ARGS)
                             : (REAL)0;
            tile[to] = p + l < last && k0 + i < depth
                           ? take(in, p + l, g, k0 + i, SHAPE_ARGS)
                           : (REAL)0;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        multiply_step(sum, side, y_tile, tile);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    UNROLL for (int r = 0; r < 4; r++)
        UNROLL for (int s = 0; s < 4; s++) {
            const int m = m0 + get_local_id(1) + r * side;
            const int k = k0 + get_local_id(0) + s * side;
            if (m < M && k < depth)
                partial[((long)part * M + m) * depth + k] = sum[r][s];
        }
}

#define DEFINE_WEIGHTS(name, side)                                           \
    __attribute__((reqd_work_group_size(side, side, 1))) kernel void name(   \
        WEIGHTS_PARAMS(restrict))                                            \
    {                                                                        \
        local REAL y_tile[STEP * (4 * side + 1)];                            \
        local REAL tile[STEP * (4 * side + 1)];                              \
        sum_chunk(side, y_tile, tile, WEIGHTS_ARGS);                         \
    }
DEFINE_WEIGHTS(conv_weights_64, 16)
DEFINE_WEIGHTS(conv_weights_32, 8)

// For groups of few channels: a group's items share out a chunk's pixels for
// one weight, then add up as a tree.
kernel void conv_weights_thin(WEIGHTS_PARAMS(restrict),
                              local REAL *restrict tree)
{
    const int depth = L * KH * KW;
    const int k = get_group_id(0), part = get_group_id(1);
    const int g = part / M, m = part - g * M;
    const int item = get_local_id(0), items = get_local_size(0);
    const long first = get_group_id(2) * chunk;
    const long last = min(first + chunk, (long)N * Y * X);
    REAL sum = 0;
    for (long p = first + item; p < last; p += items)
        sum = fma(pick(y, p, g, m, SHAPE_ARGS),
                  take(in, p, g, k, SHAPE_ARGS), sum);
    tree[item] = sum;
    for (int reach = items / 2; reach; reach /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (item < reach)
            tree[item] += tree[item + reach];
    }
    if (item == 0)
        partial[((long)get_group_id(2) * G * M + part) * depth + k] = tree[0];
}

// w is the sum of `chunks` partial results.
kernel void conv_sum(global const REAL *restrict partial,
                     global REAL *restrict w, const long total,
                     const int chunks)
{
    const long i = get_global_id(0);
    if (i >= total)
        return;
    REAL sum = 0;
    for (int c = 0; c < chunks; c++)
        sum += partial[c * total + i];
    w[i] = sum;
}
#endif
