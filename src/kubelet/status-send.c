/* Tells the API what became of a pod, one call a pod at a time, and only changes; deletes the object when its pod has ended. */
#include "kubelet/kubelet-private.h"

#include <stdlib.h>

#include "api/encode-json.h"
#include "base/log.h"
#include "client/client.h"

static const struct api_resource *pods_resource(void)
{
    return api_resource_find(STR_EMPTY, STR("v1"), STR("pods"));
}

/* Who the status belongs to in the API: the pod, or a static pod's mirror. */
static struct pod *face_of(struct pod *p)
{
    return p->source == POD_FROM_FILE ? p->mirror : p;
}

static void on_retry(void *arg)
{
    struct pod *p = arg;
    pod_status_update(p);
}

static void retry(struct pod *p, uint64_t in_ms)
{
    loop_timer_init(&p->status_retry, p->k->loop, on_retry, p);
    loop_timer_start(&p->status_retry, in_ms);
}

static void on_deleted(void *data, const struct client_answer *answer)
{
    struct pod *p = data;
    p->status_call = NULL;
    if (answer->err && answer->err->code != ERR_NOT_FOUND && answer->err->code != ERR_CONFLICT) {
        log_warning("pod %s/%s cannot be deleted: %s", p->ns, p->name, answer->err->msg);
        p->delete_sent = false;
        retry(p, 2000);
    }
    if (answer->err && (answer->err->code == ERR_NOT_FOUND || answer->err->code == ERR_CONFLICT)) {
        p->gone = true;
        pod_wake(p);
    }
}

/* Every container has ended, the sandbox is stopped, and the API knows it. */
static void delete_if_over(struct pod *p)
{
    if (!p->deleting || p->delete_sent || p->status_call || !p->terminal_sent || p->source == POD_FROM_FILE) {
        return;
    }
    struct client_target t = { .resource = pods_resource(), .ns = str_c(p->ns), .name = str_c(p->name) };
    struct client_delete_options o = { .uid = str_c(p->uid), .grace_seconds = 0 };
    p->delete_sent = true;
    p->status_call = client_delete(p->k->client, &t, &o, on_deleted, p);
}

static bool is_over(const struct pod *p)
{
    if (!p->read_once || p->busy || p->stale || p->kills) {
        return false;
    }
    for (size_t i = 0; i < p->n_containers; i++) {
        if (container_is_running(p->containers[i])) {
            return false;
        }
    }
    for (size_t i = 0; i < p->n_sandboxes; i++) {
        if (p->sandboxes[i].ready) {
            return false;
        }
    }
    return true;
}

static void on_patched(void *data, const struct client_answer *answer)
{
    struct pod *p = data;
    p->status_call = NULL;
    if (answer->err && answer->err->code == ERR_NOT_FOUND) {
        return; /* the informer tells that it is gone */
    }
    if (answer->err) {
        log_warning("pod %s/%s: its status cannot be written: %s", p->ns, p->name, answer->err->msg);
        free(p->status_sent);
        p->status_sent = NULL;
        retry(p, answer->err->code == ERR_CONFLICT ? 200 : 3000);
        return;
    }
    p->terminal_sent = p->deleting && p->status_over;
    if (p->status_dirty) {
        p->status_dirty = false;
        pod_status_update(p);
        return;
    }
    delete_if_over(p);
}

/* Lists that the API merges by key are replaced as a whole. */
static void replaced_list(struct buf *b, const char *name, const struct str *ips, size_t n)
{
    buf_printf(b, "\"%s\":[", name);
    for (size_t i = 0; i < n; i++) {
        buf_printf(b, "{\"ip\":\"%.*s\"},", STR_ARG(ips[i]));
    }
    buf_append_c(b, "{\"$patch\":\"replace\"}],");
}

/* Conditions are merged by type: what went away has to be named. */
static bool conditions_list(struct buf *b, const struct core_v1_pod_condition *list, size_t n)
{
    buf_append_c(b, "\"conditions\":[");
    for (size_t i = 0; i < n; i++) {
        CLEANUP(buf_deinit) struct buf one;
        buf_init(&one, 65536);
        if (!api_encode_json(&one, &core_v1_pod_condition_type, &list[i], NULL, NULL)) {
            return false;
        }
        buf_printf(b, "%s%.*s%s%s}", i ? "," : "", (int)one.len - 1, one.ptr, list[i].reason.len ? "" : ",\"reason\":null",
                   list[i].message.len ? "" : ",\"message\":null");
    }
    buf_append_c(b, "],");
    return true;
}

static bool is_ready(const struct core_v1_pod_condition *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq_c(list[i].type, "Ready")) {
            return str_eq_c(list[i].status, "True");
        }
    }
    return false;
}

static bool status_json(struct pod *p, bool *ret_ready, struct buf *b)
{
    struct arena a;
    bool ok = false;
    arena_init(&a, KUBELET_MAX_WORK_ARENA);
    const struct core_v1_pod_status *computed = pod_status_of(p, &a);
    if (computed) {
        struct core_v1_pod_status s = *computed;
        *ret_ready = is_ready(s.conditions, s.n_conditions);
        struct str pod_ips[2], host_ips[1];
        size_t n_pod = 0, n_host = 0;
        for (size_t i = 0; i < s.n_pod_ips && i < 2; i++) {
            pod_ips[n_pod++] = s.pod_ips[i].ip;
        }
        if (s.n_host_ips) {
            host_ips[n_host++] = s.host_ips[0].ip;
        }
        s.pod_ips = NULL;
        s.host_ips = NULL;
        s.conditions = NULL;
        s.n_pod_ips = s.n_host_ips = s.n_conditions = 0;
        CLEANUP(buf_deinit) struct buf rest;
        buf_init(&rest, KUBELET_MAX_POD_ARENA);
        buf_append_char(b, '{');
        replaced_list(b, "podIPs", pod_ips, n_pod);
        replaced_list(b, "hostIPs", host_ips, n_host);
        ok = conditions_list(b, computed->conditions, computed->n_conditions) && api_encode_json(&rest, &core_v1_pod_status_type, &s, NULL, NULL) && rest.len > 2;
        buf_append(b, str_sub(buf_str(&rest), 1, rest.len));
    }
    arena_deinit(&a);
    return ok && !buf_failed(b);
}

/* It ended, and the runtime has forgotten how: what the API knows stays. */
static bool facts_are_lost(const struct pod *p)
{
    for (size_t i = 0; i < p->n_containers; i++) {
        if (p->containers[i]->has_run) {
            return false;
        }
    }
    return p->finished && !p->rejected && (str_eq_c(p->obj->status.phase, "Succeeded") || str_eq_c(p->obj->status.phase, "Failed"));
}

void pod_status_update(struct pod *p)
{
    struct pod *face = face_of(p);
    if (!p->k->client || !p->obj || p->mirror_only || p->source == POD_GHOST || p->source == POD_FROM_DISK || p->gone || !face || p->delete_sent) {
        return;
    }
    if (p->status_call) {
        p->status_dirty = true;
        return;
    }
    if (facts_are_lost(p)) {
        p->terminal_sent = p->deleting && is_over(p);
        delete_if_over(p);
        return;
    }
    CLEANUP(buf_deinit) struct buf status, patch;
    buf_init(&status, KUBELET_MAX_POD_ARENA);
    buf_init(&patch, KUBELET_MAX_POD_ARENA);
    bool over = is_over(p), ready = false;
    if (!status_json(p, &ready, &status)) {
        log_error("pod %s/%s: its status is too large", p->ns, p->name);
        return;
    }
    if (p->status_sent && strcmp(p->status_sent, status.ptr) == 0 && over == p->status_over) {
        delete_if_over(p);
        return;
    }
    buf_printf(&patch, "{\"metadata\":{\"uid\":\"%s\"},\"status\":%s}", face->uid, status.ptr);
    free(p->status_sent);
    p->status_sent = strdup(status.ptr);
    p->status_over = over;
    p->ready_sent = ready;
    p->status_dirty = false;
    struct client_target t = { .resource = pods_resource(), .ns = str_c(p->ns), .name = str_c(face->name), .subresource = STR("status") };
    p->status_call = client_patch(p->k->client, &t, CLIENT_PATCH_STRATEGIC, buf_str(&patch), on_patched, p);
}

/* A write of our own that is under way, or whose event has not come back yet, looks the same: so it waits a moment, and writing the
 * same twice changes nothing. */
void pod_status_seen(struct pod *p, const struct core_v1_pod_status *seen)
{
    if (p->status_sent && !p->status_call && is_ready(seen->conditions, seen->n_conditions) != p->ready_sent) {
        free(p->status_sent);
        p->status_sent = NULL;
        retry(p, KUBELET_STATUS_RECONCILE_MS);
    }
}

void pod_status_stop(struct pod *p)
{
    client_cancel(p->status_call);
    p->status_call = NULL;
    loop_timer_stop(&p->status_retry);
    free(p->status_sent);
    p->status_sent = NULL;
}
