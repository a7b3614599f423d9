/*
 * count.so, for LD_PRELOAD: counts what a program allocates, copies (memcpy and memmove that were not inlined, of the program and its
 * libraries, but not of the C library itself) and writes to files, in memory that others can read meanwhile:
 * the file that CORACLE_COUNTS names (64 bytes of counters, laid out as struct usage_counts in bench/usage.h).
 *
 * Numbers of this kind are the same on every machine, so a test can hold them against a ceiling.
 */
#undef _FILE_OFFSET_BITS /* pwrite() and pwrite64() are two names here */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct counts {
    _Atomic uint64_t allocations, bytes, file_bytes, syncs, copied;
    uint64_t unused[3];
};

static struct counts none;
static struct counts *counts = &none;

/* glibc's own names of what is replaced here. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void *__libc_memalign(size_t align, size_t size);
void *memalign(size_t align, size_t size);

/* The real ones, once begin() has looked them up. */
typedef void *copy_fn(void *dst, const void *src, size_t n);
static copy_fn *real_copy, *real_move;

__attribute__((constructor)) static void begin(void)
{
    real_copy = (copy_fn *)dlsym(RTLD_NEXT, "memcpy");
    real_move = (copy_fn *)dlsym(RTLD_NEXT, "memmove");
    const char *path = getenv("CORACLE_COUNTS");
    int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644) : -1;
    if (fd >= 0 && ftruncate(fd, sizeof(struct counts)) == 0) {
        void *p = mmap(NULL, sizeof(struct counts), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (p != MAP_FAILED) {
            counts = p;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
}

static void note(size_t size)
{
    atomic_fetch_add_explicit(&counts->allocations, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&counts->bytes, size, memory_order_relaxed);
}

void *malloc(size_t size)
{
    note(size);
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    note(n * size);
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
    note(size);
    return __libc_realloc(p, size);
}

void *memalign(size_t align, size_t size)
{
    note(size);
    return __libc_memalign(align, size);
}

void *aligned_alloc(size_t align, size_t size)
{
    return memalign(align, size);
}

int posix_memalign(void **ret, size_t align, size_t size)
{
    void *p = memalign(align, size);
    if (!p) {
        return ENOMEM;
    }
    *ret = p;
    return 0;
}

/* ---- copies ---- */

/* Before begin(), and for who copies then. */
static void *copy_slowly(void *dst, const void *src, size_t n)
{
    char *d = dst;
    const char *s = src;
    if (d <= s) {
        for (size_t i = 0; i < n; i++) {
            d[i] = s[i];
        }
    } else {
        for (size_t i = n; i-- > 0;) {
            d[i] = s[i];
        }
    }
    return dst;
}

static void *copy(copy_fn *real, void *dst, const void *src, size_t n)
{
    atomic_fetch_add_explicit(&counts->copied, n, memory_order_relaxed);
    return real ? real(dst, src, n) : copy_slowly(dst, src, n);
}

void *memcpy(void *dst, const void *src, size_t n);
void *memmove(void *dst, const void *src, size_t n);

void *memcpy(void *dst, const void *src, size_t n)
{
    return copy(real_copy, dst, src, n);
}

void *memmove(void *dst, const void *src, size_t n)
{
    return copy(real_move, dst, src, n);
}

/* What _FORTIFY_SOURCE makes of the two. */
void *__memcpy_chk(void *dst, const void *src, size_t n, size_t room);
void *__memmove_chk(void *dst, const void *src, size_t n, size_t room);

void *__memcpy_chk(void *dst, const void *src, size_t n, size_t room)
{
    if (n > room) {
        abort();
    }
    return memcpy(dst, src, n);
}

void *__memmove_chk(void *dst, const void *src, size_t n, size_t room)
{
    if (n > room) {
        abort();
    }
    return memmove(dst, src, n);
}

/* ---- files ---- */

static ssize_t note_written(ssize_t n)
{
    if (n > 0) {
        atomic_fetch_add_explicit(&counts->file_bytes, (uint64_t)n, memory_order_relaxed);
    }
    return n;
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
    return note_written(syscall(SYS_pwrite64, fd, p, n, at));
}

ssize_t pwrite64(int fd, const void *p, size_t n, off64_t at)
{
    return note_written(syscall(SYS_pwrite64, fd, p, n, at));
}

/* Sockets and pipes are no files. */
ssize_t write(int fd, const void *p, size_t n)
{
    struct stat st;
    ssize_t done = syscall(SYS_write, fd, p, n);
    int error = errno;
    if (done > 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        (void)note_written(done);
    }
    errno = error;
    return done;
}

int fsync(int fd)
{
    atomic_fetch_add_explicit(&counts->syncs, 1, memory_order_relaxed);
    return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    atomic_fetch_add_explicit(&counts->syncs, 1, memory_order_relaxed);
    return (int)syscall(SYS_fdatasync, fd);
}
