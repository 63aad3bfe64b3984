// Device memory: allocation against the device's limits, parts, copies to and
// from the host. Knows nothing of tensors.
#include <stdlib.h>
#include <string.h>

#include "device/state.h"

struct qn_buffer {
    qn_device *device;
    cl_mem handle;
    struct qn_buffer *root; // NULL: this one owns its memory
    size_t offset;          // within the root
    size_t size;
};

cl_mem qn_buffer_handle(const struct qn_buffer *buffer)
{
    return buffer->handle;
}

qn_device *qn_buffer_device(const struct qn_buffer *buffer)
{
    return buffer->device;
}

size_t qn_buffer_size(const struct qn_buffer *buffer)
{
    return buffer->size;
}

static double mebibytes(uint64_t size)
{
    return (double)size / (1024 * 1024);
}

static qn_status check_room(const qn_device *device, size_t size,
                            const char *name, qn_error *error)
{
    const qn_device_info *info = &device->info;
    if (size > info->max_alloc_size)
        return qn_fail(error, QN_DEVICE,
                       "%s needs %.1f MiB in one piece, but %s allocates at "
                       "most %.1f MiB at once: take a smaller batch or model",
                       name, mebibytes(size), info->name,
                       mebibytes(info->max_alloc_size));
    if (size > info->memory_size - device->usage.allocated ||
        device->usage.allocated > info->memory_size)
        return qn_fail(error, QN_DEVICE,
                       "%s needs %.1f MiB, but of the %.1f MiB of %s %.1f MiB "
                       "are taken: take a smaller batch or model",
                       name, mebibytes(size), mebibytes(info->memory_size),
                       info->name, mebibytes(device->usage.allocated));
    return QN_OK;
}

// Oclgrind takes filled memory for uninitialised, written memory not.
static cl_int write_zero(const qn_device *device, cl_mem memory, size_t size)
{
    void *zeros = calloc(1, size);
    if (!zeros)
        return CL_OUT_OF_HOST_MEMORY;
    cl_int code = clEnqueueWriteBuffer(device->queue, memory, CL_TRUE, 0, size,
                                       zeros, 0, NULL, NULL);
    free(zeros);
    return code;
}

// The pattern's width must divide the size; drivers fill faster with a wide
// one.
static cl_int fill_zero(const qn_device *device, cl_mem memory, size_t size)
{
    if (device->info.type == QN_DEVICE_EMULATOR)
        return write_zero(device, memory, size);
    const unsigned char zeros[16] = {0};
    size_t width = sizeof zeros;
    while (size % width)
        width /= 2;
    return clEnqueueFillBuffer(device->queue, memory, zeros, width, 0, size, 0,
                               NULL, NULL);
}

static void count_buffer(qn_device_usage *usage, size_t size)
{
    usage->allocated += size;
    if (usage->allocated > usage->peak)
        usage->peak = usage->allocated;
    if (size > usage->largest)
        usage->largest = size;
}

qn_status qn_buffer_create(qn_device *device, size_t size, const char *name,
                           struct qn_buffer **out, qn_error *error)
{
    *out = NULL;
    QN_TRY(qn_device_check(device, error));
    QN_TRY(check_room(device, size, name, error));
    struct qn_buffer *buffer = calloc(1, sizeof *buffer);
    if (!buffer)
        return qn_fail_memory(error, sizeof *buffer);
    buffer->device = device;
    buffer->size = size;
    // Memory of both where there is one memory, so that mapping copies nothing.
    cl_mem_flags flags = CL_MEM_READ_WRITE;
    if (device->info.unified_memory)
        flags |= CL_MEM_ALLOC_HOST_PTR;
    const char *call = "clCreateBuffer";
    cl_int code;
    buffer->handle = clCreateBuffer(device->context, flags, size ? size : 1,
                                    NULL, &code);
    if (code == CL_SUCCESS && size) {
        call = "clEnqueueFillBuffer";
        code = fill_zero(device, buffer->handle, size);
    }
    if (code != CL_SUCCESS) {
        if (buffer->handle)
            clReleaseMemObject(buffer->handle);
        free(buffer);
        return qn_fail(error, QN_DEVICE, "%s: %s of %zu bytes: %s (%d)", name,
                       call, size, qn_cl_name(code), (int)code);
    }
    count_buffer(&device->usage, size);
    *out = buffer;
    return QN_OK;
}

qn_status qn_buffer_part(struct qn_buffer *parent, size_t offset, size_t size,
                         struct qn_buffer **out, qn_error *error)
{
    *out = NULL;
    QN_REQUIRE(error, size > 0);
    QN_REQUIRE(error, offset <= parent->size);
    QN_REQUIRE(error, size <= parent->size - offset);
    if (offset % (size_t)parent->device->limits.base_align)
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "a part at byte %zu: offsets are multiples of %lld",
                       offset, (long long)parent->device->limits.base_align);
    struct qn_buffer *part = calloc(1, sizeof *part);
    if (!part)
        return qn_fail_memory(error, sizeof *part);
    part->device = parent->device;
    part->root = parent->root ? parent->root : parent;
    part->offset = parent->offset + offset;
    part->size = size;
    cl_buffer_region region = {part->offset, size};
    cl_int code;
    part->handle = clCreateSubBuffer(part->root->handle, CL_MEM_READ_WRITE,
                                     CL_BUFFER_CREATE_TYPE_REGION, &region,
                                     &code);
    if (code != CL_SUCCESS) {
        free(part);
        return qn_cl_fail(error, code, "clCreateSubBuffer");
    }
    *out = part;
    return QN_OK;
}

void qn_buffer_destroy(struct qn_buffer **buffer)
{
    if (!buffer || !*buffer)
        return;
    clReleaseMemObject((*buffer)->handle);
    if (!(*buffer)->root)
        (*buffer)->device->usage.allocated -= (*buffer)->size;
    free(*buffer);
    *buffer = NULL;
}

static qn_status check_range(const struct qn_buffer *buffer, size_t offset,
                             size_t size, qn_error *error)
{
    if (offset > buffer->size || size > buffer->size - offset)
        return qn_fail(error, QN_BAD_ARGUMENT,
                       "bytes %zu to %zu of a buffer of %zu bytes", offset,
                       offset + size, buffer->size);
    return qn_device_check(buffer->device, error);
}

// Where host and device share memory, mapping gives the memory itself; the
// driver copies nothing of its own. Waits for what is enqueued before.
static qn_status map(struct qn_buffer *buffer, cl_map_flags flags,
                     size_t offset, size_t size, void **data, qn_error *error)
{
    cl_int code;
    *data = clEnqueueMapBuffer(buffer->device->queue, buffer->handle, CL_TRUE,
                               flags, offset, size, 0, NULL, NULL, &code);
    if (code != CL_SUCCESS)
        return qn_device_lose(buffer->device, code, "clEnqueueMapBuffer", NULL,
                              error);
    return QN_OK;
}

static qn_status unmap(struct qn_buffer *buffer, void *data, qn_error *error)
{
    CL_RUN(buffer->device, NULL, error,
           clEnqueueUnmapMemObject(buffer->device->queue, buffer->handle, data,
                                   0, NULL, NULL));
    return QN_OK;
}

// Oclgrind's check for uninitialised values forgets what it knew of a buffer
// that is written from an offset on: so the whole of it is written again.
static qn_status write_whole(struct qn_buffer *buffer, size_t offset,
                             const void *data, size_t size, qn_error *error)
{
    qn_device *device = buffer->device;
    struct qn_buffer *root = buffer->root ? buffer->root : buffer;
    unsigned char *whole = malloc(root->size);
    if (!whole)
        return qn_fail_memory(error, root->size);
    cl_int code = clEnqueueReadBuffer(device->queue, root->handle, CL_TRUE, 0,
                                      root->size, whole, 0, NULL, NULL);
    memcpy(whole + buffer->offset + offset, data, size);
    if (code == CL_SUCCESS)
        code = clEnqueueWriteBuffer(device->queue, root->handle, CL_TRUE, 0,
                                    root->size, whole, 0, NULL, NULL);
    free(whole);
    if (code != CL_SUCCESS)
        return qn_device_lose(device, code, "clEnqueueWriteBuffer", NULL,
                              error);
    return QN_OK;
}

qn_status qn_buffer_write(struct qn_buffer *buffer, size_t offset,
                          const void *data, size_t size, qn_error *error)
{
    qn_device *device = buffer->device;
    QN_TRY(check_range(buffer, offset, size, error));
    if (size == 0)
        return QN_OK;
    if (device->info.type == QN_DEVICE_EMULATOR)
        return write_whole(buffer, offset, data, size, error);
    if (device->info.unified_memory) {
        void *memory;
        QN_TRY(map(buffer, CL_MAP_WRITE_INVALIDATE_REGION, offset, size,
                   &memory, error));
        memcpy(memory, data, size);
        return unmap(buffer, memory, error);
    }
    CL_RUN(device, NULL, error,
           clEnqueueWriteBuffer(device->queue, buffer->handle, CL_TRUE, offset,
                                size, data, 0, NULL, NULL));
    return QN_OK;
}

qn_status qn_buffer_read(struct qn_buffer *buffer, size_t offset, void *data,
                         size_t size, qn_error *error)
{
    qn_device *device = buffer->device;
    QN_TRY(check_range(buffer, offset, size, error));
    if (size == 0)
        return QN_OK;
    if (device->info.unified_memory) {
        void *memory;
        QN_TRY(map(buffer, CL_MAP_READ, offset, size, &memory, error));
        memcpy(data, memory, size);
        return unmap(buffer, memory, error);
    }
    CL_RUN(device, NULL, error,
           clEnqueueReadBuffer(device->queue, buffer->handle, CL_TRUE, offset,
                               size, data, 0, NULL, NULL));
    return QN_OK;
}

qn_status qn_buffer_zero(struct qn_buffer *buffer, qn_error *error)
{
    qn_device *device = buffer->device;
    QN_TRY(qn_device_check(device, error));
    if (buffer->size)
        CL_RUN(device, NULL, error,
               fill_zero(device, buffer->handle, buffer->size));
    return QN_OK;
}
