/*
 * A strict look at the framing of a chunked body (RFC 9112 7.1), before http-parser reads it: that library takes any two bytes
 * for the line end behind a chunk's data, any byte for the LF behind its size, and extensions without end. Two parsers that
 * disagree about such bytes disagree about where the next request begins.
 *
 * An engine without I/O: it looks at every byte once, in the order of the wire, in pieces of any size.
 */
#ifndef NET_H1_CHUNKS_H
#define NET_H1_CHUNKS_H

#include "base/str.h"

enum h1_chunks_state {
    H1_CHUNKS_SIZE,
    H1_CHUNKS_EXTENSION,
    H1_CHUNKS_SIZE_LF,
    H1_CHUNKS_DATA,
    H1_CHUNKS_DATA_CR,
    H1_CHUNKS_DATA_LF,
    H1_CHUNKS_TRAILER,
    H1_CHUNKS_TRAILER_LF,
    H1_CHUNKS_END,
};

/* All zeros is the beginning of a body. */
struct h1_chunks {
    uint8_t state; /* enum h1_chunks_state */
    uint64_t left; /* size read so far; then bytes of data to come */
    unsigned n_digits;
    size_t extensions;   /* bytes of all extensions of this body */
    size_t trailer_line; /* bytes of the line that is being read */
};

/* How many of the bytes belong to the body and are well framed: all of them, or fewer when the body ends among them
 * (H1_CHUNKS_END). '*ret_reason' is NULL, or says what is wrong with the byte after those. */
size_t h1_chunks_look(struct h1_chunks *c, struct str data, const char **ret_reason);

#endif
