#include "api/decode-json.h"
#include "base/test.h"
#include "kinds/core/pod-status.h"
#include "kinds/table.h"

/* What a write of status 'json' over 'old' says; "fine", and then what podIP and podIPs became. */
static const char *change(struct arena *a, const char *old_json, const char *json)
{
    struct core_v1_pod old = { 0 }, new = { 0 };
    struct field_errs errs;
    struct err err;
    field_errs_init(&errs, a);
    struct kind_ctx ctx = { .arena = a, .errs = &errs, .subresource = STR("status") };
    CHECK_OK(api_decode_json(a, &core_v1_pod_status_type, str_c(old_json), NULL, &old.status, &err), &err);
    CHECK_OK(api_decode_json(a, &core_v1_pod_status_type, str_c(json), NULL, &new.status, &err), &err);
    core_pod_ops.prepare_status(&ctx, &new, &old);
    core_pod_ops.validate_status(&ctx, &new, &old);
    if (errs.n) {
        return arena_cstr(a, field_errs_message(&errs, a));
    }
    struct str text = arena_printf(a, "fine: %.*s", STR_ARG(new.status.pod_ip));
    for (size_t i = 0; i < new.status.n_pod_ips; i++) {
        text = arena_printf(a, "%.*s %.*s", STR_ARG(text), STR_ARG(new.status.pod_ips[i].ip));
    }
    return arena_cstr(a, text);
}

static void check(const char *old, const char *json, const char *want)
{
    struct arena a;
    arena_init(&a, 4 << 20);
    CHECK_STR_C(str_c(change(&a, old, json)), want);
    arena_deinit(&a);
}

#define NOT_DUAL(field, value) "status." field ": Invalid value: " value ": may specify no more than one IP for each IP family"

TEST(a_pod_has_one_address_of_each_family_at_most)
{
    check("{}", "{\"podIP\":\"10.0.0.1\",\"podIPs\":[{\"ip\":\"10.0.0.1\"}]}", "fine: 10.0.0.1 10.0.0.1");
    check("{}", "{\"podIP\":\"10.0.0.1\",\"podIPs\":[{\"ip\":\"10.0.0.1\"},{\"ip\":\"fd00::1\"}]}", "fine: 10.0.0.1 10.0.0.1 fd00::1");
    check("{}", "{\"podIP\":\"fd00::1\",\"podIPs\":[{\"ip\":\"fd00::1\"},{\"ip\":\"10.0.0.1\"}]}", "fine: fd00::1 fd00::1 10.0.0.1");
    check("{}", "{\"podIPs\":[{\"ip\":\"10.0.0.1\"},{\"ip\":\"10.0.0.2\"}]}", NOT_DUAL("podIPs", "[{\"IP\":\"10.0.0.1\"},{\"IP\":\"10.0.0.2\"}]"));
    check("{}", "{\"podIPs\":[{\"ip\":\"fd00::1\"},{\"ip\":\"fd00::2\"}]}", NOT_DUAL("podIPs", "[{\"IP\":\"fd00::1\"},{\"IP\":\"fd00::2\"}]"));
    check("{}", "{\"podIPs\":[{\"ip\":\"10.0.0.1\"},{\"ip\":\"fd00::1\"},{\"ip\":\"10.0.0.2\"}]}",
          NOT_DUAL("podIPs", "[{\"IP\":\"10.0.0.1\"},{\"IP\":\"fd00::1\"},{\"IP\":\"10.0.0.2\"}]"));
    check("{}", "{\"hostIP\":\"192.0.2.1\",\"hostIPs\":[{\"ip\":\"192.0.2.1\"},{\"ip\":\"192.0.2.2\"}]}",
          NOT_DUAL("hostIPs", "[{\"IP\":\"192.0.2.1\"},{\"IP\":\"192.0.2.2\"}]"));
}

TEST(addresses_of_a_pod_are_addresses_unless_they_were_there_before)
{
    check("{}", "{\"podIPs\":[{\"ip\":\"x\"}]}",
          "status.podIPs[0]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
    check("{\"podIPs\":[{\"ip\":\"x\"}]}", "{\"podIPs\":[{\"ip\":\"x\"}]}", "fine: x x");
    check("{}", "{\"hostIP\":\"192.0.2.1\",\"hostIPs\":[{\"ip\":\"192.0.2.2\"}]}",
          "status.hostIPs[0].ip: Invalid value: \"192.0.2.2\": must be equal to `hostIP`");
}

TEST(pod_ip_counts_where_it_and_pod_ips_differ)
{
    check("{}", "{\"podIP\":\"10.0.0.9\",\"podIPs\":[{\"ip\":\"10.0.0.1\"}]}", "fine: 10.0.0.9 10.0.0.9");
    check("{}", "{\"podIP\":\"10.0.0.9\"}", "fine: 10.0.0.9 10.0.0.9");
    check("{}", "{\"podIPs\":[{\"ip\":\"10.0.0.1\"}]}", "fine: 10.0.0.1 10.0.0.1");
    check("{}", "{}", "fine: ");
}
