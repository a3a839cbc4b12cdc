#define _GNU_SOURCE
#include "pieces.h"

#include <string.h>
#include <sys/mman.h>

/* Nodes come from maps of their own: where malloc is interposed, asking it from in here would come back. */
enum { SLAB = 1 << 16 };

struct slab {
    struct slab *next;
};

/* Looked at before one that certainly fits is taken: a piece may be long enough, and badly placed. */
enum { TRIES = 8 };
/* How many neighbours a block may be made of. */
enum { NEIGHBOURS = 16 };

static bool more_nodes(struct pieces *all) {
    char *memory = mmap(NULL, SLAB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return false;
    struct slab *slab = (struct slab *)memory;
    slab->next = all->slabs;
    all->slabs = slab;
    struct piece *nodes = (struct piece *)(memory + sizeof(struct piece));
    size_t count = SLAB / sizeof(struct piece) - 1;
    for (size_t i = 0; i < count; i++) {
        nodes[i].after = all->spare;
        all->spare = &nodes[i];
    }
    return true;
}

bool pieces_ready_to_split(struct pieces *all, int count) {
    struct piece *node = all->spare;
    while (node != NULL && --count > 0)
        node = node->after;
    return (node != NULL && count <= 0) || more_nodes(all);
}

static struct piece *take_node(struct pieces *all) {
    struct piece *node = all->spare;
    all->spare = node->after;
    memset(node, 0, sizeof *node);
    return node;
}

static void give_node(struct pieces *all, struct piece *node) {
    node->after = all->spare;
    all->spare = node;
}

bool pieces_start(struct pieces *all, uint64_t nbytes) {
    memset(all, 0, sizeof *all);
    all->random = 0x9e3779b9u;
    if (!pieces_ready_to_split(all, 1))
        return false;
    struct piece *whole = take_node(all);
    whole->nbytes = nbytes;
    all->first = whole;
    piece_enter(all, whole);
    return true;
}

void pieces_end(struct pieces *all) {
    for (struct slab *slab = all->slabs, *next; slab != NULL; slab = next) {
        next = slab->next;
        munmap(slab, SLAB);
    }
    memset(all, 0, sizeof *all);
}

/* A treap: its shape is that of a tree built in random order, whatever order it was built in.
 * Seidel and Aragon, "Randomized search trees", 1996. */

static bool comes_first(const struct piece *piece, const struct piece *other) {
    if (piece->state != LIVE && piece->nbytes != other->nbytes)
        return piece->nbytes < other->nbytes;
    return piece->offset < other->offset;
}

static void insert(struct pieces *all, struct piece *piece) {
    all->random ^= all->random << 13;
    all->random ^= all->random >> 17;
    all->random ^= all->random << 5;
    piece->priority = all->random;
    struct piece **at = &all->tree[piece->state];
    while (*at != NULL && (*at)->priority >= piece->priority)
        at = comes_first(piece, *at) ? &(*at)->left : &(*at)->right;
    struct piece *below = *at;
    struct piece **low = &piece->left, **high = &piece->right;
    while (below != NULL) {
        if (comes_first(below, piece)) {
            *low = below;
            low = &below->right;
            below = below->right;
        } else {
            *high = below;
            high = &below->left;
            below = below->left;
        }
    }
    *low = *high = NULL;
    *at = piece;
}

static void erase(struct pieces *all, struct piece *piece) {
    struct piece **at = &all->tree[piece->state];
    while (*at != piece)
        at = comes_first(piece, *at) ? &(*at)->left : &(*at)->right;
    struct piece *low = piece->left, *high = piece->right;
    while (low != NULL && high != NULL) {
        if (low->priority >= high->priority) {
            *at = low;
            at = &low->right;
            low = low->right;
        } else {
            *at = high;
            at = &high->left;
            high = high->left;
        }
    }
    *at = low != NULL ? low : high;
}

void piece_enter(struct pieces *all, struct piece *piece) {
    all->nbytes[piece->state] += piece->nbytes;
    all->count[piece->state]++;
    if (piece->state <= LIVE)
        insert(all, piece);
    if (piece->state == WARM) {
        piece->newer = NULL;
        piece->older = all->newest;
        *(all->newest != NULL ? &all->newest->newer : &all->oldest) = piece;
        all->newest = piece;
    } else if (piece->state == KEPT) {
        piece->newer = NULL;
        piece->older = all->kept;
        if (all->kept != NULL)
            all->kept->newer = piece;
        all->kept = piece;
    }
}

void piece_leave(struct pieces *all, struct piece *piece) {
    all->nbytes[piece->state] -= piece->nbytes;
    all->count[piece->state]--;
    if (piece->state <= LIVE)
        erase(all, piece);
    if (piece->state == WARM) {
        *(piece->newer != NULL ? &piece->newer->older : &all->newest) = piece->older;
        *(piece->older != NULL ? &piece->older->newer : &all->oldest) = piece->newer;
    } else if (piece->state == KEPT) {
        *(piece->newer != NULL ? &piece->newer->older : &all->kept) = piece->older;
        if (piece->older != NULL)
            piece->older->newer = piece->newer;
    }
}

struct piece *piece_split(struct pieces *all, struct piece *piece, uint64_t at) {
    struct piece *rest = take_node(all);
    rest->offset = at;
    rest->nbytes = piece_end(piece) - at;
    rest->state = piece->state;
    rest->before = piece;
    rest->after = piece->after;
    if (rest->after != NULL)
        rest->after->before = rest;
    piece->after = rest;
    piece->nbytes = at - piece->offset;
    return rest;
}

void piece_absorb(struct pieces *all, struct piece *piece) {
    struct piece *next = piece->after;
    piece->nbytes += next->nbytes;
    piece->after = next->after;
    if (piece->after != NULL)
        piece->after->before = piece;
    give_node(all, next);
}

struct piece *piece_settle(struct pieces *all, struct piece *piece) {
    struct piece *after = piece->after, *before = piece->before;
    if (after != NULL && after->state == piece->state) {
        piece_leave(all, after);
        piece_absorb(all, piece);
    }
    if (before != NULL && before->state == piece->state) {
        piece_leave(all, before);
        piece_absorb(all, before);
        piece = before;
    }
    piece_enter(all, piece);
    return piece;
}

struct piece *pieces_carve(
    struct pieces *all, struct piece *first, uint64_t start, uint64_t end, uint64_t *dirty_low, uint64_t *dirty_high
) {
    *dirty_low = end;
    *dirty_high = start;
    struct piece *piece = first;
    piece_leave(all, piece);
    if (piece->offset < start) {
        struct piece *rest = piece_split(all, piece, start);
        piece_enter(all, piece);
        piece = rest;
    }
    struct piece *whole = piece;
    for (;;) {
        if (piece_end(piece) > end)
            piece_enter(all, piece_split(all, piece, end));
        if (piece->state == WARM) {
            if (piece->offset < *dirty_low)
                *dirty_low = piece->offset;
            *dirty_high = piece_end(piece);
        }
        if (piece != whole)
            piece_absorb(all, whole);
        if (piece_end(whole) == end)
            return whole;
        piece = whole->after;
        piece_leave(all, piece);
    }
}

static struct piece *at_least(struct piece *tree, uint64_t nbytes, uint64_t offset) {
    struct piece *best = NULL;
    while (tree != NULL) {
        if (tree->nbytes > nbytes || (tree->nbytes == nbytes && tree->offset >= offset)) {
            best = tree;
            tree = tree->left;
        } else {
            tree = tree->right;
        }
    }
    return best;
}

struct piece *pieces_fit(
    const struct pieces *all, enum state state, uint64_t need, uint64_t align, uint64_t *start
) {
    struct piece *piece = at_least(all->tree[state], need, 0);
    for (int tries = 0; piece != NULL && tries < TRIES; tries++) {
        *start = round_up(piece->offset, align);
        if (*start + need <= piece_end(piece))
            return piece;
        piece = at_least(all->tree[state], piece->nbytes, piece->offset + 1);
    }
    if (piece != NULL)
        piece = at_least(all->tree[state], need + align, 0);
    if (piece != NULL)
        *start = round_up(piece->offset, align);
    return piece;
}

struct piece *pieces_run(const struct pieces *all, uint64_t need, uint64_t align, uint64_t *start) {
    struct piece *warm = pieces_largest(all, WARM), *ready = pieces_largest(all, READY);
    struct piece *core = warm == NULL || (ready != NULL && ready->nbytes > warm->nbytes) ? ready : warm;
    /* For less the search of a place that is one piece is worth more. */
    if (core == NULL || core->nbytes < need / 8)
        return NULL;
    struct piece *first = core, *last = core;
    *start = round_up(core->offset, align);
    for (int steps = 0; steps < NEIGHBOURS; steps++) {
        if (*start + need <= piece_end(last)) {
            while (piece_end(first) <= *start)
                first = first->after;
            return first;
        }
        if (last->after != NULL && is_free(last->after))
            last = last->after;
        else if (first->before != NULL && is_free(first->before)) {
            first = first->before;
            /* As near to the core as there is room behind it, so that its pages are used. */
            uint64_t lowest = round_up(first->offset, align);
            uint64_t end = piece_end(last);
            uint64_t wished = end > need ? (end - need) & ~(align - 1) : 0;
            *start = wished > lowest ? wished : lowest;
        } else
            return NULL;
    }
    return NULL;
}

struct piece *pieces_at(const struct pieces *all, uint64_t offset) {
    struct piece *piece = all->tree[LIVE], *best = NULL;
    while (piece != NULL) {
        if (piece->offset <= offset) {
            best = piece;
            piece = piece->right;
        } else {
            piece = piece->left;
        }
    }
    return best != NULL && offset < piece_end(best) ? best : NULL;
}

struct piece *pieces_largest(const struct pieces *all, enum state state) {
    struct piece *piece = all->tree[state];
    while (piece != NULL && piece->right != NULL)
        piece = piece->right;
    return piece;
}
