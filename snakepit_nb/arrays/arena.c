#define _GNU_SOURCE
#include "arena.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "forks.h"

/* One count for all arenas, so that a fork can be placed between two blocks by one number. */
static _Atomic uint64_t generations = 0;

/* How often a nearly full arena is looked through, while others move its pages. */
enum { TRIES = 8 };

/* After so much more free memory it is asked again how much of it the machine can spare. */
static const uint64_t MEASURE = (uint64_t)32 << 20;

/* Blocks from here on are worth a thread that prepares memory for the next ones. */
static const uint64_t LARGE = 1 << 20;

uint64_t arena_generations(void) { return atomic_load(&generations); }

/* Memory that must be had */

static char *map_aligned(int fd, uint64_t nbytes) {
    /* Huge pages need an address that fits them: reserve more, map inside, and give the rest back. */
    uint64_t room = nbytes + HUGE_PAGE;
    char *place = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (place == MAP_FAILED)
        return NULL;
    char *base = (char *)round_up((uintptr_t)place, HUGE_PAGE);
    if (base > place)
        munmap(place, (size_t)(base - place));
    if (place + room > base + nbytes)
        munmap(base + nbytes, (size_t)(place + room - (base + nbytes)));
    int flags = MAP_SHARED | MAP_FIXED | MAP_NORESERVE;
    if (mmap(base, nbytes, PROT_READ | PROT_WRITE, flags, fd, 0) != MAP_FAILED)
        return base;
    int error = errno;
    munmap(base, nbytes);
    errno = error;
    return NULL;
}

struct arena *snakepit_open(int fd, uint64_t nbytes, uint64_t budget, uint64_t warm_limit, int flags) {
    struct arena *arena =
        mmap(NULL, sizeof *arena, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (arena == MAP_FAILED)
        return NULL;
    arena->page = (uint64_t)sysconf(_SC_PAGESIZE);
    arena->fd = fd;
    arena->flags = flags;
    arena->nbytes = nbytes;
    arena->budget = budget;
    arena->warm_limit = warm_limit;
    arena->left = UINT64_MAX;
    arena->idle_seconds = 300;
    arena->no_reserve = (flags & NO_RESERVE) != 0;
    pthread_mutex_init(&arena->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&arena->wanted, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_cond_init(&arena->settled, NULL);
    arena->base = map_aligned(fd, nbytes);
    if (arena->base == NULL || !pieces_start(&arena->pieces, nbytes) || !forks_watch(arena)) {
        int error = errno;
        if (arena->base != NULL)
            munmap(arena->base, nbytes);
        pieces_end(&arena->pieces);
        munmap(arena, sizeof *arena);
        errno = error;
        return NULL;
    }
    if (flags & HUGE_PAGES)
        madvise(arena->base, nbytes, MADV_HUGEPAGE);
    return arena;
}

void *snakepit_address(const struct arena *arena) { return arena->base; }

/* Pages that are given back */

void arena_let_go(struct arena *arena) {
    arena->busy++;
    pthread_mutex_unlock(&arena->lock);
}

void arena_take_up(struct arena *arena) {
    pthread_mutex_lock(&arena->lock);
    arena->busy--;
    pthread_cond_broadcast(&arena->settled);
}

bool arena_cool(struct arena *arena, struct piece *piece) {
    char *address = arena->base + piece->offset;
    arena_let_go(arena);
    int error = errno;
    bool gone = madvise(address, piece->nbytes, MADV_REMOVE) == 0;
    errno = error; /* free() must not change it */
    arena_take_up(arena);
    piece_leave(&arena->pieces, piece);
    /* What cannot be given back stays warm: only what was given back reads as zeros. */
    piece->state = gone ? COLD : WARM;
    piece_settle(&arena->pieces, piece);
    return gone;
}

static uint64_t over_the_limits(const struct arena *arena) {
    const uint64_t *nbytes = arena->pieces.nbytes;
    uint64_t idle = nbytes[WARM] + nbytes[READY];
    uint64_t taken = idle + nbytes[LIVE] + nbytes[KEPT];
    uint64_t limit = arena->left < arena->warm_limit ? arena->left : arena->warm_limit;
    uint64_t over = idle > limit ? idle - limit : 0;
    if (taken > arena->budget && taken - arena->budget > over)
        over = taken - arena->budget;
    return over < idle ? over : idle;
}

void arena_trim_by(struct arena *arena, uint64_t over) {
    struct pieces *all = &arena->pieces;
    while (over > 0) {
        struct piece *piece = pieces_largest(all, READY);
        if (piece == NULL)
            piece = all->oldest;
        if (piece == NULL)
            return;
        uint64_t enough = round_up(over, arena->page);
        piece_leave(all, piece);
        if (piece->nbytes > enough && pieces_ready_to_split(all, 1)) {
            struct piece *rest = piece_split(all, piece, piece_end(piece) - enough);
            piece_enter(all, piece);
            piece = rest;
        }
        over -= piece->nbytes < over ? piece->nbytes : over;
        piece->state = BUSY;
        piece_enter(all, piece);
        if (!arena_cool(arena, piece))
            return;
    }
}

void arena_trim(struct arena *arena) {
    if (arena->closed)
        return;
    for (uint64_t over; !arena->off && (over = over_the_limits(arena)) > 0;) {
        uint64_t before = arena->pieces.nbytes[COLD];
        arena_trim_by(arena, over);
        if (arena->pieces.nbytes[COLD] <= before)
            return;
    }
}

void snakepit_trim(struct arena *arena) {
    pthread_mutex_lock(&arena->lock);
    if (!arena->off && !arena->closed)
        arena_trim_by(arena, arena->pieces.nbytes[WARM] + arena->pieces.nbytes[READY]);
    pthread_mutex_unlock(&arena->lock);
}

/* Blocks */

/* Of free memory no more stays here than the machine has left beside it. */
static void measure(struct arena *arena) {
    uint64_t idle = arena->pieces.nbytes[WARM] + arena->pieces.nbytes[READY];
    if (idle <= arena->left_when + MEASURE && idle <= arena->left) {
        arena->left_when = idle < arena->left_when ? idle : arena->left_when;
        return;
    }
    arena->left_when = idle;
    arena_let_go(arena);
    int error = errno;
    uint64_t left = arena_memory_left();
    errno = error;
    arena_take_up(arena);
    arena->left = left;
}

void arena_release(struct arena *arena, struct piece *piece) {
    piece_leave(&arena->pieces, piece);
    if (!arena->closed && forks_see(piece->generation)) {
        piece->state = KEPT;
        piece_enter(&arena->pieces, piece);
        return;
    }
    piece->state = WARM;
    piece_settle(&arena->pieces, piece);
    measure(arena);
    arena_trim(arena);
    arena_end_if_done(arena);
}

/* Frees what was kept for children of forks that have ended since. */
static void release_kept(struct arena *arena) {
    if (arena->off || arena->closed || !forks_see(0))
        return;
    forks_reap();
    struct piece *piece = arena->pieces.kept;
    while (piece != NULL) {
        if (forks_see(piece->generation)) {
            piece = piece->older;
            continue;
        }
        piece_leave(&arena->pieces, piece);
        piece->state = WARM;
        piece_settle(&arena->pieces, piece);
        piece = arena->pieces.kept;
    }
    arena_trim(arena);
}

static struct piece *place(struct arena *arena, uint64_t need, uint64_t align, bool zeroed, uint64_t *start) {
    struct pieces *all = &arena->pieces;
    struct piece *piece = pieces_fit(all, zeroed ? READY : WARM, need, align, start);
    if (piece == NULL)
        piece = pieces_fit(all, zeroed ? WARM : READY, need, align, start);
    if (piece == NULL)
        piece = pieces_run(all, need, align, start);
    if (piece == NULL)
        piece = pieces_fit(all, COLD, need, align, start);
    return piece;
}

struct piece *arena_take(
    struct arena *arena, uint64_t nbytes, uint64_t align, bool zeroed, uint64_t *dirty_low, uint64_t *dirty_high
) {
    struct pieces *all = &arena->pieces;
    if (arena->off || arena->closed || nbytes > arena->nbytes)
        return NULL;
    uint64_t need = round_up(nbytes > 0 ? nbytes : 1, arena->page);
    if (align > HUGE_PAGE)
        return NULL;
    uint64_t least = align > arena->page ? align : arena->page;
    align = need >= HUGE_PAGE ? HUGE_PAGE : least;
    release_kept(arena);
    if (all->nbytes[LIVE] + all->nbytes[KEPT] + need > arena->budget || !pieces_ready_to_split(all, 2))
        return NULL;
    uint64_t start;
    struct piece *piece = place(arena, need, align, zeroed, &start);
    /* An arena that is nearly full: better a block that no huge page fits than none. */
    if (piece == NULL && align > least)
        piece = place(arena, need, align = least, zeroed, &start);
    for (int tries = 0; piece == NULL && tries < TRIES; tries++) {
        /* What is free lies in pieces of several temperatures, or on its way: as one it may be long enough. */
        if (all->nbytes[WARM] + all->nbytes[READY] > 0)
            arena_trim_by(arena, all->nbytes[WARM] + all->nbytes[READY]);
        else if (arena->busy > 0)
            pthread_cond_wait(&arena->settled, &arena->lock);
        else
            return NULL;
        if (arena->off || arena->closed || !pieces_ready_to_split(all, 2))
            return NULL;
        piece = place(arena, need, align, zeroed, &start);
    }
    /* Meanwhile another thread may have taken what there was. */
    if (piece == NULL || all->nbytes[LIVE] + all->nbytes[KEPT] + need > arena->budget)
        return NULL;
    uint64_t warm = all->nbytes[WARM], ready = all->nbytes[READY];
    piece = pieces_carve(all, piece, start, start + need, dirty_low, dirty_high);
    piece->state = LIVE;
    piece->generation = atomic_fetch_add(&generations, 1) + 1;
    piece->leases = 1; /* so that it stays, whatever happens, until the caller has made it his */
    piece->born = false;
    piece_enter(all, piece);
    warm -= all->nbytes[WARM];
    ready -= all->nbytes[READY];
    arena->allocations++;
    *(warm >= need ? &arena->warm_hits : ready >= need ? &arena->reserve_hits : &arena->cold_hits) += 1;
    arena->activity++;
    arena->demand += need - warm;
    if (warm < need && need >= LARGE)
        arena_want(arena);
    arena_trim(arena);
    if (!(arena->flags & LIMITED))
        return piece;
    char *address = arena->base + piece->offset;
    arena_let_go(arena);
    /* Without this the first write to a page that cannot be had would be a SIGBUS. */
    bool had = posix_fallocate(arena->fd, address - arena->base, (off_t)need) == 0;
    arena_take_up(arena);
    if (had)
        return piece;
    piece->leases = 0;
    piece_leave(all, piece);
    piece->state = BUSY;
    piece_enter(all, piece);
    arena_cool(arena, piece);
    return NULL;
}

static void tell(const struct piece *piece, struct block *out) {
    *out = (struct block){piece->offset, piece->nbytes, piece->generation};
}

static struct piece *of_life(const struct arena *arena, uint64_t offset, uint64_t generation) {
    struct piece *piece = arena->off ? NULL : pieces_at(&arena->pieces, offset);
    return piece != NULL && piece->offset == offset && piece->generation == generation ? piece : NULL;
}

int snakepit_allocate(struct arena *arena, uint64_t nbytes, struct block *out) {
    uint64_t low, high;
    pthread_mutex_lock(&arena->lock);
    struct piece *piece = arena_take(arena, nbytes, 0, false, &low, &high);
    if (piece != NULL)
        tell(piece, out);
    pthread_mutex_unlock(&arena->lock);
    return piece != NULL;
}

int snakepit_hold(struct arena *arena, uint64_t offset, uint64_t generation, struct block *out) {
    pthread_mutex_lock(&arena->lock);
    struct piece *piece = of_life(arena, offset, generation);
    if (piece != NULL) {
        piece->leases++;
        tell(piece, out);
    }
    pthread_mutex_unlock(&arena->lock);
    return piece != NULL;
}

int snakepit_find(struct arena *arena, uint64_t address, uint64_t nbytes, struct block *out) {
    pthread_mutex_lock(&arena->lock);
    struct piece *piece = NULL;
    if (arena_owns(arena, (void *)(uintptr_t)address) && !arena->off && !arena->closed) {
        uint64_t offset = address - (uintptr_t)arena->base;
        piece = pieces_at(&arena->pieces, offset);
        if (piece != NULL && nbytes > piece_end(piece) - offset)
            piece = NULL;
    }
    if (piece != NULL) {
        piece->leases++;
        tell(piece, out);
    }
    pthread_mutex_unlock(&arena->lock);
    return piece != NULL;
}

int snakepit_free(struct arena *arena, uint64_t offset, uint64_t generation) {
    pthread_mutex_lock(&arena->lock);
    struct piece *piece = of_life(arena, offset, generation);
    /* A lease too many cannot end the hold of whoever has the pointer. */
    bool held = piece != NULL && piece->leases > 0;
    if (held) {
        piece->leases--;
        if (!in_use(piece))
            arena_release(arena, piece);
    }
    pthread_mutex_unlock(&arena->lock);
    return held;
}

uint64_t snakepit_holders(struct arena *arena, uint64_t offset, uint64_t generation) {
    pthread_mutex_lock(&arena->lock);
    const struct piece *piece = of_life(arena, offset, generation);
    uint64_t count = piece != NULL ? piece->leases + (piece->born ? 1u : 0u) : 0;
    pthread_mutex_unlock(&arena->lock);
    return count;
}

void snakepit_stats(struct arena *arena, struct stats *out) {
    pthread_mutex_lock(&arena->lock);
    release_kept(arena);
    const struct pieces *all = &arena->pieces;
    *out = (struct stats){
        .live_bytes = all->nbytes[LIVE],
        .warm_bytes = all->nbytes[WARM],
        .reserve_bytes = all->nbytes[READY],
        .kept_bytes = all->nbytes[KEPT],
        .blocks = all->count[LIVE],
        .allocations = arena->allocations,
        .warm_hits = arena->warm_hits,
        .reserve_hits = arena->reserve_hits,
        .cold_hits = arena->cold_hits,
        .fallbacks = atomic_load(&arena->fallbacks),
    };
    arena_end_if_done(arena);
    pthread_mutex_unlock(&arena->lock);
}

/* The end */

void arena_end_if_done(struct arena *arena) {
    if (!arena->closed || arena->unmapped || arena->off || arena->busy > 0 || arena->filling)
        return;
    if (arena->pieces.count[LIVE] > 0)
        return;
    arena->unmapped = true;
    munmap(arena->base, arena->nbytes);
    close(arena->fd);
    pieces_end(&arena->pieces);
}

void snakepit_close(struct arena *arena) {
    pthread_mutex_lock(&arena->lock);
    forks_reap();
    if (!arena->closed && !arena->off) {
        struct pieces *all = &arena->pieces;
        if (all->count[LIVE] > 0)
            arena_trim_by(arena, all->nbytes[WARM] + all->nbytes[READY]);
        arena->closed = true;
        /* From here on no pages are taken away: peers, and children of forks, may still read any of them. */
        for (struct piece *piece = all->first; piece != NULL; piece = piece->after) {
            if (piece->state != LIVE)
                continue;
            piece->leases = 0;
            if (piece->born)
                continue;
            piece_leave(all, piece);
            piece->state = WARM;
            piece = piece_settle(all, piece);
        }
    }
    pthread_cond_broadcast(&arena->wanted);
    while (arena->filling && !arena->off)
        pthread_cond_wait(&arena->wanted, &arena->lock);
    arena_end_if_done(arena);
    pthread_mutex_unlock(&arena->lock);
}
