/* Time as the rooms use it. Engines take 'now' as an argument; only loops and mains read these. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "base/str.h"

/* Monotonic milliseconds and nanoseconds since boot (CLOCK_MONOTONIC). */
uint64_t clock_mono_ms(void);
/* Wall clock less monotonic clock, in seconds: it changes when somebody sets the clock. */
int64_t clock_offset_s(void);
uint64_t clock_mono_ns(void);
/* Wall clock: seconds since 1970 UTC; the second form also gives nanoseconds. */
int64_t clock_real_s(void);
void clock_real(int64_t *ret_sec, uint32_t *ret_nsec);

#define CLOCK_RFC3339_SIZE 40
/* Writes RFC 3339 in UTC: "2026-11-24T08:02:49Z", with 'digits' (0..9) of fraction. Returns the length. Years 0 to 9999. */
size_t clock_format_rfc3339(int64_t sec, uint32_t nsec, int digits, char dst[CLOCK_RFC3339_SIZE]);
/* Reads RFC 3339 with any offset and up to nine digits of fraction. False on anything else. */
MUST_CHECK bool clock_parse_rfc3339(struct str s, int64_t *ret_sec, uint32_t *ret_nsec);

#endif
