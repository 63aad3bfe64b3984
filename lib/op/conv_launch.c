// Convolution: the launches that carry it out. Knows no device, only its
// limits.
#include "op/conv.h"

#define SHARED "tile conv_shape"

enum {
    VECTOR = 16,
    TILE = 8,  // cl/conv.cl: channels are padded to it
    THIN = 2,  // at most so many output channels of a group for conv_thin
    PAD_K = 16, // places of the kernel are padded to it
    ROOM = 512 << 10,    // bytes of the second cache for a unit's planes
    PIXELS = 1024,       // of a unit, at most, unless it is one row
    THIN_GPU = 4,        // like THIN, on a GPU
    THIN_GROUP = 256,    // work-items
    WEIGHT_PIXELS = 256, // the same: a tile's columns fit the first cache
};

static void count_work(struct qn_launch *launch, const struct qn_node *node)
{
    const struct qn_conv *conv = node->params;
    const struct qn_conv_counts counts = qn_conv_counts_of(node);
    launch->is_heavy = true;
    launch->flops = 2.0 * (double)(counts.images * counts.large) *
                    (double)(counts.small / conv->groups) *
                    (double)(conv->small[0] * conv->small[1]) *
                    (double)(conv->kernel[0] * conv->kernel[1]);
    launch->bytes = (double)(qn_node_size(node) +
                             qn_node_size(node->inputs[0]) +
                             qn_node_size(node->inputs[1]));
}

static int64_t round_up(int64_t x, int64_t y)
{
    return qn_divide_up(x, y) * y;
}

// ---- the kernels' view ----

// From in[N][G][L][A][B] to out[N][G][M][Y][X]; see cl/conv.cl.
struct shape {
    int64_t n, g, l, m;
    int64_t in[2], out[2], kernel[2];
    int64_t s[2], t[2], low[2], dilation[2], step[2];
    bool is_transposed;
};

static int64_t gcd(int64_t a, int64_t b)
{
    return b ? gcd(b, a % b) : a;
}

static struct shape shape_of(const struct qn_node *node)
{
    const struct qn_conv *conv = node->params;
    const struct qn_conv_counts counts = qn_conv_counts_of(node);
    const bool is_transposed = qn_conv_kind_of(node) == QN_CONV_TRANSPOSE;
    const int64_t c = counts.large / conv->groups;
    const int64_t o = counts.small / conv->groups;
    struct shape s = {.n = counts.images, .g = conv->groups,
                      .l = is_transposed ? o : c, .m = is_transposed ? c : o,
                      .is_transposed = is_transposed};
    for (int i = 0; i < 2; i++) {
        s.in[i] = (is_transposed ? conv->small : conv->large)[i];
        s.out[i] = (is_transposed ? conv->large : conv->small)[i];
        s.kernel[i] = conv->kernel[i];
        s.s[i] = is_transposed ? 1 : conv->stride[i];
        s.t[i] = is_transposed ? conv->stride[i] : 1;
        s.low[i] = conv->low[i];
        s.dilation[i] = conv->dilation[i];
        s.step[i] = s.t[i] / gcd(s.t[i], s.dilation[i]);
    }
    return s;
}

static void add_shape(struct qn_launch *launch, const struct shape *s)
{
    const int64_t *const pairs[] = {s->in, s->out, s->kernel, s->s, s->t,
                                    s->low, s->dilation, s->step};
    qn_launch_int(launch, s->n);
    qn_launch_int(launch, s->g);
    qn_launch_int(launch, s->l);
    qn_launch_int(launch, s->m);
    for (int i = 0; i < (int)(sizeof pairs / sizeof *pairs); i++) {
        qn_launch_int(launch, pairs[i][0]);
        qn_launch_int(launch, pairs[i][1]);
    }
    qn_launch_int(launch, s->is_transposed);
}

// Classes of taps, and taps of a class at most.
static int64_t class_count(const struct shape *s)
{
    return qn_smaller(s->step[0], s->kernel[0]) *
           qn_smaller(s->step[1], s->kernel[1]);
}

static int64_t class_taps(const struct shape *s, int i)
{
    return qn_divide_up(s->kernel[i], s->step[i]);
}

// Elements of a phase at most.
static int64_t extent_of(const struct shape *s, int i)
{
    return qn_divide_up(s->out[i], s->t[i]);
}

// ---- CPU: bands ----

// What one unit of work covers, and what its planes take.
struct bands {
    int64_t rows, bands;     // of a phase
    int64_t images, blocks;
    int64_t units, span, items;
    int64_t planes;          // elements
};

// Elements of the planes of `rows` rows of one image.
static int64_t planes_of(const struct shape *s, int64_t rows)
{
    const int64_t taps = class_taps(s, 0);
    const int64_t slope = s->dilation[0] * s->step[0] / s->t[0];
    const int64_t count = s->s[0] == 1 ? rows + (taps - 1) * slope
                                       : taps * rows;
    return s->l * class_taps(s, 1) * count * extent_of(s, 1);
}

// Bands that leave the planes in the second cache: some rows of an image, or
// several images. `pixels`: how many of a unit are enough. `parts` units share
// each band. A pure function of shape and limits.
static struct bands find_bands(const struct shape *s, int64_t element,
                               int64_t pixels, int64_t parts,
                               const struct qn_limits *limits)
{
    const int64_t room = ROOM / element;
    const int64_t want = 4 * qn_larger(limits->compute_units, 1);
    const int64_t height = extent_of(s, 0), width = extent_of(s, 1);
    struct bands b = {.rows = height};
    for (int64_t count = 2; b.rows > 1 && (planes_of(s, b.rows) > room ||
                                           b.rows * width > pixels);
         count++)
        b.rows = qn_divide_up(height, count);
    b.bands = qn_divide_up(height, b.rows);
    const int64_t most = qn_larger(s->n * b.bands * parts / want, 1);
    b.images = b.bands > 1 ? 1
                           : qn_larger(qn_smaller(room / planes_of(s, b.rows),
                                           pixels / (b.rows * width)), 1);
    b.images = qn_smaller(qn_smaller(b.images, most), s->n);
    b.blocks = qn_divide_up(s->n, b.images);
    b.units = parts * b.blocks * b.bands;
    b.span = qn_divide_up(b.units, want);
    b.items = qn_divide_up(b.units, b.span);
    b.planes = b.images * planes_of(s, b.rows) + VECTOR;
    return b;
}

// ---- CPU: forward and transposed ----

static int64_t add_pack(const struct qn_node *node, const struct shape *s,
                        bool is_thin, int packed, struct qn_work *work)
{
    const int64_t size = s->g * round_up(s->m, TILE) * s->l *
                         class_taps(s, 0) * class_taps(s, 1);
    struct qn_launch *launch =
        qn_work_add(work, "conv", "conv_pack", node->dtype);
    launch->include = SHARED;
    launch->is_heavy = true;
    qn_launch_buffer(launch, QN_OPERAND_IN + 1);
    qn_launch_buffer(launch, packed);
    add_shape(launch, s);
    qn_launch_long(launch, size);
    qn_launch_int(launch, is_thin);
    qn_launch_grid(launch, (size_t)qn_divide_up(s->m, TILE), (size_t)s->g,
                   (size_t)class_count(s), 1, 1);
    return size;
}

static void describe_cpu(const struct qn_node *node,
                         const struct qn_limits *limits, struct qn_work *work)
{
    const struct shape s = shape_of(node);
    const int64_t element = (int64_t)qn_dtype_size(node->dtype);
    const int64_t taps = class_taps(&s, 0) * class_taps(&s, 1);
    const bool is_thin = s.m <= THIN;
    const bool is_dense = s.t[0] == 1 && s.t[1] == 1;
    const struct bands b = find_bands(&s, element, PIXELS,
                                      s.t[0] * s.t[1] * s.g, limits);
    const int packed = qn_work_scratch(
        work, element * class_count(&s) * s.g * round_up(s.m, TILE) * s.l *
                  taps);
    const int planes = qn_work_scratch(work, element * b.items * b.planes);
    const int table = qn_work_scratch(work, 4 * b.items * s.l * taps);
    const int64_t size = add_pack(node, &s, is_thin, packed, work);
    struct qn_launch *launch = qn_work_add(
        work, "conv", is_thin ? "conv_thin" : "conv", node->dtype);
    launch->include = SHARED;
    qn_launch_buffer(launch, QN_OPERAND_IN);
    qn_launch_buffer(launch, packed);
    qn_launch_buffer(launch, QN_OPERAND_OUT);
    qn_launch_buffer(launch, planes);
    qn_launch_buffer(launch, table);
    qn_launch_hooks(launch, is_dense ? QN_HOOK_ADD_ROW | QN_HOOK_ADD |
                                           QN_HOOK_RELU | QN_HOOK_GATE
                                     : 0);
    launch->hook_axis = 2;
    add_shape(launch, &s);
    qn_launch_long(launch, size);
    qn_launch_int(launch, b.units);
    qn_launch_int(launch, b.span);
    qn_launch_int(launch, b.images);
    qn_launch_int(launch, b.rows);
    qn_launch_int(launch, b.bands);
    qn_launch_long(launch, b.planes);
    qn_launch_int(launch, s.l * taps);
    count_work(launch, node);
    qn_launch_grid(launch, (size_t)b.items, 1, 1, 1, 1);
}

// ---- CPU: weights ----

static void add_sum(const struct qn_node *node, const struct shape *s,
                    int partial, int64_t chunks, int64_t width,
                    struct qn_work *work)
{
    const int64_t k = s->l * s->kernel[0] * s->kernel[1];
    struct qn_launch *launch =
        qn_work_add(work, "conv_weights", "conv_sum", node->dtype);
    launch->include = SHARED;
    launch->is_heavy = true;
    qn_launch_buffer(launch, partial);
    qn_launch_buffer(launch, QN_OPERAND_OUT);
    qn_launch_int(launch, s->g);
    qn_launch_int(launch, s->m);
    qn_launch_int(launch, k);
    qn_launch_int(launch, chunks);
    qn_launch_int(launch, round_up(k, PAD_K));
    qn_launch_int(launch, width);
    qn_launch_grid(launch, (size_t)qn_divide_up(k, VECTOR),
                   (size_t)qn_divide_up(s->m, VECTOR), (size_t)s->g, 1, 1);
}

static void describe_weights_cpu(const struct qn_node *node,
                                 const struct qn_limits *limits,
                                 struct qn_work *work)
{
    const struct shape s = shape_of(node);
    const int64_t element = (int64_t)qn_dtype_size(node->dtype);
    const bool is_narrow = s.m <= VECTOR, is_thin = s.m <= THIN;
    const int64_t width = is_narrow ? VECTOR : 2 * VECTOR;
    const int64_t k = round_up(s.l * s.kernel[0] * s.kernel[1], PAD_K);
    const int64_t m = round_up(s.m, width);
    const struct bands b = find_bands(
        &s, element, is_thin ? PIXELS : WEIGHT_PIXELS, 1, limits);
    const int64_t columns =
        is_thin ? 0 : (b.images * b.rows * extent_of(&s, 1) + VECTOR) * m;
    const int partial =
        qn_work_scratch(work, element * b.items * s.g * m * k);
    const int scratch = qn_work_scratch(
        work, element * b.items * s.g * (b.planes + columns));
    const int table = qn_work_scratch(work, 4 * b.items * s.g * k);
    struct qn_launch *launch = qn_work_add(
        work, "conv_weights",
        is_thin     ? "conv_weights_thin"
        : is_narrow ? "conv_weights_narrow"
                    : "conv_weights",
        node->dtype);
    launch->include = SHARED;
    qn_launch_buffer(launch, QN_OPERAND_IN);
    qn_launch_buffer(launch, QN_OPERAND_IN + 1);
    qn_launch_buffer(launch, partial);
    qn_launch_buffer(launch, scratch);
    qn_launch_buffer(launch, table);
    add_shape(launch, &s);
    qn_launch_int(launch, b.units);
    qn_launch_int(launch, b.span);
    qn_launch_int(launch, b.images);
    qn_launch_int(launch, b.rows);
    qn_launch_int(launch, b.bands);
    qn_launch_long(launch, b.planes + columns);
    qn_launch_long(launch, b.planes);
    qn_launch_int(launch, k);
    count_work(launch, node);
    qn_launch_grid(launch, (size_t)b.items, (size_t)s.g, 1, 1, 1);
    add_sum(node, &s, partial, b.items, width, work);
}

// ---- GPU ----

// The side of a group's tile, rows x columns `count` times over: the large one
// reads less, the small one wastes less and gives more groups.
static int64_t find_side(int64_t rows, int64_t columns, int64_t count,
                         int64_t element, const struct qn_limits *limits)
{
    enum { LARGE = 64, SMALL = 32, STEP = 16 };
    const int64_t large = count * qn_divide_up(rows, LARGE) *
                          qn_divide_up(columns, LARGE);
    const int64_t small = count * qn_divide_up(rows, SMALL) *
                          qn_divide_up(columns, SMALL);
    const bool is_large =
        limits->max_group_size >= LARGE / 4 * (LARGE / 4) &&
        limits->local_size >= 2 * STEP * (LARGE + 1) * element &&
        large >= 2 * limits->compute_units && 16 * large <= 5 * small;
    return is_large ? LARGE : SMALL;
}

static void describe_gpu(const struct qn_node *node,
                         const struct qn_limits *limits, struct qn_work *work)
{
    const struct shape s = shape_of(node);
    const int64_t pixels = s.n * extent_of(&s, 0) * extent_of(&s, 1);
    const int64_t phases = s.t[0] * s.t[1];
    const bool is_thin = s.m <= THIN_GPU;
    const int64_t side = find_side(s.m, pixels, phases * s.g,
                                   (int64_t)qn_dtype_size(node->dtype),
                                   limits);
    struct qn_launch *launch = qn_work_add(work, "conv",
                                           is_thin       ? "conv_thin"
                                           : side == 64 ? "conv_64"
                                                        : "conv_32",
                                           node->dtype);
    launch->include = SHARED;
    qn_launch_buffer(launch, QN_OPERAND_IN);
    qn_launch_buffer(launch, QN_OPERAND_IN + 1);
    qn_launch_buffer(launch, QN_OPERAND_OUT);
    qn_launch_hooks(launch, QN_HOOK_ADD_ROW | QN_HOOK_ADD | QN_HOOK_RELU |
                                QN_HOOK_GATE);
    launch->hook_axis = 2;
    add_shape(launch, &s);
    count_work(launch, node);
    const int64_t group = qn_group_size(limits, THIN_GROUP);
    if (is_thin)
        qn_launch_grid(launch, (size_t)qn_divide_up(pixels, group),
                       (size_t)(s.g * s.m), (size_t)phases, (size_t)group, 1);
    else
        qn_launch_grid(launch, (size_t)qn_divide_up(pixels, side),
                       (size_t)qn_divide_up(s.m, side),
                       (size_t)(phases * s.g), (size_t)side / 4,
                       (size_t)side / 4);
}

static void add_sum_gpu(const struct qn_node *node,
                        const struct qn_limits *limits, int partial,
                        int64_t chunks, struct qn_work *work)
{
    const int64_t group = qn_group_size(limits, THIN_GROUP);
    struct qn_launch *launch =
        qn_work_add(work, "conv_weights", "conv_sum", node->dtype);
    launch->include = SHARED;
    launch->is_heavy = true;
    qn_launch_buffer(launch, partial);
    qn_launch_buffer(launch, QN_OPERAND_OUT);
    qn_launch_long(launch, qn_node_count(node));
    qn_launch_int(launch, chunks);
    qn_launch_grid(launch,
                   (size_t)qn_divide_up(qn_node_count(node), group), 1, 1,
                   (size_t)group, 1);
}

// Chunks that give each compute unit a few groups, of at least LEAST pixels.
static int64_t count_chunks(int64_t groups, int64_t pixels,
                            const struct qn_limits *limits)
{
    enum { LEAST = 256 };
    const int64_t want = qn_divide_up(4 * limits->compute_units, groups);
    return qn_larger(qn_smaller(want, pixels / LEAST), 1);
}

static void describe_weights_gpu(const struct qn_node *node,
                                 const struct qn_limits *limits,
                                 struct qn_work *work)
{
    const struct shape s = shape_of(node);
    const int64_t element = (int64_t)qn_dtype_size(node->dtype);
    const int64_t k = s.l * s.kernel[0] * s.kernel[1];
    const int64_t pixels = s.n * s.out[0] * s.out[1];
    const bool is_thin = s.m <= THIN_GPU;
    const int64_t side = find_side(s.m, k, s.g, element, limits);
    const int64_t rows = qn_divide_up(s.m, side);
    const int64_t columns = qn_divide_up(k, side);
    const int64_t wanted =
        count_chunks(is_thin ? s.g * s.m * k : s.g * rows * columns, pixels,
                     limits);
    const int64_t chunk = qn_divide_up(pixels, wanted);
    const int64_t chunks = qn_divide_up(pixels, chunk);
    const int partial =
        chunks > 1 ? qn_work_scratch(work, chunks * qn_node_count(node) *
                                               element)
                   : QN_OPERAND_OUT;
    struct qn_launch *launch =
        qn_work_add(work, "conv_weights",
                    is_thin      ? "conv_weights_thin"
                    : side == 64 ? "conv_weights_64"
                                 : "conv_weights_32",
                    node->dtype);
    launch->include = SHARED;
    qn_launch_buffer(launch, QN_OPERAND_IN);
    qn_launch_buffer(launch, QN_OPERAND_IN + 1);
    qn_launch_buffer(launch, partial);
    add_shape(launch, &s);
    qn_launch_long(launch, chunk);
    count_work(launch, node);
    if (is_thin) {
        const int64_t group = qn_group_size(limits, THIN_GROUP);
        qn_launch_local(launch, group * element);
        qn_launch_grid(launch, (size_t)k, (size_t)(s.g * s.m), (size_t)chunks,
                       (size_t)group, 1);
    } else {
        qn_launch_grid(launch, (size_t)columns, (size_t)rows,
                       (size_t)(chunks * s.g), (size_t)side / 4,
                       (size_t)side / 4);
    }
    if (chunks > 1)
        add_sum_gpu(node, limits, partial, chunks, work);
}

// ---- rows ----

static bool fits_gpu(const struct qn_node *node,
                     const struct qn_limits *limits)
{
    enum { SMALL_GROUP = 8 * 8 };
    return qn_fits_gpu(node, limits) && limits->max_group_size >= SMALL_GROUP;
}

const struct qn_candidate qn_conv_candidates[] = {
    {"cpu", qn_fits_cpu, describe_cpu},
    {"gpu", fits_gpu, describe_gpu},
    {0},
};
const struct qn_candidate qn_conv_weights_candidates[] = {
    {"cpu", qn_fits_cpu, describe_weights_cpu},
    {"gpu", fits_gpu, describe_weights_gpu},
    {0},
};
