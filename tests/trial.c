// Carries out a case: data, graphs, plans. What has to come out is the
// business of test_op.c.
#include "trial.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "qn_check.h"

// ---- data ----

// Operands as the operation sees them.
static void view_all(const struct trial_data *data,
                     const struct ref_tensor *stored, struct ref_tensor *seen)
{
    for (int i = 0; i < data->c->count; i++)
        view_reference(&stored[i], data->c->in[i].view,
                       &data->c->in[i].shape, &seen[i]);
}

static void run_reference(const struct trial_data *data,
                          const struct ref_tensor *stored,
                          struct ref_tensor *out)
{
    struct ref_tensor seen[CASE_MAX_INPUTS];
    view_all(data, stored, seen);
    case_reference(data->c, seen, out);
    for (int i = 0; i < data->c->count; i++)
        ref_free(&seen[i]);
}

static void measure_magnitude(struct trial_data *data)
{
    struct ref_tensor sizes[CASE_MAX_INPUTS];
    for (int i = 0; i < data->c->count; i++) {
        ref_make(&sizes[i], &data->stored[i].shape);
        for (int64_t k = 0; k < ref_count(&sizes[i].shape); k++)
            sizes[i].data[k] = fabs(data->stored[i].data[k]);
    }
    run_reference(data, sizes, &data->magnitude);
    for (int i = 0; i < data->c->count; i++)
        ref_free(&sizes[i]);
}

void trial_data_init(struct trial_data *data, const struct qn_case *c)
{
    *data = (struct trial_data){.c = c};
    for (int i = 0; i < c->count; i++) {
        const struct operand *in = &c->in[i];
        const struct ref_shape shape = view_storage(in->view, &in->shape);
        ref_make(&data->stored[i], &shape);
        case_fill(c, i, &shape, data->stored[i].data);
        if (c->has_grad && !in->fixed)
            data->wrt[data->wrt_count++] = i;
    }
    run_reference(data, data->stored, &data->want);
    if (c->terms > 0)
        measure_magnitude(data);
    ref_make(&data->weights, &data->want.shape);
    struct qn_check_rng rng = {99};
    for (int64_t k = 0; k < ref_count(&data->weights.shape); k++)
        data->weights.data[k] = (double)(float)qn_check_uniform(
            &rng, k % 2 ? 0.5 : -1.5, k % 2 ? 1.5 : -0.5);
}

void trial_data_finish(struct trial_data *data)
{
    for (int i = 0; i < CASE_MAX_INPUTS; i++)
        ref_free(&data->stored[i]);
    ref_free(&data->want);
    ref_free(&data->magnitude);
    ref_free(&data->weights);
}

double trial_loss(const struct trial_data *data)
{
    struct ref_tensor out;
    double loss = 0;
    run_reference(data, data->stored, &out);
    for (int64_t k = 0; k < ref_count(&out.shape); k++)
        loss += out.data[k] * data->weights.data[k];
    ref_free(&out);
    return loss;
}

// ---- graph ----

static qn_node *make_input(struct trial *trial, int i)
{
    static const char *const names[CASE_MAX_INPUTS] = {
        "in0", "in1", "in2", "in3", "in4", "in5", "in6", "in7", "in8", "in9"};
    const struct operand *in = &trial->data->c->in[i];
    if (in->fill == FILL_LIVE)
        return qn_scalar(trial->graph, names[i]);
    return qn_input(trial->graph, names[i],
                    in->dtype == QN_FLOAT32 ? trial->real : in->dtype,
                    lib_shape(&trial->data->stored[i].shape));
}

static void add_gradients(struct trial *trial)
{
    const struct trial_data *data = trial->data;
    qn_graph *g = trial->graph;
    qn_node *wrt[CASE_MAX_INPUTS];
    for (int i = 0; i < data->wrt_count; i++)
        wrt[i] = trial->inputs[data->wrt[i]];
    trial->weights =
        qn_input(g, "weights", trial->real, lib_shape(&data->weights.shape));
    qn_node *loss = qn_sum(g, qn_mul(g, trial->results[0], trial->weights),
                           &(struct qn_reduce_params){0});
    qn_gradients(g, loss, wrt, data->wrt_count, trial->results + 1);
    trial->result_count += data->wrt_count;
}

void trial_init(struct trial *trial, const struct trial_data *data,
                qn_dtype real)
{
    const struct qn_case *c = data->c;
    qn_node *seen[CASE_MAX_INPUTS];
    const qn_shape want = lib_shape(&data->want.shape);
    qn_error error = {0};
    *trial = (struct trial){.data = data, .real = real,
                            .graph = qn_graph_create(real)};
    for (int i = 0; i < c->count; i++) {
        trial->inputs[i] = make_input(trial, i);
        seen[i] = view_build(trial->graph, trial->inputs[i], c->in[i].view,
                             &c->in[i].shape);
    }
    trial->results[trial->result_count++] =
        case_build(trial->graph, seen, c);
    if (data->wrt_count)
        add_gradients(trial);
    ck_assert_msg(qn_graph_check(trial->graph, &error) == QN_OK, "%s: %s",
                  case_text(c), error.text);
    ck_assert_msg(qn_shape_equal(qn_node_shape(trial->results[0]), &want),
                  "%s: the result has the wrong shape", case_text(c));
}

void trial_finish(struct trial *trial)
{
    qn_graph_destroy(&trial->graph);
}

// ---- plan ----

static void *encode(const struct ref_tensor *tensor, qn_dtype dtype)
{
    const int64_t count = ref_count(&tensor->shape);
    void *data = malloc((size_t)count * qn_dtype_size(dtype));
    for (int64_t k = 0; k < count; k++) {
        const double x = tensor->data[k];
        if (dtype == QN_FLOAT32)
            ((float *)data)[k] = (float)x;
        else if (dtype == QN_FLOAT64)
            ((double *)data)[k] = x;
        else if (dtype == QN_INT32)
            ((int32_t *)data)[k] = (int32_t)x;
        else
            ((unsigned char *)data)[k] = (unsigned char)x;
    }
    return data;
}

static double decode(const void *data, qn_dtype dtype, int64_t k)
{
    return dtype == QN_FLOAT32   ? (double)((const float *)data)[k]
           : dtype == QN_FLOAT64 ? ((const double *)data)[k]
           : dtype == QN_INT32   ? ((const int32_t *)data)[k]
                                 : ((const unsigned char *)data)[k];
}

static void check(const struct trial *trial, qn_plan *plan, qn_status status,
                  const char *doing)
{
    ck_assert_msg(status == QN_OK, "%s: %s: %s", case_text(trial->data->c),
                  doing, qn_plan_error(plan)->text);
}

static void write_tensor(const struct trial *trial, qn_plan *plan,
                         const qn_node *node, const struct ref_tensor *tensor)
{
    const qn_dtype dtype = qn_node_dtype(node);
    void *data = encode(tensor, dtype);
    check(trial, plan,
          qn_plan_write(plan, node, data,
                        (size_t)ref_count(&tensor->shape) *
                            qn_dtype_size(dtype)),
          "write");
    free(data);
}

static void write_all(const struct trial *trial, qn_plan *plan)
{
    const struct trial_data *data = trial->data;
    for (int i = 0; i < data->c->count; i++) {
        if (data->c->in[i].fill == FILL_LIVE)
            check(trial, plan,
                  qn_plan_set(plan, trial->inputs[i], data->c->in[i].value),
                  "set");
        else
            write_tensor(trial, plan, trial->inputs[i], &data->stored[i]);
    }
    if (trial->weights)
        write_tensor(trial, plan, trial->weights, &data->weights);
}

// Reads all results; true if they are the bytes in `before` (unless NULL),
// which then holds the new ones.
static bool read_all(const struct trial *trial, qn_plan *plan, void **before,
                     struct trial_results *results)
{
    bool equal = true;
    for (int r = 0; r < trial->result_count; r++) {
        const qn_node *node = trial->results[r];
        const qn_dtype dtype = qn_node_dtype(node);
        const int64_t count = qn_shape_count(qn_node_shape(node));
        const size_t size = (size_t)count * qn_dtype_size(dtype);
        void *data = malloc(size);
        check(trial, plan, qn_plan_read(plan, node, data, size), "read");
        if (before[r])
            equal = equal && memcmp(before[r], data, size) == 0;
        free(before[r]);
        before[r] = data;
        if (!results->values[r])
            results->values[r] = malloc((size_t)count * sizeof(double));
        results->counts[r] = count;
        for (int64_t k = 0; k < count; k++)
            results->values[r][k] = decode(data, dtype, k);
    }
    results->count = trial->result_count;
    return equal;
}

bool trial_run(const struct trial *trial, int flags, int runs,
               struct trial_results *results)
{
    qn_error error = {0};
    const struct qn_plan_params params = {
        .graph = trial->graph,
        .outputs = trial->results,
        .output_count = trial->result_count,
        .no_fusion = flags & TRIAL_NO_FUSION,
        .no_reuse = flags & TRIAL_NO_REUSE,
    };
    qn_plan *plan = qn_plan_create(qn_check_device(), &params, &error);
    ck_assert_msg(plan != NULL, "%s: %s", case_text(trial->data->c),
                  error.text);
    void *bytes[CASE_MAX_INPUTS + 1] = {0};
    bool equal = true;
    *results = (struct trial_results){0};
    write_all(trial, plan);
    for (int i = 0; i < runs; i++) {
        check(trial, plan, qn_plan_run(plan), "run");
        equal = read_all(trial, plan, bytes, results) && equal;
    }
    for (int r = 0; r < trial->result_count; r++)
        free(bytes[r]);
    qn_plan_destroy(&plan);
    return equal;
}

void trial_results_finish(struct trial_results *results)
{
    for (int r = 0; r < results->count; r++)
        free(results->values[r]);
    *results = (struct trial_results){0};
}
