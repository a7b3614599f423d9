/* Durations as Go writes and reads them ("1h30m0s", "1.5s", "300ms"): metav1.Duration, flags and configuration. */
#ifndef API_DURATION_H
#define API_DURATION_H

#include "base/err.h"

/* Text to nanoseconds. False with Go's words in 'err' (may be NULL): time: invalid duration "x". */
MUST_CHECK bool duration_parse(struct str s, int64_t *ret_ns, struct err *err);

#define DURATION_SIZE 40
/* Nanoseconds to Go's text, terminated. Returns the length. */
size_t duration_format(int64_t ns, char dst[DURATION_SIZE]);

#endif
