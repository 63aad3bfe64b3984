// Optimizers: each kernel updates all parameters of a model in one launch.
//
//   x[N]           parameters, updated in place
//   dx[...]        gradient of the loss, without the parameters that are frozen
//   s, m, v[N]     state slots, updated in place; zeros before the first step
//   average[N]     AVERAGE 1: moving average of x, with the weight average_rate
//                  for the new x
//   chunks[C][4]   pieces of one parameter each: first element in x, first in
//                  dx, elements (a multiple of 64: groups are padded to 512
//                  bytes), number of the parameter
//   coefficients[P][7]  of a parameter: learning rate scale, L2 (with weight
//                  decay), decoupled weight decay, L1, proximal L1, maximum
//                  norm (MAX_NORM 1; 0: none): see max_norm.cl, which then
//                  updates the average too; 0: the rule's ratio is 1
//   tensors[P][2]  first chunk of a parameter and how many it has
//   norms[C][3]    of each chunk, see gradient_norms
//   gate[1]        GATE 1: nothing changes where it is not finite
//   ahead[N]       LOOKAHEAD 1: the point whose gradient dx is
//   watch[C + 1]   WATCH 1: number of each chunk's first step with a bad
//                  gradient, or 0; last of the first step that the gate shut
//                  out, after which nothing changes any more
//   span           chunks that a group takes: CPU several, GPU 1
//
// CPU: a work-item walks its chunks by vectors of 16 lanes. GPU: a group shares
// out a chunk. The padding holds zeros in x and dx, and zeros in x stay: eps is
// above 0 wherever a rule divides.
//
// A rule is one function here and one row in lib/nn/optimizer_table.c. Its
// arguments are HEAD, the slots, the row's constants (worked out by the host
// for each step, with the learning rate in them where they are rates), TAIL.
// The row's switches are macros, 0 or 1; a slot may be there with one only. A
// rule of two launches hands [chunks][3] numbers from the first to the second,
// which takes the steps and has HEAD, slots, constants, the numbers, tensors,
// TAIL. Between
// BEGIN and END it handles the elements i of chunk a:
//   AT(p), PUT(p, value)   elements of x or of a slot
//   GRADIENT(x)            clipped, with weight decay and penalties
//   STEP(x, rate, d)       stores x + rate d as the new parameters, with
//                          decoupled decay and all that follows a step
// Constants near 1 arrive with their complement (1 - beta), since the
// difference would lose its digits in float.

#ifndef GROUP
#define GROUP 64
#endif

#if CPU
#define RULE kernel SINGLE void
#define LOAD(p, i) vload16(0, (p) + (i))
#define STORE(p, i, value) STORE16((value), (p) + (i))
#define FIRST_ELEMENT 0
#define ELEMENT_STRIDE VW
#define sum_of sum_lanes
#else
#define RULE kernel void
#define LOAD(p, i) (p)[i]
#define STORE(p, i, value) (p)[i] = (value)
#define FIRST_ELEMENT (long)get_local_id(0)
#define ELEMENT_STRIDE (long)get_local_size(0)
#define sum_of
#endif

#ifndef PENALTY
#define PENALTY 0
#endif
#ifndef AVERAGE
#define AVERAGE 0
#endif
#ifndef MAX_NORM
#define MAX_NORM 0
#endif
#ifndef LOOKAHEAD
#define LOOKAHEAD 0
#endif
#ifndef WATCH
#define WATCH 0
#endif
#ifndef GATE
#define GATE 0
#endif
#ifndef CLIP_VALUE // 1: to [-clip_value, clip_value]
#define CLIP_VALUE 0
#endif
#ifndef CLIP_NORM // 1: of each parameter; 2: of all together
#define CLIP_NORM 0
#endif
#ifndef TRUST // 1: a rule wants the norms of its parameter
#define TRUST 0
#endif
#define NORMS (CLIP_NORM || TRUST)
// Settings of rules, see there.
#ifndef HEAVY_BALL
#define HEAVY_BALL 0
#endif
#ifndef EPS_INSIDE
#define EPS_INSIDE 0
#endif
#ifndef MOMENTUM
#define MOMENTUM 0
#endif
#ifndef CENTERED
#define CENTERED 0
#endif

#if NORMS
#define NORMS_HEAD global const REAL *norms, global const int *tensors,
#else
#define NORMS_HEAD
#endif
#if GATE
#define GATE_HEAD global const REAL *gate,
#if WATCH
#define GATE_IS_SHUT is_shut_out(gate, watch + chunk_count, (int)step)
#else
#define GATE_IS_SHUT (!isfinite(gate[0]))
#endif
#else
#define GATE_HEAD
#define GATE_IS_SHUT false
#endif
#if CLIP_VALUE
#define CLIP_VALUE_HEAD const REAL clip_value,
#define CLIPPED(g) MIN_NAN(MAX_NAN((g), K(-clip_value)), K(clip_value))
#else
#define CLIP_VALUE_HEAD
#define CLIPPED(g) (g)
#endif
#if CLIP_NORM
#define CLIP_NORM_HEAD const REAL clip_norm,
#else
#define CLIP_NORM_HEAD
#endif
#if AVERAGE
#define AVERAGE_HEAD , global REAL *average, const REAL average_rate
#else
#define AVERAGE_HEAD
#endif
#if WATCH
#define WATCH_HEAD , global int *watch, const uint step
#else
#define WATCH_HEAD
#endif

#if LOOKAHEAD
#define LOOKAHEAD_HEAD , global REAL *ahead
#else
#define LOOKAHEAD_HEAD
#endif

#define HEAD                                                              \
    global const REAL *dx, global const int *chunks,                      \
        global const REAL *coefficients, NORMS_HEAD GATE_HEAD             \
        CLIP_VALUE_HEAD CLIP_NORM_HEAD const REAL lr,                     \
        global REAL *x AVERAGE_HEAD WATCH_HEAD LOOKAHEAD_HEAD
#define TAIL const int chunk_count, const int span

struct chunk {
    long at, count; // first element in x, elements
    long shift;     // from there to the element of dx
    int tensor;
    REAL scale;     // of the learning rate
    REAL l2, l1, threshold;
    REAL decay; // what decoupled decay takes off: lr times it
    REAL clip;  // factor of the gradient
    bool is_bounded;     // MAX_NORM: a second launch follows
    bool has_trust;
    REAL norm_g, norm_x; // TRUST: of its parameter, the gradient clipped
};

static inline struct chunk read_chunk(global const int *chunk,
                                      global const REAL *coefficients,
                                      const REAL lr)
{
    struct chunk a;
    global const REAL *c = coefficients + 7 * chunk[3];
    a.at = chunk[0];
    a.shift = chunk[1] - chunk[0];
    a.count = chunk[2];
    a.tensor = chunk[3];
    a.scale = c[0];
    a.l2 = c[1];
    a.decay = lr * c[0] * c[2];
    a.l1 = c[3];
    a.threshold = lr * c[0] * c[4];
    a.has_trust = c[6] != 0;
    a.is_bounded = MAX_NORM && c[5] > 0;
    a.clip = 1;
    a.norm_g = a.norm_x = 0;
    return a;
}

// ---- norms ----

// The sum over a group's items, or a vector's lanes, as a tree.
static inline REAL sum_group(const RV v, local REAL *part)
{
#if CPU
    return sum_lanes(v);
#else
    const int item = get_local_id(0);
    barrier(CLK_LOCAL_MEM_FENCE);
    part[item] = v;
    for (int reach = get_local_size(0) / 2; reach > 0; reach /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (item < reach)
            part[item] += part[item + reach];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    return part[0];
#endif
}

// sqrt of the sum over the chunks' squares, in a fixed order; by Kahan, since
// chunks may be many. All items of a group come here together.
static inline REAL norm_of(global const REAL *norms, const int first,
                           const int count, const int column,
                           local REAL *part)
{
    REAL sum = 0, rest = 0;
#if CPU
    for (int c = 0; c < count; c++) {
#else
    for (int c = get_local_id(0); c < count; c += get_local_size(0)) {
#endif
        const REAL more = norms[(first + c) * 3 + column] - rest;
        const REAL next = sum + more;
        rest = isfinite(next) ? next - sum - more : 0; // infinity stays
        sum = next;
    }
#if CPU
    return sqrt(sum);
#else
    return sqrt(sum_group(sum, part));
#endif
}

// The factor that brings a norm down to `most`, as torch.nn.utils has it: NaN
// for NaN.
static inline REAL clip_factor(const REAL norm, const REAL most)
{
    const REAL factor = most / (norm + (REAL)1e-6);
    return factor >= 1 ? 1 : factor;
}

#if CPU
#define LOCAL_PART local REAL *part = 0;
#define LOCAL_SUMS local REAL *group_sums = 0;
#else
#define LOCAL_PART local REAL part[GROUP];
#define LOCAL_SUMS local REAL group_sums[GROUP];
#endif
#if CLIP_NORM == 2
#define CLIP_ALL                                                          \
    LOCAL_PART                                                            \
    const REAL factor =                                                   \
        clip_factor(norm_of(norms, 0, chunk_count, 0, part), clip_norm);
#elif NORMS
#define CLIP_ALL LOCAL_PART const REAL factor = 1;
#else
#define CLIP_ALL
#endif
// The norms of chunk a's parameter, worked out where a new one begins.
#if CLIP_NORM == 1 || TRUST
#define KNOWN_NORMS struct chunk known; known.tensor = -1;
#define TAKE_NORMS                                                        \
    if (known.tensor != a.tensor) {                                       \
        const int from = tensors[2 * a.tensor];                           \
        const int many = tensors[2 * a.tensor + 1];                       \
        known.tensor = a.tensor;                                          \
        known.norm_g = norm_of(norms, from, many, 0, part);               \
        known.clip = CLIP_NORM == 1 ? clip_factor(known.norm_g, CLIP_MOST) \
                                    : factor;                             \
        known.norm_g *= known.clip;                                       \
        known.norm_x = TRUST ? norm_of(norms, from, many, 1, part) : 0;   \
    }                                                                     \
    a.clip = known.clip;                                                  \
    a.norm_g = known.norm_g;                                              \
    a.norm_x = known.norm_x;
#elif NORMS
#define KNOWN_NORMS
#define TAKE_NORMS a.clip = factor;
#else
#define KNOWN_NORMS
#define TAKE_NORMS
#endif
#if CLIP_NORM == 1
#define CLIP_MOST clip_norm
#else
#define CLIP_MOST 1
#endif

// ---- the walk ----

// One item alone writes, in a launch in which nobody else looks.
static inline bool is_shut_out(global const REAL *gate, global int *since,
                               const int step)
{
    if (isfinite(gate[0]))
        return since[0] != 0;
    if (get_global_id(0) == 0 && since[0] == 0)
        since[0] = step;
    return true;
}

// NaN if one of the gradient's elements was not finite.
#if WATCH
#define WATCH_BEGIN RV bad = K(0);
#define WATCH_ELEMENT bad = fma(LOAD(dx, i + a.shift), K(0), bad);
#define WATCH_END                                                         \
    const REAL all = sum_of(bad);                                         \
    if (all != all)                                                       \
        atomic_cmpxchg(&watch[c], 0, (int)step);
#else
#define WATCH_BEGIN
#define WATCH_ELEMENT
#define WATCH_END
#endif

#define EACH_CHUNK                                                        \
    const int first = (int)get_group_id(0) * span;                        \
    const int last = GATE_IS_SHUT ? first : min(first + span, chunk_count); \
    for (int c = first; c < last; c++) {                                  \
        struct chunk a = read_chunk(chunks + 4 * c, coefficients, lr);
#define EACH_ELEMENT                                                      \
        for (long i = a.at + FIRST_ELEMENT, end = a.at + a.count; i < end; \
             i += ELEMENT_STRIDE) {
#define BEGIN_CHUNK CLIP_ALL KNOWN_NORMS EACH_CHUNK TAKE_NORMS
#define BEGIN_ELEMENTS WATCH_BEGIN EACH_ELEMENT WATCH_ELEMENT
#define END_ELEMENTS } WATCH_END
#define END_CHUNK }
#define BEGIN BEGIN_CHUNK BEGIN_ELEMENTS
#define END END_ELEMENTS END_CHUNK

#define AT(p) LOAD(p, i)
#define PUT(p, value) STORE(p, i, value)

// clip dx + l2 x + l1 sign(x)
#if CLIP_NORM
#define RAW_GRADIENT (K(a.clip) * CLIPPED(LOAD(dx, i + a.shift)))
#else
#define RAW_GRADIENT CLIPPED(LOAD(dx, i + a.shift))
#endif
#if PENALTY
#define GRADIENT(x) \
    fma(K(a.l2), (x), fma(K(a.l1), sign(x), RAW_GRADIENT))
#else
#define GRADIENT(x) fma(K(a.l2), (x), RAW_GRADIENT)
#endif

// Proximal L1 takes the threshold off |x|, down to an exact 0; NaN stays NaN.
static inline RV shrink(const RV x, const REAL t)
{
    return x - clamp(x, K(-t), K(t));
}

#if PENALTY
#define SHRUNK(x) shrink((x), a.threshold)
#else
#define SHRUNK(x) (x)
#endif
#if AVERAGE
#define PUT_AVERAGE(x1)                                                   \
    if (!a.is_bounded) {                                                  \
        const RV average0 = AT(average);                                  \
        PUT(average, fma(K(average_rate), (x1) - average0, average0));    \
    }
#else
#define PUT_AVERAGE(x1)
#endif
#define STEP(x0, rate, d)                                                 \
    {                                                                     \
        const RV x1 = SHRUNK(                                             \
            fma((rate), (d), fma(K(-a.decay), (x0), (x0))));              \
        PUT(x, x1);                                                       \
        PUT_AVERAGE(x1)                                                   \
    }

// eps beside the root or, EPS_INSIDE 1, under it
#if EPS_INSIDE
#define ROOT(v, scale, eps) sqrt(fma((v), K(scale), K(eps)))
#else
#define ROOT(v, scale, eps) fma(sqrt(v), K(scale), K(eps))
#endif

// ---- the rules ----

// x -= lr g
RULE sgd(HEAD, TAIL)
{
    BEGIN
        const RV x0 = AT(x);
        STEP(x0, K(-lr * a.scale), GRADIENT(x0))
    END
}

// v = keep v + take g,  x -= lr v;  HEAVY_BALL 1: the rate stays with what it
// was taken for, v = keep v + lr g,  x -= v
RULE momentum(HEAD, global REAL *v, const REAL keep, const REAL take, TAIL)
{
    BEGIN
        const RV x0 = AT(x), g = GRADIENT(x0);
        const REAL part_of_g = HEAVY_BALL ? lr * a.scale : take;
        const RV v1 = fma(K(keep), AT(v), K(part_of_g) * g);
        PUT(v, v1);
        STEP(x0, K(HEAVY_BALL ? -1 : -lr * a.scale), v1)
    END
}

// v = rate v + g,  x -= lr (g + rate v); LOOKAHEAD 1: ahead is where g is
// taken, v = rate v + lr g,  x -= v,  ahead = x - rate v
RULE nesterov(HEAD, global REAL *v, const REAL rate, TAIL)
{
    BEGIN
#if LOOKAHEAD
        const RV x0 = AT(x), y0 = AT(ahead);
        const RV v1 = fma(K(lr * a.scale), GRADIENT(y0), K(rate) * AT(v));
        PUT(v, v1);
        STEP(x0, K(-1), v1)
        PUT(ahead, fma(K(-rate), v1, AT(x)));
#else
        const RV x0 = AT(x), g = GRADIENT(x0);
        const RV v1 = fma(K(rate), AT(v), g);
        PUT(v, v1);
        STEP(x0, K(-lr * a.scale), fma(K(rate), v1, g))
#endif
    END
}

// s += start + g^2,  x -= rate g / root(s)
RULE adagrad(HEAD, global REAL *s, const REAL rate, const REAL start,
             const REAL eps, TAIL)
{
    BEGIN
        const RV x0 = AT(x), g = GRADIENT(x0);
        const RV s1 = fma(g, g, AT(s) + K(start));
        PUT(s, s1);
        STEP(x0, K(-rate * a.scale), g / ROOT(s1, 1, eps))
    END
}

// s = rho s + (1 - rho) g^2,  d = sqrt(u + eps) / sqrt(s + eps) g,
// u = rho u + (1 - rho) d^2,  x -= lr d;  rest = 1 - rho
RULE adadelta(HEAD, global REAL *s, global REAL *u, const REAL rest,
              const REAL eps, TAIL)
{
    BEGIN
        const RV x0 = AT(x), s0 = AT(s), u0 = AT(u), g = GRADIENT(x0);
        const RV s1 = fma(K(rest), fma(g, g, -s0), s0);
        const RV d = sqrt((u0 + K(eps)) / (s1 + K(eps))) * g;
        PUT(s, s1);
        PUT(u, fma(K(rest), fma(d, d, -u0), u0));
        STEP(x0, K(-lr * a.scale), d)
    END
}

// s = alpha s + (1 - alpha) g^2,  x -= lr g / root(s);  rest = 1 - alpha
// CENTERED 1: a = alpha a + (1 - alpha) g, root(s - a^2)
// MOMENTUM 1: b = momentum b + g / root(s), x -= lr b
RULE rmsprop(HEAD, global REAL *s,
#if MOMENTUM
             global REAL *b,
#endif
#if CENTERED
             global REAL *mean,
#endif
             const REAL rest, const REAL eps, const REAL momentum, TAIL)
{
    BEGIN
        const RV x0 = AT(x), s0 = AT(s), g = GRADIENT(x0);
        const RV s1 = fma(K(rest), fma(g, g, -s0), s0);
        PUT(s, s1);
#if CENTERED
        const RV mean0 = AT(mean), mean1 = fma(K(rest), g - mean0, mean0);
        PUT(mean, mean1);
        // Rounding may make a variance of 0 negative.
        const RV square = MAX_NAN(fma(-mean1, mean1, s1), K(0));
#else
        const RV square = s1;
#endif
        const RV along = g / ROOT(square, 1, eps);
#if MOMENTUM
        const RV d = fma(K(momentum), AT(b), along);
        PUT(b, d);
#else
        const RV d = along;
#endif
        STEP(x0, K(-lr * a.scale), d)
    END
}

// m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2;
// rest1 = 1 - beta1, rest2 = 1 - beta2
#define MOMENTS                                                           \
    const RV x0 = AT(x), m0 = AT(m), v0 = AT(v), g = GRADIENT(x0);        \
    const RV m1 = fma(K(rest1), g - m0, m0);                              \
    const RV v1 = fma(K(rest2), fma(g, g, -v0), v0);                      \
    PUT(m, m1);                                                           \
    PUT(v, v1);

// x -= rate m / root(v), where the host's rate has lr and the correction of m,
// scale that of v
RULE adam(HEAD, global REAL *m, global REAL *v, const REAL rate,
          const REAL scale, const REAL eps, const REAL rest1,
          const REAL rest2, TAIL)
{
    BEGIN
        MOMENTS
        STEP(x0, K(-rate * a.scale), m1 / ROOT(v1, scale, eps))
    END
}

// w = max(w, v),  x -= rate m / root(w)
RULE amsgrad(HEAD, global REAL *m, global REAL *v, global REAL *w,
             const REAL rate, const REAL scale, const REAL eps,
             const REAL rest1, const REAL rest2, TAIL)
{
    BEGIN
        MOMENTS
        const RV w0 = AT(w), w1 = MAX_NAN(v1, w0);
        PUT(w, w1);
        STEP(x0, K(-rate * a.scale), m1 / ROOT(w1, scale, eps))
    END
}

// m = beta1 m + (1 - beta1) g,  u = max(beta2 u, |g| + eps),  x -= rate m / u
RULE adamax(HEAD, global REAL *m, global REAL *u, const REAL rate,
            const REAL eps, const REAL rest1, const REAL beta2, TAIL)
{
    BEGIN
        const RV x0 = AT(x), m0 = AT(m), u0 = AT(u), g = GRADIENT(x0);
        const RV m1 = fma(K(rest1), g - m0, m0);
        const RV u1 = MAX_NAN(fabs(g) + K(eps), K(beta2) * u0);
        PUT(m, m1);
        PUT(u, u1);
        STEP(x0, K(-rate * a.scale), m1 / u1)
    END
}

// x -= (rate_m m + rate_g g) / root(v)
RULE nadam(HEAD, global REAL *m, global REAL *v, const REAL rate_m,
           const REAL rate_g, const REAL scale, const REAL eps,
           const REAL rest1, const REAL rest2, TAIL)
{
    BEGIN
        MOMENTS
        const RV d = fma(K(rate_m), m1, K(rate_g) * g);
        STEP(x0, K(-a.scale), d / fma(sqrt(v1), K(scale), K(eps)))
    END
}

// x -= lr sign(beta1 m + (1 - beta1) g),  m = beta2 m + (1 - beta2) g. The sign
// of what is not finite is NaN.
RULE lion(HEAD, global REAL *m, const REAL rest1, const REAL rest2, TAIL)
{
    BEGIN
        const RV x0 = AT(x), m0 = AT(m), g = GRADIENT(x0);
        const RV d = fma(K(rest1), g - m0, m0);
        PUT(m, fma(K(rest2), g - m0, m0));
        STEP(x0, K(-lr * a.scale), fma(d, K(0), sign(d)))
    END
}

// v = rate v + lr r g,  x -= v, with r = trust |x| / (|dx| + l2 |x| + eps)
RULE lars(HEAD, global REAL *v, const REAL rate, const REAL trust,
          const REAL eps, TAIL)
{
    BEGIN_CHUNK
        const bool has_ratio = a.has_trust && a.norm_x > 0 && a.norm_g > 0;
        const REAL below = fma(a.l2, a.norm_x, a.norm_g) + eps;
        const REAL ratio = has_ratio ? trust * a.norm_x / below : 1;
        const REAL take = lr * a.scale * ratio;
    BEGIN_ELEMENTS
        const RV x0 = AT(x), g = GRADIENT(x0);
        const RV v1 = fma(K(rate), AT(v), K(take) * g);
        PUT(v, v1);
        STEP(x0, K(-1), v1)
    END
}

// ---- LAMB, in two launches ----

// d = first m / (scale sqrt(v) + eps) + weight_decay x
#define LAMB_DIRECTION                                                    \
    fma(K(decay), x0, K(first_scale) * m1 /                               \
                          fma(sqrt(v1), K(scale), K(eps)))

// The moments, and sums[c] = sum of d^2, sum of x^2
RULE lamb(HEAD, global REAL *m, global REAL *v, const REAL first_scale,
          const REAL scale, const REAL eps, const REAL rest1,
          const REAL rest2, global REAL *sums, TAIL)
{
    LOCAL_SUMS
    BEGIN_CHUNK
        const REAL decay = coefficients[7 * a.tensor + 2];
        RV sum_d = K(0), sum_x = K(0);
    BEGIN_ELEMENTS
        MOMENTS
        const RV d = LAMB_DIRECTION;
        sum_d = fma(d, d, sum_d);
        sum_x = fma(x0, x0, sum_x);
    END_ELEMENTS
        const REAL all_d = sum_group(sum_d, group_sums);
        const REAL all_x = sum_group(sum_x, group_sums);
        if (get_local_id(0) == 0) {
            sums[3 * c] = all_d;
            sums[3 * c + 1] = all_x;
        }
    END_CHUNK
}

// x -= lr |x| / |d| d
RULE lamb_apply(HEAD, global REAL *m, global REAL *v, const REAL first_scale,
                const REAL scale, const REAL eps, const REAL rest1,
                const REAL rest2, global const REAL *sums,
                global const int *places, TAIL)
{
    LOCAL_SUMS
    int known = -1;
    REAL ratio = 1;
    EACH_CHUNK
        const REAL decay = coefficients[7 * a.tensor + 2];
        if (known != a.tensor) {
            const int from = places[2 * a.tensor];
            const int many = places[2 * a.tensor + 1];
            const REAL norm_d = norm_of(sums, from, many, 0, group_sums);
            const REAL norm_x = norm_of(sums, from, many, 1, group_sums);
            const bool has_ratio = a.has_trust && norm_x > 0 && norm_d > 0;
            ratio = has_ratio ? norm_x / norm_d : 1;
            known = a.tensor;
        }
        a.decay = 0; // the direction has it
    EACH_ELEMENT
        const RV x0 = AT(x), m1 = AT(m), v1 = AT(v);
        STEP(x0, K(-lr * a.scale * ratio), LAMB_DIRECTION)
        }
    END_CHUNK
}

// ---- norms of the chunks ----

// norms[c] = sum of g^2, sum of x^2, and 0 or, if an element of g is not
// finite, NaN; g is clipped by value.
kernel
#if CPU
SINGLE
#endif
void gradient_norms(global const REAL *dx, global const int *chunks,
                    global const REAL *x, CLIP_VALUE_HEAD
                    global REAL *norms, TAIL)
{
#if !CPU
    local REAL part[3][GROUP];
#endif
    const int first = (int)get_group_id(0) * span;
    const int last = min(first + span, chunk_count);
    for (int c = first; c < last; c++) {
        const long at = chunks[4 * c], shift = chunks[4 * c + 1] - at;
        const long end = at + chunks[4 * c + 2];
        RV sum_g = K(0), sum_x = K(0), bad = K(0);
        for (long i = at + FIRST_ELEMENT; i < end; i += ELEMENT_STRIDE) {
            const RV raw = LOAD(dx, i + shift), x0 = LOAD(x, i);
            const RV g = CLIPPED(raw);
            sum_g = fma(g, g, sum_g);
            sum_x = fma(x0, x0, sum_x);
            bad = fma(raw, K(0), bad);
        }
#if CPU
        norms[3 * c] = sum_lanes(sum_g);
        norms[3 * c + 1] = sum_lanes(sum_x);
        norms[3 * c + 2] = sum_lanes(bad);
#else
        const int item = get_local_id(0);
        part[0][item] = sum_g;
        part[1][item] = sum_x;
        part[2][item] = bad;
        for (int reach = get_local_size(0) / 2; reach > 0; reach /= 2) {
            barrier(CLK_LOCAL_MEM_FENCE);
            for (int k = 0; item < reach && k < 3; k++)
                part[k][item] += part[k][item + reach];
        }
        if (item == 0)
            for (int k = 0; k < 3; k++)
                norms[3 * c + k] = part[k][0];
#endif
    }
}
