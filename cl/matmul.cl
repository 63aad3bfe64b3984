// Matrix product: c[i][j] = sum over l of op(a)[i][l] op(b)[l][j], for each
// matrix of a batch, then the store hooks; needs tile.cl before it.
//
//   a[BATCH][M][K], or a[BATCH][K][M] where TRANS_A
//   b[BATCH][K][N], or b[BATCH][N][K] where TRANS_B
//   c[BATCH][M][N]
//
// Batches lie stride_a, stride_b, stride_c elements apart; 0 repeats one
// matrix. Each element is one sum in a fixed order, whoever computes it.
//
// LOAD_A(i, m), LOAD_B(i, m) read elements i to i + m - 1 of an operand, the
// other lanes being 0. A chain of pointwise operations rides on a load by
// defining one of them, with its parameters in LOAD_PARAMS (", const REAL p")
// and their names in LOAD_ARGS (", p").

#ifndef TRANS_A
#define TRANS_A 0
#endif
#ifndef TRANS_B
#define TRANS_B 0
#endif
#ifndef LOAD_PARAMS
#define LOAD_PARAMS
#endif
#ifndef LOAD_ARGS
#define LOAD_ARGS
#endif
#ifndef LOAD_A
#define LOAD_A(i, m) load_real(a + (i), m)
#endif
#ifndef LOAD_B
#define LOAD_B(i, m) load_real(b + (i), m)
#endif

// `qualifier` is restrict for kernels. Within functions it would become what
// Oclgrind does not know once they are inlined.
#define PARAMS(qualifier)                                                    \
    global const REAL *qualifier a, global const REAL *qualifier b,          \
        global REAL *c, const int m, const int n, const int k,               \
        const long stride_a, const long stride_b, const long stride_c,       \
        HOOK_PARAMS LOAD_PARAMS
// For functions whose loops unroll by an argument.
#define INLINE static inline __attribute__((always_inline))
#define ARGS                                                                 \
    a, b, c, m, n, k, stride_a, stride_b, stride_c, HOOK_ARGS LOAD_ARGS

#if CPU

// matmul, matmul_narrow: a group is one work-item and computes rows x cols
// elements of c, K in blocks of `depth`. It packs its part of op(a) into
// `block` and, one after the other, panels of op(b) into `panel`; a tile of
// c then stays in registers over a whole block of K.
//
//   block[rows][PITCH], or block[depth][PITCH] where TRANS_A
//   panel[depth][WIDTH], depth rounded up to 16
//
// PITCH is the inner extent rounded up to an odd multiple of 16, so that rows
// do not meet in the same sets of the cache. WIDTH is 16 in matmul_narrow.

// A tile has TILE_M rows of TILE_V vectors of 16: enough sums to hide the
// latency of fma, few enough to stay in registers. TILE_M divides 16.
#ifndef TILE_M
#if REAL_IS_DOUBLE || !defined(__AVX512F__)
#define TILE_M 4
#else
#define TILE_M 8
#endif
#endif
#define TILE_V 2

// Lanes that may be read from element i on. A vector may run over the end of
// its row, since what it brings from the next one is never stored, but not
// over the end of its matrix.
static inline int lanes_before(const long end, const long i)
{
    return (int)min((long)VW, end - i);
}

// Copies rows [i0, i0 + rows) and columns [l0, l0 + depth) of op(a).
INLINE void pack_a(global const REAL *a, const long base,
                          const int m, const int k, const int i0,
                          const int rows, const int l0, const int depth,
                          const int pitch,
                          local REAL *block LOAD_PARAMS)
{
    const long end = base + (long)m * k;
#if TRANS_A
    const int outer = depth, inner = rows, step = m;
    const long start = base + (long)l0 * m + i0;
#else
    const int outer = rows, inner = depth, step = k;
    const long start = base + (long)i0 * k + l0;
#endif
    for (int x = 0; x < outer; x++) {
        const long row = start + (long)x * step;
        for (int y = 0; y < inner; y += VW)
            vstore16(LOAD_A(row + y, lanes_before(end, row + y)), 0,
                     block + x * pitch + y);
    }
#if !TRANS_A
    for (int x = rows; x % TILE_M; x++) // the surplus rows of the last tile
        for (int y = 0; y < depth; y += VW)
            vstore16((REAL16)(0), 0, block + x * pitch + y);
#endif
}

// Copies rows [l0, l0 + depth) and columns [j0, j0 + cols) of op(b); what
// lies in the panel beyond them is never used.
INLINE void pack_b(global const REAL *b, const long base,
                          const int n, const int k, const int j0,
                          const int cols, const int l0, const int depth,
                          const int tile_v,
                          local REAL *panel LOAD_PARAMS)
{
    const long end = base + (long)n * k;
    const int width = tile_v * VW;
#if TRANS_B
    for (int v = 0; v < tile_v; v++) {
        const int last = max(0, cols - 1 - v * VW);
        const long row = base + (long)(j0 + min(v * VW, cols - 1)) * k + l0;
        for (int l = 0; l < depth; l += VW) {
            REAL16 r[VW];
            if (last >= VW - 1 && row + (VW - 1L) * k + l + VW <= end) {
                UNROLL for (int j = 0; j < VW; j++)
                    r[j] = LOAD_B(row + (long)j * k + l, VW);
            } else {
                for (int j = 0; j < VW; j++) {
                    const long i = row + (long)min(j, last) * k + l;
                    r[j] = LOAD_B(i, lanes_before(end, i));
                }
            }
            transpose16(r);
            UNROLL for (int j = 0; j < VW; j++)
                vstore16(r[j], v, panel + (l + j) * width);
        }
    }
#else
    const long start = base + (long)l0 * n + j0;
    for (int l = 0; l < depth; l++) {
        const long row = start + (long)l * n;
        UNROLL for (int v = 0; v < tile_v; v++) {
            const long i = row + min(v * VW, cols - 1);
            vstore16(LOAD_B(i, lanes_before(end, i)), v, panel + l * width);
        }
    }
#endif
}

// Stores lanes [0, used) of v to element (i, j) of c, added to what is there
// where this is not the first block of K.
static inline void store(REAL16 v, global REAL *c, const long at,
                         const int column, const int used,
                         const bool is_first, const struct hooks h)
{
    if (!is_first)
        v += load_real(c + at, used);
    store_real(apply_hooks(v, h, at, column, used), c + at, used);
}

// Stores a tile: `rows` and `cols` are what is left of c from (i0, j0) on.
INLINE void store_tile(const REAL16 sum[TILE_M][TILE_V],
                              const int tile_v, global REAL *c,
                              const long base, const int n, const int i0,
                              const int rows, const int j0, const int cols,
                              const bool is_first, const struct hooks h)
{
    if (rows >= TILE_M && cols >= tile_v * VW && is_first && !h.flags) {
        UNROLL for (int i = 0; i < TILE_M; i++)
            UNROLL for (int v = 0; v < tile_v; v++)
                vstore16(sum[i][v], v, c + base + (long)(i0 + i) * n + j0);
        return;
    }
    REAL flat[TILE_M * TILE_V * VW]; // sums leave registers only here
    UNROLL for (int i = 0; i < TILE_M; i++)
        UNROLL for (int v = 0; v < tile_v; v++)
            vstore16(sum[i][v], i * tile_v + v, flat);
    for (int i = 0; i < min(rows, TILE_M); i++)
        for (int j = 0; j < min(cols, tile_v * VW); j += VW)
            store(vload16(0, flat + i * tile_v * VW + j), c,
                  base + (long)(i0 + i) * n + j0 + j, j0 + j,
                  min(VW, cols - j), is_first, h);
}

// x: the tile's rows in `block`; y: the panel. A step of K multiplies a column
// of x by a row of y.
INLINE void multiply_tile(REAL16 sum[TILE_M][TILE_V], const int tile_v,
                                 const int depth, const int row_step,
                                 const int step, local const REAL *x,
                                 local const REAL *y)
{
    UNROLL for (int i = 0; i < TILE_M; i++)
        UNROLL for (int v = 0; v < tile_v; v++)
            sum[i][v] = (REAL16)(0);
    for (int l = 0; l < depth; l++, x += step, y += tile_v * VW) {
        REAL16 row[TILE_V];
        UNROLL for (int v = 0; v < tile_v; v++)
            row[v] = vload16(v, y);
        UNROLL for (int i = 0; i < TILE_M; i++) {
            const REAL16 column = (REAL16)(x[i * row_step]);
            UNROLL for (int v = 0; v < tile_v; v++)
                sum[i][v] = fma(column, row[v], sum[i][v]);
        }
    }
}

INLINE void multiply(PARAMS(), const int rows, const int cols,
                            const int depth, const int tile_v,
                            local REAL *panel,
                            local REAL *block)
{
    const long base_a = get_group_id(2) * stride_a;
    const long base_b = get_group_id(2) * stride_b;
    const long base_c = get_group_id(2) * stride_c;
    const int j0 = get_group_id(0) * cols, j1 = min(n, j0 + cols);
    const int i0 = get_group_id(1) * rows, i1 = min(m, i0 + rows);
    const int pitch = (((TRANS_A ? rows : depth) + VW - 1) / VW | 1) * VW;
    const int row_step = TRANS_A ? 1 : pitch, step = TRANS_A ? pitch : 1;
    for (int l = 0; l < k; l += depth) {
        const int used = min(depth, k - l);
        struct hooks h = HOOKS;
        if (l + used < k)
            h.flags = 0;
        pack_a(a, base_a, m, k, i0, i1 - i0, l, used, pitch, block LOAD_ARGS);
        for (int j = j0; j < j1; j += tile_v * VW) {
            pack_b(b, base_b, n, k, j, min(tile_v * VW, j1 - j), l, used,
                   tile_v, panel LOAD_ARGS);
            for (int i = i0; i < i1; i += TILE_M) {
                REAL16 sum[TILE_M][TILE_V];
                multiply_tile(sum, tile_v, used, row_step, step,
                              block + (i - i0) * row_step, panel);
                store_tile(sum, tile_v, c, base_c, n, i, i1 - i, j, j1 - j,
                           l == 0, h);
            }
        }
    }
}

SINGLE kernel void matmul(PARAMS(restrict), const int rows, const int cols,
                          const int depth, local REAL *restrict panel,
                          local REAL *restrict block)
{
    multiply(ARGS, rows, cols, depth, TILE_V, panel, block);
}

SINGLE kernel void matmul_narrow(PARAMS(restrict), const int rows,
                                 const int cols, const int depth,
                                 local REAL *restrict panel,
                                 local REAL *restrict block)
{
    multiply(ARGS, rows, cols, depth, 1, panel, block);
}

#if !TRANS_A && TRANS_B
// matmul_dot: for few rows or few columns. Both operands run along K, so an
// element is a dot product of two rows, 16 elements at a time, and nothing is
// packed. A group is one work-item and computes rows x cols elements.
#define SIDE 4

// The sums of SIDE x SIDE dot products from rows i and j on, those beyond the
// last ones being repeated.
static inline void multiply_rows(REAL16 sum[SIDE][SIDE], PARAMS(),
                                 const long base_a, const long base_b,
                                 const int i, const int i1, const int j,
                                 const int j1)
{
    long x[SIDE], y[SIDE];
    UNROLL for (int s = 0; s < SIDE; s++) {
        x[s] = base_a + (long)min(i + s, i1 - 1) * k;
        y[s] = base_b + (long)min(j + s, j1 - 1) * k;
        UNROLL for (int t = 0; t < SIDE; t++)
            sum[s][t] = (REAL16)(0);
    }
    for (int l = 0; l < k; l += VW) {
        REAL16 u[SIDE], v[SIDE];
        UNROLL for (int s = 0; s < SIDE; s++) {
            u[s] = LOAD_A(x[s] + l, min(VW, k - l));
            v[s] = LOAD_B(y[s] + l, min(VW, k - l));
        }
        UNROLL for (int s = 0; s < SIDE; s++)
            UNROLL for (int t = 0; t < SIDE; t++)
                sum[s][t] = fma(u[s], v[t], sum[s][t]);
    }
}

SINGLE kernel void matmul_dot(PARAMS(restrict), const int rows,
                              const int cols)
{
    const long base_a = get_group_id(2) * stride_a;
    const long base_b = get_group_id(2) * stride_b;
    const long base_c = get_group_id(2) * stride_c;
    const int j0 = get_group_id(0) * cols, j1 = min(n, j0 + cols);
    const int i0 = get_group_id(1) * rows, i1 = min(m, i0 + rows);
    const struct hooks h = HOOKS;
    for (int j = j0; j < j1; j += SIDE)
        for (int i = i0; i < i1; i += SIDE) {
            REAL16 sum[SIDE][SIDE];
            REAL flat[SIDE][VW] = {{0}};
            multiply_rows(sum, ARGS, base_a, base_b, i, i1, j, j1);
            UNROLL for (int s = 0; s < SIDE; s++)
                UNROLL for (int t = 0; t < SIDE; t++)
                    flat[s][t] = sum_lanes(sum[s][t]);
            for (int s = 0; s < min(SIDE, i1 - i); s++)
                store(vload16(0, flat[s]), c, base_c + (long)(i + s) * n + j,
                      j, min(SIDE, j1 - j), true, h);
        }
}
#endif

#else // !CPU

// A group computes a tile of 4 side x 4 side elements of c as in tile.cl,
// x_tile being a part of op(a) transposed and y_tile one of op(b).

// One step's part of op(a): rows [i0, i0 + 4 side), columns [l0, l0 + STEP).
// Zeros lie beyond the matrix.
INLINE void fetch_a(global const REAL *a, const long base,
                           const int m, const int k, const int i0,
                           const int l0, const int side,
                           local REAL *tile LOAD_PARAMS)
{
    const uint size = 4 * side;
    for (uint e = get_local_id(1) * side + get_local_id(0); e < size * STEP;
         e += side * side) {
        const int x = TRANS_A ? e % size : e / STEP;
        const int l = TRANS_A ? e / size : e % STEP;
        const int i = i0 + x, at = l0 + l;
        REAL v = 0;
        if (i < m && at < k)
            v = LOAD_A(base + (TRANS_A ? (long)at * m + i : (long)i * k + at),
                       1);
        tile[l * (size + 1) + x] = v;
    }
}

// The same of op(b): rows [l0, l0 + STEP), columns [j0, j0 + 4 side).
INLINE void fetch_b(global const REAL *b, const long base,
                           const int n, const int k, const int j0,
                           const int l0, const int side,
                           local REAL *tile LOAD_PARAMS)
{
    const uint size = 4 * side;
    for (uint e = get_local_id(1) * side + get_local_id(0); e < size * STEP;
         e += side * side) {
        const int x = TRANS_B ? e / STEP : e % size;
        const int l = TRANS_B ? e % STEP : e / size;
        const int j = j0 + x, at = l0 + l;
        REAL v = 0;
        if (j < n && at < k)
            v = LOAD_B(base + (TRANS_B ? (long)j * k + at : (long)at * n + j),
                       1);
        tile[l * (size + 1) + x] = v;
    }
}

INLINE void multiply(PARAMS(), const int side, local REAL *x_tile,
                            local REAL *y_tile)
{
    const long base_a = get_group_id(2) * stride_a;
    const long base_b = get_group_id(2) * stride_b;
    const long base_c = get_group_id(2) * stride_c;
    const int j0 = get_group_id(0) * 4 * side;
    const int i0 = get_group_id(1) * 4 * side;
    REAL sum[4][4];
    UNROLL for (int r = 0; r < 4; r++)
        UNROLL for (int s = 0; s < 4; s++)
            sum[r][s] = 0;
    for (int l = 0; l < k; l += STEP) {
        fetch_a(a, base_a, m, k, i0, l, side, x_tile LOAD_ARGS);
        fetch_b(b, base_b, n, k, j0, l, side, y_tile LOAD_ARGS);
        barrier(CLK_LOCAL_MEM_FENCE);
        multiply_step(sum, side, x_tile, y_tile);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    UNROLL for (int r = 0; r < 4; r++)
        UNROLL for (int s = 0; s < 4; s++) {
            const int i = i0 + get_local_id(1) + r * side;
            const int j = j0 + get_local_id(0) + s * side;
            const long at = base_c + (long)i * n + j;
            if (i < m && j < n)
                c[at] = apply_hooks(sum[r][s], HOOKS, at, j, 1);
        }
}

#define DEFINE_MATMUL(name, side)                                            \
    __attribute__((reqd_work_group_size(side, side, 1))) kernel void name(   \
        PARAMS(restrict))                                                    \
    {                                                                        \
        local REAL x_tile[STEP * (4 * side + 1)];                            \
        local REAL y_tile[STEP * (4 * side + 1)];                            \
        multiply(ARGS, side, x_tile, y_tile);                                \
    }
DEFINE_MATMUL(matmul_64, 16)
DEFINE_MATMUL(matmul_32, 8)

#endif
