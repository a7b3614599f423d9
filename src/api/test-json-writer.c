#include "api/json-writer.h"
#include "base/test.h"

static void check_string(struct str in, const char *want)
{
    struct buf b;
    buf_init(&b, BUF_NO_MAX);
    json_write_string(&b, in);
    CHECK_STR_C(buf_str(&b), want);
    buf_deinit(&b);
}

TEST(json_strings_are_escaped_as_go_escapes_them)
{
    check_string(STR("plain"), "\"plain\"");
    check_string(STR_NULL, "\"\"");
    check_string(STR("a\"b\\c/d"), "\"a\\\"b\\\\c/d\"");
    check_string(STR("\b\f\n\r\t\x01\x1f\x7f"), "\"\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\"");
    check_string(STR("<a>&"), "\"\\u003ca\\u003e\\u0026\"");
    check_string(STR("é\xe2\x80\xa8|\xe2\x80\xa9"), "\"é\\u2028|\\u2029\"");
    check_string(STR("x\xff\xc3"), "\"x\\ufffd\\ufffd\"");
}

TEST(json_doubles_are_the_shortest_text_that_reads_back)
{
    static const struct {
        double v;
        const char *want;
    } cases[] = {
        { 0, "0" }, { 1, "1" }, { -1.5, "-1.5" }, { 100, "100" }, { 0.1, "0.1" }, { 1e20, "100000000000000000000" },
        { 1e21, "1e+21" }, { 1e-6, "0.000001" }, { 1e-7, "1e-7" }, { 1.5e-10, "1.5e-10" }, { 1.0 / 3, "0.3333333333333333" },
        { 123456.789, "123456.789" }, { 5e-324, "5e-324" }, { 1.7976931348623157e308, "1.7976931348623157e+308" },
        { 9007199254740993.0, "9007199254740992" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[JSON_DOUBLE_SIZE];
        json_format_double(cases[i].v, text);
        CHECK_STR_C(str_c(text), cases[i].want);
    }
}

TEST(json_compact_drops_blanks_outside_strings_and_escapes_html)
{
    struct buf b;
    buf_init(&b, BUF_NO_MAX);
    json_write_compact(&b, STR(" { \"a b\" : [ 1 , \"<\\\" >\" ] }\n"));
    CHECK_STR_C(buf_str(&b), "{\"a b\":[1,\"\\u003c\\\" \\u003e\"]}");
    buf_deinit(&b);
}
