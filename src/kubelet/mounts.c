#include "kubelet/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"

/* A node of 110 pods has about a thousand mounts of 200 bytes each. */
#define MAX_MOUNTINFO (64u << 20)
/* Mounts may lie on top of each other; each round takes off the upper ones. */
#define MAX_ROUNDS 64

static bool is_octal(char c)
{
    return c >= '0' && c <= '7';
}

/* Space, tab, newline and backslash come as \040 and the like. */
static struct str unescape(struct arena *a, struct str s)
{
    char *out = arena_alloc(a, s.len + 1);
    size_t n = 0;
    if (!out) {
        return STR_NULL;
    }
    for (size_t i = 0; i < s.len; i++) {
        const char *p = s.ptr + i;
        if (*p == '\\' && s.len - i > 3 && p[1] <= '3' && is_octal(p[1]) && is_octal(p[2]) && is_octal(p[3])) {
            out[n++] = (char)((p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0'));
            i += 3;
        } else {
            out[n++] = *p;
        }
    }
    return str_n(out, n);
}

bool mounts_next(struct arena *a, struct str *rest, struct str *ret_path)
{
    struct str line;
    while (str_split(rest, '\n', &line)) {
        struct str field = STR_NULL, fields = line;
        int n = 0;
        while (n < 5 && str_split(&fields, ' ', &field)) {
            n++;
        }
        if (n == 5 && field.len && field.ptr[0] == '/') {
            *ret_path = unescape(a, field);
            return ret_path->ptr != NULL;
        }
    }
    return false;
}

static bool read_mountinfo(struct buf *b, struct err *err)
{
    CLEANUP(fs_closep) int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    ssize_t n = 1;
    if (fd < 0) {
        return err_set_errno(err, errno, "cannot open /proc/self/mountinfo");
    }
    while (n > 0) {
        char *at = buf_reserve(b, 65536);
        n = at ? read(fd, at, 65536) : -1;
        buf_commit(b, n > 0 ? (size_t)n : 0);
    }
    return n == 0 || err_set_errno(err, buf_failed(b) ? ENOMEM : errno, "cannot read /proc/self/mountinfo");
}

bool mounts_has(const char *dir, bool *ret, struct err *err)
{
    CLEANUP(buf_deinit) struct buf b;
    CLEANUP(arena_deinit) struct arena a;
    char real[PATH_MAX];
    struct str path;
    buf_init(&b, MAX_MOUNTINFO);
    arena_init(&a, MAX_MOUNTINFO);
    *ret = false;
    if (!realpath(dir, real)) {
        return errno == ENOENT || err_set_errno(err, errno, "cannot resolve %s", dir);
    }
    if (!read_mountinfo(&b, err)) {
        return false;
    }
    for (struct str rest = buf_str(&b); !*ret && mounts_next(&a, &rest, &path);) {
        *ret = str_eq_c(path, real);
    }
    return true;
}

bool mounts_tmpfs(const char *dir, int64_t size, int64_t gid, struct err *err)
{
    char options[128];
    bool there;
    if (!fs_mkdirs(dir, 0777, err) || !mounts_has(dir, &there, err)) {
        return false;
    }
    if (there) {
        return true;
    }
    /* Mode and group come with the mount: there is no moment in which they are others. */
    int n = snprintf(options, sizeof(options), "mode=%s", gid >= 0 ? "02777" : "0777");
    if (gid >= 0) {
        n += snprintf(options + n, sizeof(options) - (size_t)n, ",gid=%lld", (long long)gid);
    }
    if (size > 0) {
        snprintf(options + n, sizeof(options) - (size_t)n, ",size=%lld", (long long)size);
    }
    return mount("tmpfs", dir, "tmpfs", MS_NOSUID | MS_NODEV, options) == 0 || err_set_errno(err, errno, "cannot mount a tmpfs on %s", dir);
}

static bool make_target(const char *target, bool folder, struct err *err)
{
    char up[PATH_MAX];
    if (folder) {
        return fs_mkdirs(target, 0750, err);
    }
    snprintf(up, sizeof(up), "%s", target);
    *strrchr(up, '/') = '\0';
    if (!fs_mkdirs(up, 0750, err)) {
        return false;
    }
    CLEANUP(fs_closep) int fd = open(target, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0640);
    return fd >= 0 || err_set_errno(err, errno, "cannot make %s", target);
}

bool mounts_bind_fd(int fd, const char *target, struct err *err)
{
    char link[64];
    struct stat st, old;
    bool there;
    if (fstat(fd, &st) < 0) {
        return err_set_errno(err, errno, "cannot look at what is mounted on %s", target);
    }
    for (int i = 0; i < MAX_ROUNDS; i++) {
        if (!mounts_has(target, &there, err)) {
            return false;
        }
        if (!there) {
            break;
        }
        if (umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW) < 0) {
            return err_set_errno(err, errno, "cannot unmount %s", target);
        }
    }
    /* The target of an earlier run may be of the other sort. */
    if (lstat(target, &old) == 0 && S_ISDIR(old.st_mode) != S_ISDIR(st.st_mode) &&
        (S_ISDIR(old.st_mode) ? rmdir(target) : unlink(target)) < 0) {
        return err_set_errno(err, errno, "cannot replace %s", target);
    }
    if (!make_target(target, S_ISDIR(st.st_mode), err)) {
        return false;
    }
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    return mount(link, target, NULL, MS_BIND, NULL) == 0 || err_set_errno(err, errno, "cannot bind to %s", target);
}

/* Sets '*ret_left' to how many mounts were seen below 'dir', having unmounted, the last ones first, what let itself be. */
static bool clear_round(const char *dir, size_t *ret_left, struct err *err)
{
    CLEANUP(buf_deinit) struct buf b;
    CLEANUP(arena_deinit) struct arena a;
    struct str path, *found = NULL;
    size_t n = 0, capacity = 0, len = strlen(dir);
    buf_init(&b, MAX_MOUNTINFO);
    arena_init(&a, 4 * (size_t)MAX_MOUNTINFO);
    if (!read_mountinfo(&b, err)) {
        return false;
    }
    for (struct str rest = buf_str(&b); mounts_next(&a, &rest, &path);) {
        if (!str_starts(path, str_c(dir)) || path.len <= len || path.ptr[len] != '/') {
            continue;
        }
        if (n == capacity) {
            capacity = capacity ? capacity * 2 : 64;
            found = arena_grow_n(&a, found, n, capacity, sizeof(*found));
            if (!found) {
                return err_set(err, ERR_NO_MEMORY, "too many mounts below %s", dir);
            }
        }
        found[n++] = path;
    }
    *ret_left = n;
    while (n) {
        char point[PATH_MAX];
        if (!str_to_cstr(found[--n], point, sizeof(point)) || umount2(point, MNT_DETACH | UMOUNT_NOFOLLOW) < 0) {
            err_set_errno(err, errno, "cannot unmount %s", point);
        }
    }
    return true;
}

bool mounts_clear(const char *dir, struct err *err)
{
    char real[PATH_MAX];
    struct err why = { 0 };
    size_t left = 1, before = SIZE_MAX;
    if (!realpath(dir, real)) {
        return errno == ENOENT || err_set_errno(err, errno, "cannot resolve %s", dir);
    }
    for (int i = 0; i < MAX_ROUNDS; i++) {
        if (!clear_round(real, &left, &why)) {
            return err_set(err, why.code, "%s", why.msg);
        }
        if (left == 0) {
            return true;
        }
        if (left >= before) {
            break;
        }
        before = left;
    }
    return err_set(err, ERR_IO, "mounts are left below %s: %s", real, why.code ? why.msg : "they come back");
}
