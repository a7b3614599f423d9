/* The Node object: made, kept up to date, and shown alive by its Lease. Its podCIDR becomes the CNI configuration. */
#include "kubelet/node-private.h"

#include <stdlib.h>
#include <unistd.h>

#include "api/copy.h"
#include "api/encode-json.h"
#include "api/gen/coordination_v1.h"
#include "base/clock.h"
#include "base/log.h"
#include "client/client.h"
#include "client/meta.h"
#include "kubelet/machine-info.h"
#include "kubelet/node-certificates.h"

static const struct api_resource *nodes_resource(void)
{
    return api_resource_find(STR_EMPTY, STR("v1"), STR("nodes"));
}

const struct core_v1_node *node_object(struct kubelet *k)
{
    return k->node && k->node->informer ? informer_get(k->node->informer, STR_NULL, str_c(k->node_name)) : NULL;
}

bool node_machine(struct kubelet *k, struct err *err)
{
    if (k->cfg->fail_swap_on && machine_swap_on()) {
        return err_set(err, ERR_INVALID, "swap is on: switch it off, or pass --fail-swap-on=false");
    }
    if (k->cfg->node_ip.len) {
        snprintf(k->node_ip, sizeof(k->node_ip), "%.*s", STR_ARG(k->cfg->node_ip));
    } else {
        machine_ip(k->node_ip);
    }
    node_sizes(k);
    return true;
}

/* ---- registration ---- */

static struct api_str_pair *labels_of(struct kubelet *k, struct arena *a, size_t *ret_n)
{
    const struct flag_strings *more = &k->cfg->node_labels;
    struct api_str_pair *l = arena_new_n(a, struct api_str_pair, 5 + more->n);
    size_t n = 0;
    if (!l) {
        return NULL;
    }
    l[n++] = (struct api_str_pair){ STR("beta.kubernetes.io/arch"), str_c(machine_arch()) };
    l[n++] = (struct api_str_pair){ STR("beta.kubernetes.io/os"), STR("linux") };
    l[n++] = (struct api_str_pair){ STR("kubernetes.io/arch"), str_c(machine_arch()) };
    l[n++] = (struct api_str_pair){ STR("kubernetes.io/hostname"), str_c(k->node_name) };
    l[n++] = (struct api_str_pair){ STR("kubernetes.io/os"), STR("linux") };
    for (size_t i = 0; i < more->n; i++) {
        struct str key, value;
        (void)str_cut(more->items[i], '=', &key, &value);
        l[n++] = (struct api_str_pair){ key, value.ptr ? value : STR_EMPTY };
    }
    *ret_n = n;
    return l;
}

static struct core_v1_taint *taints_of(struct kubelet *k, struct arena *a, size_t *ret_n)
{
    const struct flag_strings *list = &k->cfg->register_with_taints;
    struct core_v1_taint *t = arena_new_n(a, struct core_v1_taint, list->n + 2);
    *ret_n = 0;
    if (t && k->cfg->cloud_provider.len) {
        /* Until the cloud-controller-manager has said what this node is. */
        t[(*ret_n)++] = (struct core_v1_taint){ .key = STR("node.cloudprovider.kubernetes.io/uninitialized"), .value = STR("true"),
                                                .effect = STR("NoSchedule") };
    }
    for (size_t i = 0; t && i < list->n; i++) {
        struct str left, effect, key, value;
        ptrdiff_t colon = str_rfind_char(list->items[i], ':');
        if (colon < 0) {
            continue;
        }
        left = str_sub(list->items[i], 0, (size_t)colon);
        effect = str_sub(list->items[i], (size_t)colon + 1, list->items[i].len);
        (void)str_cut(left, '=', &key, &value);
        t[(*ret_n)++] = (struct core_v1_taint){ .key = key, .value = value, .effect = effect };
    }
    return t;
}

static void send_status(struct node_agent *n);

static void on_created(void *data, const struct client_answer *answer)
{
    struct node_agent *n = data;
    n->create_call = NULL;
    if (!answer->err) {
        log_info("node %s is registered", n->k->node_name);
        informer_put(n->informer, answer->object);
    } else if (answer->err->code != ERR_ALREADY_EXISTS) {
        log_warning("node %s cannot be registered: %s", n->k->node_name, answer->err->msg);
    }
    loop_timer_start(&n->status_timer, answer->err && answer->err->code != ERR_ALREADY_EXISTS ? 2000 : 0);
}

static void create_node(struct node_agent *n)
{
    struct kubelet *k = n->k;
    struct arena a;
    struct core_v1_node o = { .kind = STR("Node"), .api_version = STR("v1") };
    struct client_target t = { .resource = nodes_resource() };
    arena_init(&a, KUBELET_MAX_WORK_ARENA);
    o.metadata.name = str_c(k->node_name);
    o.metadata.labels = labels_of(k, &a, &o.metadata.n_labels);
    o.spec.taints = taints_of(k, &a, &o.spec.n_taints);
    o.spec.provider_id = k->cfg->provider_id;
    /* Tells the cloud-controller-manager which of the node's addresses it was told to have. */
    struct api_str_pair ip = { STR("alpha.kubernetes.io/provided-node-ip"), k->cfg->node_ip };
    if (k->cfg->cloud_provider.len && k->cfg->node_ip.len) {
        o.metadata.annotations = &ip;
        o.metadata.n_annotations = 1;
    }
    o.spec.unschedulable = !k->cfg->register_schedulable;
    if (k->client && !n->create_call && node_status(n, &a, &o.status)) {
        n->create_call = client_create(k->client, &t, NULL, &o, on_created, n);
    }
    arena_deinit(&a);
}

/* ---- status ---- */

static void on_status(void *data, const struct client_answer *answer)
{
    struct node_agent *n = data;
    n->status_call = NULL;
    if (answer->err) {
        log_warning("the node's status cannot be written: %s", answer->err->msg);
        free(n->sent);
        n->sent = NULL;
        if (answer->err->code == ERR_NOT_FOUND && n->k->cfg->register_node) {
            create_node(n);
            return;
        }
        loop_timer_start(&n->status_timer, 2000);
        return;
    }
    informer_put(n->informer, answer->object);
    if (n->dirty) {
        n->dirty = false;
        loop_timer_start(&n->status_timer, 0);
    }
}

/* What changed besides heartbeats decides whether it is sent now. */
static char *without_heartbeat(struct core_v1_node_status *s)
{
    struct buf b;
    size_t len;
    struct core_v1_node_condition saved[NODE_CONDITIONS];
    buf_init(&b, KUBELET_MAX_POD_ARENA);
    for (size_t i = 0; i < s->n_conditions; i++) {
        saved[i] = s->conditions[i];
        s->conditions[i].last_heartbeat_time = (struct api_time){ 0 };
    }
    bool ok = api_encode_json(&b, &core_v1_node_status_type, s, NULL, NULL);
    for (size_t i = 0; i < s->n_conditions; i++) {
        s->conditions[i] = saved[i];
    }
    if (!ok) {
        buf_deinit(&b);
        return NULL;
    }
    return buf_take(&b, &len);
}

/* The address may change under a node that takes the one of its default route. */
static void look_at_address(struct kubelet *k)
{
    char ip[sizeof(k->node_ip)] = "";
    if (k->cfg->node_ip.len) {
        return;
    }
    machine_ip(ip);
    if (strcmp(ip, "127.0.0.1") != 0 && strcmp(ip, k->node_ip) != 0) { /* loopback: the network is down */
        log_info("the node's address is %s now, it was %s", ip, k->node_ip);
        memcpy(k->node_ip, ip, sizeof(ip));
        serving_wake(k);
    }
}

static void send_status(struct node_agent *n)
{
    struct kubelet *k = n->k;
    struct arena a;
    struct core_v1_node_status s;
    CLEANUP(buf_deinit) struct buf json, patch;
    buf_init(&json, KUBELET_MAX_POD_ARENA);
    buf_init(&patch, KUBELET_MAX_POD_ARENA);
    if (n->status_call) {
        n->dirty = true;
        return;
    }
    if (!node_object(k)) {
        return; /* it is being made */
    }
    look_at_address(k);
    arena_init(&a, KUBELET_MAX_WORK_ARENA);
    uint64_t now = loop_now_ms(k->loop);
    if (node_status(n, &a, &s)) {
        char *plain = without_heartbeat(&s);
        bool same = plain && n->sent && strcmp(plain, n->sent) == 0;
        if (same && now - n->sent_ms < (uint64_t)k->cfg->node_status_report_ms) {
            free(plain);
        } else if (api_encode_json(&json, &core_v1_node_status_type, &s, NULL, NULL)) {
            free(n->sent);
            n->sent = plain;
            n->sent_ms = now;
            /* The list of addresses is replaced as a whole, where it is ours to write. */
            buf_printf(&patch, "{\"status\":%.*s%s}}", (int)json.len - 1, json.ptr,
                       s.n_addresses ? ",\"$setElementOrder/addresses\":[{\"type\":\"InternalIP\"},{\"type\":\"Hostname\"}]" : "");
            struct client_target t = { .resource = nodes_resource(), .name = str_c(k->node_name), .subresource = STR("status") };
            n->status_call = client_patch(k->client, &t, CLIENT_PATCH_STRATEGIC, buf_str(&patch), on_status, n);
        } else {
            free(plain);
        }
    }
    arena_deinit(&a);
}

/* ---- what the runtime tells ---- */

static size_t copy_sorted(struct arena *a, const struct str *from, size_t n, struct str *ret)
{
    for (size_t i = 0; i < n; i++) {
        ret[i] = arena_str(a, from[i]);
    }
    qsort(ret, n, sizeof(*ret), str_cmp_qsort);
    return n;
}

/* Largest first, as kubelets list them, then by name: containerd's own order differs each time it is asked, and every other
 * order would be a change of the Node that is written to disk. */
static int compare_images(const void *a, const void *b)
{
    const struct core_v1_container_image *x = a, *y = b;
    if (x->size_bytes != y->size_bytes) {
        return x->size_bytes < y->size_bytes ? 1 : -1;
    }
    return str_cmp(x->names[0], y->names[0]);
}

static void on_images(void *arg, const void *response, const struct err *err)
{
    struct node_agent *n = arg;
    const struct cri_v1_list_images_response *r = response;
    n->images_call = NULL;
    if (err) {
        return;
    }
    arena_deinit(&n->images_arena);
    arena_init(&n->images_arena, KUBELET_MAX_WORK_ARENA);
    size_t count = 0;
    struct core_v1_container_image *list = arena_new_n(&n->images_arena, struct core_v1_container_image, r->n_images + 1);
    for (size_t i = 0; list && i < r->n_images; i++) {
        const struct cri_v1_image *im = &r->images[i];
        struct str *names = arena_new_n(&n->images_arena, struct str, im->n_repo_tags + im->n_repo_digests + 1);
        size_t n_names = names ? copy_sorted(&n->images_arena, im->repo_digests, im->n_repo_digests, names) : 0;
        n_names += names ? copy_sorted(&n->images_arena, im->repo_tags, im->n_repo_tags, names + n_names) : 0;
        if (n_names) {
            list[count++] = (struct core_v1_container_image){ .names = names, .n_names = MIN(n_names, (size_t)5),
                                                             .size_bytes = (int64_t)im->size };
        }
    }
    if (list) {
        qsort(list, count, sizeof(*list), compare_images);
        count = MIN(count, (size_t)50);
    }
    n->images = list;
    n->n_images = list ? count : 0;
    if (n->k->client) {
        send_status(n);
    }
}

static void on_runtime_status(void *arg, const void *response, const struct err *err)
{
    struct node_agent *n = arg;
    const struct cri_v1_status_response *r = response;
    const struct cri_v1_list_images_request request = { 0 };
    n->health_call = NULL;
    bool before = n->network_ready;
    if (err && node_runtime_lately(n)) {
        loop_timer_start(&n->status_timer, 500); /* it restarts: what was known holds until it answers */
        return;
    }
    n->network_ready = false;
    if (err) {
        snprintf(n->network_message, sizeof(n->network_message), "%.200s", err->msg);
    }
    for (size_t i = 0; !err && r->status && i < r->status->n_conditions; i++) {
        const struct cri_v1_runtime_condition *c = &r->status->conditions[i];
        if (str_eq_c(c->type, "NetworkReady")) {
            n->network_ready = c->status;
            snprintf(n->network_message, sizeof(n->network_message), "NetworkReady=false reason:%.*s message:%.150s", STR_ARG(c->reason),
                     c->message.len ? c->message.ptr : "");
        }
    }
    if (!n->network_ready && n->k->cfg->cni_conf_dir.len) {
        /* The runtime will be given its configuration, or just has been: then it takes a hundredth of a second to read it. */
        loop_timer_start(&n->status_timer, n->looks_soon ? 20 : 200);
        n->looks_soon -= n->looks_soon > 0;
    }
    if (before != n->network_ready) {
        pods_wake_all(n->k);
    }
    if (!n->images_call) {
        n->images_call = runtime_call(n->k->rt, &cri_v1_image_service_list_images_rpc, &request, KUBELET_CRI_TIMEOUT_MS, on_images, n);
    }
}

static void on_version(void *arg, const void *response, const struct err *err)
{
    struct node_agent *n = arg;
    const struct cri_v1_version_response *r = response;
    n->version_call = NULL;
    if (!err) {
        snprintf(n->runtime_version, sizeof(n->runtime_version), "%.*s://%.*s", STR_ARG(r->runtime_name), STR_ARG(r->runtime_version));
        loop_timer_start(&n->status_timer, 0);
    }
}

bool node_runtime_lately(const struct node_agent *n)
{
    const struct kubelet *k = n->k;
    return k->runtime_up || loop_now_ms(k->loop) - MAX(k->relisted_ms, n->born_ms) < KUBELET_RUNTIME_GRACE_MS;
}

/* Looks at the node; the status follows when the runtime has answered. */
static void on_status_due(void *arg)
{
    struct node_agent *n = arg;
    struct kubelet *k = n->k;
    loop_timer_start(&n->status_timer, (uint64_t)MAX(k->cfg->node_status_update_ms, (int64_t)1000));
    if (!n->runtime_version[0] && !n->version_call) {
        const struct cri_v1_version_request request = { .version = STR("v1") };
        n->version_call = runtime_call(k->rt, &cri_v1_runtime_service_version_rpc, &request, KUBELET_CRI_TIMEOUT_MS, on_version, n);
    }
    if (!n->health_call) {
        const struct cri_v1_status_request request = { 0 };
        n->health_call = runtime_call(k->rt, &cri_v1_runtime_service_status_rpc, &request, KUBELET_CRI_TIMEOUT_MS, on_runtime_status, n);
    }
    if (!k->client || n->create_call) {
        return;
    }
    if (!node_object(k) && k->cfg->register_node && !n->sent) {
        create_node(n);
        return;
    }
    if (!node_runtime_lately(n)) {
        send_status(n);
    }
}

bool node_network_ready(struct kubelet *k)
{
    return !k->node || k->node->network_ready;
}

void node_report_runtime(struct kubelet *k)
{
    if (k->node) {
        k->node->runtime_version[0] = k->runtime_up ? k->node->runtime_version[0] : '\0';
        loop_timer_start(&k->node->status_timer, 0);
    }
}

/* ---- the Lease ---- */

static struct client_target lease_target(struct node_agent *n)
{
    return (struct client_target){ .resource = api_resource_find(STR("coordination.k8s.io"), STR("v1"), STR("leases")), .ns = STR("kube-node-lease"),
                                   .name = str_c(n->k->node_name) };
}

static uint64_t lease_period(const struct node_agent *n)
{
    return (uint64_t)MAX(n->k->cfg->lease_duration_ms / 4, (int64_t)1000);
}

static void on_lease(void *data, const struct client_answer *answer)
{
    struct node_agent *n = data;
    n->lease_call = NULL;
    if (answer->err) {
        n->lease_made = answer->err->code == ERR_ALREADY_EXISTS || (n->lease_made && answer->err->code != ERR_NOT_FOUND);
        if (answer->err->code == ERR_ALREADY_EXISTS) {
            loop_timer_start(&n->lease_timer, 0); /* of an earlier life */
            return;
        }
        if (n->lease_failures++ < 3) {
            log_warning("the node's Lease cannot be renewed: %s", answer->err->msg);
        }
        loop_timer_start(&n->lease_timer, 1000);
        return;
    }
    n->lease_made = true;
    n->lease_failures = 0;
}

static void on_lease_due(void *arg)
{
    struct node_agent *n = arg;
    const struct core_v1_node *node = node_object(n->k);
    struct client_target t = lease_target(n);
    loop_timer_start(&n->lease_timer, node ? lease_period(n) : 500);
    if (n->lease_call || !node) {
        return;
    }
    struct api_time now = { .set = true };
    clock_real(&now.sec, &now.nsec);
    now.nsec -= now.nsec % 1000;
    if (n->lease_made) {
        char stamp[CLOCK_RFC3339_SIZE], patch[512];
        clock_format_rfc3339(now.sec, now.nsec, 6, stamp);
        int len = snprintf(patch, sizeof(patch), "{\"spec\":{\"renewTime\":\"%s\",\"holderIdentity\":\"%s\",\"leaseDurationSeconds\":%d}}", stamp,
                           n->k->node_name, (int)(n->k->cfg->lease_duration_ms / 1000));
        n->lease_call = client_patch(n->k->client, &t, CLIENT_PATCH_MERGE, str_n(patch, (size_t)len), on_lease, n);
        return;
    }
    struct meta_v1_owner_reference owner = { .api_version = STR("v1"), .kind = STR("Node"), .name = node->metadata.name, .uid = node->metadata.uid };
    struct coordination_v1_lease o = { .kind = STR("Lease"), .api_version = STR("coordination.k8s.io/v1") };
    o.metadata.name = t.name;
    o.metadata.namespace = t.ns;
    o.metadata.owner_references = &owner;
    o.metadata.n_owner_references = 1;
    o.spec = (struct coordination_v1_lease_spec){ .holder_identity = t.name, .renew_time = now, .has_lease_duration_seconds = true,
                                                  .lease_duration_seconds = (int32_t)(n->k->cfg->lease_duration_ms / 1000) };
    t.name = STR_NULL;
    n->lease_call = client_create(n->k->client, &t, NULL, &o, on_lease, n);
}

/* ---- the object ---- */

static void take_cidr(struct node_agent *n, struct str cidr)
{
    struct err err = { 0 };
    if (!n->k->cfg->cni_conf_dir.len || !cidr.len || str_eq_c(cidr, n->cidr)) {
        return;
    }
    if (!cni_write(n->k, cidr, &err)) {
        log_error("the CNI configuration cannot be written: %s", err.msg);
        return;
    }
    snprintf(n->cidr, sizeof(n->cidr), "%.*s", STR_ARG(cidr));
    n->looks_soon = 20;
    loop_timer_start(&n->status_timer, 20);
}

static void on_node(void *data, const void *old, const void *obj)
{
    struct node_agent *n = data;
    const struct core_v1_node *node = obj;
    if (node) {
        take_cidr(n, node->spec.pod_cidr);
        serving_wake(n->k); /* others may write addresses of the node */
        if (!old) {
            pods_wake_all(n->k); /* static pods wait for it with their mirrors */
        }
    } else if (n->k->cfg->register_node) {
        free(n->sent);
        n->sent = NULL;
        loop_timer_start(&n->status_timer, 1000);
    }
}

static void on_synced(void *data)
{
    struct node_agent *n = data;
    loop_timer_start(&n->status_timer, 0);
    loop_timer_start(&n->lease_timer, 0);
}

bool node_start(struct kubelet *k, struct err *err UNUSED)
{
    struct node_agent *n = calloc(1, sizeof(*n));
    if (!n) {
        abort();
    }
    n->k = k;
    n->born_ms = loop_now_ms(k->loop);
    k->node = n;
    arena_init(&n->images_arena, KUBELET_MAX_WORK_ARENA);
    loop_timer_init(&n->status_timer, k->loop, on_status_due, n);
    loop_timer_init(&n->lease_timer, k->loop, on_lease_due, n);
    take_cidr(n, k->cfg->pod_cidr);
    if (!k->client) {
        loop_timer_start(&n->status_timer, 0);
        return true;
    }
    char selector[300];
    snprintf(selector, sizeof(selector), "metadata.name=%s", k->node_name);
    n->informers = informers_new(k->client);
    const struct informer_spec spec = { .resource = nodes_resource(), .field_selector = str_c(selector) };
    n->informer = informers_get(n->informers, &spec, on_node, n);
    informers_start(n->informers, on_synced, n);
    loop_timer_start(&n->status_timer, 1000);
    return true;
}

void node_stop(struct kubelet *k)
{
    struct node_agent *n = k->node;
    if (n) {
        loop_timer_stop(&n->status_timer);
        loop_timer_stop(&n->lease_timer);
        client_cancel(n->status_call);
        client_cancel(n->lease_call);
        client_cancel(n->create_call);
        runtime_cancel(k->rt, n->version_call);
        runtime_cancel(k->rt, n->images_call);
        runtime_cancel(k->rt, n->health_call);
        informers_free(n->informers);
        arena_deinit(&n->images_arena);
        free(n->sent);
        free(n);
        k->node = NULL;
    }
}
