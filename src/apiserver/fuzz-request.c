/*
 * A request of anybody as text: a method, a target, an Accept header, a continue token, one a line; and the text as a configuration of egress
 * and as addresses that connections may lead to. Nobody gets an answer in a form that the endpoint does not give, what a list continues with is
 * what a token was made from, and no address of this host passes for one that a node may name.
 */
#include <stdlib.h>

#include "apiserver/continue-token.h"
#include "apiserver/egress.h"
#include "apiserver/media.h"
#include "apiserver/request-info.h"
#include "base/encoding.h"
#include "net/addr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void target(struct arena *a, struct str method, struct str text)
{
    struct str path, query = STR_NULL, decoded, *values;
    struct request_info info;
    struct err err;
    if (!str_cut(text, '?', &path, &query)) {
        path = text;
    }
    if (percent_decode(a, path, false, &decoded) && request_info_parse(a, method, decoded, query, &info, &err)) {
        /* A method that Kubernetes does not know has no verb, which no rule allows but "*". */
        must(!str_eq(method, STR("GET")) || !str_empty(info.verb));
        must(info.is_resource || (str_empty(info.resource) && str_empty(info.subresource)));
    }
    /* Whoever asks for one value and whoever asks for all see the same. */
    size_t n = query_get_all(a, query, STR("fieldSelector"), &values);
    struct str first = query_get(a, query, STR("fieldSelector"));
    must(n == 0 ? !first.ptr : first.ptr && str_eq(values[0], first));
    for (size_t i = 0; i < n; i++) {
        must(values[i].ptr != NULL);
    }
}

static void accepts(struct arena *a, struct str text)
{
    enum media_format format;
    struct media m;
    for (unsigned allow = 0; allow < 16; allow++) {
        if (media_negotiate(a, text, allow, &m) == MEDIA_OK) {
            must(m.as != MEDIA_AS_TABLE || (allow & MEDIA_ALLOW_TABLE));
            must(m.as != MEDIA_AS_PARTIAL || (allow & MEDIA_ALLOW_PARTIAL));
            must(m.as != MEDIA_AS_AGGREGATED || (allow & MEDIA_ALLOW_AGGREGATED));
            must(m.format != MEDIA_PROTOBUF || !(allow & MEDIA_ALLOW_NO_PROTOBUF));
        }
    }
    (void)media_of_content_type(text, &format);
    (void)media_wants_pretty(text, text);
}

/* Names of objects are of this kind. */
static bool is_plain(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '-' || s.ptr[i] > 'z' || s.ptr[i] == '\\' || s.ptr[i] == '/') {
            return false;
        }
    }
    return true;
}

static void token(struct arena *a, struct str text)
{
    struct continue_token t, again;
    struct err err;
    for (int with_ns = 0; with_ns < 2; with_ns++) {
        if (continue_decode(a, text, with_ns, &t, &err)) {
            struct str out = is_plain(t.ns) && is_plain(t.name) ? continue_encode(a, &t, with_ns) : STR_NULL;
            must(!out.ptr || (continue_decode(a, out, with_ns, &again, &err) && again.rv == t.rv && str_eq(again.ns, t.ns) && str_eq(again.name, t.name)));
        }
    }
}

/* Where a proxied connection may lead. A loopback address never passes for one that a node or user named. */
static void rules(struct str text)
{
    struct egress_rules r = { .n_denied = 0 };
    struct net_addr addr;
    struct err err;
    if (egress_rules_parse(&r, text, &err)) {
        egress_rules_free(&r);
    }
    r = (struct egress_rules){ .n_denied = 0 };
    if (net_addr_parse_ip(text, 443, &addr)) {
        must(!net_addr_is_local(&addr) || !egress_rules_allow(&r, EGRESS_FOREIGN, &addr, &err));
    }
    (void)egress_rules_allow_name(EGRESS_FOREIGN, text, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct egress_selection selections[EGRESS_PURPOSES];
    struct arena a;
    struct err err;
    struct str rest = str_n((const char *)data, size), line = STR_EMPTY, method = STR_EMPTY;
    arena_init(&a, 16 << 20);
    (void)!egress_config_parse(&a, rest, selections, &err);
    (void)str_split(&rest, '\n', &method);
    if (str_split(&rest, '\n', &line)) {
        target(&a, method, line);
    }
    if (str_split(&rest, '\n', &line)) {
        accepts(&a, line);
    }
    if (str_split(&rest, '\n', &line)) {
        token(&a, line);
    }
    rules(rest);
    arena_deinit(&a);
    return 0;
}
