#include "api/selector.h"
#include "api/gen/meta_v1.h"
#include "base/test.h"

static void check_error(const char *text, const char *want)
{
    struct arena a;
    struct selector s;
    struct err err;
    arena_init(&a, ARENA_NO_BUDGET);
    CHECK(!selector_parse(&a, str_c(text), &s, &err));
    CHECK_STR_C(str_c(err.msg), want);
    arena_deinit(&a);
}

TEST(selector_errors_are_worded_as_kubernetes_words_them)
{
    check_error("a b c", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt");
    check_error("a in x", "unable to parse requirement: found 'x' expected: '('");
    check_error("a=-x-", "unable to parse requirement: values[0][a]: Invalid value: \"-x-\": a valid label must be an empty "
                         "string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
                         "alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
                         "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')");
    check_error("a,", "found '', expected: identifier after ','");
    check_error("a=b c", "found 'c', expected: ',' or 'end of string'");
    check_error("=a", "found '=', expected: !, identifier, or 'end of string'");
    check_error("a>x", "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value "
                       "must be an integer");
    check_error("a in ()", "unable to parse requirement: values: Invalid value: []: for 'in', 'notin' operators, values set "
                           "can't be empty");
}

static bool matches(const char *text)
{
    static const struct api_str_pair labels[] = { { STR_INIT("app"), STR_INIT("web") },
                                                  { STR_INIT("empty"), STR_INIT("") },
                                                  { STR_INIT("in"), STR_INIT("notin") },
                                                  { STR_INIT("n"), STR_INIT("5") } };
    struct arena a;
    struct selector s;
    struct err err;
    arena_init(&a, ARENA_NO_BUDGET);
    bool ok = selector_parse(&a, str_c(text), &s, &err);
    bool match = ok && selector_matches(&s, labels, ARRAY_SIZE(labels));
    arena_deinit(&a);
    CHECK(ok);
    return match;
}

TEST(selector_matches_labels)
{
    CHECK(matches(""));
    CHECK(matches("app=web"));
    CHECK(matches(" app == web , n "));
    CHECK(!matches("app!=web"));
    CHECK(matches("other!=x,!other"));
    CHECK(!matches("other"));
    CHECK(matches("app in (a,web)"));
    CHECK(!matches("app notin (web)"));
    CHECK(matches("other notin (web)"));
    CHECK(matches("empty="));
    CHECK(matches("empty in (,a)"));
    CHECK(matches("n>4,n<6"));
    CHECK(!matches("n>5"));
    CHECK(matches("in in (notin)"));
    CHECK(matches("in=notin"));
}

TEST(selector_prints_in_the_query_form)
{
    struct arena a;
    struct selector s;
    struct err err;
    arena_init(&a, ARENA_NO_BUDGET);
    CHECK_OK(selector_parse(&a, STR("z notin (b,a,b), x, !y,w=1"), &s, &err), &err);
    CHECK_STR_C(selector_str(&a, &s), "w=1,x,!y,z notin (a,b)");
    CHECK_STR_C(selector_exact(&s, STR("w")), "1");
    CHECK(selector_exact(&s, STR("x")).ptr == NULL);
    arena_deinit(&a);
}

TEST(selector_of_a_label_selector_that_is_absent_matches_nothing)
{
    struct arena a;
    struct selector s;
    struct err err;
    arena_init(&a, ARENA_NO_BUDGET);
    CHECK_OK(selector_from_label_selector(&a, NULL, &s, &err), &err);
    CHECK(!selector_matches(&s, NULL, 0));
    struct meta_v1_label_selector ls = { 0 };
    CHECK_OK(selector_from_label_selector(&a, &ls, &s, &err), &err);
    CHECK(selector_matches(&s, NULL, 0));
    struct str values[] = { STR_INIT("b"), STR_INIT("a") };
    struct meta_v1_label_selector_requirement e = { .key = STR("k"), .operator = STR("In"), .values = values, .n_values = 2 };
    struct api_str_pair m = { STR_INIT("x"), STR_INIT("y") };
    ls = (struct meta_v1_label_selector){ .match_labels = &m, .n_match_labels = 1, .match_expressions = &e,
                                          .n_match_expressions = 1 };
    CHECK_OK(selector_from_label_selector(&a, &ls, &s, &err), &err);
    CHECK_STR_C(selector_str(&a, &s), "k in (a,b),x=y");
    CHECK_STR_C(values[0], "b");
    e.operator = STR("Is");
    CHECK(!selector_from_label_selector(&a, &ls, &s, &err));
    CHECK_STR_C(str_c(err.msg), "\"Is\" is not a valid label selector operator");
    arena_deinit(&a);
}

static struct str get_field(void *object, struct str field)
{
    (void)object;
    return str_eq_c(field, "metadata.name") ? STR("a,b") : STR_EMPTY;
}

TEST(field_selector_parses_and_matches)
{
    struct arena a;
    struct field_selector s;
    struct err err;
    arena_init(&a, ARENA_NO_BUDGET);
    CHECK_OK(field_selector_parse(&a, STR("metadata.name=a\\,b,spec.nodeName!=x"), &s, &err), &err);
    CHECK(field_selector_matches(&s, get_field, NULL));
    CHECK_STR_C(field_selector_exact(&s, STR("metadata.name")), "a,b");
    CHECK(field_selector_exact(&s, STR("spec.nodeName")).ptr == NULL);
    CHECK_STR_C(field_selector_str(&a, &s), "metadata.name=a\\,b,spec.nodeName!=x");
    CHECK_OK(field_selector_parse(&a, STR("spec.nodeName="), &s, &err), &err);
    CHECK(field_selector_matches(&s, get_field, NULL));
    CHECK_OK(field_selector_parse(&a, STR_NULL, &s, &err), &err);
    CHECK_INT(s.n, 0);
    CHECK(!field_selector_parse(&a, STR("abc"), &s, &err));
    CHECK_STR_C(str_c(err.msg), "invalid selector: 'abc'; can't understand 'abc'");
    arena_deinit(&a);
}
