#include "apiserver/tunnel-check.h"

#include <stdlib.h>

#include "client/path-report.h"
#include "net/http-client.h"

enum { ASK_MS = 5000, ANSWER_MS = 3000, FIRST_MS = 200, MAX_ANSWER = 1 << 20 };

/* What is asked, in turn. */
enum question { HEALTH, METRICS, QUESTIONS };
static const char *const targets[QUESTIONS] = { "/healthz", "/metrics" };

struct tunnel_check {
    struct loop *loop;
    struct http_client *client;
    struct http_call *call;
    struct loop_timer timer;
    enum question asked;
    int status;
    struct buf answer;
    bool healthy;
    struct buf metrics;
};

static void ask(struct tunnel_check *t, enum question q);

/* The families that are the tunnels' own: those of the process are this server's names too. */
static void keep_metrics(struct tunnel_check *t)
{
    struct str rest = buf_str(&t->answer), line;
    buf_clear(&t->metrics);
    while (str_split(&rest, '\n', &line)) {
        struct str name = str_starts(line, STR("# HELP ")) || str_starts(line, STR("# TYPE ")) ? str_sub(line, 7, line.len) : line;
        if (str_starts(name, STR("ssh_tunnel_")) || str_starts(name, STR("apiserver_proxy_tunnel_")) ||
            str_starts(name, STR("coracle_tunnel"))) {
            buf_append(&t->metrics, line);
            buf_append_char(&t->metrics, '\n');
        }
    }
}

static void answered(struct tunnel_check *t, bool ok)
{
    t->call = NULL;
    if (t->asked == HEALTH) {
        t->healthy = ok;
    } else if (ok) {
        keep_metrics(t);
    }
    if (ok && t->asked + 1 < QUESTIONS) {
        ask(t, t->asked + 1);
        return;
    }
    loop_timer_start(&t->timer, t->healthy ? ASK_MS : ASK_MS / 5);
}

static void on_response(struct http_call *c, const struct http_response *r, void *arg)
{
    (void)c;
    struct tunnel_check *t = arg;
    t->status = r->status;
}

static void on_body(struct http_call *c, struct str data, void *arg)
{
    (void)c;
    struct tunnel_check *t = arg;
    buf_append(&t->answer, data);
}

static void on_end(struct http_call *c, const struct http_headers *trailers, void *arg)
{
    (void)c;
    (void)trailers;
    struct tunnel_check *t = arg;
    answered(t, t->status == 200 && !buf_failed(&t->answer));
}

static void on_error(struct http_call *c, const struct http_call_error *e, void *arg)
{
    (void)c;
    (void)e;
    answered(arg, false);
}

static void ask(struct tunnel_check *t, enum question q)
{
    static const struct http_call_ops ops = { .on_response = on_response, .on_body = on_body, .on_end = on_end, .on_error = on_error };
    struct http_call_config call = { .method = STR("GET"), .target = str_c(targets[q]), .total_ms = ANSWER_MS };
    t->asked = q;
    t->status = 0;
    buf_clear(&t->answer);
    t->call = http_client_start(t->client, &call, &ops, t);
}

static void on_timer(void *arg)
{
    ask(arg, HEALTH);
}

struct tunnel_check *tunnel_check_new(struct loop *l, struct str socket, struct err *err)
{
    struct tunnel_check *t = calloc(1, sizeof(*t));
    struct http_client_config config = { .host = socket, .authority = STR("tunnel"), .protocol = HTTP_CLIENT_H1_ONLY };
    if (!t) {
        abort();
    }
    t->loop = l;
    buf_init(&t->answer, MAX_ANSWER);
    buf_init(&t->metrics, MAX_ANSWER);
    loop_timer_init(&t->timer, l, on_timer, t);
    const struct net_path_spec what = { .outgoing = true, .peer = STR("tunnel"), .purpose = STR(PATH_PURPOSE_TUNNEL), .address = socket,
                                        .authn = "file permissions" };
    struct net_path *path = net_path_get(l, &what);
    config.path = path;
    t->client = http_client_new(l, &config, err);
    net_path_unref(path);
    if (!t->client) {
        return tunnel_check_free(t);
    }
    loop_timer_start(&t->timer, FIRST_MS);
    return t;
}

struct tunnel_check *tunnel_check_free(struct tunnel_check *t)
{
    if (t) {
        loop_timer_stop(&t->timer);
        http_call_cancel(t->call);
        http_client_free(t->client);
        buf_deinit(&t->answer);
        buf_deinit(&t->metrics);
        free(t);
    }
    return NULL;
}

bool tunnel_check_passes(const struct tunnel_check *t)
{
    return !t || t->healthy;
}

void tunnel_check_write_metrics(const struct tunnel_check *t, struct buf *b)
{
    if (t) {
        buf_append(b, buf_str(&t->metrics));
    }
}
