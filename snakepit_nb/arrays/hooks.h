/* What the interposed malloc knows of an arena: the range of its addresses, and whom to ask about them. */
#ifndef SNAKEPIT_HOOKS_H
#define SNAKEPIT_HOOKS_H

#include <stddef.h>
#include <stdint.h>

struct hooks {
    uintptr_t low, high;
    size_t threshold;
    void *arena;
    void *(*malloc)(void *arena, size_t nbytes, size_t align, int zeroed);
    /* False where the pointer is not, or no longer, the arena's. */
    int (*free)(void *arena, void *pointer);
    /* `usual` is the allocator for what is below the threshold, or finds no room. */
    void *(*realloc)(void *arena, void *pointer, size_t nbytes, size_t threshold, void *(*usual)(size_t));
    size_t (*usable)(void *arena, void *pointer);
};

#endif
