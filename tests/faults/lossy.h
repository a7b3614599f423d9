/*
 * The layer between the server and its disk (lossy.c, preloaded), as the checker steers it.
 *
 * Every write to a file of the store's folder is noted before it is made: what stood there before and what is written. A sync
 * forgets the notes of its file. So after a kill the notes tell which writes a disk without power might have lost, and
 * lossy_crash() loses some of them: none, all, a random choice in which later ones may have reached the disk before earlier ones,
 * and halves of some, cut between sectors.
 */
#ifndef FAULTS_LOSSY_H
#define FAULTS_LOSSY_H

#include <stdbool.h>
#include <stdint.h>

#define LOSSY_ENV "CORACLE_LOSSY"     /* the folder with "control" and the notes; in memory */
#define LOSSY_DATA "CORACLE_LOSSY_DATA" /* the store's folder */

enum lossy_die { LOSSY_DIE_NEVER, LOSSY_DIE_WRITE, LOSSY_DIE_HALF_WRITTEN, LOSSY_DIE_BEFORE_SYNC, LOSSY_DIE_AFTER_SYNC };

struct lossy_control {
    int64_t clock_offset_s;   /* added to the wall clock */
    uint32_t stall_ms;        /* the next sync takes so long, once */
    uint32_t stalls;          /* how many did */
    uint32_t sync_us, unused; /* every sync takes so long */
    uint32_t die, die_count;  /* enum lossy_die, at the how-manieth */
    uint64_t writes, syncs;
};

/* One note, followed by the old and the new bytes. */
struct lossy_note {
    uint32_t kind; /* 0: write, 1: truncate */
    uint32_t n_old, n_new;
    uint32_t pad;
    int64_t at, size_before;
};

struct lossy_loss {
    unsigned writes, lost, torn; /* unsynced writes, and what became of them */
};

/* After the server was killed. 'pick' gives random numbers. */
bool lossy_crash(const char *folder, uint32_t (*pick)(uint32_t below), struct lossy_loss *ret);

#endif
