#include "ulp.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/device.h"
#include "qn_check.h"

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

// A name as JSON has it; quotes and backslashes are left out.
static void print_name(FILE *out, const char *name)
{
    for (; *name; name++)
        if ((unsigned char)*name >= ' ' && *name != '"' && *name != '\\')
            putc(*name, out);
}

void ulp_report(const char *file, const struct ulp_result *result)
{
    qn_device *device = qn_check_device();
    const bool is_cpu = qn_device_limits(device)->variant == QN_VARIANT_CPU;
    FILE *out = fopen(file, "a");
    if (!out) {
        perror(file);
        exit(1);
    }
    fprintf(out,
            "{\"op\": \"%s\", \"terms\": %lld, \"ulps\": %.3f, "
            "\"bound\": %g, \"inputs\": %lld, \"variant\": \"%s\", "
            "\"device\": \"",
            result->op, (long long)result->terms, result->ulps, result->bound,
            (long long)result->inputs, is_cpu ? "cpu" : "gpu");
    print_name(out, qn_device_describe(device)->name);
    fputs("\"}\n", out);
    fclose(out);
}
