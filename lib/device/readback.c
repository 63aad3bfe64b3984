// Reads that do not wait: a copy into pinned memory of its own and an event.
#include <stdlib.h>

#include "device/state.h"

struct qn_readback {
    qn_device *device;
    struct qn_buffer *buffer;
    cl_mem pinned; // mapped at `data` for its whole life
    void *data;
    cl_event event; // of the copy under way or done; NULL before the first
};

// A driver copies into memory that it allocated itself without stopping the
// caller; into other memory some do not.
static qn_status allocate(struct qn_readback *readback, qn_error *error)
{
    qn_device *device = readback->device;
    size_t size = qn_buffer_size(readback->buffer);
    cl_int code;
    readback->pinned = clCreateBuffer(
        device->context, CL_MEM_READ_WRITE | CL_MEM_ALLOC_HOST_PTR, size, NULL,
        &code);
    if (code != CL_SUCCESS)
        return qn_cl_fail(error, code, "clCreateBuffer");
    readback->data = clEnqueueMapBuffer(device->queue, readback->pinned,
                                        CL_TRUE, CL_MAP_READ | CL_MAP_WRITE, 0,
                                        size, 0, NULL, NULL, &code);
    if (code != CL_SUCCESS)
        return qn_device_lose(device, code, "clEnqueueMapBuffer", NULL, error);
    return QN_OK;
}

qn_status qn_readback_create(struct qn_buffer *buffer,
                             struct qn_readback **out, qn_error *error)
{
    *out = NULL;
    qn_device *device = qn_buffer_device(buffer);
    QN_REQUIRE(error, qn_buffer_size(buffer) > 0);
    QN_TRY(qn_device_check(device, error));
    struct qn_readback *readback = calloc(1, sizeof *readback);
    if (!readback)
        return qn_fail_memory(error, sizeof *readback);
    readback->device = device;
    readback->buffer = buffer;
    qn_status status = allocate(readback, error);
    if (status != QN_OK)
        qn_readback_destroy(&readback);
    *out = readback;
    return status;
}

static qn_status wait_for(struct qn_readback *readback, qn_error *error)
{
    QN_TRY(qn_device_check(readback->device, error));
    if (readback->event)
        CL_RUN(readback->device, NULL, error,
               clWaitForEvents(1, &readback->event));
    return QN_OK;
}

qn_status qn_readback_start(struct qn_readback *readback, qn_error *error)
{
    qn_device *device = readback->device;
    QN_TRY(wait_for(readback, error));
    if (readback->event)
        clReleaseEvent(readback->event);
    readback->event = NULL;
    CL_RUN(device, NULL, error,
           clEnqueueReadBuffer(device->queue,
                               qn_buffer_handle(readback->buffer), CL_FALSE, 0,
                               qn_buffer_size(readback->buffer),
                               readback->data, 0, NULL, &readback->event));
    CL_RUN(device, NULL, error, clFlush(device->queue));
    return QN_OK;
}

bool qn_readback_ready(struct qn_readback *readback, const void **data)
{
    if (!readback->event || qn_device_check(readback->device, NULL) != QN_OK)
        return false;
    cl_int state = CL_QUEUED;
    cl_int code = clGetEventInfo(readback->event,
                                 CL_EVENT_COMMAND_EXECUTION_STATUS,
                                 sizeof state, &state, NULL);
    if (code == CL_SUCCESS && state < 0)
        code = state;
    if (code != CL_SUCCESS)
        qn_device_lose(readback->device, code, "clEnqueueReadBuffer", NULL,
                       NULL);
    else if (state == CL_COMPLETE)
        *data = readback->data;
    return code == CL_SUCCESS && state == CL_COMPLETE;
}

qn_status qn_readback_wait(struct qn_readback *readback, const void **data,
                           qn_error *error)
{
    QN_REQUIRE(error, readback->event != NULL);
    QN_TRY(wait_for(readback, error));
    *data = readback->data;
    return QN_OK;
}

void qn_readback_destroy(struct qn_readback **readback)
{
    if (!readback || !*readback)
        return;
    struct qn_readback *gone = *readback;
    // A lost device may never end its copy: then only the handles go.
    if (gone->event) {
        if (qn_device_check(gone->device, NULL) == QN_OK)
            clWaitForEvents(1, &gone->event);
        clReleaseEvent(gone->event);
    }
    if (gone->data)
        clEnqueueUnmapMemObject(gone->device->queue, gone->pinned, gone->data,
                                0, NULL, NULL);
    if (gone->pinned)
        clReleaseMemObject(gone->pinned);
    free(gone);
    *readback = NULL;
}
