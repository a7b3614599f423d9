/* What one request costs here: decisions, and credentials seen before or new. Not a test: build it with optimisation. */
#include "auth/authn.h"
#include "auth/rbac.h"
#include "auth/rbac-bootstrap.h"
#include "auth/sa-token.h"
#include "base/clock.h"
#include "base/fs.h"
#include "pki/cert.h"

#define NOW ((int64_t)1800000000)

static void report(const char *what, uint64_t start, unsigned n)
{
    printf("%-44s %8.0f ns\n", what, (double)(clock_mono_ns() - start) / n);
}

static void decisions(void)
{
    struct rbac *r = rbac_new();
    struct err err = { 0 };
    if (!rbac_bootstrap_feed(r, &err)) {
        printf("%s\n", err.msg);
        return;
    }
    struct str groups[] = { STR("system:serviceaccounts"), STR("system:serviceaccounts:kube-system"),
                            STR("system:authenticated") };
    struct auth_user u = { .name = STR("system:serviceaccount:kube-system:deployment-controller"),
                           .groups = groups,
                           .n_groups = 3 };
    struct authz_attributes a = { .user = &u,
                                  .verb = STR("update"),
                                  .resource_request = true,
                                  .namespace_ = STR("ns"),
                                  .api_group = STR("apps"),
                                  .resource = STR("replicasets"),
                                  .subresource = STR(""),
                                  .name = STR("x") };
    enum { N = 1000000 };
    unsigned allowed = 0;
    uint64_t start = clock_mono_ns();
    for (unsigned i = 0; i < N; i++) {
        allowed += rbac_authorize(r, &a, NULL, NULL) == AUTHZ_ALLOW;
    }
    report(allowed == N ? "RBAC, allowed" : "RBAC, wrong", start, N);
    a.resource = STR("secrets");
    a.api_group = STR("");
    start = clock_mono_ns();
    for (unsigned i = 0; i < N; i++) {
        allowed += rbac_authorize(r, &a, NULL, NULL) == AUTHZ_ALLOW;
    }
    report(allowed == N ? "RBAC, no opinion" : "RBAC, wrong", start, N);
    rbac_free(r);
    start = clock_mono_ns();
    r = rbac_new();
    (void)!rbac_bootstrap_feed(r, &err);
    report("bootstrap roles decoded and fed", start, 1);
    rbac_free(r);
}

static void tokens(enum pki_key_kind kind, const char *name)
{
    char what[64], jti[37], path[] = "/tmp/coracle-bench-auth-XXXXXX";
    struct err err = { 0 };
    struct buf pem, token;
    int64_t expires;
    struct str issuer = STR("https://kubernetes.default.svc");
    struct pki_key *k = pki_key_generate(kind, 0, &err);
    int fd = mkostemp(path, 02000000);
    buf_init(&pem, 1 << 20);
    buf_init(&token, 1 << 20);
    bool ok = k && fd >= 0 && pki_key_write_public(k, &pem) && fs_write_atomic(path, buf_str(&pem), 0600, &err);
    const char *files[] = { path };
    struct authn_config cfg = { .service_account_key_files = files,
                                .n_service_account_key_files = 1,
                                .service_account_issuers = &issuer,
                                .n_service_account_issuers = 1 };
    struct authn_chain *c = ok ? authn_chain_new(&cfg, &err) : NULL;
    struct sa_issuer i = { .key = k, .issuer = issuer, .default_audiences = &issuer, .n_default_audiences = 1 };
    struct sa_token_spec spec = { .namespace_ = STR("ns"), .name = STR("web"), .uid = STR("u"), .now = NOW, .pod_name = STR("p"), .pod_uid = STR("u") };
    enum { N = 2000 };
    uint64_t start = clock_mono_ns();
    for (unsigned n = 0; c && n < N; n++) {
        buf_clear(&token);
        ok = ok && sa_token_issue(&i, &spec, &token, &expires, jti, &err);
    }
    snprintf(what, sizeof(what), "token issued, %s", name);
    report(what, start, N);
    struct arena a;
    arena_init(&a, 64 << 20);
    for (unsigned round = 0; c && ok && round < 2; round++) {
        start = clock_mono_ns();
        for (unsigned n = 0; n < N && ok; n++) {
            struct authn_request r = { .arena = &a, .now = round ? NOW : NOW + 20 * (int64_t)(n % 2), .path = STR("/") };
            ok = authn_start_token(c, &r, buf_str(&token)) == AUTHN_OK;
            arena_clear(&a);
            if (!round) {
                (void)authn_chain_reload(c, NULL); /* forgets */
            }
        }
        snprintf(what, sizeof(what), "token believed, %s, %s", name, round ? "seen before" : "new (with a reload)");
        report(ok ? what : "token REFUSED", start, N);
    }
    arena_deinit(&a);
    (void)remove(path);
    authn_chain_free(c);
    pki_key_unref(k);
    buf_deinit(&pem);
    buf_deinit(&token);
}

/* A client certificate with its CA, as every request of a kubelet shows it. */
static void certificates(void)
{
    char path[] = "/tmp/coracle-bench-auth-XXXXXX";
    struct err err = { 0 };
    struct buf pem, der[2];
    uint8_t digest[32] = { 1 };
    struct str org = STR("system:nodes");
    struct pki_cert_spec root = { .names = { .cn = STR("ca") }, .ca = true, .path_len = -1, .not_before = NOW - 1, .not_after = NOW + 10000 };
    struct pki_cert_spec leaf = { .names = { .cn = STR("system:node:n1"), .orgs = &org, .n_orgs = 1 }, .usages = PKI_USAGE_CLIENT_AUTH,
                                  .not_before = NOW - 1, .not_after = NOW + 10000 };
    struct pki_key *k = pki_key_generate(PKI_KEY_P256, 0, &err);
    struct pki_cert *ca = k ? pki_cert_self_sign(k, &root, &err) : NULL, *cert = ca ? pki_cert_sign(ca, k, k, &leaf, &err) : NULL;
    int fd = mkostemp(path, 02000000);
    buf_init(&pem, 1 << 20);
    buf_init(&der[0], 1 << 20);
    buf_init(&der[1], 1 << 20);
    if (cert && fd >= 0) {
        pki_cert_write_pem(ca, &pem);
        pki_cert_write_der(cert, &der[0]);
        pki_cert_write_der(ca, &der[1]);
    }
    struct authn_config cfg = { .client_ca_file = path };
    struct authn_chain *c = cert && fs_write_atomic(path, buf_str(&pem), 0600, &err) ? authn_chain_new(&cfg, &err) : NULL;
    struct str chain[] = { buf_str(&der[0]), buf_str(&der[1]) };
    enum { N = 200000 };
    struct arena a;
    arena_init(&a, 64 << 20);
    for (unsigned round = 0; c && round < 2; round++) {
        uint64_t start = clock_mono_ns();
        bool ok = true;
        for (unsigned n = 0; n < N && ok; n++) {
            struct authn_request r = { .arena = &a, .now = NOW, .path = STR("/"), .peer_chain = chain, .n_peer_chain = 2,
                                       .peer_digest = round ? digest : NULL };
            ok = authn_start(c, &r) == AUTHN_OK;
            arena_clear(&a);
        }
        report(!ok ? "certificate REFUSED" : round ? "certificate, digest of the connection" : "certificate, digest by request", start, N);
    }
    arena_deinit(&a);
    (void)remove(path);
    authn_chain_free(c);
    pki_cert_unref(cert);
    pki_cert_unref(ca);
    pki_key_unref(k);
    buf_deinit(&pem);
    buf_deinit(&der[0]);
    buf_deinit(&der[1]);
}

int main(void)
{
    decisions();
    certificates();
    tokens(PKI_KEY_P256, "ES256");
    tokens(PKI_KEY_RSA, "RS256");
    return 0;
}
