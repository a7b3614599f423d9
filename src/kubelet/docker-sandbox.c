/*
 * Sandboxes: a container of the pause image that holds the pod's namespaces, and the network that CNI plugins give it. Its file of
 * name servers is dockerd's, which all containers of the pod get; it is rewritten.
 */
#include "kubelet/docker-private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "kubelet/limits.h"

static bool host_network(const struct cri_v1_pod_sandbox_config *c)
{
    const struct cri_v1_linux_sandbox_security_context *s = c->linux_ ? c->linux_->security_context : NULL;
    return s && s->namespace_options && s->namespace_options->network == CRI_V1_NAMESPACE_MODE_NODE;
}

/* ---- run ---- */

struct run {
    struct str id, netns;
    struct buf body;
    bool pulled, replaced;
};

static const struct cri_v1_pod_sandbox_config *config_of(const struct runtime_call *c)
{
    return ((const struct cri_v1_run_pod_sandbox_request *)c->request)->config;
}

static void drop_run(struct runtime_call *c)
{
    struct run *r = c->state;
    buf_deinit(&r->body);
}

static void on_undone(struct runtime_call *c, const struct docker_answer *a UNUSED)
{
    struct err err = c->err;
    docker_fail(c, &err);
}

static void on_network_undone(void *arg, const struct cni_result *result UNUSED, const struct err *err UNUSED)
{
    struct runtime_call *c = arg;
    struct run *r = c->state;
    c->cni = NULL;
    docker_ask(c, "DELETE", docker_path(&c->a, "/containers/", r->id, "?v=1&force=1"), STR_EMPTY, on_undone);
}

/* Takes back what was begun, then tells why. */
static void undo(struct runtime_call *c, const struct err *err)
{
    struct run *r = c->state;
    c->err = *err;
    c->cni = cni_del(c->d->loop, &c->d->cni, r->id, r->netns.len ? r->netns.ptr : "", on_network_undone, c);
}

static void ready(struct runtime_call *c)
{
    struct run *r = c->state;
    struct cri_v1_run_pod_sandbox_response *response = docker_response(c);
    if (response) {
        response->pod_sandbox_id = r->id;
        docker_done(c, response);
    }
}

static void on_network(void *arg, const struct cni_result *result UNUSED, const struct err *err)
{
    struct runtime_call *c = arg;
    c->cni = NULL;
    if (err) {
        undo(c, err);
        return;
    }
    ready(c);
}

static void network(struct runtime_call *c)
{
    struct run *r = c->state;
    const struct cri_v1_pod_sandbox_config *q = config_of(c);
    static const char *const protocols[] = { "tcp", "udp", "sctp" };
    struct cni_port *ports = arena_new_n(&c->a, struct cni_port, q->n_port_mappings + 1);
    struct err err = { 0 };
    if (!ports) {
        (void)err_set(&err, ERR_TOO_LARGE, "the pod is too large");
        undo(c, &err);
        return;
    }
    for (size_t i = 0; i < q->n_port_mappings; i++) {
        const struct cri_v1_port_mapping *m = &q->port_mappings[i];
        ports[i] = (struct cni_port){ protocols[m->protocol >= 0 && m->protocol < 3 ? m->protocol : 0], m->host_port, m->container_port, m->host_ip };
    }
    const struct cni_pod pod = { .id = r->id, .name = q->metadata->name, .ns = q->metadata->namespace, .uid = q->metadata->uid, .ports = ports,
                                 .n_ports = q->n_port_mappings };
    c->cni = cni_add(c->d->loop, &c->d->cni, &pod, r->netns.ptr, on_network, c);
}

static bool write_resolv_conf(struct str path, const struct cri_v1_dns_config *dns, struct err *err)
{
    char file[PATH_MAX];
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, KUBELET_MAX_SMALL_FILE);
    if (!dns || !str_to_cstr(path, file, sizeof(file)) || file[0] != '/') {
        return true;
    }
    docker_resolv_conf(dns, &b);
    /* In place: dockerd mounts this very file into the pod's containers. */
    int fd = open(file, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return err_set_errno(err, errno, "%s", file);
    }
    bool ok = write(fd, buf_str(&b).ptr, b.len) == (ssize_t)b.len;
    return (close(fd) == 0 && ok) || err_set(err, ERR_IO, "%s cannot be written", file);
}

static void on_inspected(struct runtime_call *c, const struct docker_answer *a)
{
    struct run *r = c->state;
    struct val v;
    struct err err = { 0 };
    if (a->err) {
        undo(c, a->err);
        return;
    }
    if (!docker_json(c, a, &v)) {
        return;
    }
    int64_t pid = docker_int(val_get(&v, STR("State")), "Pid");
    if (!docker_owns_pid(pid, r->id)) {
        struct str why = str_sub(docker_str(val_get(&v, STR("State")), "Error"), 0, 300);
        (void)err_set(&err, ERR_INTERNAL, "the pod's first process has ended: %.*s", STR_ARG(why));
        undo(c, &err);
        return;
    }
    if (!write_resolv_conf(docker_str(&v, "ResolvConfPath"), config_of(c)->dns_config, &err)) {
        undo(c, &err);
        return;
    }
    if (host_network(config_of(c))) {
        ready(c);
        return;
    }
    r->netns = arena_printf(&c->a, "/proc/%lld/ns/net", (long long)pid);
    network(c);
}

static void on_sandbox_started(struct runtime_call *c, const struct docker_answer *a)
{
    struct run *r = c->state;
    if (a->err) {
        undo(c, a->err);
        return;
    }
    docker_ask(c, "GET", docker_path(&c->a, "/containers/", r->id, "/json"), STR_EMPTY, on_inspected);
}

static void create(struct runtime_call *c);

static void on_pause_image(struct runtime_call *c, const struct err *err)
{
    struct err copy;
    if (err) {
        copy = *err;
        (void)err_wrap(&copy, "the pods' own image %.*s (--pod-infra-container-image) is not there and cannot be pulled", STR_ARG(c->d->options.pause_image));
        docker_fail(c, &copy);
        return;
    }
    create(c);
}

static void on_conflict_removed(struct runtime_call *c, const struct docker_answer *a)
{
    if (a->err && !docker_absent(a)) {
        docker_fail(c, a->err);
        return;
    }
    create(c);
}

static void on_created(struct runtime_call *c, const struct docker_answer *a)
{
    struct run *r = c->state;
    struct val v;
    CLEANUP(buf_deinit) struct buf name = { 0 };
    if (docker_absent(a) && !r->pulled) {
        r->pulled = true;
        docker_pull(c, c->d->options.pause_image, NULL, on_pause_image);
        return;
    }
    if (a->err && a->err->code == ERR_CONFLICT && !r->replaced) {
        r->replaced = true;
        /* Of an attempt whose answer was lost. */
        buf_init(&name, 2048);
        docker_sandbox_name(&name, config_of(c));
        docker_ask(c, "DELETE", docker_path(&c->a, "/containers/", buf_str(&name), "?v=1&force=1"), STR_EMPTY, on_conflict_removed);
        return;
    }
    if (!docker_json(c, a, &v)) {
        return;
    }
    r->id = docker_str(&v, "Id");
    docker_ask(c, "POST", docker_path(&c->a, "/containers/", r->id, "/start"), STR_EMPTY, on_sandbox_started);
}

static void create(struct runtime_call *c)
{
    struct run *r = c->state;
    CLEANUP(buf_deinit) struct buf name;
    buf_init(&name, 2048);
    docker_sandbox_name(&name, config_of(c));
    docker_ask(c, "POST", docker_path(&c->a, "/containers/create?name=", buf_str(&name), ""), buf_str(&r->body), on_created);
}

void docker_run_sandbox(struct runtime_call *c)
{
    struct run *r = arena_new(&c->a, struct run);
    struct err err = { 0 };
    if (!r) {
        docker_fail_with(c, ERR_TOO_LARGE, "the pod is too large");
        return;
    }
    buf_init(&r->body, KUBELET_MAX_CRI_REQUEST);
    c->state = r;
    c->drop = drop_run;
    if (!docker_sandbox_body(c->d, c->request, &r->body, &err)) {
        docker_fail(c, &err);
        return;
    }
    create(c);
}

/* ---- stop and remove ---- */

struct stop {
    struct str id, netns;
    struct str *containers; /* of the pod, one after the other */
    size_t n, at;
    bool remove, gone;
};

static void next_container(struct runtime_call *c);

static void stopped(struct runtime_call *c)
{
    const void *response = docker_response(c);
    if (response) {
        docker_done(c, response);
    }
}

static void on_sandbox_gone(struct runtime_call *c, const struct docker_answer *a)
{
    if (a->err && !docker_absent(a)) {
        docker_fail(c, a->err);
        return;
    }
    stopped(c);
}

static void on_network_returned(void *arg, const struct cni_result *result UNUSED, const struct err *err)
{
    struct runtime_call *c = arg;
    struct stop *s = c->state;
    c->cni = NULL;
    if (err) {
        docker_fail(c, err);
    } else if (s->remove) {
        docker_ask(c, "DELETE", docker_path(&c->a, "/containers/", s->id, "?v=1&force=1"), STR_EMPTY, on_sandbox_gone);
    } else if (s->gone) {
        stopped(c);
    } else {
        docker_ask(c, "POST", docker_path(&c->a, "/containers/", s->id, "/stop?t=2"), STR_EMPTY, on_sandbox_gone);
    }
}

static void on_container_ended(struct runtime_call *c, const struct docker_answer *a)
{
    /* 409: it does not run, or its removal goes on. */
    if (a->err && !docker_absent(a) && a->err->code != ERR_CONFLICT) {
        docker_fail(c, a->err);
        return;
    }
    next_container(c);
}

/* The pod's containers end before its network goes. */
static void next_container(struct runtime_call *c)
{
    struct stop *s = c->state;
    if (s->at < s->n) {
        struct str id = s->containers[s->at++];
        if (s->remove) {
            docker_ask(c, "DELETE", docker_path(&c->a, "/containers/", id, "?v=1&force=1"), STR_EMPTY, on_container_ended);
        } else {
            docker_ask(c, "POST", docker_path(&c->a, "/containers/", id, "/kill"), STR_EMPTY, on_container_ended);
        }
        return;
    }
    c->cni = cni_del(c->d->loop, &c->d->cni, s->id, s->netns.len ? s->netns.ptr : "", on_network_returned, c);
}

static void on_members(struct runtime_call *c, const struct docker_answer *a)
{
    struct stop *s = c->state;
    struct val v;
    if (!docker_json(c, a, &v)) {
        return;
    }
    size_t n = val_is(&v, VAL_ARRAY) ? v.n : 0;
    s->containers = arena_new_n(&c->a, struct str, n + 1);
    for (size_t i = 0; s->containers && i < n; i++) {
        struct str id = docker_str(&v.items[i], "Id");
        if (id.len && (s->remove || str_eq_c(docker_str(&v.items[i], "State"), "running"))) {
            s->containers[s->n++] = id;
        }
    }
    next_container(c);
}

static void on_looked(struct runtime_call *c, const struct docker_answer *a)
{
    struct stop *s = c->state;
    struct val v;
    if (a->err && !docker_absent(a)) {
        docker_fail(c, a->err);
        return;
    }
    s->gone = docker_absent(a);
    if (!s->gone) {
        if (!docker_json(c, a, &v)) {
            return;
        }
        int64_t pid = docker_int(val_get(&v, STR("State")), "Pid");
        bool host = str_eq_c(VAL_STR_AT(&v, "HostConfig", "NetworkMode"), "host");
        if (!host && docker_owns_pid(pid, s->id)) {
            s->netns = arena_printf(&c->a, "/proc/%lld/ns/net", (long long)pid);
        }
    }
    const struct api_str_pair member = { STR(DOCKER_LABEL_SANDBOX), s->id };
    struct str filters = docker_filters(&c->a, DOCKER_TYPE_CONTAINER, &member, 1);
    docker_ask(c, "GET", arena_printf(&c->a, "/containers/json?all=1&%.*s", STR_ARG(filters)), STR_EMPTY, on_members);
}

static void stop(struct runtime_call *c, struct str id, bool remove)
{
    struct stop *s = arena_new(&c->a, struct stop);
    if (!s || !id.len) {
        docker_fail_with(c, ERR_INVALID, "the sandbox has no number");
        return;
    }
    s->id = id;
    s->remove = remove;
    (void)map_remove(&c->d->networks, id);
    c->state = s;
    docker_ask(c, "GET", docker_path(&c->a, "/containers/", id, "/json"), STR_EMPTY, on_looked);
}

void docker_stop_sandbox(struct runtime_call *c)
{
    stop(c, ((const struct cri_v1_stop_pod_sandbox_request *)c->request)->pod_sandbox_id, false);
}

void docker_remove_sandbox(struct runtime_call *c)
{
    stop(c, ((const struct cri_v1_remove_pod_sandbox_request *)c->request)->pod_sandbox_id, true);
}

/* ---- status ---- */

static struct cri_v1_pod_sandbox_metadata *metadata(struct arena *a, struct str name)
{
    struct str parts[4];
    struct cri_v1_pod_sandbox_metadata *m = arena_new(a, struct cri_v1_pod_sandbox_metadata);
    uint32_t attempt;
    if (m && docker_name_parse(name, parts, &attempt)) {
        *m = (struct cri_v1_pod_sandbox_metadata){ .name = parts[1], .namespace = parts[2], .uid = parts[3], .attempt = attempt };
    }
    return m;
}

static void on_checked(void *arg, const struct cni_result *result UNUSED, const struct err *err)
{
    struct runtime_call *c = arg;
    const struct cri_v1_pod_sandbox_status_response *r = c->state;
    c->cni = NULL;
    if (err) {
        /* Told, not mended: a plugin that cannot look must not end a pod that works. */
        log_warning("the network of pod %.*s/%.*s is not as it was made: %s", STR_ARG(r->status->metadata->namespace), STR_ARG(r->status->metadata->name), err->msg);
    }
    docker_done(c, r);
}

static void on_status(struct runtime_call *c, const struct docker_answer *a)
{
    struct val v;
    struct cni_result net;
    struct cri_v1_pod_sandbox_status_response *r;
    if (!docker_json(c, a, &v) || !(r = docker_response(c))) {
        return;
    }
    struct cri_v1_pod_sandbox_status *s = r->status = arena_new(&c->a, struct cri_v1_pod_sandbox_status);
    if (!s || !(s->metadata = metadata(&c->a, docker_str(&v, "Name"))) || !(s->network = arena_new(&c->a, struct cri_v1_pod_sandbox_network_status)) ||
        !docker_labels(&c->a, VAL_AT(&v, "Config", "Labels"), &s->labels, &s->n_labels, &s->annotations, &s->n_annotations)) {
        docker_fail_with(c, ERR_TOO_LARGE, "the runtime's answer is too large");
        return;
    }
    s->id = docker_str(&v, "Id");
    s->state = docker_bool(val_get(&v, STR("State")), "Running") ? CRI_V1_POD_SANDBOX_STATE_SANDBOX_READY : CRI_V1_POD_SANDBOX_STATE_SANDBOX_NOTREADY;
    s->created_at = docker_time(docker_str(&v, "Created"));
    if (cni_remembered(&c->d->cni, s->id, &net) && net.n_ips) {
        s->network->ip = arena_str(&c->a, str_c(net.ips[0]));
        s->network->additional_ips = arena_new_n(&c->a, struct cri_v1_pod_ip, 2);
        for (size_t i = 1; s->network->additional_ips && i < net.n_ips; i++) {
            s->network->additional_ips[s->network->n_additional_ips++].ip = arena_str(&c->a, str_c(net.ips[i]));
        }
    }
    int64_t pid = docker_int(val_get(&v, STR("State")), "Pid");
    if (s->network->ip.len && s->created_at < c->d->born_ns && docker_owns_pid(pid, s->id)) {
        /* A pod of an earlier kubelet: asked about once, as this whole call is. */
        char netns[64];
        snprintf(netns, sizeof(netns), "/proc/%lld/ns/net", (long long)pid);
        c->state = r;
        c->cni = cni_check(c->d->loop, &c->d->cni, s->id, netns, on_checked, c);
        return;
    }
    docker_done(c, r);
}

void docker_sandbox_status(struct runtime_call *c)
{
    const struct cri_v1_pod_sandbox_status_request *q = c->request;
    docker_ask(c, "GET", docker_path(&c->a, "/containers/", q->pod_sandbox_id, "/json"), STR_EMPTY, on_status);
}

/* ---- list ---- */

/* An earlier kubelet may have ended between a sandbox and its network: that sandbox is of no use. */
static bool has_network(struct docker *d, const struct val *item, struct str id)
{
    struct cni_result net;
    if (str_eq_c(VAL_STR_AT(item, "HostConfig", "NetworkMode"), "host") || docker_int(item, "Created") * 1000000000 > d->born_ns || map_has(&d->networks, id)) {
        return true;
    }
    if (!cni_remembered(&d->cni, id, &net) || !net.n_ips) {
        return false;
    }
    map_put(&d->networks, id, d);
    return true;
}

static void on_list(struct runtime_call *c, const struct docker_answer *a)
{
    struct val v;
    struct cri_v1_list_pod_sandbox_response *r;
    if (!docker_json(c, a, &v) || !(r = docker_response(c))) {
        return;
    }
    size_t n = val_is(&v, VAL_ARRAY) ? v.n : 0;
    r->items = arena_new_n(&c->a, struct cri_v1_pod_sandbox, n + 1);
    for (size_t i = 0; r->items && i < n; i++) {
        const struct val *item = &v.items[i], *names = val_get(item, STR("Names"));
        struct cri_v1_pod_sandbox *s = &r->items[r->n_items];
        struct str name = val_is(names, VAL_ARRAY) && names->n ? val_as_str(&names->items[0]) : STR_NULL;
        s->id = docker_str(item, "Id");
        s->metadata = metadata(&c->a, name);
        bool runs = str_eq_c(docker_str(item, "State"), "running") && has_network(c->d, item, s->id);
        s->state = runs ? CRI_V1_POD_SANDBOX_STATE_SANDBOX_READY : CRI_V1_POD_SANDBOX_STATE_SANDBOX_NOTREADY;
        s->created_at = docker_int(item, "Created") * 1000000000;
        if (s->metadata && docker_labels(&c->a, val_get(item, STR("Labels")), &s->labels, &s->n_labels, &s->annotations, &s->n_annotations)) {
            r->n_items++;
        }
    }
    docker_done(c, r);
}

void docker_list_sandboxes(struct runtime_call *c)
{
    const struct cri_v1_list_pod_sandbox_request *q = c->request;
    const struct cri_v1_pod_sandbox_filter *f = q->filter;
    struct str filters = docker_filters(&c->a, DOCKER_TYPE_SANDBOX, f ? f->label_selector : NULL, f ? f->n_label_selector : 0);
    docker_ask(c, "GET", arena_printf(&c->a, "/containers/json?all=1&%.*s", STR_ARG(filters)), STR_EMPTY, on_list);
}
