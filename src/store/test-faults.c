#include "store/test-support.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"

/*
 * A file layer under SQLite that hurts: fsyncs that fail, or that take long, a disk that is full in the middle of a write; and one that
 * keeps what would be left if the power failed. It stands before the ordinary one and passes everything on.
 */
static atomic_int fail_syncs, stall_syncs; /* stall: until it is 0 again */
static atomic_int stalled;
static atomic_int half_writes; /* half of what is written finds room */
static const char *_Atomic keep_synced; /* of the store at this path: each file, as it was when it was last synced, beside it */
static pthread_mutex_t synced_lock = PTHREAD_MUTEX_INITIALIZER;

struct hurt_file {
    sqlite3_file base;
    sqlite3_file *real;
    const char *name;
};

/* On any thread, so that it cannot end the test in order. */
static void copy_file(const char *from, const char *to)
{
    CLEANUP(buf_deinit) struct buf b;
    struct err err;
    buf_init(&b, 256u << 20);
    FILE *f = fopen(to, "we");
    if (!f || !fs_read(from, 256u << 20, &b, &err) || (b.len && fwrite(b.ptr, 1, b.len, f) != b.len) || fclose(f) != 0) {
        abort();
    }
}

static sqlite3_vfs *real_vfs;
static sqlite3_vfs hurt_vfs;
static sqlite3_io_methods hurt_methods;

static sqlite3_file *real_of(sqlite3_file *f)
{
    return ((struct hurt_file *)f)->real;
}

static int hurt_close(sqlite3_file *f)
{
    sqlite3_file *r = real_of(f);
    int rc = r->pMethods->xClose(r);
    free(r);
    return rc;
}
static int hurt_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
    return real_of(f)->pMethods->xRead(real_of(f), p, n, at);
}
static int hurt_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
    if (half_writes) {
        (void)real_of(f)->pMethods->xWrite(real_of(f), p, n / 2, at);
        return SQLITE_FULL;
    }
    return real_of(f)->pMethods->xWrite(real_of(f), p, n, at);
}
static int hurt_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    return real_of(f)->pMethods->xTruncate(real_of(f), size);
}
static int hurt_sync(sqlite3_file *f, int flags)
{
    if (fail_syncs) {
        return SQLITE_IOERR_FSYNC;
    }
    while (stall_syncs) {
        stalled = 1;
        usleep(1000);
    }
    stalled = 0;
    const char *name = ((struct hurt_file *)f)->name, *path = keep_synced;
    if (path && strncmp(name, path, strlen(path)) == 0) {
        char kept[200];
        snprintf(kept, sizeof(kept), "%s.synced", name);
        pthread_mutex_lock(&synced_lock);
        copy_file(name, kept);
        pthread_mutex_unlock(&synced_lock);
    }
    return real_of(f)->pMethods->xSync(real_of(f), flags);
}
static int hurt_size(sqlite3_file *f, sqlite3_int64 *ret)
{
    return real_of(f)->pMethods->xFileSize(real_of(f), ret);
}
static int hurt_lock(sqlite3_file *f, int level)
{
    return real_of(f)->pMethods->xLock(real_of(f), level);
}
static int hurt_unlock(sqlite3_file *f, int level)
{
    return real_of(f)->pMethods->xUnlock(real_of(f), level);
}
static int hurt_reserved(sqlite3_file *f, int *ret)
{
    return real_of(f)->pMethods->xCheckReservedLock(real_of(f), ret);
}
static int hurt_control(sqlite3_file *f, int op, void *arg)
{
    return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}
static int hurt_sector(sqlite3_file *f)
{
    return real_of(f)->pMethods->xSectorSize(real_of(f));
}
static int hurt_device(sqlite3_file *f)
{
    return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}
static int hurt_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **ret)
{
    return real_of(f)->pMethods->xShmMap(real_of(f), page, size, extend, ret);
}
static int hurt_shm_lock(sqlite3_file *f, int at, int n, int flags)
{
    return real_of(f)->pMethods->xShmLock(real_of(f), at, n, flags);
}
static void hurt_shm_barrier(sqlite3_file *f)
{
    real_of(f)->pMethods->xShmBarrier(real_of(f));
}
static int hurt_shm_unmap(sqlite3_file *f, int remove)
{
    return real_of(f)->pMethods->xShmUnmap(real_of(f), remove);
}

static int hurt_open(sqlite3_vfs *v UNUSED, const char *name, sqlite3_file *f, int flags, int *ret_flags)
{
    struct hurt_file *h = (struct hurt_file *)f;
    h->real = calloc(1, (size_t)real_vfs->szOsFile);
    int rc = real_vfs->xOpen(real_vfs, name, h->real, flags, ret_flags);
    if (rc != SQLITE_OK) {
        free(h->real);
        h->base.pMethods = NULL;
        return rc;
    }
    h->base.pMethods = &hurt_methods;
    h->name = name;
    return SQLITE_OK;
}

static void hurt_begin(void)
{
    hurt_methods = (sqlite3_io_methods){
        .iVersion = 2, .xClose = hurt_close, .xRead = hurt_read, .xWrite = hurt_write, .xTruncate = hurt_truncate,
        .xSync = hurt_sync, .xFileSize = hurt_size, .xLock = hurt_lock, .xUnlock = hurt_unlock,
        .xCheckReservedLock = hurt_reserved, .xFileControl = hurt_control, .xSectorSize = hurt_sector,
        .xDeviceCharacteristics = hurt_device, .xShmMap = hurt_shm_map, .xShmLock = hurt_shm_lock,
        .xShmBarrier = hurt_shm_barrier, .xShmUnmap = hurt_shm_unmap,
    };
    real_vfs = sqlite3_vfs_find("unix");
    hurt_vfs = *real_vfs;
    hurt_vfs.zName = "hurt";
    hurt_vfs.szOsFile = sizeof(struct hurt_file);
    hurt_vfs.xOpen = hurt_open;
    CHECK_INT(sqlite3_vfs_register(&hurt_vfs, 1), SQLITE_OK);
    fail_syncs = stall_syncs = stalled = half_writes = 0;
    keep_synced = NULL;
}

static void hurt_end(void)
{
    CHECK_INT(sqlite3_vfs_register(real_vfs, 1), SQLITE_OK);
    CHECK_INT(sqlite3_vfs_unregister(&hurt_vfs), SQLITE_OK);
}

TEST(failed_fsync_fails_its_group_and_ends_the_store)
{
    hurt_begin();
    struct fixture *f = fixture_new(true);
    f->sync = true;
    fixture_open(f);
    CHECK_INT(put(f, "ns/before", "1", STORE_ABSENT).status, STORE_OK);
    struct answer a, dependent, other;
    fail_syncs = 1;
    start_write(f, f->pods, "/registry/pods/ns/a", "1", STORE_ABSENT, 0, &a);
    start_write(f, f->pods, "/registry/pods/ns/a", "2", STORE_ABSENT, 0, &dependent);
    start_write(f, f->pods, "/registry/pods/ns/b", "1", STORE_ABSENT, 0, &other);
    fixture_wait(f, &a.done);
    fixture_wait(f, &dependent.done);
    fixture_wait(f, &other.done);
    CHECK_INT(a.status, STORE_E_IO);
    CHECK_INT(dependent.status, STORE_E_IO);
    CHECK_INT(other.status, STORE_E_IO);
    CHECK(strstr(f->fatal, "cannot make a group durable"));
    CHECK_INT(f->n_events, 1);
    fail_syncs = 0;
    CHECK_INT(put(f, "ns/after", "1", STORE_ABSENT).status, STORE_E_IO);
    fixture_end(f);
    hurt_end();
}

TEST(stalled_disk_delays_durable_writes_and_leases_go_on_being_renewed)
{
    hurt_begin();
    struct fixture *f = fixture_new(true);
    f->sync = true;
    fixture_open(f);
    struct answer lease = do_write_to(f, f->leases, "/registry/leases/ns/l", "1", STORE_ABSENT, 0), a, b;
    stall_syncs = 1;
    start_write(f, f->pods, "/registry/pods/ns/a", "1", STORE_ABSENT, 0, &a);
    while (!stalled) {
        fixture_turn_ms(f, 1);
    }
    for (int i = 0; i < 200; i++) {
        lease = do_write_to(f, f->leases, "/registry/leases/ns/l", "renewed", lease.revision, STORE_VOLATILE);
        CHECK_INT(lease.status, STORE_OK);
    }
    CHECK_INT(store_resource_watermark(f->leases), lease.revision);
    CHECK(!a.done);
    /* What comes after it in the same resource waits, volatile or not. */
    start_write(f, f->leases, "/registry/leases/ns/m", "1", STORE_ABSENT, 0, &b);
    fixture_turn_ms(f, 50);
    CHECK(!a.done && !b.done);
    stall_syncs = 0;
    fixture_wait(f, &a.done);
    fixture_wait(f, &b.done);
    CHECK_INT(a.status, STORE_OK);
    CHECK_INT(b.status, STORE_OK);
    CHECK_INT(f->n_events, 203);
    fixture_end(f);
    hurt_end();
}

/* Many pages: the log is written in several pieces. */
static void put_big(struct fixture *f, const char *name, enum store_status want)
{
    static char value[200000];
    memset(value, 'v', sizeof(value) - 1);
    CHECK_INT(put(f, name, value, STORE_ABSENT).status, want);
}

TEST(disk_that_is_full_in_the_middle_of_the_log_loses_nothing_that_was_acknowledged)
{
    hurt_begin();
    struct fixture *f = fixture_new(true);
    f->sync = true;
    fixture_open(f);
    CHECK_INT(put(f, "ns/before", "1", STORE_ABSENT).status, STORE_OK);
    half_writes = 1;
    CHECK_INT(put(f, "ns/small", "1", STORE_ABSENT).status, STORE_E_FULL);
    put_big(f, "ns/big", STORE_E_FULL);
    half_writes = 0;
    CHECK_INT(put(f, "ns/after", "1", STORE_ABSENT).status, STORE_OK);
    CHECK_STR_C(str_c(f->fatal), "");
    fixture_close(f);
    fixture_open(f);
    const char *all = dump(f, "/registry/pods/");
    CHECK(strstr(all, "ns/before=1@") && strstr(all, "ns/after=1@") && !strstr(all, "small") && !strstr(all, "big"));
    fixture_end(f);
    hurt_end();
}

/* Opens what is on the disk after a power failure now, in another place. */
static void check_after_power_failure(const struct fixture *f, int written)
{
    struct fixture *left = fixture_new(true);
    char from[200], to[200], key[64];
    left->sync = true;
    pthread_mutex_lock(&synced_lock);
    for (int i = 0; i < 2; i++) {
        snprintf(from, sizeof(from), "%s%s.synced", f->path, i ? "-wal" : "");
        snprintf(to, sizeof(to), "%s%s", left->path, i ? "-wal" : "");
        copy_file(from, to);
    }
    pthread_mutex_unlock(&synced_lock);
    fixture_open(left);
    for (int i = 0; i < written; i++) {
        snprintf(key, sizeof(key), "/registry/pods/ns/p%03d", i);
        CHECK(strstr(dump(left, key), "="));
    }
    fixture_end(left);
}

TEST(what_was_acknowledged_was_synced_before)
{
    hurt_begin();
    (void)setenv("CORACLE_WAL_PAGES", "150", 1); /* the log starts over several times */
    struct fixture *f = fixture_new(true);
    char name[32];
    f->sync = true;
    keep_synced = f->path;
    fixture_open(f);
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof(name), "ns/p%03d", i);
        if (i % 8 == 7) {
            put_big(f, name, STORE_OK);
        } else {
            CHECK_INT(put(f, name, "1", STORE_ABSENT).status, STORE_OK);
        }
        check_after_power_failure(f, i + 1);
    }
    fixture_close(f);
    keep_synced = NULL;
    fixture_end(f);
    (void)unsetenv("CORACLE_WAL_PAGES");
    hurt_end();
}
