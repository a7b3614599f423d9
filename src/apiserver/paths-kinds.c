/*
 * The kinds of paths and how each is judged. One row of the table is one path of the seed's document, or one that this project has
 * besides. A judge sees a row whose transport, ends and certificates are filled; certificates that have ended are looked at
 * afterwards, for every kind (paths-catalog.c).
 */
#include "apiserver/paths.h"

#include <stdarg.h>

#include "client/path-report.h"
#include "net/addr.h"

#define TO_MASTER "Cluster -> Master"
#define TO_KUBELET "Master -> Cluster: apiserver -> kubelet"
#define TO_BACKENDS "Master -> Cluster: apiserver -> nodes, pods, and services"
#define TUNNELS "Master -> Cluster: SSH Tunnels"
#define PORTS "Configuring communication ports"
#define MASTER "Within the master"
#define NODE "Within the node"

static void set(struct path_row *r, enum path_verdict v, const char *reason, const char *mend)
{
    r->verdict = v;
    r->reason = str_c(reason);
    r->mend = mend ? str_c(mend) : STR_NULL;
}

static bool has_word(struct str list, const char *word)
{
    return list.ptr && str_find(list, str_c(word)) >= 0;
}

/* Is the address one that only this host can reach? */
static bool is_loopback(struct str address)
{
    struct net_addr a;
    return str_starts(address, STR("unix:")) || (address.len && (address.ptr[0] == '/' || address.ptr[0] == '@')) ||
           str_starts(address, STR("localhost:")) || (net_addr_parse(address, &a) && net_addr_is_local(&a)) ||
           (net_addr_parse_ip(address, 1, &a) && net_addr_is_local(&a));
}

static bool stays_here(const struct path_row *r)
{
    return r->transport == PATH_UNIX || is_loopback(r->address);
}

static bool was_used(const struct path_row *r)
{
    return r->opened > 0 || r->open > 0;
}

/* ---- judges ---- */

static void judge_api(const struct path_world *w, struct path_row *r, struct arena *a UNUSED)
{
    if (r->transport == PATH_UNKNOWN && !was_used(r) && !r->failed) {
        set(r, PATH_SAFE, "possible; nobody has used it", NULL);
    } else if (r->transport == PATH_PLAIN && !stays_here(r)) {
        set(r, PATH_UNSAFE, "not encrypted, and the API server does not know who asks", "--insecure-port=0, and https:// in the client's kubeconfig");
        return;
    } else if (r->transport == PATH_TLS && r->server_verified == PATH_NOT_VERIFIED) {
        set(r, stays_here(r) ? PATH_LOCAL : PATH_UNSAFE, "the client does not verify the API server's certificate",
            "certificate-authority in the client's kubeconfig, without insecure-skip-tls-verify");
    } else if (r->transport == PATH_UNIX || r->transport == PATH_PLAIN) {
        set(r, PATH_LOCAL, "not encrypted, but it never leaves the host", NULL);
    } else {
        set(r, PATH_SAFE, "TLS; who asks is authenticated and authorised", NULL);
    }
    if (has_word(w->authz, "AlwaysAllow") && !has_word(r->from.name, "kube-apiserver")) {
        set(r, stays_here(r) ? PATH_LOCAL : PATH_UNSAFE, "everybody who is authenticated may do everything", "--authorization-mode=Node,RBAC");
    }
}

static void judge_anonymous(const struct path_world *w, struct path_row *r, struct arena *a UNUSED)
{
    if (has_word(w->authz, "AlwaysAllow") && w->anonymous) {
        set(r, PATH_UNSAFE, "anybody may do everything without credentials", "--anonymous-auth=false --authorization-mode=Node,RBAC");
    } else if (w->anonymous) {
        set(r, PATH_SAFE, "TLS; without credentials only what the authoriser gives to anonymous users (health, version, discovery of tokens)", NULL);
    } else {
        set(r, PATH_SAFE, "TLS; refused without credentials", NULL);
    }
}

static void judge_insecure(const struct path_world *w UNUSED, struct path_row *r, struct arena *a UNUSED)
{
    if (stays_here(r)) {
        set(r, PATH_LOCAL, "neither encrypted nor authenticated; only this host can reach it", "--insecure-port=0");
    } else {
        set(r, PATH_UNSAFE, "neither encrypted nor authenticated, and reachable from other hosts: whoever connects has the cluster",
            "--insecure-port=0");
    }
}

static void judge_kubelet_client(const struct path_world *w, struct path_row *r, struct arena *a UNUSED)
{
    bool verified = r->server_verified == PATH_VERIFIED || (r->server_verified == PATH_VERIFY_UNKNOWN && w->kubelets_verified);
    if (!verified && stays_here(r)) {
        set(r, PATH_LOCAL, "the kubelet's certificate is not verified, but the connection never leaves the host", "--kubelet-certificate-authority");
    } else if (!verified && w->tunnelled) {
        set(r, PATH_SAFE, "inside a tunnel whose far end is verified; the kubelet's certificate is not verified besides",
            "--kubelet-certificate-authority");
    } else if (!verified) {
        set(r, PATH_UNSAFE, "the kubelet's certificate is not verified: anybody in between can read and change logs, exec and port-forward",
            "--kubelet-certificate-authority");
    } else if (!w->kubelet_identity) {
        set(r, PATH_UNSAFE, "the API server shows no certificate, so kubelets must serve requests of nobody", "--kubelet-client-certificate, --kubelet-client-key");
    } else {
        set(r, PATH_SAFE, w->tunnelled ? "inside a tunnel; the kubelet's certificate and address are verified, and the API server shows its own"
                                       : "the kubelet's certificate and address are verified, and the API server shows its own", NULL);
    }
}

static void judge_backend(const struct path_world *w, struct path_row *r, struct arena *a UNUSED)
{
    bool https = r->transport == PATH_TLS || str_ends(r->purpose, STR("https"));
    const char *reason = https ? "encrypted, but the certificate is not verified and the API server shows none: no guarantee of integrity"
                               : "plain HTTP: neither encrypted nor authenticated";
    if (r->server_verified == PATH_VERIFIED) {
        set(r, PATH_SAFE, "TLS, and the certificate is verified", NULL);
    } else if (w->tunnelled) {
        set(r, PATH_SAFE, "inside a tunnel to the node", NULL);
    } else {
        set(r, was_used(r) ? PATH_UNSAFE : PATH_UNUSED, reason,
            "tunnels to the nodes (--ssh-user with --ssh-keyfile, or --egress-selector-config-file), or no role with pods/proxy and services/proxy");
    }
}

static void judge_kubelet_port(const struct path_world *w UNUSED, struct path_row *r, struct arena *a UNUSED)
{
    bool open_door = has_word(r->authn, "anonymous"), all = has_word(r->authz, "AlwaysAllow");
    if (stays_here(r)) {
        set(r, PATH_LOCAL, "only this host can reach it", NULL);
    } else if (open_door && all) {
        set(r, PATH_UNSAFE, "anybody who reaches the node may run commands in its containers", "--anonymous-auth=false --authorization-mode=Webhook");
    } else if (all) {
        set(r, PATH_UNSAFE, "everybody whom the kubelet can authenticate may do everything", "--authorization-mode=Webhook");
    } else if (open_door) {
        set(r, PATH_UNSAFE, "requests without credentials are taken, and what they may do depends on the API server's roles", "--anonymous-auth=false");
    } else if (has_word(r->authn, "nobody")) {
        set(r, PATH_UNSAFE, "nobody can be authenticated", "--client-ca-file, --authentication-token-webhook");
    } else {
        set(r, PATH_SAFE, "TLS; requests are authenticated, and authorised by the API server", NULL);
    }
}

/* A port that answers everybody. */
static void open_port(struct path_row *r, const char *what, const char *mend)
{
    if (stays_here(r)) {
        set(r, PATH_LOCAL, "only this host can reach it", NULL);
    } else {
        set(r, PATH_UNSAFE, what, mend);
    }
}

static void judge_read_only(const struct path_world *w UNUSED, struct path_row *r, struct arena *a UNUSED)
{
    open_port(r, "whoever reaches the node may read its pods, figures and their environment, unencrypted", "--read-only-port=0");
}

static void judge_cadvisor(const struct path_world *w UNUSED, struct path_row *r, struct arena *a UNUSED)
{
    open_port(r, "whoever reaches the node may read its containers' figures, unencrypted", "--cadvisor-port=0");
}

static void judge_health(const struct path_world *w UNUSED, struct path_row *r, struct arena *a)
{
    if (r->transport == PATH_TLS) {
        if (stays_here(r)) {
            set(r, PATH_LOCAL, "only this host can reach it", NULL);
        } else if (has_word(r->authn, "x509")) {
            set(r, PATH_SAFE, "TLS; health is open to everybody, all else needs a client certificate", NULL);
        } else {
            set(r, PATH_SAFE, "TLS; health only, nobody gets more", NULL);
        }
        return;
    }
    const char *mend = str_eq_c(r->to.name, "kubelet") || str_eq_c(r->to.name, "kube-proxy") ? "--healthz-bind-address=127.0.0.1" : "--port=0";
    open_port(r, arena_printf(a, "plain HTTP: whoever reaches the host may ask %.*s how it is", STR_ARG(r->to.name)).ptr, mend);
}

static void judge_metrics(const struct path_world *w UNUSED, struct path_row *r, struct arena *a UNUSED)
{
    open_port(r, "plain HTTP: whoever reaches the host may read metrics",
              str_eq_c(r->to.name, "kube-proxy") ? "--metrics-bind-address=127.0.0.1:10249" : "--port=0");
}

static void judge_node_check(const struct path_world *w UNUSED, struct path_row *r, struct arena *a UNUSED)
{
    set(r, PATH_SAFE, "asked for by a Service (healthCheckNodePort): tells load balancers how many endpoints are here, and nothing else", NULL);
}

static void judge_local_api(const struct path_world *w UNUSED, struct path_row *r, struct arena *a UNUSED)
{
    if (stays_here(r) || str_empty(r->address)) {
        set(r, PATH_LOCAL, "never leaves the node", NULL);
    } else {
        set(r, PATH_UNSAFE, "leaves the node", NULL);
    }
}

/* TLS with a verified other side, or on this host. */
static void judge_verified(struct path_row *r, const char *mend)
{
    if (stays_here(r)) {
        set(r, PATH_LOCAL, "never leaves the host", NULL);
    } else if (r->transport == PATH_UNKNOWN) {
        set(r, PATH_UNUSED, "no connection yet", NULL);
    } else if (r->transport == PATH_PLAIN) {
        set(r, PATH_UNSAFE, "not encrypted", mend);
    } else if (r->server_verified == PATH_VERIFIED) {
        set(r, PATH_SAFE, "TLS, and the certificate is verified", NULL);
    } else {
        set(r, PATH_UNSAFE, "the certificate is not verified", mend);
    }
}

static void judge_store(const struct path_world *w UNUSED, struct path_row *r, struct arena *a UNUSED)
{
    judge_verified(r, "--etcd-servers=https://…, --etcd-cafile, --etcd-certfile, --etcd-keyfile");
    if (r->verdict == PATH_SAFE && str_empty(r->client.subject)) {
        set(r, PATH_UNSAFE, "etcd does not know who asks: whoever reaches it has the cluster", "--etcd-certfile, --etcd-keyfile");
    }
}

static void judge_webhook(const struct path_world *w UNUSED, struct path_row *r, struct arena *a UNUSED)
{
    judge_verified(r, "https:// and certificate-authority in the webhook's kubeconfig");
}

static void judge_oidc(const struct path_world *w UNUSED, struct path_row *r, struct arena *a UNUSED)
{
    judge_verified(r, "--oidc-issuer-url=https://…, --oidc-ca-file");
}

static void judge_tunnel(const struct path_world *w UNUSED, struct path_row *r, struct arena *a)
{
    struct str trust = r->fact ? r->fact->trust : STR_NULL;
    if (stays_here(r)) {
        set(r, PATH_LOCAL, "never leaves the host", NULL);
    } else if (str_eq_c(trust, "annotation")) {
        set(r, PATH_UNSAFE, "the host key was told by the node itself, once: whoever was in between then may be still", "an entry for the node in --ssh-known-hosts-file");
    } else if (str_eq_c(trust, "pinned")) {
        set(r, PATH_SAFE, "SSH; the host key is pinned", NULL);
    } else if (str_eq_c(trust, "kubelet")) {
        set(r, PATH_SAFE, "no tunnel, to the kubelet alone: TLS from end to end, which the API server verifies", NULL);
    } else if (str_eq_c(trust, "direct")) {
        set(r, PATH_UNSAFE, "no tunnel: what goes to pods and services of the node is as safe as they make it", "coracle join --reverse-tunnel, or --ssh-tunnel");
    } else if (str_eq_c(trust, "certificate") || r->server_verified == PATH_VERIFIED) {
        set(r, PATH_SAFE, "TLS; both sides show certificates of the cluster", NULL);
    } else if (!was_used(r)) {
        set(r, PATH_UNUSED, "the tunnel is not open", NULL);
    } else {
        set(r, PATH_UNSAFE, arena_printf(a, "nobody has verified the far end (%.*s)", STR_ARG(trust)).ptr, "--ssh-known-hosts-file");
    }
}

static void judge_report(const struct path_world *w UNUSED, struct path_row *r, struct arena *a UNUSED)
{
    judge_local_api(w, r, a);
}

static void judge_strangers(const struct path_world *w UNUSED, struct path_row *r, struct arena *a UNUSED)
{
    if (r->transport == PATH_TLS) {
        set(r, PATH_SAFE, "TLS; connections before anybody has shown who they are", NULL);
    } else {
        judge_insecure(w, r, a);
    }
}

static void judge_other(const struct path_world *w UNUSED, struct path_row *r, struct arena *a UNUSED)
{
    if (r->fact && r->fact->way == PATH_OUT) {
        judge_verified(r, "https:// with a CA");
    } else if (stays_here(r)) {
        set(r, PATH_LOCAL, "only this host can reach it", NULL);
    } else if (r->transport == PATH_TLS) {
        set(r, PATH_SAFE, "TLS", NULL);
    } else {
        set(r, PATH_UNSAFE, "not encrypted", NULL);
    }
}

/* ---- the table: the first row that fits counts ---- */

#define API(id_, peer_, from_, what_) \
    { .id = "apiserver-" id_, .section = TO_MASTER, .process = "kube-apiserver", .way = PATH_IN, .purpose = PATH_PURPOSE_API, \
      .peer = peer_, .from = from_, .to = "kube-apiserver", .what = what_, .judge = judge_api }

const struct path_kind path_kinds[] = {
    { .id = "apiserver-anonymous", .section = TO_MASTER, .process = "kube-apiserver", .way = PATH_IN, .purpose = PATH_PURPOSE_API, .peer = "anonymous",
      .from = "anonymous", .to = "kube-apiserver", .what = "requests without credentials", .judge = judge_anonymous },
    API("kubelets", "kubelet", "kubelet", "API: pods, nodes, leases, volumes"),
    API("kube-proxy", "kube-proxy", "kube-proxy", "API: services, endpoints"),
    API("controller-manager", "kube-controller-manager", "kube-controller-manager", "API: everything controllers keep"),
    API("cloud-controller-manager", "cloud-controller-manager", "cloud-controller-manager", "API: nodes, services, routes"),
    API("scheduler", "kube-scheduler", "kube-scheduler", "API: pods, nodes"),
    API("tunnel", "tunnel", "tunnel", "API: nodes"),
    API("pods", "pods", "pods", "API, through the kubernetes Service and kube-proxy"),
    API("bootstrap", "bootstrap tokens", "joining nodes", "API: certificate requests of nodes that join"),
    API("users", "users", "users", "API: kubectl and other clients"),
    API("itself", "kube-apiserver", "kube-apiserver", "API: requests of the API server to itself"),
    { .id = "apiserver-insecure-clients", .section = MASTER, .process = "kube-apiserver", .way = PATH_IN, .purpose = PATH_PURPOSE_API, .peer = "insecure",
      .from = "anybody", .to = "kube-apiserver", .what = "API without authentication", .judge = judge_insecure },
    { .id = "apiserver-insecure-port", .section = MASTER, .process = "kube-apiserver", .way = PATH_LISTEN, .purpose = PATH_PURPOSE_INSECURE_API,
      .from = "anybody", .to = "kube-apiserver", .what = "API without authentication (--insecure-port)", .judge = judge_insecure },
    { .id = "apiserver-port", .section = TO_MASTER, .process = "kube-apiserver", .way = PATH_LISTEN, .from = "anybody", .to = "kube-apiserver",
      .what = "connections that are not authenticated yet", .judge = judge_strangers },

    { .id = "component-apiserver", .section = TO_MASTER, .way = PATH_OUT, .purpose = PATH_PURPOSE_API, .to = "kube-apiserver", .what = "API", .judge = judge_api },

    { .id = "apiserver-kubelet", .section = TO_KUBELET, .process = "kube-apiserver", .way = PATH_OUT, .purpose = PATH_PURPOSE_KUBELET,
      .from = "kube-apiserver", .what = "logs, exec, attach, port-forward, metrics, nodes/proxy", .judge = judge_kubelet_client },
    { .id = "kubelet-port", .section = TO_KUBELET, .process = "kubelet", .way = PATH_LISTEN, .purpose = PATH_PURPOSE_KUBELET, .from = "kube-apiserver, anybody",
      .to = "kubelet", .what = "the kubelet's API (--port)", .judge = judge_kubelet_port },
    { .id = "apiserver-node-proxy", .section = TO_BACKENDS, .process = "kube-apiserver", .way = PATH_OUT, .purpose = PATH_PURPOSE_NODE_PROXY,
      .from = "kube-apiserver", .what = "nodes/proxy to other ports", .judge = judge_backend },
    { .id = "apiserver-backends", .section = TO_BACKENDS, .process = "kube-apiserver", .way = PATH_OUT, .purpose = PATH_PURPOSE_POD_PROXY,
      .from = "kube-apiserver", .to = "pods, services", .what = "pods/proxy, services/proxy", .judge = judge_backend },
    { .id = "apiserver-services", .section = TO_BACKENDS, .process = "kube-apiserver", .way = PATH_OUT, .purpose = PATH_PURPOSE_SERVICE_PROXY,
      .from = "kube-apiserver", .to = "services", .what = "services/proxy", .judge = judge_backend },
    { .id = "tunnel-node", .section = TUNNELS, .way = PATH_OUT, .purpose = PATH_PURPOSE_TUNNEL, .what = "everything for the node", .judge = judge_tunnel },
    { .id = "node-tunnel", .section = TUNNELS, .way = PATH_IN, .purpose = PATH_PURPOSE_TUNNEL, .what = "everything for the node", .judge = judge_tunnel },

    { .id = "apiserver-etcd", .section = MASTER, .way = PATH_OUT, .purpose = PATH_PURPOSE_STORE, .to = "etcd", .what = "every object of the cluster", .judge = judge_store },
    { .id = "apiserver-webhook", .section = MASTER, .way = PATH_OUT, .purpose = PATH_PURPOSE_WEBHOOK, .what = "reviews", .judge = judge_webhook },
    { .id = "apiserver-oidc", .section = MASTER, .way = PATH_OUT, .purpose = PATH_PURPOSE_OIDC, .what = "keys of the token issuer", .judge = judge_oidc },
    { .id = "reports", .section = MASTER, .way = PATH_OUT, .purpose = PATH_PURPOSE_REPORT, .what = "asking for this catalog", .judge = judge_report },

    { .id = "read-only-port", .section = PORTS, .process = "kubelet", .way = PATH_LISTEN, .purpose = PATH_PURPOSE_READ_ONLY, .from = "anybody",
      .to = "kubelet", .what = "pods and figures without authentication (--read-only-port)", .judge = judge_read_only },
    { .id = "cadvisor-port", .section = PORTS, .process = "kubelet", .way = PATH_LISTEN, .purpose = PATH_PURPOSE_CADVISOR, .from = "anybody",
      .to = "kubelet", .what = "containers' figures (--cadvisor-port)", .judge = judge_cadvisor },
    { .id = "health-port", .section = PORTS, .way = PATH_LISTEN, .purpose = PATH_PURPOSE_HEALTH, .from = "anybody", .what = "health", .judge = judge_health },
    { .id = "metrics-port", .section = PORTS, .way = PATH_LISTEN, .purpose = PATH_PURPOSE_METRICS, .from = "anybody", .what = "metrics", .judge = judge_metrics },
    { .id = "node-port-check", .section = PORTS, .way = PATH_LISTEN, .purpose = PATH_PURPOSE_NODE_CHECK, .from = "load balancers", .what = "health of a Service",
      .judge = judge_node_check },

    { .id = "kubelet-runtime", .section = NODE, .process = "kubelet", .way = PATH_OUT, .purpose = PATH_PURPOSE_CRI, .from = "kubelet",
      .to = "container runtime", .what = "CRI: containers and images", .judge = judge_local_api },
    { .id = "kubelet-stream", .section = NODE, .process = "kubelet", .way = PATH_OUT, .purpose = PATH_PURPOSE_STREAM, .from = "kubelet",
      .to = "container runtime", .what = "exec, attach, port-forward streams", .judge = judge_local_api },
    { .id = "kubelet-probes", .section = NODE, .process = "kubelet", .way = PATH_OUT, .purpose = PATH_PURPOSE_PROBE, .from = "kubelet", .to = "pods",
      .what = "probes and hooks of pods of this node", .judge = judge_local_api },
    { .id = "other", .section = "Others", .way = PATH_OUT, .what = "not named", .judge = judge_other },
};
const size_t path_n_kinds = ARRAY_SIZE(path_kinds);

static bool fits(const struct path_kind *k, struct str process, const struct path_fact *f)
{
    struct str purpose = f->purpose, rest;
    (void)str_cut(f->purpose, ':', &purpose, &rest);
    return k->way == f->way && (!k->process || str_starts(process, str_c(k->process))) && (!k->purpose || str_eq_c(purpose, k->purpose)) &&
           (!k->peer || str_starts(f->peer, str_c(k->peer)));
}

const struct path_kind *path_kind_of(struct str process, const struct path_fact *f)
{
    for (size_t i = 0; i + 1 < path_n_kinds; i++) {
        if (fits(&path_kinds[i], process, f)) {
            return &path_kinds[i];
        }
    }
    return &path_kinds[path_n_kinds - 1];
}

const struct path_kind *path_kind_by_id(const char *id)
{
    for (size_t i = 0; i < path_n_kinds; i++) {
        if (strcmp(path_kinds[i].id, id) == 0) {
            return &path_kinds[i];
        }
    }
    return NULL;
}
