#include "proxy/inlet.h"

#include <linux/netfilter.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/relay-private.h"

struct inlet *inlet_new(struct relay *r, uint8_t family, uint8_t protocol, struct str name)
{
    struct inlet *f = calloc(1, sizeof(*f));
    if (!f || !(f->name = strndup(name.ptr, name.len))) {
        abort();
    }
    f->relay = r;
    f->family = family;
    f->protocol = protocol;
    f->fd = -1;
    balancer_init(&f->all);
    balancer_init(&f->local);
    list_init(&f->users);
    map_init(&f->clients);
    return f;
}

struct inlet *inlet_free(struct inlet *f)
{
    if (!f) {
        return NULL;
    }
    if (f->protocol == IPPROTO_UDP) {
        relay_udp_detach(f);
    } else {
        relay_tcp_detach(f);
    }
    loop_timer_stop(&f->timer);
    loop_io_stop(&f->io);
    if (f->fd >= 0) {
        close(f->fd);
        f->relay->n_inlets--;
    }
    balancer_deinit(&f->all);
    balancer_deinit(&f->local);
    map_deinit(&f->clients);
    free(f->sources);
    free(f->name);
    free(f);
    return NULL;
}

bool inlet_open(struct inlet *f, struct err *err)
{
    struct relay *r = f->relay;
    bool udp = f->protocol == IPPROTO_UDP;
    f->fd = port_open(&r->config.range, f->family, &r->config.bind[f->family == NFPROTO_IPV6], f->protocol, &f->port, err);
    if (f->fd < 0) {
        return false;
    }
    r->n_inlets++;
    loop_io_init(&f->io, r->loop, f->fd, udp ? relay_udp_ready : relay_tcp_ready, f);
    loop_timer_init(&f->timer, r->loop, udp ? relay_udp_expire : relay_tcp_resume, f);
    int e = loop_io_set(&f->io, LOOP_READ);
    if (e < 0) {
        close(f->fd);
        f->fd = -1;
        r->n_inlets--;
        return err_set_errno(err, -e, "cannot watch a proxy port");
    }
    return true;
}

void inlet_set_sources(struct inlet *f, struct proxy_cidr *sources, size_t n, bool limited)
{
    free(f->sources);
    f->sources = sources;
    f->n_sources = n;
    f->limited = limited;
}

bool inlet_admits(const struct inlet *f, const struct proxy_addr *client)
{
    for (size_t i = 0; i < f->n_sources && f->limited; i++) {
        if (proxy_cidr_contains(&f->sources[i], client)) {
            return true;
        }
    }
    return !f->limited;
}

bool inlet_choose(struct inlet *f, const struct proxy_addr *client, bool from_node, bool again, struct proxy_endpoint *ret)
{
    bool insider = from_node || (f->pods && proxy_cidr_contains(f->pods, client));
    bool local = f->policy == INLET_LOCAL || (f->policy == INLET_LOCAL_FOR_OUTSIDERS && !insider);
    return balancer_next(local ? &f->local : &f->all, loop_now_ms(f->relay->loop), client, again, ret);
}
