/* What a fork means for arenas.
 *
 * Rule: a child of a fork can read what was there, and never write into its parent's arrays: in the child the arena
 * is off, and mapped privately.
 * Rule: what a child can still read is not used again: a private map shows the file's pages until they are written
 * to, so a block that was there at the fork, and is freed by the parent, is kept until the child has ended (or has
 * become another program). What the parent writes into arrays that it keeps, the child may see.
 */
#ifndef SNAKEPIT_FORKS_H
#define SNAKEPIT_FORKS_H

#include "arena.h"

/* From now on forks look after this arena. False where the system refuses. */
bool forks_watch(struct arena *arena);

/* Whether a child that may be alive was forked when a block of this generation was there. */
bool forks_see(uint64_t generation);

/* Looks which children have ended. */
void forks_reap(void);

#endif
