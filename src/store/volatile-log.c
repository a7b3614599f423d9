#include "store/volatile-log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#include "base/fs.h"
#include "base/reader.h"
#include "store/limits.h"

#define HEADER_SIZE 32
#define RECORD_FIXED 29 /* kind, revision, db_revision, expires, key length */
static const char magic[8] = "CORV0001";

void volatile_log_init(struct volatile_log *l)
{
    *l = (struct volatile_log){ .fd = -1, .old_fd = -1 };
    buf_init(&l->scratch, STORE_MAX_VALUE + STORE_MAX_KEY + 64);
}

void volatile_log_deinit(struct volatile_log *l, bool remove)
{
    if (l->fd >= 0) {
        close(l->fd);
        l->fd = -1;
        if (remove) {
            (void)unlink(l->path);
        }
    }
    free(l->path);
    l->path = NULL;
    buf_deinit(&l->scratch);
}

static uint32_t crc32_of(const void *p, size_t n)
{
    return (uint32_t)crc32(0, p, (uInt)n);
}

static bool log_path(char dst[PATH_MAX], const char *dir, int64_t run)
{
    int n = snprintf(dst, PATH_MAX, "%s/volatile-%lld", dir, (long long)run);
    return n > 0 && n < PATH_MAX;
}

static void put_u32(struct buf *b, uint32_t v)
{
    uint8_t p[4] = { (uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24) };
    buf_append_bytes(b, p, sizeof(p));
}

static void put_i64(struct buf *b, int64_t v)
{
    put_u32(b, (uint32_t)v);
    put_u32(b, (uint32_t)((uint64_t)v >> 32));
}

static bool get_i64(struct reader *r, int64_t *ret)
{
    uint64_t v;
    if (!reader_u64le(r, &v)) {
        return false;
    }
    *ret = (int64_t)v;
    return true;
}

static void encode_header(struct buf *b, const uint8_t id[16], int64_t run)
{
    buf_append_bytes(b, magic, sizeof(magic));
    buf_append_bytes(b, id, 16);
    put_i64(b, run);
}

static bool decode_record(struct reader *r, struct volatile_record *ret)
{
    uint32_t len, crc, key_len;
    uint8_t kind;
    struct str body;
    if (!reader_u32le(r, &len) || !reader_u32le(r, &crc) || len < RECORD_FIXED || !reader_take(r, len, &body) ||
        crc32_of(body.ptr, body.len) != crc) {
        return false;
    }
    struct reader b = reader_of(body);
    if (!reader_u8(&b, &kind) || !get_i64(&b, &ret->revision) || !get_i64(&b, &ret->db_revision) ||
        !get_i64(&b, &ret->expires) || !reader_u32le(&b, &key_len) || !reader_take(&b, key_len, &ret->key) ||
        !reader_take(&b, reader_left(&b), &ret->value) || kind < VOLATILE_PUT || kind > VOLATILE_FORGET) {
        return false;
    }
    ret->kind = (enum volatile_kind)kind;
    return true;
}

void volatile_log_decode(struct str records, volatile_record_fn *fn, void *arg)
{
    struct reader r = reader_of(records);
    struct volatile_record rec;
    while (decode_record(&r, &rec)) {
        fn(arg, &rec);
    }
}

bool volatile_log_read(const char *dir, const uint8_t id[16], int64_t run, volatile_record_fn *fn, void *arg)
{
    char path[PATH_MAX];
    CLEANUP(buf_deinit) struct buf b;
    CLEANUP(buf_deinit) struct buf want;
    buf_init(&b, (size_t)256 << 20);
    buf_init(&want, HEADER_SIZE);
    if (!log_path(path, dir, run) || !fs_read(path, (size_t)256 << 20, &b, NULL)) {
        return false;
    }
    encode_header(&want, id, run);
    if (b.len < HEADER_SIZE || memcmp(b.ptr, want.ptr, HEADER_SIZE) != 0) {
        return false;
    }
    volatile_log_decode(str_sub(buf_str(&b), HEADER_SIZE, SIZE_MAX), fn, arg);
    return true;
}

static int write_all(int fd, struct str s)
{
    while (s.len) {
        ssize_t n = write(fd, s.ptr, s.len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? -errno : -EIO;
        }
        s = str_sub(s, (size_t)n, SIZE_MAX);
    }
    return 0;
}

static int create_file(const char *path, const uint8_t header[HEADER_SIZE], int *ret_fd)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return -errno;
    }
    int r = write_all(fd, str_n((const char *)header, HEADER_SIZE));
    if (r < 0) {
        close(fd);
        (void)unlink(path);
        return r;
    }
    *ret_fd = fd;
    return 0;
}

bool volatile_log_create(struct volatile_log *l, const char *dir, const uint8_t id[16], int64_t run, struct err *err)
{
    char path[PATH_MAX];
    if (!log_path(path, dir, run)) {
        return err_set(err, ERR_BAD_REQUEST, "path is too long: %s", dir);
    }
    buf_clear(&l->scratch);
    encode_header(&l->scratch, id, run);
    int r = create_file(path, (const uint8_t *)l->scratch.ptr, &l->fd);
    if (r < 0) {
        return err_set_errno(err, -r, "cannot make the volatile log %s", path);
    }
    l->path = strdup(path);
    if (!l->path) {
        abort();
    }
    l->bytes = HEADER_SIZE;
    return true;
}

void volatile_log_remove(const char *dir, int64_t run)
{
    char path[PATH_MAX];
    if (log_path(path, dir, run)) {
        (void)unlink(path);
    }
}

int volatile_log_append(struct volatile_log *l, const struct volatile_record *r)
{
    if (l->fd < 0) {
        return 0;
    }
    struct buf *b = &l->scratch;
    buf_clear(b);
    put_u32(b, (uint32_t)(RECORD_FIXED + r->key.len + r->value.len));
    put_u32(b, 0);
    buf_append_char(b, (char)r->kind);
    put_i64(b, r->revision);
    put_i64(b, r->db_revision);
    put_i64(b, r->expires);
    put_u32(b, (uint32_t)r->key.len);
    buf_append(b, r->key);
    buf_append(b, r->value);
    if (buf_failed(b)) {
        return -ENOMEM;
    }
    uint32_t crc = crc32_of(b->ptr + 8, b->len - 8);
    for (int i = 0; i < 4; i++) {
        b->ptr[4 + i] = (char)(crc >> (8 * i));
    }
    int e = write_all(l->fd, buf_str(b));
    if (e < 0) {
        (void)!ftruncate(l->fd, (off_t)l->bytes); /* a record cut short would hide those after it */
        return e;
    }
    l->bytes += b->len;
    if (b->capacity > 65536) {
        buf_deinit(b);
        buf_init(b, STORE_MAX_VALUE + STORE_MAX_KEY + 64);
    }
    return 0;
}

static bool next_path(const struct volatile_log *l, char dst[PATH_MAX])
{
    int n = snprintf(dst, PATH_MAX, "%s.new", l->path);
    return n > 0 && n < PATH_MAX;
}

int volatile_log_rewrite_begin(struct volatile_log *l)
{
    char path[PATH_MAX];
    int fd;
    uint8_t header[HEADER_SIZE];
    if (l->fd < 0) {
        return 0;
    }
    int in = open(l->path, O_RDONLY | O_CLOEXEC);
    ssize_t n = in >= 0 ? pread(in, header, sizeof(header), 0) : -1;
    if (in >= 0) {
        close(in);
    }
    if (n != HEADER_SIZE || !next_path(l, path)) {
        return -EIO;
    }
    int r = create_file(path, header, &fd);
    if (r < 0) {
        return r;
    }
    l->old_fd = l->fd;
    l->old_bytes = l->bytes;
    l->fd = fd;
    l->bytes = HEADER_SIZE;
    return 0;
}

int volatile_log_rewrite_end(struct volatile_log *l, bool ok)
{
    char path[PATH_MAX];
    if (l->fd < 0 || l->old_fd < 0 || !next_path(l, path)) {
        return 0;
    }
    int r = ok && rename(path, l->path) < 0 ? -errno : 0;
    if (ok && r == 0) {
        close(l->old_fd);
    } else {
        (void)unlink(path);
        close(l->fd);
        l->fd = l->old_fd;
        l->bytes = l->old_bytes;
    }
    l->old_fd = -1;
    return r;
}
