/*
 * certificatesigningrequest-signing-controller: gives approved requests of kubernetes.io's four
 * signers their certificate. A signer without CA files does nothing: another program may be that
 * signer.
 */
#include <stdlib.h>

#include "base/log.h"
#include "controllers/csr-facts.h"
#include "controllers/signer.h"

#define CERTIFICATE_MAX (256u << 10)

struct state {
    struct informer *requests;
    struct signer_ca *cas[SIGNER_MAX]; /* NULL: not ours to sign */
};

static void *setup(struct controller *c, struct informers *informers)
{
    struct state *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    for (size_t i = 0; i < SIGNER_MAX; i++) {
        const struct controllers_signer *files = &controllers_config.signers[i];
        if (files->cert_file && files->key_file) {
            s->cas[i] = signer_ca_new(files->cert_file, files->key_file);
        }
    }
    s->requests = csr_informer(c, informers);
    return s;
}

static void teardown(void *state)
{
    struct state *s = state;
    for (size_t i = 0; i < SIGNER_MAX; i++) {
        signer_ca_free(s->cas[i]);
    }
    free(s);
}

static void sign(struct signer_ca *ca, const csr_t *csr, const struct pki_csr *request,
                 struct actions *a)
{
    struct err err;
    CLEANUP(buf_deinit) struct buf pem;
    buf_init(&pem, CERTIFICATE_MAX);
    int64_t asked = csr->spec.has_expiration_seconds ? csr->spec.expiration_seconds : 0;
    if (!signer_issue(ca, request, csr->spec.usages, csr->spec.n_usages, asked,
                      controllers_config.signing_duration_ms / 1000, act_now(a), &pem, &err)) {
        act_fail(a, "error auto signing csr: %s", err.msg);
        return;
    }
    csr_t signed_csr = *csr;
    signed_csr.status.certificate = buf_str(&pem);
    act_update_sub(a, csr_resource(), "status", &signed_csr);
    log_info("certificate of request %.*s for \"%.*s\" signed by %.*s", STR_ARG(csr->metadata.name),
             STR_ARG(request->names.cn), STR_ARG(csr->spec.signer_name));
}

static void reconcile(void *state, struct str key, struct actions *a)
{
    struct state *s = state;
    const csr_t *csr = informer_get(s->requests, STR_NULL, key);
    enum signer_kind kind;
    struct pki_csr request;
    struct err err;
    if (!csr || csr->status.certificate.len || !csr_condition(csr, "Approved") ||
        csr_condition(csr, "Denied") || csr_condition(csr, "Failed") ||
        !signer_of_name(csr->spec.signer_name, &kind) || !s->cas[kind]) {
        return;
    }
    if (!pki_csr_read(csr->spec.request, act_arena(a), &request, &err)) {
        /* It will not become readable: the asker learns why, and nobody tries for ever. */
        csr_add_condition(a, csr, "status", "Failed", "SignerValidationFailure",
                          arena_printf(act_arena(a), "unable to parse csr: %s", err.msg));
        return;
    }
    if (signer_accepts(kind, &request, csr->spec.usages, csr->spec.n_usages, &err)) {
        sign(s->cas[kind], csr, &request, a);
    } else {
        csr_add_condition(a, csr, "status", "Failed", "SignerValidationFailure",
                          arena_str(act_arena(a), str_c(err.msg)));
    }
    pki_csr_deinit(&request);
}

const struct controller_ops controller_csr_signing = {
    .name = "certificatesigningrequest-signing-controller",
    .service_account = "certificate-controller",
    .setup = setup,
    .reconcile = reconcile,
    .teardown = teardown,
};
