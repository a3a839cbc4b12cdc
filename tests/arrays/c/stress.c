/* Threads that take, fill, resize, share and free blocks at random, each checked against what it wrote.
 *
 * Every block holds a number of its own in each of its words; a block that overlaps another, moves without its
 * content, is not zeroed when it should be, or is used again while somebody holds it, shows a wrong one.
 *
 * usage: stress SEED ROUNDS THREADS [MEGABYTES]
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arena.h"

enum { HELD = 24, THRESHOLD = 8192 };

#define CHECK(condition)                                                          \
    do {                                                                          \
        if (!(condition)) {                                                       \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                              \
        }                                                                         \
    } while (0)

static struct arena *arena;
static int rounds;

struct held {
    unsigned char *pointer;
    size_t nbytes;
    uint64_t mark;
    struct block lease;
    int leased, born;
};

/* The pieces cover the arena, each is counted where it belongs, and neighbours of one temperature are joined. */
static void check_pieces(void) {
    struct pieces *all = &arena->pieces;
    uint64_t at = 0, nbytes[STATES] = {0}, count[STATES] = {0};
    for (struct piece *piece = all->first; piece != NULL; piece = piece->after) {
        CHECK(piece->offset == at && piece->nbytes > 0 && piece->nbytes % arena->page == 0);
        CHECK(piece->after == NULL || piece->after->before == piece);
        CHECK(piece->after == NULL || !is_free(piece) || piece->after->state != piece->state);
        uint64_t start;
        CHECK(!is_free(piece) || pieces_fit(all, piece->state, piece->nbytes, arena->page, &start) != NULL);
        CHECK(piece->state != LIVE || pieces_at(all, piece_end(piece) - 1) == piece);
        at += piece->nbytes;
        nbytes[piece->state] += piece->nbytes;
        count[piece->state]++;
    }
    CHECK(at == arena->nbytes);
    for (int state = 0; state < STATES; state++)
        CHECK(nbytes[state] == all->nbytes[state] && count[state] == all->count[state]);
}

static uint64_t next(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void fill(struct held *held, size_t from) {
    for (size_t i = from / 8; i < held->nbytes / 8; i++)
        ((uint64_t *)(void *)held->pointer)[i] = held->mark + i;
}

static void look(const struct held *held, size_t nbytes) {
    for (size_t i = 0; i < nbytes / 8; i++)
        CHECK(((const uint64_t *)(const void *)held->pointer)[i] == held->mark + i);
}

static void *usual(void *context, size_t nbytes) {
    (void)context;
    return malloc(nbytes);
}

static void let_go(struct held *held) {
    look(held, held->nbytes);
    if (held->born && !arena_free(arena, held->pointer))
        free(held->pointer);
    if (held->leased) {
        look(held, held->nbytes);
        CHECK(snakepit_free(arena, held->lease.offset, held->lease.generation));
    }
    *held = (struct held){0};
}

static void take(struct held *held, uint64_t *random) {
    size_t nbytes = 8 + next(random) % (next(random) % 8 ? 40000 : 3000000);
    uint64_t how = next(random) % 8;
    held->mark = next(random);
    held->nbytes = nbytes & ~(size_t)7;
    if (how == 0) {
        if (snakepit_allocate(arena, nbytes, &held->lease)) {
            held->leased = 1;
            held->pointer = (unsigned char *)snakepit_address(arena) + held->lease.offset;
        }
    } else {
        size_t align = (size_t)1 << (next(random) % 22);
        held->pointer = arena_malloc(arena, nbytes, align, how < 4);
        held->born = 1;
        if (held->pointer == NULL) {
            held->pointer = how < 4 ? calloc(1, nbytes) : malloc(nbytes);
        } else {
            CHECK((uintptr_t)held->pointer % align == 0);
        }
        for (size_t i = 0; how < 4 && i < held->nbytes / 8; i++)
            CHECK(((uint64_t *)(void *)held->pointer)[i] == 0);
    }
    if (held->pointer == NULL)
        *held = (struct held){0};
    else
        fill(held, 0);
}

static void resize(struct held *held, uint64_t *random) {
    size_t nbytes = (8 + next(random) % (next(random) % 4 ? 60000 : 2000000)) & ~(size_t)7;
    if (!held->born || !arena_owns(arena, held->pointer) || arena_usable(arena, held->pointer) == 0)
        return;
    struct other other = {NULL, usual};
    unsigned char *before = held->pointer;
    unsigned char *moved = arena_realloc(arena, before, nbytes, THRESHOLD, &other);
    CHECK(moved != NULL);
    if (held->leased) {
        /* Whoever was lent it still reads what was there. */
        CHECK(moved != before || (nbytes + 4095) / 4096 == (held->nbytes + 4095) / 4096);
        if (moved != before) {
            look(held, held->nbytes);
            CHECK(snakepit_free(arena, held->lease.offset, held->lease.generation));
            held->leased = 0;
        }
    }
    held->pointer = moved;
    size_t kept = nbytes < held->nbytes ? nbytes : held->nbytes;
    held->nbytes = nbytes;
    look(held, kept);
    fill(held, kept);
}

static void share(struct held *held, uint64_t *random) {
    if (held->leased || !arena_owns(arena, held->pointer))
        return;
    size_t into = next(random) % held->nbytes;
    if (!snakepit_find(arena, (uintptr_t)held->pointer + into, held->nbytes - into, &held->lease))
        CHECK(!"a block of the arena is not found");
    CHECK((unsigned char *)snakepit_address(arena) + held->lease.offset == held->pointer);
    CHECK(snakepit_holders(arena, held->lease.offset, held->lease.generation) == 2);
    held->leased = 1;
}

static void *run(void *argument) {
    uint64_t random = (uint64_t)(uintptr_t)argument * 0x9e3779b97f4a7c15u + 1;
    struct held held[HELD] = {{0}};
    for (int round = 0; round < rounds; round++) {
        struct held *one = &held[next(&random) % HELD];
        if (one->pointer == NULL) {
            take(one, &random);
            continue;
        }
        switch (next(&random) % 6) {
        case 0:
        case 1:
            resize(one, &random);
            break;
        case 2:
            share(one, &random);
            break;
        case 3:
            look(one, one->nbytes);
            break;
        default:
            let_go(one);
        }
        if (next(&random) % 512 == 0)
            snakepit_trim(arena);
        if (next(&random) % 64 == 0) {
            pthread_mutex_lock(&arena->lock);
            check_pieces();
            pthread_mutex_unlock(&arena->lock);
        }
    }
    for (int i = 0; i < HELD; i++)
        if (held[i].pointer != NULL)
            let_go(&held[i]);
    return NULL;
}

/* A child of a fork reads what was there, can write and compute, and its parent sees nothing of it. */
static void check_fork(void) {
    uint64_t *numbers = arena_malloc(arena, 1 << 20, 0, true);
    CHECK(numbers != NULL);
    numbers[0] = 7;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        int good = numbers[0] == 7;
        numbers[0] = 8;
        good = good && numbers[0] == 8 && arena_malloc(arena, 1 << 20, 0, false) == NULL;
        good = good && arena_free(arena, numbers);
        _exit(good ? 0 : 1);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(numbers[0] == 7);
    arena_free(arena, numbers);
}

/* What the machine has left, for the arena that asks: the linker puts this in the place of the real one. */
static uint64_t left = UINT64_MAX;
uint64_t __wrap_arena_memory_left(void);
uint64_t __wrap_arena_memory_left(void) { return left; }

static uint64_t idle_after_blocks(struct arena *of, uint64_t nbytes) {
    enum { BLOCKS = 4 };
    struct block blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++)
        CHECK(snakepit_allocate(of, nbytes, &blocks[i]));
    for (int i = 0; i < BLOCKS; i++)
        CHECK(snakepit_free(of, blocks[i].offset, blocks[i].generation));
    return of->pieces.nbytes[WARM];
}

/* Free memory goes back to a machine that has little, and stays again when that has more. */
static void check_scarce(void) {
    const uint64_t mib = 1 << 20, nbytes = 512 * mib;
    int fd = memfd_create("scarce", MFD_CLOEXEC);
    CHECK(fd >= 0 && ftruncate(fd, (off_t)nbytes) == 0);
    struct arena *scarce = snakepit_open(fd, nbytes, nbytes, nbytes, NO_RESERVE);
    CHECK(scarce != NULL);
    CHECK(idle_after_blocks(scarce, 40 * mib) == 160 * mib);
    left = 50 * mib;
    CHECK(idle_after_blocks(scarce, 50 * mib) == 50 * mib);
    left = 2 * mib;
    CHECK(idle_after_blocks(scarce, 20 * mib) == 2 * mib);
    left = 7 * mib;
    CHECK(idle_after_blocks(scarce, 2 * mib) == 7 * mib);
    left = UINT64_MAX;
    CHECK(idle_after_blocks(scarce, 40 * mib) == 160 * mib);
    snakepit_close(scarce);
}

int main(int argc, char **argv) {
    CHECK(argc >= 4);
    uint64_t seed = strtoull(argv[1], NULL, 10);
    rounds = atoi(argv[2]);
    int threads = atoi(argv[3]);
    uint64_t nbytes = (uint64_t)(argc > 4 ? atoi(argv[4]) : 64) << 20;
    int fd = memfd_create("stress", MFD_CLOEXEC);
    CHECK(fd >= 0 && ftruncate(fd, (off_t)nbytes) == 0);
    arena = snakepit_open(fd, nbytes, nbytes * 3 / 4, nbytes / 8, 0);
    CHECK(arena != NULL);
    pthread_t running[64];
    for (int i = 0; i < threads; i++)
        CHECK(pthread_create(&running[i], NULL, run, (void *)(uintptr_t)(seed * 64 + (uint64_t)i)) == 0);
    for (int i = 0; i < threads; i++)
        pthread_join(running[i], NULL);
    check_fork();
    struct stats stats;
    snakepit_stats(arena, &stats);
    CHECK(stats.live_bytes == 0 && stats.blocks == 0 && stats.kept_bytes == 0);
    CHECK(stats.warm_bytes + stats.reserve_bytes <= nbytes / 8);
    snakepit_trim(arena);
    void *whole = arena_malloc(arena, nbytes * 3 / 4, 0, false);
    CHECK(whole != NULL);
    arena_free(arena, whole);
    printf("%lu blocks: %lu warm, %lu reserve, %lu cold, %lu elsewhere\n", (unsigned long)stats.allocations,
           (unsigned long)stats.warm_hits, (unsigned long)stats.reserve_hits, (unsigned long)stats.cold_hits,
           (unsigned long)stats.fallbacks);
    snakepit_close(arena);
    CHECK(arena->unmapped);
    check_scarce();
    return 0;
}
