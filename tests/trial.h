// One case carried out: its data, its graph in one real type, its plans.
#ifndef QN_TRIAL_H
#define QN_TRIAL_H

#include "cases.h"
#include "quern/plan.h"

// The inputs of a case as they are stored, the weights of the loss
// sum(output * weights), and what the reference makes of them.
struct trial_data {
    const struct qn_case *c;
    struct ref_tensor stored[CASE_MAX_INPUTS];
    struct ref_tensor want;
    struct ref_tensor magnitude; // see struct qn_case; no data if terms is 0
    struct ref_tensor weights;   // shaped like the output
    // Operands whose gradient is asked for, in order.
    int wrt[CASE_MAX_INPUTS];
    int wrt_count;
};
void trial_data_init(struct trial_data *data, const struct qn_case *c);
void trial_data_finish(struct trial_data *data);
// The reference's loss for the inputs as they are stored now.
double trial_loss(const struct trial_data *data);

// The case's graph: result 0 is the output, the others are the gradients of
// data->wrt.
struct trial {
    const struct trial_data *data;
    qn_dtype real;
    qn_graph *graph;
    qn_node *inputs[CASE_MAX_INPUTS];
    qn_node *weights;
    qn_node *results[CASE_MAX_INPUTS + 1];
    int result_count;
};
void trial_init(struct trial *trial, const struct trial_data *data,
                qn_dtype real);
void trial_finish(struct trial *trial);

// What a plan of the trial gave, as doubles.
struct trial_results {
    double *values[CASE_MAX_INPUTS + 1];
    int64_t counts[CASE_MAX_INPUTS + 1];
    int count;
};
enum { TRIAL_NO_FUSION = 1, TRIAL_NO_REUSE = 2 };
// Plans, runs `runs` times, reads; keeps the last run's results in `results`
// and, if there are two runs, tells whether they are bit-equal.
bool trial_run(const struct trial *trial, int flags, int runs,
               struct trial_results *results);
void trial_results_finish(struct trial_results *results);

#endif
