// Products and convolutions of integers are exact: all sums here fit the
// mantissa of float32, so each element must be right to the last bit, whatever
// the shape, the tiles and the order of the sums. A case is a shape with its
// result and all its gradients, against the references.
#include <stdlib.h>

#include "cases.h"
#include "quern/plan.h"

enum { CONVOLUTIONS = 1500, PRODUCTS = 600, MOST_WORK = 60000 };

static struct qn_check_rng rng = {2024};

static int64_t pick(int64_t low, int64_t high)
{
    return qn_check_integer(&rng, low, high);
}

// Tensors of one case: operands, then the loss's weights; the results wanted.
struct trial {
    struct ref_tensor in[4], want[4];
    int in_count, want_count;
};

static struct ref_tensor *add_operand(struct trial *t, struct ref_shape shape)
{
    struct ref_tensor *x = &t->in[t->in_count++];
    ref_make(x, &shape);
    for (int64_t i = 0; i < ref_count(&shape); i++)
        x->data[i] = (double)pick(-3, 3);
    return x;
}

static void refer(struct trial *t, const char *row, const struct ref_tensor *a,
                  const struct ref_tensor *b, const struct ref_params *params)
{
    const struct ref_tensor in[] = {*a, *b};
    ref_find(row)(in, 2, params, &t->want[t->want_count++]);
}

// ---- running ----

static void write_tensor(qn_plan *plan, const qn_node *node,
                         const struct ref_tensor *x)
{
    const int64_t count = ref_count(&x->shape);
    float *data = malloc((size_t)count * sizeof *data);
    for (int64_t i = 0; i < count; i++)
        data[i] = (float)x->data[i];
    ck_assert_int_eq(
        qn_plan_write(plan, node, data, (size_t)count * sizeof *data), QN_OK);
    free(data);
}

static void expect_tensor(qn_plan *plan, const qn_node *node,
                          const struct ref_tensor *want, const char *what,
                          int result)
{
    const int64_t count = ref_count(&want->shape);
    const qn_shape shape = lib_shape(&want->shape);
    float *data = malloc((size_t)count * sizeof *data);
    ck_assert_msg(qn_shape_equal(qn_node_shape(node), &shape),
                  "%s: result %d has the wrong shape", what, result);
    ck_assert_int_eq(
        qn_plan_read(plan, node, data, (size_t)count * sizeof *data), QN_OK);
    for (int64_t i = 0; i < count; i++)
        ck_assert_msg((double)data[i] == want->data[i],
                      "%s: result %d, element %lld is %.9g, not %.9g", what,
                      result, (long long)i, (double)data[i], want->data[i]);
    free(data);
}

// Builds y from the first operands; the last one weighs it in the loss.
static void run(struct trial *t, const char *what,
                qn_node *(*build)(qn_graph *g, qn_node *const *in,
                                  const struct ref_params *params),
                const struct ref_params *params)
{
    static const char *const names[] = {"0", "1", "2", "3"};
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *in[4], *out[4];
    qn_error error = {0};
    const int last = t->in_count - 1;
    for (int i = 0; i < t->in_count; i++)
        in[i] = qn_input(g, names[i], QN_FLOAT32,
                         lib_shape(&t->in[i].shape));
    out[0] = build(g, in, params);
    qn_gradients(g, qn_sum(g, qn_mul(g, out[0], in[last]), NULL), in, last,
                 out + 1);
    ck_assert_msg(qn_graph_check(g, &error) == QN_OK, "%s: %s", what,
                  error.text);
    const struct qn_plan_params plan_params = {
        .graph = g, .outputs = out, .output_count = last + 1};
    qn_plan *plan = qn_plan_create(qn_check_device(), &plan_params, &error);
    ck_assert_msg(plan != NULL, "%s: %s", what, error.text);
    for (int i = 0; i < t->in_count; i++)
        write_tensor(plan, in[i], &t->in[i]);
    ck_assert_int_eq(qn_plan_run(plan), QN_OK);
    ck_assert_int_eq(t->want_count, last + 1);
    for (int i = 0; i < t->want_count; i++)
        expect_tensor(plan, out[i], &t->want[i], what, i);
    qn_plan_destroy(&plan);
    qn_graph_destroy(&g);
    for (int i = 0; i < 4; i++) {
        ref_free(&t->in[i]);
        ref_free(&t->want[i]);
    }
}

// ---- convolution ----

struct shape {
    int64_t n, c, o, x[2], y[2], w[2];
};

// Sizes around the tiles of 8, 16 and 32 channels.
static int64_t pick_channels(void)
{
    static const int64_t sizes[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33};
    return sizes[pick(0, 11)];
}

static bool draw_shape(struct shape *s, struct ref_params *p)
{
    static const int64_t groups[] = {1, 1, 1, 1, 2, 3, 5};
    *p = (struct ref_params){.groups = groups[pick(0, 6)]};
    *s = (struct shape){.n = pick(1, 5)};
    s->c = p->groups * pick_channels();
    s->o = p->groups * pick_channels();
    int64_t work = s->n * s->c * s->o / p->groups;
    for (int i = 0; i < 2; i++) {
        s->x[i] = pick(0, 4) ? pick(1, 10) : pick(11, 40);
        s->w[i] = pick(1, 5);
        p->stride[i] = pick(0, 1) ? 1 : pick(1, 4);
        p->dilation[i] = pick(0, 2) ? 1 : pick(1, 3);
        p->low[i] = pick(0, s->w[i]);
        p->high[i] = pick(0, s->w[i]);
        const int64_t room = s->x[i] + p->low[i] + p->high[i] -
                             p->dilation[i] * (s->w[i] - 1) - 1;
        if (room < 0)
            return false;
        s->y[i] = room / p->stride[i] + 1;
        p->output_padding[i] = room % p->stride[i];
        work *= s->y[i] * s->w[i];
    }
    return work <= MOST_WORK;
}

static struct ref_shape image(int64_t n, int64_t c, const int64_t size[2])
{
    return DIMS(n, c, size[0], size[1]);
}

static void add_bias(struct ref_tensor *y, const struct ref_tensor *bias)
{
    const int64_t plane = y->shape.dims[2] * y->shape.dims[3];
    for (int64_t i = 0; i < ref_count(&y->shape); i++)
        y->data[i] += bias->data[i / plane % y->shape.dims[1]];
}

static void sum_planes(struct trial *t, const struct ref_tensor *dy)
{
    struct ref_tensor *sum = &t->want[t->want_count++];
    const struct ref_shape shape = DIMS(dy->shape.dims[1], 1, 1);
    const int64_t plane = dy->shape.dims[2] * dy->shape.dims[3];
    ref_make(sum, &shape);
    for (int64_t i = 0; i < ref_count(&dy->shape); i++)
        sum->data[i / plane % shape.dims[0]] += dy->data[i];
}

#define PAIR(name) .name = {p->name[0], p->name[1]}
#define CONV                                                               \
    PAIR(stride), PAIR(low), PAIR(high), PAIR(dilation), .groups = p->groups

static qn_node *build_conv(qn_graph *g, qn_node *const *in,
                           const struct ref_params *p)
{
    return qn_add(g, qn_conv2d(g, in[0], in[1],
                               &(struct qn_conv2d_params){CONV}), in[2]);
}

static qn_node *build_transposed(qn_graph *g, qn_node *const *in,
                                 const struct ref_params *p)
{
    return qn_add(g, qn_conv_transpose2d(g, in[0], in[1],
                                         &(struct qn_conv_transpose2d_params){
                                             CONV, PAIR(output_padding)}),
                  in[2]);
}

// x -> y by conv2d, or y -> x by its transpose.
static void try_convolution(bool is_transposed)
{
    struct shape s;
    struct ref_params p;
    while (!draw_shape(&s, &p))
        continue;
    struct trial t = {0};
    char what[200];
    snprintf(what, sizeof what,
             "%sconvolution of [%d, %d, %d, %d] to [%d, %d, %d], kernel %d x "
             "%d, stride %d x %d, dilation %d x %d, padding %d x %d, groups %d",
             is_transposed ? "transposed " : "", (int)s.n, (int)s.c,
             (int)s.x[0], (int)s.x[1], (int)s.o, (int)s.y[0], (int)s.y[1],
             (int)s.w[0], (int)s.w[1], (int)p.stride[0], (int)p.stride[1],
             (int)p.dilation[0], (int)p.dilation[1], (int)p.low[0],
             (int)p.low[1], (int)p.groups);
    const struct ref_shape large = image(s.n, s.c, s.x);
    const struct ref_shape small = image(s.n, s.o, s.y);
    p.shape = image(s.o, s.c / p.groups, s.w);
    struct ref_tensor *x = add_operand(&t, is_transposed ? small : large);
    struct ref_tensor *w = add_operand(&t, p.shape);
    struct ref_tensor *b =
        add_operand(&t, DIMS(is_transposed ? s.c : s.o, 1, 1));
    struct ref_tensor *dy = add_operand(&t, is_transposed ? large : small);
    refer(&t, is_transposed ? "conv_transpose2d" : "conv2d", x, w, &p);
    add_bias(&t.want[0], b);
    refer(&t, is_transposed ? "conv2d" : "conv_transpose2d", dy, w, &p);
    refer(&t, "conv2d_weight_grad", is_transposed ? dy : x,
          is_transposed ? x : dy, &p);
    sum_planes(&t, dy);
    run(&t, what, is_transposed ? build_transposed : build_conv, &p);
}

START_TEST(convolutions_of_integers_are_exact)
{
    for (int i = 0; i < CONVOLUTIONS; i++)
        try_convolution(i % 4 == 3);
}
END_TEST

// ---- product ----

static qn_node *build_product(qn_graph *g, qn_node *const *in,
                              const struct ref_params *p)
{
    return qn_matmul(g, in[0], in[1],
                     qn_matmul_params(p->trans_a, p->trans_b));
}

static void multiply(struct trial *t, const struct ref_tensor *a, bool trans_a,
                     const struct ref_tensor *b, bool trans_b)
{
    const struct ref_params p = {.trans_a = trans_a, .trans_b = trans_b};
    refer(t, "matmul", a, b, &p);
}

static void try_product(void)
{
    static const int64_t sizes[] = {1,  2,  3,  7,  8,  9,  15, 16,
                                    17, 31, 32, 33, 48, 63, 64, 65};
    const int64_t m = sizes[pick(0, 15)], n = sizes[pick(0, 15)];
    const int64_t k = sizes[pick(0, 15)];
    const struct ref_params p = {.trans_a = pick(0, 1), .trans_b = pick(0, 1)};
    const bool ta = p.trans_a, tb = p.trans_b;
    struct trial t = {0};
    char what[100];
    snprintf(what, sizeof what, "product %d x %d x %d%s%s", (int)m, (int)k,
             (int)n, ta ? ", a transposed" : "", tb ? ", b transposed" : "");
    struct ref_tensor *a = add_operand(&t, ta ? DIMS(k, m) : DIMS(m, k));
    struct ref_tensor *b = add_operand(&t, tb ? DIMS(n, k) : DIMS(k, n));
    struct ref_tensor *dy = add_operand(&t, DIMS(m, n));
    multiply(&t, a, ta, b, tb);
    if (ta)
        multiply(&t, b, tb, dy, true);
    else
        multiply(&t, dy, false, b, !tb);
    if (tb)
        multiply(&t, dy, true, a, ta);
    else
        multiply(&t, a, !ta, dy, false);
    run(&t, what, build_product, &p);
}

START_TEST(products_of_integers_are_exact)
{
    for (int i = 0; i < PRODUCTS; i++)
        try_product();
}
END_TEST

QN_CHECK_MAIN("exact", convolutions_of_integers_are_exact,
              products_of_integers_are_exact)
