// The table of cases: what each row is tried with. One case is one operation,
// or a small chain of them, with shapes, contents, views and tolerances.
#ifndef QN_CASES_H
#define QN_CASES_H

#include "qn_check.h"
#include "quern/op.h"
#include "ref/ref.h"

enum { CASE_MAX_INPUTS = 10 };

// A shape as the library has it.
qn_shape lib_shape(const struct ref_shape *shape);

// What an operand holds. All values are exact in float32.
enum fill {
    FILL_AWAY,     // (-3, 3), at least 0.08 from each multiple of 0.25: no
                   // kink of any row lies there, so gradients exist
    FILL_POSITIVE, // (0.25, 3)
    FILL_DISTINCT, // any two elements of the case's operands differ by 0.01
    FILL_TIES,     // integers -2 to 2
    FILL_EDGES,    // NaN, infinities, zeros, subnormals, huge, tiny, 1
    FILL_BITS,     // 0 and 1
    FILL_LABELS,   // integers from 0 to params.count - 1
    FILL_INTEGERS, // -100 to 100; uint8: 0 to 255
    FILL_LARGE,    // (-10000, 10000)
    FILL_EQUAL,    // one value everywhere
    FILL_ROWS,     // row numbers of operand 0
    FILL_LIVE,     // no tensor but a `qn_scalar`, set to `value`
};

// How an operand reaches the operation: the graph's input is stored otherwise
// and viewed in the operand's shape.
enum view {
    VIEW_NONE,
    VIEW_TRANSPOSED, // dimensions stored in reverse order
    VIEW_STEPPED,    // every second element of the last dimension, from 1 on
    VIEW_INNER,      // a part of a larger first dimension
    VIEW_RESHAPED,   // stored flat
    VIEW_REPEATED,   // stored with 1 as its first dimension, broadcast
    VIEW_COUNT,
};

struct operand {
    struct ref_shape shape; // as the operation sees it
    enum fill fill;
    enum view view;
    qn_dtype dtype; // QN_FLOAT32: the graph's real type, whichever it is
    bool fixed;     // no gradient is asked for
    double value;   // of FILL_LIVE
};

typedef qn_node *build_function(qn_graph *g, qn_node *const *in, int count,
                                const struct ref_params *params);

// One operation of a chain. Values count the case's operands first, then the
// steps before.
struct step {
    const char *op;
    int values[CASE_MAX_INPUTS];
    int count;
    struct ref_params params;
};

// The error allowed at an element is
//   eps * (ulps |want| + terms * magnitude + floor)
// with eps 2^-23 or 2^-52, an ulp's upper bound. `magnitude` is the reference
// of the absolute inputs: for sums, the sum of the terms' sizes.
struct qn_case {
    const char *op;      // the row, or what a chain is called
    const char *variant; // "large logits"; may be NULL
    struct operand in[CASE_MAX_INPUTS];
    int count;
    struct ref_params params;
    const struct step *steps; // a chain, else NULL
    int step_count;
    double ulps;
    double terms;
    double floor;
    bool has_grad;     // gradients are checked too
    double grad_terms; // factor on the float32 gradients' tolerance, 0: 1
};

// Groups, each a suite of its own so that no process builds too many
// programs.
struct case_group {
    const char *name;
    void (*add)(void);
};
extern const struct case_group case_groups[]; // ends with a NULL name
// One a file.
void cases_add_pointwise(void);
void cases_add_activation(void);
void cases_add_broadcast(void);
void cases_add_reduce(void);
void cases_add_norm(void);
void cases_add_pool(void);
void cases_add_regions(void);
void cases_add_resample(void);
void cases_add_shape(void);
void cases_add_matmul(void);
void cases_add_conv(void);
void cases_add_classify(void);
void cases_add_chains(void);
void cases_add_random(void);

// All cases of the groups added so far.
int case_count(void);
const struct qn_case *case_at(int index);
// "add [3, 17] x [17] transposed" in a buffer of its own.
const char *case_text(const struct qn_case *c);
// Elements that the operation reads and writes, about.
int64_t case_size(const struct qn_case *c);

// ---- for the files that add cases ----

// Appends a copy.
void case_add(const struct qn_case *c);
// The builder of the row `name`, or NULL.
build_function *build_find(const char *name);

#define SHAPE(...)                                                         \
    {(int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),            \
     {__VA_ARGS__}}
#define DIMS(...) ((struct ref_shape)SHAPE(__VA_ARGS__))
#define SCALAR {0}
// An operand of this shape.
#define OPERAND(...) {.shape = SHAPE(__VA_ARGS__)}

// ---- for the suites that run them ----

// Fills operand `i`, stored as `shape`.
void case_fill(const struct qn_case *c, int i, const struct ref_shape *shape,
               double *data);
// The stored shape behind a view.
struct ref_shape view_storage(enum view view, const struct ref_shape *shape);
qn_node *view_build(qn_graph *g, qn_node *stored, enum view view,
                    const struct ref_shape *shape);
// The same by the reference: `out` is what the operation sees.
void view_reference(const struct ref_tensor *stored, enum view view,
                    const struct ref_shape *shape, struct ref_tensor *out);
// Builds the case on its operands, by the library and by the reference.
qn_node *case_build(qn_graph *g, qn_node *const *in, const struct qn_case *c);
void case_reference(const struct qn_case *c, const struct ref_tensor *in,
                    struct ref_tensor *out);

#endif
