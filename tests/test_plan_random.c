// Random graphs: fused, unfused and without reuse of memory a plan must give
// the same numbers. In float64, since a fused chain may contract a multiply and
// an add into one rounding.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qn_check.h"
#include "quern/op.h"
#include "quern/plan.h"

enum { GRAPHS = 12, NODES = 30, MAX_NODES = 64, STATES = 3 };

struct world {
    struct qn_check_rng rng;
    qn_graph *graph;
    qn_node *nodes[MAX_NODES];
    int count;
    qn_node *states[STATES];
    qn_node *inputs[2];
    qn_node *live;
};

static int pick(struct world *w, int n)
{
    return (int)qn_check_integer(&w->rng, 0, n - 1);
}

static qn_node *any(struct world *w)
{
    // Recent ones more often, so that chains grow.
    int back = pick(w, 3) ? pick(w, w->count < 6 ? w->count : 6)
                          : pick(w, w->count);
    return w->nodes[w->count - 1 - back];
}

static qn_node *add_binary(struct world *w, qn_node *x, qn_node *y)
{
    qn_graph *g = w->graph;
    switch (pick(w, 4)) {
    case 0:
        return qn_add(g, x, y);
    case 1:
        return qn_sub(g, x, y);
    case 2:
        return qn_tanh(g, qn_mul(g, x, y));
    default:
        return qn_max(g, x, y);
    }
}

static qn_node *add_unary(struct world *w, qn_node *x)
{
    qn_graph *g = w->graph;
    switch (pick(w, 5)) {
    case 0:
        return qn_sigmoid(g, x);
    case 1:
        return qn_scale(g, x, 0.5);
    case 2:
        return qn_mul(g, x, w->live);
    case 3:
        return qn_relu(g, x);
    default:
        return qn_add_scalar(g, x, 0.25);
    }
}

static qn_node *add_view(struct world *w, qn_node *x)
{
    qn_graph *g = w->graph;
    const qn_shape *s = qn_node_shape(x);
    if (s->rank < 2)
        return qn_reshape(g, x, qn_shape_of(1, -1));
    switch (pick(w, 3)) {
    case 0:
        return qn_transpose(g, x, (int[]){1, 0});
    case 1:
        return qn_reshape(g, x, qn_shape_of(s->dims[1], s->dims[0]));
    default:
        return s->dims[0] > 2
                   ? qn_slice(g, x, 0, 1, s->dims[0], 1 + pick(w, 2))
                   : qn_slice(g, x, 1, 0, s->dims[1], 1 + pick(w, 2));
    }
}

static qn_node *add_kernel(struct world *w, qn_node *x, qn_node *y)
{
    qn_graph *g = w->graph;
    const qn_shape *a = qn_node_shape(x), *b = qn_node_shape(y);
    switch (pick(w, 4)) {
    case 0:
        return qn_sum(g, x, qn_reduce_params(.axes = (int[]){0},
                                             .axis_count = 1, .keep = true));
    case 1:
        return qn_mean(g, x, qn_reduce_params(.axes = (int[]){1},
                                              .axis_count = 1, .keep = true));
    case 2:
        return qn_concat(g, (qn_node *[]){x, x}, 2, 0);
    default:
        if (a->dims[1] == b->dims[0])
            return qn_scale(g, qn_matmul(g, x, y, NULL), 0.1);
        return qn_scale(
            g, qn_matmul(g, x, x, qn_matmul_params(.trans_b = true)), 0.1);
    }
}

// Two nodes whose shapes broadcast, or NULL.
static qn_node *find_partner(struct world *w, qn_node *x)
{
    const qn_shape *a = qn_node_shape(x);
    for (int tries = 0; tries < 20; tries++) {
        qn_node *y = any(w);
        const qn_shape *b = qn_node_shape(y);
        bool fits = true;
        for (int d = 0; d < 2; d++)
            fits &= a->dims[d] == b->dims[d] || a->dims[d] == 1 ||
                    b->dims[d] == 1;
        if (fits)
            return y;
    }
    return NULL;
}

static qn_node *add_node(struct world *w)
{
    qn_node *x = any(w), *y;
    int kind = pick(w, 10);
    if (qn_shape_count(qn_node_shape(x)) > 4000)
        return qn_mean(w->graph, x,
                       qn_reduce_params(.axes = (int[]){0}, .axis_count = 1,
                                        .keep = true));
    if (kind < 4 && (y = find_partner(w, x)))
        return add_binary(w, x, y);
    if (kind < 6)
        return add_unary(w, x);
    if (kind < 8)
        return add_view(w, x);
    return add_kernel(w, x, any(w));
}

static void make_graph(struct world *w, uint64_t seed)
{
    static const int64_t rows[] = {7, 16, 1, 33, 7};
    *w = (struct world){.rng = {seed}, .graph = qn_graph_create(QN_FLOAT64)};
    qn_graph *g = w->graph;
    for (int i = 0; i < STATES; i++) {
        char name[8];
        snprintf(name, sizeof name, "s%d", i);
        w->states[i] =
            qn_variable(g, "state", name, QN_FLOAT64,
                        qn_shape_of(rows[pick(w, 5)], rows[pick(w, 5)]));
        w->nodes[w->count++] = w->states[i];
    }
    for (int i = 0; i < 2; i++) {
        w->inputs[i] =
            qn_input(g, "x", QN_FLOAT64,
                     qn_shape_of(rows[pick(w, 5)], rows[pick(w, 5)]));
        w->nodes[w->count++] = w->inputs[i];
    }
    w->live = qn_scalar(g, "live");
    for (int i = 0; i < NODES; i++) {
        w->nodes[w->count] = add_node(w);
        qn_error error = {0};
        ck_assert_ok(qn_graph_check(g, &error), error);
        w->count++;
    }
    // Each state takes some node of its shape, perhaps made of other states.
    for (int i = 0; i < STATES; i++)
        for (int k = w->count - 1; k > 0; k--)
            if (w->nodes[k] != w->states[i] &&
                qn_shape_equal(qn_node_shape(w->nodes[k]),
                               qn_node_shape(w->states[i]))) {
                qn_assign(g, w->states[i], w->nodes[k]);
                break;
            }
}

struct result {
    double *values;
    int64_t count;
};

static void append(struct result *result, const double *data, int64_t count)
{
    result->values = realloc(
        result->values,
        (size_t)(result->count + count) * sizeof *result->values);
    ck_assert_ptr_nonnull(result->values);
    memcpy(result->values + result->count, data,
           (size_t)count * sizeof *data);
    result->count += count;
}

static void fill(struct qn_check_rng *rng, double *data, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        data[i] = qn_check_uniform(rng, -1, 1);
}

// Outputs after each of three runs, then the states.
static struct result run_plan(struct world *w, bool no_fusion, bool no_reuse)
{
    qn_error error = {0};
    double data[8192];
    struct qn_check_rng rng = {99};
    struct result result = {0};
    qn_node *outputs[] = {w->nodes[w->count - 1], w->nodes[w->count - 4],
                          w->nodes[w->count - 9]};
    qn_store *store = qn_store_create(qn_check_device(), &error);
    ck_assert_ok(qn_store_add(store, w->graph, &error), error);
    for (int i = 0; i < qn_store_count(store); i++) {
        qn_store_entry entry;
        qn_store_entry_at(store, i, &entry);
        int64_t count = qn_shape_count(&entry.shape);
        fill(&rng, data, count);
        ck_assert_ok(qn_store_write(store, i, data, (size_t)count * 8,
                                    &error),
                     error);
    }
    qn_plan *plan = qn_plan_create(
        qn_check_device(),
        &(struct qn_plan_params){.graph = w->graph,
                                 .store = store,
                                 .outputs = outputs,
                                 .output_count = 3,
                                 .no_fusion = no_fusion,
                                 .no_reuse = no_reuse},
        &error);
    ck_assert_msg(plan != NULL, "%s", error.text);
    for (int i = 0; i < 2; i++) {
        int64_t count = qn_shape_count(qn_node_shape(w->inputs[i]));
        fill(&rng, data, count);
        ck_assert(qn_plan_write(plan, w->inputs[i], data,
                                (size_t)count * 8) == QN_OK);
    }
    for (int t = 0; t < 3; t++) {
        ck_assert(qn_plan_set(plan, w->live, 0.3 + 0.2 * t) == QN_OK);
        ck_assert_msg(qn_plan_run(plan) == QN_OK, "%s",
                      qn_plan_error(plan)->text);
        for (int i = 0; i < 3; i++) {
            int64_t count = qn_shape_count(qn_node_shape(outputs[i]));
            ck_assert_int_le(count, 8192);
            ck_assert_msg(qn_plan_read(plan, outputs[i], data,
                                       (size_t)count * 8) == QN_OK,
                          "%s", qn_plan_error(plan)->text);
            append(&result, data, count);
        }
    }
    for (int i = 0; i < qn_store_count(store); i++) {
        qn_store_entry entry;
        qn_store_entry_at(store, i, &entry);
        int64_t count = qn_shape_count(&entry.shape);
        ck_assert_ok(qn_store_read(store, i, data, (size_t)count * 8, &error),
                     error);
        append(&result, data, count);
    }
    qn_plan_destroy(&plan);
    qn_store_destroy(&store);
    return result;
}

START_TEST(random_graphs_do_not_depend_on_the_plan)
{
    struct world w;
    for (uint64_t seed = 1; seed <= GRAPHS; seed++) {
        make_graph(&w, seed);
        struct result plain = run_plan(&w, true, true);
        struct result fused = run_plan(&w, false, false);
        struct result own = run_plan(&w, false, true);
        char what[64];
        snprintf(what, sizeof what, "graph %d, fused", (int)seed);
        qn_check_close(what, fused.values, plain.values, plain.count, 1e-10,
                       1e-10);
        snprintf(what, sizeof what, "graph %d, no reuse", (int)seed);
        qn_check_close(what, own.values, fused.values, plain.count, 0, 0);
        free(plain.values);
        free(fused.values);
        free(own.values);
        qn_graph_destroy(&w.graph);
    }
}
END_TEST

QN_CHECK_MAIN("plan_random", random_graphs_do_not_depend_on_the_plan)
