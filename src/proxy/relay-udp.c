#include "proxy/relay-private.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/metrics.h"

static struct metric metric_datagrams =
    METRIC_COUNTER("kubeproxy_userspace_datagrams_total", "Datagrams that were passed on, and those that were not.", "result");
static struct metric metric_clients = METRIC_GAUGE("kubeproxy_userspace_udp_clients", "UDP clients that have a socket.");

/* Who sends, and which address of ours that came to: answers leave from there. */
struct key {
    struct proxy_addr client, here;
    uint32_t interface; /* of link-local clients */
    uint16_t port, zero;
};

struct client {
    struct list link; /* the inlet's, in the order of use */
    struct inlet *inlet;
    struct key key;
    int fd; /* connected to the endpoint */
    struct loop_io io;
    uint64_t used_ms;
};

union control {
    char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(struct in_pktinfo))];
    struct cmsghdr align;
};

static char datagram[65536]; /* of the loop's thread; nothing is kept in it */

static struct str key_str(const struct key *k)
{
    return str_n((const char *)k, sizeof(*k));
}

static void count(const char *result)
{
    metric_add(metric_cell(&metric_datagrams, str_c(result)), 1);
}

static void forget(struct client *c)
{
    struct inlet *f = c->inlet;
    loop_io_stop(&c->io);
    close(c->fd);
    map_remove(&f->clients, key_str(&c->key));
    list_remove(&c->link);
    f->n_users--;
    f->relay->n_clients--;
    metric_set(metric_cell(&metric_clients), (double)f->relay->n_clients);
    free(c);
}

static void used(struct client *c)
{
    c->used_ms = loop_now_ms(c->inlet->relay->loop);
    list_remove(&c->link);
    list_push_back(&c->inlet->users, &c->link);
}

void relay_udp_expire(void *arg)
{
    struct inlet *f = arg;
    uint64_t now = loop_now_ms(f->relay->loop), most = f->relay->config.udp_timeout_ms;
    while (!list_empty(&f->users)) {
        struct client *c = LIST_ENTRY(f->users.next, struct client, link);
        if (now - c->used_ms < most) {
            loop_timer_start_at(&f->timer, c->used_ms + most);
            return;
        }
        forget(c);
    }
}

/* ---- answers ---- */

static bool send_back(const struct client *c, size_t n)
{
    struct inlet *f = c->inlet;
    struct sockaddr_storage sa;
    socklen_t len = proxy_addr_to_sockaddr(f->family, &c->key.client, c->key.port, &sa);
    union control control = { 0 };
    struct iovec iov = { .iov_base = datagram, .iov_len = n };
    bool v6 = f->family == NFPROTO_IPV6;
    struct msghdr m = { .msg_name = &sa,
                        .msg_namelen = len,
                        .msg_iov = &iov,
                        .msg_iovlen = 1,
                        .msg_control = control.bytes,
                        .msg_controllen = v6 ? CMSG_SPACE(sizeof(struct in6_pktinfo)) : CMSG_SPACE(sizeof(struct in_pktinfo)) };
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    if (v6) {
        struct in6_pktinfo info = { .ipi6_ifindex = c->key.interface };
        memcpy(&info.ipi6_addr, c->key.here.b, 16);
        *h = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(info)), .cmsg_level = IPPROTO_IPV6, .cmsg_type = IPV6_PKTINFO };
        memcpy(CMSG_DATA(h), &info, sizeof(info));
    } else {
        struct in_pktinfo info = { 0 };
        memcpy(&info.ipi_spec_dst, c->key.here.b, 4);
        *h = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(info)), .cmsg_level = IPPROTO_IP, .cmsg_type = IP_PKTINFO };
        memcpy(CMSG_DATA(h), &info, sizeof(info));
    }
    return sendmsg(f->fd, &m, MSG_DONTWAIT) >= 0;
}

static void on_answer(struct loop_io *io UNUSED, unsigned events UNUSED, void *arg)
{
    struct client *c = arg;
    for (int i = 0; i < RELAY_TURN_DATAGRAMS; i++) {
        ssize_t n = recv(c->fd, datagram, sizeof(datagram), MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) {
            break;
        }
        if (n < 0 && errno != EINTR) {
            forget(c); /* nobody listens there (any more): the next datagram may find another endpoint */
            return;
        }
        if (n >= 0) {
            count(send_back(c, (size_t)n) ? "to_client" : "lost");
        }
    }
    used(c);
}

/* ---- to the endpoint ---- */

static struct client *admit(struct inlet *f, const struct key *k)
{
    struct relay *r = f->relay;
    struct sockaddr_storage sa;
    struct proxy_endpoint to;
    bool v6 = f->family == NFPROTO_IPV6;
    bool from_node = proxy_addr_is_loopback(f->family, &k->here) || memcmp(&k->here, &k->client, sizeof(k->here)) == 0;
    if (!inlet_admits(f, &k->client)) {
        count("not_allowed");
        return NULL;
    }
    if (r->n_clients >= r->most_clients || f->n_users >= r->most_clients / RELAY_SHARE) {
        if (list_empty(&f->users)) {
            count("limit");
            return NULL;
        }
        forget(LIST_ENTRY(f->users.next, struct client, link));
    }
    if (!inlet_choose(f, &k->client, from_node, false, &to)) {
        count("no_endpoints");
        return NULL;
    }
    struct client *c = calloc(1, sizeof(*c));
    if (!c) {
        abort();
    }
    c->inlet = f;
    c->key = *k;
    socklen_t len = proxy_addr_to_sockaddr(f->family, &to.addr, to.port, &sa);
    c->fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    loop_io_init(&c->io, r->loop, c->fd, on_answer, c);
    if (c->fd < 0 || connect(c->fd, (const struct sockaddr *)&sa, len) < 0 || loop_io_set(&c->io, LOOP_READ) < 0) {
        if (c->fd >= 0) {
            close(c->fd);
        }
        free(c);
        count("limit");
        return NULL;
    }
    list_init(&c->link);
    map_put(&f->clients, key_str(&c->key), c);
    f->n_users++;
    r->n_clients++;
    metric_set(metric_cell(&metric_clients), (double)r->n_clients);
    return c;
}

/* Where it was sent to. */
static void read_here(struct msghdr *m, struct key *k, const struct sockaddr_storage *from)
{
    for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
        if (h->cmsg_level == IPPROTO_IPV6 && h->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(h), sizeof(info));
            memcpy(k->here.b, &info.ipi6_addr, 16);
            k->interface = from->ss_family == AF_INET6 && k->client.b[0] == 0xfe ? info.ipi6_ifindex : 0;
        } else if (h->cmsg_level == IPPROTO_IP && h->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(h), sizeof(info));
            memcpy(k->here.b, &info.ipi_addr, 4);
        }
    }
}

void relay_udp_ready(struct loop_io *io UNUSED, unsigned events UNUSED, void *arg)
{
    struct inlet *f = arg;
    for (int i = 0; i < RELAY_TURN_DATAGRAMS; i++) {
        struct sockaddr_storage sa;
        union control control;
        struct key k = { 0 };
        uint8_t family;
        struct iovec iov = { .iov_base = datagram, .iov_len = sizeof(datagram) };
        struct msghdr m = { .msg_name = &sa,
                            .msg_namelen = sizeof(sa),
                            .msg_iov = &iov,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = sizeof(control) };
        ssize_t n = recvmsg(f->fd, &m, MSG_DONTWAIT);
        if (n < 0) {
            return;
        }
        if (!proxy_addr_of_sockaddr((const struct sockaddr *)&sa, &family, &k.client, &k.port)) {
            continue;
        }
        read_here(&m, &k, &sa);
        struct client *c = map_get(&f->clients, key_str(&k));
        if (!c && !(c = admit(f, &k))) {
            continue;
        }
        bool sent = send(c->fd, datagram, (size_t)n, MSG_DONTWAIT) == n;
        if (!sent && errno == ECONNREFUSED) {
            /* That is about an earlier one; this one goes to the next endpoint. */
            forget(c);
            if (!(c = admit(f, &k))) {
                continue;
            }
            sent = send(c->fd, datagram, (size_t)n, MSG_DONTWAIT) == n;
        }
        count(sent ? "to_endpoint" : "lost");
        used(c);
        if (!loop_timer_runs(&f->timer)) {
            loop_timer_start(&f->timer, f->relay->config.udp_timeout_ms);
        }
    }
}

void relay_udp_detach(struct inlet *f)
{
    while (!list_empty(&f->users)) {
        forget(LIST_ENTRY(f->users.next, struct client, link));
    }
}
