#include "cluster/host-start.h"

#include <dirent.h>
#include <unistd.h>

#include "base/clock.h"
#include "cluster/host-prepare.h"
#include "cluster/host-run.h"
#include "cluster/host-service.h"
#include "cluster/session.h"

static bool is_empty(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *e;
    bool empty = true;
    while (d && (e = readdir(d))) {
        empty = empty && e->d_name[0] == '.';
    }
    if (d) {
        closedir(d);
    }
    return empty;
}

bool host_start_check(struct host *h, bool *ret_known, struct err *err)
{
    if (geteuid() != 0) {
        return err_set(err, ERR_FORBIDDEN, "this needs root, as nodes do: run it with sudo");
    }
    *ret_known = host_load(h, err);
    if (!*ret_known && err->code != ERR_NOT_FOUND) {
        return false;
    }
    if (!*ret_known) {
        host_init(h);
        if (!is_empty("/var/lib/kubelet")) {
            return err_set(err, ERR_CONFLICT, "/var/lib/kubelet is not empty: another kubelet runs here, or did");
        }
    }
    if (place_in_use(&h->place)) {
        return err_set(err, ERR_CONFLICT, "this host's programs run already: coracle leave takes it out first");
    }
    return true;
}

bool host_start_needs_nft(struct err *err)
{
    return access("/usr/sbin/nft", X_OK) == 0 || access("/sbin/nft", X_OK) == 0 || access("/usr/bin/nft", X_OK) == 0 ||
           err_set(err, ERR_NOT_FOUND, "the program nft is missing: apt-get install nftables");
}

bool host_start_can(bool foreground, struct err *err)
{
    return foreground || host_service_possible() ||
           err_set(err, ERR_UNAVAILABLE,
                   "systemd does not run here: give --foreground, and have what does run here start 'coracle host' at "
                   "boot");
}

/* With systemd: until the programs are of use. */
static bool await(const struct host *h, int64_t wait_ms, struct err *err)
{
    uint64_t until = clock_mono_ms() + (uint64_t)wait_ms;
    for (;;) {
        char path[PATH_MAX];
        bool ready = access(path_of(path, "%s/conf/kubelet.conf", h->place.state), F_OK) == 0;
        if (h->server) {
            struct arena a;
            struct client_config c;
            struct session s;
            struct str body;
            arena_init(&a, ARENA_NO_BUDGET);
            ready = host_admin_config(h, &a, &c, err) && session_open_as(&s, &c, err);
            if (ready) {
                ready = session_read(&s, "/api/v1/namespaces/kube-system/configmaps/" HOST_SETTINGS_NAME, &a, &body,
                                     NULL, err);
                session_close(&s);
            }
            arena_deinit(&a);
        }
        if (ready) {
            return true;
        }
        if (clock_mono_ms() > until) {
            return err_set(err, ERR_TIMEOUT, "it is not of use yet; see journalctl -u coracle and %s/logs",
                           h->place.state);
        }
        usleep(100000);
    }
}

int host_start(const struct host *h, const struct machine *m, bool foreground, struct progress *p, int64_t wait_ms,
               void (*ready)(const struct host *h))
{
    struct err err;
    if (foreground) {
        fflush(NULL);
        return host_run(h, m, ready);
    }
    if (!host_service_start(h, &err)) {
        progress_fail(p, "%s", err.msg);
        return 1;
    }
    progress_step(p, "coracle.service: started, and at every boot");
    if (!await(h, wait_ms, &err)) {
        progress_fail(p, "%s", err.msg);
        return 1;
    }
    ready(h);
    return 0;
}
