#include "ulp.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

float ulp_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

double ulp_distance(float got, double want, double magnitude)
{
    const float rounded = (float)want;
    if (got == rounded)
        return 0;
    if (isnan(want) || isnan(got))
        return isnan(want) && isnan(got) ? 0 : HUGE_VAL;
    if (fabs(want) < (double)FLT_MIN && got == 0)
        return 0;
    if (isinf(got) || isinf(want))
        return HUGE_VAL;
    int exponent;
    frexp(magnitude, &exponent);
    if (exponent < FLT_MIN_EXP)
        exponent = FLT_MIN_EXP;
    if (exponent > FLT_MAX_EXP)
        exponent = FLT_MAX_EXP;
    return fabs((double)got - want) * ldexp(1, FLT_MANT_DIG - exponent);
}

double ulp_flush(double value)
{
    return fabs(value) < (double)FLT_MIN ? copysign(0, value) : value;
}

void ulp_report(const char *file, const char *op, double ulps, double bound,
                int64_t inputs)
{
    FILE *out = file ? fopen(file, "a") : NULL;
    if (!file)
        return;
    if (!out) {
        perror(file);
        exit(1);
    }
    fprintf(out,
            "{\"op\": \"%s\", \"ulps\": %.3f, \"bound\": %g, "
            "\"inputs\": %lld}\n",
            op, ulps, bound, (long long)inputs);
    fclose(out);
}
