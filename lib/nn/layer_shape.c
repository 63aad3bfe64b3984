// Layers that move elements and change none.
#include "nn/layer.h"
#include "quern/op.h"

qn_node *qn_layer_flatten(qn_graph *g, qn_node *x)
{
    if (!x)
        return NULL;
    const qn_shape *shape = qn_node_shape(x);
    if (shape->rank == 2)
        return x;
    int64_t n = shape->rank > 0 ? shape->dims[0] : 1;
    return qn_reshape(g, x, qn_shape_of(n, -1));
}

const struct qn_layer qn_layers_shape[] = {
    {.name = "flatten", .formula = "y[n, :] = all of x[n, ...]",
     .apply = qn_layer_flatten},
    {0},
};
