/*
 * store-checker: uses a kube-apiserver by many clients while its store is hurt, and says afterwards whether anything was lost,
 * came back, or was seen out of order (verify.c has the rules).
 *
 *   store-checker --faults kill,failpoint --rounds 20 --data-dir DIR --volatile-dir DIR --failpoints a,b,c -- kube-apiserver FLAGS...
 *
 * The last lines are a summary and "N passed, N failed".
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/flags.h"
#include "base/fs.h"
#include "server.h"

struct options {
    int64_t clients, watchers, rounds, seconds, keys, leases, port, servers, pause_us, max_ms, stall_ms;
    struct flag_strings faults, failpoints;
    struct str data_dir, volatile_dir, lossy_lib, lossy_dir, log, hurt, name;
    bool lives_go_on;
};

static const struct flag flags[] = {
    FLAG_STRING(struct options, name, "name", "faults", "What this run is called in what is said"),
    FLAG_INT(struct options, clients, "clients", "12", "Clients that read and write"),
    FLAG_INT(struct options, watchers, "watchers", "3", "Watchers of each kind"),
    FLAG_INT(struct options, keys, "keys", "24", "ConfigMaps"),
    FLAG_INT(struct options, leases, "leases", "6", "Leases"),
    FLAG_INT(struct options, rounds, "rounds", "10", "How many times something is done to the store"),
    FLAG_INT(struct options, seconds, "seconds", "0", "No new round begins after this; 0: all rounds"),
    FLAG_INT(struct options, max_ms, "max-ms", "400", "A round's fault comes after this at most"),
    FLAG_INT(struct options, stall_ms, "stall-ms", "10000", "How long a stalled sync takes"),
    FLAG_INT(struct options, pause_us, "pause-us", "500", "What a client waits between two requests, on average"),
    FLAG_INT(struct options, port, "port", "18200", "The first server's port"),
    FLAG_INT(struct options, servers, "servers", "1", "Servers on one store"),
    FLAG_STRINGS(struct options, faults, "faults", "kill", "kill, end, failpoint, power, stall, full, clock, hurt"),
    FLAG_STRINGS(struct options, failpoints, "failpoints", "", "Names for 'failpoint'"),
    FLAG_STRING(struct options, data_dir, "data-dir", "", "The store's folder; made new"),
    FLAG_STRING(struct options, volatile_dir, "volatile-dir", "", "The folder of the volatile log"),
    FLAG_STRING(struct options, lossy_lib, "lossy-lib", "", "The library that loses writes, for power, stall and clock"),
    FLAG_STRING(struct options, lossy_dir, "lossy-dir", "", "Its folder, in memory"),
    FLAG_STRING(struct options, log, "log", "/dev/null", "Where the server's log goes"),
    FLAG_STRING(struct options, hurt, "hurt", "", "The command of 'hurt': called with \"hurt\" and later with \"heal\""),
    FLAG_BOOL(struct options, lives_go_on, "lives-go-on", "false", "What was sent to a dead server may be done later (etcd)"),
};

struct run {
    struct options o;
    struct server server;
    struct work work;
    struct worker *workers;
    size_t n_clients, n_workers;
    struct history history;
    unsigned done[16], deaths;
    struct lossy_loss loss;
    char texts[6][PATH_MAX];
};

static const char *text(struct str s, char dst[PATH_MAX])
{
    return s.len && str_to_cstr(s, dst, PATH_MAX) ? dst : NULL;
}

static bool wait_ms(struct run *r, unsigned ms)
{
    for (uint64_t end = now_ns() + ms * UINT64_C(1000000); now_ns() < end; usleep(2000)) {
        if (server_is_dead(&r->server)) {
            fprintf(stderr, "store-checker: the server died by itself; its log: %s\n", r->server.log);
            return false;
        }
    }
    return true;
}

/* ---- faults: each is called while clients are at work, and leaves them at work ---- */

static bool fault_kill(struct run *r)
{
    server_kill(&r->server);
    r->deaths++;
    return server_start(&r->server, NULL, false);
}

static bool fault_end(struct run *r)
{
    if (!server_end(&r->server, 20000)) {
        fprintf(stderr, "store-checker: the server did not end in order\n");
        return false;
    }
    return server_start(&r->server, NULL, false);
}

static bool fault_failpoint(struct run *r)
{
    char point[128];
    static unsigned next, begun; /* in turn, from any of them on: short runs do not always see the same */
    if (!r->o.failpoints.n) {
        fprintf(stderr, "store-checker: --failpoints is empty\n");
        return false;
    }
    if (!begun++) {
        next = pick((uint32_t)r->o.failpoints.n);
    }
    struct str name = r->o.failpoints.items[next++ % r->o.failpoints.n];
    bool closing = str_starts(name, STR("close-")) || str_starts(name, STR("flush-")) || str_starts(name, STR("log-"));
    bool opening = str_starts(name, STR("open-"));
    bool rare = str_starts(name, STR("before-")) || str_starts(name, STR("checkpoint")) || str_starts(name, STR("wal-"));
    snprintf(point, sizeof(point), "%.*s:%u", STR_ARG(name), closing || opening || rare ? 1 : 1 + pick(20));
    /* It takes a new life, which begins with a death as good as any. */
    server_kill(&r->server);
    r->deaths++;
    if (!server_start(&r->server, point, false)) {
        return false;
    }
    if (closing) {
        usleep(100000 + pick(200000));
        (void)server_end(&r->server, 20000);
    } else {
        (void)server_dies_within(&r->server, 600); /* it may not come by */
        server_kill(&r->server);
    }
    r->deaths++;
    return server_start(&r->server, NULL, false);
}

static void remove_files(const char *dir)
{
    DIR *d = dir ? opendir(dir) : NULL;
    struct dirent *e;
    while (d && (e = readdir(d))) {
        if (e->d_name[0] != '.') {
            (void)unlinkat(dirfd(d), e->d_name, 0);
        }
    }
    if (d) {
        closedir(d);
    }
}

/* What was not synced is lost, wholly or in parts, and so is everything in memory file systems. */
static bool fault_power(struct run *r)
{
    struct server *s = &r->server;
    struct lossy_loss loss;
    char shm[PATH_MAX];
    if (!s->control) {
        fprintf(stderr, "store-checker: 'power' needs --lossy-lib\n");
        return false;
    }
    if (pick(3)) {
        s->control->die_count = 1 + pick(60);
        s->control->die = LOSSY_DIE_WRITE + pick(4);
        (void)server_dies_within(s, 1000);
    }
    server_kill(s);
    s->control->die = LOSSY_DIE_NEVER;
    r->deaths++;
    if (!lossy_crash(s->lossy_dir, pick, &loss)) {
        fprintf(stderr, "store-checker: cannot lose writes\n");
        return false;
    }
    r->loss.writes += loss.writes;
    r->loss.lost += loss.lost;
    r->loss.torn += loss.torn;
    remove_files(s->volatile_dir);
    snprintf(shm, sizeof(shm), "%s/coracle.db-shm", s->data_dir);
    (void)unlink(shm);
    return server_start(s, NULL, true);
}

static bool fault_stall(struct run *r)
{
    if (!r->server.control) {
        fprintf(stderr, "store-checker: 'stall' needs --lossy-lib\n");
        return false;
    }
    uint32_t before = r->server.control->stalls;
    r->server.control->stall_ms = (uint32_t)r->o.stall_ms;
    for (int64_t waited = 0; waited < r->o.stall_ms + 5000 && r->server.control->stalls == before; waited += 50) {
        if (!wait_ms(r, 50)) {
            return false;
        }
    }
    return r->server.control->stalls > before;
}

/* The store's file system, which is to be small, is filled up and emptied again. */
static bool fault_full(struct run *r)
{
    char path[PATH_MAX];
    static char bytes[1 << 16];
    unsigned long before = atomic_load(&r->work.unanswered);
    memset(bytes, 'x', sizeof(bytes));
    snprintf(path, sizeof(path), "%s/ballast", r->server.data_dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t wrote = 0;
    bool ok = fd >= 0;
    for (ssize_t n; ok && (n = write(fd, bytes, wrote % sizeof(bytes) ? 1 : sizeof(bytes))) > 0;) {
        wrote += (size_t)n;
        if (wrote > (512u << 20)) {
            fprintf(stderr, "store-checker: 'full' needs a small file system for the store\n");
            ok = false;
        }
    }
    for (int i = 0; ok && i < 100 && atomic_load(&r->work.unanswered) < before + 20; i++) {
        ok = wait_ms(r, 100);
    }
    if (ok && atomic_load(&r->work.unanswered) == before) {
        fprintf(stderr, "store-checker: the disk was full, and no write failed\n");
    }
    if (ok && pick(2)) { /* it dies while the disk is full, and starts when there is room again */
        server_kill(&r->server);
        r->deaths++;
        close(fd);
        fd = -1;
        (void)unlink(path);
        ok = server_start(&r->server, NULL, false);
    }
    if (fd >= 0) {
        close(fd);
        (void)unlink(path);
    }
    return ok && wait_ms(r, 300);
}

static bool fault_clock(struct run *r)
{
    static const int64_t offsets[] = { 3600, -3600, 86400, -86400 * 30, 86400 * 400, 0 };
    if (!r->server.control) {
        fprintf(stderr, "store-checker: 'clock' needs --lossy-lib\n");
        return false;
    }
    r->server.control->clock_offset_s = offsets[pick(ARRAY_SIZE(offsets))];
    return pick(3) ? wait_ms(r, 100) : fault_kill(r);
}

static bool fault_hurt(struct run *r)
{
    char command[PATH_MAX + 8];
    for (int heal = 0; heal < 2; heal++) {
        snprintf(command, sizeof(command), "%s %s", r->texts[4], heal ? "heal" : "hurt");
        int status = system(command); /* a command of the scenario that started us */
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
            fprintf(stderr, "store-checker: failed: %s\n", command);
            return false;
        }
        if (!wait_ms(r, heal ? 200 : 500 + pick(3000))) {
            return false;
        }
    }
    return true;
}

static const struct fault {
    const char *name;
    bool (*run)(struct run *r);
} faults[] = {
    { "kill", fault_kill }, { "end", fault_end }, { "failpoint", fault_failpoint }, { "power", fault_power }, { "stall", fault_stall },
    { "full", fault_full }, { "clock", fault_clock }, { "hurt", fault_hurt },
};

static bool one_round(struct run *r, unsigned round)
{
    struct str name = r->o.faults.items[round % r->o.faults.n];
    for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
        if (str_eq_c(name, faults[i].name)) {
            r->done[i]++;
            return wait_ms(r, 20 + pick((uint32_t)r->o.max_ms)) && faults[i].run(r);
        }
    }
    fprintf(stderr, "store-checker: no such fault: %.*s\n", STR_ARG(name));
    return false;
}

/* ---- the run ---- */

static void start_workers(struct run *r)
{
    r->n_clients = (size_t)r->o.clients;
    r->n_workers = r->n_clients + 2 * (size_t)r->o.watchers;
    r->workers = calloc(r->n_workers, sizeof(*r->workers));
    for (size_t i = 0; i < r->n_workers; i++) {
        r->workers[i] = (struct worker){ .work = &r->work, .number = (unsigned)i, .leases = i & 1 };
        pthread_create(&r->workers[i].thread, NULL, i < r->n_clients ? client_main : watcher_main, &r->workers[i]);
    }
}

/* Clients end; watchers have ten seconds to see the end. */
static bool end_workers(struct run *r)
{
    bool all = true;
    atomic_store(&r->work.stop_clients, true);
    for (size_t i = 0; i < r->n_clients; i++) {
        pthread_join(r->workers[i].thread, NULL);
    }
    if (!server_is_dead(&r->server)) {
        work_write_the_end(&r->work, &r->history);
    }
    for (uint64_t until = now_ns() + UINT64_C(10000000000); now_ns() < until; usleep(10000)) {
        all = true;
        for (size_t i = r->n_clients; i < r->n_workers; i++) {
            all &= atomic_load(&r->workers[i].saw_the_end);
        }
        if (all) {
            break;
        }
    }
    atomic_store(&r->work.stop_watchers, true);
    for (size_t i = r->n_clients; i < r->n_workers; i++) {
        pthread_join(r->workers[i].thread, NULL);
    }
    for (size_t i = r->n_clients; i < r->n_workers; i++) {
        const struct history *h = &r->workers[i].history;
        const struct session *last = h->n_sessions ? &h->sessions[h->n_sessions - 1] : NULL;
        if (!atomic_load(&r->workers[i].saw_the_end)) {
            fprintf(stderr, "store-checker: a watcher of %s did not see the end: its last list was at %" PRId64 ", its last event at %" PRId64
                    "; of %u watches the last was answered %d\n",
                    r->workers[i].leases ? "Leases" : "ConfigMaps", last ? last->revision : 0, last && last->n ? last->sights[last->n - 1].revision : 0,
                    r->workers[i].watches, r->workers[i].last_status);
        }
    }
    for (size_t i = 0; i < r->n_workers; i++) {
        history_join(&r->history, &r->workers[i].history);
    }
    return all;
}

static size_t count_events(const struct history *h)
{
    size_t n = 0;
    for (size_t i = 0; i < h->n_sessions; i++) {
        n += h->sessions[i].n - h->sessions[i].n_items;
    }
    return n;
}

static int run(struct run *r)
{
    struct err err;
    uint64_t begin = now_ns();
    bool ok = true, ended;
    unsigned round = 0;
    if ((r->server.data_dir && (!fs_remove_tree(r->server.data_dir, &err) || !fs_mkdirs(r->server.data_dir, 0700, &err))) ||
        (r->server.volatile_dir && !fs_mkdirs(r->server.volatile_dir, 0700, &err)) ||
        (r->server.lossy_dir && !fs_mkdirs(r->server.lossy_dir, 0700, &err))) {
        fprintf(stderr, "store-checker: %s\n", err.msg);
        return 2;
    }
    if (!server_prepare(&r->server) || !server_start(&r->server, NULL, false)) {
        return 2;
    }
    start_workers(r);
    while (ok && round < (unsigned)r->o.rounds && (!r->o.seconds || now_ns() - begin < (uint64_t)r->o.seconds * 1000000000)) {
        ok = one_round(r, round++);
    }
    atomic_store(&r->work.hold, false);
    ended = end_workers(r);
    if (ok && !server_is_dead(&r->server)) {
        (void)server_end(&r->server, 20000);
        /* What is on disk when all is over. */
        ok = server_start(&r->server, NULL, false);
    }
    server_kill(&r->server);
    size_t wrong = history_verify(&r->history, 20);
    printf("%.*s: %u rounds in %.0f s (", STR_ARG(r->o.name), round, (double)(now_ns() - begin) / 1e9);
    for (size_t i = 0, n = 0; i < ARRAY_SIZE(faults); i++) {
        if (r->done[i]) {
            printf("%s%s %u", n++ ? ", " : "", faults[i].name, r->done[i]);
        }
    }
    printf("; the server died %u times); %zu requests, %lu without an answer, %lu refused; %zu lists, %zu events", r->deaths, r->history.n_deeds,
           atomic_load(&r->work.unanswered), atomic_load(&r->work.refused), r->history.n_sessions, count_events(&r->history));
    if (r->loss.writes) {
        printf("; of %u unsynced writes %u were lost and %u torn", r->loss.writes, r->loss.lost, r->loss.torn);
    }
    printf(": %zu wrong\n", wrong);
    if (!ended) {
        printf("  not every watcher saw the end\n");
    }
    unsigned failed = (wrong != 0) + !ok + !ended;
    printf("%u passed, %u failed\n", 3 - failed, failed);
    history_deinit(&r->history);
    free(r->workers);
    return failed != 0;
}

int main(int argc, char **argv)
{
    static struct run r;
    const struct flag_section section = { "Flags", flags, ARRAY_SIZE(flags), &r.o };
    const struct flag_program program = { .name = "store-checker", .about = "Hurts the store of a kube-apiserver and checks what it answers.",
                                          .sections = &section, .n_sections = 1, .usage = "store-checker [flags] -- PROGRAM ARGS...",
                                          .takes_arguments = true };
    struct flag_result f;
    int status = flags_main(&program, argc, argv, &f);
    if (status >= 0) {
        return status;
    }
    signal(SIGPIPE, SIG_IGN);
    if (r.o.servers < 1 || r.o.servers > SERVERS_MAX || !f.n_args) {
        fprintf(stderr, "store-checker: it takes a program, and one to %d servers\n", SERVERS_MAX);
        return 2;
    }
    char **args = calloc(f.n_args + 1, sizeof(*args));
    memcpy(args, f.args, f.n_args * sizeof(*args));
    r.work.n_ports = (unsigned)r.o.servers;
    for (unsigned i = 0; i < r.work.n_ports; i++) {
        r.work.ports[i] = (uint16_t)(r.o.port + i);
    }
    r.work.n_maps = (uint32_t)r.o.keys + 1;
    r.work.n_keys = r.work.n_maps + (uint32_t)r.o.leases + 1;
    r.work.pause_us = (unsigned)r.o.pause_us;
    r.work.patience_ms = 30000;
    atomic_init(&r.work.next_value, 1);
    r.history.n_maps = r.work.n_maps;
    r.history.n_keys = r.work.n_keys;
    r.history.lives_end = !r.o.lives_go_on;
    r.server = (struct server){
        .argv = args, .work = &r.work, .history = &r.history, .data_dir = text(r.o.data_dir, r.texts[0]),
        .volatile_dir = text(r.o.volatile_dir, r.texts[1]), .lossy_lib = text(r.o.lossy_lib, r.texts[2]),
        .lossy_dir = text(r.o.lossy_dir, r.texts[3]), .log = text(r.o.log, r.texts[5]),
    };
    (void)text(r.o.hurt, r.texts[4]);
    status = run(&r);
    free(args);
    return status;
}
