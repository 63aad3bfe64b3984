// The graph of a model: layers in their order, each in the scope of its path.
#include <stdio.h>
#include <stdlib.h>

#include "graph/graph.h"
#include "nn/model.h"

// A model on its way into a graph.
struct qn_builder {
    const qn_model *model;
    qn_graph *graph;
    qn_node *input;
    const struct qn_model_build_params *params;
    const char *base;  // the scope that the model stands in
    qn_node **outputs; // of the layers, in their order
    int *next;         // index of the layer that comes next
};

// ---- one layer ----

static qn_node *build_row(const struct qn_builder *builder,
                          const struct qn_layer_spec *spec,
                          qn_node *const *inputs, int input_count)
{
    const struct qn_model_build_params *params = builder->params;
    const qn_layer *layer = spec->layer;
    struct qn_layer_use use = {
        .values = spec->values,
        .widths = spec->widths,
        .inputs = inputs,
        .input_count = input_count,
        .training = params->training,
        .stochastic = params->training || params->stochastic,
        .seed = params->seed,
        .step = params->step,
        .statistics_rate = params->statistics_rate,
        .first = params->first,
        .spec = spec,
        .builder = builder,
    };
    for (int i = 0; i < input_count; i++)
        if (!inputs[i])
            return NULL;
    return layer->apply ? layer->apply(builder->graph, inputs[0])
                        : layer->build(builder->graph, inputs[0], &use);
}

// The path of a layer within the whole graph.
static const char *full_path(const struct qn_builder *builder,
                             const struct qn_layer_spec *spec)
{
    char path[512];
    snprintf(path, sizeof path, "%s%s%s", builder->base,
             *builder->base ? "." : "", spec->path);
    return qn_arena_string(&builder->graph->arena, path);
}

// Its parameters are those of the layer that it shares with.
static qn_node *build_shared(const struct qn_builder *builder,
                             const struct qn_layer_spec *spec,
                             qn_node *const *inputs, int input_count)
{
    qn_graph *g = builder->graph;
    const struct qn_layer_spec *other =
        builder->model->all[spec->links.share_layer];
    const struct qn_share share = {
        .from = full_path(builder, spec),
        .to = full_path(builder, other),
        .outer = g->share,
    };
    g->share = &share;
    qn_node *y = build_row(builder, spec, inputs, input_count);
    g->share = share.outer;
    return y;
}

// The layers that `spec` names as inputs; false without memory.
static qn_node **named_inputs(const struct qn_builder *builder,
                              const struct qn_layer_links *links)
{
    qn_node **inputs =
        qn_arena_alloc(&builder->graph->arena,
                       (size_t)links->input_count * sizeof *inputs);
    for (int i = 0; inputs && i < links->input_count; i++) {
        int index = links->input_layers[i];
        inputs[i] = index < 0 ? builder->input : builder->outputs[index];
    }
    return inputs;
}

static qn_node *build_layer(const struct qn_builder *builder,
                            const struct qn_layer_spec *spec, int place,
                            qn_node *x)
{
    qn_graph *g = builder->graph;
    const struct qn_layer_links *links = &spec->links;
    const int index = (*builder->next)++;
    qn_node *const *inputs = &x;
    int count = 1;
    char scope[16];
    if (links->input_count) {
        inputs = named_inputs(builder, links);
        count = links->input_count;
    }
    snprintf(scope, sizeof scope, "%d", place);
    qn_graph_push(g, scope);
    if (!inputs)
        x = NULL;
    else if (links->share)
        x = build_shared(builder, spec, inputs, count);
    else
        x = build_row(builder, spec, inputs, count);
    qn_graph_pop(g);
    builder->outputs[index] = x;
    return x;
}

static qn_node *build_sequence(const struct qn_builder *builder,
                               const struct qn_sequence *sequence, qn_node *x)
{
    for (int i = 0; i < sequence->count; i++)
        x = build_layer(builder, &sequence->layers[i], i, x);
    return x;
}

qn_node *qn_layer_run(const struct qn_layer_use *use, qn_graph *g, int i,
                      qn_node *x)
{
    const struct qn_layer_list *row = use->spec->layer->lists;
    char scope[32];
    qn_layer_scope(row->is_many ? row : &row[i], i, scope, sizeof scope);
    if (*scope)
        qn_graph_push(g, scope);
    x = build_sequence(use->builder, &use->spec->lists[i], x);
    if (*scope)
        qn_graph_pop(g);
    return x;
}

// ---- the model ----

qn_node *qn_model_build(const qn_model *model, qn_graph *g, qn_node *x,
                        const struct qn_model_build_params *params)
{
    const struct qn_model_build_params predicting = {0};
    int next = 0;
    if (!g)
        return NULL;
    size_t size = (size_t)model->layer_count * sizeof(qn_node *);
    struct qn_builder builder = {
        .model = model,
        .graph = g,
        .input = x,
        .params = params ? params : &predicting,
        .base = qn_arena_string(&g->arena, g->scope),
        .outputs = qn_arena_alloc(&g->arena, size),
        .next = &next,
    };
    if (!builder.base || !builder.outputs) {
        qn_graph_fail(g, QN_NO_MEMORY, "no memory for %d layers",
                      model->layer_count);
        return NULL;
    }
    x = build_sequence(&builder, &model->layers, x);
    if (builder.params->layer_outputs)
        memcpy(builder.params->layer_outputs, builder.outputs, size);
    return x;
}
