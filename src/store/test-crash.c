#include "store/test-support.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rand.h"

/*
 * A child writes and tells over a pipe what was acknowledged; it is killed at a random moment; the store is opened again and
 * must hold, for every key, what was acknowledged last or the one write that was under way.
 */
enum { KEYS = 24 };

struct told {
    int key;
    uint64_t value;   /* 0: deleted */
    int64_t revision; /* 0: not yet, the write is only begun */
};

struct writer {
    struct fixture *f;
    int key, pipe;
    bool lease;
    uint64_t value;
    int64_t revision; /* 0: no such key */
};

static uint64_t next_value;

static void write_next(struct writer *w);

static void tell(const struct writer *w, int64_t revision)
{
    struct told t = { .key = w->key, .value = w->value, .revision = revision };
    if (write(w->pipe, &t, sizeof(t)) != sizeof(t)) {
        _exit(11);
    }
}

static void on_written(void *arg, const struct store_result *res)
{
    struct writer *w = arg;
    if (res->status != STORE_OK) {
        _exit(10);
    }
    w->revision = w->value ? res->revision : 0;
    tell(w, res->revision);
    write_next(w);
}

static void key_name(char *dst, size_t size, int key)
{
    snprintf(dst, size, "/registry/%s/ns/k%02d", key % 3 == 2 ? "leases" : "pods", key);
}

static void write_next(struct writer *w)
{
    char key[64], value[64];
    w->value = w->revision && rand_below(10) == 0 ? 0 : ++next_value;
    tell(w, 0);
    key_name(key, sizeof(key), w->key);
    snprintf(value, sizeof(value), "%llu", (unsigned long long)w->value);
    struct store_write sw = {
        .resource = w->lease ? w->f->leases : w->f->pods,
        .key = str_c(key),
        .value = w->value ? str_c(value) : STR_NULL,
        .expect = w->revision,
        .flags = w->lease && rand_below(4) ? STORE_VOLATILE : 0,
        .done = on_written,
        .arg = w,
    };
    store_write(w->f->store, &sw);
}

struct known {
    uint64_t value; /* acknowledged */
    int64_t revision;
    bool is_trying;
    uint64_t trying; /* begun after it */
};

static void run_child(struct fixture *f, const struct known known[KEYS], uint64_t first, int pipe)
{
    static struct writer w[KEYS];
    struct err err;
    if (!fixture_try_open(f, &err)) {
        fprintf(stderr, "child: %s\n", err.msg);
        _exit(12);
    }
    next_value = first;
    for (int i = 0; i < KEYS; i++) {
        w[i] = (struct writer){ .f = f, .key = i, .pipe = pipe, .lease = i % 3 == 2,
                                .revision = known[i].value ? known[i].revision : 0 };
        write_next(&w[i]);
    }
    for (;;) {
        loop_turn(f->loop, 1000);
    }
}

struct found {
    int done;
    struct known now[KEYS];
};

static void on_found(void *arg, const struct store_page *p)
{
    struct found *f = arg;
    for (size_t i = 0; i < p->n_items; i++) {
        int64_t k;
        CHECK(str_to_i64(str_sub(p->items[i].key, p->items[i].key.len - 2, 2), &k));
        CHECK(str_to_u64(p->items[i].value, &f->now[k].value));
        f->now[k].revision = p->items[i].revision;
    }
    f->done = 1;
}

static struct found read_all(struct fixture *f)
{
    struct found found = { 0 };
    store_range(f->store, STR("/registry/"), STR("/registry0"), 0, on_found, &found);
    fixture_wait(f, &found.done);
    return found;
}

/* One that dies as soon as it has opened the store: the crash after the crash. */
static void die_after_opening(struct fixture *f)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        loop_free(f->loop);
        f->loop = loop_new(NULL);
        _exit(fixture_try_open(f, &(struct err){ 0 }) ? 0 : 1);
    }
    int status;
    waitpid(pid, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void crash_rounds(int rounds, unsigned max_ms, size_t held_back_bytes)
{
    struct fixture *f = fixture_new(true);
    struct known known[KEYS] = { 0 };
    uint64_t value = 0;
    int64_t newest = 0;
    size_t acknowledged = 0;
    f->sync = true;
    f->held_back_bytes = held_back_bytes;
    for (int round = 0; round < rounds; round++) {
        int fds[2];
        CHECK_INT(pipe(fds), 0);
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            close(fds[0]);
            loop_free(f->loop);
            f->loop = loop_new(NULL);
            run_child(f, known, value, fds[1]);
        }
        close(fds[1]);
        uint64_t end = clock_mono_ms() + 5 + rand_below(max_ms);
        bool killed = false;
        struct told t;
        struct pollfd p = { .fd = fds[0], .events = POLLIN };
        for (;;) {
            uint64_t now = clock_mono_ms();
            if (now >= end && !killed) {
                kill(pid, SIGKILL);
                killed = true;
            }
            if (poll(&p, 1, killed ? 1000 : (int)(end - now)) > 0) {
                ssize_t n = read(fds[0], &t, sizeof(t));
                if (n != sizeof(t)) {
                    break;
                }
                value = MAX(value, t.value);
                if (!t.revision) {
                    known[t.key].is_trying = true;
                    known[t.key].trying = t.value;
                    continue;
                }
                CHECK(t.revision > known[t.key].revision);
                known[t.key] = (struct known){ .value = t.value, .revision = t.revision };
                newest = MAX(newest, t.revision);
                acknowledged++;
            }
        }
        close(fds[0]);
        int status;
        waitpid(pid, &status, 0);
        CHECK(WIFSIGNALED(status));
        for (uint64_t again = rand_below(3); again > 0; again--) {
            die_after_opening(f);
        }
        fixture_open(f);
        CHECK(store_revision_seen(f->store) >= newest);
        struct found found = read_all(f);
        for (int i = 0; i < KEYS; i++) {
            const struct known *want = &known[i], *got = &found.now[i];
            bool same = got->value == want->value && (!want->value || got->revision == want->revision);
            bool tried = want->is_trying && got->value == want->trying && (!got->value || got->revision > want->revision);
            if (!same && !tried) {
                printf("  key %d: acknowledged %llu@%lld, found %llu@%lld\n", i, (unsigned long long)want->value,
                       (long long)want->revision, (unsigned long long)got->value, (long long)got->revision);
                CHECK(false);
            }
            known[i] = (struct known){ .value = got->value, .revision = MAX(got->revision, want->revision) };
            newest = MAX(newest, got->revision);
        }
        CHECK_INT(store_resource_floor(f->leases), 0);
        fixture_close(f);
    }
    printf("  %zu writes acknowledged over %d kills\n", acknowledged, rounds);
    CHECK(acknowledged > 0);
    fixture_end(f);
}

static int rounds(int usual)
{
    const char *long_form = getenv("CORACLE_CRASH_ROUNDS");
    return long_form ? (int)strtol(long_form, NULL, 10) : usual;
}

TEST(killed_at_random_moments_it_loses_nothing_that_was_acknowledged)
{
    crash_rounds(rounds(10), 150, 0);
}

TEST(killed_while_it_writes_out_what_was_held_back_it_loses_nothing)
{
    crash_rounds(rounds(10), 150, 1000);
}

/* In a mount namespace of its own with a tiny tmpfs as the store's disk. */
static int full_disk_child(struct fixture *f)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("c-store-test", f->dir, "tmpfs", 0, "size=1536k") < 0) {
        return 77;
    }
    loop_free(f->loop);
    f->loop = loop_new(NULL);
    f->with_volatile_log = false;
    f->sync = true;
    struct err err;
    if (!fixture_try_open(f, &err)) {
        printf("  %s\n", err.msg);
        return 1;
    }
    char value[8192], name[32];
    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    int written = 0, full = 0;
    int64_t first = 0;
    for (int i = 0; i < 400 && full < 5; i++) {
        snprintf(name, sizeof(name), "ns/p%03d", i);
        struct answer a = put(f, name, value, STORE_ABSENT);
        if (a.status == STORE_OK) {
            written++;
            first = first ? first : a.revision;
        } else if (a.status == STORE_E_FULL) {
            full++;
        } else {
            return 2;
        }
    }
    if (!written || full < 5 || f->fatal[0]) {
        printf("  written %d, refused %d, fatal '%s'\n", written, full, f->fatal);
        return 3;
    }
    if (f->n_events != (size_t)written) {
        return 4;
    }
    /* Reads go on, and so do volatile writes; and what is there is there after a restart. */
    if (do_write_to(f, f->leases, "/registry/leases/ns/l", "1", STORE_ABSENT, STORE_VOLATILE).status != STORE_OK) {
        return 5;
    }
    if (!strstr(dump(f, "/registry/pods/ns/p000"), "=vvv")) {
        return 6;
    }
    /* With room again, writes are accepted again. */
    if (mount("c-store-test", f->dir, "tmpfs", MS_REMOUNT, "size=8m") < 0) {
        return 7;
    }
    if (put(f, "ns/after", "1", STORE_ABSENT).status != STORE_OK) {
        return 8;
    }
    fixture_close(f);
    if (!fixture_try_open(f, &err) || !strstr(dump(f, "/registry/pods/ns/after"), "after=1@")) {
        return 9;
    }
    fixture_close(f);
    return 0;
}

TEST(full_disk_fails_writes_and_nothing_else)
{
    struct fixture *f = fixture_new(true);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        int r = full_disk_child(f);
        fflush(stdout);
        _exit(r);
    }
    int status;
    waitpid(pid, &status, 0);
    fixture_end(f);
    CHECK(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        test_skip("cannot mount a tmpfs here");
    }
    CHECK_INT(WEXITSTATUS(status), 0);
}
