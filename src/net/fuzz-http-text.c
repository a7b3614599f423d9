/* Text of a request from anybody: its target, its Accept header, an address, escapes. What is taken apart stays inside what was sent. */
#include "base/encoding.h"
#include "net/addr.h"
#include "net/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void target(struct arena *a, struct str text)
{
    struct http_target t;
    struct err err;
    if (!http_target_parse(a, text, &t, &err)) {
        return;
    }
    size_t pos = 0;
    struct str value;
    for (size_t i = 0; i < t.n_segments; i++) {
        must(!str_eq(t.segments[i], STR("..")) && !str_eq(t.segments[i], STR(".")) && str_find_char(t.segments[i], '\0') < 0);
    }
    while (http_param_next(&t, STR("watch"), &pos, &value)) {
        must(pos <= t.n_params);
    }
    (void)http_param_bool(&t, STR("watch"), false);
}

static void address(struct str text)
{
    struct net_addr addr, again;
    char out[NET_ADDR_TEXT_SIZE];
    if (net_addr_parse(text, &addr)) {
        must(net_addr_parse(net_addr_text(&addr, out), &again) && net_addr_port(&addr) == net_addr_port(&again));
        (void)net_addr_is_local(&addr);
    }
    struct str host;
    uint16_t port = 1;
    (void)!net_split_host_port(text, &host, &port);
    (void)!net_addr_parse_ip(text, 80, &addr);
    (void)!net_addr_unix(text, &addr);
}

static void encodings(struct arena *a, struct str text)
{
    struct str out, again;
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 1 << 22);
    percent_encode(&b, text, "/");
    must(percent_decode(a, buf_str(&b), false, &out) && str_eq(out, text));
    (void)!percent_decode(a, text, true, &out);
    if (base64_decode(a, text, &out)) {
        buf_clear(&b);
        base64_encode(&b, out);
        must(base64_decode(a, buf_str(&b), &again) && str_eq(out, again));
    }
    if (base64url_decode(a, text, &out)) {
        buf_clear(&b);
        base64url_encode(&b, out);
        must(base64url_decode(a, buf_str(&b), &again) && str_eq(out, again));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct str text = str_n((const char *)data, size);
    struct http_media *media;
    size_t n;
    arena_init(&a, 16 << 20);
    target(&a, text);
    if (http_accept_parse(&a, text, &media, &n)) {
        for (size_t i = 0; i < n; i++) {
            must(media[i].q >= 0 && media[i].q <= 1000);
            (void)http_media_param(&media[i], STR("as"));
        }
    }
    address(text);
    encodings(&a, text);
    struct http_headers h = { &(struct http_header){ STR("connection"), text }, 1 };
    (void)http_header_has_token(&h, STR("Connection"), STR("upgrade"));
    (void)(http_is_token(text) && !http_is_field_value(text));
    arena_deinit(&a);
    return 0;
}
