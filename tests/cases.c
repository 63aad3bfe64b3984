// Cases: the list, their contents, their views, their names. What stands in
// the table is in cases_*.c.
#include "cases.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct qn_case *cases;
static int used, capacity;

const struct case_group case_groups[] = {
    {"pointwise", cases_add_pointwise}, {"activation", cases_add_activation},
    {"broadcast", cases_add_broadcast},
    {"reduce", cases_add_reduce},       {"shape", cases_add_shape},
    {"matmul", cases_add_matmul},       {"conv", cases_add_conv},
    {"classify", cases_add_classify},   {"norm", cases_add_norm},
    {"pool", cases_add_pool},
    {"regions", cases_add_regions},
    {"resample", cases_add_resample},
    {"chains", cases_add_chains},       {"random", cases_add_random},
    {NULL, NULL},
};

void case_add(const struct qn_case *c)
{
    if (used == capacity) {
        capacity = capacity ? capacity * 2 : 256;
        cases = realloc(cases, (size_t)capacity * sizeof *cases);
        if (!cases)
            abort();
    }
    cases[used++] = *c;
}

int case_count(void)
{
    return used;
}

const struct qn_case *case_at(int index)
{
    return &cases[index];
}

qn_shape lib_shape(const struct ref_shape *shape)
{
    return qn_shape_make(shape->rank, shape->dims);
}

// ---- what it computes ----

enum { MAX_VALUES = CASE_MAX_INPUTS + 32 };

qn_node *case_build(qn_graph *g, qn_node *const *in, const struct qn_case *c)
{
    if (!c->steps)
        return build_find(c->op)(g, in, c->count, &c->params);
    qn_node *values[MAX_VALUES];
    memcpy(values, in, (size_t)c->count * sizeof *in);
    for (int s = 0; s < c->step_count; s++) {
        const struct step *step = &c->steps[s];
        qn_node *operands[CASE_MAX_INPUTS];
        for (int i = 0; i < step->count; i++)
            operands[i] = values[step->values[i]];
        values[c->count + s] = build_find(step->op)(
            g, operands, step->count, &step->params);
    }
    return values[c->count + c->step_count - 1];
}

void case_reference(const struct qn_case *c, const struct ref_tensor *in,
                    struct ref_tensor *out)
{
    if (!c->steps) {
        ref_find(c->op)(in, c->count, &c->params, out);
        return;
    }
    struct ref_tensor values[MAX_VALUES];
    memcpy(values, in, (size_t)c->count * sizeof *in);
    for (int s = 0; s < c->step_count; s++) {
        const struct step *step = &c->steps[s];
        struct ref_tensor operands[CASE_MAX_INPUTS];
        for (int i = 0; i < step->count; i++)
            operands[i] = values[step->values[i]];
        ref_find(step->op)(operands, step->count, &step->params,
                           &values[c->count + s]);
    }
    for (int s = 0; s < c->step_count - 1; s++)
        ref_free(&values[c->count + s]);
    *out = values[c->count + c->step_count - 1];
}

// ---- names ----

const char *case_text(const struct qn_case *c)
{
    static const char *const views[VIEW_COUNT] = {
        "", " transposed", " stepped", " inner", " reshaped", " repeated"};
    static char text[400];
    char dims[128];
    int n = snprintf(text, sizeof text, "%s%s%s", c->op,
                     c->variant ? " " : "", c->variant ? c->variant : "");
    for (int i = 0; i < c->count && n < (int)sizeof text; i++) {
        const struct operand *in = &c->in[i];
        const qn_shape shape = lib_shape(&in->shape);
        n += snprintf(text + n, sizeof text - (size_t)n, "%s%s%s%s%s",
                      i ? " x " : " ",
                      qn_shape_text(&shape, dims, sizeof dims),
                      views[in->view], in->dtype ? " " : "",
                      in->dtype ? qn_dtype_name(in->dtype) : "");
    }
    const struct ref_params *p = &c->params;
    if (p->axis_count && n < (int)sizeof text)
        n += snprintf(text + n, sizeof text - (size_t)n, " over axes");
    for (int i = 0; i < p->axis_count && n < (int)sizeof text; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, " %d", p->axes[i]);
    return text;
}

int64_t case_size(const struct qn_case *c)
{
    int64_t size = 0, largest = 0;
    for (int i = 0; i < c->count; i++) {
        const int64_t count = ref_count(&c->in[i].shape);
        size += count;
        largest = count > largest ? count : largest;
    }
    if (strncmp(c->op, "conv", 4) == 0)
        return size + ref_count(&c->in[0].shape) *
                          ref_count(&c->in[1].shape) / c->in[0].shape.dims[1];
    // A product reads each element once for each column of the other.
    if (strcmp(c->op, "matmul") == 0)
        size *= (int64_t)sqrt((double)largest);
    return size;
}

// ---- contents ----

static double edge(int64_t i)
{
    static const float edges[] = {
        0.0f,     -0.0f,     1.0f,      -1.0f,     INFINITY, -INFINITY,
        NAN,      0x1p-126f, -0x1p-126f, 0x1p-60f,  0x1p60f,  -0x1p60f,
        0.5f,     -0.5f,     1e30f,     -1e30f,    1e-30f,   16777216.0f,
        88.0f,    -87.0f,    2.0f,      -2.0f,     3.5f};
    return (double)edges[i % (int64_t)(sizeof edges / sizeof *edges)];
}

static double draw(const struct qn_case *c, int operand,
                   struct qn_check_rng *rng)
{
    switch (c->in[operand].fill) {
    case FILL_POSITIVE:
        return qn_check_uniform(rng, 0.25, 3);
    case FILL_TIES:
        return (double)qn_check_integer(rng, -2, 2);
    case FILL_BITS:
        return (double)qn_check_integer(rng, 0, 1);
    case FILL_LABELS:
        return (double)qn_check_integer(rng, 0, c->params.count - 1);
    case FILL_INTEGERS:
        return (double)(c->in[operand].dtype == QN_UINT8
                            ? qn_check_integer(rng, 0, 255)
                            : qn_check_integer(rng, -100, 100));
    case FILL_LARGE:
        return qn_check_uniform(rng, -1e4, 1e4);
    case FILL_EQUAL:
        return 1.25;
    case FILL_ROWS:
        return (double)qn_check_integer(rng, 0, c->in[0].shape.dims[0] - 1);
    case FILL_LIVE:
        return c->in[operand].value;
    default:
        return 0.25 * (double)qn_check_integer(rng, -12, 11) + 0.125 +
               qn_check_uniform(rng, -0.04, 0.04);
    }
}

// Multiples of 0.04 in random order, plus a quarter step for each operand.
static void fill_distinct(int operand, int64_t count, double *data,
                          struct qn_check_rng *rng)
{
    for (int64_t i = 0; i < count; i++)
        data[i] = 0.04 * (double)(i - count / 2) + 0.01 * (operand + 0.5);
    for (int64_t i = count - 1; i > 0; i--) {
        const int64_t j = qn_check_integer(rng, 0, i);
        const double x = data[i];
        data[i] = data[j];
        data[j] = x;
    }
}

void case_fill(const struct qn_case *c, int i, const struct ref_shape *shape,
               double *data)
{
    const int64_t count = ref_count(shape);
    struct qn_check_rng rng = {(uint64_t)i * 7919 + (uint64_t)count};
    if (c->in[i].fill == FILL_DISTINCT)
        fill_distinct(i, count, data, &rng);
    for (int64_t k = 0; k < count; k++) {
        if (c->in[i].fill == FILL_EDGES) // strides meet all pairs of edges
            data[k] = edge(i == 0 ? k : k / 23 + k);
        else if (c->in[i].fill != FILL_DISTINCT)
            data[k] = draw(c, i, &rng);
        if (c->in[i].fill != FILL_LIVE) // a seed may be any word
            data[k] = (double)(float)data[k];
    }
}

// ---- views ----

// The parameters of the one operation that makes a view of `shape`.
static struct ref_params view_params(enum view view,
                                     const struct ref_shape *shape)
{
    struct ref_params p = {.shape = *shape, .step = 1};
    for (int d = 0; d < shape->rank; d++)
        p.order[d] = shape->rank - 1 - d;
    if (view == VIEW_STEPPED) {
        p.axis = -1;
        p.start = 1;
        p.stop = 2 * shape->dims[shape->rank - 1] + 1;
        p.step = 2;
    } else if (view == VIEW_INNER) {
        p.start = 2;
        p.stop = 2 + shape->dims[0];
    }
    return p;
}

struct ref_shape view_storage(enum view view, const struct ref_shape *shape)
{
    struct ref_shape stored = *shape;
    const int last = shape->rank - 1;
    if (view == VIEW_TRANSPOSED)
        for (int d = 0; d <= last; d++)
            stored.dims[d] = shape->dims[last - d];
    if (view == VIEW_STEPPED)
        stored.dims[last] = 2 * shape->dims[last] + 1;
    if (view == VIEW_INNER)
        stored.dims[0] += 3;
    if (view == VIEW_RESHAPED)
        stored = (struct ref_shape){.rank = 1, .dims = {ref_count(shape)}};
    if (view == VIEW_REPEATED)
        stored.dims[0] = 1;
    return stored;
}

qn_node *view_build(qn_graph *g, qn_node *stored, enum view view,
                    const struct ref_shape *shape)
{
    const struct ref_params p = view_params(view, shape);
    switch (view) {
    case VIEW_TRANSPOSED:
        return qn_transpose(g, stored, p.order);
    case VIEW_STEPPED:
    case VIEW_INNER:
        return qn_slice(g, stored, p.axis, p.start, p.stop, p.step);
    case VIEW_RESHAPED:
        return qn_reshape(g, stored, lib_shape(shape));
    case VIEW_REPEATED:
        return qn_broadcast_to(g, stored, lib_shape(shape));
    default:
        return stored;
    }
}

void view_reference(const struct ref_tensor *stored, enum view view,
                    const struct ref_shape *shape, struct ref_tensor *out)
{
    static const char *const rows[VIEW_COUNT] = {
        "reshape", "transpose", "slice", "slice", "reshape", "broadcast_to"};
    const struct ref_params p = view_params(view, shape);
    ref_find(rows[view])(stored, 1, &p, out);
}
