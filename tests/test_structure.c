// Models that are more than a chain: containers, branches, shared parameters.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qn_check.h"
#include "quern/nn.h"
#include "quern/op.h"

static qn_model *make(const char *text)
{
    qn_error error = {0};
    qn_model *model = qn_model_create(text, &error);
    ck_assert_msg(model != NULL, "%s: %s", text, error.text);
    return model;
}

// Texts that are their own canonical form.
static const char *const canonical[] = {
    "{\"layers\":[{\"type\":\"relu\",\"name\":\"a\"},"
    "{\"type\":\"tanh\",\"input\":\"input\"},"
    "{\"type\":\"add\",\"input\":[\"a\",\"input\"]},"
    "{\"type\":\"concat\",\"input\":[\"a\",\"a\"],\"axis\":2}]}",
    "{\"layers\":[{\"type\":\"residual\",\"layers\":[{\"type\":\"relu\"}],"
    "\"shortcut\":[{\"type\":\"tanh\"}]},"
    "{\"type\":\"residual\",\"name\":\"b\",\"layers\":[]},"
    "{\"type\":\"parallel\",\"branches\":[[],[{\"type\":\"relu\"}]]},"
    "{\"type\":\"sequential\",\"layers\":[{\"type\":\"sequential\","
    "\"layers\":[{\"type\":\"relu\"}]}]}]}",
    "{\"layers\":[{\"type\":\"dense\",\"name\":\"d\",\"units\":3,"
    "\"l1\":0.5,\"l2\":0.0},"
    "{\"type\":\"dense\",\"share\":\"d\",\"units\":3},"
    "{\"type\":\"dense\",\"tie\":{\"to\":\"d\",\"weight\":0.25},"
    "\"units\":3}]}",
};

START_TEST(structure_has_one_canonical_form)
{
    for (size_t i = 0; i < sizeof canonical / sizeof *canonical; i++) {
        qn_model *model = make(canonical[i]);
        ck_assert_str_eq(qn_model_json(model), canonical[i]);
        qn_model_destroy(&model);
    }
    // What is at its default goes.
    qn_model *model = make("{\"layers\": [{\"type\": \"residual\", "
                           "\"shortcut\": [], \"layers\": [{\"input\": "
                           "[\"input\"], \"type\": \"relu\"}]}]}");
    ck_assert_str_eq(qn_model_json(model),
                     "{\"layers\":[{\"type\":\"residual\",\"layers\":"
                     "[{\"type\":\"relu\",\"input\":\"input\"}]}]}");
    qn_model_destroy(&model);
}
END_TEST

#define LAYERS(list) "{\"layers\": [" list "]}"
#define DENSE "{\"type\": \"dense\", \"units\": 3, \"name\": \"d\"}"

static const char *const bad[][2] = {
    {LAYERS("{\"type\": \"relu\", \"name\": \"input\"}"),
     "layer 0 (relu): the model's input has the name \"input\""},
    {LAYERS(DENSE ", " DENSE),
     "layer 1 (dense): an earlier layer has the name \"d\""},
    {LAYERS("{\"type\": \"relu\", \"name\": 3}"), "\"name\" must be the name"},
    {LAYERS("{\"type\": \"relu\", \"name\": \"\"}"), "of 1 to 63 bytes"},
    {LAYERS("{\"type\": \"relu\", \"input\": []}"),
     "\"input\" must be a name or a list of names"},
    {LAYERS("{\"type\": \"relu\", \"input\": [\"input\", \"input\"]}"),
     "layer 0 (relu) takes one input"},
    {LAYERS("{\"type\": \"add\"}"), "layer 0 (add) needs two inputs or more"},
    {LAYERS("{\"type\": \"add\", \"input\": \"input\"}"),
     "needs two inputs or more"},
    {LAYERS("{\"type\": \"relu\", \"name\": \"conv1\"}, "
            "{\"type\": \"relu\", \"input\": \"conv2\"}"),
     "layer 1 (relu): \"input\" wants an earlier layer, and none is named "
     "\"conv2\"; did you mean \"conv1\"?"},
    {LAYERS("{\"type\": \"relu\", \"input\": \"b\"}, "
            "{\"type\": \"relu\", \"name\": \"b\"}"),
     "none is named \"b\""},
    {LAYERS("{\"type\": \"relu\", \"name\": \"b\", \"input\": \"b\"}"),
     "none is named \"b\""},
    // A container is not there yet for what is in it.
    {LAYERS("{\"type\": \"residual\", \"name\": \"r\", \"layers\": "
            "[{\"type\": \"relu\", \"input\": \"r\"}]}"),
     "layer 0.layers.0 (relu): \"input\" wants an earlier layer"},
    {LAYERS("{\"type\": \"residual\"}"),
     "layer 0 (residual): \"layers\" must be a list of layers"},
    {LAYERS("{\"type\": \"residual\", \"layers\": [], \"shortcut\": 1}"),
     "\"shortcut\" must be a list of layers"},
    {LAYERS("{\"type\": \"residual\", \"layers\": [{\"type\": \"rleu\"}]}"),
     "layer 0.layers.0: no layer is called \"rleu\""},
    {LAYERS("{\"type\": \"sequential\", \"layers\": [{\"type\": \"rleu\"}]}"),
     "layer 0.0: no layer is called \"rleu\""},
    {LAYERS("{\"type\": \"parallel\", \"branches\": [[], [{\"type\": 1}]]}"),
     "layer 0.branches.1.0 must be an object"},
    {LAYERS("{\"type\": \"parallel\", \"branches\": []}"),
     "\"branches\" must be a list of lists of layers"},
    {LAYERS("{\"type\": \"parallel\", \"branches\": [1]}"),
     "\"branches\" must be a list of lists of layers"},
    {LAYERS("{\"type\": \"relu\", \"layers\": []}"),
     "layer 0 (relu) has no key \"layers\""},
    {LAYERS("{\"type\": \"residual\", \"layer\": []}"),
     "has no key \"layer\"; did you mean \"layers\"?"},
    {LAYERS("{\"type\": \"relu\", \"share\": \"d\"}"),
     "layer 0 (relu): has no parameters to \"share\""},
    {LAYERS(DENSE ", {\"type\": \"dense\", \"units\": 3, \"share\": \"e\"}"),
     "\"share\" wants an earlier layer, and none is named \"e\""},
    {LAYERS(DENSE ", {\"type\": \"residual\", \"layers\": [], \"share\": "
                  "\"d\"}"),
     "\"share\" names a layer of another type, \"d\""},
    {LAYERS("{\"type\": \"relu\", \"l2\": 1}"), "has no key \"l2\""},
    {LAYERS("{\"type\": \"dense\", \"units\": 3, \"l1\": -1}"),
     "\"l1\" must be a number between 0 and 1e6"},
    {LAYERS("{\"type\": \"dense\", \"units\": 3, \"tie\": \"d\"}"),
     "\"tie\" must be an object such as"},
    {LAYERS("{\"type\": \"dense\", \"units\": 3, \"tie\": {\"to\": \"d\", "
            "\"weight\": 1}}"),
     "\"tie\" wants an earlier layer"},
    {"{\"layers\": [], \"model\": \"mlp\"}",
     "an object with an array \"layers\", or with the name"},
    {"{\"model\": \"mpl\"}", "no built-in model is called \"mpl\""},
    {"{\"model\": \"mlp\", \"stochastic_depth\": 2}",
     "\"stochastic_depth\" must be a number between 0 and 1"},
    {"4-residual", "layer 1: residual needs more than a number"},
    {"4-add", "layer 1: add needs more than a number"},
};

START_TEST(errors_say_where_and_what)
{
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        qn_error error = {0};
        ck_assert_msg(!qn_model_create(bad[i][0], &error), "%s", bad[i][0]);
        ck_assert_msg(strstr(error.text, bad[i][1]) != NULL,
                      "%s should say \"%s\" and says \"%s\"", bad[i][0],
                      bad[i][1], error.text);
    }
}
END_TEST

// `depth` containers, one in the other.
static void nest(int depth, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "{\"layers\": [");
    for (int i = 0; i < depth; i++)
        used += (size_t)snprintf(text + used, size - used,
                                 "{\"type\": \"residual\", \"layers\": [");
    used += (size_t)snprintf(text + used, size - used,
                             "{\"type\": \"dense\", \"units\": 3}");
    for (int i = 0; i < 2 * depth; i++)
        used += (size_t)snprintf(text + used, size - used,
                                 i % 2 ? "}" : "]");
    snprintf(text + used, size - used, "]}");
}

// ---- graphs ----

static qn_node *build(qn_graph *g, const char *text, qn_shape shape,
                      qn_node **x)
{
    qn_model *model = make(text);
    *x = qn_input(g, "x", QN_FLOAT32, shape);
    qn_node *y = qn_model_build(model, g, *x, NULL);
    qn_model_destroy(&model);
    return y;
}

START_TEST(nesting_has_an_end)
{
    char text[2000];
    qn_error error = {0};
    qn_node *x;
    nest(8, text, sizeof text);
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    build(g, text, qn_shape_of(2, 3), &x);
    ck_assert_ok(qn_graph_check(g, &error), error);
    qn_graph_destroy(&g);
    nest(9, text, sizeof text);
    ck_assert_ptr_null(qn_model_create(text, &error));
    ck_assert_ptr_nonnull(strstr(error.text, "nested too deep"));
}
END_TEST

// Building must fail and say `want`.
static void expect_graph_error(const char *text, const char *want)
{
    qn_error error = {0};
    qn_node *x;
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    ck_assert_ptr_null(build(g, text, qn_shape_of(2, 4), &x));
    ck_assert_int_ne(qn_graph_check(g, &error), QN_OK);
    ck_assert_msg(strstr(error.text, want) != NULL, "\"%s\" in \"%s\"", want,
                  error.text);
    qn_graph_destroy(&g);
}

START_TEST(shapes_that_do_not_fit_are_named)
{
    // Shapes that would broadcast are refused too.
    expect_graph_error(
        LAYERS("{\"type\": \"residual\", \"layers\": [{\"type\": \"dense\", "
               "\"units\": 1}]}"),
        "[2, 1] and [2, 4] must have one shape");
    expect_graph_error(
        LAYERS("{\"type\": \"dense\", \"units\": 1, \"name\": \"a\"}, "
               "{\"type\": \"multiply\", \"input\": [\"a\", \"input\"]}"),
        "multiply: [2, 1] and [2, 4]");
    // d has inputs of 4, the layer that shares them inputs of 3.
    expect_graph_error(
        LAYERS(DENSE ", {\"type\": \"dense\", \"units\": 3, \"share\": "
                     "\"d\"}"),
        "variable \"0.weight\" is declared as float32 [3, 4] and again as "
        "float32 [3, 3]");
    expect_graph_error(
        LAYERS("{\"type\": \"dense\", \"units\": 4, \"bias\": false, "
               "\"name\": \"d\"}, {\"type\": \"dense\", \"units\": 4, "
               "\"share\": \"d\"}"),
        "\"0.bias\", which does not exist");
}
END_TEST

static void expect_names(const char *text, const char *const *names)
{
    qn_node *members[16], *x;
    qn_error error = {0};
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    build(g, text, qn_shape_of(2, 3), &x);
    ck_assert_ok(qn_graph_check(g, &error), error);
    int count = qn_group_members(g, "parameters", members, 16);
    for (int i = 0; i < count; i++) {
        ck_assert_msg(names[i] != NULL, "more than %d: %s", i,
                      qn_node_name(members[i]));
        ck_assert_str_eq(qn_node_name(members[i]), names[i]);
    }
    ck_assert_ptr_null(names[count]);
    qn_graph_destroy(&g);
}

#define PLAIN "{\"type\": \"dense\", \"units\": 3, \"bias\": false}"

START_TEST(parameters_are_named_as_in_nested_modules)
{
    static const char *const residual[] = {
        "0.layers.1.weight", "0.shortcut.0.weight", "1.0.weight",
        "1.1.0.weight", NULL};
    static const char *const parallel[] = {"0.branches.0.0.weight",
                                           "0.branches.2.1.weight", NULL};
    static const char *const shared[] = {"0.weight", "0.bias",
                                         "2.layers.0.weight", NULL};
    expect_names(
        LAYERS("{\"type\": \"residual\", \"layers\": [{\"type\": \"relu\"}, " PLAIN
               "], \"shortcut\": [" PLAIN "]}, {\"type\": \"sequential\", "
               "\"layers\": [" PLAIN ", {\"type\": \"sequential\", \"layers\": "
               "[" PLAIN "]}]}"),
        residual);
    expect_names(LAYERS("{\"type\": \"parallel\", \"branches\": [[" PLAIN
                        "], [], [{\"type\": \"relu\"}, " PLAIN "]]}"),
                 parallel);
    expect_names(
        LAYERS(DENSE ", {\"type\": \"dense\", \"units\": 3, \"share\": \"d\", "
                     "\"name\": \"e\"}, {\"type\": \"residual\", \"name\": "
                     "\"r\", \"layers\": [" PLAIN "]}, {\"type\": "
                     "\"residual\", \"share\": \"r\", \"layers\": [" PLAIN
                     "]}, {\"type\": \"dense\", \"units\": 3, \"share\": "
                     "\"e\"}"),
        shared);
}
END_TEST

// ---- values ----

enum { N = 2, F = 3 };

static qn_store *make_store(qn_graph *g, const qn_model *model)
{
    qn_error error = {0};
    qn_store *store = qn_store_create(qn_check_device(), &error);
    ck_assert_msg(store != NULL, "%s", error.text);
    ck_assert_ok(qn_store_add(store, g, &error), error);
    ck_assert_ok(qn_model_init(model, store, 3, &error), error);
    return store;
}

static void read_weight(qn_store *store, const char *name, double w[F * F])
{
    float data[F * F];
    qn_error error = {0};
    int index = qn_store_find(store, "parameters", name);
    ck_assert_msg(index >= 0, "%s", name);
    ck_assert_ok(qn_store_read(store, index, data, sizeof data, &error),
                 error);
    for (int i = 0; i < F * F; i++)
        w[i] = (double)data[i];
}

// y = x W^T for each of N samples.
static void apply(const double *x, const double *w, double *y)
{
    for (int n = 0; n < N; n++)
        for (int o = 0; o < F; o++) {
            y[n * F + o] = 0;
            for (int i = 0; i < F; i++)
                y[n * F + o] += w[o * F + i] * x[n * F + i];
        }
}

static void run(qn_graph *g, qn_store *store, qn_node *x, const double *data,
                qn_node *y, double *result, int count)
{
    float in[N * F], out[64];
    qn_error error = {0};
    struct qn_plan_params params = {.graph = g, .store = store,
                                    .outputs = &y, .output_count = 1};
    qn_plan *plan = qn_plan_create(qn_check_device(), &params, &error);
    ck_assert_msg(plan != NULL, "%s", error.text);
    for (int i = 0; i < N * F; i++)
        in[i] = (float)data[i];
    ck_assert_int_eq(qn_plan_write(plan, x, in, sizeof in), QN_OK);
    ck_assert_int_eq(qn_plan_run(plan), QN_OK);
    ck_assert_int_eq(qn_plan_read(plan, y, out,
                                  (size_t)count * sizeof *out), QN_OK);
    for (int i = 0; i < count; i++)
        result[i] = (double)out[i];
    qn_plan_destroy(&plan);
}

// a = x A^T; r = tanh(a B^T) + a C^T; y = [relu(r), r * a, a A^T] + ...
START_TEST(branching_model_computes_its_formula)
{
    static const char *const text = LAYERS(
        "{\"type\": \"dense\", \"units\": 3, \"bias\": false, \"name\": "
        "\"a\"}, "
        "{\"type\": \"residual\", \"name\": \"r\", \"layers\": [" PLAIN
        ", {\"type\": \"tanh\"}], \"shortcut\": [" PLAIN "]}, "
        "{\"type\": \"parallel\", \"name\": \"p\", \"branches\": "
        "[[{\"type\": \"relu\"}], [{\"type\": \"multiply\", \"input\": "
        "[\"r\", \"a\"]}]]}, "
        "{\"type\": \"dense\", \"units\": 3, \"bias\": false, \"share\": "
        "\"a\", \"input\": \"a\", \"name\": \"again\"}, "
        "{\"type\": \"concat\", \"input\": [\"p\", \"again\"], \"name\": "
        "\"c\"}, "
        "{\"type\": \"add\", \"input\": [\"c\", \"c\", \"c\"]}");
    double x[N * F], wa[F * F], wb[F * F], wc[F * F];
    double a[N * F], b[N * F], c[N * F], again[N * F], want[3 * N * F];
    double got[3 * N * F];
    struct qn_check_rng rng = {11};
    qn_error error = {0};
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *in, *y = build(g, text, qn_shape_of(N, F), &in);
    ck_assert_ok(qn_graph_check(g, &error), error);
    qn_model *model = make(text);
    qn_store *store = make_store(g, model);
    for (int i = 0; i < N * F; i++)
        x[i] = (double)(float)qn_check_uniform(&rng, -2, 2);
    read_weight(store, "0.weight", wa);
    read_weight(store, "1.layers.0.weight", wb);
    read_weight(store, "1.shortcut.0.weight", wc);
    apply(x, wa, a);
    apply(a, wb, b);
    apply(a, wc, c);
    apply(a, wa, again);
    for (int n = 0; n < N; n++)
        for (int f = 0; f < F; f++) {
            const int i = n * F + f;
            double r = tanh(b[i]) + c[i], *row = &want[3 * F * n];
            row[f] = 3 * (r > 0 ? r : 0);
            row[F + f] = 3 * r * a[i];
            row[2 * F + f] = 3 * again[i];
        }
    run(g, store, in, x, y, got, 3 * N * F);
    qn_check_close("branches", got, want, 3 * N * F, 1e-5, 1e-6);
    qn_model_destroy(&model);
    qn_store_destroy(&store);
    qn_graph_destroy(&g);
}
END_TEST

// y = x W^T W^T, loss = sum y: the gradient of W gathers both uses.
// y[:, :, ::2, ::3] and two channels of zeros
START_TEST(subsample_keeps_some_rows_and_columns)
{
    enum { H = 5, W = 7 };
    float data[2 * 3 * H * W], got[2 * 5 * 3 * 3];
    qn_error error = {0};
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *x, *y = build(
        g, LAYERS("{\"type\": \"subsample\", \"stride\": [2, 3], "
                  "\"channels\": 5}"),
        qn_shape_of(2, 3, H, W), &x);
    const qn_shape want = qn_shape_of(2, 5, 3, 3);
    ck_assert_ok(qn_graph_check(g, &error), error);
    ck_assert(qn_shape_equal(qn_node_shape(y), &want));
    for (int i = 0; i < 2 * 3 * H * W; i++)
        data[i] = (float)(i + 1);
    struct qn_plan_params params = {.graph = g, .outputs = &y,
                                    .output_count = 1};
    qn_plan *plan = qn_plan_create(qn_check_device(), &params, &error);
    ck_assert_msg(plan != NULL, "%s", error.text);
    ck_assert_int_eq(qn_plan_write(plan, x, data, sizeof data), QN_OK);
    ck_assert_int_eq(qn_plan_run(plan), QN_OK);
    ck_assert_int_eq(qn_plan_read(plan, y, got, sizeof got), QN_OK);
    for (int n = 0, i = 0; n < 2; n++)
        for (int c = 0; c < 5; c++)
            for (int h = 0; h < 3; h++)
                for (int w = 0; w < 3; w++, i++) {
                    const int from = ((n * 3 + c) * H + 2 * h) * W + 3 * w;
                    ck_assert_float_eq(got[i], c < 3 ? data[from] : 0);
                }
    qn_plan_destroy(&plan);
    qn_graph_destroy(&g);
    expect_graph_error(LAYERS("{\"type\": \"subsample\"}"),
                       "[2, 4] is not [n, c, h, w]");
}
END_TEST

// Block l of 4 with l/4 of the last one's probability, but where one is given.
START_TEST(stochastic_depth_falls_linearly)
{
    static const char *const text =
        "{\"stochastic_depth\": 0.5, \"layers\": ["
        "{\"type\": \"residual\", \"layers\": [{\"type\": \"residual\", "
        "\"layers\": []}]}, {\"type\": \"relu\"}, "
        "{\"type\": \"residual\", \"drop\": 0.9, \"layers\": []}, "
        "{\"type\": \"residual\", \"layers\": []}]}";
    qn_model *model = make(text);
    ck_assert_str_eq(
        qn_model_json(model),
        "{\"layers\":[{\"type\":\"residual\",\"drop\":0.125,\"layers\":"
        "[{\"type\":\"residual\",\"drop\":0.25,\"layers\":[]}]},"
        "{\"type\":\"relu\"},"
        "{\"type\":\"residual\",\"drop\":0.9,\"layers\":[]},"
        "{\"type\":\"residual\",\"drop\":0.5,\"layers\":[]}]}");
    qn_model_destroy(&model);
    model = make("{\"model\": \"softmax-regression\"}");
    ck_assert_str_eq(qn_model_json(model),
                     "{\"layers\":[{\"type\":\"dense\",\"units\":10}]}");
    qn_model_destroy(&model);
}
END_TEST

// All of a sample's branch is dropped or kept; predicting it is scaled.
START_TEST(residual_drops_its_branch)
{
    enum { SAMPLES = 400 };
    static float data[SAMPLES * F], got[2][SAMPLES * F];
    qn_error error = {0};
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_model *model = make(
        LAYERS("{\"type\": \"residual\", \"drop\": 0.25, \"layers\": []}"));
    qn_node *x = qn_input(g, "x", QN_FLOAT32, qn_shape_of(SAMPLES, F));
    struct qn_model_build_params params = {.training = true,
                                           .seed = qn_scalar(g, "seed"),
                                           .step = qn_scalar(g, "step")};
    qn_node *y[2] = {qn_model_build(model, g, x, &params),
                     qn_model_build(model, g, x, NULL)};
    for (int i = 0; i < SAMPLES * F; i++)
        data[i] = 1 + (float)(i % 7);
    struct qn_plan_params plan_params = {.graph = g, .outputs = y,
                                         .output_count = 2};
    qn_plan *plan = qn_plan_create(qn_check_device(), &plan_params, &error);
    ck_assert_msg(plan != NULL, "%s", error.text);
    ck_assert_int_eq(qn_plan_write(plan, x, data, sizeof data), QN_OK);
    ck_assert_int_eq(qn_plan_run(plan), QN_OK);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(qn_plan_read(plan, y[i], got[i], sizeof got[i]),
                         QN_OK);
    int kept = 0;
    for (int n = 0; n < SAMPLES; n++) {
        const float times = got[0][n * F] / data[n * F];
        ck_assert(times == 1 || times == 2);
        kept += times == 2;
        for (int f = 0; f < F; f++) {
            ck_assert_float_eq(got[0][n * F + f], times * data[n * F + f]);
            ck_assert_float_eq(got[1][n * F + f], 1.75F * data[n * F + f]);
        }
    }
    // Five standard deviations: 5 sqrt(400 0.75 0.25) = 43.
    ck_assert_int_le(abs(kept - 300), 43);
    qn_plan_destroy(&plan);
    qn_model_destroy(&model);
    qn_graph_destroy(&g);
}
END_TEST

START_TEST(shared_parameters_gather_their_gradients)
{
    static const char *const text =
        LAYERS("{\"type\": \"dense\", \"units\": 3, \"bias\": false, "
               "\"name\": \"d\"}, {\"type\": \"dense\", \"units\": 3, "
               "\"bias\": false, \"share\": \"d\"}");
    double x[N * F], w[F * F], h[N * F], got[F * F], want[F * F] = {0};
    struct qn_check_rng rng = {12};
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *in, *y = build(g, text, qn_shape_of(N, F), &in);
    qn_node *weight, *dw;
    ck_assert_int_eq(qn_group_members(g, "parameters", &weight, 1), 1);
    qn_gradients(g, qn_sum(g, y, NULL), &weight, 1, &dw);
    qn_model *model = make(text);
    qn_store *store = make_store(g, model);
    read_weight(store, "0.weight", w);
    for (int i = 0; i < N * F; i++)
        x[i] = (double)(float)qn_check_uniform(&rng, -2, 2);
    apply(x, w, h);
    // dy = 1: d/dW[o][i] = sum_n h[n][i] + sum_n (sum_p W[p][o]) x[n][i]
    for (int o = 0; o < F; o++)
        for (int i = 0; i < F; i++)
            for (int n = 0; n < N; n++) {
                double column = 0;
                for (int p = 0; p < F; p++)
                    column += w[p * F + o];
                want[o * F + i] += h[n * F + i] + column * x[n * F + i];
            }
    run(g, store, in, x, dw, got, F * F);
    qn_check_close("dw", got, want, F * F, 1e-5, 1e-6);
    qn_model_destroy(&model);
    qn_store_destroy(&store);
    qn_graph_destroy(&g);
}
END_TEST

QN_CHECK_MAIN("structure", structure_has_one_canonical_form,
              errors_say_where_and_what, nesting_has_an_end,
              shapes_that_do_not_fit_are_named,
              parameters_are_named_as_in_nested_modules,
              branching_model_computes_its_formula,
              shared_parameters_gather_their_gradients,
              subsample_keeps_some_rows_and_columns,
              stochastic_depth_falls_linearly, residual_drops_its_branch)
