// quern train --lr-range: what the flag says, and how the result is shown.
#ifndef LR_RANGE_H
#define LR_RANGE_H

#include "command.h"

enum {
    LR_RANGE_STEPS = 100, // where --steps is not given
    LR_RANGE_STEPS_MIN = 10,
    LR_RANGE_STEPS_MAX = 1000000,
};

struct lr_range_run {
    const char *model, *data, *device, *out;
    double from, to;
};
// Reads "1e-6:1". False after an error of usage; `*status` is then its exit
// status.
bool read_lr_range(const struct command *command, const char *text,
                   struct lr_range_run *run, int *status);
// A picture and a sentence, or one JSON object. Returns the exit status.
int show_lr_range(const struct lr_range_run *run,
                  const struct qn_lr_range *range, bool json);

#endif
