#include "server.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { READY_MS = 60000 };

bool server_prepare(struct server *s)
{
    char path[PATH_MAX];
    if (!s->lossy_lib) {
        return true;
    }
    snprintf(path, sizeof(path), "%s/control", s->lossy_dir);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(*s->control)) < 0) {
        perror(path);
        return false;
    }
    s->control = mmap(NULL, sizeof(*s->control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    setenv(LOSSY_DATA, s->data_dir, 1);
    if (s->control == MAP_FAILED) {
        return false;
    }
    s->control->sync_us = 1000;
    return true;
}

static void spawn(struct server *s, unsigned which, const char *failpoint)
{
    size_t n = 0;
    while (s->argv[n]) {
        n++;
    }
    char **argv = calloc(n + 4, sizeof(*argv)), port[64], certs[PATH_MAX];
    memcpy(argv, s->argv, n * sizeof(*argv));
    snprintf(port, sizeof(port), "--insecure-port=%u", s->work->ports[which]);
    snprintf(certs, sizeof(certs), "--cert-dir=%s-certs-%u", s->data_dir, which);
    argv[n] = port;
    argv[n + 1] = certs;
    s->pids[which] = fork();
    if (s->pids[which] == 0) {
        int log = open(s->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(log, 1);
        dup2(log, 2);
        if (s->lossy_lib) {
            setenv("LD_PRELOAD", s->lossy_lib, 1);
            /* A sanitized server wants its own library first, and need not have it. */
            setenv("ASAN_OPTIONS", "verify_asan_link_order=0:detect_leaks=0", 1);
            setenv(LOSSY_ENV, s->lossy_dir, 1);
        }
        if (failpoint) {
            setenv("CORACLE_FAILPOINT", failpoint, 1);
        }
        execv(argv[0], argv);
        perror(argv[0]);
        _exit(127);
    }
    free(argv);
}

static bool is_ready(struct work *w, unsigned which)
{
    struct http c;
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 1u << 20);
    http_init(&c, w->ports[which]);
    bool ready = http_connect(&c, 2000) && http_do(&c, "GET", "/readyz", STR_NULL, &b) == 200;
    http_close(&c);
    return ready;
}

bool server_is_dead(struct server *s)
{
    if (s->argv && s->pids[0] && waitpid(s->pids[0], NULL, WNOHANG) == s->pids[0]) {
        s->pids[0] = 0;
    }
    return s->argv && !s->pids[0];
}

bool server_dies_within(struct server *s, unsigned ms)
{
    for (uint64_t end = now_ns() + ms * UINT64_C(1000000); now_ns() < end; usleep(1000)) {
        if (server_is_dead(s)) {
            return true;
        }
    }
    return false;
}

static void new_life(struct server *s)
{
    atomic_store(&s->work->hold, true);
    atomic_fetch_add(&s->work->life, 1);
}

void server_kill(struct server *s)
{
    for (unsigned i = 0; s->argv && i < s->work->n_ports; i++) {
        if (s->pids[i]) {
            kill(s->pids[i], SIGKILL);
            waitpid(s->pids[i], NULL, 0);
            s->pids[i] = 0;
        }
    }
    new_life(s);
}

bool server_end(struct server *s, unsigned ms)
{
    for (unsigned i = 0; s->argv && i < s->work->n_ports; i++) {
        if (s->pids[i]) {
            kill(s->pids[i], SIGTERM);
        }
    }
    if (!s->argv || (s->work->n_ports == 1 && server_dies_within(s, ms))) {
        new_life(s);
        return true;
    }
    server_kill(s);
    return s->work->n_ports > 1;
}

static bool first_lists(struct server *s, bool power_lost)
{
    struct http c;
    bool ok = true;
    http_init(&c, s->work->ports[0]);
    for (int leases = 0; ok && leases < 2; leases++) {
        ok = http_connect(&c, s->work->patience_ms) && work_list(s->work, &c, s->history, leases, atomic_load(&s->work->life));
        if (ok) {
            struct session *l = &s->history->sessions[s->history->n_sessions - 1];
            l->is_first = true;
            l->power_lost = power_lost;
        }
    }
    http_close(&c);
    return ok;
}

bool server_start(struct server *s, const char *failpoint, bool power_lost)
{
    for (unsigned i = 0; s->argv && i < s->work->n_ports; i++) {
        spawn(s, i, failpoint);
    }
    uint64_t end = now_ns() + READY_MS * UINT64_C(1000000);
    for (unsigned i = 0; i < s->work->n_ports;) {
        if (is_ready(s->work, i)) {
            i++;
            continue;
        }
        if (server_is_dead(s)) {
            if (failpoint) {
                return server_start(s, NULL, power_lost);
            }
            fprintf(stderr, "store-checker: the server does not start; its log: %s\n", s->log);
            return false;
        }
        if (now_ns() > end) {
            fprintf(stderr, "store-checker: the server is not ready after %d s\n", READY_MS / 1000);
            return false;
        }
        usleep(5000);
    }
    if (!first_lists(s, power_lost)) {
        if (failpoint && server_dies_within(s, 1000)) {
            server_kill(s);
            return server_start(s, NULL, power_lost);
        }
        fprintf(stderr, "store-checker: the first lists cannot be read\n");
        return false;
    }
    atomic_store(&s->work->hold, false);
    return true;
}
