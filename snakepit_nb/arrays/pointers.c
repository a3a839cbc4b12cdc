/* Pointers as malloc has them, over an arena: for NumPy's memory handler and for an interposed malloc. */
#define _GNU_SOURCE
#include <string.h>

#include "arena.h"
#include "forks.h"
#include "hooks.h"

void *arena_malloc(struct arena *arena, size_t nbytes, size_t align, bool zeroed) {
    uint64_t low, high;
    pthread_mutex_lock(&arena->lock);
    struct piece *piece = arena_take(arena, nbytes, align, zeroed, &low, &high);
    if (piece != NULL) {
        piece->born = true;
        piece->leases--;
    }
    char *address = piece != NULL ? arena->base + piece->offset : NULL;
    pthread_mutex_unlock(&arena->lock);
    if (address == NULL) {
        atomic_fetch_add(&arena->fallbacks, 1);
        return NULL;
    }
    if (zeroed && low < high)
        memset(arena->base + low, 0, high - low);
    return address;
}

/* The born block at this very pointer; the lock is held. */
static struct piece *born_at(const struct arena *arena, const void *pointer) {
    if (!arena_owns(arena, pointer))
        return NULL;
    uint64_t offset = (uintptr_t)pointer - (uintptr_t)arena->base;
    struct piece *piece = pieces_at(&arena->pieces, offset);
    return piece != NULL && piece->offset == offset && piece->born ? piece : NULL;
}

bool arena_free(struct arena *arena, void *pointer) {
    if (!arena_owns(arena, pointer))
        return false;
    pthread_mutex_lock(&arena->lock);
    struct piece *piece = born_at(arena, pointer);
    /* In a child of a fork the memory is the parent's: nothing is done to its books or pages. */
    if (piece != NULL && !arena->off) {
        piece->born = false;
        if (!in_use(piece))
            arena_release(arena, piece);
    }
    pthread_mutex_unlock(&arena->lock);
    return true;
}

size_t arena_usable(struct arena *arena, void *pointer) {
    pthread_mutex_lock(&arena->lock);
    const struct piece *piece = born_at(arena, pointer);
    size_t nbytes = piece != NULL ? piece->nbytes : 0;
    pthread_mutex_unlock(&arena->lock);
    return nbytes;
}

/* Makes a block longer over the free memory behind it; the lock is held. */
static bool extend(struct arena *arena, struct piece *piece, uint64_t need) {
    struct pieces *all = &arena->pieces;
    uint64_t more = need - piece->nbytes;
    /* Where pages must be made sure of first, that cannot be done here, under the lock. */
    if ((arena->flags & LIMITED) || !pieces_ready_to_split(all, 2))
        return false;
    if (all->nbytes[LIVE] + all->nbytes[KEPT] + more > arena->budget)
        return false;
    uint64_t there = 0;
    for (struct piece *next = piece->after; there < more; next = next->after) {
        if (next == NULL || !is_free(next))
            return false;
        there += next->nbytes;
    }
    uint64_t low, high;
    pieces_carve(all, piece->after, piece_end(piece), piece->offset + need, &low, &high);
    piece_leave(all, piece);
    piece_absorb(all, piece);
    piece_enter(all, piece);
    arena->activity++;
    arena_trim(arena);
    return true;
}

void *arena_resize(struct arena *arena, void *pointer, size_t nbytes) {
    if (nbytes > arena->nbytes)
        return NULL;
    uint64_t need = round_up(nbytes > 0 ? nbytes : 1, arena->page);
    pthread_mutex_lock(&arena->lock);
    struct piece *piece = born_at(arena, pointer);
    if (piece == NULL || arena->off || arena->closed) {
        pthread_mutex_unlock(&arena->lock);
        return NULL;
    }
    uint64_t had = piece->nbytes;
    bool done = need == had;
    /* What others read must not be cut off; and what they read beyond the end would not be what they were lent. */
    if (!done && piece->leases == 0 && !forks_see(piece->generation)) {
        if (need > had) {
            done = extend(arena, piece, need);
        } else if (pieces_ready_to_split(&arena->pieces, 1)) {
            piece_leave(&arena->pieces, piece);
            struct piece *rest = piece_split(&arena->pieces, piece, piece->offset + need);
            piece_enter(&arena->pieces, piece);
            rest->state = WARM;
            piece_settle(&arena->pieces, rest);
            arena_trim(arena);
            done = true;
        }
    }
    pthread_mutex_unlock(&arena->lock);
    if (done)
        return pointer;
    void *fresh = arena_malloc(arena, nbytes, 0, false);
    if (fresh != NULL) {
        memcpy(fresh, pointer, had < nbytes ? had : nbytes);
        arena_free(arena, pointer);
    }
    return fresh;
}

void *arena_realloc(
    struct arena *arena, void *pointer, size_t nbytes, size_t threshold, const struct other *other
) {
    if (nbytes >= threshold) {
        void *resized = arena_resize(arena, pointer, nbytes);
        if (resized != NULL)
            return resized;
    }
    size_t had = arena_usable(arena, pointer);
    void *fresh = other->malloc(other->context, nbytes);
    if (fresh == NULL)
        return nbytes <= had ? pointer : NULL;
    memcpy(fresh, pointer, had < nbytes ? had : nbytes);
    arena_free(arena, pointer);
    return fresh;
}

/* What an interposed malloc asks */

static void *hook_malloc(void *arena, size_t nbytes, size_t align, int zeroed) {
    return arena_malloc(arena, nbytes, align, zeroed != 0);
}

static int hook_free(void *arena, void *pointer) { return arena_free(arena, pointer); }

static void *usual_malloc(void *context, size_t nbytes) {
    void *(*usual)(size_t);
    memcpy(&usual, context, sizeof usual);
    return usual(nbytes);
}

static void *hook_realloc(
    void *arena, void *pointer, size_t nbytes, size_t threshold, void *(*usual)(size_t)
) {
    struct other other = {&usual, usual_malloc};
    return arena_realloc(arena, pointer, nbytes, threshold, &other);
}

static size_t hook_usable(void *arena, void *pointer) { return arena_usable(arena, pointer); }

const struct hooks *snakepit_hooks(struct arena *arena, size_t threshold) {
    /* One process has one malloc; and the hooks stay true when the arena is gone, since it says so itself. */
    static struct hooks hooks;
    hooks = (struct hooks){
        .low = (uintptr_t)arena->base,
        .high = (uintptr_t)arena->base + arena->nbytes,
        .threshold = threshold,
        .arena = arena,
        .malloc = hook_malloc,
        .free = hook_free,
        .realloc = hook_realloc,
        .usable = hook_usable,
    };
    return &hooks;
}
