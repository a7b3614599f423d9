/* Preloaded into the server: see lossy.h. It uses nothing but the C library. */
#undef _FILE_OFFSET_BITS /* would make "open" another name for "open64": both are to be caught here */
#include "lossy.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { FILES = 16, FDS = 4096 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    char path[PATH_MAX];
    int notes; /* the file of its notes, opened for appending */
} files[FILES];
static int file_of[FDS]; /* index + 1 */
static struct lossy_control *control;
static char folder[PATH_MAX], data[PATH_MAX];

__attribute__((constructor)) static void begin(void)
{
    const char *f = getenv(LOSSY_ENV), *d = getenv(LOSSY_DATA);
    char path[PATH_MAX + 16];
    if (!f || !d) {
        return;
    }
    snprintf(folder, sizeof(folder), "%s", f);
    snprintf(data, sizeof(data), "%s/", d);
    snprintf(path, sizeof(path), "%s/control", folder);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0) {
        return;
    }
    void *p = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    control = p == MAP_FAILED ? NULL : p;
}

static void die_at(enum lossy_die what)
{
    if (control->die == (uint32_t)what && __atomic_sub_fetch(&control->die_count, 1, __ATOMIC_SEQ_CST) == 0) {
        kill(getpid(), SIGKILL);
        pause();
    }
}

/* ---- which descriptors are files of the store ---- */

static void opened(int fd, const char *path)
{
    size_t n = strlen(path), at;
    char notes[PATH_MAX + 32];
    if (!control || fd < 0 || fd >= FDS || strncmp(path, data, strlen(data)) != 0 || (n > 4 && strcmp(path + n - 4, "-shm") == 0) ||
        (n > 5 && strcmp(path + n - 5, "-lock") == 0)) {
        return;
    }
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        return;
    }
    pthread_mutex_lock(&lock);
    for (at = 0; at < FILES && files[at].path[0] && strcmp(files[at].path, path) != 0; at++) {
    }
    if (at < FILES) {
        if (!files[at].path[0]) {
            /* The first line of the notes is the path. */
            snprintf(notes, sizeof(notes), "%s/notes-%s", folder, path + strlen(data));
            files[at].notes = (int)syscall(SYS_openat, AT_FDCWD, notes, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
            snprintf(files[at].path, sizeof(files[at].path), "%s", path);
        }
        file_of[fd] = (int)at + 1;
    }
    pthread_mutex_unlock(&lock);
}

static int open_and_note(const char *path, int flags, mode_t mode)
{
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_LARGEFILE, mode);
    opened(fd, path);
    return fd;
}

#define MODE_OF(flags, mode) \
    va_list ap; \
    va_start(ap, flags); \
    mode_t mode = (flags) & (O_CREAT | __O_TMPFILE) ? va_arg(ap, mode_t) : 0; \
    va_end(ap)

int open64(const char *path, int flags, ...)
{
    MODE_OF(flags, mode);
    return open_and_note(path, flags, mode);
}
int __open64_2(const char *path, int flags);
int __open64_2(const char *path, int flags)
{
    return open_and_note(path, flags, 0);
}
int open(const char *path, int flags, ...)
{
    MODE_OF(flags, mode);
    return open_and_note(path, flags, mode);
}
int __open_2(const char *path, int flags);
int __open_2(const char *path, int flags)
{
    return open_and_note(path, flags, 0);
}

int close(int fd)
{
    if (fd >= 0 && fd < FDS) {
        file_of[fd] = 0;
    }
    return (int)syscall(SYS_close, fd);
}

/* ---- writes ---- */

/* With the lock held. */
static void note(int file, int fd, uint32_t kind, const void *bytes, size_t n, off_t at)
{
    static char *space;
    static size_t space_size;
    struct stat st;
    size_t old_n = 0;
    fstat(fd, &st);
    if (kind == 0) {
        old_n = at >= st.st_size ? 0 : (size_t)(st.st_size - at) < n ? (size_t)(st.st_size - at) : n;
    } else {
        old_n = at >= st.st_size ? 0 : (size_t)(st.st_size - at);
        n = 0;
    }
    struct lossy_note head = { .kind = kind, .n_old = (uint32_t)old_n, .n_new = (uint32_t)n, .at = at, .size_before = st.st_size };
    size_t total = sizeof(head) + old_n + n;
    if (space_size < total) {
        space = realloc(space, space_size = total * 2);
    }
    memcpy(space, &head, sizeof(head));
    if (old_n && syscall(SYS_pread64, fd, space + sizeof(head), old_n, at) != (ssize_t)old_n) {
        /* Opened for writing alone: read it by its path. */
        int again = (int)syscall(SYS_openat, AT_FDCWD, files[file].path, O_RDONLY | O_CLOEXEC, 0);
        if (again < 0 || syscall(SYS_pread64, again, space + sizeof(head), old_n, at) != (ssize_t)old_n) {
            abort();
        }
        syscall(SYS_close, again);
    }
    if (n) {
        memcpy(space + sizeof(head) + old_n, bytes, n);
    }
    if (syscall(SYS_write, files[file].notes, space, total) != (ssize_t)total) {
        abort();
    }
}

static ssize_t write_at(int fd, const void *bytes, size_t n, off_t at)
{
    int file = fd >= 0 && fd < FDS ? file_of[fd] - 1 : -1;
    if (file < 0 || !control) {
        return (ssize_t)syscall(SYS_pwrite64, fd, bytes, n, at);
    }
    pthread_mutex_lock(&lock);
    control->writes++;
    note(file, fd, 0, bytes, n, at);
    if (control->die == LOSSY_DIE_HALF_WRITTEN && control->die_count == 1 && n > 512) {
        syscall(SYS_pwrite64, fd, bytes, n / 1024 * 512, at);
    }
    die_at(LOSSY_DIE_HALF_WRITTEN);
    ssize_t r = (ssize_t)syscall(SYS_pwrite64, fd, bytes, n, at);
    pthread_mutex_unlock(&lock);
    die_at(LOSSY_DIE_WRITE);
    return r;
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t at)
{
    return write_at(fd, bytes, n, at);
}
ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at)
{
    return write_at(fd, bytes, n, at);
}

static int truncate_to(int fd, off_t size)
{
    int file = fd >= 0 && fd < FDS ? file_of[fd] - 1 : -1;
    if (file < 0 || !control) {
        return (int)syscall(SYS_ftruncate, fd, size);
    }
    pthread_mutex_lock(&lock);
    note(file, fd, 1, NULL, 0, size);
    int r = (int)syscall(SYS_ftruncate, fd, size);
    pthread_mutex_unlock(&lock);
    return r;
}
int ftruncate64(int fd, off64_t size)
{
    return truncate_to(fd, size);
}
int ftruncate(int fd, off_t size)
{
    return truncate_to(fd, size);
}

/* ---- syncs ---- */

static int sync_one(int fd, long call)
{
    int file = fd >= 0 && fd < FDS ? file_of[fd] - 1 : -1;
    if (file < 0 || !control) {
        return (int)syscall(call, fd);
    }
    uint32_t stall = __atomic_exchange_n(&control->stall_ms, 0, __ATOMIC_SEQ_CST);
    if (stall) {
        struct timespec t = { .tv_sec = stall / 1000, .tv_nsec = (long)(stall % 1000) * 1000000 };
        nanosleep(&t, NULL);
        control->stalls++;
    }
    if (control->sync_us) {
        struct timespec t = { .tv_nsec = (long)control->sync_us * 1000 };
        nanosleep(&t, NULL);
    }
    die_at(LOSSY_DIE_BEFORE_SYNC);
    pthread_mutex_lock(&lock);
    control->syncs++;
    /* What was noted is on the disk now; the real sync would only take time. */
    int r = (int)syscall(SYS_ftruncate, files[file].notes, 0);
    pthread_mutex_unlock(&lock);
    die_at(LOSSY_DIE_AFTER_SYNC);
    return r;
}
int fdatasync(int fd)
{
    return sync_one(fd, SYS_fdatasync);
}
int fsync(int fd)
{
    return sync_one(fd, SYS_fsync);
}

/* ---- the wall clock ---- */

int clock_gettime(clockid_t id, struct timespec *t)
{
    int r = (int)syscall(SYS_clock_gettime, id, t);
    if (r == 0 && control && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
        t->tv_sec += control->clock_offset_s;
    }
    return r;
}
time_t time(time_t *ret)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (ret) {
        *ret = t.tv_sec;
    }
    return t.tv_sec;
}
int gettimeofday(struct timeval *restrict ret, void *restrict zone)
{
    struct timespec t;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &t);
    ret->tv_sec = t.tv_sec;
    ret->tv_usec = t.tv_nsec / 1000;
    return 0;
}
