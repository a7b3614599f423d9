#include "base/reader.h"

bool reader_take(struct reader *r, size_t n, struct str *ret)
{
    if (reader_left(r) < n) {
        return false;
    }
    *ret = str_n((const char *)r->pos, n);
    r->pos += n;
    return true;
}

bool reader_skip(struct reader *r, size_t n)
{
    struct str ignored;
    return reader_take(r, n, &ignored);
}

static bool read_be(struct reader *r, size_t n, uint64_t *ret)
{
    struct str s;
    if (!reader_take(r, n, &s)) {
        return false;
    }
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) {
        v = v << 8 | (uint8_t)s.ptr[i];
    }
    *ret = v;
    return true;
}

static bool read_le(struct reader *r, size_t n, uint64_t *ret)
{
    struct str s;
    if (!reader_take(r, n, &s)) {
        return false;
    }
    uint64_t v = 0;
    for (size_t i = n; i-- > 0;) {
        v = v << 8 | (uint8_t)s.ptr[i];
    }
    *ret = v;
    return true;
}

bool reader_u8(struct reader *r, uint8_t *ret)
{
    uint64_t v;
    return read_be(r, 1, &v) && ((void)(*ret = (uint8_t)v), true);
}

bool reader_u16(struct reader *r, uint16_t *ret)
{
    uint64_t v;
    return read_be(r, 2, &v) && ((void)(*ret = (uint16_t)v), true);
}

bool reader_u24(struct reader *r, uint32_t *ret)
{
    uint64_t v;
    return read_be(r, 3, &v) && ((void)(*ret = (uint32_t)v), true);
}

bool reader_u32(struct reader *r, uint32_t *ret)
{
    uint64_t v;
    return read_be(r, 4, &v) && ((void)(*ret = (uint32_t)v), true);
}

bool reader_u64(struct reader *r, uint64_t *ret)
{
    return read_be(r, 8, ret);
}

bool reader_u32le(struct reader *r, uint32_t *ret)
{
    uint64_t v;
    return read_le(r, 4, &v) && ((void)(*ret = (uint32_t)v), true);
}

bool reader_u64le(struct reader *r, uint64_t *ret)
{
    return read_le(r, 8, ret);
}

bool reader_varint(struct reader *r, uint64_t *ret)
{
    uint64_t v = 0;
    const uint8_t *p = r->pos;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (p == r->end) {
            return false;
        }
        uint8_t b = *p++;
        if (shift == 63 && b > 1) {
            return false;
        }
        v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80)) {
            r->pos = p;
            *ret = v;
            return true;
        }
    }
    return false;
}
