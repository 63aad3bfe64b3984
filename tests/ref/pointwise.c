// Reference of the pointwise operations: one formula an element.
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
            const double z = count > 2 ? ref_at(&in[2], &shape, i) : 0;    \
            (void)p, (void)y, (void)z;                                     \
            out->data[i] = (formula);                                      \
        }                                                                  \
    }

static double larger(double x, double y)
{
    return isnan(x) || isnan(y) ? NAN : x > y ? x : y;
}

static double smaller(double x, double y)
{
    return isnan(x) || isnan(y) ? NAN : x < y ? x : y;
}

FORMULA(add, x + y)
FORMULA(sub, x - y)
FORMULA(mul, x *y)
FORMULA(divide, x / y)
FORMULA(power, pow(x, y))
FORMULA(max2, larger(x, y))
FORMULA(min2, smaller(x, y))
FORMULA(neg, -x)
FORMULA(absolute, fabs(x))
FORMULA(exponential, exp(x))
FORMULA(logarithm, log(x))
FORMULA(root, sqrt(x))
FORMULA(square, x *x)
FORMULA(add_scalar, x + p[0])
FORMULA(scale, p[0] * x)
FORMULA(clamp, smaller(larger(x, p[0]), p[1]))
FORMULA(equal, x == y)
FORMULA(not_equal, x != y)
FORMULA(less, x < y)
FORMULA(less_equal, x <= y)
FORMULA(greater, x > y)
FORMULA(greater_equal, x >= y)
FORMULA(choose, x != 0 ? y : z)
FORMULA(cut, trunc(x))
FORMULA(copy, x)

const struct ref_op ref_pointwise[] = {
    {"add", add},
    {"sub", sub},
    {"mul", mul},
    {"div", divide},
    {"pow", power},
    {"max", max2},
    {"min", min2},
    {"neg", neg},
    {"abs", absolute},
    {"exp", exponential},
    {"log", logarithm},
    {"sqrt", root},
    {"square", square},
    {"add_scalar", add_scalar},
    {"scale", scale},
    {"clamp", clamp},
    {"equal", equal},
    {"not_equal", not_equal},
    {"less", less},
    {"less_equal", less_equal},
    {"greater", greater},
    {"greater_equal", greater_equal},
    {"select", choose},
    {"cast_int32", cut},
    {"cast_real", copy},
    {NULL, NULL},
};
