#include "store/wal-file.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "store/limits.h"

/* What the file of SQLite's own layer may take, behind ours in the same memory: 120 bytes in SQLite 3.40. */
#define OWN_FILE_SIZE 1024

struct wal_file {
    sqlite3_file base;
    sqlite3_file *own;
    char *gathered; /* STORE_WAL_GATHER bytes; made by the first write */
    size_t n;
    sqlite3_int64 at; /* of the first gathered byte in the file */
};

static sqlite3_vfs layer;

/* Whatever the default is now: a test puts its own there. */
static sqlite3_vfs *own_layer(void)
{
    return sqlite3_vfs_find(NULL);
}

static struct wal_file *wal_file_of(sqlite3_file *f)
{
    return (struct wal_file *)f;
}

/* What cannot be written is dropped: SQLite hears of it at the latest when it syncs, gives up the transaction, and writes the next one over
 * it. */
static int put_down(struct wal_file *w)
{
    if (w->n == 0) {
        return SQLITE_OK;
    }
    int r = w->own->pMethods->xWrite(w->own, w->gathered, (int)w->n, w->at);
    w->n = 0;
    return r;
}

static int wal_close(sqlite3_file *f)
{
    struct wal_file *w = wal_file_of(f);
    int r = put_down(w), e = w->own->pMethods->xClose(w->own);
    free(w->gathered);
    w->gathered = NULL;
    return r ? r : e;
}

static int wal_read(sqlite3_file *f, void *dst, int n, sqlite3_int64 at)
{
    struct wal_file *w = wal_file_of(f);
    int r = put_down(w);
    return r ? r : w->own->pMethods->xRead(w->own, dst, n, at);
}

static int wal_write(sqlite3_file *f, const void *src, int n, sqlite3_int64 at)
{
    struct wal_file *w = wal_file_of(f);
    if (!w->gathered && !(w->gathered = malloc(STORE_WAL_GATHER))) {
        return w->own->pMethods->xWrite(w->own, src, n, at);
    }
    if (w->n && (at != w->at + (sqlite3_int64)w->n || w->n + (size_t)n > STORE_WAL_GATHER)) {
        int r = put_down(w);
        if (r) {
            return r;
        }
    }
    if ((size_t)n > STORE_WAL_GATHER) {
        return w->own->pMethods->xWrite(w->own, src, n, at);
    }
    if (w->n == 0) {
        w->at = at;
    }
    memcpy(w->gathered + w->n, src, (size_t)n);
    w->n += (size_t)n;
    return SQLITE_OK;
}

static int wal_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    struct wal_file *w = wal_file_of(f);
    int r = put_down(w);
    return r ? r : w->own->pMethods->xTruncate(w->own, size);
}

static int wal_sync(sqlite3_file *f, int flags)
{
    struct wal_file *w = wal_file_of(f);
    int r = put_down(w);
    return r ? r : w->own->pMethods->xSync(w->own, flags);
}

static int wal_size(sqlite3_file *f, sqlite3_int64 *ret)
{
    struct wal_file *w = wal_file_of(f);
    int r = put_down(w);
    return r ? r : w->own->pMethods->xFileSize(w->own, ret);
}

static int wal_lock(sqlite3_file *f, int level)
{
    struct wal_file *w = wal_file_of(f);
    return w->own->pMethods->xLock(w->own, level);
}

static int wal_unlock(sqlite3_file *f, int level)
{
    struct wal_file *w = wal_file_of(f);
    return w->own->pMethods->xUnlock(w->own, level);
}

static int wal_reserved(sqlite3_file *f, int *ret)
{
    struct wal_file *w = wal_file_of(f);
    return w->own->pMethods->xCheckReservedLock(w->own, ret);
}

static int wal_control(sqlite3_file *f, int op, void *arg)
{
    struct wal_file *w = wal_file_of(f);
    return w->own->pMethods->xFileControl(w->own, op, arg);
}

static int wal_sector(sqlite3_file *f)
{
    struct wal_file *w = wal_file_of(f);
    return w->own->pMethods->xSectorSize(w->own);
}

static int wal_device(sqlite3_file *f)
{
    struct wal_file *w = wal_file_of(f);
    return w->own->pMethods->xDeviceCharacteristics(w->own);
}

/* Version 1: neither shared memory nor mappings belong to a log. */
static const sqlite3_io_methods wal_methods = {
    .iVersion = 1,
    .xClose = wal_close,
    .xRead = wal_read,
    .xWrite = wal_write,
    .xTruncate = wal_truncate,
    .xSync = wal_sync,
    .xFileSize = wal_size,
    .xLock = wal_lock,
    .xUnlock = wal_unlock,
    .xCheckReservedLock = wal_reserved,
    .xFileControl = wal_control,
    .xSectorSize = wal_sector,
    .xDeviceCharacteristics = wal_device,
};

/* Logs get the layer; all other files are SQLite's own. */
static int layer_open(sqlite3_vfs *vfs UNUSED, const char *name, sqlite3_file *f, int flags, int *ret_flags)
{
    sqlite3_vfs *own = own_layer();
    if (own->szOsFile > OWN_FILE_SIZE) {
        return SQLITE_CANTOPEN;
    }
    if (!(flags & SQLITE_OPEN_WAL)) {
        return own->xOpen(own, name, f, flags, ret_flags);
    }
    struct wal_file *w = wal_file_of(f);
    *w = (struct wal_file){ .own = (sqlite3_file *)(w + 1) };
    memset(w->own, 0, (size_t)own->szOsFile);
    int r = own->xOpen(own, name, w->own, flags, ret_flags);
    if (r == SQLITE_OK) {
        w->base.pMethods = &wal_methods;
    } else if (w->own->pMethods) {
        w->own->pMethods->xClose(w->own);
    }
    return r;
}

static int layer_delete(sqlite3_vfs *vfs UNUSED, const char *name, int sync)
{
    sqlite3_vfs *own = own_layer();
    return own->xDelete(own, name, sync);
}

static int layer_access(sqlite3_vfs *vfs UNUSED, const char *name, int flags, int *ret)
{
    sqlite3_vfs *own = own_layer();
    return own->xAccess(own, name, flags, ret);
}

static int layer_full_name(sqlite3_vfs *vfs UNUSED, const char *name, int size, char *ret)
{
    sqlite3_vfs *own = own_layer();
    return own->xFullPathname(own, name, size, ret);
}

static int layer_random(sqlite3_vfs *vfs UNUSED, int n, char *ret)
{
    sqlite3_vfs *own = own_layer();
    return own->xRandomness(own, n, ret);
}

static int layer_sleep(sqlite3_vfs *vfs UNUSED, int us)
{
    sqlite3_vfs *own = own_layer();
    return own->xSleep(own, us);
}

static int layer_time(sqlite3_vfs *vfs UNUSED, double *ret)
{
    sqlite3_vfs *own = own_layer();
    return own->xCurrentTime(own, ret);
}

static int layer_error(sqlite3_vfs *vfs UNUSED, int size, char *ret)
{
    sqlite3_vfs *own = own_layer();
    return own->xGetLastError ? own->xGetLastError(own, size, ret) : 0;
}

static void make_layer(void)
{
    sqlite3_vfs *own = own_layer();
    if (!own) {
        return;
    }
    layer = (sqlite3_vfs){
        .iVersion = 1,
        .szOsFile = (int)sizeof(struct wal_file) + OWN_FILE_SIZE,
        .mxPathname = own->mxPathname,
        .zName = "coracle-gathers-log",
        .xOpen = layer_open,
        .xDelete = layer_delete,
        .xAccess = layer_access,
        .xFullPathname = layer_full_name,
        .xRandomness = layer_random,
        .xSleep = layer_sleep,
        .xCurrentTime = layer_time,
        .xGetLastError = layer_error,
    };
    if (sqlite3_vfs_register(&layer, 0) != SQLITE_OK) {
        layer.zName = NULL;
    }
}

const char *wal_file_layer(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_layer);
    return layer.zName;
}
