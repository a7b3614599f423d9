#include "cluster/role-private.h"

#include <stdarg.h>

#define CONTAINERD_SOCKET "/run/containerd/containerd.sock"

/* Appends one word. The arena has no budget, so a NULL is the end of memory. */
void role_word(struct role *r, struct arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct str s = arena_vprintf(a, fmt, ap);
    va_end(ap);
    char *copy = s.ptr ? arena_cstr(a, s) : NULL;
    if (!copy || r->n_argv == ROLE_MAX_WORDS) {
        abort();
    }
    r->argv[r->n_argv++] = copy;
    r->argv[r->n_argv] = NULL;
}

const char *role_text(struct arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct str s = arena_vprintf(a, fmt, ap);
    va_end(ap);
    const char *copy = s.ptr ? arena_cstr(a, s) : NULL;
    if (!copy) {
        abort();
    }
    return copy;
}

/* One of our own programs, as the cluster's copy of this executable. */
void role_start(const struct role_maker *m, struct role *r, const char *name)
{
    *r = (struct role){ .name = name, .node = m->node };
    r->program = role_text(m->a, "%s/bin/%s", m->state, name);
    role_word(r, m->a, "%s", name);
    if (m->c && m->c->verbosity) {
        role_word(r, m->a, "--v=%u", m->c->verbosity);
    }
}

/* The members, one's own first. */
static void etcd_client(const struct role_maker *m, struct role *r)
{
    struct str servers = STR_EMPTY;
    for (unsigned i = 0; i < m->c->n_masters; i++) {
        char ip[CLUSTER_IP_SIZE];
        unsigned node = (m->node - 1 + i) % m->c->n_masters + 1;
        servers = arena_printf(m->a, "%.*s%shttps://%s:%d", STR_ARG(servers), i ? "," : "",
                               cluster_ip_text(cluster_node_addr(node), ip), CLUSTER_ETCD_PORT);
    }
    role_word(r, m->a, "--etcd-servers=%.*s", STR_ARG(servers));
    role_word(r, m->a, "--etcd-cafile=%s/kube/apiserver/etcd/ca.crt", m->state);
    role_word(r, m->a, "--etcd-certfile=%s/kube/apiserver/etcd/client.crt", m->state);
    role_word(r, m->a, "--etcd-keyfile=%s/kube/apiserver/etcd/client.key", m->state);
}

static void etcd(const struct role_maker *m, struct role *r)
{
    struct str cluster = STR_EMPTY;
    for (unsigned node = 1; node <= m->c->n_masters; node++) {
        char ip[CLUSTER_IP_SIZE];
        cluster = arena_printf(m->a, "%.*s%snode-%u=https://%s:%d", STR_ARG(cluster), node > 1 ? "," : "", node,
                               cluster_ip_text(cluster_node_addr(node), ip), CLUSTER_ETCD_PEER_PORT);
    }
    *r = (struct role){ .name = "etcd", .node = m->node, .program = "/usr/bin/etcd", .uid = ROLE_UID_ETCD };
    r->confinement = (struct confinement){
        .read = { role_text(m->a, "%s/kube/etcd", m->state) },
        .write = { ROLE_ETCD_DIR },
    };
    r->health = "http://127.0.0.1:2381/health";
    role_word(r, m->a, "etcd");
    role_word(r, m->a, "--name=%s", m->node_name);
    role_word(r, m->a, "--data-dir=%s/data", ROLE_ETCD_DIR);
    role_word(r, m->a, "--listen-client-urls=https://%s:%d", m->node_ip, CLUSTER_ETCD_PORT);
    role_word(r, m->a, "--advertise-client-urls=https://%s:%d", m->node_ip, CLUSTER_ETCD_PORT);
    role_word(r, m->a, "--listen-peer-urls=https://%s:%d", m->node_ip, CLUSTER_ETCD_PEER_PORT);
    role_word(r, m->a, "--initial-advertise-peer-urls=https://%s:%d", m->node_ip, CLUSTER_ETCD_PEER_PORT);
    role_word(r, m->a, "--initial-cluster=%.*s", STR_ARG(cluster));
    role_word(r, m->a, "--initial-cluster-token=%s", m->c->place.name);
    role_word(r, m->a, "--listen-metrics-urls=http://127.0.0.1:2381");
    role_word(r, m->a, "--client-cert-auth=true");
    role_word(r, m->a, "--peer-client-cert-auth=true");
    role_word(r, m->a, "--trusted-ca-file=%s/kube/etcd/ca.crt", m->state);
    role_word(r, m->a, "--peer-trusted-ca-file=%s/kube/etcd/ca.crt", m->state);
    role_word(r, m->a, "--cert-file=%s/kube/etcd/member-%s.crt", m->state, m->node_name);
    role_word(r, m->a, "--key-file=%s/kube/etcd/member-%s.key", m->state, m->node_name);
    role_word(r, m->a, "--peer-cert-file=%s/kube/etcd/member-%s.crt", m->state, m->node_name);
    role_word(r, m->a, "--peer-key-file=%s/kube/etcd/member-%s.key", m->state, m->node_name);
    role_word(r, m->a, "--logger=zap");
    role_word(r, m->a, "--log-level=warn");
}

/* What every API server of ours is given, wherever it runs. */
void role_apiserver(const struct role_maker *m, struct role *r)
{
    role_start(m, r, "kube-apiserver");
    r->uid = ROLE_UID_APISERVER;
    r->confinement = (struct confinement){
        .read = { role_text(m->a, "%s/bin", m->state), role_text(m->a, "%s/kube/apiserver", m->state) },
        .write = { role_text(m->a, "%s/store", m->state), m->volatile_dir },
    };
    r->socket = ROLE_API_SOCKETS;
    r->health = role_text(m->a, "https://127.0.0.1:%u/readyz", m->port);
    role_word(r, m->a, "--flag-defaults=secure");
    role_word(r, m->a, "--sandbox=false"); /* 'confinement' is it */
    role_word(r, m->a, "--secure-port=%u", m->port);
    role_word(r, m->a, "--advertise-address=%s", m->node_ip);
    role_word(r, m->a, "--volatile-dir=%s", m->volatile_dir);
    role_word(r, m->a, "--tls-cert-file=%s/kube/apiserver/apiserver.crt", m->state);
    role_word(r, m->a, "--tls-private-key-file=%s/kube/apiserver/apiserver.key", m->state);
    role_word(r, m->a, "--client-ca-file=%s/kube/apiserver/ca.crt", m->state);
    role_word(r, m->a, "--kubelet-certificate-authority=%s/kube/apiserver/ca.crt", m->state);
    role_word(r, m->a, "--kubelet-client-certificate=%s/kube/apiserver/apiserver-kubelet-client.crt", m->state);
    role_word(r, m->a, "--kubelet-client-key=%s/kube/apiserver/apiserver-kubelet-client.key", m->state);
    role_word(r, m->a, "--kubelet-preferred-address-types=InternalIP,Hostname");
    role_word(r, m->a, "--service-account-key-file=%s/kube/apiserver/sa.pub", m->state);
    role_word(r, m->a, "--service-account-signing-key-file=%s/kube/apiserver/sa.key", m->state);
    role_word(r, m->a, "--service-account-issuer=https://kubernetes.default.svc.%s", m->domain);
    role_word(r, m->a, "--service-cluster-ip-range=%s", m->service_cidr);
    /* Tokens are Secrets of kube-system: where there are none, nobody gets in by one. */
    role_word(r, m->a, "--enable-bootstrap-token-auth=true");
    role_word(r, m->a, "--authorization-mode=Node,RBAC");
}

static void apiserver(const struct role_maker *m, struct role *r)
{
    role_apiserver(m, r);
    role_word(r, m->a, "--listen-fd=3,4");
    if (m->c->etcd_store) {
        etcd_client(m, r);
    } else {
        role_word(r, m->a, "--store=%s", cluster_store_name(m->c));
        role_word(r, m->a, "--data-dir=%s/store", m->state);
    }
}

/* When there is one of it, an election would cost writes when idle, and a wait after a crash. */
static void elect(const struct role_maker *m, struct role *r)
{
    role_word(r, m->a, "--leader-elect=%s", m->elect ? "true" : "false");
}

void role_controller_manager(const struct role_maker *m, struct role *r)
{
    role_start(m, r, "kube-controller-manager");
    r->uid = ROLE_UID_CONTROLLER_MANAGER;
    r->confinement = (struct confinement){
        .read = { role_text(m->a, "%s/bin", m->state), role_text(m->a, "%s/kube/controller-manager", m->state) },
    };
    r->health = "https://127.0.0.1:10257/healthz";
    role_word(r, m->a, "--flag-defaults=secure");
    role_word(r, m->a, "--sandbox=false"); /* 'confinement' is it */
    role_word(r, m->a, "--bind-address=127.0.0.1");
    role_word(r, m->a, "--kubeconfig=%s/kube/controller-manager/kubeconfig", m->state);
    role_word(r, m->a, "--authentication-kubeconfig=%s/kube/controller-manager/kubeconfig", m->state);
    role_word(r, m->a, "--authorization-kubeconfig=%s/kube/controller-manager/kubeconfig", m->state);
    role_word(r, m->a, "--client-ca-file=%s/kube/controller-manager/ca.crt", m->state);
    role_word(r, m->a, "--root-ca-file=%s/kube/controller-manager/ca.crt", m->state);
    role_word(r, m->a, "--cluster-signing-cert-file=%s/kube/controller-manager/ca.crt", m->state);
    role_word(r, m->a, "--cluster-signing-key-file=%s/kube/controller-manager/ca.key", m->state);
    role_word(r, m->a, "--service-account-private-key-file=%s/kube/controller-manager/sa.key", m->state);
    /* Each controller with rights of its own: the program's own user may only ask for their tokens. */
    role_word(r, m->a, "--use-service-account-credentials=true");
    /* Three that are off by default: nodes join by tokens and get serving certificates. One that is on: no version of this cluster
     * ever made the tokens that it looks for, and it would hold every pod's volumes in memory. */
    role_word(r, m->a, "--controllers=*,bootstrap-signer-controller,token-cleaner-controller,kubelet-serving-csr-approving-controller,"
                  "-legacy-serviceaccount-token-cleaner-controller");
    role_word(r, m->a, "--allocate-node-cidrs=true");
    role_word(r, m->a, "--cluster-cidr=%s", m->pod_cidr);
    role_word(r, m->a, "--service-cluster-ip-range=%s", m->service_cidr);
    role_word(r, m->a, "--cluster-name=%s", m->cluster_name);
    elect(m, r);
}

void role_scheduler(const struct role_maker *m, struct role *r)
{
    role_start(m, r, "kube-scheduler");
    r->uid = ROLE_UID_SCHEDULER;
    r->confinement = (struct confinement){
        .read = { role_text(m->a, "%s/bin", m->state), role_text(m->a, "%s/kube/scheduler", m->state) },
    };
    r->health = "https://127.0.0.1:10259/healthz";
    role_word(r, m->a, "--flag-defaults=secure");
    role_word(r, m->a, "--sandbox=false"); /* 'confinement' is it */
    role_word(r, m->a, "--bind-address=127.0.0.1");
    role_word(r, m->a, "--kubeconfig=%s/kube/scheduler/kubeconfig", m->state);
    role_word(r, m->a, "--authentication-kubeconfig=%s/kube/scheduler/kubeconfig", m->state);
    role_word(r, m->a, "--authorization-kubeconfig=%s/kube/scheduler/kubeconfig", m->state);
    role_word(r, m->a, "--client-ca-file=%s/kube/scheduler/ca.crt", m->state);
    elect(m, r);
}

void role_containerd(const struct role_maker *m, struct role *r, const char *socket)
{
    *r = (struct role){ .name = "containerd", .node = m->node, .program = "/usr/bin/containerd" };
    r->health = role_text(m->a, "unix:%s", socket);
    role_word(r, m->a, "containerd");
    role_word(r, m->a, "--config=%s/containerd.toml", m->conf);
    role_word(r, m->a, "--log-level=warn");
}

static void containerd(const struct role_maker *m, struct role *r)
{
    role_containerd(m, r, CONTAINERD_SOCKET);
}

/* dockerd with a containerd of its own below it. Networks are CNI's: it makes none, and touches neither routes nor rules. */
static void dockerd(const struct role_maker *m, struct role *r)
{
    *r = (struct role){ .name = "dockerd", .node = m->node, .program = "/usr/sbin/dockerd" };
    r->health = "unix:/run/docker.sock";
    role_word(r, m->a, "dockerd");
    role_word(r, m->a, "--host=unix:///run/docker.sock");
    role_word(r, m->a, "--data-root=/var/lib/docker");
    role_word(r, m->a, "--exec-root=/run/docker");
    role_word(r, m->a, "--pidfile=/run/docker.pid");
    role_word(r, m->a, "--config-file=%s/docker.json", m->conf);
    role_word(r, m->a, "--storage-driver=%s", m->machine->overlayfs ? "overlay2" : "vfs");
    role_word(r, m->a, "--exec-opt=native.cgroupdriver=cgroupfs");
    role_word(r, m->a, "--bridge=none");
    role_word(r, m->a, "--iptables=false");
    role_word(r, m->a, "--ip-masq=false");
    role_word(r, m->a, "--ip-forward=false");
    role_word(r, m->a, "--live-restore");
    if (!m->machine->may_lower_oom) {
        role_word(r, m->a, "--oom-score-adjust=0");
    }
    role_word(r, m->a, "--log-level=warn");
}

static void docker_images(const struct role_maker *m, struct role *r)
{
    *r = (struct role){ .name = "images", .node = m->node, .program = "/usr/bin/docker", .once = true, .needs = "/run/docker.sock" };
    role_word(r, m->a, "docker");
    role_word(r, m->a, "--host=unix:///run/docker.sock");
    role_word(r, m->a, "load");
    role_word(r, m->a, "--quiet");
    role_word(r, m->a, "--input=%s/images/coracle.tar", m->state);
}

void role_images(const struct role_maker *m, struct role *r, const char *socket)
{
    *r = (struct role){ .name = "images", .node = m->node, .program = "/usr/bin/ctr", .once = true, .needs = socket };
    role_word(r, m->a, "ctr");
    role_word(r, m->a, "--address=%s", socket);
    role_word(r, m->a, "--namespace=k8s.io");
    role_word(r, m->a, "images");
    role_word(r, m->a, "import");
    role_word(r, m->a, "--snapshotter=%s", m->machine->overlayfs ? "overlayfs" : "native");
    role_word(r, m->a, "%s/images/coracle.tar", m->state);
}

static void images(const struct role_maker *m, struct role *r)
{
    role_images(m, r, CONTAINERD_SOCKET);
}

void role_kubelet(const struct role_maker *m, struct role *r)
{
    role_start(m, r, "kubelet");
    r->health = "http://127.0.0.1:10248/healthz";
    role_word(r, m->a, "--flag-defaults=secure");
    role_word(r, m->a, "--kubeconfig=%s/kubelet.conf", m->conf);
    role_word(r, m->a, "--hostname-override=%s", m->node_name);
    role_word(r, m->a, "--node-ip=%s", m->node_ip);
    role_word(r, m->a, "--root-dir=/var/lib/kubelet");
    role_word(r, m->a, "--cni-conf-dir=%s/cni", m->conf);
    /* What leaves a cluster of namespaces is masqueraded by its switch; inside, pods are seen by their own addresses. */
    role_word(r, m->a, "--cni-masquerade=false");
    role_word(r, m->a, "--pod-infra-container-image=coracle.local/pause:1");
    role_word(r, m->a, "--cgroup-driver=cgroupfs");
    role_word(r, m->a, "--fail-swap-on=false");
    role_word(r, m->a, "--cluster-domain=%s", m->domain);
    role_word(r, m->a, "--client-ca-file=%s/ca.crt", m->conf);
    role_word(r, m->a, "--anonymous-auth=false");
    role_word(r, m->a, "--authentication-token-webhook=true");
    role_word(r, m->a, "--authorization-mode=Webhook");
    role_word(r, m->a, "--read-only-port=0");
}

static void kubelet(const struct role_maker *m, struct role *r)
{
    role_kubelet(m, r);
    role_word(r, m->a, "--tls-cert-file=%s/kubelet.crt", m->conf);
    role_word(r, m->a, "--tls-private-key-file=%s/kubelet.key", m->conf);
    if (m->c->docker) {
        role_word(r, m->a, "--docker-endpoint=unix:///run/docker.sock");
        role_word(r, m->a, "--cni-bin-dir=%s", m->machine->cni_bin);
    } else {
        role_word(r, m->a, "--container-runtime-endpoint=unix://" CONTAINERD_SOCKET);
    }
}

void role_proxy(const struct role_maker *m, struct role *r, const char *kubeconfig)
{
    role_start(m, r, "kube-proxy");
    r->health = "http://127.0.0.1:10256/healthz";
    role_word(r, m->a, "--flag-defaults=secure");
    role_word(r, m->a, "--kubeconfig=%s/%s", m->conf, kubeconfig);
    role_word(r, m->a, "--hostname-override=%s", m->node_name);
    role_word(r, m->a, "--proxy-mode=nftables");
    role_word(r, m->a, "--cluster-cidr=%s", m->pod_cidr);
    role_word(r, m->a, "--healthz-bind-address=127.0.0.1:10256");
}

static void proxy(const struct role_maker *m, struct role *r)
{
    role_proxy(m, r, "kube-proxy.conf");
}

/* Carries connections from a port of the host's loopback to a port of node 1. */
static void forward(const struct role_maker *m, struct role *r, size_t i)
{
    *r = (struct role){ .node = 1, .socket = ROLE_PUBLISHED_SOCKET, .published = i };
    r->name = role_text(m->a, "publish-%u", m->c->published[i].host);
    r->program = role_text(m->a, "%s/bin/coracle", m->state);
    role_word(r, m->a, "coracle");
    role_word(r, m->a, "forward");
    role_word(r, m->a, "--listen-fd=3");
    role_word(r, m->a, "--to=%s:%u", m->node_ip, m->c->published[i].node);
}

static bool is_wanted(const struct cluster_config *c, const char *name)
{
    struct str rest = str_c(c->without), one;
    while (str_split(&rest, ',', &one)) {
        if (str_eq_c(one, name)) {
            return false;
        }
    }
    return true;
}

size_t roles_of(const struct cluster_config *c, const struct machine *machine, struct arena *a,
                struct role roles[CLUSTER_MAX_ROLES])
{
    static void (*const control_plane[])(const struct role_maker *, struct role *) = { apiserver, role_controller_manager, role_scheduler };
    static void (*const with_containerd[])(const struct role_maker *, struct role *) = { containerd, images, kubelet, proxy };
    static void (*const with_docker[])(const struct role_maker *, struct role *) = { dockerd, docker_images, kubelet, proxy };
    void (*const *every_node)(const struct role_maker *, struct role *) = c->docker ? with_docker : with_containerd;
    struct role_maker m = {
        .c = c, .machine = machine, .a = a, .state = c->place.state, .volatile_dir = ROLE_VOLATILE_DIR, .port = CLUSTER_API_PORT,
        .pod_cidr = CLUSTER_POD_CIDR, .service_cidr = CLUSTER_SERVICE_CIDR, .domain = CLUSTER_DOMAIN, .cluster_name = c->place.name,
        .elect = c->n_masters > 1,
    };
    size_t n = 0;

    for (m.node = 1; m.node <= c->n_nodes; m.node++) {
        char dir[PATH_MAX];
        cluster_node_name(m.node, m.node_name);
        cluster_ip_text(cluster_node_addr(m.node), m.node_ip);
        m.conf = role_text(a, "%s/conf", cluster_node_dir(c, m.node, dir));
        /* The runtime takes longest to be ready, so it goes first. */
        every_node[0](&m, &roles[n++]);
        if (c->etcd_store && m.node <= c->n_masters) {
            etcd(&m, &roles[n++]);
        }
        for (size_t i = 0; m.node <= c->n_masters && i < ARRAY_SIZE(control_plane); i++) {
            control_plane[i](&m, &roles[n++]);
        }
        for (size_t i = 1; i < ARRAY_SIZE(with_containerd); i++) {
            every_node[i](&m, &roles[n++]);
        }
    }
    m.node = 1;
    cluster_ip_text(cluster_node_addr(1), m.node_ip);
    for (size_t i = 0; i < c->n_published; i++) {
        forward(&m, &roles[n++], i);
    }
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (is_wanted(c, roles[i].name)) {
            roles[kept++] = roles[i];
        }
    }
    return kept;
}
