#include "base/flags.h"
#include "base/test.h"

struct options {
    bool on, anonymous;
    struct str name;
    int64_t port, sync_ms;
    int32_t small;
    double ratio;
    struct flag_strings hosts, extra, labels;
};
static const struct flag table[] = {
    FLAG_BOOL(struct options, on, "on", "false", "On.", .letter = 'o'),
    FLAG_BOOL(struct options, anonymous, "anonymous-auth", "true", "Anonymous."),
    FLAG_STRING(struct options, name, "name", "coracle", "A name.", .letter = 'n'),
    FLAG_INT(struct options, port, "secure-port", "6443", "A port."),
    FLAG_INT32(struct options, small, "small", "7", "A small number."),
    FLAG_FLOAT(struct options, ratio, "ratio", "0.5", "A ratio."),
    FLAG_DURATION(struct options, sync_ms, "sync-period", "1m30s", "A time."),
    FLAG_STRINGS(struct options, hosts, "hosts", "a,b", "Hosts."),
    FLAG_ARRAY(struct options, extra, "extra", "", "More."),
    FLAG_MAP(struct options, labels, "labels", "", "Labels."),
};
static struct options opt;
static const struct flag_section sections[] = { { "Test", table, ARRAY_SIZE(table), &opt } };
static const struct flag_program program = { .name = "prog", .about = "A.", .sections = sections, .n_sections = 1,
                                             .takes_arguments = true };
static struct flag_result result;
static struct err err;

#define PARSE(...) \
    ({ \
        static const char *const words_[] = { "prog", ##__VA_ARGS__ }; \
        char *argv_[ARRAY_SIZE(words_)]; \
        memcpy(argv_, words_, sizeof(words_)); \
        flags_parse(&program, (int)ARRAY_SIZE(words_), argv_, &result, &err); \
    })

TEST(flags_not_given_have_their_defaults)
{
    CHECK_OK(PARSE(), &err);
    CHECK(!opt.on && opt.anonymous);
    CHECK_STR_C(opt.name, "coracle");
    CHECK_INT(opt.port, 6443);
    CHECK_INT(opt.sync_ms, 90000);
    CHECK_INT(opt.hosts.n, 2);
    CHECK_INT(opt.extra.n, 0);
    CHECK(!flags_changed(&result, "name"));
}

TEST(flags_take_values_in_every_pflag_form)
{
    CHECK_OK(PARSE("--on", "--anonymous-auth=false", "--name", "x", "--secure-port=1", "arg", "-v=3", "--ratio", "0.25",
                   "--hosts=c", "--hosts=d,\"e,f\"", "--extra=a,b", "--labels=k=v,l=w", "--small=-2", "--", "--raw"),
             &err);
    CHECK(opt.on && !opt.anonymous);
    CHECK_STR_C(opt.name, "x");
    CHECK_INT(opt.port, 1);
    CHECK_INT(opt.small, -2);
    CHECK(opt.ratio > 0.24 && opt.ratio < 0.26);
    CHECK_INT(opt.hosts.n, 3);
    CHECK_STR_C(opt.hosts.items[2], "e,f");
    CHECK_INT(opt.extra.n, 1);
    CHECK_STR_C(flags_map_get(&opt.labels, STR("l")), "w");
    CHECK_INT(result.verbosity, 3);
    CHECK_INT(result.n_args, 2);
    CHECK_STR_C(str_c(result.args[1]), "--raw");
    CHECK(flags_changed(&result, "name"));
    CHECK_OK(PARSE("-on", "-nlong"), &err); /* letters join: -o, then -n needs an argument and takes "-nlong" */
    CHECK_STR_C(opt.name, "-nlong");
}

TEST(flags_that_are_wrong_get_the_words_of_pflag)
{
    CHECK(!PARSE("--what=1"));
    CHECK_STR_C(str_c(err.msg), "unknown flag: --what");
    CHECK(!PARSE("-x"));
    CHECK_STR_C(str_c(err.msg), "unknown shorthand flag: 'x' in -x");
    CHECK(!PARSE("--name"));
    CHECK_STR_C(str_c(err.msg), "flag needs an argument: --name");
    CHECK(!PARSE("--secure-port=abc"));
    CHECK_STR_C(str_c(err.msg), "invalid argument \"abc\" for \"--secure-port\" flag: strconv.ParseInt: parsing "
                                "\"abc\": invalid syntax");
    CHECK(!PARSE("--sync-period=5"));
    CHECK(!PARSE("--=5"));
    CHECK(!PARSE("--labels=k"));
    CHECK(!PARSE("--flag-defaults=what"));
    CHECK(PARSE("--flag-defaults=secure") && result.secure);
}

TEST(flags_read_durations_as_go_does)
{
    int64_t ms = 0;
    CHECK(flags_parse_duration(STR("1h2m3.5s"), &ms) && ms == 3723500);
    CHECK(flags_parse_duration(STR("300ms"), &ms) && ms == 300);
    CHECK(flags_parse_duration(STR("-1m"), &ms) && ms == -60000);
    CHECK(flags_parse_duration(STR("0"), &ms) && ms == 0);
    CHECK(!flags_parse_duration(STR(""), &ms));
    CHECK(!flags_parse_duration(STR("1"), &ms));
    CHECK(!flags_parse_duration(STR("1d"), &ms));
    CHECK(!flags_parse_duration(STR("s"), &ms));
}
