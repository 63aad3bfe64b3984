// Pooling over regions that tables name.
//
//   y[N][C][OH][OW] from x[N][C][IH][IW]; region (i, j) of sample n holds rows
//   rows[t][i][0] to rows[t][i][1] - 1 and columns likewise, t = n, or 0 for
//   all samples (`row_tables`, `column_tables` count them). Beginnings and ends
//   grow with i.
//   region_pool  y = largest x (NaN if there is one); MAXIMUM 0: the mean
//   region_grad  dx = sum of dy over the regions whose first largest element
//                it is; MAXIMUM 0: of dy / size over those that hold it
//
//   fractional_regions[T][O][2]  O regions over I, of floor(I / O) or
//     ceil(I / O) elements, one longer if they overlap, from u[T][...] in
//     (0, 1). Pseudo-random: region i begins at
//     ceil(I / O (i + u)) - ceil(I / O u). Random: all orders of the two
//     lengths are equally likely (selection sampling). u counts by its first
//     24 bits, and the rest is done in integers, alike on all devices.
//
// CPU: an item takes `span` rows of y, planes of dx or tables. GPU: an item
// takes an element or a table.

#ifndef MAXIMUM
#define MAXIMUM 1
#endif
#define DIMS                                                               \
    global const int *restrict rows, global const int *restrict columns,   \
        const long C, const int IH, const int OH, const int row_tables,    \
        const int IW, const int OW, const int column_tables

// The tables of plane p, that is of sample p / C.
#define FIND_TABLES(p)                                                     \
    global const int *row = rows + (row_tables > 1 ? (p) / C * OH * 2 : 0); \
    global const int *column =                                             \
        columns + (column_tables > 1 ? (p) / C * OW * 2 : 0);
#define AREA(i, j)                                                         \
    ((REAL)((row[2 * (i) + 1] - row[2 * (i)]) *                            \
            (column[2 * (j) + 1] - column[2 * (j)])))

// v takes the first place from best.
#define BEATS(v, best) \
    (((v) > (best)) | (((v) != (v)) & ((best) == (best))))

// Where the first largest element of region (i, j) lies.
static inline int find_winner(global const REAL *plane, global const int *row,
                              global const int *column, const int i,
                              const int j, const int IW)
{
    int at = row[2 * i] * IW + column[2 * j];
    REAL best = plane[at];
    for (int h = row[2 * i]; h < row[2 * i + 1]; h++)
        for (int w = column[2 * j]; w < column[2 * j + 1]; w++) {
            const REAL v = plane[h * IW + w];
            if (BEATS(v, best)) {
                best = v;
                at = h * IW + w;
            }
        }
    return at;
}

#if CPU

SINGLE kernel void region_pool(global const REAL *restrict x,
                               global REAL *restrict y, DIMS,
                               const long lines, const long span,
                               local REAL *restrict line)
{
    const long first = get_group_id(0) * span;
    const long last = min(first + span, lines);
    for (long l = first; l < last; l++) {
        const long p = l / OH;
        const int i = l - p * OH;
        FIND_TABLES(p)
        for (int w = 0; w < IW; w += VW) {
            const int m = min(IW - w, VW);
            RV v = load_real(x + (p * IH + row[2 * i]) * IW + w, m);
            for (int h = row[2 * i] + 1; h < row[2 * i + 1]; h++) {
                const RV u = load_real(x + (p * IH + h) * IW + w, m);
                v = MAXIMUM ? MAX_NAN(v, u) : v + u;
            }
            vstore16(v, 0, line + w);
        }
        for (int j = 0; j < OW; j++) {
            REAL v = line[column[2 * j]];
            for (int w = column[2 * j] + 1; w < column[2 * j + 1]; w++)
                v = MAXIMUM ? MAX_NAN(v, line[w]) : v + line[w];
            y[l * OW + j] = MAXIMUM ? v : v / AREA(i, j);
        }
    }
}

SINGLE kernel void region_grad(
#if MAXIMUM
    global const REAL *restrict x,
#endif
    global const REAL *restrict dy, global REAL *restrict dx, DIMS,
    const long planes, const long span)
{
    const long first = get_group_id(0) * span;
    const long last = min(first + span, planes);
    const long size = (long)IH * IW;
    for (long p = first; p < last; p++) {
        global REAL *plane = dx + p * size;
        FIND_TABLES(p)
        for (long k = 0; k < size; k += VW)
            store_real(K(0), plane + k, (int)min(size - k, (long)VW));
        for (int i = 0; i < OH; i++)
            for (int j = 0; j < OW; j++) {
                const REAL g = dy[(p * OH + i) * OW + j];
#if MAXIMUM
                plane[find_winner(x + p * size, row, column, i, j, IW)] += g;
#else
                for (int h = row[2 * i]; h < row[2 * i + 1]; h++)
                    for (int w = column[2 * j]; w < column[2 * j + 1]; w++)
                        plane[h * IW + w] += g / AREA(i, j);
#endif
            }
    }
}

#else

kernel void region_pool(global const REAL *restrict x,
                        global REAL *restrict y, DIMS, const long total)
{
    const long k = get_global_id(0);
    if (k >= total)
        return;
    const long l = k / OW, p = l / OH;
    const int j = k - l * OW, i = l - p * OH;
    FIND_TABLES(p)
    global const REAL *plane = x + p * IH * IW;
#if MAXIMUM
    y[k] = plane[find_winner(plane, row, column, i, j, IW)];
#else
    REAL v = 0;
    for (int h = row[2 * i]; h < row[2 * i + 1]; h++)
        for (int w = column[2 * j]; w < column[2 * j + 1]; w++)
            v += plane[h * IW + w];
    y[k] = v / AREA(i, j);
#endif
}

// The first region of O that ends behind `place`.
static inline int first_region(global const int *table, const int O,
                               const int place)
{
    int low = 0, high = O - 1;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (table[2 * middle + 1] > place)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

kernel void region_grad(
#if MAXIMUM
    global const REAL *restrict x,
#endif
    global const REAL *restrict dy, global REAL *restrict dx, DIMS,
    const long total)
{
    const long k = get_global_id(0);
    if (k >= total)
        return;
    const long l = k / IW, p = l / IH;
    const int w = k - l * IW, h = l - p * IH;
    FIND_TABLES(p)
    REAL sum = 0;
    const int left = first_region(column, OW, w);
    for (int i = first_region(row, OH, h); i < OH && row[2 * i] <= h; i++)
        for (int j = left; j < OW && column[2 * j] <= w; j++) {
            const REAL g = dy[(p * OH + i) * OW + j];
#if MAXIMUM
            if (find_winner(x + p * IH * IW, row, column, i, j, IW) ==
                h * IW + w)
                sum += g;
#else
            sum += g / AREA(i, j);
#endif
        }
    dx[k] = sum;
}

#endif

static inline long ceil_of(const long a, const long b)
{
    return (a + b - 1) / b;
}

kernel void fractional_regions(global const REAL *restrict u,
                               global int *restrict y, const long tables,
                               const long span, const long I, const long O,
                               const int is_random, const int overlap)
{
    const long first = get_global_id(0) * span;
    const long last = min(first + span, tables);
    const long small = I / O;
    for (long t = first; t < last; t++) {
        long at = 0, big = I - small * O; // of the longer ones, so many left
        const long shift = (long)(u[t * (is_random ? O : 1)] * (REAL)(1 << 24));
        const long begin = ceil_of(I * shift, O << 24);
        for (long i = 0; i < O; i++) {
            long end;
            if (is_random) {
                const long r = (long)(u[t * O + i] * (REAL)(1 << 24));
                const int is_big = r * (O - i) < big << 24;
                big -= is_big;
                end = at + small + is_big;
            } else {
                end = ceil_of(I * (((i + 1) << 24) + shift), O << 24) - begin;
            }
            y[(t * O + i) * 2] = at;
            y[(t * O + i) * 2 + 1] = min(end + overlap, I);
            at = end;
        }
    }
}
