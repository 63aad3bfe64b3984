// What a program under the layer may ask of it (see cl_layer.c).
#ifndef QN_CL_LAYER_H
#define QN_CL_LAYER_H

// Number of events of one kind so far:
//   "clSetKernelArg"  calls of that function
//   "calls"           calls of all functions
//   "creates"         objects made, events not counted
//   "blocking"        calls that wait for the device
//   "failed"          calls that the layer made fail
//   "live"            references not yet released, over all kinds
//   "context", "queue", "buffer", "program", "kernel", "event"
//                     references of that kind not yet released
//   "stray"           releases and retains of what is no live object
// -1 for anything else.
typedef long layer_count_function(const char *what);

// Makes calls fail with `code` from now on: the `nth` one (from 1) of
// `function`, or of all functions if that is NULL; with `persistent` also all
// later ones. A release that fails has released all the same. nth 0 disarms.
typedef void layer_fail_function(const char *function, long nth, int code,
                                 int persistent);

// Name of the first function that was made to fail, or "".
typedef const char *layer_failed_function(void);

struct layer {
    layer_count_function *count;
    layer_fail_function *arm;
    layer_failed_function *failed;
};

// Finds the layer that OPENCL_LAYERS has put into this process, after the
// first OpenCL call. Returns 0 where there is none.
int layer_open(struct layer *layer);

#endif
