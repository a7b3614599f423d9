/* Headers of proxied requests and answers. */
#include "apiserver/backend.h"
#include "apiserver/backend-private.h"
#include "apiserver/limits.h"
#include "apiserver/request.h"

static bool in_list(struct str name, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq_c(name, list[i])) {
            return true;
        }
    }
    return false;
}

bool backend_is_hop_header(const struct http_headers *all, struct str name)
{
    static const char *const hop[] = { "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te",
                                       "trailer", "transfer-encoding", "upgrade" };
    return in_list(name, hop, ARRAY_SIZE(hop)) || http_header_has_token(all, STR("connection"), name);
}

bool backend_request_headers(struct request *r, struct str forwarded_uri, bool upgrade, struct http_header **ret, size_t *ret_n)
{
    /* Credentials are for us. http_client writes host and content-length. Nobody below this hop may say "100 Continue" for us. */
    static const char *const ours[] = { "authorization", "host", "content-length", "expect", "x-forwarded-uri", "x-forwarded-for",
                                        "x-forwarded-host", "x-forwarded-proto" };
    static const char *const of_upgrade[] = { "user-agent", "x-stream-protocol-version", "sec-websocket-key", "sec-websocket-version",
                                              "sec-websocket-protocol", "sec-websocket-extensions" };
    const struct http_headers *in = &r->in->headers;
    struct http_header *out = arena_new_n(&r->arena, struct http_header, in->n + 6);
    size_t n = 0;
    if (!out) {
        return false;
    }
    for (size_t i = 0; i < in->n; i++) {
        struct http_header h = in->items[i];
        if (!in_list(h.name, ours, ARRAY_SIZE(ours)) && !backend_is_hop_header(in, h.name) && !str_starts(h.name, STR("x-remote-")) &&
            !authn_is_credential_header(r->srv->authn, h.name) && !(upgrade && in_list(h.name, of_upgrade, ARRAY_SIZE(of_upgrade)))) {
            out[n++] = h;
        }
    }
    if (http_header_has_token(in, STR("te"), STR("trailers"))) {
        out[n++] = (struct http_header){ STR("te"), STR("trailers") };
    }
    char text[NET_ADDR_TEXT_SIZE];
    struct str before = request_header(r, "x-forwarded-for");
    struct str client = r->in->remote ? net_addr_ip_text(r->in->remote, text) : STR_EMPTY;
    if (!str_empty(client) || !str_empty(before)) {
        struct str sep = !str_empty(client) && !str_empty(before) ? STR(", ") : STR_EMPTY;
        out[n++] = (struct http_header){ STR("x-forwarded-for"), arena_printf(&r->arena, "%.*s%.*s%.*s", STR_ARG(before), STR_ARG(sep), STR_ARG(client)) };
    }
    out[n++] = (struct http_header){ STR("x-forwarded-uri"), forwarded_uri };
    if (!str_empty(r->in->authority)) {
        out[n++] = (struct http_header){ STR("x-forwarded-host"), r->in->authority };
    }
    out[n++] = (struct http_header){ STR("x-forwarded-proto"), r->in->scheme };
    *ret = out;
    *ret_n = n;
    return n <= PROXY_MAX_HEADERS;
}

struct str backend_location(struct arena *a, struct str location, struct str prefix, struct str backend, struct str host)
{
    struct str path = location, authority = STR_EMPTY;
    ptrdiff_t at = str_find(location, STR("://"));
    bool scheme = str_starts(location, STR("http://")) || str_starts(location, STR("https://"));
    if (scheme || str_starts(location, STR("//"))) {
        struct str rest = str_sub(location, scheme ? (size_t)at + 3 : 2, location.len);
        size_t end = 0;
        while (end < rest.len && rest.ptr[end] != '/' && rest.ptr[end] != '?' && rest.ptr[end] != '#') {
            end++;
        }
        authority = str_sub(rest, 0, end);
        path = str_sub(rest, end, rest.len);
        if (!str_eq_nocase(authority, backend) && !str_eq_nocase(authority, host)) {
            return location;
        }
        if (path.len == 0 || path.ptr[0] != '/') {
            path = arena_printf(a, "/%.*s", STR_ARG(path));
        }
    }
    bool below = str_starts(path, prefix) && (path.len == prefix.len || path.ptr[prefix.len] == '/' || path.ptr[prefix.len] == '?');
    if (path.len == 0 || path.ptr[0] != '/' || below) {
        return str_eq_nocase(authority, host) || authority.len == 0 ? location : path;
    }
    return arena_printf(a, "%.*s%.*s", STR_ARG(prefix), STR_ARG(path));
}
