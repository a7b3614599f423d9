#include "api/json-reader.h"
#include "base/test.h"

static const char *error_of(const char *text)
{
    static struct err err;
    err.msg[0] = '\0';
    return json_check(str_c(text), JSON_DEPTH, &err) ? "" : err.msg;
}

TEST(json_syntax_errors_are_worded_as_go_words_them)
{
    static const char *const cases[][2] = {
        { "", "unexpected end of JSON input" },
        { "{", "unexpected end of JSON input" },
        { "bad", "invalid character 'b' looking for beginning of value" },
        { "{bad}", "invalid character 'b' looking for beginning of object key string" },
        { "{\"a\" 1}", "invalid character '1' after object key" },
        { "{\"a\":1 \"b\"}", "invalid character '\"' after object key:value pair" },
        { "{\"a\":1,}", "invalid character '}' looking for beginning of object key string" },
        { "[1 2]", "invalid character '2' after array element" },
        { "[1,]", "invalid character ']' looking for beginning of value" },
        { "1 x", "invalid character 'x' after top-level value" },
        { "tru", "unexpected end of JSON input" },
        { "trux", "invalid character 'x' in literal true (expecting 'e')" },
        { "-x", "invalid character 'x' in numeric literal" },
        { "01", "invalid character '1' after top-level value" },
        { "1.x", "invalid character 'x' after decimal point in numeric literal" },
        { "1ex", "invalid character 'x' in exponent of numeric literal" },
        { "\"\\x\"", "invalid character 'x' in string escape code" },
        { "\"\\u12g4\"", "invalid character 'g' in \\u hexadecimal character escape" },
        { "\"a\nb\"", "invalid character '\\n' in string literal" },
        { "'a'", "invalid character '\\'' looking for beginning of value" },
        { "\xff", "invalid character 'ÿ' looking for beginning of value" },
        { " [ { \"a\" : [ ] , \"b\" : { } } , null , true , false , -1.5e+3 , \"x\" ] ", "" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CHECK_STR_C(str_c(error_of(cases[i][0])), cases[i][1]);
    }
}

TEST(json_pull_reads_what_skip_accepts)
{
    struct arena a;
    struct err err;
    struct json_reader r;
    arena_init(&a, ARENA_NO_BUDGET);
    struct str text = STR("{\"s\":\"x\\u00e9\\ud83d\\ude00\\ud800z\\n\",\"n\":-12,\"l\":[1,2,[]],\"o\":{},\"b\":true,\"z\":null}");
    json_reader_init(&r, text, &a, JSON_DEPTH, &err);
    CHECK_OK(json_object_begin(&r), &err);
    struct str key, s;
    bool b;
    int64_t n;
    CHECK_INT(json_object_next(&r, &key), 1);
    CHECK_STR_C(key, "s");
    CHECK_INT(json_peek(&r), JSON_STRING);
    CHECK_OK(json_string(&r, &s), &err);
    CHECK_STR_C(s, "xé😀\xef\xbf\xbdz\n");
    CHECK_INT(json_object_next(&r, &key), 1);
    CHECK_OK(json_number(&r, &s) && json_number_to_i64(s, &n), &err);
    CHECK_INT(n, -12);
    CHECK_INT(json_object_next(&r, &key), 1);
    CHECK_OK(json_array_begin(&r), &err);
    CHECK_INT(json_array_next(&r), 1);
    CHECK_OK(json_number(&r, &s), &err);
    CHECK_INT(json_array_next(&r), 1);
    CHECK_OK(json_skip(&r), &err);
    CHECK_INT(json_array_next(&r), 1);
    CHECK_OK(json_array_begin(&r), &err);
    CHECK_INT(json_array_next(&r), 0);
    CHECK_INT(json_array_next(&r), 0);
    CHECK_INT(json_object_next(&r, &key), 1);
    CHECK_OK(json_raw(&r, &s), &err);
    CHECK_STR_C(s, "{}");
    CHECK_INT(json_object_next(&r, &key), 1);
    CHECK_OK(json_bool(&r, &b), &err);
    CHECK(b);
    CHECK_INT(json_object_next(&r, &key), 1);
    CHECK_OK(json_null(&r), &err);
    CHECK_INT(json_object_next(&r, &key), 0);
    CHECK_OK(json_end(&r), &err);
    arena_deinit(&a);
}

TEST(json_bytes_that_are_not_utf8_become_replacement_characters)
{
    struct arena a;
    struct json_reader r;
    struct str s;
    arena_init(&a, ARENA_NO_BUDGET);
    json_reader_init(&r, STR("\"plain text a\xff" "b\xc3\xa9\xed\xa0\x80\""), &a, JSON_DEPTH, NULL);
    CHECK(json_string(&r, &s));
    CHECK_STR_C(s, "plain text a\xef\xbf\xbd" "bé\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    arena_deinit(&a);
}

TEST(json_plain_strings_are_borrowed_from_the_text)
{
    struct json_reader r;
    struct str s, text = STR("  \"0123456789 abcdefghijklmnop é\"");
    json_reader_init(&r, text, NULL, JSON_DEPTH, NULL);
    CHECK(json_string(&r, &s));
    CHECK(s.ptr == text.ptr + 3);
}

TEST(json_depth_is_bounded)
{
    char text[64];
    struct err err;
    memset(text, '[', 40);
    memset(text + 20, ']', 20);
    CHECK_OK(json_check(str_n(text, 40), 20, &err), &err);
    CHECK(!json_check(str_n(text, 40), 19, &err));
    CHECK_STR_C(str_c(err.msg), "exceeded max depth");
}

TEST(json_failure_stays_and_tells_the_offset)
{
    struct json_reader r;
    struct str key;
    struct err err;
    json_reader_init(&r, STR("{\"a\": x"), NULL, JSON_DEPTH, &err);
    CHECK(json_object_begin(&r));
    CHECK_INT(json_object_next(&r, &key), 1);
    CHECK(!json_skip(&r));
    CHECK_INT(json_offset(&r), 6);
    CHECK_INT(json_object_next(&r, &key), -1);
    CHECK(!json_end(&r));
    CHECK_STR_C(str_c(err.msg), "invalid character 'x' looking for beginning of value");
}

TEST(what_is_passed_over_by_its_brackets_ends_where_it_ends_when_read)
{
    static const char *const pieces[] = { "{}", "[]", "{\"a\":{\"f:b\":{}}}", "[1,2,[3]]", "\"]}\"", "\"\\\"}\"", "\"a long text with } and ] and \\\\\"",
                                          "12.5", "true", "null", "\"\xc3\xa4{\"", "\"\"" };
    uint32_t seed = 1;
    char text[4096];
    for (int round = 0; round < 3000; round++) {
        size_t n = 0;
        text[n++] = '[';
        for (unsigned k = 0; k < seed / 65536 % 40; k++) {
            seed = seed * 1103515245u + 12345u;
            const char *piece = pieces[seed / 65536 % (sizeof(pieces) / sizeof(pieces[0]))];
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", n > 1 ? "," : "", piece);
        }
        seed = seed * 1103515245u + 12345u;
        n += (size_t)snprintf(text + n, sizeof(text) - n, "],{\"next\":1}");
        char *exact = malloc(n); /* so that a byte read behind the end shows */
        memcpy(exact, text, n);
        for (size_t end = 0; end <= n; end = end < n && end + 20 > n ? end + 1 : end + n / 3 + 1 > n ? n : end + n / 3 + 1) {
            struct json_reader checked, quick;
            struct err err;
            struct str a = STR_NULL, b = STR_NULL;
            json_reader_init(&checked, str_n(exact, end), NULL, JSON_DEPTH, &err);
            json_reader_init(&quick, str_n(exact, end), NULL, JSON_DEPTH, &err);
            bool ok = json_raw(&checked, &a);
            CHECK_INT(json_raw_unchecked(&quick, &b), ok);
            CHECK(a.len == b.len && (!ok || a.ptr == b.ptr));
            if (end == n) {
                break;
            }
        }
        free(exact);
    }
}
