// Images at another size, and the gradient of that.
//
//   y[N][OH][OW] from x[N][IH][IW], N counting samples and channels. Element o
//   of a dimension lies at s = max(o A + B, 0) / Q of x, which is exact in
//   integers: between i = floor(s) and min(i + 1, I - 1), with the weight
//   1 - f of the former and f = s - i of the latter. Nearest: f = 0.
//   resample       y = the weighted mean
//   resample_grad  dx = the sum of weighted dy
//
// CPU: an item takes `span` rows of y, or planes [IH][IW] of dx; rows are
// weighed first, into `line`, then columns, whose places it finds once. GPU:
// an item takes an element.

#define DIMS                                                               \
    const int IH, const int OH, const long AH, const long BH,              \
        const long QH, const int IW, const int OW, const long AW,          \
        const long BW, const long QW, const int is_linear

// Where element o lies, and f.
static inline int find_place(const int o, const long A, const long B,
                             const long Q, const int is_linear, REAL *f)
{
    const long n = max(o * A + B, (long)0);
    const int i = n / Q;
    *f = is_linear ? (REAL)(n - i * Q) / (REAL)Q : (REAL)0;
    return i;
}
#define PLACE_H(o, f) find_place(o, AH, BH, QH, is_linear, f)
#define PLACE_W(o, f) find_place(o, AW, BW, QW, is_linear, f)

#if CPU

static inline void find_columns(const int OW, const long AW, const long BW,
                                const long QW, const int is_linear,
                                local int *at, local REAL *weight)
{
    for (int o = 0; o < OW; o++) {
        REAL f;
        at[o] = PLACE_W(o, &f);
        weight[o] = f;
    }
}

SINGLE kernel void resample(global const REAL *restrict x,
                            global REAL *restrict y, DIMS, const long rows,
                            const long span, local REAL *restrict line,
                            local REAL *restrict weight,
                            local int *restrict at)
{
    const long first = get_group_id(0) * span;
    const long last = min(first + span, rows);
    find_columns(OW, AW, BW, QW, is_linear, at, weight);
    for (long row = first; row < last; row++) {
        const long n = row / OH;
        REAL f;
        const int h = PLACE_H((int)(row - n * OH), &f);
        global const REAL *upper = x + (n * IH + h) * IW;
        global const REAL *lower = upper + (h + 1 < IH ? IW : 0);
        for (int w = 0; w < IW; w += VW) {
            const int m = min(IW - w, VW);
            const RV v = load_real(upper + w, m);
            vstore16(is_linear
                         ? fma(load_real(lower + w, m), K(f), v * K(1 - f))
                         : v,
                     0, line + w);
        }
        line[IW] = line[IW - 1];
        for (int o = 0; o < OW; o += VW) {
            const int m = min(OW - o, VW);
            REAL lanes[VW];
            if (is_linear)
                for (int k = 0; k < m; k++)
                    lanes[k] = fma(line[at[o + k] + 1], weight[o + k],
                                   line[at[o + k]] * (1 - weight[o + k]));
            else
                for (int k = 0; k < m; k++)
                    lanes[k] = line[at[o + k]];
            for (int k = m; k < VW; k++)
                lanes[k] = 0;
            store_real(vload16(0, lanes), y + row * OW + o, m);
        }
    }
}

SINGLE kernel void resample_grad(global const REAL *restrict dy,
                                 global REAL *restrict dx, DIMS,
                                 const long planes, const long span,
                                 local REAL *restrict line,
                                 local REAL *restrict weight,
                                 local int *restrict at)
{
    const long first = get_group_id(0) * span;
    const long last = min(first + span, planes);
    const long size = (long)IH * IW;
    find_columns(OW, AW, BW, QW, is_linear, at, weight);
    for (long n = first; n < last; n++) {
        global REAL *plane = dx + n * size;
        for (long i = 0; i < size; i += VW)
            store_real(K(0), plane + i, (int)min(size - i, (long)VW));
        for (int oh = 0; oh < OH; oh++) {
            global const REAL *from = dy + (n * OH + oh) * OW;
            REAL f;
            const int h = PLACE_H(oh, &f);
            for (int w = 0; w <= IW; w += VW)
                vstore16(K(0), 0, line + w);
            for (int o = 0; o < OW; o++) {
                line[at[o]] += from[o] * (1 - weight[o]);
                if (is_linear)
                    line[at[o] + 1] += from[o] * weight[o];
            }
            line[IW - 1] += line[IW];
            global REAL *upper = plane + h * IW;
            global REAL *lower = upper + (h + 1 < IH ? IW : 0);
            for (int w = 0; w < IW; w += VW) {
                const int m = min(IW - w, VW);
                const RV v = vload16(0, line + w);
                store_real(load_real(upper + w, m) + v * K(1 - f), upper + w,
                           m);
                if (is_linear)
                    store_real(load_real(lower + w, m) + v * K(f), lower + w,
                               m);
            }
        }
    }
}

#else

kernel void resample(global const REAL *restrict x, global REAL *restrict y,
                     DIMS, const long total)
{
    const long i = get_global_id(0);
    if (i >= total)
        return;
    const long row = i / OW, n = row / OH;
    REAL fh, fw;
    const int h = PLACE_H((int)(row - n * OH), &fh);
    const int w = PLACE_W((int)(i - row * OW), &fw);
    global const REAL *upper = x + (n * IH + h) * IW + w;
    if (!is_linear) {
        y[i] = *upper;
        return;
    }
    global const REAL *lower = upper + (h + 1 < IH ? IW : 0);
    const int right = w + 1 < IW;
    y[i] = fma(fma(lower[right], fh, upper[right] * (1 - fh)), fw,
               fma(lower[0], fh, upper[0] * (1 - fh)) * (1 - fw));
}

// ceil(a / b), b > 0
static inline long divide_up(const long a, const long b)
{
    const long q = a / b;
    return q * b < a ? q + 1 : q;
}

// The first element that may lie at i - 1 or behind, and the first one that
// lies at i + 1 or behind.
static inline int first_near(const int i, const long A, const long B,
                             const long Q)
{
    return A == 0 || i <= 1 ? 0 : max(divide_up((i - 1) * Q - B, A), (long)0);
}
static inline int end_near(const int i, const int I, const int O,
                           const long A, const long B, const long Q)
{
    return A == 0 || i + 1 >= I
               ? O
               : (int)clamp(divide_up((i + 1) * Q - B, A), (long)0, (long)O);
}

// What element o, which lies at i with f, gives to element `here`.
static inline REAL share(const int here, const int i, const int I,
                         const REAL f)
{
    return (i == here ? 1 - f : (REAL)0) +
           (min(i + 1, I - 1) == here ? f : (REAL)0);
}

kernel void resample_grad(global const REAL *restrict dy,
                          global REAL *restrict dx, DIMS, const long total)
{
    const long i = get_global_id(0);
    if (i >= total)
        return;
    const long row = i / IW, n = row / IH;
    const int h = row - n * IH, w = i - row * IW;
    const int oh_end = end_near(h, IH, OH, AH, BH, QH);
    const int ow_first = first_near(w, AW, BW, QW);
    const int ow_end = end_near(w, IW, OW, AW, BW, QW);
    REAL sum = 0;
    for (int oh = first_near(h, AH, BH, QH); oh < oh_end; oh++) {
        REAL f, line = 0;
        const int near = PLACE_H(oh, &f);
        const REAL at_h = share(h, near, IH, f);
        for (int ow = ow_first; ow < ow_end; ow++) {
            const int at = PLACE_W(ow, &f);
            line += dy[(n * OH + oh) * OW + ow] * share(w, at, IW, f);
        }
        sum += at_h * line;
    }
    dx[i] = sum;
}

#endif
