#include "net/http.h"

#include "base/test.h"

static struct http_target parse(struct arena *a, const char *raw)
{
    struct http_target t;
    struct err err;
    CHECK_OK(http_target_parse(a, str_c(raw), &t, &err), &err);
    return t;
}

TEST(targets_are_cut_and_decoded)
{
    struct arena a;
    arena_init(&a, ARENA_NO_BUDGET);
    struct http_target t = parse(&a, "/api/v1/pods?watch=1&fieldSelector=a%3Db+c&x&x=2&&");
    CHECK_INT(t.n_segments, 3);
    CHECK_STR_C(t.segments[2], "pods");
    CHECK_STR_C(t.path, "/api/v1/pods");
    CHECK_STR_C(http_param_get(&t, STR("fieldSelector")), "a=b c");
    CHECK(http_param_bool(&t, STR("watch"), false));
    CHECK(http_param_bool(&t, STR("x"), false));
    CHECK(!http_param_bool(&t, STR("nothing"), false));
    size_t pos = 0;
    struct str v;
    CHECK(http_param_next(&t, STR("x"), &pos, &v) && v.len == 0 && v.ptr);
    CHECK(http_param_next(&t, STR("x"), &pos, &v) && str_eq(v, STR("2")));
    CHECK(!http_param_next(&t, STR("x"), &pos, &v));
    t = parse(&a, "/a//b%2Fc/");
    CHECK_INT(t.n_segments, 3);
    CHECK_STR_C(t.segments[1], "");
    CHECK_STR_C(t.segments[2], "b/c");
    CHECK(t.trailing_slash);
    t = parse(&a, "/");
    CHECK(t.n_segments == 0 && !t.trailing_slash && !t.query.ptr);
    t = parse(&a, "/x?");
    CHECK(t.query.ptr && t.n_params == 0);
    t = parse(&a, "/x?watch=false&y=0&z=");
    CHECK(!http_param_bool(&t, STR("watch"), true) && !http_param_bool(&t, STR("y"), true));
    CHECK(http_param_bool(&t, STR("z"), false));
    arena_deinit(&a);
}

TEST(bad_targets_are_refused)
{
    static const char *const bad[] = { "", "x", "*", "/a%", "/%g0", "/a%00b", "/..", "/a/./b", "/a/%2E%2e/b", "/a?x=%z", "/a?x;y" };
    struct arena a;
    struct http_target t;
    struct err err;
    arena_init(&a, ARENA_NO_BUDGET);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        CHECK(!http_target_parse(&a, str_c(bad[i]), &t, &err));
        CHECK_INT(err.code, ERR_BAD_REQUEST);
    }
    arena_deinit(&a);
}

TEST(accept_headers_are_split_with_weights_and_params)
{
    struct arena a;
    struct http_media *m;
    size_t n;
    arena_init(&a, ARENA_NO_BUDGET);
    CHECK(http_accept_parse(&a, STR("application/json;as=Table;v=v1;g=meta.k8s.io, application/json;q=0.5 , */*;q=0"), &m, &n));
    CHECK_INT(n, 3);
    CHECK_STR_C(m[0].type, "application/json");
    CHECK_STR_C(http_media_param(&m[0], STR("as")), "Table");
    CHECK_STR_C(http_media_param(&m[0], STR("G")), "meta.k8s.io");
    CHECK_INT(m[0].q, 1000);
    CHECK_INT(m[1].q, 500);
    CHECK_INT(m[2].q, 0);
    CHECK(!http_accept_parse(&a, STR("a/b;q=2"), &m, &n));
    CHECK(!http_accept_parse(&a, STR("a/b;q=x"), &m, &n));
    CHECK(http_accept_parse(&a, STR(""), &m, &n) && n == 0);
    arena_deinit(&a);
}

TEST(header_look_up_ignores_case_and_finds_tokens)
{
    struct http_header items[] = { { STR("connection"), STR("keep-alive, Upgrade") }, { STR("x"), STR("1") }, { STR("x"), STR("2") } };
    struct http_headers h = { items, 3 };
    CHECK_STR_C(http_header_get(&h, STR("X")), "1");
    CHECK(!http_header_get(&h, STR("y")).ptr);
    CHECK(http_header_has_token(&h, STR("Connection"), STR("upgrade")));
    CHECK(!http_header_has_token(&h, STR("Connection"), STR("up")));
    CHECK(http_is_token(STR("x-a")) && !http_is_token(STR("x a")) && !http_is_token(STR_EMPTY));
    CHECK(!http_is_field_value(STR("a\r\nb")) && http_is_field_value(STR("\xc3\xa4 \t")));
    char date[HTTP_DATE_SIZE];
    CHECK_STR_C(http_date(1795507369, date), "Tue, 24 Nov 2026 08:02:49 GMT");
}
