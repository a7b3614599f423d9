#include "tunnel/hub.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/list.h"
#include "base/log.h"
#include "pki/cert.h"
#include "tunnel/limits.h"
#include "tunnel/reverse-link.h"

enum { RELOAD_MS = 60000, ACCEPTS_PER_TURN = 32, MAX_PEM = 4 << 20 };

struct hub {
    struct loop *loop;
    struct hub_config config;
    struct arena arena;
    struct net_tls_server *tls;
    int fd;
    struct loop_io io;
    struct loop_timer reload, again;
    struct list strangers;
    unsigned n_strangers;
    hub_find_fn *find;
    void *arg;
};

/* A connection that has not shown whose it is. */
struct stranger {
    struct list link;
    struct hub *hub;
    struct net_stream *stream;
};

static void stranger_free(struct stranger *s)
{
    list_remove(&s->link);
    s->hub->n_strangers--;
    net_stream_free(s->stream);
    free(s);
}

/* The node's name, from a verified certificate that is a node's. */
static bool node_of(const struct net_peer *peer, struct arena *a, struct str *ret_node, struct str *ret_subject, struct err *err)
{
    struct pki_cert_info info;
    bool is_node = false;
    if (!peer || peer->state != NET_PEER_VERIFIED || peer->n_chain == 0) {
        return err_set(err, ERR_UNAUTHORIZED, "%s", peer && peer->reason ? peer->reason : "no client certificate");
    }
    CLEANUP(pki_cert_unrefp) struct pki_cert *cert = pki_cert_of_der(peer->chain[0], err);
    if (!cert || !pki_cert_inspect(cert, a, &info, err)) {
        return false;
    }
    for (size_t i = 0; i < info.names.n_orgs; i++) {
        is_node = is_node || str_eq_c(info.names.orgs[i], "system:nodes");
    }
    if (!is_node || !str_starts(info.names.cn, STR("system:node:"))) {
        return err_set(err, ERR_FORBIDDEN, "the certificate of \"%.*s\" is no node's", STR_ARG(info.names.cn));
    }
    *ret_node = str_sub(info.names.cn, sizeof("system:node:") - 1, info.names.cn.len);
    *ret_subject = info.subject;
    return true;
}

static void on_open(struct net_stream *s, void *arg)
{
    struct stranger *me = arg;
    struct hub *h = me->hub;
    struct arena a;
    struct str node = STR_EMPTY, subject = STR_EMPTY;
    struct err err = { 0 };
    char from[NET_ADDR_TEXT_SIZE];
    arena_init(&a, 1 << 20);
    (void)net_addr_text(&net_stream_conn(s)->remote, from);
    bool ok = node_of(net_stream_conn(s)->peer, &a, &node, &subject, &err);
    struct tunnel_link *link = ok ? h->find(h->arg, node) : NULL;
    if (link) {
        char text[160];
        (void)snprintf(text, sizeof(text), "%.*s", STR_ARG(subject));
        me->stream = NULL;
        reverse_link_attach(link, s, text);
    } else if (ok) {
        log_warning("tunnel: a reverse tunnel from %s is refused: there is no Node %.*s", from, STR_ARG(node));
    } else {
        log_warning("tunnel: a reverse tunnel from %s is refused: %s", from, err.msg);
    }
    arena_deinit(&a);
    stranger_free(me);
}

static void on_data(struct net_stream *s UNUSED, struct str data UNUSED, void *arg UNUSED)
{
}

static void on_close(struct net_stream *s, enum net_close why, const char *reason, void *arg)
{
    char from[NET_ADDR_TEXT_SIZE];
    if (why == NET_CLOSE_TLS) {
        (void)net_addr_text(&net_stream_conn(s)->remote, from);
        log_info("tunnel: a reverse tunnel from %s is refused: %s", from, reason);
    }
    stranger_free(arg);
}

static const struct net_stream_ops stranger_ops = { .on_open = on_open, .on_data = on_data, .on_close = on_close };

static void on_accept(struct loop_io *io, unsigned events UNUSED, void *arg)
{
    struct hub *h = arg;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
                (void)loop_io_set(io, 0);
                loop_timer_start(&h->again, 100);
            } else if (errno == EINTR || errno == ECONNABORTED) {
                continue;
            }
            return;
        }
        if (h->n_strangers >= TUNNEL_MAX_STRANGERS) {
            (void)close(fd);
            continue;
        }
        struct stranger *s = calloc(1, sizeof(*s));
        if (!s) {
            abort();
        }
        s->hub = h;
        list_push_back(&h->strangers, &s->link);
        h->n_strangers++;
        s->stream = net_stream_new_tls_server(h->loop, fd, h->tls, &stranger_ops, s);
    }
}

static void on_again(void *arg)
{
    struct hub *h = arg;
    (void)loop_io_set(&h->io, LOOP_READ);
}

static bool read_file(struct str path, struct buf *b, struct err *err)
{
    char text[4096];
    buf_init(b, MAX_PEM);
    return (str_to_cstr(path, text, sizeof(text)) && text[0]) ? fs_read(text, MAX_PEM, b, err)
                                                               : err_set(err, ERR_INVALID, "a file of the reverse tunnels' TLS is not named");
}

static bool load(struct hub *h, struct err *err)
{
    CLEANUP(buf_deinit) struct buf cert = { 0 }, key = { 0 }, ca = { 0 };
    if (!read_file(h->config.tls_cert_file, &cert, err) || !read_file(h->config.tls_private_key_file, &key, err) ||
        !read_file(h->config.client_ca_file, &ca, err)) {
        return false;
    }
    struct net_tls_server_config c = {
        .identity = { .cert_pem = buf_str(&cert), .key_pem = buf_str(&key) }, .client_ca_pem = buf_str(&ca), .alpn = NET_ALPN_H2,
    };
    if (h->tls) {
        return net_tls_server_reload(h->tls, &c, err);
    }
    h->tls = net_tls_server_new(&c, err);
    return h->tls != NULL;
}

static void on_reload(void *arg)
{
    struct hub *h = arg;
    struct err err;
    if (!load(h, &err)) {
        log_warning("tunnel: certificates cannot be read again, the old ones stay: %s", err.msg);
    }
    loop_timer_start(&h->reload, RELOAD_MS);
}

struct hub *hub_new(struct loop *l, const struct hub_config *config, hub_find_fn *find, void *arg, struct err *err)
{
    struct net_addr addr;
    struct hub *h = calloc(1, sizeof(*h));
    if (!h) {
        abort();
    }
    arena_init(&h->arena, ARENA_NO_BUDGET);
    h->loop = l;
    h->fd = -1;
    h->find = find;
    h->arg = arg;
    h->config = (struct hub_config){
        .tls_cert_file = arena_str(&h->arena, config->tls_cert_file),
        .tls_private_key_file = arena_str(&h->arena, config->tls_private_key_file),
        .client_ca_file = arena_str(&h->arena, config->client_ca_file),
    };
    list_init(&h->strangers);
    loop_timer_init(&h->reload, l, on_reload, h);
    loop_timer_init(&h->again, l, on_again, h);
    if (!net_addr_parse(config->address, &addr)) {
        err_set(err, ERR_INVALID, "\"%.*s\" is no address and port to listen on", STR_ARG(config->address));
        return hub_free(h);
    }
    if (!load(h, err) || (h->fd = net_listen(&addr, 0600, err)) < 0) {
        return hub_free(h);
    }
    loop_io_init(&h->io, l, h->fd, on_accept, h);
    if (loop_io_set(&h->io, LOOP_READ) < 0) {
        err_set(err, ERR_IO, "the socket of reverse tunnels cannot be watched");
        return hub_free(h);
    }
    loop_timer_start(&h->reload, RELOAD_MS);
    return h;
}

struct hub *hub_free(struct hub *h)
{
    if (h) {
        LIST_FOREACH(&h->strangers, struct stranger, link, s) {
            stranger_free(s);
        }
        loop_timer_stop(&h->reload);
        loop_timer_stop(&h->again);
        loop_io_stop(&h->io);
        if (h->fd >= 0) {
            (void)close(h->fd);
        }
        net_tls_server_unref(h->tls);
        arena_deinit(&h->arena);
        free(h);
    }
    return NULL;
}
