#include "op_run.h"

#include <stdlib.h>
#include <string.h>

#include "device/device.h"
#include "graph/graph.h"
#include "qn_check.h"

enum { GUARD = 256, MAX_BINDINGS = 140 };

const char *op_run_load_text;
double op_run_live;
static qn_error error;

// ---- tensors on the host ----

static void put(void *data, qn_dtype dtype, int64_t i, double v)
{
    switch (dtype) {
    case QN_FLOAT32: ((float *)data)[i] = (float)v; break;
    case QN_FLOAT64: ((double *)data)[i] = v; break;
    case QN_INT32: ((int32_t *)data)[i] = (int32_t)v; break;
    case QN_UINT8: ((uint8_t *)data)[i] = (uint8_t)v; break;
    }
}

static double get(const void *data, qn_dtype dtype, int64_t i)
{
    switch (dtype) {
    case QN_FLOAT32: return ((const float *)data)[i];
    case QN_FLOAT64: return ((const double *)data)[i];
    case QN_INT32: return ((const int32_t *)data)[i];
    case QN_UINT8: return ((const uint8_t *)data)[i];
    }
    return 0;
}

qn_node *op_run_constant(qn_graph *g, qn_dtype dtype, qn_shape shape,
                         const double *values)
{
    const int64_t count = qn_shape_count(&shape);
    void *data = malloc((size_t)count * qn_dtype_size(dtype));
    for (int64_t i = 0; i < count; i++)
        put(data, dtype, i, values[i]);
    qn_node *node = qn_constant_data(g, dtype, shape, data);
    free(data);
    ck_assert_ok(qn_graph_check(g, &error), error);
    return node;
}

// ---- running a row ----

static void *evaluate(const struct qn_node *node);

static void make_buffer(struct qn_binding *binding, int operand, size_t size,
                        const void *data, int pattern)
{
    *binding = (struct qn_binding){operand, NULL, -1};
    unsigned char *filled = malloc(size + GUARD);
    memset(filled, pattern, size + GUARD);
    if (data)
        memcpy(filled, data, size);
    ck_assert_ok(qn_buffer_create(qn_check_device(), size + GUARD, "test",
                                  &binding->buffer, &error), error);
    ck_assert_ok(qn_buffer_write(binding->buffer, 0, filled, size + GUARD,
                                 &error), error);
    free(filled);
}

static int bind(const struct qn_node *node, const struct qn_work *work,
                struct qn_binding *bindings)
{
    int count = 0;
    const int pattern = node->op->flags & QN_OP_PERSIST ? 0 : 0xcd;
    make_buffer(&bindings[count++], QN_OPERAND_OUT, qn_node_size(node), NULL,
                pattern);
    for (int i = 0; i < work->scratch_count; i++)
        make_buffer(&bindings[count++], QN_OPERAND_SCRATCH + i,
                    (size_t)work->scratch_size[i], NULL, 0xcd);
    for (int i = 0; i < node->input_count; i++) {
        const struct qn_node *x = node->inputs[i];
        ck_assert_int_lt(count, MAX_BINDINGS);
        if (x->op->flags & QN_OP_LIVE) {
            bindings[count++] =
                (struct qn_binding){QN_OPERAND_IN + i, NULL, 0};
            continue;
        }
        void *data = evaluate(x);
        make_buffer(&bindings[count++], QN_OPERAND_IN + i, qn_node_size(x),
                    data, 0xcd);
        free(data);
    }
    return count;
}

// The output, and that what lies behind it was left alone.
static void *read_output(const struct qn_binding *out, size_t size,
                         int pattern)
{
    unsigned char *data = malloc(size + GUARD);
    ck_assert_ok(qn_buffer_read(out->buffer, 0, data, size + GUARD, &error),
                 error);
    for (int i = 0; i < GUARD; i++)
        ck_assert_msg(data[size + (size_t)i] == pattern,
                      "byte %d behind the output was written", i);
    return data;
}

static void *run_kernel(const struct qn_node *node)
{
    qn_device *device = qn_check_device();
    const struct qn_limits *limits = qn_device_limits(device);
    struct qn_work work = {0};
    struct qn_binding bindings[MAX_BINDINGS];
    const struct qn_candidate *candidate = node->op->candidates;
    while (candidate->name && !candidate->fits(node, limits))
        candidate++;
    ck_assert_ptr_nonnull(candidate->name);
    candidate->describe(node, limits, &work);
    ck_assert(!work.failed);
    const int count = bind(node, &work, bindings);
    for (int i = 0; i < work.launch_count; i++) {
        struct qn_launch *launch = work.launches[i];
        struct qn_command *command = NULL;
        if (launch->load_operand)
            launch->text = op_run_load_text;
        ck_assert_msg(launch->bytes > 0, "%s: no bytes", launch->kernel);
        ck_assert_ok(qn_command_create(device, launch, bindings, count, 0,
                                       &command, &error), error);
        ck_assert_ok(qn_command_run(command, &op_run_live, &error), error);
        ck_assert_ok(qn_device_finish(device, &error), error);
        qn_command_destroy(&command);
    }
    void *data =
        read_output(&bindings[0], qn_node_size(node),
                    node->op->flags & QN_OP_PERSIST ? 0 : 0xcd);
    for (int i = 0; i < count; i++)
        qn_buffer_destroy(&bindings[i].buffer);
    qn_work_finish(&work);
    return data;
}

// The content of a constant, a reshape of one, or a kernel row over them.
static void *evaluate(const struct qn_node *node)
{
    if (node->op->candidates)
        return run_kernel(node);
    if (node->op->flags & QN_OP_VIEW)
        return evaluate(node->inputs[0]);
    ck_assert(node->op->flags & QN_OP_DATA);
    const void *data = ((const struct qn_data_params *)node->params)->data;
    void *copy = malloc(qn_node_size(node));
    memcpy(copy, data, qn_node_size(node));
    return copy;
}

double *op_run(qn_graph *g, const struct qn_node *node)
{
    ck_assert_ok(qn_graph_check(g, &error), error);
    ck_assert_ok(qn_graph_verify(g, &error), error);
    void *data = evaluate(node);
    const int64_t count = qn_node_count(node);
    double *values = calloc((size_t)count, sizeof *values);
    for (int64_t i = 0; i < count; i++)
        values[i] = get(data, node->dtype, i);
    free(data);
    return values;
}
