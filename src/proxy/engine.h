/*
 * What a proxy mode is: Services in, one table's messages out. The nftables mode (engine_nftables_new()) does everything in the
 * table; the userspace mode (userspace.h) redirects to ports of its own.
 */
#ifndef PROXY_ENGINE_H
#define PROXY_ENGINE_H

#include "api/gen/core_v1.h"
#include "api/gen/discovery_v1.h"
#include "nft/batch.h"
#include "nft/conntrack.h"
#include "proxy/ruleset.h"

struct engine;

struct engine_ops {
    const char *mode; /* as /proxyMode says it */
    /* As ruleset_set_service(). */
    size_t (*set_service)(struct engine *e, struct str key, const struct core_v1_service *service,
                          const struct discovery_v1_endpoint_slice *const *slices, size_t n_slices);
    /* True if it is another than before: then all Services are to be set again. */
    bool (*set_zone)(struct engine *e, struct str zone);
    /* Services that wait for what is free now: 'fn' with each key. */
    void (*take_waiting)(struct engine *e, void (*fn)(void *data, struct str key), void *data);
    /* All tables of these families anew ('all'; the old ones are deleted in the same transaction), or what changed. False:
     * nothing changed. */
    bool (*write)(struct engine *e, struct nft_batch *x, bool all);
    bool (*take_udp_changed)(struct engine *e);
    bool (*is_good)(const struct engine *e, const struct conntrack_flow *f, bool is_local);
    bool (*next_health)(const struct engine *e, size_t *pos, struct ruleset_health *ret);
    void (*stats)(const struct engine *e, struct ruleset_stats *ret);
    void (*free)(struct engine *e);
};

struct engine {
    const struct engine_ops *ops;
};

/* Where a tracked connection goes: its first destination's address, and whether something rewrote it. */
static inline bool flow_is_rewritten(const struct conntrack_flow *f, struct proxy_addr *ret_to)
{
    memcpy(ret_to->b, f->destination, sizeof(f->destination));
    return memcmp(f->replier, f->destination, sizeof(f->replier)) != 0 || f->replier_port != f->destination_port;
}

/* One ruleset for each family that is configured ('tables[i].family' 0: not this one). */
struct engine *engine_nftables_new(const struct proxy_table_config tables[2], struct str node);

#endif
