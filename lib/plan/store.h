// What the rooms below may use of a store beside its public face.
#ifndef QN_PLAN_STORE_H
#define QN_PLAN_STORE_H

#include "device/device.h"
#include "quern/plan.h"

// The buffer of a group, for reading it back without waiting; NULL if the
// store has no such group. Borrowed: it lives as long as the store.
struct qn_buffer *qn_store_buffer(const qn_store *store, const char *group);
// Bytes of a group, 0 where there is none.
int64_t qn_store_group_size(const qn_store *store, const char *group);

#endif
