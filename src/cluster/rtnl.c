#include "cluster/rtnl.h"

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

static bool set_route(struct rtnl *r, uint32_t addr, unsigned prefix, uint32_t via, struct err *err)
{
    char room[1024] __attribute__((aligned(8)));
    struct nlmsghdr *h = mnl_nlmsg_put_header(room);
    h->nlmsg_type = RTM_NEWROUTE;
    h->nlmsg_flags = NLM_F_CREATE | NLM_F_REPLACE;
    struct rtmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
    m->rtm_family = AF_INET;
    m->rtm_dst_len = (uint8_t)prefix;
    m->rtm_table = RT_TABLE_MAIN;
    m->rtm_protocol = RTPROT_STATIC;
    m->rtm_scope = RT_SCOPE_UNIVERSE;
    m->rtm_type = via ? RTN_UNICAST : RTN_BLACKHOLE;
    if (prefix) {
        mnl_attr_put_u32(h, RTA_DST, htonl(addr));
    }
    if (via) {
        mnl_attr_put_u32(h, RTA_GATEWAY, htonl(via));
    }
    int status = talk(r, h);
    return status == 0 || err_set_errno(err, -status, "cannot set the route to %u.%u.%u.%u/%u", addr >> 24,
                                        addr >> 16 & 255, addr >> 8 & 255, addr & 255, prefix);
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
