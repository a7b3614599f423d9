/* A tunnel to one node, whatever it is made of, and what is told about it. */
#ifndef TUNNEL_LINK_H
#define TUNNEL_LINK_H

#include "tunnel/far.h"

enum tunnel_state {
    TUNNEL_WAITING,    /* until the next try, or for the node to call (reverse) */
    TUNNEL_CONNECTING, /* TCP, key exchange, keys */
    TUNNEL_OPEN,
};

/* What /paths and the log say. Texts are bounded copies. */
struct tunnel_facts {
    enum tunnel_state state;
    int64_t since;           /* seconds since 1970: when the state began */
    char address[160];       /* dialled, or where the node called from */
    char identity[160];      /* SSH: fingerprint of the host key; reverse: the certificate's subject */
    const char *trust;       /* "pinned", "annotation", "certificate", or "" before it was seen */
    char last_error[256];
    char kubelet[256];       /* "" when it answers through the tunnel, or why not */
    unsigned streams;
    uint64_t bytes_in, bytes_out; /* from and to the node, payload of streams */
    uint64_t opened, failed;      /* tries */
};

struct tunnel_link;

struct tunnel_link_ops {
    const char *kind; /* "ssh" or "reverse" */
    /* Opens a stream to host:port as the node sees it. NULL with the reason when there is no open tunnel or no room. */
    struct tunnel_far *(*open)(struct tunnel_link *l, struct str host, uint16_t port, const struct tunnel_far_events *events,
                               void *arg, struct err *err);
    /* Brings what is counted elsewhere into 'facts'; may be NULL. */
    void (*refresh)(struct tunnel_link *l);
    void (*free)(struct tunnel_link *l);
};

struct tunnel_link {
    const struct tunnel_link_ops *ops;
    struct tunnel_facts facts;
};

/* NULL-safe; returns NULL. Every stream of it ends with on_refused or on_close. */
static inline struct tunnel_link *tunnel_link_free(struct tunnel_link *l)
{
    if (l) {
        l->ops->free(l);
    }
    return NULL;
}

#endif
