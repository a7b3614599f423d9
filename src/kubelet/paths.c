/*
 * GET /paths: what this kubelet knows of its ways to others, and what the kube-proxy of its node says of its own (asked over the
 * node's loopback). The server's process adds its part to the answer.
 */
#include "client/path-report.h"
#include "kubelet/server-core.h"

/* Where kube-proxy serves its metrics (--metrics-bind-address) unless told otherwise. */
#define PROXY_PORT 10249
#define PROXY_MS 1000
/* kube-proxy has a dozen paths. Longer: not taken. */
#define PROXY_REPORT_MAX (256u << 10)

static void finish(struct core_request *r)
{
    struct buf b, others;
    struct str report = buf_str(&r->proxy_report), open = STR("{\"parts\":[");
    buf_init(&b, 4u << 20);
    buf_init(&others, PROXY_REPORT_MAX + 1);
    if (!buf_failed(&r->proxy_report) && str_starts(report, open) && str_ends(report, STR("]}"))) {
        buf_append_char(&others, ',');
        buf_append(&others, str_sub(report, open.len, report.len - open.len - 2));
    }
    path_report_answer(r->k->loop, "kubelet", STR_NULL, buf_str(&others), &b);
    buf_deinit(&others);
    core_request_reply(r, buf_failed(&b) ? 500 : 200, "application/json", buf_str(&b));
    buf_deinit(&b);
}

static void on_response(struct http_call *c UNUSED, const struct http_response *answer, void *arg)
{
    struct core_request *r = arg;
    if (answer->status != 200) {
        r->proxy_report.failed = true; /* an older one, or another program */
    }
}

static void on_body(struct http_call *c UNUSED, struct str data, void *arg)
{
    struct core_request *r = arg;
    buf_append(&r->proxy_report, data);
}

static void on_end(struct http_call *c UNUSED, const struct http_headers *trailers UNUSED, void *arg)
{
    struct core_request *r = arg;
    r->proxy_call = NULL;
    finish(r);
}

static void on_error(struct http_call *c UNUSED, const struct http_call_error *e UNUSED, void *arg)
{
    struct core_request *r = arg;
    r->proxy_call = NULL;
    r->proxy_report.failed = true;
    finish(r);
}

void paths_report(struct core_request *r)
{
    static const struct http_call_ops ops = { .on_response = on_response, .on_body = on_body, .on_end = on_end, .on_error = on_error };
    struct err err = { 0 };
    const struct net_path_spec what = { .outgoing = true, .peer = STR("kube-proxy"), .purpose = STR(PATH_PURPOSE_REPORT),
                                        .address = STR("127.0.0.1:10249") };
    struct net_path *path = net_path_get(r->k->loop, &what);
    const struct http_client_config config = { .host = STR("127.0.0.1"), .port = PROXY_PORT, .protocol = HTTP_CLIENT_H1_ONLY,
                                               .connect_ms = PROXY_MS, .path = path };
    buf_init(&r->proxy_report, PROXY_REPORT_MAX);
    r->proxy = http_client_new(r->k->loop, &config, &err);
    net_path_unref(path);
    if (!r->proxy) {
        r->proxy_report.failed = true;
        finish(r);
        return;
    }
    const struct http_call_config call = { .method = STR("GET"), .target = STR("/paths"), .total_ms = PROXY_MS };
    r->proxy_call = http_client_start(r->proxy, &call, &ops, r);
}
