#include "auth/review-post.h"

#include "api/decode-json.h"
#include "api/encode-json.h"
#include "auth/limits.h"
#include "client/client.h"
#include "net/loop.h"

struct review_post {
    struct review_target target;
    struct client_call *call;
    struct loop_timer again;
    struct buf body;
    unsigned tries;
    review_post_fn *done;
    void *data;
};

bool review_target_init(struct review_target *t, struct client *client, const char *group, const char *resource, bool webhook,
                        struct str version, struct err *err)
{
    bool beta = webhook && !str_eq_c(version, "v1");
    if (beta && !str_empty(version) && !str_eq_c(version, "v1beta1")) {
        return err_set(err, ERR_INVALID, "version \"%.*s\" of a review is neither v1 nor v1beta1", STR_ARG(version));
    }
    *t = (struct review_target){ .client = client, .resource = api_resource_find(str_c(group), STR("v1"), str_c(resource)), .webhook = webhook,
                                 .beta = beta };
    return t->resource || err_set(err, ERR_INTERNAL, "the schema has no %s", resource);
}

static void post_free(struct review_post *p)
{
    loop_timer_stop(&p->again);
    if (p->body.ptr) {
        explicit_bzero(p->body.ptr, p->body.capacity); /* there may be a token in it */
    }
    buf_deinit(&p->body);
    free(p);
}

void review_post_cancel(struct review_post *p)
{
    if (p) {
        client_cancel(p->call);
        post_free(p);
    }
}

static void finish(struct review_post *p, const void *object, const struct err *err)
{
    review_post_fn *done = p->done;
    void *data = p->data;
    post_free(p);
    done(data, object, err);
}

/* ---- webhooks ---- */

static void send_body(void *arg);

static bool may_be_asked_again(const struct client_answer *answer)
{
    return answer->http_status == 0 || answer->http_status == 429 || answer->http_status >= 500;
}

static void on_raw(void *data, const struct client_answer *answer)
{
    struct review_post *p = data;
    struct err err = { 0 };
    p->call = NULL;
    if (answer->err) {
        if (may_be_asked_again(answer) && p->tries < AUTH_WEBHOOK_TRIES) {
            loop_timer_start(&p->again, AUTH_WEBHOOK_BACKOFF_MS << (p->tries - 1));
            return;
        }
        finish(p, NULL, answer->err);
        return;
    }
    const struct api_resource *res = p->target.resource;
    struct api_type_meta meta = { 0 };
    CLEANUP(arena_deinit) struct arena a;
    arena_init(&a, AUTH_WEBHOOK_ARENA);
    void *object = arena_alloc(&a, res->type->size);
    if (!object || answer->body.len > AUTH_WEBHOOK_ANSWER) {
        (void)err_set(&err, ERR_TOO_LARGE, "the webhook's answer is larger than %u bytes", AUTH_WEBHOOK_ANSWER);
        object = NULL;
    } else if (!api_peek_type_meta(&a, answer->body, &meta, &err) || !str_eq(meta.kind, res->kind) ||
               !(str_ends(meta.api_version, STR("/v1")) || str_ends(meta.api_version, STR("/v1beta1")))) {
        (void)err_set(&err, ERR_BAD_REQUEST, "the webhook answered something else than a %.*s", STR_ARG(res->kind));
        object = NULL;
    } else if (!api_decode_json(&a, res->type, answer->body, NULL, object, &err)) {
        (void)err_wrap(&err, "the webhook's answer cannot be read");
        object = NULL;
    }
    finish(p, object, object ? NULL : &err);
}

static void send_body(void *arg)
{
    struct review_post *p = arg;
    p->tries++;
    p->call = client_raw(p->target.client, STR("POST"), STR_EMPTY, STR("application/json"), buf_str(&p->body), on_raw, p);
}

/* v1beta1 of SubjectAccessReview calls the groups "group"; nothing before them in the text can look like the member. */
static void rename_groups(struct buf *b)
{
    struct str from = STR(",\"groups\":["), to = STR(",\"group\":[");
    struct str text = buf_str(b);
    ptrdiff_t at = str_find(text, from);
    ptrdiff_t extra = str_find(text, STR(",\"extra\":{"));
    if (at >= 0 && (extra < 0 || at < extra)) {
        memcpy(b->ptr + at, to.ptr, to.len);
        memmove(b->ptr + at + to.len, b->ptr + at + from.len, b->len - (size_t)at - from.len);
        b->len -= from.len - to.len;
        b->ptr[b->len] = '\0';
    }
}

/* ---- apiservers ---- */

static void on_object(void *data, const struct client_answer *answer)
{
    struct review_post *p = data;
    struct err err = { 0 };
    p->call = NULL;
    if (!answer->err && (!answer->object || answer->type != p->target.resource->type)) {
        (void)err_set(&err, ERR_BAD_REQUEST, "it answered something else than a %.*s", STR_ARG(p->target.resource->kind));
        finish(p, NULL, &err);
        return;
    }
    finish(p, answer->err ? NULL : answer->object, answer->err);
}

struct review_post *review_post_start(const struct review_target *t, const void *object, review_post_fn *done, void *data, struct err *err)
{
    struct review_post *p = calloc(1, sizeof(*p));
    char version[128];
    if (!p) {
        abort();
    }
    p->target = *t;
    p->done = done;
    p->data = data;
    loop_timer_init(&p->again, client_loop(t->client), send_body, p);
    buf_init(&p->body, AUTH_WEBHOOK_REVIEW);
    if (!t->webhook) {
        struct client_target target = { .resource = t->resource, .timeout_ms = AUTH_REVIEW_TIMEOUT_MS };
        p->call = client_create(t->client, &target, NULL, object, on_object, p);
        return p;
    }
    (void)snprintf(version, sizeof(version), "%.*s/%s", STR_ARG(t->resource->group), t->beta ? "v1beta1" : "v1");
    struct api_json_encode encode = { .kind = t->resource->kind, .api_version = str_c(version) };
    if (!api_encode_json(&p->body, t->resource->type, object, &encode, NULL) || buf_failed(&p->body)) {
        (void)err_set(err, ERR_TOO_LARGE, "the review is larger than %u bytes", AUTH_WEBHOOK_REVIEW);
        post_free(p);
        return NULL;
    }
    if (t->beta && str_eq(t->resource->kind, STR("SubjectAccessReview"))) {
        rename_groups(&p->body);
    }
    send_body(p);
    return p;
}
