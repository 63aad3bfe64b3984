// An arena: many small allocations, one free.
#ifndef QN_BASE_ARENA_H
#define QN_BASE_ARENA_H

#include <stddef.h>

struct qn_arena_block;
struct qn_arena {
    struct qn_arena_block *blocks;
};

// Zeroed memory, aligned for any type; NULL without memory. A zeroed arena is
// a valid empty one.
void *qn_arena_alloc(struct qn_arena *arena, size_t size);
void *qn_arena_copy(struct qn_arena *arena, const void *data, size_t size);
char *qn_arena_string(struct qn_arena *arena, const char *text);
void qn_arena_finish(struct qn_arena *arena);

#endif
