// What the files of schedules share.
#ifndef QN_NN_SCHEDULE_H
#define QN_NN_SCHEDULE_H

#include "quern/schedule.h"

// A moment as a row's functions see it: in the row's unit, behind a warm-up.
struct qn_schedule_curve {
    double base;
    double t;
    double tick;   // what a step, or a whole epoch, adds to t
    double length; // of the run
    const struct qn_schedule_state *state;
};

// The row of the warm-up, which stands in front of others.
const struct qn_schedule *qn_schedule_warmup(void);
// Which of the lists a key fills.
int qn_schedule_list_index(const struct qn_schedule *schedule, int key);
// What parsing ends with: required lists, and what the row checks.
qn_status qn_schedule_check(const struct qn_schedule_params *params,
                            qn_error *error);

#endif
