/* Everything at once: calls of every kind that are cancelled, paused, timed out and cut at random moments. What counts is
 * that the sanitizers stay silent, every call ends at most once, and server and clients hold nothing in the end. */
#include "base/clock.h"
#include "base/test.h"
#include "net/http-client.h"
#include "net/test-certs.h"
#include "net/test-server.h"

enum { CLIENTS = 6, SLOTS = 40, RUN_MS = 1500 };

struct slot {
    struct http_call *call; /* NULL: over */
    struct chaos *chaos;
    unsigned client;
    unsigned body_left;
};

struct chaos {
    struct test_server server;
    struct net_tls_client *tls;
    struct http_client *clients[CLIENTS];
    struct slot slots[SLOTS];
    uint64_t seed;
    unsigned ended, failed, upgraded, cancelled;
};

static unsigned pick(struct chaos *c, unsigned n)
{
    c->seed = c->seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (unsigned)(c->seed >> 33) % n;
}

static void mischief(struct chaos *c, struct slot *s)
{
    switch (pick(c, 12)) {
    case 0:
        c->cancelled++;
        s->call = http_call_cancel(s->call);
        break;
    case 1: {
        struct slot *other = &c->slots[pick(c, SLOTS)];
        if (other->call) {
            c->cancelled++;
            other->call = http_call_cancel(other->call);
        }
        break;
    }
    case 2:
    case 3:
        if (s->call) {
            http_call_pause(s->call);
        }
        break;
    default:
        break;
    }
}

static void on_response(struct http_call *call, const struct http_response *r UNUSED, void *arg)
{
    struct slot *s = arg;
    CHECK(s->call == call);
    mischief(s->chaos, s);
}
static void on_body(struct http_call *call, struct str data UNUSED, void *arg)
{
    struct slot *s = arg;
    CHECK(s->call == call);
    mischief(s->chaos, s);
}
static void on_end(struct http_call *call, const struct http_headers *t UNUSED, void *arg)
{
    struct slot *s = arg;
    CHECK(s->call == call);
    s->call = NULL;
    s->chaos->ended++;
}
static void on_error(struct http_call *call, const struct http_call_error *e, void *arg)
{
    struct slot *s = arg;
    CHECK(s->call == call);
    CHECK(e->err.code != ERR_NONE);
    s->call = NULL;
    s->chaos->failed++;
}
static void on_upgrade(struct http_call *call, const struct http_response *r UNUSED, struct net_stream *io, void *arg)
{
    struct slot *s = arg;
    CHECK(s->call == call);
    s->call = NULL;
    s->chaos->upgraded++;
    net_stream_free(io);
}
static const struct http_call_ops ops = { on_response, on_body, on_end, on_error, NULL, on_upgrade };

static void make_client(struct chaos *c, unsigned i)
{
    struct err err;
    struct http_client_config config = { .host = STR("127.0.0.1"), .port = c->server.port, .tls = c->tls, .max_connections = 4,
                                         .protocol = i % 3 == 0 ? HTTP_CLIENT_H1_ONLY : HTTP_CLIENT_AUTO };
    c->clients[i] = http_client_new(c->server.loop, &config, &err);
    CHECK_OK(c->clients[i], &err);
}

static void fill(struct chaos *c, struct slot *s)
{
    static const char *const targets[] = { "/hello", "/later", "/big?n=300000", "/big?n=900000&chunked=1", "/hold", "/never",
                                           "/empty", "/trailers", "/echo", "/collect", "/slow-body", "/early", "/upgrade",
                                           "/nothing" };
    static const char block[5000];
    const char *target = targets[pick(c, ARRAY_SIZE(targets))];
    bool upgrade = strcmp(target, "/upgrade") == 0;
    bool body = !upgrade && (target[1] == 'e' || target[1] == 'c' || target[1] == 's');
    struct http_header h = { STR("Upgrade"), STR("shout") };
    struct net_chunk chunk = net_chunk_static(str_n(block, pick(c, sizeof(block))));
    struct http_call_config config = { .method = body ? STR("POST") : STR("GET"), .target = str_c(target), .upgrade = upgrade,
                                       .headers = &h, .n_headers = upgrade ? 1 : 0, .body = &chunk, .n_body = body ? 1 : 0,
                                       .streaming = body && pick(c, 2), .content_length = -1 };
    config.total_ms = pick(c, 4) == 0 ? 1 + pick(c, 60) : 0;
    config.stall_ms = pick(c, 4) == 0 ? 1 + pick(c, 60) : 0;
    s->chaos = c;
    s->client = pick(c, CLIENTS);
    s->body_left = config.streaming ? 1 + pick(c, 30) : 0;
    s->call = http_client_start(c->clients[s->client], &config, &ops, s);
}

static void step(struct chaos *c)
{
    struct slot *s = &c->slots[pick(c, SLOTS)];
    if (!s->call) {
        fill(c, s);
    } else if (s->body_left > 0) {
        struct net_chunk chunk = net_chunk_copy(STR("some bytes of a body"));
        http_call_write(s->call, &chunk, 1);
        if (--s->body_left == 0) {
            http_call_end(s->call);
        }
    } else if (pick(c, 3) == 0) {
        http_call_resume(s->call);
    } else if (pick(c, 20) == 0) {
        c->cancelled++;
        s->call = http_call_cancel(s->call);
    }
    struct test_server *t = &c->server;
    if (t->n_held > 0 && pick(c, 10) == 0) {
        struct http_stream *held = t->held[--t->n_held];
        struct net_chunk chunk = net_chunk_copy(STR("last words"));
        http_stream_write(held, &chunk, 1);
        if (pick(c, 2)) {
            http_stream_end(held);
        }
        http_stream_release(held);
    }
    if (pick(c, 400) == 0) {
        unsigned i = pick(c, CLIENTS);
        http_client_free(c->clients[i]);
        for (int k = 0; k < SLOTS; k++) {
            if (c->slots[k].client == i) {
                c->slots[k].call = NULL;
            }
        }
        make_client(c, i);
    } else if (pick(c, 200) == 0) {
        http_client_renew(c->clients[pick(c, CLIENTS)]);
    }
}

static void run(bool tls, uint64_t seed)
{
    struct chaos c = { .seed = seed };
    const char *given = getenv("CHAOS_SEED"); /* repeats a run, as far as the clock allows */
    if (given && !str_to_u64(str_c(given), &c.seed)) {
        c.seed = seed;
    }
    uint64_t used = c.seed;
    struct err err;
    test_server_start(&c.server, &(struct test_server_config){ .listen = true, .tls = tls, .http = { .idle_ms = 50, .max_streams = 7 } });
    if (tls) {
        struct net_tls_client_config tc = { .ca_pem = str_c(test_pki()->ca.cert_pem), .alpn = NET_ALPN_H1 | NET_ALPN_H2 };
        c.tls = net_tls_client_new(&tc, &err);
        CHECK_OK(c.tls, &err);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        make_client(&c, i);
    }
    uint64_t end = clock_mono_ms() + RUN_MS;
    while (clock_mono_ms() < end) {
        for (unsigned i = pick(&c, 6); i > 0; i--) {
            step(&c);
        }
        loop_turn(c.server.loop, (int)pick(&c, 3));
    }
    if (c.ended <= 50 || c.failed == 0 || c.cancelled == 0) {
        printf("  CHAOS_SEED=%llu: %u ended, %u failed, %u upgraded, %u cancelled\n", (unsigned long long)used, c.ended, c.failed,
               c.upgraded, c.cancelled);
    }
    CHECK(c.ended > 50);
    if (getenv("CHAOS_SEED")) {
        printf("  %u ended, %u failed, %u upgraded, %u cancelled\n", c.ended, c.failed, c.upgraded, c.cancelled);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        http_client_free(c.clients[i]);
    }
    net_tls_client_unref(c.tls);
    while (c.server.n_held > 0) {
        http_stream_release(c.server.held[--c.server.n_held]);
    }
    test_turn(c.server.loop, NULL, 100);
    CHECK_INT(http_server_connections(c.server.http), 0);
    test_server_stop(&c.server);
}

TEST(chaos_over_plain_text_ends_with_nothing_held)
{
    run(false, clock_mono_ns());
}

TEST(chaos_over_tls_ends_with_nothing_held)
{
    run(true, clock_mono_ns());
}
