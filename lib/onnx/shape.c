// Operators that only look at or move elements, and constants.

#include "onnx/row.h"
#include "quern/op.h"

// Axes by attribute before version 13, by input 1 from then on.
static int read_axes(struct qn_onnx_use *use, int64_t *axes)
{
    return use->opset < 13
               ? qn_onnx_ints(use, "axes", axes, QN_ONNX_MAX_RANK)
               : qn_onnx_in_ints(use, 1, axes, QN_ONNX_MAX_RANK);
}

// ---- shapes ----

static void build_squeeze(struct qn_onnx_use *use)
{
    qn_node *x = qn_onnx_in(use, 0);
    const qn_shape from = qn_onnx_shape(x);
    int64_t axes[QN_ONNX_MAX_RANK];
    bool gone[QN_MAX_RANK] = {0};
    const int count = read_axes(use, axes);
    for (int d = 0; d < from.rank; d++)
        gone[d] = count < 0 && from.dims[d] == 1;
    for (int i = 0; i < count && x; i++) {
        const int d = qn_onnx_axis(use, x, axes[i]);
        gone[d] = true;
        if (from.dims[d] != 1)
            qn_onnx_fail(use, QN_BAD_SHAPE, "dimension %d is %lld, not 1", d,
                         (long long)from.dims[d]);
    }
    qn_shape to = {0};
    for (int d = 0; d < from.rank; d++)
        if (!gone[d])
            to.dims[to.rank++] = from.dims[d];
    use->out[0] = qn_reshape(use->g, x, to);
}

static void build_unsqueeze(struct qn_onnx_use *use)
{
    qn_node *x = qn_onnx_in(use, 0);
    const qn_shape from = qn_onnx_shape(x);
    int64_t axes[QN_ONNX_MAX_RANK];
    bool is_new[QN_MAX_RANK] = {0};
    const int count = read_axes(use, axes);
    const int rank = from.rank + (count > 0 ? count : 0);
    if (rank > QN_MAX_RANK) {
        qn_onnx_fail(use, QN_UNSUPPORTED, "a result of %d dimensions", rank);
        return;
    }
    for (int i = 0; i < count; i++) {
        const int64_t d = axes[i] < 0 ? axes[i] + rank : axes[i];
        if (d < 0 || d >= rank || is_new[d]) {
            qn_onnx_fail(use, QN_BAD_SHAPE, "axis %lld", (long long)axes[i]);
            return;
        }
        is_new[d] = true;
    }
    qn_shape to = {.rank = rank};
    for (int d = 0, k = 0; d < rank; d++)
        to.dims[d] = is_new[d] ? 1 : from.dims[k++];
    use->out[0] = qn_reshape(use->g, x, to);
}

// 0 keeps a dimension, -1 is worked out.
static void build_reshape(struct qn_onnx_use *use)
{
    qn_node *x = qn_onnx_in(use, 0);
    const qn_shape from = qn_onnx_shape(x);
    qn_shape to = {0};
    int64_t dims[QN_MAX_RANK];
    to.rank = use->opset < 5 ? qn_onnx_ints(use, "shape", dims, QN_MAX_RANK)
                             : qn_onnx_in_ints(use, 1, dims, QN_MAX_RANK);
    for (int d = 0; d < to.rank; d++) {
        const bool keeps = dims[d] == 0 && !qn_onnx_int(use, "allowzero", 0);
        to.dims[d] = keeps && d < from.rank ? from.dims[d] : dims[d];
    }
    use->out[0] = to.rank >= 0 ? qn_reshape(use->g, x, to) : NULL;
}

static void build_flatten(struct qn_onnx_use *use)
{
    qn_node *x = qn_onnx_in(use, 0);
    const qn_shape from = qn_onnx_shape(x);
    const int64_t given = qn_onnx_int(use, "axis", 1);
    const int axis =
        given == from.rank ? from.rank : qn_onnx_axis(use, x, given);
    qn_shape to = {.rank = 2, .dims = {1, 1}};
    for (int d = 0; d < from.rank; d++)
        to.dims[d >= axis] *= from.dims[d];
    use->out[0] = qn_reshape(use->g, x, to);
}

static void build_transpose(struct qn_onnx_use *use)
{
    qn_node *x = qn_onnx_in(use, 0);
    const int rank = qn_onnx_shape(x).rank;
    int64_t given[QN_MAX_RANK];
    int order[QN_MAX_RANK];
    const int count = qn_onnx_ints(use, "perm", given, QN_MAX_RANK);
    if (count >= 0 && count != rank)
        qn_onnx_fail(use, QN_BAD_SHAPE, "perm has %d values for %d dimensions",
                     count, rank);
    for (int d = 0; d < rank; d++)
        order[d] = count == rank ? qn_onnx_axis(use, x, given[d])
                                 : rank - 1 - d;
    use->out[0] = qn_transpose(use->g, x, order);
}

// ---- parts ----

static void build_concat(struct qn_onnx_use *use)
{
    qn_node *inputs[QN_ONNX_MAX_VALUES];
    for (int i = 0; i < use->in_count; i++)
        inputs[i] = qn_onnx_in(use, i);
    const int axis =
        qn_onnx_axis(use, inputs[0], qn_onnx_int(use, "axis", 1));
    use->out[0] = qn_concat(use->g, inputs, use->in_count, axis);
}

// Sizes by attribute, by input 1 from version 13 on; else equal parts, of
// which the last may be smaller.
static void build_split(struct qn_onnx_use *use)
{
    qn_node *x = qn_onnx_in(use, 0);
    const int axis = qn_onnx_axis(use, x, qn_onnx_int(use, "axis", 0));
    const int64_t length = x ? qn_onnx_shape(x).dims[axis] : 0;
    int64_t sizes[QN_ONNX_MAX_VALUES], start = 0;
    const int count =
        use->opset < 13
            ? qn_onnx_ints(use, "split", sizes, QN_ONNX_MAX_VALUES)
            : qn_onnx_in_ints(use, 1, sizes, QN_ONNX_MAX_VALUES);
    const int64_t each = (length + use->out_count - 1) / use->out_count;
    if (count >= 0 && count != use->out_count)
        qn_onnx_fail(use, QN_BAD_SHAPE, "%d sizes for %d outputs", count,
                     use->out_count);
    for (int i = 0; i < use->out_count && !qn_onnx_failed(use); i++) {
        const int64_t size = count >= 0 ? sizes[i] : each;
        const bool is_last = i == use->out_count - 1;
        const int64_t stop = is_last || size > length ? length : start + size;
        if (size < 0 || stop > length ||
            (count >= 0 && stop - start != size)) {
            qn_onnx_fail(use, QN_BAD_SHAPE, "part %d does not fit", i);
            return;
        }
        use->out[i] = qn_slice(use->g, x, axis, start, stop, 1);
        start = stop;
    }
}

// Before version 10 by attributes, then by inputs 1 to 4.
static void build_slice(struct qn_onnx_use *use)
{
    enum { MOST = QN_ONNX_MAX_RANK };
    int64_t starts[MOST], stops[MOST], axes[MOST], steps[MOST];
    const bool is_old = use->opset < 10;
    qn_node *x = qn_onnx_in(use, 0);
    const int count = is_old ? qn_onnx_ints(use, "starts", starts, MOST)
                             : qn_onnx_in_ints(use, 1, starts, MOST);
    const int stop_count = is_old ? qn_onnx_ints(use, "ends", stops, MOST)
                                  : qn_onnx_in_ints(use, 2, stops, MOST);
    const int axis_count = is_old ? qn_onnx_ints(use, "axes", axes, MOST)
                                  : qn_onnx_in_ints(use, 3, axes, MOST);
    const int step_count =
        is_old ? -1 : qn_onnx_in_ints(use, 4, steps, MOST);
    if (stop_count != count || (axis_count >= 0 && axis_count != count) ||
        (step_count >= 0 && step_count != count))
        qn_onnx_fail(use, QN_BAD_SHAPE, "lists of different lengths");
    for (int i = 0; i < count && !qn_onnx_failed(use); i++) {
        const int64_t step = step_count < 0 ? 1 : steps[i];
        if (step < 1)
            qn_onnx_fail(use, QN_UNSUPPORTED, "a step of %lld",
                         (long long)step);
        else
            x = qn_slice(use->g, x,
                         qn_onnx_axis(use, x, axis_count < 0 ? i : axes[i]),
                         starts[i], stops[i], step);
    }
    use->out[0] = x;
}

// To input 1's shape and x's, broadcast both ways.
static void build_expand(struct qn_onnx_use *use)
{
    qn_node *x = qn_onnx_in(use, 0);
    const qn_shape from = qn_onnx_shape(x);
    int64_t dims[QN_MAX_RANK];
    const int count = qn_onnx_in_ints(use, 1, dims, QN_MAX_RANK);
    qn_shape to = {.rank = count > from.rank ? count : from.rank};
    for (int d = 0; d < to.rank; d++) {
        const int mine = d - (to.rank - from.rank), its = d - (to.rank - count);
        to.dims[d] = mine >= 0 ? from.dims[mine] : 1;
        if (its >= 0 && to.dims[d] == 1)
            to.dims[d] = dims[its];
    }
    use->out[0] = count >= 0 ? qn_broadcast_to(use->g, x, to) : NULL;
}

// Rows of a table; negative indices count from the end.
static void build_gather(struct qn_onnx_use *use)
{
    qn_node *table = qn_onnx_in(use, 0), *index = qn_onnx_in(use, 1);
    const qn_shape from = qn_onnx_shape(table), at = qn_onnx_shape(index);
    qn_shape to = at;
    if (qn_onnx_axis(use, table, qn_onnx_int(use, "axis", 0)) != 0)
        qn_onnx_fail(use, QN_UNSUPPORTED, "along an axis other than 0");
    if (at.rank + from.rank - 1 > QN_MAX_RANK)
        qn_onnx_fail(use, QN_UNSUPPORTED, "a result of %d dimensions",
                     at.rank + from.rank - 1);
    if (qn_onnx_failed(use) || !from.rank)
        return;
    qn_node *is_negative = qn_less(use->g, index, qn_constant(use->g, 0));
    index = qn_select(use->g, is_negative,
                      qn_add_scalar(use->g, index, (double)from.dims[0]),
                      index);
    index = qn_cast(use->g, index, QN_INT32);
    index = qn_reshape(use->g, index, qn_shape_of(-1));
    qn_node *rows =
        qn_take(use->g, table, index, qn_scalar(use->g, "gather.offset"),
                qn_shape_count(&at));
    for (int d = 1; d < from.rank; d++)
        to.dims[to.rank++] = from.dims[d];
    use->out[0] = qn_reshape(use->g, rows, to);
}

// ---- constants, types ----

static void build_identity(struct qn_onnx_use *use)
{
    use->out[0] = qn_onnx_in(use, 0);
}

static void build_constant(struct qn_onnx_use *use)
{
    const Onnx__AttributeProto *value = qn_onnx_attribute(use, "value");
    struct qn_onnx_tensor tensor;
    qn_error detail = {0};
    if (qn_onnx_attribute(use, "value_float"))
        use->out[0] =
            qn_constant(use->g, qn_onnx_float(use, "value_float", 0));
    else if (!value || !value->t)
        qn_onnx_fail(use, QN_UNSUPPORTED, "a constant that is no tensor");
    else if (qn_onnx_tensor_read(value->t, &tensor, &detail) != QN_OK)
        qn_onnx_fail(use, detail.status, "%s", detail.text);
    else
        use->out[0] = qn_onnx_constant(use, &tensor);
}

static void build_cast_like(struct qn_onnx_use *use)
{
    qn_node *like = qn_onnx_in(use, 1);
    if (like)
        use->out[0] = qn_cast(use->g, qn_onnx_in(use, 0),
                              qn_node_dtype(like));
}

static void build_cast(struct qn_onnx_use *use)
{
    const int64_t to = qn_onnx_int(use, "to", 0);
    if (to == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT ||
        to == ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE)
        use->out[0] = qn_cast(use->g, qn_onnx_in(use, 0), use->real);
    else if (to == ONNX__TENSOR_PROTO__DATA_TYPE__INT32 ||
             to == ONNX__TENSOR_PROTO__DATA_TYPE__INT64)
        use->out[0] = qn_cast(use->g, qn_onnx_in(use, 0), QN_INT32);
    else
        qn_onnx_fail(use, QN_UNSUPPORTED, "to a tensor %s",
                     qn_onnx_type_name((int)to));
}

#define ANY QN_ONNX_ANY
#define ROW(name, first, last, least, most, names, needed, builder)        \
    {.op = name, .since = first, .until = last, .min_inputs = least,       \
     .max_inputs = most, .max_outputs = 1, .attributes = names,            \
     .contents = needed, .build = builder}

const struct qn_onnx_row qn_onnx_shape_rows[] = {
    ROW("Squeeze", 1, 12, 1, 1, "axes", 0, build_squeeze),
    ROW("Squeeze", 13, ANY, 1, 2, NULL, 2, build_squeeze),
    ROW("Unsqueeze", 1, 12, 1, 1, "axes", 0, build_unsqueeze),
    ROW("Unsqueeze", 13, ANY, 2, 2, NULL, 2, build_unsqueeze),
    ROW("Reshape", 1, 4, 1, 1, "shape", 0, build_reshape),
    ROW("Reshape", 5, ANY, 2, 2, "allowzero", 2, build_reshape),
    ROW("Flatten", 1, ANY, 1, 1, "axis", 0, build_flatten),
    ROW("Transpose", 1, ANY, 1, 1, "perm", 0, build_transpose),
    ROW("Concat", 1, ANY, 1, -1, "axis", 0, build_concat),
    {.op = "Split", .since = 2, .until = 12, .min_inputs = 1,
     .max_inputs = 1, .max_outputs = QN_ONNX_MAX_VALUES,
     .attributes = "axis split", .build = build_split},
    {.op = "Split", .since = 13, .until = ANY, .min_inputs = 1,
     .max_inputs = 2, .max_outputs = QN_ONNX_MAX_VALUES,
     .attributes = "axis num_outputs", .contents = 2, .build = build_split},
    ROW("Slice", 1, 9, 1, 1, "starts ends axes", 0, build_slice),
    ROW("Slice", 10, ANY, 3, 5, NULL, 2 | 4 | 8 | 16, build_slice),
    ROW("Expand", 8, ANY, 2, 2, NULL, 2, build_expand),
    ROW("Gather", 1, ANY, 2, 2, "axis", 0, build_gather),
    ROW("Identity", 1, ANY, 1, 1, NULL, 0, build_identity),
    ROW("Constant", 1, ANY, 0, 0, "value value_float", 0, build_constant),
    ROW("CastLike", 15, ANY, 2, 2, "saturate", 0, build_cast_like),
    ROW("Cast", 6, ANY, 1, 1, "to saturate", 0, build_cast),
    {0},
};
