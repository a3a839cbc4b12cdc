/* The pieces that tile an arena: who is next to whom, and which are free, at what temperature.
 *
 * Rule: the pieces cover the arena without gap or overlap, in the order of `before` and `after`.
 * Rule: a piece is in the tree of its state, and only there; BUSY and KEPT pieces are in none.
 * Rule: nothing here takes a lock or touches the arena's own pages.
 */
#ifndef SNAKEPIT_PIECES_H
#define SNAKEPIT_PIECES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum state {
    COLD,  /* free, without pages: reads as zeros */
    READY, /* free, with pages that are zeros */
    WARM,  /* free, with pages that hold something old */
    LIVE,  /* a block */
    KEPT,  /* was a block; a child of a fork may still read it */
    BUSY,  /* between two states, while its pages come or go */
    STATES
};

struct piece {
    uint64_t offset, nbytes;
    uint64_t generation;
    struct piece *before, *after; /* neighbours */
    struct piece *left, *right;   /* in the tree: LIVE by offset, free ones by size and then offset */
    struct piece *older, *newer;  /* among WARM pieces by age; among KEPT ones without order */
    uint32_t priority;
    uint32_t leases;
    uint8_t state;
    bool born; /* held by whoever got its pointer, beside the leases */
};

struct pieces {
    struct piece *first; /* for ever: of two pieces that join, the lower one stays */
    struct piece *tree[LIVE + 1];
    struct piece *oldest, *newest; /* WARM */
    struct piece *kept;
    uint64_t nbytes[STATES];
    uint64_t count[STATES];
    struct piece *spare;
    void *slabs;
    uint32_t random;
};

/* False where there is no memory for it. */
bool pieces_start(struct pieces *all, uint64_t nbytes);
void pieces_end(struct pieces *all);

/* Makes sure that the next `count` splits find their nodes; false where there is no memory for them. */
bool pieces_ready_to_split(struct pieces *all, int count);

/* Cuts a piece that is in no tree; the new one begins at `at`, has the same state and is in no tree. */
struct piece *piece_split(struct pieces *all, struct piece *piece, uint64_t at);

/* Makes the next neighbour part of a piece; neither is in a tree. */
void piece_absorb(struct pieces *all, struct piece *piece);

/* Puts a piece into the books of its state, and takes it out of them. */
void piece_enter(struct pieces *all, struct piece *piece);
void piece_leave(struct pieces *all, struct piece *piece);

/* Enters a free piece and joins it with free neighbours of the same temperature. */
struct piece *piece_settle(struct pieces *all, struct piece *piece);

/* Makes one piece, in no tree, of `[start, end)`, which free neighbours from `first` on cover. Needs two splits.
 * `*dirty_low` and `*dirty_high` bound the part that does not read as zeros. */
struct piece *pieces_carve(
    struct pieces *all, struct piece *first, uint64_t start, uint64_t end, uint64_t *dirty_low, uint64_t *dirty_high
);

/* The smallest free piece of a state that holds `need` bytes at an aligned address, and where in it; or NULL. */
struct piece *pieces_fit(
    const struct pieces *all, enum state state, uint64_t need, uint64_t align, uint64_t *start
);

/* Free neighbours around the largest piece with pages that together hold `need`; the first of them, or NULL. */
struct piece *pieces_run(const struct pieces *all, uint64_t need, uint64_t align, uint64_t *start);

/* The LIVE piece that contains an offset, or NULL. */
struct piece *pieces_at(const struct pieces *all, uint64_t offset);

struct piece *pieces_largest(const struct pieces *all, enum state state);

static inline bool is_free(const struct piece *piece) { return piece->state <= WARM; }
static inline bool in_use(const struct piece *piece) { return piece->born || piece->leases > 0; }
static inline uint64_t piece_end(const struct piece *piece) { return piece->offset + piece->nbytes; }
static inline uint64_t round_up(uint64_t value, uint64_t to) { return (value + to - 1) & ~(to - 1); }

#endif
