// Smooth activations whose plain formulas lose digits, for pointwise rows.
//
//   normal_cdf(x)  = P(n <= x), n standard normal
//   gelu(x)        = x normal_cdf(x)
//   gelu_tanh(x)   = x / (1 + e^-w), w = x (A + B x^2)
//   silu(x)        = x / (1 + e^-x)
//   mish(x)        = x tanh(log(1 + e^x))
//
// For negative x each is x times something tiny. That is a power of e with an
// exact argument, or with one whose rounding error is made good, multiplied in
// as two halves: so it keeps its digits down to the smallest normal number,
// and nothing overflows. -infinity gives the limit, 0.

// Where all of them have long been 0, in double too.
#define LEFT_END K(-2000)
#define INSIDE_LEFT(x) SEL((x) < LEFT_END, LEFT_END, (x))

// factor * P(n > |x|) = factor e^(-a^2 / 2) ratio, a = |x|.
static inline RV times_tail(const RV factor, const RV x)
{
#if REAL_IS_DOUBLE
    const RV a = SEL(fabs(x) > K(40), K(40), fabs(x));
    const RV z = a * K(0.70710678118654752);
    const RV rest = fma(a, K(0.70710678118654752), -z) +
                    a * K(-4.8336466567264565e-17);
    return K(0.5) * factor * erfc(z) * fma(K(-2) * z, rest, K(1));
#else
    const RV a = SEL(fabs(x) > K(16), K(16), fabs(x));
    const RV square = a * a;
    const RV rest = fma(a, a, -square);
    const RV half_gauss = exp(square * K(-0.25));
    // (1 + a) ratio, interpolated at Chebyshev's points in
    // t = (a - 3) / (a + 3): off by at most 2.2e-8.
    const RV t = (a - K(3)) / (a + K(3));
    RV p = K(6.26194489808e-5f);
    p = fma(p, t, K(3.59316630634e-5f));
    p = fma(p, t, K(-0.000481287756051f));
    p = fma(p, t, K(-0.000365748623778f));
    p = fma(p, t, K(0.0029931021368f));
    p = fma(p, t, K(0.00116432532886f));
    p = fma(p, t, K(-0.0227267550396f));
    p = fma(p, t, K(0.0451633658145f));
    p = fma(p, t, K(-0.0164323211423f));
    p = fma(p, t, K(-0.0965267337158f));
    p = fma(p, t, K(0.486055793422f));
    const RV ratio = p / (K(1) + a) * fma(rest, K(-0.5), K(1));
    return factor * half_gauss * ratio * half_gauss;
#endif
}

static inline RV normal_cdf(const RV x)
{
    const RV tail = times_tail(K(1), x);
    return SEL(x < K(0), tail, K(1) - tail);
}

static inline RV gelu(const RV x)
{
    const RV part = times_tail(SEL(x < K(0), INSIDE_LEFT(x), K(1)), x);
    return SEL(x < K(0), part, x * (K(1) - part));
}

// x / (1 + e^-|w|) right of 0, x e^-|w| / (1 + e^-|w|) left of it; `half_power`
// is e^(-|w| / 2).
static inline RV sigmoid_times(const RV x, const RV half_power)
{
    const RV left = INSIDE_LEFT(x) * half_power * half_power;
    return SEL(x < K(0), left, x) / fma(half_power, half_power, K(1));
}

static inline RV silu(const RV x)
{
    return sigmoid_times(x, exp(K(-0.5) * fabs(x)));
}

// A = 2 sqrt(2 / pi), B = 0.044715 A, each with what its rounding left.
#if REAL_IS_DOUBLE
#define A_REST K(0)
#define B_REST K(0)
#else
#define A_REST K(-4.53406804211e-8f)
#define B_REST K(2.39883239599e-9f)
#endif

static inline RV gelu_tanh(const RV x)
{
    const RV A = K(1.5957691216057307), B = K(0.07135481627260025);
    const RV a = SEL(fabs(x) > K(32), K(32), fabs(x));
    const RV square = a * a;
    const RV square_rest = fma(a, a, -square);
    const RV term = B * square;
    const RV term_rest = fma(B, square, -term) +
                         fma(B, square_rest, B_REST * square);
    const RV slope = A + term;
    const RV of_term = slope - A; // what the sum took of each
    const RV slope_rest = (A - (slope - of_term)) + (term - of_term) +
                          (term_rest + A_REST);
    const RV w = a * slope;
    const RV w_rest = fma(a, slope, -w) + a * slope_rest;
    return sigmoid_times(x, exp(K(-0.5) * w) *
                                fma(K(-0.5), w_rest, K(1)));
}

// With e = e^-|x|: tanh(log(1 + e^x)) is (1 + 2 e) / (1 + 2 e + 2 e^2) right of
// 0 and e (e + 2) / (e (e + 2) + 2) left of it.
static inline RV mish(const RV x)
{
    const RV half_power = exp(K(-0.5) * fabs(x));
    const RV e = half_power * half_power;
    const RV left = INSIDE_LEFT(x) * half_power * (e + K(2)) * half_power /
                    fma(e, e + K(2), K(2));
    const RV twice = K(2) * e;
    const RV right = x * ((K(1) + twice) / fma(twice, e, K(1) + twice));
    return SEL(x < K(0), left, right);
}
