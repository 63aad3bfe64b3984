// The graph as text and as a Graphviz picture.
#include "graph/graph.h"

const char *qn_op_kind(const struct qn_op *op)
{
    return op->flags & QN_OP_LEAF ? "leaf"
           : op->expr             ? "pointwise"
           : op->candidates       ? "kernel"
                                  : "view";
}

static qn_status finish(FILE *file)
{
    return ferror(file) ? QN_IO : QN_OK;
}

qn_status qn_graph_dump_text(const qn_graph *g, FILE *file)
{
    char shape[128];
    for (const struct qn_node *node = g->first; node; node = node->next) {
        fprintf(file, "%%%d = %s(", node->id, node->op->name);
        for (int i = 0; i < node->input_count; i++)
            fprintf(file, "%s%%%d", i ? ", " : "", node->inputs[i]->id);
        for (int i = 0; i < node->op->param_count; i++)
            fprintf(file, "%s%g", i || node->input_count ? ", " : "",
                    node->p[i]);
        fprintf(file, ") %s %s", qn_dtype_name(node->dtype),
                qn_shape_text(&node->shape, shape, sizeof shape));
        fprintf(file, "%s%s\n", *node->name ? "  " : "", node->name);
    }
    return finish(file);
}

// Names may hold quotes and backslashes; Graphviz wants them escaped.
static void write_escaped(const char *text, FILE *file)
{
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', file);
        fputc(*text, file);
    }
}

qn_status qn_graph_dump_dot(const qn_graph *g, FILE *file)
{
    static const struct {
        const char *kind;
        const char *color;
    } colors[] = {{"leaf", "#dbe9f6"},
                  {"pointwise", "#e3f3dd"},
                  {"kernel", "#fbe3cd"},
                  {"view", "#eeeeee"}};
    char shape[128];
    fputs("digraph quern {\n  node [shape=box, style=\"rounded,filled\", "
          "fontname=\"sans-serif\"];\n",
          file);
    for (const struct qn_node *node = g->first; node; node = node->next) {
        const char *color = "#ffffff";
        for (size_t i = 0; i < sizeof colors / sizeof *colors; i++)
            if (colors[i].kind[0] == qn_op_kind(node->op)[0])
                color = colors[i].color;
        fprintf(file, "  n%d [fillcolor=\"%s\", label=\"%s\\n%s", node->id,
                color, node->op->name,
                qn_shape_text(&node->shape, shape, sizeof shape));
        if (*node->name) {
            fputs("\\n", file);
            write_escaped(node->name, file);
        }
        fputs("\"];\n", file);
        for (int i = 0; i < node->input_count; i++)
            fprintf(file, "  n%d -> n%d;\n", node->inputs[i]->id, node->id);
    }
    fputs("}\n", file);
    return finish(file);
}
