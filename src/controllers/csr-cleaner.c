/*
 * certificatesigningrequest-cleaner-controller: requests that have had their time are deleted.
 * Decided ones an hour after, those that nobody decided or signed after a day, and those whose
 * certificate has ended.
 */
#include <stdlib.h>

#include "controllers/csr-facts.h"
#include "pki/cert.h"

#define HOUR_S 3600
#define DECIDED_S HOUR_S
#define PENDING_S (24 * HOUR_S)
#define NEVER INT64_MAX

struct state {
    struct informer *requests;
};

static void *setup(struct controller *c, struct informers *informers)
{
    struct state *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    s->requests = csr_informer(c, informers);
    return s;
}

static int64_t since(const csr_condition_t *c, int64_t age)
{
    return c && c->last_update_time.set ? c->last_update_time.sec + age : NEVER;
}

static int64_t certificate_end(const csr_t *csr)
{
    struct str pem = csr->status.certificate;
    CLEANUP(pki_cert_unrefp) struct pki_cert *cert = pem.len ? pki_cert_read(&pem, NULL) : NULL;
    return cert ? pki_cert_not_after(cert) : NEVER;
}

/* When the request may go, in seconds since 1970. */
static int64_t due(const csr_t *csr)
{
    bool issued = csr->status.certificate.len > 0;
    int64_t at = MIN(since(csr_condition(csr, "Denied"), DECIDED_S),
                     since(csr_condition(csr, "Failed"), DECIDED_S));
    at = MIN(at, since(csr_condition(csr, "Approved"), issued ? DECIDED_S : PENDING_S));
    at = MIN(at, certificate_end(csr));
    if (csr->status.n_conditions == 0) {
        at = MIN(at, csr->metadata.creation_timestamp.sec + PENDING_S);
    }
    return at;
}

static void reconcile(void *state, struct str key, struct actions *a)
{
    struct state *s = state;
    const csr_t *csr = informer_get(s->requests, STR_NULL, key);
    int64_t at = csr ? due(csr) : NEVER;
    if (at == NEVER) {
        return;
    }
    if (at <= act_now(a)) {
        act_delete(a, csr_resource(), STR_NULL, key, csr->metadata.uid, NULL);
    } else {
        act_requeue_after(a, (uint64_t)(at - act_now(a)) * 1000);
    }
}

const struct controller_ops controller_csr_cleaner = {
    .name = "certificatesigningrequest-cleaner-controller",
    .service_account = "certificate-controller",
    .setup = setup,
    .reconcile = reconcile,
    .teardown = free,
};
