#include "base/buf.h"

#include <stdlib.h>

#include "base/test.h"

TEST(a_buffer_past_its_maximum_keeps_what_it_had_and_says_so)
{
    struct buf b;
    buf_init(&b, 8);
    buf_append(&b, STR("12345"));
    buf_append(&b, STR("678"));
    CHECK(!buf_failed(&b));
    buf_append_char(&b, '9');
    CHECK(buf_failed(&b));
    buf_append(&b, STR_EMPTY);
    CHECK_STR_C(buf_str(&b), "12345678");
    buf_clear(&b);
    CHECK(!buf_failed(&b));
    buf_deinit(&b);
}

TEST(text_for_html_cannot_leave_its_element_or_attribute)
{
    struct buf b;
    buf_init(&b, BUF_NO_MAX);
    buf_append_html(&b, STR("<script>\"a\" & 'b'</script>"));
    CHECK_STR_C(buf_str(&b), "&lt;script&gt;&quot;a&quot; &amp; &#39;b&#39;&lt;/script&gt;");
    buf_deinit(&b);
}

TEST(amounts_of_bytes_are_for_people)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = { { 0, "0 B" }, { 999, "999 B" }, { 1000, "1.0 KB" }, { 9949, "9.9 KB" }, { 12345678, "12 MB" },
                  { 3200000000000000, "3200 TB" } };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct buf b;
        buf_init(&b, BUF_NO_MAX);
        buf_append_amount(&b, cases[i].bytes);
        CHECK_STR_C(buf_str(&b), cases[i].text);
        buf_deinit(&b);
    }
}

TEST(a_copy_of_a_str_ends_with_a_nul)
{
    char *s = str_dup(str_n("abcdef", 3)), *none = str_dup(STR_NULL);
    CHECK_STR_C(str_c(s), "abc");
    CHECK_STR_C(str_c(none), "");
    free(s);
    free(none);
}
