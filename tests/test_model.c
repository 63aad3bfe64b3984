// Models: both grammars, names, counts, errors, first values.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
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

static void expect_json(const char *text, const char *json)
{
    qn_model *model = make(text);
    ck_assert_str_eq(qn_model_json(model), json);
    qn_model *again = make(qn_model_json(model));
    ck_assert_str_eq(qn_model_json(again), json);
    ck_assert_int_eq(qn_model_layer_count(again),
                     qn_model_layer_count(model));
    qn_model_destroy(&again);
    qn_model_destroy(&model);
}

START_TEST(texts_have_one_canonical_form)
{
    expect_json("10", "{\"layers\":[{\"type\":\"dense\",\"units\":10}]}");
    expect_json("512-relu-dropout0.25-10",
                "{\"layers\":[{\"type\":\"dense\",\"units\":512},"
                "{\"type\":\"relu\"},{\"type\":\"dropout\",\"p\":0.25},"
                "{\"type\":\"dense\",\"units\":10}]}");
    expect_json("dropout", "{\"layers\":[{\"type\":\"dropout\"}]}");
    expect_json("dropout0.5", "{\"layers\":[{\"type\":\"dropout\"}]}");
    expect_json("dropout0.1",
                "{\"layers\":[{\"type\":\"dropout\",\"p\":0.1}]}");
    expect_json("dropout0.1000000000000001",
                "{\"layers\":[{\"type\":\"dropout\","
                "\"p\":0.1000000000000001}]}");
    expect_json("dense7-log_softmax",
                "{\"layers\":[{\"type\":\"dense\",\"units\":7},"
                "{\"type\":\"log_softmax\"}]}");
    expect_json("maxpool3", "{\"layers\":[{\"type\":\"maxpool\","
                            "\"kernel\":3}]}");
    expect_json("{\"layers\": [{\"type\": \"maxpool\", \"kernel\": [3, 3], "
                "\"stride\": [1, 2], \"padding\": [0, 0]}]}",
                "{\"layers\":[{\"type\":\"maxpool\",\"kernel\":3,"
                "\"stride\":[1,2]}]}");
    expect_json("conv32-conv_transpose8",
                "{\"layers\":[{\"type\":\"conv\",\"filters\":32},"
                "{\"type\":\"conv_transpose\",\"filters\":8}]}");
    expect_json("{\"layers\": [{\"type\": \"conv\", \"filters\": 4, "
                "\"kernel\": [3, 5], \"stride\": [2, 2], \"padding\": 0}, "
                "{\"type\": \"conv\", \"filters\": 4, \"padding\": "
                "\"same\"}]}",
                "{\"layers\":[{\"type\":\"conv\",\"filters\":4,"
                "\"kernel\":[3,5],\"stride\":2,\"padding\":0},"
                "{\"type\":\"conv\",\"filters\":4}]}");
    expect_json("leaky_relu0.2",
                "{\"layers\":[{\"type\":\"leaky_relu\",\"slope\":0.2}]}");
    expect_json(" {\"layers\": [{\"units\": 3, \"type\": \"dense\", \"bias\": "
                "false, \"gain\": 2, \"init\": \"kaiming_normal\", \"fan\": "
                "\"out\", \"bias_init\": \"default\"}, {\"type\": \"tanh\"}]}",
                "{\"layers\":[{\"type\":\"dense\",\"units\":3,"
                "\"bias\":false,\"init\":\"kaiming_normal\",\"gain\":2.0,"
                "\"fan\":\"out\"},{\"type\":\"tanh\"}]}");
    expect_json("{\"layers\": [{\"type\": \"dense\", \"units\": 3, "
                "\"init\": \"he_normal\", \"gain\": \"leaky_relu:1\", "
                "\"fan\": \"default\"}, {\"type\": \"dense\", \"units\": 2, "
                "\"init\": \"xavier_normal\", \"gain\": \"selu\", \"fan\": "
                "\"in\", \"bias_init\": \"ones\"}]}",
                "{\"layers\":[{\"type\":\"dense\",\"units\":3,"
                "\"init\":\"kaiming_normal\",\"gain\":1.0},"
                "{\"type\":\"dense\",\"units\":2,"
                "\"init\":\"xavier_normal\",\"gain\":0.75,"
                "\"fan\":\"in\",\"bias_init\":\"ones\"}]}");
}
END_TEST

// Texts that must fail, and a part of the error.
static const char *const bad[][2] = {
    {"", "layer 0 is empty"},
    {"512--10", "layer 1 is empty"},
    {"512-relu-", "layer 2 is empty"},
    {"512-rleu-10", "layer 1: no layer is called \"rleu\"; did you mean "
                    "\"relu\"?"},
    {"mpl", "did you mean \"mlp\"?"},
    {"512-xyzzyxyzzy", "no layer is called \"xyzzyxyzzy\" ("},
    {"512-relux", "no layer is called \"relux\""},
    {"512-relu7", "layer 1: relu takes no number, not \"7\""},
    {"dropout.5", "\".5\" is no number"},
    {"dropout0,5", "\"0,5\" is no number"},
    {"0512", "\"0512\" is no number"},
    {"12 ", "\"12 \" is no number"},
    {"0", "layer 0 (dense): units is 0 and must be between 1 and 16777216"},
    {"16777217", "must be between"},
    {"512.5", "units is 512.5 and must be a whole number"},
    {"dropout1.5", "p is 1.5 and must be between 0 and 1"},
    {"dense", "layer 0 (dense): \"units\" is missing"},
    {"99999999999999999999", "is no number"},
    {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
     "more than 63 characters"},
    {"{", "model:1:1: "},
    {"{}", "an object with an array \"layers\""},
    {"{\"layers\": []}", "the model has no layers"},
    {"{\"layers\": 3}", "an object with an array \"layers\""},
    {"{\"layers\": [], \"name\": 1}", "unknown key \"name\""},
    {"{\"layers\": [\"relu\"]}", "layer 0 must be an object with a \"type\""},
    {"{\"layers\": [{\"units\": 3}]}", "must be an object with a \"type\""},
    {"{\"layers\": [{\"type\": \"relu\"}, {\"type\": \"desne\"}]}",
     "layer 1: no layer is called \"desne\"; did you mean \"dense\"?"},
    {"{\"layers\": [{\"type\": \"dense\", \"unit\": 3}]}",
     "layer 0 (dense) has no key \"unit\"; did you mean \"units\"?"},
    {"{\"layers\": [{\"type\": \"relu\", \"slope\": 3}]}",
     "layer 0 (relu) has no key \"slope\""},
    {"{\"layers\": [{\"type\": \"dense\"}]}", "\"units\" is missing"},
    {"{\"layers\": [{\"type\": \"dense\", \"units\": 3.0}]}",
     "\"units\" must be a whole number"},
    {"{\"layers\": [{\"type\": \"dense\", \"units\": \"3\"}]}",
     "\"units\" must be a whole number"},
    {"{\"layers\": [{\"type\": \"dense\", \"units\": 3, \"bias\": 1}]}",
     "\"bias\" must be true or false"},
    {"{\"layers\": [{\"type\": \"dense\", \"units\": 3, \"gain\": true}]}",
     "\"gain\" must be a number or the name of an activation"},
    {"{\"layers\": [{\"type\": \"dense\", \"units\": 3, \"gain\": \"gelu\"}]}",
     "\"gain\": no gain is known for \"gelu\""},
    {"{\"layers\": [{\"type\": \"dense\", \"units\": 3, \"fan\": \"on\"}]}",
     "\"fan\" must be default|in|out|average"},
    {"{\"layers\": [{\"type\": \"dense\", \"units\": 3, \"init\": "
     "\"kaimingnormal\"}]}",
     "no initializer is called \"kaimingnormal\"; did you mean "
     "\"kaiming_normal\"?"},
    {"{\"layers\": [{\"type\": \"dense\", \"units\": 3, \"init\": "
     "\"henormal\"}]}",
     "no initializer is called \"henormal\"; did you mean \"he_normal\"?"},
    {"{\"layers\": [{\"type\": \"maxpool\", \"kernel\": [2, 2, 2]}]}",
     "\"kernel\" must be a whole number or two, [height, width]"},
    {"{\"layers\": [{\"type\": \"maxpool\", \"kernel\": [2]}]}",
     "\"kernel\" must be a whole number or two"},
    {"{\"layers\": [{\"type\": \"maxpool\", \"kernel\": [2, 2.5]}]}",
     "\"kernel\" must be a whole number or two"},
    {"{\"layers\": [{\"type\": \"maxpool\", \"kernel\": [2, 0]}]}",
     "layer 0 (maxpool): kernel is 0 and must be between 1 and"},
    {"maxpool2.5", "kernel is 2.5 and must be a whole number"},
    {"{\"layers\": [{\"type\": \"conv\", \"filters\": 4, \"padding\": -1}]}",
     "between 0 and"},
    {"{\"layers\": [{\"type\": \"conv\", \"filters\": 4, \"padding\": "
     "\"valid\"}]}",
     "padding"},
    {"{\"layers\": [{\"type\": \"dropout\", \"p\": -0.1}]}",
     "layer 0 (dropout): p is -0.1 and must be"},
    {"{\"layers\": [{\"type\": \"dropout\", \"p\": 0.1, \"p\": 0.2}]}",
     "duplicate"},
    {"{\"layers\": [{\"type\": \"relu\"}]} x", "end of file expected"},
    {"/nowhere/net.json", "/nowhere/net.json"},
};

START_TEST(errors_say_where_and_what)
{
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        qn_error error = {0};
        ck_assert_msg(!qn_model_create(bad[i][0], &error), "%s", bad[i][0]);
        ck_assert_msg(strstr(error.text, bad[i][1]) != NULL,
                      "%s should say \"%s\" and says \"%s\"", bad[i][0],
                      bad[i][1], error.text);
        ck_assert_int_ne(error.status, QN_OK);
    }
    ck_assert_ptr_null(qn_model_create(NULL, NULL));
}
END_TEST

START_TEST(deep_and_long_texts_are_refused)
{
    char deep[256] = "{\"layers\":";
    memset(deep + strlen(deep), '[', 100);
    qn_error error = {0};
    ck_assert_ptr_null(qn_model_create(deep, &error));
    ck_assert_ptr_nonnull(strstr(error.text, "64 levels"));
    enum { MANY = 5000 };
    char *many = malloc(MANY * 5);
    ck_assert_ptr_nonnull(many);
    for (int i = 0; i < MANY; i++)
        memcpy(many + 5 * i, "relu-", 5);
    many[MANY * 5 - 1] = 0;
    error = (qn_error){0};
    ck_assert_ptr_null(qn_model_create(many, &error));
    ck_assert_ptr_nonnull(strstr(error.text, "more than 4096 layers"));
    free(many);
}
END_TEST

START_TEST(files_are_read)
{
    char path[256];
    const char *text = "{\"layers\":\n[{\"type\":\"dense\",\"units\":4}, 5]}";
    struct qn_os_part part = {text, strlen(text)};
    qn_error error = {0};
    snprintf(path, sizeof path, "%s/net.json", qn_check_folder());
    ck_assert_ok(qn_os_replace_file(path, &part, 1, &error), error);
    ck_assert_ptr_null(qn_model_create(path, &error));
    ck_assert_ptr_nonnull(strstr(error.text, "net.json: layer 1 must be"));
    text = "{\"layers\":\n[{\"type\":\"dense\",\"units\":4}]}";
    part = (struct qn_os_part){text, strlen(text)};
    error = (qn_error){0};
    ck_assert_ok(qn_os_replace_file(path, &part, 1, &error), error);
    expect_json(path, "{\"layers\":[{\"type\":\"dense\",\"units\":4}]}");
}
END_TEST

START_TEST(tables_are_complete)
{
    const struct qn_model_row *row;
    const qn_layer *layer;
    int count = 0;
    for (; (row = qn_model_row_at(count)); count++) {
        qn_model *model = make(row->name);
        ck_assert(*row->source);
        expect_json(row->definition, qn_model_json(model));
        qn_model_destroy(&model);
    }
    ck_assert_int_ge(count, 2);
    for (int i = 0; (layer = qn_layer_at(i)); i++) {
        const struct qn_layer_key *key;
        ck_assert(*qn_layer_name(layer) && *qn_layer_formula(layer));
        for (int k = 0; (key = qn_layer_key_at(layer, k)); k++) {
            ck_assert(*key->meaning);
            ck_assert(
                isnan(key->value) || strcmp(key->type, "initializer") == 0 ||
                (strcmp(key->type, "pair") == 0 && key->choices &&
                 key->value == -1) ||
                (key->value >= key->minimum && key->value <= key->maximum));
        }
    }
    ck_assert_ptr_null(qn_model_row_at(-1));
    ck_assert_ptr_null(qn_layer_at(-1));
}
END_TEST

// Trainable parameters, as the papers or PyTorch count them.
static const struct {
    const char *name;
    qn_shape shape;
    int64_t count;
} sizes[] = {
    {"mlp", {4, {1, 1, 28, 28}}, 669706},
    {"mlp-bn-dropout", {4, {1, 1, 28, 28}}, 671754},
    {"softmax-regression", {4, {1, 1, 28, 28}}, 7850},
    {"maxout-mlp", {4, {1, 1, 28, 28}}, 1233610},
    {"lenet5", {4, {1, 1, 28, 28}}, 61706},
    {"vgg-small", {4, {1, 3, 32, 32}}, 307946},
    {"cnn", {4, {1, 3, 32, 32}}, 94762},
    {"all-cnn", {4, {1, 3, 32, 32}}, 1369738},
    {"nin-fractional", {4, {1, 3, 32, 32}}, 966986},
    {"resnet20", {4, {1, 3, 32, 32}}, 269722},
    {"resnet20-stochastic", {4, {1, 3, 32, 32}}, 269722},
};

static int64_t count_parameters(const char *text, qn_shape shape)
{
    qn_node *members[256];
    qn_error error = {0};
    int64_t sum = 0;
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_model *model = make(text);
    qn_node *y = qn_model_build(model, g,
                                qn_input(g, "x", QN_FLOAT32, shape), NULL);
    ck_assert_ok(qn_graph_check(g, &error), error);
    const qn_shape logits = qn_shape_of(1, 10);
    ck_assert(qn_shape_equal(qn_node_shape(y), &logits));
    const int count = qn_group_members(g, "parameters", members, 256);
    ck_assert_int_le(count, 256);
    for (int i = 0; i < count; i++)
        sum += qn_shape_count(qn_node_shape(members[i]));
    qn_model_destroy(&model);
    qn_graph_destroy(&g);
    return sum;
}

START_TEST(built_in_models_have_their_number_of_parameters)
{
    const struct qn_model_row *row;
    for (int i = 0; (row = qn_model_row_at(i)); i++) {
        ck_assert_int_lt(i, (int)(sizeof sizes / sizeof *sizes));
        ck_assert_str_eq(row->name, sizes[i].name);
        ck_assert_int_eq(count_parameters(row->name, sizes[i].shape),
                         sizes[i].count);
    }
}
END_TEST

static void expect_mention(const char *text, const char *name)
{
    char quoted[100];
    snprintf(quoted, sizeof quoted, "`%s`", name);
    ck_assert_msg(strstr(text, quoted) != NULL,
                  "docs/models.md does not explain %s", quoted);
}

START_TEST(document_names_all_layers_keys_and_initializers)
{
    unsigned char *text;
    size_t size;
    qn_error error = {0};
    const qn_layer *layer;
    const struct qn_init *init;
    const struct qn_model_row *row;
    ck_assert_ok(qn_os_read_file(TESTS_FOLDER "/../docs/models.md", 1 << 20,
                                 &text, &size, &error),
                 error);
    for (int i = 0; (layer = qn_layer_at(i)); i++) {
        const struct qn_layer_key *key;
        char heading[100];
        snprintf(heading, sizeof heading, "### %s\n", qn_layer_name(layer));
        if (!strstr((char *)text, heading))
            expect_mention((char *)text, qn_layer_name(layer));
        for (int k = 0; (key = qn_layer_key_at(layer, k)); k++)
            expect_mention((char *)text, key->name);
    }
    for (int i = 0; (init = qn_init_at(i)); i++) {
        expect_mention((char *)text, init->name);
        if (init->alias)
            expect_mention((char *)text, init->alias);
    }
    for (int i = 0; (row = qn_model_row_at(i)); i++)
        expect_mention((char *)text, row->name);
    free(text);
}
END_TEST

// ---- graphs ----

// Builds the model for x[n, ...]; the graph must be fine.
static qn_node *build(qn_graph *g, const char *text, qn_shape shape,
                      bool training, qn_node **outputs)
{
    qn_error error = {0};
    qn_model *model = make(text);
    qn_node *y = qn_model_build(
        model, g, qn_input(g, "x", QN_FLOAT32, shape),
        &(struct qn_model_build_params){
            .training = training,
            .seed = qn_scalar(g, "seed"),
            .step = qn_scalar(g, "step"),
            .layer_outputs = outputs,
        });
    ck_assert_ok(qn_graph_check(g, &error), error);
    qn_model_destroy(&model);
    return y;
}

START_TEST(parameters_are_named_as_in_sequential)
{
    static const struct {
        const char *name;
        qn_shape shape;
    } want[] = {
        {"0.weight", {2, {6, 12}}}, {"0.bias", {1, {6}}},
        {"3.weight", {2, {4, 6}}},  {"3.bias", {1, {4}}},
        {"4.weight", {2, {3, 4}}},
    };
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *outputs[5], *members[8];
    qn_node *y = build(g,
                       "{\"layers\": [{\"type\": \"dense\", \"units\": 6}, "
                       "{\"type\": \"relu\"}, {\"type\": \"dropout\"}, "
                       "{\"type\": \"dense\", \"units\": 4}, {\"type\": "
                       "\"dense\", \"units\": 3, \"bias\": false}]}",
                       qn_shape_of(2, 1, 3, 4), true, outputs);
    ck_assert_ptr_eq(outputs[4], y);
    ck_assert_int_eq(qn_group_members(g, "parameters", members, 8), 5);
    for (int i = 0; i < 5; i++) {
        ck_assert_str_eq(qn_node_name(members[i]), want[i].name);
        ck_assert(qn_shape_equal(qn_node_shape(members[i]), &want[i].shape));
    }
    const int64_t widths[] = {6, 6, 6, 4, 3};
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(qn_node_shape(outputs[i])->dims[0], 2);
        ck_assert_int_eq(qn_node_shape(outputs[i])->dims[1], widths[i]);
    }
    qn_graph_destroy(&g);
}
END_TEST

START_TEST(prediction_drops_nothing)
{
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *outputs[1];
    qn_node *x = qn_input(g, "x", QN_FLOAT32, qn_shape_of(2, 3));
    qn_model *model = make("dropout0.5");
    ck_assert_ptr_eq(qn_model_build(model, g, x, NULL), x);
    ck_assert_ptr_ne(build(g, "dropout0.5", qn_shape_of(2, 3), true, outputs),
                     x);
    qn_model_destroy(&model);
    qn_graph_destroy(&g);
}
END_TEST

// Random layers without a seed: an error, not a crash.
START_TEST(dropout_needs_its_scalars)
{
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *x = qn_input(g, "x", QN_FLOAT32, qn_shape_of(2, 3));
    qn_model *model = make("4-dropout-2");
    struct qn_model_build_params params = {.training = true};
    ck_assert_ptr_null(qn_model_build(model, g, x, &params));
    qn_error error = {0};
    ck_assert_int_ne(qn_graph_check(g, &error), QN_OK);
    qn_model_destroy(&model);
    qn_graph_destroy(&g);
}
END_TEST

// ---- first values ----

static double *read_parameter(qn_store *store, const char *name,
                              int64_t *count)
{
    qn_store_entry entry;
    qn_error error = {0};
    int index = qn_store_find(store, "parameters", name);
    ck_assert_int_ge(index, 0);
    ck_assert_int_eq(qn_store_entry_at(store, index, &entry), QN_OK);
    *count = qn_shape_count(&entry.shape);
    size_t size = (size_t)*count * sizeof(float);
    float *data = malloc(size);
    double *wide = malloc((size_t)*count * sizeof *wide);
    ck_assert(data && wide);
    ck_assert_ok(qn_store_read(store, index, data, size, &error), error);
    for (int64_t i = 0; i < *count; i++)
        wide[i] = (double)data[i];
    free(data);
    return wide;
}

static double largest(qn_store *store, const char *name)
{
    int64_t count;
    double most = 0;
    double *data = read_parameter(store, name, &count);
    for (int64_t i = 0; i < count; i++)
        most = fmax(most, fabs(data[i]));
    free(data);
    return most;
}

static qn_store *make_store(const char *text, qn_shape shape, uint64_t seed,
                            char hash[65])
{
    qn_error error = {0};
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    build(g, text, shape, false, NULL);
    qn_store *store = qn_store_create(qn_check_device(), &error);
    ck_assert_msg(store != NULL, "%s", error.text);
    ck_assert_ok(qn_store_add(store, g, &error), error);
    qn_graph_destroy(&g);
    qn_model *model = make(text);
    ck_assert_ok(qn_model_init(model, store, seed, &error), error);
    qn_model_destroy(&model);
    ck_assert_ok(qn_store_hash(store, hash, &error), error);
    return store;
}

START_TEST(parameters_start_as_their_layers_say)
{
    char hash[65];
    qn_store *store = make_store(
        "{\"layers\": [{\"type\": \"dense\", \"units\": 50}, "
        "{\"type\": \"dense\", \"units\": 40, \"init\": \"constant\", "
        "\"value\": 3, \"bias_init\": \"zeros\"}, {\"type\": \"dense\", "
        "\"units\": 30, \"init\": \"xavier_uniform\", \"bias_init\": "
        "\"constant\", \"bias_value\": 0.5}]}",
        qn_shape_of(1, 100), 1, hash);
    double bound = 1 / sqrt(100), xavier = sqrt(6.0 / (40 + 30));
    // The largest of n uniform values is above 1 - 10/n of the bound but for
    // one draw in e^10.
    ck_assert_double_le(largest(store, "0.weight"), bound);
    ck_assert_double_ge(largest(store, "0.weight"), 0.998 * bound);
    ck_assert_double_le(largest(store, "0.bias"), bound);
    ck_assert_double_ge(largest(store, "0.bias"), 0.8 * bound);
    ck_assert_double_eq(largest(store, "1.weight"), 3);
    ck_assert_double_eq(largest(store, "1.bias"), 0);
    ck_assert_double_le(largest(store, "2.weight"), xavier);
    ck_assert_double_ge(largest(store, "2.weight"), 0.99 * xavier);
    ck_assert_double_eq(largest(store, "2.bias"), 0.5);
    qn_store_destroy(&store);
}
END_TEST

// The same hash on every device: drawn on the host. An unrelated layer changes
// no other layer's draw.
START_TEST(first_values_depend_on_seed_and_name_alone)
{
    char first[65], again[65], other[65];
    int64_t count, count2;
    qn_store *store = make_store("5-relu-3", qn_shape_of(1, 4), 9, first);
    qn_store *second = make_store("5-relu-3", qn_shape_of(2, 4), 9, again);
    ck_assert_str_eq(first, again);
    qn_store_destroy(&second);
    second = make_store("5-relu-3", qn_shape_of(1, 4), 10, other);
    ck_assert_str_ne(first, other);
    qn_store_destroy(&second);
    second = make_store("5-tanh-7", qn_shape_of(1, 4), 9, other);
    double *a = read_parameter(store, "0.weight", &count);
    double *b = read_parameter(second, "0.weight", &count2);
    ck_assert_int_eq(count, count2);
    ck_assert_mem_eq(a, b, (size_t)count * sizeof *a);
    free(a);
    free(b);
    qn_store_destroy(&second);
    qn_store_destroy(&store);
}
END_TEST

START_TEST(foreign_parameters_are_named)
{
    char hash[65];
    qn_error error = {0};
    qn_store *store = make_store("5-relu-3", qn_shape_of(1, 4), 9, hash);
    qn_model *model = make("5-relu-relu");
    ck_assert_int_eq(qn_model_init(model, store, 0, &error),
                     QN_BAD_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(error.text, "\"2.weight\""));
    qn_model_destroy(&model);
    qn_store_destroy(&store);
}
END_TEST

// ---- values ----

// Runs `outputs` of a graph whose only input is x.
static void run_graph(qn_graph *g, qn_store *store, qn_node *x,
                      const float *data, qn_node *const *outputs, int count,
                      float *const *results)
{
    qn_error error = {0};
    struct qn_plan_params params = {.graph = g,
                                    .store = store,
                                    .outputs = outputs,
                                    .output_count = count};
    qn_plan *plan = qn_plan_create(qn_check_device(), &params, &error);
    ck_assert_msg(plan != NULL, "%s", error.text);
    size_t size = (size_t)qn_shape_count(qn_node_shape(x)) * sizeof(float);
    ck_assert_int_eq(qn_plan_write(plan, x, data, size), QN_OK);
    ck_assert_int_eq(qn_plan_run(plan), QN_OK);
    for (int i = 0; i < count; i++) {
        const qn_shape *shape = qn_node_shape(outputs[i]);
        size = (size_t)qn_shape_count(shape) * sizeof(float);
        ck_assert_int_eq(qn_plan_read(plan, outputs[i], results[i], size),
                         QN_OK);
    }
    qn_plan_destroy(&plan);
}

// y[n][o] = sum_i w[o][i] x[n][i] + b[o], in double.
static void dense(const double *x, const double *w, const double *b, int n,
                  int in, int out, double *y)
{
    for (int row = 0; row < n; row++)
        for (int o = 0; o < out; o++) {
            double sum = b[o];
            for (int i = 0; i < in; i++)
                sum += w[o * in + i] * x[row * in + i];
            y[row * out + o] = sum;
        }
}

// As nn.Sequential(Flatten(), Linear(12, 5), LeakyReLU(0.1), Linear(5, 3)).
START_TEST(network_computes_its_formula)
{
    const char *text = "5-leaky_relu0.1-3";
    char hash[65];
    int64_t count;
    float data[24], result[6], *results[] = {result};
    double x[24], hidden[10], want[6], got[6];
    struct qn_check_rng rng = {3};
    qn_store *store = make_store(text, qn_shape_of(2, 3, 4), 5, hash);
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_model *model = make(text);
    qn_node *input = qn_input(g, "x", QN_FLOAT32, qn_shape_of(2, 3, 4));
    qn_node *y = qn_model_build(model, g, input, NULL);
    for (int i = 0; i < 24; i++)
        x[i] = (double)(data[i] = (float)qn_check_uniform(&rng, -1, 1));
    run_graph(g, store, input, data, &y, 1, results);
    double *w0 = read_parameter(store, "0.weight", &count);
    double *b0 = read_parameter(store, "0.bias", &count);
    double *w2 = read_parameter(store, "2.weight", &count);
    double *b2 = read_parameter(store, "2.bias", &count);
    dense(x, w0, b0, 2, 12, 5, hidden);
    for (int i = 0; i < 10; i++)
        hidden[i] *= hidden[i] > 0 ? 1 : 0.1;
    dense(hidden, w2, b2, 2, 5, 3, want);
    for (int i = 0; i < 6; i++)
        got[i] = (double)result[i];
    qn_check_close("logits", got, want, 6, 1e-5, 1e-6);
    double *owned[] = {w0, b0, w2, b2};
    for (int i = 0; i < 4; i++)
        free(owned[i]);
    qn_model_destroy(&model);
    qn_graph_destroy(&g);
    qn_store_destroy(&store);
}
END_TEST

// Each element is dropped or grown by 1 / (1 - p); the gradient goes through
// the same mask; the next layer has another one.
START_TEST(dropout_keeps_the_mean_and_its_mask)
{
    enum { N = 40, F = 50, COUNT = N * F };
    static float data[COUNT], y[3][COUNT], *results[] = {y[0], y[1], y[2]};
    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *x = qn_input(g, "x", QN_FLOAT32, qn_shape_of(N, F));
    qn_model *model = make("dropout0.2-dropout0.2");
    qn_node *outputs[3], *layers[2];
    qn_model_build(model, g, x,
                   &(struct qn_model_build_params){
                       .training = true,
                       .seed = qn_scalar(g, "seed"),
                       .step = qn_scalar(g, "step"),
                       .layer_outputs = layers});
    outputs[0] = layers[0];
    outputs[1] = layers[1];
    qn_gradients(g, qn_sum(g, layers[0], NULL), &x, 1, &outputs[2]);
    for (int i = 0; i < COUNT; i++)
        data[i] = 1;
    run_graph(g, NULL, x, data, outputs, 3, results);
    int kept = 0, twice = 0;
    for (int i = 0; i < COUNT; i++) {
        ck_assert(y[0][i] == 0 || y[0][i] == 1.25f);
        ck_assert_float_eq(y[2][i], y[0][i]);
        kept += y[0][i] != 0;
        twice += y[1][i] != 0;
    }
    // Five standard deviations of a binomial: 5 sqrt(n p (1 - p)).
    ck_assert_int_le(abs(kept - 1600), 90);
    ck_assert_int_le(abs(twice - 1280), 108);
    qn_model_destroy(&model);
    qn_graph_destroy(&g);
}
END_TEST

QN_CHECK_MAIN("model", texts_have_one_canonical_form,
              errors_say_where_and_what, deep_and_long_texts_are_refused,
              files_are_read, tables_are_complete,
              built_in_models_have_their_number_of_parameters,
              document_names_all_layers_keys_and_initializers,
              parameters_are_named_as_in_sequential,
              prediction_drops_nothing, dropout_needs_its_scalars,
              parameters_start_as_their_layers_say,
              first_values_depend_on_seed_and_name_alone,
              foreign_parameters_are_named, network_computes_its_formula,
              dropout_keeps_the_mean_and_its_mask)
