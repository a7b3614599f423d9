#include "auth/authn.h"

#include "auth/test-auth.h"
#include "base/encoding.h"

/* ---- an authenticator of the test: answers what it was told, now or later ---- */

struct fake {
    struct authn authn;
    enum authn_result answer;
    const char *user, *why;
    struct authn_request *waiting;
    int asked, cancelled, freed;
};

static enum authn_result fake_authenticate(struct authn *self, struct authn_request *r)
{
    struct fake *f = CONTAINER_OF(self, struct fake, authn);
    f->asked++;
    if (f->answer == AUTHN_OK) {
        r->user = (struct auth_user){ .name = str_c(f->user) };
    } else if (f->answer == AUTHN_FAILED) {
        (void)err_set(&r->err, ERR_UNAUTHORIZED, "%s", f->why);
    } else if (f->answer == AUTHN_WAIT) {
        f->waiting = r;
    }
    return f->answer;
}

static void fake_cancel(struct authn *self, struct authn_request *r)
{
    struct fake *f = CONTAINER_OF(self, struct fake, authn);
    CHECK(f->waiting == r);
    f->cancelled++;
}

static void fake_free(struct authn *self)
{
    CONTAINER_OF(self, struct fake, authn)->freed++;
}

static const struct authn_ops fake_ops = { .name = "fake",
                                           .bearer = true,
                                           .authenticate = fake_authenticate,
                                           .cancel = fake_cancel,
                                           .free = fake_free };
static const struct authn_ops fake_cert_ops = {
    .name = "fakecert", .authenticate = fake_authenticate, .cancel = fake_cancel, .free = fake_free
};

/* ---- requests ---- */

struct ask {
    struct arena arena;
    struct authn_request r;
    enum authn_result later;
    int done;
};

static void ask_done(struct authn_request *r, enum authn_result result)
{
    struct ask *a = r->owner;
    a->later = result;
    a->done++;
}

static void ask_make(struct ask *a, const char *authorization)
{
    *a = (struct ask){ 0 };
    arena_init(&a->arena, 1 << 20);
    a->r = (struct authn_request){ .arena = &a->arena,
                                   .authorization = str_c(authorization),
                                   .now = TEST_NOW,
                                   .done = ask_done,
                                   .owner = a };
}

static void ask_end(struct ask *a)
{
    arena_deinit(&a->arena);
}

static struct authn_chain *chain_of(const struct authn_config *cfg)
{
    struct err err = { 0 };
    struct authn_chain *c = authn_chain_new(cfg, &err);
    CHECK_OK(c, &err);
    return c;
}

TEST(without_credentials_one_is_anonymous_if_that_is_allowed)
{
    struct authn_config on = { .anonymous = true }, off = { 0 };
    struct authn_chain *c = chain_of(&on), *d = chain_of(&off);
    struct ask a;
    ask_make(&a, NULL);
    CHECK_INT(authn_start(c, &a.r), AUTHN_OK);
    CHECK_STR_C(a.r.user.name, "system:anonymous");
    CHECK(a.r.user.n_groups == 1 && str_eq(a.r.user.groups[0], STR("system:unauthenticated")));
    CHECK_INT(authn_start(d, &a.r), AUTHN_FAILED);
    ask_end(&a);
    authn_chain_free(c);
    authn_chain_free(d);
}

TEST(bad_token_is_never_anonymous)
{
    struct authn_config cfg = { .anonymous = true };
    struct authn_chain *c = chain_of(&cfg);
    struct ask a;
    ask_make(&a, "Bearer nonsense");
    CHECK_INT(authn_start(c, &a.r), AUTHN_FAILED);
    CHECK_STR_C(str_c(a.r.err.msg), "invalid bearer token");
    ask_end(&a);
    /* Not a bearer token: nothing that we look at. */
    ask_make(&a, "Basic abc");
    CHECK_INT(authn_start(c, &a.r), AUTHN_OK);
    ask_end(&a);
    authn_chain_free(c);
}

TEST(anonymous_can_be_bound_to_paths)
{
    struct str path = STR("/healthz");
    struct authn_config cfg = { .anonymous = true,
                                .anonymous_paths = &path,
                                .n_anonymous_paths = 1 };
    struct authn_chain *c = chain_of(&cfg);
    struct ask a;
    ask_make(&a, NULL);
    a.r.path = STR("/healthz");
    CHECK_INT(authn_start(c, &a.r), AUTHN_OK);
    a.r.path = STR("/healthz/x");
    CHECK_INT(authn_start(c, &a.r), AUTHN_FAILED);
    ask_end(&a);
    authn_chain_free(c);
}

TEST(static_token_gives_its_user_and_the_authenticated_group)
{
    struct test_file f = test_file_make(STR("secret,alice,u1,devs\n"));
    struct authn_config cfg = { .token_auth_file = f.path, .anonymous = true };
    struct authn_chain *c = chain_of(&cfg);
    struct ask a;
    static const char *const forms[] = { "Bearer secret", "bearer secret", " BEARER secret " };
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
        ask_make(&a, forms[i]);
        CHECK_INT(authn_start(c, &a.r), AUTHN_OK);
        CHECK_STR_C(a.r.user.name, "alice");
        CHECK_STR_C(a.r.user.uid, "u1");
        CHECK(a.r.user.n_groups == 2 && str_eq(a.r.user.groups[1], STR("system:authenticated")));
        CHECK_STR_C(a.r.authenticator, "tokenfile");
        ask_end(&a);
    }
    ask_make(&a, "Bearer wrong");
    CHECK_INT(authn_start(c, &a.r), AUTHN_FAILED);
    ask_end(&a);
    authn_chain_free(c);
    test_file_remove(&f);
}

TEST(websocket_token_comes_as_a_protocol_beside_another)
{
    struct test_file f = test_file_make(STR("secret,alice,u1\n"));
    struct authn_config cfg = { .token_auth_file = f.path, .anonymous = true };
    struct authn_chain *c = chain_of(&cfg);
    struct ask a;
    struct buf b;
    buf_init(&b, 1000);
    buf_append_c(&b, "v4.channel.k8s.io, base64url.bearer.authorization.k8s.io.");
    base64url_encode(&b, STR("secret"));
    ask_make(&a, NULL);
    a.r.ws_protocols = buf_str(&b);
    CHECK_INT(authn_start(c, &a.r), AUTHN_OK);
    CHECK_STR_C(a.r.user.name, "alice");
    a.r.ws_protocols = str_sub(buf_str(&b), 19, b.len); /* alone: not taken */
    CHECK_INT(authn_start(c, &a.r), AUTHN_OK);
    CHECK_STR_C(a.r.user.name, "system:anonymous");
    ask_end(&a);
    buf_deinit(&b);
    authn_chain_free(c);
    test_file_remove(&f);
}

TEST(reload_takes_new_tokens_and_keeps_old_ones_when_the_file_is_bad)
{
    struct test_file f = test_file_make(STR("one,alice,u1\n"));
    struct authn_config cfg = { .token_auth_file = f.path };
    struct authn_chain *c = chain_of(&cfg);
    struct ask a;
    struct err err = { 0 };
    ask_make(&a, "Bearer one");
    CHECK_INT(authn_start(c, &a.r), AUTHN_OK);
    CHECK_OK(fs_write_atomic(f.path, STR("broken"), 0600, &err), &err);
    CHECK(!authn_chain_reload(c, &err));
    CHECK_INT(authn_start(c, &a.r), AUTHN_OK);
    CHECK_OK(fs_write_atomic(f.path, STR("two,bob,u2"), 0600, &err), &err);
    CHECK_OK(authn_chain_reload(c, &err), &err);
    CHECK_INT(authn_start(c, &a.r), AUTHN_FAILED); /* the memory of good tokens is gone too */
    a.r.authorization = STR("Bearer two");
    CHECK_INT(authn_start(c, &a.r), AUTHN_OK);
    ask_end(&a);
    authn_chain_free(c);
    test_file_remove(&f);
}

TEST(one_that_fails_does_not_keep_the_next_from_trying_and_reasons_are_joined)
{
    struct authn_config cfg = { .anonymous = true };
    struct authn_chain *c = chain_of(&cfg);
    struct fake f1 = { .authn = { &fake_ops }, .answer = AUTHN_FAILED, .why = "first" };
    struct fake f2 = { .authn = { &fake_ops }, .answer = AUTHN_FAILED, .why = "second" };
    struct fake f3 = { .authn = { &fake_ops }, .answer = AUTHN_NONE };
    struct ask a;
    authn_chain_add(c, &f1.authn);
    authn_chain_add(c, &f2.authn);
    authn_chain_add(c, &f3.authn);
    ask_make(&a, "Bearer x");
    CHECK_INT(authn_start(c, &a.r), AUTHN_FAILED);
    CHECK_STR_C(str_c(a.r.err.msg), "[first, second]");
    f3.answer = AUTHN_OK;
    f3.user = "carol";
    CHECK_INT(authn_start(c, &a.r), AUTHN_OK);
    CHECK_STR_C(a.r.user.name, "carol");
    ask_end(&a);
    authn_chain_free(c);
    CHECK(f1.freed == 1 && f3.freed == 1);
}

TEST(waiting_authenticator_resumes_the_chain)
{
    struct authn_config cfg = { 0 };
    struct authn_chain *c = chain_of(&cfg);
    struct fake f1 = { .authn = { &fake_ops }, .answer = AUTHN_WAIT };
    struct fake f2 = { .authn = { &fake_ops }, .answer = AUTHN_OK, .user = "dora" };
    struct ask a;
    authn_chain_add(c, &f1.authn);
    authn_chain_add(c, &f2.authn);
    ask_make(&a, "Bearer x");
    CHECK_INT(authn_start(c, &a.r), AUTHN_WAIT);
    CHECK(a.done == 0);
    authn_resume(f1.waiting, AUTHN_NONE);
    CHECK(a.done == 1 && a.later == AUTHN_OK);
    CHECK_STR_C(a.r.user.name, "dora");
    /* Found good a moment ago: nobody is asked again. */
    CHECK_INT(authn_start(c, &a.r), AUTHN_OK);
    CHECK(f1.asked == 1 && f2.asked == 1);
    a.r.now += 10;
    CHECK_INT(authn_start(c, &a.r), AUTHN_WAIT);
    authn_cancel(&a.r);
    CHECK(f1.cancelled == 1 && a.done == 1);
    ask_end(&a);
    authn_chain_free(c);
}

TEST(token_review_asks_token_authenticators_alone)
{
    struct authn_config cfg = { .anonymous = true };
    struct authn_chain *c = chain_of(&cfg);
    struct fake cert = { .authn = { &fake_cert_ops }, .answer = AUTHN_OK, .user = "by-cert" };
    struct fake token = { .authn = { &fake_ops }, .answer = AUTHN_NONE };
    struct ask a;
    authn_chain_add(c, &cert.authn);
    authn_chain_add(c, &token.authn);
    ask_make(&a, NULL);
    CHECK_INT(authn_start_token(c, &a.r, STR("x")), AUTHN_FAILED);
    CHECK_STR_C(str_c(a.r.err.msg), "invalid bearer token");
    CHECK(cert.asked == 0 && token.asked == 1);
    ask_end(&a);
    authn_chain_free(c);
}

/* ---- client certificates ---- */

static struct pki_cert *issue(struct pki_cert *ca, struct pki_key *ca_key, struct pki_key *key,
                              const char *cn, unsigned usage)
{
    struct err err = { 0 };
    struct str orgs[] = { STR("system:masters"), STR("b") };
    struct pki_cert_spec s = {
        .names = { .cn = str_c(cn), .orgs = orgs, .n_orgs = 2 },
        .usages = usage | PKI_USAGE_DIGITAL_SIGNATURE,
        .ca = ca == NULL,
        .path_len = -1,
        .not_before = TEST_NOW - 60,
        .not_after = TEST_NOW + 3600,
    };
    struct pki_cert *c =
        ca ? pki_cert_sign(ca, ca_key, key, &s, &err) : pki_cert_self_sign(key, &s, &err);
    CHECK_OK(c, &err);
    return c;
}

TEST(client_certificate_gives_cn_and_organisations)
{
    struct err err = { 0 };
    struct buf pem, der, bad_der, server_der;
    buf_init(&pem, 1 << 20);
    buf_init(&der, 1 << 20);
    buf_init(&bad_der, 1 << 20);
    buf_init(&server_der, 1 << 20);
    struct pki_key *ca_key = pki_key_generate(PKI_KEY_P256, 0, &err),
                   *other_key = pki_key_generate(PKI_KEY_P256, 0, &err);
    struct pki_cert *ca = issue(NULL, NULL, ca_key, "ca", 0),
                    *other = issue(NULL, NULL, other_key, "ca", 0);
    struct pki_cert *good = issue(ca, ca_key, other_key, "alice", PKI_USAGE_CLIENT_AUTH);
    struct pki_cert *forged = issue(other, other_key, ca_key, "alice", PKI_USAGE_CLIENT_AUTH);
    struct pki_cert *server = issue(ca, ca_key, other_key, "alice", PKI_USAGE_SERVER_AUTH);
    pki_cert_write_pem(ca, &pem);
    pki_cert_write_der(good, &der);
    pki_cert_write_der(forged, &bad_der);
    pki_cert_write_der(server, &server_der);
    struct test_file f = test_file_make(buf_str(&pem));
    struct authn_config cfg = { .client_ca_file = f.path, .anonymous = true };
    struct authn_chain *c = chain_of(&cfg);
    struct ask a;
    struct str chain = buf_str(&der);
    for (int round = 0; round < 2; round++) { /* the second time from memory */
        ask_make(&a, NULL);
        a.r.peer_chain = &chain;
        a.r.n_peer_chain = 1;
        CHECK_INT(authn_start(c, &a.r), AUTHN_OK);
        CHECK_STR_C(a.r.user.name, "alice");
        CHECK(a.r.user.n_groups == 3 && auth_user_in_group(&a.r.user, STR("system:masters")));
        CHECK(str_starts(auth_user_extra(&a.r.user, AUTH_EXTRA_CREDENTIAL_ID), STR("X509SHA256=")));
        ask_end(&a);
    }
    ask_make(&a, NULL);
    a.r.peer_chain = &chain;
    a.r.n_peer_chain = 1;
    a.r.now = TEST_NOW + 3601; /* expired meanwhile */
    CHECK_INT(authn_start(c, &a.r), AUTHN_FAILED);
    CHECK(strstr(a.r.err.msg, "certificate has expired or is not yet valid") != NULL);
    a.r.now = TEST_NOW;
    chain = buf_str(&bad_der);
    CHECK_INT(authn_start(c, &a.r), AUTHN_FAILED);
    CHECK(strstr(a.r.err.msg, "x509: certificate signed by unknown authority") != NULL);
    chain = buf_str(&server_der);
    CHECK_INT(authn_start(c, &a.r), AUTHN_FAILED);
    chain = STR("rubbish");
    CHECK_INT(authn_start(c, &a.r), AUTHN_FAILED);
    ask_end(&a);
    authn_chain_free(c);
    test_file_remove(&f);
    pki_cert_unref(ca);
    pki_cert_unref(other);
    pki_cert_unref(good);
    pki_cert_unref(forged);
    pki_cert_unref(server);
    pki_key_unref(ca_key);
    pki_key_unref(other_key);
    buf_deinit(&pem);
    buf_deinit(&der);
    buf_deinit(&bad_der);
    buf_deinit(&server_der);
}
