#include "net/path.h"

#include <openssl/x509.h>
#include <stdio.h>

#include "base/map.h"
#include "net/tls-private.h"

/* What is known of the last connection that closed, and while paths are read of those that are open. */
struct facts {
    enum net_transport transport;
    const char *tls_version, *cipher; /* OpenSSL's own strings */
    enum net_alpn alpn;
    enum net_peer_state peer_state;
    const char *peer_reason;
    int64_t peer_not_before, peer_not_after, own_not_before, own_not_after;
    char *peer_subject, *own_subject;
    char address[NET_ADDR_TEXT_SIZE]; /* our own */
    char remote[NET_ADDR_TEXT_SIZE];
};

struct net_path {
    struct net_ref ref;
    struct list link;        /* in the registry, the one used last at the end; empty when the loop is gone */
    struct registry *registry;
    char *key, *peer, *purpose, *address;
    bool outgoing;
    struct net_listener *listener;
    const char *authn, *authz;
    uint64_t bytes_in, bytes_out, opened, failed; /* of connections that are closed; 'opened' of all */
    unsigned open;
    uint64_t used_ms, error_ms; /* 0: never */
    char *last_error;
    struct facts *last;
    /* While paths are read. */
    uint64_t live_in, live_out;
    const struct net_conn *sample;
};

struct registry {
    struct loop *loop;
    struct list paths, listeners;
    struct map by_key;
    size_t n;
};

struct net_listener {
    struct list link;
    int fd;
    struct net_tls_server *tls;
    struct net_path *path;
    const char *purpose;
    char address[NET_ADDR_TEXT_SIZE];
    struct registry *registry; /* NULL: the loop is gone */
};

static const char registry_key;

/* ---- certificates ---- */

static void subject_of(const X509 *cert, char dst[NET_PATH_SUBJECT_SIZE])
{
    /* Go's order and separators: "CN=node,O=group". Control characters and what is no UTF-8 come out escaped. */
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    long n = 0;
    if (bio && X509_NAME_print_ex(bio, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB) >= 0) {
        n = BIO_get_mem_data(bio, &text);
    }
    size_t len = MIN((size_t)MAX(n, 0L), (size_t)NET_PATH_SUBJECT_SIZE - 1);
    if (len) {
        memcpy(dst, text, len);
    }
    dst[len] = 0;
    BIO_free(bio);
}

static void span_of(const X509 *cert, int64_t *ret_not_before, int64_t *ret_not_after)
{
    struct tm tm;
    *ret_not_before = ASN1_TIME_to_tm(X509_get0_notBefore(cert), &tm) ? (int64_t)timegm(&tm) : 0;
    *ret_not_after = ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm) ? (int64_t)timegm(&tm) : 0;
}

bool net_certificate_facts(struct str der, char subject[NET_PATH_SUBJECT_SIZE], int64_t *ret_not_before, int64_t *ret_not_after)
{
    const unsigned char *p = (const unsigned char *)der.ptr;
    X509 *cert = der.len && der.len < LONG_MAX ? d2i_X509(NULL, &p, (long)der.len) : NULL;
    if (!cert) {
        subject[0] = 0;
        *ret_not_before = *ret_not_after = 0;
        return false;
    }
    subject_of(cert, subject);
    span_of(cert, ret_not_before, ret_not_after);
    X509_free(cert);
    return true;
}

/* ---- the registry ---- */

static void detach(struct net_path *p)
{
    (void)map_remove(&p->registry->by_key, str_c(p->key));
    p->registry->n--;
    p->registry = NULL;
    list_remove(&p->link);
    net_path_unref(p);
}

static void registry_free(void *arg)
{
    struct registry *r = arg;
    LIST_FOREACH(&r->paths, struct net_path, link, p)
    {
        detach(p);
    }
    LIST_FOREACH(&r->listeners, struct net_listener, link, n)
    {
        list_remove(&n->link);
        n->registry = NULL;
    }
    map_deinit(&r->by_key);
    free(r);
}

static struct registry *registry_of(struct loop *l)
{
    struct registry *r = loop_slot(l, &registry_key);
    if (!r) {
        r = calloc(1, sizeof(*r));
        if (!r) {
            abort();
        }
        r->loop = l;
        list_init(&r->paths);
        list_init(&r->listeners);
        map_init(&r->by_key);
        loop_set_slot(l, &registry_key, r, registry_free);
    }
    return r;
}

static void facts_free(struct facts *f)
{
    if (f) {
        free(f->peer_subject);
        free(f->own_subject);
        free(f);
    }
}

static void path_release(struct net_ref *ref)
{
    struct net_path *p = CONTAINER_OF(ref, struct net_path, ref);
    free(p->key);
    free(p->peer);
    free(p->purpose);
    free(p->address);
    free(p->last_error);
    facts_free(p->last);
    free(p);
}

static void make_room(struct registry *r)
{
    struct net_path *oldest = NULL;
    LIST_FOREACH(&r->paths, struct net_path, link, p)
    {
        if (atomic_load(&p->ref.refs) == 1 && !p->open && (!oldest || p->used_ms < oldest->used_ms)) {
            oldest = p;
        }
    }
    if (oldest) {
        detach(oldest);
    }
}

struct net_path *net_path_get(struct loop *l, const struct net_path_spec *spec)
{
    struct registry *r = registry_of(l);
    struct buf key;
    buf_init(&key, 4096);
    buf_printf(&key, "%c%.*s%c%.*s%c%.*s", spec->outgoing ? 'o' : 'i', STR_ARG(spec->peer), 1, STR_ARG(spec->purpose), 1,
               STR_ARG(spec->address));
    struct net_path *p = map_get(&r->by_key, buf_str(&key));
    if (!p) {
        if (r->n >= NET_MAX_PATHS) {
            make_room(r);
        }
        p = calloc(1, sizeof(*p));
        if (!p) {
            abort();
        }
        net_ref_init(&p->ref, path_release);
        p->registry = r;
        p->key = str_dup(buf_str(&key));
        p->peer = str_dup(spec->peer);
        p->purpose = str_dup(spec->purpose);
        p->address = str_dup(spec->address);
        p->outgoing = spec->outgoing;
        list_push_back(&r->paths, &p->link);
        (void)map_put(&r->by_key, str_c(p->key), p);
        r->n++;
    }
    buf_deinit(&key);
    net_path_set_auth(p, spec->authn, spec->authz);
    return net_path_ref(p);
}

struct net_path *net_path_ref(struct net_path *p)
{
    if (p) {
        net_ref_get(&p->ref);
    }
    return p;
}

struct net_path *net_path_unref(struct net_path *p)
{
    if (p) {
        net_ref_put(&p->ref);
    }
    return NULL;
}

void net_path_set_auth(struct net_path *p, const char *authn, const char *authz)
{
    p->authn = authn ? authn : p->authn;
    p->authz = authz ? authz : p->authz;
}

void net_path_failed(struct net_path *p, const char *reason)
{
    if (p) {
        p->failed++;
        p->error_ms = p->registry ? loop_now_ms(p->registry->loop) : p->error_ms;
        free(p->last_error);
        p->last_error = str_dup(str_sub(str_c(reason), 0, NET_PATH_ERROR_SIZE));
    }
}

void net_path_count(struct net_path *p, int opened, uint64_t bytes_in, uint64_t bytes_out)
{
    if (p) {
        p->bytes_in += bytes_in;
        p->bytes_out += bytes_out;
        p->opened += opened > 0 ? (uint64_t)opened : 0;
        p->open = opened < 0 && (unsigned)-opened > p->open ? 0 : (unsigned)((int)p->open + opened);
        p->used_ms = p->registry ? loop_now_ms(p->registry->loop) : p->used_ms;
    }
}

/* ---- connections ---- */

void net_path_opened(struct net_path *p, struct net_conn *c)
{
    p->opened++;
    p->open++;
    p->used_ms = p->registry ? loop_now_ms(p->registry->loop) : 0;
    c->path = net_path_ref(p);
    c->counted_in = c->bytes_in;
    c->counted_out = c->bytes_out;
}

static enum net_transport transport_of(const struct net_conn *c)
{
    int family = c->local.len ? c->local.sa.sa_family : c->remote.len ? c->remote.sa.sa_family : AF_UNSPEC;
    return c->encrypted ? NET_TRANSPORT_TLS
           : c->session ? NET_TRANSPORT_UNKNOWN /* its handshake is not complete */
           : family == AF_UNIX ? NET_TRANSPORT_UNIX
                               : NET_TRANSPORT_PLAIN;
}

static void learn(struct facts *f, const struct net_conn *c)
{
    char subject[NET_PATH_SUBJECT_SIZE];
    int64_t begin, end;
    f->transport = transport_of(c);
    f->tls_version = c->tls_version;
    f->cipher = c->cipher;
    f->alpn = c->encrypted && c->session ? net_tls_alpn(c->session) : (enum net_alpn)0;
    f->peer_state = c->peer ? c->peer->state : NET_PEER_NONE;
    f->peer_reason = c->peer ? c->peer->reason : NULL;
    f->peer_not_before = f->peer_not_after = 0;
    free(f->peer_subject);
    free(f->own_subject);
    f->peer_subject = f->own_subject = NULL;
    if (c->peer && c->peer->n_chain && net_certificate_facts(c->peer->chain[0], subject, &begin, &end)) {
        f->peer_subject = str_dup(str_c(subject));
        f->peer_not_before = begin;
        f->peer_not_after = end;
    }
    const X509 *own = c->session ? SSL_get_certificate(c->session) : NULL;
    f->own_not_before = f->own_not_after = 0;
    if (own) {
        subject_of(own, subject);
        f->own_subject = str_dup(str_c(subject));
        span_of(own, &f->own_not_before, &f->own_not_after);
    }
    (void)net_addr_text(&c->local, f->address);
    (void)net_addr_ip_text(&c->remote, f->remote);
}

void net_path_closed(struct net_path *p, struct net_conn *c)
{
    p->bytes_in += c->bytes_in - c->counted_in;
    p->bytes_out += c->bytes_out - c->counted_out;
    p->open -= p->open > 0;
    p->used_ms = p->registry ? loop_now_ms(p->registry->loop) : 0;
    if (transport_of(c) != NET_TRANSPORT_UNKNOWN) {
        p->last = p->last ? p->last : calloc(1, sizeof(*p->last));
        if (!p->last) {
            abort();
        }
        learn(p->last, c);
    }
    c->path = NULL;
    net_path_unref(p);
}

/* ---- listeners ---- */

struct net_listener *net_listener_new(struct loop *l, int fd, struct net_tls_server *tls)
{
    struct registry *r = registry_of(l);
    struct net_listener *n = calloc(1, sizeof(*n));
    struct net_addr addr = { .len = sizeof(struct sockaddr_un) };
    if (!n) {
        abort();
    }
    if (getsockname(fd, &addr.sa, &addr.len) < 0) {
        addr.len = 0;
    }
    n->fd = fd;
    n->tls = net_tls_server_ref(tls);
    n->registry = r;
    (void)net_addr_text(&addr, n->address);
    struct net_path_spec spec = { .purpose = STR("listener"), .address = str_c(n->address) };
    n->path = net_path_get(l, &spec);
    n->path->listener = n;
    list_push_back(&r->listeners, &n->link);
    return n;
}

struct net_listener *net_listener_free(struct net_listener *n)
{
    if (n) {
        if (n->path->listener == n) {
            n->path->listener = NULL;
        }
        list_remove(&n->link);
        net_tls_server_unref(n->tls);
        net_path_unref(n->path);
        free(n);
    }
    return NULL;
}

struct net_path *net_listener_path(struct net_listener *n)
{
    return n->path;
}

void net_listener_describe(struct loop *l, int fd, const char *purpose, const char *authn, const char *authz)
{
    struct registry *r = registry_of(l);
    LIST_FOREACH(&r->listeners, struct net_listener, link, n)
    {
        if (n->fd == fd) {
            n->purpose = purpose;
            net_path_set_auth(n->path, authn, authz);
        }
    }
}

/* ---- reading ---- */

static void sample(const struct net_conn *c, void *arg UNUSED)
{
    struct net_path *p = c->path;
    if (!p) {
        return;
    }
    p->live_in += c->bytes_in - c->counted_in;
    p->live_out += c->bytes_out - c->counted_out;
    if (transport_of(c) == NET_TRANSPORT_UNKNOWN) {
        return;
    }
    /* Of several the certificate that is worst: refused before verified, ended before lasting. */
    const struct net_peer *old = p->sample ? p->sample->peer : NULL;
    bool worse = !old || (c->peer && (c->peer->state == NET_PEER_BAD) > (old->state == NET_PEER_BAD)) ||
                 (c->peer && c->peer->state == old->state && c->peer->not_after < old->not_after);
    if (!p->sample || worse) {
        p->sample = c;
    }
}

static const char *http_of(enum net_alpn alpn)
{
    return alpn == NET_ALPN_H2 ? "HTTP/2" : alpn == NET_ALPN_H1 ? "HTTP/1.1" : NULL;
}

static void fill(struct net_path_info *i, const struct facts *f)
{
    i->transport = f->transport;
    i->tls_version = f->tls_version;
    i->cipher = f->cipher;
    i->http = http_of(f->alpn);
    i->peer_state = f->peer_state;
    i->peer_reason = f->peer_reason;
    i->peer_subject = str_c(f->peer_subject);
    i->peer_not_before = f->peer_not_before;
    i->peer_not_after = f->peer_not_after;
    i->own_subject = str_c(f->own_subject);
    i->own_not_before = f->own_not_before;
    i->own_not_after = f->own_not_after;
    i->remote = str_c(f->remote);
    if (str_empty(i->address)) {
        i->address = str_c(i->outgoing ? f->remote : f->address);
    }
}

static uint64_t age(const struct net_path *p, uint64_t at_ms)
{
    uint64_t now = loop_now_ms(p->registry->loop);
    return !at_ms ? UINT64_MAX : now > at_ms ? now - at_ms : 0;
}

static void tell(struct net_path *p, void (*fn)(const struct net_path_info *i, void *arg), void *arg)
{
    struct facts now = { 0 };
    char own[NET_PATH_SUBJECT_SIZE];
    const struct net_listener *n = p->listener;
    struct net_path_info i = {
        .outgoing = p->outgoing, .listener = n != NULL, .peer = str_c(p->peer), .purpose = str_c(p->purpose), .address = str_c(p->address),
        .authn = p->authn, .authz = p->authz, .bytes_in = p->bytes_in + p->live_in, .bytes_out = p->bytes_out + p->live_out,
        .opened = p->opened, .failed = p->failed, .open = p->open, .last_error = str_c(p->last_error),
        .error_age_ms = age(p, p->error_ms), .used_age_ms = p->open ? 0 : age(p, p->used_ms),
    };
    if (p->sample) {
        learn(&now, p->sample);
        fill(&i, &now);
    } else if (p->last) {
        fill(&i, p->last);
    }
    if (i.transport == NET_TRANSPORT_UNKNOWN && i.outgoing && i.address.len && (i.address.ptr[0] == '/' || i.address.ptr[0] == '@')) {
        i.transport = NET_TRANSPORT_UNIX;
    }
    if (n) {
        bool unix_socket = str_starts(str_c(n->address), STR("unix:"));
        i.purpose = n->purpose ? str_c(n->purpose) : STR_EMPTY;
        i.transport = n->tls ? NET_TRANSPORT_TLS : unix_socket ? NET_TRANSPORT_UNIX : NET_TRANSPORT_PLAIN;
        if (n->tls && net_tls_server_facts(n->tls, own, &i.own_not_before, &i.own_not_after, &i.asks_certificates)) {
            i.own_subject = str_c(own);
        }
    }
    fn(&i, arg);
    free(now.peer_subject);
    free(now.own_subject);
}

void net_path_each(struct loop *l, void (*fn)(const struct net_path_info *i, void *arg), void *arg)
{
    struct registry *r = registry_of(l);
    LIST_FOREACH(&r->paths, struct net_path, link, p)
    {
        p->live_in = p->live_out = 0;
        p->sample = NULL;
    }
    net_registry_each(l, sample, NULL);
    for (int listeners = 1; listeners >= 0; listeners--) {
        LIST_FOREACH(&r->paths, struct net_path, link, p)
        {
            if ((p->listener != NULL) == (listeners == 1)) {
                tell(p, fn, arg);
            }
        }
    }
}

bool net_tls_server_facts(const struct net_tls_server *t, char *subject, int64_t *ret_not_before, int64_t *ret_not_after, bool *ret_asks)
{
    const SSL_CTX *ctx = net_tls_server_context(t);
    const X509 *own = SSL_CTX_get0_certificate(ctx);
    *ret_asks = SSL_CTX_get_verify_mode(ctx) != SSL_VERIFY_NONE;
    if (!own) {
        return false;
    }
    subject_of(own, subject);
    span_of(own, ret_not_before, ret_not_after);
    return true;
}
