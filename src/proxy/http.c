#include "proxy/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/metrics.h"
#include "client/path-report.h"
#include "net/addr.h"
#include "net/http-server.h"

/* One port: its listener's cookie. */
struct port {
    struct proxy_http *h;
    enum { PORT_HEALTHZ, PORT_METRICS, PORT_CHECK } kind;
    struct http_server *http;
    char *service; /* of a check: "namespace/name" */
    uint16_t number;
    size_t n_local;
    bool wanted;
};

struct proxy_http {
    struct loop *loop;
    struct proxy_http_config config;
    struct port healthz, metrics;
    struct map checks; /* by Service: struct port */
};

static void reply(struct http_stream *s, int status, const char *content_type, struct buf *b)
{
    const struct http_header headers[] = { { STR("content-type"), str_c(content_type) },
                                           { STR("x-content-type-options"), STR("nosniff") } };
    struct net_chunk body = net_chunk_take_buf(b);
    http_stream_reply(s, status, headers, ARRAY_SIZE(headers), &body, 1);
    buf_deinit(b);
}

static void reply_health(struct proxy_http *h, struct http_stream *s, bool for_node)
{
    char now[CLOCK_RFC3339_SIZE];
    int64_t sec;
    uint32_t nsec;
    struct buf b;
    bool eligible = h->config.is_eligible(h->config.data);
    bool ok = h->config.is_healthy(h->config.data) && (!for_node || eligible);
    buf_init(&b, 1024);
    clock_real(&sec, &nsec);
    clock_format_rfc3339(sec, nsec, 9, now);
    buf_printf(&b, "{\"lastUpdated\": \"%s\",\"currentTime\": \"%s\", \"nodeEligible\": %s}", now,
               now, eligible ? "true" : "false");
    reply(s, ok ? 200 : 503, "application/json", &b);
}

static void reply_check(const struct port *p, struct http_stream *s)
{
    struct buf b;
    struct str ns, name;
    bool healthy = p->h->config.is_healthy(p->h->config.data);
    str_cut(str_c(p->service), '/', &ns, &name);
    buf_init(&b, 4096);
    buf_printf(&b,
               "{\n\t\"service\": {\n\t\t\"namespace\": \"%.*s\",\n\t\t\"name\": \"%.*s\"\n\t},\n"
               "\t\"localEndpoints\": %zu,\n\t\"serviceProxyHealthy\": %s\n}",
               STR_ARG(ns), STR_ARG(name), p->n_local, healthy ? "true" : "false");
    reply(s, p->n_local && healthy ? 200 : 503, "application/json", &b);
}

static void reply_text(struct http_stream *s, int status, const char *text)
{
    struct buf b;
    buf_init(&b, 1024);
    buf_append_c(&b, text);
    reply(s, status, "text/plain; charset=utf-8", &b);
}

static void on_request(struct http_stream *s, void *arg)
{
    const struct port *p = arg;
    const struct http_request *r = http_stream_request(s);
    struct http_target t;
    struct err err;
    if (!http_target_parse(http_stream_arena(s), r->target, &t, &err)) {
        reply_text(s, 400, "bad request target\n");
    } else if (!str_eq(r->method, STR("GET")) && !str_eq(r->method, STR("HEAD"))) {
        reply_text(s, 405, "only GET is served here\n");
    } else if (p->kind == PORT_CHECK) {
        reply_check(p, s);
    } else if (str_eq(t.path, STR("/healthz")) || str_eq(t.path, STR("/livez"))) {
        if (p->kind == PORT_HEALTHZ) {
            reply_health(p->h, s, str_eq(t.path, STR("/healthz")));
        } else {
            reply_text(s, 200, "ok");
        }
    } else if (p->kind == PORT_METRICS && str_eq(t.path, STR("/metrics"))) {
        struct buf b;
        buf_init(&b, 16u << 20);
        metrics_write(&b);
        reply(s, 200, METRIC_CONTENT_TYPE, &b);
    } else if (p->kind == PORT_METRICS && str_eq(t.path, STR("/proxyMode"))) {
        reply_text(s, 200, p->h->config.mode);
    } else if (p->kind == PORT_METRICS && str_eq(t.path, STR("/paths")) && net_addr_is_local(r->remote)) {
        /* For the kubelet of this node, which asks over loopback. */
        struct buf b;
        buf_init(&b, 256u << 10);
        path_report_answer(p->h->loop, "kube-proxy", STR_NULL, STR_NULL, &b);
        reply(s, 200, "application/json", &b);
    } else {
        reply_text(s, 404, "404 page not found\n");
    }
    http_stream_release(s);
}

static bool open_port(struct port *p, struct loop *l, const struct net_addr *addr, struct err *err)
{
    struct http_server_config config = { .on_request = on_request, .arg = p };
    int fd = net_listen(addr, 0600, err);
    p->http = fd < 0 ? NULL : http_server_new(l, &config, err);
    if (p->http && http_server_listen(p->http, fd, NULL, p, err)) {
        http_server_describe(p->http, fd, p->kind == PORT_HEALTHZ   ? PATH_PURPOSE_HEALTH
                                          : p->kind == PORT_METRICS ? PATH_PURPOSE_METRICS
                                                                    : PATH_PURPOSE_NODE_CHECK,
                             "nobody", "health and figures only");
        return true;
    }
    if (fd >= 0) {
        close(fd);
    }
    p->http = http_server_free(p->http);
    return false;
}

static bool open_at(struct port *p, struct loop *l, struct str text, const char *flag,
                    struct err *err)
{
    struct net_addr addr;
    if (!text.len) {
        return true;
    }
    if (!net_addr_parse(text, &addr)) {
        return err_set(err, ERR_BAD_REQUEST, "%s: \"%.*s\" is no IP address with a port", flag,
                       STR_ARG(text));
    }
    if (open_port(p, l, &addr, err)) {
        return true;
    }
    if (p->h->config.soft_bind) {
        log_error("%s: %s: done without", flag, err->msg);
        return true;
    }
    return err_wrap(err, "%s", flag);
}

struct proxy_http *proxy_http_new(struct loop *l, const struct proxy_http_config *config,
                                  struct err *err)
{
    struct proxy_http *h = calloc(1, sizeof(*h));
    if (!h) {
        abort();
    }
    h->loop = l;
    h->config = *config;
    map_init(&h->checks);
    h->healthz = (struct port){ .h = h, .kind = PORT_HEALTHZ };
    h->metrics = (struct port){ .h = h, .kind = PORT_METRICS };
    if (!open_at(&h->healthz, l, config->healthz_address, "--healthz-bind-address", err) ||
        !open_at(&h->metrics, l, config->metrics_address, "--metrics-bind-address", err)) {
        return proxy_http_free(h);
    }
    return h;
}

static void free_check(struct port *p)
{
    http_server_free(p->http);
    free(p->service);
    free(p);
}

struct proxy_http *proxy_http_free(struct proxy_http *h)
{
    struct str key;
    void *value;
    if (h) {
        for (size_t pos = 0; map_next(&h->checks, &pos, &key, &value);) {
            free_check(value);
        }
        map_deinit(&h->checks);
        http_server_free(h->healthz.http);
        http_server_free(h->metrics.http);
        free(h);
    }
    return NULL;
}

void proxy_http_set_checks(struct proxy_http *h, const struct engine *e)
{
    struct ruleset_health c;
    struct str key;
    void *value;
    struct err err;
    struct net_addr any;
    for (size_t pos = 0; map_next(&h->checks, &pos, &key, &value);) {
        ((struct port *)value)->wanted = false;
    }
    for (size_t pos = 0; e->ops->next_health(e, &pos, &c);) {
        struct port *p = map_get(&h->checks, c.key);
        if (p && p->number != c.port) {
            map_remove(&h->checks, c.key);
            free_check(p);
            p = NULL;
        }
        if (!p) {
            p = calloc(1, sizeof(*p));
            if (!p) {
                abort();
            }
            *p = (struct port){ .h = h,
                                .kind = PORT_CHECK,
                                .number = c.port,
                                .service = strndup(c.key.ptr, c.key.len) };
            map_put(&h->checks, c.key, p);
        }
        p->wanted = true;
        p->n_local = c.n_local;
        if (!p->http && (!net_addr_parse_ip(h->config.check_address.len ? h->config.check_address : STR("0.0.0.0"), c.port, &any) ||
                         !open_port(p, h->loop, &any, &err))) {
            log_warning("health check node port %u of Service %s: %s", c.port, p->service, err.msg);
        }
    }
    for (size_t pos = 0; map_next(&h->checks, &pos, &key, &value);) {
        if (!((struct port *)value)->wanted) {
            map_remove(&h->checks, key);
            free_check(value);
        }
    }
}
