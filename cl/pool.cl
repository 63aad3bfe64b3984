// Pooling over windows of up to three dimensions.
//
//   y[N][OD][OH][OW] from x[N][ID][IH][IW], N counting samples and channels;
//   tap k of window o stands at position o S - P + k D of each dimension
//   (S stride, P padding before, D dilation, K taps).
//   pool     y = largest x of the window (NaN if there is one), or with
//            MAXIMUM 0 the sum over the number of its taps that lie before E
//            and, from `begin` on, count (E = I: inside x)
//   winners  index of the first largest element of each window in its
//            [ID][IH][IW], NaN counting as the largest; -1 if all is padding
//   scatter  dx = sum of dy over the windows that the element has won
//   spread   dx = sum of dy / taps over the windows that hold the element
//   unpool   scatter for windows of 2 x 2 side by side, winners found anew
//
// CPU: an item takes `span` rows of y, or of dx `span` planes [ID][IH][IW], in
// which it may add in any order. A row of windows is joined along d and h
// first, into `line`, then along w. GPU: an item takes an element, and windows
// are looked up from there.

#ifndef MAXIMUM
#define MAXIMUM 1
#endif
#if MAXIMUM
#define NEUTRAL_LANE (-INFINITY)
#define join(x, y) MAX_NAN(x, y)
#else
#define NEUTRAL_LANE 0
#define join(x, y) PLUS(x, y)
#endif
#define NEUTRAL K(NEUTRAL_LANE)

#define DIMS                                                               \
    const int ID, const int OD, const int KD, const int SD, const int DD,  \
        const int PD, const int ED, const int IH, const int OH,            \
        const int KH, const int SH, const int DH, const int PH,            \
        const int EH, const int IW, const int OW, const int KW,            \
        const int SW, const int DW, const int PW, const int EW

// n / D rounded up; D is mostly 1, and divisions are slow.
static inline int steps(const int n, const int D)
{
    return D == 1 ? n : (n + D - 1) / D;
}

// The first tap at or behind `begin`, and the first one at or behind `end`,
// of a window that starts at `start`.
static inline int first_tap(const int start, const int D, const int begin)
{
    return start < begin ? steps(begin - start, D) : 0;
}
static inline int end_tap(const int start, const int K, const int D,
                          const int end)
{
    return start < end ? min(steps(end - start, D), K) : 0;
}

// How many taps of the window count in an average.
static inline int count_taps(const int start, const int K, const int D,
                             const int begin, const int end)
{
    return max(end_tap(start, K, D, end) - first_tap(start, D, begin), 0);
}
#define BEGIN(P, has_pad) ((has_pad) ? -(P) : 0)

// Window (od, oh) of plane n: where it starts and which taps lie in x.
#define FIND_ROW(row)                                                      \
    const long slab = (row) / OH, n = OD == 1 ? slab : slab / OD;          \
    const int oh = (row) - slab * OH, od = slab - n * OD;                  \
    const int d0 = od * SD - PD, h0 = oh * SH - PH;                        \
    const int kd_first = first_tap(d0, DD, 0);                             \
    const int kd_end = end_tap(d0, KD, DD, ID);                            \
    const int kh_first = first_tap(h0, DH, 0);                             \
    const int kh_end = end_tap(h0, KH, DH, IH);
#define EACH_ROW                                                           \
    for (int kd = kd_first; kd < kd_end; kd++)                             \
        for (int kh = kh_first; kh < kh_end; kh++)
#define ROW ((long)((d0 + kd * DD) * IH + h0 + kh * DH) * IW)

// v takes the first place from best.
#define BEATS(v, best) \
    (((v) > (best)) | (((v) != (v)) & ((best) == (best))))

#if CPU

#if REAL_IS_DOUBLE
#define MASK_INT(mask) convert_int16(mask)
#define MASK_REAL(mask) convert_long16(mask)
#else
#define MASK_INT(mask) (mask)
#define MASK_REAL(mask) (mask)
#endif
#define LANE_INT \
    ((int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))

// v = 16 elements of p, `step` apart; 2 are read as whole vectors.
#define LOAD_STEP(v, p, step)                                              \
    if ((step) == 1) {                                                     \
        v = vload16(0, p);                                                 \
    } else if ((step) == 2) {                                              \
        const RV low = vload16(0, p), high = vload16(1, p);                \
        RV odd_lanes;                                                      \
        UNZIP(low, high, v, odd_lanes);                                    \
    } else {                                                               \
        REAL lanes[VW];                                                    \
        for (int k = 0; k < VW; k++)                                       \
            lanes[k] = (p)[k * (step)];                                    \
        v = vload16(0, lanes);                                             \
    }

// Columns of x from w on, joined over the window's rows; LOAD(p) reads them.
#define JOIN_ROWS(v, w, LOAD)                                              \
    global const REAL *slice = rows_from + (w);                            \
    v = NEUTRAL;                                                           \
    for (int kd = kd_first; kd < kd_end; kd++, slice += DD * IH * IW) {    \
        global const REAL *from = slice;                                   \
        for (int kh = kh_first; kh < kh_end; kh++, from += DH * IW) {      \
            const RV u = LOAD(from);                                       \
            v = join(v, u);                                                \
        }                                                                  \
    }
#define LOAD_WHOLE(p) vload16(0, p)
#define LOAD_REST(p) \
    (x + total - (p) >= VW ? vload16(0, p) : load_real(p, IW - w))

// How many taps count, for the windows from column `start` on, SW apart.
static inline RV count_columns(const int start, const int K, const int S,
                               const int D, const int begin, const int end)
{
    if (start >= begin && start + (VW - 1) * S + (K - 1) * D < end)
        return K(K);
    REAL lanes[VW];
    for (int k = 0; k < VW; k++)
        lanes[k] = max(count_taps(start + k * S, K, D, begin, end), 1);
    return vload16(0, lanes);
}

SINGLE kernel void pool(global const REAL *restrict x,
                        global REAL *restrict y, DIMS, const long rows,
                        const long span, const long total, const int tile,
                        const int has_pad, local REAL *restrict line)
{
    const long first = get_group_id(0) * span;
    const long last = min(first + span, rows);
    const long size = (long)ID * IH * IW;
    for (long row = first; row < last; row++) {
        FIND_ROW(row)
        global const REAL *rows_from =
            x + n * size +
            (long)((d0 + kd_first * DD) * IH + h0 + kh_first * DH) * IW;
#if !MAXIMUM
        const int taps =
            max(count_taps(d0, KD, DD, BEGIN(PD, has_pad), ED), 1) *
            max(count_taps(h0, KH, DH, BEGIN(PH, has_pad), EH), 1);
#endif
        for (int o = 0; o < OW; o += tile) {
            const int count = min(tile, OW - o);
            const int w0 = o * SW - PW; // column of line[0]
            const int length =
                ((count + VW - 1) / VW * VW - 1) * SW + (KW - 1) * DW + 1;
            const int end = min(IW - w0, length);
            int j = 0;
            for (; j < -w0 && j < length; j++)
                line[j] = NEUTRAL_LANE;
            for (; j < end; j += VW) {
                const int w = w0 + j;
                RV v;
                if (w + VW <= IW) {
                    JOIN_ROWS(v, w, LOAD_WHOLE)
                } else {
                    JOIN_ROWS(v, w, LOAD_REST)
                    v = SEL(LANE < K(IW - w), v, NEUTRAL);
                }
                vstore16(v, 0, line + j);
            }
            for (; j < length; j++)
                line[j] = NEUTRAL_LANE;
            for (j = 0; j < count; j += VW) {
                RV v = NEUTRAL;
                for (int kw = 0; kw < KW; kw++) {
                    RV u;
                    LOAD_STEP(u, line + j * SW + kw * DW, SW)
                    v = join(v, u);
                }
#if !MAXIMUM
                v /= K(taps) * count_columns(w0 + j * SW, KW, SW, DW,
                                             BEGIN(PW, has_pad), EW);
#endif
                store_real(v, y + row * OW + o + j, min(count - j, VW));
            }
        }
    }
}

#if MAXIMUM

SINGLE kernel void winners(global const REAL *restrict x,
                           global int *restrict y, DIMS, const long rows,
                           const long span)
{
    const long first = get_group_id(0) * span;
    const long last = min(first + span, rows);
    for (long row = first; row < last; row++) {
        FIND_ROW(row)
        global const REAL *plane = x + n * ID * IH * IW;
        for (int o = 0; o < OW; o += VW) {
            RV best = K(-INFINITY);
            int16 at = -1;
            EACH_ROW for (int kw = 0; kw < KW; kw++) {
                const int w = o * SW - PW + kw * DW;
                const int16 column = w + LANE_INT * SW;
                RV v;
                int16 wins = -1;
                if (w >= 0 && w + (VW - 1) * SW < IW && SW == 1) {
                    v = vload16(0, plane + ROW + w);
                } else {
                    REAL lanes[VW];
                    for (int k = 0; k < VW; k++)
                        lanes[k] =
                            plane[ROW + clamp(w + k * SW, 0, IW - 1)];
                    v = vload16(0, lanes);
                    wins = (column >= 0) & (column < IW);
                }
                wins &= MASK_INT(BEATS(v, best)) | (at < 0);
                at = wins ? (int16)(int)ROW + column : at;
                best = MASK_REAL(wins) ? v : best;
            }
            int lanes[VW];
            vstore16(at, 0, lanes);
            for (int k = 0; k < VW && o + k < OW; k++)
                y[row * OW + o + k] = lanes[k];
        }
    }
}

// The hooks, on a plane that is complete.
static inline void hook_plane(global REAL *dx, const long from,
                              const long size, const struct hooks h)
{
    if (!h.flags)
        return;
    for (long i = 0; i < size; i += VW) {
        const int m = (int)min(size - i, (long)VW);
        store_real(apply_hooks(load_real(dx + from + i, m), h, from + i, 0, m),
                   dx + from + i, m);
    }
}

static inline void clear_plane(global REAL *dx, const long size)
{
    for (long i = 0; i < size; i += VW)
        store_real(K(0), dx + i, (int)min(size - i, (long)VW));
}

SINGLE kernel void scatter(global const int *restrict index,
                           global const REAL *restrict dy,
                           global REAL *restrict dx, DIMS, const long planes,
                           const long span, HOOK_PARAMS)
{
    const long first = get_group_id(0) * span;
    const long last = min(first + span, planes);
    const long size = (long)ID * IH * IW, windows = (long)OD * OH * OW;
    for (long n = first; n < last; n++) {
        global REAL *plane = dx + n * size;
        clear_plane(plane, size);
        for (long o = n * windows; o < (n + 1) * windows; o++)
            if (index[o] >= 0)
                plane[index[o]] += dy[o];
        hook_plane(dx, n * size, size, HOOKS);
    }
}

// Even and odd ones of 32 elements at p, if so many are left there, else of
// 2 m.
#define LOAD_PAIRS(even_lanes, odd_lanes, p, m, left)                      \
    if ((left) >= 2 * VW) {                                                \
        const RV low = vload16(0, p), high = vload16(1, p);                \
        UNZIP(low, high, even_lanes, odd_lanes);                           \
    } else {                                                               \
        even_lanes = gather_real(p, 2, m);                                 \
        odd_lanes = gather_real((p) + 1, 2, m);                            \
    }

// Stores m pairs; i is their place in dx.
#define STORE_PAIRS(even_lanes, odd_lanes, i, m)                           \
    {                                                                      \
        RV low, high;                                                      \
        ZIP(even_lanes, odd_lanes, low, high);                             \
        const int some = min(2 * (m), VW), rest = 2 * (m) - some;          \
        store_real(apply_hooks(low, HOOKS, (i), 0, some), dx + (i), some); \
        if (rest)                                                          \
            store_real(apply_hooks(high, HOOKS, (i) + VW, 0, rest),        \
                       dx + (i) + VW, rest);                               \
    }

// What of dx no window covers.
#define STORE_ZEROS(i, end)                                                \
    for (long z = i; z < (end); z += VW) {                                 \
        const int some = (int)min((end) - z, (long)VW);                    \
        store_real(apply_hooks(K(0), HOOKS, z, 0, some), dx + z, some);    \
    }

SINGLE kernel void unpool(global const REAL *restrict x,
                          global const REAL *restrict dy,
                          global REAL *restrict dx, DIMS, const long rows,
                          const long span, const long total, HOOK_PARAMS)
{
    const long first = get_group_id(0) * span;
    const long last = min(first + span, rows);
    for (long row = first; row < last; row++) {
        const long n = row / OH;
        const int oh = row - n * OH;
        const long above = (n * IH + 2 * oh) * IW, below = above + IW;
        for (int o = 0; o < OW; o += VW) {
            const int m = min(OW - o, VW);
            RV a0, a1, b0, b1;
            LOAD_PAIRS(a0, a1, x + above + 2 * o, m, total - above - 2 * o)
            LOAD_PAIRS(b0, b1, x + below + 2 * o, m, total - below - 2 * o)
            const RV g = load_real(dy + row * OW + o, m);
            // Who wins in the upper row, in the lower row, and of both.
            const RV over = BEATS(a1, a0) ? a1 : a0;
            const RV under = BEATS(b1, b0) ? b1 : b0;
            const RV up = BEATS(under, over) ? K(0) : g;
            const RV down = BEATS(under, over) ? g : K(0);
            const RV up0 = BEATS(a1, a0) ? K(0) : up;
            const RV up1 = BEATS(a1, a0) ? up : K(0);
            const RV down0 = BEATS(b1, b0) ? K(0) : down;
            const RV down1 = BEATS(b1, b0) ? down : K(0);
            STORE_PAIRS(up0, up1, above + 2 * o, m)
            STORE_PAIRS(down0, down1, below + 2 * o, m)
        }
        STORE_ZEROS(above + 2 * OW, below)
        STORE_ZEROS(below + 2 * OW, below + IW)
        if (oh == OH - 1)
            STORE_ZEROS(below + IW, (n + 1) * IH * IW)
    }
}

#else

SINGLE kernel void spread(global const REAL *restrict dy,
                          global REAL *restrict dx, DIMS, const long planes,
                          const long span, const int has_pad, const int width,
                          local REAL *restrict line, HOOK_PARAMS)
{
    const long first = get_group_id(0) * span;
    const long last = min(first + span, planes);
    const long size = (long)ID * IH * IW;
    for (long row = first * OD * OH; row < last * OD * OH; row++) {
        FIND_ROW(row)
        global REAL *plane = dx + n * size;
        if (od == 0 && oh == 0)
            for (long i = 0; i < size; i += VW)
                store_real(K(0), plane + i, (int)min(size - i, (long)VW));
        const RV taps =
            K(max(count_taps(d0, KD, DD, BEGIN(PD, has_pad), ED), 1) *
              max(count_taps(h0, KH, DH, BEGIN(PH, has_pad), EH), 1));
        for (int j = 0; j < width; j++)
            line[j] = 0;
        for (int o = 0; o < OW; o += VW) {
            const int m = min(OW - o, VW);
            const RV g = load_real(dy + row * OW + o, m) /
                         (taps * count_columns(o * SW - PW, KW, SW, DW,
                                               BEGIN(PW, has_pad), EW));
            REAL lanes[VW];
            vstore16(g, 0, lanes);
            for (int kw = 0; kw < KW; kw++) {
                local REAL *to = line + o * SW + kw * DW;
                if (SW == 1)
                    vstore16(vload16(0, to) + g, 0, to);
                else
                    for (int k = 0; k < m; k++)
                        to[k * SW] += lanes[k];
            }
        }
        EACH_ROW for (int w = 0; w < IW; w += VW) {
            const int m = min(IW - w, VW);
            global REAL *to = plane + ROW + w;
            store_real(load_real(to, m) + vload16(0, line + PW + w), to, m);
        }
        if (od != OD - 1 || oh != OH - 1 || !hook_flags)
            continue;
        for (long i = n * size; i < (n + 1) * size; i += VW) {
            const int m = (int)min((n + 1) * size - i, (long)VW);
            store_real(apply_hooks(load_real(dx + i, m), HOOKS, i, 0, m),
                       dx + i, m);
        }
    }
}

#endif

#else

// Element i of a tensor of planes of [D][H][W].
#define FIND_ELEMENT(i, D, H, W)                                           \
    const long row = (i) / (W), slab = row / (H), n = slab / (D);          \
    const int w = (i) - row * (W), h = row - slab * (H);                   \
    const int d = slab - n * (D);

// Where window (d, h, w) starts, and its taps in x.
#define FIND_WINDOW                                                        \
    const int d0 = d * SD - PD, h0 = h * SH - PH, w0 = w * SW - PW;        \
    const int kd_end = end_tap(d0, KD, DD, ID);                            \
    const int kh_end = end_tap(h0, KH, DH, IH);                            \
    const int kw_end = end_tap(w0, KW, DW, IW);
#define EACH_TAP                                                           \
    for (int kd = first_tap(d0, DD, 0); kd < kd_end; kd++)                 \
        for (int kh = first_tap(h0, DH, 0); kh < kh_end; kh++)             \
            for (int kw = first_tap(w0, DW, 0); kw < kw_end; kw++)
#define TAP (ROW + w0 + kw * DW)
#define TAPS                                                               \
    (max(count_taps(d0, KD, DD, BEGIN(PD, has_pad), ED), 1) *              \
     max(count_taps(h0, KH, DH, BEGIN(PH, has_pad), EH), 1) *              \
     max(count_taps(w0, KW, DW, BEGIN(PW, has_pad), EW), 1))

// The window of which tap k stands at i, if there is one, else -1.
static inline int window_at(const int i, const int k, const int S,
                            const int D, const int P, const int O)
{
    const int from = i + P - k * D, o = from / S;
    return from >= 0 && o * S == from && o < O ? o : -1;
}

// The windows (od, oh, ow) around element (d, h, w).
#define EACH_WINDOW                                                        \
    for (int kd = 0; kd < KD; kd++) {                                      \
        const int od = window_at(d, kd, SD, DD, PD, OD);                   \
        for (int kh = 0; kh < KH && od >= 0; kh++) {                       \
            const int oh = window_at(h, kh, SH, DH, PH, OH);               \
            for (int kw = 0; kw < KW && oh >= 0; kw++) {                   \
                const int ow = window_at(w, kw, SW, DW, PW, OW);           \
                if (ow >= 0) {
#define END_WINDOW                                                         \
                }                                                          \
            }                                                              \
        }                                                                  \
    }
#define WINDOW (((n * OD + od) * OH + oh) * OW + ow)

kernel void pool(global const REAL *restrict x, global REAL *restrict y, DIMS,
                 const long total, const int has_pad)
{
    const long i = get_global_id(0);
    if (i >= total)
        return;
    FIND_ELEMENT(i, OD, OH, OW)
    FIND_WINDOW
    global const REAL *plane = x + n * ID * IH * IW;
    REAL v = NEUTRAL;
    EACH_TAP
    {
        const REAL u = plane[TAP];
        v = join(v, u);
    }
#if !MAXIMUM
    v /= TAPS;
#endif
    y[i] = v;
}

#if MAXIMUM

kernel void winners(global const REAL *restrict x, global int *restrict y,
                    DIMS, const long total)
{
    const long i = get_global_id(0);
    if (i >= total)
        return;
    FIND_ELEMENT(i, OD, OH, OW)
    FIND_WINDOW
    global const REAL *plane = x + n * ID * IH * IW;
    REAL best = -INFINITY;
    int at = -1;
    EACH_TAP
    {
        const REAL v = plane[TAP];
        if (at < 0 || BEATS(v, best)) {
            at = TAP;
            best = v;
        }
    }
    y[i] = at;
}

kernel void scatter(global const int *restrict index,
                    global const REAL *restrict dy, global REAL *restrict dx,
                    DIMS, const long total, HOOK_PARAMS)
{
    const long i = get_global_id(0);
    if (i >= total)
        return;
    FIND_ELEMENT(i, ID, IH, IW)
    const int here = (d * IH + h) * IW + w;
    REAL sum = 0;
    EACH_WINDOW
    if (index[WINDOW] == here)
        sum += dy[WINDOW];
    END_WINDOW
    dx[i] = apply_hooks(sum, HOOKS, i, 0, 1);
}

#else

kernel void spread(global const REAL *restrict dy, global REAL *restrict dx,
                   DIMS, const long total, const int has_pad, HOOK_PARAMS)
{
    const long i = get_global_id(0);
    if (i >= total)
        return;
    FIND_ELEMENT(i, ID, IH, IW)
    REAL sum = 0;
    EACH_WINDOW
    const int d0 = od * SD - PD, h0 = oh * SH - PH, w0 = ow * SW - PW;
    sum += dy[WINDOW] / TAPS;
    END_WINDOW
    dx[i] = apply_hooks(sum, HOOKS, i, 0, 1);
}

#endif

#endif
