#include "kubelet/disk-use.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct disk_walk {
    dev_t device;
    struct disk_use use;
    unsigned depth;
    DIR *stack[DISK_USE_DEPTH];
};

/* Takes the descriptor. */
static bool push(struct disk_walk *w, int fd)
{
    DIR *d = w->depth < DISK_USE_DEPTH ? fdopendir(fd) : NULL;
    if (!d) {
        close(fd);
        return false;
    }
    w->stack[w->depth++] = d;
    return true;
}

static void count(struct disk_walk *w, const struct stat *st)
{
    uint64_t bytes = (uint64_t)st->st_blocks * 512;
    w->use.inodes++;
    w->use.bytes += S_ISDIR(st->st_mode) ? bytes : bytes / (uint64_t)(st->st_nlink > 0 ? st->st_nlink : 1);
}

struct disk_walk *disk_walk_new(const char *dir, int *ret_errno)
{
    struct stat st;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0) {
        *ret_errno = -errno;
        if (fd >= 0) {
            close(fd);
        }
        return NULL;
    }
    struct disk_walk *w = calloc(1, sizeof(*w));
    if (!w) {
        abort();
    }
    w->device = st.st_dev;
    count(w, &st);
    if (!push(w, fd)) {
        *ret_errno = -ENOMEM;
        return disk_walk_free(w);
    }
    return w;
}

static void look_at(struct disk_walk *w, DIR *d, const char *name)
{
    struct stat st;
    if (fstatat(dirfd(d), name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_dev != w->device) {
        return; /* gone meanwhile, or something that is mounted there */
    }
    count(w, &st);
    if (S_ISDIR(st.st_mode)) {
        int fd = openat(dirfd(d), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        bool deep = w->depth == DISK_USE_DEPTH;
        if (fd >= 0 && !push(w, fd) && deep) {
            w->use.too_deep = true;
        }
    }
}

bool disk_walk_step(struct disk_walk *w, size_t n, struct disk_use *ret)
{
    while (n-- > 0 && w->depth > 0) {
        DIR *d = w->stack[w->depth - 1];
        const struct dirent *e = readdir(d);
        if (!e) {
            closedir(d);
            w->depth--;
        } else if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            look_at(w, d, e->d_name);
        }
    }
    *ret = w->use;
    return w->depth == 0;
}

struct disk_walk *disk_walk_free(struct disk_walk *w)
{
    while (w && w->depth > 0) {
        closedir(w->stack[--w->depth]);
    }
    free(w);
    return NULL;
}
