// A small network that trains on a device of its own: what suites under the
// OpenCL layer run again and again.
#ifndef QN_NET_H
#define QN_NET_H

#include "quern/op.h"
#include "quern/optim.h"
#include "quern/plan.h"

enum { NET_BATCH = 16, NET_FEATURES = 12, NET_CLASSES = 10 };

struct net {
    qn_device *device;
    qn_graph *graph;
    qn_node *x, *labels, *step, *loss;
    struct qn_optimizer_update update;
    struct qn_optimizer_step at;
    qn_store *store;
    qn_plan *plan;
};

// Opens a device, whose programs are cached in `cache`, and plans the training
// of two dense layers with dropout by Adam. What was made before a failure
// stays for net_finish.
qn_status net_init(struct net *net, const char *cache, qn_error *error);
// Enqueues one step.
qn_status net_step(struct net *net, qn_error *error);
// Waits and reads the loss of the last step.
qn_status net_read(struct net *net, float *loss, qn_error *error);
void net_finish(struct net *net);

#endif
