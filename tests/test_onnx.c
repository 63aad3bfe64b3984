// Runs cases of the ONNX backend test suite:
//
//   test_onnx [--strict] [--report FILE] [FOLDER...]
//
// A case is a folder with model.onnx and test_data_set_*/{input,output}_K.pb;
// folders are searched to any depth. Without a folder the cases are those in
// $QUERN_TEST_DATA/vectors/onnx. Each is built by the importer, run on the
// device and compared at rtol 1e-5, atol 1e-6; the variant is QUERN_VARIANT's.
// A case is skipped where the importer says that it has no mapping, and where
// the table below says why it cannot pass.
//
//   --strict       a case that is skipped without being in the table fails, and
//                  so does one that is in the table and passes
//   --report FILE  writes a line a case: its name, verdict, rows
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "base/text.h"
#include "graph/graph.h"
#include "onnx/onnx.h"
#include "quern/plan.h"

enum { MAX_VALUES = QN_ONNX_MAX_VALUES, DID_NOT_RUN = 77 };
static const double relative = 1e-5, absolute = 1e-6;

static qn_device *device;
static FILE *report;
static bool is_strict;
static int passed, failed, skipped;

// Why a case of the suite cannot pass.
static const struct {
    const char *name;
    const char *reason;
} exceptions[] = {
    {"test_averagepool_2d_ceil_last_window_starts_on_pad",
     "its expected values are rounded to 4 decimals, coarser than the "
     "tolerance"},
    {"test_training_dropout",
     "its mask is NumPy's random numbers, and is not among its outputs"},
    {"test_nllloss_NCd1d2d3d4d5_mean_weight", "tensors of 7 dimensions"},
    {"test_sce_NCd1d2d3d4d5_mean_weight", "tensors of 7 dimensions"},
    {"test_sce_NCd1d2d3d4d5_none_no_weight", "tensors of 7 dimensions"},
};

// ---- lists of paths ----

struct paths {
    char **items;
    int count;
    const char *folder;
    const char *prefix;
};

static void add_path(void *user, const char *name)
{
    struct paths *paths = user;
    struct qn_text text = {0};
    if (strncmp(name, paths->prefix, strlen(paths->prefix)) != 0)
        return;
    qn_text_add(&text, "%s/%s", paths->folder, name);
    paths->items = realloc(paths->items,
                           ((size_t)paths->count + 1) * sizeof(char *));
    if (!paths->items || text.failed)
        abort();
    paths->items[paths->count++] = text.data;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// What lies in the folder and begins with `prefix`, sorted.
static struct paths list(const char *folder, const char *prefix)
{
    struct paths paths = {.folder = folder, .prefix = prefix};
    qn_error error = {0};
    if (qn_os_list_folder(folder, add_path, &paths, &error) != QN_OK)
        fprintf(stderr, "%s\n", error.text);
    if (paths.count)
        qsort(paths.items, (size_t)paths.count, sizeof *paths.items, compare);
    return paths;
}

static void finish_paths(struct paths *paths)
{
    for (int i = 0; i < paths->count; i++)
        free(paths->items[i]);
    free(paths->items);
}

// ---- one data set of a case ----

struct trial {
    qn_onnx *model;
    struct qn_onnx_file inputs[MAX_VALUES], outputs[MAX_VALUES];
    int input_count, output_count;
    struct qn_onnx_binding bindings[2 * MAX_VALUES];
    int binding_count;
    qn_graph *graph;
    qn_plan *plan;
    qn_node *results[MAX_VALUES];
};

static qn_status read_files(const char *set, const char *what,
                            struct qn_onnx_file *files, int *count,
                            qn_error *error)
{
    char path[2000];
    for (*count = 0; *count < MAX_VALUES; ++*count) {
        snprintf(path, sizeof path, "%s/%s_%d.pb", set, what, *count);
        if (!qn_os_is_file(path))
            break;
        QN_TRY(qn_onnx_file_open(&files[*count], path, error));
    }
    return QN_OK;
}

// Inputs are nodes, or fixed content where the model's shape hangs on it.
static qn_status bind(struct trial *t, qn_error *error)
{
    for (int i = 0; i < t->input_count; i++) {
        const char *name = qn_onnx_input(t->model, i);
        struct qn_onnx_binding *binding = &t->bindings[t->binding_count++];
        qn_dtype dtype;
        qn_shape shape;
        if (!name)
            return qn_fail(error, QN_FORMAT,
                           "more data than inputs of the model");
        binding->name = name;
        if (qn_onnx_needs_content(t->model, name)) {
            binding->content = &t->inputs[i].tensor;
            continue;
        }
        QN_TRY(qn_onnx_place(&t->inputs[i].tensor, QN_FLOAT32, &dtype, &shape,
                             error));
        binding->node = qn_input(t->graph, name, dtype, shape);
    }
    for (int i = 0; i < t->output_count; i++) {
        const char *name = qn_onnx_output(t->model, i);
        if (name && qn_onnx_is_drawn(t->model, name))
            t->bindings[t->binding_count++] = (struct qn_onnx_binding){
                .name = name, .content = &t->outputs[i].tensor};
    }
    return QN_OK;
}

static qn_status build(struct trial *t, const char *set, qn_error *error)
{
    int outputs = 0;
    QN_TRY(read_files(set, "input", t->inputs, &t->input_count, error));
    QN_TRY(read_files(set, "output", t->outputs, &t->output_count, error));
    while (qn_onnx_output(t->model, outputs))
        outputs++;
    if (!outputs || outputs != t->output_count)
        return qn_fail(error, QN_FORMAT, "%d outputs, data for %d", outputs,
                       t->output_count);
    t->graph = qn_graph_create(QN_FLOAT32);
    QN_TRY(bind(t, error));
    return qn_onnx_build(t->model, t->graph, t->bindings, t->binding_count,
                         t->results, error);
}

static qn_status write_input(struct trial *t, int i, qn_error *error)
{
    void *data;
    size_t size;
    const qn_node *node = t->bindings[i].node;
    if (!node)
        return QN_OK;
    QN_TRY(qn_onnx_convert(&t->inputs[i].tensor, qn_node_dtype(node), &data,
                           &size, error));
    const qn_status status = qn_plan_write(t->plan, node, data, size);
    free(data);
    return status == QN_OK ? status
                           : qn_fail(error, status, "%s",
                                     qn_plan_error(t->plan)->text);
}

static bool is_same_shape(const qn_shape *got,
                          const struct qn_onnx_tensor *want)
{
    const qn_shape shape = qn_shape_make(want->rank, want->dims);
    return qn_shape_equal(got, &shape);
}

static double element(const void *data, qn_dtype dtype, int64_t k)
{
    return dtype == QN_FLOAT32 ? (double)((const float *)data)[k]
           : dtype == QN_INT32 ? (double)((const int32_t *)data)[k]
                               : (double)((const unsigned char *)data)[k];
}

static qn_status compare_values(int output, const void *got, qn_dtype dtype,
                                const struct qn_onnx_tensor *want,
                                qn_error *error)
{
    for (int64_t k = 0; k < want->count; k++) {
        const double x = element(got, dtype, k);
        const double y = qn_onnx_real(want, k);
        const double bound = want->is_integer ? 0 : absolute + relative * fabs(y);
        if (x == y || (isnan(x) && isnan(y)) || fabs(x - y) <= bound)
            continue;
        return qn_fail(error, QN_NOT_FINITE,
                       "output %d, element %lld is %.9g, should be %.9g",
                       output, (long long)k, x, y);
    }
    return QN_OK;
}

static qn_status check_output(struct trial *t, int i, qn_error *error)
{
    const struct qn_onnx_tensor *want = &t->outputs[i].tensor;
    const qn_node *node = t->results[i];
    const qn_shape *shape = qn_node_shape(node);
    char text[128];
    if (!is_same_shape(shape, want))
        return qn_fail(error, QN_BAD_SHAPE, "output %d has the wrong shape %s",
                       i, qn_shape_text(shape, text, sizeof text));
    const size_t size = (size_t)qn_shape_count(shape) *
                        qn_dtype_size(qn_node_dtype(node));
    void *data = malloc(size);
    qn_status status = qn_plan_read(t->plan, node, data, size);
    if (status != QN_OK)
        qn_fail(error, status, "%s", qn_plan_error(t->plan)->text);
    else
        status = compare_values(i, data, qn_node_dtype(node), want, error);
    free(data);
    return status;
}

static qn_status run(struct trial *t, qn_error *error)
{
    const struct qn_plan_params params = {.graph = t->graph,
                                          .outputs = t->results,
                                          .output_count = t->output_count};
    t->plan = qn_plan_create(device, &params, error);
    if (!t->plan)
        return error->status;
    for (int i = 0; i < t->input_count; i++)
        QN_TRY(write_input(t, i, error));
    if (qn_plan_run(t->plan) != QN_OK)
        return qn_fail(error, QN_DEVICE, "%s", qn_plan_error(t->plan)->text);
    for (int i = 0; i < t->output_count; i++)
        QN_TRY(check_output(t, i, error));
    return QN_OK;
}

static void finish(struct trial *t)
{
    qn_plan_destroy(&t->plan);
    qn_graph_destroy(&t->graph);
    for (int i = 0; i < MAX_VALUES; i++) {
        qn_onnx_file_close(&t->inputs[i]);
        qn_onnx_file_close(&t->outputs[i]);
    }
    qn_onnx_close(&t->model);
}

// ---- verdicts ----

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static const char *find_exception(const char *name)
{
    for (size_t i = 0; i < sizeof exceptions / sizeof *exceptions; i++)
        if (strcmp(exceptions[i].name, name) == 0)
            return exceptions[i].reason;
    return NULL;
}

static void conclude(const char *name, qn_status status, const char *reason)
{
    const char *exception = find_exception(name);
    if (exception && status != QN_OK) {
        status = QN_UNSUPPORTED;
        reason = exception;
    } else if (is_strict && status == QN_UNSUPPORTED) {
        printf("%s is skipped, but is no listed exception:\n", name);
        status = QN_FORMAT;
    } else if (is_strict && exception) {
        status = QN_FORMAT;
        reason = "passes, but is a listed exception";
    }
    passed += status == QN_OK;
    skipped += status == QN_UNSUPPORTED;
    failed += status != QN_OK && status != QN_UNSUPPORTED;
    const char *verdict = status == QN_OK            ? "passed"
                          : status == QN_UNSUPPORTED ? "skipped"
                                                     : "FAILED";
    printf("%-7s %s%s%s\n", verdict, name, *reason ? ": " : "", reason);
    if (report)
        fprintf(report, "%s\t%s", name, verdict);
}

// The rows of the graph, each once.
static void report_rows(const struct trial *t)
{
    fprintf(report, "\t");
    for (const struct qn_node *node = t->graph ? t->graph->first : NULL; node;
         node = node->next) {
        const struct qn_node *before = t->graph->first;
        while (before->op != node->op)
            before = before->next;
        if (before == node)
            fprintf(report, "%s ", node->op->name);
    }
    fprintf(report, "\n");
}

static void run_set(const char *folder, const char *set)
{
    struct trial t = {0};
    char path[2000], name[300];
    qn_error error = {0};
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    t.model = qn_onnx_open(path, &error);
    qn_status status = t.model ? build(&t, set, &error) : error.status;
    if (status == QN_OK)
        status = run(&t, &error);
    else if (strncmp(error.text, path, strlen(path)) == 0)
        memmove(error.text, error.text + strlen(path) + 2,
                strlen(error.text + strlen(path) + 2) + 1);
    const bool is_first = strcmp(base_name(set), "test_data_set_0") == 0;
    snprintf(name, sizeof name, "%s%s%s", base_name(folder),
             is_first ? "" : "/", is_first ? "" : base_name(set));
    conclude(name, status, error.text);
    if (report)
        report_rows(&t);
    finish(&t);
}

static void run_case(const char *folder)
{
    struct paths sets = list(folder, "test_data_set_");
    if (!sets.count)
        conclude(base_name(folder), QN_FORMAT, "no test_data_set_*");
    for (int i = 0; i < sets.count; i++)
        run_set(folder, sets.items[i]);
    finish_paths(&sets);
}

static void search(const char *folder, int depth)
{
    char path[2000];
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    if (qn_os_is_file(path)) {
        run_case(folder);
        return;
    }
    struct paths inside = list(folder, "");
    for (int i = 0; i < inside.count && depth < 16; i++)
        if (qn_os_is_folder(inside.items[i]))
            search(inside.items[i], depth + 1);
    finish_paths(&inside);
}

// ---- the command ----

// Leaves the folders in `argv`; their number, or -1.
static int read_options(int argc, char **argv)
{
    int folders = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--strict") == 0)
            is_strict = true;
        else if (strcmp(argv[i], "--report") == 0 && i + 1 < argc) {
            report = fopen(argv[++i], "w");
            if (!report)
                return perror(argv[i]), -1;
        } else if (strncmp(argv[i], "--", 2) == 0) {
            fprintf(stderr, "%s: no such option\n", argv[i]);
            return -1;
        } else
            argv[folders++] = argv[i];
    }
    return folders;
}

static int run_all(char **folders, int count)
{
    const char *data = getenv("QUERN_TEST_DATA");
    char folder[1500];
    qn_error error = {0};
    snprintf(folder, sizeof folder, "%s/vectors/onnx", data ? data : "");
    if (!count && (!data || !qn_os_is_folder(folder))) {
        printf("did not run: QUERN_TEST_DATA names no folder with "
               "vectors/onnx\n");
        return DID_NOT_RUN;
    }
    if (!qn_onnx_operator(0)) {
        qn_onnx_open("", &error);
        printf("did not run: %s\n", error.text);
        return DID_NOT_RUN;
    }
    device = qn_device_open(NULL, &error);
    if (!device) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    if (!count)
        search(folder, 0);
    for (int i = 0; i < count; i++)
        search(folders[i], 0);
    qn_device_close(&device);
    printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
    return failed || !passed;
}

int main(int argc, char **argv)
{
    const int count = read_options(argc, argv);
    const int status = count < 0 ? 2 : run_all(argv, count);
    if (report)
        fclose(report);
    return status;
}
