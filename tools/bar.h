// How a training run shows itself on stderr.
#ifndef BAR_H
#define BAR_H

#include "quern/train.h"

// A bar and a table of epochs on a terminal, a plain line an epoch elsewhere.
void show_progress(const qn_progress *progress);
// Takes the bar off the screen, if one is there; what is printed next stands
// in its place. The next show_progress draws it again.
void clear_bar(void);

#endif
