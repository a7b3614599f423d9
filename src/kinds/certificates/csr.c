/*
 * CertificateSigningRequest (Kubernetes documentation, "Certificates and Certificate Signing Requests"): who asks is what the server
 * knows; what is asked never changes; /approval adds the decision, /status the certificate, and neither takes anything back.
 */
#include "api/equal.h"
#include "api/gen/certificates_v1.h"
#include "base/encoding.h"
#include "kinds/rules.h"
#include "kinds/table.h"
#include "pki/cert.h"
#include "pki/csr.h"

typedef struct certificates_v1_certificate_signing_request csr_t;
typedef struct certificates_v1_certificate_signing_request_condition condition_t;

#define LEGACY_SIGNER "kubernetes.io/legacy-unknown"
#define MIN_SECONDS 600

/* ---- prepare ---- */

static void prepare_create(struct kind_ctx *ctx, void *obj)
{
    csr_t *c = obj;
    c->spec.username = ctx->user;
    c->spec.uid = ctx->user_uid;
    c->spec.groups = ctx->user_groups;
    c->spec.n_groups = ctx->n_user_groups;
    c->spec.extra = ctx->user_extra;
    c->spec.n_extra = ctx->n_user_extra;
    c->status = (struct certificates_v1_certificate_signing_request_status){ 0 };
}

static void fill_times(const struct kind_ctx *ctx, csr_t *c, const csr_t *old)
{
    struct api_time now = { .sec = ctx->now_sec, .set = true };
    for (size_t i = 0; i < c->status.n_conditions; i++) {
        condition_t *n = &c->status.conditions[i];
        struct api_time since = now;
        for (size_t k = 0; k < old->status.n_conditions; k++) {
            const condition_t *o = &old->status.conditions[k];
            if (str_eq(o->type, n->type) && str_eq(o->status, n->status) && o->last_transition_time.set) {
                since = o->last_transition_time;
                break;
            }
        }
        if (!n->last_update_time.set) {
            n->last_update_time = now;
        }
        if (!n->last_transition_time.set) {
            n->last_transition_time = since;
        }
    }
}

/* The object itself changes neither what is asked nor what was answered; /approval changes conditions alone. */
static void prepare_update(struct kind_ctx *ctx, void *obj, const void *old_obj)
{
    csr_t *c = obj;
    const csr_t *old = old_obj;
    c->spec = old->spec;
    if (str_eq_c(ctx->subresource, "approval")) {
        c->status.certificate = old->status.certificate;
        fill_times(ctx, c, old);
    } else {
        c->status = old->status;
    }
}

static size_t count(const csr_t *c, struct str type)
{
    size_t n = 0;
    for (size_t i = 0; i < c->status.n_conditions; i++) {
        n += str_eq(c->status.conditions[i].type, type);
    }
    return n;
}

/* Puts the old conditions of that type in place of the new ones. False when there are more or fewer of them. */
static bool keep_old(csr_t *c, const csr_t *old, struct str type)
{
    size_t at = 0;
    if (count(c, type) != count(old, type)) {
        return false;
    }
    for (size_t i = 0; i < c->status.n_conditions; i++) {
        if (str_eq(c->status.conditions[i].type, type)) {
            while (!str_eq(old->status.conditions[at].type, type)) {
                at++;
            }
            c->status.conditions[i] = old->status.conditions[at++];
        }
    }
    return true;
}

/* /status leaves decisions as they are; where it tries to add or drop one, all conditions stay. */
static void prepare_status(struct kind_ctx *ctx, void *obj, const void *old_obj)
{
    csr_t *c = obj;
    const csr_t *old = old_obj;
    if (!keep_old(c, old, STR("Approved")) || !keep_old(c, old, STR("Denied"))) {
        c->status.conditions = old->status.conditions;
        c->status.n_conditions = old->status.n_conditions;
        return; /* theirs have their times */
    }
    fill_times(ctx, c, old);
}

/* ---- spec ---- */

static void invalid_segment(struct kind_ctx *ctx, struct str path, struct str segment, struct str label, const struct names_errs *e)
{
    for (unsigned i = 0; i < e->n; i++) {
        field_invalid_str(ctx->errs, path, segment, "validating label \"%.*s\": %s", STR_ARG(label), e->msg[i]);
    }
}

/* "example.com/name": labels joined by dots, a slash, subdomains joined by dots. */
static void signer_name(struct kind_ctx *ctx, struct str path, struct str name)
{
    enum { SEGMENT_MAX = 253 };
    struct str domain, rest, label, labels;
    size_t n = 0;
    if (str_empty(name)) {
        field_required(ctx->errs, path, "%s", "");
        return;
    }
    if (!str_cut(name, '/', &domain, &rest) || str_find_char(rest, '/') >= 0) {
        field_invalid_str(ctx->errs, path, name, "must be a fully qualified domain and path of the form 'example.com/signer-name'");
        return;
    }
    if (domain.len > SEGMENT_MAX) {
        field_too_long(ctx->errs, path, SEGMENT_MAX);
    }
    for (labels = domain; str_split(&labels, '.', &label); n++) {
        struct names_errs e = { 0 };
        (void)names_dns1123_label(label, &e);
        invalid_segment(ctx, path, domain, label, &e);
    }
    if (n < 2) {
        field_invalid_str(ctx->errs, path, domain, "should be a domain with at least two segments separated by dots");
    }
    for (labels = rest; str_split(&labels, '.', &label);) {
        struct names_errs e = { 0 };
        (void)names_dns1123_subdomain(label, &e);
        invalid_segment(ctx, path, rest, label, &e);
    }
    if (rest.len > SEGMENT_MAX) {
        field_too_long(ctx->errs, path, SEGMENT_MAX);
    }
}

static void usages(struct kind_ctx *ctx, const csr_t *c)
{
    static const struct str known[] = {
        STR_INIT("any"), STR_INIT("cert sign"), STR_INIT("client auth"), STR_INIT("code signing"), STR_INIT("content commitment"),
        STR_INIT("crl sign"), STR_INIT("data encipherment"), STR_INIT("decipher only"), STR_INIT("digital signature"),
        STR_INIT("email protection"), STR_INIT("encipher only"), STR_INIT("ipsec end system"), STR_INIT("ipsec tunnel"),
        STR_INIT("ipsec user"), STR_INIT("key agreement"), STR_INIT("key encipherment"), STR_INIT("microsoft sgc"),
        STR_INIT("netscape sgc"), STR_INIT("ocsp signing"), STR_INIT("s/mime"), STR_INIT("server auth"), STR_INIT("signing"),
        STR_INIT("timestamping"), STR_NULL,
    };
    if (c->spec.n_usages == 0) {
        field_required(ctx->errs, STR("spec.usages"), "%s", "");
    }
    for (size_t i = 0; i < c->spec.n_usages; i++) {
        (void)rule_enum(ctx->errs, path_index(ctx->arena, STR("spec.usages"), i), c->spec.usages[i], known);
    }
    for (size_t i = 0; i < c->spec.n_usages; i++) {
        for (size_t k = 0; k < i; k++) {
            if (str_eq(c->spec.usages[i], c->spec.usages[k])) {
                field_duplicate_str(ctx->errs, path_index(ctx->arena, STR("spec.usages"), i), c->spec.usages[i]);
                break;
            }
        }
    }
}

static struct str base64_of(struct arena *a, struct str bytes)
{
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, BUF_NO_MAX);
    base64_encode(&b, bytes);
    return arena_str(a, buf_str(&b));
}

static void validate_create(struct kind_ctx *ctx, const void *obj)
{
    const csr_t *c = obj;
    struct err err = { 0 };
    if (!pki_csr_check(c->spec.request, &err)) {
        field_invalid_str(ctx->errs, STR("spec.request"), base64_of(ctx->arena, c->spec.request), "%s", err.msg);
    }
    usages(ctx, c);
    if (str_eq_c(c->spec.signer_name, LEGACY_SIGNER)) {
        field_invalid_str(ctx->errs, STR("spec.signerName"), c->spec.signer_name,
                          "the legacy signerName is not allowed via this API version");
    } else {
        signer_name(ctx, STR("spec.signerName"), c->spec.signer_name);
    }
    if (c->spec.has_expiration_seconds && c->spec.expiration_seconds < MIN_SECONDS) {
        field_invalid_int(ctx->errs, STR("spec.expirationSeconds"), c->spec.expiration_seconds,
                          "may not specify a duration less than 600 seconds (10 minutes)");
    }
}

/* ---- status ---- */

static bool has_duplicates(const csr_t *c)
{
    for (size_t i = 0; i < c->status.n_conditions; i++) {
        for (size_t k = 0; k < i; k++) {
            if (str_eq(c->status.conditions[i].type, c->status.conditions[k].type)) {
                return true;
            }
        }
    }
    return false;
}

/* One condition, with those before it. What the stored object already breaks stays allowed. */
static void condition(struct kind_ctx *ctx, const csr_t *c, const csr_t *old, size_t i)
{
    static const struct str statuses[] = { STR_INIT("False"), STR_INIT("True"), STR_INIT("Unknown"), STR_NULL };
    static const struct str only_true[] = { STR_INIT("True"), STR_NULL };
    const condition_t *n = &c->status.conditions[i];
    struct str path = path_index(ctx->arena, STR("status.conditions"), i), type_path = path_child(ctx->arena, path, "type");
    bool approved = str_eq_c(n->type, "Approved"), denied = str_eq_c(n->type, "Denied"), failed = str_eq_c(n->type, "Failed");
    if (str_empty(n->type) && count(old, STR_EMPTY) == 0) {
        field_required(ctx->errs, type_path, "%s", "");
    }
    if (str_empty(n->status)) {
        field_required(ctx->errs, path_child(ctx->arena, path, "status"), "%s", "");
    } else {
        (void)rule_enum(ctx->errs, path_child(ctx->arena, path, "status"), n->status,
                        approved || denied || failed ? only_true : statuses);
    }
    bool both_stored = count(old, STR("Approved")) > 0 && count(old, STR("Denied")) > 0;
    bool duplicates_stored = has_duplicates(old), other = false, same = false;
    for (size_t k = 0; k < i; k++) {
        struct str t = c->status.conditions[k].type;
        other = other || (approved && str_eq_c(t, "Denied")) || (denied && str_eq_c(t, "Approved"));
        same = same || str_eq(t, n->type);
    }
    if (other && !both_stored) {
        field_invalid_str(ctx->errs, type_path, n->type, "Approved and Denied conditions are mutually exclusive");
    }
    if (same && !duplicates_stored) {
        field_duplicate_str(ctx->errs, type_path, n->type);
    }
}

/* Nothing but CERTIFICATE blocks without headers, at least one, each a certificate. Text around them is allowed (RFC 7468). */
static bool check_certificate(struct str pem, struct err *err)
{
    static const struct str begin = STR_INIT("-----BEGIN "), dashes = STR_INIT("-----");
    size_t n = 0;
    for (struct str rest = pem;;) {
        ptrdiff_t at = str_find(rest, begin);
        if (at < 0) {
            break;
        }
        rest = str_sub(rest, (size_t)at, SIZE_MAX);
        struct str name = str_sub(rest, begin.len, SIZE_MAX);
        ptrdiff_t end = str_find(name, dashes);
        name = str_sub(name, 0, end < 0 ? 0 : (size_t)end);
        if (!str_eq_c(name, "CERTIFICATE")) {
            return err_set(err, ERR_INVALID, "only CERTIFICATE PEM blocks are allowed, found \"%.*s\"", STR_ARG(name));
        }
        struct str body = str_sub(rest, begin.len + name.len + dashes.len, SIZE_MAX);
        ptrdiff_t body_end = str_find(body, STR("-----END "));
        if (body_end >= 0 && str_find_char(str_sub(body, 0, (size_t)body_end), ':') >= 0) {
            return err_set(err, ERR_INVALID, "no PEM block headers are permitted");
        }
        struct pki_cert *c = pki_cert_read(&rest, err);
        if (!c) {
            return false;
        }
        pki_cert_unref(c);
        n++;
    }
    return n > 0 || err_set(err, ERR_INVALID, "must contain at least one CERTIFICATE PEM block");
}

static void keeps_conditions(struct kind_ctx *ctx, const csr_t *c, const csr_t *old, bool may_decide)
{
    static const struct str types[] = { STR_INIT("Approved"), STR_INIT("Denied"), STR_INIT("Failed") };
    for (size_t t = 0; t < ARRAY_SIZE(types); t++) {
        if (count(c, types[t]) < count(old, types[t])) {
            field_forbidden(ctx->errs, STR("status.conditions"), "updates may not remove a condition of type \"%.*s\"",
                            STR_ARG(types[t]));
        }
    }
    for (size_t t = 0; t < 2 && !may_decide; t++) {
        if (count(c, types[t]) > count(old, types[t])) {
            field_forbidden(ctx->errs, STR("status.conditions"), "updates may not add a condition of type \"%.*s\"",
                            STR_ARG(types[t]));
        }
    }
}

static void validate_change(struct kind_ctx *ctx, const csr_t *c, const csr_t *old, bool may_decide, bool may_sign)
{
    struct err err = { 0 };
    for (size_t i = 0; i < c->status.n_conditions; i++) {
        condition(ctx, c, old, i);
    }
    bool changed = !str_eq(c->status.certificate, old->status.certificate);
    if (changed && c->status.certificate.len && !check_certificate(c->status.certificate, &err)) {
        field_invalid_str(ctx->errs, STR("status.certificate"), STR("<certificate data>"), "%s", err.msg);
    }
    keeps_conditions(ctx, c, old, may_decide);
    if (changed && !may_sign) {
        field_forbidden(ctx->errs, STR("status.certificate"), "updates may not set certificate content");
    } else if (changed && old->status.certificate.len) {
        field_forbidden(ctx->errs, STR("status.certificate"), "updates may not modify existing certificate content");
    }
}

static void validate_update(struct kind_ctx *ctx, const void *obj, const void *old)
{
    validate_change(ctx, obj, old, str_eq_c(ctx->subresource, "approval"), false);
}

static void validate_status(struct kind_ctx *ctx, const void *obj, const void *old)
{
    validate_change(ctx, obj, old, false, true);
}

/* ---- looking at it ---- */

static void cells(struct kind_cells *k, const void *obj)
{
    const csr_t *c = obj;
    const char *decision = count(c, STR("Denied")) ? "Denied" : count(c, STR("Approved")) ? "Approved" : "Pending";
    cell_str(k, c->metadata.name);
    cell_age(k, c->metadata.creation_timestamp);
    cell_str(k, str_empty(c->spec.signer_name) ? STR("<none>") : c->spec.signer_name);
    cell_str(k, c->spec.username);
    cell_str(k, c->spec.has_expiration_seconds ? kind_duration_text(k->arena, c->spec.expiration_seconds) : STR("<none>"));
    cell_printf(k, "%s%s%s", decision, count(c, STR("Failed")) ? ",Failed" : "", c->status.certificate.len ? ",Issued" : "");
}

static struct str field_signer(struct arena *a UNUSED, const void *obj)
{
    return ((const csr_t *)obj)->spec.signer_name;
}

static const struct kind_field fields[] = { { STR_INIT("spec.signerName"), field_signer }, { STR_NULL, NULL } };

const struct kind_ops certificates_csr_ops = {
    .group = STR_INIT("certificates.k8s.io"),
    .resource = STR_INIT("certificatesigningrequests"),
    .flags = KIND_SPEC_UNOWNED,
    .prepare_create = prepare_create,
    .prepare_update = prepare_update,
    .prepare_status = prepare_status,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .validate_status = validate_status,
    .cells = cells,
    .fields = fields,
};
