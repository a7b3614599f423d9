#include "component/health-server.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/list.h"
#include "base/metrics.h"
#include "base/time-floor.h"
#include "client/path-report.h"
#include "component/delegated.h"
#include "net/file-watch.h"
#include "net/http-server.h"
#include "pki/cert.h"

#define PEM_MAX (1u << 20)
#define SELF_SIGNED_DAYS 365
/* When the certificate of our own is made anew: after two thirds of its life. */
#define SELF_SIGNED_AGAIN_MS ((uint64_t)SELF_SIGNED_DAYS * 86400000 * 2 / 3)

/* Requests at once that wait for the apiserver's word; a component is asked by a scraper or two. Beyond: 429. */
#define MAX_WAITING 64

struct health_server {
    struct loop *loop;
    const char *process;
    struct http_server *http;
    struct net_tls_server *tls;         /* NULL: plain */
    struct health_server_config config; /* texts are the caller's */
    struct file_watch *files;
    struct loop_timer again;
    struct list exchanges;
    size_t n_exchanges;
    struct health_check checks[HEALTH_CHECKS_MAX];
    size_t n_checks;
};

/* ---- answers ---- */

static void reply_text(struct http_stream *s, int status, const char *content_type, struct buf *b)
{
    const struct http_header headers[] = {
        { STR("content-type"), str_c(content_type) },
        { STR("x-content-type-options"), STR("nosniff") },
        { STR("cache-control"), STR("no-cache, private") },
    };
    struct net_chunk body = net_chunk_take_buf(b);
    http_stream_reply(s, status, headers, ARRAY_SIZE(headers), &body, 1);
}

static void reply_line(struct http_stream *s, int status, const char *text)
{
    struct buf b;
    buf_init(&b, 4096);
    buf_append_c(&b, text);
    reply_text(s, status, "text/plain; charset=utf-8", &b);
    buf_deinit(&b);
}

/* /healthz, /livez, /readyz: "ok", or every check with its reason when one fails or ?verbose asks.
 */
static void reply_health(struct health_server *h, struct http_stream *s,
                         const struct http_target *t)
{
    struct buf b;
    bool ok = true, verbose = http_param_get(t, STR("verbose")).ptr != NULL;
    buf_init(&b, 65536);
    buf_append_c(&b, "[+]ping ok\n");
    for (size_t i = 0; i < h->n_checks; i++) {
        struct err err = { 0 };
        bool good = h->checks[i].check(h->checks[i].data, &err);
        ok = ok && good;
        if (good) {
            buf_printf(&b, "[+]%s ok\n", h->checks[i].name);
        } else {
            buf_printf(&b, "[-]%s failed: %s\n", h->checks[i].name, err.msg);
        }
    }
    const char *what = t->path.len ? t->path.ptr + 1 : "";
    int what_len = (int)(t->path.len ? t->path.len - 1 : 0);
    if (ok && !verbose) {
        buf_clear(&b);
        buf_append_c(&b, "ok");
    } else {
        buf_printf(&b, "%.*s check %s\n", what_len, what, ok ? "passed" : "failed");
    }
    reply_text(s, ok ? 200 : 500, "text/plain; charset=utf-8", &b);
    buf_deinit(&b);
}

static void reply_metrics(struct http_stream *s)
{
    struct buf b;
    buf_init(&b, 16u << 20);
    metrics_write(&b);
    reply_text(s, 200, METRIC_CONTENT_TYPE, &b);
    buf_deinit(&b);
}

static void reply_paths(const struct health_server *h, struct http_stream *s)
{
    struct buf b;
    buf_init(&b, 4u << 20);
    path_report_answer(h->loop, h->process, STR_NULL, STR_NULL, &b);
    reply_text(s, 200, "application/json", &b);
    buf_deinit(&b);
}

/* What the process was told: every flag and its value. Flags name files; they hold no secrets. */
static void reply_config(struct health_server *h, struct http_stream *s)
{
    struct buf b;
    buf_init(&b, 1u << 20);
    flags_write_json(h->config.flags, &b);
    reply_text(s, 200, "application/json", &b);
    buf_deinit(&b);
}

static bool is_health(struct str path)
{
    return str_eq(path, STR("/healthz")) || str_eq(path, STR("/livez")) || str_eq(path, STR("/readyz"));
}

static void reply_path(struct health_server *h, struct http_stream *s, const struct http_target *t)
{
    if (is_health(t->path)) {
        reply_health(h, s, t);
    } else if (str_eq(t->path, STR("/metrics")) && (!h->config.plain || h->config.open)) {
        reply_metrics(s);
    } else if (str_eq(t->path, STR("/paths")) && h->process && (!h->config.plain || net_addr_is_local(http_stream_request(s)->remote))) {
        reply_paths(h, s);
    } else if (str_eq(t->path, STR("/configz")) && h->config.flags && (!h->config.plain || h->config.open)) {
        reply_config(h, s);
    } else {
        reply_line(s, 404, "404 page not found\n");
    }
}

/* ---- who may ---- */

/* A request whose sender is being looked at. */
struct exchange {
    struct list link;
    struct health_server *h;
    struct http_stream *s;
    struct http_target target;
    struct arena a;
    struct authn_request authn;
    struct authz_request authz;
    bool authenticating, authorizing;
};

static void exchange_free(struct exchange *e)
{
    if (e->authenticating) {
        authn_cancel(&e->authn);
    }
    if (e->authorizing) {
        authz_cancel(&e->authz);
    }
    list_remove(&e->link);
    e->h->n_exchanges--;
    http_stream_release(e->s);
    arena_deinit(&e->a);
    free(e);
}

static void authorized(struct exchange *e, enum authz_result result)
{
    if (result == AUTHZ_ALLOW) {
        reply_path(e->h, e->s, &e->target);
    } else {
        struct buf b;
        buf_init(&b, 8192);
        authz_forbidden_message(&e->authz.attr, e->authz.reason, &b);
        buf_append_char(&b, '\n');
        reply_text(e->s, 403, "text/plain; charset=utf-8", &b);
        buf_deinit(&b);
    }
    exchange_free(e);
}

static void on_authorized(struct authz_request *q, enum authz_result result)
{
    struct exchange *e = q->owner;
    e->authorizing = false;
    authorized(e, result);
}

static void authenticated(struct exchange *e, enum authn_result result)
{
    if (result != AUTHN_OK) {
        log_info("a request to the metrics' port was not authenticated: %s", e->authn.err.msg);
        reply_line(e->s, 401, "Unauthorized\n");
        exchange_free(e);
        return;
    }
    e->authz = (struct authz_request){
        .attr = { .user = &e->authn.user, .verb = STR("get"), .path = e->target.path },
        .arena = &e->a,
        .done = on_authorized,
        .owner = e,
    };
    enum authz_result answer = authz_start(delegated_authz(e->h->config.auth), &e->authz);
    if (answer == AUTHZ_WAIT) {
        e->authorizing = true;
    } else {
        authorized(e, answer);
    }
}

static void on_authenticated(struct authn_request *q, enum authn_result result)
{
    struct exchange *e = q->owner;
    e->authenticating = false;
    authenticated(e, result);
}

static void on_cancel(struct http_stream *s UNUSED, void *arg)
{
    exchange_free(arg);
}

static bool is_always_allowed(const struct health_server *h, struct str path)
{
    const struct flag_strings *list = h->config.always_allow;
    if (h->config.plain || (!list && is_health(path))) {
        return true;
    }
    for (size_t i = 0; list && i < list->n; i++) {
        struct str one = list->items[i];
        if (str_eq(one, path) || (one.len && one.ptr[one.len - 1] == '*' && str_starts(path, str_sub(one, 0, one.len - 1)))) {
            return true;
        }
    }
    return false;
}

/* Takes the stream. */
static void look_at_sender(struct health_server *h, struct http_stream *s, const struct http_target *t)
{
    static const struct http_stream_ops ops = { .on_cancel = on_cancel };
    const struct http_request *r = http_stream_request(s);
    if (!h->config.auth || h->n_exchanges >= MAX_WAITING) {
        reply_line(s, h->config.auth ? 429 : 403, h->config.auth ? "too many requests\n" : "this needs authorisation, and none is configured\n");
        http_stream_release(s);
        return;
    }
    struct exchange *e = calloc(1, sizeof(*e));
    if (!e) {
        abort();
    }
    *e = (struct exchange){ .h = h, .s = s, .target = *t };
    arena_init(&e->a, 1u << 20);
    list_push_back(&h->exchanges, &e->link);
    h->n_exchanges++;
    e->authn = (struct authn_request){
        .arena = &e->a,
        .authorization = http_header_get(&r->headers, STR("authorization")),
        .now = time_floor_now_s(),
        .path = e->target.path,
        .done = on_authenticated,
        .owner = e,
    };
    if (r->peer && r->peer->state != NET_PEER_NONE) {
        e->authn.peer_chain = r->peer->chain;
        e->authn.n_peer_chain = r->peer->n_chain;
    }
    http_stream_set_ops(s, &ops, e);
    enum authn_result result = authn_start(delegated_authn(h->config.auth), &e->authn);
    if (result == AUTHN_WAIT) {
        e->authenticating = true;
    } else {
        authenticated(e, result);
    }
}

static void on_request(struct http_stream *s, void *arg)
{
    struct health_server *h = arg;
    const struct http_request *r = http_stream_request(s);
    struct http_target t;
    struct err err;
    if (!http_target_parse(http_stream_arena(s), r->target, &t, &err)) {
        reply_line(s, 400, "bad request target\n");
    } else if (!str_eq(r->method, STR("GET")) && !str_eq(r->method, STR("HEAD"))) {
        reply_line(s, 405, "only GET is served here\n");
    } else if (is_always_allowed(h, t.path)) {
        reply_path(h, s, &t);
    } else {
        look_at_sender(h, s, &t);
        return;
    }
    http_stream_release(s);
}

/* ---- certificates ---- */

static bool read_pem(struct arena *a, struct str path, struct str *ret, struct err *err)
{
    struct buf b;
    buf_init(&b, PEM_MAX);
    char *name = arena_cstr(a, path);
    bool ok = fs_read(name, PEM_MAX, &b, err);
    if (ok) {
        *ret = arena_str(a, buf_str(&b));
    }
    buf_deinit(&b);
    return ok;
}

/* A certificate for this process alone, as the originals make when none is given. */
static bool self_signed(struct arena *a, const char *hostname, struct net_tls_identity *ret,
                        struct err *err)
{
    const struct str dns[] = { str_c(hostname), STR("localhost") }, ips[] = { STR("127.0.0.1") };
    struct pki_cert_spec spec = {
        .names = { .cn = str_c(hostname), .dns = dns, .n_dns = 2, .ips = ips, .n_ips = 1 },
        .usages = PKI_USAGE_DIGITAL_SIGNATURE | PKI_USAGE_SERVER_AUTH,
        .path_len = -1,
        .not_before = time_floor_now_s() - PKI_BACKDATE_S,
        .not_after = time_floor_now_s() + SELF_SIGNED_DAYS * 86400L,
    };
    CLEANUP(pki_key_unrefp) struct pki_key *key = pki_key_generate(PKI_KEY_P256, 0, err);
    CLEANUP(pki_cert_unrefp)
    struct pki_cert *cert = key ? pki_cert_self_sign(key, &spec, err) : NULL;
    struct buf b;
    if (!cert) {
        return false;
    }
    buf_init(&b, PEM_MAX);
    pki_cert_write_pem(cert, &b);
    ret->cert_pem = arena_str(a, buf_str(&b));
    buf_clear(&b);
    bool ok = pki_key_write_private(key, &b);
    ret->key_pem = arena_str(a, buf_str(&b));
    if (b.ptr) {
        explicit_bzero(b.ptr, b.len);
    }
    buf_deinit(&b);
    return ok || err_set(err, ERR_INTERNAL, "cannot write the key");
}

/* Makes what the port shows and verifies against, or reads it again. On failure the old stays. */
static bool load_tls(struct health_server *h, struct err *err)
{
    const struct health_server_config *c = &h->config;
    struct arena a;
    struct net_tls_server_config t = { .alpn = NET_ALPN_H1 | NET_ALPN_H2 };
    arena_init(&a, 8u << 20);
    bool ok = c->tls_cert_file.len
                  ? read_pem(&a, c->tls_cert_file, &t.identity.cert_pem, err) &&
                        read_pem(&a, c->tls_private_key_file, &t.identity.key_pem, err)
                  : self_signed(&a, c->hostname, &t.identity, err);
    if (ok && c->client_ca_file.len) {
        ok = read_pem(&a, c->client_ca_file, &t.client_ca_pem, err);
    }
    if (ok && h->tls) {
        ok = net_tls_server_reload(h->tls, &t, err);
    } else if (ok) {
        h->tls = net_tls_server_new(&t, err);
        ok = h->tls != NULL;
    }
    arena_deinit(&a);
    return ok;
}

static void on_files(void *arg)
{
    struct health_server *h = arg;
    struct err err = { 0 };
    if (load_tls(h, &err)) {
        log_info("the certificates of port %u were read again", h->config.port);
    } else {
        log_warning("the certificates of port %u cannot be read again, the old ones stay: %s", h->config.port, err.msg);
    }
}

static void on_again(void *arg)
{
    struct health_server *h = arg;
    on_files(h);
    loop_timer_start(&h->again, SELF_SIGNED_AGAIN_MS);
}

/* Certificates that others renew are read again; one of our own is made anew long before it ends. */
static void watch_files(struct health_server *h, struct loop *l)
{
    h->files = file_watch_new(l, on_files, h);
    file_watch_add(h->files, h->config.tls_cert_file);
    file_watch_add(h->files, h->config.tls_private_key_file);
    file_watch_add(h->files, h->config.client_ca_file);
    loop_timer_init(&h->again, l, on_again, h);
    if (!h->config.tls_cert_file.len) {
        loop_timer_start(&h->again, SELF_SIGNED_AGAIN_MS);
    }
}

/* ---- life ---- */

struct health_server *health_server_new(struct loop *l, const struct health_server_config *config,
                                        struct err *err)
{
    struct net_addr addr;
    struct health_server *h = calloc(1, sizeof(*h));
    if (!h) {
        abort();
    }
    h->config = *config;
    h->loop = l;
    h->process = config->process;
    list_init(&h->exchanges);
    struct http_server_config http = { .on_request = on_request, .arg = h };
    if (!net_addr_parse_ip(config->bind_address, config->port, &addr)) {
        err_set(err, ERR_BAD_REQUEST, "bind address \"%.*s\" is no IP address",
                STR_ARG(config->bind_address));
        return health_server_free(h);
    }
    if (!config->plain && !load_tls(h, err)) {
        return health_server_free(h);
    }
    int fd = net_listen(&addr, 0600, err);
    h->http = fd < 0 ? NULL : http_server_new(l, &http, err);
    if (fd >= 0 && (!h->http || !http_server_listen(h->http, fd, h->tls, h, err))) {
        close(fd);
        fd = -1;
    }
    if (fd >= 0 && h->tls) {
        watch_files(h, l);
    }
    if (fd >= 0) {
        http_server_describe(h->http, fd, config->open ? PATH_PURPOSE_METRICS : PATH_PURPOSE_HEALTH,
                             config->auth ? "x509, TokenReview for more than health" : "nobody",
                             config->auth   ? "SubjectAccessReview for more than health"
                             : config->open ? "health, figures and configuration only"
                                            : "health only");
    }
    return fd < 0 ? health_server_free(h) : h;
}

struct health_server *health_server_free(struct health_server *s)
{
    if (s) {
        loop_timer_stop(&s->again);
        file_watch_free(s->files);
        LIST_FOREACH(&s->exchanges, struct exchange, link, e) {
            exchange_free(e);
        }
        http_server_free(s->http);
        net_tls_server_unref(s->tls);
        free(s);
    }
    return NULL;
}

void health_server_add(struct health_server *s, const struct health_check *check)
{
    assert(s->n_checks < HEALTH_CHECKS_MAX);
    s->checks[s->n_checks++] = *check;
}
