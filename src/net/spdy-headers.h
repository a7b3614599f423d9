/*
 * SPDY/3 header blocks: name and value lists, compressed by one zlib stream per direction that is primed with the
 * dictionary of the specification (section 2.6.10).
 */
#ifndef NET_SPDY_HEADERS_H
#define NET_SPDY_HEADERS_H

#include <zlib.h>

#include "base/arena.h"
#include "net/spdy.h"

struct spdy_codec {
    z_stream deflate, inflate;
    struct buf plain;   /* the block being read or written */
};

void spdy_codec_init(struct spdy_codec *c);
void spdy_codec_deinit(struct spdy_codec *c);
/* Appends the compressed block. Names are lowered. */
void spdy_codec_encode(struct spdy_codec *c, const struct spdy_header *h, size_t n_h, struct buf *out);
/* Decodes one whole block; '*ret_h' lives in 'a'. False when it is broken or past a limit: the stream of the codec cannot
 * be used any more. */
MUST_CHECK bool spdy_codec_decode(struct spdy_codec *c, struct str block, struct arena *a, struct spdy_header **ret_h,
                                  size_t *ret_n, struct err *err);

#endif
