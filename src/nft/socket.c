#include "nft/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

/* Acknowledgements of a whole batch arrive before we read the first: one small message each. */
#define RECEIVE_BYTES (32 << 20)

struct nft_socket {
    struct mnl_socket *nl;
    uint32_t seq;
};

struct nft_socket *nft_socket_open(struct err *err)
{
    struct nft_socket *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    s->seq = (uint32_t)time(NULL);
    s->nl = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
    if (!s->nl || mnl_socket_bind(s->nl, 0, MNL_SOCKET_AUTOPID) < 0) {
        err_set_errno(err, errno, "cannot open a netlink socket for nf_tables");
        return nft_socket_close(s);
    }
    int fd = mnl_socket_get_fd(s->nl), bytes = RECEIVE_BYTES;
    struct timeval wait = { .tv_sec = 10 };
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    return s;
}

struct nft_socket *nft_socket_close(struct nft_socket *s)
{
    if (s) {
        if (s->nl) {
            mnl_socket_close(s->nl);
        }
        free(s);
    }
    return NULL;
}

uint32_t nft_socket_seq(const struct nft_socket *s)
{
    return s->seq;
}

static const char *message_name(uint16_t type)
{
    static const char *const names[] = {
        [NFT_MSG_NEWTABLE] = "add table",      [NFT_MSG_DELTABLE] = "delete table",
        [NFT_MSG_NEWCHAIN] = "add chain",      [NFT_MSG_DELCHAIN] = "delete chain",
        [NFT_MSG_NEWRULE] = "add rule",        [NFT_MSG_DELRULE] = "delete rules",
        [NFT_MSG_NEWSET] = "add set",          [NFT_MSG_DELSET] = "delete set",
        [NFT_MSG_NEWSETELEM] = "add elements", [NFT_MSG_DELSETELEM] = "delete elements",
    };
    uint16_t t = type & 0xff;
    return t < ARRAY_SIZE(names) && names[t] ? names[t] : "message";
}

/* Large batches: the kernel wants the whole transaction in one datagram. */
static bool send_all(struct nft_socket *s, const struct nft_batch *x, struct err *err)
{
    int fd = mnl_socket_get_fd(s->nl), bytes = (int)MIN(x->b.len * 2 + 65536, (size_t)INT32_MAX);
    struct sockaddr_nl to = { .nl_family = AF_NETLINK };
    struct iovec iov = { .iov_base = x->b.ptr, .iov_len = x->b.len };
    struct msghdr m = {
        .msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = &iov, .msg_iovlen = 1
    };
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    }
    if (sendmsg(fd, &m, 0) < 0) {
        return err_set_errno(err, errno, "cannot send %zu bytes of rules to the kernel", x->b.len);
    }
    return true;
}

bool nft_socket_send(struct nft_socket *s, const struct nft_batch *x, int *ret_errno,
                     struct err *err)
{
    char reply[16384];
    uint32_t last = x->seq - 1;
    unsigned answered = 0;
    int failed = 0;
    s->seq = x->seq;
    if (nft_batch_failed(x)) {
        return err_set(err, ERR_NO_MEMORY, "no memory for the rules");
    }
    if (!send_all(s, x, err)) {
        return false;
    }
    /* Every message is acknowledged, refused ones with their error. A batch that is refused as a
     * whole answers at its begin. */
    while (answered < x->n_messages) {
        ssize_t n = mnl_socket_recvfrom(s->nl, reply, sizeof(reply));
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            int e = errno;
            if (ret_errno) {
                *ret_errno = failed ? failed : e;
            }
            return failed ? false : err_set_errno(err, e, "the kernel does not answer");
        }
        int left = (int)n;
        for (const struct nlmsghdr *h = (const void *)reply; mnl_nlmsg_ok(h, left);
             h = mnl_nlmsg_next(h, &left)) {
            if (h->nlmsg_type != NLMSG_ERROR ||
                h->nlmsg_len < mnl_nlmsg_size(sizeof(struct nlmsgerr)) || h->nlmsg_seq > last) {
                continue;
            }
            const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);
            answered++;
            if (e->error && !failed) {
                failed = -e->error;
                err_set_errno(err, failed, "the kernel refused to %s (message %u of the batch)",
                              message_name(e->msg.nlmsg_type),
                              h->nlmsg_seq - (x->seq - x->n_messages - 2));
                if (e->msg.nlmsg_type == NFNL_MSG_BATCH_BEGIN) {
                    answered = x->n_messages;
                }
            }
        }
    }
    if (ret_errno) {
        *ret_errno = failed;
    }
    return !failed;
}

/* Sends one request and reads its first answer into 'reply'; 0 or -errno. */
static ssize_t ask(struct nft_socket *s, struct nlmsghdr *h, char *reply, size_t size)
{
    h->nlmsg_seq = s->seq++;
    if (mnl_socket_sendto(s->nl, h, h->nlmsg_len) < 0) {
        return -errno;
    }
    ssize_t n = mnl_socket_recvfrom(s->nl, reply, size);
    return n < 0 ? -errno : n;
}

static struct nlmsghdr *request(char *b, uint16_t type, uint8_t family)
{
    struct nlmsghdr *h = mnl_nlmsg_put_header(b);
    h->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
    h->nlmsg_flags = NLM_F_REQUEST;
    struct nfgenmsg *g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
    g->nfgen_family = family;
    g->version = NFNETLINK_V0;
    return h;
}

uint32_t nft_socket_generation(struct nft_socket *s)
{
    char b[256], reply[8192];
    ssize_t n = ask(s, request(b, NFT_MSG_GETGEN, AF_UNSPEC), reply, sizeof(reply));
    const struct nlmsghdr *h = (const void *)reply;
    if (n < 0 || !mnl_nlmsg_ok(h, (int)n) || h->nlmsg_type == NLMSG_ERROR) {
        return 0;
    }
    const char *end = mnl_nlmsg_get_payload_tail(h);
    for (const struct nlattr *a = mnl_nlmsg_get_payload_offset(h, sizeof(struct nfgenmsg));
         mnl_attr_ok(a, (int)(end - (const char *)a)); a = mnl_attr_next(a)) {
        if (mnl_attr_get_type(a) == NFTA_GEN_ID && mnl_attr_get_payload_len(a) == 4) {
            return ntohl(mnl_attr_get_u32(a));
        }
    }
    return 0;
}

bool nft_socket_has_table(struct nft_socket *s, uint8_t family, const char *table)
{
    char b[512], reply[8192];
    struct nlmsghdr *h = request(b, NFT_MSG_GETTABLE, family);
    mnl_attr_put_strz(h, NFTA_TABLE_NAME, table);
    ssize_t n = ask(s, h, reply, sizeof(reply));
    const struct nlmsghdr *r = (const void *)reply;
    return n > 0 && mnl_nlmsg_ok(r, (int)n) && r->nlmsg_type != NLMSG_ERROR;
}
