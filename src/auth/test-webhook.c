/* TokenReview and SubjectAccessReview against a little apiserver on loopback. */
#include <arpa/inet.h>
#include <sys/socket.h>

#include "auth/authn.h"
#include "auth/test-auth.h"
#include "client/client.h"
#include "net/http-server.h"
#include "net/loop.h"

struct world {
    struct loop *loop;
    struct http_server *server;
    struct client *client;
    struct arena arena;
    const char *answer; /* body */
    int status;
    char asked[4096]; /* the last body that came */
    char path[256];
    int n_asked;
    int done;
    int result;
};

static void on_body(struct http_stream *s, struct str body, const struct err *err, void *arg)
{
    struct world *w = arg;
    CHECK(!err && str_to_cstr(body, w->asked, sizeof(w->asked)));
    struct http_header type = { STR("content-type"), STR("application/json") };
    struct net_chunk chunk = net_chunk_static(str_c(w->answer));
    http_stream_reply(s, w->status, &type, 1, &chunk, 1);
    http_stream_release(s);
}

static void on_request(struct http_stream *s, void *arg)
{
    struct world *w = arg;
    w->n_asked++;
    CHECK(str_to_cstr(http_stream_request(s)->target, w->path, sizeof(w->path)));
    http_stream_collect_body(s, 1 << 20, on_body, w);
}

static void world_make(struct world *w)
{
    struct err err = { 0 };
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(addr);
    char url[64];
    *w = (struct world){ .status = 201 };
    arena_init(&w->arena, 4 << 20);
    w->loop = loop_new(&err);
    CHECK_OK(w->loop, &err);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0 && listen(fd, 16) == 0 &&
          getsockname(fd, (struct sockaddr *)&addr, &len) == 0);
    struct http_server_config cfg = { .on_request = on_request, .arg = w };
    w->server = http_server_new(w->loop, &cfg, &err);
    CHECK_OK(w->server && http_server_listen(w->server, fd, NULL, NULL, &err), &err);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d", ntohs(addr.sin_port));
    struct client_config config = { .server = str_c(url) };
    struct client_options options = { .user_agent = "test" };
    w->client = client_new(w->loop, &config, &options, &err);
    CHECK_OK(w->client, &err);
}

static void world_end(struct world *w)
{
    client_free(w->client);
    http_server_free(w->server);
    loop_free(w->loop);
    arena_deinit(&w->arena);
}

static void wait_done(struct world *w)
{
    for (int i = 0; i < 500 && !w->done; i++) {
        loop_turn(w->loop, 20);
    }
    CHECK(w->done == 1);
    w->done = 0;
}

static void authn_done(struct authn_request *r, enum authn_result result)
{
    struct world *w = r->owner;
    w->done++;
    w->result = (int)result;
}

static void authz_done(struct authz_request *r, enum authz_result result)
{
    struct world *w = r->owner;
    w->done++;
    w->result = (int)result;
}

static struct authn_chain *authn_of(struct world *w)
{
    struct err err = { 0 };
    struct authn_config cfg = { .review_client = w->client, .anonymous = true };
    struct authn_chain *c = authn_chain_new(&cfg, &err);
    CHECK_OK(c, &err);
    return c;
}

TEST(token_review_gives_the_user_and_is_remembered)
{
    struct world w;
    world_make(&w);
    struct authn_chain *c = authn_of(&w);
    struct authn_request r = { .arena = &w.arena, .authorization = STR("Bearer tok"), .now = TEST_NOW, .done = authn_done, .owner = &w };
    w.answer = "{\"kind\":\"TokenReview\",\"apiVersion\":\"authentication.k8s.io/v1\",\"status\":{\"authenticated\":true,\"user\":{"
               "\"username\":\"system:serviceaccount:ns:web\",\"uid\":\"u\",\"groups\":[\"system:serviceaccounts\",\"system:authenticated\"],"
               "\"extra\":{\"authentication.kubernetes.io/pod-name\":[\"p\"]}}}}";
    CHECK_INT(authn_start(c, &r), AUTHN_WAIT);
    wait_done(&w);
    CHECK_INT(w.result, AUTHN_OK);
    CHECK_STR_C(str_c(w.path), "/apis/authentication.k8s.io/v1/tokenreviews");
    CHECK(strstr(w.asked, "\"token\":\"tok\"") != NULL);
    CHECK_STR_C(r.user.name, "system:serviceaccount:ns:web");
    CHECK_INT(r.user.n_groups, 2);
    CHECK_STR_C(auth_user_extra(&r.user, AUTH_EXTRA_POD_NAME), "p");
    r.now += 60;
    CHECK_INT(authn_start(c, &r), AUTHN_OK);
    CHECK_INT(w.n_asked, 1);
    r.now += 61;
    CHECK_INT(authn_start(c, &r), AUTHN_WAIT);
    authn_cancel(&r);
    authn_chain_free(c);
    world_end(&w);
}

TEST(token_that_the_apiserver_refuses_or_cannot_judge_is_refused)
{
    struct world w;
    world_make(&w);
    struct authn_chain *c = authn_of(&w);
    struct authn_request r = { .arena = &w.arena, .authorization = STR("Bearer tok"), .now = TEST_NOW, .done = authn_done, .owner = &w };
    w.answer = "{\"kind\":\"TokenReview\",\"apiVersion\":\"authentication.k8s.io/v1\",\"status\":{\"error\":\"no such token\"}}";
    CHECK_INT(authn_start(c, &r), AUTHN_WAIT);
    wait_done(&w);
    CHECK_INT(w.result, AUTHN_FAILED);
    CHECK_STR_C(str_c(r.err.msg), "no such token");
    w.answer = "{\"kind\":\"TokenReview\",\"apiVersion\":\"authentication.k8s.io/v1\",\"status\":{}}";
    CHECK_INT(authn_start(c, &r), AUTHN_WAIT);
    wait_done(&w);
    CHECK_STR_C(str_c(r.err.msg), "invalid bearer token");
    w.status = 403;
    w.answer = "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":\"may not review\",\"reason\":\"Forbidden\",\"code\":403}";
    CHECK_INT(authn_start(c, &r), AUTHN_WAIT);
    wait_done(&w);
    CHECK_INT(w.result, AUTHN_FAILED);
    CHECK(strstr(r.err.msg, "may not review") != NULL);
    /* The chain goes away while a review is under way. */
    CHECK_INT(authn_start(c, &r), AUTHN_WAIT);
    authn_chain_free(c);
    world_end(&w);
}

TEST(access_review_decides_and_is_remembered_by_everything_that_matters)
{
    struct world w;
    struct err err = { 0 };
    struct str mode = STR("Webhook"), groups[] = { STR("devs") };
    struct auth_extra extra = { .key = STR("scopes"), .values = groups, .n_values = 1 };
    world_make(&w);
    struct authz_config cfg = { .modes = &mode, .n_modes = 1, .review_client = w.client };
    struct authz_chain *c = authz_chain_new(&cfg, &err);
    CHECK_OK(c, &err);
    struct auth_user alice = test_user("alice", groups, 1);
    alice.extra = &extra;
    alice.n_extra = 1;
    struct authz_request r = { .attr = test_attr(&alice, "create", "", "nodes/proxy", "", "n1"), .arena = &w.arena, .done = authz_done, .owner = &w };
    w.answer = "{\"kind\":\"SubjectAccessReview\",\"apiVersion\":\"authorization.k8s.io/v1\",\"status\":{\"allowed\":true,\"reason\":\"because\"}}";
    CHECK_INT(authz_start(c, &r), AUTHZ_WAIT);
    wait_done(&w);
    CHECK_INT(w.result, AUTHZ_ALLOW);
    CHECK_STR_C(r.reason, "because");
    CHECK_STR_C(str_c(w.path), "/apis/authorization.k8s.io/v1/subjectaccessreviews");
    CHECK(strstr(w.asked, "\"resource\":\"nodes\",\"subresource\":\"proxy\",\"name\":\"n1\"") && strstr(w.asked, "\"user\":\"alice\"") &&
          strstr(w.asked, "\"scopes\":[\"devs\"]"));
    CHECK_INT(authz_start(c, &r), AUTHZ_ALLOW);
    CHECK_INT(w.n_asked, 1);
    /* Another verb is another question; the answer no is remembered as well. */
    r.attr.verb = STR("get");
    w.answer = "{\"kind\":\"SubjectAccessReview\",\"apiVersion\":\"authorization.k8s.io/v1\",\"status\":{\"allowed\":false}}";
    CHECK_INT(authz_start(c, &r), AUTHZ_WAIT);
    wait_done(&w);
    CHECK_INT(w.result, AUTHZ_NO_OPINION);
    CHECK_INT(authz_start(c, &r), AUTHZ_NO_OPINION);
    groups[0] = STR("ops"); /* another group is another user */
    w.answer = "{\"kind\":\"SubjectAccessReview\",\"apiVersion\":\"authorization.k8s.io/v1\",\"status\":{\"allowed\":false,\"denied\":true}}";
    CHECK_INT(authz_start(c, &r), AUTHZ_WAIT);
    wait_done(&w);
    CHECK_INT(w.result, AUTHZ_DENY);
    r.attr.name = STR("n2");
    CHECK_INT(authz_start(c, &r), AUTHZ_WAIT);
    authz_cancel(&r);
    CHECK_INT(authz_start(c, &r), AUTHZ_WAIT);
    authz_chain_free(c);
    CHECK(!authz_chain_new(&(struct authz_config){ .modes = &mode, .n_modes = 1 }, &err));
    world_end(&w);
}
