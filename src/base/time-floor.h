/*
 * A time that is certainly over: what certificates are looked at with when the clock is not set.
 *
 * A board without a battery starts in 1970, or where its last image was made. Every certificate then is "not yet valid", the time
 * servers cannot be asked for want of a network, and the node never joins. So each program knows a floor, the latest moment that
 * certainly lies in the past:
 *   - the date of this source (TIME_FLOOR_SOURCE_S);
 *   - the start (notBefore) of certificates that the cluster's CA signed and that are ours or were verified;
 *   - what an earlier run wrote down (time_floor_open()).
 * While the wall clock is below the floor it is known to be wrong, and then
 *   - "now" is the floor: what had expired by then is refused as ever;
 *   - "not yet valid" says nothing, because nobody knows how far beyond the floor the real time is: it is let pass.
 * While the wall clock is at or above the floor nothing is different from a program without one.
 *
 * The floor rises only by what somebody signed or what a synchronised clock said. Written down is only what a clock said that the
 * kernel calls synchronised: one wrong date in the future, of a clock or of a certificate, would make every certificate look expired
 * for good. (Certificates need not be written down, they are read again at the next start.)
 * Safe from any thread.
 */
#ifndef BASE_TIME_FLOOR_H
#define BASE_TIME_FLOOR_H

#include "base/err.h"

/* 2026-11-01: no copy of this source is older. Moved on with releases. */
#define TIME_FLOOR_SOURCE_S INT64_C(1793491200)
/* Evidence beyond this (2100-01-01) is a mistake rather than a date. */
#define TIME_FLOOR_MAX_S INT64_C(4102444800)
/* The file is written when the floor has risen by this much: at most four times a day. */
#define TIME_FLOOR_STEP_S (6 * 3600)

/* Seconds since 1970 for looking at certificates and tokens: the wall clock, or the floor where that is later. */
int64_t time_floor_now_s(void);
/* Is the wall clock below the floor, and so certainly wrong? */
bool time_floor_clock_is_unset(void);
int64_t time_floor_get(void);
/* This moment lies in the past, by evidence that is signed. Lower ones change nothing; ones after 2100, and ones that a synchronised
 * clock has not reached, are ignored. */
void time_floor_raise(int64_t s);

/* Takes what an earlier run wrote into the file, and keeps the path for time_floor_keep(). An absent or unreadable file is fine. */
void time_floor_open(const char *path);
/* Writes the floor down when it is due. For a timer of some minutes. Not from two threads. */
void time_floor_keep(void);

/* For tests: the wall clock is off by this many seconds, as this room sees it; and everything learnt is forgotten. */
void time_floor_test(int64_t offset_s);
/* 0 or 1 in the place of what the kernel says; -1: what it says. */
void time_floor_test_synchronised(int answer);

#endif
