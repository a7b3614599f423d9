#include "base/test.h"
#include "pki/detached-jws.h"

#define ID STR("joshua")
#define SECRET STR("0123456789abcdef")

/* Made by another implementation: Python's hmac. */
static const char *const known =
    "eyJhbGciOiJIUzI1NiIsImtpZCI6Impvc2h1YSJ9..ujiwAAuDPRzSZHcMdrOI-4qqS2w1khaVf7fltYsHuPE";

TEST(a_detached_signature_has_the_header_of_its_key_and_an_empty_payload)
{
    struct buf b;
    buf_init(&b, 4096);
    detached_jws_sign(ID, SECRET, STR("wargames"), &b);
    CHECK(!buf_failed(&b));
    CHECK_STR(buf_str(&b), str_c(known));
    CHECK(detached_jws_verify(buf_str(&b), ID, SECRET, STR("wargames")));
    buf_deinit(&b);
}

TEST(a_detached_signature_of_another_text_key_or_id_is_refused)
{
    struct buf b;
    buf_init(&b, 4096);
    detached_jws_sign(ID, SECRET, STR("wargames"), &b);
    CHECK(!detached_jws_verify(buf_str(&b), ID, SECRET, STR("wargame")));
    CHECK(!detached_jws_verify(buf_str(&b), ID, STR("0123456789abcdeg"), STR("wargames")));
    CHECK(!detached_jws_verify(buf_str(&b), STR("joshub"), SECRET, STR("wargames")));
    CHECK(!detached_jws_verify(str_sub(buf_str(&b), 0, b.len - 1), ID, SECRET, STR("wargames")));
    CHECK(!detached_jws_verify(STR_NULL, ID, SECRET, STR("wargames")));
    b.ptr[b.len - 1] ^= 1;
    CHECK(!detached_jws_verify(buf_str(&b), ID, SECRET, STR("wargames")));
    buf_deinit(&b);
}

TEST(a_signature_that_says_it_needs_no_key_is_refused)
{
    CHECK(!detached_jws_verify(STR("eyJhbGciOiJub25lIn0.."), ID, SECRET, STR("wargames")));
}
