// Functions whose minima are known: classic ones of two variables, a badly
// conditioned quadratic. Knows nothing of the library.
#include "functions.h"

#include <math.h>
#include <stddef.h>

// Rosenbrock 1960: (1 - a)^2 + 100 (b - a^2)^2
double rosenbrock(const double *x, double *g)
{
    double a = 1 - x[0], b = x[1] - x[0] * x[0];
    g[0] = -2 * a - 400 * x[0] * b;
    g[1] = 200 * b;
    return a * a + 100 * b * b;
}

static void rosenbrock_product(const double *x, const double *v, double *hv)
{
    double h00 = 2 - 400 * x[1] + 1200 * x[0] * x[0], h01 = -400 * x[0];
    hv[0] = h00 * v[0] + h01 * v[1];
    hv[1] = h01 * v[0] + 200 * v[1];
}

// Beale 1958: sum (c_i - a (1 - b^i))^2, i = 1 to 3; minimum at (3, 0.5)
static double beale(const double *x, double *g)
{
    static const double c[] = {1.5, 2.25, 2.625};
    double sum = 0, power = 1;
    g[0] = g[1] = 0;
    for (int i = 0; i < 3; i++) {
        double before = power;
        power *= x[1];
        double r = c[i] - x[0] * (1 - power);
        sum += r * r;
        g[0] -= 2 * r * (1 - power);
        g[1] += 2 * r * x[0] * (i + 1) * before;
    }
    return sum;
}

// x' Q D Q x / 2: eigenvalues from 1 to 1e4, evenly in the logarithm; Q mirrors
// at the plane across (1, 2, ..., N).
static void mirror(const double *x, double *out)
{
    double along = 0, square = 0;
    for (int i = 0; i < N; i++) {
        along += (i + 1) * x[i];
        square += (double)(i + 1) * (i + 1);
    }
    for (int i = 0; i < N; i++)
        out[i] = x[i] - 2 * along / square * (i + 1);
}

static void quadratic_product(const double *x, const double *v, double *hv)
{
    double turned[N];
    (void)x;
    mirror(v, turned);
    for (int i = 0; i < N; i++)
        turned[i] *= pow(10, 4.0 * i / (N - 1));
    mirror(turned, hv);
}

static double quadratic(const double *x, double *g)
{
    double sum = 0;
    quadratic_product(x, x, g);
    for (int i = 0; i < N; i++)
        sum += x[i] * g[i] / 2;
    return sum;
}

// x^4 / 4 - x^2 / 2 + 1/4 with y^2: near 0 the curvature is negative.
static double double_well(const double *x, double *g)
{
    g[0] = x[0] * x[0] * x[0] - x[0];
    g[1] = 2 * x[1];
    return pow(x[0] * x[0] - 1, 2) / 4 + x[1] * x[1];
}

// exp overflows: from far away a first trial gives an infinity.
static double steep(const double *x, double *g)
{
    double e = exp(x[0]);
    g[0] = e - 1;
    g[1] = 2 * x[1];
    return e - x[0] - 1 + x[1] * x[1];
}

const struct function functions[FUNCTIONS] = {
    {"Rosenbrock", 2, {-1.2, 1}, rosenbrock, rosenbrock_product},
    {"Beale", 2, {1, 1}, beale, NULL},
    {"quadratic", N, {0}, quadratic, quadratic_product},
    {"double well", 2, {0.1, 1}, double_well, NULL},
    {"steep", 2, {-20, 1}, steep, NULL},
};
