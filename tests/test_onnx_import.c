// The importer of ONNX models: operators that the vectors of the format's own
// suite leave out, and files that are malformed or ask for what there is not.
// Models are packed here, so that each fault is one change to a good one.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "onnx/onnx.h"
#include "onnx_model.h"
#include "qn_check.h"
#include "quern/op.h"
#include "quern/plan.h"

// ---- running ----

// x[2, 3] = 1 -2 3 -4 5 -6 for each input, times 1, 2, ...
static void fill(float *x, int input)
{
    for (int i = 0; i < 6; i++)
        x[i] = (float)((i + 1) * (i % 2 ? -1 : 1) * (input + 1));
}

static qn_status build(const struct model *m, qn_graph *g, qn_node **in,
                       qn_node **out, qn_error *error)
{
    unsigned char bytes[MOST_BYTES];
    struct qn_onnx_binding bindings[MOST];
    qn_onnx *onnx = qn_onnx_parse(bytes, pack_model(m, bytes), "model", error);
    if (!onnx)
        return error->status;
    int count = 0;
    for (; qn_onnx_input(onnx, count); count++) {
        in[count] = qn_input(g, qn_onnx_input(onnx, count), QN_FLOAT32,
                             qn_shape_of(2, 3));
        bindings[count] = (struct qn_onnx_binding){
            .name = qn_onnx_input(onnx, count), .node = in[count]};
    }
    const qn_status status =
        qn_onnx_build(onnx, g, bindings, count, out, error);
    qn_onnx_close(&onnx);
    return status;
}

static void expect(const struct model *m, qn_shape shape,
                   const double *want)
{
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *in[MOST] = {0}, *out[2];
    qn_error error = {0};
    float x[6], y[64];
    double got[64];
    ck_assert_ok(build(m, g, in, out, &error), error);
    ck_assert_msg(qn_shape_equal(qn_node_shape(out[0]), &shape), "%s",
                  m->node.op_type);
    const struct qn_plan_params params = {
        .graph = g, .outputs = out, .output_count = 1};
    qn_plan *plan = qn_plan_create(qn_check_device(), &params, &error);
    ck_assert_msg(plan != NULL, "%s: %s", m->node.op_type, error.text);
    for (int i = 0; in[i]; i++) {
        fill(x, i);
        ck_assert_int_eq(qn_plan_write(plan, in[i], x, sizeof x), QN_OK);
    }
    const int64_t count = qn_shape_count(&shape);
    ck_assert_int_eq(qn_plan_run(plan), QN_OK);
    ck_assert_int_eq(qn_plan_read(plan, out[0], y,
                                  (size_t)count * sizeof *y), QN_OK);
    for (int64_t k = 0; k < count; k++)
        got[k] = (double)y[k];
    qn_check_close(m->node.op_type, got, want, count, 1e-6, 1e-7);
    qn_plan_destroy(&plan);
    qn_graph_destroy(&g);
}

#define EXPECT(m, shape, ...) expect(m, shape, (const double[]){__VA_ARGS__})

START_TEST(operators_of_two_inputs_agree)
{
    static const struct {
        char *op;
        int64_t version;
        double want[6];
    } rows[] = {
        {"Add", 13, {3, -6, 9, -12, 15, -18}},
        {"Sub", 6, {-1, 2, -3, 4, -5, 6}},
        {"Mul", 14, {2, 8, 18, 32, 50, 72}},
        {"Div", 7, {.5, .5, .5, .5, .5, .5}},
        {"Max", 13, {2, -2, 6, -4, 10, -6}},
        {"Min", 8, {1, -4, 3, -8, 5, -12}},
        {"Sum", 6, {3, -6, 9, -12, 15, -18}},
        {"Mean", 8, {1.5, -3, 4.5, -6, 7.5, -9}},
        {"Less", 9, {1, 0, 1, 0, 1, 0}},
        {"GreaterOrEqual", 16, {0, 1, 0, 1, 0, 1}},
    };
    const qn_shape shape = qn_shape_of(2, 3);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct model m;
        start(&m, rows[i].op, rows[i].version);
        add_input(&m);
        add_input(&m);
        expect(&m, shape, rows[i].want);
    }
}
END_TEST

// Fails with this status and a text that holds `part`.
static void refuse(const struct model *m, qn_status status, const char *part)
{
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *in[MOST] = {0}, *out[2];
    qn_error error = {0};
    const qn_status got = build(m, g, in, out, &error);
    ck_assert_msg(got == status && strstr(error.text, part),
                  "%s: %s: should say %s", qn_status_name(got), error.text,
                  part);
    qn_graph_destroy(&g);
}

// Written from the operators' definitions.
START_TEST(operators_of_one_input_agree)
{
    static const struct {
        char *op;
        int64_t version;
        double want[6];
    } rows[] = {
        {"HardSwish", 14, {0.666666667, -0.333333333, 3, 0, 5, 0}},
        {"HardSigmoid", 6, {0.7, 0.1, 1, 0, 1, 0}},
        {"ThresholdedRelu", 10, {0, 0, 3, 0, 5, 0}},
        {"Celu", 12, {1, -0.864664717, 3, -0.981684361, 5, -0.997521248}},
        {"Gelu", 20,
         {0.841344746, -0.0455002639, 2.99595031, -0.000126684967, 4.99999857, -5.91952587e-09}},
        {"Mish", 18,
         {0.865098388, -0.252501483, 2.986535, -0.0725917408, 4.99955208, -0.0148540805}},
        {"Reciprocal", 13, {1, -0.5, 0.333333333, -0.25, 0.2, -0.166666667}},
        {"Softsign", 22,
         {0.5, -0.666666667, 0.75, -0.8, 0.833333333, -0.857142857}},
        {"Abs", 13, {1, 2, 3, 4, 5, 6}},
    };
    const qn_shape shape = qn_shape_of(2, 3);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct model m;
        start(&m, rows[i].op, rows[i].version);
        add_input(&m);
        expect(&m, shape, rows[i].want);
    }
}
END_TEST

START_TEST(operators_on_shapes_agree)
{
    struct model m;
    int64_t swapped[] = {-1, 2}, axes[] = {0}, sizes[] = {1, 2};
    start(&m, "Reshape", 21);
    add_input(&m);
    add_ints(&m, swapped, 2);
    EXPECT(&m, qn_shape_of(3, 2), 1, -2, 3, -4, 5, -6);
    start(&m, "Transpose", 13);
    add_input(&m);
    EXPECT(&m, qn_shape_of(3, 2), 1, -4, -2, 5, 3, -6);
    start(&m, "Flatten", 13);
    add_input(&m);
    add_int(&m, "axis", 0);
    EXPECT(&m, qn_shape_of(1, 6), 1, -2, 3, -4, 5, -6);
    start(&m, "Unsqueeze", 13);
    add_input(&m);
    add_ints(&m, axes, 1);
    EXPECT(&m, qn_shape_of(1, 2, 3), 1, -2, 3, -4, 5, -6);
    start(&m, "Concat", 13);
    add_input(&m);
    add_input(&m);
    add_int(&m, "axis", -1);
    EXPECT(&m, qn_shape_of(2, 6), 1, -2, 3, 2, -4, 6, -4, 5, -6, -8, 10, -12);
    start(&m, "Split", 13);
    add_input(&m);
    add_ints(&m, sizes, 2);
    add_int(&m, "axis", 1);
    m.node.n_output = 2;
    EXPECT(&m, qn_shape_of(2, 1), 1, -4);
}
END_TEST

START_TEST(slices_and_expansions_agree)
{
    struct model m;
    int64_t starts[] = {-2, 0}, stops[] = {INT64_MAX, 2}, axes[] = {1, 0};
    int64_t steps[] = {1, 2}, wide[] = {2, 1, 3};
    start(&m, "Slice", 13);
    add_input(&m);
    add_ints(&m, starts, 2);
    add_ints(&m, stops, 2);
    add_ints(&m, axes, 2);
    add_ints(&m, steps, 2);
    EXPECT(&m, qn_shape_of(1, 2), -2, 3);
    steps[0] = -1;
    refuse(&m, QN_UNSUPPORTED, "step of -1");
    start(&m, "Slice", 9);
    add_input(&m);
    add_list(&m, "starts", starts, 1);
    add_list(&m, "ends", stops, 1);
    add_list(&m, "axes", axes, 1);
    EXPECT(&m, qn_shape_of(2, 2), -2, 3, 5, -6);
    start(&m, "Expand", 13);
    add_input(&m);
    add_ints(&m, wide, 3);
    EXPECT(&m, qn_shape_of(2, 2, 3), 1, -2, 3, -4, 5, -6, 1, -2, 3, -4, 5,
           -6);
}
END_TEST

START_TEST(reductions_agree)
{
    struct model m;
    int64_t last[] = {-1};
    start(&m, "ReduceSum", 13);
    add_input(&m);
    add_ints(&m, last, 1);
    add_int(&m, "keepdims", 0);
    EXPECT(&m, qn_shape_of(2), 2, -5);
    start(&m, "ReduceMean", 11);
    add_input(&m);
    add_list(&m, "axes", last, 1);
    EXPECT(&m, qn_shape_of(2, 1), 2.0 / 3, -5.0 / 3);
    start(&m, "ReduceMax", 13);
    add_input(&m);
    EXPECT(&m, qn_shape_of(1, 1), 5);
    start(&m, "ReduceMin", 20);
    add_input(&m);
    add_ints(&m, last, 1);
    EXPECT(&m, qn_shape_of(2, 1), -2, -6);
    start(&m, "ReduceL2", 18);
    add_input(&m);
    add_int(&m, "keepdims", 0);
    EXPECT(&m, (qn_shape){0}, sqrt(91));
}
END_TEST

START_TEST(normalisations_agree)
{
    struct model m;
    float ones[] = {1, 1, 1}, shifts[] = {0, 1, 2};
    start(&m, "LayerNormalization", 17);
    add_input(&m); // 1 -2 3; -4 5 -6: means 2/3, -5/3
    add_floats(&m, ones, 3);
    add_floats(&m, shifts, 3);
    const double a = 1 / sqrt((1 + 64 + 49) / 27.0 + 1e-5);
    const double b = 1 / sqrt((49 + 400 + 169) / 27.0 + 1e-5);
    EXPECT(&m, qn_shape_of(2, 3), a / 3, 1 - 8 * a / 3, 2 + 7 * a / 3,
           -7 * b / 3, 1 + 20 * b / 3, 2 - 13 * b / 3);
    start(&m, "GroupNormalization", 18);
    add_input(&m);
    add_floats(&m, ones, 1);
    add_floats(&m, shifts, 1);
    add_int(&m, "num_groups", 1);
    EXPECT(&m, qn_shape_of(2, 3), a / 3, -8 * a / 3, 7 * a / 3, -7 * b / 3,
           20 * b / 3, -13 * b / 3);
}
END_TEST

START_TEST(pads_agree)
{
    struct model m;
    int64_t pads[] = {0, 1, 0, 2};
    start(&m, "Pad", 13);
    add_input(&m);
    add_ints(&m, pads, 4);
    EXPECT(&m, qn_shape_of(2, 6), 0, 1, -2, 3, 0, 0, 0, -4, 5, -6, 0, 0);
    add_text(&m, "mode", "edge");
    EXPECT(&m, qn_shape_of(2, 6), 1, 1, -2, 3, 3, 3, -4, -4, 5, -6, -6, -6);
    m.attributes[0].s.data = (unsigned char *)"reflect";
    m.attributes[0].s.len = 7;
    EXPECT(&m, qn_shape_of(2, 6), -2, 1, -2, 3, -2, 1, 5, -4, 5, -6, 5, -4);
}
END_TEST

// Training: the batch's mean and population variance; output z, the running
// mean, is 0.75 of the old one and 0.25 of the batch's.
START_TEST(batch_normalisation_trains_by_the_formats_convention)
{
    struct model m;
    float ones[] = {1, 1, 1}, means[] = {4, 8, -8};
    start(&m, "BatchNormalization", 15);
    add_input(&m); // 1 -2 3; -4 5 -6
    add_floats(&m, ones, 3);
    add_floats(&m, ones, 3);
    add_floats(&m, means, 3);
    add_floats(&m, ones, 3);
    add_int(&m, "training_mode", 1);
    Onnx__AttributeProto *momentum = add_attribute(
        &m, "momentum", ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
    momentum->has_f = 1;
    momentum->f = 0.75f;
    Onnx__AttributeProto *epsilon = add_attribute(
        &m, "epsilon", ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
    epsilon->has_f = 1;
    EXPECT(&m, qn_shape_of(2, 3), 2, 0, 2, 0, 2, 0);
    m.node.n_output = 2;
    m.outputs[0].name = "z";
    EXPECT(&m, qn_shape_of(3), 3 - .375, 6 + .375, -6 - .375);
    m.node.n_output = 3;
    m.outputs[0].name = "v"; // (2.5^2, 3.5^2, 4.5^2) / 4 + 0.75
    EXPECT(&m, qn_shape_of(3), 2.3125, 3.8125, 5.8125);
}
END_TEST

// ---- what is refused ----

START_TEST(what_has_no_mapping_is_named)
{
    struct model m;
    start(&m, "Loop", 13);
    add_input(&m);
    refuse(&m, QN_UNSUPPORTED, "Loop");
    start(&m, "Sum", 5);
    add_input(&m);
    refuse(&m, QN_UNSUPPORTED, "version");
    start(&m, "Relu", 99);
    add_input(&m);
    refuse(&m, QN_UNSUPPORTED, "99");
    start(&m, "Relu", 14);
    add_input(&m);
    add_int(&m, "slope", 1);
    refuse(&m, QN_UNSUPPORTED, "\"slope\"");
    start(&m, "Reshape", 14);
    add_input(&m);
    add_input(&m);
    refuse(&m, QN_UNSUPPORTED, "constant");
    start(&m, "Split", 13);
    add_input(&m);
    m.node.n_output = 2;
    add_list(&m, "axis", (int64_t[]){1}, 1);
    refuse(&m, QN_FORMAT, "\"axis\"");
}
END_TEST

START_TEST(wrong_graphs_are_refused)
{
    struct model m;
    start(&m, "Relu", 14);
    refuse(&m, QN_FORMAT, "inputs");
    add_input(&m);
    m.names[0] = "nobody";
    refuse(&m, QN_FORMAT, "nobody");
    m.names[0] = "";
    refuse(&m, QN_FORMAT, "left out");
    start(&m, "Relu", 14);
    add_input(&m);
    m.graph.n_node = 2; // the same node twice
    refuse(&m, QN_FORMAT, "twice");
    start(&m, "Relu", 14);
    add_input(&m);
    m.outputs[0].name = "x";
    refuse(&m, QN_FORMAT, "\"x\"");
    start(&m, "Relu", 14);
    add_input(&m);
    m.node.op_type = NULL;
    refuse(&m, QN_FORMAT, "operator");
    start(&m, "Relu", 14);
    m.model.graph = NULL;
    refuse(&m, QN_FORMAT, "graph");
    start(&m, "Squeeze", 13);
    add_input(&m);
    add_ints(&m, (int64_t[]){7}, 1);
    refuse(&m, QN_BAD_SHAPE, "axis 7");
}
END_TEST

START_TEST(wrong_tensors_are_refused)
{
    struct model m;
    int64_t dims[] = {3, 2}, wide[] = {INT64_C(1) << 40, INT64_C(1) << 40};
    start(&m, "Reshape", 14);
    add_input(&m);
    Onnx__TensorProto *tensor = add_ints(&m, dims, 2);
    tensor->n_int64_data = 1;
    refuse(&m, QN_FORMAT, "another length");
    tensor->has_raw_data = 1;
    tensor->raw_data.data = (unsigned char *)dims;
    tensor->raw_data.len = 15;
    refuse(&m, QN_FORMAT, "another length");
    tensor->raw_data.len = 16;
    EXPECT(&m, qn_shape_of(3, 2), 1, -2, 3, -4, 5, -6);
    tensor->dims = wide;
    tensor->n_dims = 2;
    refuse(&m, QN_FORMAT, "out of range");
    wide[0] = -1;
    refuse(&m, QN_FORMAT, "out of range");
    tensor->n_dims = 9;
    refuse(&m, QN_UNSUPPORTED, "9 dimensions");
    tensor->n_dims = 0;
    tensor->data_type = 8;
    refuse(&m, QN_UNSUPPORTED, "data type 8");
    tensor->data_type = INT64;
    tensor->has_data_location = 1;
    tensor->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    refuse(&m, QN_UNSUPPORTED, "another file");
}
END_TEST

START_TEST(unbounded_sizes_are_refused)
{
    struct model m;
    int64_t sizes[] = {INT64_MAX, 1}, dims[] = {INT64_MAX, INT64_MAX};
    int64_t pads[] = {0, INT64_MAX, 0, INT64_MAX}, kernel[] = {INT64_MAX};
    start(&m, "Split", 13);
    add_input(&m);
    add_ints(&m, sizes, 2);
    add_int(&m, "axis", 1);
    m.node.n_output = 2;
    refuse(&m, QN_BAD_SHAPE, "part 0");
    start(&m, "Reshape", 14);
    add_input(&m);
    add_ints(&m, dims, 2);
    refuse(&m, QN_BAD_SHAPE, "Reshape");
    start(&m, "Pad", 13);
    add_input(&m);
    add_ints(&m, pads, 4);
    refuse(&m, QN_BAD_SHAPE, "too large");
    add_text(&m, "mode", "edge");
    refuse(&m, QN_UNSUPPORTED, "pads");
    start(&m, "Unsqueeze", 11);
    add_input(&m);
    add_list(&m, "axes", (int64_t[]){0, 1, 2, 3, 4}, 5);
    refuse(&m, QN_UNSUPPORTED, "7 dimensions");
    start(&m, "MaxPool", 22);
    add_input(&m);
    add_list(&m, "kernel_shape", kernel, 1);
    refuse(&m, QN_BAD_SHAPE, "[n, c, ...]");
}
END_TEST

START_TEST(integers_that_do_not_fit_are_refused)
{
    struct model m;
    start(&m, "Add", 14);
    add_input(&m);
    add_ints(&m, (int64_t[]){INT64_C(1) << 33}, 1);
    refuse(&m, QN_UNSUPPORTED, "8589934592");
}
END_TEST

// Every prefix and every changed byte is read without a crash; few of them
// are models.
START_TEST(damaged_bytes_do_no_harm)
{
    struct model m;
    unsigned char bytes[MOST_BYTES];
    int64_t dims[] = {3, 2};
    start(&m, "Reshape", 14);
    add_input(&m);
    add_ints(&m, dims, 2);
    const size_t size = pack_model(&m, bytes);
    int refused = 0;
    for (size_t i = 0; i < size; i++)
        for (int change = 0; change < 256; change++) {
            qn_error error = {0};
            const unsigned char right = bytes[i];
            bytes[i] ^= (unsigned char)change;
            qn_onnx *onnx =
                qn_onnx_parse(bytes, change ? size : i, "model", &error);
            refused += onnx == NULL;
            ck_assert(onnx || *error.text);
            qn_onnx_close(&onnx);
            bytes[i] = right;
        }
    ck_assert_int_gt(refused, 500);
}
END_TEST

// A message in `bytes`, which end at `end`, becomes a field of another one;
// returns where that begins.
static size_t wrap(unsigned char *bytes, size_t at, size_t end,
                   unsigned char key)
{
    const size_t length = end - at;
    int width = 1;
    while (length >> 7 * width)
        width++;
    for (int k = width - 1; k >= 0; k--) // low bits first
        bytes[--at] = (unsigned char)((length >> 7 * k & 127) |
                                      (k < width - 1 ? 128u : 0u));
    bytes[--at] = key;
    return at;
}

// A model's graph holds nodes, which hold attributes, which hold graphs.
START_TEST(endless_nesting_is_refused)
{
    enum { LEVELS = 300000, GRAPH = 0x3a };
    static const unsigned char keys[] = {0x0a, 0x2a, 0x32};
    static unsigned char bytes[LEVELS * 6];
    const size_t end = sizeof bytes;
    for (int levels = 3; levels; levels = levels == 3 ? LEVELS : 0) {
        qn_error error = {0};
        size_t at = end;
        for (int i = levels; i >= 0; i--)
            at = wrap(bytes, at, end, i ? keys[(i - 1) % 3] : GRAPH);
        qn_onnx *onnx = qn_onnx_parse(bytes + at, end - at, "model", &error);
        ck_assert(!onnx);
        ck_assert_msg(strstr(error.text, levels > 3 ? "not an ONNX model"
                                                    : "no operator"),
                      "%s", error.text);
    }
}
END_TEST

START_TEST(every_operator_is_documented)
{
    unsigned char *page;
    size_t size;
    qn_error error = {0};
    char name[64];
    ck_assert_ok(qn_os_read_file(TESTS_FOLDER "/../docs/onnx.md", 1 << 20,
                                 &page, &size, &error), error);
    for (int i = 0; qn_onnx_operator(i); i++) {
        snprintf(name, sizeof name, "`%s`", qn_onnx_operator(i));
        ck_assert_msg(strstr((char *)page, name), "%s is not in docs/onnx.md",
                      name);
    }
    free(page);
}
END_TEST

START_TEST(missing_files_are_named)
{
    struct qn_onnx_file file;
    qn_error error = {0};
    ck_assert_ptr_null(qn_onnx_open("/no/such/model.onnx", &error));
    ck_assert_int_eq(error.status, QN_IO);
    ck_assert_int_eq(qn_onnx_file_open(&file, "/no/such.pb", NULL), QN_IO);
    ck_assert_ptr_null(file.message);
}
END_TEST

QN_CHECK_MAIN("onnx_import", operators_of_one_input_agree,
              operators_of_two_inputs_agree,
              operators_on_shapes_agree, reductions_agree, pads_agree,
              slices_and_expansions_agree, normalisations_agree,
              batch_normalisation_trains_by_the_formats_convention,
              what_has_no_mapping_is_named, wrong_graphs_are_refused,
              wrong_tensors_are_refused,
              unbounded_sizes_are_refused,
              integers_that_do_not_fit_are_refused, damaged_bytes_do_no_harm,
              endless_nesting_is_refused, every_operator_is_documented,
              missing_files_are_named)
