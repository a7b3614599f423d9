/* coracle leave */
#include "cluster/command.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/flags.h"
#include "base/fs.h"
#include "cluster/cgroup.h"
#include "cluster/control.h"
#include "cluster/host-routes.h"
#include "cluster/host-service.h"
#include "cluster/host.h"
#include "cluster/ssh-user.h"

enum { STOP_TIMEOUT_MS = 15000, MAX_MOUNTS_FILE = 8 << 20, MAX_MOUNTS = 8192, MAX_CMDLINE = 4096 };

struct leave_options {
    bool yes;
};

static const struct flag leave_flags[] = {
    FLAG_BOOL(struct leave_options, yes, "yes", "false",
              "Does not ask, also when this host is a server whose objects are lost with it.", .letter = 'y'),
};

/* ---- processes ---- */

static bool stop_programs(const struct host *h, struct err *err)
{
    struct buf reply;
    uint64_t until = clock_mono_ms() + STOP_TIMEOUT_MS;
    buf_init(&reply, 4096);
    bool ok = control_ask(&h->place, "stop", STOP_TIMEOUT_MS, &reply, err) || err->code == ERR_NOT_FOUND;
    buf_deinit(&reply);
    while (ok && place_in_use(&h->place)) {
        if (clock_mono_ms() > until) {
            return err_set(err, ERR_TIMEOUT, "the programs of this host do not end");
        }
        usleep(2000);
    }
    return ok;
}

/* containerd's shims, which outlive it, are told by the address of our containerd among their words. */
static void kill_shims(const struct host *h)
{
    DIR *d = opendir("/proc");
    struct dirent *e;
    char ours[PATH_MAX];
    path_of(ours, "%s/containerd/containerd.sock", h->place.run);
    while (d && (e = readdir(d))) {
        char path[PATH_MAX];
        int32_t pid;
        struct buf b;
        if (!str_to_i32(str_c(e->d_name), &pid) || pid <= 1) {
            continue;
        }
        buf_init(&b, MAX_CMDLINE);
        if (fs_read(path_of(path, "/proc/%d/cmdline", pid), MAX_CMDLINE, &b, NULL)) {
            struct str rest = buf_str(&b), word;
            bool shim = false, address = false;
            for (bool first = true; str_split(&rest, '\0', &word); first = false) {
                shim = shim || (first && memmem(word.ptr, word.len, "containerd-shim", 15));
                address = address || str_eq_c(word, ours);
            }
            if (shim && address) {
                (void)kill(pid, SIGKILL);
            }
        }
        buf_deinit(&b);
    }
    if (d) {
        closedir(d);
    }
}

/* The pods' control groups are at the top of each hierarchy: the kubelet makes them there. */
static bool kill_pods(const struct host *h, struct err *err)
{
    struct cgroups g;
    if (!h->node) {
        return true;
    }
    if (!cgroups_detect(&g, err)) {
        return false;
    }
    for (size_t i = 0; i < g.n; i++) {
        g.h[i].parent[0] = '\0';
    }
    return cgroups_remove(&g, "kubepods", err);
}

/* ---- mounts ---- */

static bool is_ours(const char *path)
{
    static const char *const roots[] = { PLACE_STATE_ROOT "/" PLACE_HOST_NAME "/",
                                         PLACE_RUN_ROOT "/" PLACE_HOST_NAME "/", "/var/lib/kubelet/" };
    bool ours = false;
    for (size_t i = 0; i < ARRAY_SIZE(roots); i++) {
        ours = ours || strncmp(path, roots[i], strlen(roots[i])) == 0;
    }
    return ours;
}

/* The last ones first, as one may lie upon another. Blanks in paths are octal in mountinfo; ours have none. */
static bool unmount_all(struct err *err)
{
    struct buf b;
    buf_init(&b, MAX_MOUNTS_FILE);
    bool ok = fs_read("/proc/self/mountinfo", MAX_MOUNTS_FILE, &b, err);
    struct str *points = calloc(MAX_MOUNTS, sizeof(*points)), rest = buf_str(&b), line;
    size_t n = 0;
    if (!points) {
        abort();
    }
    while (ok && n < MAX_MOUNTS && str_split(&rest, '\n', &line)) {
        struct str word = STR_EMPTY;
        for (int i = 0; i < 5 && str_split(&line, ' ', &word); i++) {
        }
        points[n++] = word;
    }
    while (ok && n-- > 0) {
        char path[PATH_MAX];
        if (str_to_cstr(points[n], path, sizeof(path)) && is_ours(path) && umount2(path, MNT_DETACH) < 0 &&
            errno != EINVAL && errno != ENOENT) {
            ok = err_set_errno(err, errno, "cannot unmount %s", path);
        }
    }
    free(points);
    buf_deinit(&b);
    return ok;
}

/* ---- files ---- */

static bool remove_files(const struct host *h, struct err *err)
{
    static const char *const node[] = { "/var/lib/kubelet", "/var/log/pods", "/var/log/containers",
                                        "/var/lib/cni/networks/coracle", "/var/lib/cni/results" };
    static const char *const parents[] = { PLACE_STATE_ROOT, PLACE_RUN_ROOT, "/var/lib/cni/networks", "/var/lib/cni" };
    for (size_t i = 0; h->node && i < ARRAY_SIZE(node); i++) {
        if (!fs_remove_tree(node[i], err)) {
            return false;
        }
    }
    if (!fs_remove_tree(h->place.state, err) || !fs_remove_tree(HOST_CONF_DIR, err) ||
        !fs_remove_tree(h->place.run, err)) {
        return false;
    }
    /* The sockets of shims are in one folder, whoever's they are. */
    if (h->node && access("/run/containerd/containerd.sock", F_OK) < 0 && !fs_remove_tree("/run/containerd", err)) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_SIZE(parents); i++) {
        (void)rmdir(parents[i]); /* unless somebody else has something there */
    }
    return true;
}

static bool clean_rules(const struct host *h, struct err *err)
{
    char program[PATH_MAX];
    static char cleanup[] = "--cleanup";
    path_of(program, "%s/bin/kube-proxy", h->place.state);
    char *const argv[] = { program, cleanup, NULL };
    return !h->node || access(program, X_OK) < 0 || host_run_command(argv, err);
}

static bool leave(const struct host *h, struct err *err)
{
    if (!host_service_remove(err) || !stop_programs(h, err)) {
        return false;
    }
    if (h->node) {
        kill_shims(h);
    }
    return kill_pods(h, err) && clean_rules(h, err) && host_routes_remove(h, err) && ssh_user_remove(h, err) &&
           unmount_all(err) && remove_files(h, err);
}

static bool agreed(const struct host *h)
{
    char line[16] = "";
    if (h->server && !h->etcd_servers[0]) {
        printf("This host is a server: every object of the cluster, and its CA, are lost.\n");
    }
    printf("Take this host (%s) out of its cluster and remove all that is there of it? [y/N] ", h->name);
    fflush(stdout);
    return fgets(line, sizeof(line), stdin) && (line[0] == 'y' || line[0] == 'Y');
}

static int run(int argc, char **argv)
{
    static struct leave_options o;
    static struct host h;
    const struct flag_section sections[] = { { "leave", leave_flags, ARRAY_SIZE(leave_flags), &o } };
    const struct flag_program program = {
        .name = "coracle leave",
        .about = "Takes back what 'coracle server' or 'coracle join' made of this host; nothing is left.",
        .sections = sections,
        .n_sections = 1
    };
    struct flag_result flags;
    struct err err = { .code = ERR_NONE };
    int status = flags_main(&program, argc, argv, &flags);
    if (status >= 0) {
        return status;
    }
    if (geteuid() != 0) {
        fprintf(stderr, "Error: this needs root: run it with sudo\n");
        return 1;
    }
    if (!host_load(&h, &err)) {
        fprintf(stderr, "Error: %s\n", err.code == ERR_NOT_FOUND ? "this host is neither server nor node" : err.msg);
        return 1;
    }
    if (!o.yes && !agreed(&h)) {
        fprintf(stderr, "Nothing was done.\n");
        return 1;
    }
    if (!leave(&h, &err)) {
        fprintf(stderr, "Error: %s\nWhat is left is taken away by another 'coracle leave'.\n", err.msg);
        return 1;
    }
    printf("This host is free of Coracle.\n");
    if (!h.server) {
        printf("The server still knows its Node: kubectl delete node %s\n", h.name);
    }
    return 0;
}

const struct cluster_command cluster_cmd_leave = { .name = "leave",
                                                   .about = "undo server or join; nothing is left",
                                                   .run = run };
