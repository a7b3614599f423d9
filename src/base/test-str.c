#include "base/arena.h"
#include "base/clock.h"
#include "base/encoding.h"
#include "base/heap.h"
#include "base/map.h"
#include "base/reader.h"
#include "base/rand.h"
#include "base/test.h"

TEST(split_gives_empty_pieces_and_stops_at_the_end)
{
    struct str rest = STR("a,,b"), piece;
    CHECK(str_split(&rest, ',', &piece) && str_eq(piece, STR("a")));
    CHECK(str_split(&rest, ',', &piece) && piece.len == 0);
    CHECK(str_split(&rest, ',', &piece) && str_eq(piece, STR("b")));
    CHECK(!str_split(&rest, ',', &piece));
}

TEST(numbers_reject_overflow_and_blanks)
{
    int64_t i;
    uint64_t u;
    CHECK(str_to_i64(STR("-9223372036854775808"), &i) && i == INT64_MIN);
    CHECK(!str_to_i64(STR("9223372036854775808"), &i));
    CHECK(!str_to_u64(STR("18446744073709551616"), &u));
    CHECK(!str_to_u64(STR(" 1"), &u));
    CHECK(!str_to_u64(STR(""), &u));
}

TEST(utf8_rejects_overlong_forms_and_surrogates)
{
    CHECK(str_is_utf8(STR("gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80")));
    CHECK(!str_is_utf8(STR("\xc0\x80")));
    CHECK(!str_is_utf8(STR("\xed\xa0\x80")));
    CHECK(!str_is_utf8(STR("\xf4\x90\x80\x80")));
    CHECK(!str_is_utf8(STR("\xe2\x82")));
}

TEST(map_finds_what_was_put_after_growth_and_removal)
{
    struct map m;
    char key[16];
    static int values[1000];
    map_init(&m);
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        CHECK(map_put(&m, str_c(key), &values[i]) == NULL);
    }
    for (int i = 0; i < 1000; i += 2) {
        snprintf(key, sizeof(key), "k%d", i);
        CHECK(map_remove(&m, str_c(key)) == &values[i]);
    }
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        CHECK(map_get(&m, str_c(key)) == (i % 2 ? &values[i] : NULL));
    }
    CHECK_INT(m.n, 500);
    map_deinit(&m);
}

TEST(heap_pops_in_order_and_removes_from_the_middle)
{
    struct heap h;
    struct heap_node n[64] = { 0 };
    heap_init(&h);
    for (unsigned i = 0; i < 64; i++) {
        heap_push(&h, &n[i], (i * 37) % 64);
    }
    heap_remove(&h, &n[5]);
    uint64_t last = 0;
    for (unsigned i = 0; i < 63; i++) {
        struct heap_node *p = heap_pop(&h);
        CHECK(p && p != &n[5] && p->key >= last);
        last = p->key;
    }
    CHECK(!heap_pop(&h));
    heap_deinit(&h);
}

TEST(base64_round_trips_and_rejects_rubbish)
{
    struct arena a;
    struct buf b;
    struct str s;
    arena_init(&a, ARENA_NO_BUDGET);
    buf_init(&b, 1000);
    for (size_t n = 0; n < 12; n++) {
        buf_clear(&b);
        base64_encode(&b, str_n("hello world!", n));
        CHECK(base64_decode(&a, buf_str(&b), &s));
        CHECK_STR(s, str_n("hello world!", n));
        buf_clear(&b);
        base64url_encode(&b, str_n("hello\xff\xfeorld!", n));
        CHECK(base64url_decode(&a, buf_str(&b), &s));
        CHECK_STR(s, str_n("hello\xff\xfeorld!", n));
    }
    CHECK(!base64_decode(&a, STR("a"), &s));
    CHECK(!base64_decode(&a, STR("YQ"), &s));
    CHECK(!base64_decode(&a, STR("YQ==YQ=="), &s));
    CHECK(!base64_decode(&a, STR("Y*=="), &s));
    CHECK(!percent_decode(&a, STR("a%2"), false, &s));
    CHECK(percent_decode(&a, STR("a%2fb+c"), true, &s));
    CHECK_STR(s, STR("a/b c"));
    buf_deinit(&b);
    arena_deinit(&a);
}

TEST(rfc3339_reads_offsets_and_fractions_and_rejects_bad_dates)
{
    int64_t sec;
    uint32_t nsec;
    char text[CLOCK_RFC3339_SIZE];
    CHECK(clock_parse_rfc3339(STR("2026-11-24T08:02:49.5+01:30"), &sec, &nsec));
    CHECK_INT(nsec, 500000000);
    CHECK_INT(clock_format_rfc3339(sec, nsec, 6, text), 27);
    CHECK_STR_C(str_c(text), "2026-11-24T06:32:49.500000Z");
    CHECK(!clock_parse_rfc3339(STR("2026-02-29T00:00:00Z"), &sec, &nsec));
    CHECK(!clock_parse_rfc3339(STR("2026-02-28T00:00:00"), &sec, &nsec));
    CHECK(!clock_parse_rfc3339(STR("2026-02-28 00:00:00Z"), &sec, &nsec));
}

TEST(varint_rejects_more_than_64_bits)
{
    uint64_t v;
    struct reader r = reader_of(STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"));
    CHECK(reader_varint(&r, &v) && v == UINT64_MAX);
    r = reader_of(STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"));
    CHECK(!reader_varint(&r, &v));
    r = reader_of(STR("\x80"));
    CHECK(!reader_varint(&r, &v) && reader_left(&r) == 1);
}

TEST(a_uuid_is_version_4_in_lower_case)
{
    char a[RAND_UUID_SIZE], b[RAND_UUID_SIZE];
    rand_uuid(a);
    rand_uuid(b);
    CHECK_INT(strlen(a), 36);
    CHECK(strcmp(a, b) != 0);
    for (size_t i = 0; i < 36; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        CHECK(dash ? a[i] == '-' : strchr("0123456789abcdef", a[i]) != NULL);
    }
    CHECK(a[14] == '4');
    CHECK(strchr("89ab", a[19]) != NULL);
}
