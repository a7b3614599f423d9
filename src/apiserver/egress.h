/*
 * Which way a connection of this server goes: the one place that picks the dialer for a purpose.
 *
 * Purposes are those of EgressSelectorConfiguration (KEP-1281): cluster (kubelets, nodes, pods, services), controlplane (webhooks and
 * aggregated servers beside this one), etcd. Each goes directly, or through an HTTP CONNECT proxy: a Konnectivity server by
 * --egress-selector-config-file, or for the cluster our own tunnel process by --tunnel-socket. What has a proxy never goes around it:
 * when the proxy is away, requests fail with 503.
 *
 * What nodes and users may name as an address is checked (egress-rules.c) where it is dialled, behind the look-up of names, so that
 * what was checked is what is dialled (CVE-2020-8555, CVE-2020-8562, CVE-2022-3294). Names that go through a proxy are looked up at its
 * far end, in the node's network and not in ours.
 */
#ifndef APISERVER_EGRESS_H
#define APISERVER_EGRESS_H

#include "net/dial.h"

struct egress;

enum egress_purpose { EGRESS_CONTROLPLANE, EGRESS_CLUSTER, EGRESS_ETCD, EGRESS_PURPOSES };

/* Which addresses may be dialled. */
enum egress_rule {
    EGRESS_ANY,       /* the administrator named it in a flag or a configuration */
    EGRESS_VERIFIED,  /* a node named it, and its certificate will be verified: loopback too */
    EGRESS_FOREIGN,   /* a node, pod or user named it */
    EGRESS_RULES
};

struct egress_config {
    struct str selector_file; /* --egress-selector-config-file; empty: none */
    struct str tunnel_socket; /* --tunnel-socket; empty: none */
    struct str denied_cidrs;  /* --proxy-denied-cidrs: "10.0.0.0/24,fd00::/64", besides what is always refused */
};

/* NULL with the reason. */
MUST_CHECK struct egress *egress_new(const struct egress_config *config, struct err *err);
/* After every client that uses its dialers. NULL-safe; returns NULL. */
struct egress *egress_free(struct egress *e);
struct net_dialer *egress_dialer(struct egress *e, enum egress_purpose purpose, enum egress_rule rule);
/* Does it go through a proxy? Then it names it ("HTTPConnect by unix socket /run/…"), else "direct". */
bool egress_is_proxied(const struct egress *e, enum egress_purpose purpose, struct str *ret_description);
/* Reads certificates of proxies again. What cannot be read stays as it was. */
bool egress_reload(struct egress *e, struct err *err);

/* ---- egress-rules.c ---- */
struct egress_net {
    uint8_t addr[16]; /* IPv4 as ::ffff:a.b.c.d */
    unsigned bits;
};
struct egress_rules {
    struct egress_net *denied;
    size_t n_denied;
};
MUST_CHECK bool egress_rules_parse(struct egress_rules *r, struct str cidrs, struct err *err);
void egress_rules_free(struct egress_rules *r);
/* May the address be dialled under the rule? False with "address not allowed" (upstream's words) and why. */
bool egress_rules_allow(const struct egress_rules *r, enum egress_rule rule, const struct net_addr *a, struct err *err);

/* The same of a name that is looked up at the far end of a proxy, where its address cannot be checked: no "localhost", and no number
 * that a resolver takes for an address ("0x7f.1", "2130706433"). */
bool egress_rules_allow_name(enum egress_rule rule, struct str name, struct err *err);

/* ---- egress-config.c ---- */
struct egress_selection {
    bool given, proxied;
    struct str host;  /* of the proxy: a path with port 0, or a host */
    uint16_t port;
    bool tls;
    struct str ca_bundle, client_cert, client_key; /* paths; ca_bundle may be empty: the system's CAs */
};
struct arena;
/* EgressSelectorConfiguration of apiserver.k8s.io v1alpha1, v1beta1 or v1. Text lives in the arena. */
MUST_CHECK bool egress_config_parse(struct arena *a, struct str text, struct egress_selection ret[EGRESS_PURPOSES], struct err *err);

#endif
