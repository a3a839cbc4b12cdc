/* NumPy's memory handler: what NumPy allocates in large pieces is born in the arena.
 *
 * The layout is that of `PyDataMem_Handler`, version 1, in NumPy's ndarraytypes.h, as NEP 49 fixes it:
 * https://numpy.org/neps/nep-0049.html
 *
 * Rule: what is small, and what the arena has no room for, is NumPy's own handler's business.
 */
#include <stdlib.h>
#include <string.h>

#include "arena.h"

struct allocator {
    void *context;
    void *(*malloc)(void *context, size_t nbytes);
    void *(*calloc)(void *context, size_t count, size_t nbytes);
    void *(*realloc)(void *context, void *pointer, size_t nbytes);
    void (*free)(void *context, void *pointer, size_t nbytes);
};

struct handler {
    char name[127];
    uint8_t version;
    struct allocator allocator;
};

struct born {
    struct handler handler; /* first: NumPy knows this address */
    struct arena *arena;
    size_t threshold;
    struct allocator usual;
};

static void *born_malloc(void *context, size_t nbytes) {
    struct born *born = context;
    void *pointer = nbytes >= born->threshold ? arena_malloc(born->arena, nbytes, 0, false) : NULL;
    return pointer != NULL ? pointer : born->usual.malloc(born->usual.context, nbytes);
}

static void *born_calloc(void *context, size_t count, size_t each) {
    struct born *born = context;
    size_t nbytes;
    void *pointer = NULL;
    if (!__builtin_mul_overflow(count, each, &nbytes) && nbytes >= born->threshold)
        pointer = arena_malloc(born->arena, nbytes, 0, true);
    return pointer != NULL ? pointer : born->usual.calloc(born->usual.context, count, each);
}

static void born_free(void *context, void *pointer, size_t nbytes) {
    struct born *born = context;
    if (!arena_free(born->arena, pointer))
        born->usual.free(born->usual.context, pointer, nbytes);
}

static void *born_realloc(void *context, void *pointer, size_t nbytes) {
    struct born *born = context;
    struct other other = {born->usual.context, born->usual.malloc};
    if (pointer == NULL)
        return born_malloc(context, nbytes);
    if (arena_owns(born->arena, pointer))
        return arena_realloc(born->arena, pointer, nbytes, born->threshold, &other);
    void *grown = born->usual.realloc(born->usual.context, pointer, nbytes);
    if (grown == NULL || nbytes < born->threshold)
        return grown;
    /* Nobody here knows how long the old block was; the grown one can be copied to its end. */
    void *pointer_here = arena_malloc(born->arena, nbytes, 0, false);
    if (pointer_here == NULL)
        return grown;
    memcpy(pointer_here, grown, nbytes);
    born->usual.free(born->usual.context, grown, nbytes);
    return pointer_here;
}

/* The name that NumPy wants its capsules to have; it must outlive them all. */
FACE const char snakepit_capsule_name[] = "mem_handler";

/* A handler over NumPy's own one; it lives as long as the process, since arrays may. NULL without memory. */
FACE void *snakepit_handler(struct arena *arena, size_t threshold, const void *usual) {
    struct born *born = calloc(1, sizeof *born);
    if (born == NULL)
        return NULL;
    strcpy(born->handler.name, "snakepit_nb");
    born->handler.version = 1;
    born->handler.allocator = (struct allocator){born, born_malloc, born_calloc, born_realloc, born_free};
    born->arena = arena;
    born->threshold = threshold;
    born->usual = ((const struct handler *)usual)->allocator;
    return born;
}
