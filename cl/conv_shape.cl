// What the kernels of convolution share: shapes, taps and bands of images.
//
//   in[N][G][L][A][B], out[N][G][M][Y][X]
//
// Along one dimension, phase f of the output holds its elements f, f + T,
// f + 2 T, ..., and its element r takes in[r S + shift] for some taps, whose
// shifts have one distance. Forward, S is the stride and there is one phase of
// all taps; transposed, S is 1 and T the stride.

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
        if (step <= 2 && row + from >= 0 && row + from + step * VW <= total) {
            const RV place = K(from) + LANE * K(step);
            RV v = vload16(0, in + row + from), odd;
            if (step == 2) {
                const RV next = vload16(1, in + row + from);
                UNZIP(v, next, v, odd);
            }
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
#define TILE_V 2
#endif
#endif
// conv_thin's tile: for groups of one or two output channels.
#define THIN_V 8

#endif
