#include "client/cluster-info.h"

#include "api/json-writer.h"
#include "base/clock.h"
#include "base/test.h"
#include "pki/cert.h"
#include "pki/detached-jws.h"

#define TOKEN STR("abcdef.0123456789abcdef")

struct ca {
    struct buf pem;
    char pin[PKI_PIN_SIZE];
};

static void ca_init(struct ca *ca, const char *name)
{
    struct err err;
    CLEANUP(pki_key_unrefp) struct pki_key *key = pki_key_generate(PKI_KEY_P256, 0, &err);
    CHECK_OK(key, &err);
    struct pki_cert_spec spec = { .names = { .cn = str_c(name) },
                                  .not_before = clock_real_s(),
                                  .not_after = clock_real_s() + 3600 };
    CLEANUP(pki_cert_unrefp) struct pki_cert *cert = pki_cert_self_sign(key, &spec, &err);
    CHECK_OK(cert, &err);
    buf_init(&ca->pem, 1 << 20);
    pki_cert_write_pem(cert, &ca->pem);
    pki_key_pin(key, ca->pin);
}

/* The ConfigMap as an apiserver answers it; 'secret' signs. */
static struct str config_map(struct arena *a, struct str server, struct str ca_pem,
                             struct str secret)
{
    struct buf kubeconfig, b;
    buf_init(&kubeconfig, 1 << 20);
    buf_init(&b, 1 << 20);
    cluster_info_write(server, ca_pem, &kubeconfig);
    buf_append_c(&b, "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":"
                     "\"cluster-info\"},\"data\":{\"kubeconfig\":");
    json_write_string(&b, buf_str(&kubeconfig));
    buf_append_c(&b, ",\"jws-kubeconfig-abcdef\":\"");
    detached_jws_sign(STR("abcdef"), secret, buf_str(&kubeconfig), &b);
    buf_append_c(&b, "\"}}");
    struct str text = arena_str(a, buf_str(&b));
    buf_deinit(&kubeconfig);
    buf_deinit(&b);
    return text;
}

TEST(cluster_info_is_believed_with_the_tokens_signature_and_a_pinned_ca)
{
    struct arena a;
    struct ca ca;
    struct cluster_info info;
    struct err err;
    arena_init(&a, ARENA_NO_BUDGET);
    ca_init(&ca, "mine");
    struct str map = config_map(&a, STR("https://10.0.0.1:6443"), buf_str(&ca.pem),
                                STR("0123456789abcdef")),
               pin = str_c(ca.pin);
    CHECK_OK(cluster_info_read(&a, map, TOKEN, &pin, 1, &info, &err), &err);
    CHECK_STR_C(info.server, "https://10.0.0.1:6443");
    CHECK(str_eq(info.ca_pem, buf_str(&ca.pem)));
    CHECK_OK(cluster_info_read(&a, map, TOKEN, NULL, 0, &info, &err), &err);
    buf_deinit(&ca.pem);
    arena_deinit(&a);
}

TEST(cluster_info_of_somebody_who_does_not_know_the_token_is_refused)
{
    struct arena a;
    struct ca ca;
    struct cluster_info info;
    struct err err;
    arena_init(&a, ARENA_NO_BUDGET);
    ca_init(&ca, "theirs");
    struct str map =
        config_map(&a, STR("https://10.0.0.1:6443"), buf_str(&ca.pem), STR("fedcba9876543210"));
    CHECK(!cluster_info_read(&a, map, TOKEN, NULL, 0, &info, &err));
    CHECK(strstr(err.msg, "is not by the token"));
    CHECK(!strstr(err.msg, "0123456789abcdef"));
    CHECK(!cluster_info_read(&a, map, STR("zzzzzz.0123456789abcdef"), NULL, 0, &info, &err));
    CHECK(strstr(err.msg, "is not signed by the token \"zzzzzz\""));
    buf_deinit(&ca.pem);
    arena_deinit(&a);
}

TEST(a_ca_that_no_pin_names_is_not_believed_even_with_the_token)
{
    struct arena a;
    struct ca mine, theirs;
    struct cluster_info info;
    struct err err;
    arena_init(&a, ARENA_NO_BUDGET);
    ca_init(&mine, "mine");
    ca_init(&theirs, "theirs");
    struct str pin = str_c(mine.pin), secret = STR("0123456789abcdef");
    CHECK(!cluster_info_read(&a, config_map(&a, STR("https://x:1"), buf_str(&theirs.pem), secret),
                             TOKEN, &pin, 1, &info, &err));
    CHECK(strstr(err.msg, "pins"));
    /* Beside the pinned one: left out. */
    struct str both = arena_printf(&a, "%s%s", theirs.pem.ptr, mine.pem.ptr);
    CHECK_OK(cluster_info_read(&a, config_map(&a, STR("https://x:1"), both, secret), TOKEN, &pin, 1,
                               &info, &err),
             &err);
    CHECK(str_eq(info.ca_pem, buf_str(&mine.pem)));
    buf_deinit(&mine.pem);
    buf_deinit(&theirs.pem);
    arena_deinit(&a);
}

TEST(cluster_info_must_name_an_https_server_and_pins_must_be_pins)
{
    struct arena a;
    struct ca ca;
    struct cluster_info info;
    struct err err;
    arena_init(&a, ARENA_NO_BUDGET);
    ca_init(&ca, "mine");
    struct str secret = STR("0123456789abcdef"), bad = STR("sha256:12"), upper = str_c(ca.pin);
    CHECK(!cluster_info_read(&a, config_map(&a, STR("http://x:1"), buf_str(&ca.pem), secret), TOKEN,
                             NULL, 0, &info, &err));
    CHECK(strstr(err.msg, "https"));
    struct str map = config_map(&a, STR("https://x:1"), buf_str(&ca.pem), secret);
    CHECK(!cluster_info_read(&a, map, TOKEN, &bad, 1, &info, &err));
    CHECK(!cluster_info_read(&a, map, STR("abcdef"), &upper, 1, &info, &err));
    CHECK(!cluster_info_read(&a, STR("{}"), TOKEN, NULL, 0, &info, &err));
    CHECK(!cluster_info_read(&a, STR("["), TOKEN, NULL, 0, &info, &err));
    buf_deinit(&ca.pem);
    arena_deinit(&a);
}
