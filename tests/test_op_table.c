// The table of operations: every row is well formed, and every pointwise
// expression compiles in both real types and gives the same in all lanes.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "device/device.h"
#include "op/table.h"
#include "qn_check.h"
#include "quern/op.h"

enum { LANES = 16, MAX_ROWS = 200 };

static int count_pointwise(void)
{
    int count = 0;
    for (int i = 0; qn_ops[i]; i++)
        count += qn_ops[i]->expr != NULL;
    return count;
}

START_TEST(names_are_unique_words)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
    for (int i = 0; qn_ops[i]; i++) {
        const char *name = qn_ops[i]->name;
        ck_assert_msg(name && *name && !name[strspn(name, letters)],
                      "row %d: bad name", i);
        for (int k = 0; k < i; k++)
            ck_assert_str_ne(name, qn_ops[k]->name);
    }
}
END_TEST

static bool is_gradient(const char *name)
{
    const size_t length = strlen(name);
    return length > 5 && strcmp(name + length - 5, "_grad") == 0;
}

START_TEST(every_row_is_of_one_kind_and_complete)
{
    for (int i = 0; qn_ops[i]; i++) {
        const struct qn_op *op = qn_ops[i];
        const bool is_leaf = op->flags & QN_OP_LEAF;
        const bool is_view = op->flags & QN_OP_VIEW;
        const char *name = op->name;
        ck_assert_msg(is_leaf + is_view + !!op->expr + !!op->candidates == 1,
                      "%s: not exactly one kind", name);
        ck_assert_msg(is_view == !!op->layout, "%s: layout", name);
        ck_assert_msg(op->formula && *op->formula, "%s: formula", name);
        ck_assert_msg(op->infer != NULL, "%s: infer", name);
        const bool stops = op->flags & QN_OP_NO_GRAD;
        ck_assert_msg(!op->grad || !stops,
                      "%s: a gradient and QN_OP_NO_GRAD", name);
        // A gradient may lack one of its own: the walk then refuses.
        ck_assert_msg(op->grad || stops || is_gradient(name),
                      "%s: needs a gradient or QN_OP_NO_GRAD", name);
        ck_assert_msg(is_leaf == (op->max_inputs == 0), "%s: inputs", name);
        ck_assert_msg(op->max_inputs < 0 ||
                          op->min_inputs <= op->max_inputs,
                      "%s: more inputs needed than allowed", name);
    }
}
END_TEST

START_TEST(only_pointwise_rows_have_what_only_they_can_use)
{
    const unsigned flags =
        QN_OP_INDEXED | QN_OP_RECOMPUTE | QN_OP_UINT_INPUTS;
    for (int i = 0; qn_ops[i]; i++) {
        const struct qn_op *op = qn_ops[i];
        if (!op->expr) {
            ck_assert_msg(!(op->flags & flags) && !op->param_count &&
                              !op->uint_params && !op->store_hook &&
                              !op->include,
                          "%s is not pointwise", op->name);
            continue;
        }
        ck_assert_msg(op->min_inputs >= 1 && op->max_inputs <= 5 &&
                          op->min_inputs == op->max_inputs,
                      "%s: 1 to 5 inputs", op->name);
        ck_assert_msg(op->param_count <= QN_MAX_POINTWISE_PARAMS &&
                          op->uint_params >> op->param_count == 0,
                      "%s: parameters", op->name);
        ck_assert_msg(op->hook_input < op->max_inputs, "%s: hook", op->name);
        ck_assert_msg(!op->store_hook || (op->store_hook &
                                          (op->store_hook - 1)) == 0,
                      "%s: one hook at most", op->name);
    }
}
END_TEST

START_TEST(description_says_what_the_row_says)
{
    qn_op_info info;
    int count = 0;
    for (; qn_ops[count]; count++) {
        const struct qn_op *op = qn_ops[count];
        ck_assert_int_eq(qn_op_describe(count, &info), 1);
        ck_assert_str_eq(info.name, op->name);
        ck_assert_str_eq(info.formula, op->formula);
        ck_assert_str_eq(info.kind, op->flags & QN_OP_LEAF   ? "leaf"
                                    : op->expr               ? "pointwise"
                                    : op->flags & QN_OP_VIEW ? "view"
                                                             : "kernel");
        ck_assert_int_eq(info.has_gradient, op->grad != NULL);
    }
    ck_assert_int_eq(qn_op_describe(count, &info), 0);
    ck_assert_int_eq(qn_op_describe(-1, &info), 0);
}
END_TEST

// ---- expressions ----

// Writes "RV p0" or "uint p0" for a declaration, or values for a call made of
// the kernel's arguments a and u, so that no compiler works them out.
static void write_operands(const struct qn_op *op, bool declare,
                           struct qn_text *text)
{
    static const char names[] = "xyzuv";
    static const char *const reals[] = {"K(a)", "K(a / 2)", "K(a / 4)",
                                        "K(a / 3)", "K(a / 5)"};
    const char *comma = "";
    if (op->flags & QN_OP_INDEXED) {
        qn_text_add(text, declare ? "ulong i" : "4 * (ulong)u");
        comma = ", ";
    }
    for (int k = 0; k < op->max_inputs; k++, comma = ", ") {
        const bool is_uint = op->flags & QN_OP_UINT_INPUTS;
        if (declare)
            qn_text_add(text, "%s%s %c", comma, is_uint ? "uint" : "RV",
                        names[k]);
        else
            qn_text_add(text, "%s%s", comma, is_uint ? "u" : reals[k]);
    }
    for (int k = 0; k < op->param_count; k++, comma = ", ") {
        const bool is_uint = op->uint_params >> k & 1;
        if (declare)
            qn_text_add(text, "%s%s p%d", comma, is_uint ? "uint" : "RV", k);
        else
            qn_text_add(text, "%s%s", comma, is_uint ? "u" : "K(a / 8)");
    }
}

// All expressions as functions and one kernel that calls them.
static void write_program(struct qn_text *text)
{
    for (int i = 0; qn_ops[i]; i++) {
        if (!qn_ops[i]->expr)
            continue;
        qn_text_add(text, "static RV op_%s(", qn_ops[i]->name);
        write_operands(qn_ops[i], true, text);
        qn_text_add(text, ")\n{\n    return %s;\n}\n", qn_ops[i]->expr);
    }
    qn_text_add(text, "kernel SINGLE void rows(global REAL *out, const REAL a,\n"
                      "                        const uint u)\n{\n");
    int at = 0;
    for (int i = 0; qn_ops[i]; i++) {
        if (!qn_ops[i]->expr)
            continue;
        qn_text_add(text, "    store_real(op_%s(", qn_ops[i]->name);
        write_operands(qn_ops[i], false, text);
        qn_text_add(text, "), out + %d, VW);\n", LANES * at++);
    }
    qn_text_add(text, "}\n");
}

// The helper files of all rows, each once, separated by blanks.
static void collect_includes(char *names, size_t size)
{
    *names = 0;
    for (int i = 0; qn_ops[i]; i++) {
        const char *next = qn_ops[i]->include;
        while (next && *(next += strspn(next, " "))) {
            char name[64];
            const size_t length = strcspn(next, " ");
            snprintf(name, sizeof name, "%.*s", (int)length, next);
            next += length;
            if (strstr(names, name))
                continue;
            const size_t used = strlen(names);
            snprintf(names + used, size - used, "%s%s", used ? " " : "",
                     name);
        }
    }
}

// Evaluates each pointwise row: values[row][lane].
static void evaluate(qn_dtype real, double values[][LANES], int rows)
{
    struct qn_buffer *buffer;
    struct qn_command *command;
    struct qn_work work = {0};
    struct qn_text text = {0};
    qn_error error = {0};
    char names[256];
    const size_t size = (size_t)rows * LANES * qn_dtype_size(real);
    void *data = malloc(size);
    write_program(&text);
    collect_includes(names, sizeof names);
    ck_assert_ok(qn_buffer_create(qn_check_device(), size, "rows", &buffer,
                                  &error), error);
    const double live[] = {0.75, 7};
    const struct qn_binding bindings[] = {{QN_OPERAND_OUT, buffer, -1},
                                          {QN_OPERAND_IN, NULL, 0},
                                          {QN_OPERAND_IN + 1, NULL, 1}};
    struct qn_launch *launch = qn_work_add(&work, NULL, "rows", real);
    launch->text = text.data;
    launch->include = names;
    qn_launch_buffer(launch, QN_OPERAND_OUT);
    qn_launch_live(launch, QN_OPERAND_IN);
    qn_launch_live_uint(launch, QN_OPERAND_IN + 1);
    qn_launch_grid(launch, 1, 1, 1, 1, 1);
    ck_assert_ok(qn_command_create(qn_check_device(), launch, bindings, 3, 0,
                                   &command, &error), error);
    ck_assert_ok(qn_command_run(command, live, &error), error);
    ck_assert_ok(qn_buffer_read(buffer, 0, data, size, &error), error);
    for (int i = 0; i < rows * LANES; i++)
        values[i / LANES][i % LANES] = real == QN_FLOAT64
                                           ? ((double *)data)[i]
                                           : (double)((float *)data)[i];
    qn_command_destroy(&command);
    qn_buffer_destroy(&buffer);
    qn_work_finish(&work);
    qn_text_finish(&text);
    free(data);
}

START_TEST(expressions_compile_and_agree_in_both_types)
{
    static double singles[MAX_ROWS][LANES], doubles[MAX_ROWS][LANES];
    const int rows = count_pointwise();
    ck_assert_int_le(rows, MAX_ROWS);
    ck_assert_int_gt(rows, 0);
    evaluate(QN_FLOAT32, singles, rows);
    evaluate(QN_FLOAT64, doubles, rows);
    const bool is_cpu =
        qn_device_limits(qn_check_device())->variant == QN_VARIANT_CPU;
    for (int i = 0, row = 0; qn_ops[i]; i++) {
        const struct qn_op *op = qn_ops[i];
        if (!op->expr)
            continue;
        qn_check_close(op->name, singles[row], doubles[row],
                       is_cpu ? LANES : 1, 2e-6, 1e-6);
        for (int k = 1; is_cpu && k < LANES; k++)
            if (!(op->flags & QN_OP_INDEXED))
                ck_assert_msg(doubles[row][k] == doubles[row][0],
                              "%s: lane %d differs", op->name, k);
        ck_assert_msg(isfinite(doubles[row][0]), "%s", op->name);
        row++;
    }
}
END_TEST

QN_CHECK_MAIN("op_table", names_are_unique_words,
              every_row_is_of_one_kind_and_complete,
              only_pointwise_rows_have_what_only_they_can_use,
              description_says_what_the_row_says,
              expressions_compile_and_agree_in_both_types)
