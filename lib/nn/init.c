// Initializers: the table of rows and the one loop that draws. Knows no layer
// and no store.
//
// The draw of element i depends on seed, name and i alone: the key is the
// seed, the counter's upper half the FNV-1a hash of the name, its lower half
// the number of the pair that i belongs to.
#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "base/philox.h"
#include "base/status.h"
#include "quern/nn.h"

static double or_default(double value, double otherwise)
{
    return value != 0 ? value : otherwise;
}

static double zero(const struct qn_init_params *params, double fan_in,
                   double fan_out)
{
    (void)params, (void)fan_in, (void)fan_out;
    return 0;
}

static double given(const struct qn_init_params *params, double fan_in,
                    double fan_out)
{
    (void)fan_in, (void)fan_out;
    return params->value;
}

static double given_or_hundredth(const struct qn_init_params *params,
                                 double fan_in, double fan_out)
{
    (void)fan_in, (void)fan_out;
    return or_default(params->value, 0.01);
}

static double given_or_twentieth(const struct qn_init_params *params,
                                 double fan_in, double fan_out)
{
    (void)fan_in, (void)fan_out;
    return or_default(params->value, 0.05);
}

static double xavier_deviation(const struct qn_init_params *params,
                               double fan_in, double fan_out)
{
    return or_default(params->gain, 1) * sqrt(2 / (fan_in + fan_out));
}

static double xavier_bound(const struct qn_init_params *params, double fan_in,
                           double fan_out)
{
    return sqrt(3) * xavier_deviation(params, fan_in, fan_out);
}

static double kaiming_deviation(const struct qn_init_params *params,
                                double fan_in, double fan_out)
{
    double fan = params->fan == QN_FAN_OUT ? fan_out : fan_in;
    return or_default(params->gain, sqrt(2)) / sqrt(fan);
}

static double kaiming_bound(const struct qn_init_params *params,
                            double fan_in, double fan_out)
{
    return sqrt(3) * kaiming_deviation(params, fan_in, fan_out);
}

#define XAVIER                                                             \
    "Glorot, Bengio: Understanding the difficulty of training deep "       \
    "feedforward neural networks, AISTATS 2010"
#define KAIMING                                                            \
    "He, Zhang, Ren, Sun: Delving deep into rectifiers, ICCV 2015"

static const struct qn_init rows[] = {
    {"zeros", "0", "", QN_CONSTANT, false, zero},
    {"constant", "value", "", QN_CONSTANT, false, given},
    {"normal", "N(0, value^2), value 0.01 by default", "", QN_NORMAL, false,
     given_or_hundredth},
    {"uniform", "U(-value, value), value 0.05 by default", "", QN_UNIFORM,
     false, given_or_twentieth},
    {"xavier_uniform", "U(-b, b), b = gain sqrt(6 / (fan_in + fan_out))",
     XAVIER, QN_UNIFORM, true, xavier_bound},
    {"xavier_normal", "N(0, s^2), s = gain sqrt(2 / (fan_in + fan_out))",
     XAVIER, QN_NORMAL, true, xavier_deviation},
    {"kaiming_uniform",
     "U(-b, b), b = gain sqrt(3 / fan), gain sqrt(2) by default", KAIMING,
     QN_UNIFORM, true, kaiming_bound},
    {"kaiming_normal",
     "N(0, s^2), s = gain / sqrt(fan), gain sqrt(2) by default", KAIMING,
     QN_NORMAL, true, kaiming_deviation},
};
enum { ROW_COUNT = sizeof rows / sizeof *rows };

const struct qn_init *qn_init_at(int index)
{
    return index >= 0 && index < ROW_COUNT ? &rows[index] : NULL;
}

const struct qn_init *qn_init_find(const char *name)
{
    for (int i = 0; i < ROW_COUNT; i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}

// Two independent values of the distribution with spread 1.
static void draw_pair(qn_distribution distribution, const uint32_t key[2],
                      const uint32_t counter[4], double pair[2])
{
    const double turn = 6.283185307179586;
    uint32_t words[4];
    if (distribution == QN_CONSTANT) {
        pair[0] = pair[1] = 1;
        return;
    }
    qn_philox(counter, key, words);
    double u = qn_philox_uniform(words[0], words[1]);
    double v = qn_philox_uniform(words[2], words[3]);
    if (distribution == QN_UNIFORM) {
        pair[0] = 2 * u - 1;
        pair[1] = 2 * v - 1;
    } else { // Box, Muller 1958
        double radius = sqrt(-2 * log(u));
        pair[0] = radius * cos(turn * v);
        pair[1] = radius * sin(turn * v);
    }
}

static void fill(qn_distribution distribution, double spread,
                 const char *name, uint64_t seed, qn_dtype real,
                 int64_t count, void *data)
{
    uint64_t hash = qn_fnv1a(name, strlen(name));
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    for (int64_t i = 0; i < count; i += 2) {
        uint64_t index = (uint64_t)i / 2;
        uint32_t counter[4] = {(uint32_t)index, (uint32_t)(index >> 32),
                               (uint32_t)hash, (uint32_t)(hash >> 32)};
        double pair[2];
        draw_pair(distribution, key, counter, pair);
        for (int64_t k = i; k < count && k < i + 2; k++) {
            double value = spread * pair[k - i];
            if (real == QN_FLOAT64)
                ((double *)data)[k] = value;
            else
                ((float *)data)[k] = (float)value;
        }
    }
}

qn_status qn_init_fill(const struct qn_init_params *params,
                       const qn_shape *shape, qn_dtype real, const char *name,
                       uint64_t seed, void *data, qn_error *error)
{
    QN_REQUIRE(error, shape && name && data);
    QN_REQUIRE(error, real == QN_FLOAT32 || real == QN_FLOAT64);
    // PyTorch's nn.Linear: kaiming_uniform for a leaky slope of sqrt(5).
    struct qn_init_params use = {.gain = sqrt(2.0 / (1 + 5))};
    if (params && params->init)
        use = *params;
    else
        use.init = qn_init_find("kaiming_uniform");
    char text[128];
    if (use.init->needs_fan && shape->rank < 2)
        return qn_fail(error, QN_BAD_SHAPE,
                       "%s for \"%s\": a tensor of shape %s has no fan_in and "
                       "fan_out; it needs two dimensions or more",
                       use.init->name, name,
                       qn_shape_text(shape, text, sizeof text));
    double fan_in = 1, fan_out = 1;
    for (int i = 0; i < shape->rank; i++) {
        fan_in *= i != 0 ? (double)shape->dims[i] : 1;
        fan_out *= i != 1 ? (double)shape->dims[i] : 1;
    }
    double spread = use.init->spread(&use, fan_in, fan_out);
    fill(use.init->distribution, spread, name, seed, real,
         qn_shape_count(shape), data);
    return QN_OK;
}
