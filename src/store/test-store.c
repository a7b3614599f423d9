#include "store/test-support.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/limits.h"
#include "store/test-etcd.h"

/* One suite for each back end: CONFORMS(name) makes the tests memory_<name>, sqlite_<name> and etcd_<name>. */
#define CONFORMS(name) \
    static void conforms_##name(struct fixture *f); \
    TEST(memory_##name) \
    { \
        struct fixture *f = fixture_new(false); \
        fixture_open(f); \
        conforms_##name(f); \
        fixture_end(f); \
    } \
    TEST(sqlite_##name) \
    { \
        struct fixture *f = fixture_new(true); \
        fixture_open(f); \
        conforms_##name(f); \
        fixture_end(f); \
    } \
    TEST(etcd_##name) \
    { \
        struct fixture *f = fixture_new_etcd(test_etcd_shared()); \
        fixture_open(f); \
        conforms_##name(f); \
        fixture_end(f); \
    } \
    static void conforms_##name(struct fixture *f)

CONFORMS(create_update_delete_compare_with_the_revision)
{
    struct answer a = put(f, "ns/a", "1", STORE_ABSENT);
    CHECK_INT(a.status, STORE_OK);
    struct answer again = put(f, "ns/a", "2", STORE_ABSENT);
    CHECK_INT(again.status, STORE_E_CONFLICT);
    CHECK_INT(again.revision, a.revision);
    CHECK_STR_C(str_c(again.value), "1");
    struct answer b = put(f, "ns/a", "2", a.revision);
    CHECK_INT(b.status, STORE_OK);
    CHECK(b.revision > a.revision);
    CHECK_INT(put(f, "ns/a", "3", a.revision).status, STORE_E_CONFLICT);
    CHECK_INT(delete_(f, "ns/a", a.revision).status, STORE_E_CONFLICT);
    struct answer d = delete_(f, "ns/a", b.revision);
    CHECK_INT(d.status, STORE_OK);
    struct answer gone = delete_(f, "ns/a", b.revision);
    CHECK_INT(gone.status, STORE_E_CONFLICT);
    CHECK_INT(gone.revision, 0);
    CHECK_INT(put(f, "ns/a", "4", b.revision).status, STORE_E_CONFLICT);
    CHECK_INT(delete_(f, "ns/a", STORE_ANY).status, STORE_E_CONFLICT);
    CHECK_INT(put(f, "ns/a", "4", STORE_ANY).status, STORE_OK);
    CHECK_INT(put(f, "ns/b", "", STORE_ABSENT).status, STORE_OK);
    CHECK_INT(f->n_events, 5);
    CHECK_INT(f->events[0].type, STORE_EVENT_PUT);
    CHECK_INT(f->events[1].revision, b.revision);
    CHECK_INT(f->events[2].type, STORE_EVENT_DELETE);
    CHECK_INT(f->events[2].revision, d.revision);
    CHECK_STR_C(str_c(f->events[2].key), "/registry/pods/ns/a");
}

CONFORMS(of_many_writes_in_flight_exactly_one_wins)
{
    struct answer a[64];
    int won = 0;
    for (int i = 0; i < 64; i++) {
        char value[8];
        snprintf(value, sizeof(value), "%d", i);
        start_write(f, f->pods, "/registry/pods/ns/x", value, STORE_ABSENT, 0, &a[i]);
    }
    for (int i = 0; i < 64; i++) {
        fixture_wait(f, &a[i].done);
        won += a[i].status == STORE_OK;
        if (a[i].status != STORE_OK) {
            CHECK_INT(a[i].status, STORE_E_CONFLICT);
            CHECK_STR_C(str_c(a[i].value), "0");
        }
    }
    CHECK_INT(won, 1);
    CHECK_INT(f->n_events, 1);
}

CONFORMS(loser_hears_after_the_winner_was_published)
{
    struct answer first, second;
    start_write(f, f->pods, "/registry/pods/ns/x", "1", STORE_ABSENT, 0, &first);
    start_write(f, f->pods, "/registry/pods/ns/x", "2", STORE_ABSENT, 0, &second);
    while (!second.done) {
        CHECK(!second.done || first.done);
        loop_turn(f->loop, 10);
    }
    CHECK(first.done);
    CHECK_INT(f->n_events, 1);
    CHECK_INT(second.revision, first.revision);
}

CONFORMS(range_pages_in_the_order_of_keys_at_one_instant)
{
    for (int i = 0; i < 10; i++) {
        char name[16], value[8];
        snprintf(name, sizeof(name), "ns/k%d", (i * 7) % 10);
        snprintf(value, sizeof(value), "v%d", (i * 7) % 10);
        put(f, name, value, STORE_ABSENT);
    }
    const char *text = dump(f, "/registry/pods/");
    const char *at = text;
    for (int i = 0; i < 10; i++) {
        char want[48];
        snprintf(want, sizeof(want), "/registry/pods/ns/k%d=v%d@", i, i);
        at = strstr(at, want);
        CHECK(at);
    }
    CHECK_STR_C(str_c(dump(f, "/registry/podz")), "");
}

CONFORMS(volatile_and_durable_writes_of_one_resource_stay_in_order)
{
    struct answer a[40];
    char key[64];
    for (int i = 0; i < 40; i++) {
        snprintf(key, sizeof(key), "/registry/leases/ns/l%d", i % 5);
        start_write(f, f->leases, key, i % 3 ? "v" : "d", STORE_ANY, i % 3 ? STORE_VOLATILE : 0, &a[i]);
    }
    for (int i = 0; i < 40; i++) {
        fixture_wait(f, &a[i].done);
        CHECK_INT(a[i].status, STORE_OK);
        /* etcd takes writes of several keys as they come. */
        int before = f->etcd ? i - 5 : i - 1;
        CHECK(before < 0 || a[i].revision > a[before].revision);
    }
    CHECK_INT(f->n_events, 40);
    for (int i = 0; i < 40; i++) {
        CHECK(f->etcd || f->events[i].revision == a[i].revision);
        CHECK(i == 0 || f->events[i].revision > f->events[i - 1].revision);
    }
    for (int i = 35; i < 40; i++) {
        char want[64];
        snprintf(want, sizeof(want), "/registry/leases/ns/l%d=%s@%lld ", i % 5, i % 3 ? "v" : "d", (long long)a[i].revision);
        CHECK(strstr(dump(f, "/registry/leases/"), want));
    }
}

CONFORMS(volatile_delete_hides_the_durable_value)
{
    struct answer a = do_write_to(f, f->leases, "/registry/leases/ns/a", "1", STORE_ABSENT, 0);
    a = do_write_to(f, f->leases, "/registry/leases/ns/a", "2", a.revision, STORE_VOLATILE);
    CHECK_INT(a.status, STORE_OK);
    CHECK_INT(do_write_to(f, f->leases, "/registry/leases/ns/a", NULL, a.revision, STORE_VOLATILE).status, STORE_OK);
    CHECK_STR_C(str_c(dump(f, "/registry/leases/")), "");
    CHECK_INT(do_write_to(f, f->leases, "/registry/leases/ns/a", "3", a.revision, 0).status, STORE_E_CONFLICT);
    a = do_write_to(f, f->leases, "/registry/leases/ns/a", "3", STORE_ABSENT, 0);
    CHECK_INT(a.status, STORE_OK);
    char want[64];
    snprintf(want, sizeof(want), "/registry/leases/ns/a=3@%lld ", (long long)a.revision);
    CHECK_STR_C(str_c(dump(f, "/registry/leases/")), want);
}

CONFORMS(watermark_is_below_what_is_not_delivered)
{
    struct answer a;
    int64_t before = store_resource_watermark(f->pods);
    start_write(f, f->pods, "/registry/pods/ns/a", "1", STORE_ABSENT, 0, &a);
    for (int i = 0; i < 1000 && !a.done; i++) {
        int64_t w = store_resource_watermark(f->pods);
        if (!a.done && f->n_events == 0) {
            CHECK(w == before);
        }
        loop_turn(f->loop, 1);
    }
    CHECK(a.done);
    CHECK_INT(store_resource_watermark(f->pods), a.revision);
    CHECK_INT(store_resource_watermark(f->leases), a.revision);
}

CONFORMS(value_past_the_limit_is_refused)
{
    char *big = calloc(1, STORE_MAX_VALUE + 2);
    memset(big, 'x', STORE_MAX_VALUE + 1);
    CHECK_INT(put(f, "ns/a", big, STORE_ABSENT).status, STORE_E_TOO_LARGE);
    big[STORE_MAX_VALUE] = '\0';
    CHECK_INT(put(f, "ns/a", big, STORE_ABSENT).status, STORE_OK);
    free(big);
}

CONFORMS(key_with_ttl_is_deleted_when_it_is_due)
{
    struct answer a = { 0 };
    struct store_write w = {
        .resource = f->leases, .key = STR("/registry/leases/ns/e"), .value = STR("1"), .expect = STORE_ABSENT,
        .flags = STORE_VOLATILE, .ttl_s = 1, .done = on_answer, .arg = &a,
    };
    store_write(f->store, &w);
    fixture_wait(f, &a.done);
    put(f, "ns/stays", "1", STORE_ABSENT);
    for (int i = 0; i < 60 && f->n_events < 3; i++) {
        fixture_turn_ms(f, 100);
    }
    CHECK_INT(f->n_events, 3);
    CHECK_INT(f->events[2].type, STORE_EVENT_DELETE);
    CHECK_STR_C(str_c(dump(f, "/registry/leases/")), "");
}

CONFORMS(many_clients_increment_one_counter_without_losing_any)
{
    /* 32 clients read, add one, and compare-and-put; whoever loses goes round again. */
    enum { CLIENTS = 32, EACH = 25 };
    struct answer a[CLIENTS] = { 0 };
    int left[CLIENTS], value = 0, running = CLIENTS;
    int64_t revision = put(f, "ns/counter", "0", STORE_ABSENT).revision;
    char text[16];
    for (int i = 0; i < CLIENTS; i++) {
        left[i] = EACH;
        start_write(f, f->pods, "/registry/pods/ns/counter", "1", revision, 0, &a[i]);
    }
    while (running) {
        loop_turn(f->loop, 100);
        for (int i = 0; i < CLIENTS; i++) {
            if (!a[i].done) {
                continue;
            }
            if (a[i].status == STORE_OK) {
                value = (int)strtol(f->events[f->n_events - 1].value, NULL, 10);
                revision = f->events[f->n_events - 1].revision;
                if (--left[i] == 0) {
                    running--;
                    a[i].done = 0;
                    continue;
                }
            } else {
                CHECK_INT(a[i].status, STORE_E_CONFLICT);
                value = (int)strtol(a[i].value, NULL, 10);
                revision = a[i].revision;
            }
            snprintf(text, sizeof(text), "%d", value + 1);
            start_write(f, f->pods, "/registry/pods/ns/counter", text, revision, 0, &a[i]);
        }
    }
    CHECK_STR_C(str_c(f->events[f->n_events - 1].value), "800");
    CHECK_INT(f->n_events, 801);
}

TEST(closing_answers_what_is_pending)
{
    struct fixture *f = fixture_new(true);
    fixture_open(f);
    struct answer a[100];
    for (int i = 0; i < 100; i++) {
        char key[64];
        snprintf(key, sizeof(key), "/registry/pods/ns/p%d", i);
        start_write(f, f->pods, key, "v", STORE_ABSENT, 0, &a[i]);
    }
    fixture_close(f);
    for (int i = 0; i < 100; i++) {
        CHECK_INT(a[i].done, 1);
        CHECK_INT(a[i].status, STORE_OK);
    }
    fixture_open(f);
    CHECK(strstr(dump(f, "/registry/pods/"), "ns/p99=v@"));
    fixture_end(f);
}

TEST(closed_in_order_nothing_is_lost_and_revisions_go_on_where_they_were)
{
    struct fixture *f = fixture_new(true);
    fixture_open(f);
    struct answer p = put(f, "ns/a", "1", STORE_ABSENT);
    struct answer l = do_write_to(f, f->leases, "/registry/leases/ns/l", "1", STORE_ABSENT, 0);
    for (int i = 0; i < 10; i++) {
        l = do_write_to(f, f->leases, "/registry/leases/ns/l", "renewed", l.revision, STORE_VOLATILE);
    }
    fixture_close(f);
    fixture_open(f);
    CHECK_INT(store_revision_seen(f->store), l.revision);
    char want[128];
    snprintf(want, sizeof(want), "/registry/leases/ns/l=renewed@%lld /registry/pods/ns/a=1@%lld ", (long long)l.revision,
             (long long)p.revision);
    CHECK_STR_C(str_c(dump(f, "/registry/")), want);
    CHECK_INT(store_resource_floor(f->leases), 0);
    fixture_end(f);
}

/* What kill -9 and a power loss leave: the files as they are at some moment, without the store having been closed. */
static void copy_files(const struct fixture *from, struct fixture *to, bool with_tmpfs)
{
    char cmd[512];
    snprintf(cmd, sizeof(cmd), "cp %s/store.db %s/store.db && cp %s/store.db-wal %s/store.db-wal 2>/dev/null; %s %s/volatile-* %s",
             from->dir, to->dir, from->dir, to->dir, with_tmpfs ? "cp" : "true", from->dir, to->dir);
    CHECK_INT(system(cmd), 0);
}

TEST(killed_it_brings_back_volatile_values_and_skips_revisions)
{
    struct fixture *f = fixture_new(true), *g = fixture_new(true);
    fixture_open(f);
    struct answer l = do_write_to(f, f->leases, "/registry/leases/ns/l", "1", STORE_ABSENT, 0);
    l = do_write_to(f, f->leases, "/registry/leases/ns/l", "renewed", l.revision, STORE_VOLATILE);
    struct answer m = do_write_to(f, f->leases, "/registry/leases/ns/m", "1", STORE_ABSENT, 0);
    do_write_to(f, f->leases, "/registry/leases/ns/m", NULL, m.revision, STORE_VOLATILE);
    struct answer n = do_write_to(f, f->leases, "/registry/leases/ns/n", "1", STORE_ABSENT, STORE_VOLATILE);
    do_write_to(f, f->leases, "/registry/leases/ns/n", "durable", n.revision, 0);
    struct answer o = do_write_to(f, f->leases, "/registry/leases/ns/o", "1", STORE_ABSENT, STORE_VOLATILE);
    do_write_to(f, f->leases, "/registry/leases/ns/o", NULL, o.revision, 0);
    copy_files(f, g, true);
    fixture_open(g);
    CHECK(store_revision_seen(g->store) > store_revision_seen(f->store));
    char want[128];
    snprintf(want, sizeof(want), "/registry/leases/ns/l=renewed@%lld /registry/leases/ns/n=durable@%lld ",
             (long long)l.revision, (long long)n.revision + 1);
    CHECK_STR_C(str_c(dump(g, "/registry/leases/")), want);
    CHECK_INT(store_resource_floor(g->leases), 0);
    fixture_end(f);
    fixture_end(g);
}

TEST(after_a_power_loss_volatile_values_roll_back_and_the_floor_is_raised)
{
    struct fixture *f = fixture_new(true), *g = fixture_new(true);
    fixture_open(f);
    struct answer c = do_write_to(f, f->leases, "/registry/leases/ns/l", "1", STORE_ABSENT, 0);
    do_write_to(f, f->leases, "/registry/leases/ns/l", "renewed", c.revision, STORE_VOLATILE);
    copy_files(f, g, false);
    int64_t seen = store_revision_seen(f->store);
    fixture_open(g);
    char want[128];
    snprintf(want, sizeof(want), "/registry/leases/ns/l=1@%lld ", (long long)c.revision);
    CHECK_STR_C(str_c(dump(g, "/registry/leases/")), want);
    CHECK(store_resource_floor(g->leases) > seen);
    CHECK_INT(store_resource_floor(g->pods), 0);
    CHECK(do_write_to(g, g->leases, "/registry/leases/ns/l", "2", c.revision, 0).revision > seen);
    fixture_end(f);
    fixture_end(g);
}

TEST(held_back_values_are_written_out_past_their_limit)
{
    struct fixture *f = fixture_new(true);
    fixture_open(f);
    char *value = calloc(1, 60000);
    memset(value, 'v', 59999);
    for (int i = 0; i < 120; i++) {
        char key[64];
        snprintf(key, sizeof(key), "/registry/leases/ns/l%03d", i);
        CHECK_INT(do_write_to(f, f->leases, key, value, STORE_ANY, STORE_VOLATILE).status, STORE_OK);
    }
    free(value);
    struct store_stats st;
    for (int i = 0; i < 100; i++) {
        put(f, "ns/tick", "1", STORE_ANY);
        store_get_stats(f->store, &st);
        if (st.held_back_bytes < 4000000) {
            break;
        }
    }
    CHECK(st.flushes >= 60);
    CHECK(st.held_back_bytes < 4000000);
    fixture_close(f);
    fixture_open(f);
    CHECK(strstr(dump(f, "/registry/leases/"), "ns/l000=vvv"));
    fixture_end(f);
}

static void sql(struct fixture *f, const char *text)
{
    sqlite3 *db;
    CHECK_INT(sqlite3_open(f->path, &db), SQLITE_OK);
    CHECK_INT(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

TEST(refuses_a_newer_format_a_foreign_file_a_damaged_file_and_a_second_process)
{
    struct fixture *f = fixture_new(true), *g = fixture_new(true);
    struct err err;
    fixture_open(f);
    put(f, "ns/a", "1", STORE_ABSENT);
    snprintf(g->path, sizeof(g->path), "%s", f->path);
    CHECK(!fixture_try_open(g, &err));
    CHECK(strstr(err.msg, "in use by another process"));
    fixture_close(f);

    sql(f, "PRAGMA user_version=99");
    CHECK(!fixture_try_open(f, &err));
    CHECK(strstr(err.msg, "newer Coracle"));
    sql(f, "PRAGMA user_version=1; PRAGMA application_id=7");
    CHECK(!fixture_try_open(f, &err));
    CHECK(strstr(err.msg, "another program"));
    sql(f, "PRAGMA application_id=0x436f7261; UPDATE kv SET rev=1000000000; UPDATE meta SET clean=0");
    CHECK(!fixture_try_open(f, &err));
    CHECK(strstr(err.msg, "damaged"));

    int fd = open(f->path, O_WRONLY | O_TRUNC);
    CHECK(write(fd, "this is no database, it is a text of some length ..............................................", 95) == 95);
    close(fd);
    CHECK(!fixture_try_open(f, &err));
    CHECK(strstr(err.msg, "no SQLite database"));
    snprintf(f->path, sizeof(f->path), "/proc/store.db");
    CHECK(!fixture_try_open(f, &err));
    fixture_end(f);
    fixture_end(g);
}
