// quern bench conv: convolutions and their two gradients, beside the device's
// rate of multiply-adds.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

enum pass { FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT, PASSES };
static const char *const pass_names[PASSES] = {"forward", "input_gradient",
                                               "weight_gradient"};

struct conv {
    int64_t n, c, h, w; // images
    int64_t o, kernel, stride, groups, padding;
    int64_t p, q; // of the result
    enum pass pass;
};

// The three of the net `cnn`; those of resnet20; of lenet5; 1x1; depthwise.
static const char default_convs[] =
    "3x32x32-32k3,32x32x32-64k3,64x16x16-128k3,"
    "3x32x32-16k3,16x32x32-16k3,16x32x32-32k3s2,32x16x16-32k3,"
    "32x16x16-64k3s2,64x8x8-64k3,"
    "1x28x28-6k5,6x14x14-16k5p0,"
    "64x32x32-64k1,128x16x16-128k1,64x32x32-128k1s2,"
    "64x32x32-64k3g64,64x32x32-64k3s2g64";

static const int64_t MAX_EXTENT = 65536;

// ---- shapes ----

static const char *convs_of(const struct bench *bench)
{
    return bench->convs ? bench->convs : default_convs;
}

// A number from `least` on at *text, which is moved behind it.
static bool read_number(const char **text, int64_t least, int64_t *number)
{
    char *end;
    if (**text < '0' || **text > '9')
        return false;
    *number = strtoll(*text, &end, 10);
    *text = end;
    return *number >= least && *number <= MAX_EXTENT;
}

static bool read_all(const char *text, struct conv *conv)
{
    const struct {
        char sign; // before the number; 0: none
        int64_t *number;
    } needed[] = {{0, &conv->c}, {'x', &conv->h}, {'x', &conv->w},
                  {'-', &conv->o}, {'k', &conv->kernel}};
    for (int i = 0; i < 5; i++)
        if ((needed[i].sign && *text++ != needed[i].sign) ||
            !read_number(&text, 1, needed[i].number))
            return false;
    conv->padding = conv->kernel / 2;
    while (*text && *text != ',') {
        const char sign = *text++;
        int64_t *number = sign == 's'   ? &conv->stride
                          : sign == 'g' ? &conv->groups
                          : sign == 'p' ? &conv->padding
                                        : NULL;
        if (!number || !read_number(&text, sign != 'p', number))
            return false;
    }
    return true;
}

// "16x32x32-32k3s2" up to a comma or the end: images of C x H x W, filters,
// their size; stride, groups and padding where they are not 1, 1 and half the
// size.
static bool parse_conv(const char *text, int64_t n, struct conv *conv)
{
    *conv = (struct conv){.n = n, .stride = 1, .groups = 1};
    if (!read_all(text, conv) || conv->c % conv->groups != 0 ||
        conv->o % conv->groups != 0 ||
        conv->kernel > conv->h + 2 * conv->padding ||
        conv->kernel > conv->w + 2 * conv->padding)
        return false;
    const int64_t more = 2 * conv->padding - conv->kernel;
    conv->p = (conv->h + more) / conv->stride + 1;
    conv->q = (conv->w + more) / conv->stride + 1;
    return true;
}

int check_conv(const struct bench *bench)
{
    struct conv conv;
    char one[64];
    for (const char *at = convs_of(bench); at;
         at = next_name(at, one, sizeof one))
        if (!parse_conv(at, 1, &conv)) {
            next_name(at, one, sizeof one);
            return usage_error(bench->command,
                               "--convs: %s is no CxHxW-FkK such as "
                               "3x32x32-16k5 for 16 filters of 5x5 that fit "
                               "(then s2, g3, p0 for stride, groups that "
                               "divide C and F, padding)", one);
        }
    return EXIT_DONE;
}

// ---- a convolution ----

static qn_status build(const struct conv *v, const struct bench *bench,
                       struct work *work, qn_error *error)
{
    if (work_begin(work, error) != QN_OK)
        return error->status;
    const int64_t s = v->stride, pad = v->padding;
    qn_node *x = work_tensor(work, "x", qn_shape_of(v->n, v->c, v->h, v->w));
    qn_node *w = work_tensor(
        work, "w", qn_shape_of(v->o, v->c / v->groups, v->kernel, v->kernel));
    const struct qn_conv2d_params params = {
        .stride = {s, s}, .low = {pad, pad}, .high = {pad, pad},
        .dilation = {1, 1}, .groups = v->groups};
    qn_node *y = qn_conv2d(work->graph, x, w, &params);
    if (v->pass == INPUT_GRADIENT)
        y = work_gradient(work, y, x);
    else if (v->pass == WEIGHT_GRADIENT)
        y = work_gradient(work, y, w);
    return work_bind(work, bench, &y, 1, error);
}

// Tensors by their place in the store: as they are declared.
enum { X, W };

static double x_at(const struct conv *v, int64_t n, int64_t c, int64_t row,
                   int64_t column)
{
    if (row < 0 || row >= v->h || column < 0 || column >= v->w)
        return 0;
    return work_value(X, ((n * v->c + c) * v->h + row) * v->w + column);
}

static double w_at(const struct conv *v, int64_t o, int64_t i, int64_t a,
                   int64_t b)
{
    return work_value(
        W, ((o * (v->c / v->groups) + i) * v->kernel + a) * v->kernel + b);
}

static double dy_at(const struct conv *v, int64_t n, int64_t o, int64_t p,
                    int64_t q)
{
    return work_value(WORK_DY, ((n * v->o + o) * v->p + p) * v->q + q);
}

static double forward_at(const void *what, int64_t index)
{
    const struct conv *v = what;
    const int64_t q = index % v->q, p = index / v->q % v->p;
    const int64_t o = index / (v->q * v->p) % v->o;
    const int64_t n = index / (v->q * v->p * v->o);
    const int64_t inputs = v->c / v->groups;
    const int64_t first = o / (v->o / v->groups) * inputs;
    double sum = 0;
    for (int64_t i = 0; i < inputs; i++)
        for (int64_t a = 0; a < v->kernel; a++)
            for (int64_t b = 0; b < v->kernel; b++)
                sum += w_at(v, o, i, a, b) *
                       x_at(v, n, first + i, p * v->stride + a - v->padding,
                            q * v->stride + b - v->padding);
    return sum;
}

// The result's row or column that tap `a` takes from `at`, or -1.
static int64_t taken_from(int64_t at, int64_t a, int64_t count,
                          const struct conv *v)
{
    const int64_t shifted = at + v->padding - a;
    if (shifted < 0 || shifted % v->stride != 0)
        return -1;
    return shifted / v->stride < count ? shifted / v->stride : -1;
}

static double input_gradient_at(const void *what, int64_t index)
{
    const struct conv *v = what;
    const int64_t t = index % v->w, s = index / v->w % v->h;
    const int64_t c = index / (v->w * v->h) % v->c;
    const int64_t n = index / (v->w * v->h * v->c);
    const int64_t inputs = v->c / v->groups, outputs = v->o / v->groups;
    const int64_t first = c / inputs * outputs;
    double sum = 0;
    for (int64_t a = 0; a < v->kernel; a++)
        for (int64_t b = 0; b < v->kernel; b++) {
            const int64_t p = taken_from(s, a, v->p, v);
            const int64_t q = taken_from(t, b, v->q, v);
            for (int64_t o = 0; p >= 0 && q >= 0 && o < outputs; o++)
                sum += w_at(v, first + o, c % inputs, a, b) *
                       dy_at(v, n, first + o, p, q);
        }
    return sum;
}

static double weight_gradient_at(const void *what, int64_t index)
{
    const struct conv *v = what;
    const int64_t inputs = v->c / v->groups;
    const int64_t b = index % v->kernel, a = index / v->kernel % v->kernel;
    const int64_t i = index / (v->kernel * v->kernel) % inputs;
    const int64_t o = index / (v->kernel * v->kernel * inputs);
    const int64_t c = o / (v->o / v->groups) * inputs + i;
    double sum = 0;
    for (int64_t n = 0; n < v->n; n++)
        for (int64_t p = 0; p < v->p; p++)
            for (int64_t q = 0; q < v->q; q++)
                sum += dy_at(v, n, o, p, q) *
                       x_at(v, n, c, p * v->stride + a - v->padding,
                            q * v->stride + b - v->padding);
    return sum;
}

static work_reference *const references[PASSES] = {
    forward_at, input_gradient_at, weight_gradient_at};

// All taps are counted, also those that meet the padding.
static double operations_of(const struct conv *v)
{
    return 2.0 * (double)(v->n * v->o * v->p * v->q) *
           (double)(v->c / v->groups * v->kernel * v->kernel);
}

// ---- results ----

static void report(const struct bench *bench, const struct conv *v,
                   const char *shape, const struct work *work,
                   const struct product_time *time, double error)
{
    char kernel[256];
    work_kernel(work, kernel, sizeof kernel);
    if (!bench->json) {
        printf("%-20s %-16s%11.4f%10.1f%9.2f%10.1e  %s\n", shape,
               pass_names[v->pass], 1e3 * time->seconds, time->gflops,
               time->share, error, kernel);
        fflush(stdout);
    }
    json_array_append_new(
        bench->results,
        json_pack("{ss ss ss sI sf sf ss so sf sf si}", "bench", "conv",
                  "shape", shape, "pass", pass_names[v->pass], "batch",
                  (json_int_t)v->n, "seconds", time->seconds, "gflops",
                  time->gflops, "kernel", kernel, "error", json_number(error),
                  "fma_gflops", time->fma_gflops, "fma_share", time->share,
                  "rounds", time->rounds));
}

static int time_one(struct bench *bench, const struct conv *conv,
                    const char *shape, double seconds)
{
    struct work work;
    struct product_time time;
    qn_error error = {0};
    double difference = 0;
    int status = EXIT_DONE;
    if (build(conv, bench, &work, &error) != QN_OK ||
        work_check(&work, references[conv->pass], conv, &difference,
                   &error) != QN_OK)
        status = fail_with(bench->command, &error);
    if (status == EXIT_DONE)
        status = time_product(bench, &work, operations_of(conv), seconds,
                              &time);
    if (status == EXIT_DONE)
        report(bench, conv, shape, &work, &time, difference);
    work_finish(&work);
    return status;
}

int run_conv(struct bench *bench)
{
    struct conv conv;
    char shape[64];
    int count = 0, status = EXIT_DONE;
    for (const char *at = convs_of(bench); at;
         at = next_name(at, shape, sizeof shape))
        count += PASSES;
    if (!bench->json)
        printf("%-20s %-16s%11s%10s%9s%10s  %s\n", "conv CxHxW-FkK", "pass",
               "ms", "GFLOP/s", "of peak", "error", "kernel");
    for (const char *at = convs_of(bench), *next; at; at = next) {
        next = next_name(at, shape, sizeof shape);
        parse_conv(at, bench->batch, &conv);
        for (int pass = 0; pass < PASSES && status == EXIT_DONE; pass++) {
            conv.pass = (enum pass)pass;
            status = time_one(bench, &conv, shape, bench->seconds / count);
        }
    }
    return status;
}
