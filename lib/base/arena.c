// Blocks of memory handed out in pieces.
#include "base/arena.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_SIZE = 16384 };

struct qn_arena_block {
    struct qn_arena_block *next;
    size_t used;
    size_t size;
    alignas(max_align_t) unsigned char data[];
};

static struct qn_arena_block *add_block(struct qn_arena *arena, size_t size)
{
    size_t room = size > BLOCK_SIZE ? size : BLOCK_SIZE;
    struct qn_arena_block *block = calloc(1, sizeof *block + room);
    if (!block)
        return NULL;
    block->size = room;
    block->next = arena->blocks;
    arena->blocks = block;
    return block;
}

void *qn_arena_alloc(struct qn_arena *arena, size_t size)
{
    size_t step = alignof(max_align_t);
    size = (size + step - 1) / step * step;
    struct qn_arena_block *block = arena->blocks;
    if (!block || block->size - block->used < size)
        block = add_block(arena, size);
    if (!block)
        return NULL;
    void *data = block->data + block->used;
    block->used += size;
    return data;
}

void *qn_arena_copy(struct qn_arena *arena, const void *data, size_t size)
{
    void *copy = qn_arena_alloc(arena, size ? size : 1);
    if (copy && size)
        memcpy(copy, data, size);
    return copy;
}

char *qn_arena_string(struct qn_arena *arena, const char *text)
{
    return qn_arena_copy(arena, text, strlen(text) + 1);
}

void qn_arena_finish(struct qn_arena *arena)
{
    while (arena->blocks) {
        struct qn_arena_block *next = arena->blocks->next;
        free(arena->blocks);
        arena->blocks = next;
    }
}
