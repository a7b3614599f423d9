#include "store/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/rand.h"
#include "store/limits.h"
#include "store/sqlite.h"

/* Above what the server may have given that is gone: what upstream advises for a restored etcd. */
#define RESTORE_LEAP INT64_C(1000000000)

static void close_db(sqlite3 **db)
{
    sqlite3_close(*db);
    *db = NULL;
}

static void finalize(sqlite3_stmt **st)
{
    sqlite3_finalize(*st);
    *st = NULL;
}

static bool failed(sqlite3 *db, const char *path, const char *what, struct err *err)
{
    int code = db ? sqlite3_errcode(db) & 0xff : SQLITE_NOMEM;
    if (code == SQLITE_NOTADB) {
        return err_set(err, ERR_IO, "%s is not a store of ours: it is no SQLite database", path);
    }
    if (code == SQLITE_CORRUPT) {
        return err_set(err, ERR_IO, "%s is damaged: %s", path, sqlite3_errmsg(db));
    }
    return err_set(err, ERR_IO, "cannot %s %s: %s", what, path, db ? sqlite3_errmsg(db) : "no memory");
}

static bool number(sqlite3 *db, const char *path, const char *sql, int64_t *ret, struct err *err)
{
    CLEANUP(finalize) sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK || sqlite3_step(st) != SQLITE_ROW) {
        return failed(db, path, "read", err);
    }
    *ret = sqlite3_column_int64(st, 0);
    return true;
}

static bool execute(sqlite3 *db, const char *path, const char *sql, const char *what, struct err *err)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK || failed(db, path, what, err);
}

/* A store of a version that we know. The server may have it open; its files are left as they are when we close. */
static bool open_store(const char *path, sqlite3 **db, struct err *err)
{
    int64_t app, version;
    if (access(path, R_OK) < 0) {
        return err_set_errno(err, errno, "cannot read %s", path);
    }
    if (sqlite3_open_v2(path, db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
        return failed(*db, path, "open", err);
    }
    (void)sqlite3_db_config(*db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_busy_timeout(*db, 10000);
    if (!number(*db, path, "PRAGMA application_id", &app, err) || !number(*db, path, "PRAGMA user_version", &version, err)) {
        return false;
    }
    if (app != SQLITE_APPLICATION_ID) {
        return err_set(err, ERR_IO, "%s is no store of Coracle", path);
    }
    if (version > SQLITE_FORMAT_VERSION) {
        return err_set(err, ERR_IO, "%s was written by a newer Coracle (format %lld, this one knows %d): use that one", path,
                       (long long)version, SQLITE_FORMAT_VERSION);
    }
    return true;
}

/* ---- looking ---- */

static uint64_t size_of(const char *path, const char *suffix)
{
    char full[PATH_MAX];
    struct stat st;
    return snprintf(full, sizeof(full), "%s%s", path, suffix) < (int)sizeof(full) && stat(full, &st) == 0 ? (uint64_t)st.st_size : 0;
}

/* The lock of "<path>-lock": -1 with a reason when it is held, or cannot be taken. 'make': it need not be there. */
static int take_lock(const char *path, bool make, struct err *err)
{
    char lock[PATH_MAX];
    if (snprintf(lock, sizeof(lock), "%s-lock", path) >= (int)sizeof(lock)) {
        err_set(err, ERR_BAD_REQUEST, "the path is too long: %s", path);
        return -1;
    }
    int fd = open(lock, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (make ? O_CREAT : 0), 0600);
    if (fd < 0) {
        err_set_errno(err, errno, "cannot open %s", lock);
        return -1;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EWOULDBLOCK) {
            err_set(err, ERR_CONFLICT, "store %s is in use by another process", path);
        } else {
            err_set_errno(err, errno, "cannot lock %s", lock);
        }
        close(fd);
        return -1;
    }
    return fd;
}

static bool is_in_use(const char *path)
{
    struct err err = { 0 };
    CLEANUP(fs_closep) int fd = take_lock(path, false, &err);
    return fd < 0 && err.code == ERR_CONFLICT;
}

/* "/registry/pods/ns/name" is of "pods"; groups and "services" have a further part. */
static struct str resource_of(struct str key)
{
    struct str s = key;
    if (str_starts(s, STR("/registry/"))) {
        s = str_sub(s, 10, s.len - 10);
    }
    for (size_t i = 0, parts = 0; i < s.len; i++) {
        if (s.ptr[i] == '/') {
            struct str first = str_n(s.ptr, i);
            if (parts++ > 0 || (!memchr(s.ptr, '.', i) && !str_eq_c(first, "services"))) {
                return first;
            }
        }
    }
    return s;
}

static struct store_file_resource *resource_at(struct store_file_info *info, struct str name)
{
    /* Rows come in the order of keys: those of one resource stand together. */
    struct store_file_resource *last = info->n_resources ? &info->resources[info->n_resources - 1] : NULL;
    if (last && str_eq(str_c(last->name), str_n(name.ptr, MIN(name.len, sizeof(last->name) - 1)))) {
        return last;
    }
    info->resources = reallocarray(info->resources, info->n_resources + 1, sizeof(*info->resources));
    if (!info->resources) {
        abort();
    }
    struct store_file_resource *r = &info->resources[info->n_resources++];
    *r = (struct store_file_resource){ 0 };
    snprintf(r->name, sizeof(r->name), "%.*s", STR_ARG(name));
    return r;
}

static bool count_rows(sqlite3 *db, const char *path, struct store_file_info *info, struct err *err)
{
    CLEANUP(finalize) sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(db, "SELECT key, length(value), rev FROM kv ORDER BY key", -1, &st, NULL);
    while (code == SQLITE_OK && (code = sqlite3_step(st)) == SQLITE_ROW) {
        struct str key = str_n(sqlite3_column_blob(st, 0), (size_t)sqlite3_column_bytes(st, 0));
        uint64_t n = (uint64_t)sqlite3_column_int64(st, 1);
        struct store_file_resource *r = resource_at(info, resource_of(key));
        r->keys++;
        r->bytes += key.len + n;
        r->largest = MAX(r->largest, n);
        info->keys++;
        info->value_bytes += n;
        info->newest = MAX(info->newest, sqlite3_column_int64(st, 2));
        code = SQLITE_OK;
    }
    return code == SQLITE_DONE || failed(db, path, "read", err);
}

static bool check_pages(sqlite3 *db, const char *path, struct err *err)
{
    CLEANUP(finalize) sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(db, "PRAGMA integrity_check(1)", -1, &st, NULL) != SQLITE_OK || sqlite3_step(st) != SQLITE_ROW) {
        return failed(db, path, "check", err);
    }
    const char *text = (const char *)sqlite3_column_text(st, 0);
    return (text && strcmp(text, "ok") == 0) || err_set(err, ERR_IO, "%s is damaged: %s", path, text ? text : "unreadable");
}

static bool check_rows(sqlite3 *db, const char *path, const struct store_file_info *info, struct err *err)
{
    int64_t twice, strange, counted;
    if (!number(db, path, "SELECT count(*) - count(DISTINCT rev) FROM kv", &twice, err) ||
        !number(db, path, "SELECT count(*) FROM kv WHERE substr(key, 1, 10) <> CAST('/registry/' AS BLOB)", &strange, err) ||
        !number(db, path, "SELECT n_keys FROM meta", &counted, err)) {
        return false;
    }
    if (info->newest > info->reserved) {
        return err_set(err, ERR_IO, "%s is damaged: revision %lld is above %lld, which was the last one reserved", path,
                       (long long)info->newest, (long long)info->reserved);
    }
    if (twice) {
        return err_set(err, ERR_IO, "%s is damaged: %lld rows have a revision that another row has", path, (long long)twice);
    }
    if (strange) {
        return err_set(err, ERR_IO, "%s is damaged: %lld keys do not begin with /registry/", path, (long long)strange);
    }
    if (info->clean && (uint64_t)counted != info->keys) {
        return err_set(err, ERR_IO, "%s is damaged: it was closed with %lld keys and has %llu", path, (long long)counted,
                       (unsigned long long)info->keys);
    }
    return true;
}

void store_file_info_deinit(struct store_file_info *info)
{
    free(info->resources);
    *info = (struct store_file_info){ 0 };
}

bool store_file_inspect(const char *path, bool whole, struct store_file_info *ret, struct err *err)
{
    CLEANUP(close_db) sqlite3 *db = NULL;
    int64_t page_size, pages, free_pages, clean;
    *ret = (struct store_file_info){ 0 };
    bool ok = open_store(path, &db, err) && execute(db, path, "BEGIN", "read", err) &&
              number(db, path, "SELECT run FROM meta", &ret->run, err) && number(db, path, "SELECT reserved FROM meta", &ret->reserved, err) &&
              number(db, path, "SELECT clean FROM meta", &clean, err) && number(db, path, "PRAGMA user_version", &ret->format, err) &&
              number(db, path, "PRAGMA page_size", &page_size, err) && number(db, path, "PRAGMA page_count", &pages, err) &&
              number(db, path, "PRAGMA freelist_count", &free_pages, err);
    if (ok) {
        ret->clean = clean != 0;
        ret->in_use = is_in_use(path);
        ret->page_size = (uint64_t)page_size;
        ret->pages = (uint64_t)pages;
        ret->free_pages = (uint64_t)free_pages;
        ret->file_bytes = size_of(path, "");
        ret->wal_bytes = size_of(path, "-wal");
        ok = (!whole || check_pages(db, path, err)) && count_rows(db, path, ret, err) && (!whole || check_rows(db, path, ret, err));
    }
    if (!ok) {
        store_file_info_deinit(ret);
    }
    return ok;
}

/* ---- copying ---- */

static bool sync_path(const char *path, int flags, struct err *err)
{
    CLEANUP(fs_closep) int fd = open(path, flags | O_CLOEXEC);
    return (fd >= 0 && fsync(fd) == 0) || err_set_errno(err, errno, "cannot sync %s", path);
}

static bool sync_folder_of(const char *path, struct err *err)
{
    char dir[PATH_MAX];
    snprintf(dir, sizeof(dir), "%s", path);
    char *slash = strrchr(dir, '/');
    if (slash) {
        slash[slash == dir ? 1 : 0] = '\0';
    } else {
        snprintf(dir, sizeof(dir), ".");
    }
    return sync_path(dir, O_RDONLY | O_DIRECTORY, err);
}

/* One instant of an open store as a file of its own, for us alone to read. */
static bool copy_to(sqlite3 *db, const char *path, const char *to, struct err *err)
{
    CLEANUP(finalize) sqlite3_stmt *st = NULL;
    mode_t mask = umask(077); /* it holds Secrets */
    (void)unlink(to);
    bool ok = sqlite3_prepare_v2(db, "VACUUM INTO ?1", -1, &st, NULL) == SQLITE_OK &&
              sqlite3_bind_text(st, 1, to, -1, SQLITE_STATIC) == SQLITE_OK && sqlite3_step(st) == SQLITE_DONE;
    umask(mask);
    if (!ok && (sqlite3_errcode(db) & 0xff) == SQLITE_FULL) {
        err_set(err, ERR_IO, "no room for %s", to);
    } else if (!ok) {
        err_set(err, ERR_IO, "cannot copy %s to %s: %s", path, to, sqlite3_errmsg(db));
    }
    if (!ok) {
        (void)unlink(to);
    }
    return ok;
}

static bool part_path(const char *to, char part[PATH_MAX], struct err *err)
{
    return snprintf(part, PATH_MAX, "%s.part", to) < PATH_MAX || err_set(err, ERR_BAD_REQUEST, "the path is too long: %s", to);
}

static bool put_in_place(const char *part, const char *to, struct err *err)
{
    return sync_path(part, O_RDONLY, err) && (rename(part, to) == 0 || err_set_errno(err, errno, "cannot write %s", to)) &&
           sync_folder_of(to, err);
}

bool store_file_backup(const char *path, const char *to, bool force, struct err *err)
{
    CLEANUP(close_db) sqlite3 *db = NULL;
    struct store_file_info info;
    char part[PATH_MAX];
    if (!force && access(to, F_OK) == 0) {
        return err_set(err, ERR_ALREADY_EXISTS, "%s exists", to);
    }
    if (!open_store(path, &db, err) || !part_path(to, part, err) || !copy_to(db, path, part, err)) {
        return false;
    }
    if (!store_file_inspect(part, true, &info, err)) {
        (void)unlink(part);
        return err_wrap(err, "the copy is not whole");
    }
    store_file_info_deinit(&info);
    if (!put_in_place(part, to, err)) {
        (void)unlink(part);
        return false;
    }
    return true;
}

/* The store that is replaced: its newest revision, and nothing of it left in its write-ahead log, which the new file would take for
 * its own. */
static bool close_old(const char *path, int64_t *ret_reserved, struct err *err)
{
    CLEANUP(close_db) sqlite3 *db = NULL;
    struct err why;
    char wal[PATH_MAX], kept[PATH_MAX];
    *ret_reserved = 0;
    if (!open_store(path, &db, &why) || !number(db, path, "SELECT reserved FROM meta", ret_reserved, &why) ||
        !execute(db, path, "PRAGMA wal_checkpoint(TRUNCATE)", "read", &why)) {
        *ret_reserved = 0; /* damaged: that is why it is replaced */
    }
    close_db(&db);
    if (snprintf(wal, sizeof(wal), "%s-wal", path) >= (int)sizeof(wal) || snprintf(kept, sizeof(kept), "%s.replaced", path) >= (int)sizeof(kept)) {
        return err_set(err, ERR_BAD_REQUEST, "the path is too long: %s", path);
    }
    if (*ret_reserved == 0 && truncate(wal, 0) < 0 && errno != ENOENT) {
        return err_set_errno(err, errno, "cannot empty %s", wal);
    }
    (void)unlink(kept);
    return link(path, kept) == 0 || err_set_errno(err, errno, "cannot keep the store that is there as %s", kept);
}

static bool become_new(const char *part, int64_t revision, struct err *err)
{
    CLEANUP(close_db) sqlite3 *db = NULL;
    char sql[256], id[33] = "";
    uint8_t raw[16];
    rand_bytes(raw, sizeof(raw));
    for (size_t i = 0; i < sizeof(raw); i++) {
        snprintf(id + 2 * i, 3, "%02x", raw[i]);
    }
    /* A new identity: no volatile log of another store is its own. */
    snprintf(sql, sizeof(sql), "UPDATE meta SET id = x'%s', reserved = %lld, clean = 1, n_keys = (SELECT count(*) FROM kv)", id,
             (long long)revision);
    return open_store(part, &db, err) && execute(db, part, sql, "write", err);
}

bool store_file_restore(const char *from, const char *path, bool force, int64_t *ret_revision, struct err *err)
{
    CLEANUP(close_db) sqlite3 *db = NULL;
    CLEANUP(fs_closep) int lock = -1;
    struct store_file_info info;
    struct stat dir;
    char part[PATH_MAX];
    int64_t reserved, old = 0;
    bool there = access(path, F_OK) == 0;
    if (there && !force) {
        return err_set(err, ERR_ALREADY_EXISTS, "there is a store at %s: it is replaced with --force alone", path);
    }
    if (!store_file_inspect(from, true, &info, err)) {
        return false;
    }
    reserved = MAX(info.reserved, info.newest);
    store_file_info_deinit(&info);
    if ((lock = take_lock(path, true, err)) < 0 || !open_store(from, &db, err) || !part_path(path, part, err) || !copy_to(db, from, part, err)) {
        return false;
    }
    if (there && !close_old(path, &old, err)) {
        (void)unlink(part);
        return false;
    }
    *ret_revision = old ? MAX(old, reserved) + STORE_REVISION_BLOCK : reserved + RESTORE_LEAP;
    char parent[PATH_MAX];
    snprintf(parent, sizeof(parent), "%s", path);
    char *slash = strrchr(parent, '/');
    if (slash) {
        *slash = '\0';
    }
    /* The server may be another user: the file is of whom the folder is. */
    bool owned = !slash || stat(parent, &dir) < 0 || geteuid() != 0 || (chown(part, dir.st_uid, dir.st_gid) == 0 && fchown(lock, dir.st_uid, dir.st_gid) == 0);
    if (!owned) {
        err_set_errno(err, errno, "cannot give %s to the folder's user", part);
    }
    if (!owned || !become_new(part, *ret_revision, err) || !put_in_place(part, path, err)) {
        (void)unlink(part);
        return false;
    }
    return true;
}
