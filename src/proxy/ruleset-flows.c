#include "proxy/ruleset-private.h"

#include <netinet/in.h>

bool ruleset_take_udp_changed(struct ruleset *rs)
{
    bool changed = rs->udp_changed;
    rs->udp_changed = false;
    return changed;
}

static bool leads_to(const struct ruleset *rs, const struct proxy_chain *c, const struct proxy_endpoint *e)
{
    if (c->kind == CHAIN_FIREWALL) {
        const struct firewall *f = map_get(&rs->firewalls, rules_bytes(&c->n, 4));
        return f && leads_to(rs, &f->f.to, e);
    }
    if (c->kind == CHAIN_LIST || c->kind == CHAIN_LIST_MASQ || c->kind == CHAIN_LIST_LOCAL) {
        const struct list_state *all = map_get(&rs->lists, rules_bytes(&c->n, 4));
        const struct list_state *local =
            c->n_local ? map_get(&rs->lists, rules_bytes(&c->n_local, 4)) : NULL;
        return (all && rules_contains(all->want.endpoints, all->want.n, e)) ||
               (local && rules_contains(local->want.endpoints, local->want.n, e));
    }
    return false;
}

bool ruleset_connection_is_good(const struct ruleset *rs, uint8_t protocol, const struct proxy_addr *addr,
                                uint16_t port, bool is_local, const struct proxy_endpoint *endpoint)
{
    struct wish by_ip = { .place = PLACE_IP }, by_port = { .place = PLACE_PORT };
    rules_key_port(&by_ip, rs->config.table.family, addr, protocol, port);
    rules_key_port(&by_port, rs->config.table.family, NULL, protocol, port);
    const struct element *x = rules_find(rs, &by_ip);
    if (!x && is_local) {
        x = rules_find(rs, &by_port);
    }
    if (!x) {
        return true;
    }
    return endpoint && (rules_contains(x->want->endpoints, (size_t)x->want->n_all + x->want->n_local, endpoint) ||
                        leads_to(rs, &x->want->chain, endpoint));
}
