/*
 * legacy-serviceaccount-token-cleaner-controller (KEP-2799): tokens in Secrets that were once made
 * for every account and that nobody has used for --legacy-service-account-token-clean-up-period are
 * first marked invalid (the apiserver refuses a marked one), and deleted when as much time again
 * went by. The apiserver notes the use in a label, and since when it does so in a ConfigMap; before
 * it has done so for long enough nothing is touched. One key, "all", once a day.
 */
#include <stdlib.h>

#include "api/gen/core_v1.h"
#include "base/clock.h"
#include "controllers/controllers.h"

#define EVERY_MS (24ull * 3600 * 1000)
#define DAY_S (24 * 3600)
#define LABEL_LAST_USED STR("kubernetes.io/legacy-token-last-used")
#define LABEL_INVALID_SINCE STR("kubernetes.io/legacy-token-invalid-since")
#define TRACKING_NAMESPACE STR("kube-system")
#define TRACKING_NAME STR("kube-apiserver-legacy-service-account-token-tracking")
#define DATE_LEN 10

struct state {
    struct controller *controller;
    const struct api_resource *secrets_resource;
    struct informer *secrets, *accounts, *pods, *tracking;
};

static void on_tracking(void *data, const void *old UNUSED, const void *obj UNUSED)
{
    struct state *s = data;
    controller_enqueue(s->controller, STR("all"));
}

static void *setup(struct controller *c, struct informers *informers)
{
    static const char *const secret_fields[] = { "-metadata.managedFields", NULL };
    static const char *const account_fields[] = { "secrets", NULL };
    static const char *const pod_fields[] = { "spec.volumes.secret.secretName", NULL };
    static const char *const map_fields[] = { "data", NULL };
    struct state *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    s->controller = c;
    s->secrets_resource = api_resource_find(STR(""), STR("v1"), STR("secrets"));
    struct informer_spec secrets = { .resource = s->secrets_resource,
                                     .field_selector =
                                         STR_INIT("type=kubernetes.io/service-account-token"),
                                     .fields = secret_fields };
    struct informer_spec accounts = { .resource = api_resource_find(STR(""), STR("v1"),
                                                                    STR("serviceaccounts")),
                                      .fields = account_fields };
    struct informer_spec pods = { .resource = api_resource_find(STR(""), STR("v1"), STR("pods")),
                                  .fields = pod_fields };
    struct informer_spec tracking = {
        .resource = api_resource_find(STR(""), STR("v1"), STR("configmaps")),
        .ns = TRACKING_NAMESPACE,
        .field_selector =
            STR_INIT("metadata.name=kube-apiserver-legacy-service-account-token-tracking"),
        .fields = map_fields
    };
    s->secrets = informers_get(informers, &secrets, NULL, NULL);
    s->accounts = informers_get(informers, &accounts, NULL, NULL);
    s->pods = informers_get(informers, &pods, NULL, NULL);
    s->tracking = informers_get(informers, &tracking, on_tracking, s);
    controller_enqueue(c, STR("all"));
    return s;
}

/* "2026-11-24" as seconds; false when it is no date. */
static bool read_date(struct str date, int64_t *ret)
{
    char text[DATE_LEN + sizeof("T00:00:00Z")];
    uint32_t nsec;
    if (date.len != DATE_LEN) {
        return false;
    }
    snprintf(text, sizeof(text), "%.*sT00:00:00Z", STR_ARG(date));
    return clock_parse_rfc3339(str_c(text), ret, &nsec);
}

static struct str write_date(struct actions *a, int64_t sec)
{
    char text[CLOCK_RFC3339_SIZE];
    clock_format_rfc3339(sec, 0, 0, text);
    return arena_str(act_arena(a), str_n(text, DATE_LEN));
}

/* Was it made for its account by the system of old: does the account list it? */
static bool is_listed(const struct state *s, const struct core_v1_secret *secret)
{
    struct str account =
        meta_annotation(&secret->metadata, STR("kubernetes.io/service-account.name"));
    const struct core_v1_service_account *sa =
        account.len ? informer_get(s->accounts, secret->metadata.namespace, account) : NULL;
    for (size_t i = 0; sa && i < sa->n_secrets; i++) {
        if (str_eq(sa->secrets[i].name, secret->metadata.name)) {
            return true;
        }
    }
    return false;
}

static bool is_mounted(const struct state *s, const struct core_v1_secret *secret)
{
    const struct core_v1_pod *p;
    for (size_t pos = 0; (p = informer_next_in(s->pods, secret->metadata.namespace, &pos));) {
        for (size_t i = 0; i < p->spec.n_volumes; i++) {
            const struct core_v1_secret_volume_source *v = p->spec.volumes[i].volume_source.secret;
            if (v && str_eq(v->secret_name, secret->metadata.name)) {
                return true;
            }
        }
    }
    return false;
}

static void look_at(struct state *s, const struct core_v1_secret *secret, int64_t before,
                    struct actions *a)
{
    const struct meta_v1_object_meta *m = &secret->metadata;
    int64_t used, since;
    struct str label = meta_label(m, LABEL_LAST_USED), before_date = write_date(a, before);
    if (m->creation_timestamp.sec >= before || m->deletion_timestamp.set ||
        (label.ptr && (!read_date(label, &used) || str_cmp(label, before_date) >= 0)) ||
        !is_listed(s, secret) || is_mounted(s, secret)) {
        return;
    }
    struct str invalid = meta_label(m, LABEL_INVALID_SINCE);
    if (!invalid.ptr || !read_date(invalid, &since)) {
        struct str today = write_date(a, act_now(a));
        struct str patch =
            arena_printf(act_arena(a),
                         "{\"metadata\":{\"uid\":\"%.*s\",\"resourceVersion\":\"%.*s\",\"labels\":{"
                         "\"%.*s\":\"%.*s\"}}}",
                         STR_ARG(m->uid), STR_ARG(m->resource_version),
                         STR_ARG(LABEL_INVALID_SINCE), STR_ARG(today));
        act_patch(a, s->secrets_resource, m->namespace, m->name, NULL, CLIENT_PATCH_MERGE, patch);
    } else if (str_cmp(invalid, before_date) < 0) {
        struct client_delete_options same = { .grace_seconds = -1,
                                              .resource_version = m->resource_version };
        act_delete(a, s->secrets_resource, m->namespace, m->name, m->uid, &same);
    }
}

static void reconcile(void *state, struct str key UNUSED, struct actions *a)
{
    struct state *s = state;
    const struct core_v1_config_map *tracking =
        informer_get(s->tracking, TRACKING_NAMESPACE, TRACKING_NAME);
    const struct core_v1_secret *secret;
    int64_t since, before = act_now(a) - controllers_config.legacy_token_cleanup_s;
    struct str date = STR_NULL;
    for (size_t i = 0; tracking && i < tracking->n_data; i++) {
        date = str_eq_c(tracking->data[i].key, "since") ? tracking->data[i].value : date;
    }
    act_requeue_after(a, EVERY_MS);
    /* The date is of a day, so it may have begun at its end. */
    if (!date.ptr || !read_date(date, &since) || since + DAY_S > before) {
        return;
    }
    for (size_t pos = 0; (secret = informer_next(s->secrets, &pos));) {
        look_at(s, secret, before, a);
    }
}

const struct controller_ops controller_legacy_token_cleaner = {
    .name = "legacy-serviceaccount-token-cleaner-controller",
    .service_account = "legacy-service-account-token-cleaner",
    .setup = setup,
    .reconcile = reconcile,
    .teardown = free,
    .concurrency = 1,
};
