/* Which programs a host that stays runs, and with which flags. */
#include "cluster/host.h"
#include "cluster/role-private.h"

#define SOCKET "/run/coracle/" PLACE_HOST_NAME "/containerd/containerd.sock"

static void apiserver(const struct host *h, const struct role_maker *m, struct role *r)
{
    role_apiserver(m, r);
    role_word(r, m->a, "--listen-fd=3");
    if (h->etcd_servers[0]) {
        role_word(r, m->a, "--etcd-servers=%s", h->etcd_servers);
        if (h->etcd_ca[0]) {
            role_word(r, m->a, "--etcd-cafile=%s/kube/apiserver/etcd-ca.crt", m->state);
        }
        if (h->etcd_cert[0]) {
            role_word(r, m->a, "--etcd-certfile=%s/kube/apiserver/etcd-client.crt", m->state);
            role_word(r, m->a, "--etcd-keyfile=%s/kube/apiserver/etcd-client.key", m->state);
        }
    } else {
        role_word(r, m->a, "--store=sqlite");
        role_word(r, m->a, "--data-dir=%s/store", m->state);
    }
    if (h->tunnels) {
        role_word(r, m->a, "--tunnel-socket=%s/tunnel/tunnel.sock", h->place.run);
    }
}

/* A process of its own with a user of its own: the SSH key is beyond the API server's reach, and the Secrets are beyond
 * its own. */
static void tunnel(const struct host *h, const struct role_maker *m, struct role *r)
{
    *r = (struct role){ .name = "tunnel",
                        .program = role_text(m->a, "%s/bin/coracle-tunnel", m->state),
                        .uid = ROLE_UID_TUNNEL };
    r->confinement = (struct confinement){
        .read = { role_text(m->a, "%s/bin", m->state) },
        .write = { role_text(m->a, "%s/kube/tunnel", m->state), role_text(m->a, "%s/tunnel", h->place.run) },
    };
    role_word(r, m->a, "coracle-tunnel");
    role_word(r, m->a, "--kubeconfig=%s/kube/tunnel/kubeconfig", m->state);
    role_word(r, m->a, "--socket=%s/tunnel/tunnel.sock", h->place.run);
    role_word(r, m->a, "--socket-mode=0660"); /* the folder gives it the API server's group */
    role_word(r, m->a, "--reach-label=%s", HOST_REACH_LABEL);
    role_word(r, m->a, "--ssh-user=%s", h->ssh_user);
    role_word(r, m->a, "--ssh-port=%u", h->ssh_port);
    role_word(r, m->a, "--ssh-keyfile=%s/kube/tunnel/ssh.key", m->state);
    role_word(r, m->a, "--ssh-known-hosts-file=%s/kube/tunnel/known_hosts", m->state);
    role_word(r, m->a, "--ssh-annotation-host-keys=false"); /* keys are pinned at join */
    role_word(r, m->a, "--ssh-address-types=InternalIP");
    role_word(r, m->a, "--reverse-address=%s:%u", strchr(m->node_ip, ':') ? "[::]" : "0.0.0.0", h->reverse_port);
    role_word(r, m->a, "--reverse-tls-cert-file=%s/kube/tunnel/tunnel.crt", m->state);
    role_word(r, m->a, "--reverse-tls-private-key-file=%s/kube/tunnel/tunnel.key", m->state);
    role_word(r, m->a, "--reverse-client-ca-file=%s/kube/tunnel/ca.crt", m->state);
}

static void kubelet(const struct host *h, const struct role_maker *m, struct role *r)
{
    role_kubelet(m, r);
    role_word(r, m->a, "--container-runtime-endpoint=unix://" SOCKET);
    if (h->server) {
        role_word(r, m->a, "--tls-cert-file=%s/kubelet.crt", m->conf);
        role_word(r, m->a, "--tls-private-key-file=%s/kubelet.key", m->conf);
        role_word(r, m->a, "--node-labels=%s=direct", HOST_REACH_LABEL);
        return;
    }
    role_word(r, m->a, "--bootstrap-kubeconfig=%s/bootstrap.conf", m->conf);
    role_word(r, m->a, "--rotate-certificates=true");
    role_word(r, m->a, "--rotate-server-certificates=true");
    role_word(r, m->a, "--cert-dir=%s/pki", m->conf);
    role_word(r, m->a, "--node-labels=%s=%s", HOST_REACH_LABEL, host_reach_word(h->reach));
}

/* With the node's own credentials, which the server lets read Services. */
static void proxy(const struct role_maker *m, struct role *r)
{
    role_proxy(m, r, "kubelet.conf");
    r->needs_file = role_text(m->a, "%s/kubelet.conf", m->conf);
}

/* The node's end of its reverse tunnel. */
static void agent(const struct host *h, const struct role_maker *m, struct role *r)
{
    *r = (struct role){ .name = "tunnel-agent", .program = role_text(m->a, "%s/bin/coracle-tunnel", m->state) };
    r->needs_file = role_text(m->a, "%s/kubelet.conf", m->conf);
    role_word(r, m->a, "coracle-tunnel");
    role_word(r, m->a, "--reverse");
    role_word(r, m->a, "--server=%s", h->reverse_server);
    role_word(r, m->a, "--kubeconfig=%s/kubelet.conf", m->conf);
    role_word(r, m->a, "--node-name=%s", m->node_name);
}

size_t host_roles(const struct host *h, const struct machine *machine, struct arena *a,
                  struct role roles[HOST_MAX_ROLES])
{
    struct role_maker m = {
        .machine = machine,
        .a = a,
        .state = h->place.state,
        .conf = role_text(a, "%s/conf", h->place.state),
        .volatile_dir = role_text(a, "%s/kube-apiserver", h->place.run),
        .port = h->port,
        .pod_cidr = h->pod_cidr,
        .service_cidr = h->service_cidr,
        .domain = h->domain,
        .cluster_name = "coracle",
        .elect = h->etcd_servers[0],
    };
    size_t n = 0;
    snprintf(m.node_name, sizeof(m.node_name), "%s", h->name);
    snprintf(m.node_ip, sizeof(m.node_ip), "%s", h->address);
    if (h->node) {
        role_containerd(&m, &roles[n++], SOCKET); /* takes longest to be ready */
    }
    if (h->server) {
        apiserver(h, &m, &roles[n++]);
        role_controller_manager(&m, &roles[n++]);
        role_scheduler(&m, &roles[n++]);
        if (h->tunnels) {
            tunnel(h, &m, &roles[n++]);
        }
    }
    if (h->node) {
        role_images(&m, &roles[n++], SOCKET);
        kubelet(h, &m, &roles[n++]);
        proxy(&m, &roles[n++]);
        if (h->reach == HOST_BY_REVERSE) {
            agent(h, &m, &roles[n++]);
        }
    }
    return n;
}
