/*
 * certificatesigningrequest-approving-controller: approves requests for kubelets' client
 * certificates when the one who asks may have that done: SubjectAccessReview of "create" on
 * certificatesigningrequests/selfnodeclient (a node renews its own) or /nodeclient (a bootstrapper
 * asks for a node's first).
 *
 * The question goes out between two passes: a pass that lacks the answer asks, and the answer
 * brings the next pass.
 */
#include <stdlib.h>

#include "api/gen/authorization_v1.h"
#include "base/map.h"
#include "controllers/csr-facts.h"
#include "controllers/signer.h"

static const struct kind {
    const char *subresource, *message;
    bool self; /* who asks is whom the certificate names */
} kinds[] = {
    { "selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview.",
      true },
    { "nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview.", false },
};

enum progress { ASKED, ALLOWED, REFUSED, BROKEN };

/* One question under way or answered. */
struct review {
    struct state *state;
    struct client_call *call;
    char *key;
    size_t kind;
    enum progress progress;
    char why[256]; /* of BROKEN */
};

struct state {
    struct controller *controller;
    struct informer *requests;
    struct map reviews; /* key -> struct review */
};

static void *setup(struct controller *c, struct informers *informers)
{
    struct state *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    s->controller = c;
    map_init(&s->reviews);
    s->requests = csr_informer(c, informers);
    return s;
}

static void review_free(struct review *v)
{
    if (v) {
        client_cancel(v->call);
        free(v->key);
        free(v);
    }
}

static void teardown(void *state)
{
    struct state *s = state;
    struct str key;
    void *value;
    for (size_t pos = 0; map_next(&s->reviews, &pos, &key, &value);) {
        review_free(value);
    }
    map_deinit(&s->reviews);
    free(s);
}

static void on_answer(void *data, const struct client_answer *answer)
{
    struct review *v = data;
    const struct authorization_v1_subject_access_review *r = answer->object;
    v->call = NULL;
    if (answer->err || !r || answer->type != &authorization_v1_subject_access_review_type) {
        v->progress = BROKEN;
        snprintf(v->why, sizeof(v->why), "%.250s",
                 answer->err ? answer->err->msg : "no answer to a SubjectAccessReview");
    } else {
        v->progress = r->status.allowed ? ALLOWED : REFUSED;
    }
    controller_enqueue(v->state->controller, str_c(v->key));
}

static void ask(struct state *s, const csr_t *csr, struct review *v)
{
    struct authorization_v1_resource_attributes attributes = {
        .group = STR_INIT("certificates.k8s.io"),
        .resource = STR_INIT("certificatesigningrequests"),
        .verb = STR_INIT("create"),
        .version = STR_INIT("*"),
        .subresource = str_c(kinds[v->kind].subresource),
    };
    struct authorization_v1_subject_access_review review = {
        .spec = { .resource_attributes = &attributes,
                  .user = csr->spec.username,
                  .uid = csr->spec.uid,
                  .groups = csr->spec.groups,
                  .n_groups = csr->spec.n_groups,
                  .extra = csr->spec.extra,
                  .n_extra = csr->spec.n_extra },
    };
    struct client_target t = { .resource = api_resource_find(STR("authorization.k8s.io"), STR("v1"),
                                                             STR("subjectaccessreviews")) };
    v->progress = ASKED;
    v->call = client_create(controller_client(s->controller), &t, NULL, &review, on_answer, v);
}

static bool recognizes(const struct kind *k, const csr_t *csr, const struct pki_csr *request)
{
    return !k->self || str_eq(csr->spec.username, request->names.cn);
}

/* The next kind from 'from' on that the request is of; ARRAY_SIZE(kinds): none. */
static size_t next_kind(const csr_t *csr, const struct pki_csr *request, size_t from)
{
    while (from < ARRAY_SIZE(kinds) && !recognizes(&kinds[from], csr, request)) {
        from++;
    }
    return from;
}

static void consider(struct state *s, const csr_t *csr, const struct pki_csr *request,
                     struct str key, struct actions *a)
{
    struct review *v = map_get(&s->reviews, key);
    if (!v) {
        v = calloc(1, sizeof(*v));
        if (!v || !(v->key = strndup(key.ptr, key.len))) {
            abort();
        }
        v->state = s;
        v->kind = next_kind(csr, request, 0);
        map_put(&s->reviews, key, v);
        ask(s, csr, v); /* a node's client certificate is always of the last kind */
        return;
    }
    if (v->progress == ASKED) {
        return;
    }
    if (v->progress == REFUSED && next_kind(csr, request, v->kind + 1) < ARRAY_SIZE(kinds)) {
        v->kind = next_kind(csr, request, v->kind + 1);
        ask(s, csr, v);
        return;
    }
    if (v->progress == ALLOWED) {
        csr_add_condition(a, csr, "approval", "Approved", "AutoApproved",
                          str_c(kinds[v->kind].message));
    } else if (v->progress == REFUSED) {
        act_fail(a,
                 "\"%.*s\" may not have a node's client certificate approved (create on "
                 "certificatesigningrequests/%s)",
                 STR_ARG(csr->spec.username), kinds[v->kind].subresource);
    } else {
        act_fail(a, "%s", v->why);
    }
    /* An answer serves one decision: rights may have changed by the next. */
    review_free(map_remove(&s->reviews, key));
}

static void reconcile(void *state, struct str key, struct actions *a)
{
    struct state *s = state;
    const csr_t *csr = informer_get(s->requests, STR_NULL, key);
    struct pki_csr request;
    struct err err;
    if (!csr || csr_is_decided(csr) ||
        !str_eq(csr->spec.signer_name, signer_name(SIGNER_KUBELET_CLIENT))) {
        review_free(map_remove(&s->reviews, key));
        return;
    }
    if (!pki_csr_read(csr->spec.request, act_arena(a), &request, &err)) {
        return; /* nothing to approve: a person may deny it */
    }
    if (signer_accepts(SIGNER_KUBELET_CLIENT, &request, csr->spec.usages, csr->spec.n_usages,
                       &err)) {
        consider(s, csr, &request, key, a);
    }
    pki_csr_deinit(&request);
}

const struct controller_ops controller_csr_approving = {
    .name = "certificatesigningrequest-approving-controller",
    .service_account = "certificate-controller",
    .setup = setup,
    .reconcile = reconcile,
    .teardown = teardown,
};
