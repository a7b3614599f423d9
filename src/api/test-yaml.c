#include "api/yaml.h"
#include "base/test.h"

static void check_json(const char *yaml, const char *json)
{
    struct arena a;
    struct val v;
    struct err err;
    arena_init(&a, ARENA_NO_BUDGET);
    CHECK_OK(yaml_parse(&a, str_c(yaml), NULL, &v, &err), &err);
    CHECK_STR_C(val_to_json(&a, &v), json);
    arena_deinit(&a);
}

static void check_error(const char *yaml, const char *message)
{
    struct arena a;
    struct val v;
    struct err err;
    arena_init(&a, 64 << 20);
    CHECK(!yaml_parse(&a, str_c(yaml), NULL, &v, &err));
    CHECK_STR_C(str_c(err.msg), message);
    arena_deinit(&a);
}

TEST(yaml_scalars_are_typed_as_kubernetes_types_them)
{
    check_json("[yes, No, on, OFF, y, n, true, False]", "[true,false,true,false,true,false,true,false]");
    check_json("[~, null, '', \"\"]", "[null,null,\"\",\"\"]");
    check_json("[1, -2, +3, 0x1F, 0o17, 017, 0b11, 1_000]", "[1,-2,3,31,15,15,3,1000]");
    check_json("[1.5, .5, 1e3, -1.0, 08, 18446744073709551615]", "[1.5,0.5,1000,-1,8,18446744073709552000]");
    check_json("[1.2.3, 1s, 2024-01-02, '1', \"true\", 0x, 12e]",
               "[\"1.2.3\",\"1s\",\"2024-01-02\",\"1\",\"true\",\"0x\",\"12e\"]");
    check_json("{!!str a: !!str 1, b: !!int 7, c: !!float 1, d: !!binary aGk=}", "{\"a\":\"1\",\"b\":7,\"c\":1,\"d\":\"hi\"}");
    check_json("1: a\ntrue: b\n1.5: c\n", "{\"1\":\"a\",\"true\":\"b\",\"1.5\":\"c\"}");
    check_json("", "null");
    check_json("a: |\n  x\n   y\nb: >-\n  p\n  q\n", "{\"a\":\"x\\n y\\n\",\"b\":\"p q\"}");
}

TEST(yaml_aliases_and_merges_unfold)
{
    check_json("a: &x {p: 1, q: 2}\nb: *x\nc:\n  <<: *x\n  q: 3\n",
               "{\"a\":{\"p\":1,\"q\":2},\"b\":{\"p\":1,\"q\":2},\"c\":{\"q\":3,\"p\":1}}");
    check_error("a: *nope\n", "yaml: unknown anchor 'nope' referenced");
}

TEST(yaml_laughs_are_bounded)
{
    check_error("a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
                "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\n"
                "f: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n",
                "yaml: document contains excessive aliasing");
}

TEST(yaml_errors_are_worded_as_kubernetes_words_them)
{
    check_error("a: [b\n", "yaml: line 1: did not find expected ',' or ']'");
    check_error("a: b: c\n", "yaml: mapping values are not allowed in this context");
    check_error("a: .inf\n", "json: unsupported value: +Inf");
    check_error("? [a]\n: b\n", "yaml: unsupported map key of type: sequence");
}

TEST(yaml_duplicates_are_reported_with_their_line)
{
    struct arena a;
    struct val v;
    struct err err;
    struct val_dups dups;
    arena_init(&a, ARENA_NO_BUDGET);
    val_dups_init(&dups);
    CHECK_OK(yaml_parse(&a, STR("kind: ConfigMap\ndata:\n  a: b\n  a: c\n"), &dups, &v, &err), &err);
    CHECK_STR_C(val_to_json(&a, &v), "{\"kind\":\"ConfigMap\",\"data\":{\"a\":\"c\"}}");
    CHECK_STR_C(yaml_dups_message(&a, &dups), "yaml: unmarshal errors:\n  line 4: key \"a\" already set in map");
    CHECK_STR_C(dups.first->path, "data.a");
    arena_deinit(&a);
}

TEST(yaml_streams_are_cut_at_document_marks)
{
    struct str rest = STR("---\na: 1\n---\n# nothing\n--- # two\nb: 2\n"), doc;
    CHECK(yaml_next_document(&rest, &doc));
    CHECK_STR_C(doc, "---\na: 1\n");
    CHECK(yaml_next_document(&rest, &doc));
    CHECK_STR_C(doc, "# nothing\n");
    CHECK(yaml_next_document(&rest, &doc));
    CHECK_STR_C(doc, "--- # two\nb: 2\n");
    CHECK(!yaml_next_document(&rest, &doc));
}

TEST(yaml_written_reads_back_the_same)
{
    const char *json = "{\"a\":{\"list\":[1,{\"x\":\"y\",\"z\":[]},[\"p\",\"q\"],\"true\",\"1.5\",\"\"],\"text\":\"l1\\nl2\\n\","
                       "\"more\":\"a\\n\\n\",\"none\":\"a\\nb\",\"tab\":\"a\\tb\\n\",\"colon\":\"a: b\",\"hash\":\"a #b\",\"url\":\"https://h:1/p\","
                       "\"sp\":\" x\",\"uni\":\"é\",\"dash\":\"-\",\"yes\":\"yes\",\"e\":{},\"n\":null,\"b\":true,\"d\":1.5}}";
    struct arena a;
    struct val v, again;
    struct err err;
    struct buf b;
    arena_init(&a, ARENA_NO_BUDGET);
    buf_init(&b, BUF_NO_MAX);
    CHECK_OK(val_parse_json(&a, str_c(json), JSON_DEPTH, NULL, &v, &err), &err);
    yaml_write(&b, &v);
    CHECK_OK(yaml_parse(&a, buf_str(&b), NULL, &again, &err), &err);
    CHECK_STR_C(val_to_json(&a, &again), json);
    buf_clear(&b);
    v = val_object();
    struct val l = val_array();
    CHECK(val_push(&a, &l, val_string(STR("x"))) != NULL);
    CHECK(val_set(&a, &v, STR("args"), l) != NULL);
    CHECK(val_set(&a, &v, STR("url"), val_string(STR("https://h:1"))) != NULL);
    yaml_write(&b, &v);
    CHECK_STR_C(buf_str(&b), "args:\n- x\nurl: https://h:1\n");
    buf_deinit(&b);
    arena_deinit(&a);
}
