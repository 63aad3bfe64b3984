// quern bench gemm: matrix products, beside the device's rate of multiply-adds.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

struct product {
    int64_t m, k, n;
    bool trans_a, trans_b;
};

// Squares; the layers of an MLP with 784, 512 and 10 units at 128 samples,
// forward with weights [in, out] and [out, in], and their weight gradients;
// convolutions as products.
static const char default_shapes[] =
    "64x64x64,128x128x128,256x256x256,512x512x512,1024x1024x1024,"
    "2048x2048x2048,128x784x512,128x784x512nt,128x512x512,128x512x512nt,"
    "128x512x10,128x512x10nt,784x128x512tn,512x128x512tn,512x128x10tn,"
    "64x27x131072,128x576x32768,64x288x131072";

static const int64_t MAX_SIDE = INT64_C(1) << 24;

// ---- shapes ----

static const char *shapes_of(const struct bench *bench)
{
    return bench->shapes ? bench->shapes : default_shapes;
}

// "128x784x512nt" up to a comma or the end.
static bool parse_product(const char *text, struct product *product)
{
    int64_t *const sides[] = {&product->m, &product->k, &product->n};
    *product = (struct product){0};
    for (int i = 0; i < 3; i++) {
        char *end;
        if (*text < '1' || *text > '9')
            return false;
        *sides[i] = strtoll(text, &end, 10);
        if (*sides[i] > MAX_SIDE || (i < 2 && *end != 'x'))
            return false;
        text = end + (i < 2);
    }
    if (*text && *text != ',') {
        if (!strchr("nt", text[0]) || !text[1] || !strchr("nt", text[1]))
            return false;
        product->trans_a = text[0] == 't';
        product->trans_b = text[1] == 't';
        text += 2;
    }
    return !*text || *text == ',';
}

int check_gemm(const struct bench *bench)
{
    struct product product;
    char one[64];
    for (const char *at = shapes_of(bench); at;
         at = next_name(at, one, sizeof one))
        if (!parse_product(at, &product)) {
            next_name(at, one, sizeof one);
            return usage_error(bench->command,
                               "--shapes: %s is no MxKxN such as 128x784x512 "
                               "or, with the second matrix transposed, "
                               "128x784x512nt", one);
        }
    return EXIT_DONE;
}

// ---- a product ----

static qn_status build(const struct product *p, const struct bench *bench,
                       struct work *work, qn_error *error)
{
    if (work_begin(work, error) != QN_OK)
        return error->status;
    qn_node *a = work_tensor(work, "a", p->trans_a ? qn_shape_of(p->k, p->m)
                                                   : qn_shape_of(p->m, p->k));
    qn_node *b = work_tensor(work, "b", p->trans_b ? qn_shape_of(p->n, p->k)
                                                   : qn_shape_of(p->k, p->n));
    qn_node *c = qn_matmul(work->graph, a, b,
                           qn_matmul_params(p->trans_a, p->trans_b));
    return work_bind(work, bench, &c, 1, error);
}

static double reference(const void *what, int64_t index)
{
    const struct product *p = what;
    const int64_t i = index / p->n, j = index % p->n;
    double sum = 0;
    for (int64_t l = 0; l < p->k; l++) {
        const float a = work_value(0, p->trans_a ? l * p->m + i
                                                 : i * p->k + l);
        const float b = work_value(1, p->trans_b ? j * p->k + l
                                                 : l * p->n + j);
        sum += (double)a * b;
    }
    return sum;
}

// ---- results ----

static void report(const struct bench *bench, const struct product *p,
                   const struct work *work, const struct product_time *time,
                   double error)
{
    char kernel[256], shape[80];
    work_kernel(work, kernel, sizeof kernel);
    snprintf(shape, sizeof shape, "%lldx%lldx%lld %c%c", (long long)p->m,
             (long long)p->k, (long long)p->n, p->trans_a ? 't' : 'n',
             p->trans_b ? 't' : 'n');
    if (!bench->json) {
        printf("%-20s%12.4f%10.1f%9.2f%10.1e  %s\n", shape,
               1e3 * time->seconds, time->gflops, time->share, error, kernel);
        fflush(stdout);
    }
    json_array_append_new(
        bench->results,
        json_pack("{ss sI sI sI sb sb sf sf ss so sf sf si}", "bench", "gemm",
                  "m", (json_int_t)p->m, "n", (json_int_t)p->n, "k",
                  (json_int_t)p->k, "trans_a", p->trans_a, "trans_b",
                  p->trans_b, "seconds", time->seconds, "gflops",
                  time->gflops, "kernel", kernel, "error", json_number(error),
                  "fma_gflops", time->fma_gflops, "fma_share", time->share,
                  "rounds", time->rounds));
}

static int time_one(struct bench *bench, const struct product *product,
                    double seconds)
{
    struct work work;
    struct product_time time;
    qn_error error = {0};
    double difference = 0;
    int status = EXIT_DONE;
    if (build(product, bench, &work, &error) != QN_OK ||
        work_check(&work, reference, product, &difference, &error) != QN_OK)
        status = fail_with(bench->command, &error);
    if (status == EXIT_DONE)
        status = time_product(bench, &work,
                              2.0 * (double)product->m * (double)product->k *
                                  (double)product->n, seconds, &time);
    if (status == EXIT_DONE)
        report(bench, product, &work, &time, difference);
    work_finish(&work);
    return status;
}

int run_gemm(struct bench *bench)
{
    struct product product;
    char one[64];
    int count = 0, status = EXIT_DONE;
    for (const char *at = shapes_of(bench); at;
         at = next_name(at, one, sizeof one))
        count++;
    if (!bench->json)
        printf("%-20s%12s%10s%9s%10s  %s\n", "gemm MxKxN", "ms", "GFLOP/s",
               "of peak", "error", "kernel");
    for (const char *at = shapes_of(bench); at && status == EXIT_DONE;
         at = next_name(at, one, sizeof one)) {
        parse_product(at, &product);
        status = time_one(bench, &product, bench->seconds / count);
    }
    return status;
}
