// A small network: everything that a training program does with the library's
// device, in a few calls. Checks nothing itself.
#include "net.h"

#include <stdio.h>

static qn_status fail_plan(const struct net *net, qn_status status,
                           qn_error *error)
{
    if (status != QN_OK)
        *error = *qn_plan_error(net->plan);
    return status;
}

static qn_node *add_dense(qn_graph *g, qn_node *x, const char *name,
                          int64_t in, int64_t out)
{
    qn_graph_push(g, name);
    qn_node *weight = qn_parameter(g, "weight", qn_shape_of(out, in));
    qn_node *bias = qn_parameter(g, "bias", qn_shape_of(out));
    qn_graph_pop(g);
    return qn_add(g, qn_matmul(g, x, weight,
                               &(struct qn_matmul_params){.trans_b = true}),
                  bias);
}

static qn_status build(struct net *net, qn_error *error)
{
    qn_graph *g = net->graph = qn_graph_create(QN_FLOAT32);
    net->x = qn_input(g, "x", QN_FLOAT32,
                      qn_shape_of(NET_BATCH, NET_FEATURES));
    net->labels = qn_input(g, "labels", QN_INT32, qn_shape_of(NET_BATCH));
    net->step = qn_scalar(g, "step");
    const struct qn_random_params draw = {qn_scalar(g, "seed"), net->step,
                                          "dropout"};
    qn_node *h = qn_relu(g, add_dense(g, net->x, "0", NET_FEATURES, 20));
    qn_node *mask = qn_random_bernoulli(g, qn_shape_of(NET_BATCH, 20), 0.75,
                                        &draw);
    h = qn_scale(g, qn_mul(g, h, mask), 1 / 0.75);
    qn_node *logits = add_dense(g, h, "1", 20, NET_CLASSES);
    net->loss = qn_mean(
        g, qn_softmax_cross_entropy(g, logits, net->labels),
        &(struct qn_reduce_params){0});
    struct qn_optimizer_params adam =
        qn_optimizer_defaults(qn_optimizer_find("adam"));
    qn_optimizer_build(g, net->loss, &adam, &net->update);
    return qn_graph_check(g, error);
}

static qn_status fill_store(struct net *net, qn_error *error)
{
    float values[20 * NET_FEATURES];
    qn_status status = qn_store_add(net->store, net->graph, error);
    for (int i = 0; i < (int)(sizeof values / sizeof *values); i++)
        values[i] = (float)(i * 37 % 101) / 101 - 0.5f;
    for (int i = 0; i < qn_store_count(net->store) && status == QN_OK; i++) {
        qn_store_entry entry;
        qn_store_entry_at(net->store, i, &entry);
        if (entry.group[0] == 'p') // parameters, no slots
            status = qn_store_write(
                net->store, i, values,
                (size_t)qn_shape_count(&entry.shape) * sizeof *values, error);
    }
    return status;
}

static qn_status write_batch(struct net *net, qn_error *error)
{
    float x[NET_BATCH * NET_FEATURES];
    int32_t labels[NET_BATCH];
    for (int i = 0; i < NET_BATCH * NET_FEATURES; i++)
        x[i] = (float)(i * 53 % 97) / 97;
    for (int i = 0; i < NET_BATCH; i++)
        labels[i] = i * 7 % NET_CLASSES;
    qn_status status = qn_plan_write(net->plan, net->x, x, sizeof x);
    if (status == QN_OK)
        status = qn_plan_write(net->plan, net->labels, labels, sizeof labels);
    net->at = qn_optimizer_start(net->update.optimizer);
    net->at.lr = 0.01;
    return fail_plan(net, status, error);
}

qn_status net_init(struct net *net, const char *cache, qn_error *error)
{
    const struct qn_device_params params = {.cache_dir = cache};
    *net = (struct net){0};
    net->device = qn_device_open(&params, error);
    if (!net->device || build(net, error) != QN_OK)
        return error->status;
    net->store = qn_store_create(net->device, error);
    if (!net->store || fill_store(net, error) != QN_OK)
        return error->status;
    net->plan = qn_plan_create(
        net->device,
        &(struct qn_plan_params){.graph = net->graph,
                                 .store = net->store,
                                 .outputs = &net->loss,
                                 .output_count = 1},
        error);
    return net->plan ? write_batch(net, error) : error->status;
}

qn_status net_step(struct net *net, qn_error *error)
{
    net->at.step++;
    qn_status status = qn_plan_set(net->plan, net->step,
                                   (double)net->at.step);
    if (status == QN_OK)
        status = qn_optimizer_set(&net->update, net->plan, &net->at);
    if (status == QN_OK)
        status = qn_plan_run(net->plan);
    return fail_plan(net, status, error);
}

qn_status net_read(struct net *net, float *loss, qn_error *error)
{
    return fail_plan(net,
                     qn_plan_read(net->plan, net->loss, loss, sizeof *loss),
                     error);
}

void net_finish(struct net *net)
{
    qn_plan_destroy(&net->plan);
    qn_store_destroy(&net->store);
    qn_graph_destroy(&net->graph);
    qn_device_close(&net->device);
}
