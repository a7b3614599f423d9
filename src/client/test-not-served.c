/* An API server that does not serve everything, or says more than can be read: what informers and controllers do beside it. */
#include "base/test.h"

#include <sys/socket.h>

#include "base/clock.h"
#include "client/controller.h"
#include "client/informer-private.h"
#include "client/limits.h"
#include "net/addr.h"
#include "net/http-server.h"

struct fixture {
    struct loop *loop;
    struct http_server *server;
    struct client *client;
    struct informers *set;
    struct informer *pods, *budgets, *slices;
    bool served; /* budgets and slices */
    bool synced, owner_is_told;
    unsigned added, passes, deletes;
    unsigned lists_of_budgets, lists_of_pods;
    const char *event_of_pods; /* said once */
};

static void reply(struct http_stream *s, int status, const char *text)
{
    struct net_chunk body = net_chunk_copy(str_c(text));
    http_stream_reply(s, status, NULL, 0, &body, 1);
    http_stream_release(s);
}

/* The list as a stream of events, which then ends. */
static void reply_list(struct http_stream *s, const char *events)
{
    CLEANUP(buf_deinit) struct buf text;
    buf_init(&text, BUF_NO_MAX);
    buf_append_c(&text, events);
    buf_append_c(&text, "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"9\","
                        "\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}}}\n");
    reply(s, 200, text.ptr);
}

static void on_request(struct http_stream *s, void *arg)
{
    struct fixture *f = arg;
    struct str target = http_stream_request(s)->target;
    if (str_eq_c(http_stream_request(s)->method, "DELETE")) {
        f->deletes++;
        reply(s, 200, "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Success\"}");
    } else if (str_find(target, STR("/poddisruptionbudgets/gone")) >= 0 && (f->owner_is_told || f->served)) {
        reply(s, 404,
              "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"reason\":\"NotFound\",\"code\":404,"
              "\"message\":\"poddisruptionbudgets.policy \\\"gone\\\" not found\","
              "\"details\":{\"name\":\"gone\",\"group\":\"policy\",\"kind\":\"poddisruptionbudgets\"}}");
    } else if (str_find(target, STR("/pods")) >= 0) {
        f->lists_of_pods += str_find(target, STR("sendInitialEvents")) >= 0;
        reply_list(s, f->event_of_pods ? f->event_of_pods : "");
        f->event_of_pods = NULL;
    } else if (!f->served && str_find(target, STR("policy")) >= 0) {
        f->lists_of_budgets++;
        reply(s, 404,
              "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"reason\":\"NotFound\",\"code\":404,"
              "\"message\":\"the server could not find the requested resource\",\"details\":{}}");
    } else if (!f->served) {
        reply(s, 404, "404 page not found\n");
    } else {
        reply_list(s, "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"namespace\":\"a\",\"name\":\"x\","
                      "\"uid\":\"u\",\"resourceVersion\":\"7\"}}}\n");
    }
}

static void on_synced(void *data)
{
    ((struct fixture *)data)->synced = true;
}

static void on_budget(void *data, const void *old, const void *obj)
{
    ((struct fixture *)data)->added += !old && obj;
}

static void fixture_init(struct fixture *f)
{
    struct err err;
    struct net_addr addr;
    struct sockaddr_in in;
    socklen_t len = sizeof(in);
    char url[64];
    *f = (struct fixture){ .loop = loop_new(&err) };
    const struct http_server_config http = { .on_request = on_request, .arg = f };
    f->server = http_server_new(f->loop, &http, &err);
    CHECK(net_addr_parse_ip(STR("127.0.0.1"), 0, &addr));
    int fd = net_listen(&addr, 0600, &err);
    CHECK(fd >= 0 && getsockname(fd, (struct sockaddr *)&in, &len) == 0);
    CHECK_OK(http_server_listen(f->server, fd, NULL, NULL, &err), &err);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", ntohs(in.sin_port));
    struct client_config config = { .server = str_c(url) };
    struct client_options options = { 0 };
    f->client = client_new(f->loop, &config, &options, &err);
    CHECK_OK(f->client, &err);
    f->set = informers_new(f->client);
    f->set->not_served_retry_ms = 100;
    struct informer_spec spec = { .resource = api_resource_find(STR(""), STR("v1"), STR("pods")) };
    f->pods = informers_get(f->set, &spec, NULL, NULL);
    spec.resource = api_resource_find(STR("policy"), STR("v1"), STR("poddisruptionbudgets"));
    f->budgets = informers_get(f->set, &spec, on_budget, f);
    spec.resource = api_resource_find(STR("resource.k8s.io"), STR("v1"), STR("resourceslices"));
    f->slices = informers_get(f->set, &spec, NULL, NULL);
}

static void fixture_deinit(struct fixture *f)
{
    informers_free(f->set);
    client_free(f->client);
    http_server_free(f->server);
    loop_free(f->loop);
}

static void turns(struct fixture *f, unsigned ms)
{
    uint64_t until = clock_mono_ms() + ms;
    while (clock_mono_ms() < until) {
        loop_turn(f->loop, 5);
    }
}

TEST(an_informer_of_a_kind_that_is_not_served_counts_as_synced_and_becomes_live_when_it_is)
{
    struct fixture f;
    fixture_init(&f);
    informers_start(f.set, on_synced, &f);
    turns(&f, 300);
    CHECK(f.synced);
    CHECK(informer_served(f.pods) && !informer_served(f.budgets) && !informer_served(f.slices));
    CHECK(f.lists_of_budgets >= 2 && f.lists_of_budgets <= 4);
    f.served = true;
    turns(&f, 300);
    CHECK(informer_served(f.budgets) && informer_served(f.slices));
    CHECK_INT(informer_count(f.budgets), 1);
    CHECK_INT(f.added, 1);
    fixture_deinit(&f);
}

TEST(a_line_too_long_to_be_read_is_followed_by_a_new_list)
{
    struct fixture f;
    CLEANUP(buf_deinit) struct buf line;
    buf_init(&line, BUF_NO_MAX);
    buf_append_c(&line, "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"");
    for (size_t i = 0; i < CLIENT_WATCH_LINE_MAX / 16; i++) {
        buf_append_c(&line, "0123456789abcdef");
    }
    buf_append_c(&line, "\"}}}\n");
    fixture_init(&f);
    f.event_of_pods = line.ptr;
    informers_start(f.set, on_synced, &f);
    for (int i = 0; i < 40 && f.lists_of_pods < 2; i++) {
        turns(&f, 100);
    }
    turns(&f, 200);
    CHECK_INT(f.lists_of_pods, 2);
    fixture_deinit(&f);
}

/* A controller whose keys are budgets: it deletes a pod when the budget "gone" is. */
static struct fixture *of_controller;

static void *setup(struct controller *c, struct informers *informers)
{
    struct informer_spec spec = { .resource = api_resource_find(STR("policy"), STR("v1"), STR("poddisruptionbudgets")) };
    controller_watch(c, informers, &spec);
    return NULL;
}

static void *setup_without(struct controller *c UNUSED, struct informers *informers UNUSED)
{
    return NULL;
}

static void reconcile(void *state UNUSED, struct str key UNUSED, struct actions *a)
{
    of_controller->passes++;
    act_require_absent(a, informer_resource(of_controller->budgets), STR("a"), STR("gone"), STR("u"));
    act_delete(a, informer_resource(of_controller->pods), STR("a"), STR("p"), STR_NULL, NULL);
}

/* A controller of that pass, begun with this key. */
static struct controller *begin(struct fixture *f, const struct controller_ops *ops, const char *key)
{
    fixture_init(f);
    of_controller = f;
    struct controller *c = controller_new(ops, f->client, f->set, NULL);
    informers_start(f->set, on_synced, f);
    turns(f, 200);
    CHECK(f->synced);
    controller_start(c);
    controller_enqueue(c, str_c(key));
    turns(f, 200);
    return c;
}

TEST(a_controller_whose_resource_is_not_served_rests_until_it_is)
{
    static const struct controller_ops ops = { .name = "test", .setup = setup, .reconcile = reconcile };
    struct fixture f;
    struct controller *c = begin(&f, &ops, "a/x");
    CHECK_INT(f.passes, 0);
    f.served = true;
    turns(&f, 300);
    CHECK(f.passes > 0);
    controller_free(c);
    fixture_deinit(&f);
}

TEST(a_kind_that_is_not_served_proves_no_absence)
{
    static const struct controller_ops ops = { .name = "test", .setup = setup_without, .reconcile = reconcile };
    struct fixture f;
    struct controller *c = begin(&f, &ops, "one");
    CHECK_INT(f.passes, 1);
    CHECK_INT(f.deletes, 0);
    f.owner_is_told = true;
    controller_enqueue(c, STR("two"));
    turns(&f, 200);
    CHECK_INT(f.passes, 2);
    CHECK_INT(f.deletes, 1);
    controller_free(c);
    fixture_deinit(&f);
}
