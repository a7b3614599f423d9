#include "api/duration.h"
#include "api/int-or-string.h"
#include "api/names.h"
#include "api/quantity.h"
#include "base/test.h"

TEST(quantity_canonical_form_is_kubernetes_own)
{
    static const char *const cases[][2] = {
        { "0", "0" }, { "0.1", "100m" }, { "1.50", "1500m" }, { "1.5Gi", "1536Mi" }, { "16384Mi", "16Gi" }, { "1000m", "1" },
        { "1e3", "1e3" }, { "1E3", "1e3" }, { "12e6", "12e6" }, { "1000k", "1M" }, { "1200", "1200" }, { "100000", "100k" },
        { "-5", "-5" }, { "+5", "5" }, { "0.5Mi", "512Ki" }, { "512", "512" }, { "1Ki", "1Ki" }, { "1023Ki", "1023Ki" },
        { "0.0000000001", "1n" }, { "1.1111111111", "1111111112n" }, { "9223372036854775807", "9223372036854775807" },
        { "9223372036854775808", "9223372036854775807" }, { "1Ei", "1Ei" }, { "16Ei", "9223372036854775807" }, { "00012", "12" },
        { "1E", "1E" }, { "3P", "3P" }, { "0.1Ki", "102400m" }, { "1u", "1u" }, { "1.5u", "1500n" }, { "0Gi", "0" }, { ".5", "500m" },
        { "5.", "5" }, { "-0.1Ki", "-102400m" },
    };
    struct arena a;
    struct err err;
    arena_init(&a, ARENA_NO_BUDGET);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct str got;
        CHECK_OK(quantity_canonical(&a, str_c(cases[i][0]), &got, &err), &err);
        CHECK_STR_C(got, cases[i][1]);
    }
    arena_deinit(&a);
}

TEST(quantity_refuses_what_is_none)
{
    static const char *const cases[] = { "", "a", "1x", "1.2.3", "1 Gi", "Gi", "-", "1Gi1", "1ii", "1 " };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct quantity q;
        CHECK(!quantity_parse(str_c(cases[i]), &q, NULL));
    }
}

TEST(quantity_arithmetic)
{
    struct quantity cpu = quantity_of(STR("250m")), mem = quantity_of(STR("1.5Gi"));
    CHECK_INT(quantity_milli(cpu), 250);
    CHECK_INT(quantity_value(cpu), 1);
    CHECK_INT(quantity_value(mem), 1610612736);
    CHECK(!quantity_is_whole(cpu) && quantity_is_whole(mem));
    char text[QUANTITY_SIZE];
    quantity_format(quantity_add(cpu, quantity_of(STR("1"))), text);
    CHECK_STR_C(str_c(text), "1250m");
    quantity_format(quantity_sub(mem, quantity_of(STR("512Mi"))), text);
    CHECK_STR_C(str_c(text), "1Gi");
    quantity_format(quantity_add((struct quantity){ 0 }, mem), text);
    CHECK_STR_C(str_c(text), "1536Mi");
    CHECK(quantity_cmp(quantity_of(STR("1000m")), quantity_of(STR("1"))) == 0);
    CHECK(quantity_cmp(quantity_of(STR("1Ki")), quantity_of(STR("1k"))) > 0);
    CHECK_INT(quantity_value(quantity_of(STR("-1.5"))), -2);
    CHECK_INT(quantity_milli(quantity_of(STR("9E"))), INT64_MAX);
}

TEST(duration_text_is_gos)
{
    static const struct {
        const char *text, *canonical;
        int64_t ns;
    } cases[] = {
        { "0", "0s", 0 }, { "1s", "1s", 1000000000 }, { "90s", "1m30s", 90000000000 }, { "1h", "1h0m0s", 3600000000000 },
        { "1.5h", "1h30m0s", 5400000000000 }, { "300ms", "300ms", 300000000 }, { "1.5s", "1.5s", 1500000000 },
        { "-2m", "-2m0s", -120000000000 }, { "10us", "10µs", 10000 }, { "7ns", "7ns", 7 }, { "1m0.25s", "1m0.25s", 60250000000 },
        { "1500us", "1.5ms", 1500000 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int64_t ns;
        struct err err;
        char text[DURATION_SIZE];
        CHECK_OK(duration_parse(str_c(cases[i].text), &ns, &err), &err);
        CHECK_INT(ns, cases[i].ns);
        duration_format(ns, text);
        CHECK_STR_C(str_c(text), cases[i].canonical);
    }
    int64_t ns;
    struct err err;
    CHECK(!duration_parse(STR("5"), &ns, &err));
    CHECK_STR_C(str_c(err.msg), "time: missing unit in duration \"5\"");
    CHECK(!duration_parse(STR("5y"), &ns, &err));
    CHECK_STR_C(str_c(err.msg), "time: unknown unit \"y\" in duration \"5y\"");
    CHECK(!duration_parse(STR("x"), &ns, &err));
    CHECK_STR_C(str_c(err.msg), "time: invalid duration \"x\"");
    CHECK(!duration_parse(STR("9999999999h"), &ns, NULL));
    duration_format(INT64_MIN, (char[DURATION_SIZE]){ 0 });
}

TEST(int_or_string_percentages_scale_up_and_down)
{
    int32_t v;
    struct err err;
    struct api_int_or_string x = ios_string(STR("25%")), y = ios_int(3), z = ios_string(STR("http"));
    CHECK(ios_scaled(&x, 10, true, &v, &err));
    CHECK_INT(v, 3);
    CHECK(ios_scaled(&x, 10, false, &v, &err));
    CHECK_INT(v, 2);
    CHECK(ios_scaled(&x, 8, true, &v, &err));
    CHECK_INT(v, 2);
    CHECK(ios_scaled(&y, 10, true, &v, &err));
    CHECK_INT(v, 3);
    CHECK(!ios_scaled(&z, 10, true, &v, &err));
    CHECK_STR_C(str_c(err.msg), "invalid value for IntOrString: invalid type: string is not a percentage");
}

TEST(names_have_their_shapes)
{
    struct names_errs e = { 0 };
    CHECK(names_dns1123_label(STR("a-1"), &e));
    CHECK(names_dns1123_subdomain(STR("a.b-c.1"), &e));
    CHECK(names_dns1035_label(STR("a1"), &e));
    CHECK(names_wildcard_subdomain(STR("*.a.b"), &e));
    CHECK(names_qualified(STR("example.com/My_Name.1"), &e));
    CHECK(names_qualified(STR("x"), &e));
    CHECK(names_label_value(STR(""), &e));
    CHECK(names_path_segment(STR("system:x"), &e));
    CHECK(names_port_name(STR("http-1"), &e));
    CHECK(names_config_key(STR("a.b_c-D"), &e));
    CHECK(names_env_var(STR("a b"), &e));
    CHECK(names_percent(STR("10%"), &e));
    CHECK_INT(e.n, 0);
    CHECK(!names_dns1123_label(STR("a."), &e));
    CHECK(!names_dns1123_subdomain(STR("a..b"), &e));
    CHECK(!names_dns1123_subdomain(STR_NULL, &e));
    e.n = 0;
    CHECK(!names_dns1035_label(STR("1a"), &e));
    CHECK(!names_config_key(STR(".."), &e));
    CHECK_STR_C(str_c(e.msg[1]), "must not be '..'");
    e.n = 0;
    CHECK(!names_port_name(STR("UPPER"), &e));
    CHECK_INT(e.n, 2);
    CHECK_STR_C(str_c(e.msg[0]), "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    CHECK_STR_C(str_c(e.msg[1]), "must contain at least one letter (a-z)");
    e.n = 0;
    CHECK(!names_qualified(STR("a/b/c"), &e) && !names_qualified(STR("/b"), &e) && !names_qualified(STR("a/"), &e));
    CHECK_INT(e.n, 4);
    CHECK_STR_C(str_c(e.msg[1]), "prefix part must be non-empty");
    CHECK_STR_C(str_c(e.msg[2]), "name part must be non-empty");
}
