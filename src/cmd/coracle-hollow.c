/* coracle hollow: kubelets without machines. */
#include "cmd/cmd.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/names.h"
#include "base/flags.h"
#include "base/log.h"
#include "hollow/hollow.h"
#include "hollow/limits.h"

struct options {
    struct str kubeconfig, context, name, report;
    int32_t first, nodes, pods;
    double rate;
    bool impersonate, more_watches, remove;
    int64_t lease_ms, status_ms, pod_start_ms, pod_stop_ms, job_ms, report_ms, duration_ms;
};

static const struct flag hollow_flags[] = {
    FLAG_STRING(struct options, kubeconfig, "kubeconfig", "", "Path to a kubeconfig; empty: $KUBECONFIG or ~/.kube/config"),
    FLAG_STRING(struct options, context, "context", "", "Context of the kubeconfig; empty: its current one"),
    FLAG_STRING(struct options, name, "name", "hollow", "Nodes are called NAME-0, NAME-1, …"),
    FLAG_INT32(struct options, first, "first", "0", "Number of the first node, for a second fleet beside another"),
    FLAG_INT32(struct options, nodes, "nodes", "100", "How many nodes; each has a connection of its own"),
    FLAG_FLOAT(struct options, rate, "rate", "100", "How many of them begin in a second"),
    FLAG_INT32(struct options, pods, "pods-per-node", "110", "Capacity of each node, in pods"),
    FLAG_BOOL(struct options, impersonate, "impersonate", "true",
              "Each node asks as system:node:NAME, so that what a kubelet may not do is refused; the kubeconfig's user must be allowed to impersonate"),
    FLAG_BOOL(struct options, more_watches, "more-watches", "false", "Each node also watches its Node and all Services, as kubelets do"),
    FLAG_BOOL(struct options, remove, "remove", "false", "Delete the Node objects at the end; otherwise they stay, as after a failure of power"),
    FLAG_DURATION(struct options, lease_ms, "lease-renew-interval", "10s", "How often a node's Lease is renewed; it lasts four times as long"),
    FLAG_DURATION(struct options, status_ms, "node-status-report-frequency", "5m", "How often a Node's status is sent, half to one and a half of it"),
    FLAG_DURATION(struct options, pod_start_ms, "pod-start", "1s", "How long a pod takes to start, half to one and a half of it"),
    FLAG_DURATION(struct options, pod_stop_ms, "pod-stop", "500ms", "How long a pod takes to end, half to one and a half of it"),
    FLAG_DURATION(struct options, job_ms, "job-duration", "10s", "How long a pod runs that does not restart for ever; then it has succeeded"),
    FLAG_DURATION(struct options, report_ms, "report-interval", "5s", "How often figures are printed"),
    FLAG_STRING(struct options, report, "report", "", "File that gets the figures too, a JSON object a line; the last is that of the whole run"),
    FLAG_DURATION(struct options, duration_ms, "duration", "0s", "When to end; 0: when told so by a signal"),
};

static bool check(const struct options *o, struct err *err)
{
    struct names_errs names = { 0 };
    if (o->nodes < 1 || o->nodes > (int32_t)HOLLOW_MAX_NODES || o->first < 0 || o->first > 65535 - o->nodes) {
        return err_set(err, ERR_INVALID, "--nodes must be 1 to %u, and their numbers below 65536", HOLLOW_MAX_NODES);
    }
    if (!(o->rate > 0) || o->pods < 1 || o->lease_ms < 100 || o->status_ms < 100 || o->report_ms < 100) {
        return err_set(err, ERR_INVALID, "--rate and --pods-per-node must be above 0, intervals at least 100ms");
    }
    if (o->pod_start_ms < 0 || o->pod_stop_ms < 0 || o->job_ms < 0 || o->duration_ms < 0) {
        return err_set(err, ERR_INVALID, "no duration may be below 0");
    }
    if (o->name.len > HOLLOW_NAME_MAX - 10 || !names_dns1123_subdomain(o->name, &names)) {
        return err_set(err, ERR_INVALID, "--name=%.*s is no DNS name of at most %d characters", STR_ARG(o->name), HOLLOW_NAME_MAX - 10);
    }
    return true;
}

static bool read_kubeconfig(struct arena *a, const struct options *o, struct client_config *config, struct err *err)
{
    char path[PATH_MAX];
    const char *from = getenv("KUBECONFIG");
    if (!str_empty(o->kubeconfig)) {
        if (!str_to_cstr(o->kubeconfig, path, sizeof(path))) {
            return err_set(err, ERR_INVALID, "--kubeconfig is too long");
        }
    } else if (from && *from) {
        snprintf(path, sizeof(path), "%s", from);
    } else {
        snprintf(path, sizeof(path), "%s/.kube/config", getenv("HOME") ? getenv("HOME") : "/root");
    }
    return kubeconfig_read(a, path, str_empty(o->context) ? STR_NULL : o->context, config, err);
}

int coracle_hollow_main(int argc, char **argv)
{
    static struct options o;
    const struct flag_section sections[] = { { "Hollow nodes", hollow_flags, ARRAY_SIZE(hollow_flags), &o } };
    const struct flag_program program = {
        .name = "coracle hollow",
        .about = "Simulates the kubelets of many nodes towards any kube-apiserver: registration, leases, status, watches of pods, and what a "
                 "kubelet says of pods as they start and end. No container runs.",
        .sections = sections,
        .n_sections = ARRAY_SIZE(sections),
    };
    struct flag_result flags;
    struct client_config config = { 0 };
    struct arena a;
    struct err err;
    int status = flags_main(&program, argc, argv, &flags);
    if (status >= 0) {
        return status;
    }
    arena_init(&a, 16u << 20);
    if (!check(&o, &err) || !read_kubeconfig(&a, &o, &config, &err)) {
        fprintf(stderr, "Error: %s\n", err.msg);
        arena_deinit(&a);
        return 1;
    }
    struct hollow_options options = {
        .name = o.name, .first = (unsigned)o.first, .nodes = (unsigned)o.nodes, .rate = o.rate, .pods = (unsigned)o.pods,
        .impersonate = o.impersonate, .more_watches = o.more_watches, .remove = o.remove, .lease_ms = (uint64_t)o.lease_ms,
        .status_ms = (uint64_t)o.status_ms, .pod_start_ms = (uint64_t)o.pod_start_ms, .pod_stop_ms = (uint64_t)o.pod_stop_ms,
        .job_ms = (uint64_t)o.job_ms, .report_ms = (uint64_t)o.report_ms, .duration_ms = (uint64_t)o.duration_ms, .report = o.report,
    };
    status = hollow_run(&config, &options);
    arena_deinit(&a);
    return status;
}
