/* A bounded reader over borrowed bytes: the only place where pointers into a peer's bytes move. */
#ifndef BASE_READER_H
#define BASE_READER_H

#include "base/str.h"

struct reader {
    const uint8_t *pos, *end;
};

static inline struct reader reader_of(struct str s)
{
    const uint8_t *p = (const uint8_t *)(s.ptr ? s.ptr : "");
    return (struct reader){ .pos = p, .end = p + s.len };
}

static inline size_t reader_left(const struct reader *r)
{
    return (size_t)(r->end - r->pos);
}

/* Each returns false, moving nothing, when too few bytes are left. Numbers are big-endian unless named le. */
MUST_CHECK bool reader_u8(struct reader *r, uint8_t *ret);
MUST_CHECK bool reader_u16(struct reader *r, uint16_t *ret);
MUST_CHECK bool reader_u24(struct reader *r, uint32_t *ret);
MUST_CHECK bool reader_u32(struct reader *r, uint32_t *ret);
MUST_CHECK bool reader_u64(struct reader *r, uint64_t *ret);
MUST_CHECK bool reader_u32le(struct reader *r, uint32_t *ret);
MUST_CHECK bool reader_u64le(struct reader *r, uint64_t *ret);
/* A protobuf varint (at most ten bytes, 64 bits). */
MUST_CHECK bool reader_varint(struct reader *r, uint64_t *ret);
/* The next 'n' bytes, borrowed. */
MUST_CHECK bool reader_take(struct reader *r, size_t n, struct str *ret);
MUST_CHECK bool reader_skip(struct reader *r, size_t n);

#endif
