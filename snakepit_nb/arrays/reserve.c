/* The reserve: pages that a thread of low priority prepares before they are wanted.
 *
 * The first touch of a page of shared memory costs several times that of an anonymous one, and it is paid while
 * the user waits. Here it is paid before, for as much as was lately wanted and was not there.
 *
 * Rule: the reserve is part of what `warm_limit` allows, and a quarter at most of the memory that is free.
 * Rule: the thread starts with the first large block and sleeps without waking; when nothing was allocated for long,
 * it gives back all free memory and ends.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "arena.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* Short enough that whoever wants memory, or an end, need not wait for one. */
static const uint64_t PORTION = (uint64_t)4 << 20;
static const int NICE = 10;

/* The number behind a word in a small file, times `unit`; the largest number where there is none. */
static uint64_t number_in(const char *path, const char *word, uint64_t unit) {
    char text[4096];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return UINT64_MAX;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    if (length <= 0)
        return UINT64_MAX;
    text[length] = '\0';
    char *found = strstr(text, word), *end;
    if (found == NULL)
        return UINT64_MAX;
    found += strlen(word);
    uint64_t number = strtoull(found, &end, 10);
    return end == found || number > UINT64_MAX / unit ? UINT64_MAX : number * unit;
}

uint64_t arena_memory_left(void) {
    uint64_t most = number_in("/proc/meminfo", "MemAvailable:", 1024);
    static const char *const groups[][2] = {
        {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"},
        {"/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"},
    };
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        uint64_t limit = number_in(groups[i][0], "", 1), used = number_in(groups[i][1], "", 1);
        if (limit == UINT64_MAX || used == UINT64_MAX)
            continue;
        uint64_t left = limit > used ? limit - used : 0;
        most = left < most ? left : most;
    }
    return most;
}

/* A portion of cold memory, best beside what is ready already, so that it is one piece for one large block. */
static struct piece *portion(struct arena *arena, uint64_t target) {
    struct pieces *all = &arena->pieces;
    uint64_t start = 0, length = PORTION, low, high;
    struct piece *ready = pieces_largest(all, READY), *piece = NULL;
    if (ready != NULL && ready->after != NULL && ready->after->state == COLD) {
        piece = ready->after;
        start = piece->offset;
        length = piece->nbytes < length ? piece->nbytes : length;
    }
    if (piece == NULL)
        piece = pieces_fit(all, COLD, round_up(target, arena->page), HUGE_PAGE, &start);
    if (piece == NULL)
        piece = pieces_fit(all, COLD, PORTION, arena->page, &start);
    if (piece == NULL)
        return NULL;
    length = piece_end(piece) - start < length ? piece_end(piece) - start : length;
    uint64_t taken = all->nbytes[LIVE] + all->nbytes[KEPT] + all->nbytes[WARM] + all->nbytes[READY];
    if (taken + length > arena->budget || !pieces_ready_to_split(all, 2))
        return NULL;
    piece = pieces_carve(all, piece, start, start + length, &low, &high);
    piece->state = BUSY;
    piece_enter(all, piece);
    return piece;
}

/* False where no more can or should be made ready. */
static bool fill(struct arena *arena, uint64_t target) {
    struct pieces *all = &arena->pieces;
    if (arena->closed || arena->off || all->nbytes[WARM] + all->nbytes[READY] + PORTION > target)
        return false;
    struct piece *piece = portion(arena, target - all->nbytes[WARM] - all->nbytes[READY]);
    if (piece == NULL)
        return false;
    arena_let_go(arena);
    int failed = madvise(arena->base + piece->offset, piece->nbytes, MADV_POPULATE_WRITE) == 0 ? 0 : errno;
    arena_take_up(arena);
    if (failed) {
        arena->no_reserve = arena->no_reserve || failed == EINVAL;
        arena_cool(arena, piece);
        return false;
    }
    piece_leave(all, piece);
    piece->state = READY;
    piece_settle(all, piece);
    return true;
}

static bool wait_for_demand(struct arena *arena) {
    while (arena->demand < PORTION && !arena->closed && !arena->no_reserve) {
        uint64_t activity = arena->activity;
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += arena->idle_seconds;
        int result = pthread_cond_timedwait(&arena->wanted, &arena->lock, &until);
        if (result == ETIMEDOUT && arena->activity == activity)
            return false;
    }
    return !arena->closed && !arena->no_reserve;
}

static void *serve(void *argument) {
    struct arena *arena = argument;
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE);
    pthread_mutex_lock(&arena->lock);
    while (wait_for_demand(arena)) {
        uint64_t target = arena->demand < arena->warm_limit ? arena->demand : arena->warm_limit;
        arena->demand = 0;
        pthread_mutex_unlock(&arena->lock);
        uint64_t most = arena_memory_left() / 4;
        pthread_mutex_lock(&arena->lock);
        target = most < target ? most : target;
        while (fill(arena, target))
            continue;
    }
    if (!arena->no_reserve && !arena->closed)
        arena_trim_by(arena, arena->pieces.nbytes[WARM] + arena->pieces.nbytes[READY]);
    arena->filling = false;
    pthread_cond_broadcast(&arena->wanted);
    arena_end_if_done(arena);
    pthread_mutex_unlock(&arena->lock);
    return NULL;
}

void arena_want(struct arena *arena) {
    if (arena->no_reserve || arena->warm_limit < PORTION)
        return;
    if (arena->filling) {
        pthread_cond_signal(&arena->wanted);
        return;
    }
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, (size_t)256 << 10);
    /* Signals are for threads that know what to do with them. */
    sigset_t none, all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &none);
    arena->filling = pthread_create(&thread, &attributes, serve, arena) == 0;
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    pthread_attr_destroy(&attributes);
    arena->no_reserve = arena->no_reserve || !arena->filling;
}
