#define _GNU_SOURCE
#include "forks.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MOST = 64 };

/* A child holds the writing end of a pipe, which its exec and its end close; we hold the reading end. */
static struct pollfd children[MOST];
static uint64_t forked_at[MOST];
static int alive;
/* The youngest generation that a child sees of whom nobody will tell that it has ended. */
static uint64_t for_ever;
/* The youngest generation that any child sees; 0 for none. */
static _Atomic uint64_t seen;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct arena *arenas;
static pthread_mutex_t arenas_lock = PTHREAD_MUTEX_INITIALIZER;
static bool watching;

/* From prepare to parent or child: the pipe of this fork, or -1; and whether there is anything to see. */
static int ends[2];
static bool shows;

bool forks_see(uint64_t generation) {
    uint64_t youngest = atomic_load_explicit(&seen, memory_order_acquire);
    return youngest > 0 && generation <= youngest;
}

static void note_youngest(void) {
    uint64_t youngest = for_ever;
    for (int i = 0; i < alive; i++)
        if (forked_at[i] > youngest)
            youngest = forked_at[i];
    atomic_store_explicit(&seen, youngest, memory_order_release);
}

void forks_reap(void) {
    pthread_mutex_lock(&lock);
    int error = errno;
    if (alive > 0 && poll(children, (nfds_t)alive, 0) > 0) {
        for (int i = alive - 1; i >= 0; i--) {
            if (children[i].revents == 0)
                continue;
            close(children[i].fd);
            alive--;
            children[i] = children[alive];
            forked_at[i] = forked_at[alive];
        }
        note_youngest();
    }
    errno = error;
    pthread_mutex_unlock(&lock);
}

static void prepare(void) {
    pthread_mutex_lock(&arenas_lock);
    shows = false;
    for (struct arena *arena = arenas; arena != NULL; arena = arena->next) {
        pthread_mutex_lock(&arena->lock);
        if (!arena->off && arena->pieces.count[LIVE] + arena->pieces.count[KEPT] > 0)
            shows = true;
    }
    forks_reap();
    pthread_mutex_lock(&lock);
    ends[0] = ends[1] = -1;
    if (shows && alive < MOST && pipe2(ends, O_CLOEXEC) != 0)
        ends[0] = ends[1] = -1;
}

static void in_parent(void) {
    if (shows) {
        if (ends[0] >= 0) {
            close(ends[1]);
            children[alive] = (struct pollfd){.fd = ends[0]};
            forked_at[alive++] = arena_generations();
        } else {
            for_ever = arena_generations();
        }
        note_youngest();
    }
    pthread_mutex_unlock(&lock);
    for (struct arena *arena = arenas; arena != NULL; arena = arena->next)
        pthread_mutex_unlock(&arena->lock);
    pthread_mutex_unlock(&arenas_lock);
}

static void shield(struct arena *arena) {
    int flags = MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE;
    if (mmap(arena->base, arena->nbytes, PROT_READ | PROT_WRITE, flags, arena->fd, 0) != MAP_FAILED)
        return;
    /* Better a child that fails at its next write than one that writes into its parent's arrays. */
    mprotect(arena->base, arena->nbytes, PROT_READ);
}

static void in_child(void) {
    for (int i = 0; i < alive; i++)
        close(children[i].fd);
    if (ends[0] >= 0)
        close(ends[0]);
    alive = 0;
    for_ever = 0;
    atomic_store(&seen, 0);
    for (struct arena *arena = arenas; arena != NULL; arena = arena->next) {
        if (!arena->off && !arena->unmapped)
            shield(arena);
        arena->off = true;
        arena->filling = false;
        pthread_mutex_init(&arena->lock, NULL);
    }
    pthread_mutex_init(&lock, NULL);
    pthread_mutex_init(&arenas_lock, NULL);
}

bool forks_watch(struct arena *arena) {
    pthread_mutex_lock(&arenas_lock);
    if (!watching)
        watching = pthread_atfork(prepare, in_parent, in_child) == 0;
    if (watching) {
        arena->next = arenas;
        arenas = arena;
    }
    pthread_mutex_unlock(&arenas_lock);
    return watching;
}
