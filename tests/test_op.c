// Every row of the table against its reference: test_op GROUP runs the cases
// of one group (see cases.c), test_op coverage checks that no row lacks one and
// that there are many, test_op list counts those of each row.
//
// For each case: forward in float32 and float64 within the case's tolerance;
// gradients in float64 against central differences of the reference; two runs
// bit-equal; float32 gradients against float64; the plan without fusion within
// the same tolerances, the one without reuse of memory bit-equal.
//
//   QUERN_TEST_CASE   only cases whose name contains this
//   QUERN_TEST_SMALL  1: few and small cases, once each, for Oclgrind
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/graph.h"
#include "op/table.h"
#include "trial.h"

// What a failed case leaves behind is freed before the next one.
static struct trial_data data;
static struct trial single, twice;
static struct trial_results fused, plain, other, wide;

static void clean_up(void)
{
    trial_results_finish(&fused);
    trial_results_finish(&plain);
    trial_results_finish(&other);
    trial_results_finish(&wide);
    trial_finish(&single);
    trial_finish(&twice);
    trial_data_finish(&data);
}

// ---- forward ----

// True if `got` is as near to element k as the case allows.
static bool is_near(const struct qn_case *c, qn_dtype real, double got,
                    int64_t k)
{
    const double eps = real == QN_FLOAT32 ? FLT_EPSILON : DBL_EPSILON;
    const double tiny = real == QN_FLOAT32 ? (double)FLT_MIN : DBL_MIN;
    double want = data.want.data[k];
    if (real == QN_FLOAT32)
        want = (double)(float)want; // overflow is right there
    if (isnan(want) || isinf(want))
        return isnan(want) ? isnan(got) : got == want;
    const double magnitude =
        data.magnitude.data ? data.magnitude.data[k] : 0;
    double bound = eps * (c->ulps * fabs(data.want.data[k]) +
                          c->terms * magnitude + c->floor);
    if (fabs(want) < tiny) // results below the smallest normal may be 0
        bound += tiny;
    return fabs(got - data.want.data[k]) <= bound;
}

static void check_forward(const char *what, qn_dtype real,
                          const struct trial_results *results)
{
    for (int64_t k = 0; k < results->counts[0]; k++)
        ck_assert_msg(is_near(data.c, real, results->values[0][k], k),
                      "%s, %s %s: element %lld is %.17g, should be %.17g",
                      case_text(data.c), what, qn_dtype_name(real),
                      (long long)k, results->values[0][k],
                      data.want.data[k]);
}

// ---- gradients ----

enum { ELEMENTS_CHECKED = 48, WORK_LIMIT = 1000000 };

// PyTorch's gradcheck: eps 1e-6, rtol 1e-3, atol 1e-5.
static void compare_slope(int i, int64_t k, double got, double want)
{
    ck_assert_msg(fabs(got - want) <= 1e-5 + 1e-3 * fabs(want),
                  "%s: gradient of operand %d, %s %lld is %.9g, central "
                  "differences say %.9g",
                  case_text(data.c), i, k < 0 ? "direction" : "element",
                  (long long)k, got, want);
}

// Element k of operand i, or with k < 0 all elements along `signs`.
static void move(int i, int64_t k, const signed char *signs, double by)
{
    struct ref_tensor *x = &data.stored[i];
    if (k >= 0) {
        x->data[k] += by;
        return;
    }
    for (int64_t j = 0; j < ref_count(&x->shape); j++)
        x->data[j] += by * signs[j];
}

static double central_difference(int i, int64_t k, const signed char *signs)
{
    const double eps = 1e-6;
    move(i, k, signs, eps);
    const double above = trial_loss(&data);
    move(i, k, signs, -2 * eps);
    const double below = trial_loss(&data);
    move(i, k, signs, eps);
    return (above - below) / (2 * eps);
}

// One random direction through all elements, then single elements: all of
// few, a sample of many.
static void check_slopes(int i, const double *gradient, int64_t count)
{
    struct qn_check_rng rng = {(uint64_t)count};
    signed char *signs = malloc((size_t)count);
    double along = 0;
    for (int64_t k = 0; k < count; k++) {
        signs[k] = qn_check_integer(&rng, 0, 1) ? 1 : -1;
        along += gradient[k] * signs[k];
    }
    const double want = central_difference(i, -1, signs);
    free(signs);
    compare_slope(i, -1, along, want);

    int64_t samples = WORK_LIMIT / (case_size(data.c) + 1);
    samples = samples < 4 ? 4
              : samples > ELEMENTS_CHECKED ? ELEMENTS_CHECKED : samples;
    for (int64_t s = 0; s < samples && s < count; s++) {
        const int64_t k =
            samples >= count ? s : qn_check_integer(&rng, 0, count - 1);
        compare_slope(i, k, gradient[k], central_difference(i, k, NULL));
    }
}

// float32 against float64: rtol 1e-4 and 1e-6 of the largest gradient.
static void compare_gradients(const char *what,
                              const struct trial_results *got,
                              const struct trial_results *want)
{
    const double factor = data.c->grad_terms > 0 ? data.c->grad_terms : 1;
    for (int r = 1; r < got->count; r++) {
        double most = 0;
        for (int64_t k = 0; k < want->counts[r]; k++)
            most = fmax(most, fabs(want->values[r][k]));
        for (int64_t k = 0; k < want->counts[r]; k++) {
            const double x = got->values[r][k], y = want->values[r][k];
            ck_assert_msg(fabs(x - y) <=
                              factor * (1e-4 * fabs(y) + 1e-6 * most),
                          "%s, %s: gradient of operand %d, element %lld is "
                          "%.9g, in float64 %.9g",
                          case_text(data.c), what, data.wrt[r - 1],
                          (long long)k, x, y);
        }
    }
}

static bool are_equal(const struct trial_results *a,
                      const struct trial_results *b)
{
    for (int r = 0; r < a->count; r++)
        if (memcmp(a->values[r], b->values[r],
                   (size_t)a->counts[r] * sizeof(double)) != 0)
            return false;
    return true;
}

// ---- a case ----

static int *chosen; // indices of cases
static int chosen_count;
static bool small; // QUERN_TEST_SMALL

// A plan as everyone makes it; two runs of it give the same bits.
static void run_twice(const struct trial *trial,
                      struct trial_results *results)
{
    const int runs = data.c->has_grad && !small ? 2 : 1;
    ck_assert_msg(trial_run(trial, 0, runs, results), "%s: two runs differ",
                  case_text(data.c));
    check_forward("fused", trial->real, results);
}

// Without fusion, and without reuse of memory.
static void run_otherwise(const struct qn_case *c)
{
    trial_run(&single, TRIAL_NO_FUSION, 1, &plain);
    check_forward("not fused", QN_FLOAT32, &plain);
    compare_gradients("not fused", &plain, &wide);
    trial_run(&single, TRIAL_NO_REUSE, 1, &other);
    ck_assert_msg(are_equal(&fused, &other),
                  "%s: differs without reuse of memory", case_text(c));
}

START_TEST(case_agrees_with_its_reference)
{
    const struct qn_case *c = case_at(chosen[_i]);
    clean_up();
    trial_data_init(&data, c);
    trial_init(&single, &data, QN_FLOAT32);
    trial_init(&twice, &data, QN_FLOAT64);

    run_twice(&single, &fused);
    run_twice(&twice, &wide);
    for (int r = 1; r < wide.count; r++)
        check_slopes(data.wrt[r - 1], wide.values[r], wide.counts[r]);
    compare_gradients("fused", &fused, &wide);
    if (!small)
        run_otherwise(c);
    clean_up();
}
END_TEST

// ---- coverage ----

// Leaves compute nothing; what else has no case here has a suite of its own.
static bool is_covered_elsewhere(const struct qn_op *op)
{
    static const char *const rows[] = {
        "assign", // test_plan.c
        "update", // test_optim.c
        "gradient_norms",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i], op->name) == 0)
            return true;
    return op->flags & QN_OP_LEAF;
}

enum { MAX_ROWS = 512, LEAST_GRADIENTS = 600 };

// By index in the table: cases whose forward graph holds the row, and those of
// them whose gradients are checked.
static struct {
    int cases;
    int gradients;
} counts[MAX_ROWS];
static int gradient_count; // configurations: cases whose gradients are checked

static int find_row(const struct qn_op *op)
{
    int row = 0;
    while (qn_ops[row] && qn_ops[row] != op)
        row++;
    ck_assert_msg(qn_ops[row] != NULL, "%s is not in the table", op->name);
    return row;
}

static void count_rows(const struct qn_case *c)
{
    bool seen[MAX_ROWS] = {0};
    trial_data_init(&data, c);
    trial_init(&single, &data, QN_FLOAT32);
    for (const struct qn_node *node = single.graph->first; node;
         node = node->next) {
        const int row = find_row(node->op);
        if (node->id > single.results[0]->id || seen[row])
            continue;
        seen[row] = true;
        counts[row].cases++;
        counts[row].gradients += data.wrt_count > 0;
    }
    gradient_count += data.wrt_count > 0;
    clean_up();
}

static void count_all(void)
{
    memset(counts, 0, sizeof counts);
    gradient_count = 0;
    for (int i = 0; i < case_count(); i++)
        count_rows(case_at(i));
}

START_TEST(every_row_has_a_reference_and_a_case)
{
    int faults = 0;
    count_all();
    for (int row = 0; qn_ops[row]; row++) {
        const struct qn_op *op = qn_ops[row];
        const char *fault = NULL;
        if (is_covered_elsewhere(op))
            continue;
        if (!ref_find(op->name))
            fault = "has no reference in tests/ref";
        else if (!counts[row].cases)
            fault = "has no case in tests/cases_*.c";
        else if (op->grad && !counts[row].gradients)
            fault = "has a gradient, but no case that checks it";
        if (fault)
            fprintf(stderr, "row %s %s\n", op->name, fault);
        faults += fault != NULL;
    }
    ck_assert_int_eq(faults, 0);
}
END_TEST

START_TEST(gradients_are_checked_in_many_configurations)
{
    count_all();
    printf("%d cases, %d of them with gradients\n", case_count(),
           gradient_count);
    ck_assert_int_ge(gradient_count, LEAST_GRADIENTS);
}
END_TEST

// A line of JSON for each row.
START_TEST(lists_its_cases)
{
    count_all();
    for (int row = 0; qn_ops[row]; row++)
        printf("{\"op\": \"%s\", \"cases\": %d, \"gradients\": %d}\n",
               qn_ops[row]->name, counts[row].cases, counts[row].gradients);
}
END_TEST

START_TEST(every_row_describes_itself)
{
    qn_op_info info;
    int count = 0;
    while (qn_op_describe(count, &info)) {
        ck_assert_str_ne(info.name, "");
        ck_assert_str_ne(info.formula, "");
        ck_assert_int_eq(info.has_gradient, qn_ops[count]->grad != NULL);
        count++;
    }
    ck_assert_int_gt(count, 30);
    ck_assert_ptr_null(qn_ops[count]);
}
END_TEST

// ---- which cases ----

enum { SMALL_SIZE = 3200, SMALL_COUNT = 5 };

static bool is_small(const struct qn_case *c)
{
    int64_t elements = 0;
    for (int i = 0; i < c->count; i++)
        elements += ref_count(&c->in[i].shape);
    return elements <= SMALL_SIZE;
}

// For Oclgrind: of each operation's and variant's small cases SMALL_COUNT,
// evenly spread.
static bool is_sample(int index)
{
    const struct qn_case *c = case_at(index);
    int before = 0, all = 0;
    for (int i = 0; i < case_count(); i++) {
        const struct qn_case *other_case = case_at(i);
        const bool is_like = strcmp(other_case->op, c->op) == 0 &&
                             other_case->variant == c->variant &&
                             is_small(other_case);
        before += is_like && i < index;
        all += is_like;
    }
    return is_small(c) &&
           (all <= SMALL_COUNT || before * SMALL_COUNT % all < SMALL_COUNT);
}

static void choose(void)
{
    const char *part = getenv("QUERN_TEST_CASE");
    small = getenv("QUERN_TEST_SMALL") != NULL;
    chosen = calloc((size_t)case_count() + 1, sizeof *chosen);
    for (int i = 0; i < case_count(); i++) {
        const struct qn_case *c = case_at(i);
        if (part && !strstr(case_text(c), part))
            continue;
        if (small && !is_sample(i))
            continue;
        chosen[chosen_count++] = i;
    }
}

int main(int argc, char **argv)
{
    const char *group = argc > 1 ? argv[1] : "coverage";
    const bool coverage = strcmp(group, "coverage") == 0;
    const bool lists = strcmp(group, "list") == 0;
    const bool all = coverage || lists || strcmp(group, "all") == 0;
    for (int i = 0; case_groups[i].name; i++)
        if (all || strcmp(group, case_groups[i].name) == 0)
            case_groups[i].add();
    if (coverage) {
        const TTest *const tests[] = {every_row_has_a_reference_and_a_case,
                                      every_row_describes_itself,
                                      gradients_are_checked_in_many_configurations};
        return qn_check_run(group, tests, 3);
    }
    if (lists)
        return qn_check_run_loop(group, lists_its_cases, 1);
    choose();
    if (!chosen_count)
        fprintf(stderr, "no case in group \"%s\"\n", group);
    const int status = qn_check_run_loop(
        group, case_agrees_with_its_reference, chosen_count);
    free(chosen);
    return status;
}
