// Optimizers: each kernel updates a whole group of parameters in one launch.
//
//   x[N]           parameters, updated in place
//   dx[N]          gradient of the loss
//   s, m, v[N]     state slots, updated in place; zeros before the first step
//   lr, step       learning rate; number of this step, from 1
//   penalty[N / BLOCK][3]  with PENALTY: l1, l2 and proximal l1 of each block,
//                  which is the unit of alignment of parameters
//   count          N, a multiple of 64 (groups are padded to 512 bytes)
//   span           CPU: elements of a work-item, a multiple of 16
//
// CPU: a work-item walks a span by vectors of 16 lanes. GPU: a work-item an
// element. The padding holds zeros in and zeros out.
//
// A rule is one function here and one row in lib/nn/optimizer.c. Its arguments
// stand in the order dx, lr, step, penalty, x, slots, constants of the row, count, span.
// Constants near 1 arrive with their complement (1 - beta), since the
// difference would lose its digits in float.

#if CPU
#define RULE kernel SINGLE void
#define FOR_EACH(i)                                                       \
    for (long i = (long)get_group_id(0) * span,                           \
              i##_end = min(i + span, count);                             \
         i < i##_end; i += VW)
#define AT(p, i) vload16(0, (p) + (i))
#define PUT(p, i, value) vstore16((value), 0, (p) + (i))
#else
#define RULE kernel void
#define FOR_EACH(i)                                                       \
    for (long i = (long)get_global_id(0), i##_end = min(i + 1, count);    \
         i < i##_end; i++)
#define AT(p, i) (p)[i]
#define PUT(p, i, value) (p)[i] = (value)
#endif

#ifndef PENALTY
#define PENALTY 0
#endif

// GRADIENT: with weight decay, an L2 penalty, and others:
//   dx + (weight_decay + l2) x + l1 sign(x)
// STEPPED: x after the step, and proximal L1, which takes the threshold
//   t = lr times its l1 off |x|, down to an exact 0; NaN stays NaN.
#if PENALTY
#define PENALTY_ARG global const REAL *penalty,
#define BLOCK (512 / (long)sizeof(REAL))
#define OF_BLOCK(i, column) penalty[(i) / BLOCK * 3 + (column)]
#define GRADIENT(i, dx, x)                                               \
    fma(K(weight_decay + OF_BLOCK(i, 1)), (x),                           \
        fma(K(OF_BLOCK(i, 0)), sign(x), (dx)))
#define STEPPED(i, x) shrink((x), lr * OF_BLOCK(i, 2))

static inline RV shrink(const RV x, const REAL t)
{
    return x - clamp(x, K(-t), K(t));
}
#else
#define PENALTY_ARG
#define GRADIENT(i, dx, x) fma(K(weight_decay), (x), (dx))
#define STEPPED(i, x) (x)
#endif

// x -= lr g
RULE sgd(global const REAL *dx, const REAL lr, const REAL step,
         PENALTY_ARG global REAL *x, const REAL weight_decay, const long count,
         const long span)
{
    FOR_EACH(i)
    {
        const RV x0 = AT(x, i);
        const RV g = GRADIENT(i, AT(dx, i), x0);
        PUT(x, i, STEPPED(i, fma(K(-lr), g, x0)));
    }
}

// v = momentum v + g,  x -= lr v
RULE momentum(global const REAL *dx, const REAL lr, const REAL step,
              PENALTY_ARG global REAL *x, global REAL *v, const REAL rate,
              const REAL weight_decay, const long count, const long span)
{
    FOR_EACH(i)
    {
        const RV x0 = AT(x, i);
        const RV g = GRADIENT(i, AT(dx, i), x0);
        const RV v1 = fma(K(rate), AT(v, i), g);
        PUT(v, i, v1);
        PUT(x, i, STEPPED(i, fma(K(-lr), v1, x0)));
    }
}

// m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2,
// x -= lr m' / (sqrt(v') + eps),  m' = m / (1 - beta1^step),  v' likewise.
// 1 - beta^step is -expm1(step log beta): exact to the last digits from the
// first step on, without a power in double precision. `rate` has the minus.
RULE adam(global const REAL *dx, const REAL lr, const REAL step,
          PENALTY_ARG global REAL *x, global REAL *m, global REAL *v,
          const REAL rest1, const REAL log_beta1, const REAL rest2,
          const REAL log_beta2, const REAL eps, const REAL weight_decay,
          const long count, const long span)
{
    const REAL rate = lr / expm1(step * log_beta1);
    const REAL scale = 1 / sqrt(-expm1(step * log_beta2));
    FOR_EACH(i)
    {
        const RV x0 = AT(x, i), m0 = AT(m, i), v0 = AT(v, i);
        const RV g = GRADIENT(i, AT(dx, i), x0);
        const RV m1 = fma(K(rest1), g - m0, m0);
        const RV v1 = fma(K(rest2), fma(g, g, -v0), v0);
        PUT(m, i, m1);
        PUT(v, i, v1);
        const RV root = fma(sqrt(v1), K(scale), K(eps));
        PUT(x, i, STEPPED(i, fma(K(rate), m1 / root, x0)));
    }
}
