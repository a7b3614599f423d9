#include "proxy/ruleset-private.h"

#include <netinet/in.h>

bool ruleset_take_udp_changed(struct ruleset *rs)
{
    bool changed = rs->udp_changed;
    rs->udp_changed = false;
    return changed;
}

static bool leads_to(const struct ruleset *rs, const struct proxy_chain *c, const struct proxy_addr *addr,
                     uint8_t protocol, uint16_t port, const struct proxy_endpoint *e)
{
    if (c->kind == CHAIN_FIREWALL) {
        const struct firewall *f = map_get(&rs->firewalls, rules_bytes(&c->n, 4));
        return f && leads_to(rs, &f->f.to, addr, protocol, port, e);
    }
    if (c->kind == CHAIN_LIST || c->kind == CHAIN_LIST_MASQ || c->kind == CHAIN_LIST_LOCAL) {
        const struct list_state *all = map_get(&rs->lists, rules_bytes(&c->n, 4));
        const struct list_state *local =
            c->n_local ? map_get(&rs->lists, rules_bytes(&c->n_local, 4)) : NULL;
        return (all && rules_contains(all->want.endpoints, all->want.n, e)) ||
               (local && rules_contains(local->want.endpoints, local->want.n, e));
    }
    for (uint32_t i = 0; i < MAX(c->first + c->n, c->n_local); i++) {
        struct wish w = { .set = addr ? SET_ENDPOINTS : SET_PORT_ENDPOINTS };
        rules_key_port(&w, rs->config.table.family, addr, protocol, port);
        rules_key_add(&w, &i, 4);
        const struct element *x = rules_find(rs, &w);
        if (x && memcmp(&x->want.endpoint, e, sizeof(*e)) == 0) {
            return true;
        }
    }
    return false;
}

bool ruleset_connection_is_good(const struct ruleset *rs, uint8_t protocol, const struct proxy_addr *addr,
                                uint16_t port, bool is_local, const struct proxy_endpoint *endpoint)
{
    struct wish by_ip = { .set = SET_SERVICE_IPS }, by_port = { .set = SET_NODEPORTS };
    rules_key_port(&by_ip, rs->config.table.family, addr, protocol, port);
    rules_key_port(&by_port, rs->config.table.family, NULL, protocol, port);
    const struct element *e = rules_find(rs, &by_ip);
    if (e) {
        return endpoint && leads_to(rs, &e->want.chain, addr, protocol, port, endpoint);
    }
    if (is_local && (e = rules_find(rs, &by_port))) {
        return endpoint && leads_to(rs, &e->want.chain, NULL, protocol, port, endpoint);
    }
    by_ip.set = SET_NO_ENDPOINTS;
    by_port.set = SET_NO_ENDPOINT_PORTS;
    if (rules_find(rs, &by_ip) || (is_local && rules_find(rs, &by_port))) {
        return false;
    }
    return true;
}

