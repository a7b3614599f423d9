/* Certificate requests: what is approved, signed and deleted. Each certificate is looked at by
 * openssl or by our own verifier. */
#include <stdlib.h>
#include <unistd.h>

#include "base/encoding.h"
#include "base/fs.h"
#include "controllers/controllers.h"
#include "client/fixture.h"
#include "controllers/signer.h"

#define NOW 1800000000

struct ca {
    char dir[64], cert_file[96], key_file[96];
    struct pki_cert *cert;
};

static void ca_init(struct ca *ca, int64_t not_after)
{
    struct err err;
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 1 << 20);
    snprintf(ca->dir, sizeof(ca->dir), "/tmp/coracle-signer.XXXXXX");
    CHECK(mkdtemp(ca->dir) != NULL);
    snprintf(ca->cert_file, sizeof(ca->cert_file), "%s/ca.crt", ca->dir);
    snprintf(ca->key_file, sizeof(ca->key_file), "%s/ca.key", ca->dir);
    CLEANUP(pki_key_unrefp) struct pki_key *key = pki_key_generate(PKI_KEY_P256, 0, &err);
    struct pki_cert_spec spec = { .names = { .cn = STR("ca") },
                                  .not_before = NOW - 20000000,
                                  .not_after = not_after };
    ca->cert = pki_cert_self_sign(key, &spec, &err);
    CHECK_OK(ca->cert, &err);
    pki_cert_write_pem(ca->cert, &b);
    CHECK_OK(fs_write_atomic(ca->cert_file, buf_str(&b), 0600, &err), &err);
    buf_clear(&b);
    CHECK(pki_key_write_private(key, &b));
    CHECK_OK(fs_write_atomic(ca->key_file, buf_str(&b), 0600, &err), &err);
}

static void ca_deinit(struct ca *ca)
{
    pki_cert_unref(ca->cert);
    unlink(ca->cert_file);
    unlink(ca->key_file);
    rmdir(ca->dir);
}

/* A request: subject and names, in base64 of PEM. */
static struct str request(struct arena *a, const struct pki_names *names)
{
    struct err err;
    CLEANUP(buf_deinit) struct buf pem, b64;
    buf_init(&pem, 1 << 16);
    buf_init(&b64, 1 << 16);
    CLEANUP(pki_key_unrefp) struct pki_key *key = pki_key_generate(PKI_KEY_P256, 0, &err);
    CHECK_OK(pki_csr_write(key, names, &pem, &err), &err);
    base64_encode(&b64, buf_str(&pem));
    return arena_str(a, buf_str(&b64));
}

static void put_request(struct fixture *f, struct arena *a, const struct pki_names *names,
                        const char *signer, const char *usages, const char *user, const char *more,
                        const char *status)
{
    struct str wanted = request(a, names);
    struct str json =
        arena_printf(a,
                     "{\"metadata\":{\"name\":\"r\",\"uid\":\"u\",\"resourceVersion\":\"%u\","
                     "\"creationTimestamp\":\"2026-11-24T00:00:00Z\"},\"spec\":{"
                     "\"request\":\"%.*s\",\"signerName\":\"kubernetes.io/"
                     "%s\",\"usages\":[%s],\"username\":\"%s\",\"groups\":[\"system:nodes\"]%s},"
                     "\"status\":{%s}}",
                     7, STR_ARG(wanted), signer, usages, user, more, status);
    fixture_put(f, "certificates.k8s.io", "v1", "certificatesigningrequests", json.ptr);
}

/* The certificate that the pass wrote, or NULL. */
static struct pki_cert *written(struct arena *a, const char *out)
{
    struct str all = str_c(out), mark = STR("\"certificate\":\""), b64, tail, pem;
    ptrdiff_t at = str_find(all, mark);
    if (at < 0) {
        return NULL;
    }
    CHECK(str_cut(str_sub(all, (size_t)at + mark.len, SIZE_MAX), '"', &b64, &tail));
    CHECK(base64_decode(a, b64, &pem));
    return pki_cert_read(&pem, NULL);
}

static const struct str nodes_org = STR_INIT("system:nodes");
static const struct str devs_org = STR_INIT("devs");

#define APPROVED "\"conditions\":[{\"type\":\"Approved\",\"status\":\"True\"}]"
#define CLIENT_USAGES "\"digital signature\",\"client auth\""
#define SERVER_USAGES "\"digital signature\",\"server auth\""

struct signing {
    struct fixture f;
    struct arena a;
    struct ca ca;
};

static void signing_init(struct signing *s, int64_t ca_not_after)
{
    arena_init(&s->a, ARENA_NO_BUDGET);
    ca_init(&s->ca, ca_not_after);
    controllers_config.signing_duration_ms = 365ll * 24 * 3600 * 1000;
    for (size_t i = 0; i < CONTROLLERS_SIGNERS; i++) {
        controllers_config.signers[i] =
            (struct controllers_signer){ s->ca.cert_file, s->ca.key_file };
    }
    fixture_init(&s->f, &controller_csr_signing);
    s->f.now = NOW;
}

static void signing_deinit(struct signing *s)
{
    fixture_deinit(&s->f);
    memset(controllers_config.signers, 0, sizeof(controllers_config.signers));
    ca_deinit(&s->ca);
    arena_deinit(&s->a);
}

TEST(an_approved_request_is_signed_for_as_long_as_it_asks)
{
    struct signing s;
    struct err err;
    struct pki_cert_info info;
    signing_init(&s, NOW + 10ll * 365 * 24 * 3600);
    struct pki_names names = { .cn = STR("bob"), .orgs = &devs_org, .n_orgs = 1 };
    put_request(&s.f, &s.a, &names, "kube-apiserver-client", CLIENT_USAGES, "alice",
                ",\"expirationSeconds\":3600", "");
    CHECK_STR_C(str_c(fixture_pass(&s.f, "r")), "");
    put_request(&s.f, &s.a, &names, "kube-apiserver-client", CLIENT_USAGES, "alice",
                ",\"expirationSeconds\":3600", APPROVED);
    const char *out = fixture_pass(&s.f, "r");
    CHECK(strncmp(out, "PUT certificatesigningrequests /r/status ", 41) == 0);
    CLEANUP(pki_cert_unrefp) struct pki_cert *cert = written(&s.a, out);
    CHECK(cert != NULL);
    struct pki_bundle roots = { .certs = &s.ca.cert, .n = 1 };
    CHECK_OK(pki_verify(&roots, &cert, 1, PKI_USAGE_CLIENT_AUTH, NOW, &err), &err);
    CHECK(!pki_verify(&roots, &cert, 1, PKI_USAGE_SERVER_AUTH, NOW, &err));
    CHECK_OK(pki_cert_inspect(cert, &s.a, &info, &err), &err);
    CHECK(!info.ca && str_eq_c(info.names.cn, "bob") && str_eq_c(info.names.orgs[0], "devs"));
    CHECK_INT(info.not_before, NOW - 300);
    CHECK_INT(info.not_after, NOW + 3600);
    signing_deinit(&s);
}

TEST(nothing_lives_longer_than_its_ca_or_the_flag_says)
{
    struct signing s;
    struct pki_names names = { .cn = STR("bob") };
    signing_init(&s, NOW + 5000);
    put_request(&s.f, &s.a, &names, "kube-apiserver-client", CLIENT_USAGES, "alice", "", APPROVED);
    struct pki_cert *cert = written(&s.a, fixture_pass(&s.f, "r"));
    CHECK_INT(pki_cert_not_after(cert), NOW + 5000);
    pki_cert_unref(cert);
    controllers_config.signing_duration_ms = 700 * 1000;
    put_request(&s.f, &s.a, &names, "kube-apiserver-client", CLIENT_USAGES, "alice",
                ",\"expirationSeconds\":4000", APPROVED);
    cert = written(&s.a, fixture_pass(&s.f, "r"));
    CHECK_INT(pki_cert_not_after(cert), NOW + 700);
    pki_cert_unref(cert);
    /* The backdating is of a long life, not on top of it. */
    controllers_config.signing_duration_ms = 3000ll * 3600 * 1000;
    s.f.now = NOW - 3000ll * 3600;
    put_request(&s.f, &s.a, &names, "kube-apiserver-client", CLIENT_USAGES, "alice",
                ",\"expirationSeconds\":36000", APPROVED);
    cert = written(&s.a, fixture_pass(&s.f, "r"));
    CHECK_INT(pki_cert_not_after(cert), s.f.now + 36000 - 300);
    pki_cert_unref(cert);
    /* An ended CA signs nothing. */
    s.f.now = NOW + 6000;
    CHECK_STR_C(str_c(fixture_pass(&s.f, "r")), "failed\n");
    signing_deinit(&s);
}

TEST(what_breaks_its_signers_rules_fails_with_the_reason)
{
    static const struct str dns = STR_INIT("n1"), ip = STR_INIT("10.0.0.1"),
                            uri = STR_INIT("spiffe://x");
    static const struct {
        const char *signer, *usages, *cn;
        unsigned sans; /* 1 dns, 2 ip, 4 uri */
        const struct str *org;
        const char *why; /* NULL: signed */
    } cases[] = {
        { "kube-apiserver-client", "\"client auth\"", "x", 7, &devs_org, NULL },
        { "kube-apiserver-client", "\"server auth\"", "x", 0, &devs_org,
          "invalid usage for client certificate: server auth" },
        { "kube-apiserver-client", "\"digital signature\"", "x", 0, &devs_org,
          "missing required usage for client certificate: client auth" },
        { "kube-apiserver-client-kubelet", CLIENT_USAGES, "system:node:n1", 0, &nodes_org, NULL },
        { "kube-apiserver-client-kubelet", CLIENT_USAGES ",\"key encipherment\"", "system:node:n1",
          0, &nodes_org, NULL },
        { "kube-apiserver-client-kubelet", "\"client auth\"", "system:node:n1", 0, &nodes_org,
          "missing required usage" },
        { "kube-apiserver-client-kubelet", CLIENT_USAGES, "system:node:n1", 0, &devs_org,
          "subject organization is not system:nodes" },
        { "kube-apiserver-client-kubelet", CLIENT_USAGES, "n1", 0, &nodes_org,
          "common name does not begin with system:node:" },
        { "kube-apiserver-client-kubelet", CLIENT_USAGES, "system:node:n1", 1, &nodes_org,
          "DNS subjectAltNames are not allowed" },
        { "kube-apiserver-client-kubelet", CLIENT_USAGES, "system:node:n1", 2, &nodes_org,
          "IP subjectAltNames are not allowed" },
        { "kubelet-serving", SERVER_USAGES, "system:node:n1", 3, &nodes_org, NULL },
        { "kubelet-serving", SERVER_USAGES, "system:node:n1", 0, &nodes_org,
          "DNS or IP subjectAltName is required" },
        { "kubelet-serving", SERVER_USAGES, "system:node:n1", 5, &nodes_org,
          "URI subjectAltNames are not allowed" },
        { "kubelet-serving", CLIENT_USAGES, "system:node:n1", 1, &nodes_org,
          "invalid usage for serving certificate: client auth" },
        { "legacy-unknown", "\"code signing\",\"ipsec user\"", "x", 7, &devs_org, NULL },
    };
    struct signing s;
    signing_init(&s, NOW + 100000);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct pki_names names = { .cn = str_c(cases[i].cn),
                                   .orgs = cases[i].org,
                                   .n_orgs = 1,
                                   .dns = &dns,
                                   .n_dns = cases[i].sans & 1,
                                   .ips = &ip,
                                   .n_ips = (cases[i].sans >> 1) & 1,
                                   .uris = &uri,
                                   .n_uris = (cases[i].sans >> 2) & 1 };
        put_request(&s.f, &s.a, &names, cases[i].signer, cases[i].usages, "x", "", APPROVED);
        const char *out = fixture_pass(&s.f, "r");
        struct pki_cert *cert = written(&s.a, out);
        bool as_wanted = cases[i].why ? !cert && strstr(out, "SignerValidationFailure") &&
                                            strstr(out, cases[i].why)
                                      : cert != NULL;
        if (!as_wanted) {
            printf("  case %zu: %s\n", i, out);
        }
        CHECK(as_wanted);
        pki_cert_unref(cert);
    }
    /* Another's signer, denied, failed and signed ones are left alone. */
    struct pki_names names = { .cn = STR("x") };
    put_request(&s.f, &s.a, &names, "something-else", "\"client auth\"", "x", "", APPROVED);
    CHECK_STR_C(str_c(fixture_pass(&s.f, "r")), "");
    put_request(&s.f, &s.a, &names, "kube-apiserver-client", "\"client auth\"", "x", "",
                "\"conditions\":[{\"type\":\"Approved\"},{\"type\":\"Failed\"}]");
    CHECK_STR_C(str_c(fixture_pass(&s.f, "r")), "");
    put_request(&s.f, &s.a, &names, "kube-apiserver-client", "\"client auth\"", "x", "",
                APPROVED ",\"certificate\":\"AAAA\"");
    CHECK_STR_C(str_c(fixture_pass(&s.f, "r")), "");
    signing_deinit(&s);
}

TEST(a_renewed_ca_signs_without_a_restart_and_a_broken_one_does_not_stop_it)
{
    struct signing s;
    struct err err;
    struct ca other;
    struct pki_names names = { .cn = STR("x") };
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 1 << 20);
    signing_init(&s, NOW + 100000);
    ca_init(&other, NOW + 100000);
    put_request(&s.f, &s.a, &names, "kube-apiserver-client", CLIENT_USAGES, "x", "", APPROVED);
    pki_cert_unref(written(&s.a, fixture_pass(&s.f, "r")));
    CHECK_OK(fs_read(other.cert_file, 1 << 20, &b, &err), &err);
    CHECK_OK(fs_write_atomic(s.ca.cert_file, buf_str(&b), 0600, &err),
             &err); /* its key is not there yet */
    struct pki_cert *cert = written(&s.a, fixture_pass(&s.f, "r"));
    struct pki_bundle old = { .certs = &s.ca.cert, .n = 1 }, new = { .certs = &other.cert, .n = 1 };
    CHECK(cert);
    CHECK_OK(pki_verify(&old, &cert, 1, 0, NOW, &err), &err);
    pki_cert_unref(cert);
    buf_clear(&b);
    CHECK_OK(fs_read(other.key_file, 1 << 20, &b, &err), &err);
    CHECK_OK(fs_write_atomic(s.ca.key_file, buf_str(&b), 0600, &err), &err);
    cert = written(&s.a, fixture_pass(&s.f, "r"));
    CHECK(cert && pki_verify(&new, &cert, 1, 0, NOW, &err));
    pki_cert_unref(cert);
    ca_deinit(&other);
    signing_deinit(&s);
}

/* ---- a kubelet's serving certificate ---- */

#define NODE(name, addresses)                                                                      \
    "{\"metadata\":{\"name\":\"" name "\",\"uid\":\"" name                                         \
    "\",\"resourceVersion\":\"3\"},\"status\":{\"addresses\":[" addresses "]}}"
#define ADDRESS(type, value) "{\"type\":\"" type "\",\"address\":\"" value "\"}"

TEST(a_serving_certificate_is_approved_when_every_name_is_the_askers_alone)
{
    static const struct {
        const char *user, *cn, *dns, *ip;
        bool approved;
    } cases[] = {
        { "system:node:n1", "system:node:n1", "n1", "10.89.0.3", true },
        { "system:node:n1", "system:node:n1", NULL, "10.89.0.3", true },
        { "system:node:n1", "system:node:n1", "N1", NULL, true },
        { "system:node:n1", "system:node:n1", NULL, "fd00:0::3", true },
        { "system:node:n1", "system:node:n1", "n1", "10.89.0.99", false }, /* nobody's */
        { "system:node:n1", "system:node:n1", "n2", NULL, false },         /* another's */
        { "system:node:n1", "system:node:n1", NULL, "10.89.0.2",
          false }, /* another's, which it claims, too */
        { "system:node:n1", "system:node:n1", "kubernetes.default.svc", NULL, false },
        { "system:node:n1", "system:node:n1", "kubernetes", NULL, false },
        { "system:node:n1", "system:node:n1", "localhost", NULL, false },
        { "system:node:n1", "system:node:n1", NULL, "127.0.0.1", false },
        { "system:node:n1", "system:node:n1", NULL, "10.96.0.1", false },  /* a Service's */
        { "system:node:n1", "system:node:n1", NULL, "10.244.1.5", false }, /* a pod's */
        { "system:node:n1", "system:node:n2", "n1", NULL, false },
        { "system:node:n3", "system:node:n3", "n3", NULL, false }, /* there is no such Node */
        { "alice", "system:node:n1", "n1", NULL, false },
    };
    struct fixture f;
    struct arena a;
    arena_init(&a, ARENA_NO_BUDGET);
    controllers_config.service_cidrs = STR("10.96.0.0/16");
    controllers_config.cluster_cidr = STR("10.244.0.0/16");
    fixture_init(&f, &controller_kubelet_serving_approving);
    /* n1 says of itself what a dishonest node would say. */
    fixture_put(&f, "", "v1", "nodes",
                NODE("n1",
                     ADDRESS("Hostname", "n1") "," ADDRESS("InternalIP", "10.89.0.3") "," ADDRESS("InternalIP", "fd00::3") "," ADDRESS("InternalIP", "10.89.0.2") "," ADDRESS("InternalDNS", "kubernetes.default.svc") "," ADDRESS(
                         "InternalDNS",
                         "kubernetes") "," ADDRESS("Hostname",
                                                   "localhos"
                                                   "t") "," ADDRESS("InternalIP",
                                                                    "127.0.0.1") "," ADDRESS("Inter"
                                                                                             "nalI"
                                                                                             "P",
                                                                                             "10."
                                                                                             "96.0."
                                                                                             "1") "," ADDRESS("InternalIP",
                                                                                                              "10.244.1.5")));
    fixture_put(&f, "", "v1", "nodes",
                NODE("n2", ADDRESS("Hostname", "n2") "," ADDRESS("InternalIP", "10.89.0.2")));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct str dns = str_c(cases[i].dns), ip = str_c(cases[i].ip);
        struct pki_names names = { .cn = str_c(cases[i].cn),
                                   .orgs = &nodes_org,
                                   .n_orgs = 1,
                                   .dns = &dns,
                                   .n_dns = cases[i].dns != NULL,
                                   .ips = &ip,
                                   .n_ips = cases[i].ip != NULL };
        put_request(&f, &a, &names, "kubelet-serving", SERVER_USAGES, cases[i].user, "", "");
        const char *out = fixture_pass(&f, "r");
        bool approved = strstr(out, "PUT certificatesigningrequests /r/approval ") &&
                        strstr(out, "\"reason\":\"AutoApproved\"");
        if (approved != cases[i].approved) {
            printf("  case %zu: %s\n", i, out);
        }
        CHECK(approved == cases[i].approved);
        CHECK(cases[i].approved || *out == '\0');
    }
    controllers_config.service_cidrs = controllers_config.cluster_cidr = STR_NULL;
    fixture_deinit(&f);
    arena_deinit(&a);
}

/* ---- cleaning ---- */

#define REQUEST(more, status)                                                                      \
    "{\"metadata\":{\"name\":\"r\",\"uid\":\"u\",\"resourceVersion\":\"7\",\"creationTimestamp\":" \
    "\"2027-01-15T08:00:00Z\"},\"status\":{" status "}}"
#define DECIDED(type)                                                                              \
    "\"conditions\":[{\"type\":\"" type                                                            \
    "\",\"status\":\"True\",\"lastUpdateTime\":\"2027-01-15T08:00:00Z\"}]"

TEST(requests_that_had_their_time_are_deleted)
{
    static const struct {
        const char *json;
        int64_t age; /* when it goes */
    } cases[] = {
        { REQUEST("", ""), 24 * 3600 },
        { REQUEST("", DECIDED("Denied")), 3600 },
        { REQUEST("", DECIDED("Failed")), 3600 },
        { REQUEST("", DECIDED("Approved")), 24 * 3600 },
        { REQUEST("", DECIDED("Approved") ",\"certificate\":\"AAAA\""), 3600 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct fixture f;
        char want[64];
        fixture_init(&f, &controller_csr_cleaner);
        fixture_put(&f, "certificates.k8s.io", "v1", "certificatesigningrequests", cases[i].json);
        f.now = NOW + cases[i].age - 10; /* 2027-01-15T08:00:00Z is NOW */
        snprintf(want, sizeof(want), "again after 10000 ms\n");
        CHECK_STR_C(str_c(fixture_pass(&f, "r")), want);
        f.now += 10;
        CHECK(strstr(fixture_pass(&f, "r"), "DELETE certificatesigningrequests /r {") != NULL);
        fixture_deinit(&f);
    }
}
