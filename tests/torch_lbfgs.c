// Reads golden/lbfgs.json; the net in double, written out.
#include "torch_lbfgs.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "qn_check.h"

static json_t *file;
static double start[TORCH_COUNT], x[TORCH_SAMPLES][2], y[TORCH_SAMPLES];

static void read_numbers(const json_t *from, double *to, size_t count)
{
    ck_assert_uint_eq(json_array_size(from), count);
    for (size_t i = 0; i < count; i++)
        to[i] = json_number_value(json_array_get(from, i));
}

static void open_file(void)
{
    json_error_t fault;
    if (file)
        return;
    file = json_load_file(TESTS_FOLDER "/golden/lbfgs.json", 0, &fault);
    ck_assert_msg(file != NULL, "lbfgs.json: %s", fault.text);
    read_numbers(json_object_get(file, "start"), start, TORCH_COUNT);
    read_numbers(json_object_get(file, "y"), y, TORCH_SAMPLES);
    for (size_t i = 0; i < TORCH_SAMPLES; i++)
        read_numbers(json_array_get(json_object_get(file, "x"), i), x[i], 2);
}

bool torch_run_at(int index, struct torch_run *run)
{
    open_file();
    const json_t *json = json_array_get(
        json_object_get(file, "trajectories"), (size_t)index);
    if (!json)
        return false;
    const json_t *points = json_object_get(json, "points");
    run->text = json_string_value(json_object_get(json, "text"));
    run->lr = json_number_value(json_object_get(json, "lr"));
    ck_assert_uint_eq(json_array_size(points), TORCH_ITERATIONS);
    for (size_t i = 0; i < TORCH_ITERATIONS; i++)
        read_numbers(json_array_get(points, i), run->points[i],
                     1 + TORCH_COUNT);
    return true;
}

const double *torch_start(void)
{
    open_file();
    return start;
}

const double *torch_x(void)
{
    open_file();
    return x[0];
}

const double *torch_y(void)
{
    open_file();
    return y;
}

qn_status evaluate_torch(void *user, const double *p, double *loss, double *g,
                         qn_error *error)
{
    (void)user;
    (void)error;
    open_file();
    memset(g, 0, TORCH_COUNT * sizeof *g);
    *loss = 0;
    for (int k = 0; k < TORCH_SAMPLES; k++) {
        double h[3], sum = p[12];
        for (int i = 0; i < 3; i++) {
            h[i] = 1 / (1 + exp(-(p[2 * i] * x[k][0] +
                                  p[2 * i + 1] * x[k][1] + p[6 + i])));
            sum += p[9 + i] * h[i];
        }
        double out = 1 / (1 + exp(-sum)), fault = out - y[k];
        *loss += fault * fault / TORCH_SAMPLES;
        double d = 2 * fault / TORCH_SAMPLES * out * (1 - out);
        g[12] += d;
        for (int i = 0; i < 3; i++) {
            double dh = d * p[9 + i] * h[i] * (1 - h[i]);
            g[9 + i] += d * h[i];
            g[6 + i] += dh;
            g[2 * i] += dh * x[k][0];
            g[2 * i + 1] += dh * x[k][1];
        }
    }
    return QN_OK;
}
