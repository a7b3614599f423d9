#include "base/flags.h"

#include "base/unsafe.h"
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

/* ---- what is unsafe, absent, near, contradictory ---- */

struct plain {
    int32_t port;
    struct str cert, key;
};
static struct plain plain;
static const struct flag plain_flags[] = {
    FLAG_INT32(struct plain, port, "read-only-port", "10255", "A plain port.", .secure = "0", .unsafe = "everybody may read",
               .mend = "--read-only-port=0"),
    FLAG_STRING(struct plain, cert, "tls-cert-file", "", "A file."),
    FLAG_STRING(struct plain, key, "tls-private-key-file", "", "A file."),
};
static const char *why_absent(const char *name UNUSED, struct str flag)
{
    return str_eq_c(flag, "cloud-provider-gce-lb-src-cidrs") ? "there are no cloud providers in here" : NULL;
}

static const struct flag_section plain_sections[] = { { "Plain", plain_flags, ARRAY_SIZE(plain_flags), &plain } };
static const struct flag_program plain_program = { .name = "test", .about = "Tests.", .sections = plain_sections, .n_sections = 1,
                                                   .why_absent = why_absent };

#define PARSE_PLAIN(...) \
    ({ \
        static const char *const words_[] = { "test", ##__VA_ARGS__ }; \
        char *argv_[ARRAY_SIZE(words_)]; \
        memcpy(argv_, words_, sizeof(words_)); \
        flags_parse(&plain_program, (int)ARRAY_SIZE(words_), argv_, &result, &err); \
    })

TEST(unset_flags_take_the_secure_default_when_asked_to)
{
    CHECK_OK(PARSE_PLAIN(), &err);
    CHECK_INT(plain.port, 10255);
    CHECK_OK(PARSE_PLAIN("--flag-defaults=secure"), &err);
    CHECK_INT(plain.port, 0);
    CHECK_OK(PARSE_PLAIN("--read-only-port=7", "--flag-defaults", "secure"), &err);
    CHECK_INT(plain.port, 7);
}

TEST(an_unsafe_flag_stands_in_the_registry_with_what_mends_it)
{
    struct buf b;
    unsafe_clear();
    CHECK_OK(PARSE_PLAIN(), &err);
    flags_note_unsafe(&result, "read-only-port");
    flags_note_unsafe(&result, "read-only-port");
    flags_note_unsafe(&result, "tls-cert-file"); /* nothing is unsafe about it */
    CHECK_INT(unsafe_count(), 1);
    CHECK(!unsafe_at(0)->given);
    CHECK_STR_C(str_c(unsafe_at(0)->value), "10255");
    buf_init(&b, BUF_NO_MAX);
    unsafe_write_json(&b);
    CHECK_STR_C(buf_str(&b), "[{\"program\":\"test\",\"flag\":\"--read-only-port\",\"value\":\"10255\",\"given\":false,"
                             "\"why\":\"everybody may read\",\"mend\":\"--read-only-port=0\"}]");
    buf_deinit(&b);
    unsafe_clear();
    CHECK_INT(unsafe_count(), 0);
}

TEST(an_unknown_flag_is_told_the_nearest_and_an_absent_one_why)
{
    CHECK(!PARSE_PLAIN("--readonly-port=0"));
    CHECK_STR_C(str_c(err.msg), "unknown flag: --readonly-port; the nearest is --read-only-port");
    CHECK(!PARSE_PLAIN("--read-olny-port=0"));
    CHECK_STR_C(str_c(err.msg), "unknown flag: --read-olny-port; the nearest is --read-only-port");
    CHECK(!PARSE_PLAIN("--nothing-like-it"));
    CHECK_STR_C(str_c(err.msg), "unknown flag: --nothing-like-it");
    CHECK(!PARSE_PLAIN("--cloud-provider-gce-lb-src-cidrs=10.0.0.0/8"));
    CHECK_STR_C(str_c(err.msg), "--cloud-provider-gce-lb-src-cidrs is known to Kubernetes, not implemented by Coracle: "
                                "there are no cloud providers in here");
}

TEST(flags_that_contradict_or_need_each_other_are_both_named)
{
    CHECK_OK(PARSE_PLAIN("--tls-cert-file=a"), &err);
    CHECK(!flags_together(&result, "tls-cert-file", "tls-private-key-file", &err));
    CHECK_STR_C(str_c(err.msg), "--tls-cert-file needs --tls-private-key-file");
    CHECK(flags_exclusive(&result, "tls-cert-file", "tls-private-key-file", &err));
    CHECK_OK(PARSE_PLAIN("--tls-cert-file=a", "--tls-private-key-file=b"), &err);
    CHECK(flags_together(&result, "tls-cert-file", "tls-private-key-file", &err));
    CHECK(!flags_exclusive(&result, "tls-cert-file", "tls-private-key-file", &err));
    CHECK_STR_C(str_c(err.msg), "--tls-cert-file and --tls-private-key-file contradict each other: give one of them");
}

TEST(logging_flags_that_do_not_hold_here_are_refused)
{
    CHECK(PARSE_PLAIN("--logtostderr=true", "--stderrthreshold=3", "--alsologtostderr"));
    CHECK(!PARSE_PLAIN("--logtostderr=false"));
    CHECK(!PARSE_PLAIN("--logging-format=json"));
    CHECK(!PARSE_PLAIN("--vmodule=a=1"));
}
