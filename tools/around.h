// Flags of quern train for what is done around the optimizer's rule.
#ifndef AROUND_H
#define AROUND_H

#include "command.h"

struct around {
    double clip_value, clip_norm, clip_global_norm, max_norm, ema;
    bool no_decay_bias, per_tensor, ema_corrected, polyak, recompute_bn;
    struct flag_list groups; // --group and --freeze, in their order
    struct qn_parameter_group *parsed;
};

// Writes them from flags[count] on; returns the count then.
int add_around_flags(struct around *around, struct flag *flags, int count);
// Those that were given, into `params`, which uses `around` from then on.
// False after saying why; `*status` is then the exit status.
bool set_around(struct around *around, const struct command *command,
                const struct flag *flags, struct qn_fit_params *params,
                int *status);
void free_around(struct around *around);

#endif
