// Initializers: the table of rows, the loop that draws, and orthogonal
// matrices. Knows no layer and no store.
//
// The draw of element i depends on seed, name and i alone: the key is the
// seed, the counter's upper half the FNV-1a hash of the name, its lower half
// the number of the pair that i belongs to.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/philox.h"
#include "base/status.h"
#include "nn/json.h"
#include "quern/nn.h"

#define SQRT_2 1.4142135623730951

#define XAVIER                                                             \
    "Glorot, Bengio: Understanding the difficulty of training deep "       \
    "feedforward neural networks, AISTATS 2010"
#define KAIMING                                                            \
    "He, Zhang, Ren, Sun: Delving deep into rectifiers, ICCV 2015"
#define LECUN                                                              \
    "LeCun, Bottou, Orr, Mueller: Efficient BackProp, 1998"
#define ORTHOGONAL                                                         \
    "Saxe, McClelland, Ganguli: Exact solutions to the nonlinear dynamics " \
    "of learning in deep linear neural networks, ICLR 2014"

#define FAN_ROW .needs_fan = true, .gain = 1
#define VALUE_ROW .source = "", .takes_value = true

static const struct qn_init rows[] = {
    {.name = "zeros", .formula = "0", .source = "",
     .distribution = QN_CONSTANT},
    {.name = "ones", .formula = "1", .source = "",
     .distribution = QN_CONSTANT, .value = 1},
    {.name = "constant", .formula = "value", VALUE_ROW,
     .distribution = QN_CONSTANT},
    {.name = "normal", .formula = "N(0, value^2), value 0.01 by default",
     VALUE_ROW, .distribution = QN_NORMAL, .value = 0.01},
    {.name = "small_normal", .formula = "N(0, 0.01^2)", .source = "",
     .distribution = QN_NORMAL, .value = 0.01},
    {.name = "large_normal", .formula = "N(0, 1)", .source = "",
     .distribution = QN_NORMAL, .value = 1},
    {.name = "uniform", .formula = "U(-value, value), value 0.05 by default",
     VALUE_ROW, .distribution = QN_UNIFORM, .value = 0.05},
    {.name = "xavier_uniform", .alias = "glorot_uniform",
     .formula = "U(-b, b), b = gain sqrt(3 / fan), fan average by default: "
                "gain sqrt(6 / (fan_in + fan_out))",
     .source = XAVIER, .distribution = QN_UNIFORM, FAN_ROW,
     .fan = QN_FAN_AVERAGE},
    {.name = "xavier_normal", .alias = "glorot_normal",
     .formula = "N(0, s^2), s = gain / sqrt(fan), fan average by default: "
                "gain sqrt(2 / (fan_in + fan_out))",
     .source = XAVIER, .distribution = QN_NORMAL, FAN_ROW,
     .fan = QN_FAN_AVERAGE},
    {.name = "kaiming_uniform", .alias = "he_uniform",
     .formula = "U(-b, b), b = gain sqrt(3 / fan), gain sqrt(2), fan in by "
                "default",
     .source = KAIMING, .distribution = QN_UNIFORM, .needs_fan = true,
     .gain = SQRT_2, .fan = QN_FAN_IN},
    {.name = "kaiming_normal", .alias = "he_normal",
     .formula = "N(0, s^2), s = gain / sqrt(fan), gain sqrt(2), fan in by "
                "default",
     .source = KAIMING, .distribution = QN_NORMAL, .needs_fan = true,
     .gain = SQRT_2, .fan = QN_FAN_IN},
    {.name = "lecun_uniform",
     .formula = "U(-b, b), b = gain sqrt(3 / fan), gain 1, fan in by default",
     .source = LECUN, .distribution = QN_UNIFORM, FAN_ROW, .fan = QN_FAN_IN},
    {.name = "lecun_normal",
     .formula = "N(0, s^2), s = gain / sqrt(fan), gain 1, fan in by default",
     .source = LECUN, .distribution = QN_NORMAL, FAN_ROW, .fan = QN_FAN_IN},
    {.name = "orthogonal",
     .formula = "gain Q, Q as [out, rest] uniform among the matrices with "
                "orthonormal rows (columns where there are more rows)",
     .source = ORTHOGONAL, .distribution = QN_ORTHOGONAL, FAN_ROW,
     .fan = QN_FAN_IN},
};
enum { ROW_COUNT = sizeof rows / sizeof *rows };

const struct qn_init *qn_init_at(int index)
{
    return index >= 0 && index < ROW_COUNT ? &rows[index] : NULL;
}

const struct qn_init *qn_init_find(const char *name)
{
    for (int i = 0; i < ROW_COUNT; i++)
        if (strcmp(rows[i].name, name) == 0 ||
            (rows[i].alias && strcmp(rows[i].alias, name) == 0))
            return &rows[i];
    return NULL;
}

// ---- gains ----

static qn_status leaky_gain(const char *slope_text, double *gain,
                            qn_error *error)
{
    double slope = 0.01;
    bool is_integer;
    if (*slope_text &&
        !(*slope_text == ':' &&
          qn_json_parse_number(slope_text + 1, &slope, &is_integer)))
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "\"leaky_relu%.60s\" has no slope; write it as "
                       "leaky_relu:0.2",
                       slope_text);
    *gain = sqrt(2 / (1 + slope * slope));
    return QN_OK;
}

qn_status qn_init_gain(const char *activation, double *gain, qn_error *error)
{
    static const char leaky[] = "leaky_relu";
    static const struct {
        const char *activation;
        double gain;
    } known[] = {
        {"linear", 1}, {"sigmoid", 1},   {"tanh", 5.0 / 3},
        {"relu", SQRT_2}, {"selu", 0.75},
    };
    QN_REQUIRE(error, activation && gain);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(activation, known[i].activation) == 0) {
            *gain = known[i].gain;
            return QN_OK;
        }
    if (strncmp(activation, leaky, sizeof leaky - 1) == 0)
        return leaky_gain(activation + sizeof leaky - 1, gain, error);
    return qn_fail(error, QN_BAD_ARGUMENT,
                   "no gain is known for \"%.60s\"; give a number, or linear, "
                   "sigmoid, tanh, relu, selu or leaky_relu:SLOPE",
                   activation);
}

// ---- draws ----

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

static void store(double value, qn_dtype real, int64_t i, void *data)
{
    if (real == QN_FLOAT64)
        ((double *)data)[i] = value;
    else
        ((float *)data)[i] = (float)value;
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
        for (int64_t k = i; k < count && k < i + 2; k++)
            store(spread * pair[k - i], real, k, data);
    }
}

// ---- orthogonal matrices ----

// In a fixed order that compilers can do eight at a time.
static double dot(const double *x, const double *y, int64_t count)
{
    enum { LANES = 8 };
    double sums[LANES] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (int k = 0; k < LANES; k++)
            sums[k] += x[i + k] * y[i + k];
    for (; i < count; i++)
        sum += x[i] * y[i];
    for (int k = 0; k < LANES; k++)
        sum += sums[k];
    return sum;
}

static void add_scaled(double *y, double factor, const double *x,
                       int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        y[i] += factor * x[i];
}

// Makes the `count` vectors of `width` orthonormal, count <= width. Those are
// the rows of Q in the QR decomposition of the transposed matrix whose R has a
// positive diagonal: of a matrix of normal values, Q is uniform (Mezzadri: How
// to generate random matrices from the classical compact groups, 2007). Where
// a vector loses much of its length, it is projected again (Daniel, Gragg,
// Kaufman, Stewart: Reorthogonalization, 1976).
static void orthonormalize(double *vectors, int64_t count, int64_t width)
{
    for (int64_t i = 0; i < count; i++) {
        double *v = vectors + i * width;
        double before, after = dot(v, v, width);
        do {
            before = after;
            for (int64_t k = 0; k < i; k++) {
                const double *q = vectors + k * width;
                add_scaled(v, -dot(q, v, width), q, width);
            }
            after = dot(v, v, width);
        } while (i > 0 && after < 0.5 * before);
        for (int64_t k = 0; k < width; k++)
            v[k] /= sqrt(after);
    }
}

// y[columns][rows] = x[rows][columns]
static void transpose(const double *x, int64_t row_count, int64_t column_count,
                      double *y)
{
    for (int64_t i = 0; i < row_count; i++)
        for (int64_t k = 0; k < column_count; k++)
            y[k * row_count + i] = x[i * column_count + k];
}

// A tensor [out, ...] as [out, rest].
static qn_status fill_orthogonal(double gain, const qn_shape *shape,
                                 const char *name, uint64_t seed,
                                 qn_dtype real, void *data, qn_error *error)
{
    int64_t count = qn_shape_count(shape), out = shape->dims[0], rest = 1;
    for (int i = 1; i < shape->rank; i++)
        rest *= shape->dims[i];
    size_t size = (size_t)count * sizeof(double);
    double *drawn = malloc(2 * size), *turned = drawn + count;
    if (!drawn)
        return qn_fail_memory(error, 2 * size);
    fill(QN_NORMAL, 1, name, seed, QN_FLOAT64, count, drawn);
    if (out > rest) {
        transpose(drawn, out, rest, turned);
        orthonormalize(turned, rest, out);
        transpose(turned, rest, out, drawn);
    } else {
        orthonormalize(drawn, out, rest);
    }
    for (int64_t i = 0; i < count; i++)
        store(gain * drawn[i], real, i, data);
    free(drawn);
    return QN_OK;
}

// ---- filling ----

static double find_fan(const qn_shape *shape, qn_fan fan)
{
    double fan_in = 1, fan_out = 1;
    for (int i = 0; i < shape->rank; i++) {
        fan_in *= i != 0 ? (double)shape->dims[i] : 1;
        fan_out *= i != 1 ? (double)shape->dims[i] : 1;
    }
    return fan == QN_FAN_IN    ? fan_in
           : fan == QN_FAN_OUT ? fan_out
                               : (fan_in + fan_out) / 2;
}

// Value, half width or deviation.
static double find_spread(const struct qn_init_params *params, double gain,
                          const qn_shape *shape)
{
    const struct qn_init *init = params->init;
    if (!init->needs_fan)
        return init->takes_value && params->value != 0 ? params->value
                                                       : init->value;
    double fan = find_fan(shape, params->fan ? params->fan : init->fan);
    double deviation = gain / sqrt(fan);
    return init->distribution == QN_UNIFORM ? sqrt(3) * deviation : deviation;
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
    double gain = use.gain != 0 ? use.gain : use.init->gain;
    if (use.init->distribution == QN_ORTHOGONAL)
        return fill_orthogonal(gain, shape, name, seed, real, data, error);
    fill(use.init->distribution, find_spread(&use, gain, shape), name, seed,
         real, qn_shape_count(shape), data);
    return QN_OK;
}
