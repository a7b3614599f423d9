/* Who may decide and sign, asked of a whole apiserver with RBAC. */
#include "apiserver/test-server.h"
#include "base/encoding.h"
#include "base/test.h"
#include "pki/csr.h"

#define PATH "/apis/certificates.k8s.io/v1/certificatesigningrequests"
#define RBAC "/apis/rbac.authorization.k8s.io/v1/"
#define JSON STR("Content-Type: application/json\r\n")

static struct str request_json(struct arena *a, const char *org)
{
    struct err err;
    struct str orgs = str_c(org);
    CLEANUP(buf_deinit) struct buf pem;
    CLEANUP(buf_deinit) struct buf b64;
    buf_init(&pem, 1 << 16);
    buf_init(&b64, 1 << 16);
    CLEANUP(pki_key_unrefp) struct pki_key *key = pki_key_generate(PKI_KEY_P256, 0, &err);
    CHECK_OK(pki_csr_write(key, &(struct pki_names){ .cn = STR("x"), .orgs = &orgs, .n_orgs = 1 },
                           &pem, &err),
             &err);
    base64_encode(&b64, buf_str(&pem));
    return arena_printf(a,
                        "{\"metadata\":{\"name\":\"r\"},\"spec\":{\"request\":\"%s\","
                        "\"signerName\":\"kubernetes.io/kube-apiserver-client\","
                        "\"usages\":[\"client auth\"],\"username\":\"forged\"}}",
                        b64.ptr);
}

static int ask(struct test_server *t, struct arena *a, const char *method, const char *path,
               const char *who, struct str body, const char *want)
{
    struct test_answer r = test_request(t, a, str_c(method), str_c(path), who, JSON, body);
    if (want && str_find(r.body, str_c(want)) < 0) {
        printf("  %s %s as %s: %d %.*s\n", method, path, who, r.status, STR_ARG(r.body));
        CHECK(!"wanted in the answer");
    }
    return r.status;
}

/* The stored object with a piece of its text replaced. */
static struct str changed(struct test_server *t, struct arena *a, const char *from, const char *to)
{
    struct test_answer r =
        test_request(t, a, STR("GET"), STR(PATH "/r"), "admin", STR_EMPTY, STR_EMPTY);
    ptrdiff_t at = str_find(r.body, str_c(from));
    CHECK(at >= 0);
    return arena_printf(a, "%.*s%s%.*s", (int)at, r.body.ptr, to,
                        (int)(r.body.len - (size_t)at - strlen(from)),
                        r.body.ptr + at + strlen(from));
}

TEST(deciding_and_signing_need_their_verbs_on_the_signer)
{
    struct test_server t;
    struct arena a;
    arena_init(&a, ARENA_NO_BUDGET);
    test_server_start(&t);
    CHECK_INT(ask(&t, &a, "POST", PATH, "admin", request_json(&a, "system:masters"),
                  "certificatesigningrequests.certificates.k8s.io \\\"r\\\" is forbidden: use of "
                  "kubernetes.io/kube-apiserver-client signer "
                  "with system:masters group is not allowed"),
              403);
    CHECK_INT(
        ask(&t, &a, "POST", PATH, "admin", request_json(&a, "devs"), "\"username\":\"admin\""),
        201);
    CHECK_INT(ask(&t, &a, "POST", RBAC "clusterroles", "admin",
                  STR("{\"metadata\":{\"name\":\"helper\"},\"rules\":[{\"apiGroups\":["
                      "\"certificates.k8s.io\"],\"resources\":["
                      "\"certificatesigningrequests/approval\",\"certificatesigningrequests/"
                      "status\"],\"verbs\":[\"update\"]}]}"),
                  NULL),
              201);
    CHECK_INT(ask(&t, &a, "POST", RBAC "clusterrolebindings", "admin",
                  STR("{\"metadata\":{\"name\":\"helper\"},\"roleRef\":{\"apiGroup\":\"rbac."
                      "authorization.k8s.io\",\"kind\":\"ClusterRole\","
                      "\"name\":\"helper\"},\"subjects\":[{\"apiGroup\":\"rbac.authorization.k8s."
                      "io\",\"kind\":\"User\",\"name\":\"alice\"}]}"),
                  NULL),
              201);
    struct str approved =
        changed(&t, &a, "\"status\":{}",
                "\"status\":{\"conditions\":[{\"type\":\"Approved\",\"status\":\"True\"}]}");
    CHECK_INT(ask(&t, &a, "PUT", PATH "/r/approval", "alice", approved,
                  "user not permitted to approve requests with signerName "
                  "\\\"kubernetes.io/kube-apiserver-client\\\""),
              403);
    struct str failed =
        changed(&t, &a, "\"status\":{}",
                "\"status\":{\"conditions\":[{\"type\":\"Failed\",\"status\":\"True\"}]}");
    CHECK_INT(ask(&t, &a, "PUT", PATH "/r/status", "alice", failed,
                  "user not permitted to sign requests with signerName"),
              403);
    CHECK_INT(ask(&t, &a, "PUT", RBAC "clusterroles/helper", "admin",
                  STR("{\"metadata\":{\"name\":\"helper\"},\"rules\":[{\"apiGroups\":["
                      "\"certificates.k8s.io\"],\"resources\":["
                      "\"certificatesigningrequests/approval\",\"certificatesigningrequests/"
                      "status\"],\"verbs\":[\"update\"]},{\"apiGroups\":["
                      "\"certificates.k8s.io\"],\"resources\":[\"signers\"],\"resourceNames\":["
                      "\"kubernetes.io/*\"],\"verbs\":[\"approve\"]}]}"),
                  NULL),
              200);
    CHECK_INT(ask(&t, &a, "PUT", PATH "/r/approval", "alice", approved, "\"type\":\"Approved\""),
              200);
    /* Approving is not signing. */
    struct str both = changed(&t, &a, "\"conditions\":[",
                              "\"conditions\":[{\"type\":\"Failed\",\"status\":\"True\"},");
    CHECK_INT(ask(&t, &a, "PUT", PATH "/r/status", "alice", both, "user not permitted to sign"),
              403);
    CHECK_INT(ask(&t, &a, "PUT", PATH "/r/status", "admin", both, "\"type\":\"Failed\""), 200);
    test_server_stop(&t);
    arena_deinit(&a);
}
