/*
 * The userspace mode's table: which addresses and node ports are redirected to which ports of the host, and the difference to what is
 * there already. An engine: no I/O. One for each family.
 *
 * Only what the table redirected reaches these ports: whoever names them directly is dropped.
 */
#ifndef PROXY_REDIRECTS_H
#define PROXY_REDIRECTS_H

#include "base/list.h"
#include "nft/batch.h"
#include "proxy/addr.h"
#include "proxy/table.h"

struct redirects;

enum redirect_kind {
    REDIRECT_ADDRESS,    /* address . protocol . port : port of the host */
    REDIRECT_NODEPORT,   /* protocol . port : port of the host; on addresses of the node */
    REDIRECT_PROXY_PORT, /* protocol . port: one of ours */
    REDIRECT_CLUSTER_IP, /* address: its other ports answer unreachable */
    REDIRECT_KINDS
};

struct redirect {
    enum redirect_kind kind;
    struct proxy_addr addr; /* zeros where it has none */
    uint8_t protocol;
    uint16_t port; /* network order */
    uint16_t to;   /* host order; 0 where nothing is redirected */
};

/* What one Service has claimed. Zeroed to begin with. */
struct redirect_owner {
    struct list claims;
};

/* 'bind': where the ports of the host are; zeros: on all addresses. */
struct redirects *redirects_new(const struct proxy_table_config *table, const struct proxy_addr *bind);
/* NULL-safe. */
struct redirects *redirects_free(struct redirects *r);
void redirects_owner_init(struct redirect_owner *o);
/* Between begin and end come all claims of the owner; what it does not claim again is released. */
void redirects_begin(struct redirects *r, struct redirect_owner *o);
/* False: another owner has it. */
MUST_CHECK bool redirects_claim(struct redirects *r, struct redirect_owner *o, const struct redirect *what);
/* True: something was released that others may wait for. */
bool redirects_end(struct redirects *r, struct redirect_owner *o);

/* As ruleset_write_changes() and ruleset_write_all(). */
bool redirects_write_changes(struct redirects *r, struct nft_batch *x);
void redirects_write_all(struct redirects *r, struct nft_batch *x);
bool redirects_take_udp_changed(struct redirects *r);
/* Is a tracked connection to this address and port good, that was redirected to 'to' (host order; 0: it was not)? */
bool redirects_is_good(const struct redirects *r, uint8_t protocol, const struct proxy_addr *addr, uint16_t port, bool is_local,
                       uint16_t to);
size_t redirects_count(const struct redirects *r);

#endif
