#include "net/rtnl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <unistd.h>

#include "base/fs.h"

/* Enters 'netns' and returns a descriptor of the namespace to go back to, or -1. */
static int enter(int netns, struct err *err)
{
    int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (own < 0) {
        err_set_errno(err, errno, "cannot open the own network namespace");
        return -1;
    }
    if ((netns >= 0 ? setns(netns, CLONE_NEWNET) : unshare(CLONE_NEWNET)) < 0) {
        err_set_errno(err, errno, "cannot enter a network namespace");
        close(own);
        return -1;
    }
    return own;
}

static void leave(int own)
{
    if (setns(own, CLONE_NEWNET) < 0) {
        abort(); /* going on in a namespace of somebody else's would be worse */
    }
    close(own);
}

bool rtnl_open(struct rtnl *r, int netns, struct err *err)
{
    int own = -1;
    *r = (struct rtnl){ .nl = NULL };
    if (netns >= 0 && (own = enter(netns, err)) < 0) {
        return false;
    }
    r->nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
    int e = errno;
    if (own >= 0) {
        leave(own);
    }
    if (!r->nl || mnl_socket_bind(r->nl, 0, MNL_SOCKET_AUTOPID) < 0) {
        err_set_errno(err, r->nl ? errno : e, "cannot open a netlink socket");
        rtnl_close(r);
        return false;
    }
    return true;
}

void rtnl_close(struct rtnl *r)
{
    if (r && r->nl) {
        mnl_socket_close(r->nl);
        r->nl = NULL;
    }
}

/* Sends one request and waits for its acknowledgement. Returns 0 or -errno. */
static int talk(struct rtnl *r, struct nlmsghdr *h)
{
    char answer[8192];
    h->nlmsg_seq = ++r->seq;
    h->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
    if (mnl_socket_sendto(r->nl, h, h->nlmsg_len) < 0) {
        return -errno;
    }
    for (;;) {
        ssize_t n = mnl_socket_recvfrom(r->nl, answer, sizeof(answer));
        if (n < 0) {
            return -errno;
        }
        int status = mnl_cb_run(answer, (size_t)n, r->seq, mnl_socket_get_portid(r->nl), NULL, NULL);
        if (status < 0) {
            return -errno;
        }
        if (status == MNL_CB_STOP) {
            return 0;
        }
    }
}

static struct nlmsghdr *start_link(char *room, uint16_t type, uint16_t flags, const char *name, unsigned up)
{
    struct nlmsghdr *h = mnl_nlmsg_put_header(room);
    h->nlmsg_type = type;
    h->nlmsg_flags = flags;
    struct ifinfomsg *info = mnl_nlmsg_put_extra_header(h, sizeof(*info));
    info->ifi_family = AF_UNSPEC;
    info->ifi_flags = up;
    info->ifi_change = up;
    if (name) {
        mnl_attr_put_strz(h, IFLA_IFNAME, name);
    }
    return h;
}

bool rtnl_add_bridge(struct rtnl *r, const char *name, struct err *err)
{
    char room[1024] __attribute__((aligned(8)));
    struct nlmsghdr *h = start_link(room, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, name, 0);
    struct nlattr *info = mnl_attr_nest_start(h, IFLA_LINKINFO);
    mnl_attr_put_strz(h, IFLA_INFO_KIND, "bridge");
    mnl_attr_nest_end(h, info);
    int status = talk(r, h);
    return status == 0 || err_set_errno(err, -status, "cannot make bridge %s", name);
}

bool rtnl_add_veth(struct rtnl *r, const char *name, const char *peer, int peer_netns, struct err *err)
{
    char room[2048] __attribute__((aligned(8)));
    struct nlmsghdr *h = start_link(room, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, name, 0);
    struct nlattr *info = mnl_attr_nest_start(h, IFLA_LINKINFO);
    mnl_attr_put_strz(h, IFLA_INFO_KIND, "veth");
    struct nlattr *data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
    struct nlattr *other = mnl_attr_nest_start(h, VETH_INFO_PEER);
    mnl_nlmsg_put_extra_header(h, sizeof(struct ifinfomsg));
    mnl_attr_put_strz(h, IFLA_IFNAME, peer);
    mnl_attr_put_u32(h, IFLA_NET_NS_FD, (uint32_t)peer_netns);
    mnl_attr_nest_end(h, other);
    mnl_attr_nest_end(h, data);
    mnl_attr_nest_end(h, info);
    int status = talk(r, h);
    return status == 0 || err_set_errno(err, -status, "cannot make the link %s", name);
}

/* The kernel's number of a link, in the namespace of the socket; 0 when there is none. */
static uint32_t index_of(struct rtnl *r, const char *name)
{
    char room[1024] __attribute__((aligned(8))), answer[16384];
    struct nlmsghdr *h = start_link(room, RTM_GETLINK, 0, name, 0);
    h->nlmsg_seq = ++r->seq;
    h->nlmsg_flags |= NLM_F_REQUEST;
    if (mnl_socket_sendto(r->nl, h, h->nlmsg_len) < 0) {
        return 0;
    }
    ssize_t n = mnl_socket_recvfrom(r->nl, answer, sizeof(answer));
    const struct nlmsghdr *got = (const struct nlmsghdr *)(const void *)answer;
    if (n < (ssize_t)sizeof(*got) || got->nlmsg_type != RTM_NEWLINK) {
        return 0;
    }
    return (uint32_t)((const struct ifinfomsg *)mnl_nlmsg_get_payload(got))->ifi_index;
}

bool rtnl_up(struct rtnl *r, const char *name, const char *bridge, struct err *err)
{
    char room[1024] __attribute__((aligned(8)));
    if (bridge) {
        uint32_t master = index_of(r, bridge);
        struct nlmsghdr *h = start_link(room, RTM_NEWLINK, 0, name, 0);
        mnl_attr_put_u32(h, IFLA_MASTER, master);
        int status = master ? talk(r, h) : -ENODEV;
        if (status < 0) {
            return err_set_errno(err, -status, "cannot make %s a port of %s", name, bridge);
        }
    }
    int status = talk(r, start_link(room, RTM_NEWLINK, 0, name, IFF_UP));
    return status == 0 || err_set_errno(err, -status, "cannot bring %s up", name);
}

bool rtnl_delete(struct rtnl *r, const char *name, struct err *err)
{
    char room[1024] __attribute__((aligned(8)));
    int status = talk(r, start_link(room, RTM_DELLINK, 0, name, 0));
    return status == 0 || status == -ENODEV || err_set_errno(err, -status, "cannot delete %s", name);
}

bool rtnl_add_address(struct rtnl *r, const char *name, uint32_t addr, unsigned prefix, struct err *err)
{
    char room[1024] __attribute__((aligned(8)));
    uint32_t index = index_of(r, name);
    struct nlmsghdr *h = mnl_nlmsg_put_header(room);
    h->nlmsg_type = RTM_NEWADDR;
    h->nlmsg_flags = NLM_F_CREATE | NLM_F_EXCL;
    struct ifaddrmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
    m->ifa_family = AF_INET;
    m->ifa_prefixlen = (uint8_t)prefix;
    m->ifa_index = index;
    mnl_attr_put_u32(h, IFA_LOCAL, htonl(addr));
    mnl_attr_put_u32(h, IFA_ADDRESS, htonl(addr));
    mnl_attr_put_u32(h, IFA_BROADCAST, htonl(addr | (prefix < 32 ? 0xffffffffu >> prefix : 0)));
    int status = index ? talk(r, h) : -ENODEV;
    return status == 0 || status == -EEXIST || err_set_errno(err, -status, "cannot give %s its address", name);
}

static size_t route_addr_len(const struct rtnl_route *x)
{
    return x->family == AF_INET ? 4 : 16;
}

static const char *route_text(const struct rtnl_route *x, char dst[INET6_ADDRSTRLEN])
{
    return inet_ntop(x->family, x->dst, dst, INET6_ADDRSTRLEN) ? dst : "?";
}

/* The request's head and destination. */
static struct nlmsghdr *start_route(char *room, uint16_t type, uint16_t flags, const struct rtnl_route *x)
{
    struct nlmsghdr *h = mnl_nlmsg_put_header(room);
    h->nlmsg_type = type;
    h->nlmsg_flags = flags;
    struct rtmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
    m->rtm_family = (uint8_t)x->family;
    m->rtm_dst_len = (uint8_t)x->prefix;
    m->rtm_table = RT_TABLE_MAIN;
    m->rtm_protocol = x->protocol;
    m->rtm_scope = type == RTM_DELROUTE ? RT_SCOPE_NOWHERE : RT_SCOPE_UNIVERSE;
    m->rtm_type = x->blackhole ? RTN_BLACKHOLE : type == RTM_DELROUTE ? RTN_UNSPEC : RTN_UNICAST;
    if (x->prefix) {
        mnl_attr_put(h, RTA_DST, route_addr_len(x), x->dst);
    }
    return h;
}

bool rtnl_put_route(struct rtnl *r, const struct rtnl_route *x, struct err *err)
{
    char room[1024] __attribute__((aligned(8))), text[INET6_ADDRSTRLEN];
    struct nlmsghdr *h = start_route(room, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, x);
    if (!x->blackhole) {
        mnl_attr_put(h, RTA_GATEWAY, route_addr_len(x), x->via);
    }
    int status = talk(r, h);
    return status == 0 || err_set_errno(err, -status, "cannot set the route to %s/%u", route_text(x, text), x->prefix);
}

bool rtnl_delete_route(struct rtnl *r, const struct rtnl_route *x, struct err *err)
{
    char room[1024] __attribute__((aligned(8))), text[INET6_ADDRSTRLEN];
    int status = talk(r, start_route(room, RTM_DELROUTE, 0, x));
    return status == 0 || status == -ESRCH || err_set_errno(err, -status, "cannot remove the route to %s/%u", route_text(x, text), x->prefix);
}

struct route_listing {
    uint8_t protocol;
    void (*fn)(void *data, const struct rtnl_route *route);
    void *data;
};

static int on_route_message(const struct nlmsghdr *h, void *arg)
{
    const struct route_listing *l = arg;
    const struct rtmsg *m = mnl_nlmsg_get_payload(h);
    struct rtnl_route x = { .family = m->rtm_family, .prefix = m->rtm_dst_len, .protocol = m->rtm_protocol, .blackhole = m->rtm_type == RTN_BLACKHOLE };
    const char *tail = mnl_nlmsg_get_payload_tail(h);
    uint32_t table = m->rtm_table;
    for (const struct nlattr *attr = mnl_nlmsg_get_payload_offset(h, sizeof(*m)); mnl_attr_ok(attr, (int)(tail - (const char *)attr));
         attr = mnl_attr_next(attr)) {
        size_t n = mnl_attr_get_payload_len(attr);
        if (mnl_attr_get_type(attr) == RTA_DST && n <= sizeof(x.dst)) {
            memcpy(x.dst, mnl_attr_get_payload(attr), n);
        } else if (mnl_attr_get_type(attr) == RTA_GATEWAY && n <= sizeof(x.via)) {
            memcpy(x.via, mnl_attr_get_payload(attr), n);
        } else if (mnl_attr_get_type(attr) == RTA_TABLE && n == sizeof(table)) {
            table = mnl_attr_get_u32(attr);
        }
    }
    if (table == RT_TABLE_MAIN && x.protocol == l->protocol && (x.family == AF_INET || x.family == AF_INET6)) {
        l->fn(l->data, &x);
    }
    return MNL_CB_OK;
}

bool rtnl_list_routes(struct rtnl *r, uint8_t protocol, void (*fn)(void *data, const struct rtnl_route *route), void *data, struct err *err)
{
    struct route_listing l = { .protocol = protocol, .fn = fn, .data = data };
    char room[1024] __attribute__((aligned(8)));
    static const int families[] = { AF_INET, AF_INET6 };
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        UNINITIALIZED char answer[32768] __attribute__((aligned(8)));
        struct nlmsghdr *h = mnl_nlmsg_put_header(room);
        h->nlmsg_type = RTM_GETROUTE;
        h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
        h->nlmsg_seq = ++r->seq;
        struct rtmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
        m->rtm_family = (uint8_t)families[i];
        int status = mnl_socket_sendto(r->nl, h, h->nlmsg_len) < 0 ? -1 : MNL_CB_OK;
        while (status == MNL_CB_OK) {
            ssize_t n = mnl_socket_recvfrom(r->nl, answer, sizeof(answer));
            status = n < 0 ? -1 : mnl_cb_run(answer, (size_t)n, r->seq, mnl_socket_get_portid(r->nl), on_route_message, &l);
        }
        if (status < 0) {
            return err_set_errno(err, errno, "cannot list routes");
        }
    }
    return true;
}

static bool set_route(struct rtnl *r, uint32_t addr, unsigned prefix, uint32_t via, struct err *err)
{
    struct rtnl_route x = { .family = AF_INET, .prefix = prefix, .protocol = RTPROT_STATIC, .blackhole = !via };
    uint32_t dst = htonl(addr), gateway = htonl(via);
    memcpy(x.dst, &dst, sizeof(dst));
    memcpy(x.via, &gateway, sizeof(gateway));
    return rtnl_put_route(r, &x, err);
}

bool rtnl_set_route(struct rtnl *r, uint32_t addr, unsigned prefix, uint32_t via, struct err *err)
{
    return set_route(r, addr, prefix, via, err);
}

bool rtnl_set_blackhole(struct rtnl *r, uint32_t addr, unsigned prefix, struct err *err)
{
    return set_route(r, addr, prefix, 0, err);
}

int rtnl_new_netns(struct err *err)
{
    int own = enter(-1, err);
    if (own < 0) {
        return -1;
    }
    int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    int e = errno;
    leave(own);
    if (fd < 0) {
        err_set_errno(err, e, "cannot open the new network namespace");
        return -1;
    }
    struct rtnl r;
    if (!rtnl_open(&r, fd, err)) {
        close(fd);
        return -1;
    }
    if (!rtnl_up(&r, "lo", NULL, err)) {
        rtnl_close(&r);
        close(fd);
        return -1;
    }
    rtnl_close(&r);
    return fd;
}
