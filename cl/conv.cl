// Convolution of images, forward and transposed; needs tile.cl and
// conv_shape.cl before it.
//
//   x[N][G][C][H][W], the large image; y[N][G][O][P][Q], the small one
//   w[G][O][C][KH][KW]
//
//   forward     y[p] = sum over c, a of x[p stride + a dilation - low] w[a]
//   transposed  x[h] = sum of y[p] w[a] where h = p stride + a dilation - low
//
// One kernel does both, from `in`[N][G][L][A][B] to out[N][G][M][Y][X] in the
// phases of conv_shape.cl. On the store it takes hooks, whose row runs along
// the channels.

#if CPU

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
    bool is_whole; // all vectors exist and are full
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
    const bool is_dense = T_y == 1 && T_x == 1;
    if (is_dense && !h.flags && at->is_whole &&
        channels - channel >= tile_m) {
        UNROLL for (int m = 0; m < tile_m; m++)
            UNROLL for (int v = 0; v < tile_v; v++)
                vstore16(sum[m * tile_v + v], 0,
                         out + first + at->image[v] * image +
                             ((long)m * Y + b->row) * X + at->pixel[v]);
        return;
    }
    REAL flat[32 * VW]; // sums leave registers only here
    UNROLL for (int i = 0; i < tile_m * tile_v; i++)
        vstore16(sum[i], i, flat);
    for (int m = 0; m < min(tile_m, channels - channel); m++)
        for (int v = 0; v < min(tile_v, vectors); v++) {
            const REAL16 x = vload16(m * tile_v + v, flat);
            const long plane =
                first + at->image[v] * image + (long)m * Y * X;
            if (!is_dense) {
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
        struct place at = {.is_whole = q + tile_v <= total};
        int from[8];
        UNROLL for (int v = 0; v < tile_v; v++) {
            const int i = min(q + v, total - 1);
            at.image[v] = i / each;
            at.pixel[v] = (i - at.image[v] * each) * VW;
            at.used[v] = min(VW, b->pixels - at.pixel[v]);
            at.is_whole = at.is_whole && at.used[v] == VW;
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

#else // !CPU

// conv_64, conv_32: a product of w[M][depth] and what the pixels take, depth =
// L taps. A group computes 4 side channels of 4 side pixels as in tile.cl; the
// third dimension of the grid counts phases and groups.

// A pixel of a phase: where it lies and where its inputs begin.
struct pixel {
    long in;      // its image's first input channel
    int row, column; // of the input, with shift 0
    long out;     // its element in the image's first output channel, or -1
};

static inline struct pixel find_pixel(const long p, const int g,
                                      const int phase_y, const int phase_x,
                                      const struct axis y, const struct axis x,
                                      SHAPE_PARAMS)
{
    const long row = p / x.extent, n = row / y.extent;
    const int q = p - row * x.extent, r = row - n * y.extent;
    if (n >= N)
        return (struct pixel){0, 0, 0, -1};
    return (struct pixel){
        (n * G + g) * L * A * B, r * S_y + y.shift, q * S_x + x.shift,
        ((n * G + g) * M * Y + r * T_y + phase_y) * X + q * T_x + phase_x};
}

// What the pixel takes by input channel and tap k.
static inline REAL take(global const REAL *in, const struct pixel p,
                        const int k, const struct axis y, const struct axis x,
                        SHAPE_PARAMS)
{
    const int pair = k / x.count, j = k - pair * x.count;
    const int l = pair / y.count, i = pair - l * y.count;
    const int row = p.row + i * y.slope, column = p.column + j * x.slope;
    const bool is_in = row >= 0 && row < A && column >= 0 && column < B;
    return is_in ? in[p.in + ((long)l * A + row) * B + column] : (REAL)0;
}

// The weight of output channel m, input channel and tap k.
static inline REAL weigh(global const REAL *w, const int g, const int m,
                         const int k, const struct axis y, const struct axis x,
                         SHAPE_PARAMS)
{
    const int pair = k / x.count, j = k - pair * x.count;
    const int l = pair / y.count, i = pair - l * y.count;
    const long at = (long)g * L * M + (is_transposed ? (long)l * M + m
                                                     : (long)m * L + l);
    return w[(at * KH + y.first + i * y.step) * KW + x.first + j * x.step];
}

#define CONV_PARAMS(restrict)                                                \
    global const REAL *restrict in, global const REAL *restrict w,           \
        global REAL *out, HOOK_PARAMS, SHAPE_PARAMS
#define CONV_ARGS in, w, out, HOOK_ARGS, SHAPE_ARGS

// One step of the depth from k on: 4 side channels from m on, 4 side pixels.
INLINE void fetch(const int side, const struct pixel p, const int g,
                  const int m, const int k, const struct axis y,
                  const struct axis x, local REAL *w_tile, local REAL *tile,
                  CONV_PARAMS())
{
    const int size = 4 * side, depth = L * y.count * x.count;
    const int item = get_local_id(1) * side + get_local_id(0);
    for (int e = item; e < size * STEP; e += side * side) {
        const int i = e / STEP, l = e & (STEP - 1), at = e / size;
        w_tile[l * (size + 1) + i] =
            m + i < M && k + l < depth
                ? weigh(w, g, m + i, k + l, y, x, SHAPE_ARGS)
                : (REAL)0;
        tile[at * (size + 1) + (item & (size - 1))] =
            p.out >= 0 && k + at < depth
                ? take(in, p, k + at, y, x, SHAPE_ARGS)
                : (REAL)0;
    }
}

INLINE void convolve(const int side, local REAL *w_tile, local REAL *tile,
                     CONV_PARAMS())
{
    const int part = get_group_id(2), phase = part / G, g = part - phase * G;
    const int phase_y = phase / T_x, phase_x = phase - phase_y * T_x;
    const struct axis y = AXIS_Y(phase_y), x = AXIS_X(phase_x);
    const int item = get_local_id(1) * side + get_local_id(0);
    const int m0 = get_group_id(1) * 4 * side;
    const long p0 = (long)get_group_id(0) * 4 * side;
    if (x.extent < 1 || y.extent < 1)
        return; // a phase without elements, for the whole group
    const struct pixel mine =
        find_pixel(p0 + (item & (4 * side - 1)), g, phase_y, phase_x, y, x,
                   SHAPE_ARGS);
    REAL sum[4][4] = {{0}};
    for (int k = 0; k < L * y.count * x.count; k += STEP) {
        fetch(side, mine, g, m0, k, y, x, w_tile, tile, CONV_ARGS);
        barrier(CLK_LOCAL_MEM_FENCE);
        multiply_step(sum, side, w_tile, tile);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    UNROLL for (int s = 0; s < 4; s++) {
        const struct pixel p =
            find_pixel(p0 + get_local_id(0) + s * side, g, phase_y, phase_x, y,
                       x, SHAPE_ARGS);
        UNROLL for (int r = 0; r < 4; r++) {
            const int m = m0 + get_local_id(1) + r * side;
            const long at = p.out + (long)m * Y * X;
            if (p.out >= 0 && m < M)
                out[at] =
                    apply_plane_hooks(sum[r][s], HOOKS, at, g * M + m, 1);
        }
    }
}

#define DEFINE_CONV(name, side)                                              \
    __attribute__((reqd_work_group_size(side, side, 1))) kernel void name(   \
        CONV_PARAMS(restrict))                                               \
    {                                                                        \
        local REAL w_tile[STEP * (4 * side + 1)];                            \
        local REAL tile[STEP * (4 * side + 1)];                              \
        convolve(side, w_tile, tile, CONV_ARGS);                             \
    }
DEFINE_CONV(conv_64, 16)
DEFINE_CONV(conv_32, 8)

// For groups of few channels: an item takes one pixel in one output channel.
kernel void conv_thin(CONV_PARAMS(restrict))
{
    const int part = get_global_id(1), phase = get_global_id(2);
    const int g = part / M, m = part - g * M;
    const int phase_y = phase / T_x, phase_x = phase - phase_y * T_x;
    const struct axis y = AXIS_Y(phase_y), x = AXIS_X(phase_x);
    if (x.extent < 1 || y.extent < 1)
        return;
    const struct pixel p = find_pixel(get_global_id(0), g, phase_y, phase_x, y,
                                      x, SHAPE_ARGS);
    if (p.out < 0)
        return;
    REAL sum = 0;
    for (int k = 0; k < L * y.count * x.count; k++)
        sum = fma(weigh(w, g, m, k, y, x, SHAPE_ARGS),
                  take(in, p, k, y, x, SHAPE_ARGS), sum);
    const long at = p.out + (long)m * Y * X;
    out[at] = apply_plane_hooks(sum, HOOKS, at, part, 1);
}
#endif
