// See small_net.h.
#include "small_net.h"

#include <math.h>
#include <string.h>

// ---- 2-3-1 ----

enum { DENSE_SAMPLES = 8, HIDDEN = 3 };

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static void dense_gradient(const double *p, const double *x,
                           const double *target, double *g)
{
    const double *w1 = p, *b1 = p + 6, *w2 = p + 9, b2 = p[12];
    memset(g, 0, 13 * sizeof *g);
    for (int n = 0; n < DENSE_SAMPLES; n++, x += 2) {
        double h[HIDDEN], z = b2;
        for (int j = 0; j < HIDDEN; j++) {
            h[j] = sigmoid(w1[2 * j] * x[0] + w1[2 * j + 1] * x[1] + b1[j]);
            z += w2[j] * h[j];
        }
        double y = sigmoid(z);
        double dz = 2 * (y - target[n]) / DENSE_SAMPLES * y * (1 - y);
        g[12] += dz;
        for (int j = 0; j < HIDDEN; j++) {
            double dh = dz * w2[j] * h[j] * (1 - h[j]);
            g[9 + j] += dz * h[j];
            g[6 + j] += dh;
            g[2 * j] += dh * x[0];
            g[2 * j + 1] += dh * x[1];
        }
    }
}

const struct small_net small_dense = {
    .name = "net",
    .model = "{\"layers\": [{\"type\": \"dense\", \"units\": 3},"
             "{\"type\": \"sigmoid\"}, {\"type\": \"dense\", \"units\": 1},"
             "{\"type\": \"sigmoid\"}]}",
    .loss = "mean_squared",
    .features = {2},
    .samples = DENSE_SAMPLES,
    .sizes = {6, 3, 3, 1},
    .units = {3, 0, 1, 0},
    .count = 13,
    .gradient = dense_gradient,
};

// ---- convolutional ----

enum {
    CONV_SAMPLES = 5,
    SIDE = 6,
    FILTERS = 2,
    KERNEL = 3,
    OUT = 4,
    POOLED = 2,
    CLASSES = 3,
    POOLED_COUNT = FILTERS * POOLED * POOLED,
};

struct conv_parts {
    double filters[FILTERS][KERNEL][KERNEL];
    double filter_bias[FILTERS];
    double weight[CLASSES][POOLED_COUNT];
    double bias[CLASSES];
};
_Static_assert(sizeof(struct conv_parts) == SMALL_PARAMETERS * sizeof(double),
               "no gaps");

struct conv_state {
    double y[FILTERS][OUT][OUT]; // after tanh
    double pooled[POOLED_COUNT];
    double shares[CLASSES]; // softmax
};

static int pooled_at(int f, int i, int j)
{
    return (f * POOLED + i / 2) * POOLED + j / 2;
}

static void conv_forward(const struct conv_parts *p, const double *x,
                         struct conv_state *s)
{
    double sum = 0;
    memset(s, 0, sizeof *s);
    for (int f = 0; f < FILTERS; f++)
        for (int i = 0; i < OUT; i++)
            for (int j = 0; j < OUT; j++) {
                double z = p->filter_bias[f];
                for (int a = 0; a < KERNEL; a++)
                    for (int b = 0; b < KERNEL; b++)
                        z += p->filters[f][a][b] * x[(i + a) * SIDE + j + b];
                s->y[f][i][j] = tanh(z);
                s->pooled[pooled_at(f, i, j)] += s->y[f][i][j] / 4;
            }
    for (int k = 0; k < CLASSES; k++) {
        double z = p->bias[k];
        for (int c = 0; c < POOLED_COUNT; c++)
            z += p->weight[k][c] * s->pooled[c];
        sum += s->shares[k] = exp(z);
    }
    for (int k = 0; k < CLASSES; k++)
        s->shares[k] /= sum;
}

// Adds one sample's part to g.
static void conv_backward(const struct conv_parts *p, const double *x,
                          int label, const struct conv_state *s,
                          struct conv_parts *g)
{
    double dpooled[POOLED_COUNT] = {0};
    for (int k = 0; k < CLASSES; k++) {
        double dz = (s->shares[k] - (k == label)) / CONV_SAMPLES;
        g->bias[k] += dz;
        for (int c = 0; c < POOLED_COUNT; c++) {
            g->weight[k][c] += dz * s->pooled[c];
            dpooled[c] += dz * p->weight[k][c];
        }
    }
    for (int f = 0; f < FILTERS; f++)
        for (int i = 0; i < OUT; i++)
            for (int j = 0; j < OUT; j++) {
                double y = s->y[f][i][j];
                double dz = dpooled[pooled_at(f, i, j)] / 4 * (1 - y * y);
                g->filter_bias[f] += dz;
                for (int a = 0; a < KERNEL; a++)
                    for (int b = 0; b < KERNEL; b++)
                        g->filters[f][a][b] +=
                            dz * x[(i + a) * SIDE + j + b];
            }
}

static void conv_gradient(const double *p, const double *x,
                          const double *target, double *g)
{
    struct conv_parts parts, sum = {0};
    struct conv_state state;
    memcpy(&parts, p, sizeof parts);
    for (int n = 0; n < CONV_SAMPLES; n++, x += SIDE * SIDE) {
        conv_forward(&parts, x, &state);
        conv_backward(&parts, x, (int)target[n], &state, &sum);
    }
    memcpy(g, &sum, sizeof sum);
}

const struct small_net small_conv = {
    .name = "conv",
    .model = "{\"layers\": [{\"type\": \"conv\", \"filters\": 2,"
             "\"kernel\": 3, \"padding\": 0}, {\"type\": \"tanh\"},"
             "{\"type\": \"avgpool\"}, {\"type\": \"dense\", \"units\": 3}]}",
    .loss = "softmax_cross_entropy",
    .features = {1, SIDE, SIDE},
    .samples = CONV_SAMPLES,
    .sizes = {18, 2, 24, 3},
    .units = {2, 0, 3, 0},
    .count = SMALL_PARAMETERS,
    .gradient = conv_gradient,
};
