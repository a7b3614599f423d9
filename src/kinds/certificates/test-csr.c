#include "api/decode-json.h"
#include "api/gen/certificates_v1.h"
#include "base/clock.h"
#include "base/encoding.h"
#include "base/test.h"
#include "kinds/table.h"
#include "pki/csr.h"

#define TYPE (&certificates_v1_certificate_signing_request_type)

struct fixture {
    struct arena a;
    struct field_errs errs;
    struct kind_ctx ctx;
};

static void begin(struct fixture *f, const char *subresource)
{
    arena_init(&f->a, 4 << 20);
    field_errs_init(&f->errs, &f->a);
    f->ctx = (struct kind_ctx){ .arena = &f->a, .errs = &f->errs, .subresource = str_c(subresource), .user = STR("alice"), .now_sec = 5000 };
}

static void *decode(struct fixture *f, struct str json)
{
    struct err err;
    void *o = arena_alloc(&f->a, TYPE->size);
    CHECK_OK(api_decode_json(&f->a, TYPE, json, NULL, o, &err), &err);
    return o;
}

static struct str errors(struct fixture *f)
{
    return f->errs.n ? field_errs_message(&f->errs, &f->a) : STR("fine");
}

/* What a write of 'json' over 'old' says, by the rules of the subresource. */
static const char *change(struct fixture *f, const char *subresource, const char *old_json, const char *json)
{
    begin(f, subresource);
    void *old = decode(f, str_c(old_json)), *new = decode(f, str_c(json));
    if (strcmp(subresource, "status") == 0) {
        certificates_csr_ops.prepare_status(&f->ctx, new, old);
        certificates_csr_ops.validate_status(&f->ctx, new, old);
    } else {
        certificates_csr_ops.prepare_update(&f->ctx, new, old);
        certificates_csr_ops.validate_update(&f->ctx, new, old);
    }
    return arena_cstr(&f->a, errors(f));
}

static void check_change(const char *subresource, const char *old, const char *json, const char *want)
{
    struct fixture f;
    CHECK_STR_C(str_c(change(&f, subresource, old, json)), want);
    arena_deinit(&f.a);
}

#define APPROVED "{\"type\":\"Approved\",\"status\":\"True\"}"
#define DENIED "{\"type\":\"Denied\",\"status\":\"True\"}"
#define FAILED "{\"type\":\"Failed\",\"status\":\"True\"}"
#define WITH(x) "{\"status\":{\"conditions\":[" x "]}}"

TEST(a_decision_is_made_once_and_not_taken_back)
{
    check_change("approval", "{}", WITH(APPROVED), "fine");
    check_change("approval", WITH(APPROVED), WITH(APPROVED "," DENIED),
                 "status.conditions[1].type: Invalid value: \"Denied\": Approved and Denied conditions are mutually exclusive");
    check_change("approval", WITH(APPROVED), "{}", "status.conditions: Forbidden: updates may not remove a condition of type \"Approved\"");
    check_change("approval", WITH(APPROVED), WITH(APPROVED "," APPROVED), "status.conditions[1].type: Duplicate value: \"Approved\"");
    check_change("approval", "{}", WITH("{\"type\":\"Approved\",\"status\":\"False\"}"),
                 "status.conditions[0].status: Unsupported value: \"False\": supported values: \"True\"");
    check_change("approval", "{}", WITH("{\"type\":\"Approved\"}"), "status.conditions[0].status: Required value");
    check_change("approval", "{}", WITH("{\"status\":\"True\"}"), "status.conditions[0].type: Required value");
    check_change("status", WITH(FAILED), "{}", "status.conditions: Forbidden: updates may not remove a condition of type \"Failed\"");
}

TEST(status_keeps_decisions_and_the_object_itself_keeps_everything)
{
    struct fixture f;
    (void)change(&f, "status", WITH(APPROVED), WITH(DENIED));
    arena_deinit(&f.a);
    begin(&f, "status");
    struct certificates_v1_certificate_signing_request *old = decode(&f, STR(WITH(APPROVED))), *new = decode(&f, STR(WITH(DENIED "," FAILED)));
    certificates_csr_ops.prepare_status(&f.ctx, new, old);
    CHECK_INT(new->status.n_conditions, 1);
    CHECK_STR_C(new->status.conditions[0].type, "Approved");
    new = decode(&f, STR(WITH(FAILED ",{\"type\":\"Approved\",\"status\":\"True\",\"reason\":\"forged\"}")));
    certificates_csr_ops.prepare_status(&f.ctx, new, old);
    CHECK_INT(new->status.n_conditions, 2);
    CHECK(str_empty(new->status.conditions[1].reason));
    CHECK(new->status.conditions[0].last_update_time.sec == 5000 && new->status.conditions[0].last_transition_time.sec == 5000);
    f.ctx.subresource = STR_EMPTY;
    new = decode(&f, STR("{\"spec\":{\"username\":\"root\",\"signerName\":\"x.y/z\"},\"status\":{\"certificate\":\"AAAA\"}}"));
    certificates_csr_ops.prepare_update(&f.ctx, new, old);
    CHECK(str_empty(new->spec.username) && str_empty(new->spec.signer_name) && str_empty(new->status.certificate));
    CHECK_INT(new->status.n_conditions, 1);
    arena_deinit(&f.a);
}

TEST(who_asks_is_what_the_server_knows)
{
    struct fixture f;
    begin(&f, "");
    struct certificates_v1_certificate_signing_request *c = decode(&f, STR("{\"spec\":{\"username\":\"root\",\"groups\":[\"system:masters\"]}}"));
    certificates_csr_ops.prepare_create(&f.ctx, c);
    CHECK_STR_C(c->spec.username, "alice");
    CHECK_INT(c->spec.n_groups, 0);
    arena_deinit(&f.a);
}

TEST(a_certificate_is_set_once_by_status_alone)
{
    struct fixture f;
    struct err err;
    struct buf pem, json;
    buf_init(&pem, 1 << 16);
    buf_init(&json, 1 << 16);
    CLEANUP(pki_key_unrefp) struct pki_key *key = pki_key_generate(PKI_KEY_P256, 0, &err);
    struct pki_cert_spec spec = { .names = { .cn = STR("x") }, .not_before = 1, .not_after = 1000 };
    CLEANUP(pki_cert_unrefp) struct pki_cert *cert = pki_cert_self_sign(key, &spec, &err);
    CHECK_OK(cert, &err);
    pki_cert_write_pem(cert, &pem);
    buf_append_c(&json, "{\"status\":{\"certificate\":\"");
    base64_encode(&json, buf_str(&pem));
    buf_append_c(&json, "\"}}");
    check_change("status", "{}", json.ptr, "fine");
    check_change("status", json.ptr, json.ptr, "fine");
    check_change("status", json.ptr, "{}", "status.certificate: Forbidden: updates may not modify existing certificate content");
    CHECK_STR_C(str_c(change(&f, "approval", "{}", json.ptr)), "fine"); /* it is left out */
    arena_deinit(&f.a);
    check_change("status", "{}", "{\"status\":{\"certificate\":\"eA==\"}}",
                 "status.certificate: Invalid value: \"<certificate data>\": must contain at least one CERTIFICATE PEM block");
    check_change("status", "{}", "{\"status\":{\"certificate\":\"LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCg==\"}}",
                 "status.certificate: Invalid value: \"<certificate data>\": only CERTIFICATE PEM blocks are allowed, found \"PRIVATE KEY\"");
    buf_deinit(&pem);
    buf_deinit(&json);
}

TEST(a_signer_is_named_by_domain_and_path)
{
    static const struct {
        const char *name, *why; /* NULL: fine */
    } cases[] = {
        { "kubernetes.io/kube-apiserver-client", NULL },
        { "example.com/a.b", NULL },
        { "", "Required value" },
        { "kubernetes.io/legacy-unknown", "the legacy signerName is not allowed via this API version" },
        { "example.com", "must be a fully qualified domain" },
        { "example.com/a/b", "must be a fully qualified domain" },
        { "localhost/a", "at least two segments" },
        { "Example.com/a", "validating label \"Example\"" },
        { "example.com/A", "validating label \"A\"" },
    };
    struct err err;
    struct buf pem;
    buf_init(&pem, 1 << 16);
    CLEANUP(pki_key_unrefp) struct pki_key *key = pki_key_generate(PKI_KEY_P256, 0, &err);
    CHECK_OK(pki_csr_write(key, &(struct pki_names){ .cn = STR("x") }, &pem, &err), &err);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct fixture f;
        struct str usage = STR("client auth");
        begin(&f, "");
        struct certificates_v1_certificate_signing_request c = { .spec = { .request = buf_str(&pem), .signer_name = str_c(cases[i].name) } };
        c.spec.usages = &usage;
        c.spec.n_usages = 1;
        certificates_csr_ops.validate_create(&f.ctx, &c);
        CHECK(cases[i].why ? str_find(errors(&f), str_c(cases[i].why)) >= 0 : f.errs.n == 0);
        arena_deinit(&f.a);
    }
    buf_deinit(&pem);
}
