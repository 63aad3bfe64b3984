// The launch description: what a device needs to run one kernel, as data.
// Rows write it, the plan resolves its operands, lib/device runs it.
#ifndef QN_TENSOR_LAUNCH_H
#define QN_TENSOR_LAUNCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "quern/tensor.h"

enum {
    QN_MAX_ARGS = 96,
    QN_MAX_SCRATCH = 3,
};

// Operand codes of a node: its output, its scratch buffers, what the hooks
// bring along, and its inputs, of which there may be any number.
enum {
    QN_OPERAND_OUT = 0,
    QN_OPERAND_SCRATCH = 1,  // + i
    QN_OPERAND_HOOK_ROW = 8, // vector along one dimension, for QN_HOOK_ADD_ROW
    QN_OPERAND_HOOK_FULL = 9,  // as large as the output, QN_HOOK_ADD
    QN_OPERAND_HOOK_GATE = 10, // as large as the output, QN_HOOK_GATE
    QN_OPERAND_IN = 16,        // + i
};

// What a heavy kernel can do to its result while storing it, in this order.
// A kernel that offers hooks gets the flags by an argument QN_ARG_HOOKS.
enum {
    QN_HOOK_ADD_ROW = 1, // v += row[place along hook_axis]
    QN_HOOK_ADD = 2,     // v += full[i]
    QN_HOOK_RELU = 4,    // v = v < 0 ? 0 : v
    QN_HOOK_GATE = 8,    // v = gate[i] > 0 ? v : 0
};

enum qn_arg_kind {
    QN_ARG_BUFFER, // operand: a tensor; NULL pointer for an unused hook
    QN_ARG_LIVE,   // operand: an input that is a `qn_scalar`, as REAL by value
    QN_ARG_LIVE_UINT, // the same as uint by value
    QN_ARG_INT,    // integer: an int
    QN_ARG_LONG,   // integer: a long
    QN_ARG_REAL,   // real: float or double as the launch says
    QN_ARG_LOCAL,  // integer: bytes of local memory
    QN_ARG_HOOKS,  // the flags of the hooks in use, an int
    QN_ARG_LOAD,   // where the load chain's parameters go (see load_operand)
};

struct qn_arg {
    enum qn_arg_kind kind;
    int operand;
    int64_t integer;
    double real;
};

struct qn_launch {
    const char *file;    // "matmul": cl/matmul.cl
    const char *kernel;  // "matmul"
    char defines[160];   // "-DTRANS_A=0 -DTRANS_B=1", part of the cache key
    const char *text;    // generated source put before the file, or NULL. Of
                         // several parts, each but the first after a form
                         // feed, the file follows each
    const char *label;   // in profiles; NULL: the kernel's name
    const char *include; // .cl files put before, e.g. "hooks random", or NULL
    qn_dtype real;       // what REAL means in this launch
    bool is_heavy;       // takes long to compile: few variants wanted
    bool is_external;    // not a kernel of ours: `kernel` names the routine
    int dims;
    size_t global[3];
    size_t local[3]; // all 0: the driver's choice
    struct qn_arg args[QN_MAX_ARGS];
    int arg_count;
    int store_hooks;  // QN_HOOK_* that this launch can do
    int hook_axis;    // the output's dimension along which the row runs,
                      // counted from the end: 0 is the last one
    // Operand whose loads may be a chain of pointwise nodes, 0: none. The file
    // then takes its parameters by LOAD_PARAMS and reads elements i to i+m-1
    // of the contiguous operand by LOADV(i, m); both have defaults in the file.
    // Lanes from m on are junk. The chain's parameters have names like a0, p0_1
    // and d0, which the kernel must not use.
    int load_operand;
    double flops;     // for the profile; 0 where nobody counts
    double bytes;     // compulsory traffic
};

// The launches of one node, in order. A zeroed one is empty. `failed` is
// sticky, set where there was no memory: check once after `describe`.
struct qn_work {
    const char *candidate; // that describes it; set by the plan
    struct qn_arena arena; // holds the launches, and text that rows generate
    struct qn_launch **launches;
    int launch_count;
    int launch_capacity;
    int64_t scratch_size[QN_MAX_SCRATCH]; // bytes
    int scratch_count;
    struct qn_launch spare; // takes what does not fit once `failed`
    bool failed;
};
void qn_work_finish(struct qn_work *work);

// ---- writing a launch (launch.c) ----
// Adds a launch with zeroed fields and returns it; it stays where it is.
struct qn_launch *qn_work_add(struct qn_work *work, const char *file,
                              const char *kernel, qn_dtype real);
// Adds a scratch buffer and returns its operand code.
int qn_work_scratch(struct qn_work *work, int64_t size);
void qn_launch_define(struct qn_launch *launch, const char *name,
                      int64_t value);
void qn_launch_buffer(struct qn_launch *launch, int operand);
void qn_launch_live(struct qn_launch *launch, int operand);
void qn_launch_live_uint(struct qn_launch *launch, int operand);
void qn_launch_int(struct qn_launch *launch, int64_t value);
void qn_launch_uint(struct qn_launch *launch, uint32_t value);
void qn_launch_long(struct qn_launch *launch, int64_t value);
void qn_launch_real(struct qn_launch *launch, double value);
void qn_launch_local(struct qn_launch *launch, int64_t size);
void qn_launch_hooks(struct qn_launch *launch, int offered); // flags, row,
                                                 // full and gate, in this order
void qn_launch_load(struct qn_launch *launch, int operand);
void qn_launch_grid(struct qn_launch *launch, size_t groups_x,
                    size_t groups_y, size_t groups_z, size_t local_x,
                    size_t local_y);

#endif
