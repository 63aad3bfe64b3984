// SPDX-License-Identifier: MIT
// Quern: training neural networks through OpenCL on any device.
//
// Headers in tier order; each uses only those before it. The README holds a
// complete example.
#ifndef QUERN_QUERN_H
#define QUERN_QUERN_H

#include "quern/version.h"
#include "quern/status.h"
#include "quern/tensor.h"
#include "quern/device.h"
#include "quern/graph.h"
#include "quern/op.h"
#include "quern/plan.h"
#include "quern/nn.h"
#include "quern/optim.h"
#include "quern/minimize.h"
#include "quern/schedule.h"
#include "quern/data.h"
#include "quern/train.h"

#endif
