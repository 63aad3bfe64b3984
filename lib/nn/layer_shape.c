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

// ---- zero_pad ----

enum { PADDING, BEHIND };

static const struct qn_layer_key pad_keys[] = {
    [PADDING] = {"padding", "pair", "rows and columns of zeros on each side",
                 0, 1 << 20, 1, NULL},
    [BEHIND] = {"behind", "pair", "below and right; -1: as padding", -1,
                1 << 20, -1, NULL},
    {0},
};

static int64_t behind(double padding, double behind)
{
    return (int64_t)(behind < 0 ? padding : behind);
}

static qn_node *build_pad(qn_graph *g, qn_node *x,
                          const struct qn_layer_use *use)
{
    const double *h = use->values, *w = use->widths;
    if (!x)
        return NULL;
    if (x->shape.rank != 4) {
        qn_graph_fail(g, QN_BAD_SHAPE,
                      "zero_pad: needs images [n, c, h, w], not %d "
                      "dimensions",
                      x->shape.rank);
        return NULL;
    }
    const int64_t low[] = {0, 0, (int64_t)h[PADDING], (int64_t)w[PADDING]};
    const int64_t high[] = {0, 0, behind(h[PADDING], h[BEHIND]),
                            behind(w[PADDING], w[BEHIND])};
    return qn_pad(g, x, low, high, NULL);
}

// ---- upsample ----

enum { SCALE, MODE, CORNERS };

static const struct qn_layer_key upsample_keys[] = {
    [SCALE] = {"scale", "pair", "how many times as high and wide", 1, 1 << 10,
               2, NULL},
    [MODE] = {"mode", "choice", "how pixels between come about", 0, 1, 0,
              "nearest|bilinear"},
    [CORNERS] = {"align_corners", "boolean",
                 "bilinear: the corners of both images fall together", 0, 1,
                 0, NULL},
    {0},
};

static qn_node *build_upsample(qn_graph *g, qn_node *x,
                               const struct qn_layer_use *use)
{
    if (!x)
        return NULL;
    const bool has_sides = x->shape.rank == 4;
    const int64_t height =
        has_sides ? x->shape.dims[2] * (int64_t)use->values[SCALE] : 0;
    const int64_t width =
        has_sides ? x->shape.dims[3] * (int64_t)use->widths[SCALE] : 0;
    return use->values[MODE] == 0
               ? qn_upsample_nearest(g, x, height, width)
               : qn_upsample_bilinear(g, x, height, width,
                                      use->values[CORNERS] != 0);
}

const struct qn_layer qn_layers_shape[] = {
    {.name = "flatten", .formula = "y[n, :] = all of x[n, ...]",
     .apply = qn_layer_flatten},
    {.name = "subsample",
     .formula = "y = x[:, :, ::stride, ::stride], with zero channels behind",
     .keys = subsample_keys, .build = build_subsample},
    {.name = "zero_pad", .formula = "y = x with zeros around",
     .keys = pad_keys, .build = build_pad},
    {.name = "upsample",
     .formula = "y = x, scale times as high and wide, nearest or bilinear",
     .keys = upsample_keys, .build = build_upsample},
    {0},
};
