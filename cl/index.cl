// Between indices and values. `take` needs runs.cl before it.
//
// one_hot  y[N][C] = x[n] == c ? 1 : 0; x int
// argmax   y[OUTER][INNER] = first c with the largest x[OUTER][C][INNER]; NaN
//          counts as the largest; y int
// take     y[COUNT][WIDTH] = table[index[offset + i]][WIDTH], in words (see
//          UNIT); zeros where offset + i or the index is out of range
//
// CPU: an item takes `span` rows (take: words of y), 16 lanes along a row or
// along INNER. GPU: an item takes one element of y; argmax: local dimension 0
// shares out C, a tree joins, dimension 1 counts lines.

kernel void
#if CPU
SINGLE
#endif
one_hot(global const int *restrict x, global REAL *restrict y,
        const long N, const long span, const long C)
{
#if CPU
    const long first = get_group_id(0) * span;
    const long last = min(first + span, N);
    for (long n = first; n < last; n++) {
        const long label = x[n];
        for (long c = 0; c < C; c += VW)
            store_real(K(0), y + n * C + c, (int)min(C - c, (long)VW));
        if (label >= 0 && label < C)
            y[n * C + label] = (REAL)1;
    }
#else
    const long i = get_global_id(0), n = i / C;
    if (n < N)
        y[i] = x[n] == i - n * C ? (REAL)1 : (REAL)0;
#endif
}

kernel void
#if CPU
SINGLE
#endif
take(global const WORD *restrict table, global const int *restrict index,
     global WORD *restrict y, const uint offset, const long entries,
     const long rows, const long width, const long total, const long span)
{
#if CPU
    const long first = get_group_id(0) * span;
    const long last = min(first + span, total);
    for (long i = first; i < last;) {
        const long r = i / width, j = i - r * width;
        const long n = min(width - j, last - i);
        const long row = offset + r < entries ? index[offset + r] : -1;
        if (row >= 0 && row < rows)
            copy_run(y + i, table + row * width + j, n);
        else
            clear_run(y + i, n);
        i += n;
    }
#else
    const long i = get_global_id(0), r = i / width;
    if (i >= total)
        return;
    const long row = offset + r < entries ? index[offset + r] : -1;
    y[i] = row >= 0 && row < rows ? table[row * width + (i - r * width)] : 0;
#endif
}

// y takes the first place from x.
#define BEATS(y, x) (((y) > (x)) | (((y) != (y)) & ((x) == (x))))

#if CPU

#if REAL_IS_DOUBLE
#define MASK_INT(mask) convert_int16(mask)
#else
#define MASK_INT(mask) (mask)
#endif

SINGLE kernel void argmax_rows(global const REAL *restrict x,
                               global int *restrict y, const long rows,
                               const long span, const long C)
{
    const long first = get_group_id(0) * span;
    const long last = min(first + span, rows);
    for (long r = first; r < last; r++) {
        global const REAL *row = x + r * C;
        const long left = (rows - r) * C;
        RV top = K(-INFINITY);
        for (long c = 0; c < C; c += VW) {
            const RV v = load_line(row + c, C - c, left - c);
            top = MAX_NAN(top, v);
        }
        const REAL largest = max_lanes(top);
        long c = 0;
        for (; c + VW < C; c += VW) {
            const RV v = vload16(0, row + c);
            if (any((v == K(largest)) | (v != v)))
                break;
        }
        while (c + 1 < C && BEATS(largest, row[c]))
            c++;
        y[r] = c;
    }
}

SINGLE kernel void argmax_columns(global const REAL *restrict x,
                                  global int *restrict y, const long tiles,
                                  const long total, const long span,
                                  const long C, const long INNER)
{
    const long across = (INNER + VW - 1) / VW;
    const long first = get_group_id(0) * span;
    const long last = min(first + span, tiles);
    for (long t = first; t < last; t++) {
        const long o = t / across, i = (t - o * across) * VW;
        const int m = (int)min(INNER - i, (long)VW);
        RV top = K(-INFINITY);
        int16 at = 0;
        for (long c = 0; c < C; c++) {
            const long from = (o * C + c) * INNER + i;
            const RV v =
                load_real(x + from, total - from >= VW ? VW : m);
            const int16 wins = MASK_INT(BEATS(v, top));
            at = wins ? (int16)(int)c : at;
            top = BEATS(v, top) ? v : top;
        }
        int lanes[VW];
        vstore16(at, 0, lanes);
        for (int k = 0; k < m; k++)
            y[o * INNER + i + k] = lanes[k];
    }
}

#else

kernel void argmax_rows(global const REAL *restrict x, global int *restrict y,
                        const long lines, const long C, const long INNER,
                        local REAL *restrict tops, local int *restrict places)
{
    const int n = get_local_size(0), l = get_local_id(0);
    const long line = get_global_id(1), o = line / INNER;
    const long base = o * C * INNER + (line - o * INNER);
    REAL top = -INFINITY;
    int at = INT_MAX;
    if (line < lines) {
        for (long c = l; c < C; c += n) {
            const REAL v = x[base + c * INNER];
            if (at == INT_MAX || BEATS(v, top)) {
                top = v;
                at = c;
            }
        }
    }
    tops += get_local_id(1) * n;
    places += get_local_id(1) * n;
    tops[l] = top;
    places[l] = at;
    for (int half_n = n / 2; half_n > 0; half_n /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (l >= half_n)
            continue;
        const REAL other = tops[l + half_n];
        const int place = places[l + half_n];
        if (BEATS(other, tops[l]) ||
            (!BEATS(tops[l], other) && place < places[l])) {
            tops[l] = other;
            places[l] = place;
        }
    }
    if (l == 0 && line < lines)
        y[line] = places[0];
}

#endif
