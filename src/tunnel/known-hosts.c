#include "tunnel/known-hosts.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/encoding.h"
#include "base/reader.h"
#include "tunnel/limits.h"

enum { SHA1_SIZE = 20, MAX_BLOB = 8192 };

struct entry {
    struct str hosts; /* the patterns; or, hashed, empty */
    struct str salt, hash;
    struct str type, blob;
    bool revoked;
};

struct known_hosts {
    struct arena arena;
    struct entry *entries;
    size_t n, capacity, bad;
};

struct str known_word(struct str *rest)
{
    size_t i = 0, j;
    while (i < rest->len && rest->ptr[i] != ' ' && rest->ptr[i] != '\t') {
        i++;
    }
    for (j = i; j < rest->len && (rest->ptr[j] == ' ' || rest->ptr[j] == '\t'); j++) {
    }
    struct str w = str_sub(*rest, 0, i);
    *rest = str_sub(*rest, j, rest->len);
    return w;
}

/* "type base64": the blob begins with its type, which must be the one named. */
static bool read_key(struct arena *a, struct str type, struct str text, struct str *ret_blob)
{
    uint32_t len;
    struct str inner;
    if (str_empty(type) || str_empty(text) || !base64_decode(a, text, ret_blob) || ret_blob->len > MAX_BLOB) {
        return false;
    }
    struct reader r = reader_of(*ret_blob);
    return reader_u32(&r, &len) && reader_take(&r, len, &inner) && str_eq(inner, type) && reader_left(&r) > 0;
}

bool known_key_parse(struct str line, struct str *ret_type, struct buf *ret_blob)
{
    struct arena a;
    struct str rest = str_trim(line), blob;
    struct str type = known_word(&rest);
    arena_init(&a, 4 * MAX_BLOB);
    bool ok = read_key(&a, type, known_word(&rest), &blob);
    if (ok) {
        *ret_type = type;
        buf_append(ret_blob, blob);
    }
    arena_deinit(&a);
    return ok && !buf_failed(ret_blob);
}

/* "|1|salt|hash" */
static bool read_hashed(struct arena *a, struct str hosts, struct entry *e)
{
    struct str salt, hash;
    return str_starts(hosts, STR("|1|")) && str_cut(str_sub(hosts, 3, hosts.len), '|', &salt, &hash) &&
           base64_decode(a, salt, &e->salt) && base64_decode(a, hash, &e->hash) && e->salt.len == SHA1_SIZE &&
           e->hash.len == SHA1_SIZE;
}

/* False: not a line that can be used. */
static bool read_line(struct known_hosts *k, struct str line, struct entry *e)
{
    struct str rest = line;
    struct str hosts = known_word(&rest);
    *e = (struct entry){ 0 };
    if (str_starts(hosts, STR("@"))) {
        if (!str_eq_c(hosts, "@revoked")) {
            return false;
        }
        e->revoked = true;
        hosts = known_word(&rest);
    }
    e->type = known_word(&rest);
    if (str_empty(hosts) || !read_key(&k->arena, e->type, known_word(&rest), &e->blob)) {
        return false;
    }
    if (hosts.ptr[0] == '|') {
        return read_hashed(&k->arena, hosts, e);
    }
    e->hosts = hosts;
    return true;
}

struct known_hosts *known_hosts_parse(struct str text, struct err *err)
{
    if (text.len > TUNNEL_MAX_KNOWN_HOSTS) {
        err_set(err, ERR_TOO_LARGE, "more than %u MiB of known hosts", TUNNEL_MAX_KNOWN_HOSTS >> 20);
        return NULL;
    }
    struct known_hosts *k = calloc(1, sizeof(*k));
    if (!k) {
        abort();
    }
    arena_init(&k->arena, ARENA_NO_BUDGET);
    struct str rest = arena_str(&k->arena, text.ptr ? text : STR_EMPTY), line;
    while (str_split(&rest, '\n', &line)) {
        struct entry e;
        line = str_trim(line);
        if (str_empty(line) || line.ptr[0] == '#') {
            continue;
        }
        if (line.len > TUNNEL_MAX_KNOWN_LINE || !read_line(k, line, &e)) {
            k->bad++;
            continue;
        }
        if (k->n == k->capacity) {
            k->capacity = k->capacity ? 2 * k->capacity : 16;
            k->entries = reallocarray(k->entries, k->capacity, sizeof(*k->entries));
            if (!k->entries) {
                abort();
            }
        }
        k->entries[k->n++] = e;
    }
    return k;
}

struct known_hosts *known_hosts_free(struct known_hosts *k)
{
    if (k) {
        free(k->entries);
        arena_deinit(&k->arena);
        free(k);
    }
    return NULL;
}

size_t known_hosts_count(const struct known_hosts *k)
{
    return k->n;
}

size_t known_hosts_bad_lines(const struct known_hosts *k)
{
    return k->bad;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* '*' and '?', without case, in time of the product of the lengths at most: the last '*' is the only place to go back to. */
static bool glob(struct str pattern, struct str name)
{
    size_t p = 0, n = 0, star = SIZE_MAX, from = 0;
    while (n < name.len) {
        if (p < pattern.len && pattern.ptr[p] == '*') {
            star = p++;
            from = n;
        } else if (p < pattern.len && (pattern.ptr[p] == '?' || lower(pattern.ptr[p]) == lower(name.ptr[n]))) {
            p++;
            n++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            n = ++from;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.ptr[p] == '*') {
        p++;
    }
    return p == pattern.len;
}

static bool matches_hash(const struct entry *e, struct str name)
{
    unsigned char out[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    char folded[KNOWN_NAME_SIZE];
    if (name.len > sizeof(folded)) {
        return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        folded[i] = lower(name.ptr[i]);
    }
    return HMAC(EVP_sha1(), e->salt.ptr, (int)e->salt.len, (unsigned char *)folded, name.len, out, &len) && len == SHA1_SIZE &&
           CRYPTO_memcmp(out, e->hash.ptr, SHA1_SIZE) == 0;
}

/* A name that a '!' pattern matches is not the line's, whatever else the line says. */
static bool matches(const struct entry *e, struct str name)
{
    struct str rest = e->hosts, pattern;
    bool found = false;
    if (e->salt.len) {
        return matches_hash(e, name);
    }
    while (str_split(&rest, ',', &pattern)) {
        bool negated = str_starts(pattern, STR("!"));
        if (glob(negated ? str_sub(pattern, 1, pattern.len) : pattern, name)) {
            if (negated) {
                return false;
            }
            found = true;
        }
    }
    return found;
}

static bool matches_any(const struct entry *e, const struct str *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!str_empty(names[i]) && matches(e, names[i])) {
            return true;
        }
    }
    return false;
}

enum known_verdict known_hosts_check(const struct known_hosts *k, const struct str *names, size_t n, struct str key)
{
    enum known_verdict verdict = KNOWN_NOTHING;
    for (size_t i = 0; k && i < k->n; i++) {
        const struct entry *e = &k->entries[i];
        bool same = str_eq(e->blob, key);
        if ((e->revoked && !same) || !matches_any(e, names, n)) {
            continue;
        }
        if (e->revoked) {
            return KNOWN_REVOKED;
        }
        if (same) {
            verdict = KNOWN_SAME;
        } else if (verdict == KNOWN_NOTHING) {
            verdict = KNOWN_OTHER;
        }
    }
    return verdict;
}

size_t known_hosts_types(const struct known_hosts *k, const struct str *names, size_t n, struct str *ret_types, size_t max)
{
    size_t found = 0;
    for (size_t i = 0; k && i < k->n && found < max; i++) {
        const struct entry *e = &k->entries[i];
        bool listed = e->revoked;
        for (size_t j = 0; j < found; j++) {
            listed = listed || str_eq(ret_types[j], e->type);
        }
        if (!listed && matches_any(e, names, n)) {
            ret_types[found++] = e->type;
        }
    }
    return found;
}

struct str known_name(struct str host, uint16_t port, char dst[KNOWN_NAME_SIZE])
{
    int n = port == 22 ? snprintf(dst, KNOWN_NAME_SIZE, "%.*s", STR_ARG(host))
                       : snprintf(dst, KNOWN_NAME_SIZE, "[%.*s]:%u", STR_ARG(host), port);
    return n > 0 && n < KNOWN_NAME_SIZE ? str_n(dst, (size_t)n) : STR_NULL;
}

bool known_hosts_pin(struct str file, struct str host, struct str key, struct buf *ret, struct err *err)
{
    struct str rest = file, line, type, key_rest = str_trim(key);
    CLEANUP(buf_deinit) struct buf blob;
    buf_init(&blob, MAX_BLOB);
    for (size_t i = 0; i < host.len; i++) {
        char c = host.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c != '\0' && strchr("-._:[]", c)))) {
            return err_set(err, ERR_INVALID, "\"%.*s\" is no host's name", STR_ARG(host));
        }
    }
    if (str_empty(host) || str_find_char(key_rest, '\n') >= 0 || !known_key_parse(key_rest, &type, &blob)) {
        return err_set(err, ERR_INVALID, "this is no public SSH key of a host, \"type base64\"");
    }
    while (!str_empty(rest) && str_split(&rest, '\n', &line)) {
        struct str words = str_trim(line);
        struct str hosts = known_word(&words), line_type = known_word(&words);
        if (str_eq(hosts, host) && str_eq(line_type, type)) {
            continue;
        }
        if (rest.ptr || !str_empty(line)) {
            buf_append(ret, line);
            buf_append_char(ret, '\n');
        }
    }
    (void)known_word(&key_rest);
    struct str base64 = known_word(&key_rest);
    buf_printf(ret, "%.*s %.*s %.*s\n", STR_ARG(host), STR_ARG(type), STR_ARG(base64));
    return !buf_failed(ret) || err_set(err, ERR_TOO_LARGE, "the file is too big");
}
