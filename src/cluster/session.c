#include "cluster/session.h"

#include "base/clock.h"
#include "cluster/prepare.h"
#include "net/loop.h"

#define ASK_TIMEOUT_MS 5000
#define LOOK_EVERY_MS 200

bool session_open(struct session *s, const struct cluster_config *c, struct err *err)
{
    struct client_config config;
    struct arena a;
    arena_init(&a, ARENA_NO_BUDGET);
    bool ok = prepare_admin_config(c, &a, &config, err) && session_open_as(s, &config, err);
    arena_deinit(&a);
    return ok;
}

bool session_open_as(struct session *s, const struct client_config *config, struct err *err)
{
    const struct client_options options = { .user_agent = "coracle/" CORACLE_VERSION, .timeout_ms = ASK_TIMEOUT_MS };
    *s = (struct session){ .loop = NULL };
    s->loop = loop_new(err);
    s->client = s->loop ? client_new(s->loop, config, &options, err) : NULL;
    if (!s->client) {
        session_close(s);
        return false;
    }
    return true;
}

void session_close(struct session *s)
{
    if (s) {
        s->client = client_free(s->client);
        s->loop = loop_free(s->loop);
    }
}

struct asking {
    struct arena *arena;
    struct val value;
    struct str body;
    struct err err;
    int status;
    bool failed, done;
};

static void on_answer(void *data, const struct client_answer *answer)
{
    struct asking *ask = data;
    ask->done = true;
    ask->status = answer->http_status;
    if (answer->err) {
        ask->failed = true;
        ask->err = *answer->err;
        return;
    }
    ask->body = arena_str(ask->arena, answer->body);
    if (!val_parse_json(ask->arena, ask->body, JSON_DEPTH, NULL, &ask->value, NULL)) {
        ask->value = val_null();
    }
}

bool session_look(struct session *s, struct err *err)
{
    uint64_t now = clock_mono_ms();
    if (!s->still || now - s->looked_ms < LOOK_EVERY_MS) {
        return true;
    }
    s->looked_ms = now;
    return s->still(s->still_arg, err);
}

static bool ask_text(struct session *s, const char *method, const char *path, struct str body, struct arena *a,
                     struct asking *ret, int *ret_status, struct err *err)
{
    struct asking ask = { .arena = a };
    struct client_call *call = client_raw(s->client, str_c(method), str_c(path),
                                          body.len ? STR("application/json") : STR_NULL, body, on_answer, &ask);
    while (!ask.done) {
        loop_turn(s->loop, s->still ? LOOK_EVERY_MS : -1);
        if (!ask.done && !session_look(s, &ask.err)) {
            client_cancel(call);
            ask.done = ask.failed = true;
            s->looked_ms = 0; /* whoever asks next learns the same at once */
        }
    }
    if (ret_status) {
        *ret_status = ask.status;
    }
    if (ask.failed) {
        if (err) {
            *err = ask.err;
        }
        return false;
    }
    *ret = ask;
    return true;
}

bool session_ask(struct session *s, const char *method, const char *path, struct str body, struct arena *a,
                 struct val *ret, int *ret_status, struct err *err)
{
    struct asking ask;
    if (!ask_text(s, method, path, body, a, &ask, ret_status, err)) {
        return false;
    }
    *ret = ask.value;
    return true;
}

bool session_read(struct session *s, const char *path, struct arena *a, struct str *ret, int *ret_status, struct err *err)
{
    struct asking ask;
    if (!ask_text(s, "GET", path, STR_NULL, a, &ask, ret_status, err)) {
        return false;
    }
    *ret = ask.body;
    return true;
}
