/* One node: its Node object, its Lease, its heartbeat, its watches. */
#include "hollow/hollow-private.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/rand.h"

static void send_register(struct hollow_node *n);
static void send_lease(struct hollow_node *n);

uint64_t hollow_about(uint64_t ms)
{
    return ms / 2 + rand_below(ms + 1);
}

uint64_t hollow_retry_ms(unsigned failures)
{
    uint64_t ms = 500ull << MIN(failures > 0 ? failures - 1 : 0u, 6u);
    return MIN(hollow_about(ms), (uint64_t)HOLLOW_RETRY_MAX_MS);
}

/* ---- the Node ---- */

static void write_status(struct buf *b, const struct hollow_node *n, bool whole)
{
    static const struct {
        const char *type, *status, *reason, *message;
    } conditions[] = {
        { "MemoryPressure", "False", "KubeletHasSufficientMemory", "hollow: it has what it says" },
        { "DiskPressure", "False", "KubeletHasNoDiskPressure", "hollow: it has what it says" },
        { "PIDPressure", "False", "KubeletHasSufficientPID", "hollow: it has what it says" },
        { "Ready", "True", "KubeletReady", "hollow: no container runs here" },
    };
    char now[CLOCK_RFC3339_SIZE];
    clock_format_rfc3339(clock_real_s(), 0, 0, now);
    buf_append_c(b, "\"status\":{");
    if (whole) {
        char room[160];
        snprintf(room, sizeof(room), "{\"cpu\":\"32\",\"memory\":\"128Gi\",\"pods\":\"%u\",\"ephemeral-storage\":\"200Gi\"}", n->fleet->o->pods);
        buf_printf(b, "\"capacity\":%s,\"allocatable\":%s,\"addresses\":[{\"type\":\"InternalIP\",\"address\":\"198.18.%u.%u\"},"
                      "{\"type\":\"Hostname\",\"address\":\"%s\"}],\"nodeInfo\":{\"machineID\":\"%032x\",\"systemUUID\":\"%032x\",\"bootID\":"
                      "\"00000000-0000-4000-8000-%012x\",\"kernelVersion\":\"6.1.0\",\"osImage\":\"hollow\",\"containerRuntimeVersion\":"
                      "\"hollow://1.0\",\"kubeletVersion\":\"v1.36.0\",\"kubeProxyVersion\":\"\",\"operatingSystem\":\"linux\",\"architecture\":"
                      "\"amd64\"},", room, room, n->index >> 8 & 255, n->index & 255, n->name, n->index, n->index, n->index);
    }
    buf_append_c(b, "\"conditions\":[");
    for (size_t i = 0; i < ARRAY_SIZE(conditions); i++) {
        buf_printf(b, "%s{\"type\":\"%s\",\"status\":\"%s\",\"reason\":\"%s\",\"message\":\"%s\",\"lastHeartbeatTime\":\"%s\"", i ? "," : "",
                   conditions[i].type, conditions[i].status, conditions[i].reason, conditions[i].message, now);
        if (whole) {
            buf_printf(b, ",\"lastTransitionTime\":\"%s\"", now);
        }
        buf_append_char(b, '}');
    }
    buf_append_c(b, "]}");
}

static void on_node_status(struct hollow_node *n, int status, struct str body, void *arg)
{
    (void)body, (void)arg;
    bool ok = status >= 200 && status < 300;
    n->failures = ok ? 0 : n->failures + 1;
    loop_timer_start(&n->status_timer, ok ? hollow_about(n->fleet->o->status_ms) : hollow_retry_ms(n->failures));
}

/* 'whole': after a pause the node may be marked as lost, and everything is said anew. */
static void send_node_status(struct hollow_node *n, bool whole)
{
    char target[160];
    CLEANUP(buf_deinit) struct buf body;
    buf_init(&body, 1 << 16);
    buf_append_char(&body, '{');
    write_status(&body, n, whole);
    buf_append_char(&body, '}');
    snprintf(target, sizeof(target), "/api/v1/nodes/%s/status", n->name);
    struct hollow_request r = { .kind = HOLLOW_NODE_STATUS, .method = "PATCH", .target = str_c(target),
                                .content_type = "application/strategic-merge-patch+json", .body = buf_str(&body) };
    (void)hollow_send(n, &r, on_node_status, NULL);
}

static void on_status_timer(void *arg)
{
    struct hollow_node *n = arg;
    if (n->registered) {
        send_node_status(n, n->failures > 0);
    } else {
        send_register(n);
    }
}

static void on_registered(struct hollow_node *n, int status, struct str body, void *arg)
{
    (void)body, (void)arg;
    if (status != 201 && status != 409) {
        loop_timer_start(&n->status_timer, hollow_retry_ms(++n->failures));
        return;
    }
    n->failures = 0;
    if (!n->registered) {
        n->registered = true;
        n->fleet->figures.nodes++;
        send_lease(n);
        hollow_watch_start(&n->pods_watch);
        if (n->fleet->o->more_watches) {
            hollow_watch_start(&n->node_watch);
            hollow_watch_start(&n->services_watch);
        }
    }
    if (status == 409) {
        send_node_status(n, true);
    } else {
        loop_timer_start(&n->status_timer, hollow_about(n->fleet->o->status_ms));
    }
}

static void send_register(struct hollow_node *n)
{
    CLEANUP(buf_deinit) struct buf body;
    buf_init(&body, 1 << 16);
    buf_printf(&body, "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"%s\",\"labels\":{\"kubernetes.io/hostname\":\"%s\","
                      "\"kubernetes.io/os\":\"linux\",\"kubernetes.io/arch\":\"amd64\",\"topology.kubernetes.io/zone\":\"zone-%u\","
                      "\"coracle.local/hollow\":\"true\"}},", n->name, n->name, n->index % 3);
    write_status(&body, n, true);
    buf_append_char(&body, '}');
    struct hollow_request r = { .kind = HOLLOW_REGISTER, .method = "POST", .target = STR("/api/v1/nodes"),
                                .content_type = "application/json", .body = buf_str(&body) };
    (void)hollow_send(n, &r, on_registered, NULL);
}

/* ---- the Lease ---- */

#define LEASES "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"

static void on_lease(struct hollow_node *n, int status, struct str body, void *arg)
{
    (void)arg;
    struct hollow_fleet *f = n->fleet;
    struct val lease;
    uint64_t wait = f->o->lease_ms - MIN(f->o->lease_ms, rand_below(f->o->lease_ms / 25 + 1)); /* as a kubelet: 4 % of jitter */
    n->lease_version[0] = '\0';
    if ((status == 200 || status == 201) && hollow_parse(f, body, &lease)) {
        uint64_t now = loop_now_ms(f->loop);
        (void)!str_to_cstr(VAL_STR_AT(&lease, "metadata", "resourceVersion"), n->lease_version, sizeof(n->lease_version));
        f->figures.now.late_renewals += n->renewed_ms && now - n->renewed_ms > 2 * f->o->lease_ms;
        n->renewed_ms = now;
    } else if (status == 404) {
        snprintf(n->lease_version, sizeof(n->lease_version), "-"); /* to be made */
        wait = 0;
    } else if (status == 409) {
        wait = 0;
    } else {
        wait = hollow_retry_ms(1);
    }
    loop_timer_start(&n->lease_timer, wait);
}

/* Renewed with the version of the last answer; without one it is read first; where there is none it is made. */
static void send_lease(struct hollow_node *n)
{
    char target[200], text[600], now[CLOCK_RFC3339_SIZE];
    bool make = n->lease_version[0] == '-';
    struct hollow_request r = { .kind = HOLLOW_LEASE, .method = "GET", .keep = true };
    if (n->lease_version[0]) {
        int64_t sec;
        uint32_t nsec;
        clock_real(&sec, &nsec);
        clock_format_rfc3339(sec, nsec, 6, now);
        snprintf(text, sizeof(text), "{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\",\"metadata\":{\"name\":\"%s\",\"namespace\":"
                 "\"kube-node-lease\"%s%s%s},\"spec\":{\"holderIdentity\":\"%s\",\"leaseDurationSeconds\":%u,\"renewTime\":\"%s\"}}",
                 n->name, make ? "" : ",\"resourceVersion\":\"", make ? "" : n->lease_version, make ? "" : "\"", n->name,
                 (unsigned)MAX(n->fleet->o->lease_ms * 4 / 1000, (uint64_t)1), now);
        r.method = make ? "POST" : "PUT";
        r.content_type = "application/json";
        r.body = str_c(text);
    }
    snprintf(target, sizeof(target), make ? LEASES "%.0s" : LEASES "/%s", n->name);
    r.target = str_c(target);
    (void)hollow_send(n, &r, on_lease, NULL);
}

static void on_lease_timer(void *arg)
{
    send_lease(arg);
}

/* ---- its life ---- */

struct hollow_node *hollow_node_start(struct hollow_fleet *f, unsigned index, struct err *err)
{
    struct hollow_node *n = calloc(1, sizeof(*n));
    if (!n) {
        (void)err_set(err, ERR_NO_MEMORY, "out of memory");
        return NULL;
    }
    struct http_client_config h = { .host = f->endpoint.host, .port = f->endpoint.port, .tls = f->endpoint.tls, .max_connections = 4 };
    n->fleet = f;
    n->index = index;
    snprintf(n->name, sizeof(n->name), "%.*s-%u", STR_ARG(f->o->name), index);
    list_init(&n->calls);
    list_init(&n->pods);
    n->http = http_client_new(f->loop, &h, err);
    if (!n->http) {
        free(n);
        return NULL;
    }
    loop_timer_init(&n->lease_timer, f->loop, on_lease_timer, n);
    loop_timer_init(&n->status_timer, f->loop, on_status_timer, n);
    hollow_watch_init(&n->pods_watch, n, "/api/v1/pods");
    snprintf(n->pods_watch.selector, sizeof(n->pods_watch.selector), "fieldSelector=spec.nodeName%%3D%s", n->name);
    n->pods_watch.on_object = hollow_pod_seen;
    n->pods_watch.on_listed = hollow_pods_listed;
    hollow_watch_init(&n->node_watch, n, "/api/v1/nodes");
    snprintf(n->node_watch.selector, sizeof(n->node_watch.selector), "fieldSelector=metadata.name%%3D%s", n->name);
    hollow_watch_init(&n->services_watch, n, "/api/v1/services");
    send_register(n);
    return n;
}

void hollow_node_free(struct hollow_node *n)
{
    if (!n) {
        return;
    }
    n->fleet->figures.nodes -= n->registered;
    loop_timer_stop(&n->lease_timer);
    loop_timer_stop(&n->status_timer);
    hollow_watch_stop(&n->pods_watch);
    hollow_watch_stop(&n->node_watch);
    hollow_watch_stop(&n->services_watch);
    hollow_pods_free(n);
    while (!list_empty(&n->calls)) {
        hollow_call_cancel((void *)n->calls.next); /* the link is its first member */
    }
    http_client_free(n->http);
    free(n);
}
