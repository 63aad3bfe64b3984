// Reference of the activations: one formula an element.
#include <math.h>
#include <stddef.h>

#include "ref/ref.h"

#define FORMULA(name, formula)                                             \
    static void name(const struct ref_tensor *in, int count,               \
                     const struct ref_params *params,                      \
                     struct ref_tensor *out)                               \
    {                                                                      \
        const double *p = params->p;                                       \
        const struct ref_shape shape = ref_broadcast(in, count);           \
        ref_make(out, &shape);                                             \
        for (int64_t i = 0; i < ref_count(&shape); i++) {                  \
            const double x = ref_at(&in[0], &shape, i);                    \
            const double y = count > 1 ? ref_at(&in[1], &shape, i) : 0;    \
            (void)p, (void)y;                                              \
            out->data[i] = (formula);                                      \
        }                                                                  \
    }

static double sigmoid(double x)
{
    return x > 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
}

// x g, where g falls faster than x grows.
static double gated(double x, double g)
{
    return x == -INFINITY ? 0 : x * g;
}

// (1 + erf(x / sqrt(2))) / 2: 1 + erf(-z) = erfc(z). In the widest type, since
// a last place of z is z^2 of them in the result.
static double normal_cdf(double x)
{
    return (double)(0.5L * erfcl((long double)-x * sqrtl(0.5L)));
}

// (1 + tanh(u)) / 2 = 1 / (1 + e^-2u)
static double gelu_tanh(double x)
{
    const double u = sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x);
    return gated(x, 1 / (1 + exp(-2 * u)));
}

static double softplus(double x)
{
    return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}

static double between(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}

static double softsign(double x)
{
    return isinf(x) ? copysign(1, x) : x / (1 + fabs(x));
}

// Klambauer et al. 2017, equations 2 and 14.
static double selu(double x)
{
    const double scale = 1.0507009873554804934193349852946;
    const double alpha = 1.6732632423543772848170429916717;
    return scale * (x > 0 ? x : alpha * expm1(x));
}

FORMULA(relu, isnan(x) ? NAN : x > 0 ? x : 0)
FORMULA(sigmoid_of, sigmoid(x))
FORMULA(tanh_of, tanh(x))
FORMULA(leaky_relu, x > 0 ? x : p[0] * x)
FORMULA(prelu, x > 0 ? x : y *x)
FORMULA(hard_tanh, between(x, p[0], p[1]))
FORMULA(relu6, between(x, 0, 6))
FORMULA(elu, x > 0 ? x : p[0] * expm1(x))
FORMULA(selu_of, selu(x))
FORMULA(softplus_of, softplus(x))
FORMULA(softsign_of, softsign(x))
FORMULA(normal_cdf_of, normal_cdf(x))
FORMULA(gelu, gated(x, normal_cdf(x)))
FORMULA(gelu_tanh_of, gelu_tanh(x))
FORMULA(silu, gated(x, sigmoid(x)))
FORMULA(mish, gated(x, tanh(softplus(x))))
FORMULA(relu_gate, x > 0 ? y : 0)

// The largest of `count` pieces of axis 1, the units of a piece side by side.
static void maxout(const struct ref_tensor *in, int count,
                   const struct ref_params *params, struct ref_tensor *out)
{
    (void)count;
    struct ref_shape shape = in->shape;
    const int64_t units = shape.dims[1] / params->count;
    int64_t at[REF_MAX_RANK];
    shape.dims[1] = units;
    ref_make(out, &shape);
    for (int64_t i = 0; i < ref_count(&shape); i++) {
        ref_unravel(&shape, i, at);
        double most = -INFINITY;
        for (int64_t k = 0; k < params->count; k++, at[1] += units)
            most = fmax(most, in->data[ref_ravel(&in->shape, at)]);
        out->data[i] = most;
    }
}

const struct ref_op ref_activation[] = {
    {"relu", relu},
    {"sigmoid", sigmoid_of},
    {"tanh", tanh_of},
    {"leaky_relu", leaky_relu},
    {"prelu", prelu},
    {"hard_tanh", hard_tanh},
    {"relu6", relu6},
    {"elu", elu},
    {"selu", selu_of},
    {"softplus", softplus_of},
    {"softsign", softsign_of},
    {"normal_cdf", normal_cdf_of},
    {"gelu", gelu},
    {"gelu_tanh", gelu_tanh_of},
    {"silu", silu},
    {"mish", mish},
    {"maxout", maxout},
    {"relu_gate", relu_gate},
    {NULL, NULL},
};
