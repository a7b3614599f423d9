#include "tunnel/authorized-keys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/rand.h"
#include "net/addr.h"
#include "tunnel/known-hosts.h"
#include "tunnel/limits.h"

#define COMMENT "coracle-tunnel"

/* "type base64" of a *.pub line, without its comment. */
static bool key_of(struct str line, struct str *ret_key, struct err *err)
{
    struct str type, rest;
    CLEANUP(buf_deinit) struct buf blob;
    buf_init(&blob, TUNNEL_MAX_KEY_FILE);
    line = str_trim(line);
    if (str_find_char(line, '\n') >= 0 || !known_key_parse(line, &type, &blob)) {
        return err_set(err, ERR_INVALID, "this is no public SSH key, \"type base64 comment\"");
    }
    rest = line;
    (void)known_word(&rest);
    struct str base64 = known_word(&rest);
    *ret_key = str_n(line.ptr, (size_t)(base64.ptr + base64.len - line.ptr));
    return true;
}

/* Does the line hold this base64 as a word of its own, whatever options stand before it? */
static bool has_key(struct str line, struct str key)
{
    struct str rest = str_trim(line);
    (void)known_word(&key);
    struct str base64 = known_word(&key);
    if (str_starts(rest, STR("#"))) {
        return false;
    }
    while (!str_empty(rest)) {
        if (str_eq(known_word(&rest), base64)) {
            return true;
        }
    }
    return false;
}

static bool is_permit(struct str target)
{
    struct str host;
    uint16_t port = 0;
    struct str tail = str_ends(target, STR(":*")) ? str_sub(target, 0, target.len - 2) : STR_NULL;
    for (size_t i = 0; i < target.len; i++) {
        char c = target.ptr[i];
        bool fine = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || strchr("-._:[]*", c);
        if (!fine || c == '\0') {
            return false;
        }
    }
    return !str_empty(tail) || (net_split_host_port(target, &host, &port) && port > 0 && !str_empty(host));
}

static void keep_others(struct str file, struct str key, struct buf *ret, size_t *ret_removed)
{
    struct str rest = file, line;
    *ret_removed = 0;
    while (!str_empty(rest) && str_split(&rest, '\n', &line)) {
        bool last = rest.ptr == NULL;
        if (has_key(line, key)) {
            ++*ret_removed;
            continue;
        }
        if (last && str_empty(line)) {
            break;
        }
        buf_append(ret, line);
        buf_append_char(ret, '\n');
    }
}

bool authorized_keys_remove(struct str file, struct str key, struct buf *ret, size_t *ret_removed, struct err *err)
{
    if (!key_of(key, &key, err)) {
        return false;
    }
    keep_others(file, key, ret, ret_removed);
    return !buf_failed(ret) || err_set(err, ERR_TOO_LARGE, "the file is too big");
}

bool authorized_keys_add(struct str file, struct str key, const struct str *permit, size_t n_permit, struct buf *ret, struct err *err)
{
    size_t removed;
    if (!key_of(key, &key, err)) {
        return false;
    }
    keep_others(file, key, ret, &removed);
    buf_append_c(ret, "restrict,port-forwarding");
    for (size_t i = 0; i < n_permit; i++) {
        if (!is_permit(permit[i])) {
            return err_set(err, ERR_INVALID, "\"%.*s\" is no host:port for permitopen", STR_ARG(permit[i]));
        }
        buf_printf(ret, ",permitopen=\"%.*s\"", STR_ARG(permit[i]));
    }
    buf_printf(ret, " %.*s " COMMENT "\n", STR_ARG(key));
    return !buf_failed(ret) || err_set(err, ERR_TOO_LARGE, "the file is too big");
}

/* The folder, open, so that what follows happens in it and nowhere else. */
static int open_folder(const char *path, uid_t uid, gid_t gid, bool make, const char **ret_name, struct err *err)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (!slash || !slash[1] || (size_t)(slash - path) >= sizeof(dir)) {
        err_set(err, ERR_INVALID, "\"%s\" is no absolute path of a file", path);
        return -1;
    }
    (void)snprintf(dir, sizeof(dir), "%.*s", (int)MAX(slash - path, 1), path);
    bool made = make && mkdir(dir, 0700) == 0;
    int fd = open(dir, O_DIRECTORY | O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || (made && fchown(fd, uid, gid) < 0)) {
        int e = errno;
        if (fd >= 0) {
            (void)close(fd);
        }
        err_set(err, e == ENOENT ? ERR_NOT_FOUND : ERR_IO, "the folder %s: %s", dir, strerror(e));
        return -1;
    }
    *ret_name = slash + 1;
    return fd;
}

static bool read_at(int dir, const char *name, struct buf *b, struct stat *st, struct err *err)
{
    CLEANUP(fs_closep) int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    st->st_mode = 0;
    if (fd < 0) {
        return errno == ENOENT || err_set_errno(err, errno, "cannot read %s", name);
    }
    if (fstat(fd, st) < 0 || !S_ISREG(st->st_mode)) {
        return err_set(err, ERR_INVALID, "%s is no file", name);
    }
    for (;;) {
        char *p = buf_reserve(b, 4096);
        ssize_t n = p ? read(fd, p, 4096) : -1;
        if (n <= 0) {
            return n == 0 || err_set(err, p ? ERR_IO : ERR_TOO_LARGE, "cannot read %s", name);
        }
        buf_commit(b, (size_t)n);
    }
}

static bool write_all(int fd, struct str s)
{
    while (s.len) {
        ssize_t n = write(fd, s.ptr, s.len);
        if (n <= 0) {
            return false;
        }
        s = str_sub(s, (size_t)n, s.len);
    }
    return true;
}

static bool replace_at(int dir, const char *name, struct str content, const struct stat *st, uid_t uid, gid_t gid, struct err *err)
{
    char tmp[NAME_MAX + 1], suffix[9];
    rand_suffix(suffix, sizeof(suffix) - 1);
    (void)snprintf(tmp, sizeof(tmp), ".%.200s.%s", name, suffix);
    CLEANUP(fs_closep) int fd = openat(dir, tmp, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool existed = st->st_mode != 0;
    bool ok = fd >= 0 && fchown(fd, existed ? st->st_uid : uid, existed ? st->st_gid : gid) == 0 &&
              fchmod(fd, existed ? st->st_mode & 0644 : 0600) == 0 && write_all(fd, content) && fsync(fd) == 0 &&
              renameat(dir, tmp, dir, name) == 0 && fsync(dir) == 0;
    if (!ok) {
        err_set_errno(err, errno, "cannot write %s", name);
        (void)unlinkat(dir, tmp, 0);
    }
    return ok;
}

bool authorized_keys_install(const char *path, uid_t uid, gid_t gid, struct str key, const struct str *permit, size_t n_permit,
                             struct err *err)
{
    const char *name;
    struct stat st;
    CLEANUP(buf_deinit) struct buf old, fresh;
    buf_init(&old, TUNNEL_MAX_AUTHORIZED_KEYS);
    buf_init(&fresh, 2 * TUNNEL_MAX_AUTHORIZED_KEYS);
    CLEANUP(fs_closep) int dir = open_folder(path, uid, gid, true, &name, err);
    if (dir < 0 || !read_at(dir, name, &old, &st, err) || !authorized_keys_add(buf_str(&old), key, permit, n_permit, &fresh, err)) {
        return false;
    }
    return str_eq(buf_str(&old), buf_str(&fresh)) || replace_at(dir, name, buf_str(&fresh), &st, uid, gid, err);
}

bool authorized_keys_uninstall(const char *path, struct str key, struct err *err)
{
    const char *name;
    struct stat st;
    size_t removed = 0;
    struct err e = { 0 };
    CLEANUP(buf_deinit) struct buf old, fresh;
    buf_init(&old, TUNNEL_MAX_AUTHORIZED_KEYS);
    buf_init(&fresh, 2 * TUNNEL_MAX_AUTHORIZED_KEYS);
    CLEANUP(fs_closep) int dir = open_folder(path, 0, 0, false, &name, &e);
    if (dir < 0) {
        return e.code == ERR_NOT_FOUND || err_set(err, e.code, "%s", e.msg);
    }
    if (!read_at(dir, name, &old, &st, err) || !authorized_keys_remove(buf_str(&old), key, &fresh, &removed, err)) {
        return false;
    }
    return removed == 0 || replace_at(dir, name, buf_str(&fresh), &st, 0, 0, err);
}
