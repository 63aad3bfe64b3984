// quern summary: layers and parameters of a model, what the plan of its
// training step makes of the device, and what memory training would take.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

enum { MAX_LAYERS = 1024 };

struct options {
    const char *data, *device, *optimizer, *dump;
    int64_t batch_size;
    bool json, quiet;
};

// The training step and what is asked about it.
struct job {
    const struct command *command;
    struct options options;
    const char *text;
    qn_model *model;
    qn_dataset *dataset;
    qn_device *device;
    qn_graph *graph;
    qn_store *store;
    qn_plan *plan; // NULL: too large to be made
    qn_plan_stats stats;
    qn_fit_memory asked, taken; // of training
    qn_error problem;           // what keeps it from fitting
    qn_node *outputs[MAX_LAYERS]; // of the layers
};

// ---- memory of training ----

static void predict_memory(struct job *job)
{
    struct qn_fit_params params = qn_fit_defaults();
    params.model = job->model;
    params.dataset = job->dataset;
    params.batch_size = job->options.batch_size;
    params.optimizer = job->options.optimizer;
    qn_fit_estimate(job->device, &params, &job->asked, &job->taken,
                    &job->problem);
}

static bool fits_whole(const struct job *job)
{
    return job->problem.status == QN_OK && job->taken.micro_batch == 0;
}

static void print_memory(const struct job *job)
{
    const qn_device_info *info = qn_device_describe(job->device);
    const qn_fit_memory *m = &job->asked;
    char a[SHORT_TEXT], b[SHORT_TEXT], c[SHORT_TEXT], d[SHORT_TEXT];
    printf("\ntraining on %s in batches of %lld\n", job->dataset->name,
           (long long)job->options.batch_size);
    if (m->peak_size > 0) {
        printf("  data set    %s; parameters and optimizer %s; steps %s; "
               "evaluation %s\n", text_size(a, (double)m->data_size),
               text_size(b, (double)m->state_size),
               text_size(c, (double)m->step_size),
               text_size(d, (double)m->evaluation_size));
        printf("  peak        %s of the device's %s\n",
               text_size(a, (double)m->peak_size),
               text_size(b, (double)info->memory_size));
        printf("  largest     %s of at most %s in one piece\n",
               text_size(a, (double)m->largest_size),
               text_size(b, (double)info->max_alloc_size));
    }
    if (job->problem.status != QN_OK)
        printf("  problem     %s\n", job->problem.text);
    else if (job->taken.micro_batch)
        printf("  fits        in micro-batches of %lld, with %s\n",
               (long long)job->taken.micro_batch,
               text_size(a, (double)job->taken.peak_size));
}

static json_t *memory_json(const struct job *job)
{
    const qn_fit_memory *m = &job->asked;
    bool fits = job->problem.status == QN_OK;
    return json_pack(
        "{sI sI sI sI sI sI sb sI ss?}", "data_bytes",
        (json_int_t)m->data_size, "state_bytes", (json_int_t)m->state_size,
        "step_bytes", (json_int_t)m->step_size, "evaluation_bytes",
        (json_int_t)m->evaluation_size, "peak_bytes",
        (json_int_t)m->peak_size, "largest_bytes",
        (json_int_t)m->largest_size, "fits", fits, "micro_batch",
        (json_int_t)job->taken.micro_batch, "problem",
        fits ? NULL : job->problem.text);
}

// ---- the training step ----

static qn_shape batch_shape(const struct job *job)
{
    const qn_shape *sample = &job->dataset->shape;
    qn_shape shape = {.rank = sample->rank + 1,
                      .dims = {job->options.batch_size}};
    for (int i = 0; i < sample->rank; i++)
        shape.dims[i + 1] = sample->dims[i];
    return shape;
}

static void build_graph(struct job *job, const struct qn_optimizer *row,
                        qn_node **loss)
{
    qn_graph *g = job->graph = qn_graph_create(QN_FLOAT32);
    qn_node *x = qn_input(g, "x", QN_UINT8, batch_shape(job));
    qn_node *labels = qn_input(g, "labels", QN_INT32,
                               qn_shape_of(job->options.batch_size));
    qn_node *step = qn_scalar(g, "step");
    struct qn_model_build_params params = {
        .training = true, .seed = qn_scalar(g, "seed"), .step = step,
        .layer_outputs = job->outputs};
    x = qn_scale(g, qn_cast(g, x, QN_FLOAT32), job->dataset->scale);
    qn_node *logits = qn_model_build(job->model, g, x, &params);
    struct qn_loss_params entropy =
        qn_loss_defaults(qn_loss_find("softmax_cross_entropy"));
    *loss = qn_loss_build(g, &entropy, logits, labels);
    struct qn_optimizer_params update = qn_optimizer_defaults(row);
    struct qn_optimizer_update nodes;
    qn_optimizer_build(g, *loss, &update, &nodes);
}

static int make_plan(struct job *job)
{
    qn_error error = {0};
    qn_node *loss;
    const struct qn_optimizer *row = qn_optimizer_find(
        job->options.optimizer);
    if (qn_minimizer_row_find(job->options.optimizer))
        return usage_error(job->command, "%s takes all samples at once; "
                           "this shows a step of a mini-batch: take sgd",
                           job->options.optimizer);
    if (!row)
        return usage_error(job->command, "unknown optimizer %s (quern list "
                           "optimizers shows all)", job->options.optimizer);
    build_graph(job, row, &loss);
    struct qn_plan_params params = {.graph = job->graph, .outputs = &loss,
                                    .output_count = 1};
    bool good = qn_graph_check(job->graph, &error) == QN_OK;
    predict_memory(job);
    // What does not fit is still described, unless its launches are asked for.
    if (good && job->problem.status != QN_BAD_SHAPE && !fits_whole(job) &&
        !job->options.dump)
        return qn_plan_estimate(job->device, &params, &job->stats, &error) ==
                       QN_OK
                   ? EXIT_DONE
                   : fail_with(job->command, &error);
    good = good && (job->store = qn_store_create(job->device, &error)) &&
           qn_store_add(job->store, job->graph, &error) == QN_OK;
    params.store = job->store;
    if (good)
        job->plan = qn_plan_create(job->device, &params, &error);
    if (!job->plan)
        return fail_with(job->command, &error);
    qn_plan_describe(job->plan, &job->stats);
    return EXIT_DONE;
}

// ---- layers ----

// Parameters whose names begin with `path` and a dot: of a container those of
// all in it. An empty path: all there are.
static int64_t count_parameters(const struct job *job, const char *path)
{
    qn_node *members[4 * MAX_LAYERS];
    int64_t sum = 0;
    size_t length = strlen(path);
    int count = qn_group_members(job->graph, "parameters", members,
                                 4 * MAX_LAYERS);
    for (int i = 0; i < count && i < 4 * MAX_LAYERS; i++) {
        const char *name = qn_node_name(members[i]);
        if (!length || (strncmp(name, path, length) == 0 &&
                        name[length] == '.'))
            sum += qn_shape_count(qn_node_shape(members[i]));
    }
    return sum;
}

static int64_t layer_parameters(const struct job *job, int index)
{
    return count_parameters(job, qn_model_layer_path(job->model, index));
}

// "3.layers.0" stands one level deeper than "3": in a list of it.
static int depth_of(const struct job *job, int index)
{
    const char *path = qn_model_layer_path(job->model, index);
    int depth = 0;
    for (int i = 0; i < index; i++) {
        const char *other = qn_model_layer_path(job->model, i);
        size_t length = strlen(other);
        depth += strncmp(path, other, length) == 0 && path[length] == '.';
    }
    return depth;
}

static int path_width(const struct job *job)
{
    int width = 5;
    for (int i = 0; i < qn_model_layer_count(job->model); i++) {
        int length = (int)strlen(qn_model_layer_path(job->model, i));
        width = length > width ? length : width;
    }
    return width;
}

// The shape of one sample behind a layer.
static char *sample_text(const qn_node *node, char *text, size_t size)
{
    qn_shape shape = *qn_node_shape(node);
    for (int i = 1; i < shape.rank; i++)
        shape.dims[i - 1] = shape.dims[i];
    shape.rank -= shape.rank > 0;
    return qn_shape_text(&shape, text, size);
}

static void print_layers(const struct job *job)
{
    char shape[64], count[SHORT_TEXT];
    const int width = path_width(job);
    printf("%*s  %-24s%-20s%14s\n", width, "", "layer", "output",
           "parameters");
    printf("%*s  %-24s%-20s%14s\n", width, "", job->dataset->name,
           qn_shape_text(&job->dataset->shape, shape, sizeof shape), "");
    for (int i = 0; i < qn_model_layer_count(job->model); i++) {
        int64_t parameters = layer_parameters(job, i);
        int indent = 2 * depth_of(job, i);
        printf("%*s  %*s%-*s%-20s%14s\n", width,
               qn_model_layer_path(job->model, i), indent, "", 24 - indent,
               qn_layer_name(qn_model_layer_at(job->model, i)),
               sample_text(job->outputs[i], shape, sizeof shape),
               parameters ? text_count(count, parameters) : "");
    }
    printf("%*s  %-24s%-20s%14s\n", width, "", "all", "",
           text_count(count, count_parameters(job, "")));
}

// ---- the plan ----

static void print_plan(const struct job *job)
{
    const qn_plan_stats s = job->stats;
    const qn_device_info *info = qn_device_describe(job->device);
    char a[SHORT_TEXT], b[SHORT_TEXT], c[SHORT_TEXT];
    printf("\na training step of %lld samples with %s on %s\n",
           (long long)job->options.batch_size, job->options.optimizer,
           info->name);
    if (job->plan)
        printf("  launches    %d, without fusion %d; %d programs, of which "
               "%d heavy\n", s.launches, s.launches_unfused, s.programs,
               s.heavy_programs);
    printf("  tensors     %s in one arena, one by one %s\n",
           text_size(a, (double)s.arena_size),
           text_size(b, (double)s.tensor_size));
    printf("  state       %s of parameters and optimizer\n",
           text_size(a, (double)s.state_size));
    printf("  inputs      %s\n", text_size(a, (double)s.input_size));
    printf("  together    %s of the device's %s\n",
           text_size(a, (double)(s.arena_size + s.state_size + s.input_size)),
           text_size(b, (double)info->memory_size));
    printf("  largest     %s of at most %s in one piece\n",
           text_size(a, (double)s.largest_size),
           text_size(c, (double)info->max_alloc_size));
}

static json_t *plan_json(const struct job *job)
{
    const qn_plan_stats s = job->stats;
    return json_pack(
        "{si si si si si sI sI sI sI sI}", "nodes", s.nodes,
        "launches_unfused", s.launches_unfused, "launches", s.launches,
        "programs", s.programs, "heavy_programs", s.heavy_programs,
        "tensor_bytes", (json_int_t)s.tensor_size, "arena_bytes",
        (json_int_t)s.arena_size, "state_bytes", (json_int_t)s.state_size,
        "input_bytes", (json_int_t)s.input_size, "largest_bytes",
        (json_int_t)s.largest_size);
}

static int print_as_json(const struct job *job)
{
    const qn_device_info *info = qn_device_describe(job->device);
    json_t *layers = json_array();
    for (int i = 0; i < qn_model_layer_count(job->model); i++) {
        const qn_shape *shape = qn_node_shape(job->outputs[i]);
        json_t *dims = json_array();
        for (int d = 1; d < shape->rank; d++)
            json_array_append_new(dims, json_integer(shape->dims[d]));
        json_array_append_new(
            layers,
            json_pack("{ss ss so sI}", "path",
                      qn_model_layer_path(job->model, i), "layer",
                      qn_layer_name(qn_model_layer_at(job->model, i)),
                      "output", dims, "parameters",
                      (json_int_t)layer_parameters(job, i)));
    }
    return print_json(json_pack(
        "{ss ss so sI sI ss so so ss sI sI}", "model", job->text, "data",
        job->dataset->name, "layers", layers, "parameters",
        (json_int_t)count_parameters(job, ""), "batch_size",
        (json_int_t)job->options.batch_size, "optimizer",
        job->options.optimizer, "plan", plan_json(job), "training",
        memory_json(job), "device", info->name,
        "device_memory_bytes", (json_int_t)info->memory_size,
        "device_max_alloc_bytes", (json_int_t)info->max_alloc_size));
}

static int dump(const struct job *job)
{
    const char *kind = job->options.dump;
    qn_status status;
    if (strcmp(kind, "text") == 0)
        status = qn_graph_dump_text(job->graph, stdout);
    else if (strcmp(kind, "dot") == 0)
        status = qn_graph_dump_dot(job->graph, stdout);
    else
        status = qn_plan_dump_text(job->plan, stdout);
    return status == QN_OK ? EXIT_DONE : fail("cannot write the dump");
}

// ---- running ----

static int check_dump(const struct job *job)
{
    static const char *const kinds[] = {"text", "dot", "plan"};
    const char *kind = job->options.dump;
    for (int i = 0; kind && i < 3; i++)
        if (strcmp(kind, kinds[i]) == 0)
            return EXIT_DONE;
    return kind ? usage_error(job->command,
                              "--dump %s: there are text, dot and plan", kind)
                : EXIT_DONE;
}

static int show(struct job *job)
{
    int status = EXIT_FAILED;
    const struct command *command = job->command;
    if (!(job->model = open_model(command, job->text, &status)) ||
        !(job->dataset = open_dataset(command, job->options.data,
                                      &status)) ||
        !(job->device = open_device(command, job->options.device, false,
                                    &status)))
        return status;
    if (qn_model_layer_count(job->model) > MAX_LAYERS)
        return fail("the model has more than %d layers", MAX_LAYERS);
    say_device(job->options.quiet, job->device);
    status = make_plan(job);
    if (status != EXIT_DONE)
        return status;
    if (job->options.dump)
        return dump(job);
    if (job->options.json)
        return print_as_json(job);
    print_layers(job);
    print_plan(job);
    print_memory(job);
    return EXIT_DONE;
}

int run_summary(const struct command *command, int argc, const char **argv)
{
    struct job job = {.command = command,
                      .options = {.data = "digits", .optimizer = "sgd",
                                  .batch_size = 128}};
    struct options *o = &job.options;
    struct flag flags[] = {
        {"data", "D", "data set, for the shape of samples [digits]",
         FLAG_TEXT, &o->data, 0, 0, false},
        {"batch-size", "N", "samples a step [128]", FLAG_COUNT,
         &o->batch_size, 1, 1e9, false},
        {"optimizer", "O", "see quern list optimizers [sgd]", FLAG_TEXT,
         &o->optimizer, 0, 0, false},
        {"dump", "KIND",
         "print the graph (text, or dot for Graphviz) or the plan",
         FLAG_TEXT, &o->dump, 0, 0, false},
        FLAG_DEVICE(o->device),
        FLAG_JSON(o->json),
        FLAG_QUIET(o->quiet),
    };
    struct words words;
    int status;
    if (!parse_flags(command, argc, argv, flags, FLAG_COUNT_OF(flags), &words,
                     &status))
        return status;
    job.text = words.count ? words.text[0] : NULL;
    status = check_dump(&job);
    if (status == EXIT_DONE && words.count != 1)
        status = usage_error(command, "needs one MODEL, such as 512-relu-10");
    else if (status == EXIT_DONE)
        status = show(&job);
    qn_plan_destroy(&job.plan);
    qn_store_destroy(&job.store);
    qn_graph_destroy(&job.graph);
    qn_device_close(&job.device);
    qn_dataset_destroy(&job.dataset);
    qn_model_destroy(&job.model);
    free_words(&words);
    return status;
}
