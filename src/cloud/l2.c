#include "cloud/l2.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/map.h"
#include "base/metrics.h"
#include "cloud/limits.h"

#define LINK_PREFIXES 16
/* Frames of one turn: the loop has other work, too. */
#define FRAMES_PER_TURN 64

static struct metric answers = METRIC_COUNTER("bare_metal_answers_total", "Questions for load balancers' addresses that were answered.", "protocol");
static struct metric announcements = METRIC_COUNTER("bare_metal_announcements_total", "Frames that told everybody of a load balancer's address.", "protocol");
static struct metric conflicts = METRIC_COUNTER("bare_metal_conflicts_total", "Claims of other machines to addresses that this node stood for.");

struct link {
    int index;
    char name[IF_NAMESIZE];
    struct l2_mac mac;
    struct ip_prefix prefixes[LINK_PREFIXES];
    size_t n_prefixes;
};

/* An address that is stood for. */
struct stand {
    struct ip ip;
    char names[CLOUD_POOL_INTERFACES][IF_NAMESIZE];
    size_t n_names;
    int joined[CLOUD_LINKS_MAX]; /* links whose group we are in (IPv6) */
    size_t n_joined;
    uint64_t defended_ms;
};

struct l2 {
    struct loop *loop;
    const struct l2_ops *ops;
    void *data;
    int arp, nd, groups; /* groups: a socket that is a member of IPv6 groups */
    struct loop_io arp_io, nd_io;
    struct link links[CLOUD_LINKS_MAX];
    size_t n_links;
    bool full_said;
    struct map stands; /* address as text -> struct stand */
    uint64_t second;
    unsigned answered; /* in that second */
};

/* ---- links ---- */

static struct link *link_named(struct l2 *l, const char *name)
{
    for (size_t i = 0; i < l->n_links; i++) {
        if (strcmp(l->links[i].name, name) == 0) {
            return &l->links[i];
        }
    }
    return NULL;
}

static struct link *link_of_index(struct l2 *l, int index)
{
    for (size_t i = 0; i < l->n_links; i++) {
        if (l->links[i].index == index) {
            return &l->links[i];
        }
    }
    return NULL;
}

static void add_link(struct l2 *l, const struct ifaddrs *i)
{
    const struct sockaddr_ll *ll = (const struct sockaddr_ll *)(const void *)i->ifa_addr;
    if (ll->sll_hatype != ARPHRD_ETHER || ll->sll_halen != 6 || (i->ifa_flags & (IFF_UP | IFF_NOARP | IFF_LOOPBACK)) != IFF_UP) {
        return;
    }
    if (l->n_links == CLOUD_LINKS_MAX) {
        if (!l->full_said) {
            log_warning("there are more than %d links: load balancers' addresses are stood for on the first alone", CLOUD_LINKS_MAX);
        }
        l->full_said = true;
        return;
    }
    struct link *k = &l->links[l->n_links++];
    *k = (struct link){ .index = ll->sll_ifindex };
    snprintf(k->name, sizeof(k->name), "%s", i->ifa_name);
    memcpy(k->mac.b, ll->sll_addr, 6);
}

static unsigned ones(const uint8_t *p, size_t n)
{
    unsigned bits = 0;
    for (size_t i = 0; i < n; i++) {
        bits += (unsigned)__builtin_popcount(p[i]);
    }
    return bits;
}

static void add_prefix(struct l2 *l, const struct ifaddrs *i)
{
    struct link *k = link_named(l, i->ifa_name);
    struct ip_prefix p = { .bits = 0 };
    char text[IP_TEXT_SIZE + 8], addr[IP_TEXT_SIZE];
    if (!k || !i->ifa_netmask || k->n_prefixes == LINK_PREFIXES) {
        return;
    }
    if (i->ifa_addr->sa_family == AF_INET) {
        p.net.family = 4;
        memcpy(p.net.b, &((const struct sockaddr_in *)(const void *)i->ifa_addr)->sin_addr, 4);
        p.bits = ones((const uint8_t *)&((const struct sockaddr_in *)(const void *)i->ifa_netmask)->sin_addr, 4);
    } else {
        p.net.family = 6;
        memcpy(p.net.b, &((const struct sockaddr_in6 *)(const void *)i->ifa_addr)->sin6_addr, 16);
        p.bits = ones((const uint8_t *)&((const struct sockaddr_in6 *)(const void *)i->ifa_netmask)->sin6_addr, 16);
    }
    snprintf(text, sizeof(text), "%s/%u", ip_text(&p.net, addr).ptr, p.bits);
    /* A host's own address alone (a /32) says nothing of the link. */
    if (p.bits < ip_len(&p.net) * 8 && ip_prefix_parse(str_c(text), true, &k->prefixes[k->n_prefixes])) {
        k->n_prefixes++;
    }
}

static bool is_named(const struct link *k, const struct str *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq_c(names[i], k->name)) {
            return true;
        }
    }
    return false;
}

static bool is_of(const struct link *k, const struct ip *ip)
{
    for (size_t i = 0; i < k->n_prefixes; i++) {
        if (ip_prefix_has(&k->prefixes[i], ip)) {
            return true;
        }
    }
    return false;
}

static bool carries(const struct link *k, const struct stand *s)
{
    struct str names[CLOUD_POOL_INTERFACES];
    for (size_t i = 0; i < s->n_names; i++) {
        names[i] = str_c(s->names[i]);
    }
    return s->n_names ? is_named(k, names, s->n_names) : is_of(k, &s->ip);
}

bool l2_has_link(const struct l2 *l, const struct ip *ip, const struct str *names, size_t n_names)
{
    for (size_t i = 0; i < l->n_links; i++) {
        if (n_names ? is_named(&l->links[i], names, n_names) : is_of(&l->links[i], ip)) {
            return true;
        }
    }
    return false;
}

/* ---- IPv6 groups ---- */

static bool is_joined(const struct stand *s, int index)
{
    for (size_t i = 0; i < s->n_joined; i++) {
        if (s->joined[i] == index) {
            return true;
        }
    }
    return false;
}

/* Questions for an IPv6 address go to a group: the link must hear it, and switches must know that we listen. */
static void join(struct l2 *l, struct stand *s)
{
    for (size_t i = 0; s->ip.family == 6 && i < l->n_links; i++) {
        const struct link *k = &l->links[i];
        if (carries(k, s) && !is_joined(s, k->index) && s->n_joined < CLOUD_LINKS_MAX) {
            struct ip group = l2_solicited_node(&s->ip);
            struct ipv6_mreq m = { .ipv6mr_interface = (unsigned)k->index };
            memcpy(&m.ipv6mr_multiaddr, group.b, 16);
            /* EADDRINUSE: another address has the same group. */
            if (setsockopt(l->groups, IPPROTO_IPV6, IPV6_JOIN_GROUP, &m, sizeof(m)) < 0 && errno != EADDRINUSE) {
                struct packet_mreq p = { .mr_ifindex = k->index, .mr_type = PACKET_MR_MULTICAST, .mr_alen = 6,
                                         .mr_address = { 0x33, 0x33, group.b[12], group.b[13], group.b[14], group.b[15] } };
                log_warning("%s: cannot join the group of an IPv6 address (%s): switches that look at membership may hide it", k->name,
                            strerror(errno));
                (void)setsockopt(l->nd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &p, sizeof(p));
            }
            s->joined[s->n_joined++] = k->index;
        }
    }
}

static bool shares_group(const struct l2 *l, const struct stand *s, int index)
{
    struct str key;
    void *value;
    for (size_t pos = 0; map_next(&l->stands, &pos, &key, &value);) {
        const struct stand *other = value;
        if (other != s && other->ip.family == 6 && memcmp(other->ip.b + 13, s->ip.b + 13, 3) == 0 && is_joined(other, index)) {
            return true;
        }
    }
    return false;
}

static void leave_groups(struct l2 *l, struct stand *s)
{
    for (size_t i = 0; i < s->n_joined; i++) {
        struct ip group = l2_solicited_node(&s->ip);
        struct ipv6_mreq m = { .ipv6mr_interface = (unsigned)s->joined[i] };
        memcpy(&m.ipv6mr_multiaddr, group.b, 16);
        if (!shares_group(l, s, s->joined[i])) {
            (void)setsockopt(l->groups, IPPROTO_IPV6, IPV6_LEAVE_GROUP, &m, sizeof(m));
        }
    }
    s->n_joined = 0;
}

void l2_refresh(struct l2 *l)
{
    struct ifaddrs *all = NULL;
    struct str key;
    void *value;
    if (getifaddrs(&all) < 0) {
        log_warning("links cannot be read: %s", strerror(errno));
        return;
    }
    l->n_links = 0;
    for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
        if (i->ifa_addr && i->ifa_addr->sa_family == AF_PACKET) {
            add_link(l, i);
        }
    }
    for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
        if (i->ifa_addr && (i->ifa_addr->sa_family == AF_INET || i->ifa_addr->sa_family == AF_INET6)) {
            add_prefix(l, i);
        }
    }
    freeifaddrs(all);
    for (size_t pos = 0; map_next(&l->stands, &pos, &key, &value);) {
        struct stand *s = value;
        for (size_t i = 0; i < s->n_joined;) {
            bool there = link_of_index(l, s->joined[i]) != NULL;
            s->joined[i] = there ? s->joined[i] : s->joined[s->n_joined - 1];
            s->n_joined -= !there;
            i += there;
        }
        join(l, s);
    }
}

/* ---- frames ---- */

static void send_frame(struct l2 *l, const struct link *k, const struct ip *ip, const uint8_t *frame, size_t len)
{
    struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = k->index, .sll_halen = 6,
                              .sll_protocol = htons(ip->family == 4 ? ETH_P_ARP : ETH_P_IPV6) };
    memcpy(to.sll_addr, frame, 6);
    if (sendto(ip->family == 4 ? l->arp : l->nd, frame, len, MSG_DONTWAIT, (const struct sockaddr *)&to, sizeof(to)) < 0) {
        log_debug("%s: a frame cannot be sent: %s", k->name, strerror(errno));
    }
}

static struct str protocol(const struct ip *ip)
{
    return ip->family == 4 ? STR("arp") : STR("nd");
}

static void tell_on(struct l2 *l, const struct link *k, const struct ip *ip)
{
    uint8_t frame[L2_FRAME_MAX];
    send_frame(l, k, ip, frame, l2_announce(ip, &k->mac, false, frame));
    if (ip->family == 4) {
        send_frame(l, k, ip, frame, l2_announce(ip, &k->mac, true, frame));
    }
    metric_add(metric_cell(&announcements, protocol(ip)), 1);
}

static struct stand *stand_of(const struct l2 *l, const struct ip *ip)
{
    char text[IP_TEXT_SIZE];
    return ip->family ? map_get(&l->stands, ip_text(ip, text)) : NULL;
}

/* A flood of questions costs no more than its bound. */
static bool may_answer(struct l2 *l)
{
    uint64_t second = loop_now_ms(l->loop) / 1000;
    if (second != l->second) {
        l->second = second;
        l->answered = 0;
    }
    return l->answered++ < CLOUD_ANSWERS_PER_S;
}

static void on_frame(struct l2 *l, const struct link *k, const uint8_t *frame, size_t len)
{
    struct l2_message m;
    uint8_t out[L2_FRAME_MAX];
    if (!l2_parse(frame, len, &m)) {
        return;
    }
    bool own = memcmp(m.sender.b, k->mac.b, 6) == 0;
    struct stand *asked = stand_of(l, &m.asked), *claimed = stand_of(l, &m.claimed);
    if (asked && !own && carries(k, asked) && may_answer(l)) {
        send_frame(l, k, &asked->ip, out, l2_answer(&m, &k->mac, out));
        metric_add(metric_cell(&answers, protocol(&asked->ip)), 1);
    }
    if (claimed && !own && carries(k, claimed) && l->ops->claimed(l->data, &m.claimed)) {
        uint64_t now = loop_now_ms(l->loop);
        metric_add(metric_cell(&conflicts), 1);
        if (!claimed->defended_ms || now - claimed->defended_ms >= CLOUD_DEFEND_MS) {
            claimed->defended_ms = now;
            tell_on(l, k, &claimed->ip);
            l->ops->conflict(l->data, &claimed->ip, &m.sender, k->name);
        }
    }
}

/* One frame. False when there is none. */
static bool read_frame(struct l2 *l, int fd)
{
    uint8_t frame[512];
    union {
        struct cmsghdr h;
        char room[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
    } control;
    struct sockaddr_ll from;
    struct iovec v = { frame, sizeof(frame) };
    struct msghdr m = { .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &v, .msg_iovlen = 1,
                        .msg_control = &control, .msg_controllen = sizeof(control) };
    ssize_t n = recvmsg(fd, &m, MSG_DONTWAIT);
    if (n < 0) {
        return errno == EINTR || errno == ENETDOWN;
    }
    const struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    struct tpacket_auxdata aux = { 0 };
    if (c && c->cmsg_level == SOL_PACKET && c->cmsg_type == PACKET_AUXDATA) {
        memcpy(&aux, CMSG_DATA(c), sizeof(aux));
    }
    const struct link *k = link_of_index(l, from.sll_ifindex);
    /* Our own frames, and those of a VLAN that has a link of its own, are not for us here. */
    if (k && from.sll_pkttype != PACKET_OUTGOING && !(aux.tp_status & TP_STATUS_VLAN_VALID)) {
        on_frame(l, k, frame, (size_t)n);
    }
    return true;
}

static void on_readable(struct loop_io *io, unsigned events, void *arg)
{
    (void)events;
    for (int i = 0; i < FRAMES_PER_TURN && read_frame(arg, io->fd); i++) {
    }
}

/* ---- life ---- */

/* Of all IPv6 frames, solicitations and advertisements alone wake this process. */
static bool filter_nd(int fd)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 14 + 6),      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_ICMPV6, 0, 4),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 14 + 40),     BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 135, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 136, 0, 1),  BPF_STMT(BPF_RET | BPF_K, 512),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog program = { .len = ARRAY_SIZE(code), .filter = code };
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0;
}

/* Bound after it was set up, so that no other frame gets in before. */
static int open_packets(int type, bool nd, struct err *err)
{
    int one = 1, fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_ll all = { .sll_family = AF_PACKET, .sll_protocol = htons((uint16_t)type) };
    if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &one, sizeof(one)) < 0 || (nd && !filter_nd(fd)) ||
        bind(fd, (const struct sockaddr *)&all, sizeof(all)) < 0) {
        err_set_errno(err, errno, "cannot open a packet socket");
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    return fd;
}

struct l2 *l2_new(struct loop *loop, const struct l2_ops *ops, void *data, struct err *err)
{
    struct l2 *l = calloc(1, sizeof(*l));
    if (!l) {
        abort();
    }
    l->loop = loop;
    l->ops = ops;
    l->data = data;
    map_init(&l->stands);
    l->nd = l->groups = -1;
    l->arp = open_packets(ETH_P_ARP, false, err);
    l->nd = l->arp < 0 ? -1 : open_packets(ETH_P_IPV6, true, err);
    if (l->nd < 0) {
        return l2_free(l);
    }
    l->groups = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0); /* -1 on a kernel without IPv6: then there is nothing to join */
    loop_io_init(&l->arp_io, loop, l->arp, on_readable, l);
    loop_io_init(&l->nd_io, loop, l->nd, on_readable, l);
    int status = loop_io_set(&l->arp_io, LOOP_READ);
    status = status ? status : loop_io_set(&l->nd_io, LOOP_READ);
    if (status) {
        err_set_errno(err, -status, "cannot watch a packet socket");
        return l2_free(l);
    }
    l2_refresh(l);
    return l;
}

struct l2 *l2_free(struct l2 *l)
{
    struct str key;
    void *value;
    if (!l) {
        return NULL;
    }
    loop_io_stop(&l->arp_io);
    loop_io_stop(&l->nd_io);
    for (size_t pos = 0; map_next(&l->stands, &pos, &key, &value);) {
        free(value);
    }
    map_deinit(&l->stands);
    int fds[] = { l->arp, l->nd, l->groups };
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    free(l);
    return NULL;
}

void l2_stand(struct l2 *l, const struct ip *ip, const struct str *names, size_t n_names)
{
    char text[IP_TEXT_SIZE];
    if (stand_of(l, ip)) {
        return;
    }
    struct stand *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    s->ip = *ip;
    for (size_t i = 0; i < n_names && s->n_names < CLOUD_POOL_INTERFACES; i++) {
        s->n_names += str_to_cstr(names[i], s->names[s->n_names], IF_NAMESIZE);
    }
    map_put(&l->stands, ip_text(ip, text), s);
    join(l, s);
}

void l2_leave(struct l2 *l, const struct ip *ip)
{
    char text[IP_TEXT_SIZE];
    struct stand *s = stand_of(l, ip);
    if (s) {
        leave_groups(l, s);
        free(map_remove(&l->stands, ip_text(ip, text)));
    }
}

void l2_tell(struct l2 *l, const struct ip *ip)
{
    const struct stand *s = stand_of(l, ip);
    for (size_t i = 0; s && i < l->n_links; i++) {
        if (carries(&l->links[i], s)) {
            tell_on(l, &l->links[i], ip);
        }
    }
}

void l2_ask(struct l2 *l, const struct ip *ip)
{
    const struct stand *s = stand_of(l, ip);
    uint8_t frame[L2_FRAME_MAX];
    for (size_t i = 0; s && i < l->n_links; i++) {
        if (carries(&l->links[i], s)) {
            send_frame(l, &l->links[i], ip, frame, l2_probe(ip, &l->links[i].mac, frame));
        }
    }
}
