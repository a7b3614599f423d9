/*
 * serviceaccount-token-controller: fills Secrets of type kubernetes.io/service-account-token with a
 * token that lives as long as the Secret, the CA and the namespace; a Secret whose account is gone
 * is deleted. Needs --service-account-private-key-file.
 */
#include <stdlib.h>

#include "api/gen/core_v1.h"
#include "auth/sa-token.h"
#include "controllers/controllers.h"

#define TYPE STR("kubernetes.io/service-account-token")
#define ANNOTATION_NAME STR("kubernetes.io/service-account.name")
#define ANNOTATION_UID STR("kubernetes.io/service-account.uid")
#define TOKEN_MAX 16384

struct state {
    struct controller *controller;
    const struct api_resource *secrets_resource, *accounts_resource;
    struct informer *secrets, *accounts;
    struct informer_index *by_account; /* "ns/name" of the account */
};

static void index_by_account(const struct api_type *type UNUSED, const void *obj,
                             void (*emit)(void *ctx, struct str key), void *ctx)
{
    const struct core_v1_secret *s = obj;
    char key[512];
    struct str name = meta_annotation(&s->metadata, ANNOTATION_NAME);
    int n = snprintf(key, sizeof(key), "%.*s/%.*s", STR_ARG(s->metadata.namespace), STR_ARG(name));
    if (name.len && n > 0 && (size_t)n < sizeof(key)) {
        emit(ctx, str_n(key, (size_t)n));
    }
}

static void on_account(void *data, const void *old, const void *obj)
{
    struct state *s = data;
    const struct core_v1_service_account *sa = obj ? obj : old;
    const struct core_v1_secret *secret;
    char key[512];
    int n = snprintf(key, sizeof(key), "%.*s/%.*s", STR_ARG(sa->metadata.namespace),
                     STR_ARG(sa->metadata.name));
    for (size_t pos = 0;
         n > 0 && (size_t)n < sizeof(key) &&
         (secret = informer_index_next(s->by_account, str_n(key, (size_t)n), &pos));) {
        controller_enqueue_obj(s->controller, &core_v1_secret_type, secret);
    }
}

static void *setup(struct controller *c, struct informers *informers)
{
    static const char *const secret_fields[] = { "-metadata.managedFields", NULL };
    static const char *const account_fields[] = { NULL };
    struct state *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    s->controller = c;
    s->secrets_resource = api_resource_find(STR(""), STR("v1"), STR("secrets"));
    s->accounts_resource = api_resource_find(STR(""), STR("v1"), STR("serviceaccounts"));
    struct informer_spec secrets = { .resource = s->secrets_resource,
                                     .field_selector =
                                         STR_INIT("type=kubernetes.io/service-account-token"),
                                     .fields = secret_fields };
    struct informer_spec accounts = { .resource = s->accounts_resource, .fields = account_fields };
    s->secrets = controller_watch(c, informers, &secrets);
    s->by_account = informer_index(s->secrets, "service-account", index_by_account);
    s->accounts = informers_get(informers, &accounts, on_account, s);
    return s;
}

static struct str data_of(const struct core_v1_secret *s, struct str key)
{
    for (size_t i = 0; i < s->n_data; i++) {
        if (str_eq(s->data[i].key, key)) {
            return s->data[i].value;
        }
    }
    return STR_NULL;
}

/* Sets a pair in a sorted list that has room. */
static void set_pair(struct api_str_pair *list, size_t *n, struct str key, struct str value)
{
    size_t at = 0;
    while (at < *n && str_cmp(list[at].key, key) < 0) {
        at++;
    }
    if (at == *n || !str_eq(list[at].key, key)) {
        memmove(&list[at + 1], &list[at], (*n - at) * sizeof(*list));
        (*n)++;
    }
    list[at] = (struct api_str_pair){ key, value };
}

static struct api_str_pair *copy_pairs(struct actions *a, const struct api_str_pair *from, size_t n,
                                       size_t more)
{
    struct api_str_pair *to = arena_new_n(act_arena(a), struct api_str_pair, n + more);
    if (!to) {
        abort();
    }
    if (n) {
        memcpy(to, from, n * sizeof(*to));
    }
    return to;
}

static void fill(struct state *s, const struct core_v1_secret *secret,
                 const struct core_v1_service_account *sa, struct actions *a)
{
    struct str root_ca = controllers_config.root_ca_pem;
    bool has_uid = str_eq(meta_annotation(&secret->metadata, ANNOTATION_UID), sa->metadata.uid);
    bool has_ca = !root_ca.len || str_eq(data_of(secret, STR("ca.crt")), root_ca);
    bool has_namespace = data_of(secret, STR("namespace")).len > 0,
         has_token = data_of(secret, STR("token")).len > 0;
    struct err err;
    if (has_uid && has_ca && has_namespace && has_token) {
        return;
    }
    struct core_v1_secret filled = *secret;
    filled.data = copy_pairs(a, secret->data, secret->n_data, 3);
    filled.metadata.annotations =
        copy_pairs(a, secret->metadata.annotations, secret->metadata.n_annotations, 1);
    set_pair(filled.metadata.annotations, &filled.metadata.n_annotations, ANNOTATION_UID,
             sa->metadata.uid);
    if (!has_ca) {
        set_pair(filled.data, &filled.n_data, STR("ca.crt"), root_ca);
    }
    if (!has_namespace) {
        set_pair(filled.data, &filled.n_data, STR("namespace"), secret->metadata.namespace);
    }
    if (!has_token) {
        CLEANUP(buf_deinit) struct buf token;
        buf_init(&token, TOKEN_MAX);
        if (!sa_token_issue_legacy(controllers_config.service_account_key, sa->metadata.namespace,
                                   sa->metadata.name, sa->metadata.uid, secret->metadata.name,
                                   &token, &err)) {
            act_fail(a, "the token cannot be made: %s", err.msg);
            return;
        }
        set_pair(filled.data, &filled.n_data, STR("token"),
                 arena_str(act_arena(a), buf_str(&token)));
    }
    act_update(a, s->secrets_resource, &filled);
}

static void reconcile(void *state, struct str key, struct actions *a)
{
    struct state *s = state;
    struct str ns, name;
    const struct core_v1_secret *secret =
        str_cut(key, '/', &ns, &name) ? informer_get(s->secrets, ns, name) : NULL;
    if (!secret || secret->metadata.deletion_timestamp.set || !str_eq(secret->type, TYPE) ||
        !controllers_config.service_account_key) {
        return;
    }
    struct str account = meta_annotation(&secret->metadata, ANNOTATION_NAME),
               uid = meta_annotation(&secret->metadata, ANNOTATION_UID);
    const struct core_v1_service_account *sa =
        account.len ? informer_get(s->accounts, ns, account) : NULL;
    if (sa && (!uid.len || str_eq(uid, sa->metadata.uid))) {
        fill(s, secret, sa, a);
        return;
    }
    if (!account.len) {
        return;
    }
    /* The account may only not have come by yet: the server is asked. A new account of the same
     * name is another one. */
    if (!sa) {
        act_require_absent(a, s->accounts_resource, ns, account, uid);
    }
    act_delete(a, s->secrets_resource, ns, name, secret->metadata.uid, NULL);
}

const struct controller_ops controller_serviceaccount_token = {
    .name = "serviceaccount-token-controller",
    .service_account =
        NULL, /* it fills the Secrets by which others have rights: the manager's own */
    .setup = setup,
    .reconcile = reconcile,
    .teardown = free,
};
