#include "apiserver/egress.h"

#include <stdlib.h>

#include "apiserver/limits.h"
#include "base/arena.h"
#include "base/fs.h"
#include "base/metrics.h"
#include "net/dial-connect.h"

/* One way to one kind of target: direct with a check, or through a proxy. */
struct way {
    struct egress *egress;
    enum egress_purpose purpose;
    enum egress_rule rule;
    struct net_dialer_checked direct;
    struct net_dialer_connect *proxy; /* NULL: direct */
};

struct egress {
    struct arena arena; /* text of the configuration */
    struct egress_rules rules;
    struct egress_selection selections[EGRESS_PURPOSES];
    struct net_tls_client *tls[EGRESS_PURPOSES];
    struct str description[EGRESS_PURPOSES];
    struct way ways[EGRESS_PURPOSES][EGRESS_RULES];
};

static const double dial_buckets[] = { 0.005, 0.025, 0.1, 0.5, 2, 12.5, 0 };
static struct metric dials = METRIC_COUNTER("apiserver_egress_dialer_dial_start_total", "Connections begun through an egress proxy.",
                                            "protocol", "transport");
static struct metric dial_seconds = METRIC_HISTOGRAM("apiserver_egress_dialer_dial_duration_seconds",
                                                     "Time until a connection through an egress proxy stood.", dial_buckets,
                                                     "protocol", "transport");
static struct metric dial_failures = METRIC_COUNTER("apiserver_egress_dialer_dial_failure_count",
                                                    "Connections through an egress proxy that failed.", "protocol", "stage", "transport");

static void on_stage(void *arg, enum net_dial_stage stage, uint64_t ms)
{
    const struct way *w = arg;
    struct str protocol = STR("http_connect"), transport = w->egress->selections[w->purpose].port ? STR("tcp") : STR("uds");
    switch (stage) {
    case NET_DIAL_BEGUN: metric_add(metric_cell(&dials, protocol, transport), 1); break;
    case NET_DIAL_NO_PROXY: metric_add(metric_cell(&dial_failures, protocol, STR("connect"), transport), 1); break;
    case NET_DIAL_NO_TARGET: metric_add(metric_cell(&dial_failures, protocol, STR("proxy"), transport), 1); break;
    case NET_DIAL_CONNECTED: metric_observe(metric_cell(&dial_seconds, protocol, transport), (double)ms / 1000); break;
    }
}

static bool check(const struct net_addr *a, void *arg, struct err *err)
{
    const struct way *w = arg;
    return egress_rules_allow(&w->egress->rules, w->rule, a, err);
}

static bool read_pem(struct str path, struct buf *b, struct err *err)
{
    char p[4096];
    return str_empty(path) || (str_to_cstr(path, p, sizeof(p)) ? fs_read(p, EGRESS_MAX_FILE, b, err)
                                                               : err_set(err, ERR_INVALID, "a path is too long"));
}

/* Makes the TLS material of a proxy, or reads it again. */
static bool load_tls(struct egress *e, enum egress_purpose purpose, struct err *err)
{
    const struct egress_selection *s = &e->selections[purpose];
    CLEANUP(buf_deinit) struct buf ca, cert, key;
    buf_init(&ca, EGRESS_MAX_FILE);
    buf_init(&cert, EGRESS_MAX_FILE);
    buf_init(&key, EGRESS_MAX_FILE);
    if (!s->tls) {
        return true;
    }
    if (!read_pem(s->ca_bundle, &ca, err) || !read_pem(s->client_cert, &cert, err) || !read_pem(s->client_key, &key, err)) {
        return false;
    }
    struct net_tls_client_config cfg = { .ca_pem = buf_str(&ca), .identity = { .cert_pem = buf_str(&cert), .key_pem = buf_str(&key) },
                                         .alpn = NET_ALPN_H1 };
    if (e->tls[purpose]) {
        return net_tls_client_reload(e->tls[purpose], &cfg, err);
    }
    e->tls[purpose] = net_tls_client_new(&cfg, err);
    return e->tls[purpose] != NULL;
}

static bool open_way(struct egress *e, enum egress_purpose purpose, enum egress_rule rule, struct err *err)
{
    struct way *w = &e->ways[purpose][rule];
    const struct egress_selection *s = &e->selections[purpose];
    w->egress = e;
    w->purpose = purpose;
    w->rule = rule;
    net_dialer_checked_init(&w->direct, check, w);
    if (!s->proxied) {
        return true;
    }
    struct net_dialer_connect_config cfg = {
        .host = s->host, .port = s->port, .tls = e->tls[purpose], .name = arena_printf(&e->arena, "%.*s", STR_ARG(e->description[purpose])),
        .check = check, .check_arg = w, .observe = on_stage, .observe_arg = w,
    };
    w->proxy = net_dialer_connect_new(&cfg, err);
    return w->proxy != NULL;
}

static bool read_selector(struct egress *e, struct str file, struct err *err)
{
    CLEANUP(buf_deinit) struct buf text;
    buf_init(&text, EGRESS_MAX_FILE);
    if (!read_pem(file, &text, err)) {
        return false;
    }
    struct str copy = arena_str(&e->arena, buf_str(&text));
    return egress_config_parse(&e->arena, copy, e->selections, err) || err_wrap(err, "%.*s", STR_ARG(file));
}

static void describe(struct egress *e, enum egress_purpose purpose, bool tunnel)
{
    const struct egress_selection *s = &e->selections[purpose];
    const char *what = tunnel ? "the tunnel process" : "the egress proxy";
    if (!s->proxied) {
        e->description[purpose] = STR("direct");
    } else if (s->port == 0) {
        e->description[purpose] = arena_printf(&e->arena, "%s at unix:%.*s", what, STR_ARG(s->host));
    } else {
        e->description[purpose] = arena_printf(&e->arena, "%s at %s://%.*s:%u", what, s->tls ? "https" : "http", STR_ARG(s->host), s->port);
    }
}

struct egress *egress_new(const struct egress_config *config, struct err *err)
{
    struct egress *e = calloc(1, sizeof(*e));
    if (!e) {
        abort();
    }
    arena_init(&e->arena, EGRESS_MAX_FILE * 4);
    bool tunnel = !str_empty(config->tunnel_socket);
    bool ok = egress_rules_parse(&e->rules, config->denied_cidrs, err);
    if (ok && !str_empty(config->selector_file)) {
        ok = read_selector(e, config->selector_file, err) || err_wrap(err, "--egress-selector-config-file");
    }
    if (ok && tunnel && e->selections[EGRESS_CLUSTER].given) {
        ok = err_set(err, ERR_INVALID, "--tunnel-socket and the selection \"cluster\" of --egress-selector-config-file contradict each other");
    }
    if (ok && tunnel) {
        e->selections[EGRESS_CLUSTER] =
            (struct egress_selection){ .given = true, .proxied = true, .host = arena_str(&e->arena, config->tunnel_socket) };
    }
    for (size_t p = 0; ok && p < EGRESS_PURPOSES; p++) {
        describe(e, (enum egress_purpose)p, tunnel && p == EGRESS_CLUSTER);
        ok = load_tls(e, (enum egress_purpose)p, err) || err_wrap(err, "--egress-selector-config-file");
        for (size_t r = 0; ok && r < EGRESS_RULES; r++) {
            ok = open_way(e, (enum egress_purpose)p, (enum egress_rule)r, err);
        }
    }
    return ok ? e : egress_free(e);
}

struct egress *egress_free(struct egress *e)
{
    if (e) {
        for (size_t p = 0; p < EGRESS_PURPOSES; p++) {
            for (size_t r = 0; r < EGRESS_RULES; r++) {
                net_dialer_connect_free(e->ways[p][r].proxy);
            }
            net_tls_client_unref(e->tls[p]);
        }
        egress_rules_free(&e->rules);
        arena_deinit(&e->arena);
        free(e);
    }
    return NULL;
}

struct net_dialer *egress_dialer(struct egress *e, enum egress_purpose purpose, enum egress_rule rule)
{
    struct way *w = &e->ways[purpose][rule];
    return w->proxy ? net_dialer_connect_dialer(w->proxy) : &w->direct.dialer;
}

bool egress_is_proxied(const struct egress *e, enum egress_purpose purpose, struct str *ret_description)
{
    *ret_description = e->description[purpose];
    return e->selections[purpose].proxied;
}

bool egress_reload(struct egress *e, struct err *err)
{
    bool ok = true;
    for (size_t p = 0; p < EGRESS_PURPOSES; p++) {
        ok = load_tls(e, (enum egress_purpose)p, ok ? err : NULL) && ok;
    }
    return ok;
}
