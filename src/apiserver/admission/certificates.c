/*
 * CertificateApproval, CertificateSigning, CertificateSubjectRestriction (Kubernetes documentation, "Admission Control in Kubernetes"):
 * who decides about requests for a signer needs the verb "approve" on the virtual resource signers.certificates.k8s.io, who signs needs
 * "sign"; nobody becomes system:masters by the signer of ordinary clients.
 */
#include "api/equal.h"
#include "api/gen/certificates_v1.h"
#include "apiserver/admission/table.h"
#include "apiserver/request.h"
#include "pki/csr.h"

#define GROUP "certificates.k8s.io"
#define RESOURCE "certificatesigningrequests"
#define CLIENT_SIGNER "kubernetes.io/kube-apiserver-client"

/* First the signer by its name, then every signer of its domain. */
struct asking {
    struct str names[2];
    size_t at;
    bool answered, allowed;
};

static void on_done(struct authz_request *a, enum authz_result result)
{
    struct request *r = a->owner;
    struct asking *asking = r->attrs.plugin_data;
    asking->answered = true;
    asking->allowed = result == AUTHZ_ALLOW;
    request_again(r);
}

static enum stage_result may(struct request *r, struct admission_attrs *attrs, struct str verb, const char *what, struct str signer)
{
    struct asking *asking = attrs->plugin_data;
    if (!asking) {
        struct str domain, path;
        asking = arena_new(&r->arena, struct asking);
        if (!asking) {
            return request_bad(r, "the object is too large");
        }
        (void)str_cut(signer, '/', &domain, &path);
        asking->names[0] = signer;
        asking->names[1] = arena_printf(&r->arena, "%.*s/*", STR_ARG(domain));
        attrs->plugin_data = asking;
    }
    while (asking->at < ARRAY_SIZE(asking->names)) {
        if (!asking->answered) {
            r->authz = (struct authz_request){ .arena = &r->arena, .done = on_done, .owner = r };
            r->authz.attr = (struct authz_attributes){ .user = attrs->user, .verb = verb, .resource_request = true, .api_group = STR(GROUP),
                                                       .api_version = STR("*"), .resource = STR("signers"), .name = asking->names[asking->at] };
            enum authz_result result = authz_start(r->srv->authz, &r->authz);
            if (result == AUTHZ_WAIT) {
                return STAGE_WAIT;
            }
            asking->allowed = result == AUTHZ_ALLOW;
        }
        if (asking->allowed) {
            return STAGE_DONE;
        }
        asking->answered = false;
        asking->at++;
    }
    return admission_deny(r, attrs, "user not permitted to %s requests with signerName \"%.*s\"", what, STR_ARG(signer));
}

static enum stage_result validate_approval(struct request *r, struct admission_attrs *attrs)
{
    const struct certificates_v1_certificate_signing_request *old = attrs->old;
    if (!admission_is(attrs, GROUP, RESOURCE, "approval") || !old) {
        return STAGE_DONE;
    }
    return may(r, attrs, STR("approve"), "approve", old->spec.signer_name);
}

static enum stage_result validate_signing(struct request *r, struct admission_attrs *attrs)
{
    const struct certificates_v1_certificate_signing_request *c = attrs->obj, *old = attrs->old;
    if (!admission_is(attrs, GROUP, RESOURCE, "status") || !c || !old) {
        return STAGE_DONE;
    }
    /* Whoever changes neither the certificate nor the conditions signs nothing. */
    if (str_eq(c->status.certificate, old->status.certificate) &&
        api_equal_field(&certificates_v1_certificate_signing_request_status_type, "conditions", &c->status, &old->status)) {
        return STAGE_DONE;
    }
    return may(r, attrs, STR("sign"), "sign", old->spec.signer_name);
}

static enum stage_result validate_subject(struct request *r, struct admission_attrs *attrs)
{
    const struct certificates_v1_certificate_signing_request *c = attrs->obj;
    struct pki_csr csr;
    struct err err;
    if (!admission_is(attrs, GROUP, RESOURCE, "") || !c || !str_eq_c(c->spec.signer_name, CLIENT_SIGNER)) {
        return STAGE_DONE;
    }
    if (!pki_csr_read(c->spec.request, &r->arena, &csr, &err)) {
        return admission_deny(r, attrs, "failed to parse CSR: %s", err.msg);
    }
    bool masters = false;
    for (size_t i = 0; i < csr.names.n_orgs; i++) {
        masters = masters || str_eq(csr.names.orgs[i], AUTH_GROUP_MASTERS);
    }
    pki_csr_deinit(&csr);
    return masters ? admission_deny(r, attrs, "use of " CLIENT_SIGNER " signer with system:masters group is not allowed") : STAGE_DONE;
}

const struct admission_plugin admission_certificate_approval = {
    .name = STR_INIT("CertificateApproval"), .ops = ADMIT_UPDATE, .default_on = true, .validate = validate_approval,
};
const struct admission_plugin admission_certificate_signing = {
    .name = STR_INIT("CertificateSigning"), .ops = ADMIT_UPDATE, .default_on = true, .validate = validate_signing,
};
const struct admission_plugin admission_certificate_subject_restriction = {
    .name = STR_INIT("CertificateSubjectRestriction"), .ops = ADMIT_CREATE, .default_on = true, .validate = validate_subject,
};
