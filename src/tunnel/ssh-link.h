/*
 * An SSH session to one node on the loop (libssh, never blocking), and its direct-tcpip channels as far ends.
 *
 * It connects by itself, again after a failure (back-off and jitter), and shows that it lives by probing the kubelet's port. The host
 * key is checked before the client key is used.
 */
#ifndef TUNNEL_SSH_LINK_H
#define TUNNEL_SSH_LINK_H

#include "net/loop.h"
#include "tunnel/known-hosts.h"
#include "tunnel/link.h"

struct ssh_lib;
struct ssh_key_struct;

/* What all SSH links of the process share. */
struct ssh_links {
    struct loop *loop;
    const struct ssh_lib *lib;
    struct ssh_key_struct *key;
    struct known_hosts *known_hosts; /* NULL: no file */
    bool annotation_keys;
    char user[64];
    uint16_t port;
    uint32_t probe_ms, probe_answer_ms; /* 0: as in limits.h */
    size_t max_held;                    /* 0: TUNNEL_MAX_HELD */
    unsigned handshakes; /* under way */
    size_t held;         /* bytes that slow readers make us hold */
};

struct ssh_target {
    struct str address;          /* what is dialled; empty: the node has none, and says so */
    struct str names[4];         /* further names that known_hosts may have the node under */
    size_t n_names;
    struct str kubelet_host;     /* of the probe, as the node sees it */
    uint16_t kubelet_port;       /* 0: unknown */
    struct str annotation;       /* keys, a line each; empty: none */
};

/* Once, before the first link. */
void ssh_links_start(struct ssh_links *shared);
/* 'node' is for the log. Never NULL; connects when it has a target. */
struct tunnel_link *ssh_link_new(struct ssh_links *shared, struct str node);
/* What kept it from opening may be over (other host keys are known): it does not wait for its back-off. */
void ssh_link_try_now(struct tunnel_link *l);
/* Copies. A new address connects anew; the first annotation that was seen stays in force. */
void ssh_link_set_target(struct tunnel_link *l, const struct ssh_target *target);

#endif
