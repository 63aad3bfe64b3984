// Where update rules lead: the cases of golden/optim.json, what is stored of
// each, and the reference's way.
#ifndef COURSE_H
#define COURSE_H

#include <stdbool.h>

#include "ref/optim.h"
#include "small_net.h"

enum { COURSE_RECORDS = 16 };

// One case on one network.
struct course {
    int index; // of the case
    const char *name;
    const struct ref_rule *rule;
    struct ref_hyper hyper;
    const struct small_net *net;
    double lr; // of the first step
    bool rate_moves, momentum_moves;
    bool by_torch; // otherwise by NumPy
    // Whatever the rule, 0: not. Penalties and max_norm are for weights;
    // proximal is an l1 that thresholds after the step.
    double clip_value, clip_norm, clip_global_norm, l1, l2, proximal, max_norm,
        average;
    double zero_biases; // not 0: biases start as 0, which has no norm
    int stops[COURSE_RECORDS]; // steps after which there is a record
    int stop_count;
};
// What a way leaves: parameters after each stop, then the averages.
struct course_records {
    double x[COURSE_RECORDS][SMALL_PARAMETERS];
    double averages[COURSE_RECORDS][SMALL_PARAMETERS];
};

// Reads the files; fails the test where they are not as they should be.
void course_open(void);
void course_close(void);
int course_count(void); // cases
// Lives until course_close, as do the texts in it.
struct course course_at(int index, const struct small_net *net);
const char *course_setting(int index, int setting, double *value); // NULL: end

// What make_optim.py stored.
void course_stored(const struct course *c, struct course_records *records);
// Parameters before the first step; inputs; targets.
const double *course_start(const struct course *c);
const double *course_inputs(const struct small_net *net);
const double *course_targets(const struct small_net *net);

// Rate and momentum of a step, from 1.
double course_rate(const struct course *c, int step);
double course_momentum(const struct course *c, int step); // NAN: has none

// The reference's way. `last`, if not NULL, receives the slots at its end.
void course_follow(const struct course *c, struct course_records *records,
                   double last[REF_SLOTS][SMALL_PARAMETERS]);

#endif
