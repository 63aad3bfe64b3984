// A chain of pointwise nodes as OpenCL text: each row's expression becomes a
// function, the chain a function that calls them. Sizes and strides are
// arguments, so that one text serves all sizes.
#include "plan/plan.h"

#include <string.h>

#include "base/text.h"

// ---- what is in the chain ----

static int find_node(const struct chain *chain, const struct qn_node *node)
{
    for (int i = 0; i < chain->node_count; i++)
        if (chain->nodes[i] == node)
            return i;
    return -1;
}

static int find_external(const struct chain *chain,
                         const struct qn_node *node, bool is_uint)
{
    for (int e = 0; e < chain->external_count; e++)
        if (chain->externals[e].node == node &&
            chain->externals[e].is_uint == is_uint)
            return e;
    return -1;
}

static bool add_external(const struct qn_plan *plan, struct chain *chain,
                         const struct qn_node *node, bool is_uint)
{
    if (find_external(chain, node, is_uint) >= 0)
        return true;
    if (chain->external_count == MAX_EXTERNALS)
        return false;
    struct external *external = &chain->externals[chain->external_count++];
    *external = (struct external){
        .node = node,
        .is_value = qn_node_is(node, QN_OP_LIVE | QN_OP_CONSTANT),
        .is_uint = is_uint,
        .constant = node->p[0],
        .live = value_of(plan, node)->live,
    };
    if (external->is_value)
        return true;
    const struct value *v = value_of(plan, node);
    struct qn_layout layout = v->layout;
    if (v->wants_copy && !(chain->is_copy && node == chain->root))
        layout = qn_layout_contiguous(&node->shape);
    external->layout = qn_layout_broadcast(&layout, &chain->root->shape);
    return true;
}

static bool is_inside(const struct qn_plan *plan, const struct chain *chain,
                      const struct qn_node *node)
{
    const struct value *v = value_of(plan, node);
    if (!is_pointwise(node))
        return false;
    if (node == chain->root)
        return !chain->is_copy || v->is_uniform;
    return v->is_uniform || !v->rides_on || v->rides_on == chain->root;
}

static bool visit(const struct qn_plan *plan, struct chain *chain,
                  const struct qn_node *node, bool is_uint)
{
    node = qn_plan_see_through(plan, node);
    if (!is_inside(plan, chain, node))
        return add_external(plan, chain, node, is_uint);
    if (find_node(chain, node) >= 0)
        return true;
    for (int i = 0; i < node->input_count; i++) {
        // An assignment only names its variable.
        bool is_written = node->op->writes >> i & 1;
        if (!is_written && !visit(plan, chain, node->inputs[i],
                                  qn_node_is(node, QN_OP_UINT_INPUTS)))
            return false;
    }
    if (chain->node_count == MAX_CHAIN)
        return false;
    chain->nodes[chain->node_count++] = node;
    return true;
}

bool qn_chain_collect(const struct qn_plan *plan, struct chain *chain,
                      const struct qn_node *root, bool is_copy)
{
    *chain = (struct chain){.root = root, .is_copy = is_copy};
    return visit(plan, chain, root, false);
}

bool qn_external_is_strided(const struct external *external)
{
    return !external->is_value && !qn_layout_repeats(&external->layout) &&
           !qn_layout_is_contiguous(&external->layout);
}

bool qn_chain_is_flat(const struct chain *chain)
{
    for (int e = 0; e < chain->external_count; e++)
        if (qn_external_is_strided(&chain->externals[e]))
            return false;
    return true;
}

// ---- text ----

static const char *type_of(const struct qn_plan *plan, qn_dtype dtype)
{
    return dtype == plan->graph->real ? "REAL"
           : dtype == QN_INT32        ? "int"
           : dtype == QN_UINT8        ? "uchar"
                                      : "float";
}

static const char *load_of(const struct qn_plan *plan, qn_dtype dtype)
{
    return dtype == plan->graph->real ? "real"
           : dtype == QN_INT32        ? "int"
                                      : "uchar";
}

// The row's expression as a function.
static void write_function(struct qn_text *text, const struct qn_op *op)
{
    static const char names[] = "xyzuv";
    const char *input = op->flags & QN_OP_UINT_INPUTS ? "uint" : "RV";
    const char *comma = "";
    qn_text_add(text, "#ifndef OP_%s\n#define OP_%s\n", op->name, op->name);
    qn_text_add(text, "static inline RV op_%s(", op->name);
    if (op->flags & QN_OP_INDEXED) {
        qn_text_add(text, "const ulong i");
        comma = ", ";
    }
    for (int i = 0; i < op->max_inputs; i++) {
        if (op->writes >> i & 1)
            continue;
        qn_text_add(text, "%sconst %s %c", comma, input, names[i]);
        comma = ", ";
    }
    for (int k = 0; k < op->param_count; k++) {
        qn_text_add(text, "%sconst %s p%d", comma,
                    op->uint_params >> k & 1 ? "uint" : "RV", k);
        comma = ", ";
    }
    qn_text_add(text, ")\n{\n    return %s;\n}\n#endif\n", op->expr);
}

static void write_functions(struct qn_text *text, const struct chain *chain)
{
    for (int n = 0; n < chain->node_count; n++) {
        bool is_written = false;
        for (int k = 0; k < n; k++)
            is_written |= chain->nodes[k]->op == chain->nodes[n]->op;
        if (!is_written)
            write_function(text, chain->nodes[n]->op);
    }
}

// How one external's lanes are fetched from its pointer.
static void write_fetch(const struct qn_plan *plan, struct qn_text *text,
                        const struct external *external, int e)
{
    const struct qn_layout *layout = &external->layout;
    int64_t inner = inner_stride(external);
    const char *load = load_of(plan, external->node->dtype);
    if (external->is_value && external->is_uint)
        qn_text_add(text, "    const uint x%d = arg%d;\n", e, e);
    else if (external->is_value)
        qn_text_add(text, "    const RV x%d = (RV)(arg%d);\n", e, e);
    else if (qn_layout_repeats(layout) || inner == 0)
        qn_text_add(text, "    const RV x%d = (RV)((REAL)*arg%d);\n", e, e);
    else if (qn_layout_is_contiguous(layout) || inner == 1)
        qn_text_add(text, "    const RV x%d = load_%s(arg%d, m);\n", e, load,
                    e);
    else
        qn_text_add(text,
                    "    const RV x%d = gather_%s(arg%d, arg%d_in, m);\n", e,
                    load, e, e);
}

static void write_call(const struct qn_plan *plan, struct qn_text *text,
                       const struct chain *chain, int n)
{
    const struct qn_node *node = chain->nodes[n];
    const char *comma = "";
    qn_text_add(text, "    const RV v%d = op_%s(", n, node->op->name);
    if (qn_node_is(node, QN_OP_INDEXED)) {
        qn_text_add(text, "i");
        comma = ", ";
    }
    for (int i = 0; i < node->input_count; i++) {
        if (node->op->writes >> i & 1)
            continue;
        const struct qn_node *input =
            qn_plan_see_through(plan, node->inputs[i]);
        int inside = find_node(chain, input);
        if (inside >= 0)
            qn_text_add(text, "%sv%d", comma, inside);
        else
            qn_text_add(text, "%sx%d", comma,
                        find_external(chain, input,
                                      qn_node_is(node, QN_OP_UINT_INPUTS)));
        comma = ", ";
    }
    for (int k = 0; k < node->op->param_count; k++) {
        bool is_uint = node->op->uint_params >> k & 1;
        qn_text_add(text, is_uint ? "%spar%d_%d" : "%s(RV)(par%d_%d)", comma,
                    n, k);
        comma = ", ";
    }
    qn_text_add(text, ");\n");
}

// The parameters of the chain. With `types`, for a declaration; else, for a
// call from the kernel, where element (i, j) of each operand is.
static void write_params(const struct qn_plan *plan, struct qn_text *text,
                         const struct chain *chain, bool is_call)
{
    const char *comma = "";
    for (int e = 0; e < chain->external_count; e++) {
        const struct external *x = &chain->externals[e];
        int last = x->layout.shape.rank - 1;
        qn_text_add(text, "%s", comma);
        comma = ", ";
        if (is_call) {
            if (!qn_external_is_strided(x)) {
                qn_text_add(text, "arg%d", e);
                if (!x->is_value && x->layout.offset)
                    qn_text_add(text, " + arg%d_at", e);
                if (!x->is_value && !qn_layout_repeats(&x->layout))
                    qn_text_add(text, " + (i)");
            } else if (x->layout.strides[last] == 0)
                qn_text_add(text, "arg%d + row%d", e, e);
            else if (x->layout.strides[last] == 1)
                qn_text_add(text, "arg%d + row%d + (j)", e, e);
            else
                qn_text_add(text,
                            "arg%d + row%d + (j) * arg%d_in, arg%d_in", e, e,
                            e, e);
            continue;
        }
        if (x->is_value)
            qn_text_add(text, "const %s arg%d", x->is_uint ? "uint" : "REAL",
                        e);
        else
            qn_text_add(text, "global const %s *arg%d",
                        type_of(plan, x->node->dtype), e);
        if (qn_external_is_strided(x) && x->layout.strides[last] > 1)
            qn_text_add(text, ", const long arg%d_in", e);
    }
    for (int n = 0; n < chain->node_count; n++)
        for (int k = 0; k < chain->nodes[n]->op->param_count; k++) {
            bool is_uint = chain->nodes[n]->op->uint_params >> k & 1;
            qn_text_add(text, "%s%spar%d_%d", comma,
                        is_call   ? ""
                        : is_uint ? "const uint "
                                  : "const REAL ",
                        n, k);
            comma = ", ";
        }
}

// The kernel's further parameters: offsets, strides, outer dimensions.
static void write_stride_params(struct qn_text *text,
                                const struct chain *chain)
{
    for (int e = 0; e < chain->external_count; e++) {
        const struct external *x = &chain->externals[e];
        if (!x->is_value && x->layout.offset && !qn_external_is_strided(x))
            qn_text_add(text, ", const long arg%d_at", e);
        if (!qn_external_is_strided(x))
            continue;
        qn_text_add(text, ", const long arg%d_at", e);
        for (int d = 0; d + 1 < chain->space.rank; d++)
            qn_text_add(text, ", const long arg%d_s%d", e, d);
    }
    for (int d = 1; d + 1 < chain->space.rank; d++)
        qn_text_add(text, ", const ulong dim%d", d);
}

// Where each strided operand's row begins: row = (c0, c1, ...).
static void write_row_setup(struct qn_text *text, const struct chain *chain)
{
    int outer = chain->space.rank - 1;
    qn_text_add(text, "#define ROW_SETUP(row) ");
    if (outer > 0)
        qn_text_add(text, "const ulong rest%d = (row); ", outer - 1);
    // No %: from / beside % LLVM makes an instruction foreign to Oclgrind.
    for (int d = outer - 1; d > 0; d--)
        qn_text_add(text,
                    "const ulong rest%d = rest%d / dim%d; "
                    "const long at%d = rest%d - rest%d * dim%d; ",
                    d - 1, d, d, d, d, d - 1, d);
    if (outer > 0)
        qn_text_add(text, "const long at0 = rest0; ");
    for (int e = 0; e < chain->external_count; e++) {
        if (!qn_external_is_strided(&chain->externals[e]))
            continue;
        qn_text_add(text, "const long row%d = arg%d_at", e, e);
        for (int d = 0; d < outer; d++)
            qn_text_add(text, " + at%d * arg%d_s%d", d, e, d);
        qn_text_add(text, "; ");
    }
    qn_text_add(text, "\n");
}

static void write_chain(const struct qn_plan *plan, struct qn_text *text,
                        const struct chain *chain)
{
    qn_text_add(text, "static inline RV chain(const ulong i, const int m, ");
    write_params(plan, text, chain, false);
    qn_text_add(text, ")\n{\n");
    for (int e = 0; e < chain->external_count; e++)
        write_fetch(plan, text, &chain->externals[e], e);
    for (int n = 0; n < chain->node_count; n++)
        write_call(plan, text, chain, n);
    if (chain->node_count)
        qn_text_add(text, "    return v%d;\n}\n", chain->node_count - 1);
    else
        qn_text_add(text, "    return x0;\n}\n");
}

// The files with helper functions that the rows ask for, each once.
static const char *list_includes(struct qn_plan *plan,
                                 const struct chain *chain)
{
    struct qn_text text = {0};
    for (int n = 0; n < chain->node_count; n++) {
        const char *include = chain->nodes[n]->op->include;
        if (include && !(text.data && strstr(text.data, include)))
            qn_text_add(&text, "%s%s", text.length ? " " : "", include);
    }
    const char *list =
        text.data ? qn_arena_string(&plan->arena, text.data) : NULL;
    qn_text_finish(&text);
    return list;
}

// Merges dimensions that all operands walk as one.
static void collapse(struct chain *chain)
{
    struct qn_layout layouts[MAX_EXTERNALS + 1];
    int count = 1;
    layouts[0] = qn_layout_contiguous(&chain->root->shape);
    for (int e = 0; e < chain->external_count; e++)
        if (!chain->externals[e].is_value)
            layouts[count++] = chain->externals[e].layout;
    qn_layouts_collapse(layouts, count);
    chain->space = layouts[0].shape;
    count = 1;
    for (int e = 0; e < chain->external_count; e++)
        if (!chain->externals[e].is_value)
            chain->externals[e].layout = layouts[count++];
}

qn_status qn_chain_write(struct qn_plan *plan, struct chain *chain,
                         bool is_load)
{
    struct qn_text text = {0};
    collapse(chain);
    write_functions(&text, chain);
    write_chain(plan, &text, chain);
    qn_text_add(&text, "#define %s_PARAMS ", is_load ? "LOAD" : "CHAIN");
    write_params(plan, &text, chain, false);
    write_stride_params(&text, chain);
    qn_text_add(&text, "\n#define %s chain((i), (m), ",
                is_load ? "LOADV(i, m)" : "CHAIN(i, j, m)");
    write_params(plan, &text, chain, true);
    qn_text_add(&text, ")\n");
    if (!is_load) {
        write_row_setup(&text, chain);
        qn_dtype dtype = chain->root->dtype;
        qn_text_add(&text, "#define OUT %s\n#define STORE store_%s\n",
                    type_of(plan, dtype), load_of(plan, dtype));
    }
    if (!text.failed)
        chain->text = qn_arena_string(&plan->arena, text.data);
    qn_text_finish(&text);
    chain->include = list_includes(plan, chain);
    return chain->text ? QN_OK : qn_fail_memory(&plan->error, 1);
}
