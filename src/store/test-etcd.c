/* What only the etcd back end does: other writers, failing members, quota, compaction. */
#include "store/test-etcd.h"

#include <signal.h>
#include <stdlib.h>

#include "base/clock.h"
#include "store/test-support.h"

static void flag(void *arg, enum store_status status)
{
    int *f = arg;
    *f = status == STORE_OK ? 1 : 2;
}

struct newest {
    int done;
    int64_t revision;
};

static void on_newest(void *arg, enum store_status status, int64_t revision)
{
    struct newest *n = arg;
    n->done = status == STORE_OK ? 1 : 2;
    n->revision = revision;
}

static int64_t newest(struct fixture *f)
{
    struct newest n = { 0 };
    store_revision(f->store, on_newest, &n);
    fixture_wait(f, &n.done);
    CHECK_INT(n.done, 1);
    return n.revision;
}

static void others_writes_arrive_in_order(bool trust)
{
    struct test_etcd *e = test_etcd_shared();
    struct fixture *f = fixture_new_etcd(e);
    f->trust_progress = trust;
    fixture_open(f);
    struct answer a = put(f, "ns/a", "1", STORE_ABSENT);
    CHECK_INT(a.status, STORE_OK);
    test_etcdctl(e, "put %s/pods/ns/b other", f->prefix);
    test_etcdctl(e, "put /elsewhere x");
    test_etcdctl(e, "del %s/pods/ns/a", f->prefix);
    test_etcdctl(e, "put /elsewhere y");
    /* A consistent read: ask for the newest revision and wait for the watermark. */
    int64_t now = newest(f);
    CHECK(now > a.revision + 3);
    store_resource_want_progress(f->pods, true);
    for (int i = 0; i < 200 && store_resource_watermark(f->pods) < now; i++) {
        fixture_turn_ms(f, 10);
    }
    CHECK(store_resource_watermark(f->pods) >= now);
    CHECK_INT(f->n_events, 3);
    CHECK_STR_C(str_c(f->events[1].key), "/registry/pods/ns/b");
    CHECK_STR_C(str_c(f->events[1].value), "other");
    CHECK_INT(f->events[2].type, STORE_EVENT_DELETE);
    CHECK(f->events[2].revision > f->events[1].revision && f->events[1].revision > a.revision);
    CHECK_INT(put(f, "ns/b", "mine", STORE_ABSENT).status, STORE_E_CONFLICT);
    CHECK_STR_C(str_c(test_etcdctl(e, "get --print-value-only %s/pods/ns/b", f->prefix)), "other");
    fixture_end(f);
}

TEST(etcd_writes_of_others_arrive_in_order_without_trust_in_progress)
{
    others_writes_arrive_in_order(false);
}

TEST(etcd_writes_of_others_arrive_in_order_with_progress_asked_for)
{
    others_writes_arrive_in_order(true);
}

TEST(etcd_lists_in_pages_what_two_stores_wrote)
{
    struct fixture *f = fixture_new_etcd(test_etcd_shared()), *g = fixture_new_etcd(test_etcd_shared());
    snprintf(g->prefix, sizeof(g->prefix), "%s", f->prefix);
    fixture_open(f);
    fixture_open(g);
    for (int i = 0; i < 8; i++) {
        char name[16];
        snprintf(name, sizeof(name), "ns/k%d", i);
        CHECK_INT(put(i % 2 ? f : g, name, "v", STORE_ABSENT).status, STORE_OK);
    }
    struct answer a = put(f, "ns/shared", "1", STORE_ABSENT), b = put(g, "ns/shared", "2", a.revision);
    CHECK_INT(b.status, STORE_OK);
    CHECK_INT(put(f, "ns/shared", "3", a.revision).status, STORE_E_CONFLICT);
    CHECK_STR_C(str_c(f->events[f->n_events - 1].value), "2"); /* the winner was delivered before */
    const char *text = dump(f, "/registry/pods/");
    CHECK(strstr(text, "/registry/pods/ns/k0=v@") && strstr(text, "/registry/pods/ns/k7=v@"));
    fixture_end(g);
    fixture_end(f);
}

static void ready(void *arg)
{
    *(int *)arg += 1;
}

TEST(etcd_watch_cache_reloads_after_its_history_was_compacted)
{
    struct test_etcd *e = test_etcd_start(1, 0);
    struct fixture *f = fixture_new_etcd(e);
    fixture_open(f);
    struct watch_cache_config cfg = { .store = f->store, .prefix = STR("/registry/things/"), .namespaced = true, .ops = &thing_ops };
    struct watch_cache *c = watch_cache_new(&cfg);
    test_etcdctl(e, "put %s/things/ns/a node=1", f->prefix);
    test_etcdctl(e, "put %s/things/ns/b node=1", f->prefix);
    for (int i = 0; i < 300 && (!watch_cache_ready(c) || watch_cache_n_objects(c) < 2); i++) {
        fixture_turn_ms(f, 10);
    }
    CHECK_INT(watch_cache_n_objects(c), 2);
    struct watcher *w;
    int n_ready = 0;
    struct watch_options opt = { .start = WATCH_FROM_REVISION, .revision = watch_cache_revision(c), .field = -1,
                                 .ready = ready, .arg = &n_ready };
    struct watch_item item;
    int64_t before = opt.revision;
    /* Nobody turns this loop while the member is restarted, history goes on, and is compacted away. */
    CHECK_INT(watcher_new(c, &opt, &w), STORE_OK);
    test_etcd_signal(e, 0, SIGKILL);
    test_etcd_again(e, 0);
    test_etcdctl(e, "del %s/things/ns/a", f->prefix);
    for (int i = 0; i < 3; i++) {
        test_etcdctl(e, "put %s/things/ns/c node=%d", f->prefix, i);
    }
    char revision[32];
    snprintf(revision, sizeof(revision), "%lld", (long long)before + 3);
    test_etcdctl(e, "compact %s", revision);
    enum watch_got got = WATCH_GOT_NOTHING;
    for (int i = 0; i < 500 && got == WATCH_GOT_NOTHING; i++) {
        fixture_turn_ms(f, 10);
        got = watch_next(w, &item);
    }
    CHECK_INT(got, WATCH_GOT_EXPIRED);
    CHECK(watch_cache_get(c, STR("ns"), STR("a")) == NULL);
    CHECK(watch_cache_get(c, STR("ns"), STR("b")) != NULL);
    CHECK(watch_cache_get(c, STR("ns"), STR("c")) != NULL);
    CHECK(watch_cache_revision(c) > before);
    watcher_free(w);
    CHECK_INT(watcher_new(c, &opt, &w), STORE_E_COMPACTED);
    watch_cache_free(c);
    fixture_end(f);
    test_etcd_stop(e);
}

TEST(etcd_apiservers_compact_by_the_common_key)
{
    struct test_etcd *e = test_etcd_start(1, 0);
    struct fixture *f = fixture_new_etcd(e), *g = fixture_new_etcd(e);
    snprintf(g->prefix, sizeof(g->prefix), "%s", f->prefix);
    f->compaction_ms = g->compaction_ms = 300;
    fixture_open(f);
    fixture_open(g);
    struct answer a = put(f, "ns/a", "1", STORE_ABSENT);
    for (int i = 0; i < 20; i++) {
        a = put(f, "ns/a", "x", a.revision);
        fixture_turn_ms(f, 100);
        fixture_turn_ms(g, 1);
    }
    CHECK(strtoll(test_etcdctl(e, "get --print-value-only compact_rev_key"), NULL, 10) > 3);
    CHECK(strstr(test_etcdctl(e, "get --rev=3 %s/pods/ns/a 2>&1", f->prefix), "compacted"));
    /* Both go on, and lost nothing. */
    CHECK_INT(put(g, "ns/b", "1", STORE_ABSENT).status, STORE_OK);
    CHECK_INT(f->n_events >= 21, 1);
    fixture_end(g);
    fixture_end(f);
    test_etcd_stop(e);
}

TEST(etcd_quota_exceeded_fails_writes_and_nothing_else)
{
    struct test_etcd *e = test_etcd_start(1, 4u << 20);
    struct fixture *f = fixture_new_etcd(e);
    char *big = calloc(1, 1000001);
    memset(big, 'x', 1000000);
    fixture_open(f);
    struct answer a = { .status = STORE_OK };
    for (int i = 0; i < 20 && a.status == STORE_OK; i++) {
        char name[16];
        snprintf(name, sizeof(name), "ns/k%d", i);
        a = put(f, name, big, STORE_ABSENT);
    }
    CHECK_INT(a.status, STORE_E_FULL);
    CHECK(strstr(test_etcdctl(e, "get --keys-only %s/pods/ns/k0", f->prefix), "k0"));
    CHECK(newest(f) > 0);
    free(big);
    fixture_end(f);
    test_etcd_stop(e);
}

TEST(etcd_keys_that_end_share_leases)
{
    struct test_etcd *e = test_etcd_start(1, 0);
    struct fixture *f = fixture_new_etcd(e);
    fixture_open(f);
    struct answer a[30] = { 0 };
    for (int i = 0; i < 30; i++) {
        char key[64];
        snprintf(key, sizeof(key), "/registry/leases/ns/e%d", i);
        struct store_write w = { .resource = f->leases, .key = str_c(key), .value = STR("1"), .expect = STORE_ABSENT,
                                 .ttl_s = i < 20 ? 3600 : 15, .done = on_answer, .arg = &a[i] };
        store_write(f->store, &w);
        fixture_wait(f, &a[i].done);
        CHECK_INT(a[i].status, STORE_OK);
    }
    const char *list = test_etcdctl(e, "lease list");
    /* One lease of an hour and three minutes, spare for a minute at most; short ones are not stretched. */
    CHECK(strstr(list, "found ") && strtol(strstr(list, "found ") + 6, NULL, 10) <= 12);
    char one[32] = "";
    const char *at = strchr(list, '\n');
    while (at && !strstr(one, "found")) {
        snprintf(one, sizeof(one), "%.16s", at + 1);
        const char *ttl = test_etcdctl(e, "lease timetolive %s", one);
        if (strstr(ttl, "granted with TTL(3660s)")) {
            break;
        }
        list = test_etcdctl(e, "lease list");
        at = strstr(list, one) ? strchr(strstr(list, one), '\n') : NULL;
    }
    CHECK(at);
    fixture_end(f);
    test_etcd_stop(e);
}

/* Writes without a pause while 'hurt' is done; the longest time between two successes. */
struct client {
    struct fixture *f;
    struct answer a;
    int64_t revision;
    unsigned n, unknown, failed;
    uint64_t last_ms, longest_ms;
};

static void client_step(struct client *c)
{
    if (!c->a.done) {
        return;
    }
    uint64_t now = clock_mono_ms();
    char value[24];
    if (c->a.status == STORE_OK) {
        c->longest_ms = MAX(c->longest_ms, now - c->last_ms);
        c->last_ms = now;
        c->n++;
        CHECK(c->a.revision > c->revision);
        c->revision = c->a.revision;
    } else if (c->a.status == STORE_E_CONFLICT) {
        c->revision = c->a.revision; /* an unknown one had been made */
    } else if (c->a.status == STORE_E_UNKNOWN) {
        c->unknown++;
    } else {
        c->failed++;
    }
    snprintf(value, sizeof(value), "%u", c->n);
    start_write(c->f, c->f->pods, "/registry/pods/ns/counter", value, c->revision, 0, &c->a);
}

static void run_client(struct client *c, unsigned ms)
{
    uint64_t end = clock_mono_ms() + ms;
    while (clock_mono_ms() < end) {
        loop_turn(c->f->loop, 5);
        client_step(c);
    }
}

static void hurt_members(int signo, bool leads)
{
    struct test_etcd *e = test_etcd_start(3, 0);
    struct fixture *f = fixture_new_etcd(e);
    fixture_open(f);
    struct client c = { .f = f };
    start_write(f, f->pods, "/registry/pods/ns/counter", "0", STORE_ABSENT, 0, &c.a);
    fixture_wait(f, &c.a.done);
    c.last_ms = clock_mono_ms();
    run_client(&c, 500);
    /* The member that is used is the first. When it leads, an election is part of the gap. */
    test_etcd_lead(e, leads ? 0 : 1);
    run_client(&c, 300);
    c.last_ms = clock_mono_ms();
    c.longest_ms = 0;
    unsigned before = c.n;
    test_etcd_signal(e, 0, signo);
    run_client(&c, 6000);
    printf("  member %s%s: %u writes went on, longest gap %llu ms, %u unknown, %u failed\n", signo == SIGKILL ? "killed" : "paused",
           leads ? " (the leader)" : "", c.n - before, (unsigned long long)c.longest_ms, c.unknown, c.failed);
    CHECK(c.n > before + 20);
    CHECK_INT(c.failed, 0);
    CHECK(c.longest_ms < (leads ? 4000 : 1000));
    if (signo == SIGSTOP) {
        test_etcd_signal(e, 0, SIGCONT);
    }
    while (!c.a.done) {
        loop_turn(f->loop, 10);
    }
    /* Every event came once and in order, and the last one is the last write. */
    for (size_t i = 1; i < MIN(f->n_events, ARRAY_SIZE(f->events)); i++) {
        CHECK(f->events[i].revision > f->events[i - 1].revision);
    }
    int ok = 0;
    store_health(f->store, 2000, flag, &ok);
    fixture_wait(f, &ok);
    CHECK_INT(ok, 1);
    fixture_end(f);
    test_etcd_stop(e);
}

TEST(etcd_member_killed_writes_go_on_elsewhere)
{
    hurt_members(SIGKILL, false);
}

TEST(etcd_leader_killed_writes_go_on_elsewhere)
{
    hurt_members(SIGKILL, true);
}

TEST(etcd_member_paused_writes_go_on_elsewhere)
{
    hurt_members(SIGSTOP, false);
}

TEST(etcd_without_a_quorum_nothing_is_acknowledged)
{
    struct test_etcd *e = test_etcd_start(3, 0);
    struct fixture *f = fixture_new_etcd(e);
    fixture_open(f);
    struct answer a = put(f, "ns/a", "1", STORE_ABSENT), b;
    test_etcd_signal(e, 1, SIGKILL);
    test_etcd_signal(e, 2, SIGKILL);
    start_write(f, f->pods, "/registry/pods/ns/a", "2", a.revision, 0, &b);
    int ok = 0;
    store_health(f->store, 1000, flag, &ok);
    uint64_t end = clock_mono_ms() + 3000;
    while (clock_mono_ms() < end) {
        loop_turn(f->loop, 20);
        CHECK(!b.done || b.status != STORE_OK);
    }
    CHECK_INT(ok, 2);
    test_etcd_again(e, 1);
    end = clock_mono_ms() + 25000;
    while (!b.done && clock_mono_ms() < end) {
        loop_turn(f->loop, 20);
    }
    CHECK(b.done);
    CHECK(b.status == STORE_OK || b.status == STORE_E_UNAVAILABLE || b.status == STORE_E_UNKNOWN);
    printf("  a write begun without a quorum ended as: %s\n", store_status_text(b.status));
    fixture_end(f);
    test_etcd_stop(e);
}

TEST(etcd_wrong_certificates_and_addresses_are_refused_with_reasons)
{
    struct fixture *f = fixture_new(false);
    struct store_config cfg = { .loop = f->loop };
    struct err err;
    static const char *const bad[] = { "127.0.0.1:2379", "https://127.0.0.1", "http://a:1/path", "unix://x", "ftp://a:1" };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct str server = str_c(bad[i]);
        struct store_etcd_config c = { .servers = &server, .n_servers = 1 };
        CHECK(store_open_etcd(&cfg, &c, &err) == NULL);
        CHECK(strstr(err.msg, "--etcd-servers"));
    }
    struct str mixed[] = { STR("https://127.0.0.1:1"), STR("http://127.0.0.1:2") };
    struct store_etcd_config c = { .servers = mixed, .n_servers = 2 };
    CHECK(store_open_etcd(&cfg, &c, &err) == NULL);
    struct store_etcd_config missing = { .servers = mixed, .n_servers = 1, .ca_file = STR("/nowhere/ca.crt") };
    CHECK(store_open_etcd(&cfg, &missing, &err) == NULL);
    CHECK(strstr(err.msg, "--etcd-cafile"));
    fixture_end(f);
}
