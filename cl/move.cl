// Copies between places: concatenation, packing, padding; needs runs.cl before it.
// All sizes count words (see UNIT there).
//
// move_rows  y[ROWS][pitch], at..at+width of each row = x[ROWS][width]
// move_pad   y[OUT0]...[OUT6] = x[IN0]...[IN6] with zeros around and between:
//            y[low + k * step] = x[k] in each dimension
//
// CPU: an item walks `span` elements of x or y, cut at the ends of rows.
// GPU: an item moves one element.

kernel void
#if CPU
SINGLE
#endif
move_rows(global const WORD *restrict x, global WORD *restrict y,
          const long total, const long span, const long width,
          const long pitch, const long at)
{
#if CPU
    const long first = get_group_id(0) * span;
    const long last = min(first + span, total);
    for (long i = first; i < last;) {
        const long row = i / width, j = i - row * width;
        const long n = min(width - j, last - i);
        copy_run(y + row * pitch + at + j, x + i, n);
        i += n;
    }
#else
    const long i = get_global_id(0);
    if (i >= total)
        return;
    const long row = i / width;
    y[row * pitch + at + (i - row * width)] = x[i];
#endif
}

#define PAD_RANK 7 // QN_MAX_RANK and one for elements of two words
#define PAD_DIM(i)                                                        \
    const long out##i, const long in##i, const long low##i, const long step##i

// The element k of x that lies at j of y in one dimension, or -1.
static inline long source(const long j, const long in, const long low,
                          const long step)
{
    const long k = j - low;
    if (k < 0 || k > (in - 1) * step)
        return -1;
    const long quotient = k / step;
    return quotient * step == k ? quotient : -1;
}

kernel void
#if CPU
SINGLE
#endif
move_pad(global const WORD *restrict x, global WORD *restrict y,
         const long total, const long span, PAD_DIM(0), PAD_DIM(1),
         PAD_DIM(2), PAD_DIM(3), PAD_DIM(4), PAD_DIM(5), PAD_DIM(6))
{
    const long out[] = {out0, out1, out2, out3, out4, out5};
    const long in[] = {in0, in1, in2, in3, in4, in5};
    const long low[] = {low0, low1, low2, low3, low4, low5};
    const long step[] = {step0, step1, step2, step3, step4, step5};
#if CPU
    const long first = get_group_id(0) * span;
#else
    const long first = get_global_id(0);
#endif
    const long last = min(first + span, total);
    for (long i = first; i < last;) {
        // The row of x that this row of y takes; -1: it is all zeros.
        long rest = i / out6, row = 0, weight = 1;
        const long j = i - rest * out6;
        for (int d = PAD_RANK - 2; d >= 0 && row >= 0; d--) {
            if (out[d] == 1)
                continue;
            const long next = rest / out[d];
            const long k = source(rest - next * out[d], in[d], low[d], step[d]);
            row = k < 0 ? -1 : row + k * weight;
            weight *= in[d];
            rest = next;
        }
        global const WORD *from = x + row * in6;
#if CPU
        // Zeros, then elements of x from `begin` to `end`, then zeros.
        const long n = min(out6 - j, last - i);
        const long begin = row < 0 ? n : clamp(low6 - j, 0L, n);
        const long end =
            row < 0 ? n : clamp(low6 + (in6 - 1) * step6 + 1 - j, begin, n);
        clear_run(y + i, begin);
        if (step6 == 1) {
            copy_run(y + i + begin, from + (j + begin - low6), end - begin);
        } else {
            clear_run(y + i + begin, end - begin);
            long k = (j + begin - low6 + step6 - 1) / step6;
            for (long at = low6 + k * step6 - j; at < end; at += step6)
                y[i + at] = from[k++];
        }
        clear_run(y + i + end, n - end);
        i += n;
#else
        const long k = row < 0 ? -1 : source(j, in6, low6, step6);
        y[i++] = k < 0 ? 0 : from[k];
#endif
    }
}
