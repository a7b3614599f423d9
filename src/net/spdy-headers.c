#include "net/spdy-headers.h"

#include <assert.h>
#include <ctype.h>

#include "base/reader.h"
#include "net/stream-limits.h"

#define DICTIONARY_SIZE 1423

/* The dictionary of the specification: these words, each behind its length in 32 bits, and then the text. */
static const char *const dictionary_words[] = {
    "options", "head", "post", "put", "delete", "trace", "accept", "accept-charset", "accept-encoding", "accept-language",
    "accept-ranges", "age", "allow", "authorization", "cache-control", "connection", "content-base", "content-encoding",
    "content-language", "content-length", "content-location", "content-md5", "content-range", "content-type", "date", "etag",
    "expect", "expires", "from", "host", "if-match", "if-modified-since", "if-none-match", "if-range",
    "if-unmodified-since", "last-modified", "location", "max-forwards", "pragma", "proxy-authenticate",
    "proxy-authorization", "range", "referer", "retry-after", "server", "te", "trailer", "transfer-encoding", "upgrade",
    "user-agent", "vary", "via", "warning", "www-authenticate", "method", "get", "status", "200 OK", "version", "HTTP/1.1",
    "url", "public", "set-cookie", "keep-alive", "origin",
};
static const char dictionary_text[] =
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
    "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
    "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

static void dictionary_build(uint8_t dst[DICTIONARY_SIZE])
{
    size_t pos = 0;
    for (size_t i = 0; i < ARRAY_SIZE(dictionary_words); i++) {
        size_t n = strlen(dictionary_words[i]);
        memset(dst + pos, 0, 3);
        dst[pos + 3] = (uint8_t)n;
        memcpy(dst + pos + 4, dictionary_words[i], n);
        pos += 4 + n;
    }
    memcpy(dst + pos, dictionary_text, DICTIONARY_SIZE - pos);
}

void spdy_codec_init(struct spdy_codec *c)
{
    uint8_t dictionary[DICTIONARY_SIZE];
    *c = (struct spdy_codec){ 0 };
    dictionary_build(dictionary);
    /* A small window: header blocks are short and the memory is held as long as the session. */
    if (deflateInit2(&c->deflate, Z_BEST_SPEED, Z_DEFLATED, 11, 1, Z_DEFAULT_STRATEGY) != Z_OK ||
        deflateSetDictionary(&c->deflate, dictionary, DICTIONARY_SIZE) != Z_OK || inflateInit(&c->inflate) != Z_OK) {
        abort(); /* out of memory: the input is ours */
    }
    buf_init(&c->plain, SPDY_MAX_HEADER_BLOCK);
}

void spdy_codec_deinit(struct spdy_codec *c)
{
    deflateEnd(&c->deflate);
    inflateEnd(&c->inflate);
    buf_deinit(&c->plain);
}

static void append_u32(struct buf *b, size_t v)
{
    uint8_t bytes[4] = { (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v };
    buf_append_bytes(b, bytes, sizeof(bytes));
}

void spdy_codec_encode(struct spdy_codec *c, const struct spdy_header *h, size_t n_h, struct buf *out)
{
    struct buf *p = &c->plain;
    buf_clear(p);
    append_u32(p, n_h);
    for (size_t i = 0; i < n_h; i++) {
        append_u32(p, h[i].name.len);
        for (size_t k = 0; k < h[i].name.len; k++) {
            buf_append_char(p, (char)tolower((unsigned char)h[i].name.ptr[k]));
        }
        append_u32(p, h[i].value.len);
        buf_append(p, h[i].value);
    }
    assert(!buf_failed(p)); /* our own headers are small */
    c->deflate.next_in = (Bytef *)p->ptr;
    c->deflate.avail_in = (uInt)p->len;
    do {
        char *dst = buf_reserve(out, 512);
        if (!dst) {
            return; /* the output failed: the session ends */
        }
        c->deflate.next_out = (Bytef *)dst;
        c->deflate.avail_out = 512;
        int rc = deflate(&c->deflate, Z_SYNC_FLUSH);
        assert(rc == Z_OK || rc == Z_BUF_ERROR);
        buf_commit(out, 512 - c->deflate.avail_out);
    } while (c->deflate.avail_out == 0);
}

static bool inflate_block(struct spdy_codec *c, struct str block, struct err *err)
{
    uint8_t dictionary[DICTIONARY_SIZE], chunk[2048];
    z_stream *z = &c->inflate;
    buf_clear(&c->plain);
    z->next_in = (Bytef *)(uintptr_t)block.ptr;
    z->avail_in = (uInt)block.len;
    do {
        z->next_out = chunk;
        z->avail_out = sizeof(chunk);
        int rc = inflate(z, Z_SYNC_FLUSH);
        if (rc == Z_NEED_DICT) {
            dictionary_build(dictionary);
            rc = inflateSetDictionary(z, dictionary, DICTIONARY_SIZE);
            if (rc == Z_OK) {
                continue;
            }
        }
        if (rc != Z_OK && rc != Z_BUF_ERROR) {
            return err_set(err, ERR_BAD_REQUEST, "SPDY header block does not decompress");
        }
        buf_append_bytes(&c->plain, chunk, sizeof(chunk) - z->avail_out);
        if (buf_failed(&c->plain)) {
            return err_set(err, ERR_TOO_LARGE, "SPDY header block has more than %u bytes", SPDY_MAX_HEADER_BLOCK);
        }
        if (rc == Z_BUF_ERROR) {
            break;
        }
    } while (z->avail_in || z->avail_out == 0);
    return true;
}

static bool take_text(struct reader *r, struct arena *a, struct str *ret)
{
    uint32_t len;
    struct str s;
    if (!reader_u32(r, &len) || !reader_take(r, len, &s)) {
        return false;
    }
    *ret = arena_str(a, str_n(s.len ? s.ptr : "", s.len));
    return ret->ptr != NULL;
}

bool spdy_codec_decode(struct spdy_codec *c, struct str block, struct arena *a, struct spdy_header **ret_h, size_t *ret_n,
                       struct err *err)
{
    uint32_t n;
    if (!inflate_block(c, block, err)) {
        return false;
    }
    struct reader r = reader_of(buf_str(&c->plain));
    if (!reader_u32(&r, &n)) {
        return err_set(err, ERR_BAD_REQUEST, "SPDY header block is cut short");
    }
    if (n > SPDY_MAX_HEADERS) {
        return err_set(err, ERR_TOO_LARGE, "SPDY header block has %u headers, limit is %u", n, SPDY_MAX_HEADERS);
    }
    struct spdy_header *h = arena_new_n(a, struct spdy_header, n);
    if (!h) {
        return err_set(err, ERR_NO_MEMORY, "SPDY header block takes too much memory");
    }
    for (uint32_t i = 0; i < n; i++) {
        if (!take_text(&r, a, &h[i].name) || !take_text(&r, a, &h[i].value)) {
            return err_set(err, ERR_BAD_REQUEST, "SPDY header block is cut short");
        }
        for (size_t k = 0; k < h[i].name.len; k++) {
            if (isupper((unsigned char)h[i].name.ptr[k])) {
                return err_set(err, ERR_BAD_REQUEST, "SPDY header name has upper-case letters");
            }
        }
        if (h[i].name.len == 0 || spdy_header_get(h, i, h[i].name.ptr).ptr) {
            return err_set(err, ERR_BAD_REQUEST, "SPDY header block has an empty or repeated name");
        }
    }
    if (reader_left(&r)) {
        return err_set(err, ERR_BAD_REQUEST, "SPDY header block has bytes behind its last header");
    }
    *ret_h = h;
    *ret_n = n;
    return true;
}

struct str spdy_header_get(const struct spdy_header *h, size_t n_h, const char *name)
{
    for (size_t i = 0; i < n_h; i++) {
        if (str_eq_c(h[i].name, name)) {
            return h[i].value;
        }
    }
    return STR_NULL;
}
