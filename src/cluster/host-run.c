#include "cluster/host-run.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/time-floor.h"
#include "cluster/control.h"
#include "cluster/host-objects.h"
#include "cluster/host-prepare.h"
#include "cluster/host-routes.h"
#include "cluster/launch.h"
#include "cluster/program.h"
#include "net/addr.h"

/* How long programs may take to end by themselves. */
enum { STOP_GRACE_MS = 5000, MINUTE_MS = 60000, READY_MS = 50, CLOCK_JUMP_S = 60, RENEW_EVERY_MINUTES = 60 };

struct runner {
    const struct host *host;
    struct loop *loop;
    struct arena arena;
    struct role roles[HOST_MAX_ROLES];
    struct program programs[HOST_MAX_ROLES];
    size_t n;
    int api_socket;
    struct control control;
    struct host_objects *objects;
    struct host_routes *routes;
    struct loop_signal on_term, on_int;
    struct loop_timer minute, stop, ready;
    void (*when_ready)(const struct host *h);
    unsigned minutes;
    int64_t clock_offset_s; /* of the wall clock against the monotonic one */
    uint64_t stop_until_ms;
    bool stopping;
};

static void write_status(void *arg, struct buf *b)
{
    const struct runner *r = arg;
    for (size_t i = 0; i < r->n; i++) {
        program_write_status(&r->programs[i], r->host->name, b);
    }
}

static void write_nodes(void *arg, struct buf *b)
{
    const struct runner *r = arg;
    buf_printf(b, "%s\t%s\t%d\n", r->host->name, r->host->address, (int)getpid());
}

/* ---- the end ---- */

static void check_stopped(void *arg)
{
    struct runner *r = arg;
    bool late = loop_now_ms(r->loop) >= r->stop_until_ms;
    size_t left = 0;
    for (size_t i = 0; i < r->n; i++) {
        left += r->programs[i].pid > 0;
        if (late && r->programs[i].pid > 0) {
            program_stop(&r->programs[i], true);
        }
    }
    if (left == 0) {
        loop_stop(r->loop);
    } else {
        loop_timer_start(&r->stop, 10);
    }
}

static void begin_stop(void *arg)
{
    struct runner *r = arg;
    if (r->stopping) {
        return;
    }
    r->stopping = true;
    log_info("stopping; containers live on");
    r->routes = host_routes_free(r->routes);
    r->objects = host_objects_free(r->objects);
    for (size_t i = 0; i < r->n; i++) {
        program_stop(&r->programs[i], false);
    }
    r->stop_until_ms = loop_now_ms(r->loop) + STOP_GRACE_MS;
    loop_timer_start(&r->stop, 1);
}

/* ---- while it runs ---- */

static void on_minute(void *arg)
{
    struct runner *r = arg;
    struct err err;
    bool renewed, jumped = llabs(clock_offset_s() - r->clock_offset_s) > CLOCK_JUMP_S;
    time_floor_keep();
    r->clock_offset_s = clock_offset_s();
    if (r->minutes++ % RENEW_EVERY_MINUTES == 0 || jumped) {
        if (!host_renew(r->host, &renewed, &err)) {
            log_error("certificates cannot be renewed, which is tried again: %s", err.msg);
        } else if (renewed) {
            log_info("certificates were renewed");
        }
    }
    for (size_t i = 0; i < r->n; i++) {
        program_trim_log(&r->programs[i]);
    }
    loop_timer_start(&r->minute, MINUTE_MS);
}

static void on_ready(void *arg)
{
    struct runner *r = arg;
    char path[PATH_MAX];
    bool ready = r->objects ? host_objects_done(r->objects)
                            : access(path_of(path, "%s/conf/kubelet.conf", r->host->place.state), F_OK) == 0;
    if (!ready) {
        loop_timer_start(&r->ready, READY_MS);
    } else if (r->when_ready) {
        r->when_ready(r->host);
    }
}

/* ---- the beginning ---- */

/* The API's port is bound here, so that connections wait while the API server starts again. */
static bool listen_for_api(struct runner *r, struct err *err)
{
    struct net_addr a;
    if (!net_addr_parse_ip(strchr(r->host->address, ':') ? STR("::") : STR("0.0.0.0"), r->host->port, &a)) {
        return err_set(err, ERR_INVALID, "--port %u cannot be listened on", r->host->port);
    }
    r->api_socket = net_listen(&a, 0, err);
    return r->api_socket >= 0;
}

static bool start(struct runner *r, const struct machine *m, struct err *err)
{
    static const struct control_ops words = { .status = write_status, .nodes = write_nodes, .stop = begin_stop };
    if (loop_signal_start(&r->on_term, r->loop, SIGTERM, begin_stop, r) < 0 ||
        loop_signal_start(&r->on_int, r->loop, SIGINT, begin_stop, r) < 0) {
        return err_set(err, ERR_IO, "cannot take signals");
    }
    if (!host_prepare_run(r->host, err) || !control_start(&r->control, r->loop, &r->host->place, &words, r, err) ||
        (r->host->server && !listen_for_api(r, err))) {
        return false;
    }
    r->n = host_roles(r->host, m, &r->arena, r->roles);
    for (size_t i = 0; i < r->n; i++) {
        struct program *c = &r->programs[i];
        program_init(c, r->loop, &r->roles[i]);
        path_of(c->log_path, "%s/logs/%s.log", r->host->place.state, r->roles[i].name);
        if (r->roles[i].socket == ROLE_API_SOCKETS) {
            c->passed_fds[c->n_passed_fds++] = r->api_socket;
        }
        program_start(c);
    }
    if (r->host->server) {
        r->objects = host_objects_new(r->loop, r->host, err);
        if (!r->objects) {
            return false;
        }
    }
    r->routes = host_routes_new(r->loop, r->host);
    r->clock_offset_s = clock_offset_s();
    loop_timer_start(&r->minute, MINUTE_MS);
    loop_timer_start(&r->ready, READY_MS);
    return true;
}

int host_run(const struct host *h, const struct machine *m, void (*ready)(const struct host *h))
{
    static struct runner r;
    struct err err;
    r = (struct runner){ .host = h, .api_socket = -1, .when_ready = ready };
    r.control.fd = -1;
    umask(022);
    log_setup("coracle", LOG_INFO);
    int lock = launch_lock(&h->place, &err);
    if (lock < 0) {
        log_error("%s", err.code == ERR_ALREADY_EXISTS ? "this host's programs run already" : err.msg);
        return 1;
    }
    arena_init(&r.arena, ARENA_NO_BUDGET);
    r.loop = loop_new(&err);
    loop_timer_init(&r.minute, r.loop, on_minute, &r);
    loop_timer_init(&r.stop, r.loop, check_stopped, &r);
    loop_timer_init(&r.ready, r.loop, on_ready, &r);
    bool ok = r.loop && start(&r, m, &err);
    if (ok) {
        loop_run(r.loop);
    } else {
        log_error("%s", err.msg);
        for (size_t i = 0; i < r.n; i++) {
            program_stop(&r.programs[i], true);
            program_forget(&r.programs[i]);
        }
    }
    r.routes = host_routes_free(r.routes);
    r.objects = host_objects_free(r.objects);
    control_stop(&r.control);
    fs_closep(&r.api_socket);
    fs_closep(&lock);
    r.loop = loop_free(r.loop);
    arena_deinit(&r.arena);
    return ok ? 0 : 1;
}
