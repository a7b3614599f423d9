#include "store/sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/rand.h"
#include "store/failpoint.h"
#include "store/limits.h"
#include "store/wal-file.h"

enum read_statement {
    READ_GET,
    READ_GET_VALUE,
    READ_RANGE,
    READ_RANGE_ALL,
    READ_BEGIN,
    READ_END,
    READ_N,
};
enum write_statement {
    WRITE_BEGIN,
    WRITE_COMMIT,
    WRITE_ROLLBACK,
    WRITE_PUT,
    WRITE_DELETE,
    WRITE_RESERVE,
    WRITE_BEGIN_RUN,
    WRITE_END_RUN,
    WRITE_FREE_PAGES,
    WRITE_PAGES,
    WRITE_N,
};

static const char *const read_sql[READ_N] = {
    [READ_GET] = "SELECT rev FROM kv WHERE key = ?1",
    [READ_GET_VALUE] = "SELECT rev, value FROM kv WHERE key = ?1",
    [READ_RANGE] = "SELECT key, rev, value FROM kv WHERE key >= ?1 AND key < ?2 ORDER BY key",
    [READ_RANGE_ALL] = "SELECT key, rev, value FROM kv WHERE key >= ?1 ORDER BY key",
    [READ_BEGIN] = "BEGIN",
    [READ_END] = "COMMIT",
};
static const char *const write_sql[WRITE_N] = {
    [WRITE_BEGIN] = "BEGIN IMMEDIATE",
    [WRITE_COMMIT] = "COMMIT",
    [WRITE_ROLLBACK] = "ROLLBACK",
    [WRITE_PUT] = ("INSERT INTO kv (key, rev, expires, value) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (key) DO UPDATE "
                   "SET rev = excluded.rev, expires = excluded.expires, value = excluded.value"),
    [WRITE_DELETE] = "DELETE FROM kv WHERE key = ?1",
    [WRITE_RESERVE] = "UPDATE meta SET reserved = ?1",
    [WRITE_BEGIN_RUN] = "UPDATE meta SET run = ?1, clean = 0, reserved = ?2",
    [WRITE_END_RUN] = "UPDATE meta SET clean = 1, reserved = ?1, n_keys = ?2",
    [WRITE_FREE_PAGES] = "PRAGMA freelist_count",
    [WRITE_PAGES] = "PRAGMA page_count",
};

struct sqlite {
    struct backend base;
    char *path;
    int lock_fd;
    struct backend_meta meta;
    sqlite3 *reader, *writer;
    sqlite3_stmt *read[READ_N];
    sqlite3_stmt *write[WRITE_N];
    /* Of the committer. */
    int wal_pages, wal_limit, wal_max;
    int wal_next; /* pages at which it is copied into the file next */
    unsigned commits;
    bool shrinks; /* the file has the pointer maps for it */
    bool reading; /* of the sequencer: a read transaction is open */
    off_t wal_bytes; /* of the file: what lies behind the pages is zeros */
    bool no_sync;

    pthread_mutex_t lock; /* guards 'stats' */
    struct backend_stats stats;
};

static struct sqlite *sqlite_of(struct backend *be)
{
    return CONTAINER_OF(be, struct sqlite, base);
}

/* ---- opening ---- */

static void close_connection(sqlite3 **db, sqlite3_stmt **stmt, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        sqlite3_finalize(stmt[i]);
        stmt[i] = NULL;
    }
    sqlite3_close(*db);
    *db = NULL;
}

static void sqlite_backend_close(struct backend *be)
{
    struct sqlite *s = sqlite_of(be);
    close_connection(&s->reader, s->read, READ_N);
    close_connection(&s->writer, s->write, WRITE_N);
    fs_closep(&s->lock_fd);
    pthread_mutex_destroy(&s->lock);
    free(s->path);
    free(s);
}

/* File systems over a network do not promise what SQLite's WAL needs: shared memory, locks, and fsync that means it. */
static const char *network_fs(long type)
{
    switch ((unsigned long)type) {
    case 0x6969: return "NFS";
    case 0xff534d42: return "CIFS";
    case 0xfe534d42: return "SMB2";
    case 0x517b: return "SMB";
    case 0x01021997: return "9P";
    case 0x00c36400: return "Ceph";
    case 0x5346414f: return "AFS";
    case 0x564c: return "NCP";
    case 0x01161970: return "GFS2";
    case 0x0bd00bd0: return "Lustre";
    default: return NULL;
    }
}

static bool check_folder(const char *path, struct err *err)
{
    char dir[PATH_MAX];
    if (snprintf(dir, sizeof(dir), "%s", path) >= (int)sizeof(dir)) {
        return err_set(err, ERR_BAD_REQUEST, "path of the store is too long: %s", path);
    }
    char *slash = strrchr(dir, '/');
    if (slash) {
        slash[slash == dir ? 1 : 0] = '\0';
    } else {
        snprintf(dir, sizeof(dir), ".");
    }
    struct statfs fs;
    struct statvfs vfs;
    if (statfs(dir, &fs) < 0 || statvfs(dir, &vfs) < 0) {
        return err_set_errno(err, errno, "cannot use folder %s for the store", dir);
    }
    const char *net = network_fs(fs.f_type);
    if (net) {
        return err_set(err, ERR_IO, "folder %s is on a network file system (%s), which cannot keep the store safe: use a "
                                    "local disk", dir, net);
    }
    if (vfs.f_flag & ST_RDONLY) {
        return err_set(err, ERR_IO, "folder %s is on a read-only file system: the store must be able to write", dir);
    }
    if (access(dir, W_OK | X_OK) < 0) {
        return err_set_errno(err, errno, "cannot write to folder %s of the store", dir);
    }
    return true;
}

/* SQLite would let two processes write in turns; two sequencers would not agree. */
static bool take_lock(struct sqlite *s, struct err *err)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof(path), "%s-lock", s->path) >= (int)sizeof(path)) {
        return err_set(err, ERR_BAD_REQUEST, "path of the store is too long: %s", s->path);
    }
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (s->lock_fd < 0) {
        return err_set_errno(err, errno, "cannot open %s", path);
    }
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EWOULDBLOCK) {
            return err_set(err, ERR_IO, "store %s is in use by another process", s->path);
        }
        return err_set_errno(err, errno, "cannot lock %s", path);
    }
    return true;
}

static bool db_error(struct sqlite *s, sqlite3 *db, const char *what, struct err *err)
{
    int code = db ? sqlite3_errcode(db) : SQLITE_NOMEM;
    if (code == SQLITE_NOTADB) {
        return err_set(err, ERR_IO, "%s is not a store of ours: it is no SQLite database", s->path);
    }
    if (code == SQLITE_CORRUPT) {
        return err_set(err, ERR_IO, "store %s is damaged (%s): restore a backup", s->path, sqlite3_errmsg(db));
    }
    if (code == SQLITE_FULL) {
        return err_set(err, ERR_IO, "cannot %s store %s: the disk is full", what, s->path);
    }
    if (code == SQLITE_READONLY || code == SQLITE_CANTOPEN || code == SQLITE_PERM) {
        return err_set(err, ERR_IO, "cannot %s store %s: %s; it must be writable", what, s->path, sqlite3_errmsg(db));
    }
    return err_set(err, ERR_IO, "cannot %s store %s: %s", what, s->path, db ? sqlite3_errmsg(db) : "no memory");
}

static bool run_sql(struct sqlite *s, sqlite3 *db, const char *sql, struct err *err)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? true : db_error(s, db, "open", err);
}

static bool read_int(struct sqlite *s, sqlite3 *db, const char *sql, int64_t *ret, struct err *err)
{
    sqlite3_stmt *st = NULL;
    bool ok = sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW;
    if (ok) {
        *ret = sqlite3_column_int64(st, 0);
    } else {
        db_error(s, db, "read", err);
    }
    sqlite3_finalize(st);
    return ok;
}

static bool open_connection(struct sqlite *s, sqlite3 **db, bool no_sync, struct err *err)
{
    if (sqlite3_open_v2(s->path, db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                        no_sync ? NULL : wal_file_layer()) != SQLITE_OK) {
        return db_error(s, *db, "open", err);
    }
    char sql[384];
    snprintf(sql, sizeof(sql),
             "PRAGMA page_size=2048; PRAGMA auto_vacuum=NONE; PRAGMA cache_size=-%d; PRAGMA temp_store=MEMORY; "
             "PRAGMA mmap_size=0; PRAGMA journal_size_limit=%d; "
             "PRAGMA journal_mode=WAL; PRAGMA synchronous=%s; PRAGMA wal_autocheckpoint=0; PRAGMA foreign_keys=OFF",
             STORE_SQLITE_CACHE_KIB, STORE_WAL_PAGES * (2048 + 24) + 2 * STORE_WAL_AHEAD, no_sync ? "OFF" : "FULL");
    sqlite3_busy_timeout(*db, 10000);
    sqlite3_extended_result_codes(*db, 0);
    return run_sql(s, *db, sql, err);
}

static bool make_tables(struct sqlite *s, struct err *err)
{
    char sql[1024], id[33] = "";
    uint8_t raw[16];
    rand_bytes(raw, sizeof(raw));
    for (size_t i = 0; i < sizeof(raw); i++) {
        snprintf(id + 2 * i, 3, "%02x", raw[i]);
    }
    snprintf(sql, sizeof(sql),
             "BEGIN IMMEDIATE;"
             "PRAGMA application_id=%d; PRAGMA user_version=%d;"
             "CREATE TABLE meta (one INTEGER PRIMARY KEY CHECK (one = 1), id BLOB NOT NULL, run INTEGER NOT NULL,"
             " reserved INTEGER NOT NULL, clean INTEGER NOT NULL, n_keys INTEGER NOT NULL);"
             "CREATE TABLE kv (id INTEGER PRIMARY KEY, rev INTEGER NOT NULL, expires INTEGER, key BLOB NOT NULL UNIQUE,"
             " value BLOB NOT NULL);"
             "CREATE INDEX expiry ON kv (expires) WHERE expires IS NOT NULL;"
             "INSERT INTO meta VALUES (1, x'%s', 0, 0, 1, 0);"
             "COMMIT",
             SQLITE_APPLICATION_ID, SQLITE_FORMAT_VERSION, id);
    if (!run_sql(s, s->writer, sql, err)) {
        (void)sqlite3_exec(s->writer, "ROLLBACK", NULL, NULL, NULL);
        return false;
    }
    s->meta.fresh = true;
    return true;
}

/* Ours, of a version that we read, and not damaged? */
static bool check_format(struct sqlite *s, struct err *err)
{
    int64_t tables, app, version;
    if (!read_int(s, s->writer, "SELECT count(*) FROM sqlite_master", &tables, err) ||
        !read_int(s, s->writer, "PRAGMA application_id", &app, err) ||
        !read_int(s, s->writer, "PRAGMA user_version", &version, err)) {
        return false;
    }
    if (tables == 0 && app == 0) {
        return make_tables(s, err);
    }
    if (app != SQLITE_APPLICATION_ID) {
        return err_set(err, ERR_IO, "%s is a database of another program", s->path);
    }
    if (version > SQLITE_FORMAT_VERSION) {
        return err_set(err, ERR_IO, "store %s was written by a newer Coracle (format %lld, this one knows %d): use that one",
                       s->path, (long long)version, SQLITE_FORMAT_VERSION);
    }
    return true;
}

static bool quick_check(struct sqlite *s, struct err *err)
{
    sqlite3_stmt *st = NULL;
    bool ok = sqlite3_prepare_v2(s->writer, "PRAGMA quick_check(1)", -1, &st, NULL) == SQLITE_OK &&
              sqlite3_step(st) == SQLITE_ROW;
    if (!ok) {
        db_error(s, s->writer, "check", err);
    } else {
        const char *text = (const char *)sqlite3_column_text(st, 0);
        ok = text && strcmp(text, "ok") == 0;
        if (!ok) {
            err_set(err, ERR_IO, "store %s is damaged (%s): restore a backup", s->path, text ? text : "unreadable");
        }
    }
    sqlite3_finalize(st);
    return ok;
}

/* After a crash everything is read once: pages, and that no revision is above the block that was reserved. */
static bool check_all(struct sqlite *s, struct err *err)
{
    int64_t newest, keys;
    if (!quick_check(s, err) || !read_int(s, s->writer, "SELECT coalesce(max(rev), 0) FROM kv", &newest, err) ||
        !read_int(s, s->writer, "SELECT count(*) FROM kv", &keys, err)) {
        return false;
    }
    if (newest > s->meta.reserved) {
        return err_set(err, ERR_IO, "store %s is damaged (revision %lld is above %lld, which was the last one reserved): "
                                    "restore a backup", s->path, (long long)newest, (long long)s->meta.reserved);
    }
    s->stats.keys = (uint64_t)keys;
    return true;
}

static bool read_meta(struct sqlite *s, struct err *err)
{
    sqlite3_stmt *st = NULL;
    bool ok = sqlite3_prepare_v2(s->writer, "SELECT id, run, reserved, clean, n_keys FROM meta", -1, &st, NULL) == SQLITE_OK &&
              sqlite3_step(st) == SQLITE_ROW && sqlite3_column_bytes(st, 0) == 16;
    if (!ok) {
        db_error(s, s->writer, "read", err);
        sqlite3_finalize(st);
        return false;
    }
    memcpy(s->meta.id, sqlite3_column_blob(st, 0), 16);
    s->meta.run = sqlite3_column_int64(st, 1);
    s->meta.reserved = sqlite3_column_int64(st, 2);
    s->meta.clean = sqlite3_column_int(st, 3) != 0;
    s->stats.keys = (uint64_t)sqlite3_column_int64(st, 4);
    sqlite3_finalize(st);
    return s->meta.clean || check_all(s, err);
}

static bool prepare_all(struct sqlite *s, struct err *err)
{
    for (size_t i = 0; i < READ_N; i++) {
        if (sqlite3_prepare_v3(s->reader, read_sql[i], -1, SQLITE_PREPARE_PERSISTENT, &s->read[i], NULL) != SQLITE_OK) {
            return db_error(s, s->reader, "open", err);
        }
    }
    for (size_t i = 0; i < WRITE_N; i++) {
        if (sqlite3_prepare_v3(s->writer, write_sql[i], -1, SQLITE_PREPARE_PERSISTENT, &s->write[i], NULL) != SQLITE_OK) {
            return db_error(s, s->writer, "open", err);
        }
    }
    return true;
}

static int on_wal(void *arg, sqlite3 *db UNUSED, const char *name UNUSED, int pages)
{
    ((struct sqlite *)arg)->wal_pages = pages;
    return SQLITE_OK;
}

static const struct backend_ops sqlite_ops;

struct backend *sqlite_open(const char *path, bool no_sync, struct err *err)
{
    struct sqlite *s = calloc(1, sizeof(*s));
    if (!s || !(s->path = strdup(path))) {
        abort();
    }
    s->base.ops = &sqlite_ops;
    s->lock_fd = -1;
    pthread_mutex_init(&s->lock, NULL);
    mode_t mask = umask(077); /* the file holds Secrets */
    bool ok = check_folder(path, err) && take_lock(s, err) && open_connection(s, &s->writer, no_sync, err) &&
              check_format(s, err) && read_meta(s, err) && open_connection(s, &s->reader, no_sync, err) &&
              prepare_all(s, err);
    umask(mask);
    if (!ok) {
        sqlite_backend_close(&s->base);
        return NULL;
    }
    int64_t vacuum = 0;
    s->shrinks = read_int(s, s->writer, "PRAGMA auto_vacuum", &vacuum, err) && vacuum == 2;
    int keep = 1;
    sqlite3_wal_hook(s->writer, on_wal, s);
    (void)sqlite3_file_control(s->writer, NULL, SQLITE_FCNTL_PERSIST_WAL, &keep);
    (void)sqlite3_file_control(s->reader, NULL, SQLITE_FCNTL_PERSIST_WAL, &keep);
    s->no_sync = no_sync;
    s->wal_limit = (int)failpoint_number("CORACLE_WAL_PAGES", STORE_WAL_PAGES);
    s->wal_next = s->wal_limit;
    s->wal_max = (int)failpoint_number("CORACLE_WAL_MAX_PAGES", STORE_WAL_MAX_PAGES);
    return &s->base;
}

static void sqlite_meta(struct backend *be, struct backend_meta *ret)
{
    *ret = sqlite_of(be)->meta;
}

/* ---- reading ---- */

static void bind_blob(sqlite3_stmt *st, int at, struct str s)
{
    /* A NULL pointer would bind NULL: an empty value is a value. */
    sqlite3_bind_blob(st, at, s.ptr ? s.ptr : "", (int)s.len, SQLITE_STATIC);
}

static struct str column_blob(sqlite3_stmt *st, int at)
{
    const void *p = sqlite3_column_blob(st, at);
    int n = sqlite3_column_bytes(st, at);
    if (!p) {
        return sqlite3_column_type(st, at) == SQLITE_NULL ? STR_NULL : STR_EMPTY;
    }
    return str_n(p, (size_t)n);
}

static enum backend_result read_end(sqlite3_stmt *st, int code)
{
    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
    return code == SQLITE_DONE || code == SQLITE_ROW ? BACKEND_OK : BACKEND_FAILED;
}

/* One read transaction until sqlite_refresh(): locks of the file are taken once, and pages that were read stay. */
static void begin_reading(struct sqlite *s)
{
    if (!s->reading) {
        s->reading = sqlite3_step(s->read[READ_BEGIN]) == SQLITE_DONE;
        sqlite3_reset(s->read[READ_BEGIN]);
    }
}

static void sqlite_refresh(struct backend *be)
{
    struct sqlite *s = sqlite_of(be);
    if (s->reading) {
        (void)sqlite3_step(s->read[READ_END]);
        sqlite3_reset(s->read[READ_END]);
        s->reading = !sqlite3_get_autocommit(s->reader);
    }
}

static enum backend_result sqlite_get(struct backend *be, struct str key, struct buf *value, int64_t *ret_revision)
{
    struct sqlite *s = sqlite_of(be);
    sqlite3_stmt *st = s->read[value ? READ_GET_VALUE : READ_GET];
    *ret_revision = 0;
    begin_reading(s);
    bind_blob(st, 1, key);
    int code = sqlite3_step(st);
    if (code == SQLITE_ROW) {
        *ret_revision = sqlite3_column_int64(st, 0);
        if (value) {
            buf_append(value, column_blob(st, 1));
        }
    }
    return read_end(st, code);
}

static enum backend_result sqlite_range(struct backend *be, struct str start, struct str end, backend_row_fn *fn, void *arg)
{
    struct sqlite *s = sqlite_of(be);
    sqlite3_stmt *st = s->read[end.ptr ? READ_RANGE : READ_RANGE_ALL];
    int code;
    begin_reading(s);
    bind_blob(st, 1, start);
    if (end.ptr) {
        bind_blob(st, 2, end);
    }
    while ((code = sqlite3_step(st)) == SQLITE_ROW &&
           fn(arg, column_blob(st, 0), column_blob(st, 2), sqlite3_column_int64(st, 1))) {
    }
    return read_end(st, code);
}

static enum backend_result sqlite_expiring(struct backend *be, backend_expiry_fn *fn, void *arg)
{
    struct sqlite *s = sqlite_of(be);
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(s->reader, "SELECT key, rev, expires FROM kv WHERE expires IS NOT NULL", -1, &st, NULL) != SQLITE_OK) {
        return BACKEND_FAILED;
    }
    int code;
    while ((code = sqlite3_step(st)) == SQLITE_ROW) {
        fn(arg, column_blob(st, 0), sqlite3_column_int64(st, 1), sqlite3_column_int64(st, 2));
    }
    sqlite3_finalize(st);
    return code == SQLITE_DONE ? BACKEND_OK : BACKEND_FAILED;
}

static void sqlite_reader_error(struct backend *be, char reason[256])
{
    snprintf(reason, 256, "%s", sqlite3_errmsg(sqlite_of(be)->reader));
}

/* ---- writing ---- */

static bool write_step(struct sqlite *s, enum write_statement which)
{
    sqlite3_stmt *st = s->write[which];
    int code = sqlite3_step(st);
    sqlite3_reset(st);
    return code == SQLITE_DONE || code == SQLITE_ROW;
}

static bool write_int(struct sqlite *s, enum write_statement which, int64_t v)
{
    sqlite3_bind_int64(s->write[which], 1, v);
    return write_step(s, which);
}

static bool write_row(struct sqlite *s, const struct backend_row *r)
{
    sqlite3_stmt *st = s->write[r->value.ptr ? WRITE_PUT : WRITE_DELETE];
    bind_blob(st, 1, r->key);
    if (r->value.ptr) {
        sqlite3_bind_int64(st, 2, r->revision);
        if (r->expires) {
            sqlite3_bind_int64(st, 3, r->expires);
        } else {
            sqlite3_bind_null(st, 3);
        }
        bind_blob(st, 4, r->value);
    }
    return write_step(s, r->value.ptr ? WRITE_PUT : WRITE_DELETE);
}

static bool write_meta(struct sqlite *s, const struct backend_commit *c)
{
    if (c->begin_run) {
        sqlite3_bind_int64(s->write[WRITE_BEGIN_RUN], 1, c->begin_run);
        sqlite3_bind_int64(s->write[WRITE_BEGIN_RUN], 2, c->reserve);
        return write_step(s, WRITE_BEGIN_RUN);
    }
    if (c->end_run) {
        sqlite3_bind_int64(s->write[WRITE_END_RUN], 2, (int64_t)s->stats.keys);
        return write_int(s, WRITE_END_RUN, c->last);
    }
    return !c->reserve || write_int(s, WRITE_RESERVE, c->reserve);
}

/* After a failed statement. SQLite may have rolled back by itself. */
static enum backend_result give_up(struct sqlite *s, char reason[256])
{
    int code = sqlite3_errcode(s->writer);
    snprintf(reason, 256, "%s (SQLite %d)", sqlite3_errmsg(s->writer), sqlite3_extended_errcode(s->writer));
    if (!sqlite3_get_autocommit(s->writer) && !write_step(s, WRITE_ROLLBACK)) {
        return BACKEND_FAILED;
    }
    return code == SQLITE_FULL ? BACKEND_FULL : BACKEND_FAILED;
}

/* Copies the WAL into the file when it has grown long, so that it starts over. Failing is not fatal: the WAL stays valid. */
static void checkpoint(struct sqlite *s)
{
    int log, done;
    failpoint("before-checkpoint");
    int code = sqlite3_wal_checkpoint_v2(s->writer, NULL, SQLITE_CHECKPOINT_PASSIVE, &log, &done);
    if (code != SQLITE_OK) {
        log_warning("store: cannot copy the write-ahead log of %s into it: %s; it goes on growing", s->path,
                    sqlite3_errmsg(s->writer));
    }
    if (code == SQLITE_OK && log == done) {
        s->wal_pages = 0;
        s->wal_next = s->wal_limit;
    } else {
        s->wal_next = s->wal_pages + s->wal_limit / 4; /* somebody reads what it would overwrite: try again later */
    }
    failpoint("checkpointed");
}

/*
 * Keeps zeros behind the end of the WAL. A commit that makes the file longer costs the file system a journal entry or two, 16
 * to 20 KB; one that overwrites what is there costs its own pages. SQLite reads frames up to the first that is not valid. The
 * file is kept when the store is closed, so this happens once in its life.
 */
static void extend_wal(struct sqlite *s)
{
    static const char zeros[65536];
    char path[PATH_MAX];
    struct stat st;
    off_t used = (off_t)s->wal_pages * (2048 + 24) + 32;
    if (s->no_sync || s->wal_bytes - used > STORE_WAL_AHEAD / 2 ||
        snprintf(path, sizeof(path), "%s-wal", s->path) >= (int)sizeof(path)) {
        return;
    }
    CLEANUP(fs_closep) int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0) {
        return;
    }
    off_t at = st.st_size, want = used + STORE_WAL_AHEAD;
    while (at < want && at < (off_t)STORE_WAL_PAGES * (2048 + 24) + STORE_WAL_AHEAD) {
        ssize_t n = pwrite(fd, zeros, sizeof(zeros), at);
        if (n <= 0) {
            break; /* a full disk is told of by the commit that needs the room */
        }
        at += n;
    }
    (void)fdatasync(fd);
    failpoint("wal-extended");
    s->wal_bytes = MAX(at, st.st_size);
}

/* The log is as long as it may be: can it start over now? */
static bool log_has_room(struct sqlite *s, char reason[256])
{
    if (s->wal_pages < s->wal_max) {
        return true;
    }
    sqlite3_busy_timeout(s->writer, 200); /* our own reader is quick */
    int code = sqlite3_wal_checkpoint_v2(s->writer, NULL, SQLITE_CHECKPOINT_RESTART, NULL, NULL);
    sqlite3_busy_timeout(s->writer, 10000);
    if (code == SQLITE_OK) {
        s->wal_pages = 0;
        return true;
    }
    snprintf(reason, 256, "the write-ahead log of %.100s has %d pages and cannot start over: %s", s->path, s->wal_pages,
             code == SQLITE_BUSY ? "another process has been reading the store all the time" : sqlite3_errmsg(s->writer));
    return false;
}

static int64_t write_number(struct sqlite *s, enum write_statement which)
{
    int64_t n = sqlite3_step(s->write[which]) == SQLITE_ROW ? sqlite3_column_int64(s->write[which], 0) : 0;
    sqlite3_reset(s->write[which]);
    return n;
}

/*
 * Gives the file system back what deletions left, a little at a time. Failing is not fatal: the pages are used again. Only files that were
 * made to shrink do (README, "Files do not shrink"): for others the pragma does nothing.
 */
static void shrink(struct sqlite *s)
{
    char sql[64];
    if (!s->shrinks || ++s->commits % 64 != 0) {
        return;
    }
    int64_t unused = write_number(s, WRITE_FREE_PAGES);
    if (unused < STORE_VACUUM_MIN_FREE || unused < write_number(s, WRITE_PAGES) / 4) {
        return;
    }
    snprintf(sql, sizeof(sql), "PRAGMA incremental_vacuum(%d)", STORE_VACUUM_PAGES);
    (void)sqlite3_exec(s->writer, sql, NULL, NULL, NULL);
}

static enum backend_result sqlite_commit(struct backend *be, const struct backend_commit *c, char reason[256])
{
    struct sqlite *s = sqlite_of(be);
    if (!log_has_room(s, reason)) {
        return BACKEND_FULL;
    }
    if (!write_step(s, WRITE_BEGIN)) {
        return give_up(s, reason);
    }
    failpoint("begun");
    bool ok = write_meta(s, c);
    int64_t keys = 0;
    for (size_t i = 0; ok && i < c->n_rows; i++) {
        const struct backend_row *r = &c->rows[i];
        ok = write_row(s, r);
        keys += (r->value.ptr != NULL) - r->replaces;
    }
    failpoint("rows-written");
    if (!ok || !write_step(s, WRITE_COMMIT)) {
        return give_up(s, reason);
    }
    pthread_mutex_lock(&s->lock);
    s->stats.keys += (uint64_t)keys;
    pthread_mutex_unlock(&s->lock);
    shrink(s);
    if (s->wal_pages >= s->wal_next) {
        checkpoint(s);
    }
    extend_wal(s);
    return BACKEND_OK;
}

static uint64_t file_size(const char *path, const char *suffix)
{
    char full[PATH_MAX];
    struct stat st;
    if (snprintf(full, sizeof(full), "%s%s", path, suffix) >= (int)sizeof(full) || stat(full, &st) < 0) {
        return 0;
    }
    return (uint64_t)st.st_size;
}

static void sqlite_stats(struct backend *be, bool with_sizes, struct backend_stats *ret)
{
    struct sqlite *s = sqlite_of(be);
    pthread_mutex_lock(&s->lock);
    *ret = s->stats;
    pthread_mutex_unlock(&s->lock);
    if (with_sizes) {
        ret->file_bytes = file_size(s->path, "");
        ret->wal_bytes = file_size(s->path, "-wal");
    }
}

static const struct backend_ops sqlite_ops = {
    .name = "sqlite",
    .durable = true,
    .close = sqlite_backend_close,
    .meta = sqlite_meta,
    .get = sqlite_get,
    .range = sqlite_range,
    .refresh = sqlite_refresh,
    .expiring = sqlite_expiring,
    .commit = sqlite_commit,
    .stats = sqlite_stats,
    .reader_error = sqlite_reader_error,
};
