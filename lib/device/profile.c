// Times of launches, by kernel. Events are looked at when they are done anyway,
// so that profiling never makes the queue wait.
#include <stdlib.h>
#include <string.h>

#include "device/state.h"

enum { LOOK_AFTER = 512 };

struct row {
    qn_profile_row sum;
    char kernel[128];
};

// A launch under way. `first` is NULL where one event holds start and end.
struct pending {
    cl_event first;
    cl_event last;
    int row;
    double flops;
    double bytes;
};

struct qn_profile {
    struct row **rows;
    int row_count;
    struct pending *pending; // in order of the queue
    size_t pending_count;
    size_t pending_capacity;
};

qn_status qn_profile_create(struct qn_profile **out, qn_error *error)
{
    *out = calloc(1, sizeof **out);
    return *out ? QN_OK : qn_fail_memory(error, sizeof **out);
}

static void drop(struct pending *pending)
{
    if (pending->first)
        clReleaseEvent(pending->first);
    if (pending->last)
        clReleaseEvent(pending->last);
}

void qn_profile_destroy(struct qn_profile **profile)
{
    if (!*profile)
        return;
    for (size_t i = 0; i < (*profile)->pending_count; i++)
        drop(&(*profile)->pending[i]);
    for (int i = 0; i < (*profile)->row_count; i++)
        free((*profile)->rows[i]);
    free((*profile)->pending);
    free((*profile)->rows);
    free(*profile);
    *profile = NULL;
}

int qn_profile_row_of(struct qn_profile *profile, const char *kernel)
{
    for (int i = 0; i < profile->row_count; i++)
        if (strcmp(profile->rows[i]->kernel, kernel) == 0)
            return i;
    size_t size = ((size_t)profile->row_count + 1) * sizeof *profile->rows;
    struct row **rows = realloc(profile->rows, size);
    if (!rows)
        return -1;
    profile->rows = rows;
    struct row *row = calloc(1, sizeof *row);
    if (!row)
        return -1;
    strncpy(row->kernel, kernel, sizeof row->kernel - 1);
    row->sum.kernel = row->kernel;
    rows[profile->row_count] = row;
    return profile->row_count++;
}

static cl_ulong time_of(cl_event event, cl_profiling_info what)
{
    cl_ulong time = 0;
    clGetEventProfilingInfo(event, what, sizeof time, &time, NULL);
    return time;
}

static bool is_done(const struct pending *pending)
{
    cl_int state = CL_QUEUED;
    return !pending->last ||
           clGetEventInfo(pending->last, CL_EVENT_COMMAND_EXECUTION_STATUS,
                          sizeof state, &state, NULL) != CL_SUCCESS ||
           state <= CL_COMPLETE;
}

static void count(struct qn_profile *profile, const struct pending *pending)
{
    qn_profile_row *sum = &profile->rows[pending->row]->sum;
    if (!pending->last)
        return; // its launch failed
    cl_ulong start = pending->first
                         ? time_of(pending->first, CL_PROFILING_COMMAND_END)
                         : time_of(pending->last, CL_PROFILING_COMMAND_START);
    cl_ulong end = time_of(pending->last, CL_PROFILING_COMMAND_END);
    sum->launches++;
    sum->seconds += end > start ? 1e-9 * (double)(end - start) : 0;
    sum->flops += pending->flops;
    sum->bytes += pending->bytes;
}

// Counts what is done, from the front: the queue is in order.
static void harvest(struct qn_profile *profile)
{
    size_t done = 0;
    while (done < profile->pending_count && is_done(&profile->pending[done])) {
        count(profile, &profile->pending[done]);
        drop(&profile->pending[done++]);
    }
    profile->pending_count -= done;
    if (done && profile->pending_count)
        memmove(profile->pending, profile->pending + done,
                profile->pending_count * sizeof *profile->pending);
}

cl_event *qn_profile_event(struct qn_profile *profile, int row, double flops,
                           double bytes, cl_event **first)
{
    if (row < 0)
        return NULL;
    if (profile->pending_count % LOOK_AFTER == LOOK_AFTER - 1)
        harvest(profile);
    if (profile->pending_count == profile->pending_capacity) {
        size_t capacity = profile->pending_capacity + 2 * LOOK_AFTER;
        struct pending *more = realloc(profile->pending,
                                       capacity * sizeof *more);
        if (!more)
            return NULL;
        profile->pending = more;
        profile->pending_capacity = capacity;
    }
    struct pending *pending = &profile->pending[profile->pending_count++];
    *pending = (struct pending){.row = row, .flops = flops, .bytes = bytes};
    if (first)
        *first = &pending->first;
    return &pending->last;
}

static int slower_first(const void *a, const void *b)
{
    double x = ((const qn_profile_row *)a)->seconds;
    double y = ((const qn_profile_row *)b)->seconds;
    return (x < y) - (x > y);
}

int qn_device_profile(qn_device *device, qn_profile_row *rows, int capacity)
{
    struct qn_profile *profile = device->profile;
    if (!profile || qn_device_finish(device, NULL) != QN_OK)
        return 0;
    harvest(profile);
    size_t size = sizeof *rows * (size_t)profile->row_count;
    qn_profile_row *sorted = size ? malloc(size) : NULL;
    if (!sorted)
        return 0;
    for (int i = 0; i < profile->row_count; i++)
        sorted[i] = profile->rows[i]->sum;
    qsort(sorted, (size_t)profile->row_count, sizeof *sorted, slower_first);
    for (int i = 0; i < profile->row_count && i < capacity; i++)
        rows[i] = sorted[i];
    free(sorted);
    return profile->row_count;
}
