// Cases of what moves elements: all exact.
#include "cases.h"

#include <stddef.h>

static struct qn_case one(const char *op, struct ref_shape shape)
{
    return (struct qn_case){
        .op = op, .in = {{.shape = shape}}, .count = 1, .has_grad = true};
}

static void add_reshapes(void)
{
    static const struct ref_shape shapes[][2] = {
        {SHAPE(12), SHAPE(3, 4)},       {SHAPE(3, 4), SHAPE(12)},
        {SHAPE(1), SCALAR},             {SCALAR, SHAPE(1, 1)},
        {SHAPE(2, 3, 5), SHAPE(-1, 5)}, {SHAPE(2, 3, 5), SHAPE(5, -1, 2)},
        {SHAPE(7, 1), SHAPE(1, 7)},     {SHAPE(4, 6), SHAPE(2, 2, 3, 2)},
    };
    for (int i = 0; i < 8; i++) {
        for (int v = VIEW_NONE; v <= VIEW_STEPPED; v++) {
            struct qn_case c = one("reshape", shapes[i][0]);
            c.params.shape = shapes[i][1];
            c.in[0].view = shapes[i][0].rank ? (enum view)v : VIEW_NONE;
            if (c.in[0].view == (enum view)v)
                case_add(&c);
        }
    }
}

static void add_order(struct ref_shape shape, const int *order, enum view view)
{
    struct qn_case c = one("transpose", shape);
    for (int d = 0; d < shape.rank; d++)
        c.params.order[d] = order[d];
    c.in[0].view = view;
    case_add(&c);
}

static void add_transposes(void)
{
    static const int two[][2] = {{0, 1}, {1, 0}};
    static const int three[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                   {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    static const int four[][4] = {{0, 2, 3, 1}, {0, 3, 1, 2}, {3, 1, 0, 2},
                                  {1, 0, 3, 2}};
    static const int five[][5] = {{4, 2, 0, 3, 1}, {0, 1, 4, 3, 2}};
    static const struct ref_shape pairs[] = {SHAPE(1, 1), SHAPE(7, 5),
                                             SHAPE(33, 65), SHAPE(1, 17)};
    for (int i = 0; i < 4; i++)
        add_order(pairs[i], two[i != 1], VIEW_NONE);
    add_order(pairs[1], two[0], VIEW_NONE);
    for (int i = 0; i < 6; i++)
        add_order(DIMS(3, 5, 17), three[i],
                  i % 2 ? VIEW_NONE : VIEW_STEPPED);
    for (int i = 0; i < 4; i++)
        add_order(DIMS(2, 3, 4, 5), four[i],
                  i % 2 ? VIEW_INNER : VIEW_NONE);
    for (int i = 0; i < 2; i++)
        add_order(DIMS(2, 3, 2, 5, 3), five[i], VIEW_NONE);
}

static void add_broadcasts(void)
{
    static const struct ref_shape shapes[][2] = {
        {SCALAR, SHAPE(17)},          {SHAPE(1), SHAPE(5)},
        {SHAPE(5), SHAPE(5)},         {SHAPE(5), SHAPE(3, 5)},
        {SHAPE(3, 1), SHAPE(3, 17)},  {SHAPE(3, 1, 5), SHAPE(2, 3, 4, 5)},
        {SHAPE(1, 1), SHAPE(33, 33)},
    };
    for (int i = 0; i < 7; i++) {
        struct qn_case c = one("broadcast_to", shapes[i][0]);
        c.params.shape = shapes[i][1];
        case_add(&c);
    }
}

static void add_slices(void)
{
    static const struct {
        int axis;
        int64_t start, stop, step;
        enum view view;
    } slices[] = {
        {0, 0, 6, 1, VIEW_NONE},        {0, 2, 5, 1, VIEW_NONE},
        {0, 1, 6, 2, VIEW_NONE},        {1, 0, 1, 1, VIEW_NONE},
        {1, 3, 100, 1, VIEW_NONE},      {1, -4, -1, 1, VIEW_NONE},
        {-1, 0, 19, 3, VIEW_NONE},      {-1, -19, 19, 18, VIEW_NONE},
        {-2, 1, -1, 2, VIEW_NONE},      {0, 1, 5, 3, VIEW_TRANSPOSED},
        {-1, 2, 17, 4, VIEW_STEPPED},   {1, 1, 6, 1, VIEW_INNER},
        {-1, 18, 19, 1, VIEW_REPEATED}, {0, 0, 6, 100, VIEW_NONE},
    };
    for (int i = 0; i < 14; i++) {
        struct qn_case c =
            one("slice", DIMS(6, 7, 19));
        c.params.axis = slices[i].axis;
        c.params.start = slices[i].start;
        c.params.stop = slices[i].stop;
        c.params.step = slices[i].step;
        c.in[0].view = slices[i].view;
        case_add(&c);
    }
}

static void add_pads(void)
{
    static const struct {
        struct ref_shape shape;
        int64_t low[3], high[3], inner[3];
        enum view view;
    } pads[] = {
        {SHAPE(1), {0}, {1}, {0}, VIEW_NONE},
        {SHAPE(17), {2}, {3}, {0}, VIEW_NONE},
        {SHAPE(17), {0}, {0}, {2}, VIEW_NONE},
        {SHAPE(5, 7), {1, 0}, {0, 2}, {0, 0}, VIEW_NONE},
        {SHAPE(5, 7), {0, 0}, {0, 0}, {0, 0}, VIEW_NONE},
        {SHAPE(5, 7), {0, 3}, {4, 0}, {1, 2}, VIEW_TRANSPOSED},
        {SHAPE(2, 3, 33), {1, 0, 1}, {1, 0, 1}, {0, 1, 0}, VIEW_NONE},
        {SHAPE(3, 2, 5), {0, 1, 0}, {0, 0, 3}, {1, 0, 1}, VIEW_STEPPED},
    };
    for (int i = 0; i < 8; i++) {
        struct qn_case c = one("pad", pads[i].shape);
        for (int d = 0; d < 3; d++) {
            c.params.low[d] = pads[i].low[d];
            c.params.high[d] = pads[i].high[d];
            c.params.inner[d] = pads[i].inner[d];
        }
        c.in[0].view = pads[i].view;
        case_add(&c);
    }
}

static void add_concats(void)
{
    static const struct {
        struct ref_shape shape;
        int axis;
        int count;
        int64_t sizes[8];
        enum view views[8];
    } rows[] = {
        {SHAPE(1), 0, 1, {5}, {0}},
        {SHAPE(1), 0, 2, {1, 17}, {0}},
        {SHAPE(1), -1, 3, {16, 3, 33}, {0}},
        {SHAPE(1, 7), 0, 2, {3, 4}, {0}},
        {SHAPE(7, 1), 1, 2, {3, 4}, {0}},
        {SHAPE(7, 1), -1, 5, {1, 2, 3, 4, 5}, {0}},
        {SHAPE(2, 1, 5), 1, 3, {2, 1, 4}, {0}},
        {SHAPE(2, 3, 1), -1, 2, {17, 16},
         {VIEW_TRANSPOSED, VIEW_STEPPED}},
        {SHAPE(1, 3, 5), 0, 3, {2, 3, 1},
         {VIEW_REPEATED, VIEW_NONE, VIEW_INNER}},
        {SHAPE(2, 1, 3, 2), 1, 8, {1, 1, 2, 1, 3, 1, 1, 2}, {0}},
    };
    for (int i = 0; i < 10; i++) {
        struct qn_case c = one("concat", rows[i].shape);
        const int rank = rows[i].shape.rank;
        c.count = rows[i].count;
        c.params.axis = rows[i].axis;
        for (int k = 0; k < c.count; k++) {
            c.in[k].shape = rows[i].shape;
            c.in[k].shape.dims[(rows[i].axis + rank) % rank] =
                rows[i].sizes[k];
            c.in[k].view = rows[i].views[k];
        }
        case_add(&c);
    }
}

// Sizes without gaps: these depend on the real type (test_op_kernels.c).
static void add_packs(void)
{
    const struct qn_case one_input = {
        .op = "pack", .in = {OPERAND(2, 64)}, .count = 1, .has_grad = true};
    const struct qn_case three = {
        .op = "pack",
        .in = {OPERAND(128), {SHAPE(16, 8), .view = VIEW_TRANSPOSED},
               OPERAND(3, 128)},
        .count = 3,
        .has_grad = true};
    case_add(&one_input);
    case_add(&three);
}

// Moves of integers keep their type.
static void add_integers(void)
{
    static const qn_dtype types[] = {QN_INT32, QN_UINT8};
    for (int t = 0; t < 2; t++) {
        const struct operand x = {SHAPE(4, 6), FILL_INTEGERS, VIEW_NONE,
                                  types[t], true};
        struct qn_case c = one("transpose", x.shape);
        c.in[0] = x;
        c.has_grad = false;
        c.params.order[0] = 1;
        case_add(&c);
        c = one("slice", x.shape);
        c.in[0] = x;
        c.has_grad = false;
        c.params = (struct ref_params){
            .axis = 1, .start = 1, .stop = 6, .step = 2};
        case_add(&c);
        c = one("reshape", x.shape);
        c.in[0] = x;
        c.has_grad = false;
        c.params = (struct ref_params){.shape = SHAPE(3, 8)};
        case_add(&c);
    }
}

void cases_add_shape(void)
{
    add_reshapes();
    add_transposes();
    add_broadcasts();
    add_slices();
    add_pads();
    add_concats();
    add_packs();
    add_integers();
}
