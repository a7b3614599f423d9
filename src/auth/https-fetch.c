#include "auth/https-fetch.h"

#include "client/path-report.h"
#include "net/http-client.h"
#include "net/tls.h"

struct https_fetch {
    struct http_client *client;
    struct http_call *call;
    struct loop_task finish; /* the answer is told outside of the client's callbacks, so that the client can go */
    struct buf body;
    struct err err;
    bool failed;
    https_fetch_fn *done;
    void *data;
};

/* ---- URLs ---- */

static bool is_plain(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if ((unsigned char)s.ptr[i] <= ' ' || (unsigned char)s.ptr[i] >= 0x7f) {
            return false;
        }
    }
    return true;
}

bool https_url_parse(struct str url, struct arena *a, struct https_url *ret, struct err *err)
{
    struct str scheme = STR("https://"), rest, authority, path, host, port = STR_NULL;
    uint64_t number = 443;
    if (!str_starts(url, scheme)) {
        return err_set(err, ERR_INVALID, "the URL has an invalid scheme, require 'https'");
    }
    rest = str_sub(url, scheme.len, url.len);
    size_t n = 0;
    while (n < rest.len && rest.ptr[n] != '/' && rest.ptr[n] != '?') {
        n++;
    }
    authority = str_sub(rest, 0, n);
    path = str_sub(rest, n, rest.len);
    if (!is_plain(url) || str_find_char(authority, '@') >= 0 || str_find_char(url, '#') >= 0) {
        return err_set(err, ERR_INVALID, "the URL holds a user name, a fragment or characters that have no place in it");
    }
    if (authority.len > 0 && authority.ptr[0] == '[') {
        ptrdiff_t end = str_find_char(authority, ']');
        if (end < 0) {
            return err_set(err, ERR_INVALID, "the URL's address has no end");
        }
        host = str_sub(authority, 1, (size_t)end - 1);
        port = str_sub(authority, (size_t)end + 1, authority.len);
        if (port.len > 0 && port.ptr[0] != ':') {
            return err_set(err, ERR_INVALID, "the URL's port is not valid");
        }
        port = port.len > 0 ? str_sub(port, 1, port.len) : STR_NULL;
    } else {
        (void)str_cut(authority, ':', &host, &port);
    }
    if (host.len == 0 || !str_to_cstr(host, ret->host, sizeof(ret->host)) ||
        (port.ptr && (!str_to_u64(port, &number) || number == 0 || number > 65535))) {
        return err_set(err, ERR_INVALID, "the URL's host or port is not valid");
    }
    ret->port = (uint16_t)number;
    ret->target = path.len == 0            ? STR("/")
                  : path.ptr[0] == '?' ? arena_printf(a, "/%.*s", STR_ARG(path))
                                           : arena_str(a, path);
    return ret->target.ptr || err_set(err, ERR_NO_MEMORY, "out of memory");
}

/* ---- one fetch ---- */

static void fetch_free(struct https_fetch *f)
{
    loop_task_cancel(&f->finish);
    (void)http_client_free(f->client);
    buf_deinit(&f->body);
    free(f);
}

static void on_finish(void *arg)
{
    struct https_fetch *f = arg;
    https_fetch_fn *done = f->done;
    void *data = f->data;
    struct buf body = f->body;
    struct err err = f->err;
    bool failed = f->failed;
    buf_init(&f->body, 0);
    fetch_free(f);
    done(data, failed ? STR_NULL : buf_str(&body), failed ? &err : NULL);
    buf_deinit(&body);
}

static void fail(struct https_fetch *f, enum err_code code, const char *why)
{
    f->call = http_call_cancel(f->call);
    f->failed = true;
    (void)err_set(&f->err, code, "%s", why);
    loop_task_defer(&f->finish);
}

static void on_response(struct http_call *c UNUSED, const struct http_response *r, void *arg)
{
    struct https_fetch *f = arg;
    char why[64];
    if (r->status != 200) {
        (void)snprintf(why, sizeof(why), "it answered with status %d", r->status);
        fail(f, ERR_UNAVAILABLE, why);
    }
}

static void on_body(struct http_call *c UNUSED, struct str data, void *arg)
{
    struct https_fetch *f = arg;
    buf_append(&f->body, data);
    if (buf_failed(&f->body)) {
        fail(f, ERR_TOO_LARGE, "the answer is too large");
    }
}

static void on_end(struct http_call *c UNUSED, const struct http_headers *trailers UNUSED, void *arg)
{
    struct https_fetch *f = arg;
    f->call = NULL;
    loop_task_defer(&f->finish);
}

static void on_error(struct http_call *c UNUSED, const struct http_call_error *e, void *arg)
{
    struct https_fetch *f = arg;
    f->call = NULL;
    fail(f, e->err.code ? e->err.code : ERR_UNAVAILABLE, e->err.msg);
}

static const struct http_call_ops ops = { .on_response = on_response, .on_body = on_body, .on_end = on_end, .on_error = on_error };

struct https_fetch *https_fetch_start(struct loop *l, struct str url, struct str ca_pem, size_t max, uint32_t timeout_ms,
                                      https_fetch_fn *done, void *data, struct err *err)
{
    struct https_url u;
    struct http_header accept = { STR("accept"), STR("application/json") };
    struct net_tls_client_config tls_config = { .ca_pem = ca_pem, .alpn = NET_ALPN_H1 | NET_ALPN_H2 };
    CLEANUP(arena_deinit) struct arena a;
    arena_init(&a, 1u << 20);
    if (!https_url_parse(url, &a, &u, err)) {
        return NULL;
    }
    struct net_tls_client *tls = net_tls_client_new(&tls_config, err);
    const struct net_path_spec what = { .outgoing = true, .peer = STR("OIDC issuer"), .purpose = STR(PATH_PURPOSE_OIDC), .authn = "nothing",
                                        .address = arena_printf(&a, strchr(u.host, ':') ? "[%s]:%u" : "%s:%u", u.host, u.port) };
    struct net_path *path = net_path_get(l, &what);
    struct http_client_config config = { .host = str_c(u.host), .port = u.port, .tls = tls, .max_connections = 1, .connect_ms = timeout_ms,
                                         .path = path };
    struct http_client *client = tls ? http_client_new(l, &config, err) : NULL;
    net_path_unref(path);
    (void)net_tls_client_unref(tls);
    struct https_fetch *f = client ? calloc(1, sizeof(*f)) : NULL;
    if (!f) {
        (void)http_client_free(client);
        return NULL;
    }
    f->client = client;
    f->done = done;
    f->data = data;
    buf_init(&f->body, max);
    loop_task_init(&f->finish, l, on_finish, f);
    struct http_call_config call = { .method = STR("GET"), .target = u.target, .headers = &accept, .n_headers = 1, .response_ms = timeout_ms,
                                     .total_ms = timeout_ms };
    f->call = http_client_start(client, &call, &ops, f);
    return f;
}

void https_fetch_cancel(struct https_fetch *f)
{
    if (f) {
        f->call = http_call_cancel(f->call);
        fetch_free(f);
    }
}
