#include "nft/conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <stdlib.h>
#include <sys/socket.h>

#define RECEIVE_BYTES (8 << 20)

/* Found, and to be deleted after the dump: the tuple as the kernel told it. */
struct doomed {
    struct doomed *next;
    size_t len;
    char tuple[];
};

struct sweep {
    uint8_t family, protocol;
    bool (*is_good)(void *data, const struct conntrack_flow *f);
    void *data;
    struct doomed *doomed;
};

struct tuple {
    uint8_t protocol;
    uint8_t source[16], destination[16];
    uint16_t source_port, destination_port;
    bool whole; /* addresses and ports are there */
};

/* libmnl's own loops convert implicitly. */
#define EACH_ATTR(a, first, end)                                                                   \
    for ((a) = (first); mnl_attr_ok((a), (int)((const char *)(end) - (const char *)(a)));          \
         (a) = mnl_attr_next(a))
#define EACH_NESTED(a, nest)                                                                       \
    EACH_ATTR(a, (const struct nlattr *)mnl_attr_get_payload(nest),                                \
              (const char *)mnl_attr_get_payload(nest) + mnl_attr_get_payload_len(nest))

static bool fits(const struct nlattr *a, size_t n)
{
    return mnl_attr_get_payload_len(a) >= n;
}

static void parse_tuple(const struct nlattr *nest, struct tuple *t)
{
    unsigned found = 0;
    const struct nlattr *part, *a;
    *t = (struct tuple){ 0 };
    EACH_NESTED(part, nest)
    {
        bool ip = mnl_attr_get_type(part) == CTA_TUPLE_IP,
             proto = mnl_attr_get_type(part) == CTA_TUPLE_PROTO;
        if (!ip && !proto) {
            continue;
        }
        EACH_NESTED(a, part)
        {
            uint16_t type = mnl_attr_get_type(a);
            bool v4 = ip && (type == CTA_IP_V4_SRC || type == CTA_IP_V4_DST) && fits(a, 4),
                 v6 = ip && (type == CTA_IP_V6_SRC || type == CTA_IP_V6_DST) && fits(a, 16);
            if (v4 || v6) {
                bool source = type == CTA_IP_V4_SRC || type == CTA_IP_V6_SRC;
                memcpy(source ? t->source : t->destination, mnl_attr_get_payload(a), v4 ? 4 : 16);
                found |= source ? 1 : 2;
            } else if (proto && type == CTA_PROTO_NUM && fits(a, 1)) {
                t->protocol = mnl_attr_get_u8(a);
            } else if (proto && type == CTA_PROTO_SRC_PORT && fits(a, 2)) {
                t->source_port = mnl_attr_get_u16(a);
                found |= 4;
            } else if (proto && type == CTA_PROTO_DST_PORT && fits(a, 2)) {
                t->destination_port = mnl_attr_get_u16(a);
                found |= 8;
            }
        }
    }
    t->whole = found == 15;
}

static int on_flow(const struct nlmsghdr *h, void *data)
{
    struct sweep *s = data;
    struct tuple original = { 0 }, reply = { 0 };
    const struct nlattr *a, *original_attr = NULL;
    EACH_ATTR(a, (const struct nlattr *)mnl_nlmsg_get_payload_offset(h, sizeof(struct nfgenmsg)),
              mnl_nlmsg_get_payload_tail(h))
    {
        if (mnl_attr_get_type(a) == CTA_TUPLE_ORIG) {
            parse_tuple(a, &original);
            original_attr = a;
        } else if (mnl_attr_get_type(a) == CTA_TUPLE_REPLY) {
            parse_tuple(a, &reply);
        }
    }
    if (!original.whole || !reply.whole || original.protocol != s->protocol) {
        return MNL_CB_OK;
    }
    struct conntrack_flow f = {
        .family = s->family,
        .protocol = original.protocol,
        .source_port = original.source_port,
        .destination_port = original.destination_port,
        .replier_port = reply.source_port,
    };
    memcpy(f.source, original.source, sizeof(f.source));
    memcpy(f.destination, original.destination, sizeof(f.destination));
    memcpy(f.replier, reply.source, sizeof(f.replier));
    if (!s->is_good(s->data, &f)) {
        size_t len = mnl_attr_get_payload_len(original_attr);
        struct doomed *d = malloc(sizeof(*d) + len);
        if (!d) {
            abort();
        }
        memcpy(d->tuple, mnl_attr_get_payload(original_attr), len);
        d->len = len;
        d->next = s->doomed;
        s->doomed = d;
    }
    return MNL_CB_OK;
}

static struct nlmsghdr *request(char *b, uint8_t family, uint16_t type, uint16_t flags, uint32_t seq)
{
    struct nlmsghdr *h = mnl_nlmsg_put_header(b);
    h->nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | type);
    h->nlmsg_flags = NLM_F_REQUEST | flags;
    h->nlmsg_seq = seq;
    struct nfgenmsg *g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
    g->nfgen_family = family; /* NFPROTO_IPV4 is AF_INET, NFPROTO_IPV6 AF_INET6 */
    g->version = NFNETLINK_V0;
    return h;
}

/* Reads answers until the end of the dump, or the acknowledgement. */
static int receive(struct mnl_socket *nl, uint32_t seq, mnl_cb_t fn, void *data)
{
    char b[32768];
    for (;;) {
        ssize_t n = mnl_socket_recvfrom(nl, b, sizeof(b));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        int status =
            n < 0 ? -1 : mnl_cb_run(b, (size_t)n, seq, mnl_socket_get_portid(nl), fn, data);
        if (status < 0) {
            return -errno;
        }
        if (status == MNL_CB_STOP) {
            return 0;
        }
    }
}

bool conntrack_sweep(uint8_t family, uint8_t protocol, bool (*is_good)(void *data, const struct conntrack_flow *f),
                     void *data, size_t *ret_deleted, struct err *err)
{
    struct sweep s = { .family = family, .protocol = protocol, .is_good = is_good, .data = data };
    char b[1024];
    uint32_t seq = 1;
    size_t deleted = 0;
    int status = 0, bytes = RECEIVE_BYTES;
    struct timeval wait = { .tv_sec = 10 };
    struct mnl_socket *nl = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
    if (!nl || mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0) {
        err_set_errno(err, errno, "cannot open a netlink socket for tracked connections");
        if (nl) {
            mnl_socket_close(nl);
        }
        return false;
    }
    int fd = mnl_socket_get_fd(nl);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    struct nlmsghdr *h = request(b, family, IPCTNL_MSG_CT_GET, NLM_F_DUMP, seq);
    status = mnl_socket_sendto(nl, h, h->nlmsg_len) < 0 ? -errno : receive(nl, seq, on_flow, &s);
    for (struct doomed *d = s.doomed, *next; d; d = next) {
        next = d->next;
        if (status == 0 && d->len < 512) {
            h = request(b, family, IPCTNL_MSG_CT_DELETE, NLM_F_ACK, ++seq);
            mnl_attr_put(h, CTA_TUPLE_ORIG | NLA_F_NESTED, d->len, d->tuple);
            int e =
                mnl_socket_sendto(nl, h, h->nlmsg_len) < 0 ? -errno : receive(nl, seq, NULL, NULL);
            /* It may have ended by itself meanwhile. */
            status = e == -ENOENT ? 0 : e;
            deleted += e == 0;
        }
        free(d);
    }
    mnl_socket_close(nl);
    if (ret_deleted) {
        *ret_deleted = deleted;
    }
    return status == 0 || err_set_errno(err, -status, "cannot look through tracked connections");
}
