// SPDX-License-Identifier: MIT
// For applications with an OpenCL context of their own. Not part of quern.h,
// since it needs the OpenCL headers.
#ifndef QUERN_OPENCL_H
#define QUERN_OPENCL_H

#include <CL/cl.h>

#include "quern/device.h"

#ifdef __cplusplus
extern "C" {
#endif

// Opens a device on the application's context and in-order queue (which gives
// the device). Both are retained and released again by `qn_device_close`.
// `params->choice` is ignored; `params` may be NULL.
QN_API qn_device *qn_device_open_on(cl_context context, cl_command_queue queue,
                                    const struct qn_device_params *params,
                                    qn_error *error);

// The context and the queue behind a device. Borrowed.
QN_API cl_context qn_device_context(const qn_device *device);
QN_API cl_command_queue qn_device_queue(const qn_device *device);

#ifdef __cplusplus
}
#endif

#endif
