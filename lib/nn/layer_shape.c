// Layers that move elements and change none.
#include "nn/layer.h"

#include "graph/graph.h"
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

// ---- subsample ----

enum { SUBSAMPLE_STRIDE, SUBSAMPLE_CHANNELS };

static const struct qn_layer_key subsample_keys[] = {
    {"stride", "pair", "every so many rows and columns stay", 1, 1 << 16, 2,
     NULL},
    {"channels", "integer", "of y, those past x's zero; 0: as x", 0, 1 << 24,
     0, NULL},
    {0},
};

static qn_node *build_subsample(qn_graph *g, qn_node *x,
                                const struct qn_layer_use *use)
{
    const qn_shape shape = *qn_node_shape(x);
    const int64_t more =
        (int64_t)use->values[SUBSAMPLE_CHANNELS] - shape.dims[1];
    if (shape.rank != 4 ||
        (use->values[SUBSAMPLE_CHANNELS] != 0 && more < 0)) {
        char text[128];
        qn_graph_fail(g, QN_BAD_SHAPE,
                      "subsample: %s is not [n, c, h, w] with at most %.0f "
                      "channels",
                      qn_shape_text(&shape, text, sizeof text),
                      use->values[SUBSAMPLE_CHANNELS]);
        return NULL;
    }
    x = qn_slice(g, x, 2, 0, shape.dims[2],
                 (int64_t)use->values[SUBSAMPLE_STRIDE]);
    x = qn_slice(g, x, 3, 0, shape.dims[3],
                 (int64_t)use->widths[SUBSAMPLE_STRIDE]);
    return more > 0 ? qn_pad(g, x, NULL, (int64_t[4]){0, more}, NULL) : x;
}

const struct qn_layer qn_layers_shape[] = {
    {.name = "flatten", .formula = "y[n, :] = all of x[n, ...]",
     .apply = qn_layer_flatten},
    {.name = "subsample",
     .formula = "y = x[:, :, ::stride, ::stride], with zero channels behind",
     .keys = subsample_keys, .build = build_subsample},
    {0},
};
