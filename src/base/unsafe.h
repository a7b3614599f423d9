/*
 * What of this process is unsafe on an untrusted network because of how a flag stands: one registry, filled while a program starts,
 * logged at start, shown on /metrics as coracle_unsafe_flag, and read by whoever lists the paths of the cluster.
 *
 * A flag's table entry says why a value is unsafe and what mends it (struct flag, .unsafe and .mend); the program says when that is
 * so (a plain port that is 0 is safe): flags_note_unsafe() in base/flags.h. What is no matter of one flag goes to unsafe_note().
 *
 * Filled by the main thread before others start; entries stay until the process ends.
 */
#ifndef BASE_UNSAFE_H
#define BASE_UNSAFE_H

#include "base/buf.h"
#include "base/str.h"

struct unsafe_flag {
    const char *program; /* "kubelet" */
    const char *flag;    /* "read-only-port", without dashes */
    const char *value;   /* what is in force, as it would be typed */
    const char *why;     /* a sentence without its end */
    const char *mend;    /* "--read-only-port=0" */
    bool given;          /* somebody asked for it; otherwise it is a default */
};

/* Adds one, and logs it as a warning. The same program and flag again replaces the entry. 'value' is copied, the rest is kept. */
void unsafe_note(const char *program, const char *flag, struct str value, bool given, const char *why, const char *mend);
size_t unsafe_count(void);
/* i < unsafe_count(); in the order they were noted. */
const struct unsafe_flag *unsafe_at(size_t i);
/* [{"program":"kubelet","flag":"--read-only-port","value":"10255","given":false,"why":"…","mend":"…"},…] */
void unsafe_write_json(struct buf *b);
/* Forgets all; for tests. */
void unsafe_clear(void);

#endif
