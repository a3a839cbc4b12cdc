/* An arena: one stretch of shared memory that this process allocates from, and nobody else.
 *
 * Rule: the lock is held for short sections of C; pages come and go, and bytes are copied, outside of it. So any
 * thread may call anything here at any time, also a finaliser, and also without Python's global lock.
 * Rule: nothing here allocates with malloc: malloc may be what called.
 * Rule: a block is free again when whoever got its pointer has freed it and all leases on it have ended.
 */
#ifndef SNAKEPIT_ARENA_H
#define SNAKEPIT_ARENA_H

#include <pthread.h>
#include <stdatomic.h>

#include "pieces.h"

#define FACE __attribute__((visibility("default")))

#define HUGE_PAGE ((uint64_t)2 << 20)

/* `arena_open` flags. */
enum {
    LIMITED = 1,    /* a file system bounds the memory: make sure of pages before they are touched */
    HUGE_PAGES = 2, /* the system gives huge pages to shared memory that asks for them */
    NO_RESERVE = 4  /* no background thread */
};

/* One block as Python sees it: arena.Block. */
struct block {
    uint64_t offset, nbytes, generation;
};

/* The order is that of native.Stats. */
struct stats {
    uint64_t live_bytes, warm_bytes, reserve_bytes, kept_bytes, blocks;
    uint64_t allocations, warm_hits, reserve_hits, cold_hits, fallbacks;
};

struct arena {
    char *base;
    uint64_t nbytes;
    uint64_t page;
    int fd;
    int flags;
    uint64_t budget, warm_limit;
    uint64_t left, left_when; /* memory that the machine had left, and how much was idle here at that time */
    pthread_mutex_t lock;
    struct pieces pieces;
    int busy; /* sections that work on pages outside the lock */
    pthread_cond_t settled; /* told when one of them is through */
    bool off;    /* this process is a child of a fork: the memory is its parent's */
    bool closed; /* no block is given any more */
    _Atomic bool unmapped;
    uint64_t allocations, warm_hits, reserve_hits, cold_hits;
    _Atomic uint64_t fallbacks;

    /* The reserve; see reserve.c. */
    pthread_cond_t wanted;
    uint64_t demand;   /* bytes that were not warm, since the reserve was last filled */
    uint64_t activity; /* grows with every block */
    bool filling;      /* its thread runs */
    bool no_reserve;
    unsigned idle_seconds;

    struct arena *next;
};

/* The face for Python. */

/* Maps `nbytes` of `fd`, which the arena owns from now on, and takes what is needed from there. NULL where the
 * system refuses (errno says why); then `fd` is still the caller's. */
FACE struct arena *snakepit_open(int fd, uint64_t nbytes, uint64_t budget, uint64_t warm_limit, int flags);
FACE void *snakepit_address(const struct arena *arena);
/* Gives no more blocks and ends all leases; memory and descriptor go when the last pointer was freed. */
FACE void snakepit_close(struct arena *arena);
/* These tell by 1 or 0 whether they did it. */
FACE int snakepit_allocate(struct arena *arena, uint64_t nbytes, struct block *out);
FACE int snakepit_hold(struct arena *arena, uint64_t offset, uint64_t generation, struct block *out);
FACE int snakepit_find(struct arena *arena, uint64_t address, uint64_t nbytes, struct block *out);
FACE int snakepit_free(struct arena *arena, uint64_t offset, uint64_t generation);
FACE uint64_t snakepit_holders(struct arena *arena, uint64_t offset, uint64_t generation);
FACE void snakepit_stats(struct arena *arena, struct stats *out);
/* Gives the pages of all free memory back. */
FACE void snakepit_trim(struct arena *arena);
/* What interpose.c needs to know of the one arena that malloc uses in this process. */
struct hooks;
FACE const struct hooks *snakepit_hooks(struct arena *arena, size_t threshold);

/* The face for memory handlers: pointers, as malloc has them. */

/* NULL where the arena is full, off or closed. `align` is a power of two. */
void *arena_malloc(struct arena *arena, size_t nbytes, size_t align, bool zeroed);
/* False where the pointer is not of this arena. */
bool arena_free(struct arena *arena, void *pointer);
/* The block with its content at a new length, maybe elsewhere; NULL, and nothing has changed, where the arena has
 * no room. The pointer is one of `arena_owns`. */
void *arena_resize(struct arena *arena, void *pointer, size_t nbytes);
/* How many bytes may be used at a pointer; 0 where it is none of this arena. */
size_t arena_usable(struct arena *arena, void *pointer);

static inline bool arena_owns(const struct arena *arena, const void *pointer) {
    return (uintptr_t)pointer - (uintptr_t)arena->base < arena->nbytes && !arena->unmapped;
}

/* realloc across the border between the arena and another allocator. */
struct other {
    void *context;
    void *(*malloc)(void *context, size_t nbytes);
};
void *arena_realloc(
    struct arena *arena, void *pointer, size_t nbytes, size_t threshold, const struct other *other
);

/* The generation of the youngest block of all arenas. */
uint64_t arena_generations(void);

/* Between the files of the arena; the lock is held. */

/* A LIVE piece with one lease, which is the caller's, or NULL; lets go of the lock meanwhile. What is not between
 * `*dirty_low` and `*dirty_high` reads as zeros, if zeros were wished. */
struct piece *arena_take(
    struct arena *arena, uint64_t nbytes, uint64_t align, bool zeroed, uint64_t *dirty_low, uint64_t *dirty_high
);
/* Ends a LIVE piece that nobody has any more. */
void arena_release(struct arena *arena, struct piece *piece);
/* Keeps free memory within its limits. */
void arena_trim(struct arena *arena);
/* Gives pages of free memory back, of what is longest unused first; lets go of the lock meanwhile. */
void arena_trim_by(struct arena *arena, uint64_t nbytes);

/* Around work on pages: others may have the lock, but the arena stays. */
void arena_let_go(struct arena *arena);
void arena_take_up(struct arena *arena);

/* Takes the pages of a BUSY piece away and makes it COLD; lets go of the lock meanwhile. */
bool arena_cool(struct arena *arena, struct piece *piece);
/* Bytes that the machine, and this process's control group, have left. */
uint64_t arena_memory_left(void);
/* Tells the reserve that memory was wanted that was not warm. */
void arena_want(struct arena *arena);
/* Ends what a closed arena could not end while it was in use. */
void arena_end_if_done(struct arena *arena);

#endif
