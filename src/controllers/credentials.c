#include "controllers/credentials.h"

#include <stdlib.h>

#include "api/gen/authentication_v1.h"
#include "api/gen/core_v1.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/time-floor.h"
#include "net/loop.h"

#define NAMESPACE STR("kube-system")
#define LIFETIME_S 3600
#define RETRY_MS 1000
#define RENEW_LEAST_MS 10000

struct credentials {
    struct client *manager, *client;
    const char *account;
    void (*ready)(void *data); /* NULL once it was called */
    void *data;
    struct client_call *call;
    struct loop_timer timer;
};

static void ask(void *arg);

static void create_account(struct credentials *c);

static void on_token(void *data, const struct client_answer *answer)
{
    struct credentials *c = data;
    c->call = NULL;
    if (answer->err && answer->err->code == ERR_NOT_FOUND) {
        create_account(c);
        return;
    }
    const struct authentication_v1_token_request *t = answer->object;
    if (answer->err || answer->type != &authentication_v1_token_request_type ||
        !t->status.token.len) {
        log_warning("no token for kube-system/%s yet: %s", c->account,
                    answer->err ? answer->err->msg : "none in the answer");
        loop_timer_start(&c->timer, RETRY_MS);
        return;
    }
    client_set_token(c->client, t->status.token);
    int64_t left_s = t->status.expiration_timestamp.set
                         ? t->status.expiration_timestamp.sec - time_floor_now_s()
                         : LIFETIME_S;
    loop_timer_start(&c->timer,
                     MAX((uint64_t)MAX(left_s, (int64_t)0) * 800, (uint64_t)RENEW_LEAST_MS));
    if (c->ready) {
        void (*ready)(void *data) = c->ready;
        c->ready = NULL;
        ready(c->data);
    }
}

static void on_created(void *data, const struct client_answer *answer)
{
    struct credentials *c = data;
    c->call = NULL;
    if (answer->err && answer->err->code != ERR_ALREADY_EXISTS) {
        log_warning("service account kube-system/%s cannot be made: %s", c->account,
                    answer->err->msg);
        loop_timer_start(&c->timer, RETRY_MS);
        return;
    }
    ask(c);
}

static void create_account(struct credentials *c)
{
    struct core_v1_service_account account = { .metadata = { .name = str_c(c->account),
                                                             .namespace = NAMESPACE } };
    struct client_target t = { .resource =
                                   api_resource_find(STR(""), STR("v1"), STR("serviceaccounts")),
                               .ns = NAMESPACE };
    c->call = client_create(c->manager, &t, NULL, &account, on_created, c);
}

static void ask(void *arg)
{
    struct credentials *c = arg;
    struct authentication_v1_token_request body = { .kind = STR_INIT("TokenRequest"),
                                                    .api_version =
                                                        STR_INIT("authentication.k8s.io/v1") };
    body.spec.expiration_seconds = LIFETIME_S;
    body.spec.has_expiration_seconds = true;
    struct client_target t = { .resource =
                                   api_resource_find(STR(""), STR("v1"), STR("serviceaccounts")),
                               .ns = NAMESPACE,
                               .name = str_c(c->account),
                               .subresource = STR("token") };
    c->call =
        client_create(c->manager, &t, &authentication_v1_token_request_type, &body, on_token, c);
}

struct credentials *credentials_new(struct client *manager, struct client *client,
                                    const char *account, void (*ready)(void *data), void *data)
{
    struct credentials *c = calloc(1, sizeof(*c));
    if (!c) {
        abort();
    }
    *c = (struct credentials){
        .manager = manager, .client = client, .account = account, .ready = ready, .data = data
    };
    loop_timer_init(&c->timer, client_loop(manager), ask, c);
    loop_timer_start(&c->timer, 0);
    return c;
}

struct credentials *credentials_free(struct credentials *c)
{
    if (c) {
        client_cancel(c->call);
        loop_timer_stop(&c->timer);
        free(c);
    }
    return NULL;
}
