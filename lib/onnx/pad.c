// Padding: with a value, by reflection, by repetition of the border.
#include "onnx/row.h"
#include "quern/op.h"

struct edges {
    int64_t low[QN_MAX_RANK];
    int64_t high[QN_MAX_RANK];
};

// pads: all starts, then all ends; for the axes of input 3 alone where given.
static void read_edges(struct qn_onnx_use *use, const qn_node *x,
                       struct edges *edges)
{
    int64_t pads[2 * QN_ONNX_MAX_RANK], axes[QN_ONNX_MAX_RANK];
    const int rank = qn_onnx_shape(x).rank;
    *edges = (struct edges){0};
    const int count =
        use->opset < 11
            ? qn_onnx_ints(use, "pads", pads, 2 * QN_ONNX_MAX_RANK)
            : qn_onnx_in_ints(use, 1, pads, 2 * QN_ONNX_MAX_RANK);
    int axis_count = qn_onnx_in_ints(use, 3, axes, QN_ONNX_MAX_RANK);
    if (axis_count < 0)
        for (axis_count = 0; axis_count < rank; axis_count++)
            axes[axis_count] = axis_count;
    if (count != 2 * axis_count) {
        qn_onnx_fail(use, QN_BAD_SHAPE, "%d pads for %d dimensions", count,
                     axis_count);
        return;
    }
    for (int i = 0; i < axis_count; i++) {
        const int d = qn_onnx_axis(use, x, axes[i]);
        edges->low[d] = pads[i];
        edges->high[d] = pads[i + axis_count];
        if (pads[i] < 0 || pads[i + axis_count] < 0)
            qn_onnx_fail(use, QN_UNSUPPORTED, "negative pads");
    }
}

static double read_value(struct qn_onnx_use *use)
{
    if (use->opset < 11)
        return qn_onnx_float(use, "value", 0);
    const struct qn_onnx_tensor *tensor = qn_onnx_content(use, 2);
    return tensor && tensor->count == 1 ? qn_onnx_real(tensor, 0) : 0;
}

static qn_node *pad_value(qn_graph *g, qn_node *x, const struct edges *edges,
                          double value)
{
    qn_node *y = qn_pad(g, x, edges->low, edges->high, NULL);
    if (value == 0)
        return y;
    qn_node *ones =
        qn_broadcast_to(g, qn_constant(g, 1), qn_onnx_shape(x));
    return qn_select(g, qn_pad(g, ones, edges->low, edges->high, NULL), y,
                     qn_constant(g, value));
}

// Element i of an axis of `length` elements, mirrored or held at its ends.
static int64_t source(int64_t i, int64_t length, bool reflects)
{
    if (!reflects)
        return i < 0 ? 0 : i >= length ? length - 1 : i;
    return i < 0 ? -i : i >= length ? 2 * (length - 1) - i : i;
}

// Axis by axis: single elements before and after the whole.
static qn_node *pad_copies(struct qn_onnx_use *use, qn_node *x, int axis,
                           int64_t low, int64_t high, bool reflects)
{
    enum { MOST = 256 };
    qn_node *parts[2 * MOST + 1];
    const int64_t length = qn_onnx_shape(x).dims[axis];
    const int64_t most = reflects ? length - 1 : MOST;
    if (low > most || high > most || low > MOST || high > MOST) {
        qn_onnx_fail(use, QN_UNSUPPORTED, "pads of %lld and %lld elements",
                     (long long)low, (long long)high);
        return NULL;
    }
    int count = 0;
    for (int64_t i = -low; i < length + high; i++) {
        const int64_t at = source(i, length, reflects);
        parts[count++] = i == 0 ? x
                                : qn_slice(use->g, x, axis, at, at + 1, 1);
        if (i == 0)
            i = length - 1;
    }
    return count > 1 ? qn_concat(use->g, parts, count, axis) : x;
}

static void build_pad(struct qn_onnx_use *use)
{
    qn_node *x = qn_onnx_in(use, 0);
    struct edges edges;
    read_edges(use, x, &edges);
    const bool reflects = qn_onnx_text_is(use, "mode", "constant", "reflect");
    const double value = read_value(use);
    if (qn_onnx_failed(use))
        return;
    if (qn_onnx_text_is(use, "mode", "constant", "constant")) {
        use->out[0] = pad_value(use->g, x, &edges, value);
        return;
    }
    if (!reflects && !qn_onnx_text_is(use, "mode", "constant", "edge"))
        qn_onnx_fail(use, QN_UNSUPPORTED, "an unknown mode");
    for (int d = 0; d < qn_onnx_shape(x).rank && !qn_onnx_failed(use); d++)
        x = pad_copies(use, x, d, edges.low[d], edges.high[d], reflects);
    use->out[0] = x;
}

const struct qn_onnx_row qn_onnx_pad_rows[] = {
    {.op = "Pad", .since = 2, .until = 10, .min_inputs = 1, .max_inputs = 1,
     .max_outputs = 1, .attributes = "mode pads value", .build = build_pad},
    {.op = "Pad", .since = 11, .until = QN_ONNX_ANY, .min_inputs = 2,
     .max_inputs = 4, .max_outputs = 1, .attributes = "mode",
     .contents = 2 | 4 | 8, .build = build_pad},
    {0},
};
