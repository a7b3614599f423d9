#include "api/gen/core_v1.h"
#include "auth/bootstrap-token.h"
#include "base/test.h"

static struct core_v1_secret secret_of(struct api_str_pair *data, size_t n)
{
    struct core_v1_secret s = { .type = BOOTSTRAP_TOKEN_TYPE, .data = data, .n_data = n };
    s.metadata.name = STR("bootstrap-token-abcdef");
    s.metadata.namespace = STR("kube-system");
    return s;
}

TEST(bootstrap_token_has_exactly_one_form)
{
    struct str id, secret;
    char made[BOOTSTRAP_TOKEN_SIZE];
    CHECK(bootstrap_token_split(STR("abcdef.0123456789abcdef"), &id, &secret));
    CHECK_STR_C(id, "abcdef");
    CHECK_STR_C(secret, "0123456789abcdef");
    static const char *const bad[] = { "", "abcdef", "abcdef.0123456789abcde", "abcdef.0123456789abcdefg", "Abcdef.0123456789abcdef",
                                       "abcde.0123456789abcdeff", "abcdef.0123456789abcde\n", "abcdef:0123456789abcdef" };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        CHECK(!bootstrap_token_split(str_c(bad[i]), &id, &secret));
    }
    bootstrap_token_make(made);
    CHECK(bootstrap_token_split(str_c(made), &id, &secret));
}

TEST(bootstrap_token_secret_is_read_and_written_back)
{
    struct arena a;
    struct err err = { 0 };
    struct bootstrap_token t, again;
    struct core_v1_secret s, out;
    struct api_str_pair data[] = {
        { .key = STR("auth-extra-groups"), .value = STR("system:bootstrappers:workers,system:bootstrappers:ci") },
        { .key = STR("description"), .value = STR("for the lab") },
        { .key = STR("expiration"), .value = STR("2027-01-15T08:00:00Z") },
        { .key = STR("token-id"), .value = STR("abcdef") },
        { .key = STR("token-secret"), .value = STR("0123456789abcdef") },
        { .key = STR("usage-bootstrap-authentication"), .value = STR("true") },
    };
    arena_init(&a, 1 << 20);
    s = secret_of(data, ARRAY_SIZE(data));
    CHECK_OK(bootstrap_token_read(&s, &a, &t, &err), &err);
    CHECK_INT(t.n_groups, 3);
    CHECK_STR_C(t.groups[0], "system:bootstrappers");
    CHECK_STR_C(t.groups[1], "system:bootstrappers:ci");
    CHECK(t.authentication && !t.signing);
    CHECK_INT(t.expiration, 1800000000);
    CHECK(!bootstrap_token_expired(&t, 1799999999) && bootstrap_token_expired(&t, 1800000000));
    CHECK(bootstrap_token_to_secret(&t, &a, &out));
    CHECK_OK(bootstrap_token_read(&out, &a, &again, &err), &err);
    CHECK_INT(again.n_groups, 3);
    CHECK_STR_C(again.description, "for the lab");
    CHECK_INT(again.expiration, t.expiration);
    arena_deinit(&a);
}

TEST(bootstrap_token_secret_that_does_not_fit_itself_is_refused_without_telling_the_secret)
{
    struct arena a;
    struct err err = { 0 };
    struct bootstrap_token t;
    struct api_str_pair data[] = {
        { .key = STR("auth-extra-groups"), .value = STR("system:masters") },
        { .key = STR("expiration"), .value = STR("tomorrow") },
        { .key = STR("token-id"), .value = STR("abcdef") },
        { .key = STR("token-secret"), .value = STR("0123456789abcdef") },
    };
    arena_init(&a, 1 << 20);
    struct core_v1_secret s = secret_of(data, ARRAY_SIZE(data));
    CHECK_OK(bootstrap_token_read(&s, &a, &t, &err), &err);
    CHECK(t.bad_groups && t.n_groups == 0);
    CHECK(bootstrap_token_expired(&t, 0)); /* what cannot be read is over */
    s.metadata.name = STR("bootstrap-token-abcdeg");
    CHECK(!bootstrap_token_read(&s, &a, &t, &err));
    s = secret_of(data, ARRAY_SIZE(data));
    s.type = STR("Opaque");
    CHECK(!bootstrap_token_read(&s, &a, &t, &err));
    s = secret_of(data, ARRAY_SIZE(data));
    data[3].value = STR("0123456789abcdeX");
    CHECK(!bootstrap_token_read(&s, &a, &t, &err) && !strstr(err.msg, "0123"));
    CHECK(bootstrap_token_is_group(STR("system:bootstrappers:a-b:c")) && !bootstrap_token_is_group(STR("system:bootstrappers:")) &&
          !bootstrap_token_is_group(STR("system:bootstrappers:a-")) && !bootstrap_token_is_group(STR("system:bootstrappers:A")));
    arena_deinit(&a);
}
