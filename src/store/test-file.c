#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/file.h"
#include "store/limits.h"
#include "store/migrate.h"
#include "store/test-etcd.h"
#include "store/test-support.h"

static void sql(const char *path, const char *text)
{
    sqlite3 *db = NULL;
    CHECK_INT(sqlite3_open(path, &db), SQLITE_OK);
    CHECK_INT(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void fill(struct fixture *f, int n)
{
    char name[32];
    for (int i = 0; i < n; i++) {
        snprintf(name, sizeof(name), "ns/p%04d", i);
        CHECK_INT(put(f, name, "some value", STORE_ABSENT).status, STORE_OK);
    }
}

TEST(backup_of_an_open_store_holds_what_was_acknowledged_and_the_server_writes_on)
{
    struct fixture *f = fixture_new(true);
    char copy[128];
    struct err err;
    struct store_file_info info;
    fixture_open(f);
    fill(f, 50);
    snprintf(copy, sizeof(copy), "%s/copy", f->dir);
    CHECK_OK(store_file_backup(f->path, copy, false, &err), &err);
    CHECK(!store_file_backup(f->path, copy, false, &err));
    CHECK(strstr(err.msg, "exists"));
    CHECK_OK(store_file_backup(f->path, copy, true, &err), &err);
    struct stat st;
    CHECK(stat(copy, &st) == 0 && (st.st_mode & 077) == 0);
    CHECK_INT(put(f, "ns/later", "1", STORE_ABSENT).status, STORE_OK);
    CHECK_OK(store_file_inspect(copy, true, &info, &err), &err);
    CHECK_INT(info.keys, 50);
    CHECK_INT(info.n_resources, 1);
    CHECK(strcmp(info.resources[0].name, "pods") == 0 && info.resources[0].keys == 50);
    store_file_info_deinit(&info);
    CHECK_OK(store_file_inspect(f->path, true, &info, &err), &err);
    CHECK(info.in_use && info.keys == 51);
    store_file_info_deinit(&info);
    fixture_end(f);
}

TEST(restored_store_goes_on_above_every_revision_that_was_given)
{
    struct fixture *f = fixture_new(true);
    char copy[128];
    struct err err;
    int64_t revision;
    snprintf(copy, sizeof(copy), "%s/copy", f->dir);
    fixture_open(f);
    fill(f, 3);
    CHECK_OK(store_file_backup(f->path, copy, false, &err), &err);
    struct answer last = put(f, "ns/lost", "1", STORE_ABSENT);
    CHECK(!store_file_restore(copy, f->path, true, &revision, &err));
    CHECK(strstr(err.msg, "in use"));
    fixture_close(f);
    CHECK(!store_file_restore(copy, f->path, false, &revision, &err));
    CHECK_OK(store_file_restore(copy, f->path, true, &revision, &err), &err);
    CHECK(revision > last.revision);
    fixture_open(f);
    CHECK(put(f, "ns/lost", "2", STORE_ABSENT).revision > revision);
    CHECK(strstr(dump(f, "/registry/pods/ns/p0002"), "=some value@"));
    fixture_close(f);
    /* Nothing is there to say which revisions were given: far above. */
    char other[128];
    snprintf(other, sizeof(other), "%s/other.db", f->dir);
    CHECK_OK(store_file_restore(copy, other, false, &revision, &err), &err);
    CHECK(revision > 1000000000);
    fixture_end(f);
}

TEST(check_finds_a_damaged_page_and_a_revision_that_was_never_given)
{
    struct fixture *f = fixture_new(true);
    struct store_file_info info;
    struct err err;
    fixture_open(f);
    fill(f, 200);
    fixture_close(f);
    CHECK_OK(store_file_inspect(f->path, true, &info, &err), &err);
    store_file_info_deinit(&info);
    sql(f->path, "UPDATE kv SET rev = 1000000 WHERE id = 3");
    CHECK(!store_file_inspect(f->path, true, &info, &err));
    CHECK(strstr(err.msg, "above"));
    sql(f->path, "UPDATE kv SET rev = 2 WHERE id = 3; UPDATE kv SET rev = 2 WHERE id = 4");
    CHECK(!store_file_inspect(f->path, true, &info, &err));
    CHECK(strstr(err.msg, "another row"));
    sql(f->path, "UPDATE kv SET rev = id; PRAGMA wal_checkpoint(TRUNCATE)");
    int fd = open(f->path, O_RDWR | O_CLOEXEC);
    char junk[512];
    memset(junk, 0xa5, sizeof(junk));
    CHECK_INT(pwrite(fd, junk, sizeof(junk), 7 * 2048), sizeof(junk));
    close(fd);
    CHECK(!store_file_inspect(f->path, true, &info, &err));
    CHECK(strstr(err.msg, "damaged"));
    char copy[128];
    snprintf(copy, sizeof(copy), "%s/copy", f->dir);
    CHECK(!store_file_backup(f->path, copy, false, &err));
    CHECK(access(copy, F_OK) < 0);
    fixture_end(f);
}

TEST(file_of_a_newer_version_or_of_somebody_else_is_refused)
{
    struct fixture *f = fixture_new(true);
    struct store_file_info info;
    struct err err;
    fixture_open(f);
    fixture_close(f);
    sql(f->path, "PRAGMA user_version = 99");
    CHECK(!store_file_inspect(f->path, false, &info, &err));
    CHECK(strstr(err.msg, "newer"));
    CHECK(!fixture_try_open(f, &err));
    CHECK(strstr(err.msg, "newer"));
    sql(f->path, "PRAGMA application_id = 7");
    CHECK(!store_file_inspect(f->path, false, &info, &err));
    CHECK(strstr(err.msg, "no store"));
    CHECK(!fixture_try_open(f, &err));
    fixture_end(f);
}

static off_t size_of(struct fixture *f, const char *suffix)
{
    char path[128];
    struct stat st;
    snprintf(path, sizeof(path), "%s%s", f->path, suffix);
    return stat(path, &st) == 0 ? st.st_size : 0;
}

/* Each a commit of its own. */
static enum store_status many_updates(struct fixture *f, int n)
{
    char value[1600];
    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    for (int i = 0; i < n; i++) {
        char name[32];
        snprintf(name, sizeof(name), "ns/p%04d", i % 20);
        value[i % 1500] = (char)('a' + i % 26);
        struct answer a = put(f, name, value, STORE_ANY);
        if (a.status != STORE_OK) {
            return a.status;
        }
    }
    return STORE_OK;
}

TEST(log_and_file_stay_bounded_and_a_reader_that_stays_is_told_of)
{
    setenv("CORACLE_WAL_PAGES", "200", 1);
    setenv("CORACLE_WAL_MAX_PAGES", "1000", 1);
    struct fixture *f = fixture_new(true);
    f->sync = true;
    fixture_open(f);
    CHECK_INT(many_updates(f, 2000), STORE_OK);
    CHECK(size_of(f, "") < 200 << 10);
    CHECK(size_of(f, "-wal") < (200 * 2072) + (2 << 20));
    /* A process that began to read, and does not end. */
    sqlite3 *reader = NULL;
    CHECK_INT(sqlite3_open(f->path, &reader), SQLITE_OK);
    CHECK_INT(sqlite3_exec(reader, "BEGIN; SELECT count(*) FROM kv", NULL, NULL, NULL), SQLITE_OK);
    enum store_status status = many_updates(f, 5000);
    if (status == STORE_OK) {
        test_skip("this build has no small limits");
    }
    CHECK_INT(status, STORE_E_FULL);
    CHECK(size_of(f, "-wal") < (1100 * 2072) + (2 << 20));
    CHECK(!f->fatal[0]);
    CHECK(strstr(dump(f, "/registry/pods/ns/p0001"), "p0001="));
    CHECK_INT(sqlite3_exec(reader, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    CHECK_INT(many_updates(f, 500), STORE_OK);
    sqlite3_close(reader);
    fixture_end(f);
    unsetenv("CORACLE_WAL_PAGES");
    unsetenv("CORACLE_WAL_MAX_PAGES");
}

enum { BIG = 400 };

/* Creates objects of 60 KB, or deletes them. */
static void big_ones(struct fixture *f, bool create)
{
    static char value[60000];
    char name[32];
    memset(value, 'v', sizeof(value) - 1);
    for (int i = 0; i < BIG; i++) {
        snprintf(name, sizeof(name), "ns/big%04d", i);
        struct answer a = create ? put(f, name, value, STORE_ABSENT) : delete_(f, name, STORE_ANY);
        CHECK_INT(a.status, STORE_OK);
    }
}

static void check_whole(struct fixture *f)
{
    struct store_file_info info;
    struct err err;
    CHECK_OK(store_file_inspect(f->path, true, &info, &err), &err);
    store_file_info_deinit(&info);
}

TEST(file_grows_no_longer_than_the_most_it_ever_held)
{
    struct fixture *f = fixture_new(true);
    fixture_open(f);
    big_ones(f, true);
    fixture_close(f);
    fixture_open(f);
    off_t most = size_of(f, "");
    CHECK(most > 20 << 20);
    for (int i = 0; i < 3; i++) {
        big_ones(f, false);
        CHECK_INT(many_updates(f, 200), STORE_OK);
        big_ones(f, true);
    }
    fixture_close(f);
    CHECK(size_of(f, "") < most + most / 8);
    check_whole(f);
    fixture_end(f);
}

TEST(file_that_was_made_to_shrink_goes_on_shrinking)
{
    struct fixture *f = fixture_new(true);
    sql(f->path, "PRAGMA page_size=2048; PRAGMA auto_vacuum=INCREMENTAL; VACUUM");
    fixture_open(f);
    big_ones(f, true);
    fixture_close(f);
    fixture_open(f);
    off_t before = size_of(f, "");
    CHECK(before > 20 << 20);
    big_ones(f, false);
    CHECK_INT(many_updates(f, 3000), STORE_OK);
    fixture_close(f);
    CHECK(size_of(f, "") < before / 3);
    check_whole(f);
    fixture_end(f);
}

/* ---- migration ---- */


static bool migrate(struct fixture *from, struct fixture *to, struct migrate_report *r, struct err *err)
{
    struct loop *own = to->loop;
    to->loop = from->loop; /* both on one */
    fixture_open(from);
    fixture_open(to);
    /* The target is the copier's alone. */
    to->pods = store_resource_close(to->pods);
    to->leases = store_resource_close(to->leases);
    bool ok = store_migrate(from->loop, from->store, to->store, NULL, NULL, r, err);
    to->store = store_close(to->store);
    fixture_close(from);
    to->loop = own;
    return ok;
}

static void compare(struct fixture *from, struct fixture *to)
{
    static char text[1 << 16];
    fixture_open(from);
    snprintf(text, sizeof(text), "%s", dump(from, "/registry/pods/"));
    fixture_close(from);
    fixture_open(to);
    const char *there = dump(to, "/registry/pods/");
    /* The same but for the revisions behind '@'. */
    const char *a = text, *b = there;
    while (*a || *b) {
        CHECK(*a == *b);
        if (*a == '@') {
            a += strcspn(a, " ");
            b += strcspn(b, " ");
        } else {
            a++;
            b++;
        }
    }
    fixture_close(to);
}

TEST(migrates_to_etcd_and_back_object_by_object)
{
    struct test_etcd *etcd = test_etcd_shared();
    struct fixture *a = fixture_new(true), *b = fixture_new_etcd(etcd), *c = fixture_new(true);
    struct migrate_report r;
    struct err err;
    fixture_open(a);
    fill(a, 300);
    CHECK_INT(do_write_to(a, a->leases, "/registry/leases/ns/l", "1", STORE_ABSENT, 0).status, STORE_OK);
    fixture_close(a);
    CHECK_OK(migrate(a, b, &r, &err), &err);
    CHECK_INT(r.copied, 301);
    CHECK_INT(r.compared, 301);
    CHECK_OK(migrate(b, c, &r, &err), &err);
    CHECK_INT(r.compared, 301);
    compare(a, c);
    /* What is whole is not gone over again. */
    CHECK(!migrate(a, b, &r, &err));
    CHECK(strstr(err.msg, "not empty"));
    fixture_end(a);
    fixture_end(b);
    fixture_end(c);
}

TEST(migration_that_was_broken_off_goes_on)
{
    struct fixture *a = fixture_new(true), *b = fixture_new(true);
    struct migrate_report r;
    struct err err;
    fixture_open(a);
    fill(a, 100);
    fixture_close(a);
    /* Forty are there, one of them differs, one is there that the source has no longer. */
    fixture_open(b);
    fill(b, 40);
    CHECK_INT(put(b, "ns/p0007", "older", STORE_ANY).status, STORE_OK);
    CHECK_INT(put(b, "ns/gone", "1", STORE_ABSENT).status, STORE_OK);
    fixture_close(b);
    CHECK(!migrate(a, b, &r, &err));
    struct store_resource_config mark = { .prefix = STR("/registry/.migration/") };
    fixture_open(b);
    struct store_resource *m = store_resource_open(b->store, &mark);
    CHECK_INT(do_write_to(b, m, "/registry/.migration/in-progress", "x", STORE_ABSENT, 0).status, STORE_OK);
    store_resource_close(m);
    fixture_close(b);
    CHECK_OK(migrate(a, b, &r, &err), &err);
    CHECK_INT(r.copied, 60);
    CHECK_INT(r.replaced, 1);
    CHECK_INT(r.present, 39);
    CHECK_INT(r.removed, 1);
    CHECK_INT(r.compared, 100);
    compare(a, b);
    fixture_end(a);
    fixture_end(b);
}
