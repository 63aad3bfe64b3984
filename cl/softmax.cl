// Softmax along one dimension, and the loss that goes with it.
//
//   top = max over c of x, sum = sum over c of e^(x - top)
//   softmax_*             y[OUTER][C][INNER] = e^(x - top) / sum,
//                         or x - top - log(sum) where is_log
//   cross_entropy         loss[N] = log(sum) - (x[n][label] - top)
//   cross_entropy_grad    dx[N][C] = dloss[n] * (e^(x - top) / sum -
//                                                (c == label ? 1 : 0))
//
// NaN in a line gives NaN in all of it. A label outside 0..C-1 gives NaN, in
// the loss and along the gradient's row; x is never read there.
//
// CPU: an item takes `span` lines; 16 lanes along C, or, in softmax_columns,
// along INNER. GPU: local dimension 0 shares out C and ends in a tree in local
// memory, dimension 1 counts lines, so that short lines share a group.

#define LARGER(a, b) SEL((a) < (b), (b), (a))

// e^(x - top), where the rounding of x - top would cost as many last places as
// that difference is long: what it left goes in as a factor.
static inline RV exp_from(const RV x, const RV top)
{
    const RV d = x - top;
    const RV of_top = d - x;
    const RV rest = (x - (d - of_top)) - (top + of_top);
    return exp(d) * (K(1) + SEL(fabs(rest) < K(1), rest, K(0)));
}

#if CPU

static inline int lanes_left(const long m)
{
    return (int)min(m, (long)VW);
}

// max_lanes lets NaN through, LARGER perhaps not: the sum does in any case.
static inline REAL top_of(global const REAL *row, const long C,
                          const long left)
{
    RV top = K(-INFINITY);
    for (long c = 0; c < C; c += VW) {
        const RV v = load_line(row + c, C - c, left - c);
        top = LARGER(top, v);
    }
    return max_lanes(top);
}

SINGLE kernel void softmax_rows(global const REAL *restrict x,
                                global REAL *restrict y, const long rows,
                                const long span, const long C,
                                const int is_log)
{
    const long first = get_group_id(0) * span;
    const long last = min(first + span, rows);
    for (long r = first; r < last; r++) {
        global const REAL *from = x + r * C;
        global REAL *to = y + r * C;
        const long left = (rows - r) * C;
        const REAL top = top_of(from, C, left);
        RV sum = K(0), e = K(0);
        for (long c = 0; c < C; c += VW) {
            e = exp_from(load_line(from + c, C - c, left - c), K(top));
            sum += e;
            if (!is_log && C > VW)
                store_real(e, to + c, lanes_left(C - c));
        }
        const REAL total = sum_lanes(sum);
        if (is_log) {
            const REAL shift = log(total);
            for (long c = 0; c < C; c += VW) {
                const RV v = load_line(from + c, C - c, left - c) - K(top);
                store_real(v - K(shift), to + c, lanes_left(C - c));
            }
        } else if (C <= VW) {
            store_real(e / K(total), to, (int)C);
        } else {
            for (long c = 0; c < C; c += VW) {
                const int m = lanes_left(C - c);
                store_real(load_real(to + c, m) / K(total), to + c, m);
            }
        }
    }
}

SINGLE kernel void softmax_columns(global const REAL *restrict x,
                                   global REAL *restrict y, const long tiles,
                                   const long total, const long span,
                                   const long C, const long INNER,
                                   const int is_log)
{
    const long across = (INNER + VW - 1) / VW;
    const long first = get_group_id(0) * span;
    const long last = min(first + span, tiles);
    for (long t = first; t < last; t++) {
        const long o = t / across, i = (t - o * across) * VW;
        const long base = o * C * INNER + i;
        const int m = lanes_left(INNER - i);
        // Whole vectors while x has so many left, whatever lies in them.
        const long room = total - base - VW;
        const long whole = room < 0 ? -1 : room / INNER;
#define AT(p, c) load_real((p) + base + (c) * INNER, (c) <= whole ? VW : m)
        RV top = K(-INFINITY), sum = K(0);
        for (long c = 0; c < C; c++) {
            const RV v = AT(x, c);
            top = LARGER(top, v);
        }
        for (long c = 0; c < C; c++) {
            const RV e = exp_from(AT(x, c), top);
            sum += e;
            if (!is_log)
                store_real(e, y + base + c * INNER, m);
        }
        const RV shift = log(sum);
        for (long c = 0; c < C; c++) {
            global REAL *to = y + base + c * INNER;
            store_real(is_log ? AT(x, c) - top - shift
                              : load_real(to, m) / sum, to, m);
        }
#undef AT
    }
}

SINGLE kernel void cross_entropy(global const REAL *restrict x,
                                 global const int *restrict labels,
                                 global REAL *restrict loss, const long rows,
                                 const long span, const long C)
{
    const long first = get_group_id(0) * span;
    const long last = min(first + span, rows);
    for (long batch = first; batch < last; batch += VW) {
        const int m = lanes_left(last - batch);
        REAL sums[VW], picks[VW]; // the logarithms of 16 rows at once
        for (int k = 0; k < VW; k++) {
            sums[k] = 1;
            picks[k] = 0;
        }
        for (int k = 0; k < m; k++) {
            const long r = batch + k, label = labels[r];
            global const REAL *from = x + r * C;
            const long left = (rows - r) * C;
            const REAL top = top_of(from, C, left);
            RV sum = K(0);
            for (long c = 0; c < C; c += VW)
                sum += exp(load_line(from + c, C - c, left - c) - K(top));
            sums[k] = sum_lanes(sum);
            picks[k] = label >= 0 && label < C ? from[label] - top : (REAL)NAN;
        }
        store_real(log(vload16(0, sums)) - vload16(0, picks), loss + batch, m);
    }
}

SINGLE kernel void cross_entropy_grad(global const REAL *restrict x,
                                      global const int *restrict labels,
                                      global const REAL *restrict dloss,
                                      global REAL *restrict dx,
                                      const long rows, const long span,
                                      const long C)
{
    const long first = get_group_id(0) * span;
    const long last = min(first + span, rows);
    for (long r = first; r < last; r++) {
        global const REAL *from = x + r * C;
        global REAL *to = dx + r * C;
        const long left = (rows - r) * C, label = labels[r];
        const REAL d = label >= 0 && label < C ? dloss[r] : (REAL)NAN;
        const REAL top = top_of(from, C, left);
        RV sum = K(0), e = K(0);
        for (long c = 0; c < C; c += VW) {
            e = exp(load_line(from + c, C - c, left - c) - K(top));
            sum += e;
            if (C > VW)
                store_real(e, to + c, lanes_left(C - c));
        }
        const RV total = K(sum_lanes(sum));
        for (long c = 0; c < C; c += VW) {
            const int m = lanes_left(C - c);
            if (C > VW)
                e = load_real(to + c, m);
            const RV hit = SEL(LANE == K(label - c), K(1), K(0));
            store_real(K(d) * (e / total - hit), to + c, m);
        }
    }
}

#else

// A tree over the items of a line; all get the result.
#define DEFINE_JOIN(name, join)                                             \
    static inline REAL name(local REAL *tile, const REAL v)                 \
    {                                                                       \
        const int l = get_local_id(0);                                      \
        tile[l] = v;                                                        \
        for (int n = get_local_size(0) / 2; n > 0; n /= 2) {                \
            barrier(CLK_LOCAL_MEM_FENCE);                                   \
            if (l < n)                                                      \
                tile[l] = join(tile[l], tile[l + n]);                       \
        }                                                                   \
        barrier(CLK_LOCAL_MEM_FENCE);                                       \
        const REAL result = tile[0];                                        \
        barrier(CLK_LOCAL_MEM_FENCE);                                       \
        return result;                                                      \
    }
DEFINE_JOIN(join_top, LARGER)
DEFINE_JOIN(join_sum, PLUS)

// Largest element and sum of e^(x - top) of the line at x, elements `stride`
// apart. All items of the group come here; C is 0 behind the last line.
static inline REAL top_and_sum(global const REAL *x, const long C,
                               const long stride, local REAL *tile,
                               REAL *sum)
{
    const int n = get_local_size(0), l = get_local_id(0);
    REAL top = -INFINITY;
    for (long c = l; c < C; c += n)
        top = LARGER(top, x[c * stride]);
    top = join_top(tile, top);
    REAL part = 0;
    for (long c = l; c < C; c += n)
        part += exp_from(x[c * stride], top);
    *sum = join_sum(tile, part);
    return top;
}

kernel void softmax_rows(global const REAL *restrict x,
                         global REAL *restrict y, const long lines,
                         const long C, const long INNER, const int is_log,
                         local REAL *restrict tile)
{
    const int n = get_local_size(0), l = get_local_id(0);
    const long line = min((long)get_global_id(1), lines - 1);
    const long count = get_global_id(1) < lines ? C : 0;
    const long o = line / INNER;
    const long base = o * C * INNER + (line - o * INNER);
    REAL sum;
    const REAL top = top_and_sum(x + base, count, INNER,
                                 tile + get_local_id(1) * n, &sum);
    const REAL shift = log(sum);
    for (long c = l; c < count; c += n) {
        const REAL v = x[base + c * INNER];
        y[base + c * INNER] =
            is_log ? v - top - shift : exp_from(v, top) / sum;
    }
}

kernel void cross_entropy(global const REAL *restrict x,
                          global const int *restrict labels,
                          global REAL *restrict loss, const long lines,
                          const long C, local REAL *restrict tile)
{
    const int n = get_local_size(0);
    const long r = get_global_id(1);
    const long base = min(r, lines - 1) * C;
    REAL sum;
    const REAL top = top_and_sum(x + base, r < lines ? C : 0, 1,
                                 tile + get_local_id(1) * n, &sum);
    if (get_local_id(0) != 0 || r >= lines)
        return;
    const long label = labels[r];
    loss[r] = label >= 0 && label < C ? log(sum) - (x[base + label] - top)
                                      : (REAL)NAN;
}

kernel void cross_entropy_grad(global const REAL *restrict x,
                               global const int *restrict labels,
                               global const REAL *restrict dloss,
                               global REAL *restrict dx, const long lines,
                               const long C, local REAL *restrict tile)
{
    const int n = get_local_size(0);
    const long r = get_global_id(1), row = min(r, lines - 1);
    const long count = r < lines ? C : 0, base = row * C;
    REAL sum;
    const REAL top = top_and_sum(x + base, count, 1,
                                 tile + get_local_id(1) * n, &sum);
    const long label = labels[row];
    const REAL d = label >= 0 && label < C ? dloss[row] : (REAL)NAN;
    for (long c = get_local_id(0); c < count; c += n) {
        const REAL p = exp(x[base + c] - top) / sum;
        dx[base + c] = d * (c == label ? p - 1 : p);
    }
}

#endif
