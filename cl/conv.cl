// Convolution of images and its two gradients.
//
//   x[N][G][C][H][W], the large image; y[N][G][O][P][Q], the small one
//   w[G][O][C][KH][KW]
//
//   conv           y[p] = sum over c, a of x[p stride + a dilation - low] w[a]
//   conv_transpose x[h] = sum of y[p] w[a], h = p stride + a dilation - low
//   conv_weights   w[a] = sum over n, p of x[p stride + a dilation - low] y[p]
//
// A work-item takes `span` elements of the result, each a sum of its own.

#define GEOMETRY                                                             \
    const long total, const int span, const int N, const int G, const int C, \
        const int O, const int H, const int W, const int P, const int Q,     \
        const int KH, const int KW, const int stride_y, const int stride_x,  \
        const int low_y, const int low_x, const int dilation_y,              \
        const int dilation_x

// Splits e into places along n1 (innermost) to n4. Without %, whose
// neighbourhood to / Oclgrind does not take.
#define SPLIT(e, n1, n2, n3, i1, i2, i3, i4)                                 \
    const long e##2 = (e) / (n1), e##3 = e##2 / (n2), i4 = e##3 / (n3);      \
    const int i1 = (e) - e##2 * (n1), i2 = e##2 - e##3 * (n2),               \
              i3 = e##3 - i4 * (n3)

#define FOR_EACH(e)                                                          \
    const long first = (long)get_global_id(0) * span;                        \
    for (long e = first; e < min(first + span, total); e++)

kernel void conv(global const REAL *restrict x, global const REAL *restrict w,
                 global REAL *restrict y, GEOMETRY)
{
    FOR_EACH(e)
    {
        SPLIT(e, Q, P, G * O, q, p, o, n);
        const int g = o / O;
        REAL sum = 0;
        for (int c = 0; c < C; c++)
            for (int a = 0; a < KH; a++)
                for (int b = 0; b < KW; b++) {
                    const int h = p * stride_y + a * dilation_y - low_y;
                    const int v = q * stride_x + b * dilation_x - low_x;
                    if (h >= 0 && h < H && v >= 0 && v < W)
                        sum = fma(
                            x[(((long)n * G + g) * C + c) * H * W + h * W + v],
                            w[(((long)o * C + c) * KH + a) * KW + b], sum);
                }
        y[e] = sum;
    }
}

kernel void conv_transpose(global const REAL *restrict y,
                           global const REAL *restrict w,
                           global REAL *restrict x, GEOMETRY)
{
    FOR_EACH(e)
    {
        SPLIT(e, W, H, G * C, v, h, k, n);
        const int g = k / C, c = k - g * C;
        REAL sum = 0;
        for (int o = g * O; o < (g + 1) * O; o++)
            for (int a = 0; a < KH; a++)
                for (int b = 0; b < KW; b++) {
                    const int p = h + low_y - a * dilation_y;
                    const int q = v + low_x - b * dilation_x;
                    const int s = p / stride_y, t = q / stride_x;
                    if (p >= 0 && q >= 0 && s * stride_y == p &&
                        t * stride_x == q && s < P && t < Q)
                        sum = fma(y[(((long)n * G * O + o) * P + s) * Q + t],
                                  w[(((long)o * C + c) * KH + a) * KW + b],
                                  sum);
                }
        x[e] = sum;
    }
}

kernel void conv_weights(global const REAL *restrict x,
                         global const REAL *restrict y,
                         global REAL *restrict w, GEOMETRY)
{
    FOR_EACH(e)
    {
        SPLIT(e, KW, KH, C, b, a, c, o);
        const int g = o / O;
        REAL sum = 0;
        for (int n = 0; n < N; n++)
            for (int p = 0; p < P; p++)
                for (int q = 0; q < Q; q++) {
                    const int h = p * stride_y + a * dilation_y - low_y;
                    const int v = q * stride_x + b * dilation_x - low_x;
                    if (h >= 0 && h < H && v >= 0 && v < W)
                        sum = fma(
                            x[(((long)n * G + g) * C + c) * H * W + h * W + v],
                            y[(((long)n * G * O + o) * P + p) * Q + q], sum);
                }
        w[e] = sum;
    }
}
