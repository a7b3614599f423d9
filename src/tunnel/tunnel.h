/*
 * The tunnel process: watches Nodes, keeps a tunnel to each, answers on a unix socket. See README.md.
 */
#ifndef TUNNEL_TUNNEL_H
#define TUNNEL_TUNNEL_H

#include "client/informer.h"

struct tunnel;

struct tunnel_config {
    /* the front */
    struct str socket;       /* path of the unix socket */
    uint32_t socket_mode;    /* 0600: only our own user may use the tunnels */
    /* SSH; 'ssh_user' empty: no SSH tunnels */
    struct str ssh_user, ssh_keyfile, ssh_known_hosts_file;
    uint16_t ssh_port;
    struct str ssh_address_types; /* "ExternalIP,InternalIP,Hostname": the first that a node has is dialled */
    bool ssh_annotation_keys;     /* the Node's annotation counts for nodes that known_hosts does not name */
    /* "key": a Node label that says "direct", "ssh" or "reverse", so that the others are not tried; empty: there are no direct nodes */
    struct str reach_label;
    /* reverse tunnels; 'reverse_address' empty: none */
    struct str reverse_address; /* "0.0.0.0:8132" */
    struct str tls_cert_file, tls_private_key_file, client_ca_file;
};

/* Before informers_start(). NULL with a reason. Everything is copied. */
MUST_CHECK struct tunnel *tunnel_new(struct loop *l, struct client *client, struct informers *informers,
                                     const struct tunnel_config *config, struct err *err);
/* The informers have their first list. */
void tunnel_synced(struct tunnel *t);
/* NULL-safe; returns NULL. */
struct tunnel *tunnel_free(struct tunnel *t);

#endif
