// A course on the device: its network, trained through the public functions.
#ifndef DRIVE_H
#define DRIVE_H

#include "course.h"
#include "quern/optim.h"

struct drive {
    const struct course *course;
    qn_dtype real;
    qn_graph *g;
    qn_node *x, *target, *parameters[SMALL_TENSORS];
    qn_store *store;
    qn_plan *plan;
    struct qn_optimizer_update update;
    struct qn_optimizer_step at;
};


// Builds and plans it, in float32 or float64; parameters and averages are those
// at the start. A failure ends the test.
void drive_begin(struct drive *d, const struct course *c, qn_dtype real);
void drive_finish(struct drive *d);
// Enqueues steps until `to` are done.
void drive_advance(struct drive *d, int to);
// All parameters, or what has their names in another group, to or from the
// store. False: there is no such group.
bool drive_copy(struct drive *d, const char *group, double *values,
                bool write);

#endif
