/*
 * Asks every program of the cluster what it knows of its paths, and makes the catalog of the answers.
 *
 * Kubelets are asked as for logs: over HTTPS, verified, with the API server's client certificate. The managers and the scheduler are asked
 * where they are when they run beside the API server: on loopback, with the same certificate (whose answer is believed as much as
 * loopback is). The tunnel process answers on its socket. Who cannot be asked is in the catalog with the reason, and with what this end
 * of the connection knows.
 */
#include <stdlib.h>

#include "api/gen/core_v1.h"
#include "apiserver/egress.h"
#include "apiserver/kubelet.h"
#include "apiserver/limits.h"
#include "apiserver/paths.h"
#include "apiserver/server.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "client/path-report.h"

struct question {
    struct paths_collector *c;
    char *process, *node; /* node "": beside us */
    bool may_be_absent;   /* nothing is said when nobody is there */
    struct http_client *client;
    bool own_client;
    uint16_t plain_port;  /* asked when the secure one refuses; 0: none */
    struct http_call *call;
    struct buf answer;
    char error[300], before[300]; /* before: of the secure port */
};

struct paths_ask {
    struct list link;
    struct paths_collector *c;
    paths_done_fn *done;
    void *arg;
};

struct paths_collector {
    struct apiserver *srv;
    struct list asks;
    struct question *questions;
    size_t n, next, under_way, retries;
    bool collecting;
    struct net_tls_client *local_tls; /* shows our certificate, verifies nobody: for loopback */
    struct arena a;                   /* of the catalog */
    struct path_catalog catalog;
    bool have_catalog;
    struct loop_task deliver, again;
    struct loop_timer stale;          /* the catalog goes when it is old */
    struct path_node *nodes;          /* in 'a' */
    size_t n_nodes;
};

static void ask_more(struct paths_collector *c);
static void ask_again(void *arg);
static void begin(struct paths_collector *c);

/* ---- one question ---- */

static void answered(struct question *q)
{
    struct paths_collector *c = q->c;
    q->call = NULL;
    c->under_way--;
    if (q->error[0] && q->plain_port) {
        loop_task_defer(&c->again);
        c->retries++;
    }
    ask_more(c);
}

static void on_response(struct http_call *call UNUSED, const struct http_response *r, void *arg)
{
    struct question *q = arg;
    q->may_be_absent = false; /* somebody is there */
    if (r->status != 200) {
        (void)snprintf(q->error, sizeof(q->error), "%s",
                       r->status == 404   ? "it is another program than ours: it does not answer /paths"
                       : r->status == 401 ? "it does not know the API server's certificate (401)"
                       : r->status == 403 ? "the API server may not read its /paths (403)"
                                          : "it answers with an error");
    }
}

static void on_body(struct http_call *call UNUSED, struct str data, void *arg)
{
    struct question *q = arg;
    if (!q->error[0]) {
        buf_append(&q->answer, data);
    }
}

static void on_end(struct http_call *call UNUSED, const struct http_headers *trailers UNUSED, void *arg)
{
    answered(arg);
}

static void on_error(struct http_call *call UNUSED, const struct http_call_error *e, void *arg)
{
    struct question *q = arg;
    (void)snprintf(q->error, sizeof(q->error), "%.290s", e->err.msg);
    answered(q);
}

/* The pool may let a client go as long as it has no call: so it is taken right before one. */
static struct http_client *client_of_node(struct question *q)
{
    struct apiserver *s = q->c->srv;
    struct rest *nodes = registry_rest(s, STR_EMPTY, STR("nodes"));
    const struct object *o = nodes ? watch_cache_get(nodes->cache, STR_EMPTY, str_c(q->node)) : NULL;
    struct http_client *client = NULL;
    struct err err = { 0 };
    struct arena a;
    arena_init(&a, PATHS_ARENA);
    const struct core_v1_node *node = o ? rest_decode(nodes, &a, o) : NULL;
    if (node) {
        client = kubelet_client(s, node, false, &err);
    } else {
        err_set(&err, ERR_NOT_FOUND, "the node has just gone");
    }
    if (!client) {
        (void)snprintf(q->error, sizeof(q->error), "%.290s", err.msg);
    }
    arena_deinit(&a);
    return client;
}

static void start(struct question *q)
{
    static const struct http_call_ops ops = { .on_response = on_response, .on_body = on_body, .on_end = on_end, .on_error = on_error };
    const struct http_header accept = { STR("accept"), STR("application/json") };
    const struct http_call_config call = { .method = STR("GET"), .target = STR("/paths"), .headers = &accept, .n_headers = 1, .total_ms = PATHS_ASK_MS };
    q->client = q->client ? q->client : client_of_node(q);
    if (!q->client) {
        return;
    }
    buf_init(&q->answer, PATHS_MAX_REPORT);
    q->c->under_way++;
    q->call = http_client_start(q->client, &call, &ops, q);
}

/* ---- whom to ask ---- */

static struct question *add(struct paths_collector *c, struct str process, struct str node)
{
    struct question *q = &c->questions[c->n++];
    *q = (struct question){ .c = c, .process = str_dup(process), .node = str_dup(node) };
    return q;
}

static bool add_node(void *arg, const void *obj)
{
    struct paths_collector *c = arg;
    const struct core_v1_node *node = obj;
    if (c->n_nodes == PATHS_MAX_NODES) {
        return false;
    }
    (void)add(c, STR("kubelet"), node->metadata.name);
    struct path_node *n = &c->nodes[c->n_nodes++];
    n->name = arena_str(&c->a, node->metadata.name);
    for (size_t i = 0; i < node->status.n_addresses && str_empty(n->address); i++) {
        if (str_eq_c(node->status.addresses[i].type, "InternalIP")) {
            n->address = arena_printf(&c->a, "%.*s:%u", STR_ARG(node->status.addresses[i].address), kubelet_port(c->srv, node));
        }
    }
    return true;
}

/* The certificate that kubelets know us by, for those beside us. */
static bool local_tls(struct paths_collector *c)
{
    const struct apiserver_config *cfg = &c->srv->cfg;
    char cert_path[4096], key_path[4096];
    CLEANUP(buf_deinit) struct buf cert, key;
    struct err err = { 0 };
    buf_init(&cert, 1u << 20);
    buf_init(&key, 1u << 20);
    bool given = cfg->kubelet_client_certificate.len && str_to_cstr(cfg->kubelet_client_certificate, cert_path, sizeof(cert_path)) &&
                 str_to_cstr(cfg->kubelet_client_key, key_path, sizeof(key_path)) && fs_read(cert_path, 1u << 20, &cert, &err) &&
                 fs_read(key_path, 1u << 20, &key, &err);
    struct net_tls_client_config t = { .insecure_skip_verify = true, .alpn = NET_ALPN_H1 };
    if (given) {
        t.identity = (struct net_tls_identity){ .cert_pem = buf_str(&cert), .key_pem = buf_str(&key) };
    }
    net_tls_client_unref(c->local_tls);
    c->local_tls = net_tls_client_new(&t, &err);
    return c->local_tls != NULL;
}

/* The client for one beside us; NULL without memory. */
static struct http_client *local_client(struct paths_collector *c, const char *process, const char *host, uint16_t port, bool tls)
{
    struct err err = { 0 };
    char address[160];
    (void)snprintf(address, sizeof(address), port ? "%.120s:%u" : "%.120s", host, port);
    const struct net_path_spec spec = { .outgoing = true, .peer = str_c(process), .purpose = STR(PATH_PURPOSE_REPORT), .address = str_c(address),
                                        .authn = tls ? "client certificate" : port ? "nothing" : "file permissions" };
    struct net_path *path = net_path_get(c->srv->loop, &spec);
    const struct http_client_config cfg = { .host = str_c(host), .port = port, .tls = tls ? c->local_tls : NULL, .protocol = HTTP_CLIENT_H1_ONLY,
                                            .connect_ms = 1000, .path = path };
    struct http_client *client = http_client_new(c->srv->loop, &cfg, &err);
    net_path_unref(path);
    return client;
}

static void add_local(struct paths_collector *c, const char *process, const char *host, uint16_t port, uint16_t plain_port)
{
    struct http_client *client = local_client(c, process, host, port, port != 0);
    if (client) {
        struct question *q = add(c, str_c(process), STR_EMPTY);
        q->client = client;
        q->own_client = q->may_be_absent = true;
        q->plain_port = plain_port;
    }
}

/* Those whose secure port did not answer: by the plain one, which tells this host alone. */
static void ask_again(void *arg)
{
    struct paths_collector *c = arg;
    c->retries = 0;
    for (size_t i = 0; c->collecting && i < c->n; i++) {
        struct question *q = &c->questions[i];
        struct http_client *client = q->error[0] && q->plain_port && !q->call ? local_client(c, q->process, "127.0.0.1", q->plain_port, false) : NULL;
        if (client) {
            http_client_free(q->client);
            buf_deinit(&q->answer);
            q->client = client;
            q->plain_port = 0;
            (void)snprintf(q->before, sizeof(q->before), "%s", q->error);
            q->error[0] = 0;
            start(q);
        }
    }
    ask_more(c);
}

static void begin(struct paths_collector *c)
{
    static const struct {
        const char *process;
        uint16_t port, plain;
    } beside[] = { { "kube-controller-manager", 10257, 10252 }, { "cloud-controller-manager", 10258, 10253 }, { "kube-scheduler", 10259, 10251 } };
    struct apiserver *s = c->srv;
    char socket[108];
    c->have_catalog = false;
    arena_deinit(&c->a);
    arena_init(&c->a, PATHS_ARENA);
    c->n = c->next = c->under_way = c->retries = c->n_nodes = 0;
    c->questions = calloc(PATHS_MAX_NODES + ARRAY_SIZE(beside) + 1, sizeof(*c->questions));
    c->nodes = arena_new_n(&c->a, struct path_node, PATHS_MAX_NODES);
    if (!c->questions || !c->nodes) {
        abort();
    }
    c->collecting = true;
    if (local_tls(c)) {
        for (size_t i = 0; i < ARRAY_SIZE(beside); i++) {
            add_local(c, beside[i].process, "127.0.0.1", beside[i].port, beside[i].plain);
        }
    }
    if (str_to_cstr(s->cfg.tunnel_socket, socket, sizeof(socket)) && socket[0]) {
        add_local(c, "tunnel", socket, 0, 0);
    }
    struct arena scratch;
    arena_init(&scratch, PATHS_ARENA);
    s->world.each(&s->world, &scratch, STR_EMPTY, STR("nodes"), STR_EMPTY, add_node, c);
    arena_deinit(&scratch);
    ask_more(c);
}

/* ---- the catalog ---- */

static struct str service_address(struct apiserver *s, struct arena *a)
{
    struct rest *services = registry_rest(s, STR_EMPTY, STR("services"));
    const struct object *o = services ? watch_cache_get(services->cache, STR("default"), STR("kubernetes")) : NULL;
    const struct core_v1_service *svc = o ? rest_decode(services, a, o) : NULL;
    return svc && svc->spec.n_ports && svc->spec.cluster_ip.len ? arena_printf(a, "%.*s:%d", STR_ARG(svc->spec.cluster_ip), svc->spec.ports[0].port)
                                                                : STR_NULL;
}

static bool known_to_us(const struct path_part *own, const char *process)
{
    for (size_t i = 0; i < own->n_facts; i++) {
        if (own->facts[i].way == PATH_IN && str_eq_c(own->facts[i].peer, process)) {
            return true;
        }
    }
    return false;
}

static bool read_answers(struct paths_collector *c, struct path_part **parts, size_t *n)
{
    CLEANUP(buf_deinit) struct buf own;
    struct err err = { 0 };
    buf_init(&own, PATHS_MAX_REPORT);
    path_report_answer(c->srv->loop, "kube-apiserver", STR_NULL, STR_NULL, &own);
    if (buf_failed(&own) || !path_report_read(&c->a, buf_str(&own), STR_NULL, parts, n, &err)) {
        log_warning("apiserver: the catalog of paths cannot be made: %s", err.msg[0] ? err.msg : "it is too large");
        return false;
    }
    for (size_t i = 0; i < c->n; i++) {
        struct question *q = &c->questions[i];
        struct str node = arena_str(&c->a, str_c(q->node)), process = arena_str(&c->a, str_c(q->process));
        bool good = !q->error[0] && !buf_failed(&q->answer);
        if (good && path_report_read(&c->a, buf_str(&q->answer), node, parts, n, &err)) {
            continue;
        }
        if (q->may_be_absent && !known_to_us(&(*parts)[0], q->process)) {
            continue;
        }
        const char *why = q->error[0] ? (q->before[0] && !q->may_be_absent ? q->before : q->error) : good ? err.msg : "its report is too long";
        if (!path_report_missing(&c->a, process, node, str_c(why), parts, n)) {
            return false;
        }
    }
    return true;
}

static void forget_questions(struct paths_collector *c)
{
    for (size_t i = 0; i < c->n; i++) {
        struct question *q = &c->questions[i];
        (void)http_call_cancel(q->call);
        if (q->own_client) {
            http_client_free(q->client);
        }
        buf_deinit(&q->answer);
        free(q->process);
        free(q->node);
    }
    free(c->questions);
    c->questions = NULL;
    c->n = 0;
    c->collecting = false;
}

static void make_catalog(struct paths_collector *c)
{
    struct apiserver *s = c->srv;
    struct path_part *parts = NULL;
    size_t n = 0;
    struct str way;
    struct path_world w = {
        .now = clock_real_s(), .nodes = c->nodes, .n_nodes = c->n_nodes, .authz = paths_authz_words(s), .anonymous = s->cfg.anonymous_auth,
        .kubelets_verified = !kubelet_is_unverified(&s->cfg), .kubelet_identity = !str_empty(s->cfg.kubelet_client_certificate),
        /* A proxy that is itself reached in the clear over a network protects nothing. */
        .tunnelled = s->egress && egress_is_proxied(s->egress, EGRESS_CLUSTER, &way) && str_find(way, STR(" at http://")) < 0, .service_address = service_address(s, &c->a),
        .address = arena_printf(&c->a, "%.*s:%lld", STR_ARG(s->cfg.advertise_address), (long long)s->cfg.secure_port),
    };
    if (read_answers(c, &parts, &n)) {
        w.parts = parts;
        w.n_parts = n;
    }
    if (!path_catalog_build(&c->a, &w, &c->catalog)) {
        log_warning("apiserver: the catalog of paths is cut: it is too large");
    }
    c->have_catalog = true;
    loop_timer_start(&c->stale, PATHS_FRESH_MS);
}

static void deliver(void *arg)
{
    struct paths_collector *c = arg;
    if (c->collecting) { /* all have answered */
        make_catalog(c);
        forget_questions(c);
    } else if (!c->have_catalog) { /* it has become old meanwhile */
        if (!list_empty(&c->asks)) {
            begin(c);
        }
        return;
    }
    struct list now;
    list_init(&now);
    while (!list_empty(&c->asks)) {
        list_push_back(&now, list_pop_front(&c->asks));
    }
    while (!list_empty(&now)) {
        struct paths_ask *ask = LIST_ENTRY(list_pop_front(&now), struct paths_ask, link);
        paths_done_fn *done = ask->done;
        void *user = ask->arg;
        free(ask);
        done(user, &c->catalog);
    }
}

static void ask_more(struct paths_collector *c)
{
    while (c->next < c->n && c->under_way < PATHS_ASK_AT_ONCE) {
        start(&c->questions[c->next++]);
    }
    if (c->under_way == 0 && c->next == c->n && !c->retries) {
        loop_task_defer(&c->deliver);
    }
}

static void on_stale(void *arg)
{
    struct paths_collector *c = arg;
    if (c->have_catalog && !c->collecting) {
        c->have_catalog = false;
        arena_deinit(&c->a);
    }
}

/* ---- asking ---- */

static struct paths_collector *collector_of(struct apiserver *s)
{
    if (!s->paths) {
        struct paths_collector *c = calloc(1, sizeof(*c));
        if (!c) {
            abort();
        }
        c->srv = s;
        list_init(&c->asks);
        arena_init(&c->a, PATHS_ARENA);
        loop_task_init(&c->deliver, s->loop, deliver, c);
        loop_task_init(&c->again, s->loop, ask_again, c);
        loop_timer_init(&c->stale, s->loop, on_stale, c);
        s->paths = c;
    }
    return s->paths;
}

struct paths_ask *paths_collect(struct apiserver *s, paths_done_fn *done, void *arg)
{
    struct paths_collector *c = collector_of(s);
    struct paths_ask *ask = calloc(1, sizeof(*ask));
    if (!ask) {
        abort();
    }
    *ask = (struct paths_ask){ .c = c, .done = done, .arg = arg };
    list_push_back(&c->asks, &ask->link);
    if (c->have_catalog) {
        loop_task_defer(&c->deliver);
    } else if (!c->collecting) {
        begin(c);
    }
    return ask;
}

void paths_cancel(struct paths_ask *ask)
{
    if (ask) {
        list_remove(&ask->link);
        free(ask);
    }
}

struct paths_collector *paths_collector_free(struct paths_collector *c)
{
    if (c) {
        forget_questions(c);
        loop_task_cancel(&c->deliver);
        loop_task_cancel(&c->again);
        loop_timer_stop(&c->stale);
        LIST_FOREACH(&c->asks, struct paths_ask, link, ask)
        {
            paths_cancel(ask);
        }
        net_tls_client_unref(c->local_tls);
        arena_deinit(&c->a);
        free(c);
    }
    return NULL;
}
