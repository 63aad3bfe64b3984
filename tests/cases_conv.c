// Cases of convolution and its gradients: kernels, strides, paddings and
// dilations of all kinds, groups, channels and images around the kernels'
// tiles, biases and activations on the store.
//
// Bound: K products and K - 1 sums, each rounded once at half an ulp, in any
// order: (K + 2) / 2 in ulps of 2^-23 of sum |x||w|.
#include "cases.h"

#include <stddef.h>

// Two numbers: vertical, horizontal. Zeros stand for 1 in stride, dilation
// and groups.
struct config {
    int64_t n, c, o, size[2], kernel[2];
    int64_t stride[2], low[2], high[2], dilation[2], groups;
    const char *variant;
    bool is_large; // no gradient
};

static int64_t or_one(int64_t x)
{
    return x ? x : 1;
}

static struct ref_params params_of(const struct config *config)
{
    struct ref_params params = {.groups = or_one(config->groups)};
    for (int i = 0; i < 2; i++) {
        params.stride[i] = or_one(config->stride[i]);
        params.dilation[i] = or_one(config->dilation[i]);
        params.low[i] = config->low[i];
        params.high[i] = config->high[i];
    }
    return params;
}

static struct ref_shape images(int64_t n, int64_t c, const int64_t size[2])
{
    return DIMS(n, c, size[0], size[1]);
}

static struct qn_case make_case(const char *op, const struct config *config,
                                struct ref_shape x, struct ref_shape w,
                                int64_t terms)
{
    return (struct qn_case){
        .op = op,
        .variant = config->variant,
        .in = {{.shape = x}, {.shape = w}},
        .count = 2,
        .params = params_of(config),
        .terms = (double)(terms + 2) / 2,
        .has_grad = true,
    };
}

static struct qn_case conv2d(const struct config *config)
{
    const int64_t depth = config->c / or_one(config->groups);
    return make_case("conv2d", config,
                     images(config->n, config->c, config->size),
                     images(config->o, depth, config->kernel),
                     depth * config->kernel[0] * config->kernel[1]);
}

// The same numbers, `size` being that of the input again.
static struct qn_case conv_transpose2d(const struct config *config)
{
    const int64_t width = config->o / or_one(config->groups);
    return make_case("conv_transpose2d", config,
                     images(config->n, config->c, config->size),
                     images(config->c, width, config->kernel),
                     config->c / or_one(config->groups) * config->kernel[0] *
                         config->kernel[1]);
}

// The gradient of conv2d's weight, from x and dy.
static struct qn_case weight_grad(const struct config *config)
{
    const struct ref_params params = params_of(config);
    int64_t small[2];
    for (int i = 0; i < 2; i++)
        small[i] = (config->size[i] + params.low[i] + params.high[i] -
                    params.dilation[i] * (config->kernel[i] - 1) - 1) /
                       params.stride[i] + 1;
    struct qn_case c =
        make_case("conv2d_weight_grad", config,
                  images(config->n, config->c, config->size),
                  images(config->n, config->o, small),
                  config->n * small[0] * small[1]);
    c.params.shape =
        images(config->o, config->c / params.groups, config->kernel);
    return c;
}

static const struct config configs[] = {
    // n, c, o, size, kernel, stride, low, high, dilation, groups
    {1, 1, 1, {1, 1}, {1, 1}},
    {2, 3, 2, {5, 7}, {1, 1}},
    {1, 1, 1, {3, 3}, {3, 3}},
    {2, 2, 3, {4, 4}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {1, 3, 8, {8, 8}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {2, 4, 9, {7, 9}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {1, 2, 7, {5, 16}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {1, 2, 16, {3, 17}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {2, 5, 17, {4, 15}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {1, 2, 33, {6, 5}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {3, 2, 2, {6, 6}, {5, 5}, {1, 1}, {2, 2}, {2, 2}},
    {1, 2, 3, {9, 6}, {1, 5}, {1, 1}, {0, 2}, {0, 2}},
    {1, 2, 3, {6, 9}, {5, 1}, {1, 1}, {2, 0}, {2, 0}},
    {2, 3, 4, {8, 8}, {2, 2}},
    {1, 3, 4, {7, 6}, {4, 3}},
    {1, 2, 2, {9, 9}, {7, 7}, {1, 1}, {3, 3}, {3, 3}},
    {2, 2, 3, {8, 8}, {3, 3}, {2, 2}, {1, 1}, {1, 1}},
    {2, 2, 3, {7, 9}, {3, 3}, {2, 2}, {1, 1}, {1, 1}},
    {1, 3, 3, {8, 8}, {2, 2}, {2, 2}},
    {2, 3, 2, {8, 8}, {1, 1}, {2, 2}},
    {1, 2, 2, {11, 10}, {3, 3}, {3, 2}},
    {1, 2, 2, {11, 10}, {2, 2}, {3, 4}, {1, 0}, {0, 1}},
    {1, 1, 3, {12, 12}, {4, 4}, {4, 4}},
    {1, 2, 3, {9, 9}, {5, 5}, {2, 3}, {2, 2}, {2, 2}},
    {1, 2, 9, {5, 37}, {3, 3}, {1, 2}, {1, 1}, {1, 1}},
    {1, 2, 2, {6, 6}, {3, 3}, {1, 1}, {2, 2}, {2, 2}},
    {1, 2, 2, {6, 6}, {3, 3}, {1, 1}, {0, 1}, {2, 0}},
    {1, 2, 2, {5, 6}, {2, 2}, {2, 2}, {0, 1}, {1, 1}},
    {1, 1, 2, {3, 3}, {3, 3}, {1, 1}, {5, 4}, {4, 5}},
    {1, 2, 2, {9, 9}, {3, 3}, {1, 1}, {2, 2}, {2, 2}, {2, 2}},
    {1, 2, 3, {8, 10}, {3, 2}, {1, 1}, {0, 0}, {0, 0}, {2, 3}},
    {1, 2, 3, {9, 10}, {3, 3}, {2, 2}, {2, 1}, {1, 2}, {2, 2}},
    {1, 2, 2, {11, 9}, {3, 3}, {2, 3}, {2, 2}, {2, 2}, {3, 2}},
    {1, 2, 2, {9, 9}, {3, 2}, {4, 6}, {1, 2}, {3, 4}, {2, 4}},
    {1, 2, 2, {6, 6}, {1, 1}, {3, 2}, {1, 1}, {1, 1}, {4, 4}},
    {2, 4, 4, {6, 6}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, .groups = 2},
    {1, 6, 9, {5, 5}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, .groups = 3},
    {1, 4, 20, {6, 5}, {2, 2}, {2, 1}, .groups = 2},
    {1, 4, 6, {5, 5}, {1, 1}, .groups = 2},
    {2, 5, 5, {6, 7}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, .groups = 5,
     .variant = "depthwise"},
    {1, 3, 3, {9, 18}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, .groups = 3},
    {1, 3, 6, {7, 7}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, .groups = 3},
    {1, 4, 4, {8, 8}, {5, 5}, {1, 1}, {4, 4}, {4, 4}, {2, 2}, .groups = 4},
    // Enough pixels for two chunks of the weights' gradient.
    {2, 1, 1, {17, 16}, {1, 1}, .variant = "chunks", .is_large = true},
    // Wider than a unit of work.
    {1, 1, 1, {4, 300}, {1, 1}, .variant = "chunks", .is_large = true},
    // Enough whole tiles for a kernel with large ones.
    {1, 2, 64, {16, 16}, {1, 1}, .variant = "whole tiles", .is_large = true},
    {1, 64, 64, {2, 1}, {2, 2}, {1, 1}, {1, 1}, {1, 1},
     .variant = "whole tiles", .is_large = true},
};

static void add_configs(void)
{
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        struct qn_case c = conv2d(&configs[i]);
        c.has_grad = !configs[i].is_large;
        case_add(&c);
        c = weight_grad(&configs[i]);
        c.has_grad = !configs[i].is_large;
        case_add(&c);
    }
}

// The shapes are those of inputs here, so paddings must leave something.
static const struct config transposed[] = {
    {1, 1, 1, {1, 1}, {1, 1}},
    {2, 3, 2, {5, 7}, {1, 1}},
    {1, 2, 3, {4, 4}, {3, 3}},
    {2, 3, 9, {4, 5}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {1, 3, 17, {4, 16}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {1, 2, 2, {5, 5}, {5, 4}, {1, 1}, {2, 1}, {2, 2}},
    {2, 2, 3, {4, 4}, {2, 2}, {2, 2}},
    {1, 3, 4, {4, 5}, {3, 3}, {2, 2}, {1, 1}, {1, 1}},
    {1, 2, 2, {4, 4}, {4, 4}, {2, 2}, {1, 1}, {1, 1}},
    {1, 2, 2, {3, 3}, {5, 5}, {3, 2}, {1, 0}, {0, 1}},
    {1, 2, 3, {3, 4}, {2, 1}, {3, 4}},
    {1, 1, 2, {3, 3}, {4, 4}, {4, 4}},
    {1, 2, 9, {3, 19}, {3, 3}, {1, 2}, {1, 1}, {1, 1}},
    {1, 2, 2, {4, 4}, {3, 3}, {1, 1}, {2, 2}, {2, 2}, {2, 2}},
    {1, 2, 2, {4, 4}, {3, 2}, {2, 3}, {1, 2}, {2, 1}, {3, 2}},
    {1, 2, 2, {4, 4}, {3, 3}, {2, 4}, {1, 1}, {1, 1}, {2, 6}},
    {1, 4, 4, {4, 4}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, .groups = 2},
    {1, 6, 9, {4, 4}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, .groups = 3},
    {2, 3, 3, {4, 4}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, .groups = 3},
    {1, 3, 3, {5, 17}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, .groups = 3},
};

static void add_transposed(void)
{
    for (size_t i = 0; i < sizeof transposed / sizeof *transposed; i++) {
        struct qn_case c = conv_transpose2d(&transposed[i]);
        case_add(&c);
        for (int k = 0; k < 2; k++) {
            const int64_t most = c.params.stride[k] > c.params.dilation[k]
                                     ? c.params.stride[k]
                                     : c.params.dilation[k];
            c.params.output_padding[k] = most - 1;
        }
        if (c.params.output_padding[0] + c.params.output_padding[1])
            case_add(&c);
    }
}

static void add_views(void)
{
    const struct config config = {2, 3, 4, {6, 5}, {3, 3},
                                  {1, 1}, {1, 1}, {1, 1}};
    for (int v = VIEW_TRANSPOSED; v < VIEW_COUNT; v++) {
        struct qn_case c = conv2d(&config);
        c.in[v % 2].view = (enum view)v;
        case_add(&c);
        c = conv_transpose2d(&config);
        c.in[0].view = (enum view)v;
        case_add(&c);
        c = weight_grad(&config);
        c.in[1].view = (enum view)v;
        case_add(&c);
    }
}

// ---- chains ----

#define STEPS(...)                                                         \
    .steps = (const struct step[]){__VA_ARGS__},                           \
    .step_count = sizeof((struct step[]){__VA_ARGS__}) / sizeof(struct step)
#define STEP(name, ...)                                                    \
    {.op = name, .values = {__VA_ARGS__},                                  \
     .count = sizeof((int[]){__VA_ARGS__}) / sizeof(int)}
#define CONV(name, stride_, pad, groups_, ...)                             \
    {.op = name, .values = {__VA_ARGS__}, .count = 2,                      \
     .params = {.stride = {stride_, stride_}, .low = {pad, pad},           \
                .high = {pad, pad}, .dilation = {1, 1},                    \
                .groups = groups_}}

static const struct qn_case chains[] = {
    {.op = "conv2d with bias and relu", .count = 3,
     .in = {OPERAND(2, 2, 4, 5), OPERAND(9, 2, 3, 3), OPERAND(9, 1, 1)},
     STEPS(CONV("conv2d", 1, 1, 1, 0, 1), STEP("add", 3, 2),
           STEP("relu", 4)),
     .ulps = 1, .floor = 700, .has_grad = true},
    {.op = "conv2d with a bias per sample", .count = 3, // no row
     .in = {OPERAND(3, 2, 3, 4), OPERAND(5, 2, 2, 2), OPERAND(3, 1, 1, 1)},
     STEPS(CONV("conv2d", 1, 1, 1, 0, 1), STEP("add", 3, 2)),
     .ulps = 1, .floor = 400, .has_grad = true},
    {.op = "conv2d with a bias per column", .count = 3, // no row
     .in = {OPERAND(1, 2, 5, 5), OPERAND(5, 2, 3, 3), OPERAND(5)},
     STEPS(CONV("conv2d", 1, 1, 1, 0, 1), STEP("add", 3, 2)),
     .ulps = 1, .floor = 400, .has_grad = true},
    {.op = "strided conv2d with bias and relu", .count = 3,
     .in = {OPERAND(1, 2, 7, 5), OPERAND(5, 2, 3, 3), OPERAND(5, 1, 1)},
     STEPS(CONV("conv2d", 2, 1, 1, 0, 1), STEP("add", 3, 2),
           STEP("relu", 4)),
     .ulps = 1, .floor = 700, .has_grad = true},
    {.op = "depthwise conv2d with bias and relu", .count = 3,
     .in = {OPERAND(2, 3, 4, 5), OPERAND(3, 1, 3, 3), OPERAND(3, 1, 1)},
     STEPS(CONV("conv2d", 1, 1, 3, 0, 1), STEP("add", 3, 2),
           STEP("relu", 4)),
     .ulps = 1, .floor = 200, .has_grad = true},
    {.op = "transposed conv2d with bias and relu", .count = 3,
     .in = {OPERAND(1, 2, 3, 4), OPERAND(2, 9, 3, 3), OPERAND(9, 1, 1)},
     STEPS(CONV("conv_transpose2d", 1, 1, 1, 0, 1), STEP("add", 3, 2),
           STEP("relu", 4)),
     .ulps = 1, .floor = 700, .has_grad = true},
    {.op = "strided transposed conv2d with bias", .count = 3,
     .in = {OPERAND(1, 2, 3, 4), OPERAND(2, 5, 3, 3), OPERAND(5, 1, 1)},
     STEPS(CONV("conv_transpose2d", 2, 1, 1, 0, 1), STEP("add", 3, 2),
           STEP("relu", 4)),
     .ulps = 1, .floor = 700, .has_grad = true},
    {.op = "a residual block of conv2d", .count = 5,
     .in = {OPERAND(1, 2, 4, 4), OPERAND(5, 2, 3, 3), OPERAND(5, 1, 1),
            OPERAND(2, 5, 3, 3), OPERAND(2, 1, 1)},
     STEPS(CONV("conv2d", 1, 1, 1, 0, 1), STEP("add", 5, 2),
           STEP("relu", 6), CONV("conv2d", 1, 1, 1, 7, 3), STEP("add", 8, 4),
           STEP("add", 9, 0), STEP("relu", 10)),
     .ulps = 1, .floor = 20000, .has_grad = true, .grad_terms = 4},
};

static void add_chains(void)
{
    for (size_t i = 0; i < sizeof chains / sizeof *chains; i++)
        case_add(&chains[i]);
}

void cases_add_conv(void)
{
    add_configs();
    add_transposed();
    add_views();
    add_chains();
}
