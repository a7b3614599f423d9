#include "cluster/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "cluster/place.h"

static bool write_file(const char *path, const char *text)
{
    CLEANUP(fs_closep) int fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

static bool read_file(const char *path, struct buf *b)
{
    buf_clear(b);
    return fs_read(path, 1 << 20, b, NULL);
}

static bool has_word(struct str list, struct str word)
{
    struct str rest = list, piece;
    while (str_split(&rest, ',', &piece)) {
        if (str_eq(piece, word)) {
            return true;
        }
    }
    return false;
}

/* The fields of a mountinfo line that matter: root, mount point, file system type, super options (proc(5)). */
static bool parse_mountinfo(struct str line, struct str *ret_root, struct str *ret_point, struct str *ret_type,
                            struct str *ret_options)
{
    struct str field, rest = line, source;
    for (int i = 1; i <= 5; i++) {
        if (!str_split(&rest, ' ', &field)) {
            return false;
        }
        if (i == 4) {
            *ret_root = field;
        } else if (i == 5) {
            *ret_point = field;
        }
    }
    ptrdiff_t dash = str_find(rest, STR(" - "));
    rest = str_sub(rest, dash < 0 ? rest.len : (size_t)dash + 3, rest.len);
    return str_split(&rest, ' ', ret_type) && str_split(&rest, ' ', &source) && str_split(&rest, ' ', ret_options);
}

/* Where the hierarchy of 'controllers' ("" is version 2) is mounted. */
static bool find_mount(struct str mountinfo, struct str controllers, struct str *ret_point, struct str *ret_root)
{
    struct str line;
    while (str_split(&mountinfo, '\n', &line)) {
        struct str root, point, type, options, first, tail;
        if (!parse_mountinfo(line, &root, &point, &type, &options)) {
            continue;
        }
        (void)str_cut(controllers, ',', &first, &tail);
        bool fits = str_empty(controllers) ? str_eq_c(type, "cgroup2")
                                           : str_eq_c(type, "cgroup") && has_word(options, first);
        if (fits) {
            *ret_point = point;
            *ret_root = root;
            return true;
        }
    }
    return false;
}

/* Cuts a path at its first systemd unit: "/user.slice/x" gives "". */
static struct str above_units(struct str path)
{
    struct str rest = path, piece;
    size_t kept = 0;
    while (str_split(&rest, '/', &piece)) {
        if (str_ends(piece, STR(".slice")) || str_ends(piece, STR(".scope")) || str_ends(piece, STR(".service"))) {
            break;
        }
        kept = (size_t)(piece.ptr - path.ptr) + piece.len;
    }
    while (kept && path.ptr[kept - 1] == '/') {
        kept--;
    }
    return str_sub(path, 0, kept);
}

static bool add_hierarchy(struct cgroups *c, struct str mountinfo, struct str controllers, struct str own)
{
    struct str point, root;
    if (c->n == CGROUP_MAX_HIERARCHIES || !find_mount(mountinfo, controllers, &point, &root)) {
        return false;
    }
    /* In a container without a cgroup namespace the mount shows only the part below 'root'. */
    if (!str_eq_c(root, "/") && str_starts(own, root)) {
        own = str_sub(own, root.len, own.len);
    }
    struct cgroup_hierarchy *h = &c->h[c->n];
    if (!str_to_cstr(controllers, h->controllers, sizeof(h->controllers)) ||
        !str_to_cstr(point, h->mount, sizeof(h->mount)) ||
        !str_to_cstr(above_units(own), h->parent, sizeof(h->parent))) {
        return false;
    }
    char probe[1024];
    snprintf(probe, sizeof(probe), "%s%s", h->mount, h->parent);
    if (access(probe, W_OK) < 0) {
        return false;
    }
    c->n++;
    return true;
}

bool cgroups_detect(struct cgroups *c, struct err *err)
{
    struct buf own, mounts;
    buf_init(&own, 1 << 20);
    buf_init(&mounts, 4 << 20);
    *c = (struct cgroups){ .v2 = false };
    bool ok = fs_read("/proc/self/cgroup", 1 << 20, &own, err) && fs_read("/proc/self/mountinfo", 4 << 20, &mounts, err);
    struct str rest = buf_str(&own), line, v2_path = STR_NULL;
    while (ok && str_split(&rest, '\n', &line)) {
        struct str id, tail, controllers, path;
        if (!str_cut(line, ':', &id, &tail) || !str_cut(tail, ':', &controllers, &path)) {
            continue;
        }
        if (str_empty(controllers)) {
            v2_path = path;
        } else {
            (void)add_hierarchy(c, buf_str(&mounts), controllers, path);
        }
    }
    if (ok && c->n == 0 && v2_path.ptr) {
        c->v2 = add_hierarchy(c, buf_str(&mounts), STR_EMPTY, v2_path);
    }
    buf_deinit(&own);
    buf_deinit(&mounts);
    if (ok && c->n == 0) {
        return err_set(err, ERR_IO, "no control groups to write to: /sys/fs/cgroup is missing or read-only");
    }
    return ok;
}

/* Version 2: what pods are limited by must be there to hand down. */
bool cgroups_suffice(const struct cgroups *c, struct err *err)
{
    static const char *const needed[] = { "cpu", "memory", "pids" };
    const struct cgroup_hierarchy *h = &c->h[0];
    char path[PATH_MAX];
    if (!c->v2) {
        return true;
    }
    struct buf b;
    buf_init(&b, 4096);
    bool ok = fs_read(path_of(path, "%s%s/cgroup.controllers", h->mount, h->parent), 4096, &b, err);
    for (size_t i = 0; ok && i < ARRAY_SIZE(needed); i++) {
        struct str rest = str_trim(buf_str(&b)), word;
        bool there = false;
        while (str_split(&rest, ' ', &word)) {
            there = there || str_eq_c(word, needed[i]);
        }
        if (!there) {
            ok = err_set(err, ERR_UNAVAILABLE, "the control groups in %s%s lack the %s controller", h->mount, h->parent,
                         needed[i]);
        }
    }
    buf_deinit(&b);
    return ok;
}

static void group_path(const struct cgroup_hierarchy *h, const char *path, char dst[PATH_MAX])
{
    path_of(dst, "%s%s/%s", h->mount, h->parent, path);
}

/* Version 1: a cpuset without CPUs takes no process, and new groups start empty. */
static void fill_cpuset(const char *dir)
{
    static const char *const files[] = { "cpuset.cpus", "cpuset.mems" };
    struct buf b;
    buf_init(&b, 1 << 20);
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        char own[PATH_MAX], parent[PATH_MAX];
        path_of(own, "%s/%s", dir, files[i]);
        path_of(parent, "%s/../%s", dir, files[i]);
        if (read_file(own, &b) && str_empty(str_trim(buf_str(&b))) && read_file(parent, &b)) {
            (void)write_file(own, b.ptr ? b.ptr : "");
        }
    }
    buf_deinit(&b);
}

/* Version 2: lets the children of 'dir' have every controller that 'dir' has. */
static bool hand_down(const char *dir, struct err *err)
{
    static const char *const wanted[] = { "cpuset", "cpu", "io", "memory", "hugetlb", "pids" };
    char path[PATH_MAX];
    struct buf has;
    buf_init(&has, 4096);
    path_of(path, "%s/cgroup.controllers", dir);
    bool ok = fs_read(path, 4096, &has, err);
    path_of(path, "%s/cgroup.subtree_control", dir);
    for (size_t i = 0; ok && i < ARRAY_SIZE(wanted); i++) {
        struct str rest = str_trim(buf_str(&has)), word;
        bool offered = false;
        while (str_split(&rest, ' ', &word)) {
            offered = offered || str_eq_c(word, wanted[i]);
        }
        char text[32];
        snprintf(text, sizeof(text), "+%s", wanted[i]);
        if (offered && !write_file(path, text) && errno != EOPNOTSUPP) {
            ok = err_set_errno(err, errno, "cannot hand the %s controller down from %s%s", wanted[i], dir,
                               errno == EBUSY ? " (processes are in it: run this from another control group)" : "");
        }
    }
    buf_deinit(&has);
    return ok;
}

static bool make_one(const struct cgroup_hierarchy *h, const char *dir, struct err *err)
{
    if (mkdir(dir, 0755) < 0 && errno != EEXIST) {
        return err_set_errno(err, errno, "cannot make the control group %s", dir);
    }
    if (strstr(h->controllers, "cpuset")) {
        fill_cpuset(dir);
    }
    return true;
}

bool cgroups_make(const struct cgroups *c, const char *path, struct err *err)
{
    for (size_t i = 0; i < c->n; i++) {
        char full[PATH_MAX], part[PATH_MAX], parent[PATH_MAX];
        group_path(&c->h[i], path, full);
        path_of(parent, "%s%s", c->h[i].mount, c->h[i].parent);
        for (size_t at = strlen(parent) + 1; at <= strlen(full); at++) {
            if (full[at] != '/' && full[at] != '\0') {
                continue;
            }
            path_of(part, "%.*s", (int)at, full);
            if ((c->v2 && !hand_down(parent, err)) || !make_one(&c->h[i], part, err)) {
                return false;
            }
            path_of(parent, "%s", part);
        }
    }
    return true;
}

bool cgroups_make_leaf(const struct cgroups *c, const char *group, const char *leaf, pid_t pid, struct err *err)
{
    char path[PATH_MAX], full[PATH_MAX];
    path_of(path, "%s/%s", group, leaf);
    for (size_t i = 0; i < c->n; i++) {
        group_path(&c->h[i], path, full);
        if (!make_one(&c->h[i], full, err)) {
            return false;
        }
    }
    if (!cgroups_enter(c, path, pid, err)) {
        return false;
    }
    group_path(&c->h[0], group, full);
    return !c->v2 || hand_down(full, err);
}

bool cgroups_enter(const struct cgroups *c, const char *path, pid_t pid, struct err *err)
{
    char text[32];
    snprintf(text, sizeof(text), "%d", (int)pid);
    for (size_t i = 0; i < c->n; i++) {
        char full[PATH_MAX], file[PATH_MAX];
        group_path(&c->h[i], path, full);
        path_of(file, "%s/cgroup.procs", full);
        if (!write_file(file, text)) {
            return err_set_errno(err, errno, "cannot enter the control group %s", full);
        }
    }
    return true;
}

static bool kill_all(const char *dir)
{
    char path[PATH_MAX];
    struct buf b;
    buf_init(&b, 1 << 20);
    path_of(path, "%s/cgroup.procs", dir);
    bool any = false;
    if (read_file(path, &b)) {
        struct str rest = buf_str(&b), line;
        while (str_split(&rest, '\n', &line)) {
            int32_t pid;
            if (str_to_i32(line, &pid) && pid > 1) {
                any = true;
                kill(pid, SIGKILL);
            }
        }
    }
    buf_deinit(&b);
    return any;
}

static int remove_group(const char *dir)
{
    DIR *d = opendir(dir);
    if (!d) {
        return errno == ENOENT ? 0 : -errno;
    }
    struct dirent *e;
    int status = 0;
    while ((e = readdir(d))) {
        char sub[PATH_MAX];
        if (e->d_type != DT_DIR || e->d_name[0] == '.') {
            continue;
        }
        int r = remove_group(path_of(sub, "%s/%s", dir, e->d_name));
        status = r < 0 ? r : status;
    }
    closedir(d);
    /* What was killed leaves its group only when it is reaped; give that a second. */
    for (int tries = 0; rmdir(dir) < 0; tries++) {
        if (errno == ENOENT) {
            return status;
        }
        if (tries == 200) {
            return -errno;
        }
        kill_all(dir);
        usleep(5000);
    }
    return status;
}

bool cgroups_remove(const struct cgroups *c, const char *path, struct err *err)
{
    for (size_t i = 0; i < c->n; i++) {
        char full[PATH_MAX];
        group_path(&c->h[i], path, full);
        int status = remove_group(full);
        if (status < 0) {
            return err_set_errno(err, -status, "cannot remove the control group %s", full);
        }
    }
    return true;
}

bool cgroups_mount(const struct cgroups *c, struct err *err)
{
    const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    if (c->v2) {
        if (mount("cgroup2", "/sys/fs/cgroup", "cgroup2", flags, NULL) < 0) {
            return err_set_errno(err, errno, "cannot mount cgroup2");
        }
        return true;
    }
    if (mount("cgroup", "/sys/fs/cgroup", "tmpfs", flags, "mode=755") < 0) {
        return err_set_errno(err, errno, "cannot mount a tmpfs on /sys/fs/cgroup");
    }
    for (size_t i = 0; i < c->n; i++) {
        char dir[PATH_MAX], options[128];
        const char *what = c->h[i].controllers;
        bool named = strncmp(what, "name=", 5) == 0;
        path_of(dir, "/sys/fs/cgroup/%s", named ? what + 5 : what);
        snprintf(options, sizeof(options), "%s%s", named ? "none," : "", what);
        if (mkdir(dir, 0755) < 0 || mount("cgroup", dir, "cgroup", flags, options) < 0) {
            return err_set_errno(err, errno, "cannot mount the control groups of %s", what);
        }
        struct str rest = str_c(what), one;
        while (!named && strchr(what, ',') && str_split(&rest, ',', &one)) {
            char link[PATH_MAX];
            path_of(link, "/sys/fs/cgroup/%.*s", STR_ARG(one));
            if (symlink(what, link) < 0) {
                return err_set_errno(err, errno, "cannot link %s", link);
            }
        }
    }
    return true;
}

uint64_t cgroups_memory_limit(const struct cgroups *c, const char *path)
{
    uint64_t limit = 0;
    struct buf b;
    buf_init(&b, 4096);
    for (size_t i = 0; i < c->n; i++) {
        if (!c->v2 && !has_word(str_c(c->h[i].controllers), STR("memory"))) {
            continue;
        }
        char dir[PATH_MAX], file[PATH_MAX];
        group_path(&c->h[i], path, dir);
        while (strlen(dir) >= strlen(c->h[i].mount)) {
            uint64_t value;
            path_of(file, "%s/%s", dir, c->v2 ? "memory.max" : "memory.limit_in_bytes");
            /* Version 1 writes "no limit" as a number near 2^63. */
            if (read_file(file, &b) && str_to_u64(str_trim(buf_str(&b)), &value) && value < UINT64_C(1) << 62 &&
                (!limit || value < limit)) {
                limit = value;
            }
            *strrchr(dir, '/') = '\0';
        }
    }
    buf_deinit(&b);
    return limit;
}
