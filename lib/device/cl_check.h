// OpenCL's headers, in the version this library is written for, and what turns
// OpenCL's codes into errors.
#ifndef QN_DEVICE_CL_CHECK_H
#define QN_DEVICE_CL_CHECK_H

#define CL_TARGET_OPENCL_VERSION 120 // newer things only after a query
#define CL_SILENCE_DEPRECATION       // macOS
#include <CL/cl.h>

#include "base/status.h"

// "CL_OUT_OF_RESOURCES"; "unknown OpenCL code" for what no header names.
const char *qn_cl_name(cl_int code);

// "clFinish: CL_OUT_OF_RESOURCES (-5)" as an error. `call` may be the whole
// call's text; it is cut at its bracket.
qn_status qn_cl_fail(qn_error *error, cl_int code, const char *call);

// An OpenCL call outside a run: returns from the function where it fails.
#define CL_TRY(error, call)                             \
    do {                                                \
        cl_int cl_code = (call);                        \
        if (cl_code != CL_SUCCESS)                      \
            return qn_cl_fail(error, cl_code, #call);   \
    } while (0)

// The same for what runs on the queue: a failure makes the device lost. `what`
// names the kernel or is NULL.
#define CL_RUN(device, what, error, call)                             \
    do {                                                              \
        cl_int cl_code = (call);                                      \
        if (cl_code != CL_SUCCESS)                                    \
            return qn_device_lose(device, cl_code, #call, what, error); \
    } while (0)

#endif
