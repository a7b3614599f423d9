/* Is this chain good, and does it name this host? */
#include <arpa/inet.h>

#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "base/time-floor.h"
#include "pki/cert.h"
#include "pki/pki-private.h"

static void store_freep(X509_STORE **s)
{
    X509_STORE_free(*s);
}

static void store_ctx_freep(X509_STORE_CTX **c)
{
    X509_STORE_CTX_free(*c);
}

static void stack_freep(STACK_OF(X509) * *s)
{
    sk_X509_free(*s); /* the certificates are borrowed */
}

static bool explain(X509_STORE_CTX *ctx, int64_t now, struct err *err)
{
    int code = X509_STORE_CTX_get_error(ctx);
    X509 *at = X509_STORE_CTX_get_current_cert(ctx);
    char now_text[CLOCK_RFC3339_SIZE], then_text[CLOCK_RFC3339_SIZE] = "?";
    clock_format_rfc3339(now, 0, 0, now_text);
    struct tm tm;
    const ASN1_TIME *then = NULL;
    bool expired = code == X509_V_ERR_CERT_HAS_EXPIRED;
    if (at && (expired || code == X509_V_ERR_CERT_NOT_YET_VALID)) {
        then = expired ? X509_get0_notAfter(at) : X509_get0_notBefore(at);
    }
    if (then && ASN1_TIME_to_tm(then, &tm) == 1) {
        clock_format_rfc3339((int64_t)timegm(&tm), 0, 0, then_text);
    }
    switch (code) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return pki_fail(
            err, ERR_UNAUTHORIZED,
            "x509: certificate has expired or is not yet valid: current time %s is %s %s", now_text,
            expired ? "after" : "before", then_text);
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    case X509_V_ERR_CERT_UNTRUSTED:
        return pki_fail(err, ERR_UNAUTHORIZED, "x509: certificate signed by unknown authority");
    case X509_V_ERR_INVALID_PURPOSE:
        return pki_fail(err, ERR_UNAUTHORIZED,
                        "x509: certificate specifies an incompatible key usage");
    case X509_V_ERR_INVALID_CA:
    case X509_V_ERR_KEYUSAGE_NO_CERTSIGN:
        return pki_fail(err, ERR_UNAUTHORIZED,
                        "x509: certificate is not authorized to sign other certificates");
    case X509_V_ERR_PATH_LENGTH_EXCEEDED:
        return pki_fail(err, ERR_UNAUTHORIZED,
                        "x509: too many intermediates for path length constraint");
    case X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION:
        return pki_fail(err, ERR_UNAUTHORIZED, "x509: unhandled critical extension");
    default:
        return pki_fail(err, ERR_UNAUTHORIZED, "x509: certificate is refused: %s",
                        X509_verify_cert_error_string(code));
    }
}

/* While the clock is not set, "not yet valid" says nothing (base/time-floor.h). */
static int judge(int ok, X509_STORE_CTX *ctx)
{
    if (!ok && X509_STORE_CTX_get_error(ctx) == X509_V_ERR_CERT_NOT_YET_VALID && time_floor_clock_is_unset()) {
        X509_STORE_CTX_set_error(ctx, X509_V_OK);
        return 1;
    }
    return ok;
}

bool pki_verify(const struct pki_bundle *roots, struct pki_cert *const *chain, size_t n_chain,
                unsigned usage, int64_t now, struct err *err)
{
    if (n_chain == 0 || n_chain > PKI_MAX_CHAIN) {
        return err_set(err, ERR_UNAUTHORIZED,
                       "x509: a chain of %zu certificates, 1 to %d are accepted", n_chain,
                       PKI_MAX_CHAIN);
    }
    CLEANUP(store_freep) X509_STORE *store = X509_STORE_new();
    CLEANUP(store_ctx_freep) X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    CLEANUP(stack_freep) STACK_OF(X509) *rest = sk_X509_new_null();
    bool ok = store && ctx && rest;
    for (size_t i = 0; ok && i < roots->n; i++) {
        ok = X509_STORE_add_cert(store, pki_cert_x509(roots->certs[i])) == 1;
    }
    for (size_t i = 1; ok && i < n_chain; i++) {
        ok = sk_X509_push(rest, pki_cert_x509(chain[i])) > 0;
    }
    if (!ok || X509_STORE_CTX_init(ctx, store, pki_cert_x509(chain[0]), rest) != 1) {
        return pki_fail(err, ERR_INTERNAL, "out of memory while a certificate was verified");
    }
    X509_STORE_CTX_set_verify_cb(ctx, judge);
    X509_VERIFY_PARAM *p = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_time(p, (time_t)now);
    X509_VERIFY_PARAM_set_auth_level(p, 2); /* no RSA below 2048 bits, no SHA-1 or MD5 signatures */
    X509_VERIFY_PARAM_set_depth(p, PKI_MAX_CHAIN);
    /* Any certificate of the bundle is an anchor, also one that is not self-signed, as in Go. */
    (void)X509_VERIFY_PARAM_set_flags(p, X509_V_FLAG_PARTIAL_CHAIN);
    if (usage & (PKI_USAGE_CLIENT_AUTH | PKI_USAGE_SERVER_AUTH)) {
        (void)X509_VERIFY_PARAM_set_purpose(
            p, usage & PKI_USAGE_CLIENT_AUTH ? X509_PURPOSE_SSL_CLIENT : X509_PURPOSE_SSL_SERVER);
    }
    if (X509_verify_cert(ctx) != 1) {
        return explain(ctx, now, err);
    }
    ERR_clear_error();
    return true;
}

bool pki_cert_matches_host(const struct pki_cert *c, struct str host)
{
    char name[256];
    unsigned char raw[16];
    if (host.len == 0 || !str_to_cstr(host, name, sizeof(name))) {
        return false;
    }
    int len = inet_pton(AF_INET, name, raw) == 1 ? 4 : inet_pton(AF_INET6, name, raw) == 1 ? 16 : 0;
    int ok = len ? X509_check_ip(pki_cert_x509(c), raw, (size_t)len, 0)
                 : X509_check_host(pki_cert_x509(c), name, host.len,
                                   X509_CHECK_FLAG_NEVER_CHECK_SUBJECT |
                                       X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS,
                                   NULL);
    ERR_clear_error();
    return ok == 1;
}
