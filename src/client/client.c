#include "client/client-private.h"

#include <assert.h>
#include <stdlib.h>

#include "api/decode-json.h"
#include "api/encode-json.h"
#include "api/gen/meta_v1.h"
#include "base/encoding.h"
#include "base/fs.h"
#include "base/list.h"
#include "base/log.h"
#include "base/time-floor.h"
#include "client/limits.h"
#include "client/path-report.h"
#include "net/file-watch.h"
#include "net/http-client.h"
#include "net/tls.h"
#include "pki/cert.h"

/* The connections, shared by the clients that only differ in their token. */
struct connections {
    unsigned refs;
    struct http_client *http;
    struct net_tls_client *tls;   /* NULL: plain */
    struct client *owner;         /* whose credentials they are; NULL once it is freed */
    struct client_config source;  /* in 'strings': where the credentials come from; no PEM that has a file */
    struct arena strings;
    uint64_t print;               /* of the credentials in force */
    struct file_watch *watch;     /* NULL: nothing of it is a file */
    bool held;
};

struct client {
    struct loop *loop;
    struct connections *connections;
    struct arena strings; /* everything below that is text */
    struct str prefix;    /* path of the server URL, without a slash at its end */
    struct str user_agent;
    const char *token_file;
    struct buf token; /* the Authorization header's value: of the configuration, token_file or client_set_token() */
    uint64_t token_read_ms;
    bool token_is_old; /* the file has changed */
    struct net_dialer *dialer; /* NULL: direct */
    uint64_t timeout_ms;
    /* The token bucket as the time at which it was, or will be, full (options qps and burst); 0 ns:
     * unlimited. */
    uint64_t token_ns, burst_ns, full_ns;
    struct list calls;
};

enum call_kind { CALL_DECODED, CALL_RAW, CALL_STREAM };

struct client_call {
    struct list link; /* in client.calls */
    struct client *client;
    enum call_kind kind;
    client_done_fn *done; /* NULL: detached */
    client_data_fn *on_data;
    void *data;
    const struct api_type *type;

    /* The request, kept for another try. */
    char *method, *target, *content_type;
    struct net_chunk body;
    bool has_body;
    uint64_t deadline_ms; /* 0: none */
    unsigned tries;

    /* The try under way: one of the two. */
    struct http_call *http;
    struct loop_timer timer;

    /* The answer so far. */
    int status;
    struct buf answer;
    char retry_after[32];
};

/* ---- the client ---- */

/* Takes "https://host:port/prefix" apart. */
static bool parse_server(struct arena *a, struct str server, bool *ret_tls, struct str *ret_host,
                         uint16_t *ret_port, struct str *ret_prefix, struct err *err)
{
    bool tls = str_starts(server, STR("https://"));
    if (!tls && !str_starts(server, STR("http://"))) {
        return err_set(err, ERR_BAD_REQUEST, "server \"%.*s\" is no URL that begins with https://",
                       STR_ARG(server));
    }
    struct str rest = str_sub(server, tls ? 8 : 7, SIZE_MAX), host_port, path;
    if (!str_cut(rest, '/', &host_port, &path)) {
        path = STR_EMPTY;
    }
    while (path.len && path.ptr[path.len - 1] == '/') {
        path.len--;
    }
    *ret_port = tls ? 443 : 80;
    if (!net_split_host_port(host_port, ret_host, ret_port) || str_empty(*ret_host)) {
        return err_set(err, ERR_BAD_REQUEST, "server \"%.*s\" has no host or a bad port",
                       STR_ARG(server));
    }
    *ret_tls = tls;
    *ret_host = arena_str(a, *ret_host);
    *ret_prefix = path.len ? arena_printf(a, "/%.*s", STR_ARG(path)) : STR_EMPTY;
    return true;
}

/* ---- credentials ---- */

static struct net_tls_client_config tls_config(const struct client_config *config)
{
    return (struct net_tls_client_config){
        .ca_pem = config->ca_pem,
        .identity = { .cert_pem = config->client_cert_pem, .key_pem = config->client_key_pem },
        .server_name = config->tls_server_name,
        .insecure_skip_verify = config->insecure,
        .alpn = NET_ALPN_H1 | NET_ALPN_H2,
    };
}

static uint64_t print_of(const struct client_config *c)
{
    const struct str parts[] = { c->ca_pem, c->client_cert_pem, c->client_key_pem };
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        for (size_t k = 0; k < parts[i].len; k++) {
            h = (h ^ (unsigned char)parts[i].ptr[k]) * 1099511628211u;
        }
        h *= 31;
    }
    return h;
}

/* Our own certificate was signed in the past, whatever the clock says. */
static void learn_time(struct str pem)
{
    struct pki_cert *cert = pem.len ? pki_cert_read(&pem, NULL) : NULL;
    if (cert) {
        time_floor_raise(pki_cert_not_before(cert));
        pki_cert_unref(cert);
    }
}

/* The fixed Authorization header of the configuration. */
static void set_authorization(struct client *c, const struct client_config *config)
{
    struct buf b;
    buf_clear(&c->token);
    if (!str_empty(config->token)) {
        client_set_token(c, config->token);
    } else if (str_empty(config->token_file) && !str_empty(config->username)) {
        struct arena a;
        arena_init(&a, CLIENT_FILE_MAX);
        buf_init(&b, 8192);
        base64_encode(&b, arena_printf(&a, "%.*s:%.*s", STR_ARG(config->username), STR_ARG(config->password)));
        buf_printf(&c->token, "Basic %.*s", STR_ARG(buf_str(&b)));
        buf_deinit(&b);
        arena_deinit(&a);
    }
}

/* Everything of 'config' that the next look at the files needs. */
static void keep_source(struct connections *k, const struct client_config *config)
{
    struct client_config *s = &k->source;
    struct arena *a = &k->strings;
    arena_init_chunk(a, 8u << 20, 512);
    *s = (struct client_config){ .insecure = config->insecure, .no_credentials = config->no_credentials };
    s->server = arena_str(a, config->server);
    s->tls_server_name = config->tls_server_name.len ? arena_str(a, config->tls_server_name) : STR_NULL;
    s->kubeconfig = config->kubeconfig.len ? arena_str(a, config->kubeconfig) : STR_NULL;
    s->context = config->context.len ? arena_str(a, config->context) : STR_NULL;
    s->ca_file = config->ca_file.len ? arena_str(a, config->ca_file) : STR_NULL;
    s->client_cert_file = config->client_cert_file.len ? arena_str(a, config->client_cert_file) : STR_NULL;
    s->client_key_file = config->client_key_file.len ? arena_str(a, config->client_key_file) : STR_NULL;
    s->token_file = config->token_file.len ? arena_str(a, config->token_file) : STR_NULL;
    if (!s->kubeconfig.len && (s->ca_file.len || s->client_cert_file.len)) {
        /* What has no file is not read again. */
        s->ca_pem = s->ca_file.len ? STR_NULL : arena_str(a, config->ca_pem);
        s->client_cert_pem = s->client_cert_file.len ? STR_NULL : arena_str(a, config->client_cert_pem);
        s->client_key_pem = s->client_key_file.len ? STR_NULL : arena_str(a, config->client_key_pem);
    }
}

static bool reload(struct connections *k, struct err *err)
{
    struct arena a;
    struct client_config config = k->source;
    arena_init(&a, 8u << 20);
    bool ok = kubeconfig_reread(&a, &config, err);
    uint64_t print = ok ? print_of(&config) : 0;
    if (ok && k->tls && print != k->print) {
        const struct net_tls_client_config t = tls_config(&config);
        ok = net_tls_client_reload(k->tls, &t, err);
        if (ok) {
            k->print = print;
            http_client_renew(k->http);
            log_info("new credentials for %.*s are in use", STR_ARG(k->source.server));
        }
    }
    if (ok && k->owner && k->owner->token_file) {
        k->owner->token_is_old = true;
    } else if (ok && k->owner && k->source.kubeconfig.len && !config.no_credentials) {
        set_authorization(k->owner, &config);
    }
    arena_deinit(&a);
    return ok;
}

bool client_reload(struct client *c, struct err *err)
{
    return reload(c->connections, err);
}

static void on_files(void *arg)
{
    struct err err = { 0 };
    if (!reload(arg, &err)) {
        log_warning("credentials cannot be read again, the old ones stay: %s", err.msg);
    }
}

static void watch_files(struct client *c, const struct client_config *config)
{
    struct connections *k = c->connections;
    const struct str files[] = { config->kubeconfig, config->ca_file, config->client_cert_file, config->client_key_file,
                                 config->token_file };
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        if (files[i].len) {
            k->watch = k->watch ? k->watch : file_watch_new(c->loop, on_files, k);
            file_watch_add(k->watch, files[i]);
        }
    }
}

void client_hold(struct client *c, bool held)
{
    c->connections->held = held;
}

static bool connect_http(struct client *c, const struct client_config *config, const struct client_options *options,
                         struct err *err)
{
    bool with_tls;
    struct str host;
    uint16_t port;
    if (!parse_server(&c->strings, config->server, &with_tls, &host, &port, &c->prefix, err)) {
        return false;
    }
    struct net_tls_client *tls = NULL;
    if (with_tls) {
        const struct net_tls_client_config t = tls_config(config);
        tls = net_tls_client_new(&t, err);
        if (!tls) {
            return false;
        }
        learn_time(config->client_cert_pem);
    }
    struct str address =
        arena_printf(&c->strings, str_find_char(host, ':') >= 0 ? "[%.*s]:%u" : "%.*s:%u", STR_ARG(host), port);
    struct net_path_spec what = {
        .outgoing = true,
        .peer = str_c(options->peer ? options->peer : "kube-apiserver"),
        .purpose = str_c(options->purpose ? options->purpose : PATH_PURPOSE_API),
        .address = address,
        .authn = config->client_cert_pem.len                     ? "client certificate"
                 : config->token.len || config->token_file.len ? "token"
                 : config->username.len                          ? "password"
                                                                 : "nothing of its own",
    };
    struct net_path *path = net_path_get(c->loop, &what);
    struct http_client_config h = { .host = host, .port = port, .tls = tls, .path = path, .dialer = c->dialer };
    struct http_client *http = http_client_new(c->loop, &h, err);
    net_path_unref(path);
    if (!http) {
        net_tls_client_unref(tls);
        return false;
    }
    c->connections = calloc(1, sizeof(*c->connections));
    if (!c->connections) {
        abort();
    }
    *c->connections = (struct connections){ .refs = 1, .http = http, .tls = tls, .owner = c, .print = print_of(config) };
    keep_source(c->connections, config);
    watch_files(c, config);
    return true;
}

struct client *client_new(struct loop *loop, const struct client_config *config,
                          const struct client_options *options, struct err *err)
{
    struct client *c = calloc(1, sizeof(*c));
    if (!c) {
        abort();
    }
    c->loop = loop;
    list_init(&c->calls);
    arena_init(&c->strings, ARENA_NO_BUDGET);
    buf_init(&c->token, CLIENT_TOKEN_MAX);
    c->user_agent =
        arena_str(&c->strings, str_c(options->user_agent ? options->user_agent : "coracle"));
    c->dialer = options->dialer;
    c->timeout_ms = options->timeout_ms ? options->timeout_ms : 30000;
    if (options->qps > 0) {
        c->token_ns = (uint64_t)(1e9 / options->qps);
        c->burst_ns = c->token_ns * MAX(options->burst, 1u);
    }
    if (str_empty(config->token) && !str_empty(config->token_file)) {
        c->token_file = arena_cstr(&c->strings, config->token_file);
    } else {
        set_authorization(c, config);
    }
    if (!connect_http(c, config, options, err)) {
        return client_free(c);
    }
    return c;
}

struct client *client_share(struct client *c)
{
    struct client *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    s->loop = c->loop;
    s->connections = c->connections;
    s->connections->refs++;
    list_init(&s->calls);
    arena_init_chunk(&s->strings, ARENA_NO_BUDGET, 256);
    buf_init(&s->token, CLIENT_TOKEN_MAX);
    s->prefix = arena_str(&s->strings, c->prefix);
    s->user_agent = arena_str(&s->strings, c->user_agent);
    s->timeout_ms = c->timeout_ms;
    s->token_ns = c->token_ns;
    s->burst_ns = c->burst_ns;
    return s;
}

void client_set_token(struct client *c, struct str token)
{
    buf_clear(&c->token);
    if (token.len) {
        buf_append_c(&c->token, "Bearer ");
        buf_append(&c->token, token);
    }
}

static void call_free(struct client_call *call)
{
    list_remove(&call->link);
    loop_timer_stop(&call->timer);
    http_call_cancel(call->http);
    net_chunk_unref(call->body);
    buf_deinit(&call->answer);
    free(call->method);
    free(call->target);
    free(call->content_type);
    free(call);
}

struct client *client_free(struct client *c)
{
    if (!c) {
        return NULL;
    }
    while (!list_empty(&c->calls)) {
        call_free(LIST_ENTRY(c->calls.next, struct client_call, link));
    }
    if (c->connections && c->connections->owner == c) {
        c->connections->owner = NULL;
    }
    if (c->connections && --c->connections->refs == 0) {
        file_watch_free(c->connections->watch);
        http_client_free(c->connections->http);
        net_tls_client_unref(c->connections->tls);
        arena_deinit(&c->connections->strings);
        free(c->connections);
    }
    if (c->token.ptr) {
        explicit_bzero(c->token.ptr, c->token.len);
    }
    buf_deinit(&c->token);
    arena_deinit(&c->strings);
    free(c);
    return NULL;
}

struct loop *client_loop(const struct client *c)
{
    return c->loop;
}

/* The Authorization header's value, reading the token file again when it is old. Absent: none. */
static struct str authorization_of(struct client *c)
{
    if (!c->token_file) {
        return c->token.len ? buf_str(&c->token) : STR_NULL;
    }
    uint64_t now = loop_now_ms(c->loop);
    if (!c->token.len || c->token_is_old || now - c->token_read_ms >= CLIENT_TOKEN_REREAD_MS) {
        struct err err;
        struct buf file;
        buf_init(&file, CLIENT_TOKEN_MAX);
        if (fs_read(c->token_file, CLIENT_TOKEN_MAX - 16, &file, &err)) {
            buf_clear(&c->token);
            buf_append_c(&c->token, "Bearer ");
            buf_append(&c->token, str_trim(buf_str(&file)));
            c->token_read_ms = now;
            c->token_is_old = false;
        } else {
            log_warning("the token stays as it is: %s", err.msg);
        }
        buf_deinit(&file);
    }
    return c->token.len ? buf_str(&c->token) : STR_NULL;
}

/* ---- a call ---- */

/* Ends the call: frees it after 'done' saw the answer. */
static void call_end(struct client_call *call, struct client_answer *answer)
{
    client_done_fn *done = call->done;
    void *data = call->data;
    struct arena a;
    arena_init(&a, CLIENT_ARENA_MAX);
    /* 'done' may free the client, and with it every call in its list: this one must not be there
     * any more. */
    list_remove(&call->link);
    loop_timer_stop(&call->timer);
    if (done) {
        answer->arena = &a;
        done(data, answer);
    }
    call_free(call);
    arena_deinit(&a);
}

static void call_fail(struct client_call *call, const struct err *err)
{
    struct client_answer answer = { .err = err,
                                    .http_status = call->status,
                                    .body = buf_str(&call->answer) };
    call_end(call, &answer);
}

static void call_start(struct client_call *call);

static void on_again(void *arg)
{
    call_start(arg);
}

/* Tries again after 'ms' if the tries and the deadline allow it. */
static bool call_again(struct client_call *call, uint64_t ms)
{
    uint64_t now = loop_now_ms(call->client->loop);
    if (call->tries >= CLIENT_TRIES || (call->deadline_ms && now + ms >= call->deadline_ms)) {
        return false;
    }
    buf_clear(&call->answer);
    call->status = 0;
    loop_timer_start(&call->timer, ms);
    return true;
}

static void on_response(struct http_call *h UNUSED, const struct http_response *r, void *arg)
{
    struct client_call *call = arg;
    call->status = r->status;
    call->retry_after[0] = '\0';
    struct str after = http_header_get(&r->headers, STR("retry-after"));
    if (!str_to_cstr(after, call->retry_after, sizeof(call->retry_after))) {
        call->retry_after[0] = '\0';
    }
    struct str warning;
    for (size_t pos = 0; http_header_next(&r->headers, STR("warning"), &pos, &warning);) {
        log_debug("%s %s: the server warns: %.*s", call->method, call->target, STR_ARG(warning));
    }
}

static void on_body(struct http_call *h UNUSED, struct str bytes, void *arg)
{
    struct client_call *call = arg;
    if (call->kind == CALL_STREAM && call->status == 200) {
        call->on_data(call->data, bytes);
        return;
    }
    buf_append(&call->answer, bytes);
}

/* The error that a non-2xx answer says: its Status, or words of our own for other bodies. */
static void status_error(const struct client_call *call, struct arena *a, struct err *err)
{
    struct meta_v1_status s = { 0 };
    if (api_decode_json(a, &meta_v1_status_type, buf_str(&call->answer), NULL, &s, NULL) &&
        !str_empty(s.message)) {
        err_set(err, err_code_of(s.reason, call->status), "%.*s", STR_ARG(s.message));
        return;
    }
    err_set(err, err_code_of(STR_NULL, call->status), "%s %s was answered %d %s", call->method,
            call->target, call->status, http_status_text(call->status));
}

static void call_succeed(struct client_call *call)
{
    struct err err;
    struct arena a;
    struct client_answer answer = { .http_status = call->status, .body = buf_str(&call->answer) };
    arena_init(&a, CLIENT_ARENA_MAX);
    if (buf_failed(&call->answer)) {
        err_set(&err, ERR_TOO_LARGE, "%s %s was answered with more than %u bytes", call->method,
                call->target, CLIENT_ANSWER_MAX);
        answer.err = &err;
    } else if (call->kind == CALL_DECODED && answer.body.len) {
        struct api_type_meta tm = { 0 };
        bool status =
            api_peek_type_meta(&a, answer.body, &tm, &err) && str_eq(tm.kind, STR("Status"));
        answer.type = status ? &meta_v1_status_type : call->type;
        void *object = arena_alloc(&a, answer.type->size);
        if (object && api_decode_json(&a, answer.type, answer.body, NULL, object, &err)) {
            answer.object = object;
        } else {
            err_wrap(&err, "the answer to %s %s cannot be read", call->method, call->target);
            answer.err = &err;
        }
    }
    call_end(call, &answer);
    arena_deinit(&a);
}

static void on_end(struct http_call *h UNUSED, const struct http_headers *trailers UNUSED,
                   void *arg)
{
    struct client_call *call = arg;
    call->http = NULL;
    if (call->status >= 200 && call->status < 300) {
        call_succeed(call);
        return;
    }
    uint64_t after_s;
    if ((call->status == 429 || call->status == 503) &&
        str_to_u64(str_c(call->retry_after), &after_s) && after_s < 600 &&
        call_again(call, MAX(after_s * 1000, (uint64_t)50))) {
        return;
    }
    struct err err;
    struct arena a;
    arena_init(&a, CLIENT_ARENA_MAX);
    status_error(call, &a, &err);
    struct client_answer answer = { .err = &err,
                                    .http_status = call->status,
                                    .body = buf_str(&call->answer),
                                    .retry_after = str_c(call->retry_after) };
    call_end(call, &answer);
    arena_deinit(&a);
}

static void on_error(struct http_call *h UNUSED, const struct http_call_error *e, void *arg)
{
    struct client_call *call = arg;
    call->http = NULL;
    bool read_only = strcmp(call->method, "GET") == 0;
    if (!e->tls && !e->responded && (read_only || !e->sent) && call->kind != CALL_STREAM &&
        call_again(call, 50u << MIN(call->tries, 5u))) {
        return;
    }
    struct err err = e->err;
    err_wrap(&err, "%s %s", call->method, call->target);
    call_fail(call, &err);
}

static const struct http_call_ops call_ops = {
    .on_response = on_response,
    .on_body = on_body,
    .on_end = on_end,
    .on_error = on_error,
};

/* How long the bucket makes the next call wait, in milliseconds; takes its token. */
static uint64_t bucket_wait_ms(struct client *c)
{
    if (!c->token_ns) {
        return 0;
    }
    uint64_t now = loop_now_ms(c->loop) * 1000000u;
    c->full_ns = MAX(c->full_ns, now) + c->token_ns;
    uint64_t debt = c->full_ns - now;
    return debt > c->burst_ns ? (debt - c->burst_ns + 999999) / 1000000 : 0;
}

static void call_start(struct client_call *call)
{
    struct client *c = call->client;
    struct http_header headers[4];
    size_t n = 0;
    if (c->connections->held) {
        if (call->deadline_ms && loop_now_ms(c->loop) >= call->deadline_ms) {
            struct err err;
            err_set(&err, ERR_UNAVAILABLE, "%s %s: the certificate for it is yet to come", call->method, call->target);
            call_fail(call, &err);
        } else {
            loop_timer_start(&call->timer, CLIENT_HELD_MS);
        }
        return;
    }
    struct str authorization = authorization_of(c);
    headers[n++] = (struct http_header){ STR("accept"), STR("application/json") };
    headers[n++] = (struct http_header){ STR("user-agent"), c->user_agent };
    if (authorization.ptr) {
        headers[n++] = (struct http_header){ STR("authorization"), authorization };
    }
    if (call->has_body) {
        headers[n++] = (struct http_header){ STR("content-type"), str_c(call->content_type) };
    }
    struct net_chunk body = net_chunk_ref(call->body);
    struct http_call_config config = {
        .method = str_c(call->method),
        .target = str_c(call->target),
        .headers = headers,
        .n_headers = n,
        .body = call->has_body ? &body : NULL,
        .n_body = call->has_body ? 1 : 0,
    };
    if (call->deadline_ms) {
        uint64_t now = loop_now_ms(c->loop);
        uint64_t left = call->deadline_ms > now ? call->deadline_ms - now : 1;
        config.response_ms = (uint32_t)left;
        config.total_ms = (uint32_t)left;
    }
    call->tries++;
    call->http = http_client_start(c->connections->http, &config, &call_ops, call);
}

static struct client_call *call_new(struct client *c, struct str method, struct str target,
                                    enum call_kind kind, client_done_fn *done, void *data)
{
    struct client_call *call = calloc(1, sizeof(*call));
    if (!call) {
        abort();
    }
    call->client = c;
    call->kind = kind;
    call->done = done;
    call->data = data;
    call->method = str_dup(method);
    call->target = str_dup(target);
    buf_init(&call->answer, CLIENT_ANSWER_MAX);
    loop_timer_init(&call->timer, c->loop, on_again, call);
    list_push_back(&c->calls, &call->link);
    return call;
}

static void call_set_body(struct client_call *call, struct str content_type, struct str body)
{
    if (content_type.ptr) {
        call->content_type = str_dup(content_type);
        call->body = net_chunk_copy(body);
        call->has_body = true;
    }
}

static void call_begin(struct client_call *call, uint64_t timeout_ms)
{
    uint64_t wait = bucket_wait_ms(call->client);
    if (timeout_ms) {
        call->deadline_ms = loop_now_ms(call->client->loop) + wait + timeout_ms;
    }
    if (wait) {
        loop_timer_start(&call->timer, wait);
    } else {
        call_start(call);
    }
}

/* "/apis/apps/v1/namespaces/default/deployments/web/status?query" behind the server's prefix. */
static void target_path(struct buf *b, const struct client *c, const struct client_target *t)
{
    const struct api_resource *r = t->resource;
    buf_append(b, c->prefix);
    if (str_empty(r->group)) {
        buf_append_c(b, "/api/");
    } else {
        buf_append_c(b, "/apis/");
        buf_append(b, r->group);
        buf_append_char(b, '/');
    }
    buf_append(b, r->version);
    if (t->ns.len) {
        buf_append_c(b, "/namespaces/");
        percent_encode(b, t->ns, "");
    }
    buf_append_char(b, '/');
    buf_append(b, r->resource);
    if (t->name.len) {
        buf_append_char(b, '/');
        percent_encode(b, t->name, ":");
        if (t->subresource.len) {
            buf_append_char(b, '/');
            percent_encode(b, t->subresource, "/");
        }
    }
    if (t->query.len) {
        buf_append_char(b, '?');
        buf_append(b, t->query);
    }
}

static struct client_call *call_on(struct client *c, const struct client_target *t,
                                   struct str method, enum call_kind kind, client_done_fn *done,
                                   void *data)
{
    struct buf path;
    buf_init(&path, 65536);
    target_path(&path, c, t);
    struct client_call *call = call_new(c, method, buf_str(&path), kind, done, data);
    buf_deinit(&path);
    return call;
}

struct client_call *client_send(struct client *c, const struct client_target *t,
                                const struct client_request *r, client_done_fn *done, void *data)
{
    struct client_call *call = call_on(c, t, r->method, CALL_DECODED, done, data);
    call->type = r->answer_type   ? r->answer_type
                 : t->answer_type ? t->answer_type
                                  : t->resource->type;
    call_set_body(call, r->content_type, r->body);
    call_begin(call, t->timeout_ms ? t->timeout_ms : c->timeout_ms);
    return call;
}

struct client_call *client_stream(struct client *c, const struct client_target *t,
                                  client_data_fn *on_data, client_done_fn *done, void *data)
{
    struct client_call *call = call_on(c, t, STR("GET"), CALL_STREAM, done, data);
    call->on_data = on_data;
    call_begin(call, t->timeout_ms);
    return call;
}

struct client_call *client_raw(struct client *c, struct str method, struct str path,
                               struct str content_type, struct str body, client_done_fn *done,
                               void *data)
{
    struct buf target;
    buf_init(&target, 65536);
    buf_append(&target, c->prefix);
    buf_append(&target, path);
    if (target.len == 0) {
        buf_append_char(&target, '/');
    }
    struct client_call *call = call_new(c, method, buf_str(&target), CALL_RAW, done, data);
    buf_deinit(&target);
    call_set_body(call, content_type, body);
    call_begin(call, c->timeout_ms);
    return call;
}

struct client_call *client_get(struct client *c, const struct client_target *t,
                               client_done_fn *done, void *data)
{
    struct client_request r = { .method = STR("GET") };
    if (!t->name.len && !t->answer_type) {
        r.answer_type = t->resource->list_type;
    }
    return client_send(c, t, &r, done, data);
}

static struct client_call *send_object(struct client *c, const struct client_target *t,
                                       struct str method, const struct api_type *type,
                                       const void *object, client_done_fn *done, void *data)
{
    struct buf body;
    struct api_json_encode e = { 0 };
    char api_version[256];
    if (type == t->resource->type) {
        const struct api_resource *r = t->resource;
        snprintf(api_version, sizeof(api_version), "%.*s%s%.*s", STR_ARG(r->group),
                 str_empty(r->group) ? "" : "/", STR_ARG(r->version));
        e.kind = r->kind;
        e.api_version = str_c(api_version);
    }
    buf_init(&body, CLIENT_ANSWER_MAX);
    if (!api_encode_json(&body, type, object, &e, NULL)) {
        abort(); /* an object of ours beyond 64 MiB */
    }
    struct client_request r = { .method = method,
                                .content_type = STR("application/json"),
                                .body = buf_str(&body) };
    r.answer_type = t->answer_type ? t->answer_type : type;
    struct client_call *call = client_send(c, t, &r, done, data);
    buf_deinit(&body);
    return call;
}

struct client_call *client_create(struct client *c, const struct client_target *t,
                                  const struct api_type *body_type, const void *object,
                                  client_done_fn *done, void *data)
{
    return send_object(c, t, STR("POST"), body_type ? body_type : t->resource->type, object, done,
                       data);
}

struct client_call *client_update(struct client *c, const struct client_target *t,
                                  const void *object, client_done_fn *done, void *data)
{
    return send_object(c, t, STR("PUT"), t->resource->type, object, done, data);
}

struct str client_patch_content_type(enum client_patch_type type)
{
    static const struct str content_types[] = {
        [CLIENT_PATCH_JSON] = STR_INIT("application/json-patch+json"),
        [CLIENT_PATCH_MERGE] = STR_INIT("application/merge-patch+json"),
        [CLIENT_PATCH_STRATEGIC] = STR_INIT("application/strategic-merge-patch+json"),
        [CLIENT_PATCH_APPLY] = STR_INIT("application/apply-patch+yaml"),
    };
    return content_types[type];
}

struct client_call *client_patch(struct client *c, const struct client_target *t,
                                 enum client_patch_type type, struct str patch,
                                 client_done_fn *done, void *data)
{
    struct client_request r = { .method = STR("PATCH"),
                                .content_type = client_patch_content_type(type),
                                .body = patch };
    return client_send(c, t, &r, done, data);
}

struct str client_delete_body(struct arena *a, const struct client_delete_options *options)
{
    struct meta_v1_delete_options o = { .kind = STR_INIT("DeleteOptions"),
                                        .api_version = STR_INIT("v1") };
    struct meta_v1_preconditions preconditions = { 0 };
    struct buf b;
    if (options->uid.len || options->resource_version.len) {
        preconditions.uid = options->uid.len ? options->uid : STR_NULL;
        preconditions.resource_version =
            options->resource_version.len ? options->resource_version : STR_NULL;
        o.preconditions = &preconditions;
    }
    if (options->grace_seconds >= 0) {
        o.has_grace_period_seconds = true;
        o.grace_period_seconds = options->grace_seconds;
    }
    o.propagation_policy = options->propagation.len ? options->propagation : STR_NULL;
    buf_init(&b, 65536);
    if (!api_encode_json(&b, &meta_v1_delete_options_type, &o, NULL, NULL)) {
        abort();
    }
    struct str body = arena_str(a, buf_str(&b));
    buf_deinit(&b);
    return body;
}

struct client_call *client_delete(struct client *c, const struct client_target *t,
                                  const struct client_delete_options *options, client_done_fn *done,
                                  void *data)
{
    static const struct client_delete_options none = { .grace_seconds = -1 };
    struct arena a;
    arena_init(&a, 1 << 20);
    struct client_request r = { .method = STR("DELETE"),
                                .content_type = STR("application/json"),
                                .body = client_delete_body(&a, options ? options : &none) };
    struct client_call *call = client_send(c, t, &r, done, data);
    arena_deinit(&a);
    return call;
}

void client_cancel(struct client_call *call)
{
    if (call) {
        call_free(call);
    }
}

void client_detach(struct client_call *call)
{
    if (call) {
        assert(call->kind != CALL_STREAM);
        call->done = NULL;
    }
}
