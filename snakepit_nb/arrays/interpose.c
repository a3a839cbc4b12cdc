/* malloc for a whole process, so that what any library allocates in large pieces is born in the arena.
 *
 * It is preloaded, and passes everything through to the C library until `snakepit_interpose` is called.
 *
 * Rule: nothing here may allocate, and nothing waits for a constructor: the loader itself calls malloc.
 * Rule: what was allocated by the C library goes back to the C library, and what lies in the arena to the arena.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <string.h>

#include "hooks.h"

#define FACE __attribute__((visibility("default")))

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

static _Atomic(const struct hooks *) enabled;

FACE void snakepit_interpose(const struct hooks *hooks) {
    atomic_store_explicit(&enabled, hooks, memory_order_release);
}

static const struct hooks *hooks_now(void) { return atomic_load_explicit(&enabled, memory_order_acquire); }

/* The hooks where they are to be asked about this pointer, else NULL. */
static const struct hooks *owner(const void *pointer) {
    const struct hooks *hooks = hooks_now();
    if (hooks == NULL || (uintptr_t)pointer - hooks->low >= hooks->high - hooks->low)
        return NULL;
    return hooks;
}

static void *large(size_t nbytes, size_t align, int zeroed) {
    const struct hooks *hooks = hooks_now();
    if (hooks == NULL || nbytes < hooks->threshold)
        return NULL;
    return hooks->malloc(hooks->arena, nbytes, align, zeroed);
}

/* The C library has no private name for it, and ours hides the public one. */
static size_t usual_usable(void *pointer) {
    static size_t (*_Atomic found)(void *);
    size_t (*usable)(void *) = atomic_load(&found);
    if (usable == NULL) {
        void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
        void *symbol = libc != NULL ? dlsym(libc, "malloc_usable_size") : NULL;
        if (symbol == NULL)
            return 0;
        memcpy(&usable, &symbol, sizeof usable);
        atomic_store(&found, usable);
    }
    return usable(pointer);
}

FACE void *malloc(size_t nbytes) {
    void *pointer = large(nbytes, 0, 0);
    return pointer != NULL ? pointer : __libc_malloc(nbytes);
}

FACE void *calloc(size_t count, size_t each) {
    size_t nbytes;
    void *pointer = __builtin_mul_overflow(count, each, &nbytes) ? NULL : large(nbytes, 0, 1);
    return pointer != NULL ? pointer : __libc_calloc(count, each);
}

FACE void free(void *pointer) {
    const struct hooks *hooks = owner(pointer);
    if (hooks == NULL || !hooks->free(hooks->arena, pointer))
        __libc_free(pointer);
}

FACE void *realloc(void *pointer, size_t nbytes) {
    if (pointer == NULL)
        return malloc(nbytes);
    const struct hooks *hooks = owner(pointer);
    if (hooks != NULL && hooks->usable(hooks->arena, pointer) > 0) {
        if (nbytes > 0)
            return hooks->realloc(hooks->arena, pointer, nbytes, hooks->threshold, __libc_malloc);
        free(pointer);
        return NULL;
    }
    size_t had = 0;
    /* What was large in the C library's hands stays there: it can move pages without copying. */
    hooks = hooks_now();
    if (hooks != NULL && nbytes >= hooks->threshold)
        had = usual_usable(pointer);
    void *moved = had > 0 && had < hooks->threshold ? large(nbytes, 0, 0) : NULL;
    if (moved == NULL)
        return __libc_realloc(pointer, nbytes);
    memcpy(moved, pointer, had);
    __libc_free(pointer);
    return moved;
}

FACE void *reallocarray(void *pointer, size_t count, size_t each) {
    size_t nbytes;
    if (__builtin_mul_overflow(count, each, &nbytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(pointer, nbytes);
}

FACE void *memalign(size_t align, size_t nbytes) {
    void *pointer = large(nbytes, align, 0);
    return pointer != NULL ? pointer : __libc_memalign(align, nbytes);
}

static int is_power_of_two(size_t number) { return number > 0 && (number & (number - 1)) == 0; }

FACE void *aligned_alloc(size_t align, size_t nbytes) {
    if (!is_power_of_two(align)) {
        errno = EINVAL;
        return NULL;
    }
    return memalign(align, nbytes);
}

FACE int posix_memalign(void **out, size_t align, size_t nbytes) {
    if (!is_power_of_two(align) || align % sizeof(void *) != 0)
        return EINVAL;
    int error = errno;
    void *pointer = memalign(align, nbytes);
    errno = error;
    if (pointer == NULL)
        return ENOMEM;
    *out = pointer;
    return 0;
}

FACE size_t malloc_usable_size(void *pointer) {
    if (pointer == NULL)
        return 0;
    const struct hooks *hooks = owner(pointer);
    size_t nbytes = hooks != NULL ? hooks->usable(hooks->arena, pointer) : 0;
    return nbytes > 0 ? nbytes : usual_usable(pointer);
}
